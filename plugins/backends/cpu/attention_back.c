/* The vjp of causal attention by tiles (Dao et al., arXiv:2205.14135, section B): a task is one query head of one sequence. It
 * makes the gradient of its queries and its share of those of the keys and values, which are summed over a group's heads afterwards. */
#include "cpu.h"

#include <math.h>
#include <string.h>

#define TILE 128 /* queries and keys of a tile */

enum { Q, K, V, Y, DY, GIVEN };
enum { DQ, DK, DV, MADE };

typedef struct back {
    const cpu *d;
    const ql_seqs *seqs;
    const ql_attention_spec *spec;
    mat given[GIVEN], lse, out[MADE];
    mat part[MADE]; /* [T, heads * dim] in float or double: of each query head; `out` itself where that is the same */
    ql_dtype real;
    size_t size; /* bytes of a real */
} back;

/* What a task works in, all of it real. */
typedef struct workspace {
    void *copy[GIVEN];      /* [TILE, dim]: rows that are not real where they are */
    void *weights, *slopes; /* [TILE, TILE] */
    void *along;            /* [tokens of the sequence]: dy . y */
} workspace;

/* Rows [t, t + rows) of one head as reals: in place where they are. */
static const void *
head_rows(const back *b, const workspace *w, int which, int64_t t, int64_t rows, int64_t col, int64_t *ld)
{
    const mat *m = &b->given[which];
    const int64_t dim = b->spec->head_dim;

    *ld = m->ld;
    if (m->dtype == b->real)
        return mat_at(m, t, col);
    for (int64_t i = 0; i < rows; i++)
        cpu_convert(b->d->isa, m->dtype, mat_at(m, t + i, col), b->real, dim,
                    (char *)w->copy[which] + (size_t)(i * dim) * b->size);
    *ld = dim;
    return w->copy[which];
}

/* dy . y of each token: what every slope of its scores is lowered by. */
static void
find_along(const back *b, workspace *w, int64_t start, int64_t tokens, int64_t col)
{
    const int64_t dim = b->spec->head_dim;

    for (int64_t t = 0; t < tokens; t++) {
        int64_t ld;
        const void *y = head_rows(b, w, Y, start + t, 1, col, &ld), *dy = head_rows(b, w, DY, start + t, 1, col, &ld);
        double sum = 0;

        if (b->real == QL_F32) {
            ((float *)w->along)[t] = (float)b->d->isa->dot(y, dy, NULL, dim);
            continue;
        }
        for (int64_t j = 0; j < dim; j++)
            sum += ((const double *)y)[j] * ((const double *)dy)[j];
        ((double *)w->along)[t] = sum;
    }
}

/* Row i of a tile: scores become weights, slopes of weights those of scores; 0 where the mask hides a key, lo .. hi are seen. */
static void
tile_row(const back *b, const workspace *w, int64_t i, const int64_t lo_hi[2], int64_t keys, const void *lse,
         const void *along)
{
    const int64_t lo = lo_hi[0], hi = lo_hi[1] > lo ? lo_hi[1] : lo;
    char *weights = (char *)w->weights + (size_t)(i * TILE) * b->size,
         *slopes = (char *)w->slopes + (size_t)(i * TILE) * b->size;
    char *const rows[] = {weights, slopes};

    if (b->real == QL_F32) {
        float *p = (float *)weights + lo;

        (void)b->d->isa->exp_sum(p, hi - lo, *(const float *)lse);
        b->d->isa->softmax_back(p, *(const float *)along, (float)(1 / sqrt((double)b->spec->head_dim)), hi - lo,
                                (float *)slopes + lo);
    } else {
        double *p = (double *)weights, *dp = (double *)slopes;

        for (int64_t j = lo; j < hi; j++) {
            p[j] = exp(p[j] - *(const double *)lse);
            dp[j] = p[j] * (dp[j] - *(const double *)along) / sqrt((double)b->spec->head_dim);
        }
    }
    for (int r = 0; r < 2; r++) {
        memset(rows[r], 0, (size_t)lo * b->size);
        memset(rows[r] + (size_t)hi * b->size, 0, (size_t)(keys - hi) * b->size);
    }
}

