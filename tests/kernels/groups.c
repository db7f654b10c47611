/* Group grids and the feedback sweep against their plain definitions and the invariants of docs/methods.md 2.1 and 3.2. */
#include "kernel.h"

static plain_grid
random_grid(kernel *k, int64_t n, bool fp64)
{
    static const ql_dtype dtypes[] = {QL_F16, QL_BF16, QL_F32};
    ql_grid g = {.bits = (int)k_int(k, 2, 8),
                 .group = k_int(k, 0, 3) ? k_size(k, n) : n,
                 .sym = k_int(k, 0, 1) != 0,
                 .scale_dtype = dtypes[k_int(k, 0, 2)],
                 .fp64 = fp64};

    if ((g.group < 32 || n % g.group) && g.scale_dtype == QL_F16) /* the feedback can leave a small group nearly zero */
        g.scale_dtype = QL_BF16;
    return (plain_grid){g, !fp64};
}

static int64_t
groups_of(const plain_grid *g, int64_t n)
{
    return (n + g->grid.group - 1) / g->grid.group;
}

/* Normal weights with some rows of one sign, some of zeros, and values on the ties of the symmetric grid. */
static double *
weights(kernel *k, int64_t m, int64_t n)
{
    double *w = k_normal(k, m * n);

    for (int64_t i = 0; i < m; i++) {
        int64_t kind = k_int(k, 0, 7);

        for (int64_t j = 0; j < n; j++)
            if (kind <= 3)
                w[i * n + j] = kind == 0   ? 0
                               : kind == 1 ? fabs(w[i * n + j])
                               : kind == 2 ? -fabs(w[i * n + j])
                                           : rint(w[i * n + j] * 4);
    }
    return w;
}

static void
minmax_encode_decode(kernel *k)
{
    int64_t m = k_size(k, 70), n = k_size(k, 300), count;
    plain_grid g = random_grid(k, n, k_int(k, 0, 1) != 0);
    double *w = weights(k, m, n), *scales, *zeros, *codes, *back;
    ql_qlinear q = {.grid = g.grid};
    ql_tensor *tw, *tb;

    if (k_int(k, 0, 3) == 0)
        q.grid.mse = g.grid.mse = k_int(k, 0, 1) ? 2 : 2.4;
    count = groups_of(&g, n);
    scales = k_doubles(k, m * count);
    zeros = k_doubles(k, m * count);
    codes = k_doubles(k, m * n);
    back = k_doubles(k, m * n);
    tw = k_put(k, g.grid.fp64 ? QL_F64 : QL_F32, m, n, w);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            int64_t c = j / g.grid.group, at = i * count + c;

            if (j % g.grid.group == 0)
                plain_fit(&g, w + i * n + j, n - j < g.grid.group ? n - j : g.grid.group, &scales[at], &zeros[at]);
            codes[i * n + j] = plain_code(&g, w[i * n + j], scales[at], zeros[at]);
            back[i * n + j] = scales[at] * (codes[i * n + j] - zeros[at]);
        }
    REQUIRE_OK(k->cx, ql_group_minmax(k->cx, tw, &q.grid, &q.scales, &q.zeros));
    if (g.grid.mse > 0 && !g.grid.fp64) { /* sums of rounded terms may choose the neighbour of equal worth */
        REQUIRE_OK(k->cx, ql_group_encode(k->cx, tw, &q));
        return;
    }
    k_close(k, k_get(k, q.scales), scales, m * count, 0, 0);
    k_close(k, k_get(k, q.zeros), zeros, m * count, 0, 0);
    REQUIRE_OK(k->cx, ql_group_encode(k->cx, tw, &q));
    k_close(k, k_get(k, q.codes), codes, m * n, 0, 0);
    REQUIRE_OK(k->cx, ql_group_decode(k->cx, &q, &tb));
    k_close(k, k_get(k, tb), back, m * n, g.grid.fp64 ? 0 : 0x1p-24, 0);
}

