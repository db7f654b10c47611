/* Attention by tiles of queries and keys with a running softmax (Dao et al., arXiv:2205.14135): what its two kernels share. */
#ifndef QLOOM_CUDA_ATTENTION_CUH
#define QLOOM_CUDA_ATTENTION_CUH

#include "launch.cuh"

#include <cstdlib>

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
template <typename T> void launch_attention_mma(cudaStream_t stream, const attention<T> *a, int64_t tiles);

/* --- what the entries of attention and of its vjp share --- */

#define HEAD_MOST 256 /* numbers of a head that all kernels hold */

ql_status cuda_attention_supports(ql_ctx *cx, const ql_op *op);

/* f(type_of<T>()) with the type of q. */
template <typename F>
static ql_status
with_attended(ql_dtype dtype, F f)
{
    switch (dtype) {
    case QL_F32:
        return f(type_of<float>());
    case QL_BF16:
        return f(type_of<__nv_bfloat16>());
    default:
        return f(type_of<__half>());
    }
}

/* "a list", 3, "tiles" */
struct list_text {
    const char *list;
    int64_t count;
    const char *of;
};

/* What `fill` writes to `bytes` of the host goes to scratch of the device, *out. */
template <typename U, typename F>
static ql_status
send_list(ql_ctx *cx, void *dev, size_t bytes, const list_text &text, F fill, U **out)
{
    void *host;
    ql_status st;

    QL_TRY(cx, ql_scratch(cx, bytes, out));
    host = malloc(bytes);
    if (!host)
        return QL_FAIL(cx, QL_MEMORY, "no memory for %s of %lld %s", text.list, static_cast<long long>(text.count),
                       text.of);
    fill(static_cast<U *>(host));
    st = cuda_upload(cx, dev, host, *out, bytes);
    free(host);
    return st;
}

#endif
