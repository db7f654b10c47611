/* One chunk through one block of a model whose adapters are trained: forward with all that the backward reads, then backward
 * (docs/training.md). Weights are frozen: nothing here makes a gradient for them. */
#include "tensor/op.h"
#include "tensor/tensor.h"
#include "train.h"

/* --- what multiplies ------------------------------------------------------------------------------------------------ */

ql_status
ql_train_weights(ql_training *t, int64_t layer, const ql_tensor ***out)
{
    ql_ctx *cx = t->w->cx;
    const ql_tensor **all = ql_alloc(cx, (size_t)t->linears, sizeof *all);

    if (!all)
        return QL_MEMORY;
    for (int l = 0; l < t->linears; l++) {
        const ql_frozen *f = &t->frozen[layer * t->linears + l];
        ql_tensor *w = NULL;
        ql_scope scope;
        ql_status st;

        all[l] = f->w;
        if (f->w)
            continue;
        ql_scope_open(cx, &scope);
        st = ql_group_decode(cx, &f->q, &w);
        if (st == QL_OK && ql_dtype_of(w) != t->compute)
            st = ql_convert(cx, w, t->compute, &w);
        QL_TRY(cx, ql_scope_yield(cx, &scope, st, (ql_tensor * *const[]){&w}, 1));
        all[l] = w;
    }
    *out = all;
    return QL_OK;
}

/* --- dropout -------------------------------------------------------------------------------------------------------- */

static bool
drops(const ql_training *t, const ql_tuned *a)
{
    return t->dropping && t->course.dropout > 0 && a->trained;
}

/* The mask of linear l's input in this update, times x. */
static ql_status
drop(const ql_training *t, int64_t layer, int l, const ql_span *span, const ql_tensor *x, ql_tensor *out)
{
    const ql_dropout_spec spec = {.seed = t->course.seed,
                                  .update = t->update,
                                  .linear = layer * t->linears + l,
                                  .first = span->first_token,
                                  .p = t->course.dropout};

    return ql_dropout(t->w->cx, &spec, x, out);
}

/* What A multiplies: x, or x under its mask. */
static ql_status
input_of(const ql_training *t, int64_t layer, int l, const ql_span *span, const ql_tensor *x, const ql_tensor **out)
{
    ql_tensor *masked;

    *out = x;
    if (!drops(t, ql_tuned_at(t, layer, l)))
        return QL_OK;
    QL_TRY(t->w->cx, ql_new(t->w->cx, ql_dtype_of(x), ql_dim(x, 0), ql_dim(x, 1), &masked));
    QL_TRY(t->w->cx, drop(t, layer, l, span, x, masked));
    *out = masked;
    return QL_OK;
}

/* --- forward -------------------------------------------------------------------------------------------------------- */

/* y = x W^T + bias + s u B^T with u = (m x) A^T; `u` stays NULL without an adapter. */
static ql_status
linear_forward(const ql_training *t, int64_t layer, int l, const ql_tensor *weight, const ql_span *span,
               const ql_tensor *x, ql_tensor **y, ql_tensor **u)
{
    ql_ctx *cx = t->w->cx;
    const ql_tuned *a = ql_tuned_at(t, layer, l);
    const ql_weight plain = {.w = weight};
    const ql_tensor *masked;
    ql_scope scope;

    QL_TRY(cx, ql_block_linear(cx, t->blocks[layer], l, &plain, &span->seqs, x, y));
    if (a->rank == 0)
        return QL_OK;
    QL_TRY(cx, ql_new(cx, t->compute, ql_dim(x, 0), a->rank, u));
    ql_scope_open(cx, &scope);
    QL_TRY(cx, input_of(t, layer, l, span, x, &masked));
    QL_TRY(cx, ql_gemm(cx, QL_NT, 1, masked, a->used[QL_TUNED_A], 0, *u));
    ql_scope_close(cx, &scope);
    return ql_gemm(cx, QL_NT, 1, *u, a->used[QL_TUNED_B], 1, *y);
}

static ql_status
open_inner(ql_ctx *cx, const ql_training *t, ql_inner *in)
{
    const size_t steps = (size_t)t->subsets + 2, linears = (size_t)t->linears;

    in->h = ql_alloc(cx, steps, sizeof *in->h);
    in->x = ql_alloc(cx, steps, sizeof *in->x);
    in->y = ql_alloc(cx, steps, sizeof *in->y);
    in->u = ql_alloc(cx, linears, sizeof *in->u);
    in->kept = ql_alloc(cx, steps, sizeof *in->kept);
    return in->h && in->x && in->y && in->u && in->kept ? QL_OK : QL_MEMORY;
}

