/* PEFT LoRA adapters (docs/exports.md): B and A of every linear, which scale 1 adds to the base that they were fitted to. */
#include <string.h>

#include <qloom/exporter.h>

#include "uniform.h"

typedef struct peft_adapter {
    const char *path, *base_model;
    int ranks;
} peft_adapter;

enum { PORTABLE, EXACT };
static const char *const rank_modes[] = {"portable", "exact", NULL};

static const ql_param params[] = {
    QL_EXPORT_PATH(peft_adapter),
    QL_TEXT(peft_adapter, base_model, NULL,
            "folder or name of the base model that readers should load; default: the folder of the model's other "
            "export, else the model's own"),
    QL_ENUM(peft_adapter, ranks, PORTABLE, rank_modes,
            "portable: smaller ranks are padded with zeros, for programs that know one rank; exact: as they are"),
    QL_PARAMS_END,
};

typedef struct fitted { /* a linear with an adapter */
    int64_t rank;
    char hash[33]; /* of the weight that it stands on */
} fitted;

typedef struct adapters {
    ql_export_info info;
    fitted *linears; /* [layers * linears], rank 0: none */
    int64_t count;
    bool quantized; /* some of the weights that they stand on are */
} adapters;

static ql_status
begin(ql_ctx *cx, const void *self, const ql_export_info *info, void *state)
{
    adapters *s = state;

    (void)self;
    s->info = *info;
    s->linears = ql_alloc(cx, (size_t)(info->model->layers * info->model->linear_count), sizeof *s->linears);
    return s->linears ? QL_OK : QL_MEMORY;
}

static ql_status
add(ql_ctx *cx, const adapters *s, const char *name, const char *part, const ql_tensor *t)
{
    const ql_export_tensor entry = {.name = ql_format(cx, "base_model.model.%s.%s.weight", name, part),
                                    .dtype = ql_dtype_of(t),
                                    .ndim = 2,
                                    .dims = {ql_dim(t, 0), ql_dim(t, 1)}};
    const void *data;

    if (!entry.name)
        return QL_MEMORY;
    QL_TRY(cx, uniform_host(cx, t, &data));
    return ql_export_add(cx, s->info.files, &entry, data);
}

static ql_status
linear(ql_ctx *cx, const void *self, const ql_linear_result *in, void *state)
{
    adapters *s = state;
    fitted *f = &s->linears[s->count++];
    const char *hash;

    (void)self;
    if (!in->a || ql_dim(in->a, 0) == 0)
        return QL_OK;
    QL_TRY(cx, ql_weight_hash(cx, in->what, &hash));
    s->quantized = s->quantized || in->qlinear;
    memcpy(f->hash, hash, sizeof f->hash - 1);
    f->rank = ql_dim(in->a, 0);
    QL_TRY(cx, add(cx, s, in->name, "lora_A", in->a));
    return add(cx, s, in->name, "lora_B", in->b);
}

/* --- ranks -------------------------------------------------------------------------------------------------------------- */

/* Rows and columns of zeros behind tensor i, up to `rows` x `cols`. */
static ql_status
pad(ql_ctx *cx, const adapters *s, int64_t i, int64_t rows, int64_t cols)
{
    const ql_export_tensor *t = ql_export_item(s->info.files, i);
    const size_t size = ql_dtype_size(t->dtype), from = (size_t)t->dims[1] * size, to = (size_t)cols * size;
    char *wide = ql_alloc(cx, (size_t)rows, to);
    const void *data;

    if (!wide)
        return QL_MEMORY;
    QL_TRY(cx, ql_export_read(cx, s->info.files, i, &data));
    for (int64_t r = 0; r < t->dims[0]; r++)
        memcpy(wide + (size_t)r * to, (const char *)data + (size_t)r * from, from);
    return ql_export_replace(cx, s->info.files, i, (const int64_t[]){rows, cols}, wide);
}

/* Tensors were added in pairs, A [r, in] and B [out, r]. */
static ql_status
pad_all(ql_ctx *cx, const adapters *s, int64_t rank)
{
    for (int64_t i = 0; i < ql_export_count(s->info.files); i += 2) {
        const ql_export_tensor a = *ql_export_item(s->info.files, i), b = *ql_export_item(s->info.files, i + 1);

        if (a.dims[0] == rank)
            continue;
        QL_TRY(cx, pad(cx, s, i, rank, a.dims[1]));
        QL_TRY(cx, pad(cx, s, i + 1, b.dims[0], rank));
    }
    return QL_OK;
}

