/* Sums and searches over whole tensors, in parts that follow from the shape; column statistics; compensated sums. */
#include "launch.cuh"

#define THREADS 256
#define CHUNK 4096   /* elements of a row that a block takes at once */
#define PART 16384   /* elements that a block is worth */
#define PARTS 1024   /* most blocks, each with a sum of its own */
#define SEQUENCES 64 /* whose column sums exist at once */

/* fn(i, j) for the elements of every gridDim.x-th chunk of rows, in a fixed order. */
template <typename F>
__device__ static void
each_of_part(int64_t rows, int64_t cols, F fn)
{
    const int64_t chunks = (cols + CHUNK - 1) / CHUNK;

    for (int64_t c = blockIdx.x; c < rows * chunks; c += gridDim.x) {
        const int64_t i = c / chunks, from = c % chunks * CHUNK, end = from + CHUNK < cols ? from + CHUNK : cols;

        for (int64_t j = from + threadIdx.x; j < end; j += THREADS)
            fn(i, j);
    }
}

static unsigned
parts_of(const mat *m)
{
    return blocks_for(div_up(m->rows * m->cols, PART), PARTS);
}

template <typename T>
static __global__ void
dot_kernel(const T *a, int64_t a_ld, const T *b, int64_t b_ld, int64_t rows, int64_t cols, double *parts)
{
    double sum = 0;

    each_of_part(rows, cols, [&](int64_t i, int64_t j) {
        sum += static_cast<double>(a[i * a_ld + j]) * static_cast<double>(b[i * b_ld + j]);
    });
    sum = block_sum(sum, shared_as<double>());
    if (threadIdx.x == 0)
        parts[blockIdx.x] = sum;
}

static ql_status
cuda_dot(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *a = op->t[0], *b = op->t[1];
    double *out = static_cast<double *>(op->result);
    const mat ma = cuda_mat(a), mb = cuda_mat(b);
    const unsigned count = parts_of(&ma);
    double *parts, host[PARTS];

    QL_TRY(cx, ql_scratch(cx, count * sizeof *parts, &parts));
    with_real(ma.dtype, [&](auto type) {
        using T = type_in<decltype(type)>;

        launch(cuda_stream(dev), count, THREADS, THREADS / WARP * sizeof(double), dot_kernel<T>,
               static_cast<const T *>(ma.p), ma.ld, static_cast<const T *>(mb.p), mb.ld, ma.rows, ma.cols, parts);
    });
    QL_TRY(cx, cuda_launched(cx, dev, "dot"));
    QL_TRY(cx, cuda_download(cx, dev, parts, host, count * sizeof *parts));
    *out = 0;
    for (unsigned p = 0; p < count; p++)
        *out += host[p];
    return QL_OK;
}

template <typename T>
static __global__ void
nonfinite_kernel(const T *p, int64_t ld, int64_t rows, int64_t cols, unsigned long long *first)
{
    each_of_part(rows, cols, [&](int64_t i, int64_t j) {
        const auto x = widen(p[i * ld + j]);

        if (!(x - x == 0))
            atomicMin(first, static_cast<unsigned long long>(i * cols + j));
    });
}

ql_status
cuda_first_nonfinite(ql_ctx *cx, void *dev, const mat *m, int64_t *first)
{
    unsigned long long found = ~0ull, *where;

    QL_TRY(cx, ql_scratch(cx, sizeof found, &where));
    QL_TRY(cx, cuda_upload(cx, dev, &found, where, sizeof found));
    with_float(m->dtype, [&](auto type) {
        using T = type_in<decltype(type)>;

        launch(cuda_stream(dev), parts_of(m), THREADS, 0, nonfinite_kernel<T>, static_cast<const T *>(m->p), m->ld,
               m->rows, m->cols, where);
    });
    QL_TRY(cx, cuda_launched(cx, dev, "nonfinite"));
    QL_TRY(cx, cuda_download(cx, dev, where, &found, sizeof found));
    *first = static_cast<int64_t>(found);
    return QL_OK;
}

static ql_status
cuda_nonfinite(ql_ctx *cx, void *dev, const ql_op *op)
{
    const mat m = cuda_mat(op->t[0]);

    return cuda_first_nonfinite(cx, dev, &m, static_cast<int64_t *>(op->result));
}

/* sums[s, j] = sum over the tokens of sequence s of |x[t, j]| */
template <typename T>
static __global__ void
abs_sums_kernel(const T *x, int64_t ld, int64_t cols, const int64_t *offsets, double *sums)
{
    const int64_t j = static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x, s = blockIdx.y;
    double sum = 0;

    if (j >= cols)
        return;
    for (int64_t t = offsets[s]; t < offsets[s + 1]; t++)
        sum += fabs(static_cast<double>(widen(x[t * ld + j])));
    sums[s * cols + j] = sum;
}

