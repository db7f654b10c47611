/* Guards around calls of plugins: protected pages where the memory is the host's, checksums and copies elsewhere. */
#include "guard.h"

#include <stdlib.h>
#include <string.h>

#include <qloom/job.h>

#include "base/env.h"
#include "base/hash.h"

/* --- tensors' memory ----------------------------------------------------------------------------------------------------------- */

static ql_status
take_sum(ql_ctx *cx, const ql_buffer *b, uint64_t out[2])
{
    const ql_backend *backend = b->device->backend;
    void *host = b->device->info.host_memory ? NULL : ql_heap(cx, b->bytes, 1);
    ql_status st = host || b->device->info.host_memory ? QL_OK : QL_MEMORY;

    if (host)
        st = ql_op_done(cx, "download", backend->download(cx, b->device->dev, b->ptr, host, b->bytes));
    if (st == QL_OK)
        ql_hash_bytes(host ? host : b->ptr, b->bytes, out);
    free(host);
    return st;
}

static ql_status
guard_buffer(ql_ctx *cx, ql_buffer *b)
{
    if (!b->lent || !b->ptr)
        return QL_OK;
    if (b->device->info.paged && ql_buffer_protect(b, true))
        return QL_OK;
    QL_TRY(cx, take_sum(cx, b, b->sum)); /* also where the system has no more mappings to give */
    b->guard = QL_GUARD_SUM;
    return QL_OK;
}

/* *changed: the owner of memory that is not as it was. */
static ql_status
check_buffer(ql_ctx *cx, ql_buffer *b, const char **changed)
{
    uint64_t sum[2];

    if (b->guard == QL_GUARD_SUM) {
        QL_TRY(cx, take_sum(cx, b, sum));
        if (sum[0] != b->sum[0] || sum[1] != b->sum[1])
            *changed = b->owner;
    }
    return ql_buffer_protect(b, false) ? QL_OK : QL_FAIL(cx, QL_MEMORY, "lent memory can't be unprotected");
}

/* Of all buffers, whatever fails meanwhile. */
static ql_status
check_buffers(ql_ctx *cx, ql_device *d, const char **changed)
{
    ql_status st = QL_OK;

    for (int64_t i = 0; i < d->held_count; i++) {
        const ql_status one = check_buffer(cx, d->held[i], changed);

        st = st == QL_OK ? one : st;
    }
    return st;
}

/* --- arrays of the host -------------------------------------------------------------------------------------------------------- */

static void
forget_arrays(ql_guard *g)
{
    for (int i = 0; i < QL_LENT_MOST; i++)
        free(g->arrays[i].copy);
}

static ql_status
copy_arrays(ql_ctx *cx, const ql_lent *lent, ql_guard *g)
{
    for (int i = 0; lent && lent[i].name; i++) {
        if (i == QL_LENT_MOST)
            return QL_FAIL(cx, QL_BUG, "'%s' is one array more than a guard watches", lent[i].name);
        if (!lent[i].at || lent[i].bytes == 0)
            continue;
        g->arrays[i].name = lent[i].name;
        g->arrays[i].at = (void *)(uintptr_t)lent[i].at; /* put back, should it be written to */
        g->arrays[i].bytes = lent[i].bytes;
        g->arrays[i].copy = malloc(lent[i].bytes); /* not ql_heap: allocations that are made to fail are the plugin's */
        if (!g->arrays[i].copy)
            return QL_FAIL(cx, QL_MEMORY, "no memory for a copy of what the plugin is lent");
        memcpy(g->arrays[i].copy, lent[i].at, lent[i].bytes);
    }
    return QL_OK;
}

/* Puts back what was written to, and names it; NULL: nothing was. */
static const char *
restore_arrays(const ql_guard *g)
{
    const char *changed = NULL;

    for (int i = 0; i < QL_LENT_MOST; i++)
        if (g->arrays[i].copy && memcmp(g->arrays[i].at, g->arrays[i].copy, g->arrays[i].bytes) != 0) {
            memcpy(g->arrays[i].at, g->arrays[i].copy, g->arrays[i].bytes);
            changed = g->arrays[i].name;
        }
    return changed;
}

/* --- a call -------------------------------------------------------------------------------------------------------------------- */

static bool
checks_all(void)
{
    const char *check = ql_env("QLOOM_CHECK");

    return check && *check && strcmp(check, "0") != 0;
}

static void
say_lending(ql_ctx *cx, int lending)
{
    if (cx->page)
        __atomic_store_n(&cx->page->lending, lending, __ATOMIC_SEQ_CST);
}

/* Nothing is done where the device is imagined, for then there is no memory. */
static ql_device *
real_device(const ql_ctx *cx)
{
    return cx->device && !cx->device->clock ? cx->device : NULL;
}

ql_status
ql_guard_open(ql_ctx *cx, bool foreign, const ql_lent *lent, ql_guard *out)
{
    ql_device *d = real_device(cx);
    ql_status st;

    *out = (ql_guard){.active = foreign || checks_all()};
    if (!out->active)
        return QL_OK;
    st = copy_arrays(cx, lent, out);
    if (d && d->guards++ == 0) {
        for (int64_t i = 0; i < d->held_count && st == QL_OK; i++)
            st = guard_buffer(cx, d->held[i]);
        say_lending(cx, 1);
    }
    return st == QL_OK ? st : ql_guard_close(cx, out, st);
}

ql_status
ql_guard_close(ql_ctx *cx, ql_guard *g, ql_status st)
{
    ql_device *d = real_device(cx);
    const char *tensor = NULL, *array = NULL;
    ql_status checked = QL_OK;

    if (!g->active)
        return st;
    if (d && --d->guards == 0) {
        say_lending(cx, 0);
        checked = check_buffers(cx, d, &tensor);
    }
    array = restore_arrays(g);
    forget_arrays(g);
    g->active = false;
    QL_TRY(cx, checked);
    if (tensor)
        return QL_FAIL(cx, QL_BUG, "the plugin wrote to memory that was lent for reading only: %s", tensor);
    if (array)
        return QL_FAIL(cx, QL_INVALID, "the plugin wrote to '%s', which was lent for reading only", array);
    return st;
}
