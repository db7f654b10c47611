/* SRR: its choice of k against the criterion in double, and what follows from docs/methods.md 7. */
#include "method.h"

#define MXINT "bits=3 group_size=8 scale_dtype=fp32"

/* A weight whose singular values fall as i^-power. */
static problem
decaying(lab *l, int64_t m, int64_t n, double power)
{
    problem p = problem_make(l, m, n, 3 * n);
    double *a = lab_doubles(l, m * n), *b = lab_doubles(l, n * n);

    for (int64_t i = 0; i < m * n; i++)
        a[i] = test_normal(&l->rng) * pow((double)(1 + i % n), -power);
    for (int64_t i = 0; i < n * n; i++)
        b[i] = test_normal(&l->rng) / sqrt((double)n);
    plain_gemm(QL_NN, (const int64_t[]){m, n, n}, 1, a, b, 0, p.w);
    p.tw = lab_put(l, m, n, p.w);
    return p;
}

static problem
random_problem(lab *l)
{
    return decaying(l, lab_int(l, 5, 40), lab_int(l, 5, 32), (double)lab_int(l, 0, 3) / 2);
}

static double
left(const problem *p, const compensated *c)
{
    return plain_quad(p->m, p->n, c->left, p->h);
}

static compensated
run(lab *l, const problem *p, const ql_node *base, const char *settings)
{
    return lab_compensate(l, p, "srr", settings, base);
}

static bool
same(lab *l, const problem *p, const compensated *a, const compensated *b)
{
    return memcmp(a->what, b->what, (size_t)(p->m * p->n) * sizeof(double)) == 0 &&
           memcmp(a->ba, b->ba, (size_t)(p->m * p->n) * sizeof(double)) == 0 &&
           memcmp(lab_get(l, a->adapter.b), lab_get(l, b->adapter.b),
                  (size_t)ql_count(a->adapter.b) * sizeof(double)) == 0;
}

/* k = 0 is QERA to the bit; joint is at least as good as split for every k; scan finds the best k, measured one that is no worse
 * than QERA. */
static void
modes(lab *l)
{
    static const char *const bases[] = {"mxint", "gptq", "rtn"},
                             *const words[] = {MXINT, "bits=3 group_size=8 scale_dtype=fp32 precision=fp64",
                                               "bits=2 group_size=-1 scale_dtype=fp32"};
    const problem p = random_problem(l);
    const int64_t which = lab_int(l, 0, 2), r = lab_int(l, 1, 5);
    const ql_node base = lab_node(l, bases[which], words[which]);
    const char *rank = ql_format(&l->cx, "rank=%lld", (long long)r);
    const compensated qera = lab_compensate(l, &p, "qera", rank, &base);
    compensated joint, split;
    const double nothing =
        1e-9 * plain_quad(p.m, p.n, p.w, p.h); /* where the rank absorbs all, rounding is what is left */
    double least = INFINITY;

    for (int k = 0; k <= r; k++) {
        joint = run(l, &p, &base, ql_format(&l->cx, "%s select=fixed k=%d", rank, k));
        split = run(l, &p, &base, ql_format(&l->cx, "%s select=fixed k=%d mode=split", rank, k));
        CHECK_INT(joint.adapter.k, k);
        CHECK_INT(split.adapter.k, k);
        CHECK(k > 0 || same(l, &p, &joint, &qera));
        CHECK(memcmp(joint.what, split.what, (size_t)(p.m * p.n) * sizeof(double)) == 0);
        CHECK(left(&p, &joint) <= left(&p, &split) * (1 + 1e-4) + nothing);
        least = fmin(least, left(&p, &joint));
    }
    joint = run(l, &p, &base, ql_format(&l->cx, "%s select=scan", rank));
    CHECK_NEAR(left(&p, &joint), least, 1e-4 * least + nothing);
    joint = run(l, &p, &base, ql_format(&l->cx, "%s select=measured", rank));
    CHECK(left(&p, &joint) <= left(&p, &qera) * (1 + 1e-5) + nothing &&
          left(&p, &joint) >= least * (1 - 1e-4) - nothing);
    CHECK(joint.adapter.k >= 0 && joint.adapter.k <= r);
    joint = run(l, &p, &base, ql_format(&l->cx, "%s select=fixed k=77", rank)); /* no more than the rank has */
    CHECK(joint.adapter.k <= r);
}

