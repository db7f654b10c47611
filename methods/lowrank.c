/* The best rank-r approximation in the norm of H (docs/methods.md 4; block Krylov spaces: Musco and Musco,
 * arXiv:1504.05477). */
#include <math.h>

#include <qloom/lowrank.h>

#define EXACT_ROWS 512 /* up to here the dense eigenproblem is cheap enough to be preferred */
#define OVERSAMPLED 12 /* columns of a block beyond the rank */
#define WIDE 40        /* columns of E to one of a block: beyond, one iteration more */
#define ITERATIONS 4   /* with which what is left is less than 1e-3 above the best, even of white noise */

/* y = x H, for a dense, diagonal or identity H. */
static ql_status
times_h(ql_ctx *cx, const ql_tensor *x, const ql_tensor *h, ql_tensor *y)
{
    if (h && ql_ndim(h) == 2)
        return ql_gemm(cx, QL_NN, 1, x, h, 0, y);
    QL_TRY(cx, ql_copy(cx, x, y));
    return h ? ql_scale_cols(cx, h, y) : QL_OK;
}

/* Eigenvectors of the symmetric t [q, q] f64 by falling eigenvalue: rows 0 .. r-1 of *p, energies clamped at 0 in sig2. */
static ql_status
top_eigen(ql_ctx *cx, ql_tensor *t, int64_t r, ql_tensor **p, double *sig2)
{
    const int64_t q = ql_dim(t, 0);
    ql_tensor *w, *index;
    int32_t *order = ql_alloc(cx, (size_t)r, sizeof *order);
    const double *values;

    if (!order)
        return QL_MEMORY;
    QL_TRY(cx, ql_new(cx, QL_F64, q, -1, &w));
    QL_TRY(cx, ql_syevd(cx, t, w));
    QL_TRY(cx, ql_map(cx, w, QL_READ, &values));
    for (int64_t i = 0; i < r; i++) {
        order[i] = (int32_t)(q - 1 - i);
        sig2[i] = fmax(values[q - 1 - i], 0);
    }
    QL_TRY(cx, ql_unmap(cx, w));
    QL_TRY(cx, ql_upload(cx, QL_I32, r, -1, order, &index));
    QL_TRY(cx, ql_gather(cx, t, index, NULL, p));
    ql_drop(cx, &w);
    ql_drop(cx, &index);
    return QL_OK;
}

/* Components of no energy are zero in U and V: their direction is noise. */
static ql_status
clear_empty(ql_ctx *cx, ql_lowrank_result *out)
{
    float *keep = ql_alloc(cx, (size_t)out->rank, sizeof *keep);
    const double floor = out->rank > 0 ? out->sig2[0] * 1e-14 : 0;
    bool any = false;
    ql_tensor *mask;

    if (!keep)
        return QL_MEMORY;
    for (int64_t i = 0; i < out->rank; i++) {
        keep[i] = out->sig2[i] > floor;
        any = any || keep[i] == 0;
    }
    if (!any)
        return QL_OK;
    QL_TRY(cx, ql_upload(cx, QL_F32, out->rank, -1, keep, &mask));
    QL_TRY(cx, ql_scale_cols(cx, mask, out->u));
    QL_TRY(cx, ql_scale_rows(cx, mask, out->v));
    ql_drop(cx, &mask);
    return QL_OK;
}

