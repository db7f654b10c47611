/* Numbers of tasks with two classes against sums over documents, and log-probabilities rounded to a model's dtype. */
#include <qloom/job.h>

#include "base/file.h"
#include "base/json.h"
#include "../test.h"

#define DOCUMENTS 60

static char folder[] = "/tmp/qloom-metrics-XXXXXX";
static ql_ctx cx;

typedef struct seen { /* of one run: right class and answer of each document, log-likelihoods, facts */
    int gold[DOCUMENTS], pred[DOCUMENTS], count;
    double ll[DOCUMENTS][2], f1, mcc, f1_error, mcc_error;
} seen;

/* Records with a number in each, so that a small model's answers differ; the official shape of BIG-Bench Hard. */
static void
write_records(void)
{
    FILE *f = fopen(ql_format(&cx, "%s/records.json", folder), "w");

    if (!f)
        exit(1);
    fprintf(f, "{\"canary\": \"none\", \"examples\": [\n");
    for (int i = 0; i < DOCUMENTS; i++)
        fprintf(f, "  {\"input\": \"story %d had %s in it %d\", \"target\": \"%s\"}%s\n", i * i,
                i % 3 ? "a dog" : "two cats", i, i % 5 == 0 || i % 7 == 1 ? "was" : "and",
                i + 1 < DOCUMENTS ? "," : "");
    fprintf(f, "]}\n");
    fclose(f);
    f = fopen(ql_format(&cx, "%s/task.yaml", folder), "w");
    if (!f)
        exit(1);
    fprintf(f, "qloom-task: 1\nname: two\nversion: 1\nprompt: \"{{input}}\"\nchoices: \"{{['and', 'was']}}\"\n"
               "gold: \"{{target}}\"\nmetrics: [acc, f1, mcc]\n");
    fclose(f);
}

static ql_status
see_fact(void *user, int columns, const char *const *names, const char *const *values)
{
    seen *s = user;
    const double value = columns == 2 && values[1] ? strtod(values[1], NULL) : NAN;

    (void)names;
    if (strcmp(values[0], "f1") == 0)
        s->f1 = value;
    else if (strcmp(values[0], "mcc") == 0)
        s->mcc = value;
    else if (strcmp(values[0], "f1_stderr") == 0)
        s->f1_error = value;
    else if (strcmp(values[0], "mcc_stderr") == 0)
        s->mcc_error = value;
    return QL_OK;
}

static ql_status
see_answer(void *user, int columns, const char *const *names, const char *const *values)
{
    seen *s = user;

    (void)names;
    CHECK_INT(columns, 2);
    s->gold[s->count] = atoi(values[0]);
    s->pred[s->count++] = atoi(values[1]);
    return QL_OK;
}

static void
read_lls(const char *run, seen *s)
{
    const ql_folder_entry *entries;
    const char *text, *end;
    int64_t count, n = 0;
    size_t bytes;

    REQUIRE_OK(&cx, ql_folder_list(&cx, run, &entries, &count));
    for (int64_t i = 0; i < count; i++) {
        if (strncmp(entries[i].name, "answers-", 8) != 0)
            continue;
        REQUIRE_OK(&cx,
                   ql_file_read(&cx, ql_format(&cx, "%s/%s", run, entries[i].name), (size_t)1 << 24, &text, &bytes));
        for (; *text && n < DOCUMENTS; text = end + 1, n++) {
            const ql_json *line, *ll;

            end = strchr(text, '\n');
            REQUIRE_OK(&cx, ql_json_parse(&cx, &(ql_json_input){.text = text, .bytes = (size_t)(end - text)}, &line));
            ll = ql_json_member(line, "ll");
            CHECK(ql_json_as_real(ql_json_item(ll, 0), &s->ll[n][0]) &&
                  ql_json_as_real(ql_json_item(ll, 1), &s->ll[n][1]));
        }
    }
    CHECK_INT(n, DOCUMENTS);
}

