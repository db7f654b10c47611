/* Inverse frequencies of every RoPE type that these architectures use: default, linear, dynamic, llama3 and yarn
 * (arXiv:2309.00071). Element by element in f32, because the angles of published models are. */
#include "rope.h"

#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846

/* The object that describes RoPE, and how it is called in error texts. */
typedef struct rope_dict {
    const ql_json *o; /* NULL: none, everything has its default */
    const char *name;
    const ql_json *config;
    int64_t max_positions;
} rope_dict;

typedef struct rope_type {
    const char *name;
    /* Changes the frequencies of the default type; NULL: nothing to do. */
    ql_status (*apply)(ql_ctx *cx, const rope_dict *d, rope *r, float *inv);
} rope_type;

static ql_status
real_above(ql_ctx *cx, const rope_dict *d, const char *key, double above, double *out)
{
    QL_TRY(cx, ql_json_real(cx, d->o, key, NAN, out));
    if (isnan(*out))
        return QL_FAIL(cx, QL_INVALID, "config.json: '%s.%s': expected a number above %g, got nothing", d->name, key,
                       above);
    if (!(*out > above) || isinf(*out))
        return QL_FAIL(cx, QL_INVALID, "config.json: '%s.%s': expected a number above %g, got %g", d->name, key, above,
                       *out);
    return QL_OK;
}

/* The same with a default for an absent or null key. */
static ql_status
real_or(ql_ctx *cx, const rope_dict *d, const char *key, double def, double *out)
{
    *out = def;
    return ql_json_member(d->o, key) ? real_above(cx, d, key, 0, out) : QL_OK;
}

/* original_max_position_embeddings of the dictionary, else beside it, else max_position_embeddings, as transformers takes it. */
static ql_status
original_positions(ql_ctx *cx, const rope_dict *d, double *out)
{
    const char *key = "original_max_position_embeddings";
    int64_t n;

    QL_TRY(cx, ql_json_int(cx, d->config, key, d->max_positions, &n));
    QL_TRY(cx, ql_json_int(cx, d->o, key, n, &n));
    if (n < 1)
        return QL_FAIL(cx, QL_INVALID, "config.json: '%s.%s': expected 1 or more, got %lld", d->name, key,
                       (long long)n);
    *out = (double)n;
    return QL_OK;
}

static void
default_frequencies(double theta, int64_t head_dim, float *inv)
{
    for (int64_t k = 0; k < head_dim / 2; k++)
        inv[k] = 1.0f / powf((float)theta, (float)(2 * k) / (float)head_dim);
}

static ql_status
apply_linear(ql_ctx *cx, const rope_dict *d, rope *r, float *inv)
{
    double factor;

    QL_TRY(cx, real_above(cx, d, "factor", 0, &factor));
    for (int64_t k = 0; k < r->head_dim / 2; k++)
        inv[k] /= (float)factor;
    return QL_OK;
}

static ql_status
apply_dynamic(ql_ctx *cx, const rope_dict *d, rope *r, float *inv)
{
    (void)inv;
    QL_TRY(cx, real_above(cx, d, "factor", 0, &r->dynamic));
    if (r->head_dim < 4)
        return QL_FAIL(cx, QL_INVALID, "config.json: 'head_dim': expected 4 or more with dynamic RoPE, got %lld",
                       (long long)r->head_dim);
    r->limit = d->max_positions;
    return QL_OK;
}

static ql_status
apply_llama3(ql_ctx *cx, const rope_dict *d, rope *r, float *inv)
{
    double factor, low, high, original;

    QL_TRY(cx, real_above(cx, d, "factor", 0, &factor));
    QL_TRY(cx, real_above(cx, d, "low_freq_factor", 0, &low));
    QL_TRY(cx, real_above(cx, d, "high_freq_factor", low, &high));
    QL_TRY(cx, original_positions(cx, d, &original));
    for (int64_t k = 0; k < r->head_dim / 2; k++) {
        const float length = (float)(2 * PI) / inv[k], slow = inv[k] / (float)factor;

        if (length > (float)(original / low)) {
            inv[k] = slow;
        } else if (length >= (float)(original / high)) {
            const float t = ((float)original / length - (float)low) / (float)(high - low);

            inv[k] = (1 - t) * slow + t * inv[k];
        }
    }
    return QL_OK;
}

/* The dimension whose wave turns `turns` times over `original` positions (arXiv:2309.00071, 3.2). */
static double
yarn_dimension(const rope *r, double original, double turns)
{
    return (double)r->head_dim * log(original / (2 * PI * turns)) / (2 * log(r->theta));
}

