/* The pre-tokenizer: cuts a normalized piece into the words that the model sees. */
#ifndef QLOOM_TEXT_SPLIT_H
#define QLOOM_TEXT_SPLIT_H

#include "normalize.h"

typedef enum ql_prepend { QL_PREPEND_NEVER, QL_PREPEND_FIRST, QL_PREPEND_ALWAYS } ql_prepend;

typedef struct ql_splitter {
    int digits;      /* of a number in one word, by the split pattern; 0: no pattern */
    bool byte_level; /* the model sees bytes */
    char *mark;      /* Metaspace: stands for a space; NULL: no Metaspace */
    ql_prepend prepend;
    bool split; /* before each mark */
} ql_splitter;

ql_status ql_splitter_read(ql_ctx *cx, const ql_json *v, ql_splitter *out); /* v NULL: none */
void ql_splitter_fini(ql_splitter *s);

/* End of the word that begins at `at` < bytes, by the split pattern with up to `digits` digits a word. UTF-8 is
 * valid. */
size_t ql_split_pattern(const char *text, size_t bytes, size_t at, int digits);

/* End of the word that begins at `at`: before the next `mark`, or with `runs` before the next run of them. */
size_t ql_split_mark(const char *text, size_t bytes, size_t at, const char *mark, bool runs);

/* Metaspace: spaces become marks, and one is prepended where the scheme says so. `start`: is the piece the begin of
 * the text? */
ql_status ql_metaspace(ql_ctx *cx, const ql_splitter *s, bool start, const char *text, size_t bytes, ql_text *out);

#endif