/* The five products of one tile: queries from position at[0] of the sequence that begins at token at[1], keys from position at[2]. */
static void
add_tile(const back *b, const workspace *w, const int64_t at[3], int64_t head, int64_t rows, int64_t keys)
{
    const int64_t dim = b->spec->head_dim, window = b->spec->window, col = head * dim, t = at[1] + at[0],
                  u = at[1] + at[2], kv_col = head / (b->spec->heads / b->spec->kv_heads) * dim;
    const bool f64 = b->real == QL_F64;
    int64_t ldq, ldk, ldv, ldy;
    const void *q = head_rows(b, w, Q, t, rows, col, &ldq), *k = head_rows(b, w, K, u, keys, kv_col, &ldk),
               *v = head_rows(b, w, V, u, keys, kv_col, &ldv), *dy = head_rows(b, w, DY, t, rows, col, &ldy);
    const product products[] = {
        {f64, false, true, rows, keys, dim, 1 / sqrt((double)dim), 0, q, k, w->weights, ldq, ldk, TILE},
        {f64, false, true, rows, keys, dim, 1, 0, dy, v, w->slopes, ldy, ldv, TILE},
        {f64, true, false, keys, dim, rows, 1, 1, w->weights, dy, mat_at(&b->part[DV], u, col), TILE, ldy,
         b->part[DV].ld},
        {f64, true, false, keys, dim, rows, 1, 1, w->slopes, q, mat_at(&b->part[DK], u, col), TILE, ldq,
         b->part[DK].ld},
        {f64, false, false, rows, dim, keys, 1, 1, w->slopes, k, mat_at(&b->part[DQ], t, col), TILE, ldk,
         b->part[DQ].ld},
    };

    for (int i = 0; i < 2; i++)
        cpu_product(&b->d->blas, &products[i]);
    for (int64_t i = 0; i < rows; i++) {
        const int64_t p = at[0] + i,
                      lo = window > 0 && p - window + 1 > at[2] ? cpu_min(p - window + 1 - at[2], keys) : 0;

        tile_row(b, w, i, (const int64_t[]){lo, p < at[2] ? 0 : cpu_min(p + 1 - at[2], keys)}, keys,
                 mat_at(&b->lse, t + i, head), (const char *)w->along + (size_t)p * b->size);
    }
    for (int i = 2; i < 5; i++)
        cpu_product(&b->d->blas, &products[i]);
}

static void
back_task(void *arg, int64_t task, void *scratch)
{
    const back *b = arg;
    const int64_t heads = b->spec->heads, dim = b->spec->head_dim, s = task / heads, head = task % heads,
                  start = b->seqs->offsets[s], tokens = b->seqs->offsets[s + 1] - start;
    workspace w;
    char *next = scratch;

    for (int i = 0; i < GIVEN; i++, next += (size_t)(TILE * dim) * b->size)
        w.copy[i] = next;
    w.weights = next;
    w.slopes = next + TILE * TILE * b->size;
    w.along = next + 2 * TILE * TILE * b->size;
    find_along(b, &w, start, tokens, head * dim);
    for (int i = 0; i < MADE; i++)
        for (int64_t t = 0; t < tokens; t++)
            memset(mat_at(&b->part[i], start + t, head * dim), 0, (size_t)dim * b->size);
    for (int64_t key = 0; key < tokens; key += TILE) {
        const int64_t keys = cpu_min(TILE, tokens - key);

        for (int64_t query = key; query < tokens; query += TILE) {
            if (b->spec->window > 0 && key + keys <= query - b->spec->window + 1)
                break; /* no later query sees these keys either */
            add_tile(b, &w, (const int64_t[]){query, start, key}, head, cpu_min(TILE, tokens - query), keys);
        }
    }
}

