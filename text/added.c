/* Added tokens: read from both files, and found in the text before the model sees it, leftmost, then longest. */
#include "added.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "unicode.h"

#define TOKENS_MAX 65536

/* --- reading ----------------------------------------------------------------------------------------------------- */

typedef struct reading {
    const ql_vocab *vocab;
    ql_added_tokens *out;
    int64_t next;      /* the next free id */
    int64_t elsewhere; /* tokens with another id than the file says */
} reading;

/* `v` is an object with a content, or the content of a special token. */
static ql_status
read_token(ql_ctx *cx, const ql_json *v, ql_added *out)
{
    const bool object = ql_json_is_object(v);
    const char *content = ql_json_string(object ? ql_json_member(v, "content") : v);

    if (!content)
        return object ? QL_FAIL(cx, QL_INVALID, "%s: no 'content', a text", ql_json_where(cx, v))
                      : ql_json_expected(cx, v, "a text, or an object with 'content'");
    if (strlen(content) > UINT16_MAX)
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: content of %zu bytes, at most 65535 are supported",
                       ql_json_where(cx, v), strlen(content));
    out->content = ql_heap(cx, strlen(content) + 1, 1);
    if (!out->content)
        return QL_MEMORY;
    memcpy(out->content, content, strlen(content));
    out->hash = XXH3_64bits(content, strlen(content));
    out->special = true;
    if (!object)
        return QL_OK;
    QL_TRY(cx, ql_json_bool(cx, v, "special", false, &out->special));
    QL_TRY(cx, ql_json_bool(cx, v, "single_word", false, &out->single_word));
    QL_TRY(cx, ql_json_bool(cx, v, "lstrip", false, &out->lstrip));
    QL_TRY(cx, ql_json_bool(cx, v, "rstrip", false, &out->rstrip));
    return ql_json_bool(cx, v, "normalized", !out->special, &out->normalized);
}

static ql_added *
find_content(const ql_added_tokens *a, uint64_t hash, const char *content)
{
    for (int64_t i = 0; i < a->count; i++)
        if (a->items[i].hash == hash && strcmp(a->items[i].content, content) == 0)
            return &a->items[i];
    return NULL;
}

int64_t
ql_added_id(const ql_added_tokens *a, const char *content)
{
    const ql_added *t = find_content(a, XXH3_64bits(content, strlen(content)), content);

    return t ? t->id : -1;
}

/* Adds a token, or changes the one with this content. */
static ql_status
add(ql_ctx *cx, reading *r, const ql_json *v)
{
    ql_added_tokens *a = r->out;
    ql_added *t, *known;
    int64_t id;

    if (a->count == TOKENS_MAX)
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: more than %d added tokens are not supported", ql_json_where(cx, v),
                       TOKENS_MAX);
    QL_TRY(cx, ql_grow(cx, &a->items, &a->capacity, a->count + 1, sizeof *a->items));
    t = &a->items[a->count];
    *t = (ql_added){0};
    a->count++; /* before reading, so that what a failed read leaves is freed */
    QL_TRY(cx, read_token(cx, v, t));
    known = find_content(a, t->hash, t->content);
    id = known != t ? known->id : ql_vocab_find(r->vocab, t->content, strlen(t->content));
    t->id = (int32_t)(id < 0 && *t->content ? r->next++ : id);
    if (known == t && *t->content)
        return QL_OK;
    a->count--; /* one without a content is none */
    if (known != t) {
        char *content = known->content;

        *known = *t;
        t->content = content;
    }
    free(t->content);
    return QL_OK;
}

static ql_status
add_array(ql_ctx *cx, reading *r, const ql_json *array)
{
    int64_t id;

    if (array && !ql_json_is_array(array))
        return ql_json_expected(cx, array, "an array");
    for (int64_t i = 0; i < ql_json_length(array); i++) {
        const ql_json *v = ql_json_item(array, i);

        if (!ql_json_is_object(v))
            return ql_json_expected(cx, v, "an object");
        if (!ql_json_member(v, "id"))
            return QL_FAIL(cx, QL_INVALID, "%s: no 'id'", ql_json_where(cx, v));
        if (!ql_json_as_int(ql_json_member(v, "id"), &id) || id < 0 || id >= QL_VOCAB_MAX)
            return ql_json_expected(cx, ql_json_member(v, "id"), "an id from 0 to 4194303");
        QL_TRY(cx, add(cx, r, v));
        r->elsewhere += ql_added_id(r->out, ql_json_string(ql_json_member(v, "content"))) != id;
    }
    if (r->elsewhere)
        return ql_follow(cx, ql_json_where(cx, array),
                         "%lld tokens have other ids than they say: those that the public library gives them",
                         (long long)r->elsewhere);
    return QL_OK;
}

/* The free id that the library goes on with when it adds further tokens. */
static int64_t
next_id(const ql_added_tokens *a, const ql_vocab *vocab)
{
    int64_t next = vocab->count;

    for (int64_t i = 0; i < a->count; i++)
        if (a->items[i].id >= next)
            next = a->items[i].id + 1;
    return next;
}

static ql_status
add_new(ql_ctx *cx, reading *r, const ql_json *v)
{
    const char *content = ql_json_string(ql_json_is_object(v) ? ql_json_member(v, "content") : v);

    return content && ql_added_id(r->out, content) >= 0 ? QL_OK : add(cx, r, v);
}

