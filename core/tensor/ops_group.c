/* Operations of group quantization: checks, outputs, dispatch. A weight that is worked on in double is converted here,
 * so that a backend sees one precision per call. */
#include "check.h"

#include <math.h>

static ql_status
grid_check(ql_ctx *cx, const char *op, const ql_grid *g)
{
    if (g->bits < 2 || g->bits > 8)
        return QL_FAIL(cx, QL_INVALID, "%s: %d bits, expected 2 to 8", op, g->bits);
    if (g->group < 1)
        return QL_FAIL(cx, QL_INVALID, "%s: groups of %lld columns, expected 1 or more", op, (long long)g->group);
    if (g->scale_dtype != QL_F16 && g->scale_dtype != QL_BF16 && g->scale_dtype != QL_F32)
        return QL_FAIL(cx, QL_INVALID, "%s: scales of dtype %s, expected f16, bf16 or f32", op,
                       ql_dtype_name(g->scale_dtype));
    if (!(g->mse >= 0.0) || !isfinite(g->mse))
        return QL_FAIL(cx, QL_INVALID, "%s: the exponent of the range search is %g, expected 0 or more", op, g->mse);
    return QL_OK;
}

static ql_dtype
arithmetic(const ql_grid *g)
{
    return g->fp64 ? QL_F64 : QL_F32;
}

static int64_t
groups(const ql_grid *g, int64_t columns)
{
    return columns / g->group + (columns % g->group != 0);
}

/* The weight in the arithmetic of the grid. */
static ql_status
weight(ql_ctx *cx, const char *op, const ql_grid *g, const ql_tensor *w, const ql_tensor **out)
{
    ql_dtype dtype = arithmetic(g);
    ql_tensor *converted;

    QL_TRY(cx, grid_check(cx, op, g));
    QL_TRY(cx,
           ql_operands_check(cx, op, (const ql_operand[]){{"W", w, QL_BIT(dtype) | QL_BIT(QL_F32), 2, -1, -1}, {0}}));
    *out = w;
    if (w->dtype == dtype)
        return QL_OK;
    QL_TRY(cx, ql_convert(cx, w, dtype, &converted));
    *out = converted;
    return QL_OK;
}

/* Scales, zeros or levels, and the group index of a grid for a weight [m, n]. */
static ql_status
parts_check(ql_ctx *cx, const char *op, const ql_qlinear *q, int64_t m, int64_t n)
{
    int64_t count = groups(&q->grid, n);
    unsigned dtype = QL_BIT(arithmetic(&q->grid));
    const ql_operand scales[] = {{"scales", q->scales, dtype, 2, m, count}, {0}};
    const ql_operand zeros[] = {{"zeros", q->zeros, dtype, 2, m, count}, {0}};
    const ql_operand levels[] = {{"levels", q->levels, dtype, 1, (int64_t)1 << q->grid.bits, -1}, {0}};
    const ql_operand index[] = {{"the group index", q->g_idx, QL_BIT(QL_I32), 1, n, -1}, {0}};

    QL_TRY(cx, ql_operands_check(cx, op, scales));
    QL_TRY(cx, ql_operands_check(cx, op, q->levels ? levels : zeros));
    return q->g_idx ? ql_operands_check(cx, op, index) : QL_OK;
}

static ql_status
minmax(ql_ctx *cx, const ql_tensor *w, const ql_grid *grid, ql_tensor *scales, ql_tensor *zeros)
{
    const ql_tensor *x;

    QL_TRY(cx, weight(cx, "group_minmax", grid, w, &x));
    if (ql_count(x) == 0)
        return QL_OK;
    return ql_op_done(cx, "group_minmax",
                      cx->device->backend->group_minmax(cx, cx->device->dev, x, grid, scales, zeros));
}

/* New [m, G] tensors for scales and zeros. */
static ql_status
new_scales(ql_ctx *cx, const ql_grid *grid, const ql_tensor *w, ql_tensor **scales, ql_tensor **zeros)
{
    int64_t count = groups(grid, ql_dim(w, 1));

    QL_TRY(cx, ql_new(cx, arithmetic(grid), ql_dim(w, 0), count, scales));
    return ql_new(cx, arithmetic(grid), ql_dim(w, 0), count, zeros);
}

ql_status
ql_group_minmax(ql_ctx *cx, const ql_tensor *w, const ql_grid *grid, ql_tensor **scales, ql_tensor **zeros)
{
    ql_scope scope;
    ql_status st;

    QL_TRY(cx, grid_check(cx, "group_minmax", grid));
    QL_TRY(cx, new_scales(cx, grid, w, scales, zeros));
    ql_scope_open(cx, &scope);
    st = minmax(cx, w, grid, *scales, *zeros);
    ql_scope_close(cx, &scope);
    return st;
}

