/* What CUDA C++ means on the host: the threads of a block are fibers that meet at barriers, blocks run one after the other. Shared
 * memory is the dynamic kind alone, `extern __shared__ T block_shared[]`. For tests; threads.cpp is behind it. */
#ifndef QLOOM_TEST_CUDA_RUNTIME_H
#define QLOOM_TEST_CUDA_RUNTIME_H

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <tuple>

#define __global__
#define __device__
#define __host__
#define __shared__
#define __forceinline__ inline
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c)
    {
    }
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

extern uint3 threadIdx, blockIdx; /* of the fiber that runs */
extern dim3 blockDim, gridDim;

/* --- launches ---------------------------------------------------------------------------------------------------------- */

struct cudaLaunchAttribute;
struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
    cudaLaunchAttribute *attrs;
    unsigned numAttrs;
};

cudaError_t emulated_error(cudaError_t error); /* for cudaGetLastError; returns it */
void emulated_queue(cudaStream_t stream, std::function<void()> operation);
void emulated_wait_for_all(void);
bool emulated_kernel_fails(void); /* asked once a kernel */
cudaError_t emulated_fault(void); /* of a kernel that has failed, for whoever asks next */
/* `thread` is what every thread runs. */
cudaError_t emulated_launch(const cudaLaunchConfig_t &config, const void *kernel, std::function<void()> thread);
cudaError_t emulated_func_attribute(const void *kernel, cudaFuncAttribute attribute, int value);

template <typename... P, typename... A>
cudaError_t
cudaLaunchKernelEx(const cudaLaunchConfig_t *config, void (*kernel)(P...), A... args)
{
    return emulated_launch(*config, reinterpret_cast<const void *>(kernel),
                           [kernel, values = std::tuple<P...>(P(args)...)] { std::apply(kernel, values); });
}

template <typename... P>
cudaError_t
cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute attribute, int value)
{
    return emulated_func_attribute(reinterpret_cast<const void *>(kernel), attribute, value);
}

/* --- threads that meet ------------------------------------------------------------------------------------------------- */

[[noreturn]] void emulated_broken(const char *what); /* says where, and ends the process */
void emulated_barrier(const char *file, int line);
/* The lanes of `mask` meet; the last one to come runs `fn` on what all of them brought. */
typedef void (*emulated_collective)(unsigned mask, void *const lanes[32]);
void emulated_warp(unsigned mask, void *mine, emulated_collective fn);
void emulated_warp_barrier(const char *file, int line);

#define __syncthreads() emulated_barrier(__FILE__, __LINE__)
#define __syncwarp() emulated_warp_barrier(__FILE__, __LINE__)

template <typename T> struct emulated_shuffle {
    T value, result;
    int lane; /* whose value */
};

template <typename T>
T
emulated_exchange(unsigned mask, T value, int lane)
{
    emulated_shuffle<T> mine = {value, value, lane};

    emulated_warp(mask, &mine, [](unsigned present, void *const lanes[32]) {
        for (int i = 0; i < 32; i++)
            if (present >> i & 1) {
                auto *to = static_cast<emulated_shuffle<T> *>(lanes[i]);

                if (present >> to->lane & 1)
                    to->result = static_cast<emulated_shuffle<T> *>(lanes[to->lane])->value;
            }
    });
    return mine.result;
}

int emulated_lane(void);

template <typename T>
T
__shfl_sync(unsigned mask, T value, int lane)
{
    return emulated_exchange(mask, value, lane & 31);
}

template <typename T>
T
__shfl_xor_sync(unsigned mask, T value, int with)
{
    return emulated_exchange(mask, value, emulated_lane() ^ with);
}

unsigned __ballot_sync(unsigned mask, int predicate);

inline int
__any_sync(unsigned mask, int predicate)
{
    return __ballot_sync(mask, predicate) != 0;
}

/* Fibers change at barriers only, so these are atomic. */
template <typename T>
T
atomicAdd(T *to, T value)
{
    T old = *to;

    *to = old + value;
    return old;
}

template <typename T>
T
atomicMin(T *to, T value)
{
    T old = *to;

    *to = value < old ? value : old;
    return old;
}

template <typename T>
T
atomicOr(T *to, T value)
{
    T old = *to;

    *to = old | value;
    return old;
}

#endif
