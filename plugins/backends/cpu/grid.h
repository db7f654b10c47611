/* Group grids (docs/methods.md 2.1) in float and in double: one table of loops for each. Values, scales and zeros are of the table's
 * type. */
#ifndef QLOOM_CPU_GRID_H
#define QLOOM_CPU_GRID_H

#include "cpu.h"

typedef enum fit_result {
    FIT_OK,
    FIT_NONFINITE,
    FIT_SMALL,
    FIT_LARGE
} fit_result; /* the scale is too small, too large for its dtype */

typedef struct grid_loops {
    /* Scale and zero of a range with 0 in it; *scale is set even when it is refused. */
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

/* A scale that can't be, or a weight that is not finite: then `at` is its column, else the group. */
typedef struct refusal {
    fit_result fit;
    int64_t row, at;
    double scale;
} refusal;

/* The error of a refusal, in the user's words. */
ql_status grid_fail(ql_ctx *cx, const ql_grid *g, const refusal *r);

#endif
