/* Pipelines to graphs: cells, merging, inheritance, labels, keys, rules. */
#include "test.h"

#include "core/base/ctx.h"
#include "tests/graph_plugins.h"

#define HEAD                                \
    "qloom: 1\nstages:\n"                   \
    "  base: {use: toy, path: /m}\n"        \
    "  calib: {use: words, path: /c.txt}\n" \
    "  eval: {use: words, path: /e.txt}\n"

#define CHAIN                                                                        \
    HEAD "  quant: {use: clever, model: $base, calib: $calib, bits: 3, damp: 0.5}\n" \
         "  fix: {use: keep, model: $quant, calib: $calib}\n"                        \
         "  ppl: {use: score, model: $fix, data: $eval}\n"

static ql_ctx cx;
static ql_registry *registry;
static ql_scope scope;

static char warned[512]; /* the last warning */

static void
keep_warning(void *user, ql_log_level level, const char *line)
{
    (void)user;
    if (level == QL_LOG_WARN)
        snprintf(warned, sizeof warned, "%s", line);
}

static ql_status
parse_with(const char *text, const char *const *sets, ql_graph *g)
{
    return ql_graph_parse(&cx, registry, "t.yaml", text, strlen(text), sets, g);
}

static ql_graph
parse(const char *text)
{
    ql_graph g;

    REQUIRE_OK(&cx, parse_with(text, NULL, &g));
    return g;
}

static void
check_error(const char *text, const char *expected)
{
    ql_graph g;
    ql_status st = parse_with(text, NULL, &g);

    CHECK_INT(st, QL_INVALID);
    CHECK_STR(ql_error(&cx), expected);
}

static const ql_node *
stage(const ql_graph *g, int64_t cell, const char *name)
{
    for (int64_t s = 0; s < g->stage_count; s++)
        if (strcmp(g->stage_names[s], name) == 0)
            return g->cells[cell].stages[s];
    return NULL;
}

static const toy_quantizer *
quant(const ql_graph *g, int64_t cell)
{
    return stage(g, cell, "quant")->self;
}

static int64_t
count_nodes(const ql_graph *g, ql_kind kind)
{
    int64_t n = 0;

    for (int64_t i = 0; i < g->node_count; i++)
        n += g->nodes[i]->plugin->kind == kind;
    return n;
}

/* Inputs come before users, and every node is numbered by its position. */
static void
check_order(const ql_graph *g)
{
    for (int64_t i = 0; i < g->node_count; i++) {
        CHECK_INT(g->nodes[i]->id, i);
        for (int64_t k = 0; k < g->nodes[i]->input_count; k++)
            CHECK(g->nodes[i]->inputs[k].from->id < i);
    }
}

static void
test_defaults(void)
{
    ql_graph g = parse(CHAIN);

    CHECK_STR(g.name, "t");
    CHECK_STR(g.device, "auto");
    CHECK_INT(g.seed, 0);
    CHECK_INT(g.memory, 0);
    CHECK_INT(g.chunk_tokens, 8192);
    CHECK(g.baseline);
    CHECK_INT(g.axis_count, 0);
    CHECK_INT(g.cell_count, 1);
    CHECK_INT(g.stage_count, 6);
    CHECK_INT(g.node_count, 6);
    CHECK_INT(quant(&g, 0)->bits, 3);
    CHECK_INT(quant(&g, 0)->group_size, 128);
    CHECK_NEAR(quant(&g, 0)->damp, 0.5, 0);
    CHECK_STR(stage(&g, 0, "quant")->label, "clever bits=3 damp=0.5");
    CHECK_STR(stage(&g, 0, "calib")->label, "words path=c.txt");
    CHECK(ql_node_input(stage(&g, 0, "quant"), "model") == stage(&g, 0, "base"));
    CHECK(ql_node_input(stage(&g, 0, "quant"), "data") == NULL);
    check_order(&g);
}