/* The split error is the published one: what is left of W - P - W^ after its best r - k directions. */
static void
split_form(lab *l)
{
    const problem p = decaying(l, 20, 15, 1);
    const ql_node base = lab_node(l, "mxint", MXINT);
    const compensated c = run(l, &p, &base, "rank=5 mode=split select=fixed k=2");
    double *preserved = lab_keep(l, plain_best(20, 15, 2, p.w, p.h, NULL), 300), *e = lab_doubles(l, 300);

    for (int i = 0; i < 300; i++)
        e[i] = p.w[i] - preserved[i] - c.what[i];
    CHECK_NEAR(left(&p, &c), plain_tail(20, 15, 3, e, p.h), 1e-3 * left(&p, &c));
    CHECK_INT(ql_dim(c.adapter.a, 0), 5);
}

/* argmin over k of (energy of W outside k) x (share of the probe outside r - k), from singular values in double. */
static void
criterion(lab *l)
{
    static const char *const scalings[] = {"exact", "approx", "lqer", "identity"};
    const problem p = random_problem(l);
    const ql_node base = lab_node(l, "mxint", MXINT);
    const int64_t n = p.n, r = lab_int(l, 1, 5), square = lab_int(l, 0, 1), rows = square ? n : p.m;
    const int64_t scaling = lab_int(l, 0, 3);
    double *h = lab_doubles(l, n * n), *mean = lab_get(l, p.stats.abs_mean), *noise = lab_doubles(l, n),
           *energies = lab_doubles(l, n), *e, least = INFINITY, second = INFINITY, total = 0, rest = 0;
    ql_tensor *probe;
    compensated c;
    int best = 0;

    for (int64_t i = 0; i < n * n; i++)
        h[i] = scaling == 0 || (scaling == 1 && i % (n + 1) == 0) ? p.h[i]
               : i % (n + 1)                                      ? 0
               : scaling == 2                                     ? mean[i % n] * mean[i % n]
                                                                  : 1;
    l->cx.site.seed = test_u64(&l->rng);
    REQUIRE_OK(&l->cx, ql_new(&l->cx, QL_F32, rows, n, &probe));
    REQUIRE_OK(&l->cx, ql_random(&l->cx, QL_PROBE, probe));
    e = lab_get(l, probe);
    free(plain_best(p.m, n, 0, p.w, h, energies));
    free(plain_best(rows, n, 0, e, h, noise));
    for (int64_t i = 0; i < n; i++) {
        total += noise[i];
        rest += energies[i];
    }
    for (int k = 0; k <= r; k++) {
        double share = total, cost;

        for (int64_t i = 0; i < r - k; i++)
            share -= noise[i];
        cost = rest * fmax(share, 0) / total;
        second = cost < least ? least : fmin(second, cost);
        best = cost < least ? k : best;
        least = fmin(least, cost);
        rest = fmax(rest - energies[k], 0);
    }
    c = run(l, &p, &base,
            ql_format(&l->cx, "rank=%lld scaling=%s probe=%s", (long long)r, scalings[scaling],
                      square ? "square" : "weight"));
    if (second > least * (1 + 1e-5) && r < p.m && r < n)
        CHECK_INT(c.adapter.k, best);
}

/* W times c and H times d change no choice; nor do rows in another order, but for the rounding of sums. */
static void
invariances(lab *l)
{
    problem p = random_problem(l), q = p;
    const ql_node base = lab_node(l, "mxint", MXINT);
    const int64_t shift = lab_int(l, 0, p.m - 1) * p.n;
    const compensated c = run(l, &p, &base, "rank=4");
    compensated d;

    q.w = lab_doubles(l, p.m * p.n);
    q.h = lab_doubles(l, p.n * p.n);
    for (int64_t i = 0; i < p.m * p.n; i++)
        q.w[i] = 3 * p.w[i];
    for (int64_t i = 0; i < p.n * p.n; i++)
        q.h[i] = 5 * p.h[i];
    q.tw = lab_put(l, p.m, p.n, q.w);
    q.stats.h = lab_put(l, p.n, p.n, q.h);
    CHECK_INT(run(l, &q, &base, "rank=4").adapter.k, c.adapter.k);
    for (int64_t i = 0; i < p.m * p.n; i++)
        q.w[(i + shift) % (p.m * p.n)] = p.w[i];
    q.tw = lab_put(l, p.m, p.n, q.w);
    d = run(l, &q, &base, "rank=4");
    CHECK_INT(d.adapter.k, c.adapter.k);
    CHECK_NEAR(left(&p, &d), left(&p, &c),
               0.02 * left(&p, &c) +
                   1e-9 * plain_quad(p.m, p.n, p.w, p.h)); /* a weight at a tie may fall the other way */
}

