/* Group quantization of whole weights: scales, codes and back, and codes as files hold them. */
#include "grid.h"

#define ROWS 16 /* of a task */

/* How the groups of a task were fitted. */
typedef struct fitted {
    int64_t nonfinite; /* the first row with a weight that is not finite; -1: none */
    unsigned remarks;  /* QL_NUM_* */
} fitted;

typedef struct group {
    const grid_loops *loops;
    ql_grid grid;
    mat w, codes, scales, zeros;
    const void *levels;
    const int32_t *g_idx;
    fitted *fitted; /* [tasks] */
} group;

/* Column of the first weight of a row that is not finite. */
static int64_t
nonfinite_column(const mat *w, int64_t row)
{
    double x;

    for (int64_t j = 0; j < w->cols; j++) {
        cpu_load_double(w->dtype, mat_at(w, row, j), 1, &x);
        if (!(x - x == 0))
            return j;
    }
    return -1;
}

static void
minmax_task(void *arg, int64_t task, void *scratch)
{
    const group *g = arg;
    fitted *found = &g->fitted[task];

    (void)scratch;
    *found = (fitted){.nonfinite = -1};
    for (int64_t i = task * ROWS; i < cpu_min((task + 1) * ROWS, g->w.rows); i++)
        for (int64_t k = 0; k < g->scales.cols; k++) {
            const int64_t j = k * g->grid.group, n = cpu_min(g->grid.group, g->w.cols - j);
            const fit_result f =
                g->loops->fit(&g->grid, mat_at(&g->w, i, j), n, mat_at(&g->scales, i, k), mat_at(&g->zeros, i, k));

            if (f == FIT_NONFINITE) {
                found->nonfinite = i;
                return;
            }
            found->remarks |= grid_remark(f);
        }
}

static ql_status
cpu_group_minmax(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *w = op->t[0], *scales = op->t[1], *zeros = op->t[2];
    const ql_grid *grid = op->grid;
    group g = {
        .loops = grid_choose(grid), .grid = *grid, .w = cpu_mat(w), .scales = cpu_mat(scales), .zeros = cpu_mat(zeros)};
    int64_t tasks = cpu_div_up(g.w.rows, ROWS);

    QL_TRY(cx, ql_scratch(cx, (size_t)tasks * sizeof *g.fitted, &g.fitted));
    QL_TRY(cx, cpu_run(cx, dev, tasks, 0, minmax_task, &g));
    for (const fitted *f = g.fitted; f < g.fitted + tasks; f++) {
        if (f->nonfinite >= 0)
            return QL_FAIL(cx, QL_NUMERIC, "the weight in row %lld, column %lld is not finite", (long long)f->nonfinite,
                           (long long)nonfinite_column(&g.w, f->nonfinite));
        ql_remark(cx, f->remarks);
    }
    return QL_OK;
}

static int64_t
group_at(const group *g, int64_t j)
{
    return g->g_idx ? g->g_idx[j] : j / g->grid.group;
}

/* End of the run of columns from j on that share a group. */
static int64_t
run_end(const group *g, int64_t j)
{
    int64_t end = j + 1;

    while (end < g->codes.cols && group_at(g, end) == group_at(g, j))
        end++;
    return end;
}

static void
encode_task(void *arg, int64_t task, void *scratch)
{
    const group *g = arg;

    (void)scratch;
    for (int64_t j = 0, end; j < g->codes.cols; j = end) {
        int64_t k = group_at(g, j);

        end = run_end(g, j);
        for (int64_t i = task * ROWS; i < cpu_min((task + 1) * ROWS, g->codes.rows); i++) {
            const void *x = mat_at(&g->w, i, j), *scale = mat_at(&g->scales, i, k);
            uint8_t *codes = mat_at(&g->codes, i, j);

            if (g->levels)
                g->loops->nearest(&g->grid, x, end - j, scale, g->levels, codes);
            else
                g->loops->encode(&g->grid, x, end - j, scale, mat_at(&g->zeros, i, k), codes);
        }
    }
}

static void
decode_task(void *arg, int64_t task, void *scratch)
{
    const group *g = arg;

    (void)scratch;
    for (int64_t j = 0, end; j < g->codes.cols; j = end) {
        int64_t k = group_at(g, j);

        end = run_end(g, j);
        for (int64_t i = task * ROWS; i < cpu_min((task + 1) * ROWS, g->codes.rows); i++) {
            const void *scale = mat_at(&g->scales, i, k);
            const uint8_t *codes = mat_at(&g->codes, i, j);

            if (g->levels)
                g->loops->decode_levels(codes, end - j, scale, g->levels, mat_at(&g->w, i, j));
            else
                g->loops->decode(codes, end - j, scale, mat_at(&g->zeros, i, k), mat_at(&g->w, i, j));
        }
    }
}

/* Group indices and codes are values on the device: the host has not seen them. */
static ql_status
check_index(ql_ctx *cx, const group *g)
{
    for (int64_t j = 0; g->g_idx && j < g->codes.cols; j++)
        if (g->g_idx[j] < 0 || g->g_idx[j] >= g->scales.cols)
            return QL_FAIL(cx, QL_INVALID, "group %d of column %lld is outside 0 .. %lld", (int)g->g_idx[j],
                           (long long)j, (long long)g->scales.cols - 1);
    return QL_OK;
}

