/* Reads task files: everything that is wrong is told in one go, with line and column. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/guess.h"
#include "task_reader.h"

#define TASK_BYTES ((size_t)QL_YAML_BYTES_MAX)
#define FORMAT 1 /* of task files: `qloom-task: 1` */

typedef ql_task_reader reader;

/* --- values of keys ---------------------------------------------------------------------------------------------- */

bool
ql_task_is_scalar(reader *r, const ql_yaml *v, const char *what)
{
    if (v->kind == QL_YAML_SCALAR && !ql_yaml_empty(v))
        return true;
    ql_problem_add(r->cx, r->problems, v->place, "expected %s, got %s", what, ql_yaml_describe(r->cx, v));
    return false;
}

static void
read_template(reader *r, const ql_yaml *v, const ql_template **out)
{
    ql_wrong wrong;

    if (!ql_task_is_scalar(r, v, "a template, a text"))
        return;
    if (ql_template_parse(r->cx, v->text, r->known, v, out, &wrong) != QL_OK) {
        ql_problem_add(r->cx, r->problems, ql_task_place(r->task, v, wrong.at), "%s", ql_error(r->cx));
        ql_error_clear(r->cx);
    }
}

void
ql_task_read_text(reader *r, const ql_yaml *v, const char **out)
{
    if (ql_task_is_scalar(r, v, "a text"))
        *out = v->text;
}

void
ql_task_read_count(reader *r, const ql_yaml *v, int64_t *out)
{
    char *end;
    long long n;

    if (!ql_task_is_scalar(r, v, "a number"))
        return;
    n = strtoll(v->text, &end, 10);
    if (*end || end == v->text || n < 0 || n > 1 << 20)
        ql_problem_add(r->cx, r->problems, v->place, "expected a number from 0 to %d, got '%s'", 1 << 20, v->text);
    else
        *out = n;
}

/* The place of the word among `words`; -1 when it is none of them. */
static int64_t
read_word(reader *r, const ql_yaml *v, const char *const *words)
{
    ql_guess guess;

    if (!ql_task_is_scalar(r, v, "a word"))
        return -1;
    guess = ql_guess_open(v->text);
    for (int64_t i = 0; words[i]; i++) {
        if (strcmp(v->text, words[i]) == 0)
            return i;
        ql_guess_offer(&guess, words[i]);
    }
    ql_problem_add(r->cx, r->problems, v->place, "'%s' is not known here%s", v->text,
                   ql_guess_text(r->cx, &guess, ql_format(r->cx, ", expected one like '%s'", words[0])));
    return -1;
}

ql_status
ql_task_read_words(reader *r, const ql_yaml *v, const char *const **out, int64_t *count)
{
    const char **words = ql_alloc(r->cx, (size_t)v->count + 1, sizeof(const char *));

    if (!words)
        return QL_MEMORY;
    if (v->kind != QL_YAML_LIST || v->count == 0) {
        ql_problem_add(r->cx, r->problems, v->place, "expected a list of words, got %s", ql_yaml_describe(r->cx, v));
        return QL_OK;
    }
    for (int64_t i = 0; i < v->count; i++)
        ql_task_read_text(r, v->items[i], &words[i]);
    *out = words;
    *count = v->count;
    return QL_OK;
}

void
ql_task_check_keys(reader *r, const ql_yaml *map, const char *const *keys)
{
    for (int64_t i = 0; i < map->count; i++) {
        ql_guess guess = ql_guess_open(map->keys[i]->text);
        bool known = false;

        for (int64_t k = 0; keys[k]; k++) {
            known = known || strcmp(keys[k], map->keys[i]->text) == 0;
            ql_guess_offer(&guess, keys[k]);
        }
        if (!known)
            ql_problem_add(r->cx, r->problems, map->keys[i]->place, "unknown key '%s'%s", map->keys[i]->text,
                           ql_guess_text(r->cx, &guess, ""));
    }
}

/* --- let --------------------------------------------------------------------------------------------------------- */

/* "name" or "name(x)". */
static ql_status
read_let_name(reader *r, const ql_yaml *key, ql_let *out)
{
    const size_t n = strcspn(key->text, "("), all = strlen(key->text);

    out->name = ql_copy_text(r->cx, key->text, n);
    if (!out->name)
        return QL_MEMORY;
    if (n < all) {
        if (n + 2 >= all || key->text[all - 1] != ')') {
            ql_problem_add(r->cx, r->problems, key->place, "expected 'name' or 'name(x)', got '%s'", key->text);
            return QL_OK;
        }
        out->parameter = ql_copy_text(r->cx, key->text + n + 1, all - n - 2);
        if (!out->parameter)
            return QL_MEMORY;
    }
    return QL_OK;
}

