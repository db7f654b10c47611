/* From the merged graph to variants, streams and sinks, by the counting rule of the walk. */
#include "plan.h"

#include <string.h>

#include "pipeline/graph.h"

typedef struct planner {
    ql_ctx *cx;
    const ql_graph *graph;
    ql_plan *plan;
} planner;

/* --- stages --------------------------------------------------------------------------------------------------- */

const ql_node *
ql_plan_resolve(const ql_node *n)
{
    while (n && n->plugin->kind == QL_COMPENSATOR && !n->plugin->compensator->compensate)
        n = ql_node_input(n, "model");
    return n;
}

static bool
needs_stats(const ql_node *n)
{
    const ql_compensator *c = n->plugin->compensator;
    unsigned needs = 0;

    if (n->plugin->kind == QL_QUANTIZER)
        needs = n->plugin->quantizer->needs;
    if (n->plugin->kind == QL_COMPENSATOR)
        needs = c->needs_of ? c->needs_of(n->self) : c->needs;
    if (n->plugin->kind == QL_EVALUATOR)
        needs = n->plugin->evaluator->needs;
    return needs & QL_NEEDS_STATS;
}

static ql_propagate
propagate(const ql_node *n)
{
    if (n->propagate != QL_PROPAGATE_DEFAULT)
        return n->propagate;
    return n->plugin->kind == QL_QUANTIZER ? QL_QUANTIZED : QL_ORIGINAL;
}

/* Does a quantizer read what its model with the stage behind it produces? */
static bool
is_joint(const ql_node *n)
{
    return n->plugin->kind == QL_QUANTIZER && propagate(n) == QL_COMPENSATED;
}

/* The calibration data of a node: its own `calib:`, else that of the stages upstream. */
static const ql_node *
calib_of(const ql_node *n)
{
    for (; n; n = ql_node_input(n, "model")) {
        const ql_node *data = ql_node_input(n, "calib");

        if (data)
            return data;
    }
    return NULL;
}

/* --- variants ------------------------------------------------------------------------------------------------- */

bool
ql_variant_is_made(const ql_variant *v)
{
    return v->parent && !ql_variant_is_written(v);
}

bool
ql_variant_is_trained(const ql_variant *v)
{
    return v->stage->plugin->kind == QL_TRAINER;
}

bool
ql_variant_is_written(const ql_variant *v)
{
    return v->stage->plugin->kind == QL_EXPORTER;
}

ql_variant *
ql_variant_quantizer(ql_variant *v)
{
    while (v && v->stage->plugin->kind != QL_QUANTIZER)
        v = v->parent;
    return v;
}

static ql_stream *
driven_stream(const ql_variant *v)
{
    const bool couples = v->stage->plugin->kind == QL_COMPENSATOR && v->stage->plugin->compensator->couples;
    const ql_variant *q = couples ? ql_variant_quantizer(v->parent) : NULL;

    return q ? q->calib : NULL;
}

bool
ql_variant_reads(const ql_variant *v, const ql_stream *s)
{
    return v->calib == s || driven_stream(v) == s;
}

static ql_status
add_variant(planner *p, const ql_node *stage, const ql_node *heir, ql_variant *parent, ql_variant **out)
{
    *out = ql_alloc(p->cx, 1, sizeof **out);
    if (!*out)
        return QL_MEMORY;
    **out = (ql_variant){.id = p->plan->variant_count, .parent = parent, .stage = stage, .heir = heir, .visit = -1};
    (*out)->level = (parent ? parent->level : 0) + ql_variant_is_trained(*out);
    p->plan->levels = (*out)->level > p->plan->levels ? (*out)->level : p->plan->levels;
    p->plan->variants[p->plan->variant_count++] = *out;
    return QL_OK;
}

