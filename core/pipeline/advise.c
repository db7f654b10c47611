/* Settings that a pipeline may have and that do nothing, or not what they seem to: warnings, which need the shapes of the
 * models. */
#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>

#include "base/guess.h"
#include "model/block.h"
#include "model/open_model.h"
#include "plugin/registry.h"
#include "graph.h"

#define ADAPTER_BITS 16 /* where the parameters of an adapter don't say */

typedef struct told { /* a place of the file, and what it has been warned of */
    ql_place place;
    const char *what; /* static */
    struct told *next;
} told;

typedef struct linear { /* of the model */
    const char *name;
    const ql_linear_info *info;
} linear;

typedef struct adviser {
    ql_ctx *cx;
    const ql_graph *g;
    told *told;
    const ql_node *root;
    ql_model_handle model;
    linear *linears; /* of all blocks, in their order */
    int64_t count;
    double weights, original; /* of all linears: their count, and their bits in the model's files */
} adviser;

/* Is it the first time? Nodes of one variant differ in what axes vary; the first of them speaks for all. */
static bool
is_new(adviser *a, const ql_node *n, const char *what)
{
    told *t = a->told;

    while (t && (strcmp(t->what, what) != 0 || t->place.line != n->place.line || t->place.column != n->place.column))
        t = t->next;
    if (t)
        return false;
    t = ql_alloc(a->cx, 1, sizeof *t);
    if (!t)
        return false;
    *t = (told){.place = n->place, .what = what, .next = a->told};
    a->told = t;
    return true;
}

/* Linears to look at: without overrides all blocks are as the first one. */
static int64_t
count_for(const adviser *a, const ql_node *n)
{
    return n->override_count || (n->plugin->kind == QL_COMPENSATOR && ql_node_input(n, "model")->override_count)
               ? a->count
               : a->model.info.linear_count;
}

/* --- rules that hold for no linear ------------------------------------------------------------------------------- */

static const char *
nearest_glob(const adviser *a, const char *match)
{
    ql_guess near = ql_guess_open(match);

    for (int l = 0; l < a->model.info.linear_count; l++) {
        const char *name = a->model.info.linears[l].name, *dot = strrchr(name, '.');
        const char *const globs[] = {a->linears[l].name, ql_format(a->cx, "*.%s", dot ? dot + 1 : name),
                                     ql_format(a->cx, "*.%s", name)};

        for (size_t i = 0; i < sizeof globs / sizeof *globs; i++)
            if (globs[i])
                ql_guess_offer(&near, globs[i]);
    }
    return ql_guess_text(a->cx, &near, "");
}

/* Rules that hold for no linear: they match none, or a rule before them takes all that they match. */
static void
advise_overrides(adviser *a, const ql_node *n)
{
    if (!n->override_count || !is_new(a, n, "overrides"))
        return;
    for (const ql_override *o = n->overrides; o < n->overrides + n->override_count; o++) {
        bool holds = false, matches = false;

        for (int64_t i = 0; i < a->count && !holds; i++) {
            matches = matches || fnmatch(o->match, a->linears[i].name, 0) == 0;
            holds = ql_override_of(n, a->linears[i].name) == o;
        }
        if (!holds && !matches)
            ql_place_warn(a->cx, o->place, "stage '%s' (%s): overrides: '%s' matches no linear of %s%s", n->name,
                          n->plugin->name, o->match, a->root->name, nearest_glob(a, o->match));
        else if (!holds)
            ql_place_warn(
                a->cx, o->place,
                "stage '%s' (%s): overrides: '%s' does nothing: rules before it take all linears that it matches",
                n->name, n->plugin->name, o->match);
    }
}

/* --- ranks and bits ---------------------------------------------------------------------------------------------- */

static void
advise_rank(adviser *a, const ql_node *n)
{
    const int64_t span = count_for(a, n);
    const linear *first = NULL;
    int64_t count = 0, side = 0;
    int rank = 0;

    for (const linear *l = a->linears; l < a->linears + span; l++) {
        const int64_t smaller = l->info->out < l->info->in ? l->info->out : l->info->in;
        ql_described d;

        if (!ql_node_describe(n, l->name, l->info->in, &d) || d.rank <= smaller)
            continue;
        if (!first) {
            first = l;
            side = smaller;
            rank = d.rank;
        }
        count += a->count / span;
    }
    if (first && is_new(a, n, "rank"))
        ql_place_warn(a->cx, n->place,
                      "stage '%s' (%s): rank %d is above the smaller side of %" PRId64 " %s, such as %s with %" PRId64
                      ": no adapter has more directions than that",
                      n->name, n->plugin->name, rank, count, count == 1 ? "linear" : "linears", first->name, side);
}

