/* GPTQ checkpoints, versions 1 and 2 (docs/exports.md): what transformers with GPTQModel, and for 4 and 8 bits vLLM, load. */
#include <string.h>

#include <qloom/qloom.h>

#include "../formats/codes.h"
#include "uniform.h"

typedef struct gptq_checkpoint {
    const char *path;
    int version;
} gptq_checkpoint;

enum { V1, V2 };
static const char *const versions[] = {"v1", "v2", NULL};
static const char *const labels[] = {"gptq", "gptq_v2"};

static const ql_param params[] = {
    QL_EXPORT_PATH(gptq_checkpoint),
    QL_ENUM(gptq_checkpoint, version, V1, versions,
            "v1: zero points stored less one, as most programs read them; v2: as they are, a zero of 0 included"),
    QL_PARAMS_END,
};

typedef struct setting { /* how one linear was quantized */
    bool quantized, sym, ordered;
    int bits;
    int64_t group, in, out;
} setting;

typedef struct checkpoint {
    ql_export_info info;
    setting *settings; /* [layers * linears], in the order of the calls */
    int64_t count, subnormal, adapters;
} checkpoint;

/* --- before the run ------------------------------------------------------------------------------------------------- */

static bool
bits_fit(int bits)
{
    return bits == 2 || bits == 3 || bits == 4 || bits == 8;
}

static ql_status
check_size(ql_ctx *cx, int bits, int64_t out, int64_t in)
{
    if (bits && !bits_fit(bits))
        return QL_FAIL(cx, QL_UNSUPPORTED, "GPTQ checkpoints hold 2, 3, 4 or 8 bits, got %d", bits);
    if (in % 32 != 0 || out % 32 != 0)
        return QL_FAIL(cx, QL_UNSUPPORTED,
                       "GPTQ checkpoints pack 32 inputs and 32 outputs at a time, so both must be multiples of 32, got "
                       "%lld inputs and %lld outputs: skip the linear with `overrides:`, or export compressed_tensors",
                       (long long)in, (long long)out);
    return QL_OK;
}

static ql_status
check_planned(ql_ctx *cx, const ql_planned_linear *in)
{
    if (in->scales != QL_DTYPE_NONE && in->scales != QL_F16)
        return QL_FAIL(cx, QL_INVALID, "GPTQ checkpoints hold scales in fp16: give the quantizer scale_dtype: fp16");
    return check_size(cx, in->bits, in->out, in->in);
}

/* --- linears ---------------------------------------------------------------------------------------------------------- */

static ql_status
begin(ql_ctx *cx, const void *self, const ql_export_info *info, void *state)
{
    checkpoint *s = state;

    (void)self;
    s->info = *info;
    s->settings = ql_alloc(cx, (size_t)(info->model->layers * info->model->linear_count), sizeof *s->settings);
    return s->settings ? QL_OK : QL_MEMORY;
}

static ql_status
add(ql_ctx *cx, const checkpoint *s, const char *linear, const char *part, ql_export_tensor t, const void *data)
{
    t.name = ql_format(cx, "%s.%s", linear, part);
    return t.name ? ql_export_add(cx, s->info.files, &t, data) : QL_MEMORY;
}

static ql_status
add_codes(ql_ctx *cx, const checkpoint *s, const char *linear, const uniform *u)
{
    const ql_export_tensor t = {.dtype = QL_I32, .ndim = 2, .dims = {codes_words(u->in, u->bits), u->out}};
    const uint32_t *words;

    QL_TRY(cx, uniform_pack(cx, u->codes, u->bits, true, &words));
    return add(cx, s, linear, "qweight", t, words);
}

static ql_status
add_zeros(ql_ctx *cx, const checkpoint *s, const char *linear, const uniform *u, int version)
{
    const ql_export_tensor t = {.dtype = QL_I32, .ndim = 2, .dims = {u->groups, codes_words(u->out, u->bits)}};
    const uint32_t *words;
    ql_tensor *zeros;

    for (int64_t g = 0; g < u->groups && version == V1; g++)
        for (int64_t o = 0; o < u->out; o++)
            if (u->zeros[o * u->groups + g] == 0)
                return QL_FAIL(cx, QL_INVALID,
                               "the zero point of row %lld, group %lld is 0, which version 1 can't hold in a way that "
                               "all programs read alike: give the export version: v2, or the quantizer sym: true",
                               (long long)o, (long long)g);
    QL_TRY(cx, uniform_zeros(cx, u, version == V1 ? 1 : 0, &zeros));
    QL_TRY(cx, uniform_pack(cx, zeros, u->bits, false, &words));
    return add(cx, s, linear, "qzeros", t, words);
}

