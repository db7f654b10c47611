/* Model architectures: where the tensors of a decoder are, and what happens between its linears. All that a model includes. */
#ifndef QLOOM_MODEL_H
#define QLOOM_MODEL_H

#include <qloom/json.h>
#include <qloom/ops.h>
#include <qloom/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A model folder, opened: config.json and the directory of its tensors. */
typedef struct ql_source ql_source;

QL_API const ql_json *ql_source_config(const ql_source *src); /* the root object of config.json */
QL_API const char *ql_source_folder(const ql_source *src);
QL_API bool ql_source_has(const ql_source *src, const char *tensor); /* is there a tensor of that name? */
QL_API int64_t ql_source_count(const ql_source *src);                /* of tensors */
/* Looks for `name`, a tensor that every model of this kind has and whose name begins with `prefix`, a text that lives as long as the
 * source. Where it is there only without the prefix, as inner models are saved, all names are looked up without it from now on.
 * NOT_FOUND says what the names begin with instead, or which there are. */
QL_API ql_status ql_source_anchor(ql_ctx *cx, ql_source *src, const char *name, const char *prefix);

/* Another folder of tensors, without a config: STEM.safetensors, or its shards. In the innermost scope, which closes it. */
QL_API ql_status ql_source_part(ql_ctx *cx, const char *folder, const char *stem, const ql_source **out);
/* A JSON file of the folder; NULL when there is none. In the innermost scope. */
QL_API ql_status ql_source_json(ql_ctx *cx, const ql_source *src, const char *file, const ql_json **out);
/* A text that the tensors' file keeps under `key`; NULL: none. */
QL_API const char *ql_source_metadata(const ql_source *src, const char *key);

typedef struct ql_want { /* a tensor as the caller needs it */
    const char *name;
    ql_dtype
        dtype; /* QL_DTYPE_NONE: the file's own; I64 for integers that no device tensor has; U8: the bytes of any dtype of 8 bits */
    int ndim;
    int64_t dims[QL_MAX_DIMS];
} ql_want;

/* What there is under `name`; false: nothing, or of more dimensions. */
QL_API bool ql_source_shape(const ql_source *src, const char *name, ql_want *out);
/* Its dtype as the file writes it: "BF16", "F8_E4M3"; NULL: there is no such tensor. */
QL_API const char *ql_source_dtype(const ql_source *src, const char *name);
/* Is it there, of this shape, of a dtype that loads? NOT_FOUND, INVALID, UNSUPPORTED name it. A tensor that was checked is one that
 * the model uses; a warning counts the others. */
QL_API ql_status ql_source_check(ql_ctx *cx, const ql_source *src, const ql_want *want);
/* A tensor, checked, onto the device of `cx` and converted there, in the innermost scope. Counts as one read, and the
 * mapped pages are given back. */
QL_API ql_status ql_source_load(ql_ctx *cx, const ql_source *src, const ql_want *want, ql_tensor **out);

/* A linear of a block, the same in every block. Linears of one subset share their input and are listed together. */
typedef struct ql_linear_info {
    const char *name; /* below the block: "self_attn.q_proj"; tensors are name.weight and, with bias, name.bias */
    int64_t out, in;
    int subset; /* 0, 1, … in the order in which a forward meets them */
    bool bias;
} ql_linear_info;

/* A small tensor of a block that `step` reads: a norm's weight. */
typedef struct ql_small_info {
    const char *name; /* below the block: "input_layernorm.weight" */
    int64_t size;
} ql_small_info;

typedef struct ql_model_info {
    const char *architecture; /* "Qwen3ForCausalLM" */
    int64_t layers, hidden, vocab, max_positions;
    int subsets;
    int linear_count;
    const ql_linear_info *linears;
    int small_count;
    const ql_small_info *smalls;
    const char *block_prefix;        /* printf format with one %lld: "model.layers.%lld." */
    const char *embed, *norm, *head; /* tensor names; head: the embedding's when tied */
    bool tied;
    bool by_length;        /* what a token means follows from how long its sequence is, too: no two share a beginning */
    const char *head_copy; /* tied: what a file may call a second copy of the embedding, unread; NULL: nothing */
    const char *const *ignored; /* tensors below a block that files may hold, unread; NULL-terminated; NULL: none */
    double norm_eps;
    int64_t bos; /* -1: none in config.json */
    /* Numbers of a token that attention of a block keeps as keys, and as many as values; 0: not said, so that it can't generate. */
    int64_t key_width;
    const void *state; /* the plugin's own, from ql_alloc; read-only after open */
} ql_model_info;

