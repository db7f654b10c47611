/* Plain 16-bit weights: W^ or W^ + B A, rounded, which everything loads. The one exporter that rounds. */
#include <math.h>
#include <string.h>

#include "uniform.h"

typedef struct dequantized {
    const char *path;
    int dtype;
    bool merge;
} dequantized;

enum { AUTO, BF16, FP16 };
static const char *const dtypes[] = {"auto", "bf16", "fp16", NULL};

static const ql_param params[] = {
    QL_EXPORT_PATH(dequantized),
    QL_ENUM(dequantized, dtype, AUTO, dtypes,
            "of the linears' weights; auto: the model's own where it has 16 bits, else bf16"),
    QL_FLAG(dequantized, merge, true, "add the adapter to the weight; false: leave it out, for peft_adapter to carry"),
    QL_PARAMS_END,
};

static const char everything[] = "everything that loads the original: transformers, vLLM, SGLang";

typedef struct rounded {
    ql_export_info info;
    ql_dtype dtype;       /* of the linears */
    double energy, error; /* of the weights, and of what rounding changed */
} rounded;

static ql_status
check(ql_ctx *cx, const void *self, const ql_planned_export *in, const char **runtimes)
{
    (void)cx, (void)self, (void)in;
    *runtimes = everything;
    return QL_OK;
}

static ql_status
begin(ql_ctx *cx, const void *self, const ql_export_info *info, void *state)
{
    rounded *s = state;

    (void)cx;
    (void)self;
    s->info = *info;
    return QL_OK;
}

static ql_dtype
choose(const dequantized *p, ql_dtype file)
{
    if (p->dtype == AUTO)
        return file == QL_F16 ? QL_F16 : QL_BF16;
    return p->dtype == FP16 ? QL_F16 : QL_BF16;
}

/* W^, or W^ + B A, in f32. */
static ql_status
whole_weight(ql_ctx *cx, const dequantized *p, const ql_linear_result *in, ql_tensor **out)
{
    ql_tensor *b, *a;

    QL_TRY(cx, ql_convert(cx, in->what, QL_F32, out));
    if (!in->a || !p->merge)
        return QL_OK;
    QL_TRY(cx, ql_convert(cx, in->b, QL_F32, &b));
    QL_TRY(cx, ql_convert(cx, in->a, QL_F32, &a));
    return ql_gemm(cx, QL_NN, 1, b, a, 1, *out);
}

static ql_status
weight(ql_ctx *cx, const void *self, const ql_linear_result *in, ql_tensor **out)
{
    const dequantized *p = self;
    ql_tensor *w;

    QL_TRY(cx, whole_weight(cx, p, in, &w));
    return ql_convert(cx, w, choose(p, in->file_dtype), out);
}

static ql_status
linear(ql_ctx *cx, const void *self, const ql_linear_result *in, void *state)
{
    const dequantized *p = self;
    rounded *s = state;
    ql_export_tensor t = {.name = ql_format(cx, "%s.weight", in->name), .ndim = 2};
    ql_tensor *w, *small, *back;
    double energy, error;
    const void *data;
    int64_t at;

    if (!t.name)
        return QL_MEMORY;
    s->dtype = choose(p, in->file_dtype);
    QL_TRY(cx, whole_weight(cx, p, in, &w));
    QL_TRY(cx, ql_convert(cx, w, s->dtype, &small));
    QL_TRY(cx, ql_convert(cx, small, QL_F32, &back));
    QL_TRY(cx, ql_nonfinite(cx, back, &at));
    if (at >= 0)
        return QL_FAIL(cx, QL_NUMERIC, "element %lld does not fit %s: give the export dtype: bf16", (long long)at,
                       ql_dtype_name(s->dtype));
    QL_TRY(cx, ql_dot(cx, w, w, &energy));
    QL_TRY(cx, ql_axpby(cx, -1, w, 1, back));
    QL_TRY(cx, ql_dot(cx, back, back, &error));
    s->energy += energy;
    s->error += error;
    t.dtype = s->dtype;
    t.dims[0] = ql_dim(w, 0);
    t.dims[1] = ql_dim(w, 1);
    QL_TRY(cx, uniform_host(cx, small, &data));
    return ql_export_add(cx, s->info.files, &t, data);
}

/* The model's dtype in its config: where that had 16 bits it follows the linears; a 32-bit model keeps its own, for its other tensors
 * have it. */
static ql_status
save_config(ql_ctx *cx, const rounded *s)
{
    const char *key = ql_json_member(s->info.config, "dtype") ? "dtype" : "torch_dtype", *old;
    ql_export_pair members[] = {{"quantization_config", NULL},
                                {key, s->dtype == QL_F16 ? "\"float16\"" : "\"bfloat16\""}};

    QL_TRY(cx, ql_json_text(cx, s->info.config, key, "float32", &old));
    return ql_export_config(cx, s->info.files, members, strcmp(old, "float32") == 0 ? 1 : 2);
}

static ql_status
end(ql_ctx *cx, const void *self, void *state, ql_facts *out)
{
    const rounded *s = state;
    const char *folder = ql_shell_word(cx, s->info.folder),
               *serve = folder ? ql_format(cx, "vllm serve %s", folder) : NULL;

    (void)self;
    if (!serve)
        return QL_MEMORY;
    QL_TRY(cx, ql_export_rest(cx, s->info.files));
    QL_TRY(cx, ql_export_save(cx, s->info.files, "model", NULL, 0));
    QL_TRY(cx, save_config(cx, s));
    QL_TRY(cx, ql_export_loads(cx, s->info.files, everything, serve));
    return ql_fact(cx, out, "rounding_error", NULL, s->energy > 0 ? sqrt(s->error / s->energy) : 0);
}

QL_PLUGIN(
        .kind = QL_EXPORTER, .name = "dequantized", .version = "1.0",
        .help =
            "plain 16-bit weights that every program loads; rounding_error: what 16 bits cost, relative to the weights",
        .params = params, .self_size = sizeof(dequantized),
        .exporter = QL_TABLE(ql_exporter, .state_size = sizeof(rounded), .check = check, .begin = begin,
                             .linear = linear, .end = end, .weight = weight), );
