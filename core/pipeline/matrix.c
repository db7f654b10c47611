/* `matrix:`: axes, their variants and values, and a distinct label for each. */
#include <inttypes.h>
#include <string.h>

#include "base/printer.h"
#include "build.h"

/* --- labels ------------------------------------------------------------------------------------------------------ */

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
    text = ql_build_text(b, ql_yaml_line(b->cx, word ? word : v));
    return *text == '$' && text[1] != '{' ? text + 1 : text;
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
static const char *
long_label(ql_build *b, const ql_build_axis *a, const char *const *plain, int64_t i)
{
    const ql_yaml *v = a->values->items[i];
    const char *label = plain[i];

    for (int64_t k = 0; v->kind == QL_YAML_MAP && k < v->count; k++)
        if (strcmp(v->keys[k]->text, "label") != 0 && differs(a, plain, i, v->keys[k]->text))
            label = ql_build_text(b, ql_format(b->cx, "%s %s=%s", label, v->keys[k]->text,
                                               ql_build_text(b, ql_yaml_line(b->cx, v->items[k]))));
    return label;
}

static bool
make_labels(ql_build *b, ql_build_axis *a)
{
    const int64_t n = a->values->count;
    const char **plain = ql_build_alloc(b, n, sizeof *plain);

    a->labels = ql_build_alloc(b, n, sizeof *a->labels);
    if (!plain || !a->labels)
        return false;
    for (int64_t i = 0; i < n; i++)
        plain[i] = plain_label(b, a, i);
    for (int64_t i = 0; i < n; i++) {
        int64_t twin = 0;

        while (twin < n && (twin == i || strcmp(plain[i], plain[twin]) != 0))
            twin++;
        a->labels[i] = twin < n ? long_label(b, a, plain, i) : plain[i];
        for (twin = 0; twin < i && strcmp(a->labels[i], a->labels[twin]) != 0; twin++)
            continue;
        if (twin < i)
            ql_wrong(b, a->values->items[i]->place, "matrix '%s': '%s' stands there twice", a->key->text, a->labels[i]);
    }
    return true;
}

/* --- axes -------------------------------------------------------------------------------------------------------- */

/* Each variant is a mapping and of the kind of the stage. */
static const ql_plugin *
read_variant(ql_build *b, const ql_build_axis *a, const ql_yaml *v)
{
    const ql_build_stage *s = &b->stages[a->stage];
    const ql_yaml *use = ql_yaml_get(v, "use"), *path = ql_yaml_get(v, "path");
    const ql_plugin *p;

    if (v->kind != QL_YAML_MAP) {
        ql_wrong(b, v->place, "matrix '%s': got %s, expected a variant of the stage, such as {use: PLUGIN, …}",
                 a->key->text, ql_yaml_describe(b->cx, v));
        return NULL;
    }
    if (!use && path)
        use = ql_yaml_get(s->entry, "use"); /* `auto` may mean another plugin there */
    p = use ? ql_build_plugin(b, s->prefix, v->place, use, path ? path : ql_yaml_get(s->entry, "path")) : s->plugin;
    if (!p || !s->plugin || p->kind == s->plugin->kind)
        return p;
    ql_wrong(b, use->place, "%s'%s' is a %s, and the stage is a %s (%s)", s->prefix, p->name, ql_kind_name(p->kind),
             ql_kind_name(s->plugin->kind), s->plugin->name);
    return NULL;
}

