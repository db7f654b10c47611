/* Which linears wear an adapter, and how strongly, as PEFT 0.21 decides it (check_target_module_exists and get_pattern_key of its
 * source). */
#include <qloom/plugin.h>

#include "core/tensor/safetensors_write.h"
#include "models/lab.h"
#include "tests/make_model.h"

#define LAYERS 3
#define HIDDEN 32
#define RANK 2

static const char *const adapted[] = {"self_attn.q_proj", "mlp.up_proj"};

/* Bits of a set of modules: layer l's q_proj is bit 2 l, its up_proj the next. */
#define Q(l) (1u << (2 * (l)))
#define UP(l) (2u << (2 * (l)))
#define ALL (Q(0) | UP(0) | Q(1) | UP(1) | Q(2) | UP(2))
#define ALL_Q (Q(0) | Q(1) | Q(2))

static const char *
write_model(lab *l)
{
    const model_spec spec = {.architecture = "LlamaForCausalLM",
                             .type = "llama",
                             .vocab = 64,
                             .hidden = HIDDEN,
                             .intermediate = 48,
                             .layers = LAYERS,
                             .heads = 2,
                             .kv_heads = 2,
                             .head_dim = 16,
                             .dtype = QL_ST_F32,
                             .seed = 1};

    REQUIRE_OK(&l->cx, make_model(&l->cx, l->folder, &spec));
    return l->folder;
}

/* Factors of ones for q_proj and up_proj of every layer, under names of the form `form` (module, "lora_A"), and `extra` of a tensor. */
static void
write_factors(lab *l, const char *folder, const char *form, const char *extra)
{
    ql_st_entry entries[2 * 2 * LAYERS + 1];
    ql_st_writer *w;
    float ones[48 * RANK];
    int n = 0;

    for (size_t i = 0; i < sizeof ones / sizeof *ones; i++)
        ones[i] = 1;
    for (int layer = 0; layer < LAYERS; layer++)
        for (int i = 0; i < 2; i++) {
            const char *module = ql_format(&l->cx, "base_model.model.model.layers.%d.%s", layer, adapted[i]);

            entries[n++] = (ql_st_entry){ql_format(&l->cx, form, module, "lora_A"), QL_ST_F32, 2, {RANK, HIDDEN}};
            entries[n++] = (ql_st_entry){ql_format(&l->cx, form, module, "lora_B"), QL_ST_F32, 2, {i ? 48 : 32, RANK}};
        }
    if (extra)
        entries[n++] = (ql_st_entry){extra, QL_ST_F32, 2, {RANK, HIDDEN}};
    REQUIRE_OK(&l->cx, ql_st_create(&l->cx, ql_format(&l->cx, "%s/adapter_model.safetensors", folder),
                                    &(ql_st_plan){.count = n, .entries = entries}, &w));
    for (int i = 0; i < n; i++)
        REQUIRE_OK(&l->cx, ql_st_write(&l->cx, w, entries[i].name, ones,
                                       (size_t)(entries[i].dims[0] * entries[i].dims[1]) * sizeof *ones));
    REQUIRE_OK(&l->cx, ql_st_commit(&l->cx, w));
}

static void
write_config(lab *l, const char *folder, const char *members)
{
    const char *text =
        ql_format(&l->cx, "{\"peft_type\": \"LORA\"%s%s%s%s}", strstr(members, "\"r\"") ? "" : ", \"r\": 2",
                  strstr(members, "\"lora_alpha\"") ? "" : ", \"lora_alpha\": 2", *members ? ", " : "", members);
    FILE *f = fopen(ql_format(&l->cx, "%s/adapter_config.json", folder), "w");

    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        abort();
}

static ql_status
open_model(lab *l, const char *folder, ql_model_handle *m)
{
    const ql_plugin *llama = ql_registry_find(l->registry, "llama")->plugin;
    void *self = ql_alloc(&l->cx, 1, llama->self_size);
    static const char *const keys[] = {"path", "adapter"};

    ql_param_defaults(llama, self);
    for (int i = 0; i < 2; i++)
        REQUIRE_OK(&l->cx,
                   ql_param_set(&l->cx, ql_param_find(llama, keys[i]), &(ql_value){.text = folder}, NULL, self));
    return ql_model_open(&l->cx, l->registry, llama, self, folder, m);
}