/* Groups of more columns than a linear has are whole rows there. */
static void
advise_group(adviser *a, const ql_node *n)
{
    const int64_t span = count_for(a, n);

    for (const linear *l = a->linears; n->plugin->kind == QL_QUANTIZER && l < a->linears + span; l++) {
        const ql_override *o = ql_override_of(n, l->name);
        const void *self = o ? o->self : n->self;
        const int64_t group = self ? ql_param_int(n->plugin, self, "group_size", 0) : 0;

        if (group > l->info->in && is_new(a, n, "group"))
            ql_place_warn(a->cx, n->place,
                          "stage '%s' (%s): group_size %" PRId64 " is above the %" PRId64
                          " inputs of linears such as %s, whose groups are whole rows",
                          n->name, n->plugin->name, group, l->info->in, l->name);
    }
}

static double
dtype_bits(ql_dtype d)
{
    return d == QL_DTYPE_NONE ? ADAPTER_BITS : 8.0 * (double)ql_dtype_size(d);
}

/* Bits of one linear as the stages up to `n` store it; -1: not known. */
static double
linear_bits(const ql_node *n, const linear *l)
{
    const double out = (double)l->info->out, in = (double)l->info->in;
    const ql_outcome stored = ql_node_outcome(n, l->name, l->info->in);
    const ql_grid *g = &stored.grid;
    double bits, groups;

    if (stored.skipped || g->bits == 0 || g->group == 0)
        return -1;
    groups = (double)((l->info->in + g->group - 1) / g->group);
    bits = (g->exponents ? 8 : dtype_bits(g->scale_dtype)) + (g->sym ? 0 : g->bits);
    return out * in * g->bits + out * groups * bits + (stored.rank > 0 ? ADAPTER_BITS * stored.rank * (out + in) : 0);
}

/* Is the result larger than the weights that it came from? */
static void
advise_bits(adviser *a, const ql_node *n)
{
    const int64_t span = count_for(a, n);
    double bits = 0;

    for (int64_t i = 0; i < span; i++) {
        const double more = linear_bits(n, &a->linears[i]);

        if (more < 0) /* what is left as it is, or not known, takes no part */
            return;
        bits += more * (double)(a->count / span);
    }
    if (bits > a->original && is_new(a, n, "bits"))
        ql_place_warn(a->cx, n->place,
                      "stage '%s' (%s): the result takes %.2f bits a weight, more than the %.0f of the original",
                      n->name, n->plugin->name, bits / a->weights, a->original / a->weights);
}

/* --- stages that are one ----------------------------------------------------------------------------------------- */

static bool
same_inputs(const ql_node *x, const ql_node *y)
{
    for (int64_t i = 0; i < x->input_count; i++)
        if (ql_node_input(y, x->inputs[i].port) != x->inputs[i].from)
            return false;
    return x->input_count == y->input_count;
}

static bool
are_twins(const ql_node *x, const ql_node *y)
{
    const ql_described a = ql_describe(x->plugin, x->self, 0), b = ql_describe(y->plugin, y->self, 0);

    return x->plugin != y->plugin && a.best_in && b.best_in && strcmp(a.best_in, b.best_in) == 0 && a.rank == b.rank &&
           !x->override_count && !y->override_count && x->propagate == y->propagate && x->seed == y->seed &&
           same_inputs(x, y) &&
           ql_param_int(x->plugin, x->self, "adapter_dtype", 0) == ql_param_int(y->plugin, y->self, "adapter_dtype", 0);
}

/* Two compensators that solve one problem exactly, from the same statistics, leave the same adapter. Compared are those of
 * one quantizer; `before` leads to the one before each. */
static void
advise_twins(adviser *a, const ql_node *n, const int64_t *before)
{
    for (int64_t i = before[n->id]; i > 0; i = before[i - 1]) {
        const ql_node *o = a->g->nodes[i - 1];

        if (are_twins(n, o) && is_new(a, n, "twins"))
            ql_place_warn(
                a->cx, n->place,
                "stage '%s' (%s) is one with stage '%s' (%s) by construction: both are the best adapter of rank %d "
                "in the norm of the %s, from the same statistics",
                n->name, n->plugin->name, o->name, o->plugin->name, ql_describe(n->plugin, n->self, 0).rank,
                ql_describe(n->plugin, n->self, 0).best_in);
    }
}

