/* The loops for any processor. */
#define ISA_NAME "baseline"
#define ISA_TABLE isa_base
#define ISA_BYTES 16
#include "isa_kernels.h"
