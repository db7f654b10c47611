/* Exported and loaded again, a model has the perplexity that it had in the walk, bit for bit: bits, symmetry, column order, version and
 * architecture; codes as a model, codes as a quantizer, with adapter and without. */
#include "tests/exports/exports.h"

static const int widths[] = {2, 3, 4, 8};
#define WIDTHS 4

typedef struct recipe {
    const char *model, *sym, *order, *format, *ranks; /* format: the exporter, perhaps with a parameter */
    int group;
} recipe;

/* Four cells, exported each. */
static const char *
exporting(walk_test *t, const recipe *r)
{
    return walk_format(t,
                       "qloom: 1\nname: out\nbaseline: false\nstages:\n"
                       "  base: {use: auto, path: %s}\n"
                       "  calib: {use: text, path: calib.txt, samples: 2, seqlen: 64}\n"
                       "  eval: {use: text, path: eval.txt, samples: 2, seqlen: 40}\n"
                       "  quant: {use: gptq, model: $base, calib: $calib, group_size: %d, sym: %s, act_order: %s}\n"
                       "  fix:\n    use: lordq\n    model: $quant\n    rank: 3\n"
                       "    overrides: [{match: '*.down_proj', rank: 5}]\n"
                       "  bare: {use: perplexity, model: $quant, data: $eval}\n"
                       "  fixed: {use: perplexity, model: $fix, data: $eval}\n"
                       "  ckpt: {use: %s, model: $quant, path: %s/ckpt}\n"
                       "  lora: {use: peft_adapter, model: $fix, ranks: %s, path: %s/lora}\n"
                       "matrix: {quant.bits: [2, 3, 4, 8]}\n",
                       r->model, r->group, r->sym, r->order, r->format, t->folder, r->ranks, t->folder);
}

/* All of it loaded again, in one run. */
static const char *
loading(walk_test *t, const recipe *r)
{
    const char *text = walk_format(t,
                                   "qloom: 1\nname: in\nbaseline: false\nstages:\n  base: {use: auto, path: %s}\n"
                                   "  eval: {use: text, path: eval.txt, samples: 2, seqlen: 40}\n",
                                   r->model);

    for (int i = 0; i < WIDTHS; i++) {
        const int b = widths[i];
        const char *dir = walk_format(t, "%s/ckpt/%d", t->folder, b);

        text = walk_format(t,
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
                  r->format, what, got, expected);
}

static void
round_trip(walk_test *t, const recipe *r)
{
    double bare[WIDTHS], fixed[WIDTHS];

    export_run(t, exporting(t, r));
    for (int i = 0; i < WIDTHS; i++) {
        bare[i] = walk_metric(t, i, "bare", "loss");
        fixed[i] = walk_metric(t, i, "fixed", "loss");
    }
    export_run(t, loading(t, r));
    for (int i = 0; i < WIDTHS; i++) {
        const int b = widths[i];
        const double worn = walk_metric(t, 0, walk_format(t, "pw%d", b), "loss");

        same(r, b, "as a model", walk_metric(t, 0, walk_format(t, "pm%d", b), "loss"), bare[i]);
        same(r, b, "as a quantizer", walk_metric(t, 0, walk_format(t, "pq%d", b), "loss"), bare[i]);
        if (strcmp(r->ranks, "exact") == 0)
            same(r, b, "with its adapter", worn, fixed[i]);
        else
            CHECK_NEAR(worn, fixed[i], 1e-5); /* padding lengthens sums, by zeros */
    }
}

/* Linears of other bits, of none, and of whole rows: rules in the configuration, and the same loss behind them. */
static void
other_settings(walk_test *t, const char *model, const char *format)
{
    const char *run = walk_format(t,
                                  "qloom: 1\nname: o\nbaseline: false\nstages:\n  base: {use: auto, path: %s}\n"
                                  "  eval: {use: text, path: eval.txt, samples: 2, seqlen: 40}\n"
                                  "  quant:\n    use: rtn\n    model: $base\n    bits: 3\n    group_size: 32\n"
                                  "    overrides:\n      - {match: '*.0.mlp.down_proj', bits: 8, group_size: -1}\n"
                                  "      - {match: '*.1.mlp.*', skip: true}\n"
                                  "  ppl: {use: perplexity, model: $quant, data: $eval}\n"
                                  "  rules: {use: %s, model: $quant, path: %s/rules}\n",
                                  model, format, t->folder);
    const char *back = walk_format(t,
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
    const recipe r = {.model = model, .sym = "true", .order = "off", .format = format};
    char config[1 << 14] = "";
    double loss;
    FILE *f;

    export_run(t, run);
    loss = walk_metric(t, 0, "ppl", "loss");
    export_run(t, back);
    same(&r, 3, "with rules", walk_metric(t, 0, "ppl", "loss"), loss);
    if (strcmp(format, "gptq_checkpoint") != 0)
        return;
    f = fopen(walk_format(t, "%s/rules/quantize_config.json", t->folder), "r");
    CHECK(f && fread(config, 1, sizeof config - 1, f) > 0 && fclose(f) == 0);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (!strstr(config, expected[i]))
            TEST_FAIL("the configuration lacks\n%s\nin\n%s", expected[i], config);
}

/* What an export holds depends on what it is handed, and not on when or by how many threads. */
static void
same_bytes(walk_test *t, const recipe *r)
{
    walk_shell(t, walk_format(t, "cd %s && rm -rf first && mkdir first && cp -r ckpt lora first", t->folder));
    export_run(t, exporting(t, r));
    walk_shell(t, walk_format(t, "cd %s && diff -r ckpt first/ckpt && diff -r lora first/lora", t->folder));
}

int
main(void)
{
    const uint64_t seed = test_seed();
    static walk_test t;
    recipe r;

    walk_open(&t);
    for (int a = 0; a < 3; a++) {
        const char *model = export_model(&t, export_architectures[a], seed + (uint64_t)a);

        for (int sym = 0; sym < 2; sym++)
            for (int order = 0; order < 2; order++) {
                static const char *const formats[] = {"compressed_tensors", "gptq_checkpoint, version: v1",
                                                      "gptq_checkpoint, version: v2"};
                const int v1 = sym && (a + order) % 2 == 0; /* an asymmetric grid may have a zero of 0 */

                r = (recipe){.model = model,
                             .sym = sym ? "true" : "false",
                             .order = order ? "desc" : "off",
                             .format = formats[v1 ? 1 : 2],
                             .ranks = order ? "portable" : "exact",
                             .group = a == 1 && sym ? -1 : 32};
                round_trip(&t, &r);
                if (order)
                    continue;
                r.format = formats[0]; /* which holds no reordered columns */
                round_trip(&t, &r);
            }
        other_settings(&t, model, "gptq_checkpoint");
        other_settings(&t, model, "compressed_tensors");
    }
    same_bytes(&t, &r);
    return walk_close(&t);
}
