/* One safetensors file, written as a stream: all tensors are declared first, their bytes follow in any order and
 * pieces. */
#ifndef QLOOM_TENSOR_SAFETENSORS_WRITE_H
#define QLOOM_TENSOR_SAFETENSORS_WRITE_H

#include "safetensors.h"

typedef struct ql_st_entry { /* a tensor to come */
    const char *name;
    ql_st_dtype dtype;
    int ndim;
    int64_t dims[QL_MAX_DIMS];
} ql_st_entry;

typedef struct ql_st_pair { /* of `__metadata__` */
    const char *key, *value;
} ql_st_pair;

typedef struct ql_st_plan {
    int64_t count, pair_count;
    const ql_st_entry *entries;
    const ql_st_pair *pairs; /* beside "format": "pt", which is always there */
} ql_st_plan;

typedef struct ql_st_writer ql_st_writer;

/* Begins PATH beside its final name and writes the header. The writer lives in the innermost scope. */
ql_status ql_st_create(ql_ctx *cx, const char *path, const ql_st_plan *plan, ql_st_writer **out);
/* Appends bytes to the tensor `name`; more than it was declared to have is INVALID. */
ql_status ql_st_write(ql_ctx *cx, ql_st_writer *w, const char *name, const void *data, size_t bytes);
/* Gives the file its name; INVALID, and no file, when a tensor is not complete. */
ql_status ql_st_commit(ql_ctx *cx, ql_st_writer *w);
void ql_st_abort(ql_st_writer *w); /* NULL, and a writer that is done, are fine */

#endif
