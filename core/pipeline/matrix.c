/* `matrix:`: axes, their variants and values, and a distinct label for each. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/printer.h"
#include "build.h"

/* "x" of {use: x}, the label of one that has it, "3" of a value, "wiki" of a reference. */
static const char *
plain_label(ql_build *b, const ql_build_axis *a, int64_t i)
{
    const ql_yaml *v = a->values->items[i], *word = ql_yaml_get(v, "label");
    const char *text;

    if (!word)
        word = ql_yaml_get(v, "use");
    if (!word && v->kind == QL_YAML_MAP && !a->parameter && a->stage >= 0)
        word = ql_yaml_get(b->stages[a->stage].entry, "use");
    text = ql_yaml_line(b->cx, word ? word : v);
    return text && *text == '$' ? text + 1 : text;
}

/* Is there another variant with the same plain label where `key` has another value, or none? */
static bool
differs(const ql_build_axis *a, const char *const *plain, int64_t i, const char *key)
{
    const ql_yaml *mine = ql_yaml_get(a->values->items[i], key);

    for (int64_t j = 0; j < a->values->count; j++) {
        const ql_yaml *other = ql_yaml_get(a->values->items[j], key);

        if (j != i && strcmp(plain[i], plain[j]) == 0 && (!other || !ql_yaml_equal(mine, other)))
            return true;
    }
    return false;
}

/* "PLUGIN sym=true": the plain label and what differs from the others that have the same. */
static ql_status
long_label(ql_build *b, const ql_build_axis *a, const char *const *plain, int64_t i, const char **out)
{
    const ql_yaml *v = a->values->items[i];
    ql_printer p;

    QL_TRY(b->cx, ql_printer_open(b->cx, &p));
    fputs(plain[i], p.out);
    for (int64_t k = 0; v->kind == QL_YAML_MAP && k < v->count; k++)
        if (strcmp(v->keys[k]->text, "label") != 0 && differs(a, plain, i, v->keys[k]->text)) {
            const char *text = ql_yaml_line(b->cx, v->items[k]);

            fprintf(p.out, " %s=%s", v->keys[k]->text, text ? text : "");
        }
    return ql_printer_close(b->cx, &p, out);
}

static ql_status
make_labels(ql_build *b, ql_build_axis *a)
{
    const int64_t n = a->values->count;
    const char **plain = ql_alloc(b->cx, (size_t)n, sizeof *plain);

    a->labels = ql_alloc(b->cx, (size_t)n, sizeof *a->labels);
    if (!plain || !a->labels)
        return QL_MEMORY;
    for (int64_t i = 0; i < n; i++)
        if (!(plain[i] = plain_label(b, a, i)))
            return QL_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        bool shared = false;

        for (int64_t j = 0; j < n && !shared; j++)
            shared = j != i && strcmp(plain[i], plain[j]) == 0;
        a->labels[i] = plain[i];
        if (shared)
            QL_TRY(b->cx, long_label(b, a, plain, i, &a->labels[i]));
        for (int64_t j = 0; j < i; j++)
            if (strcmp(a->labels[i], a->labels[j]) == 0) {
                ql_problem_add(b->cx, &b->problems, a->values->items[i]->place, "matrix '%s': '%s' stands there twice",
                               a->key->text, a->labels[i]);
                break;
            }
    }
    return QL_OK;
}

/* Each variant is a mapping and of the kind of the stage. */
static ql_status
read_variants(ql_build *b, ql_build_axis *a)
{
    const ql_build_stage *s = &b->stages[a->stage];

    a->plugins = ql_alloc(b->cx, (size_t)a->values->count, sizeof(ql_plugin *));
    if (!a->plugins)
        return QL_MEMORY;
    for (int64_t i = 0; i < a->values->count; i++) {
        const ql_yaml *v = a->values->items[i], *use = ql_yaml_get(v, "use"), *path = ql_yaml_get(v, "path");
        const char *got = ql_yaml_describe(b->cx, v);

        if (v->kind != QL_YAML_MAP) {
            ql_problem_add(b->cx, &b->problems, v->place,
                           "matrix '%s': got %s, expected a variant of the stage, such as {use: PLUGIN, …}",
                           a->key->text, got ? got : "");
            continue;
        }
        path = path ? path : ql_yaml_get(s->entry, "path");
        if (!use && path != ql_yaml_get(s->entry, "path"))
            use = ql_yaml_get(s->entry, "use"); /* `auto` may mean another plugin there */
        a->plugins[i] = use ? ql_build_plugin(b, s->name, use, path) : s->plugin;
        if (a->plugins[i] && s->plugin && a->plugins[i]->kind != s->plugin->kind) {
            ql_problem_add(b->cx, &b->problems, use->place, "stage '%s': '%s' is a %s, and the stage is a %s (%s)",
                           s->name, a->plugins[i]->name, ql_kind_name(a->plugins[i]->kind),
                           ql_kind_name(s->plugin->kind), s->plugin->name);
            a->plugins[i] = NULL;
        }
    }
    return QL_OK;
}

static ql_status
read_seeds(ql_build *b, ql_build_axis *a)
{
    a->seeds = ql_alloc(b->cx, (size_t)a->values->count, sizeof *a->seeds);
    if (!a->seeds)
        return QL_MEMORY;
    for (int64_t i = 0; i < a->values->count; i++)
        (void)ql_build_seed(b, a->values->items[i], &a->seeds[i]);
    return QL_OK;
}

