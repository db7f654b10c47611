/* The cuda backend's own kernels, and what they ask of the rest of it. Everything that is not memory, cuBLAS or cuSOLVER is an
 * entry of the backend's table here, written beside its kernel. C and C++: kernels are CUDA C++, the rest is C. */
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
/* The table's entries: queued on the stream; download waits. */
ql_status cuda_upload(ql_ctx *cx, void *dev, const void *host, void *ptr, size_t bytes);
ql_status cuda_download(ql_ctx *cx, void *dev, const void *ptr, void *host, size_t bytes);
/* DEVICE, with CUDA's reason, when a kernel could not be launched since the last call. */
ql_status cuda_launched(ql_ctx *cx, void *dev, const char *kernel);
/* C = alpha op(A) op(B) + beta C, as gemm of the table. */
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

/* What operations ask of ql_scratch. */
size_t cuda_logits_scratch(int64_t tokens, int models);
size_t cuda_trtri_scratch(int64_t n, ql_dtype dtype);
size_t cuda_abs_scratch(int64_t cols, int64_t sequences);
size_t cuda_sweep_scratch(int64_t rows, int64_t cols, ql_dtype dtype);

/* --- entries of the table --------------------------------------------------------------------------------------------- */

#define CUDA_OP(name, ...) ql_status cuda_##name(ql_ctx *cx, void *dev, __VA_ARGS__)

CUDA_OP(copy, const ql_tensor *src, ql_tensor *dst);
CUDA_OP(fill, ql_tensor *t, double value);
CUDA_OP(gather, const ql_tensor *src, const ql_tensor *rows, const ql_tensor *cols, ql_tensor *out);
CUDA_OP(transpose, const ql_tensor *src, ql_tensor *out);
CUDA_OP(trtri, ql_tensor *a);
CUDA_OP(random, const uint32_t key[2], bool normal, ql_tensor *t);
CUDA_OP(diag, const ql_tensor *a, ql_tensor *d);
CUDA_OP(diag_set, const ql_tensor *d, ql_tensor *a);
CUDA_OP(axpby, double alpha, const ql_tensor *x, double beta, ql_tensor *y);
CUDA_OP(scale_cols, const ql_tensor *v, ql_tensor *t);
CUDA_OP(scale_rows, const ql_tensor *v, ql_tensor *t);
CUDA_OP(dot, const ql_tensor *a, const ql_tensor *b, double *out);
CUDA_OP(nonfinite, const ql_tensor *t, int64_t *first);
CUDA_OP(rmsnorm, const ql_tensor *x, const ql_tensor *w, double eps, ql_tensor *y);
CUDA_OP(rope, const ql_seqs *seqs, const ql_rope_spec *spec, ql_tensor *x);
CUDA_OP(attention, const ql_seqs *seqs, const ql_attention_spec *spec, const ql_tensor *const qkv[3], ql_tensor *y);
CUDA_OP(swiglu, const ql_tensor *gate, const ql_tensor *up, ql_tensor *y);
CUDA_OP(add, const ql_tensor *a, const ql_tensor *b, ql_tensor *y);
CUDA_OP(add_bias, const ql_tensor *bias, ql_tensor *y);
CUDA_OP(nll, const ql_tensor *x, const ql_tensor *head, const ql_tensor *targets, ql_tensor *out);
CUDA_OP(kl, const ql_tensor *ref, const ql_tensor *x, const ql_tensor *head, ql_tensor *const out[2]);
CUDA_OP(abs_stats, const ql_seqs *seqs, const ql_tensor *x, ql_tensor *abs_sum, ql_tensor *abs_max);
CUDA_OP(group_minmax, const ql_tensor *w, const ql_grid *grid, ql_tensor *scales, ql_tensor *zeros);
CUDA_OP(group_encode, const ql_tensor *w, ql_qlinear *out);
CUDA_OP(group_decode, const ql_qlinear *q, ql_tensor *w);
CUDA_OP(pack, const ql_tensor *codes, int bits, ql_tensor *out);
CUDA_OP(feedback_sweep, const ql_tensor *w, const ql_tensor *u, const ql_tensor *group_of, bool fit, ql_qlinear *out);

#undef CUDA_OP

#ifdef __cplusplus
}
#endif

#endif
