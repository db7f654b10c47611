/* A failure fails its cell only; a run without memory says who held what; each tensor leaves its file once. */
#include "walk.h"

/* A folder without codes is no checkpoint, which shows at its first linear. */
#define STAGES                                                        \
    "qloom: 1\n"                                                      \
    "name: failures\n"                                                \
    "stages:\n"                                                       \
    "  base: {use: auto, path: %s}\n"                                 \
    "  calib: {use: text, path: calib.txt, samples: 2, seqlen: 32}\n" \
    "  wiki: {use: text, path: eval.txt, seqlen: 32, samples: 2}\n"   \
    "  quant: {use: rtn, model: $base}\n"                             \
    "  ppl: {use: perplexity, model: $quant, data: $wiki}\n"          \
    "matrix:\n"                                                       \
    "  quant: [{use: rtn}, {use: checkpoint, path: '%s'}, {use: gptq, calib: $calib}]\n"

static void
one_cell_fails(walk_test *t)
{
    ql_result_set set = {0};
    ql_graph g;
    const char *model = walk_model(t, "plain", 2, 1);

    walk_parse(t, ql_format(&t->cx, STAGES, model, model), &g);
    CHECK_OK(&t->cx, walk_run(t, &g, 2, 0, &set));
    for (int64_t i = 0; i < g.cell_count; i++) {
        const ql_result_cell *c = &set.cells[i];
        const bool fails = i == 1;

        CHECK_INT(c->error != NULL, fails);
        CHECK_INT(isfinite(walk_metric(c, "ppl", "perplexity")), !fails);
        if (c->error &&
            (!strstr(c->error, "model.layers.0.self_attn.q_proj") || !strstr(c->error, "neither quantization_config")))
            TEST_FAIL("the error does not say where and what: %s", c->error);
    }
    CHECK(isfinite(walk_metric(&set.cells[3], "ppl", "perplexity"))); /* the original */
    ql_results_fini(&t->cx, &set);
}

/* Losses of thousands of nats have a mean, and no perplexity. */
static void
no_number(walk_test *t)
{
    const char *model = walk_loud_model(t, "loud", 1, 1, 1e5);
    ql_result_set set = {0};
    ql_graph g;

    walk_parse(t, ql_format(&t->cx, STAGES, model, model), &g);
    CHECK_OK(&t->cx, walk_run(t, &g, 1, 0, &set));
    if (!set.cells[3].error || !strstr(set.cells[3].error, "stage 'ppl' (perplexity)") ||
        !strstr(set.cells[3].error, "perplexity is inf"))
        TEST_FAIL("the original has no perplexity, and its error is %s", set.cells[3].error);
    ql_results_fini(&t->cx, &set);
}

static void
no_memory(walk_test *t)
{
    ql_result_set set = {0};
    ql_graph g;

    const char *model = walk_model(t, "again", 2, 1);

    walk_parse(t, ql_format(&t->cx, STAGES, model, model), &g);
    CHECK_OK(&t->cx, walk_run(t, &g, 1, 0, &set));
    ql_results_fini(&t->cx, &set);
    CHECK_ERROR(&t->cx, walk_run(t, &g, 1, t->peak / 2, &set), QL_MEMORY, "memory:");
    ql_results_fini(&t->cx, &set);
}

int
main(void)
{
    static walk_test t;

    walk_open(&t);
    one_cell_fails(&t);
    CHECK(strstr(t.log.text, "20 tensors left their files, each once"));
    no_number(&t);
    no_memory(&t);
    return walk_close(&t);
}
