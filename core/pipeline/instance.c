/* A stage's keys through its plugin's tables: the filled parameter struct, the links to its inputs, the rules for single
 * linears, its canonical print. */
#include <inttypes.h>
#include <string.h>

#include "base/hash.h"
#include "base/printer.h"
#include "model/hub.h"
#include "build.h"

/* --- keys -------------------------------------------------------------------------------------------------------- */

static bool
unknown_parameter(ql_build *b, const ql_settings *s, const ql_yaml *key)
{
    const ql_plugin *p = s->plugin;
    ql_guess near = ql_guess_open(key->text);
    const ql_port *port;

    ql_param_offer(&near, p->params);
    for (int64_t i = 0; (port = ql_port_at(p, i)) != NULL; i++)
        if (!port->output)
            ql_guess_offer(&near, port->name);
    if (ql_kind_of(p->kind)->per_linear)
        ql_guess_offer(&near, "overrides");
    if (ql_reads_statistics(p))
        ql_param_offer(&near, ql_stage_table.params);
    return ql_wrong(b, key->place, "%sunknown parameter '%s'%s", s->prefix, key->text,
                    near.best
                        ? ql_guess_text(b->cx, &near, "")
                        : ql_build_text(b, ql_format(b->cx, "; 'qloom plugins %s' lists what there is", p->name)));
}

/* Where the input `out` comes from: `v` as written; NULL: the plugin that the port means. */
static bool
read_link(ql_build *b, const ql_settings *s, const ql_yaml *v, ql_link *out)
{
    const ql_port *port = out->port;
    const char *prefix = ql_build_text(b, ql_format(b->cx, "%sinput '%s': ", s->prefix, port->name));
    ql_settings anonymous;

    if (!v || v->kind == QL_YAML_MAP) {
        if (ql_settings_anonymous(b, s, port, v, &anonymous))
            out->anonymous = ql_instantiate(b, &anonymous);
        return out->anonymous != NULL;
    }
    if (v->kind != QL_YAML_SCALAR || v->text[0] != '$' || v->text[1] == '{')
        return ql_wrong(b, v->place, "%sgot %s, expected a stage: '$NAME' or {use: PLUGIN, …}", prefix,
                        ql_yaml_describe(b->cx, v));
    out->stage = ql_build_stage_find(b, v->text + 1);
    return out->stage >= 0 || ql_build_no_stage(b, v->place, prefix, v->text + 1);
}

/* All inputs in the order of the tables: the one of a file means nothing. `defaults`: also driven quantizers that nobody
 * named. */
static bool
read_links(ql_build *b, const ql_settings *s, bool defaults, ql_instance *out)
{
    const ql_port *port;
    bool ok = true;

    for (int64_t i = 0; (port = ql_port_at(s->plugin, i)) != NULL; i++) {
        const bool input = !port->output && ql_plugin_input(s->plugin, port->name) == port;
        const ql_yaml *v = input ? ql_setting_find(s, port->name) : NULL;
        const bool driven = input && defaults && port->def && port->type == QL_EDGE_QUANTIZER;
        const ql_place place = v ? v->place : s->place;

        if (!v && !driven)
            continue;
        if (out->link_count == QL_LINKS_MAX)
            return ql_wrong(b, place, "%smore than %d inputs", s->prefix, QL_LINKS_MAX);
        out->links[out->link_count] = (ql_link){.port = port, .place = place, .stage = -1};
        ok = read_link(b, s, v, &out->links[out->link_count++]) && ok;
    }
    return ok;
}

