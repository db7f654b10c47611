/* Whole files, in and out. A file appears under its final name only when it is complete. */
#ifndef QLOOM_BASE_FILE_H
#define QLOOM_BASE_FILE_H

#include <stdio.h>

#include "ctx.h"

/* Reads FILE into the innermost scope, with a NUL behind it. NOT_FOUND when there is none, IO otherwise. */
ql_status ql_file_read(ql_ctx *cx, const char *file, const char **text, size_t *bytes);

bool ql_is_file(const char *path);
bool ql_is_folder(const char *path);
bool ql_ends_with(const char *text, const char *suffix);

/* Makes the folder and those above it; one that is there is fine. */
ql_status ql_make_folders(ql_ctx *cx, const char *path);

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
