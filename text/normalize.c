/* The normalizer of a tokenizer: what a piece of text goes through before it is split. */
#include "normalize.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "unicode.h"

/* --- reading ----------------------------------------------------------------------------------------------------- */

ql_status
ql_normalizer_read(ql_ctx *cx, const ql_json *v, ql_normalizer *out)
{
    const char *type;
    ql_normalizer_step *step;

    if (!v)
        return QL_OK;
    QL_TRY(cx, ql_json_text(cx, v, "type", "", &type));
    if (strcmp(type, "Sequence") == 0) {
        const ql_json *list = ql_json_member(v, "normalizers");

        for (int64_t i = 0; i < ql_json_length(list); i++)
            QL_TRY(cx, ql_normalizer_read(cx, ql_json_item(list, i), out));
        return QL_OK;
    }
    if (out->count == QL_NORMALIZER_STEPS)
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: more than %d steps are not supported", ql_json_where(cx, v),
                       QL_NORMALIZER_STEPS);
    step = &out->steps[out->count++];
    if (strcmp(type, "NFC") == 0) {
        step->kind = QL_NORMALIZE_NFC;
        return QL_OK;
    }
    if (strcmp(type, "Prepend") == 0) {
        step->kind = QL_NORMALIZE_PREPEND;
        return ql_read_text(cx, v, "prepend", &step->to);
    }
    if (strcmp(type, "Replace") == 0) {
        step->kind = QL_NORMALIZE_REPLACE;
        return ql_read_replace(cx, v, &step->from, &step->to);
    }
    return ql_unsupported_type(cx, v, "NFC, Prepend, Replace, Sequence");
}

void
ql_normalizer_fini(ql_normalizer *n)
{
    for (int i = 0; i < n->count; i++) {
        free(n->steps[i].from);
        free(n->steps[i].to);
    }
}

/* --- NFC --------------------------------------------------------------------------------------------------------- */

/* Can `c` change under NFC, or change what stands before it? Sure only when false; characters below U+0300 cannot. The
 * vowels and finals of Hangul are the only characters that join their predecessor and are no marks. */
static bool
may_compose(uint32_t c)
{
    const utf8proc_property_t *p;

    if (c < 0x300)
        return false;
    p = utf8proc_get_property((utf8proc_int32_t)c);
    if (p->category == UTF8PROC_CATEGORY_MN || p->category == UTF8PROC_CATEGORY_MC ||
        p->category == UTF8PROC_CATEGORY_ME)
        return true;
    if (p->decomp_seqindex != UINT16_MAX && p->decomp_type == 0)
        return true;
    return (c >= 0x1161 && c <= 0x1175) || (c >= 0x11a8 && c <= 0x11c2);
}

/* Composes `bytes` of UTF-8 and appends them. */
static ql_status
compose(ql_ctx *cx, ql_normal_work *work, ql_text *out, const char *text, size_t bytes)
{
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    const utf8proc_uint8_t *s = (const utf8proc_uint8_t *)text;
    utf8proc_ssize_t need = utf8proc_decompose(s, (utf8proc_ssize_t)bytes, NULL, 0, options), n;
    char c[4];

    if (need >= 0) {
        QL_TRY(cx, ql_grow(cx, &work->chars, &work->capacity, need, sizeof *work->chars));
        need = utf8proc_decompose(s, (utf8proc_ssize_t)bytes, work->chars, work->capacity, options);
    }
    n = need < 0 ? need : utf8proc_normalize_utf32(work->chars, need, options);
    if (n < 0)
        return QL_FAIL(cx, QL_BUG, "cannot normalize %zu bytes: %s", bytes, utf8proc_errmsg(n));
    for (utf8proc_ssize_t i = 0; i < n; i++)
        QL_TRY(cx, ql_text_put(cx, out, c, ql_utf8_put((uint32_t)work->chars[i], c)));
    return QL_OK;
}

/* Only runs of characters beyond ASCII, with the ASCII character before them, can change: ASCII never joins what stands
 * before it. `*same` stays true when nothing does. */
static ql_status
nfc(ql_ctx *cx, ql_normal_work *work, ql_text *out, const char *text, size_t bytes, bool *same)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t done = 0, i = 0, begin, step;

    *same = true;
    while (i < bytes) {
        bool change = false;

        while (i < bytes && s[i] < 0x80)
            i++;
        begin = i ? i - 1 : 0;
        for (; i < bytes && s[i] >= 0x80; i += step)
            change |= may_compose(ql_utf8_char(s + i, &step));
        if (!change)
            continue;
        *same = false;
        QL_TRY(cx, ql_text_put(cx, out, text + done, begin - done));
        QL_TRY(cx, compose(cx, work, out, text + begin, i - begin));
        done = i;
    }
    return *same ? QL_OK : ql_text_put(cx, out, text + done, bytes - done);
}

/* --- normalizing ------------------------------------------------------------------------------------------------- */

ql_status
ql_normalize(ql_ctx *cx, const ql_normalizer *n, ql_normal_work *work, const char **text, size_t *bytes)
{
    int side = 0;

    for (int i = 0; i < n->count && *bytes; i++) {
        const ql_normalizer_step *step = &n->steps[i];
        ql_text *out = &work->text[side];
        bool same = false;

        out->count = 0;
        if (step->kind == QL_NORMALIZE_NFC)
            QL_TRY(cx, nfc(cx, work, out, *text, *bytes, &same));
        if (step->kind == QL_NORMALIZE_PREPEND) {
            QL_TRY(cx, ql_text_put(cx, out, step->to, strlen(step->to)));
            QL_TRY(cx, ql_text_put(cx, out, *text, *bytes));
        }
        if (step->kind == QL_NORMALIZE_REPLACE)
            QL_TRY(cx, ql_text_replace(cx, out, *text, *bytes, step->from, step->to));
        if (same)
            continue;
        *text = out->data;
        *bytes = (size_t)out->count;
        side = 1 - side;
    }
    return QL_OK;
}

void
ql_normal_work_fini(ql_normal_work *work)
{
    free(work->text[0].data);
    free(work->text[1].data);
    free(work->chars);
}
