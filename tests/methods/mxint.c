/* MXINT against its definition by exponents (docs/methods.md 2.2): goldens, ties, saturation, and what commutes with it. */
#include "method.h"

static double
plain_mxint(int bits, const double *block, int64_t count, double w)
{
    const double most = ldexp(1, bits - 1) - 1;
    double top = 0, scale;

    for (int64_t j = 0; j < count; j++)
        top = fmax(top, fabs(block[j]) < 0x1p-126 ? 0 : fabs(block[j]));
    if (top == 0)
        return 0;
    scale = ldexp(1, ilogb(top) - (bits - 2));
    return copysign(fmin(rint((fabs(w) < 0x1p-126 ? 0 : fabs(w)) / scale), most) * scale, w);
}

static problem
weight(lab *l, int64_t m, int64_t n, double *w)
{
    problem p = {.m = m, .n = n, .w = w};

    p.tw = lab_put(l, m, n, w);
    return p;
}

static void
goldens(lab *l)
{
    static const double in[6] = {1.9, 1.0, 0.75, -0.25, -1.24, 0.2};
    static const double out[2][6] = {{1, 1, 1, 0, -1, 0}, {1.5, 1, 1, 0, -1, 0}};

    for (int bits = 2; bits <= 3; bits++) {
        double *w = memcpy(lab_doubles(l, 6), in, sizeof in), *got;
        const problem p = weight(l, 1, 6, w);
        ql_qlinear q;

        got = lab_quantize(l, &p, "mxint", ql_format(&l->cx, "bits=%d", bits), &q);
        for (int j = 0; j < 6; j++)
            CHECK_NEAR(got[j], out[bits - 2][j], 0);
    }
}

/* Any shape, width and block; values of all sizes, zeros, subnormals. */
static void
definition(lab *l)
{
    const int64_t m = lab_int(l, 1, 9), n = lab_int(l, 1, 70), g = lab_int(l, 0, 3) ? lab_int(l, 1, 40) : n;
    const int bits = (int)lab_int(l, 2, 8);
    double *w = lab_doubles(l, m * n), *got;
    ql_qlinear q;
    problem p;

    for (int64_t i = 0; i < m * n; i++)
        w[i] = lab_int(l, 0, 9) ? ldexp(test_normal(&l->rng), (int)lab_int(l, -4, 4)) : 0;
    if (lab_int(l, 0, 3) == 0)
        w[0] = 0x1p-140;
    p = weight(l, m, n, w);
    got = lab_quantize(l, &p, "mxint",
                       ql_format(&l->cx, "bits=%d group_size=%lld scale_dtype=fp32", bits, (long long)g), &q);
    CHECK_INT(ql_dim(q.scales, 1), (n + g - 1) / g);
    for (int64_t i = 0; i < m * n; i++) {
        const int64_t start = i % n / g * g, count = n - start < g ? n - start : g;

        CHECK_NEAR(got[i], plain_mxint(bits, w + i / n * n + start, count, w[i]), 0);
        CHECK(lab_get(l, q.codes)[i] >= 1);
    }
}

/* Idempotent, and it commutes with powers of two. */
static void
twice(lab *l)
{
    const int64_t m = lab_int(l, 1, 5), n = lab_int(l, 1, 70);
    const char *settings =
        ql_format(&l->cx, "bits=%d group_size=%lld", (int)lab_int(l, 2, 8), (long long)lab_int(l, 1, 33));
    double *w = lab_doubles(l, m * n), *got, *again;
    ql_qlinear q;
    problem p;

    for (int64_t i = 0; i < m * n; i++)
        w[i] = test_normal(&l->rng);
    p = weight(l, m, n, w);
    got = lab_quantize(l, &p, "mxint", settings, &q);
    p = weight(l, m, n, memcpy(lab_doubles(l, m * n), got, (size_t)(m * n) * sizeof *got));
    again = lab_quantize(l, &p, "mxint", settings, &q);
    CHECK(memcmp(got, again, (size_t)(m * n) * sizeof *got) == 0);
    for (int64_t i = 0; i < m * n; i++)
        w[i] *= 4;
    p = weight(l, m, n, w);
    again = lab_quantize(l, &p, "mxint", settings, &q);
    for (int64_t i = 0; i < m * n; i++)
        CHECK_NEAR(again[i], 4 * got[i], 0);
}

/* The relative errors of Gaussian data, simulated in double, blocks of 32. */
static void
gaussian(lab *l)
{
    static const double expected[][2] = {{2, 0.532}, {3, 0.264}, {4, 0.132}, {6, 0.0329}, {8, 0.0082}};
    const int64_t count = 64 * 8192;
    double *w = lab_doubles(l, count);
    problem p;

    for (int64_t i = 0; i < count; i++)
        w[i] = test_normal(&l->rng);
    p = weight(l, 64, 8192, w);
    for (int i = 0; i < 5; i++) {
        ql_qlinear q;
        double *got = lab_quantize(l, &p, "mxint", ql_format(&l->cx, "bits=%d", (int)expected[i][0]), &q);

        CHECK_NEAR(lab_distance(got, w, count), expected[i][1], 0.02 * expected[i][1]);
    }
}

static void
refusals(lab *l)
{
    double *w = lab_doubles(l, 40);
    ql_qlinear q;
    problem p;

    w[23] = NAN;
    p = (problem){.m = 4, .n = 10, .tw = lab_put(l, 4, 10, w)};
    CHECK_ERROR(&l->cx, lab_try_quantize(l, &p, "mxint", "", NULL, &q), QL_NUMERIC, "weight [2, 3] is not finite");
    w[23] = 0x1p-30;
    p = weight(l, 4, 10, w);
    CHECK_NEAR(lab_quantize(l, &p, "mxint", "bits=3", &q)[23], 0,
               0); /* its scale would be 2^-31, which fp16 does not hold */
    CHECK_NEAR(lab_quantize(l, &p, "mxint", "bits=3 scale_dtype=bf16", &q)[23], 0x1p-30, 0);
}

int
main(void)
{
    static void (*const cases[])(lab * l) = {definition, twice, definition};
    static lab l;

    lab_open(&l);
    for (int i = 0; i < 93; i++) {
        lab_begin(&l);
        if (i < 90)
            cases[i % 3](&l);
        else
            (i == 90 ? goldens : i == 91 ? gaussian : refusals)(&l);
        lab_end(&l);
    }
    return lab_close(&l);
}
