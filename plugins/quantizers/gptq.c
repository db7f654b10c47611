/* GPTQ: round column by column and let the columns after it absorb each error (Frantar et al., arXiv:2210.17323,
 * algorithm 1; docs/methods.md 3). Column orders and the damping rescue follow GPTQModel. */
#include <math.h>

#include "feedback.h"

typedef struct gptq {
    int bits, group_size, scale_dtype, act_order, precision;
    bool sym, static_groups;
    double mse, damp, damp_inc;
} gptq;

static const char *const orders[] = {"off", "desc", "group", NULL};
static const char *const precisions[] = {"fp32", "fp64", NULL};

static const ql_param params[] = {
    QL_BITS(gptq, 4),
    QL_GROUP_SIZE(gptq, 128),
    QL_SYM(gptq, true),
    QL_MSE(gptq),
    QL_SCALE_DTYPE(gptq),
    QL_DAMP(gptq, 0.05),
    QL_NUM(gptq, damp_inc, 0.01, 1e-4, 0.5, "added to damp after a factorization that failed"),
    QL_ENUM(
        gptq, act_order, QL_ORDER_NATURAL, orders,
        "order of the columns: as stored, by decreasing diagonal of H, or group-aware (needs no g_idx at run time)"),
    QL_FLAG(gptq, static_groups, false, "scales from the weight before any error feedback"),
    QL_ENUM(gptq, precision, 0, precisions, "arithmetic of the factorization and of the column loop"),
    QL_PARAMS_END,
};

/* Host-side index arrays of a processing order: where each column went, and which column of scales serves each
 * position. */
typedef struct layout {
    int32_t *position, *group_of, *g_idx, *group_place;
} layout;

static ql_status
make_layout(ql_ctx *cx, const gptq *p, const ql_factor *f, int64_t n, int64_t g, layout *out)
{
    const int64_t groups = (n + g - 1) / g;

    *out = (layout){.position = ql_alloc(cx, (size_t)n, 4),
                    .group_of = ql_alloc(cx, (size_t)n, 4),
                    .g_idx = ql_alloc(cx, (size_t)n, 4),
                    .group_place = ql_alloc(cx, (size_t)groups, 4)};
    if (!out->position || !out->group_of || !out->g_idx || !out->group_place)
        return QL_MEMORY;
    for (int64_t j = 0; j < n; j++) {
        const int32_t column = f->order[j];

        out->position[column] = (int32_t)j;
        out->group_of[j] = (int32_t)(column / g); /* static: the group of the stored place */
        out->g_idx[column] = (int32_t)(j / g);    /* desc: the group that was fitted at j */
        if (p->act_order == QL_ORDER_GROUP)
            out->group_place[column / g] = (int32_t)(j / g); /* whole groups moved: put their scales back */
    }
    return QL_OK;
}

/* Codes, scales and zeros from processing order back to stored order. */
static ql_status
restore_order(ql_ctx *cx, const gptq *p, const layout *at, ql_qlinear *q)
{
    const int64_t n = ql_dim(q->codes, 1);
    ql_tensor *index;

    QL_TRY(cx, ql_upload(cx, QL_I32, n, -1, at->position, &index));
    QL_TRY(cx, ql_gather(cx, q->codes, NULL, index, &q->codes));
    if (p->static_groups)
        return QL_OK;
    if (p->act_order == QL_ORDER_DESC)
        return ql_upload(cx, QL_I32, n, -1, at->g_idx, &q->g_idx);
    QL_TRY(cx, ql_upload(cx, QL_I32, ql_dim(q->scales, 1), -1, at->group_place, &index));
    QL_TRY(cx, ql_gather(cx, q->scales, NULL, index, &q->scales));
    return ql_gather(cx, q->zeros, NULL, index, &q->zeros);
}

static ql_status
quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    const gptq *p = self;
    const int64_t n = ql_dim(w, 1), g = ql_group_columns(p->group_size, n);
    const bool fp64 = p->precision == 1;
    const ql_dtype dtype = fp64 ? QL_F64 : QL_F32;
    ql_tensor *v, *live, *group_of = NULL;
    ql_factor f;
    layout at = {0};

    out->grid = (ql_grid){.bits = p->bits,
                          .group = g,
                          .sym = p->sym,
                          .mse = p->mse,
                          .scale_dtype = ql_float_dtype(p->scale_dtype),
                          .fp64 = fp64};
    QL_TRY(cx, ql_convert(cx, w, dtype, &v));
    QL_TRY(cx,
           ql_factor_inverse(
               cx, stats,
               &(ql_factor_spec){
                   .damp = p->damp, .damp_inc = p->damp_inc, .order = (ql_order)p->act_order, .group = g, .fp64 = fp64},
               &f));
    report_factor(&f, p->damp, out);
    if (f.live) { /* a column that never saw a value: its weight is free, and zero costs nothing */
        QL_TRY(cx, ql_convert(cx, f.live, dtype, &live));
        QL_TRY(cx, ql_scale_cols(cx, live, v));
    }
    if (!f.u)
        return round_plainly(cx, v, "no damping below 1 makes H positive definite", out);

    if (p->static_groups)
        QL_TRY(cx, ql_group_minmax(cx, v, &out->grid, &out->scales, &out->zeros));
    if (f.perm) {
        QL_TRY(cx, make_layout(cx, p, &f, n, g, &at));
        QL_TRY(cx, ql_gather(cx, v, NULL, f.perm, &v));
        if (p->static_groups)
            QL_TRY(cx, ql_upload(cx, QL_I32, n, -1, at.group_of, &group_of));
    }
    QL_TRY(cx, ql_feedback_sweep(cx, v, f.u, group_of, out));
    if (!isfinite(out->loss)) {
        QL_TRY(cx, ql_convert(cx, w, dtype, &v));
        return round_plainly(cx, v, "the error feedback overflowed", out);
    }
    return f.perm ? restore_order(cx, p, &at, out) : QL_OK;
}

static void
describe(const void *self, int64_t in, ql_described *out)
{
    const gptq *p = self;

    out->grid = (ql_grid){.bits = p->bits,
                          .group = ql_group_columns(p->group_size, in),
                          .sym = p->sym,
                          .scale_dtype = ql_float_dtype(p->scale_dtype)};
    out->rank = 0;
}

QL_PLUGIN(.kind = QL_QUANTIZER, .name = "gptq", .version = "1.0",
          .help = "column by column with error feedback through the inverse Hessian", .cite = "arXiv:2210.17323",
          .params = params, .self_size = sizeof(gptq),
          .quantizer = QL_TABLE(ql_quantizer, .needs = QL_NEEDS_STATS, .quantize = quantize, .describe = describe), );
