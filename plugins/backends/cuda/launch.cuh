/* What every kernel file starts from: launches, shared memory, dtypes and how they convert, sums over warps and blocks. */
#ifndef QLOOM_CUDA_LAUNCH_CUH
#define QLOOM_CUDA_LAUNCH_CUH

#include "kernels.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <type_traits>

#define WARP 32
#define ALL_LANES 0xffffffffu
#define GRID_MOST 65535u /* blocks along y or z */

/* The dynamic shared memory of a block; kernels give it a layout of their own. */
extern __shared__ __align__(16) unsigned char block_shared[];

template <typename T>
__device__ inline T *
shared_as(void)
{
    return reinterpret_cast<T *>(block_shared);
}

/* Queues a kernel; what goes wrong is found by cuda_launched. */
template <typename... P, typename... A>
static void
launch(cudaStream_t stream, dim3 grid, dim3 block, size_t shared, void (*kernel)(P...), A... args)
{
    cudaLaunchConfig_t config = {};

    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    if (shared > 48 * 1024) /* more has to be asked for */
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    cudaLaunchKernelEx(&config, kernel, P(args)...);
}

static inline int64_t
div_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Does every row begin at a multiple of `bytes`? */
static inline bool
aligned(const mat *m, size_t bytes)
{
    const size_t row = static_cast<size_t>(m->ld) * ql_dtype_size(m->dtype);

    return reinterpret_cast<uintptr_t>(m->p) % bytes == 0 && row % bytes == 0;
}

/* Blocks for `count` pieces of work, along a side of the grid that kernels walk in strides. */
static inline unsigned
blocks_for(int64_t count, unsigned most)
{
    return count < 1 ? 1u : count < most ? static_cast<unsigned>(count) : most;
}

/* f(i, j) for every element of a matrix: columns along x, rows along y. */
template <typename F>
static __global__ void
each_kernel(int64_t rows, int64_t cols, F f)
{
    const int64_t j = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;

    if (j >= cols)
        return;
    for (int64_t i = static_cast<int64_t>(blockIdx.y) * blockDim.y + threadIdx.y; i < rows;
         i += static_cast<int64_t>(gridDim.y) * blockDim.y)
        f(i, j);
}

/* In blocks as wide as the rows allow: a vector is one row. */
template <typename F>
static void
each(cudaStream_t stream, int64_t rows, int64_t cols, F f)
{
    const unsigned wide = cols > 128 ? 256 : cols > 64 ? 128 : cols > 32 ? 64 : 32;
    const dim3 block(wide, 256 / wide);

    launch(stream, dim3(blocks_for(div_up(cols, block.x), 1u << 30), blocks_for(div_up(rows, block.y), GRID_MOST)),
           block, 0, each_kernel<F>, rows, cols, f);
}

/* --- dtypes ----------------------------------------------------------------------------------------------------------- */

template <typename T> struct type_of {
    using type = T;
};
template <typename X> using type_in = typename X::type;

/* f(type_of<T>()) with the type of a dtype; `with_real` for f32 and f64, `with_float` for all that are not integers. */
template <typename F>
static void
with_real(ql_dtype dtype, F f)
{
    if (dtype == QL_F64)
        f(type_of<double>());
    else
        f(type_of<float>());
}

template <typename F>
static void
with_float(ql_dtype dtype, F f)
{
    if (dtype == QL_F16)
        f(type_of<__half>());
    else if (dtype == QL_BF16)
        f(type_of<__nv_bfloat16>());
    else
        with_real(dtype, f);
}

template <typename F>
static void
with_any(ql_dtype dtype, F f)
{
    if (dtype == QL_U8)
        f(type_of<uint8_t>());
    else if (dtype == QL_I32)
        f(type_of<int32_t>());
    else if (dtype == QL_I64)
        f(type_of<int64_t>());
    else
        with_float(dtype, f);
}

/* By size alone, for what only moves elements. */
template <typename F>
static void
with_bits(ql_dtype dtype, F f)
{
    switch (ql_dtype_size(dtype)) {
    case 1:
        f(type_of<uint8_t>());
        break;
    case 2:
        f(type_of<uint16_t>());
        break;
    case 4:
        f(type_of<uint32_t>());
        break;
    default:
        f(type_of<uint64_t>());
    }
}

/* What arithmetic on a dtype is done in. */
template <typename T> using wide = std::conditional_t<std::is_same_v<T, double>, double, float>;

__device__ inline float
widen(float x)
{
    return x;
}

__device__ inline double
widen(double x)
{
    return x;
}

__device__ inline float
widen(__half x)
{
    return __half2float(x);
}

__device__ inline float
widen(__nv_bfloat16 x)
{
    return __bfloat162float(x);
}

/* To a dtype, rounding once to nearest even. */
template <typename T>
__device__ inline T
narrow(double x)
{
    if constexpr (std::is_same_v<T, __half>)
        return __double2half(x);
    else if constexpr (std::is_same_v<T, __nv_bfloat16>)
        return __double2bfloat16(x);
    else
        return static_cast<T>(x);
}

template <typename T>
__device__ inline T
narrow(float x)
{
    if constexpr (std::is_same_v<T, __half>)
        return __float2half_rn(x);
    else if constexpr (std::is_same_v<T, __nv_bfloat16>)
        return __float2bfloat16_rn(x);
    else
        return static_cast<T>(x);
}

__device__ inline float
exponential(float x)
{
    return expf(x);
}

__device__ inline double
exponential(double x)
{
    return exp(x);
}

/* --- sums, in an order that follows from the shape --------------------------------------------------------------------- */

template <typename T>
__device__ inline T
warp_sum(T x)
{
    for (int with = WARP / 2; with > 0; with /= 2)
        x += __shfl_xor_sync(ALL_LANES, x, with);
    return x;
}

template <typename T>
__device__ inline T
warp_max(T x)
{
    for (int with = WARP / 2; with > 0; with /= 2) {
        const T other = __shfl_xor_sync(ALL_LANES, x, with);

        x = other > x ? other : x;
    }
    return x;
}

/* The sum over a block of whole warps, for all its threads; `room` holds one value a warp and is free again on return. */
template <typename T>
__device__ inline T
block_sum(T x, T *room)
{
    const unsigned warps = blockDim.x / WARP;

    x = warp_sum(x);
    if (threadIdx.x % WARP == 0)
        room[threadIdx.x / WARP] = x;
    __syncthreads();
    x = 0;
    for (unsigned w = 0; w < warps; w++)
        x += room[w];
    __syncthreads();
    return x;
}

#endif
