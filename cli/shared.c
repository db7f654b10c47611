/* What several commands do: plugins, and a job on a pipeline file. */
#include "cli.h"

ql_status
ql_cli_registry(ql_cli *cli, ql_registry **out)
{
    if (!cli->registry)
        QL_TRY(cli->cx, ql_registry_open(cli->cx, cli->plugin_path, &cli->registry));
    *out = cli->registry;
    return QL_OK;
}

ql_status
ql_cli_status(ql_cli *cli, ql_status st)
{
    return st == QL_OK ? QL_OK : ql_fail_lines(cli->cx, st, cli->job ? ql_job_error(cli->job) : "out of memory");
}

ql_status
ql_cli_job(ql_cli *cli, const ql_option *options, int *argc, char **argv, ql_job_options *opt)
{
    const ql_log *log = cli->cx->log;

    QL_TRY(cli->cx, ql_options(cli, options, argc, argv, 1, 1, "one pipeline file"));
    opt->sets = cli->sets;
    opt->plugin_path = cli->plugin_path;
    opt->threads = cli->threads;
    opt->argc = cli->argc;
    opt->argv = cli->argv;
    opt->log = log->write;
    opt->progress = log->progress;
    opt->user = log->user;
    return ql_cli_status(cli, ql_job_open(argv[1], opt, &cli->job));
}
