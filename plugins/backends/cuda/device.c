/* The cuda backend: cuBLAS and cuSOLVER for linear algebra, own kernels for the rest, everything in order on one stream. */
#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_MAJOR 8 /* compute capability: bf16 in the tensor cores */
#define WORKSPACE ((size_t)32 << 20)

/* --- errors --- */

ql_status
cuda_check(ql_ctx *cx, cudaError_t e, const char *call)
{
    const int name = (int)strcspn(call, "(");

    if (e == cudaSuccess)
        return QL_OK;
    (void)cudaGetLastError(); /* it must not be found again by whoever launches next */
    return QL_FAIL(cx, e == cudaErrorMemoryAllocation ? QL_MEMORY : QL_DEVICE, "%.*s: %s (%s)", name, call,
                   cudaGetErrorString(e), cudaGetErrorName(e));
}

ql_status
cuda_blas_check(ql_ctx *cx, const cuda *d, cublasStatus_t s, const char *call)
{
    if (s == CUBLAS_STATUS_SUCCESS)
        return QL_OK;
    return QL_FAIL(cx, s == CUBLAS_STATUS_ALLOC_FAILED ? QL_MEMORY : QL_DEVICE, "%s: %s", call,
                   d->lib.cublasGetStatusString(s));
}

ql_status
cuda_solver_check(ql_ctx *cx, cusolverStatus_t s, const char *call)
{
    if (s == CUSOLVER_STATUS_SUCCESS)
        return QL_OK;
    return QL_FAIL(cx, s == CUSOLVER_STATUS_ALLOC_FAILED ? QL_MEMORY : QL_DEVICE, "%s: cuSOLVER's status %d", call,
                   (int)s);
}

ql_status
cuda_launched(ql_ctx *cx, void *dev, const char *kernel)
{
    (void)dev;
    return cuda_check(cx, cudaGetLastError(), kernel);
}

/* --- opening --- */

cudaStream_t
cuda_stream(void *dev)
{
    return ((const cuda *)dev)->stream;
}

/* Is there a driver, recent enough for this build, and a device of that number? */
static ql_status
find(ql_ctx *cx, int index)
{
    const int built = CUDART_VERSION;
    int driver = 0, count = 0;
    cudaError_t e = cudaDriverGetVersion(&driver);

    if (e != cudaSuccess || driver == 0)
        return QL_FAIL(cx, QL_DEVICE, "cuda:%d: no NVIDIA driver answers on this machine", index);
    if (driver / 1000 < built / 1000)
        return QL_FAIL(cx, QL_DEVICE,
                       "cuda:%d: the driver knows CUDA %d.%d, this qloom was built with CUDA %d.%d: update the driver, "
                       "or build with CUDA %d",
                       index, driver / 1000, driver % 1000 / 10, built / 1000, built % 1000 / 10, driver / 1000);
    e = cudaGetDeviceCount(&count);
    (void)cudaGetLastError(); /* or the first kernel would be told of it */
    if (e == cudaErrorNoDevice || (e == cudaSuccess && count == 0))
        return QL_FAIL(cx, QL_DEVICE, "cuda:%d: the driver answers, but has no device", index);
    QL_TRY(cx, cuda_check(cx, e, "cudaGetDeviceCount"));
    if (index >= count)
        return QL_FAIL(cx, QL_DEVICE, "cuda:%d: this machine has %d device%s, cuda:0%s", index, count,
                       count == 1 ? "" : "s", count == 1 ? "" : " and on");
    return QL_OK;
}

/* Can it do what the kernels ask of it? */
static ql_status
fit(ql_ctx *cx, cuda *d)
{
    int pools = 0;

    CUDA_TRY(cx, cudaGetDeviceProperties(&d->props, d->index));
    if (d->props.major < LEAST_MAJOR)
        return QL_FAIL(cx, QL_DEVICE, "cuda:%d (%s) has compute capability %d.%d, 8.0 or later is needed", d->index,
                       d->props.name, d->props.major, d->props.minor);
    CUDA_TRY(cx, cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, d->index));
    if (!pools)
        return QL_FAIL(cx, QL_DEVICE, "cuda:%d (%s) has no memory pools: its driver is set up for a shared machine",
                       d->index, d->props.name);
    CUDA_TRY(cx, cudaSetDevice(d->index));
    CUDA_TRY(cx, cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking));
    return QL_OK;
}

/* The first kernel says whether this build has code for the device. */
static ql_status
probe(ql_ctx *cx, cuda *d)
{
    mat one = {.rows = 1, .cols = 1, .ld = 1, .dtype = QL_F32};
    cudaError_t e = cudaMalloc(&d->workspace, WORKSPACE);

    if (e == cudaErrorMemoryAllocation)
        return QL_FAIL(cx, QL_MEMORY, "cuda:%d (%s) has no room for the %zu MiB of its libraries: who else uses it?",
                       d->index, d->props.name, WORKSPACE >> 20);
    QL_TRY(cx, cuda_check(cx, e, "cudaMalloc"));
    one.p = d->workspace;
    launch_copy(d->stream, &one, &one);
    e = cudaGetLastError();
    if (e == cudaErrorNoKernelImageForDevice)
        return QL_FAIL(cx, QL_DEVICE,
                       "cuda:%d (%s): this build has no code for compute capability %d.%d: build with "
                       "-DQLOOM_CUDA_ARCHITECTURES=%d%d or =all",
                       d->index, d->props.name, d->props.major, d->props.minor, d->props.major, d->props.minor);
    return cuda_check(cx, e, "the first kernel");
}

