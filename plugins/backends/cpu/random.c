/* Counter-based random numbers: Philox 4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011). */
#include "cpu.h"

#include <math.h>

typedef struct fill {
    mat t;
    uint32_t key[2];
    bool normal;
} fill;

static void
philox(const uint32_t key[2], uint64_t row, uint64_t col, uint32_t out[4])
{
    uint32_t k0 = key[0], k1 = key[1];
    uint32_t c[4] = {(uint32_t)row, (uint32_t)(row >> 32), (uint32_t)col, (uint32_t)(col >> 32)};

    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c[0], p1 = (uint64_t)0xCD9E8D57u * c[2];
        const uint32_t next[4] = {(uint32_t)(p1 >> 32) ^ c[1] ^ k0, (uint32_t)p1, (uint32_t)(p0 >> 32) ^ c[3] ^ k1,
                                  (uint32_t)p0};

        c[0] = next[0];
        c[1] = next[1];
        c[2] = next[2];
        c[3] = next[3];
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < 4; i++)
        out[i] = c[i];
}

static void
fill_rows(void *arg, int64_t first, int64_t last)
{
    const fill *f = arg;

    for (int64_t i = first; i < last; i++)
        for (int64_t j = 0; j < f->t.cols; j++) {
            uint32_t w[4];
            double x;

            philox(f->key, (uint64_t)i, (uint64_t)j, w);
            x = f->normal ? sqrt(-2 * log((w[0] + 1.0) * 0x1p-32)) * cos(6.283185307179586 * w[1] * 0x1p-32)
                          : w[0] * 0x1p-32 - 0.5;
            *(float *)mat_at(&f->t, i, j) = (float)x;
        }
}

static ql_status
cpu_random(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *t = op->t[0];
    const uint32_t *key = op->spec;
    const bool normal = op->n[0] == 1;
    fill f = {.t = cpu_mat(t), .key = {key[0], key[1]}, .normal = normal};

    (void)cx;
    cpu_rows(dev, f.t.rows, f.t.cols, fill_rows, &f);
    return QL_OK;
}

typedef struct dropout {
    mat x, y;
    uint32_t key[2], drops; /* words below it drop their element */
    int64_t first;
    double factor;
} dropout;

static void
dropout_rows(void *arg, int64_t first, int64_t last)
{
    const dropout *d = arg;

    for (int64_t i = first; i < last; i++)
        for (int64_t j = 0; j < d->x.cols; j += 4) {
            const int64_t n = cpu_min(4, d->x.cols - j);
            uint32_t w[4];
            double x[4];

            philox(d->key, (uint64_t)(d->first + i), (uint64_t)(j / 4), w);
            cpu_load_double(d->x.dtype, mat_at(&d->x, i, j), n, x);
            for (int64_t k = 0; k < n; k++)
                x[k] = w[k] < d->drops ? 0 : x[k] * d->factor;
            cpu_store_double(d->y.dtype, x, n, mat_at(&d->y, i, j));
        }
}

static ql_status
cpu_dropout(ql_ctx *cx, void *dev, const ql_op *op)
{
    const uint32_t *key = op->spec;
    dropout d = {.x = cpu_mat(op->t[0]),
                 .y = cpu_mat(op->t[1]),
                 .key = {key[0], key[1]},
                 .drops = (uint32_t)(op->alpha * 0x1p32),
                 .first = op->n[0],
                 .factor = 1 / (1 - op->alpha)};

    (void)cx;
    cpu_rows(dev, d.x.rows, d.x.cols, dropout_rows, &d);
    return QL_OK;
}

const ql_op_row cpu_random_ops[] = {
    QL_OP_ROW(RANDOM, cpu_random),
    QL_OP_ROW(DROPOUT, cpu_dropout),
    QL_OP_ROWS_END,
};
