/* qloom table RUN...: results of finished runs as one table. */
#include <string.h>

#include "runs.h"

typedef struct table_options {
    const char *format, *best, *bootstrap;
} table_options;

static ql_status
set_best(ql_ctx *cx, const char *word, ql_table_spec *spec)
{
    if (strcmp(word, "rows") != 0 && strcmp(word, "columns") != 0)
        return QL_FAIL(cx, QL_INVALID, "--best: got '%s', expected rows or columns", word);
    spec->best = strcmp(word, "rows") == 0 ? QL_BEST_OF_ROW : QL_BEST_OF_COLUMN;
    return QL_OK;
}

static ql_status
write_table(ql_ctx *cx, const table_options *opt, ql_runs *r)
{
    ql_table_format format = QL_TABLE_MARKDOWN;

    if (opt->format)
        QL_TRY(cx, ql_table_format_parse(cx, opt->format, &format));
    if (opt->best)
        QL_TRY(cx, set_best(cx, opt->best, &r->spec));
    QL_TRY(cx, ql_parse_number(cx, "--bootstrap", opt->bootstrap, 0, 100000, &r->spec.bootstrap));
    r->spec.differences = r->reference != NULL;
    if (r->reference)
        QL_TRY(cx, ql_book_compare(&r->book, r->reference));
    return ql_table_write(&r->book, &r->spec, format, r->printer.out);
}

static ql_status
run(ql_cli *cli, int argc, char **argv)
{
    table_options opt = {0};
    ql_runs r;
    const ql_option own[] = {
        {.name = "--rows", .value = &r.rows},
        {.name = "--columns", .value = &r.columns},
        {.name = "--format", .letter = "-f", .value = &opt.format},
        {.name = "--best", .value = &opt.best},
        {.name = "--bootstrap", .value = &opt.bootstrap},
        {.name = "--reference", .list = &r.reference},
        QL_OPTIONS_END,
    };
    ql_status st = ql_runs_open(cli, own, false, &argc, argv, &r);

    if (st == QL_OK)
        st = write_table(cli->cx, &opt, &r);
    return ql_runs_close(cli->cx, &r, st);
}

const ql_command ql_cmd_table = {
    .name = "table",
    .arguments = "RUN...",
    .help = "make a table of finished runs",
    .usage =
        "A RUN is a run folder, or its name in the folder of runs. Without --rows and --columns the table is the one\n"
        "that the pipeline file asks for.\n\n"
        "  -f, --format FORMAT  md (default), csv, tex or json\n" QL_LAYOUT_USAGE
        "  --best rows|columns  make the best number of each row or column stand out\n"
        "  --reference AXIS=LABEL\n"
        "                       differences from the cell with that label and otherwise the same ones, with the "
        "paired\n"
        "                       standard error over windows (repeatable); 'original': from the original "
        "model\n"
        "  --bootstrap N        with an interval of each difference, of N draws of the windows or "
        "documents\n" QL_RUNS_USAGE,
    .run = run,
};
