/* The typed functions of transformer blocks. */
#include "op.h"

ql_status
ql_rope(ql_ctx *cx, const ql_seqs *seqs, const ql_rope_spec *spec, ql_tensor *x)
{
    ql_op op = {.code = QL_OP_ROPE, .t = {x}, .seqs = seqs, .spec = spec};

    QL_TRY(cx, ql_op_begin(cx, &op));
    if (spec->head_dim < 2 || spec->head_dim % 2 || x->dims[1] % spec->head_dim)
        return QL_FAIL(cx, QL_INVALID, "rope: head_dim is %lld, expected an even divisor of the %lld columns of x",
                       (long long)spec->head_dim, (long long)x->dims[1]);
    if (!spec->inv_freq || (spec->stride && spec->stride < spec->head_dim / 2))
        return QL_FAIL(cx, QL_INVALID,
                       "rope: the frequencies are missing, or rows of %lld are too short for head_dim %lld",
                       (long long)spec->stride, (long long)spec->head_dim);
    return ql_op_call(cx, &op);
}

/* Every position of every sequence has a page that is there. */
static ql_status
pages_check(ql_ctx *cx, const ql_seqs *seqs)
{
    const int64_t pages = ql_dim(seqs->kept->keys, 0) / QL_PAGE;

    for (int64_t s = 0; s < seqs->count; s++) {
        const int64_t tokens = (seqs->first ? seqs->first[s] : 0) + seqs->offsets[s + 1] - seqs->offsets[s];

        for (int64_t i = 0; i * QL_PAGE < tokens; i++)
            if (seqs->kept->pages[s][i] < 0 || seqs->kept->pages[s][i] >= pages)
                return QL_FAIL(cx, QL_INVALID, "attention: page %lld of sequence %lld is %d, expected 0 to %lld",
                               (long long)i, (long long)s, (int)seqs->kept->pages[s][i], (long long)pages - 1);
    }
    return QL_OK;
}

/* Keys and values of the call join what is kept, over which it goes. */
static ql_status
attention_kept(ql_ctx *cx, ql_op *op, ql_tensor **y)
{
    const ql_kept *kept = op->seqs->kept;

    op->code = QL_OP_ATTENTION_KEPT;
    op->t[3] = kept->keys;
    op->t[4] = kept->values;
    QL_TRY(cx, ql_op_begin(cx, op));
    QL_TRY(cx, pages_check(cx, op->seqs));
    *y = ql_op_made(op, 5);
    return ql_op_call(cx, op);
}

/* An operation of attention on q, k and v, whose numbers of columns follow from the spec. */
static ql_status
attention_op(ql_ctx *cx, ql_op_code code, const ql_seqs *seqs, const ql_attention_spec *spec,
             const ql_tensor *const qkv[3], ql_op *out)
{
    const int64_t largest = 1 << 20; /* so that the products below don't overflow */
    bool sane = spec->heads > 0 && spec->kv_heads > 0 && spec->head_dim > 0 && spec->heads < largest &&
                spec->head_dim < largest && spec->heads % spec->kv_heads == 0 && spec->window >= 0;

    *out = (ql_op){.code = code, .t = {qkv[0], qkv[1], qkv[2]}, .seqs = seqs, .spec = spec};
    if (!sane)
        return QL_FAIL(cx, QL_INVALID,
                       "%s: %lld heads, %lld kv heads, head_dim %lld, window %lld; expected positive numbers, "
                       "heads a multiple of "
                       "kv heads, window 0 or more",
                       ql_op_name(code), (long long)spec->heads, (long long)spec->kv_heads, (long long)spec->head_dim,
                       (long long)spec->window);
    out->n[0] = spec->heads * spec->head_dim;
    out->n[1] = spec->kv_heads * spec->head_dim;
    return QL_OK;
}

ql_status
ql_attention(ql_ctx *cx, const ql_seqs *seqs, const ql_attention_spec *spec, const ql_tensor *const qkv[3],
             ql_tensor **y)
{
    ql_op op;

    QL_TRY(cx, attention_op(cx, QL_OP_ATTENTION, seqs, spec, qkv, &op));
    return seqs && seqs->kept ? attention_kept(cx, &op, y) : ql_op_make(cx, &op, y);
}

