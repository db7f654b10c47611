/* What the methods mean: dense algebra in double by the slowest and most obvious ways, and the published forms of the low-rank
 * methods, with roots and inverses, that the code under test avoids. Arrays are row-major. */
#ifndef QLOOM_TESTS_METHODS_PLAIN_H
#define QLOOM_TESTS_METHODS_PLAIN_H

#include "kernels/plain.h"
#include "test.h"

static inline double *
plain_array(int64_t count)
{
    double *x = calloc((size_t)(count > 0 ? count : 1), sizeof *x);

    if (!x)
        abort();
    return x;
}

static inline double *
plain_copy(const double *x, int64_t count)
{
    return memcpy(plain_array(count), x, (size_t)count * sizeof *x);
}

/* op(a) op(b), new; m, n, k as in plain_gemm. */
static inline double *
plain_product(ql_trans op, int64_t m, int64_t n, int64_t k, const double *a, const double *b)
{
    double *c = plain_array(m * n);

    plain_gemm(op, (const int64_t[]){m, n, k}, 1, a, b, 0, c);
    return c;
}

/* x - y, new. */
static inline double *
plain_minus(const double *x, const double *y, int64_t count)
{
    double *d = plain_copy(x, count);

    for (int64_t i = 0; i < count; i++)
        d[i] -= y[i];
    return d;
}

static inline double
plain_dot(const double *x, const double *y, int64_t count)
{
    double sum = 0;

    for (int64_t i = 0; i < count; i++)
        sum += x[i] * y[i];
    return sum;
}

/* tr(E H E^T); h NULL: the identity. */
static inline double
plain_quad(int64_t m, int64_t n, const double *e, const double *h)
{
    double *eh = h ? plain_product(QL_NN, m, n, n, e, h) : plain_copy(e, m * n), sum = plain_dot(eh, e, m * n);

    free(eh);
    return sum;
}

/* One rotation of the cyclic Jacobi method, that makes a[p, q] zero; v collects rotations in its rows. */
static inline void
plain_rotate(int64_t n, double *a, double *v, int64_t p, int64_t q)
{
    const double theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
    const double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1)), c = 1 / sqrt(t * t + 1), s = t * c;

    for (int64_t i = 0; i < n; i++) {
        const double x = a[i * n + p], y = a[i * n + q];

        a[i * n + p] = c * x - s * y;
        a[i * n + q] = s * x + c * y;
    }
    for (int64_t i = 0; i < n; i++) {
        const double x = a[p * n + i], y = a[q * n + i], f = v[p * n + i], g = v[q * n + i];

        a[p * n + i] = c * x - s * y;
        a[q * n + i] = s * x + c * y;
        v[p * n + i] = c * f - s * g;
        v[q * n + i] = s * f + c * g;
    }
}

/* Eigenvalues of the symmetric s[n, n], falling, into w; eigenvectors as the rows of v. */
static inline void
plain_eigen(int64_t n, const double *s, double *w, double *v)
{
    double *a = plain_copy(s, n * n), off = 1, size = plain_dot(s, s, n * n);

    for (int64_t i = 0; i < n * n; i++)
        v[i] = i / n == i % n;
    for (int sweep = 0; sweep < 40 && off > 1e-30 * size; sweep++) {
        off = 0;
        for (int64_t p = 0; p < n; p++)
            for (int64_t q = p + 1; q < n; q++) {
                off += a[p * n + q] * a[p * n + q];
                if (a[p * n + q] * a[p * n + q] > 1e-36 * size)
                    plain_rotate(n, a, v, p, q);
            }
    }
    for (int64_t i = 0; i < n; i++)
        w[i] = a[i * n + i];
    for (int64_t i = 0; i < n; i++) { /* selection sort */
        int64_t best = i;

        for (int64_t j = i; j < n; j++)
            best = w[j] > w[best] ? j : best;
        for (int64_t j = 0; j < n; j++) {
            const double x = v[i * n + j];

            v[i * n + j] = v[best * n + j];
            v[best * n + j] = x;
        }
        off = w[i];
        w[i] = w[best];
        w[best] = off;
    }
    free(a);
}

/* V f(lambda) V^T of the symmetric h: the power `p` of the eigenvalues above 1e-12 of the largest, 0 of the others. */
static inline double *
plain_power(int64_t n, const double *h, double p)
{
    double *w = plain_array(n), *v = plain_array(n * n), *out = plain_array(n * n);

    plain_eigen(n, h, w, v);
    for (int64_t k = 0; k < n; k++)
        for (int64_t i = 0; w[k] > 1e-12 * w[0] && i < n; i++)
            for (int64_t j = 0; j < n; j++)
                out[i * n + j] += pow(w[k], p) * v[k * n + i] * v[k * n + j];
    free(w);
    free(v);
    return out;
}

