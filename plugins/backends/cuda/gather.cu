/* Elements in another order: gathers and transposes, of any dtype by its size. */
#include "launch.cuh"

template <typename T> struct gather_op {
    const T *src;
    int64_t src_ld;
    const int32_t *rows, *cols; /* NULL: identity */
    T *dst;
    int64_t dst_ld;

    __device__ void
    operator()(int64_t i, int64_t j) const
    {
        dst[i * dst_ld + j] = src[(rows ? rows[i] : i) * src_ld + (cols ? cols[j] : j)];
    }
};

/* The first index outside least .. end - 1. */
struct outside_op {
    const int32_t *index;
    int64_t least, end;
    unsigned long long *first;

    __device__ void
    operator()(int64_t i, int64_t j) const
    {
        (void)i;
        if (index[j] < least || index[j] >= end)
            atomicMin(first, static_cast<unsigned long long>(j));
    }
};

ql_status
cuda_outside(ql_ctx *cx, void *dev, const ql_tensor *index, const int64_t least_end[2], outside *out)
{
    const int32_t *p = static_cast<const int32_t *>(ql_ptr(index));
    unsigned long long none = ~0ull, *first;

    QL_TRY(cx, ql_scratch(cx, sizeof none, &first));
    QL_TRY(cx, cuda_upload(cx, dev, &none, first, sizeof none));
    each(cuda_stream(dev), 1, ql_count(index), outside_op{p, least_end[0], least_end[1], first});
    QL_TRY(cx, cuda_launched(cx, dev, "outside"));
    QL_TRY(cx, cuda_download(cx, dev, first, &none, sizeof none));
    out->at = static_cast<int64_t>(none);
    if (out->at >= 0)
        QL_TRY(cx, cuda_download(cx, dev, p + out->at, &out->index, sizeof out->index));
    return QL_OK;
}

/* Indices are values on the device, so no one before this has looked at them. */
static ql_status
check_indices(ql_ctx *cx, void *dev, const ql_tensor *index, int64_t limit, const char *what)
{
    const int64_t range[2] = {0, limit};
    outside bad;

    if (!index)
        return QL_OK;
    QL_TRY(cx, cuda_outside(cx, dev, index, range, &bad));
    if (bad.at < 0)
        return QL_OK;
    return QL_FAIL(cx, QL_INVALID, "%s index %d at position %lld is outside 0 .. %lld", what,
                   static_cast<int>(bad.index), static_cast<long long>(bad.at), static_cast<long long>(limit) - 1);
}

static const int32_t *
indices(const ql_tensor *t)
{
    return t ? static_cast<const int32_t *>(ql_ptr(t)) : nullptr;
}

static ql_status
cuda_gather(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *src = op->t[0], *rows = op->t[1], *cols = op->t[2], *out = op->t[3];
    const mat from = cuda_mat(src), to = cuda_mat(out);

    QL_TRY(cx, check_indices(cx, dev, rows, from.rows, "row"));
    QL_TRY(cx, check_indices(cx, dev, cols, from.cols, "column"));
    with_bits(from.dtype, [&](auto type) {
        using T = type_in<decltype(type)>;

        each(cuda_stream(dev), to.rows, to.cols,
             gather_op<T>{static_cast<const T *>(from.p), from.ld, indices(rows), indices(cols), static_cast<T *>(to.p),
                          to.ld});
    });
    return cuda_launched(cx, dev, "gather");
}

#define SIDE 32 /* of a tile, and its rows that a block moves at once */
#define MOVED 8

/* A block a tile in shared memory, so that both sides are read and written along rows; a padded row keeps columns in different banks. */
template <typename T>
static __global__ void
transpose_kernel(const T *src, int64_t src_ld, T *dst, int64_t dst_ld, int64_t rows, int64_t cols)
{
    T(*tile)[SIDE + 1] = shared_as<T[SIDE + 1]>();
    const int64_t across = (cols + SIDE - 1) / SIDE, i0 = blockIdx.x / across * SIDE, j0 = blockIdx.x % across * SIDE;
    const unsigned x = threadIdx.x;

    for (unsigned y = threadIdx.y; y < SIDE; y += MOVED)
        if (i0 + y < rows && j0 + x < cols)
            tile[y][x] = src[(i0 + y) * src_ld + j0 + x];
    __syncthreads();
    for (unsigned y = threadIdx.y; y < SIDE; y += MOVED)
        if (j0 + y < cols && i0 + x < rows)
            dst[(j0 + y) * dst_ld + i0 + x] = tile[x][y];
}

void
launch_transpose(cudaStream_t stream, const mat *src, const mat *dst)
{
    const int64_t tiles = div_up(src->rows, SIDE) * div_up(src->cols, SIDE);

    with_bits(src->dtype, [&](auto type) {
        using T = type_in<decltype(type)>;

        launch(stream, static_cast<unsigned>(tiles), dim3(SIDE, MOVED), sizeof(T) * SIDE * (SIDE + 1),
               transpose_kernel<T>, static_cast<const T *>(src->p), src->ld, static_cast<T *>(dst->p), dst->ld,
               src->rows, src->cols);
    });
}

static ql_status
cuda_transpose(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *src = op->t[0], *out = op->t[1];
    const mat from = cuda_mat(src), to = cuda_mat(out);

    launch_transpose(cuda_stream(dev), &from, &to);
    return cuda_launched(cx, dev, "transpose");
}

const ql_op_row cuda_gather_ops[] = {
    QL_OP_ROW(GATHER, cuda_gather),
    QL_OP_ROW(TRANSPOSE, cuda_transpose),
    QL_OP_ROWS_END,
};
