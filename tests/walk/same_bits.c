/* The same bits for any number of threads, any memory limit, and a cell alone or in company: metrics and codes. */
#include "walk.h"

#include <qloom/evaluator.h>

/* A test's own evaluator: a hash of each linear's codes and scales, as a number that a double holds exactly. */
static ql_status
fingerprint(ql_ctx *cx, const void *self, const ql_linear_result *in, ql_facts *out)
{
    uint64_t hash = 14695981039346656037u;
    const uint8_t *codes, *scales;

    (void)self;
    QL_TRY(cx, ql_map(cx, in->qlinear->codes, QL_READ, &codes));
    QL_TRY(cx, ql_map(cx, in->qlinear->scales, QL_READ, &scales));
    for (int64_t i = 0; i < ql_count(in->qlinear->codes); i++)
        hash = (hash ^ codes[i]) * 1099511628211u;
    for (int64_t i = 0; i < ql_count(in->qlinear->scales) * 4; i++)
        hash = (hash ^ scales[i]) * 1099511628211u;
    QL_TRY(cx, ql_unmap(cx, in->qlinear->scales));
    QL_TRY(cx, ql_unmap(cx, in->qlinear->codes));
    return ql_fact(cx, out, "codes", NULL, (double)(hash >> 12));
}

static const ql_param no_params[] = {QL_PARAMS_END};
static const ql_evaluator evaluator = {.size = sizeof(ql_evaluator), .linear = fingerprint};
static const ql_plugin plugin = {
    .abi_major = QL_ABI_MAJOR,
    .abi_minor = QL_ABI_MINOR,
    .size = sizeof(ql_plugin),
    .kind = QL_EVALUATOR,
    .name = "fingerprint",
    .version = "1.0",
    .help = "hash of codes and scales",
    .params = no_params,
    .evaluator = &evaluator,
};

#define STAGES                                                                     \
    "qloom: 1\n"                                                                   \
    "name: bits\n"                                                                 \
    "chunk_tokens: 256\n"                                                          \
    "stages:\n"                                                                    \
    "  base: {use: auto, path: tiny-qwen3}\n"                                      \
    "  calib: {use: text, path: calib.txt, samples: 6, seqlen: 100}\n"             \
    "  wiki: {use: text, path: eval.txt, seqlen: 100, samples: 7}\n"               \
    "  quant: {use: gptq, model: $base, calib: $calib, bits: 3, group_size: 48}\n" \
    "  error: {use: layer_error, model: $quant}\n"                                 \
    "  print: {use: fingerprint, model: $quant}\n"                                 \
    "  ppl: {use: perplexity, model: $quant, data: $wiki}\n"
#define COMPANY                                                                                            \
    "matrix:\n"                                                                                            \
    "  quant: [{use: rtn}, {use: gptq}, {use: gptq, act_order: desc}, {use: gptq, propagate: original}]\n" \
    "  quant.bits: [3, 2]\n"

static void
compare(walk_test *t, const ql_graph *g, int threads, size_t limit, const ql_result_set *with)
{
    ql_result_set set = {0};

    CHECK_OK(&t->cx, walk_run(t, g, threads, limit, &set));
    CHECK_INT(set.cell_count, with->cell_count);
    for (int64_t i = 0; i < set.cell_count && i < with->cell_count; i++)
        walk_check_cell(&set.cells[i], &with->cells[i]);
    ql_results_fini(&t->cx, &set);
}

int
main(void)
{
    static walk_test t;
    static ql_result_set all, alone;
    ql_graph g, single;

    walk_open(&t);
    REQUIRE_OK(&t.cx, ql_registry_add(&t.cx, t.registry, &plugin));
    walk_parse(&t, STAGES COMPANY, &g);
    REQUIRE_OK(&t.cx, walk_run(&t, &g, 1, 0, &all));
    CHECK_INT(all.cell_count, 9);
    CHECK(all.cells[2].linear_count > 0 && isfinite(walk_metric(&all.cells[2], "ppl", "perplexity")));
    compare(&t, &g, 2, 0, &all);
    compare(&t, &g, 3, 0, &all);
    CHECK(strstr(t.log.text, "tensors left their files, each once"));
    CHECK(!strstr(t.log.text, "made twice"));
    compare(&t, &g, 2, t.peak, &all); /* too little to keep the inputs of every subset */
    CHECK(strstr(t.log.text, "made twice"));

    walk_parse(&t, STAGES, &single); /* cell gptq at 3 bits */
    REQUIRE_OK(&t.cx, walk_run(&t, &single, 2, 0, &alone));
    walk_check_cell(&alone.cells[0], &all.cells[2]);
    ql_results_fini(&t.cx, &all);
    ql_results_fini(&t.cx, &alone);
    return walk_close(&t);
}
