/* A metric against the bits that the weights take: which cells are better than every smaller one. */
#include <math.h>
#include <string.h>

#include "chart.h"
#include "figures.h"

/* Variants of a stage make the clearest series; of several axes of variants the one with most labels, of parameters the first. Several
 * runs are a series each. */
static const char series_sql[] =
    "SELECT a.reference FROM axis a WHERE a.in_matrix AND (SELECT count(*) FROM run) = 1"
    " ORDER BY iif(instr(a.reference, '.') OR a.reference = 'seed', 0, (SELECT count(DISTINCT label) FROM label l"
    " JOIN cell c ON c.id = l.cell WHERE l.reference = a.reference AND NOT c.baseline)) DESC, a.position LIMIT 1";

/* Finite numbers of metric ?1: those of cells with their bits and how they were made, in the order of cells. */
static const char spots_table[] =
    "INSERT INTO spot SELECT c.id, c.run, c.baseline, c.bits, n.value, ifnull((SELECT group_concat(name || char(0) || "
    "value,"
    " char(1)) FROM (SELECT o.name, o.value FROM note o WHERE o.cell = c.id AND o.stage = k.stage ORDER BY o.name)), "
    "'')"
    " FROM cell c JOIN number n ON n.cell = c.id AND n.metric = ?1"
    " LEFT JOIN (SELECT min(rowid), stage FROM kind WHERE metric = ?1) k WHERE abs(n.value) < 9e999"
    " AND (c.baseline OR (c.error IS NULL AND abs(c.bits) < 9e999))";

/* Cells' spots, whose better numbers are smaller when multiplied by ?2, series by series of axis ?1. A cell is on the front when none takes
 * as few bits and is better, or fewer bits and is as good. */
enum { SERIES, TITLE, BITS, VALUE, ON_FRONT };
static const char spots_sql[] =
    "SELECT s.series, t.title, s.bits, s.value, s.value * ?2 = w.best AND (w.smaller IS NULL OR w.best < w.smaller)"
    " FROM (SELECT s.*, iif(?1 IS NULL, r.name, ifnull(l.label, '-')) AS series FROM spot s JOIN run r ON r.id = s.run"
    " LEFT JOIN label l ON l.cell = s.id AND l.reference = ?1 WHERE NOT s.baseline) s"
    " JOIN (SELECT bits, best, min(best) OVER (ORDER BY bits ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS "
    "smaller"
    " FROM (SELECT bits, min(value * ?2) AS best FROM spot WHERE NOT baseline GROUP BY bits)) w ON w.bits = s.bits"
    " JOIN title t ON t.cell = s.id ORDER BY min(s.id) OVER (PARTITION BY s.series), s.id";

/* What is said about metric ?1: its kind; cells without a number; the original model's number where all runs agree on it; in how many
 * ways the cells' numbers were made. */
enum { BETTER, UNIT, MISSING, ORIGINAL, WAYS };
static const char about_sql[] = "SELECT k.better, k.unit, (SELECT count(*) FROM cell WHERE NOT baseline) - (SELECT "
                                "count(*) FROM spot WHERE NOT baseline),"
                                " (SELECT iif(min(value) = max(value), min(value), NULL) FROM spot WHERE baseline),"
                                " (SELECT count(DISTINCT made) FROM spot WHERE NOT baseline)"
                                " FROM (SELECT ?1) LEFT JOIN kind k ON k.metric = ?1 LIMIT 1";

/* The chart's series, and the points of the front by their bits. */
static ql_status
make_series(ql_ctx *cx, const ql_sheet *spots, ql_chart *chart, ql_series *front)
{
    ql_point *points = ql_alloc(cx, (size_t)spots->count, sizeof *points);
    ql_point *line = ql_alloc(cx, (size_t)spots->count, sizeof *line);
    ql_series *series = ql_alloc(cx, (size_t)spots->count, sizeof *series);

    if (!points || !line || !series)
        return QL_MEMORY;
    for (int64_t i = 0; i < spots->count; i++) {
        const ql_field *v = ql_row(spots, i);
        ql_series *s = chart->series_count ? &series[chart->series_count - 1] : NULL;
        int64_t at;

        if (!s || strcmp(s->name, v[SERIES].text) != 0) {
            s = &series[chart->series_count];
            *s = (ql_series){.name = v[SERIES].text, .points = points + i, .style = (int)chart->series_count++};
        }
        s->count++;
        points[i] = (ql_point){v[BITS].real, v[VALUE].real, v[TITLE].text};
        if (!v[ON_FRONT].integer)
            continue;
        points[i].label = ql_format(cx, "%s (on the front)", v[TITLE].text);
        if (!points[i].label)
            return QL_MEMORY;
        at = front->count++;
        for (; at > 0 && line[at - 1].x > v[BITS].real; at--)
            line[at] = line[at - 1];
        line[at] = (ql_point){v[BITS].real, v[VALUE].real, NULL};
    }
    chart->series = series;
    front->points = line;
    return QL_OK;
}

