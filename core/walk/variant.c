/* The linears of the block at hand, as a variant of the model has them. */
#include <string.h>

#include "device/guard.h"
#include "tensor/tensor.h"
#include "walk.h"

ql_site
ql_site_at(const ql_walk *w, const char *title, const ql_node *n, int64_t l)
{
    ql_site site = ql_node_site(n, title);

    if (l < 0)
        return site;
    site.linear = ql_block_name(w->block, (int)l);
    site.block = ql_block_layer(w->block);
    site.subset = w->model->info.linears[l].subset;
    site.index = (int)l;
    return site;
}

/* --- overrides ------------------------------------------------------------------------------------------------ */

static const ql_override *
rule_of(const ql_walk *w, const ql_node *n, int64_t l)
{
    return n->override_count ? ql_override_of(n, ql_block_name(w->block, (int)l)) : NULL;
}

const void *
ql_self_of(const ql_walk *w, const ql_node *n, int64_t l)
{
    const ql_override *o = rule_of(w, n, l);

    return o ? o->self : n->self;
}

bool
ql_variant_skips(const ql_walk *w, const ql_variant *v, int64_t l)
{
    for (; v->parent; v = v->parent) {
        const ql_override *o = rule_of(w, v->stage, l);

        if (o && o->skip)
            return true;
    }
    return false;
}

bool
ql_variant_differs(const ql_walk *w, const ql_variant *v, int subset)
{
    if (!v->parent)
        return false;
    if (ql_variant_is_written(v) || ql_variant_is_trained(v)) /* files hold other values, and adapters move */
        return true;
    while (v->parent->parent)
        v = v->parent;
    for (int l = 0; l < w->model->info.linear_count; l++)
        if ((subset < 0 || w->model->info.linears[l].subset == subset) && !ql_variant_skips(w, v, l))
            return true;
    return false;
}

/* --- what it has ---------------------------------------------------------------------------------------------- */

const char *
ql_variant_failed(const ql_variant *v)
{
    while (!v->failed && v->parent)
        v = v->parent;
    return v->failed;
}

ql_linear_state *
ql_variant_codes(const ql_variant *v, int64_t l)
{
    for (; v->parent; v = v->parent)
        if (v->linears[l].q.codes)
            return &v->linears[l];
    return NULL;
}

ql_status
ql_lend_weight(ql_walk *w, int64_t l, bool raw, const ql_tensor **out)
{
    const ql_tensor *weight;
    ql_tensor *lent;

    QL_TRY(w->cx, ql_block_weight(w->cx, w->block, (int)l, raw, &weight));
    QL_TRY(w->cx, ql_tensor_lend(w->cx, weight, &lent));
    *out = lent;
    return QL_OK;
}

static ql_status
decode(ql_walk *w, ql_linear_state *s, const ql_tensor **out)
{
    if (!s->w_hat) {
        ql_scope scope;
        ql_tensor *t;

        ql_scope_open(w->cx, &scope);
        QL_TRY(w->cx, ql_group_decode(w->cx, &s->q, &t));
        if (ql_dtype_of(t) != QL_F32)
            QL_TRY(w->cx, ql_convert(w->cx, t, QL_F32, &t));
        s->w_hat = ql_tensor_ref(t);
        ql_tensor_seal(s->w_hat);
        ql_scope_close(w->cx, &scope);
    }
    *out = s->w_hat;
    return QL_OK;
}

bool
ql_variant_owns_adapter(const ql_variant *v)
{
    bool trained = false;

    for (; v->parent && v->stage->plugin->kind != QL_COMPENSATOR; v = v->parent)
        trained = trained || ql_variant_is_trained(v);
    return trained && !v->parent;
}

ql_status
ql_variant_decoded(ql_walk *w, const ql_variant *v, int64_t l, const ql_tensor **w_hat)
{
    ql_linear_state *s = ql_variant_codes(v, l);

    if (s)
        return decode(w, s, w_hat);
    return ql_variant_owns_adapter(v) ? ql_block_bare(w->cx, w->block, (int)l, w_hat)
                                      : ql_lend_weight(w, l, false, w_hat);
}

void
ql_variant_adapter(const ql_variant *v, int64_t l, const ql_tensor **b, const ql_tensor **a)
{
    const ql_linear_state *s;

    *b = *a = NULL;
    if (ql_variant_is_written(v))
        v = v->parent;
    if (v->stage->plugin->kind == QL_COMPENSATOR || ql_variant_is_trained(v)) { /* it replaces what came before */
        *b = v->linears[l].b;
        *a = v->linears[l].a;
    } else if ((s = ql_variant_codes(v, l))) {
        *b = s->q.b;
        *a = s->q.a;
    }
}

ql_status
ql_variant_linear(ql_walk *w, const ql_variant *v, int64_t l, ql_linear_result *out)
{
    const ql_linear_state *codes = ql_variant_codes(v, l);

    *out = (ql_linear_result){.name = ql_block_name(w->block, (int)l),
                              .layer = ql_block_layer(w->block),
                              .k = -1,
                              .file_dtype = ql_block_dtype(w->block, (int)l)};
    QL_TRY(w->cx, ql_lend_weight(w, l, false, &out->w));
    QL_TRY(w->cx, ql_variant_decoded(w, v, l, &out->what));
    ql_variant_adapter(v, l, &out->b, &out->a);
    if (codes) {
        out->qlinear = &codes->q;
        out->status = codes->status;
    }
    if (v->stage->plugin->kind == QL_COMPENSATOR || ql_variant_is_trained(v)) {
        out->k = v->linears[l].k;
        out->status |= v->linears[l].status;
    }
    return QL_OK;
}

