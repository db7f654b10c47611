/* What stays of training: checkpoints in the store, the finished adapters as every stage's blocks, and numbers and series in the
 * results. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "store/content.h"
#include "tensor/tensor.h"
#include "train.h"

#define CHECKPOINTS 2 /* that are kept: the one before stays whole while the newest is written */

/* --- series --------------------------------------------------------------------------------------------------------- */

ql_status
ql_curve_add(ql_ctx *cx, ql_curve *s, const char *name, int64_t step, double value)
{
    ql_curve_row *row;

    QL_TRY(cx, ql_grow(cx, &s->rows, &s->capacity, s->count + 1, sizeof *s->rows));
    row = &s->rows[s->count++];
    *row = (ql_curve_row){.step = step, .value = value};
    memcpy(row->name, name, strlen(name) < sizeof row->name ? strlen(name) : sizeof row->name - 1);
    return QL_OK;
}

ql_status
ql_train_line(ql_training *t, double loss, double norm, double rate)
{
    FILE *out = t->lines;
    const char *stage = ql_json_quote(t->w->cx, t->v->stage->name, strlen(t->v->stage->name));

    if (!stage)
        return QL_MEMORY;
    fprintf(out,
            "{\"stage\":%s,\"key\":\"%016" PRIx64 "%016" PRIx64 "\",\"update\":%" PRId64 ",\"loss\":%.17g,"
            "\"grad_norm\":%.17g,\"rate\":%.17g}\n",
            stage, t->v->key.half[0], t->v->key.half[1], t->update, loss, norm, rate);
    return fflush(out) == 0 && !ferror(out) ? QL_OK : QL_FAIL(t->w->cx, QL_IO, "can't write to " QL_SERIES_FILE);
}

static ql_status
put_series(ql_ctx *cx, const ql_curve *s, ql_parcel *parcel)
{
    static const char nothing;

    return ql_parcel_put(cx, parcel, "series", s->count ? (const void *)s->rows : &nothing,
                         (size_t)s->count * sizeof *s->rows);
}

/* INVALID where it is none. */
static ql_status
take_series(ql_ctx *cx, const ql_parcel *parcel, ql_curve *out)
{
    const void *data;
    size_t bytes;

    QL_TRY(cx, ql_parcel_find(cx, parcel, "series", &data, &bytes));
    if (bytes % sizeof *out->rows != 0)
        return QL_FAIL(cx, QL_INVALID, "an entry of the cache: its series is cut");
    out->count = (int64_t)(bytes / sizeof *out->rows);
    QL_TRY(cx, ql_grow(cx, &out->rows, &out->capacity, out->count + 1, sizeof *out->rows));
    memcpy(out->rows, data, bytes);
    for (int64_t i = 0; i < out->count; i++)
        if (memchr(out->rows[i].name, '\0', sizeof out->rows[i].name) == NULL || out->rows[i].step < 0)
            return QL_FAIL(cx, QL_INVALID, "an entry of the cache: row %lld of its series is none", (long long)i);
    return QL_OK;
}

ql_status
ql_train_put(ql_walk *w, const ql_variant *v, ql_parcel *parcel)
{
    QL_TRY(w->cx, put_series(w->cx, &v->series, parcel));
    return ql_parcel_put(w->cx, parcel, "sums", &v->sums, sizeof v->sums);
}

ql_status
ql_train_take(ql_walk *w, const ql_parcel *parcel, ql_variant *v)
{
    QL_TRY(w->cx, take_series(w->cx, parcel, &v->series));
    return ql_parcel_copy(w->cx, parcel, "sums", &v->sums, sizeof v->sums);
}

/* --- checkpoints ---------------------------------------------------------------------------------------------------- */

/* A node of its own in the store, so that it goes as a whole. */
static ql_entry
entry_of(const ql_training *t, int64_t slot)
{
    ql_entry e = {.key = t->v->key, .block = slot, .kind = "checkpoint", .about = t->v->about};

    e.key.half[0] ^= UINT64_C(0x636865636b706f69);
    return e;
}

