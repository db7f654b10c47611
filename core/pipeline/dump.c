/* A graph for people: labels of cells, where a node is at work, the graph as text and for Graphviz. */
#include <inttypes.h>
#include <string.h>

#include "base/printer.h"
#include "base/text.h"
#include "plugin/registry.h"
#include "graph.h"

static int64_t
find_axis(const ql_graph *g, const char *key, size_t bytes)
{
    for (int64_t i = 0; i < g->axis_count; i++)
        if (strlen(g->axes[i].key) == bytes && memcmp(g->axes[i].key, key, bytes) == 0)
            return i;
    return -1;
}

static int64_t
find_stage(const ql_graph *g, const char *name, size_t bytes)
{
    for (int64_t i = 0; i < g->stage_count; i++)
        if (strlen(g->stage_names[i]) == bytes && memcmp(g->stage_names[i], name, bytes) == 0)
            return i;
    return -1;
}

const char *
ql_cell_label(ql_ctx *cx, const ql_graph *g, const ql_cell *cell, const char *reference)
{
    const char *dot = strchr(reference, '.');
    const size_t bytes = dot ? (size_t)(dot - reference) : strlen(reference);
    const int64_t axis = find_axis(g, reference, strlen(reference)), variants = find_axis(g, reference, bytes);
    const int64_t stage = find_stage(g, reference, bytes);
    const ql_node *n = stage < 0 ? NULL : cell->stages[stage];
    const ql_param *row;

    if (axis >= 0)
        return g->axes[axis].labels[cell->at[axis]];
    if (strcmp(reference, "seed") == 0)
        return ql_format(cx, "%" PRIu64, cell->seed);
    if (!dot || stage < 0)
        return NULL;
    if (strcmp(dot, ".use") == 0 && variants >= 0)
        return g->axes[variants].labels[cell->at[variants]];
    if (!n)
        return NULL;
    if (strcmp(dot, ".use") == 0)
        return n->plugin->name;
    row = ql_param_find(n->plugin, dot + 1);
    return row ? ql_param_print(cx, row, n->self) : NULL;
}

const int64_t *
ql_graph_cells(ql_ctx *cx, const ql_graph *g)
{
    int64_t *counts = ql_alloc(cx, (size_t)g->node_count, sizeof *counts);
    int64_t *last = ql_alloc(cx, (size_t)g->node_count, sizeof *last); /* cell + 1 that counted a node last */

    if (!counts || !last)
        return NULL;
    for (int64_t c = 0; c < g->cell_count; c++)
        for (int64_t s = 0; s < g->stage_count; s++) {
            const ql_node *n = g->cells[c].stages[s];

            if (n && last[n->id] != c + 1) { /* two stages of a cell may be one node */
                last[n->id] = c + 1;
                counts[n->id]++;
            }
        }
    return counts;
}

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

/* Names and labels are the file's: no control character of theirs reaches a terminal. Characters of `special` get a backslash. */
static void
print_visible(FILE *out, const char *text, const char *special)
{
    char visible[4096];

    ql_visible(text, "\\n", visible, sizeof visible);
    for (const char *p = visible; *p; p++)
        fprintf(out, "%s%c", strchr(special, *p) ? "\\" : "", *p);
}

ql_status
ql_graph_text(ql_ctx *cx, const ql_graph *g, const char **out)
{
    const int64_t *counts = ql_graph_cells(cx, g);
    ql_printer p;

    if (!counts)
        return QL_MEMORY;
    QL_TRY(cx, ql_printer_open(cx, &p));
    print_visible(p.out, g->name, "");
    fprintf(p.out, ": %" PRId64 " stages, %" PRId64 " %s, %" PRId64 " nodes\n", g->stage_count, g->cell_count,
            g->cell_count == 1 ? "cell" : "cells", g->node_count);
    for (int64_t i = 0; i < g->axis_count; i++) {
        fprintf(p.out, "axis %s:", g->axes[i].key);
        for (int64_t k = 0; k < g->axes[i].count; k++) {
            fputs(k ? ", " : " ", p.out);
            print_visible(p.out, g->axes[i].labels[k], "");
        }
        fputc('\n', p.out);
    }
    for (int64_t i = 0; i < g->node_count; i++) {
        const ql_node *n = g->nodes[i];
        const int64_t cells = counts[i];

        fprintf(p.out, "%3" PRId64 " %s: ", n->id, n->name);
        print_visible(p.out, n->label, "");
        for (int64_t k = 0; k < n->input_count; k++)
            fprintf(p.out, "%s %s %" PRId64, k ? "," : " <-", n->inputs[k].port, n->inputs[k].from->id);
        if (cells != g->cell_count && cells)
            fprintf(p.out, "  (%" PRId64 " %s)", cells, cells == 1 ? "cell" : "cells");
        fputc('\n', p.out);
    }
    return ql_printer_close(cx, &p, out);
}

ql_status
ql_graph_dot(ql_ctx *cx, const ql_graph *g, const char **out)
{
    ql_printer p;

    QL_TRY(cx, ql_printer_open(cx, &p));
    fputs("digraph \"", p.out);
    print_visible(p.out, g->name, "\"\\");
    fputs("\" {\n    rankdir=LR;\n", p.out);
    for (int64_t i = 0; i < g->node_count; i++) {
        const ql_node *n = g->nodes[i];

        fprintf(p.out, "    n%" PRId64 " [shape=%s, label=\"", n->id, ql_kind_of(n->plugin->kind)->shape);
        print_visible(p.out, n->name, "\"\\");
        fputs("\\n", p.out);
        print_visible(p.out, n->label, "\"\\");
        fputs("\"];\n", p.out);
        for (int64_t k = 0; k < n->input_count; k++) {
            fprintf(p.out, "    n%" PRId64 " -> n%" PRId64 " [label=\"", n->inputs[k].from->id, n->id);
            print_visible(p.out, n->inputs[k].port, "\"\\");
            fputs("\"];\n", p.out);
        }
    }
    fputs("}\n", p.out);
    return ql_printer_close(cx, &p, out);
}
