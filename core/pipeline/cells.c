/* Cells and their nodes: the combinations of the matrix that are not excluded. Equal stages (same plugin, parameters and
 * inputs) become one node, by a hash table of what every node is made of, if their edges keep the rules: types, and what
 * may stand on what. */
#include <stdlib.h>
#include <string.h>

#include <qloom/compensator.h>

#include "base/hash.h"
#include "build.h"

typedef struct expansion {
    ql_build *b;
    int64_t *at;   /* positions of the cell at hand */
    uint64_t seed; /* of the cell at hand */
    int64_t node_count, node_capacity, slot_count;
    ql_node **nodes; /* in the order in which they were made: inputs before users; their ids are -1 */
    int64_t *slots;  /* hash table: node + 1, or 0; its size is a power of two */
    int64_t cell_count;
    ql_cell *cells;
} expansion;

/* --- rules of edges ------------------------------------------------------------------------------------------------------- */

/* What a plugin gives: `wanted` where it has such an output, else the type of its first one. */
static ql_edge
output_type(const ql_plugin *p, ql_edge wanted)
{
    ql_edge first = QL_EDGE_NONE;
    const ql_port *port;

    if (wanted == QL_EDGE_QUANTIZER && p->kind == QL_QUANTIZER) /* the stage itself is what its driver calls */
        return wanted;
    for (int64_t i = 0; (port = ql_port_at(p, i)) != NULL; i++) {
        if (port->output && port->type == wanted)
            return wanted;
        if (port->output && first == QL_EDGE_NONE)
            first = port->type;
    }
    return first;
}

static bool
has_adapter(const ql_plugin *p)
{
    return p->kind == QL_QUANTIZER && (p->quantizer->yields & QL_YIELDS_ADAPTER) != 0;
}

static bool
check_edge(ql_build *b, const ql_node *to, const ql_link *link, const ql_node *from)
{
    const ql_edge got = output_type(from->plugin, link->port->type);

    if (got != link->port->type)
        return ql_wrong(b, link->place, "stage '%s' (%s): input '%s' takes %s, stage '%s' (%s) gives %s", to->name,
                        to->plugin->name, link->port->name, ql_edge_name(link->port->type), from->name,
                        from->plugin->name, got == QL_EDGE_NONE ? "nothing" : ql_edge_name(got));
    if (got == QL_EDGE_QUANTIZER && has_adapter(from->plugin))
        return ql_wrong(b, link->place,
                        "stage '%s' (%s): stage '%s' (%s) has an adapter of its own, which would be lost", to->name,
                        to->plugin->name, from->name, from->plugin->name);
    return true;
}

/* What the stage stands on. */
static bool
check_model(ql_build *b, const ql_node *to, const ql_link *link, const ql_node *from)
{
    const ql_kind wanted = strcmp(link->port->name, "model") == 0 ? ql_kind_of(to->plugin->kind)->model_from : 0;

    if (wanted && from->plugin->kind != wanted)
        return ql_wrong(b, link->place,
                        "stage '%s' (%s): its model must come from a %s, not from stage '%s' (%s, a %s)", to->name,
                        to->plugin->name, wanted == QL_MODEL ? "model stage" : ql_kind_name(wanted), from->name,
                        from->plugin->name, ql_kind_name(from->plugin->kind));
    if (wanted && to->plugin->kind == QL_COMPENSATOR && to->plugin->compensator->couples && has_adapter(from->plugin))
        return ql_wrong(
            b, link->place,
            "stage '%s' (%s): it quantizes a changed weight, and stage '%s' (%s) has an adapter of its own already",
            to->name, to->plugin->name, from->name, from->plugin->name);
    return true;
}

/* --- merging ----------------------------------------------------------------------------------------------------- */

/* The slot of a key, or the free one where it belongs. */
static int64_t *
slot_of(const expansion *x, const uint64_t key[2])
{
    const uint64_t mask = (uint64_t)x->slot_count - 1;
    uint64_t i = key[0] & mask;

    while (x->slots[i] && memcmp(x->nodes[x->slots[i] - 1]->key, key, sizeof x->nodes[0]->key) != 0)
        i = (i + 1) & mask;
    return &x->slots[i];
}

