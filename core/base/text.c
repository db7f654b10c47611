/* Texts: numbers, places, escapes. */
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#define DOUBLE_DIGITS 17 /* that tell every double from its neighbours */

ql_locale
ql_locale_enter(void)
{
    ql_locale l = {.plain = newlocale(LC_ALL_MASK, "C", (locale_t)0)};

    if (l.plain)
        l.before = uselocale(l.plain);
    (void)fegetenv(&l.arithmetic);
    (void)fesetenv(FE_DFL_ENV);
    return l;
}

void
ql_locale_leave(ql_locale l)
{
    (void)fesetenv(&l.arithmetic);
    if (!l.plain)
        return;
    (void)uselocale(l.before);
    freelocale(l.plain);
}

double
ql_to_double(const char *text, char **end)
{
    const ql_locale before = ql_locale_enter();
    const double x = strtod(text, end);

    ql_locale_leave(before);
    return x;
}

void
ql_number(double value, char text[QL_NUMBER_SIZE])
{
    const ql_locale before = ql_locale_enter();
    int digits = 1;
    double back;

    do {
        snprintf(text, QL_NUMBER_SIZE, "%.*g", digits, value);
        back = strtod(text, NULL);
    } while (++digits <= DOUBLE_DIGITS && (back < value || back > value)); /* never of NaN */
    ql_locale_leave(before);
}

void
ql_text_place(const char *text, size_t at, int64_t *line, int64_t *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < at; i++) {
        if (text[i] == '\n') {
            ++*line;
            *column = 1;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
            ++*column;
        }
    }
}

/* Does a terminal show the character as itself? */
static bool
is_harmless(utf8proc_int32_t c)
{
    const utf8proc_category_t category = utf8proc_category(c);

    return c == '\t' || (category != UTF8PROC_CATEGORY_CC && category != UTF8PROC_CATEGORY_CF &&
                         category != UTF8PROC_CATEGORY_ZL && category != UTF8PROC_CATEGORY_ZP);
}

void
ql_visible(const char *text, const char *line_end, char *out, size_t size)
{
    const size_t n = strlen(text);
    size_t used = 0;

    for (size_t i = 0, step; i < n; i += step) {
        utf8proc_int32_t c;
        const utf8proc_ssize_t got =
            utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(n - i), &c);
        char escape[16];
        const char *piece = escape;
        size_t length;

        step = got > 0 ? (size_t)got : 1;
        length = step;
        if (text[i] == '\n') {
            piece = line_end;
            length = strlen(line_end);
        } else if (got > 0 && is_harmless(c)) {
            piece = text + i;
        } else {
            length = (size_t)snprintf(escape, sizeof escape, got > 0 && c > 0xff ? "\\u%04x" : "\\x%02x",
                                      got > 0 ? (unsigned)c : (unsigned)(unsigned char)text[i]);
        }
        if (used + length >= size)
            break;
        memcpy(out + used, piece, length);
        used += length;
    }
    out[used] = '\0';
}
