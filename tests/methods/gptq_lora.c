/* GPTQ-intrinsic LoRA (docs/methods.md 9): rank 0 is GPTQ; the pass, its adapter and the moves of codes against the algorithm written out
 * in double; and what the three are worth. */
#include "method.h"

#include <float.h>

#define EXACT "precision=fp64 scale_dtype=fp32 adapter_dtype=fp32 group_size=16 "

/* (H + delta I)^-1 by Gauss and Jordan, new. */
static double *
inverse(int64_t n, const double *h, double delta)
{
    double *a = plain_copy(h, n * n), *b = plain_array(n * n);

    for (int64_t i = 0; i < n; i++) {
        a[i * n + i] += delta;
        b[i * n + i] = 1;
    }
    for (int64_t k = 0; k < n; k++) {
        const double pivot = a[k * n + k];

        for (int64_t j = 0; j < n; j++) {
            a[k * n + j] /= pivot;
            b[k * n + j] /= pivot;
        }
        for (int64_t i = 0; i < n; i++) {
            const double f = a[i * n + k];

            for (int64_t j = 0; i != k && j < n; j++) {
                a[i * n + j] -= f * a[k * n + j];
                b[i * n + j] -= f * b[k * n + j];
            }
        }
    }
    free(a);
    return b;
}

/* Lower L with L L^T = a, in place. */
static void
cholesky(int64_t n, double *a)
{
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < n; i++) {
            double s = a[i * n + j];

            for (int64_t k = 0; k < j; k++)
                s -= a[i * n + k] * a[j * n + k];
            a[i * n + j] = i < j ? 0 : i == j ? sqrt(s) : s / a[j * n + j];
        }
}

static double
mean_diagonal(int64_t n, const double *h)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += h[i * n + i] / (double)n;
    return sum;
}

/* tr(D H D^T) + delta |D|^2 */
static double
energy(const problem *p, const double *d, double delta)
{
    double sum = 0;

    for (int64_t i = 0; i < p->m; i++)
        for (int64_t j = 0; j < p->n; j++) {
            double dh = delta * d[i * p->n + j];

            for (int64_t k = 0; k < p->n; k++)
                dh += d[i * p->n + k] * p->h[k * p->n + j];
            sum += dh * d[i * p->n + j];
        }
    return sum;
}

/* The nearest point of the grid of q in row i, column j. */
typedef struct grid_view {
    const double *scales, *zeros;
    int64_t groups, group;
    double top;
} grid_view;

static grid_view
view(lab *l, const ql_qlinear *q)
{
    return (grid_view){lab_get(l, q->scales), lab_get(l, q->zeros), ql_dim(q->scales, 1), q->grid.group,
                       (double)((1 << q->grid.bits) - 1)};
}

static double
nearest(const grid_view *g, int64_t i, int64_t j, double x)
{
    const double s = g->scales[i * g->groups + j / g->group], z = g->zeros[i * g->groups + j / g->group];

    return s * (fmin(fmax(rint(x / s) + z, 0), g->top) - z);
}

/* W - W^ - B A */
static double *
rest(lab *l, const problem *p, const double *what, const ql_qlinear *q)
{
    double *e = lab_doubles(l, p->m * p->n);

    for (int64_t i = 0; i < p->m * p->n; i++)
        e[i] = p->w[i] - what[i];
    if (q->b)
        plain_gemm(QL_NN, (const int64_t[]){p->m, p->n, ql_dim(q->a, 0)}, -1, lab_get(l, q->b), lab_get(l, q->a), 1, e);
    return e;
}

static void
check_same(lab *l, const ql_tensor *a, const ql_tensor *b)
{
    const double *x = lab_get(l, a), *y = lab_get(l, b);

    CHECK_INT(ql_count(a), ql_count(b));
    CHECK(memcmp(x, y, (size_t)ql_count(a) * sizeof *x) == 0);
}

static void
rank_zero_is_gptq(lab *l)
{
    static const char *const settings[] = {"bits=3 group_size=16 damp=0.02 sym=false ",
                                           "bits=2 group_size=-1 sym=true damp=0.02 ",
                                           "bits=4 group_size=7 sym=false damp=0.02 precision=fp64 "};

    for (int i = 0; i < 6; i++) {
        const problem p = problem_make(l, lab_int(l, 1, 20), lab_int(l, 1, 60), lab_int(l, 5, 200));
        const char *common =
            ql_format(&l->cx, "%sscale_dtype=fp32 static_groups=%s", settings[i / 2], i % 2 ? "true" : "false");
        ql_qlinear a, b;

        (void)lab_quantize(l, &p, "gptq", common, &a);
        (void)lab_quantize(l, &p, "gptq_lora", ql_format(&l->cx, "%s rank=0", common), &b);
        CHECK(!b.b && !b.a);
        check_same(l, a.codes, b.codes);
        check_same(l, a.scales, b.scales);
        check_same(l, a.zeros, b.zeros);
        CHECK(a.loss == b.loss && a.damp == b.damp);
    }
}

