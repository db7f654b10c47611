/* RMSNorm, a block a row; and rotary embedding, an angle a thread for all heads. */
#include "launch.cuh"

#define THREADS 256
#define NARROW 512 /* columns of a row that one warp takes */
#define TOKENS 8   /* of a block that rotates */

template <typename T> struct norm_args {
    const T *x, *other; /* other: NULL, or what is added to x first */
    T *sum;             /* where the sum goes */
    const T *w;
    T *y;
    int64_t x_ld, other_ld, sum_ld, y_ld, rows, cols;
    double eps;
};

/* blockDim.x threads a row: a warp for narrow ones, as of heads, else the block. A thread reads of the sum what it has written itself. */
template <typename T>
static __global__ void
rmsnorm_kernel(norm_args<T> n)
{
    using W = wide<T>;
    const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
    const T *row = n.x + i * n.x_ld;
    T *out = n.y + i * n.y_ld;
    W squares = 0, scale;

    if (i >= n.rows)
        return;
    if (n.other) {
        T *sum = n.sum + i * n.sum_ld;

        for (int64_t j = threadIdx.x; j < n.cols; j += blockDim.x)
            sum[j] = narrow<T>(widen(row[j]) + widen(n.other[i * n.other_ld + j]));
        row = sum;
    }
    for (int64_t j = threadIdx.x; j < n.cols; j += blockDim.x)
        squares += widen(row[j]) * widen(row[j]);
    squares = blockDim.x == WARP ? warp_sum(squares) : block_sum(squares, shared_as<W>());
    scale = static_cast<W>(1 / sqrt(static_cast<double>(squares) / static_cast<double>(n.cols) + n.eps));
    for (int64_t j = threadIdx.x; j < n.cols; j += blockDim.x)
        out[j] = narrow<T>(widen(narrow<T>(widen(row[j]) * scale)) * widen(n.w[j]));
}

/* y = rmsnorm(x), or of x + other, which goes to sum. */
static ql_status
run(ql_ctx *cx, void *dev, const ql_op *op, const mat *other, const mat *sum, const ql_tensor *const wy[2])
{
    const mat x = cuda_mat(op->t[0]), y = cuda_mat(wy[1]);
    const dim3 block = x.cols > NARROW ? dim3(THREADS) : dim3(WARP, THREADS / WARP);

    with_float(x.dtype, [&](auto type) {
        using T = type_in<decltype(type)>;

        launch(cuda_stream(dev), static_cast<unsigned>(div_up(x.rows, block.y)), block,
               THREADS / WARP * sizeof(wide<T>), rmsnorm_kernel<T>,
               norm_args<T>{static_cast<const T *>(x.p), static_cast<const T *>(other->p), static_cast<T *>(sum->p),
                            static_cast<const T *>(ql_ptr(wy[0])), static_cast<T *>(y.p), x.ld, other->ld, sum->ld,
                            y.ld, x.rows, x.cols, op->alpha});
    });
    return cuda_launched(cx, dev, "rmsnorm");
}

static ql_status
cuda_rmsnorm(ql_ctx *cx, void *dev, const ql_op *op)
{
    const mat none = {};

    return run(cx, dev, op, &none, &none, op->t + 1);
}

static ql_status
cuda_add_rmsnorm(ql_ctx *cx, void *dev, const ql_op *op)
{
    const mat other = cuda_mat(op->t[1]), sum = cuda_mat(op->t[3]);
    const ql_tensor *const wy[2] = {op->t[2], op->t[4]};

    return run(cx, dev, op, &other, &sum, wy);
}

/* What a rotation needs on the device, in one piece of scratch. */
struct rotation {
    const int64_t *offsets, *first; /* first: NULL is 0 */
    const float *inv_freq;
    int64_t count, stride, half;
    float scale;
};

/* Sequence of token t. */
__device__ static int64_t
sequence_of(const rotation &r, int64_t t)
{
    int64_t lo = 0, hi = r.count - 1;

    while (lo < hi) {
        const int64_t mid = (lo + hi) / 2;

        if (r.offsets[mid + 1] <= t)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Published models take the angle, its sine and cosine in f32. */
template <typename T>
static __global__ void
rope_kernel(rotation r, T *x, int64_t ld, int64_t rows, int64_t cols)
{
    const int64_t t = static_cast<int64_t>(blockIdx.x) * TOKENS + threadIdx.y;

    if (t >= rows)
        return;
    const int64_t s = sequence_of(r, t);
    const float position = static_cast<float>(t - r.offsets[s] + (r.first ? r.first[s] : 0));

    for (int64_t k = threadIdx.x; k < r.half; k += WARP) {
        using W = wide<T>;
        const float angle = position * r.inv_freq[s * r.stride + k];
        const W c = cosf(angle) * r.scale, d = sinf(angle) * r.scale;

        for (T *head = x + t * ld; head < x + t * ld + cols; head += 2 * r.half) {
            const W a = widen(head[k]), b = widen(head[r.half + k]);

            head[k] = narrow<T>(a * c - b * d);
            head[r.half + k] = narrow<T>(b * c + a * d);
        }
    }
}

/* Copies what the host knows of the sequences and angles; 8 bytes align all of it. */
static ql_status
send(ql_ctx *cx, void *dev, const ql_seqs *seqs, const ql_rope_spec *spec, rotation *r)
{
    const size_t count = static_cast<size_t>(seqs->count), half = static_cast<size_t>(spec->head_dim / 2);
    const size_t offsets = (count + 1) * sizeof(int64_t), first = seqs->first ? count * sizeof(int64_t) : 0;
    const size_t freq = (spec->stride ? (count - 1) * static_cast<size_t>(spec->stride) + half : half) * sizeof(float);
    char *p;

    QL_TRY(cx, ql_scratch(cx, offsets + first + freq, &p));
    QL_TRY(cx, cuda_upload(cx, dev, seqs->offsets, p, offsets));
    if (first)
        QL_TRY(cx, cuda_upload(cx, dev, seqs->first, p + offsets, first));
    QL_TRY(cx, cuda_upload(cx, dev, spec->inv_freq, p + offsets + first, freq));
    *r = {reinterpret_cast<int64_t *>(p),
          first ? reinterpret_cast<int64_t *>(p + offsets) : nullptr,
          reinterpret_cast<float *>(p + offsets + first),
          seqs->count,
          spec->stride,
          spec->head_dim / 2,
          spec->scale};
    return QL_OK;
}

static ql_status
cuda_rope(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *x = op->t[0];
    const ql_seqs *seqs = op->seqs;
    const ql_rope_spec *spec = static_cast<const ql_rope_spec *>(op->spec);
    const mat m = cuda_mat(x);
    rotation r = {};

    QL_TRY(cx, send(cx, dev, seqs, spec, &r));
    with_float(m.dtype, [&](auto type) {
        using T = type_in<decltype(type)>;

        launch(cuda_stream(dev), static_cast<unsigned>(div_up(m.rows, TOKENS)), dim3(WARP, TOKENS), 0, rope_kernel<T>,
               r, static_cast<T *>(m.p), m.ld, m.rows, m.cols);
    });
    return cuda_launched(cx, dev, "rope");
}

const ql_op_row cuda_norm_rope_ops[] = {
    QL_OP_ROW(RMSNORM, cuda_rmsnorm),
    QL_OP_ROW(ADD_RMSNORM, cuda_add_rmsnorm),
    QL_OP_ROW(ROPE, cuda_rope),
    QL_OP_ROWS_END,
};
