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
    const ql_port *const tables[] = {ql_kind_ports(p->kind), p->ports};

    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const ql_port *port = tables[t]; port && port->type != QL_EDGE_NONE; port++)
            if (!port->output && strcmp(port->name, name) == 0)
                return port;
    return NULL;
}

/* Does a stage keep the key when its plugin is replaced by another of the kind? */
static bool
outlives_plugin(ql_kind kind, const char *key)
{
    if (strcmp(key, "overrides") == 0 || strcmp(key, "propagate") == 0 || ql_param_shared(kind, key))
        return true;
    for (const ql_port *port = ql_kind_ports(kind); port->type != QL_EDGE_NONE; port++)
        if (!port->output && strcmp(port->name, key) == 0)
            return true;
    return false;
}

static void
put(ql_settings *s, ql_setting setting)
{
    for (int64_t i = 0; i < s->count; i++)
        if (strcmp(s->items[i].key->text, setting.key->text) == 0) {
            s->items[i] = setting;
            return;
        }
    s->items[s->count++] = setting;
}

/* The keys of an entry, with another plugin only those that outlive it. */
static void
put_entry(ql_settings *s, const ql_yaml *entry, const ql_plugin *plugin)
{
    for (int64_t i = 0; i < entry->count; i++) {
        const ql_yaml *key = entry->keys[i];

        if (strcmp(key->text, "use") == 0 || (plugin != s->plugin && !outlives_plugin(s->plugin->kind, key->text)))
            continue;
        put(s, (ql_setting){
                   .key = key, .value = entry->items[i], .inherited = plugin != s->plugin || entry->items[i]->set});
    }
}

static bool
room_for(ql_build *b, ql_settings *s, int64_t count)
{
    s->items = ql_alloc(b->cx, (size_t)count, sizeof *s->items);
    if (!s->items)
        b->problems.failed = QL_MEMORY;
    return s->items != NULL;
}

bool
ql_settings_of(ql_build *b, int64_t s, const int64_t *at, ql_settings *out)
{
    const ql_build_stage *stage = &b->stages[s];
    const ql_build_axis *variants = stage->variants < 0 ? NULL : &b->axes[stage->variants];
    const ql_yaml *variant = variants ? variants->values->items[at[stage->variants]] : NULL;

    *out = (ql_settings){.stage = stage->name,
                         .place = variant ? variant->place : stage->key->place,
                         .plugin = variants ? variants->plugins[at[stage->variants]] : stage->plugin};
    if (!out->plugin || !stage->plugin ||
        !room_for(b, out, stage->entry->count + (variant ? variant->count : 0) + stage->axis_count))
        return false;
    put_entry(out, stage->entry, stage->plugin);
    for (int64_t i = 0; variant && i < variant->count; i++)
        if (strcmp(variant->keys[i]->text, "use") != 0 && strcmp(variant->keys[i]->text, "label") != 0)
            put(out,
                (ql_setting){.key = variant->keys[i], .value = variant->items[i], .inherited = variant->items[i]->set});
    for (int64_t i = 0; i < stage->axis_count; i++) {
        const ql_build_axis *a = &b->axes[stage->axes[i]];

        if (a->parameter)
            put(out, (ql_setting){.key = a->name, .value = a->values->items[at[stage->axes[i]]], .inherited = true});
    }
    return true;
}

bool
ql_settings_anonymous(ql_build *b, const ql_settings *parent, const ql_port *port, const ql_yaml *v, ql_settings *out)
{
    const ql_yaml *use = ql_yaml_get(v, "use");

    *out = (ql_settings){.stage = ql_format(b->cx, "%s.%s", parent->stage, port->name), .place = v->place};
    if (!out->stage) {
        b->problems.failed = QL_MEMORY;
        return false;
    }
    if (!use) {
        ql_problem_add(b->cx, &b->problems, v->place, "stage '%s': missing 'use', the name of its plugin", out->stage);
        return false;
    }
    out->plugin = ql_build_plugin(b, out->stage, use, ql_yaml_get(v, "path"));
    if (!out->plugin || !room_for(b, out, v->count + parent->count))
        return false;
    out->driven = port->type == QL_EDGE_QUANTIZER;
    for (int64_t i = 0; out->driven && i < parent->count; i++)
        if (outlives_plugin(out->plugin->kind, parent->items[i].key->text))
            put(out, (ql_setting){.key = parent->items[i].key, .value = parent->items[i].value, .inherited = true});
    put_entry(out, v, out->plugin);
    return true;
}
