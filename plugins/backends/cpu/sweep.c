/* GPTQ's column loop (docs/methods.md 3.2): the entry, and its form in double, which is the plain one, a few rows at a time. */
#include "sweep.h"

#include <math.h>
#include <string.h>

#define ROWS 16 /* of a task in double */

bool
sweep_fitted(sweep_part *part, fit_result f)
{
    const bool overflow = f == FIT_NONFINITE || f == FIT_LARGE;

    part->remarks |= overflow ? 0u : grid_remark(f);
    if (overflow)
        part->loss = (double)NAN;
    return !overflow;
}

/* Scales of the group that begins at column j, from the current values v of a row. */
static void
refit(const sweep *s, int64_t row, int64_t j, const double *v, sweep_part *part)
{
    const int64_t group = j / s->grid.group;
    double *scale = mat_at(&s->scales, row, group), *zero = mat_at(&s->zeros, row, group);
    const fit_result f = grid_double.fit(&s->grid, v + j, cpu_min(s->grid.group, s->w.cols - j), scale, zero);

    if (!sweep_fitted(part, f)) {
        *scale = 1;
        *zero = 0;
    }
}

/* Column j of one row: its code, and its error into the columns after it. */
static void
column(const sweep *s, int64_t row, int64_t j, double *v, sweep_part *part)
{
    const int64_t group = sweep_group(s, j);
    const double *u = mat_at(&s->u, j, 0), *scale = mat_at(&s->scales, row, group),
                 *zero = mat_at(&s->zeros, row, group);
    uint8_t *code = mat_at(&s->codes, row, j);
    double decoded, e;

    grid_double.encode(&s->grid, v + j, 1, scale, zero, code);
    grid_double.decode(code, 1, scale, zero, &decoded);
    e = (v[j] - decoded) / u[j];
    part->loss += e * e;
    for (int64_t l = j + 1; l < s->w.cols; l++)
        v[l] -= e * u[l];
}

static void
rows_task(void *arg, int64_t task, void *scratch)
{
    const sweep *s = arg;
    const int64_t n = s->w.cols, first = task * ROWS, rows = cpu_min(ROWS, s->w.rows - first);
    double *v = scratch;

    s->parts[task] = (sweep_part){0};
    for (int64_t r = 0; r < rows; r++)
        memcpy(v + r * n, mat_at(&s->w, first + r, 0), (size_t)n * sizeof *v);
    for (int64_t j = 0; j < n; j++)
        for (int64_t r = 0; r < rows; r++) {
            if (s->fit && j % s->grid.group == 0)
                refit(s, first + r, j, v + r * n, &s->parts[task]);
            column(s, first + r, j, v + r * n, &s->parts[task]);
        }
}

ql_status
sweep_double(ql_ctx *cx, cpu *d, sweep *s)
{
    s->tasks = cpu_div_up(s->w.rows, ROWS);
    QL_TRY(cx, ql_scratch(cx, (size_t)s->tasks * sizeof *s->parts, &s->parts));
    return cpu_run(cx, d, s->tasks, ROWS * (size_t)s->w.cols * sizeof(double), rows_task, s);
}

/* The sum over tasks, in order, and what they remark. */
static void
collect(ql_ctx *cx, const sweep *s, double *loss)
{
    *loss = 0;
    for (const sweep_part *p = s->parts; p < s->parts + s->tasks; p++) {
        ql_remark(cx, p->remarks);
        *loss += p->loss / 2;
    }
    if (!isfinite(*loss))
        *loss = (double)NAN;
}

static ql_status
check_groups(ql_ctx *cx, const sweep *s)
{
    for (int64_t j = 0; s->group_of && j < s->w.cols; j++)
        if (s->group_of[j] < 0 || s->group_of[j] >= s->scales.cols)
            return QL_FAIL(cx, QL_INVALID, "group %d of column %lld is outside 0 .. %lld", (int)s->group_of[j],
                           (long long)j, (long long)s->scales.cols - 1);
    return QL_OK;
}

/* Of all workers together; what each has to itself is a few tiles. */
static size_t
sweep_scratch(void *dev, const ql_op *op)
{
    const size_t n = (size_t)ql_dim(op->t[0], 1);

    (void)dev;
    return op->grid->fp64 ? 0 : (n / 2 + 8) * n * sizeof(float);
}

static ql_status
cpu_feedback_sweep(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *group_of = op->t[5];
    sweep s = {.d = dev,
               .grid = *op->grid,
               .w = cpu_mat(op->t[0]),
               .u = cpu_mat(op->t[1]),
               .scales = cpu_mat(op->t[2]),
               .zeros = cpu_mat(op->t[3]),
               .codes = cpu_mat(op->t[4]),
               .group_of = group_of ? ql_ptr(group_of) : NULL,
               .fit = op->code == QL_OP_SWEEP_FIT};

    QL_TRY(cx, check_groups(cx, &s));
    QL_TRY(cx, op->grid->fp64 ? sweep_double(cx, dev, &s) : sweep_float(cx, dev, &s));
    collect(cx, &s, op->result);
    return QL_OK;
}

const ql_op_row cpu_sweep_ops[] = {
    {QL_OP_SWEEP_FIT, cpu_feedback_sweep, sweep_scratch, NULL},
    {QL_OP_SWEEP_GIVEN, cpu_feedback_sweep, sweep_scratch, NULL},
    QL_OP_ROWS_END,
};
