/* A job: a checked pipeline with a context of its own. */
#include "job.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/text.h"
#include "plugin/select.h"
#include "results/results.h"

/* What is kept of a log line when nobody listens. */
static void
ignore(void *user, ql_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

static ql_status
open_pipeline(ql_job *job, const char *file)
{
    ql_ctx *cx = &job->cx;
    ql_graph *g = &job->graph;
    ql_job_info *info = &job->info;

    job->cx.page = info->page = mmap(NULL, QL_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (info->page == MAP_FAILED) {
        job->cx.page = info->page = NULL;
        return QL_FAIL(cx, QL_MEMORY, "no memory for a page");
    }
    QL_TRY(cx, ql_registry_open(cx, job->opt.plugin_path, &job->registry));
    for (const ql_plugin *const *p = job->opt.plugins; p && *p; p++)
        QL_TRY(cx, ql_registry_add(cx, job->registry, *p));
    QL_TRY(cx, ql_graph_open(cx, job->registry, file, job->opt.sets, g));
    QL_TRY(cx, ql_graph_name_cells(cx, g));
    info->stages = g->stage_count;
    info->cells = g->cell_count;
    info->nodes = g->node_count;
    info->time_limit = g->time_limit;
    info->limited = g->memory || g->host_memory;
    info->name = ql_folder_name(cx, g);
    info->runs = job->opt.runs ? job->opt.runs : QL_RUNS_DEFAULT;
    info->folder = info->name ? ql_format(cx, "%s/%s", info->runs, info->name) : NULL;
    return info->folder ? QL_OK : QL_MEMORY;
}

ql_status
ql_job_open(const char *file, const ql_job_options *opt, ql_job **out)
{
    ql_job *job = *out = calloc(1, sizeof *job);
    ql_locale locale;
    ql_status st;

    if (!job)
        return QL_MEMORY;
    if (opt)
        job->opt = *opt;
    job->log =
        (ql_log){.write = job->opt.log ? job->opt.log : ignore, .user = job->opt.user, .progress = job->opt.progress};
    job->folder.lock = -1;
    ql_ctx_init(&job->cx, &job->log);
    job->cx.interrupt = &job->cancelled;
    ql_scope_open(&job->cx, &job->scope);
    locale = ql_locale_enter();
    st = open_pipeline(job, file);
    ql_locale_leave(locale);
    return st;
}

/* What was made in its scope goes first, then the device, then the plugins that both use. */
void
ql_job_close(ql_job *job)
{
    if (!job)
        return;
    ql_folder_close(&job->cx, &job->folder);
    ql_scope_close(&job->cx, &job->scope);
    ql_device_close(job->cx.device);
    ql_registry_close(job->registry);
    ql_ctx_fini(&job->cx);
    if (job->info.page)
        munmap(job->info.page, QL_PAGE_BYTES);
    free(job);
}

const char *
ql_job_error(const ql_job *job)
{
    return ql_error(&job->cx);
}

static ql_status
check_disks(ql_job *job)
{
    ql_disk disk;
    ql_status st = ql_disk_survey(job, &disk);

    if (st == QL_OK)
        st = ql_disk_check(job, &disk);
    ql_disk_close(&disk);
    return st;
}

ql_status
ql_job_check(ql_job *job)
{
    const ql_locale locale = ql_locale_enter();
    ql_status st = ql_graph_advise(&job->cx, job->registry, &job->graph);

    if (st == QL_OK)
        st = check_disks(job);
    ql_locale_leave(locale);
    return st;
}

const ql_job_info *
ql_job_about(const ql_job *job)
{
    return &job->info;
}

const char *
ql_job_graph(ql_job *job, bool dot)
{
    const ql_locale locale = ql_locale_enter();
    const char *text = NULL;
    const ql_status st = dot ? ql_graph_dot(&job->cx, &job->graph, &text) : ql_graph_text(&job->cx, &job->graph, &text);

    ql_locale_leave(locale);
    return st == QL_OK ? text : NULL;
}

void
ql_job_cancel(ql_job *job)
{
    __atomic_store_n(&job->cancelled, 1, __ATOMIC_RELAXED);
}

ql_status
ql_job_device(ql_job *job, bool imagine)
{
    const ql_graph *g = &job->graph;

    if (job->cx.device && (imagine || job->cx.device->dev))
        return QL_OK;
    ql_device_close(job->cx.device); /* one that did not answer, and was imagined for a plan */
    job->cx.device = NULL;
    return ql_device_select(&job->cx, job->registry,
                            &(ql_device_wish){.word = job->opt.device ? job->opt.device : g->device,
                                              .threads = job->opt.threads,
                                              .compute = g->compute,
                                              .imagine = imagine});
}

ql_status
ql_job_query(ql_job *job, const char *sql, ql_job_row row, void *user)
{
    const ql_locale locale = ql_locale_enter();
    const ql_status st = ql_results_query(&job->cx, job->info.runs, job->info.name, sql, row, user);

    ql_locale_leave(locale);
    return st;
}
