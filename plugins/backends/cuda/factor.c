/* Factorizations by cuSOLVER. It is column-major and so sees every matrix transposed: our lower triangle is its upper one, our
 * rows are its columns. What it says about its success is read after every call. */
#include "device.h"

#include <math.h>

#define ALIGNMENT ((size_t)256)
#define INDEPENDENT 1e-12 /* energy of a column that the ones before it must leave for Cholesky-QR */

/* Scratch of one operation: `own` for the operation, the rest for the library. */
typedef struct room {
    char *own;
    void *work, *host;
    int *info;
    size_t work_bytes, host_bytes;
} room;

static size_t
aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t
room_bytes(const room *r, size_t own)
{
    return aligned(own) + aligned(r->work_bytes) + sizeof *r->info;
}

/* Fills `r`, whose sizes of workspaces are known. */
static ql_status
room_make(ql_ctx *cx, size_t own, room *r)
{
    QL_TRY(cx, ql_scratch(cx, room_bytes(r, own), &r->own));
    r->work = r->own + aligned(own);
    r->info = (int *)(r->own + aligned(own) + aligned(r->work_bytes));
    r->host = ql_alloc(cx, r->host_bytes ? r->host_bytes : 1, 1);
    return r->host ? QL_OK : QL_MEMORY;
}

/* What the routine left; it waits. */
static ql_status
read_info(ql_ctx *cx, void *dev, const room *r, const char *routine, int *info)
{
    QL_TRY(cx, cuda_download(cx, dev, r->info, info, sizeof *info));
    return *info < 0 ? QL_FAIL(cx, QL_BUG, "cuSOLVER's %s rejects its argument %d", routine, -*info) : QL_OK;
}

static cudaDataType
data_type(ql_dtype dtype)
{
    return dtype == QL_F64 ? CUDA_R_64F : CUDA_R_32F;
}

/* --- what they ask for --- */

/* Sizes of the library's workspaces, which follow from the shape of `a` alone. */
static cusolverStatus_t
ask(const cuda *d, bool eigenvectors, const mat *a, room *r)
{
    const cudaDataType t = data_type(a->dtype);
    const int64_t n = a->cols, lda = a->ld;

    if (eigenvectors)
        return d->lib.cusolverDnXsyevd_bufferSize(d->solver, d->params, CUSOLVER_EIG_MODE_VECTOR,
                                                  CUBLAS_FILL_MODE_UPPER, n, t, NULL, lda, t, NULL, t, &r->work_bytes,
                                                  &r->host_bytes);
    return d->lib.cusolverDnXpotrf_bufferSize(d->solver, d->params, CUBLAS_FILL_MODE_UPPER, n, t, NULL, lda, t,
                                              &r->work_bytes, &r->host_bytes);
}

static ql_status
find_sizes(ql_ctx *cx, const cuda *d, bool eigenvectors, const mat *a, room *r)
{
    return cuda_solver_check(cx, ask(d, eigenvectors, a, r), "bufferSize");
}

/* Of Cholesky-QR: a vector of k for diagonals, the columns and their Gram matrix in double. */
typedef struct qr_places {
    size_t q, g, end;
} qr_places;

static qr_places
qr_places_of(int64_t m, int64_t k)
{
    const size_t q = aligned((size_t)k * sizeof(double)), g = q + aligned((size_t)(m * k) * sizeof(double));

    return (qr_places){q, g, g + aligned((size_t)(k * k) * sizeof(double))};
}

/* A basis by reflections, which only nearly dependent columns need, takes more. */
static size_t
scratch(void *dev, const ql_op *op)
{
    const cuda *d = dev;
    const bool qr = op->code == QL_OP_ORTH;
    const int64_t rows = ql_dim(op->t[0], 0), cols = ql_dim(op->t[0], 1);
    const mat a = {.rows = cols, .cols = cols, .ld = cols, .dtype = qr ? QL_F64 : ql_dtype_of(op->t[0])};
    room r = {0};

    if (d && ask(d, op->code == QL_OP_SYEVD, &a, &r) != CUSOLVER_STATUS_SUCCESS)
        r.work_bytes = 0; /* the operation itself will say why */
    return room_bytes(&r, qr                        ? qr_places_of(rows, cols).end
                          : op->code == QL_OP_POTRF ? (size_t)rows * sizeof(double)
                                                    : 0);
}

/* --- Cholesky --- */

static ql_status
cholesky(ql_ctx *cx, cuda *d, const mat *a, const room *r, int *info)
{
    const cudaDataType t = data_type(a->dtype);

    QL_TRY(cx,
           cuda_solver_check(cx,
                             d->lib.cusolverDnXpotrf(d->solver, d->params, CUBLAS_FILL_MODE_UPPER, a->rows, t, a->p,
                                                     a->ld, t, r->work, r->work_bytes, r->host, r->host_bytes, r->info),
                             "cusolverDnXpotrf"));
    return read_info(cx, d, r, "potrf", info);
}

