/* damage KIND FILE SEED: changes a file of a run or a cache at a random place, and says how. Kinds for any file: flip a bit, truncate,
 * zero a stretch, grow. Kinds for entries of the store, with the checksum made right again, so that only what is inside betrays them:
 * drop a part, shorten one, make its counts huge, or turn its shape. Exit 3 when the file has nothing of that kind to damage, 4 when the
 * checksum of the untouched entry is not the one that this program knows how to make. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ctx.h"
#include "base/hash.h"
#include "tensor/safetensors.h"

#define CHECKSUM "xxh128"
#define MOST_PARTS 4096

typedef struct part {
    char name[256];
    char *dtype;
    ql_st_dtype code;
    int ndim;
    int64_t dims[QL_MAX_DIMS];
    size_t bytes;
    unsigned char *data;
} part;

static part parts[MOST_PARTS];
static int count;
static unsigned char stored_sum[16];
static uint64_t state;

static uint64_t
drawn(uint64_t limit)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % limit;
}

/* --- any file ---------------------------------------------------------------------------------------------------- */

static int
damage_bytes(const char *kind, const char *path)
{
    FILE *f = fopen(path, "r+b");
    long size = f && fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1, at = 0, length = 1;
    int byte;

    if (size < 0)
        return perror(path), 1;
    if (size == 0 && strcmp(kind, "grow") != 0)
        return 3;
    if (strcmp(kind, "grow") != 0)
        at = (long)drawn((uint64_t)size);
    if (strcmp(kind, "truncate") == 0) {
        if (ftruncate(fileno(f), at) != 0)
            return perror(path), 1;
    } else if (strcmp(kind, "grow") == 0) {
        length = (long)drawn(64) + 1;
        for (long i = 0; i < length; i++)
            fputc((int)drawn(256), f);
        at = size;
    } else if (strcmp(kind, "flip") == 0) {
        fseek(f, at, SEEK_SET);
        byte = fgetc(f);
        fseek(f, at, SEEK_SET);
        fputc(byte ^ (1 << drawn(8)), f);
    } else {
        length = (long)drawn((uint64_t)(size - at)) + 1;
        fseek(f, at, SEEK_SET);
        for (long i = 0; i < length; i++)
            fputc(0, f);
    }
    printf("%s of %ld bytes at %ld of %ld", kind, length, at, size);
    return fclose(f) != 0;
}

/* --- entries ----------------------------------------------------------------------------------------------------- */

static int
by_name(const void *a, const void *b)
{
    return strcmp(((const part *)a)->name, ((const part *)b)->name);
}

static void
checksum(unsigned char out[16])
{
    struct {
        uint64_t name[2], data[2];
        int64_t dtype, ndim, dims[QL_MAX_DIMS];
    } *digests = calloc((size_t)count + 1, sizeof *digests);
    uint64_t sum[2];

    qsort(parts, (size_t)count, sizeof *parts, by_name);
    for (int i = 0; digests && i < count; i++) {
        ql_hash_bytes(parts[i].name, strlen(parts[i].name), digests[i].name);
        ql_hash_bytes(parts[i].data, parts[i].bytes, digests[i].data);
        digests[i].dtype = parts[i].code;
        digests[i].ndim = parts[i].ndim;
        memcpy(digests[i].dims, parts[i].dims, sizeof digests[i].dims);
    }
    ql_hash_bytes(digests, (size_t)count * sizeof *digests, sum);
    memcpy(out, sum, sizeof sum);
    free(digests);
}

static int
read_entry(ql_ctx *cx, const char *path)
{
    ql_st_file f = {0};

    if (ql_st_open(cx, path, &f) != QL_OK || f.count > MOST_PARTS)
        return 1;
    for (int64_t i = 0; i < f.count; i++) {
        const ql_st_tensor *t = f.by_name[i];
        part *p = &parts[count];

        if (strcmp(t->name, CHECKSUM) == 0 && t->bytes == sizeof stored_sum) {
            memcpy(stored_sum, ql_st_data(t), sizeof stored_sum);
            continue;
        }
        *p = (part){.dtype = strdup(t->dtype_name), .code = t->dtype, .ndim = (int)t->ndim, .bytes = t->bytes};
        snprintf(p->name, sizeof p->name, "%s", t->name);
        memcpy(p->dims, t->dims, (size_t)t->ndim * sizeof *p->dims);
        p->data = malloc(t->bytes + 1);
        memcpy(p->data, ql_st_data(t), t->bytes);
        count++;
    }
    ql_st_close(&f);
    return 0;
}

