/* Texts: when all passes are over, each model whose texts are judged is put together from the store, and goes on with the prompts. What has
 * been generated is kept, so that a run that was stopped goes on from there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/content.h"
#include "tensor/tensor.h"
#include "walk.h"

#define SEQUENCES 64  /* that run at a time, unless the evaluator says */
#define KEEP_EVERY 16 /* finished texts */

/* The texts of one sink. */
typedef struct texts {
    ql_walk *w;
    ql_sink *sink;
    const ql_questions *questions;
    int64_t count, finished; /* documents; those whose text has ended */
    bool *done;              /* [count] */
    int32_t **ids;           /* [count], on the heap; NULL: not done */
    int32_t *lengths;        /* [count] */
    ql_prompt *prompts;
} texts;

bool
ql_texts_wanted(const ql_walk *w, const ql_sink *s)
{
    return s->prompts && s->of->level == w->level && !s->told && !ql_sink_failed(s);
}

/* --- what the store has ------------------------------------------------------------------------------------------ */

static ql_entry
entry_of(const ql_sink *s)
{
    return (ql_entry){.key = s->key, .block = 0, .kind = "texts", .about = s->about};
}

static ql_status
take_text(texts *t, int64_t i, const int32_t *ids, int32_t length)
{
    t->ids[i] = ql_heap(t->w->cx, (size_t)length + 1, sizeof **t->ids);
    if (!t->ids[i])
        return QL_MEMORY;
    memcpy(t->ids[i], ids, (size_t)length * sizeof *ids);
    t->lengths[i] = length;
    t->done[i] = true;
    t->finished++;
    return QL_OK;
}

/* INVALID when it is not of these documents. */
static ql_status
take_texts(texts *t, const ql_parcel *parcel)
{
    int32_t *lengths = ql_alloc(t->w->cx, (size_t)t->count, sizeof *lengths), *ids;
    const void *data;
    size_t bytes, at = 0, all = 0;

    if (!lengths)
        return QL_MEMORY;
    QL_TRY(t->w->cx, ql_parcel_copy(t->w->cx, parcel, "lengths", lengths, (size_t)t->count * sizeof *lengths));
    QL_TRY(t->w->cx, ql_parcel_find(t->w->cx, parcel, "ids", &data, &bytes));
    QL_TRY(t->w->cx, ql_parcel_copy(t->w->cx, parcel, "cost", &t->sink->cost, sizeof t->sink->cost));
    for (int64_t i = 0; i < t->count; i++)
        all += lengths[i] > 0 ? (size_t)lengths[i] : 0;
    if (bytes != all * sizeof *ids)
        return QL_FAIL(t->w->cx, QL_INVALID, "an entry of the cache: %zu bytes for %zu tokens", bytes, all);
    ids = ql_alloc(t->w->cx, all + 1, sizeof *ids);
    if (!ids)
        return QL_MEMORY;
    if (bytes)
        memcpy(ids, data, bytes);
    for (int64_t i = 0; i < t->count; i++)
        if (lengths[i] > 0) {
            QL_TRY(t->w->cx, take_text(t, i, ids + at, lengths[i]));
            at += (size_t)lengths[i];
        }
    return QL_OK;
}

/* What an earlier run has finished. */
static ql_status
look_up(texts *t)
{
    const ql_entry e = entry_of(t->sink);
    ql_walk *w = t->w;
    ql_parcel parcel;
    ql_scope scope;
    bool there;
    ql_status st;

    if (!w->store || w->fresh)
        return QL_OK;
    ql_scope_open(w->cx, &scope);
    st = ql_store_get(w->cx, w->store, &e, &parcel, &there);
    if (st == QL_OK && there)
        st = take_texts(t, &parcel);
    if (st == QL_INVALID)
        st = ql_store_drop(w->cx, w->store, &e);
    ql_scope_close(w->cx, &scope);
    return st;
}

/* All texts that have ended, one behind the other; with `every`, -1 stands for the length of one that has not. */
static ql_status
gather(texts *t, bool every, int32_t **out, size_t *count)
{
    size_t n = 0, all = 0;
    int32_t *at;

    for (int64_t i = 0; i < t->count; i++)
        all += (size_t)t->lengths[i] + 1;
    *out = at = ql_alloc(t->w->cx, all, sizeof *at);
    if (!at)
        return QL_MEMORY;
    for (int64_t i = 0; i < t->count; i++) {
        if (every)
            at[n++] = t->lengths[i];
        if (t->done[i])
            memcpy(at + n, t->ids[i], (size_t)t->lengths[i] * sizeof *at);
        n += (size_t)t->lengths[i];
    }
    *count = n;
    return QL_OK;
}

