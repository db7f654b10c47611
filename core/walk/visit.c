/* One stream's turn at one block: forward up to each subset, gather statistics, run the units, multiply by what they left. */
#include "tensor/tensor.h"
#include "walk.h"

typedef struct visit {
    ql_walk *w;
    ql_stream *stream;
    ql_stream *twin; /* the stream that this one was equal to when the block began, while it still is; NULL: none */
    ql_flow *flows;  /* [span_count] */
    int put_off;     /* subset whose products are still to be made, from the x that the flows hold; -1: none */
    const ql_weight *const *as; /* its weights */
} visit;

static int64_t
span_count(const visit *v)
{
    return v->stream->lane.count;
}

/* Step k of chunk f; the products that it consumed and the residual stream that it replaced are let go. */
static ql_status
step(visit *v, ql_flow *f, int k)
{
    ql_ctx *cx = v->w->cx;
    ql_flow old = *f;

    QL_TRY(cx, ql_check_interrupt(cx));
    QL_TRY(cx, ql_block_step(cx, v->w->block, k, f));
    for (int l = 0, i = 0; old.y && l < v->w->model->info.linear_count; l++)
        if (v->w->model->info.linears[l].subset == k - 1)
            ql_drop(cx, &old.y[i++]);
    f->y = NULL;
    if (old.h != f->h)
        ql_drop(cx, &old.h);
    return QL_OK;
}

/* Is there no room to keep the products of subset k for all tokens? Then they are made chunk by chunk, once for the
 * statistics behind them and once more to go on: the same bits, for more time. */
static bool
put_off(const visit *v, int k)
{
    const ql_device *d = v->w->cx->device;
    const ql_model_info *info = &v->w->model->info;
    const size_t room = ql_device_room(d);
    const size_t tokens = (size_t)ql_lane_tokens(v->stream->corpus, v->stream->lane);
    size_t whole = 0;

    for (int l = 0; l < info->linear_count; l++)
        if (info->linears[l].subset == k)
            whole += tokens * (size_t)info->linears[l].out * ql_dtype_size(d->info.compute_dtype);
    return room > 0 && k + 1 < info->subsets && v->put_off < 0 &&
           whole > (room - (d->used < room ? d->used : room)) / 2;
}

static int64_t
subset_width(const ql_walk *w, int k)
{
    for (int l = 0; l < w->model->info.linear_count; l++)
        if (w->model->info.linears[l].subset == k)
            return w->model->info.linears[l].in;
    return 0;
}

/* Brings chunk f to the input of subset k, through products that were put off. */
static ql_status
arrive(visit *v, ql_flow *f, int k)
{
    ql_tensor *before = f->x;

    if (v->put_off >= 0) {
        QL_TRY(v->w->cx, ql_block_linears(v->w->cx, v->w->block, v->put_off, v->as, f));
        QL_TRY(v->w->cx, step(v, f, k));
        ql_drop(v->w->cx, &before);
        return QL_OK;
    }
    return step(v, f, k);
}

static ql_status
gather_chunk(visit *v, int64_t c, int k, ql_gathered *g)
{
    ql_ctx *cx = v->w->cx;
    ql_flow f = v->flows[c];
    ql_scope scope;

    if (v->put_off < 0) {
        QL_TRY(cx, step(v, &v->flows[c], k));
        return ql_gather_add(v->w, g, f.seqs, v->flows[c].x);
    }
    ql_scope_open(cx, &scope);
    QL_TRY(cx, ql_block_linears(cx, v->w->block, v->put_off, v->as, &f));
    QL_TRY(cx, ql_block_step(cx, v->w->block, k, &f));
    QL_TRY(cx, ql_gather_add(v->w, g, f.seqs, f.x));
    ql_scope_close(cx, &scope);
    return QL_OK;
}

static ql_status
gather(visit *v, int k)
{
    ql_ctx *cx = v->w->cx;
    ql_gathered *shared = v->twin ? v->twin->gathered[k] : NULL, **slot = &v->stream->gathered[k];

    if (shared) {
        *slot = ql_gather_ref(shared);
        return QL_OK;
    }
    QL_TRY(cx, ql_gather_open(v->w, subset_width(v->w, k), slot));
    for (int64_t c = 0; c < span_count(v); c++)
        QL_TRY(cx, gather_chunk(v, c, k, *slot));
    return ql_gather_close(v->w, *slot);
}