static ql_status
add_scales(ql_ctx *cx, const checkpoint *s, const char *linear, const uniform *u)
{
    uint16_t *turned = ql_alloc(cx, (size_t)(u->groups * u->out), sizeof *turned);

    if (!turned)
        return QL_MEMORY;
    for (int64_t g = 0; g < u->groups; g++)
        for (int64_t o = 0; o < u->out; o++)
            turned[g * u->out + o] = u->scales[o * u->groups + g];
    return add(cx, s, linear, "scales", (ql_export_tensor){.dtype = QL_F16, .ndim = 2, .dims = {u->groups, u->out}},
               turned);
}

static bool
same_setting(const setting *a, const setting *b)
{
    return a->quantized == b->quantized &&
           (!a->quantized || (a->bits == b->bits && a->group == b->group && a->sym == b->sym));
}

static const char *
describe(ql_ctx *cx, const setting *s)
{
    return s->quantized ? ql_format(cx, "%d bits, groups of %lld, %s", s->bits, (long long)s->group,
                                    s->sym ? "symmetric" : "asymmetric")
                        : "not quantized";
}

/* Programs fuse linears that share an input, and ask one rule for all of them. */
static ql_status
check_fused(ql_ctx *cx, const checkpoint *s, int64_t at)
{
    const ql_linear_info *linears = s->info.model->linears;
    const int l = (int)(at % s->info.model->linear_count);
    const setting *mine = &s->settings[at], *other = l ? mine - 1 : mine;

    if (l == 0 || linears[l - 1].subset != linears[l].subset || same_setting(mine, other))
        return QL_OK;
    return QL_FAIL(cx, QL_UNSUPPORTED,
                   "linears that share their input must be quantized alike, for programs fuse them: this one is %s, "
                   "%s is %s",
                   describe(cx, mine), linears[l - 1].name, describe(cx, other));
}

static ql_status
linear(ql_ctx *cx, const void *self, const ql_linear_result *in, void *state)
{
    const gptq_checkpoint *p = self;
    checkpoint *s = state;
    const int64_t at = s->count++;
    uniform u;

    s->settings[at] = (setting){.in = ql_dim(in->w, 1), .out = ql_dim(in->w, 0)};
    s->adapters += in->a != NULL;
    if (!in->qlinear) {
        QL_TRY(cx, check_fused(cx, s, at));
        return uniform_skipped(cx, s->info.files, in);
    }
    QL_TRY(cx, check_size(cx, in->qlinear->grid.bits, ql_dim(in->w, 0), ql_dim(in->w, 1)));
    QL_TRY(cx, uniform_read(cx, in->qlinear, QL_F16, &u));
    s->settings[at] = (setting){true, u.sym && in->qlinear->grid.sym, u.ordered, u.bits, u.group, u.in, u.out};
    QL_TRY(cx, check_fused(cx, s, at));
    s->subnormal += u.subnormal;
    QL_TRY(cx, add_codes(cx, s, in->name, &u));
    QL_TRY(cx, add_zeros(cx, s, in->name, &u, p->version));
    QL_TRY(cx, add_scales(cx, s, in->name, &u));
    return add(cx, s, in->name, "g_idx", (ql_export_tensor){.dtype = QL_I32, .ndim = 1, .dims = {u.in}}, u.g_idx);
}

/* --- the configuration ------------------------------------------------------------------------------------------------- */

/* What holds for the whole model: bits and symmetry of the first quantized linear, the first group that is no whole row. */
static setting
overall(const checkpoint *s)
{
    setting all = {.group = -1};

    for (int64_t i = 0; i < s->count; i++) {
        const setting *l = &s->settings[i];

        if (!l->quantized)
            continue;
        if (!all.quantized)
            all = (setting){.quantized = true, .bits = l->bits, .sym = l->sym, .group = all.group};
        if (all.group < 0 && l->group < l->in)
            all.group = l->group;
        all.ordered = all.ordered || l->ordered;
    }
    return all;
}

/* Does the linear need no rule of its own? A whole row is what any larger group means. */
static bool
follows(const setting *l, const setting *all)
{
    const int64_t group = all->group < 0 || all->group > l->in ? l->in : all->group;

    return l->quantized && l->bits == all->bits && l->sym == all->sym && l->group == group;
}