/* The rows of `a` are orthonormal and span the top eigenvectors of H: nothing outside has more energy than the least of them. */
static void
check_directions(const problem *p, int64_t r, const double *a, uint64_t *rng)
{
    double *ah = plain_product(QL_NN, r, p->n, p->n, a, p->h), *aa = plain_product(QL_NT, r, r, p->n, a, a);
    double *v = plain_array(p->n), *hv = plain_array(p->n), least = DBL_MAX, value = 0;

    for (int64_t i = 0; i < r; i++) {
        double own = 0;

        for (int64_t j = 0; j < p->n; j++)
            own += ah[i * p->n + j] * a[i * p->n + j];
        least = fmin(least, own);
        for (int64_t j = 0; j < r; j++)
            CHECK_NEAR(aa[i * r + j], i == j, 1e-5);
    }
    for (int64_t j = 0; j < p->n; j++)
        v[j] = test_normal(rng);
    for (int step = 0; step < 300; step++) { /* power iteration outside of them */
        double norm = 0;

        for (int64_t i = 0; i < r; i++) {
            double along = 0;

            for (int64_t j = 0; j < p->n; j++)
                along += a[i * p->n + j] * v[j];
            for (int64_t j = 0; j < p->n; j++)
                v[j] -= along * a[i * p->n + j];
        }
        plain_gemm(QL_NN, (const int64_t[]){p->n, 1, p->n}, 1, p->h, v, 0, hv);
        for (int64_t j = 0; j < p->n; j++)
            norm += hv[j] * hv[j];
        norm = sqrt(norm);
        value = norm;
        for (int64_t j = 0; j < p->n && norm > 0; j++)
            v[j] = hv[j] / norm;
        if (r == p->n || norm == 0)
            break;
    }
    if (r < p->n)
        CHECK(value <= least * 1.01);
    free(ah), free(aa), free(v), free(hv);
}

/* The pass, literally, on [W | 0] with the directions and the grid that the plugin found. */
static void
pass_as_written(lab *l)
{
    const problem p = problem_make(l, lab_int(l, 1, 12), lab_int(l, 4, 40), 120);
    const int64_t n = p.n, r = lab_int(l, 1, n), w = n + r;
    ql_qlinear q;
    const double *what = lab_quantize(
        l, &p, "gptq_lora", ql_format(&l->cx, EXACT "bits=3 damp=0.02 refit=false rank=%lld", (long long)r), &q);
    const double *a = lab_get(l, q.a), *b = lab_get(l, q.b);
    const grid_view g = view(l, &q);
    double *basis = plain_array(w * n), *t, *haug, *psi, *waug = plain_array(p.m * w);

    check_directions(&p, r, a, &l->rng);
    for (int64_t i = 0; i < n; i++)
        basis[i * n + i] = 1;
    memcpy(basis + n * n, a, (size_t)(r * n) * sizeof *a);
    t = plain_product(QL_NN, w, n, n, basis, p.h);
    haug = plain_product(QL_NT, w, w, n, t, basis);
    psi = inverse(w, haug, 0.02 * mean_diagonal(w, haug));
    cholesky(w, psi);
    for (int64_t i = 0; i < p.m; i++) {
        double *row = waug + i * w;

        memcpy(row, p.w + i * n, (size_t)n * sizeof *row);
        for (int64_t j = 0; j < n; j++) {
            const double x = nearest(&g, i, j, row[j]), e = (x - row[j]) / psi[j * w + j];

            CHECK_NEAR(what[i * n + j], x, 1e-6 * (1 + fabs(x)));
            for (int64_t k = j + 1; k < w; k++)
                row[k] += e * psi[k * w + j];
        }
        for (int64_t k = 0; k < r; k++)
            CHECK_NEAR(b[i * r + k], row[n + k], 1e-4 * (1 + fabs(row[n + k])));
    }
    free(basis), free(t), free(haug), free(psi), free(waug);
}

/* The moves, literally: column by column to the best code; the objective never rises, and the codes are the plugin's. */
static void
moves_as_written(lab *l)
{
    const problem p = problem_make(l, lab_int(l, 1, 10), lab_int(l, 2, 36), 90);
    const int64_t n = p.n;
    const double delta = 0.03 * mean_diagonal(n, p.h);
    const char *settings =
        ql_format(&l->cx, EXACT "bits=2 damp=0.03 refit=false rank=%lld", (long long)lab_int(l, 0, n / 2));
    ql_qlinear q, next;
    double *e = rest(l, &p, lab_quantize(l, &p, "gptq_lora", settings, &q), &q), *what = lab_decode(l, &q);
    const double *moved = lab_quantize(l, &p, "gptq_lora", ql_format(&l->cx, "%s bid_up=1", settings), &next);
    const grid_view g = view(l, &q);
    double last = energy(&p, e, delta);

    for (int64_t j = 0; j < n; j++) {
        double now;

        for (int64_t i = 0; i < p.m; i++) {
            double gradient = delta * e[i * n + j], x;

            for (int64_t k = 0; k < n; k++)
                gradient += e[i * n + k] * p.h[k * n + j];
            x = nearest(&g, i, j, what[i * n + j] + gradient / (p.h[j * n + j] + delta));
            e[i * n + j] += what[i * n + j] - x;
            what[i * n + j] = x;
        }
        now = energy(&p, e, delta);
        CHECK(now <= last * (1 + 1e-12));
        last = now;
    }
    for (int64_t i = 0; i < p.m * n; i++)
        CHECK_NEAR(moved[i], what[i], 1e-6 * (1 + fabs(what[i])));
}

