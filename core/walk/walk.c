/* One walk over one model: streams are opened, blocks go by, sinks end. */
#include "walk.h"

#include <stdio.h>
#include <stdlib.h>

#include "device/host.h"
#include "store/content.h"
#include "tensor/tensor.h"

/* --- blocks --------------------------------------------------------------------------------------------------- */

/* The block that was begun is not wanted, or not yet. */
static void
forget_next(ql_walk *w)
{
    if (w->next)
        ql_uploads_settle(w->cx);
    ql_block_close(w->next);
    w->next = NULL;
}

/* The next block comes nearer while this one is worked on: to the device, where that has memory of its own and room. */
static ql_status
begin_next(ql_walk *w)
{
    ql_block *next;
    ql_status st;

    if (w->layer + 1 == w->model->info.layers || !ql_need_block(w, w->layer + 1))
        return QL_OK;
    if (w->cx->device->info.host_memory) {
        if (!w->cx->device->clock)
            ql_block_prefetch(w->cx, w->model, w->layer + 1);
        return QL_OK;
    }
    st = ql_block_begin(w->cx, w->model, w->layer + 1, &next);
    if (st == QL_MEMORY) {
        ql_debug(w->cx, "memory: %s", ql_error(w->cx));
        ql_error_clear(w->cx);
        return QL_OK;
    }
    w->next = next;
    return st;
}

/* The weights of the block at hand come to the device, and all streams stand at its beginning. */
static ql_status
open_block(ql_walk *w)
{
    ql_meter meter;

    QL_TRY(w->cx, ql_meter_start(w, &meter));
    w->cx->holds = "weights of blocks";
    if (w->next && ql_block_layer(w->next) != w->layer)
        forget_next(w);
    w->block = w->next;
    w->next = NULL;
    if (w->block)
        QL_TRY(w->cx, ql_block_finish(w->cx, w->block));
    else
        QL_TRY(w->cx, ql_block_open(w->cx, w->model, w->layer, &w->block));
    QL_TRY(w->cx, begin_next(w));
    w->cx->holds = "hidden states";
    for (int64_t s = 0; s < w->stream_count; s++)
        ql_stream_block_begin(w->streams[s]);
    return ql_meter_stop(w, &meter, &w->load);
}

static void
close_block(ql_walk *w)
{
    for (int64_t s = 0; s < w->stream_count; s++)
        ql_stream_block_end(w, w->streams[s]);
    ql_variant_forget(w);
    ql_block_close(w->block);
    w->block = NULL;
}

/* --- progress ------------------------------------------------------------------------------------------------- */

/* What passing a block costs streams with one of the taps, for the time that is left. */
static double
cost_of(const ql_walk *w, unsigned taps)
{
    double sum = 0;

    for (int64_t i = 0; i < w->stream_count; i++) {
        const ql_stream *s = w->streams[i];

        if (s->lane.count && s->taps & taps)
            sum += (s->taps & QL_TAP_STATS ? 3.0 : 1.0) * (double)ql_lane_tokens(s->corpus, s->lane);
    }
    return sum;
}

/* The same of all passes to come. */
static double
cost_of_passes(const ql_walk *w)
{
    double sum = 0;

    for (int64_t i = w->plan->stream_count; i < w->stream_count; i++)
        for (int64_t k = 0; k < w->lane_count; k++)
            if (w->lanes[k].corpus == w->streams[i]->corpus && w->lanes[k].pass > 0)
                sum += (double)ql_lane_tokens(w->lanes[k].corpus, w->lanes[k].lane);
    return sum;
}

static void
start_progress(ql_walk *w)
{
    const double blocks = (double)w->model->info.layers, end = cost_of(w, QL_TAP_END) + cost_of_passes(w);
    const double first = cost_of(w, QL_TAP_STATS);

    if (w->cx->device->clock) /* of a rehearsal nobody waits for the end */
        return;
    ql_progress_start(w->cx, &w->progress, blocks * (first + end) + end + (2 * blocks + 1) * (double)w->passes,
                      w->plan->root->name);
}

