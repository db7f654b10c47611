/* Group quantization of whole weights: scales, codes and back. */
#include "grid.cuh"
#include "loose.cuh"

#define WARPS 8 /* of a block */

/* A warp a group, rows of groups one after the other. */
template <typename R>
static __global__ void
minmax_kernel(ql_grid g, const R *w, int64_t ld, int64_t rows, int64_t cols, R *scales, R *zeros, int64_t groups,
              int64_t scales_ld, int64_t zeros_ld, fits *all)
{
    for (int64_t at = static_cast<int64_t>(blockIdx.x) * WARPS + threadIdx.x / WARP; at < rows * groups;
         at += static_cast<int64_t>(gridDim.x) * WARPS) {
        const int64_t i = at / groups, k = at % groups, j = k * g.group, n = cols - j < g.group ? cols - j : g.group;
        R scale, zero;
        const int fit = warp_fit(g, w + i * ld + j, n, &scale, &zero);

        if (threadIdx.x % WARP != 0)
            continue;
        scales[i * scales_ld + k] = scale;
        zeros[i * zeros_ld + k] = zero;
        note_fit(all, at, fit);
    }
}

/* The error of a weight that is not finite, by its place. */
static ql_status
nonfinite_fail(ql_ctx *cx, void *dev, const mat *w, int64_t row)
{
    const mat values = {static_cast<char *>(w->p) + static_cast<size_t>(row * w->ld) * ql_dtype_size(w->dtype), 1,
                        w->cols, w->ld, w->dtype};
    int64_t column;

    QL_TRY(cx, cuda_first_nonfinite(cx, dev, &values, &column));
    return QL_FAIL(cx, QL_NUMERIC, "the weight in row %lld, column %lld is not finite", static_cast<long long>(row),
                   static_cast<long long>(column));
}

static ql_status
cuda_group_minmax(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *w = op->t[0], *scales = op->t[1], *zeros = op->t[2];
    const ql_grid *grid = op->grid;
    const mat mw = cuda_mat(w), ms = cuda_mat(scales), mz = cuda_mat(zeros);
    fits found = {NO_GROUP, 0}, *all;

    QL_TRY(cx, ql_scratch(cx, sizeof found, &all));
    QL_TRY(cx, cuda_upload(cx, dev, &found, all, sizeof found));
    with_real(mw.dtype, [&](auto type) {
        using R = type_in<decltype(type)>;

        launch(cuda_stream(dev), blocks_for(div_up(mw.rows * ms.cols, WARPS), 1u << 20), WARPS * WARP, 0,
               minmax_kernel<R>, *grid, static_cast<const R *>(mw.p), mw.ld, mw.rows, mw.cols, static_cast<R *>(ms.p),
               static_cast<R *>(mz.p), ms.cols, ms.ld, mz.ld, all);
    });
    QL_TRY(cx, cuda_launched(cx, dev, "group_minmax"));
    QL_TRY(cx, cuda_download(cx, dev, all, &found, sizeof found));
    if (found.nonfinite != NO_GROUP)
        return nonfinite_fail(cx, dev, &mw, static_cast<int64_t>(found.nonfinite) / ms.cols);
    ql_remark(cx, found.remarks);
    return QL_OK;
}

/* A quantized linear on the device; levels: NULL for a uniform grid. */
template <typename R> struct grouped {
    ql_grid grid;
    const int32_t *g_idx;
    const R *scales, *zeros, *levels;
    int64_t scales_ld, zeros_ld;

    __device__ int64_t
    group_at(int64_t j) const
    {
        return g_idx ? g_idx[j] : j / grid.group;
    }

    __device__ R
    decoded(int64_t i, int64_t j, uint32_t code) const
    {
        const int64_t k = group_at(j);

        return scales[i * scales_ld + k] * (levels ? levels[code] : static_cast<R>(code) - zeros[i * zeros_ld + k]);
    }
};

/* The nearest level, the lower index on ties. */
template <typename R>
__device__ static uint8_t
nearest_level(R v, const R *levels, int count)
{
    R best = INFINITY;
    int code = 0;

    for (int c = 0; c < count; c++) {
        const R d = v > levels[c] ? v - levels[c] : levels[c] - v;

        if (d < best) {
            best = d;
            code = c;
        }
    }
    return static_cast<uint8_t>(code);
}

template <typename R> struct encode_op {
    grouped<R> q;
    const R *w;
    uint8_t *codes;
    int64_t w_ld, codes_ld;

    __device__ void
    operator()(int64_t i, int64_t j) const
    {
        const int64_t k = q.group_at(j);
        const R x = w[i * w_ld + j], scale = q.scales[i * q.scales_ld + k];

        codes[i * codes_ld + j] =
            q.levels ? nearest_level(x / scale, q.levels, 1 << q.grid.bits)
                     : static_cast<uint8_t>(code_of(x, scale, q.zeros[i * q.zeros_ld + k], top_code<R>(q.grid)));
    }
};

template <typename R> struct decode_op {
    grouped<R> q;
    const uint8_t *codes;
    R *w;
    int64_t codes_ld, w_ld;

    __device__ void
    operator()(int64_t i, int64_t j) const
    {
        w[i * w_ld + j] = q.decoded(i, j, codes[i * codes_ld + j]);
    }
};

