/* Elementwise arithmetic. All dtypes pass through double in short pieces of a row, so that a result is rounded once; these loops
 * are bound by memory anyway. Only swiglu, with its exponential, has a fast form. */
#include "cpu.h"

#include <math.h>

#define PIECE 256

typedef struct elementwise {
    const isa_loops *isa;
    mat a, b, y; /* y = f(a, b) */
    double alpha, beta;
} elementwise;

typedef void (*piece_fn)(const elementwise *e, int64_t n, const double *a, const double *b, double *y);

/* Rows [first, last) of y = fn(a, b), piece by piece. */
static void
each_piece(const elementwise *e, int64_t first, int64_t last, piece_fn fn)
{
    double a[PIECE], b[PIECE], y[PIECE];

    for (int64_t i = first; i < last; i++)
        for (int64_t j = 0; j < e->y.cols; j += PIECE) {
            int64_t n = cpu_min(PIECE, e->y.cols - j);

            cpu_load_double(e->a.dtype, mat_at(&e->a, i, j), n, a);
            cpu_load_double(e->b.dtype, mat_at(&e->b, i, j), n, b);
            fn(e, n, a, b, y);
            cpu_store_double(e->y.dtype, y, n, mat_at(&e->y, i, j));
        }
}

static void
axpby_piece(const elementwise *e, int64_t n, const double *a, const double *b, double *y)
{
    for (int64_t j = 0; j < n; j++) /* as in BLAS a NaN in y does not survive beta = 0 */
        y[j] = e->beta == 0 ? e->alpha * a[j] : e->alpha * a[j] + e->beta * b[j];
}

static void
multiply_piece(const elementwise *e, int64_t n, const double *a, const double *b, double *y)
{
    (void)e;
    for (int64_t j = 0; j < n; j++)
        y[j] = a[j] * b[j];
}

static void
add_piece(const elementwise *e, int64_t n, const double *a, const double *b, double *y)
{
    (void)e;
    for (int64_t j = 0; j < n; j++)
        y[j] = a[j] + b[j];
}

static void
swiglu_piece(const elementwise *e, int64_t n, const double *a, const double *b, double *y)
{
    (void)e;
    for (int64_t j = 0; j < n; j++)
        y[j] = a[j] / (1 + exp(-a[j])) * b[j];
}

static void
axpby_rows(void *arg, int64_t first, int64_t last)
{
    each_piece(arg, first, last, axpby_piece);
}

static void
multiply_rows(void *arg, int64_t first, int64_t last)
{
    each_piece(arg, first, last, multiply_piece);
}

static void
add_rows(void *arg, int64_t first, int64_t last)
{
    each_piece(arg, first, last, add_piece);
}

static void
swiglu_rows(void *arg, int64_t first, int64_t last)
{
    const elementwise *e = arg;

    if (e->y.dtype != QL_F32)
        each_piece(e, first, last, swiglu_piece);
    else
        for (int64_t i = first; i < last; i++)
            e->isa->swiglu(mat_at(&e->a, i, 0), mat_at(&e->b, i, 0), e->y.cols, mat_at(&e->y, i, 0));
}

/* Each row of t times a number of its own: y = alpha b, row by row. */
static void
scale_rows_rows(void *arg, int64_t first, int64_t last)
{
    const elementwise *e = arg;

    for (int64_t i = first; i < last; i++) {
        elementwise row = {.a = e->y, .b = e->y, .y = e->y};

        cpu_load_double(e->a.dtype, mat_at(&e->a, 0, i), 1, &row.alpha);
        each_piece(&row, i, i + 1, axpby_piece);
    }
}

static ql_status
cpu_axpby(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *x = op->t[0], *y = op->t[1];
    elementwise e = {.a = cpu_mat(x), .b = cpu_mat(y), .y = cpu_mat(y), .alpha = op->alpha, .beta = op->beta};

    (void)cx;
    cpu_rows(dev, e.y.rows, e.y.cols, axpby_rows, &e);
    return QL_OK;
}

/* A vector for every row is a matrix whose rows are 0 apart. */
static mat
repeated(const ql_tensor *v)
{
    mat m = cpu_mat(v);

    m.ld = 0;
    return m;
}

static ql_status
cpu_scale_cols(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *v = op->t[1], *t = op->t[0];
    elementwise e = {.a = repeated(v), .b = cpu_mat(t), .y = cpu_mat(t)};

    (void)cx;
    cpu_rows(dev, e.y.rows, e.y.cols, multiply_rows, &e);
    return QL_OK;
}

static ql_status
cpu_scale_rows(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *v = op->t[1], *t = op->t[0];
    elementwise e = {.a = cpu_mat(v), .y = cpu_mat(t)};

    (void)cx;
    cpu_rows(dev, e.y.rows, e.y.cols, scale_rows_rows, &e);
    return QL_OK;
}

static ql_status
cpu_add(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *a = op->t[0], *b = op->t[1], *y = op->t[2];
    elementwise e = {.a = cpu_mat(a), .b = cpu_mat(b), .y = cpu_mat(y)};

    (void)cx;
    cpu_rows(dev, e.y.rows, e.y.cols, add_rows, &e);
    return QL_OK;
}

static ql_status
cpu_add_bias(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *bias = op->t[1], *y = op->t[0];
    elementwise e = {.a = cpu_mat(y), .b = repeated(bias), .y = cpu_mat(y)};

    (void)cx;
    cpu_rows(dev, e.y.rows, e.y.cols, add_rows, &e);
    return QL_OK;
}

static ql_status
cpu_swiglu(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *gate = op->t[0], *up = op->t[1], *y = op->t[2];
    cpu *d = dev;
    elementwise e = {.isa = d->isa, .a = cpu_mat(gate), .b = cpu_mat(up), .y = cpu_mat(y)};

    (void)cx;
    cpu_rows(d, e.y.rows, e.y.cols, swiglu_rows, &e);
    return QL_OK;
}

const ql_op_row cpu_elementwise_ops[] = {
    QL_OP_ROW(AXPBY, cpu_axpby),
    QL_OP_ROW(SCALE_COLS, cpu_scale_cols),
    QL_OP_ROW(SCALE_ROWS, cpu_scale_rows),
    QL_OP_ROW(ADD, cpu_add),
    QL_OP_ROW(ADD_BIAS, cpu_add_bias),
    QL_OP_ROW(SWIGLU, cpu_swiglu),
    QL_OP_ROWS_END,
};
