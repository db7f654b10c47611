/* Where a node is at work: what is said of it when its plugin is called. */
#include "graph.h"

#define UNSEEN (-1)
#define SEVERAL (-2)

/* at[axis]: the label that all cells of the node have there. */
static const char *
common_labels(ql_ctx *cx, const ql_graph *g, const int64_t *at)
{
    const char *text = "";

    for (int64_t a = 0; a < g->axis_count && text; a++)
        if (at[a] >= 0)
            text = ql_format(cx, "%s%s%s=%s", text, *text ? ", " : "", g->axes[a].key, g->axes[a].labels[at[a]]);
    return text;
}

ql_status
ql_graph_name_cells(ql_ctx *cx, const ql_graph *g)
{
    const int64_t n = g->node_count * g->axis_count;
    int64_t *at = ql_alloc(cx, (size_t)n, sizeof *at);

    if (!at)
        return QL_MEMORY;
    for (int64_t i = 0; i < n; i++)
        at[i] = UNSEEN;
    for (int64_t c = 0; c < g->cell_count; c++)
        for (int64_t i = 0; i < g->stage_count * g->axis_count; i++) {
            const ql_node *node = g->cells[c].stages[i / g->axis_count];
            const int64_t axis = i % g->axis_count, label = g->cells[c].at[axis];
            int64_t *seen = node ? &at[node->id * g->axis_count + axis] : NULL;

            if (seen)
                *seen = *seen == UNSEEN || *seen == label ? label : SEVERAL;
        }
    for (int64_t i = 0; i < g->node_count; i++) {
        g->nodes[i]->cells = common_labels(cx, g, at + i * g->axis_count);
        if (!g->nodes[i]->cells)
            return QL_MEMORY;
    }
    return QL_OK;
}

ql_site
ql_node_site(const ql_node *n, const char *title)
{
    return (ql_site){.stage = title,
                     .block = -1,
                     .seed = n->seed,
                     .plugin = n->plugin->name,
                     .name = n->name,
                     .cells = n->cells,
                     .node = {n->key[0], n->key[1]}};
}
