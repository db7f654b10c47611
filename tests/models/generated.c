/* Models with random weights and awkward sizes against the plain forward in double: every RoPE type, biases, grouped
 * queries, windows, head_dim of its own, tied embeddings. */
#include "models/lab.h"

#define LLAMA .type = "llama", .architecture = "LlamaForCausalLM"
#define QWEN2 .type = "qwen2", .architecture = "Qwen2ForCausalLM", .qkv_bias = true
#define QWEN3 .type = "qwen3", .architecture = "Qwen3ForCausalLM", .qk_norm = true
#define MISTRAL .type = "mistral", .architecture = "MistralForCausalLM"
#define SIZES .layers = 3, .hidden = 24, .mlp = 37, .heads = 6, .kv_heads = 2, .head_dim = 4, .vocab = 51
#define THETA .rope = {{.theta = 10000}}

static const int64_t slide_from_1[] = {0, 5, 5}, slide_listed[] = {3, 0, 3}, slide[] = {5, 5, 5};

static const lab_spec specs[] = {
    {LLAMA, SIZES, THETA},
    {LLAMA, SIZES, THETA, .tied = true, .extra = "\"rope_scaling\": null,"},
    {LLAMA, SIZES, THETA, .qkv_bias = true, .o_bias = true, .extra = "\"attention_bias\": true,"},
    {LLAMA, SIZES, THETA, .mlp_bias = true, .extra = "\"mlp_bias\": true,"},
    {LLAMA, THETA, .layers = 1, .hidden = 1, .mlp = 1, .heads = 1, .kv_heads = 1, .head_dim = 2, .vocab = 2},
    {LLAMA, THETA, .layers = 2, .hidden = 10, .mlp = 9, .heads = 3, .kv_heads = 3, .head_dim = 6, .vocab = 7},
    {LLAMA, SIZES, .rope = {{.theta = 500}}, .extra = "\"rope_theta\": 500,"},
    {LLAMA, SIZES, .rope = {{PLAIN_LINEAR, .theta = 10000, .factor = 4}},
     .extra = "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0},"},
    {LLAMA, SIZES, .rope = {{PLAIN_DYNAMIC, .theta = 10000, .factor = 2, .max_positions = 16}},
     .extra = "\"max_position_embeddings\": 16, \"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 2},"},
    {LLAMA, SIZES, .rope = {{PLAIN_LLAMA3, .theta = 100, .factor = 8, .low = 1, .high = 4, .original = 32}},
     .extra =
         "\"rope_theta\": 100, \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, "
         "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 32},"},
    {QWEN2, SIZES, THETA},
    {QWEN2, SIZES, .tied = true, .rope = {{PLAIN_YARN, .theta = 1000, .factor = 4, .original = 64}},
     .extra = "\"rope_theta\": 1000, \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4, "
              "\"original_max_position_embeddings\": 64},"},
    {QWEN2, SIZES, THETA, .windows = slide_from_1,
     .extra = "\"use_sliding_window\": true, \"sliding_window\": 5, \"max_window_layers\": 1,"},
    {QWEN2, SIZES, THETA, .extra = "\"use_sliding_window\": false, \"sliding_window\": 5, \"max_window_layers\": 1,"},
    {QWEN2, SIZES, THETA, .extra = "\"use_sliding_window\": true, \"sliding_window\": null, \"max_window_layers\": 1,"},
    {QWEN2, SIZES, .windows = slide_listed, .rope = {{.theta = 10000}, {PLAIN_LINEAR, .theta = 50, .factor = 3}},
     .extra = "\"layer_types\": [\"sliding_attention\", \"full_attention\", \"sliding_attention\"], "
              "\"sliding_window\": 3, \"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\"}, "
              "\"sliding_attention\": {\"rope_type\": \"linear\", \"factor\": 3, \"rope_theta\": 50}},"},
    {MISTRAL, SIZES, THETA, .extra = "\"sliding_window\": null,"},
    {MISTRAL, SIZES, THETA}, /* the default is 4096 */
    {MISTRAL, SIZES, THETA, .windows = slide,
     .extra = "\"sliding_window\": 5, \"use_sliding_window\": false, \"max_window_layers\": 2,"}, /* keys of Qwen2's */
    {MISTRAL, .layers = 3, .hidden = 20, .mlp = 31, .heads = 3, .kv_heads = 1, .head_dim = 8, .vocab = 40, .tied = true,
     .rope = {{.theta = 1e6}}, .windows = slide, .extra = "\"rope_theta\": 1000000, \"sliding_window\": 5,"},
    {QWEN3, SIZES, THETA},
    {QWEN3, .layers = 2, .hidden = 12, .mlp = 20, .heads = 4, .kv_heads = 1, .head_dim = 10, .vocab = 33, .tied = true,
     .rope = {{.theta = 1e6}}, .extra = "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 1000000},"},
    {QWEN3, SIZES, THETA, .qkv_bias = true, .o_bias = true, .extra = "\"attention_bias\": true,"},
    {QWEN3, SIZES,
     .rope = {{PLAIN_YARN, .theta = 1e4, .factor = 2, .max_positions = 128, .no_truncate = true, .mscale = 0.7,
               .mscale_all = 1.2, .beta_fast = 8, .beta_slow = 2}},
     .extra = "\"max_position_embeddings\": 128, \"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 2, "
              "\"rope_theta\": 10000, \"truncate\": false, \"mscale\": 0.7, \"mscale_all_dim\": 1.2, \"beta_fast\": 8, "
              "\"beta_slow\": 2},"},
};

static void
check_spec(lab *l, size_t at)
{
    const lab_spec *s = &specs[at];
    const int64_t offsets[] = {0, 1, 24, 61};
    const ql_seqs seqs = {.count = 3, .offsets = offsets};
    ql_ctx *cx = &l->cx;
    ql_model_handle m = {0};
    ql_tensor *logits, *part;
    plain_model plain;
    int32_t ids[61];
    ql_scope scope;

    ql_scope_open(cx, &scope);
    lab_make(l, s, &plain);
    for (int i = 0; i < 61; i++)
        ids[i] = (int32_t)(test_u64(&l->random) % (uint64_t)s->vocab);
    REQUIRE_OK(cx, ql_model_open(cx, l->registry, NULL, NULL, l->folder, &m));
    CHECK_STR(m.info.architecture, s->architecture);
    CHECK_STR(m.plugin->name, s->type);
    REQUIRE_OK(cx, ql_model_logits(cx, &m, &seqs, ids, &logits));
    for (int64_t i = 0; i < seqs.count; i++) {
        const int64_t tokens = offsets[i + 1] - offsets[i];
        double *expected = plain_logits(&plain, ids + offsets[i], tokens);

        REQUIRE_OK(cx, ql_rows(cx, logits, offsets[i], tokens, &part));
        lab_compare(cx, ql_format(cx, "model %zu (%s), sequence %lld", at, s->type, (long long)i), part, expected,
                    1e-5);
        free(expected);
    }
    ql_model_close(&m);
    ql_scope_close(cx, &scope);
}

int
main(void)
{
    lab l;

    lab_open(&l);
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
        check_spec(&l, i);
    return lab_close(&l);
}
