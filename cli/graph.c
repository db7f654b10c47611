/* qloom graph: what a pipeline file would run, as text or for Graphviz. */
#include <stdio.h>

#include "pipeline/graph.h"
#include "cli.h"
#include "pipeline.h"

static ql_status
graph(ql_cli *cli, int argc, char **argv)
{
    bool dot = false;
    ql_pipeline p;
    const ql_option options[] = {{.name = "--dot", .flag = &dot}, QL_PIPELINE_SETS(&p)};
    const char *text = NULL;
    ql_status st = ql_pipeline_open(cli, options, 2, &argc, argv, &p);

    if (st == QL_OK)
        st = dot ? ql_graph_dot(cli->cx, &p.graph, &text) : ql_graph_text(cli->cx, &p.graph, &text);
    if (st == QL_OK)
        fputs(text, stdout);
    ql_pipeline_close(cli->cx, &p);
    return st;
}

const ql_command ql_cmd_graph = {
    .name = "graph",
    .arguments = "FILE",
    .help = "show the graph of a pipeline file",
    .usage =
        "Prints the stages as they would run: equal ones merged, each with its inputs and the cells that it serves.\n"
        "\n"
        "Options:\n"
        "      --dot             for Graphviz: qloom graph --dot FILE | dot -Tsvg > graph.svg\n" QL_PIPELINE_SETS_USAGE,
    .run = graph,
};
