/* The pre-norm decoder that llama, mistral, qwen2 and qwen3 share: what differs is data, which each of them defines. */
#ifndef QLOOM_MODELS_DECODER_H
#define QLOOM_MODELS_DECODER_H

#include <qloom/model.h>

typedef struct decoder_params { /* parameters of the stage */
    const char *path, *adapter;
} decoder_params;

/* An architecture: the defaults of its config and the parts that it has. */
typedef struct decoder_arch {
    const char *name;
    int64_t vocab, intermediate, max_positions;
    int64_t kv_heads;       /* when num_key_value_heads is absent; 0: as many as heads */
    int64_t head_dim;       /* when head_dim is absent; 0: hidden_size / num_attention_heads */
    int64_t bos;            /* when bos_token_id is absent; -1: none */
    bool qkv_bias;          /* q, k and v always have a bias */
    bool attention_bias;    /* the key attention_bias is read: bias on q, k, v and o */
    bool mlp_bias;          /* the key mlp_bias is read: bias on gate, up and down */
    bool qk_norm;           /* RMSNorm over every head of q and k before RoPE */
    bool window;            /* the keys of sliding windows are read */
    bool window_everywhere; /* without layer_types, a sliding_window means all layers */
} decoder_arch;

/* A plugin's own. */
extern const decoder_arch decoder_this;
extern const char *const decoder_architectures[], *const decoder_types[]; /* as in ql_model */

/* What it takes from here. */
extern const ql_param decoder_rows[];
extern const ql_model decoder_model;

#endif
