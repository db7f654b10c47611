/* Whole files, in and out. A file appears under its final name only when it is complete. */
#ifndef QLOOM_BASE_FILE_H
#define QLOOM_BASE_FILE_H

#include <stdio.h>

#include "path.h"

#define QL_FILE_MOST ((size_t)1 << 28) /* bytes of a file that is read whole: config, tokenizer, index */

/* Opens a regular file for reading; a folder, FIFO, socket or device is IO and named, and none is waited for. NOT_FOUND when there is
 * none. */
ql_status ql_file_open(ql_ctx *cx, const char *file, int *fd, struct stat *st);

/* Reads FILE into the innermost scope, with a NUL behind it. As ql_file_open; INVALID when it has more than `most` bytes. */
ql_status ql_file_read(ql_ctx *cx, const char *file, size_t most, const char **text, size_t *bytes);

/* A file to write as one goes: a log or a journal. `mode` is "w", "a" or "a+". Links are not followed. */
ql_status ql_file_stream(ql_ctx *cx, const char *path, const char *mode, FILE **out);

/* A file being written beside its final name: commit flushes it to the disk and renames, abort removes it. */
typedef struct ql_file_writer {
    FILE *stream;
    const char *path, *temporary;
} ql_file_writer;

ql_status ql_file_create(ql_ctx *cx, const char *path, ql_file_writer *out);
ql_status ql_file_put(ql_ctx *cx, ql_file_writer *w, const void *data, size_t bytes);
ql_status ql_file_commit(ql_ctx *cx, ql_file_writer *w); /* also closes when it fails */
void ql_file_abort(ql_file_writer *w);                   /* after a commit: does nothing */

/* All of it in one call. */
ql_status ql_file_write(ql_ctx *cx, const char *path, const void *data, size_t bytes);

#endif
