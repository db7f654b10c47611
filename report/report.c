/* The page: facts, the table, every cell with what it cost, the figures. */
#include "report.h"

#include <math.h>
#include <string.h>

#include "base/printer.h"
#include "figures.h"
#include "render.h"
#include "svg.h"

const ql_figure_kind ql_figures[] = {
    {"pareto", "Quality against size", ql_figure_pareto, false},
    {"series", "Training", ql_figure_series, false},
    {"time", "Time of each stage", ql_figure_time, false},
    {"memory", "Device memory of each stage", ql_figure_memory, false},
    {"spectrum", "Singular values", ql_figure_spectrum, false},
    {"heat", "Error of each linear", ql_figure_heat, false},
    {"graph", "The graph", ql_figure_graph, true},
    {NULL, NULL, NULL, false},
};

/* A figure made: its drawing and its numbers as text. */
typedef struct made {
    const char *svg, *data, *caption;
} made;

static ql_status
make_figure(ql_ctx *cx, const ql_figure_kind *kind, const ql_figure_input *in, made *out)
{
    ql_printer svg, data;
    ql_figure figure = {0};
    ql_status st, closed;

    *out = (made){0};
    QL_TRY(cx, ql_printer_open(cx, &svg));
    st = ql_printer_open(cx, &data);
    if (st == QL_OK) {
        figure.svg = svg.out;
        figure.data = data.out;
        st = kind->make(cx, in, &figure);
        closed = ql_printer_close(cx, &data, &out->data);
        st = st == QL_OK ? closed : st;
    }
    closed = ql_printer_close(cx, &svg, &out->svg);
    out->caption = figure.caption;
    return st == QL_OK ? closed : st;
}

static ql_status
put_facts(const ql_book *b, FILE *out)
{
    static const char sql[] =
        "SELECT iif((SELECT count(*) FROM run) > 1, name || ': ', ''), (SELECT count(*) FROM cell WHERE run = r.id"
        " AND NOT baseline), (SELECT count(error) FROM cell WHERE run = r.id), seconds, peak / 1048576.0,"
        " ifnull(device, ''), ifnull(version, '') FROM run r ORDER BY id";
    ql_sheet runs;

    QL_TRY(b->cx, ql_sheet_read(b->db, &runs, sql, ""));
    for (int64_t i = 0; i < runs.count; i++) {
        const ql_field *r = ql_row(&runs, i);

        ql_html_print(out, "<p class=\"facts\">%s", r[0].text);
        fprintf(out, "%lld %s", (long long)r[1].integer, r[1].integer == 1 ? "cell" : "cells");
        if (r[2].integer)
            fprintf(out, ", %lld failed", (long long)r[2].integer);
        fprintf(out, " \xc2\xb7 %.1f s \xc2\xb7 %.0f MiB of host memory at most \xc2\xb7 ", r[3].real, r[4].real);
        ql_html_print(out, "%s \xc2\xb7 qloom %s</p>\n", r[5].text, r[6].text);
    }
    return QL_OK;
}

/* --- every cell */

static void
put_number(double value, const char *sign, FILE *out)
{
    char text[QL_NUMBER_SIZE];

    ql_number_short(value, text);
    fprintf(out, "<td class=\"n\">%s%s</td>", sign, isnan(value) ? "" : text);
}

/* The cells of a run, with the number of metric ?2 and its difference from the original model; and, in the same order, what they are called
 * under each axis. */
enum { CELL, BASELINE, ERROR, NUMBER, DIFFERENCE, STANDARD_ERROR, BITS, SECONDS, PEAK };
static const char cells_sql[] =
    "SELECT c.id, c.baseline, c.error, n.value, d.value, d.error, c.bits, c.seconds, c.peak / 1048576.0 FROM cell c"
    " LEFT JOIN number n ON n.cell = c.id AND n.metric = ?2 LEFT JOIN difference d ON d.cell = c.id AND d.metric = ?2"
    " WHERE c.run = ?1 ORDER BY c.id";
static const char labels_sql[] = "SELECT ifnull(l.label, '-') FROM cell c JOIN axis a ON a.run = c.run AND a.in_matrix "
                                 "LEFT JOIN label l ON l.cell = c.id"
                                 " AND l.reference = a.reference WHERE c.run = ?1 ORDER BY c.id, a.position";

static void
put_cell(const ql_field *c, FILE *out)
{
    if (c[ERROR].text)
        ql_html_print(out, "<td class=\"n\"><em title=\"%s\">failed</em></td>", c[ERROR].text);
    else
        put_number(c[NUMBER].real, "", out);
    put_number(c[DIFFERENCE].real, c[DIFFERENCE].real > 0 ? "+" : "", out);
    put_number(c[STANDARD_ERROR].real, "", out);
    put_number(c[BITS].real, "", out);
    fprintf(out, "<td class=\"n\">%.2f</td><td class=\"n\">%.1f</td></tr>\n", c[SECONDS].real, c[PEAK].real);
}

