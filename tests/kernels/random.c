/* Counter-based random numbers against a plain Philox 4x32-10 and the known answers of its authors; and transposes. */
#include "core/tensor/op.h"
#include "kernel.h"

static ql_status
fill_random(kernel *k, const uint32_t *key, bool normal, ql_tensor *t)
{
    return ql_op_run(k->cx, &(ql_op){.code = QL_OP_RANDOM, .t = {t}, .spec = key, .n = {normal}});
}

static void
plain_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};

    for (uint32_t round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)c[0] * 0xD2511F53u, b = (uint64_t)c[2] * 0xCD9E8D57u;

        out[0] = (uint32_t)(b >> 32) ^ c[1] ^ (key[0] + round * 0x9E3779B9u);
        out[1] = (uint32_t)b;
        out[2] = (uint32_t)(a >> 32) ^ c[3] ^ (key[1] + round * 0xBB67AE85u);
        out[3] = (uint32_t)a;
        memcpy(c, out, sizeof c);
    }
}

/* kat_vectors of Random123. */
static void
known_answers(kernel *k)
{
    static const uint32_t in[3][6] = {
        {0}, {~0u, ~0u, ~0u, ~0u, ~0u, ~0u}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0}};
    static const uint32_t expected[3][4] = {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
                                            {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
                                            {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}};
    uint32_t words[4];
    ql_tensor *t;

    for (int i = 0; i < 3; i++) {
        plain_philox(in[i], in[i] + 4, words);
        CHECK(memcmp(words, expected[i], sizeof words) == 0);
    }
    REQUIRE_OK(k->cx, ql_new(k->cx, QL_F32, 1, 1, &t));
    REQUIRE_OK(k->cx, fill_random(k, in[0], false, t));
    CHECK_NEAR(k_get(k, t)[0], 0x6627e8d5 * 0x1p-32 - 0.5, 0x1p-25);
    REQUIRE_OK(k->cx, fill_random(k, in[0], true, t));
    CHECK_NEAR(k_get(k, t)[0],
               sqrt(-2 * log((0x6627e8d5 + 1.0) * 0x1p-32)) * cos(6.283185307179586 * 0xe169c58d * 0x1p-32), 1e-6);
}

/* Element (i, j) is the counter (i, j) alone: in any shape, in a view with gaps. */
static void
elements(kernel *k)
{
    const int64_t m = k_size(k, 130), n = k_size(k, 300), gap = k_int(k, 0, 2);
    const uint32_t key[2] = {(uint32_t)test_u64(&k->rng), (uint32_t)test_u64(&k->rng)};
    const bool normal = k_int(k, 0, 1) != 0;
    double *expected = k_doubles(k, m * n);
    ql_tensor *whole, *t;

    for (int64_t i = 0; i < m * n; i++) {
        const uint32_t counter[4] = {(uint32_t)(i / n), 0, (uint32_t)(i % n), 0};
        uint32_t w[4];

        plain_philox(counter, key, w);
        expected[i] = normal ? sqrt(-2 * log((w[0] + 1.0) * 0x1p-32)) * cos(6.283185307179586 * w[1] * 0x1p-32)
                             : w[0] * 0x1p-32 - 0.5;
    }
    REQUIRE_OK(k->cx, ql_new(k->cx, QL_F32, m, n + gap, &whole));
    REQUIRE_OK(k->cx, ql_cols(k->cx, whole, k_int(k, 0, gap), n, &t));
    REQUIRE_OK(k->cx, fill_random(k, key, normal, t));
    k_close(k, k_get(k, t), expected, m * n, 1e-6, 1e-7);
}

