/* The factor of the inverse Hessian against a plain inverse in double: orders, dead columns, damping, rescue, memo. */
#include "host_backend.h"
#include "test.h"

#include <core/tensor/memo.h>
#include <qloom/factor.h>

static uint64_t seed;

/* H = X^T X of correlated columns; `dead` >= 0 is a column that sees nothing. */
static ql_tensor *
hessian(ql_ctx *cx, int64_t n, int64_t dead)
{
    ql_tensor *x, *h;

    REQUIRE_OK(cx, ql_new(cx, QL_F32, 2 * n + 3, n, &x));
    REQUIRE_OK(cx, ql_zeros(cx, QL_F32, n, n, &h));
    for (int64_t i = 0; i < ql_dim(x, 0); i++) {
        double common = test_normal(&seed);

        for (int64_t j = 0; j < n; j++)
            host_set(x, i * n + j, j == dead ? 0.0 : common + (double)(1 + j % 5) * test_normal(&seed));
    }
    REQUIRE_OK(cx, ql_gemm(cx, QL_TN, 1.0, x, x, 0.0, h));
    return h;
}

static ql_tensor *
matrix(ql_ctx *cx, int64_t n, const float *values)
{
    ql_tensor *h;

    REQUIRE_OK(cx, ql_upload(cx, QL_F32, n, n, values, &h));
    return h;
}

/* Gauss-Jordan with row exchanges, a[n, n] in place. */
static void
invert(double *a, double *out, int64_t n)
{
    for (int64_t i = 0; i < n * n; i++)
        out[i] = i / n == i % n ? 1.0 : 0.0;
    for (int64_t p = 0; p < n; p++) {
        int64_t best = p;
        double pivot;

        for (int64_t i = p; i < n; i++)
            best = fabs(a[i * n + p]) > fabs(a[best * n + p]) ? i : best;
        for (int64_t j = 0; j < n; j++) {
            double t = a[p * n + j], u = out[p * n + j];

            a[p * n + j] = a[best * n + j], a[best * n + j] = t;
            out[p * n + j] = out[best * n + j], out[best * n + j] = u;
        }
        pivot = a[p * n + p];
        for (int64_t j = 0; j < n; j++)
            a[p * n + j] /= pivot, out[p * n + j] /= pivot;
        for (int64_t i = 0; i < n; i++) {
            double f = i == p ? 0.0 : a[i * n + p];

            for (int64_t j = 0; j < n; j++)
                a[i * n + j] -= f * a[p * n + j], out[i * n + j] -= f * out[p * n + j];
        }
    }
}

/* U is upper with a positive diagonal, and U^T U the inverse of H with its dead columns filled, `lambda` added, reordered. */
static void
check_factor(const ql_tensor *h, const ql_factor *f, double tolerance)
{
    const int64_t n = ql_dim(h, 0);
    double *a = calloc((size_t)(n * n), sizeof *a), *inverse = calloc((size_t)(n * n), sizeof *inverse);
    double mean = 0.0, scale = 0.0;

    for (int64_t j = 0; j < n; j++)
        mean += host_2d(h, j, j) / (double)(n - f->dead);
    for (int64_t i = 0; i < n; i++) {
        int64_t r = f->perm ? (int64_t)host_item(f->perm, i) : i;

        CHECK(!f->perm || f->order[i] == r);
        for (int64_t j = 0; j < n; j++)
            a[i * n + j] = host_2d(h, r, f->perm ? (int64_t)host_item(f->perm, j) : j);
        CHECK_NEAR(f->live ? host_item(f->live, r) : 1.0, a[i * n + i] == 0.0 ? 0.0 : 1.0, 0.0);
        a[i * n + i] = (a[i * n + i] == 0.0 ? mean : a[i * n + i]) + f->lambda;
    }
    invert(a, inverse, n);
    for (int64_t i = 0; i < n * n; i++)
        scale = fmax(scale, fabs(inverse[i]));
    for (int64_t i = 0; i < n; i++) {
        CHECK(host_2d(f->u, i, i) > 0.0);
        for (int64_t j = 0; j < n; j++) {
            double sum = 0.0;

            for (int64_t p = 0; p < n; p++)
                sum += host_2d(f->u, p, i) * host_2d(f->u, p, j);
            CHECK_NEAR(sum, inverse[i * n + j], tolerance * scale);
            if (j < i)
                CHECK_NEAR(host_2d(f->u, i, j), 0.0, 0.0);
        }
    }
    free(a);
    free(inverse);
}

