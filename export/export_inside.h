/* The inside of an export, shared by the files that make it. */
#ifndef QLOOM_EXPORT_EXPORT_INSIDE_H
#define QLOOM_EXPORT_EXPORT_INSIDE_H

#include "tensor/safetensors_write.h"
#include "export.h"
#include "folder.h"

typedef struct ql_export_aside { /* a tensor put aside */
    ql_export_tensor tensor;     /* its dtype NONE where only files know it */
    ql_st_dtype dtype;
    size_t bytes;
    int64_t at;               /* in the spool */
    const ql_st_tensor *from; /* one of the model's own files instead; NULL: the spool */
} ql_export_aside;

struct ql_export {
    const ql_model_handle *model;
    const char *folder, *runtimes, *serve; /* folder: what it will be, from the root */
    ql_target target;
    ql_scope memory;
    int spool; /* an unnamed file beside what is made, or -1 */
    int64_t spooled, item_count, item_capacity, file_count, file_capacity;
    ql_export_aside *items;
    const char **files;
    uint64_t bytes; /* of the files that are complete */
    uint64_t shard; /* bytes of tensors that one file holds, unless a single tensor has more */
};

ql_status ql_export_spool_open(ql_ctx *cx, ql_export *x);
/* A text that lives as long as the export; NULL without memory. */
const char *ql_export_keep(ql_ctx *cx, ql_export *x, const char *text);
/* Lists a file as the export's; its path, to be made, in the innermost scope. */
ql_status ql_export_name(ql_ctx *cx, ql_export *x, const char *name, const char **path);

#endif
