/* Half precision on the host: storage and conversions, each rounded once to nearest even. */
#ifndef QLOOM_TEST_CUDA_FP16_H
#define QLOOM_TEST_CUDA_FP16_H

#include <cstdint>

struct __half {
    uint16_t bits;
};

float __half2float(__half h);
__half __float2half_rn(float x);
__half __double2half(double x);

#endif
