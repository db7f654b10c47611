/* One stream's turn at one block: forward up to each subset, gather statistics, run the units, multiply by what they left. */
#include "tensor/tensor.h"
#include "walk.h"

typedef struct place { /* where a chunk has come to in the block */
    ql_hidden *h;      /* the residual stream */
    ql_hidden *x;      /* input of the subset that comes next; NULL: not made yet */
    ql_hidden **y;     /* [linear_count] products of the last subset's linears; NULL behind the last */
} place;

typedef struct ql_visit {
    ql_walk *w;
    ql_stream *stream;
    ql_stream *twin; /* the stream that this one was equal to when the block began, while it still is; NULL: none */
    place *places;   /* [lane.count], on the heap */
    int64_t at;      /* the chunk at hand */
    int put_off;     /* subset whose products are still to be made, from the x that the places hold; -1: none */
    const ql_weight *const *as; /* its weights */
} visit;

const ql_stream *
ql_visit_stream(const visit *v)
{
    return v->stream;
}

static int64_t
chunk_count(const visit *v)
{
    return v->stream->lane.count;
}

/* --- places ----------------------------------------------------------------------------------------------------- */

static void
leave_hidden(ql_hidden **h)
{
    ql_hidden_unref(*h);
    *h = NULL;
}

static void
leave_products(const visit *v, place *p)
{
    for (int i = 0; i < v->w->model->info.linear_count; i++)
        leave_hidden(&p->y[i]);
}

/* The chunk at hand as its place has it, in the innermost scope; the one behind it is on its way. */
static ql_status
wake(visit *v, int64_t c, ql_flow *f)
{
    ql_ctx *cx = v->w->cx;
    const place *p = &v->places[c], *next = c + 1 < chunk_count(v) ? p + 1 : NULL;

    QL_TRY(cx, ql_check_interrupt(cx));
    v->at = c;
    *f = (ql_flow){.seqs = &ql_stream_span(v->stream, c)->seqs};
    QL_TRY(cx, ql_hidden_wake(cx, p->h, &f->h));
    if (p->x)
        QL_TRY(cx, ql_hidden_wake(cx, p->x, &f->x));
    if (p->y[0]) {
        f->y = ql_alloc(cx, (size_t)v->w->model->info.linear_count, sizeof *f->y);
        if (!f->y)
            return QL_MEMORY;
        for (int i = 0; i < v->w->model->info.linear_count && p->y[i]; i++)
            QL_TRY(cx, ql_hidden_wake(cx, p->y[i], &f->y[i]));
    }
    for (int i = 0; next && i < v->w->model->info.linear_count; i++)
        ql_hidden_ahead(next->y[i]);
    if (next) {
        ql_hidden_ahead(next->x);
        ql_hidden_ahead(next->h);
    }
    return QL_OK;
}

/* `t`, which may be NULL, takes the place of what waits in `h`. */
static ql_status
replace(visit *v, ql_hidden **h, const ql_tensor *t)
{
    leave_hidden(h);
    return t ? ql_hidden_new(v->w->cx, t, h) : QL_OK;
}

/* Step k of the chunk; the products that it consumed and the residual stream that it replaced are let go. */
static ql_status
step(visit *v, place *p, ql_flow *f, int k)
{
    ql_ctx *cx = v->w->cx;
    ql_flow old = *f;

    leave_products(v, p);
    QL_TRY(cx, ql_block_step(cx, v->w->block, k, f));
    for (int i = 0; old.y && i < v->w->model->info.linear_count && old.y[i]; i++)
        ql_drop(cx, &old.y[i]);
    f->y = NULL;
    if (old.h != f->h) {
        QL_TRY(cx, replace(v, &p->h, f->h));
        ql_drop(cx, &old.h);
    }
    return QL_OK;
}

/* Puts the chunks on their way: at the start of the block all stand where the stream does. */
static ql_status
open_places(visit *v)
{
    const size_t linears = (size_t)v->w->model->info.linear_count;
    ql_hidden **y = ql_alloc(v->w->cx, (size_t)chunk_count(v) * linears, sizeof(ql_hidden *));

    v->places = ql_alloc(v->w->cx, (size_t)chunk_count(v), sizeof *v->places);
    if (!v->places || !y)
        return QL_MEMORY;
    for (int64_t c = 0; c < chunk_count(v); c++)
        v->places[c] = (place){.h = ql_hidden_ref(v->stream->h[c]), .y = y + (size_t)c * linears};
    return QL_OK;
}

static void
close_places(visit *v)
{
    for (int64_t c = 0; v->places && c < chunk_count(v); c++) {
        leave_products(v, &v->places[c]);
        leave_hidden(&v->places[c].x);
        leave_hidden(&v->places[c].h);
    }
}

static ql_status
park_place(visit *v, place *p, bool *freed)
{
    for (int i = 0; i < v->w->model->info.linear_count && !*freed; i++)
        QL_TRY(v->w->cx, ql_hidden_park(v->w, p->y[i], freed));
    if (!*freed)
        QL_TRY(v->w->cx, ql_hidden_park(v->w, p->x, freed));
    return *freed ? QL_OK : ql_hidden_park(v->w, p->h, freed);
}

