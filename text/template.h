/* Templates of task files: text with {{ expression }}, a subset of Jinja with its meaning (docs/evaluation.md). */
#ifndef QLOOM_TEXT_TEMPLATE_H
#define QLOOM_TEXT_TEMPLATE_H

#include "value.h"

typedef struct ql_template ql_template; /* parsed; in the innermost scope; immutable */

/* A function of one value, defined by a template. */
typedef struct ql_function {
    const char *name, *parameter;
    const ql_template *body;
} ql_function;

typedef struct ql_functions { /* those that a template may call */
    const ql_function *items;
    int64_t count;
} ql_functions;

/* What names mean while a template is evaluated: those defined by `let`, else the record's fields. */
typedef struct ql_names {
    const char *const *names;
    const ql_value *values; /* [count] */
    int64_t count;
    const ql_json *record;
} ql_names;

/* Where in the template's text an error lies; `place` is that of what the file says for it. */
typedef struct ql_wrong {
    const ql_template *in; /* the template or the function's body; NULL: the text that was to be parsed */
    size_t at;
} ql_wrong;

/* INVALID, with the byte in `wrong`, when it is no template. Only functions of `known` can be called, so none calls itself. `text` lives
 * as long as the template; `tag` is the caller's and comes back with errors. */
ql_status ql_template_parse(ql_ctx *cx, const char *text, const ql_functions *known, const void *tag,
                            const ql_template **out, ql_wrong *wrong);
const void *ql_template_tag(const ql_template *t);

/* The value of a template that is one {{ }}, else a text. INVALID, with the place in `wrong`, where a field is missing or a value is of the
 * wrong type. In the innermost scope. */
ql_status ql_template_value(ql_ctx *cx, const ql_template *t, const ql_names *names, ql_value *out, ql_wrong *wrong);

#endif
