/* The vjp of causal attention: its entry, and the kernel of f32, where a lane is a column while scores are made and a number of a head
 * while gradients are added. */
#include "attention_back.cuh"
#include "loose.cuh"

#include <cmath>

#define WARPS 4
#define ROWS 4 /* of a warp */
#define OWNED (WARPS * ROWS)

/* Copies `rows` rows of one head, `to_ld` apart in shared memory, zeros where there are no more. */
__device__ static void
load_rows(float *to, int64_t to_ld, int rows, const float *from, int64_t ld, int64_t there, int64_t dim)
{
    for (int i = static_cast<int>(threadIdx.x / WARP); i < rows; i += WARPS)
        for (int64_t j = threadIdx.x % WARP; j < dim; j += WARP)
            to[i * to_ld + j] = i < there ? from[i * ld + j] : 0;
}

/* Gradients of one row: columns lane, lane + 32, … of a head; second: dv, where keys are owned. */
template <int SLOTS> struct gradient {
    float first[SLOTS], second[SLOTS];
};

/* What one row makes of the tile of columns in shared memory: its two rows are at `own`, `dim` apart by `gap`. */
template <int SLOTS, bool KEYS>
__device__ static void
meet(const attention_back<float> &a, gradient<SLOTS> *g, const float *const own[2], const float *const columns[2],
     const pair_at<KEYS> at, const owned_tile &t, int64_t head)
{
    const int64_t dim = a.spec.head_dim, ld = dim | 1;
    const int lane = static_cast<int>(threadIdx.x % WARP);
    const bool seen = at.seen(t.end - t.start, a.spec.window);
    float score = 0, slope = 0, weight = 0;

    for (int64_t j = 0; j < dim; j++) {
        score = fmaf(own[0][j], columns[0][lane * ld + j], score);
        slope = fmaf(own[1][j], columns[1][lane * ld + j], slope);
    }
    if (seen) {
        const int64_t token = t.start + at.query;

        weight = expf(score * a.scale - a.lse[token * a.lse_ld + head]);
        slope = weight * (slope - a.along[token * a.spec.heads + head]) * a.scale;
    } else {
        slope = 0;
    }
    for (int c = 0; c < COLUMNS; c++) {
        const float s = __shfl_sync(ALL_LANES, slope, c), w = __shfl_sync(ALL_LANES, weight, c);

#pragma unroll
        for (int slot = 0; slot < SLOTS; slot++)
            if (slot * WARP + lane < dim) {
                g->first[slot] = fmaf(s, columns[0][c * ld + slot * WARP + lane], g->first[slot]);
                if (KEYS)
                    g->second[slot] = fmaf(w, columns[1][c * ld + slot * WARP + lane], g->second[slot]);
            }
    }
}

/* Shared memory: the owned rows of two matrices [OWNED, dim], then the columns' [COLUMNS, dim | 1], whose odd rows lie in different banks:
 * q and dy of queries, k and v of keys. */