#define BLAS_TRY(call) QL_TRY(cx, cuda_blas_check(cx, d, d->lib.call, #call))
#define SOLVER_TRY(call) QL_TRY(cx, cuda_solver_check(cx, d->lib.call, #call))

/* No TF32, no sums in half precision, and a workspace of its own: the same bits for the same shapes. */
static ql_status
libraries(ql_ctx *cx, cuda *d)
{
    QL_TRY(cx, cuda_libraries_open(cx, &d->lib));
    BLAS_TRY(cublasCreate_v2(&d->blas));
    BLAS_TRY(cublasSetStream_v2(d->blas, d->stream));
    BLAS_TRY(cublasSetWorkspace_v2(d->blas, d->workspace, WORKSPACE));
    BLAS_TRY(cublasSetMathMode(d->blas,
                               (cublasMath_t)(CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)));
    SOLVER_TRY(cusolverDnCreate(&d->solver));
    SOLVER_TRY(cusolverDnSetStream(d->solver, d->stream));
    SOLVER_TRY(cusolverDnCreateParams(&d->params));
    return QL_OK;
}

#undef BLAS_TRY
#undef SOLVER_TRY

static void
cuda_close(void *dev)
{
    cuda *d = dev;

    if (!d)
        return;
    if (d->stream)
        (void)cudaStreamSynchronize(d->stream);
    cuda_memory_close(d);
    if (d->params)
        (void)d->lib.cusolverDnDestroyParams(d->params);
    if (d->solver)
        (void)d->lib.cusolverDnDestroy(d->solver);
    if (d->blas)
        (void)d->lib.cublasDestroy_v2(d->blas);
    if (d->workspace)
        (void)cudaFree(d->workspace);
    if (d->stream)
        (void)cudaStreamDestroy(d->stream);
    cuda_libraries_close(&d->lib);
    free(d);
}

static ql_status
cuda_open(ql_ctx *cx, const ql_device_options *opt, void **dev)
{
    cuda *d;
    ql_status st;

    QL_TRY(cx, find(cx, opt->index));
    d = calloc(1, sizeof *d);
    if (!d)
        return QL_FAIL(cx, QL_MEMORY, "no memory for the state of cuda:%d", opt->index);
    d->index = opt->index;
    d->compute = opt->compute == QL_DTYPE_NONE ? QL_BF16 : opt->compute;
    st = fit(cx, d);
    if (st == QL_OK)
        st = cuda_memory_open(cx, d);
    if (st == QL_OK)
        st = probe(cx, d);
    if (st == QL_OK)
        st = libraries(cx, d);
    if (st != QL_OK) {
        cuda_close(d);
        return st;
    }
    *dev = d;
    return QL_OK;
}

static ql_status
cuda_info(ql_ctx *cx, void *dev, ql_device_info *out)
{
    const cuda *d = dev;
    int version = 0, driver = 0;

    *out = (ql_device_info){.name = "cuda, not here", .compute_dtype = QL_BF16, .reserved = WORKSPACE};
    if (!d)
        return QL_OK;
    CUDA_TRY(cx, cudaDriverGetVersion(&driver));
    QL_TRY(cx, cuda_blas_check(cx, d, d->lib.cublasGetVersion_v2(d->blas, &version), "cublasGetVersion_v2"));
    out->compute_dtype = d->compute;
    out->memory = d->props.totalGlobalMem;
    snprintf(out->name, sizeof out->name, "cuda:%d, %.64s, compute capability %d.%d, CUDA %d.%d, cuBLAS %d.%d, in %s",
             d->index, d->props.name, d->props.major, d->props.minor, driver / 1000, driver % 1000 / 10,
             version / 10000, version % 10000 / 100, ql_dtype_name(d->compute));
    return QL_OK;
}

/* The host learns of a failed kernel here, long after it was queued. */
static ql_status
cuda_sync(ql_ctx *cx, void *dev)
{
    const cudaError_t e = cudaStreamSynchronize(cuda_stream(dev));

    if (e == cudaSuccess)
        return QL_OK;
    return QL_FAIL(cx, QL_DEVICE, "%s (%s)", cudaGetErrorString(e), cudaGetErrorName(e));
}

static const ql_op_row *const ops[] = {
    cuda_attention_ops,
    cuda_attention_back_ops,
    cuda_blas_ops,
    cuda_copy_ops,
    cuda_elementwise_ops,
    cuda_factor_ops,
    cuda_gather_ops,
    cuda_group_ops,
    cuda_logits_ops,
    cuda_norm_rope_ops,
    cuda_random_ops,
    cuda_reduce_ops,
    cuda_resting_ops,
    cuda_sweep_ops,
    cuda_train_ops,
    cuda_trtri_ops,
    NULL,
};

static const ql_backend backend = {
    .size = sizeof(ql_backend),
    .device = "cuda",
    .open = cuda_open,
    .close = cuda_close,
    .info = cuda_info,
    .ops = ops,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .upload = cuda_upload,
    .download = cuda_download,
    .sync = cuda_sync,
    .host_alloc = cuda_host_alloc,
    .host_free = cuda_host_free,
    .park = cuda_park,
    .unpark = cuda_unpark,
    .prefetch = cuda_prefetch,
    .arrive = cuda_arrive,
};

static const ql_param params[] = {QL_PARAMS_END};

QL_PLUGIN(.kind = QL_BACKEND, .name = "cuda", .version = "0.1.0", .params = params, .backend = &backend,
          .help = "an NVIDIA GPU: cuBLAS, cuSOLVER and own kernels, in order on one stream");
