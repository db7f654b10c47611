/* Linear algebra and elementwise operations against their plain definitions. */
#include "kernel.h"

static ql_dtype
real_dtype(kernel *k)
{
    return k_int(k, 0, 1) ? QL_F64 : QL_F32;
}

static ql_dtype
float_dtype(kernel *k)
{
    static const ql_dtype d[] = {QL_F32, QL_F64, QL_BF16, QL_F16};

    return d[k_int(k, 0, 3)];
}

static void
gemm(kernel *k)
{
    int64_t mnk[3] = {k_size(k, 600), k_size(k, 600), k_size(k, 600)};
    ql_trans op = (ql_trans)k_int(k, 0, 2);
    ql_dtype d = float_dtype(k), cd = d != QL_F64 && k_int(k, 0, 1) ? QL_F32 : d;
    double *a = k_normal(k, mnk[0] * mnk[2]), *b = k_normal(k, mnk[1] * mnk[2]), *c = k_normal(k, mnk[0] * mnk[1]);
    double alpha = (double)k_int(k, -2, 2), beta = (double)k_int(k, -1, 1);
    ql_tensor *ta = op == QL_TN ? k_put(k, d, mnk[2], mnk[0], a) : k_put(k, d, mnk[0], mnk[2], a);
    ql_tensor *tb = op == QL_NT ? k_put(k, d, mnk[1], mnk[2], b) : k_put(k, d, mnk[2], mnk[1], b);
    ql_tensor *tc = k_put(k, cd, mnk[0], mnk[1], c);
    double sum = d == QL_F64 ? 0x1p-53 : 0x1p-24;

    plain_gemm(op, mnk, alpha, a, b, beta, c);
    REQUIRE_OK(k->cx, ql_gemm(k->cx, op, alpha, ta, tb, beta, tc));
    k_close(k, k_get(k, tc), c, mnk[0] * mnk[1], k_eps(cd) * 2, sum * 8 * (double)(mnk[2] + 1));
}

static void
gemm_ignores_c_without_beta(kernel *k)
{
    int64_t mnk[3] = {k_size(k, 70), k_size(k, 70), k_size(k, 70)};
    ql_dtype d = float_dtype(k);
    double *a = k_normal(k, mnk[0] * mnk[2]), *b = k_normal(k, mnk[1] * mnk[2]), *c = k_doubles(k, mnk[0] * mnk[1]);
    ql_tensor *ta = k_put(k, d, mnk[0], mnk[2], a), *tb = k_put(k, d, mnk[2], mnk[1], b), *tc;

    for (int64_t i = 0; i < mnk[0] * mnk[1]; i++)
        c[i] = NAN;
    tc = k_put(k, d, mnk[0], mnk[1], c);
    plain_gemm(QL_NN, mnk, 1, a, b, 0, c);
    REQUIRE_OK(k->cx, ql_gemm(k->cx, QL_NN, 1, ta, tb, 0, tc));
    k_close(k, k_get(k, tc), c, mnk[0] * mnk[1], k_eps(d) * 2, k_eps(k_real(d)) * 8 * (double)mnk[2]);
}

static void
gram(kernel *k)
{
    const bool wide = k_int(k, 0, 3) == 0; /* more than a panel */
    int64_t t = k_size(k, wide ? 17 : 300), n = wide ? 1024 + k_size(k, 130) : k_size(k, 600);
    ql_dtype d = float_dtype(k), sd = k_real(d);
    double *x = k_normal(k, t * n), *g = k_doubles(k, n * n), *s, *c;
    ql_tensor *tx = k_put(k, d, t, n, x), *sum = k_put(k, sd, n, n, g), *comp = k_put(k, sd, n, n, g);

    for (int round = 0; round < 2; round++) {
        REQUIRE_OK(k->cx, ql_gram(k->cx, tx, sum, comp));
        plain_gram(t, n, x, g);
    }
    s = k_get(k, sum);
    c = k_get(k, comp);
    for (int64_t i = 0; i < n * n; i++) {
        CHECK(s[i] == s[i % n * n + i / n]);
        s[i] += c[i];
    }
    k_close(k, s, g, n * n, k_eps(sd) * 4, k_eps(sd) * 32 * (double)(t + 8));
}

