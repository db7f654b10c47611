/* Causal attention: its entry, and the kernel of f32, where a lane is a key while scores are made and a column while values are added. */
#include "attention.cuh"

#include <cmath>

#define WARPS 8
#define ROWS 4 /* queries of a warp */
#define QUERIES (WARPS * ROWS)
#define KEYS WARP

/* Shared memory: queries [QUERIES, dim], keys [KEYS, dim | 1], whose odd rows lie in different banks, and values [KEYS, dim]. */
static size_t
room_bytes(int64_t dim)
{
    return static_cast<size_t>(QUERIES * dim + KEYS * (dim | 1) + KEYS * dim) * sizeof(float);
}

/* Copies `rows` rows of one head, `ld` apart in shared memory, zeros where there are no more. */
__device__ static void
load_rows(float *to, int64_t to_ld, int rows, key_rows<float> from, int64_t ld, int64_t there, int64_t dim)
{
    for (int i = static_cast<int>(threadIdx.x / WARP); i < rows; i += WARPS) {
        const float *row = from.from + (from.rows && i < there ? from.rows[i] : i) * ld;

        for (int64_t j = threadIdx.x % WARP; j < dim; j += WARP)
            to[i * to_ld + j] = i < there ? row[j] : 0;
    }
}

template <int SLOTS> struct query {
    float y[SLOTS]; /* columns lane, lane + 32, … */
    float max, sum; /* sum: of the keys of this lane */
};

/* Query `row` at `position` meets the tile of keys that begins at `key`. */
template <int SLOTS>
__device__ static void
meet(const attention<float> &a, query<SLOTS> *q, int row, int64_t position, int64_t key)
{
    const int64_t dim = a.spec.head_dim;
    const float *query_row = shared_as<float>() + row * dim, *keys = shared_as<float>() + QUERIES * dim,
                *values = keys + KEYS * (dim | 1);
    const int lane = static_cast<int>(threadIdx.x % WARP);
    float score = 0, max, base, shrink, p;

    for (int64_t j = 0; j < dim; j++)
        score = fmaf(query_row[j], keys[lane * (dim | 1) + j], score);
    score = seen(key + lane, position, a.spec.window) ? score * a.scale : -INFINITY;
    max = fmaxf(q->max, warp_max(score));
    base = max == -INFINITY ? 0 : max; /* no key seen yet */
    shrink = expf(q->max - base);
    p = expf(score - base);
    q->max = max;
    q->sum = q->sum * shrink + p;
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot++)
        q->y[slot] *= shrink;
    for (int k = 0; k < KEYS; k++) {
        const float weight = __shfl_sync(ALL_LANES, p, k);

#pragma unroll
        for (int slot = 0; slot < SLOTS; slot++)
            if (slot * WARP + lane < dim)
                q->y[slot] = fmaf(weight, values[k * dim + slot * WARP + lane], q->y[slot]);
    }
}

template <int SLOTS>
static __global__ void
float_kernel(attention<float> a)
{
    const query_tile t = a.tiles[blockIdx.x / a.spec.heads];
    const int64_t head = blockIdx.x % a.spec.heads, dim = a.spec.head_dim,
                  column = head / (a.spec.heads / a.spec.kv_heads) * dim;
    const int lane = static_cast<int>(threadIdx.x % WARP), first = static_cast<int>(threadIdx.x / WARP) * ROWS;
    const key_range keys = keys_of(t, a.spec.window, QUERIES, KEYS);
    float *room = shared_as<float>(), *k = room + QUERIES * dim, *v = k + KEYS * (dim | 1);
    query<SLOTS> q[ROWS] = {};

    load_rows(room, dim, QUERIES, {a.q + t.first * a.q_ld + head * dim, nullptr}, a.q_ld, t.end - t.first, dim);
    for (int r = 0; r < ROWS; r++)
        q[r].max = -INFINITY;
    for (int64_t key = keys.first; key < keys.end; key += KEYS) {
        load_rows(k, dim | 1, KEYS, rows_of_keys(a, t, a.k + column, a.k_ld, key), a.k_ld, keys.end - key, dim);
        load_rows(v, dim, KEYS, rows_of_keys(a, t, a.v + column, a.v_ld, key), a.v_ld, keys.end - key, dim);
        __syncthreads();
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            meet(a, &q[r], first + r, t.before + t.first - t.start + first + r, key);
        __syncthreads(); /* nobody needs these keys any more */
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const float sum = warp_sum(q[r].sum);
        const int64_t token = t.first + first + r;

        if (a.lse && lane == 0 && token < t.end)
            a.lse[token * a.lse_ld + head] = q[r].max + logf(sum);
#pragma unroll
        for (int slot = 0; slot < SLOTS; slot++)
            if (token < t.end && slot * WARP + lane < dim)
                a.y[token * a.y_ld + head * dim + slot * WARP + lane] = q[r].y[slot] / sum;
    }
}