/* The variant that stage `n` ends in, found or added with those before it. `next` is the stage behind it; NULL: none that matters. */
static ql_status
find_variant(planner *p, const ql_node *n, const ql_node *next, ql_variant **out)
{
    const ql_node *heir;
    ql_variant *parent = NULL;

    n = ql_plan_resolve(n);
    heir = is_joint(n) && next && next->plugin->kind == QL_COMPENSATOR ? next : NULL;
    for (int64_t i = 0; i < p->plan->variant_count; i++) {
        *out = p->plan->variants[i];
        if ((*out)->stage == n && (*out)->heir == heir)
            return QL_OK;
    }
    if (n->plugin->kind != QL_MODEL)
        QL_TRY(p->cx, find_variant(p, ql_node_input(n, "model"), n, &parent));
    return add_variant(p, n, heir, parent, out);
}

/* Lists what descends from `parent`, families side by side: what their members share is decoded once. */
static void
list_family(const ql_plan *plan, const ql_variant *parent, ql_variant **out, int64_t *count)
{
    for (int64_t i = 0; i < plan->variant_count; i++) {
        ql_variant *v = plan->variants[i];

        if (v->parent != parent)
            continue;
        v->id = *count;
        out[(*count)++] = v;
        list_family(plan, v, out, count);
    }
}

static ql_status
order_variants(planner *p)
{
    ql_variant **ordered = ql_alloc(p->cx, (size_t)p->plan->variant_count, sizeof(ql_variant *));
    int64_t count = 0;

    if (!ordered)
        return QL_MEMORY;
    list_family(p->plan, NULL, ordered, &count);
    p->plan->variants = ordered;
    return QL_OK;
}

/* --- sinks ---------------------------------------------------------------------------------------------------- */

/* Is `s` the sink of `n` at variant `v`? Baselines of cells that differ only upstream are one. */
static bool
is_sink_of(const ql_sink *s, const ql_node *n, const ql_variant *v)
{
    return s->of == v && strcmp(s->stage->canonical, n->canonical) == 0 &&
           ql_node_input(s->stage, "data") == ql_node_input(n, "data") &&
           (!needs_stats(n) || calib_of(s->stage) == calib_of(n));
}

static void
add_sink(ql_plan *plan, const ql_node *n, ql_variant *of)
{
    for (int64_t i = 0; i < plan->sink_count; i++)
        if (is_sink_of(&plan->sinks[i], n, of))
            return;
    plan->sinks[plan->sink_count++] = (ql_sink){.stage = n, .of = of};
}

static bool
is_evaluator(const ql_node *n)
{
    return n->plugin->kind == QL_EVALUATOR;
}

static bool
is_sink(const planner *p, const ql_node *n)
{
    return (is_evaluator(n) || n->plugin->kind == QL_EXPORTER) && ql_node_before(n, QL_MODEL) == p->plan->root;
}

/* Evaluators at the original: the table's first row. One of linears would find them equal to themselves. */
static void
add_baselines(planner *p)
{
    for (int64_t i = 0; i < p->graph->node_count && p->graph->baseline; i++) {
        const ql_node *n = p->graph->nodes[i];

        if (is_sink(p, n) && is_evaluator(n) && !n->plugin->evaluator->linear)
            add_sink(p->plan, n, p->plan->variants[0]);
    }
}

static ql_status
add_sinks(planner *p)
{
    for (int64_t i = 0; i < p->graph->node_count; i++) {
        const ql_node *n = p->graph->nodes[i];
        ql_variant *of;

        if (!is_sink(p, n))
            continue;
        QL_TRY(p->cx, find_variant(p, ql_node_input(n, "model"), NULL, &of));
        add_sink(p->plan, n, of);
    }
    return QL_OK;
}

/* A trainer's numbers are wanted whether or not anything measures the model that it leaves. */
static ql_status
add_trainers(planner *p)
{
    for (int64_t i = 0; i < p->graph->node_count; i++) {
        const ql_node *n = p->graph->nodes[i];
        ql_variant *of;

        if (n->plugin->kind == QL_TRAINER && ql_node_before(n, QL_MODEL) == p->plan->root)
            QL_TRY(p->cx, find_variant(p, n, NULL, &of));
    }
    return QL_OK;
}

