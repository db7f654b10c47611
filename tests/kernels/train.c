/* Operations of training against their plain definitions. */
#include "core/tensor/op.h"
#include "kernel.h"

static ql_dtype
float_dtype(kernel *k)
{
    static const ql_dtype d[] = {QL_F32, QL_F32, QL_F64, QL_BF16, QL_F16};

    return d[k_int(k, 0, 4)];
}

/* An operation that this device does not have in `d` is left out; true then. */
static bool
left_out(kernel *k, ql_status st, ql_dtype d)
{
    if (st != QL_UNSUPPORTED || d != QL_F64)
        return false;
    ql_error_clear(k->cx);
    return true;
}

/* Added to what dx holds, or in its place, where what it held, NaN, is forgotten. */
static void
rmsnorm_back(kernel *k)
{
    const int64_t t = k_size(k, 300), n = k_size(k, 600);
    const ql_dtype d = float_dtype(k), of_dy = k_int(k, 0, 1) ? d : k_real(d), of_dx = k_int(k, 0, 1) ? d : k_real(d);
    const double beta = k_int(k, 0, 1) ? 0 : k_int(k, 0, 1) ? 1 : -0.5;
    double *x = k_normal(k, t * n), *w = k_normal(k, n), *dy = k_normal(k, t * n), *dx = k_normal(k, t * n);
    ql_tensor *tx, *tw = k_put(k, d, n, -1, w), *tdy = k_put(k, of_dy, t, n, dy), *tdx;

    for (int64_t i = 0; i < t * n; i++)
        x[i] *= i / n % 3 == 0 ? 1e-3 : 4; /* rows whose mean square is no larger than eps, and others */
    tx = k_put(k, d, t, n, x);
    tdx = k_put(k, of_dx, t, n, dx);
    for (int64_t i = 0; i < t * n; i++)
        dx[i] *= beta;
    if (beta == 0)
        REQUIRE_OK(k->cx, ql_fill(k->cx, tdx, (double)NAN));
    plain_rmsnorm_back(t, n, x, w, 1e-6, dy, dx);
    REQUIRE_OK(k->cx, ql_rmsnorm_back(k->cx, tx, tw, 1e-6, tdy, beta, tdx));
    k_close(k, k_get(k, tdx), dx, t * n, 2 * k_eps(of_dx), 16 * k_eps(k_real(d)) * k_largest(dx, t * n));
}

/* Up to five sequences of up to `most` tokens, some of them empty or of one token. */
static ql_seqs
sequences(kernel *k, int64_t most)
{
    int64_t count = k_int(k, 1, 5), *offsets = ql_alloc(k->cx, (size_t)count + 1, sizeof *offsets);

    for (int64_t s = 0; s < count; s++)
        offsets[s + 1] = offsets[s] + (k_int(k, 0, 3) ? k_size(k, most) : k_int(k, 0, 1));
    offsets[count] += offsets[count] == 0;
    return (ql_seqs){.count = count, .offsets = offsets};
}

