/* GPTQ's column loop (methods-projq 2.3) over panels of rows: rows are independent of each other, so a task runs the whole
 * recursion of its panel. */
#include "grid.h"

#include <math.h>

#define PANEL 16

static void
sweep_task(void *arg, int64_t task, void *scratch)
{
    const sweep *s = arg;

    grid_choose(&s->grid)->sweep(s, task * PANEL, cpu_min((task + 1) * PANEL, s->w.rows), scratch, &s->parts[task]);
}

/* The sum over tasks, in order; the first refused scale is the error. */
static ql_status
collect(ql_ctx *cx, const sweep *s, int64_t tasks, double *loss)
{
    *loss = 0;
    for (const sweep_part *p = s->parts; p < s->parts + tasks; p++) {
        if (p->fit != FIT_OK)
            return grid_fail(cx, &s->grid, p->fit, (const int64_t[]){p->row, p->group}, p->scale);
        *loss += p->loss / 2;
    }
    if (!isfinite(*loss))
        *loss = (double)NAN;
    return QL_OK;
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

ql_status
cpu_feedback_sweep(ql_ctx *cx, void *dev, const ql_tensor *w, const ql_tensor *u, const ql_tensor *group_of, bool fit,
                   ql_qlinear *out)
{
    sweep s = {.d = dev,
               .grid = out->grid,
               .w = cpu_mat(w),
               .u = cpu_mat(u),
               .codes = cpu_mat(out->codes),
               .scales = cpu_mat(out->scales),
               .zeros = cpu_mat(out->zeros),
               .group_of = group_of ? ql_ptr(group_of) : NULL,
               .fit = fit};
    int64_t tasks = cpu_div_up(s.w.rows, PANEL);

    QL_TRY(cx, check_groups(cx, &s));
    QL_TRY(cx, cpu_shared(cx, dev, (size_t)tasks * sizeof *s.parts, &s.parts));
    QL_TRY(cx, cpu_run(cx, dev, tasks, PANEL * (size_t)s.w.cols * s.w.size, sweep_task, &s));
    return collect(cx, &s, tasks, &out->loss);
}
