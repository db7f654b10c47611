/* Between the walk and the store: what was finished earlier is taken in, what was worked out is put there, bit for bit. */
#include <math.h>
#include <string.h>

#include "store/content.h"
#include "walk.h"

#define QL_BITS_MOST 1024 /* of a weight, whatever adapters it has */

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
    if (st == QL_OK && found && w->pass == 0 && w->level == 0)
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

/* --- linears ------------------------------------------------------------------------------------------------- */

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
        st = ql_kept_put(w, &v->linears[l], l, &parcel);
    if (st == QL_OK)
        st = put(w, &e, v->stage->name, &parcel);
    ql_scope_close(w->cx, &scope);
    return st;
}

/* The tally of an entry, of so many blocks: what it counts is all there, and within what can be. */
static ql_status
copy_tally(ql_walk *w, const ql_parcel *parcel, int64_t blocks, ql_tally *t)
{
    const ql_model_info *info = &w->model->info;
    double weights = 0;
    bool fine;

    QL_TRY(w->cx, ql_parcel_copy(w->cx, parcel, "tally", t, sizeof *t));
    for (int l = 0; l < info->linear_count; l++)
        weights += (double)info->linears[l].out * (double)info->linears[l].in;
    fine = t->weights == weights * (double)blocks && t->bits >= t->weights && t->bits <= QL_BITS_MOST * t->weights &&
           t->linears >= 0 && t->linears <= blocks * info->linear_count && t->cost.seconds >= 0 &&
           isfinite(t->cost.seconds);
    for (int i = 0; i < QL_NUM_COUNT; i++)
        fine = fine && t->statuses[i] >= 0 && t->statuses[i] <= t->linears;
    return fine ? QL_OK : QL_FAIL(w->cx, QL_INVALID, "an entry of the cache: its counts are not those of the model");
}

/* What the linears are is what the tally counts; bits, where all of them have codes of their own. */
static ql_status
check_counts(ql_walk *w, const ql_variant *v)
{
    const bool coupled = v->stage->plugin->kind == QL_COMPENSATOR || ql_variant_is_trained(v);
    ql_tally found = {0};
    bool coded = true;

    for (int l = 0; l < w->model->info.linear_count; l++) {
        const ql_linear_state *s = &v->linears[l];

        coded = coded && s->q.codes;
        if (coded)
            found.bits += ql_qlinear_bits(&s->q, coupled ? s->b : s->q.b, coupled ? s->a : s->q.a);
        found.linears += !s->skipped;
        for (int i = 0; i < QL_NUM_COUNT; i++)
            found.statuses[i] += s->own >> i & 1;
    }
    if (found.linears == v->block.linears && (!coded || found.bits == v->block.bits) &&
        memcmp(found.statuses, v->block.statuses, sizeof found.statuses) == 0)
        return QL_OK;
    return QL_FAIL(w->cx, QL_INVALID, "an entry of the cache: its counts are not those of its linears");
}

/* Is `s` what the variant's stage leaves of the linear? A quantizer codes, where it does not keep the weight; a compensator adapters of the
 * rank that it describes, and codes where it couples; nothing where a rule leaves the linear out. */
static bool
is_of_stage(const ql_variant *v, const ql_linear_state *s, const char *linear, int64_t in)
{
    const ql_plugin *p = v->stage->plugin;
    const bool coded = s->q.codes != NULL;
    ql_described said, other;
    bool left_out = !ql_node_describe(v->stage, linear, in, &said);

    for (const ql_variant *before = v->parent; before && before->parent; before = before->parent)
        left_out = left_out || !ql_node_describe(before->stage, linear, in, &other);
    if (s->skipped)
        return left_out && !coded && !s->b && !s->status && s->k == -1;
    if (p->kind == QL_QUANTIZER)
        return !left_out && (coded || p->quantizer->yields & QL_KEEPS_WEIGHT) && !s->b && s->k == -1 &&
               s->status == s->own;
    if (p->kind == QL_COMPENSATOR)
        return !left_out && coded == p->compensator->couples && (s->b || said.rank < 1);
    return true; /* what a trainer or an exporter left */
}

