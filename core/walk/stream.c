/* Streams: hidden states of token sequences at the borders of blocks. */
#include <stdlib.h>

#include "tensor/tensor.h"
#include "walk.h"

static void
release(ql_rest **h, int64_t count)
{
    for (int64_t c = 0; h && c < count; c++) {
        ql_rest_unref(h[c]);
        h[c] = NULL;
    }
}

ql_status
ql_stream_open(ql_walk *w, const ql_corpus *corpus, ql_stream *parent, ql_stream *out)
{
    const int64_t n = corpus->span_count;

    *out = (ql_stream){.corpus = corpus, .parent = parent};
    out->h = ql_heap(w->cx, (size_t)n, sizeof *out->h);
    out->before = ql_heap(w->cx, (size_t)n, sizeof *out->before);
    if (!out->h || !out->before)
        return QL_MEMORY;
    if (parent) {
        parent->followers++;
        return QL_OK;
    }
    for (int64_t c = 0; c < n; c++) {
        const ql_span *s = &corpus->spans[c];
        ql_scope scope;
        ql_tensor *h;

        ql_scope_open(w->cx, &scope);
        QL_TRY(w->cx, ql_model_embed(w->cx, w->model, corpus->tokens.ids + s->first_token, ql_span_tokens(s), &h));
        QL_TRY(w->cx, ql_rest_new(w->cx, h, &out->h[c]));
        ql_scope_close(w->cx, &scope);
    }
    return QL_OK;
}

void
ql_stream_close(ql_stream *s)
{
    if (!s->corpus)
        return;
    release(s->h, s->corpus->span_count);
    release(s->before, s->corpus->span_count);
    free(s->h);
    free(s->before);
    if (s->parent)
        s->parent->followers--;
    *s = (ql_stream){0};
}

void
ql_stream_kill(ql_stream *s)
{
    s->dead = true;
    release(s->h, s->corpus->span_count);
    if (s->parent)
        s->parent->followers--;
    s->parent = NULL;
}

void
ql_stream_block_begin(ql_stream *s)
{
    for (int64_t c = 0; s->followers > 0 && c < s->corpus->span_count; c++)
        s->before[c] = ql_rest_ref(s->h[c]);
}

void
ql_stream_block_end(ql_stream *s)
{
    if (s->corpus)
        release(s->before, s->corpus->span_count);
}

void
ql_stream_fork(ql_stream *s)
{
    if (!s->parent)
        return;
    for (int64_t c = 0; c < s->corpus->span_count; c++)
        s->h[c] = ql_rest_ref(s->parent->before[c]);
    s->parent->followers--;
    s->parent = NULL;
}

ql_status
ql_stream_put(ql_walk *w, ql_stream *s, int64_t c, const ql_tensor *h)
{
    ql_rest *old = s->h[c], *made;

    QL_TRY(w->cx, ql_rest_new(w->cx, h, &made));
    s->h[c] = made;
    ql_rest_unref(old);
    return QL_OK;
}

ql_status
ql_stream_forward(ql_walk *w, ql_stream *s, const ql_weight *const *as)
{
    for (int64_t c = 0; c < s->corpus->span_count; c++) {
        ql_flow f = {.seqs = &s->corpus->spans[c].seqs};
        ql_scope scope;
        ql_tensor *h;

        QL_TRY(w->cx, ql_check_interrupt(w->cx));
        ql_scope_open(w->cx, &scope);
        QL_TRY(w->cx, ql_rest_wake(w->cx, s->h[c], &h));
        f.h = h;
        QL_TRY(w->cx, ql_block_forward(w->cx, w->block, as, &f));
        QL_TRY(w->cx, ql_stream_put(w, s, c, f.h));
        ql_scope_close(w->cx, &scope);
    }
    return QL_OK;
}