static void
launch_attention(cudaStream_t stream, const attention<float> *a, int64_t tiles)
{
    const unsigned blocks = static_cast<unsigned>(tiles * a->spec.heads);
    const size_t bytes = room_bytes(a->spec.head_dim);

    if (a->spec.head_dim <= 64)
        launch(stream, blocks, WARPS * WARP, bytes, float_kernel<2>, *a);
    else if (a->spec.head_dim <= 128)
        launch(stream, blocks, WARPS * WARP, bytes, float_kernel<4>, *a);
    else
        launch(stream, blocks, WARPS * WARP, bytes, float_kernel<8>, *a);
}

static int64_t
position_of(const ql_seqs *seqs, int64_t s)
{
    return seqs->first ? seqs->first[s] : 0;
}

/* Tiles of queries of all sequences, last ones first: they see the most keys. Returns their number; fills `tiles` unless NULL. */
static int64_t
list_tiles(const ql_seqs *seqs, int64_t queries, query_tile *tiles)
{
    int64_t count = 0, path = 0;

    for (int64_t s = seqs->count; s-- > 0;) {
        const int64_t start = seqs->offsets[s], end = seqs->offsets[s + 1],
                      before = seqs->parent || seqs->kept ? position_of(seqs, s) : 0;
        const bool joined = seqs->kept || (seqs->parent && seqs->parent[s] >= 0);

        for (int64_t t = div_up(end - start, queries) - 1; t >= 0; t--) {
            if (tiles)
                tiles[count] = {start + t * queries, start, end, before, joined ? path : -1};
            count++;
        }
        path += joined ? before + end - start : 0;
    }
    return count;
}

/* The row of `kept` at which position `p` of sequence `s` lies. */
static int32_t
kept_row(const ql_seqs *seqs, int64_t s, int64_t p)
{
    return seqs->kept->pages[s][p / QL_PAGE] * QL_PAGE + static_cast<int32_t>(p % QL_PAGE);
}

/* Rows of the keys on the path of every sequence that has a parent or keys that are kept, in the order of list_tiles. Returns how many;
 * fills `rows` unless NULL. */
static int64_t
list_rows(const ql_seqs *seqs, int32_t *rows)
{
    int64_t count = 0;

    for (int64_t s = seqs->count; s-- > 0 && (seqs->parent || seqs->kept);) {
        const int64_t length = position_of(seqs, s) + seqs->offsets[s + 1] - seqs->offsets[s];

        if (!seqs->kept && seqs->parent[s] < 0)
            continue;
        for (int64_t p = 0; rows && seqs->kept && p < length; p++)
            rows[count + p] = kept_row(seqs, s, p);
        for (int64_t at = s; rows && !seqs->kept && at >= 0; at = seqs->parent[at])
            for (int64_t t = seqs->offsets[at]; t < seqs->offsets[at + 1]; t++)
                rows[count + position_of(seqs, at) + t - seqs->offsets[at]] = static_cast<int32_t>(t);
        count += length;
    }
    return count;
}

/* The lists on the device, in scratch. */
template <typename T>
static ql_status
send_lists(ql_ctx *cx, void *dev, const ql_seqs *seqs, int64_t queries, attention<T> *a, int64_t *count)
{
    const int64_t rows = list_rows(seqs, nullptr);
    const size_t tile_bytes = static_cast<size_t>(*count = list_tiles(seqs, queries, nullptr)) * sizeof(query_tile),
                 bytes = tile_bytes + static_cast<size_t>(rows) * sizeof(int32_t);
    const auto fill = [&](char *host) {
        list_tiles(seqs, queries, reinterpret_cast<query_tile *>(host));
        list_rows(seqs, reinterpret_cast<int32_t *>(host + tile_bytes));
    };
    char *p;

    QL_TRY(cx, send_list(cx, dev, bytes, {"a list", *count, "tiles of queries"}, fill, &p));
    a->tiles = reinterpret_cast<query_tile *>(p);
    a->rows = reinterpret_cast<int32_t *>(p + tile_bytes);
    return QL_OK;
}

template <typename U> struct keep_op {
    const U *from;
    int64_t from_ld;
    const int32_t *rows;
    U *to;
    int64_t to_ld;

    __device__ void
    operator()(int64_t i, int64_t j) const
    {
        to[rows[i] * to_ld + j] = from[i * from_ld + j];
    }
};

template <typename U>
static void
keep_rows(cudaStream_t stream, const mat *from, const int32_t *rows, const mat *to)
{
    each(stream, from->rows, from->cols,
         keep_op<U>{static_cast<const U *>(from->p), from->ld, rows, static_cast<U *>(to->p), to->ld});
}

