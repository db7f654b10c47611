/* A table in Markdown, padded so that it reads well on a terminal too. */
#include "render.h"
#include "svg.h"

#include <ctype.h>
#include <string.h>

/* Text that Markdown would read as markup. An underscore inside a word is plain text in every dialect in use. */
static const char *
special(const char *text, size_t i)
{
    static const char marked[] = "\\`*[]<>|", *const as[] = {"\\\\", "\\`", "\\*", "\\[", "\\]", "\\<", "\\>", "\\|"};
    const char *found = strchr(marked, text[i]);

    if (text[i] == '_')
        return i > 0 && isalnum((unsigned char)text[i - 1]) && isalnum((unsigned char)text[i + 1]) ? NULL : "\\_";
    return found ? as[found - marked] : NULL;
}

static const char *
escape(ql_ctx *cx, const char *text)
{
    return ql_escape(cx, text, special);
}

static void
put_row(const ql_table *t, const char *const *fields, const int *widths, FILE *out)
{
    for (int64_t k = 0; k < t->key_count + t->column_count; k++) {
        int pad = widths[k] - ql_text_columns(fields[k]);

        if (k < t->key_count)
            fprintf(out, "| %s%*s ", fields[k], pad, "");
        else
            fprintf(out, "| %*s%s ", pad, "", fields[k]);
    }
    fputs("|\n", out);
}

static void
put_rule(const ql_table *t, const int *widths, FILE *out)
{
    for (int64_t k = 0; k < t->key_count + t->column_count; k++) {
        fputs("| ", out);
        for (int i = 0; i < widths[k] - 1; i++)
            fputc('-', out);
        fputs(k < t->key_count ? "- " : ": ", out);
    }
    fputs("|\n", out);
}

static ql_status
put_line(ql_ctx *cx, const char *prefix, const char *text, FILE *out)
{
    const char *escaped = escape(cx, text);

    if (!escaped)
        return QL_MEMORY;
    fprintf(out, "%s%s\n", prefix, escaped);
    return QL_OK;
}

static ql_status
put_notes(ql_ctx *cx, const ql_table *t, FILE *out)
{
    for (int64_t i = 0; i < t->remarks.count; i++)
        QL_TRY(cx, put_line(cx, i ? "- " : "\n- ", t->remarks.items[i], out));
    for (int64_t i = 0; i < t->footnotes.count; i++) {
        const char *prefix = ql_format(cx, "%s[^%lld]: ", i ? "" : "\n", (long long)i + 1);

        if (!prefix)
            return QL_MEMORY;
        QL_TRY(cx, put_line(cx, prefix, t->footnotes.items[i], out));
    }
    return QL_OK;
}

ql_status
ql_render_markdown(ql_ctx *cx, const ql_table *t, FILE *out)
{
    static const ql_dialect dialect = {.escape = escape,
                                       .marks = {"[^", "][^", "]"},
                                       .plus_minus = " \xc2\xb1 ",
                                       .failed = "failed",
                                       .best = {"**", "**"}};
    const int64_t width = t->key_count + t->column_count;
    int *widths = ql_alloc(cx, (size_t)width, sizeof *widths);
    const char **grid;

    if (!widths)
        return QL_MEMORY;
    QL_TRY(cx, ql_grid_make(cx, t, &dialect, &grid));
    for (int64_t i = 0; i < (t->row_count + 1) * width; i++) {
        int w = ql_text_columns(grid[i]), *most = &widths[i % width];

        *most = w > *most ? w : *most < 3 ? 3 : *most; /* a rule is three dashes at least */
    }
    if (t->value)
        QL_TRY(cx, put_line(cx, "", t->value, out));
    if (t->value)
        fputc('\n', out);
    put_row(t, grid, widths, out);
    put_rule(t, widths, out);
    for (int64_t i = 1; i <= t->row_count; i++)
        put_row(t, grid + i * width, widths, out);
    return put_notes(cx, t, out);
}
