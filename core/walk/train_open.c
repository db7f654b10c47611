/* What training needs before its first update: the frozen model on the device, adapters as the stages before left them or fresh ones, and
 * the sequences. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/tensor.h"
#include "train.h"

#define MOST INT32_MAX /* updates, and sequences of one */
#define RANK_MOST 65536

/* --- data ----------------------------------------------------------------------------------------------------------- */

static int64_t
count_targets(const ql_tokens *t)
{
    int64_t n = 0;

    for (int64_t s = 0; s < t->count; s++)
        for (int64_t i = t->offsets[s]; i < t->offsets[s + 1]; i++)
            n += ql_is_target(t->scored, t->offsets[s], i);
    return n;
}

/* Tokens of input `port`; NULL where it is not connected. */
static ql_status
read_input(ql_training *t, const char *port, const ql_tokens **out)
{
    const ql_node *data = ql_node_input(t->v->stage, port);
    const ql_corpus *corpus;

    *out = NULL;
    if (!data)
        return QL_OK;
    QL_TRY(t->w->cx, ql_corpus_open(t->w, data, NULL, &corpus));
    *out = &corpus->tokens;
    if (corpus->tokens.parent)
        return QL_FAIL(t->w->cx, QL_INVALID, "input '%s': stage '%s' gives trees of tokens, which can't be trained on",
                       port, data->name);
    if (count_targets(*out) == 0)
        return QL_FAIL(t->w->cx, QL_INVALID,
                       "input '%s': none of the %lld sequences of stage '%s' has a token to predict", port,
                       (long long)(*out)->count, data->name);
    return QL_OK;
}

ql_status
ql_train_inputs(ql_training *t)
{
    QL_TRY(t->w->cx, read_input(t, "data", &t->data));
    return read_input(t, "eval", &t->eval);
}

/* --- the frozen model --------------------------------------------------------------------------------------------------- */

void
ql_train_start(const ql_training *t, int64_t l, const ql_tensor **b, const ql_tensor **a)
{
    ql_variant_adapter(t->v->parent, l, b, a);
    if (!*a && ql_variant_owns_adapter(t->v))
        ql_block_adapter(t->w->block, (int)l, b, a);
}

ql_status
ql_train_rounded(ql_training *t, const ql_tuned *a, ql_tensor *out[QL_TUNED])
{
    const ql_dtype dtype = ql_float_dtype(ql_param_int(t->v->stage->plugin, t->self, "adapter_dtype", 0));
    ql_ctx *cx = t->w->cx;

    QL_TRY(cx, ql_convert(cx, a->p[QL_TUNED_A], dtype, &out[QL_TUNED_A]));
    QL_TRY(cx, ql_convert(cx, a->p[QL_TUNED_B], t->sum, &out[QL_TUNED_B]));
    if (a->scale != 1)
        QL_TRY(cx, ql_axpby(cx, a->scale, out[QL_TUNED_B], 0, out[QL_TUNED_B]));
    return ql_convert(cx, out[QL_TUNED_B], dtype, &out[QL_TUNED_B]);
}

static ql_status
freeze(ql_training *t, int64_t layer, int l)
{
    ql_ctx *cx = t->w->cx;
    ql_frozen *f = &t->frozen[layer * t->linears + l];
    const ql_linear_state *s = ql_variant_codes(t->v->parent, l);
    const ql_tensor *b, *a, *w;
    ql_tensor *made;
    ql_scope scope;

    if (s) {
        ql_tensor **const all[] = {&f->q.codes, &f->q.scales, &f->q.zeros, &f->q.g_idx, &f->q.levels};

        f->q = s->q;
        f->q.b = f->q.a = NULL;
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            *all[i] = *all[i] ? ql_tensor_ref(*all[i]) : NULL;
        ql_block_release(t->blocks[layer], l);
        return QL_OK;
    }
    ql_block_adapter(t->w->block, l, &b, &a);
    f->w = ql_block_plain(t->blocks[layer], l);
    if (!a || ql_variant_owns_adapter(t->v))
        return QL_OK;
    ql_scope_open(cx, &scope); /* a compensator took the two together for the weight */
    QL_TRY(cx, ql_variant_decoded(t->w, t->v->parent, l, &w));
    QL_TRY(cx, ql_convert(cx, w, t->compute, &made));
    f->w = f->held = ql_tensor_ref(made);
    ql_scope_close(cx, &scope);
    return QL_OK;
}

/* --- adapters ----------------------------------------------------------------------------------------------------------- */

