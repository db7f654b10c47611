/* Rules of the graph's edges: types, and what quantizers and compensators may stand on. */
#include <string.h>

#include <qloom/compensator.h>

#include "build.h"

/* What a plugin gives, as a word: the type of its first output. */
static ql_edge
output_type(const ql_plugin *p, ql_edge wanted)
{
    const ql_port *const tables[] = {ql_kind_ports(p->kind), p->ports};
    ql_edge first = QL_EDGE_NONE;

    if (wanted == QL_EDGE_QUANTIZER && p->kind == QL_QUANTIZER) /* the stage itself is what its driver calls */
        return wanted;
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const ql_port *port = tables[t]; port && port->type != QL_EDGE_NONE; port++) {
            if (port->output && port->type == wanted)
                return wanted;
            if (port->output && first == QL_EDGE_NONE)
                first = port->type;
        }
    return first;
}

bool
ql_check_edge(ql_build *b, const ql_instance *to, const ql_link *link, const ql_node *from)
{
    const ql_edge got = output_type(from->plugin, link->port->type);

    if (got == QL_EDGE_QUANTIZER && got == link->port->type &&
        (from->plugin->quantizer->yields & QL_YIELDS_ADAPTER) != 0) {
        ql_problem_add(b->cx, &b->problems, link->place,
                       "stage '%s' (%s): stage '%s' (%s) has an adapter of its own, which would be lost", to->stage,
                       to->plugin->name, from->name, from->plugin->name);
        return false;
    }
    if (got == link->port->type)
        return true;
    ql_problem_add(b->cx, &b->problems, link->place, "stage '%s' (%s): input '%s' takes %s, stage '%s' (%s) gives %s",
                   to->stage, to->plugin->name, link->port->name, ql_edge_name(link->port->type), from->name,
                   from->plugin->name, got == QL_EDGE_NONE ? "nothing" : ql_edge_name(got));
    return false;
}

/* Where the link to `port` was written; the stage's place when it has none. */
static ql_place
place_of_link(const ql_instance *in, const char *port)
{
    for (int64_t i = 0; i < in->link_count; i++)
        if (strcmp(in->links[i].port->name, port) == 0)
            return in->links[i].place;
    return in->place;
}

static void
tell_model(ql_build *b, const ql_instance *in, const ql_node *model, const char *expected)
{
    ql_problem_add(b->cx, &b->problems, place_of_link(in, "model"),
                   "stage '%s' (%s): its model must come from a %s, not from stage '%s' (%s, a %s)", in->stage,
                   in->plugin->name, expected, model->name, model->plugin->name, ql_kind_name(model->plugin->kind));
}

bool
ql_check_node(ql_build *b, const ql_instance *in, const ql_node *node)
{
    const ql_node *model = ql_node_input(node, "model");
    const ql_kind kind = in->plugin->kind;

    if (!model || (kind != QL_QUANTIZER && kind != QL_COMPENSATOR))
        return true;
    if (kind == QL_QUANTIZER && model->plugin->kind != QL_MODEL) {
        tell_model(b, in, model, "model stage");
        return false;
    }
    if (kind == QL_COMPENSATOR && model->plugin->kind != QL_QUANTIZER) {
        tell_model(b, in, model, "quantizer");
        return false;
    }
    if (kind == QL_COMPENSATOR && in->plugin->compensator->couples &&
        (model->plugin->quantizer->yields & QL_YIELDS_ADAPTER) != 0) {
        ql_problem_add(
            b->cx, &b->problems, place_of_link(in, "model"),
            "stage '%s' (%s): it quantizes a changed weight, and stage '%s' (%s) has an adapter of its own already",
            in->stage, in->plugin->name, model->name, model->plugin->name);
        return false;
    }
    return true;
}
