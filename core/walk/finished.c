/* Between the walk and the store: what was finished earlier is taken in, what was worked out is put there, bit for bit. */
#include <string.h>

#include "store/content.h"
#include "tensor/tensor.h"
#include "walk.h"

/* --- entries -------------------------------------------------------------------------------------------------- */

/* Store first, then journal: what the journal tells is there. */
static ql_status
note(ql_walk *w, const ql_entry *e, const char *stage, bool replayed)
{
    return ql_journal_put(
        w->cx, w->journal,
        &(ql_journal_line){.block = e->block, .stage = stage, .what = e->about, .key = e->key, .replayed = replayed});
}

static ql_status
put(ql_walk *w, const ql_entry *e, const char *stage, ql_parcel *parcel)
{
    QL_TRY(w->cx, ql_store_put(w->cx, w->store, e, parcel));
    return note(w, e, stage, false);
}

/* Hands the entry to `take`, whose INVALID says that it doesn't serve. Where it was there and is not any longer, the walk begins again. */
static ql_status
get(ql_walk *w, const ql_entry *e, const char *stage, ql_status (*take)(ql_walk *, const ql_parcel *, void *),
    void *into)
{
    ql_parcel parcel;
    ql_scope scope;
    bool found;
    ql_status st;

    ql_scope_open(w->cx, &scope);
    st = ql_store_get(w->cx, w->store, e, &parcel, &found);
    if (st == QL_OK && found) {
        st = take(w, &parcel, into);
        if (st == QL_INVALID) {
            found = false;
            st = ql_store_drop(w->cx, w->store, e);
        }
    }
    if (st == QL_OK && found)
        st = note(w, e, stage, true);
    if (st == QL_OK && !found) {
        w->damaged = true;
        st = QL_FAIL(w->cx, QL_INVALID, "the cache has lost what '%s' made", stage);
    }
    ql_scope_close(w->cx, &scope);
    return st;
}

static ql_entry
entry_of(const ql_variant *v, int64_t block)
{
    return (ql_entry){
        .key = v->key, .block = block, .kind = block == QL_WHOLE ? "tally" : "linears", .about = v->about};
}

/* --- linears -------------------------------------------------------------------------------------------------- */

typedef struct field { /* of a linear's state */
    const char *name;  /* of a tensor, in the parcel */
    size_t offset, bytes;
} field;

#define TENSOR(name, member)                       \
    {                                              \
        name, offsetof(ql_linear_state, member), 0 \
    }
#define VALUE(member)                                                                   \
    {                                                                                   \
        NULL, offsetof(ql_linear_state, member), sizeof(((ql_linear_state *)0)->member) \
    }

static const field tensors[] = {
    TENSOR("codes", q.codes),
    TENSOR("scales", q.scales),
    TENSOR("zeros", q.zeros),
    TENSOR("g_idx", q.g_idx),
    TENSOR("levels", q.levels),
    TENSOR("own_b", q.b),
    TENSOR("own_a", q.a),
    TENSOR("b", b),
    TENSOR("a", a),
};
static const field values[] = {
    VALUE(skipped),     VALUE(status),           VALUE(own),
    VALUE(k),           VALUE(q.grid.bits),      VALUE(q.grid.group),
    VALUE(q.grid.sym),  VALUE(q.grid.mse),       VALUE(q.grid.scale_dtype),
    VALUE(q.grid.fp64), VALUE(q.grid.exponents), VALUE(q.grid.free_zeros),
    VALUE(q.status),    VALUE(q.damp),           VALUE(q.loss),
    VALUE(q.dead),
};

#define TENSORS (sizeof tensors / sizeof *tensors)
#define VALUES (sizeof values / sizeof *values)

static ql_tensor **
tensor_at(ql_linear_state *s, const field *f)
{
    return (ql_tensor **)(void *)((char *)s + f->offset);
}

static const char *
part_name(ql_ctx *cx, int linear, const char *name)
{
    return ql_format(cx, "%d.%s", linear, name);
}

/* Which tensors the state has, as bits: one that an entry has lost is missed. */
static uint32_t
present(ql_linear_state *s)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < TENSORS; i++)
        bits |= (uint32_t)(*tensor_at(s, &tensors[i]) != NULL) << i;
    return bits;
}

/* All values one behind the other, to or from `bytes`; how many bytes they are. */
static size_t
copy_values(ql_linear_state *s, char *bytes, bool out)
{
    size_t used = 0;

    for (size_t i = 0; i < VALUES; used += values[i++].bytes) {
        char *member = (char *)s + values[i].offset;

        if (bytes && out)
            memcpy(bytes + used, member, values[i].bytes);
        else if (bytes && values[i].bytes == sizeof(bool))
            *member = bytes[used] != 0;
        else if (bytes)
            memcpy(member, bytes + used, values[i].bytes);
    }
    return used;
}