static void
check_attention(kernel *k, ql_dtype d, int64_t dim, ql_seqs seqs, int64_t window)
{
    const int64_t t = seqs.offsets[seqs.count], kv = k_int(k, 1, 2), heads = kv * k_int(k, 1, 3),
                  width[] = {heads * dim, kv * dim, kv * dim};
    const ql_attention_spec spec = {heads, kv, dim, window};
    double *plain[3], *dy = k_normal(k, t * heads * dim), *lse = k_doubles(k, t * heads), *grad[3], *y;
    ql_tensor *qkv[3], *ty, *tdy, *tlse, *got[3];
    ql_status st;

    k->whole = k_int(k, 0, 1) != 0;
    for (int i = 0; i < 3; i++) {
        plain[i] = k_normal(k, t * width[i]);
        grad[i] = k_doubles(k, t * width[i]);
        qkv[i] = k_put(k, d, t, width[i], plain[i]);
    }
    tdy = k_put(k, d, t, heads * dim, dy);
    k->whole = false;
    plain_attention_back(&seqs, &spec, (const double *const *)plain, dy, lse, grad);
    st = ql_attention_lse(k->cx, &seqs, &spec, (const ql_tensor *const *)qkv, &tlse, &ty);
    if (left_out(k, st, d))
        return;
    REQUIRE_OK(k->cx, st);
    k_close(k, k_get(k, tlse), lse, t * heads, 8 * k_eps(k_real(d)), 2e-6 * (d == QL_F64 ? 1e-7 : 1));
    y = k_get(k, ty);
    REQUIRE_OK(k->cx, ql_attention(k->cx, &seqs, &spec, (const ql_tensor *const *)qkv, &ty));
    k_close(k, k_get(k, ty), y, t * heads * dim, 0, 0); /* the same bits with and without sums */
    REQUIRE_OK(k->cx,
               ql_attention_back(k->cx, &seqs, &spec, &(ql_attended){qkv[0], qkv[1], qkv[2], ty, tlse}, tdy, got));
    for (int i = 0; i < 3; i++) /* tensor cores take weights and slopes in the dtype of q, and y is rounded to it */
        k_close(k, k_get(k, got[i]), grad[i], t * width[i], 2 * k_eps(d),
                (d == QL_F64 ? 1e-14 : 2e-6 + (d == QL_F32 ? 0 : 2 * k_eps(d))) * sqrt((double)dim) *
                    fmax(1, k_largest(grad[i], t * width[i])));
}

static void
attention_back(kernel *k)
{
    static const int64_t sizes[] = {16, 24, 64, 66, 80, 96, 128};
    const int64_t dim = k_int(k, 0, 1) ? k_size(k, 64) : sizes[k_int(k, 0, 6)];

    check_attention(k, float_dtype(k), dim, sequences(k, dim <= 64 && k_int(k, 0, 3) == 0 ? 300 : 130),
                    k_int(k, 0, 1) ? k_size(k, 200) : 0);
}

/* In each dtype a head on both sides of where kernels change. */
static void
attention_back_of_every_head(kernel *k)
{
    static const ql_dtype dtypes[] = {QL_F32, QL_F64, QL_BF16, QL_F16};
    static const int64_t sizes[] = {64, 66, 128, 130, 256};

    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++)
            check_attention(k, dtypes[i], sizes[j], sequences(k, 33), k_int(k, 0, 1) ? 7 : 0);
}

/* One token sees itself alone: its value, and no slope of a score. */
static void
attention_back_of_one_token(kernel *k)
{
    const int64_t offsets[] = {0, 1, 2};
    const ql_seqs seqs = {.count = 2, .offsets = offsets};
    const ql_attention_spec spec = {4, 2, 8, 0};
    double *q = k_normal(k, 64), *kv[] = {k_normal(k, 32), k_normal(k, 32)}, *dy = k_normal(k, 64),
           *dv = k_doubles(k, 32), *got;
    ql_tensor *tq = k_put(k, QL_F32, 2, 32, q), *tk = k_put(k, QL_F32, 2, 16, kv[0]),
              *tv = k_put(k, QL_F32, 2, 16, kv[1]), *tdy = k_put(k, QL_F32, 2, 32, dy), *lse, *y, *d[3];

    REQUIRE_OK(k->cx, ql_attention_lse(k->cx, &seqs, &spec, (const ql_tensor *const[]){tq, tk, tv}, &lse, &y));
    REQUIRE_OK(k->cx, ql_attention_back(k->cx, &seqs, &spec, &(ql_attended){tq, tk, tv, y, lse}, tdy, d));
    for (int64_t i = 0; i < 64; i++)
        dv[i / 32 * 16 + i % 32 / 16 * 8 + i % 8] += dy[i];
    k_close(k, k_get(k, d[2]), dv, 32, 1e-6, 1e-6);
    for (int which = 0; which < 2; which++) {
        got = k_get(k, d[which]);
        CHECK(k_largest(got, which ? 32 : 64) < 1e-5);
    }
}

