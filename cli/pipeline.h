/* What commands on a pipeline file share: its operand, -s, plugins, graph and device. */
#ifndef QLOOM_CLI_PIPELINE_H
#define QLOOM_CLI_PIPELINE_H

#include "pipeline/graph.h"
#include "cli.h"

typedef struct ql_pipeline {
    const char **sets; /* of -s */
    ql_registry *registry;
    ql_graph graph;
    ql_scope scope;
} ql_pipeline;

/* The row of -s in a command's table of options. */
#define QL_PIPELINE_SETS(p)                                 \
    {                                                       \
        .name = "--set", .letter = "-s", .list = &(p)->sets \
    }

/* Their lines of a command's help. */
#define QL_PIPELINE_SETS_USAGE "  -s, --set KEY=VALUE   override a key of the file: quant.bits=4, seed=7 (repeatable)\n"
#define QL_PIPELINE_DEVICE_USAGE "      --device DEVICE   auto, cpu, cuda or cuda:N, in place of the file's\n"

/* Takes `count` options, a row of -s for `out` among them, and one operand, and opens the graph. Close it on failure too. */
ql_status ql_pipeline_open(ql_cli *cli, const ql_option *options, int count, int *argc, char **argv, ql_pipeline *out);
/* Opens the device that the file asks for, or `word` in its place (NULL: none given), as the context's. `imagine` as in a
 * ql_device_wish. */
ql_status ql_pipeline_device(ql_cli *cli, const ql_pipeline *p, const char *word, bool imagine);
/* What was made in its scope goes first, then the context's device, then the plugins that both use. */
void ql_pipeline_close(ql_ctx *cx, ql_pipeline *p);

#endif