/* The best rank-r C as published (QERA, theorem 1): top_r(E H^(1/2)) H^(-1/2); h NULL: the identity. energies (may be NULL) [n]:
 * squared singular values of E H^(1/2), falling. */
static inline double *
plain_best(int64_t m, int64_t n, int64_t r, const double *e, const double *h, double *energies)
{
    double *root = h ? plain_power(n, h, 0.5) : NULL, *back = h ? plain_power(n, h, -0.5) : NULL;
    double *x = h ? plain_product(QL_NN, m, n, n, e, root) : plain_copy(e, m * n);
    double *xx = plain_product(QL_TN, n, n, m, x, x), *w = plain_array(n), *v = plain_array(n * n), *part, *top, *c;

    r = r < n ? r : n;
    plain_eigen(n, xx, w, v);
    part = plain_product(QL_NT, m, r, n, x, v); /* x V_r, and back */
    top = plain_product(QL_NN, m, n, r, part, v);
    c = h ? plain_product(QL_NN, m, n, n, top, back) : plain_copy(top, m * n);
    for (int64_t i = 0; energies && i < n; i++)
        energies[i] = fmax(w[i], 0);
    free(root);
    free(back);
    free(x);
    free(xx);
    free(w);
    free(v);
    free(part);
    free(top);
    return c;
}

/* Energy that no correction of rank r can take from E: sum of the squared singular values of E H^(1/2) after the r-th. */
static inline double
plain_tail(int64_t m, int64_t n, int64_t r, const double *e, const double *h)
{
    double *energies = plain_array(n), sum = 0;

    free(plain_best(m, n, 0, e, h, energies));
    for (int64_t i = r; i < n; i++)
        sum += energies[i];
    free(energies);
    return sum;
}

/* U, upper with a positive diagonal, with (H + damp mean(diag H) I)^-1 = U^T U: by the inverse, then its Cholesky factor, which is
 * the published route and not that of the code under test. */
static inline double *
plain_factor(int64_t n, const double *h, double damp)
{
    double *l = plain_copy(h, n * n), *inverse, *u = plain_array(n * n), mean = 0;

    for (int64_t i = 0; i < n; i++)
        mean += h[i * n + i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        l[i * n + i] += damp * mean;
    CHECK(plain_potrf(n, l));
    plain_trtri(n, l);
    inverse = plain_product(QL_TN, n, n, n, l, l);
    CHECK(plain_potrf(n, inverse)); /* lower: its transpose is the U of A = U^T U */
    for (int64_t i = 0; i < n * n; i++)
        u[i % n * n + i / n] = inverse[i];
    free(l);
    free(inverse);
    return u;
}

/* GPTQ in double without orders: W^, new; its codes into `codes` [m, n] (may be NULL). */
static inline double *
plain_gptq(const ql_grid *grid, int64_t m, int64_t n, const double *w, const double *h, double damp, double *codes)
{
    const int64_t groups = (n + grid->group - 1) / grid->group;
    double *u = plain_factor(n, h, damp), *work = plain_copy(w, m * n), *what = plain_array(m * n);
    double *scales = plain_array(m * groups), *zeros = plain_array(m * groups), *made = plain_array(m * n);
    const plain_sweep s = {{.grid = *grid}, m, n, work, u, NULL, true, codes ? codes : made, scales, zeros, NULL};

    (void)plain_feedback_sweep(&s);
    for (int64_t i = 0; i < m * n; i++) {
        const int64_t at = i / n * groups + i % n / grid->group;

        what[i] = scales[at] * (s.codes[i] - zeros[at]);
    }
    free(u);
    free(work);
    free(scales);
    free(zeros);
    free(made);
    return what;
}

/* X^T (I - V_r V_r^T) X for the top-r right singular vectors V_r of E X^T, in token space, x[t, n] (docs/methods.md 5.1); *gap (may be
 * NULL): sigma_r / sigma_(r+1). */
static inline double *
plain_projected(int64_t m, int64_t n, int64_t t, int64_t r, const double *e, const double *x, double *gap)
{
    double *residual = plain_product(QL_NT, m, t, n, e, x), *rr = plain_product(QL_TN, t, t, m, residual, residual);
    double *w = plain_array(t), *v = plain_array(t * t), *vx, *h = plain_array(n * n), *rest = plain_copy(x, t * n);

    plain_eigen(t, rr, w, v);
    if (gap)
        *gap = r < t ? sqrt(fmax(w[r - 1], 0) / (fmax(w[r], 0) + 1e-300)) : INFINITY;
    vx = plain_product(QL_NN, r, n, t, v, x); /* only the first r rows of v are read */
    plain_gemm(QL_TN, (const int64_t[]){t, n, r}, -1, v, vx, 1, rest);
    plain_gram(t, n, rest, h);
    free(residual);
    free(rr);
    free(w);
    free(v);
    free(vx);
    free(rest);
    return h;
}

#endif
