/* Units at work: one quantizer or compensator on one linear, what it leaves, and what a path makes of it. */
#include <fnmatch.h>
#include <string.h>

#include "plugin/registry.h"
#include "tensor/tensor.h"
#include "walk.h"

/* --- overrides --- */

const ql_override *
ql_override_of(const ql_node *n, const char *linear)
{
    for (int64_t i = 0; i < n->override_count; i++)
        if (fnmatch(n->overrides[i].match, linear, 0) == 0)
            return &n->overrides[i];
    return NULL;
}

/* For linear l of the current block, which only a stage with rules asks for its name. */
static const ql_override *
rule_of(const ql_walk *w, const ql_node *n, int64_t l)
{
    return n->override_count ? ql_override_of(n, ql_block_name(w->block, (int)l)) : NULL;
}

bool
ql_node_skips(const ql_walk *w, const ql_node *n, int64_t l)
{
    const ql_override *o = rule_of(w, n, l);

    return o && o->skip;
}

static const void *
self_of(const ql_walk *w, const ql_node *n, int64_t l)
{
    const ql_override *o = rule_of(w, n, l);

    return o ? o->self : n->self;
}

bool
ql_path_differs(const ql_walk *w, const ql_path *path, int subset)
{
    if (path->written)
        return true;
    for (int l = 0; path->quantizer && l < w->model->info.linear_count; l++)
        if ((subset < 0 || w->model->info.linears[l].subset == subset) && !ql_node_skips(w, path->quantizer->node, l))
            return true;
    return false;
}

/* --- results --- */

static void
adopt(ql_tensor **t)
{
    *t = *t ? ql_tensor_ref(*t) : NULL;
}

static void
drop(ql_tensor **t)
{
    ql_tensor_unref(*t);
    *t = NULL;
}

static void
adopt_qlinear(ql_qlinear *q)
{
    adopt(&q->codes);
    adopt(&q->scales);
    adopt(&q->zeros);
    adopt(&q->g_idx);
    adopt(&q->levels);
    adopt(&q->b);
    adopt(&q->a);
}

static void
forget(ql_result *r)
{
    drop(&r->q.codes);
    drop(&r->q.scales);
    drop(&r->q.zeros);
    drop(&r->q.g_idx);
    drop(&r->q.levels);
    drop(&r->q.b);
    drop(&r->q.a);
    drop(&r->b);
    drop(&r->a);
    drop(&r->what);
    *r = (ql_result){0};
}

void
ql_unit_forget_decoded(ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->unit_count; i++)
        for (int l = 0; l < w->model->info.linear_count; l++)
            drop(&w->work[i].results[l].what);
}

void
ql_unit_forget_results(ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->unit_count; i++)
        for (int l = 0; l < w->model->info.linear_count; l++)
            forget(&w->work[i].results[l]);
}

const char *
ql_unit_failed(const ql_walk *w, const ql_unit *u)
{
    if (!u)
        return NULL;
    if (w->work[u->id].failed)
        return w->work[u->id].failed;
    return ql_unit_failed(w, u->quantizer);
}

ql_path
ql_unit_path(const ql_walk *w, const ql_unit *u)
{
    ql_unit *self = w->plan->units[u->id];

    return u->quantizer ? (ql_path){.quantizer = u->quantizer, .compensator = self} : (ql_path){.quantizer = self};
}

static ql_result *
result_of(ql_walk *w, const ql_unit *u, int64_t l)
{
    return &w->work[u->id].results[l];
}

/* --- what a path has --- */

ql_result *
ql_path_result(ql_walk *w, const ql_path *path, int64_t l)
{
    ql_result *r;

    if (path->compensator && (r = result_of(w, path->compensator, l))->q.codes)
        return r;
    if (path->quantizer && (r = result_of(w, path->quantizer, l))->q.codes)
        return r;
    return NULL;
}

