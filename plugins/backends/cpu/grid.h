/* Group grids (docs/methods.md 2.1) in float and in double: one table of loops for each. Values, scales and zeros are of the table's
 * type. */
#ifndef QLOOM_CPU_GRID_H
#define QLOOM_CPU_GRID_H

#include "cpu.h"

/* Scales that a dtype can hold: fp16's go down to its subnormal numbers; the others' end where codes times scale stay finite. */
#define GRID_SMALLEST_F16 0x1p-24
#define GRID_LARGEST_F16 65504.0
#define GRID_SMALLEST 0x1p-126
#define GRID_LARGEST 0x1p119

typedef enum fit_result {
    FIT_OK,
    FIT_NONFINITE, /* there is no scale */
    FIT_SMALL,     /* too small for its dtype: the group decodes to zeros */
    FIT_LARGE,     /* too large for its dtype: the group is clipped */
} fit_result;

typedef struct grid_loops {
    /* Scale and zero of a finite range with 0 in it. */
    fit_result (*range)(const ql_grid *g, const void *lo, const void *hi, void *scale, void *zero);
    /* Scale and zero of n values, by their range and a search inside it. */
    fit_result (*fit)(const ql_grid *g, const void *x, int64_t n, void *scale, void *zero);
    void (*encode)(const ql_grid *g, const void *x, int64_t n, const void *scale, const void *zero, uint8_t *codes);
    void (*nearest)(const ql_grid *g, const void *x, int64_t n, const void *scale, const void *levels, uint8_t *codes);
    void (*decode)(const uint8_t *codes, int64_t n, const void *scale, const void *zero, void *x);
    void (*decode_levels)(const uint8_t *codes, int64_t n, const void *scale, const void *levels, void *x);
} grid_loops;

extern const grid_loops grid_float, grid_double;

static inline const grid_loops *
grid_choose(const ql_grid *g)
{
    return g->fp64 ? &grid_double : &grid_float;
}

/* The QL_NUM_* of a fit. */
static inline unsigned
grid_remark(fit_result f)
{
    return f == FIT_SMALL ? QL_NUM_TINY : f == FIT_LARGE ? QL_NUM_CLIPPED : 0u;
}

#endif