static ql_status
draw(ql_ctx *cx, const char *metric, const ql_sheet *spots, const ql_field *about, ql_figure *out)
{
    ql_series front = {.name = "front"};
    ql_chart c = {.x_label = "bits per weight", .point_label = "cell", .level = about[ORIGINAL].real};
    double low = INFINITY, high = 0, height;

    QL_TRY(cx, make_series(cx, spots, &c, &front));
    for (int64_t i = 0; i < spots->count; i++) {
        low = fmin(low, ql_row(spots, i)[VALUE].real);
        high = fmax(high, ql_row(spots, i)[VALUE].real);
    }
    c.y_log = low > 0 && high > 3 * low;
    c.front = about[BETTER].integer == QL_BETTER_UNSAID ? NULL : &front;
    c.y_label = ql_format(cx, "%s%s", metric, c.y_log ? ", logarithmic" : "");
    c.level_name = isnan(c.level) ? NULL : "original model";
    if (!c.y_label)
        return QL_MEMORY;
    QL_TRY(cx, ql_chart_height(cx, &c, &height));
    ql_svg_open(out->svg, QL_FIGURE_WIDTH, height, "Quality against size");
    QL_TRY(cx, ql_chart_draw(cx, &c, out->svg));
    fputs("</svg>\n", out->svg);
    ql_chart_table(&c, out->data);
    return QL_OK;
}

ql_status
ql_figure_pareto(ql_ctx *cx, const ql_figure_input *in, ql_figure *out)
{
    ql_results *db = in->book->db;
    ql_sheet none, axis, spots, about;
    const char *unit;
    int64_t sign;

    if (!in->value)
        return QL_OK;
    QL_TRY(cx,
           ql_results_exec(db, "DROP TABLE IF EXISTS spot; CREATE TEMP TABLE spot (id INTEGER PRIMARY KEY, run INTEGER,"
                               " baseline INTEGER, bits REAL, value REAL, made TEXT)"));
    QL_TRY(cx, ql_sheet_read(db, &none, spots_table, "t", in->value));
    QL_TRY(cx, ql_sheet_read(db, &about, about_sql, "t", in->value));
    sign = ql_row(&about, 0)[BETTER].integer == QL_BETTER_HIGHER ? -1 : 1;
    QL_TRY(cx, ql_sheet_read(db, &axis, series_sql, ""));
    QL_TRY(cx, ql_sheet_read(db, &spots, spots_sql, "ti", axis.count ? ql_row(&axis, 0)->text : NULL, sign));
    if (spots.count == 0)
        return QL_OK;
    unit = ql_row(&about, 0)[UNIT].text;
    QL_TRY(cx, draw(cx, in->value, &spots, ql_row(&about, 0), out));
    out->caption = ql_format(
        cx,
        "%s%s%s%s of %lld cells against the bits that a weight of a block's linears takes on average: codes, scales, "
        "zeros and adapter.%s%s%s",
        in->value, unit ? " (" : "", unit ? unit : "", unit ? ")" : "", (long long)spots.count,
        ql_row(&about, 0)[BETTER].integer == QL_BETTER_UNSAID
            ? ""
            : " The line joins the Pareto front: no other cell is both smaller and better.",
        ql_row(&about, 0)[MISSING].integer ? " Cells that failed are left out." : "",
        ql_row(&about, 0)[WAYS].integer > 1 ? " Not all numbers were made in the same way: the table says how." : "");
    return out->caption ? QL_OK : QL_MEMORY;
}
