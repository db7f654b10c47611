/* qloom plan: what a pipeline file will take, found by rehearsing its walk on a device where nothing happens. */
#include <inttypes.h>
#include <stdio.h>

#include "device/device.h"
#include "cli.h"

static void
print_model(const ql_forecast_model *m)
{
    printf("\n%s: %s, %" PRId64 " blocks, hidden %" PRId64 ", vocabulary %" PRId64 "\n", m->stage, m->architecture,
           m->layers, m->hidden, m->vocab);
    for (int64_t i = 0; i < m->linear_count; i++) {
        const ql_forecast_linear *l = &m->linears[i];

        printf("  %-24s [%" PRId64 ", %" PRId64 "]%s%s\n", l->name, l->out, l->in, *l->remark ? "; " : "", l->remark);
    }
    printf("  %" PRId64 " calibration streams, %" PRId64 " units of work, %" PRId64 " final models\n", m->streams,
           m->units, m->finals);
}

/* Seconds stay blank where there was no device to time. */
static void
print_stages(const ql_forecast *f)
{
    char bytes[32], seconds[32] = "";

    printf("\n%10s %14s  stage\n", f->timed ? "about, s" : "", "memory at most");
    for (int64_t i = 0; i < f->stage_count; i++) {
        const ql_forecast_stage *s = &f->stages[i];

        if (f->timed)
            snprintf(seconds, sizeof seconds, "%.1f", s->seconds);
        printf("%10s %14s  %s (%s)\n", seconds, ql_bytes_text(s->memory, bytes, sizeof bytes), s->stage, s->label);
    }
}

/* The pass that makes the variants, and those that go over the store. */
static void
print_passes(const ql_forecast *f)
{
    const ql_forecast_phase *const phases[] = {&f->first, &f->further};
    char bytes[32];

    printf("\npasses: %" PRId64, f->passes);
    for (int i = 0; i < 2; i++) {
        printf("%s %s", i ? "; the others" : "; the first, which makes the variants,",
               ql_bytes_text(phases[i]->memory, bytes, sizeof bytes));
        if (f->timed)
            printf(", about %.0f s", phases[i]->seconds / (double)(i ? f->passes - 1 : 1));
    }
    if (f->timed)
        printf(" each");
}

static void
print_least(const ql_forecast *f)
{
    char bytes[32];

    printf("\nleast: `memory: %s`", ql_bytes_text(f->least, bytes, sizeof bytes));
    if (f->host_least)
        printf(", `host_memory: %s`", ql_bytes_text(f->host_least, bytes, sizeof bytes));
    printf(" would do");
}

static void
print_totals(const ql_forecast *f)
{
    char bytes[32];

    printf("\ndevice: %s", f->device);
    if (f->timed)
        printf(", %.0f GFLOP/s", 1e-9 * f->rate);
    printf("\nmemory: %s at most", ql_bytes_text(f->memory, bytes, sizeof bytes));
    if (f->room)
        printf(" of %s", ql_bytes_text(f->room, bytes, sizeof bytes));
    printf("\nhost: %s at most", ql_bytes_text(f->host, bytes, sizeof bytes));
    if (f->host_room)
        printf(" of %s", ql_bytes_text(f->host_room, bytes, sizeof bytes));
    if (f->spare)
        printf("; %s of it for speed, where there is room", ql_bytes_text(f->spare, bytes, sizeof bytes));
    if (f->timed)
        printf("\ntime: about %.0f s, reading files apart", f->seconds);
    if (f->timed && f->extra > 0)
        printf("; %.0f s of them (%.0f %%) for the sake of the limits", f->extra,
               100 * f->extra / (f->seconds - f->extra));
    if (f->passes > 1)
        print_passes(f);
    if (f->waiting > 0)
        printf("\nwaiting: %s of hidden states in a file", ql_bytes_text((size_t)f->waiting, bytes, sizeof bytes));
    print_least(f);
    printf("\ndisk: about %s of cache\n", ql_bytes_text((size_t)f->cache, bytes, sizeof bytes));
    for (int64_t i = 0; i < f->export_count; i++)
        printf("disk: at most %s for %s: %s\n", ql_bytes_text((size_t)f->exports[i].bytes, bytes, sizeof bytes),
               f->exports[i].stage, f->exports[i].help);
}

static ql_status
run(ql_cli *cli, int argc, char **argv)
{
    ql_job_options opt = {0};
    const ql_option options[] = {{.name = "--device", .value = &opt.device},
                                 {.name = "--memory", .list = &cli->sets, .key = "memory"},
                                 {.name = "--host-memory", .list = &cli->sets, .key = "host_memory"},
                                 QL_SETS(cli),
                                 QL_OPTIONS_END};
    const char *graph;
    ql_forecast f;

    QL_TRY(cli->cx, ql_cli_job(cli, options, &argc, argv, &opt));
    QL_TRY(cli->cx, ql_cli_status(cli, ql_job_plan(cli->job, &f)));
    graph = ql_job_graph(cli->job, false);
    if (!graph)
        return ql_cli_status(cli, QL_MEMORY);
    fputs(graph, stdout);
    for (int64_t i = 0; i < f.model_count; i++)
        print_model(&f.models[i]);
    print_stages(&f);
    print_totals(&f);
    return f.full ? QL_FAIL(cli->cx, QL_IO, "%s", f.full) : QL_OK;
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
             "Options:\n"
             "      --memory SIZE     as memory: of the file, which limits the device: 20GiB\n"
             "      --host-memory SIZE   as host_memory: of the file\n" QL_SETS_USAGE QL_DEVICE_USAGE,
    .run = run,
};
