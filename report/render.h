/* The formats of a table, and what they share. */
#ifndef QLOOM_REPORT_RENDER_H
#define QLOOM_REPORT_RENDER_H

#include "base/text.h"
#include "table.h"

/* For people; HTML is a part of a page. */
typedef enum ql_text_format { QL_TEXT_MARKDOWN, QL_TEXT_LATEX, QL_TEXT_HTML } ql_text_format;
ql_status ql_render_text(ql_ctx *cx, const ql_table *t, ql_text_format format, FILE *out);
ql_status ql_render_csv(ql_ctx *cx, const ql_table *t, FILE *out);
/* Not a layout: an array with one object a cell. */
ql_status ql_render_json(const ql_book *b, FILE *out);

/* For people: four decimals, four significant digits below 1, whole numbers as such. */
void ql_number_short(double value, char text[QL_NUMBER_SIZE]);
/* For programs: the shortest that reads back equal; "nan", "inf", "-inf". */
void ql_number_exact(double value, char text[QL_NUMBER_SIZE]);

/* Does the text begin with something that a terminal or a browser obeys instead of showing it: a control character, or one that turns the
 * direction of writing? Returns its bytes, 0 if not; `shown`: what stands for it: a blank, caret notation ("^["), or U+FFFD. */
#define QL_SHOWN_SIZE 4
size_t ql_control(const char *text, char shown[QL_SHOWN_SIZE]);
/* `text` with as(text, i) in the place of byte i where that isn't NULL, and what stands for control characters. */
const char *ql_escape(ql_ctx *cx, const char *text, const char *(*as)(const char *text, size_t i));

#endif
