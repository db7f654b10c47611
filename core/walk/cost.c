/* What cells cost: bits that linears take where they are stored, and meters for time and device memory. */
#include <math.h>

#include "tensor/tensor.h"
#include "walk.h"

#define EXPONENT_BITS 8 /* of a scale that is a power of two */

/* --- bits --- */

static double
dtype_bits(ql_dtype d)
{
    return 8 * (double)ql_dtype_size(d);
}

static double
tensor_bits(const ql_tensor *t)
{
    return t ? (double)ql_count(t) * dtype_bits(ql_dtype_of(t)) : 0;
}

/* From shapes and from what the method says of its numbers: nothing is read. */
double
ql_qlinear_bits(const ql_qlinear *q, const ql_tensor *b, const ql_tensor *a)
{
    const ql_grid *g = &q->grid;
    const double scale = g->exponents ? EXPONENT_BITS : dtype_bits(g->scale_dtype);
    const double zero = g->sym || !q->zeros ? 0 : g->free_zeros ? dtype_bits(g->scale_dtype) : g->bits;

    return (double)ql_count(q->codes) * g->bits + (double)ql_count(q->scales) * (scale + zero) + tensor_bits(b) +
           tensor_bits(a);
}

void
ql_cost_store(ql_walk *w, ql_variant *v)
{
    for (int l = 0; l < w->model->info.linear_count; l++) {
        const ql_linear_info *info = &w->model->info.linears[l];
        const ql_linear_state *codes = ql_variant_codes(v, l);
        const double weights = (double)info->out * (double)info->in;
        double bits = weights * dtype_bits(ql_block_dtype(w->block, l));
        const ql_tensor *b, *a;

        ql_variant_adapter(v, l, &b, &a);
        bits = codes ? ql_qlinear_bits(&codes->q, b, a) : bits + tensor_bits(b) + tensor_bits(a);
        v->block.bits += bits;
        v->block.weights += weights;
    }
}

/* Bits a weight of the linears as the model's files have them. */
static ql_status
original_bits(const ql_walk *w, double *out)
{
    double bits = 0, weights = 0;

    for (int64_t layer = 0; layer < w->model->info.layers; layer++)
        for (int l = 0; l < w->model->info.linear_count; l++) {
            const ql_linear_info *info = &w->model->info.linears[l];
            ql_dtype dtype;

            QL_TRY(w->cx, ql_model_dtype(w->cx, w->model, layer, l, &dtype));
            bits += (double)info->out * (double)info->in * dtype_bits(dtype);
            weights += (double)info->out * (double)info->in;
        }
    *out = bits / weights;
    return QL_OK;
}

/* --- meters --- */

/* The device works behind the host: what was queued before belongs to who queued it. */
static ql_status
catch_up(const ql_walk *w)
{
    return ql_op_done(w->cx, "end of a stage", w->cx->device->backend->sync(w->cx, w->cx->device->dev));
}

ql_status
ql_meter_start(const ql_walk *w, ql_meter *m)
{
    ql_device *d = w->cx->device;

    QL_TRY(w->cx, catch_up(w));
    *m = (ql_meter){.start = {.seconds = ql_device_seconds(d), .up = d->up, .down = d->down, .peak = d->mark},
                    .inner = w->metered};
    d->mark = d->used;
    return QL_OK;
}

ql_status
ql_meter_stop(ql_walk *w, const ql_meter *m, ql_cost *cost)
{
    ql_device *d = w->cx->device;
    ql_cost all;

    QL_TRY(w->cx, catch_up(w));
    all = (ql_cost){
        .seconds = ql_device_seconds(d) - m->start.seconds, .up = d->up - m->start.up, .down = d->down - m->start.down};
    cost->seconds += all.seconds - (w->metered.seconds - m->inner.seconds);
    cost->up += all.up - (w->metered.up - m->inner.up);
    cost->down += all.down - (w->metered.down - m->inner.down);
    cost->peak = d->mark > cost->peak ? d->mark : cost->peak;
    cost->calls++;
    w->metered = (ql_cost){
        .seconds = m->inner.seconds + all.seconds, .up = m->inner.up + all.up, .down = m->inner.down + all.down};
    d->mark = d->mark > m->start.peak ? d->mark : m->start.peak;
    return QL_OK;
}

/* --- collecting --- */

ql_status
ql_cost_nodes(const ql_walk *w)
{
    const ql_plan *p = w->plan;

    QL_TRY(w->cx, ql_run_stage_cost(w->results, p->root, &w->load));
    for (int64_t i = 0; i < p->variant_count; i++)
        QL_TRY(w->cx, ql_run_stage_cost(w->results, p->variants[i]->stage, &p->variants[i]->all.cost));
    for (int64_t i = 0; i < w->stream_count; i++)
        QL_TRY(w->cx, ql_run_stage_cost(w->results, w->streams[i]->data, &w->streams[i]->cost));
    for (int64_t i = 0; i < p->sink_count; i++)
        QL_TRY(w->cx, ql_run_stage_cost(w->results, p->sinks[i].stage, &p->sinks[i].cost));
    return QL_OK;
}

/* Of the sinks of a cell: the one whose model has come furthest says what the cell stores and what made it. */
static const ql_sink *
collect_sinks(const ql_walk *w, int64_t cell, bool baseline, ql_cost *cost)
{
    const ql_sink *furthest = NULL;
    const ql_stream *seen = NULL;

    for (int64_t i = 0; i < w->graph->stage_count; i++) {
        const ql_node *n = w->graph->cells[cell].stages[i];
        const ql_sink *s = NULL;

        if (n && n->plugin->kind == QL_EVALUATOR && ql_node_before(n, QL_MODEL) == w->plan->root)
            s = ql_plan_find(w->plan, n, baseline ? w->plan->root : ql_node_input(n, "model"));
        if (!s)
            continue;
        ql_cost_add(cost, &s->cost);
        if (s->stream && s->stream != seen) /* it serves all evaluators of the same tokens */
            ql_cost_add(cost, &s->stream->cost);
        seen = s->stream ? s->stream : seen;
        if (!furthest || s->of->id > furthest->of->id)
            furthest = s;
    }
    return furthest;
}

/* Of cell `cell`, or of its baseline, whose number is `number`. */
static ql_status
collect_cell(const ql_walk *w, int64_t cell, bool baseline, int64_t number)
{
    ql_cost cost = {0};
    const ql_sink *s = collect_sinks(w, cell, baseline, &cost);
    double bits = NAN;

    if (!s)
        return QL_OK;
    if (!s->of->parent)
        QL_TRY(w->cx, original_bits(w, &bits));
    else if (s->of->all.weights > 0)
        bits = s->of->all.bits / s->of->all.weights;
    for (const ql_variant *v = s->of; v; v = v->parent)
        ql_cost_add(&cost, &v->all.cost);
    return ql_run_cell_cost(w->results, number, bits, &cost);
}

ql_status
ql_cost_cells(const ql_walk *w)
{
    for (int64_t c = 0; c < w->graph->cell_count; c++) {
        bool first;
        const int64_t original = ql_run_original(w->results, c, &first);

        QL_TRY(w->cx, collect_cell(w, c, false, c));
        if (first)
            QL_TRY(w->cx, collect_cell(w, c, true, original));
    }
    return QL_OK;
}
