/* The pipeline as it was understood: environment, -s and defaults filled in, paths absolute, so that the text runs
 * anywhere. */
#include <string.h>

#include "base/path.h"
#include "build.h"

static const ql_place nowhere = {.file = ""};

/* Every row of a table that `map` does not give and that has a value. */
static void
append_rows(ql_build *b, const ql_plugin *table, const void *self, ql_yaml *map)
{
    for (const ql_param *row = table->params; row->type != QL_T_END; row++) {
        const char *text = ql_yaml_get(map, row->name) ? NULL : ql_build_row_text(b, row, self);
        ql_yaml *name = text ? ql_build_scalar(b, nowhere, row->name) : NULL;
        ql_yaml *value = name ? ql_build_scalar(b, nowhere, text) : NULL;

        if (value) {
            value->quoted = !*text;
            ql_build_put(b, map, name, value);
        }
    }
}

static void
make_absolute(ql_build *b, const ql_plugin *p, const char *key, ql_yaml *v)
{
    const ql_param *row = ql_param_find(p, key);
    const bool model = row && p->kind == QL_MODEL && strcmp(key, "path") == 0;
    const ql_yaml *folder = model ? ql_build_model_path(b, "", v) : NULL;

    if (folder)
        v->text = folder->text;
    if (row && row->type == QL_T_PATH && v->kind == QL_YAML_SCALAR && *v->text)
        v->text = ql_build_text(b, ql_path_from(b->cx, b->folder, v->text));
}

/* Relative paths of a stage, and of the anonymous stages in it. */
static void
resolve_paths(ql_build *b, const ql_plugin *p, ql_yaml *map)
{
    for (int64_t i = 0; p && map->kind == QL_YAML_MAP && i < map->count; i++) {
        ql_yaml *v = map->items[i];
        const ql_yaml *use = ql_yaml_get(v, "use");
        const ql_found *found = use && use->kind == QL_YAML_SCALAR ? ql_registry_find(b->registry, use->text) : NULL;

        make_absolute(b, p, map->keys[i]->text, v);
        if (found)
            resolve_paths(b, found->plugin, v);
    }
}

static bool
knows(const ql_plugin *p, const char *key)
{
    return !p || ql_param_find(p, key) || ql_plugin_input(p, key) || !ql_shared_row(p->kind, key);
}

/* What the command line gave to an entry whose own plugin lacks it belongs to the variants that have it. */
static void
settle_sets(ql_build *b, const ql_build_stage *s, const ql_build_axis *a)
{
    ql_yaml *entry = s->entry;
    int64_t kept = 0;

    for (int64_t i = 0; i < entry->count; i++) {
        ql_yaml *key = entry->keys[i], *v = entry->items[i];
        const bool stays = !v->set || knows(s->plugin, key->text);

        for (int64_t k = 0; !stays && a && k < a->values->count; k++) {
            ql_yaml *variant = a->values->items[k];

            if (a->plugins[k] && ql_param_find(a->plugins[k], key->text) && !ql_yaml_get(variant, key->text))
                ql_build_put(b, variant, key, v);
        }
        entry->keys[kept] = key;
        entry->items[kept] = v;
        kept += stays;
    }
    entry->count = kept;
}

static void
expand_stage(ql_build *b, const ql_build_stage *s)
{
    const ql_build_axis *variants = s->variants < 0 ? NULL : &b->axes[s->variants];
    void *defaults = ql_build_alloc(b, 1, s->plugin->self_size);

    settle_sets(b, s, variants);
    resolve_paths(b, s->plugin, s->entry);
    for (int64_t i = 0; variants && i < variants->values->count; i++)
        resolve_paths(b, variants->plugins[i], variants->values->items[i]);
    for (int64_t i = 0; i < s->axis_count; i++) {
        const ql_build_axis *a = &b->axes[s->axes[i]];

        for (int64_t k = 0; a->parameter && k < a->values->count; k++)
            make_absolute(b, s->plugin, a->parameter, a->values->items[k]);
    }
    if (variants || !defaults) /* a written default would be inherited by a plugin that has another */
        return;
    ql_param_defaults(s->plugin, defaults);
    append_rows(b, s->plugin, defaults, s->entry);
}

ql_status
ql_build_expanded(ql_build *b, const ql_file_keys *keys, ql_graph *g)
{
    ql_yaml *root = ql_build_scalar(b, nowhere, "");

    if (!root)
        return QL_MEMORY;
    root->kind = QL_YAML_MAP;
    append_rows(b, &ql_file_table, keys, root);
    for (int64_t s = 0; s < b->stage_count; s++)
        expand_stage(b, &b->stages[s]);
    for (const char *const *section = ql_file_sections; *section; section++) {
        const int64_t at = ql_yaml_find(b->root, *section);

        if (at >= 0)
            ql_build_put(b, root, b->root->keys[at], b->root->items[at]);
    }
    return b->problems.failed != QL_OK ? b->problems.failed : ql_yaml_emit(b->cx, root, &g->expanded);
}
