/* A model folder: its directory of tensors, and the way of each from the mapped file to the device. */
#include "source.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "device/device.h"
#include "tensor/tensor.h"

struct ql_source {
    const char *folder;
    const ql_json *config;
    int64_t file_count, count;
    ql_st_file *files;
    ql_st_tensor **tensors; /* by name */
    bool *asked;            /* [count]: whether somebody wants it */
};

/* --- opening ---------------------------------------------------------------------------------------------------- */

static int
by_text(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;

    return strcmp(*x, *y);
}

static int
by_name(const void *a, const void *b)
{
    const ql_st_tensor *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static ql_status
open_single(ql_ctx *cx, const char *path, ql_source *src)
{
    src->files = ql_alloc(cx, 1, sizeof *src->files);
    if (!src->files)
        return QL_MEMORY;
    QL_TRY(cx, ql_st_open(cx, path, src->files));
    src->file_count = 1;
    src->count = src->files->count;
    src->tensors = src->files->by_name;
    return QL_OK;
}

/* Names in the map come from outside and must stay inside the folder. */
static ql_status
check_plain(ql_ctx *cx, const ql_json *value)
{
    const char *name = ql_json_string(value);

    if (!name || !*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strpbrk(name, "/\\"))
        return ql_json_expected(cx, value, "a plain file name");
    return QL_OK;
}

/* The distinct files of the map, sorted, opened once each. */
static ql_status
open_shards(ql_ctx *cx, const ql_json *map, ql_source *src, const char ***names)
{
    int64_t n = ql_json_members(map), distinct = 0;
    const char *key;

    *names = ql_alloc(cx, (size_t)n, sizeof **names);
    if (!*names)
        return QL_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        const ql_json *value = ql_json_at(map, i, &key);

        QL_TRY(cx, check_plain(cx, value));
        (*names)[i] = ql_json_string(value);
    }
    qsort(*names, (size_t)n, sizeof **names, by_text);
    for (int64_t i = 0; i < n; i++)
        if (i == 0 || strcmp((*names)[distinct - 1], (*names)[i]) != 0)
            (*names)[distinct++] = (*names)[i];
    src->files = ql_alloc(cx, (size_t)distinct, sizeof *src->files);
    if (!src->files)
        return QL_MEMORY;
    for (int64_t i = 0; i < distinct; i++) {
        const char *path = ql_format(cx, "%s/%s", src->folder, (*names)[i]);

        if (!path)
            return QL_MEMORY;
        QL_TRY(cx, ql_st_open(cx, path, &src->files[i]));
        src->file_count = i + 1;
    }
    return QL_OK;
}

static ql_status
open_index(ql_ctx *cx, const char *path, ql_source *src)
{
    const ql_json *index, *map;
    const char **names, *key = NULL;
    int64_t held = 0;

    QL_TRY(cx, ql_json_read(cx, path, &index));
    map = ql_json_member(index, "weight_map");
    if (!ql_json_is_object(map))
        return ql_json_expected(cx, map ? map : index, map ? "an object" : "an object with weight_map");
    QL_TRY(cx, open_shards(cx, map, src, &names));
    src->tensors = ql_alloc(cx, (size_t)ql_json_members(map), sizeof(ql_st_tensor *));
    if (!src->tensors)
        return QL_MEMORY;
    for (; src->count < ql_json_members(map); src->count++) {
        const char *file = ql_json_string(ql_json_at(map, src->count, &key));
        const char **hit = bsearch(&file, names, (size_t)src->file_count, sizeof *names, by_text);
        ql_st_tensor *t = ql_st_find(&src->files[hit - names], key);

        if (!t)
            return QL_FAIL(cx, QL_INVALID, "%s: tensor '%s' is not in %s", path, key, file);
        src->tensors[src->count] = t;
    }
    qsort(src->tensors, (size_t)src->count, sizeof(ql_st_tensor *), by_name);
    for (int64_t i = 0; i < src->file_count; i++)
        held += src->files[i].count;
    if (held > src->count)
        ql_warn(cx, "%s: the map lacks %lld tensors of its files", path, (long long)(held - src->count));
    return QL_OK;
}

