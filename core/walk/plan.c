/* From the merged graph to streams, visits and units of work, by the counting rule of the walk. */
#include "plan.h"

#include <string.h>

#include <qloom/exporter.h>

/* Grown in place: no more units than quantizers × compensators can exist, so arrays are sized once. */
typedef struct planner {
    ql_ctx *cx;
    const ql_graph *graph;
    ql_plan *plan;
} planner;

static bool
is_identity(const ql_node *n)
{
    return n->plugin->kind == QL_COMPENSATOR && !n->plugin->compensator->compensate;
}

const ql_node *
ql_plan_resolve(const ql_node *n)
{
    while (n && is_identity(n))
        n = ql_node_input(n, "model");
    return n;
}

const ql_node *
ql_plan_root(const ql_node *n)
{
    while (n && n->plugin->kind != QL_MODEL)
        n = ql_node_input(n, "model");
    return n;
}

static unsigned
needs(const ql_node *n)
{
    switch (n->plugin->kind) {
    case QL_QUANTIZER:
        return n->plugin->quantizer->needs;
    case QL_COMPENSATOR:
        return n->plugin->compensator->needs_of ? n->plugin->compensator->needs_of(n->self)
                                                : n->plugin->compensator->needs;
    case QL_EVALUATOR:
        return n->plugin->evaluator->needs;
    default:
        return 0;
    }
}

static ql_propagate
propagate(const ql_node *n)
{
    if (n->propagate != QL_PROPAGATE_DEFAULT)
        return n->propagate;
    return n->plugin->kind == QL_QUANTIZER ? QL_QUANTIZED : QL_ORIGINAL;
}

