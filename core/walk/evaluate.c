/* Evaluation inside the walk: streams of test tokens through every final model, and the evaluators that read them. */
#include <stdlib.h>
#include <string.h>

#include "tensor/tensor.h"
#include "walk.h"

/* NULL for an exporter. */
static const ql_evaluator *
evaluator(const ql_evaluation *e)
{
    return e->plan->node->plugin->kind == QL_EVALUATOR ? e->plan->node->plugin->evaluator : NULL;
}

static const ql_path *
path_of(const ql_walk *w, const ql_evaluation *e)
{
    return &w->plan->paths[e->plan->path];
}

bool
ql_evaluation_failed(const ql_walk *w, const ql_evaluation *e)
{
    const ql_path *p = path_of(w, e);

    return e->failed || ql_unit_failed(w, p->compensator ? p->compensator : p->quantizer);
}

/* After a call that came back with `st`: a numerical failure stays in the cell. */
static ql_status
settle(ql_walk *w, ql_evaluation *e, ql_status st)
{
    if (st == QL_OK)
        return st;
    (void)ql_where(w->cx, st, "stage '%s' (%s)", e->plan->node->name, e->plan->node->plugin->name);
    return ql_stays_in_cell(st) ? ql_fail_cell(w, &e->failed) : st;
}

/* --- opening --- */

/* The tokens that evaluator `e` scores: the data stage's, with the evaluator's BOS rule and its own change. */
static ql_status
tokens_of(ql_walk *w, const ql_evaluation *e, const ql_node *data, ql_tokens *out)
{
    const ql_evaluator *ev = evaluator(e);
    const ql_data_request req = {
        .tokenizer = w->tokenizer,
        .bos = ev->bos ? ev->bos(e->plan->node->self) : QL_BOS_DATA,
        .max_positions = w->model->info.max_positions,
        .seed = data->seed,
    };
    ql_tokens read;

    QL_TRY(w->cx, ql_corpus_read(w->cx, data, &req, &read));
    *out = read;
    return ev->tokens ? ev->tokens(w->cx, e->plan->node->self, &read, out) : QL_OK;
}

static ql_status
find_exam(ql_walk *w, ql_evaluation *e, const ql_node *data)
{
    ql_exam *exam = &w->exams[w->exam_count];
    ql_tokens tokens;

    QL_TRY(w->cx, tokens_of(w, e, data, &tokens));
    QL_TRY(w->cx, ql_corpus_make(w->cx, &tokens, w->graph->chunk_tokens, &exam->corpus));
    for (int64_t i = 0; i < w->exam_count && !e->exam; i++)
        if (memcmp(w->exams[i].corpus.key, exam->corpus.key, sizeof exam->corpus.key) == 0)
            e->exam = &w->exams[i];
    if (e->exam)
        return QL_OK;
    exam->data = data;
    exam->streams = ql_alloc(w->cx, (size_t)w->plan->path_count, sizeof *exam->streams);
    e->exam = exam;
    w->exam_count++;
    return exam->streams ? QL_OK : QL_MEMORY;
}

/* An earlier evaluation of the same data by the same rule has read the tokens already. */
static ql_exam *
known_exam(const ql_walk *w, const ql_evaluation *e)
{
    const ql_node *n = e->plan->node;

    for (const ql_evaluation *o = w->evaluations; o < e; o++)
        if (o->exam && strcmp(o->plan->node->canonical, n->canonical) == 0 &&
            ql_node_input(o->plan->node, "data") == ql_node_input(n, "data"))
            return o->exam;
    return NULL;
}

static bool
is_original(const ql_path *p)
{
    return !p->quantizer && !p->written;
}

/* Index of the original among the paths, -1 when nobody asked for it. */
static int64_t
original_path(const ql_plan *plan)
{
    for (int64_t i = 0; i < plan->path_count; i++)
        if (is_original(&plan->paths[i]))
            return i;
    return -1;
}

static ql_status
open_streams(ql_walk *w, ql_evaluation *e)
{
    const int64_t original = original_path(w->plan);
    ql_stream *streams = e->exam->streams, *parent = NULL;

    if (evaluator(e)->needs_reference && !streams[original].corpus)
        QL_TRY(w->cx, ql_stream_open(w, &e->exam->corpus, NULL, &streams[original]));
    if (original >= 0 && original != e->plan->path && streams[original].corpus)
        parent = &streams[original];
    if (!streams[e->plan->path].corpus)
        QL_TRY(w->cx, ql_stream_open(w, &e->exam->corpus, parent, &streams[e->plan->path]));
    return QL_OK;
}