/* A row each cell, runs one after the other: their axes may differ, so each has a table. */
static ql_status
put_cells(const ql_figure_input *in, int64_t run, const char *name, FILE *out)
{
    const ql_book *b = in->book;
    ql_sheet axes, cells, labels;

    QL_TRY(b->cx, ql_sheet_read(b->db, &axes,
                                "SELECT reference FROM axis WHERE run = ? AND in_matrix ORDER BY position", "i", run));
    QL_TRY(b->cx, ql_sheet_read(b->db, &cells, cells_sql, "it", run, in->value));
    QL_TRY(b->cx, ql_sheet_read(b->db, &labels, labels_sql, "i", run));
    fputs("<div class=\"scroll\"><table class=\"cells\">\n<thead><tr>", out);
    if (b->runs > 1)
        fputs("<th scope=\"col\">run</th>", out);
    for (int64_t a = 0; a < axes.count; a++)
        ql_html_print(out, "<th scope=\"col\">%s</th>", ql_row(&axes, a)->text);
    if (axes.count == 0)
        fputs("<th scope=\"col\">cell</th>", out);
    ql_html_print(out, "<th scope=\"col\" class=\"n\">%s</th>", in->value ? in->value : "");
    fputs("<th scope=\"col\" class=\"n\">less original</th><th scope=\"col\" class=\"n\">\xc2\xb1 paired</th>"
          "<th scope=\"col\" class=\"n\">bits per weight</th><th scope=\"col\" class=\"n\">seconds</th>"
          "<th scope=\"col\" class=\"n\">peak MiB</th></tr></thead>\n<tbody>\n",
          out);
    for (int64_t i = 0; i < cells.count; i++) {
        const ql_field *c = ql_row(&cells, i);

        fputs(c[BASELINE].integer ? "<tr class=\"original\">" : "<tr>", out);
        if (b->runs > 1)
            ql_html_print(out, "<th scope=\"row\">%s</th>", name);
        for (int64_t a = 0; a < axes.count; a++)
            ql_html_print(out, "<th scope=\"row\">%s</th>", ql_row(&labels, i * axes.count + a)->text);
        if (axes.count == 0)
            ql_html_print(out, "<th scope=\"row\">%s</th>", c[BASELINE].integer ? QL_ORIGINAL_LABEL : "the only cell");
        put_cell(c, out);
    }
    fputs("</tbody></table></div>\n", out);
    return QL_OK;
}

static ql_status
put_all_cells(const ql_figure_input *in, FILE *out)
{
    static const char remark[] =
        "<p class=\"remark\">Less original: the difference from the original model, with its standard error over "
        "paired "
        "windows. Bits: codes, scales, zeros and adapter of the linears in blocks. Seconds: of the cell's own stages, "
        "those "
        "that it shares with other cells included. Peak: device memory in use while they worked.</p>\n";
    ql_sheet runs;

    QL_TRY(in->book->cx, ql_sheet_read(in->book->db, &runs, "SELECT id, name FROM run ORDER BY id", ""));
    fprintf(out, "<section id=\"cells\">\n<h2>Every cell</h2>\n%s", remark);
    for (int64_t i = 0; i < runs.count; i++)
        QL_TRY(in->book->cx, put_cells(in, ql_row(&runs, i)[0].integer, ql_row(&runs, i)[1].text, out));
    fputs("</section>\n", out);
    return QL_OK;
}

/* --- the page */

static ql_status
put_figure(ql_ctx *cx, const ql_figure_kind *kind, const ql_figure_input *in, FILE *out)
{
    made m;

    QL_TRY(cx, make_figure(cx, kind, in, &m));
    if (!m.caption)
        return QL_OK;
    fprintf(out, "<section id=\"%s\"%s>\n<h2>%s</h2>\n<figure>\n<div class=\"scroll\">%s</div>\n", kind->name,
            kind->wide ? " class=\"wide\"" : "", kind->title, m.svg);
    ql_html_print(out, "<figcaption>%s</figcaption>\n</figure>\n", m.caption);
    fprintf(out, "<details><summary>Numbers</summary><div class=\"scroll\">%s</div></details>\n</section>\n", m.data);
    return QL_OK;
}

static ql_status
put_figures(ql_ctx *cx, const ql_figure_input *in, bool wide, FILE *out)
{
    for (const ql_figure_kind *k = ql_figures; k->name; k++)
        if (k->wide == wide)
            QL_TRY(cx, put_figure(cx, k, in, out));
    return QL_OK;
}

