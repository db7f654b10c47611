/* Copies with conversion, fills, diagonals: an element a thread. */
#include "launch.cuh"

template <typename T> static constexpr bool is_integer = std::is_integral_v<T>;

template <typename T>
__device__ static double
to_double(T x)
{
    if constexpr (is_integer<T>)
        return static_cast<double>(x);
    else
        return static_cast<double>(widen(x));
}

/* Bounds of an integer dtype as doubles; the upper one is the first that is too large. */
template <typename T>
static constexpr double least_of = std::is_unsigned_v<T> ? 0.0
                                   : sizeof(T) == 4      ? -0x1p31
                                                         : -0x1p63;
template <typename T> static constexpr double end_of = std::is_unsigned_v<T> ? 0x1p8 : -least_of<T>;
template <typename T> static constexpr T most_of = sizeof(T) == 1 ? UINT8_MAX : sizeof(T) == 4 ? INT32_MAX : INT64_MAX;

/* rint, kept inside the dtype; NaN becomes 0. */
template <typename T>
__device__ static T
to_integer(double x)
{
    const double r = rint(x);

    if (r != r)
        return 0;
    return r < end_of<T> ? static_cast<T>(r > least_of<T> ? r : least_of<T>) : most_of<T>;
}

template <typename To, typename From>
__device__ static To
convert(From x)
{
    if constexpr (std::is_same_v<To, From>) {
        return x;
    } else if constexpr (is_integer<To> && is_integer<From>) { /* not by way of double, which has 53 digits */
        const int64_t v = x, least = static_cast<int64_t>(least_of<To>), most = most_of<To>;

        return static_cast<To>(v < least ? least : v > most ? most : v);
    } else if constexpr (is_integer<To>) {
        return to_integer<To>(to_double(x));
    } else if constexpr (is_integer<From>) {
        return narrow<To>(to_double(x));
    } else {
        return narrow<To>(widen(x));
    }
}

template <typename To, typename From> struct copy_op {
    const From *src;
    int64_t src_ld;
    To *dst;
    int64_t dst_ld;

    __device__ void
    operator()(int64_t i, int64_t j) const
    {
        dst[i * dst_ld + j] = convert<To>(src[i * src_ld + j]);
    }
};

void
launch_copy(cudaStream_t stream, const mat *src, const mat *dst)
{
    with_any(src->dtype, [&](auto from) {
        with_any(dst->dtype, [&](auto to) {
            using From = type_in<decltype(from)>;
            using To = type_in<decltype(to)>;

            each(stream, dst->rows, dst->cols,
                 copy_op<To, From>{static_cast<const From *>(src->p), src->ld, static_cast<To *>(dst->p), dst->ld});
        });
    });
}

static ql_status
cuda_copy(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *src = op->t[0], *dst = op->t[1];
    const mat from = cuda_mat(src), to = cuda_mat(dst);

    launch_copy(cuda_stream(dev), &from, &to);
    return cuda_launched(cx, dev, "copy");
}

template <typename T> struct fill_op {
    T *p;
    int64_t ld;
    double value;

    __device__ void
    operator()(int64_t i, int64_t j) const
    {
        p[i * ld + j] = convert<T>(value);
    }
};

static ql_status
cuda_fill(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *t = op->t[0];
    const double value = op->alpha;
    const mat m = cuda_mat(t);

    with_any(m.dtype, [&](auto type) {
        using T = type_in<decltype(type)>;

        each(cuda_stream(dev), m.rows, m.cols, fill_op<T>{static_cast<T *>(m.p), m.ld, value});
    });
    return cuda_launched(cx, dev, "fill");
}

template <typename T> struct tril_op {
    T *p;
    int64_t ld;

    __device__ void
    operator()(int64_t i, int64_t j) const
    {
        if (j > i)
            p[i * ld + j] = 0;
    }
};

void
launch_tril(cudaStream_t stream, const mat *a)
{
    with_real(a->dtype, [&](auto type) {
        using T = type_in<decltype(type)>;

        each(stream, a->rows, a->cols, tril_op<T>{static_cast<T *>(a->p), a->ld});
    });
}

/* The diagonal as a column: its elements are ld + 1 apart. */
static mat
diagonal(const ql_tensor *a)
{
    mat m = cuda_mat(a);

    m.cols = 1;
    m.ld++;
    return m;
}

static mat
column(const ql_tensor *v)
{
    mat m = cuda_mat(v);

    m.rows = m.cols;
    m.cols = m.ld = 1;
    return m;
}

static ql_status
cuda_diag(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *a = op->t[0], *d = op->t[1];
    const mat from = diagonal(a), to = column(d);

    launch_copy(cuda_stream(dev), &from, &to);
    return cuda_launched(cx, dev, "diag");
}

static ql_status
cuda_diag_set(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *d = op->t[1], *a = op->t[0];
    const mat from = column(d), to = diagonal(a);

    launch_copy(cuda_stream(dev), &from, &to);
    return cuda_launched(cx, dev, "diag_set");
}

const ql_op_row cuda_copy_ops[] = {
    QL_OP_ROW(COPY, cuda_copy),
    QL_OP_ROW(FILL, cuda_fill),
    QL_OP_ROW(DIAG, cuda_diag),
    QL_OP_ROW(DIAG_SET, cuda_diag_set),
    QL_OP_ROWS_END,
};
