/* The error of each linear, layer by layer: a small map a cell, all in one colour scale. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "figures.h"
#include "render.h"

#define WIDTH QL_FIGURE_WIDTH
#define NAMES 74 /* of linears, left of a map */
#define ROW 15
#define HEAD 22         /* title of a map */
#define FOOT 26         /* layers, below the last row */
#define SIDE_BY_SIDE 20 /* layers at most of two maps in a line */
#define STEP_MAX 44     /* width of a layer at most */
#define MAPS_MAX 12     /* drawn; the table has all */

typedef struct spot {
    int64_t layer, linear;
    double value;
} spot;

typedef struct map { /* of a cell */
    const char *title;
    int64_t count;
    spot *spots;
} map;

typedef struct atlas {
    ql_ctx *cx;
    const ql_figure_input *in;
    const char *stage, *name; /* the metric */
    int64_t map_count, layers;
    map *maps;
    ql_names linears; /* "mlp.down_proj", in the order of their first appearance */
    double low, high;
    int columns; /* maps side by side */
    double step; /* width of a layer */
} atlas;

/* "model.layers.3.mlp.down_proj" is linear "mlp.down_proj" of layer 3: the first number between dots is the layer. */
static const char *
split(const char *name, int64_t *layer)
{
    for (const char *p = name; *p; p++) {
        char *end;
        long long n;

        if ((p != name && p[-1] != '.') || *p < '0' || *p > '9')
            continue;
        n = strtoll(p, &end, 10);
        if (*end == '.' && n < 1 << 20) {
            *layer = n;
            return end + 1;
        }
    }
    *layer = 0;
    return name;
}

static ql_status
add_map(atlas *a, const ql_result_set *set, const ql_result_cell *c)
{
    map *m = &a->maps[a->map_count];

    *m = (map){.spots = ql_alloc(a->cx, (size_t)c->linear_count, sizeof(spot))};
    m->title = ql_figure_cell(a->cx, a->in, set, c);
    if (!m->spots || !m->title)
        return QL_MEMORY;
    for (int64_t i = 0; i < c->linear_count; i++) {
        const ql_result_linear *l = &c->linears[i];
        spot s = {.value = l->value};
        const char *linear;

        if (strcmp(l->stage, a->stage) != 0 || strcmp(l->name, a->name) != 0 || !ql_svg_can_draw(l->value))
            continue;
        linear = split(l->linear, &s.layer);
        QL_TRY(a->cx, ql_names_add(a->cx, &a->linears, linear));
        s.linear = ql_names_find(&a->linears, linear);
        a->layers = s.layer + 1 > a->layers ? s.layer + 1 : a->layers;
        a->low = fmin(a->low, s.value);
        a->high = fmax(a->high, s.value);
        m->spots[m->count++] = s;
    }
    a->map_count += m->count > 0;
    return QL_OK;
}

/* The first metric of linears that says smaller is better. */
static bool
find_metric(atlas *a)
{
    for (int64_t s = 0; s < a->in->count; s++)
        for (int64_t k = 0; k < a->in->sets[s]->kind_count; k++) {
            const ql_result_kind *kind = &a->in->sets[s]->kinds[k];
            const ql_result_cell *cells = a->in->sets[s]->cells;

            for (int64_t c = 0; c < a->in->sets[s]->cell_count && kind->better == QL_BETTER_LOWER; c++)
                for (int64_t i = 0; i < cells[c].linear_count; i++) {
                    if (strcmp(cells[c].linears[i].stage, kind->stage) != 0 ||
                        strcmp(cells[c].linears[i].name, kind->name) != 0)
                        continue;
                    a->stage = kind->stage;
                    a->name = kind->name;
                    return true;
                }
        }
    return false;
}

/* From 0.06 to 1, along the logarithm where the values span more than a factor of ten. */
static double
shade(const atlas *a, double value)
{
    const bool log = a->low > 0 && a->high > 10 * a->low;
    const double low = log ? log10(a->low) : a->low, high = log ? log10(a->high) : a->high;

    return high > low ? 0.06 + 0.94 * ((log ? log10(value) : value) - low) / (high - low) : 0.5;
}

/* Linears at the left, layers below as many as there is room for. */
static ql_status
draw_names(const atlas *a, FILE *out)
{
    const double bottom = HEAD + (double)a->linears.count * ROW;
    const int64_t each = 1 + (int64_t)(24 / a->step);
    char layer[24];

    fputs("<g class=\"small\">\n", out);
    for (int64_t l = 0; l < a->linears.count; l++) {
        const char *last = strrchr(a->linears.items[l], '.');
        const char *name = ql_svg_fit(a->cx, last ? last + 1 : a->linears.items[l], NAMES - 6);

        if (!name)
            return QL_MEMORY;
        ql_svg_text(out, NAMES - 6, HEAD + (double)l * ROW + 11, QL_ANCHOR_END, name);
    }
    for (int64_t l = 0; l < a->layers; l += each) {
        snprintf(layer, sizeof layer, "%lld", (long long)l);
        ql_svg_text(out, NAMES + ((double)l + 0.5) * a->step, bottom + 12, QL_ANCHOR_MIDDLE, layer);
    }
    fputs("</g>\n", out);
    return QL_OK;
}