/* |W^ - W| <= s / 2 inside the range, zero stays zero, and a search makes it no worse in the norm that it searched. */
static void
bounds(kernel *k)
{
    int64_t m = k_size(k, 70), n = k_size(k, 300), count;
    plain_grid g = random_grid(k, n, false);
    double *w = weights(k, m, n), *s, *b, plain = 0, searched = 0;
    ql_qlinear q = {.grid = g.grid};
    ql_tensor *tw = k_put(k, QL_F32, m, n, w), *tb;

    count = groups_of(&g, n);
    REQUIRE_OK(k->cx, ql_group_minmax(k->cx, tw, &q.grid, &q.scales, &q.zeros));
    REQUIRE_OK(k->cx, ql_group_encode(k->cx, tw, &q));
    REQUIRE_OK(k->cx, ql_group_decode(k->cx, &q, &tb));
    s = k_get(k, q.scales);
    b = k_get(k, tb);
    for (int64_t i = 0; i < m * n; i++) {
        double scale = s[i / n * count + i % n / g.grid.group], ends = k_eps(g.grid.scale_dtype) * (1 << g.grid.bits);

        if (fabs(b[i] - w[i]) > scale * (0.5 + 1e-5 + ends)) /* a rounded scale moves the ends of the range */
            TEST_FAIL("weight %.9g decodes to %.9g, further than half the scale %.9g", w[i], b[i], scale);
        CHECK(w[i] != 0 || b[i] == 0);
        plain += (b[i] - w[i]) * (b[i] - w[i]);
    }
    q.grid.mse = 2;
    REQUIRE_OK(k->cx, ql_group_minmax(k->cx, tw, &q.grid, &q.scales, &q.zeros));
    REQUIRE_OK(k->cx, ql_group_encode(k->cx, tw, &q));
    REQUIRE_OK(k->cx, ql_group_decode(k->cx, &q, &tb));
    b = k_get(k, tb);
    for (int64_t i = 0; i < m * n; i++)
        searched += (b[i] - w[i]) * (b[i] - w[i]);
    CHECK(searched <= plain * (1 + 1e-5));
}

static void
levels_and_index(kernel *k)
{
    int64_t m = k_size(k, 20), n = k_size(k, 70), group = k_size(k, n), count = (n + group - 1) / group;
    double *w = k_normal(k, m * n), *level = k_normal(k, 4), *s = k_normal(k, m * count), *g = k_doubles(k, n), *got,
           *back;
    ql_qlinear q = {.grid = {.bits = 2, .group = group, .scale_dtype = QL_F32}};
    ql_tensor *tw, *tb;

    for (int64_t i = 0; i < m * count; i++)
        s[i] = 0.1 + fabs(s[i]);
    for (int64_t j = 0; j < n; j++)
        g[j] = (double)k_int(k, 0, count - 1);
    tw = k_put(k, QL_F32, m, n, w);
    q.levels = k_put(k, QL_F32, 4, -1, level);
    q.scales = k_put(k, QL_F32, m, count, s);
    q.g_idx = k_put(k, QL_I32, n, -1, g);
    REQUIRE_OK(k->cx, ql_group_encode(k->cx, tw, &q));
    REQUIRE_OK(k->cx, ql_group_decode(k->cx, &q, &tb));
    got = k_get(k, q.codes);
    back = k_get(k, tb);
    for (int64_t i = 0; i < m * n; i++) {
        double scale = s[i / n * count + (int64_t)g[i % n]], v = (double)(float)(w[i] / scale), best = INFINITY;
        int code = 0;

        for (int c = 0; c < 4; c++)
            if ((double)fabsf((float)(v - level[c])) < best) {
                best = (double)fabsf((float)(v - level[c]));
                code = c;
            }
        CHECK_INT(got[i], code);
        CHECK_NEAR(back[i], scale * level[code], 1e-6 * fabs(scale));
    }
    g[n - 1] = (double)count;
    q.g_idx = k_put(k, QL_I32, n, -1, g);
    CHECK_ERROR(k->cx, ql_group_decode(k->cx, &q, &tb), QL_INVALID, "is outside 0 .. ");
}

