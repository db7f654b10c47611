/* The store: finished blocks of every node on disk, by content key. It is the cache across runs and what an interrupted
 * run resumes from. A folder of its own:
 *
 *   CACHEDIR.TAG                       tells backup programs, and us, what the folder is
 *   nodes/KEY/00003.safetensors        what node KEY made of block 3; `whole` in place of a number: of the whole walk
 *   files/HASH                         the content hash of a large input file (content.h)
 */
#ifndef QLOOM_STORE_STORE_H
#define QLOOM_STORE_STORE_H

#include "entry.h"

#define QL_WHOLE (-1)      /* in place of a block */
#define QL_ABOUT "about"   /* the part of an entry that says what made it */
#define QL_STORE_PATH 4096 /* bytes of a name */

typedef struct ql_key { /* 128-bit content hash of all that decides what a node makes */
    uint64_t half[2];
} ql_key;

typedef struct ql_store {
    const char *folder;
    uint64_t limit; /* bytes; 0: none */
    bool fresh;     /* nothing is taken from it */
    int64_t since;  /* when it was opened, as file times say it: what was used later is in use */
} ql_store;

/* Makes the folder if need be. INVALID when it holds something else. `folder` has to live as long. */
ql_status ql_store_open(ql_ctx *cx, const char *folder, ql_store *out);
/* NOT_FOUND when there is none. */
ql_status ql_store_check(ql_ctx *cx, const char *folder);

/* Is there a file, whatever its state? False for all that a fresh run may not see. */
bool ql_store_has(const ql_store *s, ql_key key, int64_t block);
/* Opens and verifies an entry; ql_st_close when done. One that can't be read is told in the log, removed and INVALID. */
ql_status ql_store_load(ql_ctx *cx, const ql_store *s, ql_key key, int64_t block, ql_st_file *out);
ql_status ql_store_save(ql_ctx *cx, const ql_store *s, ql_key key, int64_t block, ql_entry *e);
/* Marks the node as used now, and removes what writers that were killed have left in it. */
void ql_store_touch(const ql_store *s, ql_key key);

typedef struct ql_store_item { /* a node */
    ql_key key;
    uint64_t bytes;
    int64_t used; /* nanoseconds since 1970 */
} ql_store_item;

/* Nodes, the least recently used first, on the heap: free. */
ql_status ql_store_list(ql_ctx *cx, const ql_store *s, ql_store_item **items, int64_t *count);
/* What made a node: "NAME bits=3"; "?" where no file tells. In the innermost scope. */
ql_status ql_store_about(ql_ctx *cx, const ql_store *s, ql_key key, const char **about);
/* Removes nodes that nobody has used since it was opened, the least recently used first, until the rest fits the limit. */
ql_status ql_store_trim(ql_ctx *cx, const ql_store *s);
/* Removes all nodes and hashes; files that are not the store's stay. */
ql_status ql_store_clear(ql_ctx *cx, const ql_store *s);

/* --- for the files of this folder */

/* The folder of a node; false when the name is too long for any file. */
bool ql_store_node(const ql_store *s, ql_key key, char path[QL_STORE_PATH]);

#endif
