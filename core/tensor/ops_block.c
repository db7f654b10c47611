/* Operations of transformer blocks: checks, outputs, dispatch. */
#include "check.h"

/* A new tensor of dtype and shape of the matrix `x`. */
static ql_status
like(ql_ctx *cx, const ql_tensor *x, ql_tensor **out)
{
    return ql_new(cx, x->dtype, x->dims[0], x->dims[1], out);
}

/* f32 results of activations of a lower precision. */
static ql_dtype
result_dtype(const ql_tensor *x)
{
    return ql_dtype_of(x) == QL_F64 ? QL_F64 : QL_F32;
}

ql_status
ql_rmsnorm(ql_ctx *cx, const ql_tensor *x, const ql_tensor *w, double eps, ql_tensor **y)
{
    const ql_operand operands[] = {
        {"x", x, QL_FLOAT_DTYPE, 2, -1, -1},
        {"the weight", w, QL_BIT(ql_dtype_of(x)), 1, ql_dim(x, 1), -1},
        {0},
    };

    QL_TRY(cx, ql_operands_check(cx, "rmsnorm", operands));
    QL_TRY(cx, like(cx, x, y));
    if (ql_count(x) == 0)
        return QL_OK;
    return ql_op_done(cx, "rmsnorm", cx->device->backend->rmsnorm(cx, cx->device->dev, x, w, eps, *y));
}

ql_status
ql_rope(ql_ctx *cx, const ql_seqs *seqs, const ql_rope_spec *spec, ql_tensor *x)
{
    QL_TRY(cx, ql_operands_check(cx, "rope", (const ql_operand[]){{"x", x, QL_FLOAT_DTYPE, 2, -1, -1}, {0}}));
    QL_TRY(cx, ql_seqs_check(cx, "rope", seqs, x->dims[0]));
    if (spec->head_dim < 2 || spec->head_dim % 2 || x->dims[1] % spec->head_dim)
        return QL_FAIL(cx, QL_INVALID, "rope: head_dim is %lld, expected an even divisor of the %lld columns of x",
                       (long long)spec->head_dim, (long long)x->dims[1]);
    if (!spec->inv_freq || (spec->stride && spec->stride < spec->head_dim / 2))
        return QL_FAIL(cx, QL_INVALID,
                       "rope: the frequencies are missing, or rows of %lld are too short for head_dim %lld",
                       (long long)spec->stride, (long long)spec->head_dim);
    if (ql_count(x) == 0)
        return QL_OK;
    return ql_op_done(cx, "rope", cx->device->backend->rope(cx, cx->device->dev, seqs, spec, x));
}

ql_status
ql_attention(ql_ctx *cx, const ql_seqs *seqs, const ql_attention_spec *spec, const ql_tensor *const qkv[3],
             ql_tensor **y)
{
    const ql_tensor *q = qkv[0];
    const int64_t largest = 1 << 20; /* so that the products below don't overflow */
    bool sane = spec->heads > 0 && spec->kv_heads > 0 && spec->head_dim > 0 && spec->heads < largest &&
                spec->head_dim < largest && spec->heads % spec->kv_heads == 0 && spec->window >= 0;
    int64_t width = sane ? spec->heads * spec->head_dim : 0, kv_width = sane ? spec->kv_heads * spec->head_dim : 0;
    const ql_operand operands[] = {
        {"q", q, QL_FLOAT_DTYPE, 2, -1, width},
        {"k", qkv[1], QL_BIT(ql_dtype_of(q)), 2, ql_dim(q, 0), kv_width},
        {"v", qkv[2], QL_BIT(ql_dtype_of(q)), 2, ql_dim(q, 0), kv_width},
        {0},
    };

    if (!sane)
        return QL_FAIL(cx, QL_INVALID,
                       "attention: %lld heads, %lld kv heads, head_dim %lld, window %lld; expected positive numbers, "
                       "heads a multiple of "
                       "kv heads, window 0 or more",
                       (long long)spec->heads, (long long)spec->kv_heads, (long long)spec->head_dim,
                       (long long)spec->window);
    QL_TRY(cx, ql_operands_check(cx, "attention", operands));
    QL_TRY(cx, ql_seqs_check(cx, "attention", seqs, q->dims[0]));
    QL_TRY(cx, like(cx, q, y));
    if (ql_count(q) == 0)
        return QL_OK;
    return ql_op_done(cx, "attention", cx->device->backend->attention(cx, cx->device->dev, seqs, spec, qkv, *y));
}

/* Two equal matrices in, one out. */
static ql_status
twins_check(ql_ctx *cx, const char *op, const char *const names[2], const ql_tensor *a, const ql_tensor *b)
{
    const ql_operand operands[] = {
        {names[0], a, QL_FLOAT_DTYPE, 2, -1, -1},
        {names[1], b, QL_BIT(ql_dtype_of(a)), 2, ql_dim(a, 0), ql_dim(a, 1)},
        {0},
    };

    return ql_operands_check(cx, op, operands);
}