/* Small terms after a large one: the pair must not lose them. */
static void
gram_is_compensated(kernel *k)
{
    double x[1] = {4096}, g[1] = {0}, one[1] = {1.0 / 64}, *s, *c;
    ql_tensor *sum = k_put(k, QL_F32, 1, 1, g), *comp = k_put(k, QL_F32, 1, 1, g);
    ql_tensor *large = k_put(k, QL_F32, 1, 1, x), *small = k_put(k, QL_F32, 1, 1, one);

    REQUIRE_OK(k->cx, ql_gram(k->cx, large, sum, comp));
    for (int i = 0; i < 1000; i++)
        REQUIRE_OK(k->cx, ql_gram(k->cx, small, sum, comp));
    s = k_get(k, sum);
    c = k_get(k, comp);
    CHECK_NEAR(s[0] + c[0], 4096.0 * 4096 + 1000.0 / 4096, 1e-6);
}

/* A Hessian of many tokens in bf16, whose sums are of one sign: what tensor cores truncate stays below 1e-5 of its norm. */
static void
gram_of_many_tokens(kernel *k)
{
    const int64_t t = 32768, n = 16;
    double *x = k_normal(k, t * n), *g = k_doubles(k, n * n), *s, *c, error = 0, norm = 0;
    ql_tensor *sum = k_put(k, QL_F32, n, n, g), *comp = k_put(k, QL_F32, n, n, g), *tx;

    for (int64_t i = 0; i < t * n; i++)
        x[i] += 1;
    tx = k_put(k, QL_BF16, t, n, x);
    plain_gram(t, n, x, g);
    REQUIRE_OK(k->cx, ql_gram(k->cx, tx, sum, comp));
    s = k_get(k, sum);
    c = k_get(k, comp);
    for (int64_t i = 0; i < n * n; i++) {
        error += pow(s[i] + c[i] - g[i], 2);
        norm += g[i] * g[i];
    }
    CHECK_NEAR(sqrt(error / norm), 0, 1e-5);
}

/* A random symmetric matrix with eigenvalues above 1/2. */
static double *
positive(kernel *k, int64_t n)
{
    double *x = k_normal(k, n * (n + 3)), *a = k_doubles(k, n * n);

    plain_gram(n + 3, n, x, a);
    for (int64_t i = 0; i < n * n; i++)
        a[i] = a[i] / (double)n + (i % (n + 1) == 0 ? 0.5 : 0);
    return a;
}

static void
potrf(kernel *k)
{
    int64_t n = k_size(k, 300);
    ql_dtype d = real_dtype(k);
    double *a = positive(k, n);
    ql_tensor *t = k_put(k, d, n, n, a);
    bool ok = false;

    REQUIRE_OK(k->cx, ql_potrf(k->cx, t, &ok));
    CHECK(ok && plain_potrf(n, a));
    k_close(k, k_get(k, t), a, n * n, 0, k_eps(d) * 16 * (double)(n + 3));
}

static void
potrf_refuses(kernel *k)
{
    int64_t n = k_size(k, 300), at = k_int(k, 0, n - 1);
    double *a = positive(k, n);
    ql_tensor *t;
    bool ok = true;

    a[at * n + at] = k_int(k, 0, 1) ? -1 : NAN;
    t = k_put(k, real_dtype(k), n, n, a);
    REQUIRE_OK(k->cx, ql_potrf(k->cx, t, &ok));
    CHECK(!ok);
}

static void
trtri(kernel *k)
{
    int64_t n = k_size(k, 300);
    ql_dtype d = real_dtype(k);
    double *a = positive(k, n);
    ql_tensor *t;

    plain_potrf(n, a);
    t = k_put(k, d, n, n, a);
    REQUIRE_OK(k->cx, ql_trtri(k->cx, t));
    plain_trtri(n, a);
    k_close(k, k_get(k, t), a, n * n, 0, k_eps(d) * 64 * (double)(n + 3));
}

static void
trtri_refuses(kernel *k)
{
    int64_t n = k_size(k, 300), at = k_int(k, 0, n - 1);
    double *a = positive(k, n);
    ql_tensor *t;

    a[at * n + at] = 0;
    t = k_put(k, real_dtype(k), n, n, a);
    CHECK_INT(ql_trtri(k->cx, t), QL_NUMERIC);
    CHECK(strcmp(ql_error(k->cx), ql_format(k->cx, "a triangular matrix is singular: element %lld of its diagonal is 0",
                                            (long long)at)) == 0);
    ql_error_clear(k->cx);
}

