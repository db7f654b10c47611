/* The typed functions of training, but for attention's. */
#include "base/hash.h"
#include "op.h"

#define LOGIT_BYTES ((int64_t)64 << 20) /* most that a chunk of logits takes, in f32 */
#define LEAST_TOKENS 16

static ql_dtype
real_of(const ql_tensor *t)
{
    return ql_op_real(ql_dtype_of(t) == QL_F64);
}

ql_status
ql_rmsnorm_back(ql_ctx *cx, const ql_tensor *x, const ql_tensor *w, double eps, const ql_tensor *dy, double beta,
                ql_tensor *dx)
{
    return ql_op_run(cx, &(ql_op){.code = QL_OP_RMSNORM_BACK, .t = {x, w, dy, dx}, .alpha = eps, .beta = beta});
}

ql_status
ql_swiglu_back(ql_ctx *cx, const ql_tensor *gate, const ql_tensor *up, const ql_tensor *dy, ql_tensor **dgate,
               ql_tensor **dup)
{
    ql_op op = {.code = QL_OP_SWIGLU_BACK, .t = {gate, up, dy}};

    QL_TRY(cx, ql_op_begin(cx, &op));
    *dgate = ql_op_made(&op, 3);
    *dup = ql_op_made(&op, 4);
    return ql_op_call(cx, &op);
}

ql_status
ql_adamw(ql_ctx *cx, const ql_adamw_spec *spec, const ql_tensor *g, ql_tensor *m, ql_tensor *v, ql_tensor *p)
{
    if (spec->t < 1)
        return QL_FAIL(cx, QL_INVALID, "adamw: update %lld, expected 1 or more", (long long)spec->t);
    return ql_op_run(cx, &(ql_op){.code = QL_OP_ADAMW, .t = {p, g, m, v, spec->rows, spec->cols}, .spec = spec});
}

ql_status
ql_dropout(ql_ctx *cx, const ql_dropout_spec *spec, const ql_tensor *x, ql_tensor *y)
{
    const int64_t where[] = {(int64_t)spec->seed, spec->update, spec->linear};
    uint64_t hash[2];
    uint32_t key[2];

    if (!(spec->p >= 0) || spec->p >= 1 || spec->first < 0)
        return QL_FAIL(cx, QL_INVALID, "dropout: probability %g from token %lld on, expected 0 to below 1, from 0 on",
                       spec->p, (long long)spec->first);
    ql_hash_bytes(where, sizeof where, hash);
    key[0] = (uint32_t)hash[0];
    key[1] = (uint32_t)(hash[0] >> 32);
    return ql_op_run(cx,
                     &(ql_op){.code = QL_OP_DROPOUT, .t = {x, y}, .alpha = spec->p, .n = {spec->first}, .spec = key});
}

/* --- head and loss ----------------------------------------------------------------------------------------------- */

typedef struct head_loss {
    const ql_tensor *x, *head;
    double scale;
    int64_t count;             /* of targets */
    ql_tensor *rows, *targets; /* [count] */
    ql_tensor *nll, *dx;       /* [count], [count + 1, d]: of targets alone, and a row of zeros; dx NULL: not wanted */
} head_loss;

/* As many as a chunk has: a power of two that follows from the vocabulary. */
static int64_t
chunk_tokens(int64_t words)
{
    int64_t tokens = LEAST_TOKENS;

    while (2 * tokens * words * 4 <= LOGIT_BYTES)
        tokens *= 2;
    return tokens;
}

/* Targets `first` to `first + count`. */
static ql_status
loss_chunk(ql_ctx *cx, const head_loss *l, int64_t first, int64_t count)
{
    const ql_dtype dtype = ql_dtype_of(l->x), real = real_of(l->x);
    ql_tensor *rows, *x, *logits, *dx, *gradient = NULL;
    ql_op op = {.code = QL_OP_LOSS, .alpha = l->scale};
    ql_tensor *targets, *nll;

    QL_TRY(cx, ql_rows(cx, l->rows, first, count, &rows));
    QL_TRY(cx, ql_rows(cx, l->targets, first, count, &targets));
    QL_TRY(cx, ql_rows(cx, l->nll, first, count, &nll));
    QL_TRY(cx, ql_gather(cx, l->x, rows, NULL, &x));
    QL_TRY(cx, ql_new(cx, real, count, ql_dim(l->head, 0), &logits));
    QL_TRY(cx, ql_gemm(cx, QL_NT, 1, x, l->head, 0, logits));
    if (l->dx)
        gradient = logits;
    if (l->dx && dtype != real) /* products take both operands in one dtype */
        QL_TRY(cx, ql_new(cx, dtype, count, ql_dim(l->head, 0), &gradient));
    op.t[0] = logits;
    op.t[1] = targets;
    op.t[2] = nll;
    op.t[3] = gradient;
    QL_TRY(cx, ql_op_run(cx, &op));
    if (!l->dx)
        return QL_OK;
    QL_TRY(cx, ql_rows(cx, l->dx, first, count, &dx));
    return ql_gemm(cx, QL_NN, 1, gradient, l->head, 0, dx);
}

