/* `exclude:` and `table:`: what refers to axes, variants and parameters by name. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "build.h"

#define EXCLUSIONS_MAX 1000

/* "quant.bits" taken apart. */
typedef struct reference {
    int64_t stage;   /* -1: the seed */
    const char *key; /* "bits", "use"; NULL: the stage's axis */
    int64_t axis;    /* whose positions decide; -1: it does not vary */
} reference;

static int64_t
find_axis(const ql_build *b, const char *key)
{
    for (int64_t i = 0; i < b->axis_count; i++)
        if (strcmp(b->axes[i].key->text, key) == 0)
            return i;
    return -1;
}

/* Does any plugin that the stage may have know the parameter or input? */
static const ql_param *
find_row(const ql_build *b, const ql_build_stage *s, const char *key, bool *known)
{
    const ql_build_axis *a = s->variants < 0 ? NULL : &b->axes[s->variants];
    const ql_param *row = NULL;

    *known = !s->plugin; /* then nothing is known, which has been told */
    for (int64_t i = -1; i < (a ? a->values->count : 0); i++) {
        const ql_plugin *p = i < 0 ? s->plugin : a->plugins[i];

        row = row ? row : p ? ql_param_find(p, key) : NULL;
        *known = *known || row || !p || ql_plugin_input(p, key) || strcmp(key, "propagate") == 0;
    }
    return row;
}

/* Tells that a reference means nothing, with the nearest parameter that the stage has. */
static void
tell_reference(ql_build *b, ql_place place, const char *what, const char *text, const reference *ref)
{
    const ql_plugin *p = b->stages[ref->stage].plugin;
    const char *names[64] = {"use"}, *near = NULL;
    int64_t n = 1;

    for (const ql_param *row = p->params; ref->key && row->type != QL_T_END && n < 64; row++)
        names[n++] = row->name;
    near = ref->key ? ql_nearest(ref->key, names, n) : "use";
    if (near)
        ql_problem_add(b->cx, &b->problems, place,
                       "%s: '%s' is no key of the matrix and no parameter of a stage (did you mean '%s.%s'?)", what,
                       text, b->stages[ref->stage].name, near);
    else
        ql_problem_add(b->cx, &b->problems, place, "%s: '%s' is no key of the matrix and no parameter of a stage", what,
                       text);
}

/* False with the problem told. */
static bool
read_reference(ql_build *b, ql_place place, const char *what, const char *text, reference *out)
{
    const char *dot = strchr(text, '.'), *stage, *prefix = ql_format(b->cx, "%s: ", what);
    bool known = true;

    *out = (reference){.stage = -1, .axis = find_axis(b, text)};
    if (strcmp(text, "seed") == 0)
        return true;
    stage = ql_copy_text(b->cx, text, dot ? (size_t)(dot - text) : strlen(text));
    if (!stage || !prefix) {
        b->problems.failed = QL_MEMORY;
        return false;
    }
    out->stage = ql_build_stage_find(b, stage, strlen(stage));
    out->key = dot ? dot + 1 : NULL;
    if (out->stage < 0) {
        ql_build_no_stage(b, place, prefix, stage);
        return false;
    }
    if (dot && strcmp(out->key, "use") != 0)
        (void)find_row(b, &b->stages[out->stage], out->key, &known);
    if (b->stages[out->stage].plugin && (!known || (!dot && out->axis < 0))) {
        tell_reference(b, place, what, text, out);
        return false;
    }
    if (out->axis < 0)
        out->axis = b->stages[out->stage].variants;
    return true;
}

/* Are both the same value of a parameter: 0.1 and 0.10? */
static bool
same_value(ql_build *b, const ql_build_stage *s, const char *key, const ql_yaml *x, const ql_yaml *y)
{
    const ql_plugin *p = s->plugin;
    const ql_param *row = p ? ql_param_find(p, key) : NULL;
    const ql_yaml *const sides[] = {x, y};
    const char *texts[2] = {NULL, NULL};
    void *self;

    if (ql_yaml_equal(x, y))
        return true;
    if (!row || x->kind != QL_YAML_SCALAR || y->kind != QL_YAML_SCALAR)
        return false;
    self = ql_alloc(b->cx, 1, p->self_size);
    for (int i = 0; self && i < 2; i++)
        if (ql_param_set(b->cx, row, &(ql_value){.text = sides[i]->text, .quoted = sides[i]->quoted}, NULL, self) ==
            QL_OK)
            texts[i] = ql_param_print(b->cx, row, self);
    ql_error_clear(b->cx);
    return texts[0] && texts[1] && strcmp(texts[0], texts[1]) == 0;
}