/* Name and place of tensor i of a linear's state: A, B, then what the rule keeps of each. */
static ql_tensor **
state_of(ql_ctx *cx, ql_training *t, int64_t at, int i, const char **name)
{
    ql_tuned *a = &t->tuned[at];
    const int which = i % QL_TUNED, kept = i / QL_TUNED - 1;

    *name = ql_format(cx, "%lld.%d", (long long)at, i);
    return kept < 0 ? &a->p[which] : &a->state[which][kept];
}

static ql_status
save(ql_training *t)
{
    ql_walk *w = t->w;
    const ql_entry e = entry_of(t, t->saved % CHECKPOINTS);
    ql_parcel parcel = {0};

    QL_TRY(w->cx, ql_parcel_put(w->cx, &parcel, "update", &t->update, sizeof t->update));
    QL_TRY(w->cx, put_series(w->cx, &t->v->series, &parcel));
    for (int64_t at = 0; at < t->layers * t->linears; at++)
        for (int i = 0; t->tuned[at].trained && i < QL_TUNED * (1 + t->rule->state_tensors); i++) {
            const char *name;
            ql_tensor **tensor = state_of(w->cx, t, at, i, &name);

            QL_TRY(w->cx, ql_parcel_put_tensor(w->cx, &parcel, name, *tensor));
        }
    QL_TRY(w->cx, ql_content_check(w->cx, w->plan->inputs));
    QL_TRY(w->cx, ql_store_put(w->cx, w->store, &e, &parcel));
    t->saved++;
    return QL_OK;
}

ql_status
ql_train_save(ql_training *t)
{
    ql_scope scope;
    ql_status st;

    if (!t->w->store)
        return QL_OK;
    ql_scope_open(t->w->cx, &scope);
    st = save(t);
    ql_scope_close(t->w->cx, &scope);
    t->seconds = ql_device_seconds(t->w->cx->device);
    return st;
}

static bool
same_shape(const ql_tensor *a, const ql_tensor *b)
{
    return a && ql_ndim(a) == 2 && ql_dtype_of(a) == ql_dtype_of(b) && ql_dim(a, 0) == ql_dim(b, 0) &&
           ql_dim(a, 1) == ql_dim(b, 1);
}

static ql_status
take_tensors(ql_training *t, const ql_parcel *parcel)
{
    ql_ctx *cx = t->w->cx;

    for (int64_t at = 0; at < t->layers * t->linears; at++)
        for (int i = 0; t->tuned[at].trained && i < QL_TUNED * (1 + t->rule->state_tensors); i++) {
            const char *name;
            ql_tensor **tensor = state_of(cx, t, at, i, &name), *found;
            ql_scope scope;

            ql_scope_open(cx, &scope);
            QL_TRY(cx, ql_parcel_tensor(cx, parcel, name, &found));
            if (!same_shape(found, *tensor))
                return QL_FAIL(cx, QL_INVALID, "a checkpoint in the cache: tensor %s is not of its adapter", name);
            QL_TRY(cx, ql_copy(cx, found, *tensor));
            ql_scope_close(cx, &scope);
        }
    return QL_OK;
}

/* Which slot has the newest checkpoint that is whole; -1: none. */
static ql_status
newest(ql_training *t, int64_t *slot, int64_t *update)
{
    ql_walk *w = t->w;

    *slot = -1;
    *update = 0;
    for (int64_t i = 0; i < CHECKPOINTS; i++) {
        const ql_entry e = entry_of(t, i);
        ql_parcel parcel;
        ql_scope scope;
        int64_t at = -1;
        bool found;

        ql_scope_open(w->cx, &scope);
        QL_TRY(w->cx, ql_store_get(w->cx, w->store, &e, &parcel, &found));
        if (found)
            QL_TRY(w->cx, ql_parcel_copy(w->cx, &parcel, "update", &at, sizeof at));
        ql_scope_close(w->cx, &scope);
        if (at > *update && at <= t->course.updates) {
            *slot = i;
            *update = at;
        }
    }
    return QL_OK;
}

