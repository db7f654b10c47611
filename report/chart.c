/* Charts of points and lines. */
#include "chart.h"

#include <math.h>

#include "render.h"

#define WIDTH QL_FIGURE_WIDTH
#define LEFT 68
#define RIGHT 12
#define TOP 22
#define PLOT 250  /* height of the plot */
#define BOTTOM 52 /* of ticks and the label of x */
#define LINE 19   /* height of a line of the legend */
#define MARK 18   /* width of a marker in the legend */

typedef struct frame {
    const ql_chart *chart;
    ql_scale x, y;
} frame;

static bool
drawable(const ql_chart *c, const ql_point *p)
{
    return ql_svg_can_draw(p->x) && ql_svg_can_draw(p->y) && !(c->x_log && p->x <= 0) && !(c->y_log && p->y <= 0);
}

static void
widen(double *low, double *high, double value)
{
    *low = fmin(*low, value);
    *high = fmax(*high, value);
}

static void
make_scales(frame *f)
{
    const ql_chart *c = f->chart;
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};

    for (int64_t s = 0; s < c->series_count; s++)
        for (int64_t i = 0; i < c->series[s].count; i++) {
            const ql_point *p = &c->series[s].points[i];

            if (!drawable(c, p))
                continue;
            widen(&low[0], &high[0], p->x);
            widen(&low[1], &high[1], p->y);
        }
    if (c->level_name && ql_svg_can_draw(c->level) && !(c->y_log && c->level <= 0))
        widen(&low[1], &high[1], c->level);
    for (int k = 0; k < 2; k++)
        if (!(low[k] <= high[k]))
            low[k] = high[k] = 1; /* nothing to draw */
    f->x = ql_scale_make(low[0], high[0], c->x_log, LEFT, WIDTH - RIGHT);
    f->y = ql_scale_make(low[1], high[1], c->y_log, TOP + PLOT, TOP);
}

static void
draw_axes(const frame *f, FILE *out)
{
    char text[QL_NUMBER_SIZE];

    fputs("<g class=\"axis\">\n", out);
    for (int i = 0; i < f->y.tick_count; i++) {
        const double y = ql_scale_at(&f->y, f->y.ticks[i]);

        fprintf(out, "<path d=\"M%d,%.1fH%d\"/>\n", LEFT, y, WIDTH - RIGHT);
        snprintf(text, sizeof text, "%g", f->y.ticks[i]);
        ql_svg_text(out, LEFT - 6, y + 4, QL_ANCHOR_END, text);
    }
    for (int i = 0; i < f->x.tick_count; i++) {
        const double x = ql_scale_at(&f->x, f->x.ticks[i]);

        fprintf(out, "<path d=\"M%.1f,%dv5\"/>\n", x, TOP + PLOT);
        snprintf(text, sizeof text, "%g", f->x.ticks[i]);
        ql_svg_text(out, x, TOP + PLOT + 18, QL_ANCHOR_MIDDLE, text);
    }
    fprintf(out, "<path class=\"line\" d=\"M%d,%dH%d\"/>\n", LEFT, TOP + PLOT, WIDTH - RIGHT);
    ql_svg_text(out, (LEFT + WIDTH - RIGHT) / 2.0, TOP + PLOT + 38, QL_ANCHOR_MIDDLE, f->chart->x_label);
    fprintf(out, "<g transform=\"translate(12,%d) rotate(-90)\">", TOP + PLOT / 2);
    ql_svg_text(out, 0, 0, QL_ANCHOR_MIDDLE, f->chart->y_label);
    fputs("</g>\n</g>\n", out);
}

/* The data of a path: markers, or a line that breaks where a point can't be drawn. */
static void
draw_path(const frame *f, const ql_series *s, bool line, FILE *out)
{
    bool pen = false;

    for (int64_t i = 0; i < s->count; i++) {
        const ql_point *p = &s->points[i];
        const bool shown = drawable(f->chart, p);
        const double x = shown ? ql_scale_at(&f->x, p->x) : 0, y = shown ? ql_scale_at(&f->y, p->y) : 0;

        if (shown && line)
            fprintf(out, "%c%.1f,%.1f", pen ? 'L' : 'M', x, y);
        else if (shown)
            ql_svg_marker(out, s->style % QL_SHAPES, x, y);
        pen = shown;
    }
}

static void
draw_series(const frame *f, const ql_series *s, FILE *out)
{
    const ql_chart *c = f->chart;

    fprintf(out, "<path class=\"series %s s%d\" data-series=\"", c->lines ? "lines" : "marks", s->style % QL_COLOURS);
    ql_html_put(out, s->name);
    fprintf(out, "\"%s d=\"", c->lines && s->style >= QL_COLOURS ? " stroke-dasharray=\"5 3\"" : "");
    draw_path(f, s, c->lines, out);
    fputs("\"/>\n", out);
}

/* What the pointer meets over a point: a larger circle that nobody sees. */
static void
draw_hints(const frame *f, const ql_series *s, FILE *out)
{
    char x[QL_NUMBER_SIZE], y[QL_NUMBER_SIZE];

    for (int64_t i = 0; i < s->count && !f->chart->lines; i++) {
        const ql_point *p = &s->points[i];

        if (!drawable(f->chart, p))
            continue;
        ql_number_short(p->x, x);
        ql_number_short(p->y, y);
        fprintf(out, "<circle class=\"hint\" cx=\"%.1f\" cy=\"%.1f\" r=\"9\"><title>", ql_scale_at(&f->x, p->x),
                ql_scale_at(&f->y, p->y));
        ql_html_print(out, "%s: %s, %s</title></circle>\n", p->label, x, y);
    }
}

