/* Byte pair encoding of words: symbols of single characters (or bytes), merged by rank. Short words by looking for
 * the lowest rank again and again, long ones (without a pre-tokenizer a word may be a whole document) with a heap
 * over a linked list. */
#include "bpe.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "unicode.h"

#define SHORT_WORD 48   /* symbols up to which scanning beats a heap */
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
    free(work->initial);
    free(work->symbols);
    free(work->heap);
    free(work->mapped);
}

static ql_status
append(ql_ctx *cx, ql_bpe_work *work, const int32_t *ids, int64_t count)
{
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
 * library. `initial` has room. */
static void
missing(const ql_bpe *m, ql_bpe_work *work, int64_t *count, const char *text, size_t bytes)
{
    bool fallback = m->byte_fallback && !m->byte_level;

    for (size_t i = 0; i < bytes; i++)
        fallback = fallback && m->bytes[(unsigned char)text[i]] >= 0;
    for (size_t i = 0; fallback && i < bytes; i++)
        work->initial[(*count)++] = m->bytes[(unsigned char)text[i]];
    if (fallback || m->unk < 0)
        return;
    if (!m->fuse_unk || *count != work->after_unk)
        work->initial[(*count)++] = m->unk;
    work->after_unk = *count;
}

static ql_status
first_symbols(ql_ctx *cx, const ql_bpe *m, ql_bpe_work *work, const char *text, size_t bytes, int64_t *count)
{
    const unsigned char *s = (const unsigned char *)text;
    int64_t id;

    if (bytes > INT32_MAX)
        return QL_FAIL(cx, QL_UNSUPPORTED, "a word of %zu bytes: at most 2147483647 are supported", bytes);
    QL_TRY(cx, ql_grow(cx, &work->initial, &work->initial_capacity, (int64_t)bytes, sizeof *work->initial));
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
            work->initial[(*count)++] = (int32_t)id;
        else
            missing(m, work, count, text + i, step);
    }
    return QL_OK;
}

/* --- merging ----------------------------------------------------------------------------------------------------- */

/* Merges `ids` in place and returns how many are left. */
static int
merge_short(const ql_merges *m, int32_t *ids, int count)
{
    uint32_t rank[SHORT_WORD], merged[SHORT_WORD]; /* of symbol i with its successor */
    const ql_merge *hit;

    for (int i = 0; i + 1 < count; i++) {
        hit = ql_merges_find(m, (uint32_t)ids[i], (uint32_t)ids[i + 1]);
        rank[i] = hit ? hit->rank : UINT32_MAX;
        merged[i] = hit ? hit->merged : 0;
    }
    while (count > 1) {
        int best = 0;

        for (int i = 1; i + 1 < count; i++)
            if (rank[i] < rank[best])
                best = i;
        if (rank[best] == UINT32_MAX)
            break;
        ids[best] = (int32_t)merged[best];
        count--;
        for (int i = best + 1; i < count; i++) {
            ids[i] = ids[i + 1];
            rank[i - 1] = rank[i];
            merged[i - 1] = merged[i];
        }
        for (int i = best > 0 ? best - 1 : 0; i <= best && i + 1 < count; i++) {
            hit = ql_merges_find(m, (uint32_t)ids[i], (uint32_t)ids[i + 1]);
            rank[i] = hit ? hit->rank : UINT32_MAX;
            merged[i] = hit ? hit->merged : 0;
        }
    }
    return count;
}

static void
sift_down(ql_candidate *heap, int64_t count, int64_t i)
{
    const ql_candidate moving = heap[i];

    for (int64_t c; (c = 2 * i + 1) < count; i = c) {
        if (c + 1 < count && heap[c + 1].order < heap[c].order)
            c++;
        if (heap[c].order >= moving.order)
            break;
        heap[i] = heap[c];
    }
    heap[i] = moving;
}

static void
heap_push(ql_bpe_work *w, ql_candidate c) /* room was made before: there are at most two candidates a symbol */
{
    int64_t i = w->heap_count++;

    while (i > 0 && w->heap[(i - 1) / 2].order > c.order) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = c;
}

static ql_candidate
heap_pop(ql_bpe_work *w)
{
    const ql_candidate top = w->heap[0];

    w->heap[0] = w->heap[--w->heap_count];
    sift_down(w->heap, w->heap_count, 0);
    return top;
}

static bool
candidate(const ql_merges *m, const ql_symbol *symbols, int32_t at, ql_candidate *out)
{
    const ql_symbol *s = &symbols[at];
    const ql_merge *hit = s->after < 0 ? NULL : ql_merges_find(m, (uint32_t)s->id, (uint32_t)symbols[s->after].id);

    if (hit)
        *out = (ql_candidate){.order = (uint64_t)hit->rank << 32 | (uint32_t)at, .merged = hit->merged};
    return hit != NULL;
}

static ql_status
long_room(ql_ctx *cx, ql_bpe_work *w, int64_t count)
{
    QL_TRY(cx, ql_grow(cx, &w->symbols, &w->symbol_capacity, count, sizeof *w->symbols));
    return ql_grow(cx, &w->heap, &w->heap_capacity, 2 * count, sizeof *w->heap);
}

static ql_status
merge_long(ql_ctx *cx, const ql_merges *m, ql_bpe_work *w, int64_t count)
{
    ql_symbol *s;
    ql_candidate c;

    QL_TRY(cx, long_room(cx, w, count));
    s = w->symbols;
    w->heap_count = 0;
    for (int32_t i = 0; i < count; i++)
        s[i] = (ql_symbol){.id = w->initial[i], .before = i - 1, .after = i + 1 < count ? i + 1 : -1};
    for (int32_t i = 0; i + 1 < count; i++)
        if (candidate(m, s, i, &c))
            w->heap[w->heap_count++] = c;
    for (int64_t i = w->heap_count / 2; i-- > 0;)
        sift_down(w->heap, w->heap_count, i);
    while (w->heap_count) {
        const ql_candidate top = heap_pop(w);
        const int32_t at = (int32_t)(top.order & UINT32_MAX), gone = s[at].after;

        /* Stale, when one of the two has merged with another symbol since. */
        if (s[at].id < 0 || !candidate(m, s, at, &c) || c.merged != top.merged)
            continue;
        s[at].id = (int32_t)top.merged;
        s[at].after = s[gone].after;
        s[gone].id = -1;
        if (s[at].after >= 0)
            s[s[at].after].before = at;
        if (s[at].before >= 0 && candidate(m, s, s[at].before, &c))
            heap_push(w, c);
        if (candidate(m, s, at, &c))
            heap_push(w, c);
    }
    for (int32_t i = 0; i >= 0; i = s[i].after)
        QL_TRY(cx, ql_bpe_push(cx, w, s[i].id));
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
    if (count > SHORT_WORD)
        return merge_long(cx, &m->merges, work, count);
    count = merge_short(&m->merges, work->initial, (int)count);
    return append(cx, work, work->initial, count);
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
    memcpy(slot->ids, work->ids + begin, slot->count * sizeof *slot->ids);
    return QL_OK;
}
