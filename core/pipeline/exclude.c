/* References such as quant.bits, and `exclude:`, which compares what they are called in a combination of the axes. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "build.h"

#define EXCLUSIONS_MAX 1000

typedef struct condition {
    ql_reference ref;
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
ql_build_target(ql_build *b, ql_place place, const char *prefix, const char *text, ql_reference *out)
{
    const char *dot = strchr(text, '.'), *name = ql_build_text(b, ql_copy_text(b->cx, text, strcspn(text, ".")));

    *out =
        (ql_reference){.stage = ql_build_stage_find(b, name), .key = dot ? dot + 1 : NULL, .axis = find_axis(b, text)};
    return out->stage >= 0 || strcmp(text, "seed") == 0 || ql_build_no_stage(b, place, prefix, name);
}

bool
ql_build_reference(ql_build *b, ql_place place, const char *prefix, const char *text, ql_reference *out)
{
    const ql_build_stage *s;
    ql_guess near;

    if (!ql_build_target(b, place, prefix, text, out))
        return false;
    s = out->stage < 0 ? NULL : &b->stages[out->stage];
    if (!s || !s->plugin || (out->key ? knows(b, s, out->key) : out->axis >= 0))
        return true;
    near = ql_guess_open(out->key ? out->key : "");
    ql_guess_offer(&near, "use");
    ql_param_offer(&near, s->plugin->params);
    if (near.best || !out->key)
        near.best = ql_build_text(b, ql_format(b->cx, "%s.%s", s->name, out->key ? near.best : "use"));
    return ql_wrong(b, place, "%s'%s' is no key of the matrix and no parameter of a stage%s", prefix, text,
                    ql_guess_text(b->cx, &near, ""));
}

/* --- conditions --- */

/* Are both the same text, or the same number: 0.1 and 0.10? */
static bool
same(const char *a, const char *b)
{
    char *end_a, *end_b;
    double x, y;

    if (!a || strcmp(a, b) == 0)
        return a != NULL;
    x = ql_to_double(a, &end_a);
    y = ql_to_double(b, &end_b);
    return *a && *b && !*end_a && !*end_b && x == y;
}

/* The value that a row has where nothing gives another. */
static bool
is_default(ql_build *b, const ql_plugin *p, const ql_param *row, const char *text)
{
    ql_scope scope;
    void *self;
    bool is = false;

    ql_scope_open(b->cx, &scope);
    self = ql_build_alloc(b, 1, p->self_size);
    if (self) {
        ql_param_defaults(p, self);
        is = same(ql_build_row_text(b, row, self), text);
    }
    ql_scope_close(b->cx, &scope);
    return is;
}

/* Is what the reference is called in a cell, or the value behind it, the condition's text? */
static bool
holds(ql_build *b, const condition *c, const int64_t *at)
{
    const ql_reference *ref = &c->ref;
    const ql_build_axis *a = ref->axis < 0 ? NULL : &b->axes[ref->axis];
    const ql_settings *s;
    const ql_param *row;
    const ql_yaml *v;

    if (a) /* a variant goes by its label alone */
        return same(a->labels[at[ref->axis]], c->text) ||
               (!a->plugins && same(ql_yaml_line(b->cx, a->values->items[at[ref->axis]]), c->text));
    if (ref->stage < 0)
        return same(ql_build_text(b, ql_format(b->cx, "%" PRIu64, b->seed)), c->text);
    s = &ql_combination_at(b, ref->stage, at)->settings;
    if (!s->items)
        return false;
    a = b->stages[ref->stage].variants < 0 ? NULL : &b->axes[b->stages[ref->stage].variants];
    if (strcmp(ref->key, "use") == 0)
        return same(s->plugin->name, c->text) || (a && same(a->labels[at[b->stages[ref->stage].variants]], c->text));
    v = ql_setting_find(s, ref->key);
    row = ql_param_find(s->plugin, ref->key);
    return v ? same(ql_yaml_line(b->cx, v), c->text) : row && is_default(b, s->plugin, row, c->text);
}

/* --- exclude: ---------------------------------------------------------------------------------------------------- */

static bool
read_entry(ql_build *b, const ql_yaml *entry, ql_exclusion *out)
{
    bool ok = true;

    if (entry->kind != QL_YAML_MAP || entry->count == 0)
        return ql_wrong(b, entry->place, "exclude: expected a mapping such as {quant.use: PLUGIN, quant.bits: 2}");
    *out = (ql_exclusion){.place = entry->place, .count = entry->count};
    out->conditions = ql_build_alloc(b, entry->count, sizeof *out->conditions);
    for (int64_t k = 0; out->conditions && k < entry->count; k++) {
        out->conditions[k].text = ql_build_text(b, ql_yaml_line(b->cx, entry->items[k]));
        ok = ql_build_reference(b, entry->keys[k]->place, "exclude: ", entry->keys[k]->text, &out->conditions[k].ref) &&
             ok;
    }
    return ok && out->conditions;
}

bool
ql_build_exclude(ql_build *b)
{
    const ql_yaml *list = ql_yaml_get(b->root, "exclude");

    if (!list || ql_yaml_empty(list))
        return true;
    if (list->kind != QL_YAML_LIST || list->count > EXCLUSIONS_MAX)
        return ql_wrong(b, list->place,
                        "exclude: expected a list of at most %d mappings such as {quant.use: PLUGIN, quant.bits: 2}",
                        EXCLUSIONS_MAX);
    b->exclusions = ql_build_alloc(b, list->count, sizeof *b->exclusions);
    for (int64_t i = 0; b->exclusions && i < list->count; i++)
        b->exclusion_count += read_entry(b, list->items[i], &b->exclusions[b->exclusion_count]);
    return b->problems.failed == QL_OK;
}

bool
ql_is_excluded(ql_build *b, const int64_t *at)
{
    for (int64_t e = 0; e < b->exclusion_count; e++) {
        ql_exclusion *x = &b->exclusions[e];
        bool all = true;

        for (int64_t i = 0; i < x->count && all; i++)
            all = holds(b, &x->conditions[i], at);
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
