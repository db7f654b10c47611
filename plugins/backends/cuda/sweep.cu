/* GPTQ's column loop (docs/methods.md 3.2, 3.3): blocks of columns from left to right. A kernel encodes 128
 * columns, a warp a row, with their part of U in shared memory; products carry the errors into the columns after them. */
#include "grid.cuh"

#include <cmath>

#define WARPS 16   /* of a block: rows that share U */
#define WINDOW 128 /* columns of a kernel, WINDOW / WARP in each lane's registers */
#define SLOTS (WINDOW / WARP)
#define OUTER 512 /* columns between two updates of all columns after them */

/* Everything on the device. Values, scales and zeros are of the grid's arithmetic. */
template <typename R> struct sweep {
    ql_grid grid;
    int64_t rows, cols, groups;
    R *values; /* [rows, cols]: a copy of W that takes in the errors */
    const R *u;
    R *scales, *zeros;
    uint8_t *codes;
    const int32_t *group_of; /* NULL: column / group */
    bool fit;
    int64_t u_ld, scales_ld, zeros_ld, codes_ld;
    double *loss; /* [rows]: sum Err^2; NaN when the feedback overflowed */
    fits *fitted;
};

template <typename R> struct group_scale {
    R scale, zero;
};

/* Scale and zero of column j of one row, which all lanes share. At a group's first column they are found, from values that are current
 * in memory from there on. */
template <typename R>
__device__ static group_scale<R>
scale_at(const sweep<R> &s, int64_t row, int64_t j)
{
    const int64_t k = s.group_of ? s.group_of[j] : j / s.grid.group;
    R *scale = s.scales + row * s.scales_ld + k, *zero = s.zeros + row * s.zeros_ld + k;
    const int64_t n = s.cols - j < s.grid.group ? s.cols - j : s.grid.group;
    group_scale<R> g;
    int fit;

    if (!s.fit || j % s.grid.group != 0)
        return {*scale, *zero};
    fit = warp_fit(s.grid, s.values + row * s.cols + j, n, &g.scale, &g.zero);
    if (fit == FIT_NONFINITE || fit == FIT_LARGE) /* no error: the caller of the whole sweep has another way */
        g = {1, 0};
    if (threadIdx.x % WARP == 0) {
        *scale = g.scale;
        *zero = g.zero;
        if (fit == FIT_SMALL)
            note_fit(s.fitted, row * s.groups + k, fit);
        else if (fit != FIT_OK)
            s.loss[row] = NAN;
    }
    return g;
}

/* Columns from j on that share a scale, as far as a window reaches. */
template <typename R>
__device__ static int
columns_of_scale(const sweep<R> &s, int64_t j)
{
    const int64_t left = s.group_of ? 1 : s.grid.group - j % s.grid.group;

    return left < WINDOW ? static_cast<int>(left) : WINDOW;
}

/* --- in float ---------------------------------------------------------------------------------------------------------- */

/* Columns [first, first + count) of U and their rows, zero below the diagonal. */
__device__ static void
load_window(const sweep<float> &s, int64_t first, int count, float *window)
{
    for (int at = static_cast<int>(threadIdx.x); at < WINDOW * WINDOW; at += WARPS * WARP) {
        const int i = at / WINDOW, j = at % WINDOW;

        window[at] = i <= j && j < count ? s.u[(first + i) * s.u_ld + first + j] : 0;
    }
}

/* What a warp knows of its row's window: lane l holds columns l, l + 32, … A column's value gives way to its error. */
struct window_row {
    float value[SLOTS];
    unsigned codes; /* a byte a slot */
};

/* Columns of the window that are not encoded yet go back to memory, where the fit of a group looks for them. */
__device__ static void
store_values(const sweep<float> &s, const window_row &r, int64_t row, int64_t first, int from, int count)
{
    const int lane = static_cast<int>(threadIdx.x % WARP);

#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++)
        if (slot * WARP + lane >= from && slot * WARP + lane < count)
            s.values[row * s.cols + first + slot * WARP + lane] = r.value[slot];
    __syncwarp();
}

