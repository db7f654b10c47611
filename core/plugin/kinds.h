/* What the host knows of each kind of plugin before a stage of it runs: what a new kind adds a row to. */
#ifndef QLOOM_PLUGIN_KINDS_H
#define QLOOM_PLUGIN_KINDS_H

#include <qloom/quantizer.h>

typedef struct ql_member { /* a pointer in a kind's table of functions */
    const char *name;
    size_t offset;
} ql_member;

typedef struct ql_kind_info {
    const char *name; /* "quantizer"; NULL: no kind */
    size_t size;      /* of the kind's table of functions, ql_NAME, whose first member says it */
    const ql_port
        *ports; /* of every plugin of the kind, ended by QL_EDGE_NONE; those of the plugin's own come on top */
    const ql_param
        *shared; /* rows that mean the same in all of them, so that a variant with another `use:` inherits them */
    const ql_member
        *members;       /* of its table that are not optional, ended by a row without a name; NULL: it can't run */
    const char *shape;  /* of its nodes in Graphviz */
    ql_kind model_from; /* the kind of the stage that `model:` must name; NONE: any */
    bool seeded;        /* its numbers may depend on the seed */
    bool per_linear;    /* it works on single linears: `overrides:` and `propagate:` hold for it */
    bool sink;          /* what it needs is computed, and nothing else */
} ql_kind_info;

/* The row of a kind; one without a name for what is no kind. */
const ql_kind_info *ql_kind_of(ql_kind kind);
const char *ql_kind_name(ql_kind kind);
/* A member that the plugin's table needs and has not; NULL: none. */
const char *ql_kind_lacks(const ql_plugin *p);
/* The row that its kind's header gives a parameter which all plugins of the kind share (bits, group_size, rank, …); NULL when they
 * don't share `name`. */
const ql_param *ql_shared_row(ql_kind kind, const char *name);

/* Port number `i` of a plugin, those of its kind first; NULL: there are no more. */
const ql_port *ql_port_at(const ql_plugin *p, int64_t i);
/* Must a stage of this plugin connect `port`? Some optional ports of a kind are needed by some of its plugins: `calib`
 * by methods that need statistics, `data` by evaluators of a stream. */
bool ql_port_needed(const ql_plugin *p, const ql_port *port);
/* Does a stage of this plugin read statistics, so that `propagate:` says through which model they come? */
bool ql_reads_statistics(const ql_plugin *p);
/* What a quantizer or compensator says of itself for a weight with `in` columns; what it does not say is not known. */
ql_described ql_describe(const ql_plugin *p, const void *self, int64_t in);
const char *ql_edge_name(ql_edge edge); /* "tokens" */

#endif
