/* RMSNorm and rotary embedding, row by row; in f32, or for other dtypes in double, so that each result is rounded once. */
#include "cpu.h"

#include <math.h>

typedef struct norm {
    const cpu *d;
    mat x, w, y;
    mat a, b; /* x is their sum, still to be made; a.p NULL: x is given */
    double eps;
    int64_t grain;
} norm;

static void
norm_row(const norm *n, int64_t i, double *x, double *w)
{
    double sum = 0, scale;

    if (n->x.dtype == QL_F32) {
        const float *row = mat_at(&n->x, i, 0);

        sum = n->d->isa->sum_squares(row, n->x.cols);
        scale = 1 / sqrt(sum / (double)n->x.cols + n->eps);
        n->d->isa->scaled_product(row, (float)scale, n->w.p, n->x.cols, mat_at(&n->y, i, 0));
        return;
    }

    cpu_load_double(n->x.dtype, mat_at(&n->x, i, 0), n->x.cols, x);
    cpu_load_double(n->w.dtype, n->w.p, n->w.cols, w);
    for (int64_t j = 0; j < n->x.cols; j++)
        sum += x[j] * x[j];
    scale = 1 / sqrt(sum / (double)n->x.cols + n->eps);
    for (int64_t j = 0; j < n->x.cols; j++)
        x[j] = cpu_round(n->x.dtype, x[j] * scale) * w[j];
    cpu_store_double(n->y.dtype, x, n->y.cols, mat_at(&n->y, i, 0));
}

/* Row i of x from those of a and b; `x` and `other` hold a row. */
static void
add_row(const norm *n, int64_t i, double *x, double *other)
{
    const int64_t cols = n->x.cols;

    if (n->x.dtype == QL_F32) {
        const float *a = mat_at(&n->a, i, 0), *b = mat_at(&n->b, i, 0);
        float *sum = mat_at(&n->x, i, 0);

        for (int64_t j = 0; j < cols; j++)
            sum[j] = a[j] + b[j];
        return;
    }
    cpu_load_double(n->x.dtype, mat_at(&n->a, i, 0), cols, x);
    cpu_load_double(n->x.dtype, mat_at(&n->b, i, 0), cols, other);
    for (int64_t j = 0; j < cols; j++)
        x[j] += other[j];
    cpu_store_double(n->x.dtype, x, cols, mat_at(&n->x, i, 0));
}

static void
norm_rows(void *arg, int64_t task, void *scratch)
{
    const norm *n = arg;
    double *x = scratch, *w = x + n->x.cols;

    for (int64_t i = task * n->grain; i < cpu_min((task + 1) * n->grain, n->x.rows); i++) {
        if (n->a.p)
            add_row(n, i, x, w);
        norm_row(n, i, x, w);
    }
}

static ql_status
run(ql_ctx *cx, void *dev, norm *n)
{
    n->d = dev;
    n->grain = cpu_div_up(CPU_SPAN, n->x.cols);
    return cpu_run(cx, dev, cpu_div_up(n->x.rows, n->grain), 2 * (size_t)n->x.cols * sizeof(double), norm_rows, n);
}

static ql_status
cpu_rmsnorm(ql_ctx *cx, void *dev, const ql_op *op)
{
    norm n = {.x = cpu_mat(op->t[0]), .w = cpu_mat(op->t[1]), .y = cpu_mat(op->t[2]), .eps = op->alpha};

    return run(cx, dev, &n);
}

static ql_status
cpu_add_rmsnorm(ql_ctx *cx, void *dev, const ql_op *op)
{
    norm n = {.a = cpu_mat(op->t[0]),
              .b = cpu_mat(op->t[1]),
              .w = cpu_mat(op->t[2]),
              .x = cpu_mat(op->t[3]),
              .y = cpu_mat(op->t[4]),
              .eps = op->alpha};

    return run(cx, dev, &n);
}

typedef struct rope {
    const cpu *d;
    const ql_seqs *seqs;
    const ql_rope_spec *spec;
    mat x;
    int64_t grain;
} rope;

static void
rotate(const rope *r, void *head, const float *cosines, const float *sines, double *x)
{
    int64_t half = r->spec->head_dim / 2;

    if (r->x.dtype == QL_F32) {
        r->d->isa->rotate(head, cosines, sines, half);
        return;
    }

    cpu_load_double(r->x.dtype, head, 2 * half, x);
    for (int64_t k = 0; k < half; k++) {
        double a = x[k], b = x[half + k];

        x[k] = a * (double)cosines[k] - b * (double)sines[k];
        x[half + k] = b * (double)cosines[k] + a * (double)sines[k];
    }
    cpu_store_double(r->x.dtype, x, 2 * half, head);
}

static void
rope_rows(void *arg, int64_t task, void *scratch)
{
    const rope *r = arg;
    int64_t half = r->spec->head_dim / 2;
    double *x = scratch;
    float *cosines = (float *)(x + 2 * half), *sines = cosines + half;

    for (int64_t t = task * r->grain; t < cpu_min((task + 1) * r->grain, r->x.rows); t++) {
        int64_t s = cpu_sequence_of(r->seqs, t);
        float position = (float)(t - r->seqs->offsets[s] + (r->seqs->first ? r->seqs->first[s] : 0));
        const float *freq = r->spec->inv_freq + s * r->spec->stride;

        for (int64_t k = 0; k < half; k++) { /* published models take the angle, its sine and cosine in f32 */
            float angle = position * freq[k];

            cosines[k] = cosf(angle) * r->spec->scale;
            sines[k] = sinf(angle) * r->spec->scale;
        }
        for (int64_t c = 0; c < r->x.cols; c += r->spec->head_dim)
            rotate(r, mat_at(&r->x, t, c), cosines, sines, x);
    }
}

static ql_status
cpu_rope(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *x = op->t[0];
    const ql_seqs *seqs = op->seqs;
    const ql_rope_spec *spec = op->spec;
    rope r = {.d = dev, .seqs = seqs, .spec = spec, .x = cpu_mat(x)};

    r.grain = cpu_div_up(CPU_SPAN, r.x.cols);
    return cpu_run(cx, dev, cpu_div_up(r.x.rows, r.grain), 2 * (size_t)spec->head_dim * sizeof(double), rope_rows, &r);
}

const ql_op_row cpu_norm_rope_ops[] = {
    QL_OP_ROW(RMSNORM, cpu_rmsnorm),
    QL_OP_ROW(ADD_RMSNORM, cpu_add_rmsnorm),
    QL_OP_ROW(ROPE, cpu_rope),
    QL_OP_ROWS_END,
};
