/* The walk: one pass over a model's blocks that serves every cell.
 * This header is the inside, shared by the files of core/walk; the outside is core/walk/run.h. */
#ifndef QLOOM_WALK_WALK_H
#define QLOOM_WALK_WALK_H

#include "base/progress.h"
#include "device/guard.h"
#include "model/resident.h"
#include "store/journal.h"
#include "tensor/memo.h"
#include "plan.h"

/* A quantizer as others call it. */
struct ql_stage {
    const ql_node *node;
    ql_variant *variant;   /* whose results are memoised; NULL: driven by another quantizer */
    const ql_node *driver; /* that drives it; NULL: none */
};

/* A lane of evaluation and the pass that takes it. */
typedef struct ql_pass_lane {
    const ql_corpus *corpus;
    ql_lane lane;
    int64_t pass;
} ql_pass_lane;

struct ql_walk {
    ql_ctx *cx;
    const ql_registry *registry;
    const ql_graph *graph;
    const ql_plan *plan;
    const ql_model_handle *model;
    const ql_tokenizer *tokenizer;
    ql_results *results;
    const ql_store *store;                              /* NULL: none; everything is worked out */
    bool fresh;                                         /* what lies in the store when the walk begins is not taken */
    ql_journal *journal;                                /* NULL: none */
    const char *folder;                                 /* where stages may write files; NULL: they don't */
    const char *(*fails)(void *user, const ql_node *n); /* as in ql_run_options */
    void *fails_user;
    bool damaged; /* an entry of the store turned out unreadable and is gone: the walk has to begin again */
    ql_progress progress;
    int64_t layer;   /* of the block at hand */
    int64_t layers;  /* that the model has, of which a rehearsal may take fewer */
    ql_block *block; /* NULL where its weights are not needed */
    ql_block *next;  /* on its way to the device; NULL: it comes when its turn does */
    int64_t stream_count, reading_count, lane_count;
    ql_stream **streams; /* those of the plan, then those to the end of the model */
    ql_reading *readings;
    ql_pass_lane *lanes;     /* of evaluation, in the order of their passes */
    int64_t lane_tokens;     /* the most that a pass takes of evaluation's tokens; 0: all */
    int64_t level;           /* under way: sinks of its variants are served */
    int64_t pass, passes;    /* of the level, under way, from 0; in all */
    int64_t reads;           /* times that tensors may have left their files so far */
    bool evaluates;          /* the pass takes tokens to the end of the model */
    ql_cost load, metered;   /* of reading blocks; of all meters that stopped */
    ql_run_work *work;       /* what it takes is added there */
    ql_spill spill;          /* where hidden states wait; without a folder: nowhere */
    struct ql_visit *visit;  /* under way; NULL: none */
    int64_t linear;          /* that is being worked on, for ql_quantize */
    const ql_tensor *weight; /* its original weight */
};

/* --- walk.c --- */
/* One walk over an open model with an open tokenizer. INVALID with `damaged` set: it has to begin again. */
ql_status ql_walk_run(ql_walk *w);
void ql_walk_end_progress(
    ql_walk *w); /* what is shown has come to its end, or is given up; nothing where nothing is shown */

/* --- corpus.c --- */
/* The tokens of stage `data` as evaluator `reader` asks for them; NULL: for calibration. Equal ones are one. */
ql_status ql_corpus_open(ql_walk *w, const ql_node *data, const ql_node *reader, const ql_corpus **out);
/* What readers of tokens are lent; returns how many of `out` are set. */
#define QL_TOKENS_LENT 9
int ql_tokens_lend(const ql_tokens *tokens, ql_lent *out);

/* --- stream.c --- */
/* Gives the stream the embeddings of a lane of its corpus, or makes it follow `equal_to` (may be NULL), which has the same. On the heap
 * until ql_stream_close. */
ql_status ql_stream_open(ql_walk *w, ql_stream *s, ql_lane lane, ql_stream *equal_to);
/* Chunk c of its lane. */
const ql_span *ql_stream_span(const ql_stream *s, int64_t c);
void ql_stream_close(ql_stream *s);
/* The model that it passes failed: its hidden states are let go. */
void ql_stream_kill(ql_stream *s);
/* Keeps h of the block's start for followers; lets go of it, and of its statistics, at the block's end. */
void ql_stream_block_begin(ql_stream *s);
void ql_stream_block_end(ql_walk *w, ql_stream *s);
/* The stream stops following: from here its hidden states are its own. Nothing when it follows nobody. */
void ql_stream_fork(ql_stream *s);
/* Chunk c moves on: `h` is adopted. */
ql_status ql_stream_put(ql_walk *w, ql_stream *s, int64_t c, const ql_tensor *h);
/* A stream without statistics passes the whole block, chunk by chunk. */
ql_status ql_stream_forward(ql_walk *w, ql_stream *s);
/* The stream of `corpus` through `v` to the end of the model; NULL: none. */
ql_stream *ql_stream_find(const ql_walk *w, const ql_corpus *corpus, const ql_variant *v);

