/* Mistral 7B and its like (arXiv:2310.06825): grouped heads, and a sliding window in every layer where the config has one. */
#include "decoder.h"

const decoder_arch decoder_this = {
    .name = "MistralForCausalLM",
    .vocab = 32000,
    .intermediate = 14336,
    .max_positions = 131072,
    .kv_heads = 8,
    .bos = 1,
    .window = true,
    .window_everywhere = true,
};

const char *const decoder_architectures[] = {"MistralForCausalLM", NULL};
const char *const decoder_types[] = {"mistral", NULL};

QL_PLUGIN(.kind = QL_MODEL, .name = "mistral", .version = "1.0", .help = "Mistral 7B and its like",
          .cite = "arXiv:2310.06825", .params = decoder_rows, .self_size = sizeof(decoder_params),
          .model = &decoder_model);
