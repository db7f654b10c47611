/* x^T x into a compensated pair: tiles of the lower triangle, mirrored, so that the result is symmetric to the bit. */
#include "cpu.h"

#define TILE 256     /* side of a tile of the result */
#define CORNER 16    /* side of what is mirrored at once */
#define TOKENS 2048  /* rows of x converted at once */
#define PARTIAL 8192 /* rows summed in plain floats before they join the pair */

typedef struct gram {
    const cpu *d;
    mat x, sum, comp;
} gram;

/* partial[m, n] (+)= x[t .. t + k, i ..]^T x[t .. t + k, j ..] */
static void
add_tokens(const gram *g, int64_t t, int64_t k, const int64_t at[4], bool first, void *scratch)
{
    int64_t i = at[0], j = at[1], m = at[2], n = at[3];
    float *partial = scratch, *left = partial + TILE * TILE, *right = left + TILE * TOKENS;
    bool narrow = g->x.size == 2;
    product p = {.f64 = g->x.dtype == QL_F64, .ta = true, .m = m, .n = n, .k = k, .alpha = 1, .beta = first ? 0 : 1};

    if (narrow) {
        for (int64_t r = 0; r < k; r++) {
            cpu_load(g->d->isa, g->x.dtype, mat_at(&g->x, t + r, i), m, left + r * m);
            if (i != j)
                cpu_load(g->d->isa, g->x.dtype, mat_at(&g->x, t + r, j), n, right + r * n);
        }
    }
    p.a = narrow ? left : mat_at(&g->x, t, i);
    p.b = !narrow ? mat_at(&g->x, t, j) : i != j ? right : left;
    p.lda = narrow ? m : g->x.ld;
    p.ldb = narrow ? n : g->x.ld;
    p.c = partial;
    p.ldc = n;
    if (i != j)
        cpu_product(&g->d->blas, &p);
    else if (p.f64)
        g->d->blas.d.syrk(BLAS_ROW, BLAS_LOWER, BLAS_YES, (int)n, (int)k, 1, p.a, (int)p.lda, p.beta, p.c, (int)n);
    else
        g->d->blas.s.syrk(BLAS_ROW, BLAS_LOWER, BLAS_YES, (int)n, (int)k, 1, p.a, (int)p.lda, (float)p.beta, p.c,
                          (int)n);
}

/* One element of a partial sum joins the pair (Knuth's two-sum: exact whatever the magnitudes), and its mirror image. */
static void
add_element(const gram *g, int64_t i, int64_t j, const void *partial, int64_t index)
{
    if (g->sum.dtype == QL_F64) {
        double *s = mat_at(&g->sum, i, j), *c = mat_at(&g->comp, i, j), p = ((const double *)partial)[index];
        double total = *s + p, back = total - *s;

        *c += (*s - (total - back)) + (p - back);
        *s = total;
        *(double *)mat_at(&g->sum, j, i) = *s;
        *(double *)mat_at(&g->comp, j, i) = *c;
    } else {
        float *s = mat_at(&g->sum, i, j), *c = mat_at(&g->comp, i, j), p = ((const float *)partial)[index];
        float total = *s + p, back = total - *s;

        *c += (*s - (total - back)) + (p - back);
        *s = total;
        *(float *)mat_at(&g->sum, j, i) = *s;
        *(float *)mat_at(&g->comp, j, i) = *c;
    }
}

/* A small square of a tile: its mirror image is written down columns, whose cache lines must be used up before they leave. */
static void
add_corner(const gram *g, const int64_t at[4], int64_t i, int64_t j, const void *partial)
{
    for (int64_t r = i; r < cpu_min(i + CORNER, at[2]); r++)
        for (int64_t c = j; c < cpu_min(j + CORNER, at[0] == at[1] ? r + 1 : at[3]); c++)
            add_element(g, at[0] + r, at[1] + c, partial, r * at[3] + c);
}

static void
gram_tile(void *arg, int64_t task, void *scratch)
{
    const gram *g = arg;
    int64_t row = 0, at[4];

    for (; (row + 1) * (row + 2) / 2 <= task; row++) /* task counts the tiles of the lower triangle row by row */
        ;
    at[0] = row * TILE;
    at[1] = (task - row * (row + 1) / 2) * TILE;
    at[2] = cpu_min(TILE, g->sum.rows - at[0]);
    at[3] = cpu_min(TILE, g->sum.rows - at[1]);
    for (int64_t t = 0; t < g->x.rows; t += PARTIAL) {
        int64_t end = cpu_min(t + PARTIAL, g->x.rows);

        for (int64_t u = t; u < end; u += TOKENS)
            add_tokens(g, u, cpu_min(TOKENS, end - u), at, u == t, scratch);
        for (int64_t i = 0; i < at[2]; i += CORNER)
            for (int64_t j = 0; j < at[3]; j += CORNER)
                add_corner(g, at, i, j, scratch);
    }
}

static ql_status
cpu_gram(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *x = op->t[0], *sum = op->t[1], *comp = op->t[2];
    gram g = {.d = dev, .x = cpu_mat(x), .sum = cpu_mat(sum), .comp = cpu_mat(comp)};
    int64_t side = cpu_div_up(g.sum.rows, TILE);
    size_t bytes = TILE * TILE * sizeof(double) + 2 * TILE * TOKENS * sizeof(float);

    QL_TRY(cx, cpu_fits(cx, &g.x));
    return cpu_run(cx, dev, side * (side + 1) / 2, bytes, gram_tile, &g);
}

const ql_op_row cpu_gram_ops[] = {
    QL_OP_ROW(GRAM, cpu_gram),
    QL_OP_ROWS_END,
};
