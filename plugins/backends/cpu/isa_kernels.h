/* The loops of isa.h, written once over vectors of ISA_BYTES; a file per instruction set includes this after it has defined
 * ISA_NAME (a string), ISA_TABLE (the table's symbol), ISA_BYTES, ISA_FNMA(a, b, c) = c - a b, ISA_MAX, ISA_MIN (b where either is NaN) and
 * ISA_SWEEP_COLS. */
#include "isa.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define LANES (ISA_BYTES / 4)

typedef float vf __attribute__((vector_size(ISA_BYTES)));
typedef int32_t vi __attribute__((vector_size(ISA_BYTES)));
typedef uint32_t vu __attribute__((vector_size(ISA_BYTES)));

extern const isa_loops ISA_TABLE;

static inline vf
load(const float *p)
{
    vf v;

    memcpy(&v, p, sizeof v);
    return v;
}

static inline void
store(float *p, vf v)
{
    memcpy(p, &v, sizeof v);
}

static inline vf
splat(float x)
{
    return x - (vf){0}; /* not 0 + x, which is no plain broadcast: it changes -0 */
}

static inline vf
choose(vi mask, vf yes, vf no)
{
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

/* The first n < LANES elements, the rest filled. */
static inline vf
load_part(const float *p, int64_t n, float fill)
{
    vf v = splat(fill);

    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}

/* Pairwise, so that the order of the sum is the same everywhere. */
static inline float
lane_sum(vf v)
{
    float x[LANES];

    memcpy(x, &v, sizeof v);
    for (int w = LANES / 2; w > 0; w /= 2)
        for (int i = 0; i < w; i++)
            x[i] += x[i + w];
    return x[0];
}

static inline float
lane_max(vf v)
{
    float x[LANES], m;

    memcpy(x, &v, sizeof v);
    m = x[0];
    for (int i = 1; i < LANES; i++)
        m = x[i] > m ? x[i] : m;
    return m;
}

/* exp to 1.5 ulp: 2^k times a polynomial in the rest, |rest| <= ln2 / 2. Below -87 the result is 0, above 88.37 infinity; NaN
 * stays NaN. */
static inline vf
exp_vector(vf x)
{
    const float magic = 0x1.8p23f;
    vf in = choose(x > 88.37f, splat(88.37f), choose(x < -87.0f, splat(-87.0f), x));
    vf k = (in * 0x1.715476p0f + magic) - magic;
    vf r = (in - k * 0x1.62e4p-1f) - k * 0x1.7f7d1cp-20f;
    vf p = splat(0x1.6850e4p-10f);
    vu bits;

    p = p * r + 0x1.123bccp-7f;
    p = p * r + 0x1.555b98p-5f;
    p = p * r + 0x1.55548ep-3f;
    p = p * r + 0x1.fffff8p-2f;
    p = (p * r) * r + r + 1.0f;
    bits = (vu)(k + magic) << 23;
    p = (vf)((vu)p + bits);
    p = choose(x > 88.37f, splat(INFINITY), choose(x < -87.0f, splat(0), p));
    return choose(x == x, p, x);
}

static void
bf16_to_float(const uint16_t *src, int64_t n, float *dst)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t u = (uint32_t)src[i] << 16;

        memcpy(&dst[i], &u, sizeof u);
    }
}

/* The exponent is moved by a multiplication, which also makes subnormals right. */
static void
half_to_float(const uint16_t *src, int64_t n, float *dst)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t em = (uint32_t)(src[i] & 0x7fff) << 13, sign = (uint32_t)(src[i] & 0x8000) << 16, u;
        float f;

        memcpy(&f, &em, sizeof f);
        f *= 0x1p112f;
        memcpy(&u, &f, sizeof u);
        u = (src[i] & 0x7c00) == 0x7c00 ? em | 0x7f800000u : u;
        u |= sign;
        memcpy(&dst[i], &u, sizeof u);
    }
}

static void
float_to_bf16(const float *src, int64_t n, uint16_t *dst)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t u, r;

        memcpy(&u, &src[i], sizeof u);
        r = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
        dst[i] = (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? u >> 16 | 0x40u : r);
    }
}

