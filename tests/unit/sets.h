/* A result set by hand, for tests: {rtn, gptq} x {2, 3} with a baseline, a failure, a footnote and hostile labels. */
#ifndef QLOOM_TESTS_SETS_H
#define QLOOM_TESTS_SETS_H

#include "set.h"

static const char *const sets_references[] = {"quant", "quant.bits", "quant.use", "fix.use"};

/* A fresh item at the end of `*items`, which grows. */
static inline void *
sets_append(ql_ctx *cx, void *items, int64_t *count, size_t size)
{
    void **p = items, *grown = ql_alloc(cx, (size_t)*count + 1, size);

    if (!grown)
        exit(1);
    if (*count)
        memcpy(grown, *p, (size_t)*count * size);
    *p = grown;
    return (char *)grown + (size_t)(*count)++ * size;
}

static inline void
sets_cell(ql_ctx *cx, ql_result_set *set, const char *const labels[4], int64_t original)
{
    ql_result_cell *c;

    ql_scope_enter(cx, &set->memory);
    c = sets_append(cx, &set->cells, &set->cell_count, sizeof *c);
    *c = (ql_result_cell){.original = original, .baseline = original < 0};
    c->labels = ql_alloc(cx, 4, sizeof *c->labels);
    for (int i = 0; i < 4; i++)
        c->labels[i] = labels[i];
    (void)ql_scope_leave(cx, &set->memory, QL_OK);
}

#define SETS_ADD(what, type, items, count)                                                         \
    static inline void sets_##what(ql_ctx *cx, ql_result_set *set, int64_t cell, const type *item) \
    {                                                                                              \
        ql_result_cell *c = &set->cells[cell];                                                     \
        type *to;                                                                                  \
                                                                                                   \
        ql_scope_enter(cx, &set->memory);                                                          \
        to = sets_append(cx, &c->items, &c->count, sizeof *to);                                    \
        (void)ql_scope_leave(cx, &set->memory, QL_OK);                                             \
        *to = *item;                                                                               \
    }

typedef const char *sets_text;
SETS_ADD(add_metric, ql_result_metric, metrics, metric_count)
SETS_ADD(add_note, ql_result_note, notes, note_count)
SETS_ADD(linear, ql_result_linear, linears, linear_count)
SETS_ADD(add_footnote, sets_text, footnotes, footnote_count)
SETS_ADD(add_list, ql_result_list, lists, list_count)

/* A list with a copy of the values. */
static inline void
sets_list(ql_ctx *cx, ql_result_set *set, int64_t cell, const ql_result_list *list)
{
    ql_result_list own = *list;

    ql_scope_enter(cx, &set->memory);
    own.values = ql_alloc(cx, (size_t)list->count, sizeof *own.values);
    (void)ql_scope_leave(cx, &set->memory, QL_OK);
    if (!own.values)
        exit(1);
    memcpy(own.values, list->values, (size_t)list->count * sizeof *own.values);
    sets_add_list(cx, set, cell, &own);
}

static inline void
sets_metric(ql_ctx *cx, ql_result_set *set, int64_t cell, const char *stage, const char *name, double value)
{
    sets_add_metric(cx, set, cell, &(ql_result_metric){stage, name, value});
}

static inline void
sets_note(ql_ctx *cx, ql_result_set *set, int64_t cell, const char *name, const char *value)
{
    for (int64_t i = 0; i < set->cells[cell].note_count; i++)
        if (strcmp(set->cells[cell].notes[i].name, name) == 0) {
            set->cells[cell].notes[i].value = value;
            return;
        }
    sets_add_note(cx, set, cell, &(ql_result_note){"ppl", name, value});
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
        sets_list(cx, set, i,
                  &(ql_result_list){.stage = "ppl", .name = "windows", .count = 3, .values = (double *)losses});
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
    set->cells[2].error = "model.layers.0.mlp.up_proj: 100 % of H is \"nan\", {a}_b";
    sets_add_footnote(cx, set, 3, &(sets_text){"3 of 5 rows, <saturated>"});
    for (int k = 0; k < 3; k++)
        sets_linear(cx, set, 0,
                    &(ql_result_linear){"layers", k ? "b" : "a", k < 2 ? "w_error" : "damp", k < 2 ? k + 1.0 : 0.01});
    sets_graph(cx, set);
}

#endif
