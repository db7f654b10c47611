/* What a pipeline will take, found by rehearsing its walk on a device where nothing happens. */
#include <inttypes.h>

#include "base/text.h"
#include "device/device.h"
#include "model/open_model.h"
#include "tensor/rehearsal.h"
#include "walk/run.h"
#include "job.h"
#include "limits.h"

/* Quantizers whose groups do not divide the linear's inputs: the last one is shorter. */
static const char *
remark(ql_ctx *cx, const ql_plan *p, const ql_linear_info *l)
{
    const char *text = "";

    for (int64_t i = 0; i < p->variant_count && text; i++) {
        const ql_node *n = p->variants[i]->stage;
        const int64_t group = ql_describe(n->plugin, n->self, l->in).grid.group;

        if (n->plugin->kind == QL_QUANTIZER && group > 0 && l->in % group != 0)
            text = ql_format(cx, "%s%s%s: the last group has %" PRId64 " columns", text, *text ? "; " : "", n->label,
                             l->in % group);
    }
    return text;
}

static ql_status
describe_linears(ql_ctx *cx, const ql_plan *p, const ql_model_info *m, ql_forecast_model *out)
{
    ql_forecast_linear *list = ql_alloc(cx, (size_t)m->linear_count, sizeof *list);

    if (!list)
        return QL_MEMORY;
    for (int l = 0; l < m->linear_count; l++) {
        const ql_linear_info *i = &m->linears[l];

        list[l] = (ql_forecast_linear){
            .name = ql_format(cx, "%s", i->name), .out = i->out, .in = i->in, .remark = remark(cx, p, i)};
        if (!list[l].name || !list[l].remark)
            return QL_MEMORY;
    }
    out->linears = list;
    out->linear_count = m->linear_count;
    return QL_OK;
}

/* What the walk does to the model: its streams, and the variants that are made and that are read. */
static void
count_work(const ql_plan *p, ql_forecast_model *out)
{
    out->streams = p->stream_count;
    for (int64_t i = 0; i < p->variant_count; i++) {
        out->finals += ql_plan_is_read(p, p->variants[i]);
        out->units += ql_variant_is_made(p->variants[i]);
    }
}

static ql_status
describe_model(ql_job *job, const ql_node *root, ql_disk *disk, ql_forecast_model *out)
{
    ql_ctx *cx = &job->cx;
    ql_model_handle model = {0};
    const ql_model_info *m = &model.info;
    const double before = disk->model;
    ql_plan walk;
    ql_status st;

    QL_TRY(cx, ql_plan_make(cx, &job->graph, root, &walk));
    st = ql_model_open(cx, job->registry, root->plugin, root->self, ql_param_text(root->plugin, root->self, "path"),
                       &model);
    if (st != QL_OK)
        return ql_where(cx, st, "stage '%s'", root->name);
    *out = (ql_forecast_model){.stage = root->name,
                               .architecture = ql_format(cx, "%s", m->architecture),
                               .layers = m->layers,
                               .hidden = m->hidden,
                               .vocab = m->vocab};
    st = out->architecture ? describe_linears(cx, &walk, m, out) : QL_MEMORY;
    if (st == QL_OK)
        st = ql_disk_add(job, &walk, &model, false, disk);
    count_work(&walk, out);
    out->bytes = disk->model - before;
    ql_model_close(&model);
    return st;
}

/* Models as the graph names them, and what goes to the disks. */
static ql_status
describe(ql_job *job, ql_disk *disk, ql_forecast *f)
{
    ql_ctx *cx = &job->cx;
    const ql_graph *g = &job->graph;
    ql_forecast_model *models = ql_alloc(cx, (size_t)g->node_count, sizeof *models);

    if (!models)
        return QL_MEMORY;
    for (int64_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->plugin->kind == QL_MODEL)
            QL_TRY(cx, describe_model(job, g->nodes[i], disk, &models[f->model_count++]));
    f->models = models;
    f->cache = disk->cache;
    f->exports = disk->exports;
    f->export_count = disk->export_count;
    return QL_OK;
}

/* What each stage of the rehearsal cost. */
static ql_status
collect_stages(ql_ctx *cx, ql_results *r, int64_t count, ql_forecast *f)
{
    ql_forecast_stage *list = ql_alloc(cx, (size_t)count, sizeof *list);
    ql_sheet rows;

    if (!list)
        return QL_MEMORY;
    f->stages = list;
    f->stage_count = 0;
    QL_TRY(cx, ql_sheet_read(r, &rows,
                             "SELECT seconds, peak_bytes, stage, label FROM stage WHERE run = ? AND calls > 0"
                             " ORDER BY position LIMIT ?",
                             "ii", ql_run_id(r), count));
    for (; f->stage_count < rows.count; f->stage_count++) {
        const ql_field *v = ql_row(&rows, f->stage_count);

        list[f->stage_count] = (ql_forecast_stage){
            .stage = v[2].text, .label = v[3].text, .seconds = v[0].real, .memory = (size_t)v[1].integer};
    }
    return QL_OK;
}

