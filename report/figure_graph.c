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

/* The nodes of the graph, and its edges: the nodes at both ends, and the input's port. */
enum { STAGE, KIND, LABEL, CELLS };
enum { TO, FROM, PORT };
static const char nodes_sql[] = "SELECT stage, kind, label, cells FROM stage ORDER BY position";
static const char edges_sql[] = "SELECT stage, source, port FROM edge ORDER BY stage, position";

typedef struct box {
    const ql_field *node; /* the first */
    int64_t first, nodes, column;
    double y; /* of its middle; the mean of its inputs' until its column is sorted */
} box;

typedef struct flow {
    ql_ctx *cx;
    ql_sheet nodes, edges;
    int64_t count, columns;
    double height;
    box *boxes, **box_of, **order; /* of each node; those of one column */
} flow;

/* What ends the graph is there once for each cell, and in a large graph many a stage once for each of another's
 * variants: those that look alike are one box. */
static bool
alike(const flow *f, const ql_field *a, const ql_field *b)
{
    const bool ends = strcmp(a[KIND].text, "evaluator") == 0 || strcmp(a[KIND].text, "exporter") == 0;

    return (ends || f->nodes.count > NODES_MAX) && strcmp(a[STAGE].text, b[STAGE].text) == 0 &&
           strcmp(a[LABEL].text, b[LABEL].text) == 0;
}

static box *
box_at(const flow *f, int64_t edge, int end)
{
    return f->box_of[ql_row(&f->edges, edge)[end].integer];
}

static ql_status
place(flow *f)
{
    const size_t n = (size_t)f->nodes.count;
    int64_t e = 0;

    f->boxes = ql_alloc(f->cx, n, sizeof *f->boxes);
    f->box_of = ql_alloc(f->cx, n, sizeof *f->box_of);
    f->order = ql_alloc(f->cx, n, sizeof *f->order);
    if (!f->boxes || !f->box_of || !f->order)
        return QL_MEMORY;
    for (int64_t i = 0; i < f->nodes.count; i++) {
        const ql_field *node = ql_row(&f->nodes, i);
        int64_t column = 0;
        box *b = f->boxes;

        while (b < f->boxes + f->count && !alike(f, b->node, node))
            b++;
        for (; e < f->edges.count && ql_row(&f->edges, e)[TO].integer == i; e++)
            column = box_at(f, e, FROM)->column + 1 > column ? box_at(f, e, FROM)->column + 1 : column;
        if (b == f->boxes + f->count) {
            *b = (box){.node = node, .first = i};
            f->count++;
        }
        b->nodes++;
        b->column = column > b->column ? column : b->column;
        f->columns = column + 1 > f->columns ? column + 1 : f->columns;
        f->box_of[i] = b;
    }
    return QL_OK;
}

