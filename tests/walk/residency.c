/* A device whose memory the host can't read: the same bits as the cpu's, with the next block on its way and with hidden states that
 * wait on the host; and what crosses inside stages is vectors and numbers, never a weight, a code matrix or H. */
#include <dlfcn.h>

#include "walk.h"

static struct {
    const ql_backend *cpu;
    int64_t prefetches, parks;
    size_t largest; /* download */
} seen;

static ql_status
hidden_info(ql_ctx *cx, void *dev, ql_device_info *out)
{
    QL_TRY(cx, seen.cpu->info(cx, dev, out));
    out->host_memory = false;
    return QL_OK;
}

static ql_status
counted_download(ql_ctx *cx, void *dev, const void *ptr, void *host, size_t bytes)
{
    seen.largest = bytes > seen.largest ? bytes : seen.largest;
    return seen.cpu->download(cx, dev, ptr, host, bytes);
}

static ql_status
counted_park(ql_ctx *cx, void *dev, const void *ptr, void *host, size_t bytes)
{
    seen.parks++;
    return seen.cpu->park(cx, dev, ptr, host, bytes);
}

static ql_status
counted_prefetch(ql_ctx *cx, void *dev, const void *host, void *ptr, size_t bytes)
{
    seen.prefetches++;
    return seen.cpu->prefetch(cx, dev, host, ptr, bytes);
}

#define SMALLEST (128 * 128) /* elements of the smallest weight of tiny-qwen3, and bytes of its codes */

#define SHORT                                                                                     \
    "qloom: 1\nname: short\nstages:\n"                                                            \
    "  base: {use: auto, path: tiny-qwen3}\n"                                                     \
    "  calib: {use: text, path: calib.txt, samples: 1, seqlen: 16}\n"                             \
    "  wiki: {use: text, path: eval.txt, seqlen: 16, samples: 1}\n"                               \
    "  quant: {use: rtn, model: $base, bits: 3, overrides: [{match: '*.[1-4].*', skip: true}]}\n" \
    "  fix: {use: lordq, model: $quant, calib: $calib, rank: 4, propagate: compensated}\n"        \
    "  error: {use: layer_error, model: $fix, calib: $calib}\n"                                   \
    "  ppl: {use: perplexity, model: $fix, data: $wiki}\n"

#define PIPELINE                                                                   \
    "qloom: 1\n"                                                                   \
    "name: residency\n"                                                            \
    "chunk_tokens: 256\n"                                                          \
    "stages:\n"                                                                    \
    "  base: {use: auto, path: tiny-qwen3}\n"                                      \
    "  calib: {use: text, path: calib.txt, samples: 6, seqlen: 100}\n"             \
    "  wiki: {use: text, path: eval.txt, seqlen: 100, samples: 12}\n"              \
    "  quant: {use: gptq, model: $base, calib: $calib, bits: 3, group_size: 64}\n" \
    "  fix: {use: lordq, model: $quant, calib: $calib, rank: 4}\n"                 \
    "  error: {use: layer_error, model: $fix}\n"                                   \
    "  ppl: {use: perplexity, model: $fix, data: $wiki}\n"                         \
    "matrix:\n"                                                                    \
    "  quant: [{use: rtn}, {use: gptq}, {use: projq, rank: 4}]\n"                  \
    "  fix: [{use: none}, {use: lordq, propagate: compensated}]\n"

static void
check_equal(const ql_result_set *a, const ql_result_set *b)
{
    for (int64_t c = 0; c < a->cell_count; c++)
        for (int64_t i = 0; i < a->cells[c].metric_count; i++)
            if (memcmp(&a->cells[c].metrics[i].value, &b->cells[c].metrics[i].value, sizeof(double)) != 0)
                TEST_FAIL("cell %lld, %s: %.17g and %.17g", (long long)c, a->cells[c].metrics[i].name,
                          a->cells[c].metrics[i].value, b->cells[c].metrics[i].value);
}

/* Inside a quantizer or compensator crosses, for one linear, less than the smallest weight in f32; between them, and on the way to an
 * evaluator of linears, nothing, and no stream comes back to the host. */