template <int SLOTS, bool KEYS>
static __global__ void
float_back_kernel(attention_back<float> a)
{
    const int64_t heads = KEYS ? a.spec.kv_heads : a.spec.heads, group = a.spec.heads / a.spec.kv_heads,
                  dim = a.spec.head_dim, own_head = blockIdx.x % heads, own = own_head * dim;
    const owned_tile t = a.tiles[blockIdx.x / heads];
    const column_range range = columns_of<KEYS>(t, a.spec.window, OWNED);
    const int lane = static_cast<int>(threadIdx.x % WARP), first = static_cast<int>(threadIdx.x / WARP) * ROWS;
    float *rows[2] = {shared_as<float>(), shared_as<float>() + OWNED * dim},
          *columns[2] = {rows[1] + OWNED * dim, rows[1] + OWNED * dim + COLUMNS * (dim | 1)};
    gradient<SLOTS> g[ROWS] = {};

    load_rows(rows[0], dim, OWNED, KEYS ? a.k + t.first * a.k_ld + own : a.q + t.first * a.q_ld + own,
              KEYS ? a.k_ld : a.q_ld, t.end - t.first, dim);
    load_rows(rows[1], dim, OWNED, KEYS ? a.v + t.first * a.v_ld + own : a.dy + t.first * a.dy_ld + own,
              KEYS ? a.v_ld : a.dy_ld, t.end - t.first, dim);
    for (int64_t i = 0; i < (KEYS ? group : 1); i++) {
        const int64_t head = KEYS ? own_head * group + i : own_head, column = KEYS ? head * dim : head / group * dim;

        for (int64_t c = range.first; c < range.end; c += COLUMNS) {
            const int64_t token = t.start + c, there = range.end - c;

            load_rows(columns[0], dim | 1, COLUMNS,
                      KEYS ? a.q + token * a.q_ld + column : a.k + token * a.k_ld + column, KEYS ? a.q_ld : a.k_ld,
                      there, dim);
            load_rows(columns[1], dim | 1, COLUMNS,
                      KEYS ? a.dy + token * a.dy_ld + column : a.v + token * a.v_ld + column, KEYS ? a.dy_ld : a.v_ld,
                      there, dim);
            __syncthreads();
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                const float *const own_rows[2] = {rows[0] + (first + r) * dim, rows[1] + (first + r) * dim};

                meet<SLOTS, KEYS>(a, &g[r], own_rows, columns, {t.first - t.start + first + r, c + lane}, t, head);
            }
            __syncthreads(); /* nobody needs these columns any more */
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int slot = 0; slot < SLOTS; slot++) {
            const int64_t token = t.first + first + r, j = slot * WARP + lane;

            if (token >= t.end || j >= dim)
                continue;
            if (KEYS) {
                a.dk[token * a.dk_ld + own + j] = g[r].first[slot];
                a.dv[token * a.dv_ld + own + j] = g[r].second[slot];
            } else {
                a.dq[token * a.dq_ld + own + j] = g[r].first[slot];
            }
        }
}

template <int SLOTS>
static void
launch_slots(cudaStream_t stream, const attention_back<float> *a, int64_t tiles)
{
    const int64_t dim = a->spec.head_dim;
    const size_t bytes = static_cast<size_t>(2 * OWNED * dim + 2 * COLUMNS * (dim | 1)) * sizeof(float);

    launch(stream, static_cast<unsigned>(tiles * a->spec.heads), WARPS * WARP, bytes, float_back_kernel<SLOTS, false>,
           *a);
    launch(stream, static_cast<unsigned>(tiles * a->spec.kv_heads), WARPS * WARP, bytes, float_back_kernel<SLOTS, true>,
           *a);
}

static void
launch_float(cudaStream_t stream, const attention_back<float> *a, int64_t tiles)
{
    if (a->spec.head_dim <= 64)
        launch_slots<2>(stream, a, tiles);
    else if (a->spec.head_dim <= 128)
        launch_slots<4>(stream, a, tiles);
    else
        launch_slots<8>(stream, a, tiles);
}

/* --- entry --- */

/* dy . y of every token and head, a warp each. */
static __global__ void
along_kernel(loose y, loose dy, int64_t tokens, int64_t heads, int64_t dim, float *along)
{
    const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y, t = at / heads,
                  column = at % heads * dim;
    float sum = 0;

    if (t >= tokens)
        return;
    for (int64_t j = threadIdx.x; j < dim; j += WARP)
        sum = fmaf(y.get<float>(t, column + j), dy.get<float>(t, column + j), sum);
    sum = warp_sum(sum);
    if (threadIdx.x == 0)
        along[at] = sum;
}

