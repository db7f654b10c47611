/* Parcels: one safetensors file whose last tensor is the checksum of all others, names and shapes included. */
#include "parcel.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "pack.h"
#include "tensor/safetensors_write.h"
#include "tensor/tensor.h"

#define CHECKSUM "xxh128"
#define CHECKSUM_BYTES 16

/* --- checksum ------------------------------------------------------------------------------------------------ */

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

/* --- writing ------------------------------------------------------------------------------------------------- */

static ql_status
add(ql_ctx *cx, ql_parcel *p, ql_part part)
{
    ql_part *parts = p->parts;

    if (!part.name)
        return QL_MEMORY;
    if (p->count == p->capacity) {
        p->capacity = p->capacity ? 2 * p->capacity : 16;
        parts = ql_alloc(cx, (size_t)p->capacity, sizeof *parts);
        if (!parts)
            return QL_MEMORY;
        if (p->count)
            memcpy(parts, p->parts, (size_t)p->count * sizeof *parts);
        p->parts = parts;
    }
    parts[p->count++] = part;
    return QL_OK;
}

ql_status
ql_parcel_put_tensor(ql_ctx *cx, ql_parcel *p, const char *name, const ql_tensor *t)
{
    return t ? add(cx, p, (ql_part){.name = name, .tensor = t}) : QL_OK;
}

ql_status
ql_parcel_put(ql_ctx *cx, ql_parcel *p, const char *name, const void *data, size_t bytes)
{
    return add(cx, p, (ql_part){.name = name, .data = data, .bytes = bytes});
}

/* Numbers as bytes; false when one is not 0 to 255, to the bit. */
static bool
as_bytes(ql_dtype dtype, const void *numbers, size_t count, uint8_t *out)
{
    bool fits = true;

    for (size_t i = 0; i < count && dtype == QL_F32; i++) {
        const float x = ((const float *)numbers)[i], back = out[i] = x > 0 && x < 256 ? (uint8_t)x : 0;

        fits = fits && memcmp(&x, &back, sizeof x) == 0;
    }
    for (size_t i = 0; i < count && dtype == QL_F64; i++) {
        const double x = ((const double *)numbers)[i], back = out[i] = x > 0 && x < 256 ? (uint8_t)x : 0;

        fits = fits && memcmp(&x, &back, sizeof x) == 0;
    }
    return fits;
}

static ql_status
pack_tensor(ql_ctx *cx, const ql_tensor *t, int bits, uint8_t *packed, bool *fits)
{
    const size_t count = (size_t)ql_count(t);
    const uint8_t *numbers;
    uint8_t *bytes = NULL;

    QL_TRY(cx, ql_map(cx, t, QL_READ, &numbers));
    *fits = true;
    if (ql_dtype_of(t) != QL_U8) {
        bytes = ql_heap(cx, count, 1);
        *fits = bytes && as_bytes(ql_dtype_of(t), numbers, count, bytes);
    }
    *fits = *fits && ql_codes_pack(bytes ? bytes : numbers, count, bits, packed);
    free(bytes);
    QL_TRY(cx, ql_unmap(cx, t));
    return bytes || ql_dtype_of(t) == QL_U8 ? QL_OK : QL_MEMORY;
}

ql_status
ql_parcel_put_codes(ql_ctx *cx, ql_parcel *p, const char *name, const ql_tensor *t, int bits)
{
    const size_t bytes = ql_packed_bytes((size_t)ql_count(t), bits);
    uint8_t *packed = ql_alloc(cx, bytes, 1);
    bool fits = false;

    if (!packed)
        return QL_MEMORY;
    QL_TRY(cx, pack_tensor(cx, t, bits, packed, &fits));
    return fits ? ql_parcel_put(cx, p, name, packed, bytes) : ql_parcel_put_tensor(cx, p, name, t);
}

/* Have two contiguous tensors of one shape and dtype the same bytes? */
static ql_status
same_bytes(ql_ctx *cx, const ql_tensor *a, const ql_tensor *b, bool *same)
{
    const void *x, *y;

    QL_TRY(cx, ql_map(cx, a, QL_READ, &x));
    QL_TRY(cx, ql_map(cx, b, QL_READ, &y));
    *same = memcmp(x, y, ql_tensor_bytes(a)) == 0;
    QL_TRY(cx, ql_unmap(cx, b));
    return ql_unmap(cx, a);
}

ql_status
ql_parcel_put_as(ql_ctx *cx, ql_parcel *p, const char *name, const ql_tensor *t, ql_dtype dtype)
{
    ql_tensor *narrow, *back;
    bool same = false;

    QL_TRY(cx, ql_convert(cx, t, dtype, &narrow));
    QL_TRY(cx, ql_convert(cx, narrow, ql_dtype_of(t), &back));
    QL_TRY(cx, same_bytes(cx, t, back, &same));
    return ql_parcel_put_tensor(cx, p, name, same ? narrow : t);
}

static ql_st_entry
declared(const ql_part *p)
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
write_part(ql_ctx *cx, ql_st_writer *w, const ql_part *p, digest *d)
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
    return strcmp(((const ql_part *)a)->name, ((const ql_part *)b)->name);
}

