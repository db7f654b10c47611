/* Added tokens: found in the text before the model sees it, leftmost, then longest. */
#ifndef QLOOM_TEXT_ADDED_H
#define QLOOM_TEXT_ADDED_H

#include "normalize.h"
#include "vocab.h"

typedef struct ql_added {
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
    char *content;
    uint64_t hash;  /* of the content */
    char *shown;    /* what it is matched as and decoded to: the content, in its normal form if it is matched in that */
    uint32_t bytes; /* of `shown` */
} ql_added;

typedef struct ql_added_list { /* tokens by first byte, among equals the longest first */
    const ql_added **items;
    int64_t begin[257]; /* where the tokens of a byte begin */
} ql_added_list;

typedef struct ql_added_tokens {
    ql_added *items; /* by id */
    int64_t count, capacity;
    ql_added_list raw, normal; /* matched in the text as it is, and in normalized text */
} ql_added_tokens;

typedef struct ql_cut {    /* a token in a text: [begin, end) with the white space that it swallows */
    const ql_added *token; /* NULL: none is left; begin and end are the end of the text then */
    size_t begin, end;     /* equal where the one before swallowed it: it does not count then */
    size_t search;         /* where the next one is looked for: behind the token, also within what it swallows */
} ql_cut;

/* The `added_tokens` of tokenizer.json, then those that only tokenizer_config.json (NULL: none) knows, with the ids that
 * the public library gives them, whatever the files say: that of the vocabulary, or the next free one. With its
 * `split_special_tokens` special ones are texts like others. */
ql_status ql_added_read(ql_ctx *cx, const ql_json *array, const ql_json *config, const ql_vocab *vocab,
                        const ql_text_steps *n, ql_added_tokens *out);
void ql_added_fini(ql_added_tokens *a);
const ql_added *ql_added_find(const ql_added_tokens *a, int64_t id); /* NULL: no added token */
int64_t ql_added_id(const ql_added_tokens *a, const char *content);  /* -1: no added token */

/* From one token to the next; zero is before the first. */
void ql_added_next(const ql_added_list *list, const char *text, size_t bytes, ql_cut *cut);

#endif
