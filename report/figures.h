/* The figures of a report: each drawn as SVG with its caption, and with the table of its numbers. */
#ifndef QLOOM_REPORT_FIGURES_H
#define QLOOM_REPORT_FIGURES_H

#include "book.h"
#include "svg.h"

typedef struct ql_figure_input {
    const ql_book *book;
    const char *value;  /* the metric that is looked at: "ppl.perplexity"; NULL: no cell has one */
    const char *series; /* of a trainer: "tune.loss"; NULL: the losses of all */
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

/* --- for the figures */

ql_status ql_figure_pareto(ql_ctx *cx, const ql_figure_input *in, ql_figure *out);
ql_status ql_figure_series(ql_ctx *cx, const ql_figure_input *in, ql_figure *out);
ql_status ql_figure_heat(ql_ctx *cx, const ql_figure_input *in, ql_figure *out);
ql_status ql_figure_spectrum(ql_ctx *cx, const ql_figure_input *in, ql_figure *out);
ql_status ql_figure_time(ql_ctx *cx, const ql_figure_input *in, ql_figure *out);
ql_status ql_figure_memory(ql_ctx *cx, const ql_figure_input *in, ql_figure *out);
ql_status ql_figure_graph(ql_ctx *cx, const ql_figure_input *in, ql_figure *out);

#endif
