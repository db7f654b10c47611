/* Tasks that generate: the key `generate` of a task file, stop strings, and what filters find in a text. */
#include <stdlib.h>
#include <string.h>

#include "expression.h"
#include "regex.h"
#include "task_reader.h"
#include "unicode.h"

#define INVALID_TEXT "[invalid]" /* what the public harness says of a text without an answer */
#define NUMBER "-?[0-9]+\\.?[0-9]*"

/* --- the key ----------------------------------------------------------------------------------------------------- */

/* A pattern of Python's re that compiles. */
static ql_status
read_pattern(ql_task_reader *r, const ql_yaml *v, const char **out)
{
    ql_regex *re = NULL;
    ql_status st;

    if (!ql_task_is_scalar(r, v, "a pattern"))
        return QL_OK;
    *out = v->text;
    st = ql_regex_compile_python(r->cx, "pattern", v->text, strlen(v->text), &re);
    ql_regex_free(re);
    if (st != QL_INVALID && st != QL_UNSUPPORTED)
        return st;
    ql_problem_add(r->cx, r->problems, v->place, "%s", ql_error(r->cx));
    ql_error_clear(r->cx);
    return QL_OK;
}

static ql_status
read_regex_step(ql_task_reader *r, const ql_yaml *v, ql_filter_step *out)
{
    static const char *const keys[] = {"regex", "select", "fallback", NULL};
    const ql_yaml *select = ql_yaml_get(v, "select"), *fallback = ql_yaml_get(v, "fallback");

    ql_task_check_keys(r, v, keys);
    if (fallback)
        ql_task_read_text(r, fallback, &out->fallback);
    out->last = select && select->kind == QL_YAML_SCALAR && strcmp(select->text, "-1") == 0;
    if (select && !out->last && (select->kind != QL_YAML_SCALAR || strcmp(select->text, "0") != 0))
        ql_problem_add(r->cx, r->problems, select->place,
                       "select: expected 0, the first match, or -1, the last, got %s", ql_yaml_describe(r->cx, select));
    return read_pattern(r, ql_yaml_get(v, "regex"), &out->pattern);
}

static void
read_number_step(ql_task_reader *r, const ql_yaml *v, ql_filter_step *out)
{
    static const char *const keys[] = {"after", NULL};
    const ql_yaml *map = ql_yaml_get(v, "number"), *after = NULL;

    out->kind = QL_STEP_NUMBER;
    if (map->kind == QL_YAML_MAP) {
        ql_task_check_keys(r, map, keys);
        after = ql_yaml_get(map, "after");
    } else if (!ql_yaml_empty(map)) {
        ql_problem_add(r->cx, r->problems, map->place, "number: expected {after: TEXT} or nothing, got %s",
                       ql_yaml_describe(r->cx, map));
    }
    if (after)
        ql_task_read_text(r, after, &out->after);
}

static ql_status
read_step(ql_task_reader *r, const ql_yaml *v, ql_filter_step *out)
{
    const bool map = v->kind == QL_YAML_MAP;

    *out = (ql_filter_step){.kind = QL_STEP_REGEX, .fallback = INVALID_TEXT};
    if (map && ql_yaml_get(v, "regex"))
        return read_regex_step(r, v, out);
    if (map && v->count == 1 && ql_yaml_get(v, "number")) {
        read_number_step(r, v, out);
        return QL_OK;
    }
    out->kind = QL_STEP_FIRST;
    if (v->kind != QL_YAML_SCALAR || strcmp(v->text, "first") != 0)
        ql_problem_add(r->cx, r->problems, v->place,
                       "expected a step: {regex: PATTERN, select: 0|-1}, {number: {after: TEXT}} or first, got %s",
                       ql_yaml_describe(r->cx, v));
    return QL_OK;
}

static ql_status
read_filter(ql_task_reader *r, const ql_yaml *v, const char **name, ql_filter *out)
{
    static const char *const keys[] = {"name", "steps", NULL};
    const bool map = v->kind == QL_YAML_MAP;
    const ql_yaml *its = map ? ql_yaml_get(v, "name") : NULL, *list = map ? ql_yaml_get(v, "steps") : NULL;
    ql_filter_step *steps = ql_alloc(r->cx, list ? (size_t)list->count + 1 : 1, sizeof *steps);

    if (!steps)
        return QL_MEMORY;
    if (!its || !list || list->kind != QL_YAML_LIST || list->count == 0) {
        ql_problem_add(r->cx, r->problems, v->place, "expected a filter, {name: NAME, steps: [...]}, got %s",
                       ql_yaml_describe(r->cx, v));
        return QL_OK;
    }
    ql_task_check_keys(r, v, keys);
    ql_task_read_text(r, its, name);
    out->name = *name;
    out->steps = steps;
    out->step_count = list->count;
    for (int64_t i = 0; i < list->count; i++)
        QL_TRY(r->cx, read_step(r, list->items[i], &steps[i]));
    return QL_OK;
}