static ql_status
write_parts(ql_ctx *cx, const ql_parcel *parcel, ql_st_writer *w)
{
    digest *digests = ql_alloc(cx, (size_t)parcel->count, sizeof *digests);
    uint64_t sum[2];

    if (!digests)
        return QL_MEMORY;
    for (int64_t i = 0; i < parcel->count; i++)
        QL_TRY(cx, write_part(cx, w, &parcel->parts[i], &digests[i]));
    ql_hash_bytes(digests, (size_t)parcel->count * sizeof *digests, sum);
    QL_TRY(cx, ql_st_write(cx, w, CHECKSUM, sum, sizeof sum));
    return ql_st_commit(cx, w);
}

ql_status
ql_parcel_write(ql_ctx *cx, ql_parcel *parcel, const char *path)
{
    ql_st_entry *entries = ql_alloc(cx, (size_t)parcel->count + 1, sizeof *entries);
    ql_st_writer *w;
    ql_status st;

    if (!entries)
        return QL_MEMORY;
    qsort(parcel->parts, (size_t)parcel->count, sizeof *parcel->parts, by_name);
    for (int64_t i = 0; i < parcel->count; i++)
        entries[i] = declared(&parcel->parts[i]);
    entries[parcel->count] = (ql_st_entry){.name = CHECKSUM, .dtype = QL_ST_U8, .ndim = 1, .dims = {CHECKSUM_BYTES}};
    QL_TRY(cx, ql_st_create(cx, path, &(ql_st_plan){.count = parcel->count + 1, .entries = entries}, &w));
    st = write_parts(cx, parcel, w);
    ql_st_abort(w);
    return st;
}

/* --- reading ------------------------------------------------------------------------------------------------- */

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

static void
close_file(void *file)
{
    ql_st_close(file);
}

ql_status
ql_parcel_read(ql_ctx *cx, const char *path, ql_parcel *out)
{
    ql_st_file *file = ql_alloc(cx, 1, sizeof *file);

    *out = (ql_parcel){0};
    if (!file)
        return QL_MEMORY;
    QL_TRY(cx, ql_st_open(cx, path, file));
    QL_TRY(cx, ql_defer(cx, close_file, file));
    QL_TRY(cx, verify(cx, file));
    out->file = file;
    return QL_OK;
}

ql_status
ql_parcel_tensor(ql_ctx *cx, const ql_parcel *p, const char *name, ql_tensor **out)
{
    const ql_st_tensor *t = name ? ql_st_find(p->file, name) : NULL;
    const ql_dtype dtype = t ? ql_st_dtype_device(t->dtype) : QL_DTYPE_NONE;

    *out = NULL;
    if (!t)
        return name ? QL_OK : QL_MEMORY;
    if (dtype == QL_DTYPE_NONE || t->ndim < 1 || t->ndim > 2)
        return QL_FAIL(cx, QL_INVALID, "%s: the tensor '%s' is of no kind that the store holds", p->file->path, name);
    return ql_upload(cx, dtype, t->dims[0], t->ndim == 2 ? t->dims[1] : -1, ql_st_data(t), out);
}

ql_status
ql_parcel_tensor_as(ql_ctx *cx, const ql_parcel *p, const char *name, ql_dtype dtype, ql_tensor **out)
{
    QL_TRY(cx, ql_parcel_tensor(cx, p, name, out));
    return *out && ql_dtype_of(*out) != dtype ? ql_convert(cx, *out, dtype, out) : QL_OK;
}

ql_status
ql_parcel_codes(ql_ctx *cx, const ql_parcel *p, const char *name, int bits, int64_t rows, int64_t cols, ql_dtype dtype,
                ql_tensor **out)
{
    const ql_st_tensor *t = name ? ql_st_find(p->file, name) : NULL;
    const size_t count = (size_t)rows * (size_t)cols;
    uint8_t *codes;

    if (!t || t->dtype != QL_ST_U8 || t->ndim != 1) /* there are none, or they did not fit */
        return ql_parcel_tensor_as(cx, p, name, dtype, out);
    if (bits < 1 || bits > 8 || t->bytes != ql_packed_bytes(count, bits))
        return QL_FAIL(cx, QL_INVALID, "%s: '%s' does not hold [%lld, %lld] integers of %d bits", p->file->path, name,
                       (long long)rows, (long long)cols, bits);
    QL_TRY(cx, ql_new(cx, QL_U8, rows, cols, out));
    QL_TRY(cx, ql_map(cx, *out, QL_WRITE, &codes));
    ql_codes_unpack(ql_st_data(t), count, bits, codes);
    QL_TRY(cx, ql_unmap(cx, *out));
    return dtype == QL_U8 ? QL_OK : ql_convert(cx, *out, dtype, out);
}

ql_status
ql_parcel_find(ql_ctx *cx, const ql_parcel *p, const char *name, const void **data, size_t *bytes)
{
    const ql_st_tensor *t = name ? ql_st_find(p->file, name) : NULL;

    if (!name)
        return QL_MEMORY;
    if (!t)
        return QL_FAIL(cx, QL_INVALID, "%s: it has no '%s'", p->file->path, name);
    *data = ql_st_data(t);
    *bytes = t->bytes;
    return QL_OK;
}

ql_status
ql_parcel_copy(ql_ctx *cx, const ql_parcel *p, const char *name, void *data, size_t bytes)
{
    const void *from = NULL;
    size_t got = 0;

    QL_TRY(cx, ql_parcel_find(cx, p, name, &from, &got));
    if (got != bytes)
        return QL_FAIL(cx, QL_INVALID, "%s: '%s' has %zu bytes, expected %zu", p->file->path, name, got, bytes);
    memcpy(data, from, bytes);
    return QL_OK;
}
