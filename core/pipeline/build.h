/* A graph while it is built: stages and axes as the file has them, and what becomes of them in the cells. Private to
 * the builder. */
#ifndef QLOOM_PIPELINE_BUILD_H
#define QLOOM_PIPELINE_BUILD_H

#include "base/guess.h"
#include "plugin/registry.h"
#include "graph.h"
#include "yaml.h"

#define QL_STAGES_MAX 256
#define QL_AXES_MAX 32
#define QL_CELLS_MAX 100000
#define QL_VISITS_MAX 2000000 /* stages of all cells together */
#define QL_LINKS_MAX 16       /* inputs of one stage */

/* The nearest of `names` to `wrong`; NULL when none is near. */
static inline const char *
ql_nearest(const char *wrong, const char *const *names, int64_t count)
{
    ql_guess g = ql_guess_open(wrong);

    ql_guess_offer_all(&g, names, count);
    return g.best;
}

typedef struct ql_setting { /* one `key: value` that holds for a stage */
    const ql_yaml *key, *value;
    bool inherited; /* by another plugin, an axis or -s: a shared parameter that the plugin lacks is fine */
} ql_setting;

typedef struct ql_settings { /* of one stage in one combination of its axes */
    const char *stage;       /* "quant", "ppl.data" */
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

struct ql_instance { /* a stage with all parameters, before its inputs are known */
    const char *stage;
    ql_place place;
    const ql_plugin *plugin;
    void *self;
    const char *label, *canonical;
    uint64_t hash[2]; /* of `canonical` */
    ql_propagate propagate;
    int64_t override_count;
    const ql_override *overrides;
    int64_t link_count;
    ql_link *links; /* room for QL_LINKS_MAX */
};

typedef struct ql_build_axis {
    const ql_yaml *key, *values; /* values: a list */
    int64_t stage;               /* -1: the seed */
    const char *parameter;       /* NULL: variants of the whole stage */
    const ql_yaml *name;         /* `parameter` as a scalar at the key's place */
    const ql_plugin **plugins;   /* of the variants; NULL: can't be used */
    const char **labels;
    uint64_t *seeds;
} ql_build_axis;

typedef struct ql_build_stage {
    const char *name;
    const ql_yaml *key, *entry;
    const ql_plugin *plugin; /* of the entry; NULL: none that can be used */
    int64_t variants;        /* axis of the whole stage, or -1 */
    int64_t axis_count;
    int64_t axes[QL_AXES_MAX]; /* all that vary this stage, in file order */
    int64_t combinations;
    ql_instance **instances; /* [combinations]; NULL: not made yet, or wrong */
    bool *tried;             /* [combinations] */
} ql_build_stage;

typedef struct ql_condition { /* of an `exclude:` entry: holds where an axis stands at certain values */
    int64_t axis;             /* -1: holds everywhere or nowhere */
    bool always;
    const bool *holds; /* [values of the axis] */
} ql_condition;

typedef struct ql_exclusion {
    ql_place place;
    int64_t count;
    const ql_condition *conditions;
    bool used;
} ql_exclusion;

typedef struct ql_build {
    ql_ctx *cx;
    ql_registry *registry;
    ql_problems problems;
    ql_yaml *root;
    const char *folder;
    ql_propagate propagate;
    int64_t stage_count, axis_count, exclusion_count;
    ql_build_stage *stages;
    ql_build_axis *axes;
    ql_exclusion *exclusions;
} ql_build;

/* -s KEY=VALUE onto the tree; `sets` NULL-terminated. */
ql_status ql_build_sets(ql_build *b, const char *const *sets);

/* Keys of the file other than stages, matrix, exclude and table. */
ql_status ql_build_top(ql_build *b, ql_graph *g);
/* A seed: 0 … 2^64 - 1. False with the problem told. */
bool ql_build_seed(ql_build *b, const ql_yaml *v, uint64_t *out);
/* original, quantized or compensated. False with the problem told under `prefix`. */
bool ql_build_propagate(ql_build *b, const ql_yaml *v, const char *prefix, ql_propagate *out);
/* Where a key of the file stands. */
ql_place ql_build_key_place(const ql_build *b, const char *key);
extern const char *const ql_top_keys[]; /* NULL-terminated */

ql_status ql_build_stages(ql_build *b);
/* Position of a stage, or -1. */
int64_t ql_build_stage_find(const ql_build *b, const char *name, size_t bytes);
/* Tells that there is no stage of that name, with the nearest one. */
void ql_build_no_stage(ql_build *b, ql_place place, const char *prefix, const char *name);
/* The plugin that a mapping's `use:` names; NULL with the problem told. `path`: of the mapping, for `use: auto`. */
const ql_plugin *ql_build_plugin(ql_build *b, const char *stage, const ql_yaml *use, const ql_yaml *path);

ql_status ql_build_matrix(ql_build *b);
ql_status ql_build_exclude(ql_build *b);
ql_status ql_build_table(ql_build *b, ql_graph *g);

/* What holds for stage `s` when its variant axis stands at `at[...]` (positions on all axes of the matrix). False:
 * the variant's plugin can't be used, which has been told. */
bool ql_settings_of(ql_build *b, int64_t s, const int64_t *at, ql_settings *out);
/* The same for an anonymous stage `v` at `port` of a stage with settings `parent`: one that is driven inherits like a
 * variant. */
bool ql_settings_anonymous(ql_build *b, const ql_settings *parent, const ql_port *port, const ql_yaml *v,
                           ql_settings *out);
const ql_yaml *ql_setting_find(const ql_settings *s, const char *key);
/* The input port of that name, of the kind or of the plugin; NULL: none. */
const ql_port *ql_plugin_input(const ql_plugin *p, const char *name);
/* A parameter's value as the plugin's table takes it. */
bool ql_build_value(ql_build *b, const char *stage, const ql_param *row, const ql_yaml *v, void *self);
/* NULL: something in it is wrong, which has been told. */
ql_instance *ql_instantiate(ql_build *b, const ql_settings *s);
/* The stage's rules for single linears, over the parameters in `out`; false with the problem told. */
bool ql_build_overrides(ql_build *b, const ql_settings *s, ql_instance *out);
/* True for QL_OK; else the context's error becomes a problem of the stage, or a failure of the build. */
bool ql_build_take(ql_build *b, const char *stage, ql_place place, ql_status st);
/* Is every key and value of the entry right for its own plugin, even if every variant has another? */
void ql_check_entry(ql_build *b, int64_t s);

/* Rules of an edge and of a node; false with the problem told. */
bool ql_check_edge(ql_build *b, const ql_instance *to, const ql_link *link, const ql_node *from);
bool ql_check_node(ql_build *b, const ql_instance *in, const ql_node *node);

/* Cells and merged nodes into `g`. */
ql_status ql_build_cells(ql_build *b, ql_graph *g);
/* The pipeline as it was understood, into g->expanded. */
ql_status ql_build_expanded(ql_build *b, ql_graph *g);

#endif
