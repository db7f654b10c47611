/* From records to documents: templates are evaluated, shots drawn, choices and gold checked. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <qloom/mt19937.h>
#include <qloom/records.h>

#include "task.h"

#define REQUESTS_MOST 1000 /* of one document */

typedef struct renderer {
    ql_ctx *cx;
    const ql_task *task;
    const ql_task_options *options;
    int64_t shots;
    ql_task_records records, pool;
    ql_mt19937 random;
    const char *at; /* the record at hand, "record 3 of FILE" */
} renderer;

/* --- templates of one record ------------------------------------------------------------------------------------- */

static ql_status
value_of(renderer *r, const ql_template *t, const ql_names *names, ql_value *out)
{
    ql_wrong wrong;
    ql_status st = ql_template_value(r->cx, t, names, out, &wrong);

    if (st != QL_OK)
        (void)ql_where(r->cx, st, "%s", r->at);
    return ql_task_blame(r->cx, r->task, &wrong, st);
}

static ql_status
names_of(renderer *r, const ql_json *record, ql_names *out)
{
    const int64_t n = r->task->let_count;
    const char **names = ql_alloc(r->cx, (size_t)n + 1, sizeof(const char *));
    ql_value *values = ql_alloc(r->cx, (size_t)n + 1, sizeof *values);

    if (!names || !values)
        return QL_MEMORY;
    *out = (ql_names){.names = names, .values = values, .record = record};
    for (int64_t i = 0; i < n; i++) {
        const ql_let *let = &r->task->lets[i];

        if (let->parameter)
            continue;
        names[out->count] = let->name;
        QL_TRY(r->cx, value_of(r, let->body, out, &values[out->count]));
        out->count++;
    }
    return QL_OK;
}

static ql_status
fail(renderer *r, const ql_template *t, const char *what)
{
    return ql_task_blame(r->cx, r->task, &(ql_wrong){.in = t}, QL_FAIL(r->cx, QL_INVALID, "%s: %s", r->at, what));
}

/* The template's value as a text: numbers are printed, lists refused. NULL: an empty text. */
static ql_status
text_of(renderer *r, const ql_template *t, const ql_names *names, ql_value *out)
{
    ql_text text = {0};
    ql_value v;

    *out = ql_value_text("", 0);
    if (!t)
        return QL_OK;
    QL_TRY(r->cx, value_of(r, t, names, &v));
    *out = v;
    if (v.kind == QL_VALUE_TEXT)
        return QL_OK;
    if (v.kind == QL_VALUE_LIST || v.kind == QL_VALUE_MAP || v.kind == QL_VALUE_NONE)
        return fail(r, t, ql_format(r->cx, "expected a text, got %s", ql_value_word(&v)));
    return ql_value_take(r->cx, &text, ql_value_put(r->cx, &v, false, &text), out);
}

/* A list of texts, two or more. */
static ql_status
texts_of(renderer *r, const ql_template *t, const ql_names *names, ql_value *out)
{
    QL_TRY(r->cx, value_of(r, t, names, out));
    if (out->kind != QL_VALUE_LIST)
        return fail(r, t, ql_format(r->cx, "expected a list of texts, got %s", ql_value_word(out)));
    if (out->count < 2 || out->count > REQUESTS_MOST)
        return fail(r, t, ql_format(r->cx, "expected 2 to %d choices, got %" PRId64, REQUESTS_MOST, out->count));
    for (int64_t i = 0; i < out->count; i++)
        if (out->items[i].kind != QL_VALUE_TEXT)
            return fail(
                r, t,
                ql_format(r->cx, "choice %" PRId64 ": expected a text, got %s", i, ql_value_word(&out->items[i])));
    return QL_OK;
}

/* --- gold -------------------------------------------------------------------------------------------------------- */

