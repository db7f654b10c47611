/* Attention of bf16 and f16 by tensor cores: a warp holds one or two tiles of 16 queries, their scores and sums in registers; keys and
 * values come through shared memory, each on its way while the other is worked on. Two tiles use what is loaded of them twice: shared
 * memory, which gives a warp 128 bytes a clock, would be the limit otherwise. */
#include "attention.cuh"
#include "mma.cuh"

#define WARPS 4
#define TILES_OF(dim) ((dim) > 128 ? 1 : 2) /* of a warp: as many as its registers hold */
#define PAD 8 /* elements after a row of shared memory, so that eight rows lie in different banks */

template <typename T, int DIM, int KEYS> struct room {
    T q[WARPS * TILES_OF(DIM) * 16][DIM + PAD], k[KEYS][DIM + PAD], v[KEYS][DIM + PAD];
};

/* Starts to copy `rows` rows of one head, zeros where there are no more rows or columns; __pipeline_wait_prior ends it. */
template <typename T, int DIM>
__device__ static void
begin_rows(T (*to)[DIM + PAD], int rows, key_rows<T> from, int64_t ld, int64_t there, int64_t dim, bool whole)
{
    constexpr int chunk = 16 / sizeof(T), chunks = DIM / chunk;

    if (whole) {
        for (int at = static_cast<int>(threadIdx.x); at < rows * chunks; at += WARPS * WARP) {
            const int i = at / chunks, j = at % chunks * chunk;
            const bool inside = i < there && j < dim;
            const int64_t row = inside && from.rows ? from.rows[i] : i;

            __pipeline_memcpy_async(&to[i][j], inside ? from.from + row * ld + j : from.from, 16, inside ? 0 : 16);
        }
    } else {
        for (int at = static_cast<int>(threadIdx.x); at < rows * DIM; at += WARPS * WARP) {
            const int i = at / DIM, j = at % DIM;
            const int64_t row = i < there && from.rows ? from.rows[i] : i;

            to[i][j] = i < there && j < dim ? from.from[row * ld + j] : narrow<T>(0.0f);
        }
    }
    __pipeline_commit();
}

/* A lane's part of 16 queries of its warp: rows lane / 4 and lane / 4 + 8. */
template <int DIM, int KEYS> struct queries {
    float y[DIM / 8][4], scores[KEYS / 8][4];
    float max[2], sum[2];
};

template <typename T, int DIM, int KEYS>
__device__ static void
make_scores(const room<T, DIM, KEYS> *r, int warp, int lane, queries<DIM, KEYS> *q)
{
    constexpr int TILES = TILES_OF(DIM);

#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
            q[t].scores[n][0] = q[t].scores[n][1] = q[t].scores[n][2] = q[t].scores[n][3] = 0;
#pragma unroll
    for (int d = 0; d < DIM; d += 16) {
        unsigned a[TILES][4], b[4];

#pragma unroll
        for (int t = 0; t < TILES; t++)
            load_matrices(a[t], &r->q[(warp * TILES + t) * 16 + lane % 16][d + lane / 16 * 8]);
#pragma unroll
        for (int n = 0; n < KEYS / 16; n++) {
            load_matrices(b, &r->k[n * 16 + lane % 8 + lane / 16 * 8][d + lane / 8 % 2 * 8]);
#pragma unroll
            for (int t = 0; t < TILES; t++) {
                mma_16816<T>(q[t].scores[2 * n], a[t], b);
                mma_16816<T>(q[t].scores[2 * n + 1], a[t], b + 2);
            }
        }
    }
}