/* How many files of the folder have names that end so; the path of the last one in `path`, where it is not NULL. */
static int
count_suffix(ql_ctx *cx, const char *folder, const char *suffix, const char **path)
{
    DIR *d = opendir(folder);
    int found = 0;

    for (struct dirent *e; d && (e = readdir(d));) {
        size_t n = strlen(e->d_name), m = strlen(suffix);

        if (n <= m || strcmp(e->d_name + n - m, suffix) != 0)
            continue;
        found++;
        if (path)
            *path = ql_format(cx, "%s/%s", folder, e->d_name);
    }
    if (d)
        closedir(d);
    return found;
}

static ql_status
open_tensors(ql_ctx *cx, const char *stem, ql_source *src)
{
    const char *single = ql_format(cx, "%s/%s.safetensors", src->folder, stem), *only = NULL;
    const char *index = ql_format(cx, "%s/%s.safetensors.index.json", src->folder, stem);

    if (!single || !index)
        return QL_MEMORY;
    if (ql_is_file(single))
        return open_single(cx, single, src);
    if (ql_is_file(index))
        return open_index(cx, index, src);
    if (count_suffix(cx, src->folder, ".safetensors", &only) == 1 && only && !strstr(strrchr(only, '/'), "-of-"))
        return open_single(cx, only, src); /* older tools named it after what is in it */
    if (only)
        return QL_FAIL(cx, QL_NOT_FOUND, "%s: neither %s.safetensors nor %s.safetensors.index.json beside the shards",
                       src->folder, stem, stem);
    if (count_suffix(cx, src->folder, ".bin", NULL) + count_suffix(cx, src->folder, ".pth", NULL) +
            count_suffix(cx, src->folder, ".gguf", NULL) >
        0)
        return QL_FAIL(cx, QL_UNSUPPORTED,
                       "%s: weights are read from safetensors only: convert the folder's .bin, .pth or .gguf",
                       src->folder);
    return QL_FAIL(cx, QL_NOT_FOUND, "%s: no %s.safetensors in this folder", src->folder, stem);
}

/* Complaints about the config name it "config.json", here as in model plugins; the host puts the folder in front. */
static ql_status
read_config(ql_ctx *cx, ql_source *src)
{
    const char *path = ql_format(cx, "%s/config.json", src->folder), *text;
    size_t bytes;
    ql_status st;

    if (!path)
        return QL_MEMORY;
    if (!ql_is_file(path))
        return QL_FAIL(cx, QL_NOT_FOUND, "%s: no config.json in this folder: is it a model?", src->folder);
    QL_TRY(cx, ql_file_read(cx, path, &text, &bytes));
    st = ql_json_parse(cx, "config.json", text, bytes, QL_JSON_DEPTH, &src->config);
    if (st == QL_OK && !ql_json_is_object(src->config))
        st = ql_json_expected(cx, src->config, "an object");
    return st == QL_OK ? QL_OK : ql_where(cx, st, "%s", src->folder);
}

static ql_status
open_source(ql_ctx *cx, const char *stem, bool config, ql_source *src)
{
    if (!ql_is_folder(src->folder))
        return QL_FAIL(cx, QL_NOT_FOUND, "%s: no such folder", src->folder);
    if (config)
        QL_TRY(cx, read_config(cx, src));
    QL_TRY(cx, open_tensors(cx, stem, src));
    src->asked = ql_alloc(cx, (size_t)src->count, sizeof *src->asked);
    return src->asked ? QL_OK : QL_MEMORY;
}

static ql_status
open_folder(ql_ctx *cx, const char *folder, const char *stem, bool config, ql_source **out)
{
    ql_source *src = ql_alloc(cx, 1, sizeof *src);
    size_t n = strlen(folder);
    ql_status st;

    if (!src)
        return QL_MEMORY;
    while (n > 1 && folder[n - 1] == '/')
        n--;
    src->folder = ql_copy_text(cx, folder, n);
    st = src->folder ? open_source(cx, stem, config, src) : QL_MEMORY;
    if (st != QL_OK) {
        ql_source_close(src);
        return st;
    }
    *out = src;
    return QL_OK;
}

