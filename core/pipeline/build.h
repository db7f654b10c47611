/* A graph while it is built: stages and axes as the file has them, and what becomes of them in the cells. Private to
 * the builder. Functions that return false have told what is wrong, or the build has failed. */
#ifndef QLOOM_PIPELINE_BUILD_H
#define QLOOM_PIPELINE_BUILD_H

#include "base/guess.h"
#include "plugin/registry.h"
#include "yaml/yaml.h"
#include "graph.h"

#define QL_STAGES_MAX 256
#define QL_AXES_MAX 32
#define QL_CELLS_MAX 100000
#define QL_VISITS_MAX 2000000 /* stages of all cells together */
#define QL_LINKS_MAX 16       /* inputs of one stage */

typedef struct ql_setting { /* one `key: value` that holds for a stage */
    ql_yaml *key;
    const ql_yaml *value;
    bool inherited; /* by another plugin, an axis or -s: a shared parameter that the plugin lacks is fine */
} ql_setting;

typedef struct ql_settings { /* of one stage in one combination of its axes */
    const char *stage;       /* "quant", "ppl.data" */
    const char *prefix;      /* of messages: "stage 'quant': " */
    ql_place place;          /* of the entry or the variant */
    const ql_plugin *plugin;
    bool driven; /* by the stage whose input it is, which brings model and statistics */
    int64_t count;
    ql_setting *items;
} ql_settings;

typedef struct ql_instance ql_instance;

typedef struct ql_link { /* an input as written: another stage, or an anonymous one */
    const ql_port *port;
    ql_place place;
    int64_t stage; /* -1: anonymous */
    const ql_instance *anonymous;
} ql_link;

struct ql_instance {  /* a stage with all parameters, before its inputs are known */
    ql_node node;     /* all of it but key, seed and inputs */
    void *self;       /* node.self, while it is filled */
    uint64_t hash[2]; /* of the canonical print */
    int64_t link_count;
    ql_link *links; /* room for QL_LINKS_MAX */
};

typedef struct ql_build_axis {
    const ql_yaml *key, *values; /* values: a list */
    int64_t stage;               /* -1: the seed */
    const char *parameter;       /* NULL: variants of the whole stage */
    ql_yaml *name;               /* `parameter` as a scalar at the key's place */
    const ql_plugin **plugins;   /* of the variants; NULL: can't be used */
    const char **labels;
    uint64_t *seeds;
} ql_build_axis;

typedef struct ql_combination { /* a stage in one combination of its axes */
    ql_settings settings;       /* without a name: not made yet; without items: its plugin can't be used */
    ql_instance *instance;      /* NULL: not made yet, or wrong */
    bool tried;
} ql_combination;

typedef struct ql_build_stage {
    const char *name, *prefix; /* prefix: "stage 'quant': " */
    const ql_yaml *key;
    ql_yaml *entry;
    const ql_plugin *plugin; /* of the entry; NULL: none that can be used */
    int64_t variants;        /* axis of the whole stage, or -1 */
    int64_t axis_count;
    int64_t axes[QL_AXES_MAX]; /* all that vary this stage, in file order */
    int64_t count;             /* of combinations */
    ql_combination *combinations;
    /* in the cell at hand: */
    enum { QL_VISIT_NEW, QL_VISIT_OPEN, QL_VISIT_DONE } visit; /* OPEN: its inputs are being visited */
    int64_t user;                                              /* the stage that needs it, or -1 */
    ql_node *node;                                             /* NULL: something is wrong there */
} ql_build_stage;

typedef struct ql_reference { /* "quant.bits" of `matrix:`, `exclude:` or `table:` taken apart */
    int64_t stage;            /* -1: the seed */
    const char *key;          /* "bits", "use"; NULL: the stage's axis */
    int64_t axis;             /* the axis of that very name, or -1 */
} ql_reference;

typedef struct ql_exclusion ql_exclusion; /* exclude.c */

typedef struct ql_build {
    ql_ctx *cx;
    ql_registry *registry;
    ql_problems problems;
    ql_yaml *root;
    const char *folder;
    uint64_t seed;
    ql_propagate propagate;
    int64_t stage_count, axis_count, exclusion_count;
    int64_t cells_most; /* combinations of all axes */
    ql_build_stage *stages;
    ql_build_axis *axes;
    ql_exclusion *exclusions;
} ql_build;