/* Encodes columns [first, first + count), which have taken in all errors from before them; `errors` [rows, OUTER] gets theirs. */
static __global__ void
__launch_bounds__(WARPS *WARP, 2) /* two blocks a multiprocessor: only the fit of a group spills */
    sweep_kernel(sweep<float> s, int64_t first, int count, float *errors)
{
    float *window = shared_as<float>();
    const int lane = static_cast<int>(threadIdx.x % WARP);
    const int64_t row = static_cast<int64_t>(blockIdx.x) * WARPS + threadIdx.x / WARP;
    const float top = top_code<float>(s.grid);
    group_scale<float> g = {1, 0};
    window_row r = {};
    float loss = 0;
    int change = 0; /* the column from which another scale holds */

    load_window(s, first, count, window);
    __syncthreads();
    if (row >= s.rows)
        return;
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++)
        if (slot * WARP + lane < count)
            r.value[slot] = s.values[row * s.cols + first + slot * WARP + lane];
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++)
        for (int owner = 0; owner < WARP && slot * WARP + owner < count; owner++) {
            const int j = slot * WARP + owner;

            if (j == change) {
                if (s.fit && j > 0)
                    store_values(s, r, row, first, j, count);
                g = scale_at(s, row, first + j);
                change = j + columns_of_scale(s, first + j);
            }
            const float value = __shfl_sync(ALL_LANES, r.value[slot], owner),
                        code = code_of(value, g.scale, g.zero, top);
            const float error = (value - g.scale * (code - g.zero)) / window[j * WINDOW + j];

            loss += error * error;
#pragma unroll
            for (int later = slot; later < SLOTS; later++)
                r.value[later] = fmaf(-error, window[j * WINDOW + later * WARP + lane], r.value[later]);
            if (lane == owner) {
                r.value[slot] = error;
                r.codes |= static_cast<unsigned>(code) << 8 * slot;
            }
        }
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++)
        if (slot * WARP + lane < count) {
            s.codes[row * s.codes_ld + first + slot * WARP + lane] = static_cast<uint8_t>(r.codes >> 8 * slot);
            errors[row * OUTER + slot * WARP + lane] = r.value[slot];
        }
    if (lane == 0)
        s.loss[row] += static_cast<double>(loss);
}

/* Columns from `at` on that are worked on together: at most `most`, whole groups or a part of one. */
static int64_t
columns_from(const sweep<float> *s, int64_t at, int64_t end, int64_t most)
{
    const int64_t group = s->grid.group, left = end - at;
    int64_t count = most;

    if (s->fit)
        count = group <= most ? most / group * group : group - at % group < most ? group - at % group : most;
    return count < left ? count : left;
}

struct span {
    int64_t from, to, end;
};

/* Columns [to, end) -= errors of columns [from, to) U, whose errors begin at `errors`. */
static ql_status
feed_back(ql_ctx *cx, void *dev, const sweep<float> *s, float *errors, span at)
{
    const mat e = {errors, s->rows, at.to - at.from, OUTER, QL_F32};
    const mat u = {const_cast<float *>(s->u) + at.from * s->u_ld + at.to, at.to - at.from, at.end - at.to, s->u_ld,
                   QL_F32};
    const mat v = {s->values + at.to, s->rows, at.end - at.to, s->cols, QL_F32};

    return at.to < at.end ? cuda_product(cx, dev, QL_NN, -1, &e, &u, 1, &v) : QL_OK;
}

