/* `overrides:` of a quantizer or compensator: an ordered list of rules for single linears. */
#include <string.h>

#include "build.h"

static const ql_setting *
find_overrides(const ql_settings *s)
{
    for (int64_t i = 0; i < s->count; i++)
        if (strcmp(s->items[i].key->text, "overrides") == 0)
            return &s->items[i];
    return NULL;
}

/* One key of a rule into the rule's own parameters; false with the problem told. */
static bool
read_key(ql_build *b, const ql_settings *s, const ql_yaml *rule, int64_t i, void *self)
{
    const ql_setting *all = find_overrides(s);
    const ql_yaml *key = rule->keys[i], *v = rule->items[i];
    const ql_param *row = ql_param_find(s->plugin, key->text);
    const char *names[64], *near;
    int64_t n = 0;

    if (strcmp(key->text, "match") == 0 || strcmp(key->text, "skip") == 0)
        return true;
    if (row)
        return ql_build_value(b, s->stage, row, v, self);
    if (all->inherited) /* it belonged to the plugin that this one replaces, whose entry has been checked */
        return true;
    for (row = s->plugin->params; row->type != QL_T_END && n < 62; row++)
        names[n++] = row->name;
    names[n++] = "match";
    names[n++] = "skip";
    near = ql_nearest(key->text, names, n);
    ql_problem_add(b->cx, &b->problems, key->place, "stage '%s': overrides: unknown parameter '%s'%s%s%s", s->stage,
                   key->text, near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
    return false;
}

static bool
read_skip(ql_build *b, const ql_settings *s, const ql_yaml *rule, bool *skip)
{
    const ql_yaml *v = ql_yaml_get(rule, "skip");
    const bool word = v && v->kind == QL_YAML_SCALAR && !v->quoted;
    const char *got = v ? ql_yaml_describe(b->cx, v) : NULL;

    *skip = word && strcmp(v->text, "true") == 0;
    if (v && !*skip && !(word && strcmp(v->text, "false") == 0)) {
        ql_problem_add(b->cx, &b->problems, v->place, "stage '%s': overrides: skip: got %s, expected true or false",
                       s->stage, got ? got : "");
        return false;
    }
    if (*skip && rule->count > 2) {
        ql_problem_add(b->cx, &b->problems, v->place,
                       "stage '%s': overrides: a rule that skips can't set parameters too", s->stage);
        return false;
    }
    return true;
}

static bool
read_rule(ql_build *b, const ql_settings *s, const ql_yaml *rule, void *self, ql_override *out)
{
    const ql_yaml *match = ql_yaml_get(rule, "match");
    bool ok = true;

    if (rule->kind != QL_YAML_MAP || !match || match->kind != QL_YAML_SCALAR || !*match->text) {
        ql_problem_add(
            b->cx, &b->problems, match ? match->place : rule->place,
            "stage '%s': overrides: expected rules such as {match: \"*.down_proj\", bits: 4} or {match: GLOB, "
            "skip: true}",
            s->stage);
        return false;
    }
    *out = (ql_override){.match = match->text, .place = rule->place};
    if (!read_skip(b, s, rule, &out->skip))
        return false;
    if (out->skip)
        return true;
    for (int64_t i = 0; i < rule->count; i++)
        ok = read_key(b, s, rule, i, self) && ok;
    out->self = self;
    return ok && (!s->plugin->check || ql_build_take(b, s->stage, rule->place, s->plugin->check(b->cx, self)));
}

bool
ql_build_overrides(ql_build *b, const ql_settings *s, ql_instance *out)
{
    const ql_setting *all = find_overrides(s);
    const int64_t count = all ? all->value->count : 0;
    ql_override *rules;
    bool ok = true;

    if (!all || (s->plugin->kind != QL_QUANTIZER && s->plugin->kind != QL_COMPENSATOR))
        return true;
    if (all->value->kind != QL_YAML_LIST) {
        ql_problem_add(b->cx, &b->problems, all->value->place, "stage '%s': overrides: expected a list of rules",
                       s->stage);
        return false;
    }
    rules = ql_alloc(b->cx, (size_t)count, sizeof *rules);
    for (int64_t i = 0; rules && i < count; i++) {
        void *own = ql_alloc(b->cx, 1, s->plugin->self_size);

        if (!own) {
            rules = NULL;
            break;
        }
        if (s->plugin->self_size)
            memcpy(own, out->self, s->plugin->self_size);
        ok = read_rule(b, s, all->value->items[i], own, &rules[i]) && ok;
    }
    if (!rules)
        b->problems.failed = QL_MEMORY;
    out->overrides = rules;
    out->override_count = count;
    return ok && rules;
}