static ql_status
begin(ql_walk *w, ql_evaluation *e)
{
    const ql_evaluator *ev = evaluator(e);
    const ql_path *p = path_of(w, e);
    const ql_node *end = p->written       ? p->written
                         : p->compensator ? p->compensator->node
                         : p->quantizer   ? p->quantizer->node
                                          : w->plan->root;
    ql_eval_info info = {.tokens = &e->exam->corpus.tokens, .folder = w->folder};
    ql_status st;

    info.cell = ql_format(w->cx, "%s-%016llx", e->plan->node->name, (unsigned long long)end->key[0]);
    e->state = ql_alloc(w->cx, 1, ev->state_size ? ev->state_size : 1);
    if (!info.cell || !e->state)
        return QL_MEMORY;
    ql_scope_enter(w->cx, &e->scope);
    st = ev->begin ? ev->begin(w->cx, e->plan->node->self, &info, e->state) : QL_OK;
    (void)ql_scope_leave(w->cx, &e->scope, QL_OK);
    return settle(w, e, st);
}

static ql_status
begin_export(ql_walk *w, ql_evaluation *e)
{
    ql_status st;

    ql_scope_enter(w->cx, &e->scope);
    st = ql_export_begin(w, e);
    (void)ql_scope_leave(w->cx, &e->scope, QL_OK);
    if (st != QL_OK) /* nothing has run yet, so the whole run stops here */
        (void)ql_where(w->cx, st, "stage '%s' (%s)", e->plan->node->name, e->plan->node->plugin->name);
    return st;
}

ql_status
ql_evaluate_open(ql_walk *w)
{
    const size_t n = (size_t)w->plan->eval_count;

    w->exams = ql_alloc(w->cx, n, sizeof *w->exams);
    if (!w->exams)
        return QL_MEMORY;
    for (size_t i = 0; i < n; i++) {
        ql_evaluation *e = &w->evaluations[i];
        const ql_node *data = ql_node_input(e->plan->node, "data");

        if (!evaluator(e)) {
            if (w->folder)
                QL_TRY(w->cx, begin_export(w, e));
            continue;
        }
        if (evaluator(e)->linear || !data || e->told)
            continue;
        if (!(e->exam = known_exam(w, e)))
            QL_TRY(w->cx, find_exam(w, e, data));
        QL_TRY(w->cx, open_streams(w, e));
        QL_TRY(w->cx, begin(w, e));
    }
    return QL_OK;
}

void
ql_evaluate_close(ql_walk *w)
{
    for (int64_t i = 0; w->evaluations && i < w->plan->eval_count; i++) {
        ql_evaluation *e = &w->evaluations[i];

        ql_export_close(w->cx, e->files);
        ql_scope_enter(w->cx, &e->scope);
        ql_scope_close(w->cx, &e->scope);
        ql_facts_fini(&e->facts);
        free(e->failed);
    }
    for (int64_t i = 0; i < w->exam_count; i++)
        for (int64_t p = w->plan->path_count; p-- > 0;)
            ql_stream_close(&w->exams[i].streams[p]);
}

/* --- block by block --- */

static ql_status
forward(ql_walk *w, int64_t path, ql_stream *s)
{
    const ql_path *p = &w->plan->paths[path];
    const ql_weight *const *as;
    ql_meter meter;
    ql_scope scope;

    if (!s->dead && ql_unit_failed(w, p->compensator ? p->compensator : p->quantizer))
        ql_stream_kill(s);
    if (s->dead || (s->parent && !ql_path_differs(w, p, -1)))
        return QL_OK;
    QL_TRY(w->cx, ql_meter_start(w, &meter));
    ql_stream_fork(s);
    ql_scope_open(w->cx, &scope);
    QL_TRY(w->cx, ql_path_weights(w, p, -1, &as));
    QL_TRY(w->cx, ql_stream_forward(w, s, as));
    ql_scope_close(w->cx, &scope);
    return ql_meter_stop(w, &meter, &s->cost);
}

/* What the evaluator finds of one linear goes to the results at once. */
static ql_status
rate(ql_walk *w, const ql_evaluation *e, const ql_linear_result *in)
{
    ql_facts facts = {0};
    ql_status st = evaluator(e)->linear(w->cx, e->plan->node->self, in, &facts);

    if (st == QL_OK && w->folder)
        st = ql_results_add(w->results, e->node, w->layer, in->name, &facts);
    ql_facts_fini(&facts);
    return st;
}

