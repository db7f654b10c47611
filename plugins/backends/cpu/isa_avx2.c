/* The loops for processors with AVX2 and FMA. */
#include <immintrin.h>

#define ISA_NAME "avx2"
#define ISA_TABLE isa_avx2
#define ISA_BYTES 32
#define ISA_FNMA(a, b, c) ((vf)_mm256_fnmadd_ps((a), (b), (c)))
#define ISA_MAX(a, b) ((vf)_mm256_max_ps((a), (b)))
#define ISA_MIN(a, b) ((vf)_mm256_min_ps((a), (b)))
#define ISA_SWEEP_COLS 4
#include "isa_kernels.h"
