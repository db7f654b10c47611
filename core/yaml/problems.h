/* Everything wrong with a file that people write, collected, so that all of it is reported in one go and in file order. */
#ifndef QLOOM_YAML_PROBLEMS_H
#define QLOOM_YAML_PROBLEMS_H

#include "base/ctx.h"

typedef struct ql_place { /* where in the file something stands; line and column from 1 */
    const char *file;
    int64_t line, column;
} ql_place;

typedef struct ql_problem {
    ql_place place;
    const char *text;
    int64_t order;
} ql_problem;

typedef struct ql_problems {
    int64_t count, capacity;
    ql_problem *items;
    ql_status failed; /* why a problem could not be recorded; QL_OK: none was lost */
} ql_problems;

/* Adds one unless the same stands there already. Line 0: the place has no line ("-s quant.bits=9"). */
void ql_problem_add(ql_ctx *cx, ql_problems *p, ql_place place, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void ql_problem_vadd(ql_ctx *cx, ql_problems *p, ql_place place, const char *fmt, va_list ap)
    __attribute__((format(printf, 4, 0)));
/* A warning in the log, "FILE:LINE:COLUMN: TEXT". */
void ql_place_warn(ql_ctx *cx, ql_place place, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* So many that looking further helps nobody. */
bool ql_problems_full(const ql_problems *p);
/* QL_OK when there is none, else INVALID with one line a problem as the error's text. */
ql_status ql_problems_end(ql_ctx *cx, ql_problems *p);
void ql_problems_fini(ql_problems *p);

#endif
