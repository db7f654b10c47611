/* Token sequences cut into chunks of whole sequences: what a stream carries through the model. */
#ifndef QLOOM_WALK_CORPUS_H
#define QLOOM_WALK_CORPUS_H

#include <qloom/data.h>
#include <qloom/ops.h>

#include "pipeline/graph.h"

typedef struct ql_span { /* one chunk */
    ql_seqs seqs;        /* offsets from 0 */
    int64_t first_sequence, first_token;
} ql_span;

typedef struct ql_corpus { /* the tokens of a stream */
    ql_tokens tokens;
    uint64_t key[2]; /* hash of ids and offsets: equal corpora are one stream */
    int64_t span_count;
    const ql_span *spans;
} ql_corpus;

typedef struct ql_lane { /* chunks of a corpus that go through memory together */
    int64_t first, count;
} ql_lane;

/* Cuts `tokens` into chunks of at most `chunk_tokens` tokens, never less than a sequence. Lives in the innermost scope. */
ql_status ql_corpus_make(ql_ctx *cx, const ql_tokens *tokens, int64_t chunk_tokens, ql_corpus *out);

/* Tokens that were read, and for whom. */
typedef struct ql_reading {
    const ql_node *data, *reader; /* reader: the evaluator; NULL: calibration */
    const ql_corpus *corpus;
} ql_reading;

/* Tokens of a chunk; of a lane. */
int64_t ql_span_tokens(const ql_span *s);
int64_t ql_lane_tokens(const ql_corpus *c, ql_lane lane);
/* The lane from chunk `first` on that has at most `tokens` tokens (0: no limit), a chunk at least. Here it is said where tokens may be
 * parted: between any two chunks, for no sequence reads another's. */
ql_lane ql_corpus_cut(const ql_corpus *c, int64_t first, int64_t tokens);

#endif
