/* Causal attention by tiles of queries and keys with a running softmax (Dao et al., arXiv:2205.14135): a task is one head of one
 * tile of queries, and the scores of one tile of keys are all that exists at a time. */
#include "attention.h"

#include <math.h>
#include <string.h>

#define QUERIES 128
#define KEYS 256
#define LANES_MOST 16 /* floats of a vector, to a multiple of which rows of values are readable */

static int64_t
padded(int64_t dim)
{
    return (dim + LANES_MOST - 1) / LANES_MOST * LANES_MOST;
}

/* The page of position `p` of sequence `s`. */
static float *
page_of(const attention *a, const mat *kept, int64_t s, int64_t p)
{
    return mat_at(kept, (int64_t)a->seqs->kept->pages[s][p / QL_PAGE] * QL_PAGE, 0);
}

/* What one task works in. */
typedef struct workspace {
    float *q, *k, *v; /* [QUERIES, dim], [KEYS, dim] copies where the dtype is not float */
    float *scores;    /* [QUERIES, KEYS] */
    float *y;         /* [QUERIES, dim], not yet divided by `sum` */
    float max[QUERIES], sum[QUERIES];
} workspace;

/* Rows [t, t + rows) of one head, as floats: in place where they are. */
static const float *
head_rows(const cpu *d, const mat *m, int64_t t, int64_t rows, int64_t col, int64_t dim, float *copy, int64_t *ld)
{
    if (m->dtype == QL_F32) {
        *ld = m->ld;
        return mat_at(m, t, col);
    }
    for (int64_t i = 0; i < rows; i++)
        cpu_load(d->isa, m->dtype, mat_at(m, t + i, col), dim, copy + i * dim);
    *ld = dim;
    return copy;
}

/* Scores of query `i` at position p against keys from `first` become exp(score - max), 0 where the mask hides a key; what was
 * summed before is rescaled when the maximum grows. */
static void
softmax_row(const attention *a, workspace *w, int64_t i, int64_t p, int64_t first, int64_t keys)
{
    int64_t dim = a->spec->head_dim, window = a->spec->window;
    int64_t lo = window > 0 && p - window + 1 > first ? cpu_min(p - window + 1 - first, keys) : 0;
    int64_t hi = p < first ? 0 : cpu_min(p + 1 - first, keys);
    float *row = w->scores + i * KEYS, max;

    if (lo >= hi) {
        memset(row, 0, (size_t)keys * sizeof *row);
        return;
    }
    max = a->d->isa->row_max(row + lo, hi - lo);
    if (max > w->max[i]) {
        float shrink = expf(w->max[i] - max);

        w->sum[i] *= shrink;
        for (int64_t j = 0; j < dim; j++)
            w->y[i * dim + j] *= shrink;
        w->max[i] = max;
    }
    memset(row, 0, (size_t)lo * sizeof *row);
    memset(row + hi, 0, (size_t)(keys - hi) * sizeof *row);
    w->sum[i] += a->d->isa->exp_sum(row + lo, hi - lo, w->max[i]);
}

/* One tile of keys from position `first` of the sequence that begins at token `start`. */
static void
add_keys(const attention *a, workspace *w, product *scores, const int64_t at[4])
{
    int64_t start = at[0], first = at[1], position = at[2], col = at[3], dim = a->spec->head_dim;
    int64_t keys = cpu_min(KEYS, position + scores->m - first), ldv;
    product sum = {.m = scores->m, .n = dim, .k = keys, .alpha = 1, .beta = 1, .a = w->scores, .c = w->y};

    scores->n = keys;
    scores->b = head_rows(a->d, &a->k, start + first, keys, col, dim, w->k, &scores->ldb);
    cpu_product(&a->d->blas, scores);
    for (int64_t i = 0; i < scores->m; i++)
        softmax_row(a, w, i, position + i, first, keys);
    sum.b = head_rows(a->d, &a->v, start + first, keys, col, dim, w->v, &ldv);
    sum.lda = KEYS;
    sum.ldb = ldv;
    sum.ldc = dim;
    cpu_product(&a->d->blas, &sum);
}