static ql_status
decode(ql_walk *w, ql_result *r, const ql_tensor **out)
{
    if (!r->what) {
        ql_scope scope;
        ql_tensor *t;

        ql_scope_open(w->cx, &scope);
        QL_TRY(w->cx, ql_group_decode(w->cx, &r->q, &t));
        if (ql_dtype_of(t) != QL_F32)
            QL_TRY(w->cx, ql_convert(w->cx, t, QL_F32, &t));
        r->what = ql_tensor_ref(t);
        ql_scope_close(w->cx, &scope);
    }
    *out = r->what;
    return QL_OK;
}

ql_status
ql_path_what(ql_walk *w, const ql_path *path, int64_t l, const ql_tensor **what, const ql_result **from)
{
    ql_result *r = ql_path_result(w, path, l);

    *from = r;
    if (!r)
        return ql_block_weight(w->cx, w->block, (int)l, false, what);
    return decode(w, r, what);
}

/* In the device's compute dtype, in the innermost scope. */
static ql_status
to_compute(ql_walk *w, const ql_tensor *t, const ql_tensor **out)
{
    const ql_dtype d = w->cx->device->info.compute_dtype;
    ql_tensor *made;

    *out = t;
    if (!t || ql_dtype_of(t) == d)
        return QL_OK;
    QL_TRY(w->cx, ql_convert(w->cx, t, d, &made));
    *out = made;
    return QL_OK;
}

void
ql_path_adapter(ql_walk *w, const ql_path *path, int64_t l, const ql_tensor **b, const ql_tensor **a)
{
    const ql_result *r = path->compensator ? result_of(w, path->compensator, l) : NULL;

    *b = *a = NULL;
    if (r) { /* a compensator replaces what its quantizer brought */
        *b = r->b;
        *a = r->a;
    } else if ((r = ql_path_result(w, path, l))) {
        *b = r->q.b;
        *a = r->q.a;
    }
}

ql_status
ql_path_linear(ql_walk *w, const ql_path *path, int64_t l, ql_linear_result *out)
{
    const ql_result *from = NULL;

    *out = (ql_linear_result){.name = ql_block_name(w->block, (int)l),
                              .layer = ql_block_layer(w->block),
                              .k = -1,
                              .file_dtype = ql_block_dtype(w->block, (int)l)};
    QL_TRY(w->cx, ql_block_weight(w->cx, w->block, (int)l, false, &out->w));
    QL_TRY(w->cx, ql_path_what(w, path, l, &out->what, &from));
    ql_path_adapter(w, path, l, &out->b, &out->a);
    if (from) {
        out->qlinear = &from->q;
        out->status = from->status;
    }
    if (path->compensator) {
        out->k = result_of(w, path->compensator, l)->k;
        out->status |= result_of(w, path->compensator, l)->status;
    }
    return QL_OK;
}

/* As the files of an export have it. */
static ql_status
written_weight(ql_walk *w, const ql_path *path, int64_t l, ql_weight *out)
{
    const ql_node *x = path->written;
    ql_linear_result in;
    ql_tensor *made;

    QL_TRY(w->cx, ql_path_linear(w, path, l, &in));
    QL_TRY(w->cx, x->plugin->exporter->weight(w->cx, x->self, &in, &made));
    return to_compute(w, made, &out->w);
}

ql_status
ql_path_weight(ql_walk *w, const ql_path *path, int64_t l, ql_weight *out, bool *differs)
{
    const ql_tensor *what, *b, *a;
    ql_result *r = ql_path_result(w, path, l);

    *out = (ql_weight){0};
    if (path->written) {
        *differs = true;
        return written_weight(w, path, l, out);
    }
    *differs = r != NULL;
    if (!r)
        return QL_OK;
    QL_TRY(w->cx, decode(w, r, &what));
    ql_path_adapter(w, path, l, &b, &a);
    QL_TRY(w->cx, to_compute(w, what, &out->w));
    QL_TRY(w->cx, to_compute(w, b, &out->b));
    return to_compute(w, a, &out->a);
}

/* --- running --- */

static const ql_stats *
stats_of(ql_walk *w, const ql_unit *u, int64_t l)
{
    return u->stream < 0 ? NULL : &(*ql_gather_at(w, u->stream, w->model->info.linears[l].subset))->stats;
}

