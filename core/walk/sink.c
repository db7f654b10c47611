/* Sinks: what finished linears and the hidden states at the end of the model go to, evaluators and exporters alike. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "store/content.h"
#include "tensor/tensor.h"
#include "walk.h"

/* NULL for an exporter. */
static const ql_evaluator *
evaluator(const ql_sink *s)
{
    return s->stage->plugin->kind == QL_EVALUATOR ? s->stage->plugin->evaluator : NULL;
}

bool
ql_sink_failed(const ql_sink *s)
{
    return s->failed || ql_variant_failed(s->of);
}

/* The tokens that it is handed chunks or texts of; NULL: none. */
static const ql_corpus *
corpus_of(const ql_sink *s)
{
    return s->stream ? s->stream->corpus : s->prompts;
}

/* --- calls of the plugin -------------------------------------------------------------------------------------- */

void
ql_sink_enter(ql_walk *w, ql_sink *s, int64_t linear, ql_scope *scope)
{
    ql_scope_enter(w->cx, &s->scope);
    if (scope)
        ql_scope_open(w->cx, scope);
    ql_enter(w->cx, ql_site_at(w, s->title, s->stage, linear));
}

ql_status
ql_sink_leave(ql_walk *w, ql_sink *s, ql_scope *scope, ql_status st)
{
    if (st != QL_OK && w->cx->site.linear)
        (void)ql_where(w->cx, st, "%s", w->cx->site.linear);
    if (st != QL_OK)
        (void)ql_where(w->cx, st, "stage '%s' (%s)", s->stage->name, s->stage->plugin->name);
    if (scope)
        ql_scope_close(w->cx, scope);
    (void)ql_scope_leave(w->cx, &s->scope, QL_OK);
    ql_leave(w->cx, (ql_site){0});
    return st;
}

ql_status
ql_sink_guard(ql_walk *w, const ql_sink *s, const ql_linear_result *in, const ql_seqs *seqs, ql_guard *out)
{
    ql_lent lent[QL_LENT_MOST + 1] = {{"parameters", s->stage->self, s->stage->plugin->self_size}};
    const ql_model_info *model = &w->model->info;
    int n = 1;

    if (!evaluator(s)) {
        lent[n++] = (ql_lent){"model", model, sizeof *model};
        lent[n++] = (ql_lent){"linears", model->linears, (size_t)model->linear_count * sizeof *model->linears};
    }
    if (corpus_of(s))
        n += ql_tokens_lend(&corpus_of(s)->tokens, lent + n);
    if (in) {
        lent[n++] = (ql_lent){"statistics", in->stats, sizeof *in->stats};
        lent[n++] = (ql_lent){"qlinear", in->qlinear, sizeof *in->qlinear};
    }
    if (seqs) {
        lent[n++] = (ql_lent){"seqs", seqs, sizeof *seqs};
        lent[n++] = (ql_lent){"offsets", seqs->offsets, (size_t)(seqs->count + 1) * sizeof *seqs->offsets};
        if (seqs->parent)
            lent[n++] = (ql_lent){"parent", seqs->parent, (size_t)seqs->count * sizeof *seqs->parent};
    }
    return ql_guard_open(w->cx, s->stage->foreign, lent, out);
}

ql_status
ql_sink_settle(ql_walk *w, ql_sink *s, ql_status st)
{
    return st != QL_OK && ql_stays_in_cell(st) ? ql_fail_cell(w, &s->failed) : st;
}

/* --- opening -------------------------------------------------------------------------------------------------- */

static ql_status
add_stream(ql_walk *w, const ql_sink *s, const ql_corpus *corpus, ql_variant *through)
{
    ql_stream *made;

    if (ql_stream_find(w, corpus, through))
        return QL_OK;
    made = ql_alloc(w->cx, 1, sizeof *made);
    if (!made)
        return QL_MEMORY;
    *made =
        (ql_stream){.data = ql_node_input(s->stage, "data"), .through = through, .taps = QL_TAP_END, .corpus = corpus};
    w->streams[w->stream_count++] = made;
    return QL_OK;
}

/* Streams of its tokens through its model and, where it compares, through the original. */
static ql_status
add_streams(ql_walk *w, ql_sink *s)
{
    const ql_corpus *corpus = NULL;

    QL_TRY(w->cx, ql_corpus_open(w, ql_node_input(s->stage, "data"), s->stage, &corpus));
    if (evaluator(s)->needs_reference)
        QL_TRY(w->cx, add_stream(w, s, corpus, w->plan->variants[0]));
    QL_TRY(w->cx, add_stream(w, s, corpus, s->of));
    s->stream = ql_stream_find(w, corpus, s->of);
    return QL_OK;
}

