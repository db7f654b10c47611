/* compressed-tensors of format pack-quantized, read: weights alone, of whole numbers; what `compressed_tensors` exports. */
#include <string.h>

#include "codes.h"
#include "packed.h"

#define KEY "config.json: 'quantization_config"

/* --- the configuration ---------------------------------------------------------------------------------------------- */

static ql_status
expect(ql_ctx *cx, const ql_json *v, const char *key, const char *word)
{
    const char *got;

    QL_TRY(cx, ql_json_text(cx, v, key, word, &got));
    return strcmp(got, word) == 0 ? QL_OK
                                  : QL_FAIL(cx, QL_UNSUPPORTED, "%s: '%s': expected \"%s\", got \"%s\"",
                                            ql_json_where(cx, v), key, word, got);
}

/* What would change more than the weights. */
static ql_status
expect_none(ql_ctx *cx, const ql_json *v, const char *key)
{
    const ql_json *member = ql_json_member(v, key);

    if (!member || ql_json_members(member) == 0)
        return QL_OK;
    return QL_FAIL(cx, QL_UNSUPPORTED, "%s: '%s' is set: only quantized weights can be read", ql_json_where(cx, v),
                   key);
}

static ql_status read(ql_ctx *cx, const packed_format *f, const ql_linear_at *at, ql_qlinear *out);

ql_status
compressed_open(ql_ctx *cx, packed_format *out)
{
    static const packed_layout layout = {.codes = "weight_packed", .read = read};
    const ql_json *groups = ql_json_member(out->config, "config_groups");
    const char *name;

    QL_TRY(cx, expect(cx, out->config, "quantization_status", "compressed"));
    QL_TRY(cx, expect_none(cx, out->config, "kv_cache_scheme"));
    QL_TRY(cx, expect_none(cx, out->config, "sparsity_config"));
    if (!ql_json_is_object(groups) || ql_json_members(groups) == 0)
        return QL_FAIL(cx, QL_INVALID, KEY ".config_groups': expected an object with a group");
    for (int64_t i = 0; i < ql_json_members(groups); i++) {
        const ql_json *group = ql_json_at(groups, i, &name);

        QL_TRY(cx, expect_none(cx, group, "input_activations"));
        QL_TRY(cx, expect_none(cx, group, "output_activations"));
    }
    out->layout = &layout;
    return QL_OK;
}

/* Is the linear named by the group, by itself or as one of all? */
static bool
is_target(const ql_json *group, const char *linear)
{
    const ql_json *targets = ql_json_member(group, "targets");

    for (int64_t i = 0; i < ql_json_length(targets); i++) {
        const char *target = ql_json_string(ql_json_item(targets, i));

        if (target && (strcmp(target, "Linear") == 0 || strcmp(target, linear) == 0))
            return true;
    }
    return false;
}

/* How the linear was quantized, as the group that names it says. */
static ql_status
find_weights(ql_ctx *cx, const packed_format *f, const char *linear, const ql_json **out)
{
    const ql_json *groups = ql_json_member(f->config, "config_groups");
    const char *name;

    for (int64_t i = 0; i < ql_json_members(groups); i++)
        if (is_target(ql_json_at(groups, i, &name), linear)) {
            *out = ql_json_member(ql_json_at(groups, i, &name), "weights");
            return *out ? QL_OK : QL_FAIL(cx, QL_INVALID, KEY ".config_groups.%s': no 'weights'", name);
        }
    return QL_FAIL(cx, QL_UNSUPPORTED,
                   KEY ".config_groups': no group names this linear, in full or as one of all (\"Linear\")");
}

/* --- one linear ------------------------------------------------------------------------------------------------------- */

typedef struct scheme {
    ql_want codes, scales, zeros;
    bool sym;
    int64_t bits, group, groups; /* columns a group, groups a row */
} scheme;

