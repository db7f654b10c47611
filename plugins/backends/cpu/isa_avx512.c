/* The loops for processors with AVX-512. */
#include <immintrin.h>

#define ISA_NAME "avx512"
#define ISA_TABLE isa_avx512
#define ISA_BYTES 64
#define ISA_FNMA(a, b, c) ((vf)_mm512_fnmadd_ps((a), (b), (c)))
#define ISA_MAX(a, b) ((vf)_mm512_max_ps((a), (b)))
#define ISA_MIN(a, b) ((vf)_mm512_min_ps((a), (b)))
#define ISA_SWEEP_COLS 8
#include "isa_kernels.h"