static ql_status
make_variants(ql_walk *w, int64_t turn, int k)
{
    for (int64_t i = 0; i < w->plan->variant_count; i++)
        for (int l = 0; w->plan->variants[i]->visit == turn && l < w->model->info.linear_count; l++)
            if (w->model->info.linears[l].subset == k) {
                QL_TRY(w->cx, ql_check_interrupt(w->cx));
                QL_TRY(w->cx, ql_variant_make(w, w->plan->variants[i], l));
            }
    return QL_OK;
}

static ql_status
multiply(visit *v, int k)
{
    ql_ctx *cx = v->w->cx;
    const bool wait = put_off(v, k);
    const ql_weight *const *as;

    if (wait)
        ql_debug(cx, "memory: the products of subset %d are made twice, not kept", k);
    QL_TRY(cx, ql_variant_weights(v->w, v->stream->through, k, &as));
    for (int64_t c = 0; c < span_count(v); c++) {
        ql_flow *f = &v->flows[c];

        if (v->put_off >= 0 || !f->x)
            QL_TRY(cx, arrive(v, f, k));
        if (wait)
            continue;
        QL_TRY(cx, ql_block_linears(cx, v->w->block, k, as, f));
        ql_drop(cx, &f->x);
    }
    v->put_off = wait ? k : -1;
    v->as = as;
    return QL_OK;
}

static ql_status
visit_subset(visit *v, int k)
{
    ql_ctx *cx = v->w->cx;
    ql_stream *s = v->stream;

    if (ql_need_stats(v->w, s))
        QL_TRY(cx, gather(v, k));
    QL_TRY(cx, make_variants(v->w, s->visit, k));
    if (ql_variant_failed(s->through)) {
        ql_stream_kill(s);
        return QL_OK;
    }
    QL_TRY(cx, multiply(v, k));
    if (v->twin && ql_variant_differs(v->w, s->through, k))
        v->twin = NULL;
    if (!s->kept && s->followers == 0) {
        ql_gather_unref(cx, s->gathered[k]);
        s->gathered[k] = NULL;
    }
    return QL_OK;
}

static ql_status
visit_tokens(visit *v)
{
    ql_ctx *cx = v->w->cx;
    const int subsets = v->w->model->info.subsets;

    v->flows = ql_alloc(cx, (size_t)span_count(v), sizeof *v->flows);
    if (!v->flows)
        return QL_MEMORY;
    for (int64_t c = 0; c < span_count(v); c++) {
        ql_tensor *h;

        QL_TRY(cx, ql_hidden_wake(cx, v->stream->h[c], &h));
        v->flows[c] = (ql_flow){.seqs = &ql_stream_span(v->stream, c)->seqs, .h = h};
    }
    for (int k = 0; k < subsets && !v->stream->dead; k++)
        QL_TRY(cx, visit_subset(v, k));
    for (int64_t c = 0; c < span_count(v) && !v->stream->dead; c++) {
        QL_TRY(cx, step(v, &v->flows[c], subsets));
        QL_TRY(cx, ql_stream_put(v->w, v->stream, c, v->flows[c].h));
        ql_drop(cx, &v->flows[c].h);
    }
    return QL_OK;
}

static ql_status
visit_with(ql_walk *w, ql_stream *s)
{
    visit v = {.w = w, .stream = s, .twin = s->equal_to, .put_off = -1};
    ql_scope scope;

    if (s->dead || (v.twin && !ql_variant_differs(w, s->through, -1)))
        return QL_OK; /* overrides leave the whole block alone: the stream goes on following */
    ql_stream_fork(s);
    ql_scope_open(w->cx, &scope);
    QL_TRY(w->cx, visit_tokens(&v));
    ql_scope_close(w->cx, &scope);
    return QL_OK;
}

static ql_status
visit_without(ql_walk *w, int64_t turn)
{
    for (int k = 0; k < w->model->info.subsets; k++)
        QL_TRY(w->cx, make_variants(w, turn, k));
    return QL_OK;
}

ql_status
ql_visit_run(ql_walk *w, ql_stream *s)
{
    ql_meter meter;

    QL_TRY(w->cx, ql_meter_start(w, &meter));
    if (s && ql_need_passes(w, s))
        QL_TRY(w->cx, visit_with(w, s));
    else
        QL_TRY(w->cx, visit_without(w, s ? s->visit : 0));
    ql_variant_forget_decoded(w);
    return ql_meter_stop(w, &meter, s ? &s->cost : &w->load);
}