static bool
read_setting(ql_build *b, const ql_settings *s, const ql_setting *setting, ql_instance *out)
{
    const char *key = setting->key->text;
    const ql_port *port = ql_plugin_input(s->plugin, key);
    const ql_param *row = ql_param_find(s->plugin, key);
    const ql_param *own = ql_reads_statistics(s->plugin) ? ql_param_find(&ql_stage_table, key) : NULL;
    ql_stage_keys keys;

    setting->key->used = true;
    if (port || (ql_kind_of(s->plugin->kind)->per_linear && strcmp(key, "overrides") == 0)) /* after all parameters */
        return true;
    if (row) {
        const bool model = s->plugin->kind == QL_MODEL && strcmp(key, "path") == 0;
        const ql_yaml *v = model ? ql_build_model_path(b, s->prefix, setting->value) : setting->value;

        return v && ql_build_value(b, s->prefix, row, v, out->self);
    }
    if (own) {
        const bool ok = ql_build_value(b, s->prefix, own, setting->value, &keys);

        out->node.propagate = ok ? (ql_propagate)(keys.propagate + 1) : out->node.propagate;
        return ok;
    }
    setting->key->used = false;
    if (setting->inherited && ql_shared_row(s->plugin->kind, key))
        return true;
    return unknown_parameter(b, s, setting->key);
}

/* Required parameters and inputs that nobody gave. */
static bool
is_complete(ql_build *b, const ql_settings *s)
{
    const ql_port *port;
    bool ok = true;

    for (const ql_param *row = s->plugin->params; row->type != QL_T_END; row++)
        if (row->required && !ql_setting_find(s, row->name))
            ok = ql_wrong(b, s->place, "%smissing parameter '%s' (%s)", s->prefix, row->name,
                          row->help ? row->help : "");
    for (int64_t i = 0; !s->driven && (port = ql_port_at(s->plugin, i)) != NULL; i++)
        if (ql_port_needed(s->plugin, port) && !ql_setting_find(s, port->name))
            ok = ql_wrong(b, s->place, "%smissing input '%s' (%s: %s)", s->prefix, port->name, ql_edge_name(port->type),
                          port->help ? port->help : "");
    return ok;
}

/* --- overrides: -------------------------------------------------------------------------------------------------- */

typedef struct rule_keys {
    const char *match;
    bool skip;
} rule_keys;

static const ql_param rule_rows[] = {
    QL_TEXT(rule_keys, match, NULL, "a glob over the full names of linears"),
    QL_FLAG(rule_keys, skip, false, "leave them as they are"),
    QL_PARAMS_END,
};
static const ql_plugin rule_table = {.name = "rule", .params = rule_rows, .self_size = sizeof(rule_keys)};

/* One key of a rule into the rule's own parameters. */
static bool
read_rule_key(ql_build *b, const ql_settings *s, const char *prefix, const ql_setting *all, const ql_yaml *rule,
              int64_t i, void *self, rule_keys *keys)
{
    const ql_yaml *key = rule->keys[i], *v = rule->items[i];
    const ql_param *row = ql_param_find(&rule_table, key->text);
    ql_guess near = ql_guess_open(key->text);

    if (row)
        return ql_build_value(b, prefix, row, v, keys);
    row = ql_param_find(s->plugin, key->text);
    if (row)
        return ql_build_value(b, s->prefix, row, v, self);
    if (all->inherited) /* it belonged to the plugin that this one replaces, whose entry has been checked */
        return true;
    ql_param_offer(&near, s->plugin->params);
    ql_param_offer(&near, rule_rows);
    return ql_wrong(b, key->place, "%sunknown parameter '%s'%s", prefix, key->text, ql_guess_text(b->cx, &near, ""));
}

/* The plugin's own rules over its parameters, if it has any. */
static bool
passes_check(ql_build *b, const ql_settings *s, ql_place place, const void *self)
{
    const ql_site before = ql_enter_plugin(b->cx, s->plugin->name);
    const ql_status st = s->plugin->check ? s->plugin->check(b->cx, self) : QL_OK;

    ql_leave(b->cx, before);
    return ql_build_take(b, place, s->prefix, st);
}

