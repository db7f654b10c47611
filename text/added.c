/* Added tokens: found in the text before the model sees it, leftmost, then longest. */
#include "added.h"

#include <stdlib.h>
#include <string.h>

#include "unicode.h"
#include "vocab.h"

static uint32_t
child(const ql_trie *t, uint32_t node, unsigned char byte) /* 0: none */
{
    uint32_t c = t->nodes[node].child;

    while (c && t->nodes[c].byte != byte)
        c = t->nodes[c].next;
    return c;
}

static ql_status
trie_insert(ql_ctx *cx, ql_trie *t, const char *text, size_t bytes, uint32_t token)
{
    const unsigned char *s = (const unsigned char *)text;
    uint32_t node = 0, c;

    QL_TRY(cx, ql_grow(cx, &t->nodes, &t->capacity, t->count + (int64_t)bytes + 1, sizeof *t->nodes));
    if (!t->count)
        t->nodes[t->count++] = (ql_trie_node){0};
    t->first[s[0]] = true;
    for (size_t i = 0; i < bytes; i++, node = c) {
        c = child(t, node, s[i]);
        if (!c) {
            c = (uint32_t)t->count++;
            t->nodes[c] = (ql_trie_node){.next = t->nodes[node].child, .byte = s[i]};
            t->nodes[node].child = c;
        }
    }
    if (!t->nodes[node].token)
        t->nodes[node].token = token;
    return QL_OK;
}

static ql_status
read_token(ql_ctx *cx, const ql_json *v, ql_added *out)
{
    const ql_json *id = ql_json_member(v, "id");
    int64_t value;

    if (!id)
        return QL_FAIL(cx, QL_INVALID, "%s: no 'id'", ql_json_where(cx, v));
    if (!ql_json_as_int(id, &value) || value < 0 || value >= QL_VOCAB_MAX)
        return ql_json_expected(cx, id, "an id from 0 to 4194303");
    out->id = (int32_t)value;
    QL_TRY(cx, ql_read_text(cx, v, "content", &out->content));
    if (strlen(out->content) > UINT16_MAX)
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: content of %zu bytes, at most 65535 are supported",
                       ql_json_where(cx, v), strlen(out->content));
    QL_TRY(cx, ql_json_bool(cx, v, "special", false, &out->special));
    QL_TRY(cx, ql_json_bool(cx, v, "single_word", false, &out->single_word));
    QL_TRY(cx, ql_json_bool(cx, v, "lstrip", false, &out->lstrip));
    QL_TRY(cx, ql_json_bool(cx, v, "rstrip", false, &out->rstrip));
    return ql_json_bool(cx, v, "normalized", !out->special, &out->normalized);
}

static int
by_id(const void *a, const void *b)
{
    const ql_added *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

static ql_status
read_shown(ql_ctx *cx, const ql_text_steps *n, ql_normal_work *work, ql_added *t)
{
    const char *text = t->content;
    size_t bytes = strlen(text);

    if (t->normalized)
        QL_TRY(cx, ql_normalize(cx, n, work, &text, &bytes));
    t->shown = ql_heap(cx, bytes + 1, 1);
    if (!t->shown)
        return QL_MEMORY;
    memcpy(t->shown, text, bytes);
    t->bytes = (uint32_t)bytes;
    return QL_OK;
}

static ql_status
build_tries(ql_ctx *cx, const ql_text_steps *n, ql_normal_work *work, ql_added_tokens *out)
{
    for (int64_t i = 0; i < out->count; i++) {
        ql_added *t = &out->items[i];

        QL_TRY(cx, read_shown(cx, n, work, t));
        if (t->bytes) /* an empty token would match everywhere: like the reference, nowhere */
            QL_TRY(cx, trie_insert(cx, t->normalized ? &out->normal : &out->raw, t->shown, t->bytes, (uint32_t)i + 1));
    }
    return QL_OK;
}

ql_status
ql_added_read(ql_ctx *cx, const ql_json *array, const ql_text_steps *n, ql_added_tokens *out)
{
    ql_normal_work work = {0};
    ql_status st;

    if (array && !ql_json_is_array(array))
        return ql_json_expected(cx, array, "an array");
    out->items = ql_heap(cx, (size_t)ql_json_length(array), sizeof *out->items);
    if (!out->items)
        return QL_MEMORY;
    for (int64_t i = 0; i < ql_json_length(array); i++) {
        const ql_json *v = ql_json_item(array, i);

        if (!ql_json_is_object(v))
            return ql_json_expected(cx, v, "an object");
        out->count++; /* before reading, so that what a failed read leaves is freed */
        QL_TRY(cx, read_token(cx, v, &out->items[i]));
    }
    qsort(out->items, (size_t)out->count, sizeof *out->items, by_id);
    for (int64_t i = 1; i < out->count; i++)
        if (out->items[i].id == out->items[i - 1].id)
            return QL_FAIL(cx, QL_INVALID, "%s: id %d occurs twice", ql_json_where(cx, array), (int)out->items[i].id);
    st = build_tries(cx, n, &work, out);
    ql_normal_work_fini(&work);
    return st;
}

void
ql_added_fini(ql_added_tokens *a)
{
    for (int64_t i = 0; i < a->count; i++) {
        free(a->items[i].content);
        free(a->items[i].shown);
    }
    free(a->items);
    free(a->raw.nodes);
    free(a->normal.nodes);
}

const ql_added *
ql_added_find(const ql_added_tokens *a, int64_t id)
{
    int64_t low = 0, high = a->count;

    while (low < high) {
        int64_t mid = (low + high) / 2;

        if (a->items[mid].id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < a->count && a->items[low].id == id ? &a->items[low] : NULL;
}

/* The longest token that begins at `at`; *end is where it ends. */
static const ql_added *
match(const ql_added_tokens *a, const ql_trie *trie, const unsigned char *s, size_t bytes, size_t at, size_t *end)
{
    uint32_t node = 0, found = 0;

    for (size_t i = at; i < bytes; i++) {
        node = child(trie, node, s[i]);
        if (!node)
            break;
        if (trie->nodes[node].token) {
            found = trie->nodes[node].token;
            *end = i + 1;
        }
    }
    return found ? &a->items[found - 1] : NULL;
}

static bool
word_before(const char *text, size_t at)
{
    size_t step;

    return at > 0 && ql_char_is_word(ql_utf8_char((const unsigned char *)text + ql_utf8_back(text, at), &step));
}

static bool
word_at(const char *text, size_t bytes, size_t at)
{
    size_t step;

    return at < bytes && ql_char_is_word(ql_utf8_char((const unsigned char *)text + at, &step));
}

ql_cut
ql_added_next(const ql_added_tokens *a, const ql_trie *trie, const char *text, size_t bytes, size_t from)
{
    const unsigned char *s = (const unsigned char *)text;
    const ql_added *token;
    size_t end;

    for (size_t i = from; trie->nodes && i < bytes; i++) {
        if (!trie->first[s[i]])
            continue;
        token = match(a, trie, s, bytes, i, &end);
        if (!token)
            continue;
        if (token->single_word && (word_before(text, i) || word_at(text, bytes, end))) {
            i = end - 1;
            continue;
        }
        return (ql_cut){.token = token,
                        .begin = token->lstrip ? ql_space_before(text, i, from) : i,
                        .end = token->rstrip ? ql_space_after(text, bytes, end) : end};
    }
    return (ql_cut){.begin = bytes, .end = bytes};
}