ql_status
ql_source_open(ql_ctx *cx, const char *folder, ql_source **out)
{
    return open_folder(cx, folder, "model", true, out);
}

static void
close_part(void *src)
{
    ql_source_close(src);
}

ql_status
ql_source_part(ql_ctx *cx, const char *folder, const char *stem, const ql_source **out)
{
    ql_source *src;

    QL_TRY(cx, open_folder(cx, folder, stem, false, &src));
    *out = src;
    return ql_defer(cx, close_part, src);
}

void
ql_source_close(ql_source *src)
{
    for (int64_t i = 0; src && i < src->file_count; i++)
        ql_st_close(&src->files[i]);
    if (src)
        src->file_count = src->count = 0;
}

/* --- looking ---------------------------------------------------------------------------------------------------- */

const ql_json *
ql_source_config(const ql_source *src)
{
    return src->config;
}

const char *
ql_source_folder(const ql_source *src)
{
    return src->folder;
}

int64_t
ql_source_count(const ql_source *src)
{
    return src->count;
}

const ql_st_tensor *
ql_source_item(const ql_source *src, int64_t i)
{
    return src->tensors[i];
}

int64_t
ql_source_index(const ql_source *src, const char *name)
{
    const ql_st_tensor wanted = {.name = name}, *key = &wanted;
    ql_st_tensor **hit = NULL;

    if (src->count)
        hit = bsearch(&key, src->tensors, (size_t)src->count, sizeof(ql_st_tensor *), by_name);
    return hit ? hit - src->tensors : -1;
}

static ql_st_tensor *
find(const ql_source *src, const char *name)
{
    int64_t i = ql_source_index(src, name);

    return i < 0 ? NULL : src->tensors[i];
}

const ql_st_tensor *
ql_source_find(const ql_source *src, const char *name)
{
    return find(src, name);
}

bool
ql_source_has(const ql_source *src, const char *tensor)
{
    return find(src, tensor) != NULL;
}

ql_status
ql_source_json(ql_ctx *cx, const ql_source *src, const char *file, const ql_json **out)
{
    const char *path = ql_format(cx, "%s/%s", src->folder, file);

    *out = NULL;
    if (!path)
        return QL_MEMORY;
    return ql_is_file(path) ? ql_json_read(cx, path, out) : QL_OK;
}

const char *
ql_source_metadata(const ql_source *src, const char *key)
{
    const char *text = NULL;

    for (int64_t i = 0; i < src->file_count && !text; i++)
        text = ql_json_string(ql_json_member(src->files[i].metadata, key));
    return text;
}

bool
ql_source_shape(const ql_source *src, const char *name, ql_want *out)
{
    const ql_st_tensor *t = find(src, name);

    if (!t || t->ndim > QL_MAX_DIMS)
        return false;
    *out = (ql_want){.name = t->name, .dtype = ql_st_dtype_device(t->dtype), .ndim = (int)t->ndim};
    for (int i = 0; i < out->ndim; i++)
        out->dims[i] = t->dims[i];
    return true;
}

bool
ql_source_asked(const ql_source *src, int64_t i)
{
    return src->asked[i];
}

void
ql_source_expect(const ql_source *src, const char *name)
{
    const int64_t i = ql_source_index(src, name);

    if (i >= 0)
        src->asked[i] = true;
}

bool
ql_source_equal(const ql_st_tensor *a, const ql_st_tensor *b)
{
    bool same = a->ndim == b->ndim && strcmp(a->dtype_name, b->dtype_name) == 0 && a->bytes == b->bytes;

    for (int64_t i = 0; same && i < a->ndim; i++)
        same = a->dims[i] == b->dims[i];
    if (!same)
        return false;
    same = memcmp(ql_st_data(a), ql_st_data(b), a->bytes) == 0;
    ql_st_release(a);
    ql_st_release(b);
    return same;
}

void
ql_source_prefetch(const ql_source *src, const char *name)
{
    const ql_st_tensor *t = find(src, name);

    if (t)
        ql_st_prefetch(t);
}

int64_t
ql_source_reads(const ql_source *src, const char *name)
{
    const ql_st_tensor *t = find(src, name);

    return t ? (int64_t)atomic_load(&t->reads) : 0;
}

