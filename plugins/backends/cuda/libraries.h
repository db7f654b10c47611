/* cuBLAS and cuSOLVER, opened at run time: which functions of them we use. A machine without them keeps all of its other devices. */
#ifndef QLOOM_CUDA_LIBRARIES_H
#define QLOOM_CUDA_LIBRARIES_H

#include <cublas_v2.h>
#include <cusolverDn.h>

#include <qloom/status.h>

#define CUDA_BLAS_FUNCTIONS(X)       \
    X(cublasCreate_v2)               \
    X(cublasDestroy_v2)              \
    X(cublasGetVersion_v2)           \
    X(cublasGetStatusString)         \
    X(cublasSetStream_v2)            \
    X(cublasSetWorkspace_v2)         \
    X(cublasSetMathMode)             \
    X(cublasGemmEx_64)               \
    X(cublasGemmStridedBatchedEx_64) \
    X(cublasDtrsm_v2_64)

#define CUDA_SOLVER_FUNCTIONS(X)   \
    X(cusolverDnCreate)            \
    X(cusolverDnDestroy)           \
    X(cusolverDnSetStream)         \
    X(cusolverDnCreateParams)      \
    X(cusolverDnDestroyParams)     \
    X(cusolverDnXpotrf_bufferSize) \
    X(cusolverDnXpotrf)            \
    X(cusolverDnXsyevd_bufferSize) \
    X(cusolverDnXsyevd)            \
    X(cusolverDnXgeqrf_bufferSize) \
    X(cusolverDnXgeqrf)            \
    X(cusolverDnDorgqr_bufferSize) \
    X(cusolverDnDorgqr)

#define CUDA_POINTER(name) __typeof__(name) *name;
typedef struct cuda_libraries {
    void *blas, *solver; /* what dlopen returned */
    CUDA_BLAS_FUNCTIONS(CUDA_POINTER)
    CUDA_SOLVER_FUNCTIONS(CUDA_POINTER)
} cuda_libraries;
#undef CUDA_POINTER

/* Opens the libraries of CUDA 13 or 12, those of the toolkit's own version first. DEVICE when one is missing or lacks a function. */
ql_status cuda_libraries_open(ql_ctx *cx, cuda_libraries *l);
void cuda_libraries_close(cuda_libraries *l);

#endif