static double
yarn_scale(double factor, double mscale)
{
    return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

static ql_status
yarn_attention(ql_ctx *cx, const rope_dict *d, double factor, float *out)
{
    double given, mscale, all;

    QL_TRY(cx, real_or(cx, d, "attention_factor", 0, &given));
    QL_TRY(cx, ql_json_real(cx, d->o, "mscale", 0, &mscale));
    QL_TRY(cx, ql_json_real(cx, d->o, "mscale_all_dim", 0, &all));
    if (given != 0)
        *out = (float)given;
    else if (mscale != 0 && all != 0)
        *out = (float)(yarn_scale(factor, mscale) / yarn_scale(factor, all));
    else
        *out = (float)yarn_scale(factor, 1);
    if (!isfinite(*out))
        return QL_FAIL(
            cx, QL_INVALID,
            "config.json: '%s': expected a finite attention factor, got %g from mscale %g and mscale_all_dim %g",
            d->name, (double)*out, mscale, all);
    return QL_OK;
}

static ql_status
apply_yarn(ql_ctx *cx, const rope_dict *d, rope *r, float *inv)
{
    const double last = (double)(r->head_dim - 1);
    double factor, original, fast, slow, lo, hi;
    bool truncate;

    QL_TRY(cx, real_above(cx, d, "factor", 0, &factor));
    QL_TRY(cx, original_positions(cx, d, &original));
    QL_TRY(cx, real_or(cx, d, "beta_fast", 32, &fast));
    QL_TRY(cx, real_or(cx, d, "beta_slow", 1, &slow));
    QL_TRY(cx, ql_json_bool(cx, d->o, "truncate", true, &truncate));
    QL_TRY(cx, yarn_attention(cx, d, factor, &r->scale));
    if (original != (double)d->max_positions)
        QL_TRY(cx, ql_follow(cx, "config.json",
                             "yarn: the original context is %.0f positions (original_max_position_embeddings), not "
                             "max_position_embeddings %lld, which older implementations take",
                             original, (long long)d->max_positions));
    lo = yarn_dimension(r, original, fast);
    hi = yarn_dimension(r, original, slow);
    lo = fmin(fmax(truncate ? floor(lo) : lo, 0), last);
    hi = fmin(fmax(truncate ? ceil(hi) : hi, 0), last);
    if (lo == hi)
        hi += 0.001;
    for (int64_t k = 0; k < r->head_dim / 2; k++) {
        const float ramp = fminf(fmaxf(((float)k - (float)lo) / (float)(hi - lo), 0), 1);

        inv[k] = inv[k] / (float)factor * ramp + inv[k] * (1 - ramp);
    }
    return QL_OK;
}

static const rope_type types[] = {
    {"default", NULL},        {"linear", apply_linear}, {"dynamic", apply_dynamic},
    {"llama3", apply_llama3}, {"yarn", apply_yarn},
};

/* The entry of a dictionary keyed by layer type, or the dictionary itself. */
static ql_status
choose_entry(ql_ctx *cx, const char *layer_type, rope_dict *d)
{
    const ql_json *entry;

    if (!ql_json_is_object(d->o))
        return QL_FAIL(cx, QL_INVALID, "config.json: '%s': expected an object or null, got another type", d->name);
    if (!ql_json_is_object(ql_json_member(d->o, "full_attention")) &&
        !ql_json_is_object(ql_json_member(d->o, "sliding_attention")))
        return QL_OK;
    entry = ql_json_member(d->o, layer_type);
    if (!ql_json_is_object(entry))
        return QL_FAIL(cx, QL_INVALID,
                       "config.json: '%s.%s': expected an object, because layers have this type, got none", d->name,
                       layer_type);
    d->o = entry;
    d->name = ql_format(cx, "%s.%s", d->name, layer_type);
    return d->name ? QL_OK : QL_MEMORY;
}

static ql_status
find_type(ql_ctx *cx, const rope_dict *d, const rope_type **out)
{
    const char *name, *key = ql_json_member(d->o, "rope_type") ? "rope_type" : "type";

    *out = &types[0];
    QL_TRY(cx, ql_json_text(cx, d->o, key, NULL, &name));
    if (!name && ql_json_member(d->o, "factor"))
        return QL_FAIL(cx, QL_INVALID,
                       "config.json: '%s.rope_type': expected default, linear, dynamic, llama3 or yarn beside a "
                       "factor, got nothing",
                       d->name);
    if (!name)
        return QL_OK;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        *out = &types[i];
        if (strcmp(types[i].name, name) == 0)
            return QL_OK;
    }
    return QL_FAIL(cx, QL_UNSUPPORTED,
                   "config.json: '%s.%s': expected default, linear, dynamic, llama3 or yarn, got \"%s\"", d->name, key,
                   name);
}

