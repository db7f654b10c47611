/* The training walk: between two levels of the graph the adapters of each trained variant are worked out, update by update, over all
 * blocks (docs/training.md). */
#include "train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "device/guard.h"
#include "tensor/rehearsal.h"
#include "tensor/tensor.h"

#define REHEARSED 1 /* updates of a rehearsal: each is as the others */

/* Every parameter of the model in its order. */
#define EACH_TUNED(t, a) for (ql_tuned *a = (t)->tuned; a < (t)->tuned + (t)->layers * (t)->linears; a++)

/* --- one update ----------------------------------------------------------------------------------------------------- */

/* The first linear whose gradient is no number, for texts. */
static ql_status
fail_nonfinite(ql_training *t, const char *what, double value)
{
    const ql_model_info *info = &t->w->model->info;
    ql_ctx *cx = t->w->cx;

    for (int64_t at = 0; at < t->layers * t->linears; at++)
        for (int i = 0; t->tuned[at].trained && i < QL_TUNED; i++) {
            int64_t bad;

            QL_TRY(cx, ql_nonfinite(cx, t->tuned[at].g[i], &bad));
            if (bad >= 0)
                return QL_FAIL(cx, QL_NUMERIC,
                               "update %lld: the %s is %g; the first gradient that is no number is that of %s",
                               (long long)t->update, what, value,
                               ql_name_in_block(cx, info, at / t->linears, info->linears[at % t->linears].name));
        }
    return QL_FAIL(cx, QL_NUMERIC, "update %lld: the %s is %g", (long long)t->update, what, value);
}

static ql_status
clear_gradients(ql_training *t)
{
    EACH_TUNED(t, a)
    for (int i = 0; a->trained && i < QL_TUNED; i++)
        QL_TRY(t->w->cx, ql_fill(t->w->cx, a->g[i], 0));
    return QL_OK;
}

/* Factors of components onto their gradients, as published. */
static ql_status
scale_gradients(ql_training *t)
{
    ql_ctx *cx = t->w->cx;

    EACH_TUNED(t, a)
    if (a->trained && a->factors) {
        QL_TRY(cx, ql_scale_rows(cx, a->factors, a->g[QL_TUNED_A]));
        QL_TRY(cx, ql_scale_cols(cx, a->factors, a->g[QL_TUNED_B]));
    }
    return QL_OK;
}

/* The norm of all gradients together, which is then at most `clip`. */
static ql_status
clip_gradients(ql_training *t, double *norm)
{
    ql_ctx *cx = t->w->cx;
    double sum = 0, factor;

    EACH_TUNED(t, a)
    for (int i = 0; a->trained && i < QL_TUNED; i++) {
        double part;

        QL_TRY(cx, ql_dot(cx, a->g[i], a->g[i], &part));
        sum += part;
    }
    *norm = sqrt(sum);
    factor = t->course.clip > 0 ? t->course.clip / (*norm + 1e-6) : 1;
    EACH_TUNED(t, a)
    for (int i = 0; a->trained && i < QL_TUNED && factor < 1; i++)
        QL_TRY(cx, ql_axpby(cx, factor, a->g[i], 0, a->g[i]));
    return QL_OK;
}

ql_status
ql_train_guard(ql_training *t, ql_guard *out)
{
    const ql_node *n = t->v->stage;
    const ql_lent lent[] = {{"parameters", t->self, n->plugin->self_size}, {0}};

    return ql_guard_open(t->w->cx, n->foreign, lent, out);
}

static ql_status
update_parameters(ql_training *t, double rate)
{
    ql_ctx *cx = t->w->cx;

    EACH_TUNED(t, a)
    {
        for (int i = 0; a->trained && i < QL_TUNED; i++) {
            const ql_tensor *factors = t->course.scale_gradients ? NULL : a->factors;
            ql_train_param at = {.p = a->p[i],
                                 .rows = i == QL_TUNED_A ? factors : NULL,
                                 .cols = i == QL_TUNED_B ? factors : NULL,
                                 .update = t->update,
                                 .updates = t->course.updates,
                                 .rate = rate};
            ql_scope scope;
            ql_guard guard;
            ql_tensor *g;

            for (int s = 0; s < t->rule->state_tensors; s++)
                at.state[s] = a->state[i][s];
            ql_scope_open(cx, &scope);
            QL_TRY(cx, ql_tensor_lend(cx, a->g[i], &g));
            at.g = g;
            QL_TRY(cx, ql_train_guard(t, &guard));
            QL_TRY(cx, ql_guard_close(cx, &guard, t->rule->update(cx, t->self, &at)));
            ql_scope_close(cx, &scope);
        }
        if (a->trained)
            QL_TRY(cx, ql_train_refresh(t, a));
    }
    return QL_OK;
}

