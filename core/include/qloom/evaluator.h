/* Evaluators: numbers for the table, per linear or over a stream of evaluation tokens. All that an evaluator includes. */
#ifndef QLOOM_EVALUATOR_H
#define QLOOM_EVALUATOR_H

#include <qloom/compensator.h>
#include <qloom/data.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where an evaluator's facts go: what it found, in the order of the calls. */
typedef struct ql_facts ql_facts;
/* A number under a name, which tables show as "STAGE.NAME"; `part`: of one subject or filter among several, as "STAGE.NAME.PART"; NULL:
 * of the whole. Each name and part once. */
QL_API ql_status ql_fact(ql_ctx *cx, ql_facts *out, const char *name, const char *part, double value);
/* Numbers in order that belong together under a name: the loss of each window, the singular values of a linear. They are copied. */
QL_API ql_status ql_fact_list(ql_ctx *cx, ql_facts *out, const char *name, int64_t count, const double *values);
/* A word about the numbers that the results keep beside them: protocol, bos, …. */
QL_API ql_status ql_fact_note(ql_ctx *cx, ql_facts *out, const char *name, const char *value);

/* What was answered to one question. */
typedef struct ql_answer {
    const char *task, *gold, *pred, *pred_norm; /* NULL: not said */
    int64_t document;
    int right, right_norm; /* 0 or 1; -1: not said */
    double margin;         /* how much better the best choice is than the next; NaN: not said */
} ql_answer;
/* An answer, which the results keep beside the numbers: paired comparisons are made of them. It is copied. */
QL_API ql_status ql_fact_answer(ql_ctx *cx, ql_facts *out, const ql_answer *answer);

/* What a metric is, for tables and plots. One that no row names is shown as it is. */
typedef enum ql_better { QL_BETTER_UNSAID, QL_BETTER_LOWER, QL_BETTER_HIGHER } ql_better;
typedef struct ql_metric_kind {
    const char *name; /* NULL ends a table */
    const char *unit; /* "nats"; NULL: a plain number */
    ql_better better;
    const char *
        parts; /* the list whose mean the metric is, each part (a window, a question) the same in all cells; NULL: none */
    bool exp; /* e to that mean */
} ql_metric_kind;

/* One finished linear of one cell's path. */
typedef struct ql_linear_result {
    const char *name; /* "model.layers.3.mlp.down_proj" */
    int64_t layer;
    const ql_tensor *w;        /* [out, in] f32: original */
    ql_dtype file_dtype;       /* of w where it was read */
    const ql_tensor *what;     /* [out, in] f32: W^ without adapter; equals w where the linear was skipped */
    const ql_tensor *b, *a;    /* the adapter, as rounded; NULL: none */
    const ql_stats *stats;     /* of the evaluator's stream (propagate:, original by default) */
    const ql_qlinear *qlinear; /* NULL where the linear was skipped */
    unsigned status;           /* QL_NUM_* of quantizer and compensator together */
    int k;                     /* of the compensator, -1 */
} ql_linear_result;

/* A chunk of an evaluation stream at the end of the model: whole sequences. */
typedef struct ql_eval_chunk {
    const ql_seqs *seqs;
    const int32_t *ids;                  /* [T], host */
    int64_t first_sequence, first_token; /* of the stream */
    const ql_tensor *x;                  /* [T, hidden]: after the final norm */
    const ql_tensor *ref;                /* the same of the original model; NULL unless `needs_reference` */
    const ql_tensor *head;               /* [vocab, hidden], compute dtype */
    const ql_questions *questions;       /* of the whole stream; NULL: none */
    const unsigned char *scored;         /* [T]: which tokens are targets, as in ql_tokens; NULL: all but first ones */
} ql_eval_chunk;

/* Bits that codes, scales and zeros of a linear and its adapter (b, a; NULL: none) take where they are stored (docs/methods.md 2.4).
 * [any thread] */
QL_API double ql_qlinear_bits(const ql_qlinear *q, const ql_tensor *b, const ql_tensor *a);

