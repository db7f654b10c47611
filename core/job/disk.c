/* What a run writes and where, against what the disks have free, before anything starts. */
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "device/device.h"
#include "store/store.h"
#include "walk/walk.h"
#include "job.h"

#define RUN_BYTES 1e6       /* of a run folder and its part of results.db */
#define CELL_BYTES 20e3     /* of a cell in them */
#define LINEAR_BYTES 1300.0 /* of an entry's names and numbers beside the tensors, a linear */
#define UNKNOWN_BITS 8      /* of codes whose method does not say */

const char *
ql_job_cache(ql_job *job)
{
    return job->graph.cache ? job->graph.cache : ql_format(&job->cx, "%s/" QL_CACHE_DEFAULT, job->info.runs);
}

/* --- what a walk writes ------------------------------------------------------------------------------------------ */

/* Codes and zeros at their width, and scales. */
static double
code_bytes(const ql_grid *g, double rows, double cols)
{
    const double bits = g->bits ? g->bits : UNKNOWN_BITS, scale = g->scale_dtype == QL_F32 ? 4 : 2;
    const double groups = g->group > 0 ? cols / (double)g->group : 1;

    return rows * (cols * bits / 8 + groups * (scale + bits / 8));
}

/* What stage `n` alone puts into the cache of a linear or, with an exporter, what that writes of it. */
static double
linear_bytes(const ql_node *n, const ql_exporter *x, const char *name, const ql_linear_info *info)
{
    const ql_outcome o = ql_node_outcome(n, name, info->in);
    const double rows = (double)info->out, cols = (double)info->in;
    const double adapter = o.rank > 0 ? 2 * o.rank * (rows + cols) : 0;
    const double codes = o.skipped ? 0 : code_bytes(&o.grid, rows, cols);
    const ql_compensator *c = n->plugin->kind == QL_COMPENSATOR ? n->plugin->compensator : NULL;

    if (!x)
        return LINEAR_BYTES + adapter + (n->plugin->kind == QL_QUANTIZER || (c && c->couples) ? codes : 0);
    if (x->writes == QL_WRITES_ADAPTERS)
        return adapter;
    return x->writes == QL_WRITES_CODES && !o.skipped ? codes : 2 * rows * cols;
}

/* The same over all linears of all blocks; `most`: of a block. */
static ql_status
sum_linears(ql_ctx *cx, const ql_variant *v, const ql_model_info *m, const ql_exporter *x, double *sum, double *most)
{
    *sum = *most = 0;
    for (int64_t layer = 0; layer < m->layers; layer++) {
        double block = 0;

        for (int l = 0; l < m->linear_count; l++) {
            const char *name;
            ql_scope scope;

            ql_scope_open(cx, &scope);
            name = ql_name_in_block(cx, m, layer, m->linears[l].name);
            if (!name)
                return QL_MEMORY;
            block += linear_bytes(v->stage, x, name, &m->linears[l]);
            ql_scope_close(cx, &scope);
        }
        *sum += block;
        *most = block > *most ? block : *most;
    }
    return QL_OK;
}

/* Bytes of the model's tensors beside its linears, as its files have them. */
static double
rest_bytes(const ql_model_handle *m)
{
    const ql_model_info *info = &m->info;
    const char *const ends[] = {info->embed, info->norm, info->tied ? NULL : info->head};
    double bytes = 0;

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const ql_st_tensor *t = ends[i] ? ql_source_find(m->source, ends[i]) : NULL;

        bytes += t ? (double)t->bytes : 0;
    }
    for (int i = 0; i < info->small_count; i++)
        bytes += 4 * (double)info->layers * (double)info->smalls[i].size;
    return bytes;
}

/* What linears become is put aside until all are there, and then written once more. */
static ql_status
add_export(ql_job *job, const ql_sink *s, const ql_model_handle *m, ql_forecast_export *out)
{
    const ql_exporter *x = s->stage->plugin->exporter;
    const char *path = ql_param_text(s->stage->plugin, s->stage->self, "path");
    double block;

    QL_TRY(&job->cx, sum_linears(&job->cx, s->of, &m->info, x, &out->bytes, &block));
    out->bytes = 2 * out->bytes + (x->writes == QL_WRITES_ADAPTERS ? 0 : rest_bytes(m));
    out->stage = s->stage->name;
    out->help = s->stage->plugin->help;
    out->folder = *path == '/' ? path : ql_format(&job->cx, "%s/%s", job->info.folder, *path ? path : s->stage->name);
    return out->folder ? QL_OK : QL_MEMORY;
}

