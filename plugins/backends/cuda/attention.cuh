/* Attention by tiles of queries and keys with a running softmax (Dao et al., arXiv:2205.14135): what its two kernels share. */
#ifndef QLOOM_CUDA_ATTENTION_CUH
#define QLOOM_CUDA_ATTENTION_CUH

#include "launch.cuh"

/* Tokens from `first` on of the sequence [start, end), which stands behind `before` tokens of its ancestors. Where `path` is not -1, the
 * rows of keys by their positions, ancestors' included, are attention.rows[path …]; else they are those from `start` on. */
struct query_tile {
    int64_t first, start, end, before, path;
};

template <typename T> struct attention {
    const T *q, *k, *v;
    T *y;
    int64_t q_ld, k_ld, v_ld, y_ld;
    ql_attention_spec spec;
    const query_tile *tiles;
    const int32_t *rows; /* of the keys on all paths */
    float scale;         /* of scores */
    bool whole;          /* rows of heads can be moved 16 bytes at a time */
    float *lse;          /* [T, heads]: logarithms of sums of exponentials; NULL: not wanted */
    int64_t lse_ld;
};

/* Keys that a tile of `queries` sees: from a multiple of `keys`, positions in the sequence. */
struct key_range {
    int64_t first, end;
};

__device__ inline key_range
keys_of(const query_tile &t, int64_t window, int queries, int keys)
{
    const int64_t position = t.before + t.first - t.start, last = position + queries,
                  length = t.before + t.end - t.start;

    return {window > 0 && position >= window ? (position - window + 1) / keys * keys : 0,
            last < length ? last : length};
}

/* Where the keys from position `key` on lie: row i at from + (rows ? rows[i] : i) * ld. */
template <typename T> struct key_rows {
    const T *from;
    const int32_t *rows;
};

template <typename T>
__device__ inline key_rows<T>
rows_of_keys(const attention<T> &a, const query_tile &t, const T *m, int64_t ld, int64_t key)
{
    if (t.path < 0)
        return {m + (t.start + key) * ld, nullptr};
    return {m, a.rows + t.path + key};
}

__device__ inline bool
seen(int64_t key, int64_t position, int64_t window)
{
    return key <= position && (window == 0 || key > position - window);
}

/* A block a tile and head, heads of a tile side by side: they share keys. attention_mma.cu: bf16 and f16 by tensor cores. */
int attention_mma_queries(int64_t head_dim); /* of a tile */
void launch_attention_mma(cudaStream_t stream, const attention<__nv_bfloat16> *a, int64_t tiles);
void launch_attention_mma(cudaStream_t stream, const attention<__half> *a, int64_t tiles);

#define HEAD_MOST 256 /* numbers of a head that both kernels hold */

#endif