/* --- what multiplies ------------------------------------------------------------------------------------------ */

/* In the device's compute dtype, in the innermost scope. */
static ql_status
to_compute(ql_walk *w, const ql_tensor *t, const ql_tensor **out)
{
    const ql_dtype d = w->cx->device->info.compute_dtype;
    ql_tensor *made;

    *out = t;
    if (!t || ql_dtype_of(t) == d)
        return QL_OK;
    QL_TRY(w->cx, ql_convert(w->cx, t, d, &made));
    *out = made;
    return QL_OK;
}

/* As the files of an export have it. */
static ql_status
written_weight(ql_walk *w, const ql_variant *v, int64_t l, const ql_tensor **out)
{
    ql_linear_result in;
    ql_tensor *made;
    ql_guard guard;

    QL_TRY(w->cx, ql_variant_linear(w, v->parent, l, &in));
    QL_TRY(w->cx, ql_guard_open(w->cx, v->stage->foreign, NULL, &guard));
    QL_TRY(w->cx, ql_guard_close(w->cx, &guard, v->stage->plugin->exporter->weight(w->cx, v->stage->self, &in, &made)));
    return to_compute(w, made, out);
}

/* Its codes, else the weight that an adapter stands on, or the one that files hold. */
static ql_status
stand_in(ql_walk *w, const ql_variant *v, int64_t l, ql_stand_in *out, bool *differs)
{
    ql_linear_state *s = ql_variant_codes(v, l);

    *out = (ql_stand_in){0};
    *differs = true;
    if (ql_variant_is_written(v))
        return written_weight(w, v, l, &out->w);
    ql_variant_adapter(v, l, &out->b, &out->a);
    out->q = s ? &s->q : NULL;
    *differs = s || out->b;
    return s || !out->b ? QL_OK : ql_variant_decoded(w, v, l, &out->w);
}

static ql_status
weight_of(ql_walk *w, const ql_variant *v, int64_t l, ql_weight *out, bool *differs)
{
    ql_stand_in as;

    QL_TRY(w->cx, stand_in(w, v, l, &as, differs));
    if (as.q)
        QL_TRY(w->cx, ql_variant_decoded(w, v, l, &as.w));
    QL_TRY(w->cx, to_compute(w, as.w, &out->w));
    QL_TRY(w->cx, to_compute(w, as.b, &out->b));
    return to_compute(w, as.a, &out->a);
}

ql_status
ql_variant_weights(ql_walk *w, const ql_variant *v, int subset, const ql_weight *const **out)
{
    const int n = w->model->info.linear_count;
    const ql_weight **as = ql_alloc(w->cx, (size_t)n, sizeof *as);
    ql_weight *weights = ql_alloc(w->cx, (size_t)n, sizeof *weights);

    if (!as || !weights)
        return QL_MEMORY;
    for (int l = 0; l < n; l++) {
        bool differs = false;

        if (subset < 0 || w->model->info.linears[l].subset == subset)
            QL_TRY(w->cx, weight_of(w, v, l, &weights[l], &differs));
        as[l] = differs ? &weights[l] : NULL;
    }
    *out = as;
    return QL_OK;
}

ql_status
ql_variant_stand_ins(ql_walk *w, const ql_variant *v, const ql_stand_in *const **out)
{
    const int n = w->model->info.linear_count;
    const ql_stand_in **as = ql_alloc(w->cx, (size_t)n, sizeof *as);
    ql_stand_in *all = ql_alloc(w->cx, (size_t)n, sizeof *all);

    if (!as || !all)
        return QL_MEMORY;
    for (int l = 0; l < n; l++) {
        bool differs;

        QL_TRY(w->cx, stand_in(w, v, l, &all[l], &differs));
        as[l] = differs ? &all[l] : NULL;
    }
    *out = as;
    return QL_OK;
}

/* --- letting go ----------------------------------------------------------------------------------------------- */

static void
drop(ql_tensor **t)
{
    ql_tensor_unref(*t);
    *t = NULL;
}

void
ql_linear_tensors(ql_linear_state *s, ql_tensor **out[QL_LINEAR_TENSORS])
{
    ql_tensor **const all[QL_LINEAR_TENSORS] = {&s->q.codes, &s->q.scales, &s->q.zeros, &s->q.g_idx, &s->q.levels,
                                                &s->q.b,     &s->q.a,      &s->b,       &s->a,       &s->w_hat};

    memcpy(out, all, sizeof all);
}

static void
forget(ql_linear_state *s)
{
    ql_tensor **all[QL_LINEAR_TENSORS];

    ql_linear_tensors(s, all);
    for (int i = 0; i < QL_LINEAR_TENSORS; i++)
        drop(all[i]);
    *s = (ql_linear_state){0};
}

void
ql_variant_forget_decoded(ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->variant_count; i++)
        for (int l = 0; l < w->model->info.linear_count; l++)
            drop(&w->plan->variants[i]->linears[l].w_hat);
}

void
ql_variant_forget(ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->variant_count; i++)
        for (int l = 0; w->plan->variants[i]->linears && l < w->model->info.linear_count; l++)
            forget(&w->plan->variants[i]->linears[l]);
}
