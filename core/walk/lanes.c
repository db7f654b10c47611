/* Evaluation in passes: which chunks go through memory when, and what is kept of those that have. */
#include <string.h>

#include "store/content.h"
#include "walk.h"

/* Has the sink, of the level under way, a stream whose chunks it still lacks? */
static bool
is_open(const ql_walk *w, const ql_sink *s)
{
    return s->stream && s->of->level == w->level && !ql_sink_failed(s) && s->until < s->stream->corpus->span_count;
}

/* Is it the first stream of its tokens to the end of the model? */
static bool
is_first(const ql_walk *w, int64_t stream)
{
    for (int64_t i = w->plan->stream_count; i < stream; i++)
        if (w->streams[i]->corpus == w->streams[stream]->corpus)
            return false;
    return true;
}

/* --- what the store has --------------------------------------------------------------------------------------- */

static ql_entry
entry_of(const ql_sink *s, int64_t chunk)
{
    const int64_t sequence = s->stream->corpus->spans[chunk].first_sequence;

    return (ql_entry){.key = s->key, .block = sequence, .kind = "found", .about = s->about};
}

/* The sequence that chunk `chunk` begins with; behind the last: how many there are. */
static int64_t
sequence_at(const ql_corpus *c, int64_t chunk)
{
    return chunk < c->span_count ? c->spans[chunk].first_sequence : c->tokens.count;
}

static ql_status
append(ql_walk *w, ql_sink *s, const void *data, size_t bytes)
{
    ql_leavings *all = &s->found;

    if (bytes == 0)
        return QL_OK;
    QL_TRY(w->cx, ql_grow(w->cx, &all->data, &all->capacity, all->bytes + (int64_t)bytes, 1));
    memcpy(all->data + all->bytes, data, bytes);
    all->bytes += (int64_t)bytes;
    return QL_OK;
}

/* INVALID: it ends where no chunk does. */
static ql_status
take_found(ql_walk *w, ql_sink *s, const ql_parcel *parcel)
{
    const ql_corpus *c = s->stream->corpus;
    int64_t sequence, chunk = s->until;
    const void *data;
    size_t bytes;

    QL_TRY(w->cx, ql_parcel_copy(w->cx, parcel, "until", &sequence, sizeof sequence));
    while (chunk < c->span_count && sequence_at(c, chunk) < sequence)
        chunk++;
    if (chunk == s->until || sequence_at(c, chunk) != sequence)
        return QL_FAIL(w->cx, QL_INVALID, "an entry of the cache: no chunk ends before sequence %lld",
                       (long long)sequence);
    QL_TRY(w->cx, ql_parcel_copy(w->cx, parcel, "cost", &s->cost, sizeof s->cost));
    QL_TRY(w->cx, ql_parcel_find(w->cx, parcel, "found", &data, &bytes));
    QL_TRY(w->cx, append(w, s, data, bytes));
    s->until = chunk;
    s->stored = s->found.bytes;
    return QL_OK;
}

/* What lanes of an earlier run found, one behind the other, as far as they go. */
static ql_status
look_up(ql_walk *w, ql_sink *s)
{
    for (bool there = true; there && is_open(w, s);) {
        const ql_entry e = entry_of(s, s->until);
        ql_parcel parcel;
        ql_scope scope;
        ql_status st;

        ql_scope_open(w->cx, &scope);
        st = ql_store_get(w->cx, w->store, &e, &parcel, &there);
        if (st == QL_OK && there)
            st = take_found(w, s, &parcel);
        if (st == QL_INVALID) {
            there = false;
            st = ql_store_drop(w->cx, w->store, &e);
        }
        ql_scope_close(w->cx, &scope);
        if (st != QL_OK)
            return st;
    }
    return QL_OK;
}

/* What the sink found in the pass, which began at chunk `from`. */
static ql_status
put_found(ql_walk *w, ql_sink *s, int64_t from)
{
    const ql_entry e = entry_of(s, from);
    const int64_t sequence = sequence_at(s->stream->corpus, s->until);
    ql_cost cost = s->cost;
    ql_parcel parcel = {0};
    ql_scope scope;
    ql_status st;

    ql_cost_add(&cost, &s->stream->cost);
    ql_scope_open(w->cx, &scope);
    st = ql_parcel_put(w->cx, &parcel, "until", &sequence, sizeof sequence);
    if (st == QL_OK)
        st = ql_parcel_put(w->cx, &parcel, "cost", &cost, sizeof cost);
    if (st == QL_OK)
        st = ql_parcel_put(w->cx, &parcel, "found", s->found.data + s->stored, (size_t)(s->found.bytes - s->stored));
    if (st == QL_OK)
        st = ql_store_put(w->cx, w->store, &e, &parcel);
    ql_scope_close(w->cx, &scope);
    s->stored = s->found.bytes;
    return st;
}

ql_status
ql_lanes_forget(ql_walk *w, const ql_sink *s)
{
    return w->store && (s->stream || s->prompts) ? ql_store_forget(w->cx, w->store, s->key, true) : QL_OK;
}

/* --- which chunks when ---------------------------------------------------------------------------------------- */

/* The first chunk of the corpus that a sink lacks; its chunk count: none does. */
static int64_t
first_lacked(const ql_walk *w, const ql_corpus *c)
{
    int64_t first = c->span_count;

    for (int64_t i = 0; i < w->plan->sink_count; i++) {
        const ql_sink *s = &w->plan->sinks[i];

        if (is_open(w, s) && s->stream->corpus == c && s->until < first)
            first = s->until;
    }
    return first;
}

