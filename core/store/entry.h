/* One file of the store: named tensors and bytes in the safetensors layout, under a checksum that reading verifies. */
#ifndef QLOOM_STORE_ENTRY_H
#define QLOOM_STORE_ENTRY_H

#include "tensor/safetensors.h"

typedef struct ql_entry_part {
    const char *name;
    const ql_tensor *tensor; /* NULL: bytes */
    const void *data;
    size_t bytes;
} ql_entry_part;

typedef struct ql_entry { /* what is to be written; everything is borrowed */
    int64_t count, capacity;
    ql_entry_part *parts;
} ql_entry;

/* Room for so many parts, in the innermost scope. */
ql_status ql_entry_begin(ql_ctx *cx, int64_t capacity, ql_entry *out);
/* Adds a part; a NULL tensor is none. The name has to live as long as the entry. A NULL name, here and below, is one that there was no
 * memory for: MEMORY. */
ql_status ql_entry_tensor(ql_ctx *cx, ql_entry *e, const char *name, const ql_tensor *t);
ql_status ql_entry_bytes(ql_ctx *cx, ql_entry *e, const char *name, const void *data, size_t bytes);
ql_status ql_entry_write(ql_ctx *cx, ql_entry *e, const char *path);

/* Maps the file and verifies its checksum; INVALID says how it is damaged. ql_st_close when done. */
ql_status ql_entry_open(ql_ctx *cx, const char *path, ql_st_file *out);
/* A tensor of the file on the device, in the innermost scope; NULL when the file has none of that name. */
ql_status ql_entry_load(ql_ctx *cx, const ql_st_file *f, const char *name, ql_tensor **out);
/* Bytes of the file, not aligned, as long as it is open; INVALID when it has none of that name. */
ql_status ql_entry_find(ql_ctx *cx, const ql_st_file *f, const char *name, const void **data, size_t *bytes);
/* The same into memory of exactly that size. */
ql_status ql_entry_copy(ql_ctx *cx, const ql_st_file *f, const char *name, void *data, size_t bytes);

#endif
