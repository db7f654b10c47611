/* Group grids in double. */
#define REAL double
#define REAL_POW pow
#define ROUND_MAGIC 0x1.8p52
#define GRID_TABLE grid_double
#include "grid_kernels.h"
