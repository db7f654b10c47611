/* All blocks of a model at rest, and steps of rows through them. */
#include "resident.h"

#include <stdlib.h>

#include "tensor/op.h"
#include "inside.h"

typedef struct resident_linear {
    ql_resting w, a, b; /* a, b: an adapter; without tensors: none */
    ql_tensor *bias;    /* NULL: none */
} resident_linear;

typedef struct resident_block {
    ql_block shell;           /* what steps need: its smalls */
    resident_linear *linears; /* [linear_count] */
    ql_tensor *keys, *values; /* NULL until there is room for pages */
} resident_block;

struct ql_resident {
    const ql_model_handle *m;
    ql_dtype compute;
    ql_tensor *norm;
    ql_resting head;
    int64_t count;
    resident_block *blocks; /* [layers] */
};

/* --- taking in --------------------------------------------------------------------------------------------------- */

/* `t` turned, [columns, rows], in `dtype`; kept beyond the scope. */
static ql_status
turn(ql_ctx *cx, const ql_tensor *t, ql_dtype dtype, ql_tensor **out)
{
    ql_tensor *turned = (ql_tensor *)t;
    ql_scope scope;
    ql_status st = QL_OK;

    *out = NULL;
    ql_scope_open(cx, &scope);
    if (ql_dtype_of(t) != dtype)
        st = ql_convert(cx, t, dtype, &turned);
    if (st == QL_OK)
        st = ql_transpose(cx, turned, &turned);
    if (st == QL_OK)
        *out = ql_tensor_ref(turned);
    ql_scope_close(cx, &scope);
    return st;
}

static ql_status
rest_codes(ql_ctx *cx, const ql_qlinear *q, ql_resting *out)
{
    out->grid = q->grid;
    QL_TRY(cx, turn(cx, q->codes, QL_U8, &out->w));
    QL_TRY(cx, turn(cx, q->scales, QL_F32, &out->scales));
    if (q->zeros && !q->levels)
        QL_TRY(cx, turn(cx, q->zeros, QL_F32, &out->zeros));
    out->levels = ql_tensor_ref(q->levels);
    out->g_idx = ql_tensor_ref(q->g_idx);
    return QL_OK;
}

/* Codes as they are, unless they decode in double. */
static ql_status
rest_quantized(ql_ctx *cx, const ql_resident *r, const ql_qlinear *q, ql_resting *out)
{
    ql_tensor *w;

    if (!q->grid.fp64)
        return rest_codes(cx, q, out);
    QL_TRY(cx, ql_group_decode(cx, q, &w));
    QL_TRY(cx, ql_convert(cx, w, QL_F32, &w)); /* as everything that is decoded, before it is of the compute dtype */
    return turn(cx, w, r->compute, &out->w);
}

/* The dtype of its file, if no bit is lost there. */
static ql_dtype
dtype_at_rest(const ql_resident *r, ql_dtype file)
{
    return r->compute == QL_F32 && (file == QL_BF16 || file == QL_F16) ? file : r->compute;
}

/* As the model's files have it. */
static ql_status
rest_original(ql_ctx *cx, const ql_resident *r, const ql_block *b, int l, resident_linear *out)
{
    const block_linear *from = &b->linears[l];
    ql_stored_linear stored;

    QL_TRY(cx, ql_model_linear(cx, r->m, b->layer, l, true, &stored));
    if (stored.packed)
        QL_TRY(cx, rest_quantized(cx, r, &stored.q, &out->w));
    else
        QL_TRY(cx, turn(cx, from->w, dtype_at_rest(r, from->file), &out->w.w));
    if (!from->adapter.a)
        return QL_OK;
    QL_TRY(cx, turn(cx, from->adapter.a, r->compute, &out->a.w));
    return turn(cx, from->adapter.b, r->compute, &out->b.w);
}

static ql_status
rest_linear(ql_ctx *cx, const ql_resident *r, const ql_block *b, int l, const ql_stand_in *as, resident_linear *out)
{
    out->bias = ql_tensor_ref(b->linears[l].bias);
    if (!as)
        return rest_original(cx, r, b, l, out);
    if (as->q)
        QL_TRY(cx, rest_quantized(cx, r, as->q, &out->w));
    else
        QL_TRY(cx, turn(cx, as->w, r->compute, &out->w.w));
    if (!as->a)
        return QL_OK;
    QL_TRY(cx, turn(cx, as->a, r->compute, &out->a.w));
    return turn(cx, as->b, r->compute, &out->b.w);
}

