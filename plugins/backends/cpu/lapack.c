/* Factorizations by LAPACK. It is column-major and so sees every matrix transposed: our lower triangle is its upper one, our
 * rows are its columns. */
#include "cpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CHOLESKY_QR 1e-4 /* least over most of R's diagonal: its square is still far from the rounding of a double */

static double
element(const mat *m, int64_t i, int64_t j)
{
    double x;

    cpu_load_double(m->dtype, mat_at(m, i, j), 1, &x);
    return x;
}

static ql_status
check_info(ql_ctx *cx, const char *routine, int info)
{
    return info < 0 ? QL_FAIL(cx, QL_BUG, "LAPACK's %s rejects its argument %d", routine, -info) : QL_OK;
}

static void
clear_upper(const mat *m)
{
    for (int64_t i = 0; i + 1 < m->rows; i++)
        memset(mat_at(m, i, i + 1), 0, (size_t)(m->cols - i - 1) * m->size);
}

static ql_status
cpu_potrf(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *a = op->t[0];
    bool *ok = op->result;
    const cpu *d = dev;
    mat m = cpu_mat(a);
    int n = (int)m.rows, lda = (int)m.ld, info = 0;

    QL_TRY(cx, cpu_fits(cx, &m));
    *ok = true;
    if (n == 0)
        return QL_OK;
    if (m.dtype == QL_F64)
        d->blas.d.potrf("U", &n, m.p, &lda, &info);
    else
        d->blas.s.potrf("U", &n, m.p, &lda, &info);
    QL_TRY(cx, check_info(cx, "potrf", info));
    *ok = info == 0;
    for (int64_t i = 0; i < m.rows && *ok; i++) /* OpenBLAS compares with <= 0, which a NaN passes */
        *ok = isfinite(element(&m, i, i)) && element(&m, i, i) > 0;
    clear_upper(&m);
    return QL_OK;
}

static ql_status
cpu_trtri(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *a = op->t[0];
    const cpu *d = dev;
    mat m = cpu_mat(a);
    int n = (int)m.rows, lda = (int)m.ld, info = 0;

    QL_TRY(cx, cpu_fits(cx, &m));
    if (n == 0)
        return QL_OK;
    if (m.dtype == QL_F64)
        d->blas.d.trtri("U", "N", &n, m.p, &lda, &info);
    else
        d->blas.s.trtri("U", "N", &n, m.p, &lda, &info);
    QL_TRY(cx, check_info(cx, "trtri", info));
    if (info > 0)
        return QL_FAIL(cx, QL_NUMERIC, "a triangular matrix is singular: element %d of its diagonal is 0", info - 1);
    return QL_OK;
}

static size_t
syevd_scratch(void *dev, const ql_op *op)
{
    const size_t n = (size_t)ql_dim(op->t[0], 0);

    (void)dev;
    return (2 * n * n + 6 * n + 1) * ql_dtype_size(ql_dtype_of(op->t[0])) + (5 * n + 3) * sizeof(int);
}

static ql_status
cpu_syevd(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *a = op->t[0], *w = op->t[1];
    cpu *d = dev;
    mat m = cpu_mat(a);
    int64_t bad, order = m.rows, ints = 3 + 5 * order, reals = 1 + 6 * order + 2 * order * order;
    int n = (int)order, lda = (int)m.ld, lwork = (int)reals, liwork = (int)ints, info = 0, *iwork;
    char *work;

    QL_TRY(cx, cpu_fits(cx, &m));
    if (n == 0)
        return QL_OK;
    if (reals > INT32_MAX)
        return QL_FAIL(cx, QL_INVALID, "a matrix of order %d is too large for LAPACK's syevd", n);
    QL_TRY(cx, cpu_nonfinite(cx, dev, a, &bad));
    if (bad >= 0)
        return QL_FAIL(cx, QL_NUMERIC, "eigenproblem: the element in row %lld, column %lld is not finite",
                       (long long)(bad / m.cols), (long long)(bad % m.cols));
    QL_TRY(cx, ql_scratch(cx, (size_t)reals * m.size + (size_t)ints * sizeof(int) + 64, &work));
    iwork = (int *)(work + ((size_t)reals * m.size + 63) / 64 * 64);
    if (m.dtype == QL_F64)
        d->blas.d.syevd("V", "U", &n, m.p, &lda, ql_ptr(w), (double *)work, &lwork, iwork, &liwork, &info);
    else
        d->blas.s.syevd("V", "U", &n, m.p, &lda, ql_ptr(w), (float *)work, &lwork, iwork, &liwork, &info);
    QL_TRY(cx, check_info(cx, "syevd", info));
    if (info > 0)
        return QL_FAIL(cx, QL_NUMERIC, "the eigenproblem of a matrix of order %d does not converge", n);
    return QL_OK;
}