ql_status
ql_op_resting(ql_ctx *cx, const ql_tensor *x, const ql_resting *w, bool add, ql_tensor *y)
{
    const ql_grid *g = &w->grid;
    ql_op op = {
        .code = QL_OP_RESTING, .t = {x, w->w, w->scales, w->zeros, w->levels, w->g_idx, y}, .grid = g, .beta = add};

    if (w->scales) {
        op.n[0] = (ql_dim(w->w, 0) + g->group - 1) / g->group;
        op.n[1] = (int64_t)1 << g->bits;
    }
    QL_TRY(cx, ql_op_begin(cx, &op));
    if ((ql_dtype_of(w->w) == QL_U8) != (w->scales && (w->zeros || w->levels)))
        return QL_FAIL(cx, QL_INVALID,
                       "product with a resting weight: codes need scales, and zeros or levels; numbers have none");
    return ql_op_call(cx, &op);
}

ql_status
ql_attention_lse(ql_ctx *cx, const ql_seqs *seqs, const ql_attention_spec *spec, const ql_tensor *const qkv[3],
                 ql_tensor **lse, ql_tensor **y)
{
    ql_op op;

    QL_TRY(cx, attention_op(cx, QL_OP_ATTENTION, seqs, spec, qkv, &op));
    QL_TRY(cx, ql_new(cx, ql_op_real(ql_dtype_of(qkv[0]) == QL_F64), ql_dim(qkv[0], 0), spec->heads, lse));
    op.t[4] = *lse;
    return ql_op_make(cx, &op, y);
}

ql_status
ql_attention_back(ql_ctx *cx, const ql_seqs *seqs, const ql_attention_spec *spec, const ql_attended *at,
                  const ql_tensor *dy, ql_tensor *dqkv[3])
{
    const ql_tensor *const qkv[] = {at->q, at->k, at->v};
    ql_op op;

    QL_TRY(cx, attention_op(cx, QL_OP_ATTENTION_BACK, seqs, spec, qkv, &op));
    op.t[3] = at->y;
    op.t[4] = at->lse;
    op.t[5] = dy;
    QL_TRY(cx, ql_op_begin(cx, &op));
    for (int i = 0; i < 3; i++)
        dqkv[i] = ql_op_made(&op, 6 + i);
    if (ql_dim(at->lse, 1) != spec->heads)
        return QL_FAIL(cx, QL_INVALID, "attention_back: lse has %lld columns, expected one for each of %lld heads",
                       (long long)ql_dim(at->lse, 1), (long long)spec->heads);
    if (seqs->parent)
        return QL_FAIL(cx, QL_INVALID, "attention_back: sequences have parents, whose gradients are not made");
    return ql_op_call(cx, &op);
}

ql_status
ql_add_rmsnorm(ql_ctx *cx, const ql_tensor *a, const ql_tensor *b, const ql_tensor *w, double eps, ql_tensor **sum,
               ql_tensor **y)
{
    ql_op op = {.code = QL_OP_ADD_RMSNORM, .t = {a, b, w}, .alpha = eps};

    if (cx->device && !cx->device->ops[op.code]) {
        QL_TRY(cx, ql_add(cx, a, b, sum));
        return ql_rmsnorm(cx, *sum, w, eps, y);
    }
    QL_TRY(cx, ql_op_begin(cx, &op));
    *sum = ql_op_made(&op, 3);
    *y = ql_op_made(&op, 4);
    return ql_op_call(cx, &op);
}

ql_status
ql_logprob(ql_ctx *cx, const ql_tensor *x, const ql_tensor *head, const ql_tensor *rows, const ql_tensor *row_of,
           const ql_tensor *ids, ql_tensor **logp, ql_tensor **best)
{
    ql_op op = {.code = QL_OP_LOGPROB, .t = {NULL, head, row_of, ids}};
    ql_tensor *scored;

    QL_TRY(cx, ql_gather(cx, x, rows, NULL, &scored));
    op.t[0] = scored;
    QL_TRY(cx, ql_op_begin(cx, &op));
    *logp = ql_op_made(&op, 4);
    *best = ql_op_made(&op, 5);
    return ql_op_call(cx, &op);
}

ql_status
ql_kl(ql_ctx *cx, const ql_tensor *ref, const ql_tensor *x, const ql_tensor *head, ql_tensor **kl, ql_tensor **agree)
{
    ql_op op = {.code = QL_OP_KL, .t = {ref, x, head}};

    QL_TRY(cx, ql_op_begin(cx, &op));
    *kl = ql_op_made(&op, 3);
    *agree = ql_op_made(&op, 4);
    return ql_op_call(cx, &op);
}
