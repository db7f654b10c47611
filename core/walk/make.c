/* Stages at work: one quantizer or compensator on one linear, and what it leaves, checked. */
#include <string.h>

#include "plugin/registry.h"
#include "tensor/tensor.h"
#include "walk.h"

/* --- what plugins leave --------------------------------------------------------------------------------------- */

static ql_status
check_finite(ql_ctx *cx, const ql_tensor *t, const char *what)
{
    int64_t at = -1;

    if (t)
        QL_TRY(cx, ql_nonfinite(cx, t, &at));
    return at < 0 ? QL_OK : QL_FAIL(cx, QL_NUMERIC, "element %lld of the %s is not finite", (long long)at, what);
}

static ql_status
check_adapter(ql_ctx *cx, const ql_tensor *b, const ql_tensor *a, const ql_tensor *weight)
{
    if (!b && !a)
        return QL_OK;
    if (!b || !a || ql_dim(b, 0) != ql_dim(weight, 0) || ql_dim(a, 1) != ql_dim(weight, 1) ||
        ql_dim(b, 1) != ql_dim(a, 0))
        return QL_FAIL(cx, QL_BUG, "the plugin returned an adapter of another shape than the weight");
    QL_TRY(cx, check_finite(cx, b, "adapter's B"));
    return check_finite(cx, a, "adapter's A");
}

static ql_status
check_qlinear(ql_ctx *cx, const ql_qlinear *q, const ql_tensor *weight)
{
    if (!q->codes || !q->scales || (!q->zeros && !q->levels))
        return QL_FAIL(cx, QL_BUG, "the plugin returned no codes, scales or zeros");
    if (ql_dim(q->codes, 0) != ql_dim(weight, 0) || ql_dim(q->codes, 1) != ql_dim(weight, 1))
        return QL_FAIL(cx, QL_BUG, "the plugin returned codes of another shape than the weight");
    QL_TRY(cx, check_finite(cx, q->scales, "scales"));
    return check_adapter(cx, q->b, q->a, weight);
}

/* Rounds an adapter to the stage's `adapter_dtype`, fp16 where it has no such parameter. */
static ql_status
round_adapter(ql_walk *w, const ql_node *n, ql_tensor **b, ql_tensor **a)
{
    const ql_dtype dtype = ql_float_dtype(ql_param_int(n->plugin, ql_self_of(w, n, w->linear), "adapter_dtype", 0));

    if (!*b || !*a)
        return QL_OK;
    QL_TRY(w->cx, ql_convert(w->cx, *b, dtype, b));
    return ql_convert(w->cx, *a, dtype, a);
}

/* The state holds the tensors from here on, whatever scope made them, and lends them for reading only. */
static void
adopt(ql_linear_state *s)
{
    ql_tensor *const all[] = {s->q.codes, s->q.scales, s->q.zeros, s->q.g_idx, s->q.levels, s->q.b, s->q.a, s->b, s->a};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i])
            ql_tensor_seal(ql_tensor_ref(all[i]));
}

/* --- calling them --------------------------------------------------------------------------------------------- */

/* Parameters of a driven quantizer: its own, but what it calls by the same name as its driver comes from there. */
static ql_status
driven_self(ql_walk *w, const ql_stage *s, const void **out)
{
    const ql_plugin *own = s->node->plugin, *driver = s->driver->plugin;
    const char *from = ql_self_of(w, s->driver, w->linear);
    char *self = ql_alloc(w->cx, 1, own->self_size);

    if (!self)
        return QL_MEMORY;
    memcpy(self, ql_self_of(w, s->node, w->linear), own->self_size);
    for (const ql_param *row = own->params; row->type != QL_T_END; row++) {
        const ql_param *same = ql_param_find(driver, row->name);

        if (same && same->type == row->type && ql_shared_row(QL_QUANTIZER, row->name))
            memcpy(self + row->offset, from + same->offset, ql_param_size(row));
    }
    *out = self;
    return QL_OK;
}

/* What a call of the stage's plugin is lent, beside tensors, is its parameters and the statistics. */
static ql_status
open_guard(ql_walk *w, const ql_node *n, const void *self, const ql_stats *stats, ql_guard *out)
{
    const ql_lent lent[] = {
        {"parameters", self, n->plugin->self_size}, {"statistics", stats, stats ? sizeof *stats : 0}, {0}};

    return ql_guard_open(w->cx, n->foreign, lent, out);
}

