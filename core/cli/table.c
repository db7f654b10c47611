/* qloom table RUN...: results of finished runs as one table. */
#include "runs.h"

static ql_status
run(ql_cli *cli, int argc, char **argv)
{
    ql_table_format format = QL_TABLE_MARKDOWN;
    const char *word = NULL;
    const ql_option own[] = {{.name = "--format", .letter = "-f", .value = &word}};
    ql_runs r;
    ql_status st = ql_runs_open(cli, own, 1, &argc, argv, &r);

    if (st == QL_OK && word)
        st = ql_table_format_parse(cli->cx, word, &format);
    if (st == QL_OK)
        st = ql_table_write(cli->cx, r.sets, r.count, &r.spec, format, r.printer.out);
    return ql_runs_close(cli->cx, &r, st);
}

const ql_command ql_cmd_table = {
    .name = "table",
    .arguments = "RUN...",
    .help = "make a table of finished runs",
    .usage =
        "A RUN is a run folder, or its name in the folder of runs. Without --rows and --columns the table is the one\n"
        "that the pipeline file asks for.\n\n"
        "  -f, --format FORMAT  md (default), csv, tex or json\n"
        "  --rows A,B           what makes a row: axes of the matrix (quant.bits), variants (quant.use), or 'run'\n"
        "  --columns A,B        what makes a column\n" QL_RUNS_USAGE,
    .run = run,
};
