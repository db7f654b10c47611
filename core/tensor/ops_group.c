/* The typed functions of group quantization. A weight that is worked on in double is converted here, so that a backend sees one
 * precision a call. */
#include <math.h>

#include "op.h"

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

/* Checks the grid, says how many groups and levels there are for `columns` columns, and begins. */
static ql_status
begin(ql_ctx *cx, ql_op *op, int64_t columns)
{
    const ql_grid *g = op->grid;

    QL_TRY(cx, grid_check(cx, ql_op_name(op->code), g));
    op->n[0] = columns / g->group + (columns % g->group != 0);
    op->n[1] = (int64_t)1 << g->bits;
    return ql_op_begin(cx, op);
}

static ql_status
convert_and_call(ql_ctx *cx, ql_op *op, ql_dtype dtype)
{
    ql_tensor *converted;

    QL_TRY(cx, ql_convert(cx, op->t[0], dtype, &converted));
    op->t[0] = converted;
    return ql_op_call(cx, op);
}

/* Calls with the weight, the first operand, in the arithmetic of the grid. */
static ql_status
call(ql_ctx *cx, ql_op *op)
{
    const ql_dtype dtype = ql_op_real(op->grid->fp64);
    ql_scope scope;
    ql_status st;

    if (ql_dtype_of(op->t[0]) == dtype)
        return ql_op_call(cx, op);
    ql_scope_open(cx, &scope);
    st = convert_and_call(cx, op, dtype);
    ql_scope_close(cx, &scope);
    return st;
}

ql_status
ql_group_minmax(ql_ctx *cx, const ql_tensor *w, const ql_grid *grid, ql_tensor **scales, ql_tensor **zeros)
{
    ql_op op = {.code = QL_OP_GROUP_MINMAX, .t = {w}, .grid = grid};

    QL_TRY(cx, begin(cx, &op, ql_dim(w, 1)));
    *scales = ql_op_made(&op, 1);
    *zeros = ql_op_made(&op, 2);
    return call(cx, &op);
}

/* Words that hold a row of `n` codes. */
static int64_t
packed_words(int64_t n, int bits)
{
    return n / 32 * bits + (n % 32 * bits + 31) / 32;
}

/* A grid without levels needs zeros. */
static ql_status
zeros_check(ql_ctx *cx, const char *op, const ql_qlinear *q)
{
    return q->zeros || q->levels ? QL_OK : QL_FAIL(cx, QL_INVALID, "%s: zeros: missing", op);
}

ql_status
ql_group_encode(ql_ctx *cx, const ql_tensor *w, ql_qlinear *out)
{
    ql_op op = {.code = QL_OP_GROUP_ENCODE,
                .t = {w, out->scales, out->levels ? NULL : out->zeros, out->levels, out->g_idx},
                .grid = &out->grid};

    QL_TRY(cx, begin(cx, &op, ql_dim(w, 1)));
    QL_TRY(cx, zeros_check(cx, "group_encode", out));
    out->codes = ql_op_made(&op, 5);
    return call(cx, &op);
}

ql_status
ql_group_decode(ql_ctx *cx, const ql_qlinear *q, ql_tensor **w)
{
    ql_op op = {.code = QL_OP_GROUP_DECODE,
                .t = {q->codes, q->scales, q->levels ? NULL : q->zeros, q->levels, q->g_idx},
                .grid = &q->grid};

    QL_TRY(cx, begin(cx, &op, ql_dim(q->codes, 1)));
    QL_TRY(cx, zeros_check(cx, "group_decode", q));
    *w = ql_op_made(&op, 5);
    return ql_op_call(cx, &op);
}

ql_status
ql_decode(ql_ctx *cx, const ql_qlinear *q, int64_t columns, ql_dtype dtype, ql_tensor **w)
{
    const int64_t words = ql_dim(q->codes, 1);
    ql_op op = {.code = QL_OP_DECODE,
                .t = {q->codes, q->scales, q->levels ? NULL : q->zeros, q->levels, q->g_idx},
                .grid = &q->grid};

    if (columns < 0 || words < packed_words(columns, q->grid.bits))
        return QL_FAIL(cx, QL_INVALID, "decode: %lld words hold no %lld codes of %d bits", (long long)words,
                       (long long)columns, q->grid.bits);
    QL_TRY(cx, zeros_check(cx, "decode", q));
    QL_TRY(cx, ql_new(cx, dtype, ql_dim(q->codes, 0), columns, w));
    op.t[5] = *w;
    QL_TRY(cx, begin(cx, &op, columns));
    return ql_op_call(cx, &op);
}

ql_status
ql_pack(ql_ctx *cx, const ql_tensor *codes, int bits, ql_tensor **out)
{
    const int64_t n = ql_dim(codes, 1);
    ql_op op = {.code = QL_OP_PACK, .t = {codes}, .n = {packed_words(n, bits), bits}};

    if (bits < 1 || bits > 8)
        return QL_FAIL(cx, QL_INVALID, "pack: %d bits, expected 1 to 8", bits);
    return ql_op_make(cx, &op, out);
}

ql_status
ql_feedback_sweep(ql_ctx *cx, const ql_tensor *w, const ql_tensor *u, const ql_tensor *group_of, ql_qlinear *out)
{
    const bool fit = !out->scales;
    ql_op op = {.code = fit ? QL_OP_SWEEP_FIT : QL_OP_SWEEP_GIVEN,
                .t = {w, u, out->scales, fit ? NULL : out->zeros, NULL, group_of},
                .grid = &out->grid,
                .result = &out->loss};

    if (out->levels || (fit && group_of))
        return QL_FAIL(cx, QL_INVALID, "feedback_sweep: %s",
                       out->levels ? "a table of levels is given, expected a uniform grid"
                                   : "groups of columns are given without their scales");
    QL_TRY(cx, begin(cx, &op, ql_dim(w, 1)));
    out->scales = ql_op_made(&op, 2);
    out->zeros = ql_op_made(&op, 3);
    out->codes = ql_op_made(&op, 4);
    out->loss = 0.0;
    return call(cx, &op);
}
