/* Byte pair encoding of words: symbols of single characters (or bytes), merged by rank. A word may be a whole document,
 * where there is no pre-tokenizer, so a symbol takes 20 bytes at most. */
#include "bpe.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "unicode.h"

#define WORDS_MAX 16384 /* cache slots: 1 MiB, what a second-level cache holds */

/* --- words seen before ------------------------------------------------------------------------------------------- */

ql_status
ql_bpe_work_init(ql_ctx *cx, ql_bpe_work *work, size_t text_bytes)
{
    uint64_t slots = 1;

    while (slots < WORDS_MAX && slots * 32 < text_bytes)
        slots *= 2;
    work->words = ql_heap(cx, slots, sizeof *work->words);
    work->word_mask = slots - 1;
    return work->words ? QL_OK : QL_MEMORY;
}

void
ql_bpe_work_fini(ql_bpe_work *work)
{
    free(work->ids);
    free(work->words);
    free(work->symbols);
    free(work->span);
    free(work->rank);
    free(work->heap);
    free(work->mapped);
}

static ql_status
append(ql_ctx *cx, ql_bpe_work *work, const int32_t *ids, int64_t count)
{
    if (!count)
        return QL_OK;
    if (work->count + count > work->capacity)
        QL_TRY(cx, ql_grow(cx, &work->ids, &work->capacity, work->count + count, sizeof *work->ids));
    memcpy(work->ids + work->count, ids, (size_t)count * sizeof *ids);
    work->count += count;
    return QL_OK;
}

ql_status
ql_bpe_push(ql_ctx *cx, ql_bpe_work *work, int32_t id)
{
    return append(cx, work, &id, 1);
}

/* --- the first symbols ------------------------------------------------------------------------------------------- */

/* A character that is no token: its bytes if all of them are, else the unknown token, else nothing, as in the public
 * library. `symbols` has room. */
static ql_status
missing(ql_ctx *cx, const ql_bpe *m, ql_bpe_work *work, int64_t *count, const char *text, size_t bytes)
{
    bool fallback = m->byte_fallback;

    for (size_t i = 0; i < bytes; i++)
        fallback = fallback && m->bytes[(unsigned char)text[i]] >= 0;
    for (size_t i = 0; fallback && i < bytes; i++)
        work->symbols[(*count)++] = m->bytes[(unsigned char)text[i]];
    if (!fallback && m->unk == QL_UNK_UNKNOWN)
        return QL_FAIL(cx, QL_INVALID, "the vocabulary has neither %s nor the model's unk_token",
                       ql_json_quote(cx, text, bytes));
    if (fallback || m->unk < 0)
        return QL_OK;
    if (!m->fuse_unk || *count != work->after_unk)
        work->symbols[(*count)++] = m->unk;
    work->after_unk = *count;
    return QL_OK;
}

static ql_status
first_symbols(ql_ctx *cx, const ql_bpe *m, ql_bpe_work *work, const char *text, size_t bytes, int64_t *count)
{
    const unsigned char *s = (const unsigned char *)text;
    int64_t id;

    if (bytes > INT32_MAX)
        return QL_FAIL(cx, QL_UNSUPPORTED, "a word of %zu bytes: at most 2147483647 are supported", bytes);
    QL_TRY(cx, ql_grow(cx, &work->symbols, &work->symbol_capacity, (int64_t)bytes, sizeof *work->symbols));
    work->after_unk = -1;
    for (size_t i = 0, step; i < bytes; i += step) {
        if (m->byte_level) {
            step = 1;
            id = m->bytes[s[i]];
        } else if (s[i] < 0x80) {
            step = 1;
            id = m->ascii[s[i]];
        } else {
            ql_utf8_char(s + i, &step);
            id = ql_vocab_find(&m->vocab, text + i, step);
        }
        if (id >= 0)
            work->symbols[(*count)++] = (int32_t)id;
        else
            QL_TRY(cx, missing(cx, m, work, count, text + i, step));
    }
    return QL_OK;
}

/* --- merging ----------------------------------------------------------------------------------------------------- */

/* A merge that may happen is a number: its rank << 32 | the symbol's place, so that the lowest rank comes first and
 * among equals the leftmost. Candidates lie in a heap. */
static void
sift_down(uint64_t *heap, int64_t count, int64_t i)
{
    const uint64_t moving = heap[i];

    for (int64_t c; (c = 2 * i + 1) < count; i = c) {
        if (c + 1 < count && heap[c + 1] < heap[c])
            c++;
        if (heap[c] >= moving)
            break;
        heap[i] = heap[c];
    }
    heap[i] = moving;
}

