/* The cuda backend from the inside: an open device. */
#ifndef QLOOM_CUDA_DEVICE_H
#define QLOOM_CUDA_DEVICE_H

#include "kernels.h"
#include "libraries.h"

#define CUDA_STAGES 2              /* pinned buffers that uploads and downloads take turns with */
#define CUDA_STAGE_BYTES (8 << 20) /* of each */

#define CUDA_IDLE 64 /* pinned buffers that wait to be asked for again */

/* Pinned memory that was given back and waits to be asked for again: pinning costs as long as copying. */
typedef struct cuda_pinned {
    void *ptr;
    size_t bytes;
} cuda_pinned;

typedef struct cuda {
    int index;
    ql_dtype compute;
    struct cudaDeviceProp props;
    cudaStream_t stream; /* every operation, in order */
    cudaStream_t side;   /* what is uploaded beside them */
    cudaMemPool_t pool;
    cuda_libraries lib;
    cublasHandle_t blas;
    cusolverDnHandle_t solver;
    cusolverDnParams_t params;
    void *workspace;           /* cuBLAS': fixed, so that what it chooses never depends on what is free */
    void *stages[CUDA_STAGES]; /* pinned */
    cudaEvent_t staged[CUDA_STAGES];
    int next_stage;
    void *side_stage; /* pinned, of the side stream */
    cudaEvent_t ready;
    cuda_pinned idle[CUDA_IDLE]; /* empty where ptr is NULL */
} cuda;

/* DEVICE, or MEMORY when that is what CUDA lacks, with CUDA's text and the name of its error; QL_OK for cudaSuccess. */
ql_status cuda_check(ql_ctx *cx, cudaError_t e, const char *call);
/* The same for the libraries. */
ql_status cuda_blas_check(ql_ctx *cx, const cuda *d, cublasStatus_t s, const char *call);
ql_status cuda_solver_check(ql_ctx *cx, cusolverStatus_t s, const char *call);

#define CUDA_TRY(cx, call) QL_TRY(cx, cuda_check(cx, call, #call))

/* --- memory.c --- */
ql_status cuda_memory_open(ql_ctx *cx, cuda *d);
void cuda_memory_close(cuda *d);
void *cuda_alloc(void *dev, size_t bytes);
void cuda_free(void *dev, void *ptr, size_t bytes);
void *cuda_host_alloc(void *dev, size_t bytes);
void cuda_host_free(void *dev, void *ptr, size_t bytes);
ql_status cuda_park(ql_ctx *cx, void *dev, const void *ptr, void *host, size_t bytes);
ql_status cuda_unpark(ql_ctx *cx, void *dev, const void *host, void *ptr, size_t bytes);
ql_status cuda_prefetch(ql_ctx *cx, void *dev, const void *host, void *ptr, size_t bytes);
ql_status cuda_arrive(ql_ctx *cx, void *dev);

#endif