/* A page is called by its run, or by how many they are. */
static ql_status
write_page(ql_book *b, const ql_figure_input *in, const ql_table_spec *spec, FILE *out)
{
    ql_table table;
    const char *title;
    ql_sheet names;

    QL_TRY(b->cx, ql_sheet_read(b->db, &names, "SELECT iif(count(*) = 1, name, count(*) || ' runs') FROM run", ""));
    title = ql_row(&names, 0)->text;
    /* The policy makes the browser itself refuse anything from outside, whatever a label says. */
    fputs("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
          "img-src data:\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<link rel=\"icon\" href=\"data:,\">\n",
          out);
    ql_html_print(out, "<title>%s \xc2\xb7 qloom</title>\n", title);
    fprintf(out, "<style>%s%s</style>\n</head>\n<body>\n<header>\n", ql_figure_style, ql_page_style);
    ql_html_print(out, "<h1>%s</h1>\n", title);
    QL_TRY(b->cx, put_facts(b, out));
    fputs("</header>\n<main>\n<section id=\"table\">\n<h2>Results</h2>\n", out);
    QL_TRY(b->cx, ql_table_make(b, spec, &table));
    QL_TRY(b->cx, ql_render_text(b->cx, &table, QL_TEXT_HTML, out));
    fputs("</section>\n<div class=\"figures\">\n", out);
    QL_TRY(b->cx, put_figures(b->cx, in, false, out));
    fputs("</div>\n", out);
    QL_TRY(b->cx, put_figures(b->cx, in, true, out));
    QL_TRY(b->cx, put_all_cells(in, out));
    fputs("</main>\n</body>\n</html>\n", out);
    return QL_OK;
}

/* The metric that figures look at: `wanted`, else that of the first run's table, else the first one that is the mean of parts and says
 * which way is better. NULL: there is none. */
static ql_status
choose_value(ql_book *b, const char *who, const char *wanted, const char **out)
{
    static const char sql[] = "SELECT coalesce(?, (SELECT reference FROM layout WHERE run = 1 AND part = 'value'),"
                              " (SELECT metric FROM kind WHERE better AND parts IS NOT NULL LIMIT 1))";
    ql_names names = {0};
    ql_sheet rows;

    QL_TRY(b->cx, ql_sheet_read(b->db, &rows, sql, "t", wanted));
    *out = ql_row(&rows, 0)->text;
    if (!*out)
        return QL_OK;
    QL_TRY(b->cx, ql_book_metrics(b, who, *out, &names));
    *out = names.items[0]; /* of several the first */
    return QL_OK;
}

static ql_status
write_report(ql_book *b, const ql_table_spec *spec, FILE *out)
{
    ql_figure_input in = {.book = b};

    QL_TRY(b->cx, choose_value(b, "report", spec->value, &in.value));
    QL_TRY(b->cx, ql_book_compare(b, spec->compare_count ? spec->compare : NULL));
    QL_TRY(b->cx, ql_book_differences(b, in.value, 0));
    return write_page(b, &in, spec, out);
}

ql_status
ql_report_write(ql_book *b, const ql_table_spec *spec, FILE *out)
{
    ql_scope scope;
    ql_status st;

    ql_scope_open(b->cx, &scope);
    st = write_report(b, spec, out);
    ql_scope_close(b->cx, &scope);
    return st;
}

static ql_status
find_figure(ql_ctx *cx, const char *name, const ql_figure_kind **out)
{
    const char *names = "";

    for (*out = ql_figures; (*out)->name; (*out)++) {
        if (strcmp((*out)->name, name) == 0)
            return QL_OK;
        names = ql_format(cx, "%s%s%s", names, *names ? ", " : "", (*out)->name);
        if (!names)
            return QL_MEMORY;
    }
    return QL_FAIL(cx, QL_INVALID, "plot: there is no figure '%s', expected one of %s", name, names);
}

static ql_status
write_plot(ql_book *b, const char *value, const char *figure, const char *series, FILE *out)
{
    ql_figure_input in = {.book = b, .series = series};
    const ql_figure_kind *kind;
    const char *svg;
    made m;

    QL_TRY(b->cx, find_figure(b->cx, figure, &kind));
    QL_TRY(b->cx, choose_value(b, "plot", value, &in.value));
    QL_TRY(b->cx, make_figure(b->cx, kind, &in, &m));
    if (!m.caption)
        return QL_FAIL(b->cx, QL_NOT_FOUND, "plot: these results have nothing that '%s' could show", figure);
    svg = strchr(m.svg, '>') + 1; /* the style goes behind the opening tag */
    fprintf(out, "%.*s<style>%ssvg{background:var(--page)}</style>%s", (int)(svg - m.svg), m.svg, ql_figure_style, svg);
    return QL_OK;
}

ql_status
ql_plot_write(ql_book *b, const ql_table_spec *spec, const char *figure, const char *series, FILE *out)
{
    ql_scope scope;
    ql_status st;

    ql_scope_open(b->cx, &scope);
    st = write_plot(b, spec->value, figure, series, out);
    ql_scope_close(b->cx, &scope);
    return st;
}
