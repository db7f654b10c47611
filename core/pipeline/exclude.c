/* References such as quant.bits, and `exclude:`, which compares what they are called in a combination of the axes. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "build.h"

#define EXCLUSIONS_MAX 1000

typedef struct name_pair { /* what a reference is called: `label`, and the value or plugin behind it; NULL: nothing */
    const char *label, *value;
} name_pair;

struct ql_names {     /* of one reference in every combination that it depends on */
    const char *text; /* "quant.bits" */
    ql_reference ref;
    bool *known; /* [combinations] */
    name_pair *pairs;
};

typedef struct condition {
    ql_names *names;
    const char *text;
} condition;

struct ql_exclusion { /* an entry of `exclude:` */
    ql_place place;
    int64_t count;
    condition *conditions;
    bool used;
};

/* --- references -------------------------------------------------------------------------------------------------- */

static int64_t
find_axis(const ql_build *b, const char *key)
{
    for (int64_t i = 0; i < b->axis_count; i++)
        if (strcmp(b->axes[i].key->text, key) == 0)
            return i;
    return -1;
}

/* Does any plugin that the stage may have know the key? Where its plugin can't be known, which has been told, all are. */
static bool
knows(const ql_build *b, const ql_build_stage *s, const char *key)
{
    const ql_build_axis *a = s->variants < 0 ? NULL : &b->axes[s->variants];
    bool known = !s->plugin || strcmp(key, "use") == 0 || strcmp(key, "propagate") == 0;

    for (int64_t i = -1; !known && i < (a ? a->values->count : 0); i++) {
        const ql_plugin *p = i < 0 ? s->plugin : a->plugins[i];

        known = !p || ql_param_find(p, key) || ql_plugin_input(p, key);
    }
    return known;
}

bool
ql_build_reference(ql_build *b, ql_place place, const char *prefix, const char *text, ql_reference *out)
{
    const char *dot = strchr(text, '.'), *name;
    const ql_build_stage *s;
    ql_guess near = ql_guess_open(dot ? dot + 1 : "");

    *out = (ql_reference){.stage = -1, .key = dot ? dot + 1 : NULL, .axis = find_axis(b, text)};
    if (strcmp(text, "seed") == 0)
        return true;
    name = ql_build_text(b, ql_copy_text(b->cx, text, strcspn(text, ".")));
    out->stage = ql_build_stage_find(b, name);
    if (out->stage < 0)
        return ql_build_no_stage(b, place, prefix, name);
    s = &b->stages[out->stage];
    if (!s->plugin || (dot ? knows(b, s, out->key) : out->axis >= 0))
        return true;
    ql_guess_offer(&near, "use");
    for (const ql_param *row = s->plugin->params; row->type != QL_T_END; row++)
        ql_guess_offer(&near, row->name);
    if (near.best || !dot)
        near.best = ql_build_text(b, ql_format(b->cx, "%s.%s", name, dot ? near.best : "use"));
    return ql_wrong(b, place, "%s'%s' is no key of the matrix and no parameter of a stage%s", prefix, text,
                    ql_guess_text(b->cx, &near, ""));
}

/* --- what a reference is called in a combination ----------------------------------------------------------------- */

static name_pair
name_in(ql_build *b, const ql_reference *ref, const int64_t *at)
{
    const ql_build_axis *a = ref->axis < 0 ? NULL : &b->axes[ref->axis];
    const ql_yaml *v;
    ql_settings s;
    void *defaults;

    if (a) /* a variant goes by its label alone */
        return (name_pair){.label = a->labels[at[ref->axis]],
                           .value = a->plugins ? NULL : ql_yaml_line(b->cx, a->values->items[at[ref->axis]])};
    if (ref->stage < 0)
        return (name_pair){.label = ql_format(b->cx, "%" PRIu64, b->seed)};
    a = b->stages[ref->stage].variants < 0 ? NULL : &b->axes[b->stages[ref->stage].variants];
    if (!ql_settings_of(b, ref->stage, at, &s))
        return (name_pair){0};
    if (strcmp(ref->key, "use") == 0)
        return (name_pair){.label = a ? a->labels[at[b->stages[ref->stage].variants]] : NULL, .value = s.plugin->name};
    v = ql_setting_find(&s, ref->key);
    if (v)
        return (name_pair){.value = ql_yaml_line(b->cx, v)};
    defaults = ql_param_find(s.plugin, ref->key) ? ql_build_alloc(b, 1, s.plugin->self_size) : NULL;
    if (!defaults)
        return (name_pair){0};
    ql_param_defaults(s.plugin, defaults);
    return (name_pair){.value = ql_build_row_text(b, ql_param_find(s.plugin, ref->key), defaults)};
}