/* Is the text an index: digits alone? */
static bool
is_index(const ql_value *v, int64_t *out)
{
    *out = 0;
    if (v->kind == QL_VALUE_BOOL || v->kind == QL_VALUE_INT) {
        *out = v->integer;
        return true;
    }
    for (int64_t i = 0; v->kind == QL_VALUE_TEXT && i < v->bytes; i++) {
        if (v->text[i] < '0' || v->text[i] > '9' || v->bytes > 9)
            return false;
        *out = *out * 10 + (v->text[i] - '0');
    }
    return v->kind == QL_VALUE_TEXT && v->bytes > 0;
}

/* An index, or the text of a choice. */
static ql_status
gold_index(renderer *r, const ql_value *v, const ql_value *choices, int64_t *out)
{
    if (is_index(v, out)) {
        if (*out >= 0 && *out < choices->count)
            return QL_OK;
        return fail(r, r->task->gold,
                    ql_format(r->cx, "gold %" PRId64 " is outside the %" PRId64 " choices", *out, choices->count));
    }
    for (*out = 0; v->kind == QL_VALUE_TEXT && *out < choices->count; ++*out)
        if (ql_value_equal(v, &choices->items[*out]))
            return QL_OK;
    if (v->kind != QL_VALUE_TEXT)
        return fail(r, r->task->gold,
                    ql_format(r->cx, "gold: expected an index or the text of a choice, got %s", ql_value_word(v)));
    return fail(r, r->task->gold,
                ql_format(r->cx, "gold '%.*s' is none of the choices", (int)(v->bytes < 80 ? v->bytes : 80), v->text));
}

static ql_status
gold_of(renderer *r, const ql_names *names, const ql_value *choices, ql_task_document *out)
{
    ql_value v;
    const ql_value *all = &v;
    int64_t *gold;

    QL_TRY(r->cx, value_of(r, r->task->gold, names, &v));
    out->gold_count = 1;
    if (v.kind == QL_VALUE_LIST) {
        all = v.items;
        out->gold_count = v.count;
    }
    if (out->gold_count == 0)
        return fail(r, r->task->gold, "gold: an empty list");
    gold = ql_alloc(r->cx, (size_t)out->gold_count, sizeof *gold);
    if (!gold)
        return QL_MEMORY;
    for (int64_t i = 0; i < out->gold_count; i++)
        QL_TRY(r->cx, gold_index(r, &all[i], choices, &gold[i]));
    out->gold = gold;
    return QL_OK;
}

/* --- shots ------------------------------------------------------------------------------------------------------- */

static ql_status
put(renderer *r, ql_text *out, const ql_value *v)
{
    return ql_text_put(r->cx, out, v->text, (size_t)v->bytes);
}

/* What a record asks: `several` choices or contexts, of which the gold ones are right, and the `prompt` and the `answer` that all share. */
typedef struct asked {
    ql_value prompt, several, answer;
    bool choices, contexts;
} asked;

static ql_status
ask(renderer *r, const ql_names *names, asked *out, ql_task_document *gold)
{
    const ql_task *t = r->task;

    *out = (asked){.choices = t->info.kind == QL_TASK_CHOICES, .contexts = t->info.kind == QL_TASK_CONTEXTS};
    QL_TRY(r->cx, text_of(r, t->prompt, names, &out->prompt));
    if (out->choices || out->contexts) {
        QL_TRY(r->cx, texts_of(r, out->choices ? t->choices : t->contexts, names, &out->several));
        QL_TRY(r->cx, gold_of(r, names, &out->several, gold));
    }
    return out->choices
               ? QL_OK
               : text_of(r, t->info.kind == QL_TASK_GENERATE ? t->answer : t->continuation, names, &out->answer);
}

