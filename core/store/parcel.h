/* Named tensors and bytes that belong together, and their file: the safetensors layout, under a checksum of names, shapes and data. */
#ifndef QLOOM_STORE_PARCEL_H
#define QLOOM_STORE_PARCEL_H

#include "tensor/safetensors.h"

typedef struct ql_part {
    const char *name;
    const ql_tensor *tensor; /* NULL: bytes */
    const void *data;
    size_t bytes;
} ql_part;

/* Either is filled to be written, and borrows its parts, or was read and lives in the scope that read it. A zeroed one is empty. */
typedef struct ql_parcel {
    int64_t count, capacity;
    ql_part *parts;
    ql_st_file *file; /* NULL: it was not read */
} ql_parcel;

/* Adds a part, in the innermost scope; a NULL tensor is none. The name has to live as long as the parcel. A NULL name, here and below, is
 * one that there was no memory for: MEMORY. */
ql_status ql_parcel_put_tensor(ql_ctx *cx, ql_parcel *p, const char *name, const ql_tensor *t);
ql_status ql_parcel_put(ql_ctx *cx, ql_parcel *p, const char *name, const void *data, size_t bytes);

/* Parts of a parcel that was read. A tensor on the device, in the innermost scope; NULL when there is none of that name. */
ql_status ql_parcel_tensor(ql_ctx *cx, const ql_parcel *p, const char *name, ql_tensor **out);
/* Bytes, not aligned; INVALID when there are none of that name. */
ql_status ql_parcel_find(ql_ctx *cx, const ql_parcel *p, const char *name, const void **data, size_t *bytes);
/* The same into memory of exactly that size. */
ql_status ql_parcel_copy(ql_ctx *cx, const ql_parcel *p, const char *name, void *data, size_t bytes);

ql_status ql_parcel_write(ql_ctx *cx, ql_parcel *p, const char *path);
/* Maps the file and verifies its checksum; INVALID says how it is damaged. */
ql_status ql_parcel_read(ql_ctx *cx, const char *path, ql_parcel *out);

#endif
