/* Streams: hidden states of token sequences at the borders of blocks. */
#include <stdlib.h>

#include "tensor/tensor.h"
#include "walk.h"

static void
release(ql_hidden **h, int64_t count)
{
    for (int64_t c = 0; h && c < count; c++) {
        ql_hidden_unref(h[c]);
        h[c] = NULL;
    }
}

const ql_span *
ql_stream_span(const ql_stream *s, int64_t c)
{
    return &s->corpus->spans[s->lane.first + c];
}

ql_status
ql_stream_open(ql_walk *w, ql_stream *s, ql_lane lane, ql_stream *equal_to)
{
    const int64_t n = lane.count;

    s->lane = lane;
    s->h = ql_heap(w->cx, (size_t)n, sizeof *s->h);
    s->before = ql_heap(w->cx, (size_t)n, sizeof *s->before);
    if (!s->h || !s->before)
        return QL_MEMORY;
    s->equal_to = equal_to;
    if (equal_to) {
        equal_to->followers++;
        return QL_OK;
    }
    for (int64_t c = 0; c < n; c++) {
        const ql_span *span = ql_stream_span(s, c);
        ql_scope scope;
        ql_tensor *h;

        ql_scope_open(w->cx, &scope);
        QL_TRY(w->cx,
               ql_model_embed(w->cx, w->model, s->corpus->tokens.ids + span->first_token, ql_span_tokens(span), &h));
        QL_TRY(w->cx, ql_hidden_new(w->cx, h, &s->h[c]));
        ql_scope_close(w->cx, &scope);
    }
    return QL_OK;
}

/* The stream stops following. */
static void
leave(ql_stream *s)
{
    if (s->equal_to)
        s->equal_to->followers--;
    s->equal_to = NULL;
}

void
ql_stream_close(ql_stream *s)
{
    release(s->h, s->lane.count);
    release(s->before, s->lane.count);
    free(s->h);
    free(s->before);
    leave(s);
    s->lane = (ql_lane){0};
    s->h = s->before = NULL;
}

void
ql_stream_kill(ql_stream *s)
{
    s->dead = true;
    release(s->h, s->lane.count);
    leave(s);
}

void
ql_stream_block_begin(ql_stream *s)
{
    for (int64_t c = 0; s->followers > 0 && c < s->lane.count; c++)
        s->before[c] = ql_hidden_ref(s->h[c]);
}

void
ql_stream_block_end(ql_walk *w, ql_stream *s)
{
    release(s->before, s->lane.count);
    for (int k = 0; s->gathered && k < w->model->info.subsets; k++) {
        ql_gather_unref(w->cx, s->gathered[k]);
        s->gathered[k] = NULL;
    }
}

void
ql_stream_fork(ql_stream *s)
{
    for (int64_t c = 0; s->equal_to && c < s->lane.count; c++)
        s->h[c] = ql_hidden_ref(s->equal_to->before[c]);
    leave(s);
}

ql_status
ql_stream_put(ql_walk *w, ql_stream *s, int64_t c, const ql_tensor *h)
{
    ql_hidden *old = s->h[c], *made;

    QL_TRY(w->cx, ql_hidden_new(w->cx, h, &made));
    s->h[c] = made;
    ql_hidden_unref(old);
    return QL_OK;
}

static ql_status
forward_chunk(ql_walk *w, ql_stream *s, int64_t c, const ql_weight *const *as)
{
    ql_flow f = {.seqs = &ql_stream_span(s, c)->seqs};
    ql_scope scope;
    ql_tensor *h;

    QL_TRY(w->cx, ql_check_interrupt(w->cx));
    ql_scope_open(w->cx, &scope);
    QL_TRY(w->cx, ql_hidden_wake(w->cx, s->h[c], &h));
    f.h = h;
    QL_TRY(w->cx, ql_block_forward(w->cx, w->block, as, &f));
    QL_TRY(w->cx, ql_stream_put(w, s, c, f.h));
    ql_scope_close(w->cx, &scope);
    return QL_OK;
}

ql_status
ql_stream_forward(ql_walk *w, ql_stream *s)
{
    const ql_weight *const *as;
    ql_meter meter;
    ql_scope scope;

    if (!s->dead && ql_variant_failed(s->through))
        ql_stream_kill(s);
    if (s->lane.count == 0 || s->dead || (s->equal_to && !ql_variant_differs(w, s->through, -1)))
        return QL_OK;
    QL_TRY(w->cx, ql_meter_start(w, &meter));
    ql_stream_fork(s);
    ql_scope_open(w->cx, &scope);
    QL_TRY(w->cx, ql_variant_weights(w, s->through, -1, &as));
    for (int64_t c = 0; c < s->lane.count; c++)
        QL_TRY(w->cx, forward_chunk(w, s, c, as));
    ql_scope_close(w->cx, &scope);
    return ql_meter_stop(w, &meter, &s->cost);
}

ql_stream *
ql_stream_find(const ql_walk *w, const ql_corpus *corpus, const ql_variant *v)
{
    for (int64_t i = 0; i < w->stream_count; i++)
        if (w->streams[i]->taps & QL_TAP_END && w->streams[i]->corpus == corpus && w->streams[i]->through == v)
            return w->streams[i];
    return NULL;
}