/* What the key varies; false with the problem told. */
static bool
read_target(ql_build *b, ql_build_axis *a)
{
    const char *key = a->key->text, *dot = strchr(key, '.'), *name;

    a->stage = -1;
    if (strcmp(key, "seed") == 0)
        return true;
    a->stage = ql_build_stage_find(b, key, dot ? (size_t)(dot - key) : strlen(key));
    a->parameter = dot ? dot + 1 : NULL;
    name = ql_copy_text(b->cx, key, dot ? (size_t)(dot - key) : strlen(key));
    if (!name) {
        b->problems.failed = QL_MEMORY;
    } else if (a->stage < 0) {
        ql_build_no_stage(b, a->key->place, "matrix: ", name);
    } else if (dot && (strcmp(dot, ".use") == 0 || strcmp(dot, ".label") == 0)) {
        ql_problem_add(b->cx, &b->problems, a->key->place,
                       "matrix: '%s' can't be varied alone; vary the stage: '%s: [{use: …}, …]'", key, name);
    } else {
        return true;
    }
    return false;
}

static ql_status
read_axis(ql_build *b, ql_build_axis *a)
{
    ql_build_stage *s = a->stage < 0 ? NULL : &b->stages[a->stage];

    if (s)
        s->axes[s->axis_count++] = a - b->axes;
    if (a->stage < 0) {
        QL_TRY(b->cx, read_seeds(b, a));
    } else if (!a->parameter) {
        s->variants = a - b->axes;
        QL_TRY(b->cx, read_variants(b, a));
    } else {
        a->name = ql_yaml_scalar(b->cx, a->key->place, a->parameter);
        if (!a->name)
            return QL_MEMORY;
    }
    return make_labels(b, a);
}

/* A value that a variant gives and an axis varies would be lost without a word. */
static void
check_both(ql_build *b, const ql_build_axis *a)
{
    const ql_build_stage *s = a->stage < 0 ? NULL : &b->stages[a->stage];
    const ql_yaml *variants = s && a->parameter && s->variants >= 0 ? b->axes[s->variants].values : NULL;

    for (int64_t i = 0; variants && i < variants->count; i++) {
        const int64_t k = ql_yaml_find(variants->items[i], a->parameter);

        if (k >= 0)
            ql_problem_add(b->cx, &b->problems, variants->items[i]->keys[k]->place,
                           "stage '%s': '%s' is given here and varied by the matrix key '%s'", s->name, a->parameter,
                           a->key->text);
    }
}

/* Combinations of each stage's own axes; false when the matrix is too large to be looked at. */
static bool
count_combinations(ql_build *b)
{
    const int64_t fit = QL_VISITS_MAX / (b->stage_count + 1), most = fit < QL_CELLS_MAX ? fit : QL_CELLS_MAX;
    int64_t cells = 1;

    for (int64_t i = 0; i < b->axis_count; i++) {
        const ql_build_axis *a = &b->axes[i];

        if (a->values->count > most / cells) {
            ql_problem_add(b->cx, &b->problems, ql_build_key_place(b, "matrix"),
                           "matrix: more than %" PRId64 " combinations, the most that %" PRId64 " stages may have",
                           most, b->stage_count);
            return false;
        }
        cells *= a->values->count;
        if (a->stage >= 0)
            b->stages[a->stage].combinations *= a->values->count;
    }
    return true;
}

static ql_status
read_axes(ql_build *b, const ql_yaml *matrix)
{
    for (int64_t i = 0; i < matrix->count; i++) {
        ql_build_axis *a = &b->axes[b->axis_count];

        *a = (ql_build_axis){.key = matrix->keys[i], .values = matrix->items[i]};
        if (!read_target(b, a))
            continue;
        if (a->values->kind != QL_YAML_LIST || a->values->count == 0) {
            ql_problem_add(b->cx, &b->problems, a->values->place, "matrix '%s': expected a list of at least one %s",
                           a->key->text, a->stage >= 0 && !a->parameter ? "variant" : "value");
            continue;
        }
        b->axis_count++;
        QL_TRY(b->cx, read_axis(b, a));
    }
    return QL_OK;
}

ql_status
ql_build_matrix(ql_build *b)
{
    const ql_yaml *matrix = ql_yaml_get(b->root, "matrix");

    if (!matrix || ql_yaml_empty(matrix))
        return QL_OK;
    if (matrix->kind != QL_YAML_MAP) {
        ql_problem_add(b->cx, &b->problems, matrix->place,
                       "matrix: expected a mapping such as 'quant.bits: [2, 3, 4]'");
        return b->problems.failed;
    }
    if (matrix->count > QL_AXES_MAX) {
        ql_problem_add(b->cx, &b->problems, matrix->place, "matrix: %" PRId64 " keys, at most %d are allowed",
                       matrix->count, QL_AXES_MAX);
        return b->problems.failed;
    }
    b->axes = ql_alloc(b->cx, (size_t)matrix->count, sizeof *b->axes);
    if (!b->axes)
        return QL_MEMORY;
    QL_TRY(b->cx, read_axes(b, matrix));
    for (int64_t i = 0; i < b->axis_count; i++)
        check_both(b, &b->axes[i]);
    if (!count_combinations(b))
        return ql_problems_end(b->cx, &b->problems);
    return b->problems.failed;
}