/* Is the linear one of `targets`, which name linears or their ends, after a dot? */
static bool
is_target(const ql_strings *targets, const char *name)
{
    for (int64_t i = 0; i < targets->count; i++) {
        const size_t n = strlen(name), m = strlen(targets->items[i]);

        if (m <= n && strcmp(name + n - m, targets->items[i]) == 0 && (m == n || name[n - m - 1] == '.'))
            return true;
    }
    return targets->count == 0;
}

static ql_status
check_targets(ql_training *t)
{
    const ql_model_info *info = &t->w->model->info;
    const ql_strings *targets = &t->course.targets;

    for (int64_t i = 0; i < targets->count; i++) {
        const ql_strings one = {.count = 1, .items = targets->items + i};
        bool found = false;

        for (int64_t at = 0; at < t->layers * t->linears && !found; at++) {
            const char *name = ql_name_in_block(t->w->cx, info, at / t->linears, info->linears[at % t->linears].name);

            if (!name)
                return QL_MEMORY;
            found = is_target(&one, name);
        }
        if (!found)
            return QL_FAIL(t->w->cx, QL_INVALID,
                           "targets: no linear of the model is called '%s': they end in '%s' and the like",
                           targets->items[i], info->linears[0].name);
    }
    return QL_OK;
}

/* A new tensor of the heap: `from` times `factor` as `dtype`. */
static ql_status
copy(ql_training *t, const ql_tensor *from, ql_dtype dtype, double factor, ql_tensor **out)
{
    ql_ctx *cx = t->w->cx;
    ql_tensor *made;
    ql_scope scope;

    ql_scope_open(cx, &scope);
    QL_TRY(cx, ql_convert(cx, from, factor == 1 ? dtype : t->sum, &made));
    if (factor != 1) {
        ql_tensor *whole = made;

        QL_TRY(cx, ql_axpby(cx, factor, whole, 0, whole));
        QL_TRY(cx, ql_convert(cx, whole, dtype, &made));
    }
    *out = ql_tensor_ref(made);
    ql_scope_close(cx, &scope);
    return QL_OK;
}

static ql_status
zeros_like(ql_training *t, const ql_tensor *of, ql_tensor **out)
{
    ql_ctx *cx = t->w->cx;
    ql_tensor *made;
    ql_scope scope;

    ql_scope_open(cx, &scope);
    QL_TRY(cx, ql_zeros(cx, t->sum, ql_dim(of, 0), ql_dim(of, 1), &made));
    *out = ql_tensor_ref(made);
    ql_scope_close(cx, &scope);
    return QL_OK;
}

/* A uniform in +-1 / sqrt(in), keyed by seed and linear; B zero. */
static ql_status
start_fresh(ql_training *t, ql_tuned *a, int l)
{
    ql_ctx *cx = t->w->cx;
    const ql_linear_info *info = &t->w->model->info.linears[l];
    ql_site site = ql_site_at(t->w, t->v->title, t->v->stage, l);
    ql_tensor *made;
    ql_scope scope;

    a->rank = t->course.rank;
    a->fresh = true;
    ql_scope_open(cx, &scope);
    QL_TRY(cx, ql_new(cx, QL_F32, a->rank, info->in, &made));
    site.seed = t->course.seed;
    site = ql_enter(cx, site);
    QL_TRY(cx, ql_random(cx, QL_PROBE, made));
    ql_leave(cx, site);
    QL_TRY(cx, copy(t, made, t->sum, 2 / sqrt((double)info->in), &a->p[QL_TUNED_A]));
    QL_TRY(cx, ql_zeros(cx, t->sum, info->out, a->rank, &made));
    a->p[QL_TUNED_B] = ql_tensor_ref(made);
    ql_scope_close(cx, &scope);
    return QL_OK;
}

static ql_status
find_factors(ql_training *t, ql_tuned *a, const ql_tensor *start_b, const ql_tensor *start_a)
{
    ql_ctx *cx = t->w->cx;
    double *factors = ql_alloc(cx, (size_t)a->rank, sizeof *factors);
    float *single = ql_alloc(cx, (size_t)a->rank, sizeof *single);
    ql_tensor *b, *a32, *made;
    bool plain = true;
    ql_guard guard;

    if (!factors || !single)
        return QL_MEMORY;
    for (int64_t i = 0; i < a->rank; i++)
        factors[i] = 1;
    QL_TRY(cx, ql_convert(cx, start_b, QL_F32, &b));
    QL_TRY(cx, ql_convert(cx, start_a, QL_F32, &a32));
    QL_TRY(cx, ql_train_guard(t, &guard));
    QL_TRY(cx, ql_guard_close(cx, &guard, t->rule->factors(cx, t->self, b, a32, a->k, factors)));
    for (int64_t i = 0; i < a->rank; i++) {
        plain = plain && factors[i] == 1;
        single[i] = (float)factors[i];
    }
    if (plain)
        return QL_OK;
    QL_TRY(cx, t->sum == QL_F64 ? ql_upload(cx, QL_F64, a->rank, -1, factors, &made)
                                : ql_upload(cx, QL_F32, a->rank, -1, single, &made));
    a->factors = ql_tensor_ref(made);
    ql_tensor_seal(a->factors);
    return QL_OK;
}

