/* Qwen2 and Qwen2.5 (arXiv:2412.15115): biases on q, k and v, and sliding windows. */
#include "decoder.h"

static const decoder_arch arch = {
    .name = "Qwen2ForCausalLM",
    .vocab = 151936,
    .intermediate = 22016,
    .max_positions = 32768,
    .kv_heads = 32,
    .bos = -1,
    .qkv_bias = true,
    .window = true,
};

static const char *const architectures[] = {"Qwen2ForCausalLM", NULL};
static const char *const types[] = {"qwen2", NULL};
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

QL_PLUGIN(.kind = QL_MODEL, .name = "qwen2", .version = "1.0", .help = "Qwen2 and Qwen2.5", .cite = "arXiv:2412.15115",
          .params = params, .self_size = sizeof(decoder_params), .model = &model);
