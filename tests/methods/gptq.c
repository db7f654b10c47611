/* GPTQ as a whole: orders, damping, dead columns, rescue, and the loop in double (docs/methods.md 3; the sweep alone: kernels.groups). */
#include "method.h"

static const char *
grid_words(lab *l, int64_t n)
{
    return ql_format(&l->cx, "bits=%d group_size=%lld sym=%s scale_dtype=fp32", (int)lab_int(l, 2, 5),
                     (long long)(lab_int(l, 0, 3) ? lab_int(l, 1, n) : -1), lab_int(l, 0, 1) ? "true" : "false");
}

static problem
random_problem(lab *l)
{
    static const int64_t sizes[] = {1, 2, 7, 16, 31, 48};
    const int64_t n = sizes[lab_int(l, 0, 5)];

    return problem_make(l, sizes[lab_int(l, 0, 5)], n, 2 * n + 5);
}

static bool
same(const double *a, const double *b, int64_t count)
{
    return memcmp(a, b, (size_t)count * sizeof *a) == 0;
}

static bool
same_tensor(lab *l, const ql_tensor *a, const ql_tensor *b)
{
    return ql_count(a) == ql_count(b) && same(lab_get(l, a), lab_get(l, b), ql_count(a));
}

/* The problem with its columns taken in the order `at`, its weight times `w` and its H times `h`. */
static problem
rearranged(lab *l, const problem *p, const int64_t *at, double w, double h)
{
    problem q = *p;

    q.w = lab_doubles(l, p->m * p->n);
    q.h = lab_doubles(l, p->n * p->n);
    for (int64_t i = 0; i < p->m * p->n; i++)
        q.w[i] = w * p->w[i / p->n * p->n + (at ? at[i % p->n] : i % p->n)];
    for (int64_t i = 0; i < p->n * p->n; i++)
        q.h[i] = h * p->h[(at ? at[i / p->n] : i / p->n) * p->n + (at ? at[i % p->n] : i % p->n)];
    q.tw = lab_put(l, p->m, p->n, q.w);
    q.stats.h = lab_put(l, p->n, p->n, q.h);
    return q;
}

/* In double: the codes of the plain loop, by another factorization; the loss is that of the damped H. */
static void
in_double(lab *l)
{
    const problem p = random_problem(l);
    const int64_t g = lab_int(l, 1, p.n), count = p.m * p.n;
    const ql_grid grid = {.bits = 3, .group = g, .scale_dtype = QL_F32, .fp64 = true};
    double *codes = lab_doubles(l, count), *what, *got, *e, mean = 0, damped;
    ql_qlinear q;

    what = lab_keep(l, plain_gptq(&grid, p.m, p.n, p.w, p.h, 0.05, codes), count);
    got = lab_quantize(
        l, &p, "gptq",
        ql_format(&l->cx, "bits=3 group_size=%lld sym=false scale_dtype=fp32 precision=fp64", (long long)g), &q);
    CHECK(same(lab_get(l, q.codes), codes, count));
    CHECK_NEAR(lab_distance(got, what, count), 0, 1e-12);
    CHECK_NEAR(q.damp, 0.05, 0);
    CHECK_INT(q.status, 0);
    e = lab_keep(l, plain_minus(p.w, got, count), count);
    for (int64_t j = 0; j < p.n; j++)
        mean += p.h[j * (p.n + 1)] / (double)p.n;
    damped = plain_quad(p.m, p.n, e, p.h) + 0.05 * mean * plain_dot(e, e, count);
    /* against the weight's own energy, too: a fine grid may leave next to nothing */
    CHECK_NEAR(q.loss, damped / 2, 1e-9 * damped + 1e-14 * plain_quad(p.m, p.n, p.w, p.h));
}

