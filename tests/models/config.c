/* Configs that no model has: each is refused with its words; and the defaults of each architecture. */
#include "models/lab.h"

typedef struct wrong {
    const char *type, *members, *text;
    ql_status st;
} wrong;

static const wrong cases[] = {
    {"llama", "\"hidden_size\": 0", "'hidden_size': expected 1 to 1073741824, got 0", QL_INVALID},
    {"llama", "\"hidden_size\": -64", "'hidden_size': expected 1 to 1073741824, got -64", QL_INVALID},
    {"qwen2", "\"vocab_size\": 9223372036854775807", "'vocab_size': expected 1 to 1073741824, got 9223372036854775807",
     QL_INVALID},
    {"qwen3", "\"num_hidden_layers\": 65537", "'num_hidden_layers': expected 1 to 65536, got 65537", QL_INVALID},
    {"llama", "\"intermediate_size\": 0", "'intermediate_size': expected 1 to 1073741824, got 0", QL_INVALID},
    {"llama", "\"num_attention_heads\": 6, \"hidden_size\": 24, \"num_key_value_heads\": 4",
     "'num_key_value_heads': expected a divisor of the 6 attention heads, got 4", QL_INVALID},
    {"qwen2", "\"num_attention_heads\": 8, \"hidden_size\": 64",
     "'num_key_value_heads': expected a divisor of the 8 attention heads, got 32", QL_INVALID},
    {"llama", "\"num_attention_heads\": 7, \"hidden_size\": 64",
     "'hidden_size': expected a multiple of the 7 attention heads where head_dim is not given, got 64", QL_INVALID},
    {"llama", "\"num_attention_heads\": 2, \"hidden_size\": 6",
     "'head_dim': expected an even number, because RoPE turns pairs, got 3 (hidden_size / num_attention_heads)",
     QL_INVALID},
    {"qwen3", "\"head_dim\": 33", "'head_dim': expected an even number, because RoPE turns pairs, got 33", QL_INVALID},
    {"qwen3", "\"head_dim\": 0", "'head_dim': expected 1 to 65536, got 0", QL_INVALID},
    {"qwen3", "\"head_dim\": 1073741824", "'head_dim': expected 1 to 65536, got 1073741824", QL_INVALID},
    {"qwen3", "\"hidden_act\": \"gelu\"", "'hidden_act': expected \"silu\", got \"gelu\"", QL_UNSUPPORTED},
    {"llama", "\"rms_norm_eps\": -1e-5", "'rms_norm_eps': expected 0 to 1, got -1e-05", QL_INVALID},
    {"llama", "\"max_position_embeddings\": 0", "'max_position_embeddings': expected 1 to 1073741824, got 0",
     QL_INVALID},
    {"qwen2", "\"num_hidden_layers\": 2, \"layer_types\": [\"full_attention\"]",
     "'layer_types': expected a list of 2, one a layer, got 1", QL_INVALID},
    {"qwen2", "\"num_hidden_layers\": 2, \"layer_types\": [\"full_attention\", \"chunked_attention\"]",
     "'layer_types[1]': expected \"full_attention\" or \"sliding_attention\", got \"chunked_attention\"",
     QL_UNSUPPORTED},
    {"qwen3", "\"num_hidden_layers\": 1, \"layer_types\": [7]",
     "'layer_types[0]': expected \"full_attention\" or \"sliding_attention\", got no string", QL_UNSUPPORTED},
    {"qwen3", "\"num_hidden_layers\": 1, \"layer_types\": [\"sliding_attention\"], \"sliding_window\": null",
     "'sliding_window': expected 1 or more, because layer_types has sliding_attention, got null", QL_INVALID},
    {"qwen2", "\"use_sliding_window\": true, \"sliding_window\": 0",
     "'sliding_window': expected 1 to 1073741824, got 0", QL_INVALID},
    {"llama", "\"rope_scaling\": {\"rope_type\": \"longrope\"}",
     "'rope_scaling.rope_type': expected default, linear, dynamic, llama3 or yarn, got \"longrope\"", QL_UNSUPPORTED},
    {"mistral", "\"sliding_window\": 0", "'sliding_window': expected 1 to 1073741824, got 0", QL_INVALID},
};

