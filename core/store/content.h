/* Content hashes of what a run reads, so that a path is worth no more than what lies there. */
#ifndef QLOOM_STORE_CONTENT_H
#define QLOOM_STORE_CONTENT_H

#include "store.h"

/* A file whose content stands in a key, as it was when that was taken. */
typedef struct ql_seen {
    const struct ql_seen *next;
    const char *path, *stamp;
} ql_seen;

/* Of a file: its name without folders, which says its format, and its bytes. Of a folder: that of each file in it that says what a model
 * is. Hashes of large files are remembered in the store (NULL: nowhere), with the size, inode and times that they were taken at.
 * NOT_FOUND, IO with the system's reason. `seen` (NULL: nowhere) gains every file, in the innermost scope. */
ql_status ql_content_hash(ql_ctx *cx, const ql_store *s, const char *path, const ql_seen **seen, ql_key *out);
/* Is every file what it was, by size, inode and times? Else IO, which names it. */
ql_status ql_content_check(ql_ctx *cx, const ql_seen *seen);
/* Of the shared object or program that this code is part of. */
ql_status ql_content_core(ql_ctx *cx, const ql_store *s, ql_key *out);

/* Names in `folder` that say what a model is: its JSON files and its tensors. Sorted; texts in the innermost scope, the list on the heap.
 */
ql_status ql_model_files(ql_ctx *cx, const char *folder, const char ***names, int64_t *count);

#endif