static void
syevd(kernel *k)
{
    int64_t n = k_size(k, 200), nnn[3] = {n, n, n};
    ql_dtype d = real_dtype(k);
    double *a = positive(k, n), *zeros = k_doubles(k, n), *v, *w, *scaled = k_doubles(k, n * n),
           *b = k_doubles(k, n * n);
    ql_tensor *ta = k_put(k, d, n, n, a), *tw = k_put(k, d, n, -1, zeros);

    REQUIRE_OK(k->cx, ql_syevd(k->cx, ta, tw));
    v = k_get(k, ta);
    w = k_get(k, tw);
    for (int64_t i = 0; i < n; i++) {
        CHECK(i == 0 || w[i] >= w[i - 1]);
        for (int64_t j = 0; j < n; j++)
            scaled[i * n + j] = w[i] * v[i * n + j];
    }
    plain_gemm(QL_TN, nnn, 1, v, scaled, 0, b); /* V^T diag(w) V with eigenvectors as rows */
    k_close(k, b, a, n * n, 0, k_eps(d) * 64 * (double)(n + 3));
}

static void
syevd_names_what_is_not_finite(kernel *k)
{
    double a[9] = {1, 0, 0, 0, 1, 0, 0, NAN, 1}, w[3] = {0};
    ql_tensor *ta = k_put(k, QL_F32, 3, 3, a), *tw = k_put(k, QL_F32, 3, -1, w);

    CHECK_ERROR(k->cx, ql_syevd(k->cx, ta, tw), QL_NUMERIC,
                "eigenproblem: the element in row 2, column 1 is not finite");
}

static void
orth(kernel *k)
{
    int64_t m = k_size(k, 600), n = k_size(k, m < 100 ? m : 100), nnm[3] = {n, n, m}, mnn[3] = {m, n, n};
    ql_dtype d = real_dtype(k);
    double *y = k_normal(k, m * n), *q, *id = k_doubles(k, n * n), *r = k_doubles(k, n * n),
           *back = k_doubles(k, m * n);
    ql_tensor *t;

    if (n > 2 && k_int(k, 0, 1)) /* a column twice: the basis must stay orthonormal */
        for (int64_t i = 0; i < m; i++)
            y[i * n + 1] = y[i * n];
    t = k_put(k, d, m, n, y);
    REQUIRE_OK(k->cx, ql_orth(k->cx, t));
    q = k_get(k, t);
    plain_gemm(QL_TN, nnm, 1, q, q, 0, id);
    for (int64_t i = 0; i < n; i++)
        id[i * n + i] -= 1;
    k_close(k, id, k_doubles(k, n * n), n * n, 0, k_eps(d) * 16 * (double)(n + 3));
    plain_gemm(QL_TN, nnm, 1, q, y, 0, r);
    plain_gemm(QL_NN, mnn, 1, q, r, 0, back);
    k_close(k, back, y, m * n, 0, k_eps(d) * 16 * sqrt((double)m) * (double)(n + 3));
}

static void
axpby(kernel *k)
{
    int64_t m = k_size(k, 600), n = k_size(k, 600);
    ql_dtype d = real_dtype(k);
    double *x = k_normal(k, m * n), *y = k_normal(k, m * n), alpha = test_normal(&k->rng),
           beta = (double)k_int(k, -1, 1);
    ql_tensor *tx = k_put(k, d, m, n, x), *ty = k_put(k, d, m, n, y);

    REQUIRE_OK(k->cx, ql_axpby(k->cx, alpha, tx, beta, ty));
    for (int64_t i = 0; i < m * n; i++)
        y[i] = alpha * x[i] + beta * y[i];
    k_close(k, k_get(k, ty), y, m * n, k_eps(d) * 4, k_eps(d) * 16);
}

static void
scales(kernel *k)
{
    int64_t m = k_size(k, 600), n = k_size(k, 600);
    ql_dtype d = real_dtype(k);
    double *r = k_normal(k, m), *c = k_normal(k, n), *y = k_normal(k, m * n);
    ql_tensor *tr = k_put(k, d, m, -1, r), *tc = k_put(k, d, n, -1, c), *ty = k_put(k, d, m, n, y);

    REQUIRE_OK(k->cx, ql_scale_rows(k->cx, tr, ty));
    REQUIRE_OK(k->cx, ql_scale_cols(k->cx, tc, ty));
    for (int64_t i = 0; i < m * n; i++)
        y[i] *= r[i / n] * c[i % n];
    k_close(k, k_get(k, ty), y, m * n, k_eps(d) * 8, 0);
}

