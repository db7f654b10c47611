/* The formats of a table, and what they share. */
#ifndef QLOOM_REPORT_RENDER_H
#define QLOOM_REPORT_RENDER_H

#include "base/text.h"
#include "table.h"

ql_status ql_render_markdown(ql_ctx *cx, const ql_table *t, FILE *out);
ql_status ql_render_csv(ql_ctx *cx, const ql_table *t, FILE *out);
ql_status ql_render_html(ql_ctx *cx, const ql_table *t, FILE *out); /* a part of a page */
ql_status ql_render_latex(ql_ctx *cx, const ql_table *t, FILE *out);
/* Not a layout: an array with one object a cell. */
ql_status ql_render_json(const ql_book *b, FILE *out);

/* For people: four decimals, four significant digits below 1, whole numbers as such. */
void ql_number_short(double value, char text[QL_NUMBER_SIZE]);
/* For programs: the shortest that reads back equal; "nan", "inf", "-inf". */
void ql_number_exact(double value, char text[QL_NUMBER_SIZE]);

/* How a format for people writes a field. */
typedef struct ql_dialect {
    const char *(*escape)(ql_ctx *cx, const char *text); /* into the innermost scope; NULL without memory */
    const char *marks[3];                                /* before, between and after the numbers of footnotes */
    const char *plus_minus, *failed, *best[2];           /* best: what stands around the best number */
} ql_dialect;

/* All fields of a table as text, the header's first: (row_count + 1) x (key_count + column_count), in the innermost
 * scope. */
ql_status ql_grid_make(ql_ctx *cx, const ql_table *t, const ql_dialect *d, const char ***out);
/* Does the text begin with something that a terminal or a browser obeys instead of showing it: a control character, or one that turns the
 * direction of writing? Returns its bytes, 0 if not; `shown`: what stands for it: a blank, caret notation ("^["), or U+FFFD. */
#define QL_SHOWN_SIZE 4
size_t ql_control(const char *text, char shown[QL_SHOWN_SIZE]);
/* `text` with as(text, i) in the place of byte i where that isn't NULL, and what stands for control characters. */
const char *ql_escape(ql_ctx *cx, const char *text, const char *(*as)(const char *text, size_t i));

#endif
