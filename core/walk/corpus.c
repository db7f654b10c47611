/* Token sequences cut into chunks of whole sequences. */
#include <string.h>

#include "base/hash.h"
#include "tensor/op.h"
#include "walk.h"

int64_t
ql_span_tokens(const ql_span *s)
{
    return s->seqs.offsets[s->seqs.count];
}

int64_t
ql_lane_tokens(const ql_corpus *c, ql_lane lane)
{
    const ql_span *first = &c->spans[lane.first], *last = first + lane.count - 1;

    return lane.count ? last->first_token + ql_span_tokens(last) - first->first_token : 0;
}

ql_lane
ql_corpus_cut(const ql_corpus *c, int64_t first, int64_t tokens)
{
    ql_lane lane = {.first = first, .count = 1};

    for (ql_lane longer = lane; first + longer.count < c->span_count; lane = longer) {
        longer.count++;
        if (tokens && ql_lane_tokens(c, longer) > tokens)
            break;
    }
    return lane;
}

/* The sequence behind the tree that begins with sequence `s`: sequences that have a parent belong to it. */
static int64_t
after_tree(const ql_tokens *tokens, int64_t s)
{
    for (s++; tokens->parent && s < tokens->count && tokens->parent[s] >= 0;)
        s++;
    return s;
}

/* Parents of a chunk's sequences, counted from its first one. */
static ql_status
move_parents(ql_ctx *cx, const ql_tokens *tokens, ql_span *span)
{
    int64_t *parents = tokens->parent ? ql_alloc(cx, (size_t)span->seqs.count, sizeof *parents) : NULL;

    if (!parents)
        return tokens->parent ? QL_MEMORY : QL_OK;
    for (int64_t i = 0; i < span->seqs.count; i++) {
        const int64_t p = tokens->parent[span->first_sequence + i];

        parents[i] = p < 0 ? -1 : p - span->first_sequence;
    }
    span->seqs.parent = parents;
    return QL_OK;
}

ql_status
ql_corpus_make(ql_ctx *cx, const ql_tokens *tokens, int64_t chunk_tokens, ql_corpus *out)
{
    const int64_t *at = tokens->offsets;
    uint64_t both[8] = {0};
    ql_span *spans = ql_alloc(cx, (size_t)tokens->count, sizeof *spans);

    if (!spans)
        return QL_MEMORY;
    *out = (ql_corpus){.tokens = *tokens, .spans = spans};
    for (int64_t s = 0, end; s < tokens->count; s = end) {
        int64_t *offsets;

        for (int64_t next = end = after_tree(tokens, s); next < tokens->count;) {
            next = after_tree(tokens, next);
            if (at[next] - at[s] > chunk_tokens)
                break;
            end = next;
        }
        offsets = ql_alloc(cx, (size_t)(end - s) + 1, sizeof *offsets);
        if (!offsets)
            return QL_MEMORY;
        for (int64_t i = s; i <= end; i++)
            offsets[i - s] = at[i] - at[s];
        spans[out->span_count] = (ql_span){
            .seqs = {.count = end - s, .offsets = offsets, .first = tokens->first ? tokens->first + s : NULL},
            .first_sequence = s,
            .first_token = at[s],
        };
        QL_TRY(cx, move_parents(cx, tokens, &spans[out->span_count++]));
    }
    ql_hash_bytes(at, (size_t)(tokens->count + 1) * sizeof *at, both);
    ql_hash_bytes(tokens->ids, (size_t)at[tokens->count] * sizeof *tokens->ids, both + 2);
    if (tokens->parent)
        ql_hash_bytes(tokens->parent, (size_t)tokens->count * sizeof *tokens->parent, both + 4);
    if (tokens->questions)
        ql_hash_bytes(tokens->questions->targets,
                      (size_t)tokens->questions->target_count * sizeof *tokens->questions->targets, both + 6);
    if (tokens->scored)
        ql_hash_bytes(tokens->scored, (size_t)at[tokens->count], both + 6);
    ql_hash_bytes(both, tokens->parent || tokens->scored ? sizeof both : 4 * sizeof *both, out->key);
    return QL_OK;
}

