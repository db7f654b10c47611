/* The figures of a report: each drawn as SVG with its caption, and with the table of its numbers. */
#ifndef QLOOM_REPORT_FIGURES_H
#define QLOOM_REPORT_FIGURES_H

#include "set.h"
#include "svg.h"

typedef struct ql_figure_input {
    const ql_result_set *const *sets;
    int64_t count;
    const char *value; /* the metric that is looked at: "ppl.perplexity"; NULL: no cell has one */
} ql_figure_input;

typedef struct ql_figure {
    FILE *svg, *data;    /* the drawing; the table of its numbers, as HTML */
    const char *caption; /* NULL: these results have nothing that the figure could show */
} ql_figure;

typedef struct ql_figure_kind {
    const char *name, *title; /* "pareto", as `qloom plot` takes it; "Quality against size" */
    ql_status (*make)(ql_ctx *cx, const ql_figure_input *in, ql_figure *out);
    bool wide; /* shown in its own size, with a scroll bar where the window is narrower */
} ql_figure_kind;

extern const ql_figure_kind ql_figures[]; /* ends with a row without a name */

/* The metric that figures look at: `wanted`, else that of the first run's table, else the first one that says which way
 * is better. NULL: there is none. In the innermost scope. */
ql_status ql_figure_value(ql_ctx *cx, const ql_result_set *const *sets, int64_t count, const char *wanted,
                          const char **value);

/* --- for the figures */

ql_status ql_figure_pareto(ql_ctx *cx, const ql_figure_input *in, ql_figure *out);
ql_status ql_figure_heat(ql_ctx *cx, const ql_figure_input *in, ql_figure *out);
ql_status ql_figure_spectrum(ql_ctx *cx, const ql_figure_input *in, ql_figure *out);
ql_status ql_figure_time(ql_ctx *cx, const ql_figure_input *in, ql_figure *out);
ql_status ql_figure_memory(ql_ctx *cx, const ql_figure_input *in, ql_figure *out);
ql_status ql_figure_graph(ql_ctx *cx, const ql_figure_input *in, ql_figure *out);

/* The colour of a stage: the same kind has the same one in every figure. */
int ql_figure_colour(const char *kind);
/* What tells a cell from the others: its labels on every axis, and its run where there are several. NULL without
 * memory. */
const char *ql_figure_cell(ql_ctx *cx, const ql_figure_input *in, const ql_result_set *set, const ql_result_cell *c);

#endif
