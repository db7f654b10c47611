/* All blocks of a model in training, forward and backward. Each is decoded once a direction, however many sequences there are; the hidden
 * states at the borders of blocks are kept, and what lies inside for as many of the last blocks as there is room for. The rest is worked
 * out again, with the same bits. */
#include "tensor/tensor.h"
#include "train.h"

typedef struct pass {
    ql_training *t;
    const ql_batch *batch;
    int64_t chunks;
    ql_tensor **borders; /* [layers + 1][chunks], before each block and behind the last; NULL: not kept */
    ql_inner *inner;     /* [layers][chunks] */
} pass;

static ql_tensor **
border(const pass *p, int64_t layer, int64_t c)
{
    return &p->borders[layer * p->chunks + c];
}

static const ql_span *
span_at(const pass *p, int64_t c)
{
    return &p->batch->corpus.spans[c];
}

/* `t` takes the place of what is there, which may be NULL as `t` may. */
static void
put(ql_tensor **at, const ql_tensor *t)
{
    ql_tensor *old = *at;

    *at = t ? ql_tensor_ref(t) : NULL;
    ql_tensor_unref(old);
}

static void
close_pass(pass *p)
{
    const int64_t borders = (p->t->layers + 1) * p->chunks;

    for (int64_t i = 0; p->inner && i < p->t->layers * p->chunks; i++)
        ql_inner_close(p->t->w->cx, &p->inner[i]);
    for (int64_t i = 0; p->borders && i < borders; i++)
        put(&p->borders[i], NULL);
}

/* --- forward -------------------------------------------------------------------------------------------------------- */

static ql_status
embed(pass *p)
{
    ql_walk *w = p->t->w;

    for (int64_t c = 0; c < p->chunks; c++) {
        const ql_span *span = span_at(p, c);
        ql_scope scope;
        ql_tensor *h;

        ql_scope_open(w->cx, &scope);
        QL_TRY(w->cx, ql_model_embed(w->cx, w->model, p->batch->corpus.tokens.ids + span->first_token,
                                     ql_span_tokens(span), &h));
        put(border(p, 0, c), h);
        ql_scope_close(w->cx, &scope);
    }
    return QL_OK;
}

/* Chunk c through block `layer`; what lies inside stays where `keep`. */
static ql_status
forward_chunk(pass *p, int64_t layer, int64_t c, const ql_tensor *const *weights, bool keep)
{
    ql_training *t = p->t;
    ql_inner *in = &p->inner[layer * p->chunks + c];

    QL_TRY(t->w->cx, ql_check_interrupt(t->w->cx));
    QL_TRY(t->w->cx, ql_train_forward(t, layer, weights, span_at(p, c), *border(p, layer, c), in));
    put(border(p, layer + 1, c), in->h[t->subsets + 1]);
    if (!keep)
        ql_inner_close(t->w->cx, in);
    return QL_OK;
}

static ql_status
forward(pass *p, bool gradients)
{
    ql_training *t = p->t;
    ql_ctx *cx = t->w->cx;

    QL_TRY(cx, embed(p));
    for (int64_t layer = 0; layer < t->layers; layer++) {
        const bool keep = gradients && layer >= t->keep_from;
        const ql_tensor **weights;
        ql_scope scope;

        ql_scope_open(cx, &scope);
        QL_TRY(cx, ql_train_weights(t, layer, &weights));
        for (int64_t c = 0; c < p->chunks; c++) {
            QL_TRY(cx, forward_chunk(p, layer, c, weights, keep));
            if (!gradients || layer < t->lowest || keep) /* nothing goes forward from here again */
                put(border(p, layer, c), NULL);
        }
        ql_scope_close(cx, &scope);
    }
    return QL_OK;
}

/* --- the end of the model --------------------------------------------------------------------------------------------- */

static ql_status
add_up(ql_ctx *cx, const ql_tensor *nll, double *sum)
{
    const int64_t n = ql_count(nll);
    const void *values;

    if (n == 0)
        return QL_OK;
    QL_TRY(cx, ql_map(cx, nll, QL_READ, &values));
    for (int64_t i = 0; i < n; i++)
        *sum += ql_dtype_of(nll) == QL_F64 ? ((const double *)values)[i] : (double)((const float *)values)[i];
    return ql_unmap(cx, nll);
}

