/* Hidden states between blocks, and what waits inside one: on the device or, when something else needs the room, in pinned memory of the
 * host or in a file. Where is never seen by arithmetic. */
#include <stdlib.h>

#include "tensor/tensor.h"
#include "walk.h"

ql_status
ql_hidden_new(ql_ctx *cx, const ql_tensor *t, ql_hidden **out)
{
    ql_hidden *r = ql_heap(cx, 1, sizeof *r);

    if (!r)
        return QL_MEMORY;
    *r = (ql_hidden){.refs = 1, .t = ql_tensor_ref(t), .device = ql_tensor_device(t)};
    *out = r;
    return QL_OK;
}

ql_hidden *
ql_hidden_ref(ql_hidden *r)
{
    r->refs++;
    return r;
}

void
ql_hidden_unref(ql_hidden *r)
{
    if (!r || --r->refs > 0)
        return;
    ql_tensor_unref(r->t);
    if (r->host)
        ql_device_host_free(r->device, r->host, r->bytes);
    if (r->spill)
        ql_spill_free(r->spill, r->at, r->bytes);
    free(r);
}

void
ql_hidden_ahead(const ql_hidden *r)
{
    if (r && r->spill)
        ql_spill_ahead(r->spill, r->at, r->bytes);
}

static ql_status
no_host(ql_ctx *cx)
{
    return QL_FAIL(cx, QL_MEMORY, "the host has no room for hidden states that wait between blocks");
}

/* From the file, by way of pinned memory where the device has its own. */
static ql_status
read_back(ql_ctx *cx, const ql_hidden *r, ql_tensor *out)
{
    ql_device *d = r->device;
    void *host = ql_ptr(out);
    ql_status st;

    if (d->info.host_memory)
        return ql_spill_get(cx, r->spill, r->at, host, r->bytes);
    if (!(host = ql_device_host_alloc(d, r->bytes)))
        return no_host(cx);
    st = ql_spill_get(cx, r->spill, r->at, host, r->bytes);
    if (st == QL_OK)
        st = ql_op_done(cx, "unpark", d->backend->unpark(cx, d->dev, host, ql_ptr(out), r->bytes));
    ql_device_host_free(d, host, r->bytes);
    return st;
}

ql_status
ql_hidden_wake(ql_ctx *cx, const ql_hidden *r, ql_tensor **out)
{
    ql_device *d = r->device;

    if (r->t)
        return ql_tensor_borrow(cx, r->t, out);
    QL_TRY(cx, ql_new(cx, r->dtype, r->rows, r->cols, out));
    if (r->spill)
        return read_back(cx, r, *out);
    d->unparked += r->bytes;
    return ql_op_done(cx, "unpark", d->backend->unpark(cx, d->dev, r->host, ql_ptr(*out), r->bytes));
}

/* Only what nobody works with gives its memory back. */
static bool
is_idle(const ql_hidden *r)
{
    return r && r->t && atomic_load(&r->t->refs) == 1 && atomic_load(&r->t->buffer->refs) == 1 && r->t->ndim == 2 &&
           ql_contiguous(r->t) && ql_count(r->t) > 0;
}

/* To pinned memory of the host, or by way of it. */
static ql_status
park_on_host(ql_ctx *cx, ql_hidden *r, void **host)
{
    ql_device *d = r->device;
    ql_status st;

    if (!(*host = ql_device_host_alloc(d, r->bytes)))
        return no_host(cx);
    st = ql_op_done(cx, "park", d->backend->park(cx, d->dev, ql_ptr(r->t), *host, r->bytes));
    if (st != QL_OK)
        ql_device_host_free(d, *host, r->bytes);
    return st;
}

static ql_status
park_in_file(ql_ctx *cx, ql_hidden *r, ql_spill *spill)
{
    ql_device *d = r->device;
    void *host = ql_ptr(r->t);
    ql_status st;

    if (!d->info.host_memory) {
        QL_TRY(cx, park_on_host(cx, r, &host));
        QL_TRY(cx, ql_op_done(cx, "park", d->backend->sync(cx, d->dev)));
    }
    st = ql_spill_put(cx, spill, host, r->bytes, &r->at);
    if (!d->info.host_memory)
        ql_device_host_free(d, host, r->bytes);
    if (st == QL_OK)
        r->spill = spill;
    return st;
}

/* Has the host room for it, and for one more on its way from or to the file? */
static bool
host_takes(const ql_device *d, size_t bytes)
{
    return !d->info.host_memory && (!d->host_limit || d->host_used + 2 * bytes <= d->host_limit);
}

static ql_status
park(ql_walk *w, ql_hidden *r)
{
    ql_device *d = r->device;

    r->bytes = ql_tensor_bytes(r->t);
    r->dtype = r->t->dtype;
    r->rows = r->t->dims[0];
    r->cols = r->t->dims[1];
    if (host_takes(d, r->bytes))
        QL_TRY(w->cx, park_on_host(w->cx, r, &r->host));
    else
        QL_TRY(w->cx, park_in_file(w->cx, r, &w->spill));
    ql_tensor_unref(r->t);
    r->t = NULL;
    d->parked += r->host ? r->bytes : 0;
    return QL_OK;
}

ql_status
ql_hidden_park(ql_walk *w, ql_hidden *r, bool *freed)
{
    if (!is_idle(r) || (!w->spill.folder && !host_takes(r->device, ql_tensor_bytes(r->t))))
        return QL_OK;
    *freed = true;
    return park(w, r);
}

/* Parks the last idle one of a stream: the first is needed first. */
static ql_status
park_one(ql_walk *w, const ql_stream *s, bool *freed)
{
    for (int64_t c = s->h ? s->lane.count : 0; c-- > 0 && !*freed;) {
        QL_TRY(w->cx, ql_hidden_park(w, s->h[c], freed));
        if (!*freed)
            QL_TRY(w->cx, ql_hidden_park(w, s->before[c], freed));
    }
    return QL_OK;
}

ql_status
ql_hidden_make_room(ql_ctx *cx, bool *freed)
{
    ql_walk *w = cx->walk;

    *freed = false;
    if (w->next) { /* it can come when its turn does */
        QL_TRY(cx, ql_uploads_arrive(cx));
        ql_block_close(w->next);
        w->next = NULL;
        *freed = true;
        return QL_OK;
    }
    /* What is needed last; but evaluation goes lane by lane instead, where it can. */
    for (int64_t s = w->plan->stream_count; s < w->stream_count && w->lane_tokens == 0 && !*freed; s++)
        QL_TRY(cx, park_one(w, w->streams[s], freed));
    for (int64_t s = w->plan->stream_count; s-- > 0 && !*freed;)
        if (!w->visit || w->streams[s] != ql_visit_stream(w->visit))
            QL_TRY(cx, park_one(w, w->streams[s], freed));
    return *freed || !w->visit ? QL_OK : ql_visit_make_room(w, freed);
}
