/* The two ends of the model, and all of it in one go. */
#include "device/device.h"
#include "tensor/tensor.h"
#include "block.h"

static ql_want
want_table(const ql_ctx *cx, const ql_model_handle *m, const char *name)
{
    return (ql_want){
        .name = name, .dtype = cx->device->info.compute_dtype, .ndim = 2, .dims = {m->info.vocab, m->info.hidden}};
}

ql_status
ql_model_embed(ql_ctx *cx, const ql_model_handle *m, const int32_t *ids, int64_t count, ql_tensor **h)
{
    const ql_want want = want_table(cx, m, m->info.embed);

    return ql_source_rows(cx, m->source, &want, ids, count, h);
}

ql_status
ql_model_ends(ql_ctx *cx, const ql_model_handle *m, ql_ends *out)
{
    const ql_want head = want_table(cx, m, m->info.head);
    const ql_want norm = {.name = m->info.norm, .dtype = head.dtype, .ndim = 1, .dims = {m->info.hidden}};

    QL_TRY(cx, ql_source_load(cx, m->source, &norm, &out->norm));
    QL_TRY(cx, ql_source_load(cx, m->source, &head, &out->head));
    ql_tensor_seal(out->norm);
    ql_tensor_seal(out->head);
    return QL_OK;
}

ql_status
ql_model_norm(ql_ctx *cx, const ql_model_handle *m, const ql_ends *ends, const ql_tensor *h, ql_tensor **x)
{
    return ql_rmsnorm(cx, h, ends->norm, m->info.norm_eps, x);
}

static ql_status
run_block(ql_ctx *cx, const ql_model_handle *m, int64_t layer, ql_flow *f)
{
    ql_block *b;
    ql_status st;

    QL_TRY(cx, ql_block_open(cx, m, layer, &b));
    st = ql_block_forward(cx, b, NULL, f);
    ql_block_close(b);
    return st;
}

static ql_status
run_model(ql_ctx *cx, const ql_model_handle *m, const int32_t *ids, ql_flow *f, ql_tensor **logits)
{
    ql_tensor *h, *x;
    ql_ends ends;

    QL_TRY(cx, ql_model_embed(cx, m, ids, f->seqs->offsets[f->seqs->count], &h));
    f->h = h;
    for (int64_t i = 0; i < m->info.layers; i++)
        QL_TRY(cx, run_block(cx, m, i, f));
    QL_TRY(cx, ql_model_ends(cx, m, &ends));
    QL_TRY(cx, ql_model_norm(cx, m, &ends, f->h, &x));
    QL_TRY(cx, ql_new(cx, ql_dtype_of(x), ql_dim(x, 0), m->info.vocab, logits));
    return ql_gemm(cx, QL_NT, 1, x, ends.head, 0, *logits);
}

ql_status
ql_model_logits(ql_ctx *cx, const ql_model_handle *m, const ql_seqs *seqs, const int32_t *ids, ql_tensor **logits)
{
    ql_flow f = {.seqs = seqs};
    ql_scope scope;

    *logits = NULL;
    ql_scope_open(cx, &scope);
    return ql_scope_yield(cx, &scope, run_model(cx, m, ids, &f, logits), (ql_tensor * *const[]){logits}, 1);
}
