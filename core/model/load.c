/* The way of a tensor from its mapped file to the device. */
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "source.h"
#include "tensor/tensor.h"

#define STRIP ((size_t)4 << 20) /* bytes of a file that are mapped beside the tensor that they become */
#define ROWS 64                 /* of a table, gathered at once: the fault of each maps 64 KiB */

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

/* A tensor of the shape that was asked for; a scalar is one element. */
static ql_status
new_tensor(ql_ctx *cx, ql_dtype dtype, const ql_want *want, ql_tensor **out)
{
    return want->ndim ? ql_new_nd(cx, dtype, want->ndim, want->dims, out) : ql_new(cx, dtype, 1, -1, out);
}

static ql_status
upload_wide(ql_ctx *cx, const ql_st_tensor *t, const ql_want *want, ql_tensor **out)
{
    int64_t *wide = ql_heap(cx, (size_t)t->count, sizeof *wide);
    ql_status st = wide ? widen(cx, t, wide) : QL_MEMORY;

    if (st == QL_OK)
        st = new_tensor(cx, QL_I64, want, out);
    if (st == QL_OK)
        st = ql_upload_bytes(cx, *out, 0, wide, ql_tensor_bytes(*out));
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

/* The tensor as its file has it, of which no more than a strip is mapped at once. */
static ql_status
fetch(ql_ctx *cx, const ql_want *want, const ql_st_tensor *t, ql_tensor **raw)
{
    const ql_dtype dtype = dtype_for(want, t);

    if (dtype == QL_DTYPE_NONE)
        return upload_wide(cx, t, want, raw);
    QL_TRY(cx, new_tensor(cx, dtype, want, raw));
    for (size_t at = 0; at < t->bytes; at += STRIP) {
        const size_t bytes = t->bytes - at < STRIP ? t->bytes - at : STRIP;

        QL_TRY(cx, ql_upload_bytes(cx, *raw, at, ql_st_data(t) + at, bytes));
        ql_st_release_part(t, at, bytes);
    }
    return QL_OK;
}

ql_status
ql_source_load(ql_ctx *cx, const ql_source *src, const ql_want *want, ql_tensor **out)
{
    ql_tensor *raw;
    ql_st_tensor *t;
    ql_status st;

    QL_TRY(cx, locate(cx, src, want, &t));
    atomic_fetch_add(&t->reads, 1);
    st = fetch(cx, want, t, &raw);
    ql_st_release(t);
    QL_TRY(cx, st);
    return deliver(cx, raw, want->dtype, out);
}

ql_status
ql_source_begin(ql_ctx *cx, const ql_source *src, const ql_want *want, ql_tensor **raw)
{
    ql_st_tensor *t;
    ql_dtype dtype;

    QL_TRY(cx, locate(cx, src, want, &t));
    dtype = dtype_for(want, t);
    if (dtype == QL_DTYPE_NONE)
        return upload_wide(cx, t, want, raw);
    QL_TRY(cx, new_tensor(cx, dtype, want, raw));
    return ql_upload_begin(cx, *raw, ql_st_data(t));
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

/* Rows `ids` of the table as those of `out`, some at a time. */
static ql_status
gather(ql_ctx *cx, const ql_st_tensor *t, const int32_t *ids, int64_t count, const ql_tensor *out)
{
    const size_t bytes = ql_tensor_bytes(out) / (size_t)count;
    unsigned char *rows = ql_heap(cx, ROWS, bytes);
    ql_status st = rows ? QL_OK : QL_MEMORY;

    for (int64_t first = 0, n; st == QL_OK && first < count; first += n) {
        n = count - first < ROWS ? count - first : ROWS;
        if (!cx->device->clock) { /* a rehearsal reads no weight */
            for (int64_t i = 0; i < n; i++)
                memcpy(rows + (size_t)i * bytes, ql_st_data(t) + (size_t)ids[first + i] * bytes, bytes);
            ql_st_release(t);
        }
        st = ql_upload_bytes(cx, out, (size_t)first * bytes, rows, (size_t)n * bytes);
    }
    free(rows);
    return st;
}

ql_status
ql_source_rows(ql_ctx *cx, const ql_source *src, const ql_want *want, const int32_t *ids, int64_t count,
               ql_tensor **out)
{
    ql_st_tensor *t;
    ql_tensor *raw;

    QL_TRY(cx, locate(cx, src, want, &t));
    if (want->ndim != 2 || is_widened(t->dtype))
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: rows of a %lld-dimensional %s tensor can't be read", want->name,
                       (long long)t->ndim, t->dtype_name);
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= want->dims[0])
            return QL_FAIL(cx, QL_INVALID, "token id %d at position %lld is outside the vocabulary of %lld",
                           (int)ids[i], (long long)i, (long long)want->dims[0]);
    QL_TRY(cx, ql_new(cx, ql_st_dtype_device(t->dtype), count, want->dims[1], &raw));
    if (count)
        QL_TRY(cx, gather(cx, t, ids, count, raw));
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
