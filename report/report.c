/* The page: facts, the table, every cell with what it cost, the figures. */
#include "report.h"

#include <math.h>
#include <string.h>

#include "base/printer.h"
#include "compare.h"
#include "figures.h"
#include "render.h"

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

static void
put_facts(const ql_result_set *const *sets, int64_t count, FILE *out)
{
    for (int64_t s = 0; s < count; s++) {
        const ql_result_set *set = sets[s];
        int64_t cells = 0, failed = 0;

        for (int64_t i = 0; i < set->cell_count; i++) {
            cells += !set->cells[i].baseline;
            failed += set->cells[i].error != NULL;
        }
        fputs("<p class=\"facts\">", out);
        if (count > 1)
            ql_html_print(out, "%s: ", set->run);
        fprintf(out, "%lld %s", (long long)cells, cells == 1 ? "cell" : "cells");
        if (failed)
            fprintf(out, ", %lld failed", (long long)failed);
        fprintf(out, " \xc2\xb7 %.1f s \xc2\xb7 %.0f MiB of host memory at most \xc2\xb7 ", set->seconds,
                (double)set->peak / (1 << 20));
        ql_html_print(out, "%s \xc2\xb7 qloom ", set->device ? set->device : "");
        ql_html_print(out, "%s</p>\n", set->version ? set->version : "");
    }
}

static ql_status
put_table(ql_ctx *cx, const ql_result_set *const *sets, int64_t count, const ql_table_spec *spec, FILE *out)
{
    ql_table table;

    QL_TRY(cx, ql_table_make(cx, sets, count, spec, &table));
    return ql_render_html(cx, &table, out);
}

/* --- every cell */

static void
put_number(double value, const char *sign, FILE *out)
{
    char text[QL_NUMBER_SIZE];

    ql_number_short(value, text);
    fprintf(out, "<td class=\"n\">%s%s</td>", sign, isnan(value) ? "" : text);
}

static void
put_cell(const ql_figure_input *in, const ql_result_set *set, int64_t cell, FILE *out)
{
    const ql_result_cell *c = &set->cells[cell];
    ql_difference d = {.value = NAN, .error = NAN};
    double value = NAN;

    (void)(in->value && ql_results_value(c, in->value, &value));
    (void)(in->value && ql_results_difference(set, cell, c->original, in->value, &d));
    fputs(c->baseline ? "<tr class=\"original\">" : "<tr>", out);
    if (in->count > 1)
        ql_html_print(out, "<th scope=\"row\">%s</th>", set->run);
    for (int64_t a = 0; a < set->axis_count; a++)
        ql_html_print(out, "<th scope=\"row\">%s</th>", c->labels[a] ? c->labels[a] : "-");
    if (set->axis_count == 0)
        ql_html_print(out, "<th scope=\"row\">%s</th>", c->baseline ? QL_ORIGINAL_LABEL : "the only cell");
    if (c->error)
        ql_html_print(out, "<td class=\"n\"><em title=\"%s\">failed</em></td>", c->error);
    else
        put_number(value, "", out);
    put_number(d.value, d.value > 0 ? "+" : "", out);
    put_number(d.error, "", out);
    put_number(c->bits, "", out);
    fprintf(out, "<td class=\"n\">%.2f</td><td class=\"n\">%.1f</td></tr>\n", c->cost.seconds,
            (double)c->cost.peak / (1 << 20));
}

/* A row each cell, runs one after the other: their axes may differ, so each has a table. */
static void
put_cells(const ql_figure_input *in, const ql_result_set *set, FILE *out)
{
    fputs("<div class=\"scroll\"><table class=\"cells\">\n<thead><tr>", out);
    if (in->count > 1)
        fputs("<th scope=\"col\">run</th>", out);
    for (int64_t a = 0; a < set->axis_count; a++)
        ql_html_print(out, "<th scope=\"col\">%s</th>", set->references[a]);
    if (set->axis_count == 0)
        fputs("<th scope=\"col\">cell</th>", out);
    ql_html_print(out, "<th scope=\"col\" class=\"n\">%s</th>", in->value ? in->value : "");
    fputs("<th scope=\"col\" class=\"n\">less original</th><th scope=\"col\" class=\"n\">\xc2\xb1 paired</th>"
          "<th scope=\"col\" class=\"n\">bits per weight</th><th scope=\"col\" class=\"n\">seconds</th>"
          "<th scope=\"col\" class=\"n\">peak MiB</th></tr></thead>\n<tbody>\n",
          out);
    for (int64_t i = 0; i < set->cell_count; i++)
        put_cell(in, set, i, out);
    fputs("</tbody></table></div>\n", out);
}

