/* A stage's keys through its plugin's tables: the filled parameter struct, the links to its inputs, its canonical
 * print. */
#include <stdio.h>
#include <string.h>

#include <qloom/evaluator.h>

#include "base/hash.h"
#include "base/printer.h"
#include "build.h"

static bool
is_null(const ql_yaml *v)
{
    return v->kind == QL_YAML_SCALAR && !v->quoted &&
           (!*v->text || strcmp(v->text, "~") == 0 || strcmp(v->text, "null") == 0);
}

bool
ql_build_take(ql_build *b, const char *stage, ql_place place, ql_status st)
{
    const char *prefix = st == QL_OK ? NULL : ql_format(b->cx, "stage '%s'", stage);

    if (st == QL_OK)
        return true;
    st = prefix ? ql_problem_take(b->cx, &b->problems, place, prefix, st) : QL_MEMORY;
    if (st != QL_OK)
        b->problems.failed = st;
    return false;
}

bool
ql_build_value(ql_build *b, const char *stage, const ql_param *row, const ql_yaml *v, void *self)
{
    ql_value value = {.text = v->kind == QL_YAML_SCALAR && !is_null(v) ? v->text : NULL, .quoted = v->quoted};

    if (v->kind == QL_YAML_LIST) {
        const char **items = ql_alloc(b->cx, (size_t)v->count, sizeof *items);

        if (!items) {
            b->problems.failed = QL_MEMORY;
            return false;
        }
        value.count = v->count;
        value.items = items;
        for (int64_t i = 0; i < v->count; i++) {
            items[i] = v->items[i]->text;
            if (v->items[i]->kind != QL_YAML_SCALAR) {
                ql_problem_add(b->cx, &b->problems, v->items[i]->place,
                               "stage '%s': %s: a list of texts or numbers can't hold %s", stage, row->name,
                               v->items[i]->kind == QL_YAML_LIST ? "a list" : "a mapping");
                return false;
            }
        }
    } else if (v->kind == QL_YAML_MAP) {
        ql_problem_add(b->cx, &b->problems, v->place, "stage '%s': %s: got a mapping, expected a value (%s)", stage,
                       row->name, row->help ? row->help : "");
        return false;
    }
    return ql_build_take(b, stage, v->place, ql_param_set(b->cx, row, &value, b->folder, self));
}

static int64_t
add_names(const char **names, int64_t count, const ql_plugin *p)
{
    const ql_port *const tables[] = {ql_kind_ports(p->kind), p->ports};

    for (const ql_param *row = p->params; row->type != QL_T_END; row++)
        names[count++] = row->name;
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const ql_port *port = tables[t]; port && port->type != QL_EDGE_NONE; port++)
            if (!port->output)
                names[count++] = port->name;
    return count;
}

static int64_t
count_names(const ql_plugin *p)
{
    const ql_port *const tables[] = {ql_kind_ports(p->kind), p->ports};
    int64_t count = 2; /* what the host reads itself */

    for (const ql_param *row = p->params; row->type != QL_T_END; row++)
        count++;
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const ql_port *port = tables[t]; port && port->type != QL_EDGE_NONE; port++)
            count++;
    return count;
}

static void
unknown_parameter(ql_build *b, const ql_settings *s, const ql_yaml *key)
{
    const char **names = ql_alloc(b->cx, (size_t)count_names(s->plugin), sizeof *names), *near;
    int64_t n;

    if (!names) {
        b->problems.failed = QL_MEMORY;
        return;
    }
    n = add_names(names, 0, s->plugin);
    if (s->plugin->kind == QL_QUANTIZER || s->plugin->kind == QL_COMPENSATOR)
        names[n++] = "overrides";
    if (ql_reads_statistics(s->plugin))
        names[n++] = "propagate";
    near = ql_nearest(key->text, names, n);
    if (near)
        ql_problem_add(b->cx, &b->problems, key->place, "stage '%s': unknown parameter '%s' (did you mean '%s'?)",
                       s->stage, key->text, near);
    else
        ql_problem_add(b->cx, &b->problems, key->place,
                       "stage '%s': unknown parameter '%s'; 'qloom plugins %s' lists what there is", s->stage,
                       key->text, s->plugin->name);
}

static bool
read_link(ql_build *b, const ql_settings *s, const ql_port *port, const ql_yaml *v, ql_link *out)
{
    const char *prefix = ql_format(b->cx, "stage '%s': input '%s': ", s->stage, port->name), *got;
    ql_settings anonymous;

    *out = (ql_link){.port = port, .place = v->place, .stage = -1};
    if (!prefix) {
        b->problems.failed = QL_MEMORY;
    } else if (v->kind == QL_YAML_MAP) {
        if (ql_settings_anonymous(b, s, port, v, &anonymous))
            out->anonymous = ql_instantiate(b, &anonymous);
        return out->anonymous != NULL;
    } else if (v->kind == QL_YAML_SCALAR && v->text[0] == '$') {
        out->stage = ql_build_stage_find(b, v->text + 1, strlen(v->text + 1));
        if (out->stage < 0)
            ql_build_no_stage(b, v->place, prefix, v->text + 1);
    } else {
        got = ql_yaml_describe(b->cx, v);
        ql_problem_add(b->cx, &b->problems, v->place, "%sgot %s, expected a stage: '$NAME' or {use: PLUGIN, …}", prefix,
                       got ? got : "");
    }
    return out->stage >= 0;
}