/* --- segments of trees: sums in one order, whatever rows there are, and keys wherever the path has them ------------- */

/* Copies keys [first, first + keys) of the path that ends in segment `s`: keys as columns of w->k, values as rows of w->v. */
static void
gather_path(const attention *a, workspace *w, int64_t s, int64_t first, int64_t keys, int64_t col)
{
    const ql_seqs *seqs = a->seqs;
    const int64_t dim = a->spec->head_dim, ld = padded(dim);
    float *row = w->scores; /* not yet made */

    for (int64_t at = s, end = first + keys; end > first; at = seqs->parent[at]) {
        const int64_t begin = attention_before(a, at), from = begin > first ? begin : first;

        for (int64_t p = from; p < end; p++) {
            const int64_t token = seqs->offsets[at] + p - begin;

            cpu_load(a->d->isa, a->k.dtype, mat_at(&a->k, token, col), dim, row);
            for (int64_t j = 0; j < dim; j++)
                w->k[j * KEYS + p - first] = row[j];
            cpu_load(a->d->isa, a->v.dtype, mat_at(&a->v, token, col), dim, w->v + (p - first) * ld);
        }
        end = from < end ? from : end;
    }
}

/* One tile of keys from position `first` of the path of segment `s`, for the rows from `position` on. */
static void
add_path_keys(const attention *a, workspace *w, int64_t s, int64_t rows, const int64_t at[3])
{
    const int64_t first = at[0], position = at[1], col = at[2], dim = a->spec->head_dim,
                  keys = cpu_min(KEYS, position + rows - first);

    gather_path(a, w, s, first, keys, col);
    a->d->isa->product(&(isa_product){.a = w->q,
                                      .b = w->k,
                                      .c = w->scores,
                                      .rows = rows,
                                      .columns = keys,
                                      .depth = dim,
                                      .lda = dim,
                                      .ldb = KEYS,
                                      .ldc = KEYS});
    for (int64_t i = 0; i < rows; i++)
        softmax_row(a, w, i, position + i, first, keys);
    a->d->isa->product(&(isa_product){.a = w->scores,
                                      .b = w->v,
                                      .c = w->y,
                                      .rows = rows,
                                      .columns = dim,
                                      .depth = keys,
                                      .lda = KEYS,
                                      .ldb = padded(dim),
                                      .ldc = dim,
                                      .add = true});
}

/* --- pages: keys as columns, [width, QL_PAGE], values as rows, [QL_PAGE, width] ------------------------------------------ */

/* Sequence `s` of the call: its keys and values go where they are kept. */
static void
keep_task(void *arg, int64_t s, void *scratch)
{
    const attention *a = arg;
    const int64_t before = attention_before(a, s), width = a->k.cols;

    (void)scratch;
    for (int64_t t = a->seqs->offsets[s]; t < a->seqs->offsets[s + 1]; t++) {
        const int64_t p = before + t - a->seqs->offsets[s];
        const float *key = mat_at(&a->k, t, 0);
        float *page = page_of(a, &a->kept_k, s, p) + p % QL_PAGE;

        for (int64_t j = 0; j < width; j++)
            page[j * QL_PAGE] = key[j];
        memcpy(page_of(a, &a->kept_v, s, p) + p % QL_PAGE * width, mat_at(&a->v, t, 0), (size_t)width * sizeof *key);
    }
}

/* Values of `keys` positions of a page, in place where rows are readable to a multiple of LANES_MOST columns. */
static const float *
page_values(const attention *a, workspace *w, const float *page, int64_t keys, int64_t col, int64_t *ld)
{
    const int64_t dim = a->spec->head_dim, width = a->k.cols;

    *ld = width;
    if (dim % LANES_MOST == 0)
        return page + col;
    *ld = padded(dim);
    for (int64_t i = 0; i < keys; i++)
        memcpy(w->v + i * *ld, page + i * width + col, (size_t)dim * sizeof *page);
    return w->v;
}

