/* What a run found: cells with their metrics, notes and failures, in memory and in results.db. docs/database.md has the
 * schema. */
#ifndef QLOOM_RESULTS_RESULTS_H
#define QLOOM_RESULTS_RESULTS_H

#include <qloom/evaluator.h>

#include "pipeline/graph.h"

#define QL_RESULTS_FILE "results.db"
#define QL_NOTE_DATA "data"          /* the note with the hash of the tokens that a stage read */
#define QL_ORIGINAL_LABEL "original" /* of a baseline, where it stands for every label */

typedef struct ql_result_metric {
    const char *stage, *name;
    double value; /* NaN and infinities are legal */
} ql_result_metric;

typedef struct
    ql_result_note { /* protocol, bos, seqlen, data, … of a stage's numbers; the last value of a name counts */
    const char *stage, *name, *value;
} ql_result_note;

typedef struct ql_result_linear {
    const char *stage, *linear, *name; /* "layers", "model.layers.3.mlp.down_proj", "rel_error" */
    double value;
} ql_result_linear;

typedef struct ql_result_list {        /* numbers in order: the loss of each window, the singular values of a linear */
    const char *stage, *linear, *name; /* linear: NULL for a list of the whole stream */
    int64_t count, capacity;
    double *values;
} ql_result_list;

typedef struct ql_cost {
    double seconds;
    uint64_t calls, up, down, peak; /* bytes to and from the device, and the most that it held meanwhile */
} ql_cost;

typedef struct ql_result_cell {
    bool baseline;       /* the original model */
    int64_t original;    /* the baseline that the cell is compared with; -1: none */
    const char **labels; /* [reference_count]; NULL where the reference means nothing in this cell */
    const char *error;   /* why the cell failed; NULL: it did not */
    double bits;         /* stored per weight: codes, scales, zeros, adapter; NaN: unknown */
    ql_cost cost;        /* of its own stages; what several cells share counts in each */
    int64_t metric_count, metric_capacity, note_count, note_capacity, linear_count, linear_capacity, footnote_count,
        footnote_capacity, list_count, list_capacity;
    ql_result_metric *metrics;
    ql_result_note *notes;
    ql_result_linear *linears;
    ql_result_list *lists;
    const char **footnotes;
} ql_result_cell;

typedef struct ql_result_edge {
    const char *port;
    int64_t from; /* a node */
} ql_result_edge;

typedef struct ql_result_node {       /* of the merged graph */
    const char *stage, *kind, *label; /* "quant", "quantizer", "NAME bits=3" */
    int64_t cells;                    /* that it serves */
    int64_t edge_count, edge_capacity;
    ql_result_edge *edges;
    ql_cost cost; /* all cells together */
} ql_result_node;

typedef struct ql_result_kind { /* what a stage's metric is: ql_metric_kind, copied */
    const char *stage, *name, *unit, *parts;
    ql_better better;
    bool exp;
} ql_result_kind;

typedef struct ql_result_cite { /* the label of a stage's variant stands for a plugin with a paper */
    const char *stage, *label, *plugin, *cite;
} ql_result_cite;

/* One run. Strings and arrays are the set's own: added texts are copied. */
typedef struct ql_result_set {
    ql_scope memory; /* entered while something is added */
    const char *run; /* name of the run folder: "tiny-ablation-1a2b3c4d" */
    const char *device, *version;
    double seconds; /* of the whole run */
    uint64_t peak;  /* bytes of host memory at most */
    int64_t axis_count, reference_count;
    const char *const *references; /* what labels answer to: the axes of the matrix first, then "quant.use", … */
    int64_t cell_count, cell_capacity, node_count, node_capacity, kind_count, kind_capacity, cite_count, cite_capacity;
    ql_result_cell *cells; /* those of the graph in their order, then the baselines */
    ql_result_node *nodes;
    ql_result_kind *kinds;
    ql_result_cite *cites;
    ql_table_spec table; /* of the pipeline file */
} ql_result_set;

/* An empty set shaped like the graph: references, one cell a cell of the graph, then the baselines unless the file
 * says `baseline: false`; nodes, kinds, citations, table. Cells whose evaluators, evaluation data and base model are
 * the same share a baseline: there are several only where the matrix varies those. ql_results_fini in every case.
 * [one thread per context, as all here] */
ql_status ql_results_init(ql_ctx *cx, const ql_graph *g, const char *run, ql_result_set *set);
void ql_results_fini(ql_ctx *cx, ql_result_set *set); /* a zeroed set is fine */

/* Adding to cell `cell`. */
ql_status ql_results_metric(ql_ctx *cx, ql_result_set *set, int64_t cell, const ql_result_metric *m);
ql_status ql_results_note(ql_ctx *cx, ql_result_set *set, int64_t cell, const ql_result_note *n);
ql_status ql_results_linear(ql_ctx *cx, ql_result_set *set, int64_t cell, const ql_result_linear *l);
ql_status ql_results_list(ql_ctx *cx, ql_result_set *set, int64_t cell, const ql_result_list *l);
ql_status ql_results_footnote(ql_ctx *cx, ql_result_set *set, int64_t cell, const char *text);
/* Marks the cell failed; the first reason stays. */
ql_status ql_results_fail(ql_ctx *cx, ql_result_set *set, int64_t cell, const char *error);
void ql_cost_add(ql_cost *to, const ql_cost *from);

/* What cells cost, as metrics that tables can show. */
#define QL_COST_COUNT 3
extern const char *const ql_cost_names[QL_COST_COUNT];

/* What a metric of a stage is; NULL: its evaluator doesn't say. */
const ql_result_kind *ql_results_kind(const ql_result_set *set, const char *stage, const char *name);
/* The same for "STAGE.METRIC", as tables name it. */
const ql_result_kind *ql_results_kind_of(const ql_result_set *set, const char *metric);
/* The number of "STAGE.METRIC"; of "cost.bits", "cost.seconds" and "cost.memory" (bytes), where no stage has that name,
 * what the cell cost. False: the cell has none. */
bool ql_results_value(const ql_result_cell *c, const char *metric, double *value);
/* A list of a cell; `linear` NULL: one of the whole stream. NULL: there is none. */
const ql_result_list *ql_results_find_list(const ql_result_cell *c, const char *stage, const char *linear,
                                           const char *name);

/* Means over linears of every per-linear metric, as metrics of their cells. Call once, when all linears are there. */
ql_status ql_results_means(ql_ctx *cx, ql_result_set *set);

/* Puts the run into RUNS/results.db, in the place of an earlier one of that name, in one transaction. */
ql_status ql_results_save(ql_ctx *cx, const char *runs, const ql_result_set *set);
/* `run`: a run folder ("runs/tiny-1a2b3c4d"), or its name under `runs`. NOT_FOUND names the nearest. */
ql_status ql_results_load(ql_ctx *cx, const char *runs, const char *run, ql_result_set *set);

/* --- for the files of this folder */

/* A fresh item at the end of `*items`, which grows inside the scope by doubling; NULL without memory. */
void *ql_results_append(ql_ctx *cx, void *items, int64_t *count, int64_t *capacity, size_t size);

#endif
