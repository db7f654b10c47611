/* journal.jsonl of a run folder: a line of JSON for every finished piece of work, in the order in which it ended. */
#ifndef QLOOM_STORE_JOURNAL_H
#define QLOOM_STORE_JOURNAL_H

#include <stdio.h>

#include "store.h"

#define QL_JOURNAL_FILE "journal.jsonl"

typedef struct ql_journal {
    const char *path;
    FILE *file;
} ql_journal;

typedef struct ql_journal_line {
    int64_t block;     /* QL_WHOLE: of the whole walk */
    const char *stage; /* "quant" */
    const char *what;  /* "NAME bits=3" */
    ql_key key;
    bool replayed; /* taken from the store; else worked out */
} ql_journal_line;

/* Goes on behind what an earlier process wrote. Paths live in the innermost scope. */
ql_status ql_journal_open(ql_ctx *cx, const char *folder, ql_journal *out);
/* A line for the beginning of a walk over the blocks of stage `root`. `j` NULL: nothing, here and below. */
ql_status ql_journal_begin(ql_ctx *cx, ql_journal *j, const char *root, int64_t blocks);
ql_status ql_journal_put(ql_ctx *cx, ql_journal *j, const ql_journal_line *line);
void ql_journal_close(ql_journal *j); /* a zeroed journal is fine */

#endif