/* Which part of the blocks of node `key` the cache has. */
static double
stored_part(const ql_disk *d, ql_key key, int64_t layers)
{
    for (int64_t i = 0; i < d->item_count; i++)
        if (memcmp(&d->items[i].key, &key, sizeof key) == 0 && d->items[i].blocks < layers)
            return (double)d->items[i].blocks / (double)layers;
        else if (memcmp(&d->items[i].key, &key, sizeof key) == 0)
            return 1;
    return 0;
}

ql_status
ql_disk_add(ql_job *job, const ql_plan *walk, const ql_model_handle *m, bool keyed, ql_disk *d)
{
    ql_ctx *cx = &job->cx;
    double cache = 0, known = 0;

    for (int64_t i = 0; i < ql_source_count(m->source); i++)
        d->model += (double)ql_source_item(m->source, i)->bytes;
    for (int64_t i = 0; i < walk->variant_count; i++) {
        ql_variant *v = walk->variants[i];
        double bytes, block;

        if (!ql_variant_is_made(v))
            continue;
        QL_TRY(cx, sum_linears(cx, v, &m->info, NULL, &bytes, &block));
        cache += bytes;
        d->entry = block > d->entry ? block : d->entry;
        known += keyed ? bytes * stored_part(d, v->key, m->info.layers) : 0;
    }
    if (!keyed)
        known = d->stored < cache ? d->stored : cache;
    for (int64_t i = 0; i < walk->sink_count; i++)
        if (walk->sinks[i].stage->plugin->kind == QL_EXPORTER)
            QL_TRY(cx, add_export(job, &walk->sinks[i], m, &d->exports[d->export_count++]));
    if (job->graph.cache_needed && d->cache - d->known > cache - known) /* blocks of one walk at a time */
        return QL_OK;
    d->cache = job->graph.cache_needed ? cache : d->cache + cache;
    d->known = job->graph.cache_needed ? known : d->known + known;
    return QL_OK;
}

/* --- what there is room for -------------------------------------------------------------------------------------- */

ql_status
ql_disk_open(ql_job *job, ql_disk *out)
{
    const ql_store store = {.folder = ql_job_cache(job)};

    *out = (ql_disk){.exports = ql_alloc(&job->cx, (size_t)job->graph.node_count, sizeof *out->exports)};
    if (!store.folder || !out->exports)
        return QL_MEMORY;
    QL_TRY(&job->cx, ql_store_list(&job->cx, &store, &out->items, &out->item_count));
    for (int64_t i = 0; i < out->item_count; i++)
        out->stored += (double)out->items[i].bytes;
    return QL_OK;
}

void
ql_disk_close(ql_disk *d)
{
    free(d->items);
    d->items = NULL;
}

typedef struct load { /* what goes to one disk */
    const char *path; /* of the first of it */
    dev_t disk;
    double planned, free;
    const char *parts; /* "19.4 GiB for the cache, 1.0 MiB for the run folder" */
} load;

static ql_status
put_load(ql_ctx *cx, load *loads, int64_t *count, const char *path, const char *what, double bytes)
{
    char text[32];
    load *at = loads;
    dev_t disk;
    double room;

    QL_TRY(cx, ql_path_room(cx, path, &disk, &room));
    while (at < loads + *count && at->disk != disk)
        at++;
    if (at == loads + *count) {
        *at = (load){.path = path, .disk = disk, .free = room, .parts = ""};
        ++*count;
    }
    at->planned += bytes;
    at->parts = ql_format(cx, "%s%s%s for %s", at->parts, *at->parts ? ", " : "",
                          ql_bytes_text((size_t)bytes, text, sizeof text), what);
    return at->parts ? QL_OK : QL_MEMORY;
}

