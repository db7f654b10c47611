/* cuBLAS and cuSOLVER as plain loops in double, on column-major matrices: the textbook's algorithms, without blocks. Products of 16-bit
 * numbers are summed as tensor cores do. */
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <cusolverDn.h>
#include <emulated_mma.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace {

double
load(cudaDataType t, const void *p, int64_t i)
{
    switch (t) {
    case CUDA_R_64F:
        return static_cast<const double *>(p)[i];
    case CUDA_R_32F:
        return static_cast<double>(static_cast<const float *>(p)[i]);
    case CUDA_R_16F:
        return static_cast<double>(__half2float(static_cast<const __half *>(p)[i]));
    default:
        return static_cast<double>(__bfloat162float(static_cast<const __nv_bfloat16 *>(p)[i]));
    }
}

const void *
element(cudaDataType t, const void *p, int64_t i)
{
    return static_cast<const char *>(p) + i * (t == CUDA_R_64F ? 8 : t == CUDA_R_32F ? 4 : 2);
}

void
store(cudaDataType t, void *p, int64_t i, double x)
{
    switch (t) {
    case CUDA_R_64F:
        static_cast<double *>(p)[i] = x;
        break;
    case CUDA_R_32F:
        static_cast<float *>(p)[i] = static_cast<float>(x);
        break;
    case CUDA_R_16F:
        static_cast<__half *>(p)[i] = __double2half(x);
        break;
    default:
        static_cast<__nv_bfloat16 *>(p)[i] = __double2bfloat16(x);
    }
}

/* A square or rectangular matrix, column by column, with zeros between them: a row of powers of two would fill a few sets of a cache. */
struct matrix {
    int64_t m, n;
    std::vector<double> x;

    matrix(int64_t rows, int64_t cols) : m(rows), n(cols), x(static_cast<size_t>((rows + 8) * cols))
    {
    }
    double &
    at(int64_t i, int64_t j)
    {
        return x[static_cast<size_t>(j * (m + 8) + i)];
    }
};

/* op(a), m x n. */
matrix
read(bool transposed, int64_t m, int64_t n, cudaDataType t, const void *a, int64_t lda)
{
    matrix r(m, n);

    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < m; i++)
            r.at(i, j) = load(t, a, transposed ? i * lda + j : j * lda + i);
    return r;
}

void
write(matrix &r, cudaDataType t, void *a, int64_t lda)
{
    for (int64_t j = 0; j < r.n; j++)
        for (int64_t i = 0; i < r.m; i++)
            store(t, a, j * lda + i, r.at(i, j));
}

/* A triangle of a as a lower one, the rest zero. */
matrix
read_lower(cublasFillMode_t fill, int64_t n, cudaDataType t, const void *a, int64_t lda)
{
    matrix r = read(fill == CUBLAS_FILL_MODE_UPPER, n, n, t, a, lda);

    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < j; i++)
            r.at(i, j) = 0;
    return r;
}

void
write_lower(matrix &r, cublasFillMode_t fill, cudaDataType t, void *a, int64_t lda)
{
    for (int64_t j = 0; j < r.n; j++)
        for (int64_t i = j; i < r.n; i++)
            store(t, a, fill == CUBLAS_FILL_MODE_UPPER ? i * lda + j : j * lda + i, r.at(i, j));
}

/* Jacobi's rotations: a becomes diagonal, v collects the eigenvectors as columns. Squares up to `least` are as good as 0. */
void
rotate(matrix &a, matrix &v, int64_t p, int64_t q, double least)
{
    const double apq = a.at(p, q);

    if (apq * apq <= least)
        return;
    const double theta = (a.at(q, q) - a.at(p, p)) / (2 * apq);
    const double t = (theta >= 0 ? 1 : -1) / (std::fabs(theta) + std::sqrt(theta * theta + 1));
    const double c = 1 / std::sqrt(t * t + 1), s = t * c;

    for (int64_t k = 0; k < a.n; k++) {
        const double x = a.at(k, p), y = a.at(k, q);

        a.at(k, p) = c * x - s * y;
        a.at(k, q) = s * x + c * y;
    }
    for (int64_t k = 0; k < a.n; k++) {
        const double x = a.at(p, k), y = a.at(q, k);

        a.at(p, k) = c * x - s * y;
        a.at(q, k) = s * x + c * y;
    }
    for (int64_t k = 0; k < a.n; k++) {
        const double vx = v.at(k, p), vy = v.at(k, q);

        v.at(k, p) = c * vx - s * vy;
        v.at(k, q) = s * vx + c * vy;
    }
}