static ql_status
put_texts(texts *t)
{
    const ql_entry e = entry_of(t->sink);
    ql_walk *w = t->w;
    ql_parcel parcel = {0};
    ql_scope scope;
    int32_t *ids;
    size_t count;
    ql_status st;

    if (!w->store || !w->folder)
        return QL_OK;
    ql_scope_open(w->cx, &scope);
    st = gather(t, false, &ids, &count);
    if (st == QL_OK)
        st = ql_parcel_put(w->cx, &parcel, "lengths", t->lengths, (size_t)t->count * sizeof *t->lengths);
    if (st == QL_OK)
        st = ql_parcel_put(w->cx, &parcel, "ids", ids, count * sizeof *ids);
    if (st == QL_OK)
        st = ql_parcel_put(w->cx, &parcel, "cost", &t->sink->cost, sizeof t->sink->cost);
    if (st == QL_OK)
        st = ql_content_check(w->cx, w->plan->inputs);
    if (st == QL_OK)
        st = ql_store_put(w->cx, w->store, &e, &parcel);
    ql_scope_close(w->cx, &scope);
    return st;
}

/* --- one sink ---------------------------------------------------------------------------------------------------- */

static ql_status
ask(texts *t, const ql_said *said, bool *end)
{
    ql_sink *s = t->sink;
    ql_scope scope;
    ql_guard guard;
    ql_status st;

    ql_sink_enter(t->w, s, -1, &scope);
    st = ql_sink_guard(t->w, s, NULL, NULL, &guard);
    if (st == QL_OK)
        st = ql_guard_close(t->w->cx, &guard, s->stage->plugin->evaluator->said(t->w->cx, s->stage->self, said, end));
    return ql_sink_leave(t->w, s, &scope, st);
}

/* After a token of document `i`. */
static ql_status
hear(ql_ctx *cx, void *user, int64_t i, const int32_t *ids, int64_t count, bool *end)
{
    texts *t = user;
    char what[96];

    if (!*end)
        QL_TRY(cx, ask(t,
                       &(ql_said){.questions = t->questions,
                                  .document = &t->questions->documents[i],
                                  .tokenizer = t->w->tokenizer,
                                  .ids = ids,
                                  .count = count},
                       end));
    if (!*end)
        return QL_OK;
    QL_TRY(cx, take_text(t, i, ids, (int32_t)count));
    snprintf(what, sizeof what, "text %lld of %lld", (long long)t->finished, (long long)t->count);
    ql_progress_step(cx, &t->w->progress, 0, what);
    return t->finished % KEEP_EVERY == 0 && t->finished < t->count ? put_texts(t) : QL_OK;
}

/* How the evaluator wants it, of what the device has left. */
static ql_status
generation_of(texts *t, const ql_resident *r, ql_generation *g)
{
    const ql_device *d = t->w->cx->device;
    const ql_evaluator *ev = t->sink->stage->plugin->evaluator;
    const size_t room = ql_device_room(d) ? ql_device_room(d) : d->info.memory;
    ql_pool_wish wish = {0};
    const char *penalties;

    (void)r;
    if (ev->pool)
        ev->pool(t->sink->stage->self, &wish);
    QL_TRY(t->w->cx, ql_model_penalties(t->w->cx, t->w->model, &penalties));
    if (penalties && !wish.ignore_penalties)
        return QL_FAIL(t->w->cx, QL_UNSUPPORTED,
                       "stage '%s': generation_config.json asks for %s, which changes what is likeliest: "
                       "`penalties: ignore` goes without",
                       t->sink->stage->name, penalties);
    if (penalties)
        QL_TRY(t->w->cx, ql_fact_note(t->w->cx, &t->sink->facts, "penalties ignored", penalties));
    *g = (ql_generation){.prompts = t->prompts,
                         .count = t->count,
                         .done = t->done,
                         .pool = wish.sequences ? wish.sequences : SEQUENCES,
                         .kv_said = wish.kv_memory != 0,
                         .kv_memory = wish.kv_memory   ? (size_t)wish.kv_memory
                                      : room > d->used ? (room - d->used) / 2
                                                       : 0,
                         .chunk_tokens = t->w->graph->chunk_tokens,
                         .share = !t->w->model->info.by_length,
                         .said = hear,
                         .user = t};
    return ql_model_ends_of_text(t->w->cx, t->w->model, &g->ends, &g->end_count);
}

static ql_status
generate(texts *t, ql_resident *r)
{
    char kv[32];
    ql_generated took;
    ql_generation g;

    QL_TRY(t->w->cx, look_up(t));
    QL_TRY(t->w->cx, generation_of(t, r, &g));
    if (t->finished == t->count)
        return QL_OK;
    QL_TRY(t->w->cx, ql_generate(t->w->cx, r, &g, &took));
    ql_info(t->w->cx,
            "%s of %s: %lld texts, %lld new tokens in %lld steps of up to %lld sequences; %lld of %lld prompt tokens "
            "shared; "
            "keys and values %s",
            t->sink->title, t->sink->of->about, (long long)(t->count), (long long)took.new_tokens,
            (long long)took.steps, (long long)took.running, (long long)took.shared_tokens,
            (long long)took.prompt_tokens, ql_bytes_text(took.kv_bytes, kv, sizeof kv));
    return QL_OK;
}

