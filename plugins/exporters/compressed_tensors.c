/* compressed-tensors, format pack-quantized: bf16 or fp16 scales and asymmetric zeros, for vLLM. */
#include <string.h>

#include "../formats/codes.h"
#include "uniform.h"

typedef struct compressed_tensors {
    const char *path;
} compressed_tensors;

static const ql_param params[] = {QL_EXPORT_PATH(compressed_tensors), QL_PARAMS_END};

typedef struct scheme { /* how linears were quantized; those with an equal one are a group of the configuration */
    bool quantized, sym;
    int bits;
    int64_t group; /* 0: one scale a row */
} scheme;

typedef struct compressed {
    ql_export_info info;
    scheme *schemes; /* [layers * linears], in the order of the calls */
    int64_t count, adapters;
    bool serves; /* vLLM serves it, so far */
    bool zeros;  /* some grid is asymmetric */
} compressed;

static ql_status
check_groups(ql_ctx *cx, int64_t group, int64_t in)
{
    return group == 0 || in % group == 0
               ? QL_OK
               : QL_FAIL(cx, QL_UNSUPPORTED,
                         "compressed-tensors needs groups that divide a row: groups of %lld do not divide %lld inputs",
                         (long long)group, (long long)in);
}

static ql_status
check_planned(ql_ctx *cx, const ql_planned_linear *in)
{
    if (in->scales == QL_F32)
        return QL_FAIL(cx, QL_INVALID,
                       "compressed-tensors holds scales in 16 bit: give the quantizer scale_dtype: fp16 or bf16");
    return check_groups(cx, in->group < in->in ? in->group : 0, in->in);
}

/* vLLM's rules for one linear. */
static bool
is_served(int bits, int64_t out, int64_t in)
{
    return (bits == 4 || bits == 8) && in % 128 == 0 && out % 64 == 0;
}

/* transformers' loader expects zero points that are not packed (seen with transformers 5.23, compressed-tensors 0.20). */
static const char *
name_runtimes(bool zeros, bool serves)
{
    static const char *const runtimes[2][2] = {
        {"transformers with compressed-tensors; not vLLM, which takes 4 and 8 bits, inputs in multiples of 128 and "
         "outputs of 64",
         "vLLM, transformers with compressed-tensors"},
        {"qloom; not vLLM, which takes 4 and 8 bits, inputs in multiples of 128 and outputs of 64, nor transformers, "
         "which takes symmetric grids",
         "vLLM; not transformers, which takes symmetric grids"},
    };

    return runtimes[zeros][serves];
}

static ql_status
check(ql_ctx *cx, const void *self, const ql_planned_export *in, const char **runtimes)
{
    bool zeros = false, serves = true, known = true, any = false;

    (void)self;
    for (int64_t i = 0; i < in->model->layers * in->model->linear_count; i++) {
        const ql_planned_linear *l = &in->linears[i];

        if (l->skipped)
            continue;
        QL_TRY(cx, ql_where(cx, check_planned(cx, l), "%s", l->name));
        any = true;
        known = known && l->bits;
        zeros = zeros || !l->sym;
        serves = serves && is_served(l->bits, l->out, l->in);
    }
    if (!any)
        *runtimes = "nothing, for no linear of the model is quantized";
    else if (known)
        *runtimes = name_runtimes(zeros, serves);
    return QL_OK;
}

static ql_status
begin(ql_ctx *cx, const void *self, const ql_export_info *info, void *state)
{
    compressed *s = state;

    (void)self;
    s->info = *info;
    s->serves = true;
    s->schemes = ql_alloc(cx, (size_t)(info->model->layers * info->model->linear_count), sizeof *s->schemes);
    return s->schemes ? QL_OK : QL_MEMORY;
}

/* --- linears ---------------------------------------------------------------------------------------------------------- */

static ql_status
add(ql_ctx *cx, const compressed *s, const char *linear, const char *part, ql_export_tensor t, const void *data)
{
    t.name = ql_format(cx, "%s.%s", linear, part);
    return t.name ? ql_export_add(cx, s->info.files, &t, data) : QL_MEMORY;
}