/* Tiles of `rows` tokens of all sequences. Returns their number; fills `tiles` unless NULL. */
static int64_t
list_tiles(const ql_seqs *seqs, int64_t rows, owned_tile *tiles)
{
    int64_t count = 0;

    for (int64_t s = 0; s < seqs->count; s++)
        for (int64_t t = seqs->offsets[s]; t < seqs->offsets[s + 1]; t += rows) {
            if (tiles)
                tiles[count] = {t, seqs->offsets[s], seqs->offsets[s + 1]};
            count++;
        }
    return count;
}

static ql_status
send_tiles(ql_ctx *cx, void *dev, const ql_seqs *seqs, int64_t rows, const owned_tile **out, int64_t *count)
{
    const size_t bytes = static_cast<size_t>(*count = list_tiles(seqs, rows, nullptr)) * sizeof(owned_tile);
    const auto fill = [&](owned_tile *host) { list_tiles(seqs, rows, host); };
    owned_tile *p;

    QL_TRY(cx, send_list(cx, dev, bytes, {"a list", *count, "tiles"}, fill, &p));
    *out = p;
    return QL_OK;
}

template <typename T>
static ql_status
run(ql_ctx *cx, void *dev, const ql_op *op, float *along)
{
    const ql_attention_spec *spec = static_cast<const ql_attention_spec *>(op->spec);
    const mat q = cuda_mat(op->t[0]), k = cuda_mat(op->t[1]), v = cuda_mat(op->t[2]), lse = cuda_mat(op->t[4]),
              dy = cuda_mat(op->t[5]), dq = cuda_mat(op->t[6]), dk = cuda_mat(op->t[7]), dv = cuda_mat(op->t[8]);
    bool whole = spec->head_dim * sizeof(T) % 16 == 0;
    attention_back<T> a = {};
    int64_t tiles;

    for (const mat *m : {&q, &k, &v, &dy})
        whole = whole && aligned(m, 16);
    a = {static_cast<const T *>(q.p),
         static_cast<const T *>(k.p),
         static_cast<const T *>(v.p),
         static_cast<const T *>(dy.p),
         static_cast<T *>(dq.p),
         static_cast<T *>(dk.p),
         static_cast<T *>(dv.p),
         q.ld,
         k.ld,
         v.ld,
         dy.ld,
         dq.ld,
         dk.ld,
         dv.ld,
         static_cast<const float *>(lse.p),
         along,
         lse.ld,
         *spec,
         nullptr,
         static_cast<float>(1 / std::sqrt(static_cast<double>(spec->head_dim))),
         whole};
    QL_TRY(cx, send_tiles(cx, dev, op->seqs, std::is_same_v<T, float> ? OWNED : attention_back_mma_rows(), &a.tiles,
                          &tiles));
    if constexpr (std::is_same_v<T, float>)
        launch_float(cuda_stream(dev), &a, tiles);
    else
        launch_attention_back_mma(cuda_stream(dev), &a, tiles);
    return cuda_launched(cx, dev, "attention_back");
}

static size_t
along_bytes(const ql_op *op)
{
    return static_cast<size_t>(ql_count(op->t[4])) * sizeof(float);
}

static size_t
back_scratch(void *, const ql_op *op)
{
    return along_bytes(op);
}

static ql_status
cuda_attention_back(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_attention_spec *spec = static_cast<const ql_attention_spec *>(op->spec);
    const int64_t tokens = ql_dim(op->t[0], 0);
    const dim3 block(WARP, 8);
    float *along;

    QL_TRY(cx, ql_scratch(cx, along_bytes(op), &along));
    launch(cuda_stream(dev), static_cast<unsigned>(div_up(tokens * spec->heads, block.y)), block, 0, along_kernel,
           loosely(op->t[3]), loosely(op->t[5]), tokens, spec->heads, spec->head_dim, along);
    return with_attended(ql_dtype_of(op->t[0]),
                         [&](auto type) { return run<type_in<decltype(type)>>(cx, dev, op, along); });
}

const ql_op_row cuda_attention_back_ops[] = {
    {QL_OP_ATTENTION_BACK, cuda_attention_back, back_scratch, cuda_attention_supports},
    QL_OP_ROWS_END,
};