/* As add_path_keys, over pages. */
static void
add_page_keys(const attention *a, workspace *w, int64_t s, int64_t rows, const int64_t at[3])
{
    const int64_t first = at[0], position = at[1], col = at[2], dim = a->spec->head_dim,
                  keys = cpu_min(KEYS, position + rows - first);
    isa_product scores = {.a = w->q, .rows = rows, .depth = dim, .lda = dim, .ldb = QL_PAGE, .ldc = KEYS};
    isa_product sum = {.c = w->y, .rows = rows, .columns = dim, .lda = KEYS, .ldc = dim, .add = true};

    for (int64_t p = 0; p < keys; p += QL_PAGE) {
        scores.b = page_of(a, &a->kept_k, s, first + p) + col * QL_PAGE;
        scores.c = w->scores + p;
        scores.columns = cpu_min(QL_PAGE, keys - p);
        a->d->isa->product(&scores);
    }
    for (int64_t i = 0; i < rows; i++)
        softmax_row(a, w, i, position + i, first, keys);
    for (int64_t p = 0; p < keys; p += QL_PAGE) {
        sum.a = w->scores + p;
        sum.depth = cpu_min(QL_PAGE, keys - p);
        sum.b = page_values(a, w, page_of(a, &a->kept_v, s, first + p), sum.depth, col, &sum.ldb);
        a->d->isa->product(&sum);
    }
}

/* The queries of a tile, scaled. */
static void
load_queries(const attention *a, workspace *w, int64_t t, int64_t rows, int64_t col)
{
    const int64_t dim = a->spec->head_dim;
    const float scale = (float)(1 / sqrt((double)dim));

    for (int64_t i = 0; i < rows; i++) {
        cpu_load(a->d->isa, a->q.dtype, mat_at(&a->q, t + i, col), dim, w->q + i * dim);
        for (int64_t j = 0; j < dim; j++)
            w->q[i * dim + j] *= scale;
    }
}

static void
attention_task(void *arg, int64_t task, void *scratch)
{
    const attention *a = arg;
    int64_t heads = a->spec->heads, dim = a->spec->head_dim, head = task % heads;
    const int64_t *tile = a->tiles[task / heads];
    int64_t s = tile[1], start = a->seqs->offsets[s], end = a->seqs->offsets[s + 1];
    int64_t position = tile[0] - start + attention_before(a, s);
    int64_t rows = cpu_min(QUERIES, end - tile[0]), col = head / (heads / a->spec->kv_heads) * dim, first = 0;
    workspace *w = scratch;
    product scores = {.tb = true, .m = rows, .k = dim, .alpha = 1 / sqrt((double)dim), .ldc = KEYS};

    w->q = (float *)(w + 1);
    w->k = w->q + QUERIES * dim;
    w->v = w->k + KEYS * dim;
    w->scores = w->v + KEYS * padded(dim);
    w->y = w->scores + QUERIES * KEYS;
    if (a->exact)
        load_queries(a, w, tile[0], rows, head * dim);
    else
        scores.a = head_rows(a->d, &a->q, tile[0], rows, head * dim, dim, w->q, &scores.lda);
    scores.c = w->scores;
    memset(w->y, 0, (size_t)(rows * dim) * sizeof *w->y);
    for (int64_t i = 0; i < rows; i++) {
        w->max[i] = -INFINITY;
        w->sum[i] = 0;
    }
    if (a->spec->window > 0 && position >= a->spec->window) /* tiles that no query of this one sees */
        first = (position - a->spec->window + 1) / KEYS * KEYS;
    for (; first < position + rows; first += KEYS)
        if (a->seqs->kept)
            add_page_keys(a, w, s, rows, (const int64_t[]){first, position, col});
        else if (a->exact)
            add_path_keys(a, w, s, rows, (const int64_t[]){first, position, col});
        else
            add_keys(a, w, &scores, (const int64_t[]){start, first, position, col});
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < dim; j++)
            w->y[i * dim + j] /= w->sum[i];
        cpu_convert(a->d->isa, QL_F32, w->y + i * dim, a->y.dtype, dim, mat_at(&a->y, tile[0] + i, head * dim));
        if (a->lse.p)
            *(float *)mat_at(&a->lse, tile[0] + i, head) = w->max[i] + logf(w->sum[i]);
    }
}

