/* Tensor cores: the warp's product of 16 x 16 by 16 x 8, and the loads that bring its operands from shared memory. A register holds two
 * neighbours; which ones a lane has is said in the PTX ISA, mma.m16n8k16 and ldmatrix. */
#ifndef QLOOM_CUDA_MMA_CUH
#define QLOOM_CUDA_MMA_CUH

#include "launch.cuh"

#ifndef __CUDACC__
#include <emulated_mma.h>
#else

#include <cuda_pipeline_primitives.h>

/* d += a b, with a row by row and b column by column */
template <typename T>
__device__ inline void
mma_16816(float d[4], const unsigned a[4], const unsigned b[2])
{
    if constexpr (std::is_same_v<T, __half>)
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                     "{%0, %1, %2, %3};\n"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};\n"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four 8 x 8 matrices; lane l gives the address of row l % 8 of matrix l / 8. */
__device__ inline void
load_matrices(unsigned to[4], const void *row)
{
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));

    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

/* The same, each matrix transposed. */
__device__ inline void
load_transposed(unsigned to[4], const void *row)
{
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));

    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

#endif

/* Two neighbours in one register. */
template <typename T>
__device__ inline unsigned
pack_pair(float low, float high)
{
    union {
        T pair[2];
        unsigned packed;
    } u = {{narrow<T>(low), narrow<T>(high)}};

    return u.packed;
}

#endif