/* Names in order: a template may use those above it. */
static ql_status
read_let(reader *r, const ql_yaml *v)
{
    ql_let *lets = ql_alloc(r->cx, (size_t)v->count + 1, sizeof *lets);
    ql_function *functions = ql_alloc(r->cx, (size_t)v->count + 1, sizeof *functions);

    if (!lets || !functions)
        return QL_MEMORY;
    if (v->kind != QL_YAML_LIST)
        ql_problem_add(r->cx, r->problems, v->place, "let: expected a list of `name: template`, got %s",
                       ql_yaml_describe(r->cx, v));
    r->task->lets = lets;
    r->task->functions.items = functions;
    for (int64_t i = 0; v->kind == QL_YAML_LIST && i < v->count; i++) {
        const ql_yaml *item = v->items[i];
        ql_let *let = &lets[r->task->let_count];

        if (item->kind != QL_YAML_MAP || item->count != 1) {
            ql_problem_add(r->cx, r->problems, item->place, "let: expected `name: template`, got %s",
                           ql_yaml_describe(r->cx, item));
            continue;
        }
        QL_TRY(r->cx, read_let_name(r, item->keys[0], let));
        read_template(r, item->items[0], &let->body);
        if (let->parameter && let->body)
            functions[r->task->functions.count++] = (ql_function){let->name, let->parameter, let->body};
        r->task->let_count++;
    }
    return QL_OK;
}

/* --- shots ------------------------------------------------------------------------------------------------------- */

/* A record that stands in the file itself: a map of texts. */
static ql_status
read_fixed_one(reader *r, const ql_yaml *v, const ql_json **out)
{
    ql_json_input in = {.file = r->task->info.file, .line = v->place.line};
    const char *text = "{";

    for (int64_t i = 0; v->kind == QL_YAML_MAP && i < v->count && text; i++) {
        const char *key = ql_json_quote(r->cx, v->keys[i]->text, strlen(v->keys[i]->text)), *value;

        if (!ql_task_is_scalar(r, v->items[i], "a text"))
            return QL_OK;
        value = ql_json_quote(r->cx, v->items[i]->text, strlen(v->items[i]->text));
        text = key && value ? ql_format(r->cx, "%s%s%s: %s", text, i ? ", " : "", key, value) : NULL;
    }
    in.text = text ? ql_format(r->cx, "%s}", text) : NULL;
    if (!in.text)
        return QL_MEMORY;
    if (v->kind != QL_YAML_MAP)
        ql_problem_add(r->cx, r->problems, v->place, "expected a record, got %s", ql_yaml_describe(r->cx, v));
    in.bytes = strlen(in.text);
    return ql_json_parse(r->cx, &in, out);
}

static ql_status
read_fixed(reader *r, const ql_yaml *v)
{
    r->task->fixed = ql_alloc(r->cx, (size_t)v->count + 1, sizeof *r->task->fixed);
    if (!r->task->fixed)
        return QL_MEMORY;
    if (v->kind != QL_YAML_LIST) {
        ql_problem_add(r->cx, r->problems, v->place, "expected a list of records, got %s", ql_yaml_describe(r->cx, v));
        return QL_OK;
    }
    r->task->fixed_count = v->count;
    for (int64_t i = 0; i < v->count; i++)
        QL_TRY(r->cx, read_fixed_one(r, v->items[i], &r->task->fixed[i]));
    return QL_OK;
}

static ql_status
read_shots(reader *r, const ql_yaml *v)
{
    static const char *const keys[] = {"rule", "count", "separator", "same", "fixed", NULL}, *const rules[] = {
                                                                                                 "train", "self",
                                                                                                 "first", NULL};
    const ql_yaml *rule = ql_yaml_get(v, "rule"), *count = ql_yaml_get(v, "count"), *same = ql_yaml_get(v, "same"),
                  *separator = ql_yaml_get(v, "separator"), *fixed = ql_yaml_get(v, "fixed");
    int64_t chosen;

    if (v->kind != QL_YAML_MAP) {
        ql_problem_add(r->cx, r->problems, v->place, "shots: expected a mapping, got %s", ql_yaml_describe(r->cx, v));
        return QL_OK;
    }
    ql_task_check_keys(r, v, keys);
    if (rule) {
        chosen = read_word(r, rule, rules);
        r->task->rule = chosen < 0 ? QL_SHOTS_TRAIN : (ql_shot_rule)chosen;
    }
    if (count)
        ql_task_read_count(r, count, &r->task->info.shots);
    if (separator && separator->kind == QL_YAML_SCALAR)
        r->task->separator = separator->text;
    if (same)
        ql_task_read_text(r, same, &r->task->same);
    return fixed ? read_fixed(r, fixed) : QL_OK;
}