/* The modules that wear the adapter; *scale: the first element of B of the one that wears it last, whose file holds ones. */
static unsigned
worn(lab *l, const char *folder, double *scale)
{
    ql_model_handle m = {0};
    unsigned out = 0;

    REQUIRE_OK(&l->cx, open_model(l, folder, &m));
    for (int64_t layer = 0; layer < LAYERS; layer++)
        for (int i = 0; i < m.info.linear_count; i++) {
            ql_stored_linear s = {0};
            const float *b;

            REQUIRE_OK(&l->cx, ql_model_linear(&l->cx, &m, layer, i, true, &s));
            if (!s.b)
                continue;
            for (int k = 0; k < 2; k++)
                out |= strcmp(m.info.linears[i].name, adapted[k]) == 0 ? (1u << k) << (2 * layer) : 0u;
            REQUIRE_OK(&l->cx, ql_map(&l->cx, s.b, QL_READ, &b));
            *scale = (double)b[0];
            REQUIRE_OK(&l->cx, ql_unmap(&l->cx, s.b));
        }
    ql_model_close(&m);
    return out;
}

static void
selections(lab *l, const char *folder)
{
    static const struct {
        const char *members;
        unsigned worn;
    } cases[] = {
        {"\"target_modules\": [\"q_proj\", \"up_proj\"]", ALL},
        {"\"target_modules\": [\"q_proj\"]", ALL_Q},
        {"\"target_modules\": [\"_proj\", \"q_proj\"]", ALL_Q}, /* an end after a dot, not any end */
        {"\"target_modules\": [\"self_attn.q_proj\"]", ALL_Q},
        {"\"target_modules\": [\"model.layers.1.mlp.up_proj\"]", UP(1)},
        {"\"target_modules\": \"all-linear\"", ALL},
        {"\"target_modules\": \"All-Linear\", \"exclude_modules\": [\"q_proj\"]", ALL & ~ALL_Q},
        {"\"target_modules\": null", ALL_Q},
        {"", ALL_Q},
        {"\"target_modules\": \".*up_proj\"", ALL & ~ALL_Q},
        {"\"target_modules\": \".*\\\\.(0|2)\\\\..*q_proj\"", Q(0) | Q(2)},
        {"\"target_modules\": \"(?:.*?(?:1).*?(?:q|up)_proj)\"", Q(1) | UP(1)},
        {"\"target_modules\": \"all-linear\", \"exclude_modules\": \".*layers\\\\.1\\\\..*\"", ALL & ~(Q(1) | UP(1))},
        {"\"target_modules\": [\"q_proj\", \"up_proj\"], \"exclude_modules\": [\"model.layers.0.mlp.up_proj\"]",
         ALL & ~UP(0)},
        {"\"target_modules\": [\"q_proj\", \"up_proj\"], \"exclude_modules\": []", ALL},
        {"\"target_modules\": [\"q_proj\", \"up_proj\"], \"layers_to_transform\": [0]", Q(0) | UP(0)},
        {"\"target_modules\": [\"q_proj\", \"up_proj\"], \"layers_to_transform\": 2", Q(2) | UP(2)},
        {"\"target_modules\": [\"q_proj\", \"up_proj\"], \"layers_to_transform\": []", ALL},
        {"\"target_modules\": [\"up_proj\"], \"layers_to_transform\": [1, 2], \"layers_pattern\": \"layers\"",
         UP(1) | UP(2)},
        {"\"target_modules\": [\"up_proj\"], \"layers_to_transform\": [1], \"layers_pattern\": [\"h\", \"layers\"]",
         UP(1)},
        {"\"target_modules\": [\"model.layers.0.mlp.up_proj\"], \"layers_to_transform\": [1]",
         UP(0)}, /* a full name counts anyway */
    };
    double scale;

    write_factors(l, folder, "%s.%s.weight", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned got;

        write_config(l, folder, cases[i].members);
        got = worn(l, folder, &scale);
        if (got != cases[i].worn)
            TEST_FAIL("%s: worn by %x, expected %x", cases[i].members, got, cases[i].worn);
    }
    write_factors(l, folder, "%s.%s.default.weight", NULL);
    write_config(l, folder, "\"target_modules\": [\"q_proj\", \"up_proj\"]");
    CHECK_INT(worn(l, folder, &scale), ALL);
}

