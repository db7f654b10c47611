/* qloom check: everything that can be wrong with a pipeline file, before anything is loaded. */
#include <inttypes.h>
#include <stdio.h>

#include "cli.h"

static ql_status
run(ql_cli *cli, int argc, char **argv)
{
    ql_job_options opt = {0};
    const ql_option options[] = {QL_SETS(cli), QL_OPTIONS_END};
    const ql_job_info *info;

    QL_TRY(cli->cx, ql_cli_job(cli, options, &argc, argv, &opt));
    QL_TRY(cli->cx, ql_cli_status(cli, ql_job_check(cli->job)));
    info = ql_job_about(cli->job);
    printf("ok: %" PRId64 " stages, %" PRId64 " %s, %" PRId64 " nodes\n", info->stages, info->cells,
           info->cells == 1 ? "cell" : "cells", info->nodes);
    return QL_OK;
}

const ql_command ql_cmd_check = {
    .name = "check",
    .arguments = "FILE",
    .help = "check a pipeline file without running it",
    .usage =
        "Reads the pipeline, expands its matrix and checks every stage in every cell; of models the headers "
        "are read. All that is\n"
        "wrong is told at once, one line each; settings that do nothing are warnings. Disks must have room for what a\n"
        "run writes. Exit status: 0 nothing is wrong, 1 a disk is too full, 2 something else is.\n"
        "\n"
        "Options:\n" QL_SETS_USAGE,
    .run = run,
};