static void
test_top_keys(void)
{
    ql_graph g = parse("name: n\ndevice: auto\nseed: 18446744073709551615\nmemory: 512MiB\npropagate: original\n"
                       "chunk_tokens: 1024\nbaseline: false\n" CHAIN
                       "table: {rows: quant.bits, columns: [quant.use, fix.use], value: ppl.x}\n");

    CHECK_STR(g.name, "n");
    CHECK(g.seed == UINT64_MAX);
    CHECK_INT(g.memory, 512 << 20);
    CHECK_INT(g.chunk_tokens, 1024);
    CHECK(!g.baseline);
    CHECK_INT(stage(&g, 0, "quant")->propagate, QL_ORIGINAL);
    CHECK_INT(stage(&g, 0, "ppl")->propagate, QL_PROPAGATE_DEFAULT);
    CHECK_INT(g.table.row_count, 1);
    CHECK_INT(g.table.column_count, 2);
    CHECK_STR(g.table.columns[1], "fix.use");
    CHECK_STR(g.table.value, "ppl.x");
}

/* 3 variants x 3 fixes x 2 widths; what is equal is one node. */
static void
test_matrix(void)
{
    ql_graph g = parse(
        CHAIN
        "matrix:\n"
        "  quant: [{use: plain}, {use: clever}, {use: driver, rounds: 7}]\n"
        "  fix:\n    - {use: keep}\n    - {use: follow, rank: 8, label: F}\n    - {use: follow, sweeps: 2, rank: 8}\n"
        "  quant.bits: [2, 4]\n");
    const ql_cell *last;

    CHECK_INT(g.axis_count, 3);
    CHECK_INT(g.cell_count, 18);
    CHECK_INT(count_nodes(&g, QL_MODEL), 1);
    CHECK_INT(count_nodes(&g, QL_DATA), 2);
    CHECK_INT(count_nodes(&g, QL_QUANTIZER), 6);
    CHECK_INT(count_nodes(&g, QL_COMPENSATOR), 18);
    CHECK_INT(count_nodes(&g, QL_EVALUATOR), 18);
    check_order(&g);
    last = &g.cells[17];
    CHECK_STR(ql_cell_label(&cx, &g, last, "quant"), "driver");
    CHECK_STR(ql_cell_label(&cx, &g, last, "quant.use"), "driver");
    CHECK_STR(ql_cell_label(&cx, &g, last, "fix"), "follow");
    CHECK_STR(ql_cell_label(&cx, &g, &g.cells[3], "fix.use"), "F");
    CHECK_STR(ql_cell_label(&cx, &g, last, "quant.bits"), "4");
    CHECK_STR(ql_cell_label(&cx, &g, last, "quant.rounds"), "7");
    CHECK_STR(ql_cell_label(&cx, &g, last, "fix.rank"), "8");
    CHECK_STR(ql_cell_label(&cx, &g, last, "ppl.use"), "score");
    CHECK_STR(ql_cell_label(&cx, &g, last, "seed"), "0");
    CHECK(ql_cell_label(&cx, &g, &g.cells[0], "quant.rounds") == NULL);
    CHECK(ql_cell_label(&cx, &g, last, "nobody.use") == NULL);
    CHECK(ql_cell_label(&cx, &g, last, "ppl") == NULL);
    /* bits come from the axis, the rest from variant and entry */
    CHECK_INT(quant(&g, 0)->bits, 2);
    CHECK_INT(quant(&g, 17)->rounds, 7);
    CHECK_NEAR(quant(&g, 6)->damp, 0.5, 0);
}

static void
test_inheritance(void)
{
    ql_graph g = parse(HEAD "  quant: {use: clever, model: $base, calib: $calib, bits: 3, group_size: 64, order: desc, "
                            "propagate: original}\n"
                            "  ppl: {use: score, model: $quant, data: $eval}\n"
                            "matrix:\n  quant: [{use: clever}, {use: driver, rounds: 2}, {bits: 5}]\n");

    CHECK_INT(quant(&g, 0)->order, 1);
    CHECK_INT(quant(&g, 1)->bits, 3);
    CHECK_INT(quant(&g, 1)->group_size, 64);
    CHECK_INT(quant(&g, 1)->order, 0);
    CHECK_INT(stage(&g, 1, "quant")->propagate, QL_ORIGINAL);
    CHECK(ql_node_input(stage(&g, 1, "quant"), "calib") == stage(&g, 1, "calib"));
    CHECK_INT(quant(&g, 2)->bits, 5);
    CHECK_INT(quant(&g, 2)->order, 1);
}

