/* ProjQ: its projector against the token-space form, its loop against a plain one in double (docs/methods.md 5). */
#include "method.h"

/* A base quantizer that notes down what it is called with. */
static struct spy {
    int calls, bits;
    bool varies; /* another W^ every time */
    double *h[16], *diag[16], *what[16];
    const ql_tensor *w;
    lab *l;
} spy;

typedef struct spy_self {
    int bits;
} spy_self;

static const ql_param spy_params[] = {QL_BITS(spy_self, 4), QL_PARAMS_END};

/* What it notes outlives the call: it belongs to the test's own scope. */
static double *
note(const ql_tensor *t)
{
    ql_scope *open = spy.l->cx.scope;
    double *x;

    while (spy.l->cx.scope->up)
        spy.l->cx.scope = spy.l->cx.scope->up;
    x = lab_get(spy.l, t);
    spy.l->cx.scope = open;
    return x;
}

static ql_status
spy_quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    const int at = spy.calls++;
    ql_tensor *what;

    if (at >= 16)
        return QL_FAIL(cx, QL_INVALID, "the spy was called too often");
    spy.bits = ((const spy_self *)self)->bits;
    spy.w = w;
    spy.h[at] = note(stats->h);
    spy.diag[at] = stats->diag ? note(stats->diag) : NULL;
    out->grid = (ql_grid){.bits = spy.varies ? 2 + at % 3 : 2, .group = 1000, .scale_dtype = QL_F32};
    QL_TRY(cx, ql_group_minmax(cx, w, &out->grid, &out->scales, &out->zeros));
    QL_TRY(cx, ql_group_encode(cx, w, out));
    QL_TRY(cx, ql_group_decode(cx, out, &what));
    spy.what[at] = note(what);
    return QL_OK;
}

static const ql_quantizer spy_quantizer = {
    .size = sizeof(ql_quantizer), .needs = QL_NEEDS_STATS, .quantize = spy_quantize};
static const ql_plugin spy_plugin = {
    .kind = QL_QUANTIZER,
    .name = "spy",
    .params = spy_params,
    .self_size = sizeof(spy_self),
    .quantizer = &spy_quantizer,
};

static void
spy_run(lab *l, const problem *p, const char *settings, bool varies)
{
    static const spy_self self = {4};
    ql_node base = {.name = "spy", .plugin = &spy_plugin, .self = &self};
    ql_qlinear q;

    spy = (struct spy){.l = l, .varies = varies};
    REQUIRE_OK(&l->cx, lab_try_quantize(l, p, "projq", settings, &base, &q));
}

static double *
error(lab *l, const problem *p, const double *what)
{
    return lab_keep(l, plain_minus(p->w, what, p->m * p->n), p->m * p->n);
}

/* The statistics of every round are those of the projected inputs of all tokens, or the part `alpha` of the way there: symmetric,
 * without negative directions, dead inputs dead; order and dead columns are decided by the original ones; so is W. */
static void
projector(lab *l)
{
    problem p = problem_make(l, lab_int(l, 6, 20), lab_int(l, 7, 20), lab_int(l, 21, 45));
    const int64_t r = lab_int(l, 1, 5), n = p.n;
    const double alpha = lab_int(l, 0, 1) ? 1 : 0.75;
    double size = 0, *weights = lab_get(l, p.tw);

    if (lab_int(l, 0, 1)) {
        for (int64_t t = 0; t < p.tokens; t++)
            p.x[t * n + 4] = 0;
        problem_stats(l, &p);
    }
    for (int64_t j = 0; j < n; j++)
        size = fmax(size, p.h[j * n + j]);
    spy_run(l, &p, ql_format(&l->cx, "bits=3 rank=%lld alpha=%g iterations=3 tol=0", (long long)r, alpha), true);
    CHECK_INT(spy.calls, 4);
    CHECK_INT(spy.bits, 3); /* from the stage that drives it */
    CHECK(spy.w == p.tw);
    CHECK(memcmp(weights, lab_get(l, p.tw), (size_t)(p.m * n) * sizeof *weights) == 0);
    CHECK(memcmp(spy.h[0], p.h, (size_t)(n * n) * sizeof *p.h) == 0);
    for (int t = 1; t < spy.calls; t++) {
        double *e = error(l, &p, spy.what[t - 1]), gap, *values = lab_doubles(l, n), *vectors = lab_doubles(l, n * n);
        double *hp = lab_keep(l, plain_projected(p.m, n, p.tokens, r, e, p.x, &gap), n * n), *got = spy.h[t];

        for (int64_t i = 0; i < n * n; i++) {
            if (gap > 1.02)
                CHECK_NEAR(got[i], alpha * hp[i] + (1 - alpha) * p.h[i], 3e-5 * size);
            CHECK_NEAR(got[i], got[i % n * n + i / n], 0);
            CHECK(p.h[i / n * (n + 1)] != 0 || got[i] == 0);
        }
        for (int64_t j = 0; j < n; j++)
            CHECK_NEAR(spy.diag[t][j], p.h[j * n + j], 0);
        plain_eigen(n, got, values, vectors);
        CHECK(values[n - 1] > -1e-6 * (double)n * size);
        if (alpha == 1)
            CHECK_NEAR(plain_quad(p.m, n, e, got), plain_tail(p.m, n, r, e, p.h), 1e-5 * plain_quad(p.m, n, e, p.h));
    }
}

