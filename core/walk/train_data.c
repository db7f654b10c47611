/* What an update is made of: sequences in the order of their epoch, side by side and without padding. */
#include <stdlib.h>
#include <string.h>

#include "train.h"

int64_t
ql_train_epoch(const ql_training *t)
{
    return (t->data->count + t->course.batch - 1) / t->course.batch;
}

/* What each token of the batch is to predict: the one behind it, where that is a target. */
static ql_status
find_targets(ql_ctx *cx, ql_batch *b)
{
    const ql_tokens *tokens = &b->corpus.tokens;
    int32_t *targets = ql_alloc(cx, (size_t)tokens->offsets[tokens->count], sizeof *targets);

    if (!targets)
        return QL_MEMORY;
    b->count = 0;
    for (int64_t s = 0; s < tokens->count; s++)
        for (int64_t i = tokens->offsets[s]; i < tokens->offsets[s + 1]; i++) {
            const bool scored =
                i + 1 < tokens->offsets[s + 1] && ql_is_target(tokens->scored, tokens->offsets[s], i + 1);

            targets[i] = scored ? tokens->ids[i + 1] : -1;
            b->count += scored;
        }
    b->targets = targets;
    return QL_OK;
}

/* Cuts the tokens into chunks of whole sequences, at most chunk_tokens long. */
static ql_status
cut(ql_training *t, const ql_tokens *tokens, ql_batch *out)
{
    QL_TRY(t->w->cx, ql_corpus_make(t->w->cx, tokens, t->w->graph->chunk_tokens, &out->corpus));
    return find_targets(t->w->cx, out);
}

ql_status
ql_train_all(ql_training *t, const ql_tokens *tokens, ql_batch *out)
{
    return cut(t, tokens, out);
}

/* The order of sequences in the epoch of the update. */
static ql_status
open_epoch(ql_training *t, int64_t epoch)
{
    const int64_t n = t->data->count;

    if (!t->order)
        t->order = ql_heap(t->w->cx, (size_t)n, sizeof *t->order);
    if (!t->order)
        return QL_MEMORY;
    if (t->epoch == epoch)
        return QL_OK;
    for (int64_t i = 0; i < n && t->course.in_order; i++)
        t->order[i] = i;
    if (!t->course.in_order)
        ql_mt19937_epoch(t->course.seed, epoch, n, t->order);
    t->epoch = epoch;
    return QL_OK;
}

ql_status
ql_train_batch(ql_training *t, int64_t update, ql_batch *out)
{
    ql_ctx *cx = t->w->cx;
    const ql_tokens *data = t->data;
    const int64_t each = ql_train_epoch(t), first = update % each * t->course.batch;
    const int64_t left = data->count - first, count = left < t->course.batch ? left : t->course.batch;
    int64_t *offsets = ql_alloc(cx, (size_t)count + 1, sizeof *offsets);
    unsigned char *scored = NULL;
    int32_t *ids;

    QL_TRY(cx, open_epoch(t, update / each));
    if (!offsets)
        return QL_MEMORY;
    for (int64_t i = 0; i < count; i++) {
        const int64_t s = t->order[first + i];

        offsets[i + 1] = offsets[i] + data->offsets[s + 1] - data->offsets[s];
    }
    ids = ql_alloc(cx, (size_t)offsets[count], sizeof *ids);
    if (data->scored)
        scored = ql_alloc(cx, (size_t)offsets[count], 1);
    if (!ids || (data->scored && !scored))
        return QL_MEMORY;
    for (int64_t i = 0; i < count; i++) {
        const int64_t from = data->offsets[t->order[first + i]];
        const size_t n = (size_t)(offsets[i + 1] - offsets[i]);

        memcpy(ids + offsets[i], data->ids + from, n * sizeof *ids);
        if (scored)
            memcpy(scored + offsets[i], data->scored + from, n);
    }
    return cut(t, &(ql_tokens){.count = count, .offsets = offsets, .ids = ids, .scored = scored, .bos_id = -1}, out);
}
