/* qloom graph: what a pipeline file would run, as text or for Graphviz. */
#include <stdio.h>

#include "cli.h"

static ql_status
run(ql_cli *cli, int argc, char **argv)
{
    bool dot = false;
    ql_job_options opt = {0};
    const ql_option options[] = {{.name = "--dot", .flag = &dot}, QL_SETS(cli), QL_OPTIONS_END};
    const char *text;

    QL_TRY(cli->cx, ql_cli_job(cli, options, &argc, argv, &opt));
    text = ql_job_graph(cli->job, dot);
    if (!text)
        return ql_cli_status(cli, QL_MEMORY);
    fputs(text, stdout);
    return QL_OK;
}

const ql_command ql_cmd_graph = {
    .name = "graph",
    .arguments = "FILE",
    .help = "show the graph of a pipeline file",
    .usage =
        "Prints the stages as they would run: equal ones merged, each with its inputs and the cells that it serves.\n"
        "\n"
        "Options:\n"
        "      --dot             for Graphviz: qloom graph --dot FILE | dot -Tsvg > graph.svg\n" QL_SETS_USAGE,
    .run = run,
};