/* Questions that name what is there. */
static bool
sound_questions(const ql_questions *q, int64_t tokens, int64_t vocab)
{
    bool fine = q->document_count >= 0 && q->request_count >= 0 && q->scored_count >= 0 && q->target_count >= 0;

    for (int64_t i = 0; fine && i < q->scored_count; i++)
        fine = q->scored[i] < tokens && q->scored[i] >= (i ? q->scored[i - 1] : 0);
    for (int64_t i = 0; fine && i < q->target_count; i++) {
        const ql_scored_word *t = &q->targets[i];

        fine = t->row >= 0 && t->row < q->scored_count && t->request >= 0 && t->request < q->request_count &&
               t->id >= 0 && t->id < vocab;
    }
    for (int64_t i = 0; fine && i < q->request_count; i++)
        fine = q->requests[i].document >= 0 && q->requests[i].document < q->document_count;
    for (int64_t i = 0, next = 0; fine && i < q->document_count; next += q->documents[i++].request_count) {
        const ql_document *d = &q->documents[i];

        fine = d->first_request == next && d->request_count >= 0 && d->request_count <= q->request_count - next;
        for (int64_t k = 0; fine && k < d->gold_count; k++)
            fine = d->gold[k] >= 0 && d->gold[k] < d->request_count;
    }
    return fine;
}

/* What a plugin gave can be walked over. */
static ql_status
check_tokens(ql_ctx *cx, const ql_tokens *t, int64_t vocab)
{
    const ql_seqs seqs = {.count = t->count, .offsets = t->offsets, .first = t->first, .parent = t->parent};

    if (t->count < 1 || (t->offsets && t->offsets[t->count] < 1))
        return QL_FAIL(cx, QL_INVALID, "no sequence came out of %lld documents (%lld were too short)",
                       (long long)t->documents, (long long)t->rejected);
    if (!t->offsets || !t->ids)
        return QL_FAIL(cx, QL_BUG, "the plugin gave sequences without their offsets or ids");
    QL_TRY(cx, ql_seqs_check(cx, "the plugin's tokens", &seqs, t->offsets[t->count]));
    for (int64_t i = 0; i < t->offsets[t->count]; i++)
        if (t->ids[i] < 0 || t->ids[i] >= vocab)
            return QL_FAIL(cx, QL_INVALID, "token id %d at position %lld is outside the vocabulary of %lld", t->ids[i],
                           (long long)i, (long long)vocab);
    return t->questions && !sound_questions(t->questions, t->offsets[t->count], vocab)
               ? QL_FAIL(cx, QL_BUG, "the plugin gave questions that name what is not there")
               : QL_OK;
}

/* Reads data node `n`; errors and log lines name the stage. INVALID when there is no sequence. */
static ql_status
read_data(ql_ctx *cx, const ql_node *n, const ql_data_request *req, int64_t vocab, ql_tokens *out)
{
    const ql_lent lent[] = {{"parameters", n->self, n->plugin->self_size}, {0}};
    ql_site site = ql_node_site(n, ql_format(cx, "%s (%s)", n->name, n->plugin->name));
    ql_guard guard;
    ql_status st;

    *out = (ql_tokens){.bos_id = -1};
    site.node[0] = site.node[1] = 0; /* no cell can be left out for it */
    QL_TRY(cx, ql_guard_open(cx, n->foreign, lent, &guard));
    ql_enter(cx, site);
    st = n->plugin->data->read(cx, n->self, req, out);
    ql_leave(cx, (ql_site){0});
    st = ql_guard_close(cx, &guard, st);
    if (st == QL_OK)
        st = check_tokens(cx, out, vocab);
    return st == QL_OK ? st : ql_where(cx, st, "stage '%s' (%s)", n->name, n->plugin->name);
}

/* Prompts to go on with are for evaluators of texts, and nothing else is. */
static ql_status
check_kind(ql_ctx *cx, const ql_node *data, const ql_node *reader, const ql_questions *questions)
{
    const bool texts = reader->plugin->evaluator->said != NULL;

    if (texts == (questions->generates != NULL))
        return QL_OK;
    return QL_FAIL(
        cx, QL_INVALID,
        texts ? "stage '%s' (%s): judges texts that a model generates, but the task '%s' of stage '%s' asks for none"
              : "stage '%s' (%s): scores answers that are given, but the task '%s' of stage '%s' asks for texts: "
                "use the evaluator 'generate'",
        reader->name, reader->plugin->name, questions->task, data->name);
}

/* Questions are for evaluators that score answers, plain texts for all others. */
static ql_status
check_reader(ql_ctx *cx, const ql_node *data, const ql_node *reader, const ql_tokens *read)
{
    const bool answers = reader && reader->plugin->evaluator->questions;

    if (answers == (read->questions != NULL) && answers)
        return check_kind(cx, data, reader, read->questions);
    if (answers == (read->questions != NULL))
        return QL_OK;
    if (answers)
        return QL_FAIL(cx, QL_INVALID,
                       "stage '%s' (%s): scores the questions of a task, but stage '%s' (%s) gives plain text",
                       reader->name, reader->plugin->name, data->name, data->plugin->name);
    return QL_FAIL(cx, QL_INVALID, "stage '%s' (%s): gives the questions of a task, which '%s' can't read", data->name,
                   data->plugin->name, reader ? reader->plugin->name : "calib:");
}