/* Does the condition `ref: v` hold where its axis stands at `i`? */
static bool
holds_at(ql_build *b, const reference *ref, const ql_yaml *v, int64_t i)
{
    const ql_build_stage *s = ref->stage < 0 ? NULL : &b->stages[ref->stage];
    const ql_build_axis *a = ref->axis < 0 ? NULL : &b->axes[ref->axis];
    const ql_yaml *item = a ? a->values->items[i] : NULL, *value;
    const ql_plugin *p = a && a->plugins ? a->plugins[i] : s ? s->plugin : NULL;
    const ql_param *row;

    if (a && v->kind == QL_YAML_SCALAR && (!ref->key || strcmp(ref->key, "use") == 0) &&
        strcmp(a->labels[i], v->text) == 0)
        return true;
    if (!ref->key)
        return false;
    if (strcmp(ref->key, "use") == 0)
        return p && v->kind == QL_YAML_SCALAR && strcmp(p->name, v->text) == 0;
    if (a && a->parameter)
        return same_value(b, s, ref->key, item, v);
    value = ql_yaml_get(item, ref->key);
    if (!value)
        value = ql_yaml_get(s->entry, ref->key);
    if (value)
        return same_value(b, s, ref->key, value, v);
    row = p ? ql_param_find(p, ref->key) : NULL;
    if (row && v->kind == QL_YAML_SCALAR) { /* nobody gave it: the default */
        void *self = ql_alloc(b->cx, 1, p->self_size);
        const char *text;

        if (!self)
            return false;
        ql_param_defaults(p, self);
        text = ql_param_print(b->cx, row, self);
        return text && strcmp(text, v->text) == 0;
    }
    return false;
}

static bool
read_condition(ql_build *b, const ql_yaml *key, const ql_yaml *v, ql_condition *out)
{
    reference ref;
    bool *holds;

    if (!read_reference(b, key->place, "exclude", key->text, &ref))
        return false;
    *out = (ql_condition){.axis = ref.axis};
    if (ref.axis < 0) {
        out->always = ref.stage >= 0 && holds_at(b, &ref, v, 0);
        return true;
    }
    holds = ql_alloc(b->cx, (size_t)b->axes[ref.axis].values->count, sizeof *holds);
    if (!holds) {
        b->problems.failed = QL_MEMORY;
        return false;
    }
    for (int64_t i = 0; i < b->axes[ref.axis].values->count; i++)
        holds[i] = holds_at(b, &ref, v, i);
    out->holds = holds;
    return true;
}

ql_status
ql_build_exclude(ql_build *b)
{
    const ql_yaml *list = ql_yaml_get(b->root, "exclude");

    if (!list || ql_yaml_empty(list))
        return QL_OK;
    if (list->kind != QL_YAML_LIST || list->count > EXCLUSIONS_MAX) {
        ql_problem_add(b->cx, &b->problems, list->place,
                       "exclude: expected a list of at most %d mappings such as {quant.use: PLUGIN, quant.bits: 2}",
                       EXCLUSIONS_MAX);
        return b->problems.failed;
    }
    b->exclusions = ql_alloc(b->cx, (size_t)list->count, sizeof *b->exclusions);
    if (!b->exclusions)
        return QL_MEMORY;
    for (int64_t i = 0; i < list->count; i++) {
        const ql_yaml *entry = list->items[i];
        ql_exclusion *x = &b->exclusions[b->exclusion_count];
        ql_condition *conditions = ql_alloc(b->cx, (size_t)entry->count, sizeof *conditions);
        bool ok = true;

        if (!conditions)
            return QL_MEMORY;
        if (entry->kind != QL_YAML_MAP || entry->count == 0) {
            ql_problem_add(b->cx, &b->problems, entry->place,
                           "exclude: expected a mapping such as {quant.use: PLUGIN, quant.bits: 2}");
            continue;
        }
        for (int64_t k = 0; k < entry->count; k++)
            ok = read_condition(b, entry->keys[k], entry->items[k], &conditions[k]) && ok;
        if (ok) {
            *x = (ql_exclusion){.place = entry->place, .count = entry->count, .conditions = conditions};
            b->exclusion_count++;
        }
    }
    return b->problems.failed;
}