/* J(Q) <= F(Q, P) for any projector P of rank r. */
static void
tail_is_least(lab *l)
{
    const problem p = problem_make(l, 12, 15, 40);
    ql_qlinear q;
    double *e = error(l, &p, lab_quantize(l, &p, "projq", "bits=2 group_size=5 rank=3 scale_dtype=fp32", &q)), j;
    ql_lowrank_result c;

    REQUIRE_OK(&l->cx, ql_lowrank(&l->cx, lab_put(l, 12, 15, e),
                                  &(ql_lowrank_spec){.h = p.stats.h, .rank = 3, .total = true}, &c));
    j = c.total - c.sig2[0] - c.sig2[1] - c.sig2[2];
    CHECK_NEAR(j, plain_tail(12, 15, 3, e, p.h), 1e-5 * c.total);
    for (int trial = 0; trial < 10; trial++) {
        double *other = lab_doubles(l, 12 * 15), *hp;

        for (int64_t i = 0; i < 12 * 15; i++)
            other[i] = trial ? e[i] * (trial > 5) + 0.1 * test_normal(&l->rng) : e[i];
        hp = lab_keep(l, plain_projected(12, 15, 40, 3, other, p.x, NULL), 15 * 15); /* P of another error */
        CHECK(j <= (1 + 1e-3) * plain_quad(12, 15, e, hp));
    }
}

static bool
same_codes(lab *l, const ql_qlinear *a, const ql_qlinear *b)
{
    return memcmp(lab_get(l, a->codes), lab_get(l, b->codes), (size_t)ql_count(a->codes) * sizeof(double)) == 0 &&
           memcmp(lab_get(l, a->scales), lab_get(l, b->scales), (size_t)ql_count(a->scales) * sizeof(double)) == 0 &&
           memcmp(lab_get(l, a->zeros), lab_get(l, b->zeros), (size_t)ql_count(a->zeros) * sizeof(double)) == 0;
}

static void
times(lab *l, const problem *p, double factor, problem *out)
{
    *out = *p;
    out->h = memcpy(lab_doubles(l, p->n * p->n), p->h, (size_t)(p->n * p->n) * sizeof *p->h);
    for (int64_t i = 0; i < p->n * p->n; i++)
        out->h[i] *= factor;
    out->stats.h = lab_put(l, p->n, p->n, out->h);
}

/* Rank 0, no iteration, and alpha 0 are GPTQ of equal damping, to the bit; so are all tokens four times. All tokens twice make
 * other roundings (of square roots), and all but surely the same codes: counted. */
static void
limits(lab *l, double *same)
{
    const problem p = problem_make(l, lab_int(l, 1, 30), lab_int(l, 1, 40), lab_int(l, 20, 90));
    const char *grid = ql_format(&l->cx, "bits=%d group_size=%lld sym=false scale_dtype=fp32", (int)lab_int(l, 2, 4),
                                 (long long)lab_int(l, 4, 30));
    const char *rank = ql_format(&l->cx, "%s rank=%d", grid, (int)lab_int(l, 1, 6));
    ql_qlinear gptq, q, again;
    problem more;

    (void)lab_quantize(l, &p, "gptq", ql_format(&l->cx, "%s damp=0.1", grid), &gptq);
    (void)lab_quantize(l, &p, "projq", ql_format(&l->cx, "%s rank=0", grid), &q);
    CHECK(same_codes(l, &gptq, &q));
    (void)lab_quantize(l, &p, "projq", ql_format(&l->cx, "%s iterations=0", rank), &q);
    CHECK(same_codes(l, &gptq, &q));
    (void)lab_quantize(l, &p, "projq", ql_format(&l->cx, "%s alpha=0", rank), &q);
    CHECK(same_codes(l, &gptq, &q));
    (void)lab_quantize(l, &p, "projq", rank, &q);
    times(l, &p, 4, &more);
    (void)lab_quantize(l, &more, "projq", rank, &again);
    CHECK(same_codes(l, &q, &again));
    times(l, &p, 2, &more);
    (void)lab_quantize(l, &more, "projq", rank, &again);
    *same += memcmp(lab_get(l, q.codes), lab_get(l, again.codes), (size_t)(p.m * p.n) * sizeof(double)) == 0;
}