static int64_t
combinations_of(const ql_build *b, const ql_reference *ref)
{
    return ref->axis >= 0 ? b->axes[ref->axis].values->count : ref->stage < 0 ? 1 : b->stages[ref->stage].combinations;
}

static const name_pair *
names_at(ql_build *b, ql_names *n, const int64_t *at)
{
    const int64_t i = n->ref.axis >= 0 ? at[n->ref.axis] : n->ref.stage < 0 ? 0 : ql_combination(b, n->ref.stage, at);

    if (!n->known[i])
        n->pairs[i] = name_in(b, &n->ref, at);
    n->known[i] = true;
    return &n->pairs[i];
}

/* Are both the same text, or the same number: 0.1 and 0.10? */
static bool
same(const char *a, const char *b)
{
    char *end_a, *end_b;
    double x, y;

    if (!a || strcmp(a, b) == 0)
        return a != NULL;
    x = strtod(a, &end_a);
    y = strtod(b, &end_b);
    return *a && *b && !*end_a && !*end_b && x == y;
}

/* --- exclude: ---------------------------------------------------------------------------------------------------- */

static bool
read_condition(ql_build *b, const ql_yaml *key, const ql_yaml *v, condition *out)
{
    ql_reference ref;
    ql_names *n = b->names;

    if (!ql_build_reference(b, key->place, "exclude: ", key->text, &ref))
        return false;
    while (n < b->names + b->name_count && strcmp(n->text, key->text) != 0)
        n++;
    if (n == b->names + b->name_count) {
        const int64_t count = combinations_of(b, &ref);

        *n = (ql_names){.text = key->text,
                        .ref = ref,
                        .known = ql_build_alloc(b, count, sizeof *n->known),
                        .pairs = ql_build_alloc(b, count, sizeof *n->pairs)};
        b->name_count++;
    }
    *out = (condition){.names = n, .text = ql_build_text(b, ql_yaml_line(b->cx, v))};
    return n->known && n->pairs;
}

static bool
read_entry(ql_build *b, const ql_yaml *entry, ql_exclusion *out)
{
    bool ok = true;

    if (entry->kind != QL_YAML_MAP || entry->count == 0)
        return ql_wrong(b, entry->place, "exclude: expected a mapping such as {quant.use: PLUGIN, quant.bits: 2}");
    *out = (ql_exclusion){.place = entry->place, .count = entry->count};
    out->conditions = ql_build_alloc(b, entry->count, sizeof *out->conditions);
    for (int64_t k = 0; out->conditions && k < entry->count; k++)
        ok = read_condition(b, entry->keys[k], entry->items[k], &out->conditions[k]) && ok;
    return ok && out->conditions;
}

bool
ql_build_exclude(ql_build *b)
{
    const ql_yaml *list = ql_yaml_get(b->root, "exclude");
    int64_t conditions = 0;

    if (!list || ql_yaml_empty(list))
        return true;
    if (list->kind != QL_YAML_LIST || list->count > EXCLUSIONS_MAX)
        return ql_wrong(b, list->place,
                        "exclude: expected a list of at most %d mappings such as {quant.use: PLUGIN, quant.bits: 2}",
                        EXCLUSIONS_MAX);
    for (int64_t i = 0; i < list->count; i++)
        conditions += list->items[i]->count;
    b->exclusions = ql_build_alloc(b, list->count, sizeof *b->exclusions);
    b->names = ql_build_alloc(b, conditions, sizeof *b->names);
    for (int64_t i = 0; b->exclusions && b->names && i < list->count; i++)
        b->exclusion_count += read_entry(b, list->items[i], &b->exclusions[b->exclusion_count]);
    return b->problems.failed == QL_OK;
}

bool
ql_is_excluded(ql_build *b, const int64_t *at)
{
    for (int64_t e = 0; e < b->exclusion_count; e++) {
        ql_exclusion *x = &b->exclusions[e];
        bool all = true;

        for (int64_t i = 0; i < x->count && all; i++) {
            const name_pair *n = names_at(b, x->conditions[i].names, at);

            all = same(n->label, x->conditions[i].text) || same(n->value, x->conditions[i].text);
        }
        x->used = x->used || all;
        if (all)
            return true;
    }
    return false;
}

void
ql_exclude_warn(const ql_build *b)
{
    for (int64_t e = 0; e < b->exclusion_count; e++)
        if (!b->exclusions[e].used)
            ql_place_warn(b->cx, b->exclusions[e].place, "this entry of 'exclude' excludes no cell");
}
