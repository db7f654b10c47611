/* The walk: one pass over a model's blocks that serves every cell.
 * This header is the inside, shared by the files of core/walk; the outside is core/walk/run.h. */
#ifndef QLOOM_WALK_WALK_H
#define QLOOM_WALK_WALK_H

#include <qloom/exporter.h>

#include "base/progress.h"
#include "device/device.h"
#include "tensor/memo.h"
#include "model/block.h"
#include "export/export.h"
#include "results/facts.h"
#include "results/results.h"
#include "corpus.h"
#include "plan.h"
#include "replay.h"

/* Sums of one stream at one subset of the current block; shared by streams that are still equal there. */
typedef struct ql_gathered {
    int refs;
    ql_tensor *sum, *comp, *abs_sum, *abs_mean, *abs_max;
    ql_stats stats;
} ql_gathered;

/* Hidden states of one chunk at the border of two blocks; shared by streams that are equal there. */
typedef struct ql_rest {
    int refs;
    ql_tensor *t; /* on the device; NULL: parked */
    ql_device *device;
    void *host; /* pinned memory of the device's host; with what is there: */
    size_t bytes;
    ql_dtype dtype;
    int64_t rows, cols;
} ql_rest;

/* Hidden states of a corpus, one tensor a chunk. A stream with a parent has none of its own: it is equal to it so far. */
typedef struct ql_stream {
    const ql_corpus *corpus;
    struct ql_stream *parent;
    int64_t followers; /* streams whose parent this is */
    ql_rest **h;       /* [span_count], at the border of blocks */
    ql_rest **before;  /* h before the current block, kept while there are followers */
    bool dead;         /* its unit failed */
    ql_cost cost;      /* of going forward */
} ql_stream;

/* What a unit made of one linear of the current block. */
typedef struct ql_result {
    bool skipped;         /* by an override: the original weight */
    ql_qlinear q;         /* a quantizer's, or that of a compensator which couples */
    ql_tensor *b, *a;     /* a compensator's, rounded */
    unsigned status, own; /* QL_NUM_* of the linear as it stands; of this unit alone */
    int k;
    ql_tensor *what; /* W^ decoded, f32; made on demand, dropped after each visit */
} ql_result;

/* A quantizer as others call it. */
struct ql_stage {
    const ql_node *node;
    const ql_unit *unit;   /* whose results are memoised; NULL: driven by another quantizer */
    const ql_node *driver; /* that drives it; NULL: none */
};

typedef struct ql_tally { /* what a unit's work came to; kept in the store as it is */
    ql_cost cost;
    int64_t linears, statuses[QL_NUM_COUNT]; /* linears that it did; those with bit i of QL_NUM_* */
    double bits, weights; /* what the model that ends in it stores of its linears, and their weights */
} ql_tally;

typedef struct ql_work { /* a unit and what it has */
    struct ql_stage stage;
    ql_result *results;  /* [linear_count] */
    char *failed;        /* NULL: fine so far; else why, with the linear's name; on the heap */
    ql_tally block, all; /* of the current block; of the blocks before, or of the whole walk when it is told */
    bool told;           /* the store had `all` */
} ql_work;

/* A set of evaluation tokens, and its stream through each final model that somebody scores on it. */
typedef struct ql_exam {
    ql_corpus corpus;
    const ql_node *data;
    ql_stream *streams; /* [path_count]; without a corpus where nobody asks */
} ql_exam;

/* One evaluator or exporter at one path, at work. */
struct ql_evaluation {
    const ql_eval *plan;
    ql_exam *exam; /* of a stream evaluator */
    void *state;
    ql_scope scope;     /* memory of `begin` and of what it keeps */
    int64_t node;       /* whose facts are what it finds */
    ql_facts facts;     /* of the whole model, until they are handed to the results */
    ql_export *files;   /* of an exporter */
    const char *recipe; /* of an exporter: what made the model */
    char *failed;       /* on the heap; NULL: fine so far */
    ql_cost cost;
    bool told; /* the results have its facts: its stream is not run */
};