/* The best energy never grows from round to round; the second phase leaves what the first one reported; gains over GPTQ add up. */
static void
energy(lab *l, double gain[2])
{
    const problem p = problem_make(l, 32, 48, 150);
    ql_node base = lab_node(l, "gptq", ""), node;
    const ql_input input = {.port = "base", .type = QL_EDGE_QUANTIZER, .from = &base};
    double before = INFINITY, j = 0, *what;
    compensated c;
    ql_qlinear q;

    for (int t = 0; t <= 5; t++) {
        const char *settings = ql_format(&l->cx, "bits=2 group_size=16 scale_dtype=fp32 rank=6 iterations=%d", t);

        what = lab_quantize(l, &p, "projq", settings, &q);
        j = plain_tail(p.m, p.n, 6, error(l, &p, what), p.h);
        CHECK(j <= before * (1 + 1e-6));
        before = j;
        gain[0] += t == 0 ? j : 0;
    }
    gain[1] += j;
    node = lab_node(l, "projq", "bits=2 group_size=16 scale_dtype=fp32 rank=6");
    node.inputs = &input;
    node.input_count = 1;
    c = lab_compensate(l, &p, "lordq", "rank=6", &node);
    CHECK_NEAR(plain_quad(p.m, p.n, c.left, p.h), j, 1e-4 * j);
}

/* A rank that takes everything ends the loop at once; rounds that gain nothing end it after two. */
static void
stops(lab *l)
{
    problem p = problem_make(l, 7, 12, 60);

    spy_run(l, &p, "rank=7 iterations=9", true);
    CHECK_INT(spy.calls, 1);
    spy_run(l, &p, "rank=3 iterations=9", false);
    CHECK_INT(spy.calls, 3);
    p = problem_make(l, 9, 12, 4); /* the rank of H */
    spy_run(l, &p, "rank=4 iterations=9", true);
    CHECK_INT(spy.calls, 1);
}

/* The loop in double with GPTQ in double: the same codes but for near-ties, the same energy. */
static void
plain_loop(lab *l, double *agreed)
{
    const int64_t m = 12, n = 20, r = 3;
    const problem p = problem_make(l, m, n, 60);
    const ql_grid grid = {.bits = 2, .group = 8, .scale_dtype = QL_F32, .fp64 = true};
    ql_node base = lab_node(l, "gptq", "precision=fp64");
    double *what = plain_gptq(&grid, m, n, p.w, p.h, 0.1, NULL), best = INFINITY, *kept = lab_doubles(l, m * n), j,
           *got;
    ql_qlinear q;

    for (int t = 0; t <= 3; t++) {
        double *e = error(l, &p, what), *hp = plain_projected(m, n, p.tokens, r, e, p.x, NULL);

        j = plain_tail(m, n, r, e, p.h);
        if (j < best)
            memcpy(kept, what, (size_t)(m * n) * sizeof *what);
        best = fmin(best, j);
        free(what);
        what = plain_gptq(&grid, m, n, p.w, hp, 0.1, NULL);
        free(hp);
    }
    free(what);
    REQUIRE_OK(&l->cx,
               lab_try_quantize(l, &p, "projq",
                                "bits=2 group_size=8 sym=false scale_dtype=fp32 rank=3 iterations=3 tol=0", &base, &q));
    got = lab_decode(l, &q);
    j = plain_tail(m, n, r, error(l, &p, got), p.h);
    CHECK_NEAR(j, best, 0.3 * best); /* a near-tie that falls the other way changes what comes after it */
    *agreed += fabs(j - best) < 1e-4 * best && lab_distance(got, kept, m * n) < 1e-3;
}

/* Orders come from H, not from what is left of it, so that the codes of all rounds share their groups. */
static void
orders(lab *l)
{
    const problem p = problem_make(l, 16, 24, 70);
    ql_node base = lab_node(l, "gptq", "act_order=desc");
    double *index;
    ql_qlinear q;

    REQUIRE_OK(&l->cx, lab_try_quantize(l, &p, "projq", "bits=2 group_size=7 scale_dtype=fp32 rank=4", &base, &q));
    index = lab_get(l, q.g_idx);
    for (int64_t i = 0; i < p.n; i++) {
        int64_t before = 0;

        for (int64_t j = 0; j < p.n; j++)
            before += p.h[j * 25] > p.h[i * 25] || (p.h[j * 25] == p.h[i * 25] && j < i);
        CHECK_INT(index[i], before / 7);
    }
}

