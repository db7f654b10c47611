#include "limits.h"

#include "device/device.h"
#include "device/host.h"
#include "model/open_model.h"
#include "tensor/rehearsal.h"

#define SHARE 0.8 /* of what is free, where the file says nothing */
#define WORKER \
    ((size_t)6 << 20) /* of a thread, once it works: panels that BLAS packs, scratch of operations, its stack */
#define FILES \
    ((size_t)12 << 20) /* pages of files: of a model's a strip, of results.db those that change, of libraries */
#define FEW_LAYERS 3   /* blocks are alike: what the first few take, the others do */
#define PRECISION 0.02 /* of the least that is looked for */

/* --- limits --------------------------------------------------------------------------------------------------- */

static size_t
smaller(size_t a, size_t b)
{
    return a == 0 || (b && b < a) ? b : a;
}

static size_t
without(size_t all, size_t part)
{
    return all > part ? all - part : all ? 1 : 0;
}

void
ql_limits_find(const ql_job *job, const ql_run_work *seen, double entry, ql_limits *out)
{
    const ql_graph *g = &job->graph;
    const ql_device *d = job->cx.device;
    const size_t resident = seen ? seen->resident : ql_host_resident(), there = ql_host_free();
    const bool one = d->info.host_memory;

    *out = (ql_limits){.memory = (size_t)g->memory,
                       .host_memory = (size_t)g->host_memory,
                       .other = resident + (size_t)d->threads * WORKER + FILES + (size_t)entry};
    out->said = out->memory || out->host_memory;
    if (one) /* either names it */
        out->memory = out->host_memory = smaller(out->memory, out->host_memory);
    if (out->host_memory == 0 && there)
        out->host_memory = resident + (size_t)(SHARE * (double)there);
    out->pool = one ? without(out->host_memory, out->other) : out->memory ? out->memory : d->info.memory;
    out->pinned = one ? 0 : without(out->host_memory, out->other);
}

ql_status
ql_limits_measure(ql_job *job, double entry, ql_limits *out)
{
    ql_trial t = {.pool = QL_NO_LIMIT, .lane_tokens = INT64_MAX, .layers = 1};

    QL_TRY(&job->cx, ql_rehearse(job, &t));
    ql_limits_find(job, &t.work, entry, out);
    return QL_OK;
}

/* --- rehearsals ----------------------------------------------------------------------------------------------- */

static ql_status
rehearse(ql_job *job, ql_device *d, ql_trial *t)
{
    ql_ctx *cx = &job->cx;
    ql_device *const real = cx->device;
    const ql_run_options opt = {
        .lane_tokens = t->lane_tokens, .layers = t->layers, .spill = "a file", .work = &t->work};
    ql_results *own = t->results;
    ql_status st = own ? QL_OK : ql_results_open(cx, NULL, true, &own);

    if (st == QL_OK)
        st = ql_run_begin(own, &job->graph, "plan");
    cx->device = d;
    if (st == QL_OK)
        st = ql_run_graph(cx, job->registry, &job->graph, &opt, own);
    cx->device = real;
    if (!t->results)
        ql_results_close(own);
    return st;
}

ql_status
ql_rehearse(ql_job *job, ql_trial *t)
{
    ql_ctx *cx = &job->cx;
    const ql_log *log = cx->log;
    ql_device *d;
    ql_status st;

    t->work = (ql_run_work){0};
    ql_device_trim(cx->device); /* it counts what the process has beside tensors */
    QL_TRY(cx, ql_rehearsal_open(cx, cx->device, t->rate > 0 ? t->rate : 1e9, &d));
    d->limit = t->pool;
    d->host_limit = t->pinned;
    cx->log = t->loud ? log : NULL;
    st = rehearse(job, d, t);
    cx->log = log;
    t->fits = st == QL_OK && (!t->pinned || d->host_peak <= t->pinned);
    t->memory = d->peak;
    t->taken = d->taken;
    t->host = d->host_peak;
    t->seconds = *d->clock;
    ql_device_close(d);
    if (st != QL_MEMORY)
        return st;
    ql_error_clear(cx);
    return QL_OK;
}

/* --- fitting -------------------------------------------------------------------------------------------------- */

