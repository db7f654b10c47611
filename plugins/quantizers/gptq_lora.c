/* GPTQ-intrinsic LoRA (Zhang and Saab, arXiv:2606.01412, algorithm 3; docs/methods.md 9.1): GPTQ over the columns of [W | 0], where the
 * last r multiply the inputs' principal directions V^T x and are never quantized: they absorb error. Then the paper's refit of the adapter
 * (OLrC, algorithm 2; 9.2) and moves of codes towards what the adapter leaves (Bid-Up, algorithm 4; 9.2). */
#include <math.h>

#include <qloom/compensator.h>
#include <qloom/lowrank.h>

#include "feedback.h"

typedef struct gptq_lora {
    int bits, group_size, scale_dtype, rank, adapter_dtype, bid_up, precision;
    bool sym, static_groups, refit;
    double mse, damp, damp_inc;
} gptq_lora;

static const char *const precisions[] = {"fp32", "fp64", NULL};

static const ql_param params[] = {
    QL_BITS(gptq_lora, 4),
    QL_GROUP_SIZE(gptq_lora, 128),
    QL_SYM(gptq_lora, false),
    QL_MSE(gptq_lora),
    QL_SCALE_DTYPE(gptq_lora),
    QL_DAMP(gptq_lora, 0.01),
    QL_NUM(gptq_lora, damp_inc, 0.01, 1e-4, 0.5, "added to damp after a factorization that failed"),
    QL_NUM(gptq_lora, rank, 64, 0, 1 << 16, "rank of its own adapter; 0: none, plain GPTQ"),
    QL_ADAPTER_DTYPE(gptq_lora),
    QL_FLAG(gptq_lora, static_groups, true, "scales from the weight before any error feedback"),
    QL_FLAG(gptq_lora, refit, true,
            "after the pass, the best adapter for its codes in the damped norm instead of the pass's own (OLrC)"),
    QL_NUM(gptq_lora, bid_up, 0, 0, 1000,
           "rounds of moving each code to its best value beside the adapter, and a refit, until none moves (Bid-Up)"),
    QL_ENUM(gptq_lora, precision, 0, precisions, "arithmetic of the factorization and of the column loop"),
    QL_PARAMS_END,
};

typedef struct task { /* tensors without another word are in the arithmetic's dtype */
    ql_ctx *cx;
    const gptq_lora *p;
    ql_dtype dtype;
    ql_tensor *w;       /* [m, n]: the weight, dead columns zero */
    ql_tensor *h;       /* [n, n] */
    ql_tensor *a;       /* [r, n]: V^T, rounded to adapter_dtype; NULL: no direction has energy */
    ql_tensor *haug;    /* [n + r, n + r]: of the inputs [x | V^T x] */
    ql_tensor *damped;  /* [n, n]: H + delta I, the norm of refit and moves */
    ql_tensor *inverse; /* [n, n]: of the lower triangle of `damped` */
    ql_tensor *u;       /* [n, n]: the feedback of the moves */
} task;

/* The top eigenvectors of H as rows: the left singular vectors of H in the plain norm. Rounded first, so that the pass absorbs that. */
static ql_status
principal_directions(task *t, const ql_stats *stats)
{
    ql_lowrank_result top;
    ql_tensor *v;

    QL_TRY(t->cx, ql_lowrank(t->cx, stats->h, &(ql_lowrank_spec){.rank = t->p->rank}, &top));
    while (top.rank > 0 && top.sig2[top.rank - 1] <= 1e-12 * top.sig2[0])
        top.rank--; /* an eigenvalue below 1e-6 of the largest is noise */
    if (top.rank < 1)
        return QL_OK;
    QL_TRY(t->cx, ql_cols(t->cx, top.u, 0, top.rank, &v));
    QL_TRY(t->cx, ql_transpose(t->cx, v, &v));
    QL_TRY(t->cx, ql_convert(t->cx, v, ql_float_dtype(t->p->adapter_dtype), &v));
    return ql_convert(t->cx, v, t->dtype, &t->a);
}

