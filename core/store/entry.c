/* Entries of the store: one safetensors file whose last tensor is the checksum of all others, names and shapes included. */
#include "entry.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "tensor/safetensors_write.h"
#include "tensor/tensor.h"

#define CHECKSUM "xxh128"
#define CHECKSUM_BYTES 16

/* --- checksum --- */

typedef struct digest { /* what the checksum is made of, one a part, in the order of their names */
    uint64_t name[2], data[2];
    int64_t dtype, ndim, dims[QL_MAX_DIMS];
} digest;

static void
digest_of(const char *name, ql_st_dtype dtype, const void *data, size_t bytes, digest *d)
{
    *d = (digest){.dtype = dtype};
    ql_hash_bytes(name, strlen(name), d->name);
    ql_hash_bytes(data, bytes, d->data);
}

/* --- writing --- */

ql_status
ql_entry_begin(ql_ctx *cx, int64_t capacity, ql_entry *out)
{
    *out = (ql_entry){.capacity = capacity, .parts = ql_alloc(cx, (size_t)capacity, sizeof *out->parts)};
    return out->parts ? QL_OK : QL_MEMORY;
}

static ql_status
add(ql_ctx *cx, ql_entry *e, ql_entry_part part)
{
    if (!part.name)
        return QL_MEMORY;
    if (e->count == e->capacity)
        return QL_FAIL(cx, QL_BUG, "no room for the part '%s' of an entry", part.name);
    e->parts[e->count++] = part;
    return QL_OK;
}

ql_status
ql_entry_tensor(ql_ctx *cx, ql_entry *e, const char *name, const ql_tensor *t)
{
    return t ? add(cx, e, (ql_entry_part){.name = name, .tensor = t}) : QL_OK;
}

ql_status
ql_entry_bytes(ql_ctx *cx, ql_entry *e, const char *name, const void *data, size_t bytes)
{
    return add(cx, e, (ql_entry_part){.name = name, .data = data, .bytes = bytes});
}

static ql_st_entry
declared(const ql_entry_part *p)
{
    ql_st_entry out = {.name = p->name, .dtype = QL_ST_U8, .ndim = 1, .dims = {(int64_t)p->bytes}};

    if (!p->tensor)
        return out;
    out.dtype = ql_st_dtype_of(ql_dtype_of(p->tensor));
    out.ndim = ql_ndim(p->tensor);
    for (int i = 0; i < out.ndim; i++)
        out.dims[i] = ql_dim(p->tensor, i);
    return out;
}

static ql_status
write_part(ql_ctx *cx, ql_st_writer *w, const ql_entry_part *p, digest *d)
{
    const ql_st_entry entry = declared(p);
    const void *data = p->data;
    size_t bytes = p->tensor ? ql_tensor_bytes(p->tensor) : p->bytes;
    ql_status st;

    if (p->tensor)
        QL_TRY(cx, ql_map(cx, p->tensor, QL_READ, &data));
    digest_of(p->name, entry.dtype, data, bytes, d);
    d->ndim = entry.ndim;
    memcpy(d->dims, entry.dims, (size_t)entry.ndim * sizeof *d->dims);
    st = ql_st_write(cx, w, p->name, data, bytes);
    if (p->tensor)
        QL_TRY(cx, ql_unmap(cx, p->tensor));
    return st;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(((const ql_entry_part *)a)->name, ((const ql_entry_part *)b)->name);
}

static ql_status
write_parts(ql_ctx *cx, const ql_entry *e, ql_st_writer *w)
{
    digest *digests = ql_alloc(cx, (size_t)e->count, sizeof *digests);
    uint64_t sum[2];

    if (!digests)
        return QL_MEMORY;
    for (int64_t i = 0; i < e->count; i++)
        QL_TRY(cx, write_part(cx, w, &e->parts[i], &digests[i]));
    ql_hash_bytes(digests, (size_t)e->count * sizeof *digests, sum);
    QL_TRY(cx, ql_st_write(cx, w, CHECKSUM, sum, sizeof sum));
    return ql_st_commit(cx, w);
}

