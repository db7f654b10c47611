/* A rehearsed walk needs the memory that the walk itself needs, and leaves no file. */
#include "walk.h"

#include <math.h>

#define NEAR 0.15 /* of the measured peak: what `qloom plan` promises */

/* With `limited`, of what the run itself chose to do below a limit: what the process has beside tensors is not the same at a plan. */
static void
compare(walk_test *t, const char *what, const char *text, bool limited)
{
    const ql_job_info *info;
    size_t planned, limit = 0;
    ql_forecast f;

    WALK_OK(t, walk_job(t, text, 1, 0));
    WALK_OK(t, ql_job_plan(t->job, &f));
    CHECK(f.seconds > 0);
    walk_shell(t,
               walk_format(t, "test ! -e %s/out && rm -rf %s/out", t->folder, t->folder)); /* a plan writes nothing */
    if (limited)
        limit = f.least + (f.host - f.spare - f.least) / 2;
    WALK_OK(t, walk_run(t, text, 1, limit));
    info = ql_job_about(t->job);
    planned = limited ? info->planned : f.memory;
    CHECK(!limited || (planned < f.memory && info->peak < f.memory));
    if (fabs((double)planned - (double)info->peak) > NEAR * (double)info->peak)
        TEST_FAIL("%s: planned %zu bytes, took %zu", what, planned, info->peak);
}

#define STAGES(quant, fix, matrix)                                              \
    "qloom: 1\nstages:\n"                                                       \
    "  base: {use: auto, path: tiny-qwen3}\n"                                   \
    "  calib: {use: text, path: calib.txt, samples: 4, seqlen: 64}\n"           \
    "  eval: {use: text, path: eval.txt, samples: ${WINDOWS:-3}, seqlen: 96}\n" \
    "  quant: {model: $base, calib: $calib, group_size: 32, " quant "}\n"       \
    "  fix: {model: $quant, calib: $calib, " fix "}\n"                          \
    "  error: {use: layer_error, model: $fix, calib: $calib}\n"                 \
    "  ppl: {use: perplexity, model: $fix, data: $eval, save_nll: true}\n"      \
    "  kl: {use: kl, model: $fix, data: $eval}\n"                               \
    "  out: {use: dequantized, model: $fix}\n" matrix

int
main(void)
{
    static walk_test t;

    walk_open(&t);
    compare(&t, "one cell", STAGES("use: gptq, bits: 3", "use: none", ""), false);
    compare(&t, "a table",
            STAGES("use: gptq, bits: 3", "use: none",
                   "matrix:\n"
                   "  quant: [{use: gptq, act_order: desc}, {use: projq, rank: 4, iterations: 3}]\n"
                   "  fix: [{use: none}, {use: srr, rank: 4}, {use: lordq, rank: 4, propagate: compensated}]\n"),
            false);
    compare(&t, "tasks",
            "qloom: 1\nname: tasks\nchunk_tokens: 512\nstages:\n"
            "  base: {use: auto, path: tiny-qwen3}\n"
            "  story: {use: tasks, file: tasks/next_sentence.yaml, path: tasks/goals.jsonl, limit: 30, shots: 2}\n"
            "  word: {use: tasks, task: lambada, path: tasks/last_word.jsonl, limit: 20}\n"
            "  quant: {use: rtn, model: $base, bits: 3, group_size: 64}\n"
            "  choice: {use: choices, model: $quant, data: $story}\n"
            "  cloze: {use: choices, model: $quant, data: $word}\n"
            "matrix:\n"
            "  quant.bits: [2, 4]\n",
            false);
    compare(&t, "joint streams",
            STAGES("use: gptq, bits: 2, propagate: compensated", "use: lordq, rank: 4, propagate: compensated", ""),
            false);
    CHECK_INT(setenv("WINDOWS", "300", 1), 0); /* so much that what the process takes meanwhile does not matter */
    compare(&t, "a limit", "chunk_tokens: 96\n" STAGES("use: gptq, bits: 3", "use: none", ""), true);
    return walk_close(&t);
}