/* Rows at[0] .. and columns at[2] .. of x. */
static ql_status
block(ql_ctx *cx, const ql_tensor *x, const int64_t at[4], ql_tensor **out)
{
    QL_TRY(cx, ql_rows(cx, x, at[0], at[1], out));
    return ql_cols(cx, *out, at[2], at[3], out);
}

static ql_status
augment(task *t)
{
    ql_ctx *cx = t->cx;
    const int64_t n = ql_dim(t->h, 0), r = ql_dim(t->a, 0);
    ql_tensor *hh, *hv, *vh, *vv;

    QL_TRY(cx, ql_new(cx, t->dtype, n + r, n + r, &t->haug));
    QL_TRY(cx, block(cx, t->haug, (const int64_t[]){0, n, 0, n}, &hh));
    QL_TRY(cx, block(cx, t->haug, (const int64_t[]){0, n, n, r}, &hv));
    QL_TRY(cx, block(cx, t->haug, (const int64_t[]){n, r, 0, n}, &vh));
    QL_TRY(cx, block(cx, t->haug, (const int64_t[]){n, r, n, r}, &vv));
    QL_TRY(cx, ql_copy(cx, t->h, hh));
    QL_TRY(cx, ql_gemm(cx, QL_NT, 1, t->h, t->a, 0, hv));
    QL_TRY(cx, ql_gemm(cx, QL_NN, 1, t->a, t->h, 0, vh));
    return ql_gemm(cx, QL_NT, 1, vh, t->a, 0, vv);
}

/* x - W^ */
static ql_status
rest_of(task *t, const ql_tensor *x, const ql_qlinear *q, ql_tensor **e)
{
    ql_tensor *what;

    QL_TRY(t->cx, ql_group_decode(t->cx, q, &what));
    QL_TRY(t->cx, ql_convert(t->cx, x, t->dtype, e));
    return ql_axpby(t->cx, -1, what, 1, *e);
}

/* What the feedback of the pass has put into the last r columns. By Schur's complement of the factor that is the ridge
 * regression of the error's output on V^T x, B = E H V (V^T H V + lambda I)^-1, which needs no column of U beyond the
 * n-th. */
static ql_status
absorbed(task *t, double lambda, ql_qlinear *q)
{
    ql_ctx *cx = t->cx;
    const int64_t m = ql_dim(t->w, 0), n = ql_dim(t->h, 0), r = ql_dim(t->a, 0);
    ql_tensor *e, *hv, *c, *left, *b;
    bool ok;

    QL_TRY(cx, rest_of(t, t->w, q, &e));
    QL_TRY(cx, block(cx, t->haug, (const int64_t[]){0, n, n, r}, &hv));
    QL_TRY(cx, block(cx, t->haug, (const int64_t[]){n, r, n, r}, &c));
    QL_TRY(cx, ql_convert(cx, c, t->dtype, &c));
    QL_TRY(cx, add_to_diagonal(cx, lambda, c));
    QL_TRY(cx, ql_potrf(cx, c, &ok));
    if (!ok)
        return QL_FAIL(cx, QL_NUMERIC, "the principal directions of H are not independent at damping %g", q->damp);
    QL_TRY(cx, ql_trtri(cx, c));
    QL_TRY(cx, ql_new(cx, t->dtype, m, r, &b));
    QL_TRY(cx, ql_new(cx, t->dtype, m, r, &left));
    QL_TRY(cx, ql_gemm(cx, QL_NN, 1, e, hv, 0, b));
    QL_TRY(cx, ql_gemm(cx, QL_NT, 1, b, c, 0, left));
    QL_TRY(cx, ql_gemm(cx, QL_NN, 1, left, c, 0, b));
    QL_TRY(cx, ql_convert(cx, b, QL_F32, &q->b));
    return ql_convert(cx, t->a, QL_F32, &q->a);
}

