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

/* The first metric of linears that says smaller is better. */
static const char metric_sql[] =
    "SELECT stage, name FROM kind k WHERE better = 1 AND EXISTS (SELECT 1 FROM linear l JOIN cell c ON c.id = l.cell"
    " WHERE c.run = k.run AND l.stage = k.stage AND l.name = k.name) LIMIT 1";

/* Its numbers, cell by cell. What can't be drawn is left out. */
enum { CELL, TITLE, LINEAR, VALUE };
static const char spots_sql[] =
    "SELECT l.cell, t.title, l.linear, l.value FROM linear l JOIN cell c ON c.id = l.cell JOIN title t ON t.cell = "
    "l.cell"
    " WHERE NOT c.baseline AND l.stage = ? AND l.name = ? AND abs(l.value) < 1e100 ORDER BY l.cell, l.rowid";

typedef struct spot {
    const ql_field *row;
    int64_t layer, linear, map;
} spot;

typedef struct atlas {
    ql_ctx *cx;
    const char *stage, *name;         /* the metric */
    int64_t count, map_count, layers; /* of spots; of cells, each with a map */
    spot *spots;
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
collect(atlas *a, const ql_sheet *rows)
{
    a->spots = ql_alloc(a->cx, (size_t)rows->count, sizeof *a->spots);
    if (!a->spots)
        return QL_MEMORY;
    for (a->count = 0; a->count < rows->count; a->count++) {
        const ql_field *row = ql_row(rows, a->count);
        spot *s = &a->spots[a->count];

        *s = (spot){.row = row};
        s->linear = ql_names_add(a->cx, &a->linears, split(row[LINEAR].text, &s->layer));
        if (s->linear < 0)
            return QL_MEMORY;
        a->map_count += a->count == 0 || s[-1].row[CELL].integer != row[CELL].integer;
        s->map = a->map_count - 1;
        a->layers = s->layer + 1 > a->layers ? s->layer + 1 : a->layers;
        a->low = fmin(a->low, row[VALUE].real);
        a->high = fmax(a->high, row[VALUE].real);
    }
    return QL_OK;
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

/* The map that begins with spot `at`, which moves behind it. */
static ql_status
draw_map(const atlas *a, int64_t *at, double x, double y, FILE *out)
{
    const double gap = a->step > 6 ? 1 : 0;
    const int64_t map = a->spots[*at].map;
    const char *whole = a->spots[*at].row[TITLE].text, *title = ql_svg_fit(a->cx, whole, WIDTH / a->columns - 10);
    char number[QL_NUMBER_SIZE];

    if (!title)
        return QL_MEMORY;
    fprintf(out, "<g class=\"map series\" transform=\"translate(%.0f,%.0f)\">\n<title>", x, y);
    ql_html_put(out, whole);
    fputs("</title>\n", out);
    ql_svg_text(out, 0, 13, QL_ANCHOR_START, title);
    QL_TRY(a->cx, draw_names(a, out));
    for (; *at < a->count && a->spots[*at].map == map; ++*at) {
        const spot *s = &a->spots[*at];

        ql_number_short(s->row[VALUE].real, number);
        fprintf(out,
                "<rect class=\"cell\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill-opacity=\"%.3f\"><title>",
                NAMES + (double)s->layer * a->step, HEAD + (double)s->linear * ROW, a->step - gap, ROW - 1,
                shade(a, s->row[VALUE].real));
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
    for (int64_t i = 0; i < a->count; i++) {
        const spot *s = &a->spots[i];

        ql_number_short(s->row[VALUE].real, number);
        ql_html_print(out, "<tr><td>%s</td>", s->row[TITLE].text);
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
    int64_t lines, at = 0;

    a->columns = shown > 1 && a->layers <= SIDE_BY_SIDE ? 2 : 1;
    a->step = fmin((WIDTH / a->columns - NAMES - 10) / (double)a->layers, STEP_MAX);
    lines = (shown + a->columns - 1) / a->columns;
    ql_svg_open(out, WIDTH, (double)lines * height + ROW + 8, "Error of each linear");
    for (int64_t m = 0; m < shown; m++)
        QL_TRY(a->cx,
               draw_map(a, &at, (double)(m % a->columns) * WIDTH / a->columns, (double)(m / a->columns) * height, out));
    draw_key(a, (double)lines * height + 4, out);
    fputs("</svg>\n", out);
    return QL_OK;
}

ql_status
ql_figure_heat(ql_ctx *cx, const ql_figure_input *in, ql_figure *out)
{
    atlas a = {.cx = cx, .low = INFINITY, .high = -INFINITY};
    ql_sheet metric, spots;

    QL_TRY(cx, ql_sheet_read(in->book->db, &metric, metric_sql, ""));
    if (metric.count == 0)
        return QL_OK;
    a.stage = ql_row(&metric, 0)[0].text;
    a.name = ql_row(&metric, 0)[1].text;
    QL_TRY(cx, ql_sheet_read(in->book->db, &spots, spots_sql, "tt", a.stage, a.name));
    if (spots.count == 0)
        return QL_OK;
    QL_TRY(cx, collect(&a, &spots));
    QL_TRY(cx, draw(&a, out->svg));
    put_table(&a, out->data);
    out->caption = ql_format(
        cx, "%s.%s, a ratio without unit: a row each linear, a column each layer, all maps in one colour scale%s.%s",
        a.stage, a.name, a.low > 0 && a.high > 10 * a.low ? ", logarithmic" : "",
        a.map_count > MAPS_MAX ? " The first cells; the numbers list them all." : "");
    return out->caption ? QL_OK : QL_MEMORY;
}
