/* Hidden states between blocks: on the device, or in pinned memory of the host when something else needs the room. Which of the two
 * is never seen by arithmetic. */
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
        r->device->backend->host_free(r->device->dev, r->host, r->bytes);
    free(r);
}

ql_status
ql_hidden_wake(ql_ctx *cx, const ql_hidden *r, ql_tensor **out)
{
    ql_device *d = r->device;

    if (r->t)
        return ql_tensor_borrow(cx, r->t, out);
    QL_TRY(cx, ql_new(cx, r->dtype, r->rows, r->cols, out));
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

static ql_status
park(ql_ctx *cx, ql_hidden *r)
{
    ql_device *d = r->device;
    const size_t bytes = ql_tensor_bytes(r->t);
    void *host = d->backend->host_alloc(d->dev, bytes);
    ql_status st;

    if (!host)
        return QL_FAIL(cx, QL_MEMORY, "the host has no room for hidden states that wait between blocks");
    st = ql_op_done(cx, "park", d->backend->park(cx, d->dev, ql_ptr(r->t), host, bytes));
    if (st != QL_OK) {
        d->backend->host_free(d->dev, host, bytes);
        return st;
    }
    r->dtype = r->t->dtype;
    r->rows = r->t->dims[0];
    r->cols = r->t->dims[1];
    r->host = host;
    r->bytes = bytes;
    ql_tensor_unref(r->t);
    r->t = NULL;
    d->parked += bytes;
    return QL_OK;
}

/* Parks the first idle one of a stream. */
static ql_status
park_one(ql_ctx *cx, const ql_stream *s, bool *freed)
{
    for (int64_t c = 0; s->h && s->before && c < s->lane.count; c++) {
        ql_hidden *r = is_idle(s->h[c]) ? s->h[c] : s->before[c];

        if (!is_idle(r))
            continue;
        *freed = true;
        return park(cx, r);
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
    for (int64_t s = 0; s < w->stream_count && !*freed; s++)
        if (w->streams[s]->taps & QL_TAP_END) /* which are needed last */
            QL_TRY(cx, park_one(cx, w->streams[s], freed));
    for (int64_t s = 0; s < w->stream_count && !*freed; s++)
        QL_TRY(cx, park_one(cx, w->streams[s], freed));
    return QL_OK;
}