static void
swiglu_back(kernel *k)
{
    const int64_t t = k_size(k, 300), n = k_size(k, 600);
    const ql_dtype d = float_dtype(k), of_dy = k_int(k, 0, 1) ? d : k_real(d);
    double *gate = k_normal(k, t * n), *up = k_normal(k, t * n), *dy = k_normal(k, t * n), *dgate = k_doubles(k, t * n),
           *dup = k_doubles(k, t * n);
    ql_tensor *tg, *tu = k_put(k, d, t, n, up), *tdy = k_put(k, of_dy, t, n, dy), *tdg, *tdu;

    for (int64_t i = 0; i < t * n; i++)
        gate[i] *= i % 7 == 0 ? 40 : 3;
    tg = k_put(k, d, t, n, gate);
    for (int64_t i = 0; i < t * n; i++) {
        const double sigmoid = 1 / (1 + exp(-gate[i]));

        dgate[i] = dy[i] * up[i] * sigmoid * (1 + gate[i] * (1 - sigmoid));
        dup[i] = dy[i] * gate[i] * sigmoid;
    }
    REQUIRE_OK(k->cx, ql_swiglu_back(k->cx, tg, tu, tdy, &tdg, &tdu));
    k_close(k, k_get(k, tdg), dgate, t * n, 4 * k_eps(d), 16 * k_eps(k_real(d)) * k_largest(dgate, t * n) + k_tiny(d));
    k_close(k, k_get(k, tdu), dup, t * n, 4 * k_eps(d), 16 * k_eps(k_real(d)) * k_largest(dup, t * n) + k_tiny(d));
}

/* Some tokens have no target, or all, or none; with dx and without, of the same losses. */
static void
head_loss(kernel *k)
{
    const int64_t t = k_size(k, 130), n = k_size(k, 70), v = k_int(k, 0, 3) ? k_size(k, 600) : 70000 / n,
                  tdv[] = {t, n, v}, share = k_int(k, 0, 3);
    const ql_dtype d = float_dtype(k);
    double *x = k_normal(k, t * n), *head = k_normal(k, v * n), *nll = k_doubles(k, t), *dx = k_doubles(k, t * n), *got;
    ql_tensor *tx = k_put(k, d, t, n, x), *th = k_put(k, d, v, n, head), *tnll, *tdx, *alone;
    int32_t *targets = ql_alloc(k->cx, (size_t)t, sizeof *targets);
    int64_t count = 0;

    for (int64_t i = 0; i < t; i++)
        targets[i] = k_int(k, 1, 3) > share ? (int32_t)k_int(k, 0, v - 1) : -1;
    plain_nll(tdv, x, head, targets, nll);
    plain_loss_back(tdv, x, head, targets, 0.25, dx);
    for (int64_t i = 0; i < t; i++)
        if (targets[i] >= 0)
            nll[count++] = nll[i];
    REQUIRE_OK(k->cx, ql_head_loss(k->cx, tx, th, targets, 0.25, &tnll, &tdx));
    REQUIRE_OK(k->cx, ql_head_loss(k->cx, tx, th, targets, 0.25, &alone, NULL));
    CHECK_INT(ql_dim(tnll, 0), count);
    got = k_get(k, tnll);
    k_close(k, got, nll, count, d == QL_F64 ? 1e-13 : 1e-6, (d == QL_F64 ? 1e-14 : 4e-6) * sqrt((double)n));
    k_close(k, k_get(k, alone), got, count, 0, 0);
    k_close(k, k_get(k, tdx), dx, t * n, 0,
            (d == QL_F64 ? 1e-13 : 4e-6 + (d == QL_F32 ? 0 : 4 * k_eps(d))) * sqrt((double)n) * k_largest(dx, t * n));
}

