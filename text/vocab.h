/* The vocabulary and the merges of a byte pair encoding as flat hash tables. */
#ifndef QLOOM_TEXT_VOCAB_H
#define QLOOM_TEXT_VOCAB_H

#include "base/json.h"

#define QL_VOCAB_MAX (1 << 22) /* ids from 0 below this: an order of magnitude above the largest in use */

typedef struct ql_token { /* `at` is its place in the pool; QL_NO_TOKEN for an id that nobody has */
    uint32_t at, bytes;
} ql_token;

#define QL_NO_TOKEN UINT32_MAX

typedef struct ql_vocab {
    int64_t size;     /* ids are below */
    int64_t count;    /* tokens */
    ql_token *tokens; /* by id */
    char *pool;
    uint32_t *slots; /* id + 1; 0: empty */
    uint64_t mask;
} ql_vocab;

typedef struct ql_merge {
    uint32_t left, right, rank, merged; /* left == QL_NO_TOKEN: empty */
} ql_merge;

typedef struct ql_merges {
    ql_merge *slots;
    uint32_t *merged; /* by rank */
    uint64_t mask;
    int shift;
} ql_merges;

ql_status ql_vocab_read(ql_ctx *cx, const ql_json *object, ql_vocab *out);
ql_status ql_merges_read(ql_ctx *cx, const ql_json *array, const ql_vocab *vocab, ql_merges *out);
void ql_vocab_fini(ql_vocab *v);
void ql_merges_fini(ql_merges *m);

int64_t ql_vocab_find(const ql_vocab *v, const char *text, size_t bytes); /* id, or -1 */

static inline const ql_merge *
ql_merges_find(const ql_merges *m, uint32_t left, uint32_t right) /* NULL: these two do not merge */
{
    uint64_t i = (((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u) >> m->shift;

    for (;; i++) {
        const ql_merge *s = &m->slots[i & m->mask];

        if (s->left == left && s->right == right)
            return s;
        if (s->left == QL_NO_TOKEN)
            return NULL;
    }
}

#endif