static ql_status
resume(ql_training *t, int64_t slot)
{
    ql_walk *w = t->w;
    const ql_entry e = entry_of(t, slot);
    ql_parcel parcel;
    bool found;

    QL_TRY(w->cx, ql_store_get(w->cx, w->store, &e, &parcel, &found));
    if (!found)
        return QL_OK;
    QL_TRY(w->cx, take_tensors(t, &parcel));
    QL_TRY(w->cx, take_series(w->cx, &parcel, &t->v->series));
    QL_TRY(w->cx, ql_parcel_copy(w->cx, &parcel, "update", &t->update, sizeof t->update));
    t->saved = slot + 1;
    ql_info(w->cx, "goes on after update %lld of %lld", (long long)t->update, (long long)t->course.updates);
    for (int64_t at = 0; at < t->layers * t->linears; at++)
        if (t->tuned[at].trained)
            QL_TRY(w->cx, ql_train_refresh(t, &t->tuned[at]));
    return QL_OK;
}

ql_status
ql_train_resume(ql_training *t)
{
    int64_t slot, update;
    ql_scope scope;
    ql_status st;

    if (!t->w->store || t->w->fresh)
        return QL_OK;
    QL_TRY(t->w->cx, newest(t, &slot, &update));
    if (slot < 0)
        return QL_OK;
    ql_scope_open(t->w->cx, &scope);
    st = resume(t, slot);
    ql_scope_close(t->w->cx, &scope);
    return st;
}

/* --- the end -------------------------------------------------------------------------------------------------------- */

/* |BA - B'A'|^2 and |B'A'|^2 against what the stage before left. */
static ql_status
add_moved(ql_training *t, int l, const ql_tensor *b, const ql_tensor *a, double *moved, double *start)
{
    ql_ctx *cx = t->w->cx;
    const ql_tensor *b0, *a0;
    ql_tensor *ba, *part, *wide;
    double sum = 0;

    QL_TRY(cx, ql_new(cx, QL_F32, ql_dim(b, 0), ql_dim(a, 1), &ba));
    QL_TRY(cx, ql_convert(cx, b, QL_F32, &part));
    QL_TRY(cx, ql_convert(cx, a, QL_F32, &wide));
    QL_TRY(cx, ql_gemm(cx, QL_NN, 1, part, wide, 0, ba));
    ql_train_start(t, l, &b0, &a0);
    if (a0) {
        ql_tensor *before;

        QL_TRY(cx, ql_new(cx, QL_F32, ql_dim(b, 0), ql_dim(a, 1), &before));
        QL_TRY(cx, ql_convert(cx, b0, QL_F32, &part));
        QL_TRY(cx, ql_convert(cx, a0, QL_F32, &wide));
        QL_TRY(cx, ql_gemm(cx, QL_NN, 1, part, wide, 0, before));
        QL_TRY(cx, ql_dot(cx, before, before, &sum));
        *start += sum;
        QL_TRY(cx, ql_axpby(cx, -1, before, 1, ba));
    }
    QL_TRY(cx, ql_dot(cx, ba, ba, &sum));
    *moved += sum;
    return QL_OK;
}

/* The variant's state of linear l: what was trained, rounded already; what was not, as it came. */
static ql_status
publish_linear(ql_training *t, int64_t layer, int l, double *moved, double *start)
{
    ql_ctx *cx = t->w->cx;
    const ql_tuned *a = ql_tuned_at(t, layer, l);
    ql_linear_state *s = &t->v->linears[l];
    const ql_tensor *b0, *a0;
    ql_tensor *made[QL_TUNED];

    *s = (ql_linear_state){.k = a->k};
    ql_train_start(t, l, &b0, &a0);
    if (a->rank == 0)
        return QL_OK;
    if (!a->trained) {
        s->b = ql_tensor_ref(b0);
        s->a = ql_tensor_ref(a0);
        return QL_OK;
    }
    QL_TRY(cx, ql_train_rounded(t, a, made));
    QL_TRY(cx, add_moved(t, l, made[QL_TUNED_B], made[QL_TUNED_A], moved, start));
    s->a = ql_tensor_ref(made[QL_TUNED_A]);
    s->b = ql_tensor_ref(made[QL_TUNED_B]);
    ql_tensor_seal(s->a);
    ql_tensor_seal(s->b);
    t->v->sums.fresh += a->fresh;
    return QL_OK;
}

