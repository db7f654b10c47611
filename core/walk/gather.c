/* Statistics of one stream at one subset: sums over its tokens, chunk after chunk. */
#include <stdlib.h>

#include "tensor/tensor.h"
#include "walk.h"

/* A zeroed tensor that outlives the scope. */
static ql_status
make(ql_walk *w, int64_t rows, int64_t cols, ql_tensor **out)
{
    ql_scope scope;
    ql_tensor *t;

    ql_scope_open(w->cx, &scope);
    w->cx->holds = "statistics";
    QL_TRY(w->cx, ql_zeros(w->cx, QL_F32, rows, cols, &t));
    w->cx->holds = "hidden states";
    *out = ql_tensor_ref(t);
    ql_scope_close(w->cx, &scope);
    return QL_OK;
}

const ql_stats *
ql_stats_at(const ql_walk *w, const ql_stream *s, int64_t l)
{
    return s ? &s->gathered[w->model->info.linears[l].subset]->stats : NULL;
}

ql_status
ql_gather_open(ql_walk *w, int64_t width, ql_gathered **out)
{
    ql_gathered *g = ql_heap(w->cx, 1, sizeof *g);

    if (!g)
        return QL_MEMORY;
    g->refs = 1;
    *out = g;
    QL_TRY(w->cx, make(w, width, width, &g->sum));
    QL_TRY(w->cx, make(w, width, width, &g->comp));
    QL_TRY(w->cx, make(w, width, -1, &g->abs_sum));
    return make(w, width, -1, &g->abs_max);
}

ql_status
ql_gather_add(ql_walk *w, ql_gathered *g, const ql_seqs *seqs, const ql_tensor *x)
{
    QL_TRY(w->cx, ql_gram(w->cx, x, g->sum, g->comp));
    QL_TRY(w->cx, ql_abs_stats(w->cx, seqs, x, g->abs_sum, g->abs_max));
    g->stats.tokens += ql_dim(x, 0);
    g->stats.sequences += seqs->count;
    return QL_OK;
}

ql_status
ql_gather_close(ql_walk *w, ql_gathered *g)
{
    QL_TRY(w->cx, ql_axpby(w->cx, 1, g->comp, 1, g->sum));
    ql_tensor_unref(g->comp);
    g->comp = NULL;
    QL_TRY(w->cx, make(w, ql_dim(g->sum, 0), -1, &g->abs_mean));
    QL_TRY(w->cx, ql_axpby(w->cx, 1.0 / (double)g->stats.tokens, g->abs_sum, 0, g->abs_mean));
    QL_TRY(w->cx, ql_memo_new(w->cx, &g->stats.memo));
    ql_tensor_seal(g->sum); /* methods share them, none may write */
    ql_tensor_seal(g->abs_mean);
    ql_tensor_seal(g->abs_max);
    g->stats.h = g->sum;
    g->stats.abs_mean = g->abs_mean;
    g->stats.abs_max = g->abs_max;
    return QL_OK;
}

ql_gathered *
ql_gather_ref(ql_gathered *g)
{
    g->refs++;
    return g;
}

void
ql_gather_unref(ql_ctx *cx, ql_gathered *g)
{
    if (!g || --g->refs > 0)
        return;
    ql_memo_free(cx, g->stats.memo);
    ql_tensor_unref(g->sum);
    ql_tensor_unref(g->comp);
    ql_tensor_unref(g->abs_sum);
    ql_tensor_unref(g->abs_mean);
    ql_tensor_unref(g->abs_max);
    free(g);
}