/* T = E H E^T and its eigenvectors, all in double. */
static ql_status
exact(ql_ctx *cx, const ql_tensor *e, const ql_tensor *h, double *sig2, ql_lowrank_result *out)
{
    const int64_t m = ql_dim(e, 0);
    ql_tensor *e64, *h64 = NULL, *eh, *t, *p, *p32;

    QL_TRY(cx, ql_convert(cx, e, QL_F64, &e64));
    if (h)
        QL_TRY(cx, ql_convert(cx, h, QL_F64, &h64));
    QL_TRY(cx, ql_new(cx, QL_F64, m, ql_dim(e, 1), &eh));
    QL_TRY(cx, times_h(cx, e64, h64, eh));
    QL_TRY(cx, ql_new(cx, QL_F64, m, m, &t));
    QL_TRY(cx, ql_gemm(cx, QL_NT, 1, eh, e64, 0, t));
    ql_drop(cx, &e64);
    ql_drop(cx, &h64);
    ql_drop(cx, &eh);
    QL_TRY(cx, top_eigen(cx, t, out->rank, &p, sig2));
    QL_TRY(cx, ql_convert(cx, p, QL_F32, &p32));
    QL_TRY(cx, ql_transpose(cx, p32, &out->u));
    QL_TRY(cx, ql_new(cx, QL_F32, out->rank, ql_dim(e, 1), &out->v));
    QL_TRY(cx, ql_gemm(cx, QL_NN, 1, p32, e, 0, out->v));
    ql_drop(cx, &t);
    ql_drop(cx, &p);
    ql_drop(cx, &p32);
    return QL_OK;
}

/* y = E H E^T z for z [m, p]: three products with p rows or columns. */
static ql_status
apply(ql_ctx *cx, const ql_tensor *e, const ql_tensor *h, const ql_tensor *z, ql_tensor *y)
{
    const int64_t p = ql_dim(z, 1), n = ql_dim(e, 1);
    ql_tensor *b, *bh;

    QL_TRY(cx, ql_new(cx, QL_F32, p, n, &b));
    QL_TRY(cx, ql_gemm(cx, QL_TN, 1, z, e, 0, b));
    QL_TRY(cx, ql_new(cx, QL_F32, p, n, &bh));
    QL_TRY(cx, times_h(cx, b, h, bh));
    QL_TRY(cx, ql_gemm(cx, QL_NT, 1, e, bh, 0, y));
    ql_drop(cx, &b);
    ql_drop(cx, &bh);
    return QL_OK;
}

/* Makes the columns [first, first + p) of z orthonormal, to all before too. Twice, since what the first time leaves of a block almost
 * in their span is mostly rounding. */
static ql_status
orthonormal_block(ql_ctx *cx, ql_tensor *z, int64_t first, ql_tensor *block)
{
    ql_tensor *before, *inside;

    if (first == 0)
        return ql_orth(cx, block);
    QL_TRY(cx, ql_cols(cx, z, 0, first, &before));
    QL_TRY(cx, ql_new(cx, QL_F32, first, ql_dim(block, 1), &inside));
    for (int i = 0; i < 2; i++) {
        QL_TRY(cx, ql_gemm(cx, QL_TN, 1, before, block, 0, inside));
        QL_TRY(cx, ql_gemm(cx, QL_NN, -1, before, inside, 1, block));
        QL_TRY(cx, ql_orth(cx, block));
    }
    ql_drop(cx, &inside);
    ql_drop(cx, &before);
    return QL_OK;
}

/* Block Krylov space of G = E H E^T, blocks of p columns, from a random sketch: an orthonormal basis z [m, q], and G z. All blocks are
 * kept: for the same residual that takes a third of the products of subspace iteration, which keeps the last. */
static ql_status
krylov(ql_ctx *cx, const ql_tensor *e, const ql_tensor *h, int64_t p, ql_tensor *z, ql_tensor *gz)
{
    ql_tensor *source, *block;

    QL_TRY(cx, ql_new(cx, QL_F32, ql_dim(e, 0), p, &source));
    QL_TRY(cx, ql_random(cx, QL_SKETCH, source));
    for (int64_t first = 0; first < ql_dim(z, 1); first += p) {
        QL_TRY(cx, ql_cols(cx, z, first, p, &block));
        if (first == 0)
            QL_TRY(cx, apply(cx, e, h, source, block));
        else
            QL_TRY(cx, ql_copy(cx, source, block));
        ql_drop(cx, &source);
        QL_TRY(cx, orthonormal_block(cx, z, first, block));
        QL_TRY(cx, ql_cols(cx, gz, first, p, &source));
        QL_TRY(cx, apply(cx, e, h, block, source));
        ql_drop(cx, &block);
    }
    ql_drop(cx, &source);
    return QL_OK;
}

