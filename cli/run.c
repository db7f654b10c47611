/* qloom run FILE: checks the pipeline, walks, stores and prints the table. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <qloom/qloom.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/printer.h"
#include "device/device.h"
#include "run/folder.h"
#include "report/report.h"
#include "store/store.h"
#include "report/table.h"
#include "walk/run.h"
#include "cli.h"
#include "pipeline.h"

typedef struct run_options {
    const char *runs, *format, *device;
    bool fresh;
} run_options;

typedef struct job { /* a run, and what it needs at every step */
    ql_cli *cli;
    const run_options *opt;
    const ql_pipeline *pipeline;
    ql_table_format format;
    ql_folder folder;
    ql_results *results;
    ql_result_set set; /* the run, when it is finished */
} job;

static const struct {
    ql_table_format format;
    const char *file;
} tables[] = {
    {QL_TABLE_MARKDOWN, "table.md"},
    {QL_TABLE_CSV, "table.csv"},
    {QL_TABLE_LATEX, "table.tex"},
    {QL_TABLE_JSON, "table.json"},
};

static uint64_t
peak_memory(void)
{
    struct rusage u;

    return getrusage(RUSAGE_SELF, &u) == 0 ? (uint64_t)u.ru_maxrss * 1024 : 0;
}

typedef ql_status (*write_text)(ql_ctx *cx, const ql_result_set *set, int what, FILE *out);

static ql_status
write_table(ql_ctx *cx, const ql_result_set *set, int what, FILE *out)
{
    return ql_table_write(cx, &set, 1, &set->table, tables[what].format, out);
}

static ql_status
write_report(ql_ctx *cx, const ql_result_set *set, int what, FILE *out)
{
    (void)what;
    return ql_report_write(cx, &set, 1, &set->table, out);
}

static ql_status
write_beside(ql_ctx *cx, const ql_folder *folder, const char *file, const ql_result_set *set, write_text write,
             int what)
{
    const char *path = ql_format(cx, "%s/%s", folder->path, file), *text;
    ql_printer p;
    ql_status st, closed;

    if (!path)
        return QL_MEMORY;
    QL_TRY(cx, ql_printer_open(cx, &p));
    st = write(cx, set, what, p.out);
    closed = ql_printer_close(cx, &p, &text);
    QL_TRY(cx, st == QL_OK ? closed : st);
    return ql_file_write(cx, path, text, strlen(text));
}

/* The table in every format and the report, beside the log. */
static ql_status
write_texts(ql_ctx *cx, const ql_folder *folder, const ql_result_set *set)
{
    for (int i = 0; i < (int)(sizeof tables / sizeof *tables); i++)
        QL_TRY(cx, write_beside(cx, folder, tables[i].file, set, write_table, i));
    return write_beside(cx, folder, "report.html", set, write_report, 0);
}

static ql_status
count_failures(ql_ctx *cx, const ql_result_set *set)
{
    int64_t failed = 0;

    for (int64_t i = 0; i < set->cell_count; i++)
        failed += set->cells[i].error != NULL;
    return failed == 0 ? QL_OK
                       : QL_FAIL(cx, QL_NUMERIC, "%lld of %lld cells failed; the table says which and why",
                                 (long long)failed, (long long)set->cell_count);
}

/* The walks, with the cache of the pipeline file, else the one beside the runs. */
static ql_status
run_walks(job *j)
{
    ql_ctx *cx = j->cli->cx;
    const ql_graph *g = &j->pipeline->graph;
    const char *cache = g->cache ? g->cache : ql_format(cx, "%s/" QL_CACHE_DEFAULT, j->folder.runs);
    ql_run_options opt = {.folder = j->folder.path};
    ql_journal journal;
    ql_store store;
    ql_status st;

    if (!cache)
        return QL_MEMORY;
    QL_TRY(cx, ql_store_open(cx, cache, &store));
    store.limit = g->cache_limit;
    store.fresh = j->opt->fresh;
    opt.store = &store;
    opt.journal = &journal;
    st = ql_journal_open(cx, j->folder.path, &journal);
    if (st == QL_OK)
        st = ql_run_graph(cx, j->pipeline->registry, g, &opt, j->results);
    ql_journal_close(&journal);
    if (st == QL_INTERRUPTED)
        ql_info(cx, "what is finished is kept; the same command goes on from there");
    return st;
}

/* "seconds: base 0.31, calib 4.20, …": what each stage took, all cells together. */
static ql_status
log_stages(ql_ctx *cx, ql_results *results)
{
    const char *text = "", *stage;
    ql_query *q;
    bool more;

    QL_TRY(cx,
           ql_query_open(results, &q,
                         "SELECT stage, sum(seconds) FROM stage WHERE run = ? GROUP BY stage ORDER BY min(position)",
                         "i", ql_run_id(results)));
    for (;;) {
        QL_TRY(cx, ql_query_next(q, &more));
        if (!more || !(text))
            break;
        QL_TRY(cx, ql_query_text(q, 0, &stage));
        text = ql_format(cx, "%s%s %s %.2f", text, *text ? "," : "", stage, ql_query_real(q, 1));
    }
    if (!text)
        return QL_MEMORY;
    ql_info(cx, "seconds:%s", text);
    return QL_OK;
}

