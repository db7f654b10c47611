/* What the tests of the walk share: pipelines from text, run in this process on the CPU device, with the log in memory. */
#ifndef QLOOM_TESTS_WALK_H
#define QLOOM_TESTS_WALK_H

#include <unistd.h>

#include "core/device/device.h"
#include "core/graph/graph.h"
#include "core/run/results.h"
#include "core/walk/plan.h"
#include "core/walk/run.h"
#include "test.h"

typedef struct walk_log {
    char text[1 << 16];
    size_t used;
} walk_log;

typedef struct walk_test {
    ql_ctx cx;
    ql_scope scope;
    ql_registry *registry;
    ql_log sink;
    walk_log log;
    size_t peak;     /* of the last run's device memory */
    char folder[64]; /* made under /tmp, for files of the run */
} walk_test;

static void
walk_write(void *user, ql_log_level level, const char *line)
{
    walk_log *log = user;
    int n = snprintf(log->text + log->used, sizeof log->text - log->used, "%d %s\n", (int)level, line);

    if (n > 0 && (size_t)n < sizeof log->text - log->used)
        log->used += (size_t)n;
}

static inline void
walk_open(walk_test *t)
{
    const char *build = getenv("QLOOM_BUILD");
    char path[4096];

    memset(t, 0, sizeof *t);
    t->sink = (ql_log){.write = walk_write, .user = &t->log};
    ql_ctx_init(&t->cx, &t->sink);
    ql_scope_open(&t->cx, &t->scope);
    snprintf(path, sizeof path, "%s/lib/qloom", build ? build : "build/release");
    REQUIRE_OK(&t->cx, ql_registry_open(&t->cx, path, &t->registry));
    strcpy(t->folder, "/tmp/qloom-walk-XXXXXX");
    if (!mkdtemp(t->folder))
        abort();
}

static inline int
walk_close(walk_test *t)
{
    char command[96];

    ql_ctx_fini(&t->cx);
    ql_registry_close(t->registry);
    snprintf(command, sizeof command, "rm -rf %s", t->folder);
    CHECK_INT(system(command), 0);
    return TEST_DONE();
}

/* The graph of a pipeline text; paths are relative to the source's examples/. */
static inline void
walk_parse(walk_test *t, const char *text, ql_graph *g)
{
    const char *source = getenv("QLOOM_SOURCE");
    char file[4096];

    snprintf(file, sizeof file, "%s/examples/test.yaml", source ? source : ".");
    REQUIRE_OK(&t->cx, ql_graph_parse(&t->cx, t->registry, ql_format(&t->cx, "%s", file), text, strlen(text),
                                      &(ql_graph_options){0}, g));
}

/* Runs it with so many threads and so much memory (0: no limit); the caller closes the set. Returns the status. */
static inline ql_status
walk_run(walk_test *t, const ql_graph *g, int threads, size_t limit, ql_result_set *set)
{
    const ql_found *cpu = ql_registry_find(t->registry, "cpu");
    ql_status st;

    if (!cpu || !cpu->plugin)
        abort();
    REQUIRE_OK(&t->cx, ql_device_open(&t->cx, cpu->plugin->backend, &(ql_device_options){.threads = threads}, limit,
                                      &t->cx.device));
    REQUIRE_OK(&t->cx, ql_results_init(&t->cx, g, "test", set));
    st = ql_run_graph(&t->cx, t->registry, g, &(ql_run_options){.folder = t->folder}, set);
    CHECK_INT((int64_t)t->cx.device->used, 0);
    t->peak = t->cx.device->peak;
    ql_device_close(t->cx.device);
    t->cx.device = NULL;
    return st;
}

/* A metric of a cell; NaN when the cell has none. */
static inline double
walk_metric(const ql_result_cell *cell, const char *stage, const char *name)
{
    for (int64_t i = 0; i < cell->metric_count; i++)
        if (strcmp(cell->metrics[i].stage, stage) == 0 && strcmp(cell->metrics[i].name, name) == 0)
            return cell->metrics[i].value;
    return NAN;
}

#endif
