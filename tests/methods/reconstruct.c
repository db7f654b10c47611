/* Compensators that reconstruct the error of any quantizer (docs/methods.md 6): lordq, eora, qera, lqer, svd. */
#include "method.h"

static problem
random_problem(lab *l)
{
    static const int64_t sizes[] = {1, 2, 7, 16, 31, 48};
    const int64_t m = sizes[lab_int(l, 0, 5)], n = sizes[lab_int(l, 0, 5)];

    return problem_make(l, m, n, lab_int(l, 0, 3) ? 3 * n + 1 : 1 + n / 2);
}

static double
left(const problem *p, const compensated *c)
{
    return plain_quad(p->m, p->n, c->left, p->h);
}

static const char *
rank_text(lab *l, int64_t rank, const char *more)
{
    return ql_format(&l->cx, "rank=%lld %s", (long long)rank, more);
}

static bool
same_adapter(lab *l, const compensated *a, const compensated *b)
{
    const int64_t count = a->adapter.b ? ql_count(a->adapter.b) : 0, other = a->adapter.b ? ql_count(a->adapter.a) : 0;

    if (!a->adapter.b || !b->adapter.b)
        return !a->adapter.b && !b->adapter.b;
    return memcmp(lab_get(l, a->adapter.b), lab_get(l, b->adapter.b), (size_t)count * sizeof(double)) == 0 &&
           memcmp(lab_get(l, a->adapter.a), lab_get(l, b->adapter.a), (size_t)other * sizeof(double)) == 0;
}

/* LoRDQ, EoRA and QERA-exact are one optimum, found by one call: equal to the bit, and equal to the published form. */
static void
one_optimum(lab *l)
{
    const problem p = random_problem(l);
    const ql_node rtn = lab_node(l, "rtn", "bits=2 group_size=16 scale_dtype=fp32");
    const int64_t r = lab_int(l, 1, 9), count = p.m * p.n;
    const char *settings = rank_text(l, r, "");
    const compensated lordq = lab_compensate(l, &p, "lordq", settings, &rtn);
    const compensated eora = lab_compensate(l, &p, "eora", settings, &rtn);
    const compensated qera = lab_compensate(l, &p, "qera", settings, &rtn);
    double *e = lab_keep(l, plain_minus(p.w, lordq.what, count), count), *energies = lab_doubles(l, p.n), *best;
    double tail = plain_tail(p.m, p.n, r, e, p.h), whole = plain_quad(p.m, p.n, e, p.h), noise;

    CHECK(same_adapter(l, &lordq, &eora));
    CHECK(same_adapter(l, &lordq, &qera));
    CHECK_INT(qera.adapter.k, -1);
    noise = 1e-6 * whole + 1e-7 * plain_dot(e, e, count) * p.h[p.n * p.n - 1];
    CHECK_NEAR(left(&p, &lordq), tail, noise + 1e-5 * tail);
    best = lab_keep(l, plain_best(p.m, p.n, r, e, p.h, energies), count);
    if (p.tokens > p.n && r < p.n && energies[r - 1] > 1.21 * energies[r])
        CHECK_NEAR(lab_distance(lordq.ba, best, count), 0, 1e-4);
}

/* Galerkin: what is left is orthogonal, in the norm, to the correction; and no change of the factors makes it less. */
static void
optimality(lab *l)
{
    const problem p = problem_make(l, 24, 17, 60);
    const ql_node rtn = lab_node(l, "rtn", "bits=3 group_size=5 scale_dtype=bf16");
    const compensated c = lab_compensate(l, &p, "lordq", "rank=4", &rtn);
    const double least = left(&p, &c), *b = lab_get(l, c.adapter.b), *a = lab_get(l, c.adapter.a);
    double *eh = lab_keep(l, plain_product(QL_NN, p.m, p.n, p.n, c.left, p.h), p.m * p.n), size, *cross;

    cross = lab_keep(l, plain_product(QL_NT, p.m, p.m, p.n, eh, c.ba), p.m * p.m);
    size = sqrt(least * plain_quad(p.m, p.n, c.ba, p.h));
    for (int64_t i = 0; i < p.m * p.m; i++)
        CHECK_NEAR(cross[i], 0, 1e-4 * size);
    for (int trial = 0; trial < 100; trial++) {
        double *b2 = plain_copy(b, p.m * 4), *a2 = plain_copy(a, 4 * p.n), *ba, *rest, step = pow(10, -1 - trial % 3);

        for (int64_t i = 0; i < p.m * 4; i++)
            b2[i] += step * test_normal(&l->rng);
        for (int64_t i = 0; i < 4 * p.n; i++)
            a2[i] += step * test_normal(&l->rng);
        ba = plain_product(QL_NN, p.m, p.n, 4, b2, a2);
        rest = plain_array(p.m * p.n);
        for (int64_t i = 0; i < p.m * p.n; i++)
            rest[i] = p.w[i] - c.what[i] - ba[i];
        CHECK(plain_quad(p.m, p.n, rest, p.h) >= least * (1 - 1e-5));
        free(b2);
        free(a2);
        free(ba);
        free(rest);
    }
}

