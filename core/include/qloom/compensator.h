/* Compensators: a low-rank adapter B A for what a quantizer lost. All that a compensator includes. */
#ifndef QLOOM_COMPENSATOR_H
#define QLOOM_COMPENSATOR_H

#include <qloom/quantizer.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ql_compensate_in {
    const ql_tensor *w;        /* [out, in] f32: the original weight */
    const ql_tensor *what;     /* [out, in] f32: W^ of the quantizer upstream, without any adapter */
    const ql_stats *stats;     /* of the stream that `propagate:` names; NULL when not needed */
    const ql_stage *quantizer; /* the quantizer upstream, for ql_quantize */
} ql_compensate_in;

typedef struct ql_adapter {
    ql_tensor *b, *a;   /* B [out, r], A [r, in]; both NULL: no adapter */
    unsigned status;    /* QL_NUM_* */
    int k;              /* rank spent before quantization; -1 when the method has no such number */
    ql_qlinear qlinear; /* a compensator that couples: the quantized linear that replaces the one upstream */
} ql_adapter;

typedef struct ql_compensator {
    size_t size;                            /* of this table: QL_TABLE sets it */
    unsigned needs;                         /* QL_NEEDS_STATS */
    unsigned (*needs_of)(const void *self); /* the same where parameters decide; NULL: `needs` */
    bool couples; /* calls the quantizer with a changed weight and returns a new quantized linear */
    /* NULL: the identity (`none`). Else fills `out`, which arrives empty with k = -1; the host rounds B and A to adapter_dtype and
     * adopts them. [any thread] */
    ql_status (*compensate)(ql_ctx *cx, const void *self, const ql_compensate_in *in, ql_adapter *out);
    /* Optional: as in a quantizer; the grid is that of the quantizer, and stays as it is. [any thread] */
    void (*describe)(const void *self, int64_t in, ql_described *out);
} ql_compensator;

#define QL_RANK(S, d) QL_NUM(S, rank, d, 0, 1 << 16, "rank of the adapter; 0: none")
#define QL_ADAPTER_DTYPE(S) \
    QL_ENUM(S, adapter_dtype, 0, ql_scale_dtypes, "adapters are rounded to it before anything uses them")

#ifdef __cplusplus
}
#endif

#endif
