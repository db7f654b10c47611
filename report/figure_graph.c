/* The merged graph: a column each step from the inputs, a box each node. Nodes that look alike and have alike inputs
 * are one box. */
#include <string.h>

#include "figures.h"

#define BOX 168 /* width of a box */
#define GAP 64  /* between columns */
#define HEIGHT 34
#define NODES_MAX 60 /* beyond, alike stages are one box */
#define STEP 44      /* from one box to the next */
#define TITLE 6.0    /* above and below the boxes */

typedef struct box {
    const ql_result_node *node;
    int64_t nodes, column;
    double y; /* of its middle; the mean of its inputs' until its column is sorted */
} box;

typedef struct flow {
    ql_ctx *cx;
    const ql_result_set *set;
    int64_t count, columns;
    double height;
    box *boxes;
    int64_t *box_of; /* [node_count] */
    box **order;     /* [count]: of one column */
} flow;

/* What ends the graph is there once for each cell, and in a large graph many a stage once for each of another's
 * variants: those that look alike are one box. */
static bool
alike(const flow *f, const ql_result_node *a, const ql_result_node *b)
{
    const bool ends = strcmp(a->kind, "evaluator") == 0 || strcmp(a->kind, "exporter") == 0;

    return (ends || f->set->node_count > NODES_MAX) && strcmp(a->stage, b->stage) == 0 &&
           strcmp(a->label, b->label) == 0;
}

static ql_status
place(flow *f)
{
    const ql_result_set *set = f->set;

    f->boxes = ql_alloc(f->cx, (size_t)set->node_count, sizeof *f->boxes);
    f->box_of = ql_alloc(f->cx, (size_t)set->node_count, sizeof *f->box_of);
    f->order = ql_alloc(f->cx, (size_t)set->node_count, sizeof(box *));
    if (!f->boxes || !f->box_of || !f->order)
        return QL_MEMORY;
    for (int64_t i = 0; i < set->node_count; i++) {
        const ql_result_node *n = &set->nodes[i];
        int64_t b = 0, column = 0;

        while (b < f->count && !alike(f, f->boxes[b].node, n))
            b++;
        for (int64_t k = 0; k < n->edge_count; k++) {
            const int64_t before = f->boxes[f->box_of[n->edges[k].from]].column + 1;

            column = before > column ? before : column;
        }
        if (b == f->count)
            f->boxes[f->count++] = (box){.node = n};
        f->boxes[b].nodes++;
        f->boxes[b].column = column > f->boxes[b].column ? column : f->boxes[b].column;
        f->columns = column + 1 > f->columns ? column + 1 : f->columns;
        f->box_of[i] = b;
    }
    return QL_OK;
}

static void
mean_of_inputs(const flow *f, box *b)
{
    double sum = 0;

    for (int64_t k = 0; k < b->node->edge_count; k++)
        sum += f->boxes[f->box_of[b->node->edges[k].from]].y;
    b->y = b->node->edge_count ? sum / (double)b->node->edge_count : 0;
}

/* Boxes of a column stand in the order of their inputs, spread over the whole height. */
static void
arrange_column(flow *f, int64_t column)
{
    int64_t n = 0;

    for (int64_t i = 0; i < f->count; i++) {
        box *b = &f->boxes[i];
        int64_t at = n;

        if (b->column != column)
            continue;
        mean_of_inputs(f, b);
        for (; at > 0 && f->order[at - 1]->y > b->y; at--)
            f->order[at] = f->order[at - 1];
        f->order[at] = b;
        n++;
    }
    for (int64_t i = 0; i < n; i++)
        f->order[i]->y = TITLE + ((double)i + 0.5) * (f->height - 2 * TITLE) / (double)n;
}

static void
arrange(flow *f)
{
    int64_t most = 1;

    for (int64_t c = 0; c < f->columns; c++) {
        int64_t n = 0;

        for (int64_t i = 0; i < f->count; i++)
            n += f->boxes[i].column == c;
        most = n > most ? n : most;
    }
    f->height = (double)most * STEP + 2 * TITLE;
    for (int64_t c = 0; c < f->columns; c++)
        arrange_column(f, c);
}

static double
left_of(const box *b)
{
    return TITLE + (double)b->column * (BOX + GAP);
}

