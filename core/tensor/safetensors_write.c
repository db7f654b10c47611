/* One safetensors file, written: tensors by descending alignment, then by name, so that every one is aligned. */
#include "safetensors_write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/printer.h"

typedef struct slot { /* a declared tensor and how far it has come */
    const ql_st_entry *entry;
    const char *name;
    size_t begin, bytes, written; /* begin: from the start of the file, once the header is known */
} slot;

struct ql_st_writer {
    ql_file_writer file;
    int64_t count;
    slot *slots; /* in the order of the file */
    slot **by_name;
};

static int
by_place(const void *a, const void *b)
{
    const slot *x = a, *y = b;
    int bits_x = ql_st_dtype_bits(x->entry->dtype), bits_y = ql_st_dtype_bits(y->entry->dtype);

    if (bits_x != bits_y)
        return bits_y - bits_x;
    return strcmp(x->name, y->name);
}

static int
by_name(const void *a, const void *b)
{
    const slot *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static ql_status
slot_init(ql_ctx *cx, const ql_st_entry *e, slot *s)
{
    uint64_t bits = (uint64_t)ql_st_dtype_bits(e->dtype);

    *s = (slot){.entry = e, .name = ql_copy_text(cx, e->name, strlen(e->name))};
    if (!s->name)
        return QL_MEMORY;
    if (!bits)
        return QL_FAIL(cx, QL_INVALID, "tensor '%s': its dtype can't be written", e->name);
    for (int i = 0; i < e->ndim; i++)
        if (e->dims[i] < 0 || __builtin_mul_overflow(bits, (uint64_t)e->dims[i], &bits))
            return QL_FAIL(cx, QL_INVALID, "tensor '%s': its size overflows", e->name);
    if (bits % 8 != 0)
        return QL_FAIL(cx, QL_INVALID, "tensor '%s': its elements don't fill whole bytes", e->name);
    s->bytes = (size_t)(bits / 8);
    return QL_OK;
}

/* Places are relative to the data until the header's length is known. */
static ql_status
plan_slots(ql_ctx *cx, const ql_st_plan *plan, ql_st_writer *w)
{
    size_t at = 0;

    w->count = plan->count;
    w->slots = ql_alloc(cx, (size_t)w->count, sizeof *w->slots);
    w->by_name = ql_alloc(cx, (size_t)w->count, sizeof(slot *));
    if (!w->slots || !w->by_name)
        return QL_MEMORY;
    for (int64_t i = 0; i < w->count; i++)
        QL_TRY(cx, slot_init(cx, &plan->entries[i], &w->slots[i]));
    qsort(w->slots, (size_t)w->count, sizeof *w->slots, by_place);
    for (int64_t i = 0; i < w->count; i++) {
        w->slots[i].begin = at;
        w->by_name[i] = &w->slots[i];
        if (__builtin_add_overflow(at, w->slots[i].bytes, &at))
            return QL_FAIL(cx, QL_INVALID, "tensor '%s': the size of the file overflows", w->slots[i].name);
    }
    qsort(w->by_name, (size_t)w->count, sizeof(slot *), by_name);
    for (int64_t i = 0; i < w->count; i++)
        if ((i > 0 && strcmp(w->by_name[i - 1]->name, w->by_name[i]->name) == 0) ||
            strcmp(w->by_name[i]->name, "__metadata__") == 0)
            return QL_FAIL(cx, QL_INVALID, "tensor '%s': the name is taken", w->by_name[i]->name);
    return QL_OK;
}

/* --- the header ------------------------------------------------------------------------------------------------- */

static ql_status
print_header(ql_ctx *cx, FILE *out, const ql_st_plan *plan, const ql_st_writer *f)
{
    ql_json_writer w = {.cx = cx, .out = out};

    ql_json_put_open(&w, NULL, '{', QL_JSON_TIGHT);
    ql_json_put_open(&w, "__metadata__", '{', QL_JSON_TIGHT);
    ql_json_put_text(&w, "format", "pt");
    for (int64_t i = 0; i < plan->pair_count; i++)
        ql_json_put_text(&w, plan->pairs[i].key, plan->pairs[i].value);
    ql_json_put_close(&w);
    for (int64_t i = 0; i < f->count; i++) {
        const slot *t = &f->slots[i];

        ql_json_put_open(&w, t->name, '{', QL_JSON_TIGHT);
        ql_json_put_text(&w, "dtype", ql_st_dtype_name(t->entry->dtype));
        ql_json_put_open(&w, "shape", '[', QL_JSON_TIGHT);
        for (int k = 0; k < t->entry->ndim; k++)
            ql_json_put_int(&w, NULL, t->entry->dims[k]);
        ql_json_put_close(&w);
        ql_json_put_open(&w, "data_offsets", '[', QL_JSON_TIGHT);
        ql_json_put_int(&w, NULL, (int64_t)t->begin);
        ql_json_put_int(&w, NULL, (int64_t)(t->begin + t->bytes));
        ql_json_put_close(&w);
        ql_json_put_close(&w);
    }
    ql_json_put_close(&w);
    return ql_json_put_end(&w);
}

static ql_status
write_header(ql_ctx *cx, const ql_st_plan *plan, ql_st_writer *w)
{
    static const char spaces[] = "        ";
    unsigned char length[8];
    const char *text;
    size_t bytes, fill;
    ql_printer p;
    ql_status st;

    QL_TRY(cx, ql_printer_open(cx, &p));
    st = print_header(cx, p.out, plan, w);
    QL_TRY(cx, ql_printer_close(cx, &p, &text));
    QL_TRY(cx, st);
    bytes = strlen(text);
    fill = (8 - bytes % 8) % 8;
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((bytes + fill) >> 8 * i & 0xff);
    for (int64_t i = 0; i < w->count; i++)
        w->slots[i].begin += 8 + bytes + fill;
    QL_TRY(cx, ql_file_put(cx, &w->file, length, sizeof length));
    QL_TRY(cx, ql_file_put(cx, &w->file, text, bytes));
    return ql_file_put(cx, &w->file, spaces, fill);
}

/* --- the data --------------------------------------------------------------------------------------------------- */

ql_status
ql_st_create(ql_ctx *cx, const char *path, const ql_st_plan *plan, ql_st_writer **out)
{
    ql_st_writer *w = ql_alloc(cx, 1, sizeof *w);
    ql_status st;

    if (!w)
        return QL_MEMORY;
    QL_TRY(cx, plan_slots(cx, plan, w));
    QL_TRY(cx, ql_file_create(cx, path, &w->file));
    st = write_header(cx, plan, w);
    if (st != QL_OK) {
        ql_file_abort(&w->file);
        return st;
    }
    *out = w;
    return QL_OK;
}

ql_status
ql_st_write(ql_ctx *cx, ql_st_writer *w, const char *name, const void *data, size_t bytes)
{
    const slot wanted = {.name = name}, *key = &wanted;
    slot **hit = bsearch(&key, w->by_name, (size_t)w->count, sizeof(slot *), by_name), *t;

    if (!hit)
        return QL_FAIL(cx, QL_INVALID, "%s: tensor '%s' was not declared", w->file.path, name);
    t = *hit;
    if (bytes > t->bytes - t->written)
        return QL_FAIL(cx, QL_INVALID, "%s: tensor '%s' has %zu bytes, got %zu", w->file.path, name, t->bytes,
                       t->written + bytes);
    if (fseeko(w->file.stream, (off_t)(t->begin + t->written), SEEK_SET) != 0)
        return QL_FAIL(cx, QL_IO, "%s: %s", w->file.temporary, strerror(errno));
    t->written += bytes;
    return ql_file_put(cx, &w->file, data, bytes);
}

ql_status
ql_st_commit(ql_ctx *cx, ql_st_writer *w)
{
    for (int64_t i = 0; i < w->count; i++) {
        const slot *t = &w->slots[i];

        if (t->written == t->bytes)
            continue;
        ql_st_abort(w);
        return QL_FAIL(cx, QL_INVALID, "%s: tensor '%s' has %zu bytes, got only %zu", w->file.path, t->name, t->bytes,
                       t->written);
    }
    return ql_file_commit(cx, &w->file);
}

void
ql_st_abort(ql_st_writer *w)
{
    if (w)
        ql_file_abort(&w->file);
}