/* Does exporter `x` write other values than evaluator `n`, of a stream, scores otherwise? */
static bool
scores_written(const planner *p, const ql_node *n, const ql_node *x)
{
    return x->plugin->kind == QL_EXPORTER && x->plugin->exporter->weight &&
           ql_node_before(x, QL_MODEL) == p->plan->root && is_evaluator(n) && !n->plugin->evaluator->linear &&
           ql_plan_resolve(ql_node_input(n, "model")) == ql_plan_resolve(ql_node_input(x, "model"));
}

static ql_status
add_written(planner *p)
{
    const ql_graph *g = p->graph;

    for (int64_t x = 0; x < g->node_count; x++)
        for (int64_t i = 0; i < g->node_count; i++)
            if (scores_written(p, g->nodes[i], g->nodes[x])) {
                ql_variant *of;

                QL_TRY(p->cx, find_variant(p, g->nodes[x], NULL, &of));
                add_sink(p->plan, g->nodes[i], of);
            }
    return QL_OK;
}

static size_t
written_count(const planner *p)
{
    size_t count = 0;

    for (int64_t x = 0; x < p->graph->node_count; x++)
        for (int64_t i = 0; i < p->graph->node_count; i++)
            count += scores_written(p, p->graph->nodes[i], p->graph->nodes[x]);
    return count;
}

/* --- streams with statistics ---------------------------------------------------------------------------------- */

static ql_status
find_stream(planner *p, const ql_node *data, ql_variant *through, ql_stream **out)
{
    ql_plan *plan = p->plan;

    for (int64_t i = 0; i < plan->stream_count; i++) {
        *out = plan->streams[i];
        if ((*out)->data == data && (*out)->through == through)
            return QL_OK;
    }
    *out = ql_alloc(p->cx, 1, sizeof **out);
    if (!*out)
        return QL_MEMORY;
    **out = (ql_stream){.data = data, .through = through, .taps = QL_TAP_STATS};
    plan->streams[plan->stream_count++] = *out;
    return QL_OK;
}

static ql_status
no_calib(planner *p, const ql_node *n)
{
    return QL_FAIL(p->cx, QL_INVALID, "%s:%lld:%lld: stage '%s': '%s' needs statistics: give it `calib:`, a data stage",
                   n->place.file, (long long)n->place.line, (long long)n->place.column, n->name, n->plugin->name);
}

/* A stream through a joint quantizer without its heir would need, subset by subset, what the compensated stream leaves there. */
static ql_status
only_joint(planner *p, const ql_node *n, const ql_node *quantizer)
{
    return QL_FAIL(
        p->cx, QL_INVALID,
        "%s:%lld:%lld: stage '%s': propagate: quantized needs a quantizer that is not joint, but stage '%s' has "
        "propagate: compensated; use compensated or original",
        n->place.file, (long long)n->place.line, (long long)n->place.column, n->name, quantizer->name);
}

/* The variant of a joint quantizer's heir; `v` itself where it has none. */
static ql_variant *
heir_of(const ql_plan *plan, ql_variant *v)
{
    for (int64_t i = v->id + 1; v->heir && i < plan->variant_count; i++)
        if (plan->variants[i]->parent == v && plan->variants[i]->stage == v->heir)
            return plan->variants[i];
    return v;
}

/* The stream whose statistics `n` reads at variant `v`, as `propagate:` says; NULL: it needs none. */
static ql_status
stats_stream(planner *p, const ql_node *n, ql_variant *v, ql_stream **out)
{
    const ql_node *data = calib_of(n);
    ql_variant *through = p->plan->variants[0], *quantizer = ql_variant_quantizer(v);

    if (!needs_stats(n))
        return QL_OK;
    if (!data)
        return no_calib(p, n);
    if (propagate(n) == QL_COMPENSATED)
        through = heir_of(p->plan, v);
    if (propagate(n) == QL_QUANTIZED && quantizer) {
        if (quantizer->heir)
            return only_joint(p, n, quantizer->stage);
        through = quantizer;
    }
    return find_stream(p, data, through, out);
}

static int
depth(const ql_variant *v)
{
    int n = 0;

    for (; v->parent; v = v->parent)
        n++;
    return n;
}

