/* Choosing the loops by what the processor has. */
#include "isa.h"

extern const isa_loops isa_base;
#if defined(__x86_64__)
extern const isa_loops isa_avx2, isa_avx512;
#endif

const isa_loops *
isa_choose(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        return &isa_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &isa_avx2;
#endif
    return &isa_base;
}
