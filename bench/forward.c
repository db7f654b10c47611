/* A block's forward against its products alone, called directly: what norms, attention, RoPE and the making of tensors cost.
 *
 * forward [TOKENS [REPETITIONS]]: a block of the shape of Qwen2.5-0.5B on TOKENS tokens (2048), as sequences of 256 and as one. */
#include "blas.h"

#include "core/model/block.h"
#include "make_model.h"

#define HIDDEN 896
#define MOST_LINEARS 16

static const model_spec spec = {.architecture = "Qwen2ForCausalLM",
                                .type = "qwen2",
                                .vocab = 64,
                                .hidden = HIDDEN,
                                .intermediate = 4864,
                                .layers = 1,
                                .heads = 14,
                                .kv_heads = 2,
                                .head_dim = 64,
                                .tied = true,
                                .qkv_bias = true,
                                .dtype = QL_ST_BF16,
                                .seed = 1};

typedef struct forward {
    ql_ctx *cx;
    ql_block *block;
    ql_seqs seqs;
    ql_tensor *h;
    sgemm_fn sgemm;
    int linears;
    ql_tensor *x[MOST_LINEARS], *y[MOST_LINEARS];
    const ql_tensor *w[MOST_LINEARS];
} forward;

static void
run_block(void *arg)
{
    forward *f = arg;
    ql_flow flow = {.seqs = &f->seqs, .h = f->h};
    ql_scope scope;

    ql_scope_open(f->cx, &scope);
    require(f->cx, ql_block_forward(f->cx, f->block, NULL, &flow));
    ql_scope_close(f->cx, &scope);
}

static void
run_products(void *arg)
{
    forward *f = arg;

    for (int i = 0; i < f->linears; i++) {
        const int m = (int)ql_dim(f->x[i], 0), k = (int)ql_dim(f->x[i], 1), n = (int)ql_dim(f->w[i], 0);

        f->sgemm(BENCH_ROW_MAJOR, BENCH_N, BENCH_T, m, n, k, 1, ql_ptr(f->x[i]), k, ql_ptr(f->w[i]), k, 0,
                 ql_ptr(f->y[i]), n);
    }
}

static void
compare(forward *f, int64_t tokens, int64_t length, int repetitions)
{
    int64_t *offsets = ql_alloc(f->cx, (size_t)(tokens / length + 1), sizeof *offsets);
    bench_side whole = {run_block, f, {0}}, products = {run_products, f, {0}};
    char text[64];
    double ratio;

    require(f->cx, offsets ? QL_OK : QL_MEMORY);
    for (int64_t i = 0; i <= tokens / length; i++)
        offsets[i] = i * length;
    f->seqs = (ql_seqs){.count = tokens / length, .offsets = offsets};
    snprintf(text, sizeof text, "block / its products, %lld x %lld tokens", (long long)(tokens / length),
             (long long)length);
    ratio = bench_ratio(text, &whole, &products, repetitions, false);
    printf("%-44s %6.1f %%\n", "  share of the products", 100 / ratio);
}

int
main(int argc, char **argv)
{
    const int64_t tokens = argc > 1 ? strtoll(argv[1], NULL, 10) : 2048;
    const int repetitions = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 7;
    const char *build = getenv("QLOOM_BUILD");
    char folder[] = "/tmp/qloom-forward-XXXXXX";
    ql_ctx cx;
    ql_scope scope;
    ql_registry *registry;
    ql_model_handle m = {0};
    forward f = {.cx = &cx};
    ql_device *device;

    if (tokens < 256 || tokens > 65536 || tokens % 256 || repetitions < 1) {
        fprintf(stderr, "usage: forward [TOKENS, a multiple of 256 [REPETITIONS]]\n");
        return 2;
    }
    ql_ctx_init(&cx, NULL);
    device = test_device(&cx, 1);
    printf("%s\n", device->info.name);
    bench_blas("cblas_sgemm", &f.sgemm);
    ql_scope_open(&cx, &scope);
    require(&cx, mkdtemp(folder) ? QL_OK : QL_FAIL(&cx, QL_IO, "%s: cannot be made", folder));
    require(&cx, make_model(&cx, folder, &spec));
    require(&cx, ql_registry_open(&cx, ql_format(&cx, "%s/lib/qloom", build ? build : "."), &registry));
    require(&cx, ql_model_open(&cx, registry, NULL, NULL, folder, &m));
    require(&cx, ql_block_open(&cx, &m, 0, &f.block));
    f.h = random_tensor(&cx, tokens, HIDDEN, 1);
    f.linears = m.info.linear_count;
    for (int i = 0; i < f.linears; i++) {
        require(&cx, ql_block_weight(&cx, f.block, i, false, &f.w[i]));
        f.x[i] = random_tensor(&cx, tokens, ql_dim(f.w[i], 1), 1);
        f.y[i] = random_tensor(&cx, tokens, ql_dim(f.w[i], 0), 1);
    }
    compare(&f, tokens, 256, repetitions);
    compare(&f, tokens, tokens, repetitions);

    ql_block_close(f.block);
    ql_model_close(&m);
    (void)!system(ql_format(&cx, "rm -r %s", folder));
    ql_scope_close(&cx, &scope);
    ql_registry_close(registry);
    ql_device_close(device);
    return 0;
}
