/* qloom plan: what a pipeline file will take, found by rehearsing its walk on a device where nothing happens. */
#include <inttypes.h>
#include <stdio.h>

#include "tensor/rehearsal.h"
#include "model/open_model.h"
#include "walk/run.h"
#include "cli.h"
#include "pipeline.h"

typedef struct plan {
    ql_cli *cli;
    const char *device;
    ql_pipeline pipeline;
    ql_device *real;
    ql_results *results; /* of the rehearsal, in memory */
} plan;

typedef struct disk {
    double cache, model; /* bytes: of finished blocks; of the largest model's files, which no export of it exceeds */
} disk;

/* --- the models and what is done to them --- */

/* Quantizers whose groups do not divide the linear's inputs: the last one is shorter. */
static void
print_ragged(const ql_plan *p, const ql_linear_info *l)
{
    for (int64_t i = 0; i < p->variant_count; i++) {
        const ql_node *n = p->variants[i]->stage;
        const int64_t group = ql_describe(n->plugin, n->self, l->in).grid.group;

        if (n->plugin->kind == QL_QUANTIZER && group > 0 && l->in % group != 0)
            printf("; %s: the last group has %" PRId64 " columns", n->label, l->in % group);
    }
}

static void
print_model(const ql_plan *p, const ql_model_info *m)
{
    int64_t made = 0, read = 0;

    printf("\n%s: %s, %" PRId64 " blocks, hidden %" PRId64 ", vocabulary %" PRId64 "\n", p->root->name, m->architecture,
           m->layers, m->hidden, m->vocab);
    for (int l = 0; l < m->linear_count; l++) {
        printf("  %-24s [%" PRId64 ", %" PRId64 "]", m->linears[l].name, m->linears[l].out, m->linears[l].in);
        print_ragged(p, &m->linears[l]);
        printf("\n");
    }
    for (int64_t i = 0; i < p->variant_count; i++) {
        made += ql_variant_is_made(p->variants[i]);
        read += ql_plan_is_read(p, p->variants[i]);
    }
    printf("  %" PRId64 " calibration streams, %" PRId64 " units of work, %" PRId64 " final models\n", p->stream_count,
           made, read);
}

/* What the cache gets of a variant: codes, a byte each, scales and zeros, or an adapter in 16 bits. */
static double
variant_bytes(const ql_variant *v, const ql_model_info *m)
{
    const ql_plugin *plugin = v->stage->plugin;
    const bool compensates = plugin->kind == QL_COMPENSATOR;
    double bytes = 0;

    for (int l = 0; l < m->linear_count; l++) {
        const double out = (double)m->linears[l].out, in = (double)m->linears[l].in;
        const ql_described d = ql_describe(plugin, v->stage->self, m->linears[l].in);
        const double groups = d.grid.group > 0 ? in / (double)d.grid.group : 1;

        if (!compensates || plugin->compensator->couples)
            bytes += out * in + 8 * out * groups;
        if (compensates && d.rank > 0)
            bytes += 2 * d.rank * (out + in);
    }
    return bytes * (double)m->layers;
}

static ql_status
describe_root(plan *p, const ql_node *root, disk *d)
{
    ql_ctx *cx = p->cli->cx;
    ql_model_handle model = {0};
    ql_plan walk;
    double files = 0;
    ql_status st;

    QL_TRY(cx, ql_plan_make(cx, &p->pipeline.graph, root, &walk));
    st = ql_model_open(cx, p->pipeline.registry, root->plugin, root->self,
                       ql_param_text(root->plugin, root->self, "path"), &model);
    if (st != QL_OK)
        return ql_where(cx, st, "stage '%s'", root->name);
    print_model(&walk, &model.info);
    for (int64_t i = 0; i < walk.variant_count; i++)
        if (ql_variant_is_made(walk.variants[i]))
            d->cache += variant_bytes(walk.variants[i], &model.info);
    for (int64_t i = 0; i < ql_source_count(model.source); i++)
        files += (double)ql_source_item(model.source, i)->bytes;
    d->model = files > d->model ? files : d->model;
    ql_model_close(&model);
    return QL_OK;
}

/* --- what it takes --- */

/* Nothing where there was no device to time. */
static const char *
seconds_text(const plan *p, double seconds, char *text, size_t size)
{
    *text = '\0';
    if (p->real->dev)
        snprintf(text, size, "%.1f", seconds);
    return text;
}

