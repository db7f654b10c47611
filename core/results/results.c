/* Result sets in memory: what they hold is copied into a scope of their own, so that they outlive the caller's. */
#include "results.h"

#include <string.h>

void
ql_results_fini(ql_ctx *cx, ql_result_set *set)
{
    ql_scope_enter(cx, &set->memory);
    ql_scope_close(cx, &set->memory);
    *set = (ql_result_set){0};
}

void *
ql_results_append(ql_ctx *cx, void *items, int64_t *count, int64_t *capacity, size_t size)
{
    void **p = items;

    if (*count == *capacity) {
        int64_t room = *capacity ? 2 * *capacity : 8;
        void *grown = ql_alloc(cx, (size_t)room, size);

        if (!grown)
            return NULL;
        if (*count)
            memcpy(grown, *p, (size_t)*count * size);
        *p = grown;
        *capacity = room;
    }
    return (char *)*p + (size_t)(*count)++ * size;
}

void
ql_cost_add(ql_cost *to, const ql_cost *from)
{
    to->seconds += from->seconds;
    to->calls += from->calls;
    to->up += from->up;
    to->down += from->down;
    to->peak = from->peak > to->peak ? from->peak : to->peak;
}

const char *const ql_cost_names[QL_COST_COUNT] = {"cost.bits", "cost.seconds", "cost.memory"};

static const char *
copy(ql_ctx *cx, const char *text)
{
    return text ? ql_copy_text(cx, text, strlen(text)) : NULL;
}

/* Names repeat from one metric to the next: the one before is shared. */
static const char *
share(ql_ctx *cx, const char *text, const char *before)
{
    return before && strcmp(text, before) == 0 ? before : copy(cx, text);
}

static ql_result_cell *
cell_at(ql_ctx *cx, const ql_result_set *set, int64_t cell)
{
    if (cell >= 0 && cell < set->cell_count)
        return &set->cells[cell];
    (void)QL_FAIL(cx, QL_BUG, "results have %lld cells, got a number for cell %lld", (long long)set->cell_count,
                  (long long)cell);
    return NULL;
}

/* Adds one item to a cell; memory is the set's. */
typedef ql_status (*add_item)(ql_ctx *cx, ql_result_cell *c, const void *item);

static ql_status
add_to_cell(ql_ctx *cx, ql_result_set *set, int64_t cell, add_item add, const void *item)
{
    ql_result_cell *c = cell_at(cx, set, cell);

    if (!c)
        return QL_BUG;
    ql_scope_enter(cx, &set->memory);
    return ql_scope_leave(cx, &set->memory, add(cx, c, item));
}

static ql_status
add_metric(ql_ctx *cx, ql_result_cell *c, const void *from)
{
    const ql_result_metric *m = from;
    const ql_result_metric *before = c->metric_count ? &c->metrics[c->metric_count - 1] : NULL;
    const char *stage = share(cx, m->stage, before ? before->stage : NULL), *name = copy(cx, m->name);
    ql_result_metric *item;

    for (int64_t i = 0; i < c->metric_count; i++)
        if (strcmp(c->metrics[i].stage, m->stage) == 0 && strcmp(c->metrics[i].name, m->name) == 0)
            return QL_FAIL(cx, QL_INVALID, "metric %s.%s was given twice", m->stage, m->name);
    item =
        stage && name ? ql_results_append(cx, &c->metrics, &c->metric_count, &c->metric_capacity, sizeof *item) : NULL;
    if (!item)
        return QL_MEMORY;
    *item = (ql_result_metric){.stage = stage, .name = name, .value = m->value};
    return QL_OK;
}

ql_status
ql_results_metric(ql_ctx *cx, ql_result_set *set, int64_t cell, const ql_result_metric *m)
{
    return add_to_cell(cx, set, cell, add_metric, m);
}

static ql_status
add_note(ql_ctx *cx, ql_result_cell *c, const void *from)
{
    const ql_result_note *n = from;
    ql_result_note note = {.stage = copy(cx, n->stage), .name = copy(cx, n->name), .value = copy(cx, n->value)};
    ql_result_note *item;

    if (!note.stage || !note.name || !note.value)
        return QL_MEMORY;
    for (int64_t i = 0; i < c->note_count; i++)
        if (strcmp(c->notes[i].stage, n->stage) == 0 && strcmp(c->notes[i].name, n->name) == 0) {
            c->notes[i] = note;
            return QL_OK;
        }
    item = ql_results_append(cx, &c->notes, &c->note_count, &c->note_capacity, sizeof *item);
    if (!item)
        return QL_MEMORY;
    *item = note;
    return QL_OK;
}

ql_status
ql_results_note(ql_ctx *cx, ql_result_set *set, int64_t cell, const ql_result_note *n)
{
    return add_to_cell(cx, set, cell, add_note, n);
}

static ql_status
add_linear(ql_ctx *cx, ql_result_cell *c, const void *from)
{
    static const ql_result_linear none = {0};
    const ql_result_linear *l = from;
    const ql_result_linear *before = c->linear_count ? &c->linears[c->linear_count - 1] : &none;
    ql_result_linear linear = {.stage = share(cx, l->stage, before->stage),
                               .linear = share(cx, l->linear, before->linear),
                               .name = share(cx, l->name, before->name),
                               .value = l->value};
    ql_result_linear *item;

    if (!linear.stage || !linear.linear || !linear.name)
        return QL_MEMORY;
    item = ql_results_append(cx, &c->linears, &c->linear_count, &c->linear_capacity, sizeof *item);
    if (!item)
        return QL_MEMORY;
    *item = linear;
    return QL_OK;
}

ql_status
ql_results_linear(ql_ctx *cx, ql_result_set *set, int64_t cell, const ql_result_linear *l)
{
    return add_to_cell(cx, set, cell, add_linear, l);
}

