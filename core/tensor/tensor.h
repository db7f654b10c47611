/* Tensors from the inside: header over a counted buffer. Only core/tensor and core/device include this. */
#ifndef QLOOM_TENSOR_TENSOR_H
#define QLOOM_TENSOR_TENSOR_H

#include <qloom/tensor.h>

#include "device/device.h"

struct ql_tensor {
    atomic_int refs;
    ql_dtype dtype;
    int ndim;
    int64_t dims[QL_MAX_DIMS], strides[QL_MAX_DIMS]; /* in elements; the last stride is 1 */
    size_t offset;                                   /* bytes into the buffer */
    ql_buffer *buffer;
    bool lent;    /* for reading only: no operation and no map writes to it, nor to a view of it */
    void *mapped; /* host copy while mapped, on devices whose memory the host can't read */
    ql_access access;
};

/* Adoption: a result keeps a tensor beyond its scope with one more reference. NULL is fine for both. */
ql_tensor *ql_tensor_ref(const ql_tensor *t);
/* Puts a reference into the innermost scope: the tensor is released when that scope closes. */
ql_status ql_tensor_borrow(ql_ctx *cx, const ql_tensor *t, ql_tensor **out);

/* From here on it is for reading only, for everyone. */
void ql_tensor_seal(ql_tensor *t);
/* The same elements for reading only, as a view in the innermost scope: what the host hands to plugins. */
ql_status ql_tensor_lend(ql_ctx *cx, const ql_tensor *t, ql_tensor **out);

/* One element, linear index in row-major order, as a view of rank 1. */
ql_status ql_tensor_element(ql_ctx *cx, const ql_tensor *t, int64_t index, ql_tensor **out);

/* Closes `scope` and moves what `kept` points to into the one around it: NULL stays so, and all becomes NULL when `st` is no success.
 * Returns `st`, or why a move failed. */
ql_status ql_scope_yield(ql_ctx *cx, ql_scope *scope, ql_status st, ql_tensor **const *kept, int count);

/* `bytes` of the host become those of contiguous `t` from byte `at` on, and can then be forgotten. */
ql_status ql_upload_bytes(ql_ctx *cx, const ql_tensor *t, size_t at, const void *host, size_t bytes);
/* All bytes of `t`, beside the device's work: `host` stays readable, and the tensor is not to be used, until ql_uploads_arrive. */
ql_status ql_upload_begin(ql_ctx *cx, const ql_tensor *t, const void *host);
ql_status ql_uploads_arrive(ql_ctx *cx);
/* The same where the tensors' memory is about to go: the context keeps the error that it has. */
void ql_uploads_settle(ql_ctx *cx);

bool ql_contiguous(const ql_tensor *t);
ql_device *ql_tensor_device(const ql_tensor *t);
size_t ql_tensor_bytes(const ql_tensor *t); /* of its elements */
/* Do the two share an element? Interleaved column views of one matrix don't. */
bool ql_tensor_overlap(const ql_tensor *a, const ql_tensor *b);
/* "f32 [3, 4]", for messages; returns `text`. */
const char *ql_tensor_text(const ql_tensor *t, char *text, size_t size);

#endif