/* Scores become exp2(score - max); what was summed before is rescaled when the maximum grows. `scale` contains log2 e. */
template <int DIM, int KEYS>
__device__ static void
softmax(queries<DIM, KEYS> *q, float scale, int64_t key, int64_t position, int64_t window, bool masked)
{
    const int64_t column = key + threadIdx.x % 4 * 2;

#pragma unroll
    for (int half = 0; half < 2; half++) {
        float max = q->max[half], base, shrink;

#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int e = 2 * half; e < 2 * half + 2; e++) {
                const bool hidden = masked && !seen(column + n * 8 + e % 2, position + 8 * half, window);

                q->scores[n][e] = hidden ? -INFINITY : q->scores[n][e] * scale;
                max = fmaxf(max, q->scores[n][e]);
            }
        max = fmaxf(max, __shfl_xor_sync(ALL_LANES, max, 1));
        max = fmaxf(max, __shfl_xor_sync(ALL_LANES, max, 2));
        base = max == -INFINITY ? 0 : max; /* no key seen yet */
        shrink = exp2f(q->max[half] - base);
        q->max[half] = max;
        q->sum[half] *= shrink;
#pragma unroll
        for (int n = 0; n < DIM / 8; n++) {
            q->y[n][2 * half] *= shrink;
            q->y[n][2 * half + 1] *= shrink;
        }
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int e = 2 * half; e < 2 * half + 2; e++) {
                q->scores[n][e] = exp2f(q->scores[n][e] - base);
                q->sum[half] += q->scores[n][e];
            }
    }
}

template <typename T, int DIM, int KEYS>
__device__ static void
add_values(const room<T, DIM, KEYS> *r, int lane, queries<DIM, KEYS> *q)
{
    constexpr int TILES = TILES_OF(DIM);

#pragma unroll
    for (int n = 0; n < KEYS / 16; n++) {
        unsigned a[TILES][4];

#pragma unroll
        for (int t = 0; t < TILES; t++) {
            const float *left = q[t].scores[2 * n], *right = q[t].scores[2 * n + 1];

            a[t][0] = pack_pair<T>(left[0], left[1]);
            a[t][1] = pack_pair<T>(left[2], left[3]);
            a[t][2] = pack_pair<T>(right[0], right[1]);
            a[t][3] = pack_pair<T>(right[2], right[3]);
        }
#pragma unroll
        for (int d = 0; d < DIM / 16; d++) {
            unsigned b[4];

            load_transposed(b, &r->v[n * 16 + lane % 16][d * 16 + lane / 16 * 8]);
#pragma unroll
            for (int t = 0; t < TILES; t++) {
                mma_16816<T>(q[t].y[2 * d], a[t], b);
                mma_16816<T>(q[t].y[2 * d + 1], a[t], b + 2);
            }
        }
    }
}

template <typename T, int DIM, int KEYS>
__device__ static void
store_queries(const attention<T> &a, T *y, float *lse, const queries<DIM, KEYS> *q, int row, int64_t there)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float sum = q->sum[half];

        sum += __shfl_xor_sync(ALL_LANES, sum, 1);
        sum += __shfl_xor_sync(ALL_LANES, sum, 2);
        if (row + 8 * half >= there)
            continue;
        if (lse && threadIdx.x % 4 == 0) /* from powers of 2 */
            lse[(row + 8 * half) * a.lse_ld] = (q->max[half] + log2f(sum)) * 0.693147180559945309f;
#pragma unroll
        for (int n = 0; n < DIM / 8; n++) {
            const int64_t column = n * 8 + threadIdx.x % 4 * 2;
            T *to = y + (row + 8 * half) * a.y_ld + column;
            const float left = q->y[n][2 * half] / sum, right = q->y[n][2 * half + 1] / sum;

            if (a.whole && column < a.spec.head_dim) {
                *reinterpret_cast<unsigned *>(to) = pack_pair<T>(left, right);
            } else {
                if (column < a.spec.head_dim)
                    to[0] = narrow<T>(left);
                if (column + 1 < a.spec.head_dim)
                    to[1] = narrow<T>(right);
            }
        }
    }
}

