/* An embedding program with a decimal comma, set for the process or for the thread: numbers are read and written all the same, the run
 * makes the same files as without, and the thread has its locale back after each call. */
#include <locale.h>

#include <qloom/job.h>

#include "base/text.h"
#include "test.h"

static const char pipeline[] = "qloom: 1\n"
                               "name: locale\n"
                               "device: cpu\n"
                               "stages:\n"
                               "  base: {use: auto, path: %s/examples/tiny-qwen3}\n"
                               "  calib: {use: text, path: %s/examples/calib.txt, seqlen: 32, samples: 1}\n"
                               "  eval: {use: text, path: %s/examples/eval.txt, seqlen: 32, samples: 1}\n"
                               "  quant: {use: gptq, model: $base, calib: $calib, bits: 4, damp: 0.015}\n"
                               "  ppl: {use: perplexity, model: $quant, data: $eval}\n"
                               "  codes: {use: gptq_checkpoint, model: $quant}\n"
                               "matrix:\n"
                               "  quant.damp: [0.015, 2.5e-2]\n"
                               "exclude: [{quant.damp: 0.0150}]\n";

typedef struct answer {
    char text[512];
    bool comma; /* a log line has a number with one */
} answer;

static ql_status
see_row(void *user, int columns, const char *const *names, const char *const *values)
{
    answer *a = user;

    (void)columns;
    (void)names;
    snprintf(a->text, sizeof a->text, "%s", values[0] ? values[0] : "null");
    return QL_OK;
}

static void
see_line(void *user, ql_log_level level, const char *line)
{
    answer *a = user;

    (void)level;
    for (const char *p = line; *p; p++)
        a->comma = a->comma || (p > line && p[0] == ',' && p[-1] >= '0' && p[-1] <= '9' && p[1] >= '0' && p[1] <= '9');
}

/* Whether the thread writes numbers with a comma. */
static bool
writes_comma(void)
{
    char text[8];

    snprintf(text, sizeof text, "%.1f", 0.5);
    return text[1] == ',';
}

static void
run(const char *file, const char *runs, bool comma, answer *a)
{
    const ql_job_options opt = {.runs = runs, .log = see_line, .user = a, .threads = 1};
    ql_forecast forecast;
    ql_job *job;

    CHECK_INT(writes_comma(), comma);
    if (ql_job_open(file, &opt, &job) != QL_OK)
        TEST_FAIL("%s", ql_job_error(job));
    CHECK_INT(writes_comma(), comma);
    CHECK_INT(ql_job_check(job), QL_OK);
    CHECK_INT(ql_job_plan(job, &forecast), QL_OK);
    CHECK_INT(writes_comma(), comma);
    CHECK(ql_job_graph(job, false) && !strstr(ql_job_graph(job, false), "0,0"));
    CHECK_INT(ql_job_run(job), QL_OK);
    CHECK_INT(writes_comma(), comma);
    CHECK_INT(ql_job_query(job, "SELECT group_concat(name || ' ' || value, ';') FROM fact WHERE name = 'perplexity'",
                           see_row, a),
              QL_OK);
    CHECK_INT(writes_comma(), comma);
    CHECK(!a->comma);
    ql_job_close(job);
}

static void
check_numbers(void)
{
    char text[QL_NUMBER_SIZE];
    char *end;

    ql_number(0.5, text);
    CHECK_STR(text, "0.5");
    ql_number((double)NAN, text);
    CHECK(strstr(text, "nan") != NULL);
    ql_number(-(double)INFINITY, text);
    CHECK_STR(text, "-inf");
    CHECK(ql_to_double("2.25x", &end) == 2.25 && *end == 'x');
    CHECK(ql_to_double("2,25", &end) == 2 && *end == ',');
}

int
main(void)
{
    const char *source = getenv("QLOOM_SOURCE");
    char base[] = "/tmp/qloom-locale-XXXXXX", file[64], runs[64], command[512];
    answer plain = {0}, global = {0}, thread = {0};
    locale_t german;
    FILE *f;

    if (!source)
        SKIP("QLOOM_SOURCE is not set");
    if (!mkdtemp(base))
        return 1;
    snprintf(command, sizeof command, "localedef -c -i de_DE -f UTF-8 %s/comma.UTF-8 >/dev/null 2>&1", base);
    if (system(command) > 1 << 8) /* 1: with warnings */
        SKIP("no localedef with de_DE here");
    setenv("LOCPATH", base, 1);
    german = newlocale(LC_ALL_MASK, "comma.UTF-8", (locale_t)0);
    if (!german)
        SKIP("a locale that localedef made can't be opened");
    snprintf(file, sizeof file, "%s/p.yaml", base);
    f = fopen(file, "w");
    if (!f)
        return 1;
    fprintf(f, pipeline, source, source, source);
    fclose(f);
    snprintf(runs, sizeof runs, "%s/runs", base);
    check_numbers();
    run(file, runs, false, &plain);
    snprintf(command, sizeof command, "mv %s %s-plain", runs, runs);
    CHECK_INT(system(command), 0);

    CHECK(setlocale(LC_ALL, "comma.UTF-8") != NULL);
    check_numbers();
    run(file, runs, true, &global);
    CHECK(setlocale(LC_ALL, "C") != NULL);
    snprintf(command, sizeof command, "mv %s %s-global", runs, runs);
    CHECK_INT(system(command), 0);

    (void)uselocale(german);
    check_numbers();
    run(file, runs, true, &thread);
    CHECK(uselocale(LC_GLOBAL_LOCALE) == german);

    CHECK(strlen(plain.text) > 12);
    CHECK_STR(global.text, plain.text);
    CHECK_STR(thread.text, plain.text);
    snprintf(command, sizeof command,
             "cd %s && cp -r runs-plain/locale-* plain && cp -r runs-global/locale-* global && cp -r runs/locale-* "
             "thread && "
             "for other in global thread; do diff -rq -x log.txt -x journal.jsonl -x at -x lock plain $other || exit "
             "1; done",
             base);
    CHECK_INT(system(command), 0);
    snprintf(command, sizeof command, "rm -r %s", base);
    CHECK_INT(system(command), 0);
    return TEST_DONE();
}
