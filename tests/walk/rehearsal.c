/* A rehearsed walk needs the memory that the walk itself needs, and leaves no file. */
#include "walk.h"

#include <math.h>

#define NEAR 0.15 /* of the measured peak: what `qloom plan` promises */

static void
compare(walk_test *t, const char *what, const char *text, size_t limit)
{
    ql_forecast f;
    size_t peak;

    WALK_OK(t, walk_job(t, text, 1, limit));
    WALK_OK(t, ql_job_plan(t->job, &f));
    CHECK(f.seconds > 0);
    walk_shell(t,
               walk_format(t, "test ! -e %s/out && rm -rf %s/out", t->folder, t->folder)); /* a plan writes nothing */
    WALK_OK(t, walk_run(t, text, 1, limit));
    peak = ql_job_about(t->job)->peak;
    if (fabs((double)f.memory - (double)peak) > NEAR * (double)peak)
        TEST_FAIL("%s: planned %zu bytes, took %zu", what, f.memory, peak);
}

#define STAGES(quant, fix, matrix)                                         \
    "qloom: 1\nstages:\n"                                                  \
    "  base: {use: auto, path: tiny-qwen3}\n"                              \
    "  calib: {use: text, path: calib.txt, samples: 4, seqlen: 64}\n"      \
    "  eval: {use: text, path: eval.txt, samples: 3, seqlen: 96}\n"        \
    "  quant: {model: $base, calib: $calib, group_size: 32, " quant "}\n"  \
    "  fix: {model: $quant, calib: $calib, " fix "}\n"                     \
    "  error: {use: layer_error, model: $fix, calib: $calib}\n"            \
    "  ppl: {use: perplexity, model: $fix, data: $eval, save_nll: true}\n" \
    "  kl: {use: kl, model: $fix, data: $eval}\n"                          \
    "  out: {use: dequantized, model: $fix}\n" matrix

int
main(void)
{
    static walk_test t;

    walk_open(&t);
    compare(&t, "one cell", STAGES("use: gptq, bits: 3", "use: none", ""), 0);
    compare(&t, "a table",
            STAGES("use: gptq, bits: 3", "use: none",
                   "matrix:\n"
                   "  quant: [{use: gptq, act_order: desc}, {use: projq, rank: 4, iterations: 3}]\n"
                   "  fix: [{use: none}, {use: srr, rank: 4}, {use: lordq, rank: 4, propagate: compensated}]\n"),
            0);
    compare(&t, "joint streams",
            STAGES("use: gptq, bits: 2, propagate: compensated", "use: lordq, rank: 4, propagate: compensated", ""), 0);
    compare(&t, "a limit", STAGES("use: gptq, bits: 3", "use: none", ""), (size_t)14 << 20);
    return walk_close(&t);
}
