/* Group grids in float. */
#define REAL float
#define REAL_POW powf
#define ROUND_MAGIC 0x1.8p23f
#define GRID_TABLE grid_float
#include "grid_kernels.h"