static ql_status
record(ql_training *t, const ql_batch *batch, double loss, double norm, double rate)
{
    const int64_t tokens = batch->corpus.tokens.offsets[batch->corpus.tokens.count];
    ql_ctx *cx = t->w->cx;
    ql_curve *s = &t->v->series;

    t->tokens += tokens;
    t->loss = loss;
    QL_TRY(cx, ql_curve_add(cx, s, "loss", t->update, loss));
    QL_TRY(cx, ql_curve_add(cx, s, "grad_norm", t->update, norm));
    QL_TRY(cx, ql_curve_add(cx, s, "rate", t->update, rate));
    QL_TRY(cx, ql_curve_add(cx, s, "tokens", t->update, (double)tokens));
    return t->lines ? ql_train_line(t, loss, norm, rate) : QL_OK;
}

static ql_status
update(ql_training *t)
{
    const double rate = t->rule->rate(t->self, t->update, t->course.updates);
    ql_ctx *cx = t->w->cx;
    double loss, norm;
    ql_batch batch;

    if (!isfinite(rate))
        return QL_FAIL(cx, QL_BUG, "the plugin's rate at update %lld is %g", (long long)t->update, rate);
    QL_TRY(cx, ql_train_batch(t, t->update, &batch));
    QL_TRY(cx, clear_gradients(t));
    t->dropping = true;
    QL_TRY(cx, ql_train_pass(t, &batch, true, &loss));
    if (t->course.scale_gradients)
        QL_TRY(cx, scale_gradients(t));
    QL_TRY(cx, clip_gradients(t, &norm));
    if (!isfinite(loss) || !isfinite(norm))
        return isfinite(loss) ? fail_nonfinite(t, "norm of the gradients", norm) : fail_nonfinite(t, "loss", loss);
    QL_TRY(cx, update_parameters(t, rate));
    return record(t, &batch, loss, norm, rate);
}

/* --- evaluation ------------------------------------------------------------------------------------------------------- */

static ql_status
evaluate(ql_training *t)
{
    ql_ctx *cx = t->w->cx;
    ql_batch batch;
    double loss;

    QL_TRY(cx, ql_train_all(t, t->eval, &batch));
    t->dropping = false;
    QL_TRY(cx, ql_train_pass(t, &batch, false, &loss));
    if (!isfinite(loss))
        return QL_FAIL(cx, QL_NUMERIC, "update %lld: the loss of the eval data is %g", (long long)t->update, loss);
    return ql_curve_add(cx, &t->v->series, "eval_loss", t->update, loss);
}

static ql_status
look(ql_training *t)
{
    ql_scope scope;
    ql_status st;

    if (!t->eval)
        return QL_OK;
    if (t->w->progress.total > 0)
        ql_progress_step(t->w->cx, &t->w->progress, 0, "a look at the eval data");
    t->looking = -ql_device_seconds(t->w->cx->device);
    ql_scope_open(t->w->cx, &scope);
    st = evaluate(t);
    ql_scope_close(t->w->cx, &scope);
    t->looking += ql_device_seconds(t->w->cx->device);
    return st;
}

/* --- how much stays between forward and backward ------------------------------------------------------------------------ */

/* Bytes that the inner activations of a block take for a token: those of the shortest chunk, passed once. */
static ql_status
measure_inner(ql_training *t, const ql_batch *batch, double *bytes, double *working)
{
    ql_ctx *cx = t->w->cx;
    const ql_device *d = cx->device;
    const ql_span *span = &batch->corpus.spans[0];
    const int64_t tokens = ql_span_tokens(span);
    const ql_tensor **weights;
    const size_t before = d->used;
    size_t decoded;
    ql_inner in = {.made = false};
    ql_tensor *h;

    QL_TRY(cx, ql_train_weights(t, t->layers - 1, &weights));
    decoded = d->used;
    QL_TRY(cx, ql_model_embed(cx, t->w->model, batch->corpus.tokens.ids + span->first_token, tokens, &h));
    QL_TRY(cx, ql_train_forward(t, t->layers - 1, weights, span, h, &in));
    *bytes = (double)(d->used - decoded) / (double)tokens;
    *working = (double)(decoded - before);
    ql_inner_close(cx, &in);
    return QL_OK;
}