static ql_status
put_shot(renderer *r, const ql_json *record, ql_text *out)
{
    const char *at = r->at;
    ql_task_document solved = {0};
    const ql_value *right;
    ql_names names;
    asked a;

    r->at = ql_format(r->cx, "a shot of %s", at);
    if (!r->at)
        return QL_MEMORY;
    QL_TRY(r->cx, names_of(r, record, &names));
    QL_TRY(r->cx, ask(r, &names, &a, &solved));
    right = solved.gold_count ? &a.several.items[solved.gold[0]] : NULL;
    QL_TRY(r->cx, put(r, out, a.contexts ? right : &a.prompt));
    QL_TRY(r->cx, ql_text_put(r->cx, out, r->task->info.delimiter, strlen(r->task->info.delimiter)));
    QL_TRY(r->cx, put(r, out, a.choices ? right : &a.answer));
    r->at = at;
    return ql_text_put(r->cx, out, r->task->separator, strlen(r->task->separator));
}

/* The records of the pool that may be shots of `record`: all, or those with the same value in a field. */
static ql_status
candidates(renderer *r, const ql_json *record, const ql_json ***out, int64_t *count)
{
    const ql_json *mine = r->task->same ? ql_json_member(record, r->task->same) : NULL;

    *out = ql_alloc(r->cx, (size_t)r->pool.count + 1, sizeof **out);
    if (!*out)
        return QL_MEMORY;
    if (r->task->same && !mine)
        return QL_FAIL(r->cx, QL_INVALID, "%s: no field '%s', by which shots are chosen", r->at, r->task->same);
    for (int64_t i = 0; i < r->pool.count; i++) {
        const ql_json *its = mine ? ql_json_member(r->pool.items[i], r->task->same) : NULL;

        if (!mine || (its && ql_json_equal(mine, its)))
            (*out)[(*count)++] = r->pool.items[i];
    }
    return QL_OK;
}

/* `count` items drawn from `n`, as Python's sample; then those equal to the record removed and the first of the others kept. */
static ql_status
draw(renderer *r, const ql_json *record, const ql_json **from, int64_t n, int64_t count, ql_text *out, int64_t *left)
{
    int64_t *drawn = ql_alloc(r->cx, (size_t)count, sizeof *drawn);
    const bool may_copy = r->task->rule == QL_SHOTS_TRAIN;
    int64_t put_count = 0;

    if (!drawn)
        return QL_MEMORY;
    QL_TRY(r->cx, ql_mt19937_sample(r->cx, &r->random, n, count, drawn));
    for (int64_t i = 0; i < count && put_count < r->shots; i++)
        if (may_copy || !ql_json_equal(from[drawn[i]], record)) {
            QL_TRY(r->cx, put_shot(r, from[drawn[i]], out));
            put_count++;
        }
    *left = r->shots - put_count;
    return QL_OK;
}

/* Leaves out what is equal to the record. */
static int64_t
without(const ql_json **items, int64_t count, const ql_json *record)
{
    int64_t kept = 0;

    for (int64_t i = 0; i < count; i++)
        if (!ql_json_equal(items[i], record))
            items[kept++] = items[i];
    return kept;
}

static ql_status
too_few(renderer *r, int64_t has, int64_t wanted)
{
    return QL_FAIL(r->cx, QL_INVALID, "%s: %" PRId64 " shots need a pool of %" PRId64 " records, %s has %" PRId64,
                   r->at, r->shots, wanted, r->pool.file, has);
}

static ql_status
put_shots(renderer *r, const ql_json *record, ql_text *out)
{
    const bool self = r->task->rule == QL_SHOTS_SELF;
    const int64_t begin = out->count;
    const ql_json **from;
    int64_t count = 0, left = 0;

    for (int64_t i = 0; r->task->fixed && i < r->shots; i++)
        QL_TRY(r->cx, put_shot(r, r->task->fixed[i], out));
    if (r->task->fixed || r->shots == 0)
        return QL_OK;
    QL_TRY(r->cx, candidates(r, record, &from, &count));
    if (r->task->rule == QL_SHOTS_FIRST) {
        count = without(from, count, record);
        if (count < r->shots)
            return too_few(r, count, r->shots);
        for (int64_t i = 0; i < r->shots; i++)
            QL_TRY(r->cx, put_shot(r, from[i], out));
        return QL_OK;
    }
    if (count < r->shots + self)
        return too_few(r, count, r->shots + self);
    QL_TRY(r->cx, draw(r, record, from, count, r->shots + self, out, &left));
    if (left == 0)
        return QL_OK;
    count = without(from, count, record); /* copies of the record left too few */
    if (count < r->shots)
        return too_few(r, count, r->shots);
    out->count = begin;
    return draw(r, record, from, count, r->shots, out, &left);
}