static void
put_all_cells(const ql_figure_input *in, FILE *out)
{
    static const char remark[] =
        "<p class=\"remark\">Less original: the difference from the original model, with its standard error over "
        "paired "
        "windows. Bits: codes, scales, zeros and adapter of the linears in blocks. Seconds: of the cell's own stages, "
        "those "
        "that it shares with other cells included. Peak: device memory in use while they worked.</p>\n";

    fprintf(out, "<section id=\"cells\">\n<h2>Every cell</h2>\n%s", remark);
    for (int64_t s = 0; s < in->count; s++)
        put_cells(in, in->sets[s], out);
    fputs("</section>\n", out);
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

static ql_status
write_page(ql_ctx *cx, const ql_figure_input *in, const ql_table_spec *spec, FILE *out)
{
    const char *title = in->count == 1 ? in->sets[0]->run : ql_format(cx, "%lld runs", (long long)in->count);

    if (!title)
        return QL_MEMORY;
    /* The policy makes the browser itself refuse anything from outside, whatever a label says. */
    fputs("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
          "img-src data:\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<link rel=\"icon\" href=\"data:,\">\n",
          out);
    ql_html_print(out, "<title>%s \xc2\xb7 qloom</title>\n", title);
    fprintf(out, "<style>%s%s</style>\n</head>\n<body>\n<header>\n", ql_figure_style, ql_page_style);
    ql_html_print(out, "<h1>%s</h1>\n", title);
    put_facts(in->sets, in->count, out);
    fputs("</header>\n<main>\n<section id=\"table\">\n<h2>Results</h2>\n", out);
    QL_TRY(cx, put_table(cx, in->sets, in->count, spec, out));
    fputs("</section>\n<div class=\"figures\">\n", out);
    QL_TRY(cx, put_figures(cx, in, false, out));
    fputs("</div>\n", out);
    QL_TRY(cx, put_figures(cx, in, true, out));
    put_all_cells(in, out);
    fputs("</main>\n</body>\n</html>\n", out);
    return QL_OK;
}

ql_status
ql_report_write(ql_ctx *cx, const ql_result_set *const *sets, int64_t count, const ql_table_spec *spec, FILE *out)
{
    ql_figure_input in = {.sets = sets, .count = count};
    ql_scope scope;
    ql_status st;

    ql_scope_open(cx, &scope);
    st = ql_figure_value(cx, sets, count, spec->value, &in.value);
    if (st == QL_OK)
        st = write_page(cx, &in, spec, out);
    ql_scope_close(cx, &scope);
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

/* Where no cell has any metric, everything failed, and the figures say what they can. */
static bool
has_metric(const ql_figure_input *in, const char *metric)
{
    bool any = false;
    double value;

    for (int64_t s = 0; s < in->count; s++)
        for (int64_t i = 0; i < in->sets[s]->cell_count; i++) {
            any = any || in->sets[s]->cells[i].metric_count > 0;
            if (ql_results_value(&in->sets[s]->cells[i], metric, &value))
                return true;
        }
    return !any;
}

static ql_status
write_plot(ql_ctx *cx, ql_figure_input *in, const char *value, const char *figure, FILE *out)
{
    const ql_figure_kind *kind;
    const char *svg;
    made m;

    QL_TRY(cx, find_figure(cx, figure, &kind));
    QL_TRY(cx, ql_figure_value(cx, in->sets, in->count, value, &in->value));
    if (value && !has_metric(in, value))
        return QL_FAIL(cx, QL_INVALID, "plot: no cell has the metric '%s'", value);
    QL_TRY(cx, make_figure(cx, kind, in, &m));
    if (!m.caption)
        return QL_FAIL(cx, QL_NOT_FOUND, "plot: these results have nothing that '%s' could show", figure);
    svg = strchr(m.svg, '>') + 1; /* the style goes behind the opening tag */
    fprintf(out, "%.*s<style>%ssvg{background:var(--page)}</style>%s", (int)(svg - m.svg), m.svg, ql_figure_style, svg);
    return QL_OK;
}

ql_status
ql_plot_write(ql_ctx *cx, const ql_result_set *const *sets, int64_t count, const ql_table_spec *spec,
              const char *figure, FILE *out)
{
    ql_figure_input in = {.sets = sets, .count = count};
    ql_scope scope;
    ql_status st;

    ql_scope_open(cx, &scope);
    st = write_plot(cx, &in, spec->value, figure, out);
    ql_scope_close(cx, &scope);
    return st;
}
