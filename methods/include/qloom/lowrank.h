/* The primitive behind every low-rank method: the best rank-r approximation in the norm of H, without root, inverse or solve
 * (docs/methods.md 4). In the archive qloom_methods, which plugins link. */
#ifndef QLOOM_LOWRANK_H
#define QLOOM_LOWRANK_H

#include <qloom/ops.h>
#include <qloom/stats.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ql_lowrank_spec {
    const ql_tensor *h; /* [n, n] dense, [n] a diagonal, NULL: the identity; f32 */
    int64_t rank;       /* clamped to min(m, n) */
    int iterations; /* of the randomized path; 0: enough to leave at most 1e-3 more than the best, even of white noise */
    bool exact;     /* the dense eigenproblem in double, whatever the size */
    bool total;     /* is out->total needed? (dense H: one more product) */
} ql_lowrank_spec;

/* C = U V is the minimiser of tr((E - C) H (E - C)^T) over rank(C) <= r. Directions without energy are zero in U and V. */
typedef struct ql_lowrank_result {
    ql_tensor *u;       /* [m, r] f32: top eigenvectors of E H E^T, orthonormal, by falling energy */
    ql_tensor *v;       /* [r, n] f32: U^T E */
    int64_t rank;       /* r after clamping */
    const double *sig2; /* [r], host: energies, eigenvalues of E H E^T */
    double total;       /* tr(E H E^T); the tail energy is total - sum of sig2. 0 unless asked for */
} ql_lowrank_result;

/* E [m, n] f32. Small m, or a sketch as wide as the matrix: exact, in double; else the best in a block Krylov space, orthonormalised
 * block by block. Reproducible; results live in the innermost scope. [one thread per context] */
ql_status ql_lowrank(ql_ctx *cx, const ql_tensor *e, const ql_lowrank_spec *spec, ql_lowrank_result *out);

/* Splits C = U V evenly, component by component (docs/methods.md 4.3): b = U D, a = D^-1 V, d_i = sqrt(|V_i|). New tensors. */
ql_status ql_balance(ql_ctx *cx, const ql_tensor *u, const ql_tensor *v, ql_tensor **b, ql_tensor **a);

/* The adapter that reconstructs W - W^ best in spec's norm, balanced: b [out, r], a [r, in]. */
ql_status ql_reconstruct(ql_ctx *cx, const ql_tensor *w, const ql_tensor *what, const ql_lowrank_spec *spec,
                         ql_tensor **b, ql_tensor **a);

/* W - W^ [out, in] f32 of a weight and what a quantizer made of it, in whatever precision. */
ql_status ql_residual(ql_ctx *cx, const ql_tensor *w, const ql_qlinear *q, ql_tensor **e);

/* H of a norm by its name in the papers (docs/methods.md 6), from statistics: EXACT the sum of x^T x, APPROX its diagonal, LQER the
 * squares of the mean |x_j| (at least 1e-4), IDENTITY nothing (*h = NULL). */
typedef enum ql_scaling { QL_SCALING_EXACT, QL_SCALING_APPROX, QL_SCALING_LQER, QL_SCALING_IDENTITY } ql_scaling;
ql_status ql_scaling_norm(ql_ctx *cx, const ql_stats *stats, ql_scaling scaling, const ql_tensor **h);

#ifdef __cplusplus
}
#endif

#endif
