/* What a variant, a stream and a stage have while a walk is under way. */
#ifndef QLOOM_WALK_STATE_H
#define QLOOM_WALK_STATE_H

#include <qloom/exporter.h>

#include "device/device.h"
#include "export/export.h"
#include "results/results.h"
#include "store/store.h"
#include "spill.h"

/* Sums of one stream at one subset of the block at hand; shared by streams that are still equal there. */
typedef struct ql_gathered {
    int refs;
    ql_tensor *sum, *comp, *abs_sum, *abs_mean, *abs_max;
    ql_stats stats;
} ql_gathered;

/* Numbers of one chunk that wait for their turn: hidden states at the border of two blocks, which streams that are equal there share, or
 * inputs and products of linears inside a block. */
typedef struct ql_hidden {
    int refs;
    ql_tensor *t; /* on the device; NULL: it waits elsewhere */
    ql_device *device;
    void *host;      /* in pinned memory of the device's host; NULL: not there */
    ql_spill *spill; /* in this file; NULL: not there */
    int64_t at;      /* its place in the file */
    size_t bytes;    /* of what is there, with: */
    ql_dtype dtype;
    int64_t rows, cols;
} ql_hidden;

/* What a variant's stage made of one linear of the block at hand. */
typedef struct ql_linear_state {
    bool skipped;         /* by an override: as in the parent */
    ql_qlinear q;         /* a quantizer's, or that of a compensator which couples; no codes: as in the parent */
    ql_tensor *b, *a;     /* a compensator's, rounded */
    unsigned status, own; /* QL_NUM_* of the linear as it stands; of this stage alone */
    int k;
    ql_tensor *w_hat; /* decoded, f32; made on demand, dropped with its family of variants */
} ql_linear_state;

/* What a linear's state looks like: what of it a rehearsal remembers from pass to pass. */
#define QL_LINEAR_TENSORS 10
typedef struct ql_outline {
    ql_linear_state state; /* its tensors are gone */
    struct {
        ql_dtype dtype; /* QL_DTYPE_NONE: there is none */
        int64_t rows, cols;
    } tensors[QL_LINEAR_TENSORS];
} ql_outline;

/* What chunks of a stream have left for their evaluator, one behind the other; on the heap. */
typedef struct ql_leavings {
    char *data;
    int64_t bytes, capacity;
} ql_leavings;

typedef struct ql_tally { /* what a stage's work came to; kept in the store as it is */
    ql_cost cost;
    int64_t linears, statuses[QL_NUM_COUNT]; /* linears that it did; those with bit i of QL_NUM_* */
    double bits, weights; /* what the model that ends in it stores of its linears, and their weights */
} ql_tally;

typedef struct ql_curve_row { /* a number of a series; kept in the store as it is */
    char name[16];            /* zeros behind it */
    int64_t step;
    double value;
} ql_curve_row;

typedef struct ql_curve { /* what a trainer saw, in the order in which it did; on the heap */
    int64_t count, capacity;
    ql_curve_row *rows;
} ql_curve;

typedef struct ql_train_sums { /* of a trainer that has ended; kept in the store as they are */
    double moved; /* |BA - B'A'| / |B'A'| against the start, Frobenius, all linears together; NaN: the start is zero */
    int64_t updates, tokens, fresh; /* fresh: linears whose adapter began at zero */
} ql_train_sums;

typedef struct ql_run_phase { /* of a walk: the pass that makes variants, or one after it */
    double seconds;
    size_t memory; /* bytes of the device's at most */
} ql_run_phase;

/* What walks took: of the model that took most, but for seconds, which are those of all. */
typedef struct ql_run_work {
    int64_t chunks, chunk_tokens; /* of evaluation, and tokens of the longest; what lanes are made of */
    int64_t passes;
    int64_t spilled; /* bytes of the file in which hidden states waited */
    size_t resident; /* of a rehearsal: bytes of the process in memory during it, where no tensor is */
    ql_run_phase first, further;
} ql_run_work;

#endif
