/* Counter-based random numbers: Philox 4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011). */
#include "loose.cuh"

__device__ static uint4
philox(uint2 key, uint64_t row, uint64_t col)
{
    uint4 c = {static_cast<unsigned>(row), static_cast<unsigned>(row >> 32), static_cast<unsigned>(col),
               static_cast<unsigned>(col >> 32)};

    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c.x, p1 = static_cast<uint64_t>(0xCD9E8D57u) * c.z;

        c = {static_cast<unsigned>(p1 >> 32) ^ c.y ^ key.x, static_cast<unsigned>(p1),
             static_cast<unsigned>(p0 >> 32) ^ c.w ^ key.y, static_cast<unsigned>(p0)};
        key.x += 0x9E3779B9u;
        key.y += 0xBB67AE85u;
    }
    return c;
}

struct random_op {
    float *p;
    int64_t ld;
    uint2 key;
    bool normal;

    __device__ void
    operator()(int64_t i, int64_t j) const
    {
        const uint4 w = philox(key, static_cast<uint64_t>(i), static_cast<uint64_t>(j));
        const double x = normal ? sqrt(-2 * log((w.x + 1.0) * 0x1p-32)) * cos(6.283185307179586 * w.y * 0x1p-32)
                                : w.x * 0x1p-32 - 0.5;

        p[i * ld + j] = static_cast<float>(x);
    }
};

static ql_status
cuda_random(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *t = op->t[0];
    const uint32_t *key = static_cast<const uint32_t *>(op->spec);
    const bool normal = op->n[0] == 1;
    const mat m = cuda_mat(t);

    each(cuda_stream(dev), m.rows, m.cols, random_op{static_cast<float *>(m.p), m.ld, {key[0], key[1]}, normal});
    return cuda_launched(cx, dev, "random");
}

/* Four neighbours share a block of words. */
struct dropout_op {
    loose x, y;
    int64_t cols, first;
    uint2 key;
    unsigned drops; /* words below it drop their element */
    double factor;

    __device__ void
    operator()(int64_t i, int64_t block) const
    {
        const uint4 w = philox(key, static_cast<uint64_t>(first + i), static_cast<uint64_t>(block));
        const unsigned words[4] = {w.x, w.y, w.z, w.w};

        for (int64_t k = 0, j = 4 * block; k < 4 && j < cols; k++, j++)
            y.put(i, j, words[k] < drops ? 0 : x.get<double>(i, j) * factor);
    }
};

static ql_status
cuda_dropout(ql_ctx *cx, void *dev, const ql_op *op)
{
    const uint32_t *key = static_cast<const uint32_t *>(op->spec);
    const int64_t cols = ql_dim(op->t[0], 1);

    each(cuda_stream(dev), ql_dim(op->t[0], 0), div_up(cols, 4),
         dropout_op{loosely(op->t[0]),
                    loosely(op->t[1]),
                    cols,
                    op->n[0],
                    {key[0], key[1]},
                    static_cast<unsigned>(op->alpha * 0x1p32),
                    1 / (1 - op->alpha)});
    return cuda_launched(cx, dev, "dropout");
}

const ql_op_row cuda_random_ops[] = {
    QL_OP_ROW(RANDOM, cuda_random),
    QL_OP_ROW(DROPOUT, cuda_dropout),
    QL_OP_ROWS_END,
};