static void
refusals(kernel *k)
{
    double w[40] = {0};
    ql_grid g = {.bits = 4, .group = 8, .sym = true, .scale_dtype = QL_F16};
    ql_tensor *t, *s, *z;

    w[13] = NAN;
    t = k_put(k, QL_F32, 4, 10, w);
    CHECK_ERROR(k->cx, ql_group_minmax(k->cx, t, &g, &s, &z), QL_NUMERIC,
                "the weight in row 1, column 3 is not finite");
}

/* Groups at the ends of what a dtype of scales can hold, beside ordinary ones, which they leave alone. */
static void
ends_of_scales(kernel *k, ql_dtype dtype, bool sym)
{
    /* a row a group: ordinary, fp16's subnormal scales, below any scale of fp16, of fp32, beyond fp16, beyond fp32, constant, empty */
    static const double size[8] = {1, 2e-5, 1e-9, 1e-40, 1e7, 1e38, 0, 0};
    ql_qlinear q = {.grid = {.bits = 3, .group = 8, .sym = sym, .scale_dtype = dtype}};
    const double smallest = dtype == QL_F16 ? 0x1p-24 : 0x1p-126, largest = dtype == QL_F16 ? 65504 : 0x1p119;
    const double steps = sym ? 3.5 : 7; /* a symmetric grid spans [-max, max] */
    double *w = k_normal(k, 64), *what;
    unsigned expected = 0;
    ql_tensor *t;

    for (int i = 0; i < 64; i++)
        w[i] = i / 8 == 6 ? 0.3 : w[i] * size[i / 8];
    for (int r = 0; r < 8; r++) {
        const double range = (r == 6 ? 0.3 : size[r]) / steps;

        if (r != 6)
            w[8 * r] = size[r]; /* the largest of its row; the others lie between it and 0 */
        for (int i = 1; i < 8 && r != 6; i++)
            w[8 * r + i] = fmin(fabs(w[8 * r + i]), size[r]);
        expected |= r < 6 && range < smallest / 2 ? QL_NUM_TINY : 0u;
        expected |= range > largest * 1.001 ? QL_NUM_CLIPPED : 0u;
    }
    t = k_put(k, QL_F32, 8, 8, w);
    k->cx->remarks = 0;
    REQUIRE_OK(k->cx, ql_group_minmax(k->cx, t, &q.grid, &q.scales, &q.zeros));
    CHECK_INT((int)k->cx->remarks, (int)expected);
    REQUIRE_OK(k->cx, ql_group_encode(k->cx, t, &q));
    REQUIRE_OK(k->cx, ql_group_decode(k->cx, &q, &t));
    what = k_get(k, t);
    for (int i = 0; i < 64; i++) {
        const int r = i / 8;
        const double range = (r == 6 ? 0.3 : size[r]) / steps;

        CHECK(isfinite(what[i]));
        if (range < smallest / 2)
            CHECK_NEAR(what[i], 0, 0);
        else if (
            range <=
            largest) /* half a step, and the rounding of a scale: at most half of the smallest subnormal, seven times */
            CHECK_NEAR(what[i], w[i], range / 2 + 7 * fmax(smallest / 2, range / 256));
    }
}

static void
scales_at_their_ends(kernel *k)
{
    static const ql_dtype dtypes[] = {QL_F16, QL_BF16, QL_F32};

    for (int i = 0; i < 6; i++)
        ends_of_scales(k, dtypes[i / 2], i % 2);
}