/* --- the configuration ---------------------------------------------------------------------------------------------------- */

static const char *
linear_name(ql_ctx *cx, const adapters *s, int64_t at)
{
    const ql_model_info *m = s->info.model;

    return ql_name_in_block(cx, m, at / m->linear_count, m->linears[at % m->linear_count].name);
}

/* Does linear l of a block have an adapter in every layer, so that its last name means the same as all full ones? */
static bool
in_every_layer(const adapters *s, int l)
{
    for (int64_t at = l; at < s->count; at += s->info.model->linear_count)
        if (s->linears[at].rank == 0)
            return false;
    return true;
}

/* A target without tensors would be made anew by readers, so names are exact where some layers have none. */
static ql_status
print_targets(ql_ctx *cx, const adapters *s, const char **out)
{
    const ql_model_info *m = s->info.model;
    bool all = true;

    *out = "";
    for (int l = 0; l < m->linear_count; l++)
        all = all && in_every_layer(s, l);
    for (int64_t at = 0; at < (all ? m->linear_count : s->count) && *out; at++) {
        const char *name = all ? m->linears[at].name : linear_name(cx, s, at);
        const char *dot = all ? strrchr(name, '.') : NULL;

        if (s->linears[at].rank > 0)
            *out = ql_format(cx, "%s%s\"%s\"", *out, **out ? ", " : "", dot ? dot + 1 : name);
    }
    return *out ? QL_OK : QL_MEMORY;
}

static ql_status
print_ranks(ql_ctx *cx, const adapters *s, int64_t rank, const char **out)
{
    *out = "";
    for (int64_t at = 0; at < s->count && *out; at++) {
        const int64_t mine = s->linears[at].rank;
        const char *name = mine > 0 && mine != rank ? linear_name(cx, s, at) : NULL;

        if (name)
            *out = ql_format(cx, "%s%s\"%s\": %lld", *out, **out ? ", " : "", name, (long long)mine);
    }
    return *out ? QL_OK : QL_MEMORY;
}

/* Every field that readers ask for, and none that older ones would stumble over; lora_alpha = r, so that the scale is 1. */
static ql_status
save_config(ql_ctx *cx, const peft_adapter *p, const adapters *s, int64_t rank, const char *base)
{
    const char *targets, *ranks = "", *text, *quoted = ql_json_quote(cx, base, strlen(base));

    if (!quoted)
        return QL_MEMORY;
    QL_TRY(cx, print_targets(cx, s, &targets));
    if (p->ranks == EXACT)
        QL_TRY(cx, print_ranks(cx, s, rank, &ranks));
    text = ql_format(cx,
                     "{\n  \"peft_type\": \"LORA\",\n  \"task_type\": \"CAUSAL_LM\",\n"
                     "  \"base_model_name_or_path\": %s,\n  \"r\": %lld,\n  \"lora_alpha\": %lld,\n"
                     "  \"target_modules\": [%s],\n  \"lora_dropout\": 0.0,\n  \"bias\": \"none\",\n"
                     "  \"fan_in_fan_out\": false,\n  \"init_lora_weights\": true,\n  \"inference_mode\": true,\n"
                     "  \"use_rslora\": false,\n  \"use_dora\": false,\n  \"lora_bias\": false,\n"
                     "  \"modules_to_save\": null,\n  \"layers_to_transform\": null,\n  \"layers_pattern\": null,\n"
                     "  \"rank_pattern\": {%s},\n  \"alpha_pattern\": {%s},\n  \"auto_mapping\": null,\n"
                     "  \"revision\": null\n}\n",
                     quoted, (long long)rank, (long long)rank, targets, ranks, ranks);
    return text ? ql_export_text(cx, s->info.files, "adapter_config.json", text) : QL_MEMORY;
}

static ql_status
save_tensors(ql_ctx *cx, const adapters *s)
{
    ql_export_pair *pairs = ql_alloc(cx, (size_t)s->count + 1, sizeof *pairs);
    int64_t n = 0;

    if (!pairs)
        return QL_MEMORY;
    pairs[n++] = (ql_export_pair){"qloom.recipe", s->info.recipe};
    for (int64_t at = 0; at < s->count; at++)
        if (s->linears[at].rank > 0) {
            const char *name = linear_name(cx, s, at);

            pairs[n] =
                (ql_export_pair){name ? ql_format(cx, "qloom.base_fingerprint.%s", name) : NULL, s->linears[at].hash};
            if (!pairs[n++].key)
                return QL_MEMORY;
        }
    return ql_export_save(cx, s->info.files, "adapter_model", pairs, n);
}

