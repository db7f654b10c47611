/* Likelihoods and divergences over the vocabulary. Logits exist for a tile of tokens and words at a time, made by a product; each tile
 * joins running maxima and sums. KL(p_ref || p) = sum p_ref (ref - x) + lse(x) - lse(ref), so one pass over both logits is enough. */
#include "launch.cuh"

#define TOKENS 2048 /* of a tile */
#define WORDS 8192
#define THREADS 256

/* Of the logits of one token over the words so far. */
struct logit_sum {
    double sum; /* of exp(logit - max) */
    float max;
    int best; /* the first word whose logit is max */
};

struct token_sums {
    logit_sum x, ref; /* ref: of kl alone */
    double shift;     /* sum of exp(ref - ref.max) (ref - x) */
    float chosen;     /* of nll alone: the target's logit */
};

struct room {
    float max[THREADS / WARP];
    int best[THREADS / WARP];
    double sum[THREADS / WARP];
};

__device__ static bool
better(float a, int i, float b, int j)
{
    return a > b || (a == b && i < j);
}

/* The largest logit of a row, for all threads of the block; *best is its first word. */
__device__ static float
row_max(const float *row, int words, room *r, int *best)
{
    float max = -INFINITY;
    int at = 0;

    for (int j = static_cast<int>(threadIdx.x); j < words; j += THREADS)
        if (row[j] > max) {
            max = row[j];
            at = j;
        }
    for (int with = WARP / 2; with > 0; with /= 2) {
        const float other = __shfl_xor_sync(ALL_LANES, max, with);
        const int j = __shfl_xor_sync(ALL_LANES, at, with);

        if (better(other, j, max, at)) {
            max = other;
            at = j;
        }
    }
    if (threadIdx.x % WARP == 0) {
        r->max[threadIdx.x / WARP] = max;
        r->best[threadIdx.x / WARP] = at;
    }
    __syncthreads();
    for (int w = 0; w < THREADS / WARP; w++)
        if (better(r->max[w], r->best[w], max, at)) {
            max = r->max[w];
            at = r->best[w];
        }
    *best = at;
    return max;
}

/* A tile's sum joins; the sums that go with it have the weights *left (those so far) and *right (the tile's) from now on. */
__device__ static void
join(logit_sum *all, const logit_sum &tile, double *left, double *right)
{
    const float max = tile.max > all->max ? tile.max : all->max;

    *left = exp(static_cast<double>(all->max) - static_cast<double>(max));
    *right = exp(static_cast<double>(tile.max) - static_cast<double>(max));
    all->best = tile.max > all->max ? tile.best : all->best;
    all->sum = all->sum * *left + tile.sum * *right;
    all->max = max;
}

/* One row of a tile that begins at word `first`. */
__device__ static logit_sum
row_sum(const float *row, int first, int words, room *r)
{
    logit_sum s = {0, 0, 0};

    s.max = row_max(row, words, r, &s.best);
    s.best += first;
    for (int j = static_cast<int>(threadIdx.x); j < words; j += THREADS)
        s.sum += static_cast<double>(expf(row[j] - s.max));
    s.sum = block_sum(s.sum, r->sum);
    return s;
}

/* A block a token. */
static __global__ void
nll_kernel(const float *logits, int first, int words, const int32_t *targets, token_sums *sums)
{
    const float *row = logits + static_cast<int64_t>(blockIdx.x) * WORDS;
    token_sums *to = sums + blockIdx.x;
    const logit_sum tile = row_sum(row, first, words, shared_as<room>());
    const int64_t at = static_cast<int64_t>(targets[blockIdx.x]) - first;
    double left, right;

    if (threadIdx.x != 0)
        return;
    join(&to->x, tile, &left, &right);
    if (at >= 0 && at < words)
        to->chosen = row[at];
}

/* A block a row, whose sums alone are made; targets are found by chosen_op. */
static __global__ void
lse_kernel(const float *logits, int first, int words, token_sums *sums)
{
    const logit_sum tile = row_sum(logits + static_cast<int64_t>(blockIdx.x) * WORDS, first, words, shared_as<room>());
    double left, right;

    if (threadIdx.x == 0)
        join(&sums[blockIdx.x].x, tile, &left, &right);
}

