/* The vjp of attention by tiles (Dao et al., arXiv:2205.14135, section B), without atomics: one kernel owns tiles of queries and makes dq,
 * one owns tiles of keys and makes dk and dv, and both make the scores again. To either, what it owns are rows, and what it goes over are
 * columns: what stands here serves both. */
#ifndef QLOOM_CUDA_ATTENTION_BACK_CUH
#define QLOOM_CUDA_ATTENTION_BACK_CUH

#include "attention.cuh"

#define COLUMNS 32 /* of a tile */

/* Tokens from `first` on of the sequence [start, end). */
struct owned_tile {
    int64_t first, start, end;
};

template <typename T> struct attention_back {
    const T *q, *k, *v, *dy;
    T *dq, *dk, *dv;
    int64_t q_ld, k_ld, v_ld, dy_ld, dq_ld, dk_ld, dv_ld;
    const float *lse, *along; /* [T, heads]: logarithms of sums of exponentials; dy . y, rows `heads` apart */
    int64_t lse_ld;
    ql_attention_spec spec;
    const owned_tile *tiles;
    float scale; /* of scores */
    bool whole;  /* rows of heads can be moved 16 bytes at a time */
};

/* Positions of the columns that a tile of `rows` rows meets, from a multiple of COLUMNS. */
struct column_range {
    int64_t first, end;
};

template <bool KEYS>
__device__ inline column_range
columns_of(const owned_tile &t, int64_t window, int rows)
{
    const int64_t position = t.first - t.start, length = t.end - t.start, last = position + rows;

    if (KEYS) /* queries from the first key on, to the last that sees one */
        return {position / COLUMNS * COLUMNS, window > 0 && last + window - 1 < length ? last + window - 1 : length};
    return {window > 0 && position >= window ? (position - window + 1) / COLUMNS * COLUMNS : 0,
            last < length ? last : length};
}

/* One element of a tile: what its weight and slope are made from. */
template <bool KEYS> struct pair_at {
    int64_t query, key;

    __device__
    pair_at(int64_t row, int64_t column)
        : query(KEYS ? column : row), key(KEYS ? row : column)
    {
    }

    __device__ bool
    seen(int64_t length, int64_t window) const
    {
        return query < length && key <= query && (window == 0 || key > query - window);
    }
};

/* attention_back_mma.cu: bf16 and f16 by tensor cores. A block a tile and head, heads of a tile side by side. */
int attention_back_mma_rows(void); /* of a tile */
template <typename T> void launch_attention_back_mma(cudaStream_t stream, const attention_back<T> *a, int64_t tiles);

#endif
