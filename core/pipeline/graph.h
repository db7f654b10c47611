/* The checked graph of a pipeline file: stages merged by content, cells, axes, the table. No method and no model is
 * known here. */
#ifndef QLOOM_PIPELINE_GRAPH_H
#define QLOOM_PIPELINE_GRAPH_H

#include <qloom/exporter.h>

#include "yaml/problems.h"

typedef struct ql_registry ql_registry; /* core/plugin/registry.h: the plugins found */

typedef enum ql_propagate { QL_PROPAGATE_DEFAULT, QL_ORIGINAL, QL_QUANTIZED, QL_COMPENSATED } ql_propagate;

typedef struct ql_override { /* an entry of `overrides:` */
    const char *match;       /* glob over the linear's full name */
    bool skip;
    const void *self; /* parameter struct with the entry's values over the stage's; NULL when skip */
    ql_place place;
} ql_override;

typedef struct ql_node ql_node;

typedef struct ql_input { /* one connected input port */
    const char *port;     /* "model", "calib", "data", "base" */
    ql_edge type;
    ql_node *from;
} ql_input;

/* A stage after merging: equal plugin, parameters and inputs are one node. */
struct ql_node {
    int64_t id;        /* position in ql_graph.nodes, which is in topological order */
    const char *name;  /* of the first stage that became it: "quant" */
    const char *label; /* "PLUGIN bits=3 group_size=64": what differs from the defaults */
    const ql_plugin *plugin;
    bool foreign;           /* the plugin is not one of the program's own: its calls are guarded */
    const void *self;       /* filled parameter struct */
    const char *canonical;  /* canonical print of plugin, version, parameters, overrides, propagate: what is hashed */
    uint64_t key[2];        /* 128-bit hash of `canonical`, the keys of the inputs and the seed */
    ql_propagate propagate; /* as given for the stage, else for the file, else DEFAULT */
    uint64_t seed;
    int64_t override_count;
    const ql_override *overrides; /* first match wins */
    int64_t input_count;
    const ql_input *inputs;
    ql_place place;
    const char
        *cells; /* which it serves, for messages: "quant.bits=3, fix=NAME" (ql_graph_name_cells); NULL: not said */
};

typedef struct ql_axis { /* a key of `matrix:`, in file order */
    const char *key;     /* "quant", "quant.bits", "seed" */
    int64_t count;
    const char *const *labels; /* distinct within the axis */
} ql_axis;

typedef struct ql_cell {
    const int64_t *at;      /* [axis_count]: index of its label on each axis */
    ql_node *const *stages; /* [stage_count]: of each declared stage; NULL where it serves nothing in the cell */
    uint64_t seed;
} ql_cell;

typedef enum ql_best { QL_BEST_NONE, QL_BEST_OF_ROW, QL_BEST_OF_COLUMN } ql_best;

typedef struct ql_table_spec {
    int64_t row_count, column_count;
    const char *const *rows, *const *columns; /* "quant.bits", "quant.use", an axis key */
    const char *value;                        /* "ppl.perplexity"; NULL: every metric a column */
    int64_t pick_count;
    const char *const *picks; /* "AXIS METRIC": of cells that differ on that axis alone, the one with the best metric */
    const char *const *compare; /* "quant.bits=4": differences from the cell with these labels are shown, too */
    int64_t compare_count;      /* 0: they are not */
    int bootstrap;              /* draws for an interval of each difference; 0: none */
    ql_best best;               /* which numbers stand out */
    bool differences;           /* numbers less those of what each cell is compared with */
} ql_table_spec;

typedef struct ql_graph {
    const char *name, *file, *folder;   /* folder: of the file, for relative paths */
    const char *device;                 /* "auto", "cpu", "cuda", "cuda:1" */
    ql_dtype compute;                   /* of activations and weights; NONE: the device's own choice */
    uint64_t seed, memory, host_memory; /* bytes; 0: the file doesn't say */
    const char *spill;                  /* folder; NULL: the cache */
    const char *cache;                  /* folder; NULL: the one beside the runs */
    uint64_t cache_limit;               /* bytes, 0: none */
    bool cache_needed;                  /* blocks of a walk that has ended leave the cache */
    int64_t chunk_tokens;
    double time_limit; /* seconds of one call of a plugin, for the program's timer; 0: none */
    bool baseline;
    int64_t axis_count, cell_count, stage_count, node_count;
    const ql_axis *axes;
    const ql_cell *cells;
    const char *const *stage_names; /* declared stages, in file order */
    ql_node *const *nodes;
    ql_table_spec table;
    const char *expanded; /* the pipeline after environment, -s and defaults, as YAML: for the run folder */
} ql_graph;