static ql_status
heap_push(ql_ctx *cx, ql_bpe_work *w, uint64_t candidate)
{
    int64_t i = w->heap_count++;

    QL_TRY(cx, ql_grow(cx, &w->heap, &w->heap_capacity, w->heap_count, sizeof *w->heap));
    for (; i > 0 && w->heap[(i - 1) / 2] > candidate; i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = candidate;
    return QL_OK;
}

static uint64_t
heap_pop(ql_bpe_work *w)
{
    const uint64_t top = w->heap[0];

    w->heap[0] = w->heap[--w->heap_count];
    sift_down(w->heap, w->heap_count, 0);
    return top;
}

/* The merge of the symbol at `at` with the next one, if there is one. */
static ql_status
add_candidate(ql_ctx *cx, const ql_merges *m, ql_bpe_work *w, int64_t at, int64_t count)
{
    const int64_t next = at + w->span[at];
    const ql_merge *hit = next < count ? ql_merges_find(m, (uint32_t)w->symbols[at], (uint32_t)w->symbols[next]) : NULL;

    w->rank[at] = hit ? hit->rank : UINT32_MAX;
    return hit ? heap_push(cx, w, (uint64_t)hit->rank << 32 | (uint64_t)at) : QL_OK;
}

/* Merges the symbol at `at` with the next one; the span of a symbol stands at both of its ends. */
static void
merge(ql_bpe_work *w, int64_t at, uint32_t merged)
{
    const int64_t next = at + w->span[at];
    const int32_t span = w->span[at] + w->span[next];

    w->symbols[at] = (int32_t)merged;
    w->rank[next] = UINT32_MAX;
    w->span[at] = w->span[at + span - 1] = span;
}

/* Merges the `count` symbols of a word, and appends what is left. */
static ql_status
merge_all(ql_ctx *cx, const ql_merges *m, ql_bpe_work *w, int64_t count)
{
    QL_TRY(cx, ql_grow(cx, &w->span, &w->span_capacity, count, sizeof *w->span));
    QL_TRY(cx, ql_grow(cx, &w->rank, &w->rank_capacity, count, sizeof *w->rank));
    w->heap_count = 0;
    for (int64_t i = 0; i < count; i++)
        w->span[i] = 1;
    for (int64_t i = 0; i < count; i++)
        QL_TRY(cx, add_candidate(cx, m, w, i, count));
    while (w->heap_count) {
        const uint64_t top = heap_pop(w);
        const int64_t at = (int64_t)(top & UINT32_MAX);

        if (w->rank[at] != top >> 32) /* one of the two has merged with another symbol since */
            continue;
        merge(w, at, m->merged[top >> 32]);
        if (at > 0)
            QL_TRY(cx, add_candidate(cx, m, w, at - w->span[at - 1], count));
        QL_TRY(cx, add_candidate(cx, m, w, at, count));
    }
    for (int64_t i = 0; i < count; i += w->span[i])
        QL_TRY(cx, append(cx, w, &w->symbols[i], 1));
    return QL_OK;
}

/* Looks a whole word up in the vocabulary, whose texts are in the byte-level alphabet if the model sees bytes. */
static ql_status
whole_word(ql_ctx *cx, const ql_bpe *m, ql_bpe_work *work, const char *text, size_t bytes, int64_t *id)
{
    size_t n = 0;

    if (m->byte_level) {
        QL_TRY(cx, ql_grow(cx, &work->mapped, &work->mapped_capacity, 4 * (int64_t)bytes, 1));
        for (size_t i = 0; i < bytes; i++)
            n += ql_utf8_put(ql_byte_char((unsigned char)text[i]), work->mapped + n);
        text = work->mapped;
        bytes = n;
    }
    *id = ql_vocab_find(&m->vocab, text, bytes);
    return QL_OK;
}

static ql_status
encode_new(ql_ctx *cx, const ql_bpe *m, ql_bpe_work *work, const char *text, size_t bytes)
{
    int64_t count = 0, id = -1;

    if (m->ignore_merges) {
        QL_TRY(cx, whole_word(cx, m, work, text, bytes, &id));
        if (id >= 0)
            return ql_bpe_push(cx, work, (int32_t)id);
    }
    QL_TRY(cx, first_symbols(cx, m, work, text, bytes, &count));
    return merge_all(cx, &m->merges, work, count);
}

ql_status
ql_bpe_encode(ql_ctx *cx, const ql_bpe *m, ql_bpe_work *work, const char *text, size_t bytes)
{
    const int64_t begin = work->count;
    ql_word *slot;

    if (bytes > sizeof slot->text)
        return encode_new(cx, m, work, text, bytes);
    slot = &work->words[XXH3_64bits(text, bytes) & work->word_mask];
    if (slot->bytes == bytes && memcmp(slot->text, text, bytes) == 0)
        return append(cx, work, slot->ids, slot->count);
    QL_TRY(cx, encode_new(cx, m, work, text, bytes));
    if (work->count - begin > (int64_t)(sizeof slot->ids / sizeof *slot->ids))
        return QL_OK;
    slot->bytes = (uint8_t)bytes;
    slot->count = (uint8_t)(work->count - begin);
    memcpy(slot->text, text, bytes);
    for (int i = 0; i < slot->count; i++) /* none where all bytes were dropped: then there may be no ids at all */
        slot->ids[i] = work->ids[begin + i];
    return QL_OK;
}
