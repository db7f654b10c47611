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
/* The same for a tensor u8, f32 or f64 of integers below 2^bits, at `bits` each (pack.h); where one is not that, the tensor as it is. */
ql_status ql_parcel_put_codes(ql_ctx *cx, ql_parcel *p, const char *name, const ql_tensor *t, int bits);
/* The same for a tensor whose numbers `dtype` holds, each to the bit; where it does not, the tensor as it is. */
ql_status ql_parcel_put_as(ql_ctx *cx, ql_parcel *p, const char *name, const ql_tensor *t, ql_dtype dtype);

/* Parts of a parcel that was read. A tensor on the device, in the innermost scope; NULL when there is none of that name. */
ql_status ql_parcel_tensor(ql_ctx *cx, const ql_parcel *p, const char *name, ql_tensor **out);
/* What ql_parcel_put_as or ql_parcel_put_codes put there, as `dtype`; INVALID when it is not [rows, cols] integers of `bits`. */
ql_status ql_parcel_tensor_as(ql_ctx *cx, const ql_parcel *p, const char *name, ql_dtype dtype, ql_tensor **out);
ql_status ql_parcel_codes(ql_ctx *cx, const ql_parcel *p, const char *name, int bits, int64_t rows, int64_t cols,
                          ql_dtype dtype, ql_tensor **out);
/* Bytes, not aligned; INVALID when there are none of that name. */
ql_status ql_parcel_find(ql_ctx *cx, const ql_parcel *p, const char *name, const void **data, size_t *bytes);
/* The same into memory of exactly that size. */
ql_status ql_parcel_copy(ql_ctx *cx, const ql_parcel *p, const char *name, void *data, size_t bytes);

ql_status ql_parcel_write(ql_ctx *cx, ql_parcel *p, const char *path);
/* Maps the file and verifies its checksum; INVALID says how it is damaged. */
ql_status ql_parcel_read(ql_ctx *cx, const char *path, ql_parcel *out);

#endif
