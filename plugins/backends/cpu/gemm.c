/* Products: C is cut into tiles that follow from its shape; each tile is one single-threaded BLAS call, or several along k when the
 * operands have to be converted first. */
#include "cpu.h"

#include <string.h>

#define TILE \
    512 /* most rows and columns of a tile of C; twice that where operands need no conversion: BLAS packs them once a tile */
#define SMALL 128  /* fewest, where C would give too few tiles */
#define WANTED 8   /* tiles that threads can share */
#define DEPTH 1024 /* of converted operands */
#define FEW \
    64 /* rows or columns to which small products are filled up: the library takes other kernels for less than FEW x FEW */

typedef struct gemm {
    const cpu *d;
    mat a, b, c;
    ql_op_code code;
    double alpha, beta;
    int64_t k, tile_rows, tile_cols, across;
    bool apart; /* a row of C depends on no other row of A */
} gemm;

void
cpu_product(const blas *b, const product *p)
{
    int ta = p->ta ? BLAS_YES : BLAS_NO, tb = p->tb ? BLAS_YES : BLAS_NO, m = (int)p->m, n = (int)p->n, k = (int)p->k;
    int lda = (int)(p->lda > 0 ? p->lda : 1), ldb = (int)(p->ldb > 0 ? p->ldb : 1),
        ldc = (int)(p->ldc > 0 ? p->ldc : 1);

    if (p->f64)
        b->d.gemm(BLAS_ROW, ta, tb, m, n, k, p->alpha, p->a, lda, p->b, ldb, p->beta, p->c, ldc);
    else
        b->s.gemm(BLAS_ROW, ta, tb, m, n, k, (float)p->alpha, p->a, lda, p->b, ldb, (float)p->beta, p->c, ldc);
}

static bool
is_wide(ql_dtype d)
{
    return d == QL_F32 || d == QL_F64;
}

/* Rows [r, r + rows) x columns [c, c + cols) of m as float into `to`, rows `cols` apart. */
static void
load_tile(const gemm *g, const mat *m, int64_t r, int64_t c, int64_t rows, int64_t cols, float *to)
{
    for (int64_t i = 0; i < rows; i++)
        cpu_load(g->d->isa, m->dtype, mat_at(m, r + i, c), cols, to + i * cols);
}

static void
wide_tile(const gemm *g, int64_t i, int64_t j, int64_t m, int64_t n)
{
    bool ta = g->code == QL_OP_GEMM_TN, tb = g->code == QL_OP_GEMM_NT;

    cpu_product(&g->d->blas, &(product){.f64 = g->c.dtype == QL_F64,
                                        .ta = ta,
                                        .tb = tb,
                                        .m = m,
                                        .n = n,
                                        .k = g->k,
                                        .alpha = g->alpha,
                                        .beta = g->beta,
                                        .a = ta ? mat_at(&g->a, 0, i) : mat_at(&g->a, i, 0),
                                        .b = tb ? mat_at(&g->b, j, 0) : mat_at(&g->b, 0, j),
                                        .c = mat_at(&g->c, i, j),
                                        .lda = g->a.ld,
                                        .ldb = g->b.ld,
                                        .ldc = g->c.ld});
}

/* The same through float copies: of the operands a slice of k at a time, and of C as the accumulator. */
static void
narrow_tile(const gemm *g, int64_t i, int64_t j, int64_t m, int64_t n, float *scratch)
{
    bool ta = g->code == QL_OP_GEMM_TN, tb = g->code == QL_OP_GEMM_NT;
    float *a = scratch, *b = a + TILE * DEPTH, *c = b + TILE * DEPTH;

    if (g->beta == 0)
        memset(c, 0, (size_t)(m * n) * sizeof *c);
    else
        load_tile(g, &g->c, i, j, m, n, c);
    for (int64_t p = 0; p == 0 || p < g->k; p += DEPTH) {
        int64_t k = cpu_min(DEPTH, g->k - p);

        if (ta)
            load_tile(g, &g->a, p, i, k, m, a);
        else
            load_tile(g, &g->a, i, p, m, k, a);
        if (tb)
            load_tile(g, &g->b, j, p, n, k, b);
        else
            load_tile(g, &g->b, p, j, k, n, b);
        cpu_product(&g->d->blas, &(product){.ta = ta,
                                            .tb = tb,
                                            .m = m,
                                            .n = n,
                                            .k = k,
                                            .alpha = g->alpha,
                                            .beta = p == 0 ? g->beta : 1,
                                            .a = a,
                                            .b = b,
                                            .c = c,
                                            .lda = ta ? m : k,
                                            .ldb = tb ? k : n,
                                            .ldc = n});
    }
    for (int64_t r = 0; r < m; r++)
        cpu_convert(g->d->isa, QL_F32, c + r * n, g->c.dtype, n, mat_at(&g->c, i + r, j));
}

