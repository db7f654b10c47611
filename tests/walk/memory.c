/* Memory is bounded by one block: 64 layers need hardly more than 4, though their weights are several times the small run's peak. */
#include <sys/resource.h>
#include <sys/wait.h>

#include "walk.h"

#define PIPELINE                                                                    \
    "qloom: 1\n"                                                                    \
    "name: memory\n"                                                                \
    "device: cpu\n"                                                                 \
    "stages:\n"                                                                     \
    "  base: {use: auto, path: %s}\n"                                               \
    "  calib: {use: text, path: calib.txt, samples: 2, seqlen: 64}\n"               \
    "  wiki: {use: text, path: eval.txt, seqlen: 64, samples: 2}\n"                 \
    "  quant: {use: gptq, model: $base, calib: $calib, bits: 4, group_size: 128}\n" \
    "  ppl: {use: perplexity, model: $quant, data: $wiki}\n"                        \
    "matrix: {quant: [{use: rtn}, {use: gptq}]}\n"

/* A model of so many layers and its pipeline; returns the bytes of its weights. */
static int64_t
make(walk_test *t, int64_t layers, const char **pipeline)
{
    const model_spec spec = {.architecture = "LlamaForCausalLM",
                             .type = "llama",
                             .vocab = 512,
                             .hidden = 512,
                             .intermediate = 1536,
                             .layers = layers,
                             .heads = 8,
                             .kv_heads = 8,
                             .head_dim = 64,
                             .dtype = QL_ST_BF16,
                             .seed = 3};
    const char *folder = walk_make_model(t, walk_format(t, "layers-%lld", (long long)layers), &spec);
    FILE *f;

    *pipeline = walk_format(t, "%s.yaml", folder);
    f = fopen(*pipeline, "w");
    CHECK(f && fprintf(f, PIPELINE, folder) > 0 && fclose(f) == 0);
    return layers * 2 * (4 * 512 * 512 + 3 * 512 * 1536);
}

/* Peak resident bytes of a whole run in a process of its own. */
static int64_t
peak_of(walk_test *t, const char *pipeline)
{
    const char *program = walk_format(t, "%s/bin/qloom", getenv("QLOOM_BUILD"));
    const char *runs = walk_format(t, "%s/runs", t->folder);
    struct rusage used;
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        if (!freopen("/dev/null", "w", stdout))
            _exit(126);
        execl(program, "qloom", "--quiet", "--threads", "2", "run", pipeline, "--runs", runs, (char *)NULL);
        _exit(127);
    }
    CHECK(child > 0 && wait4(child, &status, 0, &used) == child);
    CHECK_INT(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0);
    return (int64_t)used.ru_maxrss * 1024;
}

int
main(void)
{
    static walk_test t;
    const char *small, *large;
    int64_t weights, few, many;

    if (!getenv("QLOOM_SOURCE") || !getenv("QLOOM_BUILD"))
        SKIP("QLOOM_SOURCE and QLOOM_BUILD are not set");
    walk_open(&t);
    (void)make(&t, 4, &small);
    weights = make(&t, 64, &large);
    few = peak_of(&t, small);
    many = peak_of(&t, large);
    printf("4 layers: %.1f MB, 64 layers: %.1f MB, weights of 64: %.1f MB\n", (double)few / 1e6, (double)many / 1e6,
           (double)weights / 1e6);
    CHECK(weights >= 4 * few);
    CHECK((double)many <= 1.2 * (double)few);
    return walk_close(&t);
}
