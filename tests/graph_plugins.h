/* Plugins in memory for tests of pipelines: nothing here can run, only be wired. */
#ifndef QLOOM_TESTS_GRAPH_PLUGINS_H
#define QLOOM_TESTS_GRAPH_PLUGINS_H

#include <qloom/evaluator.h>
#include <qloom/model.h>

#include "core/pipeline/graph.h"
#include "core/plugin/registry.h"

typedef struct toy_model {
    const char *path;
} toy_model;

typedef struct toy_text {
    const char *path;
    int samples;
} toy_text;

typedef struct toy_quantizer {
    int bits, group_size, order, rounds;
    bool sym;
    double damp;
} toy_quantizer;

typedef struct toy_compensator {
    int rank, sweeps;
} toy_compensator;

typedef struct toy_nothing {
    char none;
} toy_nothing;

static const char *const toy_orders[] = {"off", "desc", NULL};

static const ql_param toy_model_rows[] = {QL_MODEL_PATH(toy_model), QL_PARAMS_END};
static const ql_param toy_text_rows[] = {QL_PATH(toy_text, path, true, "a text file"),
                                         QL_NUM(toy_text, samples, 0, 0, 1000, "sequences; 0: all"), QL_PARAMS_END};
static const ql_param toy_plain_rows[] = {QL_BITS(toy_quantizer, 4), QL_GROUP_SIZE(toy_quantizer, 128),
                                          QL_SYM(toy_quantizer, true), QL_PARAMS_END};
static const ql_param toy_clever_rows[] = {QL_BITS(toy_quantizer, 4),
                                           QL_GROUP_SIZE(toy_quantizer, 128),
                                           QL_SYM(toy_quantizer, false),
                                           QL_DAMP(toy_quantizer, 0.01),
                                           QL_ENUM(toy_quantizer, order, 0, toy_orders, "column order"),
                                           QL_PARAMS_END};
static const ql_param toy_driver_rows[] = {QL_BITS(toy_quantizer, 4), QL_GROUP_SIZE(toy_quantizer, 128),
                                           QL_NUM(toy_quantizer, rounds, 5, 1, 100, "rounds"), QL_PARAMS_END};
static const ql_param toy_rank_rows[] = {QL_RANK(toy_compensator, 32),
                                         QL_NUM(toy_compensator, sweeps, 1, 1, 9, "sweeps"), QL_PARAMS_END};
static const ql_param toy_no_rows[] = {QL_PARAMS_END};
static const ql_port toy_driver_ports[] = {
    {.name = "base", .type = QL_EDGE_QUANTIZER, .optional = true, .help = "what it drives"}, {.type = QL_EDGE_NONE}};

static inline ql_status
toy_open(ql_ctx *cx, const void *self, ql_source *src, ql_model_info *out)
{
    (void)self;
    (void)src;
    (void)out;
    return QL_FAIL(cx, QL_BUG, "a toy ran");
}

static inline ql_status
toy_step(ql_ctx *cx, const void *self, const ql_step *step)
{
    (void)self;
    (void)step;
    return QL_FAIL(cx, QL_BUG, "a toy ran");
}

static inline ql_status
toy_read(ql_ctx *cx, const void *self, const ql_data_request *req, ql_tokens *out)
{
    (void)self;
    (void)req;
    (void)out;
    return QL_FAIL(cx, QL_BUG, "a toy ran");
}

static inline ql_status
toy_quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    (void)self;
    (void)w;
    (void)stats;
    (void)out;
    return QL_FAIL(cx, QL_BUG, "a toy ran");
}

static inline ql_status
toy_compensate(ql_ctx *cx, const void *self, const ql_compensate_in *in, ql_adapter *out)
{
    (void)self;
    (void)in;
    (void)out;
    return QL_FAIL(cx, QL_BUG, "a toy ran");
}

static inline ql_status
toy_linear(ql_ctx *cx, const void *self, const ql_linear_result *in, ql_facts *out)
{
    (void)self;
    (void)in;
    (void)out;
    return QL_FAIL(cx, QL_BUG, "a toy ran");
}

static inline ql_status
toy_chunk(ql_ctx *cx, const void *self, const ql_eval_chunk *chunk, ql_eval_found *found)
{
    (void)self;
    (void)chunk;
    (void)found;
    return QL_FAIL(cx, QL_BUG, "a toy ran");
}

static inline ql_status
toy_end(ql_ctx *cx, const void *self, const ql_eval_info *info, const ql_eval_found *found, ql_facts *out)
{
    (void)self;
    (void)info;
    (void)found;
    (void)out;
    return QL_FAIL(cx, QL_BUG, "a toy ran");
}

