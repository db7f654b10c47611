/* Open devices and their memory pool: exact sizes, a limit, a peak, and who holds what. */
#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"

#define HOLDERS_SHOWN 8

typedef struct holder {
    const char *owner;
    size_t bytes;
} holder;

/* --- freed memory that is kept ----------------------------------------------------------------------------------- */

/* Piece i leaves the list. */
static void *
take_spare(ql_device *d, int i)
{
    void *ptr = d->spares[i].ptr;

    d->spare_bytes -= d->spares[i].bytes;
    memmove(d->spares + i, d->spares + i + 1, (size_t)(--d->spare_count - i) * sizeof *d->spares);
    return ptr;
}

/* The one that was freed first goes back to the system. False: there is none. */
static bool
drop_spare(ql_device *d)
{
    const size_t bytes = d->spares[0].bytes;

    if (d->spare_count == 0)
        return false;
    d->backend->free(d->dev, take_spare(d, 0), bytes);
    return true;
}

/* The last freed of exactly that size; NULL: none. */
static void *
find_spare(ql_device *d, size_t bytes)
{
    for (int i = d->spare_count; i-- > 0;)
        if (d->spares[i].bytes == bytes)
            return take_spare(d, i);
    return NULL;
}

/* Keeps it, or gives it back. */
static void
give(ql_device *d, void *ptr, size_t bytes)
{
    if (!d->info.host_memory || bytes < QL_SPARE_LEAST || bytes > QL_SPARE_MOST) {
        d->backend->free(d->dev, ptr, bytes);
        return;
    }
    while (d->spare_count == QL_SPARES || d->spare_bytes + bytes > QL_SPARE_MOST)
        (void)drop_spare(d);
    d->spares[d->spare_count++] = (ql_spare){ptr, bytes};
    d->spare_bytes += bytes;
}

/* Memory for that many bytes, which the limit allows; what is kept makes room. NULL: there is none. */
static void *
find_memory(ql_device *d, size_t bytes)
{
    void *ptr = find_spare(d, bytes);

    while (d->limit && !ptr && d->spare_bytes > d->limit - d->used - bytes)
        (void)drop_spare(d);
    while (!ptr && !(ptr = d->backend->alloc(d->dev, bytes)) && drop_spare(d))
        continue;
    return ptr;
}

void
ql_device_trim(ql_device *d)
{
    while (drop_spare(d))
        continue;
}

/* --- devices ------------------------------------------------------------------------------------------------------ */

void
ql_device_bind(ql_device *d)
{
    for (const ql_op_row *const *list = d->backend->ops; *list; list++)
        for (const ql_op_row *row = *list; row->code != QL_OP_NONE; row++)
            if (row->code < QL_OP_CODES) /* a newer backend may have more */
                d->ops[row->code] = row;
}

static ql_status
make(ql_ctx *cx, const ql_backend *backend, const ql_device_options *opt, size_t limit, ql_device **out)
{
    ql_device *d = ql_heap(cx, 1, sizeof *d);

    if (!d)
        return QL_MEMORY;
    d->backend = backend;
    d->limit = limit;
    d->sync = opt->sync;
    d->threads = opt->threads;
    ql_device_bind(d);
    *out = d;
    return QL_OK;
}

static ql_status
open_backend(ql_ctx *cx, ql_device *d, const ql_device_options *opt)
{
    QL_TRY(cx, d->backend->open(cx, opt, &d->dev));
    QL_TRY(cx, d->backend->info(cx, d->dev, &d->info));
    return ql_device_reserve(cx, d);
}

ql_status
ql_device_open(ql_ctx *cx, const ql_backend *backend, const ql_device_options *opt, size_t limit, ql_device **out)
{
    ql_device *d;
    ql_status st;

    QL_TRY(cx, make(cx, backend, opt, limit, &d));
    st = open_backend(cx, d, opt);
    if (st == QL_OK)
        *out = d;
    else
        ql_device_close(d);
    return st;
}

ql_status
ql_device_imagine(ql_ctx *cx, const ql_backend *backend, const ql_device_options *opt, size_t limit, ql_device **out)
{
    ql_device *d;
    ql_status st;

    QL_TRY(cx, make(cx, backend, opt, limit, &d));
    st = backend->info(cx, NULL, &d->info);
    if (opt->compute != QL_DTYPE_NONE)
        d->info.compute_dtype = opt->compute;
    if (st == QL_OK)
        *out = d;
    else
        ql_device_close(d);
    return st;
}