/* --- loading ---------------------------------------------------------------------------------------------------- */

/* "[256, 128]", in the innermost scope. */
static const char *
shape_text(ql_ctx *cx, int64_t ndim, const int64_t *dims)
{
    const char *text = "";

    for (int64_t i = 0; text && i < ndim; i++)
        text = ql_format(cx, "%s%s%lld", text, i ? ", " : "", (long long)dims[i]);
    return text ? ql_format(cx, "[%s]", text) : NULL;
}

static ql_status
fail_shape(ql_ctx *cx, const ql_want *want, const ql_st_tensor *t)
{
    int64_t shown = t->ndim < 8 ? t->ndim : 8;
    const char *expected = shape_text(cx, want->ndim, want->dims), *got = shape_text(cx, shown, t->dims);

    if (!expected || !got)
        return QL_MEMORY;
    return QL_FAIL(cx, QL_INVALID, "%s: shape %s expected, file has %s%s", want->name, expected, got,
                   shown < t->ndim ? " and more" : "");
}

/* Integers that no device tensor has are widened on the host. */
static bool
is_widened(ql_st_dtype d)
{
    return d == QL_ST_I8 || d == QL_ST_I16 || d == QL_ST_U16 || d == QL_ST_U32 || d == QL_ST_U64;
}

static ql_status
locate(ql_ctx *cx, const ql_source *src, const ql_want *want, ql_st_tensor **out)
{
    const ql_st_tensor *t = *out = find(src, want->name);
    bool same;

    if (!t)
        return QL_FAIL(cx, QL_NOT_FOUND, "%s: no such tensor in the files", want->name);
    same = t->ndim == want->ndim;
    for (int i = 0; same && i < want->ndim; i++)
        same = t->dims[i] == want->dims[i];
    if (!same)
        return fail_shape(cx, want, t);
    if (ql_st_dtype_device(t->dtype) == QL_DTYPE_NONE && !is_widened(t->dtype))
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: tensors of dtype %s can't be read", want->name, t->dtype_name);
    return QL_OK;
}

ql_status
ql_source_check(ql_ctx *cx, const ql_source *src, const ql_want *want)
{
    ql_st_tensor *t;

    QL_TRY(cx, locate(cx, src, want, &t));
    ql_source_expect(src, want->name);
    return QL_OK;
}

static ql_status
widen(ql_ctx *cx, const ql_st_tensor *t, int64_t *out)
{
    const unsigned char *p = ql_st_data(t);
    const size_t size = (size_t)ql_st_dtype_bits(t->dtype) / 8;
    const bool sign = t->dtype == QL_ST_I8 || t->dtype == QL_ST_I16;
    const uint64_t top = (uint64_t)1 << (8 * size - 1);

    for (uint64_t i = 0; i < t->count; i++, p += size) {
        uint64_t v = 0;

        for (size_t k = size; k-- > 0;)
            v = v << 8 | p[k];
        if (size == 8 && v > INT64_MAX)
            return QL_FAIL(cx, QL_UNSUPPORTED, "%s: element %llu is %llu, above what fits a signed 64-bit integer",
                           t->name, (unsigned long long)i, (unsigned long long)v);
        out[i] = sign ? (int64_t)(v ^ top) - (int64_t)top : (int64_t)v;
    }
    return QL_OK;
}

/* ql_upload or ql_upload_begin */
typedef ql_status (*uploader)(ql_ctx *cx, ql_dtype dtype, int64_t rows, int64_t cols, const void *host,
                              ql_tensor **out);

/* Bytes of the host, contiguous, as a tensor of the shape that was asked for. */
static ql_status
upload(ql_ctx *cx, uploader up, ql_dtype dtype, const ql_want *want, const void *host, ql_tensor **out)
{
    int64_t count = 1;
    ql_tensor *flat;

    if (want->ndim == 2)
        return up(cx, dtype, want->dims[0], want->dims[1], host, out);
    for (int i = 0; i < want->ndim; i++)
        count *= want->dims[i]; /* the reader has checked that this fits */
    if (want->ndim == 1)
        return up(cx, dtype, count, -1, host, out);
    QL_TRY(cx, up(cx, dtype, count, -1, host, &flat));
    return ql_reshape(cx, flat, want->ndim, want->dims, out);
}

