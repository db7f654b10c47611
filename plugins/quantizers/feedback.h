/* What GPTQ and its descendants share: damping, the numerical status that a factor brings, and plain rounding where feedback can't be
 * had. */
#ifndef QLOOM_QUANTIZERS_FEEDBACK_H
#define QLOOM_QUANTIZERS_FEEDBACK_H

#include <qloom/factor.h>
#include <qloom/quantizer.h>

/* Damping used, dead columns and status of a factor that was asked for with `damp`. */
static inline void
report_factor(const ql_factor *f, double damp, ql_qlinear *out)
{
    out->damp = f->damp;
    out->dead = f->dead;
    out->status = (f->dead ? QL_NUM_DEAD : 0u) | (f->damp > damp ? QL_NUM_DAMP_RAISED : 0u) |
                  (f->floor_rounds ? QL_NUM_FLOORED : 0u);
}

/* Plain rounding of the original weight: what is left when H can't be factored or the feedback overflowed. */
static inline ql_status
round_plainly(ql_ctx *cx, const ql_tensor *w, const char *why, ql_qlinear *out)
{
    ql_warn(cx, "%s: rounded to nearest instead", why);
    out->status |= QL_NUM_ROUNDED;
    out->scales = out->zeros = out->g_idx = NULL;
    out->loss = 0;
    QL_TRY(cx, ql_group_minmax(cx, w, &out->grid, &out->scales, &out->zeros));
    return ql_group_encode(cx, w, out);
}

static inline ql_status
add_to_diagonal(ql_ctx *cx, double value, ql_tensor *x)
{
    ql_tensor *d, *values;

    QL_TRY(cx, ql_diag(cx, x, &d));
    QL_TRY(cx, ql_convert(cx, d, ql_dtype_of(d), &values));
    QL_TRY(cx, ql_fill(cx, values, value));
    QL_TRY(cx, ql_axpby(cx, 1, values, 1, d));
    return ql_diag_set(cx, d, x);
}

/* h += damp mean(diag h) I, the mean over the columns that saw something. */
static inline ql_status
add_damping(ql_ctx *cx, double damp, ql_tensor *h)
{
    double sum = 0, live = 0;
    ql_tensor *d;
    const double *x;

    QL_TRY(cx, ql_diag(cx, h, &d));
    QL_TRY(cx, ql_convert(cx, d, QL_F64, &d));
    QL_TRY(cx, ql_map(cx, d, QL_READ, &x));
    for (int64_t j = 0; j < ql_count(d); j++) {
        sum += x[j];
        live += x[j] != 0;
    }
    QL_TRY(cx, ql_unmap(cx, d));
    return add_to_diagonal(cx, live > 0 ? damp * sum / live : 1, h);
}

#endif
