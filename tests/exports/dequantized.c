/* What `dequantized` writes is what it says it wrote: the loss that the run records for the rounded weights is that of the loaded folder,
 * bit for bit, in every dtype, merged and bare; and rounding moves it little. */
#include "tests/exports/exports.h"

static void
check(walk_test *t, const char *model, const char *dtype, bool merge, const char *quant)
{
    const char *run =
        walk_format(t,
                    "qloom: 1\nname: d\nbaseline: false\nstages:\n  base: {use: auto, path: %s}\n"
                    "  eval: {use: text, path: eval.txt, samples: 2, seqlen: 40}\n"
                    "  quant: {model: $base, group_size: 32, %s}\n  fix: {use: svd, model: $quant, rank: 3}\n"
                    "  bare: {use: perplexity, model: $quant, data: $eval}\n"
                    "  ppl: {use: perplexity, model: $fix, data: $eval}\n"
                    "  out: {use: dequantized, model: $fix, dtype: %s, merge: %s, path: %s/out}\n",
                    model, quant, dtype, merge ? "true" : "false", t->folder);
    const char *back = walk_format(t,
                                   "qloom: 1\nname: b\nbaseline: false\nstages:\n  base: {use: auto, path: %s/out}\n"
                                   "  eval: {use: text, path: eval.txt, samples: 2, seqlen: 40}\n"
                                   "  ppl: {use: perplexity, model: $base, data: $eval}\n",
                                   t->folder);
    double written, loaded, exact, rounding;

    export_run(t, run);
    written = walk_metric(t, 0, "out", "ppl.loss");
    exact = walk_metric(t, 0, merge ? "ppl" : "bare", "loss");
    rounding = walk_metric(t, 0, "out", "rounding_error");
    export_run(t, back);
    loaded = walk_metric(t, 0, "ppl", "loss");
    if (memcmp(&written, &loaded, sizeof written) != 0 || !(written > 0))
        TEST_FAIL("%s, dtype %s, merge %d, %s: recorded %.17g, loaded %.17g", model, dtype, merge, quant, written,
                  loaded);
    CHECK_NEAR(written, exact, 0.02);
    CHECK_NEAR(rounding, 0, strcmp(dtype, "fp16") == 0 ? 0x1p-11 : 0x1p-8);
}

int
main(void)
{
    const uint64_t seed = test_seed();
    static walk_test t;

    walk_open(&t);
    for (int a = 0; a < 3; a++) {
        const char *model = export_model(&t, export_architectures[a], seed + (uint64_t)a);

        check(&t, model, "auto", true, "use: rtn, bits: 3");
        check(&t, model, a == 1 ? "fp16" : "bf16", false,
              "use: nf, bits: 4"); /* formats without zeros and scales too */
        check(&t, model, "fp16", true, "use: rtn, bits: 4, sym: false, overrides: [{match: '*.o_proj', skip: true}]");
    }
    return walk_close(&t);
}