static void
adamw(kernel *k)
{
    const int64_t m = k_size(k, 130), n = k_size(k, 600);
    const ql_dtype d = k_int(k, 0, 2) ? QL_F32 : QL_F64;
    const bool rows = k_int(k, 0, 1) != 0, cols = k_int(k, 0, 1) != 0;
    double *p = k_normal(k, m * n), *m1 = k_normal(k, m * n), *m2 = k_normal(k, m * n), *g = k_normal(k, m * n),
           *by_row = k_normal(k, m), *by_col = k_normal(k, n);
    ql_adamw_spec s = {
        .scale = 0.5, .rate = 1e-2, .decay = 0.1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .t = k_int(k, 1, 9)};
    ql_tensor *tp = k_put(k, d, m, n, p), *tg = k_put(k, d, m, n, g), *tm = k_put(k, d, m, n, m1), *tv;

    for (int64_t i = 0; i < m * n; i++)
        m2[i] *= m2[i];
    tv = k_put(k, d, m, n, m2);
    s.rows = rows ? k_put(k, d, m, -1, by_row) : NULL;
    s.cols = cols ? k_put(k, d, n, -1, by_col) : NULL;
    for (int64_t i = 0; i < m * n; i++) {
        const double r = s.rate * (rows ? by_row[i / n] : 1) * (cols ? by_col[i % n] : 1), scaled = s.scale * g[i];

        m1[i] = s.beta1 * m1[i] + (1 - s.beta1) * scaled;
        m2[i] = s.beta2 * m2[i] + (1 - s.beta2) * scaled * scaled;
        p[i] = p[i] * (1 - r * s.decay);
        p[i] -=
            r / (1 - pow(s.beta1, (double)s.t)) * m1[i] / (sqrt(m2[i]) / sqrt(1 - pow(s.beta2, (double)s.t)) + s.eps);
    }
    REQUIRE_OK(k->cx, ql_adamw(k->cx, &s, tg, tm, tv, tp));
    k_close(k, k_get(k, tp), p, m * n, 8 * k_eps(d), 8 * k_eps(d));
    k_close(k, k_get(k, tm), m1, m * n, 2 * k_eps(d), 2 * k_eps(d));
    k_close(k, k_get(k, tv), m2, m * n, 2 * k_eps(d), 1e-30);
    s.t = 0;
    CHECK_ERROR(k->cx, ql_adamw(k->cx, &s, tg, tm, tv, tp), QL_INVALID, "adamw: update 0, expected 1 or more");
}

/* What decodes from words is what codes decode to, rounded once more. */
static void
decode_grid(kernel *k, bool fp64)
{
    static const ql_dtype dtypes[] = {QL_F32, QL_F64, QL_F16, QL_BF16};
    const int64_t m = k_size(k, 130), n = k_size(k, 600), group = k_size(k, 130), groups = (n + group - 1) / group;
    const int bits = (int)k_int(k, 2, 8);
    const bool levels = k_int(k, 0, 2) == 0, index = k_int(k, 0, 1) != 0;
    const ql_dtype d = dtypes[k_int(k, 0, 3)];
    ql_qlinear q = {.grid = {.bits = bits, .group = group, .scale_dtype = QL_F32, .fp64 = fp64}};
    double *codes = k_doubles(k, m * n), *scales = k_normal(k, m * groups), *zeros = k_doubles(k, m * groups),
           *values = k_normal(k, 1 << bits), *of = k_doubles(k, n), *got, *expected;
    ql_tensor *w, *rounded, *packed, *words;

    for (int64_t i = 0; i < m * n; i++)
        codes[i] = (double)k_int(k, 0, (1 << bits) - 1);
    for (int64_t i = 0; i < m * groups; i++)
        zeros[i] = (double)k_int(k, 0, (1 << bits) - 1);
    for (int64_t i = 0; i < n; i++)
        of[i] = (double)k_int(k, 0, groups - 1);
    q.codes = k_put(k, QL_U8, m, n, codes);
    q.scales = k_put(k, fp64 ? QL_F64 : QL_F32, m, groups, scales);
    q.zeros = levels ? NULL : k_put(k, fp64 ? QL_F64 : QL_F32, m, groups, zeros);
    q.levels = levels ? k_put(k, fp64 ? QL_F64 : QL_F32, 1 << bits, -1, values) : NULL;
    q.g_idx = index ? k_put(k, QL_I32, n, -1, of) : NULL;
    REQUIRE_OK(k->cx, ql_group_decode(k->cx, &q, &w));
    REQUIRE_OK(k->cx, ql_convert(k->cx, w, d, &rounded));
    REQUIRE_OK(k->cx, ql_pack(k->cx, q.codes, bits, &packed));
    q.codes = packed;
    REQUIRE_OK(k->cx, ql_decode(k->cx, &q, n, d, &words));
    CHECK_INT(ql_dtype_of(words), d);
    expected = k_get(k, rounded);
    got = k_get(k, words);
    CHECK(memcmp(got, expected, (size_t)(m * n) * sizeof *got) == 0);
    CHECK_ERROR(k->cx, ql_decode(k->cx, &q, n + 32, d, &words), QL_INVALID, "words hold no ");
}

