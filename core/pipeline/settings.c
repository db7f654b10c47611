/* Which keys hold for a stage in one combination: the entry, the variant over it, the values of axes over both. */
#include <string.h>

#include "build.h"

const ql_yaml *
ql_setting_find(const ql_settings *s, const char *key)
{
    for (int64_t i = 0; i < s->count; i++)
        if (strcmp(s->items[i].key->text, key) == 0)
            return s->items[i].value;
    return NULL;
}

const ql_port *
ql_plugin_input(const ql_plugin *p, const char *name)
{
    const ql_port *port;

    for (int64_t i = 0; (port = ql_port_at(p, i)) != NULL; i++)
        if (!port->output && strcmp(port->name, name) == 0)
            return port;
    return NULL;
}

/* Does a stage keep the key when its plugin is replaced by another of the kind? */
static bool
outlives_plugin(ql_kind kind, const char *key)
{
    const ql_plugin any = {.kind = kind};

    return strcmp(key, "overrides") == 0 || ql_param_find(&ql_stage_table, key) || ql_shared_row(kind, key) ||
           ql_plugin_input(&any, key);
}

static void
put(ql_settings *s, ql_yaml *key, const ql_yaml *value, bool inherited)
{
    int64_t i = 0;

    while (i < s->count && strcmp(s->items[i].key->text, key->text) != 0)
        i++;
    s->items[i] = (ql_setting){.key = key, .value = value, .inherited = inherited};
    s->count += i == s->count;
}

/* The keys of a mapping that was written for `plugin`; under another one only those that outlive it. */
static void
put_map(ql_settings *s, const ql_yaml *map, const ql_plugin *plugin)
{
    for (int64_t i = 0; i < map->count; i++) {
        const char *key = map->keys[i]->text;

        if (strcmp(key, "use") != 0 && (plugin == s->plugin || outlives_plugin(s->plugin->kind, key)))
            put(s, map->keys[i], map->items[i], plugin != s->plugin || map->items[i]->set);
    }
}

static bool
room_for(ql_build *b, ql_settings *s, int64_t count)
{
    s->items = ql_build_alloc(b, count, sizeof *s->items);
    return s->items != NULL;
}

static void
settings_of(ql_build *b, int64_t s, const int64_t *at, ql_settings *out)
{
    const ql_build_stage *stage = &b->stages[s];
    const ql_build_axis *a = stage->variants < 0 ? NULL : &b->axes[stage->variants];
    const ql_yaml *variant = a ? a->values->items[at[stage->variants]] : NULL;

    *out = (ql_settings){.stage = stage->name,
                         .prefix = stage->prefix,
                         .place = variant ? variant->place : stage->key->place,
                         .plugin = a ? a->plugins[at[stage->variants]] : stage->plugin};
    if (!out->plugin || !stage->plugin ||
        !room_for(b, out, stage->entry->count + (variant ? variant->count : 0) + stage->axis_count))
        return;
    put_map(out, stage->entry, stage->plugin);
    for (int64_t i = 0; variant && i < variant->count; i++)
        if (strcmp(variant->keys[i]->text, "use") != 0 && strcmp(variant->keys[i]->text, "label") != 0)
            put(out, variant->keys[i], variant->items[i], variant->items[i]->set);
    for (int64_t i = 0; i < stage->axis_count; i++) {
        a = &b->axes[stage->axes[i]];
        if (a->parameter)
            put(out, a->name, a->values->items[at[stage->axes[i]]], true);
    }
}

ql_combination *
ql_combination_at(ql_build *b, int64_t s, const int64_t *at)
{
    const ql_build_stage *stage = &b->stages[s];
    ql_combination *c;
    int64_t i = 0;

    for (int64_t k = 0; k < stage->axis_count; k++)
        i = i * b->axes[stage->axes[k]].values->count + at[stage->axes[k]];
    c = &stage->combinations[i];
    if (!c->settings.stage)
        settings_of(b, s, at, &c->settings);
    return c;
}

/* The plugin that an absent quantizer input means. */
static const ql_plugin *
default_plugin(ql_build *b, const ql_settings *parent, const ql_port *port)
{
    const ql_found *found = ql_registry_find(b->registry, port->def);

    if (!found || !found->plugin)
        ql_wrong(b, parent->place, "%sinput '%s' means '%s', and there is no such plugin", parent->prefix, port->name,
                 port->def);
    return found ? found->plugin : NULL;
}

bool
ql_settings_anonymous(ql_build *b, const ql_settings *parent, const ql_port *port, const ql_yaml *v, ql_settings *out)
{
    const ql_yaml *use = ql_yaml_get(v, "use");

    *out = (ql_settings){.place = v ? v->place : parent->place, .driven = port->type == QL_EDGE_QUANTIZER};
    out->stage = ql_build_text(b, ql_format(b->cx, "%s.%s", parent->stage, port->name));
    out->prefix = ql_build_text(b, ql_format(b->cx, "stage '%s': ", out->stage));
    out->plugin =
        v ? ql_build_plugin(b, out->prefix, v->place, use, ql_yaml_get(v, "path")) : default_plugin(b, parent, port);
    if (!out->plugin || !room_for(b, out, (v ? v->count : 0) + parent->count))
        return false;
    for (int64_t i = 0; v && out->driven && i < parent->count; i++)
        if (outlives_plugin(out->plugin->kind, parent->items[i].key->text))
            put(out, parent->items[i].key, parent->items[i].value, true);
    if (v)
        put_map(out, v, out->plugin);
    return true;
}
