/* make-model FOLDER TYPE [KEY=VALUE…]: a random model for scripts. Keys: vocab hidden intermediate layers heads
 * kv_heads head_dim tied shards sparse seed, dtype=F32|BF16|F16. Without any, a Qwen2.5-0.5B with five blocks for type
 * qwen2, a Llama-2-7B or 70B whose singular values fall as those of trained weights do for llama2-7b and llama2-70b,
 * else a small one. sparse=1 leaves holes in place of weights. */
#include "make_model.h"

typedef struct key_row {
    const char *name;
    int64_t *value;
} key_row;

/* What an architecture has beside its sizes. */
static bool
set_type(const char *type, model_spec *s)
{
    *s = (model_spec){.type = type,
                      .vocab = 512,
                      .hidden = 64,
                      .intermediate = 172,
                      .layers = 4,
                      .heads = 4,
                      .kv_heads = 2,
                      .head_dim = 16,
                      .dtype = QL_ST_BF16,
                      .seed = 1};
    if (strcmp(type, "llama") == 0) {
        s->architecture = "LlamaForCausalLM";
    } else if (strcmp(type, "llama2-7b") == 0) {
        *s = (model_spec){.architecture = "LlamaForCausalLM",
                          .type = "llama",
                          .vocab = 32000,
                          .hidden = 4096,
                          .intermediate = 11008,
                          .layers = 32,
                          .heads = 32,
                          .kv_heads = 32,
                          .head_dim = 128,
                          .dtype = QL_ST_BF16,
                          .shards = 3,
                          .seed = 1,
                          .decay = 0.25,
                          .config = "\"max_position_embeddings\": 4096"};
    } else if (strcmp(type, "llama2-70b") == 0) {
        set_type("llama2-7b", s);
        s->hidden = 8192;
        s->intermediate = 28672;
        s->layers = 80;
        s->heads = 64;
        s->kv_heads = 8;
        s->shards = 15;
    } else if (strcmp(type, "qwen2") == 0) {
        *s = (model_spec){.type = type,
                          .vocab = 151936,
                          .hidden = 896,
                          .intermediate = 4864,
                          .layers = 5,
                          .heads = 14,
                          .kv_heads = 2,
                          .head_dim = 64,
                          .tied = true,
                          .dtype = QL_ST_BF16,
                          .seed = 1};
        s->architecture = "Qwen2ForCausalLM";
        s->qkv_bias = true;
        s->config = "\"rope_theta\": 1000000.0";
    } else if (strcmp(type, "qwen3") == 0) {
        s->architecture = "Qwen3ForCausalLM";
        s->qk_norm = true;
    }
    return s->architecture != NULL;
}

static bool
set_key(model_spec *s, const char *text)
{
    int64_t tied = s->tied, shards = s->shards, sparse = s->sparse, seed = (int64_t)s->seed;
    const key_row rows[] = {{"vocab", &s->vocab},       {"hidden", &s->hidden}, {"intermediate", &s->intermediate},
                            {"layers", &s->layers},     {"heads", &s->heads},   {"kv_heads", &s->kv_heads},
                            {"head_dim", &s->head_dim}, {"tied", &tied},        {"shards", &shards},
                            {"sparse", &sparse},        {"seed", &seed}};
    const char *equal = strchr(text, '=');
    size_t n = equal ? (size_t)(equal - text) : 0;

    if (n == 5 && strncmp(text, "dtype", n) == 0) {
        s->dtype = ql_st_dtype_find(equal + 1);
        return s->dtype == QL_ST_F32 || s->dtype == QL_ST_BF16 || s->dtype == QL_ST_F16;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strlen(rows[i].name) != n || strncmp(rows[i].name, text, n) != 0)
            continue;
        *rows[i].value = strtoll(equal + 1, NULL, 10);
        s->tied = tied != 0;
        s->shards = (int)shards;
        s->sparse = sparse != 0;
        s->seed = (uint64_t)seed;
        return *rows[i].value >= 0;
    }
    return false;
}

int
main(int argc, char **argv)
{
    model_spec spec;
    ql_ctx cx;
    ql_scope scope;

    if (argc < 3 || !set_type(argv[2], &spec)) {
        fprintf(stderr, "usage: make-model FOLDER llama|llama2-7b|llama2-70b|qwen2|qwen3 [KEY=VALUE…]\n");
        return 2;
    }
    for (int i = 3; i < argc; i++)
        if (!set_key(&spec, argv[i])) {
            fprintf(stderr, "make-model: %s?\n", argv[i]);
            return 2;
        }
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    REQUIRE_OK(&cx, make_model(&cx, argv[1], &spec));
    ql_ctx_fini(&cx);
    return 0;
}