/* --- hidden.c --- */
/* Refers to `t`; on the heap until the last unref. */
ql_status ql_hidden_new(ql_ctx *cx, const ql_tensor *t, ql_hidden **out);
ql_hidden *ql_hidden_ref(ql_hidden *h);
void ql_hidden_unref(ql_hidden *h); /* NULL is fine */
/* The tensor, in the innermost scope; read-only. */
ql_status ql_hidden_wake(ql_ctx *cx, const ql_hidden *h, ql_tensor **out);
/* It is read soon. NULL is fine. */
void ql_hidden_ahead(const ql_hidden *h);
/* Has it wait elsewhere, if nothing works with it and there is a place; `freed` says whether. NULL is fine. */
ql_status ql_hidden_park(ql_walk *w, ql_hidden *h, bool *freed);
/* ql_device.make_room of a walk: the next block is put off, or hidden states that wait are parked. */
ql_status ql_hidden_make_room(ql_ctx *cx, bool *freed);

/* --- gather.c --- */
ql_status ql_gather_open(ql_walk *w, int64_t width, ql_gathered **out);
ql_status ql_gather_add(ql_walk *w, ql_gathered *g, const ql_seqs *seqs, const ql_tensor *x);
ql_status ql_gather_close(ql_walk *w, ql_gathered *g); /* sums are final; stats may be read */
ql_gathered *ql_gather_ref(ql_gathered *g);
void ql_gather_unref(ql_ctx *cx, ql_gathered *g); /* NULL is fine */
/* What the stream saw at the input of linear l; NULL: no stream. */
const ql_stats *ql_stats_at(const ql_walk *w, const ql_stream *s, int64_t l);

/* --- variant.c: linears of the block at hand, as a variant has them --- */
/* Where the work is when node `n`, called `title`, is at linear l of the block at hand; -1: at none. */
ql_site ql_site_at(const ql_walk *w, const char *title, const ql_node *n, int64_t l);
/* Parameters of node n for linear l. */
const void *ql_self_of(const ql_walk *w, const ql_node *n, int64_t l);
/* Does an override leave linear l out in the variant's stage, or in one before it? */
bool ql_variant_skips(const ql_walk *w, const ql_variant *v, int64_t l);
/* Would any linear of the subset (-1: of the block) differ from the original? Decided by overrides alone. */
bool ql_variant_differs(const ql_walk *w, const ql_variant *v, int subset);
/* Why it has no numbers: its failure or that of one before it; NULL: fine. */
const char *ql_variant_failed(const ql_variant *v);
/* The state whose codes the variant uses: its own or the nearest before it. NULL: the original weight. */
ql_linear_state *ql_variant_codes(const ql_variant *v, int64_t l);
/* The adapter that the variant applies to linear l; NULL: none. */
void ql_variant_adapter(const ql_variant *v, int64_t l, const ql_tensor **b, const ql_tensor **a);
/* The original weight of linear l, f32 or as the file has it, for reading only; in the innermost scope. */
ql_status ql_lend_weight(ql_walk *w, int64_t l, bool raw, const ql_tensor **out);
/* Is a trainer's adapter, where there are no codes, the one that the model came with, or in its place? */
bool ql_variant_owns_adapter(const ql_variant *v);
/* W^ [out, in] f32 without adapter; equals the original weight where there are no codes. */
ql_status ql_variant_decoded(ql_walk *w, const ql_variant *v, int64_t l, const ql_tensor **w_hat);
/* All that there is of linear l, but statistics. */
ql_status ql_variant_linear(ql_walk *w, const ql_variant *v, int64_t l, ql_linear_result *out);
/* The linears for ql_block_linears, an array in the innermost scope. With subset >= 0 only that subset's entries are set. */
ql_status ql_variant_weights(ql_walk *w, const ql_variant *v, int subset, const ql_weight *const **out);
/* The same for a model at rest: [linear_count] in the innermost scope; NULL entries: the original. Codes stay codes. */
ql_status ql_variant_stand_ins(ql_walk *w, const ql_variant *v, const ql_stand_in *const **out);
/* Where the tensors of a state are. */
void ql_linear_tensors(ql_linear_state *s, ql_tensor **out[QL_LINEAR_TENSORS]);
void ql_variant_forget_decoded(ql_walk *w);
void ql_variant_forget(ql_walk *w); /* all that there is of the block */