static ql_status
add_of_config(ql_ctx *cx, reading *r, const ql_json *config)
{
    static const char *const lists[] = {"added_tokens_decoder", "additional_special_tokens", "extra_special_tokens"};
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    const int64_t before = r->out->count;
    const char *key;

    r->next = next_id(r->out, r->vocab);
    for (size_t k = 0; k < sizeof lists / sizeof *lists; k++) {
        const ql_json *list = ql_json_member(config, lists[k]);

        for (int64_t i = 0; i < ql_json_members(list); i++)
            QL_TRY(cx, add_new(cx, r, ql_json_at(list, i, &key)));
        for (int64_t i = 0; i < ql_json_length(list); i++)
            QL_TRY(cx, add_new(cx, r, ql_json_item(list, i)));
        for (size_t i = 0; k == 0 && i < sizeof names / sizeof *names; i++)
            if (ql_json_member(config, names[i]))
                QL_TRY(cx, add_new(cx, r, ql_json_member(config, names[i])));
    }
    if (r->out->count > before)
        return ql_follow(cx, ql_json_where(cx, config),
                         "%lld tokens that tokenizer.json does not add are added, the first is %s with id %d",
                         (long long)(r->out->count - before),
                         ql_json_quote(cx, r->out->items[before].content, strlen(r->out->items[before].content)),
                         (int)r->out->items[before].id);
    return QL_OK;
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

static int
by_id(const void *a, const void *b)
{
    const ql_added *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

static int
by_begin(const void *a, const void *b)
{
    const ql_added *x = *(const ql_added *const *)a, *y = *(const ql_added *const *)b;
    const int first = (unsigned char)x->shown[0] - (unsigned char)y->shown[0];

    return first ? first : (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

static ql_status
build_list(ql_ctx *cx, const ql_added_tokens *a, bool normalized, bool split, ql_added_list *out)
{
    int64_t count = 0;

    out->items = ql_heap(cx, (size_t)a->count + 1, sizeof *out->items);
    if (!out->items)
        return QL_MEMORY;
    for (int64_t i = 0; i < a->count; i++)
        if (a->items[i].bytes && /* an empty one would match everywhere */
            a->items[i].normalized == normalized && !(split && a->items[i].special))
            out->items[count++] = &a->items[i];
    qsort(out->items, (size_t)count, sizeof *out->items, by_begin);
    for (int64_t i = 0; i < count; i++)
        out->begin[(unsigned char)out->items[i]->shown[0] + 1] = i + 1;
    for (int c = 1; c <= 256; c++)
        if (out->begin[c] < out->begin[c - 1])
            out->begin[c] = out->begin[c - 1];
    return QL_OK;
}

ql_status
ql_added_read(ql_ctx *cx, const ql_json *array, const ql_json *config, const ql_vocab *vocab, const ql_text_steps *n,
              ql_added_tokens *out)
{
    reading r = {.vocab = vocab, .out = out, .next = vocab->count};
    ql_normal_work work = {0};
    ql_status st = QL_OK;
    bool split;

    QL_TRY(cx, ql_json_bool(cx, config, "split_special_tokens", false, &split));
    QL_TRY(cx, add_array(cx, &r, array));
    QL_TRY(cx, add_of_config(cx, &r, config));
    if (out->count)
        qsort(out->items, (size_t)out->count, sizeof *out->items, by_id);
    for (int64_t i = 0; i < out->count && st == QL_OK; i++)
        st = read_shown(cx, n, &work, &out->items[i]);
    ql_normal_work_fini(&work);
    QL_TRY(cx, st);
    QL_TRY(cx, build_list(cx, out, false, split, &out->raw));
    return build_list(cx, out, true, split, &out->normal);
}

void
ql_added_fini(ql_added_tokens *a)
{
    for (int64_t i = 0; i < a->count; i++) {
        free(a->items[i].content);
        free(a->items[i].shown);
    }
    free(a->items);
    free(a->raw.items);
    free(a->normal.items);
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

/* --- finding ----------------------------------------------------------------------------------------------------- */

/* The longest token that begins `s`. */
static const ql_added *
match(const ql_added_list *list, const unsigned char *s, size_t bytes)
{
    for (int64_t i = list->begin[s[0]]; i < list->begin[s[0] + 1]; i++) {
        const ql_added *t = list->items[i];

        if (t->bytes <= bytes && memcmp(t->shown, s, t->bytes) == 0)
            return t;
    }
    return NULL;
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

void
ql_added_next(const ql_added_list *list, const char *text, size_t bytes, ql_cut *cut)
{
    const unsigned char *s = (const unsigned char *)text;
    const size_t floor = cut->end;
    const ql_added *token;
    size_t end;

    for (size_t i = cut->search; list->items && i < bytes; i++) {
        token = match(list, s + i, bytes - i);
        if (!token)
            continue;
        end = i + token->bytes;
        if (token->single_word && (word_before(text, i) || word_at(text, bytes, end))) {
            i = end - 1;
            continue;
        }
        *cut = (ql_cut){.token = token,
                        .begin = !token->lstrip ? i
                                 : i > floor    ? ql_space_before(text, i, floor)
                                                : floor,
                        .end = token->rstrip ? ql_space_after(text, bytes, end) : end,
                        .search = end};
        return;
    }
    *cut = (ql_cut){.begin = bytes, .end = bytes};
}