/* `rows` rows of m from row `r` on, followed by zeros; *ld is their distance. In place where nothing has to follow. */
static const float *
fill_up(const mat *m, int64_t r, int64_t rows, float *copy, int64_t *ld)
{
    *ld = m->ld;
    if (rows >= FEW)
        return mat_at(m, r, 0);
    *ld = m->cols;
    memset(copy, 0, (size_t)(FEW * m->cols) * sizeof *copy);
    for (int64_t i = 0; i < rows; i++)
        memcpy(copy + i * m->cols, mat_at(m, r + i, 0), (size_t)m->cols * sizeof *copy);
    return copy;
}

static int64_t
at_least_few(int64_t n)
{
    return n < FEW ? FEW : n;
}

/* A small product as part of a larger one, whose other rows and columns are zeros. */
static void
filled_tile(const gemm *g, int64_t i, int64_t j, int64_t m, int64_t n, float *scratch)
{
    const int64_t rows = at_least_few(m), cols = at_least_few(n);
    float *c = scratch + 2 * FEW * g->k;
    product p = {.tb = true, .m = rows, .n = cols, .k = g->k, .alpha = g->alpha, .beta = g->beta, .c = c, .ldc = cols};

    memset(c, 0, (size_t)(rows * cols) * sizeof *c);
    for (int64_t r = 0; r < m && g->beta != 0; r++)
        memcpy(c + r * cols, mat_at(&g->c, i + r, j), (size_t)n * sizeof *c);
    p.a = fill_up(&g->a, i, m, scratch, &p.lda);
    p.b = fill_up(&g->b, j, n, scratch + FEW * g->k, &p.ldb);
    cpu_product(&g->d->blas, &p);
    for (int64_t r = 0; r < m; r++)
        memcpy(mat_at(&g->c, i + r, j), c + r * cols, (size_t)n * sizeof *c);
}

static void
gemm_tile(void *arg, int64_t task, void *scratch)
{
    const gemm *g = arg;
    int64_t i = task / g->across * g->tile_rows, j = task % g->across * g->tile_cols;
    int64_t m = cpu_min(g->tile_rows, g->c.rows - i), n = cpu_min(g->tile_cols, g->c.cols - j);

    if (g->apart && m * n < FEW * FEW)
        filled_tile(g, i, j, m, n, scratch);
    else if (is_wide(g->a.dtype))
        wide_tile(g, i, j, m, n);
    else
        narrow_tile(g, i, j, m, n, scratch);
}

/* Halves the longer side of the tile until there is work for several threads, or none of it would be worth a call. */
static void
choose_tiles(gemm *g)
{
    int64_t r = is_wide(g->a.dtype) ? 2 * TILE : TILE, c = r;

    while (cpu_div_up(g->c.rows, r) * cpu_div_up(g->c.cols, c) < WANTED && (r > SMALL || c > SMALL)) {
        if (cpu_min(r, g->c.rows) > cpu_min(c, g->c.cols) ? r > SMALL : c <= SMALL)
            r /= 2;
        else
            c /= 2;
    }
    g->tile_rows = r;
    g->tile_cols = c;
    g->across = cpu_div_up(g->c.cols, c);
}

static ql_status
cpu_gemm(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *a = op->t[0], *b = op->t[1], *c = op->t[2];
    cpu *d = dev;
    gemm g = {.d = d,
              .a = cpu_mat(a),
              .b = cpu_mat(b),
              .c = cpu_mat(c),
              .code = op->code,
              .alpha = op->alpha,
              .beta = op->beta};
    size_t bytes = is_wide(g.a.dtype) ? 0 : (size_t)(2 * TILE * DEPTH + TILE * TILE) * sizeof(float);

    QL_TRY(cx, cpu_fits(cx, &g.a));
    QL_TRY(cx, cpu_fits(cx, &g.b));
    QL_TRY(cx, cpu_fits(cx, &g.c));
    g.k = op->code == QL_OP_GEMM_TN ? g.a.rows : g.a.cols;
    g.apart = op->seqs && op->seqs->parent && g.a.dtype == QL_F32;
    if (g.apart)
        bytes = (size_t)(2 * FEW * g.k + 2 * TILE * FEW) * sizeof(float);
    choose_tiles(&g);
    return cpu_run(cx, d, cpu_div_up(g.c.rows, g.tile_rows) * g.across, bytes, gemm_tile, &g);
}

const ql_op_row cpu_gemm_ops[] = {
    QL_OP_ROW(GEMM_NN, cpu_gemm),
    QL_OP_ROW(GEMM_NT, cpu_gemm),
    QL_OP_ROW(GEMM_TN, cpu_gemm),
    QL_OP_ROWS_END,
};
