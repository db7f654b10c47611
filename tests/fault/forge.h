/* Entries of the store, taken apart and put together again with a right checksum, whatever is in them: for what damages and fuzzes them. */
#ifndef QLOOM_TESTS_FORGE_H
#define QLOOM_TESTS_FORGE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/tensor/safetensors.h"

#define CHECKSUM "xxh128"
#define MOST_PARTS 256

typedef struct forged_part {
    char name[256], dtype[16];
    ql_st_dtype code;
    int ndim;
    int64_t dims[QL_MAX_DIMS];
    size_t bytes;
    unsigned char *data;
} forged_part;

typedef struct forged { /* an entry, its parts in memory of their own */
    int count;
    forged_part parts[MOST_PARTS];
    unsigned char sum[16]; /* as read; as made by forge_write */
} forged;

static inline void
forge_clear(forged *e)
{
    for (int i = 0; i < e->count; i++)
        free(e->parts[i].data);
    e->count = 0;
}

/* Takes the tensors of a file to those that `e` has, but for the checksum. False when there are too many, or of more dimensions than
 * entries have. */
static inline bool
forge_take(forged *e, const ql_st_file *f)
{
    for (int64_t i = 0; i < f->count; i++) {
        const ql_st_tensor *t = f->by_name[i];
        forged_part *p = &e->parts[e->count];

        if (strcmp(t->name, CHECKSUM) == 0 && t->bytes == sizeof e->sum) {
            memcpy(e->sum, ql_st_data(t), sizeof e->sum);
            continue;
        }
        if (e->count == MOST_PARTS || t->ndim > QL_MAX_DIMS)
            return false;
        *p = (forged_part){.code = t->dtype, .ndim = (int)t->ndim, .bytes = t->bytes, .data = malloc(t->bytes + 1)};
        snprintf(p->name, sizeof p->name, "%s", t->name);
        snprintf(p->dtype, sizeof p->dtype, "%s", t->dtype_name);
        memcpy(p->dims, t->dims, (size_t)t->ndim * sizeof *p->dims);
        memcpy(p->data, ql_st_data(t), t->bytes);
        e->count++;
    }
    return true;
}

static inline int
forge_by_name(const void *a, const void *b)
{
    return strcmp(((const forged_part *)a)->name, ((const forged_part *)b)->name);
}

/* The checksum of an entry with these parts, which it puts in the order of their names. */
static inline void
forge_sum(forged *e, unsigned char out[16])
{
    struct {
        uint64_t name[2], data[2];
        int64_t dtype, ndim, dims[QL_MAX_DIMS];
    } digests[MOST_PARTS] = {0};
    uint64_t sum[2];

    qsort(e->parts, (size_t)e->count, sizeof *e->parts, forge_by_name);
    for (int i = 0; i < e->count; i++) {
        const forged_part *p = &e->parts[i];

        ql_hash_bytes(p->name, strlen(p->name), digests[i].name);
        ql_hash_bytes(p->data, p->bytes, digests[i].data);
        digests[i].dtype = p->code;
        digests[i].ndim = p->ndim;
        memcpy(digests[i].dims, p->dims, sizeof digests[i].dims);
    }
    ql_hash_bytes(digests, (size_t)e->count * sizeof *digests, sum);
    memcpy(out, sum, sizeof sum);
}

static inline void
forge_header(FILE *f, const forged_part *p, size_t *at)
{
    fprintf(f, "\"%s\":{\"dtype\":\"%s\",\"shape\":[", p->name, p->dtype);
    for (int i = 0; i < p->ndim; i++)
        fprintf(f, "%s%lld", i ? "," : "", (long long)p->dims[i]);
    fprintf(f, "],\"data_offsets\":[%zu,%zu]}", *at, *at + p->bytes);
    *at += p->bytes;
}

/* Writes the file with the checksum that its parts have. */
static inline bool
forge_write(forged *e, const char *path)
{
    const forged_part sum = {.name = CHECKSUM, .dtype = "U8", .ndim = 1, .dims = {16}, .bytes = 16};
    char *header = NULL;
    size_t length = 0, at = 0;
    FILE *f = open_memstream(&header, &length), *out = fopen(path, "wb");
    uint64_t size;

    if (!f || !out)
        return false;
    forge_sum(e, e->sum);
    fputc('{', f);
    for (int i = 0; i < e->count; i++) {
        forge_header(f, &e->parts[i], &at);
        fputc(',', f);
    }
    forge_header(f, &sum, &at);
    fputc('}', f);
    fclose(f);
    size = length;
    fwrite(&size, sizeof size, 1, out);
    fwrite(header, 1, length, out);
    for (int i = 0; i < e->count; i++)
        fwrite(e->parts[i].data, 1, e->parts[i].bytes, out);
    fwrite(e->sum, 1, sizeof e->sum, out);
    free(header);
    return fclose(out) == 0;
}

#endif