static ql_status
read_scheme(ql_ctx *cx, const packed_format *f, const ql_linear_at *at, scheme *s)
{
    const ql_json *weights;
    const char *strategy;
    bool dynamic;

    QL_TRY(cx, find_weights(cx, f, at->name, &weights));
    QL_TRY(cx, expect(cx, weights, "type", "int"));
    QL_TRY(cx, ql_json_bool(cx, weights, "dynamic", false, &dynamic));
    QL_TRY(cx, ql_json_bool(cx, weights, "symmetric", true, &s->sym));
    QL_TRY(cx, ql_json_text(cx, weights, "strategy", "channel", &strategy));
    QL_TRY(cx, ql_json_int(cx, weights, "num_bits", 8, &s->bits));
    QL_TRY(cx, ql_json_int(cx, weights, "group_size", at->in, &s->group));
    if (dynamic || ql_json_member(weights, "actorder"))
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: 'dynamic' and 'actorder' can't be read", ql_json_where(cx, weights));
    if (strcmp(strategy, "group") != 0 && strcmp(strategy, "channel") != 0)
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: 'strategy': expected \"group\" or \"channel\", got \"%s\"",
                       ql_json_where(cx, weights), strategy);
    if (strcmp(strategy, "channel") == 0)
        s->group = at->in;
    if (s->bits < 2 || s->bits > 8)
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: 'num_bits': expected 2 to 8, got %lld", ql_json_where(cx, weights),
                       (long long)s->bits);
    if (s->group < 1 || at->in % s->group != 0)
        return QL_FAIL(cx, QL_INVALID, "%s: 'group_size': %lld does not divide the %lld inputs of this linear",
                       ql_json_where(cx, weights), (long long)s->group, (long long)at->in);
    s->groups = at->in / s->group;
    return QL_OK;
}

/* Dense codes; where fewer lie in a word than fit, as older versions packed 3, 5, 6 and 7 bits, rows are longer. */
static ql_status
look(ql_ctx *cx, const packed_format *f, const ql_linear_at *at, scheme *s)
{
    const int bits = (int)s->bits;
    const ql_want shape = {packed_name(cx, at->name, "weight_shape"), QL_I64, 1, {2}};

    s->codes = (ql_want){packed_name(cx, at->name, "weight_packed"), QL_I32, 2, {at->out, codes_words(at->in, bits)}};
    QL_TRY(cx, packed_check(cx, f, &s->codes));
    QL_TRY(cx, packed_check(cx, f, &shape));
    s->scales = (ql_want){packed_name(cx, at->name, "weight_scale"), QL_F32, 2, {at->out, s->groups}};
    QL_TRY(cx, packed_check(cx, f, &s->scales));
    s->zeros =
        (ql_want){packed_name(cx, at->name, "weight_zero_point"), QL_I32, 2, {codes_words(at->out, bits), s->groups}};
    return s->sym ? QL_OK : packed_check(cx, f, &s->zeros);
}

static ql_status
read_codes(ql_ctx *cx, const packed_format *f, const ql_linear_at *at, const scheme *s, ql_qlinear *out)
{
    uint8_t *codes = ql_alloc(cx, (size_t)at->out, (size_t)at->in);
    const uint32_t *words;

    if (!codes)
        return QL_MEMORY;
    QL_TRY(cx, packed_words(cx, f, &s->codes, &words));
    for (int64_t o = 0; o < at->out; o++)
        for (int64_t i = 0; i < at->in; i++)
            codes[o * at->in + i] = (uint8_t)codes_get(words + o * s->codes.dims[1], 1, i, (int)s->bits);
    return ql_upload(cx, QL_U8, at->out, at->in, codes, &out->codes);
}

static ql_status
read_zeros(ql_ctx *cx, const packed_format *f, const ql_linear_at *at, const scheme *s, ql_qlinear *out)
{
    float *zeros = ql_alloc(cx, (size_t)(at->out * s->groups), sizeof *zeros);
    const uint32_t *words = NULL;

    if (!zeros)
        return QL_MEMORY;
    if (!s->sym)
        QL_TRY(cx, packed_words(cx, f, &s->zeros, &words));
    for (int64_t o = 0; o < at->out; o++)
        for (int64_t g = 0; g < s->groups; g++)
            zeros[o * s->groups + g] =
                (float)(words ? codes_get(words + g, s->groups, o, (int)s->bits) : 1u << (s->bits - 1));
    return ql_upload(cx, QL_F32, at->out, s->groups, zeros, &out->zeros);
}

static ql_status
read(ql_ctx *cx, const packed_format *f, const ql_linear_at *at, ql_qlinear *out)
{
    scheme s;
    ql_want found;

    QL_TRY(cx, read_scheme(cx, f, at, &s));
    QL_TRY(cx, look(cx, f, at, &s));
    if (!at->load || !ql_source_shape(f->source, s.scales.name, &found))
        return QL_OK;
    out->grid = (ql_grid){.bits = (int)s.bits, .group = s.group, .sym = s.sym, .scale_dtype = found.dtype};
    QL_TRY(cx, read_codes(cx, f, at, &s, out));
    QL_TRY(cx, read_zeros(cx, f, at, &s, out));
    return ql_source_load(cx, f->source, &s.scales, &out->scales);
}