/* What one call of the published column loop leaves of its argument (docs/methods.md 5.2): blocks of 128 columns pass their errors on
 * through W itself, in fp16. */
static void
published_drift(int64_t m, int64_t n, const double *what, const double *h, double *w)
{
    double *u = plain_factor(n, h, 0.1), *err = plain_minus(w, what, m * n);

    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            for (int64_t k = 0; k < j; k++)
                err[i * n + j] -= err[i * n + k] * u[k * n + j];
            err[i * n + j] /= u[j * n + j];
        }
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 128; j < n; j++)
            for (int64_t k = 0; k < j / 128 * 128; k++) {
                w[i * n + j] -= err[i * n + k] * u[k * n + j];
                if (k % 128 == 127)
                    w[i * n + j] = plain_round(QL_F16, w[i * n + j]);
            }
    free(u);
    free(err);
}

static void
damp_diagonal(int64_t n, double *h)
{
    double mean = 0;

    for (int64_t j = 0; j < n; j++)
        mean += h[j * n + j] / (double)n;
    for (int64_t j = 0; j < n; j++)
        h[j * n + j] += 0.1 * mean;
}

/* `compat: release` against the published loop in double: two drifting passes, damping twice, last iterate. */
static void
published_loop(lab *l, double *agreed)
{
    const int64_t m = 3, n = 140, r = 2;
    const ql_grid grid = {.bits = 3, .group = 35, .scale_dtype = QL_F32, .fp64 = true};
    problem p = problem_make(l, m, n, 160);
    ql_node base = lab_node(l, "gptq", "precision=fp32");
    double *w = lab_doubles(l, m * n), *h = plain_copy(p.h, n * n), *what, *e, *hp, *got;
    ql_qlinear q;

    for (int64_t i = 0; i < m * n; i++)
        p.w[i] = w[i] = plain_round(QL_F16, p.w[i]);
    p.tw = lab_put(l, m, n, p.w);
    damp_diagonal(n, h);
    what = plain_gptq(&grid, m, n, w, h, 0.1, NULL);
    REQUIRE_OK(&l->cx, lab_try_quantize(l, &p, "projq",
                                        "bits=3 group_size=35 sym=false scale_dtype=fp32 rank=2 iterations=0 "
                                        "compat=release",
                                        &base, &q));
    CHECK(lab_distance(lab_decode(l, &q), what, m * n) < 0.05); /* a near-tie may fall the other way */
    published_drift(m, n, what, h, w);
    CHECK(lab_distance(w, p.w, m * n) > 1e-3);
    e = plain_minus(w, what, m * n);
    hp = plain_projected(m, n, p.tokens, r, e, p.x, NULL);
    damp_diagonal(n, hp);
    free(what);
    what = plain_gptq(&grid, m, n, w, hp, 0.1, NULL);
    REQUIRE_OK(&l->cx, lab_try_quantize(l, &p, "projq",
                                        "bits=3 group_size=35 sym=false scale_dtype=fp32 rank=2 iterations=1 "
                                        "compat=release",
                                        &base, &q));
    got = lab_decode(l, &q);
    *agreed += lab_distance(got, what, m * n) < 1e-3;
    free(h);
    free(what);
    free(e);
    free(hp);
}

int
main(void)
{
    static void (*const cases[])(lab * l) = {projector, tail_is_least, stops, orders};
    static lab l;
    double gain[2] = {0}, agreed = 0, same = 0, published = 0;

    lab_open(&l);
    for (int i = 0; i < 40; i++) {
        lab_begin(&l);
        cases[i % 4](&l);
        lab_end(&l);
    }
    for (int i = 0; i < 20; i++) {
        lab_begin(&l);
        energy(&l, gain);
        plain_loop(&l, &agreed);
        limits(&l, &same);
        lab_end(&l);
    }
    for (int i = 0; i < 5; i++) {
        lab_begin(&l);
        published_loop(&l, &published);
        lab_end(&l);
    }
    printf("%g of 5 published loops agree\n", published);
    CHECK(published >= 3);
    printf("energy: %g of GPTQ's; of 20 loops %g agree, of 20 doublings %g\n", gain[1] / gain[0], agreed, same);
    CHECK(gain[1] < 0.95 * gain[0]);
    CHECK(agreed >= 14);
    CHECK(same >= 14);
    return lab_close(&l);
}
