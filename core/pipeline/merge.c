/* Equal stages become one node, by a hash table of what every node is made of, if their edges keep the rules: types, and
 * what may stand on what. */
#include "merge.h"

#include <stdlib.h>
#include <string.h>

#include <qloom/compensator.h>

#include "base/hash.h"

/* --- rules ------------------------------------------------------------------------------------------------------- */

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
slot_of(const ql_merger *m, const uint64_t key[2])
{
    const uint64_t mask = (uint64_t)m->slot_count - 1;
    uint64_t i = key[0] & mask;

    while (m->slots[i] && memcmp(m->nodes[m->slots[i] - 1]->key, key, sizeof m->nodes[0]->key) != 0)
        i = (i + 1) & mask;
    return &m->slots[i];
}

static bool
grow_slots(ql_merger *m)
{
    const int64_t count = m->slot_count ? m->slot_count * 2 : 256;
    int64_t *slots = ql_heap(m->b->cx, (size_t)count, sizeof *slots);

    if (!slots)
        return false;
    free(m->slots);
    m->slots = slots;
    m->slot_count = count;
    for (int64_t i = 0; i < m->node_count; i++)
        *slot_of(m, m->nodes[i]->key) = i + 1;
    return true;
}

/* Key of what the instance gives with these inputs: its own print, the seed where numbers may depend on it, the keys
 * before it. */
static void
key_of(const ql_merger *m, const ql_instance *in, ql_node *const *from, uint64_t key[2])
{
    const bool seeded = ql_kind_of(in->node.plugin->kind)->seeded;
    uint64_t words[4 + 4 * QL_LINKS_MAX] = {in->hash[0], in->hash[1], seeded ? m->seed : 0, (uint64_t)in->link_count};

    for (int64_t i = 0; i < in->link_count; i++) {
        const char *port = in->links[i].port->name;

        ql_hash_bytes(port, strlen(port), words + 4 + 4 * i);
        words[6 + 4 * i] = from[i]->key[0];
        words[7 + 4 * i] = from[i]->key[1];
    }
    ql_hash_bytes(words, (size_t)(4 + 4 * in->link_count) * sizeof *words, key);
}

static ql_node *
new_node(ql_merger *m, const ql_instance *in, ql_node *const *from, const uint64_t key[2])
{
    ql_node *n = ql_build_alloc(m->b, 1, sizeof *n);
    ql_input *inputs = ql_build_alloc(m->b, in->link_count, sizeof *inputs);

    if (!n || !inputs)
        return NULL;
    for (int64_t i = 0; i < in->link_count; i++)
        inputs[i] = (ql_input){.port = in->links[i].port->name, .type = in->links[i].port->type, .from = from[i]};
    *n = in->node;
    memcpy(n->key, key, sizeof n->key);
    n->seed = m->seed;
    n->input_count = in->link_count;
    n->inputs = inputs;
    return n;
}

ql_node *
ql_merge(ql_merger *m, const ql_instance *in, ql_node *const *from)
{
    ql_build *b = m->b;
    uint64_t key[2];
    ql_node *n;
    bool ok = true;

    if (2 * (m->node_count + 1) > m->slot_count && !grow_slots(m)) {
        b->problems.failed = QL_MEMORY;
        return NULL;
    }
    key_of(m, in, from, key);
    if (*slot_of(m, key))
        return m->nodes[*slot_of(m, key) - 1];
    for (int64_t i = 0; i < in->link_count; i++)
        ok = check_edge(b, &in->node, &in->links[i], from[i]) && ok;
    for (int64_t i = 0; ok && i < in->link_count; i++)
        ok = check_model(b, &in->node, &in->links[i], from[i]);
    n = ok ? new_node(m, in, from, key) : NULL;
    if (!n)
        return NULL;
    b->problems.failed = ql_grow(b->cx, &m->nodes, &m->node_capacity, m->node_count + 1, sizeof *m->nodes);
    if (b->problems.failed != QL_OK)
        return NULL;
    m->nodes[m->node_count++] = n;
    *slot_of(m, key) = m->node_count;
    return n;
}

void
ql_merger_fini(ql_merger *m)
{
    free(m->nodes);
    free(m->slots);
    *m = (ql_merger){0};
}