static void
decode(kernel *k)
{
    decode_grid(k, false);
    decode_grid(k, true);
}

static void
refusals(kernel *k)
{
    const int64_t offsets[] = {0, 2, 4}, first[] = {0, 2}, parent[] = {-1, 0};
    const ql_attention_spec spec = {2, 1, 4, 0};
    const int32_t targets[] = {0, 1, -1, 7};
    ql_tensor *q, *kv, *lse, *narrow, *d[3], *nll;

    REQUIRE_OK(k->cx, ql_zeros(k->cx, QL_F32, 4, 8, &q));
    REQUIRE_OK(k->cx, ql_zeros(k->cx, QL_F32, 4, 4, &kv));
    REQUIRE_OK(k->cx, ql_zeros(k->cx, QL_F32, 4, 2, &lse));
    REQUIRE_OK(k->cx, ql_zeros(k->cx, QL_F32, 4, 1, &narrow));
    CHECK_ERROR(k->cx,
                ql_attention_back(k->cx, &(ql_seqs){.count = 2, .offsets = offsets, .first = first, .parent = parent},
                                  &spec, &(ql_attended){q, kv, kv, q, lse}, q, d),
                QL_INVALID, "attention_back: sequences have parents");
    CHECK_ERROR(k->cx,
                ql_attention_back(k->cx, &(ql_seqs){.count = 2, .offsets = offsets}, &spec,
                                  &(ql_attended){q, kv, kv, q, narrow}, q, d),
                QL_INVALID, "attention_back: lse has 1 columns, expected one for each of 2 heads");
    CHECK_ERROR(k->cx, ql_head_loss(k->cx, q, q, targets, 1, &nll, NULL), QL_INVALID,
                "head_loss: the target of token 3 is 7, but the vocabulary has 4 entries");
    CHECK_ERROR(k->cx, ql_dropout(k->cx, &(ql_dropout_spec){.p = 1}, q, q), QL_INVALID, "dropout: probability 1 ");
}

static const kernel_case cases[] = {
    {"rmsnorm_back", rmsnorm_back},
    {"attention_back", attention_back},
    {"attention_back, every head", attention_back_of_every_head},
    {"attention_back, one token", attention_back_of_one_token},
    {"swiglu_back", swiglu_back},
    {"head_loss", head_loss},
    {"adamw", adamw},
    {"decode", decode},
    {"refusals", refusals},
};

int
main(void)
{
    return k_main(cases, sizeof cases / sizeof *cases,
                  getenv("QLOOM_TEST_BACKEND") ? 2 : 8); /* an emulated one is slow */
}