/* Chunks take turns: the one that has just had its turn waits longest for the next. */
ql_status
ql_visit_make_room(ql_walk *w, bool *freed)
{
    visit *v = w->visit;

    for (int64_t c = v->at; c-- > 0 && !*freed;)
        QL_TRY(w->cx, park_place(v, &v->places[c], freed));
    for (int64_t c = chunk_count(v); --c > v->at && !*freed;)
        QL_TRY(w->cx, park_place(v, &v->places[c], freed));
    return QL_OK;
}

/* --- subsets ---------------------------------------------------------------------------------------------------- */

/* Is there no room to keep the products of subset k for all tokens? Then they are made chunk by chunk, once for the
 * statistics behind them and once more to go on: the same bits, for more time, but less than it would take them to leave a device and
 * come back. */
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
    return room > 0 && !(d->info.host_memory && v->w->spill.folder) && k + 1 < info->subsets && v->put_off < 0 &&
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

/* Brings the chunk to the input of subset k, through products that were put off. */
static ql_status
arrive(visit *v, place *p, ql_flow *f, int k)
{
    ql_tensor *before = f->x;

    if (v->put_off >= 0) {
        leave_hidden(&p->x);
        QL_TRY(v->w->cx, ql_block_linears(v->w->cx, v->w->block, v->put_off, v->as, f));
        ql_drop(v->w->cx, &before);
    }
    return step(v, p, f, k);
}

static ql_status
gather_chunk(visit *v, int64_t c, int k, ql_gathered *g)
{
    ql_ctx *cx = v->w->cx;
    place *p = &v->places[c];
    ql_scope scope;
    ql_flow f;

    ql_scope_open(cx, &scope);
    QL_TRY(cx, wake(v, c, &f));
    if (v->put_off < 0) {
        QL_TRY(cx, step(v, p, &f, k));
        QL_TRY(cx, replace(v, &p->x, f.x));
    } else {
        QL_TRY(cx, ql_block_linears(cx, v->w->block, v->put_off, v->as, &f));
        QL_TRY(cx, ql_block_step(cx, v->w->block, k, &f));
    }
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
    for (int64_t c = 0; c < chunk_count(v); c++)
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

/* The chunk's products of subset k; `wait`: its input only. */
static ql_status
multiply_chunk(visit *v, int64_t c, int k, bool wait, const ql_weight *const *as)
{
    ql_ctx *cx = v->w->cx;
    place *p = &v->places[c];
    ql_scope scope;
    ql_flow f;

    ql_scope_open(cx, &scope);
    QL_TRY(cx, wake(v, c, &f));
    if (v->put_off >= 0 || !f.x)
        QL_TRY(cx, arrive(v, p, &f, k));
    if (wait) {
        QL_TRY(cx, replace(v, &p->x, f.x));
    } else {
        leave_hidden(&p->x);
        QL_TRY(cx, ql_block_linears(cx, v->w->block, k, as, &f));
        for (int l = 0, i = 0; l < v->w->model->info.linear_count; l++)
            if (v->w->model->info.linears[l].subset == k) {
                QL_TRY(cx, replace(v, &p->y[i], f.y[i]));
                i++;
            }
    }
    ql_scope_close(cx, &scope);
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
    for (int64_t c = 0; c < chunk_count(v); c++)
        QL_TRY(cx, multiply_chunk(v, c, k, wait, as));
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

/* The chunk leaves the block. */
static ql_status
end_chunk(visit *v, int64_t c)
{
    ql_ctx *cx = v->w->cx;
    ql_scope scope;
    ql_flow f;

    ql_scope_open(cx, &scope);
    QL_TRY(cx, wake(v, c, &f));
    QL_TRY(cx, step(v, &v->places[c], &f, v->w->model->info.subsets));
    leave_hidden(&v->places[c].h);
    QL_TRY(cx, ql_stream_put(v->w, v->stream, c, f.h));
    ql_scope_close(cx, &scope);
    return QL_OK;
}

static ql_status
visit_tokens(visit *v)
{
    const int subsets = v->w->model->info.subsets;

    QL_TRY(v->w->cx, open_places(v));
    for (int k = 0; k < subsets && !v->stream->dead; k++)
        QL_TRY(v->w->cx, visit_subset(v, k));
    for (int64_t c = 0; c < chunk_count(v) && !v->stream->dead; c++)
        QL_TRY(v->w->cx, end_chunk(v, c));
    return QL_OK;
}

static ql_status
visit_with(ql_walk *w, ql_stream *s)
{
    visit v = {.w = w, .stream = s, .twin = s->equal_to, .put_off = -1};
    ql_scope scope;
    ql_status st;

    if (s->dead || (v.twin && !ql_variant_differs(w, s->through, -1)))
        return QL_OK; /* overrides leave the whole block alone: the stream goes on following */
    ql_stream_fork(s);
    ql_scope_open(w->cx, &scope);
    w->visit = &v;
    st = visit_tokens(&v);
    w->visit = NULL;
    close_places(&v);
    ql_scope_close(w->cx, &scope);
    return st;
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
