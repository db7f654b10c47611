/* Content keys. Each is the hash of a text that lists what decides: code, device, parameters, seeds, and the keys of inputs. Where a
 * parameter is a path, the text has the hash of what lies there. */
#include <inttypes.h>
#include <string.h>

#include <qloom/tokenizer.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/printer.h"
#include "device/device.h"
#include "plugin/registry.h"
#include "store/content.h"
#include "walk.h"

typedef struct maker {
    ql_ctx *cx;
    const ql_registry *registry;
    const ql_graph *graph;
    const ql_store *store;
    ql_key world;  /* core, backend, device and chunks */
    ql_key *nodes; /* [node_count of the graph] */
    const ql_seen *seen;
} maker;

/* Closes the printer and hashes its text; `st` is that of the printing. */
static ql_status
finish(ql_ctx *cx, ql_printer *p, ql_status st, ql_key *out)
{
    const char *text;

    QL_TRY(cx, ql_printer_close(cx, p, &text));
    if (st == QL_OK)
        ql_hash_bytes(text, strlen(text), out->half);
    return st;
}

static void
put_key(FILE *out, const char *name, ql_key key)
{
    fprintf(out, "%s %016" PRIx64 "%016" PRIx64 "\n", name, key.half[0], key.half[1]);
}

/* --- code and device --- */

/* A plugin that came in memory is part of this program, whose hash is in every key. */
static ql_status
put_plugin(maker *m, FILE *out, const ql_found *found)
{
    bool file;
    ql_key key;

    QL_TRY(m->cx, ql_is_file(m->cx, found ? found->file : "", &file));
    if (!file)
        return QL_OK;
    QL_TRY(m->cx, ql_content_hash(m->cx, m->store, found->file, NULL, &key));
    put_key(out, "code", key);
    return QL_OK;
}

static const ql_found *
backend_of(const ql_registry *r, const ql_device *d)
{
    for (int64_t i = 0; i < ql_registry_count(r); i++) {
        const ql_found *f = ql_registry_item(r, i);

        if (f->plugin && f->plugin->kind == QL_BACKEND && f->plugin->backend == d->backend)
            return f;
    }
    return NULL;
}

/* What decides the bits of everything: this program, the device, and how tokens are cut into chunks. */
static ql_status
make_world(maker *m)
{
    const ql_device *d = m->cx->device;
    const char *unicode = ql_tokenizer_unicode(m->cx);
    ql_printer p;
    ql_key core;
    ql_status st;

    if (!unicode)
        return QL_MEMORY;
    QL_TRY(m->cx, ql_content_core(m->cx, m->store, &core));
    QL_TRY(m->cx, ql_printer_open(m->cx, &p));
    put_key(p.out, "core", core);
    fprintf(p.out, "unicode %s\n", unicode);
    fprintf(p.out, "device %s %s\n", d->backend->device, d->info.name);
    fprintf(p.out, "compute %s\n", ql_dtype_name(d->info.compute_dtype));
    fprintf(p.out, "chunk_tokens %" PRId64 "\n", m->graph->chunk_tokens);
    st = put_plugin(m, p.out, backend_of(m->registry, d));
    return finish(m->cx, &p, st, &m->world);
}

/* --- nodes --- */

static ql_status
put_parameters(maker *m, FILE *out, const ql_plugin *plugin, const void *self)
{
    for (const ql_param *row = plugin->params; row->type != QL_T_END; row++) {
        const char *text = ql_param_print(m->cx, row, self), *path = NULL;
        ql_path_info at = {.type = QL_PATH_NONE};
        ql_key key;

        if (!text)
            return QL_MEMORY;
        if (row->aside)
            continue;
        if (row->type == QL_T_PATH)
            memcpy(&path, (const char *)self + row->offset, sizeof path);
        if (path)
            QL_TRY(m->cx, ql_path_look(m->cx, path, &at));
        if (at.type != QL_PATH_NONE) {
            QL_TRY(m->cx, ql_content_hash(m->cx, m->store, path, &m->seen, &key));
            put_key(out, row->name, key);
        } else {
            fprintf(out, "%s=%zu:%s\n", row->name, strlen(text), text);
        }
    }
    return QL_OK;
}

