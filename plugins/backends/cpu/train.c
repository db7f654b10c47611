/* Vector-Jacobian products of rows and elements, the loss of a row of logits, and the optimizer's update: in double, but where f32 has a
 * fast loop, so that each result is rounded once. */
#include "cpu.h"

#include <math.h>
#include <string.h>

#define PIECE 256

/* --- rmsnorm --- */

typedef struct norm_back {
    const isa_loops *isa;
    mat x, w, dy, dx;
    double eps, beta;
    int64_t grain;
} norm_back;

/* dx = rho (g - x^ mean(x^ g)), x^ = rho x, g = w dy. */
static void
norm_back_row(const norm_back *n, int64_t i, double *x, double *g, double *out)
{
    const int64_t cols = n->x.cols;
    double squares = 0, along = 0, rho;

    cpu_load_double(n->x.dtype, mat_at(&n->x, i, 0), cols, x);
    cpu_load_double(n->w.dtype, n->w.p, cols, out);
    cpu_load_double(n->dy.dtype, mat_at(&n->dy, i, 0), cols, g);
    for (int64_t j = 0; j < cols; j++) {
        g[j] *= out[j];
        squares += x[j] * x[j];
        along += x[j] * g[j];
    }
    rho = 1 / sqrt(squares / (double)cols + n->eps);
    along *= rho * rho / (double)cols;
    if (n->beta != 0)
        cpu_load_double(n->dx.dtype, mat_at(&n->dx, i, 0), cols, out);
    for (int64_t j = 0; j < cols; j++)
        out[j] = (n->beta == 0 ? 0 : n->beta * out[j]) + rho * (g[j] - along * x[j]);
    cpu_store_double(n->dx.dtype, out, cols, mat_at(&n->dx, i, 0));
}

static void
norm_back_row_float(const norm_back *n, int64_t i)
{
    const float *x = mat_at(&n->x, i, 0), *dy = mat_at(&n->dy, i, 0);
    const double cols = (double)n->x.cols, rho = 1 / sqrt(n->isa->sum_squares(x, n->x.cols) / cols + n->eps);

    n->isa->norm_back(&(isa_norm_back){.x = x,
                                       .w = n->w.p,
                                       .dy = dy,
                                       .dx = mat_at(&n->dx, i, 0),
                                       .scale = (float)rho,
                                       .along = (float)(n->isa->dot(x, n->w.p, dy, n->x.cols) * rho * rho / cols),
                                       .beta = (float)n->beta,
                                       .n = n->x.cols});
}

static void
norm_back_rows(void *arg, int64_t task, void *scratch)
{
    const norm_back *n = arg;
    double *x = scratch, *g = x + n->x.cols, *out = g + n->x.cols;

    for (int64_t i = task * n->grain; i < cpu_min((task + 1) * n->grain, n->x.rows); i++)
        if (n->x.dtype == QL_F32)
            norm_back_row_float(n, i);
        else
            norm_back_row(n, i, x, g, out);
}

static ql_status
cpu_rmsnorm_back(ql_ctx *cx, void *dev, const ql_op *op)
{
    cpu *d = dev;
    norm_back n = {.isa = d->isa,
                   .x = cpu_mat(op->t[0]),
                   .w = cpu_mat(op->t[1]),
                   .dy = cpu_mat(op->t[2]),
                   .dx = cpu_mat(op->t[3]),
                   .eps = op->alpha,
                   .beta = op->beta};

    n.grain = cpu_div_up(CPU_SPAN, n.x.cols);
    return cpu_run(cx, d, cpu_div_up(n.x.rows, n.grain), 3 * (size_t)n.x.cols * sizeof(double), norm_back_rows, &n);
}

/* --- swiglu --- */

typedef struct swiglu_back {
    const isa_loops *isa;
    mat gate, up, dy, dgate, dup;
} swiglu_back;

static void
swiglu_back_piece(const swiglu_back *s, int64_t i, int64_t j, int64_t n)
{
    double gate[PIECE], up[PIECE], dy[PIECE];

    cpu_load_double(s->gate.dtype, mat_at(&s->gate, i, j), n, gate);
    cpu_load_double(s->up.dtype, mat_at(&s->up, i, j), n, up);
    cpu_load_double(s->dy.dtype, mat_at(&s->dy, i, j), n, dy);
    for (int64_t k = 0; k < n; k++) {
        const double sigmoid = 1 / (1 + exp(-gate[k]));

        up[k] *= dy[k] * sigmoid * (1 + gate[k] * (1 - sigmoid));
        gate[k] *= dy[k] * sigmoid;
    }
    cpu_store_double(s->dgate.dtype, up, n, mat_at(&s->dgate, i, j));
    cpu_store_double(s->dup.dtype, gate, n, mat_at(&s->dup, i, j));
}