static ql_status
check_finite(ql_walk *w, const ql_tensor *t, const char *what)
{
    int64_t at = -1;

    if (t)
        QL_TRY(w->cx, ql_nonfinite(w->cx, t, &at));
    return at < 0 ? QL_OK : QL_FAIL(w->cx, QL_NUMERIC, "element %lld of the %s is not finite", (long long)at, what);
}

static ql_status
check_adapter(ql_walk *w, const ql_tensor *b, const ql_tensor *a, const ql_tensor *weight)
{
    if (!b && !a)
        return QL_OK;
    if (!b || !a || ql_dim(b, 0) != ql_dim(weight, 0) || ql_dim(a, 1) != ql_dim(weight, 1) ||
        ql_dim(b, 1) != ql_dim(a, 0))
        return QL_FAIL(w->cx, QL_BUG, "the plugin returned an adapter of another shape than the weight");
    QL_TRY(w->cx, check_finite(w, b, "adapter's B"));
    return check_finite(w, a, "adapter's A");
}

/* Rounds an adapter to the stage's `adapter_dtype`, fp16 where it has no such parameter. */
static ql_status
round_adapter(ql_walk *w, const ql_node *n, ql_tensor **b, ql_tensor **a)
{
    const ql_dtype dtype = ql_float_dtype(ql_param_int(n->plugin, self_of(w, n, w->linear), "adapter_dtype", 0));

    if (!*b || !*a)
        return QL_OK;
    QL_TRY(w->cx, ql_convert(w->cx, *b, dtype, b));
    return ql_convert(w->cx, *a, dtype, a);
}

static ql_status
check_qlinear(ql_walk *w, const ql_qlinear *q, const ql_tensor *weight)
{
    if (!q->codes || !q->scales || (!q->zeros && !q->levels))
        return QL_FAIL(w->cx, QL_BUG, "the plugin returned no codes, scales or zeros");
    if (ql_dim(q->codes, 0) != ql_dim(weight, 0) || ql_dim(q->codes, 1) != ql_dim(weight, 1))
        return QL_FAIL(w->cx, QL_BUG, "the plugin returned codes of another shape than the weight");
    QL_TRY(w->cx, check_finite(w, q->scales, "scales"));
    return check_adapter(w, q->b, q->a, weight);
}

/* Parameters of a driven quantizer: its own, but what it calls by the same name as its driver comes from there. */
static ql_status
driven_self(ql_walk *w, const ql_stage *s, const void **out)
{
    const ql_plugin *own = s->node->plugin, *driver = s->driver->plugin;
    const char *from = self_of(w, s->driver, w->linear);
    char *self = ql_alloc(w->cx, 1, own->self_size);

    if (!self)
        return QL_MEMORY;
    memcpy(self, self_of(w, s->node, w->linear), own->self_size);
    for (const ql_param *row = own->params; row->type != QL_T_END; row++) {
        const ql_param *same = ql_param_find(driver, row->name);

        if (same && same->type == row->type && ql_param_shared(QL_QUANTIZER, row->name))
            memcpy(self + row->offset, from + same->offset, ql_param_size(row));
    }
    *out = self;
    return QL_OK;
}

/* Calls the plugin of quantizer stage `s`; what it makes lies in the innermost scope. */
static ql_status
call_quantizer(ql_walk *w, const ql_stage *s, const ql_tensor *weight, const ql_stats *stats, ql_qlinear *out)
{
    const ql_quantizer *q = s->node->plugin->quantizer;
    const ql_stage *outer = w->cx->base, base = {.node = ql_node_input(s->node, "base"), .driver = s->node};
    const void *self = self_of(w, s->node, w->linear);
    ql_tensor **const made[] = {&out->codes, &out->scales, &out->zeros, &out->g_idx, &out->levels, &out->b, &out->a};
    ql_scope scope;
    ql_status st;

    *out = (ql_qlinear){0};
    if (s->driver)
        QL_TRY(w->cx, driven_self(w, s, &self));
    w->cx->base = base.node ? &base : NULL;
    ql_scope_open(w->cx, &scope); /* a driver calls again and again */
    st = q->quantize(w->cx, self, weight, q->needs & QL_NEEDS_STATS ? stats : NULL, out);
    w->cx->base = outer;
    st = ql_scope_yield(w->cx, &scope, st, made, sizeof made / sizeof *made);
    if (st != QL_OK)
        return st;
    QL_TRY(w->cx, round_adapter(w, s->node, &out->b, &out->a));
    return check_qlinear(w, out, weight);
}

