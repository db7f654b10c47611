/* The inner loops of the f32 feedback sweep (docs/methods.md 3.3), compiled once per instruction set as a part of isa_kernels.h,
 * which has defined the vectors, and ISA_FNMA(a, b, c) = c - a b. A strip holds SWEEP_ROWS rows of the weight column by column; the
 * lanes of a vector are rows, so no operation mixes two rows, and where a row lies never changes its bits. */
#define SWEEP_VECTORS 3
#define SWEEP_ROWS (SWEEP_VECTORS * LANES)
#define SWEEP_COLS ISA_SWEEP_COLS

typedef vf sweep_acc[SWEEP_COLS][SWEEP_VECTORS];

static inline __attribute__((always_inline)) void
sweep_load(sweep_acc acc, const float *w, int width)
{
#pragma GCC unroll 8
    for (int c = 0; c < SWEEP_COLS; c++)
#pragma GCC unroll 3
        for (int v = 0; v < SWEEP_VECTORS; v++)
            acc[c][v] = c < width ? load(w + c * SWEEP_ROWS + v * LANES) : splat(0);
}

/* acc -= e[k, rows]^T u[k, cols] */
static inline __attribute__((always_inline)) void
sweep_subtract(sweep_acc acc, const float *e, const float *u, int64_t k)
{
    for (int64_t i = 0; i < k; i++, e += SWEEP_ROWS, u += SWEEP_COLS) {
        vf err[SWEEP_VECTORS];

#pragma GCC unroll 3
        for (int v = 0; v < SWEEP_VECTORS; v++)
            err[v] = load(e + v * LANES);
#pragma GCC unroll 8
        for (int c = 0; c < SWEEP_COLS; c++) {
            vf b = splat(u[c]);

#pragma GCC unroll 3
            for (int v = 0; v < SWEEP_VECTORS; v++)
                acc[c][v] = ISA_FNMA(err[v], b, acc[c][v]);
        }
    }
}

static void
sweep_apply(const sweep_tile *t)
{
    sweep_acc acc;

    sweep_load(acc, t->w, t->width);
    sweep_subtract(acc, t->e, t->u, t->k);
#pragma GCC unroll 8
    for (int c = 0; c < SWEEP_COLS; c++)
#pragma GCC unroll 3
        for (int v = 0; v < SWEEP_VECTORS; v++)
            if (c < t->width)
                store(t->w + c * SWEEP_ROWS + v * LANES, acc[c][v]);
}

/* The code of x: to the bit that of grid_kernels.h. */
static inline vf
sweep_code(vf x, vf scale, vf zero, float top)
{
    const float magic = 0x1.8p23f;
    vf v = (x / scale + magic) - magic + zero;

    return ISA_MIN(ISA_MAX(v, splat(0)), splat(top));
}

/* Column c of the tile is finished: its error replaces its value and goes into the columns after it. */
static inline __attribute__((always_inline)) void
sweep_column(const sweep_tile *t, const sweep_codes *to, sweep_acc acc, int c)
{
    const float *row = t->u + (t->k + c) * SWEEP_COLS; /* of U, at this column */

#pragma GCC unroll 3
    for (int v = 0; v < SWEEP_VECTORS; v++) {
        vf scale = load(to->scale[c] + v * LANES), zero = load(to->zero[c] + v * LANES);
        vf code = sweep_code(acc[c][v], scale, zero, to->top);
        vf err = (acc[c][v] - scale * (code - zero)) / row[c];

        store(t->w + c * SWEEP_ROWS + v * LANES, err);
        store(to->loss + v * LANES, load(to->loss + v * LANES) + err * err);
        store(to->codes + c * SWEEP_ROWS + v * LANES, code);
#pragma GCC unroll 8
        for (int later = 1; later < SWEEP_COLS; later++)
            if (later > c)
                acc[later][v] = ISA_FNMA(err, splat(row[later]), acc[later][v]);
    }
}

static void
sweep_encode(const sweep_tile *t, const sweep_codes *to)
{
    sweep_acc acc;

    sweep_load(acc, t->w, t->width);
    sweep_subtract(acc, t->e, t->u, t->k);
#pragma GCC unroll 8
    for (int c = 0; c < SWEEP_COLS; c++) {
        if (c >= t->width)
            break;
        sweep_column(t, to, acc, c);
    }
}

/* Per row the smallest and the largest of `cols` columns, both with 0 among them; `bad` is NaN where one is not finite, else 0. */
static void
sweep_bounds(const float *w, int64_t cols, float *lo, float *hi, float *bad)
{
    for (int v = 0; v < SWEEP_VECTORS; v++) {
        vf low = splat(0), high = splat(0), nan = splat(0);

        for (int64_t j = 0; j < cols; j++) {
            vf x = load(w + j * SWEEP_ROWS + v * LANES);

            low = ISA_MIN(x, low);
            high = ISA_MAX(x, high);
            nan += x * 0.0f;
        }
        store(lo + v * LANES, low);
        store(hi + v * LANES, high);
        store(bad + v * LANES, nan);
    }
}

typedef float v4 __attribute__((vector_size(16)));

static inline v4
load4(const float *p)
{
    v4 v;

    memcpy(&v, p, sizeof v);
    return v;
}

/* Four elements of four rows into four columns. */
static inline void
transpose4(const float *const *rows, int64_t j, float *to)
{
    const v4 a = load4(rows[0] + j), b = load4(rows[1] + j), c = load4(rows[2] + j), d = load4(rows[3] + j);
    const v4 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const v4 ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7), cd2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    const v4 t[4] = {__builtin_shufflevector(ab, cd, 0, 1, 4, 5), __builtin_shufflevector(ab, cd, 2, 3, 6, 7),
                     __builtin_shufflevector(ab2, cd2, 0, 1, 4, 5), __builtin_shufflevector(ab2, cd2, 2, 3, 6, 7)};

    for (int i = 0; i < 4; i++)
        memcpy(to + i * SWEEP_ROWS, &t[i], sizeof t[i]);
}

static void
sweep_transpose(const float *const *rows, int64_t cols, float fill, float *columns)
{
    for (int r = 0; r < SWEEP_ROWS; r += 4) {
        const bool whole = rows[r] && rows[r + 1] && rows[r + 2] && rows[r + 3];
        int64_t j = 0;

        for (; whole && j + 4 <= cols; j += 4)
            transpose4(rows + r, j, columns + j * SWEEP_ROWS + r);
        for (; j < cols; j++)
            for (int i = r; i < r + 4; i++)
                columns[j * SWEEP_ROWS + i] = rows[i] ? rows[i][j] : fill;
    }
}