static ql_status
rest_block(ql_ctx *cx, const ql_resident *r, const ql_block *b, const ql_stand_in *const *as, resident_block *out)
{
    const ql_model_info *info = &r->m->info;

    out->shell = (ql_block){.m = r->m, .layer = b->layer, .compute = b->compute};
    out->shell.smalls = ql_heap(cx, (size_t)info->small_count, sizeof(ql_tensor *));
    out->linears = ql_heap(cx, (size_t)info->linear_count, sizeof *out->linears);
    if (!out->shell.smalls || !out->linears)
        return QL_MEMORY;
    for (int i = 0; i < info->small_count; i++)
        out->shell.smalls[i] = ql_tensor_ref(b->smalls[i]);
    for (int l = 0; l < info->linear_count; l++) {
        ql_scope scope;

        ql_scope_open(cx, &scope); /* one linear's codes at a time */
        QL_TRY(cx, rest_linear(cx, r, b, l, as ? as[l] : NULL, &out->linears[l]));
        ql_scope_close(cx, &scope);
    }
    return QL_OK;
}

ql_status
ql_resident_add(ql_ctx *cx, ql_resident *r, const ql_block *b, const ql_stand_in *const *as)
{
    const char *holds = cx->holds;

    cx->holds = "the model at rest";
    QL_TRY(cx, rest_block(cx, r, b, as, &r->blocks[r->count++]));
    cx->holds = holds;
    return QL_OK;
}

static ql_status
load_ends(ql_ctx *cx, ql_resident *r)
{
    const ql_model_info *info = &r->m->info;
    const ql_want norm = {.name = info->norm, .dtype = r->compute, .ndim = 1, .dims = {info->hidden}};
    ql_want head = {.name = info->head, .ndim = 2, .dims = {info->vocab, info->hidden}}, file;
    ql_tensor *t;

    head.dtype = ql_source_shape(r->m->source, info->head, &file) ? dtype_at_rest(r, file.dtype) : r->compute;
    QL_TRY(cx, ql_source_load(cx, r->m->source, &norm, &t));
    r->norm = ql_tensor_ref(t);
    ql_tensor_seal(r->norm);
    QL_TRY(cx, ql_source_load(cx, r->m->source, &head, &t));
    return turn(cx, t, head.dtype, &r->head.w);
}

ql_status
ql_resident_open(ql_ctx *cx, const ql_model_handle *m, int64_t blocks, ql_resident **out)
{
    ql_resident *r = ql_heap(cx, 1, sizeof *r);
    ql_scope scope;
    ql_status st = QL_MEMORY;

    *out = r;
    if (!r)
        return QL_MEMORY;
    *r = (ql_resident){.m = m, .compute = cx->device->info.compute_dtype};
    r->blocks = ql_heap(cx, (size_t)blocks, sizeof *r->blocks);
    ql_scope_open(cx, &scope);
    if (r->blocks)
        st = load_ends(cx, r);
    ql_scope_close(cx, &scope);
    return st;
}

/* --- letting go -------------------------------------------------------------------------------------------------- */

static void
close_resting(ql_resting *w)
{
    ql_tensor_unref(w->w);
    ql_tensor_unref(w->scales);
    ql_tensor_unref(w->zeros);
    ql_tensor_unref(w->levels);
    ql_tensor_unref(w->g_idx);
}

static void
close_block(const ql_model_info *info, resident_block *b)
{
    for (int l = 0; b->linears && l < info->linear_count; l++) {
        close_resting(&b->linears[l].w);
        close_resting(&b->linears[l].a);
        close_resting(&b->linears[l].b);
        ql_tensor_unref(b->linears[l].bias);
    }
    for (int i = 0; b->shell.smalls && i < info->small_count; i++)
        ql_tensor_unref(b->shell.smalls[i]);
    ql_tensor_unref(b->keys);
    ql_tensor_unref(b->values);
    free(b->shell.smalls);
    free(b->linears);
}

void
ql_resident_close(ql_resident *r)
{
    if (!r)
        return;
    for (int64_t i = 0; r->blocks && i < r->count; i++)
        close_block(&r->m->info, &r->blocks[i]);
    ql_tensor_unref(r->norm);
    close_resting(&r->head);
    free(r->blocks);
    free(r);
}

/* --- steps ------------------------------------------------------------------------------------------------------- */

/* y = x W (+ bias) (+ x A B); made. */
static ql_status
multiply(ql_ctx *cx, const ql_resident *r, const resident_linear *l, const ql_tensor *x, ql_tensor **y)
{
    ql_tensor *u;

    QL_TRY(cx, ql_new(cx, r->compute, ql_dim(x, 0), ql_dim(l->w.w, 1), y));
    QL_TRY(cx, ql_op_resting(cx, x, &l->w, false, *y));
    if (l->bias)
        QL_TRY(cx, ql_add_bias(cx, l->bias, *y));
    if (!l->a.w)
        return QL_OK;
    QL_TRY(cx, ql_new(cx, r->compute, ql_dim(x, 0), ql_dim(l->a.w, 1), &u));
    QL_TRY(cx, ql_op_resting(cx, x, &l->a, false, u));
    return ql_op_resting(cx, u, &l->b, true, *y);
}