/* A shared parameter that a plugin lacks is fine from an axis or by inheritance, and then cells share the node. */
static void
test_shared_parameters(void)
{
    ql_graph g = parse(CHAIN "matrix:\n  fix: [{use: keep}, {use: follow}]\n  fix.rank: [4, 8]\n");

    CHECK_INT(g.cell_count, 4);
    CHECK(stage(&g, 0, "fix") == stage(&g, 1, "fix"));
    CHECK(stage(&g, 2, "fix") != stage(&g, 3, "fix"));
    CHECK_STR(ql_cell_label(&cx, &g, &g.cells[1], "fix.rank"), "8");
    check_error(CHAIN "matrix:\n  quant: [{use: plain}, {use: clever}]\n  quant.order: [off, desc]\n",
                "t.yaml:11:3: stage 'quant': unknown parameter 'order'; 'qloom plugins plain' lists what there is");
    check_error(HEAD
                "  quant: {use: plain, model: $base, damp: 0.1}\n  ppl: {use: score, model: $quant, data: $eval}\n",
                "t.yaml:6:37: stage 'quant': unknown parameter 'damp'; 'qloom plugins plain' lists what there is");
}

/* A key that no plugin of the cells has is told; one that an axis or the variants replace is not. */
static void
test_unused_keys(void)
{
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {CHAIN "matrix: {quant: [{use: plain}]}\n",
         "t.yaml:6:62: stage 'quant': 'damp' does nothing: no plugin of its cells has it"},
        {CHAIN "matrix: {fix.rank: [4]}\n",
         "t.yaml:9:10: stage 'fix': 'rank' does nothing: no plugin of its cells has it"},
        {CHAIN "matrix: {quant: [{use: plain, bits: 2}, {use: clever, bits: 4}]}\n", ""},
        {CHAIN "matrix: {quant.bits: [2]}\n", ""},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        *warned = '\0';
        (void)parse(rows[i].text);
        CHECK_STR(warned, rows[i].expected);
    }
}

static void
test_labels(void)
{
    ql_graph g = parse(CHAIN "matrix:\n  quant: [{use: clever}, {use: clever, order: desc}, {use: clever, order: desc, "
                             "bits: 2}, {use: plain}]\n"
                             "  quant.group_size: [32, -1]\n");

    CHECK_STR(g.axes[0].labels[0], "clever");
    CHECK_STR(g.axes[0].labels[1], "clever order=desc");
    CHECK_STR(g.axes[0].labels[2], "clever order=desc bits=2");
    CHECK_STR(g.axes[0].labels[3], "plain");
    CHECK_STR(g.axes[1].labels[1], "-1");
    check_error(CHAIN "matrix:\n  quant: [{use: plain}, {use: plain}]\n",
                "t.yaml:10:25: matrix 'quant': 'plain' stands there twice");
}

static void
test_seeds(void)
{
    ql_graph g = parse(CHAIN "matrix: {seed: [1, 2, 3]}\nseed: 9\n");

    CHECK_INT(g.cell_count, 3);
    CHECK_INT(g.cells[2].seed, 3);
    CHECK_INT(stage(&g, 2, "quant")->seed, 3);
    CHECK_INT(count_nodes(&g, QL_MODEL), 1);
    CHECK_INT(count_nodes(&g, QL_DATA), 6);
    CHECK_INT(count_nodes(&g, QL_QUANTIZER), 3);
    CHECK_STR(ql_cell_label(&cx, &g, &g.cells[1], "seed"), "2");
}

