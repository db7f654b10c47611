/* Real models on real tasks against what the public harness gives: every prompt by its checksum, every log-likelihood, every answer. And
 * the same bits whether beginnings are shared, and whatever else is asked. */
#include "../device.h"
#include "answers.h"

typedef struct group { /* one run: tasks with the same settings, and the file of what the harness gives */
    const char *suffix, *settings, *tasks;
    const char *top; /* keys of the pipeline file itself: the model wears an adapter; NULL: the model as it is */
    int threads;     /* 0: 2 */
} group;

static const group groups[] = {
    {"", "limit: 60",
     "piqa arc_easy arc_challenge arc_official hellaswag winogrande boolq openbookqa mmlu storycloze lambada", NULL, 0},
    {".3shot", "limit: 12, shots: 3, max_length: 2048, allow_long: true",
     "arc_easy piqa winogrande boolq hellaswag openbookqa mmlu", NULL, 0},
    {".5shot-512", "limit: 12, shots: 5, max_length: 512", "arc_easy winogrande mmlu", NULL, 0},
    {".no-bos", "limit: 12, bos: 'no'", "piqa winogrande boolq arc_easy", NULL, 0},
};

static const struct {
    const char *task, *path, *pool;
    bool own; /* the file has other fields than the official one: tests/tasks has the task */
} tasks[] = {
    {"piqa", "datasets/piqa/validation.jsonl", NULL, false},
    {"arc_easy", "datasets/arc-easy/validation.jsonl", NULL, true},
    {"arc_challenge", "datasets/arc-challenge/validation.jsonl", NULL, true},
    {"arc_official", "golden-eval/data/arc_official_odd.jsonl", NULL, true},
    {"hellaswag", "datasets/hellaswag/validation.jsonl", NULL, true},
    {"winogrande", "datasets/winogrande/validation.jsonl", NULL, false},
    {"boolq", "datasets/boolq/validation.jsonl", NULL, false},
    {"openbookqa", "golden-eval/data/openbookqa.jsonl", NULL, true},
    {"mmlu", "golden-eval/data/mmlu_anatomy_test.jsonl", "golden-eval/data/mmlu_anatomy_dev.jsonl", false},
    {"storycloze", "golden-eval/data/storycloze.jsonl", NULL, false},
    {"lambada", "golden-eval/data/lambada.jsonl", NULL, false},
};
#define TASKS (sizeof tasks / sizeof *tasks)

static const char *fixtures, *source;
static char folder[] = "/tmp/qloom-tasks-XXXXXX";

