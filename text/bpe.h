/* Byte pair encoding of words: symbols of single characters (or bytes), merged by rank. */
#ifndef QLOOM_TEXT_BPE_H
#define QLOOM_TEXT_BPE_H

#include "vocab.h"

#define QL_UNK_UNKNOWN (-2)

typedef struct ql_bpe { /* immutable */
    ql_vocab vocab;
    ql_merges merges;
    bool byte_level, byte_fallback, fuse_unk, ignore_merges;
    int32_t unk;        /* -1: none; QL_UNK_UNKNOWN: one that the vocabulary lacks */
    int32_t bytes[256]; /* byte level: the token of a byte; else of "<0xNN>"; -1: none */
    int32_t ascii[128]; /* the token of a character; -1: none */
} ql_bpe;

typedef struct ql_word { /* what a short word became: one cache line, looked up before any merging */
    uint8_t bytes, count;
    char text[30];
    int32_t ids[8];
} ql_word;

typedef struct ql_bpe_work { /* scratch and result of one call; zero is its empty value */
    int32_t *ids;
    int64_t count, capacity;
    ql_word *words;
    uint64_t word_mask;
    int32_t *symbols,
        *span;      /* of the word at hand: by the place of its first character; -1: merged into an earlier one */
    uint32_t *rank; /* of the merge of that symbol with the next one; UINT32_MAX: none */
    int64_t symbol_capacity, span_capacity, rank_capacity;
    int64_t after_unk; /* count when the last symbol was the unknown token */
    uint64_t *heap;
    int64_t heap_count, heap_capacity;
    char *mapped; /* the word at hand in the byte-level alphabet */
    int64_t mapped_capacity;
} ql_bpe_work;

ql_status ql_bpe_read(ql_ctx *cx, const ql_json *model, bool byte_level, ql_bpe *out);
void ql_bpe_fini(ql_bpe *m);

/* Makes room to remember short words: worth it for texts of more than a few lines. */
ql_status ql_bpe_work_init(ql_ctx *cx, ql_bpe_work *work, size_t text_bytes);
void ql_bpe_work_fini(ql_bpe_work *work);

ql_status ql_bpe_push(ql_ctx *cx, ql_bpe_work *work, int32_t id);
/* Appends the ids of one word, which is valid UTF-8 and not empty. */
ql_status ql_bpe_encode(ql_ctx *cx, const ql_bpe *m, ql_bpe_work *work, const char *text, size_t bytes);

#endif