static ql_status
print_stages(const plan *p)
{
    ql_ctx *cx = p->cli->cx;
    char bytes[32], seconds[32];
    const char *stage, *label;
    ql_query *q;
    bool more;

    printf("\n%10s %14s  stage\n", p->real->dev ? "about, s" : "", "memory at most");
    QL_TRY(cx, ql_query_open(
                   p->results, &q,
                   "SELECT seconds, peak_bytes, stage, label FROM stage WHERE run = ? AND calls > 0 ORDER BY position",
                   "i", ql_run_id(p->results)));
    for (;;) {
        QL_TRY(cx, ql_query_next(q, &more));
        if (!more)
            break;
        QL_TRY(cx, ql_query_text(q, 2, &stage));
        QL_TRY(cx, ql_query_text(q, 3, &label));
        printf("%10s %14s  %s (%s)\n", seconds_text(p, ql_query_real(q, 0), seconds, sizeof seconds),
               ql_bytes_text((size_t)ql_query_int(q, 1), bytes, sizeof bytes), stage, label);
    }
    return QL_OK;
}

static void
print_disk(const plan *p, const disk *d)
{
    char bytes[32];

    printf("disk: about %s of cache\n", ql_bytes_text((size_t)d->cache, bytes, sizeof bytes));
    for (int64_t i = 0; i < p->pipeline.graph.node_count; i++) {
        const ql_node *n = p->pipeline.graph.nodes[i];

        if (n->plugin->kind == QL_EXPORTER)
            printf("disk: at most %s for %s: %s\n", ql_bytes_text((size_t)d->model, bytes, sizeof bytes), n->name,
                   n->plugin->help);
    }
}

static ql_status
rehearse(plan *p, double rate, size_t *peak, double *seconds)
{
    ql_ctx *cx = p->cli->cx;
    const ql_run_options opt = {0};
    ql_device *d;
    ql_status st;

    QL_TRY(cx, ql_rehearsal_open(cx, p->real, rate, &d));
    cx->device = d;
    st = ql_run_graph(cx, p->pipeline.registry, &p->pipeline.graph, &opt, p->results);
    cx->device = p->real;
    *peak = d->peak;
    *seconds = *d->clock;
    ql_device_close(d);
    return st;
}

static ql_status
describe(plan *p)
{
    ql_ctx *cx = p->cli->cx;
    const ql_graph *g = &p->pipeline.graph;
    const char *text;
    double rate, seconds = 0;
    disk d = {0};
    char bytes[32];
    size_t peak = 0;

    QL_TRY(cx, ql_pipeline_device(p->cli, &p->pipeline, p->device, true));
    p->real = cx->device;
    QL_TRY(cx, ql_rehearsal_rate(cx, &rate));
    QL_TRY(cx, ql_graph_text(cx, g, &text));
    printf("%s", text);
    for (int64_t i = 0; i < g->node_count; i++)
        if (g->nodes[i]->plugin->kind == QL_MODEL)
            QL_TRY(cx, describe_root(p, g->nodes[i], &d));
    QL_TRY(cx, ql_results_open(cx, NULL, true, &p->results));
    QL_TRY(cx, ql_run_begin(p->results, g, "plan"));
    QL_TRY(cx, rehearse(p, rate, &peak, &seconds));
    QL_TRY(cx, print_stages(p));
    printf("\ndevice: %s", p->real->info.name);
    if (p->real->dev)
        printf(", %.0f GFLOP/s", 1e-9 * rate);
    printf("\nmemory: %s at most", ql_bytes_text(peak, bytes, sizeof bytes));
    if (g->memory)
        printf(" of %s", ql_bytes_text(g->memory, bytes, sizeof bytes));
    if (p->real->dev)
        printf("\ntime: about %.0f s, reading files apart", seconds);
    printf("\n");
    print_disk(p, &d);
    return QL_OK;
}

static ql_status
run(ql_cli *cli, int argc, char **argv)
{
    plan p = {.cli = cli};
    const ql_option options[] = {{.name = "--device", .value = &p.device}, QL_PIPELINE_SETS(&p.pipeline)};
    ql_status st = ql_pipeline_open(cli, options, 2, &argc, argv, &p.pipeline);

    if (st == QL_OK)
        st = describe(&p);
    ql_results_close(p.results);
    ql_pipeline_close(cli->cx, &p.pipeline);
    return st;
}

const ql_command ql_cmd_plan = {
    .name = "plan",
    .arguments = "FILE",
    .help = "say what a pipeline file will take, before anything is loaded",
    .usage = "Prints the merged graph, the models' shapes, and what every stage will take of time and of the device's "
             "memory. The\n"
             "walk is rehearsed on a device that counts and does nothing; no weight is read. Time is an estimate from "
             "the speed of\n"
             "one product, and a method that ends by its numbers is given all of its rounds. A device that was named\n"
             "and does not answer is planned for all the same, without seconds.\n"
             "\n"
             "Options:\n" QL_PIPELINE_SETS_USAGE QL_PIPELINE_DEVICE_USAGE,
    .run = run,
};