/* --- the whole --------------------------------------------------------------------------------------------------- */

static void
read_templates(reader *r)
{
    ql_task *t = r->task;
    const struct {
        const char *key;
        const ql_template **out;
    } rows[] = {
        {"where", &t->where},
        {"description", &t->description},
        {"prompt", &t->prompt},
        {"choices", &t->choices},
        {"contexts", &t->contexts},
        {"continuation", &t->continuation},
        {"text", &t->text},
        {"count", &t->count},
        {"answer", &t->answer},
        {"gold", &t->gold},
        {"by", &t->by},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const ql_yaml *v = ql_yaml_get(t->root, rows[i].key);

        if (v)
            read_template(r, v, rows[i].out);
    }
}

/* What the file asks, by the keys that it has: exactly one kind of request. */
static void
choose_kind(reader *r)
{
    static const struct {
        const char *keys[3];
        ql_task_kind kind;
        bool gold;
    } rows[] = {
        {{"prompt", "choices", NULL}, QL_TASK_CHOICES, true},
        {{"contexts", "continuation", NULL}, QL_TASK_CONTEXTS, true},
        {{"prompt", "continuation", NULL}, QL_TASK_CONTINUATION, false},
        {{"text", NULL, NULL}, QL_TASK_ROLLING, false},
        {{"prompt", "answer", "generate"}, QL_TASK_GENERATE, false},
    };
    static const char *const all[] = {"prompt", "choices", "contexts", "continuation", "text", "answer", "generate"};
    const ql_yaml *root = r->task->root;
    int64_t has = 0;

    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        has += ql_yaml_get(root, all[k]) != NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t n = 0;
        bool there = true;

        for (int k = 0; k < 3 && rows[i].keys[k]; k++, n++)
            there = there && ql_yaml_get(root, rows[i].keys[k]);
        if (!there || n != has)
            continue;
        r->task->info.kind = rows[i].kind;
        if (rows[i].gold && !ql_yaml_get(root, "gold"))
            ql_problem_add(r->cx, r->problems, root->place, "missing key 'gold': which choice is right");
        return;
    }
    ql_problem_add(
        r->cx, r->problems, root->place,
        "expected one kind of request: prompt and choices; contexts and continuation; prompt and continuation; "
        "text; or prompt, answer and generate");
}

static ql_status
read_metrics(reader *r)
{
    static const char *const known[][6] = {
        [QL_TASK_CHOICES] = {"acc", "acc_norm", "acc_bytes", "f1", "mcc", NULL},
        [QL_TASK_CONTEXTS] = {"acc", NULL},
        [QL_TASK_CONTINUATION] = {"acc", "perplexity", NULL},
        [QL_TASK_ROLLING] = {"word_perplexity", "byte_perplexity", "bits_per_byte", NULL},
        [QL_TASK_GENERATE] = {"exact_match", NULL},
    };
    ql_task_info *info = &r->task->info;
    const ql_yaml *metrics = ql_yaml_get(r->task->root, "metrics"), *headline = ql_yaml_get(r->task->root, "headline");

    if (metrics)
        QL_TRY(r->cx, ql_task_read_words(r, metrics, &info->metrics, &info->metric_count));
    for (int64_t i = 0; i < info->metric_count; i++)
        if (metrics && info->metrics[i])
            (void)read_word(r, metrics->items[i], known[info->kind]);
    if (!info->metric_count) {
        info->metrics = known[info->kind];
        info->metric_count = 1;
    }
    info->headline = info->metrics[0];
    if (headline)
        ql_task_read_text(r, headline, &info->headline);
    return QL_OK;
}

