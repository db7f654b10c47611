/* Products with weights that rest turned, [in, out], as codes or in another dtype: they become numbers of the dtype of x, and cuBLAS
 * multiplies. */
#include "grid.cuh"
#include "loose.cuh"

struct wake_op {
    const uint8_t *codes;
    const float *scales, *zeros, *levels; /* levels: NULL for a uniform grid */
    const int32_t *g_idx;
    int64_t group, codes_ld, scales_ld, zeros_ld;
    loose w;

    __device__ void
    operator()(int64_t i, int64_t j) const
    {
        const int64_t k = g_idx ? g_idx[i] : i / group;
        const uint8_t code = codes[i * codes_ld + j];

        w.put(i, j,
              scales[k * scales_ld + j] * (levels ? levels[code] : static_cast<float>(code) - zeros[k * zeros_ld + j]));
    }
};

static const float *
floats(const ql_tensor *t)
{
    return t ? static_cast<const float *>(ql_ptr(t)) : nullptr;
}

/* The weight in the dtype of x, [in, out] without gaps. */
static ql_status
wake(ql_ctx *cx, void *dev, const ql_op *op, const mat *w, const mat *to)
{
    const ql_tensor *scales = op->t[2], *zeros = op->t[3], *g_idx = op->t[5];

    if (w->dtype != QL_U8) {
        launch_copy(cuda_stream(dev), w, to);
        return cuda_launched(cx, dev, "copy");
    }
    QL_TRY(cx, cuda_check_groups(cx, dev, g_idx, ql_dim(scales, 0)));
    each(cuda_stream(dev), to->rows, to->cols,
         wake_op{static_cast<const uint8_t *>(w->p), floats(scales), floats(zeros), floats(op->t[4]),
                 g_idx ? static_cast<const int32_t *>(ql_ptr(g_idx)) : nullptr, op->grid->group, w->ld,
                 ql_stride(scales, 0), zeros ? ql_stride(zeros, 0) : 0, loose{to->p, to->ld, to->dtype}});
    return cuda_launched(cx, dev, "wake");
}

static size_t
scratch(void *dev, const ql_op *op)
{
    const ql_dtype x = ql_dtype_of(op->t[0]);

    (void)dev;
    return ql_dtype_of(op->t[1]) == x ? 0 : static_cast<size_t>(ql_count(op->t[1])) * ql_dtype_size(x);
}

static ql_status
cuda_resting(ql_ctx *cx, void *dev, const ql_op *op)
{
    const mat x = cuda_mat(op->t[0]), rests = cuda_mat(op->t[1]), y = cuda_mat(op->t[6]);
    mat w = {nullptr, rests.rows, rests.cols, rests.cols, x.dtype};

    if (rests.dtype == x.dtype)
        return cuda_product(cx, dev, QL_NN, 1, &x, &rests, op->beta, &y);
    QL_TRY(cx, ql_scratch(cx, scratch(dev, op), &w.p));
    QL_TRY(cx, wake(cx, dev, op, &rests, &w));
    return cuda_product(cx, dev, QL_NN, 1, &x, &w, op->beta, &y);
}

const ql_op_row cuda_resting_ops[] = {
    {QL_OP_RESTING, cuda_resting, scratch, nullptr},
    QL_OP_ROWS_END,
};