/* Preserving k0 directions of a weight of rank k0 leaves the quantizer nothing; so does an adapter of full rank. */
static void
nothing_left(lab *l)
{
    problem p = problem_make(l, 18, 13, 40);
    const ql_node base = lab_node(l, "mxint", MXINT);
    double *a = lab_doubles(l, 18 * 3), *b = lab_doubles(l, 3 * 13), whole;
    compensated c = run(l, &p, &base, "rank=13");

    CHECK_NEAR(left(&p, &c), 0, 1e-10 * plain_quad(18, 13, p.w, p.h));
    for (int i = 0; i < 54; i++)
        a[i] = test_normal(&l->rng);
    for (int i = 0; i < 39; i++)
        b[i] = test_normal(&l->rng);
    plain_gemm(QL_NN, (const int64_t[]){18, 13, 3}, 1, a, b, 0, p.w);
    p.tw = lab_put(l, 18, 13, p.w);
    whole = plain_dot(p.w, p.w, 18 * 13);
    c = run(l, &p, &base, "rank=5 scaling=identity select=fixed k=3");
    CHECK_NEAR(plain_dot(c.left, c.left, 18 * 13), 0, 1e-10 * whole);
    c = run(l, &p, &base, "rank=5 scaling=identity select=scan");
    CHECK_NEAR(plain_dot(c.left, c.left, 18 * 13), 0, 1e-10 * whole);
    memset(p.x, 0, 40 * 13 * sizeof *p.x); /* a layer that sees nothing */
    problem_stats(l, &p);
    c = run(l, &p, &base, "rank=5");
    CHECK_INT(c.adapter.k, 0);
    CHECK_NEAR(plain_dot(c.ba, c.ba, 18 * 13), 0, 0);
    c = run(l, &p, &base, "rank=0");
    CHECK(!c.adapter.b && c.adapter.k == 0);
}

/* For a fixed W^ (k fixed) the joint error falls with the rank. */
static void
ranks(lab *l)
{
    const problem p = decaying(l, 25, 20, 1);
    const ql_node base = lab_node(l, "mxint", MXINT);
    const compensated first = run(l, &p, &base, "rank=2 select=fixed k=2");
    double before = INFINITY;

    for (int r = 2; r <= 20; r += 3) {
        const compensated c = run(l, &p, &base, ql_format(&l->cx, "rank=%d select=fixed k=2", r));

        CHECK(memcmp(c.what, first.what, 500 * sizeof(double)) == 0);
        CHECK(left(&p, &c) <= before * (1 + 1e-6));
        before = left(&p, &c);
    }
}

/* At 192 columns: draws of the probe move k by 2 at most, and on falling spectra SRR beats QERA in the mean. */
static void
large(lab *l)
{
    const problem p = decaying(l, 192, 192, 0.6);
    const ql_node base = lab_node(l, "mxint", "bits=3 group_size=32");
    compensated c, qera = lab_compensate(l, &p, "qera", "rank=16", &base);
    int low = 99, high = 0;

    for (int draw = 0; draw < 3; draw++) {
        l->cx.site.seed = test_u64(&l->rng);
        c = run(l, &p, &base, "rank=16");
        low = c.adapter.k < low ? c.adapter.k : low;
        high = c.adapter.k > high ? c.adapter.k : high;
    }
    CHECK(high - low <= 2);
    CHECK(low > 0);
    CHECK(left(&p, &c) < left(&p, &qera));
}

int
main(void)
{
    static void (*const cases[])(lab * l) = {modes, criterion, invariances, nothing_left, split_form, ranks};
    static lab l;

    lab_open(&l);
    for (int i = 0; i < 60; i++) {
        lab_begin(&l);
        cases[i % 6](&l);
        lab_end(&l);
    }
    for (int i = 0; i < 2; i++) {
        lab_begin(&l);
        large(&l);
        lab_end(&l);
    }
    return lab_close(&l);
}