/* Lanes such that no more than `passes` are needed. */
static int64_t
lanes_for(const ql_run_work *w, int64_t passes)
{
    return (w->chunks + passes - 1) / passes * w->chunk_tokens;
}

/* The fewest passes that fit, for models of so many layers. */
static ql_status
search(ql_job *job, ql_trial *t)
{
    int64_t few, many;
    ql_trial one = *t;

    one.lane_tokens = INT64_MAX;
    QL_TRY(&job->cx, ql_rehearse(job, &one));
    few = 1;
    many = one.work.chunks;
    *t = one;
    if (one.fits || many < 2)
        return QL_OK;
    t->lane_tokens = 1;
    QL_TRY(&job->cx, ql_rehearse(job, t));
    while (t->fits && few + 1 < many) {
        ql_trial next = *t;
        const int64_t passes = few + (many - few) / 2;

        next.lane_tokens = lanes_for(&one.work, passes);
        QL_TRY(&job->cx, ql_rehearse(job, &next));
        few = next.fits ? few : passes;
        many = next.fits ? passes : many;
        if (next.fits)
            *t = next;
    }
    return QL_OK;
}

ql_status
ql_fit(ql_job *job, ql_trial *t)
{
    ql_trial few = *t;

    few.layers = FEW_LAYERS;
    few.loud = false;
    few.results = NULL;
    QL_TRY(&job->cx, search(job, &few));
    t->lane_tokens = few.lane_tokens;
    t->fits = few.fits;
    if (!few.fits)
        return QL_OK;
    QL_TRY(&job->cx, ql_rehearse(job, t));
    if (t->fits)
        return QL_OK;
    few.layers = 0; /* a later block takes more */
    QL_TRY(&job->cx, search(job, &few));
    t->lane_tokens = few.lane_tokens;
    t->fits = few.fits;
    return few.fits ? ql_rehearse(job, t) : QL_OK;
}

ql_status
ql_least(ql_job *job, const ql_trial *t, bool pinned, size_t *out)
{
    ql_trial one = *t;
    size_t *limit = pinned ? &one.pinned : &one.pool, low = 1, high;

    one.results = NULL;
    one.loud = false;
    one.layers = FEW_LAYERS;
    one.lane_tokens = 1;
    *limit = QL_NO_LIMIT;
    QL_TRY(&job->cx, ql_rehearse(job, &one));
    high = pinned ? one.host : one.memory;
    while (one.fits && (double)(high - low) > PRECISION * (double)high) {
        ql_trial next = one;

        *(pinned ? &next.pinned : &next.pool) = low + (high - low) / 2;
        QL_TRY(&job->cx, ql_rehearse(job, &next));
        if (next.fits)
            high = low + (high - low) / 2;
        else
            low += (high - low) / 2;
    }
    *out = one.fits ? high : 0;
    return QL_OK;
}

/* Where the limit comes from: a key of the file, or what there is. */
static const char *
limit_name(const ql_job *job, bool one, bool host)
{
    const ql_graph *g = &job->graph;

    if (g->memory && (one ? smaller((size_t)g->memory, (size_t)g->host_memory) == (size_t)g->memory : !host))
        return "`memory:` of ";
    if (!host)
        return "the device's memory, ";
    return g->host_memory ? "`host_memory:` of " : "80 % of the free memory, ";
}

ql_status
ql_fail_limits(ql_job *job, const ql_limits *l)
{
    ql_ctx *cx = &job->cx;
    const bool one = cx->device->info.host_memory;
    const ql_trial t = {.pool = l->pool, .pinned = l->pinned};
    bool host = one; /* it is the host's limit that is too small */
    char least[32], limit[32];
    size_t bytes;

    QL_TRY(cx, ql_least(job, &t, false, &bytes));
    if (!one && bytes <= l->pool) {
        host = true;
        QL_TRY(cx, ql_least(job, &t, true, &bytes));
    }
    ql_bytes_text(host ? bytes + l->other : bytes, least, sizeof least);
    ql_bytes_text(host ? l->host_memory : l->pool, limit, sizeof limit);
    return QL_FAIL(
        cx, QL_MEMORY,
        "%s%s is too little: the least is %s; fewer `chunk_tokens:` (%lld now) or fewer cells a file lower it",
        limit_name(job, one, host), limit, least, (long long)job->graph.chunk_tokens);
}
