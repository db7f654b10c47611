/* Facts and notes of evaluators. */
#include "facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ctx.h"

static ql_status
check_name(ql_ctx *cx, const char *what, const char *name)
{
    if (strlen(name) >= QL_FACT_NAME)
        return QL_FAIL(cx, QL_BUG, "the %s '%s' is longer than %d bytes", what, name, QL_FACT_NAME - 1);
    return QL_OK;
}

/* A fresh row of that name and part. */
static ql_status
add_row(ql_ctx *cx, ql_facts *f, const char *name, const char *part, ql_fact_row **out)
{
    QL_TRY(cx, check_name(cx, "name of the fact", name));
    QL_TRY(cx, check_name(cx, "part of a fact", part));
    QL_TRY(cx, ql_grow(cx, &f->rows, &f->capacity, f->count + 1, sizeof *f->rows));
    *out = &f->rows[f->count];
    **out = (ql_fact_row){.count = -1};
    snprintf((*out)->name, sizeof(*out)->name, "%s", name);
    snprintf((*out)->part, sizeof(*out)->part, "%s", part);
    return QL_OK;
}

static bool
has_row(const ql_facts *f, const char *name, const char *part, bool list)
{
    for (int64_t i = 0; i < f->count; i++)
        if ((f->rows[i].count >= 0) == list && strcmp(f->rows[i].name, name) == 0 && strcmp(f->rows[i].part, part) == 0)
            return true;
    return false;
}

ql_status
ql_fact(ql_ctx *cx, ql_facts *f, const char *name, const char *part, double value)
{
    ql_fact_row *row;

    part = part ? part : "";
    if (has_row(f, name, part, false))
        return QL_FAIL(cx, QL_INVALID, "the fact '%s%s%s' was given twice", name, *part ? "." : "", part);
    QL_TRY(cx, add_row(cx, f, name, part, &row));
    row->value = value;
    f->count++;
    return QL_OK;
}

ql_status
ql_fact_list(ql_ctx *cx, ql_facts *f, const char *name, int64_t count, const double *values)
{
    ql_fact_row *row;

    if (has_row(f, name, "", true))
        return QL_FAIL(cx, QL_INVALID, "the list '%s' was given twice", name);
    QL_TRY(cx, add_row(cx, f, name, "", &row));
    row->values = ql_heap(cx, count ? (size_t)count : 1, sizeof *row->values);
    if (!row->values)
        return QL_MEMORY;
    if (count)
        memcpy(row->values, values, (size_t)count * sizeof *values);
    row->count = count;
    f->count++;
    return QL_OK;
}

ql_status
ql_fact_note(ql_ctx *cx, ql_facts *f, const char *name, const char *value)
{
    const size_t bytes = strlen(value) + 1;
    char *kept;

    QL_TRY(cx, check_name(cx, "name of the note", name));
    QL_TRY(cx, ql_grow(cx, &f->notes, &f->note_capacity, f->note_count + 1, sizeof *f->notes));
    kept = ql_heap(cx, bytes, 1);
    if (!kept)
        return QL_MEMORY;
    f->notes[f->note_count] = (ql_fact_word){.value = memcpy(kept, value, bytes)};
    snprintf(f->notes[f->note_count++].name, QL_FACT_NAME, "%s", name);
    return QL_OK;
}

/* A copy on the heap; NULL stays NULL. */
static ql_status
copy(ql_ctx *cx, const char *text, char **out)
{
    *out = text ? ql_heap(cx, strlen(text) + 1, 1) : NULL;
    if (*out)
        memcpy(*out, text, strlen(text) + 1);
    return text && !*out ? QL_MEMORY : QL_OK;
}

ql_status
ql_fact_answer(ql_ctx *cx, ql_facts *f, const ql_answer *a)
{
    ql_fact_reply *reply;

    QL_TRY(cx, ql_grow(cx, &f->replies, &f->reply_capacity, f->reply_count + 1, sizeof *f->replies));
    reply = &f->replies[f->reply_count++];
    *reply =
        (ql_fact_reply){.document = a->document, .right = a->right, .right_norm = a->right_norm, .margin = a->margin};
    QL_TRY(cx, copy(cx, a->task, &reply->task));
    QL_TRY(cx, copy(cx, a->gold, &reply->gold));
    QL_TRY(cx, copy(cx, a->pred, &reply->pred));
    return copy(cx, a->pred_norm, &reply->pred_norm);
}

void
ql_facts_fini(ql_facts *f)
{
    for (int64_t i = 0; i < f->reply_count; i++) {
        free(f->replies[i].task);
        free(f->replies[i].gold);
        free(f->replies[i].pred);
        free(f->replies[i].pred_norm);
    }
    free(f->replies);
    for (int64_t i = 0; i < f->count; i++)
        free(f->rows[i].values);
    for (int64_t i = 0; i < f->note_count; i++)
        free(f->notes[i].value);
    free(f->rows);
    free(f->notes);
    *f = (ql_facts){0};
}
