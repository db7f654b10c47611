/* A decoder block at work: its weights on the device, products with them, the steps between them; and the two ends of
 * the model. Every forward, of the walk and of tests, is built from these. All: [one thread per context]. */
#ifndef QLOOM_MODEL_BLOCK_H
#define QLOOM_MODEL_BLOCK_H

#include "open_model.h"

/* --- the weights of one block ---------------------------------------------------------------------------------- */

typedef struct ql_block ql_block;

/* Asks the system to read the pages of block `layer` ahead; nothing when there is no such block. Never fails. */
void ql_block_prefetch(ql_ctx *cx, const ql_model_handle *m, int64_t layer);
/* Has the bytes of block `layer` on their way to the device while it works on. The block can do nothing but be finished, which makes
 * it what ql_block_open gives, or closed; MEMORY when there is no room for it yet. */
ql_status ql_block_begin(ql_ctx *cx, const ql_model_handle *m, int64_t layer, ql_block **out);
ql_status ql_block_finish(ql_ctx *cx, ql_block *b);

/* Loads block `layer`: linears, biases and smalls in the device's compute dtype. Each tensor leaves the file once, and
 * its mapped pages are given back. INVALID names the tensor whose shape is not what the config says. Lives on the heap
 * until ql_block_close, whatever scopes come and go; `m` must outlive it. */
ql_status ql_block_open(ql_ctx *cx, const ql_model_handle *m, int64_t layer, ql_block **out);
void ql_block_close(ql_block *b); /* NULL is fine */

int64_t ql_block_layer(const ql_block *b);
const char *ql_block_name(const ql_block *b, int linear); /* "model.layers.3.mlp.down_proj"; as long as the block */

/* The weight of a linear for quantizers: [out, in] f32, or in the file's dtype when `raw`. Made on first use and
 * shared: the same pointer until ql_block_forget or ql_block_close. Its values are the file's, whatever the compute
 * dtype. */
ql_status ql_block_weight(ql_ctx *cx, ql_block *b, int linear, bool raw, const ql_tensor **out);
/* The same without the adapter that the model came with, in the innermost scope; and that adapter, f32, NULL: none. */
ql_status ql_block_bare(ql_ctx *cx, const ql_block *b, int linear, const ql_tensor **out);
void ql_block_adapter(const ql_block *b, int linear, const ql_tensor **adapter_b, const ql_tensor **adapter_a);
/* The same in the compute dtype, the block's own; NULL once it was released, for a linear that always gets another weight. */
const ql_tensor *ql_block_plain(const ql_block *b, int linear);
void ql_block_release(ql_block *b, int linear);
ql_dtype ql_block_dtype(const ql_block *b, int linear); /* of the weight in its file */
/* The same for any block, whose weights stay where they are. */
ql_status ql_model_dtype(ql_ctx *cx, const ql_model_handle *m, int64_t layer, int linear, ql_dtype *out);
/* Lets go of what ql_block_weight made for the linears of `subset`, as soon as none of its users is left. */
void ql_block_forget(ql_block *b, int subset);

/* --- forward ---------------------------------------------------------------------------------------------------- */

/* What multiplies x in place of the original weight, in the compute dtype: x (w + b a)^T. */
typedef struct ql_weight {
    const ql_tensor *w;     /* [out, in]; NULL: the original */
    const ql_tensor *b, *a; /* B [out, r], A [r, in]; both NULL: none */
} ql_weight;

/* y = x w^T (+ bias) (+ (x A^T) B^T) of one linear, for the tokens of `seqs`; `as` NULL: the original weight. `y` is made. */
ql_status ql_block_linear(ql_ctx *cx, const ql_block *b, int linear, const ql_weight *as, const ql_seqs *seqs,
                          const ql_tensor *x, ql_tensor **y);

/* A chunk of whole sequences on its way through a block. What the functions below make lies in the innermost scope; x
 * and the tensors of y may be dropped as soon as they have been read. */
typedef struct ql_flow {
    const ql_seqs *seqs;
    ql_tensor *h;     /* [T, hidden]: the residual stream; only read */
    ql_tensor *x;     /* [T, in]: input of the subset that comes next; NULL at the end of the block */
    ql_tensor **y;    /* outputs of the last subset's linears, in their order; NULL at the start of the block */
    ql_tensor **kept; /* [QL_KEPT]: what the step that comes next keeps for its backward; NULL: nothing */
} ql_flow;

/* Step k of the model, k = 0 .. subsets: reads h and y, sets x, and h where it changed. Its temporaries are gone. */
ql_status ql_block_step(ql_ctx *cx, const ql_block *b, int k, ql_flow *f);
/* The backward of step k (ql_model.step_back): `f` as it was before the step, but for x, which the step made; `h_next`: h behind it. */
ql_status ql_block_step_back(ql_ctx *cx, const ql_block *b, int k, const ql_flow *f, ql_tensor *h_next,
                             const ql_grad *grad);
/* All linears of subset k: reads x, sets y. `as` [linear_count of the model] or NULL; entries may be NULL. */
ql_status ql_block_linears(ql_ctx *cx, const ql_block *b, int k, const ql_weight *const *as, ql_flow *f);
/* The whole block, `f` holding seqs and h: sets h to that of the next block and leaves nothing else behind. */
ql_status ql_block_forward(ql_ctx *cx, const ql_block *b, const ql_weight *const *as, ql_flow *f);

/* --- the ends of the model -------------------------------------------------------------------------------------- */

/* h [count, hidden] = embedding rows of `ids`, gathered on the host. INVALID for an id outside the vocabulary. */
ql_status ql_model_embed(ql_ctx *cx, const ql_model_handle *m, const int32_t *ids, int64_t count, ql_tensor **h);

typedef struct ql_ends { /* in the compute dtype */
    ql_tensor *norm;     /* [hidden] */
    ql_tensor *head;     /* [vocab, hidden]: the embedding when tied */
} ql_ends;

/* Loads final norm and head into the innermost scope. */
ql_status ql_model_ends(ql_ctx *cx, const ql_model_handle *m, ql_ends *out);
/* x [T, hidden]: h after the final norm. */
ql_status ql_model_norm(ql_ctx *cx, const ql_model_handle *m, const ql_ends *ends, const ql_tensor *h, ql_tensor **x);

/* The original model in one go: logits [T, vocab] of `ids`, block by block. For short inputs. */
ql_status ql_model_logits(ql_ctx *cx, const ql_model_handle *m, const ql_seqs *seqs, const int32_t *ids,
                          ql_tensor **logits);

#endif
