/* What commands on a pipeline file share. */
#include "pipeline.h"

#include "plugin/select.h"

ql_status
ql_pipeline_open(ql_cli *cli, const ql_option *options, int count, int *argc, char **argv, ql_pipeline *out)
{
    ql_ctx *cx = cli->cx;

    *out = (ql_pipeline){0};
    ql_scope_open(cx, &out->scope);
    QL_TRY(cx, ql_options(cli, options, count, argc, argv));
    if (*argc != 2)
        return QL_FAIL(cx, QL_INVALID, "%s: expected one pipeline file, got %d operands", argv[0], *argc - 1);
    QL_TRY(cx, ql_registry_open(cx, cli->plugin_path, &out->registry));
    return ql_graph_open(cx, out->registry, argv[1], &(ql_graph_options){.sets = out->sets}, &out->graph);
}

ql_status
ql_pipeline_device(ql_cli *cli, const ql_pipeline *p, const char *word, bool imagine)
{
    const ql_graph *g = &p->graph;

    return ql_device_select(cli->cx, p->registry,
                            &(ql_device_wish){.word = word ? word : g->device,
                                              .threads = cli->threads,
                                              .limit = g->memory,
                                              .compute = g->compute,
                                              .imagine = imagine});
}

void
ql_pipeline_close(ql_ctx *cx, ql_pipeline *p)
{
    ql_scope_close(cx, &p->scope);
    ql_device_close(cx->device);
    cx->device = NULL;
    ql_registry_close(p->registry);
}