template <typename T> struct join_abs_op {
    const double *sums;
    const int64_t *offsets;
    int64_t count, cols;
    T *abs_sum, *abs_max;

    __device__ void
    operator()(int64_t, int64_t j) const
    {
        double sum = static_cast<double>(abs_sum[j]), max = static_cast<double>(abs_max[j]);

        for (int64_t s = 0; s < count; s++)
            if (offsets[s + 1] > offsets[s]) {
                sum += sums[s * cols + j];
                max = fmax(max, sums[s * cols + j] / static_cast<double>(offsets[s + 1] - offsets[s]));
            }
        abs_sum[j] = static_cast<T>(sum);
        abs_max[j] = static_cast<T>(max);
    }
};

template <typename T>
static void
abs_stats(cudaStream_t stream, const mat *x, const ql_seqs *seqs, const int64_t *offsets, double *sums,
          const mat out[2])
{
    using R = wide<T>;

    for (int64_t s = 0; s < seqs->count; s += SEQUENCES) {
        const int64_t count = seqs->count - s < SEQUENCES ? seqs->count - s : SEQUENCES;

        launch(stream, dim3(static_cast<unsigned>(div_up(x->cols, THREADS)), static_cast<unsigned>(count)), THREADS, 0,
               abs_sums_kernel<T>, static_cast<const T *>(x->p), x->ld, x->cols, offsets + s, sums);
        each(stream, 1, x->cols,
             join_abs_op<R>{sums, offsets + s, count, x->cols, static_cast<R *>(out[0].p), static_cast<R *>(out[1].p)});
    }
}

static size_t
abs_scratch(void *, const ql_op *op)
{
    return static_cast<size_t>(ql_dim(op->t[0], 1)) * SEQUENCES * sizeof(double) +
           static_cast<size_t>(op->seqs->count + 1) * sizeof(int64_t);
}

static ql_status
cuda_abs_stats(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *x = op->t[0], *abs_sum = op->t[1], *abs_max = op->t[2];
    const ql_seqs *seqs = op->seqs;
    const mat m = cuda_mat(x), out[2] = {cuda_mat(abs_sum), cuda_mat(abs_max)};
    const size_t sums_bytes = static_cast<size_t>(m.cols) * SEQUENCES * sizeof(double);
    const size_t bytes = static_cast<size_t>(seqs->count + 1) * sizeof(int64_t);
    char *scratch;
    int64_t *offsets;

    QL_TRY(cx, ql_scratch(cx, abs_scratch(dev, op), &scratch));
    offsets = reinterpret_cast<int64_t *>(scratch + sums_bytes);
    QL_TRY(cx, cuda_upload(cx, dev, seqs->offsets, offsets, bytes));
    with_float(m.dtype, [&](auto type) {
        abs_stats<type_in<decltype(type)>>(cuda_stream(dev), &m, seqs, offsets, reinterpret_cast<double *>(scratch),
                                           out);
    });
    return cuda_launched(cx, dev, "abs_stats");
}

/* Exact whatever the magnitudes. */
template <typename T> struct join_gram_op {
    const T *partial;
    T *sum, *comp;
    int64_t first, partial_ld, sum_ld, comp_ld;

    __device__ void
    operator()(int64_t row, int64_t j) const
    {
        const int64_t i = first + row;

        if (j > i)
            return;
        const T s = sum[i * sum_ld + j], p = partial[row * partial_ld + j], total = s + p, back = total - s;
        const T c = comp[i * comp_ld + j] + ((s - (total - back)) + (p - back));

        sum[i * sum_ld + j] = sum[j * sum_ld + i] = total;
        comp[i * comp_ld + j] = comp[j * comp_ld + i] = c;
    }
};

void
launch_join_gram(cudaStream_t stream, const mat *partial, int64_t first, const mat *sum, const mat *comp)
{
    with_real(sum->dtype, [&](auto type) {
        using T = type_in<decltype(type)>;

        each(stream, partial->rows, partial->cols,
             join_gram_op<T>{static_cast<const T *>(partial->p), static_cast<T *>(sum->p), static_cast<T *>(comp->p),
                             first, partial->ld, sum->ld, comp->ld});
    });
}

const ql_op_row cuda_reduce_ops[] = {
    QL_OP_ROW(DOT, cuda_dot),
    QL_OP_ROW(NONFINITE, cuda_nonfinite),
    {QL_OP_ABS_STATS, cuda_abs_stats, abs_scratch, nullptr},
    QL_OP_ROWS_END,
};