static ql_status
evaluate_linear(ql_walk *w, ql_evaluation *e, int l)
{
    const int subset = w->model->info.linears[l].subset;
    const ql_gathered *g = e->plan->stream < 0 ? NULL : *ql_gather_at(w, e->plan->stream, subset);
    ql_linear_result in;

    w->cx->linear = ql_block_name(w->block, l);
    w->cx->seed = e->plan->node->seed;
    w->cx->layer = ql_block_layer(w->block);
    w->cx->subset = subset;
    w->cx->index = l;
    QL_TRY(w->cx, ql_path_linear(w, path_of(w, e), l, &in));
    in.stats = g ? &g->stats : NULL;
    if (!evaluator(e) && !w->folder)
        return QL_OK;
    if (!evaluator(e))
        return e->plan->node->plugin->exporter->linear(w->cx, e->plan->node->self, &in, e->state);
    return rate(w, e, &in);
}

static ql_status
evaluate_linears(ql_walk *w, ql_evaluation *e)
{
    ql_meter meter;

    QL_TRY(w->cx, ql_meter_start(w, &meter));
    for (int l = 0; l < w->model->info.linear_count && !ql_evaluation_failed(w, e); l++) {
        ql_scope scope;
        ql_status st;

        ql_scope_open(w->cx, &scope);
        st = evaluate_linear(w, e, l);
        if (st != QL_OK)
            (void)ql_where(w->cx, st, "%s", w->cx->linear);
        ql_scope_close(w->cx, &scope);
        w->cx->linear = NULL;
        QL_TRY(w->cx, settle(w, e, st));
    }
    return ql_meter_stop(w, &meter, &e->cost);
}

ql_status
ql_evaluate_block(ql_walk *w)
{
    for (int64_t x = 0; x < w->exam_count; x++)
        for (int64_t p = 0; p < w->plan->path_count; p++)
            ql_stream_block_begin(&w->exams[x].streams[p]);
    for (int64_t p = 0; p < w->plan->path_count;
         p++) { /* paths of one quantizer are neighbours: its W^ is decoded once */
        for (int64_t x = 0; x < w->exam_count; x++)
            if (w->exams[x].streams[p].corpus)
                QL_TRY(w->cx, forward(w, p, &w->exams[x].streams[p]));
        for (int64_t i = 0; i < w->plan->eval_count; i++)
            if (w->plan->evals[i].path == p && ql_replay_rates(w, &w->evaluations[i]))
                QL_TRY(w->cx, evaluate_linears(w, &w->evaluations[i]));
        if (p + 1 == w->plan->path_count || w->plan->paths[p + 1].quantizer != w->plan->paths[p].quantizer)
            ql_unit_forget_decoded(w);
    }
    for (int64_t x = 0; x < w->exam_count; x++)
        for (int64_t p = 0; p < w->plan->path_count; p++)
            ql_stream_block_end(&w->exams[x].streams[p]);
    return QL_OK;
}

/* --- the end of the model --- */

static ql_status
score(ql_walk *w, ql_evaluation *e, ql_eval_chunk *chunk)
{
    ql_meter meter;
    ql_scope scope;
    ql_status st;

    if (ql_evaluation_failed(w, e))
        return QL_OK;
    QL_TRY(w->cx, ql_meter_start(w, &meter));
    ql_scope_enter(w->cx, &e->scope);
    ql_scope_open(w->cx, &scope);
    st = evaluator(e)->chunk(w->cx, e->plan->node->self, chunk, e->state);
    ql_scope_close(w->cx, &scope);
    (void)ql_scope_leave(w->cx, &e->scope, QL_OK);
    if (st == QL_OK || ql_stays_in_cell(st))
        QL_TRY(w->cx, ql_meter_stop(w, &meter, &e->cost));
    return settle(w, e, st);
}