/* Columns of y [m, k] to those of LAPACK, one after another in `to`, or back: the reflections run over contiguous memory, in half the time
 * of an LQ of the transpose that y is to LAPACK. */
static void
columns(const mat *y, char *to, bool back)
{
    for (int64_t i = 0; i < y->rows; i++)
        for (int64_t j = 0; j < y->cols; j++) {
            char *here = mat_at(y, i, j), *there = to + (size_t)(j * y->rows + i) * y->size;

            memcpy(back ? here : there, back ? there : here, y->size);
        }
}

/* y = Q R by the Cholesky factor of y^T y in double, a third of the reflections' time. False, and nothing done, where the columns are too
 * close to dependent for it. `a` has room for y, `g` for k x k. */
static bool
cholesky_qr(const cpu *d, const mat *y, double *a, double *g)
{
    const int m = (int)y->rows, k = (int)y->cols;
    double least, most;
    int info;

    for (int64_t i = 0; i < m; i++)
        cpu_load_double(y->dtype, mat_at(y, i, 0), k, a + i * k);
    d->blas.d.syrk(BLAS_ROW, BLAS_LOWER, BLAS_YES, k, m, 1, a, k, 0, g, k);
    d->blas.d.potrf("U", &k, g, &k, &info);
    least = most = g[0];
    for (int64_t i = 0; i < k && info == 0; i++) {
        if (!(g[i * k + i] > 0)) /* or a NaN */
            return false;
        least = fmin(least, g[i * k + i]);
        most = fmax(most, g[i * k + i]);
    }
    if (info != 0 || !(least > CHOLESKY_QR * most))
        return false;
    d->blas.d.trsm(BLAS_ROW, BLAS_RIGHT, BLAS_LOWER, BLAS_YES, BLAS_NON_UNIT, m, k, 1, g, k, a, k);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < k; j++)
            *(float *)mat_at(y, i, j) = (float)a[i * k + j];
    return true;
}

static size_t
orth_scratch(void *dev, const ql_op *op)
{
    const size_t m = (size_t)ql_dim(op->t[0], 0), n = (size_t)ql_dim(op->t[0], 1);

    (void)dev;
    return (m + n + 65) * n * sizeof(double);
}

static ql_status
cpu_orth(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *y = op->t[0];
    cpu *d = dev;
    mat t = cpu_mat(y);
    int k = (int)t.cols, m = (int)t.rows, lda = m > 0 ? m : 1, lwork, info = 0;
    int64_t block = 64, reals = (block + 1 + t.rows) * t.cols;
    char *a, *work, *tau;

    QL_TRY(cx, cpu_fits(cx, &t));
    if (k == 0)
        return QL_OK;
    QL_TRY(cx, ql_scratch(cx, (size_t)(reals + t.cols * t.cols) * sizeof(double), &a));
    if (t.dtype == QL_F32 && t.rows >= t.cols && cholesky_qr(d, &t, (double *)a, (double *)a + t.rows * t.cols))
        return QL_OK;
    tau = a + (size_t)(t.rows * t.cols) * t.size;
    work = tau + (size_t)t.cols * t.size;
    lwork = (int)(block * t.cols);
    columns(&t, a, false);
    if (t.dtype == QL_F64) {
        d->blas.d.geqrf(&m, &k, (double *)a, &lda, (double *)tau, (double *)work, &lwork, &info);
        QL_TRY(cx, check_info(cx, "geqrf", info));
        d->blas.d.orgqr(&m, &k, &k, (double *)a, &lda, (double *)tau, (double *)work, &lwork, &info);
    } else {
        d->blas.s.geqrf(&m, &k, (float *)a, &lda, (float *)tau, (float *)work, &lwork, &info);
        QL_TRY(cx, check_info(cx, "geqrf", info));
        d->blas.s.orgqr(&m, &k, &k, (float *)a, &lda, (float *)tau, (float *)work, &lwork, &info);
    }
    QL_TRY(cx, check_info(cx, "orgqr", info));
    columns(&t, a, true);
    return QL_OK;
}

const ql_op_row cpu_lapack_ops[] = {
    QL_OP_ROW(POTRF, cpu_potrf),
    QL_OP_ROW(TRTRI, cpu_trtri),
    {QL_OP_SYEVD, cpu_syevd, syevd_scratch, NULL},
    {QL_OP_ORTH, cpu_orth, orth_scratch, NULL},
    QL_OP_ROWS_END,
};