/* Calls the plugin of quantizer stage `s`; what it makes lies in the innermost scope. */
static ql_status
call_quantizer(ql_walk *w, const ql_stage *s, const ql_tensor *weight, const ql_stats *stats, ql_qlinear *out)
{
    const ql_quantizer *q = s->node->plugin->quantizer;
    const ql_stage *outer = w->cx->base, base = {.node = ql_node_input(s->node, "base"), .driver = s->node};
    const void *self = ql_self_of(w, s->node, w->linear);
    ql_tensor **const made[] = {&out->codes, &out->scales, &out->zeros, &out->g_idx, &out->levels, &out->b, &out->a};
    ql_scope scope;
    ql_guard guard;
    ql_status st;

    *out = (ql_qlinear){0};
    if (s->driver)
        QL_TRY(w->cx, driven_self(w, s, &self));
    QL_TRY(w->cx, open_guard(w, s->node, self, stats, &guard));
    w->cx->base = base.node ? &base : NULL;
    ql_scope_open(w->cx, &scope); /* a driver calls again and again */
    st = q->quantize(w->cx, self, weight, q->needs & QL_NEEDS_STATS ? stats : NULL, out);
    w->cx->base = outer;
    st = ql_guard_close(w->cx, &guard, st);
    st = ql_scope_yield(w->cx, &scope, st, made, sizeof made / sizeof *made);
    if (st != QL_OK)
        return st;
    if (!out->codes && q->yields & QL_KEEPS_WEIGHT)
        return QL_OK;
    QL_TRY(w->cx, round_adapter(w, s->node, &out->b, &out->a));
    return check_qlinear(w->cx, out, weight);
}

/* Statistics of fewer tokens than columns can't have full rank, whatever a method makes of them. */
static unsigned
stats_status(const ql_stats *stats)
{
    return stats && stats->tokens < ql_dim(stats->h, 0) ? QL_NUM_DEFICIENT : 0u;
}

static ql_status
compensate(ql_walk *w, ql_variant *v, const ql_stats *stats, ql_linear_state *s)
{
    const ql_compensator *c = v->stage->plugin->compensator;
    const ql_linear_state *codes = ql_variant_codes(v->parent, w->linear);
    ql_variant *q = ql_variant_quantizer(v->parent);
    ql_stage quantizer = {.node = q->stage, .variant = q};
    ql_compensate_in in = {.w = w->weight, .quantizer = &quantizer, .stats = stats};
    const void *self = ql_self_of(w, v->stage, w->linear);
    ql_adapter made = {.k = -1};
    ql_described said;
    ql_guard guard;

    QL_TRY(w->cx, ql_variant_decoded(w, v->parent, w->linear, &in.what));
    QL_TRY(w->cx, open_guard(w, v->stage, self, stats, &guard));
    QL_TRY(w->cx, ql_guard_close(w->cx, &guard, c->compensate(w->cx, self, &in, &made)));
    QL_TRY(w->cx, round_adapter(w, v->stage, &made.b, &made.a));
    QL_TRY(w->cx, check_adapter(w->cx, made.b, made.a, w->weight));
    if (!made.b && ql_node_describe(v->stage, w->cx->site.linear, ql_dim(w->weight, 1), &said) && said.rank > 0)
        return QL_FAIL(w->cx, QL_BUG, "the plugin returned no adapter, and describes one");
    if (c->couples)
        QL_TRY(w->cx, check_qlinear(w->cx, &made.qlinear, w->weight));
    *s = (ql_linear_state){.b = made.b, .a = made.a, .k = made.k};
    if (c->couples)
        s->q = made.qlinear;
    s->own = made.status | s->q.status | stats_status(stats) | w->cx->remarks;
    s->status = s->own | (!c->couples && codes ? codes->status : 0u);
    return QL_OK;
}

static ql_status
quantize(ql_walk *w, ql_variant *v, const ql_stats *stats, ql_linear_state *s)
{
    const ql_stage stage = {.node = v->stage, .variant = v};
    const ql_tensor *weight = w->weight;
    ql_qlinear q;
    double norm;

    if (v->stage->plugin->quantizer->needs & QL_RAW_DTYPE)
        QL_TRY(w->cx, ql_lend_weight(w, w->linear, true, &weight));
    QL_TRY(w->cx, call_quantizer(w, &stage, weight, stats, &q));
    QL_TRY(w->cx, ql_dot(w->cx, w->weight, w->weight, &norm));
    q.status |= (norm == 0 ? QL_NUM_ZERO : 0u) | stats_status(stats) | w->cx->remarks;
    *s = (ql_linear_state){.q = q, .status = q.status, .own = q.status, .k = -1};
    return QL_OK;
}