/* What the update needs beside: borders, one chunk's activations and their gradients twice, logits. */
static double
other_bytes(const ql_training *t, const ql_batch *batch, double inner, double working)
{
    const double size = (double)ql_dtype_size(t->sum), hidden = (double)t->w->model->info.hidden;
    const ql_tokens *tokens = &batch->corpus.tokens;
    double chunk = 0;

    for (int64_t c = 0; c < batch->corpus.span_count; c++)
        chunk = fmax(chunk, (double)ql_span_tokens(&batch->corpus.spans[c]));
    return (double)(t->layers + 2) * (double)tokens->offsets[tokens->count] * hidden * size + 3 * chunk * inner +
           2 * working + 3 * 64 * 1048576.0;
}

/* As many of the last blocks as there is room for keep what lies inside: more memory, less work, the same bits. */
static ql_status
choose_kept(ql_training *t, const ql_batch *batch)
{
    const ql_device *d = t->w->cx->device;
    const size_t room = ql_device_room(d);
    const int64_t all = t->layers - t->lowest;
    double inner = 0, working = 0, left, each;
    int64_t blocks = all;

    if (room > 0) {
        QL_TRY(t->w->cx, measure_inner(t, batch, &inner, &working));
        left = (double)room - (double)d->used - other_bytes(t, batch, inner, working);
        each = inner * (double)batch->corpus.tokens.offsets[batch->corpus.tokens.count];
        blocks = left < each ? 0 : left / each < (double)all ? (int64_t)(left / each) : all;
    }
    t->keep_from = t->layers - blocks;
    if (d->clock)
        return QL_OK;
    ql_info(t->w->cx, "activations inside %lld of %lld blocks are kept between forward and backward", (long long)blocks,
            (long long)all);
    return QL_OK;
}

static ql_status
plan_memory(ql_training *t)
{
    ql_ctx *cx = t->w->cx;
    ql_batch batch;
    ql_scope scope;
    ql_status st;

    ql_scope_open(cx, &scope);
    st = ql_train_batch(t, 0, &batch);
    if (st == QL_OK)
        st = choose_kept(t, &batch);
    ql_scope_close(cx, &scope);
    return st;
}

/* --- all updates -------------------------------------------------------------------------------------------------------- */

static void
show(ql_training *t)
{
    ql_walk *w = t->w;
    char what[96];

    if (w->progress.total == 0)
        return;
    snprintf(what, sizeof what, "update %lld of %lld, loss %.4f, %.0f tokens/s", (long long)t->update,
             (long long)t->course.updates, t->loss, t->busy > 0 ? (double)t->tokens / t->busy : 0);
    ql_progress_step(w->cx, &w->progress, 1, what);
}

static bool
checkpoint_is_due(const ql_training *t)
{
    const double since = ql_device_seconds(t->w->cx->device) - t->seconds;

    return t->update < t->course.updates && (since >= t->course.checkpoint_every || t->update % ql_train_epoch(t) == 0);
}

/* The user's wish to stop comes between two updates or inside one, which then has changed nothing yet: what is finished is kept. */
static ql_status
stop(ql_training *t, ql_status st)
{
    ql_ctx *cx = t->w->cx;
    const volatile int *const interrupt = cx->interrupt;
    ql_status saved;

    if (st != QL_INTERRUPTED || t->update == 0)
        return st;
    cx->interrupt = NULL;
    saved = ql_train_save(t);
    cx->interrupt = interrupt;
    return saved == QL_OK ? QL_FAIL(cx, st, "stopped after update %lld", (long long)t->update) : saved;
}

static ql_status
run_update(ql_training *t)
{
    const ql_device *d = t->w->cx->device;
    ql_scope scope;
    ql_status st = QL_OK;
    double start;

    if (t->eval && t->update % t->course.eval_every == 0)
        st = look(t);
    start = ql_device_seconds(d);
    ql_scope_open(t->w->cx, &scope);
    if (st == QL_OK)
        st = update(t);
    ql_scope_close(t->w->cx, &scope);
    if (st != QL_OK)
        return stop(t, st);
    t->busy += ql_device_seconds(d) - start;
    t->update++;
    show(t);
    return checkpoint_is_due(t) ? ql_train_save(t) : QL_OK;
}

/* Every adapter becomes what will be stored of it, before anything measures it. */
static ql_status
round_adapters(ql_training *t)
{
    ql_ctx *cx = t->w->cx;

    EACH_TUNED(t, a)
    {
        ql_tensor *rounded[QL_TUNED];
        ql_scope scope;

        if (!a->trained)
            continue;
        ql_scope_open(cx, &scope);
        QL_TRY(cx, ql_train_rounded(t, a, rounded));
        a->scale = 1;
        for (int i = 0; i < QL_TUNED; i++)
            QL_TRY(cx, ql_copy(cx, rounded[i], a->p[i]));
        ql_scope_close(cx, &scope);
        QL_TRY(cx, ql_train_refresh(t, a));
    }
    return QL_OK;
}

