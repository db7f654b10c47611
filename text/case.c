/* Upper and lower case as Python has them: by the full mappings, title case for a beginning, sigma by its place. */
#include "text.h"

#include <utf8proc.h>

#include "unicode.h"

static ql_status
put_char(ql_ctx *cx, ql_text *out, uint32_t character)
{
    char bytes[4];

    return ql_text_put(cx, out, bytes, ql_utf8_put(character, bytes));
}

/* The character in upper case, or as a title begins: some have several characters there, those of their parts. */
static ql_status
put_upper(ql_ctx *cx, ql_text *out, uint32_t character, bool title)
{
    const utf8proc_int32_t from = (utf8proc_int32_t)character,
                           to = title ? utf8proc_totitle(from) : utf8proc_toupper(from);
    const bool ligature = (character >= 0xFB00 && character <= 0xFB17) || character == 0x1E9A || character == 0x149;
    utf8proc_int32_t parts[8];
    utf8proc_ssize_t n;
    int state = 0;

    if (character == 0xDF)
        return ql_text_put(cx, out, title ? "Ss" : "SS", 2);
    if (to != from || utf8proc_category(from) != UTF8PROC_CATEGORY_LL)
        return put_char(cx, out, (uint32_t)to);
    n = utf8proc_decompose_char(from, parts, 8, UTF8PROC_DECOMPOSE | (ligature ? UTF8PROC_COMPAT : 0), &state);
    if (n < 2 || n > 8)
        return put_char(cx, out, character);
    for (utf8proc_ssize_t i = 0; i < n; i++)
        QL_TRY(cx,
               put_char(cx, out,
                        (uint32_t)(i == 0 || !title || character == 0x149 ? utf8proc_toupper(parts[i]) : parts[i])));
    return QL_OK;
}

static bool
is_cased(uint32_t c)
{
    const utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);

    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT;
}

/* Characters inside words that have no case: marks, apostrophes, points. */
static bool
is_ignored(uint32_t c)
{
    const utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);

    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME || k == UTF8PROC_CATEGORY_CF ||
           k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_SK || c == '\'' || c == '.' || c == ':' || c == 0xB7 ||
           c == 0x2018 || c == 0x2019 || c == 0x2024 || c == 0x2027;
}

/* Does a word end with the sigma at `at`: a letter before it, none after it? */
static bool
is_final(const char *text, size_t bytes, size_t at)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t n, i = at;
    bool before = false;

    while (i > 0) {
        i = ql_utf8_back(text, i);
        before = is_cased(ql_utf8_char(p + i, &n));
        if (before || !is_ignored(ql_utf8_char(p + i, &n)))
            break;
    }
    if (!before)
        return false;
    for (i = at + 2; i < bytes; i += n) {
        const uint32_t c = ql_utf8_char(p + i, &n);

        if (!is_ignored(c))
            return !is_cased(c);
    }
    return true;
}

static ql_status
put_lower(ql_ctx *cx, ql_text *out, const char *text, size_t bytes, size_t at, uint32_t character)
{
    if (character == 0x3A3)
        return put_char(cx, out, is_final(text, bytes, at) ? 0x3C2 : 0x3C3);
    if (character == 0x130) /* the only character with two in lower case: i and a dot above */
        return ql_text_put(cx, out, "i\xCC\x87", 3);
    return put_char(cx, out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)character));
}

ql_status
ql_text_put_case(ql_ctx *cx, ql_text *out, ql_case as, const char *text, size_t bytes)
{
    size_t n;

    for (size_t i = 0; i < bytes; i += n) {
        const uint32_t character = ql_utf8_char((const unsigned char *)text + i, &n);
        const bool title = as == QL_CASE_CAPITAL && i == 0;

        QL_TRY(cx, title || as == QL_CASE_UPPER ? put_upper(cx, out, character, title)
                                                : put_lower(cx, out, text, bytes, i, character));
    }
    return QL_OK;
}