/* The diagonal of a on the host, in double, by way of device memory `on_device`. */
static ql_status
read_diagonal(ql_ctx *cx, void *dev, const mat *a, void *on_device, double *out)
{
    const mat from = {a->p, a->rows, 1, a->ld + 1, a->dtype}, to = {on_device, a->rows, 1, 1, QL_F64};

    launch_copy(cuda_stream(dev), &from, &to);
    QL_TRY(cx, cuda_launched(cx, dev, "copy"));
    return cuda_download(cx, dev, on_device, out, (size_t)a->rows * sizeof *out);
}

static ql_status
cuda_potrf(ql_ctx *cx, void *dev, const ql_op *op)
{
    bool *ok = op->result;
    cuda *d = dev;
    const mat a = cuda_mat(op->t[0]);
    double *diagonal = ql_alloc(cx, (size_t)a.rows, sizeof *diagonal);
    room r = {0};
    int info;

    if (!diagonal)
        return QL_MEMORY;
    QL_TRY(cx, find_sizes(cx, d, false, &a, &r));
    QL_TRY(cx, room_make(cx, (size_t)a.rows * sizeof *diagonal, &r));
    QL_TRY(cx, cholesky(cx, d, &a, &r, &info));
    *ok = info == 0;
    if (!*ok)
        return QL_OK;
    launch_tril(d->stream, &a);
    QL_TRY(cx, cuda_launched(cx, dev, "tril"));
    QL_TRY(cx, read_diagonal(cx, dev, &a, r.own, diagonal));
    for (int64_t i = 0; i < a.rows && *ok; i++) /* comparisons let a NaN pass */
        *ok = isfinite(diagonal[i]) && diagonal[i] > 0;
    return QL_OK;
}

/* --- eigenvectors --- */

static ql_status
cuda_syevd(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *w = op->t[1];
    cuda *d = dev;
    const mat a = cuda_mat(op->t[0]);
    const cudaDataType type = data_type(a.dtype);
    int64_t bad;
    room r = {0};
    int info;

    QL_TRY(cx, cuda_first_nonfinite(cx, dev, &a, &bad));
    if (bad >= 0)
        return QL_FAIL(cx, QL_NUMERIC, "eigenproblem: the element in row %lld, column %lld is not finite",
                       (long long)(bad / a.cols), (long long)(bad % a.cols));
    QL_TRY(cx, find_sizes(cx, d, true, &a, &r));
    QL_TRY(cx, room_make(cx, 0, &r));
    QL_TRY(cx,
           cuda_solver_check(cx,
                             d->lib.cusolverDnXsyevd(d->solver, d->params, CUSOLVER_EIG_MODE_VECTOR,
                                                     CUBLAS_FILL_MODE_UPPER, a.rows, type, a.p, a.ld, type, ql_ptr(w),
                                                     type, r.work, r.work_bytes, r.host, r.host_bytes, r.info),
                             "cusolverDnXsyevd"));
    QL_TRY(cx, read_info(cx, dev, &r, "syevd", &info));
    if (info > 0)
        return QL_FAIL(cx, QL_NUMERIC, "the eigenproblem of a matrix of order %lld does not converge",
                       (long long)a.rows);
    return QL_OK;
}

/* --- orthonormal columns --- */

/* One round of Cholesky-QR, q = q L^-T for q^T q = L L^T. false where its columns are too nearly dependent for that. */
static ql_status
orthogonalize(ql_ctx *cx, cuda *d, const mat *q, const mat *g, const room *r, bool *done)
{
    const size_t k = (size_t)g->rows;
    double *energy = ql_alloc(cx, k, sizeof *energy), *left = ql_alloc(cx, k, sizeof *left);
    const double one = 1;
    int info;

    *done = false;
    if (!energy || !left)
        return QL_MEMORY;
    QL_TRY(cx, cuda_product(cx, d, QL_TN, 1, q, q, 0, g));
    QL_TRY(cx, read_diagonal(cx, d, g, r->own, energy));
    QL_TRY(cx, cholesky(cx, d, g, r, &info));
    if (info > 0)
        return QL_OK;
    QL_TRY(cx, read_diagonal(cx, d, g, r->own, left));
    for (size_t i = 0; i < k; i++)
        if (!(left[i] * left[i] > INDEPENDENT * energy[i]))
            return QL_OK;
    *done = true;
    return cuda_blas_check(cx, d,
                           d->lib.cublasDtrsm_v2_64(d->blas, CUBLAS_SIDE_LEFT, CUBLAS_FILL_MODE_UPPER, CUBLAS_OP_T,
                                                    CUBLAS_DIAG_NON_UNIT, q->cols, q->rows, &one, g->p, g->ld, q->p,
                                                    q->ld),
                           "cublasDtrsm");
}