/* --- who loads it ------------------------------------------------------------------------------------------------------------ */

/* The smallest --max-lora-rank of vLLM that holds `rank`; 0: none does. */
static int64_t
vllm_rank(int64_t rank)
{
    static const int64_t ranks[] = {1, 8, 16, 32, 64, 128, 256, 320, 512};

    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++)
        if (rank <= ranks[i])
            return ranks[i];
    return 0;
}

static const char *
name_runtimes(int64_t rank, bool mixed)
{
    return mixed                  ? "PEFT; not vLLM or SGLang, which know one rank: export ranks: portable"
           : vllm_rank(rank) == 0 ? "PEFT; not vLLM, which takes ranks up to 512"
                                  : "PEFT; vLLM and SGLang where they load its base";
}

/* What a reader looks for from where it was started, or not at all, is refused: the folder may be used from anywhere. */
static ql_status
check(ql_ctx *cx, const void *self, const ql_planned_export *in, const char **runtimes)
{
    const peft_adapter *p = self;
    const char first = p->base_model ? p->base_model[0] : '\0';
    int64_t rank = 0, least = INT64_MAX;

    if (first == '~' || first == '.')
        return QL_FAIL(cx, QL_INVALID,
                       "base_model: expected a folder from the root, or the name of a model on a hub, got '%s'",
                       p->base_model);
    for (int64_t i = 0; i < in->model->layers * in->model->linear_count; i++) {
        const int64_t mine = in->linears[i].rank;

        least = mine != 0 && mine < least ? mine : least;
        rank = mine > rank ? mine : rank;
    }
    if (least == INT64_MAX)
        *runtimes = "nothing, for no linear of the model has an adapter: export a compensator's model";
    else if (least > 0)
        *runtimes = name_runtimes(rank, p->ranks == EXACT && least < rank);
    return QL_OK;
}

static ql_status
tell_runtimes(ql_ctx *cx, const adapters *s, int64_t rank, bool mixed, const char *base)
{
    const int64_t most = vllm_rank(rank);
    const char *model = ql_shell_word(cx, base), *folder = ql_shell_word(cx, s->info.folder), *serve;

    if (!model || !folder)
        return QL_MEMORY;
    serve = mixed || most == 0
                ? uniform_python(cx, "from peft import AutoPeftModelForCausalLM as M; M.from_pretrained(",
                                 s->info.folder, ")")
                : ql_format(cx, "vllm serve %s --enable-lora --max-lora-rank %lld --lora-modules qloom=%s", model,
                            (long long)most, folder);
    return serve ? ql_export_loads(cx, s->info.files, name_runtimes(rank, mixed), serve) : QL_MEMORY;
}

static ql_status
end(ql_ctx *cx, const void *self, void *state, ql_facts *out)
{
    const peft_adapter *p = self;
    const adapters *s = state;
    const char *base = p->base_model && *p->base_model ? p->base_model : s->info.base;
    int64_t rank = 0;
    bool mixed = false;

    for (int64_t at = 0; at < s->count; at++)
        rank = s->linears[at].rank > rank ? s->linears[at].rank : rank;
    for (int64_t at = 0; at < s->count; at++)
        mixed = mixed || (s->linears[at].rank > 0 && s->linears[at].rank < rank);
    if (rank == 0)
        return QL_FAIL(cx, QL_INVALID, "no linear of the model has an adapter: export a compensator's model");
    if (s->quantized && base == s->info.base && !s->info.base_exported)
        ql_warn(cx,
                "the adapters stand on quantized weights that no stage exports, and base_model_name_or_path names the "
                "original model: export its base too, or give base_model");
    if (p->ranks == PORTABLE && mixed)
        QL_TRY(cx, pad_all(cx, s, rank));
    QL_TRY(cx, save_tensors(cx, s));
    QL_TRY(cx, save_config(cx, p, s, rank, base));
    QL_TRY(cx, tell_runtimes(cx, s, rank, mixed && p->ranks == EXACT, base));
    return ql_fact(cx, out, "rank", NULL, (double)rank);
}

QL_PLUGIN(.kind = QL_EXPORTER, .name = "peft_adapter", .version = "1.0",
          .help = "the adapters as a PEFT LoRA folder, for PEFT, and vLLM", .params = params,
          .self_size = sizeof(peft_adapter),
          .exporter = QL_TABLE(ql_exporter, .writes = QL_WRITES_ADAPTERS, .state_size = sizeof(adapters),
                               .check = check, .begin = begin, .linear = linear, .end = end), );