/* Gradients, what the rule keeps, and factors; for what is trained. */
static ql_status
equip(ql_training *t, ql_tuned *a, const ql_tensor *b0, const ql_tensor *a0)
{
    ql_ctx *cx = t->w->cx;
    ql_scope scope;
    ql_status st = QL_OK;

    a->scale = t->course.alpha > 0 ? t->course.alpha / (double)a->rank : 1;
    for (int i = 0; i < QL_TUNED && a->fresh == false && a->trained; i++) {
        QL_TRY(cx, copy(t, i == QL_TUNED_A ? a0 : b0, t->sum, i == QL_TUNED_A ? 1 : 1 / a->scale, &a->p[i]));
    }
    for (int i = 0; i < QL_TUNED; i++) {
        QL_TRY(cx, zeros_like(t, a->p[i], &a->g[i]));
        for (int s = 0; s < t->rule->state_tensors; s++)
            QL_TRY(cx, zeros_like(t, a->p[i], &a->state[i][s]));
    }
    if (!t->rule->factors || a->fresh)
        return QL_OK;
    ql_scope_open(cx, &scope);
    st = find_factors(t, a, b0, a0);
    ql_scope_close(cx, &scope);
    return st;
}

/* The adapter of a linear of the block at hand. */
static ql_status
dress(ql_training *t, int64_t layer, int l)
{
    ql_ctx *cx = t->w->cx;
    ql_tuned *a = ql_tuned_at(t, layer, l);
    const ql_tensor *b0, *a0;

    ql_train_start(t, l, &b0, &a0);
    a->k = t->v->parent->parent ? t->v->parent->linears[l].k : -1;
    a->trained = is_target(&t->course.targets, ql_block_name(t->w->block, l));
    if (a0)
        a->rank = ql_dim(a0, 0);
    else if (a->trained && t->course.rank > 0)
        QL_TRY(cx, start_fresh(t, a, l));
    a->trained = a->trained && a->rank > 0;
    if (a->rank == 0)
        return QL_OK;
    a->scale = 1;
    if (!a->trained) { /* it stays as it is */
        QL_TRY(cx, copy(t, a0, t->sum, 1, &a->p[QL_TUNED_A]));
        QL_TRY(cx, copy(t, b0, t->sum, 1, &a->p[QL_TUNED_B]));
        return ql_train_refresh(t, a);
    }
    if (t->lowest < 0)
        t->lowest = layer;
    QL_TRY(cx, equip(t, a, b0, a0));
    return ql_train_refresh(t, a);
}

ql_status
ql_train_refresh(ql_training *t, ql_tuned *a)
{
    for (int i = 0; i < QL_TUNED; i++) {
        ql_tensor *old = a->used[i];

        QL_TRY(t->w->cx, copy(t, a->p[i], t->compute, i == QL_TUNED_B ? a->scale : 1, &a->used[i]));
        ql_tensor_unref(old);
    }
    return QL_OK;
}

/* --- blocks --------------------------------------------------------------------------------------------------------------- */

static ql_status
open_block(ql_training *t, int64_t layer)
{
    ql_walk *w = t->w;

    w->layer = layer;
    QL_TRY(w->cx, ql_block_open(w->cx, w->model, layer, &t->blocks[layer]));
    w->block = t->blocks[layer];
    QL_TRY(w->cx, ql_finished_take(w));
    for (int l = 0; l < t->linears; l++) {
        QL_TRY(w->cx, dress(t, layer, l));
        QL_TRY(w->cx, freeze(t, layer, l));
    }
    ql_variant_forget(w);
    w->block = NULL;
    return QL_OK;
}

