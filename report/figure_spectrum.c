/* Lists of linears, falling by rank: singular values of a weight, of its error, and of what the adapter leaves of
 * it. A chart each linear, a colour each cell. */
#include <string.h>

#include "chart.h"
#include "figures.h"

#define MOST "6"    /* linears and cells that are drawn; results.db has all */
#define THINNING 25 /* values are drawn one by one up to here, then every second, from 50 on every third, … */

/* The lists of each linear, cell by cell: those that are drawn, in which of the cells, and whether there are more linears or cells. */
enum { CELL, STAGE, BLOCK, LINEAR, NAME, TITLE, COLOUR, MORE };
static const char lists_sql[] =
    "WITH list AS (SELECT i.cell, i.stage, i.block, i.linear, i.name, min(i.rowid) AS first FROM item i JOIN cell c ON "
    "c.id = "
    "i.cell"
    " WHERE i.linear IS NOT NULL AND NOT c.baseline GROUP BY i.cell, i.stage, i.block, i.linear, i.name),"
    " cells AS (SELECT cell, row_number() OVER (ORDER BY cell) - 1 AS at FROM list GROUP BY cell),"
    " linears AS (SELECT linear, min(first) AS at FROM list GROUP BY linear)"
    " SELECT l.cell, l.stage, l.block, l.linear, l.name, t.title, c.at, (SELECT count(*) FROM cells) > " MOST
    " OR (SELECT count(*) FROM linears) > " MOST " FROM list l JOIN (SELECT * FROM cells WHERE at < " MOST ") c"
    " ON c.cell = l.cell JOIN (SELECT * FROM linears ORDER BY at LIMIT " MOST ") n ON n.linear = l.linear"
    " JOIN title t ON t.cell = l.cell ORDER BY n.at, l.cell, l.first";

static ql_status
thin(ql_ctx *cx, const ql_sheet *values, ql_series *out)
{
    ql_point *points = ql_alloc(cx, (size_t)values->count, sizeof *points);
    const int64_t n = values->count;

    if (!points)
        return QL_MEMORY;
    for (int64_t i = 0; i < n; i += 1 + i / THINNING)
        points[out->count++] = (ql_point){(double)(i + 1), ql_row(values, i)->real, NULL};
    if (points[out->count - 1].x < (double)n)
        points[out->count++] = (ql_point){(double)n, ql_row(values, n - 1)->real, NULL};
    out->points = points;
    return QL_OK;
}

static bool
same_values(const ql_sheet *a, const ql_sheet *b)
{
    bool same = a->count == b->count;

    for (int64_t i = 0; i < a->count && same; i++)
        same = memcmp(&ql_row(a, i)->real, &ql_row(b, i)->real, sizeof(double)) == 0;
    return same;
}

/* The chart of the linear whose lists are the next rows; *at moves behind them. What an earlier list showed already (the weight's, an error
 * that compensators share) is left out. */
static ql_status
make_chart(ql_ctx *cx, const ql_book *b, const ql_sheet *lists, int64_t *at, ql_chart *chart)
{
    const char *linear = ql_row(lists, *at)[LINEAR].text;
    ql_sheet *drawn = ql_alloc(cx, (size_t)lists->count, sizeof *drawn);
    ql_series *series = ql_alloc(cx, (size_t)lists->count, sizeof *series);
    int64_t own = 0; /* lists of the cell: the weight's, the error's, then what is left of it, dashed */

    if (!drawn || !series)
        return QL_MEMORY;
    *chart = (ql_chart){.heading = linear, .x_label = "rank", .y_label = "singular value, logarithmic"};
    chart->y_log = chart->lines = true;
    chart->series = series;
    for (const ql_field *l; *at < lists->count && strcmp((l = ql_row(lists, *at))[LINEAR].text, linear) == 0; ++*at) {
        ql_sheet *values = &drawn[chart->series_count];
        ql_series *s = &series[chart->series_count];
        const bool first = chart->series_count == 0;
        bool seen = false;

        own = own && l[-lists->width + CELL].integer == l[CELL].integer ? own + 1 : 1;
        QL_TRY(cx, ql_sheet_read(b->db, values,
                                 "SELECT value FROM item WHERE cell = ? AND stage = ? AND block = ? AND name = ? AND "
                                 "linear = ? ORDER BY item",
                                 "ititt", l[CELL].integer, l[STAGE].text, l[BLOCK].integer, l[NAME].text, linear));
        for (int64_t k = 0; k < chart->series_count && !seen; k++)
            seen = same_values(&drawn[k], values);
        if (seen)
            continue;
        *s = (ql_series){.style = first ? QL_COLOURS - 2 : (int)l[COLOUR].integer + (own > 2 ? QL_COLOURS : 0)};
        s->name = first ? l[NAME].text : ql_format(cx, "%s: %s", l[TITLE].text, l[NAME].text);
        if (!s->name)
            return QL_MEMORY;
        QL_TRY(cx, thin(cx, values, s));
        chart->series_count++;
    }
    return QL_OK;
}

ql_status
ql_figure_spectrum(ql_ctx *cx, const ql_figure_input *in, ql_figure *out)
{
    ql_chart charts[QL_CHARTS_MAX];
    ql_sheet lists;
    int count = 0;

    QL_TRY(cx, ql_sheet_read(in->book->db, &lists, lists_sql, ""));
    for (int64_t at = 0; at < lists.count; count++)
        QL_TRY(cx, make_chart(cx, in->book, &lists, &at, &charts[count]));
    if (count == 0)
        return QL_OK;
    QL_TRY(cx, ql_charts_write(cx, "Singular values", charts, count, out->svg, out->data));
    out->caption =
        ql_format(cx,
                  "Singular values, largest first, in the units of the weight: of the weight, of what quantization "
                  "leaves of it as error, and (dashed) of what the adapter leaves of that.%s",
                  ql_row(&lists, 0)[MORE].integer ? " The first cells and linears; results.db has them all." : "");
    return out->caption ? QL_OK : QL_MEMORY;
}
