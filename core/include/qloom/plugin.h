/* The plugin ABI: one constant descriptor, its parameter table, and the kinds. Include the header of your kind, not
 * this one. docs/life-of-a-plugin.md: in which order the host calls a plugin, on which thread, and who owns what. */
#ifndef QLOOM_PLUGIN_H
#define QLOOM_PLUGIN_H

#include <qloom/status.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QL_ABI_MAJOR 0 /* while 0, plugin and host must be equal in both numbers */
#define QL_ABI_MINOR 2

/* Appended, never renumbered. A row of core/plugin/kinds.c makes a kind loadable and checked; what a stage of it does is in core/walk. */
typedef enum ql_kind {
    QL_KIND_NONE,
    QL_BACKEND,
    QL_MODEL,
    QL_DATA,
    QL_QUANTIZER,
    QL_COMPENSATOR,
    QL_EVALUATOR,
    QL_EXPORTER,
    QL_TRAINER,
} ql_kind;

/* --- parameters: one row a field; the host parses, checks, fills, documents, prints and hashes from it ----------- */

/* UINT64: 0 to 2^64 - 1. BYTES: the same as a number of bytes, or of KiB, MiB, GiB or TiB. */
typedef enum ql_type {
    QL_T_END,
    QL_T_BOOL,
    QL_T_INT,
    QL_T_REAL,
    QL_T_STRING,
    QL_T_ENUM,
    QL_T_PATH,
    QL_T_LIST,
    QL_T_UINT64,
    QL_T_BYTES
} ql_type;

typedef struct ql_strings { /* field type of QL_LIST rows; the host owns the strings */
    int64_t count;
    const char *const *items;
} ql_strings;

typedef struct ql_param {
    const char *name, *help;
    ql_type type;
    size_t offset;
    double def, min, max;      /* BOOL, INT, REAL; UINT64, BYTES: def; ENUM: def, index of the default, -1: none */
    const char *def_text;      /* STRING, PATH: default; NULL: none */
    const char *const *values; /* ENUM: allowed words, NULL-terminated; the field (int) holds the index */
    bool required;
    bool aside; /* it changes no result, so that content keys leave it out */
} ql_param;

/* The type of a numeric row comes from its field, so a row that does not fit doesn't compile. */
#define QL_NUM(S, f, d, lo, hi, h)                                                             \
    {                                                                                          \
        .name = #f, .help = h, .offset = offsetof(S, f), .def = (d), .min = (lo), .max = (hi), \
        .type = _Generic(((S *)0)->f, int                                                      \
                         : QL_T_INT, double                                                    \
                         : QL_T_REAL)                                                          \
    }
#define QL_FLAG(S, f, d, h)                                                                                          \
    {                                                                                                                \
        .name = #f, .help = h, .offset = offsetof(S, f), .def = (d), .type = _Generic(((S *)0)->f, bool : QL_T_BOOL) \
    }
#define QL_ENUM(S, f, d, words, h)                                                      \
    {                                                                                   \
        .name = #f, .help = h, .offset = offsetof(S, f), .def = (d), .values = (words), \
        .type = _Generic(((S *)0)->f, int                                               \
                         : QL_T_ENUM)                                                   \
    }
#define QL_UINT64(S, f, d, h)                                        \
    {                                                                \
        .name = #f, .help = h, .offset = offsetof(S, f), .def = (d), \
        .type = _Generic(((S *)0)->f, uint64_t                       \
                         : QL_T_UINT64)                              \
    }
#define QL_BYTES(S, f, d, h)                                         \
    {                                                                \
        .name = #f, .help = h, .offset = offsetof(S, f), .def = (d), \
        .type = _Generic(((S *)0)->f, uint64_t                       \
                         : QL_T_BYTES)                               \
    }
#define QL_TEXT(S, f, d, h)                                                                              \
    {                                                                                                    \
        .name = #f, .help = h, .offset = offsetof(S, f), .def_text = (d),                              \
        .type = _Generic(((S *)0)->f, const char *: QL_T_STRING) \
    }
#define QL_PATH(S, f, req, h)                                                                            \
    {                                                                                                    \
        .name = #f, .help = h, .offset = offsetof(S, f), .required = (req),                            \
        .type = _Generic(((S *)0)->f, const char *: QL_T_PATH) \
    }
#define QL_LIST(S, f, h)                                                                                       \
    {                                                                                                          \
        .name = #f, .help = h, .offset = offsetof(S, f), .type = _Generic(((S *)0)->f, ql_strings : QL_T_LIST) \
    }
#define QL_PARAMS_END    \
    {                    \
        .type = QL_T_END \
    }

/* --- ports ------------------------------------------------------------------------------------------------------- */

typedef enum ql_edge {
    QL_EDGE_NONE,
    QL_EDGE_MODEL,
    QL_EDGE_TOKENS,
    QL_EDGE_METRICS,
    QL_EDGE_FILE,
    QL_EDGE_QUANTIZER
} ql_edge;

typedef struct ql_port {
    const char *name, *help;
    ql_edge type; /* QL_EDGE_NONE ends a table */
    bool output, optional;
    const char *def; /* of an optional quantizer input: the plugin that an absent one means, with default parameters */
} ql_port;

/* --- the descriptor ---------------------------------------------------------------------------------------------- */

struct ql_backend;
struct ql_model;
struct ql_data;
struct ql_quantizer;
struct ql_compensator;
struct ql_evaluator;
struct ql_exporter;
struct ql_trainer;

typedef struct ql_plugin {
    uint16_t abi_major, abi_minor; /* these three never move */
    uint32_t size;
    ql_kind kind;
    const char *name;                  /* what `use:` says; unique over all kinds */
    const char *version, *help, *cite; /* cite: "arXiv:2210.17323", the table's footnote, or NULL */
    const ql_param *params;            /* ends with QL_PARAMS_END; a plugin without parameters has an empty table */
    const ql_port *ports;              /* beyond those of the kind; NULL: none */
    size_t self_size;                  /* of the parameter struct, which the host allocates, fills, hashes and frees */
    ql_status (*check)(ql_ctx *cx,
                       const void *self); /* optional: rules over several parameters; reports, never corrects */
    union {
        const struct ql_backend *backend;
        const struct ql_model *model;
        const struct ql_data *data;
        const struct ql_quantizer *quantizer;
        const struct ql_compensator *compensator;
        const struct ql_evaluator *evaluator;
        const struct ql_exporter *exporter;
        const struct ql_trainer *trainer;
    };
} ql_plugin;

/* A kind's table of functions with its size: `.quantizer = QL_TABLE(ql_quantizer, .quantize = quantize)`. */
#define QL_TABLE(table, ...) (&(const table){.size = sizeof(table), __VA_ARGS__})

#ifdef __cplusplus
}
#define QL_PLUGIN_LINKAGE extern "C"
#else
#define QL_PLUGIN_LINKAGE extern
#endif

QL_PLUGIN_LINKAGE QL_EXPORT const ql_plugin ql_plugin_entry;
#define QL_PLUGIN(...)                  \
    const ql_plugin ql_plugin_entry = { \
        .abi_major = QL_ABI_MAJOR, .abi_minor = QL_ABI_MINOR, .size = sizeof(ql_plugin), __VA_ARGS__}

#endif
