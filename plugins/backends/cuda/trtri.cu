/* Inverse of a lower triangular matrix: of its diagonal blocks by substitution, all at once; then of blocks twice as large, from
 * [A 0; B C]^-1 = [A^-1 0; -C^-1 B A^-1 C^-1] (Higham, Accuracy and Stability of Numerical Algorithms, 14.2), all pairs of a size in one
 * batch of products. */
#include "launch.cuh"

#define LEAF 64
#define REGULAR INT32_MAX /* no element of the diagonal is 0 */

/* A block a leaf, a thread a column of its inverse. */
template <typename R>
static __global__ void
leaf_kernel(R *a, int64_t n, int64_t ld, int *singular)
{
    R(*l)[LEAF + 1] = shared_as<R[LEAF + 1]>(), (*x)[LEAF + 1] = l + LEAF;
    const int64_t first = static_cast<int64_t>(blockIdx.x) * LEAF;
    const int count = static_cast<int>(n - first < LEAF ? n - first : LEAF), j = static_cast<int>(threadIdx.x);
    R *leaf = a + first * (ld + 1);

    for (int i = 0; i < count; i++)
        if (j < count)
            l[i][j] = leaf[i * ld + j];
    __syncthreads();
    if (j >= count)
        return;
    if (l[j][j] == 0)
        atomicMin(singular, static_cast<int>(first) + j);
    for (int i = 0; i < count; i++) {
        R sum = i == j;

        for (int k = 0; k < i; k++)
            sum -= l[i][k] * x[k][j];
        x[i][j] = i < j ? 0 : sum / l[i][i];
        leaf[i * ld + j] = x[i][j];
    }
}

static ql_status
invert_leaves(ql_ctx *cx, void *dev, const mat *a, int *singular)
{
    int found = REGULAR;

    QL_TRY(cx, cuda_upload(cx, dev, &found, singular, sizeof found));
    with_real(a->dtype, [&](auto type) {
        using R = type_in<decltype(type)>;

        launch(cuda_stream(dev), static_cast<unsigned>(div_up(a->rows, LEAF)), LEAF, 2 * LEAF * (LEAF + 1) * sizeof(R),
               leaf_kernel<R>, static_cast<R *>(a->p), a->rows, a->ld, singular);
    });
    QL_TRY(cx, cuda_launched(cx, dev, "trtri"));
    QL_TRY(cx, cuda_download(cx, dev, singular, &found, sizeof found));
    if (found != REGULAR)
        return QL_FAIL(cx, QL_NUMERIC, "a triangular matrix is singular: element %d of its diagonal is 0", found);
    return QL_OK;
}

/* `count` pairs from row `first` on, 2 h apart: A of order h, C of order c. */
struct pairs {
    int64_t h, c, first, count;
};

/* Both blocks of each pair are inverted already. */
static ql_status
join_pairs(ql_ctx *cx, void *dev, const mat *a, pairs all, void *scratch)
{
    const int64_t h = all.h, c = all.c, first = all.first, count = all.count;
    const mat inverse_a = cuda_part(a, first, first, h, h), b = cuda_part(a, first + h, first, c, h),
              inverse_c = cuda_part(a, first + h, first + h, c, c), t = {scratch, c, h, h, a->dtype};
    const int64_t apart = 2 * h * (a->ld + 1);

    QL_TRY(cx, cuda_products(cx, dev, 1, &inverse_c, &b, &t, {count, apart, apart, c * h}));
    return cuda_products(cx, dev, -1, &t, &inverse_a, &b, {count, c * h, apart, apart});
}

/* Blocks of LEAF are inverted; each round doubles them. A last block is shorter, or alone and waits for the next round. */
static ql_status
join_blocks(ql_ctx *cx, void *dev, const mat *a, void *scratch)
{
    for (int64_t h = LEAF; h < a->rows; h *= 2) {
        const int64_t whole = a->rows / (2 * h), last = whole * 2 * h, left = a->rows - last - h;

        if (whole > 0)
            QL_TRY(cx, join_pairs(cx, dev, a, {h, h, 0, whole}, scratch));
        if (left > 0)
            QL_TRY(cx, join_pairs(cx, dev, a, {h, left, last, 1}, scratch));
    }
    return QL_OK;
}

/* Pairs of any size have no more products than one pair of halves, n^2 / 4. */
static size_t
products_bytes(int64_t n, ql_dtype dtype)
{
    return static_cast<size_t>(n) * static_cast<size_t>(n) / 4 * ql_dtype_size(dtype);
}

static size_t
trtri_scratch(void *, const ql_op *op)
{
    return products_bytes(ql_dim(op->t[0], 0), ql_dtype_of(op->t[0])) + sizeof(int);
}

static ql_status
cuda_trtri(ql_ctx *cx, void *dev, const ql_op *op)
{
    const mat a = cuda_mat(op->t[0]);
    const size_t products = products_bytes(a.rows, a.dtype);
    char *scratch;

    if (a.rows == 0)
        return QL_OK;
    QL_TRY(cx, ql_scratch(cx, trtri_scratch(dev, op), &scratch));
    QL_TRY(cx, invert_leaves(cx, dev, &a, reinterpret_cast<int *>(scratch + products)));
    return join_blocks(cx, dev, &a, scratch);
}

const ql_op_row cuda_trtri_ops[] = {
    {QL_OP_TRTRI, cuda_trtri, trtri_scratch, nullptr},
    QL_OP_ROWS_END,
};