/* All linears of subset k. */
static ql_status
subset_forward(const ql_training *t, int64_t layer, int k, const ql_tensor *const *weights, const ql_span *span,
               ql_inner *in)
{
    const ql_linear_info *linears = t->w->model->info.linears;
    int n = 0;

    in->y[k] = ql_alloc(t->w->cx, (size_t)t->linears, sizeof(ql_tensor *));
    if (!in->y[k])
        return QL_MEMORY;
    for (int l = 0; l < t->linears; l++)
        if (linears[l].subset == k)
            QL_TRY(t->w->cx, linear_forward(t, layer, l, weights[l], span, in->x[k], &in->y[k][n++], &in->u[l]));
    return QL_OK;
}

static ql_status
forward(const ql_training *t, int64_t layer, const ql_tensor *const *weights, const ql_span *span, const ql_tensor *h,
        ql_inner *in)
{
    ql_ctx *cx = t->w->cx;
    ql_flow f = {.seqs = &span->seqs};

    QL_TRY(cx, open_inner(cx, t, in));
    QL_TRY(cx, ql_tensor_borrow(cx, h, &f.h));
    for (int k = 0; k <= t->subsets; k++) {
        in->h[k] = f.h;
        f.y = k > 0 ? in->y[k - 1] : NULL;
        f.kept = in->kept[k];
        QL_TRY(cx, ql_block_step(cx, t->blocks[layer], k, &f));
        in->x[k] = f.x;
        if (k < t->subsets)
            QL_TRY(cx, subset_forward(t, layer, k, weights, span, in));
    }
    in->h[t->subsets + 1] = f.h;
    return QL_OK;
}

ql_status
ql_train_forward(ql_training *t, int64_t layer, const ql_tensor *const *weights, const ql_span *span,
                 const ql_tensor *h, ql_inner *in)
{
    in->made = true;
    ql_scope_enter(t->w->cx, &in->scope);
    return ql_scope_leave(t->w->cx, &in->scope, forward(t, layer, weights, span, h, in));
}

void
ql_inner_close(ql_ctx *cx, ql_inner *in)
{
    if (in->made) {
        ql_scope_enter(cx, &in->scope);
        ql_scope_close(cx, &in->scope);
    }
    *in = (ql_inner){.made = false};
}

/* --- backward ------------------------------------------------------------------------------------------------------- */

/* Does anything before the input of subset k of the block want its gradient? */
static bool
goes_on(const ql_training *t, int64_t layer, int k)
{
    for (int l = 0; layer == t->lowest && l < t->linears; l++)
        if (ql_tuned_at(t, layer, l)->trained && t->w->model->info.linears[l].subset < k)
            return true;
    return layer > t->lowest;
}

/* dB += s dy^T u and dA += du^T (m x). */
static ql_status
adapter_back(const ql_training *t, int64_t layer, int l, const ql_span *span, const ql_inner *in, const ql_tensor *dy,
             const ql_tensor *du)
{
    ql_ctx *cx = t->w->cx;
    const ql_tuned *a = ql_tuned_at(t, layer, l);
    const ql_tensor *x;

    QL_TRY(cx, ql_gemm(cx, QL_TN, a->scale, dy, in->u[l], 1, a->g[QL_TUNED_B]));
    QL_TRY(cx, input_of(t, layer, l, span, in->x[t->w->model->info.linears[l].subset], &x));
    return ql_gemm(cx, QL_TN, 1, du, x, 1, a->g[QL_TUNED_A]);
}

/* dx += m (du A). */
static ql_status
through_adapter(const ql_training *t, int64_t layer, int l, const ql_span *span, const ql_tensor *du, ql_tensor *dx)
{
    ql_ctx *cx = t->w->cx;
    const ql_tuned *a = ql_tuned_at(t, layer, l);
    ql_tensor *part;

    if (!drops(t, a))
        return ql_gemm(cx, QL_NN, 1, du, a->used[QL_TUNED_A], 1, dx);
    QL_TRY(cx, ql_new(cx, t->sum, ql_dim(dx, 0), ql_dim(dx, 1), &part));
    QL_TRY(cx, ql_gemm(cx, QL_NN, 1, du, a->used[QL_TUNED_A], 0, part));
    QL_TRY(cx, drop(t, layer, l, span, part, part));
    return ql_axpby(cx, 1, part, 1, dx);
}