/* Adds a problem; false, so that it can be returned. */
bool ql_wrong(ql_build *b, ql_place place, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Zeroed memory that lives as long as the graph; NULL: the build has failed. */
void *ql_build_alloc(ql_build *b, int64_t count, size_t size);
/* A scalar that stands at `place`; NULL: the build has failed. */
ql_yaml *ql_build_scalar(ql_build *b, ql_place place, const char *text);
/* ql_yaml_put, whose failure is the build's. */
void ql_build_put(ql_build *b, ql_yaml *to, ql_yaml *key, ql_yaml *item);
/* A text that was made; "", and the build has failed, where there was no memory for it. */
const char *ql_build_text(ql_build *b, const char *text);
/* True for QL_OK; else the context's error becomes a problem behind `prefix`, or a failure of the build. */
bool ql_build_take(ql_build *b, ql_place place, const char *prefix, ql_status st);

/* -s KEY=VALUE onto the tree; `sets` NULL-terminated. */
bool ql_build_sets(ql_build *b, const char *const *sets);

/* --- keys that are rows of a table ------------------------------------------------------------------------------- */

/* The rows of a file's own keys, of `table:`, and of what every stage that reads statistics has, with their structs. */
typedef struct ql_file_keys {
    int version, compute, propagate, chunk_tokens, cache_keep;
    bool baseline;
    double time_limit;
    const char *name, *device, *cache, *spill;
    uint64_t seed, memory, host_memory, cache_limit;
} ql_file_keys;
typedef struct ql_stage_keys {
    int propagate;
} ql_stage_keys;
extern const ql_plugin ql_stage_table;
/* Keys of a file that have a tree of their own instead of a row; ended by NULL. */
extern const char *const ql_file_sections[];

/* `v`, the value of `path` of a model, or in place of a name of the Hub the folder that it stands for; NULL: it is wrong. */
const ql_yaml *ql_build_model_path(ql_build *b, const char *prefix, const ql_yaml *v);
/* A value into the field of a row; messages begin with `prefix`. */
bool ql_build_value(ql_build *b, const char *prefix, const ql_param *row, const ql_yaml *v, void *self);
/* The value of a row as a pipeline file says it; NULL: none. */
const char *ql_build_row_text(ql_build *b, const ql_param *row, const void *self);
/* Keys of the file; `keys` gets all but stages, matrix, exclude and table. */
bool ql_build_file(ql_build *b, const char *file, ql_file_keys *keys);
bool ql_build_table(ql_build *b, ql_graph *g);
/* Has a cell each label that the table is to compare with? Once there are cells. */
bool ql_build_compare(ql_build *b, const ql_graph *g);
bool ql_is_file_key(const char *key);
/* The dtype that `compute:` names; NONE: the device chooses. */
ql_dtype ql_file_compute(const ql_file_keys *keys);
/* Where a key of the file stands. */
ql_place ql_build_key_place(const ql_build *b, const char *key);

/* --- stages and axes --------------------------------------------------------------------------------------------- */

bool ql_build_stages(ql_build *b);
/* Position of a stage, or -1. */
int64_t ql_build_stage_find(const ql_build *b, const char *name);
/* Tells that there is no stage of that name, with the nearest one. */
bool ql_build_no_stage(ql_build *b, ql_place place, const char *prefix, const char *name);
/* The plugin that a mapping's `use:` names; NULL: it is missing at `place`, or names none that can be used, which has been told.
 * `path`: of the mapping, for `use: auto`. */
const ql_plugin *ql_build_plugin(ql_build *b, const char *prefix, ql_place place, const ql_yaml *use,
                                 const ql_yaml *path);

bool ql_build_matrix(ql_build *b);
/* Takes the name of a stage, or of a stage and a key, apart; false when there is no such stage, which has been told. */
bool ql_build_target(ql_build *b, ql_place place, const char *prefix, const char *text, ql_reference *out);
/* The same where the key must mean something too: an axis, or what a plugin of the stage has. */
bool ql_build_reference(ql_build *b, ql_place place, const char *prefix, const char *text, ql_reference *out);
bool ql_build_exclude(ql_build *b);
/* Is the combination at these positions of the axes left out? */
bool ql_is_excluded(ql_build *b, const int64_t *at);
void ql_exclude_warn(const ql_build *b);

/* --- instances --------------------------------------------------------------------------------------------------- */

/* Stage `s` when the axes stand at `at`, with its settings. */
ql_combination *ql_combination_at(ql_build *b, int64_t s, const int64_t *at);
/* The settings of an anonymous stage `v` at `port` of a stage with settings `parent`: one that is driven inherits like a
 * variant. `v` NULL: the plugin that the port means, with its defaults. */
bool ql_settings_anonymous(ql_build *b, const ql_settings *parent, const ql_port *port, const ql_yaml *v,
                           ql_settings *out);
const ql_yaml *ql_setting_find(const ql_settings *s, const char *key);
/* The input port of that name, of the kind or of the plugin; NULL: none. */
const ql_port *ql_plugin_input(const ql_plugin *p, const char *name);
/* NULL: something in it is wrong, which has been told. */
ql_instance *ql_instantiate(ql_build *b, const ql_settings *s);
/* Tells what is wrong with an entry's keys for its own plugin, even if every variant has another. */
void ql_check_entry(ql_build *b, const ql_build_stage *stage);

/* Cells and merged nodes into `g`. */
ql_status ql_build_cells(ql_build *b, ql_graph *g);
/* The pipeline as it was understood, into g->expanded. */
ql_status ql_build_expanded(ql_build *b, const ql_file_keys *keys, ql_graph *g);

#endif
