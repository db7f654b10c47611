/* Exported and loaded again, a model has the perplexity that it had in the walk, bit for bit: bits, symmetry, column order, version and
 * architecture; codes as a model, codes as a quantizer, with adapter and without. */
#include "tests/exports/exports.h"

static const int widths[] = {2, 3, 4, 8};
#define WIDTHS 4

typedef struct recipe {
    const char *model, *sym, *order, *version, *ranks;
    int group;
} recipe;

/* Four cells, exported each. */
static const char *
exporting(walk_test *t, const recipe *r)
{
    return ql_format(&t->cx,
                     "qloom: 1\nname: out\nbaseline: false\nstages:\n"
                     "  base: {use: auto, path: %s}\n"
                     "  calib: {use: text, path: calib.txt, samples: 2, seqlen: 64}\n"
                     "  eval: {use: text, path: eval.txt, samples: 2, seqlen: 40}\n"
                     "  quant: {use: gptq, model: $base, calib: $calib, group_size: %d, sym: %s, act_order: %s}\n"
                     "  fix:\n    use: lordq\n    model: $quant\n    rank: 3\n"
                     "    overrides: [{match: '*.down_proj', rank: 5}]\n"
                     "  bare: {use: perplexity, model: $quant, data: $eval}\n"
                     "  fixed: {use: perplexity, model: $fix, data: $eval}\n"
                     "  ckpt: {use: gptq_checkpoint, model: $quant, version: %s}\n"
                     "  lora: {use: peft_adapter, model: $fix, ranks: %s}\n"
                     "matrix: {quant.bits: [2, 3, 4, 8]}\n",
                     r->model, r->group, r->sym, r->order, r->version, r->ranks);
}

/* All of it loaded again, in one run. */
static const char *
loading(walk_test *t, const recipe *r)
{
    const char *text = ql_format(&t->cx,
                                 "qloom: 1\nname: in\nbaseline: false\nstages:\n  base: {use: auto, path: %s}\n"
                                 "  eval: {use: text, path: eval.txt, samples: 2, seqlen: 40}\n",
                                 r->model);

    for (int i = 0; i < WIDTHS; i++) {
        const int b = widths[i];
        const char *dir = ql_format(&t->cx, "%s/ckpt/%d", t->folder, b);

        text = ql_format(&t->cx,
                         "%s  m%d: {use: auto, path: %s}\n  w%d: {use: auto, path: %s, adapter: %s/lora/%d}\n"
                         "  q%d: {use: checkpoint, model: $base, path: %s}\n"
                         "  pm%d: {use: perplexity, model: $m%d, data: $eval}\n"
                         "  pw%d: {use: perplexity, model: $w%d, data: $eval}\n"
                         "  pq%d: {use: perplexity, model: $q%d, data: $eval}\n",
                         text, b, dir, b, dir, t->folder, b, b, dir, b, b, b, b, b, b);
    }
    return text;
}

static void
same(const recipe *r, int bits, const char *what, double got, double expected)
{
    if (memcmp(&got, &expected, sizeof got) != 0 || !(got > 1))
        TEST_FAIL("%s, %d bits, sym %s, order %s, %s: %s: got %.17g, expected %.17g", r->model, bits, r->sym, r->order,
                  r->version, what, got, expected);
}

static void
round_trip(walk_test *t, const recipe *r)
{
    ql_result_set out, in;
    ql_scope scope;

    ql_scope_open(&t->cx, &scope);
    export_run(t, exporting(t, r), &out);
    export_run(t, loading(t, r), &in);
    for (int i = 0; i < WIDTHS; i++) {
        const double bare = walk_metric(&out.cells[i], "bare", "loss"),
                     fixed = walk_metric(&out.cells[i], "fixed", "loss");
        const int b = widths[i];
        const double worn = walk_metric(&in.cells[0], ql_format(&t->cx, "pw%d", b), "loss");

        same(r, b, "as a model", walk_metric(&in.cells[0], ql_format(&t->cx, "pm%d", b), "loss"), bare);
        same(r, b, "as a quantizer", walk_metric(&in.cells[0], ql_format(&t->cx, "pq%d", b), "loss"), bare);
        if (strcmp(r->ranks, "exact") == 0)
            same(r, b, "with its adapter", worn, fixed);
        else
            CHECK_NEAR(worn, fixed, 1e-5); /* padding lengthens sums, by zeros */
    }
    ql_results_fini(&t->cx, &in);
    ql_results_fini(&t->cx, &out);
    ql_scope_close(&t->cx, &scope);
}

