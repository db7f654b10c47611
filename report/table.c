/* Fills a laid-out table: numbers, means over seeds, failures, footnotes. */
#include "table.h"

#include <math.h>
#include <string.h>

#include "compare.h"
#include "layout.h"

typedef struct place { /* an entry while it is being filled */
    const ql_result_set *set;
    const ql_result_cell *cell; /* the first that came */
    double square;              /* sum of squared distances from the mean (Welford) */
    int64_t failures;
    const char *error; /* of the first failure */
    ql_names texts;    /* footnotes */
} place;

typedef struct maker {
    ql_ctx *cx;
    const ql_table_spec *spec;
    ql_layout layout;
    ql_table *out;
    place *places; /* [row_count * column_count] */
} maker;

/* --- numbers */

static const char *
label_of(const ql_result_set *set, const ql_result_cell *c, int64_t reference)
{
    const char *label = reference < set->reference_count ? c->labels[reference] : NULL;

    return label ? label : "";
}

/* Two cells may share a place when nothing but the seed tells them apart. */
static ql_status
may_meet(maker *m, const place *p, const ql_result_set *set, const ql_result_cell *c)
{
    if (p->set != set)
        return QL_FAIL(m->cx, QL_INVALID,
                       "table: cells of the runs '%s' and '%s' meet in one place; add 'run' to rows or columns",
                       p->set->run, set->run);
    for (int64_t i = 0; i < set->axis_count; i++) {
        const char *axis = set->references[i];

        if (strcmp(axis, QL_SEED_KEY) != 0 && strcmp(label_of(set, p->cell, i), label_of(set, c, i)) != 0)
            return QL_FAIL(m->cx, QL_INVALID,
                           "table: cells that differ in '%s' meet in one place; add '%s' to rows or columns", axis,
                           axis);
    }
    return QL_OK;
}