static double
legend_width(const ql_series *s)
{
    return MARK + ql_svg_text_width(s->name) + 14;
}

/* Entries side by side, in as many lines as they need; out NULL: only counts the lines. */
static ql_status
draw_legend(ql_ctx *cx, const frame *f, FILE *out, int *lines)
{
    const ql_chart *c = f->chart;
    double x = LEFT;
    int line = 0;

    for (int64_t s = 0; s < c->series_count; s++) {
        const ql_series *series = &c->series[s];
        const double y = TOP + PLOT + BOTTOM + 8 + line * LINE;
        const char *name = ql_svg_fit(cx, series->name, WIDTH - LEFT - RIGHT - MARK);

        if (!name)
            return QL_MEMORY;
        if (x > LEFT && x + legend_width(series) > WIDTH - RIGHT) {
            x = LEFT;
            line++;
            s--;
            continue;
        }
        if (out) {
            fprintf(out, "<path class=\"%s s%d\"%s d=\"", c->lines ? "lines" : "marks", series->style % QL_COLOURS,
                    c->lines && series->style >= QL_COLOURS ? " stroke-dasharray=\"5 3\"" : "");
            if (c->lines)
                fprintf(out, "M%.1f,%.1fh12", x, y - 4);
            else
                ql_svg_marker(out, series->style % QL_SHAPES, x + 6, y - 4);
            fputs("\"/>\n", out);
            ql_svg_text(out, x + MARK, y, QL_ANCHOR_START, name);
        }
        x += legend_width(series);
    }
    *lines = c->series_count ? line + 1 : 0;
    return QL_OK;
}

static void
draw_level(const frame *f, FILE *out)
{
    const ql_chart *c = f->chart;
    double y;

    if (!c->level_name || !ql_svg_can_draw(c->level) || (c->y_log && c->level <= 0))
        return;
    y = ql_scale_at(&f->y, c->level);
    fprintf(out, "<g class=\"level\"><path d=\"M%d,%.1fH%d\"/>\n", LEFT, y, WIDTH - RIGHT);
    ql_svg_text(out, LEFT + 4, y - 5, QL_ANCHOR_START, c->level_name);
    fputs("</g>\n", out);
}

ql_status
ql_chart_height(ql_ctx *cx, const ql_chart *c, double *out)
{
    const frame f = {.chart = c};
    int lines;

    QL_TRY(cx, draw_legend(cx, &f, NULL, &lines));
    *out = TOP + PLOT + BOTTOM + lines * LINE;
    return QL_OK;
}

ql_status
ql_chart_draw(ql_ctx *cx, const ql_chart *c, FILE *out)
{
    frame f = {.chart = c};
    int lines;

    make_scales(&f);
    if (c->heading)
        ql_svg_text(out, LEFT, TOP - 8, QL_ANCHOR_START, c->heading);
    draw_axes(&f, out);
    draw_level(&f, out);
    if (c->front) {
        fputs("<path class=\"front\" d=\"", out);
        draw_path(&f, c->front, true, out);
        fputs("\"/>\n", out);
    }
    for (int64_t s = 0; s < c->series_count; s++)
        draw_series(&f, &c->series[s], out);
    for (int64_t s = 0; s < c->series_count; s++)
        draw_hints(&f, &c->series[s], out);
    return draw_legend(cx, &f, out, &lines);
}

void
ql_chart_table(const ql_chart *c, FILE *out)
{
    const char *const heads[] = {"series", c->point_label, c->x_label, c->y_label};
    char x[QL_NUMBER_SIZE], y[QL_NUMBER_SIZE];

    fputs("<table>", out);
    if (c->heading)
        ql_html_print(out, "<caption>%s</caption>", c->heading);
    fputs("<thead><tr>", out);
    for (int k = 0; k < 4; k++) {
        if (heads[k])
            ql_html_print(out, k < 2 ? "<th scope=\"col\">%s</th>" : "<th scope=\"col\" class=\"n\">%s</th>", heads[k]);
    }
    fputs("</tr></thead>\n<tbody>\n", out);
    for (int64_t s = 0; s < c->series_count; s++)
        for (int64_t i = 0; i < c->series[s].count; i++) {
            const ql_point *p = &c->series[s].points[i];

            ql_number_short(p->x, x);
            ql_number_short(p->y, y);
            ql_html_print(out, "<tr><td>%s</td>", c->series[s].name);
            if (c->point_label)
                ql_html_print(out, "<td>%s</td>", p->label);
            fprintf(out, "<td class=\"n\">%s</td><td class=\"n\">%s</td></tr>\n", x, y);
        }
    fputs("</tbody></table>\n", out);
}

ql_status
ql_charts_write(ql_ctx *cx, const char *title, const ql_chart *charts, int count, FILE *svg, FILE *data)
{
    double height = 0, top = 0, own[QL_CHARTS_MAX];

    for (int i = 0; i < count; height += own[i++])
        QL_TRY(cx, ql_chart_height(cx, &charts[i], &own[i]));
    ql_svg_open(svg, QL_FIGURE_WIDTH, height, title);
    for (int i = 0; i < count; top += own[i++]) {
        fprintf(svg, "<g transform=\"translate(0,%.0f)\">\n", top);
        QL_TRY(cx, ql_chart_draw(cx, &charts[i], svg));
        fputs("</g>\n", svg);
        ql_chart_table(&charts[i], data);
    }
    fputs("</svg>\n", svg);
    return QL_OK;
}