/* The keys of a pipeline file that are no stages, as rows of a table; it has no kind and is no plugin. */
extern const ql_plugin ql_file_table;

/* Reads, expands, instantiates, merges and checks FILE. Everything lives in the innermost scope. On INVALID every
 * problem has been reported, one line each, "FILE:LINE:COLUMN: stage 'quant': …", in file order, in the error text
 * (joined by newlines). `sets`: "quant.bits=4" and the like of the command line, NULL-terminated; NULL: none. */
ql_status ql_graph_open(ql_ctx *cx, ql_registry *registry, const char *file, const char *const *sets, ql_graph *out);
/* The same from memory; `file` is used in messages and for relative paths. (Fuzzing, tests.) */
ql_status ql_graph_parse(ql_ctx *cx, ql_registry *registry, const char *file, const char *text, size_t bytes,
                         const char *const *sets, ql_graph *out);

/* The nearest node of a kind on the way to the original model, `n` included; NULL: none, also for NULL. */
const ql_node *ql_node_before(const ql_node *n, ql_kind kind);
/* The node connected to input `port`; NULL: none. */
ql_node *ql_node_input(const ql_node *n, const char *port);

/* Label of a cell under a reference as `table:` uses it: an axis key, "stage.use" (the variant's label) or
 * "stage.parameter". NULL when the reference means nothing in this graph. */
const char *ql_cell_label(ql_ctx *cx, const ql_graph *g, const ql_cell *cell, const char *reference);

typedef struct ql_outcome {
    bool skipped; /* its dense weight stays */
    ql_grid grid; /* where not; zeros where its method does not say */
    int rank;     /* of its adapter; 0: none, -1: not known */
} ql_outcome;
/* What the stages up to `n` make of a linear with `in` columns. */
ql_outcome ql_node_outcome(const ql_node *n, const char *linear, int64_t in);

/* What stage `n` says of a linear with `in` columns, by its own parameters or those of the rule for it; false: it leaves it out. */
bool ql_node_describe(const ql_node *n, const char *linear, int64_t in, ql_described *out);

/* Sets `cells` of every node to the labels that the cells which it serves have in common; in the innermost scope. */
ql_status ql_graph_name_cells(ql_ctx *cx, const ql_graph *g);
/* Where the node is at work, on no linear yet; `title` as in a ql_site. */
ql_site ql_node_site(const ql_node *n, const char *title);

/* For each node the cells that it serves as a declared stage, in the innermost scope; NULL without memory. */
const int64_t *ql_graph_cells(ql_ctx *cx, const ql_graph *g);

/* The rule for one linear in node n, which skips it or brings parameters of its own; NULL: none. */
const ql_override *ql_override_of(const ql_node *n, const char *linear);

/* Warns of settings that do nothing, or not what they seem to: rules that match no linear, ranks above what a linear has,
 * results larger than the original, stages that are one by construction. Says which programs will load each export; one that
 * its format can't hold is an error. Reads headers of the models' files; a model that can't be opened is left out. */
ql_status ql_graph_advise(ql_ctx *cx, ql_registry *registry, const ql_graph *g);

/* May exporter node `n` write a model of this shape? The error of its check hook, else a line of the log that names the programs which
 * will load what it writes. */
ql_status ql_export_check(ql_ctx *cx, const ql_node *n, const ql_model_info *info);

/* Text and Graphviz forms of the merged graph, into memory of the innermost scope. */
ql_status ql_graph_text(ql_ctx *cx, const ql_graph *g, const char **out);
ql_status ql_graph_dot(ql_ctx *cx, const ql_graph *g, const char **out);

#endif
