/* What an export can't hold, and what reading back refuses: exact texts, where they surface, and what is left on disk. */
#include <signal.h>
#include <sys/resource.h>

#include "tests/exports/exports.h"

/* A pipeline around `quant` and the stages in `rest`. */
static const char *
pipeline(walk_test *t, const char *model, const char *quant, const char *rest)
{
    return ql_format(&t->cx,
                     "qloom: 1\nname: e\nbaseline: false\nstages:\n  base: {use: auto, path: %s}\n"
                     "  eval: {use: text, path: eval.txt, samples: 1, seqlen: 16}\n  quant: {model: $base, %s}\n%s",
                     model, quant, rest);
}

/* The run stops before its first block. */
static void
refused(walk_test *t, const char *text, const char *expected)
{
    ql_result_set set;
    ql_graph g;
    ql_status st;

    walk_parse(t, text, &g);
    st = walk_run(t, &g, 1, 0, &set);
    if (st == QL_OK || !strstr(ql_error(&t->cx), expected))
        TEST_FAIL("got %s: %s\n  expected %s", ql_status_text(st), ql_error(&t->cx), expected);
    ql_results_fini(&t->cx, &set);
    ql_error_clear(&t->cx);
}

/* The run ends, its cell has failed. */
static void
failed(walk_test *t, const char *text, const char *expected)
{
    ql_result_set set;
    ql_graph g;

    walk_parse(t, text, &g);
    CHECK_OK(&t->cx, walk_run(t, &g, 1, 0, &set));
    if (!set.cells[0].error || strncmp(set.cells[0].error, expected, strlen(expected)) != 0)
        TEST_FAIL("got %s\n  expected %s", set.cells[0].error ? set.cells[0].error : "no failure", expected);
    ql_results_fini(&t->cx, &set);
}

static const char gptq[] = "  ckpt: {use: gptq_checkpoint, model: $quant}\n";

static void
test_before(walk_test *t, const char *model)
{
    refused(t, pipeline(t, model, "use: rtn, bits: 5", gptq),
            "stage 'ckpt' (gptq_checkpoint): model.layers.0.self_attn.q_proj: GPTQ checkpoints hold 2, 3, 4 or 8 bits, "
            "got 5");
    refused(
        t, pipeline(t, model, "use: rtn, scale_dtype: bf16", gptq),
        "stage 'ckpt' (gptq_checkpoint): model.layers.0.self_attn.q_proj: GPTQ checkpoints hold scales in fp16: give "
        "the quantizer scale_dtype: fp16");
    refused(t, pipeline(t, model, "use: rtn, scale_dtype: fp32", "  ckpt: {use: compressed_tensors, model: $quant}\n"),
            "compressed-tensors holds scales in 16 bit: give the quantizer scale_dtype: fp16 or bf16");
    refused(t, pipeline(t, model, "use: rtn, group_size: 40", "  ckpt: {use: compressed_tensors, model: $quant}\n"),
            "compressed-tensors needs groups that divide a row: groups of 40 do not divide 64 inputs");
    refused(t,
            pipeline(t, model, "use: rtn",
                     "  a: {use: gptq_checkpoint, model: $quant, path: x}\n"
                     "  b: {use: dequantized, model: $quant, path: x}\n"),
            "stage 'b': stage 'a' exports to ");
    refused(
        t,
        pipeline(t, model, "use: rtn", ql_format(&t->cx, "  a: {use: dequantized, model: $quant, path: %s}\n", model)),
        "/model-llama, from which the model reads ");
    refused(t,
            pipeline(t, model, "use: rtn",
                     "  a: {use: gptq_checkpoint, model: $quant, path: x}\n"
                     "  b: {use: dequantized, model: $quant, path: .//y/../x/}\n"),
            "stage 'b': stage 'a' exports to ");
    refused(t,
            pipeline(t, model, "use: rtn",
                     "  a: {use: gptq_checkpoint, model: $quant, path: x/y}\n"
                     "  b: {use: dequantized, model: $quant, path: x}\n"),
            "/x/y: one export can't lie in the folder of another");
    CHECK_INT(system(ql_format(&t->cx, "mkdir -p %s/mine && touch %s/mine/thesis.tex", t->folder, t->folder)), 0);
    refused(
        t, pipeline(t, model, "use: rtn", "  a: {use: dequantized, model: $quant, path: mine}\n"),
        "/mine: the folder holds files that are no earlier export's (thesis.tex, for one): name another, or empty it");
}

