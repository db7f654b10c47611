/* The primitive of the low-rank methods against their published form, with roots and inverses, in double (docs/methods.md 4). */
#include <qloom/lowrank.h>

#include "kernels/kernel.h"
#include "plain.h"

/* A norm: dense from `tokens` inputs, diagonal, or none. h[n, n] in every case but the last. */
typedef struct norm {
    ql_tensor *t; /* NULL: the identity */
    double *h;
    bool singular;
} norm;

static double *
kept(kernel *k, double *x, int64_t count)
{
    double *copy = memcpy(k_doubles(k, count), x, (size_t)count * sizeof *x);

    free(x);
    return copy;
}

static norm
dense_norm(kernel *k, int64_t n, int64_t tokens)
{
    double *x = k_normal(k, tokens * n), *h = k_doubles(k, n * n);

    for (int64_t i = 1; i < tokens * n; i++)
        x[i] += i % n ? 0.6 * x[i - 1] : 0;
    plain_gram(tokens, n, x, h);
    return (norm){k_put(k, QL_F32, n, n, h), h, tokens < n};
}

static norm
diagonal_norm(kernel *k, int64_t n)
{
    double *d = k_doubles(k, n), *h = k_doubles(k, n * n);
    ql_tensor *t;

    for (int64_t j = 0; j < n; j++)
        d[j] = exp(2 * test_normal(&k->rng));
    t = k_put(k, QL_F32, n, -1, d);
    for (int64_t j = 0; j < n; j++)
        h[j * n + j] = d[j];
    return (norm){t, h, false};
}

static norm
random_norm(kernel *k, int64_t n)
{
    const int64_t kind = k_int(k, 0, 3);

    if (kind == 0)
        return (norm){0};
    return kind == 1 ? diagonal_norm(k, n) : dense_norm(k, n, kind == 2 ? 3 * n + 2 : 1 + n / 2);
}

/* U V, and the checks that hold for every result. */
static double *
run(kernel *k, const ql_tensor *e, const ql_lowrank_spec *spec, ql_lowrank_result *c)
{
    const int64_t m = ql_dim(e, 0), n = ql_dim(e, 1);
    double *out = k_doubles(k, m * n), *u, *v, *uu;

    REQUIRE_OK(k->cx, ql_lowrank(k->cx, e, spec, c));
    if (c->rank < 1)
        return out;
    u = k_get(k, c->u);
    v = k_get(k, c->v);
    plain_gemm(QL_NN, (const int64_t[]){m, n, c->rank}, 1, u, v, 0, out);
    uu = kept(k, plain_product(QL_TN, c->rank, c->rank, m, u, u), c->rank * c->rank);
    for (int64_t i = 0; i < c->rank * c->rank; i++) {
        const int64_t row = i / c->rank, col = i % c->rank;
        const bool empty = c->sig2[row] <= 1e-14 * c->sig2[0];

        CHECK_NEAR(uu[i], row == col && !empty, 1e-5);
        CHECK(col == 0 || c->sig2[col] <= c->sig2[col - 1]);
    }
    return out;
}

static double
left(kernel *k, int64_t m, int64_t n, const double *e, const double *c, const double *h)
{
    return plain_quad(m, n, kept(k, plain_minus(e, c, m * n), m * n), h);
}