static void
mean_of_inputs(const flow *f, box *b)
{
    int64_t inputs = 0;
    double sum = 0;

    for (int64_t e = 0; e < f->edges.count; e++)
        if (ql_row(&f->edges, e)[TO].integer == b->first) {
            sum += box_at(f, e, FROM)->y;
            inputs++;
        }
    b->y = inputs ? sum / (double)inputs : 0;
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

/* Has an earlier edge the same boxes at its ends? */
static bool
drawn_before(const flow *f, int64_t edge)
{
    for (int64_t e = 0; e < edge; e++)
        if (box_at(f, e, TO) == box_at(f, edge, TO) && box_at(f, e, FROM) == box_at(f, edge, FROM))
            return true;
    return false;
}

static void
draw_edges(const flow *f, FILE *out)
{
    for (int64_t e = 0; e < f->edges.count; e++) {
        const box *from = box_at(f, e, FROM), *to = box_at(f, e, TO);
        const double x = left_of(from) + BOX, end = left_of(to), half = (end - x) / 2;

        if (!drawn_before(f, e))
            fprintf(out, "<path class=\"edge\" d=\"M%.1f,%.1fC%.1f,%.1f %.1f,%.1f %.1f,%.1f\"/>\n", x, from->y,
                    x + half, from->y, end - half, to->y, end, to->y);
    }
}

static ql_status
draw_box(const flow *f, const box *b, FILE *out)
{
    const ql_field *n = b->node;
    const double x = left_of(b), y = b->y - HEIGHT / 2.0;
    const char *stage =
        b->nodes > 1 ? ql_format(f->cx, "%s (%lld)", n[STAGE].text, (long long)b->nodes) : n[STAGE].text;
    const char *label = ql_svg_fit(f->cx, n[LABEL].text, BOX - 12);

    stage = stage ? ql_svg_fit(f->cx, stage, BOX - 12) : NULL;
    if (!stage || !label)
        return QL_MEMORY;
    fprintf(out, "<g class=\"node\"><title>%lld %s: ", (long long)n[CELLS].integer,
            n[CELLS].integer == 1 ? "cell" : "cells");
    ql_html_put(out, n[LABEL].text);
    fprintf(out, "</title><rect class=\"box s%d\" x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"%d\" rx=\"4\"/>\n",
            ql_figure_colour(n[KIND].text), x, y, BOX, HEIGHT);
    ql_svg_text(out, x + 6, y + 14, QL_ANCHOR_START, stage);
    fputs("<g class=\"small\">", out);
    ql_svg_text(out, x + 6, y + 28, QL_ANCHOR_START, label);
    fputs("</g></g>\n", out);
    return QL_OK;
}

static void
put_table(const flow *f, FILE *out)
{
    int64_t e = 0;

    fputs("<table><thead><tr><th class=\"n\">node</th><th>stage</th><th>kind</th><th>plugin</th><th>inputs</th>"
          "<th class=\"n\">cells</th></tr></thead>\n<tbody>\n",
          out);
    for (int64_t i = 0; i < f->nodes.count; i++) {
        const ql_field *n = ql_row(&f->nodes, i);

        fprintf(out, "<tr><td class=\"n\">%lld</td><td>", (long long)i);
        ql_html_print(out, "%s</td><td>%s</td><td>%s</td><td>", n[STAGE].text, n[KIND].text, n[LABEL].text);
        for (int64_t first = e; e < f->edges.count && ql_row(&f->edges, e)[TO].integer == i; e++) {
            ql_html_print(out, e > first ? ", %s" : "%s", ql_row(&f->edges, e)[PORT].text);
            fprintf(out, " %lld", (long long)ql_row(&f->edges, e)[FROM].integer);
        }
        fprintf(out, "</td><td class=\"n\">%lld</td></tr>\n", (long long)n[CELLS].integer);
    }
    fputs("</tbody></table>\n", out);
}

/* Of one run; several have a graph each, and their own reports show them. */
ql_status
ql_figure_graph(ql_ctx *cx, const ql_figure_input *in, ql_figure *out)
{
    flow f = {.cx = cx};

    QL_TRY(cx, ql_sheet_read(in->book->db, &f.nodes, nodes_sql, ""));
    QL_TRY(cx, ql_sheet_read(in->book->db, &f.edges, edges_sql, ""));
    if (in->book->runs != 1 || f.nodes.count == 0)
        return QL_OK;
    QL_TRY(cx, place(&f));
    arrange(&f);
    ql_svg_open(out->svg, (double)f.columns * (BOX + GAP) - GAP + 2 * TITLE, f.height, "The graph");
    draw_edges(&f, out->svg);
    for (int64_t i = 0; i < f.count; i++)
        QL_TRY(cx, draw_box(&f, &f.boxes[i], out->svg));
    fputs("</svg>\n", out->svg);
    put_table(&f, out->data);
    out->caption =
        "What ran, from left to right: equal stages of different cells are one node. Nodes that look alike are drawn "
        "as one box, with their number in brackets: evaluators and exporters always, others in large graphs.";
    return QL_OK;
}