static bool
has_word(const char *words, const char *word)
{
    const size_t n = strlen(word);

    for (const char *at = words; (at = strstr(at, word)); at += n)
        if ((at == words || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
            return true;
    return false;
}

/* --- runs -------------------------------------------------------------------------------------------------------- */

static void
write_pipeline(const char *path, const char *model, const group *g)
{
    FILE *file = fopen(path, "w");

    if (!file)
        exit(1);
    fprintf(file, "qloom: 1\nname: golden\ndevice: cpu\n%sstages:\n  base: {use: auto, path: %s/models/%s}\n",
            g->top ? g->top : "", fixtures, model);
    if (g->top)
        fprintf(file, "  quant: {use: rtn, model: $base, bits: 3}\n  fix: {use: svd, model: $quant, rank: 8}\n");
    for (size_t i = 0; i < TASKS; i++) {
        if (!has_word(g->tasks, tasks[i].task))
            continue;
        fprintf(file, "  d_%s: {use: tasks, path: %s/%s, %s", tasks[i].task, fixtures, tasks[i].path, g->settings);
        if (tasks[i].own)
            fprintf(file, ", file: %s/tests/tasks/%s.yaml", source, tasks[i].task);
        else
            fprintf(file, ", task: %s", tasks[i].task);
        if (tasks[i].pool)
            fprintf(file, ", pool: %s/%s", fixtures, tasks[i].pool);
        fprintf(file, "}\n  %s: {use: choices, model: %s, data: $d_%s, save: true}\n", tasks[i].task,
                g->top ? "$fix" : "$base", tasks[i].task);
    }
    fclose(file);
}

/* Runs the group; *out is the run's folder. */
static ql_job *
run(const char *model, const group *g)
{
    static char path[256], runs[256]; /* the job reads them as long as it is open */
    ql_job *job;

    snprintf(path, sizeof path, "%s/p.yaml", folder);
    snprintf(runs, sizeof runs, "%s/runs", folder);
    write_pipeline(path, model, g);
    if (ql_job_open(path, &(ql_job_options){.runs = runs, .fresh = true, .threads = g->threads ? g->threads : 2},
                    &job) != QL_OK ||
        ql_job_run(job) != QL_OK) {
        TEST_FAIL("%s%s: %s", model, g->suffix, ql_job_error(job));
        exit(1);
    }
    return job;
}

static double
real_at(const ql_json *list, int64_t i)
{
    double x = NAN;

    (void)ql_json_as_real(ql_json_item(list, i), &x);
    return x;
}

/* --- against the harness ----------------------------------------------------------------------------------------- */

static void
compare(const char *where, const ql_json *got, const ql_json *golden)
{
    static const char *const exact[] = {"ctx", "cont", "crc", "greedy", "pred", "acc", "acc_norm", "acc_bytes"};
    const ql_json *ll = ql_json_member(golden, "ll"), *cont = ql_json_member(golden, "cont");

    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++) {
        const ql_json *expected = ql_json_member(golden, exact[i]), *value = ql_json_member(got, exact[i]);

        if (expected && !(value && same(expected, value)) && !(strncmp(exact[i], "acc_", 4) == 0 && !value))
            TEST_FAIL("%s: %s differs", where, exact[i]);
    }
    for (int64_t i = 0; i < ql_json_length(ll); i++) {
        const double expected = real_at(ll, i), off = fabs(real_at(ql_json_member(got, "ll"), i) - expected);

        if (!(off <= 1e-3 && off <= 1e-5 * fabs(expected) + 1e-5 && off <= 5e-5 * real_at(cont, i)))
            TEST_FAIL("%s: log-likelihood %lld is off by %g from %g", where, (long long)i, off, expected);
    }
}

/* What sharing saves, as counted of these prompts: tokens of all texts over tokens that are read. */
static const struct {
    const char *task;
    double least;
} saved[] = {
    {"piqa", 1.4},       {"arc_easy", 3.1},   {"arc_challenge", 2.9}, {"hellaswag", 1.8},
    {"winogrande", 1.7}, {"openbookqa", 2.3}, {"boolq", 1.95},        {"mmlu", 3.9},
};

static ql_status
see_ratio(void *user, int columns, const char *const *names, const char *const *values)
{
    (void)names;
    *(double *)user = columns == 1 && values[0] ? strtod(values[0], NULL) : NAN;
    return QL_OK;
}

static void
check_sharing(ql_ctx *cx, ql_job *job)
{
    for (size_t i = 0; i < sizeof saved / sizeof *saved; i++) {
        double ratio = NAN;
        const char *sql =
            ql_format(cx,
                      "SELECT max(f.value) / min(f.value) FROM run r JOIN cell c ON c.run = r.id JOIN cell_node n ON"
                      " n.cell = c.id JOIN fact f USING (node) WHERE r.name = :run AND n.stage = '%s' AND f.name IN"
                      " ('tokens', 'tokens_unshared')",
                      saved[i].task);

        CHECK_INT(ql_job_query(job, sql, see_ratio, &ratio), QL_OK);
        printf("%s: %.3f\n", saved[i].task, ratio);
        if (!(ratio >= saved[i].least))
            TEST_FAIL("%s: texts have %g of the tokens that are read, expected %g", saved[i].task, ratio,
                      saved[i].least);
    }
}

/* Every golden line of the group has an answer like it. */
static void
check_group(ql_ctx *cx, const char *model, const group *g)
{
    const char *path = ql_format(cx, "%s/golden-eval/choices/%s%s.jsonl", fixtures, model, g->suffix);
    static lines golden, answers;
    ql_job *job;
    bool there;

    golden.count = answers.count = 0;
    REQUIRE_OK(cx, ql_is_file(cx, path, &there));
    if (!there)
        return;
    read_lines(cx, path, &golden);
    job = run(model, g);
    for (size_t i = 0; i < TASKS; i++)
        if (has_word(g->tasks, tasks[i].task))
            read_answers(cx, job, tasks[i].task, &answers);
    if (!*g->suffix)
        check_sharing(cx, job);
    ql_job_close(job);
    CHECK(golden.count > 30 && answers.count == golden.count);
    for (int64_t i = 0; i < golden.count; i++) {
        const char *task = ql_json_string(ql_json_member(golden.items[i], "task")), *where;
        const ql_json *got;
        int64_t doc = -1;

        (void)ql_json_as_int(ql_json_member(golden.items[i], "doc"), &doc);
        where = ql_format(cx, "%s%s: %s %lld", model, g->suffix, task, (long long)doc);
        got = find(&answers, task, doc);
        if (got)
            compare(where, got, golden.items[i]);
        else
            TEST_FAIL("%s: no answer", where);
    }
    printf("%s%s: %lld documents\n", model, g->suffix, (long long)golden.count);
}

/* --- the same bits ----------------------------------------------------------------------------------------------- */

/* Log-likelihoods of two runs of one task, for the documents of the second. */
static void
check_bits(ql_ctx *cx, const char *model, const group *a, const group *b)
{
    static lines one, other;
    ql_job *job = run(model, a);

    one.count = other.count = 0;
    read_answers(cx, job, a->tasks, &one);
    ql_job_close(job);
    job = run(model, b);
    read_answers(cx, job, a->tasks, &other);
    ql_job_close(job);
    CHECK(other.count > 0);
    for (int64_t d = 0; d < other.count; d++)
        for (int64_t i = 0; i < ql_json_length(ql_json_member(other.items[d], "ll")); i++)
            if (real_at(ql_json_member(one.items[d], "ll"), i) != real_at(ql_json_member(other.items[d], "ll"), i))
                TEST_FAIL("%s: %s %lld, %s%s: choice %lld has other bits", model, a->tasks, (long long)d, b->settings,
                          b->top ? b->top : "", (long long)i);
}

static bool
has_wide_products(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

/* Neither sharing nor the size of chunks, the number of documents or of threads changes a bit, of the model or with an adapter. On
 * processors without AVX-512 OpenBLAS' own products depend on the number of rows. */
static void
check_all_bits(ql_ctx *cx)
{
    static const group all = {"", "limit: 24", "piqa", "baseline: false\n", 0},
                       others[] =
                           {
                               {"", "limit: 24, share: false", "piqa", "baseline: false\nchunk_tokens: 100\n", 1},
                               {"", "limit: 24", "piqa", "baseline: false\nchunk_tokens: 64\n", 1},
                               {"", "limit: 1", "piqa", "baseline: false\n", 0},
                               {"", "limit: 7, share: false", "piqa winogrande", "baseline: false\n", 0},
                           },
                       few = {"", "limit: 8, shots: 2", "arc_easy", NULL, 0},
                       apart = {"", "limit: 8, shots: 2, share: false", "arc_easy", NULL, 0};

    if (!has_wide_products())
        return;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        check_bits(cx, "tiny-llama", &all, &others[i]);
    check_bits(cx, "tiny-llama", &few, &apart);
}

static bool
all_models(void)
{
    const char *all = getenv("QLOOM_TEST_MODELS");

    return all && strcmp(all, "all") == 0;
}

int
main(void)
{
    static const char *const models[] = {"tiny-llama", "tiny-qwen3", "stories260K",
                                         "tiny-qwen2", "wide-qwen2", "wide-qwen3"};
    ql_ctx cx;
    ql_scope scope;

    fixtures = test_fixtures();
    source = getenv("QLOOM_SOURCE");
    if (!fixtures)
        return test_failures ? 1 : 77;
    if (!mkdtemp(folder))
        return 1;
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    for (size_t m = 0; m < (all_models() ? sizeof models / sizeof *models : 2); m++)
        for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
            check_group(&cx, models[m], &groups[i]);
    check_all_bits(&cx);
    CHECK_OK(&cx, ql_remove_tree(&cx, folder));
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