static __global__ void
kl_kernel(const float *ref, const float *x, int first, int words, token_sums *sums)
{
    const float *ref_row = ref + static_cast<int64_t>(blockIdx.x) * WORDS,
                *x_row = x + static_cast<int64_t>(blockIdx.x) * WORDS;
    token_sums *to = sums + blockIdx.x;
    room *r = shared_as<room>();
    const logit_sum ref_tile = row_sum(ref_row, first, words, r), x_tile = row_sum(x_row, first, words, r);
    double shift = 0, left, right;

    for (int j = static_cast<int>(threadIdx.x); j < words; j += THREADS)
        shift += static_cast<double>(expf(ref_row[j] - ref_tile.max)) * static_cast<double>(ref_row[j] - x_row[j]);
    shift = block_sum(shift, r->sum);
    if (threadIdx.x != 0)
        return;
    join(&to->x, x_tile, &left, &right);
    join(&to->ref, ref_tile, &left, &right);
    to->shift = to->shift * left + shift * right;
}

struct start_op {
    token_sums *sums;

    __device__ void
    operator()(int64_t, int64_t t) const
    {
        sums[t] = {{0, -INFINITY, 0}, {0, -INFINITY, 0}, 0, 0};
    }
};

struct nll_op {
    const token_sums *sums;
    const int32_t *targets;
    float *out;

    __device__ void
    operator()(int64_t, int64_t t) const
    {
        const token_sums &s = sums[t];

        out[t] = targets[t] < 0
                     ? 0
                     : static_cast<float>(log(s.x.sum) + static_cast<double>(s.x.max) - static_cast<double>(s.chosen));
    }
};

struct kl_op {
    const token_sums *sums;
    float *kl;
    uint8_t *agree;

    __device__ void
    operator()(int64_t, int64_t t) const
    {
        const logit_sum &x = sums[t].x, &ref = sums[t].ref;
        const double d = sums[t].shift / ref.sum + (static_cast<double>(x.max) - static_cast<double>(ref.max)) +
                         (log(x.sum) - log(ref.sum));

        kl[t] = static_cast<float>(d < 0 ? 0 : d); /* below by rounding; NaN stays */
        agree[t] = x.best == ref.best;
    }
};

/* Logits of the targets among a tile's rows [row, row + rows) and words [word, word + words). */
struct chosen_op {
    const float *logits;
    const int32_t *row_of, *ids;
    int64_t row, rows, word, words;
    float *out;

    __device__ void
    operator()(int64_t, int64_t i) const
    {
        const int64_t r = row_of[i] - row, w = ids[i] - word;

        if (r >= 0 && r < rows && w >= 0 && w < words)
            out[i] = logits[r * WORDS + w];
    }
};

/* They become log-probabilities once the sums of their rows are there. */
struct logprob_op {
    const token_sums *sums;
    const int32_t *row_of;
    int64_t row, rows;
    float *out;

    __device__ void
    operator()(int64_t, int64_t i) const
    {
        const int64_t r = row_of[i] - row;

        if (r >= 0 && r < rows)
            out[i] = static_cast<float>(static_cast<double>(out[i]) -
                                        (log(sums[r].x.sum) + static_cast<double>(sums[r].x.max)));
    }
};

struct best_op {
    const token_sums *sums;
    int32_t *best;

    __device__ void
    operator()(int64_t, int64_t r) const
    {
        best[r] = sums[r].x.best;
    }
};

/* What all share: operands, and the scratch that a tile needs. */
struct tiles {
    mat x, head;
    int64_t tokens; /* of a tile */
    float *logits[2];
    token_sums *sums;
};

static mat
rows_of(const mat *m, int64_t first, int64_t count)
{
    return cuda_part(m, first, 0, m->rows - first < count ? m->rows - first : count, m->cols);
}

static size_t
logits_scratch(int64_t tokens, int models)
{
    const size_t rows = static_cast<size_t>(tokens < TOKENS ? tokens : TOKENS);

    return rows * (static_cast<size_t>(models) * WORDS * sizeof(float) + sizeof(token_sums));
}

