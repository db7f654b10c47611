/* The entries of `stages:` and the plugins that they use. */
#include <string.h>

#include "base/json.h"
#include "base/path.h"
#include "model/hub.h"
#include "build.h"
#include "model/open_model.h"

int64_t
ql_build_stage_find(const ql_build *b, const char *name)
{
    for (int64_t i = 0; i < b->stage_count; i++)
        if (strcmp(b->stages[i].name, name) == 0)
            return i;
    return -1;
}

bool
ql_build_no_stage(ql_build *b, ql_place place, const char *prefix, const char *name)
{
    ql_guess near = ql_guess_open(name);

    for (int64_t i = 0; i < b->stage_count; i++)
        ql_guess_offer(&near, b->stages[i].name);
    return ql_wrong(b, place, "%sthere is no stage '%s'%s", prefix, name, ql_guess_text(b->cx, &near, ""));
}

const ql_yaml *
ql_build_model_path(ql_build *b, const char *prefix, const ql_yaml *v)
{
    const char *folder;

    if (v->kind != QL_YAML_SCALAR || ql_yaml_empty(v))
        return v;
    if (!ql_build_take(b, v->place, prefix, ql_hub_find(b->cx, b->folder, v->text, &folder)))
        return NULL;
    return folder == v->text ? v : ql_build_scalar(b, v->place, folder);
}

/* The plugin that the config.json in the folder `path` asks for. */
static const ql_plugin *
auto_plugin(ql_build *b, const char *prefix, const ql_yaml *use, const ql_yaml *path)
{
    const ql_plugin *p = NULL;
    const ql_json *config;
    const char *folder, *file;
    ql_status st;

    if (!path || path->kind != QL_YAML_SCALAR || !*path->text) {
        ql_wrong(b, use->place, "%suse: auto takes the plugin that fits the model in 'path', and there is no 'path'",
                 prefix);
        return NULL;
    }
    path = ql_build_model_path(b, prefix, path);
    if (!path)
        return NULL;
    folder = ql_path_from(b->cx, b->folder, path->text);
    file = folder ? ql_format(b->cx, "%s/config.json", folder) : NULL;
    st = file ? ql_json_read(b->cx, file, &config) : QL_MEMORY;
    if (st == QL_OK)
        st = ql_model_choose(b->cx, b->registry, config, &p);
    return ql_build_take(b, path->place, prefix, st == QL_IO ? QL_INVALID : st) ? p : NULL;
}

static bool
unknown_plugin(ql_build *b, const char *prefix, const ql_yaml *use)
{
    ql_guess near = ql_guess_open(use->text);

    for (int64_t i = 0; i < ql_registry_count(b->registry); i++) {
        const ql_found *found = ql_registry_item(b->registry, i);

        if (found->plugin && found->plugin->kind != QL_BACKEND)
            ql_guess_offer(&near, found->name);
    }
    return ql_wrong(b, use->place, "%sthere is no plugin '%s'%s", prefix, use->text,
                    ql_guess_text(b->cx, &near, "; 'qloom plugins' lists them"));
}

const ql_plugin *
ql_build_plugin(ql_build *b, const char *prefix, ql_place place, const ql_yaml *use, const ql_yaml *path)
{
    const ql_found *found;

    if (!use) {
        ql_wrong(b, place, "%smissing 'use', the name of its plugin", prefix);
        return NULL;
    }
    if (use->kind != QL_YAML_SCALAR || ql_yaml_empty(use)) {
        ql_wrong(b, use->place, "%suse: got %s, expected the name of a plugin", prefix, ql_yaml_describe(b->cx, use));
        return NULL;
    }
    if (strcmp(use->text, "auto") == 0)
        return auto_plugin(b, prefix, use, path);
    found = ql_registry_peek(b->registry, use->text);
    if (!found)
        unknown_plugin(b, prefix, use);
    else if (found->problem)
        ql_wrong(b, use->place, "%splugin '%s' can't be used: %s", prefix, use->text, found->problem);
    else if (found->kind == QL_BACKEND)
        ql_wrong(b, use->place, "%s'%s' is a backend, which 'device:' chooses, not a stage", prefix, use->text);
    else
        return found->plugin;
    return NULL;
}

/* Letters, digits, _ and -, not beginning with a digit or -: so that references and paths can be told apart. */
static bool
is_stage_name(const char *name)
{
    static const char letters[] = "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-0123456789";
    const size_t first = strcspn(letters, "-");

    return *name && memchr(letters, *name, first) && name[strspn(name, letters)] == '\0';
}

/* The plugin of the stage; NULL, so that references to the stage are no further errors, when that can't be known. */
static const ql_plugin *
choose_plugin(ql_build *b, const ql_build_stage *s)
{
    const ql_yaml *use = ql_yaml_get(s->entry, "use");

    if (s->entry->kind == QL_YAML_MAP)
        return ql_build_plugin(b, s->prefix, s->key->place, use, ql_yaml_get(s->entry, "path"));
    ql_wrong(b, s->entry->place, "%sgot %s, expected a mapping such as {use: PLUGIN, …}", s->prefix,
             ql_yaml_describe(b->cx, s->entry));
    return NULL;
}

bool
ql_build_stages(ql_build *b)
{
    const ql_yaml *stages = ql_yaml_get(b->root, "stages");

    if (!stages)
        return false;
    if (stages->kind != QL_YAML_MAP || stages->count == 0)
        return ql_wrong(b, stages->place, "stages: expected a mapping of at least one 'name: {use: PLUGIN, …}'");
    if (stages->count > QL_STAGES_MAX)
        return ql_wrong(b, stages->place, "stages: %lld of them, at most %d are allowed", (long long)stages->count,
                        QL_STAGES_MAX);
    b->stages = ql_build_alloc(b, stages->count, sizeof *b->stages);
    for (int64_t i = 0; b->stages && i < stages->count; i++) {
        const ql_yaml *key = stages->keys[i];
        ql_build_stage *s = &b->stages[b->stage_count];

        if (!is_stage_name(key->text)) {
            ql_wrong(b, key->place,
                     "'%s' is no name for a stage: expected letters, digits, _ and -, beginning with a letter or _",
                     key->text);
        } else if (ql_is_file_key(key->text)) {
            ql_wrong(b, key->place, "a stage can't be named '%s', which is a key of the file", key->text);
        } else {
            *s = (ql_build_stage){.name = key->text,
                                  .prefix = ql_build_text(b, ql_format(b->cx, "stage '%s': ", key->text)),
                                  .key = key,
                                  .entry = stages->items[i],
                                  .variants = -1,
                                  .count = 1};
            s->plugin = choose_plugin(b, s);
            b->stage_count++;
        }
    }
    return b->stages != NULL;
}
