/* Products with weights that rest turned, [in, out], as codes or in a shorter dtype: a task is a strip of columns, of which a slice of
 * inputs at a time becomes floats and is multiplied at once. Sums go in the order of the inputs, whatever rows there are. */
#include "cpu.h"

#include <string.h>

#define SLICE 8192  /* numbers of a slice: inputs times columns of the strip */
#define FEW_ROWS 16 /* rows for which the way from memory is what takes time */
#define WIDE 256    /* columns of a strip for few rows, in long stretches of memory */
#define NARROW 128  /* and for more, whose sums should stay near */
#define LEAST 64    /* both are multiples of it, and it of what a vector holds */
#define AHEAD 4     /* inputs whose stretch is asked for before it is needed */

typedef struct resting {
    const cpu *d;
    mat x, w, scales, zeros, y;
    const float *levels; /* NULL: a uniform grid */
    const int32_t *g_idx;
    int64_t group, columns, depth; /* columns of a task; inputs of a slice */
    bool add;
} resting;

/* Row `d` of the weight from column `j` on, as floats. */
static void
load_row(const resting *r, int64_t d, int64_t j, int64_t columns, float *to)
{
    const int64_t g = r->g_idx ? r->g_idx[d] : d / r->group;
    const uint8_t *from = mat_at(&r->w, d, j);

    if (d + AHEAD < r->w.rows) /* the processor does not guess where the next stretch begins */
        for (size_t i = 0; i < (size_t)columns * r->w.size; i += 64)
            __builtin_prefetch(from + (size_t)(AHEAD * r->w.ld) * r->w.size + i);

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
    const int64_t j = task * r->columns, columns = cpu_min(r->columns, r->w.cols - j);
    float *slice = scratch;
    isa_product p = {.rows = r->x.rows, .columns = columns, .lda = r->x.ld, .ldc = r->y.ld, .add = r->add};

    p.c = mat_at(&r->y, 0, j);
    if (r->w.dtype == QL_F32 && columns % LEAST == 0) { /* as it is */
        p.a = mat_at(&r->x, 0, 0);
        p.b = mat_at(&r->w, 0, j);
        p.ldb = r->w.ld;
        p.depth = r->w.rows;
        r->d->isa->product(&p);
        return;
    }
    p.b = slice;
    p.ldb = r->columns;
    for (int64_t d = 0; d < r->w.rows; d += r->depth) {
        p.depth = cpu_min(r->depth, r->w.rows - d);
        for (int64_t i = 0; i < p.depth; i++)
            load_row(r, d + i, j, columns, slice + i * r->columns);
        p.a = mat_at(&r->x, 0, d);
        r->d->isa->product(&p);
        p.add = true;
    }
}

/* Strips of about equal width. */
static void
choose_strips(resting *r)
{
    const int64_t most = r->x.rows <= FEW_ROWS ? WIDE : NARROW, strips = cpu_div_up(r->w.cols, most);

    r->columns = cpu_div_up(cpu_div_up(r->w.cols, strips), LEAST) * LEAST;
    r->depth = SLICE / r->columns;
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
    choose_strips(&r);
    return cpu_run(cx, dev, cpu_div_up(r.w.cols, r.columns), SLICE * sizeof(float), resting_task, &r);
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