/* Energies, total and residual of the exact path; C itself where the r-th direction is well apart from the next. */
static void
published_form(kernel *k)
{
    const int64_t m = k_size(k, 67), n = k_size(k, 33), r = k_int(k, 1, 12), least = m < n ? m : n;
    const norm by = random_norm(k, n);
    double *e = k_normal(k, m * n), *best, *energies = k_doubles(k, n), tail = 0, *got, total, rounding = 0;
    ql_tensor *t;
    ql_lowrank_result c;

    for (int64_t i = 0; i < m * n; i++)
        e[i] /= 1 + (double)(i / n % 7); /* rows of unlike size, so that singular values lie apart */
    t = k_put(k, QL_F32, m, n, e);
    total = plain_quad(m, n, e, by.h);
    best = kept(k, plain_best(m, n, r, e, by.h, energies), m * n);
    got = run(k, t, &(ql_lowrank_spec){.h = by.t, .rank = (int)r, .total = true}, &c);
    CHECK_INT(c.rank, r < least ? r : least);
    CHECK_NEAR(c.total, total, 1e-5 * total);
    for (int64_t i = 0; i < n; i++) {
        if (i < c.rank)
            CHECK_NEAR(c.sig2[i], energies[i], 1e-6 * energies[0]);
        tail += i < c.rank ? 0 : energies[i];
    }
    for (int64_t i = 0; i < n; i++)
        rounding = fmax(rounding, 1e-7 * plain_dot(e, e, m * n) * (by.h ? by.h[i * n + i] : 1)); /* of H and of U V */
    CHECK_NEAR(left(k, m, n, e, got, by.h), tail, 1e-5 * tail + rounding);
    if (c.rank < n && energies[c.rank - 1] >= 1.21 * energies[c.rank] && !by.singular)
        CHECK_NEAR(sqrt(left(k, m, n, got, best, NULL)), 0, 1e-5 * sqrt(plain_dot(e, e, m * n)));
}

/* No root of a singular H is needed, and the result is the limit of H + lambda I. */
static void
singular(kernel *k)
{
    const int64_t m = 40, n = 30, r = 5;
    const norm by = dense_norm(k, n, 12);
    double *e = k_normal(k, m * n), *damped = k_doubles(k, n * n), *limit, *got, *energies = k_doubles(k, n);
    ql_tensor *t = k_put(k, QL_F32, m, n, e);
    ql_lowrank_result c;

    for (int64_t i = 0; i < n * n; i++)
        damped[i] = by.h[i] + (i / n == i % n ? 1e-6 * by.h[0] : 0);
    limit = kept(k, plain_best(m, n, r, e, damped, energies), m * n);
    got = run(k, t, &(ql_lowrank_spec){.h = by.t, .rank = r}, &c);
    if (energies[r - 1] > 1.21 * energies[r])
        CHECK_NEAR(sqrt(left(k, m, n, limit, got, NULL) / plain_dot(limit, limit, m * n)), 0, 1e-3);
    got = run(k, t, &(ql_lowrank_spec){.h = by.t, .rank = 12}, &c); /* the rank of H: nothing is left where it looks */
    CHECK_NEAR(left(k, m, n, e, got, by.h), 0, 1e-7 * plain_dot(e, e, m * n) * by.h[3 * n + 3]); /* H is rounded, too */
}

/* Nothing to find: rank 0, E = 0, H = 0; ranks above that of E are filled with zeros. */
static void
degenerate(kernel *k)
{
    const int64_t m = k_size(k, 33), n = k_size(k, 33), least = m < n ? m : n;
    double *x = k_normal(k, m), *y = k_normal(k, n), *e = k_doubles(k, m * n), *zero = k_doubles(k, m * n), *got, *u;
    ql_tensor *t, *none = k_put(k, QL_F32, m, n, zero), *h = k_put(k, QL_F32, n, n, k_doubles(k, n * n));
    ql_lowrank_result c;

    for (int64_t i = 0; i < m * n; i++)
        e[i] = x[i / n] * y[i % n];
    t = k_put(k, QL_F32, m, n, e);
    got = run(k, t, &(ql_lowrank_spec){.rank = 0, .total = true}, &c);
    CHECK_INT(c.rank, 0);
    CHECK_NEAR(c.total, plain_dot(e, e, m * n), 1e-6 * c.total);
    k_close(k, got, zero, m * n, 0, 0);
    got = run(k, none, &(ql_lowrank_spec){.rank = 3, .total = true}, &c);
    k_close(k, got, zero, m * n, 0, 0);
    CHECK_NEAR(c.total, 0, 0);
    got = run(k, t, &(ql_lowrank_spec){.h = h, .rank = 3, .total = true}, &c);
    k_close(k, got, zero, m * n, 0, 0);
    CHECK_NEAR(c.total, 0, 0);
    got = run(k, t, &(ql_lowrank_spec){.rank = (int)(least + 7)}, &c);
    CHECK_INT(c.rank, least);
    k_close(k, got, e, m * n, 0, 1e-5 * sqrt(plain_dot(e, e, m * n)));
    u = k_get(k, c.u);
    for (int64_t i = 0; i < m && c.rank > 1; i++)
        CHECK(fabs(u[i * c.rank + c.rank - 1]) == 0 || c.sig2[c.rank - 1] > 1e-14 * c.sig2[0]);
}

