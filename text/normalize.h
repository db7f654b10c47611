/* The normalizer of a tokenizer: what a piece of text goes through before it is split. */
#ifndef QLOOM_TEXT_NORMALIZE_H
#define QLOOM_TEXT_NORMALIZE_H

#include "component.h"
#include "text.h"

#define QL_NORMALIZER_STEPS 8

typedef enum ql_normalizer_kind { QL_NORMALIZE_NFC, QL_NORMALIZE_PREPEND, QL_NORMALIZE_REPLACE } ql_normalizer_kind;

typedef struct ql_normalizer_step {
    ql_normalizer_kind kind;
    char *from, *to; /* REPLACE; PREPEND has only `to` */
} ql_normalizer_step;

typedef struct ql_normalizer {
    int count;
    ql_normalizer_step steps[QL_NORMALIZER_STEPS];
} ql_normalizer;

typedef struct ql_normal_work { /* scratch of one thread; zero is its empty value */
    ql_text text[2];
    int32_t *chars;
    int64_t capacity;
} ql_normal_work;

ql_status ql_normalizer_read(ql_ctx *cx, const ql_json *v, ql_normalizer *out); /* v NULL: none */
void ql_normalizer_fini(ql_normalizer *n);

/* *text and *bytes come in as the piece and leave as its normal form, which may lie in `work`, until the next call. */
ql_status ql_normalize(ql_ctx *cx, const ql_normalizer *n, ql_normal_work *work, const char **text, size_t *bytes);
void ql_normal_work_fini(ql_normal_work *work);

#endif
