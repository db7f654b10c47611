/* qloom check: everything that can be wrong with a pipeline file, before anything is loaded. */
#include <inttypes.h>
#include <stdio.h>

#include "pipeline/graph.h"
#include "cli.h"
#include "pipeline.h"

static ql_status
check(ql_cli *cli, int argc, char **argv)
{
    ql_pipeline p;
    const ql_option options[] = {QL_PIPELINE_SETS(&p)};
    ql_status st = ql_pipeline_open(cli, options, 1, &argc, argv, &p);

    if (st == QL_OK)
        printf("ok: %" PRId64 " stages, %" PRId64 " %s, %" PRId64 " nodes\n", p.graph.stage_count, p.graph.cell_count,
               p.graph.cell_count == 1 ? "cell" : "cells", p.graph.node_count);
    ql_pipeline_close(cli->cx, &p);
    return st;
}

const ql_command ql_cmd_check = {
    .name = "check",
    .arguments = "FILE",
    .help = "check a pipeline file without running it",
    .usage = "Reads the pipeline, expands its matrix and checks every stage in every cell; no model is loaded. All "
             "that is wrong is\n"
             "told at once, one line each. Exit status: 0 nothing is wrong, 2 something is.\n"
             "\n"
             "Options:\n" QL_PIPELINE_SETS_USAGE,
    .run = check,
};
