/* What can't be trained says why: the cell fails, the others go on, and nothing finished is lost. */
#include "walk.h"

#define PIPELINE                                                                               \
    "qloom: 1\n"                                                                               \
    "name: wrong\n"                                                                            \
    "baseline: false\n"                                                                        \
    "stages:\n"                                                                                \
    "  base: {use: auto, path: model}\n"                                                       \
    "  train: {use: text, path: %s, samples: 8, seqlen: %s}\n"                                 \
    "  quant: {use: rtn, model: $base, bits: 3, group_size: 16}\n"                             \
    "  tune: {use: lora, model: $quant, data: $train, batch: 4, updates: 12, warmup: 0, %s}\n" \
    "  after: {use: perplexity, model: $tune, data: $train}\n"                                 \
    "%s"

static const char *
pipeline(walk_test *t, const char *file, const char *seqlen, const char *tune, const char *more)
{
    return walk_format(t, PIPELINE, file, seqlen, tune, more);
}

/* Training with `tune` fails in words that have `part`. */
static void
check_fails(walk_test *t, const char *seqlen, const char *tune, const char *part)
{
    CHECK_INT(walk_run(t, pipeline(t, "calib.txt", seqlen, tune, ""), 2, 0), QL_NUMERIC);
    if (!strstr(walk_error(t, 0), part))
        TEST_FAIL("%s: got '%s', expected '…%s…'", tune, walk_error(t, 0), part);
}

/* A rate at which everything overflows fails its cell alone. */
static void
check_overflow(walk_test *t)
{
    WALK_ENDS(t, walk_run(t,
                          pipeline(t, "calib.txt", "32", "rank: 4, clip: 0, optimizer: sgd, weight_decay: 100",
                                   "matrix:\n  tune.learning_rate: [1e-3, 100]\n"),
                          2, 0));
    CHECK_STR(walk_error(t, 0), "NULL");
    CHECK(walk_metric(t, 0, "after", "perplexity") > 1);
    CHECK(strstr(walk_error(t, 1), "stage 'tune' (lora): update "));
    CHECK(strstr(walk_error(t, 1), "model.layers.0."));
}

/* A run that is stopped goes on with its own checkpoint, and another with other data begins anew. */
static void
check_other_data(walk_test *t)
{
    const char *first, *tune = "rank: 4";

    t->runs = walk_format(t, "%s/resumed", t->folder);
    WALK_OK(t, walk_run(t, pipeline(t, "calib.txt", "32", tune, ""), 2, 0));
    first = walk_dump(t, 0);
    WALK_OK(t, walk_run(t, pipeline(t, "eval.txt", "32", tune, ""), 2, 0));
    CHECK(!strstr(t->log.text, "goes on after update"));
    CHECK(strcmp(first, walk_dump(t, 0)) != 0);
    WALK_OK(t, walk_run(t, pipeline(t, "calib.txt", "32", tune, ""), 2, 0));
    walk_check_same(first, walk_dump(t, 0));
    t->runs = NULL;
}

int
main(void)
{
    static walk_test t;

    walk_open(&t);
    walk_model(&t, "model", 2, 1);
    check_fails(&t, "1", "rank: 4", "input 'data': none of the 8 sequences of stage 'train' has a token to predict");
    check_fails(&t, "32", "rank: 4, targets: [q_proj, nose]", "targets: no linear of the model is called 'nose'");
    check_fails(&t, "32", "targets: q_proj, rank: 0",
                "there is nothing to train: no linear that `targets:` names has an adapter, and `rank:` is 0");
    check_overflow(&t);
    check_other_data(&t);
    return walk_close(&t);
}