/* --- documents --------------------------------------------------------------------------------------------------- */

/* Description and shots, then `text`. */
static ql_status
whole_context(renderer *r, const ql_text *front, const ql_value *text, ql_task_request *out)
{
    char *all = ql_alloc(r->cx, (size_t)(front->count + text->bytes) + 1, 1);

    if (!all)
        return QL_MEMORY;
    if (front->count)
        memcpy(all, front->data, (size_t)front->count);
    if (text->bytes)
        memcpy(all + front->count, text->text, (size_t)text->bytes);
    out->context = all;
    out->context_bytes = (size_t)(front->count + text->bytes);
    return QL_OK;
}

static ql_status
continuation(renderer *r, const ql_value *choice, ql_task_request *out)
{
    out->continuation = ql_format(r->cx, "%s%.*s", r->task->info.delimiter, (int)choice->bytes, choice->text);
    if (!out->continuation)
        return QL_MEMORY;
    out->continuation_bytes = strlen(r->task->info.delimiter) + (size_t)choice->bytes;
    out->points = ql_text_points(choice->text, choice->bytes);
    out->bytes = choice->bytes;
    return QL_OK;
}

static bool
has_metric(const ql_task_info *info, const char *name)
{
    for (int64_t i = 0; i < info->metric_count; i++)
        if (strcmp(info->metrics[i], name) == 0)
            return true;
    return false;
}

static ql_status
check_choice(renderer *r, const ql_template *t, int64_t i, const ql_task_request *request)
{
    const ql_task_info *info = &r->task->info;

    if (strlen(request->continuation) != request->continuation_bytes)
        return fail(r, t, "a choice with a NUL character");
    if (request->bytes == 0 && (has_metric(info, "acc_norm") || has_metric(info, "acc_bytes")))
        return fail(r, t, ql_format(r->cx, "choice %" PRId64 " is empty, and acc_norm divides by its length", i));
    return QL_OK;
}

static ql_status
render_requests(renderer *r, const ql_names *names, const ql_text *front, ql_task_document *out)
{
    const ql_template *last =
        r->task->choices ? r->task->choices : r->task->continuation; /* what comes last in a text */
    ql_task_request *requests;
    asked a;

    QL_TRY(r->cx, ask(r, names, &a, out));
    out->request_count = a.choices || a.contexts ? a.several.count : 1;
    out->requests = requests = ql_alloc(r->cx, (size_t)out->request_count, sizeof *requests);
    if (!requests)
        return QL_MEMORY;
    for (int64_t i = 0; i < out->request_count; i++) {
        if (i == 0 || a.contexts)
            QL_TRY(r->cx, whole_context(r, front, a.contexts ? &a.several.items[i] : &a.prompt, &requests[i]));
        else
            requests[i] = requests[0];
        QL_TRY(r->cx, continuation(r, a.choices ? &a.several.items[i] : &a.answer, &requests[i]));
        QL_TRY(r->cx, check_choice(r, last, i, &requests[i]));
    }
    return QL_OK;
}

static ql_status
render_rolling(renderer *r, const ql_names *names, ql_task_document *out)
{
    ql_value text, counted;

    QL_TRY(r->cx, text_of(r, r->task->text, names, &text));
    QL_TRY(r->cx, text_of(r, r->task->count ? r->task->count : r->task->text, names, &counted));
    out->text = text.text;
    out->text_bytes = (size_t)text.bytes;
    out->words = ql_text_words(counted.text, counted.bytes);
    out->count_bytes = counted.bytes;
    return QL_OK;
}

