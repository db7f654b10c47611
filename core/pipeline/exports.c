/* What is known of an export before anything runs: whether its format holds the linears, and which programs will load it. */
#include "base/ctx.h"
#include "graph.h"
#include "plugin/registry.h"

/* Linear l of block `layer`, as the stages before exporter `n` will leave it. */
static ql_status
plan_linear(ql_ctx *cx, const ql_node *n, const ql_model_info *info, int64_t layer, int l, ql_planned_linear *out)
{
    const ql_linear_info *linear = &info->linears[l];
    const char *name = ql_name_in_block(cx, info, layer, linear->name);
    ql_outcome stored;

    if (!name)
        return QL_MEMORY;
    stored = ql_node_outcome(n, name, linear->in);
    *out = (ql_planned_linear){
        .name = name,
        .out = linear->out,
        .in = linear->in,
        .skipped = stored.skipped,
        .bits = stored.grid.bits,
        .group = stored.grid.group,
        .sym = stored.grid.sym,
        .scales = stored.grid.scale_dtype,
        .rank = stored.rank,
    };
    return QL_OK;
}

static ql_status
check_all(ql_ctx *cx, const ql_node *n, const ql_model_info *info, const char **runtimes)
{
    const int64_t count = info->layers * info->linear_count;
    ql_planned_linear *linears = ql_alloc(cx, (size_t)count, sizeof *linears);
    const ql_planned_export planned = {.model = info, .linears = linears};
    ql_site site;
    ql_status st;

    if (!linears)
        return QL_MEMORY;
    for (int64_t i = 0; i < count; i++)
        QL_TRY(cx, plan_linear(cx, n, info, i / info->linear_count, (int)(i % info->linear_count), &linears[i]));
    site = ql_enter(cx, ql_node_site(n, NULL));
    st = n->plugin->exporter->check(cx, n->self, &planned, runtimes);
    ql_leave(cx, site);
    return ql_where(cx, st, "stage '%s' (%s)", n->name, n->plugin->name);
}

ql_status
ql_export_check(ql_ctx *cx, const ql_node *n, const ql_model_info *info)
{
    const char *runtimes = NULL;
    ql_scope scope;
    ql_status st;

    if (!n->plugin->exporter->check)
        return QL_OK;
    ql_scope_open(cx, &scope);
    st = check_all(cx, n, info, &runtimes);
    if (st == QL_OK && runtimes)
        ql_info(cx, "stage '%s' (%s): will load in: %s", n->name, n->plugin->name, runtimes);
    ql_scope_close(cx, &scope);
    return st;
}
