/* One walk over one model: streams are opened, blocks go by, numbers are collected. */
#include "run.h"

#include <stdlib.h>
#include <string.h>

#include "tensor/tensor.h"
#include "text/tokenizer.h"
#include "walk.h"

/* --- opening --- */

static int64_t
token_count(const ql_corpus *c)
{
    return c->tokens.offsets[c->tokens.count];
}

/* The original's stream of the same data: what another stream is equal to at first. It has to go as far. */
static ql_stream *
parent_of(ql_walk *w, int64_t s)
{
    const ql_stream_plan *plan = w->plan->streams;

    for (int64_t i = 0; i < w->plan->stream_count && !plan[s].kept; i++)
        if (i != s && plan[i].data == plan[s].data && plan[i].kind == QL_ORIGINAL &&
            w->replay.until[i] >= w->replay.until[s])
            return &w->streams[i];
    return NULL;
}

static ql_status
open_corpus(ql_walk *w, int64_t s, const ql_corpus **out)
{
    const ql_node *data = w->plan->streams[s].data;
    const ql_data_request req = {
        .tokenizer = w->tokenizer,
        .bos = QL_BOS_DATA,
        .max_positions = w->model->info.max_positions,
        .seed = data->seed,
    };
    ql_corpus *c;
    ql_tokens tokens;

    for (int64_t i = 0; i < w->plan->stream_count; i++)
        if (w->plan->streams[i].data == data && w->streams[i].corpus) {
            *out = w->streams[i].corpus;
            return QL_OK;
        }
    c = ql_alloc(w->cx, 1, sizeof *c);
    if (!c)
        return QL_MEMORY;
    QL_TRY(w->cx, ql_corpus_read(w->cx, data, &req, &tokens));
    QL_TRY(w->cx, ql_corpus_make(w->cx, &tokens, w->graph->chunk_tokens, c));
    *out = c;
    return QL_OK;
}

/* Units and evaluations, with nothing done yet. */
static ql_status
open_work(ql_walk *w)
{
    w->work = ql_alloc(w->cx, (size_t)w->plan->unit_count, sizeof *w->work);
    w->evaluations = ql_alloc(w->cx, (size_t)w->plan->eval_count, sizeof *w->evaluations);
    if (!w->work || !w->evaluations)
        return QL_MEMORY;
    for (int64_t i = 0; i < w->plan->unit_count; i++) {
        w->work[i].stage = (ql_stage){.node = w->plan->units[i]->node, .unit = w->plan->units[i]};
        w->work[i].results = ql_alloc(w->cx, (size_t)w->model->info.linear_count, sizeof(ql_result));
        if (!w->work[i].results)
            return QL_MEMORY;
    }
    for (int64_t i = 0; i < w->plan->eval_count; i++)
        w->evaluations[i].plan = &w->plan->evals[i];
    return QL_OK;
}

/* Originals first: the others follow them. */
static ql_status
open_streams(ql_walk *w)
{
    const int64_t n = w->plan->stream_count;

    w->streams = ql_alloc(w->cx, (size_t)n, sizeof *w->streams);
    w->gathered = ql_alloc(w->cx, (size_t)n * (size_t)w->model->info.subsets, sizeof(ql_gathered *));
    if (!w->streams || !w->gathered)
        return QL_MEMORY;
    for (int original = 1; original >= 0; original--)
        for (int64_t s = 0; s < n; s++)
            if (w->replay.until[s] > 0 && (w->plan->streams[s].kind == QL_ORIGINAL) == original) {
                const ql_corpus *corpus = NULL;

                QL_TRY(w->cx, open_corpus(w, s, &corpus));
                QL_TRY(w->cx, ql_stream_open(w, corpus, parent_of(w, s), &w->streams[s]));
            }
    return QL_OK;
}

static int64_t
calibration_stream_count(const ql_walk *w)
{
    int64_t n = 0;

    for (int64_t s = 0; s < w->plan->stream_count; s++)
        n += w->streams[s].corpus != NULL;
    return n;
}

