/* Every line that a plugin logs in a walk says which stage it comes from, and where in the model: evaluators, exporters, quantizers and
 * data stages alike. */
#include "walk.h"

#include <qloom/exporter.h>

static const ql_param no_params[] = {QL_PARAMS_END};

typedef struct place {
    const char *path;
} place;

static const ql_param path_params[] = {QL_EXPORT_PATH(place), QL_PARAMS_END};

/* --- plugins that say what they are called for --- */

static ql_status
say_chunk(ql_ctx *cx, const void *self, const ql_eval_chunk *chunk, ql_eval_found *found)
{
    (void)self, (void)chunk, (void)found;
    ql_info(cx, "a chunk");
    return QL_OK;
}

static ql_status
say_end(ql_ctx *cx, const void *self, const ql_eval_info *info, const ql_eval_found *found, ql_facts *out)
{
    (void)self, (void)info, (void)found;
    ql_info(cx, "ends");
    return ql_fact(cx, out, "number", NULL, 1);
}

static ql_status
say_rated(ql_ctx *cx, const void *self, const ql_linear_result *in, ql_facts *out)
{
    (void)self, (void)in;
    ql_info(cx, "rated");
    return ql_fact(cx, out, "number", NULL, 1);
}

static ql_status
say_export(ql_ctx *cx, const void *self, const ql_export_info *info, void *state)
{
    (void)self, (void)info, (void)state;
    ql_info(cx, "export begins");
    return QL_OK;
}

static ql_status
say_exported(ql_ctx *cx, const void *self, const ql_linear_result *in, void *state)
{
    (void)self, (void)in, (void)state;
    ql_info(cx, "exported");
    return QL_OK;
}

static ql_status
say_written(ql_ctx *cx, const void *self, void *state, ql_facts *out)
{
    (void)self, (void)state, (void)out;
    ql_info(cx, "written");
    return QL_OK;
}

#define PLUGIN(KIND, NAME, PARAMS, ...)                                                                              \
    {                                                                                                                \
        .abi_major = QL_ABI_MAJOR, .abi_minor = QL_ABI_MINOR, .size = sizeof(ql_plugin), .kind = KIND, .name = NAME, \
        .version = "1.0", .help = "speaks", .params = PARAMS, __VA_ARGS__                                            \
    }

static const ql_plugin speakers[] = {
    PLUGIN(QL_EVALUATOR, "speaks", no_params, .evaluator = QL_TABLE(ql_evaluator, .chunk = say_chunk, .end = say_end)),
    PLUGIN(QL_EVALUATOR, "speaks_of_linears", no_params, .evaluator = QL_TABLE(ql_evaluator, .linear = say_rated)),
    PLUGIN(QL_EXPORTER, "speaks_of_files", path_params, .self_size = sizeof(place),
           .exporter = QL_TABLE(ql_exporter, .begin = say_export, .linear = say_exported, .end = say_written)),
};

#define PIPELINE                                                                 \
    "qloom: 1\n"                                                                 \
    "name: prefix\n"                                                             \
    "baseline: false\n"                                                          \
    "stages:\n"                                                                  \
    "  base: {use: auto, path: %s}\n"                                            \
    "  few: {use: text, path: calib.txt, samples: 1, seqlen: 16}\n"              \
    "  wiki: {use: text, path: eval.txt, seqlen: 32, samples: 2}\n"              \
    "  quant: {use: gptq, model: $base, calib: $few, bits: 3, group_size: 16}\n" \
    "  said: {use: speaks, model: $quant, data: $wiki}\n"                        \
    "  rated: {use: speaks_of_linears, model: $quant}\n"                         \
    "  files: {use: speaks_of_files, model: $quant}\n"

int
main(void)
{
    static walk_test t;
    static const char *const lines[] = {
        "few (text): ",
        "wiki (text): ",
        "quant (gptq bits=3 group_size=16), block 1, model.layers.1.mlp.down_proj: H is rank-deficient: 16 tokens",
        "said (speaks): a chunk",
        "said (speaks): ends",
        "rated (speaks_of_linears), block 0, model.layers.0.self_attn.q_proj: rated",
        "rated (speaks_of_linears), block 1, model.layers.1.mlp.down_proj: rated",
        "files (speaks_of_files): export begins",
        "files (speaks_of_files), block 1, model.layers.1.mlp.up_proj: exported",
        "files (speaks_of_files): written",
    };
    static const ql_plugin *const plugins[] = {&speakers[0], &speakers[1], &speakers[2], NULL};

    walk_open(&t);
    t.plugins = plugins;
    WALK_OK(&t, walk_run(&t, walk_format(&t, PIPELINE, walk_model(&t, "model", 2, 1)), 1, 0));
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(t.log.text, walk_format(&t, " %s", lines[i])))
            TEST_FAIL("no line begins with '%s'", lines[i]);
    if (test_failures)
        printf("%s", t.log.text);
    return walk_close(&t);
}
