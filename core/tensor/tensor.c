/* Tensors: headers over counted buffers, their making, views, and the scopes that own them. */
#include "tensor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    [QL_DTYPE_NONE] = {"none", 0}, [QL_F32] = {"f32", 4}, [QL_F64] = {"f64", 8}, [QL_F16] = {"f16", 2},
    [QL_BF16] = {"bf16", 2},       [QL_U8] = {"u8", 1},   [QL_I32] = {"i32", 4}, [QL_I64] = {"i64", 8},
};

static bool
known(ql_dtype d)
{
    return d > QL_DTYPE_NONE && (size_t)d < sizeof dtypes / sizeof *dtypes;
}

const char *
ql_dtype_name(ql_dtype d)
{
    return dtypes[known(d) ? d : QL_DTYPE_NONE].name;
}

size_t
ql_dtype_size(ql_dtype d)
{
    return dtypes[known(d) ? d : QL_DTYPE_NONE].bytes;
}

ql_dtype
ql_dtype_of(const ql_tensor *t)
{
    return t ? t->dtype : QL_DTYPE_NONE;
}

int
ql_ndim(const ql_tensor *t)
{
    return t ? t->ndim : 0;
}

/* Shapes are read before an operation's arguments are checked, so a missing tensor or dimension is 0, not a crash. */
int64_t
ql_dim(const ql_tensor *t, int i)
{
    int n = ql_ndim(t);

    i = i < 0 ? i + n : i;
    return i >= 0 && i < n ? t->dims[i] : 0;
}

int64_t
ql_stride(const ql_tensor *t, int i)
{
    int n = ql_ndim(t);

    i = i < 0 ? i + n : i;
    return i >= 0 && i < n ? t->strides[i] : 0;
}

int64_t
ql_count(const ql_tensor *t)
{
    int64_t count = t ? 1 : 0;

    for (int i = 0; i < ql_ndim(t); i++)
        count *= t->dims[i];
    return count;
}

void *
ql_ptr(const ql_tensor *t)
{
    return t->buffer->ptr ? (char *)t->buffer->ptr + t->offset : NULL;
}

ql_device *
ql_tensor_device(const ql_tensor *t)
{
    return t->buffer->device;
}

size_t
ql_tensor_bytes(const ql_tensor *t)
{
    return (size_t)ql_count(t) * ql_dtype_size(t->dtype);
}

bool
ql_contiguous(const ql_tensor *t)
{
    int64_t stride = 1;

    for (int i = t->ndim - 1; i >= 0; i--) {
        if (t->dims[i] > 1 && t->strides[i] != stride)
            return false;
        stride *= t->dims[i];
    }
    return true;
}

/* Bytes from the first element to the end of the last. */
static size_t
extent(const ql_tensor *t)
{
    size_t last = 0;

    if (ql_count(t) == 0)
        return 0;
    for (int i = 0; i < t->ndim; i++)
        last += (size_t)((t->dims[i] - 1) * t->strides[i]);
    return (last + 1) * ql_dtype_size(t->dtype);
}

bool
ql_tensor_overlap(const ql_tensor *a, const ql_tensor *b)
{
    const char *pa = ql_ptr(a), *pb = ql_ptr(b);
    size_t size = ql_dtype_size(a->dtype), row, ca, cb;

    if (a->buffer != b->buffer || pa + extent(a) <= pb || pb + extent(b) <= pa || !ql_count(a) || !ql_count(b))
        return false;
    if (a->ndim != 2 || b->ndim != 2 || size != ql_dtype_size(b->dtype) || a->strides[0] != b->strides[0])
        return true;
    row = (size_t)a->strides[0] * size;
    ca = a->offset % row;
    cb = b->offset % row;
    if (ca + (size_t)a->dims[1] * size > row || cb + (size_t)b->dims[1] * size > row)
        return true;
    return ca < cb + (size_t)b->dims[1] * size && cb < ca + (size_t)a->dims[1] * size;
}

const char *
ql_tensor_text(const ql_tensor *t, char *text, size_t size)
{
    size_t n = (size_t)snprintf(text, size, "%s [", ql_dtype_name(ql_dtype_of(t)));

    for (int i = 0; i < ql_ndim(t) && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, i ? ", %lld" : "%lld", (long long)t->dims[i]);
    if (n < size)
        snprintf(text + n, size - n, "]");
    return text;
}

