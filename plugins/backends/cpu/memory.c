/* Moving elements: copies with conversion, fills, gathers, diagonals. */
#include "cpu.h"

#include <string.h>

typedef struct move {
    const isa_loops *isa;
    mat src, dst;
    const int32_t *rows, *cols; /* of a gather; NULL: identity */
} move;

static void
copy_rows(void *arg, int64_t first, int64_t last)
{
    const move *m = arg;

    for (int64_t i = first; i < last; i++)
        cpu_convert(m->isa, m->src.dtype, mat_at(&m->src, i, 0), m->dst.dtype, m->dst.cols, mat_at(&m->dst, i, 0));
}

static ql_status
cpu_copy(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *src = op->t[0], *dst = op->t[1];
    cpu *d = dev;
    move m = {.isa = d->isa, .src = cpu_mat(src), .dst = cpu_mat(dst)};

    (void)cx;
    cpu_rows(d, m.dst.rows, m.dst.cols, copy_rows, &m);
    return QL_OK;
}

typedef struct filling {
    mat t;
    unsigned char element[8];
} filling;

static void
fill_rows(void *arg, int64_t first, int64_t last)
{
    const filling *f = arg;

    for (int64_t i = first; i < last; i++) {
        unsigned char *row = mat_at(&f->t, i, 0);
        size_t done = f->t.size, bytes = (size_t)f->t.cols * f->t.size;

        if (bytes == 0)
            return;
        memcpy(row, f->element, done);
        for (size_t step; done < bytes; done += step) { /* doubling what is there */
            step = done < bytes - done ? done : bytes - done;
            memcpy(row + done, row, step);
        }
    }
}

static ql_status
cpu_fill(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *t = op->t[0];
    const double value = op->alpha;
    filling f = {.t = cpu_mat(t)};

    (void)cx;
    cpu_store_double(f.t.dtype, &value, 1, f.element);
    cpu_rows(dev, f.t.rows, f.t.cols, fill_rows, &f);
    return QL_OK;
}

static void
gather_row(const move *m, const unsigned char *src, unsigned char *dst)
{
    if (!m->cols) {
        memcpy(dst, src, (size_t)m->dst.cols * m->dst.size);
        return;
    }
    switch (m->dst.size) {
    case 1:
        for (int64_t j = 0; j < m->dst.cols; j++)
            dst[j] = src[m->cols[j]];
        break;
    case 2:
        for (int64_t j = 0; j < m->dst.cols; j++)
            ((uint16_t *)dst)[j] = ((const uint16_t *)src)[m->cols[j]];
        break;
    case 4:
        for (int64_t j = 0; j < m->dst.cols; j++)
            ((uint32_t *)dst)[j] = ((const uint32_t *)src)[m->cols[j]];
        break;
    default:
        for (int64_t j = 0; j < m->dst.cols; j++)
            ((uint64_t *)dst)[j] = ((const uint64_t *)src)[m->cols[j]];
        break;
    }
}

static void
gather_rows(void *arg, int64_t first, int64_t last)
{
    const move *m = arg;

    for (int64_t i = first; i < last; i++)
        gather_row(m, mat_at(&m->src, m->rows ? m->rows[i] : i, 0), mat_at(&m->dst, i, 0));
}

/* Indices are values on the device, so no one before this has looked at them. */
static ql_status
check_indices(ql_ctx *cx, const ql_tensor *index, int64_t limit, const char *what)
{
    const int32_t *p = index ? ql_ptr(index) : NULL;

    for (int64_t i = 0; p && i < ql_count(index); i++)
        if (p[i] < 0 || p[i] >= limit)
            return QL_FAIL(cx, QL_INVALID, "%s index %d at position %lld is outside 0 .. %lld", what, (int)p[i],
                           (long long)i, (long long)limit - 1);
    return QL_OK;
}

static ql_status
cpu_gather(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *src = op->t[0], *rows = op->t[1], *cols = op->t[2], *out = op->t[3];
    move m = {.src = cpu_mat(src),
              .dst = cpu_mat(out),
              .rows = rows ? ql_ptr(rows) : NULL,
              .cols = cols ? ql_ptr(cols) : NULL};

    QL_TRY(cx, check_indices(cx, rows, m.src.rows, "row"));
    QL_TRY(cx, check_indices(cx, cols, m.src.cols, "column"));
    cpu_rows(dev, m.dst.rows, m.dst.cols, gather_rows, &m);
    return QL_OK;
}

#define TILE 32 /* rows of a task's strip, so that a cache line of the source is used whole */

typedef struct turn {
    mat src, dst;
} turn;

static void
transpose_strip(void *arg, int64_t task, void *scratch)
{
    const turn *t = arg;
    const int64_t end = cpu_min((task + 1) * TILE, t->dst.rows);
    const size_t size = t->src.size;

    (void)scratch;
    for (int64_t j = 0; j < t->dst.cols; j++)
        for (int64_t i = task * TILE; i < end; i++)
            memcpy(mat_at(&t->dst, i, j), mat_at(&t->src, j, i), size);
}

static ql_status
cpu_transpose(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *src = op->t[0], *out = op->t[1];
    turn t = {.src = cpu_mat(src), .dst = cpu_mat(out)};

    return cpu_run(cx, dev, cpu_div_up(t.dst.rows, TILE), 0, transpose_strip, &t);
}

static ql_status
cpu_diag(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *a = op->t[0], *d = op->t[1];
    mat from = cpu_mat(a);
    char *to = ql_ptr(d);

    (void)cx;
    (void)dev;
    for (int64_t i = 0; i < from.rows; i++)
        memcpy(to + (size_t)i * from.size, mat_at(&from, i, i), from.size);
    return QL_OK;
}

static ql_status
cpu_diag_set(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *d = op->t[1], *a = op->t[0];
    mat to = cpu_mat(a);
    const char *from = ql_ptr(d);

    (void)cx;
    (void)dev;
    for (int64_t i = 0; i < to.rows; i++)
        memcpy(mat_at(&to, i, i), from + (size_t)i * to.size, to.size);
    return QL_OK;
}

const ql_op_row cpu_memory_ops[] = {
    QL_OP_ROW(COPY, cpu_copy),
    QL_OP_ROW(FILL, cpu_fill),
    QL_OP_ROW(GATHER, cpu_gather),
    QL_OP_ROW(TRANSPOSE, cpu_transpose),
    QL_OP_ROW(DIAG, cpu_diag),
    QL_OP_ROW(DIAG_SET, cpu_diag_set),
    QL_OP_ROWS_END,
};
