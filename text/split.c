/* The pre-tokenizer: cuts a normalized piece into the words that the model sees. The two known split patterns are
 * scanned by hand, without a regex engine. */
#define _GNU_SOURCE /* memmem */

#include "split.h"

#include <stdlib.h>
#include <string.h>

#include "unicode.h"

/* The two patterns differ only in how many digits make a word. */
#define PATTERN(digits)                                                                                     \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* --- reading ----------------------------------------------------------------------------------------------------- */

static ql_status
read_split(ql_ctx *cx, const ql_json *v, ql_splitter *out)
{
    const char *pattern = ql_json_string(ql_json_member(ql_json_member(v, "pattern"), "Regex")), *behavior;
    bool invert;

    QL_TRY(cx, ql_json_text(cx, v, "behavior", "", &behavior));
    QL_TRY(cx, ql_json_bool(cx, v, "invert", false, &invert));
    if (pattern && strcmp(pattern, PATTERN("\\p{N}")) == 0)
        out->digits = 1;
    else if (pattern && strcmp(pattern, PATTERN("\\p{N}{1,3}")) == 0)
        out->digits = 3;
    else
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: the split pattern %s is not supported", ql_json_where(cx, v),
                       pattern ? ql_json_quote(cx, pattern, strlen(pattern)) : "(not a Regex)");
    if (strcmp(behavior, "Isolated") != 0 || invert)
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: behavior \"%s\"%s is not supported (supported: Isolated)",
                       ql_json_where(cx, v), behavior, invert ? " with invert" : "");
    return QL_OK;
}

static ql_status
read_byte_level(ql_ctx *cx, const ql_json *v, ql_splitter *out)
{
    bool prefix, regex;

    QL_TRY(cx, ql_json_bool(cx, v, "add_prefix_space", true, &prefix));
    QL_TRY(cx, ql_json_bool(cx, v, "use_regex", true, &regex));
    if (prefix || regex)
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: %s: true is not supported", ql_json_where(cx, v),
                       prefix ? "add_prefix_space" : "use_regex");
    out->byte_level = true;
    return QL_OK;
}

static ql_status
read_metaspace(ql_ctx *cx, const ql_json *v, ql_splitter *out)
{
    const char *scheme;
    bool always;

    QL_TRY(cx, ql_json_bool(cx, v, "add_prefix_space", true, &always));
    QL_TRY(cx, ql_json_text(cx, v, "prepend_scheme", always ? "always" : "never", &scheme));
    QL_TRY(cx, ql_json_bool(cx, v, "split", true, &out->split));
    if (strcmp(scheme, "always") == 0)
        out->prepend = QL_PREPEND_ALWAYS;
    else if (strcmp(scheme, "first") == 0)
        out->prepend = QL_PREPEND_FIRST;
    else if (strcmp(scheme, "never") != 0)
        return ql_json_expected(cx, ql_json_member(v, "prepend_scheme"), "\"always\", \"first\" or \"never\"");
    QL_TRY(cx, ql_read_text(cx, v, "replacement", &out->mark));
    return *out->mark ? QL_OK : ql_json_expected(cx, ql_json_member(v, "replacement"), "a character");
}

/* What may follow what: a pattern before the bytes, Metaspace alone. */
static ql_status
check_order(ql_ctx *cx, const ql_json *v, const ql_splitter *s, const char *type)
{
    if (s->mark || s->byte_level || (s->digits && strcmp(type, "ByteLevel") != 0))
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: %s after another pre-tokenizer is not supported", ql_json_where(cx, v),
                       type);
    return QL_OK;
}

ql_status
ql_splitter_read(ql_ctx *cx, const ql_json *v, ql_splitter *out)
{
    const char *type;

    if (!v)
        return QL_OK;
    QL_TRY(cx, ql_json_text(cx, v, "type", "", &type));
    if (strcmp(type, "Sequence") == 0) {
        const ql_json *list = ql_json_member(v, "pretokenizers");

        for (int64_t i = 0; i < ql_json_length(list); i++)
            QL_TRY(cx, ql_splitter_read(cx, ql_json_item(list, i), out));
        return QL_OK;
    }
    if (strcmp(type, "Split") != 0 && strcmp(type, "ByteLevel") != 0 && strcmp(type, "Metaspace") != 0)
        return ql_unsupported_type(cx, v, "ByteLevel, Metaspace, Split, Sequence");
    QL_TRY(cx, check_order(cx, v, out, type));
    if (strcmp(type, "Split") == 0)
        return read_split(cx, v, out);
    return strcmp(type, "ByteLevel") == 0 ? read_byte_level(cx, v, out) : read_metaspace(cx, v, out);
}

