/* The forward that model plugin and host share: the plugin steps between the linears, the host multiplies. */
#include "device/guard.h"
#include "tensor/op.h"
#include "tensor/tensor.h"
#include "inside.h"

ql_status
ql_block_linear(ql_ctx *cx, const ql_block *b, int linear, const ql_weight *as, const ql_seqs *seqs, const ql_tensor *x,
                ql_tensor **y)
{
    const block_linear *l = &b->linears[linear];
    const ql_tensor *w = as && as->w ? as->w : l->w;
    ql_tensor *u;

    as = as ? as : &l->adapter;

    QL_TRY(cx, ql_new(cx, b->compute, ql_dim(x, 0), ql_dim(w, 0), y));
    QL_TRY(cx, ql_op_linear(cx, seqs, x, w, 0, *y));
    if (l->bias)
        QL_TRY(cx, ql_add_bias(cx, l->bias, *y));
    if (!as->a)
        return QL_OK;
    QL_TRY(cx, ql_new(cx, b->compute, ql_dim(x, 0), ql_dim(as->a, 0), &u));
    QL_TRY(cx, ql_op_linear(cx, seqs, x, as->a, 0, u));
    QL_TRY(cx, ql_op_linear(cx, seqs, u, as->b, 1, *y));
    ql_drop(cx, &u);
    return QL_OK;
}

ql_status
ql_block_step(ql_ctx *cx, const ql_block *b, int k, ql_flow *f)
{
    const ql_model_handle *m = b->m;
    ql_tensor *x = NULL, *h = NULL, *lent;
    ql_step step = {.info = &m->info,
                    .layer = b->layer,
                    .k = k,
                    .seqs = f->seqs,
                    .smalls = (const ql_tensor *const *)b->smalls,
                    .y = (const ql_tensor *const *)f->y,
                    .x = k < m->info.subsets ? &x : NULL,
                    .h_next = &h,
                    .kept = f->kept};
    ql_tensor **made[2 + QL_KEPT] = {&x, &h};
    ql_scope scope;
    ql_guard guard;
    ql_site before;
    ql_status st;

    ql_scope_open(cx, &scope);
    QL_TRY(cx, ql_tensor_lend(cx, f->h, &lent)); /* other streams may have the same */
    step.h = lent;
    QL_TRY(cx, ql_guard_open(cx, m->foreign, NULL, &guard));
    before = ql_enter_plugin(cx, m->plugin->name);
    st = ql_guard_close(cx, &guard, m->plugin->model->step(cx, m->self, &step));
    ql_leave(cx, before);
    if (st == QL_OK && step.x && !x)
        st = QL_FAIL(cx, QL_BUG, "plugin '%s' gave no input for subset %d", m->plugin->name, k);
    for (int i = 0; f->kept && i < QL_KEPT; i++)
        made[2 + i] = &f->kept[i];
    QL_TRY(cx, ql_scope_yield(cx, &scope, st, made, f->kept ? 2 + QL_KEPT : 2));
    f->x = x;
    if (h)
        f->h = h;
    return QL_OK;
}

ql_status
ql_block_step_back(ql_ctx *cx, const ql_block *b, int k, const ql_flow *f, ql_tensor *h_next, const ql_grad *grad)
{
    const ql_model_handle *m = b->m;
    ql_tensor *x = f->x;
    const ql_step step = {.info = &m->info,
                          .layer = b->layer,
                          .k = k,
                          .seqs = f->seqs,
                          .smalls = (const ql_tensor *const *)b->smalls,
                          .h = f->h,
                          .y = (const ql_tensor *const *)f->y,
                          .x = k < m->info.subsets ? &x : NULL,
                          .h_next = &h_next,
                          .kept = f->kept};
    ql_guard guard;
    ql_site before;
    ql_status st;

    if (!m->plugin->model->step_back)
        return QL_FAIL(cx, QL_UNSUPPORTED, "plugin '%s' has no backward, so that nothing can be trained on its models",
                       m->plugin->name);
    QL_TRY(cx, ql_guard_open(cx, m->foreign, NULL, &guard));
    before = ql_enter_plugin(cx, m->plugin->name);
    st = ql_guard_close(cx, &guard, m->plugin->model->step_back(cx, m->self, &step, grad));
    ql_leave(cx, before);
    return st;
}

ql_status
ql_block_linears(ql_ctx *cx, const ql_block *b, int k, const ql_weight *const *as, ql_flow *f)
{
    const ql_model_info *info = &b->m->info;
    int n = 0;

    f->y = ql_alloc(cx, (size_t)info->linear_count, sizeof(ql_tensor *));
    if (!f->y)
        return QL_MEMORY;
    for (int i = 0; i < info->linear_count; i++)
        if (info->linears[i].subset == k)
            QL_TRY(cx, ql_block_linear(cx, b, i, as ? as[i] : NULL, f->seqs, f->x, &f->y[n++]));
    return QL_OK;
}

static void
drop_outputs(ql_ctx *cx, const ql_block *b, int k, ql_flow *f)
{
    for (int i = 0, n = 0; f->y && i < b->m->info.linear_count; i++)
        if (b->m->info.linears[i].subset == k)
            ql_drop(cx, &f->y[n++]);
    f->y = NULL;
}

static ql_status
forward(ql_ctx *cx, const ql_block *b, const ql_weight *const *as, ql_flow *f)
{
    const int subsets = b->m->info.subsets;

    for (int k = 0; k < subsets; k++) {
        QL_TRY(cx, ql_block_step(cx, b, k, f));
        drop_outputs(cx, b, k - 1, f);
        QL_TRY(cx, ql_block_linears(cx, b, k, as, f));
        ql_drop(cx, &f->x);
    }
    return ql_block_step(cx, b, subsets, f);
}

ql_status
ql_block_forward(ql_ctx *cx, const ql_block *b, const ql_weight *const *as, ql_flow *f)
{
    ql_flow inner = {.seqs = f->seqs, .h = f->h};
    ql_tensor *h = NULL;
    ql_scope scope;
    ql_status st;

    ql_scope_open(cx, &scope);
    st = forward(cx, b, as, &inner);
    h = (ql_tensor *)inner.h;
    QL_TRY(cx, ql_scope_yield(cx, &scope, st, (ql_tensor * *const[]){&h}, 1));
    *f = (ql_flow){.seqs = f->seqs, .h = h};
    return QL_OK;
}
