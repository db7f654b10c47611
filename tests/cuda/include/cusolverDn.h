/* The part of cuSOLVER that the cuda backend uses, as plain loops: linear.cpp. */
#ifndef QLOOM_TEST_CUSOLVERDN_H
#define QLOOM_TEST_CUSOLVERDN_H

#include <cublas_v2.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct emulated_handle *cusolverDnHandle_t;
typedef struct emulated_handle *cusolverDnParams_t;

typedef enum cusolverStatus_t {
    CUSOLVER_STATUS_SUCCESS = 0,
    CUSOLVER_STATUS_ALLOC_FAILED = 2,
    CUSOLVER_STATUS_INVALID_VALUE = 3
} cusolverStatus_t;
typedef enum cusolverEigMode_t { CUSOLVER_EIG_MODE_NOVECTOR = 0, CUSOLVER_EIG_MODE_VECTOR = 1 } cusolverEigMode_t;

cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t *handle);
cusolverStatus_t cusolverDnDestroy(cusolverDnHandle_t handle);
cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t stream);
cusolverStatus_t cusolverDnCreateParams(cusolverDnParams_t *params);
cusolverStatus_t cusolverDnDestroyParams(cusolverDnParams_t params);
cusolverStatus_t cusolverDnXpotrf_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                             cublasFillMode_t fill, int64_t n, cudaDataType at, const void *a,
                                             int64_t lda, cudaDataType compute, size_t *device, size_t *host);
cusolverStatus_t cusolverDnXpotrf(cusolverDnHandle_t handle, cusolverDnParams_t params, cublasFillMode_t fill,
                                  int64_t n, cudaDataType at, void *a, int64_t lda, cudaDataType compute, void *work,
                                  size_t work_bytes, void *host, size_t host_bytes, int *info);
cusolverStatus_t cusolverDnXsyevd_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                             cusolverEigMode_t mode, cublasFillMode_t fill, int64_t n, cudaDataType at,
                                             const void *a, int64_t lda, cudaDataType wt, const void *w,
                                             cudaDataType compute, size_t *device, size_t *host);
cusolverStatus_t cusolverDnXsyevd(cusolverDnHandle_t handle, cusolverDnParams_t params, cusolverEigMode_t mode,
                                  cublasFillMode_t fill, int64_t n, cudaDataType at, void *a, int64_t lda,
                                  cudaDataType wt, void *w, cudaDataType compute, void *work, size_t work_bytes,
                                  void *host, size_t host_bytes, int *info);
cusolverStatus_t cusolverDnXgeqrf_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params, int64_t m, int64_t n,
                                             cudaDataType at, const void *a, int64_t lda, cudaDataType taut,
                                             const void *tau, cudaDataType compute, size_t *device, size_t *host);
cusolverStatus_t cusolverDnXgeqrf(cusolverDnHandle_t handle, cusolverDnParams_t params, int64_t m, int64_t n,
                                  cudaDataType at, void *a, int64_t lda, cudaDataType taut, void *tau,
                                  cudaDataType compute, void *work, size_t work_bytes, void *host, size_t host_bytes,
                                  int *info);
cusolverStatus_t cusolverDnDorgqr_bufferSize(cusolverDnHandle_t handle, int m, int n, int k, const double *a, int lda,
                                             const double *tau, int *elements);
cusolverStatus_t cusolverDnDorgqr(cusolverDnHandle_t handle, int m, int n, int k, double *a, int lda, const double *tau,
                                  double *work, int elements, int *info);

#ifdef __cplusplus
}
#endif

#endif
