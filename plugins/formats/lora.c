/* PEFT LoRA adapters, read: which ranks and scales the configuration means, and the factors. */
#include "lora.h"

#include <math.h>
#include <regex.h>
#include <string.h>

/* --- the configuration ---------------------------------------------------------------------------------------------- */

static ql_status
expect_off(ql_ctx *cx, const ql_json *config, const char *key)
{
    bool on;

    QL_TRY(cx, ql_json_bool(cx, config, key, false, &on));
    return on ? QL_FAIL(cx, QL_UNSUPPORTED, "adapter_config.json: '%s' is true: only plain LoRA can be read", key)
              : QL_OK;
}

static ql_status
expect_word(ql_ctx *cx, const ql_json *config, const char *key, const char *word)
{
    const char *got;

    QL_TRY(cx, ql_json_text(cx, config, key, word, &got));
    return strcmp(got, word) == 0
               ? QL_OK
               : QL_FAIL(cx, QL_UNSUPPORTED, "adapter_config.json: '%s': expected \"%s\", got \"%s\"", key, word, got);
}

ql_status
lora_open(ql_ctx *cx, const char *folder, lora *out)
{
    QL_TRY(cx, ql_source_part(cx, folder, "adapter_model", &out->source));
    QL_TRY(cx, ql_source_json(cx, out->source, "adapter_config.json", &out->config));
    if (!out->config)
        return QL_FAIL(cx, QL_NOT_FOUND, "%s: no adapter_config.json in this folder", folder);
    QL_TRY(cx, expect_word(cx, out->config, "peft_type", "LORA"));
    QL_TRY(cx, expect_word(cx, out->config, "bias", "none"));
    QL_TRY(cx, expect_off(cx, out->config, "use_dora"));
    QL_TRY(cx, expect_off(cx, out->config, "fan_in_fan_out"));
    QL_TRY(cx, expect_off(cx, out->config, "lora_bias"));
    if (ql_json_length(ql_json_member(out->config, "modules_to_save")) > 0)
        return QL_FAIL(cx, QL_UNSUPPORTED,
                       "adapter_config.json: 'modules_to_save' is not empty: only factors of linears can be read");
    return QL_OK;
}

/* The value that a pattern gives a module: keys are names or regular expressions, the first that fits counts. */
static ql_status
by_pattern(ql_ctx *cx, const lora *l, const char *pattern, const char *module, double *out)
{
    const ql_json *map = ql_json_member(l->config, pattern);
    const char *key = NULL;

    for (int64_t i = 0; i < ql_json_members(map); i++) {
        regex_t re;
        int miss;

        (void)ql_json_at(map, i, &key);
        key = ql_format(cx, "^(.*\\.)?(%s)$", key);
        if (!key)
            return QL_MEMORY;
        if (strlen(key) > 512 || regcomp(&re, key, REG_EXTENDED | REG_NOSUB) != 0)
            return QL_FAIL(cx, QL_UNSUPPORTED, "adapter_config.json: '%s': a key is no regular expression: %.80s",
                           pattern, key);
        miss = regexec(&re, module, 0, NULL, 0);
        regfree(&re);
        (void)ql_json_at(map, i, &key);
        if (miss == 0)
            return ql_json_real(cx, map, key, *out, out);
    }
    return QL_OK;
}

/* Rank and scale of a module: alpha over rank, or over its root; each may have a pattern. */
static ql_status
scale_of(ql_ctx *cx, const lora *l, const char *module, double *rank, double *scale)
{
    double alpha;
    bool root;

    QL_TRY(cx, ql_json_real(cx, l->config, "r", 8, rank));
    QL_TRY(cx, ql_json_real(cx, l->config, "lora_alpha", 8, &alpha));
    QL_TRY(cx, ql_json_bool(cx, l->config, "use_rslora", false, &root));
    QL_TRY(cx, by_pattern(cx, l, "rank_pattern", module, rank));
    QL_TRY(cx, by_pattern(cx, l, "alpha_pattern", module, &alpha));
    if (!(*rank >= 1 && *rank <= 1 << 20) || !isfinite(alpha))
        return QL_FAIL(cx, QL_INVALID, "adapter_config.json: rank %g and lora_alpha %g of %s mean nothing", *rank,
                       alpha, module);
    *scale = root ? alpha / sqrt(*rank) : alpha / *rank;
    return QL_OK;
}

/* --- factors -------------------------------------------------------------------------------------------------------------- */

static const char *
factor(ql_ctx *cx, const char *linear, const char *part)
{
    return ql_format(cx, "base_model.model.%s.%s.weight", linear, part);
}

ql_status
lora_check_all(ql_ctx *cx, const lora *l, const ql_model_info *info)
{
    int64_t known = 0;

    for (int64_t layer = 0; layer < info->layers; layer++)
        for (int i = 0; i < info->linear_count; i++) {
            const char *prefix = ql_format(cx, info->block_prefix, (long long)layer);
            const char *name = prefix ? ql_format(cx, "%s%s", prefix, info->linears[i].name) : NULL;
            const char *a = name ? factor(cx, name, "lora_A") : NULL, *b = name ? factor(cx, name, "lora_B") : NULL;

            if (!a || !b)
                return QL_MEMORY;
            known += ql_source_has(l->source, a);
            known += ql_source_has(l->source, b);
        }
    if (known < ql_source_count(l->source))
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: %lld of its %lld tensors are no factors of this model's linears",
                       ql_source_folder(l->source), (long long)(ql_source_count(l->source) - known),
                       (long long)ql_source_count(l->source));
    return QL_OK;
}

ql_status
lora_read(ql_ctx *cx, const lora *l, const ql_linear_at *at, ql_stored_linear *out)
{
    ql_want a = {.name = factor(cx, at->name, "lora_A"), .dtype = QL_F32, .ndim = 2};
    ql_want b = {.name = factor(cx, at->name, "lora_B"), .dtype = QL_F32, .ndim = 2};
    const char *key = ql_format(cx, "qloom.base_fingerprint.%s", at->name);
    double rank = 0, scale = 0;

    if (!a.name || !b.name || !key)
        return QL_MEMORY;
    if (!ql_source_has(l->source, a.name) && !ql_source_has(l->source, b.name))
        return QL_OK;
    QL_TRY(cx, scale_of(cx, l, at->name, &rank, &scale));
    a.dims[0] = b.dims[1] = (int64_t)rank;
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

        QL_TRY(cx, ql_zeros(cx, QL_F32, at->out, (int64_t)rank, &out->b));
        QL_TRY(cx, ql_axpby(cx, scale, plain, 0, out->b));
    }
    return QL_OK;
}