static ql_status
advise_compensators(adviser *a)
{
    int64_t *before = ql_alloc(a->cx, (size_t)a->g->node_count, sizeof *before); /* node + 1, 0: none */
    int64_t *last = ql_alloc(a->cx, (size_t)a->g->node_count, sizeof *last);     /* on each quantizer, likewise */

    if (!before || !last)
        return QL_MEMORY;
    for (int64_t i = 0; i < a->g->node_count; i++) {
        const ql_node *n = a->g->nodes[i], *q = n->plugin->kind == QL_COMPENSATOR ? ql_node_input(n, "model") : NULL;

        if (!q)
            continue;
        before[i] = last[q->id];
        last[q->id] = i + 1;
        advise_twins(a, n, before);
        QL_TRY(a->cx, ql_check_interrupt(a->cx));
    }
    return QL_OK;
}

/* --- all of it --------------------------------------------------------------------------------------------------- */

/* The linears of the model, and what they weigh. */
static ql_status
measure(adviser *a)
{
    const ql_model_info *info = &a->model.info;

    a->count = 0;
    a->linears = ql_alloc(a->cx, (size_t)(info->layers * info->linear_count), sizeof *a->linears);
    for (int64_t layer = 0; layer < info->layers; layer++)
        for (int l = 0; l < info->linear_count; l++) {
            const double count = (double)info->linears[l].out * (double)info->linears[l].in;
            const char *name = ql_name_in_block(a->cx, info, layer, info->linears[l].name);
            ql_dtype dtype;

            if (!a->linears || !name)
                return QL_MEMORY;
            a->linears[a->count++] = (linear){.name = name, .info = &info->linears[l]};
            QL_TRY(a->cx, ql_model_dtype(a->cx, &a->model, layer, l, &dtype));
            a->weights += count;
            a->original += count * dtype_bits(dtype);
        }
    return QL_OK;
}

/* Stages on one model. A model that can't be opened is told by the command that runs it. */
static ql_status
advise_model(adviser *a, ql_registry *registry, const ql_node *root)
{
    const char *path = ql_param_text(root->plugin, root->self, "path");
    const ql_log *log = a->cx->log;
    bool opened;
    ql_status st;

    a->root = root;
    a->model = (ql_model_handle){0};
    a->weights = a->original = 0;
    a->cx->log = NULL;
    st = ql_model_open(a->cx, registry, root->plugin, root->self, path, &a->model);
    if (st == QL_OK)
        st = measure(a);
    a->cx->log = log;
    opened = st == QL_OK;
    for (int64_t i = 0; st == QL_OK && i < a->g->node_count; i++)
        if (a->g->nodes[i]->plugin->kind == QL_EXPORTER && ql_node_before(a->g->nodes[i], QL_MODEL) == root)
            st = ql_export_check(a->cx, a->g->nodes[i], &a->model.info);
    for (int64_t i = 0; st == QL_OK && i < a->g->node_count; i++) {
        const ql_node *n = a->g->nodes[i];

        if (!ql_kind_of(n->plugin->kind)->per_linear || ql_node_before(n, QL_MODEL) != root)
            continue;
        advise_overrides(a, n);
        advise_rank(a, n);
        advise_group(a, n);
        advise_bits(a, n);
        st = ql_check_interrupt(a->cx);
    }
    ql_model_close(&a->model);
    if (opened || st == QL_MEMORY || st == QL_INTERRUPTED)
        return st;
    ql_error_clear(a->cx);
    return QL_OK;
}

ql_status
ql_graph_advise(ql_ctx *cx, ql_registry *registry, const ql_graph *g)
{
    adviser a = {.cx = cx, .g = g};
    ql_scope scope;
    ql_status st;

    ql_scope_open(cx, &scope);
    st = advise_compensators(&a);
    for (int64_t i = 0; st == QL_OK && i < g->node_count; i++)
        if (g->nodes[i]->plugin->kind == QL_MODEL)
            st = advise_model(&a, registry, g->nodes[i]);
    ql_scope_close(cx, &scope);
    return st;
}
