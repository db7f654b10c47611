/* One safetensors file, read: its header is hostile until every rule of the format has been checked, in the
 * format's order. */
#include "safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utf8proc.h>

#include "base/file.h"
#include "base/json.h"

#define HEADER_LIMIT 100000000u
#define HEADER_DEPTH 4
#define FAULT_WINDOW 65536u /* bytes, aligned, that one page fault of a mapped file may map */

/* --- dtypes ----------------------------------------------------------------------------------------------------- */

typedef struct dtype_row {
    const char *name;
    int bits;
    ql_dtype device;
} dtype_row;

static const dtype_row dtypes[] = {[QL_ST_UNKNOWN] = {"unknown", 0, QL_DTYPE_NONE},
#define ROW(name, bits, dtype) [QL_ST_##name] = {#name, bits, dtype},
                                   QL_ST_DTYPE_LIST(ROW)
#undef ROW
};

#define DTYPE_COUNT ((int)(sizeof dtypes / sizeof *dtypes))

int
ql_st_dtype_bits(ql_st_dtype d)
{
    return dtypes[d].bits;
}

ql_dtype
ql_st_dtype_device(ql_st_dtype d)
{
    return dtypes[d].device;
}

const char *
ql_st_dtype_name(ql_st_dtype d)
{
    return dtypes[d].name;
}

ql_st_dtype
ql_st_dtype_find(const char *name)
{
    for (int i = QL_ST_UNKNOWN + 1; i < DTYPE_COUNT; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return (ql_st_dtype)i;
    return QL_ST_UNKNOWN;
}

ql_st_dtype
ql_st_dtype_of(ql_dtype d)
{
    for (int i = DTYPE_COUNT;
         d != QL_DTYPE_NONE && i-- > QL_ST_UNKNOWN + 1;) /* from the end: a device's U8 is U8, not BOOL */
        if (dtypes[i].device == d)
            return (ql_st_dtype)i;
    return QL_ST_UNKNOWN;
}

/* --- the header's text ------------------------------------------------------------------------------------------ */

static ql_status
check_utf8(ql_ctx *cx, const char *path, const unsigned char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t got = utf8proc_iterate(text + i, (utf8proc_ssize_t)(bytes - i), &c);

        if (got <= 0)
            return QL_FAIL(cx, QL_INVALID, "%s: the header is not UTF-8: byte 0x%02x at offset %zu", path, text[i], i);
        i += (size_t)got;
    }
    return QL_OK;
}