static ql_status
upload_wide(ql_ctx *cx, const ql_st_tensor *t, const ql_want *want, ql_tensor **out)
{
    int64_t *wide = ql_heap(cx, (size_t)t->count, sizeof *wide);
    ql_status st = wide ? widen(cx, t, wide) : QL_MEMORY;

    if (st == QL_OK)
        st = upload(cx, ql_upload, QL_I64, want, wide, out);
    free(wide);
    return st;
}

/* `raw` as the caller wants it. */
static ql_status
deliver(ql_ctx *cx, ql_tensor *raw, ql_dtype dtype, ql_tensor **out)
{
    if (dtype == QL_DTYPE_NONE || dtype == ql_dtype_of(raw)) {
        *out = raw;
        return QL_OK;
    }
    QL_TRY(cx, ql_convert(cx, raw, dtype, out));
    ql_drop(cx, &raw);
    return QL_OK;
}

/* The tensor as its file has it. */
static ql_status
fetch(ql_ctx *cx, uploader up, const ql_want *want, const ql_st_tensor *t, ql_tensor **raw)
{
    if (is_widened(t->dtype))
        return upload_wide(cx, t, want, raw);
    return upload(cx, up, ql_st_dtype_device(t->dtype), want, ql_st_data(t), raw);
}

ql_status
ql_source_load(ql_ctx *cx, const ql_source *src, const ql_want *want, ql_tensor **out)
{
    ql_tensor *raw;
    ql_st_tensor *t;
    ql_status st;

    QL_TRY(cx, locate(cx, src, want, &t));
    atomic_fetch_add(&t->reads, 1);
    st = fetch(cx, ql_upload, want, t, &raw);
    ql_st_release(t);
    QL_TRY(cx, st);
    return deliver(cx, raw, want->dtype, out);
}

ql_status
ql_source_begin(ql_ctx *cx, const ql_source *src, const ql_want *want, ql_tensor **raw)
{
    ql_st_tensor *t;

    QL_TRY(cx, locate(cx, src, want, &t));
    return fetch(cx, ql_upload_begin, want, t, raw);
}

ql_status
ql_source_finish(ql_ctx *cx, const ql_source *src, const ql_want *want, ql_tensor *raw, ql_tensor **out)
{
    ql_st_tensor *t;

    QL_TRY(cx, locate(cx, src, want, &t));
    atomic_fetch_add(&t->reads, 1);
    ql_st_release(t);
    return deliver(cx, raw, want->dtype, out);
}

ql_status
ql_source_rows(ql_ctx *cx, const ql_source *src, const ql_want *want, const int32_t *ids, int64_t count,
               ql_tensor **out)
{
    ql_st_tensor *t;
    ql_tensor *raw;
    unsigned char *rows;
    size_t bytes;
    ql_status st;

    QL_TRY(cx, locate(cx, src, want, &t));
    if (want->ndim != 2 || is_widened(t->dtype))
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: rows of a %lld-dimensional %s tensor can't be read", want->name,
                       (long long)t->ndim, t->dtype_name);
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= want->dims[0])
            return QL_FAIL(cx, QL_INVALID, "token id %d at position %lld is outside the vocabulary of %lld",
                           (int)ids[i], (long long)i, (long long)want->dims[0]);
    bytes = (size_t)want->dims[1] * ql_dtype_size(ql_st_dtype_device(t->dtype));
    rows = ql_heap(cx, (size_t)count, bytes);
    if (!rows)
        return QL_MEMORY;
    for (int64_t i = 0; i < count && !cx->device->clock; i++) /* a rehearsal reads no weight */
        memcpy(rows + (size_t)i * bytes, ql_st_data(t) + (size_t)ids[i] * bytes, bytes);
    st = ql_upload(cx, ql_st_dtype_device(t->dtype), count, want->dims[1], rows, &raw);
    free(rows);
    ql_st_release(t);
    QL_TRY(cx, st);
    return deliver(cx, raw, want->dtype, out);
}
