/* Cells and their nodes: the combinations of the matrix that are not excluded. */
#include <string.h>

#include "merge.h"

typedef struct expansion {
    ql_build *b;
    ql_merger merger;
    int64_t *at; /* positions of the cell at hand */
    int64_t cell_count;
    ql_cell *cells;
} expansion;

/* --- one cell ---------------------------------------------------------------------------------------------------- */

/* The stage's parameters in the combination that the cell is in; NULL when they are wrong. */
static const ql_instance *
instance_of(expansion *x, int64_t s)
{
    ql_combination *c = ql_combination_at(x->b, s, x->at);

    if (!c->tried && c->settings.items)
        c->instance = ql_instantiate(x->b, &c->settings);
    c->tried = true;
    return c->instance;
}

/* Stage `user` needs stage `s`, which waits for its own inputs. */
static void
tell_cycle(ql_build *b, int64_t s, int64_t user, ql_place place)
{
    const char *text = "";

    for (int64_t i = user;; i = b->stages[i].user) {
        text = ql_build_text(b, ql_format(b->cx, "%s <- %s", b->stages[i].name, text));
        if (i == s)
            break;
    }
    ql_wrong(b, place, "stage '%s': its inputs lead back to it: %s%s", b->stages[user].name, text, b->stages[s].name);
}

static ql_node *visit_stage(expansion *x, int64_t s, int64_t user, ql_place place);

/* The node of an instance of stage `s`, or of one of its anonymous inputs; its inputs first. */
static ql_node *
visit_instance(expansion *x, int64_t s, const ql_instance *in)
{
    ql_node *from[QL_LINKS_MAX] = {NULL};
    bool ok = true;

    for (int64_t i = 0; i < in->link_count; i++) {
        const ql_link *link = &in->links[i];

        from[i] = link->anonymous ? visit_instance(x, s, link->anonymous) : visit_stage(x, link->stage, s, link->place);
        ok = ok && from[i];
    }
    return ok ? ql_merge(&x->merger, in, from) : NULL;
}

/* The node of stage `s`, which an input of stage `user` needs (-1: the cell itself). */
static ql_node *
visit_stage(expansion *x, int64_t s, int64_t user, ql_place place)
{
    ql_build_stage *stage = &x->b->stages[s];
    const ql_instance *in;

    if (stage->visit == QL_VISIT_OPEN)
        tell_cycle(x->b, s, user, place);
    if (stage->visit != QL_VISIT_NEW)
        return stage->node;
    in = instance_of(x, s);
    stage->visit = QL_VISIT_OPEN;
    stage->user = user;
    stage->node = in ? visit_instance(x, s, in) : NULL;
    stage->visit = QL_VISIT_DONE;
    return stage->node;
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
        b->stages[s].visit = QL_VISIT_NEW;
        b->stages[s].node = NULL;
    }
    for (int64_t s = 0; s < b->stage_count; s++)
        stages[s] = visit_stage(x, s, -1, b->stages[s].key->place);
    for (int64_t s = 0; s < b->stage_count; s++)
        if (stages[s] && ql_kind_of(stages[s]->plugin->kind)->sink)
            mark_live(stages[s], x->cell_count);
    for (int64_t s = 0; s < b->stage_count; s++)
        if (stages[s] && stages[s]->id != x->cell_count)
            stages[s] = NULL;
    x->cells[x->cell_count++] = (ql_cell){.at = at, .stages = stages, .seed = x->merger.seed};
    return b->problems.failed == QL_OK;
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

/* Nodes that serve a cell, numbered; what every stage became. */
static bool
finish(expansion *x, ql_graph *g)
{
    ql_build *b = x->b;
    ql_node **nodes = ql_build_alloc(b, x->merger.node_count, sizeof(ql_node *));
    ql_axis *axes = ql_build_alloc(b, b->axis_count, sizeof *axes);
    const char **names = ql_build_alloc(b, b->stage_count, sizeof *names);

    if (!nodes || !axes || !names)
        return false;
    for (int64_t i = 0; i < x->merger.node_count; i++)
        if (x->merger.nodes[i]->id >= 0) {
            x->merger.nodes[i]->id = g->node_count;
            nodes[g->node_count++] = x->merger.nodes[i];
        }
    for (int64_t i = 0; i < b->axis_count; i++)
        axes[i] =
            (ql_axis){.key = b->axes[i].key->text, .count = b->axes[i].values->count, .labels = b->axes[i].labels};
    for (int64_t s = 0; s < b->stage_count; s++)
        names[s] = b->stages[s].name;
    g->nodes = nodes;
    g->cells = x->cells;
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

    if (strcmp(key->text, "use") == 0 || strcmp(key->text, "overrides") == 0)
        return;
    for (int64_t i = 0; i < (a ? a->values->count : 1); i++) {
        const ql_plugin *p = a ? a->plugins[i] : s->plugin;

        if (key->used || ql_param_find(p, key->text) || ql_plugin_input(p, key->text) ||
            ql_param_find(&ql_stage_table, key->text))
            return; /* an axis or a variant may give it another value everywhere */
        ql_param_offer(&near, p->params);
    }
    ql_place_warn(b->cx, key->place, "%s'%s' does nothing: no plugin of its cells has it%s", s->prefix, key->text,
                  ql_guess_text(b->cx, &near, ""));
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
    for (const ql_build_stage *s = b->stages; s < b->stages + b->stage_count; s++) {
        for (int64_t i = 0; i < s->entry->count; i++)
            warn_key(b, s, s->entry->keys[i]);
        for (int64_t i = 0; i < s->axis_count; i++)
            if (b->axes[s->axes[i]].parameter)
                warn_key(b, s, b->axes[s->axes[i]].name);
    }
}

ql_status
ql_build_cells(ql_build *b, ql_graph *g)
{
    expansion x = {.b = b, .merger = {.b = b}};
    bool more = true;

    x.at = ql_build_alloc(b, b->axis_count, sizeof *x.at);
    x.cells = ql_build_alloc(b, b->cells_most, sizeof *x.cells);
    while (more && b->problems.failed == QL_OK && (b->problems.failed = ql_check_interrupt(b->cx)) == QL_OK) {
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
    }
    ql_merger_fini(&x.merger);
    return b->problems.failed;
}