/* The only numbers are shapes and offsets, which have no sign; a parsed -0 would have lost it. */
static ql_status
check_signs(ql_ctx *cx, const char *path, const unsigned char *text, size_t bytes)
{
    bool string = false;

    for (size_t i = 0; i < bytes; i++) {
        if (string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            string = !string;
        else if (!string && text[i] == '-')
            return QL_FAIL(cx, QL_INVALID, "%s: a number with a sign at offset %zu of the header", path, i);
    }
    return QL_OK;
}

static ql_status
read_header(ql_ctx *cx, const ql_st_file *f, size_t *header, const ql_json **out)
{
    const char *wrong = ql_known_wrong((const char *)f->data, f->size);
    uint64_t n = 0;

    if (f->size < 8)
        return QL_FAIL(cx, QL_INVALID, "%s: header too small: the file has %zu bytes, expected at least 8", f->path,
                       f->size);
    for (int i = 8; i-- > 0;)
        n = n << 8 | f->data[i];
    if (wrong)
        return QL_FAIL(cx, QL_INVALID, "%s: %s", f->path, wrong);
    if (n > HEADER_LIMIT)
        return QL_FAIL(cx, QL_INVALID, "%s: header too large: %llu bytes, at most %u are allowed", f->path,
                       (unsigned long long)n, HEADER_LIMIT);
    if (n > f->size - 8)
        return QL_FAIL(cx, QL_INVALID, "%s: invalid header length: %llu bytes, but only %zu follow", f->path,
                       (unsigned long long)n, f->size - 8);
    *header = (size_t)n;
    QL_TRY(cx, check_utf8(cx, f->path, f->data + 8, *header));
    QL_TRY(cx, ql_json_parse(
                   cx,
                   &(ql_json_input){
                       .file = f->path, .text = (const char *)f->data + 8, .bytes = *header, .depth = HEADER_DEPTH},
                   out));
    if (!ql_json_is_object(*out))
        return QL_FAIL(cx, QL_INVALID, "%s: the header is not a JSON object", f->path);
    return check_signs(cx, f->path, f->data + 8, *header);
}

/* --- its entries ------------------------------------------------------------------------------------------------ */

/* An array of integers; `want` < 0: of any length. */
static ql_status
read_integers(ql_ctx *cx, const ql_json *entry, const char *key, int64_t want, int64_t *count, const int64_t **out)
{
    const ql_json *array = ql_json_member(entry, key);
    int64_t n = ql_json_length(array), *values = ql_alloc(cx, (size_t)n, sizeof *values);

    if (!values)
        return QL_MEMORY;
    if (!ql_json_is_array(array) || (want >= 0 && n != want))
        return ql_json_expected(cx, array ? array : entry,
                                array ? "an array of two integers" : "the fields dtype, shape and data_offsets");
    for (int64_t i = 0; i < n; i++)
        if (!ql_json_as_int(ql_json_item(array, i), &values[i]) || values[i] < 0)
            return ql_json_expected(cx, ql_json_item(array, i), "an integer that is not negative");
    *count = n;
    *out = values;
    return QL_OK;
}

static ql_status
read_tensor(ql_ctx *cx, const ql_json *entry, ql_st_tensor *t)
{
    const ql_json *dtype = ql_json_member(entry, "dtype");
    const int64_t *offsets;
    int64_t two;

    if (ql_json_members(entry) != 3 || !dtype || !ql_json_member(entry, "shape"))
        return ql_json_expected(cx, entry, "the fields dtype, shape and data_offsets");
    t->dtype_name = ql_json_string(dtype);
    if (!t->dtype_name)
        return ql_json_expected(cx, dtype, "the name of a dtype");
    t->dtype = ql_st_dtype_find(t->dtype_name);
    if (!ql_json_is_array(ql_json_member(entry, "shape")))
        return ql_json_expected(cx, ql_json_member(entry, "shape"), "an array of integers");
    QL_TRY(cx, read_integers(cx, entry, "shape", -1, &t->ndim, &t->dims));
    QL_TRY(cx, read_integers(cx, entry, "data_offsets", 2, &two, &offsets));
    t->begin = (size_t)offsets[0];
    t->bytes = (size_t)offsets[1]; /* the end, until check_offsets */
    return QL_OK;
}

static ql_status
check_metadata(ql_ctx *cx, const ql_json *metadata)
{
    const char *key = NULL;

    if (!ql_json_is_object(metadata))
        return ql_json_expected(cx, metadata, "an object of strings");
    for (int64_t i = 0; i < ql_json_members(metadata); i++) {
        size_t bytes;
        const ql_json *value = ql_json_at(metadata, i, &key);

        if (!ql_json_bytes(value, &bytes))
            return ql_json_expected(cx, value, "a string");
    }
    return QL_OK;
}

static ql_status
read_entries(ql_ctx *cx, const ql_json *root, ql_st_file *f)
{
    int64_t n = ql_json_members(root);
    const ql_json *metadata = NULL;
    const char *key = NULL;

    f->tensors = ql_alloc(cx, (size_t)n, sizeof *f->tensors);
    if (!f->tensors)
        return QL_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        const ql_json *entry = ql_json_at(root, i, &key);
        ql_st_tensor *t = &f->tensors[f->count];

        if (strcmp(key, "__metadata__") == 0) {
            metadata = entry;
            continue;
        }
        QL_TRY(cx, read_tensor(cx, entry, t));
        t->name = key;
        t->file = f;
        f->count++;
    }
    f->metadata = metadata;
    return metadata ? check_metadata(cx, metadata) : QL_OK;
}

/* --- what the entries claim ------------------------------------------------------------------------------------- */

