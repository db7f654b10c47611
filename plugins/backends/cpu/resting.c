/* Products with weights that rest turned, [in, out], as codes or in a shorter dtype: a task is a strip of columns, of which a slice of
 * inputs at a time becomes floats and is multiplied at once. Sums go in the order of the inputs, whatever rows there are. */
#include "cpu.h"

#include <string.h>

#define COLUMNS 128 /* of a task; a multiple of what a vector holds */
#define DEPTH 64    /* inputs of a slice */

typedef struct resting {
    const cpu *d;
    mat x, w, scales, zeros, y;
    const float *levels; /* NULL: a uniform grid */
    const int32_t *g_idx;
    int64_t group;
    bool add;
} resting;

/* Row `d` of the weight from column `j` on, as floats. */
static void
load_row(const resting *r, int64_t d, int64_t j, int64_t columns, float *to)
{
    const int64_t g = r->g_idx ? r->g_idx[d] : d / r->group;
    const void *from = mat_at(&r->w, d, j);

    if (r->w.dtype != QL_U8)
        cpu_load(r->d->isa, r->w.dtype, from, columns, to);
    else if (r->levels)
        r->d->isa->decode_levels(from, columns, mat_at(&r->scales, g, j), r->levels, to);
    else
        r->d->isa->decode(from, columns, mat_at(&r->scales, g, j), mat_at(&r->zeros, g, j), to);
}

static void
resting_task(void *arg, int64_t task, void *scratch)
{
    const resting *r = arg;
    const int64_t j = task * COLUMNS, columns = cpu_min(COLUMNS, r->w.cols - j);
    float *slice = scratch;
    isa_product p = {.rows = r->x.rows, .columns = columns, .lda = r->x.ld, .ldc = r->y.ld, .add = r->add};

    p.c = mat_at(&r->y, 0, j);
    if (r->w.dtype == QL_F32 && columns == COLUMNS) { /* as it is */
        p.a = mat_at(&r->x, 0, 0);
        p.b = mat_at(&r->w, 0, j);
        p.ldb = r->w.ld;
        p.depth = r->w.rows;
        r->d->isa->product(&p);
        return;
    }
    p.b = slice;
    p.ldb = COLUMNS;
    for (int64_t d = 0; d < r->w.rows; d += DEPTH) {
        p.depth = cpu_min(DEPTH, r->w.rows - d);
        for (int64_t i = 0; i < p.depth; i++)
            load_row(r, d + i, j, columns, slice + i * COLUMNS);
        p.a = mat_at(&r->x, 0, d);
        r->d->isa->product(&p);
        p.add = true;
    }
}

static ql_status
cpu_resting(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *scales = op->t[2], *zeros = op->t[3], *levels = op->t[4], *g_idx = op->t[5];
    resting r = {.d = dev,
                 .x = cpu_mat(op->t[0]),
                 .w = cpu_mat(op->t[1]),
                 .y = cpu_mat(op->t[6]),
                 .levels = levels ? ql_ptr(levels) : NULL,
                 .g_idx = g_idx ? ql_ptr(g_idx) : NULL,
                 .group = scales ? op->grid->group : 1,
                 .add = op->beta != 0};

    if (scales)
        r.scales = cpu_mat(scales);
    if (zeros)
        r.zeros = cpu_mat(zeros);
    for (int64_t d = 0; r.g_idx && d < r.w.rows; d++)
        if (r.g_idx[d] < 0 || r.g_idx[d] >= r.scales.rows)
            return QL_FAIL(cx, QL_INVALID, "group %d of input %lld is outside 0 .. %lld", (int)r.g_idx[d], (long long)d,
                           (long long)r.scales.rows - 1);
    return cpu_run(cx, dev, cpu_div_up(r.w.cols, COLUMNS), COLUMNS * DEPTH * sizeof(float), resting_task, &r);
}

static ql_status
supports(ql_ctx *cx, const ql_op *op)
{
    if (ql_dtype_of(op->t[0]) != QL_F32 || ql_dtype_of(op->t[6]) != QL_F32 || ql_dtype_of(op->t[1]) == QL_F64)
        return QL_FAIL(cx, QL_UNSUPPORTED, "the cpu multiplies f32 with weights that rest as codes, f32, bf16 or f16");
    return QL_OK;
}

const ql_op_row cpu_resting_ops[] = {
    {QL_OP_RESTING, cpu_resting, NULL, supports},
    QL_OP_ROWS_END,
};