static ql_status
open_blocks(ql_training *t)
{
    ql_ctx *cx = t->w->cx;
    const size_t all = (size_t)t->layers * (size_t)t->linears;

    t->blocks = ql_alloc(cx, (size_t)t->layers, sizeof *t->blocks);
    t->frozen = ql_alloc(cx, all, sizeof *t->frozen);
    t->tuned = ql_alloc(cx, all, sizeof *t->tuned);
    if (!t->blocks || !t->frozen || !t->tuned)
        return QL_MEMORY;
    t->w->reads++;
    for (int64_t layer = 0; layer < t->layers; layer++) {
        ql_scope scope;

        QL_TRY(cx, ql_check_interrupt(cx));
        ql_scope_open(cx, &scope);
        QL_TRY(cx, open_block(t, layer));
        ql_scope_close(cx, &scope);
    }
    return ql_model_ends(cx, t->w->model, &t->ends);
}

/* Written so that what is no number is refused. */
static bool
can_be(const ql_course *c)
{
    return c->updates >= 1 && c->updates <= MOST && c->batch >= 1 && c->batch <= MOST && c->rank >= 0 &&
           c->rank <= RANK_MOST && c->alpha >= 0 && isfinite(c->alpha) && c->dropout >= 0 && c->dropout < 1 &&
           c->clip >= 0 && c->eval_every >= 0 && c->checkpoint_every >= 0;
}

static ql_status
begin(ql_training *t)
{
    ql_ctx *cx = t->w->cx;
    const ql_train_info info = {.sequences = t->data->count, .targets = count_targets(t->data)};
    ql_course *c = &t->course;
    ql_guard guard;

    *c = (ql_course){.seed = t->v->stage->seed};
    if (t->rule->state_tensors < 0 || t->rule->state_tensors > QL_TRAINER_STATES)
        return QL_FAIL(cx, QL_BUG, "the plugin keeps %d tensors for a parameter, at most %d are possible",
                       t->rule->state_tensors, QL_TRAINER_STATES);
    QL_TRY(cx, ql_train_guard(t, &guard));
    QL_TRY(cx, ql_guard_close(cx, &guard, t->rule->begin(cx, t->self, &info, c)));
    if (!can_be(c))
        return QL_FAIL(cx, QL_BUG,
                       "the plugin asks for what can't be: %lld updates of %lld sequences, rank %d, alpha %g, dropout "
                       "%g, clip %g, a look at the eval data every %lld updates, a checkpoint every %g s",
                       (long long)c->updates, (long long)c->batch, c->rank, c->alpha, c->dropout, c->clip,
                       (long long)c->eval_every, c->checkpoint_every);
    if (c->eval_every == 0)
        c->eval_every = c->updates;
    t->sum = t->course.fp64 ? QL_F64 : QL_F32;
    return QL_OK;
}

ql_status
ql_train_open(ql_training *t)
{
    ql_walk *w = t->w;
    ql_device *d = w->cx->device;

    t->layers = w->model->info.layers;
    t->linears = w->model->info.linear_count;
    t->subsets = w->model->info.subsets;
    t->lowest = t->epoch = -1;
    QL_TRY(w->cx, begin(t));
    QL_TRY(w->cx, check_targets(t));
    if (t->course.fp64)
        d->info.compute_dtype = QL_F64;
    t->compute = d->info.compute_dtype;
    QL_TRY(w->cx, open_blocks(t));
    if (t->lowest < 0)
        return QL_FAIL(w->cx, QL_INVALID,
                       "there is nothing to train: no linear that `targets:` names has an adapter, and `rank:` is 0");
    return QL_OK;
}

static void
close_linear(ql_frozen *f, ql_tuned *a)
{
    ql_tensor *const all[] = {f->q.codes, f->q.scales, f->q.zeros, f->q.g_idx, f->q.levels, f->held, a->factors};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ql_tensor_unref(all[i]);
    for (int i = 0; i < QL_TUNED; i++) {
        ql_tensor_unref(a->p[i]);
        ql_tensor_unref(a->g[i]);
        ql_tensor_unref(a->used[i]);
        for (int s = 0; s < QL_TRAINER_STATES; s++)
            ql_tensor_unref(a->state[i][s]);
    }
}

void
ql_train_close(ql_training *t)
{
    for (int64_t i = 0; t->frozen && t->tuned && i < t->layers * t->linears; i++)
        close_linear(&t->frozen[i], &t->tuned[i]);
    for (int64_t layer = 0; t->blocks && layer < t->layers; layer++)
        ql_block_close(t->blocks[layer]);
    ql_variant_forget(t->w);
    t->w->block = NULL;
    free(t->order);
}