static size_t
nll_scratch(void *, const ql_op *op)
{
    return logits_scratch(ql_dim(op->t[0], 0), 1);
}

static size_t
kl_scratch(void *, const ql_op *op)
{
    return logits_scratch(ql_dim(op->t[0], 0), 2);
}

static ql_status
tiles_make(ql_ctx *cx, const ql_tensor *x, const ql_tensor *head, int models, tiles *t)
{
    size_t logits;
    char *p;

    t->x = cuda_mat(x);
    t->head = cuda_mat(head);
    t->tokens = t->x.rows < TOKENS ? t->x.rows : TOKENS;
    logits = static_cast<size_t>(t->tokens) * WORDS * sizeof(float);
    QL_TRY(cx, ql_scratch(cx, logits_scratch(t->tokens, models), &p));
    for (int i = 0; i < models; i++)
        t->logits[i] = reinterpret_cast<float *>(p + static_cast<size_t>(i) * logits);
    t->sums = reinterpret_cast<token_sums *>(p + static_cast<size_t>(models) * logits);
    return QL_OK;
}

/* logits[i, j] = x[i, :] . head[first + j, :]; returns the number of words. */
static ql_status
make_logits(ql_ctx *cx, void *dev, const tiles *t, const mat *x, int64_t first, int model, int *words)
{
    const mat head = rows_of(&t->head, first, WORDS), out = {t->logits[model], x->rows, head.rows, WORDS, QL_F32};

    *words = static_cast<int>(head.rows);
    return cuda_product(cx, dev, QL_NT, 1, x, &head, 0, &out);
}

static ql_status
check_targets(ql_ctx *cx, void *dev, const ql_tensor *targets, int64_t words)
{
    const int64_t range[2] = {INT32_MIN, words};
    outside bad;

    QL_TRY(cx, cuda_outside(cx, dev, targets, range, &bad));
    if (bad.at < 0)
        return QL_OK;
    return QL_FAIL(cx, QL_INVALID, "nll: the target of token %lld is %d, but the vocabulary has %lld entries",
                   static_cast<long long>(bad.at), static_cast<int>(bad.index), static_cast<long long>(words));
}

/* Logits and sums are of f32. */
static ql_status
supports(ql_ctx *cx, const ql_op *op)
{
    if (ql_dtype_of(op->t[0]) == QL_F64)
        return QL_FAIL(cx, QL_UNSUPPORTED, "cuda works in f32, bf16 or f16, got f64");
    return QL_OK;
}

static ql_status
cuda_nll(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *x = op->t[0], *head = op->t[1], *targets = op->t[2], *out = op->t[3];
    const int32_t *ids = static_cast<const int32_t *>(ql_ptr(targets));
    float *result = static_cast<float *>(ql_ptr(out));
    cudaStream_t stream = cuda_stream(dev);
    tiles tile;
    int words;

    QL_TRY(cx, check_targets(cx, dev, targets, ql_dim(head, 0)));
    QL_TRY(cx, tiles_make(cx, x, head, 1, &tile));
    for (int64_t t = 0; t < tile.x.rows; t += TOKENS) {
        const mat rows = rows_of(&tile.x, t, TOKENS);

        each(stream, 1, rows.rows, start_op{tile.sums});
        for (int64_t v = 0; v < tile.head.rows; v += WORDS) {
            QL_TRY(cx, make_logits(cx, dev, &tile, &rows, v, 0, &words));
            launch(stream, static_cast<unsigned>(rows.rows), THREADS, sizeof(room), nll_kernel, tile.logits[0],
                   static_cast<int>(v), words, ids + t, tile.sums);
        }
        each(stream, 1, rows.rows, nll_op{tile.sums, ids + t, result + t});
    }
    return cuda_launched(cx, dev, "nll");
}

