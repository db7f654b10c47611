/* The entries of `stages:` and the plugins that they use. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "build.h"
#include "model/open_model.h"

int64_t
ql_build_stage_find(const ql_build *b, const char *name, size_t bytes)
{
    for (int64_t i = 0; i < b->stage_count; i++)
        if (strlen(b->stages[i].name) == bytes && memcmp(b->stages[i].name, name, bytes) == 0)
            return i;
    return -1;
}

void
ql_build_no_stage(ql_build *b, ql_place place, const char *prefix, const char *name)
{
    const char *names[QL_STAGES_MAX], *near;

    for (int64_t i = 0; i < b->stage_count; i++)
        names[i] = b->stages[i].name;
    near = ql_nearest(name, names, b->stage_count);
    ql_problem_add(b->cx, &b->problems, place, "%sthere is no stage '%s'%s%s%s", prefix, name,
                   near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
}

/* The plugin that the config.json in the folder `path` asks for. */
static const ql_plugin *
auto_plugin(ql_build *b, const char *stage, const ql_yaml *use, const ql_yaml *path)
{
    const ql_plugin *p = NULL;
    const ql_json *config;
    const char *file, *prefix;
    ql_status st;

    if (!path || path->kind != QL_YAML_SCALAR || !*path->text) {
        ql_problem_add(b->cx, &b->problems, use->place,
                       "stage '%s': use: auto takes the plugin that fits the model in 'path', "
                       "and there is no 'path'",
                       stage);
        return NULL;
    }
    file = ql_format(b->cx, "%s%s%s/config.json", path->text[0] == '/' ? "" : b->folder,
                     path->text[0] == '/' ? "" : "/", path->text);
    prefix = ql_format(b->cx, "stage '%s'", stage);
    st = file && prefix ? ql_json_read(b->cx, file, &config) : QL_MEMORY;
    if (st == QL_OK)
        st = ql_model_choose(b->cx, b->registry, config, &p);
    if (st != QL_OK)
        st = ql_problem_take(b->cx, &b->problems, path->place, prefix, st == QL_IO ? QL_INVALID : st);
    if (st != QL_OK)
        b->problems.failed = st;
    return p;
}

static void
unknown_plugin(ql_build *b, const char *stage, const ql_yaml *use)
{
    const int64_t count = ql_registry_count(b->registry);
    const char **names = ql_alloc(b->cx, (size_t)count, sizeof *names), *near;
    int64_t n = 0;

    if (!names) {
        b->problems.failed = QL_MEMORY;
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        const ql_found *found = ql_registry_item(b->registry, i);

        if (found->plugin && found->plugin->kind != QL_BACKEND)
            names[n++] = found->name;
    }
    near = ql_nearest(use->text, names, n);
    ql_problem_add(b->cx, &b->problems, use->place, "stage '%s': there is no plugin '%s'%s%s%s", stage, use->text,
                   near ? " (did you mean '" : "; 'qloom plugins' lists them", near ? near : "", near ? "'?)" : "");
}

const ql_plugin *
ql_build_plugin(ql_build *b, const char *stage, const ql_yaml *use, const ql_yaml *path)
{
    const ql_found *found;

    if (use->kind != QL_YAML_SCALAR || ql_yaml_empty(use)) {
        const char *got = ql_yaml_describe(b->cx, use);

        ql_problem_add(b->cx, &b->problems, use->place, "stage '%s': use: got %s, expected the name of a plugin", stage,
                       got ? got : "");
        return NULL;
    }
    if (strcmp(use->text, "auto") == 0)
        return auto_plugin(b, stage, use, path);
    found = ql_registry_find(b->registry, use->text);
    if (!found) {
        unknown_plugin(b, stage, use);
        return NULL;
    }
    if (!found->plugin) {
        ql_problem_add(b->cx, &b->problems, use->place, "stage '%s': plugin '%s' can't be used: %s", stage, use->text,
                       found->problem);
        return NULL;
    }
    if (found->plugin->kind == QL_BACKEND) {
        ql_problem_add(b->cx, &b->problems, use->place,
                       "stage '%s': '%s' is a backend, which 'device:' chooses, not a stage", stage, use->text);
        return NULL;
    }
    return found->plugin;
}

/* Letters, digits, _ and -, not beginning with a digit or -: so that references and paths can be told apart. */
static bool
is_stage_name(const char *name)
{
    static const char letters[] = "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-0123456789";
    const size_t first = strcspn(letters, "-");

    return *name && memchr(letters, *name, first) && name[strspn(name, letters)] == '\0';
}

static bool
name_is_usable(ql_build *b, const ql_yaml *key)
{
    if (!is_stage_name(key->text)) {
        ql_problem_add(b->cx, &b->problems, key->place,
                       "'%s' is no name for a stage: expected letters, digits, _ and -, beginning with a letter or _",
                       key->text);
        return false;
    }
    for (const char *const *k = ql_top_keys; *k; k++)
        if (strcmp(*k, key->text) == 0) {
            ql_problem_add(b->cx, &b->problems, key->place, "a stage can't be named '%s', which is a key of the file",
                           *k);
            return false;
        }
    return true;
}

/* The plugin of the stage; it stays NULL, so that references to the stage are no further errors, when that can't be
 * known. */
static void
choose_plugin(ql_build *b, ql_build_stage *s)
{
    const ql_yaml *use = ql_yaml_get(s->entry, "use");
    const char *got;

    if (s->entry->kind != QL_YAML_MAP) {
        got = ql_yaml_describe(b->cx, s->entry);
        ql_problem_add(b->cx, &b->problems, s->entry->place,
                       "stage '%s': got %s, expected a mapping such as {use: PLUGIN, …}", s->name, got ? got : "");
    } else if (!use) {
        ql_problem_add(b->cx, &b->problems, s->key->place, "stage '%s': missing 'use', the name of its plugin",
                       s->name);
    } else {
        s->plugin = ql_build_plugin(b, s->name, use, ql_yaml_get(s->entry, "path"));
    }
}

ql_status
ql_build_stages(ql_build *b)
{
    const ql_yaml *stages = ql_yaml_get(b->root, "stages");

    if (!stages)
        return QL_OK;
    if (stages->kind != QL_YAML_MAP || stages->count == 0) {
        ql_problem_add(b->cx, &b->problems, stages->place,
                       "stages: expected a mapping of at least one 'name: {use: PLUGIN, …}'");
        return b->problems.failed;
    }
    if (stages->count > QL_STAGES_MAX) {
        ql_problem_add(b->cx, &b->problems, stages->place, "stages: %lld of them, at most %d are allowed",
                       (long long)stages->count, QL_STAGES_MAX);
        return b->problems.failed;
    }
    b->stages = ql_alloc(b->cx, (size_t)stages->count, sizeof *b->stages);
    if (!b->stages)
        return QL_MEMORY;
    for (int64_t i = 0; i < stages->count; i++) {
        const ql_yaml *key = stages->keys[i], *entry = stages->items[i];
        ql_build_stage *s = &b->stages[b->stage_count];

        if (!name_is_usable(b, key))
            continue;
        *s = (ql_build_stage){.name = key->text, .key = key, .entry = entry, .variants = -1, .combinations = 1};
        b->stage_count++;
        choose_plugin(b, s);
    }
    return b->problems.failed;
}
