/* The way of a tensor from its mapped file to the device. */
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "source.h"
#include "tensor/tensor.h"

/* "[256, 128]", in the innermost scope. */
static const char *
shape_text(ql_ctx *cx, int64_t ndim, const int64_t *dims)
{
    const char *text = "";

    for (int64_t i = 0; text && i < ndim; i++)
        text = ql_format(cx, "%s%s%lld", text, i ? ", " : "", (long long)dims[i]);
    return text ? ql_format(cx, "[%s]", text) : NULL;
}

static ql_status
fail_shape(ql_ctx *cx, const ql_want *want, const ql_st_tensor *t)
{
    int64_t shown = t->ndim < 8 ? t->ndim : 8;
    const char *expected = shape_text(cx, want->ndim, want->dims), *got = shape_text(cx, shown, t->dims);

    if (!expected || !got)
        return QL_MEMORY;
    return QL_FAIL(cx, QL_INVALID, "%s: shape %s expected, file has %s%s", want->name, expected, got,
                   shown < t->ndim ? " and more" : "");
}

/* Integers that no device tensor has are widened on the host. */
static bool
is_widened(ql_st_dtype d)
{
    return d == QL_ST_I8 || d == QL_ST_I16 || d == QL_ST_U16 || d == QL_ST_U32 || d == QL_ST_U64;
}

/* The dtype of a device tensor that takes the bytes of `t` as they are for `want`; NONE: there is none. */
static ql_dtype
dtype_for(const ql_want *want, const ql_st_tensor *t)
{
    const bool bytes = want->dtype == QL_U8 && ql_st_dtype_bits(t->dtype) == 8 && !is_widened(t->dtype);

    return bytes ? QL_U8 : ql_st_dtype_device(t->dtype);
}

static ql_status
locate(ql_ctx *cx, const ql_source *src, const ql_want *want, ql_st_tensor **out)
{
    const ql_st_tensor *t = *out = ql_source_find(src, want->name);
    bool same;

    if (!t)
        return QL_FAIL(cx, QL_NOT_FOUND, "%s: no such tensor in the files", want->name);
    same = t->ndim == want->ndim;
    for (int i = 0; same && i < want->ndim; i++)
        same = t->dims[i] == want->dims[i];
    if (!same)
        return fail_shape(cx, want, t);
    if (dtype_for(want, t) == QL_DTYPE_NONE && !is_widened(t->dtype))
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: tensors of dtype %s can't be read", want->name, t->dtype_name);
    return QL_OK;
}

ql_status
ql_source_check(ql_ctx *cx, const ql_source *src, const ql_want *want)
{
    ql_st_tensor *t;

    QL_TRY(cx, locate(cx, src, want, &t));
    ql_source_expect(src, want->name);
    return QL_OK;
}

static ql_status
widen(ql_ctx *cx, const ql_st_tensor *t, int64_t *out)
{
    const unsigned char *p = ql_st_data(t);
    const size_t size = (size_t)ql_st_dtype_bits(t->dtype) / 8;
    const bool sign = t->dtype == QL_ST_I8 || t->dtype == QL_ST_I16;
    const uint64_t top = (uint64_t)1 << (8 * size - 1);

    for (uint64_t i = 0; i < t->count; i++, p += size) {
        uint64_t v = 0;

        for (size_t k = size; k-- > 0;)
            v = v << 8 | p[k];
        if (size == 8 && v > INT64_MAX)
            return QL_FAIL(cx, QL_UNSUPPORTED, "%s: element %llu is %llu, above what fits a signed 64-bit integer",
                           t->name, (unsigned long long)i, (unsigned long long)v);
        out[i] = sign ? (int64_t)(v ^ top) - (int64_t)top : (int64_t)v;
    }
    return QL_OK;
}

/* ql_upload or ql_upload_begin */
typedef ql_status (*uploader)(ql_ctx *cx, ql_dtype dtype, int64_t rows, int64_t cols, const void *host,
                              ql_tensor **out);

/* Bytes of the host, contiguous, as a tensor of the shape that was asked for. */
static ql_status
upload(ql_ctx *cx, uploader up, ql_dtype dtype, const ql_want *want, const void *host, ql_tensor **out)
{
    int64_t count = 1;
    ql_tensor *flat;

    if (want->ndim == 2)
        return up(cx, dtype, want->dims[0], want->dims[1], host, out);
    for (int i = 0; i < want->ndim; i++)
        count *= want->dims[i]; /* the reader has checked that this fits */
    if (want->ndim < 2)         /* a scalar is one element */
        return up(cx, dtype, count, -1, host, out);
    QL_TRY(cx, up(cx, dtype, count, -1, host, &flat));
    return ql_reshape(cx, flat, want->ndim, want->dims, out);
}

