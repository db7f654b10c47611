/* A job from C: what it tells of a pipeline, runs, cancellation at any time, queries, errors. */
#include <math.h>
#include <pthread.h>
#include <unistd.h>

#include <qloom/job.h>

#include "test.h"

static const char pipeline[] = "qloom: 1\n"
                               "name: small\n"
                               "device: cpu\n"
                               "stages:\n"
                               "  base: {use: auto, path: %s/examples/tiny-qwen3}\n"
                               "  eval: {use: text, path: %s/examples/eval.txt, seqlen: 32, samples: 2}\n"
                               "  quant: {use: rtn, model: $base, bits: 4}\n"
                               "  ppl: {use: perplexity, model: $quant, data: $eval}\n"
                               "matrix:\n"
                               "  quant.bits: [8, 3]\n";

static const char perplexities[] =
    "SELECT f.value FROM run r JOIN cell c ON c.run = r.id JOIN cell_node n ON n.cell = c.id"
    " JOIN fact f USING (node) WHERE r.name = :run AND f.name = 'perplexity'"
    " ORDER BY c.number";

typedef struct seen {
    ql_job *job;
    int lines, progress, rows;
    bool cancel; /* at the first line of progress */
    double last; /* number of the last row */
    char text[64];
} seen;

static void
see_line(void *user, ql_log_level level, const char *line)
{
    seen *s = user;

    (void)level;
    s->lines += line != NULL;
}

static void
see_progress(void *user, const char *line, bool last)
{
    seen *s = user;

    (void)line;
    (void)last;
    s->progress++;
    if (s->cancel)
        ql_job_cancel(s->job);
}

static ql_status
see_row(void *user, int columns, const char *const *names, const char *const *values)
{
    seen *s = user;

    s->rows++;
    CHECK(columns >= 1 && names[0] != NULL);
    if (values[0])
        s->last = strtod(values[0], NULL);
    snprintf(s->text, sizeof s->text, "%s", values[0] ? values[0] : "null");
    return s->rows == 100 ? QL_UNSUPPORTED : QL_OK;
}

static void
test_refused(const char *file)
{
    static const char *const sets[] = {"quant.bits=30", NULL};
    ql_job *job;

    CHECK_INT(ql_job_open("/not/there.yaml", NULL, &job), QL_NOT_FOUND);
    CHECK(strstr(ql_job_error(job), "/not/there.yaml") != NULL);
    ql_job_close(job);
    CHECK_INT(ql_job_open(file, &(ql_job_options){.sets = sets}, &job), QL_INVALID);
    CHECK(strstr(ql_job_error(job), "bits") != NULL);
    ql_job_close(job);
    ql_job_close(NULL);
}

static void
test_plan(ql_job *job)
{
    const ql_job_info *info = ql_job_about(job);
    ql_forecast f;

    CHECK_INT(info->cells, 2);
    CHECK_INT(info->stages, 4);
    CHECK(strncmp(info->name, "small-", 6) == 0);
    CHECK(ql_job_graph(job, false) && strstr(ql_job_graph(job, false), "quant") != NULL);
    CHECK(ql_job_graph(job, true) && strncmp(ql_job_graph(job, true), "digraph", 7) == 0);
    CHECK_INT(ql_job_plan(job, &f), QL_OK);
    CHECK(f.timed && f.memory > 0 && f.seconds >= 0 && f.cache > 0);
    CHECK_INT(f.model_count, 1);
    CHECK_STR(f.models[0].stage, "base");
    CHECK_INT(f.models[0].linear_count, 7);
    CHECK(f.stage_count >= 3);
}

static void
test_queries(ql_job *job, seen *s)
{
    static const struct {
        const char *sql, *error;
    } refused[] = {
        {"SELECT x FROM nowhere", "no such table: nowhere"}, {"DELETE FROM run", "expected one SELECT"},
        {"SELECT 1; SELECT 2", "expected one SELECT"},       {"", "expected one SELECT"},
        {"SELECT :other", "no parameter but :run"},
    };

    s->rows = 0;
    CHECK_INT(ql_job_query(job, perplexities, see_row, s), QL_OK);
    CHECK_INT(s->rows, 3); /* two cells and the original */
    CHECK(s->last > 1 && isfinite(s->last));
    CHECK_INT(ql_job_query(job, "SELECT 0.1;", see_row, s), QL_OK);
    CHECK_STR(s->text, "0.1");
    CHECK_INT(ql_job_query(job, "SELECT NULL", see_row, s), QL_OK);
    CHECK_STR(s->text, "null");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        CHECK_INT(ql_job_query(job, refused[i].sql, see_row, s), QL_INVALID);
        if (!strstr(ql_job_error(job), refused[i].error))
            TEST_FAIL("%s: %s", refused[i].sql, ql_job_error(job));
    }
    /* what the row function returns ends the query */
    s->rows = 0;
    CHECK_INT(ql_job_query(job, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
                           see_row, s),
              QL_UNSUPPORTED);
    CHECK_INT(s->rows, 100);
}

static void *
cancel_soon(void *job)
{
    usleep(50000);
    ql_job_cancel(job);
    return NULL;
}

/* A query without an end, cancelled by another thread; the job is over then. */
static void
test_endless(ql_job *job, seen *s)
{
    pthread_t thread;

    CHECK_INT(pthread_create(&thread, NULL, cancel_soon, job), 0);
    CHECK_INT(ql_job_query(job, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
                           see_row, s),
              QL_INTERRUPTED);
    pthread_join(thread, NULL);
    CHECK_INT(ql_job_run(job), QL_INTERRUPTED);
}

static void
test_jobs(const char *file, const char *runs)
{
    seen s = {0};
    ql_job_options opt = {.runs = runs, .log = see_line, .progress = see_progress, .user = &s, .threads = 1};
    double number;

    if (ql_job_open(file, &opt, &s.job) != QL_OK)
        TEST_FAIL("%s", ql_job_error(s.job));
    test_plan(s.job);
    s.cancel = true;
    CHECK_INT(ql_job_run(s.job), QL_INTERRUPTED);
    CHECK_STR(ql_job_error(s.job), "interrupted");
    ql_job_close(s.job);

    s = (seen){0};
    CHECK_INT(ql_job_open(file, &opt, &s.job), QL_OK);
    CHECK_INT(ql_job_run(s.job), QL_OK);
    CHECK(s.lines > 0 && s.progress > 0);
    test_queries(s.job, &s);
    ql_job_query(s.job, perplexities, see_row, &s);
    number = s.last;
    CHECK_INT(ql_job_run(s.job), QL_OK); /* again, from the cache */
    ql_job_query(s.job, perplexities, see_row, &s);
    CHECK(s.last == number);
    test_endless(s.job, &s);
    ql_job_close(s.job);
}

int
main(void)
{
    const char *source = getenv("QLOOM_SOURCE");
    char base[] = "/tmp/qloom-job-XXXXXX", file[64], runs[64], command[128];
    FILE *f;

    if (!source)
        SKIP("QLOOM_SOURCE is not set");
    if (!mkdtemp(base))
        return 1;
    snprintf(file, sizeof file, "%s/small.yaml", base);
    snprintf(runs, sizeof runs, "%s/runs", base);
    f = fopen(file, "w");
    if (!f)
        return 1;
    fprintf(f, pipeline, source, source);
    fclose(f);
    test_refused(file);
    test_jobs(file, runs);
    snprintf(command, sizeof command, "rm -r %s", base);
    CHECK_INT(system(command), 0);
    return TEST_DONE();
}
