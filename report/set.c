/* A run's rows in memory. */
#include "set.h"

#include <string.h>

void
ql_results_fini(ql_ctx *cx, ql_result_set *set)
{
    ql_scope_enter(cx, &set->memory);
    ql_scope_close(cx, &set->memory);
    *set = (ql_result_set){0};
}

void *
ql_results_append(ql_ctx *cx, void *items, int64_t *count, size_t size)
{
    void **p = items;
    const int64_t n = *count;

    if ((n & (n - 1)) == 0) { /* room is a power of two, and full when the count is one */
        void *grown = ql_alloc(cx, (size_t)(n ? 2 * n : 1), size);

        if (!grown)
            return NULL;
        if (n)
            memcpy(grown, *p, (size_t)n * size);
        *p = grown;
    }
    (*count)++;
    return (char *)*p + (size_t)n * size;
}

int64_t
ql_names_find(const ql_names *n, const char *name)
{
    for (int64_t i = 0; i < n->count; i++)
        if (strcmp(n->items[i], name) == 0)
            return i;
    return -1;
}

ql_status
ql_names_add(ql_ctx *cx, ql_names *n, const char *name)
{
    const char **item;

    if (!name)
        return QL_MEMORY;
    if (ql_names_find(n, name) >= 0)
        return QL_OK;
    item = ql_results_append(cx, &n->items, &n->count, sizeof *item);
    if (item)
        *item = name;
    return item ? QL_OK : QL_MEMORY;
}

const char *const ql_cost_names[QL_COST_COUNT] = {"cost.bits", "cost.seconds", "cost.memory"};

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
