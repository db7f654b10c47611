/* Trainers: the rule by which adapters over a frozen model learn. The host orders sequences, goes forward and backward, clips gradients,
 * keeps checkpoints and measures; the plugin says how long, how fast, and what an update is. All that a trainer includes. */
#ifndef QLOOM_TRAINER_H
#define QLOOM_TRAINER_H

#include <qloom/evaluator.h>
#include <qloom/quantizer.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QL_TRAINER_STATES 4 /* the most tensors that a trainer keeps for a parameter */

typedef struct ql_train_info {  /* what there is to train on */
    int64_t sequences, targets; /* of the data, an epoch; targets: tokens that are predicted */
} ql_train_info;

typedef struct ql_course {  /* what the host is to do; arrives zeroed */
    int64_t updates, batch; /* sequences an update; the last one of an epoch may have fewer */
    bool in_order;  /* every epoch takes sequences as the data has them; else as a permutation drawn from `seed` */
    uint64_t seed;  /* of permutations, dropout and fresh adapters */
    bool fp64;      /* everything in double, for tests */
    int rank;       /* of a fresh adapter, where a linear has none; 0: such linears stay without */
    double alpha;   /* y = x w^T + (alpha / r) (x A^T) B^T; 0: the rank */
    double dropout; /* of the adapter's input */
    double clip;    /* most that the norm of all gradients together may be; 0: no limit */
    bool scale_gradients;    /* factors multiply gradients, before the clip; else `update` gets them */
    int64_t eval_every;      /* updates between two looks at the `eval` data; 0: at the start and the end alone */
    double checkpoint_every; /* seconds between two checkpoints */
    ql_strings targets;      /* names of the linears that are trained, or their ends: "q_proj"; none: all */
} ql_course;

/* One parameter, A [r, in] or B [out, r] of a linear's adapter, at one update. */
typedef struct ql_train_param {
    ql_tensor *p;                        /* f32 (f64 with fp64), as all here */
    const ql_tensor *g;                  /* its gradient, clipped; of its shape */
    ql_tensor *state[QL_TRAINER_STATES]; /* of its shape, zero before the first update */
    const ql_tensor *rows, *cols;        /* factors of the rate: of A's rows [r], of B's columns [r]; NULL: all 1 */
    int64_t update, updates;             /* from 0; in all */
    double rate;                         /* as `rate` says */
} ql_train_param;

typedef struct ql_trainer {
    size_t size;       /* of this table: QL_TABLE sets it */
    int state_tensors; /* that it keeps for a parameter, at most QL_TRAINER_STATES */
    /* Before the first update. INVALID says what can't be. */
    ql_status (*begin)(ql_ctx *cx, const void *self, const ql_train_info *info, ql_course *out);
    double (*rate)(const void *self, int64_t update, int64_t updates);
    /* Optional: factors [r] of the components of an adapter (row i of A, column i of B) as it arrives, all 1 before; `k`: how many come
     * first that were chosen before quantization (ql_adapter.k), -1 where the method has no such number. */
    ql_status (*factors)(ql_ctx *cx, const void *self, const ql_tensor *b, const ql_tensor *a, int k, double *out);
    ql_status (*update)(ql_ctx *cx, const void *self, const ql_train_param *at);
    /* Optional: as in a compensator; the rank is that of a fresh adapter. */
    void (*describe)(const void *self, int64_t in, ql_described *out);
} ql_trainer;

/* Rows that mean the same in every trainer. Field names are fixed. */
#define QL_EVAL_EVERY(S)                                                                                \
    {                                                                                                   \
        .name = "eval_every", .help = "updates between two looks at the eval data; 0: ten looks a run", \
        .offset = offsetof(S, eval_every), .max = 1 << 30, .aside = true,                               \
        .type = _Generic(((S *)0)->eval_every, int                                                      \
                         : QL_T_INT)                                                                    \
    }
#define QL_CHECKPOINT_EVERY(S)                                                                        \
    {                                                                                                 \
        .name = "checkpoint_every", .help = "minutes between two checkpoints", .def = 10, .max = 1e6, \
        .offset = offsetof(S, checkpoint_every), .aside = true,                                       \
        .type = _Generic(((S *)0)->checkpoint_every, double                                           \
                         : QL_T_REAL)                                                                 \
    }

#ifdef __cplusplus
}
#endif

#endif
