/* Qwen3 (arXiv:2505.09388): q and k are normalised by head, and heads * head_dim need not be the hidden size. */
#include "decoder.h"

static const decoder_arch arch = {
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

static const char *const architectures[] = {"Qwen3ForCausalLM", NULL};
static const char *const types[] = {"qwen3", NULL};
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

QL_PLUGIN(.kind = QL_MODEL, .name = "qwen3", .version = "1.0", .help = "Qwen3", .cite = "arXiv:2505.09388",
          .params = params, .self_size = sizeof(decoder_params), .model = &model);
