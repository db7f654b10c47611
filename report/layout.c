/* Rows and columns of a table: which references make them, and where a cell belongs. */
#include "layout.h"

#include <stdlib.h>
#include <string.h>

#include "base/guess.h"

#define NO_LABEL "-"

/* Also a name that is there already. */
static ql_status
add(ql_ctx *cx, ql_names *n, const char *name)
{
    const char **item = name ? ql_results_append(cx, &n->items, &n->count, sizeof *item) : NULL;

    if (item)
        *item = name;
    return item ? QL_OK : QL_MEMORY;
}

const char *
ql_layout_label(ql_ctx *cx, const ql_layout *l, const ql_result_set *set, const ql_result_cell *c, const char *key)
{
    if (strcmp(key, QL_RUN_KEY) == 0) {
        if (!c->baseline)
            return set->run;
        return l->set_count > 1 ? ql_format(cx, "%s (%s)", set->run, QL_ORIGINAL_LABEL) : QL_ORIGINAL_LABEL;
    }
    for (int64_t i = 0; i < set->reference_count; i++)
        if (strcmp(set->references[i], key) == 0 && c->labels[i])
            return c->labels[i];
    return NO_LABEL;
}

/* --- keys and metrics */

static ql_status
check_keys(ql_ctx *cx, const ql_layout *l, const ql_names *keys)
{
    ql_names all = {0};
    ql_guess near;

    QL_TRY(cx, add(cx, &all, QL_RUN_KEY));
    for (int64_t s = 0; s < l->set_count; s++)
        for (int64_t i = 0; i < l->sets[s]->reference_count; i++)
            QL_TRY(cx, ql_names_add(cx, &all, l->sets[s]->references[i]));
    for (int64_t i = 0; i < keys->count; i++) {
        if (ql_names_find(&all, keys->items[i]) >= 0)
            continue;
        near = ql_guess_open(keys->items[i]);
        ql_guess_offer_all(&near, all.items, all.count);
        return QL_FAIL(cx, QL_INVALID, "table: no run tells its cells apart by '%s'%s", keys->items[i],
                       ql_guess_text(cx, &near, ""));
    }
    return QL_OK;
}

/* Is axis `key` shown by one of `names`? An axis over whole stages is its `use`. */
static bool
shown(const ql_names *names, const char *key)
{
    size_t n = strlen(key);

    for (int64_t i = 0; i < names->count; i++)
        if (strncmp(names->items[i], key, n) == 0 &&
            (names->items[i][n] == '\0' || strcmp(names->items[i] + n, ".use") == 0))
            return true;
    return false;
}

static ql_status
choose_keys(ql_ctx *cx, const ql_table_spec *spec, ql_layout *l)
{
    for (int64_t i = 0; i < spec->column_count; i++)
        QL_TRY(cx, ql_names_add(cx, &l->column_keys, spec->columns[i]));
    for (int64_t i = 0; i < spec->row_count; i++)
        QL_TRY(cx, ql_names_add(cx, &l->row_keys, spec->rows[i]));
    QL_TRY(cx, check_keys(cx, l, &l->column_keys));
    QL_TRY(cx, check_keys(cx, l, &l->row_keys));
    if (l->row_keys.count)
        return QL_OK;
    if (l->set_count > 1 && !shown(&l->column_keys, QL_RUN_KEY))
        QL_TRY(cx, add(cx, &l->row_keys, QL_RUN_KEY));
    for (int64_t s = 0; s < l->set_count; s++)
        for (int64_t i = 0; i < l->sets[s]->axis_count; i++) {
            const char *key = l->sets[s]->references[i];

            if (strcmp(key, QL_SEED_KEY) != 0 && !shown(&l->column_keys, key))
                QL_TRY(cx, ql_names_add(cx, &l->row_keys, key));
        }
    return l->row_keys.count ? QL_OK : add(cx, &l->row_keys, QL_RUN_KEY);
}

static ql_status
choose_metrics(ql_ctx *cx, const ql_table_spec *spec, ql_layout *l)
{
    ql_names all = {0};
    ql_guess near;

    for (int64_t s = 0; s < l->set_count; s++)
        for (int64_t i = 0; i < l->sets[s]->cell_count; i++) {
            const ql_result_cell *c = &l->sets[s]->cells[i];

            for (int64_t k = 0; k < c->metric_count; k++)
                QL_TRY(cx, ql_names_add(cx, &all, ql_format(cx, "%s.%s", c->metrics[k].stage, c->metrics[k].name)));
        }
    if (!spec->value) {
        l->metrics = all;
        return QL_OK;
    }
    for (int i = 0; i < QL_COST_COUNT; i++)
        QL_TRY(cx, ql_names_add(cx, &all, ql_cost_names[i]));
    if (all.count > QL_COST_COUNT &&
        ql_names_find(&all, spec->value) < 0) { /* where everything failed no metric has a name */
        near = ql_guess_open(spec->value);
        ql_guess_offer_all(&near, all.items, all.count);
        return QL_FAIL(cx, QL_INVALID, "table: no cell has the metric '%s'%s", spec->value,
                       ql_guess_text(cx, &near, ""));
    }
    return add(cx, &l->metrics, spec->value);
}

/* --- tuples */

