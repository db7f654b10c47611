/* Generation that is stopped again and again goes on from what was finished, to the same bytes. */
#include <qloom/evaluator.h>

#include "../device.h"
#include "answers.h"

#define STOPS 20

static const char *fixtures;
static char folder[] = "/tmp/qloom-resume-XXXXXX";
static int64_t calls, stop_at; /* of `said` in the run; the call in which it is stopped, 0: it is not */
static ql_job *job;
static double sum; /* over all ids, in order */

static ql_status
said(ql_ctx *cx, const void *self, const ql_said *s, bool *end)
{
    (void)cx;
    (void)self;
    (void)s;
    if (++calls == stop_at)
        ql_job_cancel(job);
    *end = false;
    return QL_OK;
}

static void
pool(const void *self, ql_pool_wish *out)
{
    (void)self;
    *out = (ql_pool_wish){.sequences = 8};
}

static ql_status
end(ql_ctx *cx, const void *self, const ql_eval_info *info, const ql_eval_found *found, ql_facts *out)
{
    const int32_t *ids = found->data;

    (void)self;
    (void)info;
    sum = 0;
    for (size_t i = 0; i < found->bytes / sizeof *ids; i++)
        sum = fmod(sum * 31 + ids[i], 1e9);
    return ql_fact(cx, out, "sum", NULL, sum);
}

static const ql_param params[] = {QL_PARAMS_END};
static const ql_evaluator evaluator = {
    .size = sizeof(ql_evaluator), .questions = true, .said = said, .pool = pool, .end = end};
static const ql_plugin plugin = {.abi_major = QL_ABI_MAJOR,
                                 .abi_minor = QL_ABI_MINOR,
                                 .size = sizeof(ql_plugin),
                                 .kind = QL_EVALUATOR,
                                 .name = "listen",
                                 .version = "1",
                                 .help = "listens",
                                 .params = params,
                                 .evaluator = &evaluator};

/* Runs the pipeline; `said` stops it in its call `at`. */
static ql_status
run(const char *path, const char *runs, int64_t at, bool fresh)
{
    const ql_plugin *const plugins[] = {&plugin, NULL};
    const ql_job_options opt = {.runs = runs, .threads = 1, .fresh = fresh, .plugins = plugins};
    ql_status st;

    calls = 0;
    stop_at = at;
    st = ql_job_open(path, &opt, &job);
    if (st == QL_OK)
        st = ql_job_run(job);
    if (st != QL_OK && st != QL_INTERRUPTED)
        TEST_FAIL("%s", ql_job_error(job));
    ql_job_close(job);
    return st;
}

int
main(void)
{
    char path[256], runs[256];
    ql_ctx cx;
    ql_scope scope;
    FILE *file;
    double whole;
    int64_t all, stops = 0;

    fixtures = test_fixtures();
    if (!fixtures)
        return test_failures ? 1 : 77;
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/p.yaml", folder);
    snprintf(runs, sizeof runs, "%s/runs", folder);
    file = fopen(path, "w");
    fprintf(file,
            "qloom: 1\nname: resume\ndevice: cpu\nbaseline: false\nstages:\n  base: {use: auto, path: "
            "%s/models/tiny-llama}\n"
            "  d: {use: tasks, task: gsm8k, shots: 0, max_gen: 5, limit: 72, path: %s/datasets/gsm8k/test.jsonl}\n"
            "  quant: {use: rtn, model: $base, bits: 4}\n  g: {use: listen, model: $quant, data: $d}\n",
            fixtures, fixtures);
    fclose(file);
    CHECK_INT(run(path, runs, 0, true), QL_OK);
    whole = sum;
    all = calls;
    CHECK(all > 200);
    snprintf(runs, sizeof runs, "%s/again", folder);
    sum = 0;
    /* Where the store has nothing yet a stop comes early or late; each further one after about two savings, so that the run advances. */
    for (int64_t at = 1; stops < STOPS && run(path, runs, at, false) == QL_INTERRUPTED; stops++)
        at = stops % 3 ? 40 + 7 * stops : 17;
    printf("%lld calls without a stop, %lld stops, %lld calls in the last run\n", (long long)all, (long long)stops,
           (long long)calls);
    CHECK(stops > 3);
    if (stops == STOPS)
        CHECK_INT(run(path, runs, 0, false), QL_OK);
    CHECK(sum == whole);
    CHECK(calls < all); /* not everything anew */
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    CHECK_OK(&cx, ql_remove_tree(&cx, folder));
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