/* Row t of one gradient: the sum of its parts over the query heads of each of its own heads. */
static void
sum_parts(const back *b, int which, int64_t t, double *sum, double *part)
{
    const int64_t dim = b->spec->head_dim, heads = b->out[which].cols / dim, group = b->spec->heads / heads;

    for (int64_t h = 0; h < heads; h++) {
        cpu_load_double(b->real, mat_at(&b->part[which], t, h * group * dim), dim, sum);
        for (int64_t g = 1; g < group; g++) {
            cpu_load_double(b->real, mat_at(&b->part[which], t, (h * group + g) * dim), dim, part);
            for (int64_t j = 0; j < dim; j++)
                sum[j] += part[j];
        }
        cpu_store_double(b->out[which].dtype, sum, dim, mat_at(&b->out[which], t, h * dim));
    }
}

static void
sum_task(void *arg, int64_t task, void *scratch)
{
    const back *b = arg;
    double *sum = scratch;

    for (int64_t t = task * TILE; t < cpu_min((task + 1) * TILE, b->lse.rows); t++)
        for (int i = 0; i < MADE; i++)
            if (b->part[i].p != b->out[i].p)
                sum_parts(b, i, t, sum, sum + b->spec->head_dim);
}

static ql_dtype
real_of(const ql_op *op)
{
    return ql_dtype_of(op->t[0]) == QL_F64 ? QL_F64 : QL_F32;
}

/* Does each query head write its share to a place of its own, before they are summed or rounded? */
static bool
apart(const ql_op *op, int which)
{
    const ql_attention_spec *spec = op->spec;

    return ql_dtype_of(op->t[0]) != real_of(op) || (which != DQ && spec->heads != spec->kv_heads);
}

static size_t
part_bytes(const ql_op *op)
{
    return (size_t)ql_dim(op->t[0], 0) * (size_t)op->n[0] * ql_dtype_size(real_of(op));
}

static size_t
back_scratch(void *dev, const ql_op *op)
{
    (void)dev;
    return part_bytes(op) * (size_t)(apart(op, DQ) + apart(op, DK) + apart(op, DV));
}

static int64_t
longest(const ql_seqs *seqs)
{
    int64_t most = 0;

    for (int64_t s = 0; s < seqs->count; s++)
        if (seqs->offsets[s + 1] - seqs->offsets[s] > most)
            most = seqs->offsets[s + 1] - seqs->offsets[s];
    return most;
}

static ql_status
cpu_attention_back(ql_ctx *cx, void *dev, const ql_op *op)
{
    static const int given[GIVEN] = {[Q] = 0, [K] = 1, [V] = 2, [Y] = 3, [DY] = 5};
    const ql_attention_spec *spec = op->spec;
    const size_t dim = (size_t)spec->head_dim;
    back b = {.d = dev, .seqs = op->seqs, .spec = spec, .lse = cpu_mat(op->t[4]), .real = real_of(op)};
    size_t bytes;

    b.size = ql_dtype_size(b.real);
    for (int i = 0; i < GIVEN; i++) {
        b.given[i] = cpu_mat(op->t[given[i]]);
        QL_TRY(cx, cpu_fits(cx, &b.given[i]));
    }
    for (int i = 0; i < MADE; i++) {
        b.out[i] = b.part[i] = cpu_mat(op->t[6 + i]);
        if (apart(op, i)) {
            b.part[i] = (mat){NULL, b.lse.rows, op->n[0], op->n[0], b.real, b.size};
            QL_TRY(cx, ql_scratch(cx, part_bytes(op), &b.part[i].p));
        }
    }
    bytes = (GIVEN * TILE * dim + 2 * TILE * TILE + (size_t)longest(b.seqs)) * b.size;
    QL_TRY(cx, cpu_run(cx, dev, b.seqs->count * spec->heads, bytes, back_task, &b));
    return cpu_run(cx, dev, cpu_div_up(b.lse.rows, TILE), 2 * dim * sizeof(double), sum_task, &b);
}

const ql_op_row cpu_attention_back_ops[] = {
    {QL_OP_ATTENTION_BACK, cpu_attention_back, back_scratch, NULL},
    QL_OP_ROWS_END,
};