static void
check_costs(const ql_result_set *set)
{
    for (int64_t i = 0; i < set->node_count; i++) {
        const ql_result_node *n = &set->nodes[i];
        const bool inside = strcmp(n->kind, "quantizer") == 0 || strcmp(n->kind, "compensator") == 0;
        const uint64_t crossed = n->cost.up + n->cost.down;

        printf("%s: %llu bytes up, %llu down in %llu calls\n", n->label, (unsigned long long)n->cost.up,
               (unsigned long long)n->cost.down, (unsigned long long)n->cost.calls);
        if (inside && n->cost.calls > 0 && crossed / n->cost.calls >= 4 * SMALLEST)
            TEST_FAIL("%s: %llu bytes a call", n->label, (unsigned long long)(crossed / n->cost.calls));
        if (strcmp(n->kind, "data") == 0)
            CHECK_INT(n->cost.down, 0);
        if (strncmp(n->label, "rtn", 3) == 0 || strncmp(n->label, "layer_error", 11) == 0)
            CHECK_INT(crossed, 0);
    }
}

/* The same on the emulated cuda device, in bf16. */
static void
check_cuda(walk_test *t)
{
    void *library = dlopen(ql_format(&t->cx, "%s/emulated/cuda.so", getenv("QLOOM_BUILD")), RTLD_NOW | RTLD_LOCAL);
    const ql_plugin *plugin = library ? dlsym(library, "ql_plugin_entry") : NULL;
    ql_result_set set;
    ql_graph g;

    if (!plugin) {
        printf("this build has no emulated device\n");
        return;
    }
    t->backend = plugin->backend;
    walk_parse(t, SHORT, &g);
    REQUIRE_OK(&t->cx, walk_run(t, &g, 1, 0, &set));
    check_costs(&set);
    ql_results_fini(&t->cx, &set);
}

int
main(void)
{
    static walk_test t;
    static ql_result_set plain, hidden, tight;
    ql_backend backend;
    ql_graph g;
    size_t peak;

    walk_open(&t);
    seen.cpu = ql_registry_find(t.registry, "cpu")->plugin->backend;
    backend = *seen.cpu;
    backend.info = hidden_info;
    backend.download = counted_download;
    backend.park = counted_park;
    backend.prefetch = counted_prefetch;
    walk_parse(&t, PIPELINE, &g);
    REQUIRE_OK(&t.cx, walk_run(&t, &g, 1, 0, &plain));
    CHECK_INT(seen.prefetches, 0);

    t.backend = &backend;
    REQUIRE_OK(&t.cx, walk_run(&t, &g, 1, 0, &hidden));
    check_equal(&plain, &hidden);
    check_costs(&hidden);
    CHECK(seen.prefetches > 0);
    CHECK_INT(seen.parks, 0);
    CHECK(seen.largest < SMALLEST);
    CHECK(strstr(t.log.text, "tensors left their files, each once"));

    peak = t.peak;
    REQUIRE_OK(&t.cx, walk_run(&t, &g, 1, peak - peak / 5, &tight));
    check_equal(&plain, &tight);
    CHECK(seen.parks > 0 && t.parked > 0);
    CHECK(t.peak <= peak - peak / 5);
    CHECK(strstr(t.log.text, "of hidden states waited on the host between blocks"));
    ql_results_fini(&t.cx, &plain);
    ql_results_fini(&t.cx, &hidden);
    ql_results_fini(&t.cx, &tight);

    check_cuda(&t);
    t.backend = &backend;
    t.cx.error[0] = '\0';
    CHECK_INT(walk_run(&t, &g, 1, peak / 50, &tight), QL_MEMORY);
    CHECK(strstr(ql_error(&t.cx), "of `memory: ") && strstr(ql_error(&t.cx), "held:\n") &&
          strstr(ql_error(&t.cx), "raise `memory:` or lower `chunk_tokens:`"));
    ql_results_fini(&t.cx, &tight);
    return walk_close(&t);
}