struct ql_walk {
    ql_ctx *cx;
    const ql_graph *graph;
    const ql_plan *plan;
    const ql_model_handle *model;
    const ql_tokenizer *tokenizer;
    ql_results *results;
    ql_replay replay;
    ql_progress progress;
    int64_t layer;          /* of the current block */
    ql_block *block;        /* NULL where nobody needs its weights */
    ql_block *next;         /* on its way to the device; NULL: it comes when its turn does */
    ql_stream *streams;     /* [stream_count], calibration */
    ql_gathered **gathered; /* [stream_count * subsets], of the current block */
    ql_work *work;          /* [unit_count] */
    ql_exam *exams;
    int64_t exam_count;
    ql_evaluation *evaluations; /* [eval_count] */
    ql_cost load, metered;      /* of reading blocks; of all meters that stopped */
    const char *folder;         /* where stages may write files */
    int64_t linear;             /* that is being worked on, for ql_quantize */
    const ql_tensor *weight;    /* its original weight */
};

/* --- stream.c --- */
/* Gives the stream its embeddings, or makes it follow `parent` (may be NULL). On the heap until ql_stream_close. */
ql_status ql_stream_open(ql_walk *w, const ql_corpus *corpus, ql_stream *parent, ql_stream *out);
void ql_stream_close(ql_stream *s);
/* The model that it passes failed: its hidden states are let go. */
void ql_stream_kill(ql_stream *s);
/* Keeps h of the block's start for followers; lets go of it at the block's end. */
void ql_stream_block_begin(ql_stream *s);
void ql_stream_block_end(ql_stream *s);
/* The stream stops following: from here its hidden states are its own. Nothing when it follows nobody. */
void ql_stream_fork(ql_stream *s);
/* Chunk c moves on: `h` is adopted. */
ql_status ql_stream_put(ql_walk *w, ql_stream *s, int64_t c, const ql_tensor *h);
/* The whole current block, original or substituted linears, chunk by chunk. */
ql_status ql_stream_forward(ql_walk *w, ql_stream *s, const ql_weight *const *as);

/* --- rest.c --- */
ql_status ql_rest_new(ql_ctx *cx, const ql_tensor *t,
                      ql_rest **out); /* refers to `t`; on the heap until the last unref */
ql_rest *ql_rest_ref(ql_rest *r);
void ql_rest_unref(ql_rest *r); /* NULL is fine */
/* The tensor, in the innermost scope; read-only. */
ql_status ql_rest_wake(ql_ctx *cx, const ql_rest *r, ql_tensor **out);
/* ql_device.make_room of a walk: the next block is put off, or hidden states that nobody works with are parked. */
ql_status ql_rest_make_room(ql_ctx *cx, bool *freed);

/* --- gather.c --- */
ql_status ql_gather_open(ql_walk *w, int64_t width, ql_gathered **out);
ql_status ql_gather_add(ql_walk *w, ql_gathered *g, const ql_seqs *seqs, const ql_tensor *x);
ql_status ql_gather_close(ql_walk *w, ql_gathered *g); /* sums are final; stats may be read */
ql_gathered *ql_gather_ref(ql_gathered *g);
void ql_gather_unref(ql_ctx *cx, ql_gathered *g); /* NULL is fine */
ql_gathered **ql_gather_at(ql_walk *w, int64_t stream, int subset);

/* --- unit.c --- */
/* Runs unit u on linear l. A numerical failure marks the unit failed and returns OK; other errors come back. */
ql_status ql_unit_run(ql_walk *w, const ql_unit *u, int64_t l);
/* Why the path has no numbers: the failure of the unit or of one upstream; NULL: fine. */
const char *ql_unit_failed(const ql_walk *w, const ql_unit *u);
/* The model that ends in the unit. */
ql_path ql_unit_path(const ql_walk *w, const ql_unit *u);
/* The rule for one linear in node n, which skips it or brings parameters of its own; NULL: none. */
const ql_override *ql_override_of(const ql_node *n, const char *linear);
/* Does an override skip linear l of the current block in node n? */
bool ql_node_skips(const ql_walk *w, const ql_node *n, int64_t l);
/* Would any linear of the current block differ from the original on the path (q, c)? Decided by overrides alone. */
bool ql_path_differs(const ql_walk *w, const ql_path *path, int subset);
/* The linear l of the current block as the path has it; false: the original. Decodes W^ when it must. */
ql_status ql_path_weight(ql_walk *w, const ql_path *path, int64_t l, ql_weight *out, bool *differs);
/* All that there is of linear l on the path, but statistics. */
ql_status ql_path_linear(ql_walk *w, const ql_path *path, int64_t l, ql_linear_result *out);
/* W^ [out, in] f32 of the path without adapter, and the result it comes from (NULL: the original). */
ql_status ql_path_what(ql_walk *w, const ql_path *path, int64_t l, const ql_tensor **what, const ql_result **from);
/* The adapter that the path applies to linear l; NULL: none. */
void ql_path_adapter(ql_walk *w, const ql_path *path, int64_t l, const ql_tensor **b, const ql_tensor **a);
/* The result whose codes the path uses: a coupling compensator's, else the quantizer's. NULL: the original weight. */
ql_result *ql_path_result(ql_walk *w, const ql_path *path, int64_t l);
void ql_unit_forget_decoded(ql_walk *w);
void ql_unit_forget_results(ql_walk *w);