/* Which tokens have a target, and which; `place`: of each token among them, `count` where it has none. */
static ql_status
find_targets(ql_ctx *cx, head_loss *l, const int32_t *targets, int32_t *place)
{
    const int64_t tokens = ql_dim(l->x, 0), words = ql_dim(l->head, 0);
    int32_t *rows = ql_alloc(cx, (size_t)(2 * tokens + 1), sizeof *rows), *ids;

    if (!rows)
        return QL_MEMORY;
    ids = rows + tokens;
    for (int64_t t = 0; t < tokens; t++) {
        if (targets[t] >= words)
            return QL_FAIL(cx, QL_INVALID,
                           "head_loss: the target of token %lld is %d, but the vocabulary has %lld entries",
                           (long long)t, (int)targets[t], (long long)words);
        if (targets[t] < 0)
            continue;
        rows[l->count] = (int32_t)t;
        ids[l->count] = targets[t];
        place[t] = (int32_t)l->count++;
    }
    for (int64_t t = 0; t < tokens; t++)
        if (targets[t] < 0)
            place[t] = (int32_t)l->count;
    QL_TRY(cx, ql_upload(cx, QL_I32, l->count, -1, rows, &l->rows));
    return ql_upload(cx, QL_I32, l->count, -1, ids, &l->targets);
}

static ql_status
run_head_loss(ql_ctx *cx, head_loss *l, const int32_t *targets, ql_tensor **nll, ql_tensor **dx)
{
    const int64_t tokens = ql_dim(l->x, 0), chunk = chunk_tokens(ql_dim(l->head, 0));
    int32_t *place = ql_alloc(cx, (size_t)tokens + 1, sizeof *place);
    ql_tensor *places, *zeros;

    if (!place)
        return QL_MEMORY;
    QL_TRY(cx, find_targets(cx, l, targets, place));
    QL_TRY(cx, ql_new(cx, real_of(l->x), l->count, -1, &l->nll));
    if (dx)
        QL_TRY(cx, ql_new(cx, real_of(l->x), l->count + 1, ql_dim(l->x, 1), &l->dx));
    for (int64_t i = 0; i < l->count; i += chunk) {
        ql_scope scope;
        ql_status st;

        ql_scope_open(cx, &scope);
        st = loss_chunk(cx, l, i, l->count - i < chunk ? l->count - i : chunk);
        ql_scope_close(cx, &scope);
        QL_TRY(cx, st);
    }
    *nll = l->nll;
    if (!dx)
        return QL_OK;
    QL_TRY(cx, ql_rows(cx, l->dx, l->count, 1, &zeros));
    QL_TRY(cx, ql_fill(cx, zeros, 0));
    QL_TRY(cx, ql_upload(cx, QL_I32, tokens, -1, place, &places));
    return ql_gather(cx, l->dx, places, NULL, dx);
}

ql_status
ql_head_loss(ql_ctx *cx, const ql_tensor *x, const ql_tensor *head, const int32_t *targets, double scale,
             ql_tensor **nll, ql_tensor **dx)
{
    head_loss l = {.x = x, .head = head, .scale = scale};
    ql_scope scope;
    ql_status st;

    *nll = NULL;
    if (dx)
        *dx = NULL;
    QL_TRY(cx, ql_operands_check(cx, "head_loss", "x:float[t,N], the head:same[V,N]", &(ql_op){.t = {x, head}}));
    ql_scope_open(cx, &scope);
    st = run_head_loss(cx, &l, targets, nll, dx);
    return ql_scope_yield(cx, &scope, st, (ql_tensor * *const[]){nll, dx}, dx ? 2 : 1);
}