static ql_status
pass_block(ql_ctx *cx, const ql_resident *r, const resident_block *b, ql_flow *f)
{
    const ql_model_info *info = &r->m->info;
    int n = 0;

    f->y = ql_alloc(cx, (size_t)info->linear_count, sizeof(ql_tensor *));
    if (!f->y)
        return QL_MEMORY;
    for (int k = 0; k < info->subsets; k++) {
        QL_TRY(cx, ql_block_step(cx, &b->shell, k, f));
        while (n > 0)
            ql_drop(cx, &f->y[--n]);
        for (int l = 0; l < info->linear_count; l++)
            if (info->linears[l].subset == k)
                QL_TRY(cx, multiply(cx, r, &b->linears[l], f->x, &f->y[n++]));
    }
    return ql_block_step(cx, &b->shell, info->subsets, f);
}

/* All blocks, whose keys and values are kept; *h becomes what leaves the last one. */
static ql_status
pass_blocks(ql_ctx *cx, const ql_resident *r, const ql_resident_rows *rows, ql_tensor **h)
{
    for (int64_t i = 0; i < r->count; i++) {
        const ql_kept kept = {r->blocks[i].keys, r->blocks[i].values, rows->pages};
        const ql_seqs seqs = {
            .count = rows->seqs->count, .offsets = rows->seqs->offsets, .first = rows->seqs->first, .kept = &kept};
        ql_flow f = {.seqs = &seqs, .h = *h};
        ql_scope scope;
        ql_status st;

        ql_scope_open(cx, &scope);
        st = pass_block(cx, r, &r->blocks[i], &f);
        *h = f.h;
        QL_TRY(cx, ql_scope_yield(cx, &scope, st, (ql_tensor * *const[]){h}, 1));
    }
    return QL_OK;
}

static ql_status
step(ql_ctx *cx, const ql_resident *r, const ql_resident_rows *rows, ql_tensor **logits)
{
    const ql_seqs *seqs = rows->seqs;
    int32_t *last = ql_alloc(cx, (size_t)seqs->count, sizeof *last);
    ql_tensor *h, *ends, *x, *at;

    if (!last)
        return QL_MEMORY;
    for (int64_t s = 0; s < seqs->count; s++)
        last[s] = (int32_t)seqs->offsets[s + 1] - 1;
    QL_TRY(cx, ql_upload(cx, QL_I32, seqs->count, -1, last, &at));
    QL_TRY(cx, ql_model_embed(cx, r->m, rows->ids, seqs->offsets[seqs->count], &h));
    QL_TRY(cx, pass_blocks(cx, r, rows, &h));
    QL_TRY(cx, ql_gather(cx, h, at, NULL, &ends));
    QL_TRY(cx, ql_rmsnorm(cx, ends, r->norm, r->m->info.norm_eps, &x));
    QL_TRY(cx, ql_new(cx, QL_F32, seqs->count, r->m->info.vocab, logits));
    return ql_op_resting(cx, x, &r->head, false, *logits);
}

ql_status
ql_resident_step(ql_ctx *cx, ql_resident *r, const ql_resident_rows *rows, ql_tensor **logits)
{
    ql_scope scope;

    *logits = NULL;
    ql_scope_open(cx, &scope);
    return ql_scope_yield(cx, &scope, step(cx, r, rows, logits), (ql_tensor * *const[]){logits}, 1);
}

ql_status
ql_resident_page_bytes(ql_ctx *cx, const ql_resident *r, size_t *out)
{
    const ql_model_info *info = &r->m->info;

    if (info->key_width < 1)
        return QL_FAIL(
            cx, QL_UNSUPPORTED,
            "model plugin '%s' does not say what its attention keeps of a token (key_width), so it can't generate",
            r->m->plugin->name);
    *out = 2 * (size_t)r->count * (size_t)info->key_width * QL_PAGE * ql_dtype_size(r->compute);
    return QL_OK;
}

ql_status
ql_resident_keep(ql_ctx *cx, ql_resident *r, int64_t pages)
{
    for (int64_t i = 0; i < r->count; i++) {
        ql_tensor **const at[] = {&r->blocks[i].keys, &r->blocks[i].values};

        for (int k = 0; k < 2; k++) {
            ql_scope scope;
            ql_tensor *t;

            ql_tensor_unref(*at[k]);
            *at[k] = NULL;
            ql_scope_open(cx, &scope);
            QL_TRY(cx, ql_new(cx, r->compute, pages * QL_PAGE, r->m->info.key_width, &t));
            *at[k] = ql_tensor_ref(t);
            ql_scope_close(cx, &scope);
        }
    }
    return QL_OK;
}
