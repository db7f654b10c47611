/* The emulated device and its memory. Fresh and freed memory is NaN; QLOOM_TEST_CUDA_MEMORY is its size in bytes,
 * QLOOM_TEST_CUDA_DEVICES=0 takes the device away, QLOOM_TEST_CUDA_DRIVER=12040 and _CAPABILITY=75 make it an older one. After
 * kernel QLOOM_TEST_CUDA_FAULT (from 1) nothing works any more. */
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <vector>

struct emulated_pool {
    uint64_t threshold;
};

namespace {

typedef std::map<const void *, size_t> ranges; /* bytes by their beginning */

ranges device, pinned;
size_t used; /* of the device */
cudaError_t last;
size_t kernels;
bool fault;

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

[[noreturn]] void
broken(const char *what)
{
    fprintf(stderr, "emulated cuda: %s\n", what);
    abort();
}

/* Are [p, p + bytes) within one of them? */
bool
lies_in(const ranges &all, const void *p, size_t bytes)
{
    const auto after = all.upper_bound(p);

    if (after == all.begin())
        return false;
    const auto at = std::prev(after);
    const size_t offset = static_cast<size_t>(static_cast<const char *>(p) - static_cast<const char *>(at->first));

    return offset <= at->second && bytes <= at->second - offset;
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

bool
emulated_kernel_fails(void)
{
    fault = fault || ++kernels == from_environment("QLOOM_TEST_CUDA_FAULT", 0);
    return fault;
}

cudaError_t
emulated_fault(void)
{
    return emulated_error(fault ? cudaErrorLaunchFailure : cudaSuccess);
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
cudaMallocFromPoolAsync(void **ptr, size_t bytes, cudaMemPool_t, cudaStream_t stream)
{
    *ptr = nullptr;
    if (fault)
        return emulated_fault();
    if (bytes > memory_size() - used || posix_memalign(ptr, 256, bytes ? bytes : 1) != 0)
        return emulated_error(cudaErrorMemoryAllocation);
    device[*ptr] = bytes;
    used += bytes;
    emulated_queue(stream, [p = *ptr, bytes] { memset(p, 0xff, bytes); });
    return cudaSuccess;
}

cudaError_t
cudaFreeAsync(void *ptr, cudaStream_t stream)
{
    if (!ptr)
        return cudaSuccess;
    emulated_queue(stream, [ptr] {
        const auto it = device.find(ptr);

        if (it == device.end())
            broken("memory is freed that nobody has");
        memset(ptr, 0xff, it->second);
        used -= it->second;
        device.erase(it);
        free(ptr);
    });
    return cudaSuccess;
}

cudaError_t
cudaMalloc(void **ptr, size_t bytes)
{
    const cudaError_t e = cudaMallocFromPoolAsync(ptr, bytes, nullptr, nullptr);

    (void)cudaStreamSynchronize(nullptr);
    return e;
}

/* Waits for all that is queued. */
cudaError_t
cudaFree(void *ptr)
{
    emulated_wait_for_all();
    (void)cudaFreeAsync(ptr, nullptr);
    return cudaStreamSynchronize(nullptr);
}

cudaError_t
cudaHostAlloc(void **ptr, size_t bytes, unsigned)
{
    *ptr = malloc(bytes ? bytes : 1);
    if (!*ptr)
        return emulated_error(cudaErrorMemoryAllocation);
    memset(*ptr, 0xff, bytes);
    pinned[*ptr] = bytes;
    return cudaSuccess;
}

/* Waits for nobody: copies that are queued find their memory gone. */
cudaError_t
cudaFreeHost(void *ptr)
{
    pinned.erase(ptr);
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

/* Pinned memory is read and written when the copy's turn comes. Other memory is read at once, and waited for when it is written. */
cudaError_t
cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream)
{
    const bool down = kind == cudaMemcpyDeviceToHost;

    if (lies_in(pinned, down ? to : from, bytes)) {
        emulated_queue(stream, [=] {
            if (!lies_in(pinned, down ? to : from, bytes) || !lies_in(device, down ? from : to, bytes))
                broken("memory of a copy is not there any more");
            memcpy(to, from, bytes);
        });
    } else if (down) {
        emulated_queue(stream, [=] { memcpy(to, from, bytes); });
        (void)cudaStreamSynchronize(stream);
    } else {
        const auto *p = static_cast<const unsigned char *>(from);

        emulated_queue(stream,
                       [to, read = std::vector<unsigned char>(p, p + bytes)] { memcpy(to, read.data(), read.size()); });
    }
    return cudaSuccess;
}
}