static void
step(ql_walk *w, double units)
{
    const long long block = w->layer + 1, blocks = w->model->info.layers;
    char what[96];

    if (w->progress.total == 0)
        return;
    if (w->passes > 1)
        snprintf(what, sizeof what, "pass %lld of %lld, block %lld of %lld", (long long)w->pass + 1,
                 (long long)w->passes, block, blocks);
    else
        snprintf(what, sizeof what, "block %lld of %lld", block, blocks);
    ql_progress_step(w->cx, &w->progress, units, w->layer < w->model->info.layers ? what : NULL);
}

/* --- the walk ------------------------------------------------------------------------------------------------- */

/* One block: variants are made while streams with statistics pass, then the other streams pass and sinks are served. */
static ql_status
walk_block(ql_walk *w)
{
    QL_TRY(w->cx, open_block(w));
    for (int64_t turn = 0; turn <= w->plan->stream_count; turn++)
        QL_TRY(w->cx, ql_visit_run(w, turn ? w->plan->streams[turn - 1] : NULL));
    step(w, 1 + cost_of(w, QL_TAP_STATS));
    QL_TRY(w->cx, ql_sinks_block(w));
    step(w, 1 + cost_of(w, QL_TAP_END));
    return QL_OK;
}

/* All blocks in their order, then the end of the model. Finished work is taken from where it was kept, and kept as it comes, which is all
 * in the first pass. */
static ql_status
walk_blocks(ql_walk *w)
{
    for (w->layer = 0; w->layer < w->model->info.layers; w->layer++) {
        ql_scope scope;

        ql_scope_open(w->cx, &scope);
        QL_TRY(w->cx, ql_finished_take(w));
        if (ql_need_block(w, w->layer))
            QL_TRY(w->cx, walk_block(w));
        else
            step(w, 2 + cost_of(w, QL_TAP_STATS | QL_TAP_END));
        QL_TRY(w->cx, ql_content_check(w->cx, w->plan->inputs));
        QL_TRY(w->cx, ql_finished_put(w));
        close_block(w);
        ql_scope_close(w->cx, &scope);
    }
    QL_TRY(w->cx, ql_finished_put_all(w));
    if (w->evaluates)
        QL_TRY(w->cx, ql_sinks_chunks(w));
    step(w, 1 + cost_of(w, QL_TAP_END));
    return QL_OK;
}

/* --- opening -------------------------------------------------------------------------------------------------- */

/* What needs a node whose plugin ended an earlier run fails, as the options say, before anything is called. */
static ql_status
fail_dead(ql_walk *w, const ql_node *n, char **failed)
{
    const char *why = w->fails ? w->fails(w->fails_user, n) : NULL;

    if (!why)
        return QL_OK;
    (void)QL_FAIL(w->cx, QL_NUMERIC, "stage '%s' (%s): %s", n->name, n->plugin->name, why);
    return ql_fail_cell(w, failed);
}

static ql_status
open_variant(ql_walk *w, ql_variant *v)
{
    const size_t layers = (size_t)w->model->info.layers;
    const char *on = !v->parent ? NULL : ql_variant_is_written(v) ? "of" : "on";

    v->title = ql_format(w->cx, "%s (%s)", v->stage->name, v->stage->label);
    v->about = on ? ql_format(w->cx, "%s %s %s", v->stage->label, on, v->parent->about) : v->stage->label;
    v->linears = ql_alloc(w->cx, (size_t)w->model->info.linear_count, sizeof *v->linears);
    v->kept = ql_alloc(w->cx, layers, sizeof(bool));
    v->wanted = ql_alloc(w->cx, layers, sizeof(bool));
    v->failed = NULL;
    v->block = v->all = (ql_tally){0};
    v->told = false;
    v->series = (ql_curve){0};
    v->outlines = w->store || w->folder
                      ? NULL
                      : ql_alloc(w->cx, layers * (size_t)w->model->info.linear_count, sizeof *v->outlines);
    if (!v->title || !v->about || !v->linears || !v->kept || !v->wanted || (!v->outlines && !w->store && !w->folder))
        return QL_MEMORY;
    return ql_variant_is_made(v) ? fail_dead(w, v->stage, &v->failed) : QL_OK;
}