/* A dense H that is diagonal, or the identity, is the same norm; so is H times any number. */
static void
equal_norms(kernel *k)
{
    const int64_t m = 1 + k_size(k, 33), n = k_size(k, 33);
    const norm diagonal = diagonal_norm(k, n);
    double *e = k_normal(k, m * n), *one = k_doubles(k, n * n), *a, *b, size;
    ql_tensor *t = k_put(k, QL_F32, m, n, e), *dense = k_put(k, QL_F32, n, n, diagonal.h), *eye, *scaled;
    ql_lowrank_result c;

    size = sqrt(plain_dot(e, e, m * n));
    a = run(k, t, &(ql_lowrank_spec){.h = diagonal.t, .rank = 3}, &c);
    b = run(k, t, &(ql_lowrank_spec){.h = dense, .rank = 3}, &c);
    k_close(k, b, a, m * n, 0, 1e-5 * size);
    REQUIRE_OK(k->cx, ql_convert(k->cx, dense, QL_F32, &scaled));
    REQUIRE_OK(k->cx, ql_axpby(k->cx, 0, dense, 1024, scaled));
    b = run(k, t, &(ql_lowrank_spec){.h = scaled, .rank = 3}, &c);
    k_close(k, b, a, m * n, 0, 1e-5 * size);
    for (int64_t i = 0; i < n; i++)
        one[i * n + i] = 1;
    eye = k_put(k, QL_F32, n, n, one);
    a = run(k, t, &(ql_lowrank_spec){.rank = 3}, &c);
    b = run(k, t, &(ql_lowrank_spec){.h = eye, .rank = 3}, &c);
    k_close(k, b, a, m * n, 0, 1e-5 * size);
}

/* Many rows: a block Krylov space. White noise is its hardest case. */
static void
randomized(kernel *k)
{
    static const int64_t widths[] = {1, 40, 131, 300};
    const int64_t m = 521 + k_int(k, 0, 60), n = widths[k_int(k, 0, 3)], r = k_int(k, 1, 40);
    const norm by = k_int(k, 0, 1) ? dense_norm(k, n, n + 20) : random_norm(k, n);
    double *e = k_normal(k, m * n), best, got, total;
    ql_tensor *t = k_put(k, QL_F32, m, n, e);
    ql_lowrank_result exact, c;
    ql_lowrank_spec spec = {.h = by.t, .rank = (int)r, .total = true, .exact = true};

    total = plain_quad(m, n, e, by.h);
    best = left(k, m, n, e, run(k, t, &spec, &exact), by.h);
    spec.exact = false;
    got = left(k, m, n, e, run(k, t, &spec, &c), by.h);
    CHECK_INT(c.rank, exact.rank);
    if (got > best * (1 + 1e-3) + 1e-8 * total)
        TEST_FAIL("%lld x %lld, rank %lld: residual %.9g, the best has %.9g", (long long)m, (long long)n, (long long)r,
                  got, best);
    for (int64_t i = 0; i < c.rank; i++)
        CHECK_NEAR(c.sig2[i], exact.sig2[i], 0.02 * exact.sig2[i] + 1e-7 * exact.sig2[0]);
    CHECK_NEAR(c.total, total, 1e-5 * total);
}

