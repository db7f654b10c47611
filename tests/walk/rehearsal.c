/* A rehearsed walk needs the memory that the walk itself needs, and leaves no file. */
#include "walk.h"

#include "core/tensor/rehearsal.h"

#include <math.h>

#define NEAR 0.15 /* of the measured peak: what `qloom plan` promises */

static size_t
rehearsed_peak(walk_test *t, const ql_graph *g, size_t limit, double *seconds)
{
    ql_ctx *cx = &t->cx;
    ql_device *real, *d;
    ql_results *results;
    size_t peak;

    REQUIRE_OK(cx, ql_device_open(cx, ql_registry_find(t->registry, "cpu")->plugin->backend,
                                  &(ql_device_options){.threads = 1}, limit, &real));
    REQUIRE_OK(cx, ql_rehearsal_open(cx, real, 1e9, &d));
    cx->device = d;
    REQUIRE_OK(cx, ql_results_open(cx, NULL, true, &results));
    REQUIRE_OK(cx, ql_run_begin(results, g, "plan"));
    REQUIRE_OK(cx, ql_run_graph(cx, t->registry, g, &(ql_run_options){0}, results));
    CHECK_INT((int64_t)d->used, 0);
    peak = d->peak;
    *seconds = *d->clock;
    ql_results_close(results);
    ql_device_close(d);
    ql_device_close(real);
    cx->device = NULL;
    return peak;
}

static void
compare(walk_test *t, const char *what, const char *text, size_t limit)
{
    ql_graph g;
    ql_result_set set = {0};
    double seconds;
    size_t peak;

    walk_parse(t, text, &g);
    peak = rehearsed_peak(t, &g, limit, &seconds);
    CHECK_INT(system(ql_format(&t->cx, "rm -rf %s/out", t->folder)), 0); /* one cell's folder can't be several cells' */
    REQUIRE_OK(&t->cx, walk_run(t, &g, 1, limit, &set));
    ql_results_fini(&t->cx, &set);
    if (fabs((double)peak - (double)t->peak) > NEAR * (double)t->peak)
        TEST_FAIL("%s: planned %zu bytes, took %zu", what, peak, t->peak);
    CHECK(seconds > 0);
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
    walk_test t;

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
    compare(&t, "a limit", STAGES("use: gptq, bits: 3", "use: none", ""), (size_t)8 << 20);
    return walk_close(&t);
}