static bool
read_rule(ql_build *b, const ql_settings *s, const ql_setting *all, const ql_yaml *rule, void *self, ql_override *out)
{
    const ql_yaml *match = ql_yaml_get(rule, "match"), *skip = ql_yaml_get(rule, "skip");
    const char *prefix = ql_build_text(b, ql_format(b->cx, "%soverrides: ", s->prefix));
    rule_keys keys;
    bool ok = true;

    if (rule->kind != QL_YAML_MAP || !match || match->kind != QL_YAML_SCALAR || !*match->text)
        return ql_wrong(b, match ? match->place : rule->place,
                        "%sexpected rules such as {match: \"*.down_proj\", bits: 4} or {match: GLOB, skip: true}",
                        prefix);
    ql_param_defaults(&rule_table, &keys);
    for (int64_t i = 0; i < rule->count; i++)
        ok = read_rule_key(b, s, prefix, all, rule, i, self, &keys) && ok;
    *out = (ql_override){.match = match->text, .skip = keys.skip, .self = self, .place = rule->place};
    if (!keys.skip)
        return ok && passes_check(b, s, rule->place, self);
    out->self = NULL;
    return (rule->count <= 2 || ql_wrong(b, skip->place, "%sa rule that skips can't set parameters too", prefix)) && ok;
}

static bool
read_overrides(ql_build *b, const ql_settings *s, ql_instance *out)
{
    const ql_setting *all = s->items;
    ql_override *rules;
    bool ok = true;

    while (all < s->items + s->count && strcmp(all->key->text, "overrides") != 0)
        all++;
    if (all == s->items + s->count || !ql_kind_of(s->plugin->kind)->per_linear)
        return true;
    if (all->value->kind != QL_YAML_LIST)
        return ql_wrong(b, all->value->place, "%soverrides: expected a list of rules", s->prefix);
    rules = ql_build_alloc(b, all->value->count, sizeof *rules);
    for (int64_t i = 0; rules && i < all->value->count; i++) {
        void *own = ql_build_alloc(b, 1, s->plugin->self_size);

        if (!own)
            return false;
        if (s->plugin->self_size)
            memcpy(own, out->node.self, s->plugin->self_size);
        ok = read_rule(b, s, all, all->value->items[i], own, &rules[i]) && ok;
    }
    out->node.overrides = rules;
    out->node.override_count = all->value->count;
    return ok && rules;
}

/* --- prints ------------------------------------------------------------------------------------------------------ */

/* All parameters; a print that fails leaves the error on the context. */
static bool
print_parameters(ql_build *b, FILE *out, const ql_plugin *p, const void *self)
{
    for (const ql_param *row = p->params; row->type != QL_T_END; row++) {
        const char *text = ql_param_print(b->cx, row, self);

        if (!text)
            return false;
        fprintf(out, "\n%s=%s", row->name, text);
    }
    return true;
}

static ql_status
print_canonical(ql_build *b, ql_instance *in)
{
    static const char *const propagates[] = {"default", "original", "quantized", "compensated"};
    ql_printer p;
    bool ok;

    QL_TRY(b->cx, ql_printer_open(b->cx, &p));
    fprintf(p.out, "%s %s", in->node.plugin->name, in->node.plugin->version ? in->node.plugin->version : "");
    ok = print_parameters(b, p.out, in->node.plugin, in->node.self);
    for (int64_t i = 0; ok && i < in->node.override_count; i++) {
        const ql_override *o = &in->node.overrides[i];

        fprintf(p.out, "\noverride %zu:%s%s", strlen(o->match), o->match, o->skip ? " skip" : "");
        ok = o->skip || print_parameters(b, p.out, in->node.plugin, o->self);
    }
    if (ql_reads_statistics(in->node.plugin))
        fprintf(p.out, "\npropagate=%s", propagates[in->node.propagate]);
    QL_TRY(b->cx, ql_printer_close(b->cx, &p, &in->node.canonical));
    if (!ok)
        return QL_MEMORY;
    ql_hash_bytes(in->node.canonical, strlen(in->node.canonical), in->hash);
    return QL_OK;
}