/* Statistics of fewer tokens than columns can't have full rank, whatever a method makes of them. */
static unsigned
stats_status(const ql_stats *stats)
{
    return stats && stats->tokens < ql_dim(stats->h, 0) ? QL_NUM_DEFICIENT : 0u;
}

static ql_status
run_compensator(ql_walk *w, const ql_unit *u, ql_result *r)
{
    const ql_compensator *c = u->node->plugin->compensator;
    const ql_path upstream = {.quantizer = u->quantizer};
    const ql_result *from;
    ql_compensate_in in = {
        .w = w->weight, .quantizer = &w->work[u->quantizer->id].stage, .stats = stats_of(w, u, w->linear)};
    ql_adapter made = {.k = -1};

    QL_TRY(w->cx, ql_path_what(w, &upstream, w->linear, &in.what, &from));
    QL_TRY(w->cx, c->compensate(w->cx, self_of(w, u->node, w->linear), &in, &made));
    QL_TRY(w->cx, round_adapter(w, u->node, &made.b, &made.a));
    QL_TRY(w->cx, check_adapter(w, made.b, made.a, w->weight));
    r->b = made.b ? ql_tensor_ref(made.b) : NULL;
    r->a = made.a ? ql_tensor_ref(made.a) : NULL;
    if (c->couples) {
        QL_TRY(w->cx, check_qlinear(w, &made.qlinear, w->weight));
        r->q = made.qlinear;
        adopt_qlinear(&r->q);
    }
    r->own = made.status | (c->couples ? made.qlinear.status : 0u) | stats_status(in.stats) | w->cx->remarks;
    r->status = r->own | (!c->couples && from ? from->status : 0u);
    r->k = made.k;
    return QL_OK;
}

static ql_status
run_quantizer(ql_walk *w, const ql_unit *u, ql_result *r)
{
    const ql_tensor *weight = w->weight;
    const ql_stats *stats = stats_of(w, u, w->linear);
    double norm;

    if (u->node->plugin->quantizer->needs & QL_RAW_DTYPE)
        QL_TRY(w->cx, ql_block_weight(w->cx, w->block, (int)w->linear, true, &weight));
    QL_TRY(w->cx, call_quantizer(w, &w->work[u->id].stage, weight, stats, &r->q));
    QL_TRY(w->cx, ql_dot(w->cx, w->weight, w->weight, &norm));
    r->q.status |= (norm == 0 ? QL_NUM_ZERO : 0u) | stats_status(stats) | w->cx->remarks;
    r->status = r->own = r->q.status;
    r->k = -1;
    adopt_qlinear(&r->q);
    return QL_OK;
}

/* Every linear ends with a status: what its own unit did is logged and counted. */
static void
report_status(ql_walk *w, const ql_unit *u, const ql_result *r)
{
    ql_tally *tally = &w->work[u->id].block;

    for (int i = 0; i < QL_NUM_COUNT; i++)
        tally->statuses[i] += r->own >> i & 1;
    tally->linears++;
    if (r->own & QL_NUM_DAMP_RAISED)
        ql_warn(w->cx, "damping raised to %g", r->q.damp);
    if (r->own & QL_NUM_FLOORED)
        ql_warn(w->cx, "H needed a floor under its diagonal, damping %g", r->q.damp);
    if (r->own & QL_NUM_ZERO)
        ql_warn(w->cx, "the weight is zero");
    if (r->own & QL_NUM_DEAD)
        ql_info(w->cx, "%lld input columns saw no value", (long long)r->q.dead);
    if (r->own & QL_NUM_DEFICIENT)
        ql_info(w->cx, "H is rank-deficient: %lld tokens for %lld columns",
                (long long)stats_of(w, u, w->linear)->tokens, (long long)ql_dim(w->weight, 1));
}