/* H of correlated inputs, damped; u becomes the upper factor of its inverse, H^-1 = U^T U. */
static double *
factor(kernel *k, int64_t n, double **hessian)
{
    int64_t t = 2 * n + 5;
    double *x = k_normal(k, t * n), *h = k_doubles(k, n * n), *u = k_doubles(k, n * n), mean = 0;

    for (int64_t i = 1; i < t * n; i++)
        x[i] += i % n ? 0.7 * x[i - 1] : 0;
    plain_gram(t, n, x, h);
    for (int64_t i = 0; i < n; i++)
        mean += h[i * n + i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        h[i * n + i] += 0.05 * mean;
    for (int64_t i = 0; i < n; i++) /* reversed: J H J = L L^T, R = J L J, U = R^-1 */
        for (int64_t j = 0; j < n; j++)
            u[(n - 1 - i) * n + n - 1 - j] = h[i * n + j];
    CHECK(plain_potrf(n, u));
    plain_trtri(n, u);
    for (int64_t i = 0; i < n * n / 2; i++) {
        double swap = u[i];

        u[i] = u[n * n - 1 - i];
        u[n * n - 1 - i] = swap;
    }
    if (hessian)
        *hessian = h;
    return u;
}

typedef struct swept {
    ql_qlinear q;
    double *codes, *scales, *zeros, *error; /* error: W - W^ */
} swept;

static swept
run_sweep(kernel *k, const plain_grid *g, const double shape[2], const double *w, const double *u)
{
    int64_t m = (int64_t)shape[0], n = (int64_t)shape[1];
    ql_dtype d = g->grid.fp64 ? QL_F64 : QL_F32;
    double *cw = k_doubles(k, m * n), *cu = k_doubles(k, n * n);
    swept s = {.q = {.grid = g->grid}};
    ql_tensor *back;

    memcpy(cw, w, (size_t)(m * n) * sizeof *w);
    memcpy(cu, u, (size_t)(n * n) * sizeof *u);
    REQUIRE_OK(k->cx, ql_feedback_sweep(k->cx, k_put(k, d, m, n, cw), k_put(k, d, n, n, cu), NULL, &s.q));
    REQUIRE_OK(k->cx, ql_group_decode(k->cx, &s.q, &back));
    s.codes = k_get(k, s.q.codes);
    s.scales = k_get(k, s.q.scales);
    s.zeros = k_get(k, s.q.zeros);
    s.error = k_get(k, back);
    for (int64_t i = 0; i < m * n; i++)
        s.error[i] = cw[i] - s.error[i];
    return s;
}

/* fp64: codes, scales and zeros equal the plain loop to the bit. */
static void
sweep_double(kernel *k)
{
    int64_t m = k_size(k, 70), n = k_size(k, 257), count;
    plain_grid g = random_grid(k, n, true);
    double *w = weights(k, m, n), *u = factor(k, n, NULL), loss;
    plain_sweep p = {g, m, n, k_doubles(k, m * n), u, NULL, true, k_doubles(k, m * n), NULL, NULL, NULL};
    swept s = run_sweep(k, &g, (const double[]){(double)m, (double)n}, w, u);

    count = groups_of(&g, n);
    p.scales = k_doubles(k, m * count);
    p.zeros = k_doubles(k, m * count);
    memcpy(p.w, w, (size_t)(m * n) * sizeof *w);
    loss = plain_feedback_sweep(&p);
    k_close(k, s.codes, p.codes, m * n, 0, 0);
    k_close(k, s.scales, p.scales, m * count, 0, 0);
    k_close(k, s.zeros, p.zeros, m * count, 0, 0);
    CHECK_NEAR(s.q.loss, loss, 1e-12 * loss);
}

static double
quad(kernel *k, int64_t m, int64_t n, const double *e, const double *h)
{
    double *eh = k_doubles(k, m * n), sum = 0;

    plain_gemm(QL_NN, (const int64_t[]){m, n, n}, 1, e, h, 0, eh);
    for (int64_t i = 0; i < m * n; i++)
        sum += e[i] * eh[i];
    return sum;
}

/* E = Err U, so 1/2 ||Err||^2 is 1/2 tr(E H E^T) whatever the codes; and the loss is that of the double loop as far as near-ties,
 * which rounding flips, average out over rows. */
static void
sweep_single(kernel *k)
{
    int64_t m = k_size(k, 300), n = k_size(k, 300);
    plain_grid g = random_grid(k, n, false), exact = g;
    double *w = weights(k, m, n), *h, *u = factor(k, n, &h), both;
    double shape[2] = {(double)m, (double)n};
    swept s = run_sweep(k, &g, shape, w, u), d;

    both = quad(k, m, n, s.error, h);
    CHECK_NEAR(s.q.loss, both / 2, 1e-4 * both + 1e-12 * (double)(m * n * n)); /* weights have 24 digits */
    exact.grid.fp64 = true;
    exact.single = false;
    d = run_sweep(k, &exact, shape, w, u);
    if (m * n >= 20000)
        CHECK_NEAR(s.q.loss, d.q.loss, 0.5 / sqrt((double)m) * d.q.loss);
}

/* A diagonal H feeds nothing back: the sweep is plain rounding, to the bit. */
static void
sweep_of_a_diagonal(kernel *k)
{
    int64_t m = k_size(k, 130), n = k_size(k, 300);
    plain_grid g = random_grid(k, n, k_int(k, 0, 1) != 0);
    double *w = weights(k, m, n), *u = k_doubles(k, n * n);
    ql_qlinear q = {.grid = g.grid};
    swept s;

    for (int64_t i = 0; i < n; i++)
        u[i * n + i] = 0.1 + test_uniform(&k->rng);
    s = run_sweep(k, &g, (const double[]){(double)m, (double)n}, w, u);
    REQUIRE_OK(k->cx,
               ql_group_minmax(k->cx, k_put(k, g.grid.fp64 ? QL_F64 : QL_F32, m, n, w), &g.grid, &q.scales, &q.zeros));
    REQUIRE_OK(k->cx, ql_group_encode(k->cx, k_put(k, g.grid.fp64 ? QL_F64 : QL_F32, m, n, w), &q));
    k_close(k, s.codes, k_get(k, q.codes), m * n, 0, 0);
    k_close(k, s.scales, k_get(k, q.scales), m * groups_of(&g, n), 0, 0);
}

/* Rows in another order, U times 2 and W times 2 change nothing but the order and the scales. */
static void
sweep_is_equivariant(kernel *k)
{
    int64_t m = k_size(k, 200), n = k_size(k, 300), count;
    plain_grid g = random_grid(k, n, k_int(k, 0, 3) == 0);
    double *w = weights(k, m, n), *u = factor(k, n, NULL), *rows = k_doubles(k, m * n), *doubled = k_doubles(k, m * n);
    double *halves = k_doubles(k, n * n), shape[2] = {(double)m, (double)n}, *codes = k_doubles(k, m * n);
    int64_t shift = k_int(k, 0, m - 1);
    swept base, s;

    count = groups_of(&g, n);
    for (int64_t i = 0; i < m * n; i++) {
        w[i] = (double)(float)w[i];
        rows[(i + shift * n) % (m * n)] = w[i];
        doubled[i] = 2 * w[i];
    }
    for (int64_t i = 0; i < n * n; i++)
        halves[i] = u[i] / 2;
    base = run_sweep(k, &g, shape, w, u);
    s = run_sweep(k, &g, shape, rows, u);
    for (int64_t i = 0; i < m * n; i++)
        codes[(i + shift * n) % (m * n)] = base.codes[i];
    k_close(k, s.codes, codes, m * n, 0, 0);
    s = run_sweep(k, &g, shape, w, halves);
    k_close(k, s.codes, base.codes, m * n, 0, 0);
    CHECK_NEAR(s.q.loss, 4 * base.q.loss, 1e-9 * base.q.loss);
    s = run_sweep(k, &g, shape, doubled, u);
    for (int64_t i = 0; i < m; i++) /* a row of zeros gets the range [-1, 1] in both */
        for (int64_t j = 0; j < n; j++)
            if (s.scales[i * count + j / g.grid.group] == 2 * base.scales[i * count + j / g.grid.group])
                CHECK_INT(s.codes[i * n + j], base.codes[i * n + j]);
}

/* Given scales, in any assignment of columns to groups. */
static void
sweep_static(kernel *k)
{
    int64_t m = k_size(k, 70), n = k_size(k, 257), count;
    plain_grid g = random_grid(k, n, true);
    bool fp64 = k_int(k, 0, 1) != 0;
    double *w = weights(k, m, n), *u = factor(k, n, NULL), *idx = k_doubles(k, n), loss;
    int32_t *group_of = ql_alloc(k->cx, (size_t)n, sizeof *group_of);
    plain_sweep p = {g, m, n, NULL, u, NULL, false, k_doubles(k, m * n), NULL, NULL, NULL};
    ql_qlinear q = {.grid = g.grid};
    ql_tensor *tw, *index = NULL;

    count = groups_of(&g, n);
    q.grid.fp64 = fp64;
    for (int64_t j = 0; j < n; j++)
        idx[j] = group_of[j] = (int32_t)k_int(k, 0, count - 1);
    tw = k_put(k, fp64 ? QL_F64 : QL_F32, m, n, w);
    REQUIRE_OK(k->cx, ql_group_minmax(k->cx, tw, &q.grid, &q.scales, &q.zeros));
    p.scales = k_get(k, q.scales);
    p.zeros = k_get(k, q.zeros);
    if (k_int(k, 0, 1)) {
        p.group_of = group_of;
        index = k_put(k, QL_I32, n, -1, idx);
    }
    p.w = w;
    REQUIRE_OK(k->cx, ql_feedback_sweep(k->cx, tw, k_put(k, fp64 ? QL_F64 : QL_F32, n, n, u), index, &q));
    loss = plain_feedback_sweep(&p);
    if (fp64)
        k_close(k, k_get(k, q.codes), p.codes, m * n, 0, 0);
    if (fp64 || m * n > 10000)
        CHECK_NEAR(q.loss, loss, (fp64 ? 1e-12 : 0.02) * loss);
}

static void
sweep_overflow(kernel *k)
{
    int64_t m = k_size(k, 40), n = 3 + k_size(k, 70);
    plain_grid g = {{.bits = 4, .group = n, .scale_dtype = QL_F32}, true};
    double *w = k_normal(k, m * n), *u = k_doubles(k, n * n);
    swept s;

    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i; j < n; j++)
            u[i * n + j] = i == j ? 1e-20 : 1e20;
    s = run_sweep(k, &g, (const double[]){(double)m, (double)n}, w, u);
    CHECK(isnan(s.q.loss));
}

