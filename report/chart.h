/* Charts of points and lines: as SVG, and as the table of their numbers. */
#ifndef QLOOM_REPORT_CHART_H
#define QLOOM_REPORT_CHART_H

#include "svg.h"

typedef struct ql_point {
    double x, y;
    const char *label; /* what stands at the point */
} ql_point;

typedef struct ql_series {
    const char *name;
    int64_t count;
    const ql_point *points;
    int style; /* its colour and marker; series of one style belong together */
} ql_series;

typedef struct ql_chart {
    const char *heading;                         /* above the plot; NULL: none */
    const char *x_label, *y_label, *point_label; /* labels with units; of the point column in the table */
    bool x_log, y_log, lines;                    /* lines: points joined, without markers */
    int64_t series_count;
    const ql_series *series;
    const ql_series *front; /* a line along some of the points; NULL: none */
    const char *level_name; /* a horizontal line at `level` with that name; NULL: none */
    double level;
} ql_chart;

/* Pixels from top to bottom: the legend takes what it needs. */
ql_status ql_chart_height(ql_ctx *cx, const ql_chart *c, double *out);
/* The inside of an <svg> of that size. */
ql_status ql_chart_draw(ql_ctx *cx, const ql_chart *c, FILE *out);
void ql_chart_table(const ql_chart *c, FILE *out);

#define QL_CHARTS_MAX 8
/* Charts one below the other: as an SVG file, and their tables. */
ql_status ql_charts_write(ql_ctx *cx, const char *title, const ql_chart *charts, int count, FILE *svg, FILE *data);

#endif
