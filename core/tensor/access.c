/* Contents of tensors: copies, conversions, and what crosses between host and device. */
#include <stdlib.h>
#include <string.h>

#include "op.h"

/* `t` must be on the device at hand, and not lent for reading only where it is written. */
static ql_status
tensor_check(ql_ctx *cx, const char *function, const ql_tensor *t, bool written)
{
    return ql_operands_check(cx, function, written ? "the tensor:any[..]!" : "the tensor:any[..]", &(ql_op){.t = {t}});
}

ql_status
ql_zeros(ql_ctx *cx, ql_dtype dtype, int64_t rows, int64_t cols, ql_tensor **out)
{
    QL_TRY(cx, ql_new(cx, dtype, rows, cols, out));
    return ql_fill(cx, *out, 0.0);
}

ql_status
ql_copy(ql_ctx *cx, const ql_tensor *src, ql_tensor *dst)
{
    return ql_op_run(cx, &(ql_op){.code = QL_OP_COPY, .t = {src, dst}});
}

ql_status
ql_convert(ql_ctx *cx, const ql_tensor *src, ql_dtype dtype, ql_tensor **out)
{
    QL_TRY(cx, ql_new_nd(cx, dtype, src->ndim, src->dims, out));
    return ql_copy(cx, src, *out);
}

ql_status
ql_writable(ql_ctx *cx, ql_tensor **t)
{
    ql_tensor *copy, *old = *t;

    if (!old->lent && atomic_load(&old->refs) == 1 && atomic_load(&old->buffer->refs) == 1)
        return QL_OK;
    QL_TRY(cx, ql_convert(cx, old, old->dtype, &copy));
    ql_drop(cx, &old);
    *t = copy;
    return QL_OK;
}

ql_status
ql_upload_bytes(ql_ctx *cx, const ql_tensor *t, size_t at, const void *host, size_t bytes)
{
    ql_device *d = cx->device;

    if (bytes == 0)
        return QL_OK;
    d->up += bytes;
    return ql_op_done(cx, "upload", d->backend->upload(cx, d->dev, host, (char *)ql_ptr(t) + at, bytes));
}

ql_status
ql_upload(ql_ctx *cx, ql_dtype dtype, int64_t rows, int64_t cols, const void *host, ql_tensor **out)
{
    QL_TRY(cx, ql_new(cx, dtype, rows, cols, out));
    return ql_upload_bytes(cx, *out, 0, host, ql_tensor_bytes(*out));
}

ql_status
ql_upload_begin(ql_ctx *cx, const ql_tensor *t, const void *host)
{
    ql_device *d = cx->device;
    const size_t bytes = ql_tensor_bytes(t);

    if (bytes == 0)
        return QL_OK;
    d->up += bytes;
    return ql_op_done(cx, "prefetch", d->backend->prefetch(cx, d->dev, host, ql_ptr(t), bytes));
}

ql_status
ql_uploads_arrive(ql_ctx *cx)
{
    return ql_op_done(cx, "prefetch", cx->device->backend->arrive(cx, cx->device->dev));
}

void
ql_uploads_settle(ql_ctx *cx)
{
    ql_ctx quiet = *cx; /* a device that has failed does so again */

    (void)ql_uploads_arrive(&quiet);
}

/* The elements of `t`, in order, to or from host memory; temporaries are the caller's. */
static ql_status
download(ql_ctx *cx, const ql_tensor *t, void *host)
{
    ql_device *d = cx->device;
    size_t bytes = ql_tensor_bytes(t);
    ql_tensor *flat;

    if (!ql_contiguous(t)) {
        QL_TRY(cx, ql_convert(cx, t, t->dtype, &flat));
        t = flat;
    }
    d->down += bytes;
    return ql_op_done(cx, "download", d->backend->download(cx, d->dev, ql_ptr(t), host, bytes));
}

static ql_status
hand_back(ql_ctx *cx, ql_tensor *t, const void *host)
{
    ql_tensor *flat, *shaped;

    if (ql_contiguous(t))
        return ql_upload_bytes(cx, t, 0, host, ql_tensor_bytes(t));
    QL_TRY(cx, ql_upload(cx, t->dtype, ql_count(t), -1, host, &flat));
    QL_TRY(cx, ql_reshape(cx, flat, t->ndim, t->dims, &shaped));
    return ql_copy(cx, shaped, t);
}

ql_status
ql_map(ql_ctx *cx, const ql_tensor *t, ql_access access, void *host_out)
{
    ql_tensor *self = (ql_tensor *)t; /* the host copy is not part of what const protects */
    ql_status st = QL_OK;
    ql_scope scope;
    void *host;

    QL_TRY(cx, tensor_check(cx, "map", t, access & QL_WRITE));
    QL_TRY(cx, ql_op_done(cx, "map", cx->device->backend->sync(cx, cx->device->dev)));
    if (t->mapped)
        return QL_FAIL(cx, QL_BUG, "map: the tensor is mapped already");
    host = ql_ptr(t);
    if (!cx->device->info.host_memory || cx->device->clock || !ql_contiguous(t)) {
        host = ql_heap(cx, (size_t)ql_count(t), ql_dtype_size(t->dtype));
        if (!host)
            return QL_MEMORY;
        ql_scope_open(cx, &scope);
        if ((access & QL_READ) && ql_count(t))
            st = download(cx, t, host);
        ql_scope_close(cx, &scope);
        if (st != QL_OK) {
            free(host);
            return st;
        }
        self->mapped = host;
        self->access = access;
    }
    memcpy(host_out, &host, sizeof host);
    return QL_OK;
}

ql_status
ql_unmap(ql_ctx *cx, const ql_tensor *t)
{
    ql_tensor *self = (ql_tensor *)t;
    void *host = t->mapped;
    ql_status st = QL_OK;
    ql_scope scope;

    if (!host)
        return QL_OK;
    self->mapped = NULL;
    ql_scope_open(cx, &scope);
    if ((t->access & QL_WRITE) && ql_count(t))
        st = hand_back(cx, self, host);
    ql_scope_close(cx, &scope);
    free(host);
    return st;
}

ql_status
ql_item(ql_ctx *cx, const ql_tensor *t, int64_t index, double *out)
{
    ql_tensor *one, *wide;
    ql_scope scope;
    ql_status st;

    QL_TRY(cx, tensor_check(cx, "item", t, false));
    if (index < 0 || index >= ql_count(t))
        return QL_FAIL(cx, QL_INVALID, "item: element %lld of a tensor that has %lld", (long long)index,
                       (long long)ql_count(t));
    ql_scope_open(cx, &scope);
    st = ql_tensor_element(cx, t, index, &one);
    if (st == QL_OK)
        st = ql_convert(cx, one, QL_F64, &wide);
    if (st == QL_OK)
        st = download(cx, wide, out);
    ql_scope_close(cx, &scope);
    return st;
}