/* H times 4 changes nothing, W times 2 the scales; rows are independent; a diagonal H, one column or huge damping is plain rounding. */
static void
invariances(lab *l)
{
    const problem p = random_problem(l);
    const char *words = grid_words(l, p.n);
    const int64_t count = p.m * p.n, shift = lab_int(l, 0, p.m - 1) * p.n;
    int64_t fallen = 0;
    double *what, *got, *rounded;
    ql_qlinear q, other;
    problem changed = rearranged(l, &p, NULL, 1, 4);

    what = lab_quantize(l, &p, "gptq", words, &q);
    CHECK(same(lab_quantize(l, &changed, "gptq", words, &other), what, count));
    CHECK_NEAR(other.loss, 4 * q.loss, 1e-6 * other.loss);
    changed = rearranged(l, &p, NULL, 2, 1);
    got = lab_quantize(l, &changed, "gptq", words, &other);
    CHECK(same_tensor(l, q.codes, other.codes));
    for (int64_t i = 0; i < count; i++)
        CHECK_NEAR(got[i], 2 * what[i], 0);
    changed = p;
    changed.w = lab_doubles(l, count);
    for (int64_t i = 0; i < count; i++)
        changed.w[(i + shift) % count] = p.w[i];
    changed.tw = lab_put(l, p.m, p.n, changed.w);
    got = lab_quantize(l, &changed, "gptq", words, &other);
    for (int64_t i = 0; i < count; i++)
        CHECK_NEAR(got[(i + shift) % count], what[i], 0);

    rounded = lab_quantize(l, &p, "rtn", words, &other);
    changed = rearranged(l, &p, NULL, 1, 1);
    for (int64_t i = 0; i < p.n * p.n; i++)
        changed.h[i] = i % (p.n + 1) ? 0 : changed.h[i];
    changed.stats.h = lab_put(l, p.n, p.n, changed.h);
    CHECK(same(lab_quantize(l, &changed, "gptq", words, &other), rounded, count));
    CHECK(p.n > 1 || same(what, rounded, count));
    for (int64_t i = 0; i < p.n; i++)
        changed.h[i * (p.n + 1)] *= 1e7;
    for (int64_t i = 0; i < p.n * p.n; i++)
        changed.h[i] += i % (p.n + 1) ? p.h[i] : 0;
    changed.stats.h = lab_put(l, p.n, p.n, changed.h);
    got = lab_quantize(l, &changed, "gptq", words, &other);
    for (int64_t i = 0; i < count; i++)
        fallen += fabs(got[i] - rounded[i]) > 1e-6 * fabs(rounded[i]);
    CHECK(fallen <= ql_count(q.scales)); /* the largest of a symmetric group is a tie, and may fall the other way */
}

/* Columns by falling diagonal of H, dead ones last, ties by index. */
static int64_t *
falling(lab *l, const problem *p)
{
    int64_t *at = ql_alloc(&l->cx, (size_t)p->n, sizeof *at);

    for (int64_t i = 0; i < p->n; i++) {
        int64_t place = 0;

        for (int64_t j = 0; j < p->n; j++)
            place +=
                p->h[j * (p->n + 1)] > p->h[i * (p->n + 1)] || (p->h[j * (p->n + 1)] == p->h[i * (p->n + 1)] && j < i);
        at[place] = i;
    }
    return at;
}

/* `desc` is the natural order of the sorted columns; `group` with one group is `desc`; a constant diagonal is no order at all. */
static void
orders(lab *l)
{
    problem p = random_problem(l), sorted, flat;
    const int64_t n = p.n, count = p.m * n, g = lab_int(l, 1, n), *at = falling(l, &p);
    const char *words = ql_format(&l->cx, "bits=3 scale_dtype=fp32 sym=false group_size=%lld", (long long)g);
    const char *one = "bits=3 scale_dtype=fp32 group_size=-1";
    double *what, *natural, *index;
    ql_qlinear q, other;

    what = lab_quantize(l, &p, "gptq", ql_format(&l->cx, "%s act_order=desc", words), &q);
    sorted = rearranged(l, &p, at, 1, 1);
    natural = lab_quantize(l, &sorted, "gptq", words, &other);
    index = lab_get(l, q.g_idx);
    for (int64_t i = 0; i < count; i++)
        CHECK_NEAR(what[i / n * n + at[i % n]], natural[i], 0);
    for (int64_t j = 0; j < n; j++)
        CHECK_INT(index[at[j]], j / g);
    CHECK(same_tensor(l, q.scales, other.scales));

    what = lab_quantize(l, &p, "gptq", ql_format(&l->cx, "%s act_order=desc", one), &q);
    CHECK(same(lab_quantize(l, &p, "gptq", ql_format(&l->cx, "%s act_order=group", one), &other), what, count));
    CHECK(same_tensor(l, q.codes, other.codes));

    flat = rearranged(l, &p, NULL, 1, 1);
    for (int64_t i = 0; i < n * n; i++)
        flat.h[i] /= sqrt(p.h[i / n * (n + 1)] * p.h[i % n * (n + 1)]);
    for (int64_t j = 0; j < n; j++)
        flat.h[j * (n + 1)] = 1;
    flat.stats.h = lab_put(l, n, n, flat.h);
    what = lab_quantize(l, &flat, "gptq", words, &q);
    CHECK(same(lab_quantize(l, &flat, "gptq", ql_format(&l->cx, "%s act_order=desc", words), &other), what, count));
}

/* Groups in their order, columns in theirs inside them: what comes out is the natural order's on the columns so sorted, with scales
 * back at their groups, so that no index is needed. The ragged last group stays last. */