static float
row_max(const float *x, int64_t n)
{
    vf m = splat(-INFINITY);
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        vf v = load(x + i);

        m = ISA_MAX(v, m);
    }
    if (i < n) {
        vf v = load_part(x + i, n - i, -INFINITY);

        m = ISA_MAX(v, m);
    }
    return lane_max(m);
}

static float
exp_sum(float *x, int64_t n, float shift)
{
    vf sum = splat(0);
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        vf v = exp_vector(load(x + i) - shift);

        store(x + i, v);
        sum += v;
    }
    if (i < n) {
        vf v = exp_vector(load_part(x + i, n - i, -INFINITY) - shift);

        memcpy(x + i, &v, (size_t)(n - i) * sizeof *x);
        sum += v; /* the filled lanes are exp(-inf) = 0 */
    }
    return lane_sum(sum);
}

static inline vf
swiglu_vector(vf gate, vf up)
{
    return gate / (1.0f + exp_vector(-gate)) * up;
}

static void
swiglu(const float *gate, const float *up, int64_t n, float *y)
{
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        store(y + i, swiglu_vector(load(gate + i), load(up + i)));
    if (i < n) {
        vf v = swiglu_vector(load_part(gate + i, n - i, 0), load_part(up + i, n - i, 0));

        memcpy(y + i, &v, (size_t)(n - i) * sizeof *y);
    }
}

/* A vector of elements, or the n < LANES that are left. */
static inline vf
load_some(const float *p, int64_t n)
{
    return n < LANES ? load_part(p, n, 0) : load(p);
}

static inline void
store_some(float *p, vf v, int64_t n)
{
    memcpy(p, &v, (size_t)(n < LANES ? n : LANES) * sizeof *p);
}

static void
swiglu_back(const float *gate, const float *up, const float *dy, int64_t n, float *dgate, float *dup)
{
    for (int64_t i = 0; i < n; i += LANES) {
        const vf g = load_some(gate + i, n - i), u = load_some(up + i, n - i), d = load_some(dy + i, n - i),
                 sigmoid = 1.0f / (1.0f + exp_vector(-g));

        store_some(dup + i, d * g * sigmoid, n - i);
        store_some(dgate + i, d * u * sigmoid * (1.0f + g * (1.0f - sigmoid)), n - i);
    }
}

static void
softmax_back(const float *p, float d, float scale, int64_t n, float *dp)
{
    for (int64_t i = 0; i < n; i += LANES)
        store_some(dp + i, load_some(p + i, n - i) * (load_some(dp + i, n - i) - d) * scale, n - i);
}

static double
sum_squares(const float *x, int64_t n)
{
    double total = 0;

    for (int64_t i = 0; i < n;) { /* spans short enough for f32 sums to be exact to their last bits */
        const int64_t end = n - i < 64 * LANES ? n : i + 64 * LANES;
        vf sum = splat(0);

        for (; i + LANES <= end; i += LANES)
            sum += load(x + i) * load(x + i);
        if (i < end) {
            vf rest = load_part(x + i, end - i, 0);

            sum += rest * rest;
            i = end;
        }
        total += (double)lane_sum(sum);
    }
    return total;
}

static double
dot(const float *x, const float *y, const float *z, int64_t n)
{
    double total = 0;

    for (int64_t i = 0; i < n;) { /* in spans, as the squares */
        const int64_t end = n - i < 64 * LANES ? n : i + 64 * LANES;
        vf sum = splat(0);

        for (; i < end; i += LANES) {
            const vf product = load_some(x + i, end - i) * load_some(y + i, end - i);

            sum += z ? product * load_some(z + i, end - i) : product;
        }
        i = end;
        total += (double)lane_sum(sum);
    }
    return total;
}

static void
norm_back(const isa_norm_back *r)
{
    for (int64_t i = 0; i < r->n; i += LANES) {
        const int64_t left = r->n - i;
        const vf d =
            (load_some(r->w + i, left) * load_some(r->dy + i, left) - r->along * load_some(r->x + i, left)) * r->scale;

        store_some(r->dx + i, r->beta == 0 ? d : r->beta * load_some(r->dx + i, left) + d, left);
    }
}