static void
run(const char *more, seen *s)
{
    const char *path = ql_format(&cx, "%s/p.yaml", folder), *source = getenv("QLOOM_SOURCE");
    FILE *f = fopen(path, "w");
    ql_job *job;

    if (!f)
        exit(1);
    fprintf(f,
            "qloom: 1\nname: metrics\ndevice: cpu\nstages:\n  base: {use: auto, path: %s/examples/tiny-qwen3}\n"
            "  d: {use: tasks, file: task.yaml, path: records.json}\n"
            "  c: {use: choices, model: $base, data: $d, save: true%s}\n",
            source, more);
    fclose(f);
    *s = (seen){0};
    if (ql_job_open(path, &(ql_job_options){.runs = ql_format(&cx, "%s/runs", folder), .fresh = true, .threads = 1},
                    &job) != QL_OK ||
        ql_job_run(job) != QL_OK) {
        TEST_FAIL("%s", ql_job_error(job));
        exit(1);
    }
    CHECK_INT(ql_job_query(job, "SELECT name, value FROM fact", see_fact, s), QL_OK);
    CHECK_INT(ql_job_query(job, "SELECT gold, pred FROM answer ORDER BY doc", see_answer, s), QL_OK);
    read_lls(ql_job_about(job)->folder, s);
    ql_job_close(job);
}

/* --- two classes ------------------------------------------------------------------------------------------------- */

/* Of all documents but `out`: from precision and recall. */
static double
f1_without(const seen *s, int out)
{
    double said = 0, are = 0, hits = 0;

    for (int i = 0; i < s->count; i++) {
        said += i != out && s->pred[i] == 1;
        are += i != out && s->gold[i] == 1;
        hits += i != out && s->gold[i] == 1 && s->pred[i] == 1;
    }
    return hits > 0 ? 2 / (said / hits + are / hits) : 0;
}

/* The correlation of two lists of 0 and 1, by its definition. */
static double
mcc_without(const seen *s, int out)
{
    double n = 0, x = 0, y = 0, xx = 0, yy = 0, xy = 0;

    for (int i = 0; i < s->count; i++) {
        if (i == out)
            continue;
        n++;
        x += s->gold[i];
        y += s->pred[i];
    }
    for (int i = 0; i < s->count; i++) {
        const double a = s->gold[i] - x / n, b = s->pred[i] - y / n;

        if (i == out)
            continue;
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
}

/* The jackknife, document by document. */
static double
error(const seen *s, double (*without)(const seen *, int))
{
    double mean = 0, sum = 0;

    for (int i = 0; i < s->count; i++)
        mean += without(s, i) / s->count;
    for (int i = 0; i < s->count; i++)
        sum += pow(without(s, i) - mean, 2);
    return sqrt(sum * (s->count - 1) / s->count);
}

static void
check_classes(const seen *s)
{
    int ones = 0;

    CHECK_INT(s->count, DOCUMENTS);
    for (int i = 0; i < s->count; i++)
        ones += s->pred[i];
    CHECK(ones > 0 && ones < DOCUMENTS); /* else the numbers say nothing */
    CHECK_NEAR(s->f1, f1_without(s, -1), 1e-12);
    CHECK_NEAR(s->mcc, mcc_without(s, -1), 1e-12);
    CHECK_NEAR(s->f1_error, error(s, f1_without), 1e-12);
    CHECK_NEAR(s->mcc_error, error(s, mcc_without), 1e-12);
}

/* --- dtypes ------------------------------------------------------------------------------------------------------ */

/* Has the number at most `bits` bits, the first included? */
static bool
has_bits(double x, int bits)
{
    int exponent;
    const double whole = ldexp(frexp(x, &exponent), bits);

    return whole == floor(whole);
}

/* Each log-probability and each sum is rounded, so a sum of n words is off by n + 1 halves of a last bit at most. */
static void
check_dtype(const seen *full, const char *dtype, int bits)
{
    static seen s;
    bool differs = false;

    run(ql_format(&cx, ", logprob_dtype: %s", dtype), &s);
    for (int i = 0; i < DOCUMENTS; i++)
        for (int k = 0; k < 2; k++) {
            CHECK(has_bits(s.ll[i][k], bits));
            CHECK(fabs(s.ll[i][k] - full->ll[i][k]) <= 4 * ldexp(fabs(full->ll[i][k]), -bits));
            differs = differs || s.ll[i][k] != full->ll[i][k];
        }
    CHECK(differs);
}

int
main(void)
{
    static seen full;
    ql_scope scope;

    if (!mkdtemp(folder))
        return 1;
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    write_records();
    run("", &full);
    check_classes(&full);
    check_dtype(&full, "bf16", 8);
    check_dtype(&full, "fp16", 11);
    CHECK_OK(&cx, ql_remove_tree(&cx, folder));
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
