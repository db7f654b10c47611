/* The loops for any processor. */
#define ISA_NAME "baseline"
#define ISA_TABLE isa_base
#define ISA_BYTES 16
#define ISA_FNMA(a, b, c) ((c) - (a) * (b))
#define ISA_MAX(a, b) choose((a) > (b), (a), (b))
#define ISA_MIN(a, b) choose((a) < (b), (a), (b))
#define ISA_SWEEP_COLS 4
#include "isa_kernels.h"
