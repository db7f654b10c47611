/* Equal stages become one node: a hash table of what every node is made of. */
#include "merge.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

static bool
same_key(const ql_node *n, const uint64_t key[2])
{
    return n->key[0] == key[0] && n->key[1] == key[1];
}

/* The slot of a key, or the free one where it belongs. */
static int64_t
slot_of(const ql_merger *m, const uint64_t key[2])
{
    const uint64_t mask = (uint64_t)m->slot_count - 1;
    uint64_t i = key[0] & mask;

    while (m->slots[i] && !same_key(m->nodes[m->slots[i] - 1], key))
        i = (i + 1) & mask;
    return (int64_t)i;
}

static ql_status
grow_slots(ql_merger *m)
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

/* Key of what the instance gives with these inputs: its own print, the seed where numbers may depend on it, the keys
 * before it. */
static void
key_of(const ql_merger *m, const ql_instance *in, ql_node *const *from, uint64_t key[2])
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
new_node(ql_merger *m, const ql_instance *in, ql_node *const *from, const uint64_t key[2])
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

ql_status
ql_merge(ql_merger *m, const ql_instance *in, ql_node *const *from, ql_node **out)
{
    ql_build *b = m->b;
    ql_ctx *cx = b->cx;
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
        ok = ql_check_edge(b, in, &in->links[i], from[i]) && ok;
    if (!ok)
        return b->problems.failed;
    n = new_node(m, in, from, key);
    if (!n)
        return QL_MEMORY;
    if (!ql_check_node(b, in, n))
        return b->problems.failed;
    QL_TRY(cx, ql_grow(cx, &m->nodes, &m->node_capacity, m->node_count + 1, sizeof *m->nodes));
    m->nodes[m->node_count++] = n;
    m->slots[slot_of(m, key)] = m->node_count;
    *out = n;
    return QL_OK;
}

void
ql_merger_fini(ql_merger *m)
{
    free(m->nodes);
    free(m->slots);
    *m = (ql_merger){0};
}
