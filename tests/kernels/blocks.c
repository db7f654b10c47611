/* Operations of transformer blocks against their plain definitions. */
#include "kernel.h"

static ql_dtype
narrow_dtype(kernel *k)
{
    static const ql_dtype d[] = {QL_F32, QL_F32, QL_BF16, QL_F16};

    return d[k_int(k, 0, 3)];
}

static ql_dtype
float_dtype(kernel *k)
{
    return k_int(k, 0, 4) ? narrow_dtype(k) : QL_F64;
}

/* Heads as models have them, the edges of what a kernel holds, and short ones of every kind. */
static int64_t
head_size(kernel *k, bool even)
{
    static const int64_t sizes[] = {64, 66, 80, 96, 112, 127, 128, 130, 192, 256};
    int64_t n;

    do
        n = k_int(k, 0, 1) ? k_size(k, 64) : sizes[k_int(k, 0, sizeof sizes / sizeof *sizes - 1)];
    while (even && n % 2);
    return n;
}

/* Up to five sequences of up to `most` tokens, some of them empty; at least one token in all. */
static ql_seqs
sequences(kernel *k, int64_t most)
{
    int64_t count = k_int(k, 1, 5), *offsets = ql_alloc(k->cx, (size_t)count + 1, sizeof *offsets);
    int64_t *first = k_int(k, 0, 1) ? ql_alloc(k->cx, (size_t)count, sizeof *first) : NULL;

    for (int64_t s = 0; s < count; s++) {
        offsets[s + 1] = offsets[s] + (k_int(k, 0, 3) ? k_size(k, most) : 0);
        if (first)
            first[s] = k_int(k, 0, 1000);
    }
    offsets[count] += offsets[count] == 0;
    return (ql_seqs){.count = count, .offsets = offsets, .first = first};
}

static void
rmsnorm(kernel *k)
{
    int64_t t = k_size(k, 300), n = k_size(k, 600);
    ql_dtype d = float_dtype(k);
    double *x = k_normal(k, t * n), *w = k_normal(k, n), *y = k_doubles(k, t * n);
    ql_tensor *tx = k_put(k, d, t, n, x), *tw = k_put(k, d, n, -1, w), *ty;

    plain_rmsnorm(d, t, n, x, w, 1e-6, y);
    REQUIRE_OK(k->cx, ql_rmsnorm(k->cx, tx, tw, 1e-6, &ty));
    /* four roundings and those of the sum: the mean, the scale, two products; f16 has subnormals 2^-24 apart */
    k_close(k, k_get(k, ty), y, t * n, k_eps(d) * (6 + sqrt((double)n) / 4), d == QL_F16 ? 0x1p-24 : 1e-30);
}

/* The sum, rounded, and its norm: what add and rmsnorm make one after the other, to the bit. */
static void
add_rmsnorm(kernel *k)
{
    int64_t t = k_size(k, 300), n = k_size(k, 600);
    ql_dtype d = float_dtype(k);
    double *a = k_normal(k, t * n), *b = k_normal(k, t * n), *w = k_normal(k, n), *y = k_doubles(k, t * n), *got;
    ql_tensor *ta = k_put(k, d, t, n, a), *tb = k_put(k, d, t, n, b), *tw = k_put(k, d, n, -1, w), *sum, *ty, *twice;

    for (int64_t i = 0; i < t * n; i++)
        a[i] = plain_round(d, a[i] + b[i]);
    plain_rmsnorm(d, t, n, a, w, 1e-6, y);
    REQUIRE_OK(k->cx, ql_add_rmsnorm(k->cx, ta, tb, tw, 1e-6, &sum, &ty));
    k_close(k, k_get(k, sum), a, t * n, 0, 0);
    got = k_get(k, ty);
    k_close(k, got, y, t * n, k_eps(d) * (6 + sqrt((double)n) / 4), d == QL_F16 ? 0x1p-24 : 1e-30);
    REQUIRE_OK(k->cx, ql_rmsnorm(k->cx, sum, tw, 1e-6, &twice));
    CHECK(memcmp(got, k_get(k, twice), (size_t)(t * n) * sizeof *got) == 0);
}