bool
ql_stays_in_cell(ql_status st)
{
    return st == QL_NUMERIC || st == QL_INVALID || st == QL_UNSUPPORTED;
}

ql_status
ql_fail_cell(ql_walk *w, char **failed)
{
    const size_t bytes = strlen(ql_error(w->cx)) + 1;
    char *text = ql_heap(w->cx, bytes, 1);

    if (!text)
        return QL_MEMORY;
    *failed = memcpy(text, ql_error(w->cx), bytes);
    ql_error_clear(w->cx);
    ql_warn(w->cx, "%s: its cells are marked failed, the others go on", text);
    return QL_OK;
}

ql_status
ql_unit_run(ql_walk *w, const ql_unit *u, int64_t l)
{
    ql_ctx *cx = w->cx;
    ql_work *work = &w->work[u->id];
    ql_result *r = &work->results[l];
    const bool quantizer = u->node->plugin->kind == QL_QUANTIZER;
    ql_meter meter;
    ql_scope scope;
    ql_status st;

    if (!ql_replay_runs(w, u) || ql_unit_failed(w, u))
        return QL_OK;
    *r = (ql_result){.k = -1};
    r->skipped = ql_node_skips(w, quantizer ? u->node : u->quantizer->node, l) || ql_node_skips(w, u->node, l);
    if (r->skipped)
        return QL_OK;
    QL_TRY(cx, ql_meter_start(w, &meter));
    ql_scope_open(cx, &scope);
    w->linear = l;
    cx->linear = ql_block_name(w->block, (int)l);
    cx->who = u->node->label;
    cx->seed = u->node->seed;
    cx->layer = ql_block_layer(w->block);
    cx->subset = w->model->info.linears[l].subset;
    cx->index = l;
    cx->remarks = 0;
    st = ql_block_weight(cx, w->block, (int)l, false, &w->weight);
    if (st == QL_OK)
        st = quantizer ? run_quantizer(w, u, r) : run_compensator(w, u, r);
    if (st == QL_OK) {
        report_status(w, u, r);
    } else {
        (void)ql_where(cx, st, "stage '%s' (%s), %s", u->node->name, u->node->plugin->name, cx->linear);
        r->q = (ql_qlinear){0}; /* what a failed call left belongs to its scope */
    }
    ql_scope_close(cx, &scope);
    cx->linear = cx->who = NULL;
    if (st != QL_OK && !ql_stays_in_cell(st))
        return st; /* whose text a device that has failed would replace */
    QL_TRY(cx, ql_meter_stop(w, &meter, &work->block.cost));
    return st == QL_OK ? QL_OK : ql_fail_cell(w, &work->failed);
}

/* --- for plugins --- */

const ql_stage *
ql_base(const ql_ctx *cx)
{
    return cx->base;
}

static ql_status
borrow(ql_ctx *cx, ql_tensor **t)
{
    return *t ? ql_tensor_borrow(cx, *t, t) : QL_OK;
}

ql_status
ql_quantize(ql_ctx *cx, const ql_stage *q, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    ql_walk *walk = cx->walk;

    if (!walk)
        return QL_FAIL(cx, QL_BUG, "no walk is under way");
    if (!q->unit || stats || w != walk->weight)
        return call_quantizer(walk, q, w, stats || !q->unit ? stats : stats_of(walk, q->unit, walk->linear), out);
    *out = result_of(walk, q->unit, walk->linear)->q;
    QL_TRY(cx, borrow(cx, &out->codes));
    QL_TRY(cx, borrow(cx, &out->scales));
    QL_TRY(cx, borrow(cx, &out->zeros));
    QL_TRY(cx, borrow(cx, &out->g_idx));
    QL_TRY(cx, borrow(cx, &out->levels));
    QL_TRY(cx, borrow(cx, &out->b));
    return borrow(cx, &out->a);
}
