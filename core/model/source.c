/* A model folder: its directory of tensors, and the way of each from the mapped file to the device. */
#include "source.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "device/host.h"

struct ql_source {
    const char *folder;
    const ql_json *config;
    int64_t file_count, count;
    ql_st_file *files;
    ql_st_tensor **tensors; /* by name */
    bool *asked;            /* [count]: whether somebody wants it */
    const char *omitted;    /* what names are looked up without too; NULL: nothing */
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

/* Every tensor of the shards, where the map says so from the file that it names; one warning tells where it is not what they hold. */
static ql_status
gather_tensors(ql_ctx *cx, const char *path, const ql_json *map, const char *const *names, ql_source *src)
{
    int64_t held = 0, unlisted = 0, listed = 0;

    for (int64_t i = 0; i < src->file_count; i++)
        held += src->files[i].count;
    src->tensors = ql_alloc(cx, (size_t)held, sizeof(ql_st_tensor *));
    if (!src->tensors)
        return QL_MEMORY;
    for (int64_t i = 0; i < src->file_count; i++)
        for (int64_t k = 0; k < src->files[i].count; k++) {
            ql_st_tensor *t = src->files[i].by_name[k];
            const char *file = ql_json_string(ql_json_member(map, t->name));

            if (file &&
                strcmp(file, names[i]) != 0) /* a second one of its name, in a file that the map does not name for it */
                continue;
            listed += file != NULL;
            unlisted += file == NULL;
            src->tensors[src->count++] = t;
        }
    qsort(src->tensors, (size_t)src->count, sizeof(ql_st_tensor *), by_name);
    for (int64_t i = 1; i < src->count; i++)
        if (strcmp(src->tensors[i - 1]->name, src->tensors[i]->name) == 0)
            return QL_FAIL(cx, QL_INVALID, "%s: two files hold a tensor '%s', and the map names neither", path,
                           src->tensors[i]->name);
    if (unlisted || listed < ql_json_members(map))
        return ql_follow(
            cx, path, "the map names %lld tensors that its files lack, and lacks %lld that they hold, which are read",
            (long long)(ql_json_members(map) - listed), (long long)unlisted);
    return QL_OK;
}

static ql_status
open_index(ql_ctx *cx, const char *path, ql_source *src)
{
    const ql_json *index, *map;
    const char **names;

    QL_TRY(cx, ql_json_read(cx, path, &index));
    map = ql_json_member(index, "weight_map");
    if (!ql_json_is_object(map))
        return ql_json_expected(cx, map ? map : index, map ? "an object" : "an object with weight_map");
    QL_TRY(cx, open_shards(cx, map, src, &names));
    return gather_tensors(cx, path, map, names, src);
}

/* The folder has neither the one file nor an index: a single file of another name will do, and what else there is says what is wrong. */
static ql_status
open_other(ql_ctx *cx, const char *stem, ql_source *src)
{
    const char *only = NULL;
    const ql_folder_entry *entries;
    bool other = false;
    int64_t count, found = 0;

    QL_TRY(cx, ql_folder_list(cx, src->folder, &entries, &count));
    for (int64_t i = 0; i < count; i++) {
        const char *name = entries[i].name;

        other = other || ql_ends_with(name, ".bin") || ql_ends_with(name, ".pth") || ql_ends_with(name, ".gguf");
        if (!ql_ends_with(name, ".safetensors"))
            continue;
        found++;
        only = name;
    }
    if (found == 1 && !strstr(only, "-of-")) { /* older tools named it after what is in it */
        only = ql_format(cx, "%s/%s", src->folder, only);
        return only ? open_single(cx, only, src) : QL_MEMORY;
    }
    if (found)
        return QL_FAIL(cx, QL_NOT_FOUND, "%s: neither %s.safetensors nor %s.safetensors.index.json beside the shards",
                       src->folder, stem, stem);
    if (other)
        return QL_FAIL(cx, QL_UNSUPPORTED,
                       "%s: weights are read from safetensors only: convert the folder's .bin, .pth or .gguf",
                       src->folder);
    return QL_FAIL(cx, QL_NOT_FOUND, "%s: no %s.safetensors in this folder", src->folder, stem);
}

static ql_status
open_tensors(ql_ctx *cx, const char *stem, ql_source *src)
{
    const char *single = ql_format(cx, "%s/%s.safetensors", src->folder, stem);
    const char *index = ql_format(cx, "%s/%s.safetensors.index.json", src->folder, stem);
    bool alone, there;

    if (!single || !index)
        return QL_MEMORY;
    QL_TRY(cx, ql_is_file(cx, single, &alone));
    QL_TRY(cx, ql_is_file(cx, index, &there));
    if (alone && there)
        QL_TRY(cx, ql_follow(cx, single, "read, and the index beside it is not"));
    if (alone)
        return open_single(cx, single, src);
    if (there)
        return open_index(cx, index, src);
    return open_other(cx, stem, src);
}

/* Complaints about the config name it "config.json", here as in model plugins; the host puts the folder in front. */
static ql_status
read_config(ql_ctx *cx, ql_source *src)
{
    const char *path = ql_format(cx, "%s/config.json", src->folder), *text;
    size_t bytes;
    bool there;
    ql_status st;

    if (!path)
        return QL_MEMORY;
    QL_TRY(cx, ql_is_file(cx, path, &there));
    if (!there)
        return QL_FAIL(cx, QL_NOT_FOUND, "%s: no config.json in this folder: is it a model?", src->folder);
    QL_TRY(cx, ql_file_read(cx, path, QL_FILE_MOST, &text, &bytes));
    st = ql_json_parse(cx, &(ql_json_input){.file = "config.json", .text = text, .bytes = bytes, .python = true},
                       &src->config);
    if (st == QL_OK && !ql_json_is_object(src->config))
        st = ql_json_expected(cx, src->config, "an object");
    return st == QL_OK ? QL_OK : ql_where(cx, st, "%s", src->folder);
}

/* A model larger than the memory that there is would push out of the system's cache all that lies there, itself before it is read again. */
static void
read_once(ql_ctx *cx, const ql_source *src)
{
    const double memory = (double)ql_host_all();
    double bytes = 0;

    for (int64_t i = 0; i < src->file_count; i++)
        bytes += (double)src->files[i].size;
    if (memory <= 0 || bytes <= memory)
        return;
    for (int64_t i = 0; i < src->file_count; i++)
        src->files[i].once = true;
    ql_info(cx, "%s: %.1f GiB of weights, more than the memory that there is: they don't stay in the system's cache",
            src->folder, bytes / 0x1p30);
}

static ql_status
open_source(ql_ctx *cx, const char *stem, bool config, ql_source *src)
{
    ql_path_info at;

    QL_TRY(cx, ql_path_look(cx, src->folder, &at));
    if (at.type != QL_PATH_FOLDER)
        return at.type == QL_PATH_NONE ? QL_FAIL(cx, QL_NOT_FOUND, "%s: no such folder", src->folder)
                                       : QL_FAIL(cx, QL_INVALID, "%s: it is %s, not a folder", src->folder, at.word);
    if (config)
        QL_TRY(cx, read_config(cx, src));
    QL_TRY(cx, open_tensors(cx, stem, src));
    read_once(cx, src);
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
    const size_t n = src->omitted ? strlen(src->omitted) : 0;
    const ql_st_tensor wanted = {.name = name}, *key = &wanted;
    ql_st_tensor **hit = NULL;

    if (src->count)
        hit = bsearch(&key, src->tensors, (size_t)src->count, sizeof(ql_st_tensor *), by_name);
    if (hit)
        return hit - src->tensors;
    for (int64_t i = 0; n && strncmp(name, src->omitted, n) == 0 && i < src->count; i++)
        if (strcmp(src->tensors[i]->name, name + n) == 0)
            return i;
    return -1;
}

/* What stands in front of `name` in a name of the source; NULL: it ends no name. */
static const char *
front_of(ql_ctx *cx, const ql_source *src, const char *name)
{
    for (int64_t i = 0; i < src->count; i++) {
        const char *whole = src->tensors[i]->name;

        if (ql_ends_with(whole, name))
            return ql_copy_text(cx, whole, strlen(whole) - strlen(name));
    }
    return NULL;
}

ql_status
ql_source_anchor(ql_ctx *cx, ql_source *src, const char *name, const char *prefix)
{
    const char *inner = name + strlen(prefix), *front, *first = "";

    if (ql_source_index(src, name) >= 0)
        return QL_OK;
    if (ql_source_index(src, inner) >= 0) {
        src->omitted = prefix;
        ql_info(cx, "%s: names of tensors lack '%s', which transformers puts in front of them", src->folder, prefix);
        return QL_OK;
    }
    front = front_of(cx, src, inner);
    if (front)
        return QL_FAIL(cx, QL_NOT_FOUND,
                       "no tensor %s: the names begin with '%s' where '%s' is expected: save the language model by "
                       "itself, or rename "
                       "its tensors",
                       name, front, prefix);
    for (int64_t i = 0; i < src->count && i < 3 && first; i++)
        first = ql_format(cx, "%s%s%s", first, i ? ", " : "", src->tensors[i]->name);
    return first ? QL_FAIL(cx, QL_NOT_FOUND, "no tensor %s among the %lld that the files hold: %s%s", name,
                           (long long)src->count, first, src->count > 3 ? ", …" : "")
                 : QL_MEMORY;
}

static ql_st_tensor *
find(const ql_source *src, const char *name)
{
    int64_t i = ql_source_index(src, name);

    return i < 0 ? NULL : src->tensors[i];
}

ql_st_tensor *
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

    bool there;

    *out = NULL;
    if (!path)
        return QL_MEMORY;
    QL_TRY(cx, ql_is_file(cx, path, &there));
    return there ? ql_json_read(cx, path, out) : QL_OK;
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

const char *
ql_source_dtype(const ql_source *src, const char *name)
{
    const ql_st_tensor *t = find(src, name);

    return t ? t->dtype_name : NULL;
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
