/* Drawing: text that is safe in HTML and SVG, scales with ticks, charts. No plotting library in C that is maintained
 * writes SVG that follows a page's colours, so these few hundred lines do. */
#ifndef QLOOM_REPORT_SVG_H
#define QLOOM_REPORT_SVG_H

#include <stdio.h>

#include "base/ctx.h"

/* `text` as the content of an element or of an attribute in double quotes: markup escaped, what is no UTF-8 or a
 * control character replaced. Labels are anyone's. NULL, of a damaged row, is no text. */
void ql_html_put(FILE *out, const char *text);
/* The format with such texts in the place of each %s, which is all that it may have. */
void ql_html_print(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define QL_FIGURE_WIDTH 440 /* pixels of a figure that grows and shrinks with its column */

typedef enum ql_anchor { QL_ANCHOR_START, QL_ANCHOR_MIDDLE, QL_ANCHOR_END } ql_anchor;
void ql_svg_text(FILE *out, double x, double y, ql_anchor anchor, const char *text);
/* Opens an <svg> of that size, described by `title` for those who can't see it. Ends with fputs("</svg>\n"). */
void ql_svg_open(FILE *out, double width, double height, const char *title);
/* Columns that the text takes on a terminal; bytes that are no UTF-8 count one each. */
int ql_text_columns(const char *text);
/* Pixels that the text takes in the figures' font, about. */
double ql_svg_text_width(const char *text);
/* `text`, its end cut and marked when it is wider than `width`. In the innermost scope; NULL without memory. */
const char *ql_svg_fit(ql_ctx *cx, const char *text, double width);

/* Can the number be drawn? Results are anyone's, and sums of the largest doubles overflow. */
bool ql_svg_can_draw(double value);

#define QL_TICKS_MAX 16

typedef struct ql_scale { /* numbers to pixels */
    bool log;
    double low, high, from, to; /* numbers, and where they are drawn */
    int tick_count;
    double ticks[QL_TICKS_MAX];
} ql_scale;

/* A scale with some room around [low, high], logarithmic where asked and low > 0. */
ql_scale ql_scale_make(double low, double high, bool log, double from, double to);
double ql_scale_at(const ql_scale *s, double value);

#define QL_COLOURS 8 /* classes s0 … s7 of the style */
/* The colour of a stage: the same kind has the same one in every figure. */
int ql_figure_colour(const char *kind);
#define QL_SHAPES 6
/* Adds the outline of marker `shape` around a point to the data of a path. */
void ql_svg_marker(FILE *out, int shape, double x, double y);

/* The style of figures, and of the page around them; light and dark. */
extern const char ql_figure_style[], ql_page_style[];

#endif