static void
shapes(void)
{
    static const int64_t sizes[] = {1, 2, 7, 16, 33};
    ql_ctx cx;

    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (int variant = 0; variant < 12; variant++) {
            const int64_t n = sizes[s], dead = variant % 2 && n > 1 ? (int64_t)(test_u64(&seed) % (uint64_t)n) : -1;
            const ql_factor_spec spec = {
                .damp = 0.05, .damp_inc = 0.01, .order = (ql_order)(variant / 2 % 3), .group = 5, .fp64 = variant >= 6};
            ql_scope scope;
            ql_stats stats = {0};
            ql_factor f;

            host_begin(&cx, &scope, 0);
            stats.h = hessian(&cx, n, dead);
            REQUIRE_OK(&cx, ql_factor_inverse(&cx, &stats, &spec, &f));
            CHECK_INT(ql_dtype_of(f.u), spec.fp64 ? QL_F64 : QL_F32);
            CHECK_INT(f.dead, dead >= 0);
            CHECK((f.live != NULL) == (dead >= 0));
            CHECK((f.perm != NULL) == (spec.order != QL_ORDER_NATURAL));
            CHECK_NEAR(f.damp, 0.05, 0.0);
            CHECK_INT(f.floor_rounds, 0);
            check_factor(stats.h, &f, (spec.fp64 ? 1e-11 : 1e-5) * (double)(n + 10)); /* condition below 100 or so */
            host_end(&cx);
            CHECK_INT(host.used, 0);
        }
    }
}

static void
check_order(const float *diag, int64_t n, ql_order order, int64_t group, const int32_t *expected)
{
    ql_ctx cx;
    ql_scope scope;
    ql_tensor *h, *d;
    ql_factor f;

    host_begin(&cx, &scope, 0);
    REQUIRE_OK(&cx, ql_zeros(&cx, QL_F32, n, n, &h));
    REQUIRE_OK(&cx, ql_upload(&cx, QL_F32, n, -1, diag, &d));
    REQUIRE_OK(&cx, ql_diag_set(&cx, d, h));
    REQUIRE_OK(&cx, ql_factor_inverse(&cx, &(ql_stats){.h = h},
                                      &(ql_factor_spec){.damp = 0.1, .order = order, .group = group}, &f));
    for (int64_t i = 0; i < n; i++)
        CHECK_INT(f.order[i], expected[i]);
    host_end(&cx);
}

static void
orders(void)
{
    const float diag[] = {1, 3, 3, 0, 9, 2, 2, 50};

    check_order(diag, 8, QL_ORDER_DESC, 0,
                (const int32_t[]){7, 4, 1, 2, 5, 6, 0, 3}); /* ties by index, dead ones last */
    check_order(diag, 8, QL_ORDER_GROUP, 3,
                (const int32_t[]){4, 5, 3, 1, 2, 0, 7, 6}); /* the ragged group sorted, last */
    check_order(diag, 8, QL_ORDER_GROUP, 2, (const int32_t[]){7, 6, 4, 5, 1, 0, 2, 3});
    check_order(diag, 8, QL_ORDER_GROUP, 8, (const int32_t[]){7, 4, 1, 2, 5, 6, 0, 3}); /* one group: as desc */
    check_order(diag, 8, QL_ORDER_GROUP, 99, (const int32_t[]){7, 4, 1, 2, 5, 6, 0, 3});
    check_order(diag, 4, QL_ORDER_GROUP, 1, (const int32_t[]){1, 2, 0, 3});
}