static bool
grow_slots(expansion *x)
{
    const int64_t count = x->slot_count ? x->slot_count * 2 : 256;
    int64_t *slots = ql_heap(x->b->cx, (size_t)count, sizeof *slots);

    if (!slots)
        return false;
    free(x->slots);
    x->slots = slots;
    x->slot_count = count;
    for (int64_t i = 0; i < x->node_count; i++)
        *slot_of(x, x->nodes[i]->key) = i + 1;
    return true;
}

/* Key of what the instance gives with these inputs: its own print, the seed where numbers may depend on it, the keys
 * before it. */
static void
key_of(const expansion *x, const ql_instance *in, ql_node *const *from, uint64_t key[2])
{
    const bool seeded = ql_kind_of(in->node.plugin->kind)->seeded;
    uint64_t words[4 + 4 * QL_LINKS_MAX] = {in->hash[0], in->hash[1], seeded ? x->seed : 0, (uint64_t)in->link_count};

    for (int64_t i = 0; i < in->link_count; i++) {
        const char *port = in->links[i].port->name;

        ql_hash_bytes(port, strlen(port), words + 4 + 4 * i);
        words[6 + 4 * i] = from[i]->key[0];
        words[7 + 4 * i] = from[i]->key[1];
    }
    ql_hash_bytes(words, (size_t)(4 + 4 * in->link_count) * sizeof *words, key);
}

static ql_node *
new_node(expansion *x, const ql_instance *in, ql_node *const *from, const uint64_t key[2])
{
    ql_node *n = ql_build_alloc(x->b, 1, sizeof *n);
    ql_input *inputs = ql_build_alloc(x->b, in->link_count, sizeof *inputs);

    if (!n || !inputs)
        return NULL;
    for (int64_t i = 0; i < in->link_count; i++)
        inputs[i] = (ql_input){.port = in->links[i].port->name, .type = in->links[i].port->type, .from = from[i]};
    *n = in->node;
    memcpy(n->key, key, sizeof n->key);
    n->seed = x->seed;
    n->input_count = in->link_count;
    n->inputs = inputs;
    return n;
}

/* The node of an instance with the inputs `from`, in the order of its links: one that is there already, or a new one
 * if its edges are right; NULL when they aren't. */
static ql_node *
merge(expansion *x, const ql_instance *in, ql_node *const *from)
{
    ql_build *b = x->b;
    uint64_t key[2];
    ql_node *n;
    bool ok = true;

    if (2 * (x->node_count + 1) > x->slot_count && !grow_slots(x)) {
        b->problems.failed = QL_MEMORY;
        return NULL;
    }
    key_of(x, in, from, key);
    if (*slot_of(x, key))
        return x->nodes[*slot_of(x, key) - 1];
    for (int64_t i = 0; i < in->link_count; i++)
        ok = check_edge(b, &in->node, &in->links[i], from[i]) && ok;
    for (int64_t i = 0; ok && i < in->link_count; i++)
        ok = check_model(b, &in->node, &in->links[i], from[i]);
    n = ok ? new_node(x, in, from, key) : NULL;
    if (!n)
        return NULL;
    b->problems.failed = ql_grow(b->cx, &x->nodes, &x->node_capacity, x->node_count + 1, sizeof *x->nodes);
    if (b->problems.failed != QL_OK)
        return NULL;
    x->nodes[x->node_count++] = n;
    *slot_of(x, key) = x->node_count;
    return n;
}

/* --- one cell ---------------------------------------------------------------------------------------------------- */

/* The stage's parameters in the combination that the cell is in; NULL when they are wrong. */
static const ql_instance *
instance_of(expansion *x, int64_t s)
{
    ql_combination *c = ql_combination_at(x->b, s, x->at);

    if (!c->tried && c->settings.items)
        c->instance = ql_instantiate(x->b, &c->settings);
    c->tried = true;
    return c->instance;
}