/* Bit by bit, by the definition. */
static void
pack(kernel *k)
{
    const int bits = (int)k_int(k, 1, 8);
    const int64_t m = k_size(k, 70), n = k_size(k, 300), width = (n * bits + 31) / 32;
    double *codes = k_doubles(k, m * n), *words = k_doubles(k, m * width);
    ql_tensor *t;

    memset(words, 0, (size_t)(m * width) * sizeof *words);
    for (int64_t i = 0; i < m * n; i++)
        codes[i] = (double)k_int(k, 0, (1 << bits) - 1);
    t = k_put(k, QL_U8, m, n, codes);
    for (int64_t i = 0; i < m; i++)
        for (int64_t b = 0; b < n * bits; b++) /* bit 31 is the sign */
            if ((int)codes[i * n + b / bits] >> b % bits & 1)
                words[i * width + b / 32] += b % 32 == 31 ? -0x1p31 : ldexp(1, (int)(b % 32));
    REQUIRE_OK(k->cx, ql_pack(k->cx, t, bits, &t));
    CHECK_INT(ql_dim(t, 0), m);
    CHECK_INT(ql_dim(t, 1), width);
    k_close(k, k_get(k, t), words, m * width, 0, 0);
    CHECK_ERROR(k->cx, ql_pack(k->cx, t, bits, &t), QL_INVALID, "pack: codes: got i32");
    t = k_put(k, QL_U8, 1, 1, codes);
    CHECK_ERROR(k->cx, ql_pack(k->cx, t, 9, &t), QL_INVALID, "pack: 9 bits, expected 1 to 8");
}

static const kernel_case cases[] = {
    {"pack", pack},
    {"group_minmax, group_encode, group_decode", minmax_encode_decode},
    {"bounds of the rounding error", bounds},
    {"levels and group index", levels_and_index},
    {"refused weights", refusals},
    {"scales at the ends of their dtype", scales_at_their_ends},
    {"sweep, fp64", sweep_double},
    {"sweep, f32", sweep_single},
    {"sweep of a diagonal H", sweep_of_a_diagonal},
    {"sweep, equivariance", sweep_is_equivariant},
    {"sweep, given scales", sweep_static},
    {"sweep, overflow", sweep_overflow},
};

int
main(void)
{
    return k_main(cases, sizeof cases / sizeof *cases, 6);
}
