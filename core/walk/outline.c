/* A rehearsal has no store: passes find the shapes of what was made, and pay for the way to the device. */
#include "tensor/tensor.h"
#include "walk.h"

static ql_outline *
outline_of(const ql_walk *w, const ql_variant *v, int l)
{
    return &v->outlines[w->layer * w->model->info.linear_count + l];
}

ql_status
ql_outline_put(ql_walk *w, ql_variant *v)
{
    const int64_t linears = w->model->info.linear_count;

    for (int l = 0; l < linears; l++) {
        ql_outline *o = outline_of(w, v, l);
        ql_tensor **at[QL_LINEAR_TENSORS];

        o->state = v->linears[l];
        o->state.w_hat = NULL;
        ql_linear_tensors(&o->state, at);
        for (int i = 0; i < QL_LINEAR_TENSORS; i++) {
            const ql_tensor *t = *at[i];

            o->tensors[i].dtype = t ? ql_dtype_of(t) : QL_DTYPE_NONE;
            o->tensors[i].rows = t ? ql_dim(t, 0) : 0;
            o->tensors[i].cols = t && ql_ndim(t) == 2 ? ql_dim(t, 1) : -1;
            *at[i] = NULL;
        }
    }
    return QL_OK;
}

ql_status
ql_outline_take(ql_walk *w, ql_variant *v)
{
    for (int l = 0; l < w->model->info.linear_count; l++) {
        const ql_outline *o = outline_of(w, v, l);
        ql_linear_state *s = &v->linears[l];
        ql_tensor **at[QL_LINEAR_TENSORS];

        *s = o->state;
        ql_linear_tensors(s, at);
        for (int i = 0; i < QL_LINEAR_TENSORS; i++) {
            ql_scope scope;
            ql_tensor *t;

            if (o->tensors[i].dtype == QL_DTYPE_NONE)
                continue;
            ql_scope_open(w->cx, &scope);
            QL_TRY(w->cx, ql_upload(w->cx, o->tensors[i].dtype, o->tensors[i].rows, o->tensors[i].cols, o, &t));
            *at[i] = ql_tensor_ref(t);
            ql_scope_close(w->cx, &scope);
        }
    }
    return QL_OK;
}
