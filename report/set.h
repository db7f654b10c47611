/* A run as tables and figures look at it: rows of results.db in memory. */
#ifndef QLOOM_REPORT_SET_H
#define QLOOM_REPORT_SET_H

#include "results/results.h"

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
    int64_t count;
    double *values;
} ql_result_list;

typedef struct ql_result_cell {
    bool baseline;       /* the original model */
    int64_t original;    /* the baseline that the cell is compared with; -1: none */
    const char **labels; /* [reference_count]; NULL where the reference means nothing in this cell */
    const char *error;   /* why the cell failed; NULL: it did not */
    double bits;         /* stored per weight: codes, scales, zeros, adapter; NaN: unknown */
    ql_cost cost;        /* of its own stages; what several cells share counts in each */
    int64_t label_count, metric_count, note_count, linear_count, footnote_count, list_count;
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
    int64_t edge_count;
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
    int64_t cell_count, node_count, kind_count, cite_count, value_count;
    ql_result_cell *cells; /* those of the graph in their order, then the baselines */
    ql_result_node *nodes;
    ql_result_kind *kinds;
    ql_result_cite *cites;
    double *values;      /* of all lists, one behind the other */
    ql_table_spec table; /* of the pipeline file */
} ql_result_set;

void ql_results_fini(ql_ctx *cx, ql_result_set *set); /* a zeroed set is fine */

/* `run`: a run folder ("runs/tiny-1a2b3c4d"), or its name under `runs`. NOT_FOUND names the nearest. */
ql_status ql_results_load(ql_ctx *cx, const char *runs, const char *run, ql_result_set *set);
/* Run number `run` of an open database. */
ql_status ql_results_read(ql_ctx *cx, ql_results *r, int64_t run, ql_result_set *set);

/* What cells cost, as metrics that tables can show. */
#define QL_COST_COUNT 3
extern const char *const ql_cost_names[QL_COST_COUNT];

/* What a metric is, by "STAGE.METRIC", as tables name it; NULL: its evaluator doesn't say. */
const ql_result_kind *ql_results_kind_of(const ql_result_set *set, const char *metric);
/* The number of "STAGE.METRIC"; of "cost.bits", "cost.seconds" and "cost.memory" (bytes), where no stage has that name,
 * what the cell cost. False: the cell has none. */
bool ql_results_value(const ql_result_cell *c, const char *metric, double *value);
/* A list of a cell; `linear` NULL: one of the whole stream. NULL: there is none. */
const ql_result_list *ql_results_find_list(const ql_result_cell *c, const char *stage, const char *linear,
                                           const char *name);

/* A fresh zeroed item at the end of `*items`, which grows inside the scope by doubling; NULL without memory. */
void *ql_results_append(ql_ctx *cx, void *items, int64_t *count, size_t size);

typedef struct ql_names { /* a growing list */
    const char **items;
    int64_t count;
} ql_names;

/* Position of the name; -1: it isn't there. */
int64_t ql_names_find(const ql_names *n, const char *name);
/* At the end, each name once; `name` NULL: MEMORY, for what formatted it failed. The text is not copied. */
ql_status ql_names_add(ql_ctx *cx, ql_names *n, const char *name);

#endif
