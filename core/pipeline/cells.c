/* Cells and their nodes: the combinations of the matrix that are not excluded. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "merge.h"

typedef enum visit { NEW, OPEN, DONE } visit;

typedef struct expansion {
    ql_build *b;
    ql_merger merger;
    int64_t *at;     /* positions of the cell at hand */
    visit *visits;   /* [stage_count] */
    ql_node **found; /* [stage_count]: nodes of the cell at hand; NULL: something is wrong there */
    int64_t *path;   /* stages that are open, for the text of a cycle */
    int64_t depth;
    int64_t cell_count, cell_capacity;
    ql_cell *cells;
} expansion;

/* --- one cell ---------------------------------------------------------------------------------------------------- */

/* The stage's parameters in the combination that the cell is in; NULL when they are wrong. */
static const ql_instance *
instance_of(expansion *x, int64_t s)
{
    ql_build_stage *stage = &x->b->stages[s];
    const int64_t i = ql_combination(x->b, s, x->at);
    const ql_settings *settings = stage->tried[i] ? NULL : ql_settings_at(x->b, s, x->at);

    if (settings)
        stage->instances[i] = ql_instantiate(x->b, settings);
    stage->tried[i] = true;
    return stage->instances[i];
}

static void
tell_cycle(expansion *x, int64_t s, ql_place place)
{
    ql_build *b = x->b;
    const char *text = "";
    int64_t i = x->depth;

    do {
        i--;
        text = ql_build_text(b, ql_format(b->cx, "%s <- %s", b->stages[x->path[i]].name, text));
    } while (x->path[i] != s);
    ql_wrong(b, place, "stage '%s': its inputs lead back to it: %s%s", b->stages[x->path[x->depth - 1]].name, text,
             b->stages[s].name);
}

static ql_node *visit_stage(expansion *x, int64_t s, ql_place place);

/* The node of an instance, its inputs first. */
static ql_node *
visit_instance(expansion *x, const ql_instance *in)
{
    ql_node *from[QL_LINKS_MAX] = {NULL};
    bool ok = true;

    for (int64_t i = 0; i < in->link_count; i++) {
        const ql_link *link = &in->links[i];

        from[i] = link->anonymous ? visit_instance(x, link->anonymous) : visit_stage(x, link->stage, link->place);
        ok = ok && from[i];
    }
    return ok ? ql_merge(&x->merger, in, from) : NULL;
}