/* Group indices are values on the device: the host has not seen them. */
ql_status
cuda_check_groups(ql_ctx *cx, void *dev, const ql_tensor *group_of, int64_t groups)
{
    const int64_t range[2] = {0, groups};
    outside bad;

    if (!group_of)
        return QL_OK;
    QL_TRY(cx, cuda_outside(cx, dev, group_of, range, &bad));
    if (bad.at < 0)
        return QL_OK;
    return QL_FAIL(cx, QL_INVALID, "group %d of column %lld is outside 0 .. %lld", static_cast<int>(bad.index),
                   static_cast<long long>(bad.at), static_cast<long long>(groups) - 1);
}

/* Of group_encode and group_decode, whose operands 1 to 4 are the same. */
template <typename R>
static grouped<R>
grouped_of(const ql_op *op)
{
    const ql_tensor *levels = op->t[3], *g_idx = op->t[4];
    const mat scales = cuda_mat(op->t[1]), zeros = op->t[2] ? cuda_mat(op->t[2]) : mat{};

    return {*op->grid,
            g_idx ? static_cast<const int32_t *>(ql_ptr(g_idx)) : nullptr,
            static_cast<const R *>(scales.p),
            static_cast<const R *>(zeros.p),
            levels ? static_cast<const R *>(ql_ptr(levels)) : nullptr,
            scales.ld,
            zeros.ld};
}

static ql_status
cuda_group_encode(ql_ctx *cx, void *dev, const ql_op *op)
{
    const mat mw = cuda_mat(op->t[0]), mc = cuda_mat(op->t[5]);

    QL_TRY(cx, cuda_check_groups(cx, dev, op->t[4], ql_dim(op->t[1], 1)));
    with_real(mw.dtype, [&](auto type) {
        using R = type_in<decltype(type)>;

        each(cuda_stream(dev), mw.rows, mw.cols,
             encode_op<R>{grouped_of<R>(op), static_cast<const R *>(mw.p), static_cast<uint8_t *>(mc.p), mw.ld, mc.ld});
    });
    return cuda_launched(cx, dev, "group_encode");
}

static ql_status
cuda_group_decode(ql_ctx *cx, void *dev, const ql_op *op)
{
    const mat mw = cuda_mat(op->t[5]), mc = cuda_mat(op->t[0]);

    QL_TRY(cx, cuda_check_groups(cx, dev, op->t[4], ql_dim(op->t[1], 1)));
    with_real(mw.dtype, [&](auto type) {
        using R = type_in<decltype(type)>;

        each(cuda_stream(dev), mw.rows, mw.cols,
             decode_op<R>{grouped_of<R>(op), static_cast<const uint8_t *>(mc.p), static_cast<R *>(mw.p), mc.ld, mw.ld});
    });
    return cuda_launched(cx, dev, "group_decode");
}

/* Word j of row i: all codes with a bit in it, the first of which may have begun in the word before. */
struct pack_op {
    const uint8_t *codes;
    uint32_t *words;
    int64_t cols, codes_ld, words_ld;
    int bits;

    __device__ void
    operator()(int64_t i, int64_t j) const
    {
        uint32_t word = 0;

        for (int64_t c = 32 * j / bits; c < cols && c * bits < 32 * (j + 1); c++) {
            const int64_t at = c * bits - 32 * j;
            const uint32_t code = codes[i * codes_ld + c];

            word |= at < 0 ? code >> -at : code << at;
        }
        words[i * words_ld + j] = word;
    }
};

static ql_status
cuda_pack(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *codes = op->t[0], *out = op->t[1];
    const int bits = static_cast<int>(op->n[1]);
    const mat from = cuda_mat(codes), to = cuda_mat(out);

    each(cuda_stream(dev), to.rows, to.cols,
         pack_op{static_cast<const uint8_t *>(from.p), static_cast<uint32_t *>(to.p), from.cols, from.ld, to.ld, bits});
    return cuda_launched(cx, dev, "pack");
}

/* A code may end in the word after the one it begins in. */
template <typename R> struct decode_packed_op {
    grouped<R> q;
    const uint32_t *words;
    loose w;
    int64_t words_ld;

    __device__ void
    operator()(int64_t i, int64_t j) const
    {
        const int64_t bit = j * q.grid.bits, at = bit / 32;
        const int shift = static_cast<int>(bit % 32);
        const uint32_t *row = words + i * words_ld + at;
        uint32_t code = row[0] >> shift;

        if (shift + q.grid.bits > 32)
            code |= row[1] << (32 - shift);
        w.put(i, j, q.decoded(i, j, code & ((1u << q.grid.bits) - 1)));
    }
};

static ql_status
cuda_decode(ql_ctx *cx, void *dev, const ql_op *op)
{
    const mat words = cuda_mat(op->t[0]);

    QL_TRY(cx, cuda_check_groups(cx, dev, op->t[4], ql_dim(op->t[1], 1)));
    with_real(ql_dtype_of(op->t[1]), [&](auto type) {
        using R = type_in<decltype(type)>;

        each(cuda_stream(dev), words.rows, ql_dim(op->t[5], 1),
             decode_packed_op<R>{grouped_of<R>(op), static_cast<const uint32_t *>(words.p), loosely(op->t[5]),
                                 words.ld});
    });
    return cuda_launched(cx, dev, "decode");
}

const ql_op_row cuda_group_ops[] = {
    QL_OP_ROW(DECODE, cuda_decode),
    QL_OP_ROW(GROUP_MINMAX, cuda_group_minmax),
    QL_OP_ROW(GROUP_ENCODE, cuda_group_encode),
    QL_OP_ROW(GROUP_DECODE, cuda_group_decode),
    QL_OP_ROW(PACK, cuda_pack),
    QL_OP_ROWS_END,
};
