/* Numbers and notes of evaluators. */
#include "metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ctx.h"

ql_status
ql_metric(ql_ctx *cx, ql_metrics *m, const char *name, double value)
{
    if (strlen(name) >= sizeof m->values->name)
        return QL_FAIL(cx, QL_BUG, "the metric name '%s' is longer than %zu bytes", name, sizeof m->values->name - 1);
    QL_TRY(cx, ql_grow(cx, &m->values, &m->capacity, m->count + 1, sizeof *m->values));
    m->values[m->count] = (ql_metric_value){.value = value};
    snprintf(m->values[m->count++].name, sizeof m->values->name, "%s", name);
    return QL_OK;
}

ql_status
ql_metric_note(ql_ctx *cx, ql_metrics *m, const char *name, const char *value)
{
    const size_t bytes = strlen(value) + 1;
    char *kept;

    if (strlen(name) >= sizeof m->notes->name)
        return QL_FAIL(cx, QL_BUG, "the name of the note '%s' is too long", name);
    QL_TRY(cx, ql_grow(cx, &m->notes, &m->note_capacity, m->note_count + 1, sizeof *m->notes));
    kept = ql_heap(cx, bytes, 1);
    if (!kept)
        return QL_MEMORY;
    m->notes[m->note_count] = (ql_metric_word){.value = memcpy(kept, value, bytes)};
    snprintf(m->notes[m->note_count++].name, sizeof m->notes->name, "%s", name);
    return QL_OK;
}

ql_status
ql_metric_list(ql_ctx *cx, ql_metrics *m, const char *name, int64_t count, const double *values)
{
    double *own;

    if (strlen(name) >= sizeof m->lists->name)
        return QL_FAIL(cx, QL_BUG, "the list name '%s' is longer than %zu bytes", name, sizeof m->lists->name - 1);
    QL_TRY(cx, ql_grow(cx, &m->lists, &m->list_capacity, m->list_count + 1, sizeof *m->lists));
    own = ql_heap(cx, count ? (size_t)count : 1, sizeof *own);
    if (!own)
        return QL_MEMORY;
    if (count)
        memcpy(own, values, (size_t)count * sizeof *own);
    m->lists[m->list_count] = (ql_metric_values){.count = count, .values = own};
    snprintf(m->lists[m->list_count++].name, sizeof m->lists->name, "%s", name);
    return QL_OK;
}

void
ql_metrics_fini(ql_metrics *m)
{
    for (int64_t i = 0; i < m->list_count; i++)
        free(m->lists[i].values);
    free(m->lists);
    for (int64_t i = 0; i < m->note_count; i++)
        free(m->notes[i].value);
    free(m->values);
    free(m->notes);
    *m = (ql_metrics){0};
}