static int64_t
exam_stream_count(const ql_walk *w)
{
    int64_t n = 0;

    for (int64_t x = 0; x < w->exam_count; x++)
        for (int64_t p = 0; p < w->plan->path_count; p++)
            n += w->exams[x].streams[p].corpus != NULL;
    return n;
}

/* --- walking --- */

/* What a visit costs, for the time that is left: its tokens, or next to nothing. */
static double
visit_cost(const ql_walk *w, const ql_visit *v)
{
    return v->stream < 0 || !w->streams[v->stream].corpus ? 1 : 3.0 * (double)token_count(w->streams[v->stream].corpus);
}

static double
exam_cost(const ql_walk *w)
{
    double sum = 1;

    for (int64_t x = 0; x < w->exam_count; x++)
        for (int64_t p = 0; p < w->plan->path_count; p++)
            if (w->exams[x].streams[p].corpus)
                sum += (double)token_count(&w->exams[x].corpus);
    return sum;
}

static double
block_cost(const ql_walk *w)
{
    double sum = exam_cost(w);

    for (int64_t v = 0; v < w->plan->visit_count; v++)
        sum += visit_cost(w, &w->plan->visits[v]);
    return sum;
}

static void
close_block(ql_walk *w)
{
    const int64_t n = w->plan->stream_count * w->model->info.subsets;

    for (int64_t i = 0; w->gathered && i < n; i++) {
        ql_gather_unref(w->cx, w->gathered[i]);
        w->gathered[i] = NULL;
    }
    for (int64_t s = 0; w->streams && s < w->plan->stream_count; s++)
        ql_stream_block_end(&w->streams[s]);
    if (w->work)
        ql_unit_forget_results(w);
    ql_block_close(w->block);
    w->block = NULL;
}

/* The block that was begun is not wanted, or not yet. */
static void
forget_next(ql_walk *w)
{
    if (w->next)
        ql_uploads_settle(w->cx);
    ql_block_close(w->next);
    w->next = NULL;
}

static ql_status
open_block(ql_walk *w)
{
    if (w->next && ql_block_layer(w->next) != w->layer)
        forget_next(w);
    w->block = w->next;
    w->next = NULL;
    return w->block ? ql_block_finish(w->cx, w->block) : ql_block_open(w->cx, w->model, w->layer, &w->block);
}

/* The next block comes nearer while this one is worked on: to the device, where that has memory of its own and room. */
static ql_status
begin_next(ql_walk *w)
{
    ql_block *next;
    ql_status st;

    if (w->layer + 1 == w->model->info.layers || ql_replay_idle(w, w->layer + 1))
        return QL_OK;
    if (w->cx->device->info.host_memory) {
        if (!w->cx->device->clock)
            ql_block_prefetch(w->cx, w->model, w->layer + 1);
        return QL_OK;
    }
    st = ql_block_begin(w->cx, w->model, w->layer + 1, &next);
    if (st == QL_MEMORY) {
        ql_debug(w->cx, "memory: %s", ql_error(w->cx));
        ql_error_clear(w->cx);
        return QL_OK;
    }
    w->next = next;
    return st;
}

static ql_status
visit_block(ql_walk *w, const char *what)
{
    ql_ctx *cx = w->cx;
    ql_meter meter;

    QL_TRY(cx, ql_meter_start(w, &meter));
    cx->holds = "weights of blocks";
    QL_TRY(cx, open_block(w));
    QL_TRY(cx, begin_next(w));
    cx->holds = "hidden states";
    QL_TRY(cx, ql_meter_stop(w, &meter, &w->load));
    for (int64_t s = 0; s < w->plan->stream_count; s++)
        ql_stream_block_begin(&w->streams[s]);
    for (int64_t v = 0; v < w->plan->visit_count; v++) {
        const ql_visit *visit = &w->plan->visits[v];

        QL_TRY(cx, ql_meter_start(w, &meter));
        QL_TRY(cx, ql_visit_run(w, visit));
        QL_TRY(cx, ql_meter_stop(w, &meter, visit->stream < 0 ? &w->load : &w->streams[visit->stream].cost));
        ql_progress_step(cx, &w->progress, visit_cost(w, visit), what);
    }
    QL_TRY(cx, ql_evaluate_block(w));
    ql_progress_step(cx, &w->progress, exam_cost(w), what);
    return QL_OK;
}

