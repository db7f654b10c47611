/* A rehearsed walk needs the memory that the walk itself needs, and leaves no file. */
#include "walk.h"

#include <math.h>

#define NEAR 0.15 /* of the measured peak: what `qloom plan` promises */

static void
compare(walk_test *t, const char *what, const char *text, bool limited)
{
    size_t peak, limit = 0;
    ql_forecast f;

    WALK_OK(t, walk_job(t, text, 1, 0));
    WALK_OK(t, ql_job_plan(t->job, &f));
    if (limited) {
        limit = f.least + (f.host - f.least) / 2;
        WALK_OK(t, walk_job(t, text, 1, limit));
        WALK_OK(t, ql_job_plan(t->job, &f));
        CHECK(f.passes > 1 && f.host <= limit);
    }
    CHECK(f.seconds > 0);
    walk_shell(t,
               walk_format(t, "test ! -e %s/out && rm -rf %s/out", t->folder, t->folder)); /* a plan writes nothing */
    WALK_OK(t, walk_run(t, text, 1, limit));
    peak = ql_job_about(t->job)->peak;
    if (fabs((double)f.memory - (double)peak) > NEAR * (double)peak)
        TEST_FAIL("%s: planned %zu bytes, took %zu", what, f.memory, peak);
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
    compare(&t, "joint streams",
            STAGES("use: gptq, bits: 2, propagate: compensated", "use: lordq, rank: 4, propagate: compensated", ""),
            false);
    CHECK_INT(setenv("WINDOWS", "200", 1), 0); /* so much that what libraries take meanwhile does not matter */
    compare(&t, "a limit", "chunk_tokens: 96\n" STAGES("use: gptq, bits: 3", "use: none", ""), true);
    return walk_close(&t);
}