void
ql_device_close(ql_device *d)
{
    if (!d)
        return;
    ql_buffer_unref(d->reserved);
    ql_device_trim(d);
    if (d->dev)
        d->backend->close(d->dev);
    free(d->held);
    free(d);
}

double
ql_device_seconds(const ql_device *d)
{
    return d->clock ? *d->clock : ql_seconds();
}

size_t
ql_device_room(const ql_device *d)
{
    return d->limit ? d->limit : d->info.host_memory ? 0 : d->info.memory;
}

const char *
ql_bytes_text(size_t bytes, char *text, size_t size)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double n = (double)bytes / 1024.0;
    size_t u = 0;

    if (bytes < 1024) {
        snprintf(text, size, "%zu bytes", bytes);
        return text;
    }
    for (; n >= 1024.0 && u < 3; u++)
        n /= 1024.0;
    snprintf(text, size, "%.1f %s", n, units[u]);
    return text;
}

static int
larger(const void *pa, const void *pb)
{
    const holder *a = pa, *b = pb;

    return a->bytes != b->bytes ? (a->bytes < b->bytes ? 1 : -1) : strcmp(a->owner, b->owner);
}

/* Sums by owner into `list`, which has room for `max`; what doesn't fit counts under the last name. */
static int
sum_by_owner(const ql_device *d, holder *list, int max)
{
    int n = 0;

    for (int64_t i = 0; i < d->held_count; i++) {
        const ql_buffer *b = d->held[i];
        int k = 0;

        while (k < n && strcmp(list[k].owner, b->owner) != 0)
            k++;
        if (k == n && n == max)
            list[k = n - 1].owner = "others";
        else if (k == n)
            list[n++] = (holder){.owner = b->owner};
        list[k].bytes += b->bytes;
    }
    qsort(list, (size_t)n, sizeof *list, larger);
    return n;
}

void
ql_device_holders(const ql_device *d, char *text, size_t size)
{
    holder list[64] = {{0}};
    int count = sum_by_owner(d, list, (int)(sizeof list / sizeof *list));
    char bytes[32];
    size_t n = 0;

    if (size)
        text[0] = '\0';
    for (int i = 0; i < count && i < HOLDERS_SHOWN && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%s %s", i ? "\n" : "",
                              ql_bytes_text(list[i].bytes, bytes, sizeof bytes), list[i].owner);
}

static ql_status
no_room(ql_ctx *cx, const ql_device *d, size_t asked, const char *owner)
{
    char want[32], used[32], all[32], held[1024], lines[4096];
    bool limited = d->limit && d->limit != d->info.memory && (asked > d->limit || d->used > d->limit - asked);

    ql_bytes_text(asked, want, sizeof want);
    ql_bytes_text(d->used, used, sizeof used);
    ql_bytes_text(limited ? d->limit : d->info.memory, all, sizeof all);
    ql_device_holders(d, held, sizeof held);
    if (limited)
        (void)QL_FAIL(cx, QL_MEMORY,
                      "%s does not fit: %s asks for %s, %s of `memory: %s` are in use; raise `memory:` or lower "
                      "`chunk_tokens:`",
                      d->backend->device, owner, want, used, all);
    else
        (void)QL_FAIL(cx, QL_MEMORY,
                      "%s has no room: %s asks for %s, %s of %s are in use; lower `memory:` or `chunk_tokens:`",
                      d->backend->device, owner, want, used, d->info.memory ? all : "an unknown size");
    if (!*held)
        return QL_MEMORY;
    snprintf(lines, sizeof lines, "%s; held:\n%s", ql_error(cx), held);
    return ql_fail_lines(cx, QL_MEMORY, lines);
}

/* Memory of the device; what can wait elsewhere makes room for it. */
static ql_status
find_room(ql_ctx *cx, ql_device *d, size_t bytes, const char *owner, void **out)
{
    *out = NULL;
    for (bool freed = true; freed;) {
        const bool allowed = !d->limit || (bytes <= d->limit && d->used <= d->limit - bytes);

        if (allowed && bytes)
            *out = find_memory(d, bytes);
        if (*out || (allowed && !bytes))
            return QL_OK;
        freed = false;
        if (d->make_room)
            QL_TRY(cx, d->make_room(cx, &freed));
    }
    QL_TRY(cx,
           ql_op_done(cx, "allocation", d->backend->sync(cx, d->dev))); /* one that has failed gives no memory either */
    return no_room(cx, d, bytes, owner);
}