static ql_status
upload_wide(ql_ctx *cx, const ql_st_tensor *t, const ql_want *want, ql_tensor **out)
{
    int64_t *wide = ql_heap(cx, (size_t)t->count, sizeof *wide);
    ql_status st = wide ? widen(cx, t, wide) : QL_MEMORY;

    if (st == QL_OK)
        st = upload(cx, ql_upload, QL_I64, want, wide, out);
    free(wide);
    return st;
}

/* `raw` as the caller wants it. */
static ql_status
deliver(ql_ctx *cx, ql_tensor *raw, ql_dtype dtype, ql_tensor **out)
{
    if (dtype == QL_DTYPE_NONE || dtype == ql_dtype_of(raw)) {
        *out = raw;
        return QL_OK;
    }
    QL_TRY(cx, ql_convert(cx, raw, dtype, out));
    ql_drop(cx, &raw);
    return QL_OK;
}

/* The tensor as its file has it. */
static ql_status
fetch(ql_ctx *cx, uploader up, const ql_want *want, const ql_st_tensor *t, ql_tensor **raw)
{
    const ql_dtype dtype = dtype_for(want, t);

    if (dtype == QL_DTYPE_NONE)
        return upload_wide(cx, t, want, raw);
    return upload(cx, up, dtype, want, ql_st_data(t), raw);
}

ql_status
ql_source_load(ql_ctx *cx, const ql_source *src, const ql_want *want, ql_tensor **out)
{
    ql_tensor *raw;
    ql_st_tensor *t;
    ql_status st;

    QL_TRY(cx, locate(cx, src, want, &t));
    atomic_fetch_add(&t->reads, 1);
    st = fetch(cx, ql_upload, want, t, &raw);
    ql_st_release(t);
    QL_TRY(cx, st);
    return deliver(cx, raw, want->dtype, out);
}

ql_status
ql_source_begin(ql_ctx *cx, const ql_source *src, const ql_want *want, ql_tensor **raw)
{
    ql_st_tensor *t;

    QL_TRY(cx, locate(cx, src, want, &t));
    return fetch(cx, ql_upload_begin, want, t, raw);
}

ql_status
ql_source_finish(ql_ctx *cx, const ql_source *src, const ql_want *want, ql_tensor *raw, ql_tensor **out)
{
    ql_st_tensor *t;

    QL_TRY(cx, locate(cx, src, want, &t));
    atomic_fetch_add(&t->reads, 1);
    ql_st_release(t);
    return deliver(cx, raw, want->dtype, out);
}

ql_status
ql_source_rows(ql_ctx *cx, const ql_source *src, const ql_want *want, const int32_t *ids, int64_t count,
               ql_tensor **out)
{
    ql_st_tensor *t;
    ql_tensor *raw;
    unsigned char *rows;
    size_t bytes;
    ql_status st;

    QL_TRY(cx, locate(cx, src, want, &t));
    if (want->ndim != 2 || is_widened(t->dtype))
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: rows of a %lld-dimensional %s tensor can't be read", want->name,
                       (long long)t->ndim, t->dtype_name);
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= want->dims[0])
            return QL_FAIL(cx, QL_INVALID, "token id %d at position %lld is outside the vocabulary of %lld",
                           (int)ids[i], (long long)i, (long long)want->dims[0]);
    bytes = (size_t)want->dims[1] * ql_dtype_size(ql_st_dtype_device(t->dtype));
    rows = ql_heap(cx, (size_t)count, bytes);
    if (!rows)
        return QL_MEMORY;
    for (int64_t i = 0; i < count && !cx->device->clock; i++) /* a rehearsal reads no weight */
        memcpy(rows + (size_t)i * bytes, ql_st_data(t) + (size_t)ids[i] * bytes, bytes);
    st = ql_upload(cx, ql_st_dtype_device(t->dtype), count, want->dims[1], rows, &raw);
    free(rows);
    ql_st_release(t);
    QL_TRY(cx, st);
    return deliver(cx, raw, want->dtype, out);
}

bool
ql_source_equal(const ql_st_tensor *a, const ql_st_tensor *b)
{
    bool same = a->ndim == b->ndim && strcmp(a->dtype_name, b->dtype_name) == 0 && a->bytes == b->bytes;

    for (int64_t i = 0; same && i < a->ndim; i++)
        same = a->dims[i] == b->dims[i];
    if (!same)
        return false;
    same = memcmp(ql_st_data(a), ql_st_data(b), a->bytes) == 0;
    ql_st_release(a);
    ql_st_release(b);
    return same;
}