/* --- one linear of a variant ---------------------------------------------------------------------------------- */

/* Every linear ends with a status: what its own stage did is logged and counted. */
static void
report_status(ql_walk *w, ql_variant *v, const ql_stats *stats, const ql_linear_state *s)
{
    for (int i = 0; i < QL_NUM_COUNT; i++)
        v->block.statuses[i] += s->own >> i & 1;
    v->block.linears++;
    if (s->own & QL_NUM_DAMP_RAISED)
        ql_warn(w->cx, "damping raised to %g", s->q.damp);
    if (s->own & QL_NUM_FLOORED)
        ql_warn(w->cx, "H needed a floor under its diagonal, damping %g", s->q.damp);
    if (s->own & QL_NUM_ZERO)
        ql_warn(w->cx, "the weight is zero");
    if (s->own & QL_NUM_DEAD)
        ql_info(w->cx, "%lld input columns saw no value", (long long)s->q.dead);
    if (s->own & QL_NUM_DEFICIENT)
        ql_info(w->cx, "H is rank-deficient: %lld tokens for %lld columns", (long long)stats->tokens,
                (long long)ql_dim(w->weight, 1));
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

static ql_status
make_linear(ql_walk *w, ql_variant *v, int64_t l, ql_linear_state *s)
{
    const ql_stats *stats = ql_stats_at(w, v->calib, l);

    w->linear = l;
    QL_TRY(w->cx, ql_lend_weight(w, l, false, &w->weight));
    if (v->stage->plugin->kind == QL_QUANTIZER)
        QL_TRY(w->cx, quantize(w, v, stats, s));
    else
        QL_TRY(w->cx, compensate(w, v, stats, s));
    report_status(w, v, stats, s);
    adopt(s);
    return QL_OK;
}

ql_status
ql_variant_make(ql_walk *w, ql_variant *v, int64_t l)
{
    ql_ctx *cx = w->cx;
    ql_linear_state *s = &v->linears[l];
    ql_meter meter;
    ql_scope scope;
    ql_status st;

    if (!ql_need_variant(w, v) || ql_variant_failed(v))
        return QL_OK;
    *s = (ql_linear_state){.k = -1, .skipped = ql_variant_skips(w, v, l)};
    if (s->skipped)
        return QL_OK;
    QL_TRY(cx, ql_meter_start(w, &meter));
    ql_scope_open(cx, &scope);
    ql_enter(cx, ql_site_at(w, v->title, v->stage, l));
    cx->remarks = 0;
    st = make_linear(w, v, l, s);
    if (st != QL_OK)
        (void)ql_where(cx, st, "stage '%s' (%s), %s", v->stage->name, v->stage->plugin->name, cx->site.linear);
    ql_scope_close(cx, &scope);
    ql_leave(cx, (ql_site){0});
    if (st != QL_OK && !ql_stays_in_cell(st))
        return st; /* whose text a device that has failed would replace */
    QL_TRY(cx, ql_meter_stop(w, &meter, &v->block.cost));
    return st == QL_OK ? QL_OK : ql_fail_cell(w, &v->failed);
}

/* --- for plugins ---------------------------------------------------------------------------------------------- */

const ql_stage *
ql_base(const ql_ctx *cx)
{
    return cx->base;
}

/* The stage's own result for the unchanged weight, borrowed. */
static ql_status
own_result(ql_walk *w, const ql_variant *v, ql_qlinear *out)
{
    ql_tensor **const all[] = {&out->codes, &out->scales, &out->zeros, &out->g_idx, &out->levels, &out->b, &out->a};

    *out = v->linears[w->linear].q;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (*all[i])
            QL_TRY(w->cx, ql_tensor_borrow(w->cx, *all[i], all[i]));
    return QL_OK;
}

ql_status
ql_quantize(ql_ctx *cx, const ql_stage *q, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    ql_walk *walk = cx->walk;

    if (!walk)
        return QL_FAIL(cx, QL_BUG, "no walk is under way");
    if (q->node->plugin->quantizer->yields & QL_KEEPS_WEIGHT)
        return QL_FAIL(cx, QL_INVALID, "stage '%s' (%s) keeps every weight as it is: there is nothing to quantize with",
                       q->node->name, q->node->plugin->name);
    if (q->variant && !stats && w == walk->weight)
        return own_result(walk, q->variant, out);
    if (q->variant && !stats)
        stats = ql_stats_at(walk, q->variant->calib, walk->linear);
    return call_quantizer(walk, q, w, stats, out);
}
