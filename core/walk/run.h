/* Runs a checked graph on an open device: one walk per model stage, results into a set. */
#ifndef QLOOM_WALK_RUN_H
#define QLOOM_WALK_RUN_H

#include "../plugin/registry.h"
#include "../run/results.h"
#include "plan.h"

/* Walks every model of the graph. `folder`: where stages may write files. Cells that fail numerically are marked in the set, which
 * stays OK; other failures and INTERRUPTED come back. cx->device must be open. [one thread per context] */
ql_status ql_run_graph(ql_ctx *cx, ql_registry *registry, const ql_graph *g, const char *folder, ql_result_set *set);

#endif