static ql_node *
visit_stage(expansion *x, int64_t s, ql_place place)
{
    const ql_instance *in;

    if (x->visits[s] == OPEN)
        tell_cycle(x, s, place);
    if (x->visits[s] != NEW)
        return x->found[s];
    in = instance_of(x, s);
    x->visits[s] = OPEN;
    x->path[x->depth++] = s;
    if (in)
        x->found[s] = visit_instance(x, in);
    x->depth--;
    x->visits[s] = DONE;
    return x->found[s];
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

static bool
add_cell(expansion *x)
{
    ql_build *b = x->b;
    int64_t *at = ql_build_alloc(b, b->axis_count, sizeof *at);
    ql_node **stages = ql_build_alloc(b, b->stage_count, sizeof(ql_node *));

    if (!at || !stages)
        return false;
    x->merger.seed = b->seed;
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
        (void)visit_stage(x, s, b->stages[s].key->place);
    for (int64_t s = 0; s < b->stage_count; s++)
        if (x->found[s] && ql_kind_of(x->found[s]->plugin->kind)->sink)
            mark_live(x->found[s], x->cell_count);
    for (int64_t s = 0; s < b->stage_count; s++)
        stages[s] = x->found[s] && x->found[s]->id == x->cell_count ? x->found[s] : NULL;
    if (b->problems.failed == QL_OK)
        b->problems.failed = ql_grow(b->cx, &x->cells, &x->cell_capacity, x->cell_count + 1, sizeof *x->cells);
    if (b->problems.failed != QL_OK)
        return false;
    x->cells[x->cell_count++] = (ql_cell){.at = at, .stages = stages, .seed = x->merger.seed};
    return true;
}

/* --- all cells --------------------------------------------------------------------------------------------------- */

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

static bool
make_room(expansion *x)
{
    ql_build *b = x->b;

    x->at = ql_build_alloc(b, b->axis_count, sizeof *x->at);
    x->visits = ql_build_alloc(b, b->stage_count, sizeof *x->visits);
    x->found = ql_build_alloc(b, b->stage_count, sizeof(ql_node *));
    x->path = ql_build_alloc(b, b->stage_count, sizeof *x->path);
    for (int64_t s = 0; s < b->stage_count; s++) {
        ql_build_stage *stage = &b->stages[s];

        stage->instances = ql_build_alloc(b, stage->combinations, sizeof(ql_instance *));
        stage->tried = ql_build_alloc(b, stage->combinations, sizeof *stage->tried);
    }
    return b->problems.failed == QL_OK;
}

/* Nodes that serve a cell, numbered; what every stage became. */
static bool
finish(expansion *x, ql_graph *g)
{
    ql_build *b = x->b;
    ql_node **nodes = ql_build_alloc(b, x->merger.node_count, sizeof(ql_node *));
    ql_cell *cells = ql_build_alloc(b, x->cell_count, sizeof *cells);
    ql_axis *axes = ql_build_alloc(b, b->axis_count, sizeof *axes);
    const char **names = ql_build_alloc(b, b->stage_count, sizeof *names);

    if (!nodes || !cells || !axes || !names)
        return false;
    for (int64_t i = 0; i < x->merger.node_count; i++)
        if (x->merger.nodes[i]->id >= 0) {
            x->merger.nodes[i]->id = g->node_count;
            nodes[g->node_count++] = x->merger.nodes[i];
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
    return true;
}

/* A key that no plugin of the stage's cells has: a shared one that all variants lack, or one of a plugin that every
 * variant replaces. */
static void
warn_key(const ql_build *b, const ql_build_stage *s, const ql_yaml *key)
{
    const ql_build_axis *a = s->variants < 0 ? NULL : &b->axes[s->variants];
    ql_guess near = ql_guess_open(key->text);

    for (int64_t i = 0; i < (a ? a->values->count : 1); i++) {
        const ql_plugin *p = a ? a->plugins[i] : s->plugin;

        if (key->used || ql_param_find(p, key->text) || ql_plugin_input(p, key->text) ||
            ql_param_find(&ql_stage_table, key->text) || strcmp(key->text, "overrides") == 0)
            return; /* an axis or a variant may give it another value everywhere */
        for (const ql_param *row = p->params; row->type != QL_T_END; row++)
            ql_guess_offer(&near, row->name);
    }
    ql_place_warn(b->cx, key->place, "%s'%s' does nothing: no plugin of its cells has it%s", s->prefix, key->text,
                  ql_guess_text(b->cx, &near, ""));
}

static void
warn_keys(const ql_build *b)
{
    for (int64_t s = 0; s < b->stage_count; s++) {
        const ql_build_stage *stage = &b->stages[s];

        for (int64_t i = 0; i < stage->entry->count; i++)
            if (strcmp(stage->entry->keys[i]->text, "use") != 0)
                warn_key(b, stage, stage->entry->keys[i]);
        for (int64_t i = 0; i < stage->axis_count; i++)
            if (b->axes[stage->axes[i]].parameter)
                warn_key(b, stage, b->axes[stage->axes[i]].name);
    }
}

static void
warn_unused(ql_build *b, const ql_graph *g)
{
    for (int64_t s = 0; s < g->stage_count; s++) {
        int64_t c = 0;

        while (c < g->cell_count && !g->cells[c].stages[s])
            c++;
        if (c == g->cell_count)
            ql_place_warn(b->cx, b->stages[s].key->place,
                          "stage '%s' is not used: nothing that is evaluated or exported needs it", g->stage_names[s]);
    }
}

ql_status
ql_build_cells(ql_build *b, ql_graph *g)
{
    expansion x = {.b = b, .merger = {.b = b}};
    bool more = make_room(&x);

    while (more && (b->problems.failed = ql_check_interrupt(b->cx)) == QL_OK) {
        if (!ql_is_excluded(b, x.at) && !add_cell(&x))
            break;
        more = advance(b, x.at) && !ql_problems_full(&b->problems);
    }
    if (b->problems.failed == QL_OK)
        ql_exclude_warn(b);
    if (b->problems.failed == QL_OK && b->problems.count == 0 && finish(&x, g)) {
        if (g->cell_count == 0)
            ql_wrong(b, ql_build_key_place(b, "exclude"), "exclude: no cell is left");
        else if (g->node_count == 0)
            ql_wrong(b, ql_build_key_place(b, "stages"),
                     "stages: there is no evaluator or exporter, so nothing would be computed");
        else
            warn_unused(b, g);
        if (b->problems.count == 0)
            warn_keys(b);
    }
    ql_merger_fini(&x.merger);
    free(x.cells);
    return b->problems.failed;
}
