/* The store: finished blocks of every node on disk, by content key. It is the cache across runs and what an interrupted
 * run resumes from. A folder of its own:
 *
 *   CACHEDIR.TAG                       tells backup programs, and us, what the folder is
 *   nodes/KEY/00003.safetensors        what node KEY made of block 3; `whole` in place of a number: of the whole walk
 *   files/HASH                         the content hash of a large input file (content.h)
 *
 * A link in the place of any of them is not the store's: it is neither read nor followed.
 */
#ifndef QLOOM_STORE_STORE_H
#define QLOOM_STORE_STORE_H

#include "parcel.h"

#define QL_WHOLE (-1) /* in place of a block */

typedef struct ql_key { /* 128-bit content hash of all that decides what a node makes */
    uint64_t half[2];
} ql_key;

typedef struct ql_store {
    const char *folder;
    uint64_t limit; /* bytes; 0: none */
    int64_t since;  /* when it was opened, as file times say it: what was used later is in use */
} ql_store;

typedef struct ql_entry { /* a parcel in the store */
    ql_key key;
    int64_t block;
    const char *kind;  /* "linears": what its parts mean, at most 15 letters */
    const char *about; /* "NAME bits=3": what made it, for the user */
} ql_entry;

/* Makes the folder if need be. INVALID when it holds something else. `folder` has to live as long. */
ql_status ql_store_open(ql_ctx *cx, const char *folder, ql_store *out);
/* NOT_FOUND when there is none. */
ql_status ql_store_check(ql_ctx *cx, const char *folder);

/* The parcel of the entry, in the innermost scope; `parcel` NULL: only whether there is a file, in whatever state. One that is damaged, or
 * whose checksum is that of another key, block or kind, is told in the log and removed: it was not found. */
ql_status ql_store_get(ql_ctx *cx, const ql_store *s, const ql_entry *e, ql_parcel *parcel, bool *found);
ql_status ql_store_put(ql_ctx *cx, const ql_store *s, const ql_entry *e, ql_parcel *parcel);
/* Removes an entry whose parts don't serve, for the reason that the context's error says, which is told and cleared. */
ql_status ql_store_drop(ql_ctx *cx, const ql_store *s, const ql_entry *e);
/* Removes what node `key` made of every block, with `whole` all that it holds; fine when there is nothing. */
ql_status ql_store_forget(ql_ctx *cx, const ql_store *s, ql_key key, bool whole);
/* Marks the node as used now, and removes what writers that were killed have left in it. */
ql_status ql_store_touch(ql_ctx *cx, const ql_store *s, ql_key key);

typedef struct ql_store_item { /* a node */
    ql_key key;
    uint64_t bytes;
    int64_t blocks; /* that there are of it */
    int64_t used;   /* nanoseconds since 1970 */
} ql_store_item;

/* Nodes, the least recently used first, on the heap: free. */
ql_status ql_store_list(ql_ctx *cx, const ql_store *s, ql_store_item **items, int64_t *count);
/* What made a node: "NAME bits=3"; "?" where no file tells. In the innermost scope. */
ql_status ql_store_about(ql_ctx *cx, const ql_store *s, ql_key key, const char **about);
/* Removes nodes that nobody has used since it was opened, the least recently used first, until the rest fits the limit. */
ql_status ql_store_trim(ql_ctx *cx, const ql_store *s);
/* Removes all nodes and hashes; files that are not the store's stay. */
ql_status ql_store_clear(ql_ctx *cx, const ql_store *s);

#endif