static ql_status
open_sink(ql_walk *w, ql_sink *s)
{
    const ql_evaluator *ev = evaluator(s);

    if (ql_sink_failed(s))
        return QL_OK;
    if (!ev && w->folder) { /* nothing has run yet, so the whole run stops where it can't begin */
        ql_sink_enter(w, s, -1, NULL);
        return ql_sink_leave(w, s, NULL, ql_export_begin(w, s));
    }
    if (!ev || ev->linear || s->told || !ql_node_input(s->stage, "data"))
        return QL_OK;
    if (ev->said)
        return ql_corpus_open(w, ql_node_input(s->stage, "data"), s->stage, &s->prompts);
    return add_streams(w, s);
}

ql_status
ql_sinks_open(ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->sink_count; i++)
        QL_TRY(w->cx, open_sink(w, &w->plan->sinks[i]));
    return QL_OK;
}

void
ql_sinks_close(ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->sink_count; i++) {
        ql_sink *s = &w->plan->sinks[i];

        ql_export_close(w->cx, s->files);
        ql_scope_enter(w->cx, &s->scope);
        ql_scope_close(w->cx, &s->scope);
        ql_facts_fini(&s->facts);
        free(s->found.data);
        free(s->failed);
    }
}

/* --- block by block ------------------------------------------------------------------------------------------- */

/* What an evaluator finds of one linear goes to the results at once. */
static ql_status
rate(ql_walk *w, const ql_sink *s, const ql_linear_result *in)
{
    ql_facts facts = {0};
    ql_guard guard;
    ql_status st;

    QL_TRY(w->cx, ql_sink_guard(w, s, in, NULL, &guard));
    st = ql_guard_close(w->cx, &guard, evaluator(s)->linear(w->cx, s->stage->self, in, &facts));
    if (st == QL_OK && w->folder)
        st = ql_results_add(w->results, s->node, w->layer, in->name, &facts);
    ql_facts_fini(&facts);
    return st;
}

static ql_status
hand_linear(ql_walk *w, ql_sink *s, int l)
{
    ql_linear_result in;
    ql_guard guard;

    QL_TRY(w->cx, ql_variant_linear(w, s->of, l, &in));
    in.stats = ql_stats_at(w, s->calib, l);
    if (evaluator(s))
        return rate(w, s, &in);
    if (!w->folder)
        return QL_OK;
    QL_TRY(w->cx, ql_sink_guard(w, s, &in, NULL, &guard));
    return ql_guard_close(w->cx, &guard, s->stage->plugin->exporter->linear(w->cx, s->stage->self, &in, s->state));
}

static ql_status
hand_linears(ql_walk *w, ql_sink *s)
{
    ql_meter meter;

    QL_TRY(w->cx, ql_meter_start(w, &meter));
    for (int l = 0; l < w->model->info.linear_count && !ql_sink_failed(s); l++) {
        ql_scope scope;

        ql_sink_enter(w, s, l, &scope);
        QL_TRY(w->cx, ql_sink_settle(w, s, ql_sink_leave(w, s, &scope, hand_linear(w, s, l))));
    }
    return ql_meter_stop(w, &meter, &s->cost);
}

static ql_status
serve_variant(ql_walk *w, const ql_variant *v)
{
    for (int64_t i = 0; i < w->stream_count; i++)
        if (w->streams[i]->taps & QL_TAP_END && w->streams[i]->through == v)
            QL_TRY(w->cx, ql_stream_forward(w, w->streams[i]));
    for (int64_t i = 0; i < w->plan->sink_count; i++)
        if (w->plan->sinks[i].of == v && ql_need_linears(w, &w->plan->sinks[i]))
            QL_TRY(w->cx, hand_linears(w, &w->plan->sinks[i]));
    return QL_OK;
}

ql_status
ql_sinks_block(ql_walk *w)
{
    const ql_plan *plan = w->plan;

    for (int64_t i = 0; i < plan->variant_count; i++) {
        QL_TRY(w->cx, serve_variant(w, plan->variants[i]));
        if (i + 1 == plan->variant_count || plan->variants[i + 1]->parent == plan->variants[0])
            ql_variant_forget_decoded(w); /* its family is done */
    }
    return QL_OK;
}

/* --- the end of the model ------------------------------------------------------------------------------------- */

