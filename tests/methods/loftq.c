/* LoftQ against its loop in double and what follows from docs/methods.md 8. */
#include "method.h"

static double
weight_error(const problem *p, const double *left)
{
    return plain_dot(left, left, p->m * p->n);
}

static bool
same(const double *a, const double *b, int64_t count)
{
    return memcmp(a, b, (size_t)count * sizeof *a) == 0;
}

static ql_node
random_base(lab *l)
{
    static const char *const names[] = {"rtn", "nf", "mxint", "gptq"};
    static const char *const words[] = {"bits=2 group_size=8 sym=false scale_dtype=fp32",
                                        "bits=4 group_size=8 scale_dtype=fp32", "bits=2 group_size=8 scale_dtype=fp32",
                                        "bits=2 group_size=8 precision=fp64 scale_dtype=bf16"};
    const int64_t which = lab_int(l, 0, 3);

    return lab_node(l, names[which], words[which]);
}

/* One round is ZeroQuant-V2 to the bit; without a rank it is plain quantization; the full rank leaves nothing after one round; and
 * each round's factors make its W^ better. */
static void
limits(lab *l)
{
    const problem p = problem_make(l, lab_int(l, 1, 30), lab_int(l, 1, 30), 60);
    const ql_node base = random_base(l);
    const int64_t count = p.m * p.n, least = p.m < p.n ? p.m : p.n, r = lab_int(l, 1, least);
    const compensated svd = lab_compensate(l, &p, "svd", ql_format(&l->cx, "rank=%lld", (long long)r), &base);
    compensated c = lab_compensate(l, &p, "loftq", ql_format(&l->cx, "rank=%lld iterations=1", (long long)r), &base);

    CHECK(same(c.what, svd.what, count) && same(c.ba, svd.ba, count));
    CHECK_INT(c.adapter.k, -1);
    c = lab_compensate(l, &p, "loftq", "rank=0", &base);
    CHECK(same(c.what, svd.what, count) && !c.adapter.b);
    c = lab_compensate(l, &p, "loftq", ql_format(&l->cx, "rank=%lld iterations=1", (long long)least), &base);
    CHECK_NEAR(weight_error(&p, c.left), 0, 1e-9 * weight_error(&p, p.w));
    for (int t = 1; t <= 4; t++) {
        double *bare;

        c = lab_compensate(l, &p, "loftq", ql_format(&l->cx, "rank=%lld iterations=%d", (long long)r, t), &base);
        bare = lab_keep(l, plain_minus(p.w, c.what, count), count);
        CHECK(weight_error(&p, c.left) <= weight_error(&p, bare) * (1 + 1e-5));
        CHECK_NEAR(weight_error(&p, c.left), plain_tail(p.m, p.n, r, bare, NULL), 1e-5 * weight_error(&p, p.w));
    }
}

/* A weight on the grid needs no adapter. */
static void
on_the_grid(lab *l)
{
    problem p = problem_make(l, 12, 30, 40);
    const ql_node base = lab_node(l, "rtn", "bits=3 group_size=7 sym=false scale_dtype=fp32");
    ql_qlinear q;
    compensated c;

    p.w = lab_quantize(l, &p, "rtn", "bits=3 group_size=7 sym=false scale_dtype=fp32", &q);
    p.tw = lab_put(l, 12, 30, p.w);
    c = lab_compensate(l, &p, "loftq", "rank=0", &base);
    CHECK_NEAR(weight_error(&p, c.left), 0, 1e-11 * weight_error(&p, p.w));
}

/* `keep: best` never grows with the rounds and is never above `last`, in the norm of the fit. */
static void
keep(lab *l)
{
    static const char *const scalings[] = {"identity", "exact", "approx", "lqer"};
    const problem p = problem_make(l, 20, 26, 80);
    const ql_node base = random_base(l);
    const int64_t scaling = lab_int(l, 0, 3);
    double *mean = lab_get(l, p.stats.abs_mean), *h = lab_doubles(l, 26 * 26), before = INFINITY;

    for (int64_t i = 0; i < 26 * 26; i++)
        h[i] = scaling == 1 || (scaling == 2 && i % 27 == 0) ? p.h[i]
               : i % 27                                      ? 0
               : scaling == 3                                ? mean[i % 26] * mean[i % 26]
                                                             : 1;
    for (int t = 1; t <= 5; t++) {
        const char *words = ql_format(&l->cx, "rank=3 iterations=%d scaling=%s", t, scalings[scaling]);
        const compensated last = lab_compensate(l, &p, "loftq", words, &base);
        const compensated best = lab_compensate(l, &p, "loftq", ql_format(&l->cx, "%s keep=best", words), &base);
        const double now = plain_quad(20, 26, best.left, h), end = plain_quad(20, 26, last.left, h);
        double *bare = lab_keep(l, plain_minus(p.w, last.what, 20 * 26), 20 * 26);

        CHECK(now <= before * (1 + 1e-5));
        CHECK(now <= end * (1 + 1e-5));
        CHECK_NEAR(end, plain_tail(20, 26, 3, bare, h), 1e-5 * plain_quad(20, 26, p.w, h));
        before = now;
    }
}

/* The alternation in double, with the grids of the base in double. */
static void
plain_loop(lab *l, double *agreed)
{
    const int64_t m = 15, n = 24, g = 8;
    const problem p = problem_make(l, m, n, 30);
    const ql_node base = lab_node(l, "rtn", "bits=2 group_size=8 sym=false scale_dtype=fp32");
    const plain_grid grid = {.grid = {.bits = 2, .group = g, .scale_dtype = QL_F32}};
    const compensated got = lab_compensate(l, &p, "loftq", "rank=4 iterations=3", &base);
    double *fit = plain_array(m * n), *what = lab_doubles(l, m * n), *rest;

    for (int t = 0; t < 3; t++) {
        double *target = plain_minus(p.w, fit, m * n), *e;

        for (int64_t i = 0; i < m * n; i++) {
            double scale, zero;

            plain_fit(&grid, target + i / g * g, g, &scale, &zero); /* g divides n */
            what[i] = scale * (plain_code(&grid, target[i], scale, zero) - zero);
        }
        e = plain_minus(p.w, what, m * n);
        free(fit);
        fit = plain_best(m, n, 4, e, NULL, NULL);
        free(target);
        free(e);
    }
    rest = lab_keep(l, plain_minus(p.w, what, m * n), m * n);
    for (int64_t i = 0; i < m * n; i++)
        rest[i] -= fit[i];
    free(fit);
    CHECK_NEAR(weight_error(&p, got.left), weight_error(&p, rest), 0.1 * weight_error(&p, rest));
    *agreed += lab_distance(got.what, what, m * n) < 1e-4 && lab_distance(got.left, rest, m * n) < 1e-3;
}

int
main(void)
{
    static void (*const cases[])(lab * l) = {limits, on_the_grid, keep};
    static lab l;
    double agreed = 0;

    lab_open(&l);
    for (int i = 0; i < 45; i++) {
        lab_begin(&l);
        cases[i % 3](&l);
        lab_end(&l);
    }
    for (int i = 0; i < 20; i++) {
        lab_begin(&l);
        plain_loop(&l, &agreed);
        lab_end(&l);
    }
    printf("%g of 20 loops agree\n", agreed);
    CHECK(agreed >= 16); /* the others met a tie */
    return lab_close(&l);
}
