/* What an export can't hold, and what reading back refuses: exact texts, where they surface, and what is left on disk. */
#include <signal.h>
#include <sys/resource.h>

#include "core/job/job.h"
#include "tests/exports/exports.h"

/* A pipeline around `quant` and the stages in `rest`. */
static const char *
pipeline(walk_test *t, const char *model, const char *quant, const char *rest)
{
    return walk_format(t,
                       "qloom: 1\nname: e\nbaseline: false\nstages:\n  base: {use: auto, path: %s}\n"
                       "  eval: {use: text, path: eval.txt, samples: 1, seqlen: 16}\n  quant: {model: $base, %s}\n%s",
                       model, quant, rest);
}

/* The run stops before its first block. */
static void
refused(walk_test *t, const char *text, const char *expected)
{
    const ql_status st = walk_run(t, text, 1, 0);

    if (st == QL_OK || st == QL_NUMERIC || !strstr(ql_job_error(t->job), expected))
        TEST_FAIL("got %s: %s\n  expected %s", ql_status_text(st), ql_job_error(t->job), expected);
}

/* The run ends, its cell has failed. */
static void
failed(walk_test *t, const char *text, const char *expected)
{
    const char *error;

    CHECK_INT(walk_run(t, text, 1, 0), QL_NUMERIC);
    error = walk_error(t, 0);
    if (strncmp(error, expected, strlen(expected)) != 0)
        TEST_FAIL("got %s\n  expected %s", error, expected);
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
    refused(t,
            pipeline(t, model, "use: rtn", walk_format(t, "  a: {use: dequantized, model: $quant, path: %s}\n", model)),
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
    walk_shell(t, walk_format(t, "mkdir -p %s/mine && touch %s/mine/thesis.tex", t->folder, t->folder));
    refused(
        t,
        pipeline(t, model, "use: rtn",
                 walk_format(t, "  a: {use: dequantized, model: $quant, path: %s/mine}\n", t->folder)),
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

/* Files can't grow beyond a limit that rises from run to run: a clear error each time, no export that is not whole, and the run passes once
 * there is room. */
static void
test_full_disk(walk_test *t, const char *model)
{
    const char *text = pipeline(t, model, "use: rtn",
                                walk_format(t, "  a: {use: dequantized, model: $quant, path: %s/full}\n", t->folder));
    const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    int exports = 0;

    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t limit = 1 << 12; limit < 1 << 24; limit += limit / 3) {
        ql_status st;

        setrlimit(RLIMIT_FSIZE, &(struct rlimit){limit, RLIM_INFINITY});
        st = walk_run(t, text, 1, 0);
        setrlimit(RLIMIT_FSIZE, &all);
        if (st == QL_OK)
            break;
        CHECK_INT(st, QL_IO);
        exports += strstr(ql_job_error(t->job), "model.safetensors") && strstr(ql_job_error(t->job), "File too large");
        CHECK(access(walk_format(t, "%s/full", t->folder), F_OK) != 0);
        walk_shell(t, walk_format(t, "! ls -a %s | grep qloom-export", t->folder));
    }
    CHECK(exports > 0);
    walk_shell(t, walk_format(t, "grep -q '\"complete\": true' %s/full/qloom_export.json", t->folder));
    walk_shell(t, walk_format(t, "! ls -a %s/full %s | grep -E 'tmp$|aside|qloom-export'", t->folder, t->folder));
}

/* Any allocation may fail: the text says so, and nothing is left behind. */
static void
test_memory(walk_test *t, const char *model, uint64_t *rng)
{
    const char *text = pipeline(t, model, "use: rtn, bits: 3",
                                "  fix: {use: svd, model: $quant, rank: 2}\n  a: {use: peft_adapter, model: $fix}\n"
                                "  ckpt: {use: gptq_checkpoint, model: $fix}\n");

    for (int round = 0; round < 30; round++) {
        ql_status st;

        WALK_OK(t, walk_job(t, text, 1, 0));
        t->job->cx.fail_alloc = 1 + (int64_t)(test_u64(rng) % 3000);
        st = ql_job_run(t->job);
        if (st != QL_OK && (st != QL_MEMORY || !strstr(ql_job_error(t->job), "no memory")))
            TEST_FAIL("got %s: %s", ql_status_text(st), ql_job_error(t->job));
        CHECK_INT(ql_job_about(t->job)->held, 0);
    }
}

/* --- reading back --------------------------------------------------------------------------------------------------------- */

static const char *
wearing(walk_test *t, const char *base, const char *adapter)
{
    return walk_format(t,
                       "qloom: 1\nname: r\nstages:\n  m: {use: auto, path: %s, adapter: %s}\n"
                       "  eval: {use: text, path: eval.txt, samples: 1, seqlen: 16}\n"
                       "  ppl: {use: perplexity, model: $m, data: $eval}\n",
                       base, adapter);
}

static void
edit(walk_test *t, const char *file, const char *expression)
{
    walk_shell(t, walk_format(t, "sed -i '%s' %s", expression, file));
}

static void
test_adapters(walk_test *t, const char *model)
{
    const char *adapter = walk_format(t, "%s/a", t->folder), *base = walk_format(t, "%s/ckpt", t->folder);
    const char *config = walk_format(t, "%s/adapter_config.json", adapter);

    export_run(
        t, pipeline(t, model, "use: rtn, bits: 3",
                    walk_format(
                        t,
                        "  fix: {use: svd, model: $quant, rank: 2}\n  a: {use: peft_adapter, model: $fix, path: %s/a}\n"
                        "  ckpt: {use: gptq_checkpoint, model: $fix, path: %s/ckpt}\n",
                        t->folder, t->folder)));
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
    static walk_test t;
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
