/* The folder of an export: made beside the one that it becomes, and swapped with it when all is there. */
#ifndef QLOOM_EXPORT_FOLDER_H
#define QLOOM_EXPORT_FOLDER_H

#include "base/ctx.h"

#define QL_EXPORT_RECORD "qloom_export.json" /* which files are an export's; lies in every folder of one */

typedef struct ql_target {
    const char *folder, *work; /* what it becomes, and where it is made meanwhile: both from the root */
    int lock;                  /* on `work`; -1: none */
} ql_target;

/* May an export go to `folder`, which is ql_path_resolve's? Into none, an empty one, or one with an earlier export and nothing else. */
ql_status ql_target_check(ql_ctx *cx, const char *folder);

/* Makes the folder to work in, empty, and locks it. INVALID where another process exports to the same one. `folder` lives as long as
 * the target, and so does the innermost scope. */
ql_status ql_target_open(ql_ctx *cx, const char *folder, ql_target *out);
/* What was made takes the place of what was there, all at once. Until then, and when it fails, that stays as it was. */
ql_status ql_target_swap(ql_ctx *cx, ql_target *t);
void ql_target_close(ql_ctx *cx, ql_target *t); /* without a swap nothing is left */

#endif
