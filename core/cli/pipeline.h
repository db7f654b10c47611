/* What commands on a pipeline file share: its operand, -s, plugins and graph. */
#ifndef QLOOM_CLI_PIPELINE_H
#define QLOOM_CLI_PIPELINE_H

#include "../graph/graph.h"
#include "cli.h"

typedef struct ql_pipeline {
    ql_registry *registry;
    ql_graph graph;
    ql_scope scope;
} ql_pipeline;

/* Takes -s, the command's own option (NULL: none) and one operand, and opens the graph. Close it on failure too. */
ql_status ql_pipeline_open(ql_cli *cli, const ql_option *own, int *argc, char **argv, ql_pipeline *out);
void ql_pipeline_close(ql_ctx *cx, ql_pipeline *p);

#endif