static void
test_exclude(void)
{
    ql_graph g = parse(CHAIN "matrix:\n  quant: [{use: plain}, {use: clever, label: C}]\n  fix: [{use: keep}, {use: "
                             "follow, rank: 2}]\n  quant.bits: [2, 3]\n"
                             "exclude:\n  - {quant.use: plain, fix.use: follow}\n  - {quant: C, quant.bits: 2, "
                             "fix.rank: 2}\n  - {quant.use: clever, quant.group_size: 64}\n");

    CHECK_INT(g.cell_count, 5);
    for (int64_t i = 0; i < g.cell_count; i++)
        CHECK(strcmp(ql_cell_label(&cx, &g, &g.cells[i], "quant.use"), "plain") != 0 ||
              strcmp(ql_cell_label(&cx, &g, &g.cells[i], "fix.use"), "keep") == 0);
    /* what counts is the value that a cell has: a default, a number however written, nothing where a plugin lacks the key */
    g = parse(CHAIN "matrix:\n  quant: [{use: plain}, {use: clever, damp: 0.010}, {use: driver}]\n"
                    "exclude: [{quant.rounds: 5}, {quant.damp: 0.01}]\n");
    CHECK_INT(g.cell_count, 1);
    CHECK_STR(ql_cell_label(&cx, &g, &g.cells[0], "quant.use"), "plain");
    g = parse(CHAIN "matrix: {quant.bits: [2, 3]}\nseed: 4\nexclude: [{seed: 4, quant.bits: 3}, {seed: 5}]\n");
    CHECK_INT(g.cell_count, 1);
    check_error(CHAIN "matrix: {quant.bits: [2, 3]}\nexclude: [{quant.bits: 2}, {quant.bits: 3}]\n",
                "t.yaml:10:1: exclude: no cell is left");
}

static void
test_anonymous(void)
{
    ql_graph g = parse(
        HEAD "  quant: {use: driver, model: $base, calib: $calib, bits: 2, group_size: 32, base: {use: clever, order: "
             "desc}}\n"
             "  other: {use: clever, model: $base, calib: {use: words, path: /c.txt}, bits: 2, group_size: 32, order: "
             "desc}\n"
             "  ppl: {use: score, model: $quant, data: $eval}\n  ppl2: {use: score, model: $other, data: $eval}\n");
    const ql_node *base = ql_node_input(stage(&g, 0, "quant"), "base");

    CHECK_STR(base->name, "quant.base");
    CHECK(base == stage(&g, 0, "other"));
    CHECK_INT(count_nodes(&g, QL_DATA), 2);
    CHECK_INT(((const toy_quantizer *)base->self)->group_size, 32);
    CHECK(ql_node_input(base, "calib") == stage(&g, 0, "calib"));
}

static void
test_overrides(void)
{
    ql_graph g = parse(HEAD "  quant: {use: clever, model: $base, calib: $calib, bits: 3, overrides: [{match: "
                            "\"*.down\", bits: 8}, {match: \"*.0.*\", skip: true}, {match: \"*\", damp: 0.25}]}\n"
                            "  ppl: {use: score, model: $quant, data: $eval}\nmatrix: {quant: [{use: clever}, {use: "
                            "plain}], quant.group_size: [16]}\n");
    const ql_node *n = stage(&g, 0, "quant"), *plain = stage(&g, 1, "quant");

    CHECK_INT(n->override_count, 3);
    CHECK_STR(n->overrides[0].match, "*.down");
    CHECK_INT(((const toy_quantizer *)n->overrides[0].self)->bits, 8);
    CHECK_INT(((const toy_quantizer *)n->overrides[0].self)->group_size, 16);
    CHECK(n->overrides[1].skip && !n->overrides[1].self);
    CHECK_NEAR(((const toy_quantizer *)n->overrides[2].self)->damp, 0.25, 0);
    CHECK_INT(((const toy_quantizer *)n->overrides[2].self)->bits, 3);
    CHECK_INT(plain->override_count, 3);
    CHECK_INT(((const toy_quantizer *)plain->overrides[0].self)->bits, 8);
}

