/* Replay: who is wanted where, and the way of a block's results between the walk and the store (stored.c has the form). */
#include "replay.h"

#include <string.h>

#include "stored.h"
#include "walk.h"

static int64_t
blocks_of(const ql_walk *w)
{
    return w->model->info.layers;
}

/* Entry [item, block] of one of the tables. */
static bool *
at(const ql_walk *w, bool *table, int64_t item, int64_t block)
{
    return &table[item * blocks_of(w) + block];
}

/* --- who is wanted where --- */

static void want(ql_walk *w, const ql_unit *u, int64_t block);

/* Somebody reads the statistics of the stream at `block`: it passes all blocks up to there. */
static void
reach(ql_walk *w, int64_t stream, int64_t block)
{
    while (stream >= 0 && w->replay.until[stream] <= block) {
        const ql_unit *through = w->plan->streams[stream].through;
        const int64_t passed = w->replay.until[stream]++;

        want(w, through, passed);
        if (through)
            want(w, through->quantizer, passed);
    }
}

/* Somebody reads what the unit has at `block`: what makes it is wanted too, unless it is in the store. */
static void
want(ql_walk *w, const ql_unit *u, int64_t block)
{
    bool *wanted = u ? at(w, w->replay.unit_wanted, u->id, block) : NULL;

    if (!u || *wanted)
        return;
    *wanted = true;
    if (*at(w, w->replay.unit_kept, u->id, block))
        return;
    want(w, u->quantizer, block);
    reach(w, u->stream, block);
    if (u->quantizer && u->node->plugin->compensator->couples)
        reach(w, u->quantizer->stream, block);
}

static void
want_path(ql_walk *w, const ql_path *path, int64_t block)
{
    want(w, path->quantizer, block);
    want(w, path->compensator, block);
}

/* Is it an exporter? It is handed every block, whatever the store has, and writes everything again. */
static bool
is_export(const ql_evaluation *e)
{
    return e->plan->node->plugin->kind == QL_EXPORTER;
}

/* Is it an evaluator of linears, with rows a block? Else it scores a stream, at the end. */
static bool
is_rating(const ql_evaluation *e)
{
    return !is_export(e) && e->plan->node->plugin->evaluator->linear;
}

static void
decide(ql_walk *w)
{
    for (int64_t block = 0; block < blocks_of(w); block++) {
        for (int64_t i = 0; i < w->plan->unit_count; i++)
            if (!w->work[i].told)
                want(w, w->plan->units[i], block);
        for (int64_t i = 0; i < w->plan->eval_count; i++) {
            const ql_evaluation *e = &w->evaluations[i];

            if (is_rating(e) ? *at(w, w->replay.rows_kept, i, block) : e->told)
                continue;
            want_path(w, &w->plan->paths[e->plan->path], block);
            reach(w, e->plan->stream, block);
        }
    }
}

/* --- what there is --- */

/* After a failure to read an entry that was there: the walk begins again without it. */
static ql_status
settle(ql_walk *w, ql_status st)
{
    w->replay.damaged = w->replay.damaged || st == QL_INVALID;
    return st;
}

static ql_status
look_up_unit(ql_walk *w, int64_t unit)
{
    const ql_store *s = w->replay.store;
    const ql_key key = w->replay.keys->units[unit];

    for (int64_t block = 0; block < blocks_of(w); block++)
        *at(w, w->replay.unit_kept, unit, block) = ql_store_has(s, key, block);
    w->work[unit].told = ql_store_has(s, key, QL_WHOLE);
    return w->work[unit].told ? settle(w, ql_stored_load_tally(w, unit)) : QL_OK;
}

static bool
leaves_files(const ql_evaluation *e)
{
    const ql_evaluator *evaluator = e->plan->node->plugin->evaluator;

    return evaluator->leaves_files && evaluator->leaves_files(e->plan->node->self);
}

