/* ProjQ, phase 1: quantize against the Hessian without the error's top-r subspace, which a low-rank adapter will absorb
 * (docs/methods.md 5). The projector lives in Hessian space: nothing of the size tokens x tokens exists. */
#include <math.h>

#include <qloom/lowrank.h>

#include "feedback.h"

typedef struct projq {
    int bits, group_size, scale_dtype, rank, iterations, compat;
    bool sym;
    double mse, damp, alpha, tol;
} projq;

enum { SPECIFIED, RELEASE };
static const char *const compats[] = {"off", "release", NULL};

static const ql_param params[] = {
    QL_BITS(projq, 2),
    QL_GROUP_SIZE(projq, 128),
    QL_SYM(projq, true),
    QL_MSE(projq),
    QL_SCALE_DTYPE(projq),
    QL_DAMP(projq, 0.1),
    QL_NUM(projq, rank, 64, 0, 1 << 16,
           "directions of the error that are left to the adapter; 0: the base quantizer alone"),
    QL_NUM(projq, iterations, 5, 0, 1000, "projections after the first quantization"),
    QL_NUM(
        projq, alpha, 1, 0, 1,
        "share of the projected directions that is taken out of H; below 1 the error stays bounded without an adapter"),
    QL_NUM(projq, tol, 0.02, 0, 1, "two rounds in a row that improve by less end the loop"),
    QL_ENUM(projq, compat, SPECIFIED, compats,
            "release: the published code's loop, for comparison: its weight drifts by the base's error feedback (base: "
            "gptq, "
            "columns as stored), damping is added twice, the last iterate counts; not its statistics of the last batch "
            "alone, "
            "nor its half-precision projector"),
    QL_PARAMS_END,
};

static const ql_port ports[] = {
    {.name = "base",
     .help = "the Hessian-aware quantizer that is driven",
     .type = QL_EDGE_QUANTIZER,
     .optional = true,
     .def = "gptq"},
    {.type = QL_EDGE_NONE},
};

/* Kt [r, n] with H_p = H - alpha Kt^T Kt, and J, the energy that no adapter of rank r can take from E = w - W^ (5.1). */
static ql_status
project(ql_ctx *cx, const projq *p, const ql_tensor *e, const ql_stats *stats, ql_tensor **kt, double *j)
{
    ql_lowrank_result top;
    ql_tensor *inverse;
    float *scale;

    QL_TRY(cx, ql_lowrank(cx, e, &(ql_lowrank_spec){.h = stats->h, .rank = p->rank, .total = true}, &top));
    *j = top.total;
    *kt = NULL;
    if (top.rank < 1)
        return QL_OK;
    scale = ql_alloc(cx, (size_t)top.rank, sizeof *scale);
    if (!scale)
        return QL_MEMORY;
    for (int64_t i = 0; i < top.rank; i++) {
        *j -= top.sig2[i];
        scale[i] =
            top.sig2[i] > 1e-6 * top.sig2[0] ? (float)(1 / sqrt(top.sig2[i])) : 0; /* weaker ones are noise in fp32 */
    }
    *j = *j > 1e-6 * top.total ? *j : 0; /* less is noise, too */
    QL_TRY(cx, ql_new(cx, QL_F32, top.rank, ql_dim(e, 1), kt));
    QL_TRY(cx, ql_gemm(cx, QL_NN, 1, top.v, stats->h, 0, *kt));
    QL_TRY(cx, ql_upload(cx, QL_F32, top.rank, -1, scale, &inverse));
    return ql_scale_rows(cx, inverse, *kt);
}

/* The statistics without what the projector takes, with `h` for theirs; order and dead columns stay those of the original. */
static ql_status
projected_stats(ql_ctx *cx, const projq *p, const ql_tensor *kt, const ql_stats *stats, ql_tensor **h, ql_stats *out)
{
    ql_tensor *diag;

    *out = *stats;
    QL_TRY(cx, ql_convert(cx, stats->h, QL_F32, h));
    QL_TRY(cx, ql_diag(cx, *h, &diag));
    QL_TRY(cx, ql_gemm(cx, QL_TN, -p->alpha, kt, kt, 1, *h));
    out->h = *h;
    out->diag = diag;
    out->memo = NULL;
    return QL_OK;
}

/* --- compat: release --- */

#define RELEASE_BLOCK 128 /* columns after which the published column loop updates the weight that it was given */

static ql_status
damped_stats(ql_ctx *cx, const projq *p, const ql_stats *stats, ql_stats *out)
{
    ql_tensor *h;

    *out = *stats;
    QL_TRY(cx, ql_convert(cx, stats->h, QL_F32, &h));
    QL_TRY(cx, add_damping(cx, p->damp, h));
    out->h = h;
    out->diag = NULL; /* no column is ever dead after that */
    out->memo = NULL;
    return QL_OK;
}

static ql_status
round_to_half(ql_ctx *cx, ql_tensor *w)
{
    ql_tensor *half;

    QL_TRY(cx, ql_convert(cx, w, QL_F16, &half));
    return ql_copy(cx, half, w);
}

