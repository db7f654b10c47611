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
footnotes(walk_test *t, const ql_result_cell *c)
{
    const char *text = "";

    for (int64_t i = 0; i < c->footnote_count; i++)
        text = ql_format(&t->cx, "%s%s\n", text, c->footnotes[i]);
    return text;
}

static void
run(walk_test *t, const char *text, ql_result_set *set)
{
    ql_graph g;

    walk_parse(t, text, &g);
    REQUIRE_OK(&t->cx, walk_run(t, &g, 1, 0, set));
}

static void
lacking_adapters(walk_test *t)
{
    ql_result_set set = {0};

    run(t,
        STAGES
        "matrix:\n"
        "  quant: [{use: gptq}, {use: projq, rank: 8, iterations: 1}]\n"
        "  fix: [{use: none}, {use: lordq, rank: 4}, {use: lordq, rank: 8, label: equal}, {use: svd, rank: 0}]\n",
        &set);
    CHECK_INT(set.cell_count, 8);
    for (int64_t c = 0; c < 4; c++)
        CHECK_STR(footnotes(t, &set.cells[c]), "");
    CHECK_STR(footnotes(t, &set.cells[4]), "projq counts on an adapter of rank 8, and has none here\n");
    CHECK_STR(footnotes(t, &set.cells[5]), "projq counts on an adapter of rank 8, and has one of rank 4 here\n");
    CHECK_STR(footnotes(t, &set.cells[6]), "");
    CHECK_STR(footnotes(t, &set.cells[7]), "projq counts on an adapter of rank 8, and has none here\n");
    for (int64_t c = 0; c < 8;
         c++) { /* the best adapter of rank 4 is what lordq makes of it, up to the rounding to fp16 */
        const double tail = walk_metric(&set.cells[c], "layers", "tail_energy");

        CHECK(tail > 0 && tail < 1);
        CHECK(walk_metric(&set.cells[c], "layers", "captured") > 0);
    }
    ql_results_fini(&t->cx, &set);
}

/* 16 tokens can't give 64 columns full rank: said for the unit and for everything that reads those statistics. */
static void
statuses(walk_test *t)
{
    ql_result_set set = {0};

    run(t, STAGES "matrix: {quant: [{use: gptq, calib: $few}, {use: gptq, calib: $calib}]}\n", &set);
    CHECK(strstr(footnotes(t, &set.cells[0]), "gptq, ") && strstr(footnotes(t, &set.cells[0]), "H is rank-deficient"));
    CHECK_STR(footnotes(t, &set.cells[1]), "");
    CHECK(strstr(t->log.text, "H is rank-deficient: 16 tokens for "));
    CHECK(walk_metric(&set.cells[0], "layers", "status") == QL_NUM_DEFICIENT);
    CHECK(walk_metric(&set.cells[1], "layers", "status") == 0);
    ql_results_fini(&t->cx, &set);
}

/* `none` keeps the quantizer's own adapter, a compensator that follows replaces it; all are rounded to adapter_dtype. */
static void
own_adapters(walk_test *t)
{
    ql_result_set set = {0};

    run(t,
        STAGES "matrix:\n"
               "  quant: [{use: gptq}, {use: gptq_lora, rank: 4}, {use: gptq_lora, rank: 4, adapter_dtype: fp32, "
               "label: wide}]\n"
               "  fix: [{use: none}, {use: lordq, rank: 4}]\n",
        &set);
    for (int64_t c = 0; c < 6; c++) {
        const bool adapter = c != 0;
        const double bits = walk_metric(&set.cells[c], "layers", "bits"),
                     alone = walk_metric(&set.cells[0], "layers", "bits");

        CHECK_NEAR(alone, 3 + 16.0 / 32, 0.02); /* gptq is symmetric: zeros cost nothing */
        CHECK(adapter ? bits > alone + 0.5 : bits == alone);
    }
    CHECK(walk_metric(&set.cells[4], "layers", "bits") > walk_metric(&set.cells[2], "layers", "bits") + 0.5);
    CHECK(walk_metric(&set.cells[2], "layers", "output_error") < walk_metric(&set.cells[1], "layers", "output_error"));
    ql_results_fini(&t->cx, &set);
}

static void
refused(walk_test *t, const char *rest, const char *error)
{
    const char *text = ql_format(&t->cx, "%s%s", STAGES, rest), *source = getenv("QLOOM_SOURCE");
    const char *file = ql_format(&t->cx, "%s/examples/test.yaml", source ? source : ".");
    ql_graph g;

    CHECK_ERROR(&t->cx, ql_graph_parse(&t->cx, t->registry, file, text, strlen(text), &(ql_graph_options){0}, &g),
                QL_INVALID, error);
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