/* tr(W H W^T) and tr(W W^T) of the linear's original weight, with in->stats: worked out once for all cells. */
QL_API ql_status ql_linear_norms(ql_ctx *cx, const ql_linear_result *in, double *output, double *weight);

/* The target that follows each token of the chunk, -1 where none does: out[T], as ql_nll takes it. [any thread] */
static inline void
ql_eval_targets(const ql_eval_chunk *c, int32_t *out)
{
    for (int64_t s = 0; s < c->seqs->count; s++)
        for (int64_t begin = c->seqs->offsets[s], end = c->seqs->offsets[s + 1], t = begin; t < end; t++)
            out[t] = t + 1 < end && ql_is_target(c->scored, begin, t + 1) ? c->ids[t + 1] : -1;
}

/* What a chunk leaves for `end`, plain bytes: the loss of each token, say. */
typedef struct ql_eval_found {
    const void *data;
    size_t bytes;
} ql_eval_found;

typedef struct ql_eval_info {
    const ql_tokens *tokens;
    const char *folder; /* where the stage may write files, made */
    const char *cell;   /* a file-name-safe name of the path that is evaluated */
    const ql_tokenizer *tokenizer;
} ql_eval_info;

/* How a model has gone on with the prompt of a document so far. */
typedef struct ql_said {
    const ql_questions *questions;
    const ql_document *document;
    const ql_tokenizer *tokenizer;
    const int32_t *ids; /* [count]: the new tokens */
    int64_t count;
} ql_said;

/* How an evaluator wants texts to be generated. */
typedef struct ql_pool_wish {
    int64_t sequences;     /* that run at a time, at most; 0: 64 */
    uint64_t kv_memory;    /* bytes of keys and values, at most; 0: half of what is free */
    bool ignore_penalties; /* of generation_config.json; else one that asks for some is an error */
} ql_pool_wish;

typedef struct ql_evaluator {
    size_t size;          /* of this table: QL_TABLE sets it */
    unsigned needs;       /* QL_NEEDS_STATS, for `linear` */
    bool needs_reference; /* chunks carry the original model's hidden state */
    bool questions;       /* reads data that ask questions, and no other; chunks carry them */
    const ql_metric_kind *metrics;

    /* Per-layer evaluators: facts of one linear. The host keeps them per linear, and their means over linears per cell. */
    ql_status (*linear)(ql_ctx *cx, const void *self, const ql_linear_result *in, ql_facts *out);

    /* Stream evaluators: `tokens` may replace the data stage's windows (NULL: as they are). `chunk` leaves in *found, zeroed, what it
     * finds of the sequences of one chunk, in memory of the call; nothing else passes from one call to the next, and what it leaves may be
     * kept on disk. `end` makes facts of what all chunks left, one behind the other in the order of the stream. */
    ql_status (*tokens)(ql_ctx *cx, const void *self, const ql_tokens *in, ql_tokens *out);
    ql_bos (*bos)(const void *self); /* NULL: QL_BOS_DATA */
    /* Does it write files of its own? Then it works in every run, whatever the cache knows of its numbers. NULL: no. */
    bool (*leaves_files)(const void *self);
    ql_status (*chunk)(ql_ctx *cx, const void *self, const ql_eval_chunk *chunk, ql_eval_found *found);
    ql_status (*end)(ql_ctx *cx, const void *self, const ql_eval_info *info, const ql_eval_found *found, ql_facts *out);

    /* Generating evaluators, in the place of `chunk`: they read data whose questions are prompts, which the finished model goes on with,
     * greedily. `said`, after each new token: does the text end with it? Texts end with the model's own tokens for that, too, and with
     * questions->max_gen. What `end` then finds is, of each document in order, the number of its tokens and their ids, as int32_t. */
    ql_status (*said)(ql_ctx *cx, const void *self, const ql_said *said, bool *end);
    void (*pool)(const void *self, ql_pool_wish *out); /* NULL: the defaults */
} ql_evaluator;

#ifdef __cplusplus
}
#endif

#endif