/* Linears of other bits, of none, and of whole rows: rules in the configuration, and the same loss behind them. */
static void
other_settings(walk_test *t, const char *model)
{
    const char *run = ql_format(&t->cx,
                                "qloom: 1\nname: o\nbaseline: false\nstages:\n  base: {use: auto, path: %s}\n"
                                "  eval: {use: text, path: eval.txt, samples: 2, seqlen: 40}\n"
                                "  quant:\n    use: rtn\n    model: $base\n    bits: 3\n    group_size: 32\n"
                                "    overrides:\n      - {match: '*.0.mlp.down_proj', bits: 8, group_size: -1}\n"
                                "      - {match: '*.1.mlp.*', skip: true}\n"
                                "  ppl: {use: perplexity, model: $quant, data: $eval}\n"
                                "  rules: {use: gptq_checkpoint, model: $quant}\n",
                                model);
    const char *back = ql_format(&t->cx,
                                 "qloom: 1\nname: b\nbaseline: false\nstages:\n  base: {use: auto, path: %s/rules}\n"
                                 "  eval: {use: text, path: eval.txt, samples: 2, seqlen: 40}\n"
                                 "  ppl: {use: perplexity, model: $base, data: $eval}\n",
                                 t->folder);
    static const char *const expected[] = {
        "\"bits\": 3,\n  \"group_size\": 32,",
        "    \"+:model\\\\.layers\\\\.0\\\\.mlp\\\\.down_proj$\": {\"bits\": 8, \"group_size\": -1, \"sym\": true, "
        "\"desc_act\": false},\n    \"-:model\\\\.layers\\\\.1\\\\.mlp\\\\.gate_proj$\": {},\n"
        "    \"-:model\\\\.layers\\\\.1\\\\.mlp\\\\.gate_up_proj$\": {},\n",
    };
    const recipe r = {.model = model, .sym = "true", .order = "off", .version = "v1"};
    ql_result_set out, in;
    const char *config;
    size_t bytes;

    export_run(t, run, &out);
    export_run(t, back, &in);
    same(&r, 3, "with rules", walk_metric(&in.cells[0], "ppl", "loss"), walk_metric(&out.cells[0], "ppl", "loss"));
    REQUIRE_OK(&t->cx, ql_file_read(&t->cx, ql_format(&t->cx, "%s/rules/quantize_config.json", t->folder), QL_FILE_MOST,
                                    &config, &bytes));
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (!strstr(config, expected[i]))
            TEST_FAIL("the configuration lacks\n%s\nin\n%s", expected[i], config);
    ql_results_fini(&t->cx, &in);
    ql_results_fini(&t->cx, &out);
}

/* What an export holds depends on what it is handed, and not on when or by how many threads. */
static void
same_bytes(walk_test *t, const recipe *r)
{
    ql_result_set set;
    ql_scope scope;

    ql_scope_open(&t->cx, &scope);
    CHECK_INT(system(ql_format(&t->cx, "rm -rf %s/first && mkdir %s/first && cp -r %s/ckpt %s/lora %s/first", t->folder,
                               t->folder, t->folder, t->folder, t->folder)),
              0);
    export_run(t, exporting(t, r), &set);
    CHECK_INT(system(ql_format(&t->cx, "diff -r %s/ckpt %s/first/ckpt && diff -r %s/lora %s/first/lora", t->folder,
                               t->folder, t->folder, t->folder)),
              0);
    ql_results_fini(&t->cx, &set);
    ql_scope_close(&t->cx, &scope);
}

int
main(void)
{
    const uint64_t seed = test_seed();
    walk_test t;
    recipe r;

    walk_open(&t);
    for (int a = 0; a < 3; a++) {
        const char *model = export_model(&t, export_architectures[a], seed + (uint64_t)a);

        for (int sym = 0; sym < 2; sym++)
            for (int order = 0; order < 2; order++) {
                const bool v1 = sym && (a + order) % 2 == 0; /* an asymmetric grid may have a zero of 0 */

                r = (recipe){.model = model,
                             .sym = sym ? "true" : "false",
                             .order = order ? "desc" : "off",
                             .version = v1 ? "v1" : "v2",
                             .ranks = order ? "portable" : "exact",
                             .group = a == 1 && sym ? -1 : 32};
                round_trip(&t, &r);
            }
        other_settings(&t, model);
    }
    same_bytes(&t, &r);
    return walk_close(&t);
}