static void
dot(kernel *k)
{
    int64_t m = k_size(k, 600), n = k_size(k, 600);
    ql_dtype d = real_dtype(k);
    double *a = k_normal(k, m * n), *b = k_normal(k, m * n), got, sum = 0;
    ql_tensor *ta = k_put(k, d, m, n, a), *tb = k_put(k, d, m, n, b);

    REQUIRE_OK(k->cx, ql_dot(k->cx, ta, tb, &got));
    for (int64_t i = 0; i < m * n; i++)
        sum += a[i] * b[i];
    CHECK_NEAR(got, sum, 1e-12 * (double)(m * n));
    memcpy(&k->hash, &got, sizeof got);
}

static void
nonfinite(kernel *k)
{
    int64_t m = k_size(k, 600), n = k_size(k, 600), at = k_int(k, 0, m * n - 1), later = k_int(k, at, m * n - 1), first;
    ql_dtype d = float_dtype(k);
    double *x = k_normal(k, m * n);
    ql_tensor *t = k_put(k, d, m, n, x);

    REQUIRE_OK(k->cx, ql_nonfinite(k->cx, t, &first));
    CHECK_INT(first, -1);
    x[at] = k_int(k, 0, 1) ? NAN : INFINITY;
    x[later] = -INFINITY;
    t = k_put(k, d, m, n, x);
    REQUIRE_OK(k->cx, ql_nonfinite(k->cx, t, &first));
    CHECK_INT(first, at);
}

/* Values at the edges of the narrow formats: ties, subnormals, overflow, infinities, NaN. */
static void
conversions(kernel *k)
{
    static const ql_dtype to[] = {QL_F32, QL_F16, QL_BF16};
    int64_t n = 4000;
    double *x = k_doubles(k, n), *got;

    for (int64_t i = 0; i < n; i++) {
        double base = ldexp(1 + (double)k_int(k, 0, 4095) / 2048, (int)k_int(k, -30, 18));

        x[i] = (k_int(k, 0, 1) ? -1 : 1) * (base + base * (double)k_int(k, -1, 1) * 0x1p-40);
    }
    x[0] = 65519.99999;
    x[1] = 65520;
    x[2] = 1e300;
    x[3] = -INFINITY;
    x[4] = NAN;
    x[5] = 0x1p-25;
    x[6] = 0x1.0000000001p-25;
    x[7] = 1 + 0x1p-8 + 0x1p-40; /* a second rounding through float would make this a tie */
    for (int i = 0; i < 3; i++) {
        ql_tensor *t, *f;

        REQUIRE_OK(k->cx, ql_upload(k->cx, QL_F64, n, -1, x, &t));
        REQUIRE_OK(k->cx, ql_convert(k->cx, t, to[i], &t));
        got = k_get(k, t);
        for (int64_t j = 0; j < n; j++)
            if (isnan(x[j]) ? !isnan(got[j]) : got[j] != plain_round(to[i], x[j]))
                TEST_FAIL("%.17g to %s: got %.17g, expected %.17g", x[j], ql_dtype_name(to[i]), got[j],
                          plain_round(to[i], x[j]));
        REQUIRE_OK(k->cx, ql_convert(k->cx, t, QL_F32, &f)); /* by way of the vector loops, and back */
        REQUIRE_OK(k->cx, ql_convert(k->cx, f, to[i], &t));
        k_close(k, k_get(k, t), got, n, 0, 0);
    }
}

static void
integers(kernel *k)
{
    double x[7] = {-1.5, 0.5, 1.5, 254.5, 300, NAN, 3e9};
    static const double u8[7] = {0, 0, 2, 254, 255, 0, 255}, i32[7] = {-2, 0, 2, 254, 300, 0, 2147483647};
    ql_tensor *t, *i;

    REQUIRE_OK(k->cx, ql_upload(k->cx, QL_F64, 7, -1, x, &t));
    REQUIRE_OK(k->cx, ql_convert(k->cx, t, QL_U8, &i));
    k_close(k, k_get(k, i), u8, 7, 0, 0);
    REQUIRE_OK(k->cx, ql_convert(k->cx, t, QL_I32, &i));
    k_close(k, k_get(k, i), i32, 7, 0, 0);
    REQUIRE_OK(k->cx, ql_convert(k->cx, i, QL_U8, &i));
    k_close(k, k_get(k, i), (const double[]){0, 0, 2, 254, 255, 0, 255}, 7, 0, 0);
}