static void
test_during(walk_test *t, const char *model)
{
    failed(t,
           pipeline(t, model,
                    "use: gptq, group_size: 32, act_order: desc, calib: {use: text, path: calib.txt, samples: 1}",
                    "  p: {use: compressed_tensors, model: $quant}\n"),
           "stage 'p' (compressed_tensors): model.layers.0.self_attn.q_proj: its groups are no runs of columns");
    failed(t, pipeline(t, model, "use: rtn, bits: 2, sym: false, group_size: 2", gptq),
           "stage 'ckpt' (gptq_checkpoint): model.layers.0.self_attn.q_proj: the zero point of row ");
    failed(
        t, pipeline(t, model, "use: nf, bits: 4", gptq),
        "stage 'ckpt' (gptq_checkpoint): model.layers.0.self_attn.q_proj: its codes stand for the levels of a table");
    failed(t, pipeline(t, model, "use: rtn", "  a: {use: peft_adapter, model: $quant}\n"),
           "stage 'a' (peft_adapter): no linear of the model has an adapter: export a compensator's model");
    failed(t, pipeline(t, model, "use: rtn, overrides: [{match: '*', skip: true}]", gptq),
           "stage 'ckpt' (gptq_checkpoint): no linear of the model is quantized");
    failed(
        t, pipeline(t, model, "use: rtn, group_size: 32, overrides: [{match: '*.k_proj', bits: 8}]", gptq),
        "stage 'ckpt' (gptq_checkpoint): model.layers.0.self_attn.k_proj: linears that share their input must be "
        "quantized alike, for programs fuse them: this one is 8 bits, groups of 32, symmetric, self_attn.q_proj is 4 "
        "bits, groups of 32, symmetric");
}

/* The n-th write fails, for growing n: a clear error each time, no file under its name that is not whole, and the same run passes once
 * there is room. */
static void
test_full_disk(walk_test *t, const char *model)
{
    const char *text = pipeline(t, model, "use: rtn", "  a: {use: dequantized, model: $quant, path: full}\n");
    const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    ql_result_set set;
    ql_scope scope;

    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t limit = 1 << 12; limit < 1 << 18; limit *= 4) {
        ql_scope_open(&t->cx, &scope);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){limit, RLIM_INFINITY});
        refused(t, text, "File too large");
        setrlimit(RLIMIT_FSIZE, &all);
        CHECK(access(ql_format(&t->cx, "%s/full/model.safetensors", t->folder), F_OK) != 0);
        CHECK(access(ql_format(&t->cx, "%s/full", t->folder), F_OK) != 0);
        CHECK_INT(system(ql_format(&t->cx, "! ls -a %s | grep qloom-export", t->folder)), 0);
        ql_scope_close(&t->cx, &scope);
    }
    export_run(t, text, &set);
    CHECK_INT(system(ql_format(&t->cx, "grep -q '\"complete\": true' %s/full/qloom_export.json", t->folder)), 0);
    CHECK_INT(system(ql_format(&t->cx, "! ls -a %s/full %s | grep -E 'tmp$|aside|qloom-export'", t->folder, t->folder)),
              0);
    ql_results_fini(&t->cx, &set);
}