static bool
same_number(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static ql_status
put(maker *m, int64_t at, const ql_result_set *set, const ql_result_cell *c, double value)
{
    ql_table_entry *e = &m->out->entries[at];
    place *p = &m->places[at];
    double off;

    if (p->cell && c->baseline && e->count == 1 && !c->error && same_number(e->mean, value))
        return QL_OK; /* the same original, measured by another run or for another seed */
    if (p->cell)
        QL_TRY(m->cx, may_meet(m, p, set, c));
    else
        *p = (place){.set = set, .cell = c};
    for (int64_t i = 0; i < c->footnote_count; i++)
        QL_TRY(m->cx, ql_names_add(m->cx, &p->texts, c->footnotes[i]));
    if (c->error) {
        p->failures++;
        p->error = p->error ? p->error : c->error;
        return QL_OK;
    }
    off = value - e->mean;
    e->count++;
    e->mean += off / (double)e->count;
    if (e->count == 1)
        e->mean = value; /* an infinity stays one */
    p->square += off * (value - e->mean);
    e->sd = e->count > 1 ? sqrt(p->square / (double)(e->count - 1)) : 0;
    e->spread = e->count > 1;
    return QL_OK;
}

/* A cell's number under a metric, and the error of a difference; false: it has none. */
static bool
number_of(const maker *m, const ql_result_set *set, const ql_result_cell *c, const char *metric, ql_difference *out)
{
    const ql_table_spec *spec = m->spec;
    const int64_t cell = c - set->cells;

    *out = (ql_difference){.value = NAN, .error = NAN};
    if (!spec->differences)
        return ql_results_value(c, metric, &out->value);
    return ql_results_difference(set, cell, ql_results_reference(set, cell, spec->against, spec->against_count), metric,
                                 out);
}

static ql_status
put_cell(maker *m, const ql_result_set *set, const ql_result_cell *c)
{
    const ql_layout *l = &m->layout;
    int64_t row = ql_layout_row(m->cx, l, set, c);

    for (int64_t t = 0; t < l->columns.count && row >= 0; t++) {
        if (!ql_layout_meets(m->cx, l, set, c, t))
            continue;
        for (int64_t k = 0; k < l->metrics.count; k++) {
            const int64_t at = row * m->out->column_count + t * l->metrics.count + k;
            ql_difference number;

            if (!number_of(m, set, c, l->metrics.items[k], &number) && !c->error)
                continue;
            QL_TRY(m->cx, put(m, at, set, c, number.value));
            if (m->out->entries[at].count == 1 && !isnan(number.error)) {
                m->out->entries[at].sd = number.error;
                m->out->entries[at].spread = true;
            }
        }
    }
    return row >= 0 ? QL_OK : QL_MEMORY;
}

/* --- the best */

/* Which way is better; a cost is when it is low. */
static ql_better
better_of(const maker *m, const char *metric)
{
    for (int64_t s = 0; s < m->layout.set_count; s++) {
        const ql_result_kind *kind = ql_results_kind_of(m->layout.sets[s], metric);

        if (kind)
            return kind->better;
    }
    for (int i = 0; i < QL_COST_COUNT; i++)
        if (strcmp(metric, ql_cost_names[i]) == 0)
            return QL_BETTER_LOWER;
    return QL_BETTER_UNSAID;
}

/* Marks the best of `count` entries, `step` apart; equal ones all. */
static void
mark_best(ql_table_entry *first, int64_t count, int64_t step, ql_better better)
{
    double best = NAN;

    for (int64_t i = 0; i < count && better != QL_BETTER_UNSAID; i++) {
        const ql_table_entry *e = &first[i * step];
        const bool beats = better == QL_BETTER_LOWER ? e->mean < best : e->mean > best;

        if (e->count && !isnan(e->mean) && (isnan(best) || beats))
            best = e->mean;
    }
    for (int64_t i = 0; i < count; i++)
        first[i * step].best = first[i * step].count && first[i * step].mean == best;
}

/* Original models don't compete. */
static void
find_best(maker *m)
{
    const int64_t metrics = m->layout.metrics.count, width = m->out->column_count, first = m->out->baseline_count;
    const int64_t rows = m->out->row_count - first;

    for (int64_t k = 0; k < width && m->spec->best == QL_BEST_OF_COLUMN; k++)
        mark_best(m->out->entries + first * width + k, rows, width, better_of(m, m->layout.metrics.items[k % metrics]));
    for (int64_t i = 0; i < rows * metrics && m->spec->best == QL_BEST_OF_ROW; i++)
        mark_best(m->out->entries + (first + i / metrics) * width + i % metrics, width / metrics, metrics,
                  better_of(m, m->layout.metrics.items[i % metrics]));
}

static ql_status
settle_failures(maker *m)
{
    for (int64_t i = 0; i < m->out->row_count * m->out->column_count; i++) {
        ql_table_entry *e = &m->out->entries[i];
        place *p = &m->places[i];

        e->failed = p->failures > 0 && e->count == 0;
        if (e->failed)
            QL_TRY(m->cx, ql_names_add(m->cx, &p->texts, p->error));
        else if (p->failures > 0)
            QL_TRY(m->cx, ql_names_add(m->cx, &p->texts,
                                       ql_format(m->cx, "%lld of %lld seeds failed: %s", (long long)p->failures,
                                                 (long long)(p->failures + e->count), p->error)));
    }
    return QL_OK;
}

/* --- what the numbers stand for */

/* "protocol NAME, bos no, seqlen 256" */
static const char *
notes_of(ql_ctx *cx, const ql_result_cell *c, const char *stage, size_t length)
{
    const char *text = "";

    for (int64_t i = 0; i < c->note_count && text; i++)
        if (strncmp(c->notes[i].stage, stage, length) == 0 && c->notes[i].stage[length] == '\0')
            text = ql_format(cx, "%s%s%s %s", text, *text ? ", " : "", c->notes[i].name, c->notes[i].value);
    return text;
}

static ql_status
remark_differences(maker *m)
{
    const char *from = m->spec->against_count ? "the cell with" : "the original model";

    if (!m->spec->differences)
        return QL_OK;
    for (int64_t i = 0; i < m->spec->against_count && from; i++)
        from =
            ql_format(m->cx, "%s%s %s=%s", from, i ? " and" : "", m->spec->against[i].key, m->spec->against[i].label);
    if (!from)
        return QL_MEMORY;
    return ql_names_add(
        m->cx, &m->out->remarks,
        ql_format(m->cx, "differences from %s, \xc2\xb1 paired standard error, over seeds standard deviation", from));
}

/* Numbers of one metric that were made in different ways carry a footnote each; else one remark holds for all. */
static ql_status
note_metric(maker *m, int64_t metric)
{
    const char *name = m->layout.metrics.items[metric], *first = NULL;
    const int64_t entries = m->out->row_count * m->out->column_count, step = m->layout.metrics.count;
    size_t length = strcspn(name, ".");
    bool differ = false;

    for (int64_t i = metric; i < entries; i += step) {
        const place *p = &m->places[i];
        const char *text = p->cell && !p->cell->error ? notes_of(m->cx, p->cell, name, length) : "";

        if (!text)
            return QL_MEMORY;
        differ = differ || (*text && first && strcmp(text, first) != 0);
        first = *text ? text : first;
    }
    for (int64_t i = metric; i < entries && differ; i += step) {
        place *p = &m->places[i];
        const char *text = p->cell && !p->cell->error ? notes_of(m->cx, p->cell, name, length) : "";

        if (*text)
            QL_TRY(m->cx, ql_names_add(m->cx, &p->texts, ql_format(m->cx, "%.*s: %s", (int)length, name, text)));
    }
    if (differ || !first)
        return QL_OK;
    return ql_names_add(m->cx, &m->out->remarks, ql_format(m->cx, "%.*s: %s", (int)length, name, first));
}

/* --- footnotes */

static ql_status
mark(maker *m, ql_notes *notes, const char *text)
{
    ql_table *t = m->out;
    int64_t number, *item;

    QL_TRY(m->cx, ql_names_add(m->cx, &t->footnotes, text));
    number = ql_names_find(&t->footnotes, text);
    item = ql_results_append(m->cx, &notes->items, &notes->count, sizeof *item);
    if (!item)
        return QL_MEMORY;
    for (; item > notes->items && item[-1] > number + 1; item--)
        *item = item[-1];
    *item = number + 1;
    return QL_OK;
}

static bool
names_stage(const char *key, const char *stage)
{
    size_t n = strlen(stage);

    return strncmp(key, stage, n) == 0 && (key[n] == '\0' || strcmp(key + n, ".use") == 0);
}

static const char *
cite_text(ql_ctx *cx, const ql_result_cite *c)
{
    return ql_format(cx, "%s: %s", c->plugin, c->cite);
}

static ql_status
mark_cites(maker *m, const char *key, const char *label, ql_notes *notes)
{
    const char *seen = NULL;

    for (int64_t s = 0; s < m->layout.set_count; s++)
        for (int64_t i = 0; i < m->layout.sets[s]->cite_count; i++) {
            const ql_result_cite *c = &m->layout.sets[s]->cites[i];

            if (!names_stage(key, c->stage) || strcmp(label, c->label) != 0 || (seen && strcmp(seen, c->cite) == 0))
                continue;
            seen = c->cite;
            QL_TRY(m->cx, mark(m, notes, cite_text(m->cx, c)));
        }
    return QL_OK;
}

/* Papers of plugins that no label of the table names. */
static ql_status
remark_cites(maker *m)
{
    const ql_layout *l = &m->layout;

    for (int64_t s = 0; s < l->set_count; s++)
        for (int64_t i = 0; i < l->sets[s]->cite_count; i++) {
            const ql_result_cite *c = &l->sets[s]->cites[i];
            bool named = false;

            for (int64_t k = 0; k < l->row_keys.count; k++)
                named = named || names_stage(l->row_keys.items[k], c->stage);
            for (int64_t k = 0; k < l->column_keys.count; k++)
                named = named || names_stage(l->column_keys.items[k], c->stage);
            if (!named)
                QL_TRY(m->cx, ql_names_add(m->cx, &m->out->remarks, cite_text(m->cx, c)));
        }
    return QL_OK;
}

/* --- labels */

static ql_status
make_columns(maker *m)
{
    const ql_layout *l = &m->layout;

    for (int64_t i = 0; i < m->out->column_count; i++) {
        const char *const *labels =
            l->columns.width ? l->columns.labels.items + i / l->metrics.count * l->columns.width : NULL;
        const char *metric = l->metrics.items[i % l->metrics.count];
        ql_table_label *column = &m->out->columns[i];

        column->text = l->columns.width ? "" : metric;
        for (int64_t k = 0; k < l->columns.width && column->text; k++) {
            column->text = ql_format(m->cx, "%s%s%s", column->text, k ? ", " : "", labels[k]);
            QL_TRY(m->cx, mark_cites(m, l->column_keys.items[k], labels[k], &column->notes));
        }
        if (l->columns.width && l->metrics.count > 1 && column->text)
            column->text = ql_format(m->cx, "%s, %s", column->text, metric);
        if (!column->text)
            return QL_MEMORY;
    }
    return QL_OK;
}

/* A baseline says "original" once, not under every key. */
static ql_status
make_rows(maker *m)
{
    const int64_t width = m->out->key_count;

    for (int64_t i = 0; i < m->out->row_count; i++) {
        const char *const *labels = m->layout.rows.labels.items + i * width;
        bool said = false;

        for (int64_t k = 0; k < width; k++) {
            ql_table_label *label = &m->out->rows[i * width + k];
            bool original = i < m->out->baseline_count && strcmp(labels[k], QL_ORIGINAL_LABEL) == 0;

            label->text = original && said ? "" : labels[k];
            said = said || original;
            QL_TRY(m->cx, mark_cites(m, m->layout.row_keys.items[k], labels[k], &label->notes));
        }
        for (int64_t k = i * m->out->column_count; k < (i + 1) * m->out->column_count; k++)
            for (int64_t n = 0; n < m->places[k].texts.count; n++)
                QL_TRY(m->cx, mark(m, &m->out->entries[k].notes, m->places[k].texts.items[n]));
    }
    return QL_OK;
}

static ql_status
allocate(maker *m)
{
    const ql_layout *l = &m->layout;
    ql_table *t = m->out;
    size_t entries;

    *t = (ql_table){.key_count = l->row_keys.count, .row_count = l->rows.count, .baseline_count = l->rows.baselines};
    t->column_count = l->columns.count * l->metrics.count;
    t->keys = l->row_keys.items;
    t->differences = m->spec->differences;
    entries = (size_t)(t->row_count * t->column_count);
    t->rows = ql_alloc(m->cx, (size_t)(t->row_count * t->key_count), sizeof *t->rows);
    t->columns = ql_alloc(m->cx, (size_t)t->column_count, sizeof *t->columns);
    t->entries = ql_alloc(m->cx, entries, sizeof *t->entries);
    m->places = ql_alloc(m->cx, entries, sizeof *m->places);
    return t->rows && t->columns && t->entries && m->places ? QL_OK : QL_MEMORY;
}

ql_status
ql_table_make(ql_ctx *cx, const ql_result_set *const *sets, int64_t count, const ql_table_spec *spec, ql_table *out)
{
    maker m = {.cx = cx, .spec = spec, .out = out};

    QL_TRY(cx, ql_layout_make(cx, sets, count, spec, &m.layout));
    QL_TRY(cx, allocate(&m));
    for (int64_t s = 0; s < count; s++)
        for (int64_t i = 0; i < sets[s]->cell_count; i++)
            QL_TRY(cx, put_cell(&m, sets[s], &sets[s]->cells[i]));
    QL_TRY(cx, settle_failures(&m));
    find_best(&m);
    if (m.layout.columns.width && m.layout.metrics.count == 1)
        out->value = m.layout.metrics.items[0];
    for (int64_t k = 0; k < m.layout.metrics.count; k++)
        QL_TRY(cx, note_metric(&m, k));
    QL_TRY(cx, make_columns(&m));
    QL_TRY(cx, make_rows(&m));
    QL_TRY(cx, remark_differences(&m));
    return remark_cites(&m);
}
