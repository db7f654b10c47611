/* Cells and their nodes: the combinations of the matrix that are not excluded, with equal stages merged by content. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/hash.h"
#include "build.h"

typedef enum visit { NEW, OPEN, DONE } visit;

typedef struct merger {
    ql_build *b;
    uint64_t seed;     /* of the cell at hand */
    const int64_t *at; /* positions of the cell at hand */
    visit *visits;     /* [stage_count] */
    ql_node **found;   /* [stage_count]: nodes of the cell at hand; NULL: something is wrong there */
    int64_t *path;     /* stages that are open, for the text of a cycle */
    int64_t depth;
    int64_t node_count, node_capacity, slot_count;
    ql_node **nodes; /* in the order in which they were made: inputs before users */
    int64_t *slots;  /* hash table: node + 1, or 0; its size is a power of two */
    int64_t cell_count, cell_capacity;
    ql_cell *cells;
} merger;

/* --- merging --------------------------------------------------------------------------------------------------------- */

static bool
same_key(const ql_node *n, const uint64_t key[2])
{
    return n->key[0] == key[0] && n->key[1] == key[1];
}

/* The slot of a key, or the free one where it belongs. */
static int64_t
slot_of(const merger *m, const uint64_t key[2])
{
    const uint64_t mask = (uint64_t)m->slot_count - 1;
    uint64_t i = key[0] & mask;

    while (m->slots[i] && !same_key(m->nodes[m->slots[i] - 1], key))
        i = (i + 1) & mask;
    return (int64_t)i;
}

static ql_status
grow_slots(merger *m)
{
    const int64_t count = m->slot_count ? m->slot_count * 2 : 256;
    int64_t *slots = ql_heap(m->b->cx, (size_t)count, sizeof *slots);

    if (!slots)
        return QL_MEMORY;
    free(m->slots);
    m->slots = slots;
    m->slot_count = count;
    for (int64_t i = 0; i < m->node_count; i++)
        m->slots[slot_of(m, m->nodes[i]->key)] = i + 1;
    return QL_OK;
}

static bool
uses_seed(const ql_plugin *p)
{
    return p->kind == QL_DATA || p->kind == QL_QUANTIZER || p->kind == QL_COMPENSATOR;
}

/* Key of what the instance gives with these inputs: its own print, the seed where numbers may depend on it, the keys before it. */
static void
key_of(const merger *m, const ql_instance *in, ql_node *const *from, uint64_t key[2])
{
    uint64_t words[4 + 4 * QL_LINKS_MAX] = {in->hash[0], in->hash[1], uses_seed(in->plugin) ? m->seed : 0,
                                            (uint64_t)in->link_count};

    for (int64_t i = 0; i < in->link_count; i++) {
        const char *port = in->links[i].port->name;

        ql_hash_bytes(port, strlen(port), words + 4 + 4 * i);
        words[6 + 4 * i] = from[i]->key[0];
        words[7 + 4 * i] = from[i]->key[1];
    }
    ql_hash_bytes(words, (size_t)(4 + 4 * in->link_count) * sizeof *words, key);
}

static ql_node *
new_node(merger *m, const ql_instance *in, ql_node *const *from, const uint64_t key[2])
{
    ql_ctx *cx = m->b->cx;
    ql_node *n = ql_alloc(cx, 1, sizeof *n);
    ql_input *inputs = ql_alloc(cx, (size_t)in->link_count, sizeof *inputs);

    if (!n || !inputs)
        return NULL;
    for (int64_t i = 0; i < in->link_count; i++)
        inputs[i] = (ql_input){.port = in->links[i].port->name, .type = in->links[i].port->type, .from = from[i]};
    *n = (ql_node){.id = -1,
                   .name = in->stage,
                   .label = in->label,
                   .plugin = in->plugin,
                   .self = in->self,
                   .canonical = in->canonical,
                   .key = {key[0], key[1]},
                   .propagate = in->propagate,
                   .seed = m->seed,
                   .override_count = in->override_count,
                   .overrides = in->overrides,
                   .input_count = in->link_count,
                   .inputs = inputs,
                   .place = in->place};
    return n;
}

/* The node of an instance with these inputs: one that is there already, or a new one if its edges are right. */
static ql_status
merge(merger *m, const ql_instance *in, ql_node *const *from, ql_node **out)
{
    ql_ctx *cx = m->b->cx;
    uint64_t key[2];
    ql_node *n;
    bool ok = true;

    if (2 * (m->node_count + 1) > m->slot_count)
        QL_TRY(cx, grow_slots(m));
    key_of(m, in, from, key);
    if (m->slots[slot_of(m, key)]) {
        *out = m->nodes[m->slots[slot_of(m, key)] - 1];
        return QL_OK;
    }
    for (int64_t i = 0; i < in->link_count; i++)
        ok = ql_check_edge(m->b, in, &in->links[i], from[i]) && ok;
    if (!ok)
        return m->b->problems.failed;
    n = new_node(m, in, from, key);
    if (!n)
        return QL_MEMORY;
    if (!ql_check_node(m->b, in, n))
        return m->b->problems.failed;
    QL_TRY(cx, ql_grow(cx, &m->nodes, &m->node_capacity, m->node_count + 1, sizeof *m->nodes));
    m->nodes[m->node_count++] = n;
    m->slots[slot_of(m, key)] = m->node_count;
    *out = n;
    return QL_OK;
}

