/* NormalFloat: its tables against the formula they come from, its codes against the definition (docs/methods.md 2.3). */
#include "method.h"

/* The normal quantile, by bisection. */
static double
quantile(double p)
{
    double lo = -10, hi = 10;

    for (int i = 0; i < 200; i++) {
        const double mid = (lo + hi) / 2;

        if (erfc(-mid / sqrt(2)) / 2 < p)
            lo = mid;
        else
            hi = mid;
    }
    return (lo + hi) / 2;
}

static int
by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* linspace(o, 1/2, steps + 1) without its end through the quantile, on each side; the negative side has one level fewer. */
static void
plain_table(int bits, double *t)
{
    const double o = 0.9677083;
    const int up = 1 << (bits - 1), down = up - 1;

    for (int i = 0; i < up; i++)
        t[i] = quantile(o + (0.5 - o) * i / up);
    for (int i = 0; i < down; i++)
        t[up + i] = -quantile(o + (0.5 - o) * i / down);
    t[up + down] = 0;
    qsort(t, (size_t)(up + down + 1), sizeof *t, by_value);
    for (int i = 0; i <= up + down; i++)
        t[i] /= t[up + down] > 0 && i < up + down ? t[up + down] : 1;
    t[up + down] = 1;
}

static problem
weight(lab *l, int64_t m, int64_t n, double *w)
{
    problem p = {.m = m, .n = n, .w = w};

    p.tw = lab_put(l, m, n, w);
    return p;
}

static void
definition(lab *l)
{
    static const ql_dtype dtypes[] = {QL_F16, QL_BF16, QL_F32};
    static const char *const words[] = {"fp16", "bf16", "fp32"};
    const int64_t m = lab_int(l, 1, 9), n = lab_int(l, 1, 150), g = lab_int(l, 0, 2) ? lab_int(l, 1, 70) : n;
    const int bits = (int)lab_int(l, 2, 4), dtype = (int)lab_int(l, 0, 2);
    double *w = lab_doubles(l, m * n), table[16], *got, *levels, *codes, *scales;
    ql_qlinear q;
    problem p;

    for (int64_t i = 0; i < m * n; i++)
        w[i] = lab_int(l, 0, 5) ? test_normal(&l->rng) * (double)(1 + i / n) : 0;
    p = weight(l, m, n, w);
    got = lab_quantize(
        l, &p, "nf", ql_format(&l->cx, "bits=%d group_size=%lld scale_dtype=%s", bits, (long long)g, words[dtype]), &q);
    plain_table(bits, table);
    levels = lab_get(l, q.levels);
    codes = lab_get(l, q.codes);
    scales = lab_get(l, q.scales);
    for (int c = 0; c < 1 << bits; c++)
        CHECK_NEAR(levels[c], table[c], 2e-7);
    for (int64_t i = 0; i < m * n; i++) {
        const int64_t start = i % n / g * g, count = n - start < g ? n - start : g,
                      at = i / n * ((n + g - 1) / g) + i % n / g;
        double top = 0, nearest = INFINITY;

        for (int64_t j = 0; j < count; j++)
            top = fmax(top, fabs(w[i / n * n + start + j]));
        if (top > 0)
            CHECK_NEAR(scales[at], plain_round(dtypes[dtype], top),
                       top * (dtype == 0   ? 0x1p-10
                              : dtype == 1 ? 0x1p-7
                                           : 0x1p-22));
        CHECK_NEAR(scales[at], plain_round(dtypes[dtype], scales[at]), 0);
        for (int c = 0; c < 1 << bits; c++)
            nearest = fmin(nearest, fabs(w[i] / scales[at] - levels[c]));
        CHECK_NEAR(fabs(w[i] / scales[at] - levels[(int)codes[i]]), nearest, 1e-6);
        CHECK_NEAR(got[i], scales[at] * levels[(int)codes[i]], 1e-6 * scales[at]);
        CHECK(w[i] != 0 || got[i] == 0);
    }
}

/* With fp32 scales: a weight on the grid stays where it is, a power of two passes through. */
static void
twice(lab *l)
{
    const int64_t m = lab_int(l, 1, 5), n = lab_int(l, 1, 130), count = m * n;
    const char *settings = ql_format(&l->cx, "bits=%d scale_dtype=fp32", (int)lab_int(l, 2, 4));
    double *w = lab_doubles(l, count), *got, *again;
    ql_qlinear q;
    problem p;

    for (int64_t i = 0; i < count; i++)
        w[i] = test_normal(&l->rng);
    p = weight(l, m, n, w);
    got = lab_quantize(l, &p, "nf", settings, &q);
    for (int64_t i = 0; i < count; i++)
        w[i] /= 8;
    p = weight(l, m, n, w);
    again = lab_quantize(l, &p, "nf", settings, &q);
    for (int64_t i = 0; i < count; i++)
        CHECK_NEAR(again[i], got[i] / 8, 0);
    p = weight(l, m, n, memcpy(lab_doubles(l, count), got, (size_t)count * sizeof *got));
    again = lab_quantize(l, &p, "nf", settings, &q);
    CHECK_NEAR(lab_distance(again, got, count), 0, 1e-6);
}

static void
refusals(lab *l)
{
    double *w = lab_doubles(l, 40);
    ql_qlinear q;
    problem p;

    p = weight(l, 4, 10, w);
    CHECK_ERROR(&l->cx, lab_try_quantize(l, &p, "nf", "bits=4 group_size=3", NULL, &q), QL_OK, "");
    CHECK(lab_get(l, q.scales)[5] > 0); /* any number will do for zeros */
    w[23] = 1e-9;
    p = weight(l, 4, 10, w);
    CHECK_NEAR(lab_quantize(l, &p, "nf", "bits=4 group_size=3", &q)[23], 0, 0); /* below what fp16 holds */
    CHECK_NEAR(lab_quantize(l, &p, "nf", "bits=4 scale_dtype=bf16", &q)[23], 1e-9, 1e-11);
    w[23] = 1e9;
    p = weight(l, 4, 10, w);
    CHECK_NEAR(lab_quantize(l, &p, "nf", "bits=4 group_size=3", &q)[23], 65504, 0); /* beyond it: clipped */
    w[23] = INFINITY;
    p = (problem){.m = 4, .n = 10, .tw = lab_put(l, 4, 10, w)};
    CHECK_ERROR(&l->cx, lab_try_quantize(l, &p, "nf", "bits=4", NULL, &q), QL_NUMERIC,
                "the weight in row 2, column 3 is not finite");
}

int
main(void)
{
    static lab l;

    lab_open(&l);
    for (int i = 0; i < 61; i++) {
        lab_begin(&l);
        (i == 60 ? refusals : i % 2 ? twice : definition)(&l);
        lab_end(&l);
    }
    return lab_close(&l);
}