static inline ql_status
toy_check(ql_ctx *cx, const void *self)
{
    const toy_quantizer *p = self;

    if (p->order == 1 && p->bits == 8)
        return QL_FAIL(cx, QL_INVALID, "order: desc makes no sense at 8 bits");
    return QL_OK;
}

static const char *const toy_architectures[] = {"ToyForCausalLM", NULL};
static const char *const toy_types[] = {"toy", NULL};
static const ql_model toy_model_functions = {.size = sizeof(ql_model),
                                             .architectures = toy_architectures,
                                             .types = toy_types,
                                             .open = toy_open,
                                             .step = toy_step};
static const ql_data toy_data_functions = {.size = sizeof(ql_data), .read = toy_read};
static const ql_quantizer toy_plain_functions = {.size = sizeof(ql_quantizer), .quantize = toy_quantize};
static const ql_quantizer toy_clever_functions = {
    .size = sizeof(ql_quantizer), .needs = QL_NEEDS_STATS, .quantize = toy_quantize};
static const ql_quantizer toy_driver_functions = {
    .size = sizeof(ql_quantizer), .needs = QL_NEEDS_STATS, .yields = QL_YIELDS_ADAPTER, .quantize = toy_quantize};
static const ql_compensator toy_none_functions = {.size = sizeof(ql_compensator)};
static const ql_compensator toy_follow_functions = {
    .size = sizeof(ql_compensator), .needs = QL_NEEDS_STATS, .compensate = toy_compensate};
static const ql_compensator toy_couple_functions = {
    .size = sizeof(ql_compensator), .couples = true, .compensate = toy_compensate};
static const ql_evaluator toy_score_functions = {.size = sizeof(ql_evaluator), .chunk = toy_chunk, .end = toy_end};
static const ql_evaluator toy_layers_functions = {
    .size = sizeof(ql_evaluator), .needs = QL_NEEDS_STATS, .linear = toy_linear};

#define TOY .abi_major = QL_ABI_MAJOR, .abi_minor = QL_ABI_MINOR, .size = sizeof(ql_plugin), .version = "1.0"

static const ql_plugin toy_plugins[] = {
    {TOY, .kind = QL_MODEL, .name = "toy", .help = "a model", .params = toy_model_rows, .self_size = sizeof(toy_model),
     .model = &toy_model_functions},
    {TOY, .kind = QL_DATA, .name = "words", .help = "a text", .params = toy_text_rows, .self_size = sizeof(toy_text),
     .data = &toy_data_functions},
    {TOY, .kind = QL_QUANTIZER, .name = "plain", .help = "a quantizer", .params = toy_plain_rows,
     .self_size = sizeof(toy_quantizer), .quantizer = &toy_plain_functions},
    {TOY, .kind = QL_QUANTIZER, .name = "clever", .help = "one with statistics", .params = toy_clever_rows,
     .self_size = sizeof(toy_quantizer), .check = toy_check, .quantizer = &toy_clever_functions},
    {TOY, .kind = QL_QUANTIZER, .name = "driver", .help = "one that drives another", .params = toy_driver_rows,
     .ports = toy_driver_ports, .self_size = sizeof(toy_quantizer), .quantizer = &toy_driver_functions},
    {TOY, .kind = QL_COMPENSATOR, .name = "keep", .help = "the identity", .params = toy_no_rows,
     .self_size = sizeof(toy_nothing), .compensator = &toy_none_functions},
    {TOY, .kind = QL_COMPENSATOR, .name = "follow", .help = "one that follows", .params = toy_rank_rows,
     .self_size = sizeof(toy_compensator), .compensator = &toy_follow_functions},
    {TOY, .kind = QL_COMPENSATOR, .name = "couple", .help = "one that couples", .params = toy_rank_rows,
     .self_size = sizeof(toy_compensator), .compensator = &toy_couple_functions},
    {TOY, .kind = QL_EVALUATOR, .name = "score", .help = "a number", .params = toy_no_rows,
     .self_size = sizeof(toy_nothing), .evaluator = &toy_score_functions},
    {TOY, .kind = QL_EVALUATOR, .name = "layers", .help = "a number a layer", .params = toy_no_rows,
     .self_size = sizeof(toy_nothing), .evaluator = &toy_layers_functions},
};

/* A registry with the toys; NULL with the error set. */
static inline ql_registry *
toy_registry(ql_ctx *cx)
{
    ql_registry *r = NULL;
    ql_status st = ql_registry_open(cx, NULL, &r);

    for (size_t i = 0; st == QL_OK && i < sizeof toy_plugins / sizeof *toy_plugins; i++)
        st = ql_registry_add(cx, r, &toy_plugins[i]);
    if (st == QL_OK)
        return r;
    ql_registry_close(r);
    return NULL;
}

#endif