static ql_status
put_linear(ql_walk *w, ql_linear_state *s, int l, ql_parcel *parcel)
{
    const size_t bytes = copy_values(s, NULL, true);
    char *record = ql_alloc(w->cx, bytes, 1);
    uint32_t *bits = ql_alloc(w->cx, 1, sizeof *bits);

    if (!record || !bits)
        return QL_MEMORY;
    (void)copy_values(s, record, true);
    *bits = present(s);
    QL_TRY(w->cx, ql_parcel_put(w->cx, parcel, part_name(w->cx, l, "values"), record, bytes));
    QL_TRY(w->cx, ql_parcel_put(w->cx, parcel, part_name(w->cx, l, "present"), bits, sizeof *bits));
    for (size_t i = 0; i < TENSORS; i++)
        QL_TRY(w->cx,
               ql_parcel_put_tensor(w->cx, parcel, part_name(w->cx, l, tensors[i].name), *tensor_at(s, &tensors[i])));
    return QL_OK;
}

static ql_status
put_variant(ql_walk *w, ql_variant *v)
{
    const ql_entry e = entry_of(v, w->layer);
    ql_parcel parcel = {0};
    ql_scope scope;
    ql_status st;

    ql_scope_open(w->cx, &scope);
    st = ql_parcel_put(w->cx, &parcel, "tally", &v->block, sizeof v->block);
    for (int l = 0; st == QL_OK && l < w->model->info.linear_count; l++)
        st = put_linear(w, &v->linears[l], l, &parcel);
    if (st == QL_OK)
        st = put(w, &e, v->stage->name, &parcel);
    ql_scope_close(w->cx, &scope);
    return st;
}

/* --- what comes back ------------------------------------------------------------------------------------------ */

/* A tensor of that shape, -1: of any; NULL passes where it need not be there. */
static bool
fits(const ql_tensor *t, ql_dtype dtype, int64_t rows, int64_t cols)
{
    return !t || (ql_dtype_of(t) == dtype && (rows < 0 || ql_dim(t, 0) == rows) &&
                  (cols < 0 ? ql_ndim(t) == 1 : ql_ndim(t) == 2 && ql_dim(t, 1) == cols));
}

static bool
adapter_fits(const ql_tensor *b, const ql_tensor *a, const ql_linear_info *info)
{
    if (!b || !a)
        return !b && !a;
    return ql_ndim(b) == 2 && ql_ndim(a) == 2 && ql_dim(b, 0) == info->out && ql_dim(a, 1) == info->in &&
           ql_dim(b, 1) == ql_dim(a, 0) && ql_dtype_of(b) == ql_dtype_of(a);
}

/* Every group that g_idx names is one that has scales. */
static ql_status
check_groups(ql_walk *w, const ql_tensor *g_idx, int64_t groups, bool *fine)
{
    const int32_t *at;

    QL_TRY(w->cx, ql_map(w->cx, g_idx, QL_READ, &at));
    for (int64_t i = 0; i < ql_count(g_idx); i++)
        *fine = *fine && at[i] >= 0 && at[i] < groups;
    return ql_unmap(w->cx, g_idx);
}

static bool
is_scale_dtype(ql_dtype d)
{
    return d == QL_F16 || d == QL_BF16 || d == QL_F32;
}

/* What is read has the shapes that its users take for granted. */
static ql_status
check_linear(ql_walk *w, const ql_linear_state *s, int l)
{
    const ql_linear_info *info = &w->model->info.linears[l];
    const ql_qlinear *q = &s->q;
    const ql_grid *g = &q->grid;
    const ql_dtype number = g->fp64 ? QL_F64 : QL_F32;
    bool fine = adapter_fits(s->b, s->a, info) && adapter_fits(q->b, q->a, info);

    if (q->codes) {
        const int64_t groups = q->scales && ql_ndim(q->scales) == 2 ? ql_dim(q->scales, 1) : 0;

        fine = fine && g->bits >= 1 && g->bits <= 8 && g->group >= 1 && is_scale_dtype(g->scale_dtype) &&
               (q->zeros || q->levels) && fits(q->codes, QL_U8, info->out, info->in) &&
               groups == (info->in + g->group - 1) / g->group && fits(q->scales, number, info->out, groups) &&
               fits(q->zeros, number, info->out, groups) && fits(q->g_idx, QL_I32, info->in, -1) &&
               fits(q->levels, QL_F32, (int64_t)1 << g->bits, -1);
        if (fine && q->g_idx)
            QL_TRY(w->cx, check_groups(w, q->g_idx, groups, &fine));
    }
    return fine ? QL_OK
                : QL_FAIL(w->cx, QL_INVALID, "an entry of the cache: linear %d has another shape than the model's", l);
}