/* Rounds of moves and refits never raise the damped objective, in single precision either, and end by themselves. */
static void
moves_never_raise(lab *l)
{
    const problem p = problem_make(l, lab_int(l, 4, 40), lab_int(l, 8, 80), 150);
    const double delta = 0.01 * mean_diagonal(p.n, p.h);
    double last = DBL_MAX;

    for (int rounds = 0; rounds <= 4; rounds++) {
        ql_qlinear q;
        const double *what = lab_quantize(
            l, &p, "gptq_lora",
            ql_format(&l->cx, "bits=2 group_size=32 scale_dtype=fp32 damp=0.01 rank=4 adapter_dtype=fp32 bid_up=%d",
                      rounds),
            &q);
        const double now = energy(&p, rest(l, &p, what, &q), delta);

        CHECK(now <= last * (1 + 1e-4));
        last = now;
    }
}

/* On average over layers: GPTQ, then the refit of its codes; the pass alone; the pass and the refit. */
static void
worth(lab *l)
{
    double gptq = 0, fitted = 0, alone = 0, both = 0;

    for (int i = 0; i < 24; i++) {
        const problem p = problem_make(l, 32, 64, 200);
        const double whole = energy(&p, p.w, 0);
        const char *common = "bits=3 group_size=-1 sym=false static_groups=true damp=0.01";
        ql_qlinear q;
        const double *what = lab_quantize(l, &p, "gptq", common, &q);
        double *e = rest(l, &p, what, &q);

        gptq += energy(&p, e, 0) / whole;
        REQUIRE_OK(&l->cx, ql_reconstruct(&l->cx, p.tw, lab_put(l, p.m, p.n, lab_decode(l, &q)),
                                          &(ql_lowrank_spec){.h = p.stats.h, .rank = 8}, &q.b, &q.a));
        fitted += energy(&p, rest(l, &p, what, &q), 0) / whole;
        what = lab_quantize(l, &p, "gptq_lora", ql_format(&l->cx, "%s rank=8 refit=false", common), &q);
        alone += energy(&p, rest(l, &p, what, &q), 0) / whole;
        what = lab_quantize(l, &p, "gptq_lora", ql_format(&l->cx, "%s rank=8", common), &q);
        both += energy(&p, rest(l, &p, what, &q), 0) / whole;
    }
    printf("relative energy: gptq %.5f, with the refit %.5f; the pass %.5f, with the refit %.5f\n", gptq / 24,
           fitted / 24, alone / 24, both / 24);
    CHECK(both < fitted);
    CHECK(both < alone);
    CHECK(alone < gptq);
}

/* Inputs of low rank, dead columns, no inputs at all, a weight of zeros: finite, and said. */
static void
odd_inputs(lab *l)
{
    for (int i = 0; i < 8; i++) {
        const int64_t n = lab_int(l, 3, 40);
        problem p = problem_make(l, lab_int(l, 1, 12), n, i == 1 ? 2 : 60);
        ql_qlinear q;
        const double *e;

        for (int64_t k = 0; k < p.tokens * n; k++)
            p.x[k] = i == 2 && k % n == 1 ? 0 : i == 3 ? 0 : p.x[k];
        problem_stats(l, &p);
        for (int64_t k = 0; i == 4 && k < p.m * n; k++)
            p.w[k] = 0;
        p.tw = lab_put(l, p.m, n, p.w);
        e = rest(l, &p, lab_quantize(l, &p, "gptq_lora", "bits=2 scale_dtype=fp32 rank=64 bid_up=1", &q), &q);
        CHECK(isfinite(energy(&p, e, 0)));
        CHECK(!q.b || ql_dim(q.b, 1) <= n);
        CHECK_INT((q.status & QL_NUM_DEAD) != 0, i == 2 || i == 3);
        CHECK_INT(q.dead, i == 2 ? 1 : i == 3 ? n : 0);
    }
}

int
main(void)
{
    static lab l;
    static void (*const cases[])(lab *) = {rank_zero_is_gptq, pass_as_written, moves_as_written,
                                           moves_never_raise, worth,           odd_inputs};

    lab_open(&l);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int round = 0; round < (cases[i] == worth ? 1 : 6); round++) {
            lab_begin(&l);
            cases[i](&l);
            lab_end(&l);
        }
    return lab_close(&l);
}
