/* What commands on a pipeline file share. */
#include "pipeline.h"

ql_status
ql_pipeline_open(ql_cli *cli, const ql_option *own, int *argc, char **argv, ql_pipeline *out)
{
    const char **sets = NULL;
    const ql_option options[] = {{.name = "--set", .letter = "-s", .list = &sets}, own ? *own : (ql_option){0}};

    *out = (ql_pipeline){0};
    ql_scope_open(cli->cx, &out->scope);
    QL_TRY(cli->cx, ql_options(cli, options, own ? 2 : 1, argc, argv));
    if (*argc != 2)
        return QL_FAIL(cli->cx, QL_INVALID, "%s: expected one pipeline file, got %d operands", argv[0], *argc - 1);
    QL_TRY(cli->cx, ql_registry_open(cli->cx, cli->plugin_path, &out->registry));
    return ql_graph_open(cli->cx, out->registry, argv[1], &(ql_graph_options){.sets = sets}, &out->graph);
}

void
ql_pipeline_close(ql_ctx *cx, ql_pipeline *p)
{
    ql_scope_close(cx, &p->scope);
    ql_registry_close(p->registry);
}
