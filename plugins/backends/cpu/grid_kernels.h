/* The loops of grid.h for one type, which the file that includes this has defined: REAL and what belongs to it. Contraction into
 * FMA must be off: codes come from exactly these operations. */
#include "grid.h"

#include <math.h>
#include <string.h>

/* To nearest even by adding and taking away a large number; x must be small against it. */
static inline REAL
nearest_even(REAL x)
{
    return (x + ROUND_MAGIC) - ROUND_MAGIC;
}

/* x / scale as a code; 0 for NaN. A value too large to be rounded in this way is far beyond the last code. */
static inline REAL
code_of(REAL x, REAL scale, REAL zero, REAL top)
{
    REAL v = nearest_even(x / scale) + zero;

    v = v > 0 ? v : 0;
    return v < top ? v : top;
}

static inline REAL
top_code(const ql_grid *g)
{
    return (REAL)((1 << g->bits) - 1);
}

/* Scale and zero for a range. One whose scale rounds to 0 is as good as empty; the largest scale clips what is beyond it. */
static fit_result
fit_range(const ql_grid *g, REAL lo, REAL hi, REAL *scale, REAL *zero)
{
    const double smallest = g->scale_dtype == QL_F16 ? GRID_SMALLEST_F16 : GRID_SMALLEST;
    const double largest = g->scale_dtype == QL_F16 ? GRID_LARGEST_F16 : GRID_LARGEST;
    const REAL top = top_code(g);
    fit_result fit = FIT_OK;
    REAL s = (REAL)cpu_round(g->scale_dtype, (double)((hi - lo) / top));

    if ((double)s < smallest) {
        fit = FIT_SMALL;
        lo = -1;
        s = (REAL)cpu_round(g->scale_dtype, (double)(2 / top));
    }
    if (!((double)s <= largest)) {
        fit = FIT_LARGE;
        s = (REAL)largest;
    }
    *scale = s;
    *zero = g->sym ? (REAL)(1 << (g->bits - 1)) : (REAL)rint((double)(-lo / s));
    *zero = *zero < top ? *zero : top; /* a bf16 scale rounded down makes 256 of 255 */
    return fit;
}

/* sum |decoded - x|^p */
static REAL
range_error(const ql_grid *g, const REAL *x, int64_t n, REAL scale, REAL zero)
{
    const REAL top = top_code(g), p = (REAL)g->mse;
    REAL sum = 0;

    for (int64_t i = 0; i < n; i++) {
        REAL d = scale * (code_of(x[i], scale, zero, top) - zero) - x[i];

        sum += p == 2 ? d * d : REAL_POW(d < 0 ? -d : d, p);
    }
    return sum;
}

/* The range as the grid needs it: symmetric where it is, and never empty. */
static void
widen(const ql_grid *g, REAL *lo, REAL *hi)
{
    if (g->sym) {
        *hi = -*lo > *hi ? -*lo : *hi;
        *lo = -*hi;
    }
    if (*lo == 0 && *hi == 0) {
        *lo = -1;
        *hi = 1;
    }
}

static fit_result
grid_range(const ql_grid *g, const void *low, const void *high, void *scale, void *zero)
{
    REAL lo = *(const REAL *)low, hi = *(const REAL *)high;

    widen(g, &lo, &hi);
    return fit_range(g, lo, hi, scale, zero);
}

static fit_result
grid_fit(const ql_grid *g, const void *values, int64_t n, void *scale, void *zero)
{
    const REAL *x = values;
    REAL lo = 0, hi = 0, best, s, z;
    fit_result f;

    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return FIT_NONFINITE;
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    widen(g, &lo, &hi);
    f = fit_range(g, lo, hi, scale, zero);
    if (f != FIT_OK || g->mse == 0)
        return f;
    best = range_error(g, x, n, *(REAL *)scale, *(REAL *)zero);
    for (int i = 1; i < 80; i++) {
        REAL shrink = (REAL)(1.0 - i / 100.0), error;

        if (fit_range(g, shrink * lo, shrink * hi, &s, &z) != FIT_OK)
            break;
        error = range_error(g, x, n, s, z);
        if (error < best) {
            best = error;
            *(REAL *)scale = s;
            *(REAL *)zero = z;
        }
    }
    return FIT_OK;
}

static void
encode(const ql_grid *g, const void *values, int64_t n, const void *scale, const void *zero, uint8_t *codes)
{
    const REAL *x = values, s = *(const REAL *)scale, z = *(const REAL *)zero, top = top_code(g);

    for (int64_t i = 0; i < n; i++)
        codes[i] = (uint8_t)code_of(x[i], s, z, top);
}

static void
nearest(const ql_grid *g, const void *values, int64_t n, const void *scale, const void *levels, uint8_t *codes)
{
    const REAL *x = values, *level = levels, s = *(const REAL *)scale;
    const int count = 1 << g->bits;

    for (int64_t i = 0; i < n; i++) {
        const REAL v = x[i] / s;
        REAL best = INFINITY;

        codes[i] = 0;
        for (int c = 0; c < count; c++) {
            const REAL d = v > level[c] ? v - level[c] : level[c] - v;

            if (d < best) {
                best = d;
                codes[i] = (uint8_t)c;
            }
        }
    }
}

static void
decode(const uint8_t *codes, int64_t n, const void *scale, const void *zero, void *values)
{
    const REAL s = *(const REAL *)scale, z = *(const REAL *)zero;
    REAL *x = values;

    for (int64_t i = 0; i < n; i++)
        x[i] = s * ((REAL)codes[i] - z);
}

static void
decode_levels(const uint8_t *codes, int64_t n, const void *scale, const void *levels, void *values)
{
    const REAL *level = levels, s = *(const REAL *)scale;
    REAL *x = values;

    for (int64_t i = 0; i < n; i++)
        x[i] = s * level[codes[i]];
}

const grid_loops GRID_TABLE = {grid_range, grid_fit, encode, nearest, decode, decode_levels};
