/* The cuda backend's own kernels, and what they ask of the rest of it. Each file
 * ends with its rows of operations. C and C++: kernels are CUDA C++, the rest is C. */
#ifndef QLOOM_CUDA_KERNELS_H
#define QLOOM_CUDA_KERNELS_H

#include <cuda_runtime_api.h>

#include <qloom/backend.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A tensor as rows of `cols` elements, `ld` apart; leading dimensions are joined, a vector is one row. */
typedef struct mat {
    void *p;
    int64_t rows, cols, ld;
    ql_dtype dtype;
} mat;

static inline mat
cuda_mat(const ql_tensor *t)
{
    int n = ql_ndim(t);
    mat m = {ql_ptr(t), 1, n > 0 ? ql_dim(t, -1) : 1, 0, ql_dtype_of(t)};

    for (int i = 0; i < n - 1; i++)
        m.rows *= ql_dim(t, i);
    m.ld = n > 1 ? ql_stride(t, n - 2) : m.cols;
    return m;
}

/* Rows [r, r + rows) x columns [c, c + cols) of m. */
static inline mat
cuda_part(const mat *m, int64_t r, int64_t c, int64_t rows, int64_t cols)
{
    mat p = {(char *)m->p + (size_t)(r * m->ld + c) * ql_dtype_size(m->dtype), rows, cols, m->ld, m->dtype};

    return p;
}

/* --- asked of the device (device.c, blas.c) --------------------------------------------------------------------------- */

cudaStream_t cuda_stream(void *dev);
/* Queued on the stream; download waits. */
ql_status cuda_upload(ql_ctx *cx, void *dev, const void *host, void *ptr, size_t bytes);
ql_status cuda_download(ql_ctx *cx, void *dev, const void *ptr, void *host, size_t bytes);
/* DEVICE, with CUDA's reason, when a kernel could not be launched since the last call. */
ql_status cuda_launched(ql_ctx *cx, void *dev, const char *kernel);
/* C = alpha op(A) op(B) + beta C, as the operation gemm. */
ql_status cuda_product(ql_ctx *cx, void *dev, ql_trans op, double alpha, const mat *a, const mat *b, double beta,
                       const mat *c);

/* A batch of products of the same shape: elements from one operand to the next. */
typedef struct batch {
    int64_t count, a, b, c;
} batch;

/* C = alpha A B for every product of a batch, of which a, b and c are the first one's. */
ql_status cuda_products(ql_ctx *cx, void *dev, double alpha, const mat *a, const mat *b, const mat *c, batch all);

/* --- kernels for cuBLAS' and cuSOLVER's wrappers ---------------------------------------------------------------------- */

void launch_copy(cudaStream_t stream, const mat *src, const mat *dst); /* converts */
void launch_transpose(cudaStream_t stream, const mat *src, const mat *dst);
void launch_tril(cudaStream_t stream, const mat *a); /* the strict upper triangle becomes 0 */
/* `partial`, rows [first, first + partial->rows) up to the diagonal, joins the compensated pair of both triangles (Knuth's two-sum). */
void launch_join_gram(cudaStream_t stream, const mat *partial, int64_t first, const mat *sum, const mat *comp);

/* The first index outside least .. end - 1 and where it stands; at = -1: none. Waits. */
typedef struct outside {
    int64_t at;
    int32_t index;
} outside;
ql_status cuda_outside(ql_ctx *cx, void *dev, const ql_tensor *index, const int64_t least_end[2], outside *out);

/* Linear index of the first element that is NaN or infinite, -1: none. Waits. */
ql_status cuda_first_nonfinite(ql_ctx *cx, void *dev, const mat *m, int64_t *first);

/* --- what each file has of the operations ----------------------------------------------------------------------------- */

extern const ql_op_row cuda_attention_ops[];
extern const ql_op_row cuda_attention_back_ops[];
extern const ql_op_row cuda_blas_ops[];
extern const ql_op_row cuda_copy_ops[];
extern const ql_op_row cuda_elementwise_ops[];
extern const ql_op_row cuda_factor_ops[];
extern const ql_op_row cuda_gather_ops[];
extern const ql_op_row cuda_group_ops[];
extern const ql_op_row cuda_logits_ops[];
extern const ql_op_row cuda_norm_rope_ops[];
extern const ql_op_row cuda_random_ops[];
extern const ql_op_row cuda_reduce_ops[];
extern const ql_op_row cuda_resting_ops[];
extern const ql_op_row cuda_sweep_ops[];
extern const ql_op_row cuda_train_ops[];
extern const ql_op_row cuda_trtri_ops[];

#ifdef __cplusplus
}
#endif

#endif
