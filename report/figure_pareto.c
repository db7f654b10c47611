/* A metric against the bits that the weights take: which cells are better than every smaller one. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "chart.h"
#include "compare.h"
#include "figures.h"

typedef struct spot { /* a cell in the plane */
    const ql_result_set *set;
    const ql_result_cell *cell;
    double bits, value;
    const char *series, *label;
    bool front;
} spot;

typedef struct plane {
    ql_ctx *cx;
    const ql_figure_input *in;
    const char *key; /* the axis whose labels are the series; NULL: each run is one */
    ql_better better;
    int64_t count, missing; /* missing: cells without a number */
    spot *spots;
    const spot **front;
    int64_t front_count;
} plane;

/* Variants of a stage make the clearest series; of several axes of variants the one with most, of parameters the
 * first. */
static const char *
series_key(const ql_result_set *set)
{
    const char *key = set->axis_count ? set->references[0] : NULL;
    int64_t most = 0;

    for (int64_t a = 0; a < set->axis_count; a++) {
        int64_t labels = 0;

        if (strchr(set->references[a], '.'))
            continue;
        for (int64_t i = 0; i < set->cell_count; i++) {
            bool first = !set->cells[i].baseline && set->cells[i].labels[a];

            for (int64_t k = 0; k < i && first; k++)
                first = !set->cells[k].labels[a] || strcmp(set->cells[k].labels[a], set->cells[i].labels[a]) != 0;
            labels += first;
        }
        if (labels > most && strcmp(set->references[a], "seed") != 0) {
            most = labels;
            key = set->references[a];
        }
    }
    return key;
}

static const char *
label_of(const ql_result_set *set, const ql_result_cell *c, const char *key)
{
    for (int64_t i = 0; key && i < set->reference_count; i++)
        if (strcmp(set->references[i], key) == 0)
            return c->labels[i] ? c->labels[i] : "-";
    return set->run;
}

static ql_status
collect(plane *p, const ql_result_set *set)
{
    for (int64_t i = 0; i < set->cell_count; i++) {
        const ql_result_cell *c = &set->cells[i];
        spot s = {.set = set, .cell = c, .bits = c->bits, .series = label_of(set, c, p->key)};

        if (c->baseline)
            continue;
        if (c->error || !isfinite(c->bits) || !ql_results_value(c, p->in->value, &s.value) || !isfinite(s.value)) {
            p->missing++;
            continue;
        }
        s.label = ql_figure_cell(p->cx, p->in, set, c);
        if (!s.label)
            return QL_MEMORY;
        p->spots[p->count++] = s;
    }
    return QL_OK;
}

static bool
beats(const plane *p, double a, double b)
{
    return p->better == QL_BETTER_HIGHER ? a > b : a < b;
}

static int
by_bits(const void *pa, const void *pb)
{
    const spot *a = *(const spot *const *)pa, *b = *(const spot *const *)pb;

    return (a->bits > b->bits) - (a->bits < b->bits);
}

/* A cell is on the front when none takes as few bits and is better, or fewer bits and is as good. */
static ql_status
find_front(plane *p)
{
    p->front = ql_alloc(p->cx, (size_t)p->count, sizeof *p->front);
    if (!p->front)
        return QL_MEMORY;
    for (int64_t i = 0; i < p->count; i++) {
        const spot *s = &p->spots[i];
        bool beaten = false;

        for (int64_t k = 0; k < p->count; k++) {
            const spot *o = &p->spots[k];

            beaten = beaten || (o->bits <= s->bits && beats(p, o->value, s->value)) ||
                     (o->bits < s->bits && o->value == s->value);
        }
        p->spots[i].front = !beaten;
        if (!beaten)
            p->front[p->front_count++] = s;
    }
    if (p->front_count > 1)
        qsort(p->front, (size_t)p->front_count, sizeof *p->front, by_bits);
    return QL_OK;
}

/* The original model's value, where all runs agree on it. */
static bool
original(const plane *p, double *value)
{
    bool found = false;

    for (int64_t s = 0; s < p->in->count; s++)
        for (int64_t i = 0; i < p->in->sets[s]->cell_count; i++) {
            const ql_result_cell *c = &p->in->sets[s]->cells[i];
            double own;

            if (!c->baseline || !ql_results_value(c, p->in->value, &own) || !isfinite(own))
                continue;
            if (found && own != *value)
                return false;
            *value = own;
            found = true;
        }
    return found;
}

/* Were all numbers made in the same way? */
static bool
comparable(const plane *p, const char *stage)
{
    for (int64_t i = 1; i < p->count; i++)
        if (!ql_results_same_notes(p->spots[0].cell, p->spots[i].cell, stage))
            return false;
    return true;
}

