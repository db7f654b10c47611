/* Argument checks of operations. */
#include "check.h"

#include <stdio.h>

static void
expected_text(const ql_operand *o, char *text, size_t size)
{
    static const ql_dtype all[] = {QL_F32, QL_F64, QL_F16, QL_BF16, QL_U8, QL_I32, QL_I64};
    const int64_t dims[2] = {o->rows, o->cols};
    const char *separator = "";
    size_t n = 0;

    for (size_t i = 0; i < sizeof all / sizeof *all && n < size; i++) {
        if (!(o->dtypes & QL_BIT(all[i])))
            continue;
        n += (size_t)snprintf(text + n, size - n, "%s%s", separator, ql_dtype_name(all[i]));
        separator = " or ";
    }
    for (int i = 0; i < o->ndim && n < size; i++) {
        n += (size_t)snprintf(text + n, size - n, i ? ", " : " [");
        if (n < size)
            n += dims[i] < 0 ? (size_t)snprintf(text + n, size - n, "*")
                             : (size_t)snprintf(text + n, size - n, "%lld", (long long)dims[i]);
    }
    if (o->ndim && n < size)
        snprintf(text + n, size - n, "]");
}

static ql_status
operand_check(ql_ctx *cx, const char *op, const ql_operand *o)
{
    ql_device *d = cx->device, *its = o->t ? ql_tensor_device(o->t) : NULL;
    char got[128], expected[160];

    if (!o->t)
        return QL_FAIL(cx, QL_INVALID, "%s: %s: missing", op, o->name);
    if (!d)
        return QL_FAIL(cx, QL_BUG, "%s: no device is open", op);
    if (its != d)
        return QL_FAIL(cx, QL_INVALID, "%s: %s: on %s, but the work runs on %s; copy it there first", op, o->name,
                       its->backend == d->backend ? "another device of its kind" : its->backend->device,
                       d->backend->device);
    if ((o->dtypes & QL_BIT(o->t->dtype)) && (o->ndim == 0 || o->ndim == o->t->ndim) &&
        (o->ndim < 1 || o->rows < 0 || o->rows == o->t->dims[0]) &&
        (o->ndim < 2 || o->cols < 0 || o->cols == o->t->dims[1]))
        return QL_OK;
    expected_text(o, expected, sizeof expected);
    return QL_FAIL(cx, QL_INVALID, "%s: %s: got %s, expected %s", op, o->name, ql_tensor_text(o->t, got, sizeof got),
                   expected);
}

ql_status
ql_operands_check(ql_ctx *cx, const char *op, const ql_operand *operands)
{
    for (const ql_operand *o = operands; o->name; o++)
        QL_TRY(cx, operand_check(cx, op, o));
    return QL_OK;
}

ql_status
ql_apart_check(ql_ctx *cx, const char *op, const char *out_name, const ql_tensor *out, const char *in_name,
               const ql_tensor *in)
{
    if (ql_tensor_overlap(out, in))
        return QL_FAIL(cx, QL_INVALID, "%s: %s and %s share memory", op, out_name, in_name);
    return QL_OK;
}

ql_status
ql_seqs_check(ql_ctx *cx, const char *op, const ql_seqs *seqs, int64_t tokens)
{
    if (!seqs || seqs->count < 0 || !seqs->offsets || seqs->offsets[0] != 0)
        return QL_FAIL(cx, QL_INVALID, "%s: the sequences are missing, or do not start at token 0", op);
    for (int64_t s = 0; s < seqs->count; s++) {
        if (seqs->offsets[s + 1] < seqs->offsets[s])
            return QL_FAIL(cx, QL_INVALID, "%s: sequence %lld ends before it starts", op, (long long)s);
        if (seqs->first && seqs->first[s] < 0)
            return QL_FAIL(cx, QL_INVALID, "%s: sequence %lld starts at position %lld", op, (long long)s,
                           (long long)seqs->first[s]);
    }
    if (seqs->offsets[seqs->count] != tokens)
        return QL_FAIL(cx, QL_INVALID, "%s: the sequences have %lld tokens, the tensor %lld", op,
                       (long long)seqs->offsets[seqs->count], (long long)tokens);
    return QL_OK;
}