/* Visits of a block follow the order of streams: those through the original first, for a variant's stream needs what its parent's left. */
static void
order_streams(ql_plan *plan)
{
    for (int64_t i = 0; i < plan->stream_count; i++) {
        ql_stream *s = plan->streams[i];
        int64_t at = i;

        for (; at > 0 && depth(plan->streams[at - 1]->through) > depth(s->through); at--)
            plan->streams[at] = plan->streams[at - 1];
        plan->streams[at] = s;
    }
    for (int64_t i = 0; i < plan->stream_count; i++)
        plan->streams[i]->visit = i + 1;
}

static ql_status
add_streams(planner *p)
{
    for (int64_t i = 0; i < p->plan->variant_count; i++)
        QL_TRY(p->cx, stats_stream(p, p->plan->variants[i]->stage, p->plan->variants[i], &p->plan->variants[i]->calib));
    for (int64_t i = 0; i < p->plan->sink_count; i++)
        QL_TRY(p->cx, stats_stream(p, p->plan->sinks[i].stage, p->plan->sinks[i].of, &p->plan->sinks[i].calib));
    order_streams(p->plan);
    return QL_OK;
}

static void
keep(ql_stream *s, int64_t until)
{
    if (s && s->visit < until)
        s->kept = true;
}

/* A variant is made in the first visit by which its statistics and its parent are there. */
static void
place_variants(ql_plan *plan)
{
    for (int64_t i = 0; i < plan->variant_count; i++) {
        ql_variant *v = plan->variants[i];

        if (!ql_variant_is_made(v) || ql_variant_is_trained(v))
            continue;
        v->visit = v->calib ? v->calib->visit : 0;
        if (v->parent->visit > v->visit)
            v->visit = v->parent->visit;
        keep(v->calib, v->visit);
        keep(driven_stream(v), v->visit);
    }
    for (int64_t i = 0; i < plan->sink_count; i++)
        keep(plan->sinks[i].calib, INT64_MAX);
}

/* --- the whole ------------------------------------------------------------------------------------------------ */

ql_status
ql_plan_make(ql_ctx *cx, const ql_graph *g, const ql_node *root, ql_plan *out)
{
    planner p = {.cx = cx, .graph = g, .plan = out};
    const size_t n = (size_t)g->node_count;
    ql_variant *original;

    *out = (ql_plan){.root = root};
    out->variants =
        ql_alloc(cx, 3 * n + 1, sizeof *out->variants); /* a joint quantizer is one for each stage behind it */
    out->streams = ql_alloc(cx, 4 * n + 1, sizeof *out->streams);
    out->sinks = ql_alloc(cx, 2 * n + 1 + written_count(&p), sizeof *out->sinks);
    if (!out->variants || !out->streams || !out->sinks)
        return QL_MEMORY;
    QL_TRY(cx, add_variant(&p, root, NULL, NULL, &original));
    add_baselines(&p);
    QL_TRY(cx, add_trainers(&p));
    QL_TRY(cx, add_sinks(&p));
    QL_TRY(cx, add_written(&p));
    QL_TRY(cx, order_variants(&p));
    QL_TRY(cx, add_streams(&p));
    place_variants(out);
    return QL_OK;
}

bool
ql_plan_is_read(const ql_plan *p, const ql_variant *v)
{
    for (int64_t i = 0; i < p->sink_count; i++) {
        const ql_node *n = p->sinks[i].stage;

        if (p->sinks[i].of == v || (!v->parent && is_evaluator(n) && n->plugin->evaluator->needs_reference))
            return true;
    }
    return false;
}

ql_variant *
ql_plan_variant(const ql_plan *p, const ql_node *n)
{
    for (int64_t i = 0; i < p->variant_count; i++)
        if (p->variants[i]->stage == ql_plan_resolve(n))
            return p->variants[i];
    return NULL;
}

ql_sink *
ql_plan_find(const ql_plan *p, const ql_node *n, const ql_node *end)
{
    end = ql_plan_resolve(end);
    for (int64_t i = 0; i < p->sink_count; i++)
        if (p->sinks[i].of->stage == end && is_sink_of(&p->sinks[i], n, p->sinks[i].of))
            return &p->sinks[i];
    return NULL;
}
