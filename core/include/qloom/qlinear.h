/* A quantized linear: codes, scales, zeros, how they decode, and how the numerics went. */
#ifndef QLOOM_QLINEAR_H
#define QLOOM_QLINEAR_H

#include <qloom/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A grid of 2^bits codes per group of `group` consecutive columns of a row (docs/methods.md 2.1). */
typedef struct ql_grid {
    int bits;             /* 2 .. 8; codes are 0 .. 2^bits - 1 */
    int64_t group;        /* columns a group, >= 1; the last group of a row may be shorter */
    bool sym;             /* zero = 2^(bits - 1), range [-max|w|, max|w|] */
    double mse;           /* exponent of the range search over 80 shrink factors; 0: off */
    ql_dtype scale_dtype; /* scales are rounded to it before zeros and codes are computed: QL_F16, QL_BF16, QL_F32 */
    bool fp64;            /* arithmetic in double (tests, small layers) */
    bool exponents;       /* scales are powers of two: 8 bits hold one */
    bool free_zeros;      /* zeros are reals, which take as many bits as scales, not codes */
} ql_grid;

/* How the numerics of one linear ended: bits, so that several can hold. 0: nothing to report. */
enum {
    QL_NUM_DAMP_RAISED = 1, /* the factorization needed more damping than asked for */
    QL_NUM_FLOORED = 2,     /* it needed a floor under the diagonal */
    QL_NUM_ROUNDED = 4,     /* no factorization succeeded, or feedback overflowed: plain rounding instead */
    QL_NUM_DEAD = 8,        /* some input columns never saw a value; their weights are 0 */
    QL_NUM_ZERO = 16,       /* the whole weight is zero */
    QL_NUM_DEFICIENT = 32,  /* H can't have full rank: fewer tokens than columns (the host's finding) */
    QL_NUM_TINY = 64,       /* groups whose scale scale_dtype rounds to 0: stored as zeros */
    QL_NUM_CLIPPED = 128,   /* groups whose scale is beyond scale_dtype: the largest one clips them */
    QL_NUM_COUNT = 8,       /* number of bits */
};

/* Adds QL_NUM_* to how the linear at work ended, for an operation that has no status of its own to say it in. [one thread per context] */
QL_API void ql_remark(ql_ctx *cx, unsigned statuses);

/* Decodes as W^[o, i] = scales[o, g(i)] * (codes[o, i] - zeros[o, g(i)]), g(i) = g_idx ? g_idx[i] : i / group; with a table
 * `levels`, scales[o, g(i)] * levels[codes[o, i]]. */
typedef struct ql_qlinear {
    ql_grid grid;
    ql_tensor *codes;  /* [out, in] u8 */
    ql_tensor *scales; /* [out, G] f32 holding values of grid.scale_dtype (f64 with grid.fp64), G = ceil(in / group) */
    ql_tensor *zeros;  /* [out, G] f32: integers, or reals of a method that encodes by itself; NULL with `levels` */
    ql_tensor *g_idx;  /* [in] i32; NULL: i / group */
    ql_tensor *levels; /* [2^bits] f32; NULL: uniform */
    ql_tensor *b, *a;  /* an adapter that the quantizer itself yields, B [out, r] and A [r, in]; both or neither */
    unsigned status;   /* QL_NUM_* */
    double damp;       /* damping used; 0 when none was */
    double loss;  /* damped squared output error of the feedback sweep, in the scaling of H as given; 0 when none ran */
    int64_t dead; /* dead input columns */
} ql_qlinear;

#ifdef __cplusplus
}
#endif

#endif