static bool
read_setting(ql_build *b, const ql_settings *s, const ql_setting *setting, ql_instance *out)
{
    const ql_yaml *key = setting->key, *v = setting->value;
    const ql_port *port = ql_plugin_input(s->plugin, key->text);
    const ql_param *row = ql_param_find(s->plugin, key->text);
    const bool method = s->plugin->kind == QL_QUANTIZER || s->plugin->kind == QL_COMPENSATOR;
    const char *prefix;

    if (port && out->link_count < QL_LINKS_MAX) {
        out->link_count++;
        return read_link(b, s, port, v, &out->links[out->link_count - 1]);
    }
    if (row)
        return ql_build_value(b, s->stage, row, v, out->self);
    if (method && strcmp(key->text, "overrides") == 0) /* after all parameters, which they start from */
        return true;
    if (ql_reads_statistics(s->plugin) && strcmp(key->text, "propagate") == 0) {
        prefix = ql_format(b->cx, "stage '%s': ", s->stage);
        return prefix && ql_build_propagate(b, v, prefix, &out->propagate);
    }
    if (setting->inherited && ql_param_shared(s->plugin->kind, key->text))
        return true;
    unknown_parameter(b, s, key);
    return false;
}

/* Required parameters and inputs that nobody gave. */
static bool
is_complete(ql_build *b, const ql_settings *s)
{
    const ql_port *const tables[] = {ql_kind_ports(s->plugin->kind), s->plugin->ports};
    bool ok = true;

    for (const ql_param *row = s->plugin->params; row->type != QL_T_END; row++)
        if (row->required && !ql_setting_find(s, row->name)) {
            ql_problem_add(b->cx, &b->problems, s->place, "stage '%s': missing parameter '%s' (%s)", s->stage,
                           row->name, row->help ? row->help : "");
            ok = false;
        }
    for (size_t t = 0; t < sizeof tables / sizeof *tables && !s->driven; t++)
        for (const ql_port *port = tables[t]; port && port->type != QL_EDGE_NONE; port++)
            if (ql_port_needed(s->plugin, port) && !ql_setting_find(s, port->name)) {
                ql_problem_add(b->cx, &b->problems, s->place, "stage '%s': missing input '%s' (%s: %s)", s->stage,
                               port->name, ql_edge_name(port->type), port->help ? port->help : "");
                ok = false;
            }
    return ok;
}

/* A driven quantizer that nobody named: the one that the port means, with its defaults. */
static bool
add_default_links(ql_build *b, const ql_settings *s, ql_instance *out)
{
    for (const ql_port *port = s->plugin->ports; port && port->type != QL_EDGE_NONE; port++) {
        ql_settings base = {
            .stage = ql_format(b->cx, "%s.%s", s->stage, port->name), .place = s->place, .driven = true};
        const ql_found *found;

        if (!port->def || port->type != QL_EDGE_QUANTIZER || ql_setting_find(s, port->name))
            continue;
        found = ql_registry_find(b->registry, port->def);
        if (!base.stage || !found || !found->plugin || out->link_count == QL_LINKS_MAX) {
            ql_problem_add(b->cx, &b->problems, s->place,
                           "stage '%s': input '%s' means '%s', and there is no such plugin", s->stage, port->name,
                           port->def);
            return false;
        }
        base.plugin = found->plugin;
        out->links[out->link_count] =
            (ql_link){.port = port, .place = s->place, .stage = -1, .anonymous = ql_instantiate(b, &base)};
        if (!out->links[out->link_count++].anonymous)
            return false;
    }
    return true;
}

/* Position of an input among those of the kind and of the plugin. */
static int64_t
rank_of(const ql_plugin *p, const ql_port *port)
{
    const ql_port *const tables[] = {ql_kind_ports(p->kind), p->ports};
    int64_t rank = 0;

    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const ql_port *q = tables[t]; q && q->type != QL_EDGE_NONE; q++, rank++)
            if (q == port)
                return rank;
    return rank;
}

