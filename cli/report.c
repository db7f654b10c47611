/* qloom report RUN...: results of finished runs as one page. */
#include "report/report.h"
#include "runs.h"

static ql_status
run(ql_cli *cli, int argc, char **argv)
{
    ql_runs r;
    const ql_option own[] = {
        {.name = "--rows", .value = &r.rows}, {.name = "--columns", .value = &r.columns}, QL_OPTIONS_END};
    ql_status st = ql_runs_open(cli, own, true, &argc, argv, &r);

    if (st == QL_OK)
        st = ql_report_write(&r.book, &r.spec, r.printer.out);
    return ql_runs_close(cli->cx, &r, st);
}

const ql_command ql_cmd_report = {
    .name = "report",
    .arguments = "RUN...",
    .help = "write the report of finished runs as one HTML page",
    .usage = "A RUN is a run folder, or its name in the folder of runs. The page needs no other file and no network. "
             "`qloom run`\n"
             "writes report.html into the run folder; this makes it again, or one of several runs.\n\n" QL_LAYOUT_USAGE
                 QL_RUNS_USAGE,
    .run = run,
};