static ql_status
read_theta(ql_ctx *cx, const rope_dict *d, double *out)
{
    const ql_json *o = d->o && ql_json_member(d->o, "rope_theta") ? d->o : d->config;

    QL_TRY(cx, ql_json_real(cx, o, "rope_theta", 10000, out));
    if (!(*out > 1) || isinf((float)*out))
        return QL_FAIL(cx, QL_INVALID, "config.json: 'rope_theta': expected a number above 1, got %g", *out);
    return QL_OK;
}

ql_status
rope_open(ql_ctx *cx, const ql_json *config, const char *layer_type, int64_t head_dim, int64_t max_positions, rope *out)
{
    rope_dict d = {ql_json_member(config, "rope_parameters"), "rope_parameters", config, max_positions};
    const rope_type *type;
    float *inv;

    if (ql_json_is_array(d.o) && ql_json_length(d.o) == 0) /* Python's "no" */
        d.o = NULL;
    if (d.o && ql_json_member(config, "rope_scaling"))
        QL_TRY(cx,
               ql_follow(cx, "config.json", "'rope_parameters' and 'rope_scaling' are both there; the first is used"));
    if (!d.o)
        d = (rope_dict){ql_json_member(config, "rope_scaling"), "rope_scaling", config, max_positions};
    if (ql_json_is_array(d.o) && ql_json_length(d.o) == 0)
        d.o = NULL;
    if (d.o)
        QL_TRY(cx, choose_entry(cx, layer_type, &d));
    QL_TRY(cx, find_type(cx, &d, &type));
    *out = (rope){.head_dim = head_dim, .scale = 1};
    QL_TRY(cx, read_theta(cx, &d, &out->theta));
    inv = ql_alloc(cx, (size_t)head_dim / 2, sizeof *inv);
    if (!inv)
        return QL_MEMORY;
    default_frequencies(out->theta, head_dim, inv);
    out->inv_freq = inv;
    return type->apply ? type->apply(cx, &d, out, inv) : QL_OK;
}

/* Positions that sequence s reaches. */
static int64_t
reach(const ql_seqs *seqs, int64_t s)
{
    return (seqs->first ? seqs->first[s] : 0) + seqs->offsets[s + 1] - seqs->offsets[s];
}

ql_status
rope_for(ql_ctx *cx, const rope *r, const ql_seqs *seqs, ql_rope_spec *out)
{
    const int64_t half = r->head_dim / 2;
    bool longer = false;
    float *rows;

    *out = (ql_rope_spec){.head_dim = r->head_dim, .inv_freq = r->inv_freq, .scale = r->scale};
    for (int64_t s = 0; r->dynamic > 0 && s < seqs->count; s++)
        longer = longer || reach(seqs, s) > r->limit;
    if (!longer)
        return QL_OK;
    rows = ql_alloc(cx, (size_t)seqs->count, (size_t)half * sizeof *rows);
    if (!rows)
        return QL_MEMORY;
    for (int64_t s = 0; s < seqs->count; s++) {
        const double length = (double)(reach(seqs, s) > r->limit ? reach(seqs, s) : r->limit);
        const double grown = r->dynamic * length / (double)r->limit - (r->dynamic - 1);
        const double d = (double)r->head_dim;

        default_frequencies(r->theta * pow(grown, d / (d - 2)), r->head_dim, rows + s * half);
    }
    out->inv_freq = rows;
    out->stride = half;
    return QL_OK;
}

ql_status
rope_back_for(ql_ctx *cx, const rope *r, const ql_seqs *seqs, ql_rope_spec *out)
{
    int64_t count;
    float *turned;

    QL_TRY(cx, rope_for(cx, r, seqs, out));
    count = out->stride ? seqs->count * out->stride : r->head_dim / 2;
    turned = ql_alloc(cx, (size_t)count, sizeof *turned);
    if (!turned)
        return QL_MEMORY;
    for (int64_t i = 0; i < count; i++)
        turned[i] = -out->inv_freq[i];
    out->inv_freq = turned;
    return QL_OK;
}
