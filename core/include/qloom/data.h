/* Data sources: text on disk to token sequences. All that a data plugin includes. */
#ifndef QLOOM_DATA_H
#define QLOOM_DATA_H

#include <qloom/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ql_tokenizer ql_tokenizer; /* a tokenizer.json, opened; immutable: [any thread] */

typedef enum ql_bos { QL_BOS_AUTO, QL_BOS_YES, QL_BOS_NO, QL_BOS_DATA } ql_bos; /* DATA: as the data stage says */

typedef struct ql_ids { /* growable; `ids` lives in the scope that made it */
    int64_t count, capacity;
    int32_t *ids;
} ql_ids;

/* Appends the ids of `text` (UTF-8, NUL included; INVALID with the offset when it is not UTF-8). `bos`: NO: the text
 * alone; AUTO: with what the tokenizer's files add around it; YES: the same, with a BOS even where they add none, INVALID
 * when there is none. [one thread per context] */
QL_API ql_status ql_tokenizer_encode(ql_ctx *cx, const ql_tokenizer *tk, const char *text, size_t bytes, ql_bos bos,
                                     ql_ids *out);
QL_API int64_t ql_tokenizer_bos(const ql_tokenizer *tk);   /* id, or -1 when the tokenizer has none; [any thread] */
QL_API int64_t ql_tokenizer_eos(const ql_tokenizer *tk);   /* id, or -1; [any thread] */
QL_API bool ql_tokenizer_adds_bos(const ql_tokenizer *tk); /* does AUTO add one? [any thread] */

/* Bytes before the first that is no UTF-8, and in `bad` how many of those after them one U+FFFD would stand for;
 * `bytes` and 0 for valid text. [any thread] */
QL_API size_t ql_utf8_check(const char *text, size_t bytes, size_t *bad);

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

/* Python's random.Random, by which published procedures draw. [one thread per generator] */
typedef struct ql_mt19937 {
    uint32_t state[624];
    int next;
} ql_mt19937;

QL_API void ql_mt19937_seed(ql_mt19937 *g, uint64_t seed);                    /* random.seed(seed) */
QL_API uint64_t ql_mt19937_bits(ql_mt19937 *g, int bits);                     /* getrandbits, 0 to 64 */
QL_API int64_t ql_mt19937_below(ql_mt19937 *g, int64_t n);                    /* 0 to n - 1; n > 0 */
QL_API int64_t ql_mt19937_between(ql_mt19937 *g, int64_t low, int64_t high);  /* randint: both ends included */
QL_API void ql_mt19937_shuffle(ql_mt19937 *g, int64_t *items, int64_t count); /* random.shuffle */
/* random.sample(range(n), count) */
QL_API ql_status ql_mt19937_sample(ql_ctx *cx, ql_mt19937 *g, int64_t n, int64_t count, int64_t *out);

static const char *const ql_bos_words[] = {"auto", "yes", "no", NULL};

#ifdef __cplusplus
}
#endif

#endif
