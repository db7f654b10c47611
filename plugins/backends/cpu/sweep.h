/* The feedback sweep: what its two forms share. Rows are independent of each other, so a task runs the whole recursion of a panel of
 * rows. */
#ifndef QLOOM_CPU_SWEEP_H
#define QLOOM_CPU_SWEEP_H

#include "grid.h"

/* What a task leaves. */
typedef struct sweep_part {
    double loss;      /* sum Err^2; NaN when the feedback overflowed */
    unsigned remarks; /* QL_NUM_* of its groups */
} sweep_part;

typedef struct sweep {
    const cpu *d;
    ql_grid grid;
    mat w, u, codes, scales, zeros;
    const int32_t *group_of; /* NULL: column / group */
    bool fit;
    int64_t tasks;
    sweep_part *parts; /* [tasks], in the shared scratch */
} sweep;

static inline int64_t
sweep_group(const sweep *s, int64_t column)
{
    return s->group_of ? s->group_of[column] : column / s->grid.group;
}

/* Notes how a group was fitted. False when it can't be used because the feedback overflowed: that is no error, for the caller of the
 * whole sweep has another way. */
bool sweep_fitted(sweep_part *part, fit_result f);

ql_status sweep_double(ql_ctx *cx, cpu *d, sweep *s);
ql_status sweep_float(ql_ctx *cx, cpu *d, sweep *s);

#endif