/* The run from beginning to end into results.db, and what that has of it then. */
static ql_status
run_into_results(job *j)
{
    ql_ctx *cx = j->cli->cx;
    ql_run_end_info info = {.device = cx->device->info.name, .version = ql_version()};
    const double start = ql_seconds();
    char bytes[32];

    QL_TRY(cx, ql_run_begin(j->results, &j->pipeline->graph, j->folder.name));
    QL_TRY(cx, run_walks(j));
    ql_info(cx, "memory: %s of the device's at most", ql_bytes_text(cx->device->peak, bytes, sizeof bytes));
    QL_TRY(cx, log_stages(cx, j->results));
    info.seconds = ql_seconds() - start;
    info.peak = peak_memory();
    QL_TRY(cx, ql_run_end(j->results, &info));
    return ql_results_read(cx, j->results, ql_run_id(j->results), &j->set);
}

static ql_status
run_in_folder(job *j)
{
    ql_ctx *cx = j->cli->cx;
    const ql_result_set *set = &j->set;
    const char *path = ql_format(cx, "%s/" QL_RESULTS_FILE, j->folder.runs);

    if (!path)
        return QL_MEMORY;
    QL_TRY(cx, ql_folder_manifest(cx, &j->folder, &j->pipeline->graph,
                                  &(ql_manifest){.registry = j->pipeline->registry,
                                                 .device = cx->device->info.name,
                                                 .threads = cx->device->threads,
                                                 .argc = j->cli->argc,
                                                 .argv = j->cli->argv}));
    QL_TRY(cx, ql_results_open(cx, path, true, &j->results));
    QL_TRY(cx, run_into_results(j));
    QL_TRY(cx, write_texts(cx, &j->folder, set));
    ql_info(cx, "results in %s", j->folder.path);
    QL_TRY(cx, ql_table_write(cx, (const ql_result_set *const[]){set}, 1, &set->table, j->format, stdout));
    return count_failures(cx, set);
}

static ql_status
run_graph(job *j)
{
    ql_ctx *cx = j->cli->cx;
    const run_options *opt = j->opt;
    ql_status st;

    if (opt->format)
        QL_TRY(cx, ql_table_format_parse(cx, opt->format, &j->format));
    QL_TRY(cx, ql_pipeline_device(j->cli, j->pipeline, opt->device, false));
    QL_TRY(cx, ql_folder_open(cx, opt->runs ? opt->runs : QL_RUNS_DEFAULT, &j->pipeline->graph, &j->folder));
    st = run_in_folder(j);
    ql_results_fini(cx, &j->set);
    ql_results_close(j->results);
    ql_folder_close(cx, &j->folder);
    return st;
}

static ql_status
run(ql_cli *cli, int argc, char **argv)
{
    run_options opt = {0};
    ql_pipeline p;
    const ql_option options[] = {
        {.name = "--runs", .value = &opt.runs},
        {.name = "--format", .letter = "-f", .value = &opt.format},
        {.name = "--device", .value = &opt.device},
        {.name = "--fresh", .flag = &opt.fresh},
        QL_PIPELINE_SETS(&p),
    };
    ql_status st = ql_pipeline_open(cli, options, sizeof options / sizeof *options, &argc, argv, &p);

    if (st == QL_OK)
        st = run_graph(&(job){.cli = cli, .opt = &opt, .pipeline = &p});
    ql_pipeline_close(cli->cx, &p);
    return st;
}

const ql_command ql_cmd_run = {
    .name = "run",
    .arguments = "FILE",
    .help = "run a pipeline file and print its table",
    .usage =
        "Runs every cell of the pipeline in one walk over the model's blocks, stores the numbers in "
        "RUNS/results.db and\n"
        "prints the table. Exit status: 0 done, 1 a cell failed, 2 wrong input, 130 interrupted.\n"
        "\n"
        "Options:\n" QL_PIPELINE_SETS_USAGE
        "  -f, --format FORMAT   md (default), csv, tex or json\n" QL_PIPELINE_DEVICE_USAGE
        "      --runs DIR        folder of run folders and results.db; default: runs\n"
        "      --fresh           work everything out anew, whatever the cache has\n"
        "\n"
        "Finished blocks of every stage go to the cache (RUNS/cache, or `cache:` of the file) at once, so the same\n"
        "command goes on where an earlier one stopped, for whatever reason.\n",
    .run = run,
};