static int
by_offset(const void *a, const void *b)
{
    const ql_st_tensor *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int
by_name(const void *a, const void *b)
{
    const ql_st_tensor *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

/* Neither overlap nor hole. Turns ends into byte counts. */
static ql_status
check_offsets(ql_ctx *cx, ql_st_file *f, size_t *end)
{
    *end = 0;
    for (int64_t i = 0; i < f->count; i++) {
        ql_st_tensor *t = &f->tensors[i];
        size_t begin = t->begin, stop = t->bytes;

        if (begin != *end || stop < begin)
            return QL_FAIL(cx, QL_INVALID, "%s: tensor '%s': invalid data_offsets [%zu, %zu], expected to begin at %zu",
                           f->path, t->name, begin, stop, *end);
        t->bytes = stop - begin;
        *end = stop;
    }
    return QL_OK;
}

static ql_status
check_size(ql_ctx *cx, ql_st_tensor *t)
{
    const int bits = ql_st_dtype_bits(t->dtype);
    const char *path = t->file->path;
    uint64_t total;

    t->count = 1;
    for (int64_t k = 0; k < t->ndim; k++)
        if (__builtin_mul_overflow(t->count, (uint64_t)t->dims[k], &t->count))
            return QL_FAIL(cx, QL_INVALID, "%s: tensor '%s': its shape overflows 64 bits", path, t->name);
    if (t->dtype == QL_ST_UNKNOWN)
        return QL_OK;
    if (__builtin_mul_overflow(t->count, (uint64_t)bits, &total))
        return QL_FAIL(cx, QL_INVALID, "%s: tensor '%s': its size overflows 64 bits", path, t->name);
    if (total % 8 != 0)
        return QL_FAIL(cx, QL_INVALID, "%s: tensor '%s': misaligned: %llu elements of %s don't fill whole bytes", path,
                       t->name, (unsigned long long)t->count, t->dtype_name);
    if (total / 8 != t->bytes)
        return QL_FAIL(cx, QL_INVALID, "%s: tensor '%s': shape and dtype %s need %llu bytes, data_offsets give %zu",
                       path, t->name, t->dtype_name, (unsigned long long)total / 8, t->bytes);
    return QL_OK;
}

static ql_status
parse(ql_ctx *cx, ql_st_file *f)
{
    const ql_json *root;
    size_t header = 0, end = 0, room;

    QL_TRY(cx, read_header(cx, f, &header, &root));
    QL_TRY(cx, read_entries(cx, root, f));
    qsort(f->tensors, (size_t)f->count, sizeof *f->tensors, by_offset);
    QL_TRY(cx, check_offsets(cx, f, &end));
    for (int64_t i = 0; i < f->count; i++)
        QL_TRY(cx, check_size(cx, &f->tensors[i]));
    room = f->size - 8 - header;
    if (end != room)
        return QL_FAIL(cx, QL_INVALID, "%s: incomplete buffer: the tensors end at byte %zu of the data, which has %zu",
                       f->path, end, room);
    f->by_name = ql_alloc(cx, (size_t)f->count, sizeof(ql_st_tensor *));
    if (!f->by_name)
        return QL_MEMORY;
    for (int64_t i = 0; i < f->count; i++) {
        f->tensors[i].begin += 8 + header;
        f->by_name[i] = &f->tensors[i];
    }
    qsort(f->by_name, (size_t)f->count, sizeof(ql_st_tensor *), by_name);
    return QL_OK;
}

ql_status
ql_st_parse(ql_ctx *cx, const char *path, const void *data, size_t size, ql_st_file *out)
{
    *out = (ql_st_file){.path = path, .data = data, .size = size};
    return parse(cx, out);
}

/* --- mapped files ----------------------------------------------------------------------------------------------- */

ql_status
ql_st_open(ql_ctx *cx, const char *path, ql_st_file *out)
{
    const char *name = ql_copy_text(cx, path, strlen(path));
    struct stat st;
    void *data = NULL;
    int fd, error;
    ql_status result;

    *out = (ql_st_file){.path = name};
    if (!name)
        return QL_MEMORY;
    QL_TRY(cx, ql_file_open(cx, path, &fd, &st));
    if (st.st_size > 0) /* nothing can be mapped of an empty file, whose error is that of the format */
        data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    error = errno;
    if (!data || data == MAP_FAILED)
        close(fd);
    if (data == MAP_FAILED)
        return QL_FAIL(cx, QL_IO, "%s: can't be mapped: %s", path, strerror(error));
    *out = (ql_st_file){.path = name, .data = data, .size = (size_t)st.st_size, .mapped = data != NULL, .fd = fd};
    result = parse(cx, out);
    if (result != QL_OK)
        ql_st_close(out);
    return result;
}

void
ql_st_close(ql_st_file *f)
{
    if (f->mapped) {
        munmap((void *)(uintptr_t)f->data, f->size);
        close(f->fd);
    }
    *f = (ql_st_file){0};
}

ql_st_tensor *
ql_st_find(const ql_st_file *f, const char *name)
{
    const ql_st_tensor wanted = {.name = name}, *key = &wanted;
    ql_st_tensor **hit;

    if (!f->count)
        return NULL;
    hit = bsearch(&key, f->by_name, (size_t)f->count, sizeof(ql_st_tensor *), by_name);
    return hit ? *hit : NULL;
}

const unsigned char *
ql_st_data(const ql_st_tensor *t)
{
    return t->file->data + t->begin;
}

/* A fault maps the pages around it too, so what is given back is rounded outwards to what a fault may have mapped.
 * Neighbours lose nothing: the mapping is read-only, so they only have to find their pages again. */
static void
advise(const ql_st_tensor *t, size_t at, size_t bytes, int advice)
{
    const ql_st_file *f = t->file;
    const uintptr_t map = (uintptr_t)f->data, first = (uintptr_t)ql_st_data(t) + at;
    uintptr_t start = first / FAULT_WINDOW * FAULT_WINDOW;
    uintptr_t end = (first + bytes + FAULT_WINDOW - 1) / FAULT_WINDOW * FAULT_WINDOW;

    if (!f->mapped || !bytes)
        return;
    start = start < map ? map : start;
    end = end > map + f->size ? map + f->size : end;
    (void)madvise((void *)start, end - start, advice);
    if (f->once && advice == MADV_DONTNEED)
        (void)posix_fadvise(f->fd, (off_t)(start - map), (off_t)(end - start), POSIX_FADV_DONTNEED);
}

void
ql_st_prefetch(const ql_st_tensor *t)
{
    advise(t, 0, t->bytes, MADV_WILLNEED);
}

void
ql_st_release_part(const ql_st_tensor *t, size_t at, size_t bytes)
{
    advise(t, at, bytes, MADV_DONTNEED);
}

void
ql_st_release(const ql_st_tensor *t)
{
    ql_st_release_part(t, 0, t->bytes);
}