static ql_status
sweep_columns(ql_ctx *cx, void *dev, const sweep<float> *s, float *errors)
{
    for (int64_t block = 0, end; block < s->cols; block = end) {
        end = block + columns_from(s, block, s->cols, OUTER);
        for (int64_t at = block, next; at < end; at = next) {
            next = at + columns_from(s, at, end, WINDOW);
            launch(cuda_stream(dev), static_cast<unsigned>(div_up(s->rows, WARPS)), WARPS * WARP,
                   WINDOW * WINDOW * sizeof(float), sweep_kernel, *s, at, static_cast<int>(next - at),
                   errors + (at - block));
            QL_TRY(cx, cuda_launched(cx, dev, "feedback_sweep"));
            QL_TRY(cx, feed_back(cx, dev, s, errors + (at - block), {at, next, end}));
        }
        QL_TRY(cx, feed_back(cx, dev, s, errors, {block, end, s->cols}));
    }
    return QL_OK;
}

/* --- in double --------------------------------------------------------------------------------------------------------- */

/* The plain recursion, column by column, a warp a row: its codes are those of the definition to the bit. */
static __global__ void
sweep_double_kernel(sweep<double> s)
{
    const int64_t row = static_cast<int64_t>(blockIdx.x) * WARPS + threadIdx.x / WARP;
    double *values = s.values + row * s.cols, loss = 0;
    const double top = top_code<double>(s.grid);

    if (row >= s.rows)
        return;
    for (int64_t j = 0; j < s.cols; j++) {
        const group_scale<double> g = scale_at(s, row, j);
        const double code = code_of(values[j], g.scale, g.zero, top);
        const double error = (values[j] - g.scale * (code - g.zero)) / s.u[j * s.u_ld + j];

        loss += error * error;
        if (threadIdx.x % WARP == 0)
            s.codes[row * s.codes_ld + j] = static_cast<uint8_t>(code);
        for (int64_t l = j + 1 + threadIdx.x % WARP; l < s.cols; l += WARP)
            values[l] -= error * s.u[j * s.u_ld + l];
        __syncwarp();
    }
    if (threadIdx.x % WARP == 0)
        s.loss[row] += loss;
}

/* --- both -------------------------------------------------------------------------------------------------------------- */

static __global__ void
loss_kernel(const double *rows, int64_t count, double *sum)
{
    double x = 0;

    for (int64_t i = threadIdx.x; i < count; i += WARPS * WARP)
        x += rows[i] / 2;
    x = block_sum(x, shared_as<double>());
    if (threadIdx.x == 0)
        *sum = x;
}

struct zero_op {
    double *p;

    __device__ void
    operator()(int64_t, int64_t j) const
    {
        p[j] = 0;
    }
};

/* What the host reads at the end. */
struct outcome {
    fits fitted;
    double loss;
};

/* Errors of a block are kept in fp32 alone. */
static size_t
errors_bytes(int64_t rows, ql_dtype dtype)
{
    return dtype == QL_F32 ? static_cast<size_t>(rows) * OUTER * sizeof(float) : 0;
}

static size_t
scratch_bytes(int64_t rows, int64_t cols, ql_dtype dtype)
{
    const size_t values = static_cast<size_t>(rows) * static_cast<size_t>(cols) * ql_dtype_size(dtype);

    return sizeof(outcome) + static_cast<size_t>(rows) * sizeof(double) + errors_bytes(rows, dtype) + values;
}

/* The places of a sweep in one piece of scratch: values, errors of a block, the loss of each row, and the outcome. */
template <typename R>
static ql_status
place(ql_ctx *cx, void *dev, sweep<R> *s, R **errors, outcome **out)
{
    const ql_dtype dtype = std::is_same_v<R, float> ? QL_F32 : QL_F64;
    const size_t loss = static_cast<size_t>(s->rows) * sizeof(double), block = errors_bytes(s->rows, dtype);
    const outcome start = {{NO_GROUP, 0}, 0};
    char *p;

    QL_TRY(cx, ql_scratch(cx, scratch_bytes(s->rows, s->cols, dtype), &p));
    *out = reinterpret_cast<outcome *>(p);
    s->fitted = &(*out)->fitted;
    s->loss = reinterpret_cast<double *>(p + sizeof **out);
    *errors = reinterpret_cast<R *>(p + sizeof **out + loss);
    s->values = reinterpret_cast<R *>(p + sizeof **out + loss + block);
    QL_TRY(cx, cuda_upload(cx, dev, &start, *out, sizeof start));
    each(cuda_stream(dev), 1, s->rows, zero_op{s->loss});
    return cuda_launched(cx, dev, "feedback_sweep");
}