static void
scaled_product(const float *x, float scale, const float *w, int64_t n, float *y)
{
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        store(y + i, load(x + i) * scale * load(w + i));
    for (; i < n; i++)
        y[i] = x[i] * scale * w[i];
}

static void
rotate(float *x, const float *cosines, const float *sines, int64_t n)
{
    int64_t k = 0;

    for (; k + LANES <= n; k += LANES) {
        const vf a = load(x + k), b = load(x + n + k), c = load(cosines + k), s = load(sines + k);

        store(x + k, a * c - b * s);
        store(x + n + k, b * c + a * s);
    }
    for (; k < n; k++) {
        const float a = x[k], b = x[n + k];

        x[k] = a * cosines[k] - b * sines[k];
        x[n + k] = b * cosines[k] + a * sines[k];
    }
}

#define PRODUCT_ROWS 4
#define PRODUCT_VECTORS 4

/* `rows` rows and `vectors` vectors of columns of c from (i, j) on; sums are kept with the sign turned, as ISA_FNMA makes them. */
static inline __attribute__((always_inline)) void
product_block(const isa_product *p, int64_t i, int64_t j, const int rows, const int vectors)
{
    vf sum[PRODUCT_ROWS][PRODUCT_VECTORS];

    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) {
            const int64_t at = j + v * LANES, left = p->columns - at;
            const float *c = p->c + (i + r) * p->ldc + at;

            sum[r][v] = !p->add ? splat(0) : -(left < LANES ? load_part(c, left, 0) : load(c));
        }
    for (int64_t d = 0; d < p->depth; d++)
        for (int v = 0; v < vectors; v++) {
            const vf b = load(p->b + d * p->ldb + j + v * LANES);

            for (int r = 0; r < rows; r++)
                sum[r][v] = ISA_FNMA(splat(p->a[(i + r) * p->lda + d]), b, sum[r][v]);
        }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) {
            const int64_t at = j + v * LANES, left = p->columns - at;
            const vf out = -sum[r][v];

            memcpy(p->c + (i + r) * p->ldc + at, &out, (size_t)(left < LANES ? left : LANES) * sizeof(float));
        }
}

static void
product_rows(const isa_product *p)
{
    int64_t i = 0, j;

    for (; i + PRODUCT_ROWS <= p->rows; i += PRODUCT_ROWS) {
        for (j = 0; j + PRODUCT_VECTORS * LANES <= p->columns; j += PRODUCT_VECTORS * LANES)
            product_block(p, i, j, PRODUCT_ROWS, PRODUCT_VECTORS);
        for (; j < p->columns; j += LANES)
            product_block(p, i, j, PRODUCT_ROWS, 1);
    }
    for (; i < p->rows; i++) {
        for (j = 0; j + PRODUCT_VECTORS * LANES <= p->columns; j += PRODUCT_VECTORS * LANES)
            product_block(p, i, j, 1, PRODUCT_VECTORS);
        for (; j < p->columns; j += LANES)
            product_block(p, i, j, 1, 1);
    }
}

static void
decode(const uint8_t *codes, int64_t n, const float *scales, const float *zeros, float *x)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = scales[i] * ((float)codes[i] - zeros[i]);
}

static void
decode_levels(const uint8_t *codes, int64_t n, const float *scales, const float *levels, float *x)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = scales[i] * levels[codes[i]];
}

#include "sweep_kernel.h"

const isa_loops ISA_TABLE = {
    .name = ISA_NAME,
    .bf16_to_float = bf16_to_float,
    .half_to_float = half_to_float,
    .float_to_bf16 = float_to_bf16,
    .row_max = row_max,
    .exp_sum = exp_sum,
    .swiglu = swiglu,
    .swiglu_back = swiglu_back,
    .softmax_back = softmax_back,
    .sum_squares = sum_squares,
    .dot = dot,
    .norm_back = norm_back,
    .scaled_product = scaled_product,
    .rotate = rotate,
    .product = product_rows,
    .decode = decode,
    .decode_levels = decode_levels,
    .sweep_rows = SWEEP_ROWS,
    .sweep_cols = SWEEP_COLS,
    .sweep_apply = sweep_apply,
    .sweep_encode = sweep_encode,
    .sweep_transpose = sweep_transpose,
    .sweep_bounds = sweep_bounds,
};