static void
group_aware(lab *l)
{
    const problem p = random_problem(l);
    const int64_t n = p.n, count = p.m * n, g = lab_int(l, 1, n), whole = n / g, *at = falling(l, &p);
    const char *words = ql_format(&l->cx, "bits=3 scale_dtype=fp32 group_size=%lld", (long long)g);
    int64_t *order = ql_alloc(&l->cx, (size_t)n, sizeof *order), used = 0;
    bool *done = ql_alloc(&l->cx, (size_t)(n / g + 1), sizeof *done);
    double *what, *natural;
    ql_qlinear q, other;
    problem sorted;

    for (int64_t i = 0; i <= n; i++) { /* groups as their largest column turns up; the ragged one at the end */
        const int64_t k = i < n ? at[i] / g : whole;

        if (done[k] || (i < n && k == whole))
            continue;
        done[k] = true;
        for (int64_t j = 0; j < n; j++)
            if (at[j] / g == k)
                order[used++] = at[j];
    }
    CHECK_INT(used, n);
    what = lab_quantize(l, &p, "gptq", ql_format(&l->cx, "%s act_order=group", words), &q);
    sorted = rearranged(l, &p, order, 1, 1);
    natural = lab_quantize(l, &sorted, "gptq", words, &other);
    CHECK(!q.g_idx);
    for (int64_t i = 0; i < count; i++)
        CHECK_NEAR(what[i / n * n + order[i % n]], natural[i], 0);
}

/* Static groups: the scales are those of plain rounding, whatever the order, and belong to stored places. */
static void
static_groups(lab *l)
{
    static const char *const words[] = {"off", "desc", "group"};
    const problem p = random_problem(l);
    const char *grid = grid_words(l, p.n);
    ql_qlinear rounded, q;

    (void)lab_quantize(l, &p, "rtn", grid, &rounded);
    for (int i = 0; i < 3; i++) {
        (void)lab_quantize(l, &p, "gptq", ql_format(&l->cx, "%s static_groups=true act_order=%s", grid, words[i]), &q);
        CHECK(!q.g_idx);
        CHECK(same_tensor(l, q.scales, rounded.scales));
        CHECK(same_tensor(l, q.zeros, rounded.zeros));
    }
}

/* A column that never saw a value: its weight is 0, and the others come out as if it were not there. */
static void
dead(lab *l)
{
    static const char *const orders_of[] = {"off", "desc", "group"};
    problem p = problem_make(l, lab_int(l, 1, 20), lab_int(l, 3, 30), 80), fewer;
    const int64_t n = p.n, gone = lab_int(l, 0, n - 1);
    double *what, *other;
    ql_qlinear q;

    for (int64_t t = 0; t < p.tokens; t++)
        p.x[t * n + gone] = 0;
    problem_stats(l, &p);
    for (int order = 0; order < 3; order++) {
        what =
            lab_quantize(l, &p, "gptq",
                         ql_format(&l->cx, "bits=3 group_size=5 scale_dtype=fp32 act_order=%s", orders_of[order]), &q);
        CHECK_INT(q.dead, 1);
        CHECK_INT(q.status, QL_NUM_DEAD);
        for (int64_t i = 0; i < p.m; i++)
            CHECK(what[i * n + gone] == 0);
    }
    what = lab_quantize(l, &p, "gptq", "bits=3 group_size=-1 scale_dtype=fp32 precision=fp64", &q);
    fewer = (problem){.m = p.m,
                      .n = n - 1,
                      .tokens = p.tokens,
                      .x = lab_doubles(l, p.tokens * (n - 1)),
                      .w = lab_doubles(l, p.m * (n - 1))};
    for (int64_t i = 0, from = 0; from < p.tokens * n; from++)
        if (from % n != gone)
            fewer.x[i++] = p.x[from];
    for (int64_t i = 0, from = 0; from < p.m * n; from++)
        if (from % n != gone)
            fewer.w[i++] = p.w[from];
    fewer.tw = lab_put(l, p.m, n - 1, fewer.w);
    problem_stats(l, &fewer);
    other = lab_quantize(l, &fewer, "gptq", "bits=3 group_size=-1 scale_dtype=fp32 precision=fp64", &q);
    for (int64_t i = 0, from = 0; from < p.m * n; from++)
        if (from % n != gone)
            CHECK_NEAR(other[i++], what[from], 1e-6);
}

/* A column that a projection took out of H, while the original saw it: it is rounded, and neither dead nor zeroed; a feedback
 * that overflows ends in plain rounding, said so. */
