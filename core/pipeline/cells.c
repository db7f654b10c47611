/* Cells and their nodes: the combinations of the matrix that are not excluded, with equal stages merged by content. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "merge.h"

typedef enum visit { NEW, OPEN, DONE } visit;

typedef struct expansion {
    ql_build *b;
    ql_merger merger;
    const int64_t *at; /* positions of the cell at hand */
    visit *visits;     /* [stage_count] */
    ql_node **found;   /* [stage_count]: nodes of the cell at hand; NULL: something is wrong there */
    int64_t *path;     /* stages that are open, for the text of a cycle */
    int64_t depth;
    int64_t cell_count, cell_capacity;
    ql_cell *cells;
} expansion;

/* The stage's parameters in the combination that the cell is in; NULL when they are wrong. */
static const ql_instance *
instance_of(expansion *x, int64_t s)
{
    ql_build_stage *stage = &x->b->stages[s];
    ql_settings settings;
    int64_t i = 0;

    for (int64_t k = 0; k < stage->axis_count; k++)
        i = i * x->b->axes[stage->axes[k]].values->count + x->at[stage->axes[k]];
    if (!stage->tried[i]) {
        stage->tried[i] = true;
        if (ql_settings_of(x->b, s, x->at, &settings))
            stage->instances[i] = ql_instantiate(x->b, &settings);
    }
    return stage->instances[i];
}

static void
tell_cycle(expansion *x, int64_t s, ql_place place)
{
    const char *text = NULL;
    int64_t first = 0;

    while (x->path[first] != s)
        first++;
    for (int64_t i = first; i < x->depth; i++) {
        const char *name = x->b->stages[x->path[i]].name;

        text = text ? ql_format(x->b->cx, "%s <- %s", text, name) : name;
        if (!text)
            return;
    }
    ql_problem_add(x->b->cx, &x->b->problems, place, "stage '%s': its inputs lead back to it: %s <- %s",
                   x->b->stages[x->path[x->depth - 1]].name, text, x->b->stages[s].name);
}

static ql_status visit_stage(expansion *x, int64_t s, ql_place place);

/* The node of an instance, its inputs first. *out stays NULL when something is wrong, which has been told. */
static ql_status
visit_instance(expansion *x, const ql_instance *in, ql_node **out)
{
    ql_node *from[QL_LINKS_MAX] = {NULL};
    bool ok = true;

    for (int64_t i = 0; i < in->link_count; i++) {
        const ql_link *link = &in->links[i];

        if (link->anonymous) {
            QL_TRY(x->b->cx, visit_instance(x, link->anonymous, &from[i]));
        } else {
            QL_TRY(x->b->cx, visit_stage(x, link->stage, link->place));
            from[i] = x->found[link->stage];
        }
        ok = ok && from[i];
    }
    return ok ? ql_merge(&x->merger, in, from, out) : x->b->problems.failed;
}

static ql_status
visit_stage(expansion *x, int64_t s, ql_place place)
{
    const ql_instance *in;

    if (x->visits[s] == DONE)
        return QL_OK;
    if (x->visits[s] == OPEN) {
        tell_cycle(x, s, place);
        return x->b->problems.failed;
    }
    in = instance_of(x, s);
    x->visits[s] = OPEN;
    x->path[x->depth++] = s;
    if (in)
        QL_TRY(x->b->cx, visit_instance(x, in, &x->found[s]));
    x->depth--;
    x->visits[s] = DONE;
    return x->b->problems.failed;
}

static bool
is_sink(const ql_plugin *p)
{
    return p->kind == QL_EVALUATOR || p->kind == QL_EXPORTER || p->kind == QL_TRAINER;
}

/* Marks a node that serves and all before it; `id` is free until the end. */
static void
mark_live(ql_node *n, int64_t mark)
{
    if (n->id == mark)
        return;
    n->id = mark;
    for (int64_t i = 0; i < n->input_count; i++)
        mark_live(n->inputs[i].from, mark);
}

static ql_status
add_cell(expansion *x, const ql_graph *g)
{
    ql_build *b = x->b;
    int64_t *at = ql_alloc(b->cx, (size_t)b->axis_count, sizeof *at);
    ql_node **stages = ql_alloc(b->cx, (size_t)b->stage_count, sizeof(ql_node *));

    if (!at || !stages)
        return QL_MEMORY;
    x->merger.seed = g->seed;
    x->depth = 0;
    for (int64_t i = 0; i < b->axis_count; i++) {
        at[i] = x->at[i];
        if (b->axes[i].stage < 0)
            x->merger.seed = b->axes[i].seeds[at[i]];
    }
    for (int64_t s = 0; s < b->stage_count; s++) {
        x->visits[s] = NEW;
        x->found[s] = NULL;
    }
    for (int64_t s = 0; s < b->stage_count; s++)
        QL_TRY(b->cx, visit_stage(x, s, b->stages[s].key->place));
    for (int64_t s = 0; s < b->stage_count; s++)
        if (x->found[s] && is_sink(x->found[s]->plugin))
            mark_live(x->found[s], x->cell_count);
    for (int64_t s = 0; s < b->stage_count; s++) {
        const bool live = x->found[s] && x->found[s]->id == x->cell_count;

        stages[s] = live ? x->found[s] : NULL;
    }
    QL_TRY(b->cx, ql_grow(b->cx, &x->cells, &x->cell_capacity, x->cell_count + 1, sizeof *x->cells));
    x->cells[x->cell_count++] = (ql_cell){.at = at, .stages = stages, .seed = x->merger.seed};
    return QL_OK;
}

