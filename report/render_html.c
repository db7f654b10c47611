/* A table in HTML, for the report. */
#include "render.h"

#include "base/printer.h"
#include "svg.h"

static const char *
escape(ql_ctx *cx, const char *text)
{
    const char *safe = NULL;
    ql_printer p;

    if (ql_printer_open(cx, &p) != QL_OK)
        return NULL;
    ql_html_put(p.out, text);
    return ql_printer_close(cx, &p, &safe) == QL_OK ? safe : NULL;
}

static void
put_head(const ql_table *t, const char *const *fields, FILE *out)
{
    fputs("<thead><tr>", out);
    for (int64_t k = 0; k < t->key_count + t->column_count; k++)
        fprintf(out, "<th scope=\"col\"%s>%s</th>", k < t->key_count ? "" : " class=\"n\"", fields[k]);
    fputs("</tr></thead>\n", out);
}

static void
put_row(const ql_table *t, int64_t row, const char *const *fields, FILE *out)
{
    fputs(row < t->baseline_count ? "<tr class=\"original\">" : "<tr>", out);
    for (int64_t k = 0; k < t->key_count; k++)
        fprintf(out, "<th scope=\"row\">%s</th>", fields[k]);
    for (int64_t k = 0; k < t->column_count; k++)
        fprintf(out, "<td class=\"n\">%s</td>", fields[t->key_count + k]);
    fputs("</tr>\n", out);
}

static void
put_notes(const ql_table *t, FILE *out)
{
    for (int64_t i = 0; i < t->remarks.count; i++) {
        ql_html_print(out, "<p class=\"remark\">%s</p>\n", t->remarks.items[i]);
    }
    if (!t->footnotes.count)
        return;
    fputs("<ol class=\"notes\">\n", out);
    for (int64_t i = 0; i < t->footnotes.count; i++) {
        ql_html_print(out, "<li>%s</li>\n", t->footnotes.items[i]);
    }
    fputs("</ol>\n", out);
}

ql_status
ql_render_html(ql_ctx *cx, const ql_table *t, FILE *out)
{
    static const ql_dialect dialect = {.escape = escape,
                                       .marks = {"<sup>", ", ", "</sup>"},
                                       .plus_minus = " <span class=\"pm\">\xc2\xb1</span> ",
                                       .failed = "<em>failed</em>",
                                       .best = {"<strong>", "</strong>"}};
    const int64_t width = t->key_count + t->column_count;
    const char **grid;

    QL_TRY(cx, ql_grid_make(cx, t, &dialect, &grid));
    fputs("<div class=\"scroll\"><table>\n", out);
    if (t->value) {
        ql_html_print(out, "<caption>%s</caption>\n", t->value);
    }
    put_head(t, grid, out);
    fputs("<tbody>\n", out);
    for (int64_t i = 0; i < t->row_count; i++)
        put_row(t, i, grid + (i + 1) * width, out);
    fputs("</tbody></table></div>\n", out);
    put_notes(t, out);
    return QL_OK;
}