/* How codes of the shape of `codes` are read: what encode and decode have in common. */
static group
group_of(const ql_op *op, const mat *codes)
{
    const ql_tensor *zeros = op->t[2], *levels = op->t[3], *g_idx = op->t[4];

    return (group){.loops = grid_choose(op->grid),
                   .grid = *op->grid,
                   .codes = *codes,
                   .scales = cpu_mat(op->t[1]),
                   .zeros = zeros ? cpu_mat(zeros) : (mat){0},
                   .levels = levels ? ql_ptr(levels) : NULL,
                   .g_idx = g_idx ? ql_ptr(g_idx) : NULL};
}

static ql_status
run(ql_ctx *cx, void *dev, const ql_op *op, const ql_tensor *w, const ql_tensor *codes, cpu_task fn)
{
    const mat m = cpu_mat(codes);
    group g = group_of(op, &m);

    g.w = cpu_mat(w);
    QL_TRY(cx, check_index(cx, &g));
    return cpu_run(cx, dev, cpu_div_up(g.codes.rows, ROWS), 0, fn, &g);
}

static ql_status
cpu_group_encode(ql_ctx *cx, void *dev, const ql_op *op)
{
    return run(cx, dev, op, op->t[0], op->t[5], encode_task);
}

static ql_status
cpu_group_decode(ql_ctx *cx, void *dev, const ql_op *op)
{
    return run(cx, dev, op, op->t[5], op->t[0], decode_task);
}

/* --- packing --- */

typedef struct packing {
    mat codes, words;
    int bits;
} packing;

static void
pack_rows(void *arg, int64_t first, int64_t last)
{
    const packing *p = arg;

    for (int64_t i = first; i < last; i++) {
        const uint8_t *code = mat_at(&p->codes, i, 0);
        uint32_t *word = mat_at(&p->words, i, 0);
        uint64_t held = 0; /* `count` bits that are no whole word yet */
        int count = 0;

        for (int64_t j = 0; j < p->codes.cols; j++) {
            held |= (uint64_t)code[j] << count;
            count += p->bits;
            if (count >= 32) {
                *word++ = (uint32_t)held;
                held >>= 32;
                count -= 32;
            }
        }
        if (count > 0)
            *word = (uint32_t)held;
    }
}

static ql_status
cpu_pack(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *codes = op->t[0], *out = op->t[1];
    const int bits = (int)op->n[1];
    packing p = {cpu_mat(codes), cpu_mat(out), bits};

    (void)cx;
    cpu_rows(dev, p.codes.rows, p.codes.cols, pack_rows, &p);
    return QL_OK;
}

static void
unpack_row(const uint32_t *word, int64_t n, int bits, uint8_t *code)
{
    const uint64_t mask = ((uint64_t)1 << bits) - 1;
    uint64_t held = 0;
    int count = 0;

    for (int64_t j = 0; j < n; j++) {
        if (count < bits) {
            held |= (uint64_t)*word++ << count;
            count += 32;
        }
        code[j] = (uint8_t)(held & mask);
        held >>= bits;
        count -= bits;
    }
}

typedef struct decoding {
    const isa_loops *isa;
    group group; /* without codes and w, which exist for the rows of a task */
    mat words, out;
    ql_dtype dtype; /* of the grid's arithmetic */
} decoding;

static void
decode_packed_task(void *arg, int64_t task, void *scratch)
{
    const decoding *d = arg;
    const int64_t first = task * ROWS, rows = cpu_min(ROWS, d->out.rows - first), cols = d->out.cols;
    group g = d->group;

    g.w = (mat){scratch, rows, cols, cols, d->dtype, ql_dtype_size(d->dtype)};
    g.codes = (mat){(char *)scratch + (size_t)(ROWS * cols) * g.w.size, rows, cols, cols, QL_U8, 1};
    g.scales.p = mat_at(&g.scales, first, 0);
    if (g.zeros.p)
        g.zeros.p = mat_at(&g.zeros, first, 0);
    for (int64_t i = 0; i < rows; i++)
        unpack_row(mat_at(&d->words, first + i, 0), cols, g.grid.bits, mat_at(&g.codes, i, 0));
    decode_task(&g, 0, NULL);
    for (int64_t i = 0; i < rows; i++)
        cpu_convert(d->isa, d->dtype, mat_at(&g.w, i, 0), d->out.dtype, cols, mat_at(&d->out, first + i, 0));
}

static ql_status
cpu_decode(ql_ctx *cx, void *dev, const ql_op *op)
{
    cpu *c = dev;
    decoding d = {.isa = c->isa, .words = cpu_mat(op->t[0]), .out = cpu_mat(op->t[5])};
    const size_t each = (size_t)d.out.cols * (op->grid->fp64 ? 9 : 5); /* bytes: a value and a code */

    d.dtype = op->grid->fp64 ? QL_F64 : QL_F32;
    d.group = group_of(op, &(mat){.cols = d.out.cols});
    QL_TRY(cx, check_index(cx, &d.group));
    return cpu_run(cx, c, cpu_div_up(d.out.rows, ROWS), ROWS * each, decode_packed_task, &d);
}

const ql_op_row cpu_group_ops[] = {
    QL_OP_ROW(DECODE, cpu_decode),
    QL_OP_ROW(GROUP_MINMAX, cpu_group_minmax),
    QL_OP_ROW(GROUP_ENCODE, cpu_group_encode),
    QL_OP_ROW(GROUP_DECODE, cpu_group_decode),
    QL_OP_ROW(PACK, cpu_pack),
    QL_OP_ROWS_END,
};
