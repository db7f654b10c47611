/* A device whose memory the host can't read: the same bits as the cpu's, with the next block on its way and with hidden states that
 * wait on the host; and what crosses inside stages is vectors and numbers, never a weight, a code matrix or H. */
#include <dlfcn.h>

#include <qloom/backend.h>

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

/* Elements of weights of tiny-qwen3, and bytes of their codes, which go to the store. */
#define SMALLEST (128 * 128)
#define LARGEST (256 * 128)

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

/* Inside a quantizer or compensator crosses, for one linear, less than the smallest weight in f32; between them, and on the way to an
 * evaluator of linears, nothing, and no stream comes back to the host. */
static void
check_costs(walk_test *t)
{
    static const char stages[] = "SELECT s.label, s.up_bytes, s.down_bytes, s.calls FROM run r JOIN stage s ON s.run = "
                                 "r.id WHERE r.name = :run AND ";

    printf("label, bytes up, down, calls:\n%s", walk_query(t, walk_format(t, "%s1", stages)));
    CHECK_STR(walk_query(t, walk_format(t,
                                        "%ss.kind IN ('quantizer', 'compensator') AND s.calls > 0"
                                        " AND (s.up_bytes + s.down_bytes) / s.calls >= %d",
                                        stages, 4 * SMALLEST)),
              "");
    CHECK_STR(walk_query(t, walk_format(t, "%ss.kind = 'data' AND s.down_bytes > 0", stages)), "");
    CHECK_STR(walk_query(t, walk_format(t,
                                        "%s(s.label LIKE 'rtn%%' OR s.label LIKE 'layer_error%%')"
                                        " AND s.up_bytes + s.down_bytes > 0",
                                        stages)),
              "");
    CHECK(*walk_query(t, walk_format(t, "%ss.label LIKE 'layer_error%%' AND s.calls > 0", stages)));
}

/* The same on the emulated cuda device, in bf16. */
static void
check_cuda(walk_test *t)
{
    const char *emulated = walk_format(t, "%s/emulated", getenv("QLOOM_BUILD"));

    if (access(emulated, R_OK) != 0) {
        printf("this build has no emulated device\n");
        return;
    }
    t->plugin_path = emulated;
    t->device = "cuda";
    WALK_OK(t, walk_run(t, SHORT, 1, 0));
    check_costs(t);
    t->plugin_path = NULL;
    t->device = NULL;
}

static const ql_backend *
cpu_backend(walk_test *t)
{
    void *library = dlopen(walk_format(t, "%s/lib/qloom/cpu.so", getenv("QLOOM_BUILD")), RTLD_NOW | RTLD_LOCAL);
    const ql_plugin *plugin = library ? dlsym(library, "ql_plugin_entry") : NULL;

    if (!plugin)
        abort();
    return plugin->backend;
}

int
main(void)
{
    static const ql_param no_params[] = {QL_PARAMS_END};
    static ql_backend backend;
    static const ql_plugin plugin = {
        .abi_major = QL_ABI_MAJOR,
        .abi_minor = QL_ABI_MINOR,
        .size = sizeof(ql_plugin),
        .kind = QL_BACKEND,
        .name = "hidden",
        .version = "1.0",
        .help = "the cpu with memory that the host can't read",
        .params = no_params,
        .backend = &backend,
    };
    static const ql_plugin *const plugins[] = {&plugin, NULL};
    static walk_test t;
    const char *plain, *error;
    size_t peak;

    walk_open(&t);
    seen.cpu = cpu_backend(&t);
    backend = *seen.cpu;
    backend.info = hidden_info;
    backend.download = counted_download;
    backend.park = counted_park;
    backend.prefetch = counted_prefetch;
    WALK_OK(&t, walk_run(&t, PIPELINE, 1, 0));
    plain = walk_dump_all(&t);

    t.plugins = plugins;
    t.device = "hidden";
    WALK_OK(&t, walk_run(&t, PIPELINE, 1, 0));
    walk_check_same(walk_dump_all(&t), plain);
    check_costs(&t);
    CHECK(seen.prefetches > 0);
    CHECK_INT(seen.parks, 0);
    CHECK(seen.largest <= LARGEST);
    CHECK(strstr(t.log.text, "tensors left their files, each once"));

    peak = ql_job_about(t.job)->peak;
    WALK_OK(&t, walk_run(&t, PIPELINE, 1, peak - peak / 5));
    walk_check_same(walk_dump_all(&t), plain);
    CHECK(seen.parks > 0);
    CHECK(ql_job_about(t.job)->peak <= peak - peak / 5);
    CHECK(strstr(t.log.text, "of hidden states waited on the host between blocks"));

    CHECK_INT(walk_run(&t, PIPELINE, 1, peak / 50), QL_MEMORY);
    error = ql_job_error(t.job);
    CHECK(strstr(error, "`memory:` of ") && strstr(error, "is too little: the least is "));
    check_cuda(&t);
    return walk_close(&t);
}