static ql_status
encode(ql_ctx *cx, const ql_tensor *w, ql_qlinear *out)
{
    const ql_tensor *x;

    QL_TRY(cx, weight(cx, "group_encode", &out->grid, w, &x));
    QL_TRY(cx, parts_check(cx, "group_encode", out, x->dims[0], x->dims[1]));
    if (ql_count(x) == 0)
        return QL_OK;
    return ql_op_done(cx, "group_encode", cx->device->backend->group_encode(cx, cx->device->dev, x, out));
}

ql_status
ql_group_encode(ql_ctx *cx, const ql_tensor *w, ql_qlinear *out)
{
    ql_scope scope;
    ql_status st;

    QL_TRY(cx, ql_new(cx, QL_U8, ql_dim(w, 0), ql_dim(w, 1), &out->codes));
    ql_scope_open(cx, &scope);
    st = encode(cx, w, out);
    ql_scope_close(cx, &scope);
    return st;
}

ql_status
ql_group_decode(ql_ctx *cx, const ql_qlinear *q, ql_tensor **w)
{
    const ql_operand codes[] = {{"codes", q->codes, QL_BIT(QL_U8), 2, -1, -1}, {0}};

    QL_TRY(cx, grid_check(cx, "group_decode", &q->grid));
    QL_TRY(cx, ql_operands_check(cx, "group_decode", codes));
    QL_TRY(cx, parts_check(cx, "group_decode", q, q->codes->dims[0], q->codes->dims[1]));
    QL_TRY(cx, ql_new(cx, arithmetic(&q->grid), q->codes->dims[0], q->codes->dims[1], w));
    if (ql_count(*w) == 0)
        return QL_OK;
    return ql_op_done(cx, "group_decode", cx->device->backend->group_decode(cx, cx->device->dev, q, *w));
}

ql_status
ql_pack(ql_ctx *cx, const ql_tensor *codes, int bits, ql_tensor **out)
{
    const int64_t m = ql_dim(codes, 0), n = ql_dim(codes, 1);

    QL_TRY(cx, ql_operands_check(cx, "pack", (const ql_operand[]){{"codes", codes, QL_BIT(QL_U8), 2, -1, -1}, {0}}));
    if (bits < 1 || bits > 8)
        return QL_FAIL(cx, QL_INVALID, "pack: %d bits, expected 1 to 8", bits);
    QL_TRY(cx, ql_new(cx, QL_I32, m, n / 32 * bits + (n % 32 * bits + 31) / 32, out));
    if (ql_count(*out) == 0)
        return QL_OK;
    return ql_op_done(cx, "pack", cx->device->backend->pack(cx, cx->device->dev, codes, bits, *out));
}

static ql_status
sweep(ql_ctx *cx, const ql_tensor *w, const ql_tensor *u, const ql_tensor *group_of, bool fit, ql_qlinear *out)
{
    const ql_tensor *x;
    int64_t n = ql_dim(w, 1);
    const ql_operand factor[] = {{"U", u, QL_BIT(arithmetic(&out->grid)), 2, n, n}, {0}};
    const ql_operand index[] = {{"the group of each column", group_of, QL_BIT(QL_I32), 1, n, -1}, {0}};

    QL_TRY(cx, weight(cx, "feedback_sweep", &out->grid, w, &x));
    QL_TRY(cx, ql_operands_check(cx, "feedback_sweep", factor));
    QL_TRY(cx, parts_check(cx, "feedback_sweep", out, x->dims[0], n));
    if (out->levels || (fit && group_of))
        return QL_FAIL(cx, QL_INVALID, "feedback_sweep: %s",
                       out->levels ? "a table of levels is given, expected a uniform grid"
                                   : "groups of columns are given without their scales");
    if (group_of)
        QL_TRY(cx, ql_operands_check(cx, "feedback_sweep", index));
    out->loss = 0.0;
    if (ql_count(x) == 0)
        return QL_OK;
    return ql_op_done(cx, "feedback_sweep",
                      cx->device->backend->feedback_sweep(cx, cx->device->dev, x, u, group_of, fit, out));
}

ql_status
ql_feedback_sweep(ql_ctx *cx, const ql_tensor *w, const ql_tensor *u, const ql_tensor *group_of, ql_qlinear *out)
{
    bool fit = !out->scales;
    ql_scope scope;
    ql_status st;

    QL_TRY(cx, grid_check(cx, "feedback_sweep", &out->grid));
    if (fit)
        QL_TRY(cx, new_scales(cx, &out->grid, w, &out->scales, &out->zeros));
    QL_TRY(cx, ql_new(cx, QL_U8, ql_dim(w, 0), ql_dim(w, 1), &out->codes));
    ql_scope_open(cx, &scope);
    st = sweep(cx, w, u, group_of, fit, out);
    ql_scope_close(cx, &scope);
    return st;
}