static ql_status
publish_block(ql_training *t, int64_t layer, double *moved, double *start)
{
    ql_walk *w = t->w;

    w->layer = layer;
    w->block = t->blocks[layer];
    QL_TRY(w->cx, ql_finished_take(w));
    for (int l = 0; l < t->linears; l++) {
        ql_scope scope;

        ql_scope_open(w->cx, &scope);
        QL_TRY(w->cx, publish_linear(t, layer, l, moved, start));
        ql_scope_close(w->cx, &scope);
    }
    t->v->block = (ql_tally){.linears = t->linears};
    QL_TRY(w->cx, ql_finished_put_variant(w, t->v));
    ql_variant_forget(w);
    w->block = NULL;
    return QL_OK;
}

/* The whole comes last: with it the store says that all is there. */
ql_status
ql_train_publish(ql_training *t)
{
    ql_walk *w = t->w;
    double moved = 0, start = 0;

    t->v->sums = (ql_train_sums){.updates = t->course.updates};
    for (int64_t i = 0; i < t->v->series.count; i++)
        if (strcmp(t->v->series.rows[i].name, "tokens") == 0)
            t->v->sums.tokens += (int64_t)t->v->series.rows[i].value;
    QL_TRY(w->cx, ql_content_check(w->cx, w->plan->inputs));
    for (int64_t layer = 0; layer < t->layers; layer++) {
        ql_scope scope;

        ql_scope_open(w->cx, &scope);
        QL_TRY(w->cx, publish_block(t, layer, &moved, &start));
        ql_scope_close(w->cx, &scope);
    }
    t->v->sums.moved = start > 0 ? sqrt(moved / start) : NAN;
    return QL_OK;
}

ql_status
ql_train_settle(ql_training *t)
{
    const ql_entry e = entry_of(t, 0);

    if (!t->w->store)
        return QL_OK;
    QL_TRY(t->w->cx, ql_finished_put_whole(t->w, t->v));
    return ql_store_forget(t->w->cx, t->w->store, e.key, true);
}

/* --- the results ---------------------------------------------------------------------------------------------------- */

/* The last value of a series; NaN: none. */
static double
last_of(const ql_curve *s, const char *name)
{
    for (int64_t i = s->count; i-- > 0;)
        if (strcmp(s->rows[i].name, name) == 0)
            return s->rows[i].value;
    return NAN;
}

/* The mean loss of the last tenth of all updates. */
static double
train_loss(const ql_variant *v)
{
    const int64_t tenth = v->sums.updates / 10, from = v->sums.updates - (tenth > 0 ? tenth : 1);
    double sum = 0;
    int64_t n = 0;

    for (int64_t i = 0; i < v->series.count; i++)
        if (strcmp(v->series.rows[i].name, "loss") == 0 && v->series.rows[i].step >= from) {
            sum += v->series.rows[i].value;
            n++;
        }
    return n ? sum / (double)n : NAN;
}

static ql_status
tell(ql_walk *w, const ql_variant *v, ql_facts *f)
{
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"eval_loss", last_of(&v->series, "eval_loss")},
        {"train_loss", train_loss(v)},
        {"updates", (double)v->sums.updates},
        {"tokens", (double)v->sums.tokens},
        {"moved", v->sums.moved},
    };

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!isnan(numbers[i].value))
            QL_TRY(w->cx, ql_fact(w->cx, f, numbers[i].name, NULL, numbers[i].value));
    QL_TRY(w->cx, ql_results_begin(w->results));
    QL_TRY(w->cx, ql_results_add(w->results, v->node, QL_WHOLE_MODEL, NULL, f));
    QL_TRY(w->cx, ql_results_keep(w->results, v->node, QL_WHOLE_MODEL, &v->all.cost));
    QL_TRY(w->cx, ql_results_forget_series(w->results, v->node));
    for (int64_t i = 0; i < v->series.count; i++)
        QL_TRY(w->cx, ql_results_series(w->results, v->node, v->series.rows[i].name, v->series.rows[i].step,
                                        v->series.rows[i].value));
    return ql_results_commit(w->results);
}

ql_status
ql_train_tell(ql_walk *w, ql_variant *v)
{
    ql_facts facts = {0};
    ql_status st;

    if (!w->folder || !v->told || ql_variant_failed(v))
        return QL_OK;
    st = tell(w, v, &facts);
    ql_facts_fini(&facts);
    return st;
}
