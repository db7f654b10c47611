/* Streams and units of work as the rule of the walk counts them (core/walk/plan.h). */
#include "walk.h"

#include <qloom/evaluator.h>

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

static int64_t
final_models(const ql_plan *p)
{
    bool seen[64] = {false};
    int64_t n = 0;

    for (int64_t i = 0; i < p->sink_count; i++)
        if (!p->sinks[i].stage->plugin->evaluator->linear && !seen[p->sinks[i].of->id]) {
            seen[p->sinks[i].of->id] = true;
            n++;
        }
    return n;
}

static int64_t
units(const ql_plan *p)
{
    int64_t n = 0;

    for (int64_t i = 0; i < p->variant_count; i++)
        n += ql_variant_is_made(p->variants[i]);
    return n;
}

static void
check(walk_test *t, const char *text, expected e)
{
    ql_graph g;
    ql_plan p;

    walk_parse(t, text, &g);
    for (int64_t i = 0; i < g.node_count; i++)
        if (g.nodes[i]->plugin->kind == QL_MODEL) {
            REQUIRE_OK(&t->cx, ql_plan_make(&t->cx, &g, g.nodes[i], &p));
            CHECK_INT(p.stream_count, e.calibration);
            CHECK_INT(final_models(&p), e.evaluation);
            CHECK_INT(units(&p), e.units);
        }
}

/* A stream through a joint quantizer that leaves its compensator out can't be walked block by block. */
static void
test_quantized_behind_joint(walk_test *t)
{
    ql_graph g;
    ql_plan p;

    walk_parse(t,
               HEAD STAGES "  fix: {use: lordq, model: $quant, propagate: quantized}\n"
                           "  after: {use: perplexity, model: $fix, data: $wiki}\n"
                           "matrix: {quant.propagate: [compensated]}\n",
               &g);
    for (int64_t i = 0; i < g.node_count; i++)
        if (g.nodes[i]->plugin->kind == QL_MODEL) {
            CHECK_INT(ql_plan_make(&t->cx, &g, g.nodes[i], &p), QL_INVALID);
            CHECK(strstr(ql_error(&t->cx),
                         "stage 'fix': propagate: quantized needs a quantizer that is not joint, but stage 'quant' has "
                         "propagate: compensated; use compensated or original"));
        }
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