static ql_status
read_filters(ql_task_reader *r, const ql_yaml *v)
{
    ql_task *t = r->task;
    const char **names = ql_alloc(r->cx, (size_t)v->count + 1, sizeof(const char *));
    ql_filter *filters = ql_alloc(r->cx, (size_t)v->count + 1, sizeof *filters);

    if (!names || !filters)
        return QL_MEMORY;
    if (v->kind != QL_YAML_LIST || v->count == 0) {
        ql_problem_add(r->cx, r->problems, v->place, "filters: expected a list of filters, got %s",
                       ql_yaml_describe(r->cx, v));
        return QL_OK;
    }
    t->filters = filters;
    t->generation.filters = names;
    t->generation.filter_count = v->count;
    for (int64_t i = 0; i < v->count; i++)
        QL_TRY(r->cx, read_filter(r, v->items[i], &names[i], &filters[i]));
    return QL_OK;
}

static void
read_lower(ql_task_reader *r, const ql_yaml *v)
{
    const bool word = v->kind == QL_YAML_SCALAR;

    r->task->lower = word && strcmp(v->text, "true") == 0;
    if (!r->task->lower && (!word || strcmp(v->text, "false") != 0))
        ql_problem_add(r->cx, r->problems, v->place, "lower: expected true or false, got %s",
                       ql_yaml_describe(r->cx, v));
}

static ql_status
read_ignore(ql_task_reader *r, const ql_yaml *v)
{
    ql_task *t = r->task;
    const char *pattern;

    QL_TRY(r->cx, ql_task_read_words(r, v, &t->ignore, &t->ignore_count));
    for (int64_t i = 0; i < t->ignore_count; i++)
        QL_TRY(r->cx, read_pattern(r, v->items[i], &pattern));
    return QL_OK;
}

ql_status
ql_task_read_generate(ql_task_reader *r, const ql_yaml *v)
{
    static const char *const keys[] = {"stop", "max_gen", "filters", "ignore", "lower", NULL};
    static const ql_filter_step first = {.kind = QL_STEP_FIRST};
    static const ql_filter whole = {.name = "text", .step_count = 1, .steps = &first};
    ql_task_generation *g = &r->task->generation;
    const ql_yaml *stop = ql_yaml_get(v, "stop"), *most = ql_yaml_get(v, "max_gen"),
                  *filters = ql_yaml_get(v, "filters"), *ignore = ql_yaml_get(v, "ignore"),
                  *lower = ql_yaml_get(v, "lower");

    if (v->kind != QL_YAML_MAP) {
        ql_problem_add(r->cx, r->problems, v->place, "generate: expected a mapping, got %s",
                       ql_yaml_describe(r->cx, v));
        return QL_OK;
    }
    ql_task_check_keys(r, v, keys);
    if (stop)
        QL_TRY(r->cx, ql_task_read_words(r, stop, &g->stops, &g->stop_count));
    if (most)
        ql_task_read_count(r, most, &g->max_gen);
    if (g->max_gen < 1)
        ql_problem_add(r->cx, r->problems, most->place, "max_gen: expected 1 or more new tokens");
    r->task->filters = &whole;
    g->filters = &whole.name;
    g->filter_count = 1;
    if (filters)
        QL_TRY(r->cx, read_filters(r, filters));
    if (ignore)
        QL_TRY(r->cx, read_ignore(r, ignore));
    if (lower)
        read_lower(r, lower);
    return QL_OK;
}

const ql_task_generation *
ql_task_generates(const ql_task *task)
{
    return &task->generation;
}

/* --- texts ------------------------------------------------------------------------------------------------------- */

size_t
ql_task_cut(const char *const *stops, int64_t count, const char *text, size_t bytes)
{
    for (int64_t i = 0; i < count; i++) {
        const size_t n = strlen(stops[i]);

        for (size_t at = 0; n > 0 && at + n <= bytes; at++)
            if (memcmp(text + at, stops[i], n) == 0)
                bytes = at; /* and the search ends */
    }
    return bytes;
}

/* What a match gives, as re.findall and the public harness have it: all of it, its one group, or the first of its groups that holds
 * something; false: of several groups none does. */
static bool
group_of(const ql_regex_work *work, const ql_value *text, size_t begin, size_t end, ql_value *out)
{
    const uint32_t groups = ql_regex_groups(work) - 1;

    *out = groups ? ql_value_text("", 0) : ql_value_text(text->text + begin, (int64_t)(end - begin));
    for (uint32_t g = 1; g <= groups && out->bytes == 0; g++)
        if (ql_regex_group(work, g, &begin, &end))
            *out = ql_value_text(text->text + begin, (int64_t)(end - begin));
    return groups < 2 || out->bytes > 0;
}

