/* Tensors: dtype, shape, strides and offset over a reference-counted buffer on one device.
 *
 * `const ql_tensor *` is borrowed and read-only, `ql_tensor *` is yours. Every tensor made through a context belongs to the
 * innermost scope of that context and dies with it, on success and on error, except those that a result keeps: so a plugin
 * contains no free. The last dimension of every tensor is contiguous; rows may be apart (a view of columns).
 * All functions here: [one thread per context] unless said otherwise. */
#ifndef QLOOM_TENSOR_H
#define QLOOM_TENSOR_H

#include <qloom/status.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QL_MAX_DIMS 4

/* name, bytes */
#define QL_DTYPE_LIST(X) \
    X(F32, 4)            \
    X(F64, 8)            \
    X(F16, 2)            \
    X(BF16, 2)           \
    X(U8, 1)             \
    X(I32, 4)            \
    X(I64, 8)

typedef enum ql_dtype {
    QL_DTYPE_NONE,
#define QL_DTYPE_ENUM(name, bytes) QL_##name,
    QL_DTYPE_LIST(QL_DTYPE_ENUM)
#undef QL_DTYPE_ENUM
} ql_dtype;

typedef struct ql_tensor ql_tensor;

QL_API const char *ql_dtype_name(ql_dtype d); /* "bf16"; [any thread] */
QL_API size_t ql_dtype_size(ql_dtype d);      /* bytes of an element; [any thread] */

QL_API ql_dtype ql_dtype_of(const ql_tensor *t);
QL_API int ql_ndim(const ql_tensor *t);
QL_API int64_t ql_dim(const ql_tensor *t, int i);    /* length of dimension i; a negative i counts from the end */
QL_API int64_t ql_stride(const ql_tensor *t, int i); /* in elements */
QL_API int64_t ql_count(const ql_tensor *t);         /* elements */

/* A tensor on the device of `cx`, contents undefined. MEMORY when the device or the run's `memory:` limit has no room: the
 * text says who holds what. `ql_new` is rank 1 or 2 (`cols` < 0: rank 1); `ql_new_nd` any rank up to QL_MAX_DIMS. */
QL_API ql_status ql_new(ql_ctx *cx, ql_dtype dtype, int64_t rows, int64_t cols, ql_tensor **out);
QL_API ql_status ql_new_nd(ql_ctx *cx, ql_dtype dtype, int ndim, const int64_t *dims, ql_tensor **out);
QL_API ql_status ql_zeros(ql_ctx *cx, ql_dtype dtype, int64_t rows, int64_t cols, ql_tensor **out);

/* Views: they share the buffer of `t`, and a view of a borrowed tensor is borrowed too. Rows are dimension 0, columns the last. */
QL_API ql_status ql_rows(ql_ctx *cx, const ql_tensor *t, int64_t first, int64_t count, ql_tensor **out);
QL_API ql_status ql_cols(ql_ctx *cx, const ql_tensor *t, int64_t first, int64_t count, ql_tensor **out);
/* The same elements under another shape; INVALID when `t` is not contiguous or the counts differ. */
QL_API ql_status ql_reshape(ql_ctx *cx, const ql_tensor *t, int ndim, const int64_t *dims, ql_tensor **out);

/* Lets go of a large temporary before the scope ends; `*t` becomes NULL. NULL and *t == NULL are fine. */
QL_API void ql_drop(ql_ctx *cx, ql_tensor **t);

/* Makes `*t` the only holder of its buffer: copies when it is shared, else does nothing. */
QL_API ql_status ql_writable(ql_ctx *cx, ql_tensor **t);

/* dst = src, element by element, converting the dtype (round to nearest even); equal shapes. */
QL_API ql_status ql_copy(ql_ctx *cx, const ql_tensor *src, ql_tensor *dst);
/* A new contiguous tensor of dtype `dtype` with the values of `src`. */
QL_API ql_status ql_convert(ql_ctx *cx, const ql_tensor *src, ql_dtype dtype, ql_tensor **out);

/* A new tensor from `rows` x `cols` (< 0: rank 1) contiguous host elements. Counted as host-to-device bytes. */
QL_API ql_status ql_upload(ql_ctx *cx, ql_dtype dtype, int64_t rows, int64_t cols, const void *host, ql_tensor **out);

/* Host access. The pointer sees contiguous elements in row-major order, of the tensor's own dtype, until `ql_unmap`.
 * Waits for the device, and its bytes are counted against the stage. WRITE hands the contents back at unmap. */
typedef enum ql_access { QL_READ = 1, QL_WRITE = 2, QL_READ_WRITE = 3 } ql_access;
QL_API ql_status ql_map(ql_ctx *cx, const ql_tensor *t, ql_access access, void *host_out); /* host_out: T ** */
QL_API ql_status ql_unmap(ql_ctx *cx, const ql_tensor *t);

/* One element (linear index in row-major order) as a double; waits for the device. */
QL_API ql_status ql_item(ql_ctx *cx, const ql_tensor *t, int64_t index, double *out);

/* Writes tensors to a safetensors file: aside, flushed, renamed. IO names the file and the system's reason. */
QL_API ql_status ql_save(ql_ctx *cx, const char *file, int count, const char *const *names,
                         const ql_tensor *const *tensors);

#ifdef __cplusplus
}
#endif

#endif