ql_tensor *
ql_tensor_ref(const ql_tensor *t)
{
    ql_tensor *held = (ql_tensor *)t; /* the count is not part of what const protects */

    if (held)
        atomic_fetch_add_explicit(&held->refs, 1, memory_order_relaxed);
    return held;
}

void
ql_tensor_unref(ql_tensor *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    ql_buffer_unref(t->buffer);
    free(t->mapped);
    free(t);
}

static ql_status
scope_room(ql_ctx *cx)
{
    ql_scope *s = cx->scope;

    if (!s)
        return QL_FAIL(cx, QL_BUG, "a tensor is asked for, but no scope is open that would own it");
    return ql_grow(cx, &s->tensors, &s->capacity, s->count + 1, sizeof *s->tensors);
}

ql_status
ql_tensor_borrow(ql_ctx *cx, const ql_tensor *t, ql_tensor **out)
{
    QL_TRY(cx, scope_room(cx));
    *out = cx->scope->tensors[cx->scope->count++] = ql_tensor_ref(t);
    return QL_OK;
}

ql_status
ql_scope_yield(ql_ctx *cx, ql_scope *scope, ql_status st, ql_tensor **const *kept, int count)
{
    for (int i = 0; i < count; i++)
        *kept[i] = st == QL_OK && *kept[i] ? ql_tensor_ref(*kept[i]) : NULL;
    ql_scope_close(cx, scope);
    for (int i = 0; i < count; i++) {
        ql_tensor *held = *kept[i];

        *kept[i] = NULL;
        if (held && st == QL_OK)
            st = ql_tensor_borrow(cx, held, kept[i]);
        ql_tensor_unref(held);
    }
    return st;
}

void
ql_drop(ql_ctx *cx, ql_tensor **t)
{
    ql_tensor *gone = *t;

    *t = NULL;
    for (ql_scope *s = gone ? cx->scope : NULL; s; s = s->up) {
        for (int64_t i = s->count; i-- > 0;) {
            if (s->tensors[i] != gone)
                continue;
            s->count--;
            memmove(s->tensors + i, s->tensors + i + 1, (size_t)(s->count - i) * sizeof *s->tensors);
            ql_tensor_unref(gone);
            return;
        }
    }
}

/* A header over `buffer`, whose reference it takes over on success, in the innermost scope. */
static ql_status
header(ql_ctx *cx, const ql_tensor *like, ql_buffer *buffer, ql_tensor **out)
{
    ql_tensor *t;

    QL_TRY(cx, scope_room(cx));
    t = ql_heap(cx, 1, sizeof *t);
    if (!t)
        return QL_MEMORY;
    t->dtype = like->dtype;
    t->ndim = like->ndim;
    memcpy(t->dims, like->dims, sizeof t->dims);
    memcpy(t->strides, like->strides, sizeof t->strides);
    t->offset = like->offset;
    t->lent = like->lent;
    t->buffer = buffer;
    atomic_init(&t->refs, 1);
    *out = cx->scope->tensors[cx->scope->count++] = t;
    return QL_OK;
}

static ql_status
view(ql_ctx *cx, const ql_tensor *like, ql_tensor **out)
{
    QL_TRY(cx, header(cx, like, like->buffer, out));
    atomic_fetch_add_explicit(&like->buffer->refs, 1, memory_order_relaxed);
    return QL_OK;
}

void
ql_tensor_seal(ql_tensor *t)
{
    t->lent = t->buffer->lent = true;
}

ql_status
ql_tensor_lend(ql_ctx *cx, const ql_tensor *t, ql_tensor **out)
{
    QL_TRY(cx, view(cx, t, out));
    ql_tensor_seal(*out);
    return QL_OK;
}

static void
set_shape(ql_tensor *t, int ndim, const int64_t *dims)
{
    int64_t stride = 1;

    t->ndim = ndim;
    for (int i = ndim - 1; i >= 0; i--) {
        t->dims[i] = dims[i];
        t->strides[i] = stride;
        stride *= dims[i] ? dims[i] : 1;
    }
}

