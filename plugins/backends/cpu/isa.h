/* Loops that are compiled once per instruction set; one table of them is chosen when the device is opened. */
#ifndef QLOOM_CPU_ISA_H
#define QLOOM_CPU_ISA_H

#include <stdbool.h>
#include <stdint.h>

/* One tile of the f32 feedback sweep: `width` columns of a strip of rows. A column is `sweep_rows` values, a row of u `sweep_cols`. */
typedef struct sweep_tile {
    const float *e; /* [k]: errors of finished columns */
    const float *u; /* [k + width]: their rows of U, then those of the tile itself */
    int64_t k;
    float *w; /* [width]: values; once encoded, errors */
    int width;
} sweep_tile;

typedef struct sweep_codes {
    float top;                       /* the largest code */
    const float *scale[8], *zero[8]; /* of each column */
    float *codes;                    /* [width]: whole numbers */
    float *loss;                     /* one column: squared errors are added */
} sweep_codes;

/* c[i, j] = the sum over d, in order, of a[i, d] b[d, j], added to what c holds with `add`: a row's bits do not depend on the other rows.
 * Rows of b are readable up to the next multiple of 16 columns. */
typedef struct isa_product {
    const float *a, *b;
    float *c;
    int64_t rows, columns, depth, lda, ldb, ldc;
    bool add;
} isa_product;

/* dx = beta dx + scale (w dy - along x) for one row of n elements; beta 0: what dx holds is forgotten. */
typedef struct isa_norm_back {
    const float *x, *w, *dy;
    float *dx, scale, along, beta;
    int64_t n;
} isa_norm_back;

#define SWEEP_MAX_ROWS 48 /* of a strip, on any processor */

typedef struct isa_loops {
    const char *name;
    void (*bf16_to_float)(const uint16_t *src, int64_t n, float *dst);
    void (*half_to_float)(const uint16_t *src, int64_t n, float *dst);
    void (*float_to_bf16)(const float *src, int64_t n, uint16_t *dst);
    float (*row_max)(const float *x, int64_t n); /* -inf for n == 0; NaN elements are passed over */
    /* x[i] = exp(x[i] - shift); returns their sum. */
    float (*exp_sum)(float *x, int64_t n, float shift);
    void (*swiglu)(const float *gate, const float *up, int64_t n, float *y);
    void (*swiglu_back)(const float *gate, const float *up, const float *dy, int64_t n, float *dgate, float *dup);
    void (*softmax_back)(const float *p, float d, float scale, int64_t n, float *dp); /* dp = p (dp - d) scale */
    double (*sum_squares)(const float *x, int64_t n);
    double (*dot)(const float *x, const float *y, const float *z, int64_t n); /* sum x y z; z NULL: sum x y */
    void (*norm_back)(const isa_norm_back *r);
    void (*scaled_product)(const float *x, float scale, const float *w, int64_t n, float *y); /* y = (x scale) w */
    /* The two halves of a head, n elements each, turned by the angles whose cosines and sines are given. */
    void (*rotate)(float *x, const float *cosines, const float *sines, int64_t n);
    void (*product)(const isa_product *p);
    /* x[i] = scales[i] (codes[i] - zeros[i]); x[i] = scales[i] levels[codes[i]]. */
    void (*decode)(const uint8_t *codes, int64_t n, const float *scales, const float *zeros, float *x);
    void (*decode_levels)(const uint8_t *codes, int64_t n, const float *scales, const float *levels, float *x);
    int sweep_rows, sweep_cols;
    void (*sweep_apply)(const sweep_tile *t);                         /* w -= e^T u */
    void (*sweep_encode)(const sweep_tile *t, const sweep_codes *to); /* the same, then encodes column by column */
    /* columns[j, i] = rows[i][j] for i < sweep_rows, j < cols; a NULL row reads as `fill`. */
    void (*sweep_transpose)(const float *const *rows, int64_t cols, float fill, float *columns);
    void (*sweep_bounds)(const float *w, int64_t cols, float *lo, float *hi, float *bad);
} isa_loops;

/* The best table for this processor. */
const isa_loops *isa_choose(void);

#endif