/* What the column loop leaves of the caller's weight: each block's Err = (W - W^) U^-1 is fed into the columns after it. */
static ql_status
drift(ql_ctx *cx, const ql_stats *stats, const ql_qlinear *q, ql_tensor *w)
{
    const int64_t n = ql_dim(w, 1);
    ql_tensor *inverse, *e, *err, *from, *u, *to;
    ql_factor f;

    if (q->status & QL_NUM_ROUNDED)
        return QL_OK;
    if (!(q->damp > 0))
        return QL_FAIL(cx, QL_INVALID, "compat: release needs a base with damped error feedback, as gptq has it");
    QL_TRY(cx, ql_factor_inverse(cx, stats, &(ql_factor_spec){.damp = q->damp}, &f));
    QL_TRY(cx, ql_transpose(cx, f.u, &inverse));
    QL_TRY(cx, ql_trtri(cx, inverse));
    QL_TRY(cx, ql_residual(cx, w, q, &e));
    QL_TRY(cx, ql_new(cx, QL_F32, ql_dim(w, 0), n, &err));
    QL_TRY(cx, ql_gemm(cx, QL_NT, 1, e, inverse, 0, err));
    for (int64_t i = 0; i + RELEASE_BLOCK < n; i += RELEASE_BLOCK) {
        const int64_t next = i + RELEASE_BLOCK;

        QL_TRY(cx, ql_cols(cx, err, i, RELEASE_BLOCK, &from));
        QL_TRY(cx, ql_rows(cx, f.u, i, RELEASE_BLOCK, &u));
        QL_TRY(cx, ql_cols(cx, u, next, n - next, &u));
        QL_TRY(cx, ql_cols(cx, w, next, n - next, &to));
        QL_TRY(cx, ql_gemm(cx, QL_NN, -1, from, u, 1, to));
        QL_TRY(cx, round_to_half(cx, to));
    }
    ql_drop(cx, &inverse);
    ql_drop(cx, &e);
    ql_drop(cx, &err);
    return QL_OK;
}

/* Quantizes w and leaves it as the published column loop leaves its argument; e = w - W^ after that. */
static ql_status
drifting_pass(ql_ctx *cx, const ql_stats *stats, ql_tensor *w, ql_qlinear *out, ql_tensor **e)
{
    QL_TRY(cx, ql_quantize(cx, ql_base(cx), w, stats, out));
    QL_TRY(cx, drift(cx, stats, out, w));
    return ql_residual(cx, w, out, e);
}

/* The loop as published: the residual, the projector and the codes of each round refer to the weight as it has drifted. */
static ql_status
released(ql_ctx *cx, const projq *p, const ql_tensor *original, const ql_stats *stats, ql_qlinear *out)
{
    double j, f, last = 0;
    ql_tensor *w, *e, *kt, *h;
    ql_stats without, seen;

    QL_TRY(cx, ql_convert(cx, original, QL_F32, &w));
    QL_TRY(cx, round_to_half(cx, w));
    QL_TRY(cx, damped_stats(cx, p, stats, &seen));
    QL_TRY(cx, drifting_pass(cx, &seen, w, out, &e));
    for (int t = 0; t < p->iterations && p->rank > 0; t++) {
        QL_TRY(cx, project(cx, p, e, stats, &kt, &j));
        QL_TRY(cx, projected_stats(cx, p, kt, stats, &h, &without));
        QL_TRY(cx, damped_stats(cx, p, &without, &seen));
        QL_TRY(cx, drifting_pass(cx, &seen, w, out, &e));
        QL_TRY(cx, ql_quad(cx, e, without.h, &f));
        if (t > 0 && fabs(f - last) < p->tol * last)
            break; /* a small rise ends it, too */
        last = f;
    }
    return QL_OK;
}

/* The codes of a round that came second. */
static void
drop_round(ql_ctx *cx, ql_qlinear *q)
{
    ql_drop(cx, &q->codes);
    ql_drop(cx, &q->scales);
    ql_drop(cx, &q->zeros);
    ql_drop(cx, &q->g_idx);
}

static ql_status
quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    const projq *p = self;
    const ql_stage *base = ql_base(cx);
    double best, j, last;
    int stalls = 0;
    ql_tensor *e, *kt;

    if (p->compat == RELEASE)
        return released(cx, p, w, stats, out);
    QL_TRY(cx, ql_quantize(cx, base, w, stats, out));
    if (p->rank < 1)
        return QL_OK;
    QL_TRY(cx, ql_residual(cx, w, out, &e));
    QL_TRY(cx, project(cx, p, e, stats, &kt, &last));
    best = last;
    for (int t = 0; t < p->iterations && last > 0 && stalls < 2; t++) {
        ql_tensor *h;
        ql_stats without;
        ql_qlinear q;

        QL_TRY(cx, projected_stats(cx, p, kt, stats, &h, &without));
        ql_drop(cx, &e);
        ql_drop(cx, &kt);
        QL_TRY(cx, ql_quantize(cx, base, w, &without, &q));
        ql_drop(cx, &h);
        QL_TRY(cx, ql_residual(cx, w, &q, &e));
        QL_TRY(cx, project(cx, p, e, stats, &kt, &j));
        drop_round(cx, j < best ? out : &q);
        if (j < best) {
            best = j;
            *out = q;
        }
        stalls = j > (1 - p->tol) * last ? stalls + 1 : 0;
        last = j;
    }
    return QL_OK;
}

static void
describe(const void *self, int64_t in, ql_described *out)
{
    const projq *p = self;

    out->grid = (ql_grid){.bits = p->bits,
                          .group = ql_group_columns(p->group_size, in),
                          .sym = p->sym,
                          .scale_dtype = ql_float_dtype(p->scale_dtype)};
    out->rank = p->rank;
}

QL_PLUGIN(.kind = QL_QUANTIZER, .name = "projq", .version = "1.0",
          .help = "quantization noise shaped so that a low-rank adapter can absorb it", .params = params,
          .ports = ports, .self_size = sizeof(projq),
          .quantizer = QL_TABLE(ql_quantizer, .needs = QL_NEEDS_STATS, .yields = QL_EXPECTS_ADAPTER,
                                .quantize = quantize, .describe = describe), );
