/* Sums and searches over whole tensors, in parts that follow from the shape, and column statistics. */
#include "cpu.h"

#include <math.h>

#define PIECE 256
#define LANES 8

typedef struct reduction {
    mat a, b;
    double parts[CPU_PARTS];
} reduction;

/* First row of part p when `rows` are cut into at most CPU_PARTS nearly equal parts. */
static int64_t
part_start(int64_t rows, int64_t part)
{
    int64_t parts = cpu_min(rows, CPU_PARTS), each = parts ? rows / parts : 0, rest = parts ? rows % parts : 0;

    return part * each + cpu_min(part, rest);
}

static void
dot_part(void *arg, int64_t part, void *scratch)
{
    reduction *r = arg;
    double a[PIECE], b[PIECE], lane[LANES] = {0}, sum = 0;

    (void)scratch;
    for (int64_t i = part_start(r->a.rows, part); i < part_start(r->a.rows, part + 1); i++)
        for (int64_t j = 0; j < r->a.cols; j += PIECE) {
            int64_t n = cpu_min(PIECE, r->a.cols - j);

            cpu_load_double(r->a.dtype, mat_at(&r->a, i, j), n, a);
            cpu_load_double(r->b.dtype, mat_at(&r->b, i, j), n, b);
            for (int64_t l = 0; l < n; l++)
                lane[l % LANES] += a[l] * b[l];
        }
    for (int l = 0; l < LANES; l++)
        sum += lane[l];
    r->parts[part] = sum;
}

static ql_status
cpu_dot(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *a = op->t[0], *b = op->t[1];
    double *out = op->result;
    reduction r = {.a = cpu_mat(a), .b = cpu_mat(b)};
    int64_t parts = cpu_min(r.a.rows, CPU_PARTS);

    QL_TRY(cx, cpu_run(cx, dev, parts, 0, dot_part, &r));
    *out = 0;
    for (int64_t p = 0; p < parts; p++)
        *out += r.parts[p];
    return QL_OK;
}

/* Column of the first element of row `i` that is not finite; -1 when all are. */
static int64_t
row_nonfinite(const mat *m, int64_t i)
{
    double x[PIECE];

    for (int64_t j = 0; j < m->cols; j += PIECE) {
        int64_t n = cpu_min(PIECE, m->cols - j);

        cpu_load_double(m->dtype, mat_at(m, i, j), n, x);
        for (int64_t l = 0; l < n; l++)
            if (!isfinite(x[l]))
                return j + l;
    }
    return -1;
}

static void
nonfinite_part(void *arg, int64_t part, void *scratch)
{
    reduction *r = arg;

    (void)scratch;
    r->parts[part] = -1;
    for (int64_t i = part_start(r->a.rows, part); i < part_start(r->a.rows, part + 1); i++) {
        int64_t j = row_nonfinite(&r->a, i);

        if (j >= 0) {
            r->parts[part] = (double)(i * r->a.cols + j);
            return;
        }
    }
}

ql_status
cpu_nonfinite(ql_ctx *cx, void *dev, const ql_tensor *t, int64_t *first)
{
    reduction r = {.a = cpu_mat(t)};
    int64_t parts = cpu_min(r.a.rows, CPU_PARTS);

    QL_TRY(cx, cpu_run(cx, dev, parts, 0, nonfinite_part, &r));
    *first = -1;
    for (int64_t p = 0; p < parts && *first < 0; p++)
        *first = (int64_t)r.parts[p];
    return QL_OK;
}

static ql_status
cpu_first_nonfinite(ql_ctx *cx, void *dev, const ql_op *op)
{
    return cpu_nonfinite(cx, dev, op->t[0], op->result);
}

typedef struct abs_stats {
    const ql_seqs *seqs;
    mat x, sum, max;
} abs_stats;

/* seq[j] = sum over tokens [first, last) of |x[t, col + j]| */
static void
abs_sums(const mat *x, const int64_t span[2], int64_t col, int64_t cols, double *seq)
{
    double row[PIECE];

    for (int64_t j = 0; j < cols; j++)
        seq[j] = 0;
    for (int64_t t = span[0]; t < span[1]; t++) {
        cpu_load_double(x->dtype, mat_at(x, t, col), cols, row);
        for (int64_t j = 0; j < cols; j++)
            seq[j] += fabs(row[j]);
    }
}

static void
abs_columns(void *arg, int64_t task, void *scratch)
{
    const abs_stats *a = arg;
    int64_t col = task * PIECE, cols = cpu_min(PIECE, a->x.cols - col);
    double sum[PIECE], max[PIECE], seq[PIECE];

    (void)scratch;
    cpu_load_double(a->sum.dtype, mat_at(&a->sum, 0, col), cols, sum);
    cpu_load_double(a->max.dtype, mat_at(&a->max, 0, col), cols, max);
    for (int64_t s = 0; s < a->seqs->count; s++) {
        const int64_t *span = a->seqs->offsets + s;

        if (span[1] == span[0])
            continue;
        abs_sums(&a->x, span, col, cols, seq);
        for (int64_t j = 0; j < cols; j++) {
            sum[j] += seq[j];
            max[j] = fmax(max[j], seq[j] / (double)(span[1] - span[0]));
        }
    }
    cpu_store_double(a->sum.dtype, sum, cols, mat_at(&a->sum, 0, col));
    cpu_store_double(a->max.dtype, max, cols, mat_at(&a->max, 0, col));
}

static ql_status
cpu_abs_stats(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *x = op->t[0], *abs_sum = op->t[1], *abs_max = op->t[2];
    const ql_seqs *seqs = op->seqs;
    abs_stats a = {seqs, cpu_mat(x), cpu_mat(abs_sum), cpu_mat(abs_max)};

    return cpu_run(cx, dev, cpu_div_up(a.x.cols, PIECE), 0, abs_columns, &a);
}

const ql_op_row cpu_reduce_ops[] = {
    QL_OP_ROW(DOT, cpu_dot),
    QL_OP_ROW(NONFINITE, cpu_first_nonfinite),
    QL_OP_ROW(ABS_STATS, cpu_abs_stats),
    QL_OP_ROWS_END,
};
