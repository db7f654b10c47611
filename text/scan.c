/* The words and signs of the template language. */
#include "scan.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "unicode.h"

void
ql_scan_space(ql_scan *s)
{
    s->at += strspn(s->text + s->at, " \t\r\n");
}

static bool
is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

bool
ql_scan_take(ql_scan *s, const char *sign)
{
    const size_t n = strlen(sign);

    ql_scan_space(s);
    if (strncmp(s->text + s->at, sign, n) != 0 || (is_word(sign[0]) && is_word(s->text[s->at + n])))
        return false;
    s->at += n;
    return true;
}

/* What comes next, for messages. */
static const char *
next_word(ql_scan *s)
{
    size_t n = 1;

    ql_scan_space(s);
    if (s->text[s->at] == '\0')
        return "the end of the text";
    if (is_word(s->text[s->at]))
        while (is_word(s->text[s->at + n]))
            n++;
    else
        while (((unsigned char)s->text[s->at + n] & 0xC0) == 0x80)
            n++;
    return ql_format(s->cx, "'%.*s'", (int)(n < 40 ? n : 40), s->text + s->at);
}

ql_status
ql_scan_expected(ql_scan *s, const char *what)
{
    const char *got = next_word(s);

    return QL_FAIL(s->cx, QL_INVALID, "expected %s, got %s", what, got ? got : "");
}

ql_status
ql_scan_need(ql_scan *s, const char *sign)
{
    return ql_scan_take(s, sign) ? QL_OK : ql_scan_expected(s, ql_format(s->cx, "'%s'", sign));
}

const char *
ql_scan_name(ql_scan *s)
{
    size_t n = 0;

    ql_scan_space(s);
    while (is_word(s->text[s->at + n]))
        n++;
    if (n == 0 || isdigit((unsigned char)s->text[s->at]))
        return NULL;
    s->at += n;
    return ql_copy_text(s->cx, s->text + s->at - n, n);
}

/* --- strings ------------------------------------------------------------------------------------------------------- */

/* \xHH or \uHHHH, from behind the letter. */
static ql_status
hex_escape(ql_scan *s, int digits, ql_text *out)
{
    char c[4], number[5] = {0};

    for (int i = 0; i < digits; i++)
        if (!isxdigit((unsigned char)s->text[s->at + (size_t)i]))
            return QL_FAIL(s->cx, QL_INVALID, "expected %d hexadecimal digits", digits);
    memcpy(number, s->text + s->at, (size_t)digits);
    s->at += (size_t)digits;
    if (strtoul(number, NULL, 16) >= 0xD800 && strtoul(number, NULL, 16) < 0xE000)
        return QL_FAIL(s->cx, QL_INVALID, "\\u%s is half a character", number);
    return ql_text_put(s->cx, out, c, ql_utf8_put((uint32_t)strtoul(number, NULL, 16), c));
}

ql_status
ql_scan_string(ql_scan *s, char mark, ql_text *out)
{
    static const char escapes[] = "n\nt\tr\r\\\\\"\"''";

    while (s->text[s->at] != mark) {
        const char c = s->text[s->at], *known;

        if (c == '\0')
            return ql_scan_expected(s, "the end of the string");
        s->at++;
        if (c != '\\') {
            QL_TRY(s->cx, ql_text_put(s->cx, out, &c, 1));
            continue;
        }
        known = s->text[s->at] ? strchr(escapes, s->text[s->at]) : NULL;
        if (s->text[s->at] == 'x' || s->text[s->at] == 'u') {
            const int digits = s->text[s->at++] == 'x' ? 2 : 4;

            QL_TRY(s->cx, hex_escape(s, digits, out));
        } else if (known && (known - escapes) % 2 == 0) {
            QL_TRY(s->cx, ql_text_put(s->cx, out, known + 1, 1));
            s->at++;
        } else { /* as Python keeps it: '\[' is a backslash and a bracket */
            QL_TRY(s->cx, ql_text_put(s->cx, out, "\\", 1));
        }
    }
    s->at++;
    return QL_OK;
}