static void
rope(kernel *k)
{
    ql_seqs seqs = sequences(k, 130);
    int64_t t = seqs.offsets[seqs.count], dim = head_size(k, true), heads = k_int(k, 1, 3), half = dim / 2;
    ql_dtype d = float_dtype(k);
    float *freq = ql_alloc(k->cx, (size_t)(seqs.count * (half + 1)), sizeof *freq);
    ql_rope_spec spec = {dim, freq, k_int(k, 0, 1) ? half + 1 : 0, k_int(k, 0, 1) ? 1.0f : 1.25f};
    double *x = k_normal(k, t * heads * dim);
    ql_tensor *tx = k_put(k, d, t, heads * dim, x);

    for (int64_t i = 0; i < seqs.count * (half + 1); i++)
        freq[i] = (float)pow(10000, -test_uniform(&k->rng));
    plain_rope(&seqs, &spec, heads * dim, x);
    REQUIRE_OK(k->cx, ql_rope(k->cx, &seqs, &spec, tx));
    k_close(k, k_get(k, tx), x, t * heads * dim, k_eps(d) * 2, 2e-6); /* sine and cosine are of f32 in every dtype */
}

static void
attend(kernel *k, ql_dtype d, int64_t dim, ql_seqs seqs)
{
    int64_t t = seqs.offsets[seqs.count], kv = k_int(k, 1, 3), heads = kv * k_int(k, 1, dim > 64 ? 2 : 3);
    ql_attention_spec spec = {heads, kv, dim, k_int(k, 0, 1) ? k_size(k, 600) : 0};
    double *q = k_normal(k, t * heads * dim), *keys = k_normal(k, t * kv * dim), *v = k_normal(k, t * kv * dim);
    double *y = k_doubles(k, t * heads * dim), largest = k_largest(v, t * kv * dim);
    ql_tensor *qkv[3], *ty;

    for (int64_t i = 0; i < t * heads * dim; i++)
        q[i] *= 3;
    k->whole = k_int(k, 0, 1) != 0; /* rows that can be copied 16 bytes at a time */
    qkv[0] = k_put(k, d, t, heads * dim, q);
    qkv[1] = k_put(k, d, t, kv * dim, keys);
    qkv[2] = k_put(k, d, t, kv * dim, v);
    k->whole = false;
    plain_attention(&seqs, &spec, (const double *const[]){q, keys, v}, y);
    REQUIRE_OK(k->cx, ql_attention(k->cx, &seqs, &spec, (const ql_tensor *const *)qkv, &ty));
    /* tensor cores take weights, of sum 1, in the dtype of v */
    k_close(k, k_get(k, ty), y, t * heads * dim, k_eps(d) * 2,
            2e-6 * sqrt((double)dim) + (d == QL_F32 ? 0 : k_eps(d) * largest));
}

static void
attention(kernel *k)
{
    const int64_t dim = head_size(k, false);

    attend(k, narrow_dtype(k), dim, sequences(k, dim <= 64 && k_int(k, 0, 4) == 0 ? 521 : 140));
}

/* In each dtype a head on both sides of where kernels change. */
static void
attention_of_every_head(kernel *k)
{
    static const ql_dtype dtypes[] = {QL_F32, QL_BF16, QL_F16};
    static const int64_t sizes[] = {64, 66, 128, 130, 256};

    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++)
            attend(k, dtypes[i], sizes[j], sequences(k, 33));
}