static size_t
keep_bytes(void *dev, const ql_op *op)
{
    (void)dev;
    return static_cast<size_t>(ql_dim(op->t[0], 0)) * sizeof(int32_t);
}

/* Keys and values of the call's tokens go where they are kept. */
static ql_status
keep(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_seqs *seqs = op->seqs;
    const auto fill = [&](int32_t *host) {
        for (int64_t s = 0; s < seqs->count; s++)
            for (int64_t t = seqs->offsets[s]; t < seqs->offsets[s + 1]; t++)
                host[t] = kept_row(seqs, s, position_of(seqs, s) + t - seqs->offsets[s]);
    };
    int32_t *rows;

    QL_TRY(cx, send_list(cx, dev, keep_bytes(dev, op), {"the rows", ql_dim(op->t[0], 0), "tokens"}, fill, &rows));
    for (int i = 1; i <= 2; i++) {
        const mat from = cuda_mat(op->t[i]), to = cuda_mat(op->t[i + 2]);

        if (ql_dtype_size(from.dtype) == sizeof(float))
            keep_rows<uint32_t>(cuda_stream(dev), &from, rows, &to);
        else
            keep_rows<uint16_t>(cuda_stream(dev), &from, rows, &to);
    }
    return cuda_launched(cx, dev, "keep");
}

template <typename T>
static ql_status
attend(ql_ctx *cx, void *dev, const ql_seqs *seqs, const ql_attention_spec *spec, const mat m[5])
{
    const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(spec->head_dim)));
    const bool whole = spec->head_dim * sizeof(T) % 16 == 0 && aligned(&m[0], 16) && aligned(&m[1], 16) &&
                       aligned(&m[2], 16) && aligned(&m[3], 16);
    attention<T> a = {static_cast<const T *>(m[0].p),
                      static_cast<const T *>(m[1].p),
                      static_cast<const T *>(m[2].p),
                      static_cast<T *>(m[3].p),
                      m[0].ld,
                      m[1].ld,
                      m[2].ld,
                      m[3].ld,
                      *spec,
                      nullptr,
                      nullptr,
                      scale,
                      whole,
                      static_cast<float *>(m[4].p),
                      m[4].ld};
    int64_t count;

    QL_TRY(cx, send_lists(cx, dev, seqs, std::is_same_v<T, float> ? QUERIES : attention_mma_queries(spec->head_dim), &a,
                          &count));
    if constexpr (std::is_same_v<T, float>)
        launch_attention(cuda_stream(dev), &a, count);
    else
        launch_attention_mma(cuda_stream(dev), &a, count);
    return cuda_launched(cx, dev, "attention");
}

ql_status
cuda_attention_supports(ql_ctx *cx, const ql_op *op)
{
    const int64_t dim = static_cast<const ql_attention_spec *>(op->spec)->head_dim;

    if (dim > HEAD_MOST)
        return QL_FAIL(cx, QL_UNSUPPORTED, "cuda has heads of up to %d numbers, got %lld", HEAD_MOST,
                       static_cast<long long>(dim));
    if (ql_dtype_of(op->t[0]) == QL_F64)
        return QL_FAIL(cx, QL_UNSUPPORTED, "cuda works in f32, bf16 or f16, got f64");
    return QL_OK;
}

static ql_status
attend_to(ql_ctx *cx, void *dev, const ql_op *op, const mat m[5])
{
    const ql_attention_spec *spec = static_cast<const ql_attention_spec *>(op->spec);

    return with_attended(m[0].dtype,
                         [&](auto type) { return attend<type_in<decltype(type)>>(cx, dev, op->seqs, spec, m); });
}

static ql_status
cuda_attention(ql_ctx *cx, void *dev, const ql_op *op)
{
    const mat m[5] = {cuda_mat(op->t[0]), cuda_mat(op->t[1]), cuda_mat(op->t[2]), cuda_mat(op->t[3]),
                      op->t[4] ? cuda_mat(op->t[4]) : mat{}};

    return attend_to(cx, dev, op, m);
}

static ql_status
cuda_attention_kept(ql_ctx *cx, void *dev, const ql_op *op)
{
    const mat m[5] = {cuda_mat(op->t[0]), cuda_mat(op->t[3]), cuda_mat(op->t[4]), cuda_mat(op->t[5]), {}};

    QL_TRY(cx, keep(cx, dev, op));
    return attend_to(cx, dev, op, m);
}

const ql_op_row cuda_attention_ops[] = {
    {QL_OP_ATTENTION, cuda_attention, nullptr, cuda_attention_supports},
    {QL_OP_ATTENTION_KEPT, cuda_attention_kept, keep_bytes, cuda_attention_supports},
    QL_OP_ROWS_END,
};
