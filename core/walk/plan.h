/* What one walk over one model does: streams, visits, units of work, final models. A pure function of the checked graph. */
#ifndef QLOOM_WALK_PLAN_H
#define QLOOM_WALK_PLAN_H

#include "pipeline/graph.h"

/* A set of calibration sequences on its way through one variant of the model. */
typedef struct ql_unit ql_unit;
typedef struct ql_stream_plan {
    const ql_node *data;
    ql_propagate kind; /* never DEFAULT */
    ql_unit *through;  /* whose linears it passes; NULL: the original's */
    int64_t visit;
    bool gram; /* does anything read its statistics? */
    bool kept; /* are they read in a later visit of the block, or at its end? */
} ql_stream_plan;

/* A quantizer or compensator node at work. A joint quantizer (`propagate: compensated`) is one unit per compensator after it. */
struct ql_unit {
    int64_t id; /* in ql_plan.units: suppliers before users */
    const ql_node *node;
    ql_unit *quantizer; /* of a compensator: the unit upstream; else NULL */
    int64_t stream;     /* whose statistics it reads; -1: none */
    int64_t visit;      /* where it runs */
};

/* One stream's turn at a block, with the units that run in it. */
typedef struct ql_visit {
    int64_t stream; /* -1: no tokens */
    int64_t unit_count;
    ql_unit **units;
} ql_visit;

/* A distinct final model: both NULL for the original. */
typedef struct ql_path {
    ql_unit *quantizer, *compensator;
    const ql_node *written; /* the exporter whose files it is; NULL: none, as the units leave it */
} ql_path;

/* One evaluator at one path: where numbers come from. Or one exporter. */
typedef struct ql_eval {
    const ql_node *node;
    int64_t path;
    int64_t stream; /* whose statistics a per-layer evaluator reads; -1: none */
} ql_eval;

typedef struct ql_plan {
    const ql_node *root; /* the model */
    int64_t unit_count, stream_count, visit_count, path_count, eval_count;
    ql_unit **units;
    ql_stream_plan *streams;
    ql_visit *visits;
    ql_path *paths;
    ql_eval *evals;
} ql_plan;

/* The plan for model node `root`. INVALID, with the file's place, where statistics can't be had: no `calib:`, or `quantized` behind a
 * joint quantizer. Everything lives in the innermost scope. */
ql_status ql_plan_make(ql_ctx *cx, const ql_graph *g, const ql_node *root, ql_plan *out);

/* The node whose output an edge to `n` really carries: an identity is its input. */
const ql_node *ql_plan_resolve(const ql_node *n);

/* A joint quantizer's compensator, the one unit that was made with it; NULL for every other unit. */
ql_unit *ql_plan_partner(const ql_plan *plan, const ql_unit *quantizer);

/* The model stage at the end of `n`'s model inputs; NULL for a node without any. */
const ql_node *ql_plan_root(const ql_node *n);

/* Evaluation of node `n`; of its twin on the original model when `baseline`. NULL: none in this plan. */
/* Neither finds what reads an export's files. */
const ql_eval *ql_plan_find(const ql_plan *p, const ql_node *n, bool baseline);
/* Evaluation of node `n` on what exporter node `x` writes of the same model; NULL: none. */
const ql_eval *ql_plan_find_written(const ql_plan *p, const ql_node *n, const ql_node *x);

#endif
