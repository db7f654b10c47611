/* Tensor cores and asynchronous copies on the host: the lanes of a warp meet, and each gets the elements that the PTX ISA gives it. */
#ifndef QLOOM_TEST_CUDA_MMA_H
#define QLOOM_TEST_CUDA_MMA_H

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

/* Element k % 2 of a register. */
template <typename T>
inline float
emulated_element(unsigned packed, int k)
{
    const T x = {static_cast<uint16_t>(packed >> (k % 2 * 16))};

    if constexpr (std::is_same_v<T, __half>)
        return __half2float(x);
    else
        return __bfloat162float(x);
}

/* The float that a sum of tensor cores is kept in: they truncate. */
inline float
emulated_truncated(double x)
{
    const float f = static_cast<float>(x);

    return std::fabs(static_cast<double>(f)) > std::fabs(x) ? std::nextafterf(f, 0.0f) : f;
}

struct emulated_product {
    float *d;
    const unsigned *a, *b;
};

/* d += a b for 16 x 16 by 16 x 8: lane l holds rows l / 4 and l / 4 + 8 of a and d, column l / 4 of b. */
template <typename T>
void
mma_16816(float d[4], const unsigned a[4], const unsigned b[2])
{
    emulated_product mine = {d, a, b};

    emulated_warp(0xffffffffu, &mine, [](unsigned, void *const lanes[32]) {
        float left[16][16], right[16][8];

        for (int l = 0; l < 32; l++) {
            const auto *p = static_cast<const emulated_product *>(lanes[l]);

            for (int r = 0; r < 4; r++)
                for (int k = 0; k < 2; k++)
                    left[l / 4 + r % 2 * 8][l % 4 * 2 + r / 2 * 8 + k] = emulated_element<T>(p->a[r], k);
            for (int r = 0; r < 2; r++)
                for (int k = 0; k < 2; k++)
                    right[l % 4 * 2 + r * 8 + k][l / 4] = emulated_element<T>(p->b[r], k);
        }
        for (int l = 0; l < 32; l++)
            for (int r = 0; r < 4; r++) {
                float *to = static_cast<emulated_product *>(lanes[l])->d + r;
                double sum = static_cast<double>(*to);

                for (int k = 0; k < 16; k++) /* exact: products of two numbers of 11 digits at most */
                    sum += static_cast<double>(left[l / 4 + r / 2 * 8][k]) *
                           static_cast<double>(right[k][l % 4 * 2 + r % 2]);
                *to = emulated_truncated(sum);
            }
    });
}

struct emulated_rows {
    unsigned *to;
    const void *row;
};

/* Four 8 x 8 matrices of 16-bit elements, row l % 8 of matrix l / 8 from lane l, which gets elements 2 (l % 4) and the next of row l / 4
 * of each; transposed, of column l / 4. */
template <bool TRANSPOSED>
void
emulated_load_matrices(unsigned to[4], const void *row)
{
    emulated_rows mine = {to, row};

    if (reinterpret_cast<uintptr_t>(row) % 16)
        emulated_broken("a row of ldmatrix is not at 16 aligned bytes");
    emulated_warp(0xffffffffu, &mine, [](unsigned, void *const lanes[32]) {
        for (int l = 0; l < 32; l++)
            for (int m = 0; m < 4; m++) {
                unsigned packed = 0;

                for (int k = 0; k < 2; k++) {
                    const int i = TRANSPOSED ? l % 4 * 2 + k : l / 4, j = TRANSPOSED ? l / 4 : l % 4 * 2 + k;
                    const auto *from =
                        static_cast<const uint16_t *>(static_cast<const emulated_rows *>(lanes[m * 8 + i])->row);

                    packed |= static_cast<unsigned>(from[j]) << (16 * k);
                }
                static_cast<emulated_rows *>(lanes[l])->to[m] = packed;
            }
    });
}

inline void
load_matrices(unsigned to[4], const void *row)
{
    emulated_load_matrices<false>(to, row);
}

inline void
load_transposed(unsigned to[4], const void *row)
{
    emulated_load_matrices<true>(to, row);
}

/* Copies that a thread has begun arrive when it waits for them, not before. */
void __pipeline_memcpy_async(void *to, const void *from, size_t bytes, size_t zeros = 0);
void __pipeline_commit(void);
void __pipeline_wait_prior(unsigned batches);

#endif
