/* What lies where: questions to the file system have three answers, yes, no and an error. */
#ifndef QLOOM_BASE_PATH_H
#define QLOOM_BASE_PATH_H

#include <sys/stat.h>

#include "ctx.h"

typedef enum ql_path_type { QL_PATH_NONE, QL_PATH_FILE, QL_PATH_FOLDER, QL_PATH_OTHER } ql_path_type;

typedef struct ql_path_info {
    ql_path_type type; /* of what a link leads to; NONE: nothing there, or a link that leads nowhere */
    const char *word;  /* "a file", "a folder", "a FIFO", …; static */
    struct stat stat;  /* zeros when there is nothing */
} ql_path_info;

/* IO when the system does not say. */
ql_status ql_path_look(ql_ctx *cx, const char *path, ql_path_info *out);

/* A file or nothing; anything else in its place is INVALID and named. */
ql_status ql_is_file(ql_ctx *cx, const char *path, bool *out);
ql_status ql_is_folder(ql_ctx *cx, const char *path, bool *out); /* anything else: no */

typedef struct ql_folder_entry {
    const char *name;
    bool link;
    ql_path_info at; /* behind the link, where it is one */
} ql_folder_entry;

/* What a folder holds, sorted by name, in the innermost scope; `.` and `..` are left out, and so is what vanishes meanwhile.
 * NOT_FOUND when there is no such folder, IO when it can't be read to its end. */
ql_status ql_folder_list(ql_ctx *cx, const char *folder, const ql_folder_entry **out, int64_t *count);
/* `path` from the root, without links, `.`, `..` and `//`; what is not there yet is taken as it is written. In the innermost scope. */
ql_status ql_path_resolve(ql_ctx *cx, const char *path, const char **out);
/* Is `path`, which exists, `folder` or below it? By device and inode, so spelling does not matter; false when there is no such folder. */
ql_status ql_path_within(ql_ctx *cx, const char *path, const char *folder, bool *out);

/* The file system that `path` is on, or would be on once its folders are made, and the bytes that are free there for whoever runs;
 * INFINITY where it does not say. */
ql_status ql_path_room(ql_ctx *cx, const char *path, dev_t *disk, double *bytes);

/* Removes a file, a link, or a folder with all that it holds; a link's target stays. Nothing there is fine. */
ql_status ql_remove_tree(ql_ctx *cx, const char *path);

/* Makes the folder and those above it; one that is there is fine. */
ql_status ql_make_folders(ql_ctx *cx, const char *path);
/* What was renamed or removed in the folder reaches the disk, where the file system can do that. */
void ql_sync_folder(const char *folder);

/* The file of the program or library that holds this address of a static object; the program's own where no file does. In the innermost
 * scope. */
ql_status ql_object_file(ql_ctx *cx, const void *address, const char **out);
/* `path` as a user writes it: a `~` in front of it or of its first `/` is the home folder, and what is relative lies in `folder` (NULL or
 * "": the working directory). In the innermost scope; NULL without memory. */
const char *ql_path_from(ql_ctx *cx, const char *folder, const char *path);

bool ql_ends_with(const char *text, const char *suffix);

/* `text` as a file name that no file system, shell, URL or table has trouble with: other letters become '_', and it is cut to 200 bytes.
 * Two texts can become one name: `changed`, which may be NULL, says whether the name differs from the text. In the innermost scope. */
const char *ql_safe_name(ql_ctx *cx, const char *text, bool *changed);

#endif
