/* What a finished walk found, cell by cell, into the result set. */
#include "walk.h"

static ql_status
collect_lists(ql_walk *w, const ql_metrics *m, const char *stage, const char *linear, int64_t cell, ql_result_set *set)
{
    for (int64_t i = 0; i < m->list_count; i++)
        QL_TRY(w->cx, ql_results_list(w->cx, set, cell,
                                      &(ql_result_list){.stage = stage,
                                                        .linear = linear,
                                                        .name = m->lists[i].name,
                                                        .count = m->lists[i].count,
                                                        .values = m->lists[i].values}));
    return QL_OK;
}

static ql_status
collect_eval(ql_walk *w, const ql_evaluation *e, const char *stage, int64_t cell, ql_result_set *set)
{
    const ql_path *p = &w->plan->paths[e->plan->path];
    const char *why = e->failed ? e->failed : ql_unit_failed(w, p->compensator ? p->compensator : p->quantizer);

    if (why)
        return ql_results_fail(w->cx, set, cell, why);
    for (int64_t i = 0; i < e->metrics.count; i++)
        QL_TRY(w->cx,
               ql_results_metric(w->cx, set, cell,
                                 &(ql_result_metric){stage, e->metrics.values[i].name, e->metrics.values[i].value}));
    for (int64_t i = 0; i < e->metrics.note_count; i++)
        QL_TRY(w->cx, ql_results_note(w->cx, set, cell,
                                      &(ql_result_note){stage, e->metrics.notes[i].name, e->metrics.notes[i].value}));
    QL_TRY(w->cx, collect_lists(w, &e->metrics, stage, NULL, cell, set));
    for (int64_t r = 0; r < e->row_count; r++) {
        const ql_linear_row *row = &e->rows[r];

        for (int64_t i = 0; i < row->metrics.count; i++) {
            const ql_metric_value *v = &row->metrics.values[i];

            QL_TRY(w->cx,
                   ql_results_linear(w->cx, set, cell, &(ql_result_linear){stage, row->linear, v->name, v->value}));
        }
        QL_TRY(w->cx, collect_lists(w, &row->metrics, stage, row->linear, cell, set));
    }
    return QL_OK;
}

static const ql_evaluation *
evaluation_of(const ql_walk *w, const ql_node *n, bool baseline)
{
    const ql_eval *e = ql_plan_find(w->plan, n, baseline);

    return e ? &w->evaluations[e - w->plan->evals] : NULL;
}

/* What the cell's evaluators found in the files of exporter node `x`: "ppl.perplexity" of its stage. */
static ql_status
collect_written(ql_walk *w, const ql_node *x, const char *stage, int64_t c, ql_result_set *set)
{
    const ql_graph *g = w->graph;

    for (int64_t s = 0; s < g->stage_count; s++) {
        const ql_node *n = g->cells[c].stages[s];
        const ql_eval *plan = n ? ql_plan_find_written(w->plan, n, x) : NULL;
        const ql_evaluation *e = plan ? &w->evaluations[plan - w->plan->evals] : NULL;

        if (e && e->failed)
            QL_TRY(w->cx, ql_results_fail(w->cx, set, c, e->failed));
        for (int64_t i = 0; e && !e->failed && i < e->metrics.count; i++) {
            const char *name = ql_format(w->cx, "%s.%s", g->stage_names[s], e->metrics.values[i].name);

            if (!name)
                return QL_MEMORY;
            QL_TRY(w->cx,
                   ql_results_metric(w->cx, set, c, &(ql_result_metric){stage, name, e->metrics.values[i].value}));
        }
    }
    return QL_OK;
}

/* The numbers of cell `c`, and those of its baseline when it is the first to be compared with it. */
static ql_status
collect_cell(ql_walk *w, int64_t c, ql_result_set *set)
{
    const ql_graph *g = w->graph;
    const int64_t original = set->cells[c].original;
    const bool first = original >= 0 && set->cells[original].metric_count == 0 && !set->cells[original].error;

    for (int64_t s = 0; s < g->stage_count; s++) {
        const ql_node *n = g->cells[c].stages[s];
        const ql_evaluation *e;

        if (!n || (n->plugin->kind != QL_EVALUATOR && n->plugin->kind != QL_EXPORTER) ||
            ql_plan_root(n) != w->plan->root)
            continue;
        if ((e = evaluation_of(w, n, false)))
            QL_TRY(w->cx, collect_eval(w, e, g->stage_names[s], c, set));
        if (n->plugin->kind == QL_EXPORTER)
            QL_TRY(w->cx, collect_written(w, n, g->stage_names[s], c, set));
        if (first && n->plugin->kind == QL_EVALUATOR && (e = evaluation_of(w, n, true)))
            QL_TRY(w->cx, collect_eval(w, e, g->stage_names[s], original, set));
    }
    return QL_OK;
}

ql_status
ql_collect(ql_walk *w, ql_result_set *set)
{
    for (int64_t c = 0; c < w->graph->cell_count; c++)
        QL_TRY(w->cx, collect_cell(w, c, set));
    QL_TRY(w->cx, ql_cost_collect(w, set));
    return ql_remarks(w, set);
}
