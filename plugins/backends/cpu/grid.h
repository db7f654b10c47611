/* Group grids (methods-projq 1) in float and in double: one table of loops for each. Values, scales and zeros are of the table's
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

/* The arguments of a feedback sweep, and what its tasks need to know. */
typedef struct sweep {
    const cpu *d;
    ql_grid grid;
    mat w, u, codes, scales, zeros;
    const int32_t *group_of; /* NULL: column / group */
    bool fit;
    struct sweep_part *parts; /* one a task */
    const float *packed;      /* U in the order of the fast kernel */
} sweep;

/* What a task of rows leaves: its share of the loss, and its first scale that could not be. */
typedef struct sweep_part {
    double loss;
    fit_result fit;
    int64_t row, group;
    double scale;
} sweep_part;

typedef struct grid_loops {
    /* Scale and zero of n values; *scale is set even when it is refused. */
    fit_result (*fit)(const ql_grid *g, const void *x, int64_t n, void *scale, void *zero);
    void (*encode)(const ql_grid *g, const void *x, int64_t n, const void *scale, const void *zero, uint8_t *codes);
    void (*nearest)(const ql_grid *g, const void *x, int64_t n, const void *scale, const void *levels, uint8_t *codes);
    void (*decode)(const uint8_t *codes, int64_t n, const void *scale, const void *zero, void *x);
    void (*decode_levels)(const uint8_t *codes, int64_t n, const void *scale, const void *levels, void *x);
    /* Rows [first, last) column by column; scratch holds (last - first) (n + 1) values. */
    void (*sweep)(const sweep *s, int64_t first, int64_t last, void *scratch, sweep_part *part);
} grid_loops;

extern const grid_loops grid_float, grid_double;

static inline const grid_loops *
grid_choose(const ql_grid *g)
{
    return g->fp64 ? &grid_double : &grid_float;
}

/* The error of a refused scale or weight, in the user's words. */
ql_status grid_fail(ql_ctx *cx, const ql_grid *g, fit_result f, const int64_t row_group[2], double scale);

#endif