static ql_status
tuple_of(ql_ctx *cx, const ql_layout *l, const ql_result_set *set, const ql_result_cell *c, const ql_names *keys,
         ql_names *out)
{
    *out = (ql_names){0};
    for (int64_t i = 0; i < keys->count; i++)
        QL_TRY(cx, add(cx, out, ql_layout_label(cx, l, set, c, keys->items[i])));
    return QL_OK;
}

static bool
tuple_equal(const ql_tuples *t, int64_t i, const ql_names *labels)
{
    for (int64_t k = 0; k < t->width; k++)
        if (strcmp(t->labels.items[i * t->width + k], labels->items[k]) != 0)
            return false;
    return true;
}

static int64_t
tuple_find(const ql_tuples *t, int64_t first, int64_t end, const ql_names *labels)
{
    for (int64_t i = first; i < end; i++)
        if (tuple_equal(t, i, labels))
            return i;
    return -1;
}

/* Appends the tuples of the original models or of the other cells, each once, in the order of their first cells. */
static ql_status
collect(ql_ctx *cx, const ql_layout *l, const ql_names *keys, bool baseline, ql_tuples *out)
{
    int64_t first = out->count;

    out->width = keys->count;
    for (int64_t s = 0; s < l->set_count; s++)
        for (int64_t i = 0; i < l->sets[s]->cell_count; i++) {
            ql_names labels;

            if (l->sets[s]->cells[i].baseline != baseline)
                continue;
            QL_TRY(cx, tuple_of(cx, l, l->sets[s], &l->sets[s]->cells[i], keys, &labels));
            if (tuple_find(out, first, out->count, &labels) >= 0)
                continue;
            for (int64_t k = 0; k < out->width; k++)
                QL_TRY(cx, add(cx, &out->labels, labels.items[k]));
            out->count++;
        }
    return QL_OK;
}

/* Sorts the tuples from `first` on by their labels, key by key; labels come in the order of their first appearance,
 * which is that of the file. */
static ql_status
sort(ql_ctx *cx, ql_tuples *t, int64_t first)
{
    const int64_t n = t->count - first, width = t->width;
    const char **from, **sorted;
    int64_t *rank, *order;

    if (n < 2 || width == 0)
        return QL_OK;
    from = t->labels.items + first * width;
    rank = ql_alloc(cx, (size_t)(n * width), sizeof *rank);
    order = ql_alloc(cx, (size_t)n, sizeof *order);
    sorted = ql_alloc(cx, (size_t)(n * width), sizeof *sorted);
    if (!rank || !order || !sorted)
        return QL_MEMORY;
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < width; k++)
            while (strcmp(from[rank[i * width + k] * width + k], from[i * width + k]) != 0)
                rank[i * width + k]++;
    for (int64_t i = 0; i < n; i++) { /* by insertion: n is the number of rows that someone reads */
        int64_t at = i;

        for (; at > 0; at--) {
            const int64_t *a = &rank[order[at - 1] * width], *b = &rank[i * width];
            int64_t k = 0;

            while (k < width - 1 && a[k] == b[k])
                k++;
            if (a[k] <= b[k])
                break;
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    for (int64_t i = 0; i < n; i++)
        memcpy(sorted + i * width, from + order[i] * width, (size_t)width * sizeof *sorted);
    memcpy(from, sorted, (size_t)(n * width) * sizeof *sorted);
    return QL_OK;
}

ql_status
ql_layout_make(ql_ctx *cx, const ql_result_set *const *sets, int64_t count, const ql_table_spec *spec, ql_layout *out)
{
    *out = (ql_layout){.sets = sets, .set_count = count};
    QL_TRY(cx, choose_keys(cx, spec, out));
    QL_TRY(cx, choose_metrics(cx, spec, out));
    QL_TRY(cx, collect(cx, out, &out->row_keys, true, &out->rows));
    out->rows.baselines = out->rows.count;
    QL_TRY(cx, collect(cx, out, &out->row_keys, false, &out->rows));
    QL_TRY(cx, sort(cx, &out->rows, out->rows.baselines));
    QL_TRY(cx, collect(cx, out, &out->column_keys, false, &out->columns));
    return sort(cx, &out->columns, 0);
}

int64_t
ql_layout_row(ql_ctx *cx, const ql_layout *l, const ql_result_set *set, const ql_result_cell *c)
{
    ql_names labels;

    if (tuple_of(cx, l, set, c, &l->row_keys, &labels) != QL_OK)
        return -1;
    return c->baseline ? tuple_find(&l->rows, 0, l->rows.baselines, &labels)
                       : tuple_find(&l->rows, l->rows.baselines, l->rows.count, &labels);
}

bool
ql_layout_meets(ql_ctx *cx, const ql_layout *l, const ql_result_set *set, const ql_result_cell *c, int64_t column)
{
    for (int64_t k = 0; k < l->columns.width; k++) {
        const char *key = l->column_keys.items[k], *label = ql_layout_label(cx, l, set, c, key);
        const char *wanted = l->columns.labels.items[column * l->columns.width + k];

        if (c->baseline && strcmp(key, QL_RUN_KEY) == 0)
            label = set->run;
        if (strcmp(label, wanted) != 0 && !(c->baseline && strcmp(label, QL_ORIGINAL_LABEL) == 0))
            return false;
    }
    return true;
}
