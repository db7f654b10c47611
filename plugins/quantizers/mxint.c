/* MXINT: sign and magnitude with one power-of-two scale a block (OCP Microscaling; docs/methods.md 2.2). As codes: a symmetric grid whose
 * lowest code is unused. */
#include <math.h>

#include <qloom/quantizer.h>

typedef struct mxint {
    int bits, group_size, scale_dtype;
} mxint;

static const ql_param params[] = {
    QL_BITS(mxint, 3),
    QL_GROUP_SIZE(mxint, 32),
    QL_SCALE_DTYPE(mxint),
    QL_PARAMS_END,
};

/* 2^(e - (bits - 2)), e the exponent of the block's largest magnitude; 1 for a block of zeros, or of numbers too small for the dtype. */
static float
block_scale(ql_ctx *cx, const mxint *p, const float *w, int64_t count)
{
    const bool f16 = ql_float_dtype(p->scale_dtype) == QL_F16;
    const int least = f16 ? -24 : -126, most = f16 ? 15 : 119;
    float top = 0;
    int e;

    for (int64_t j = 0; j < count; j++)
        top = fmaxf(top, fabsf(w[j]));
    if (top == 0)
        return 1;
    (void)frexpf(top, &e); /* top = f * 2^e, 1/2 <= f < 1 */
    e = e - 1 - (p->bits - 2);
    if (e < least || e > most)
        ql_remark(cx, e < least ? QL_NUM_TINY : QL_NUM_CLIPPED);
    return e < least ? 1 : ldexpf(1, e < most ? e : most);
}

static void
encode(ql_ctx *cx, const mxint *p, const float *w, int64_t count, float *scale, uint8_t *codes)
{
    const float middle = (float)(1 << (p->bits - 1));

    *scale = block_scale(cx, p, w, count);
    for (int64_t j = 0; j < count; j++) {
        const float a = rintf(fabsf(w[j]) / *scale);

        codes[j] = (uint8_t)(middle + copysignf(fminf(a, middle - 1), w[j]));
    }
}

static ql_status
quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    const mxint *p = self;
    const int64_t m = ql_dim(w, 0), n = ql_dim(w, 1), g = ql_group_columns(p->group_size, n), groups = (n + g - 1) / g;
    const float *x;
    uint8_t *codes;
    float *scales;
    int64_t bad;

    (void)stats;
    QL_TRY(cx, ql_nonfinite(cx, w, &bad));
    if (bad >= 0)
        return QL_FAIL(cx, QL_NUMERIC, "weight [%lld, %lld] is not finite", (long long)(bad / n), (long long)(bad % n));
    out->grid = (ql_grid){
        .bits = p->bits, .group = g, .sym = true, .scale_dtype = ql_float_dtype(p->scale_dtype), .exponents = true};
    QL_TRY(cx, ql_new(cx, QL_U8, m, n, &out->codes));
    QL_TRY(cx, ql_new(cx, QL_F32, m, groups, &out->scales));
    QL_TRY(cx, ql_new(cx, QL_F32, m, groups, &out->zeros));
    QL_TRY(cx, ql_fill(cx, out->zeros, 1 << (p->bits - 1)));
    QL_TRY(cx, ql_map(cx, w, QL_READ, &x));
    QL_TRY(cx, ql_map(cx, out->codes, QL_WRITE, &codes));
    QL_TRY(cx, ql_map(cx, out->scales, QL_WRITE, &scales));
    for (int64_t i = 0; i < m; i++)
        for (int64_t k = 0; k < groups; k++) {
            const int64_t at = i * n + k * g, count = n - k * g < g ? n - k * g : g;

            encode(cx, p, x + at, count, &scales[i * groups + k], codes + at);
        }
    QL_TRY(cx, ql_unmap(cx, out->scales));
    QL_TRY(cx, ql_unmap(cx, out->codes));
    return ql_unmap(cx, w);
}

static void
describe(const void *self, int64_t in, ql_described *out)
{
    const mxint *p = self;

    out->grid = (ql_grid){.bits = p->bits,
                          .group = ql_group_columns(p->group_size, in),
                          .sym = true,
                          .scale_dtype = ql_float_dtype(p->scale_dtype),
                          .exponents = true};
    out->rank = 0;
}

QL_PLUGIN(.kind = QL_QUANTIZER, .name = "mxint", .version = "1.0",
          .help = "integers with a power-of-two scale per block", .cite = "arXiv:2310.10537", .params = params,
          .self_size = sizeof(mxint),
          .quantizer = QL_TABLE(ql_quantizer, .quantize = quantize, .describe = describe), );
