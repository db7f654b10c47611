/* The part of CUDA's runtime that the cuda backend uses, with a meaning on the host: one device whose memory is the host's, streams
 * on which nothing happens before somebody waits for it. For tests; runtime.cpp and streams.cpp are behind it. */
#ifndef QLOOM_TEST_CUDA_RUNTIME_API_H
#define QLOOM_TEST_CUDA_RUNTIME_API_H

#include <stddef.h>
#include <stdint.h>

#define CUDART_VERSION 13000

#ifdef __cplusplus
extern "C" {
#endif

/* name, number, text */
#define CUDA_ERROR_LIST(X)                                                                          \
    X(Success, 0, "no error")                                                                       \
    X(ErrorInvalidValue, 1, "invalid argument")                                                     \
    X(ErrorMemoryAllocation, 2, "out of memory")                                                    \
    X(ErrorInvalidConfiguration, 9, "invalid configuration argument")                               \
    X(ErrorInsufficientDriver, 35, "CUDA driver version is insufficient for CUDA runtime version")  \
    X(ErrorNoDevice, 100, "no CUDA-capable device is detected")                                     \
    X(ErrorInvalidDevice, 101, "invalid device ordinal")                                            \
    X(ErrorNoKernelImageForDevice, 209, "no kernel image is available for execution on the device") \
    X(ErrorNotReady, 600, "device not ready")                                                       \
    X(ErrorLaunchFailure, 719, "unspecified launch failure")                                        \
    X(ErrorNotSupported, 801, "operation not supported")

typedef enum cudaError {
#define CUDA_ERROR_ENUM(name, number, text) cuda##name = number,
    CUDA_ERROR_LIST(CUDA_ERROR_ENUM)
#undef CUDA_ERROR_ENUM
} cudaError_t;

typedef struct emulated_stream *cudaStream_t;
typedef struct emulated_event *cudaEvent_t;
typedef struct emulated_pool *cudaMemPool_t;

enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault
};

enum { cudaStreamDefault = 0, cudaStreamNonBlocking = 1 };
enum { cudaEventDefault = 0, cudaEventBlockingSync = 1, cudaEventDisableTiming = 2 };
enum { cudaHostAllocDefault = 0, cudaHostAllocPortable = 1 };

typedef enum cudaMemPoolAttr { cudaMemPoolAttrReleaseThreshold = 4 } cudaMemPoolAttr;

typedef enum cudaMemAllocationType { cudaMemAllocationTypePinned = 1 } cudaMemAllocationType;
typedef enum cudaMemLocationType { cudaMemLocationTypeDevice = 1 } cudaMemLocationType;

typedef struct cudaMemPoolProps {
    cudaMemAllocationType allocType;
    struct {
        cudaMemLocationType type;
        int id;
    } location;
} cudaMemPoolProps;

typedef enum cudaDeviceAttr { cudaDevAttrMemoryPoolsSupported = 115 } cudaDeviceAttr;

typedef enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 } cudaFuncAttribute;

typedef struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlockOptin;
    int major, minor, multiProcessorCount;
} cudaDeviceProp;

cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *prop, int device);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaGetLastError(void);
const char *cudaGetErrorString(cudaError_t error);
const char *cudaGetErrorName(cudaError_t error);

cudaError_t cudaMalloc(void **ptr, size_t bytes);
cudaError_t cudaFreeAsync(void *ptr, cudaStream_t stream);
cudaError_t cudaFree(void *ptr);
cudaError_t cudaHostAlloc(void **ptr, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *ptr);
cudaError_t cudaMemPoolCreate(cudaMemPool_t *pool, const cudaMemPoolProps *props);
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool);
cudaError_t cudaMallocFromPoolAsync(void **ptr, size_t bytes, cudaMemPool_t pool, cudaStream_t stream);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void *value);
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t keep);

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream);

#define CUDART_CB
typedef void (*cudaHostFn_t)(void *arg);
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t fn, void *arg);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);

/* Is this what a test takes away, as "sweep.cu:120" in QLOOM_TEST_WITHOUT? */
int emulated_without(const char *file, int line);
#define EMULATED_UNLESS_TAKEN(call) (emulated_without(__FILE__, __LINE__) ? cudaSuccess : call)
#define cudaStreamSynchronize(stream) EMULATED_UNLESS_TAKEN(cudaStreamSynchronize(stream))
#define cudaStreamWaitEvent(stream, event, flags) EMULATED_UNLESS_TAKEN(cudaStreamWaitEvent(stream, event, flags))
#define cudaEventRecord(event, stream) EMULATED_UNLESS_TAKEN(cudaEventRecord(event, stream))
#define cudaEventSynchronize(event) EMULATED_UNLESS_TAKEN(cudaEventSynchronize(event))

#ifdef __cplusplus
}
#endif

#endif