/* Exact is the best of all scalings in the norm of the inputs; errors fall with the rank; the full rank leaves nothing. */
static void
ranks(lab *l)
{
    static const char *const names[] = {"qera", "qera", "lqer", "lqer", "svd", "eora"};
    static const char *const words[] = {"scaling=exact", "scaling=approx", "", "lqer_stat=max", "", ""};
    const problem p = random_problem(l);
    const ql_node rtn = lab_node(l, "rtn", "bits=2 group_size=16 scale_dtype=fp32");
    const int64_t least = p.m < p.n ? p.m : p.n;
    double exact[64] = {0}, start, noise;

    for (int i = 0; i < 6; i++) {
        compensated c = lab_compensate(l, &p, names[i], rank_text(l, 0, words[i]), &rtn);
        double before = INFINITY;

        CHECK(!c.adapter.b && !c.adapter.a);
        start = left(&p, &c);
        noise = 1e-6 * start + 1e-6 * plain_dot(c.left, c.left, p.m * p.n) * p.h[p.n * p.n - 1];
        for (int64_t r = 1; r <= least; r += 1 + r / 3) {
            double now;

            c = lab_compensate(l, &p, names[i], rank_text(l, r, words[i]), &rtn);
            now = left(&p, &c);
            exact[r] = i == 0 ? now : exact[r];
            CHECK(now >= exact[r] - noise);
            CHECK(i > 0 || now <= before + noise);
            before = now;
        }
        c = lab_compensate(l, &p, names[i], rank_text(l, least + 5, words[i]), &rtn);
        CHECK_NEAR(left(&p, &c), 0, 10 * noise);
        if (p.tokens > p.n || (i > 0 && i < 5))
            CHECK_NEAR(plain_dot(c.left, c.left, p.m * p.n), 0, 1e-6 * plain_dot(p.w, p.w, p.m * p.n));
    }
}

/* With a diagonal H approx is exact; with statistics of the same columns the weighted forms are the published ones. */
static void
scalings(lab *l)
{
    problem p = problem_make(l, 33, 20, 70);
    const ql_node rtn = lab_node(l, "rtn", "bits=3 group_size=7 scale_dtype=fp32");
    const int64_t count = p.m * p.n;
    double *by[3] = {NULL, lab_doubles(l, 400), lab_doubles(l, 400)}, *mean = lab_get(l, p.stats.abs_mean), *e, *best;
    double energies[20];
    static const char *const names[] = {"svd", "qera", "lqer"}, *const words[] = {"rank=5", "rank=5 scaling=approx",
                                                                                  "rank=5"};
    compensated c, d;

    for (int64_t j = 0; j < 20; j++) {
        by[1][j * 21] = p.h[j * 21];
        by[2][j * 21] = mean[j] * mean[j];
    }
    for (int i = 0; i < 3; i++) {
        c = lab_compensate(l, &p, names[i], words[i], &rtn);
        e = lab_keep(l, plain_minus(p.w, c.what, count), count);
        best = lab_keep(l, plain_best(p.m, p.n, 5, e, by[i], energies), count);
        CHECK_NEAR(plain_quad(p.m, p.n, c.left, by[i]), plain_tail(p.m, p.n, 5, e, by[i]),
                   1e-5 * plain_quad(p.m, p.n, e, by[i]));
        if (energies[4] > 1.21 * energies[5])
            CHECK_NEAR(lab_distance(c.ba, best, count), 0, 1e-4);
    }
    p.stats.h = lab_put(l, 20, 20, by[1]);
    c = lab_compensate(l, &p, "qera", "rank=5 scaling=exact", &rtn);
    d = lab_compensate(l, &p, "qera", "rank=5 scaling=approx", &rtn);
    CHECK_NEAR(lab_distance(c.ba, d.ba, count), 0, 1e-5);
}

/* Inputs that never saw a value: H = 0 leaves no adapter's worth; LQER's clamp keeps its weights above zero. */
static void
no_inputs(lab *l)
{
    problem p = problem_make(l, 9, 14, 5);
    const ql_node rtn = lab_node(l, "rtn", "bits=2 scale_dtype=fp32");
    compensated c;

    memset(p.x, 0, 5 * 14 * sizeof *p.x);
    problem_stats(l, &p);
    c = lab_compensate(l, &p, "lordq", "rank=3", &rtn);
    CHECK_NEAR(plain_dot(c.ba, c.ba, 9 * 14), 0, 0);
    c = lab_compensate(l, &p, "lqer", "rank=9", &rtn);
    CHECK_NEAR(plain_dot(c.left, c.left, 9 * 14), 0, 1e-8 * plain_dot(p.w, p.w, 9 * 14));
}

int
main(void)
{
    static void (*const cases[])(lab * l) = {one_optimum, optimality, ranks, scalings, no_inputs};
    static lab l;

    lab_open(&l);
    for (int i = 0; i < 40; i++) {
        lab_begin(&l);
        cases[i % 5](&l);
        lab_end(&l);
    }
    return lab_close(&l);
}
