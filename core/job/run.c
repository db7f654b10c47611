/* A run: the folder, the walks, and what goes to results.db. */
#include <sys/resource.h>

#include <qloom/qloom.h>

#include "base/clock.h"
#include "base/text.h"
#include "device/device.h"
#include "store/store.h"
#include "walk/run.h"
#include "job.h"
#include "limits.h"

#define SMALL 0.01 /* of the memory that may be taken */

static uint64_t
peak_memory(void)
{
    struct rusage u;

    return getrusage(RUSAGE_SELF, &u) == 0 ? (uint64_t)u.ru_maxrss * 1024 : 0;
}

/* Why the cells of a node fail: its plugin ended the program of an earlier run. */
static const char *
died(void *user, const ql_node *n)
{
    const ql_job *job = user;

    for (const ql_crash *c = job->crashes; c; c = c->next)
        if (c->node[0] == n->key[0] && c->node[1] == n->key[1])
            return c->why;
    return NULL;
}

/* The walks, with the cache of the pipeline file, else the one beside the runs. */
static ql_status
run_walks(ql_job *job, ql_results *results)
{
    ql_ctx *cx = &job->cx;
    const ql_graph *g = &job->graph;
    const char *cache = ql_job_cache(job);
    ql_run_options opt = {.lane_tokens = job->lane_tokens,
                          .folder = job->info.folder,
                          .fails = job->opt.skip_failed ? died : NULL,
                          .user = job};
    ql_journal journal;
    ql_store store;
    ql_status st;

    if (!cache)
        return QL_MEMORY;
    QL_TRY(cx, ql_store_open(cx, cache, &store));
    store.limit = g->cache_limit;
    opt.store = &store;
    opt.fresh = job->opt.fresh;
    opt.journal = &journal;
    opt.spill = g->spill ? g->spill : cache;
    st = ql_journal_open(cx, job->info.folder, &journal);
    if (st == QL_OK)
        st = ql_run_graph(cx, job->registry, g, &opt, results);
    ql_journal_close(&journal);
    if (st == QL_INTERRUPTED)
        ql_info(cx, "what is finished is kept; the same command goes on from there");
    return st;
}

/* "seconds: base 0.31, calib 4.20, …": what each stage took, all cells together. */
static ql_status
log_stages(ql_ctx *cx, ql_results *results)
{
    const char *text = "";
    ql_sheet rows;

    QL_TRY(cx,
           ql_sheet_read(results, &rows,
                         "SELECT stage, sum(seconds) FROM stage WHERE run = ? GROUP BY stage ORDER BY min(position)",
                         "i", ql_run_id(results)));
    for (int64_t i = 0; i < rows.count && text; i++)
        text =
            ql_format(cx, "%s%s %s %.2f", text, *text ? "," : "", ql_row(&rows, i)[0].text, ql_row(&rows, i)[1].real);
    if (!text)
        return QL_MEMORY;
    ql_info(cx, "seconds:%s", text);
    return QL_OK;
}

static ql_status
count_failures(ql_ctx *cx, ql_results *results)
{
    int64_t failed, cells;
    ql_sheet rows;

    QL_TRY(cx, ql_sheet_read(results, &rows, "SELECT count(error), count(*) FROM cell WHERE run = ?", "i",
                             ql_run_id(results)));
    failed = ql_row(&rows, 0)[0].integer;
    cells = ql_row(&rows, 0)[1].integer;
    return failed == 0 ? QL_OK
                       : QL_FAIL(cx, QL_NUMERIC, "%lld of %lld cells failed; the table says which and why",
                                 (long long)failed, (long long)cells);
}

/* Sets the limits of the open device, and how long lanes of evaluation are. Where the file says nothing and the models are small next to
 * what is free, no rehearsal is needed to know that all goes at once. */
static ql_status
keep_to_limits(ql_job *job, ql_disk *disk)
{
    ql_ctx *cx = &job->cx;
    ql_limits limits;
    ql_trial t;

    ql_limits_find(job, NULL, disk->entry, &limits);
    job->lane_tokens = INT64_MAX;
    job->info.planned = 0;
    if (limits.said || disk->model >= SMALL * (double)limits.host_memory) {
        QL_TRY(cx, ql_limits_measure(job, disk->entry, &limits));
        t = (ql_trial){.pool = limits.pool, .pinned = limits.pinned};
        QL_TRY(cx, ql_fit(job, &t));
        if (!t.fits)
            return ql_fail_limits(job, &limits);
        job->lane_tokens = t.lane_tokens;
        job->info.planned = t.memory;
        disk->waiting = (double)t.work.spilled;
    }
    cx->device->limit = limits.pool;
    cx->device->host_limit = limits.pinned;
    return QL_OK;
}

/* What it will take of memory and of disks, before anything is written. */
static ql_status
look_ahead(ql_job *job)
{
    ql_disk disk;
    ql_status st = ql_disk_survey(job, &disk);

    if (st == QL_OK)
        st = keep_to_limits(job, &disk);
    if (st == QL_OK)
        st = ql_disk_check(job, &disk);
    ql_disk_close(&disk);
    return st;
}

static ql_status
run(ql_job *job, ql_results *results)
{
    ql_ctx *cx = &job->cx;
    ql_run_end_info info = {.device = cx->device->info.name, .version = ql_version()};
    const double start = ql_seconds();
    char bytes[32];

    QL_TRY(cx, ql_run_begin(results, &job->graph, job->info.name));
    QL_TRY(cx, run_walks(job, results));
    ql_info(cx, "memory: %s of the device's at most", ql_bytes_text(cx->device->peak, bytes, sizeof bytes));
    QL_TRY(cx, log_stages(cx, results));
    info.seconds = ql_seconds() - start;
    info.peak = peak_memory();
    QL_TRY(cx, ql_run_end(results, &info));
    ql_info(cx, "results in %s", job->info.folder);
    return count_failures(cx, results);
}

static ql_status
run_job(ql_job *job)
{
    ql_ctx *cx = &job->cx;
    const char *path = ql_format(cx, "%s/" QL_RESULTS_FILE, job->info.runs);
    ql_results *results;
    ql_status st;

    if (!path)
        return QL_MEMORY;
    QL_TRY(cx, ql_job_device(job, false));
    QL_TRY(cx, look_ahead(job));
    if (!job->folder.path)
        QL_TRY(cx, ql_folder_open(cx, job->info.runs, &job->graph, &job->folder));
    QL_TRY(cx, ql_job_map(job));
    QL_TRY(cx, ql_folder_manifest(cx, &job->folder, &job->graph,
                                  &(ql_manifest){.registry = job->registry,
                                                 .device = cx->device->info.name,
                                                 .threads = cx->device->threads,
                                                 .argc = job->opt.argc,
                                                 .argv = job->opt.argv}));
    QL_TRY(cx, ql_results_open(cx, path, true, &results));
    st = run(job, results);
    ql_results_close(results);
    job->info.held = cx->device->used - cx->device->info.reserved;
    job->info.peak = cx->device->peak;
    return st;
}

ql_status
ql_job_run(ql_job *job)
{
    const ql_locale locale = ql_locale_enter();
    const ql_status st = run_job(job);

    ql_locale_leave(locale);
    return st;
}