/* What `end` is handed. */
static ql_status
hand_over(texts *t)
{
    ql_leavings *all = &t->sink->found;
    int32_t *ids;
    size_t count;

    if (!t->w->folder)
        return QL_OK;
    QL_TRY(t->w->cx, gather(t, true, &ids, &count));
    all->bytes = (int64_t)(count * sizeof *ids);
    QL_TRY(t->w->cx, ql_grow(t->w->cx, &all->data, &all->capacity, all->bytes, 1));
    memcpy(all->data, ids, count * sizeof *ids);
    return QL_OK;
}

static ql_status
open_texts(texts *t)
{
    const ql_tokens *tokens = &t->sink->prompts->tokens;
    const size_t n = (size_t)tokens->count;

    t->questions = tokens->questions;
    t->count = tokens->count;
    t->done = ql_alloc(t->w->cx, n, sizeof *t->done);
    t->ids = ql_alloc(t->w->cx, n, sizeof *t->ids);
    t->lengths = ql_alloc(t->w->cx, n, sizeof *t->lengths);
    t->prompts = ql_alloc(t->w->cx, n, sizeof *t->prompts);
    if (!t->done || !t->ids || !t->lengths || !t->prompts)
        return QL_MEMORY;
    for (int64_t i = 0; i < tokens->count; i++)
        t->prompts[i] = (ql_prompt){.ids = tokens->ids + tokens->offsets[i],
                                    .count = tokens->offsets[i + 1] - tokens->offsets[i],
                                    .most = t->questions->max_gen};
    return QL_OK;
}

static ql_status
run_sink(ql_walk *w, ql_sink *s, ql_resident *r)
{
    texts t = {.w = w, .sink = s};
    ql_meter meter;
    ql_scope scope;
    ql_status st;

    QL_TRY(w->cx, ql_meter_start(w, &meter));
    ql_scope_open(w->cx, &scope);
    st = open_texts(&t);
    if (st == QL_OK)
        st = generate(&t, r);
    if (st == QL_OK)
        st = hand_over(&t);
    for (int64_t i = 0; t.ids && i < t.count; i++)
        free(t.ids[i]);
    ql_scope_close(w->cx, &scope);
    QL_TRY(w->cx, ql_sink_settle(w, s, st));
    return ql_meter_stop(w, &meter, &s->cost);
}

/* --- one model ---------------------------------------------------------------------------------------------------- */

/* Only what the model is made of is read from the store. */
static void
want_only(ql_walk *w, const ql_variant *v, bool wanted)
{
    for (; v; v = v->parent)
        v->wanted[w->layer] = wanted && ql_variant_is_made(v);
}

static ql_status
add_block(ql_walk *w, const ql_variant *v, ql_resident *r)
{
    const ql_stand_in *const *as;

    for (int64_t i = 0; i < w->plan->variant_count; i++)
        w->plan->variants[i]->wanted[w->layer] = false;
    want_only(w, v, true);
    QL_TRY(w->cx, ql_finished_take(w));
    QL_TRY(w->cx, ql_block_open(w->cx, w->model, w->layer, &w->block));
    QL_TRY(w->cx, ql_variant_stand_ins(w, v, &as));
    QL_TRY(w->cx, ql_resident_add(w->cx, r, w->block, as));
    return QL_OK;
}

/* A rehearsal of fewer blocks than there are takes the last of them for the others. */
static ql_status
add_blocks(ql_walk *w, const ql_variant *v, ql_resident *r)
{
    for (int64_t i = 0; i < w->layers; i++) {
        ql_scope scope;

        w->layer = i < w->model->info.layers ? i : w->model->info.layers - 1;
        ql_scope_open(w->cx, &scope);
        QL_TRY(w->cx, add_block(w, v, r));
        ql_variant_forget(w);
        ql_block_close(w->block);
        w->block = NULL;
        ql_scope_close(w->cx, &scope);
        QL_TRY(w->cx, ql_check_interrupt(w->cx));
    }
    return QL_OK;
}

static ql_status
run_variant(ql_walk *w, const ql_variant *v)
{
    ql_resident *r = NULL;
    ql_status st = ql_resident_open(w->cx, w->model, w->layers, &r);

    w->reads++;
    if (st == QL_OK)
        st = add_blocks(w, v, r);
    for (int64_t i = 0; st == QL_OK && i < w->plan->sink_count; i++)
        if (w->plan->sinks[i].of == v && ql_texts_wanted(w, &w->plan->sinks[i]))
            st = run_sink(w, &w->plan->sinks[i], r);
    ql_resident_close(r);
    return st;
}

static bool
is_asked(const ql_walk *w, const ql_variant *v)
{
    for (int64_t i = 0; i < w->plan->sink_count; i++)
        if (w->plan->sinks[i].of == v && ql_texts_wanted(w, &w->plan->sinks[i]))
            return true;
    return false;
}

ql_status
ql_texts_run(ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->variant_count; i++)
        if (is_asked(w, w->plan->variants[i]))
            QL_TRY(w->cx, run_variant(w, w->plan->variants[i]));
    return QL_OK;
}
