/* The pre-norm decoder that llama, qwen2 and qwen3 share: what differs is data. */
#ifndef QLOOM_MODELS_DECODER_H
#define QLOOM_MODELS_DECODER_H

#include <qloom/model.h>

typedef struct decoder_params { /* parameters of the stage */
    const char *path;
} decoder_params;

/* An architecture: the defaults of its config and the parts that it has. */
typedef struct decoder_arch {
    const char *name;
    int64_t vocab, intermediate, max_positions;
    int64_t kv_heads;    /* when num_key_value_heads is absent; 0: as many as heads */
    int64_t head_dim;    /* when head_dim is absent; 0: hidden_size / num_attention_heads */
    int64_t bos;         /* when bos_token_id is absent; -1: none */
    bool qkv_bias;       /* q, k and v always have a bias */
    bool attention_bias; /* the key attention_bias is read: bias on q, k, v and o */
    bool mlp_bias;       /* the key mlp_bias is read: bias on gate, up and down */
    bool qk_norm;        /* RMSNorm over every head of q and k before RoPE */
    bool window;         /* the keys of sliding windows are read */
} decoder_arch;

ql_status decoder_open(ql_ctx *cx, const decoder_arch *arch, const ql_source *src, ql_model_info *out);
ql_status decoder_step(ql_ctx *cx, const void *self, const ql_step *step);

#endif