static void
put_header(FILE *f, const part *p, size_t *at)
{
    fprintf(f, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", *at ? "," : "{", p->name, p->dtype);
    for (int i = 0; i < p->ndim; i++)
        fprintf(f, "%s%lld", i ? "," : "", (long long)p->dims[i]);
    fprintf(f, "],\"data_offsets\":[%zu,%zu]}", *at, *at + p->bytes);
    *at += p->bytes;
}

static int
write_entry(const char *path)
{
    char u8[] = "U8";
    part sum = {.name = CHECKSUM, .dtype = u8, .ndim = 1, .dims = {16}, .bytes = 16, .data = stored_sum};
    char *header = NULL;
    size_t length = 0, at = 0;
    FILE *f = open_memstream(&header, &length), *out = fopen(path, "wb");
    uint64_t size;

    if (!f || !out)
        return perror(path), 1;
    checksum(stored_sum);
    for (int i = 0; i < count; i++)
        put_header(f, &parts[i], &at);
    put_header(f, &sum, &at);
    fputc('}', f);
    fclose(f);
    size = length;
    fwrite(&size, sizeof size, 1, out);
    fwrite(header, 1, length, out);
    for (int i = 0; i < count; i++)
        fwrite(parts[i].data, 1, parts[i].bytes, out);
    fwrite(stored_sum, 1, sizeof stored_sum, out);
    free(header);
    return fclose(out) != 0;
}

/* Chooses a part that has the kind of damage's victim in it; NULL: there is none. */
static part *
victim(const char *kind)
{
    const int first = count ? (int)drawn((uint64_t)count) : 0;

    for (int i = 0; i < count; i++) {
        part *p = &parts[(first + i) % count];

        if (strcmp(kind, "drop") == 0 || (strcmp(kind, "shorten") == 0 && p->ndim > 0 && p->dims[0] > 1) ||
            (strcmp(kind, "counts") == 0 && strstr(p->name, "count") && p->bytes >= sizeof(int64_t)) ||
            (strcmp(kind, "turn") == 0 && p->ndim == 2 && p->dims[0] != p->dims[1]))
            return p;
    }
    return NULL;
}

static void
forge(const char *kind, part *p)
{
    const int64_t rows = p->dims[0];
    int64_t number = drawn(2) ? INT64_C(1) << 40 : -1;

    printf("%s of part '%s', checksum right", kind, p->name);
    if (strcmp(kind, "drop") == 0) {
        *p = parts[--count];
    } else if (strcmp(kind, "shorten") == 0) {
        p->dims[0] = 1 + (int64_t)drawn((uint64_t)rows - 1);
        p->bytes = p->bytes / (size_t)rows * (size_t)p->dims[0];
    } else if (strcmp(kind, "turn") == 0) {
        p->dims[0] = p->dims[1];
        p->dims[1] = rows;
    } else {
        memcpy(p->data + drawn(p->bytes / sizeof number) * sizeof number, &number, sizeof number);
    }
}

int
main(int argc, char **argv)
{
    static const char *const plain[] = {"flip", "truncate", "zero", "grow"};
    unsigned char sum[16];
    ql_ctx cx;
    ql_scope scope;
    part *p;

    if (argc != 4)
        return fprintf(stderr, "usage: damage KIND FILE SEED\n"), 2;
    state = strtoull(argv[3], NULL, 10);
    (void)drawn(2);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strcmp(argv[1], plain[i]) == 0)
            return damage_bytes(argv[1], argv[2]);
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    if (read_entry(&cx, argv[2]) != 0)
        return fprintf(stderr, "%s: %s\n", argv[2], ql_error(&cx)), 1;
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    checksum(sum);
    if (memcmp(sum, stored_sum, sizeof sum) != 0)
        return fprintf(stderr, "%s: its checksum is another than this program makes\n", argv[2]), 4;
    p = victim(argv[1]);
    if (!p)
        return 3;
    forge(argv[1], p);
    return write_entry(argv[2]);
}
