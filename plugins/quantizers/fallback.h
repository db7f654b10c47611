/* What GPTQ and its descendants share: the numerical status that a factor brings, and plain rounding where feedback can't be had. */
#ifndef QLOOM_QUANTIZERS_FALLBACK_H
#define QLOOM_QUANTIZERS_FALLBACK_H

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

#endif
