/* manifest.json: everything that decided the numbers of a run, so that it can be repeated and told from another. */
#include "folder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <qloom/qloom.h>

#include "base/file.h"
#include "base/hash.h"
#include "store/content.h"

#define HEADER_LENGTH 8 /* bytes in front of a safetensors header that hold its length */

/* jansson gives NULL without memory, and its `_new` setters pass that on as -1; `ok` collects it. */
typedef struct writer {
    ql_ctx *cx;
    json_t *root;
    bool ok;
} writer;

static void
put_text(writer *w, json_t *object, const char *key, const char *text)
{
    json_t *value = text ? json_string(text) : json_null();

    if (!value) /* no UTF-8: a path may hold any bytes */
        value = json_string("(not UTF-8)");
    w->ok = json_object_set_new(object, key, value) == 0 && w->ok;
}

static void
put_int(writer *w, json_t *object, const char *key, uint64_t value)
{
    char text[32];

    if (value > INT64_MAX) { /* JSON readers know no larger integers */
        snprintf(text, sizeof text, "%" PRIu64, value);
        put_text(w, object, key, text);
        return;
    }
    w->ok = json_object_set_new(object, key, json_integer((json_int_t)value)) == 0 && w->ok;
}

static json_t *
put_list(writer *w, const char *key)
{
    json_t *list = json_array();

    w->ok = json_object_set_new(w->root, key, list) == 0 && w->ok;
    return list;
}

static json_t *
put_object(writer *w, json_t *list)
{
    json_t *object = json_object();

    w->ok = json_array_append_new(list, object) == 0 && w->ok;
    return object;
}

static ql_status
put_hash(writer *w, json_t *object, const char *path, size_t limit)
{
    uint64_t hash[2];
    const char *text;

    QL_TRY(w->cx, ql_hash_file(w->cx, path, limit, hash));
    text = ql_hash_text(w->cx, hash);
    if (!text)
        return QL_MEMORY;
    put_text(w, object, "xxh128", text);
    return QL_OK;
}

static ql_status
put_file(writer *w, json_t *list, const char *path, size_t limit)
{
    json_t *object = put_object(w, list);

    put_text(w, object, "file", path);
    return put_hash(w, object, path, limit);
}

/* Length of a safetensors header with what is in front of it: it names every tensor, and reading gigabytes would cost
 * more than the run may take. */
static ql_status
header_bytes(ql_ctx *cx, const char *path, size_t *out)
{
    unsigned char length[HEADER_LENGTH];
    FILE *f = fopen(path, "rb");
    uint64_t n = 0;
    bool ok = f && fread(length, 1, sizeof length, f) == sizeof length;

    if (f)
        (void)fclose(f);
    if (!ok)
        return QL_FAIL(cx, QL_IO, "%s: %s", path, f ? "shorter than a safetensors header" : strerror(errno));
    for (int i = HEADER_LENGTH; i-- > 0;)
        n = n << 8 | length[i];
    *out = n < SIZE_MAX - HEADER_LENGTH ? (size_t)n + HEADER_LENGTH : SIZE_MAX;
    return QL_OK;
}

static ql_status
put_folder(writer *w, json_t *list, const char *folder)
{
    const char **names;
    int64_t count;
    ql_status st = ql_model_files(w->cx, folder, &names, &count);

    for (int64_t i = 0; i < count && st == QL_OK; i++) {
        size_t limit = SIZE_MAX;

        if (ql_ends_with(names[i], ".safetensors"))
            st = header_bytes(w->cx, names[i], &limit);
        if (st == QL_OK)
            st = put_file(w, list, names[i], limit);
    }
    free(names);
    return st;
}

/* Every path that a stage's parameters name and that is there: what is not there is an output, or optional. */
static ql_status
put_inputs(writer *w, const ql_graph *g)
{
    json_t *list = put_list(w, "inputs"), *seen = json_object();
    ql_status st = QL_OK;

    for (int64_t i = 0; i < g->node_count; i++) {
        const ql_node *n = g->nodes[i];

        for (const ql_param *p = n->plugin->params; p && p->type != QL_T_END && st == QL_OK; p++) {
            const char *path = p->type == QL_T_PATH ? *(const char *const *)((const char *)n->self + p->offset) : NULL;
            ql_path_info at;

            if (!path || json_object_get(seen, path))
                continue;
            w->ok = json_object_set_new_nocheck(seen, path, json_true()) == 0 && w->ok;
            st = ql_path_look(w->cx, path, &at);
            if (st == QL_OK && at.type == QL_PATH_FOLDER)
                st = put_folder(w, list, path);
            else if (st == QL_OK && at.type != QL_PATH_NONE)
                st = put_file(w, list, path, SIZE_MAX);
        }
    }
    json_decref(seen);
    return st;
}

static ql_status
put_plugins(writer *w, const ql_graph *g, ql_registry *registry)
{
    json_t *list = put_list(w, "plugins");

    for (int64_t i = 0; i < g->node_count; i++) {
        const ql_plugin *p = g->nodes[i]->plugin;
        const ql_found *found = ql_registry_find(registry, p->name);
        bool first = true;
        json_t *object;

        for (int64_t k = 0; k < i; k++)
            first = first && g->nodes[k]->plugin != p;
        if (!first)
            continue;
        object = put_object(w, list);
        put_text(w, object, "name", p->name);
        put_text(w, object, "kind", ql_kind_name(p->kind));
        put_text(w, object, "version", p->version);
        if (found && found->file) {
            put_text(w, object, "file", found->file);
            QL_TRY(w->cx, put_hash(w, object, found->file, SIZE_MAX));
        }
    }
    return QL_OK;
}

static ql_status
fill(writer *w, const ql_graph *g, const ql_manifest *m)
{
    json_t *list, *abi;

    put_text(w, w->root, "qloom", ql_version());
    abi = json_sprintf("%d.%d", QL_ABI_MAJOR, QL_ABI_MINOR);
    w->ok = json_object_set_new(w->root, "abi", abi) == 0 && w->ok;
    put_text(w, w->root, "pipeline", g->file);
    put_text(w, w->root, "device", m->device);
    put_int(w, w->root, "threads", (uint64_t)m->threads);
    put_int(w, w->root, "seed", g->seed);
    list = put_list(w, "command");
    for (int i = 0; i < m->argc; i++) {
        json_t *argument = json_string(m->argv[i]);

        w->ok = json_array_append_new(list, argument ? argument : json_string("(not UTF-8)")) == 0 && w->ok;
    }
    QL_TRY(w->cx, put_plugins(w, g, m->registry));
    return put_inputs(w, g);
}

ql_status
ql_folder_manifest(ql_ctx *cx, const ql_folder *f, const ql_graph *g, const ql_manifest *m)
{
    writer w = {.cx = cx, .root = json_object(), .ok = true};
    char *text = NULL;
    ql_scope scope;
    ql_status st;

    ql_scope_open(cx, &scope);
    st = fill(&w, g, m);
    if (st == QL_OK)
        text = w.ok ? json_dumps(w.root, JSON_INDENT(2)) : NULL;
    if (st == QL_OK && !text)
        st = QL_FAIL(cx, QL_MEMORY, "no memory for the manifest");
    if (st == QL_OK) {
        const char *path = ql_format(cx, "%s/manifest.json", f->path), *file = ql_format(cx, "%s\n", text);

        st = path && file ? ql_file_write(cx, path, file, strlen(file)) : QL_MEMORY;
    }
    free(text);
    json_decref(w.root);
    ql_scope_close(cx, &scope);
    return st;
}
