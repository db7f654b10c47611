/* Products by cuBLAS. It is column-major and so sees every matrix transposed: the operands change places. */
#include "device.h"

#define SLICE 2048 /* tokens of one product of a Gram matrix: tensor cores truncate their sums, which 8192 would show */
#define PARTIAL 32768 /* summed in plain floats before they join the compensated pair */
#define PANEL 1024    /* rows of a Gram matrix made at once, up to its diagonal only */

static cudaDataType
data_type(ql_dtype d)
{
    switch (d) {
    case QL_F64:
        return CUDA_R_64F;
    case QL_F16:
        return CUDA_R_16F;
    case QL_BF16:
        return CUDA_R_16BF;
    default:
        return CUDA_R_32F;
    }
}

ql_status
cuda_product(ql_ctx *cx, void *dev, ql_trans op, double alpha, const mat *a, const mat *b, double beta, const mat *c)
{
    const cuda *d = dev;
    const float alpha_f = (float)alpha, beta_f = (float)beta;
    const bool wide = a->dtype == QL_F64;
    const cublasStatus_t s = d->lib.cublasGemmEx_64(
        d->blas, op == QL_NT ? CUBLAS_OP_T : CUBLAS_OP_N, op == QL_TN ? CUBLAS_OP_T : CUBLAS_OP_N, c->cols, c->rows,
        op == QL_TN ? a->rows : a->cols, wide ? (const void *)&alpha : &alpha_f, b->p, data_type(b->dtype), b->ld, a->p,
        data_type(a->dtype), a->ld, wide ? (const void *)&beta : &beta_f, c->p, data_type(c->dtype), c->ld,
        wide ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);

    return cuda_blas_check(cx, d, s, "cublasGemmEx");
}

ql_status
cuda_products(ql_ctx *cx, void *dev, double alpha, const mat *a, const mat *b, const mat *c, batch all)
{
    const cuda *d = dev;
    const float alpha_f = (float)alpha, beta_f = 0;
    const double beta = 0;
    const bool wide = a->dtype == QL_F64;
    const cublasStatus_t s = d->lib.cublasGemmStridedBatchedEx_64(
        d->blas, CUBLAS_OP_N, CUBLAS_OP_N, c->cols, c->rows, a->cols, wide ? (const void *)&alpha : &alpha_f, b->p,
        data_type(b->dtype), b->ld, all.b, a->p, data_type(a->dtype), a->ld, all.a,
        wide ? (const void *)&beta : &beta_f, c->p, data_type(c->dtype), c->ld, all.c, all.count,
        wide ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);

    return cuda_blas_check(cx, d, s, "cublasGemmStridedBatchedEx");
}

static ql_status
cuda_gemm(ql_ctx *cx, void *dev, const ql_op *op)
{
    const mat a = cuda_mat(op->t[0]), b = cuda_mat(op->t[1]), c = cuda_mat(op->t[2]);
    const ql_trans trans = op->code == QL_OP_GEMM_NN ? QL_NN : op->code == QL_OP_GEMM_NT ? QL_NT : QL_TN;

    return cuda_product(cx, dev, trans, op->alpha, &a, &b, op->beta, &c);
}

static int64_t
least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static size_t
gram_scratch(void *dev, const ql_op *op)
{
    const int64_t n = ql_dim(op->t[1], 0);

    (void)dev;
    return (size_t)(least(PANEL, n) * n) * ql_dtype_size(ql_dtype_of(op->t[1]));
}

/* Rows [i, i + PANEL) of x^T x up to the diagonal join theirs of the pair, by way of `partial`. */
static ql_status
add_panel(ql_ctx *cx, void *dev, const mat *x, int64_t i, void *partial, const mat pair[2])
{
    const int64_t rows = least(PANEL, x->cols - i), cols = i + rows;
    const mat out = {partial, rows, cols, cols, pair[0].dtype};

    for (int64_t t = 0; t < x->rows; t += SLICE) {
        const int64_t tokens = least(SLICE, x->rows - t);
        const mat left = cuda_part(x, t, i, tokens, rows), right = cuda_part(x, t, 0, tokens, cols);

        QL_TRY(cx, cuda_product(cx, dev, QL_TN, 1, &left, &right, t ? 1 : 0, &out));
    }
    launch_join_gram(cuda_stream(dev), &out, i, &pair[0], &pair[1]);
    return cuda_launched(cx, dev, "join_gram");
}

static ql_status
cuda_gram(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *x = op->t[0], *sum = op->t[1], *comp = op->t[2];
    const mat mx = cuda_mat(x), pair[2] = {cuda_mat(sum), cuda_mat(comp)};
    const int64_t n = pair[0].rows;
    void *partial;

    QL_TRY(cx, ql_scratch(cx, gram_scratch(dev, op), &partial));
    for (int64_t t = 0; t < mx.rows; t += PARTIAL) {
        const mat tokens = cuda_part(&mx, t, 0, least(PARTIAL, mx.rows - t), n);

        for (int64_t i = 0; i < n; i += PANEL)
            QL_TRY(cx, add_panel(cx, dev, &tokens, i, partial, pair));
    }
    return QL_OK;
}

const ql_op_row cuda_blas_ops[] = {
    QL_OP_ROW(GEMM_NN, cuda_gemm),
    QL_OP_ROW(GEMM_NT, cuda_gemm),
    QL_OP_ROW(GEMM_TN, cuda_gemm),
    {QL_OP_GRAM, cuda_gram, gram_scratch, NULL},
    QL_OP_ROWS_END,
};