static void
test_sets(void)
{
    const char *const sets[] = {"quant.bits=5", "quant.group_size=[8, 16]", "seed=7", "fix.rank=3", NULL};
    const char *const wrong[] = {"quant.bits=99", "nobody.bits=3", "sed=1", "bits", "quant.use=plain", NULL};
    const char *text = CHAIN "matrix:\n  quant: [{use: plain}, {use: clever, bits: 2}]\n  quant.group_size: [4]\n";
    ql_graph g;

    REQUIRE_OK(&cx, parse_with(text, sets, &g));
    CHECK_INT(g.cell_count, 4);
    CHECK_INT(g.seed, 7);
    CHECK_INT(quant(&g, 0)->bits, 5);
    CHECK_INT(quant(&g, 3)->bits, 5);
    CHECK_INT(quant(&g, 3)->group_size, 16);
    CHECK_INT(parse_with(text, wrong, &g), QL_INVALID);
    CHECK_STR(ql_error(&cx),
              "-s nobody.bits=3: there is no stage 'nobody'\n"
              "-s sed=1: expected KEY=VALUE or STAGE.PARAMETER=VALUE; the file has no key 'sed'\n"
              "-s bits: expected KEY=VALUE or STAGE.PARAMETER=VALUE\n"
              "-s quant.use=plain: the matrix varies 'use' of stage 'quant'\n"
              "-s quant.bits=99: stage 'quant': bits: got '99', expected a whole number from 2 to 8 (bits per weight)");
}

/* What says the same has the same key in every file; what differs anywhere before has another. */
static void
test_keys(void)
{
    ql_graph a = parse(CHAIN), b = parse(CHAIN "seed: 0\nname: other\n"), s = parse(CHAIN "seed: 1\n");
    ql_graph c = parse(HEAD "  q: {calib: $calib, damp: 0.50, use: clever, bits: 3, model: $base}\n  ppl: {use: score, "
                            "model: $q, data: $eval}\n");
    const ql_node *n = stage(&a, 0, "quant"), *other = NULL;

    CHECK(memcmp(n->key, stage(&b, 0, "quant")->key, sizeof n->key) == 0);
    CHECK(memcmp(n->key, stage(&s, 0, "quant")->key, sizeof n->key) != 0);
    CHECK(memcmp(stage(&a, 0, "base")->key, stage(&s, 0, "base")->key, sizeof n->key) == 0);
    CHECK(memcmp(stage(&a, 0, "ppl")->key, stage(&s, 0, "ppl")->key, sizeof n->key) != 0);
    other = stage(&c, 0, "q");
    CHECK(memcmp(n->key, other->key, sizeof n->key) == 0);
    CHECK_STR(n->canonical, "clever 1.0\nbits=3\ngroup_size=128\nsym=false\ndamp=0.5\norder=off\npropagate=default");
    CHECK_INT(n->key[0], INT64_C(7508130722709949731));
}

/* The expanded file is a pipeline that means the same. */
static void
test_expanded(void)
{
    ql_graph g =
        parse("propagate: original\nmemory: 1GiB\n" CHAIN
              "matrix:\n  quant: [{use: plain}, {use: clever, order: desc}]\n  quant.bits: [2, 4]\n"
              "exclude: [{quant.use: plain, quant.bits: 2}]\ntable: {rows: [quant.use], columns: quant.bits}\n");
    ql_graph again = parse(g.expanded);

    CHECK_INT(again.cell_count, g.cell_count);
    CHECK_INT(again.node_count, g.node_count);
    for (int64_t i = 0; i < g.node_count && i < again.node_count; i++)
        CHECK(memcmp(g.nodes[i]->key, again.nodes[i]->key, sizeof g.nodes[i]->key) == 0);
    CHECK_STR(again.expanded, g.expanded);
    CHECK(strstr(g.expanded, "memory: 1073741824\n") != NULL);
}

/* Values of the command line are in the expanded file, where they have a meaning. */
static void
test_expanded_sets(void)
{
    const char *const sets[] = {"fix.rank=3", "quant.bits=7", NULL};
    const char *const none[] = {"fix.rank=3", NULL};
    ql_graph g, again;

    REQUIRE_OK(&cx, parse_with(CHAIN "matrix: {fix: [{use: keep}, {use: follow}]}\n", sets, &g));
    again = parse(g.expanded);
    CHECK_INT(((const toy_compensator *)stage(&again, 1, "fix")->self)->rank, 3);
    CHECK_INT(quant(&again, 0)->bits, 7);
    REQUIRE_OK(&cx, parse_with(CHAIN, none, &g));
    again = parse(g.expanded);
    CHECK(strstr(g.expanded, "rank") == NULL);
}