static ql_status
run_updates(ql_training *t)
{
    const ql_device *d = t->w->cx->device;
    const int64_t until = d->clock && t->course.updates > REHEARSED ? REHEARSED : t->course.updates;

    if (!d->clock)
        ql_progress_start(t->w->cx, &t->w->progress, (double)(t->course.updates - t->update), t->v->stage->name);
    t->seconds = ql_device_seconds(d);
    while (t->update < until)
        QL_TRY(t->w->cx, run_update(t));
    QL_TRY(t->w->cx, round_adapters(t));
    QL_TRY(t->w->cx, look(t));
    if (d->clock) {
        ql_rehearsal_spend(t->w->cx->device, t->busy / (double)until * (double)(t->course.updates - until));
        ql_rehearsal_spend(t->w->cx->device, t->looking * (double)((t->course.updates - 1) / t->course.eval_every));
    }
    if (t->busy > 0 && !d->clock)
        ql_info(t->w->cx, "%lld tokens, %.0f a second of updates", (long long)t->tokens, (double)t->tokens / t->busy);
    ql_walk_end_progress(t->w);
    return QL_OK;
}

/* --- one variant -------------------------------------------------------------------------------------------------------- */

static ql_status
train(ql_training *t)
{
    ql_ctx *cx = t->w->cx;

    QL_TRY(cx, ql_train_open(t));
    QL_TRY(cx, plan_memory(t));
    QL_TRY(cx, ql_train_resume(t));
    QL_TRY(cx, run_updates(t));
    return ql_train_publish(t);
}

/* What its stages before have in the store is read; nothing else. */
static void
want_chain(ql_walk *w, const ql_variant *v)
{
    for (int64_t i = 0; i < w->plan->variant_count; i++)
        for (int64_t block = 0; block < w->model->info.layers; block++)
            w->plan->variants[i]->wanted[block] = false;
    for (const ql_variant *p = v->parent; p && p->parent; p = p->parent)
        for (int64_t block = 0; block < w->model->info.layers; block++)
            p->wanted[block] = true;
}

static ql_status
open_lines(ql_training *t)
{
    const char *path = t->w->folder ? ql_format(t->w->cx, "%s/" QL_SERIES_FILE, t->w->folder) : NULL;

    if (!t->w->folder)
        return QL_OK;
    return path ? ql_file_stream(t->w->cx, path, "a", &t->lines) : QL_MEMORY;
}

/* Trains in a scope of its own; the device computes as before afterwards. */
static ql_status
train_alone(ql_walk *w, ql_variant *v)
{
    ql_training t = {.w = w, .v = v, .rule = v->stage->plugin->trainer, .self = v->stage->self};
    const ql_dtype compute = w->cx->device->info.compute_dtype;
    ql_scope scope;
    ql_status st;

    QL_TRY(w->cx, ql_train_inputs(&t));
    (void)ql_enter(w->cx, ql_node_site(v->stage, v->title));
    ql_scope_open(w->cx, &scope);
    want_chain(w, v);
    st = open_lines(&t);
    if (st == QL_OK)
        st = train(&t);
    if (t.lines && fclose(t.lines) != 0 && st == QL_OK)
        st = QL_FAIL(w->cx, QL_IO, "can't write to " QL_SERIES_FILE);
    t.lines = NULL;
    ql_train_close(&t);
    w->cx->device->info.compute_dtype = compute;
    ql_scope_close(w->cx, &scope);
    ql_leave(w->cx, (ql_site){0});
    return st;
}

static ql_status
train_variant(ql_walk *w, ql_variant *v)
{
    ql_ctx *cx = w->cx;
    ql_training settled = {.w = w, .v = v};
    ql_meter meter;
    ql_status st;

    QL_TRY(cx, ql_meter_start(w, &meter));
    st = train_alone(w, v);
    if (st != QL_OK)
        (void)ql_where(cx, st, "stage '%s' (%s)", v->stage->name, v->stage->plugin->name);
    if (st != QL_OK && !ql_stays_in_cell(st))
        return st;
    QL_TRY(cx, ql_meter_stop(w, &meter, &v->all.cost));
    if (st != QL_OK)
        return ql_fail_cell(w, &v->failed);
    return ql_train_settle(&settled);
}

ql_status
ql_train_level(ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->variant_count; i++) {
        ql_variant *v = w->plan->variants[i];

        if (v->level != w->level || !ql_variant_is_trained(v))
            continue;
        if (ql_need_training(w, v))
            QL_TRY(w->cx, train_variant(w, v));
        QL_TRY(w->cx, ql_train_tell(w, v));
    }
    return QL_OK;
}