/* Has an earlier node of the same box an edge from the same box? */
static bool
drawn_before(const flow *f, int64_t node, int64_t edge)
{
    const int64_t from = f->box_of[f->set->nodes[node].edges[edge].from];

    for (int64_t i = 0; i <= node; i++) {
        const ql_result_node *n = &f->set->nodes[i];

        for (int64_t k = 0; f->box_of[i] == f->box_of[node] && k < (i == node ? edge : n->edge_count); k++)
            if (f->box_of[n->edges[k].from] == from)
                return true;
    }
    return false;
}

static void
draw_edges(const flow *f, FILE *out)
{
    for (int64_t i = 0; i < f->set->node_count; i++) {
        const ql_result_node *n = &f->set->nodes[i];
        const box *to = &f->boxes[f->box_of[i]];

        for (int64_t k = 0; k < n->edge_count; k++) {
            const box *from = &f->boxes[f->box_of[n->edges[k].from]];
            const double x = left_of(from) + BOX, end = left_of(to), half = (end - x) / 2;

            if (drawn_before(f, i, k))
                continue;
            fprintf(out, "<path class=\"edge\" d=\"M%.1f,%.1fC%.1f,%.1f %.1f,%.1f %.1f,%.1f\"/>\n", x, from->y,
                    x + half, from->y, end - half, to->y, end, to->y);
        }
    }
}

static ql_status
draw_box(const flow *f, const box *b, FILE *out)
{
    const ql_result_node *n = b->node;
    const double x = left_of(b), y = b->y - HEIGHT / 2.0;
    const char *stage = b->nodes > 1 ? ql_format(f->cx, "%s (%lld)", n->stage, (long long)b->nodes) : n->stage;
    const char *label = ql_svg_fit(f->cx, n->label, BOX - 12);

    stage = stage ? ql_svg_fit(f->cx, stage, BOX - 12) : NULL;
    if (!stage || !label)
        return QL_MEMORY;
    fprintf(out, "<g class=\"node\"><title>%lld %s: ", (long long)n->cells, n->cells == 1 ? "cell" : "cells");
    ql_html_put(out, n->label);
    fprintf(out, "</title><rect class=\"box s%d\" x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"%d\" rx=\"4\"/>\n",
            ql_figure_colour(n->kind), x, y, BOX, HEIGHT);
    ql_svg_text(out, x + 6, y + 14, QL_ANCHOR_START, stage);
    fputs("<g class=\"small\">", out);
    ql_svg_text(out, x + 6, y + 28, QL_ANCHOR_START, label);
    fputs("</g></g>\n", out);
    return QL_OK;
}

static void
put_table(const ql_result_set *set, FILE *out)
{
    fputs("<table><thead><tr><th class=\"n\">node</th><th>stage</th><th>kind</th><th>plugin</th><th>inputs</th>"
          "<th class=\"n\">cells</th></tr></thead>\n<tbody>\n",
          out);
    for (int64_t i = 0; i < set->node_count; i++) {
        const ql_result_node *n = &set->nodes[i];

        fprintf(out, "<tr><td class=\"n\">%lld</td><td>", (long long)i);
        ql_html_print(out, "%s</td><td>%s</td><td>%s</td><td>", n->stage, n->kind, n->label);
        for (int64_t k = 0; k < n->edge_count; k++) {
            ql_html_print(out, k ? ", %s" : "%s", n->edges[k].port);
            fprintf(out, " %lld", (long long)n->edges[k].from);
        }
        fprintf(out, "</td><td class=\"n\">%lld</td></tr>\n", (long long)n->cells);
    }
    fputs("</tbody></table>\n", out);
}

/* Of one run; several have a graph each, and their own reports show them. */
ql_status
ql_figure_graph(ql_ctx *cx, const ql_figure_input *in, ql_figure *out)
{
    flow f = {.cx = cx, .set = in->sets[0]};

    if (in->count != 1 || f.set->node_count == 0)
        return QL_OK;
    QL_TRY(cx, place(&f));
    arrange(&f);
    ql_svg_open(out->svg, (double)f.columns * (BOX + GAP) - GAP + 2 * TITLE, f.height, "The graph");
    draw_edges(&f, out->svg);
    for (int64_t i = 0; i < f.count; i++)
        QL_TRY(cx, draw_box(&f, &f.boxes[i], out->svg));
    fputs("</svg>\n", out->svg);
    put_table(f.set, out->data);
    out->caption =
        "What ran, from left to right: equal stages of different cells are one node. Nodes that look alike are drawn "
        "as one box, with their number in brackets: evaluators and exporters always, others in large graphs.";
    return QL_OK;
}
