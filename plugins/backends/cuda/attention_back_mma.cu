/* The vjp of attention in bf16 and f16 by tensor cores: a warp owns 16 rows, whose scores, slopes and gradients it holds in registers; its
 * rows and the columns come through shared memory. Weights and slopes are rounded to the dtype before they are multiplied. */
#include "attention_back.cuh"
#include "mma.cuh"

#define WARPS 4
#define OWNED (WARPS * 16)
#define PAD 8       /* elements after a row of shared memory, so that eight rows lie in different banks */
#define NUMBERS 128 /* of a head whose gradients a block makes: what its registers hold */
#define LOG2_E 1.44269504088896341f

/* [0]: q or k; [1]: dy or v. */
template <typename T, int DIM> struct back_room {
    T rows[2][OWNED][DIM + PAD], columns[2][COLUMNS][DIM + PAD];
};

/* Copies `rows` rows of one head, zeros where there are no more rows or columns. */
template <typename T, int DIM>
__device__ static void
load_rows(T (*to)[DIM + PAD], int rows, const T *from, int64_t ld, int64_t there, int64_t dim, bool whole)
{
    constexpr int chunk = 16 / sizeof(T), chunks = DIM / chunk;

    if (whole) {
        for (int at = static_cast<int>(threadIdx.x); at < rows * chunks; at += WARPS * WARP) {
            const int i = at / chunks, j = at % chunks * chunk;
            const bool inside = i < there && j < dim;

            __pipeline_memcpy_async(&to[i][j], inside ? from + i * ld + j : from, 16, inside ? 0 : 16);
        }
    } else {
        for (int at = static_cast<int>(threadIdx.x); at < rows * DIM; at += WARPS * WARP) {
            const int i = at / DIM, j = at % DIM;

            to[i][j] = i < there && j < dim ? from[i * ld + j] : narrow<T>(0.0f);
        }
    }
    __pipeline_commit();
}

/* out[row, column] = rows . columns for the 16 rows of a warp. */
template <typename T, int DIM>
__device__ static void
multiply(const T (*rows)[DIM + PAD], const T (*columns)[DIM + PAD], int lane, float (*out)[4])
{
#pragma unroll
    for (int n = 0; n < COLUMNS / 8; n++)
        out[n][0] = out[n][1] = out[n][2] = out[n][3] = 0;
#pragma unroll
    for (int d = 0; d < DIM; d += 16) {
        unsigned a[4], b[4];

        load_matrices(a, &rows[lane % 16][d + lane / 16 * 8]);
#pragma unroll
        for (int n = 0; n < COLUMNS / 16; n++) {
            load_matrices(b, &columns[n * 16 + lane % 8 + lane / 16 * 8][d + lane / 8 % 2 * 8]);
            mma_16816<T>(out[2 * n], a, b);
            mma_16816<T>(out[2 * n + 1], a, b + 2);
        }
    }
}

/* sum += factors . columns, for N numbers of a head from `from` on. */
template <typename T, int DIM, int N>
__device__ static void
accumulate(const float (*factors)[4], const T (*columns)[DIM + PAD], int from, int lane, float (*sum)[4])
{
#pragma unroll
    for (int n = 0; n < COLUMNS / 16; n++) {
        const float *left = factors[2 * n], *right = factors[2 * n + 1];
        const unsigned a[4] = {pack_pair<T>(left[0], left[1]), pack_pair<T>(left[2], left[3]),
                               pack_pair<T>(right[0], right[1]), pack_pair<T>(right[2], right[3])};

#pragma unroll
        for (int d = 0; d < N / 16; d++) {
            unsigned b[4];

            load_transposed(b, &columns[n * 16 + lane % 16][from + d * 16 + lane / 16 * 8]);
            mma_16816<T>(sum[2 * d], a, b);
            mma_16816<T>(sum[2 * d + 1], a, b + 2);
        }
    }
}

/* Scores become weights, slopes of weights those of scores; row and column: of a lane's first element, positions in the sequence. */
template <typename T, bool KEYS>
__device__ static void
soften(const attention_back<T> &a, const owned_tile &t, int64_t head, int64_t row, int64_t column, float (*weights)[4],
       float (*slopes)[4])
{
    const float *lse = a.lse + t.start * a.lse_ld + head, *along = a.along + t.start * a.spec.heads + head;

#pragma unroll
    for (int n = 0; n < COLUMNS / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const pair_at<KEYS> at(row + e / 2 * 8, column + n * 8 + e % 2);

            if (at.seen(t.end - t.start, a.spec.window)) {
                weights[n][e] = exp2f((weights[n][e] * a.scale - lse[at.query * a.lse_ld]) * LOG2_E);
                slopes[n][e] = weights[n][e] * (slopes[n][e] - along[at.query * a.spec.heads]) * a.scale;
            } else {
                weights[n][e] = slopes[n][e] = 0;
            }
        }
}

template <typename T, int N>
__device__ static void
store_rows(T *to, int64_t ld, const float (*sum)[4], int row, int64_t there, int64_t numbers)
{
#pragma unroll
    for (int d = 0; d < N / 8; d++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int i = row + e / 2 * 8, j = d * 8 + static_cast<int>(threadIdx.x % 4) * 2 + e % 2;

            if (i < there && j < numbers)
                to[i * ld + j] = narrow<T>(sum[d][e]);
        }
}

