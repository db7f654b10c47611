/* The normalizer of a tokenizer: what a piece of text goes through before it is split. */
#include "normalize.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "unicode.h"

#define GROWTH 64 /* how often longer than the text a normal form may be; NFKC makes at most 11 times as much */

enum {
    NFC,
    NFD,
    NFKC,
    NFKD,
    LOWERCASE,
    PREPEND,
    REPLACE,
    STRIP
}; /* kinds of steps; the first four are forms of Unicode */

/* --- reading ----------------------------------------------------------------------------------------------------- */

static ql_status
read_prepend(ql_ctx *cx, const ql_json *v, int kind, void *steps)
{
    ql_text_step *step = NULL;
    bool prefix = true;

    QL_TRY(cx, ql_prefix_space(cx, v, steps, &prefix));
    if (!prefix)
        return QL_OK;
    QL_TRY(cx, ql_step_add(cx, v, kind, steps, &step));
    return ql_read_text(cx, v, "prepend", &step->text);
}

static ql_status
read_strip(ql_ctx *cx, const ql_json *v, int kind, void *steps)
{
    bool left, right;
    ql_text_step *step = NULL;

    QL_TRY(cx, ql_step_add(cx, v, kind, steps, &step));
    QL_TRY(cx, ql_json_bool(cx, v, "strip_left", true, &left));
    QL_TRY(cx, ql_json_bool(cx, v, "strip_right", true, &right));
    step->start = left;
    step->stop = right;
    return QL_OK;
}

ql_status
ql_normalizer_read(ql_ctx *cx, const ql_json *v, ql_text_steps *out)
{
    static const ql_component_type types[] = {{"Lowercase", LOWERCASE, ql_step_read},
                                              {"NFC", NFC, ql_step_read},
                                              {"NFD", NFD, ql_step_read},
                                              {"NFKC", NFKC, ql_step_read},
                                              {"NFKD", NFKD, ql_step_read},
                                              {"Prepend", PREPEND, read_prepend},
                                              {"Replace", REPLACE, ql_step_read_replace},
                                              {"Strip", STRIP, read_strip},
                                              {0}};

    return ql_component_read(cx, v, "normalizers", types, out);
}

/* --- forms of Unicode -------------------------------------------------------------------------------------------- */

/* Characters younger than the Unicode tables of the public library's normalizer (Unicode 9), which it takes for ones that
 * neither change nor join others; equal ids count for more than their proper form. */
static const uint32_t unknown[][2] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
    {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},   {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},
    {0x32ff, 0x32ff},   {0xa7f2, 0xa7f4},   {0xa82c, 0xa82c},   {0xab69, 0xab69},   {0x10781, 0x10785},
    {0x10787, 0x107b0}, {0x107b2, 0x107ba}, {0x10d24, 0x10d27}, {0x10eab, 0x10eac}, {0x10f46, 0x10f50},
    {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
    {0x11938, 0x11938}, {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34},
    {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97},
    {0x16ff0, 0x16ff1}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1f16c, 0x1f16c},
    {0x1fbf0, 0x1fbf9}};

static bool
is_unknown(uint32_t c)
{
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown && c >= unknown[i][0]; i++)
        if (c <= unknown[i][1])
            return true;
    return false;
}

/* Appends `bytes` of UTF-8 in the form `kind`. */
static ql_status
transform(ql_ctx *cx, ql_normal_work *work, int kind, ql_text *out, const char *text, size_t bytes)
{
    static const int options[] = {[NFC] = UTF8PROC_COMPOSE,
                                  [NFD] = UTF8PROC_DECOMPOSE,
                                  [NFKC] = UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
                                  [NFKD] = UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT};
    const utf8proc_option_t form = (utf8proc_option_t)(options[kind] | UTF8PROC_STABLE);
    const utf8proc_uint8_t *s = (const utf8proc_uint8_t *)text;
    utf8proc_ssize_t n = utf8proc_decompose(s, (utf8proc_ssize_t)bytes, NULL, 0, form);
    char c[4];

    if (n >= 0) {
        QL_TRY(cx, ql_grow(cx, &work->chars, &work->capacity, n, sizeof *work->chars));
        n = utf8proc_decompose(s, (utf8proc_ssize_t)bytes, work->chars, work->capacity, form);
    }
    n = n < 0 ? n : utf8proc_normalize_utf32(work->chars, n, form);
    if (n < 0)
        return QL_FAIL(cx, QL_BUG, "cannot normalize %zu bytes: %s", bytes, utf8proc_errmsg(n));
    for (utf8proc_ssize_t i = 0; i < n; i++)
        QL_TRY(cx, ql_text_put(cx, out, c, ql_utf8_put((uint32_t)work->chars[i], c)));
    return QL_OK;
}

