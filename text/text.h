/* A text that grows, on the heap. */
#ifndef QLOOM_TEXT_TEXT_H
#define QLOOM_TEXT_TEXT_H

#include "base/ctx.h"

typedef struct ql_text { /* zero is its empty value; `data` is freed with free() */
    char *data;
    int64_t count, capacity;
} ql_text;

ql_status ql_text_put(ql_ctx *cx, ql_text *t, const char *data, size_t bytes);

typedef enum ql_case { QL_CASE_LOWER, QL_CASE_UPPER, QL_CASE_CAPITAL } ql_case;
/* Appends the UTF-8 text as Python's str.lower(), upper() or capitalize() gives it. */
ql_status ql_text_put_case(ql_ctx *cx, ql_text *t, ql_case as, const char *text, size_t bytes);

#endif
