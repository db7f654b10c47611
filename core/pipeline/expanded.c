/* The pipeline as it was understood: environment, -s and defaults filled in, paths absolute, so that the text runs
 * anywhere. */
#include <string.h>

#include "build.h"

static const ql_place nowhere = {.file = ""};

static ql_status
append_text(ql_build *b, ql_yaml *map, const char *key, const char *text)
{
    ql_yaml *name = ql_yaml_scalar(b->cx, nowhere, key), *value = ql_yaml_scalar(b->cx, nowhere, text);

    if (!name || !value)
        return QL_MEMORY;
    value->quoted = !*text;
    return ql_yaml_append(b->cx, map, name, value);
}

/* Every row of a table that `map` does not give and that has a value. */
static ql_status
append_rows(ql_build *b, const ql_plugin *table, const void *self, ql_yaml *map)
{
    for (const ql_param *row = table->params; row->type != QL_T_END; row++) {
        const char *text = ql_yaml_get(map, row->name) ? NULL : ql_build_row_text(b, row, self);

        if (text)
            QL_TRY(b->cx, append_text(b, map, row->name, text));
    }
    return b->problems.failed;
}

static ql_status
make_absolute(ql_build *b, ql_yaml *v)
{
    if (v->kind == QL_YAML_SCALAR && *v->text && v->text[0] != '/')
        v->text = ql_build_text(b, ql_format(b->cx, "%s/%s", b->folder, v->text));
    return b->problems.failed;
}

/* Relative paths of a stage, and of the anonymous stages in it. */
static ql_status
resolve_paths(ql_build *b, const ql_plugin *p, ql_yaml *map)
{
    for (int64_t i = 0; p && map->kind == QL_YAML_MAP && i < map->count; i++) {
        const ql_param *row = ql_param_find(p, map->keys[i]->text);
        ql_yaml *v = map->items[i];
        const ql_yaml *use = ql_yaml_get(v, "use");
        const ql_found *found = use && use->kind == QL_YAML_SCALAR ? ql_registry_find(b->registry, use->text) : NULL;

        if (row && row->type == QL_T_PATH)
            QL_TRY(b->cx, make_absolute(b, v));
        if (found)
            QL_TRY(b->cx, resolve_paths(b, found->plugin, v));
    }
    return QL_OK;
}

static bool
knows(const ql_plugin *p, const char *key)
{
    return !p || ql_param_find(p, key) || ql_plugin_input(p, key) || !ql_param_shared(p->kind, key);
}

/* What the command line gave to an entry whose own plugin lacks it belongs to the variants that have it. */
static ql_status
settle_sets(ql_build *b, const ql_build_stage *s, ql_yaml *entry)
{
    const ql_build_axis *a = s->variants < 0 ? NULL : &b->axes[s->variants];
    int64_t kept = 0;

    for (int64_t i = 0; i < entry->count; i++) {
        ql_yaml *key = entry->keys[i], *v = entry->items[i];
        const bool stays = !v->set || knows(s->plugin, key->text);

        for (int64_t k = 0; !stays && a && k < a->values->count; k++) {
            ql_yaml *variant = a->values->items[k];

            if (a->plugins[k] && ql_param_find(a->plugins[k], key->text) && !ql_yaml_get(variant, key->text))
                QL_TRY(b->cx, ql_yaml_append(b->cx, variant, key, v));
        }
        entry->keys[kept] = key;
        entry->items[kept] = v;
        kept += stays;
    }
    entry->count = kept;
    return QL_OK;
}

static ql_status
expand_stage(ql_build *b, const ql_build_stage *s)
{
    const ql_build_axis *a = s->variants < 0 ? NULL : &b->axes[s->variants];
    ql_yaml *entry = ql_yaml_get(ql_yaml_get(b->root, "stages"), s->name);
    void *defaults = ql_build_alloc(b, 1, s->plugin->self_size);

    if (!defaults)
        return QL_MEMORY;
    QL_TRY(b->cx, settle_sets(b, s, entry));
    QL_TRY(b->cx, resolve_paths(b, s->plugin, entry));
    for (int64_t i = 0; a && i < a->values->count; i++)
        QL_TRY(b->cx, resolve_paths(b, a->plugins[i], a->values->items[i]));
    for (int64_t i = 0; i < s->axis_count; i++) {
        const ql_build_axis *values = &b->axes[s->axes[i]];
        const ql_param *row = values->parameter ? ql_param_find(s->plugin, values->parameter) : NULL;

        for (int64_t k = 0; row && row->type == QL_T_PATH && k < values->values->count; k++)
            QL_TRY(b->cx, make_absolute(b, values->values->items[k]));
    }
    if (a) /* a written default would be inherited by a plugin that has another */
        return QL_OK;
    ql_param_defaults(s->plugin, defaults);
    return append_rows(b, s->plugin, defaults, entry);
}

ql_status
ql_build_expanded(ql_build *b, const ql_file_keys *keys, ql_graph *g)
{
    static const char *const sections[] = {"stages", "matrix", "exclude", "table"};
    ql_yaml *root = ql_yaml_scalar(b->cx, nowhere, "");

    if (!root)
        return QL_MEMORY;
    root->kind = QL_YAML_MAP;
    QL_TRY(b->cx, append_rows(b, &ql_file_table, keys, root));
    for (int64_t s = 0; s < b->stage_count; s++)
        QL_TRY(b->cx, expand_stage(b, &b->stages[s]));
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        const int64_t at = ql_yaml_find(b->root, sections[i]);

        if (at >= 0)
            QL_TRY(b->cx, ql_yaml_append(b->cx, root, b->root->keys[at], b->root->items[at]));
    }
    return ql_yaml_emit(b->cx, root, &g->expanded);
}
