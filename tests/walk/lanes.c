/* Evaluation in passes: how many there are, whether states wait in a file, whether the run goes on from an earlier one or works everything
 * out anew, changes no bit of what it finds. */
#include "walk.h"

#define PIPELINE                                                                   \
    "qloom: 1\n"                                                                   \
    "name: lanes\n"                                                                \
    "chunk_tokens: 256\n"                                                          \
    "stages:\n"                                                                    \
    "  base: {use: auto, path: tiny-qwen3}\n"                                      \
    "  calib: {use: text, path: calib.txt, samples: 8, seqlen: 64}\n"              \
    "  wiki: {use: text, path: eval.txt, seqlen: 64, samples: 400}\n"              \
    "  quant: {use: gptq, model: $base, calib: $calib, bits: 3, group_size: 64}\n" \
    "  error: {use: layer_error, model: $quant}\n"                                 \
    "  ppl: {use: perplexity, model: $quant, data: $wiki}\n"                       \
    "  kl: {use: kl, model: $quant, data: $wiki}\n"                                \
    "matrix:\n"                                                                    \
    "  quant: [{use: rtn}, {use: gptq}]\n"

/* Questions: a chunk is a tree of texts or several. */
#define TASKS                                                                                               \
    "qloom: 1\n"                                                                                            \
    "name: questions\n"                                                                                     \
    "chunk_tokens: 256\n"                                                                                   \
    "stages:\n"                                                                                             \
    "  base: {use: auto, path: tiny-qwen3}\n"                                                               \
    "  story: {use: tasks, file: tasks/next_sentence.yaml, path: tasks/goals.jsonl, limit: 30, shots: 1}\n" \
    "  word: {use: tasks, task: lambada, path: tasks/last_word.jsonl, limit: 20}\n"                         \
    "  quant: {use: rtn, model: $base, bits: 3, group_size: 64}\n"                                          \
    "  choice: {use: choices, model: $quant, data: $story}\n"                                               \
    "  cloze: {use: choices, model: $quant, data: $word}\n"                                                 \
    "matrix:\n"                                                                                             \
    "  quant.bits: [2, 4]\n"

/* Runs it below a limit that asks for passes, and compares with what a run without a limit found. */
static void
in_passes(walk_test *t, const char *text, size_t limit, const char *plain)
{
    t->log.used = 0;
    t->log.text[0] = '\0';
    WALK_OK(t, walk_run(t, text, 1, limit));
    CHECK(strstr(t->log.text, "each once a pass"));
    walk_check_same(walk_dump_all(t), plain);
}

static void
check(walk_test *t, const char *text)
{
    const char *plain;
    ql_forecast f;
    size_t limit;

    t->runs = NULL;
    t->log.used = 0;
    t->log.text[0] = '\0';
    WALK_OK(t, walk_run(t, text, 2, 0));
    CHECK(!strstr(t->log.text, "each once a pass"));
    plain = walk_dump_all(t);

    WALK_OK(t, walk_job(t, text, 1, 0));
    WALK_OK(t, ql_job_plan(t->job, &f));
    CHECK(f.least > 0);
    limit =
        f.least + (f.host - f.spare - f.least) / 2; /* far from both, whatever the process has beside tensors by then */
    printf("%zu bytes, at least %zu; limit %zu\n", f.host - f.spare, f.least, limit);
    in_passes(t, text, limit, plain);
    t->runs = walk_format(t, "%s/again", t->folder);
    t->fresh = true; /* passes read what the first one has put into the store, although nothing older is taken */
    in_passes(t, text, limit, plain);
    t->fresh = false;
    WALK_OK(t, walk_run(t, text, 1, limit)); /* all of it is known */
    walk_check_same(walk_dump_all(t), plain);
}

int
main(void)
{
    static walk_test t;

    walk_open(&t);
    check(&t, PIPELINE);
    check(&t, TASKS);
    return walk_close(&t);
}