ql_status
ql_entry_write(ql_ctx *cx, ql_entry *e, const char *path)
{
    ql_st_entry *entries = ql_alloc(cx, (size_t)e->count + 1, sizeof *entries);
    ql_st_writer *w;
    ql_status st;

    if (!entries)
        return QL_MEMORY;
    qsort(e->parts, (size_t)e->count, sizeof *e->parts, by_name);
    for (int64_t i = 0; i < e->count; i++)
        entries[i] = declared(&e->parts[i]);
    entries[e->count] = (ql_st_entry){.name = CHECKSUM, .dtype = QL_ST_U8, .ndim = 1, .dims = {CHECKSUM_BYTES}};
    QL_TRY(cx, ql_st_create(cx, path, &(ql_st_plan){.count = e->count + 1, .entries = entries}, &w));
    st = write_parts(cx, e, w);
    ql_st_abort(w);
    return st;
}

/* --- reading --- */

static ql_status
verify(ql_ctx *cx, const ql_st_file *f)
{
    digest *digests = ql_alloc(cx, (size_t)f->count, sizeof *digests);
    const ql_st_tensor *stored = ql_st_find(f, CHECKSUM);
    int64_t count = 0;
    uint64_t sum[2];

    if (!digests)
        return QL_MEMORY;
    for (int64_t i = 0; i < f->count; i++) {
        const ql_st_tensor *t = f->by_name[i];
        digest *d = &digests[count];

        if (t == stored)
            continue;
        digest_of(t->name, t->dtype, ql_st_data(t), t->bytes, d);
        d->ndim = t->ndim;
        memcpy(d->dims, t->dims, (size_t)(t->ndim < QL_MAX_DIMS ? t->ndim : QL_MAX_DIMS) * sizeof *d->dims);
        count++;
    }
    ql_hash_bytes(digests, (size_t)count * sizeof *digests, sum);
    if (!stored || stored->bytes != sizeof sum || memcmp(ql_st_data(stored), sum, sizeof sum) != 0)
        return QL_FAIL(cx, QL_INVALID, "%s: its bytes don't have its checksum", f->path);
    return QL_OK;
}

ql_status
ql_entry_open(ql_ctx *cx, const char *path, ql_st_file *out)
{
    ql_status st;

    *out = (ql_st_file){0};
    QL_TRY(cx, ql_st_open(cx, path, out));
    st = verify(cx, out);
    if (st != QL_OK)
        ql_st_close(out);
    return st;
}

ql_status
ql_entry_load(ql_ctx *cx, const ql_st_file *f, const char *name, ql_tensor **out)
{
    const ql_st_tensor *t = name ? ql_st_find(f, name) : NULL;
    const ql_dtype dtype = t ? ql_st_dtype_device(t->dtype) : QL_DTYPE_NONE;

    *out = NULL;
    if (!t)
        return name ? QL_OK : QL_MEMORY;
    if (dtype == QL_DTYPE_NONE || t->ndim < 1 || t->ndim > 2)
        return QL_FAIL(cx, QL_INVALID, "%s: the tensor '%s' is of no kind that the store holds", f->path, name);
    return ql_upload(cx, dtype, t->dims[0], t->ndim == 2 ? t->dims[1] : -1, ql_st_data(t), out);
}

ql_status
ql_entry_find(ql_ctx *cx, const ql_st_file *f, const char *name, const void **data, size_t *bytes)
{
    const ql_st_tensor *t = name ? ql_st_find(f, name) : NULL;

    if (!name)
        return QL_MEMORY;
    if (!t)
        return QL_FAIL(cx, QL_INVALID, "%s: it has no '%s'", f->path, name);
    *data = ql_st_data(t);
    *bytes = t->bytes;
    return QL_OK;
}

ql_status
ql_entry_copy(ql_ctx *cx, const ql_st_file *f, const char *name, void *data, size_t bytes)
{
    const void *from = NULL;
    size_t got = 0;

    QL_TRY(cx, ql_entry_find(cx, f, name, &from, &got));
    if (got != bytes)
        return QL_FAIL(cx, QL_INVALID, "%s: '%s' has %zu bytes, expected %zu", f->path, name, got, bytes);
    memcpy(data, from, bytes);
    return QL_OK;
}