/* What programs call the linears that they fuse. */
static const char *const fused[][2] = {
    {"self_attn.q_proj", "self_attn.qkv_proj"},
    {"mlp.gate_proj", "mlp.gate_up_proj"},
};

/* One rule for linear `name` of a layer, and one for what it is fused into. */
static ql_status
print_rule(ql_ctx *cx, const checkpoint *s, int64_t at, const setting *all, const char **out)
{
    const ql_model_info *m = s->info.model;
    const setting *l = &s->settings[at];
    const char *mine = m->linears[at % m->linear_count].name, *names[2] = {mine, NULL};

    for (size_t i = 0; i < sizeof fused / sizeof *fused; i++)
        if (strcmp(mine, fused[i][0]) == 0)
            names[1] = fused[i][1];
    for (int i = 0; i < 2 && names[i]; i++) {
        const char *whole = ql_name_in_block(cx, m, at / m->linear_count, names[i]);
        const char *pattern = whole ? uniform_pattern(cx, whole) : NULL;

        if (!pattern)
            return QL_MEMORY;
        *out = l->quantized
                   ? ql_format(cx,
                               "%s%s\n    \"+:%s$\": {\"bits\": %d, \"group_size\": %lld, \"sym\": %s, \"desc_act\": "
                               "%s}",
                               *out, **out ? "," : "", pattern, l->bits, (long long)(l->group == l->in ? -1 : l->group),
                               l->sym ? "true" : "false", all->ordered ? "true" : "false")
                   : ql_format(cx, "%s%s\n    \"-:%s$\": {}", *out, **out ? "," : "", pattern);
        if (!*out)
            return QL_MEMORY;
    }
    return QL_OK;
}

static ql_status
print_config(ql_ctx *cx, const checkpoint *s, const setting *all, int version, const char **out)
{
    const char *rules = "";

    for (int64_t i = 0; i < s->count; i++)
        if (!follows(&s->settings[i], all))
            QL_TRY(cx, print_rule(cx, s, i, all, &rules));
    *out = ql_format(cx,
                     "{\n  \"quant_method\": \"gptq\",\n  \"bits\": %d,\n  \"group_size\": %lld,\n  \"desc_act\": %s,\n"
                     "  \"sym\": %s,\n  \"lm_head\": false,\n  \"checkpoint_format\": \"%s\",\n  \"format\": \"%s\",\n"
                     "  \"pack_dtype\": \"int32\",\n%s%s%s  \"meta\": {\"quantizer\": [\"qloom:%s\"]}\n}",
                     all->bits, (long long)all->group, all->ordered ? "true" : "false", all->sym ? "true" : "false",
                     labels[version], labels[version], *rules ? "  \"dynamic\": {" : "", rules,
                     *rules ? "\n  },\n" : "", ql_version());
    return *out ? QL_OK : QL_MEMORY;
}

/* --- who loads it --------------------------------------------------------------------------------------------------------- */

/* Why current vLLM would not take it; NULL: it does. */
static const char *
vllm_lacks(const checkpoint *s, const setting *all)
{
    const int64_t g = all->group;

    for (int64_t i = 0; i < s->count; i++) {
        const setting *l = &s->settings[i];

        if (!l->quantized)
            continue;
        if (l->bits != 4 && l->bits != 8)
            return "it takes 4 and 8 bits";
        if (!l->sym)
            return "it takes symmetric grids";
        if (l->in % 128 != 0 || l->out % 64 != 0)
            return "it takes inputs in multiples of 128 and outputs in multiples of 64";
    }
    return g == -1 || g == 32 || g == 64 || g == 128 ? NULL : "it takes groups of 32, 64, 128 or whole rows";
}

/* The first linear whose inputs its groups don't divide, which GPTQModel refuses; -1: none. */
static int64_t
uneven_linear(const checkpoint *s)
{
    for (int64_t i = 0; i < s->count; i++)
        if (s->settings[i].quantized && s->settings[i].in % s->settings[i].group != 0)
            return i;
    return -1;
}

/* Which programs load linears of these settings; *command: which of them serves it. */
enum { VLLM, TRANSFORMERS, QLOOM };