/* A file of data that no parameter names. */
static ql_status
put_own_file(maker *m, FILE *out, const ql_node *n)
{
    const char *file = NULL;
    ql_key key;

    if (n->plugin->kind == QL_DATA && n->plugin->data->file)
        QL_TRY(m->cx, n->plugin->data->file(m->cx, n->self, &file));
    if (!file)
        return QL_OK;
    QL_TRY(m->cx, ql_content_hash(m->cx, m->store, file, &m->seen, &key));
    put_key(out, "file", key);
    return QL_OK;
}

/* What the node is by itself, without its inputs. */
static ql_status
put_node(maker *m, FILE *out, const ql_node *n)
{
    put_key(out, "world", m->world);
    fprintf(out, "plugin %s %s\nseed %" PRIu64 "\npropagate %d\n", n->plugin->name,
            n->plugin->version ? n->plugin->version : "", n->plugin->kind == QL_MODEL ? 0 : n->seed, (int)n->propagate);
    QL_TRY(m->cx, put_plugin(m, out, ql_registry_find(m->registry, n->plugin->name)));
    QL_TRY(m->cx, put_parameters(m, out, n->plugin, n->self));
    QL_TRY(m->cx, put_own_file(m, out, n));
    for (int64_t i = 0; i < n->override_count; i++) {
        const ql_override *o = &n->overrides[i];

        fprintf(out, "override %zu:%s%s\n", strlen(o->match), o->match, o->skip ? " skip" : "");
        if (!o->skip)
            QL_TRY(m->cx, put_parameters(m, out, n->plugin, o->self));
    }
    return QL_OK;
}

static ql_status
make_node(maker *m, const ql_node *n, ql_key *out)
{
    const ql_node *real = ql_plan_resolve(n);
    ql_printer p;
    ql_status st;

    if (real != n) {
        *out = m->nodes[real->id];
        return QL_OK;
    }
    QL_TRY(m->cx, ql_printer_open(m->cx, &p));
    st = put_node(m, p.out, n);
    for (int64_t i = 0; i < n->input_count; i++)
        put_key(p.out, n->inputs[i].port, m->nodes[n->inputs[i].from->id]);
    return finish(m->cx, &p, st, out);
}

/* --- variants and sinks --------------------------------------------------------------------------------------- */

/* A stage's node key has those of all its inputs; a joint quantizer's results depend on its heir, too. */
static void
make_variant(const maker *m, ql_variant *v)
{
    const ql_key both[2] = {m->nodes[v->stage->id], v->heir ? m->nodes[v->heir->id] : (ql_key){{0, 0}}};

    v->key = both[0];
    if (v->heir)
        ql_hash_bytes(both, sizeof both, v->key.half);
}

static ql_status
make_sink(maker *m, ql_sink *s)
{
    ql_printer p;
    ql_status st;

    QL_TRY(m->cx, ql_printer_open(m->cx, &p));
    st = put_node(m, p.out, s->stage);
    for (int64_t i = 0; i < s->stage->input_count; i++)
        if (strcmp(s->stage->inputs[i].port, "model") != 0) /* the variant is that, also for the original's twin */
            put_key(p.out, s->stage->inputs[i].port, m->nodes[s->stage->inputs[i].from->id]);
    for (const ql_variant *v = s->of; v; v = v->parent)
        put_key(p.out, "model", v->key);
    return finish(m->cx, &p, st, &s->key);
}

ql_status
ql_keys_make(ql_ctx *cx, const ql_registry *registry, const ql_graph *g, const ql_store *store, ql_plan *plan)
{
    maker m = {.cx = cx, .registry = registry, .graph = g, .store = store};

    m.nodes = ql_alloc(cx, (size_t)g->node_count, sizeof *m.nodes);
    if (!m.nodes)
        return QL_MEMORY;
    QL_TRY(cx, make_world(&m));
    for (int64_t i = 0; i < g->node_count; i++)
        QL_TRY(cx, make_node(&m, g->nodes[i], &m.nodes[i]));
    for (int64_t i = 0; i < plan->variant_count; i++)
        make_variant(&m, plan->variants[i]);
    for (int64_t i = 0; i < plan->sink_count; i++)
        QL_TRY(cx, make_sink(&m, &plan->sinks[i]));
    plan->inputs = m.seen;
    return QL_OK;
}