/* Counts `bytes` at `ptr`, NULL for what is not the pool's to free. */
static ql_status
hold(ql_ctx *cx, ql_device *d, void *ptr, size_t bytes, const char *owner, ql_buffer **out)
{
    ql_buffer *b = ql_heap(cx, 1, sizeof *b);

    if (!b || ql_grow(cx, &d->held, &d->held_capacity, d->held_count + 1, sizeof *d->held) != QL_OK) {
        if (ptr)
            d->backend->free(d->dev, ptr, bytes);
        free(b);
        return QL_MEMORY;
    }
    b->ptr = ptr;
    b->device = d;
    b->bytes = bytes;
    b->owner = owner;
    b->slot = d->held_count;
    d->held[d->held_count++] = b;
    d->used += bytes;
    d->peak = d->used > d->peak ? d->used : d->peak;
    d->taken = d->used + d->spare_bytes > d->taken ? d->used + d->spare_bytes : d->taken;
    d->mark = d->used > d->mark ? d->used : d->mark;
    atomic_init(&b->refs, 1);
    *out = b;
    return QL_OK;
}

static ql_status
new_buffer(ql_ctx *cx, ql_device *d, size_t bytes, const char *owner, ql_buffer **out)
{
    void *ptr;

    QL_TRY(cx, find_room(cx, d, bytes, owner, &ptr));
    return hold(cx, d, ptr, bytes, owner, out);
}

ql_status
ql_buffer_new(ql_ctx *cx, ql_device *d, size_t bytes, ql_buffer **out)
{
    return new_buffer(cx, d, bytes, cx->site.stage ? cx->site.stage : cx->holds ? cx->holds : "qloom", out);
}

ql_status
ql_device_reserve(ql_ctx *cx, ql_device *d)
{
    return d->info.reserved ? hold(cx, d, NULL, d->info.reserved, "the device's libraries", &d->reserved) : QL_OK;
}

/* Room for it may be made by operations, which end before this one does. */
ql_status
ql_scratch(ql_ctx *cx, size_t bytes, void *out)
{
    ql_device *d = cx->device;
    ql_buffer *before = d->scratch, *b;
    ql_status st;

    d->scratch = NULL;
    st = new_buffer(cx, d, bytes ? bytes : 1, "working space", &b);
    d->scratch = before;
    QL_TRY(cx, st);
    b->next = before;
    d->scratch = b;
    memcpy(out, &b->ptr, sizeof b->ptr);
    return QL_OK;
}

/* The operation in progress is over: its scratch goes back to the pool. */
static void
release_scratch(ql_device *d)
{
    while (d->scratch) {
        ql_buffer *b = d->scratch;

        d->scratch = b->next;
        ql_buffer_unref(b);
    }
}

bool
ql_buffer_protect(ql_buffer *b, bool on)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);

    if ((on || b->guard == QL_GUARD_PAGES) &&
        mprotect(b->ptr, (b->bytes + page - 1) / page * page, on ? PROT_READ : PROT_READ | PROT_WRITE) != 0)
        return false;
    b->guard = on ? QL_GUARD_PAGES : QL_GUARD_NONE;
    return true;
}

void
ql_buffer_unref(ql_buffer *b)
{
    ql_device *d;

    if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    d = b->device;
    if (b->ptr && ql_buffer_protect(b, false)) /* else nobody may get it */
        give(d, b->ptr, b->bytes);
    d->used -= b->bytes;
    d->held[b->slot] = d->held[--d->held_count];
    d->held[b->slot]->slot = b->slot;
    free(b);
}

void *
ql_device_host_alloc(ql_device *d, size_t bytes)
{
    void *ptr = d->backend->host_alloc(d->dev, bytes);

    d->host_used += ptr ? bytes : 0;
    d->host_peak = d->host_used > d->host_peak ? d->host_used : d->host_peak;
    return ptr;
}

void
ql_device_host_free(ql_device *d, void *ptr, size_t bytes)
{
    d->host_used -= bytes;
    d->backend->host_free(d->dev, ptr, bytes);
}

ql_status
ql_op_done(ql_ctx *cx, const char *op, ql_status st)
{
    ql_device *d = cx->device;

    release_scratch(d);
    if (st == QL_OK && d->sync)
        st = d->backend->sync(cx, d->dev);
    if (st == QL_DEVICE && !d->sync)
        return ql_where(cx, st, "%s, or an operation queued before it (QLOOM_SYNC=1 tells which)", op);
    return st == QL_DEVICE || st == QL_MEMORY ? ql_where(cx, st, "%s", op) : st;
}