static void
take(const ql_job *job, const ql_trial *t, const ql_limits *l, ql_forecast *f)
{
    const bool one = job->cx.device->info.host_memory;

    f->memory = t->memory;
    f->host = l->other + (one ? t->taken : t->host);
    f->spare = one ? t->taken - t->memory : 0;
    f->seconds = t->seconds;
    f->passes = t->work.passes;
    f->waiting = (double)t->work.spilled;
    f->first = (ql_forecast_phase){.seconds = t->work.first.seconds, .memory = t->work.first.memory};
    f->further = (ql_forecast_phase){.seconds = t->work.further.seconds, .memory = t->work.further.memory};
}

/* With the limits that there are; where it takes more and the file says nothing of them, what it takes without. */
static ql_status
rehearse_within(ql_job *job, const ql_limits *l, ql_forecast *f)
{
    ql_ctx *cx = &job->cx;
    ql_trial t = {.pool = l->pool, .pinned = l->pinned, .rate = f->rate};
    const double without = f->seconds;
    ql_status st;

    QL_TRY(cx, ql_results_open(cx, NULL, true, &t.results));
    st = ql_fit(job, &t);
    if (st == QL_OK && !t.fits && l->said)
        st = ql_fail_limits(job, l);
    if (st == QL_OK && t.fits) {
        take(job, &t, l, f);
        f->extra = t.seconds - without;
        st = collect_stages(cx, t.results, job->graph.node_count, f);
    }
    ql_results_close(t.results);
    return st;
}

static ql_status
least(ql_job *job, const ql_limits *l, ql_forecast *f)
{
    const ql_trial t = {.pool = l->pool, .pinned = l->pinned};
    size_t bytes;

    QL_TRY(&job->cx, ql_least(job, &t, false, &bytes));
    f->least = bytes + (job->cx.device->info.host_memory ? l->other : 0);
    if (job->cx.device->info.host_memory || l->pool == 0)
        return QL_OK;
    QL_TRY(&job->cx, ql_least(job, &t, true, &bytes));
    f->host_least = bytes + l->other;
    return QL_OK;
}

static ql_status
rehearse(ql_job *job, double entry, ql_forecast *f)
{
    ql_ctx *cx = &job->cx;
    ql_trial t = {.pool = QL_NO_LIMIT, .lane_tokens = INT64_MAX, .rate = f->rate, .loud = true};
    ql_limits l;
    ql_status st;

    QL_TRY(cx, ql_results_open(cx, NULL, true, &t.results));
    st = ql_rehearse(job, &t);
    if (st == QL_OK)
        st = collect_stages(cx, t.results, job->graph.node_count, f);
    ql_results_close(t.results);
    QL_TRY(cx, st);
    ql_limits_find(job, &t.work, entry, &l);
    f->room = l.memory;
    f->host_room = l.host_memory;
    take(job, &t, &l, f);
    if (l.pool && (t.taken > l.pool || !t.fits))
        QL_TRY(cx, rehearse_within(job, &l, f));
    return least(job, &l, f);
}

static ql_status
plan_job(ql_job *job, ql_forecast *out)
{
    ql_ctx *cx = &job->cx;
    ql_disk disk;
    ql_status st;

    *out = (ql_forecast){0};
    QL_TRY(cx, ql_job_device(job, true));
    QL_TRY(cx, ql_rehearsal_rate(cx, &out->rate));
    out->device = cx->device->info.name;
    out->timed = cx->device->dev != NULL;
    st = ql_disk_open(job, &disk);
    if (st == QL_OK)
        st = describe(job, &disk, out);
    if (st == QL_OK)
        st = rehearse(job, disk.entry, out);
    disk.waiting = out->waiting;
    if (st == QL_OK)
        st = ql_disk_look(job, &disk, &out->full);
    ql_disk_close(&disk);
    return st;
}

ql_status
ql_job_plan(ql_job *job, ql_forecast *out)
{
    const ql_locale locale = ql_locale_enter();
    const ql_status st = plan_job(job, out);

    ql_locale_leave(locale);
    return st;
}