/* Gradients of linear l from that of its output; `dx` NULL: nothing wants that of its input, else it is dx = beta dx + that. */
static ql_status
linear_back(const ql_training *t, int64_t layer, int l, const ql_tensor *weight, const ql_span *span,
            const ql_inner *in, const ql_tensor *dy, double beta, ql_tensor *dx)
{
    ql_ctx *cx = t->w->cx;
    const ql_tuned *a = ql_tuned_at(t, layer, l);
    ql_tensor *du;

    if (dx)
        QL_TRY(cx, ql_gemm(cx, QL_NN, 1, dy, weight, beta, dx));
    if (a->rank == 0 || (!dx && !a->trained))
        return QL_OK;
    QL_TRY(cx, ql_new(cx, t->compute, ql_dim(dy, 0), a->rank, &du));
    QL_TRY(cx, ql_gemm(cx, QL_NN, 1, dy, a->used[QL_TUNED_B], 0, du));
    if (a->trained)
        QL_TRY(cx, adapter_back(t, layer, l, span, in, dy, du));
    return dx ? through_adapter(t, layer, l, span, du, dx) : QL_OK;
}

/* All linears of subset k, in their order; *dx, made, is the gradient of their input, NULL where nothing wants it. */
static ql_status
subset_back(const ql_training *t, int64_t layer, int k, const ql_tensor *const *weights, const ql_span *span,
            const ql_inner *in, ql_tensor *const *dy, ql_tensor **dx)
{
    ql_ctx *cx = t->w->cx;
    const ql_tensor *x = in->x[k];
    int n = 0;

    *dx = NULL;
    if (goes_on(t, layer, k))
        QL_TRY(cx, ql_new(cx, t->sum, ql_dim(x, 0), ql_dim(x, 1), dx));
    for (int l = 0; l < t->linears; l++) {
        ql_scope scope;

        if (t->w->model->info.linears[l].subset != k)
            continue;
        ql_scope_open(cx, &scope);
        QL_TRY(cx, linear_back(t, layer, l, weights[l], span, in, dy[n], n > 0, *dx));
        ql_scope_close(cx, &scope);
        n++;
    }
    return QL_OK;
}

/* Step k and the subset before it: from the gradient `dx` of the step's x to that of the subset's input. */
static ql_status
step_back(const ql_training *t, int64_t layer, int k, const ql_tensor *const *weights, const ql_span *span,
          const ql_inner *in, ql_tensor *dh, ql_tensor **dx)
{
    ql_ctx *cx = t->w->cx;
    const ql_flow f = {
        .seqs = &span->seqs, .h = in->h[k], .x = in->x[k], .y = k > 0 ? in->y[k - 1] : NULL, .kept = in->kept[k]};
    ql_tensor **dy = ql_alloc(cx, (size_t)t->linears, sizeof *dy), *before = NULL;

    if (!dy)
        return QL_MEMORY;
    QL_TRY(cx, ql_block_step_back(cx, t->blocks[layer], k, &f, in->h[k + 1],
                                  &(ql_grad){.dx = *dx, .dh = dh, .dy = k > 0 ? dy : NULL}));
    if (k > 0)
        QL_TRY(cx, subset_back(t, layer, k - 1, weights, span, in, dy, &before));
    *dx = before;
    return QL_OK;
}

ql_status
ql_train_backward(ql_training *t, int64_t layer, const ql_tensor *const *weights, const ql_span *span,
                  const ql_inner *in, ql_tensor *dh)
{
    ql_ctx *cx = t->w->cx;
    ql_tensor *dx = NULL;

    for (int k = t->subsets; k >= 0 && (k == t->subsets || dx); k--) {
        ql_tensor *const after = dx;
        ql_scope scope;
        ql_status st;

        ql_scope_open(cx, &scope);
        st = step_back(t, layer, k, weights, span, in, dh, &dx);
        QL_TRY(cx, ql_scope_yield(cx, &scope, st, (ql_tensor * *const[]){&dx}, 1));
        if (after)
            ql_drop(cx, &(ql_tensor *){after});
    }
    return QL_OK;
}