/* The best of that space: eigenvectors of T = z^T G z, in double. */
static ql_status
randomized(ql_ctx *cx, const ql_tensor *e, const ql_tensor *h, const int64_t size[2], double *sig2,
           ql_lowrank_result *out)
{
    const int64_t m = ql_dim(e, 0), p = size[0], q = p * size[1];
    ql_tensor *z, *gz, *t, *t64, *vectors, *p32, **const done[] = {&z, &gz, &t, &t64, &vectors, &p32};

    QL_TRY(cx, ql_new(cx, QL_F32, m, q, &z));
    QL_TRY(cx, ql_new(cx, QL_F32, m, q, &gz));
    QL_TRY(cx, krylov(cx, e, h, p, z, gz));
    QL_TRY(cx, ql_new(cx, QL_F32, q, q, &t));
    QL_TRY(cx, ql_gemm(cx, QL_TN, 1, z, gz, 0, t));
    QL_TRY(cx, ql_convert(cx, t, QL_F64, &t64));
    QL_TRY(cx, top_eigen(cx, t64, out->rank, &vectors, sig2));
    QL_TRY(cx, ql_convert(cx, vectors, QL_F32, &p32));
    QL_TRY(cx, ql_new(cx, QL_F32, m, out->rank, &out->u));
    QL_TRY(cx, ql_gemm(cx, QL_NT, 1, z, p32, 0, out->u));
    QL_TRY(cx, ql_new(cx, QL_F32, out->rank, ql_dim(e, 1), &out->v));
    QL_TRY(cx, ql_gemm(cx, QL_TN, 1, out->u, e, 0, out->v));
    for (size_t i = 0; i < sizeof done / sizeof *done; i++)
        ql_drop(cx, done[i]);
    return QL_OK;
}

/* tr(E H E^T). */
static ql_status
energy(ql_ctx *cx, const ql_tensor *e, const ql_tensor *h, double *out)
{
    ql_tensor *eh;

    if (h && ql_ndim(h) == 2)
        return ql_quad(cx, e, h, out);
    QL_TRY(cx, ql_new(cx, ql_dtype_of(e), ql_dim(e, 0), ql_dim(e, 1), &eh));
    QL_TRY(cx, times_h(cx, e, h, eh));
    QL_TRY(cx, ql_dot(cx, eh, e, out));
    ql_drop(cx, &eh);
    return QL_OK;
}

ql_status
ql_lowrank(ql_ctx *cx, const ql_tensor *e, const ql_lowrank_spec *spec, ql_lowrank_result *out)
{
    const int64_t m = ql_dim(e, 0), n = ql_dim(e, 1), least = m < n ? m : n;
    const int64_t r = spec->rank < least ? spec->rank : least;
    const int64_t p = r + OVERSAMPLED, iterations = ITERATIONS + (least > WIDE * p);
    int64_t size[] = {p, 1 + (spec->iterations > 0 ? spec->iterations : iterations)};
    double *sig2 = ql_alloc(cx, (size_t)(r > 0 ? r : 1), sizeof *sig2);

    if (!sig2)
        return QL_MEMORY;
    *out = (ql_lowrank_result){.rank = r, .sig2 = sig2};
    if (spec->total)
        QL_TRY(cx, energy(cx, e, spec->h, &out->total));
    if (r < 1)
        return QL_OK;
    if (size[0] * size[1] >= least) { /* a block as wide as E spans all of it */
        size[0] = least;
        size[1] = 1;
    }
    if (spec->exact || m <= EXACT_ROWS || size[0] >= m)
        QL_TRY(cx, exact(cx, e, spec->h, sig2, out));
    else
        QL_TRY(cx, randomized(cx, e, spec->h, size, sig2, out));
    return clear_empty(cx, out);
}

