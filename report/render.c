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

const char *
ql_escape(ql_ctx *cx, const char *text, const char *(*as)(const char *text, size_t i))
{
    size_t n = strlen(text), bytes = 1, at = 0;
    char *out;

    for (size_t i = 0; i < n; i++)
        bytes += as(text, i) ? strlen(as(text, i)) : 1;
    out = ql_alloc(cx, bytes, 1);
    for (size_t i = 0; out && i < n; i++) {
        const char *other = as(text, i);

        if (other)
            memcpy(out + at, other, strlen(other));
        else
            out[at] = (unsigned char)text[i] < ' ' ? ' ' : text[i];
        at += other ? strlen(other) : 1;
    }
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
write_layout(ql_ctx *cx, const ql_result_set *const *sets, int64_t count, const ql_table_spec *spec,
             ql_table_format format, FILE *out)
{
    ql_table table;

    QL_TRY(cx, ql_table_make(cx, sets, count, spec, &table));
    return format == QL_TABLE_CSV     ? ql_render_csv(cx, &table, out)
           : format == QL_TABLE_LATEX ? ql_render_latex(cx, &table, out)
                                      : ql_render_markdown(cx, &table, out);
}

ql_status
ql_table_write(ql_ctx *cx, const ql_result_set *const *sets, int64_t count, const ql_table_spec *spec,
               ql_table_format format, FILE *out)
{
    ql_scope scope;
    ql_status st;

    ql_scope_open(cx, &scope);
    st = format == QL_TABLE_JSON ? ql_render_json(cx, sets, count, out)
                                 : write_layout(cx, sets, count, spec, format, out);
    ql_scope_close(cx, &scope);
    return st;
}
