/* Python's random.Random, by which published procedures draw. [one thread per generator] */
#ifndef QLOOM_MT19937_H
#define QLOOM_MT19937_H

#include <qloom/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ql_mt19937 {
    uint32_t state[624];
    int next;
} ql_mt19937;

QL_API void ql_mt19937_seed(ql_mt19937 *g, uint64_t seed);                    /* random.seed(seed) */
QL_API uint64_t ql_mt19937_bits(ql_mt19937 *g, int bits);                     /* getrandbits, 0 to 64 */
QL_API int64_t ql_mt19937_below(ql_mt19937 *g, int64_t n);                    /* 0 to n - 1; n > 0 */
QL_API int64_t ql_mt19937_between(ql_mt19937 *g, int64_t low, int64_t high);  /* randint: both ends included */
QL_API void ql_mt19937_shuffle(ql_mt19937 *g, int64_t *items, int64_t count); /* random.shuffle */
/* random.sample(range(n), count) */
QL_API ql_status ql_mt19937_sample(ql_ctx *cx, ql_mt19937 *g, int64_t n, int64_t count, int64_t *out);
/* The order of epoch `epoch` of `n` items as the public trainer draws it: the generator of seed + epoch, which is then no
 * Python's; out[n]. */
QL_API void ql_mt19937_epoch(uint64_t seed, int64_t epoch, int64_t n, int64_t *out);

#ifdef __cplusplus
}
#endif

#endif
