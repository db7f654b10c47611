/* qloom plot FIGURE RUN...: one figure of the report as an SVG file. */
#include "report/report.h"
#include "runs.h"

static ql_status
run(ql_cli *cli, int argc, char **argv)
{
    const char *figure = NULL, *series = NULL;
    const ql_option own[] = {
        {.name = "--figure", .letter = "-f", .value = &figure}, {.name = "--series", .value = &series}, QL_OPTIONS_END};
    ql_runs r;
    ql_status st = ql_runs_open(cli, own, true, &argc, argv, &r);

    if (st == QL_OK)
        st = ql_plot_write(&r.book, &r.spec, figure ? figure : series ? "series" : "pareto", series, r.printer.out);
    return ql_runs_close(cli->cx, &r, st);
}

const ql_command ql_cmd_plot = {
    .name = "plot",
    .arguments = "RUN...",
    .help = "draw a figure of finished runs as SVG",
    .usage = "A RUN is a run folder, or its name in the folder of runs. The figures are those of the report.\n\n"
             "  -f, --figure NAME    pareto (default), series, time, memory, spectrum, heat or graph\n"
             "      --series NAME    what a trainer saw of every update: tune.loss, tune.eval_loss, tune.grad_norm, "
             "…\n" QL_RUNS_USAGE,
    .run = run,
};
