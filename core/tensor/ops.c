/* Operations on whatever tensors: checks, outputs, dispatch. Linear algebra and elements; blocks and groups are beside.
 */
#include "check.h"

#define QUAD_ELEMENTS (1 << 22) /* of the product that ql_quad holds at once */

/* C = beta C, for a product over nothing. */
static ql_status
scale(ql_ctx *cx, double beta, ql_tensor *c)
{
    if (beta == 1.0)
        return QL_OK;
    if (beta == 0.0)
        return cx->device->backend->fill(cx, cx->device->dev, c, 0.0);
    return cx->device->backend->axpby(cx, cx->device->dev, 0.0, c, beta, c);
}

ql_status
ql_gemm(ql_ctx *cx, ql_trans op, double alpha, const ql_tensor *a, const ql_tensor *b, double beta, ql_tensor *c)
{
    ql_dtype dtype = ql_dtype_of(a);
    int64_t m = ql_dim(a, op == QL_TN ? 1 : 0), k = ql_dim(a, op == QL_TN ? 0 : 1), n = ql_dim(b, op == QL_NT ? 0 : 1);
    unsigned out = QL_BIT(dtype) | (dtype == QL_F64 ? 0 : QL_BIT(QL_F32));
    const ql_operand operands[] = {
        {"A", a, QL_FLOAT_DTYPE, 2, -1, -1},
        {"B", b, QL_BIT(dtype), 2, op == QL_NT ? -1 : k, op == QL_NT ? k : -1},
        {"C", c, out, 2, m, n},
        {0},
    };

    QL_TRY(cx, ql_operands_check(cx, "gemm", operands));
    QL_TRY(cx, ql_apart_check(cx, "gemm", "C", c, "A", a));
    QL_TRY(cx, ql_apart_check(cx, "gemm", "C", c, "B", b));
    if (m == 0 || n == 0)
        return QL_OK;
    return ql_op_done(
        cx, "gemm", k ? cx->device->backend->gemm(cx, cx->device->dev, op, alpha, a, b, beta, c) : scale(cx, beta, c));
}

ql_status
ql_gram(ql_ctx *cx, const ql_tensor *x, ql_tensor *sum, ql_tensor *comp)
{
    int64_t n = ql_dim(x, 1);
    unsigned out = QL_BIT(ql_dtype_of(x) == QL_F64 ? QL_F64 : QL_F32);
    const ql_operand operands[] = {
        {"x", x, QL_FLOAT_DTYPE, 2, -1, -1},
        {"sum", sum, out, 2, n, n},
        {"comp", comp, out, 2, n, n},
        {0},
    };

    QL_TRY(cx, ql_operands_check(cx, "gram", operands));
    QL_TRY(cx, ql_apart_check(cx, "gram", "sum", sum, "x", x));
    QL_TRY(cx, ql_apart_check(cx, "gram", "comp", comp, "x", x));
    QL_TRY(cx, ql_apart_check(cx, "gram", "sum", sum, "comp", comp));
    if (ql_count(x) == 0)
        return QL_OK;
    return ql_op_done(cx, "gram", cx->device->backend->gram(cx, cx->device->dev, x, sum, comp));
}

static ql_status
square_check(ql_ctx *cx, const char *op, const ql_tensor *a)
{
    return ql_operands_check(cx, op, (const ql_operand[]){{"A", a, QL_REAL_DTYPE, 2, -1, ql_dim(a, 0)}, {0}});
}

ql_status
ql_potrf(ql_ctx *cx, ql_tensor *a, bool *ok)
{
    QL_TRY(cx, square_check(cx, "potrf", a));
    *ok = true;
    if (ql_count(a) == 0)
        return QL_OK;
    return ql_op_done(cx, "potrf", cx->device->backend->potrf(cx, cx->device->dev, a, ok));
}

ql_status
ql_trtri(ql_ctx *cx, ql_tensor *a)
{
    QL_TRY(cx, square_check(cx, "trtri", a));
    if (ql_count(a) == 0)
        return QL_OK;
    return ql_op_done(cx, "trtri", cx->device->backend->trtri(cx, cx->device->dev, a));
}

ql_status
ql_syevd(ql_ctx *cx, ql_tensor *a, ql_tensor *w)
{
    int64_t n = ql_dim(a, 0);
    const ql_operand operands[] = {
        {"A", a, QL_REAL_DTYPE, 2, n, n},
        {"the eigenvalues", w, QL_BIT(ql_dtype_of(a)), 1, n, -1},
        {0},
    };

    QL_TRY(cx, ql_operands_check(cx, "syevd", operands));
    QL_TRY(cx, ql_apart_check(cx, "syevd", "A", a, "the eigenvalues", w));
    if (n == 0)
        return QL_OK;
    return ql_op_done(cx, "syevd", cx->device->backend->syevd(cx, cx->device->dev, a, w));
}

