/* Qwen2 and Qwen2.5 (arXiv:2412.15115): biases on q, k and v, and sliding windows. */
#include "decoder.h"

const decoder_arch decoder_this = {
    .name = "Qwen2ForCausalLM",
    .vocab = 151936,
    .intermediate = 22016,
    .max_positions = 32768,
    .kv_heads = 32,
    .bos = -1,
    .qkv_bias = true,
    .window = true,
};

const char *const decoder_architectures[] = {"Qwen2ForCausalLM", NULL};
const char *const decoder_types[] = {"qwen2", NULL};

QL_PLUGIN(.kind = QL_MODEL, .name = "qwen2", .version = "1.0", .help = "Qwen2 and Qwen2.5", .cite = "arXiv:2412.15115",
          .params = decoder_rows, .self_size = sizeof(decoder_params), .model = &decoder_model);