static void
test_rules(void)
{
    check_error(
        HEAD
        "  a: {use: plain, model: $base}\n  b: {use: plain, model: $a}\n  c: {use: follow, model: $base, calib: "
        "$calib}\n"
        "  d: {use: keep, model: $a}\n  e: {use: keep, model: $d}\n  p: {use: score, model: $calib, data: $base}\n",
        "t.yaml:7:26: stage 'b' (plain): its model must come from a model stage, not from stage 'a' (plain, a "
        "quantizer)\n"
        "t.yaml:8:27: stage 'c' (follow): its model must come from a quantizer, not from stage 'base' (toy, a model)\n"
        "t.yaml:10:25: stage 'e' (keep): its model must come from a quantizer, not from stage 'd' (keep, a "
        "compensator)\n"
        "t.yaml:11:26: stage 'p' (score): input 'model' takes model, stage 'calib' (words) gives tokens\n"
        "t.yaml:11:40: stage 'p' (score): input 'data' takes tokens, stage 'base' (toy) gives model");
    check_error(HEAD "  a: {use: plain, model: $c}\n  b: {use: keep, model: $a}\n  c: {use: keep, model: $b}\n  p: "
                     "{use: score, model: $c, data: $eval}\n",
                "t.yaml:7:25: stage 'b': its inputs lead back to it: a <- c <- b <- a");
    check_error(HEAD "  a: {use: driver, model: $base, calib: $calib}\n  b: {use: couple, model: $a}\n  p: {use: "
                     "score, model: $b, data: $eval}\n",
                "t.yaml:7:27: stage 'b' (couple): it quantizes a changed weight, and stage 'a' (driver) has an adapter "
                "of its own already");
    check_error(HEAD "  a: {use: plain, model: $base}\n",
                "t.yaml:2:1: stages: there is no evaluator or exporter, so nothing would be computed");
}

static void
test_texts(void)
{
    ql_graph g = parse(CHAIN);
    const char *text;

    REQUIRE_OK(&cx, ql_graph_text(&cx, &g, &text));
    CHECK_STR(text, "t: 6 stages, 1 cell, 6 nodes\n"
                    "  0 base: toy path=m\n  1 calib: words path=c.txt\n  2 eval: words path=e.txt\n"
                    "  3 quant: clever bits=3 damp=0.5 <- model 0, calib 1\n  4 fix: keep <- model 3, calib 1\n"
                    "  5 ppl: score <- model 4, data 2\n");
    REQUIRE_OK(&cx, ql_graph_dot(&cx, &g, &text));
    CHECK(strstr(text, "    n3 -> n4 [label=\"model\"];\n") != NULL);
}

/* Every allocation may fail: an error, never a crash. */
static void
test_memory(void)
{
    const char *text = CHAIN "matrix:\n  quant: [{use: plain}, {use: clever, label: C}]\n  quant.bits: [2, "
                             "3]\nexclude: [{quant.use: C, quant.bits: 2}]\n";
    ql_status st = QL_MEMORY;

    for (int64_t n = 1; st != QL_OK && n < 100000; n++) {
        ql_scope inner;
        ql_graph g;

        ql_scope_open(&cx, &inner);
        cx.fail_alloc = n;
        st = parse_with(text, NULL, &g);
        CHECK(st == QL_OK || st == QL_MEMORY);
        cx.fail_alloc = 0;
        ql_scope_close(&cx, &inner);
    }
    CHECK_INT(st, QL_OK);
}

int
main(void)
{
    ql_ctx_init(&cx, &(const ql_log){.write = keep_warning});
    ql_scope_open(&cx, &scope);
    registry = toy_registry(&cx);
    if (!registry) {
        TEST_FAIL("no registry: %s", ql_error(&cx));
        return 1;
    }
    test_defaults();
    test_top_keys();
    test_matrix();
    test_inheritance();
    test_shared_parameters();
    test_unused_keys();
    test_labels();
    test_seeds();
    test_exclude();
    test_anonymous();
    test_overrides();
    test_sets();
    test_keys();
    test_expanded();
    test_expanded_sets();
    test_rules();
    test_texts();
    test_memory();
    ql_registry_close(registry);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