/* The lane from `first` on, which ends where a sink that is ahead of it begins to lack chunks. */
static ql_lane
cut(const ql_walk *w, const ql_corpus *c, int64_t first, int64_t tokens)
{
    ql_lane lane = ql_corpus_cut(c, first, tokens);

    for (int64_t i = 0; i < w->plan->sink_count; i++) {
        const ql_sink *s = &w->plan->sinks[i];

        if (is_open(w, s) && s->stream->corpus == c && s->until > first && s->until < first + lane.count)
            lane.count = s->until - first;
    }
    return lane;
}

/* Deals the corpus out; `left`: tokens that the last pass has room for. */
static ql_status
deal(ql_walk *w, const ql_corpus *c, int64_t *left)
{
    for (int64_t first = first_lacked(w, c), next; first < c->span_count; first = next) {
        ql_lane lane = cut(w, c, first, *left > 0 ? *left : w->lane_tokens);
        int64_t tokens = ql_lane_tokens(c, lane);

        if (w->lane_tokens && tokens > *left) {
            lane = cut(w, c, first, w->lane_tokens);
            tokens = ql_lane_tokens(c, lane);
            w->passes += w->lane_count > 0;
            *left = w->lane_tokens;
        }
        next = first + lane.count;
        *left -= tokens;
        w->lanes[w->lane_count++] = (ql_pass_lane){.corpus = c, .lane = lane, .pass = w->passes - 1};
    }
    return QL_OK;
}

/* For who chooses how long lanes are. */
static void
count_chunks(ql_walk *w, const ql_corpus *c)
{
    w->work->chunks += c->span_count;
    for (int64_t i = 0; i < c->span_count; i++)
        if (ql_span_tokens(&c->spans[i]) > w->work->chunk_tokens)
            w->work->chunk_tokens = ql_span_tokens(&c->spans[i]);
}

ql_status
ql_lanes_deal(ql_walk *w)
{
    int64_t chunks = 0, left = 0;

    w->passes = 1;
    w->lane_count = 0;
    for (int64_t i = 0; w->store && !w->fresh && i < w->plan->sink_count; i++)
        if (w->plan->sinks[i].stream)
            QL_TRY(w->cx, look_up(w, &w->plan->sinks[i]));
    for (int64_t i = w->plan->stream_count; i < w->stream_count; i++)
        chunks += w->streams[i]->corpus->span_count;
    w->lanes = ql_alloc(w->cx, (size_t)chunks + 1, sizeof *w->lanes);
    if (!w->lanes)
        return QL_MEMORY;
    for (int64_t i = w->plan->stream_count; i < w->stream_count; i++)
        if (is_first(w, i)) {
            if (first_lacked(w, w->streams[i]->corpus) < w->streams[i]->corpus->span_count)
                count_chunks(w, w->streams[i]->corpus);
            QL_TRY(w->cx, deal(w, w->streams[i]->corpus, &left));
        }
    w->work->passes = w->passes > w->work->passes ? w->passes : w->work->passes;
    return QL_OK;
}

/* --- a pass --------------------------------------------------------------------------------------------------- */

static ql_lane
lane_of(const ql_walk *w, const ql_corpus *c)
{
    for (int64_t i = 0; i < w->lane_count; i++)
        if (w->lanes[i].pass == w->pass && w->lanes[i].corpus == c)
            return w->lanes[i].lane;
    return (ql_lane){0};
}

bool
ql_lanes_wanted(const ql_walk *w, const ql_sink *s)
{
    const ql_lane lane = s->stream ? lane_of(w, s->stream->corpus) : (ql_lane){0};

    return lane.count && is_open(w, s) && s->until <= lane.first;
}

bool
ql_lanes_begin(ql_walk *w)
{
    bool any = false;

    for (int64_t i = 0; i < w->plan->sink_count; i++) {
        const ql_sink *s = &w->plan->sinks[i];
        ql_stream *original;

        if (!ql_lanes_wanted(w, s))
            continue;
        any = true;
        s->stream->lane = lane_of(w, s->stream->corpus);
        original = ql_stream_find(w, s->stream->corpus, w->plan->variants[0]);
        if (s->stage->plugin->evaluator->needs_reference)
            original->lane = s->stream->lane;
    }
    return any;
}

ql_status
ql_lanes_open(ql_walk *w)
{
    for (int64_t i = w->plan->stream_count; i < w->stream_count; i++) {
        ql_stream *s = w->streams[i], *original = ql_stream_find(w, s->corpus, w->plan->variants[0]);

        if (s->lane.count)
            QL_TRY(w->cx, ql_stream_open(w, s, s->lane, original != s && original && original->h ? original : NULL));
    }
    return QL_OK;
}

ql_status
ql_lanes_end(ql_walk *w)
{
    const bool keep = w->store && w->folder && w->pass + 1 < w->passes;

    if (keep)
        QL_TRY(w->cx, ql_content_check(w->cx, w->plan->inputs));
    for (int64_t i = 0; i < w->plan->sink_count; i++) {
        ql_sink *s = &w->plan->sinks[i];
        const int64_t from = s->until;

        if (!ql_lanes_wanted(w, s))
            continue;
        s->until += s->stream->lane.count;
        if (keep)
            QL_TRY(w->cx, put_found(w, s, from));
    }
    for (int64_t i = 0; i < w->stream_count; i++)
        ql_stream_close(w->streams[i]);
    return QL_OK;
}