/* A line for a disk that is too small. */
static ql_status
put_full(ql_job *job, const ql_disk *d, const load *at, bool cached, const char **full)
{
    ql_ctx *cx = &job->cx;
    const double old = cached && d->known < d->stored ? d->stored - d->known : 0;
    char planned[32], room[32], earlier[32];
    const char *freed = "";

    ql_bytes_text((size_t)at->planned, planned, sizeof planned);
    ql_bytes_text((size_t)at->free, room, sizeof room);
    if (old > 0)
        freed = ql_format(cx, "; up to %s of earlier work could be freed there: `qloom cache list --cache %s`, by age",
                          ql_bytes_text((size_t)old, earlier, sizeof earlier), ql_job_cache(job));
    *full = !freed ? NULL
                   : ql_format(cx, "%s%s%s: the disk lacks room: the run writes about %s (%s), and %s are free%s",
                               *full ? *full : "", *full ? "\n" : "", at->path, planned, at->parts, room, freed);
    return *full ? QL_OK : QL_MEMORY;
}

ql_status
ql_disk_look(ql_job *job, const ql_disk *d, const char **full)
{
    ql_ctx *cx = &job->cx;
    load *loads = ql_alloc(cx, (size_t)d->export_count + 3, sizeof *loads);
    const double run = RUN_BYTES + CELL_BYTES * (double)job->graph.cell_count;
    const double more = d->known < d->cache ? d->cache - d->known : 0;
    const char *cache = ql_job_cache(job);
    int64_t count = 0;

    *full = NULL;
    if (!loads || !cache)
        return QL_MEMORY;
    QL_TRY(cx, put_load(cx, loads, &count, cache, "the cache", more));
    QL_TRY(cx, put_load(cx, loads, &count, job->info.folder, "the run folder", run));
    if (d->waiting > 0)
        QL_TRY(cx, put_load(cx, loads, &count, job->graph.spill ? job->graph.spill : cache, "hidden states that wait",
                            d->waiting));
    for (int64_t i = 0; i < d->export_count; i++) {
        const ql_forecast_export *e = &d->exports[i];
        const char *what = ql_format(cx, "stage '%s'", e->stage);

        if (!what)
            return QL_MEMORY;
        QL_TRY(cx, put_load(cx, loads, &count, e->folder, what, e->bytes));
    }
    for (int64_t i = 0; i < count; i++)
        if (loads[i].planned > loads[i].free)
            QL_TRY(cx, put_full(job, d, &loads[i], i == 0, full));
    return QL_OK;
}

/* --- all of it --------------------------------------------------------------------------------------------------- */

/* `store` NULL: no keys are made. Warnings about the model come from who walks over it. */
static ql_status
add_root(ql_job *job, const ql_store *store, const ql_node *root, ql_disk *d)
{
    ql_ctx *cx = &job->cx;
    const ql_log *log = cx->log;
    ql_model_handle model = {0};
    ql_plan walk;
    ql_status st;

    QL_TRY(cx, ql_plan_make(cx, &job->graph, root, &walk));
    cx->log = NULL;
    st = ql_model_open(cx, job->registry, root->plugin, root->self, ql_param_text(root->plugin, root->self, "path"),
                       &model);
    cx->log = log;
    if (st != QL_OK && st != QL_MEMORY && st != QL_INTERRUPTED) {
        ql_error_clear(cx);
        return QL_OK;
    }
    if (st == QL_OK && store)
        st = ql_keys_make(cx, job->registry, &job->graph, store, &walk);
    if (st == QL_OK)
        st = ql_disk_add(job, &walk, &model, store != NULL, d);
    ql_model_close(&model);
    return st;
}

ql_status
ql_disk_survey(ql_job *job, ql_disk *out)
{
    ql_ctx *cx = &job->cx;
    const ql_graph *g = &job->graph;
    const char *folder = ql_job_cache(job);
    ql_store store;

    QL_TRY(cx, ql_disk_open(job, out));
    if (cx->device)
        QL_TRY(cx, ql_store_open(cx, folder, &store));
    for (int64_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->plugin->kind == QL_MODEL)
            QL_TRY(cx, add_root(job, cx->device ? &store : NULL, g->nodes[i], out));
    return QL_OK;
}

ql_status
ql_disk_check(ql_job *job, const ql_disk *d)
{
    const char *full;

    QL_TRY(&job->cx, ql_disk_look(job, d, &full));
    return full ? QL_FAIL(&job->cx, QL_IO, "%s", full) : QL_OK;
}