static ql_status
look_up_evaluation(ql_walk *w, int64_t i)
{
    ql_evaluation *e = &w->evaluations[i];
    ql_cost cost = {0};

    if (is_export(e) || w->replay.store->fresh)
        return QL_OK;
    if (is_rating(e)) {
        for (int64_t block = 0; block < blocks_of(w); block++)
            QL_TRY(w->cx, ql_results_known(w->results, e->node, block, &cost, at(w, w->replay.rows_kept, i, block)));
        return QL_OK;
    }
    QL_TRY(w->cx, ql_results_known(w->results, e->node, QL_WHOLE_MODEL, &cost, &e->told));
    e->told = e->told && !leaves_files(e);
    if (!e->told)
        return QL_OK;
    e->cost = cost;
    return ql_stored_note(w, i, QL_WHOLE, true);
}

/* How much of the units' work is there, for the user. */
static void
tell_kept(ql_walk *w)
{
    const int64_t all = w->plan->unit_count * blocks_of(w);
    int64_t kept = 0;

    for (int64_t i = 0; i < all; i++)
        kept += w->replay.unit_kept[i];
    if (kept)
        ql_info(w->cx, "cache: %lld of %lld blocks of units are there", (long long)kept, (long long)all);
}

static ql_status
look_up(ql_walk *w)
{
    QL_TRY(w->cx, ql_journal_begin(w->cx, w->replay.journal, w->plan->root->name, blocks_of(w)));
    for (int64_t i = 0; i < w->plan->unit_count; i++)
        QL_TRY(w->cx, look_up_unit(w, i));
    for (int64_t i = 0; i < w->plan->eval_count; i++)
        QL_TRY(w->cx, look_up_evaluation(w, i));
    tell_kept(w);
    return QL_OK;
}

ql_status
ql_replay_open(ql_walk *w)
{
    ql_replay *r = &w->replay;
    const size_t blocks = (size_t)blocks_of(w), units = (size_t)w->plan->unit_count;

    r->unit_kept = ql_alloc(w->cx, units * blocks, sizeof(bool));
    r->unit_wanted = ql_alloc(w->cx, units * blocks, sizeof(bool));
    r->rows_kept = ql_alloc(w->cx, (size_t)w->plan->eval_count * blocks, sizeof(bool));
    r->until = ql_alloc(w->cx, (size_t)w->plan->stream_count, sizeof *r->until);
    if (!r->unit_kept || !r->unit_wanted || !r->rows_kept || !r->until)
        return QL_MEMORY;
    if (r->store)
        QL_TRY(w->cx, look_up(w));
    decide(w);
    return QL_OK;
}

/* --- answers --- */

bool
ql_replay_passes(const ql_walk *w, int64_t stream)
{
    return w->layer < w->replay.until[stream];
}

bool
ql_replay_runs(const ql_walk *w, const ql_unit *u)
{
    return *at(w, w->replay.unit_wanted, u->id, w->layer) && !*at(w, w->replay.unit_kept, u->id, w->layer);
}

static bool
rates_at(const ql_walk *w, const ql_evaluation *e, int64_t block)
{
    return is_export(e) || (is_rating(e) && !*at(w, w->replay.rows_kept, e - w->evaluations, block));
}

bool
ql_replay_rates(const ql_walk *w, const ql_evaluation *e)
{
    return rates_at(w, e, w->layer);
}

bool
ql_replay_reads(const ql_walk *w, int64_t stream)
{
    for (int64_t i = 0; i < w->plan->unit_count; i++) {
        const ql_unit *u = w->plan->units[i];
        const bool supplied = u->quantizer && u->node->plugin->compensator->couples && u->quantizer->stream == stream;

        if ((u->stream == stream || supplied) && ql_replay_runs(w, u))
            return true;
    }
    for (int64_t i = 0; i < w->plan->eval_count; i++)
        if (w->plan->evals[i].stream == stream && ql_replay_rates(w, &w->evaluations[i]))
            return true;
    return false;
}