/* --- one cell -------------------------------------------------------------------------------------------------------- */

/* The stage's parameters in the combination that the cell is in; NULL when they are wrong. */
static const ql_instance *
instance_of(merger *m, int64_t s)
{
    ql_build_stage *stage = &m->b->stages[s];
    ql_settings settings;
    int64_t i = 0;

    for (int64_t k = 0; k < stage->axis_count; k++)
        i = i * m->b->axes[stage->axes[k]].values->count + m->at[stage->axes[k]];
    if (!stage->tried[i]) {
        stage->tried[i] = true;
        if (ql_settings_of(m->b, s, m->at, &settings))
            stage->instances[i] = ql_instantiate(m->b, &settings);
    }
    return stage->instances[i];
}

static void
tell_cycle(merger *m, int64_t s, ql_place place)
{
    const char *text = NULL;
    int64_t first = 0;

    while (m->path[first] != s)
        first++;
    for (int64_t i = first; i < m->depth; i++) {
        const char *name = m->b->stages[m->path[i]].name;

        text = text ? ql_format(m->b->cx, "%s <- %s", text, name) : name;
        if (!text)
            return;
    }
    ql_problem_add(m->b->cx, &m->b->problems, place, "stage '%s': its inputs lead back to it: %s <- %s",
                   m->b->stages[m->path[m->depth - 1]].name, text, m->b->stages[s].name);
}

static ql_status visit_stage(merger *m, int64_t s, ql_place place);

/* The node of an instance, its inputs first. *out stays NULL when something is wrong, which has been told. */
static ql_status
visit_instance(merger *m, const ql_instance *in, ql_node **out)
{
    ql_node *from[QL_LINKS_MAX] = {NULL};
    bool ok = true;

    for (int64_t i = 0; i < in->link_count; i++) {
        const ql_link *link = &in->links[i];

        if (link->anonymous) {
            QL_TRY(m->b->cx, visit_instance(m, link->anonymous, &from[i]));
        } else {
            QL_TRY(m->b->cx, visit_stage(m, link->stage, link->place));
            from[i] = m->found[link->stage];
        }
        ok = ok && from[i];
    }
    return ok ? merge(m, in, from, out) : m->b->problems.failed;
}

static ql_status
visit_stage(merger *m, int64_t s, ql_place place)
{
    const ql_instance *in;

    if (m->visits[s] == DONE)
        return QL_OK;
    if (m->visits[s] == OPEN) {
        tell_cycle(m, s, place);
        return m->b->problems.failed;
    }
    in = instance_of(m, s);
    m->visits[s] = OPEN;
    m->path[m->depth++] = s;
    if (in)
        QL_TRY(m->b->cx, visit_instance(m, in, &m->found[s]));
    m->depth--;
    m->visits[s] = DONE;
    return m->b->problems.failed;
}