static ql_status
open_sink(ql_walk *w, ql_sink *s)
{
    *s = (ql_sink){.stage = s->stage, .of = s->of, .calib = s->calib, .key = s->key};
    s->title = ql_format(w->cx, "%s (%s)", s->stage->name, s->stage->label);
    s->about = ql_format(w->cx, "%s of %s", s->stage->label, s->of->about);
    s->kept = ql_alloc(w->cx, (size_t)w->model->info.layers, sizeof(bool));
    if (!s->title || !s->about || !s->kept)
        return QL_MEMORY;
    return fail_dead(w, s->stage, &s->failed);
}

/* Everything as if nothing had been done yet. */
static ql_status
open_plan(ql_walk *w)
{
    const ql_plan *plan = w->plan;
    const size_t streams = (size_t)(plan->stream_count + 2 * plan->sink_count);

    w->streams = ql_alloc(w->cx, streams, sizeof(ql_stream *));
    w->readings = ql_alloc(w->cx, streams + 2 * (size_t)plan->variant_count, sizeof *w->readings);
    if (!w->streams || !w->readings)
        return QL_MEMORY;
    for (int64_t i = 0; i < plan->stream_count; i++) {
        ql_stream *s = plan->streams[i];

        *s = (ql_stream){.data = s->data, .through = s->through, .taps = s->taps, .visit = s->visit, .kept = s->kept};
        s->gathered = ql_alloc(w->cx, (size_t)w->model->info.subsets, sizeof(ql_gathered *));
        if (!s->gathered)
            return QL_MEMORY;
        w->streams[w->stream_count++] = s;
    }
    for (int64_t i = 0; i < plan->variant_count; i++)
        QL_TRY(w->cx, open_variant(w, plan->variants[i]));
    for (int64_t i = 0; i < plan->sink_count; i++)
        QL_TRY(w->cx, open_sink(w, &plan->sinks[i]));
    return QL_OK;
}

/* The original's stream of the same data: what another stream is equal to at first. It has to go as far. */
static ql_stream *
original_of(const ql_plan *plan, const ql_stream *s)
{
    for (int64_t i = 0; i < plan->stream_count && !s->kept; i++) {
        ql_stream *o = plan->streams[i];

        if (o != s && o->data == s->data && !o->through->parent && o->until >= s->until)
            return o;
    }
    return NULL;
}

/* Those with statistics, all of whose chunks go through the blocks in the first pass. The plan has the original's first: the others
 * follow them. */
static ql_status
open_streams(ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->stream_count; i++) {
        ql_stream *s = w->plan->streams[i];

        if (s->until == 0)
            continue;
        QL_TRY(w->cx, ql_corpus_open(w, s->data, NULL, &s->corpus));
        QL_TRY(w->cx, ql_stream_open(w, s, (ql_lane){.count = s->corpus->span_count}, original_of(w->plan, s)));
    }
    return QL_OK;
}

static void
log_size(const ql_walk *w)
{
    int64_t calibration = 0, units = 0;

    for (int64_t i = 0; i < w->plan->stream_count; i++)
        calibration += w->plan->streams[i]->corpus != NULL;
    for (int64_t i = 0; i < w->plan->variant_count; i++)
        units += ql_variant_is_made(w->plan->variants[i]);
    ql_info(w->cx, "%s: %lld blocks, %lld calibration streams, %lld evaluation streams, %lld units of work",
            w->plan->root->name, (long long)w->model->info.layers, (long long)calibration,
            (long long)(w->stream_count - w->plan->stream_count), (long long)units);
}

/* Has the pass anything to do beside evaluation? The very first makes variants, the first of each level hands linears over. */
static bool
serves_linears(const ql_walk *w)
{
    for (int64_t i = 0; w->pass == 0 && i < w->plan->sink_count; i++) {
        const ql_sink *s = &w->plan->sinks[i];
        const bool takes = s->stage->plugin->kind == QL_EXPORTER || s->stage->plugin->evaluator->linear;

        if (s->of->level == w->level && takes && !ql_sink_failed(s))
            return true;
    }
    return w->pass == 0 && w->level == 0;
}