/* dims product * dtype size with overflow check. */
static ql_status
shape_bytes(ql_ctx *cx, ql_dtype dtype, int ndim, const int64_t *dims, size_t *out)
{
    size_t bytes = ql_dtype_size(dtype), widest = bytes;

    if (!known(dtype))
        return QL_FAIL(cx, QL_INVALID, "%d is not a dtype", (int)dtype);
    if (ndim < 1 || ndim > QL_MAX_DIMS)
        return QL_FAIL(cx, QL_INVALID, "a tensor has 1 to %d dimensions, not %d", QL_MAX_DIMS, ndim);
    for (int i = 0; i < ndim; i++) {
        size_t n = (size_t)dims[i];

        if (dims[i] < 0)
            return QL_FAIL(cx, QL_INVALID, "dimension %d of a tensor is %lld", i, (long long)dims[i]);
        /* A length 0 elsewhere must not hide that the others overflow: strides are products of them all. */
        if (n && widest > (size_t)INT64_MAX / n)
            return QL_FAIL(cx, QL_INVALID, "the size of a tensor overflows at its dimension %d, which is %lld", i,
                           (long long)dims[i]);
        widest *= n ? n : 1;
        bytes *= n;
    }
    *out = bytes;
    return QL_OK;
}

ql_status
ql_new_nd(ql_ctx *cx, ql_dtype dtype, int ndim, const int64_t *dims, ql_tensor **out)
{
    ql_tensor like = {.dtype = dtype};
    ql_buffer *buffer;
    size_t bytes;
    ql_status st;

    QL_TRY(cx, shape_bytes(cx, dtype, ndim, dims, &bytes));
    if (!cx->device)
        return QL_FAIL(cx, QL_BUG, "a tensor is asked for, but no device is open");
    set_shape(&like, ndim, dims);
    QL_TRY(cx, ql_buffer_new(cx, cx->device, bytes, &buffer));
    st = header(cx, &like, buffer, out);
    if (st != QL_OK)
        ql_buffer_unref(buffer);
    return st;
}

ql_status
ql_new(ql_ctx *cx, ql_dtype dtype, int64_t rows, int64_t cols, ql_tensor **out)
{
    return ql_new_nd(cx, dtype, cols < 0 ? 1 : 2, (const int64_t[]){rows, cols}, out);
}

static ql_status
check_range(ql_ctx *cx, const char *what, int64_t first, int64_t count, int64_t length)
{
    if (first < 0 || count < 0 || first > length || count > length - first)
        return QL_FAIL(cx, QL_INVALID, "%lld %s from %lld on, of a tensor that has %lld", (long long)count, what,
                       (long long)first, (long long)length);
    return QL_OK;
}

ql_status
ql_rows(ql_ctx *cx, const ql_tensor *t, int64_t first, int64_t count, ql_tensor **out)
{
    ql_tensor like = *t;

    QL_TRY(cx, check_range(cx, "rows", first, count, t->dims[0]));
    like.dims[0] = count;
    like.offset += (size_t)(first * t->strides[0]) * ql_dtype_size(t->dtype);
    return view(cx, &like, out);
}

ql_status
ql_cols(ql_ctx *cx, const ql_tensor *t, int64_t first, int64_t count, ql_tensor **out)
{
    ql_tensor like = *t;
    int last = t->ndim - 1;

    QL_TRY(cx, check_range(cx, "columns", first, count, t->dims[last]));
    like.dims[last] = count;
    like.offset += (size_t)first * ql_dtype_size(t->dtype);
    return view(cx, &like, out);
}

ql_status
ql_tensor_element(ql_ctx *cx, const ql_tensor *t, int64_t index, ql_tensor **out)
{
    ql_tensor like = *t;

    for (int i = t->ndim - 1; i >= 0; i--) {
        like.offset += (size_t)(index % t->dims[i] * t->strides[i]) * ql_dtype_size(t->dtype);
        index /= t->dims[i];
    }
    set_shape(&like, 1, (const int64_t[]){1});
    return view(cx, &like, out);
}

ql_status
ql_reshape(ql_ctx *cx, const ql_tensor *t, int ndim, const int64_t *dims, ql_tensor **out)
{
    ql_tensor like = *t;
    char text[128];
    size_t bytes;

    QL_TRY(cx, shape_bytes(cx, t->dtype, ndim, dims, &bytes));
    if (!ql_contiguous(t))
        return QL_FAIL(cx, QL_INVALID, "a view of columns, %s, can't be reshaped",
                       ql_tensor_text(t, text, sizeof text));
    if (bytes != ql_tensor_bytes(t))
        return QL_FAIL(cx, QL_INVALID, "%s can't be reshaped to %zu elements", ql_tensor_text(t, text, sizeof text),
                       bytes / ql_dtype_size(t->dtype));
    set_shape(&like, ndim, dims);
    return view(cx, &like, out);
}
