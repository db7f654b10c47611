/* Llama 1, 2 and 3 (arXiv:2307.09288, 2407.21783): the plain decoder. */
#include "decoder.h"

static const decoder_arch arch = {
    .name = "LlamaForCausalLM",
    .vocab = 32000,
    .intermediate = 11008,
    .max_positions = 2048,
    .bos = 1,
    .attention_bias = true,
    .mlp_bias = true,
};

static const char *const architectures[] = {"LlamaForCausalLM", NULL};
static const char *const types[] = {"llama", NULL};
static const ql_param params[] = {QL_MODEL_PATH(decoder_params), QL_PARAMS_END};

static ql_status
open_model(ql_ctx *cx, const void *self, ql_source *src, ql_model_info *out)
{
    (void)self;
    return decoder_open(cx, &arch, src, out);
}

static const ql_model model = {
    .architectures = architectures,
    .types = types,
    .open = open_model,
    .step = decoder_step,
};

QL_PLUGIN(.kind = QL_MODEL, .name = "llama", .version = "1.0", .help = "Llama 1 to 3", .cite = "arXiv:2307.09288",
          .params = params, .self_size = sizeof(decoder_params), .model = &model);