/* Any allocation may fail: the text says so, and nothing is left behind. */
static void
test_memory(walk_test *t, const char *model, uint64_t *rng)
{
    const char *text = pipeline(t, model, "use: rtn, bits: 3",
                                "  fix: {use: svd, model: $quant, rank: 2}\n  a: {use: peft_adapter, model: $fix}\n"
                                "  ckpt: {use: gptq_checkpoint, model: $fix}\n");
    const ql_found *cpu = ql_registry_find(t->registry, "cpu");
    ql_results *results;
    ql_graph g;

    walk_parse(t, text, &g);
    REQUIRE_OK(&t->cx,
               ql_device_open(&t->cx, cpu->plugin->backend, &(ql_device_options){.threads = 1}, 0, &t->cx.device));
    for (int round = 0; round < 30; round++) {
        ql_scope scope;
        ql_status st;

        REQUIRE_OK(&t->cx, ql_results_open(&t->cx, NULL, true, &results));
        REQUIRE_OK(&t->cx, ql_run_begin(results, &g, "test"));
        ql_scope_open(&t->cx, &scope);
        t->cx.fail_alloc = 1 + (int64_t)(test_u64(rng) % 3000);
        st = ql_run_graph(&t->cx, t->registry, &g, &(ql_run_options){.folder = t->folder}, results);
        t->cx.fail_alloc = 0;
        ql_scope_close(&t->cx, &scope);
        if (st != QL_OK && (st != QL_MEMORY || !strstr(ql_error(&t->cx), "no memory")))
            TEST_FAIL("got %s: %s", ql_status_text(st), ql_error(&t->cx));
        ql_error_clear(&t->cx);
        ql_results_close(results);
        CHECK_INT((int64_t)t->cx.device->used, 0);
    }
    ql_device_close(t->cx.device);
    t->cx.device = NULL;
}

/* --- reading back --------------------------------------------------------------------------------------------------------- */

static const char *
wearing(walk_test *t, const char *base, const char *adapter)
{
    return ql_format(&t->cx,
                     "qloom: 1\nname: r\nstages:\n  m: {use: auto, path: %s, adapter: %s}\n"
                     "  eval: {use: text, path: eval.txt, samples: 1, seqlen: 16}\n"
                     "  ppl: {use: perplexity, model: $m, data: $eval}\n",
                     base, adapter);
}

static void
edit(walk_test *t, const char *file, const char *expression)
{
    CHECK_INT(system(ql_format(&t->cx, "sed -i '%s' %s", expression, file)), 0);
}

static void
test_adapters(walk_test *t, const char *model)
{
    const char *adapter = ql_format(&t->cx, "%s/a", t->folder), *base = ql_format(&t->cx, "%s/ckpt", t->folder);
    const char *config = ql_format(&t->cx, "%s/adapter_config.json", adapter);
    ql_result_set set;

    export_run(t,
               pipeline(t, model, "use: rtn, bits: 3",
                        "  fix: {use: svd, model: $quant, rank: 2}\n  a: {use: peft_adapter, model: $fix}\n"
                        "  ckpt: {use: gptq_checkpoint, model: $fix}\n"),
               &set);
    ql_results_fini(&t->cx, &set);
    refused(
        t, wearing(t, model, adapter),
        "model.layers.0.self_attn.q_proj: the adapter was made for another base model: its weight has fingerprint ");
    refused(t, wearing(t, base, model), ": no adapter_config.json in this folder");
    edit(t, config, "s/\"r\": 2/\"r\": 3/");
    refused(t, wearing(t, base, adapter), "lora_A.weight: shape [3, 64] expected, file has [2, 64]");
    edit(t, config, "s/\"r\": 3/\"r\": 2/; s/\"use_dora\": false/\"use_dora\": true/");
    refused(t, wearing(t, base, adapter), "adapter_config.json: 'use_dora' is true: only plain LoRA can be read");
    edit(t, config, "s/\"use_dora\": true/\"use_dora\": false/; s/\"LORA\"/\"IA3\"/");
    refused(t, wearing(t, base, adapter), "adapter_config.json: 'peft_type': expected \"LORA\", got \"IA3\"");
    edit(t, config, "s/\"IA3\"/\"LORA\"/; s/\"rank_pattern\": {}/\"rank_pattern\": {\"(\": 4}/");
    refused(t, wearing(t, base, adapter), "adapter_config.json: 'rank_pattern': no regular expression: ");
}

int
main(void)
{
    uint64_t rng = test_seed();
    walk_test t;
    const char *model;

    walk_open(&t);
    model = export_model(&t, "llama", rng);
    test_before(&t, model);
    test_during(&t, model);
    test_full_disk(&t, model);
    test_memory(&t, model, &rng);
    test_adapters(&t, model);
    return walk_close(&t);
}