/* The first or last match of the pattern in the text; `found`: there is one, and it gives something. */
static ql_status
find_match(ql_ctx *cx, const char *pattern, bool last, const ql_value *text, ql_value *out, bool *found)
{
    ql_regex *re = NULL;
    ql_regex_work work = {.groups = true};
    const size_t bytes = (size_t)text->bytes;
    size_t from = 0, begin, end, n;
    bool there = true, any = false;
    ql_status st = ql_regex_compile_python(cx, "pattern", pattern, strlen(pattern), &re);

    *found = false;
    while (st == QL_OK && from <= bytes && (last || !any)) {
        st = ql_regex_find(cx, re, &work, bytes ? text->text : "", bytes, from, &there, &begin, &end);
        if (st != QL_OK || !there)
            break;
        any = true;
        *found = group_of(&work, text, begin, end, out);
        from = end;
        if (end == begin && end < bytes)
            (void)ql_utf8_char((const unsigned char *)text->text + end, &n);
        if (end == begin)
            from += end < bytes ? n : 1;
    }
    ql_regex_work_fini(&work);
    ql_regex_free(re);
    return st;
}

static ql_status
call(ql_ctx *cx, const char *method, const char *pattern, ql_value *text)
{
    const ql_value v[] = {*text, ql_value_text(pattern, (int64_t)strlen(pattern)), ql_value_text("", 0)};

    return ql_method_call(cx, method, v, *pattern ? 3 : 1, text);
}

/* As the public harness's regex filter. */
static ql_status
regex_step(ql_ctx *cx, const ql_filter_step *step, ql_value *text)
{
    ql_value match;
    bool found;

    QL_TRY(cx, find_match(cx, step->pattern, step->last, text, &match, &found));
    if (!found)
        match = ql_value_text(step->fallback, (int64_t)strlen(step->fallback));
    *text = match;
    return call(cx, "strip", "", text);
}

/* The first number behind `after`, else the last of the whole text, without commas: thousands are parted by them. */
static ql_status
number_step(ql_ctx *cx, const ql_filter_step *step, ql_value *text)
{
    const char *all, *at = NULL;
    bool found = false;
    ql_value match;

    QL_TRY(cx, call(cx, "sub", ",", text));
    all = ql_copy_text(cx, text->text, (size_t)text->bytes);
    if (!all)
        return QL_MEMORY;
    if (step->after)
        at = strstr(all, step->after);
    if (at) {
        const ql_value rest = ql_value_text(at + strlen(step->after), (int64_t)strlen(at + strlen(step->after)));

        QL_TRY(cx, find_match(cx, NUMBER, false, &rest, &match, &found));
    }
    if (!found)
        QL_TRY(cx, find_match(cx, NUMBER, true, text, &match, &found));
    *text = found ? match : ql_value_text(step->fallback, (int64_t)strlen(step->fallback));
    return QL_OK;
}

ql_status
ql_task_extract(ql_ctx *cx, const ql_task *task, int64_t f, const char *text, size_t bytes, const char **out)
{
    const ql_filter *filter = &task->filters[f];
    ql_value v = ql_value_text(text, (int64_t)bytes);

    for (int64_t i = 0; i < filter->step_count; i++) {
        const ql_filter_step *step = &filter->steps[i];

        if (step->kind == QL_STEP_REGEX)
            QL_TRY(cx, regex_step(cx, step, &v));
        else if (step->kind == QL_STEP_NUMBER)
            QL_TRY(cx, number_step(cx, step, &v));
    }
    *out = ql_copy_text(cx, v.text, (size_t)v.bytes);
    return *out ? QL_OK : QL_MEMORY;
}

/* What counts of a text in a comparison. */
static ql_status
what_counts(ql_ctx *cx, const ql_task *task, const char *text, ql_value *out)
{
    *out = ql_value_text(text, (int64_t)strlen(text));
    for (int64_t i = 0; i < task->ignore_count; i++)
        QL_TRY(cx, call(cx, "sub", task->ignore[i], out));
    return task->lower ? call(cx, "lower", "", out) : QL_OK;
}

/* Are both numbers, and equal ones? */
static ql_status
equal_numbers(ql_ctx *cx, const ql_value *found, const ql_value *reference, bool *same)
{
    const char *a = ql_copy_text(cx, found->text, (size_t)found->bytes),
               *b = ql_copy_text(cx, reference->text, (size_t)reference->bytes);
    char *a_end, *b_end;
    double x, y;

    if (!a || !b)
        return QL_MEMORY;
    x = strtod(a, &a_end);
    y = strtod(b, &b_end);
    *same = a_end != a && b_end != b && !*a_end && !*b_end && x == y;
    return QL_OK;
}

ql_status
ql_task_matches(ql_ctx *cx, const ql_task *task, int64_t f, const char *found, const char *reference, bool *same)
{
    const ql_filter *filter = &task->filters[f];
    const ql_filter_step *last = &filter->steps[filter->step_count - 1];
    ql_value a, b;

    QL_TRY(cx, what_counts(cx, task, found, &a));
    QL_TRY(cx, what_counts(cx, task, reference, &b));
    if (last->kind == QL_STEP_NUMBER) {
        QL_TRY(cx, number_step(cx, last, &b)); /* a reference may be the whole of what a model learns to say */
        return equal_numbers(cx, &a, &b, same);
    }
    *same = ql_value_equal(&a, &b);
    return QL_OK;
}