/* A folder whose only tensors are the ends: enough for a plugin's `open`. */
static ql_status
open_config(lab *l, const char *type, const char *members, ql_model_info *out)
{
    static const char header[] =
        "{\"lm_head.weight\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
        "\"model.embed_tokens.weight\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[1,1]}}";
    const ql_found *found = ql_registry_find(l->registry, type);
    unsigned char bytes[8 + sizeof header] = {sizeof header - 1};
    const char *config = ql_format(&l->cx, "{%s}", members), *folder = l->folder;
    ql_source *src = NULL;
    void *self;
    ql_status st;

    if (!found || !found->plugin) {
        TEST_FAIL("no plugin '%s'", type);
        exit(1);
    }
    self = ql_alloc(&l->cx, 1, found->plugin->self_size);
    if (!self)
        abort();
    ql_param_defaults(found->plugin, self);
    memcpy(bytes + 8, header, sizeof header);
    REQUIRE_OK(&l->cx, ql_file_write(&l->cx, ql_format(&l->cx, "%s/config.json", folder), config, strlen(config)));
    REQUIRE_OK(&l->cx, ql_file_write(&l->cx, ql_format(&l->cx, "%s/model.safetensors", folder), bytes, sizeof bytes));
    REQUIRE_OK(&l->cx, ql_source_open(&l->cx, folder, &src));
    st = found->plugin->model->open(&l->cx, self, src, out);
    ql_source_close(src);
    return st;
}

static void
check_defaults(lab *l, const char *type, int64_t vocab, int64_t mlp, int64_t head_dim)
{
    const bool qwen2 = strcmp(type, "qwen2") == 0, qwen3 = strcmp(type, "qwen3") == 0;
    ql_model_info info;

    REQUIRE_OK(&l->cx, open_config(l, type, "\"num_key_value_heads\": null, \"head_dim\": null", &info));
    CHECK_INT(info.vocab, vocab);
    CHECK_INT(info.hidden, 4096);
    CHECK_INT(info.layers, 32);
    CHECK_INT(info.max_positions, qwen2 || qwen3 ? 32768 : 2048);
    CHECK_INT(info.bos, qwen2 || qwen3 ? -1 : 1);
    CHECK_NEAR(info.norm_eps, 1e-6, 0);
    CHECK(!info.tied && !info.head_copy);
    CHECK_STR(info.head, "lm_head.weight");
    CHECK_INT(info.subsets, 4);
    CHECK_INT(info.linear_count, PLAIN_LINEARS);
    CHECK_INT(info.small_count, qwen3 ? 4 : 2);
    CHECK_INT(info.linears[PLAIN_Q].out, 32 * head_dim);
    CHECK_INT(info.linears[PLAIN_K].out, 32 * head_dim);
    CHECK_INT(info.linears[PLAIN_O].in, 32 * head_dim);
    CHECK_INT(info.linears[PLAIN_DOWN].in, mlp);
    for (int i = 0; i < PLAIN_LINEARS; i++)
        CHECK(info.linears[i].bias == (qwen2 && i <= PLAIN_V));
}

static void
check_biases(lab *l)
{
    const char *all = "\"attention_bias\": true, \"mlp_bias\": true";
    ql_model_info info;

    REQUIRE_OK(&l->cx, open_config(l, "llama", all, &info));
    for (int i = 0; i < PLAIN_LINEARS; i++)
        CHECK(info.linears[i].bias);
    REQUIRE_OK(&l->cx, open_config(l, "qwen3", all, &info));
    for (int i = 0; i < PLAIN_LINEARS; i++)
        CHECK(info.linears[i].bias == (i <= PLAIN_O));
    REQUIRE_OK(&l->cx, open_config(l, "qwen2", all, &info));
    for (int i = 0; i < PLAIN_LINEARS; i++)
        CHECK(info.linears[i].bias == (i <= PLAIN_V));
}

int
main(void)
{
    ql_model_info info;
    lab l;

    lab_open(&l);
    check_defaults(&l, "llama", 32000, 11008, 128);
    check_defaults(&l, "qwen2", 151936, 22016, 128);
    check_defaults(&l, "qwen3", 151936, 22016, 128);
    check_biases(&l);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const wrong *w = &cases[i];

        CHECK_INT(open_config(&l, w->type, w->members, &info), w->st);
        CHECK_STR(ql_error(&l.cx), ql_format(&l.cx, "config.json: %s", w->text));
    }
    REQUIRE_OK(&l.cx,
               open_config(&l, "qwen3", "\"hidden_size\": 50", &info)); /* head_dim 128 whatever the hidden size */
    CHECK_INT(info.linears[PLAIN_Q].out, 4096);
    return lab_close(&l);
}