/* Whole numbers that every dtype holds, from each to each. */
static void
copies_of_every_pair(kernel *k)
{
    const int64_t m = k_size(k, 20), n = k_size(k, 70);
    double *x = k_doubles(k, m * n), *three = k_doubles(k, m * n);
    ql_tensor *from, *to;

    for (int64_t i = 0; i < m * n; i++) {
        x[i] = (double)k_int(k, 0, 200);
        three[i] = 3;
    }
    for (ql_dtype a = QL_F32; a <= QL_I64; a++) {
        from = k_put(k, a, m, n, x);
        for (ql_dtype b = QL_F32; b <= QL_I64; b++) {
            REQUIRE_OK(k->cx, ql_convert(k->cx, from, b, &to));
            k_close(k, k_get(k, to), x, m * n, 0, 0);
        }
        REQUIRE_OK(k->cx, ql_fill(k->cx, from, 3));
        k_close(k, k_get(k, from), three, m * n, 0, 0);
    }
}

static void
gather(kernel *k)
{
    static const ql_dtype dtypes[] = {QL_F32, QL_F64, QL_BF16, QL_U8, QL_I32, QL_I64};
    int64_t m = k_size(k, 300), n = k_size(k, 300), r = k_size(k, 300), c = k_size(k, 300);
    double *x = k_normal(k, m * n), *ri = k_doubles(k, r), *ci = k_doubles(k, c), *y = k_doubles(k, r * c);
    ql_tensor *tr, *tc, *out, *t;

    for (int64_t i = 0; i < m * n; i++)
        x[i] = rint(fabs(x[i]) * 20);
    for (int64_t i = 0; i < r; i++)
        ri[i] = (double)k_int(k, 0, m - 1);
    for (int64_t i = 0; i < c; i++)
        ci[i] = (double)k_int(k, 0, n - 1);
    t = k_put(k, dtypes[k_int(k, 0, 5)], m, n, x);
    tr = k_put(k, QL_I32, r, -1, ri);
    tc = k_put(k, QL_I32, c, -1, ci);
    REQUIRE_OK(k->cx, ql_gather(k->cx, t, tr, tc, &out));
    for (int64_t i = 0; i < r * c; i++)
        y[i] = x[(int64_t)ri[i / c] * n + (int64_t)ci[i % c]];
    k_close(k, k_get(k, out), y, r * c, 0, 0);
    REQUIRE_OK(k->cx, ql_gather(k->cx, t, tr, NULL, &out));
    CHECK_INT(ql_dim(out, 1), n);
    ri[0] = (double)m;
    tr = k_put(k, QL_I32, r, -1, ri);
    CHECK_ERROR(k->cx, ql_gather(k->cx, t, tr, NULL, &out), QL_INVALID, "at position 0 is outside 0 .. ");
}

static void
diagonals(kernel *k)
{
    int64_t n = k_size(k, 300);
    ql_dtype d = real_dtype(k);
    double *a = k_normal(k, n * n), *v;
    ql_tensor *t = k_put(k, d, n, n, a), *g;

    REQUIRE_OK(k->cx, ql_diag(k->cx, t, &g));
    v = k_get(k, g);
    for (int64_t i = 0; i < n; i++)
        CHECK(v[i] == a[i * n + i]);
    REQUIRE_OK(k->cx, ql_axpby(k->cx, 2, g, 0, g));
    REQUIRE_OK(k->cx, ql_diag_set(k->cx, g, t));
    for (int64_t i = 0; i < n; i++)
        a[i * n + i] *= 2;
    k_close(k, k_get(k, t), a, n * n, 0, 0);
    REQUIRE_OK(k->cx, ql_fill(k->cx, t, -1.5));
    for (int64_t i = 0; i < n * n; i++)
        a[i] = -1.5;
    k_close(k, k_get(k, t), a, n * n, 0, 0);
}

static const kernel_case cases[] = {
    {"gemm", gemm},
    {"gemm without beta", gemm_ignores_c_without_beta},
    {"gram", gram},
    {"gram, compensated", gram_is_compensated},
    {"gram, many tokens", gram_of_many_tokens},
    {"potrf", potrf},
    {"potrf of an indefinite matrix", potrf_refuses},
    {"trtri", trtri},
    {"trtri of a singular matrix", trtri_refuses},
    {"syevd", syevd},
    {"syevd of NaN", syevd_names_what_is_not_finite},
    {"orth", orth},
    {"axpby", axpby},
    {"scale_rows, scale_cols", scales},
    {"dot", dot},
    {"nonfinite", nonfinite},
    {"copy", conversions},
    {"copy to integers", integers},
    {"copy, every pair", copies_of_every_pair},
    {"gather", gather},
    {"diag, diag_set, fill", diagonals},
};

int
main(void)
{
    return k_main(cases, sizeof cases / sizeof *cases, 6);
}
