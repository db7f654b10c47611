/* bfloat16 on the host: storage and conversions, each rounded once to nearest even. */
#ifndef QLOOM_TEST_CUDA_BF16_H
#define QLOOM_TEST_CUDA_BF16_H

#include <cstdint>

struct __nv_bfloat16 {
    uint16_t bits;
};

float __bfloat162float(__nv_bfloat16 b);
__nv_bfloat16 __float2bfloat16_rn(float x);
__nv_bfloat16 __double2bfloat16(double x);

#endif
