/* Rounding to nearest: the invariants of docs/methods.md 2.1 that hold for the whole method (bounds and codes: kernels.groups). */
#include "method.h"

typedef struct settings {
    int64_t m, n;
    const char *text;
    bool sym, search;
} settings;

static settings
random_settings(lab *l)
{
    settings s = {.m = lab_int(l, 1, 20), .n = lab_int(l, 1, 90), .sym = lab_int(l, 0, 1), .search = lab_int(l, 0, 1)};

    s.text = ql_format(&l->cx, "bits=%d group_size=%lld sym=%s mse=%s scale_dtype=%s", (int)lab_int(l, 2, 8),
                       (long long)(lab_int(l, 0, 2) ? lab_int(l, 1, 40) : -1), s.sym ? "true" : "false",
                       s.search ? "2" : "0", lab_int(l, 0, 1) ? "bf16" : "fp32");
    return s;
}

static double *
normal(lab *l, int64_t count)
{
    double *w = lab_doubles(l, count);

    for (int64_t i = 0; i < count; i++)
        w[i] = test_normal(&l->rng);
    return w;
}

static problem
weight(lab *l, const settings *s, double *w)
{
    problem p = {.m = s->m, .n = s->n, .w = w};

    p.tw = lab_put(l, s->m, s->n, w);
    return p;
}

/* Rows are independent of each other; W -> 2 W scales W^ by 2; codes of W^ on the same grid are those of W. */
static void
invariants(lab *l)
{
    const settings s = random_settings(l);
    const int64_t count = s.m * s.n, shift = lab_int(l, 0, s.m - 1) * s.n;
    double *w = normal(l, count), *moved = lab_doubles(l, count), *twice = lab_doubles(l, count), *what, *got;
    ql_qlinear q, again;
    problem p = weight(l, &s, w);

    what = lab_quantize(l, &p, "rtn", s.text, &q);
    for (int64_t i = 0; i < count; i++) {
        moved[(i + shift) % count] = w[i];
        twice[i] = 2 * w[i];
    }
    p = weight(l, &s, moved);
    got = lab_quantize(l, &p, "rtn", s.text, &again);
    for (int64_t i = 0; i < count; i++)
        CHECK_NEAR(got[(i + shift) % count], what[i], 0);
    p = weight(l, &s, twice);
    got = lab_quantize(l, &p, "rtn", s.text, &again);
    for (int64_t i = 0; i < count; i++)
        CHECK_NEAR(got[i], 2 * what[i], 0);
    again = q;
    REQUIRE_OK(&l->cx, ql_group_encode(&l->cx, lab_put(l, s.m, s.n, memcpy(moved, what, (size_t)count * sizeof *what)),
                                       &again));
    CHECK(memcmp(lab_get(l, again.codes), lab_get(l, q.codes), (size_t)count * sizeof *what) == 0);
    if (!s.sym && !s.search &&
        strstr(s.text, "fp32")) { /* and with a grid of its own: the ends of the range are on it */
        p = weight(l, &s, moved);
        CHECK_NEAR(lab_distance(lab_quantize(l, &p, "rtn", s.text, &again), what, count), 0, 1e-6);
    }
}

/* More bits, less error; the symmetric grid holds weights of one sign, too. */
static void
widths(lab *l)
{
    const int64_t m = lab_int(l, 1, 20), n = lab_int(l, 30, 90), count = m * n;
    double *w = normal(l, count), before = INFINITY;
    const settings s = {.m = m, .n = n};
    ql_qlinear q;
    problem p;

    for (int64_t i = 0; i < count; i++)
        w[i] = i / n % 2 ? fabs(w[i]) : w[i];
    p = weight(l, &s, w);
    for (int bits = 2; bits <= 8; bits += 2) {
        double *got = lab_quantize(
            l, &p, "rtn", ql_format(&l->cx, "bits=%d sym=%s scale_dtype=fp32", bits, m % 2 ? "true" : "false"), &q);
        double worst = 0;

        for (int64_t i = 0; i < count; i++)
            worst = fmax(worst, fabs(got[i] - w[i]));
        CHECK(worst < before);
        before = worst;
    }
    CHECK(before < 0.03);
}

int
main(void)
{
    static lab l;

    lab_open(&l);
    for (int i = 0; i < 80; i++) {
        lab_begin(&l);
        (i % 4 ? invariants : widths)(&l);
        lab_end(&l);
    }
    return lab_close(&l);
}