static ql_status
take_linear(ql_walk *w, const ql_parcel *parcel, int l, ql_linear_state *s)
{
    const size_t bytes = copy_values(s, NULL, false);
    char *record = ql_alloc(w->cx, bytes, 1);
    uint32_t bits;

    if (!record)
        return QL_MEMORY;
    QL_TRY(w->cx, ql_parcel_copy(w->cx, parcel, part_name(w->cx, l, "values"), record, bytes));
    QL_TRY(w->cx, ql_parcel_copy(w->cx, parcel, part_name(w->cx, l, "present"), &bits, sizeof bits));
    *s = (ql_linear_state){0};
    (void)copy_values(s, record, false);
    for (size_t i = 0; i < TENSORS; i++) {
        ql_tensor *t;

        QL_TRY(w->cx, ql_parcel_tensor(w->cx, parcel, part_name(w->cx, l, tensors[i].name), &t));
        *tensor_at(s, &tensors[i]) = t ? ql_tensor_ref(t) : NULL;
        if (t)
            t->lent = true;
    }
    if (bits != present(s))
        return QL_FAIL(w->cx, QL_INVALID, "an entry of the cache: linear %d lacks a tensor", l);
    return check_linear(w, s, l);
}

static ql_status
take_linears(ql_walk *w, const ql_parcel *parcel, void *into)
{
    ql_variant *v = into;

    for (int l = 0; l < w->model->info.linear_count; l++)
        QL_TRY(w->cx, take_linear(w, parcel, l, &v->linears[l]));
    return ql_parcel_copy(w->cx, parcel, "tally", &v->block, sizeof v->block);
}

static ql_status
take_tally(ql_walk *w, const ql_parcel *parcel, void *into)
{
    ql_variant *v = into;

    return ql_parcel_copy(w->cx, parcel, "tally", &v->all, sizeof v->all);
}

/* --- facts of sinks, which lie in the results ----------------------------------------------------------------- */

static ql_status
note_sink(ql_walk *w, const ql_sink *s, int64_t block, bool replayed)
{
    const ql_entry e = {.key = s->key, .block = block, .about = s->about};

    return w->store ? note(w, &e, s->stage->name, replayed) : QL_OK;
}

/* Have the linears of the block just been handed to the evaluator? */
static bool
was_rated(const ql_walk *w, const ql_sink *s)
{
    return s->stage->plugin->kind == QL_EVALUATOR && ql_need_linears(w, s) && !ql_sink_failed(s);
}

/* Facts of the block are finished: one transaction, then the journal. */
static ql_status
keep_facts(ql_walk *w)
{
    const ql_cost none = {0};

    if (!w->folder)
        return QL_OK;
    QL_TRY(w->cx, ql_results_begin(w->results));
    for (int64_t i = 0; i < w->plan->sink_count; i++)
        if (was_rated(w, &w->plan->sinks[i]))
            QL_TRY(w->cx, ql_results_keep(w->results, w->plan->sinks[i].node, w->layer, &none));
    QL_TRY(w->cx, ql_results_commit(w->results));
    for (int64_t i = 0; i < w->plan->sink_count; i++)
        if (was_rated(w, &w->plan->sinks[i]))
            QL_TRY(w->cx, note_sink(w, &w->plan->sinks[i], w->layer, false));
    return QL_OK;
}

ql_status
ql_finished_put_sink(ql_walk *w, ql_sink *s)
{
    ql_cost cost = s->cost;

    if (s->stream) /* which goes forward for the evaluator's sake */
        ql_cost_add(&cost, &s->stream->cost);
    QL_TRY(w->cx, ql_content_check(w->cx, w->plan->inputs)); /* the ends of the model were read, too */
    QL_TRY(w->cx, ql_results_begin(w->results));
    QL_TRY(w->cx, ql_results_add(w->results, s->node, QL_WHOLE_MODEL, NULL, &s->facts));
    QL_TRY(w->cx, ql_results_keep(w->results, s->node, QL_WHOLE_MODEL, &cost));
    QL_TRY(w->cx, ql_results_commit(w->results));
    return s->stream ? note_sink(w, s, QL_WHOLE, false) : QL_OK;
}

/* --- the whole walk ------------------------------------------------------------------------------------------- */

static ql_status
has(ql_walk *w, const ql_entry *e, bool *there)
{
    ql_scope scope;
    ql_status st;

    ql_scope_open(w->cx, &scope);
    st = ql_store_get(w->cx, w->store, e, NULL, there);
    ql_scope_close(w->cx, &scope);
    return st;
}