ql_status
ql_orth(ql_ctx *cx, ql_tensor *y)
{
    char text[128];

    QL_TRY(cx, ql_operands_check(cx, "orth", (const ql_operand[]){{"y", y, QL_REAL_DTYPE, 2, -1, -1}, {0}}));
    if (y->dims[1] > y->dims[0])
        return QL_FAIL(cx, QL_INVALID, "orth: y is %s, expected no more columns than rows",
                       ql_tensor_text(y, text, sizeof text));
    if (ql_count(y) == 0)
        return QL_OK;
    return ql_op_done(cx, "orth", cx->device->backend->orth(cx, cx->device->dev, y));
}

ql_status
ql_fill(ql_ctx *cx, ql_tensor *t, double value)
{
    QL_TRY(cx, ql_operands_check(cx, "fill", (const ql_operand[]){{"the tensor", t, QL_ANY_DTYPE, 0, -1, -1}, {0}}));
    if (ql_count(t) == 0)
        return QL_OK;
    return ql_op_done(cx, "fill", cx->device->backend->fill(cx, cx->device->dev, t, value));
}

/* Two operands of one dtype, vectors or matrices of one shape. */
static ql_status
pair_check(ql_ctx *cx, const char *op, const char *const names[2], const ql_tensor *a, const ql_tensor *b)
{
    int ndim = ql_ndim(a) == 1 ? 1 : 2;
    const ql_operand operands[] = {
        {names[0], a, QL_REAL_DTYPE, ndim, -1, -1},
        {names[1], b, QL_BIT(ql_dtype_of(a)), ndim, ql_dim(a, 0), ql_dim(a, 1)},
        {0},
    };

    return ql_operands_check(cx, op, operands);
}

ql_status
ql_axpby(ql_ctx *cx, double alpha, const ql_tensor *x, double beta, ql_tensor *y)
{
    bool same;

    QL_TRY(cx, pair_check(cx, "axpby", (const char *const[]){"x", "y"}, x, y));
    same = ql_ptr(x) == ql_ptr(y) && ql_stride(x, 0) == ql_stride(y, 0); /* element on element: harmless */
    if (!same)
        QL_TRY(cx, ql_apart_check(cx, "axpby", "y", y, "x", x));
    if (ql_count(x) == 0)
        return QL_OK;
    return ql_op_done(cx, "axpby", cx->device->backend->axpby(cx, cx->device->dev, alpha, x, beta, y));
}

static ql_status
scaling_check(ql_ctx *cx, const char *op, int along, const ql_tensor *v, const ql_tensor *t)
{
    const ql_operand operands[] = {
        {"the matrix", t, QL_REAL_DTYPE, 2, -1, -1},
        {"the factors", v, QL_BIT(ql_dtype_of(t)), 1, ql_dim(t, along), -1},
        {0},
    };

    QL_TRY(cx, ql_operands_check(cx, op, operands));
    return ql_apart_check(cx, op, "the matrix", t, "the factors", v);
}

ql_status
ql_scale_cols(ql_ctx *cx, const ql_tensor *v, ql_tensor *t)
{
    QL_TRY(cx, scaling_check(cx, "scale_cols", 1, v, t));
    if (ql_count(t) == 0)
        return QL_OK;
    return ql_op_done(cx, "scale_cols", cx->device->backend->scale_cols(cx, cx->device->dev, v, t));
}

ql_status
ql_scale_rows(ql_ctx *cx, const ql_tensor *v, ql_tensor *t)
{
    QL_TRY(cx, scaling_check(cx, "scale_rows", 0, v, t));
    if (ql_count(t) == 0)
        return QL_OK;
    return ql_op_done(cx, "scale_rows", cx->device->backend->scale_rows(cx, cx->device->dev, v, t));
}

/* `indices` NULL stands for all of `length`. */
static ql_status
indices_check(ql_ctx *cx, const char *name, const ql_tensor *indices, int64_t length, int64_t *count)
{
    *count = indices ? ql_dim(indices, 0) : length;
    if (!indices)
        return QL_OK;
    return ql_operands_check(cx, "gather", (const ql_operand[]){{name, indices, QL_BIT(QL_I32), 1, -1, -1}, {0}});
}