static void
swiglu_back_rows(void *arg, int64_t first, int64_t last)
{
    const swiglu_back *s = arg;

    for (int64_t i = first; i < last; i++)
        if (s->gate.dtype == QL_F32)
            s->isa->swiglu_back(mat_at(&s->gate, i, 0), mat_at(&s->up, i, 0), mat_at(&s->dy, i, 0), s->gate.cols,
                                mat_at(&s->dgate, i, 0), mat_at(&s->dup, i, 0));
        else
            for (int64_t j = 0; j < s->gate.cols; j += PIECE)
                swiglu_back_piece(s, i, j, cpu_min(PIECE, s->gate.cols - j));
}

static ql_status
cpu_swiglu_back(ql_ctx *cx, void *dev, const ql_op *op)
{
    cpu *d = dev;
    swiglu_back s = {d->isa,           cpu_mat(op->t[0]), cpu_mat(op->t[1]), cpu_mat(op->t[2]), cpu_mat(op->t[3]),
                     cpu_mat(op->t[4])};

    (void)cx;
    cpu_rows(d, s.gate.rows, s.gate.cols, swiglu_back_rows, &s);
    return QL_OK;
}

/* --- loss --- */

typedef struct loss {
    const isa_loops *isa;
    mat logits, gradient; /* gradient.p NULL: not wanted */
    const int32_t *targets;
    void *losses;
    double scale;
    int64_t grain;
} loss;

/* row = exp(row - *max), its maximum; returns the sum. */
static double
exponentials(const loss *l, float *row, double *max)
{
    const int64_t n = l->logits.cols;
    const float most = l->isa->row_max(row, n);
    double sum = 0;

    for (int64_t j = 0; j < n; j += PIECE)
        sum += (double)l->isa->exp_sum(row + j, cpu_min(PIECE, n - j), most);
    *max = (double)most;
    return sum;
}

static double
exponentials_double(int64_t n, double *row, double *max)
{
    double sum = 0;

    *max = -INFINITY;
    for (int64_t j = 0; j < n; j++)
        *max = fmax(*max, row[j]);
    for (int64_t j = 0; j < n; j++) {
        row[j] = exp(row[j] - *max);
        sum += row[j];
    }
    return sum;
}

static void
loss_row_double(const loss *l, int64_t i, double *row)
{
    const int64_t n = l->logits.cols, target = l->targets[i];
    const double chosen = *(const double *)mat_at(&l->logits, i, target);
    double sum, max;

    memcpy(row, mat_at(&l->logits, i, 0), (size_t)n * sizeof *row);
    sum = exponentials_double(n, row, &max);
    ((double *)l->losses)[i] = log(sum) + max - chosen;
    if (!l->gradient.p)
        return;
    for (int64_t j = 0; j < n; j++)
        row[j] *= l->scale / sum;
    row[target] -= l->scale;
    cpu_store_double(l->gradient.dtype, row, n, mat_at(&l->gradient, i, 0));
}

static void
loss_row(const loss *l, int64_t i, float *row)
{
    const int64_t n = l->logits.cols, target = l->targets[i];
    const double chosen = (double)*(const float *)mat_at(&l->logits, i, target);
    double sum, max;
    float factor;

    memcpy(row, mat_at(&l->logits, i, 0), (size_t)n * sizeof *row);
    sum = exponentials(l, row, &max);
    ((float *)l->losses)[i] = (float)(log(sum) + max - chosen);
    if (!l->gradient.p)
        return;
    factor = (float)(l->scale / sum);
    for (int64_t j = 0; j < n; j++)
        row[j] *= factor;
    row[target] -= (float)l->scale;
    cpu_convert(l->isa, QL_F32, row, l->gradient.dtype, n, mat_at(&l->gradient, i, 0));
}