static ql_status
look_up_variant(ql_walk *w, ql_variant *v)
{
    ql_entry e = entry_of(v, QL_WHOLE);

    QL_TRY(w->cx, has(w, &e, &v->told));
    if (v->told)
        QL_TRY(w->cx, get(w, &e, v->stage->name, take_tally, v));
    for (int64_t block = 0; block < w->model->info.layers; block++) {
        e = entry_of(v, block);
        QL_TRY(w->cx, has(w, &e, &v->kept[block]));
    }
    return QL_OK;
}

static ql_status
look_up_sink(ql_walk *w, ql_sink *s)
{
    const ql_evaluator *ev = s->stage->plugin->kind == QL_EVALUATOR ? s->stage->plugin->evaluator : NULL;
    ql_cost cost = {0};

    if (!ev || w->store->fresh)
        return QL_OK;
    for (int64_t block = 0; ev->linear && block < w->model->info.layers; block++)
        QL_TRY(w->cx, ql_results_known(w->results, s->node, block, &cost, &s->kept[block]));
    if (ev->linear || (ev->leaves_files && ev->leaves_files(s->stage->self)))
        return QL_OK;
    QL_TRY(w->cx, ql_results_known(w->results, s->node, QL_WHOLE_MODEL, &cost, &s->told));
    if (!s->told)
        return QL_OK;
    s->cost = cost;
    return note_sink(w, s, QL_WHOLE, true);
}

/* How much of the work is there, for the user. */
static void
tell_kept(ql_walk *w)
{
    int64_t kept = 0, all = 0;

    for (int64_t i = 0; i < w->plan->variant_count; i++)
        for (int64_t block = 0; ql_variant_is_made(w->plan->variants[i]) && block < w->model->info.layers; block++) {
            kept += w->plan->variants[i]->kept[block];
            all++;
        }
    if (kept)
        ql_info(w->cx, "cache: %lld of %lld blocks of units are there", (long long)kept, (long long)all);
}

ql_status
ql_finished_look_up(ql_walk *w)
{
    if (!w->store)
        return QL_OK;
    QL_TRY(w->cx, ql_journal_begin(w->cx, w->journal, w->plan->root->name, w->model->info.layers));
    for (int64_t i = 0; i < w->plan->variant_count; i++)
        if (ql_variant_is_made(w->plan->variants[i]))
            QL_TRY(w->cx, look_up_variant(w, w->plan->variants[i]));
    for (int64_t i = 0; i < w->plan->sink_count; i++)
        QL_TRY(w->cx, look_up_sink(w, &w->plan->sinks[i]));
    tell_kept(w);
    return QL_OK;
}

ql_status
ql_finished_put_all(ql_walk *w)
{
    for (int64_t i = 0; w->store && i < w->plan->variant_count; i++) {
        ql_variant *v = w->plan->variants[i];
        const ql_entry e = entry_of(v, QL_WHOLE);
        ql_parcel parcel = {0};

        if (!ql_variant_is_made(v) || v->told || ql_variant_failed(v))
            continue;
        QL_TRY(w->cx, ql_parcel_put(w->cx, &parcel, "tally", &v->all, sizeof v->all));
        QL_TRY(w->cx, put(w, &e, v->stage->name, &parcel));
    }
    return QL_OK;
}

/* --- block by block ------------------------------------------------------------------------------------------- */

ql_status
ql_finished_take(ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->variant_count; i++) {
        ql_variant *v = w->plan->variants[i];
        const ql_entry e = entry_of(v, w->layer);

        v->block = (ql_tally){0};
        if (v->kept[w->layer] && v->wanted[w->layer])
            QL_TRY(w->cx, get(w, &e, v->stage->name, take_linears, v));
    }
    for (int64_t i = 0; i < w->plan->sink_count; i++)
        if (w->plan->sinks[i].kept[w->layer])
            QL_TRY(w->cx, note_sink(w, &w->plan->sinks[i], w->layer, true));
    return QL_OK;
}

static void
add_tally(ql_tally *sum, const ql_tally *part)
{
    ql_cost_add(&sum->cost, &part->cost);
    sum->linears += part->linears;
    for (int i = 0; i < QL_NUM_COUNT; i++)
        sum->statuses[i] += part->statuses[i];
    sum->bits += part->bits;
    sum->weights += part->weights;
}

/* Has the variant's part of the block just been made? */
static bool
was_made(const ql_walk *w, const ql_variant *v)
{
    return ql_need_variant(w, v) && !ql_variant_failed(v);
}

ql_status
ql_finished_put(ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->variant_count; i++) {
        ql_variant *v = w->plan->variants[i];

        if (was_made(w, v))
            ql_cost_store(w, v);
        if (!v->told)
            add_tally(&v->all, &v->block);
        if (was_made(w, v) && w->store)
            QL_TRY(w->cx, put_variant(w, v));
    }
    if (w->store)
        QL_TRY(w->cx, ql_store_trim(w->cx, w->store));
    return keep_facts(w);
}
