/* Content keys: what decides the bits that a unit or an evaluator leaves, as a hash. */
#ifndef QLOOM_WALK_KEYS_H
#define QLOOM_WALK_KEYS_H

#include "plugin/registry.h"
#include "store/store.h"
#include "plan.h"

typedef struct ql_keys {
    ql_key *units; /* [unit_count] */
    ql_key *evals; /* [eval_count] */
} ql_keys;

typedef struct ql_keys_in {
    const ql_registry *registry;
    const ql_graph *graph;
    const ql_plan *plan;
    const ql_store *store; /* remembers the hashes of large files; NULL: nothing does */
} ql_keys_in;

/* Keys of everything in the plan, on the open device, in the innermost scope. Reads every input file that has no remembered hash. */
ql_status ql_keys_make(ql_ctx *cx, const ql_keys_in *in, ql_keys *out);

#endif
