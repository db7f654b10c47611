/* The inside of the store, shared by its files. */
#ifndef QLOOM_STORE_INSIDE_H
#define QLOOM_STORE_INSIDE_H

#include <sys/stat.h>

#include "base/path.h"
#include "store.h"

/* The folder of a node, in the innermost scope; NULL without memory. */
const char *ql_store_node(ql_ctx *cx, const ql_store *s, ql_key key);

/* What lies at a path, no link followed: its type; 0: nothing. */
ql_status ql_store_type(ql_ctx *cx, const char *path, mode_t *type);
/* What a folder holds, in the innermost scope; nothing where there is none, or a link in its place. */
ql_status ql_store_names(ql_ctx *cx, const char *folder, const ql_folder_entry **out, int64_t *count);

#endif