bool
diagonalize(matrix &a, matrix &v)
{
    double all = 0;

    for (int64_t i = 0; i < a.n; i++)
        v.at(i, i) = 1;
    for (double x : a.x)
        all += x * x;
    for (int sweep = 0; sweep < 60; sweep++) {
        double off = 0;

        for (int64_t p = 0; p < a.n; p++)
            for (int64_t q = 0; q < p; q++)
                off += a.at(p, q) * a.at(p, q);
        if (off <= 1e-30 * all)
            return true;
        for (int64_t p = 0; p < a.n; p++)
            for (int64_t q = p + 1; q < a.n; q++)
                rotate(a, v, p, q, 1e-31 * all / static_cast<double>(a.n * a.n));
    }
    return false;
}

/* Column j of b -= tau v (v . b), v = (1, a[j + 1 ..]) being column `at` of a. */
void
reflect(matrix &a, int64_t at, double tau, matrix &b, int64_t j)
{
    double dot = b.at(at, j);

    for (int64_t i = at + 1; i < a.m; i++)
        dot += a.at(i, at) * b.at(i, j);
    b.at(at, j) -= tau * dot;
    for (int64_t i = at + 1; i < a.m; i++)
        b.at(i, j) -= tau * dot * a.at(i, at);
}

} // namespace

struct emulated_handle {
    cudaStream_t stream;
};