/* Four columns share a block of words. In place or not, and from any token on, the same elements stay. */
static void
dropout(kernel *k)
{
    const int64_t m = k_size(k, 130), n = k_size(k, 300), from = k_int(k, 0, m - 1);
    const ql_dtype dtypes[] = {QL_F32, QL_F64, QL_BF16, QL_F16}, d = dtypes[k_int(k, 0, 3)];
    const double p = (double)k_int(k, 0, 3) / 8; /* none, too */
    const uint32_t key[2] = {(uint32_t)test_u64(&k->rng), (uint32_t)test_u64(&k->rng)};
    const int64_t first = k_int(k, 0, 3) ? k_int(k, 0, 1000) : ((int64_t)1 << 32) + 5;
    ql_dropout_spec spec = {.seed = test_u64(&k->rng), .update = 3, .linear = 7, .first = first, .p = p};
    double *x = k_normal(k, m * n), *y = k_doubles(k, m * n), *got, *rest;
    ql_tensor *t = k_put(k, d, m, n, x), *out, *part;

    for (int64_t i = 0; i < m * n; i++) {
        const uint64_t row = (uint64_t)(first + i / n);
        const uint32_t counter[4] = {(uint32_t)row, (uint32_t)(row >> 32), (uint32_t)(i % n / 4), 0};
        uint32_t w[4];

        plain_philox(counter, key, w);
        y[i] = w[i % n % 4] < p * 0x1p32 ? 0 : x[i] / (1 - p);
    }
    REQUIRE_OK(k->cx, ql_new(k->cx, d, m, n, &out));
    REQUIRE_OK(k->cx,
               ql_op_run(k->cx, &(ql_op){.code = QL_OP_DROPOUT, .t = {t, out}, .alpha = p, .n = {first}, .spec = key}));
    k_close(k, k_get(k, out), y, m * n, 2 * k_eps(d), k_tiny(d));
    REQUIRE_OK(k->cx, ql_dropout(k->cx, &spec, t, out));
    got = k_get(k, out);
    spec.first += from;
    REQUIRE_OK(k->cx, ql_rows(k->cx, t, from, m - from, &part));
    REQUIRE_OK(k->cx, ql_dropout(k->cx, &spec, part, part));
    rest = k_get(k, part);
    CHECK(memcmp(rest, got + from * n, (size_t)((m - from) * n) * sizeof *got) == 0);
}

/* Seed, update and linear each change the mask; about the share p is dropped. */
static void
dropout_keys(kernel *k)
{
    const ql_dropout_spec specs[] = {{1, 0, 0, 0, 0.25}, {2, 0, 0, 0, 0.25}, {1, 1, 0, 0, 0.25}, {1, 0, 1, 0, 0.25}};
    double *masks[4];

    for (int i = 0; i < 4; i++) {
        ql_tensor *t;
        double dropped = 0;

        REQUIRE_OK(k->cx, ql_new(k->cx, QL_F32, 64, 64, &t));
        REQUIRE_OK(k->cx, ql_fill(k->cx, t, 1));
        REQUIRE_OK(k->cx, ql_dropout(k->cx, &specs[i], t, t));
        masks[i] = k_get(k, t);
        for (int64_t j = 0; j < 4096; j++)
            dropped += masks[i][j] == 0;
        CHECK(fabs(dropped / 4096 - 0.25) < 0.04);
        for (int j = 0; j < i; j++)
            CHECK(memcmp(masks[i], masks[j], 4096 * sizeof(double)) != 0);
    }
}

static void
transpose(kernel *k)
{
    static const ql_dtype dtypes[] = {QL_F32, QL_F64, QL_F16, QL_BF16, QL_U8, QL_I32, QL_I64};
    const int64_t m = k_size(k, 521), n = k_size(k, 300);
    double *x = k_doubles(k, m * n), *y = k_doubles(k, m * n);
    ql_tensor *t, *out;

    for (int64_t i = 0; i < m * n; i++)
        x[i] = (double)k_int(k, 0, 255);
    t = k_put(k, dtypes[k_int(k, 0, 6)], m, n, x);
    REQUIRE_OK(k->cx, ql_transpose(k->cx, t, &out));
    CHECK_INT(ql_dtype_of(out), ql_dtype_of(t));
    CHECK_INT(ql_dim(out, 0), n);
    CHECK_INT(ql_dim(out, 1), m);
    for (int64_t i = 0; i < m * n; i++)
        y[i % n * m + i / n] = x[i];
    k_close(k, k_get(k, out), y, m * n, 0, 0);
}

static void
refusals(kernel *k)
{
    ql_tensor *v, *d, *out;

    REQUIRE_OK(k->cx, ql_zeros(k->cx, QL_F32, 3, -1, &v));
    REQUIRE_OK(k->cx, ql_zeros(k->cx, QL_F64, 3, 2, &d));
    CHECK_ERROR(k->cx, ql_transpose(k->cx, v, &out), QL_INVALID, "transpose: the matrix: got f32 [3], expected ");
    CHECK_ERROR(k->cx, ql_random(k->cx, QL_SKETCH, d), QL_INVALID,
                "random: the tensor: got f64 [3, 2], expected f32 [*, *]");
    REQUIRE_OK(k->cx, ql_zeros(k->cx, QL_U8, 0, 5, &d));
    REQUIRE_OK(k->cx, ql_transpose(k->cx, d, &out));
    CHECK_INT(ql_dim(out, 0), 5);
    CHECK_INT(ql_dim(out, 1), 0);
}

static const kernel_case cases[] = {
    {"random, known answers", known_answers}, {"random, elements", elements}, {"dropout", dropout},
    {"dropout, keys", dropout_keys},          {"transpose", transpose},       {"refusals", refusals},
};

int
main(void)
{
    return k_main(cases, sizeof cases / sizeof *cases, 10);
}
