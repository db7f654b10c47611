/* manifest.json: everything that decided the numbers of a run, so that it can be repeated and told from another. */
#include "folder.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qloom/json.h>
#include <qloom/qloom.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/printer.h"
#include "store/content.h"

#define HEADER_LENGTH 8 /* bytes in front of a safetensors header that hold its length */

/* Length of a safetensors header with what is in front of it: it names every tensor, and reading gigabytes would cost
 * more than the run may take. A file that has none is read whole here, and refused where it is opened. */
static ql_status
header_bytes(ql_ctx *cx, const char *path, size_t *out)
{
    unsigned char length[HEADER_LENGTH];
    struct stat st;
    uint64_t n = 0;
    ssize_t got;
    int fd;

    *out = SIZE_MAX;
    QL_TRY(cx, ql_file_open(cx, path, &fd, &st));
    got = pread(fd, length, sizeof length, 0);
    close(fd);
    if (got != (ssize_t)sizeof length)
        return QL_OK;
    for (int i = HEADER_LENGTH; i-- > 0;)
        n = n << 8 | length[i];
    if (n < SIZE_MAX - HEADER_LENGTH)
        *out = (size_t)n + HEADER_LENGTH;
    return QL_OK;
}

/* Members "file" and "xxh128" of the object that is open. */
static ql_status
put_file(ql_json_writer *w, const char *path)
{
    size_t limit = SIZE_MAX;
    uint64_t hash[2];
    const char *text;

    if (ql_ends_with(path, ".safetensors"))
        QL_TRY(w->cx, header_bytes(w->cx, path, &limit));
    QL_TRY(w->cx, ql_hash_file(w->cx, path, limit, hash));
    text = ql_hash_text(w->cx, hash);
    if (!text)
        return QL_MEMORY;
    ql_json_put_text(w, "file", path);
    ql_json_put_text(w, "xxh128", text);
    return QL_OK;
}

static ql_status
put_input(ql_json_writer *w, const char *path)
{
    ql_json_put_open(w, NULL, '{', QL_JSON_LINES);
    QL_TRY(w->cx, put_file(w, path));
    ql_json_put_close(w);
    return QL_OK;
}

/* A file, or those of a model folder; what is not there is an output, or optional. */
static ql_status
put_path(ql_json_writer *w, const char *path)
{
    const char **names = NULL;
    int64_t count = 0;
    ql_path_info info;
    ql_status st;

    QL_TRY(w->cx, ql_path_look(w->cx, path, &info));
    if (info.type == QL_PATH_NONE)
        return QL_OK;
    if (info.type != QL_PATH_FOLDER)
        return put_input(w, path);
    st = ql_model_files(w->cx, path, &names, &count);
    for (int64_t i = 0; i < count && st == QL_OK; i++)
        st = put_input(w, names[i]);
    free(names);
    return st;
}

typedef struct list { /* what has been written already */
    const void **items;
    int64_t count;
} list;

/* True for the first time; texts are compared as such. */
static bool
is_new(list *seen, const void *item, bool text)
{
    for (int64_t i = 0; i < seen->count; i++)
        if (seen->items[i] == item || (text && strcmp(seen->items[i], item) == 0))
            return false;
    seen->items[seen->count++] = item;
    return true;
}

static ql_status
open_list(ql_ctx *cx, const ql_graph *g, list *out)
{
    int64_t most = g->node_count;

    for (int64_t i = 0; i < g->node_count; i++)
        for (const ql_param *p = g->nodes[i]->plugin->params; p && p->type != QL_T_END; p++)
            most += p->type == QL_T_PATH;
    *out = (list){.items = ql_alloc(cx, (size_t)most, sizeof *out->items)};
    return out->items ? QL_OK : QL_MEMORY;
}

/* Every path that a stage's parameters name. */
static ql_status
put_inputs(ql_json_writer *w, const ql_graph *g)
{
    list seen;

    QL_TRY(w->cx, open_list(w->cx, g, &seen));
    ql_json_put_open(w, "inputs", '[', QL_JSON_LINES);
    for (int64_t i = 0; i < g->node_count; i++) {
        const ql_node *n = g->nodes[i];

        for (const ql_param *p = n->plugin->params; p && p->type != QL_T_END; p++) {
            const char *path = p->type == QL_T_PATH ? ql_param_text(n->plugin, n->self, p->name) : "";

            if (*path && is_new(&seen, path, true))
                QL_TRY(w->cx, put_path(w, path));
        }
    }
    ql_json_put_close(w);
    return QL_OK;
}

static ql_status
put_plugins(ql_json_writer *w, const ql_graph *g, const ql_registry *registry)
{
    list seen;

    QL_TRY(w->cx, open_list(w->cx, g, &seen));
    ql_json_put_open(w, "plugins", '[', QL_JSON_LINES);
    for (int64_t i = 0; i < g->node_count; i++) {
        const ql_plugin *p = g->nodes[i]->plugin;
        const ql_found *found = ql_registry_find(registry, p->name);

        if (!is_new(&seen, p, false))
            continue;
        ql_json_put_open(w, NULL, '{', QL_JSON_LINES);
        ql_json_put_text(w, "name", p->name);
        ql_json_put_text(w, "kind", ql_kind_name(p->kind));
        ql_json_put_text(w, "version", p->version);
        if (found && found->file)
            QL_TRY(w->cx, put_file(w, found->file));
        ql_json_put_close(w);
    }
    ql_json_put_close(w);
    return QL_OK;
}

static ql_status
put_manifest(ql_json_writer *w, const ql_graph *g, const ql_manifest *m)
{
    const char *abi = ql_format(w->cx, "%d.%d", QL_ABI_MAJOR, QL_ABI_MINOR);
    const char *seed = ql_format(w->cx, "%" PRIu64, g->seed);

    if (!abi || !seed)
        return QL_MEMORY;
    ql_json_put_open(w, NULL, '{', QL_JSON_LINES);
    ql_json_put_text(w, "qloom", ql_version());
    ql_json_put_text(w, "abi", abi);
    ql_json_put_text(w, "pipeline", g->file);
    ql_json_put_text(w, "device", m->device);
    ql_json_put_int(w, "threads", m->threads);
    if (g->seed <= INT64_MAX)
        ql_json_put_int(w, "seed", (int64_t)g->seed);
    else /* JSON readers know no larger integers */
        ql_json_put_text(w, "seed", seed);
    ql_json_put_open(w, "command", '[', QL_JSON_LINES);
    for (int i = 0; i < m->argc; i++)
        ql_json_put_text(w, NULL, m->argv[i]);
    ql_json_put_close(w);
    QL_TRY(w->cx, put_plugins(w, g, m->registry));
    QL_TRY(w->cx, put_inputs(w, g));
    ql_json_put_close(w);
    return ql_json_put_end(w);
}

ql_status
ql_folder_manifest(ql_ctx *cx, const ql_folder *f, const ql_graph *g, const ql_manifest *m)
{
    const char *path = ql_format(cx, "%s/manifest.json", f->path), *text;
    ql_json_writer w = {.cx = cx};
    ql_printer p;
    ql_status st, closed;

    if (!path)
        return QL_MEMORY;
    QL_TRY(cx, ql_printer_open(cx, &p));
    w.out = p.out;
    st = put_manifest(&w, g, m);
    fputc('\n', p.out);
    closed = ql_printer_close(cx, &p, &text);
    QL_TRY(cx, st == QL_OK ? closed : st);
    return ql_file_write(cx, path, text, strlen(text));
}
