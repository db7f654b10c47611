/* Tables to text: the choice of the format, and numbers. */
#include "render.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void
ql_number_short(double value, char text[QL_NUMBER_SIZE])
{
    double size = fabs(value);

    if (isnan(value))
        snprintf(text, QL_NUMBER_SIZE, "nan");
    else if (isinf(value))
        snprintf(text, QL_NUMBER_SIZE, value < 0 ? "-inf" : "inf");
    else if (size < 1e9 && size == floor(size))
        snprintf(text, QL_NUMBER_SIZE, "%.0f", value == 0 ? 0 : value);
    else if (size < 1e-4 || size >= 1e9)
        snprintf(text, QL_NUMBER_SIZE, "%.3e", value);
    else if (size < 1)
        snprintf(text, QL_NUMBER_SIZE, "%#.4g", value);
    else
        snprintf(text, QL_NUMBER_SIZE, "%.4f", value);
}

void
ql_number_exact(double value, char text[QL_NUMBER_SIZE])
{
    if (!isfinite(value) || (fabs(value) < 1e9 && value == floor(value))) {
        ql_number_short(value, text);
        return;
    }
    ql_number(value, text);
}

/* Bytes of a character that turns the direction of writing, U+202A to U+202E and U+2066 to U+2069, or is of the second set of controls,
 * U+0080 to U+009F; 0: it is neither. */
static size_t
hidden_bytes(const unsigned char *p)
{
    if (p[0] == 0xc2)
        return p[1] >= 0x80 && p[1] <= 0x9f ? 2 : 0;
    if (p[0] != 0xe2 || (p[1] != 0x80 && p[1] != 0x81))
        return 0;
    if (p[1] == 0x80)
        return p[2] >= 0xaa && p[2] <= 0xae ? 3 : 0;
    return p[2] >= 0xa6 && p[2] <= 0xa9 ? 3 : 0;
}

size_t
ql_control(const char *text, char shown[QL_SHOWN_SIZE])
{
    const unsigned char *p = (const unsigned char *)text;

    if (p[0] == '\0' || (p[0] >= ' ' && p[0] != 0x7f)) {
        snprintf(shown, QL_SHOWN_SIZE, "\xef\xbf\xbd"); /* U+FFFD */
        return hidden_bytes(p);
    }
    if (strchr("\t\n\r", p[0]))
        snprintf(shown, QL_SHOWN_SIZE, " ");
    else
        snprintf(shown, QL_SHOWN_SIZE, "^%c", p[0] ^ 0x40);
    return 1;
}

/* Adds text with as(text, i) in the place of byte i; `out` NULL: only counts. */
static void
add_escaped(const char *text, size_t first, size_t bytes, const char *(*as)(const char *text, size_t i), char *out,
            size_t *at)
{
    for (size_t i = first; i < first + bytes; i++) {
        const char *other = as(text, i);
        const size_t n = other ? strlen(other) : 1;

        if (out)
            memcpy(out + *at, other ? other : text + i, n);
        *at += n;
    }
}

static size_t
escape_into(const char *text, const char *(*as)(const char *text, size_t i), char *out)
{
    const size_t n = strlen(text);
    char shown[QL_SHOWN_SIZE];
    size_t at = 0;

    for (size_t i = 0; i < n;) {
        const size_t control = ql_control(text + i, shown);

        if (control)
            add_escaped(shown, 0, strlen(shown), as, out, &at);
        else
            add_escaped(text, i, 1, as, out, &at);
        i += control ? control : 1;
    }
    return at;
}

const char *
ql_escape(ql_ctx *cx, const char *text, const char *(*as)(const char *text, size_t i))
{
    char *out = ql_alloc(cx, escape_into(text, as, NULL) + 1, 1);

    if (out)
        (void)escape_into(text, as, out);
    return out;
}

static const char *const words[] = {
    [QL_TABLE_MARKDOWN] = "md", [QL_TABLE_CSV] = "csv", [QL_TABLE_LATEX] = "tex", [QL_TABLE_JSON] = "json"};

ql_status
ql_table_format_parse(ql_ctx *cx, const char *word, ql_table_format *out)
{
    for (int i = 0; i < (int)(sizeof words / sizeof *words); i++)
        if (strcmp(words[i], word) == 0) {
            *out = (ql_table_format)i;
            return QL_OK;
        }
    return QL_FAIL(cx, QL_INVALID, "--format: got '%s', expected md, csv, tex or json", word);
}

static ql_status
write_layout(ql_book *b, const ql_table_spec *spec, ql_table_format format, FILE *out)
{
    ql_table_spec differences = *spec;
    ql_table table;

    QL_TRY(b->cx, ql_table_make(b, spec, &table));
    if (format == QL_TABLE_CSV)
        return ql_render_csv(b->cx, &table, out);
    QL_TRY(b->cx, ql_render_text(b->cx, &table, format == QL_TABLE_LATEX ? QL_TEXT_LATEX : QL_TEXT_MARKDOWN, out));
    if (spec->differences || !spec->compare_count || format != QL_TABLE_MARKDOWN)
        return QL_OK;
    differences.differences = true; /* a second table of what the file's `compare` asks for */
    fputs("\n", out);
    QL_TRY(b->cx, ql_book_compare(b, spec->compare));
    return write_layout(b, &differences, format, out);
}

ql_status
ql_table_write(ql_book *b, const ql_table_spec *spec, ql_table_format format, FILE *out)
{
    ql_scope scope;
    ql_status st;

    ql_scope_open(b->cx, &scope);
    st = format == QL_TABLE_JSON ? ql_render_json(b, out) : write_layout(b, spec, format, out);
    ql_scope_close(b->cx, &scope);
    return st;
}
