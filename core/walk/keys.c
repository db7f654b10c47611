/* Content keys. Each is the hash of a text that lists what decides: code, device, parameters, seeds, and the keys of inputs. Where a
 * parameter is a path, the text has the hash of what lies there. */
#include "keys.h"

#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/printer.h"
#include "device/device.h"
#include "store/content.h"

typedef struct maker {
    ql_ctx *cx;
    const ql_keys_in *in;
    ql_key world;  /* core, backend, device and chunks */
    ql_key *nodes; /* [node_count of the graph] */
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
    ql_key key;

    if (!found || !ql_is_file(found->file))
        return QL_OK;
    QL_TRY(m->cx, ql_content_hash(m->cx, m->in->store, found->file, &key));
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
    ql_printer p;
    ql_key core;
    ql_status st;

    QL_TRY(m->cx, ql_content_core(m->cx, m->in->store, &core));
    QL_TRY(m->cx, ql_printer_open(m->cx, &p));
    put_key(p.out, "core", core);
    fprintf(p.out, "device %s %s\n", d->backend->device, d->info.name);
    fprintf(p.out, "compute %s\n", ql_dtype_name(d->info.compute_dtype));
    fprintf(p.out, "chunk_tokens %" PRId64 "\n", m->in->graph->chunk_tokens);
    st = put_plugin(m, p.out, backend_of(m->in->registry, d));
    return finish(m->cx, &p, st, &m->world);
}

/* --- nodes --- */

static ql_status
put_parameters(maker *m, FILE *out, const ql_plugin *plugin, const void *self)
{
    for (const ql_param *row = plugin->params; row->type != QL_T_END; row++) {
        const char *text = ql_param_print(m->cx, row, self), *path = NULL;
        ql_key key;

        if (!text)
            return QL_MEMORY;
        if (row->type == QL_T_PATH)
            memcpy(&path, (const char *)self + row->offset, sizeof path);
        if (path && (ql_is_file(path) || ql_is_folder(path))) {
            QL_TRY(m->cx, ql_content_hash(m->cx, m->in->store, path, &key));
            put_key(out, row->name, key);
        } else {
            fprintf(out, "%s=%zu:%s\n", row->name, strlen(text), text);
        }
    }
    return QL_OK;
}

/* What the node is by itself, without its inputs. */
static ql_status
put_node(maker *m, FILE *out, const ql_node *n)
{
    put_key(out, "world", m->world);
    fprintf(out, "plugin %s %s\nseed %" PRIu64 "\npropagate %d\n", n->plugin->name,
            n->plugin->version ? n->plugin->version : "", n->plugin->kind == QL_MODEL ? 0 : n->seed, (int)n->propagate);
    QL_TRY(m->cx, put_plugin(m, out, ql_registry_find(m->in->registry, n->plugin->name)));
    QL_TRY(m->cx, put_parameters(m, out, n->plugin, n->self));
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

/* --- units and evaluations --- */

/* A joint quantizer's results depend on the compensator that it is one with. */
static ql_key
unit_key(const maker *m, const ql_unit *u)
{
    const ql_unit *partner = ql_plan_partner(m->in->plan, u);
    const ql_key both[2] = {m->nodes[u->node->id], partner ? m->nodes[partner->node->id] : (ql_key){{0, 0}}};
    ql_key key = both[0];

    if (partner)
        ql_hash_bytes(both, sizeof both, key.half);
    return key;
}

static ql_status
make_eval(maker *m, const ql_keys *keys, const ql_eval *e, ql_key *out)
{
    const ql_path *path = &m->in->plan->paths[e->path];
    ql_printer p;
    ql_status st;

    QL_TRY(m->cx, ql_printer_open(m->cx, &p));
    st = put_node(m, p.out, e->node);
    for (int64_t i = 0; i < e->node->input_count; i++)
        if (strcmp(e->node->inputs[i].port, "model") != 0) /* the path is that, also for the original's twin */
            put_key(p.out, e->node->inputs[i].port, m->nodes[e->node->inputs[i].from->id]);
    put_key(p.out, "original", m->nodes[m->in->plan->root->id]);
    if (path->quantizer)
        put_key(p.out, "quantizer", keys->units[path->quantizer->id]);
    if (path->compensator)
        put_key(p.out, "compensator", keys->units[path->compensator->id]);
    if (path->written)
        put_key(p.out, "written", m->nodes[path->written->id]);
    return finish(m->cx, &p, st, out);
}

static ql_status
make_keys(maker *m, ql_keys *out)
{
    const ql_graph *g = m->in->graph;
    const ql_plan *plan = m->in->plan;

    QL_TRY(m->cx, make_world(m));
    for (int64_t i = 0; i < g->node_count; i++)
        QL_TRY(m->cx, make_node(m, g->nodes[i], &m->nodes[i]));
    for (int64_t i = 0; i < plan->unit_count; i++)
        out->units[i] = unit_key(m, plan->units[i]);
    for (int64_t i = 0; i < plan->eval_count; i++)
        QL_TRY(m->cx, make_eval(m, out, &plan->evals[i], &out->evals[i]));
    return QL_OK;
}

ql_status
ql_keys_make(ql_ctx *cx, const ql_keys_in *in, ql_keys *out)
{
    maker m = {.cx = cx, .in = in};

    m.nodes = ql_alloc(cx, (size_t)in->graph->node_count, sizeof *m.nodes);
    out->units = ql_alloc(cx, (size_t)in->plan->unit_count, sizeof *out->units);
    out->evals = ql_alloc(cx, (size_t)in->plan->eval_count, sizeof *out->evals);
    if (!m.nodes || !out->units || !out->evals)
        return QL_MEMORY;
    return make_keys(&m, out);
}
