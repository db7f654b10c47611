/* Exporters: finished linears to files that other programs load. All that an exporter includes. */
#ifndef QLOOM_EXPORTER_H
#define QLOOM_EXPORTER_H

#include <qloom/evaluator.h>
#include <qloom/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- the files of one export; the host's. All: [one thread per context] ------------------------------------------ */

typedef struct ql_export ql_export;

typedef struct ql_export_tensor {
    const char *name;
    ql_dtype dtype;
    int ndim;
    int64_t dims[QL_MAX_DIMS];
} ql_export_tensor;

typedef struct ql_export_pair { /* of a safetensors file's metadata, or a member of a JSON object */
    const char *key, *value;
} ql_export_pair;

/* Puts a tensor aside, on disk, until ql_export_save writes it where it belongs; `data` is contiguous host memory. */
QL_API ql_status ql_export_add(ql_ctx *cx, ql_export *x, const ql_export_tensor *t, const void *data);
/* What was put aside, in order. `read` gives host memory of the innermost scope; `replace` gives tensor i another shape and
 * other contents. */
QL_API int64_t ql_export_count(const ql_export *x);
QL_API const ql_export_tensor *ql_export_item(const ql_export *x, int64_t i);
QL_API ql_status ql_export_read(ql_ctx *cx, const ql_export *x, int64_t i, const void **data);
QL_API ql_status ql_export_replace(ql_ctx *cx, ql_export *x, int64_t i, const int64_t *dims, const void *data);
/* Adds every tensor that the model needs beside its linears' weights, as the model's folder has it: norms, biases, ends. */
QL_API ql_status ql_export_rest(ql_ctx *cx, ql_export *x);
/* Writes what was put aside to STEM.safetensors, or to shards of 5 GB with their index; then nothing is aside. */
QL_API ql_status ql_export_save(ql_ctx *cx, ql_export *x, const char *stem, const ql_export_pair *metadata,
                                int64_t count);

/* A text file of the export. */
QL_API ql_status ql_export_text(ql_ctx *cx, ql_export *x, const char *file, const char *text);
/* config.json of the model with members set (a value is JSON text) or, where the value is NULL, left out; and the files
 * beside it that describe tokenizer and generation, unchanged. */
QL_API ql_status ql_export_config(ql_ctx *cx, ql_export *x, const ql_export_pair *members, int64_t count);
/* Which programs load the export and what serves it: logged, noted in the results, and kept in qloom_export.json. */
QL_API ql_status ql_export_loads(ql_ctx *cx, ql_export *x, const char *runtimes, const char *serve);

/* One word of a POSIX shell, for commands that are printed: as it is where that is safe, else within single quotes. In the innermost
 * scope; NULL without memory. */
QL_API const char *ql_shell_word(ql_ctx *cx, const char *text);

/* 32 hexadecimal digits that tell weights [out, in] apart by their values in f32; in the innermost scope. */
QL_API ql_status ql_weight_hash(ql_ctx *cx, const ql_tensor *w, const char **out);

/* --- the exporter ------------------------------------------------------------------------------------------------ */

/* What is known of a linear before anything runs, from the parameters of the stages upstream. */
typedef struct ql_planned_linear {
    const char *name; /* "model.layers.3.mlp.down_proj" */
    int64_t out, in;
    bool skipped;    /* not quantized */
    bool sym;        /* means nothing where bits are not known */
    int bits;        /* 0: not known */
    int rank;        /* of its adapter; 0: none, -1: not known */
    int64_t group;   /* columns a group; 0: not known */
    ql_dtype scales; /* scale_dtype; QL_DTYPE_NONE: not known */
} ql_planned_linear;

typedef struct ql_planned_export {
    const ql_model_info *model;
    const ql_planned_linear *linears; /* [layers * linear_count], in the model's order */
} ql_planned_export;

typedef struct ql_export_info {
    ql_export *files;
    const ql_model_info *model;
    const ql_json *config; /* the model's config.json */
    const char *folder;    /* where the export will be, from the root */
    const char *
        base; /* folder, from the root, of the model that an adapter stands on: that of another export of this one's model,
                            * if there is any, else the original's */
    const char *recipe; /* the stages that made the model: "NAME bits=3 | NAME rank=32" */
    bool base_exported; /* `base` is that other export */
} ql_export_info;

/* What its files hold of linears: weights in 16 bits, codes at their width, or adapters and nothing of the model. */
enum { QL_WRITES_WEIGHTS, QL_WRITES_CODES, QL_WRITES_ADAPTERS };

typedef struct ql_exporter {
    size_t size;       /* of this table: QL_TABLE sets it */
    size_t state_size; /* what accumulates, one per exported model, zeroed before `begin` */
    bool base;         /* writes the model without its adapters, exactly: what an adapter can stand on */

    /* Optional: would the format hold these linears? Called before anything runs; INVALID and UNSUPPORTED name the linear and say what
     * would fit. `*runtimes`, NULL at first: the programs that will load the export, as ql_export_loads has them at its end, where the
     * parameters tell. */
    ql_status (*check)(ql_ctx *cx, const void *self, const ql_planned_export *in, const char **runtimes);
    /* Then begin, every linear block by block in the model's order, end: there everything is written. What `begin` allocates lives
     * until after `end`. Linears come without statistics; an exporter takes values as they are. An export is a function of
     * what it is handed: the same linears, the same bytes. */
    ql_status (*begin)(ql_ctx *cx, const void *self, const ql_export_info *info, void *state);
    ql_status (*linear)(ql_ctx *cx, const void *self, const ql_linear_result *in, void *state);
    ql_status (*end)(ql_ctx *cx, const void *self, void *state, ql_facts *out);
    /* Optional, where files hold other values than was handed over: the weight [out, in], adapter included, as it is written. The
     * evaluators of the exported model then score it too, and the results have their numbers under the exporter's name. */
    ql_status (*weight)(ql_ctx *cx, const void *self, const ql_linear_result *in, ql_tensor **out);
    int writes; /* QL_WRITES_*: by it the host plans the disk space that an export takes */
} ql_exporter;

#define QL_EXPORT_PATH(S) \
    QL_TEXT(S, path, NULL, "folder of the export; relative: in the run's folder; default: the stage's name")

#ifdef __cplusplus
}
#endif

#endif