/* Only runs of characters beyond ASCII, with the ASCII character before them, can change: ASCII never joins what stands
 * before it. `*same` stays true when nothing does. */
static ql_status
unicode_form(ql_ctx *cx, ql_normal_work *work, int kind, ql_text *out, const char *text, size_t bytes, bool *same)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t done = 0, begin, step;

    *same = true;
    for (size_t i = 0; i < bytes;) {
        bool change = false, stop = false;

        for (begin = i; i < bytes && s[i] < 0x80; i++)
            begin = i;
        for (; i < bytes && s[i] >= 0x80; i += step) {
            const uint32_t c = ql_utf8_char(s + i, &step);

            stop = is_unknown(c);
            if (stop)
                break;
            change |= c >= 0x300 || kind != NFC; /* NFC leaves those below as they are */
        }
        if (change) {
            *same = false;
            QL_TRY(cx, ql_text_put(cx, out, text + done, begin - done));
            QL_TRY(cx, transform(cx, work, kind, out, text + begin, i - begin));
            done = i;
        }
        i += stop ? step : 0;
    }
    return *same ? QL_OK : ql_text_put(cx, out, text + done, bytes - done);
}

/* --- normalizing ------------------------------------------------------------------------------------------------- */

static ql_status
lowercase(ql_ctx *cx, ql_text *out, const char *text, size_t bytes)
{
    char c[4];

    for (size_t i = 0, step; i < bytes; i += step) {
        const uint32_t from = ql_utf8_char((const unsigned char *)text + i, &step);

        QL_TRY(cx, ql_text_put(cx, out, c, ql_utf8_put((uint32_t)utf8proc_tolower((utf8proc_int32_t)from), c)));
        if (from == 0x130) /* the only character with two in lower case: i and a dot above */
            QL_TRY(cx, ql_text_put(cx, out, "\xcc\x87", 2));
    }
    return QL_OK;
}

static void
strip(const ql_text_step *step, ql_normal_work *work, const char **text, size_t *bytes)
{
    const char *begin = *text, *end = begin + *bytes;

    if (step->start)
        begin += ql_space_after(begin, (size_t)(end - begin), 0);
    work->stripped = work->stripped || begin > *text;
    if (step->stop)
        end = begin + ql_space_before(begin, (size_t)(end - begin), 0);
    *text = begin;
    *bytes = (size_t)(end - begin);
}

ql_status
ql_check_growth(ql_ctx *cx, const char *component, size_t bytes, int64_t made)
{
    if (made / GROWTH > (int64_t)bytes + 1024)
        return QL_FAIL(cx, QL_UNSUPPORTED,
                       "the tokenizer's %s makes %lld bytes of a text of %zu: more than %d times as many", component,
                       (long long)made, bytes, GROWTH);
    return QL_OK;
}

static ql_status
run_step(ql_ctx *cx, const ql_text_step *step, ql_normal_work *work, const char *text, size_t bytes, ql_text *out,
         bool *same)
{
    ql_match first = {0};

    switch (step->kind) {
    case LOWERCASE:
        return lowercase(cx, out, text, bytes);
    case PREPEND:
        QL_TRY(cx, ql_text_put(cx, out, step->text, strlen(step->text)));
        return ql_text_put(cx, out, text, bytes);
    case REPLACE:
        if (!*step->text) {
            QL_TRY(cx, ql_pattern_next(cx, &step->pattern, &work->regex, text, bytes, &first));
            work->stripped = work->stripped || (first.found && first.begin == 0 && first.end > 0);
        }
        return ql_pattern_replace(cx, &step->pattern, &work->regex, text, bytes, step->text, out);
    default:
        return unicode_form(cx, work, step->kind, out, text, bytes, same);
    }
}

ql_status
ql_normalize(ql_ctx *cx, const ql_text_steps *n, ql_normal_work *work, const char **text, size_t *bytes)
{
    const size_t original = *bytes;
    int side = 0;

    work->stripped = false;
    for (int i = 0; i < n->count && *bytes; i++) {
        const ql_text_step *step = &n->items[i];
        ql_text *out = &work->text[side];
        bool same = false;

        if (step->kind == STRIP) {
            strip(step, work, text, bytes);
            continue;
        }
        out->count = 0;
        QL_TRY(cx, run_step(cx, step, work, *text, *bytes, out, &same));
        if (same)
            continue;
        QL_TRY(cx, ql_check_growth(cx, "normalizer", original, out->count));
        *text = out->data;
        *bytes = (size_t)out->count;
        side = 1 - side;
    }
    return QL_OK;
}

void
ql_normal_work_fini(ql_normal_work *work)
{
    ql_regex_work_fini(&work->regex);
    free(work->text[0].data);
    free(work->text[1].data);
    free(work->chars);
}