/* Loss of chunk c, and with `gradients` that of the hidden states behind the last block in their place. */
static ql_status
end_chunk(pass *p, int64_t c, bool gradients, double *sum)
{
    ql_training *t = p->t;
    ql_ctx *cx = t->w->cx;
    const ql_model_handle *m = t->w->model;
    const ql_span *span = span_at(p, c);
    ql_tensor *h, *x, *nll, *dx = NULL, *dh;

    QL_TRY(cx, ql_tensor_borrow(cx, *border(p, t->layers, c), &h));
    QL_TRY(cx, ql_model_norm(cx, m, &t->ends, h, &x));
    QL_TRY(cx, ql_head_loss(cx, x, t->ends.head, p->batch->targets + span->first_token,
                            p->batch->count ? 1.0 / (double)p->batch->count : 0, &nll, gradients ? &dx : NULL));
    QL_TRY(cx, add_up(cx, nll, sum));
    if (!gradients)
        return QL_OK;
    QL_TRY(cx, ql_new(cx, t->sum, ql_dim(h, 0), ql_dim(h, 1), &dh));
    QL_TRY(cx, ql_rmsnorm_back(cx, h, t->ends.norm, m->info.norm_eps, dx, 0, dh));
    put(border(p, t->layers, c), dh);
    return QL_OK;
}

static ql_status
end(pass *p, bool gradients, double *loss)
{
    ql_ctx *cx = p->t->w->cx;
    double sum = 0;

    for (int64_t c = 0; c < p->chunks; c++) {
        ql_scope scope;

        QL_TRY(cx, ql_check_interrupt(cx));
        ql_scope_open(cx, &scope);
        QL_TRY(cx, end_chunk(p, c, gradients, &sum));
        ql_scope_close(cx, &scope);
    }
    *loss = p->batch->count ? sum / (double)p->batch->count : 0;
    return QL_OK;
}

/* --- backward ------------------------------------------------------------------------------------------------------- */

static ql_status
backward_chunk(pass *p, int64_t layer, int64_t c, const ql_tensor *const *weights)
{
    ql_training *t = p->t;
    ql_inner *in = &p->inner[layer * p->chunks + c];

    QL_TRY(t->w->cx, ql_check_interrupt(t->w->cx));
    if (!in->made)
        QL_TRY(t->w->cx, ql_train_forward(t, layer, weights, span_at(p, c), *border(p, layer, c), in));
    QL_TRY(t->w->cx, ql_train_backward(t, layer, weights, span_at(p, c), in, *border(p, t->layers, c)));
    ql_inner_close(t->w->cx, in);
    put(border(p, layer, c), NULL);
    return QL_OK;
}

static ql_status
backward(pass *p)
{
    ql_training *t = p->t;
    ql_ctx *cx = t->w->cx;

    for (int64_t layer = t->layers; layer-- > t->lowest;) {
        const ql_tensor **weights;
        ql_scope scope;

        ql_scope_open(cx, &scope);
        QL_TRY(cx, ql_train_weights(t, layer, &weights));
        for (int64_t c = 0; c < p->chunks; c++)
            QL_TRY(cx, backward_chunk(p, layer, c, weights));
        ql_scope_close(cx, &scope);
    }
    return QL_OK;
}

/* --- the whole ------------------------------------------------------------------------------------------------------ */

static ql_status
run(pass *p, bool gradients, double *loss)
{
    ql_ctx *cx = p->t->w->cx;

    p->borders = ql_alloc(cx, (size_t)((p->t->layers + 1) * p->chunks), sizeof(ql_tensor *));
    p->inner = ql_alloc(cx, (size_t)(p->t->layers * p->chunks), sizeof *p->inner);
    if (!p->borders || !p->inner)
        return QL_MEMORY;
    QL_TRY(cx, forward(p, gradients));
    QL_TRY(cx, end(p, gradients, loss));
    return gradients ? backward(p) : QL_OK;
}

ql_status
ql_train_pass(ql_training *t, const ql_batch *batch, bool gradients, double *loss)
{
    pass p = {.t = t, .batch = batch, .chunks = batch->corpus.span_count};
    ql_scope scope;
    ql_status st;

    ql_scope_open(t->w->cx, &scope);
    st = run(&p, gradients, loss);
    close_pass(&p);
    ql_scope_close(t->w->cx, &scope);
    return st;
}
