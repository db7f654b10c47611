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

int
main(void)
{
    static const ql_plugin *const plugins[] = {&plugin, NULL};
    static walk_test t;
    const char *all;
    size_t peak;

    walk_open(&t);
    t.plugins = plugins;
    WALK_OK(&t, walk_run(&t, STAGES COMPANY, 1, 0));
    CHECK_INT(walk_cells(&t), 9);
    CHECK(strstr(walk_linears(&t, 2), "model.layers.0.") && isfinite(walk_metric(&t, 2, "ppl", "perplexity")));
    all = walk_dump_all(&t);
    for (int threads = 2; threads < 4; threads++) {
        WALK_OK(&t, walk_run(&t, STAGES COMPANY, threads, 0));
        walk_check_same(walk_dump_all(&t), all);
    }
    CHECK(strstr(t.log.text, "tensors left their files, each once"));
    CHECK(!strstr(t.log.text, "made twice"));
    peak = ql_job_about(t.job)->peak;
    WALK_OK(&t, walk_run(&t, STAGES COMPANY, 2, peak)); /* too little to keep the inputs of every subset */
    walk_check_same(walk_dump_all(&t), all);
    CHECK(strstr(t.log.text, "made twice"));

    WALK_OK(&t, walk_run(&t, STAGES, 2, 0)); /* cell gptq at 3 bits */
    CHECK(strstr(all, walk_format(&t, "cell 2\n%scell 3\n", walk_dump(&t, 0))));
    return walk_close(&t);
}