static ql_status
find_runtimes(ql_ctx *cx, const checkpoint *s, const setting *all, const char **runtimes, int *command)
{
    const int64_t uneven = uneven_linear(s);
    const char *lacks = vllm_lacks(s, all);

    if (uneven >= 0) {
        const setting *l = &s->settings[uneven];

        *command = QLOOM;
        *runtimes = ql_format(cx,
                              "qloom; not transformers with GPTQModel, nor vLLM or SGLang: groups of %lld don't divide "
                              "the %lld inputs of %s",
                              (long long)l->group, (long long)l->in,
                              s->info.model->linears[uneven % s->info.model->linear_count].name);
    } else {
        *command = lacks ? TRANSFORMERS : VLLM;
        *runtimes = lacks ? ql_format(cx, "transformers with GPTQModel; not current vLLM or SGLang: %s", lacks)
                          : "vLLM, SGLang, transformers with GPTQModel";
    }
    return *runtimes ? QL_OK : QL_MEMORY;
}

static ql_status
check(ql_ctx *cx, const void *self, const ql_planned_export *in, const char **runtimes)
{
    checkpoint s = {.info.model = in->model, .count = in->model->layers * in->model->linear_count};
    bool known = true;
    setting all;
    int command;

    (void)self;
    s.settings = ql_alloc(cx, (size_t)s.count, sizeof *s.settings);
    if (!s.settings)
        return QL_MEMORY;
    for (int64_t i = 0; i < s.count; i++) {
        const ql_planned_linear *l = &in->linears[i];

        if (l->skipped)
            continue;
        QL_TRY(cx, ql_where(cx, check_planned(cx, l), "%s", l->name));
        known = known && l->bits && l->group;
        s.settings[i] = (setting){.quantized = true,
                                  .sym = l->sym,
                                  .bits = l->bits,
                                  .group = l->group > l->in ? l->in : l->group,
                                  .in = l->in,
                                  .out = l->out};
    }
    all = overall(&s);
    if (!all.quantized)
        *runtimes = "nothing, for no linear of the model is quantized";
    return known && all.quantized ? find_runtimes(cx, &s, &all, runtimes, &command) : QL_OK;
}

static ql_status
tell_runtimes(ql_ctx *cx, const checkpoint *s, const setting *all)
{
    const char *folder = ql_shell_word(cx, s->info.folder), *runtimes, *serve;
    int command;

    QL_TRY(cx, find_runtimes(cx, s, all, &runtimes, &command));
    if (!folder)
        return QL_MEMORY;
    serve = command == VLLM           ? ql_format(cx, "vllm serve %s", folder)
            : command == TRANSFORMERS ? uniform_pipeline(cx, s->info.folder)
                                      : ql_format(cx, "qloom inspect %s", folder);
    return serve ? ql_export_loads(cx, s->info.files, runtimes, serve) : QL_MEMORY;
}

static ql_status
end(ql_ctx *cx, const void *self, void *state, ql_facts *out)
{
    const gptq_checkpoint *p = self;
    checkpoint *s = state;
    const setting all = overall(s);
    const char *config = NULL;

    if (!all.quantized)
        return QL_FAIL(cx, QL_INVALID, "no linear of the model is quantized");
    if (s->adapters)
        ql_info(cx, "%lld linears have adapters, which GPTQ checkpoints don't hold: export them with peft_adapter",
                (long long)s->adapters);
    QL_TRY(cx, print_config(cx, s, &all, p->version, &config));
    QL_TRY(cx, ql_export_rest(cx, s->info.files));
    QL_TRY(cx, ql_export_save(cx, s->info.files, "model", NULL, 0));
    QL_TRY(cx, ql_export_config(cx, s->info.files, &(ql_export_pair){"quantization_config", config}, 1));
    QL_TRY(cx, ql_export_text(cx, s->info.files, "quantize_config.json", ql_format(cx, "%s\n", config)));
    QL_TRY(cx, tell_runtimes(cx, s, &all));
    return ql_fact(cx, out, "subnormal_scales", NULL, (double)s->subnormal);
}

QL_PLUGIN(.kind = QL_EXPORTER, .name = "gptq_checkpoint", .version = "1.0",
          .help = "a GPTQ checkpoint: packed codes of 2, 3, 4 or 8 bits, for transformers with GPTQModel, and vLLM",
          .params = params, .self_size = sizeof(gptq_checkpoint),
          .exporter = QL_TABLE(ql_exporter, .writes = QL_WRITES_CODES, .state_size = sizeof(checkpoint), .base = true,
                               .check = check, .begin = begin, .linear = linear, .end = end), );