/* Scores of +-1e4: a softmax without its running maximum overflows. */
static void
attention_of_large_scores(kernel *k)
{
    int64_t t = 300, dim = 16, offsets[] = {0, t};
    ql_attention_spec spec = {1, 1, dim, 0};
    double *q = k_normal(k, t * dim), *keys = k_normal(k, t * dim), *v = k_normal(k, t * dim),
           *y = k_doubles(k, t * dim);
    ql_tensor *qkv[3], *ty;

    for (int64_t i = 0; i < t * dim; i++)
        q[i] = rint(q[i] * 4096);
    qkv[0] = k_put(k, QL_F32, t, dim, q);
    qkv[1] = k_put(k, QL_BF16, t, dim, keys); /* few digits, so that products are exact */
    REQUIRE_OK(k->cx, ql_convert(k->cx, qkv[1], QL_F32, &qkv[1]));
    qkv[2] = k_put(k, QL_F32, t, dim, v);
    plain_attention(&(ql_seqs){.count = 1, .offsets = offsets}, &spec, (const double *const[]){q, keys, v}, y);
    REQUIRE_OK(k->cx, ql_attention(k->cx, &(ql_seqs){.count = 1, .offsets = offsets}, &spec,
                                   (const ql_tensor *const *)qkv, &ty));
    k_close(k, k_get(k, ty), y, t * dim, 0, 0.02); /* scores of 1e4 have an error of 1e-3 in f32 */
}

static void
swiglu(kernel *k)
{
    int64_t t = k_size(k, 300), n = k_size(k, 600);
    ql_dtype d = float_dtype(k);
    double *a = k_normal(k, t * n), *b = k_normal(k, t * n);
    ql_tensor *ta, *tb, *ty;

    for (int64_t i = 0; i < t * n; i++)
        a[i] *= i % 7 == 0 ? 40 : 3;
    ta = k_put(k, d, t, n, a);
    tb = k_put(k, d, t, n, b);
    REQUIRE_OK(k->cx, ql_swiglu(k->cx, ta, tb, &ty));
    for (int64_t i = 0; i < t * n; i++)
        a[i] = a[i] / (1 + exp(-a[i])) * b[i];
    k_close(k, k_get(k, ty), a, t * n, k_eps(d) * 8, k_tiny(d));
}

static void
add(kernel *k)
{
    int64_t t = k_size(k, 300), n = k_size(k, 600);
    ql_dtype d = float_dtype(k);
    double *a = k_normal(k, t * n), *b = k_normal(k, t * n), *bias = k_normal(k, n), *y;
    ql_tensor *ta = k_put(k, d, t, n, a), *tb = k_put(k, d, t, n, b), *tbias = k_put(k, d, n, -1, bias), *ty;

    REQUIRE_OK(k->cx, ql_add(k->cx, ta, tb, &ty));
    y = k_get(k, ty);
    for (int64_t i = 0; i < t * n; i++)
        a[i] = plain_round(d, a[i] + b[i]);
    k_close(k, y, a, t * n, 0, 0);
    REQUIRE_OK(k->cx, ql_add_bias(k->cx, tbias, ty));
    for (int64_t i = 0; i < t * n; i++)
        a[i] = plain_round(d, a[i] + bias[i % n]);
    k_close(k, k_get(k, ty), a, t * n, 0, 0);
}

static void
nll(kernel *k)
{
    int64_t t = k_size(k, k_int(k, 0, 3) ? 67 : 300), n = k_size(k, 70),
            v = k_int(k, 0, 3) ? k_size(k, 600) : 4000 + k_size(k, 600);
    ql_dtype d = narrow_dtype(k);
    double *x = k_normal(k, t * n), *head = k_normal(k, v * n), *y = k_doubles(k, t), *targets = k_doubles(k, t);
    int32_t *ids = ql_alloc(k->cx, (size_t)t, sizeof *ids);
    ql_tensor *tx = k_put(k, d, t, n, x), *th = k_put(k, d, v, n, head), *tt, *ty;

    for (int64_t i = 0; i < t; i++)
        targets[i] = ids[i] = (int32_t)k_int(k, -1, v - 1);
    tt = k_put(k, QL_I32, t, -1, targets);
    plain_nll((const int64_t[]){t, n, v}, x, head, ids, y);
    REQUIRE_OK(k->cx, ql_nll(k->cx, tx, th, tt, &ty));
    k_close(k, k_get(k, ty), y, t, 1e-6, 4e-6 * sqrt((double)n));
    targets[t - 1] = (double)v;
    tt = k_put(k, QL_I32, t, -1, targets);
    CHECK_ERROR(k->cx, ql_nll(k->cx, tx, th, tt, &ty), QL_INVALID, "but the vocabulary has");
}