static bool
read_values(ql_build *b, ql_build_axis *a)
{
    ql_build_stage *s = a->stage < 0 ? NULL : &b->stages[a->stage];
    const ql_param *seed = ql_param_find(&ql_file_table, "seed");
    ql_file_keys keys;

    if (s)
        s->axes[s->axis_count++] = a - b->axes;
    if (a->parameter) {
        a->name = ql_yaml_scalar(b->cx, a->key->place, a->parameter);
        return ql_build_text(b, a->name ? "name" : NULL) && make_labels(b, a);
    }
    a->plugins = s ? ql_build_alloc(b, a->values->count, sizeof(ql_plugin *)) : NULL;
    a->seeds = s ? NULL : ql_build_alloc(b, a->values->count, sizeof *a->seeds);
    if (!a->plugins && !a->seeds)
        return false;
    if (s)
        s->variants = a - b->axes;
    for (int64_t i = 0; i < a->values->count; i++) {
        if (s)
            a->plugins[i] = read_variant(b, a, a->values->items[i]);
        else if (ql_build_value(b, "", seed, a->values->items[i], &keys))
            a->seeds[i] = keys.seed;
    }
    return make_labels(b, a);
}

/* What the key varies. */
static bool
read_target(ql_build *b, ql_build_axis *a)
{
    const char *key = a->key->text;
    ql_reference target;

    if (!ql_build_target(b, a->key->place, "matrix: ", key, &target))
        return false;
    a->stage = target.stage;
    a->parameter = target.key;
    if (target.key && (strcmp(target.key, "use") == 0 || strcmp(target.key, "label") == 0))
        return ql_wrong(b, a->key->place, "matrix: '%s' can't be varied alone; vary the stage: '%s: [{use: …}, …]'",
                        key, b->stages[a->stage].name);
    return true;
}

static bool
read_axis(ql_build *b, const ql_yaml *key, const ql_yaml *values)
{
    ql_build_axis *a = &b->axes[b->axis_count];

    *a = (ql_build_axis){.key = key, .values = values};
    if (!read_target(b, a))
        return false;
    if (values->kind != QL_YAML_LIST || values->count == 0)
        return ql_wrong(b, values->place, "matrix '%s': expected a list of at least one %s", key->text,
                        a->stage >= 0 && !a->parameter ? "variant" : "value");
    b->axis_count++;
    return read_values(b, a);
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
            ql_wrong(b, variants->items[i]->keys[k]->place, "%s'%s' is given here and varied by the matrix key '%s'",
                     s->prefix, a->parameter, a->key->text);
    }
}

/* Combinations of each stage's own axes; a matrix that is too large to be looked at ends the build. */
static bool
count_combinations(ql_build *b)
{
    const int64_t fit = QL_VISITS_MAX / (b->stage_count + 1), most = fit < QL_CELLS_MAX ? fit : QL_CELLS_MAX;

    for (int64_t i = 0; i < b->axis_count; i++) {
        const ql_build_axis *a = &b->axes[i];

        if (a->values->count > most / b->cells_most) {
            ql_wrong(b, ql_build_key_place(b, "matrix"),
                     "matrix: more than %" PRId64 " combinations, the most that %" PRId64 " stages may have", most,
                     b->stage_count);
            b->problems.failed = ql_problems_end(b->cx, &b->problems);
            return false;
        }
        b->cells_most *= a->values->count;
        if (a->stage >= 0)
            b->stages[a->stage].count *= a->values->count;
    }
    return true;
}

bool
ql_build_matrix(ql_build *b)
{
    const ql_yaml *matrix = ql_yaml_get(b->root, "matrix");

    if (!matrix || ql_yaml_empty(matrix))
        return true;
    if (matrix->kind != QL_YAML_MAP)
        return ql_wrong(b, matrix->place, "matrix: expected a mapping such as 'quant.bits: [2, 3, 4]'");
    if (matrix->count > QL_AXES_MAX)
        return ql_wrong(b, matrix->place, "matrix: %" PRId64 " keys, at most %d are allowed", matrix->count,
                        QL_AXES_MAX);
    b->axes = ql_build_alloc(b, matrix->count, sizeof *b->axes);
    for (int64_t i = 0; b->axes && i < matrix->count; i++)
        (void)read_axis(b, matrix->keys[i], matrix->items[i]);
    for (int64_t i = 0; i < b->axis_count; i++)
        check_both(b, &b->axes[i]);
    return count_combinations(b);
}
