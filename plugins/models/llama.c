/* Llama 1, 2 and 3 (arXiv:2307.09288, 2407.21783): the plain decoder. */
#include "decoder.h"

const decoder_arch decoder_this = {
    .name = "LlamaForCausalLM",
    .vocab = 32000,
    .intermediate = 11008,
    .max_positions = 2048,
    .bos = 1,
    .attention_bias = true,
    .mlp_bias = true,
};

const char *const decoder_architectures[] = {"LlamaForCausalLM", NULL};
const char *const decoder_types[] = {"llama", NULL};

QL_PLUGIN(.kind = QL_MODEL, .name = "llama", .version = "1.0", .help = "Llama 1 to 3", .cite = "arXiv:2307.09288",
          .params = decoder_rows, .self_size = sizeof(decoder_params), .model = &decoder_model);