/* --- make.c --- */
/* Makes linear l of the variant, unless the store has it or it is not read. A numerical failure marks the variant failed and returns
 * OK; other errors come back. */
ql_status ql_variant_make(ql_walk *w, ql_variant *v, int64_t l);
/* A number that can't be had fails its cell; a broken machine or a broken plugin stops the run. */
bool ql_stays_in_cell(ql_status st);
/* Takes the context's error as the text of a failed cell and goes on. */
ql_status ql_fail_cell(ql_walk *w, char **failed);

/* --- visit.c --- */
/* One turn at the block: variants are made subset by subset and, with a stream, statistics and products; then the stream stands at the
 * next block. `s` NULL: the visit without tokens. */
ql_status ql_visit_run(ql_walk *w, ql_stream *s);
const ql_stream *ql_visit_stream(const struct ql_visit *v);
/* Parks what its stream needs last. */
ql_status ql_visit_make_room(ql_walk *w, bool *freed);

/* --- train.c: adapters are trained between two levels --- */
/* Makes all variants of the level under way that a trainer makes, unless the store has them. */
ql_status ql_train_level(ql_walk *w);

/* --- train_keep.c: what the store and the results have of a trainer --- */
/* Takes a trainer's tally and series from its entry of the whole model. */
ql_status ql_train_take(ql_walk *w, const ql_parcel *parcel, ql_variant *v);
/* Parts for that entry beside the tally. */
ql_status ql_train_put(ql_walk *w, const ql_variant *v, ql_parcel *parcel);
/* Numbers and series of a trainer that has ended, to the results. */
ql_status ql_train_tell(ql_walk *w, ql_variant *v);

/* --- lanes.c: evaluation in passes. The first makes variants, each further one goes over what the store has --- */
/* Deals the chunks that sinks lack out to passes; what was found of others in an earlier run is taken from the store. */
ql_status ql_lanes_deal(ql_walk *w);
/* Which chunks the streams to the end of the model take in this pass. False if none of them takes any. */
bool ql_lanes_begin(ql_walk *w);
/* Their embeddings. */
ql_status ql_lanes_open(ql_walk *w);
/* After the pass: what sinks have found goes to the store, unless it was the last; streams are closed. */
ql_status ql_lanes_end(ql_walk *w);
/* Nothing of a sink that has ended is needed any more. */
ql_status ql_lanes_forget(ql_walk *w, const ql_sink *s);
/* Has the sink to be handed the chunks of this pass? */
bool ql_lanes_wanted(const ql_walk *w, const ql_sink *s);

/* --- texts.c: what finished models generate, when all passes of a level are over --- */
/* Does the sink, of the level under way, judge texts that its model has yet to generate? */
bool ql_texts_wanted(const ql_walk *w, const ql_sink *s);
/* Puts each such model together from the store, and has it go on with the prompts. */
ql_status ql_texts_run(ql_walk *w);

/* --- outline.c: what passes of a rehearsal read, which has no store --- */
ql_status ql_outline_put(ql_walk *w, ql_variant *v);
ql_status ql_outline_take(ql_walk *w, ql_variant *v);

/* --- need.c: what a walk need not do, because the store has it --- */
/* Decides what is wanted where in the pass, once it is known what there is. After this the answers below hold. */
void ql_need_decide(ql_walk *w);
/* Does the stream with statistics pass the block at hand? Does anything that is done in the block read its statistics? */
bool ql_need_passes(const ql_walk *w, const ql_stream *s);
bool ql_need_stats(const ql_walk *w, const ql_stream *s);
/* Is the variant's part of the block to be made? Are the sink's linears of the block to be handed over? */
bool ql_need_variant(const ql_walk *w, const ql_variant *v);
bool ql_need_linears(const ql_walk *w, const ql_sink *s);
/* Is the trainer's variant to be made, because the store lacks it and something reads it, or its numbers? False for other variants. */
bool ql_need_training(const ql_walk *w, const ql_variant *v);
/* False if no variant, sink or stream needs the block, so its weights are not loaded. */
bool ql_need_block(const ql_walk *w, int64_t block);

/* --- finished.c: between the walk and the store --- */
/* Looks up what was finished earlier, and takes what belongs to the whole walk; then that of the block at hand. */
ql_status ql_finished_look_up(ql_walk *w);
ql_status ql_finished_take(ql_walk *w);
/* What was worked out goes to the store and the results, then into the journal: of the block; of the whole walk; of a sink that has
 * ended. */
