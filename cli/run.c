/* qloom run FILE: runs the pipeline, and makes of its numbers the table and the report. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/printer.h"
#include "report/report.h"
#include "report/table.h"
#include "cli.h"
#include "signals.h"

#define RETURNED (1 << 20) /* bytes of a piece of memory from which on it is no part of the heap */

/* What lies in the run folder beside the log. */
static const struct {
    const char *file;
    ql_table_format format; /* of a table */
} texts[] = {
    {"table.md", QL_TABLE_MARKDOWN}, {"table.csv", QL_TABLE_CSV}, {"table.tex", QL_TABLE_LATEX},
    {"table.json", QL_TABLE_JSON},   {"report.html", 0},
};

static ql_status
write_texts(ql_book *b, const char *folder, const ql_table_spec *spec)
{
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *path = ql_format(b->cx, "%s/%s", folder, texts[i].file), *text;
        const bool page = strcmp(texts[i].file, "report.html") == 0;
        ql_printer p;
        ql_status st, closed;

        if (!path)
            return QL_MEMORY;
        QL_TRY(b->cx, ql_printer_open(b->cx, &p));
        st = page ? ql_report_write(b, spec, p.out) : ql_table_write(b, spec, texts[i].format, p.out);
        closed = ql_printer_close(b->cx, &p, &text);
        QL_TRY(b->cx, st == QL_OK ? closed : st);
        QL_TRY(b->cx, ql_file_write(b->cx, path, text, strlen(text)));
    }
    return QL_OK;
}

static ql_status
show_book(ql_book *b, const ql_job_info *info, ql_table_format format)
{
    ql_table_spec spec;

    QL_TRY(b->cx, ql_book_add(b, info->runs, info->name, true));
    QL_TRY(b->cx, ql_book_spec(b, &spec));
    QL_TRY(b->cx, write_texts(b, info->folder, &spec));
    return ql_table_write(b, &spec, format, stdout);
}

/* The run's numbers, as `qloom table` finds them too. */
static ql_status
show(ql_ctx *cx, const ql_job_info *info, ql_table_format format)
{
    ql_book b;
    ql_status st = ql_book_open(cx, &b);

    if (st == QL_OK)
        st = show_book(&b, info, format);
    ql_book_close(&b);
    return st;
}

static ql_status
run(ql_cli *cli, int argc, char **argv)
{
    ql_table_format format = QL_TABLE_MARKDOWN;
    const char *word = NULL;
    ql_job_options opt = {0};
    const ql_option options[] = {
        {.name = "--runs", .value = &opt.runs, .path = true},
        {.name = "--format", .letter = "-f", .value = &word},
        {.name = "--device", .value = &opt.device},
        {.name = "--fresh", .flag = &opt.fresh},
        {.name = "--skip-failed", .flag = &opt.skip_failed},
        QL_SETS(cli),
        QL_OPTIONS_END,
    };
    ql_status st;

    QL_TRY(cli->cx, ql_cli_job(cli, options, &argc, argv, &opt));
    if (word)
        QL_TRY(cli->cx, ql_table_format_parse(cli->cx, word, &format));
    cli->resumes = true;
    if (ql_job_about(cli->job)->limited) /* what tensors give back, the system gets back */
        (void)mallopt(M_MMAP_THRESHOLD, RETURNED);
    ql_signals_limit(ql_job_about(cli->job)->time_limit);
    st = ql_job_run(cli->job);
    if (st == QL_OK || st == QL_NUMERIC) /* NUMERIC: cells failed, and the table says which */
        QL_TRY(cli->cx, show(cli->cx, ql_job_about(cli->job), format));
    return ql_cli_status(cli, st);
}

const ql_command ql_cmd_run = {
    .name = "run",
    .arguments = "FILE",
    .help = "run a pipeline file and print its table",
    .usage =
        "Runs every cell of the pipeline in one walk over the model's blocks, stores the numbers in "
        "RUNS/results.db and\n"
        "prints the table. Exit status: 0 done, 1 something failed, a cell too, 2 wrong input, 130 interrupted.\n"
        "\n"
        "Options:\n" QL_SETS_USAGE "  -f, --format FORMAT   md (default), csv, tex or json\n" QL_DEVICE_USAGE
        "      --runs DIR        folder of run folders and results.db; default: runs\n"
        "      --fresh           work everything out anew, whatever the cache has\n"
        "      --skip-failed     leave out the cells whose plugin crashed in the runs of this file before\n"
        "\n"
        "Finished blocks of every stage go to the cache (RUNS/cache, or `cache:` of the file) at once, so the same\n"
        "command goes on where an earlier one stopped, for whatever reason.\n",
    .run = run,
};
