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
    const char *model = walk_model(t, "plain", 2, 1);

    CHECK_INT(walk_run(t, walk_format(t, STAGES, model, model), 2, 0), QL_NUMERIC);
    CHECK_INT(walk_cells(t), 4);
    for (int i = 0; i < 4; i++) { /* the last is the original */
        const char *error = walk_error(t, i);
        const bool fails = i == 1;

        CHECK_INT(strcmp(error, "NULL") != 0, fails);
        CHECK_INT(isfinite(walk_metric(t, i, "ppl", "perplexity")), !fails);
        if (fails &&
            (!strstr(error, "model.layers.0.self_attn.q_proj") || !strstr(error, "neither quantization_config")))
            TEST_FAIL("the error does not say where and what: %s", error);
    }
}

/* Losses of thousands of nats have a mean, and no perplexity. */
static void
no_number(walk_test *t)
{
    const char *model = walk_loud_model(t, "loud", 1, 1, 1e5), *error;

    CHECK_INT(walk_run(t, walk_format(t, STAGES, model, model), 1, 0), QL_NUMERIC);
    error = walk_error(t, 3);
    if (!strstr(error, "stage 'ppl' (perplexity)") || !strstr(error, "perplexity is inf"))
        TEST_FAIL("the original has no perplexity, and its error is %s", error);
}

static void
no_memory(walk_test *t)
{
    const char *model = walk_model(t, "again", 2, 1), *text = walk_format(t, STAGES, model, model);

    WALK_ENDS(t, walk_run(t, text, 1, 0));
    CHECK_INT(walk_run(t, text, 1, ql_job_about(t->job)->peak / 2), QL_MEMORY);
    CHECK(strstr(ql_job_error(t->job), "memory:"));
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