static ql_status
run(ql_ctx *cx, void *dev, const sweep<float> *s, float *errors)
{
    return sweep_columns(cx, dev, s, errors);
}

static ql_status
run(ql_ctx *cx, void *dev, const sweep<double> *s, double *)
{
    launch(cuda_stream(dev), static_cast<unsigned>(div_up(s->rows, WARPS)), WARPS * WARP, 0, sweep_double_kernel, *s);
    return cuda_launched(cx, dev, "feedback_sweep");
}

template <typename R>
static ql_status
sweep_all(ql_ctx *cx, void *dev, sweep<R> *s, const mat *w, double *loss)
{
    mat copy = {nullptr, s->rows, s->cols, s->cols, w->dtype};
    R *errors = nullptr;
    outcome *on_device = nullptr, out;

    QL_TRY(cx, place(cx, dev, s, &errors, &on_device));
    copy.p = s->values;
    launch_copy(cuda_stream(dev), w, &copy);
    QL_TRY(cx, run(cx, dev, s, errors));
    launch(cuda_stream(dev), 1, WARPS * WARP, WARPS * sizeof(double), loss_kernel, s->loss, s->rows, &on_device->loss);
    QL_TRY(cx, cuda_launched(cx, dev, "feedback_sweep"));
    QL_TRY(cx, cuda_download(cx, dev, on_device, &out, sizeof out));
    ql_remark(cx, out.fitted.remarks);
    *loss = std::isfinite(out.loss) ? out.loss : NAN;
    return QL_OK;
}

template <typename R>
static sweep<R>
sweep_of(const ql_op *op)
{
    const mat w = cuda_mat(op->t[0]), u = cuda_mat(op->t[1]), scales = cuda_mat(op->t[2]), zeros = cuda_mat(op->t[3]),
              codes = cuda_mat(op->t[4]);
    const ql_tensor *group_of = op->t[5];
    sweep<R> s = {};

    s.grid = *op->grid;
    s.rows = w.rows;
    s.cols = w.cols;
    s.groups = scales.cols;
    s.u = static_cast<const R *>(u.p);
    s.scales = static_cast<R *>(scales.p);
    s.zeros = static_cast<R *>(zeros.p);
    s.codes = static_cast<uint8_t *>(codes.p);
    s.group_of = group_of ? static_cast<const int32_t *>(ql_ptr(group_of)) : nullptr;
    s.fit = op->code == QL_OP_SWEEP_FIT;
    s.u_ld = u.ld;
    s.scales_ld = scales.ld;
    s.zeros_ld = zeros.ld;
    s.codes_ld = codes.ld;
    return s;
}

static size_t
sweep_scratch(void *, const ql_op *op)
{
    return scratch_bytes(ql_dim(op->t[0], 0), ql_dim(op->t[0], 1), op->grid->fp64 ? QL_F64 : QL_F32);
}

static ql_status
cuda_feedback_sweep(ql_ctx *cx, void *dev, const ql_op *op)
{
    const mat w = cuda_mat(op->t[0]);
    double *loss = static_cast<double *>(op->result);

    QL_TRY(cx, cuda_check_groups(cx, dev, op->t[5], ql_dim(op->t[2], 1)));
    if (op->grid->fp64) {
        sweep<double> s = sweep_of<double>(op);

        return sweep_all(cx, dev, &s, &w, loss);
    }
    sweep<float> s = sweep_of<float>(op);

    return sweep_all(cx, dev, &s, &w, loss);
}

const ql_op_row cuda_sweep_ops[] = {
    {QL_OP_SWEEP_FIT, cuda_feedback_sweep, sweep_scratch, nullptr},
    {QL_OP_SWEEP_GIVEN, cuda_feedback_sweep, sweep_scratch, nullptr},
    QL_OP_ROWS_END,
};