/* A block a tile, a head and, along y, NUMBERS numbers of its gradients. */
template <typename T, int DIM, bool KEYS>
static __global__ void
__launch_bounds__(WARPS *WARP, 2) mma_back_kernel(attention_back<T> a)
{
    constexpr int N = DIM < NUMBERS ? DIM : NUMBERS;
    back_room<T, DIM> *r = shared_as<back_room<T, DIM>>();
    const int64_t heads = KEYS ? a.spec.kv_heads : a.spec.heads, group = a.spec.heads / a.spec.kv_heads,
                  dim = a.spec.head_dim, own_head = blockIdx.x % heads, own = own_head * dim;
    const owned_tile t = a.tiles[blockIdx.x / heads];
    const column_range range = columns_of<KEYS>(t, a.spec.window, OWNED);
    const int warp = static_cast<int>(threadIdx.x / WARP), lane = static_cast<int>(threadIdx.x % WARP),
              row = warp * 16 + lane / 4, from = static_cast<int>(blockIdx.y) * NUMBERS;
    const int64_t left = t.end - t.first;
    float first[N / 8][4] = {}, second[KEYS ? N / 8 : 1][4] = {};

    load_rows<T, DIM>(r->rows[0], OWNED, KEYS ? a.k + t.first * a.k_ld + own : a.q + t.first * a.q_ld + own,
                      KEYS ? a.k_ld : a.q_ld, left, dim, a.whole);
    load_rows<T, DIM>(r->rows[1], OWNED, KEYS ? a.v + t.first * a.v_ld + own : a.dy + t.first * a.dy_ld + own,
                      KEYS ? a.v_ld : a.dy_ld, left, dim, a.whole);
    for (int64_t i = 0; i < (KEYS ? group : 1); i++) {
        const int64_t head = KEYS ? own_head * group + i : own_head, column = KEYS ? head * dim : head / group * dim;

        for (int64_t c = range.first; c < range.end; c += COLUMNS) {
            const int64_t token = t.start + c, there = range.end - c;
            float weights[COLUMNS / 8][4], slopes[COLUMNS / 8][4];

            load_rows<T, DIM>(r->columns[0], COLUMNS,
                              KEYS ? a.q + token * a.q_ld + column : a.k + token * a.k_ld + column,
                              KEYS ? a.q_ld : a.k_ld, there, dim, a.whole);
            load_rows<T, DIM>(r->columns[1], COLUMNS,
                              KEYS ? a.dy + token * a.dy_ld + column : a.v + token * a.v_ld + column,
                              KEYS ? a.dy_ld : a.v_ld, there, dim, a.whole);
            __pipeline_wait_prior(0);
            __syncthreads();
            multiply<T, DIM>(r->rows[0] + warp * 16, r->columns[0], lane, weights);
            multiply<T, DIM>(r->rows[1] + warp * 16, r->columns[1], lane, slopes);
            soften<T, KEYS>(a, t, head, t.first - t.start + row, c + lane % 4 * 2, weights, slopes);
            accumulate<T, DIM, N>(slopes, r->columns[0], from, lane, first);
            if constexpr (KEYS)
                accumulate<T, DIM, N>(weights, r->columns[1], from, lane, second);
            __syncthreads(); /* nobody needs these columns any more */
        }
    }
    if constexpr (KEYS) {
        store_rows<T, N>(a.dk + t.first * a.dk_ld + own + from, a.dk_ld, first, row, left, dim - from);
        store_rows<T, N>(a.dv + t.first * a.dv_ld + own + from, a.dv_ld, second, row, left, dim - from);
    } else {
        store_rows<T, N>(a.dq + t.first * a.dq_ld + own + from, a.dq_ld, first, row, left, dim - from);
    }
}

template <typename T, int DIM>
static void
launch_dim(cudaStream_t stream, const attention_back<T> &a, int64_t tiles)
{
    const unsigned parts = DIM > NUMBERS ? DIM / NUMBERS : 1;

    launch(stream, dim3(static_cast<unsigned>(tiles * a.spec.heads), parts), WARPS * WARP, sizeof(back_room<T, DIM>),
           mma_back_kernel<T, DIM, false>, a);
    launch(stream, dim3(static_cast<unsigned>(tiles * a.spec.kv_heads), parts), WARPS * WARP, sizeof(back_room<T, DIM>),
           mma_back_kernel<T, DIM, true>, a);
}

int
attention_back_mma_rows(void)
{
    return OWNED;
}

template <typename T>
void
launch_attention_back_mma(cudaStream_t stream, const attention_back<T> *a, int64_t tiles)
{
    if (a->spec.head_dim <= 64)
        launch_dim<T, 64>(stream, *a, tiles);
    else if (a->spec.head_dim <= 128)
        launch_dim<T, 128>(stream, *a, tiles);
    else
        launch_dim<T, 256>(stream, *a, tiles);
}

template void launch_attention_back_mma(cudaStream_t stream, const attention_back<__nv_bfloat16> *a, int64_t tiles);
template void launch_attention_back_mma(cudaStream_t stream, const attention_back<__half> *a, int64_t tiles);
