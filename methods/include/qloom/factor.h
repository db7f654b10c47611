/* The factor of the inverse Hessian that error feedback runs on (docs/methods.md 3.1). In the archive qloom_methods, which plugins link. */
#ifndef QLOOM_FACTOR_H
#define QLOOM_FACTOR_H

#include <qloom/ops.h>
#include <qloom/stats.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Column orders of error feedback (Frantar et al., arXiv:2210.17323; act_group_aware of GPTQModel). */
typedef enum ql_order {
    QL_ORDER_NATURAL, /* as stored */
    QL_ORDER_DESC,    /* by decreasing diag(H), ties by index */
    QL_ORDER_GROUP, /* columns inside a group by decreasing diag(H), groups by their largest; a ragged last group stays last */
} ql_order;

/* How H is damped, ordered and factored. Equal specs on equal stats give the same, shared, factor. */
typedef struct ql_factor_spec {
    double damp;     /* added to the diagonal as damp * mean(diag H over live columns); 0 < damp < 1 */
    double damp_inc; /* added to damp after a failed factorization, while damp < 1 */
    ql_order order;
    int64_t group; /* for QL_ORDER_GROUP */
    bool fp64;     /* factor in double precision */
} ql_factor_spec;

typedef struct ql_factor {
    const ql_tensor *u;    /* [n, n] upper, f32 or f64: (H + lambda I)^-1 = U^T U in processing order; NULL: failed */
    const ql_tensor *perm; /* [n] i32: processing position -> column; NULL: natural */
    const int32_t *order;  /* the same on the host; NULL: natural */
    const ql_tensor *live; /* [n] f32, in stored order: 0 where H_jj == 0 (nothing was seen), else 1; NULL: all live */
    double damp;           /* damp that succeeded */
    double lambda;         /* what was added to the diagonal of H (sums, not means) */
    int64_t dead;          /* number of dead columns */
    int floor_rounds;      /* rescue rounds that were needed (GPTQModel's diagonal floors), 0 normally */
} ql_factor;

/* The upper Cholesky factor of the inverse of the damped, ordered H, by one Cholesky of the reversed matrix and a triangular
 * inverse (docs/methods.md 3.1): never an explicit H^-1. Dead columns get the mean live diagonal before damping. Tries damp,
 * damp + inc, … < 1, then six floor rounds; when all fail, returns OK with u == NULL and the caller decides (plain rounding, say).
 * The factor lives as long as the stats (or the innermost scope when stats->memo is NULL).
 * NUMERIC when H is not finite. [one thread per context] */
ql_status ql_factor_inverse(ql_ctx *cx, const ql_stats *stats, const ql_factor_spec *spec, ql_factor *out);

#ifdef __cplusplus
}
#endif

#endif