static void
scales(lab *l, const char *folder)
{
    static const struct {
        const char *members;
        double scale; /* of layer 2's up_proj */
    } cases[] = {
        {"", 1},
        {"\"lora_alpha\": 8", 4},
        {"\"lora_alpha\": 8, \"use_rslora\": true", 5.656854249492381},
        {"\"alpha_pattern\": {\"up_proj\": 6}", 3},
        {"\"alpha_pattern\": {\"p_proj\": 6}", 1},
        {"\"alpha_pattern\": {\".*\\\\.1\\\\..*\": 6, \".*\\\\.2\\\\..*\": 10}", 5},
        {"\"alpha_pattern\": {\"layers.2.mlp.up_proj|q_proj\": 6, \"up_proj\": 10}", 3}, /* the first that fits */
        {"\"rank_pattern\": {\"up_proj\": 2}, \"r\": 16", 1},
    };

    write_factors(l, folder, "%s.%s.weight", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double scale = 0;

        write_config(l, folder,
                     ql_format(&l->cx, "\"target_modules\": [\"up_proj\"]%s%s", *cases[i].members ? ", " : "",
                               cases[i].members));
        (void)worn(l, folder, &scale);
        CHECK_NEAR(scale, cases[i].scale, 1e-6);
    }
}

static void
refusals(lab *l, const char *folder)
{
    static const struct {
        const char *members, *text;
        ql_status st;
    } cases[] = {
        {"\"layer_replication\": [[0, 2], [1, 3]]", "'layer_replication' is set: only plain LoRA", QL_UNSUPPORTED},
        {"\"alora_invocation_tokens\": [1, 2]", "'alora_invocation_tokens' is set", QL_UNSUPPORTED},
        {"\"target_parameters\": [\"w\"]", "'target_parameters' is set", QL_UNSUPPORTED},
        {"\"use_qalora\": true", "'use_qalora' is true", QL_UNSUPPORTED},
        {"\"init_lora_weights\": \"pissa_niter_4\"", "'init_lora_weights' is 'pissa_niter_4'", QL_UNSUPPORTED},
        {"\"init_lora_weights\": \"OLoRA\"", "'init_lora_weights' is 'OLoRA'", QL_UNSUPPORTED},
        {"\"init_lora_weights\": \"loftq\"", "'init_lora_weights' is 'loftq'", QL_UNSUPPORTED},
        {"\"bias\": \"all\"", "'bias': expected \"none\", got \"all\"", QL_UNSUPPORTED},
        {"\"target_modules\": \"(\"", "'target_modules': no regular expression: (", QL_INVALID},
        {"\"target_modules\": \".*[qk]{,2}_proj\"", "'target_modules': write {0,N} for {,N}: ", QL_UNSUPPORTED},
        {"\"target_modules\": 3", "'target_modules': expected a list of names or a pattern", QL_INVALID},
        {"\"target_modules\": [3]", "'target_modules': item 0 is no name", QL_INVALID},
        {"\"target_modules\": \".*\", \"layers_to_transform\": [1]", "go with a list of 'target_modules'", QL_INVALID},
        {"\"target_modules\": [\"q_proj\"], \"layers_pattern\": \"layers\"", "'layers_pattern' without", QL_INVALID},
        {"\"target_modules\": [\"k_proj\"]", "no linear of this model wears the adapter", QL_INVALID},
        {"\"target_modules\": \"(?:(?:a|[a-z.0-9_])+)+(?:A|B)\"", "takes too many steps", QL_UNSUPPORTED},
    };
    ql_model_handle m = {0};

    write_factors(l, folder, "%s.%s.weight", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_config(l, folder, cases[i].members);
        CHECK_ERROR(&l->cx, open_model(l, folder, &m), cases[i].st, cases[i].text);
    }
    write_factors(l, folder, "%s.%s.weight", "base_model.model.lm_head.lora_A.weight");
    write_config(l, folder, "\"target_modules\": [\"q_proj\", \"lm_head\"]");
    CHECK_ERROR(&l->cx, open_model(l, folder, &m), QL_UNSUPPORTED,
                "lm_head.lora_A.weight: only adapters of linears inside the blocks");
    write_factors(l, folder, "%s.%s.weight", "base_model.model.model.layers.1.mlp.up_proj.base_layer.weight");
    write_config(l, folder, "\"init_lora_weights\": \"gaussian\"");
    CHECK_ERROR(&l->cx, open_model(l, folder, &m), QL_UNSUPPORTED,
                "up_proj.base_layer.weight: a weight in the place of the model's");
}

int
main(void)
{
    static lab l;
    const char *folder;

    lab_open(&l);
    folder = write_model(&l);
    selections(&l, folder);
    scales(&l, folder);
    refusals(&l, folder);
    unlink(ql_format(&l.cx, "%s/adapter_config.json", folder));
    unlink(ql_format(&l.cx, "%s/adapter_model.safetensors", folder));
    return lab_close(&l);
}
