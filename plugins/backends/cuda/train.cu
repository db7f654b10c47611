/* Vector-Jacobian products of rows and elements, the loss of a row of logits, and the optimizer's update. */
#include "loose.cuh"

#include <cmath>

#define THREADS 256
#define NARROW 512 /* columns of a row that one warp takes */

/* --- rmsnorm --- */

struct norm_back {
    loose x, w, dy, dx;
    int64_t rows, cols;
    double eps, beta;
};

/* dx = rho (g - x^ mean(x^ g)), x^ = rho x, g = w dy; blockDim.x threads a row: a warp for narrow ones, as of heads, else the block. */
template <typename W>
static __global__ void
rmsnorm_back_kernel(norm_back n)
{
    const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
    const bool warp = blockDim.x == WARP;
    W squares = 0, along = 0, rho;

    if (i >= n.rows)
        return;
    for (int64_t j = threadIdx.x; j < n.cols; j += blockDim.x) {
        const W x = n.x.get<W>(i, j);

        squares += x * x;
        along += x * n.w.get<W>(0, j) * n.dy.get<W>(i, j);
    }
    squares = warp ? warp_sum(squares) : block_sum(squares, shared_as<W>());
    along = warp ? warp_sum(along) : block_sum(along, shared_as<W>());
    rho = static_cast<W>(1 / sqrt(static_cast<double>(squares) / static_cast<double>(n.cols) + n.eps));
    along *= rho * rho / static_cast<W>(n.cols);
    for (int64_t j = threadIdx.x; j < n.cols; j += blockDim.x) {
        const W d = rho * (n.w.get<W>(0, j) * n.dy.get<W>(i, j) - along * n.x.get<W>(i, j));

        n.dx.put(i, j, n.beta == 0 ? d : static_cast<W>(n.beta) * n.dx.get<W>(i, j) + d);
    }
}

static ql_status
cuda_rmsnorm_back(ql_ctx *cx, void *dev, const ql_op *op)
{
    const norm_back n = {loosely(op->t[0]),   loosely(op->t[1]),   loosely(op->t[2]), loosely(op->t[3]),
                         ql_dim(op->t[0], 0), ql_dim(op->t[0], 1), op->alpha,         op->beta};
    const dim3 block = n.cols > NARROW ? dim3(THREADS) : dim3(WARP, THREADS / WARP);

    with_real(ql_dtype_of(op->t[0]), [&](auto type) {
        using W = type_in<decltype(type)>;

        launch(cuda_stream(dev), static_cast<unsigned>(div_up(n.rows, block.y)), block, THREADS / WARP * sizeof(W),
               rmsnorm_back_kernel<W>, n);
    });
    return cuda_launched(cx, dev, "rmsnorm_back");
}

/* --- swiglu --- */

template <typename W> struct swiglu_back_op {
    loose gate, up, dy, dgate, dup;

    __device__ void
    operator()(int64_t i, int64_t j) const
    {
        const W g = gate.get<W>(i, j), d = dy.get<W>(i, j), sigmoid = 1 / (1 + exponential(-g));

        dgate.put(i, j, d * up.get<W>(i, j) * sigmoid * (1 + g * (1 - sigmoid)));
        dup.put(i, j, d * g * sigmoid);
    }
};

static ql_status
cuda_swiglu_back(ql_ctx *cx, void *dev, const ql_op *op)
{
    with_real(ql_dtype_of(op->t[0]), [&](auto type) {
        each(cuda_stream(dev), ql_dim(op->t[0], 0), ql_dim(op->t[0], 1),
             swiglu_back_op<type_in<decltype(type)>>{loosely(op->t[0]), loosely(op->t[1]), loosely(op->t[2]),
                                                     loosely(op->t[3]), loosely(op->t[4])});
    });
    return cuda_launched(cx, dev, "swiglu_back");
}

/* --- loss --- */

template <typename W> struct loss_args {
    const W *logits;
    const int32_t *targets;
    W *losses;
    loose gradient; /* p NULL: not wanted; may be the logits */
    int64_t ld, cols;
    double scale;
};