bool
ql_replay_idle(const ql_walk *w, int64_t block)
{
    bool busy = w->exam_count > 0;

    for (int64_t i = 0; i < w->plan->unit_count; i++)
        busy = busy || *at(w, w->replay.unit_wanted, i, block);
    for (int64_t i = 0; i < w->plan->eval_count; i++)
        busy = busy || rates_at(w, &w->evaluations[i], block);
    for (int64_t i = 0; i < w->plan->stream_count; i++)
        busy = busy || block < w->replay.until[i];
    return !busy;
}

/* --- block by block --- */

ql_status
ql_replay_begin(ql_walk *w)
{
    const ql_replay *r = &w->replay;

    for (int64_t i = 0; i < w->plan->unit_count; i++) {
        w->work[i].block = (ql_tally){0};
        if (*at(w, r->unit_wanted, i, w->layer) && *at(w, r->unit_kept, i, w->layer))
            QL_TRY(w->cx, settle(w, ql_stored_load_unit(w, i)));
    }
    for (int64_t i = 0; i < w->plan->eval_count; i++)
        if (r->store && *at(w, r->rows_kept, i, w->layer))
            QL_TRY(w->cx, ql_stored_note(w, i, w->layer, true));
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

/* Has the unit just worked out its part of the block? */
static bool
has_run(const ql_walk *w, const ql_unit *u)
{
    return ql_replay_runs(w, u) && !ql_unit_failed(w, u);
}

/* Has the evaluator just rated the linears of the block? */
static bool
has_rated(const ql_walk *w, const ql_evaluation *e)
{
    return is_rating(e) && ql_replay_rates(w, e) && !ql_evaluation_failed(w, e);
}

/* Facts of the block are finished: one transaction, then the journal. */
static ql_status
keep_facts(ql_walk *w)
{
    const ql_cost none = {0};

    if (!w->folder)
        return QL_OK;
    QL_TRY(w->cx, ql_results_begin(w->results));
    for (int64_t i = 0; i < w->plan->eval_count; i++)
        if (has_rated(w, &w->evaluations[i]))
            QL_TRY(w->cx, ql_results_keep(w->results, w->evaluations[i].node, w->layer, &none));
    QL_TRY(w->cx, ql_results_commit(w->results));
    for (int64_t i = 0; i < w->plan->eval_count && w->replay.store; i++)
        if (has_rated(w, &w->evaluations[i]))
            QL_TRY(w->cx, ql_stored_note(w, i, w->layer, false));
    return QL_OK;
}

/* What was worked out in the block goes to the store. */
static ql_status
save_block(ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->unit_count; i++)
        if (has_run(w, w->plan->units[i]))
            QL_TRY(w->cx, ql_stored_save_unit(w, i));
    return ql_store_trim(w->cx, w->replay.store);
}

ql_status
ql_replay_end(ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->unit_count; i++) {
        if (has_run(w, w->plan->units[i]))
            ql_cost_store(w, w->plan->units[i]);
        if (!w->work[i].told)
            add_tally(&w->work[i].all, &w->work[i].block);
    }
    if (w->replay.store)
        QL_TRY(w->cx, save_block(w));
    return keep_facts(w);
}

ql_status
ql_replay_finish(ql_walk *w)
{
    for (int64_t i = 0; w->replay.store && i < w->plan->unit_count; i++)
        if (!w->work[i].told && !ql_unit_failed(w, w->plan->units[i]))
            QL_TRY(w->cx, ql_stored_save_tally(w, i));
    return QL_OK;
}

ql_status
ql_replay_scored(ql_walk *w, const ql_evaluation *e)
{
    ql_cost cost = e->cost;

    if (e->exam) /* the stream is passed for the evaluator's sake */
        ql_cost_add(&cost, &e->exam->streams[e->plan->path].cost);
    QL_TRY(w->cx, ql_results_begin(w->results));
    QL_TRY(w->cx, ql_results_add(w->results, e->node, QL_WHOLE_MODEL, NULL, &e->facts));
    QL_TRY(w->cx, ql_results_keep(w->results, e->node, QL_WHOLE_MODEL, &cost));
    QL_TRY(w->cx, ql_results_commit(w->results));
    return w->replay.store && e->exam ? ql_stored_note(w, e - w->evaluations, QL_WHOLE, false) : QL_OK;
}
