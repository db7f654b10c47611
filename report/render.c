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

size_t
ql_control(const char *text, char shown[QL_SHOWN_SIZE])
{
    static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
    const unsigned char *p = (const unsigned char *)text;
    const bool bidi = p[0] == 0xe2 && ((p[1] == 0x80 && p[2] >= 0xaa && p[2] <= 0xae) ||
                                       (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9));

    if (p[0] == '\t' || p[0] == '\n' || p[0] == '\r')
        snprintf(shown, QL_SHOWN_SIZE, " ");
    else if (p[0] < ' ' || p[0] == 0x7f)
        snprintf(shown, QL_SHOWN_SIZE, "^%c", p[0] ^ 0x40);
    else
        snprintf(shown, QL_SHOWN_SIZE, "%s", replacement);
    return p[0] == '\0'                                   ? 0
           : p[0] < ' ' || p[0] == 0x7f                   ? 1
           : p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f ? 2
           : bidi                                         ? 3
                                                          : 0;
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

/* The numbers of footnotes as the format marks them; "" for none. */
static const char *
marks_text(ql_ctx *cx, const ql_dialect *d, const ql_notes *notes)
{
    const char *text = "";

    for (int64_t i = 0; i < notes->count && text; i++)
        text = ql_format(cx, "%s%s%lld", text, d->marks[i > 0], (long long)notes->items[i]);
    return text && *text ? ql_format(cx, "%s%s", text, d->marks[2]) : text;
}

static const char *
label_text(ql_ctx *cx, const ql_dialect *d, const ql_table_label *l)
{
    const char *text = d->escape(cx, l->text), *marks = marks_text(cx, d, &l->notes);

    return text && marks ? ql_format(cx, "%s%s", text, marks) : NULL;
}

static const char *
entry_text(ql_ctx *cx, const ql_dialect *d, const ql_table *t, const ql_table_entry *e)
{
    const char *marks = marks_text(cx, d, &e->notes), *sign = t->differences && e->mean > 0 ? "+" : "";
    char mean[QL_NUMBER_SIZE], sd[QL_NUMBER_SIZE];

    if (!marks)
        return NULL;
    if (!e->count)
        return ql_format(cx, "%s%s", e->failed ? d->failed : "", marks);
    ql_number_short(e->mean, mean);
    ql_number_short(e->sd, sd);
    return ql_format(cx, "%s%s%s%s%s%s%s", e->best ? d->best[0] : "", sign, mean, e->spread ? d->plus_minus : "",
                     e->spread ? sd : "", e->best ? d->best[1] : "", marks);
}

ql_status
ql_grid_make(ql_ctx *cx, const ql_table *t, const ql_dialect *d, const char ***out)
{
    const int64_t width = t->key_count + t->column_count;
    const char **grid = ql_alloc(cx, (size_t)((t->row_count + 1) * width), sizeof *grid);

    for (int64_t i = 0; grid && i < (t->row_count + 1) * width; i++) {
        int64_t row = i / width - 1, column = i % width - t->key_count;

        if (row < 0)
            grid[i] = column < 0 ? d->escape(cx, t->keys[i]) : label_text(cx, d, &t->columns[column]);
        else if (column < 0)
            grid[i] = label_text(cx, d, &t->rows[row * t->key_count + i % width]);
        else
            grid[i] = entry_text(cx, d, t, &t->entries[row * t->column_count + column]);
        if (!grid[i])
            return QL_MEMORY;
    }
    *out = grid;
    return grid ? QL_OK : QL_MEMORY;
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
    ql_table table;

    QL_TRY(b->cx, ql_table_make(b, spec, &table));
    return format == QL_TABLE_CSV     ? ql_render_csv(b->cx, &table, out)
           : format == QL_TABLE_LATEX ? ql_render_latex(b->cx, &table, out)
                                      : ql_render_markdown(b->cx, &table, out);
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
