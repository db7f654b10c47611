/* Conversions of half and bfloat16, by searching for the nearest multiple of the last digit: nothing is shared with what they test. */
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <cstring>

namespace {

/* The bits of x in a format of 16 bits with `digits` digits after the first, and the smallest normal number 2^lowest. */
uint16_t
narrow(double x, int digits, int lowest)
{
    const unsigned sign = std::signbit(x) ? 0x8000u : 0, infinity = (0x7fffu >> digits) << digits;
    const double a = std::fabs(x);
    int e;
    double units;

    if (std::isnan(x))
        return static_cast<uint16_t>(sign | 0x7fffu);
    if (std::isinf(x))
        return static_cast<uint16_t>(sign | infinity);
    std::frexp(a, &e);
    e = a == 0 || e - 1 < lowest ? lowest : e - 1;
    units = std::rint(std::ldexp(a, digits - e)); /* of the last digit; carries run into the exponent by themselves */
    units += std::ldexp(e - lowest, digits);
    return static_cast<uint16_t>(sign | (units >= infinity ? infinity : static_cast<unsigned>(units)));
}

float
widen(uint16_t bits, int digits, int lowest)
{
    const int exponent = (bits & 0x7fff) >> digits, rest = bits & ((1 << digits) - 1);
    const double one = 1 << digits;
    double a;

    if (exponent == 0x7fff >> digits)
        a = rest ? NAN : INFINITY;
    else
        a = exponent ? std::ldexp(one + rest, exponent - 1 + lowest - digits) : std::ldexp(rest, lowest - digits);
    return static_cast<float>(bits >> 15 ? -a : a);
}

} // namespace

float
__half2float(__half h)
{
    return widen(h.bits, 10, -14);
}

__half
__float2half_rn(float x)
{
    return __double2half(static_cast<double>(x));
}

__half
__double2half(double x)
{
    return {narrow(x, 10, -14)};
}

float
__bfloat162float(__nv_bfloat16 b)
{
    const uint32_t u = static_cast<uint32_t>(b.bits) << 16;
    float x;

    std::memcpy(&x, &u, sizeof x);
    return x;
}

__nv_bfloat16
__float2bfloat16_rn(float x)
{
    return __double2bfloat16(static_cast<double>(x));
}

__nv_bfloat16
__double2bfloat16(double x)
{
    return {narrow(x, 7, -126)};
}