static void
projected(lab *l)
{
    const char *words = "bits=3 group_size=5 scale_dtype=fp32 static_groups=true";
    problem p = problem_make(l, 9, 14, 50);
    double *what, *rounded, diag[14];
    ql_qlinear q;

    for (int64_t j = 0; j < 14; j++) {
        diag[j] = p.h[j * 15];
        p.h[j * 14 + 6] = p.h[6 * 14 + j] = 0;
    }
    p.stats.h = lab_put(l, 14, 14, p.h);
    p.stats.diag = lab_put(l, 14, -1, diag);
    what = lab_quantize(l, &p, "gptq", words, &q);
    rounded = lab_quantize(l, &p, "rtn", "bits=3 group_size=5 scale_dtype=fp32", &q);
    CHECK_INT(q.dead, 0);
    CHECK_INT(q.status, 0);
    for (int64_t i = 0; i < 9; i++)
        CHECK_NEAR(what[i * 14 + 6], rounded[i * 14 + 6], 0);

    for (int64_t i = 0; i < 9 * 14; i++)
        p.w[i] *= 1e37 / 2;
    for (int64_t i = 0; i < 14 * 14; i++)
        p.h[i] = i % 15 ? 1 - 1e-6 : 1;
    p.tw = lab_put(l, 9, 14, p.w);
    p.stats = (ql_stats){.h = lab_put(l, 14, 14, p.h)};
    what = lab_quantize(l, &p, "gptq", "bits=2 scale_dtype=fp32 static_groups=true damp=0.000001", &q);
    CHECK(q.status & QL_NUM_ROUNDED);
    CHECK(strstr(l->log, "the error feedback overflowed: rounded to nearest instead") != NULL);
}

/* H that no damping makes positive definite: plain rounding, said so; one that more damping helps: said so, too. */
static void
rescue(lab *l)
{
    problem p = problem_make(l, 8, 12, 40);
    double *what;
    ql_qlinear q, rounded;

    for (int64_t i = 0; i < 144; i++)
        p.h[i] = i % 13 ? 0.3 : 1;
    p.h[1] = p.h[12] = -3;
    p.stats.h = lab_put(l, 12, 12, p.h);
    what = lab_quantize(l, &p, "gptq", "bits=3 group_size=5 scale_dtype=fp32", &q);
    CHECK(q.status & QL_NUM_ROUNDED);
    CHECK(strstr(l->log, "no damping below 1 makes H positive definite: rounded to nearest instead") != NULL);
    CHECK(same(what, lab_quantize(l, &p, "rtn", "bits=3 group_size=5 scale_dtype=fp32", &rounded), 96));
    p.h[1] = p.h[12] = -1.2;
    p.stats.h = lab_put(l, 12, 12, p.h);
    (void)lab_quantize(l, &p, "gptq", "bits=3 group_size=5 scale_dtype=fp32 damp=0.01", &q);
    CHECK_INT(q.status, QL_NUM_DAMP_RAISED);
    CHECK(q.damp > 0.01 && q.damp < 1);
    p.h[7] = NAN;
    p.stats.h = NULL;
    REQUIRE_OK(&l->cx, ql_upload(&l->cx, QL_F64, 12, 12, p.h, (ql_tensor **)&p.stats.h));
    CHECK_ERROR(&l->cx, lab_try_quantize(l, &p, "gptq", "", NULL, &q), QL_NUMERIC,
                "the statistics are not finite: H[0, 7] is NaN or infinite");
}

/* Correlated layers: below plain rounding in the mean; fp32 has the error of fp64 within 0.1 % in the mean. */
static void
means(lab *l, double sum[3])
{
    const problem p = problem_make(l, 96, 112, 400);
    static const char *const names[] = {"rtn", "gptq", "gptq"};
    static const char *const words[] = {"", "", "precision=fp64"};
    ql_qlinear q;

    for (int i = 0; i < 3; i++) {
        double *what = lab_quantize(
            l, &p, names[i], ql_format(&l->cx, "bits=3 group_size=32 sym=false scale_dtype=fp32 %s", words[i]), &q);
        double *e = lab_keep(l, plain_minus(p.w, what, p.m * p.n), p.m * p.n);

        sum[i] += plain_quad(p.m, p.n, e, p.h);
    }
}

int
main(void)
{
    static void (*const cases[])(lab * l) = {in_double, invariances, orders, group_aware, static_groups, dead};
    static lab l;
    double sum[3] = {0};

    lab_open(&l);
    for (int i = 0; i < 90; i++) {
        lab_begin(&l);
        cases[i % 6](&l);
        lab_end(&l);
    }
    lab_begin(&l);
    rescue(&l);
    lab_end(&l);
    lab_begin(&l);
    projected(&l);
    lab_end(&l);
    for (int i = 0; i < 20; i++) {
        lab_begin(&l);
        means(&l, sum);
        lab_end(&l);
    }
    printf("of rounding's error: %g; fp32 over fp64: %g\n", sum[1] / sum[0], sum[1] / sum[2]);
    CHECK(sum[1] < 0.9 * sum[0]);
    CHECK_NEAR(sum[1] / sum[2], 1, 1e-3);
    return lab_close(&l);
}