ql_status
ql_gather(ql_ctx *cx, const ql_tensor *src, const ql_tensor *rows, const ql_tensor *cols, ql_tensor **out)
{
    int64_t m, n;

    QL_TRY(cx,
           ql_operands_check(cx, "gather", (const ql_operand[]){{"the source", src, QL_ANY_DTYPE, 2, -1, -1}, {0}}));
    QL_TRY(cx, indices_check(cx, "rows", rows, src->dims[0], &m));
    QL_TRY(cx, indices_check(cx, "columns", cols, src->dims[1], &n));
    QL_TRY(cx, ql_new(cx, src->dtype, m, n, out));
    if (ql_count(*out) == 0)
        return QL_OK;
    if (ql_count(src) == 0)
        return QL_FAIL(cx, QL_INVALID, "gather: elements of an empty tensor");
    return ql_op_done(cx, "gather", cx->device->backend->gather(cx, cx->device->dev, src, rows, cols, *out));
}

ql_status
ql_transpose(ql_ctx *cx, const ql_tensor *src, ql_tensor **out)
{
    QL_TRY(cx,
           ql_operands_check(cx, "transpose", (const ql_operand[]){{"the matrix", src, QL_ANY_DTYPE, 2, -1, -1}, {0}}));
    QL_TRY(cx, ql_new(cx, src->dtype, src->dims[1], src->dims[0], out));
    if (ql_count(src) == 0)
        return QL_OK;
    return ql_op_done(cx, "transpose", cx->device->backend->transpose(cx, cx->device->dev, src, *out));
}

ql_status
ql_diag(ql_ctx *cx, const ql_tensor *a, ql_tensor **out)
{
    QL_TRY(cx, square_check(cx, "diag", a));
    QL_TRY(cx, ql_new(cx, a->dtype, a->dims[0], -1, out));
    if (ql_count(a) == 0)
        return QL_OK;
    return ql_op_done(cx, "diag", cx->device->backend->diag(cx, cx->device->dev, a, *out));
}

ql_status
ql_diag_set(ql_ctx *cx, const ql_tensor *d, ql_tensor *a)
{
    QL_TRY(cx, square_check(cx, "diag_set", a));
    QL_TRY(cx, scaling_check(cx, "diag_set", 0, d, a));
    if (ql_count(a) == 0)
        return QL_OK;
    return ql_op_done(cx, "diag_set", cx->device->backend->diag_set(cx, cx->device->dev, d, a));
}

ql_status
ql_dot(ql_ctx *cx, const ql_tensor *a, const ql_tensor *b, double *out)
{
    QL_TRY(cx, pair_check(cx, "dot", (const char *const[]){"A", "B"}, a, b));
    *out = 0.0;
    if (ql_count(a) == 0)
        return QL_OK;
    return ql_op_done(cx, "dot", cx->device->backend->dot(cx, cx->device->dev, a, b, out));
}

static ql_status
quad_rows(ql_ctx *cx, const ql_tensor *e, const ql_tensor *h, double *out)
{
    ql_tensor *product;

    QL_TRY(cx, ql_new(cx, e->dtype, e->dims[0], e->dims[1], &product));
    QL_TRY(cx, ql_gemm(cx, QL_NN, 1.0, e, h, 0.0, product));
    return ql_dot(cx, product, e, out);
}

ql_status
ql_quad(ql_ctx *cx, const ql_tensor *e, const ql_tensor *h, double *out)
{
    int64_t n = ql_dim(e, 1), rows = n > 0 && n < QUAD_ELEMENTS ? QUAD_ELEMENTS / n : 1;
    const ql_operand operands[] = {
        {"E", e, QL_REAL_DTYPE, 2, -1, -1},
        {"H", h, QL_BIT(ql_dtype_of(e)), 2, n, n},
        {0},
    };
    double sum = 0.0, part;

    QL_TRY(cx, ql_operands_check(cx, "quad", operands));
    for (int64_t i = 0; i < e->dims[0]; i += rows) {
        int64_t left = e->dims[0] - i;
        ql_scope scope;
        ql_tensor *chunk;
        ql_status st;

        ql_scope_open(cx, &scope);
        st = ql_rows(cx, e, i, left < rows ? left : rows, &chunk);
        if (st == QL_OK)
            st = quad_rows(cx, chunk, h, &part);
        ql_scope_close(cx, &scope);
        QL_TRY(cx, st);
        sum += part;
    }
    *out = sum;
    return QL_OK;
}

ql_status
ql_nonfinite(ql_ctx *cx, const ql_tensor *t, int64_t *first)
{
    QL_TRY(cx,
           ql_operands_check(cx, "nonfinite", (const ql_operand[]){{"the tensor", t, QL_FLOAT_DTYPE, 0, -1, -1}, {0}}));
    *first = -1;
    if (ql_count(t) == 0)
        return QL_OK;
    return ql_op_done(cx, "nonfinite", cx->device->backend->nonfinite(cx, cx->device->dev, t, first));
}