static ql_status
add_codes(ql_ctx *cx, const compressed *s, const char *linear, const uniform *u)
{
    const ql_export_tensor t = {.dtype = QL_I32, .ndim = 2, .dims = {u->out, codes_words(u->in, u->bits)}};
    const int64_t shape[] = {u->out, u->in};
    const uint32_t *words;

    QL_TRY(cx, uniform_pack(cx, u->codes, u->bits, false, &words));
    QL_TRY(cx, add(cx, s, linear, "weight_packed", t, words));
    return add(cx, s, linear, "weight_shape", (ql_export_tensor){.dtype = QL_I64, .ndim = 1, .dims = {2}}, shape);
}

static ql_status
add_zeros(ql_ctx *cx, const compressed *s, const char *linear, const uniform *u)
{
    const ql_export_tensor t = {.dtype = QL_I32, .ndim = 2, .dims = {codes_words(u->out, u->bits), u->groups}};
    const uint32_t *words;
    ql_tensor *zeros;

    QL_TRY(cx, uniform_zeros(cx, u, 0, &zeros));
    QL_TRY(cx, uniform_pack(cx, zeros, u->bits, true, &words));
    return add(cx, s, linear, "weight_zero_point", t, words);
}

static ql_status
linear(ql_ctx *cx, const void *self, const ql_linear_result *in, void *state)
{
    compressed *s = state;
    scheme *mine = &s->schemes[s->count++];
    const ql_dtype dtype = in->qlinear && in->qlinear->grid.scale_dtype == QL_BF16 ? QL_BF16 : QL_F16;
    uniform u;

    (void)self;
    s->adapters += in->a != NULL;
    if (!in->qlinear)
        return uniform_skipped(cx, s->info.files, in);
    QL_TRY(cx, uniform_read(cx, in->qlinear, dtype, &u));
    if (u.ordered)
        return QL_FAIL(cx, QL_UNSUPPORTED,
                       "its groups are no runs of columns, which current compressed-tensors can't hold: quantize "
                       "without act_order, or with act_order: group");
    *mine = (scheme){true, u.sym && in->qlinear->grid.sym, u.bits, u.groups == 1 ? 0 : u.group};
    QL_TRY(cx, check_groups(cx, mine->group, u.in));
    s->zeros = s->zeros || !mine->sym;
    s->serves = s->serves && is_served(u.bits, u.out, u.in);
    QL_TRY(cx, add_codes(cx, s, in->name, &u));
    QL_TRY(cx, add(cx, s, in->name, "weight_scale",
                   (ql_export_tensor){.dtype = dtype, .ndim = 2, .dims = {u.out, u.groups}}, u.scales));
    return mine->sym ? QL_OK : add_zeros(cx, s, in->name, &u);
}

/* --- the configuration ------------------------------------------------------------------------------------------------- */

static bool
same_scheme(const scheme *a, const scheme *b)
{
    return a->quantized == b->quantized && a->sym == b->sym && a->bits == b->bits && a->group == b->group;
}

/* Names of the linears with the scheme of linear `like`, as JSON strings. */
static const char *
names_like(ql_ctx *cx, const compressed *s, const scheme *like)
{
    const ql_model_info *m = s->info.model;
    const char *text = "";

    for (int64_t i = 0; i < s->count && text; i++) {
        const char *name = ql_name_in_block(cx, m, i / m->linear_count, m->linears[i % m->linear_count].name);

        if (same_scheme(&s->schemes[i], like))
            text = name ? ql_format(cx, "%s%s\"%s\"", text, *text ? ", " : "", name) : NULL;
    }
    return text;
}

/* One group of the configuration: the class name when it is the only one, else the names of its linears. */
static const char *
print_group(ql_ctx *cx, const scheme *g, int64_t number, const char *targets)
{
    const char *size = g->group ? ql_format(cx, "%lld", (long long)g->group) : "null";

    return size ? ql_format(cx,
                            "    \"group_%lld\": {\n      \"targets\": [%s],\n      \"weights\": {\"num_bits\": %d, "
                            "\"type\": \"int\", \"symmetric\": %s, \"strategy\": \"%s\", \"group_size\": %s, "
                            "\"actorder\": null, \"dynamic\": false},\n"
                            "      \"input_activations\": null,\n      \"output_activations\": null\n    }",
                            (long long)number, targets, g->bits, g->sym ? "true" : "false",
                            g->group ? "group" : "channel", size)
                : NULL;
}