int
ql_tokens_lend(const ql_tokens *t, ql_lent *out)
{
    const size_t count = (size_t)t->count, ids = (size_t)t->offsets[count];
    const ql_questions *q = t->questions;
    const ql_lent lent[QL_TOKENS_LENT] = {
        {"ids", t->ids, ids * sizeof *t->ids},
        {"scored", t->scored, t->scored ? ids : 0},
        {"offsets", t->offsets, (count + 1) * sizeof *t->offsets},
        {"first", t->first, t->first ? count * sizeof *t->first : 0},
        {"parent", t->parent, t->parent ? count * sizeof *t->parent : 0},
        {"questions", q, sizeof *q},
        {"documents", q ? q->documents : NULL, q ? (size_t)q->document_count * sizeof *q->documents : 0},
        {"requests", q ? q->requests : NULL, q ? (size_t)q->request_count * sizeof *q->requests : 0},
        {"targets", q ? q->targets : NULL, q ? (size_t)q->target_count * sizeof *q->targets : 0},
    };

    memcpy(out, lent, sizeof lent);
    return QL_TOKENS_LENT;
}

/* The evaluator's own tokens, made of the data stage's. */
static ql_status
change_tokens(ql_walk *w, const ql_node *reader, const ql_tokens *read, ql_tokens *out)
{
    const ql_plugin *p = reader->plugin;
    const ql_site before = w->cx->site;
    ql_lent lent[QL_TOKENS_LENT + 2] = {0};
    ql_guard guard;
    ql_status st;

    lent[ql_tokens_lend(read, lent)] = (ql_lent){"parameters", reader->self, p->self_size};
    QL_TRY(w->cx, ql_guard_open(w->cx, reader->foreign, lent, &guard));
    (void)ql_enter(w->cx, ql_node_site(reader, NULL));
    st = p->evaluator->tokens(w->cx, reader->self, read, out);
    ql_leave(w->cx, before);
    st = ql_guard_close(w->cx, &guard, st);
    if (st == QL_OK)
        st = check_tokens(w->cx, out, w->model->info.vocab);
    return st == QL_OK ? st : ql_where(w->cx, st, "stage '%s' (%s)", reader->name, p->name);
}

/* The data stage's tokens, with the evaluator's BOS rule and its own change. */
static ql_status
read_tokens(ql_walk *w, const ql_node *data, const ql_node *reader, ql_tokens *out)
{
    const ql_evaluator *ev = reader ? reader->plugin->evaluator : NULL;
    const ql_data_request req = {
        .tokenizer = w->tokenizer,
        .bos = ev && ev->bos ? ev->bos(reader->self) : QL_BOS_DATA,
        .max_positions = w->model->info.max_positions,
        .chunk_tokens = w->graph->chunk_tokens,
        .apart = w->model->info.by_length,
        .seed = data->seed,
    };
    ql_tokens read;

    QL_TRY(w->cx, read_data(w->cx, data, &req, w->model->info.vocab, &read));
    QL_TRY(w->cx, check_reader(w->cx, data, reader, &read));
    *out = read;
    return ev && ev->tokens ? change_tokens(w, reader, &read, out) : QL_OK;
}

/* Do two readers ask for the same tokens of the same data? */
static bool
same_reader(const ql_node *a, const ql_node *b)
{
    return a == b || (a && b && strcmp(a->canonical, b->canonical) == 0);
}

ql_status
ql_corpus_open(ql_walk *w, const ql_node *data, const ql_node *reader, const ql_corpus **out)
{
    ql_corpus *made = ql_alloc(w->cx, 1, sizeof *made);
    ql_tokens tokens;

    if (!made)
        return QL_MEMORY;
    for (int64_t i = 0; i < w->reading_count; i++)
        if (w->readings[i].data == data && same_reader(w->readings[i].reader, reader)) {
            *out = w->readings[i].corpus;
            return QL_OK;
        }
    QL_TRY(w->cx, read_tokens(w, data, reader, &tokens));
    QL_TRY(w->cx, ql_corpus_make(w->cx, &tokens, w->graph->chunk_tokens, made));
    *out = made;
    for (int64_t i = 0; i < w->reading_count; i++)
        if (!tokens.questions && !w->readings[i].reader == !reader &&
            memcmp(w->readings[i].corpus->key, made->key, sizeof made->key) == 0)
            *out = w->readings[i].corpus;
    w->readings[w->reading_count++] = (ql_reading){.data = data, .reader = reader, .corpus = *out};
    return QL_OK;
}