static ql_status
pass(task *t, const ql_stats *stats, ql_qlinear *q)
{
    ql_ctx *cx = t->cx;
    const gptq_lora *p = t->p;
    const int64_t n = ql_dim(t->w, 1);
    ql_stats seen = *stats;
    ql_tensor *u, *live;
    ql_factor f;

    if (t->a) {
        QL_TRY(cx, augment(t));
        seen = (ql_stats){.h = t->haug};
    }
    QL_TRY(cx,
           ql_factor_inverse(
               cx, &seen, &(ql_factor_spec){.damp = p->damp, .damp_inc = p->damp_inc, .fp64 = t->dtype == QL_F64}, &f));
    report_factor(&f, p->damp, q);
    if (f.live) { /* a column that never saw a value: its weight is free, and zero costs nothing */
        QL_TRY(cx, ql_rows(cx, f.live, 0, n, &live));
        QL_TRY(cx, ql_convert(cx, live, t->dtype, &live));
        QL_TRY(cx, ql_scale_cols(cx, live, t->w));
    }
    if (!f.u)
        return round_plainly(cx, t->w, "no damping below 1 makes H positive definite", q);
    if (p->static_groups)
        QL_TRY(cx, ql_group_minmax(cx, t->w, &q->grid, &q->scales, &q->zeros));
    QL_TRY(cx, block(cx, f.u, (const int64_t[]){0, n, 0, n}, &u));
    QL_TRY(cx, ql_feedback_sweep(cx, t->w, u, NULL, q));
    if (!isfinite(q->loss))
        return round_plainly(cx, t->w, "the error feedback overflowed", q);
    return t->a && !p->refit ? absorbed(t, f.lambda, q) : QL_OK;
}

/* The best adapter for the codes, in the damped norm (9.2). */
static ql_status
refit(task *t, ql_qlinear *q)
{
    ql_lowrank_result c;
    ql_tensor *e, *norm;

    QL_TRY(t->cx, rest_of(t, t->w, q, &e));
    QL_TRY(t->cx, ql_convert(t->cx, e, QL_F32, &e));
    QL_TRY(t->cx, ql_convert(t->cx, t->damped, QL_F32, &norm));
    QL_TRY(t->cx, ql_lowrank(t->cx, e, &(ql_lowrank_spec){.h = norm, .rank = t->p->rank}, &c));
    return ql_balance(t->cx, c.u, c.v, &q->b, &q->a);
}

/* With R the upper triangle of H + delta I and D its diagonal: R^-T, and U = D R^-1. */
static ql_status
prepare_moves(task *t)
{
    const int64_t n = ql_dim(t->h, 0);
    ql_tensor *wide, *diag;
    double *x;

    QL_TRY(t->cx, ql_convert(t->cx, t->damped, QL_F64, &wide));
    QL_TRY(t->cx, ql_map(t->cx, wide, QL_READ_WRITE, &x));
    for (int64_t i = 0; i < n * n; i++)
        x[i] = i % n > i / n ? 0 : x[i];
    QL_TRY(t->cx, ql_unmap(t->cx, wide));
    QL_TRY(t->cx, ql_convert(t->cx, wide, t->dtype, &t->inverse));
    QL_TRY(t->cx, ql_trtri(t->cx, t->inverse));
    QL_TRY(t->cx, ql_transpose(t->cx, t->inverse, &t->u));
    QL_TRY(t->cx, ql_diag(t->cx, t->damped, &diag));
    return ql_scale_rows(t->cx, diag, t->u);
}

/* Every code in turn to the grid's nearest to its minimiser of tr((T - W^) (H + delta I) (T - W^)^T), T = W - B A, with those before it
 * moved already. As a Gauss-Seidel sweep that is GPTQ's feedback through U over the columns of W^ + (T - W^) (H + delta I) R^-1. */
