/* Data sources: text on disk to token sequences. All that a data plugin includes. */
#ifndef QLOOM_DATA_H
#define QLOOM_DATA_H

#include <qloom/mt19937.h>
#include <qloom/plugin.h>
#include <qloom/tokenizer.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A word whose probability is asked for, after the token at row `scored[row]` of the stream. */
typedef struct ql_scored_word {
    int64_t row, request, id;
} ql_scored_word;

/* What a sum of log-probabilities is asked for: a continuation behind its context, or a whole text. */
typedef struct ql_request {
    int64_t document, context, tokens; /* tokens of the context and of what is scored, before anything is cut off */
    int64_t points, bytes;             /* code points and bytes of the choice */
    uint32_t crc[2];                   /* of the ids of both (CRC-32 of 32-bit little-endian integers) */
} ql_request;

typedef struct ql_document {
    int64_t number;                       /* of its record in the file, from 0 */
    const char *name, *part;              /* "record 3 of FILE"; a subject, NULL for none */
    int64_t first_request, request_count; /* side by side */
    int64_t gold_count;
    const int64_t *gold;   /* right choices */
    int64_t words, bytes;  /* of a text that is scored whole */
    const char *reference; /* what the text that a model goes on with is compared with; NULL: nothing */
} ql_document;

/* What documents ask of a model, and what is said of it. */
typedef struct ql_questions {
    const char *task, *protocol;     /* its name; version, shots, seed, bos, … in words */
    bool rolling;                    /* texts are scored whole; else choices are compared */
    const struct ql_task *generates; /* sequences are prompts, one a document, to go on with (tasks.h); NULL: not so */
    int64_t max_gen;                 /* tokens of such a text at most */
    bool partial;                    /* a choice is another context, and only what follows is scored */
    int64_t metric_count;
    const char *const *metrics;
    int64_t document_count, request_count, scored_count, target_count;
    const ql_document *documents;
    const ql_request *requests;
    const int64_t *scored;         /* [scored_count]: tokens of the stream after which a word is scored, ascending */
    const ql_scored_word *targets; /* [target_count]: in the order of their rows */
} ql_questions;

/* Token sequences and how they came about. Arrays live in the scope that made them. */
typedef struct ql_tokens {
    int64_t count;          /* sequences */
    const int64_t *offsets; /* [count + 1] */
    const int32_t *ids;     /* [offsets[count]] */
    int64_t seqlen;         /* length asked for; shorter sequences are legal where the procedure makes them */
    bool bos;               /* was a BOS added? */
    int64_t bos_id;         /* of the tokenizer, -1 for none */
    int64_t documents, rejected, asked; /* documents read, documents too short, tokens asked for (0: all there are) */
    /* Of sequences that are segments of trees, as in ql_seqs: a tree is never cut. NULL: none is. */
    const int64_t *first, *parent;
    const ql_questions *questions; /* NULL: a plain text */
    /* [offsets[count]]: 1: the token is a target, predicted from those before it in its sequence, whose first is none;
     * NULL: all but the first of each are. */
    const unsigned char *scored;
} ql_tokens;

/* Is the token at `at`, of the sequence that begins at `begin`, a target? [any thread] */
static inline bool
ql_is_target(const unsigned char *scored, int64_t begin, int64_t at)
{
    return at > begin && (!scored || scored[at]);
}

typedef struct ql_data_request {
    const ql_tokenizer *tokenizer;
    ql_bos bos;            /* QL_BOS_DATA: the stage's own parameter; else what an evaluator asks for */
    int64_t max_positions; /* of the model: the default sequence length, 0 when unknown */
    uint64_t seed;         /* the file's or cell's */
    int64_t
        chunk_tokens; /* that go through the model together; a tree of sequences with more is read whole all the same */
    bool apart;       /* no sequence may be the parent of another: ql_model_info.by_length */
} ql_data_request;

typedef struct ql_data {
    size_t size; /* of this table: QL_TABLE sets it */
    /* Reads, tokenizes and samples. `out` arrives empty. Files are opened here, not earlier. */
    ql_status (*read)(ql_ctx *cx, const void *self, const ql_data_request *req, ql_tokens *out);
    /* A file that decides the tokens beside those that parameters name, in the innermost scope; *out stays NULL where there is none. The
     * function may be NULL. */
    ql_status (*file)(ql_ctx *cx, const void *self, const char **out);
} ql_data;

#ifdef __cplusplus
}
#endif

#endif