/* sqrt of the norm of each row of v, and its inverse (0 where the row is empty), on the device. */
static ql_status
row_scales(ql_ctx *cx, const ql_tensor *v, ql_tensor **d, ql_tensor **inverse)
{
    const int64_t r = ql_dim(v, 0);
    float *norms, *scale = ql_alloc(cx, (size_t)r, sizeof *scale), *back = ql_alloc(cx, (size_t)r, sizeof *back);
    ql_tensor *vv, *squares;

    if (!scale || !back)
        return QL_MEMORY;
    QL_TRY(cx, ql_new(cx, QL_F32, r, r, &vv));
    QL_TRY(cx, ql_gemm(cx, QL_NT, 1, v, v, 0, vv));
    QL_TRY(cx, ql_diag(cx, vv, &squares));
    QL_TRY(cx, ql_map(cx, squares, QL_READ, &norms));
    for (int64_t i = 0; i < r; i++) {
        scale[i] = sqrtf(sqrtf(norms[i]));
        back[i] = scale[i] > 0 ? 1 / scale[i] : 0;
    }
    QL_TRY(cx, ql_unmap(cx, squares));
    QL_TRY(cx, ql_upload(cx, QL_F32, r, -1, scale, d));
    return ql_upload(cx, QL_F32, r, -1, back, inverse);
}

ql_status
ql_balance(ql_ctx *cx, const ql_tensor *u, const ql_tensor *v, ql_tensor **b, ql_tensor **a)
{
    ql_tensor *d, *inverse;

    QL_TRY(cx, row_scales(cx, v, &d, &inverse));
    QL_TRY(cx, ql_convert(cx, u, QL_F32, b));
    QL_TRY(cx, ql_convert(cx, v, QL_F32, a));
    QL_TRY(cx, ql_scale_cols(cx, d, *b));
    return ql_scale_rows(cx, inverse, *a);
}

ql_status
ql_reconstruct(ql_ctx *cx, const ql_tensor *w, const ql_tensor *what, const ql_lowrank_spec *spec, ql_tensor **b,
               ql_tensor **a)
{
    ql_lowrank_result c;
    ql_tensor *e;

    QL_TRY(cx, ql_convert(cx, w, QL_F32, &e));
    QL_TRY(cx, ql_axpby(cx, -1, what, 1, e));
    QL_TRY(cx, ql_lowrank(cx, e, spec, &c));
    ql_drop(cx, &e);
    *b = *a = NULL;
    return c.rank > 0 ? ql_balance(cx, c.u, c.v, b, a) : QL_OK;
}

ql_status
ql_residual(ql_ctx *cx, const ql_tensor *w, const ql_qlinear *q, ql_tensor **e)
{
    ql_tensor *what;

    QL_TRY(cx, ql_group_decode(cx, q, &what));
    QL_TRY(cx, ql_convert(cx, what, QL_F32, e));
    ql_drop(cx, &what);
    return ql_axpby(cx, 1, w, -1, *e);
}

/* max(v, floor)^2, on the host: one short vector a subset. */
static ql_status
squared(ql_ctx *cx, const ql_tensor *v, float floor, ql_tensor **out)
{
    float *x;

    QL_TRY(cx, ql_convert(cx, v, QL_F32, out));
    QL_TRY(cx, ql_map(cx, *out, QL_READ_WRITE, &x));
    for (int64_t j = 0; j < ql_count(*out); j++)
        x[j] = fmaxf(x[j], floor) * fmaxf(x[j], floor);
    return ql_unmap(cx, *out);
}

ql_status
ql_scaling_norm(ql_ctx *cx, const ql_stats *stats, ql_scaling scaling, const ql_tensor **h)
{
    ql_tensor *made = NULL;

    *h = NULL;
    switch (scaling) {
    case QL_SCALING_EXACT:
        *h = stats->h;
        return QL_OK;
    case QL_SCALING_APPROX:
        QL_TRY(cx, ql_diag(cx, stats->h, &made));
        break;
    case QL_SCALING_LQER:
        QL_TRY(cx, squared(cx, stats->abs_mean, 1e-4f, &made));
        break;
    case QL_SCALING_IDENTITY:
        break;
    }
    *h = made;
    return QL_OK;
}
