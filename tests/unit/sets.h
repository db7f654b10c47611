/* A result set by hand, for tests: {rtn, gptq} x {2, 3} with a baseline, a failure, a footnote and hostile labels. */
#ifndef QLOOM_TESTS_SETS_H
#define QLOOM_TESTS_SETS_H

#include "core/results/results.h"
#include "test.h"

static const char *const sets_references[] = {"quant", "quant.bits", "quant.use", "fix.use"};

static inline void
sets_cell(ql_ctx *cx, ql_result_set *set, const char *const labels[4], int64_t original)
{
    ql_result_cell *c;

    ql_scope_enter(cx, &set->memory);
    c = ql_results_append(cx, &set->cells, &set->cell_count, &set->cell_capacity, sizeof *c);
    if (!c)
        exit(1);
    *c = (ql_result_cell){.original = original, .baseline = original < 0};
    c->labels = ql_alloc(cx, 4, sizeof *c->labels);
    for (int i = 0; i < 4; i++)
        c->labels[i] = labels[i];
    (void)ql_scope_leave(cx, &set->memory, QL_OK);
}

static inline void
sets_metric(ql_ctx *cx, ql_result_set *set, int64_t cell, const char *stage, const char *name, double value)
{
    REQUIRE_OK(cx, ql_results_metric(cx, set, cell, &(ql_result_metric){stage, name, value}));
}

static inline void
sets_note(ql_ctx *cx, ql_result_set *set, int64_t cell, const char *name, const char *value)
{
    REQUIRE_OK(cx, ql_results_note(cx, set, cell, &(ql_result_note){"ppl", name, value}));
}

/* A model, a quantizer on it, and an evaluator; a kind, and a list of losses for every cell that didn't fail. */
static inline void
sets_graph(ql_ctx *cx, ql_result_set *set)
{
    static ql_result_kind kind = {"ppl", "perplexity", NULL, "windows", QL_BETTER_LOWER, true};
    static ql_result_edge model = {"model", 0}, quant = {"model", 1};
    static ql_result_node nodes[] = {
        {.stage = "base", .kind = "model", .label = "qwen3 <b>", .cells = 4, .cost = {.seconds = 0.25, .calls = 2}},
        {.stage = "quant",
         .kind = "quantizer",
         .label = "gptq",
         .cells = 2,
         .edge_count = 1,
         .edges = &model,
         .cost = {2.5, 7, 0, 10, 4096}},
        {.stage = "ppl",
         .kind = "evaluator",
         .label = "perplexity",
         .cells = 2,
         .edge_count = 1,
         .edges = &quant,
         .cost = {1.0, 7, 0, 10, 8192}},
    };

    set->kinds = &kind;
    set->nodes = nodes;
    set->kind_count = 1;
    set->node_count = 3;
    for (int64_t i = 0; i < set->cell_count; i++) {
        const double step = 0.001 * (double)i, losses[] = {1.5 + step, 1.625 + 2 * step, 1.75 - step};
        ql_result_cell *c = &set->cells[i];

        if (c->error)
            continue;
        REQUIRE_OK(cx, ql_results_list(cx, set, i,
                                       &(ql_result_list){
                                           .stage = "ppl", .name = "windows", .count = 3, .values = (double *)losses}));
        c->bits = c->baseline ? 16 : 2.25 + (double)(i % 2);
        c->cost = (ql_cost){.seconds = 3.5, .peak = 8192};
    }
}

/* Cells 0 .. 3, baseline 4; cell 2 failed; `run` and all labels are static. */
static inline void
sets_small(ql_ctx *cx, const char *run, ql_result_set *set)
{
    static const char *const rows[] = {"quant.bits"}, *const columns[] = {"quant.use"};
    static ql_result_cite cite = {"quant", "gptq", "gptq", "arXiv:2210.17323"};

    *set = (ql_result_set){.run = run,
                           .device = "cpu \"x\"",
                           .version = "0.1.0",
                           .seconds = 1.5,
                           .peak = 1 << 20,
                           .references = sets_references,
                           .axis_count = 2,
                           .reference_count = 4};
    set->table =
        (ql_table_spec){.row_count = 1, .column_count = 1, .rows = rows, .columns = columns, .value = "ppl.perplexity"};
    set->cites = &cite;
    set->cite_count = 1;
    sets_cell(cx, set, (const char *const[]){"rtn|x", "2", "rtn|x", "none"}, 4);
    sets_cell(cx, set, (const char *const[]){"rtn|x", "3", "rtn|x", "none"}, 4);
    sets_cell(cx, set, (const char *const[]){"gptq", "2", "gptq", "none"}, 4);
    sets_cell(cx, set, (const char *const[]){"gptq", "3", "gptq", "none"}, 4);
    sets_cell(cx, set, (const char *const[]){"original", "original", "original", "original"}, -1);
    for (int64_t i = 0; i < 5; i++) {
        if (i == 2)
            continue;
        sets_metric(cx, set, i, "ppl", "perplexity", 5.125 + 0.01 * (double)i);
        sets_note(cx, set, i, "protocol", "gptq");
        sets_note(cx, set, i, "bos", "no");
    }
    sets_metric(cx, set, 0, "layers", "rel_error", 0.0123456);
    sets_metric(cx, set, 1, "layers", "rel_error", NAN);
    sets_metric(cx, set, 3, "layers", "rel_error", INFINITY);
    sets_metric(cx, set, 4, "layers", "rel_error", 0);
    REQUIRE_OK(cx, ql_results_fail(cx, set, 2, "model.layers.0.mlp.up_proj: 100 % of H is \"nan\", {a}_b"));
    REQUIRE_OK(cx, ql_results_footnote(cx, set, 3, "3 of 5 rows, <saturated>"));
    for (int k = 0; k < 3; k++)
        REQUIRE_OK(cx, ql_results_linear(cx, set, 0,
                                         &(ql_result_linear){"layers", k ? "b" : "a", k < 2 ? "w_error" : "damp",
                                                             k < 2 ? k + 1.0 : 0.01}));
    sets_graph(cx, set);
}

#endif
