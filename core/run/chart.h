/* Charts of points, lines and bars: as SVG, and as the table of their numbers. */
#ifndef QLOOM_RUN_CHART_H
#define QLOOM_RUN_CHART_H

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
    const char *title, *x_label, *y_label, *point_label; /* labels with units; of the point column in the table */
    bool x_log, y_log, lines;                            /* lines: points joined, without markers */
    int64_t series_count;
    const ql_series *series;
    const ql_series *front; /* a line along some of the points; NULL: none */
    const char *level_name; /* a horizontal line at `level` with that name; NULL: none */
    double level;
} ql_chart;

ql_status ql_chart_draw(ql_ctx *cx, const ql_chart *c, FILE *out);
ql_status ql_chart_table(ql_ctx *cx, const ql_chart *c, FILE *out);

#endif
