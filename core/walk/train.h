/* Training from the inside: adapters of a model whose blocks stay on the device, frozen. Shared by the files train*.c. */
#ifndef QLOOM_WALK_TRAIN_H
#define QLOOM_WALK_TRAIN_H

#include <qloom/trainer.h>

#include "walk.h"

enum { QL_TUNED_A, QL_TUNED_B, QL_TUNED };

typedef struct ql_tuned { /* the adapter of a linear; rank 0: none */
    int64_t rank;
    int k;               /* of the compensator, -1 */
    bool trained, fresh; /* fresh: no stage before left it */
    double scale;        /* what multiplies B A while it is trained */
    ql_tensor *p[QL_TUNED], *g[QL_TUNED],
        *state[QL_TUNED][QL_TRAINER_STATES]; /* f32 or f64; g, state: of trained ones */
    ql_tensor *used[QL_TUNED];               /* A and scale B, in the compute dtype */
    ql_tensor *factors;                      /* [rank]; NULL: all 1 */
} ql_tuned;

typedef struct ql_frozen { /* the weight of a linear below its adapter */
    ql_qlinear q;          /* its codes; none: */
    const ql_tensor *w;    /* in the compute dtype */
    ql_tensor *held;       /* w, where it is not the block's own; else NULL */
} ql_frozen;

/* Activations of one chunk inside one block, as the backward reads them; all of `scope`. */
typedef struct ql_inner {
    ql_scope scope;
    bool made;
    ql_tensor **h;               /* [subsets + 2]: the residual stream before step k */
    ql_tensor **x;               /* [subsets] */
    ql_tensor ***y, **u;         /* [subsets][…] outputs of a subset's linears; [linears]: inputs of B */
    ql_tensor *(*kept)[QL_KEPT]; /* [subsets + 1]: what steps keep */
} ql_inner;

typedef struct ql_batch { /* the sequences of an update, or of evaluation */
    ql_corpus corpus;
    const int32_t *targets; /* [tokens]: what comes after each token; -1: not scored */
    int64_t count;          /* of targets that are scored */
} ql_batch;

typedef struct ql_training {
    ql_walk *w;
    ql_variant *v;
    const ql_trainer *rule;
    const void *self;
    ql_course course;
    ql_dtype compute, sum; /* of activations; of gradients, parameters and sums */
    int64_t layers;
    int linears, subsets;
    ql_block **blocks; /* [layers] */
    ql_frozen *frozen; /* [layers × linears] */
    ql_tuned *tuned;   /* [layers × linears] */
    ql_ends ends;
    const ql_tokens *data, *eval; /* eval NULL: none */
    int64_t *order, epoch;        /* of sequences in that epoch; -1: none yet */
    int64_t lowest;               /* block with something to train, from below */
    int64_t update;               /* done so far */
    int64_t keep_from;            /* blocks from here on keep their inner activations between forward and backward */
    bool dropping;                /* dropout is on */
    int64_t saved;                /* checkpoints, which says the slot of the next */
    double seconds;               /* when the last checkpoint was written, or training began in this process */
    double busy, looking;         /* seconds of updates since then; of the last look at the eval data */
    int64_t tokens;               /* since then */
    double loss;                  /* of the last update */
    FILE *lines;                  /* of a line an update; NULL: none */
} ql_training;

static inline ql_tuned *
ql_tuned_at(const ql_training *t, int64_t layer, int l)
{
    return &t->tuned[layer * t->linears + l];
}

/* --- train_open.c: the frozen model, its adapters, and what there is to train on --- */
/* The tokens, which live as long as the walk: other trainers may have the same. */
ql_status ql_train_inputs(ql_training *t);
ql_status ql_train_open(ql_training *t);
void ql_train_close(ql_training *t);
/* The adapter that the stages before leave linear l of the block at hand; NULL: none. */
void ql_train_start(const ql_training *t, int64_t l, const ql_tensor **b, const ql_tensor **a);
/* A and scale B in `adapter_dtype`, in the innermost scope. */
ql_status ql_train_rounded(ql_training *t, const ql_tuned *a, ql_tensor *out[QL_TUNED]);
/* What multiplies in training, from the masters as they stand. */
ql_status ql_train_refresh(ql_training *t, ql_tuned *a);

/* --- train_data.c --- */
/* Sequences of update `update`, in the innermost scope; of all `tokens` for evaluation. */
ql_status ql_train_batch(ql_training *t, int64_t update, ql_batch *out);
ql_status ql_train_all(ql_training *t, const ql_tokens *tokens, ql_batch *out);
/* Updates of an epoch. */
int64_t ql_train_epoch(const ql_training *t);

/* --- train.c --- */
/* Begins to guard what a call of the trainer is lent. */
ql_status ql_train_guard(ql_training *t, ql_guard *out);

/* --- train_block.c: one chunk through one block --- */
/* What multiplies in block `layer`, decoded, in the innermost scope. */
ql_status ql_train_weights(ql_training *t, int64_t layer, const ql_tensor ***out);
/* From `h` before the block to in->h[subsets + 1] behind it. `first`: number of the chunk's first token in the update. */
ql_status ql_train_forward(ql_training *t, int64_t layer, const ql_tensor *const *weights, const ql_span *span,
                           const ql_tensor *h, ql_inner *in);
/* `dh` [T, hidden], the gradient behind the block, becomes that before it; gradients of adapters are added up. */
ql_status ql_train_backward(ql_training *t, int64_t layer, const ql_tensor *const *weights, const ql_span *span,
                            const ql_inner *in, ql_tensor *dh);
void ql_inner_close(ql_ctx *cx, ql_inner *in);

/* --- train_pass.c: all blocks --- */
/* Loss of the batch, a sum over its targets; with `gradients` those of all parameters, of the mean. */
ql_status ql_train_pass(ql_training *t, const ql_batch *batch, bool gradients, double *loss);

/* --- train_keep.c: checkpoints --- */
#define QL_SERIES_FILE "series.jsonl"
/* A line of JSON of the update, for programs that watch. */
ql_status ql_train_line(ql_training *t, double loss, double norm, double rate);
ql_status ql_train_save(ql_training *t);
/* Goes on from the newest checkpoint that is whole. */
ql_status ql_train_resume(ql_training *t);
/* The adapters as they are now become the variant's, block by block. */
ql_status ql_train_publish(ql_training *t);
/* The variant is there, and says so; its checkpoints go. */
ql_status ql_train_settle(ql_training *t);
ql_status ql_curve_add(ql_ctx *cx, ql_curve *s, const char *name, int64_t step, double value);

#endif
