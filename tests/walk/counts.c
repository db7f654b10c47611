/* Streams and units of work as the plan counts them. */
#include "walk.h"

#define HEAD     \
    "qloom: 1\n" \
    "name: counts\n"
#define STAGES                                                                     \
    "stages:\n"                                                                    \
    "  base: {use: auto, path: tiny-qwen3}\n"                                      \
    "  calib: {use: text, path: calib.txt, samples: 4, seqlen: 64}\n"              \
    "  wiki: {use: text, path: eval.txt, seqlen: 64, samples: 4}\n"                \
    "  quant: {use: gptq, model: $base, calib: $calib, bits: 3, group_size: 64}\n" \
    "  ppl: {use: perplexity, model: $quant, data: $wiki}\n"
#define ERRORS "  error: {use: layer_error, model: $quant}\n"
#define MATRIX                                                           \
    "matrix:\n"                                                          \
    "  quant: [{use: rtn}, {use: gptq}, {use: gptq, act_order: desc}]\n" \
    "  quant.bits: [2, 3, 4]\n"

typedef struct expected {
    int64_t calibration, evaluation, units;
} expected;

static void
check(walk_test *t, const char *text, expected e)
{
    ql_forecast f;

    WALK_OK(t, walk_job(t, text, 1, 0));
    WALK_OK(t, ql_job_plan(t->job, &f));
    CHECK_INT(f.model_count, 1);
    CHECK_INT(f.models[0].streams, e.calibration);
    CHECK_INT(f.models[0].finals, e.evaluation);
    CHECK_INT(f.models[0].units, e.units);
}

/* A stream through a joint quantizer that leaves its compensator out can't be walked block by block. */
static void
test_quantized_behind_joint(walk_test *t)
{
    ql_forecast f;

    WALK_OK(t, walk_job(t,
                        HEAD STAGES "  fix: {use: lordq, model: $quant, propagate: quantized}\n"
                                    "  after: {use: perplexity, model: $fix, data: $wiki}\n"
                                    "matrix: {quant.propagate: [compensated]}\n",
                        1, 0));
    CHECK_INT(ql_job_plan(t->job, &f), QL_INVALID);
    CHECK(strstr(ql_job_error(t->job),
                 "stage 'fix': propagate: quantized needs a quantizer that is not joint, but stage 'quant' has "
                 "propagate: compensated; use compensated or original"));
}

int
main(void)
{
    static walk_test t;

    walk_open(&t);
    check(&t, HEAD STAGES MATRIX, (expected){6, 10, 9});
    check(&t, HEAD STAGES ERRORS MATRIX, (expected){7, 10, 9});
    check(&t, HEAD "propagate: quantized\n" STAGES ERRORS MATRIX,
          (expected){9, 10, 9}); /* layer_error follows rtn, too */
    check(&t, HEAD "propagate: original\n" STAGES ERRORS MATRIX, (expected){1, 10, 9});
    check(&t, HEAD "propagate: quantized\n" STAGES MATRIX, (expected){6, 10, 9});
    check(&t, HEAD "baseline: false\n" STAGES MATRIX, (expected){6, 9, 9});
    check(&t, HEAD STAGES "matrix: {quant: [{use: rtn}]}\n", (expected){0, 2, 1});
    test_quantized_behind_joint(&t);
    return walk_close(&t);
}