/* Stage `user` needs stage `s`, which waits for its own inputs. */
static void
tell_cycle(ql_build *b, int64_t s, int64_t user, ql_place place)
{
    const char *text = "";

    for (int64_t i = user;; i = b->stages[i].user) {
        text = ql_build_text(b, ql_format(b->cx, "%s <- %s", b->stages[i].name, text));
        if (i == s)
            break;
    }
    ql_wrong(b, place, "stage '%s': its inputs lead back to it: %s%s", b->stages[user].name, text, b->stages[s].name);
}

static ql_node *visit_stage(expansion *x, int64_t s, int64_t user, ql_place place);

/* The node of an instance of stage `s`, or of one of its anonymous inputs; its inputs first. */
static ql_node *
visit_instance(expansion *x, int64_t s, const ql_instance *in)
{
    ql_node *from[QL_LINKS_MAX] = {NULL};
    bool ok = true;

    for (int64_t i = 0; i < in->link_count; i++) {
        const ql_link *link = &in->links[i];

        from[i] = link->anonymous ? visit_instance(x, s, link->anonymous) : visit_stage(x, link->stage, s, link->place);
        ok = ok && from[i];
    }
    return ok ? merge(x, in, from) : NULL;
}

/* The node of stage `s`, which an input of stage `user` needs (-1: the cell itself). */
static ql_node *
visit_stage(expansion *x, int64_t s, int64_t user, ql_place place)
{
    ql_build_stage *stage = &x->b->stages[s];
    const ql_instance *in;

    if (stage->visit == QL_VISIT_OPEN)
        tell_cycle(x->b, s, user, place);
    if (stage->visit != QL_VISIT_NEW)
        return stage->node;
    in = instance_of(x, s);
    stage->visit = QL_VISIT_OPEN;
    stage->user = user;
    stage->node = in ? visit_instance(x, s, in) : NULL;
    stage->visit = QL_VISIT_DONE;
    return stage->node;
}

/* Marks a node that serves and all before it; `id` is free until the end. */
static void
mark_live(ql_node *n, int64_t mark)
{
    if (n->id == mark)
        return;
    n->id = mark;
    for (int64_t i = 0; i < n->input_count; i++)
        mark_live(n->inputs[i].from, mark);
}

static bool
add_cell(expansion *x)
{
    ql_build *b = x->b;
    int64_t *at = ql_build_alloc(b, b->axis_count, sizeof *at);
    ql_node **stages = ql_build_alloc(b, b->stage_count, sizeof(ql_node *));

    if (!at || !stages)
        return false;
    x->seed = b->seed;
    for (int64_t i = 0; i < b->axis_count; i++) {
        at[i] = x->at[i];
        if (b->axes[i].stage < 0)
            x->seed = b->axes[i].seeds[at[i]];
    }
    for (int64_t s = 0; s < b->stage_count; s++) {
        b->stages[s].visit = QL_VISIT_NEW;
        b->stages[s].node = NULL;
    }
    for (int64_t s = 0; s < b->stage_count; s++)
        stages[s] = visit_stage(x, s, -1, b->stages[s].key->place);
    for (int64_t s = 0; s < b->stage_count; s++)
        if (stages[s] && ql_kind_of(stages[s]->plugin->kind)->sink)
            mark_live(stages[s], x->cell_count);
    for (int64_t s = 0; s < b->stage_count; s++)
        if (stages[s] && stages[s]->id != x->cell_count)
            stages[s] = NULL;
    x->cells[x->cell_count++] = (ql_cell){.at = at, .stages = stages, .seed = x->seed};
    return b->problems.failed == QL_OK;
}

/* --- all cells --------------------------------------------------------------------------------------------------- */

/* The next combination, the last axis fastest; false after the last one. */
static bool
advance(const ql_build *b, int64_t *at)
{
    for (int64_t i = b->axis_count; i-- > 0;) {
        if (++at[i] < b->axes[i].values->count)
            return true;
        at[i] = 0;
    }
    return false;
}