static ql_status
add_footnote(ql_ctx *cx, ql_result_cell *c, const void *from)
{
    const char *text = from;
    const char *own = copy(cx, text), **item;

    for (int64_t i = 0; i < c->footnote_count; i++)
        if (strcmp(c->footnotes[i], text) == 0)
            return QL_OK;
    item = own ? ql_results_append(cx, &c->footnotes, &c->footnote_count, &c->footnote_capacity, sizeof *item) : NULL;
    if (!item)
        return QL_MEMORY;
    *item = own;
    return QL_OK;
}

ql_status
ql_results_footnote(ql_ctx *cx, ql_result_set *set, int64_t cell, const char *text)
{
    return add_to_cell(cx, set, cell, add_footnote, text);
}

static ql_status
add_list(ql_ctx *cx, ql_result_cell *c, const void *from)
{
    const ql_result_list *l = from;
    ql_result_list list = {.stage = copy(cx, l->stage), .linear = copy(cx, l->linear), .name = copy(cx, l->name)};
    ql_result_list *item;

    list.values = ql_alloc(cx, (size_t)l->count, sizeof *list.values);
    if (!list.stage || !list.name || (l->linear && !list.linear) || !list.values)
        return QL_MEMORY;
    item = ql_results_append(cx, &c->lists, &c->list_count, &c->list_capacity, sizeof *item);
    if (!item)
        return QL_MEMORY;
    list.count = list.capacity = l->count;
    if (l->count)
        memcpy(list.values, l->values, (size_t)l->count * sizeof *list.values);
    *item = list;
    return QL_OK;
}

ql_status
ql_results_list(ql_ctx *cx, ql_result_set *set, int64_t cell, const ql_result_list *l)
{
    return add_to_cell(cx, set, cell, add_list, l);
}

static ql_status
add_failure(ql_ctx *cx, ql_result_cell *c, const void *error)
{
    if (!c->error)
        c->error = copy(cx, error);
    return c->error ? QL_OK : QL_MEMORY;
}

ql_status
ql_results_fail(ql_ctx *cx, ql_result_set *set, int64_t cell, const char *error)
{
    return add_to_cell(cx, set, cell, add_failure, error);
}

const ql_result_kind *
ql_results_kind(const ql_result_set *set, const char *stage, const char *name)
{
    for (int64_t i = 0; i < set->kind_count; i++)
        if (strcmp(set->kinds[i].stage, stage) == 0 && strcmp(set->kinds[i].name, name) == 0)
            return &set->kinds[i];
    return NULL;
}

/* Is "STAGE.METRIC" that metric of that stage? */
static bool
names_metric(const char *text, const char *stage, const char *name)
{
    const size_t n = strlen(stage);

    return strncmp(text, stage, n) == 0 && text[n] == '.' && strcmp(text + n + 1, name) == 0;
}

const ql_result_kind *
ql_results_kind_of(const ql_result_set *set, const char *metric)
{
    for (int64_t i = 0; i < set->kind_count; i++)
        if (names_metric(metric, set->kinds[i].stage, set->kinds[i].name))
            return &set->kinds[i];
    return NULL;
}

bool
ql_results_value(const ql_result_cell *c, const char *metric, double *value)
{
    for (int64_t i = 0; i < c->metric_count; i++)
        if (names_metric(metric, c->metrics[i].stage, c->metrics[i].name)) {
            *value = c->metrics[i].value;
            return true;
        }
    for (int k = 0; k < QL_COST_COUNT; k++)
        if (strcmp(metric, ql_cost_names[k]) == 0) {
            *value = k == 0 ? c->bits : k == 1 ? c->cost.seconds : (double)c->cost.peak;
            return true;
        }
    return false;
}

const ql_result_list *
ql_results_find_list(const ql_result_cell *c, const char *stage, const char *linear, const char *name)
{
    for (int64_t i = 0; i < c->list_count; i++) {
        const ql_result_list *l = &c->lists[i];
        const bool same = linear ? l->linear && strcmp(l->linear, linear) == 0 : !l->linear;

        if (same && strcmp(l->stage, stage) == 0 && strcmp(l->name, name) == 0)
            return l;
    }
    return NULL;
}

static bool
same_metric(const ql_result_linear *a, const ql_result_linear *b)
{
    return (a->stage == b->stage || strcmp(a->stage, b->stage) == 0) &&
           (a->name == b->name || strcmp(a->name, b->name) == 0);
}

static ql_status
add_means(ql_ctx *cx, ql_result_cell *c)
{
    for (int64_t i = 0; i < c->linear_count; i++) {
        const ql_result_linear *l = &c->linears[i];
        bool first = true;
        double sum = 0;
        int64_t n = 0;

        for (int64_t k = 0; k < c->metric_count; k++)
            first = first && (strcmp(c->metrics[k].stage, l->stage) != 0 || strcmp(c->metrics[k].name, l->name) != 0);
        for (int64_t k = i; first && k < c->linear_count; k++) {
            if (!same_metric(l, &c->linears[k]))
                continue;
            sum += c->linears[k].value;
            n++;
        }
        if (first)
            QL_TRY(cx, add_metric(cx, c,
                                  &(ql_result_metric){.stage = l->stage, .name = l->name, .value = sum / (double)n}));
    }
    return QL_OK;
}

ql_status
ql_results_means(ql_ctx *cx, ql_result_set *set)
{
    ql_status st = QL_OK;

    ql_scope_enter(cx, &set->memory);
    for (int64_t i = 0; i < set->cell_count && st == QL_OK; i++)
        st = add_means(cx, &set->cells[i]);
    return ql_scope_leave(cx, &set->memory, st);
}
