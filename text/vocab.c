/* The vocabulary and the merges of a byte pair encoding as flat hash tables. */
#include "vocab.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Slots for `count` entries: a power of two, at most half full, so that a probe rarely goes beyond one cache line. */
static uint64_t
table_size(int64_t count)
{
    uint64_t n = 16;

    while (n < 2 * (uint64_t)count)
        n *= 2;
    return n;
}

int64_t
ql_vocab_find(const ql_vocab *v, const char *text, size_t bytes)
{
    for (uint64_t i = XXH3_64bits(text, bytes);; i++) {
        uint32_t slot = v->slots[i & v->mask];
        const ql_token *t = slot ? &v->tokens[slot - 1] : NULL;

        if (!t)
            return -1;
        if (t->bytes == bytes && memcmp(v->pool + t->at, text, bytes) == 0)
            return slot - 1;
    }
}

static void
insert_token(ql_vocab *v, uint32_t id)
{
    const ql_token *t = &v->tokens[id];
    uint64_t i = XXH3_64bits(v->pool + t->at, t->bytes);

    while (v->slots[i & v->mask])
        i++;
    v->slots[i & v->mask] = id + 1;
}

/* Checks the ids and finds how much room they and their texts need. */
static ql_status
measure_vocab(ql_ctx *cx, const ql_json *object, ql_vocab *out, size_t *pool)
{
    int64_t n = ql_json_members(object), id;
    const char *key;

    for (int64_t i = 0; i < n; i++) {
        const ql_json *v = ql_json_at(object, i, &key);

        if (!ql_json_as_int(v, &id) || id < 0 || id >= QL_VOCAB_MAX)
            return ql_json_expected(cx, v, "an id from 0 to 4194303");
        if (id >= out->size)
            out->size = id + 1;
        *pool += strlen(key);
    }
    if (*pool >= QL_NO_TOKEN)
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: %zu bytes of token texts are more than 4 GiB",
                       ql_json_where(cx, object), *pool);
    return QL_OK;
}

ql_status
ql_vocab_read(ql_ctx *cx, const ql_json *object, ql_vocab *out)
{
    int64_t n = ql_json_members(object), id = 0;
    size_t pool = 0, at = 0;
    const char *key;

    QL_TRY(cx, measure_vocab(cx, object, out, &pool));
    out->count = n;
    out->mask = table_size(n) - 1;
    out->tokens = ql_heap(cx, (size_t)out->size, sizeof *out->tokens);
    out->pool = ql_heap(cx, pool, 1);
    out->slots = ql_heap(cx, out->mask + 1, sizeof *out->slots);
    if (!out->tokens || !out->pool || !out->slots)
        return QL_MEMORY;
    for (int64_t i = 0; i < out->size; i++)
        out->tokens[i].at = QL_NO_TOKEN;
    for (int64_t i = 0; i < n; i++) {
        const ql_json *v = ql_json_at(object, i, &key);
        size_t bytes = strlen(key);

        ql_json_as_int(v, &id);
        if (out->tokens[id].at != QL_NO_TOKEN)
            return QL_FAIL(cx, QL_INVALID, "%s: id %lld is already that of %s", ql_json_where(cx, v), (long long)id,
                           ql_json_quote(cx, out->pool + out->tokens[id].at, out->tokens[id].bytes));
        memcpy(out->pool + at, key, bytes);
        out->tokens[id] = (ql_token){.at = (uint32_t)at, .bytes = (uint32_t)bytes};
        insert_token(out, (uint32_t)id);
        at += bytes;
    }
    return QL_OK;
}

void
ql_vocab_fini(ql_vocab *v)
{
    free(v->tokens);
    free(v->pool);
    free(v->slots);
}

/* A later merge of the same two tokens replaces the earlier one, as in the reference. */
static void
insert_merge(ql_merges *m, ql_merge merge)
{
    uint64_t i = (((uint64_t)merge.left << 32 | merge.right) * 0x9e3779b97f4a7c15u) >> m->shift;

    for (;; i++) {
        ql_merge *s = &m->slots[i & m->mask];

        if (s->left == QL_NO_TOKEN || (s->left == merge.left && s->right == merge.right)) {
            *s = merge;
            return;
        }
    }
}