static void
damping(void)
{
    const ql_factor_spec spec = {.damp = 0.05, .damp_inc = 0.01, .fp64 = true};
    ql_factor_spec once = spec;
    ql_ctx cx;
    ql_scope scope;
    ql_stats stats = {0};
    ql_factor f;

    host_begin(&cx, &scope, 0);
    stats.h = matrix(&cx, 2, (const float[]){1, 1.125f, 1.125f, 1}); /* smallest eigenvalue -1/8 */
    REQUIRE_OK(&cx, ql_factor_inverse(&cx, &stats, &spec, &f));
    CHECK_NEAR(f.damp, 0.13, 1e-12);
    CHECK_NEAR(f.lambda, 0.13, 1e-12);
    CHECK_INT(f.floor_rounds, 0);
    check_factor(stats.h, &f, 1e-9);

    /* Indefinite by more than damping below 1 can mend: the sixth floor, 0.1, makes it 1.1 (1 + damp) > 2.1. */
    stats.h = matrix(&cx, 2, (const float[]){1, 2.1f, 2.1f, 1});
    REQUIRE_OK(&cx, ql_factor_inverse(&cx, &stats, &spec, &f));
    CHECK_INT(f.floor_rounds, 6);
    CHECK_NEAR(f.damp, 0.91, 1e-9);
    CHECK_NEAR(f.lambda, 0.1 + 0.91 * 1.1, 1e-9);
    check_factor(stats.h, &f, 1e-6);

    stats.h = matrix(&cx, 2, (const float[]){1, 3, 3, 1}); /* beyond rescue: the caller decides */
    REQUIRE_OK(&cx, ql_factor_inverse(&cx, &stats, &spec, &f));
    CHECK(f.u == NULL);
    CHECK_INT(f.floor_rounds, 6);

    once.damp_inc = 0; /* one try a round */
    host.potrfs = 0;
    REQUIRE_OK(&cx, ql_factor_inverse(&cx, &stats, &once, &f));
    CHECK(f.u == NULL);
    CHECK_INT(host.potrfs, 7);

    REQUIRE_OK(&cx, ql_factor_inverse(&cx, &(ql_stats){.h = matrix(&cx, 2, (const float[]){0, 0, 0, 0})}, &spec, &f));
    CHECK_INT(f.dead, 2); /* no token at all: a factor still, all columns dead */
    CHECK(f.u != NULL && isfinite(host_2d(f.u, 0, 0)));
    host_end(&cx);
}

/* H -> 4 H: the same bits but for the factor 1/2. */
static void
scaling(void)
{
    const ql_factor_spec spec = {.damp = 0.05, .damp_inc = 0.01, .order = QL_ORDER_DESC};
    ql_ctx cx;
    ql_scope scope;
    ql_tensor *h;
    ql_factor f, g;

    host_begin(&cx, &scope, 0);
    h = hessian(&cx, 19, 3);
    REQUIRE_OK(&cx, ql_factor_inverse(&cx, &(ql_stats){.h = h}, &spec, &f));
    REQUIRE_OK(&cx, ql_axpby(&cx, 3.0, h, 1.0, h));
    REQUIRE_OK(&cx, ql_factor_inverse(&cx, &(ql_stats){.h = h}, &spec, &g));
    CHECK_NEAR(g.lambda, 4.0 * f.lambda, 0.0);
    for (int64_t i = 0; i < ql_count(f.u); i++)
        CHECK_NEAR(host_item(g.u, i), 0.5 * host_item(f.u, i), 0.0);
    host_end(&cx);
}

static void
memo(void)
{
    const ql_factor_spec spec = {.damp = 0.05, .damp_inc = 0.01, .order = QL_ORDER_DESC, .group = 4};
    ql_factor_spec other = spec;
    ql_stats stats = {0};
    ql_ctx cx;
    ql_scope scope, call;
    ql_factor f, g;
    ql_tensor *t;
    int potrfs;

    host_begin(&cx, &scope, 0);
    stats.h = hessian(&cx, 9, 2);
    REQUIRE_OK(&cx, ql_memo_new(&cx, &stats.memo));
    ql_scope_open(&cx, &call);
    REQUIRE_OK(&cx, ql_factor_inverse(&cx, &stats, &spec, &f));
    ql_scope_close(&cx, &call); /* the factor outlives the call that made it */
    potrfs = host.potrfs;
    other.group = 8; /* means nothing in this order */
    REQUIRE_OK(&cx, ql_factor_inverse(&cx, &stats, &other, &g));
    CHECK(g.u == f.u && g.perm == f.perm && g.live == f.live && g.order == f.order);
    CHECK_NEAR(g.lambda, f.lambda, 0.0);
    CHECK_INT(host.potrfs, potrfs);
    check_factor(stats.h, &g, 1e-4);
    other.damp = 0.06;
    REQUIRE_OK(&cx, ql_factor_inverse(&cx, &stats, &other, &g));
    CHECK(g.u != f.u);
    CHECK_INT(host.potrfs, potrfs + 1);
    other.fp64 = true;
    REQUIRE_OK(&cx, ql_factor_inverse(&cx, &stats, &other, &g));
    CHECK_INT(host.potrfs, potrfs + 2);

    CHECK(ql_stats_get(&stats, "square root") == NULL);
    ql_scope_open(&cx, &call);
    REQUIRE_OK(&cx, ql_zeros(&cx, QL_F32, 3, -1, &t));
    CHECK_OK(&cx, ql_stats_put(&cx, &stats, "square root", &t, sizeof t, (const ql_tensor *const[]){t, NULL}, 2));
    ql_scope_close(&cx, &call);
    CHECK(ql_stats_get(&stats, "square root") != NULL);
    memcpy(&t, ql_stats_get(&stats, "square root"), sizeof t);
    CHECK(host_item(t, 2) == 0); /* it outlives its scope */
    CHECK_OK(&cx, ql_stats_put(&cx, &(ql_stats){0}, "square root", &t, sizeof t, NULL, 0));
    CHECK(ql_stats_get(&(ql_stats){0}, "square root") == NULL);
    ql_memo_free(&cx, stats.memo);
    ql_memo_free(&cx, NULL);
    CHECK(cx.scope == scope.opened);
    host_end(&cx);
    CHECK_INT(host.used, 0);
}

