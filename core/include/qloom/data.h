/* Data sources: text on disk to token sequences. All that a data plugin includes. */
#ifndef QLOOM_DATA_H
#define QLOOM_DATA_H

#include <qloom/mt19937.h>
#include <qloom/plugin.h>
#include <qloom/tokenizer.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Token sequences and how they came about. Arrays live in the scope that made them. */
typedef struct ql_tokens {
    int64_t count;          /* sequences */
    const int64_t *offsets; /* [count + 1] */
    const int32_t *ids;     /* [offsets[count]] */
    int64_t seqlen;         /* length asked for; shorter sequences are legal where the procedure makes them */
    bool bos;               /* was a BOS added? */
    int64_t bos_id;         /* of the tokenizer, -1 for none */
    int64_t documents, rejected, asked; /* documents read, documents too short, tokens asked for (0: all there are) */
} ql_tokens;

typedef struct ql_data_request {
    const ql_tokenizer *tokenizer;
    ql_bos bos;            /* QL_BOS_DATA: the stage's own parameter; else what an evaluator asks for */
    int64_t max_positions; /* of the model: the default sequence length, 0 when unknown */
    uint64_t seed;         /* the file's or cell's */
} ql_data_request;

typedef struct ql_data {
    size_t size; /* of this table: QL_TABLE sets it */
    /* Reads, tokenizes and samples. `out` arrives empty. Files are opened here, not earlier. */
    ql_status (*read)(ql_ctx *cx, const void *self, const ql_data_request *req, ql_tokens *out);
} ql_data;

#ifdef __cplusplus
}
#endif

#endif
