/* Which nodes of the results the cells show, and what else a finished walk says of them. */
#include "plugin/kinds.h"
#include "walk.h"

/* --- nodes --- */

static ql_status
open_nodes(ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->sink_count; i++) {
        ql_sink *s = &w->plan->sinks[i];

        QL_TRY(w->cx, ql_results_node(w->results, w->store ? s->key.half : NULL, s->stage,
                                      &s->node)); /* without a store: no keys */
    }
    for (int64_t i = 0; i < w->plan->variant_count; i++) {
        ql_variant *v = w->plan->variants[i];

        if (ql_variant_is_trained(v))
            QL_TRY(w->cx, ql_results_node(w->results, w->store ? v->key.half : NULL, v->stage, &v->node));
    }
    return QL_OK;
}

/* --- cells --- */

static const char *
why_failed(const ql_sink *s)
{
    return s->failed ? s->failed : ql_variant_failed(s->of);
}

/* The place of stage `s` in a cell's numbers: means over linears come last, what an exporter wrote comes behind the export. */
static int64_t
position_of(const ql_walk *w, const ql_node *n, int64_t s, int64_t written)
{
    const int64_t stages = w->graph->stage_count;
    const bool last = n->plugin->kind == QL_EVALUATOR && n->plugin->evaluator->linear;

    return ((last ? stages : 0) + s) * (stages + 1) + written;
}

/* Writes down which cells show `node`, of a sink or a trainer; at the end of the walk (`over`) only what failed, with the reason. */
static ql_status
put_link(ql_walk *w, int64_t node, ql_run_link link, const char *why, bool over)
{
    if (over && !why)
        return QL_OK;
    link.node = node;
    link.error = over ? why : NULL;
    return ql_run_put_link(w->results, &link);
}

/* What the cell's evaluators found in the files of exporter node `x`: "ppl.perplexity" of its stage. */
static ql_status
put_written(ql_walk *w, const ql_node *x, int64_t stage, int64_t c, bool over)
{
    const ql_graph *g = w->graph;

    for (int64_t s = 0; s < g->stage_count; s++) {
        const ql_node *n = g->cells[c].stages[s];
        const ql_sink *e = n ? ql_plan_find(w->plan, n, x) : NULL;
        ql_run_link link = {.cell = c, .position = position_of(w, x, stage, 1 + s), .stage = g->stage_names[stage]};

        if (!e)
            continue;
        link.prefix = ql_format(w->cx, "%s.", g->stage_names[s]);
        if (!link.prefix)
            return QL_MEMORY;
        QL_TRY(w->cx, put_link(w, e->node, link, e->failed, over));
    }
    return QL_OK;
}

/* Of cell `c`, and of its baseline when it is the first to be compared with it. */
static ql_status
put_cell(ql_walk *w, int64_t c, bool over)
{
    const ql_graph *g = w->graph;
    bool first;
    const int64_t original = ql_run_original(w->results, c, &first);

    for (int64_t s = 0; s < g->stage_count; s++) {
        const ql_node *n = g->cells[c].stages[s];
        const ql_sink *e;
        ql_run_link link = {.cell = c, .stage = g->stage_names[s], .prefix = ""};

        if (!n || !ql_kind_of(n->plugin->kind)->sink || ql_node_before(n, QL_MODEL) != w->plan->root)
            continue;
        link.position = position_of(w, n, s, 0);
        if (n->plugin->kind == QL_TRAINER) {
            const ql_variant *v = ql_plan_variant(w->plan, n);

            QL_TRY(w->cx, put_link(w, v->node, link, ql_variant_failed(v), over));
            continue;
        }
        if ((e = ql_plan_find(w->plan, n, ql_node_input(n, "model"))))
            QL_TRY(w->cx, put_link(w, e->node, link, why_failed(e), over));
        if (n->plugin->kind == QL_EXPORTER)
            QL_TRY(w->cx, put_written(w, n, s, c, over));
        link.cell = original;
        if (first && n->plugin->kind == QL_EVALUATOR && (e = ql_plan_find(w->plan, n, w->plan->root)))
            QL_TRY(w->cx, put_link(w, e->node, link, why_failed(e), over));
    }
    return QL_OK;
}

ql_status
ql_collect_open(ql_walk *w)
{
    if (!w->folder) /* a rehearsal finds nothing */
        return QL_OK;
    QL_TRY(w->cx, ql_results_drop(w->results));
    QL_TRY(w->cx, ql_results_begin(w->results));
    QL_TRY(w->cx, open_nodes(w));
    for (int64_t c = 0; c < w->graph->cell_count; c++)
        QL_TRY(w->cx, put_cell(w, c, false));
    return ql_results_commit(w->results);
}

ql_status
ql_collect(ql_walk *w)
{
    QL_TRY(w->cx, ql_results_begin(w->results));
    QL_TRY(w->cx, ql_cost_nodes(w));
    if (w->folder) {
        for (int64_t c = 0; c < w->graph->cell_count; c++)
            QL_TRY(w->cx, put_cell(w, c, true));
        QL_TRY(w->cx, ql_cost_cells(w));
        QL_TRY(w->cx, ql_remarks(w));
    }
    return ql_results_commit(w->results);
}
