/* Memory, streams and events of the emulated device. Fresh memory is NaN; QLOOM_TEST_CUDA_MEMORY is its size in bytes,
 * QLOOM_TEST_CUDA_DEVICES=0 takes the device away, QLOOM_TEST_CUDA_DRIVER=12040 and _CAPABILITY=75 make it an older one. */
#include <cuda_runtime.h>

#include <cstdlib>
#include <map>

struct emulated_stream {
    unsigned flags;
};
struct emulated_event {
    bool recorded;
};
struct emulated_pool {
    uint64_t threshold;
};

namespace {

std::map<void *, size_t> held; /* device memory */
size_t used;
cudaError_t last;

size_t
from_environment(const char *name, size_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, nullptr, 10) : otherwise;
}

size_t
memory_size()
{
    return from_environment("QLOOM_TEST_CUDA_MEMORY", static_cast<size_t>(8) << 30);
}

int
device_count()
{
    return static_cast<int>(from_environment("QLOOM_TEST_CUDA_DEVICES", 1));
}

} // namespace

cudaError_t
emulated_error(cudaError_t error)
{
    if (error != cudaSuccess)
        last = error;
    return error;
}

extern "C" {

cudaError_t
cudaGetDeviceCount(int *count)
{
    *count = device_count();
    return emulated_error(*count ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t
cudaSetDevice(int device)
{
    return emulated_error(device >= 0 && device < device_count() ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t
cudaGetDeviceProperties(cudaDeviceProp *prop, int device)
{
    const int capability = static_cast<int>(from_environment("QLOOM_TEST_CUDA_CAPABILITY", 90));

    *prop = {"emulated on the host", memory_size(), 227 * 1024, capability / 10, capability % 10, 2};
    return cudaSetDevice(device);
}

cudaError_t
cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device)
{
    *value = attribute == cudaDevAttrMemoryPoolsSupported;
    return cudaSetDevice(device);
}

cudaError_t
cudaDriverGetVersion(int *version)
{
    *version = static_cast<int>(from_environment("QLOOM_TEST_CUDA_DRIVER", CUDART_VERSION));
    return cudaSuccess;
}

cudaError_t
cudaGetLastError(void)
{
    const cudaError_t e = last;

    last = cudaSuccess;
    return e;
}

const char *
cudaGetErrorString(cudaError_t error)
{
    switch (error) {
#define CUDA_ERROR_TEXT(name, number, text) \
    case cuda##name:                        \
        return text;
        CUDA_ERROR_LIST(CUDA_ERROR_TEXT)
#undef CUDA_ERROR_TEXT
    }
    return "unrecognized error code";
}

const char *
cudaGetErrorName(cudaError_t error)
{
    switch (error) {
#define CUDA_ERROR_NAME(name, number, text) \
    case cuda##name:                        \
        return "cuda" #name;
        CUDA_ERROR_LIST(CUDA_ERROR_NAME)
#undef CUDA_ERROR_NAME
    }
    return "unrecognized error code";
}

cudaError_t
cudaMalloc(void **ptr, size_t bytes)
{
    *ptr = nullptr;
    if (bytes > memory_size() - used)
        return emulated_error(cudaErrorMemoryAllocation);
    if (posix_memalign(ptr, 256, bytes ? bytes : 1) != 0)
        return emulated_error(cudaErrorMemoryAllocation);
    memset(*ptr, 0xff, bytes);
    held[*ptr] = bytes;
    used += bytes;
    return cudaSuccess;
}

cudaError_t
cudaFreeAsync(void *ptr, cudaStream_t stream)
{
    const auto it = held.find(ptr);

    (void)stream;
    if (!ptr)
        return cudaSuccess;
    if (it == held.end())
        return emulated_error(cudaErrorInvalidValue);
    used -= it->second;
    held.erase(it);
    free(ptr);
    return cudaSuccess;
}

cudaError_t
cudaFree(void *ptr)
{
    return cudaFreeAsync(ptr, nullptr);
}

cudaError_t
cudaHostAlloc(void **ptr, size_t bytes, unsigned flags)
{
    (void)flags;
    *ptr = malloc(bytes ? bytes : 1);
    return emulated_error(*ptr ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t
cudaFreeHost(void *ptr)
{
    free(ptr);
    return cudaSuccess;
}

cudaError_t
cudaMemPoolCreate(cudaMemPool_t *pool, const cudaMemPoolProps *props)
{
    *pool = new emulated_pool{0};
    return cudaSetDevice(props->location.id);
}

cudaError_t
cudaMemPoolDestroy(cudaMemPool_t pool)
{
    delete pool;
    return cudaSuccess;
}

cudaError_t
cudaMallocFromPoolAsync(void **ptr, size_t bytes, cudaMemPool_t pool, cudaStream_t stream)
{
    (void)pool;
    (void)stream;
    return cudaMalloc(ptr, bytes);
}

cudaError_t
cudaMemPoolSetAttribute(cudaMemPool_t p, cudaMemPoolAttr attribute, void *value)
{
    if (attribute != cudaMemPoolAttrReleaseThreshold)
        return emulated_error(cudaErrorInvalidValue);
    p->threshold = *static_cast<uint64_t *>(value);
    return cudaSuccess;
}

cudaError_t
cudaMemPoolTrimTo(cudaMemPool_t p, size_t keep)
{
    (void)p;
    (void)keep;
    return cudaSuccess;
}

cudaError_t
cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream)
{
    (void)kind;
    (void)stream;
    if (bytes > 0)
        memcpy(to, from, bytes);
    return cudaSuccess;
}

cudaError_t
cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t fn, void *arg)
{
    (void)stream;
    fn(arg);
    return cudaSuccess;
}

cudaError_t
cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    *stream = new emulated_stream{flags};
    return cudaSuccess;
}

cudaError_t
cudaStreamDestroy(cudaStream_t stream)
{
    delete stream;
    return cudaSuccess;
}

cudaError_t
cudaStreamSynchronize(cudaStream_t stream)
{
    (void)stream;
    return cudaSuccess;
}

cudaError_t
cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    (void)stream;
    (void)event;
    (void)flags;
    return cudaSuccess;
}

cudaError_t
cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    (void)flags;
    *event = new emulated_event{false};
    return cudaSuccess;
}

cudaError_t
cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t
cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    (void)stream;
    event->recorded = true;
    return cudaSuccess;
}

cudaError_t
cudaEventSynchronize(cudaEvent_t event)
{
    (void)event;
    return cudaSuccess;
}
}
