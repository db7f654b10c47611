/* The inside of the store, shared by its files. */
#ifndef QLOOM_STORE_INSIDE_H
#define QLOOM_STORE_INSIDE_H

#include <dirent.h>

#include "store.h"

/* The folder of a node, in the innermost scope; NULL without memory. */
const char *ql_store_node(ql_ctx *cx, const ql_store *s, ql_key key);

/* opendir of a folder that is no link; NULL with errno. */
DIR *ql_store_folder(const char *path);
/* The next name but `.` and `..`; NULL at the end. IO, which names `path`, when the folder can't be read. */
ql_status ql_store_next(ql_ctx *cx, DIR *d, const char *path, struct dirent **out);

#endif
