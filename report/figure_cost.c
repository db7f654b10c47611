/* Seconds and device memory of the stages of the graph, as bars. Stages that differ in the cell that they serve
 * alone are one bar. */
#include <math.h>

#include "figures.h"
#include "render.h"

#define WIDTH QL_FIGURE_WIDTH
#define BAR 22      /* from one bar to the next */
#define NUMBER 64   /* for the number behind a bar */
#define BARS_MAX 16 /* drawn; the table has all */

/* A quantity that bars show. */
typedef struct quantity {
    const char *title, *unit, *caption;
    int column; /* of the query */
} quantity;

enum { NAME, RUN, STAGE, KIND, LABEL, NODES, CALLS, SECONDS, UP, DOWN, PEAK };

/* Bars, the largest in column ?1 first; equal ones stay in the order of the graph. A bar's name: "quant: NAME bits=3 (4)", behind the run
 * where there are several. */
static const char bars_sql[] =
    "SELECT iif((SELECT count(*) FROM run) > 1, run || ', ', '') || iif(stage <> '', stage || ': ', '') || label"
    " || iif(nodes > 1, ' (' || nodes || ')', ''), * FROM"
    " (SELECT r.name AS run, stage, min(kind), label, count(*) AS nodes, sum(calls), sum(s.seconds) AS seconds,"
    " sum(up) / 1048576.0, sum(down) / 1048576.0, max(s.peak) / 1048576.0 AS peak, min(s.rowid) AS first"
    " FROM stage s JOIN run r ON r.id = s.run GROUP BY r.name, stage, label)"
    " ORDER BY iif(?1 = 7, seconds, peak) DESC, first";

static ql_status
draw(ql_ctx *cx, const ql_sheet *bars, const quantity *q, FILE *out)
{
    const int64_t shown = bars->count < BARS_MAX ? bars->count : BARS_MAX;
    const double most = ql_row(bars, 0)[q->column].real, names = 200, room = WIDTH - names - NUMBER;

    ql_svg_open(out, WIDTH, (double)shown * BAR + 4, q->title);
    for (int64_t i = 0; i < shown; i++) {
        const ql_field *bar = ql_row(bars, i);
        const double y = (double)i * BAR + 2, value = bar[q->column].real;
        const double length = most > 0 ? fmax(1, value / most * room) : 1;
        const char *cut = ql_svg_fit(cx, bar[NAME].text, names - 8);
        char text[QL_NUMBER_SIZE + 8];

        if (!cut)
            return QL_MEMORY;
        ql_html_print(out, "<g>\n<title>%s</title>\n", bar[NAME].text);
        ql_svg_text(out, names - 6, y + 14, QL_ANCHOR_END, cut);
        fprintf(out, "<path class=\"bar series s%d\" data-series=\"", ql_figure_colour(bar[KIND].text));
        ql_html_put(out, bar[NAME].text);
        fprintf(out, "\" d=\"M%.1f,%.1fh%.1fv14h-%.1fz\"/>\n", names, y + 3, length, length);
        snprintf(text, sizeof text, "%.3g %s", value, q->unit);
        ql_svg_text(out, names + length + 6, y + 14, QL_ANCHOR_START, text);
        fputs("</g>\n", out);
    }
    fputs("</svg>\n", out);
    return QL_OK;
}

static void
put_table(const ql_sheet *bars, FILE *out)
{
    fputs("<table><thead><tr><th>run</th><th>stage</th><th>kind</th><th>plugin</th><th class=\"n\">nodes</th>"
          "<th class=\"n\">calls</th><th class=\"n\">seconds</th><th class=\"n\">MiB to the device</th>"
          "<th class=\"n\">MiB from it</th><th class=\"n\">MiB on it at most</th></tr></thead>\n<tbody>\n",
          out);
    for (int64_t i = 0; i < bars->count; i++) {
        const ql_field *r = ql_row(bars, i);

        fputs("<tr>", out);
        for (int k = RUN; k <= LABEL; k++)
            ql_html_print(out, "<td>%s</td>", r[k].text);
        fprintf(out, "<td class=\"n\">%lld</td><td class=\"n\">%lld</td><td class=\"n\">%.4f</td>",
                (long long)r[NODES].integer, (long long)r[CALLS].integer, r[SECONDS].real);
        for (int k = UP; k <= PEAK; k++)
            fprintf(out, "<td class=\"n\">%.2f</td>", r[k].real);
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table>\n", out);
}

static ql_status
make(ql_ctx *cx, const ql_figure_input *in, const quantity *q, ql_figure *out)
{
    ql_sheet bars;

    QL_TRY(cx, ql_sheet_read(in->book->db, &bars, bars_sql, "i", (int64_t)q->column));
    if (bars.count == 0)
        return QL_OK;
    QL_TRY(cx, draw(cx, &bars, q, out->svg));
    put_table(&bars, out->data);
    out->caption =
        ql_format(cx, "%s%s", q->caption, bars.count > BARS_MAX ? " The largest ones; the numbers list them all." : "");
    return out->caption ? QL_OK : QL_MEMORY;
}

ql_status
ql_figure_time(ql_ctx *cx, const ql_figure_input *in, ql_figure *out)
{
    static const quantity q = {
        "Time of each stage", "s",
        "Seconds of each stage, without those of the stages that it calls: reading blocks for a model, forwarding its "
        "tokens through every variant for a data stage. In brackets the number of stages that are alike.",
        SECONDS};

    return make(cx, in, &q, out);
}

ql_status
ql_figure_memory(ql_ctx *cx, const ql_figure_input *in, ql_figure *out)
{
    static const quantity q = {
        "Device memory of each stage", "MiB",
        "Mebibytes that the device held at most while a stage was at work: weights, activations and statistics that it "
        "shares with other stages included.",
        PEAK};

    return make(cx, in, &q, out);
}