static bool
is_joint(const ql_node *quantizer)
{
    return propagate(quantizer) == QL_COMPENSATED;
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

static ql_unit *
add_unit(planner *p, const ql_node *node, ql_unit *quantizer)
{
    ql_plan *plan = p->plan;
    ql_unit *u = ql_alloc(p->cx, 1, sizeof *u);

    if (u) {
        *u = (ql_unit){.id = plan->unit_count, .node = node, .quantizer = quantizer, .stream = -1};
        plan->units[plan->unit_count++] = u;
    }
    return u;
}

ql_unit *
ql_plan_partner(const ql_plan *plan, const ql_unit *quantizer)
{
    for (int64_t i = 0; i < plan->unit_count && is_joint(quantizer->node); i++)
        if (plan->units[i]->quantizer == quantizer)
            return plan->units[i];
    return NULL;
}

/* The unit of a quantizer node: its only one, or for a joint one that of compensator node `comp` (NULL: bare). */
static ql_status
quantizer_unit(planner *p, const ql_node *node, const ql_node *comp, ql_unit **out)
{
    const bool own = is_joint(node) && comp;

    *out = NULL;
    for (int64_t i = 0; i < p->plan->unit_count && !*out; i++) {
        ql_unit *u = p->plan->units[i];

        if (u->node == node && !own && !ql_plan_partner(p->plan, u))
            *out = u;
        if (own && u->node == comp)
            *out = u->quantizer;
    }
    if (!*out)
        *out = add_unit(p, node, NULL);
    return *out ? QL_OK : QL_MEMORY;
}

static ql_status
compensator_unit(planner *p, const ql_node *node, ql_unit **out)
{
    const ql_node *quantizer = ql_plan_resolve(ql_node_input(node, "model"));
    ql_unit *q;

    for (int64_t i = 0; i < p->plan->unit_count; i++)
        if (p->plan->units[i]->node == node) {
            *out = p->plan->units[i];
            return QL_OK;
        }
    QL_TRY(p->cx, quantizer_unit(p, quantizer, node, &q));
    *out = add_unit(p, node, q);
    return *out ? QL_OK : QL_MEMORY;
}

/* The path that a model edge from `n` means, as exporter `written` (NULL: none) writes it; found or added. */
static ql_status
add_path(planner *p, const ql_node *n, const ql_node *written, int64_t *out)
{
    ql_plan *plan = p->plan;
    ql_path path = {.written = written};

    n = ql_plan_resolve(n);
    if (n->plugin->kind == QL_QUANTIZER)
        QL_TRY(p->cx, quantizer_unit(p, n, NULL, &path.quantizer));
    if (n->plugin->kind == QL_COMPENSATOR) {
        QL_TRY(p->cx, compensator_unit(p, n, &path.compensator));
        path.quantizer = path.compensator->quantizer;
    }
    for (*out = 0; *out < plan->path_count; ++*out)
        if (plan->paths[*out].quantizer == path.quantizer && plan->paths[*out].compensator == path.compensator &&
            plan->paths[*out].written == written)
            return QL_OK;
    plan->paths[plan->path_count++] = path;
    return QL_OK;
}

/* Found or added. A stream through a unit follows that unit's outputs; `gram`: its statistics are read. */
static int64_t
add_stream(planner *p, const ql_node *data, ql_propagate kind, ql_unit *through)
{
    ql_plan *plan = p->plan;

    for (int64_t i = 0; i < plan->stream_count; i++)
        if (plan->streams[i].data == data && plan->streams[i].through == through)
            return i;
    plan->streams[plan->stream_count] = (ql_stream_plan){.data = data, .kind = kind, .through = through, .gram = true};
    return plan->stream_count++;
}

static ql_status
no_calib(planner *p, const ql_node *n)
{
    return QL_FAIL(p->cx, QL_INVALID, "%s:%lld:%lld: stage '%s': '%s' needs statistics: give it `calib:`, a data stage",
                   n->place.file, (long long)n->place.line, (long long)n->place.column, n->name, n->plugin->name);
}

/* A stream through a joint quantizer without its compensator would need, subset by subset, what the compensated stream leaves there. */
static ql_status
only_joint(planner *p, const ql_node *n, const ql_node *quantizer)
{
    return QL_FAIL(
        p->cx, QL_INVALID,
        "%s:%lld:%lld: stage '%s': propagate: quantized needs a quantizer that is not joint, but stage '%s' has "
        "propagate: compensated; use compensated or original",
        n->place.file, (long long)n->place.line, (long long)n->place.column, n->name, quantizer->name);
}

/* The stream that `propagate:` names for `node`, on the path of units (q, c). */
static ql_status
stats_stream(planner *p, const ql_node *node, ql_unit *q, ql_unit *c, int64_t *out)
{
    const ql_node *data = calib_of(node);

    if (!data)
        return no_calib(p, node);
    switch (propagate(node)) {
    case QL_COMPENSATED:
        *out = add_stream(p, data, c ? QL_COMPENSATED : QL_QUANTIZED, c ? c : q);
        return QL_OK;
    case QL_QUANTIZED:
        if (c && is_joint(q->node))
            return only_joint(p, node, q->node);
        *out = add_stream(p, data, q ? QL_QUANTIZED : QL_ORIGINAL, q);
        return QL_OK;
    default:
        *out = add_stream(p, data, QL_ORIGINAL, NULL);
        return QL_OK;
    }
}

static ql_status
assign_streams(planner *p)
{
    ql_plan *plan = p->plan;

    for (int64_t i = 0; i < plan->unit_count; i++) {
        ql_unit *u = plan->units[i], *q = u->quantizer ? u->quantizer : u;

        if (needs(u->node) & QL_NEEDS_STATS)
            QL_TRY(p->cx, stats_stream(p, u->node, q, u->quantizer ? u : ql_plan_partner(plan, u), &u->stream));
    }
    for (int64_t i = 0; i < plan->eval_count; i++) {
        ql_eval *e = &plan->evals[i];

        if (needs(e->node) & QL_NEEDS_STATS)
            QL_TRY(p->cx, stats_stream(p, e->node, plan->paths[e->path].quantizer, plan->paths[e->path].compensator,
                                       &e->stream));
    }
    return QL_OK;
}

/* Order of visits: one without tokens, then original streams, quantizers', compensators'. */
static ql_status
order_visits(planner *p)
{
    static const ql_propagate order[] = {QL_ORIGINAL, QL_QUANTIZED, QL_COMPENSATED};
    ql_plan *plan = p->plan;

    plan->visits = ql_alloc(p->cx, (size_t)plan->stream_count + 1, sizeof *plan->visits);
    if (!plan->visits)
        return QL_MEMORY;
    plan->visits[plan->visit_count++] = (ql_visit){.stream = -1};
    for (size_t k = 0; k < sizeof order / sizeof *order; k++)
        for (int64_t s = 0; s < plan->stream_count; s++)
            if (plan->streams[s].kind == order[k]) {
                plan->streams[s].visit = plan->visit_count;
                plan->visits[plan->visit_count++] = (ql_visit){.stream = s};
            }
    return QL_OK;
}

static int64_t
later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* A unit runs in the first visit by which its statistics and its supplier's result are there. */
static ql_status
place_units(planner *p)
{
    ql_plan *plan = p->plan;

    for (int64_t i = 0; i < plan->unit_count; i++) {
        ql_unit *u = plan->units[i];
        ql_unit *q = u->quantizer;
        ql_visit *v;

        u->visit = u->stream < 0 ? 0 : plan->streams[u->stream].visit;
        if (q) {
            u->visit = later(u->visit, q->visit);
            if (u->node->plugin->compensator->couples && q->stream >= 0 && plan->streams[q->stream].visit < u->visit)
                plan->streams[q->stream].kept = true;
        }
        if (u->stream >= 0 && plan->streams[u->stream].visit < u->visit)
            plan->streams[u->stream].kept = true;
        v = &plan->visits[u->visit];
        if (!v->units && !(v->units = ql_alloc(p->cx, (size_t)plan->unit_count, sizeof *v->units)))
            return QL_MEMORY;
        v->units[v->unit_count++] = u;
    }
    for (int64_t i = 0; i < plan->eval_count; i++)
        if (plan->evals[i].stream >= 0)
            plan->streams[plan->evals[i].stream].kept = true;
    return QL_OK;
}

/* Is `e` the evaluation of `n` at path `path`? Baselines of cells that differ only upstream are one. */
static bool
same_eval(const ql_eval *e, const ql_node *n, int64_t path)
{
    return e->path == path && strcmp(e->node->canonical, n->canonical) == 0 &&
           ql_node_input(e->node, "data") == ql_node_input(n, "data") &&
           (!(needs(n) & QL_NEEDS_STATS) || calib_of(e->node) == calib_of(n));
}

/* Does an evaluator of this model compare with the original's hidden states? */
static bool
wants_reference(const planner *p)
{
    for (int64_t i = 0; i < p->graph->node_count; i++) {
        const ql_node *n = p->graph->nodes[i];

        if (n->plugin->kind == QL_EVALUATOR && n->plugin->evaluator->needs_reference &&
            ql_plan_root(n) == p->plan->root)
            return true;
    }
    return false;
}

static void
add_eval(ql_plan *plan, const ql_node *n, int64_t path)
{
    for (int64_t i = 0; i < plan->eval_count; i++)
        if (same_eval(&plan->evals[i], n, path))
            return;
    plan->evals[plan->eval_count++] = (ql_eval){.node = n, .path = path, .stream = -1};
}

static ql_status
add_evals(planner *p)
{
    ql_plan *plan = p->plan;
    int64_t original;

    if (wants_reference(p)) /* also with `baseline: false`, when no evaluation is at that path */
        QL_TRY(p->cx, add_path(p, plan->root, NULL, &original));
    for (int64_t pass = 0; pass < 2; pass++) /* the original first: it is the reference, and the table's first row */
        for (int64_t i = 0; i < p->graph->node_count; i++) {
            const ql_node *n = p->graph->nodes[i];
            int64_t path = 0;

            if ((n->plugin->kind != QL_EVALUATOR && n->plugin->kind != QL_EXPORTER) || ql_plan_root(n) != plan->root)
                continue;
            if (pass == 0 && (!p->graph->baseline || n->plugin->kind == QL_EXPORTER || n->plugin->evaluator->linear))
                continue;
            QL_TRY(p->cx, add_path(p, pass == 0 ? plan->root : ql_node_input(n, "model"), NULL, &path));
            add_eval(plan, n, path);
        }
    return QL_OK;
}

/* Does exporter `x` write other values than evaluator `n`, of a stream, scores otherwise? */
static bool
scores_written(const planner *p, const ql_node *n, const ql_node *x)
{
    return x->plugin->kind == QL_EXPORTER && x->plugin->exporter->weight && ql_plan_root(x) == p->plan->root &&
           n->plugin->kind == QL_EVALUATOR && n->plugin->evaluator->chunk &&
           ql_plan_resolve(ql_node_input(n, "model")) == ql_plan_resolve(ql_node_input(x, "model"));
}

static ql_status
add_written(planner *p)
{
    const ql_graph *g = p->graph;

    for (int64_t x = 0; x < g->node_count; x++)
        for (int64_t i = 0; i < g->node_count; i++)
            if (scores_written(p, g->nodes[i], g->nodes[x])) {
                int64_t path;

                QL_TRY(p->cx, add_path(p, ql_node_input(g->nodes[x], "model"), g->nodes[x], &path));
                add_eval(p->plan, g->nodes[i], path);
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

static int64_t
quantizer_id(const ql_path *p)
{
    return p->quantizer ? p->quantizer->id : -1;
}

/* Puts the paths of one quantizer side by side, the original first: what they share is decoded once. */
static ql_status
group_paths(planner *p)
{
    ql_plan *plan = p->plan;
    const int64_t n = plan->path_count;
    ql_path *grouped = ql_alloc(p->cx, (size_t)n, sizeof *grouped);
    int64_t *place = ql_alloc(p->cx, (size_t)n, sizeof *place), count = 0;

    if (!grouped || !place)
        return QL_MEMORY;
    for (int64_t id = -1; id < plan->unit_count; id++)
        for (int64_t i = 0; i < n; i++)
            if (quantizer_id(&plan->paths[i]) == id) {
                place[i] = count;
                grouped[count++] = plan->paths[i];
            }
    for (int64_t i = 0; i < plan->eval_count; i++)
        plan->evals[i].path = place[plan->evals[i].path];
    plan->paths = grouped;
    return QL_OK;
}

ql_status
ql_plan_make(ql_ctx *cx, const ql_graph *g, const ql_node *root, ql_plan *out)
{
    planner p = {.cx = cx, .graph = g, .plan = out};
    const size_t n = (size_t)g->node_count;

    *out = (ql_plan){.root = root};
    out->units = ql_alloc(cx, 2 * n + 1, sizeof *out->units); /* a joint quantizer has a unit a compensator */
    out->streams = ql_alloc(cx, 4 * n + 1, sizeof *out->streams);
    out->paths = ql_alloc(cx, 3 * n + 1, sizeof *out->paths);
    out->evals = ql_alloc(cx, 2 * n + 1 + written_count(&p), sizeof *out->evals);
    if (!out->units || !out->streams || !out->paths || !out->evals)
        return QL_MEMORY;
    QL_TRY(cx, add_evals(&p));
    QL_TRY(cx, add_written(&p));
    QL_TRY(cx, group_paths(&p));
    QL_TRY(cx, assign_streams(&p));
    QL_TRY(cx, order_visits(&p));
    return place_units(&p);
}

const ql_eval *
ql_plan_find(const ql_plan *p, const ql_node *n, bool baseline)
{
    for (int64_t i = 0; i < p->eval_count; i++) {
        const ql_eval *e = &p->evals[i];
        const ql_path *path = &p->paths[e->path];
        const ql_node *end = ql_plan_resolve(ql_node_input(n, "model"));
        const ql_node *unit = path->compensator ? path->compensator->node
                              : path->quantizer ? path->quantizer->node
                                                : p->root;

        if (same_eval(e, n, e->path) && unit == (baseline ? p->root : end) && !path->written)
            return e;
    }
    return NULL;
}

const ql_eval *
ql_plan_find_written(const ql_plan *p, const ql_node *n, const ql_node *x)
{
    for (int64_t i = 0; i < p->eval_count; i++)
        if (p->paths[p->evals[i].path].written == x && same_eval(&p->evals[i], n, p->evals[i].path))
            return &p->evals[i];
    return NULL;
}