ql_status ql_finished_put(ql_walk *w);
ql_status ql_finished_put_all(ql_walk *w);
ql_status ql_finished_put_sink(ql_walk *w, ql_sink *s);
/* The block at hand of a variant that was just made goes to the store; and the whole of a trainer's. */
ql_status ql_finished_put_variant(ql_walk *w, ql_variant *v);
ql_status ql_finished_put_whole(ql_walk *w, ql_variant *v);
/* At the end of a walk under `cache_keep: needed`: blocks of variants that did not fail leave the store. */
ql_status ql_finished_forget(ql_walk *w);

/* --- kept.c --- */
/* Puts all that the state has of linear l into a parcel, whose parts borrow from it; and takes it from one that was read. INVALID says
 * what is missing or has another shape than the model's. */
ql_status ql_kept_put(ql_walk *w, ql_linear_state *s, int l, ql_parcel *parcel);
ql_status ql_kept_take(ql_walk *w, const ql_parcel *parcel, int l, ql_linear_state *s);

/* --- keys.c --- */
/* Keys of everything in the plan, on the open device. Reads every input file that has no remembered hash; `store` remembers those of large
 * ones (NULL: nothing does). */
ql_status ql_keys_make(ql_ctx *cx, const ql_registry *registry, const ql_graph *g, const ql_store *store,
                       ql_plan *plan);

/* --- cost.c --- */
/* Adds what the device and the clock saw between the two calls to a cost. Both wait for the device, so that seconds are of who
 * asked for the work. Meters nest: the time and the bytes of an inner one are not the outer one's. Without a stop, after an error,
 * the walk is over. */
typedef struct ql_meter {
    ql_cost start, inner;
} ql_meter;
ql_status ql_meter_start(const ql_walk *w, ql_meter *m);
ql_status ql_meter_stop(ql_walk *w, const ql_meter *m, ql_cost *cost);
/* Counts, in the variant's tally of the current block, what it stores of the block. */
void ql_cost_store(ql_walk *w, ql_variant *v);
/* Costs of all nodes, at the end of the walk; and of all cells. */
ql_status ql_cost_nodes(const ql_walk *w);
ql_status ql_cost_cells(const ql_walk *w);

/* --- collect.c --- */
/* Before the first block: a node in the results for each sink, and which cells show it. */
ql_status ql_collect_open(ql_walk *w);
/* After the last: failures, costs and footnotes of all cells. */
ql_status ql_collect(ql_walk *w);

/* --- remarks.c --- */
/* Footnotes of the cells, and the same in the log: numerical statuses, and adapters that a quantizer counts on and a cell lacks. */
ql_status ql_remarks(ql_walk *w);

/* --- export.c --- */
/* Would every export have a folder of its own, and its format hold every linear? Before anything runs. */
ql_status ql_exports_check(ql_walk *w);
/* Opens the files of exporter `s` and begins; writes what is left. For sink.c, which hands it the linears. */
ql_status ql_export_begin(ql_walk *w, ql_sink *s);
ql_status ql_export_end(ql_walk *w, ql_sink *s);

/* --- sink.c --- */
/* The note `followed`, if the model's files disagree (ql_follow). */
ql_status ql_note_followed(ql_ctx *cx, ql_facts *m);
/* Begins to guard what a call of the sink's plugin is lent, beside tensors: parameters, tokens, and what the walk goes on with of a linear
 * `in` or a chunk `seqs` (NULL: of none). */
ql_status ql_sink_guard(ql_walk *w, const ql_sink *s, const ql_linear_result *in, const ql_seqs *seqs, ql_guard *out);
/* Corpora that sinks read, their streams, and the states of sinks. */
ql_status ql_sinks_open(ql_walk *w);
/* After the visits of a block: forwards streams to the end of the model through each variant and hands its linears to its sinks. */
ql_status ql_sinks_block(ql_walk *w);
/* After the last block of a pass: final norm, head, and chunk by chunk the sinks. */
ql_status ql_sinks_chunks(ql_walk *w);
/* After the last pass of a level. */
ql_status ql_sinks_end(ql_walk *w);
void ql_sinks_close(ql_walk *w);
/* Around a call of its plugin: what that allocates is kept for it and, beyond `scope` (NULL: none), let go of after the call; log lines
 * say who writes them. ql_sink_leave: after a call that came back with `st`. */
void ql_sink_enter(ql_walk *w, ql_sink *s, int64_t linear, ql_scope *scope);
ql_status ql_sink_leave(ql_walk *w, ql_sink *s, ql_scope *scope, ql_status st);
/* A numerical failure stays in the cell. */
ql_status ql_sink_settle(ql_walk *w, ql_sink *s, ql_status st);
/* Has it no numbers, for a reason of its own or of its variant? */
bool ql_sink_failed(const ql_sink *s);

#endif