void
ql_splitter_fini(ql_splitter *s)
{
    free(s->mark);
}

/* --- the split pattern ------------------------------------------------------------------------------------------- */

/* Bytes of 's, 't, 're, 've, 'm, 'll or 'd at `s`, in any case; case folding lets U+017F pass for an s. 0: none. */
static size_t
contraction(const unsigned char *s, size_t n)
{
    unsigned a, b;

    if (n < 2 || s[0] != '\'')
        return 0;
    a = s[1] | 0x20u;
    if (s[1] < 0x80 && (a == 's' || a == 't' || a == 'm' || a == 'd'))
        return 2;
    if (n < 3)
        return 0;
    if (s[1] == 0xc5 && s[2] == 0xbf)
        return 3;
    b = s[2] | 0x20u;
    return s[1] < 0x80 && s[2] < 0x80 && ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
               ? 3
               : 0;
}

static size_t
run_of(const unsigned char *s, size_t n, size_t i, ql_char_class wanted)
{
    size_t step;

    while (i < n && ql_char_class_at(s + i, &step) == wanted)
        i += step;
    return i;
}

/* White space from `i`: up to the last line end in the run; without one, all of it at the end of the text, else all
 * but the last character, which goes with the word that follows. */
static size_t
white_space(const unsigned char *s, size_t n, size_t i)
{
    size_t lines = 0, last = i, end = i, step;
    ql_char_class k;

    while (end < n && (k = ql_char_class_at(s + end, &step)) >= QL_CHAR_SPACE) {
        last = end;
        end += step;
        if (k == QL_CHAR_NEWLINE)
            lines = end;
    }
    if (lines)
        return lines;
    return end == n || last == i ? end : last;
}

size_t
ql_split_pattern(const char *text, size_t bytes, size_t at, int digits)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t step, more, i = at, word = contraction(s + at, bytes - at);
    ql_char_class k = ql_char_class_at(s + at, &step);

    if (word)
        return at + word;
    if (k == QL_CHAR_LETTER)
        return run_of(s, bytes, at + step, QL_CHAR_LETTER);
    if (k == QL_CHAR_NUMBER) {
        for (int count = 0; count < digits && i < bytes && ql_char_class_at(s + i, &step) == QL_CHAR_NUMBER; count++)
            i += step;
        return i;
    }
    if (k != QL_CHAR_NEWLINE && at + step < bytes && ql_char_class_at(s + at + step, &more) == QL_CHAR_LETTER)
        return run_of(s, bytes, at + step + more, QL_CHAR_LETTER);
    i = run_of(s, bytes, at + (s[at] == ' '), QL_CHAR_OTHER);
    if (i > at + (s[at] == ' ')) {
        while (i < bytes && (s[i] == '\r' || s[i] == '\n'))
            i++;
        return i;
    }
    return white_space(s, bytes, at);
}

/* --- Metaspace --------------------------------------------------------------------------------------------------- */

size_t
ql_split_mark(const char *text, size_t bytes, size_t at, const char *mark, bool runs)
{
    const size_t n = strlen(mark);
    const char *hit;

    if (runs)
        while (bytes - at >= n && memcmp(text + at, mark, n) == 0)
            at += n;
    else
        at++;
    hit = at < bytes ? memmem(text + at, bytes - at, mark, n) : NULL;
    return hit ? (size_t)(hit - text) : bytes;
}

ql_status
ql_metaspace(ql_ctx *cx, const ql_splitter *s, bool start, const char *text, size_t bytes, ql_text *out)
{
    const size_t n = strlen(s->mark);
    const bool has = bytes && (text[0] == ' ' || (bytes >= n && memcmp(text, s->mark, n) == 0));

    out->count = 0;
    if (!has && (s->prepend == QL_PREPEND_ALWAYS || (s->prepend == QL_PREPEND_FIRST && start)))
        QL_TRY(cx, ql_text_put(cx, out, s->mark, n));
    return ql_text_replace(cx, out, text, bytes, " ", s->mark);
}
