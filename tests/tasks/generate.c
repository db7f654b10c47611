/* Texts that real models generate against what the public harness gives: every prompt, every token, every answer found. And the same
 * tokens whatever runs beside a text. */
#include <math.h>

#include "../device.h"
#include "answers.h"

static const char *fixtures;
static char folder[] = "/tmp/qloom-generate-XXXXXX";

/* The settings of the goldens' three groups, by the number of shots. */
static const struct {
    int shots;
    const char *settings;
} groups[] = {
    {0, "limit: 10, shots: 0, max_gen: 64, max_length: 512"},
    {2, "limit: 6, shots: 2, max_gen: 48, max_length: 2048, allow_long: true"},
    {5, "limit: 4, shots: 5, max_gen: 64, max_length: 512"},
};
#define GROUPS (sizeof groups / sizeof *groups)

static void
put_stage(FILE *file, int shots, const char *settings, const char *of, const char *how)
{
    fprintf(file,
            "  d%d: {use: tasks, task: gsm8k, path: %s/datasets/gsm8k/test.jsonl, pool: "
            "%s/datasets/gsm8k/train-500.jsonl, %s}\n",
            shots, fixtures, fixtures, settings);
    fprintf(file, "  g%d: {use: generate, model: %s, data: $d%d, save: true%s}\n", shots, of, shots, how);
}

/* Opens and runs what has been written to `file`. */
static ql_job *
run(FILE *file, const char *path, int threads)
{
    static char runs[256]; /* the job reads it as long as it is open */
    ql_job *job;

    fclose(file);
    snprintf(runs, sizeof runs, "%s/runs", folder);
    if (ql_job_open(path, &(ql_job_options){.runs = runs, .fresh = true, .threads = threads}, &job) != QL_OK ||
        ql_job_run(job) != QL_OK) {
        TEST_FAIL("%s: %s", path, ql_job_error(job));
        exit(1);
    }
    return job;
}

static FILE *
begin(const char *path, const char *top, const char *model)
{
    FILE *file = fopen(path, "w");

    if (!file)
        exit(1);
    fprintf(file, "qloom: 1\nname: texts\ndevice: cpu\n%sstages:\n  base: {use: auto, path: %s/models/%s}\n", top,
            fixtures, model);
    return file;
}

/* --- against the harness ----------------------------------------------------------------------------------------- */

/* Ids are equal where the best two logits are never near each other; else as far as the first such place, which the goldens don't tell. */
static void
compare(const char *where, const ql_json *got, const ql_json *golden)
{
    static const char *const prompt[] = {"ctx_full", "ctx", "crc"}, *const text[] = {"ids",          "text",
                                                                                     "strict",       "flexible",
                                                                                     "strict_match", "flexible_match"};
    double gap = 0;

    for (size_t i = 0; i < sizeof prompt / sizeof *prompt; i++)
        if (!same(ql_json_member(golden, prompt[i]), ql_json_member(got, prompt[i])))
            TEST_FAIL("%s: %s differs", where, prompt[i]);
    CHECK(ql_json_as_real(ql_json_member(golden, "gap"), &gap));
    for (size_t i = 0; gap >= 1e-3 && i < sizeof text / sizeof *text; i++)
        if (!same(ql_json_member(golden, text[i]), ql_json_member(got, text[i])))
            TEST_FAIL("%s: %s differs", where, text[i]);
}

static int64_t
int_at(const ql_json *line, const char *key)
{
    int64_t i = -1;

    (void)ql_json_as_int(ql_json_member(line, key), &i);
    return i;
}

static void
check_model(ql_ctx *cx, const char *model)
{
    static lines golden, answers;
    const char *path = ql_format(cx, "%s/p.yaml", folder);
    FILE *file = begin(path, "", model);
    ql_job *job;
    int64_t near = 0;

    golden.count = 0;
    read_lines(cx, ql_format(cx, "%s/golden-eval/generation/%s.jsonl", fixtures, model), &golden);
    for (size_t g = 0; g < GROUPS; g++)
        put_stage(file, groups[g].shots, groups[g].settings, "$base", "");
    job = run(file, path, 2);
    CHECK(golden.count == 20);
    for (size_t g = 0; g < GROUPS; g++) {
        answers.count = 0;
        read_answers(cx, job, ql_format(cx, "g%d", groups[g].shots), &answers);
        CHECK(answers.count > 3);
        for (int64_t i = 0; i < golden.count; i++) {
            const int64_t doc = int_at(golden.items[i], "doc");
            const ql_json *got =
                int_at(golden.items[i], "shots") == groups[g].shots ? find(&answers, "gsm8k", doc) : NULL;
            double gap = 1;

            if (!got)
                continue;
            (void)ql_json_as_real(ql_json_member(golden.items[i], "gap"), &gap);
            near += gap < 1e-3;
            compare(ql_format(cx, "%s, %d shots, %lld", model, groups[g].shots, (long long)doc), got, golden.items[i]);
        }
    }
    ql_job_close(job);
    printf("%s: %lld texts, in %lld of them two logits are near each other\n", model, (long long)golden.count,
           (long long)near);
}

/* --- the same bits ----------------------------------------------------------------------------------------------- */

/* Texts of a model with codes and an adapter, in the order of documents; tokens are all that there is to see of bits. */
static void
texts_of(ql_ctx *cx, const char *top, const char *settings, const char *how, int threads, lines *out)
{
    const char *path = ql_format(cx, "%s/b.yaml", folder);
    FILE *file = begin(path, ql_format(cx, "baseline: false\n%s", top), "tiny-llama");
    ql_job *job;

    fprintf(file,
            "  quant: {use: rtn, model: $base, bits: 3, group_size: 32}\n  fix: {use: svd, model: $quant, rank: 8}\n");
    put_stage(file, 2, settings, "$fix", how);
    job = run(file, path, threads);
    out->count = 0;
    read_answers(cx, job, "g2", out);
    ql_job_close(job);
}

/* Neither the pool nor pages, threads, chunks or other documents change a token. */
static void
check_company(ql_ctx *cx)
{
    static const char all[] = "limit: 9, shots: 2, max_gen: 24, max_length: 512";
    static const struct {
        const char *top, *settings, *how;
        int threads;
    } others[] = {
        {"", all, ", pool: 1", 1},
        {"", all, ", pool: 3", 2},
        {"", all, ", pool: 64, kv_memory: 3MiB", 1},
        {"chunk_tokens: 100\n", all, ", pool: 64", 2},
        {"", "limit: 2, shots: 2, max_gen: 24, max_length: 512", "", 2},
    };
    static lines one, other;

    texts_of(cx, "", all, "", 2, &one);
    CHECK(one.count == 9);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        texts_of(cx, others[i].top, others[i].settings, others[i].how, others[i].threads, &other);
        CHECK(other.count > 0);
        for (int64_t d = 0; d < other.count; d++)
            if (!same(ql_json_member(one.items[d], "ids"), ql_json_member(other.items[d], "ids")))
                TEST_FAIL("document %lld has other tokens with%s", (long long)d, others[i].how);
    }
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
    if (!fixtures)
        return test_failures ? 1 : 77;
    if (!mkdtemp(folder))
        return 1;
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    for (size_t m = 0; m < (all_models() ? sizeof models / sizeof *models : 3); m++)
        check_model(&cx, models[m]);
    check_company(&cx);
    CHECK_OK(&cx, ql_remove_tree(&cx, folder));
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