ql_status
ql_swiglu(ql_ctx *cx, const ql_tensor *gate, const ql_tensor *up, ql_tensor **y)
{
    QL_TRY(cx, twins_check(cx, "swiglu", (const char *const[]){"the gate", "the other factor"}, gate, up));
    QL_TRY(cx, like(cx, gate, y));
    if (ql_count(gate) == 0)
        return QL_OK;
    return ql_op_done(cx, "swiglu", cx->device->backend->swiglu(cx, cx->device->dev, gate, up, *y));
}

ql_status
ql_add(ql_ctx *cx, const ql_tensor *a, const ql_tensor *b, ql_tensor **y)
{
    QL_TRY(cx, twins_check(cx, "add", (const char *const[]){"A", "B"}, a, b));
    QL_TRY(cx, like(cx, a, y));
    if (ql_count(a) == 0)
        return QL_OK;
    return ql_op_done(cx, "add", cx->device->backend->add(cx, cx->device->dev, a, b, *y));
}

ql_status
ql_add_bias(ql_ctx *cx, const ql_tensor *bias, ql_tensor *y)
{
    const ql_operand operands[] = {
        {"y", y, QL_FLOAT_DTYPE, 2, -1, -1},
        {"the bias", bias, QL_BIT(ql_dtype_of(y)), 1, ql_dim(y, 1), -1},
        {0},
    };

    QL_TRY(cx, ql_operands_check(cx, "add_bias", operands));
    QL_TRY(cx, ql_apart_check(cx, "add_bias", "y", y, "the bias", bias));
    if (ql_count(y) == 0)
        return QL_OK;
    return ql_op_done(cx, "add_bias", cx->device->backend->add_bias(cx, cx->device->dev, bias, y));
}

ql_status
ql_nll(ql_ctx *cx, const ql_tensor *x, const ql_tensor *head, const ql_tensor *targets, ql_tensor **out)
{
    const ql_operand operands[] = {
        {"x", x, QL_FLOAT_DTYPE, 2, -1, -1},
        {"the head", head, QL_BIT(ql_dtype_of(x)), 2, -1, ql_dim(x, 1)},
        {"the targets", targets, QL_BIT(QL_I32), 1, ql_dim(x, 0), -1},
        {0},
    };

    QL_TRY(cx, ql_operands_check(cx, "nll", operands));
    if (head->dims[0] == 0)
        return QL_FAIL(cx, QL_INVALID, "nll: the head has no rows");
    QL_TRY(cx, ql_new(cx, result_dtype(x), x->dims[0], -1, out));
    if (x->dims[0] == 0)
        return QL_OK;
    return ql_op_done(cx, "nll", cx->device->backend->nll(cx, cx->device->dev, x, head, targets, *out));
}

ql_status
ql_kl(ql_ctx *cx, const ql_tensor *ref, const ql_tensor *x, const ql_tensor *head, ql_tensor **kl, ql_tensor **agree)
{
    const ql_operand operands[] = {
        {"the reference", ref, QL_FLOAT_DTYPE, 2, -1, -1},
        {"x", x, QL_BIT(ql_dtype_of(ref)), 2, ql_dim(ref, 0), ql_dim(ref, 1)},
        {"the head", head, QL_BIT(ql_dtype_of(ref)), 2, -1, ql_dim(ref, 1)},
        {0},
    };

    QL_TRY(cx, ql_operands_check(cx, "kl", operands));
    if (head->dims[0] == 0)
        return QL_FAIL(cx, QL_INVALID, "kl: the head has no rows");
    QL_TRY(cx, ql_new(cx, result_dtype(x), x->dims[0], -1, kl));
    QL_TRY(cx, ql_new(cx, QL_U8, x->dims[0], -1, agree));
    if (x->dims[0] == 0)
        return QL_OK;
    return ql_op_done(cx, "kl",
                      cx->device->backend->kl(cx, cx->device->dev, ref, x, head, (ql_tensor *const[]){*kl, *agree}));
}

ql_status
ql_abs_stats(ql_ctx *cx, const ql_seqs *seqs, const ql_tensor *x, ql_tensor *abs_sum, ql_tensor *abs_max)
{
    unsigned out = QL_BIT(result_dtype(x));
    const ql_operand operands[] = {
        {"x", x, QL_FLOAT_DTYPE, 2, -1, -1},
        {"the sums", abs_sum, out, 1, ql_dim(x, 1), -1},
        {"the maxima", abs_max, out, 1, ql_dim(x, 1), -1},
        {0},
    };

    QL_TRY(cx, ql_operands_check(cx, "abs_stats", operands));
    QL_TRY(cx, ql_seqs_check(cx, "abs_stats", seqs, x->dims[0]));
    QL_TRY(cx, ql_apart_check(cx, "abs_stats", "the sums", abs_sum, "the maxima", abs_max));
    if (ql_count(x) == 0)
        return QL_OK;
    return ql_op_done(cx, "abs_stats", cx->device->backend->abs_stats(cx, cx->device->dev, seqs, x, abs_sum, abs_max));
}