/* A reference or a list of them. */
static ql_status
read_references(ql_build *b, const char *what, const ql_yaml *v, const char *const **out, int64_t *count)
{
    const int64_t n = v->kind == QL_YAML_LIST ? v->count : 1;
    const char **texts = ql_alloc(b->cx, (size_t)n, sizeof *texts);
    reference ref;

    if (!texts)
        return QL_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        const ql_yaml *item = v->kind == QL_YAML_LIST ? v->items[i] : v;

        if (item->kind != QL_YAML_SCALAR || ql_yaml_empty(item))
            ql_problem_add(b->cx, &b->problems, item->place,
                           "%s: expected keys such as quant.use or [quant.bits, quant.use]", what);
        else if (read_reference(b, item->place, what, item->text, &ref))
            texts[(*count)++] = item->text;
    }
    *out = texts;
    return b->problems.failed;
}

static void
read_metric(ql_build *b, const ql_yaml *v, const char **out)
{
    const char *dot = v->kind == QL_YAML_SCALAR ? strchr(v->text, '.') : NULL, *name;
    const ql_build_stage *s;
    int64_t i;

    if (!dot || dot == v->text || !dot[1]) {
        ql_problem_add(b->cx, &b->problems, v->place, "table: value: expected STAGE.METRIC, such as ppl.perplexity");
        return;
    }
    i = ql_build_stage_find(b, v->text, (size_t)(dot - v->text));
    name = ql_copy_text(b->cx, v->text, (size_t)(dot - v->text));
    s = i < 0 ? NULL : &b->stages[i];
    if (!name)
        b->problems.failed = QL_MEMORY;
    else if (!s)
        ql_build_no_stage(b, v->place, "table: value: ", name);
    else if (s->plugin && s->plugin->kind != QL_EVALUATOR && s->plugin->kind != QL_EXPORTER)
        ql_problem_add(b->cx, &b->problems, v->place,
                       "table: value: stage '%s' (%s) is a %s; only evaluators and exporters give metrics", name,
                       s->plugin->name, ql_kind_name(s->plugin->kind));
    else
        *out = v->text;
}

ql_status
ql_build_table(ql_build *b, ql_graph *g)
{
    static const char *const keys[] = {"rows", "columns", "value"};
    const ql_yaml *table = ql_yaml_get(b->root, "table");

    if (!table || ql_yaml_empty(table))
        return QL_OK;
    if (table->kind != QL_YAML_MAP) {
        ql_problem_add(
            b->cx, &b->problems, table->place,
            "table: expected a mapping such as {rows: [quant.bits], columns: fix.use, value: ppl.perplexity}");
        return b->problems.failed;
    }
    for (int64_t i = 0; i < table->count; i++) {
        const char *key = table->keys[i]->text, *near;
        const ql_yaml *v = table->items[i];

        if (strcmp(key, "rows") == 0) {
            QL_TRY(b->cx, read_references(b, "table: rows", v, &g->table.rows, &g->table.row_count));
        } else if (strcmp(key, "columns") == 0) {
            QL_TRY(b->cx, read_references(b, "table: columns", v, &g->table.columns, &g->table.column_count));
        } else if (strcmp(key, "value") == 0) {
            read_metric(b, v, &g->table.value);
        } else {
            near = ql_nearest(key, keys, 3);
            ql_problem_add(b->cx, &b->problems, table->keys[i]->place, "table: unknown key '%s'%s%s%s", key,
                           near ? " (did you mean '" : "; expected rows, columns or value", near ? near : "",
                           near ? "'?)" : "");
        }
    }
    return b->problems.failed;
}
