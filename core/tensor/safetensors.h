/* One safetensors file, read: header checked as the hostile input that it is, data mapped. */
#ifndef QLOOM_TENSOR_SAFETENSORS_H
#define QLOOM_TENSOR_SAFETENSORS_H

#include <stdatomic.h>

#include <qloom/model.h>

#include "base/ctx.h"

/* name in files, bits, the dtype of a device tensor with the same bytes */
#define QL_ST_DTYPE_LIST(X)          \
    X(BOOL, 8, QL_U8)                \
    X(U8, 8, QL_U8)                  \
    X(I8, 8, QL_DTYPE_NONE)          \
    X(F8_E4M3, 8, QL_DTYPE_NONE)     \
    X(F8_E5M2, 8, QL_DTYPE_NONE)     \
    X(F8_E8M0, 8, QL_DTYPE_NONE)     \
    X(F8_E4M3FNUZ, 8, QL_DTYPE_NONE) \
    X(F8_E5M2FNUZ, 8, QL_DTYPE_NONE) \
    X(F4, 4, QL_DTYPE_NONE)          \
    X(F6_E2M3, 6, QL_DTYPE_NONE)     \
    X(F6_E3M2, 6, QL_DTYPE_NONE)     \
    X(F16, 16, QL_F16)               \
    X(BF16, 16, QL_BF16)             \
    X(I16, 16, QL_DTYPE_NONE)        \
    X(U16, 16, QL_DTYPE_NONE)        \
    X(F32, 32, QL_F32)               \
    X(I32, 32, QL_I32)               \
    X(U32, 32, QL_DTYPE_NONE)        \
    X(F64, 64, QL_F64)               \
    X(I64, 64, QL_I64)               \
    X(U64, 64, QL_DTYPE_NONE)        \
    X(C64, 64, QL_DTYPE_NONE)

typedef enum ql_st_dtype {
    QL_ST_UNKNOWN, /* a dtype of later versions of the format: listed, never loaded, its size not checked */
#define QL_ST_DTYPE_ENUM(name, bits, dtype) QL_ST_##name,
    QL_ST_DTYPE_LIST(QL_ST_DTYPE_ENUM)
#undef QL_ST_DTYPE_ENUM
} ql_st_dtype;

int ql_st_dtype_bits(ql_st_dtype d);        /* 0: unknown */
ql_dtype ql_st_dtype_device(ql_st_dtype d); /* QL_DTYPE_NONE: no device tensor has these bytes */
const char *ql_st_dtype_name(ql_st_dtype d);
ql_st_dtype ql_st_dtype_find(const char *name);
ql_st_dtype ql_st_dtype_of(ql_dtype d);

typedef struct ql_st_tensor {
    const char *name, *dtype_name; /* as the file writes them */
    ql_st_dtype dtype;
    int64_t ndim;
    const int64_t *dims;
    uint64_t count;      /* elements */
    size_t begin, bytes; /* from the start of the file */
    struct ql_st_file *file;
    atomic_llong reads; /* times that the whole tensor left the file */
} ql_st_tensor;

typedef struct ql_st_file {
    const char *path;
    const unsigned char *data;
    size_t size;
    int64_t count;
    ql_st_tensor *tensors; /* in the order of the data */
    ql_st_tensor **by_name;
    const ql_json *metadata; /* NULL: none */
    bool mapped;
    bool
        once; /* set by who opened it: what is given back leaves the system's cache too, so that it does not push others out */
    int fd; /* of a mapped file */
} ql_st_file;

/* Checks a file in memory, in the order of the format's rules; INVALID names the file, the tensor, what is there
 * and what belongs there. The directory lives in the innermost scope; `path` and `data` have to live as long. `out`
 * must stay where it is: its tensors point to it. */
ql_status ql_st_parse(ql_ctx *cx, const char *path, const void *data, size_t size, ql_st_file *out);

/* The same for a file, mapped. */
ql_status ql_st_open(ql_ctx *cx, const char *path, ql_st_file *out);
void ql_st_close(ql_st_file *f); /* unmaps; a zeroed file is fine */

/* NULL when there is none. */
ql_st_tensor *ql_st_find(const ql_st_file *f, const char *name);

/* The bytes of a tensor; not aligned. */
const unsigned char *ql_st_data(const ql_st_tensor *t);
/* Hints to the system, which never fail: read the pages ahead; give them back, those of `bytes` from byte `at` on or all. */
void ql_st_prefetch(const ql_st_tensor *t);
void ql_st_release_part(const ql_st_tensor *t, size_t at, size_t bytes);
void ql_st_release(const ql_st_tensor *t);

#endif
