/* What a walk need not do because the store has it, and what therefore nothing reads. */
#include "walk.h"

static int64_t
blocks_of(const ql_walk *w)
{
    return w->model->info.layers;
}

/* --- deciding ------------------------------------------------------------------------------------------------- */

static void want_model(ql_walk *w, ql_variant *v, int64_t block);

/* The stream's statistics are read at `block`: it passes all blocks up to there. */
static void
reach(ql_walk *w, ql_stream *s, int64_t block)
{
    while (s->until <= block) {
        const int64_t passed = s->until++;

        want_model(w, s->through, passed);
    }
}

/* What the variant has at `block` is read: what makes it is wanted too, unless it is in the store. */
static void
want(ql_walk *w, ql_variant *v, int64_t block)
{
    if (!ql_variant_is_made(v) || v->wanted[block])
        return;
    v->wanted[block] = true;
    if (v->kept[block])
        return;
    want_model(w, v->parent, block);
    for (int64_t i = 0; i < w->plan->stream_count; i++)
        if (ql_variant_reads(v, w->plan->streams[i]))
            reach(w, w->plan->streams[i], block);
}

/* The whole block of the model is read: what the variant has, and what those before it have. */
static void
want_model(ql_walk *w, ql_variant *v, int64_t block)
{
    for (; v; v = v->parent)
        want(w, v, block);
}

/* What texts will be generated with is made now, unless the store has it. */
static void
want_lacking(ql_walk *w, ql_variant *v, int64_t block)
{
    for (; v; v = v->parent)
        if (ql_variant_is_made(v) && !v->kept[block])
            want(w, v, block);
}

static bool
is_export(const ql_sink *s)
{
    return s->stage->plugin->kind == QL_EXPORTER;
}

/* In the first pass of its level. An exporter is handed every block, whatever the store has, and writes everything again. */
static bool
linears_at(const ql_walk *w, const ql_sink *s, int64_t block)
{
    return w->pass == 0 && s->of->level == w->level &&
           (is_export(s) || (s->stage->plugin->evaluator->linear && !s->kept[block]));
}

static bool
reads_model(const ql_walk *w, const ql_sink *s, int64_t block)
{
    return linears_at(w, s, block) || ql_lanes_wanted(w, s);
}

/* Nothing is wanted yet. */
static void
forget_needs(ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->variant_count; i++)
        for (int64_t block = 0; block < blocks_of(w); block++)
            w->plan->variants[i]->wanted[block] = false;
    for (int64_t i = 0; i < w->plan->stream_count; i++)
        w->plan->streams[i]->until = 0;
}

void
ql_need_decide(ql_walk *w)
{
    forget_needs(w);
    for (int64_t block = 0; block < blocks_of(w); block++) {
        for (int64_t i = 0; i < w->plan->variant_count && w->pass == 0 && w->level == 0; i++)
            if (!w->plan->variants[i]->told || ql_need_training(w, w->plan->variants[i]))
                want(w, w->plan->variants[i], block);
        for (int64_t i = 0; i < w->plan->sink_count; i++) {
            const ql_sink *s = &w->plan->sinks[i];

            if (w->pass == 0 && ql_texts_wanted(w, s))
                want_lacking(w, s->of, block);
            if (!reads_model(w, s, block))
                continue;
            want_model(w, s->of, block);
            if (s->calib)
                reach(w, s->calib, block);
        }
    }
}

/* --- trainers ------------------------------------------------------------------------------------------------- */

/* Is something at block `block` of the variant read, in whatever pass, by a sink or a trainer? */
static bool
is_read(const ql_walk *w, const ql_variant *v)
{
    for (int64_t i = 0; i < w->plan->sink_count; i++) {
        const ql_sink *s = &w->plan->sinks[i];
        const ql_variant *of = s->of;
        bool reads = is_export(s) || s->stream || (s->prompts && !s->told);

        for (int64_t block = 0; !reads && block < blocks_of(w); block++)
            reads = s->stage->plugin->evaluator->linear && !s->kept[block];
        while (of && of != v)
            of = of->parent;
        if (of && reads && !ql_sink_failed(s))
            return true;
    }
    for (int64_t i = v->id + 1; i < w->plan->variant_count; i++)
        if (w->plan->variants[i]->parent == v && ql_need_training(w, w->plan->variants[i]))
            return true;
    return false;
}

bool
ql_need_training(const ql_walk *w, const ql_variant *v)
{
    bool kept = true;

    if (!ql_variant_is_trained(v) || ql_variant_failed(v))
        return false;
    for (int64_t block = 0; block < blocks_of(w); block++)
        kept = kept && v->kept[block];
    return !v->told || (!kept && is_read(w, v));
}

/* --- answers -------------------------------------------------------------------------------------------------- */

bool
ql_need_passes(const ql_walk *w, const ql_stream *s)
{
    return w->layer < s->until;
}

bool
ql_need_variant(const ql_walk *w, const ql_variant *v)
{
    return ql_variant_is_made(v) && !ql_variant_is_trained(v) && v->wanted[w->layer] && !v->kept[w->layer];
}

bool
ql_need_linears(const ql_walk *w, const ql_sink *s)
{
    return linears_at(w, s, w->layer);
}

bool
ql_need_stats(const ql_walk *w, const ql_stream *s)
{
    for (int64_t i = 0; i < w->plan->variant_count; i++)
        if (ql_variant_reads(w->plan->variants[i], s) && ql_need_variant(w, w->plan->variants[i]))
            return true;
    for (int64_t i = 0; i < w->plan->sink_count; i++)
        if (w->plan->sinks[i].calib == s && ql_need_linears(w, &w->plan->sinks[i]))
            return true;
    return false;
}

bool
ql_need_block(const ql_walk *w, int64_t block)
{
    bool needed = false;

    for (int64_t i = w->plan->stream_count; i < w->stream_count; i++)
        needed = needed || w->streams[i]->lane.count; /* evaluation tokens pass them all */
    for (int64_t i = 0; i < w->plan->variant_count; i++)
        needed = needed || w->plan->variants[i]->wanted[block];
    for (int64_t i = 0; i < w->plan->sink_count; i++)
        needed = needed || linears_at(w, &w->plan->sinks[i], block);
    for (int64_t i = 0; i < w->plan->stream_count; i++)
        needed = needed || block < w->plan->streams[i]->until;
    return needed;
}
