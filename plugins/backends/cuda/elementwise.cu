/* Elementwise arithmetic. Rows whose addresses allow it are read and written 16 bytes at a time. */
#include "launch.cuh"

/* As many elements as one access moves. */
template <typename T, int N> struct __align__(N * sizeof(T)) pack
{
    T x[N];
};

/* y[i, j] = f(a[i, j], b[i, j], i), for N neighbours at once. A leading dimension of 0 repeats one row. */
template <typename T, int N, typename F> struct map_op {
    const T *a, *b;
    T *y;
    int64_t a_ld, b_ld, y_ld;
    F f;

    __device__ void
    operator()(int64_t i, int64_t j) const
    {
        using packed = pack<T, N>;
        const packed pa = *reinterpret_cast<const packed *>(a + i * a_ld + j * N);
        const packed pb = *reinterpret_cast<const packed *>(b + i * b_ld + j * N);
        packed py;

        for (int k = 0; k < N; k++)
            py.x[k] = narrow<T>(f(widen(pa.x[k]), widen(pb.x[k]), i));
        *reinterpret_cast<packed *>(y + i * y_ld + j * N) = py;
    }
};

template <typename T, int N, typename F>
static void
map_packs(cudaStream_t stream, const mat *a, const mat *b, const mat *y, F f)
{
    each(stream, y->rows, y->cols / N,
         map_op<T, N, F>{static_cast<const T *>(a->p), static_cast<const T *>(b->p), static_cast<T *>(y->p), a->ld,
                         b->ld, y->ld, f});
}

template <typename T, typename F>
static void
map(cudaStream_t stream, const mat *a, const mat *b, const mat *y, F f)
{
    constexpr int most = 16 / sizeof(T);

    if (y->cols % most == 0 && aligned(a, 16) && aligned(b, 16) && aligned(y, 16))
        map_packs<T, most>(stream, a, b, y, f);
    else
        map_packs<T, 1>(stream, a, b, y, f);
}

/* A vector for every row is a matrix whose rows are 0 apart. */
static mat
repeated(const ql_tensor *v)
{
    mat m = cuda_mat(v);

    m.ld = 0;
    return m;
}

/* In double, so that each result is rounded once. */
struct axpby_fn {
    double alpha, beta;

    template <typename W>
    __device__ double
    operator()(W x, W y, int64_t) const
    {
        /* as in BLAS a NaN in y does not survive beta = 0 */
        return beta == 0 ? alpha * static_cast<double>(x)
                         : alpha * static_cast<double>(x) + beta * static_cast<double>(y);
    }
};

static ql_status
cuda_axpby(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *x = op->t[0], *y = op->t[1];
    const double alpha = op->alpha;
    const double beta = op->beta;
    const mat from = cuda_mat(x), to = cuda_mat(y);

    with_real(to.dtype, [&](auto type) {
        map<type_in<decltype(type)>>(cuda_stream(dev), &from, &to, &to, axpby_fn{alpha, beta});
    });
    return cuda_launched(cx, dev, "axpby");
}

struct product_fn {
    template <typename W>
    __device__ W
    operator()(W a, W b, int64_t) const
    {
        return a * b;
    }
};

static ql_status
cuda_scale_cols(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *v = op->t[1], *t = op->t[0];
    const mat factors = repeated(v), m = cuda_mat(t);

    with_real(m.dtype,
              [&](auto type) { map<type_in<decltype(type)>>(cuda_stream(dev), &factors, &m, &m, product_fn{}); });
    return cuda_launched(cx, dev, "scale_cols");
}

template <typename T> struct row_factor_fn {
    const T *v;

    __device__ T
    operator()(T a, T, int64_t row) const
    {
        return a * v[row];
    }
};

static ql_status
cuda_scale_rows(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *v = op->t[1], *t = op->t[0];
    const mat m = cuda_mat(t);

    with_real(m.dtype, [&](auto type) {
        using T = type_in<decltype(type)>;

        map<T>(cuda_stream(dev), &m, &m, &m, row_factor_fn<T>{static_cast<const T *>(ql_ptr(v))});
    });
    return cuda_launched(cx, dev, "scale_rows");
}

/* A sum in float rounds as one from the exact sum would: float has more than twice the digits of what is narrower. */
struct sum_fn {
    template <typename W>
    __device__ W
    operator()(W a, W b, int64_t) const
    {
        return a + b;
    }
};

static ql_status
cuda_add(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *a = op->t[0], *b = op->t[1], *y = op->t[2];
    const mat ma = cuda_mat(a), mb = cuda_mat(b), my = cuda_mat(y);

    with_float(my.dtype, [&](auto type) { map<type_in<decltype(type)>>(cuda_stream(dev), &ma, &mb, &my, sum_fn{}); });
    return cuda_launched(cx, dev, "add");
}

static ql_status
cuda_add_bias(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *bias = op->t[1], *y = op->t[0];
    const mat mb = repeated(bias), my = cuda_mat(y);

    with_float(my.dtype, [&](auto type) { map<type_in<decltype(type)>>(cuda_stream(dev), &my, &mb, &my, sum_fn{}); });
    return cuda_launched(cx, dev, "add_bias");
}

struct swiglu_fn {
    template <typename W>
    __device__ W
    operator()(W gate, W up, int64_t) const
    {
        return gate / (1 + exponential(-gate)) * up;
    }
};

static ql_status
cuda_swiglu(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *gate = op->t[0], *up = op->t[1], *y = op->t[2];
    const mat mg = cuda_mat(gate), mu = cuda_mat(up), my = cuda_mat(y);

    with_float(my.dtype,
               [&](auto type) { map<type_in<decltype(type)>>(cuda_stream(dev), &mg, &mu, &my, swiglu_fn{}); });
    return cuda_launched(cx, dev, "swiglu");
}

const ql_op_row cuda_elementwise_ops[] = {
    QL_OP_ROW(AXPBY, cuda_axpby),
    QL_OP_ROW(SCALE_COLS, cuda_scale_cols),
    QL_OP_ROW(SCALE_ROWS, cuda_scale_rows),
    QL_OP_ROW(ADD, cuda_add),
    QL_OP_ROW(ADD_BIAS, cuda_add_bias),
    QL_OP_ROW(SWIGLU, cuda_swiglu),
    QL_OP_ROWS_END,
};
