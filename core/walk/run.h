/* Runs a checked graph on an open device: one walk per model stage, results into a database. */
#ifndef QLOOM_WALK_RUN_H
#define QLOOM_WALK_RUN_H

#include "plugin/registry.h"
#include "store/journal.h"
#include "results/results.h"
#include "plan.h"

typedef struct ql_run_options {
    const char *spill; /* folder of the file in which hidden states wait; NULL: they don't */
    int64_t layers;    /* of a rehearsal: the most blocks that a model has; 0: all */
    ql_run_work *work; /* is added to; NULL: nobody reads it */
    int64_t
        lane_tokens; /* the most tokens of evaluation that go through memory together; 0: all. More go in passes over the store. */
    const char *folder;    /* where stages may write files; NULL, for a rehearsal: nobody writes */
    const ql_store *store; /* NULL: nothing is kept, and nothing taken from earlier runs */
    bool fresh;            /* nothing that lay in the store before is taken */
    ql_journal *journal;   /* of what goes to the store and comes from it; NULL: none */
    /* Why cells that need node n are to fail without a call of its plugin; NULL: they are not. May be NULL. */
    const char *(*fails)(void *user, const ql_node *n);
    void *user;
} ql_run_options;

/* Walks every model of the graph, whose run has begun in `results` (ql_run_begin). Cells that fail numerically are marked there, and the
 * status is OK; other failures and INTERRUPTED come back. cx->device must be open. [one thread per context] */
ql_status ql_run_graph(ql_ctx *cx, ql_registry *registry, const ql_graph *g, const ql_run_options *opt,
                       ql_results *results);

#endif