static bool
is_excluded(ql_build *b, const int64_t *at)
{
    for (int64_t e = 0; e < b->exclusion_count; e++) {
        ql_exclusion *x = &b->exclusions[e];
        bool all = true;

        for (int64_t i = 0; i < x->count && all; i++) {
            const ql_condition *c = &x->conditions[i];

            all = c->axis < 0 ? c->always : c->holds[at[c->axis]];
        }
        if (all) {
            x->used = true;
            return true;
        }
    }
    return false;
}

/* The next combination, the last axis fastest; false after the last one. */
static bool
advance(const ql_build *b, int64_t *at)
{
    for (int64_t i = b->axis_count; i-- > 0;) {
        if (++at[i] < b->axes[i].values->count)
            return true;
        at[i] = 0;
    }
    return false;
}

static ql_status
make_room(expansion *x)
{
    ql_build *b = x->b;
    const size_t n = (size_t)b->stage_count;

    x->visits = ql_alloc(b->cx, n, sizeof *x->visits);
    x->found = ql_alloc(b->cx, n, sizeof(ql_node *));
    x->path = ql_alloc(b->cx, n, sizeof *x->path);
    if (!x->visits || !x->found || !x->path)
        return QL_MEMORY;
    for (int64_t s = 0; s < b->stage_count; s++) {
        ql_build_stage *stage = &b->stages[s];

        stage->instances = ql_alloc(b->cx, (size_t)stage->combinations, sizeof(ql_instance *));
        stage->tried = ql_alloc(b->cx, (size_t)stage->combinations, sizeof *stage->tried);
        if (!stage->instances || !stage->tried)
            return QL_MEMORY;
    }
    return QL_OK;
}

static ql_status
make_cells(expansion *x, ql_graph *g)
{
    ql_build *b = x->b;
    int64_t *at = ql_alloc(b->cx, (size_t)b->axis_count, sizeof *at);

    if (!at)
        return QL_MEMORY;
    x->at = at;
    QL_TRY(b->cx, make_room(x));
    do {
        if (!is_excluded(b, at))
            QL_TRY(b->cx, add_cell(x, g));
    } while (advance(b, at) && !ql_problems_full(&b->problems));
    for (int64_t e = 0; e < b->exclusion_count; e++)
        if (!b->exclusions[e].used)
            ql_warn(b->cx, "%s:%" PRId64 ":%" PRId64 ": this entry of 'exclude' excludes no cell",
                    b->exclusions[e].place.file, b->exclusions[e].place.line, b->exclusions[e].place.column);
    return b->problems.failed;
}

/* Nodes that serve a cell, numbered; what every stage became, and who became nothing. */
static ql_status
finish(expansion *x, ql_graph *g)
{
    ql_build *b = x->b;
    ql_node **nodes = ql_alloc(b->cx, (size_t)x->merger.node_count, sizeof(ql_node *));
    ql_cell *cells = ql_alloc(b->cx, (size_t)x->cell_count, sizeof *cells);
    ql_axis *axes = ql_alloc(b->cx, (size_t)b->axis_count, sizeof *axes);
    const char **names = ql_alloc(b->cx, (size_t)b->stage_count, sizeof *names);

    if (!nodes || !cells || !axes || !names)
        return QL_MEMORY;
    for (int64_t i = 0; i < x->merger.node_count; i++)
        if (x->merger.nodes[i]->id >= 0) {
            nodes[g->node_count] = x->merger.nodes[i];
            nodes[g->node_count]->id = g->node_count;
            g->node_count++;
        }
    for (int64_t i = 0; i < x->cell_count; i++)
        cells[i] = x->cells[i];
    for (int64_t i = 0; i < b->axis_count; i++)
        axes[i] =
            (ql_axis){.key = b->axes[i].key->text, .count = b->axes[i].values->count, .labels = b->axes[i].labels};
    for (int64_t s = 0; s < b->stage_count; s++)
        names[s] = b->stages[s].name;
    g->nodes = nodes;
    g->cells = cells;
    g->cell_count = x->cell_count;
    g->axes = axes;
    g->axis_count = b->axis_count;
    g->stage_names = names;
    g->stage_count = b->stage_count;
    return QL_OK;
}

static void
warn_unused(ql_build *b, const ql_graph *g)
{
    for (int64_t s = 0; s < g->stage_count; s++) {
        const ql_place at = b->stages[s].key->place;
        bool used = false;

        for (int64_t c = 0; c < g->cell_count && !used; c++)
            used = g->cells[c].stages[s] != NULL;
        if (!used)
            ql_warn(b->cx,
                    "%s:%" PRId64 ":%" PRId64
                    ": stage '%s' is not used: nothing that is evaluated or exported needs it",
                    at.file, at.line, at.column, g->stage_names[s]);
    }
}

ql_status
ql_build_cells(ql_build *b, ql_graph *g)
{
    expansion x = {.b = b, .merger = {.b = b}};
    ql_status st = make_cells(&x, g);

    if (st == QL_OK && b->problems.count == 0)
        st = finish(&x, g);
    ql_merger_fini(&x.merger);
    free(x.cells);
    if (st != QL_OK || b->problems.count)
        return st;
    if (g->cell_count == 0)
        ql_problem_add(b->cx, &b->problems, ql_build_key_place(b, "exclude"), "exclude: no cell is left");
    else if (g->node_count == 0)
        ql_problem_add(b->cx, &b->problems, ql_build_key_place(b, "stages"),
                       "stages: there is no evaluator or exporter, so nothing would be computed");
    else
        warn_unused(b, g);
    return b->problems.failed;
}
