/* A quantized linear on the host, for formats of packed codes. */
#include "uniform.h"

#include <math.h>
#include <string.h>

ql_status
uniform_host(ql_ctx *cx, const ql_tensor *t, void *out)
{
    const size_t bytes = (size_t)ql_count(t) * ql_dtype_size(ql_dtype_of(t));
    void **result = out;
    const void *mapped;

    *result = ql_alloc(cx, bytes, 1);
    if (!*result)
        return QL_MEMORY;
    QL_TRY(cx, ql_map(cx, t, QL_READ, &mapped));
    memcpy(*result, mapped, bytes);
    return ql_unmap(cx, t);
}

/* Scales in 16 bit, the same numbers: rounding is the quantizer's, before anything measures. */
static ql_status
read_scales(ql_ctx *cx, const ql_qlinear *q, ql_dtype dtype, uniform *u)
{
    ql_tensor *exact, *small, *back;
    const double *a, *b;

    QL_TRY(cx, ql_convert(cx, q->scales, QL_F64, &exact));
    QL_TRY(cx, ql_convert(cx, q->scales, dtype, &small));
    QL_TRY(cx, ql_convert(cx, small, QL_F64, &back));
    QL_TRY(cx, uniform_host(cx, exact, &a));
    QL_TRY(cx, uniform_host(cx, back, &b));
    for (int64_t i = 0; i < u->out * u->groups; i++) {
        if (!isfinite(a[i]) || a[i] < b[i] || a[i] > b[i])
            return QL_FAIL(cx, QL_INVALID,
                           "the scale of row %lld, group %lld is %.9g, which is no %s number: give the quantizer "
                           "scale_dtype: %s",
                           (long long)(i / u->groups), (long long)(i % u->groups), a[i],
                           dtype == QL_F16 ? "fp16" : "bf16", dtype == QL_F16 ? "fp16" : "bf16");
        u->subnormal += a[i] < (dtype == QL_F16 ? 0x1p-14 : 0x1p-126) && a[i] > 0;
    }
    return uniform_host(cx, small, &u->scales);
}

static ql_status
read_zeros(ql_ctx *cx, const ql_qlinear *q, uniform *u)
{
    const int32_t most = (1 << u->bits) - 1;
    int32_t *zeros = ql_alloc(cx, (size_t)(u->out * u->groups), sizeof *zeros);
    ql_tensor *exact;
    const double *z;

    if (!zeros)
        return QL_MEMORY;
    QL_TRY(cx, ql_convert(cx, q->zeros, QL_F64, &exact));
    QL_TRY(cx, uniform_host(cx, exact, &z));
    u->sym = true;
    for (int64_t i = 0; i < u->out * u->groups; i++) {
        if (!(z[i] >= 0 && z[i] <= most) || z[i] > floor(z[i]))
            return QL_FAIL(cx, QL_INVALID,
                           "the zero point of row %lld, group %lld is %g: expected a whole number from 0 to %d, for "
                           "the format packs it like a code",
                           (long long)(i / u->groups), (long long)(i % u->groups), z[i], (int)most);
        zeros[i] = (int32_t)z[i];
        u->sym = u->sym && zeros[i] == 1 << (u->bits - 1);
    }
    u->zeros = zeros;
    return QL_OK;
}

static ql_status
read_groups(ql_ctx *cx, const ql_qlinear *q, uniform *u)
{
    int32_t *g_idx;

    if (q->g_idx) {
        QL_TRY(cx, uniform_host(cx, q->g_idx, &g_idx));
    } else {
        g_idx = ql_alloc(cx, (size_t)u->in, sizeof *g_idx);
        for (int64_t i = 0; g_idx && i < u->in; i++)
            g_idx[i] = (int32_t)(i / u->group);
    }
    for (int64_t i = 0; g_idx && i < u->in; i++)
        u->ordered = u->ordered || g_idx[i] != i / u->group;
    u->g_idx = g_idx;
    return g_idx ? QL_OK : QL_MEMORY;
}

ql_status
uniform_read(ql_ctx *cx, const ql_qlinear *q, ql_dtype scales, uniform *out)
{
    if (q->levels)
        return QL_FAIL(cx, QL_UNSUPPORTED,
                       "its codes stand for the levels of a table, and the format holds multiples of a scale: use a "
                       "quantizer with a uniform grid, or export dequantized");
    *out = (uniform){.bits = q->grid.bits,
                     .out = ql_dim(q->codes, 0),
                     .in = ql_dim(q->codes, 1),
                     .group = q->grid.group,
                     .groups = ql_dim(q->scales, 1)};
    QL_TRY(cx, read_scales(cx, q, scales, out));
    QL_TRY(cx, read_zeros(cx, q, out));
    QL_TRY(cx, read_groups(cx, q, out));
    out->codes = q->codes;
    return QL_OK;
}

ql_status
uniform_pack(ql_ctx *cx, const ql_tensor *codes, int bits, bool turned, const uint32_t **out)
{
    ql_tensor *words;

    QL_TRY(cx, ql_pack(cx, codes, bits, &words));
    if (turned)
        QL_TRY(cx, ql_transpose(cx, words, &words));
    return uniform_host(cx, words, out);
}

ql_status
uniform_zeros(ql_ctx *cx, const uniform *u, int less, ql_tensor **out)
{
    uint8_t *turned = ql_alloc(cx, (size_t)(u->groups * u->out), 1);

    if (!turned)
        return QL_MEMORY;
    for (int64_t g = 0; g < u->groups; g++)
        for (int64_t o = 0; o < u->out; o++)
            turned[g * u->out + o] = (uint8_t)(u->zeros[o * u->groups + g] - less);
    return ql_upload(cx, QL_U8, u->groups, u->out, turned, out);
}

ql_status
uniform_skipped(ql_ctx *cx, ql_export *x, const ql_linear_result *in)
{
    const ql_export_tensor t = {.name = ql_format(cx, "%s.weight", in->name),
                                .dtype = in->file_dtype,
                                .ndim = 2,
                                .dims = {ql_dim(in->w, 0), ql_dim(in->w, 1)}};
    ql_tensor *w;
    const void *data;

    if (!t.name)
        return QL_MEMORY;
    QL_TRY(cx, ql_convert(cx, in->w, in->file_dtype, &w));
    QL_TRY(cx, uniform_host(cx, w, &data));
    return ql_export_add(cx, x, &t, data);
}

const char *
uniform_pattern(ql_ctx *cx, const char *text)
{
    const char *out = "";

    for (const char *dot; out && (dot = strchr(text, '.')); text = dot + 1)
        out = ql_format(cx, "%s%.*s\\\\.", out, (int)(dot - text), text);
    return out ? ql_format(cx, "%s%s", out, text) : NULL;
}

const char *
uniform_python(ql_ctx *cx, const char *before, const char *folder, const char *after)
{
    const char *quoted = ql_json_quote(cx, folder, strlen(folder)); /* Python reads it alike */
    const char *program = quoted ? ql_format(cx, "%s%s%s", before, quoted, after) : NULL;
    const char *word = program ? ql_shell_word(cx, program) : NULL;

    return word ? ql_format(cx, "python -c %s", word) : NULL;
}

const char *
uniform_pipeline(ql_ctx *cx, const char *folder)
{
    return uniform_python(cx, "from transformers import pipeline; print(pipeline(\"text-generation\", ", folder,
                          ")(\"Once\"))");
}
