/* Added tokens: found in the text before the model sees it, leftmost, then longest. */
#ifndef QLOOM_TEXT_ADDED_H
#define QLOOM_TEXT_ADDED_H

#include "normalize.h"

typedef struct ql_added {
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
    char *content;
    char *shown;    /* what it is matched as and decoded to: the content, in its normal form if it is matched in that */
    uint32_t bytes; /* of `shown` */
} ql_added;

typedef struct ql_trie_node { /* node 0 is the root; 0 as a link: none */
    uint32_t child, next;
    uint32_t token; /* index + 1 of the added token that ends here */
    unsigned char byte;
} ql_trie_node;

typedef struct ql_trie {
    ql_trie_node *nodes; /* NULL: no tokens */
    int64_t count, capacity;
    bool first[256]; /* bytes that tokens begin with */
} ql_trie;

typedef struct ql_added_tokens {
    ql_added *items; /* by id */
    int64_t count;
    ql_trie raw, normal; /* matched in the text as it is, and in normalized text */
} ql_added_tokens;

typedef struct ql_cut {    /* the next token in a text: [begin, end) with the white space that it swallows */
    const ql_added *token; /* NULL: none; begin and end are the end of the text then */
    size_t begin, end;
} ql_cut;

ql_status ql_added_read(ql_ctx *cx, const ql_json *array, const ql_text_steps *n, ql_added_tokens *out);
void ql_added_fini(ql_added_tokens *a);
const ql_added *ql_added_find(const ql_added_tokens *a, int64_t id); /* NULL: no added token */

/* The first match at or after `from`, which is where the match before ended. */
ql_cut ql_added_next(const ql_added_tokens *a, const ql_trie *trie, const char *text, size_t bytes, size_t from);

#endif
