/* PEFT LoRA adapters, read: what the file holds against what the configuration and the model ask for, and the factors. */
#include "lora.h"

#include <string.h>

#define PREFIX "base_model.model."

ql_status
lora_open(ql_ctx *cx, const char *folder, lora *out)
{
    QL_TRY(cx, ql_source_part(cx, folder, "adapter_model", &out->source));
    QL_TRY(cx, ql_source_json(cx, out->source, "adapter_config.json", &out->config));
    if (!out->config)
        return QL_FAIL(cx, QL_NOT_FOUND, "%s: no adapter_config.json in this folder", folder);
    return lora_config_check(cx, out->config);
}

/* The tensor of a factor, with or without the name that PEFT gives an adapter; NULL: the file has none. */
static ql_status
find_factor(ql_ctx *cx, const lora *l, const char *module, const char *part, const char **out)
{
    static const char *const forms[] = {PREFIX "%s.%s.weight", PREFIX "%s.%s.default.weight"};

    *out = NULL;
    for (int i = 0; i < 2 && !*out; i++) {
        const char *name = ql_format(cx, forms[i], module, part);

        if (!name)
            return QL_MEMORY;
        *out = ql_source_has(l->source, name) ? name : NULL;
    }
    return QL_OK;
}

/* --- the file against the model ------------------------------------------------------------------------------------------- */

typedef struct census { /* of the modules of a model */
    int64_t worn, left_out,
        without; /* linears with factors that count, with factors that don't, without the factors they should have */
    int64_t factors; /* of all linears, in the file */
    const char *first_left_out, *first_without;
} census;

static ql_status
count_linear(ql_ctx *cx, const lora *l, const char *module, census *c)
{
    const char *a, *b, *base = ql_format(cx, PREFIX "%s.base_layer.weight", module);
    bool wears;

    if (!base)
        return QL_MEMORY;
    if (ql_source_has(l->source, base))
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: %s: a weight in the place of the model's: only plain LoRA can be read",
                       ql_source_folder(l->source), base);
    QL_TRY(cx, lora_targets(cx, l->config, module, &wears));
    QL_TRY(cx, find_factor(cx, l, module, "lora_A", &a));
    QL_TRY(cx, find_factor(cx, l, module, "lora_B", &b));
    c->factors += (a != NULL) + (b != NULL);
    c->worn += wears && (a || b);
    if (wears && !a && !b && c->without++ == 0)
        c->first_without = module;
    if (!wears && (a || b) && c->left_out++ == 0)
        c->first_left_out = module;
    return QL_OK;
}

/* The embedding and the head are no linears of a block: an adapter on one of them can't be worn. `tensor`: its name in the model. */
static ql_status
refuse_end(ql_ctx *cx, const lora *l, const char *tensor)
{
    static const char *const parts[] = {"lora_A", "lora_embedding_A"};
    const char *module = ql_format(cx, "%.*s", (int)(strlen(tensor) - strlen(".weight")), tensor), *found = NULL;
    bool wears;

    if (!module)
        return QL_MEMORY;
    QL_TRY(cx, lora_targets(cx, l->config, module, &wears));
    for (int i = 0; wears && !found && i < 2; i++)
        QL_TRY(cx, find_factor(cx, l, module, parts[i], &found));
    return found ? QL_FAIL(cx, QL_UNSUPPORTED, "%s: %s: only adapters of linears inside the blocks can be read",
                           ql_source_folder(l->source), found)
                 : QL_OK;
}

static ql_status
report(ql_ctx *cx, const lora *l, const census *c)
{
    const char *where = ql_format(cx, "%s/adapter_config.json", ql_source_folder(l->source));
    const int64_t others = ql_source_count(l->source) - c->factors;

    if (!where)
        return QL_MEMORY;
    if (c->left_out)
        QL_TRY(cx, ql_follow(cx, where,
                             "it leaves out %lld modules that the file has factors of (%s, ...): not "
                             "worn, as in PEFT",
                             (long long)c->left_out, c->first_left_out));
    if (others > 0)
        QL_TRY(cx, ql_follow(cx, where, "%lld tensors beside it fit no linear of this model: ignored, as in PEFT",
                             (long long)others));
    if (c->without)
        return ql_follow(cx, where, "there are no factors of %lld modules that it names (%s, ...)",
                         (long long)c->without, c->first_without);
    return QL_OK;
}

ql_status
lora_check_all(ql_ctx *cx, const lora *l, const ql_model_info *info)
{
    census c = {0};

    QL_TRY(cx, refuse_end(cx, l, info->embed));
    QL_TRY(cx, refuse_end(cx, l, "lm_head.weight"));
    for (int64_t layer = 0; layer < info->layers; layer++)
        for (int i = 0; i < info->linear_count; i++) {
            const char *name = ql_name_in_block(cx, info, layer, info->linears[i].name);

            if (!name)
                return QL_MEMORY;
            QL_TRY(cx, count_linear(cx, l, name, &c));
        }
    if (c.worn == 0)
        return QL_FAIL(
            cx, QL_INVALID,
            "%s: no linear of this model wears the adapter: of its %lld tensors %lld are factors of its linears, "
            "and adapter_config.json chooses none of them",
            ql_source_folder(l->source), (long long)ql_source_count(l->source), (long long)c.factors);
    return report(cx, l, &c);
}

/* --- factors -------------------------------------------------------------------------------------------------------------- */

ql_status
lora_read(ql_ctx *cx, const lora *l, const ql_linear_at *at, ql_stored_linear *out)
{
    ql_want a = {.dtype = QL_F32, .ndim = 2}, b = a;
    const char *key = ql_format(cx, "qloom.base_fingerprint.%s", at->name);
    int64_t rank = 0;
    double scale = 0;
    bool wears;

    if (!key)
        return QL_MEMORY;
    QL_TRY(cx, lora_targets(cx, l->config, at->name, &wears));
    QL_TRY(cx, find_factor(cx, l, at->name, "lora_A", &a.name));
    QL_TRY(cx, find_factor(cx, l, at->name, "lora_B", &b.name));
    if (!wears || (!a.name && !b.name))
        return QL_OK;
    if (!a.name || !b.name)
        return QL_FAIL(cx, QL_INVALID, "%s: %s has one factor of its adapter without the other",
                       ql_source_folder(l->source), at->name);
    QL_TRY(cx, lora_scale(cx, l->config, at->name, &rank, &scale));
    a.dims[0] = b.dims[1] = rank;
    a.dims[1] = at->in;
    b.dims[0] = at->out;
    QL_TRY(cx, ql_source_check(cx, l->source, &a));
    QL_TRY(cx, ql_source_check(cx, l->source, &b));
    if (!at->load)
        return QL_OK;
    QL_TRY(cx, ql_source_load(cx, l->source, &a, &out->a));
    QL_TRY(cx, ql_source_load(cx, l->source, &b, &out->b));
    out->hash = ql_source_metadata(l->source, key);
    if (scale < 1 || scale > 1) {
        const ql_tensor *plain = out->b;

        QL_TRY(cx, ql_zeros(cx, QL_F32, at->out, rank, &out->b));
        QL_TRY(cx, ql_axpby(cx, scale, plain, 0, out->b));
    }
    return QL_OK;
}