static ql_status
draw_map(const atlas *a, const map *m, double x, double y, FILE *out)
{
    const double gap = a->step > 6 ? 1 : 0;
    const char *title = ql_svg_fit(a->cx, m->title, WIDTH / a->columns - 10);
    char number[QL_NUMBER_SIZE];

    if (!title)
        return QL_MEMORY;
    fprintf(out, "<g class=\"map series\" transform=\"translate(%.0f,%.0f)\">\n<title>", x, y);
    ql_html_put(out, m->title);
    fputs("</title>\n", out);
    ql_svg_text(out, 0, 13, QL_ANCHOR_START, title);
    QL_TRY(a->cx, draw_names(a, out));
    for (int64_t i = 0; i < m->count; i++) {
        const spot *s = &m->spots[i];

        ql_number_short(s->value, number);
        fprintf(out,
                "<rect class=\"cell\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill-opacity=\"%.3f\"><title>",
                NAMES + (double)s->layer * a->step, HEAD + (double)s->linear * ROW, a->step - gap, ROW - 1,
                shade(a, s->value));
        fprintf(out, "layer %lld, ", (long long)s->layer);
        ql_html_print(out, "%s: %s</title></rect>\n", a->linears.items[s->linear], number);
    }
    fputs("</g>\n", out);
    return QL_OK;
}

static void
draw_key(const atlas *a, double top, FILE *out)
{
    char low[QL_NUMBER_SIZE], high[QL_NUMBER_SIZE];

    ql_number_short(a->low, low);
    ql_number_short(a->high, high);
    fputs("<g class=\"small\">\n", out);
    ql_svg_text(out, NAMES - 6, top + 11, QL_ANCHOR_END, low);
    for (int i = 0; i < 20; i++)
        fprintf(out, "<rect class=\"cell\" x=\"%d\" y=\"%.1f\" width=\"6\" height=\"%d\" fill-opacity=\"%.3f\"/>\n",
                NAMES + i * 6, top, ROW - 1, 0.06 + 0.94 * i / 19);
    ql_svg_text(out, NAMES + 126, top + 11, QL_ANCHOR_START, high);
    fputs("</g>\n", out);
}

static void
put_table(const atlas *a, FILE *out)
{
    char number[QL_NUMBER_SIZE];

    ql_html_print(
        out,
        "<table><thead><tr><th>cell</th><th>layer</th><th>linear</th><th class=\"n\">%s</th></tr></thead>\n<tbody>\n",
        a->name);
    for (int64_t m = 0; m < a->map_count; m++)
        for (int64_t i = 0; i < a->maps[m].count; i++) {
            const spot *s = &a->maps[m].spots[i];

            ql_number_short(s->value, number);
            ql_html_print(out, "<tr><td>%s</td>", a->maps[m].title);
            fprintf(out, "<td>%lld</td>", (long long)s->layer);
            ql_html_print(out, "<td>%s</td><td class=\"n\">%s</td></tr>\n", a->linears.items[s->linear], number);
        }
    fputs("</tbody></table>\n", out);
}

static ql_status
draw(atlas *a, FILE *out)
{
    const int64_t shown = a->map_count < MAPS_MAX ? a->map_count : MAPS_MAX;
    const double height = HEAD + (double)a->linears.count * ROW + FOOT;
    int64_t lines;

    a->columns = shown > 1 && a->layers <= SIDE_BY_SIDE ? 2 : 1;
    a->step = fmin((WIDTH / a->columns - NAMES - 10) / (double)a->layers, STEP_MAX);
    lines = (shown + a->columns - 1) / a->columns;
    ql_svg_open(out, WIDTH, (double)lines * height + ROW + 8, "Error of each linear");
    for (int64_t m = 0; m < shown; m++)
        QL_TRY(a->cx, draw_map(a, &a->maps[m], (double)(m % a->columns) * WIDTH / a->columns,
                               (double)(m / a->columns) * height, out));
    draw_key(a, (double)lines * height + 4, out);
    fputs("</svg>\n", out);
    return QL_OK;
}

ql_status
ql_figure_heat(ql_ctx *cx, const ql_figure_input *in, ql_figure *out)
{
    atlas a = {.cx = cx, .in = in, .low = INFINITY, .high = -INFINITY};
    int64_t cells = 0;

    for (int64_t s = 0; s < in->count; s++)
        cells += in->sets[s]->cell_count;
    a.maps = ql_alloc(cx, (size_t)cells, sizeof *a.maps);
    if (!a.maps)
        return QL_MEMORY;
    if (!find_metric(&a))
        return QL_OK;
    for (int64_t s = 0; s < in->count; s++)
        for (int64_t i = 0; i < in->sets[s]->cell_count; i++)
            if (!in->sets[s]->cells[i].baseline)
                QL_TRY(cx, add_map(&a, in->sets[s], &in->sets[s]->cells[i]));
    if (a.map_count == 0)
        return QL_OK;
    QL_TRY(cx, draw(&a, out->svg));
    put_table(&a, out->data);
    out->caption = ql_format(
        cx, "%s.%s, a ratio without unit: a row each linear, a column each layer, all maps in one colour scale%s.%s",
        a.stage, a.name, a.low > 0 && a.high > 10 * a.low ? ", logarithmic" : "",
        a.map_count > MAPS_MAX ? " The first cells; the numbers list them all." : "");
    return out->caption ? QL_OK : QL_MEMORY;
}