static ql_status
cuda_kl(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *x = op->t[1], *head = op->t[2];
    float *kl = static_cast<float *>(ql_ptr(op->t[3]));
    uint8_t *agree = static_cast<uint8_t *>(ql_ptr(op->t[4]));
    const mat all_ref = cuda_mat(op->t[0]);
    cudaStream_t stream = cuda_stream(dev);
    tiles tile;
    int words;

    QL_TRY(cx, tiles_make(cx, x, head, 2, &tile));
    for (int64_t t = 0; t < tile.x.rows; t += TOKENS) {
        const mat rows = rows_of(&tile.x, t, TOKENS), ref_rows = rows_of(&all_ref, t, TOKENS);

        each(stream, 1, rows.rows, start_op{tile.sums});
        for (int64_t v = 0; v < tile.head.rows; v += WORDS) {
            QL_TRY(cx, make_logits(cx, dev, &tile, &ref_rows, v, 0, &words));
            QL_TRY(cx, make_logits(cx, dev, &tile, &rows, v, 1, &words));
            launch(stream, static_cast<unsigned>(rows.rows), THREADS, sizeof(room), kl_kernel, tile.logits[0],
                   tile.logits[1], static_cast<int>(v), words, tile.sums);
        }
        each(stream, 1, rows.rows, kl_op{tile.sums, kl + t, agree + t});
    }
    return cuda_launched(cx, dev, "kl");
}

/* The first target whose row or word there is not. */
static ql_status
check_chosen(ql_ctx *cx, void *dev, const ql_op *op)
{
    const int64_t rows[2] = {0, ql_dim(op->t[0], 0)}, words[2] = {0, ql_dim(op->t[1], 0)};
    outside bad;

    QL_TRY(cx, cuda_outside(cx, dev, op->t[2], rows, &bad));
    if (bad.at >= 0)
        return QL_FAIL(cx, QL_INVALID, "logprob: the row of target %lld is %d: expected ascending rows below %lld",
                       static_cast<long long>(bad.at), static_cast<int>(bad.index), static_cast<long long>(rows[1]));
    QL_TRY(cx, cuda_outside(cx, dev, op->t[3], words, &bad));
    if (bad.at < 0)
        return QL_OK;
    return QL_FAIL(cx, QL_INVALID, "logprob: target %lld is %d, but the vocabulary has %lld entries",
                   static_cast<long long>(bad.at), static_cast<int>(bad.index), static_cast<long long>(words[1]));
}

static ql_status
cuda_logprob(ql_ctx *cx, void *dev, const ql_op *op)
{
    const int32_t *row_of = static_cast<const int32_t *>(ql_ptr(op->t[2])),
                  *ids = static_cast<const int32_t *>(ql_ptr(op->t[3]));
    const int64_t targets = ql_dim(op->t[2], 0);
    float *out = static_cast<float *>(ql_ptr(op->t[4]));
    int32_t *best = static_cast<int32_t *>(ql_ptr(op->t[5]));
    cudaStream_t stream = cuda_stream(dev);
    tiles tile;
    int words;

    QL_TRY(cx, check_chosen(cx, dev, op));
    QL_TRY(cx, tiles_make(cx, op->t[0], op->t[1], 1, &tile));
    for (int64_t t = 0; t < tile.x.rows; t += TOKENS) {
        const mat rows = rows_of(&tile.x, t, TOKENS);

        each(stream, 1, rows.rows, start_op{tile.sums});
        for (int64_t v = 0; v < tile.head.rows; v += WORDS) {
            QL_TRY(cx, make_logits(cx, dev, &tile, &rows, v, 0, &words));
            each(stream, 1, targets, chosen_op{tile.logits[0], row_of, ids, t, rows.rows, v, words, out});
            launch(stream, static_cast<unsigned>(rows.rows), THREADS, sizeof(room), lse_kernel, tile.logits[0],
                   static_cast<int>(v), words, tile.sums);
        }
        each(stream, 1, targets, logprob_op{tile.sums, row_of, t, rows.rows, out});
        each(stream, 1, rows.rows, best_op{tile.sums, best + t});
    }
    return cuda_launched(cx, dev, "logprob");
}

const ql_op_row cuda_logits_ops[] = {
    {QL_OP_LOGPROB, cuda_logprob, nll_scratch, supports},
    {QL_OP_NLL, cuda_nll, nll_scratch, supports},
    {QL_OP_KL, cuda_kl, kl_scratch, supports},
    QL_OP_ROWS_END,
};