/* Two rounds in double leave no more than rounding of it; a tenth of the time of a Householder QR of few columns. */
static ql_status
cholesky_qr(ql_ctx *cx, cuda *d, const mat *y, bool *done)
{
    const int64_t m = y->rows, k = y->cols;
    const qr_places at = qr_places_of(m, k);
    mat q = {.rows = m, .cols = k, .ld = k, .dtype = QL_F64}, g = {.rows = k, .cols = k, .ld = k, .dtype = QL_F64};
    room r = {0};

    QL_TRY(cx, find_sizes(cx, d, false, &g, &r));
    QL_TRY(cx, room_make(cx, at.end, &r));
    q.p = r.own + at.q;
    g.p = r.own + at.g;
    launch_copy(d->stream, y, &q);
    QL_TRY(cx, cuda_launched(cx, d, "copy"));
    for (int i = 0; i < 2; i++) {
        QL_TRY(cx, orthogonalize(cx, d, &q, &g, &r, done));
        if (!*done)
            return QL_OK;
    }
    launch_copy(d->stream, &q, y);
    return cuda_launched(cx, d, "copy");
}

static ql_status
householder_sizes(ql_ctx *cx, const cuda *d, const mat *t, room *r)
{
    const int64_t k = t->rows, m = t->cols;
    int elements = 0;

    QL_TRY(cx, cuda_solver_check(cx,
                                 d->lib.cusolverDnXgeqrf_bufferSize(d->solver, d->params, m, k, CUDA_R_64F, t->p, m,
                                                                    CUDA_R_64F, NULL, CUDA_R_64F, &r->work_bytes,
                                                                    &r->host_bytes),
                                 "cusolverDnXgeqrf_bufferSize"));
    QL_TRY(cx,
           cuda_solver_check(
               cx, d->lib.cusolverDnDorgqr_bufferSize(d->solver, (int)m, (int)k, (int)k, t->p, (int)m, NULL, &elements),
               "cusolverDnDorgqr_bufferSize"));
    if (r->work_bytes < (size_t)elements * sizeof(double))
        r->work_bytes = (size_t)elements * sizeof(double);
    return QL_OK;
}

/* The columns of t^T, m of k, by reflections. */
static ql_status
reflect(ql_ctx *cx, cuda *d, const mat *t, double *tau, const room *r)
{
    const int64_t k = t->rows, m = t->cols;
    int info;

    QL_TRY(cx, cuda_solver_check(cx,
                                 d->lib.cusolverDnXgeqrf(d->solver, d->params, m, k, CUDA_R_64F, t->p, m, CUDA_R_64F,
                                                         tau, CUDA_R_64F, r->work, r->work_bytes, r->host,
                                                         r->host_bytes, r->info),
                                 "cusolverDnXgeqrf"));
    QL_TRY(cx, read_info(cx, d, r, "geqrf", &info));
    QL_TRY(cx, cuda_solver_check(cx,
                                 d->lib.cusolverDnDorgqr(d->solver, (int)m, (int)k, (int)k, t->p, (int)m, tau, r->work,
                                                         (int)(r->work_bytes / sizeof(double)), r->info),
                                 "cusolverDnDorgqr"));
    return read_info(cx, d, r, "orgqr", &info);
}

/* A Householder QR, which makes a full basis of whatever it is given. */
static ql_status
householder(ql_ctx *cx, cuda *d, const mat *y)
{
    const int64_t m = y->rows, k = y->cols;
    const size_t bytes = aligned((size_t)(m * k) * sizeof(double));
    mat wide = {.rows = m, .cols = k, .ld = k, .dtype = QL_F64}, t = {.rows = k, .cols = m, .ld = m, .dtype = QL_F64};
    room r = {0};

    if (m > INT32_MAX)
        return QL_FAIL(cx, QL_INVALID, "a matrix of %lld rows is too large for cuSOLVER's orgqr", (long long)m);
    QL_TRY(cx, householder_sizes(cx, d, &t, &r));
    QL_TRY(cx, room_make(cx, 2 * bytes + (size_t)k * sizeof(double), &r));
    wide.p = r.own;
    t.p = r.own + bytes;
    launch_copy(d->stream, y, &wide);
    launch_transpose(d->stream, &wide, &t);
    QL_TRY(cx, cuda_launched(cx, d, "transpose"));
    QL_TRY(cx, reflect(cx, d, &t, (double *)(r.own + 2 * bytes), &r));
    launch_transpose(d->stream, &t, &wide);
    launch_copy(d->stream, &wide, y);
    return cuda_launched(cx, d, "copy");
}

static ql_status
cuda_orth(ql_ctx *cx, void *dev, const ql_op *op)
{
    const mat y = cuda_mat(op->t[0]);
    bool done = false;

    QL_TRY(cx, cholesky_qr(cx, dev, &y, &done));
    return done ? QL_OK : householder(cx, dev, &y);
}

const ql_op_row cuda_factor_ops[] = {
    {QL_OP_POTRF, cuda_potrf, scratch, NULL},
    {QL_OP_SYEVD, cuda_syevd, scratch, NULL},
    {QL_OP_ORTH, cuda_orth, scratch, NULL},
    QL_OP_ROWS_END,
};
