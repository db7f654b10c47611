/* The pipeline as it was understood: environment, -s and defaults filled in, paths absolute, so that the text runs
 * anywhere. */
#include <inttypes.h>
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

static ql_status
append(ql_build *b, ql_yaml *map, const ql_yaml *from, const char *key)
{
    const int64_t i = ql_yaml_find(from, key);

    return i < 0 ? QL_OK : ql_yaml_append(b->cx, map, from->keys[i], from->items[i]);
}

/* Relative paths of a stage, and of the anonymous stages in it, become absolute. */
static ql_status
resolve_paths(ql_build *b, const ql_plugin *p, const ql_yaml *map)
{
    for (int64_t i = 0; p && map->kind == QL_YAML_MAP && i < map->count; i++) {
        const ql_param *row = ql_param_find(p, map->keys[i]->text);
        ql_yaml *v = map->items[i];
        const ql_yaml *use = v->kind == QL_YAML_MAP ? ql_yaml_get(v, "use") : NULL;
        const ql_found *found = use && use->kind == QL_YAML_SCALAR ? ql_registry_find(b->registry, use->text) : NULL;

        if (row && row->type == QL_T_PATH && v->kind == QL_YAML_SCALAR && *v->text && v->text[0] != '/') {
            v->text = ql_format(b->cx, "%s/%s", b->folder, v->text);
            if (!v->text)
                return QL_MEMORY;
        }
        if (found)
            QL_TRY(b->cx, resolve_paths(b, found->plugin, v));
    }
    return QL_OK;
}

/* Defaults of an entry. One whose plugin the matrix replaces keeps what it says only: a written default would be
 * inherited by a plugin that has another. */
static ql_status
add_defaults(ql_build *b, const ql_build_stage *s, ql_yaml *entry)
{
    void *self = ql_alloc(b->cx, 1, s->plugin->self_size);

    if (!self)
        return QL_MEMORY;
    ql_param_defaults(s->plugin, self);
    for (const ql_param *row = s->plugin->params; row->type != QL_T_END; row++) {
        const bool text = row->type == QL_T_STRING || row->type == QL_T_PATH;

        if (ql_yaml_get(entry, row->name) || row->type == QL_T_LIST || (text && !row->def_text))
            continue;
        QL_TRY(b->cx, append_text(b, entry, row->name, text ? row->def_text : ql_param_print(b->cx, row, self)));
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
        const bool stays = !entry->items[i]->set || knows(s->plugin, entry->keys[i]->text);

        for (int64_t k = 0; !stays && a && k < a->values->count; k++) {
            ql_yaml *variant = a->values->items[k];

            if (a->plugins[k] && ql_param_find(a->plugins[k], entry->keys[i]->text) &&
                !ql_yaml_get(variant, entry->keys[i]->text))
                QL_TRY(b->cx, ql_yaml_append(b->cx, variant, entry->keys[i], entry->items[i]));
        }
        entry->keys[kept] = entry->keys[i];
        entry->items[kept] = entry->items[i];
        kept += stays;
    }
    entry->count = kept;
    return QL_OK;
}

static ql_status
expand_stages(ql_build *b)
{
    for (int64_t s = 0; s < b->stage_count; s++) {
        const ql_build_stage *stage = &b->stages[s];
        const ql_build_axis *a = stage->variants < 0 ? NULL : &b->axes[stage->variants];
        ql_yaml *entry = ql_yaml_get(ql_yaml_get(b->root, "stages"), stage->name);

        QL_TRY(b->cx, settle_sets(b, stage, entry));
        QL_TRY(b->cx, resolve_paths(b, stage->plugin, entry));
        for (int64_t i = 0; a && i < a->values->count; i++)
            QL_TRY(b->cx, resolve_paths(b, a->plugins[i], a->values->items[i]));
        if (!a)
            QL_TRY(b->cx, add_defaults(b, stage, entry));
    }
    for (int64_t i = 0; i < b->axis_count; i++) {
        const ql_build_axis *a = &b->axes[i];
        const ql_param *row =
            a->parameter && b->stages[a->stage].plugin ? ql_param_find(b->stages[a->stage].plugin, a->parameter) : NULL;

        for (int64_t k = 0; row && row->type == QL_T_PATH && k < a->values->count; k++) {
            ql_yaml *v = a->values->items[k];

            if (v->kind == QL_YAML_SCALAR && v->text[0] != '/' &&
                !(v->text = ql_format(b->cx, "%s/%s", b->folder, v->text)))
                return QL_MEMORY;
        }
    }
    return QL_OK;
}

ql_status
ql_build_expanded(ql_build *b, ql_graph *g)
{
    ql_yaml *root = ql_yaml_scalar(b->cx, nowhere, "");

    if (!root)
        return QL_MEMORY;
    root->kind = QL_YAML_MAP;
    QL_TRY(b->cx, append(b, root, b->root, "qloom"));
    QL_TRY(b->cx, append_text(b, root, "name", g->name));
    QL_TRY(b->cx, append_text(b, root, "device", g->device));
    QL_TRY(b->cx, append(b, root, b->root, "compute"));
    QL_TRY(b->cx, append_text(b, root, "seed", ql_format(b->cx, "%" PRIu64, g->seed)));
    QL_TRY(b->cx, append_text(b, root, "memory", ql_format(b->cx, "%" PRIu64, g->memory)));
    if (g->cache)
        QL_TRY(b->cx, append_text(b, root, "cache", g->cache));
    if (g->cache_limit)
        QL_TRY(b->cx, append_text(b, root, "cache_limit", ql_format(b->cx, "%" PRIu64, g->cache_limit)));
    QL_TRY(b->cx, append_text(b, root, "chunk_tokens", ql_format(b->cx, "%" PRId64, g->chunk_tokens)));
    QL_TRY(b->cx, append_text(b, root, "baseline", g->baseline ? "true" : "false"));
    QL_TRY(b->cx, append(b, root, b->root, "propagate"));
    QL_TRY(b->cx, expand_stages(b));
    QL_TRY(b->cx, append(b, root, b->root, "stages"));
    QL_TRY(b->cx, append(b, root, b->root, "matrix"));
    QL_TRY(b->cx, append(b, root, b->root, "exclude"));
    QL_TRY(b->cx, append(b, root, b->root, "table"));
    return ql_yaml_emit(b->cx, root, &g->expanded);
}