static ql_status
walk_block(ql_walk *w, int64_t layer)
{
    ql_ctx *cx = w->cx;
    const char *what = ql_format(cx, "block %lld of %lld", (long long)layer + 1, (long long)w->model->info.layers);

    if (!what)
        return QL_MEMORY;
    w->layer = layer;
    ql_debug(cx, "%s", what);
    QL_TRY(cx, ql_replay_begin(w));
    if (ql_replay_idle(w, layer))
        ql_progress_step(cx, &w->progress, block_cost(w), what);
    else
        QL_TRY(cx, visit_block(w, what));
    QL_TRY(cx, ql_replay_end(w));
    close_block(w);
    return QL_OK;
}

/* --- the whole --- */

static ql_status
walk(ql_walk *w)
{
    ql_ctx *cx = w->cx;

    QL_TRY(cx, ql_exports_check(w));
    cx->holds = "hidden states";
    QL_TRY(cx, open_work(w));
    QL_TRY(cx, ql_collect_open(w));
    QL_TRY(cx, ql_replay_open(w));
    QL_TRY(cx, open_streams(w));
    QL_TRY(cx, ql_evaluate_open(w));
    ql_info(cx, "%s: %lld blocks, %lld calibration streams, %lld evaluation streams, %lld units of work",
            w->plan->root->name, (long long)w->model->info.layers, (long long)calibration_stream_count(w),
            (long long)exam_stream_count(w), (long long)w->plan->unit_count);
    ql_progress_start(cx, &w->progress, block_cost(w) * (double)w->model->info.layers + exam_cost(w),
                      w->plan->root->name);
    for (int64_t i = 0; i < w->model->info.layers; i++) {
        ql_scope scope;

        ql_scope_open(cx, &scope);
        QL_TRY(cx, walk_block(w, i));
        ql_scope_close(cx, &scope);
    }
    QL_TRY(cx, ql_replay_finish(w));
    QL_TRY(cx, ql_evaluate_end(w));
    ql_progress_step(cx, &w->progress, exam_cost(w), NULL);
    return ql_collect(w);
}

/* What a failed walk leaves open, as well. */
static void
close_walk(ql_walk *w)
{
    if (w->progress.total > 0)
        ql_progress_end(w->cx, &w->progress);
    forget_next(w);
    close_block(w);
    ql_evaluate_close(w);
    for (int64_t s = w->plan->stream_count; w->streams && s-- > 0;)
        ql_stream_close(&w->streams[s]);
    for (int64_t i = 0; w->work && i < w->plan->unit_count; i++)
        free(w->work[i].failed);
    w->cx->device->make_room = NULL;
    w->cx->walk = NULL;
    w->cx->linear = w->cx->who = w->cx->holds = NULL;
}

/* One walk, one load: says so, or which tensor was read again. */
static void
log_reads(ql_ctx *cx, const ql_source *source)
{
    int64_t read = 0, again = 0;

    for (int64_t i = 0; i < ql_source_count(source); i++) {
        const char *name = ql_source_item(source, i)->name;
        const int64_t times = ql_source_reads(source, name);

        read += times > 0;
        again += times > 1;
        if (times > 1)
            ql_warn(cx, "%s left its file %lld times", name, (long long)times);
    }
    if (again == 0)
        ql_info(cx, "%lld tensors left their files, each once", (long long)read);
}

static void
log_parked(ql_ctx *cx)
{
    const ql_device *d = cx->device;
    char out[32], back[32];

    ql_info(cx, "memory: %s of hidden states waited on the host between blocks, %s came back",
            ql_bytes_text((size_t)d->parked, out, sizeof out), ql_bytes_text((size_t)d->unparked, back, sizeof back));
}

