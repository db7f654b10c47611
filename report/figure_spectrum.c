/* Lists of linears, falling by rank: singular values of a weight, of its error, and of what the adapter leaves of
 * it. A chart each linear, a colour each cell. */
#include <string.h>

#include "chart.h"
#include "figures.h"

#define LINEARS_MAX 6 /* drawn; results.db has all */
#define CELLS_MAX 6
#define THINNING 25 /* values are drawn one by one up to here, then every second, from 50 on every third, … */

typedef struct source { /* a cell that has lists */
    const ql_result_set *set;
    const ql_result_cell *cell;
} source;

typedef struct panels {
    ql_ctx *cx;
    const ql_figure_input *in;
    int64_t source_count, linear_count;
    source sources[CELLS_MAX];
    const char *linears[LINEARS_MAX];
    bool more;
    ql_chart charts[LINEARS_MAX];
} panels;

static void
add_linear(panels *p, const char *linear)
{
    for (int64_t i = 0; i < p->linear_count; i++)
        if (strcmp(p->linears[i], linear) == 0)
            return;
    if (p->linear_count < LINEARS_MAX)
        p->linears[p->linear_count++] = linear;
    else
        p->more = true;
}

static void
find_sources(panels *p)
{
    for (int64_t s = 0; s < p->in->count; s++)
        for (int64_t i = 0; i < p->in->sets[s]->cell_count; i++) {
            const ql_result_cell *c = &p->in->sets[s]->cells[i];
            bool has = false;

            for (int64_t k = 0; k < c->list_count && !c->baseline; k++)
                if (c->lists[k].linear) {
                    has = true;
                    add_linear(p, c->lists[k].linear);
                }
            if (has && p->source_count < CELLS_MAX)
                p->sources[p->source_count++] = (source){p->in->sets[s], c};
            else
                p->more = p->more || has;
        }
}

static ql_status
thin(ql_ctx *cx, const ql_result_list *l, ql_series *out)
{
    ql_point *points = ql_alloc(cx, (size_t)l->count, sizeof *points);

    if (!points)
        return QL_MEMORY;
    for (int64_t i = 0; i < l->count; i += 1 + i / THINNING)
        points[out->count++] = (ql_point){(double)(i + 1), l->values[i], NULL};
    if (points[out->count - 1].x < (double)l->count)
        points[out->count++] = (ql_point){(double)l->count, l->values[l->count - 1], NULL};
    out->points = points;
    return QL_OK;
}

static bool
same_list(const ql_result_list *a, const ql_result_list *b)
{
    return a->count == b->count && memcmp(a->values, b->values, (size_t)a->count * sizeof *a->values) == 0;
}

/* The lists of one linear in one cell; what an earlier cell showed already (the weight's, an error that compensators
 * share) is left out. */
static ql_status
add_cell(panels *p, int64_t linear, int64_t at, const ql_result_list **drawn, ql_series *series)
{
    const ql_result_cell *c = p->sources[at].cell;
    ql_chart *chart = &p->charts[linear];
    const char *cell = ql_figure_cell(p->cx, p->in, p->sources[at].set, c);
    int64_t own = 0; /* lists of this linear in the cell: the weight's, the error's, then what is left of it, dashed */

    for (int64_t i = 0; i < c->list_count; i++) {
        const ql_result_list *l = &c->lists[i];
        ql_series *s = &series[chart->series_count];
        const bool first = chart->series_count == 0;
        bool seen = l->count == 0;

        if (!l->linear || strcmp(l->linear, p->linears[linear]) != 0)
            continue;
        own++;
        for (int64_t k = 0; k < chart->series_count && !seen; k++)
            seen = same_list(drawn[k], l);
        if (seen)
            continue;
        *s = (ql_series){.style = first ? QL_COLOURS - 2 : (int)at + (own > 2 ? QL_COLOURS : 0)};
        s->name = first ? l->name : ql_format(p->cx, "%s: %s", cell ? cell : "", l->name);
        if (!cell || !s->name)
            return QL_MEMORY;
        QL_TRY(p->cx, thin(p->cx, l, s));
        drawn[chart->series_count++] = l;
    }
    return QL_OK;
}

static ql_status
make_chart(panels *p, int64_t linear)
{
    ql_chart *chart = &p->charts[linear];
    int64_t lists = 0;
    const ql_result_list **drawn;
    ql_series *series;

    for (int64_t i = 0; i < p->source_count; i++)
        lists += p->sources[i].cell->list_count;
    drawn = ql_alloc(p->cx, (size_t)lists, sizeof *drawn);
    series = ql_alloc(p->cx, (size_t)lists, sizeof *series);
    if (!drawn || !series)
        return QL_MEMORY;
    *chart = (ql_chart){.heading = p->linears[linear],
                        .x_label = "rank",
                        .y_label = "singular value, logarithmic",
                        .y_log = true,
                        .lines = true,
                        .series = series};
    for (int64_t i = 0; i < p->source_count; i++)
        QL_TRY(p->cx, add_cell(p, linear, i, drawn, series));
    return QL_OK;
}

ql_status
ql_figure_spectrum(ql_ctx *cx, const ql_figure_input *in, ql_figure *out)
{
    panels p = {.cx = cx, .in = in};
    double height = 0, top = 0, own;

    find_sources(&p);
    if (p.source_count == 0)
        return QL_OK;
    for (int64_t i = 0; i < p.linear_count; i++) {
        QL_TRY(cx, make_chart(&p, i));
        QL_TRY(cx, ql_chart_height(cx, &p.charts[i], &own));
        height += own;
    }
    ql_svg_open(out->svg, QL_FIGURE_WIDTH, height, "Singular values");
    for (int64_t i = 0; i < p.linear_count; i++) {
        fprintf(out->svg, "<g transform=\"translate(0,%.0f)\">\n", top);
        QL_TRY(cx, ql_chart_draw(cx, &p.charts[i], out->svg));
        fputs("</g>\n", out->svg);
        QL_TRY(cx, ql_chart_height(cx, &p.charts[i], &own));
        top += own;
        QL_TRY(cx, ql_chart_table(cx, &p.charts[i], out->data));
    }
    fputs("</svg>\n", out->svg);
    out->caption =
        ql_format(cx,
                  "Singular values, largest first, in the units of the weight: of the weight, of what quantization "
                  "leaves of it as error, and (dashed) of what the adapter leaves of that.%s",
                  p.more ? " The first cells and linears; results.db has them all." : "");
    return out->caption ? QL_OK : QL_MEMORY;
}
