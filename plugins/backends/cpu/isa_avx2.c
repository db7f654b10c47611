/* The loops for processors with AVX2 and FMA. */
#define ISA_NAME "avx2"
#define ISA_TABLE isa_avx2
#define ISA_BYTES 32
#include "isa_kernels.h"