/* The order in which a file writes inputs means nothing: the tables' order is the canonical one. */
static void
sort_links(ql_instance *in)
{
    for (int64_t i = 1; i < in->link_count; i++) {
        const ql_link link = in->links[i];
        int64_t k = i;

        for (; k > 0 && rank_of(in->plugin, in->links[k - 1].port) > rank_of(in->plugin, link.port); k--)
            in->links[k] = in->links[k - 1];
        in->links[k] = link;
    }
}

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
    fprintf(p.out, "%s %s", in->plugin->name, in->plugin->version ? in->plugin->version : "");
    ok = print_parameters(b, p.out, in->plugin, in->self);
    for (int64_t i = 0; ok && i < in->override_count; i++) {
        const ql_override *o = &in->overrides[i];

        fprintf(p.out, "\noverride %zu:%s%s", strlen(o->match), o->match, o->skip ? " skip" : "");
        ok = o->skip || print_parameters(b, p.out, in->plugin, o->self);
    }
    if (ql_reads_statistics(in->plugin))
        fprintf(p.out, "\npropagate=%s", propagates[in->propagate]);
    QL_TRY(b->cx, ql_printer_close(b->cx, &p, &in->canonical));
    if (!ok)
        return QL_MEMORY;
    ql_hash_bytes(in->canonical, strlen(in->canonical), in->hash);
    return QL_OK;
}

/* "PLUGIN bits=3": the parameters that are not at their defaults; of a path the last part. */
static ql_status
print_label(ql_build *b, ql_instance *in)
{
    void *defaults = ql_alloc(b->cx, 1, in->plugin->self_size);
    ql_printer p;

    if (!defaults)
        return QL_MEMORY;
    ql_param_defaults(in->plugin, defaults);
    QL_TRY(b->cx, ql_printer_open(b->cx, &p));
    fputs(in->plugin->name, p.out);
    for (const ql_param *row = in->plugin->params; row->type != QL_T_END; row++) {
        const char *mine = ql_param_print(b->cx, row, in->self), *theirs = ql_param_print(b->cx, row, defaults);
        const char *slash = mine && row->type == QL_T_PATH ? strrchr(mine, '/') : NULL;

        if (mine && theirs && strcmp(mine, theirs) != 0)
            fprintf(p.out, " %s=%s", row->name, slash ? slash + 1 : mine);
    }
    if (in->override_count)
        fprintf(p.out, " +%lld overrides", (long long)in->override_count);
    return ql_printer_close(b->cx, &p, &in->label);
}

static ql_instance *
new_instance(ql_build *b, const ql_settings *s)
{
    ql_instance *in = ql_alloc(b->cx, 1, sizeof *in);
    void *self = ql_alloc(b->cx, 1, s->plugin->self_size);
    ql_link *links = ql_alloc(b->cx, QL_LINKS_MAX, sizeof *links);

    if (!in || !self || !links) {
        b->problems.failed = QL_MEMORY;
        return NULL;
    }
    ql_param_defaults(s->plugin, self);
    *in = (ql_instance){.stage = s->stage, .place = s->place, .plugin = s->plugin, .self = self, .links = links};
    if (ql_reads_statistics(s->plugin))
        in->propagate = b->propagate;
    return in;
}

ql_instance *
ql_instantiate(ql_build *b, const ql_settings *s)
{
    ql_instance *in = new_instance(b, s);
    ql_status st;
    bool ok = in != NULL;

    for (int64_t i = 0; in && i < s->count; i++)
        ok = read_setting(b, s, &s->items[i], in) && ok;
    if (!in)
        return NULL;
    ok = is_complete(b, s) && add_default_links(b, s, in) && ok;
    if (ok && s->plugin->check)
        ok = ql_build_take(b, s->stage, s->place, s->plugin->check(b->cx, in->self));
    ok = ql_build_overrides(b, s, in) && ok;
    if (!ok || b->problems.failed != QL_OK)
        return NULL;
    sort_links(in);
    st = print_canonical(b, in);
    if (st == QL_OK)
        st = print_label(b, in);
    if (st != QL_OK)
        b->problems.failed = st;
    return st == QL_OK ? in : NULL;
}

void
ql_check_entry(ql_build *b, int64_t s)
{
    const ql_build_stage *stage = &b->stages[s];
    ql_settings own = {.stage = stage->name, .place = stage->key->place, .plugin = stage->plugin};
    ql_instance *in;

    if (!stage->plugin)
        return;
    own.items = ql_alloc(b->cx, (size_t)stage->entry->count, sizeof *own.items);
    in = own.items ? new_instance(b, &own) : NULL;
    if (!in) {
        b->problems.failed = QL_MEMORY;
        return;
    }
    for (int64_t i = 0; i < stage->entry->count; i++)
        if (strcmp(stage->entry->keys[i]->text, "use") != 0)
            own.items[own.count++] = (ql_setting){.key = stage->entry->keys[i],
                                                  .value = stage->entry->items[i],
                                                  .inherited = stage->entry->items[i]->set};
    for (int64_t i = 0; i < own.count; i++)
        (void)read_setting(b, &own, &own.items[i], in);
    (void)ql_build_overrides(b, &own, in);
}
