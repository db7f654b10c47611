/* A graph on an open device: a plan and a walk for every model. */
#include "run.h"

#include <qloom/tokenizer.h>

#include "walk.h"

/* One pass, one load: says so, or which tensor was read again. */
static void
log_reads(ql_ctx *cx, const ql_source *source, int64_t passes)
{
    int64_t read = 0, again = 0;

    for (int64_t i = 0; i < ql_source_count(source); i++) {
        const char *name = ql_source_item(source, i)->name;
        const int64_t times = ql_source_reads(source, name);

        read += times > 0;
        again += times > passes;
        if (times > passes)
            ql_warn(cx, "%s left its file %lld times", name, (long long)times);
    }
    if (again == 0)
        ql_info(cx, "%lld tensors left their files, each once%s", (long long)read, passes > 1 ? " a pass" : "");
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
    st = w->spill.folder ? ql_spill_open(w->cx, w->spill.folder, w->cx->device->clock, &w->spill) : QL_OK;
    if (st == QL_OK)
        st = ql_walk_run(w);
    w->work->spilled = w->spill.end > w->work->spilled ? w->spill.end : w->work->spilled;
    ql_spill_close(&w->spill);
    if (w->cx->device->parked)
        log_parked(w->cx);
    if (st == QL_OK && !w->cx->device->clock)
        log_reads(w->cx, w->model->source, w->reads);
    ql_tokenizer_close(tokenizer);
    return st;
}

/* One walk over an open model; again from the beginning whenever an entry of the store turns out damaged, and is gone. */
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
        if (st != QL_INVALID || !w->damaged)
            return st;
        ql_error_clear(w->cx);
        QL_TRY(w->cx, ql_check_interrupt(w->cx));
    }
}

static ql_status
run_root(ql_ctx *cx, ql_registry *registry, const ql_graph *g, const ql_plan *plan, const ql_run_options *opt,
         ql_results *results)
{
    const ql_node *node = plan->root;
    ql_model_handle model = {0};
    ql_run_work work = {0};
    ql_walk w = {.cx = cx, .registry = registry, .graph = g, .plan = plan, .model = &model};
    ql_status st =
        ql_model_open(cx, registry, node->plugin, node->self, ql_param_text(node->plugin, node->self, "path"), &model);

    if (st != QL_OK)
        return ql_where(cx, st, "stage '%s'", node->name);
    w.layers = model.info.layers;
    if (opt->layers && opt->layers < model.info.layers)
        model.info.layers = opt->layers;
    w.spill = (ql_spill){.folder = opt->spill, .file = -1};
    w.work = opt->work ? opt->work : &work;
    w.folder = opt->folder;
    w.lane_tokens = opt->store || !opt->folder ? opt->lane_tokens : 0; /* passes read the store */
    w.fails = opt->fails;
    w.fails_user = opt->user;
    w.store = opt->store;
    w.fresh = opt->fresh;
    w.journal = opt->journal;
    w.results = results;
    st = walk_root(&w);
    ql_model_close(&model);
    return st;
}

/* What the plan is about is marked as used in the store, before a walk begins and makes room there. */
static ql_status
plan_root(ql_ctx *cx, ql_registry *registry, const ql_graph *g, const ql_node *model, const ql_store *store,
          ql_plan *out)
{
    QL_TRY(cx, ql_plan_make(cx, g, model, out));
    if (!store)
        return QL_OK;
    QL_TRY(cx, ql_keys_make(cx, registry, g, store, out));
    for (int64_t i = 0; i < out->variant_count; i++)
        QL_TRY(cx, ql_store_touch(cx, store, out->variants[i]->key));
    return QL_OK;
}

static ql_status
run_roots(ql_ctx *cx, ql_registry *registry, const ql_graph *g, const ql_run_options *opt, ql_results *results)
{
    ql_plan *plans = ql_alloc(cx, (size_t)g->node_count, sizeof *plans);
    int64_t count = 0;

    if (!plans)
        return QL_MEMORY;
    for (int64_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->plugin->kind == QL_MODEL)
            QL_TRY(cx, plan_root(cx, registry, g, g->nodes[i], opt->store, &plans[count++]));
    for (int64_t i = 0; i < count; i++) {
        ql_followed followed = {0};
        ql_scope scope;
        ql_status st;

        ql_scope_open(cx, &scope);
        cx->followed = &followed;
        st = run_root(cx, registry, g, &plans[i], opt, results);
        cx->followed = NULL;
        ql_scope_enter(cx, &followed.memory);
        ql_scope_close(cx, &followed.memory);
        QL_TRY(cx, st);
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