static ql_status
move(task *t, ql_qlinear *q, bool *moved)
{
    ql_ctx *cx = t->cx;
    ql_qlinear next = *q;
    ql_tensor *e, *eh, *a, *b, *target, *after;
    double change;

    QL_TRY(cx, rest_of(t, t->w, q, &e));
    if (q->b) {
        QL_TRY(cx, ql_convert(cx, q->b, t->dtype, &b));
        QL_TRY(cx, ql_convert(cx, q->a, t->dtype, &a));
        QL_TRY(cx, ql_gemm(cx, QL_NN, -1, b, a, 1, e));
    }
    QL_TRY(cx, ql_new(cx, t->dtype, ql_dim(e, 0), ql_dim(e, 1), &eh));
    QL_TRY(cx, ql_gemm(cx, QL_NN, 1, e, t->damped, 0, eh));
    QL_TRY(cx, ql_group_decode(cx, q, &target));
    QL_TRY(cx, ql_gemm(cx, QL_NT, 1, eh, t->inverse, 1, target));
    QL_TRY(cx, ql_feedback_sweep(cx, target, t->u, NULL, &next));
    if (!isfinite(next.loss))
        return QL_FAIL(cx, QL_NUMERIC, "moving the codes overflowed");
    QL_TRY(cx, ql_group_decode(cx, &next, &after));
    QL_TRY(cx, rest_of(t, after, q, &e));
    QL_TRY(cx, ql_dot(cx, e, e, &change));
    *moved = change > 0;
    q->codes = next.codes;
    return QL_OK;
}

static ql_status
quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    const gptq_lora *p = self;
    task t = {.cx = cx, .p = p, .dtype = p->precision == 1 ? QL_F64 : QL_F32};
    bool moved = true;

    out->grid = (ql_grid){.bits = p->bits,
                          .group = ql_group_columns(p->group_size, ql_dim(w, 1)),
                          .sym = p->sym,
                          .mse = p->mse,
                          .scale_dtype = ql_float_dtype(p->scale_dtype),
                          .fp64 = t.dtype == QL_F64};
    QL_TRY(cx, ql_convert(cx, w, t.dtype, &t.w));
    QL_TRY(cx, ql_convert(cx, stats->h, t.dtype, &t.h));
    if (p->rank > 0)
        QL_TRY(cx, principal_directions(&t, stats));
    QL_TRY(cx, pass(&t, stats, out));
    QL_TRY(cx, ql_convert(cx, t.h, t.dtype, &t.damped));
    QL_TRY(cx, add_damping(cx, p->damp, t.damped));
    if (p->refit && t.a)
        QL_TRY(cx, refit(&t, out));
    if (p->bid_up > 0)
        QL_TRY(cx, prepare_moves(&t));
    for (int i = 0; i < p->bid_up && moved; i++) {
        QL_TRY(cx, move(&t, out, &moved));
        if (p->refit && t.a && moved)
            QL_TRY(cx, refit(&t, out));
    }
    return QL_OK;
}

static void
describe(const void *self, int64_t in, ql_described *out)
{
    const gptq_lora *p = self;

    out->grid = (ql_grid){.bits = p->bits,
                          .group = ql_group_columns(p->group_size, in),
                          .sym = p->sym,
                          .scale_dtype = ql_float_dtype(p->scale_dtype)};
    out->rank = p->rank;
}

QL_PLUGIN(.kind = QL_QUANTIZER, .name = "gptq_lora", .version = "1.0",
          .help = "GPTQ whose error feedback also fills a low-rank adapter on the inputs' principal directions",
          .cite = "arXiv:2606.01412", .params = params, .self_size = sizeof(gptq_lora),
          .quantizer = QL_TABLE(ql_quantizer, .needs = QL_NEEDS_STATS, .yields = QL_YIELDS_ADAPTER,
                                .quantize = quantize, .describe = describe), );