/* Calls the evaluator, and puts what it leaves behind what earlier chunks left. */
static ql_status
find(ql_walk *w, ql_sink *s, const ql_eval_chunk *chunk)
{
    ql_leavings *all = &s->found;
    const ql_eval_chunk lent = *chunk; /* several sinks see it */
    ql_eval_found found = {0};
    ql_guard guard;

    QL_TRY(w->cx, ql_sink_guard(w, s, NULL, chunk->seqs, &guard));
    QL_TRY(w->cx, ql_guard_close(w->cx, &guard, evaluator(s)->chunk(w->cx, s->stage->self, &lent, &found)));
    if (found.bytes == 0)
        return QL_OK;
    QL_TRY(w->cx, ql_grow(w->cx, &all->data, &all->capacity, all->bytes + (int64_t)found.bytes, 1));
    memcpy(all->data + all->bytes, found.data, found.bytes);
    all->bytes += (int64_t)found.bytes;
    return QL_OK;
}

static ql_status
hand_chunk(ql_walk *w, ql_sink *s, const ql_eval_chunk *chunk)
{
    ql_meter meter;
    ql_scope scope;
    ql_status st;

    if (ql_sink_failed(s))
        return QL_OK;
    QL_TRY(w->cx, ql_meter_start(w, &meter));
    ql_sink_enter(w, s, -1, &scope);
    st = ql_sink_leave(w, s, &scope, find(w, s, chunk));
    QL_TRY(w->cx, ql_sink_settle(w, s, st));
    return ql_meter_stop(w, &meter, &s->cost);
}

/* Hidden states of chunk c of the stream after the final norm. */
static ql_status
normed(ql_walk *w, const ql_stream *s, int64_t c, const ql_ends *ends, const ql_tensor **out)
{
    ql_tensor *h, *x;

    QL_TRY(w->cx, ql_hidden_wake(w->cx, s->h[c], &h));
    QL_TRY(w->cx, ql_model_norm(w->cx, w->model, ends, h, &x));
    ql_tensor_seal(x); /* several sinks see it */
    *out = x;
    return QL_OK;
}

/* Chunk c of one stream to the sinks that want it. */
static ql_status
end_stream(ql_walk *w, const ql_stream *s, int64_t c, const ql_ends *ends, ql_eval_chunk *chunk)
{
    ql_scope scope;

    QL_TRY(w->cx, ql_check_interrupt(w->cx));
    ql_scope_open(w->cx, &scope);
    chunk->x = chunk->ref;
    if (s->through->parent && !s->equal_to)
        QL_TRY(w->cx, normed(w, s, c, ends, &chunk->x));
    for (int64_t i = 0; i < w->plan->sink_count; i++)
        if (w->plan->sinks[i].stream == s && ql_lanes_wanted(w, &w->plan->sinks[i]))
            QL_TRY(w->cx, hand_chunk(w, &w->plan->sinks[i], chunk));
    ql_scope_close(w->cx, &scope);
    return QL_OK;
}

static ql_status
end_chunk(ql_walk *w, const ql_stream *any, int64_t c, const ql_ends *ends)
{
    const ql_corpus *corpus = any->corpus;
    const ql_stream *original = ql_stream_find(w, corpus, w->plan->variants[0]);
    const ql_span *span = ql_stream_span(any, c);
    ql_eval_chunk chunk = {
        .seqs = &span->seqs,
        .ids = corpus->tokens.ids + span->first_token,
        .first_sequence = span->first_sequence,
        .first_token = span->first_token,
        .head = ends->head,
        .questions = corpus->tokens.questions,
        .scored = corpus->tokens.scored ? corpus->tokens.scored + span->first_token : NULL,
    };
    ql_scope scope;

    ql_scope_open(w->cx, &scope);
    if (original && original->lane.count)
        QL_TRY(w->cx, normed(w, original, c, ends, &chunk.ref));
    for (int64_t i = 0; i < w->plan->variant_count; i++) {
        const ql_stream *s = ql_stream_find(w, corpus, w->plan->variants[i]);

        if (s && s->lane.count && !s->dead)
            QL_TRY(w->cx, end_stream(w, s, c, ends, &chunk));
    }
    ql_scope_close(w->cx, &scope);
    return QL_OK;
}

/* Is it the first stream of its tokens that has come to the end of the model? */
static bool
is_first(const ql_walk *w, int64_t stream)
{
    for (int64_t i = w->plan->stream_count; i < stream; i++)
        if (w->streams[i]->lane.count && w->streams[i]->corpus == w->streams[stream]->corpus)
            return false;
    return w->streams[stream]->lane.count;
}

ql_status
ql_sinks_chunks(ql_walk *w)
{
    ql_scope scope;
    ql_ends ends;

    ql_scope_open(w->cx, &scope);
    QL_TRY(w->cx, ql_model_ends(w->cx, w->model, &ends));
    for (int64_t i = w->plan->stream_count; i < w->stream_count; i++)
        for (int64_t c = 0; is_first(w, i) && c < w->streams[i]->lane.count; c++)
            QL_TRY(w->cx, end_chunk(w, w->streams[i], c, &ends));
    ql_scope_close(w->cx, &scope);
    return QL_OK;
}