/* Nodes that serve a cell, numbered; what every stage became. */
static bool
finish(expansion *x, ql_graph *g)
{
    ql_build *b = x->b;
    ql_node **nodes = ql_build_alloc(b, x->node_count, sizeof(ql_node *));
    ql_axis *axes = ql_build_alloc(b, b->axis_count, sizeof *axes);
    const char **names = ql_build_alloc(b, b->stage_count, sizeof *names);

    if (!nodes || !axes || !names)
        return false;
    for (int64_t i = 0; i < x->node_count; i++)
        if (x->nodes[i]->id >= 0) {
            x->nodes[i]->id = g->node_count;
            nodes[g->node_count++] = x->nodes[i];
        }
    for (int64_t i = 0; i < b->axis_count; i++)
        axes[i] =
            (ql_axis){.key = b->axes[i].key->text, .count = b->axes[i].values->count, .labels = b->axes[i].labels};
    for (int64_t s = 0; s < b->stage_count; s++)
        names[s] = b->stages[s].name;
    g->nodes = nodes;
    g->cells = x->cells;
    g->cell_count = x->cell_count;
    g->axes = axes;
    g->axis_count = b->axis_count;
    g->stage_names = names;
    g->stage_count = b->stage_count;
    return true;
}

/* A key that no plugin of the stage's cells has: a shared one that all variants lack, or one of a plugin that every
 * variant replaces. */
static void
warn_key(const ql_build *b, const ql_build_stage *s, const ql_yaml *key)
{
    const ql_build_axis *a = s->variants < 0 ? NULL : &b->axes[s->variants];
    ql_guess near = ql_guess_open(key->text);

    if (strcmp(key->text, "use") == 0 || strcmp(key->text, "overrides") == 0)
        return;
    for (int64_t i = 0; i < (a ? a->values->count : 1); i++) {
        const ql_plugin *p = a ? a->plugins[i] : s->plugin;

        if (key->used || ql_param_find(p, key->text) || ql_plugin_input(p, key->text) ||
            ql_param_find(&ql_stage_table, key->text))
            return; /* an axis or a variant may give it another value everywhere */
        ql_param_offer(&near, p->params);
    }
    ql_place_warn(b->cx, key->place, "%s'%s' does nothing: no plugin of its cells has it%s", s->prefix, key->text,
                  ql_guess_text(b->cx, &near, ""));
}

static void
warn_unused(ql_build *b, const ql_graph *g)
{
    for (int64_t s = 0; s < g->stage_count; s++) {
        int64_t c = 0;

        while (c < g->cell_count && !g->cells[c].stages[s])
            c++;
        if (c == g->cell_count)
            ql_place_warn(b->cx, b->stages[s].key->place,
                          "stage '%s' is not used: nothing that is evaluated or exported needs it", g->stage_names[s]);
    }
    for (const ql_build_stage *s = b->stages; s < b->stages + b->stage_count; s++) {
        for (int64_t i = 0; i < s->entry->count; i++)
            warn_key(b, s, s->entry->keys[i]);
        for (int64_t i = 0; i < s->axis_count; i++)
            if (b->axes[s->axes[i]].parameter)
                warn_key(b, s, b->axes[s->axes[i]].name);
    }
}

ql_status
ql_build_cells(ql_build *b, ql_graph *g)
{
    expansion x = {.b = b};
    bool more = true;

    x.at = ql_build_alloc(b, b->axis_count, sizeof *x.at);
    x.cells = ql_build_alloc(b, b->cells_most, sizeof *x.cells);
    while (more && b->problems.failed == QL_OK && (b->problems.failed = ql_check_interrupt(b->cx)) == QL_OK) {
        if (!ql_is_excluded(b, x.at) && !add_cell(&x))
            break;
        more = advance(b, x.at) && !ql_problems_full(&b->problems);
    }
    if (b->problems.failed == QL_OK)
        ql_exclude_warn(b);
    if (b->problems.failed == QL_OK && b->problems.count == 0 && finish(&x, g)) {
        if (g->cell_count == 0)
            ql_wrong(b, ql_build_key_place(b, "exclude"), "exclude: no cell is left");
        else if (g->node_count == 0)
            ql_wrong(b, ql_build_key_place(b, "stages"),
                     "stages: there is no evaluator or exporter, so nothing would be computed");
        else
            warn_unused(b, g);
    }
    free(x.nodes);
    free(x.slots);
    return b->problems.failed;
}