/* As many blocks a multiprocessor as their registers allow. */
template <typename T, int DIM, int KEYS>
static __global__ void
__launch_bounds__(WARPS *WARP, DIM > 128 ? 1 : 2) mma_kernel(attention<T> a)
{
    constexpr int TILES = TILES_OF(DIM), rows = WARPS * TILES * 16;
    room<T, DIM, KEYS> *r = shared_as<room<T, DIM, KEYS>>();
    const query_tile t = a.tiles[blockIdx.x / a.spec.heads];
    const int64_t head = blockIdx.x % a.spec.heads, dim = a.spec.head_dim,
                  column = head / (a.spec.heads / a.spec.kv_heads) * dim;
    const T *k = a.k + column, *v = a.v + column;
    const int warp = static_cast<int>(threadIdx.x / WARP), lane = static_cast<int>(threadIdx.x % WARP),
              row = warp * TILES * 16 + lane / 4;
    const key_range keys = keys_of(t, a.spec.window, rows, KEYS);
    const int64_t position = t.before + t.first - t.start, left = t.end - t.first;
    queries<DIM, KEYS> q[TILES] = {};

#pragma unroll
    for (int i = 0; i < TILES; i++)
        q[i].max[0] = q[i].max[1] = -INFINITY;
    begin_rows<T, DIM>(r->q, rows, {a.q + t.first * a.q_ld + head * dim, nullptr}, a.q_ld, left, dim, a.whole);
    begin_rows<T, DIM>(r->k, KEYS, rows_of_keys(a, t, k, a.k_ld, keys.first), a.k_ld, keys.end - keys.first, dim,
                       a.whole);
    for (int64_t key = keys.first; key < keys.end; key += KEYS) {
        __pipeline_wait_prior(0);
        __syncthreads(); /* keys are there, and nobody needs the values before them */
        begin_rows<T, DIM>(r->v, KEYS, rows_of_keys(a, t, v, a.v_ld, key), a.v_ld, keys.end - key, dim, a.whole);
        make_scores(r, warp, lane, q);
#pragma unroll
        for (int i = 0; i < TILES; i++)
            softmax(&q[i], a.scale, key, position + row + i * 16, a.spec.window,
                    a.spec.window > 0 || key + KEYS > position + (warp * TILES + i) * 16);
        __pipeline_wait_prior(0);
        __syncthreads(); /* values are there, and nobody needs the keys before them */
        if (key + KEYS < keys.end)
            begin_rows<T, DIM>(r->k, KEYS, rows_of_keys(a, t, k, a.k_ld, key + KEYS), a.k_ld, keys.end - key - KEYS,
                               dim, a.whole);
        add_values(r, lane, q);
    }
#pragma unroll
    for (int i = 0; i < TILES; i++)
        store_queries(a, a.y + t.first * a.y_ld + head * dim, a.lse ? a.lse + t.first * a.lse_ld + head : nullptr,
                      &q[i], row + i * 16, left);
}

template <typename T, int DIM, int KEYS>
static void
launch_tiles(cudaStream_t stream, const attention<T> &a, int64_t tiles)
{
    launch(stream, static_cast<unsigned>(tiles * a.spec.heads), WARPS * WARP, sizeof(room<T, DIM, KEYS>),
           mma_kernel<T, DIM, KEYS>, a);
}

int
attention_mma_queries(int64_t head_dim)
{
    return WARPS * 16 * TILES_OF(head_dim);
}

template <typename T>
void
launch_attention_mma(cudaStream_t stream, const attention<T> *given, int64_t tiles)
{
    attention<T> a = *given;

    a.scale *= 1.44269504088896341f; /* log2 e */
    if (a.spec.head_dim <= 64)
        launch_tiles<T, 64, 64>(stream, a, tiles);
    else if (a.spec.head_dim <= 128)
        launch_tiles<T, 128, 48>(stream, a, tiles);
    else
        launch_tiles<T, 256, 32>(stream, a, tiles);
}

template void launch_attention_mma(cudaStream_t stream, const attention<__nv_bfloat16> *a, int64_t tiles);
template void launch_attention_mma(cudaStream_t stream, const attention<__half> *a, int64_t tiles);
