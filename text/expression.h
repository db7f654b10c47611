/* Parsed templates from the inside: what the parser makes and the evaluator walks over. */
#ifndef QLOOM_TEXT_EXPRESSION_H
#define QLOOM_TEXT_EXPRESSION_H

#include "template.h"

typedef enum ql_term {
    QL_TERM_CONSTANT,
    QL_TERM_NAME,
    QL_TERM_FIELD,    /* child 0 . text */
    QL_TERM_METHOD,   /* child 0 . text (children 1 …) or child 0 | text (children 1 …) */
    QL_TERM_FUNCTION, /* function (child 0) */
    QL_TERM_EACH,     /* function applied to the items of child 0 */
    QL_TERM_INDEX,    /* child 0 [child 1] */
    QL_TERM_SLICE,    /* child 0 [child 1 : child 2], each of which may be NULL */
    QL_TERM_LIST,
    QL_TERM_NOT,
    QL_TERM_NEGATE,
    QL_TERM_AND,
    QL_TERM_OR,
    QL_TERM_IF,      /* child 0 if child 1 else child 2, which may be NULL */
    QL_TERM_COMPARE, /* child 0 `text` child 1 */
    QL_TERM_ADD,
    QL_TERM_SUBTRACT,
    QL_TERM_JOIN /* ~ */
} ql_term;

typedef struct ql_expression ql_expression;
struct ql_expression {
    ql_term term;
    size_t at; /* byte in the template's text */
    ql_value value;
    const char *text;
    const ql_function *function;
    const ql_expression **children;
    int64_t count, capacity;
};

typedef struct ql_part { /* text, or an expression */
    const char *text;
    size_t bytes;
    const ql_expression *expression; /* NULL: text */
} ql_part;

struct ql_template {
    const char *text;
    const void *tag;
    int64_t count;
    const ql_part *parts;
};

/* A method or filter of that name with so many arguments, self included? NULL: fine; else what is wrong, for a message. */
const char *ql_method_check(ql_ctx *cx, const char *name, int64_t count);
/* Calls it; v[0] is the value in front of the point or the bar. */
ql_status ql_method_call(ql_ctx *cx, const char *name, const ql_value *v, int64_t count, ql_value *out);

#endif
