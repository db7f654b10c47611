/* What the tests of exports share: small random models with a tokenizer, and pipelines around them. */
#ifndef QLOOM_TESTS_EXPORTS_H
#define QLOOM_TESTS_EXPORTS_H

#include "tests/walk/walk.h"

static const char *const export_architectures[] = {"llama", "qwen2", "qwen3"};

/* A model of the architecture under the test's folder: "model-qwen3"; heads and biases as the architecture has them. */
static inline const char *
export_model(walk_test *t, const char *architecture, uint64_t seed)
{
    const bool qwen3 = strcmp(architecture, "qwen3") == 0, qwen2 = strcmp(architecture, "qwen2") == 0;
    const model_spec spec = {
        .architecture = qwen3   ? "Qwen3ForCausalLM"
                        : qwen2 ? "Qwen2ForCausalLM"
                                : "LlamaForCausalLM",
        .type = architecture,
        .vocab = 512,
        .hidden = 64,
        .intermediate = 96,
        .layers = 2,
        .heads = 4,
        .kv_heads = 2,
        .head_dim = qwen3 ? 32 : 16,
        .tied = qwen2,
        .qkv_bias = qwen2,
        .qk_norm = qwen3,
        .dtype = qwen3   ? QL_ST_BF16
                 : qwen2 ? QL_ST_F32
                         : QL_ST_F16,
        .config = qwen3   ? "\"torch_dtype\": \"bfloat16\", \"rope_theta\": 1e6"
                  : qwen2 ? "\"torch_dtype\": \"float32\""
                          : "\"torch_dtype\": \"float16\"",
        .seed = seed,
    };

    return walk_make_model(t, walk_format(t, "model-%s", architecture), &spec);
}

/* Runs a pipeline that should pass. */
static inline void
export_run(walk_test *t, const char *text)
{
    WALK_OK(t, walk_run(t, text, 2, 0));
}

#endif
