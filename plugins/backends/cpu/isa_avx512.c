/* The loops for processors with AVX-512. */
#define ISA_NAME "avx512"
#define ISA_TABLE isa_avx512
#define ISA_BYTES 64
#include "isa_kernels.h"