/* b a = u v, and each component has as much in b as in a. */
static void
balance(kernel *k)
{
    const int64_t m = k_size(k, 67), n = k_size(k, 67), least = m < n ? m : n, r = least < 5 ? least : 5;
    double *e = k_normal(k, m * n), *got, *b, *a;
    ql_tensor *tb, *ta;
    ql_lowrank_result c;

    if (k_int(k, 0, 3) == 0)
        memset(e, 0, (size_t)(m * n) * sizeof *e);
    got = run(k, k_put(k, QL_F32, m, n, e), &(ql_lowrank_spec){.rank = (int)r}, &c);
    REQUIRE_OK(k->cx, ql_balance(k->cx, c.u, c.v, &tb, &ta));
    b = k_get(k, tb);
    a = k_get(k, ta);
    k_close(k, kept(k, plain_product(QL_NN, m, n, r, b, a), m * n), got, m * n, 0, 1e-5 * (1 + sqrt((double)(m + n))));
    for (int64_t i = 0; i < r; i++) {
        double in_b = 0, in_a = plain_dot(a + i * n, a + i * n, n);

        for (int64_t j = 0; j < m; j++)
            in_b += b[j * r + i] * b[j * r + i];
        CHECK_NEAR(in_b, in_a, 1e-5 * in_a);
        CHECK(isfinite(in_b));
    }
}

static double *
numbers(kernel *k, ql_purpose purpose, int64_t rows, int64_t cols)
{
    ql_tensor *t;

    REQUIRE_OK(k->cx, ql_new(k->cx, QL_F32, rows, cols, &t));
    REQUIRE_OK(k->cx, ql_random(k->cx, purpose, t));
    return k_get(k, t);
}

static bool
same(const double *a, const double *b, int64_t count)
{
    return memcmp(a, b, (size_t)count * sizeof *a) == 0;
}

/* Streams are keyed by seed, subset and purpose, a probe's by the linear, too; a wider sketch begins with the narrower one. */
static void
keys(kernel *k)
{
    const double *sketch, *probe;

    k->cx->site.seed = test_u64(&k->rng);
    sketch = numbers(k, QL_SKETCH, 20, 31);
    probe = numbers(k, QL_PROBE, 20, 31);
    CHECK(same(sketch, numbers(k, QL_SKETCH, 33, 31), 20 * 31));
    CHECK(!same(sketch, probe, 20 * 31));
    k->cx->site.index = 3;
    CHECK(same(sketch, numbers(k, QL_SKETCH, 20, 31), 20 * 31));
    CHECK(!same(probe, numbers(k, QL_PROBE, 20, 31), 20 * 31));
    k->cx->site.subset = 1;
    CHECK(!same(sketch, numbers(k, QL_SKETCH, 20, 31), 20 * 31));
    k->cx->site.subset = 0;
    k->cx->site.block = 1;
    CHECK(!same(sketch, numbers(k, QL_SKETCH, 20, 31), 20 * 31));
    k->cx->site.block = 0;
    k->cx->site.seed++;
    CHECK(!same(sketch, numbers(k, QL_SKETCH, 20, 31), 20 * 31));
}

/* First four moments. */
static void
moments(kernel *k)
{
    for (int purpose = QL_SKETCH; purpose <= QL_PROBE; purpose++) {
        const int64_t count = 300 * 521;
        double *x, moment[5] = {0};

        k->cx->site.seed = test_u64(&k->rng);
        x = numbers(k, (ql_purpose)purpose, 300, 521);
        for (int64_t i = 0; i < count; i++)
            for (int p = 1; p <= 4; p++)
                moment[p] += pow(x[i], p) / (double)count;
        CHECK_NEAR(moment[1], 0, 0.015);
        CHECK_NEAR(moment[2], purpose == QL_SKETCH ? 1 : 1.0 / 12, 0.025);
        CHECK_NEAR(moment[3], 0, 0.06);
        CHECK_NEAR(moment[4], purpose == QL_SKETCH ? 3 : 1.0 / 80, 0.15);
    }
}

static const kernel_case cases[] = {
    {"lowrank, published form", published_form},
    {"lowrank, singular H", singular},
    {"lowrank, nothing to find", degenerate},
    {"lowrank, equal norms", equal_norms},
    {"balance", balance},
    {"random, keys", keys},
};
static const kernel_case slow[] = {{"lowrank, randomized", randomized}, {"random, moments", moments}};

int
main(void)
{
    const int failed = k_main(cases, sizeof cases / sizeof *cases, 8);

    return k_main(slow, sizeof slow / sizeof *slow, 1) || failed;
}
