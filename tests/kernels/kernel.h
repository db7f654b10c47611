/* Differential tests of device operations: a case makes random inputs, runs an operation and compares with plain.h. Each case runs
 * with 1, 2 and 3 threads, whose results must be the same bytes. */
#ifndef QLOOM_TEST_KERNEL_H
#define QLOOM_TEST_KERNEL_H

#include "../device.h"
#include "plain.h"

typedef struct kernel {
    ql_ctx *cx;
    const char *name;
    uint64_t rng, hash; /* of all results */
    bool whole;         /* k_put makes rows without gaps, at aligned addresses */
} kernel;

typedef struct kernel_case {
    const char *name;
    void (*run)(kernel *k);
} kernel_case;

static inline int64_t
k_int(kernel *k, int64_t lo, int64_t hi)
{
    return lo + (int64_t)(test_u64(&k->rng) % (uint64_t)(hi - lo + 1));
}

/* Lengths that kernels get wrong: 1, odd ones, primes, just around tiles. */
static inline int64_t
k_size(kernel *k, int64_t most)
{
    static const int64_t sizes[] = {1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 33, 64, 67, 127, 129, 130, 191, 256, 257, 521};
    int64_t n;

    do
        n = sizes[test_u64(&k->rng) % (sizeof sizes / sizeof *sizes)];
    while (n > most);
    return n;
}

static inline double *
k_doubles(kernel *k, int64_t count)
{
    double *x = ql_alloc(k->cx, (size_t)(count > 0 ? count : 1), sizeof *x);

    if (!x)
        exit(1);
    return x;
}

static inline double *
k_normal(kernel *k, int64_t count)
{
    double *x = k_doubles(k, count);

    for (int64_t i = 0; i < count; i++)
        x[i] = test_normal(&k->rng);
    return x;
}

static inline double
k_eps(ql_dtype d)
{
    return d == QL_F64 ? 0x1p-53 : d == QL_F32 ? 0x1p-24 : d == QL_F16 ? 0x1p-11 : 0x1p-8;
}

/* Half the distance of the smallest numbers, which no relative error holds for. */
static inline double
k_tiny(ql_dtype d)
{
    return d == QL_F16 ? 0x1p-24 : 1e-35;
}

/* The dtype that sums of a dtype are held in. */
static inline ql_dtype
k_real(ql_dtype d)
{
    return d == QL_F64 ? QL_F64 : QL_F32;
}

static inline double
k_largest(const double *x, int64_t n)
{
    double most = 0;

    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(x[i]));
    return most;
}

/* A tensor of `dtype` with the values of x, which become those that the tensor holds; a view with gaps between rows, unless k->whole. */
static inline ql_tensor *
k_put(kernel *k, ql_dtype dtype, int64_t rows, int64_t cols, double *x)
{
    int64_t gap = cols > 0 && !k->whole ? k_int(k, 0, 3) : 0;
    ql_tensor *host, *t, *back;
    double *p;

    REQUIRE_OK(k->cx, ql_upload(k->cx, QL_F64, rows, cols, x, &host));
    REQUIRE_OK(k->cx, ql_new(k->cx, dtype, rows, cols < 0 ? cols : cols + gap, &t));
    if (gap)
        REQUIRE_OK(k->cx, ql_cols(k->cx, t, k_int(k, 0, gap), cols, &t));
    REQUIRE_OK(k->cx, ql_copy(k->cx, host, t));
    REQUIRE_OK(k->cx, ql_convert(k->cx, t, QL_F64, &back));
    REQUIRE_OK(k->cx, ql_map(k->cx, back, QL_READ, &p));
    memcpy(x, p, (size_t)ql_count(t) * sizeof *x);
    REQUIRE_OK(k->cx, ql_unmap(k->cx, back));
    return t;
}

/* The values of a tensor; its bytes join the hash. */
static inline double *
k_get(kernel *k, const ql_tensor *t)
{
    double *x = k_doubles(k, ql_count(t)), *p;
    ql_tensor *back;

    REQUIRE_OK(k->cx, ql_convert(k->cx, t, QL_F64, &back));
    REQUIRE_OK(k->cx, ql_map(k->cx, back, QL_READ, &p));
    memcpy(x, p, (size_t)ql_count(t) * sizeof *x);
    REQUIRE_OK(k->cx, ql_unmap(k->cx, back));
    for (size_t i = 0; i < (size_t)ql_count(t) * sizeof *x; i++)
        k->hash = (k->hash ^ ((unsigned char *)x)[i]) * 0x100000001b3u;
    return x;
}

/* Every element within |expected| tol_rel + tol_abs; both follow from the dtype and the length of the sum. */
static inline void
k_close(kernel *k, const double *got, const double *expected, int64_t count, double tol_rel, double tol_abs)
{
    for (int64_t i = 0; i < count; i++) {
        double e = expected[i], g = got[i];

        if ((isnan(e) && isnan(g)) || g == e || fabs(g - e) <= fabs(e) * tol_rel + tol_abs)
            continue;
        TEST_FAIL("%s: element %lld of %lld: got %.9g, expected %.9g, off by %.3g, allowed %.3g", k->name, (long long)i,
                  (long long)count, g, e, fabs(g - e), fabs(e) * tol_rel + tol_abs);
        return;
    }
}

static inline uint64_t
k_run(const kernel_case *c, int threads, uint64_t seed)
{
    ql_ctx cx;
    ql_scope scope;
    ql_device *d;
    kernel k = {.cx = &cx, .name = c->name, .rng = seed, .hash = 0xcbf29ce484222325u};

    ql_ctx_init(&cx, NULL);
    d = test_device(&cx, threads);
    ql_scope_open(&cx, &scope);
    c->run(&k);
    ql_scope_close(&cx, &scope);
    CHECK_INT(d->used, d->info.reserved);
    ql_device_close(d);
    ql_ctx_fini(&cx);
    return k.hash;
}

/* All cases, `rounds` times each, or QLOOM_TEST_ROUNDS times; or those whose name begins with QLOOM_TEST_CASE, until a check fails. */
static inline int
k_main(const kernel_case *cases, int count, int rounds)
{
    const char *only = getenv("QLOOM_TEST_CASE"), *few = getenv("QLOOM_TEST_ROUNDS");
    const int most =
        getenv("QLOOM_TEST_BACKEND") ? 2 : 3; /* threads, of which accelerators have none: a second run is enough */
    uint64_t rng = test_seed();

    if (few)
        rounds = (int)strtol(few, NULL, 10);
    for (int i = 0; i < count * rounds; i++) {
        const kernel_case *c = &cases[i % count];
        uint64_t seed = test_u64(&rng), one;

        if (only && (test_failures || strncmp(c->name, only, strlen(only)) != 0))
            continue;
        one = k_run(c, 1, seed);
        for (int threads = 2; threads <= most; threads++)
            if (k_run(c, threads, seed) != one)
                TEST_FAIL("%s: %d threads give other bytes than one", c->name, threads);
    }
    return TEST_DONE();
}

#endif