static void
note_resident(ql_run_work *work)
{
    const size_t bytes = ql_host_resident();

    work->resident = bytes > work->resident ? bytes : work->resident;
}

/* The first makes variants and takes the first lane of evaluation; a further one is of a further lane only. */
static ql_status
walk_pass(ql_walk *w)
{
    ql_run_phase *phase = w->pass || w->level ? &w->work->further : &w->work->first;
    const double start = ql_device_seconds(w->cx->device);
    ql_cost cost = {0};
    ql_meter meter;

    w->evaluates = ql_lanes_begin(w);
    if (!w->evaluates && !serves_linears(w))
        return QL_OK;
    w->reads++;
    QL_TRY(w->cx, ql_meter_start(w, &meter));
    ql_need_decide(w);
    QL_TRY(w->cx, open_streams(w));
    QL_TRY(w->cx, ql_lanes_open(w));
    if (w->pass == 0 && w->level == 0)
        log_size(w);
    if (w->pass == 0)
        start_progress(w);
    QL_TRY(w->cx, walk_blocks(w));
    QL_TRY(w->cx, ql_lanes_end(w));
    QL_TRY(w->cx, ql_meter_stop(w, &meter, &cost));
    phase->seconds += ql_device_seconds(w->cx->device) - start;
    if (w->cx->device->clock && w->pass == 0)
        note_resident(w->work);
    phase->memory = cost.peak > phase->memory ? cost.peak : phase->memory;
    return QL_OK;
}

void
ql_walk_end_progress(ql_walk *w)
{
    if (w->progress.total > 0)
        ql_progress_end(w->cx, &w->progress);
    w->progress = (ql_progress){0};
}

/* Sinks of the variants of a level: those that blocks make, or that trainers have made just now. */
static ql_status
walk_level(ql_walk *w)
{
    if (w->level > 0)
        QL_TRY(w->cx, ql_train_level(w));
    QL_TRY(w->cx, ql_lanes_deal(w));
    for (w->pass = 0; w->pass < w->passes; w->pass++)
        QL_TRY(w->cx, walk_pass(w));
    QL_TRY(w->cx, ql_texts_run(w));
    w->pass = 0;
    ql_walk_end_progress(w);
    return ql_sinks_end(w);
}

static ql_status
walk(ql_walk *w)
{
    w->cx->holds = "hidden states";
    QL_TRY(w->cx, open_plan(w));
    QL_TRY(w->cx, ql_exports_check(w));
    QL_TRY(w->cx, ql_collect_open(w));
    QL_TRY(w->cx, ql_finished_look_up(w));
    QL_TRY(w->cx, ql_sinks_open(w));
    for (w->level = 0; w->level <= w->plan->levels; w->level++)
        QL_TRY(w->cx, walk_level(w));
    QL_TRY(w->cx, ql_collect(w));
    return ql_finished_forget(w);
}

/* What a failed walk leaves open, as well. */
static void
close_walk(ql_walk *w)
{
    ql_walk_end_progress(w);
    forget_next(w);
    close_block(w);
    ql_sinks_close(w);
    while (w->stream_count > 0)
        ql_stream_close(w->streams[--w->stream_count]);
    for (int64_t i = 0; i < w->plan->variant_count; i++) {
        free(w->plan->variants[i]->failed);
        free(w->plan->variants[i]->series.rows);
    }
    w->cx->device->make_room = NULL;
    w->cx->walk = NULL;
    ql_leave(w->cx, (ql_site){0});
    w->cx->holds = NULL;
}

ql_status
ql_walk_run(ql_walk *w)
{
    ql_status st;

    w->cx->walk = w;
    w->cx->device->make_room = ql_hidden_make_room;
    st = walk(w);
    close_walk(w);
    return st;
}
