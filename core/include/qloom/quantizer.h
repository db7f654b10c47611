/* Quantizers: a weight (and what its inputs looked like) to codes. All that a quantizer includes. */
#ifndef QLOOM_QUANTIZER_H
#define QLOOM_QUANTIZER_H

#include <qloom/ops.h>
#include <qloom/plugin.h>
#include <qloom/stats.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bits of `needs`, read by the planner. */
enum {
    QL_NEEDS_STATS = 1, /* H, token counts and column means of the subset's input */
    QL_RAW_DTYPE = 2,   /* W in the file's dtype instead of f32 */
};

/* Bits of `yields`. */
enum {
    QL_YIELDS_ADAPTER = 1, /* fills out->b and out->a; the host rounds both to `adapter_dtype` */
    QL_KEEPS_WEIGHT = 4,   /* leaves `out` empty: the weight stays as it is */
    QL_EXPECTS_ADAPTER =
        2, /* counts on a compensator's adapter of at least its parameter `rank`; a cell without gets a footnote */
};

/* What a method will make of a linear, known from its parameters before anything runs. */
typedef struct ql_described {
    ql_grid grid; /* of a quantizer; a field that is 0 is not known */
    int rank;     /* of the adapter that it yields, or that it counts on; 0: none; -1: it decides by itself */
    const char
        *best_in; /* of a compensator: the norm in which its adapter is the best of its rank ("layer output"). Two that
                          * say the same, with one rank, dtype, quantizer and statistics, are one by construction. NULL: none */
} ql_described;

typedef struct ql_quantizer {
    size_t size; /* of this table: QL_TABLE sets it */
    unsigned needs, yields;
    /* Quantizes w[out, in]. `stats` is NULL exactly when QL_NEEDS_STATS is not set. `out` arrives empty; on QL_OK the host adopts
     * its tensors and checks them for finiteness. Same arguments, same bits. [any thread] */
    ql_status (*quantize)(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out);
    /* Optional: `out` for a weight with `in` columns. Exporters' checks, remarks and plans read it. It arrives as "not known": zeros,
     * rank -1. [any thread] */
    void (*describe)(const void *self, int64_t in, ql_described *out);
} ql_quantizer;

/* A quantizer stage as a handle, for those that drive one (a compensator that couples, a quantizer with a `base:`). */
typedef struct ql_stage ql_stage;

/* Runs the quantizer `q` on w. stats NULL: those of the visited stream; then an unchanged w (the pointer the caller was given)
 * returns the stage's own result, computed once. A changed w is computed anew and not memoised. [one thread per context] */
QL_API ql_status ql_quantize(ql_ctx *cx, const ql_stage *q, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out);

/* The quantizer at the `base` port of the stage that runs; NULL: it has none. What both plugins call by the same name (bits,
 * group_size, damp, …) it takes from the stage that drives it. [one thread per context] */
QL_API const ql_stage *ql_base(const ql_ctx *cx);

/* The linear that is being worked on ("model.layers.3.mlp.down_proj"), for texts; "" outside a block. */
QL_API const char *ql_linear_name(const ql_ctx *cx);

/* Rows that mean the same in every quantizer; a plugin may give its own default. Field names are fixed. */
#define QL_BITS(S, d) QL_NUM(S, bits, d, 2, 8, "bits per weight")
#define QL_GROUP_SIZE(S, d)               \
    QL_NUM(S, group_size, d, -1, 1 << 20, \
           "weights per scale along a row; -1: the whole row; the last group may be shorter")
#define QL_SYM(S, d) QL_FLAG(S, sym, d, "symmetric grid: the zero point is fixed at the middle code")
#define QL_MSE(S) QL_NUM(S, mse, 0, 0, 8, "exponent of the search for a smaller range; 0: off, typical 2.4")
#define QL_SCALE_DTYPE(S) \
    QL_ENUM(S, scale_dtype, 0, ql_scale_dtypes, "scales are rounded to it before anything uses them")
#define QL_DAMP(S, d) QL_NUM(S, damp, d, 1e-6, 0.999, "damping, as a fraction of the mean diagonal of H")

static const char *const ql_scale_dtypes[] = {"fp16", "bf16", "fp32", NULL};

/* The dtype that index `i` of a scale_dtype or adapter_dtype field means. */
static inline ql_dtype
ql_float_dtype(int i)
{
    return i == 0 ? QL_F16 : i == 1 ? QL_BF16 : QL_F32;
}

/* Columns a group of a weight with `in` columns: group_size, or all when it is -1 or larger. */
static inline int64_t
ql_group_columns(int group_size, int64_t in)
{
    return group_size < 1 || group_size > in ? in : group_size;
}

#ifdef __cplusplus
}
#endif

#endif