extern "C" {

cublasStatus_t
cublasCreate_v2(cublasHandle_t *handle)
{
    *handle = new emulated_handle{nullptr};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasDestroy_v2(cublasHandle_t handle)
{
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasGetVersion_v2(cublasHandle_t, int *version)
{
    *version = 0;
    return CUBLAS_STATUS_SUCCESS;
}

const char *
cublasGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS ? "success" : "an unsupported value or parameter was passed to the function";
}

cublasStatus_t
cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasSetWorkspace_v2(cublasHandle_t, void *, size_t)
{
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasSetMathMode(cublasHandle_t, cublasMath_t)
{
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasGemmEx_64(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int64_t m, int64_t n, int64_t k,
                const void *alpha, const void *a, cudaDataType at, int64_t lda, const void *b, cudaDataType bt,
                int64_t ldb, const void *beta, void *c, cudaDataType ct, int64_t ldc, cublasComputeType_t compute,
                cublasGemmAlgo_t)
{
    const bool f64 = compute == CUBLAS_COMPUTE_64F;
    const double x = load(f64 ? CUDA_R_64F : CUDA_R_32F, alpha, 0), y = load(f64 ? CUDA_R_64F : CUDA_R_32F, beta, 0);

    if (at != bt || f64 != (at == CUDA_R_64F) || (ct != at && ct != CUDA_R_32F) || lda < (ta == CUBLAS_OP_N ? m : k) ||
        ldb < (tb == CUBLAS_OP_N ? k : n) || ldc < m)
        return CUBLAS_STATUS_INVALID_VALUE;
    emulated_queue(handle->stream, [=] {
        matrix left = read(ta == CUBLAS_OP_T, m, k, at, a, lda), right = read(tb == CUBLAS_OP_T, k, n, bt, b, ldb);
        std::vector<double> sum(static_cast<size_t>(m));
        const bool narrow = at == CUDA_R_16F || at == CUDA_R_16BF; /* tensor cores, 16 products at a time */

        for (int64_t j = 0; j < n; j++) {
            std::fill(sum.begin(), sum.end(), 0.0);
            for (int64_t l = 0; l < k; l++) {
                const double *column = &left.at(0, l), factor = right.at(l, j);

                for (int64_t i = 0; i < m; i++)
                    sum[static_cast<size_t>(i)] += column[i] * factor;
                if (narrow && (l % 16 == 15 || l == k - 1))
                    for (double &s : sum)
                        s = static_cast<double>(emulated_truncated(s));
            }
            for (int64_t i = 0; i < m; i++)
                store(ct, c, j * ldc + i,
                      x * sum[static_cast<size_t>(i)] + (y == 0 ? 0 : y * load(ct, c, j * ldc + i)));
        }
    });
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasGemmStridedBatchedEx_64(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int64_t m, int64_t n,
                              int64_t k, const void *alpha, const void *a, cudaDataType at, int64_t lda,
                              long long a_apart, const void *b, cudaDataType bt, int64_t ldb, long long b_apart,
                              const void *beta, void *c, cudaDataType ct, int64_t ldc, long long c_apart, int64_t count,
                              cublasComputeType_t compute, cublasGemmAlgo_t algo)
{
    for (int64_t i = 0; i < count; i++) {
        const cublasStatus_t s = cublasGemmEx_64(
            handle, ta, tb, m, n, k, alpha, element(at, a, i * a_apart), at, lda, element(bt, b, i * b_apart), bt, ldb,
            beta, const_cast<void *>(element(ct, c, i * c_apart)), ct, ldc, compute, algo);

        if (s != CUBLAS_STATUS_SUCCESS)
            return s;
    }
    return CUBLAS_STATUS_SUCCESS;
}

/* The one case that is used: op(A) X = alpha B. */
cublasStatus_t
cublasDtrsm_v2_64(cublasHandle_t handle, cublasSideMode_t side, cublasFillMode_t fill, cublasOperation_t ta,
                  cublasDiagType_t diag, int64_t m, int64_t n, const double *alpha, const double *a, int64_t lda,
                  double *b, int64_t ldb)
{
    /* upper and transposed, or lower: forward substitution */
    if (side != CUBLAS_SIDE_LEFT || diag != CUBLAS_DIAG_NON_UNIT ||
        (fill == CUBLAS_FILL_MODE_UPPER) != (ta == CUBLAS_OP_T))
        return CUBLAS_STATUS_INVALID_VALUE;
    emulated_queue(handle->stream, [=, factor = *alpha] {
        matrix l = read_lower(fill, m, CUDA_R_64F, a, lda);

        for (int64_t j = 0; j < n; j++)
            for (int64_t i = 0; i < m; i++) {
                double sum = factor * b[j * ldb + i];

                for (int64_t k = 0; k < i; k++)
                    sum -= l.at(i, k) * b[j * ldb + k];
                b[j * ldb + i] = sum / l.at(i, i);
            }
    });
    return CUBLAS_STATUS_SUCCESS;
}

cusolverStatus_t
cusolverDnCreate(cusolverDnHandle_t *handle)
{
    *handle = new emulated_handle{nullptr};
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t
cusolverDnDestroy(cusolverDnHandle_t handle)
{
    delete handle;
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t
cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t
cusolverDnCreateParams(cusolverDnParams_t *params)
{
    return cusolverDnCreate(params);
}

cusolverStatus_t
cusolverDnDestroyParams(cusolverDnParams_t params)
{
    return cusolverDnDestroy(params);
}

cusolverStatus_t
cusolverDnXpotrf_bufferSize(cusolverDnHandle_t, cusolverDnParams_t, cublasFillMode_t, int64_t, cudaDataType,
                            const void *, int64_t, cudaDataType, size_t *device, size_t *host)
{
    *device = 64;
    *host = 0;
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t
cusolverDnXpotrf(cusolverDnHandle_t handle, cusolverDnParams_t, cublasFillMode_t fill, int64_t n, cudaDataType at,
                 void *a, int64_t lda, cudaDataType, void *, size_t, void *, size_t, int *info)
{
    emulated_queue(handle->stream, [=] {
        matrix l = read_lower(fill, n, at, a, lda);

        *info = 0;
        for (int64_t j = 0; j < n && *info == 0; j++) {
            for (int64_t k = 0; k < j; k++)
                for (int64_t i = j; i < n; i++)
                    l.at(i, j) -= l.at(i, k) * l.at(j, k);
            if (l.at(j, j) <= 0)
                *info = static_cast<int>(j + 1);
            const double root = std::sqrt(l.at(j, j));

            for (int64_t i = j; i < n; i++)
                l.at(i, j) /= root;
        }
        write_lower(l, fill, at, a, lda);
    });
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t
cusolverDnXsyevd_bufferSize(cusolverDnHandle_t, cusolverDnParams_t, cusolverEigMode_t, cublasFillMode_t, int64_t,
                            cudaDataType, const void *, int64_t, cudaDataType, const void *, cudaDataType,
                            size_t *device, size_t *host)
{
    *device = 64;
    *host = 0;
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t
cusolverDnXsyevd(cusolverDnHandle_t handle, cusolverDnParams_t, cusolverEigMode_t, cublasFillMode_t fill, int64_t n,
                 cudaDataType at, void *a, int64_t lda, cudaDataType wt, void *w, cudaDataType, void *, size_t, void *,
                 size_t, int *info)
{
    emulated_queue(handle->stream, [=] {
        matrix s = read_lower(fill, n, at, a, lda), v(n, n), sorted(n, n);
        std::vector<int64_t> order(static_cast<size_t>(n));

        for (int64_t j = 0; j < n; j++)
            for (int64_t i = 0; i < j; i++)
                s.at(i, j) = s.at(j, i);
        *info = diagonalize(s, v) ? 0 : 1;
        for (int64_t i = 0; i < n; i++)
            order[static_cast<size_t>(i)] = i;
        std::sort(order.begin(), order.end(), [&](int64_t i, int64_t j) { return s.at(i, i) < s.at(j, j); });
        for (int64_t j = 0; j < n; j++) {
            const int64_t from = order[static_cast<size_t>(j)];

            store(wt, w, j, s.at(from, from));
            for (int64_t i = 0; i < n; i++)
                sorted.at(i, j) = v.at(i, from);
        }
        write(sorted, at, a, lda);
    });
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t
cusolverDnXgeqrf_bufferSize(cusolverDnHandle_t, cusolverDnParams_t, int64_t, int64_t, cudaDataType, const void *,
                            int64_t, cudaDataType, const void *, cudaDataType, size_t *device, size_t *host)
{
    *device = 64;
    *host = 0;
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t
cusolverDnXgeqrf(cusolverDnHandle_t handle, cusolverDnParams_t, int64_t m, int64_t n, cudaDataType at, void *a,
                 int64_t lda, cudaDataType taut, void *tau, cudaDataType, void *, size_t, void *, size_t, int *info)
{
    emulated_queue(handle->stream, [=] {
        matrix q = read(false, m, n, at, a, lda);

        *info = 0;
        for (int64_t j = 0; j < n && j < m; j++) {
            double norm = 0, beta, t = 0;

            for (int64_t i = j + 1; i < m; i++)
                norm += q.at(i, j) * q.at(i, j);
            if (norm > 0) {
                beta = -std::copysign(std::sqrt(norm + q.at(j, j) * q.at(j, j)), q.at(j, j));
                t = (beta - q.at(j, j)) / beta;
                for (int64_t i = j + 1; i < m; i++)
                    q.at(i, j) /= q.at(j, j) - beta;
                q.at(j, j) = beta;
            }
            store(taut, tau, j, t);
            for (int64_t k = j + 1; k < n; k++)
                reflect(q, j, t, q, k);
        }
        write(q, at, a, lda);
    });
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t
cusolverDnDorgqr_bufferSize(cusolverDnHandle_t, int, int, int, const double *, int, const double *, int *elements)
{
    *elements = 64;
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t
cusolverDnDorgqr(cusolverDnHandle_t handle, int m, int n, int k, double *a, int lda, const double *tau, double *, int,
                 int *info)
{
    emulated_queue(handle->stream, [=] {
        matrix v = read(false, m, k, CUDA_R_64F, a, lda), q(m, n);

        *info = 0;
        for (int64_t j = 0; j < n; j++) {
            q.at(j, j) = 1;
            for (int64_t i = k; i-- > 0;)
                reflect(v, i, tau[i], q, j);
        }
        write(q, CUDA_R_64F, a, lda);
    });
    return CUSOLVER_STATUS_SUCCESS;
}
}
