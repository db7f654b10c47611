/* Conversions between dtypes: to nearest even, NaN stays NaN, integers saturate. */
#include "cpu.h"

#include <math.h>
#include <string.h>

#define CHUNK 512

static uint32_t
float_bits(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    return u;
}

static float
bits_float(uint32_t u)
{
    float f;

    memcpy(&f, &u, sizeof f);
    return f;
}

/* To float by rounding to odd, after which a second rounding to a shorter format is as good as one rounding from the double. */
static float
float_odd(double x)
{
    float f = (float)x;
    uint32_t u = float_bits(f);

    if (f != f || (double)f == x)
        return f;
    if (fabs((double)f) > fabs(x))
        u--;
    return bits_float(u | 1u);
}

static uint16_t
half_bits(float f)
{
    uint32_t u = float_bits(f), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;

    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (a >> 13 & 0x3ffu));
    if (a >= 0x477ff000u) /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) { /* subnormal: the addition rounds to multiples of 2^-24 */
        uint32_t r = float_bits(bits_float(a) + 0.5f);

        return (uint16_t)(sign | (r - 0x3f000000u));
    }
    a -= 0x38000000u;
    return (uint16_t)(sign | (a + 0xfffu + (a >> 13 & 1u)) >> 13);
}

static float
half_value(uint16_t h)
{
    uint32_t em = (uint32_t)(h & 0x7fffu) << 13, sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t u = (h & 0x7c00u) == 0x7c00u ? em | 0x7f800000u : float_bits(bits_float(em) * 0x1p112f);

    return bits_float(u | sign);
}

static uint16_t
bf16_bits(float f)
{
    uint32_t u = float_bits(f);

    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

double
cpu_round(ql_dtype dtype, double x)
{
    switch (dtype) {
    case QL_F16:
        return (double)half_value(half_bits(float_odd(x)));
    case QL_BF16:
        return (double)bits_float((uint32_t)bf16_bits(float_odd(x)) << 16);
    case QL_F32:
        return (double)(float)x;
    default:
        return x;
    }
}

/* rint, kept inside [lo, hi]; NaN becomes 0. */
static int64_t
to_integer(double x, int64_t lo, int64_t hi)
{
    double r = rint(x);

    if (r != r)
        return 0;
    return r <= (double)lo ? lo : r >= (double)hi ? hi : (int64_t)r;
}

#define EACH(T, expr)                        \
    for (int64_t i = 0; i < n; i++) {        \
        const T x = ((const T *)src)[i];     \
                                             \
        ((double *)dst)[i] = (double)(expr); \
    }                                        \
    break

void
cpu_load_double(ql_dtype dtype, const void *src, int64_t n, double *dst)
{
    switch (dtype) {
    case QL_F64:
        EACH(double, x);
    case QL_F32:
        EACH(float, x);
    case QL_F16:
        EACH(uint16_t, half_value(x));
    case QL_BF16:
        EACH(uint16_t, bits_float((uint32_t)x << 16));
    case QL_U8:
        EACH(uint8_t, x);
    case QL_I32:
        EACH(int32_t, x);
    default:
        EACH(int64_t, x);
    }
}

#undef EACH
#define EACH(T, expr)                 \
    for (int64_t i = 0; i < n; i++) { \
        const double x = src[i];      \
                                      \
        ((T *)dst)[i] = (T)(expr);    \
    }                                 \
    break

void
cpu_store_double(ql_dtype dtype, const double *src, int64_t n, void *dst)
{
    switch (dtype) {
    case QL_F64:
        EACH(double, x);
    case QL_F32:
        EACH(float, x);
    case QL_F16:
        EACH(uint16_t, half_bits(float_odd(x)));
    case QL_BF16:
        EACH(uint16_t, bf16_bits(float_odd(x)));
    case QL_U8:
        EACH(uint8_t, to_integer(x, 0, UINT8_MAX));
    case QL_I32:
        EACH(int32_t, to_integer(x, INT32_MIN, INT32_MAX));
    default:
        EACH(int64_t, to_integer(x, INT64_MIN, INT64_MAX));
    }
}

#undef EACH

void
cpu_load(const isa_loops *isa, ql_dtype dtype, const void *src, int64_t n, float *dst)
{
    if (dtype == QL_BF16) {
        isa->bf16_to_float(src, n, dst);
    } else if (dtype == QL_F16) {
        isa->half_to_float(src, n, dst);
    } else if (dtype == QL_F32) {
        memcpy(dst, src, (size_t)n * sizeof *dst);
    } else {
        double x[CHUNK];

        for (int64_t i = 0; i < n; i += CHUNK) {
            int64_t c = cpu_min(CHUNK, n - i);

            cpu_load_double(dtype, (const char *)src + (size_t)i * ql_dtype_size(dtype), c, x);
            cpu_store_double(QL_F32, x, c, dst + i);
        }
    }
}

/* Between integers without the detour through double, which has 53 bits. */
static void
convert_integers(ql_dtype from, const void *src, ql_dtype to, int64_t n, void *dst)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t x = from == QL_U8    ? ((const uint8_t *)src)[i]
                    : from == QL_I32 ? ((const int32_t *)src)[i]
                                     : ((const int64_t *)src)[i];

        if (to == QL_U8)
            ((uint8_t *)dst)[i] = (uint8_t)(x < 0 ? 0 : x > UINT8_MAX ? UINT8_MAX : x);
        else if (to == QL_I32)
            ((int32_t *)dst)[i] = (int32_t)(x < INT32_MIN ? INT32_MIN : x > INT32_MAX ? INT32_MAX : x);
        else
            ((int64_t *)dst)[i] = x;
    }
}

static bool
is_integer(ql_dtype d)
{
    return d == QL_U8 || d == QL_I32 || d == QL_I64;
}

void
cpu_convert(const isa_loops *isa, ql_dtype from, const void *src, ql_dtype to, int64_t n, void *dst)
{
    double x[CHUNK];

    if (from == to) {
        memmove(dst, src, (size_t)n * ql_dtype_size(to));
    } else if (to == QL_F32) {
        cpu_load(isa, from, src, n, dst);
    } else if (from == QL_F32 && to == QL_BF16) {
        isa->float_to_bf16(src, n, dst);
    } else if (is_integer(from) && is_integer(to)) {
        convert_integers(from, src, to, n, dst);
    } else {
        for (int64_t i = 0; i < n; i += CHUNK) {
            int64_t c = cpu_min(CHUNK, n - i);

            cpu_load_double(from, (const char *)src + (size_t)i * ql_dtype_size(from), c, x);
            cpu_store_double(to, x, c, (char *)dst + (size_t)i * ql_dtype_size(to));
        }
    }
}