static void
loss_rows(void *arg, int64_t task, void *scratch)
{
    const loss *l = arg;

    for (int64_t i = task * l->grain; i < cpu_min((task + 1) * l->grain, l->logits.rows); i++)
        if (l->logits.dtype == QL_F64)
            loss_row_double(l, i, scratch);
        else
            loss_row(l, i, scratch);
}

static ql_status
cpu_loss(ql_ctx *cx, void *dev, const ql_op *op)
{
    cpu *d = dev;
    loss l = {.isa = d->isa,
              .logits = cpu_mat(op->t[0]),
              .targets = ql_ptr(op->t[1]),
              .losses = ql_ptr(op->t[2]),
              .scale = op->alpha};

    if (op->t[3])
        l.gradient = cpu_mat(op->t[3]);
    l.grain = cpu_div_up(CPU_SPAN, l.logits.cols);
    return cpu_run(cx, d, cpu_div_up(l.logits.rows, l.grain), (size_t)l.logits.cols * l.logits.size, loss_rows, &l);
}

/* --- adamw --- */

typedef struct adamw {
    const ql_adamw_spec *spec;
    mat p, g, m, v;
    mat rows, cols;                  /* p NULL: factors of 1 */
    double correction1, correction2; /* 1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t) */
} adamw;

static void
adamw_piece(const adamw *a, int64_t i, int64_t j, int64_t n)
{
    const ql_adamw_spec *s = a->spec;
    double p[PIECE], g[PIECE], m[PIECE], v[PIECE], rate[PIECE], row = s->rate;

    cpu_load_double(a->p.dtype, mat_at(&a->p, i, j), n, p);
    cpu_load_double(a->p.dtype, mat_at(&a->g, i, j), n, g);
    cpu_load_double(a->p.dtype, mat_at(&a->m, i, j), n, m);
    cpu_load_double(a->p.dtype, mat_at(&a->v, i, j), n, v);
    if (a->rows.p) {
        cpu_load_double(a->p.dtype, mat_at(&a->rows, 0, i), 1, &row);
        row *= s->rate;
    }
    for (int64_t k = 0; k < n; k++)
        rate[k] = 1;
    if (a->cols.p)
        cpu_load_double(a->p.dtype, mat_at(&a->cols, 0, j), n, rate);
    for (int64_t k = 0; k < n; k++) {
        const double r = row * rate[k], scaled = s->scale * g[k];

        m[k] = s->beta1 * m[k] + (1 - s->beta1) * scaled;
        v[k] = s->beta2 * v[k] + (1 - s->beta2) * scaled * scaled;
        p[k] = p[k] * (1 - r * s->decay) - r * (m[k] * a->correction1) / (sqrt(v[k]) * a->correction2 + s->eps);
    }
    cpu_store_double(a->p.dtype, p, n, mat_at(&a->p, i, j));
    cpu_store_double(a->p.dtype, m, n, mat_at(&a->m, i, j));
    cpu_store_double(a->p.dtype, v, n, mat_at(&a->v, i, j));
}

static void
adamw_rows(void *arg, int64_t first, int64_t last)
{
    const adamw *a = arg;

    for (int64_t i = first; i < last; i++)
        for (int64_t j = 0; j < a->p.cols; j += PIECE)
            adamw_piece(a, i, j, cpu_min(PIECE, a->p.cols - j));
}

static ql_status
cpu_adamw(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_adamw_spec *s = op->spec;
    adamw a = {.spec = s,
               .p = cpu_mat(op->t[0]),
               .g = cpu_mat(op->t[1]),
               .m = cpu_mat(op->t[2]),
               .v = cpu_mat(op->t[3]),
               .correction1 = 1 / (1 - pow(s->beta1, (double)s->t)),
               .correction2 = 1 / sqrt(1 - pow(s->beta2, (double)s->t))};

    (void)cx;
    if (op->t[4])
        a.rows = cpu_mat(op->t[4]);
    if (op->t[5])
        a.cols = cpu_mat(op->t[5]);
    cpu_rows(dev, a.p.rows, a.p.cols, adamw_rows, &a);
    return QL_OK;
}

const ql_op_row cpu_train_ops[] = {
    QL_OP_ROW(RMSNORM_BACK, cpu_rmsnorm_back),
    QL_OP_ROW(SWIGLU_BACK, cpu_swiglu_back),
    QL_OP_ROW(LOSS, cpu_loss),
    QL_OP_ROW(ADAMW, cpu_adamw),
    QL_OP_ROWS_END,
};