/* The whole name of what is `name` below a block: "model.layers.3.mlp.down_proj". In the innermost scope; NULL without memory. */
QL_API const char *ql_name_in_block(ql_ctx *cx, const ql_model_info *info, int64_t block, const char *name);

/* Step k of block `layer`, for k = 0 .. subsets: takes the outputs of subset k - 1 (bias added) and gives the input of subset k.
 * Pure: running it again gives the same bits. All activations have the device's compute dtype. */
typedef struct ql_step {
    const ql_model_info *info;
    int64_t layer;
    int k;
    const ql_seqs *seqs;
    const ql_tensor *const *smalls; /* in the order of info->smalls, in the compute dtype */
    const ql_tensor *h;             /* [T, hidden]: the residual stream */
    const ql_tensor *const *y;      /* outputs [T, out] of the linears of subset k - 1, in their order; k = 0: NULL */
    ql_tensor **x;                  /* out: input [T, in] of subset k; k = subsets: NULL */
    ql_tensor **h_next;             /* out: the residual stream after this step; leave NULL where it did not change */
    /* out: [QL_KEPT], what `step_back` needs beside the above and could not make again for little; NULL: nothing is kept */
    ql_tensor **kept;
} ql_step;

#define QL_KEPT 4 /* tensors that a step can keep */

/* Gradients of the loss around one step: for what it gave, and out, for what it took. "Real": f32, or f64 where the activations are. */
typedef struct ql_grad {
    const ql_tensor *dx; /* [T, in] for x, real or in the compute dtype; k = subsets: NULL */
    ql_tensor *dh;       /* [T, hidden] real, for the residual stream after the step; becomes that for h */
    /* out: [T, out] in the compute dtype, for each y; k = 0: NULL */
    ql_tensor **dy;
} ql_grad;

/* One linear of a folder that holds it in another way than as a tensor NAME.weight, or with an adapter on top. */
typedef struct ql_linear_at {
    const ql_model_info *info;
    const ql_source *source;
    const char *name; /* "model.layers.3.mlp.down_proj" */
    int64_t layer, out, in;
    bool load; /* false: check presence, shapes and dtypes of its tensors, and read none */
} ql_linear_at;

typedef struct ql_stored_linear {
    bool packed;      /* not a tensor NAME.weight: `q` holds it */
    ql_qlinear q;     /* packed and loaded */
    ql_tensor *b, *a; /* adapter, loaded: x (w + b a)^T; both NULL: none */
    const char *hash; /* ql_weight_hash of the w that the adapter was made for; NULL: not known */
} ql_stored_linear;

typedef struct ql_model {
    size_t size;                      /* of this table: QL_TABLE sets it */
    const char *const *architectures; /* of config.json's `architectures`, NULL-terminated */
    const char *const *types;         /* of `model_type`, the fallback, NULL-terminated */
    /* Reads the config and fills `out`, whose strings and arrays come from ql_alloc or are static: they live as long as the model.
     * INVALID or UNSUPPORTED name the key, the value found and the values accepted. */
    ql_status (*open)(ql_ctx *cx, const void *self, ql_source *src, ql_model_info *out);
    ql_status (*step)(ql_ctx *cx, const void *self, const ql_step *step);
    /* Optional: how the folder holds a linear. `out` arrives empty and may stay so: a tensor NAME.weight, nothing on top. Without it,
     * folders whose config has a `quantization_config` are UNSUPPORTED. */
    ql_status (*linear)(ql_ctx *cx, const void *self, const ql_linear_at *at, ql_stored_linear *out);
    /* Optional: the vector-Jacobian product of a step, for training; without it the model can't be trained. `step` is as the forward left
     * it: *x, *h_next and kept hold what `step` made. Pure, but for grad->dh. */
    ql_status (*step_back)(ql_ctx *cx, const void *self, const ql_step *step, const ql_grad *grad);
} ql_model;

#define QL_MODEL_PATH(S) QL_PATH(S, path, true, "folder with config.json, tokenizer.json and safetensors")

#ifdef __cplusplus
}
#endif

#endif