/* Record `i`; *kept is false where `where` leaves it out, which draws no shots. */
static ql_status
render(renderer *r, int64_t i, ql_task_document *out, bool *kept)
{
    const ql_json *record = r->records.items[i];
    ql_text front = {0};
    ql_value v, part;
    ql_names names;
    ql_status st;

    r->at = ql_format(r->cx, "record %" PRId64 " of %s", i, r->records.file);
    if (!r->at)
        return QL_MEMORY;
    *out = (ql_task_document){.name = r->at, .number = i};
    QL_TRY(r->cx, names_of(r, record, &names));
    *kept = true;
    if (r->task->where) {
        QL_TRY(r->cx, value_of(r, r->task->where, &names, &v));
        *kept = ql_value_true(&v);
    }
    if (!*kept)
        return QL_OK;
    QL_TRY(r->cx, text_of(r, r->task->by, &names, &part));
    out->part = r->task->by ? ql_copy_text(r->cx, part.text, (size_t)part.bytes) : NULL;
    if (r->task->info.kind == QL_TASK_ROLLING)
        return render_rolling(r, &names, out);
    QL_TRY(r->cx, text_of(r, r->task->description, &names, &v));
    st = put(r, &front, &v);
    if (st == QL_OK)
        st = put_shots(r, record, &front);
    if (st == QL_OK)
        st = render_requests(r, &names, &front, out);
    free(front.data);
    return st;
}

/* --- the whole --------------------------------------------------------------------------------------------------- */

static int64_t
shots_of(const ql_task *task, const ql_task_options *options)
{
    return options->shots < 0 ? task->info.shots : options->shots;
}

ql_status
ql_task_check(ql_ctx *cx, const ql_task *task, const ql_task_options *o)
{
    const int64_t shots = shots_of(task, o);
    const char *const files[] = {o->path, shots > 0 ? o->pool : NULL};

    for (int i = 0; i < 2; i++)
        if (files[i])
            QL_TRY(cx, ql_records_check(cx, &(ql_records_options){.path = files[i], .whole = true}));
    if (shots > 0 && task->info.kind == QL_TASK_ROLLING)
        return QL_FAIL(cx, QL_INVALID, "shots: %" PRId64 ": a rolling text has none", shots);
    if (task->fixed && shots > task->fixed_count)
        return QL_FAIL(cx, QL_INVALID, "shots: %" PRId64 ": the task file has %" PRId64, shots, task->fixed_count);
    if (shots > 0 && !task->fixed && !o->pool && task->rule != QL_SHOTS_SELF)
        return QL_FAIL(cx, QL_INVALID, "pool is needed: %" PRId64 " shots of '%s' are taken from another file", shots,
                       task->info.name);
    return QL_OK;
}

ql_status
ql_task_read(ql_ctx *cx, const ql_task *task, const ql_task_options *options, const ql_task_document **out,
             int64_t *count)
{
    renderer r = {.cx = cx, .task = task, .options = options, .shots = shots_of(task, options)};
    ql_task_document *documents;
    bool kept = false;

    QL_TRY(cx, ql_task_check(cx, task, options));
    QL_TRY(cx, ql_task_records_read(cx, options->path, task->articles, &r.records));
    r.pool = r.records;
    if (options->pool && r.shots > 0)
        QL_TRY(cx, ql_task_records_read(cx, options->pool, task->articles, &r.pool));
    ql_mt19937_seed(&r.random, options->seed);
    documents = ql_alloc(cx, (size_t)r.records.count, sizeof *documents);
    if (!documents)
        return QL_MEMORY;
    *count = 0;
    for (int64_t i = 0; i < r.records.count && (!options->limit || *count < options->limit); i++) {
        QL_TRY(cx, ql_check_interrupt(cx));
        QL_TRY(cx, render(&r, i, &documents[*count], &kept));
        *count += kept;
    }
    *out = documents;
    return *count ? QL_OK
                  : QL_FAIL(cx, QL_INVALID, "%s: no document: `where` leaves out all %" PRId64 " records",
                            options->path, r.records.count);
}
