/* What trainers saw: the loss of every update and that of the eval data, a chart each trainer, a colour each cell. */
#include <math.h>
#include <string.h>

#include "chart.h"
#include "figures.h"

#define MOST "12"  /* cells that are drawn; results.db has all */
#define POINTS 400 /* of a line; between two of them updates are left out */

/* The lines of each stage, cell by cell. ?1, ?2: stage and name of a series, NULL for the losses of all. */
enum { CELL, STAGE, NAME, TITLE, COLOUR, MORE };
static const char lines_sql[] =
    "WITH line AS (SELECT cell, stage, name FROM series WHERE ifnull(stage = ?1 AND name = ?2, name IN ('loss',"
    " 'eval_loss')) GROUP BY stage, cell, name), cells AS (SELECT cell, stage, row_number() OVER (PARTITION BY stage "
    "ORDER"
    " BY cell) - 1 AS at FROM line GROUP BY stage, cell) SELECT l.cell, l.stage, l.name, t.title, c.at, (SELECT max(at)"
    " FROM cells) >= " MOST " FROM line l JOIN cells c ON c.cell = l.cell AND c.stage = l.stage JOIN title t ON"
    " t.cell = l.cell WHERE c.at < " MOST " ORDER BY l.stage, l.cell, l.name DESC";

static ql_status
make_line(ql_ctx *cx, const ql_book *b, const ql_field *l, ql_series *out, double range[2])
{
    ql_sheet values;
    ql_point *points;
    int64_t each;

    QL_TRY(cx, ql_sheet_read(b->db, &values,
                             "SELECT step, value FROM series WHERE cell = ? AND stage = ? AND name = ? ORDER BY step",
                             "itt", l[CELL].integer, l[STAGE].text, l[NAME].text));
    points = ql_alloc(cx, (size_t)values.count, sizeof *points);
    if (!points)
        return QL_MEMORY;
    each = values.count / POINTS + 1;
    for (int64_t i = 0; i < values.count; i += each) {
        const ql_field *v = ql_row(&values, i);

        points[out->count++] = (ql_point){(double)v[0].integer, v[1].real, NULL};
        range[0] = fmin(range[0], v[1].real);
        range[1] = fmax(range[1], v[1].real);
    }
    out->points = points;
    return QL_OK;
}

/* The chart of the stage whose lines are the next rows; *at moves behind them. */
static ql_status
make_chart(ql_ctx *cx, const ql_book *b, const ql_sheet *lines, int64_t *at, ql_chart *chart)
{
    const char *stage = ql_row(lines, *at)[STAGE].text;
    ql_series *series = ql_alloc(cx, (size_t)lines->count, sizeof *series);
    double range[2] = {INFINITY, -INFINITY};

    if (!series)
        return QL_MEMORY;
    *chart =
        (ql_chart){.heading = stage, .x_label = "update", .y_label = "nats a token", .lines = true, .series = series};
    for (const ql_field *l; *at < lines->count && strcmp((l = ql_row(lines, *at))[STAGE].text, stage) == 0; ++*at) {
        const bool held = strcmp(l[NAME].text, "eval_loss") == 0;
        ql_series *s = &series[chart->series_count++];

        *s = (ql_series){.style = (int)(l[COLOUR].integer % QL_COLOURS) + (held ? QL_COLOURS : 0)};
        s->name = ql_format(cx, "%s: %s", l[TITLE].text, l[NAME].text);
        if (!s->name)
            return QL_MEMORY;
        QL_TRY(cx, make_line(cx, b, l, s, range));
        if (!held && strcmp(l[NAME].text, "loss") != 0)
            chart->y_label = l[NAME].text;
    }
    chart->y_log = range[0] > 0 && range[1] >= 10 * range[0];
    return QL_OK;
}

/* "tune.loss" taken apart; nothing: all losses. */
static ql_status
read_lines(ql_ctx *cx, const ql_figure_input *in, ql_sheet *out)
{
    const char *dot = in->series ? strchr(in->series, '.') : NULL;
    const char *stage = dot ? ql_format(cx, "%.*s", (int)(dot - in->series), in->series) : NULL;

    if (in->series && (!dot || !dot[1]))
        return QL_FAIL(cx, QL_INVALID, "plot: --series: got '%s', expected STAGE.NAME, such as tune.loss", in->series);
    if (dot && !stage)
        return QL_MEMORY;
    return ql_sheet_read(in->book->db, out, lines_sql, "tt", stage, dot ? dot + 1 : NULL);
}

ql_status
ql_figure_series(ql_ctx *cx, const ql_figure_input *in, ql_figure *out)
{
    ql_chart charts[QL_CHARTS_MAX];
    ql_sheet lines;
    int count = 0;

    QL_TRY(cx, read_lines(cx, in, &lines));
    for (int64_t at = 0; at < lines.count && count < QL_CHARTS_MAX; count++)
        QL_TRY(cx, make_chart(cx, in->book, &lines, &at, &charts[count]));
    if (count == 0)
        return QL_OK;
    QL_TRY(cx, ql_charts_write(cx, "Training", charts, count, out->svg, out->data));
    out->caption =
        ql_format(cx, "%s%s", in->series ? in->series : "Loss of every update and, dashed, of the held-out data.",
                  ql_row(&lines, 0)[MORE].integer ? " The first cells; results.db has them all." : "");
    return out->caption ? QL_OK : QL_MEMORY;
}