/* What was followed where the model's files disagree goes with its numbers and its exports. */
ql_status
ql_note_followed(ql_ctx *cx, ql_facts *m)
{
    const char *text = cx->followed ? cx->followed->text : NULL;

    return text ? ql_fact_note(cx, m, "followed", text) : QL_OK;
}

static ql_status
note_tokens(ql_walk *w, ql_sink *s)
{
    const ql_corpus *c = corpus_of(s);
    ql_facts *m = &s->facts;

    QL_TRY(w->cx, ql_fact_note(w->cx, m, "bos", c->tokens.bos ? "yes" : "no"));
    QL_TRY(w->cx, ql_fact_note(w->cx, m, "seqlen", ql_format(w->cx, "%lld", (long long)c->tokens.seqlen)));
    QL_TRY(w->cx, ql_fact_note(w->cx, m, "dtype", ql_dtype_name(w->cx->device->info.compute_dtype)));
    QL_TRY(w->cx, ql_note_followed(w->cx, m));
    return ql_fact_note(w->cx, m, QL_NOTE_DATA, ql_hash_text(w->cx, c->key));
}

/* A table never shows what is no number as if it were one: such a cell has failed. */
static ql_status
check_finite(ql_walk *w, const ql_sink *s)
{
    for (int64_t i = 0; i < s->facts.count; i++) {
        const ql_fact_row *f = &s->facts.rows[i];

        if (f->count < 0 && !isfinite(f->value))
            return QL_FAIL(w->cx, QL_NUMERIC, "%s is %g", f->name, f->value);
    }
    return QL_OK;
}

/* Facts of what all chunks have left. */
static ql_status
end_evaluator(ql_walk *w, ql_sink *s)
{
    const ql_eval_found found = {.data = s->found.data, .bytes = (size_t)s->found.bytes};
    ql_eval_info info = {.tokens = &corpus_of(s)->tokens, .folder = w->folder, .tokenizer = w->tokenizer};
    ql_guard guard;

    info.cell = ql_format(w->cx, "%s-%016llx", s->stage->name, (unsigned long long)s->of->stage->key[0]);
    if (!info.cell)
        return QL_MEMORY;
    QL_TRY(w->cx, ql_sink_guard(w, s, NULL, NULL, &guard));
    QL_TRY(w->cx, ql_guard_close(w->cx, &guard, evaluator(s)->end(w->cx, s->stage->self, &info, &found, &s->facts)));
    QL_TRY(w->cx, check_finite(w, s));
    return note_tokens(w, s);
}

static ql_status
end_sink(ql_walk *w, ql_sink *s)
{
    const ql_evaluator *ev = evaluator(s);
    ql_meter meter;
    ql_scope scope;
    ql_status st;

    if (ql_sink_failed(s) || (ev && !corpus_of(s)))
        return QL_OK;
    QL_TRY(w->cx, ql_meter_start(w, &meter));
    ql_sink_enter(w, s, -1, &scope);
    st = ev ? end_evaluator(w, s) : ql_export_end(w, s);
    QL_TRY(w->cx, ql_sink_settle(w, s, ql_sink_leave(w, s, &scope, st)));
    QL_TRY(w->cx, ql_meter_stop(w, &meter, &s->cost));
    s->ended = !s->failed;
    return QL_OK;
}

/* What it left is there for others to see: files in their place, facts in the results. */
static ql_status
publish(ql_walk *w, ql_sink *s)
{
    if (s->files)
        QL_TRY(w->cx, ql_export_place(w->cx, s->files));
    QL_TRY(w->cx, ql_finished_put_sink(w, s));
    return ql_lanes_forget(w, s);
}

/* Exporters copy files of the model at their end, so that its inputs are looked at once more before anything is published. */
ql_status
ql_sinks_end(ql_walk *w)
{
    if (!w->folder)
        return QL_OK;
    QL_TRY(w->cx, ql_content_check(w->cx, w->plan->inputs));
    for (int64_t i = 0; i < w->plan->sink_count; i++)
        if (w->plan->sinks[i].of->level == w->level)
            QL_TRY(w->cx, end_sink(w, &w->plan->sinks[i]));
    QL_TRY(w->cx, ql_content_check(w->cx, w->plan->inputs));
    for (int64_t i = 0; i < w->plan->sink_count; i++)
        if (w->plan->sinks[i].ended && w->plan->sinks[i].of->level == w->level)
            QL_TRY(w->cx, publish(w, &w->plan->sinks[i]));
    return QL_OK;
}