/* A number that can't be had fails its cell; a broken machine or a broken plugin stops the run. */
bool ql_stays_in_cell(ql_status st);
/* Takes the context's error as the text of a failed cell and goes on. */
ql_status ql_fail_cell(ql_walk *w, char **failed);

/* --- visit.c --- */
/* One stream's turn at the current block: statistics, units and products subset by subset; then the stream stands at the next block. */
ql_status ql_visit_run(ql_walk *w, const ql_visit *v);
/* The linears of the current block as the path has them, for ql_block_linears; arrays in the innermost scope. With subset >= 0 only
 * that subset's entries are set. */
ql_status ql_path_weights(ql_walk *w, const ql_path *path, int subset, const ql_weight *const **out);

/* --- cost.c --- */
/* Adds what the device and the clock saw between the two calls to a cost. Both wait for the device, so that seconds are of who
 * asked for the work. Meters nest: the time and the bytes of an inner one are not the outer one's. Without a stop, after an error,
 * the walk is over. */
typedef struct ql_meter {
    ql_cost start, inner;
} ql_meter;
ql_status ql_meter_start(const ql_walk *w, ql_meter *m);
ql_status ql_meter_stop(ql_walk *w, const ql_meter *m, ql_cost *cost);
/* Counts, in the unit's tally of the current block, what the model that ends in it stores of the block. */
void ql_cost_store(ql_walk *w, const ql_unit *u);
/* Costs of all nodes, at the end of the walk; and of all cells. */
ql_status ql_cost_nodes(const ql_walk *w);
ql_status ql_cost_cells(const ql_walk *w);

/* --- collect.c --- */
/* Before the first block: a node in the results for each evaluation, and which cells show it. */
ql_status ql_collect_open(ql_walk *w);
/* After the last: failures, costs and footnotes of all cells. */
ql_status ql_collect(ql_walk *w);

/* --- remarks.c --- */
/* Footnotes of the cells, and the same in the log: numerical statuses, and adapters that a quantizer counts on and a cell lacks. */
ql_status ql_remarks(ql_walk *w);

/* --- export.c --- */
/* Would every export have a folder of its own, and its format hold every linear? Before anything runs. */
ql_status ql_exports_check(ql_walk *w);
/* Opens the files of exporter `e` and begins; writes what is left. For evaluate.c, which hands it the linears. */
ql_status ql_export_begin(ql_walk *w, ql_evaluation *e);
ql_status ql_export_end(ql_walk *w, ql_evaluation *e);

/* --- evaluate.c --- */
/* Evaluation corpora, their streams through every final model, and the states of stream evaluators. */
ql_status ql_evaluate_open(ql_walk *w);
/* After the visits of a block: forwards the evaluation streams, runs per-layer evaluators, hands linears to exporters. */
ql_status ql_evaluate_block(ql_walk *w);
/* After the last block: final norm, head, and the evaluators, chunk by chunk; exporters write their files. */
ql_status ql_evaluate_end(ql_walk *w);
void ql_evaluate_close(ql_walk *w);
/* Has it no numbers, for a reason of its own or of a unit on its path? */
bool ql_evaluation_failed(const ql_walk *w, const ql_evaluation *e);

#endif
