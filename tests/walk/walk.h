/* What the tests of the walk share: pipelines from text, run in this process on the CPU device, with the log in memory. */
#ifndef QLOOM_TESTS_WALK_H
#define QLOOM_TESTS_WALK_H

#include <unistd.h>

#include "core/device/device.h"
#include "core/pipeline/graph.h"
#include "core/walk/plan.h"
#include "core/walk/run.h"
#include "make_model.h"
#include "report/set.h"
#include "test.h"

typedef struct walk_log {
    char text[1 << 16];
    size_t used;
} walk_log;

typedef struct walk_test {
    ql_ctx cx;
    ql_scope scope;
    ql_registry *registry;
    const ql_backend *backend; /* NULL: the cpu's */
    ql_log sink;
    walk_log log;
    size_t peak;        /* of the last run's device memory */
    uint64_t parked;    /* of the last run */
    int64_t fail_alloc; /* the n-th allocation of a run fails; 0: none */
    const char *db;     /* where results are kept from run to run; NULL: in memory */
    char folder[64];    /* made under /tmp, for files of the run */
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

/* A small random model whose linears are multiplied by `scale`, its head by `head`; its folder. */
static inline const char *
walk_loud_model(walk_test *t, const char *name, int64_t layers, double scale, double head)
{
    const char *source = getenv("QLOOM_SOURCE"), *folder = ql_format(&t->cx, "%s/%s", t->folder, name);
    const model_spec spec = {.architecture = "LlamaForCausalLM",
                             .type = "llama",
                             .vocab = 512,
                             .hidden = 32,
                             .intermediate = 48,
                             .layers = layers,
                             .heads = 2,
                             .kv_heads = 2,
                             .head_dim = 16,
                             .dtype = QL_ST_F32,
                             .seed = 7,
                             .scale = scale,
                             .head = head};
    char command[8192];

    REQUIRE_OK(&t->cx, make_model(&t->cx, folder, &spec));
    snprintf(command, sizeof command, "cp %s/examples/tiny-qwen3/tokenizer*.json %s/", source ? source : ".", folder);
    CHECK_INT(system(command), 0);
    return folder;
}

static inline const char *
walk_model(walk_test *t, const char *name, int64_t layers, double scale)
{
    return walk_loud_model(t, name, layers, scale, 1);
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

/* Runs it with so many threads, so much memory (0: no limit), a store and a journal (NULL: none); the caller closes the set. Returns the
 * status. */
static inline ql_status
walk_run_kept(walk_test *t, const ql_graph *g, int threads, size_t limit, const ql_run_options *opt, ql_result_set *set)
{
    const ql_found *cpu = ql_registry_find(t->registry, "cpu");
    ql_results *results;
    ql_status st;

    if (!cpu || !cpu->plugin)
        abort();
    REQUIRE_OK(&t->cx, ql_device_open(&t->cx, t->backend ? t->backend : cpu->plugin->backend,
                                      &(ql_device_options){.threads = threads}, limit, &t->cx.device));
    *set = (ql_result_set){0};
    REQUIRE_OK(&t->cx, ql_results_open(&t->cx, t->db, true, &results));
    REQUIRE_OK(&t->cx, ql_run_begin(results, g, "test"));
    t->cx.fail_alloc = t->fail_alloc;
    st = ql_run_graph(&t->cx, t->registry, g, opt, results);
    t->cx.fail_alloc = 0;
    if (st == QL_OK)
        REQUIRE_OK(&t->cx, ql_run_end(results, &(ql_run_end_info){.version = "test"}));
    if (st == QL_OK)
        REQUIRE_OK(&t->cx, ql_results_read(&t->cx, results, ql_run_id(results), set));
    ql_results_close(results);
    CHECK_INT((int64_t)t->cx.device->used, (int64_t)t->cx.device->info.reserved);
    t->peak = t->cx.device->peak;
    t->parked = t->cx.device->parked;
    ql_device_close(t->cx.device);
    t->cx.device = NULL;
    return st;
}

/* The same without a store. */
static inline ql_status
walk_run(walk_test *t, const ql_graph *g, int threads, size_t limit, ql_result_set *set)
{
    return walk_run_kept(t, g, threads, limit, &(ql_run_options){.folder = t->folder}, set);
}

#define WALK_SAME(a, b, name)                                  \
    if (memcmp(&(a)->value, &(b)->value, sizeof(double)) != 0) \
    TEST_FAIL("%s: %.17g and %.17g", (name), (a)->value, (b)->value)

/* All that a cell says is the same, to the bit; what it cost is not looked at. */
static inline void
walk_check_cell(const ql_result_cell *a, const ql_result_cell *b)
{
    CHECK_INT(a->metric_count, b->metric_count);
    CHECK_INT(a->linear_count, b->linear_count);
    CHECK_INT(a->note_count, b->note_count);
    CHECK_INT(a->footnote_count, b->footnote_count);
    CHECK_INT(a->list_count, b->list_count);
    CHECK(memcmp(&a->bits, &b->bits, sizeof a->bits) == 0);
    CHECK_STR(a->error ? a->error : "fine", b->error ? b->error : "fine");
    if (test_failures)
        return;
    for (int64_t i = 0; i < a->metric_count; i++)
        WALK_SAME(&a->metrics[i], &b->metrics[i], a->metrics[i].name);
    for (int64_t i = 0; i < a->linear_count; i++) {
        CHECK_STR(a->linears[i].linear, b->linears[i].linear);
        WALK_SAME(&a->linears[i], &b->linears[i], a->linears[i].name);
    }
    for (int64_t i = 0; i < a->note_count; i++)
        CHECK_STR(a->notes[i].value, b->notes[i].value);
    for (int64_t i = 0; i < a->footnote_count; i++)
        CHECK_STR(a->footnotes[i], b->footnotes[i]);
    for (int64_t i = 0; i < a->list_count; i++) {
        CHECK_STR(a->lists[i].name, b->lists[i].name);
        CHECK_INT(a->lists[i].count, b->lists[i].count);
        CHECK(a->lists[i].count == b->lists[i].count &&
              memcmp(a->lists[i].values, b->lists[i].values, (size_t)a->lists[i].count * sizeof(double)) == 0);
    }
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