static void
refusals(void)
{
    const ql_factor_spec spec = {.damp = 0.05, .damp_inc = 0.01};
    ql_factor_spec bad;
    volatile int stop = 1;
    ql_ctx cx;
    ql_scope scope;
    ql_stats stats = {0};
    ql_tensor *h, *rectangle;
    ql_factor f;

    host_begin(&cx, &scope, 0);
    stats.h = h = hessian(&cx, 4, -1);
    bad = spec, bad.damp = 0;
    CHECK_ERROR(&cx, ql_factor_inverse(&cx, &stats, &bad, &f), QL_INVALID,
                "factor: damp is 0, expected a number between 0 and 1");
    bad = spec, bad.damp_inc = (double)NAN;
    CHECK_ERROR(&cx, ql_factor_inverse(&cx, &stats, &bad, &f), QL_INVALID,
                "factor: damp_inc is nan, expected 0 or more");
    bad = spec, bad.order = QL_ORDER_GROUP;
    CHECK_ERROR(&cx, ql_factor_inverse(&cx, &stats, &bad, &f), QL_INVALID,
                "factor: groups of 0 columns, expected 1 or more");
    CHECK_ERROR(&cx, ql_factor_inverse(&cx, &(ql_stats){0}, &spec, &f), QL_INVALID, "factor: H: missing");
    REQUIRE_OK(&cx, ql_rows(&cx, h, 0, 3, &rectangle));
    CHECK_ERROR(&cx, ql_factor_inverse(&cx, &(ql_stats){.h = rectangle}, &spec, &f), QL_INVALID,
                "factor: H: got f32 [3, 4], expected a square of f32 or f64");
    cx.interrupt = &stop;
    CHECK_ERROR(&cx, ql_factor_inverse(&cx, &stats, &spec, &f), QL_INTERRUPTED, "interrupted");
    stop = 0;
    host_set(h, 6, (double)INFINITY);
    CHECK_ERROR(&cx, ql_factor_inverse(&cx, &stats, &spec, &f), QL_NUMERIC,
                "the statistics are not finite: H[1, 2] is NaN or infinite");
    host_end(&cx);
}

/* Whatever allocation fails, with a memo and without: MEMORY, and nothing is left behind. */
static void
nth_allocation(bool memoised)
{
    const ql_factor_spec spec = {.damp = 0.05, .order = QL_ORDER_GROUP, .group = 3, .fp64 = true};
    ql_status st = QL_MEMORY;
    int64_t n;

    for (n = 1; st != QL_OK && n < 1000; n++) {
        ql_stats stats = {0};
        ql_ctx cx;
        ql_scope scope;
        ql_factor f;

        host_begin(&cx, &scope, 0);
        stats.h = hessian(&cx, 7, 1);
        cx.fail_alloc = n;
        st = memoised ? ql_memo_new(&cx, &stats.memo) : QL_OK;
        if (st == QL_OK)
            st = ql_factor_inverse(&cx, &stats, &spec, &f);
        if (st != QL_OK)
            CHECK_INT(st, QL_MEMORY);
        cx.fail_alloc = 0;
        if (st != QL_OK && stats.memo) /* what failed half way doesn't stand in the way */
            CHECK_OK(&cx, ql_factor_inverse(&cx, &stats, &spec, &f));
        ql_memo_free(&cx, stats.memo);
        host_end(&cx);
        CHECK_INT(host.used, 0);
    }
    CHECK_INT(st, QL_OK);
    CHECK(n > 20);
}

int
main(void)
{
    seed = test_seed();
    shapes();
    orders();
    damping();
    scaling();
    memo();
    refusals();
    nth_allocation(false);
    nth_allocation(true);
    return TEST_DONE();
}