static ql_status
take_linears(ql_walk *w, const ql_parcel *parcel, void *into)
{
    ql_variant *v = into;

    for (int l = 0; l < w->model->info.linear_count; l++) {
        const ql_linear_info *info = &w->model->info.linears[l];
        const char *name = ql_name_in_block(w->cx, &w->model->info, w->layer, info->name);

        if (!name)
            return QL_MEMORY;
        QL_TRY(w->cx, ql_kept_take(w, parcel, l, &v->linears[l]));
        if (!is_of_stage(v, &v->linears[l], name, info->in))
            return QL_FAIL(w->cx, QL_INVALID, "an entry of the cache: %s is not what its stage leaves", name);
    }
    QL_TRY(w->cx, copy_tally(w, parcel, 1, &v->block));
    return check_counts(w, v);
}

static ql_status
take_tally(ql_walk *w, const ql_parcel *parcel, void *into)
{
    ql_variant *v = into;

    QL_TRY(w->cx, copy_tally(w, parcel, w->model->info.layers, &v->all));
    return ql_variant_is_trained(v) ? ql_train_take(w, parcel, v) : QL_OK;
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
    QL_TRY(w->cx, ql_results_begin(w->results));
    QL_TRY(w->cx, ql_results_add(w->results, s->node, QL_WHOLE_MODEL, NULL, &s->facts));
    QL_TRY(w->cx, ql_results_keep(w->results, s->node, QL_WHOLE_MODEL, &cost));
    QL_TRY(w->cx, ql_results_commit(w->results));
    return s->stream || s->prompts ? note_sink(w, s, QL_WHOLE, false) : QL_OK;
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

    if (!ev)
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
    if (w->fresh)
        return QL_OK;
    for (int64_t i = 0; i < w->plan->variant_count; i++)
        if (ql_variant_is_made(w->plan->variants[i]))
            QL_TRY(w->cx, look_up_variant(w, w->plan->variants[i]));
    for (int64_t i = 0; i < w->plan->sink_count; i++)
        QL_TRY(w->cx, look_up_sink(w, &w->plan->sinks[i]));
    tell_kept(w);
    return QL_OK;
}

ql_status
ql_finished_put_whole(ql_walk *w, ql_variant *v)
{
    const ql_entry e = entry_of(v, QL_WHOLE);
    ql_parcel parcel = {0};

    QL_TRY(w->cx, ql_parcel_put(w->cx, &parcel, "tally", &v->all, sizeof v->all));
    if (ql_variant_is_trained(v))
        QL_TRY(w->cx, ql_train_put(w, v, &parcel));
    QL_TRY(w->cx, put(w, &e, v->stage->name, &parcel));
    v->told = true;
    return QL_OK;
}

ql_status
ql_finished_put_all(ql_walk *w)
{
    for (int64_t i = 0; w->store && i < w->plan->variant_count; i++) {
        ql_variant *v = w->plan->variants[i];

        if (ql_variant_is_made(v) && !ql_variant_is_trained(v) && !v->told && !ql_variant_failed(v))
            QL_TRY(w->cx, ql_finished_put_whole(w, v));
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
        if (!v->kept[w->layer] || !v->wanted[w->layer])
            continue;
        QL_TRY(w->cx, v->outlines ? ql_outline_take(w, v) : get(w, &e, v->stage->name, take_linears, v));
    }
    for (int64_t i = 0; i < w->plan->sink_count; i++)
        if (w->plan->sinks[i].kept[w->layer] && w->pass == 0 && w->plan->sinks[i].of->level == w->level)
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
ql_finished_put_variant(ql_walk *w, ql_variant *v)
{
    ql_cost_store(w, v);
    if (!v->told)
        add_tally(&v->all, &v->block);
    if (!w->store && !v->outlines)
        return QL_OK;
    QL_TRY(w->cx, w->store ? put_variant(w, v) : ql_outline_put(w, v));
    v->kept[w->layer] = true;
    return QL_OK;
}

ql_status
ql_finished_put(ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->variant_count; i++) {
        ql_variant *v = w->plan->variants[i];

        if (was_made(w, v))
            QL_TRY(w->cx, ql_finished_put_variant(w, v));
        else if (!v->told && !ql_variant_is_trained(v))
            add_tally(&v->all, &v->block);
    }
    if (w->store)
        QL_TRY(w->cx, ql_store_trim(w->cx, w->store));
    return keep_facts(w);
}

ql_status
ql_finished_forget(ql_walk *w)
{
    for (int64_t i = 0; w->store && w->graph->cache_needed && i < w->plan->variant_count; i++) {
        const ql_variant *v = w->plan->variants[i];

        if (ql_variant_is_made(v) && !ql_variant_failed(v))
            QL_TRY(w->cx, ql_store_forget(w->cx, w->store, v->key, false));
    }
    return QL_OK;
}
