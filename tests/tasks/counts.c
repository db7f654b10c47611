/* What sharing saves, counted with a published tokenizer on real questions: so it can't get lost without a test that fails. */
#include <qloom/data.h>

#include "core/plugin/registry.h"
#include "text/tokenizer.h"
#include "test.h"

typedef struct row {
    const char *task, *path, *pool;
    bool own; /* the file has other fields than the official one: tests/tasks has the task */
    int shots, limit;
    double harness, shared, scored;
} row;

/* As counted of the public harness's own prompts: tokens that it reads of a document, where it runs two choices of one token once; how many
 * times fewer a tree of all documents has; and tokens after which something is scored. Zero-shot of all documents of the file. */
static const row rows[] = {
    {"piqa", "datasets/piqa/validation.jsonl", NULL, false, 0, 0, 83.3, 1.57, 42.9},
    {"arc_easy", "datasets/arc-easy/validation.jsonl", NULL, true, 0, 0, 138.9, 3.27, 16.4},
    {"arc_challenge", "datasets/arc-challenge/validation.jsonl", NULL, true, 0, 0, 161.0, 3.11, 21.2},
    {"hellaswag", "datasets/hellaswag/validation.jsonl", NULL, true, 0, 0, 363.1, 2.00, 131.1},
    {"winogrande", "datasets/winogrande/validation.jsonl", NULL, false, 0, 0, 50.0, 1.97, 12.4},
    {"boolq", "datasets/boolq/validation.jsonl", NULL, false, 0, 0, 168.7, 1.04, 1.0},
    {"openbookqa", "golden-eval/data/openbookqa.jsonl", NULL, true, 0, 0, 63.2, 2.54, 13.5},
    {"mmlu", "golden-eval/data/mmlu_anatomy_test.jsonl", "golden-eval/data/mmlu_anatomy_dev.jsonl", false, 0, 0, 90.5,
     1.29, 1.0},
    {"arc_easy", "datasets/arc-easy/validation.jsonl", NULL, true, 3, 12, 553.6, 3.73, 14.0},
    {"hellaswag", "datasets/hellaswag/validation.jsonl", NULL, true, 3, 12, 1352.9, 3.34, 93.7},
    {"piqa", "datasets/piqa/validation.jsonl", NULL, false, 3, 12, 303.9, 1.88, 36.2},
    {"winogrande", "datasets/winogrande/validation.jsonl", NULL, false, 3, 12, 223.8, 1.90, 12.2},
    {"openbookqa", "golden-eval/data/openbookqa.jsonl", NULL, true, 3, 12, 269.5, 3.15, 13.9},
    {"mmlu", "golden-eval/data/mmlu_anatomy_test.jsonl", "golden-eval/data/mmlu_anatomy_dev.jsonl", false, 3, 12, 272.8,
     3.13, 1.0},
};

static void
set(ql_ctx *cx, const ql_plugin *p, void *self, const char *name, const char *value)
{
    CHECK_OK(cx, ql_param_set(cx, ql_param_find(p, name), &(ql_value){.text = value}, NULL, self));
}

/* Trees are cut, so they may have a little more; and documents may share what is scored. */
static void
check_near(const row *r, const char *what, double tokens, double expected)
{
    if (!(tokens > 0.92 * expected && tokens < 1.03 * expected))
        TEST_FAIL("%s, %d shots: %s: %g tokens, expected %g", r->task, r->shots, what, tokens, expected);
}

static void
check_row(ql_ctx *cx, const ql_plugin *plugin, const ql_tokenizer *tk, size_t i, const char *fixtures)
{
    void *self = ql_alloc(cx, 1, plugin->self_size);
    const ql_data_request request = {.tokenizer = tk, .max_positions = 4096, .chunk_tokens = 8192};
    ql_tokens t = {0};

    ql_param_defaults(plugin, self);
    if (rows[i].own)
        set(cx, plugin, self, "file", ql_format(cx, "%s/tests/tasks/%s.yaml", getenv("QLOOM_SOURCE"), rows[i].task));
    else
        set(cx, plugin, self, "task", rows[i].task);
    set(cx, plugin, self, "path", ql_format(cx, "%s/%s", fixtures, rows[i].path));
    if (rows[i].pool)
        set(cx, plugin, self, "pool", ql_format(cx, "%s/%s", fixtures, rows[i].pool));
    set(cx, plugin, self, "shots", ql_format(cx, "%d", rows[i].shots));
    set(cx, plugin, self, "limit", ql_format(cx, "%d", rows[i].limit));
    CHECK_OK(cx, plugin->data->read(cx, self, &request, &t));
    check_near(&rows[i], "read", (double)t.offsets[t.count], rows[i].harness / rows[i].shared * (double)t.documents);
    check_near(&rows[i], "scored", (double)t.questions->scored_count, rows[i].scored * (double)t.documents);
    CHECK((double)t.asked > 0.999 * rows[i].harness * (double)t.documents);
}

int
main(void)
{
    const char *fixtures = test_fixtures(), *build = getenv("QLOOM_BUILD");
    ql_plugin plugin;
    ql_tokenizer *tk;
    ql_ctx cx;
    ql_scope scope;

    if (!fixtures || !build)
        return test_failures ? 1 : 77;
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    REQUIRE_OK(&cx, ql_plugin_load(&cx, ql_format(&cx, "%s/lib/qloom/tasks.so", build), &plugin));
    REQUIRE_OK(&cx, ql_tokenizer_open(&cx, ql_format(&cx, "%s/tokenizers/llama2", fixtures), &tk));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_row(&cx, &plugin, tk, i, fixtures);
    ql_tokenizer_close(tk);
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