static bool
is_sink(const ql_plugin *p)
{
    return p->kind == QL_EVALUATOR || p->kind == QL_EXPORTER || p->kind == QL_TRAINER;
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

static ql_status
add_cell(merger *m, const ql_graph *g)
{
    ql_build *b = m->b;
    int64_t *at = ql_alloc(b->cx, (size_t)b->axis_count, sizeof *at);
    ql_node **stages = ql_alloc(b->cx, (size_t)b->stage_count, sizeof(ql_node *));

    if (!at || !stages)
        return QL_MEMORY;
    m->seed = g->seed;
    m->depth = 0;
    for (int64_t i = 0; i < b->axis_count; i++) {
        at[i] = m->at[i];
        if (b->axes[i].stage < 0)
            m->seed = b->axes[i].seeds[at[i]];
    }
    for (int64_t s = 0; s < b->stage_count; s++) {
        m->visits[s] = NEW;
        m->found[s] = NULL;
    }
    for (int64_t s = 0; s < b->stage_count; s++)
        QL_TRY(b->cx, visit_stage(m, s, b->stages[s].key->place));
    for (int64_t s = 0; s < b->stage_count; s++)
        if (m->found[s] && is_sink(m->found[s]->plugin))
            mark_live(m->found[s], m->cell_count);
    for (int64_t s = 0; s < b->stage_count; s++) {
        const bool live = m->found[s] && m->found[s]->id == m->cell_count;

        stages[s] = live ? m->found[s] : NULL;
    }
    QL_TRY(b->cx, ql_grow(b->cx, &m->cells, &m->cell_capacity, m->cell_count + 1, sizeof *m->cells));
    m->cells[m->cell_count++] = (ql_cell){.at = at, .stages = stages, .seed = m->seed};
    return QL_OK;
}

/* --- all cells ------------------------------------------------------------------------------------------------------- */

static bool
is_excluded(ql_build *b, const int64_t *at)
{
    for (int64_t e = 0; e < b->exclusion_count; e++) {
        ql_exclusion *x = &b->exclusions[e];
        bool all = true;

        for (int64_t i = 0; i < x->count && all; i++) {
            const ql_condition *c = &x->conditions[i];

            all = c->axis < 0 ? c->always : c->holds[at[c->axis]];
        }
        if (all) {
            x->used = true;
            return true;
        }
    }
    return false;
}

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

static ql_status
make_room(merger *m)
{
    ql_build *b = m->b;
    const size_t n = (size_t)b->stage_count;

    m->visits = ql_alloc(b->cx, n, sizeof *m->visits);
    m->found = ql_alloc(b->cx, n, sizeof(ql_node *));
    m->path = ql_alloc(b->cx, n, sizeof *m->path);
    if (!m->visits || !m->found || !m->path)
        return QL_MEMORY;
    for (int64_t s = 0; s < b->stage_count; s++) {
        ql_build_stage *stage = &b->stages[s];

        stage->instances = ql_alloc(b->cx, (size_t)stage->combinations, sizeof(ql_instance *));
        stage->tried = ql_alloc(b->cx, (size_t)stage->combinations, sizeof *stage->tried);
        if (!stage->instances || !stage->tried)
            return QL_MEMORY;
    }
    return QL_OK;
}

static ql_status
make_cells(merger *m, ql_graph *g)
{
    ql_build *b = m->b;
    int64_t *at = ql_alloc(b->cx, (size_t)b->axis_count, sizeof *at);

    if (!at)
        return QL_MEMORY;
    m->at = at;
    QL_TRY(b->cx, make_room(m));
    do {
        if (!is_excluded(b, at))
            QL_TRY(b->cx, add_cell(m, g));
    } while (advance(b, at) && !ql_problems_full(&b->problems));
    for (int64_t e = 0; e < b->exclusion_count; e++)
        if (!b->exclusions[e].used)
            ql_warn(b->cx, "%s:%" PRId64 ":%" PRId64 ": this entry of 'exclude' excludes no cell",
                    b->exclusions[e].place.file, b->exclusions[e].place.line, b->exclusions[e].place.column);
    return b->problems.failed;
}

/* Nodes that serve a cell, numbered; what every stage became, and who became nothing. */
static ql_status
finish(merger *m, ql_graph *g)
{
    ql_build *b = m->b;
    ql_node **nodes = ql_alloc(b->cx, (size_t)m->node_count, sizeof(ql_node *));
    ql_cell *cells = ql_alloc(b->cx, (size_t)m->cell_count, sizeof *cells);
    ql_axis *axes = ql_alloc(b->cx, (size_t)b->axis_count, sizeof *axes);
    const char **names = ql_alloc(b->cx, (size_t)b->stage_count, sizeof *names);

    if (!nodes || !cells || !axes || !names)
        return QL_MEMORY;
    for (int64_t i = 0; i < m->node_count; i++)
        if (m->nodes[i]->id >= 0) {
            nodes[g->node_count] = m->nodes[i];
            nodes[g->node_count]->id = g->node_count;
            g->node_count++;
        }
    for (int64_t i = 0; i < m->cell_count; i++)
        cells[i] = m->cells[i];
    for (int64_t i = 0; i < b->axis_count; i++)
        axes[i] =
            (ql_axis){.key = b->axes[i].key->text, .count = b->axes[i].values->count, .labels = b->axes[i].labels};
    for (int64_t s = 0; s < b->stage_count; s++)
        names[s] = b->stages[s].name;
    g->nodes = nodes;
    g->cells = cells;
    g->cell_count = m->cell_count;
    g->axes = axes;
    g->axis_count = b->axis_count;
    g->stage_names = names;
    g->stage_count = b->stage_count;
    return QL_OK;
}

static void
warn_unused(ql_build *b, const ql_graph *g)
{
    for (int64_t s = 0; s < g->stage_count; s++) {
        const ql_place at = b->stages[s].key->place;
        bool used = false;

        for (int64_t c = 0; c < g->cell_count && !used; c++)
            used = g->cells[c].stages[s] != NULL;
        if (!used)
            ql_warn(b->cx,
                    "%s:%" PRId64 ":%" PRId64
                    ": stage '%s' is not used: nothing that is evaluated or exported needs it",
                    at.file, at.line, at.column, g->stage_names[s]);
    }
}

ql_status
ql_build_cells(ql_build *b, ql_graph *g)
{
    merger m = {.b = b};
    ql_status st = make_cells(&m, g);

    if (st == QL_OK && b->problems.count == 0)
        st = finish(&m, g);
    free(m.nodes);
    free(m.slots);
    free(m.cells);
    if (st != QL_OK || b->problems.count)
        return st;
    if (g->cell_count == 0)
        ql_problem_add(b->cx, &b->problems, ql_yaml_get(b->root, "exclude")->place, "exclude: no cell is left");
    else if (g->node_count == 0)
        ql_problem_add(b->cx, &b->problems, ql_yaml_get(b->root, "stages")->place,
                       "stages: there is no evaluator or exporter, so nothing would be computed");
    else
        warn_unused(b, g);
    return b->problems.failed;
}
