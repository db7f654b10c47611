/* What a table says beside its numbers: how the numerics went, and where a quantizer counts on an adapter that its cell lacks. */
#include <limits.h>
#include <string.h>

#include "plugin/registry.h"
#include "walk.h"

/* --- numerical statuses --------------------------------------------------------------------------------------------- */

/* "quant: 3 of 14 linears: damping raised; 1: rounded to nearest instead"; NULL when there is nothing to report. */
static ql_status
status_text(ql_ctx *cx, const ql_variant *v, const char **out)
{
    static const char *const words[QL_NUM_COUNT] = {
        "damping raised",
        "a floor put under the diagonal of H",
        "rounded to nearest instead",
        "inputs that saw no value",
        "the weight is zero",
        "fewer tokens than inputs, so H is rank-deficient",
        "groups too small for scale_dtype stored as zeros",
        "groups too large for scale_dtype clipped",
    };
    const char *text = NULL;

    for (int i = 0; i < QL_NUM_COUNT; i++) {
        if (v->all.statuses[i] == 0)
            continue;
        text = text ? ql_format(cx, "%s; %lld: %s", text, (long long)v->all.statuses[i], words[i])
                    : ql_format(cx, "%s, %lld of %lld linears: %s", v->stage->plugin->name,
                                (long long)v->all.statuses[i], (long long)v->all.linears, words[i]);
        if (!text)
            return QL_MEMORY;
    }
    *out = text;
    return QL_OK;
}

static ql_status
add_status(ql_walk *w, const ql_variant *v, int64_t cell)
{
    const char *text = NULL;

    if (!v)
        return QL_OK;
    QL_TRY(w->cx, add_status(w, v->parent, cell));
    QL_TRY(w->cx, status_text(w->cx, v, &text));
    return text ? ql_run_footnote(w->results, cell, text) : QL_OK;
}

/* Statuses of the variants that the cell's evaluators look at. */
static ql_status
add_statuses(ql_walk *w, int64_t c)
{
    for (int64_t i = 0; i < w->graph->stage_count; i++) {
        const ql_node *n = w->graph->cells[c].stages[i];
        const ql_sink *s = NULL;

        if (n && n->plugin->kind == QL_EVALUATOR && ql_node_before(n, QL_MODEL) == w->plan->root)
            s = ql_plan_find(w->plan, n, ql_node_input(n, "model"));
        if (s)
            QL_TRY(w->cx, add_status(w, s->of, c));
    }
    return QL_OK;
}

/* --- adapters that are counted on ----------------------------------------------------------------------------------- */

/* The largest rank that a compensator of the cell puts on quantizer `q`; 0: none does. */
static int
rank_on(const ql_graph *g, const ql_cell *cell, const ql_node *q)
{
    int most = 0;

    for (int64_t s = 0; s < g->stage_count; s++) {
        const ql_node *n = cell->stages[s];
        int rank;

        if (!n || n->plugin->kind != QL_COMPENSATOR || !n->plugin->compensator->compensate ||
            ql_node_input(n, "model") != q)
            continue;
        rank = ql_describe(n->plugin, n->self, 0).rank;
        rank = rank < 0 ? INT_MAX : rank; /* it decides by itself */
        most = rank > most ? rank : most;
    }
    return most;
}

static ql_status
add_lacking(ql_walk *w, int64_t c)
{
    const ql_graph *g = w->graph;

    for (int64_t s = 0; s < g->stage_count; s++) {
        const ql_node *q = g->cells[c].stages[s];
        const char *text;
        int wanted, got;

        if (!q || q->plugin->kind != QL_QUANTIZER || !(q->plugin->quantizer->yields & QL_EXPECTS_ADAPTER) ||
            ql_node_before(q, QL_MODEL) != w->plan->root)
            continue;
        wanted = ql_describe(q->plugin, q->self, 0).rank;
        got = rank_on(g, &g->cells[c], q);
        if (got >= wanted)
            continue;
        text = got > 0
                   ? ql_format(w->cx, "%s counts on an adapter of rank %d, and has one of rank %d here",
                               q->plugin->name, wanted, got)
                   : ql_format(w->cx, "%s counts on an adapter of rank %d, and has none here", q->plugin->name, wanted);
        if (!text)
            return QL_MEMORY;
        QL_TRY(w->cx, ql_run_footnote(w->results, c, text));
    }
    return QL_OK;
}

/* Adapters that began at zero, since no stage before the trainer left any. */
static ql_status
add_fresh(ql_walk *w, int64_t c)
{
    for (int64_t s = 0; s < w->graph->stage_count; s++) {
        const ql_node *n = w->graph->cells[c].stages[s];
        const ql_variant *v = NULL;

        if (n && n->plugin->kind == QL_TRAINER && ql_node_before(n, QL_MODEL) == w->plan->root)
            v = ql_plan_variant(w->plan, n);
        if (v && v->told && v->sums.fresh) {
            const char *text =
                ql_format(w->cx, "%s starts from zero: no stage before it leaves an adapter", w->graph->stage_names[s]);

            QL_TRY(w->cx, text ? ql_run_footnote(w->results, c, text) : QL_MEMORY);
        }
    }
    return QL_OK;
}

ql_status
ql_remarks(ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->variant_count; i++) {
        const char *text = NULL;

        QL_TRY(w->cx, status_text(w->cx, w->plan->variants[i], &text));
        if (text)
            ql_info(w->cx, "%s: %s", w->plan->variants[i]->stage->name, text);
    }
    for (int64_t c = 0; c < w->graph->cell_count; c++) {
        QL_TRY(w->cx, add_lacking(w, c));
        QL_TRY(w->cx, add_fresh(w, c));
        QL_TRY(w->cx, add_statuses(w, c));
    }
    return QL_OK;
}
