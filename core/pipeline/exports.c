/* What is known of an export before anything runs: whether its format holds the linears, and which programs will load it. */
#include "base/ctx.h"
#include "graph.h"
#include "plugin/registry.h"

/* Linear l of block `layer`, as the stages before exporter `n` will leave it. */
static ql_status
plan_linear(ql_ctx *cx, const ql_node *n, const ql_model_info *info, int64_t layer, int l, ql_planned_linear *out)
{
    const ql_node *const stages[] = {ql_node_before(n, QL_QUANTIZER), ql_node_before(n, QL_COMPENSATOR)};

    *out = (ql_planned_linear){
        .name = ql_name_in_block(cx, info, layer, info->linears[l].name),
        .out = info->linears[l].out,
        .in = info->linears[l].in,
        .skipped = true,
    };
    if (!out->name)
        return QL_MEMORY;
    for (int i = 0; i < 2; i++) {
        ql_described d;

        if (!stages[i] || !ql_node_describe(stages[i], out->name, out->in, &d))
            continue;
        if (stages[i]->plugin->kind == QL_QUANTIZER) {
            out->skipped = false;
            out->bits = d.grid.bits;
            out->group = d.grid.group;
            out->sym = d.grid.sym;
            out->scales = d.grid.scale_dtype;
        }
        if (stages[i]->plugin->kind == QL_COMPENSATOR || (stages[i]->plugin->quantizer->yields & QL_YIELDS_ADAPTER))
            out->rank = d.rank;
    }
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