/* "PLUGIN bits=3": the parameters that are not at their defaults; of a path the last part. */
static ql_status
print_label(ql_build *b, ql_instance *in)
{
    void *defaults = ql_alloc(b->cx, 1, in->node.plugin->self_size);
    ql_printer p;

    if (!defaults)
        return QL_MEMORY;
    ql_param_defaults(in->node.plugin, defaults);
    QL_TRY(b->cx, ql_printer_open(b->cx, &p));
    fputs(in->node.plugin->name, p.out);
    for (const ql_param *row = in->node.plugin->params; row->type != QL_T_END; row++) {
        const char *mine = ql_param_print(b->cx, row, in->node.self), *theirs = ql_param_print(b->cx, row, defaults);
        const char *hub = mine && row->type == QL_T_PATH ? ql_hub_name(b->cx, mine) : NULL;
        const char *slash = mine && row->type == QL_T_PATH ? strrchr(mine, '/') : NULL;

        if (mine && theirs && strcmp(mine, theirs) != 0)
            fprintf(p.out, " %s=%s", row->name, hub ? hub : slash ? slash + 1 : mine);
    }
    if (in->node.override_count)
        fprintf(p.out, " +%" PRId64 " overrides", in->node.override_count);
    return ql_printer_close(b->cx, &p, &in->node.label);
}

/* --- the instance ------------------------------------------------------------------------------------------------ */

/* An instance with the settings read into it; *ok: without a problem. NULL without memory. */
static ql_instance *
read_settings(ql_build *b, const ql_settings *s, bool *ok)
{
    ql_instance *in = ql_build_alloc(b, 1, sizeof *in);
    void *self = ql_build_alloc(b, 1, s->plugin->self_size);
    ql_link *links = ql_build_alloc(b, QL_LINKS_MAX, sizeof *links);

    *ok = true;
    if (!in || !self || !links)
        return NULL;
    ql_param_defaults(s->plugin, self);
    *in = (ql_instance){.node = {.id = -1,
                                 .name = s->stage,
                                 .plugin = s->plugin,
                                 .foreign = !ql_registry_owns(b->registry, s->plugin),
                                 .self = self,
                                 .propagate = ql_reads_statistics(s->plugin) ? b->propagate : QL_PROPAGATE_DEFAULT,
                                 .place = s->place},
                        .self = self,
                        .links = links};
    for (int64_t i = 0; i < s->count; i++)
        *ok = read_setting(b, s, &s->items[i], in) && *ok;
    return in;
}

ql_instance *
ql_instantiate(ql_build *b, const ql_settings *s)
{
    bool ok;
    ql_instance *in = read_settings(b, s, &ok);
    const bool complete = in && is_complete(b, s);

    if (!in)
        return NULL;
    ok = read_links(b, s, complete, in) && complete && ok && passes_check(b, s, s->place, in->node.self);
    ok = read_overrides(b, s, in) && ok;
    ok = ok && ql_build_take(b, s->place, "", print_canonical(b, in)) &&
         ql_build_take(b, s->place, "", print_label(b, in));
    return ok && b->problems.failed == QL_OK ? in : NULL;
}

void
ql_check_entry(ql_build *b, const ql_build_stage *stage)
{
    const ql_yaml *entry = stage->entry;
    ql_settings own = {
        .stage = stage->name, .prefix = stage->prefix, .place = stage->key->place, .plugin = stage->plugin};
    ql_instance *in;
    bool ok;

    own.items = stage->plugin ? ql_build_alloc(b, entry->count, sizeof *own.items) : NULL;
    if (!own.items)
        return;
    for (int64_t i = 0; i < entry->count; i++)
        if (strcmp(entry->keys[i]->text, "use") != 0)
            own.items[own.count++] =
                (ql_setting){.key = entry->keys[i], .value = entry->items[i], .inherited = entry->items[i]->set};
    in = read_settings(b, &own, &ok);
    if (in) {
        (void)read_links(b, &own, false, in);
        (void)read_overrides(b, &own, in);
    }
    for (int64_t i = 0; i < own.count; i++)
        own.items[i].key->used = false; /* no cell has it yet */
}
