/* The normalizer of a tokenizer: what a piece of text goes through before it is split. */
#ifndef QLOOM_TEXT_NORMALIZE_H
#define QLOOM_TEXT_NORMALIZE_H

#include "component.h"

typedef struct ql_normal_work { /* scratch of one thread; zero is its empty value */
    ql_regex_work regex;
    ql_text text[2];
    int32_t *chars;
    int64_t capacity;
    bool stripped; /* did the last text lose its begin? */
} ql_normal_work;

ql_status ql_normalizer_read(ql_ctx *cx, const ql_json *v, ql_text_steps *out); /* v NULL: none */

/* *text and *bytes come in as the piece and leave as its normal form, which may lie in `work`, until the next call. */
ql_status ql_normalize(ql_ctx *cx, const ql_text_steps *n, ql_normal_work *work, const char **text, size_t *bytes);
void ql_normal_work_fini(ql_normal_work *work);

/* UNSUPPORTED where steps made more of `bytes` of text than any tokenizer in use does. */
ql_status ql_check_growth(ql_ctx *cx, const char *component, size_t bytes, int64_t made);

#endif