/* Both spellings of a merge: "a b" and ["a", "b"]. */
static ql_status
merge_texts(ql_ctx *cx, const ql_json *v, const char *text[2], size_t bytes[2])
{
    const char *whole, *space;
    size_t n;

    if (ql_json_is_array(v) && ql_json_length(v) == 2) {
        text[0] = ql_json_bytes(ql_json_item(v, 0), &bytes[0]);
        text[1] = ql_json_bytes(ql_json_item(v, 1), &bytes[1]);
        return text[0] && text[1] ? QL_OK : ql_json_expected(cx, v, "two texts");
    }
    whole = ql_json_bytes(v, &n);
    space = whole ? memchr(whole, ' ', n) : NULL;
    if (!space || memchr(space + 1, ' ', n - (size_t)(space + 1 - whole)))
        return ql_json_expected(cx, v, "a merge: two tokens with one space between, or an array of two");
    text[0] = whole;
    bytes[0] = (size_t)(space - whole);
    text[1] = space + 1;
    bytes[1] = n - bytes[0] - 1;
    return QL_OK;
}

static ql_status
find_part(ql_ctx *cx, const ql_vocab *vocab, const ql_json *v, const char *text, size_t bytes, uint32_t *out)
{
    int64_t id = ql_vocab_find(vocab, text, bytes);

    if (id < 0)
        return QL_FAIL(cx, QL_INVALID, "%s: token %s is not in the vocabulary", ql_json_where(cx, v),
                       ql_json_quote(cx, text, bytes));
    *out = (uint32_t)id;
    return QL_OK;
}

/* Joins the texts in `joined`, which grows as needed: 300,000 merges must not make 300,000 blocks of memory. */
static ql_status
read_merge(ql_ctx *cx, const ql_json *v, const ql_vocab *vocab, ql_merge *out, char **joined, int64_t *capacity)
{
    const char *text[2] = {NULL, NULL};
    size_t bytes[2] = {0, 0};

    QL_TRY(cx, merge_texts(cx, v, text, bytes));
    QL_TRY(cx, find_part(cx, vocab, v, text[0], bytes[0], &out->left));
    QL_TRY(cx, find_part(cx, vocab, v, text[1], bytes[1], &out->right));
    QL_TRY(cx, ql_grow(cx, joined, capacity, (int64_t)(bytes[0] + bytes[1]), 1));
    memcpy(*joined, text[0], bytes[0]);
    memcpy(*joined + bytes[0], text[1], bytes[1]);
    return find_part(cx, vocab, v, *joined, bytes[0] + bytes[1], &out->merged);
}

ql_status
ql_merges_read(ql_ctx *cx, const ql_json *array, const ql_vocab *vocab, ql_merges *out)
{
    int64_t n = ql_json_length(array), capacity = 0;
    uint64_t size = table_size(n);
    char *joined = NULL;
    ql_status st = QL_OK;

    out->mask = size - 1;
    out->shift = 64 - __builtin_ctzll(size);
    out->slots = ql_heap(cx, size, sizeof *out->slots);
    out->merged = ql_heap(cx, (size_t)n, sizeof *out->merged);
    if (!out->slots || !out->merged)
        return QL_MEMORY;
    for (uint64_t i = 0; i < size; i++)
        out->slots[i].left = QL_NO_TOKEN;
    for (int64_t i = 0; i < n && st == QL_OK; i++) {
        ql_merge merge = {.rank = (uint32_t)i};

        st = read_merge(cx, ql_json_item(array, i), vocab, &merge, &joined, &capacity);
        if (st == QL_OK)
            insert_merge(out, merge);
        out->merged[i] = merge.merged;
    }
    free(joined);
    return st;
}

void
ql_merges_fini(ql_merges *m)
{
    free(m->slots);
    free(m->merged);
}