static ql_status
score_chunk(ql_walk *w, ql_exam *exam, int64_t c, const ql_ends *ends)
{
    const int64_t original = original_path(w->plan);
    const ql_span *span = &exam->corpus.spans[c];
    ql_eval_chunk chunk = {
        .seqs = &span->seqs,
        .ids = exam->corpus.tokens.ids + span->first_token,
        .first_sequence = span->first_sequence,
        .first_token = span->first_token,
        .head = ends->head,
    };
    ql_tensor *ref = NULL, *h, *x;

    if (original >= 0 && exam->streams[original].corpus) {
        QL_TRY(w->cx, ql_rest_wake(w->cx, exam->streams[original].h[c], &h));
        QL_TRY(w->cx, ql_model_norm(w->cx, w->model, ends, h, &ref));
        chunk.ref = ref;
    }
    for (int64_t p = 0; p < w->plan->path_count; p++) {
        ql_stream *s = &exam->streams[p];
        ql_scope scope;

        if (!s->corpus || s->dead)
            continue;
        QL_TRY(w->cx, ql_check_interrupt(w->cx));
        ql_scope_open(w->cx, &scope);
        chunk.x = ref;
        if (p != original && !s->parent) {
            QL_TRY(w->cx, ql_rest_wake(w->cx, s->h[c], &h));
            QL_TRY(w->cx, ql_model_norm(w->cx, w->model, ends, h, &x));
            chunk.x = x;
        }
        for (int64_t i = 0; i < w->plan->eval_count; i++)
            if (w->evaluations[i].exam == exam && w->plan->evals[i].path == p)
                QL_TRY(w->cx, score(w, &w->evaluations[i], &chunk));
        ql_scope_close(w->cx, &scope);
    }
    return QL_OK;
}

static ql_status
finish(ql_walk *w, ql_evaluation *e)
{
    const ql_tokens *t = &e->exam->corpus.tokens;
    ql_status st;
    ql_scope scope;

    if (ql_evaluation_failed(w, e))
        return QL_OK;
    ql_scope_enter(w->cx, &e->scope);
    ql_scope_open(w->cx, &scope);
    st = evaluator(e)->end(w->cx, e->plan->node->self, e->state, &e->facts);
    ql_scope_close(w->cx, &scope);
    (void)ql_scope_leave(w->cx, &e->scope, QL_OK);
    if (st == QL_OK) {
        QL_TRY(w->cx, ql_fact_note(w->cx, &e->facts, "bos", t->bos ? "yes" : "no"));
        QL_TRY(w->cx, ql_fact_note(w->cx, &e->facts, "seqlen", ql_format(w->cx, "%lld", (long long)t->seqlen)));
        QL_TRY(w->cx, ql_fact_note(w->cx, &e->facts, "dtype", ql_dtype_name(w->cx->device->info.compute_dtype)));
        QL_TRY(w->cx, ql_fact_note(w->cx, &e->facts, QL_NOTE_DATA,
                                   ql_format(w->cx, "%016llx%016llx", (unsigned long long)e->exam->corpus.key[0],
                                             (unsigned long long)e->exam->corpus.key[1])));
    }
    QL_TRY(w->cx, settle(w, e, st));
    return e->failed ? QL_OK : ql_replay_scored(w, e);
}

static ql_status
end_export(ql_walk *w, ql_evaluation *e)
{
    ql_scope scope;
    ql_meter meter;
    ql_status st;

    if (ql_evaluation_failed(w, e))
        return QL_OK;
    ql_scope_open(w->cx, &scope);
    QL_TRY(w->cx, ql_meter_start(w, &meter));
    st = ql_export_end(w, e);
    if (st == QL_OK || ql_stays_in_cell(st))
        QL_TRY(w->cx, ql_meter_stop(w, &meter, &e->cost));
    ql_scope_close(w->cx, &scope);
    QL_TRY(w->cx, settle(w, e, st));
    return e->failed ? QL_OK : ql_replay_scored(w, e);
}

static ql_status
score_all(ql_walk *w)
{
    ql_scope scope;
    ql_ends ends;

    if (w->exam_count == 0)
        return QL_OK;
    ql_scope_open(w->cx, &scope);
    QL_TRY(w->cx, ql_model_ends(w->cx, w->model, &ends));
    for (int64_t x = 0; x < w->exam_count; x++)
        for (int64_t c = 0; c < w->exams[x].corpus.span_count; c++) {
            ql_scope inner;

            ql_scope_open(w->cx, &inner);
            QL_TRY(w->cx, score_chunk(w, &w->exams[x], c, &ends));
            ql_scope_close(w->cx, &inner);
        }
    for (int64_t i = 0; i < w->plan->eval_count; i++)
        if (w->evaluations[i].exam && w->folder)
            QL_TRY(w->cx, finish(w, &w->evaluations[i]));
    ql_scope_close(w->cx, &scope);
    return QL_OK;
}

ql_status
ql_evaluate_end(ql_walk *w)
{
    QL_TRY(w->cx, score_all(w));
    for (int64_t i = 0; i < w->plan->eval_count; i++)
        if (!evaluator(&w->evaluations[i]) && w->folder)
            QL_TRY(w->cx, end_export(w, &w->evaluations[i]));
    return QL_OK;
}
