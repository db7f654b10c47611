/* What a stream saw at the input of a subset of linears, and results of it that its users share. */
#ifndef QLOOM_STATS_H
#define QLOOM_STATS_H

#include <qloom/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ql_memo ql_memo; /* what ql_stats_put keeps; the host's */

/* Sums over the tokens of one calibration stream; x[tokens, n] is what the subset's linears read. Padding never enters. */
typedef struct ql_stats {
    const ql_tensor *h; /* [n, n] f32, symmetric: sum of x^T x (methods: S). Formulas are invariant to H -> cH, c > 0 */
    const ql_tensor *abs_mean; /* [n] f32: mean over tokens of |x_j| */
    const ql_tensor *abs_max;  /* [n] f32: largest per-sequence mean of |x_j| */
    const ql_tensor *diag;     /* [n] f32: what decides column orders and dead columns; NULL: the diagonal of h */
    int64_t tokens, sequences;
    ql_memo *memo; /* NULL: nothing is kept (a projected H, say) */
} ql_stats;

/* Results that depend on the statistics alone are kept with them, so that all who need one share it. A key names the result and whatever
 * else it depends on: "factor", its damping, its order. [one thread per context]
 *
 * What was kept under `key`; NULL: nothing yet. */
QL_API const void *ql_stats_get(const ql_stats *stats, const char *key);
/* Keeps a copy of the `size` bytes at `value` under a copy of `key`, and the `count` tensors (NULL ones are passed over) as long as the
 * statistics. Without a memo nothing is kept, and the tensors live as long as they did. */
QL_API ql_status ql_stats_put(ql_ctx *cx, const ql_stats *stats, const char *key, const void *value, size_t size,
                              const ql_tensor *const *tensors, int count);

#ifdef __cplusplus
}
#endif

#endif