/* A block a row, three times over it; sums in double. */
template <typename W>
static __global__ void
loss_kernel(loss_args<W> l)
{
    const int64_t i = blockIdx.x, target = l.targets[i];
    const W *row = l.logits + i * l.ld, chosen = row[target];
    double *sums = shared_as<double>(), sum = 0;
    W *room = reinterpret_cast<W *>(sums + THREADS / WARP), max = -INFINITY;

    for (int64_t j = threadIdx.x; j < l.cols; j += THREADS)
        max = row[j] > max ? row[j] : max;
    max = warp_max(max);
    if (threadIdx.x % WARP == 0)
        room[threadIdx.x / WARP] = max;
    __syncthreads();
    for (int w = 0; w < THREADS / WARP; w++)
        max = room[w] > max ? room[w] : max;
    for (int64_t j = threadIdx.x; j < l.cols; j += THREADS)
        sum += static_cast<double>(exponential(row[j] - max));
    sum = block_sum(sum, sums); /* every thread has read the target's logit by now */
    if (threadIdx.x == 0)
        l.losses[i] = static_cast<W>(log(sum) + static_cast<double>(max) - static_cast<double>(chosen));
    if (!l.gradient.p)
        return;
    for (int64_t j = threadIdx.x; j < l.cols; j += THREADS)
        l.gradient.put(i, j,
                       static_cast<W>(exponential(row[j] - max) * static_cast<W>(l.scale / sum)) -
                           (j == target ? static_cast<W>(l.scale) : 0));
}

static ql_status
cuda_loss(ql_ctx *cx, void *dev, const ql_op *op)
{
    const mat logits = cuda_mat(op->t[0]);

    with_real(logits.dtype, [&](auto type) {
        using W = type_in<decltype(type)>;

        launch(cuda_stream(dev), static_cast<unsigned>(logits.rows), THREADS, 2 * THREADS / WARP * sizeof(double),
               loss_kernel<W>,
               loss_args<W>{static_cast<const W *>(logits.p), static_cast<const int32_t *>(ql_ptr(op->t[1])),
                            static_cast<W *>(ql_ptr(op->t[2])), op->t[3] ? loosely(op->t[3]) : loose{}, logits.ld,
                            logits.cols, op->alpha});
    });
    return cuda_launched(cx, dev, "loss");
}

/* --- adamw --- */

/* In double: memory is what it waits for. */
template <typename R> struct adamw_op {
    R *p;
    const R *g;
    R *m, *v;
    int64_t p_ld, g_ld, m_ld, v_ld;
    const R *rows, *cols; /* NULL: factors of 1 */
    double scale, rate, decay, beta1, beta2, eps;
    double correction1, correction2; /* 1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t) */

    __device__ void
    operator()(int64_t i, int64_t j) const
    {
        const double r = rate * (rows ? static_cast<double>(rows[i]) : 1) * (cols ? static_cast<double>(cols[j]) : 1),
                     scaled = scale * static_cast<double>(g[i * g_ld + j]),
                     first = beta1 * static_cast<double>(m[i * m_ld + j]) + (1 - beta1) * scaled,
                     second = beta2 * static_cast<double>(v[i * v_ld + j]) + (1 - beta2) * scaled * scaled,
                     old = static_cast<double>(p[i * p_ld + j]);

        m[i * m_ld + j] = static_cast<R>(first);
        v[i * v_ld + j] = static_cast<R>(second);
        p[i * p_ld + j] =
            static_cast<R>(old * (1 - r * decay) - r * (first * correction1) / (sqrt(second) * correction2 + eps));
    }
};

static ql_status
cuda_adamw(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_adamw_spec *s = static_cast<const ql_adamw_spec *>(op->spec);
    const mat p = cuda_mat(op->t[0]), g = cuda_mat(op->t[1]), m = cuda_mat(op->t[2]), v = cuda_mat(op->t[3]);
    const double t = static_cast<double>(s->t);

    with_real(p.dtype, [&](auto type) {
        using R = type_in<decltype(type)>;

        each(cuda_stream(dev), p.rows, p.cols,
             adamw_op<R>{
                 static_cast<R *>(p.p), static_cast<const R *>(g.p), static_cast<R *>(m.p), static_cast<R *>(v.p), p.ld,
                 g.ld, m.ld, v.ld, op->t[4] ? static_cast<const R *>(ql_ptr(op->t[4])) : nullptr,
                 op->t[5] ? static_cast<const R *>(ql_ptr(op->t[5])) : nullptr, s->scale, s->rate, s->decay, s->beta1,
                 s->beta2, s->eps, 1 / (1 - std::pow(s->beta1, t)), 1 / std::sqrt(1 - std::pow(s->beta2, t))});
    });
    return cuda_launched(cx, dev, "adamw");
}

const ql_op_row cuda_train_ops[] = {
    QL_OP_ROW(RMSNORM_BACK, cuda_rmsnorm_back),
    QL_OP_ROW(SWIGLU_BACK, cuda_swiglu_back),
    QL_OP_ROW(LOSS, cuda_loss),
    QL_OP_ROW(ADAMW, cuda_adamw),
    QL_OP_ROWS_END,
};