static ql_status
make_series(plane *p, ql_series **out, int64_t *count)
{
    ql_point *points = ql_alloc(p->cx, (size_t)p->count, sizeof *points);
    ql_series *series = ql_alloc(p->cx, (size_t)p->count, sizeof *series);
    int64_t used = 0;

    *out = series;
    *count = 0;
    if (!points || !series)
        return QL_MEMORY;
    for (int64_t i = 0; i < p->count; i++) {
        ql_series *s = &series[*count];
        bool seen = false;

        for (int64_t k = 0; k < *count; k++)
            seen = seen || strcmp(series[k].name, p->spots[i].series) == 0;
        if (seen)
            continue;
        *s = (ql_series){.name = p->spots[i].series, .points = points + used, .style = (int)(*count)++};
        for (int64_t k = i; k < p->count; k++) {
            const spot *o = &p->spots[k];
            const char *label = o->front ? ql_format(p->cx, "%s (on the front)", o->label) : o->label;

            if (strcmp(o->series, s->name) != 0)
                continue;
            if (!label)
                return QL_MEMORY;
            points[used++] = (ql_point){o->bits, o->value, label};
            s->count++;
        }
    }
    return QL_OK;
}

static ql_status
draw(plane *p, ql_figure *out)
{
    ql_point *line = ql_alloc(p->cx, (size_t)p->front_count, sizeof *line);
    ql_series front = {.name = "front", .count = p->front_count, .points = line};
    ql_chart c = {.x_label = "bits per weight", .point_label = "cell"};
    ql_series *series;
    double low = INFINITY, high = 0, height;

    QL_TRY(p->cx, make_series(p, &series, &c.series_count));
    if (!line)
        return QL_MEMORY;
    c.series = series;
    for (int64_t i = 0; i < p->front_count; i++)
        line[i] = (ql_point){p->front[i]->bits, p->front[i]->value, NULL};
    for (int64_t i = 0; i < p->count; i++) {
        low = fmin(low, p->spots[i].value);
        high = fmax(high, p->spots[i].value);
    }
    c.y_log = low > 0 && high > 3 * low;
    c.front = p->better == QL_BETTER_UNSAID ? NULL : &front;
    c.y_label = ql_format(p->cx, "%s%s", p->in->value, c.y_log ? ", logarithmic" : "");
    if (original(p, &c.level))
        c.level_name = "original model";
    if (!c.y_label)
        return QL_MEMORY;
    QL_TRY(p->cx, ql_chart_height(p->cx, &c, &height));
    ql_svg_open(out->svg, QL_FIGURE_WIDTH, height, "Quality against size");
    QL_TRY(p->cx, ql_chart_draw(p->cx, &c, out->svg));
    fputs("</svg>\n", out->svg);
    return ql_chart_table(p->cx, &c, out->data);
}

ql_status
ql_figure_pareto(ql_ctx *cx, const ql_figure_input *in, ql_figure *out)
{
    plane p = {.cx = cx, .in = in, .key = in->count == 1 ? series_key(in->sets[0]) : NULL};
    const ql_result_kind *kind = NULL;
    int64_t cells = 0;

    for (int64_t s = 0; s < in->count; s++)
        cells += in->sets[s]->cell_count;
    p.spots = ql_alloc(cx, (size_t)cells, sizeof *p.spots);
    if (!p.spots)
        return QL_MEMORY;
    for (int64_t s = 0; in->value && s < in->count; s++) {
        QL_TRY(cx, collect(&p, in->sets[s]));
        kind = kind ? kind : ql_results_kind_of(in->sets[s], in->value);
    }
    if (p.count == 0)
        return QL_OK;
    p.better = kind ? kind->better : QL_BETTER_UNSAID;
    QL_TRY(cx, find_front(&p));
    QL_TRY(cx, draw(&p, out));
    out->caption = ql_format(
        cx,
        "%s%s%s%s of %lld cells against the bits that a weight of a block's linears takes on average: codes, scales, "
        "zeros and adapter.%s%s%s",
        in->value, kind && kind->unit ? " (" : "", kind && kind->unit ? kind->unit : "", kind && kind->unit ? ")" : "",
        (long long)p.count,
        p.better == QL_BETTER_UNSAID ? ""
                                     : " The line joins the Pareto front: no other cell is both smaller and better.",
        p.missing ? " Cells that failed are left out." : "",
        kind && !comparable(&p, kind->stage) ? " Not all numbers were made in the same way: the table says how." : "");
    return out->caption ? QL_OK : QL_MEMORY;
}