/* Is linear i the first with its scheme? */
static bool
is_first(const compressed *s, int64_t i)
{
    for (int64_t k = 0; k < i; k++)
        if (same_scheme(&s->schemes[k], &s->schemes[i]))
            return false;
    return s->schemes[i].quantized;
}

static ql_status
print_groups(ql_ctx *cx, const compressed *s, int64_t distinct, const char **out)
{
    int64_t number = 0;

    *out = "";
    for (int64_t i = 0; i < s->count; i++) {
        const char *targets, *group;

        if (!is_first(s, i))
            continue;
        targets = distinct == 1 ? "\"Linear\"" : names_like(cx, s, &s->schemes[i]);
        group = targets ? print_group(cx, &s->schemes[i], number++, targets) : NULL;
        *out = group ? ql_format(cx, "%s%s%s", *out, **out ? ",\n" : "", group) : NULL;
        if (!*out)
            return QL_MEMORY;
    }
    return QL_OK;
}

static ql_status
print_config(ql_ctx *cx, const compressed *s, const char **out)
{
    const char *groups, *ignored = names_like(cx, s, &(scheme){.quantized = false});
    int64_t distinct = 0;

    if (!ignored)
        return QL_MEMORY;
    for (int64_t i = 0; i < s->count; i++)
        distinct += is_first(s, i);
    if (distinct == 0)
        return QL_FAIL(cx, QL_INVALID, "no linear of the model is quantized");
    QL_TRY(cx, print_groups(cx, s, distinct, &groups));
    *out = ql_format(cx,
                     "{\n  \"quant_method\": \"compressed-tensors\",\n  \"format\": \"pack-quantized\",\n"
                     "  \"quantization_status\": \"compressed\",\n  \"config_groups\": {\n%s\n  },\n"
                     "  \"ignore\": [\"lm_head\"%s%s]\n}",
                     groups, *ignored ? ", " : "", ignored);
    return *out ? QL_OK : QL_MEMORY;
}

/* --- who loads it --------------------------------------------------------------------------------------------------------- */

static ql_status
tell_runtimes(ql_ctx *cx, const compressed *s)
{
    const char *serve = "export dequantized, and serve that", *folder = ql_shell_word(cx, s->info.folder);

    if (!folder)
        return QL_MEMORY;
    if (s->serves)
        serve = ql_format(cx, "vllm serve %s", folder);
    else if (!s->zeros)
        serve = uniform_pipeline(cx, s->info.folder);
    return serve ? ql_export_loads(cx, s->info.files, name_runtimes(s->zeros, s->serves), serve) : QL_MEMORY;
}

static ql_status
end(ql_ctx *cx, const void *self, void *state, ql_facts *out)
{
    const compressed *s = state;
    const char *config = NULL;

    (void)self;
    (void)out;
    QL_TRY(cx, print_config(cx, s, &config));
    if (s->adapters)
        ql_info(cx, "%lld linears have adapters, which compressed-tensors don't hold: export them with peft_adapter",
                (long long)s->adapters);
    QL_TRY(cx, ql_export_rest(cx, s->info.files));
    QL_TRY(cx, ql_export_save(cx, s->info.files, "model", NULL, 0));
    QL_TRY(cx, ql_export_config(cx, s->info.files, &(ql_export_pair){"quantization_config", config}, 1));
    return tell_runtimes(cx, s);
}

QL_PLUGIN(.kind = QL_EXPORTER, .name = "compressed_tensors", .version = "1.0",
          .help = "packed codes as compressed-tensors, with fp16 or bf16 scales, for vLLM and transformers",
          .params = params, .self_size = sizeof(compressed_tensors),
          .exporter = QL_TABLE(ql_exporter, .writes = QL_WRITES_CODES, .state_size = sizeof(compressed), .base = true,
                               .check = check, .begin = begin, .linear = linear, .end = end), );
