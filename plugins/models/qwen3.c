/* Qwen3 (arXiv:2505.09388): q and k are normalised by head, and heads * head_dim need not be the hidden size. */
#include "decoder.h"

const decoder_arch decoder_this = {
    .name = "Qwen3ForCausalLM",
    .vocab = 151936,
    .intermediate = 22016,
    .max_positions = 32768,
    .kv_heads = 32,
    .head_dim = 128,
    .bos = -1,
    .attention_bias = true,
    .qk_norm = true,
    .window = true,
};

const char *const decoder_architectures[] = {"Qwen3ForCausalLM", NULL};
const char *const decoder_types[] = {"qwen3", NULL};

QL_PLUGIN(.kind = QL_MODEL, .name = "qwen3", .version = "1.0", .help = "Qwen3", .cite = "arXiv:2505.09388",
          .params = decoder_rows, .self_size = sizeof(decoder_params), .model = &decoder_model);