/* Tiles of queries of all sequences, last ones first: they see the most keys. Returns their number. */
static int64_t
list_tiles(const ql_seqs *seqs, int64_t (*tiles)[2])
{
    int64_t count = 0;

    for (int64_t s = seqs->count; s-- > 0;) {
        int64_t start = seqs->offsets[s], tokens = seqs->offsets[s + 1] - start;

        for (int64_t t = (tokens - 1) / QUERIES * QUERIES; tokens > 0 && t >= 0; t -= QUERIES) {
            if (tiles) {
                tiles[count][0] = start + t;
                tiles[count][1] = s;
            }
            count++;
        }
    }
    return count;
}

static ql_status
attend(ql_ctx *cx, cpu *d, attention *a)
{
    const int64_t count = list_tiles(a->seqs, NULL);
    const size_t floats = (size_t)(2 * QUERIES + 2 * KEYS) * (size_t)padded(a->spec->head_dim) + QUERIES * KEYS;

    QL_TRY(cx, cpu_fits(cx, &a->q));
    QL_TRY(cx, ql_scratch(cx, (size_t)count * sizeof *a->tiles, &a->tiles));
    list_tiles(a->seqs, a->tiles);
    return cpu_run(cx, d, count * a->spec->heads, sizeof(workspace) + floats * sizeof(float), attention_task, a);
}

/* Of any form: operand `y` takes what comes out. */
static attention
attention_of(void *dev, const ql_op *op, int y, bool exact)
{
    return (attention){.d = dev,
                       .seqs = op->seqs,
                       .spec = op->spec,
                       .q = cpu_mat(op->t[0]),
                       .k = cpu_mat(op->t[1]),
                       .v = cpu_mat(op->t[2]),
                       .y = cpu_mat(op->t[y]),
                       .exact = exact};
}

static ql_status
cpu_attention(ql_ctx *cx, void *dev, const ql_op *op)
{
    attention a = attention_of(dev, op, 3, op->seqs->parent);

    if (op->t[4])
        a.lse = cpu_mat(op->t[4]);
    if (a.q.dtype == QL_F64)
        return cpu_run(cx, dev, a.q.rows, 0, attention_double_task, &a);
    return attend(cx, dev, &a);
}

static ql_status
cpu_attention_kept(ql_ctx *cx, void *dev, const ql_op *op)
{
    attention a = attention_of(dev, op, 5, true);

    a.kept_k = cpu_mat(op->t[3]);
    a.kept_v = cpu_mat(op->t[4]);
    QL_TRY(cx, cpu_run(cx, dev, a.seqs->count, 0, keep_task, &a));
    return attend(cx, dev, &a);
}

static ql_status
supports_kept(ql_ctx *cx, const ql_op *op)
{
    const ql_tensor *keys = op->t[3], *values = op->t[4];

    if (ql_dtype_of(op->t[0]) != QL_F32)
        return QL_FAIL(cx, QL_UNSUPPORTED, "the cpu keeps keys and values in f32, got %s",
                       ql_dtype_name(ql_dtype_of(op->t[0])));
    if (ql_stride(keys, 0) != ql_dim(keys, 1) || ql_stride(values, 0) != ql_dim(values, 1))
        return QL_FAIL(cx, QL_UNSUPPORTED, "the cpu keeps keys and values in rows without gaps");
    return QL_OK;
}

const ql_op_row cpu_attention_ops[] = {
    QL_OP_ROW(ATTENTION, cpu_attention),
    {QL_OP_ATTENTION_KEPT, cpu_attention_kept, NULL, supports_kept},
    QL_OP_ROWS_END,
};