static void
read_plain(reader *r)
{
    static const char *const records[] = {"lines", "articles", NULL}, *const scores[] = {"continuation", "whole", NULL};
    ql_task_info *info = &r->task->info;
    const ql_yaml *root = r->task->root, *format = ql_yaml_get(root, "qloom-task"), *name = ql_yaml_get(root, "name"),
                  *version = ql_yaml_get(root, "version"), *about = ql_yaml_get(root, "about"),
                  *cite = ql_yaml_get(root, "cite"), *rows = ql_yaml_get(root, "records"),
                  *score = ql_yaml_get(root, "score"), *delimiter = ql_yaml_get(root, "delimiter");
    int64_t number = 0;

    if (format)
        ql_task_read_count(r, format, &number);
    if (number != FORMAT)
        ql_problem_add(r->cx, r->problems, format ? format->place : root->place,
                       "expected `qloom-task: %d` in a task file", FORMAT);
    if (name)
        ql_task_read_text(r, name, &info->name);
    else
        ql_problem_add(r->cx, r->problems, root->place, "missing key 'name'");
    if (version)
        ql_task_read_count(r, version, &info->version);
    if (about)
        ql_task_read_text(r, about, &info->about);
    if (cite)
        ql_task_read_text(r, cite, &info->cite);
    if (rows)
        r->task->articles = read_word(r, rows, records) == 1;
    if (score)
        info->whole = read_word(r, score, scores) == 1;
    if (delimiter && delimiter->kind == QL_YAML_SCALAR)
        info->delimiter = delimiter->text;
}

static ql_status
read_task(reader *r)
{
    static const char *const keys[] = {
        "qloom-task", "name",    "version",  "about",        "cite",    "records",  "where",  "let",  "description",
        "prompt",     "choices", "contexts", "continuation", "text",    "count",    "answer", "gold", "delimiter",
        "shots",      "score",   "by",       "generate",     "metrics", "headline", NULL};
    const ql_yaml *let = ql_yaml_get(r->task->root, "let"), *shots = ql_yaml_get(r->task->root, "shots"),
                  *generate = ql_yaml_get(r->task->root, "generate");

    if (r->task->root->kind != QL_YAML_MAP) {
        ql_problem_add(r->cx, r->problems, r->task->root->place, "expected a mapping, got %s",
                       ql_yaml_describe(r->cx, r->task->root));
        return QL_OK;
    }
    ql_task_check_keys(r, r->task->root, keys);
    read_plain(r);
    if (let)
        QL_TRY(r->cx, read_let(r, let));
    read_templates(r);
    choose_kind(r);
    if (generate)
        QL_TRY(r->cx, ql_task_read_generate(r, generate));
    if (shots)
        QL_TRY(r->cx, read_shots(r, shots));
    return read_metrics(r);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static ql_status
parse(ql_ctx *cx, const char *file, const char *text, size_t bytes, const ql_task **out)
{
    ql_problems problems = {0};
    ql_task *t = ql_alloc(cx, 1, sizeof *t);
    reader r = {.cx = cx, .problems = &problems, .task = t, .known = t ? &t->functions : NULL};
    ql_status st;

    if (!t)
        return QL_MEMORY;
    t->info = (ql_task_info){.delimiter = " ", .version = 1, .file = file, .text = text, .bytes = bytes};
    t->generation.max_gen = QL_TASK_MAX_GEN;
    t->separator = "\n\n";
    st = ql_yaml_parse(cx, &problems, file, text, bytes, &t->root);
    if (st == QL_OK && !t->root && !problems.count)
        ql_problem_add(cx, &problems, (ql_place){.file = t->info.file, .line = 1, .column = 1}, "the file is empty");
    if (st == QL_OK && t->root)
        st = read_task(&r);
    if (st == QL_OK)
        st = ql_problems_end(cx, &problems);
    ql_problems_fini(&problems);
    *out = t;
    return st;
}

ql_status
ql_task_open(ql_ctx *cx, const char *name, const ql_task **out)
{
    const char *file, *text;
    size_t bytes;

    QL_TRY(cx, ql_task_find(cx, name, &file));
    QL_TRY(cx, ql_file_read(cx, file, TASK_BYTES, &text, &bytes));
    return parse(cx, file, text, bytes, out);
}

ql_status
ql_task_of_pair(ql_ctx *cx, const char *prompt, const char *completion, const ql_task **out)
{
    const char *context = ql_json_quote(cx, prompt, strlen(prompt)),
               *rest = ql_json_quote(cx, completion, strlen(completion)), *text;

    text = context && rest
               ? ql_format(cx, "prompt: %s\ncontinuation: %s\nqloom-task: %d\nname: pairs\ndelimiter: \"\"\n", context,
                           rest, FORMAT)
               : NULL;
    return text ? parse(cx, "prompt (line 1), completion (line 2)", text, strlen(text), out) : QL_MEMORY;
}

const ql_task_info *
ql_task_about(const ql_task *task)
{
    return &task->info;
}
