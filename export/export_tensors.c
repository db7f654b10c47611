/* Tensors of an export: put aside in the order in which they come, then written to safetensors files, whose headers need all of
 * them first. */
#define _GNU_SOURCE /* O_TMPFILE */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/path.h"
#include "base/json.h"
#include "base/printer.h"
#include "tensor/tensor.h"
#include "export_inside.h"

#define PIECE_BYTES ((size_t)1 << 20)

/* --- the spool ---------------------------------------------------------------------------------------------------------- */

ql_status
ql_export_spool_open(ql_ctx *cx, ql_export *x)
{
    const char *path = ql_format(cx, "%s/.aside", x->target.work);

    if (!path)
        return QL_MEMORY;
    x->spool =
        open(x->target.work, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600); /* it goes with the process, however that ends */
    if (x->spool >= 0)
        return QL_OK;
    x->spool = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600); /* a file system without unnamed files */
    if (x->spool < 0 || unlink(path) != 0)
        return QL_FAIL(cx, QL_IO, "%s: %s", path, strerror(errno));
    return QL_OK;
}

static ql_status
put(ql_ctx *cx, ql_export *x, const void *data, size_t bytes)
{
    const char *p = data;

    for (size_t done = 0; done < bytes;) {
        const ssize_t n = pwrite(x->spool, p + done, bytes - done, (off_t)(x->spooled + (int64_t)done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return QL_FAIL(cx, QL_IO, "%s: putting tensors aside: %s", x->folder,
                           n < 0 ? strerror(errno) : "nothing was written");
        done += (size_t)n;
    }
    x->spooled += (int64_t)bytes;
    return QL_OK;
}

static ql_status
get(ql_ctx *cx, const ql_export *x, int64_t at, void *data, size_t bytes)
{
    char *p = data;

    for (size_t done = 0; done < bytes;) {
        const ssize_t n = pread(x->spool, p + done, bytes - done, (off_t)(at + (int64_t)done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return QL_FAIL(cx, QL_IO, "%s: reading tensors put aside: %s", x->folder,
                           n < 0 ? strerror(errno) : "they are cut short");
        done += (size_t)n;
    }
    return QL_OK;
}

/* --- what is aside -------------------------------------------------------------------------------------------------------- */

static ql_status
size_of(ql_ctx *cx, const ql_export_tensor *t, size_t *out)
{
    *out = ql_dtype_size(t->dtype);
    for (int i = 0; i < t->ndim; i++)
        if (t->dims[i] < 0 || __builtin_mul_overflow(*out, (size_t)t->dims[i], out))
            return QL_FAIL(cx, QL_BUG, "tensor '%s': its size overflows", t->name);
    return QL_OK;
}

static ql_status
append(ql_ctx *cx, ql_export *x, const ql_export_aside *item)
{
    QL_TRY(cx, ql_grow(cx, &x->items, &x->item_capacity, x->item_count + 1, sizeof *x->items));
    x->items[x->item_count] = *item;
    x->items[x->item_count].tensor.name = ql_export_keep(cx, x, item->tensor.name);
    if (!x->items[x->item_count].tensor.name)
        return QL_MEMORY;
    x->item_count++;
    return QL_OK;
}

ql_status
ql_export_add(ql_ctx *cx, ql_export *x, const ql_export_tensor *t, const void *data)
{
    ql_export_aside item = {.tensor = *t, .dtype = ql_st_dtype_of(t->dtype), .at = x->spooled};

    QL_TRY(cx, size_of(cx, t, &item.bytes));
    QL_TRY(cx, put(cx, x, data, item.bytes));
    return append(cx, x, &item);
}

int64_t
ql_export_count(const ql_export *x)
{
    return x->item_count;
}

const ql_export_tensor *
ql_export_item(const ql_export *x, int64_t i)
{
    return &x->items[i].tensor;
}

ql_status
ql_export_read(ql_ctx *cx, const ql_export *x, int64_t i, const void **data)
{
    const ql_export_aside *item = &x->items[i];
    void *p;

    if (item->from) {
        *data = ql_st_data(item->from);
        return QL_OK;
    }
    p = ql_alloc(cx, item->bytes, 1);
    if (!p)
        return QL_MEMORY;
    *data = p;
    return get(cx, x, item->at, p, item->bytes);
}

ql_status
ql_export_replace(ql_ctx *cx, ql_export *x, int64_t i, const int64_t *dims, const void *data)
{
    ql_export_aside item = x->items[i];

    for (int d = 0; d < item.tensor.ndim; d++)
        item.tensor.dims[d] = dims[d];
    item.at = x->spooled;
    item.from = NULL;
    QL_TRY(cx, size_of(cx, &item.tensor, &item.bytes));
    QL_TRY(cx, put(cx, x, data, item.bytes));
    x->items[i] = item;
    return QL_OK;
}

/* --- what the model has besides --------------------------------------------------------------------------------------------- */

/* A tensor of the model's files, byte by byte; opening the model has made sure that it is there. */
static ql_status
add_stored(ql_ctx *cx, ql_export *x, const char *name)
{
    const ql_st_tensor *t = name ? ql_source_find(x->model->source, name) : NULL;
    ql_export_aside item = {.from = t};

    if (!t)
        return name ? QL_FAIL(cx, QL_NOT_FOUND, "%s: no such tensor in the files", name) : QL_MEMORY;
    item.tensor = (ql_export_tensor){.name = name, .dtype = ql_st_dtype_device(t->dtype), .ndim = (int)t->ndim};
    for (int i = 0; i < item.tensor.ndim; i++)
        item.tensor.dims[i] = t->dims[i];
    item.dtype = t->dtype;
    item.bytes = t->bytes;
    return append(cx, x, &item);
}

ql_status
ql_export_rest(ql_ctx *cx, ql_export *x)
{
    const ql_model_info *info = &x->model->info;

    QL_TRY(cx, add_stored(cx, x, info->embed));
    QL_TRY(cx, add_stored(cx, x, info->norm));
    if (!info->tied)
        QL_TRY(cx, add_stored(cx, x, info->head));
    for (int64_t i = 0; i < info->layers; i++) {
        const char *prefix = ql_format(cx, info->block_prefix, (long long)i);

        if (!prefix)
            return QL_MEMORY;
        for (int k = 0; k < info->small_count; k++)
            QL_TRY(cx, add_stored(cx, x, ql_format(cx, "%s%s", prefix, info->smalls[k].name)));
        for (int l = 0; l < info->linear_count; l++)
            if (info->linears[l].bias)
                QL_TRY(cx, add_stored(cx, x, ql_format(cx, "%s%s.bias", prefix, info->linears[l].name)));
    }
    return QL_OK;
}

/* --- writing ------------------------------------------------------------------------------------------------------------------ */

static ql_status
copy_item(ql_ctx *cx, const ql_export *x, const ql_export_aside *item, ql_st_writer *w, char *piece)
{
    if (item->from) {
        const ql_status st = ql_st_write(cx, w, item->tensor.name, ql_st_data(item->from), item->bytes);

        ql_st_release(item->from);
        return st;
    }
    for (size_t done = 0; done < item->bytes;) {
        const size_t left = item->bytes - done, n = left < PIECE_BYTES ? left : PIECE_BYTES;

        QL_TRY(cx, get(cx, x, item->at + (int64_t)done, piece, n));
        QL_TRY(cx, ql_st_write(cx, w, item->tensor.name, piece, n));
        done += n;
    }
    return QL_OK;
}

static ql_status
copy_items(ql_ctx *cx, const ql_export *x, int64_t first, int64_t count, ql_st_writer *w)
{
    char *piece = ql_alloc(cx, PIECE_BYTES, 1);

    if (!piece)
        return QL_MEMORY;
    for (int64_t i = first; i < first + count; i++)
        QL_TRY(cx, copy_item(cx, x, &x->items[i], w, piece));
    return ql_st_commit(cx, w);
}

static ql_status
save_file(ql_ctx *cx, ql_export *x, const char *name, int64_t first, const ql_st_plan *plan)
{
    ql_st_entry *entries = ql_alloc(cx, (size_t)plan->count, sizeof *entries);
    ql_st_plan whole = *plan;
    const char *path;
    ql_path_info at;
    ql_st_writer *w;
    ql_status result;

    if (!entries || !name)
        return QL_MEMORY;
    for (int64_t i = 0; i < plan->count; i++) {
        const ql_export_aside *item = &x->items[first + i];

        entries[i] = (ql_st_entry){.name = item->tensor.name, .dtype = item->dtype, .ndim = item->tensor.ndim};
        memcpy(entries[i].dims, item->tensor.dims, sizeof entries[i].dims);
    }
    whole.entries = entries;
    QL_TRY(cx, ql_export_name(cx, x, name, &path));
    QL_TRY(cx, ql_st_create(cx, path, &whole, &w));
    result = copy_items(cx, x, first, plan->count, w);
    ql_st_abort(w);
    QL_TRY(cx, result);
    QL_TRY(cx, ql_path_look(cx, path, &at));
    x->bytes += (uint64_t)at.stat.st_size;
    return QL_OK;
}

/* Where each shard begins, in `first`, whose last entry is the end; returns how many there are. A tensor never spans two. */
static int64_t
cut(const ql_export *x, int64_t *first)
{
    int64_t shards = 0;
    uint64_t bytes = 0;

    for (int64_t i = 0; i < x->item_count; i++) {
        if (i == 0 || bytes + x->items[i].bytes > x->shard) {
            first[shards++] = i;
            bytes = 0;
        }
        bytes += x->items[i].bytes;
    }
    first[shards] = x->item_count;
    return shards;
}

static const char *
shard_name(ql_ctx *cx, const char *stem, int64_t shard, int64_t shards)
{
    return ql_format(cx, "%s-%05lld-of-%05lld.safetensors", stem, (long long)shard + 1, (long long)shards);
}

static ql_status
print_index(ql_ctx *cx, FILE *out, const ql_export *x, const char *stem, const int64_t *first, int64_t shards)
{
    ql_json_writer w = {.cx = cx, .out = out};
    uint64_t bytes = 0;

    for (int64_t i = 0; i < x->item_count; i++)
        bytes += x->items[i].bytes;
    ql_json_put_open(&w, NULL, '{', QL_JSON_LINES);
    ql_json_put_open(&w, "metadata", '{', QL_JSON_SPACED);
    ql_json_put_int(&w, "total_size", (int64_t)bytes);
    ql_json_put_close(&w);
    ql_json_put_open(&w, "weight_map", '{', QL_JSON_LINES);
    for (int64_t s = 0; s < shards; s++) {
        const char *file = shard_name(cx, stem, s, shards);

        if (!file)
            return QL_MEMORY;
        for (int64_t i = first[s]; i < first[s + 1]; i++)
            ql_json_put_text(&w, x->items[i].tensor.name, file);
    }
    ql_json_put_close(&w);
    ql_json_put_close(&w);
    fputc('\n', out);
    return ql_json_put_end(&w);
}

static ql_status
save_index(ql_ctx *cx, ql_export *x, const char *stem, const int64_t *first, int64_t shards)
{
    const char *name = ql_format(cx, "%s.safetensors.index.json", stem), *text;
    ql_printer p;
    ql_status st;

    if (!name)
        return QL_MEMORY;
    QL_TRY(cx, ql_printer_open(cx, &p));
    st = print_index(cx, p.out, x, stem, first, shards);
    QL_TRY(cx, ql_printer_close(cx, &p, &text));
    QL_TRY(cx, st);
    return ql_export_text(cx, x, name, text);
}

ql_status
ql_export_save(ql_ctx *cx, ql_export *x, const char *stem, const ql_export_pair *metadata, int64_t count)
{
    int64_t *first = ql_alloc(cx, (size_t)x->item_count + 1, sizeof *first), shards;
    ql_st_pair *pairs = ql_alloc(cx, (size_t)count, sizeof *pairs);

    if (!first || !pairs)
        return QL_MEMORY;
    for (int64_t i = 0; i < count; i++)
        pairs[i] = (ql_st_pair){metadata[i].key, metadata[i].value};
    shards = cut(x, first);
    for (int64_t s = 0; s < shards; s++) {
        const ql_st_plan plan = {.count = first[s + 1] - first[s], .pair_count = count, .pairs = pairs};

        QL_TRY(cx,
               save_file(cx, x, shards > 1 ? shard_name(cx, stem, s, shards) : ql_format(cx, "%s.safetensors", stem),
                         first[s], &plan));
    }
    if (shards > 1)
        QL_TRY(cx, save_index(cx, x, stem, first, shards));
    x->item_count = 0;
    x->spooled = 0;
    return QL_OK;
}

ql_status
ql_weight_hash(ql_ctx *cx, const ql_tensor *w, const char **out)
{
    ql_tensor *whole = NULL;
    const void *data;
    uint64_t hash[2];

    if (ql_dtype_of(w) != QL_F32)
        QL_TRY(cx, ql_convert(cx, w, QL_F32, &whole));
    w = whole ? whole : w;
    QL_TRY(cx, ql_map(cx, w, QL_READ, &data));
    ql_hash_bytes(data, ql_tensor_bytes(w), hash);
    QL_TRY(cx, ql_unmap(cx, w));
    ql_drop(cx, &whole);
    *out = ql_hash_text(cx, hash);
    return *out ? QL_OK : QL_MEMORY;
}
