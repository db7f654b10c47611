/* What a table says beside its numbers: adapters that a quantizer counts on and a cell lacks, numerical statuses; and adapters that a
 * quantizer brings itself. */
#include "walk.h"

#define STAGES                                                                     \
    "qloom: 1\n"                                                                   \
    "name: remarks\n"                                                              \
    "baseline: false\n"                                                            \
    "stages:\n"                                                                    \
    "  base: {use: auto, path: tiny-qwen3}\n"                                      \
    "  calib: {use: text, path: calib.txt, samples: 8, seqlen: 64}\n"              \
    "  few: {use: text, path: calib.txt, samples: 1, seqlen: 16}\n"                \
    "  quant: {use: gptq, model: $base, calib: $calib, bits: 3, group_size: 32}\n" \
    "  fix: {use: none, model: $quant, calib: $calib}\n"                           \
    "  layers: {use: layer_error, model: $fix, calib: $calib, rank: 4}\n"

/* The footnotes of a cell, one a line. */
static const char *
footnotes(walk_test *t, int cell)
{
    return walk_query(t, walk_format(t,
                                     "SELECT f.text " WALK_CELL " JOIN footnote f ON f.cell = c.id " WALK_OF
                                     " ORDER BY f.position",
                                     cell));
}

static void
lacking_adapters(walk_test *t)
{
    WALK_OK(
        t,
        walk_run(
            t,
            STAGES
            "matrix:\n"
            "  quant: [{use: gptq}, {use: projq, rank: 8, iterations: 1}]\n"
            "  fix: [{use: none}, {use: lordq, rank: 4}, {use: lordq, rank: 8, label: equal}, {use: svd, rank: 0}]\n",
            1, 0));
    CHECK_INT(walk_cells(t), 8);
    for (int c = 0; c < 4; c++)
        CHECK_STR(footnotes(t, c), "");
    CHECK_STR(footnotes(t, 4), "projq counts on an adapter of rank 8, and has none here\n");
    CHECK_STR(footnotes(t, 5), "projq counts on an adapter of rank 8, and has one of rank 4 here\n");
    CHECK_STR(footnotes(t, 6), "");
    CHECK_STR(footnotes(t, 7), "projq counts on an adapter of rank 8, and has none here\n");
    for (int c = 0; c < 8; c++) { /* the best adapter of rank 4 is what lordq makes of it, up to the rounding to fp16 */
        const double tail = walk_metric(t, c, "layers", "tail_energy");

        CHECK(tail > 0 && tail < 1);
        CHECK(walk_metric(t, c, "layers", "captured") > 0);
    }
}

/* 16 tokens can't give 64 columns full rank: said for the unit and for everything that reads those statistics. */
static void
statuses(walk_test *t)
{
    WALK_OK(t, walk_run(t, STAGES "matrix: {quant: [{use: gptq, calib: $few}, {use: gptq, calib: $calib}]}\n", 1, 0));
    CHECK(strstr(footnotes(t, 0), "gptq, ") && strstr(footnotes(t, 0), "H is rank-deficient"));
    CHECK_STR(footnotes(t, 1), "");
    CHECK(strstr(t->log.text, "H is rank-deficient: 16 tokens for "));
    CHECK(walk_metric(t, 0, "layers", "status") == QL_NUM_DEFICIENT);
    CHECK(walk_metric(t, 1, "layers", "status") == 0);
}

/* `none` keeps the quantizer's own adapter, a compensator that follows replaces it; all are rounded to adapter_dtype. */
static void
own_adapters(walk_test *t)
{
    double bits[6], error[6];

    WALK_OK(t,
            walk_run(t,
                     STAGES
                     "matrix:\n"
                     "  quant: [{use: gptq}, {use: gptq_lora, rank: 4}, {use: gptq_lora, rank: 4, adapter_dtype: fp32, "
                     "label: wide}]\n"
                     "  fix: [{use: none}, {use: lordq, rank: 4}]\n",
                     1, 0));
    for (int c = 0; c < 6; c++) {
        bits[c] = walk_metric(t, c, "layers", "bits");
        error[c] = walk_metric(t, c, "layers", "output_error");
    }
    CHECK_NEAR(bits[0], 3 + 16.0 / 32, 0.02); /* gptq is symmetric: zeros cost nothing */
    for (int c = 1; c < 6; c++)
        CHECK(bits[c] > bits[0] + 0.5);
    CHECK(bits[4] > bits[2] + 0.5);
    CHECK(error[2] < error[1]);
}

static void
refused(walk_test *t, const char *rest, const char *error)
{
    CHECK_INT(walk_job(t, walk_format(t, "%s%s", STAGES, rest), 1, 0), QL_INVALID);
    if (!strstr(ql_job_error(t->job), error))
        TEST_FAIL("expected '%s' in '%s'", error, ql_job_error(t->job));
}

int
main(void)
{
    static walk_test t;

    walk_open(&t);
    lacking_adapters(&t);
    statuses(&t);
    own_adapters(&t);
    refused(&t, "matrix: {quant: [{use: gptq_lora}], fix: [{use: loftq}]}\n", "has an adapter of its own already");
    refused(&t, "  own: {use: gptq_lora, model: $base, calib: $calib}\nmatrix: {quant: [{use: projq, base: $own}]}\n",
            "stage 'own' (gptq_lora) has an adapter of its own, which would be lost");
    return walk_close(&t);
}