static ql_status
walk_model(ql_walk *w)
{
    ql_tokenizer *tokenizer;
    ql_status st;

    QL_TRY(w->cx, ql_tokenizer_open(w->cx, ql_source_folder(w->model->source), &tokenizer));
    w->tokenizer = tokenizer;
    w->cx->walk = w;
    if (!w->cx->device->info.host_memory)
        w->cx->device->make_room = ql_rest_make_room;
    st = walk(w);
    close_walk(w);
    if (w->cx->device->parked)
        log_parked(w->cx);
    if (st == QL_OK && !w->cx->device->clock)
        log_reads(w->cx, w->model->source);
    ql_tokenizer_close(tokenizer);
    return st;
}

/* A walk to be: all is planned, and marked as used in the store, before the first begins and makes room there. */
typedef struct root {
    ql_plan plan;
    ql_keys keys;
} root;

static ql_status
plan_root(ql_ctx *cx, ql_registry *registry, const ql_graph *g, const ql_node *model, const ql_store *store, root *out)
{
    const ql_keys_in in = {.registry = registry, .graph = g, .plan = &out->plan, .store = store};

    QL_TRY(cx, ql_plan_make(cx, g, model, &out->plan));
    if (!store)
        return QL_OK;
    QL_TRY(cx, ql_keys_make(cx, &in, &out->keys));
    for (int64_t i = 0; i < out->plan.unit_count; i++)
        ql_store_touch(store, out->keys.units[i]);
    return QL_OK;
}

/* One walk over an open model; again from the beginning, by replay, whenever an entry of the store turns out damaged. */
static ql_status
walk_root(ql_walk *w)
{
    const ql_walk fresh = *w;

    for (;;) {
        ql_scope scope;
        ql_status st;

        *w = fresh;
        ql_scope_open(w->cx, &scope);
        st = walk_model(w);
        ql_scope_close(w->cx, &scope);
        if (st == QL_OK || !w->replay.damaged)
            return st;
        ql_error_clear(w->cx);
    }
}

static ql_status
run_root(ql_ctx *cx, ql_registry *registry, const ql_graph *g, const root *r, const ql_run_options *opt,
         ql_results *results)
{
    const ql_node *node = r->plan.root;
    ql_model_handle model = {0};
    ql_walk w;
    ql_status st =
        ql_model_open(cx, registry, node->plugin, node->self, ql_param_text(node->plugin, node->self, "path"), &model);

    if (st != QL_OK)
        return ql_where(cx, st, "stage '%s'", node->name);
    w = (ql_walk){.cx = cx, .graph = g, .plan = &r->plan, .model = &model, .folder = opt->folder, .results = results};
    w.replay = (ql_replay){.store = opt->store, .journal = opt->journal, .keys = &r->keys};
    st = walk_root(&w);
    ql_model_close(&model);
    return st;
}

static ql_status
run_roots(ql_ctx *cx, ql_registry *registry, const ql_graph *g, const ql_run_options *opt, ql_results *results)
{
    root *roots = ql_alloc(cx, (size_t)g->node_count, sizeof *roots);
    int64_t count = 0;

    if (!roots)
        return QL_MEMORY;
    for (int64_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->plugin->kind == QL_MODEL)
            QL_TRY(cx, plan_root(cx, registry, g, g->nodes[i], opt->store, &roots[count++]));
    for (int64_t i = 0; i < count; i++) {
        ql_scope scope;

        ql_scope_open(cx, &scope);
        QL_TRY(cx, run_root(cx, registry, g, &roots[i], opt, results));
        ql_scope_close(cx, &scope);
    }
    return QL_OK;
}

ql_status
ql_run_graph(ql_ctx *cx, ql_registry *registry, const ql_graph *g, const ql_run_options *opt, ql_results *results)
{
    ql_scope scope;
    ql_status st;

    ql_scope_open(cx, &scope);
    st = run_roots(cx, registry, g, opt, results);
    ql_scope_close(cx, &scope);
    return st;
}
