/* Seconds and device memory of the stages of the graph, as bars. Stages that differ in the cell that they serve
 * alone are one bar. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "figures.h"
#include "render.h"

#define WIDTH QL_FIGURE_WIDTH
#define BAR 22      /* from one bar to the next */
#define NUMBER 64   /* for the number behind a bar */
#define BARS_MAX 16 /* drawn; the table has all */

typedef struct bar {
    const char *run, *stage, *kind, *label;
    ql_cost cost;
    int64_t nodes;
} bar;

typedef struct bars {
    int64_t count;
    bar *items;
} bars;

/* A quantity that bars show. */
typedef struct quantity {
    const char *title, *unit, *caption;
    double (*of)(const ql_cost *c);
} quantity;

static double
seconds(const ql_cost *c)
{
    return c->seconds;
}

static double
mebibytes(const ql_cost *c)
{
    return (double)c->peak / (1 << 20);
}

static bar *
find_bar(const bars *b, const char *run, const ql_result_node *n)
{
    for (int64_t i = 0; i < b->count; i++) {
        bar *o = &b->items[i];

        if (strcmp(o->run, run) == 0 && strcmp(o->stage, n->stage) == 0 && strcmp(o->label, n->label) == 0)
            return o;
    }
    return NULL;
}

static ql_status
collect(ql_ctx *cx, const ql_figure_input *in, bars *out)
{
    int64_t nodes = 0;

    for (int64_t s = 0; s < in->count; s++)
        nodes += in->sets[s]->node_count;
    *out = (bars){.items = ql_alloc(cx, (size_t)nodes, sizeof(bar))};
    if (!out->items)
        return QL_MEMORY;
    for (int64_t s = 0; s < in->count; s++)
        for (int64_t i = 0; i < in->sets[s]->node_count; i++) {
            const ql_result_node *n = &in->sets[s]->nodes[i];
            bar *b = find_bar(out, in->sets[s]->run, n);

            if (!b) {
                b = &out->items[out->count++];
                *b = (bar){.run = in->sets[s]->run, .stage = n->stage, .kind = n->kind, .label = n->label};
            }
            ql_cost_add(&b->cost, &n->cost);
            b->nodes++;
        }
    return QL_OK;
}

/* Most expensive first; equal ones stay in the order of the graph. */
static void
sort(bars *b, const quantity *q)
{
    for (int64_t i = 1; i < b->count; i++) {
        const bar moved = b->items[i];
        int64_t at = i;

        for (; at > 0 && q->of(&b->items[at - 1].cost) < q->of(&moved.cost); at--)
            b->items[at] = b->items[at - 1];
        b->items[at] = moved;
    }
}

/* "quant: NAME bits=3 (4)", behind the run where there are several. */
static const char *
name_of(ql_ctx *cx, const ql_figure_input *in, const bar *b)
{
    const char *name = *b->stage ? ql_format(cx, "%s: %s", b->stage, b->label) : b->label;

    if (name && b->nodes > 1)
        name = ql_format(cx, "%s (%lld)", name, (long long)b->nodes);
    return name && in->count > 1 ? ql_format(cx, "%s, %s", b->run, name) : name;
}

static ql_status
draw(ql_ctx *cx, const ql_figure_input *in, const bars *b, const quantity *q, FILE *out)
{
    const int64_t shown = b->count < BARS_MAX ? b->count : BARS_MAX;
    const double most = q->of(&b->items[0].cost), names = 200, room = WIDTH - names - NUMBER;

    ql_svg_open(out, WIDTH, (double)shown * BAR + 4, q->title);
    for (int64_t i = 0; i < shown; i++) {
        const double y = (double)i * BAR + 2, value = q->of(&b->items[i].cost);
        const double length = most > 0 ? fmax(1, value / most * room) : 1;
        const char *name = name_of(cx, in, &b->items[i]), *cut = name ? ql_svg_fit(cx, name, names - 8) : NULL;
        char text[QL_NUMBER_SIZE + 8];

        if (!cut)
            return QL_MEMORY;
        ql_html_print(out, "<g>\n<title>%s</title>\n", name);
        ql_svg_text(out, names - 6, y + 14, QL_ANCHOR_END, cut);
        fprintf(out, "<path class=\"bar series s%d\" data-series=\"", ql_figure_colour(b->items[i].kind));
        ql_html_put(out, name);
        fprintf(out, "\" d=\"M%.1f,%.1fh%.1fv14h-%.1fz\"/>\n", names, y + 3, length, length);
        snprintf(text, sizeof text, "%.3g %s", value, q->unit);
        ql_svg_text(out, names + length + 6, y + 14, QL_ANCHOR_START, text);
        fputs("</g>\n", out);
    }
    fputs("</svg>\n", out);
    return QL_OK;
}

static void
put_table(const bars *b, FILE *out)
{
    fputs("<table><thead><tr><th>run</th><th>stage</th><th>kind</th><th>plugin</th><th class=\"n\">nodes</th>"
          "<th class=\"n\">calls</th><th class=\"n\">seconds</th><th class=\"n\">MiB to the device</th>"
          "<th class=\"n\">MiB from it</th><th class=\"n\">MiB on it at most</th></tr></thead>\n<tbody>\n",
          out);
    for (int64_t i = 0; i < b->count; i++) {
        const bar *r = &b->items[i];

        ql_html_print(out, "<tr><td>%s</td><td>%s</td><td>%s</td><td>%s</td>", r->run, r->stage, r->kind, r->label);
        fprintf(out, "<td class=\"n\">%lld</td><td class=\"n\">%llu</td><td class=\"n\">%.4f</td>", (long long)r->nodes,
                (unsigned long long)r->cost.calls, r->cost.seconds);
        fprintf(out, "<td class=\"n\">%.2f</td><td class=\"n\">%.2f</td><td class=\"n\">%.2f</td></tr>\n",
                (double)r->cost.up / (1 << 20), (double)r->cost.down / (1 << 20), mebibytes(&r->cost));
    }
    fputs("</tbody></table>\n", out);
}

static ql_status
make(ql_ctx *cx, const ql_figure_input *in, const quantity *q, ql_figure *out)
{
    bars b;

    QL_TRY(cx, collect(cx, in, &b));
    if (b.count == 0)
        return QL_OK;
    sort(&b, q);
    QL_TRY(cx, draw(cx, in, &b, q, out->svg));
    put_table(&b, out->data);
    out->caption =
        ql_format(cx, "%s%s", q->caption, b.count > BARS_MAX ? " The largest ones; the numbers list them all." : "");
    return out->caption ? QL_OK : QL_MEMORY;
}

ql_status
ql_figure_time(ql_ctx *cx, const ql_figure_input *in, ql_figure *out)
{
    static const quantity q = {
        "Time of each stage", "s",
        "Seconds of each stage, without those of the stages that it calls: reading blocks for a model, forwarding its "
        "tokens through every variant for a data stage. In brackets the number of stages that are alike.",
        seconds};

    return make(cx, in, &q, out);
}

ql_status
ql_figure_memory(ql_ctx *cx, const ql_figure_input *in, ql_figure *out)
{
    static const quantity q = {
        "Device memory of each stage", "MiB",
        "Mebibytes that the device held at most while a stage was at work: weights, activations and statistics that it "
        "shares with other stages included.",
        mebibytes};

    return make(cx, in, &q, out);
}