static void
kl(kernel *k)
{
    const int64_t t = k_size(k, k_int(k, 0, 3) ? 33 : 300), n = k_size(k, 70),
                  v = k_int(k, 0, 3) ? k_size(k, 600) : 4000 + k_size(k, 600);
    const ql_dtype d = narrow_dtype(k);
    const double far = k_int(k, 0, 1) ? 1 : 0.01; /* a near variant, as real ones are, or another model */
    double *ref = k_normal(k, t * n), *x = k_normal(k, t * n), *head = k_normal(k, v * n), *y = k_doubles(k, t);
    double *agree = k_doubles(k, t), *gap = k_doubles(k, t), *got;
    ql_tensor *tr, *tx, *th = k_put(k, d, v, n, head), *ty, *ta;

    for (int64_t i = 0; i < t * n; i++)
        x[i] = ref[i] + far * x[i];
    tr = k_put(k, d, t, n, ref);
    tx = k_put(k, d, t, n, x);
    plain_kl((const int64_t[]){t, n, v}, (const double *const[]){ref, x}, head, (double *const[]){y, agree, gap});
    REQUIRE_OK(k->cx, ql_kl(k->cx, tr, tx, th, &ty, &ta));
    k_close(k, k_get(k, ty), y, t, 1e-5, 1e-6 * sqrt((double)n));
    got = k_get(k, ta);
    for (int64_t i = 0; i < t; i++)
        if (got[i] != agree[i] && gap[i] > 1e-5 * (double)n)
            TEST_FAIL("kl: token %lld: agreement %g, expected %g", (long long)i, got[i], agree[i]);
    REQUIRE_OK(k->cx, ql_kl(k->cx, tr, tr, th, &ty, &ta)); /* a model is at no distance from itself */
    got = k_get(k, ty);
    for (int64_t i = 0; i < t; i++)
        CHECK(got[i] == 0);
    got = k_get(k, ta);
    for (int64_t i = 0; i < t; i++)
        CHECK(got[i] == 1);
}

static void
abs_stats(kernel *k)
{
    ql_seqs seqs = sequences(k, 130);
    int64_t t = seqs.offsets[seqs.count], n = k_size(k, 600);
    ql_dtype d = float_dtype(k), sd = k_real(d);
    double *x = k_normal(k, t * n), *sum = k_doubles(k, n), *max = k_doubles(k, n);
    ql_tensor *tx = k_put(k, d, t, n, x), *ts = k_put(k, sd, n, -1, sum), *tm = k_put(k, sd, n, -1, max);

    for (int i = 0; i < 2; i++) {
        REQUIRE_OK(k->cx, ql_abs_stats(k->cx, &seqs, tx, ts, tm));
        plain_abs_stats(&seqs, n, x, sum, max);
    }
    k_close(k, k_get(k, ts), sum, n, 4e-7, 1e-12);
    k_close(k, k_get(k, tm), max, n, 4e-7, 1e-12);
}

static const kernel_case cases[] = {
    {"rmsnorm", rmsnorm},
    {"add_rmsnorm", add_rmsnorm},
    {"rope", rope},
    {"attention", attention},
    {"attention, every head", attention_of_every_head},
    {"attention, large scores", attention_of_large_scores},
    {"swiglu", swiglu},
    {"add, add_bias", add},
    {"nll", nll},
    {"kl", kl},
    {"abs_stats", abs_stats},
};

int
main(void)
{
    return k_main(cases, sizeof cases / sizeof *cases, 8);
}
