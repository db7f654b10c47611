/* What a device does in milliseconds, against the bars of docs/gpu.md: GPTQ with its factor, beside the same a column at a time, the share
 * of products in a block of the shape of Llama-2-7B, factorizations, and how exact a Hessian is. The device is the cpu, or the backend
 * whose file QLOOM_TEST_BACKEND names.
 *
 * device [DIVISOR [REPETITIONS]]: every length divided by DIVISOR (1), for a try on a small machine; no REPETITIONS (5): only the name of
 * the device, or why there is none. */
#include "columns.h"

#include "core/model/block.h"
#include "core/plugin/registry.h"
#include "make_model.h"

#include <qloom/factor.h>
#include <qloom/lowrank.h>

#define MOST_LINEARS 16
#define SEQUENCES 16
#define TOKENS 8192 /* that a Hessian is timed with, and four times as many that it is checked with */

typedef struct job {
    ql_ctx *cx;
    const ql_block *block;
    ql_seqs seqs;
    ql_tensor *h, *a, *b, *c;
    double loss; /* of GPTQ, whoever did it */
    int linears;
    ql_tensor *x[MOST_LINEARS], *y[MOST_LINEARS];
    const ql_tensor *w[MOST_LINEARS];
} job;

static ql_tensor *
random_tensor(ql_ctx *cx, ql_dtype dtype, int64_t rows, int64_t cols)
{
    ql_tensor *t, *converted;

    require(cx, ql_new(cx, QL_F32, rows, cols, &t));
    require(cx, ql_random(cx, QL_SKETCH, t));
    if (dtype == QL_F32)
        return t;
    require(cx, ql_convert(cx, t, dtype, &converted));
    ql_drop(cx, &t);
    return converted;
}

static const ql_tensor *
factor(const job *j)
{
    const ql_stats stats = {.h = j->h, .tokens = 2 * ql_dim(j->h, 0), .sequences = 1};
    ql_factor f;

    require(j->cx, ql_factor_inverse(j->cx, &stats, &(ql_factor_spec){.damp = 0.05, .damp_inc = 0.05}, &f));
    return f.u;
}

static void
run_gptq(void *arg)
{
    job *j = arg;
    ql_qlinear q = {.grid = bench_grid};
    ql_scope scope;

    ql_scope_open(j->cx, &scope);
    require(j->cx, ql_feedback_sweep(j->cx, j->a, factor(j), NULL, &q));
    j->loss = q.loss;
    ql_scope_close(j->cx, &scope);
}

static void
run_columns(void *arg)
{
    job *j = arg;
    ql_scope scope;

    ql_scope_open(j->cx, &scope);
    j->loss = bench_columns(j->cx, j->a, factor(j));
    ql_scope_close(j->cx, &scope);
}

static void
run_potrf(void *arg)
{
    const job *j = arg;
    bool ok;

    require(j->cx, ql_copy(j->cx, j->h, j->b));
    require(j->cx, ql_potrf(j->cx, j->b, &ok));
}

static void
run_trtri(void *arg)
{
    const job *j = arg;

    run_potrf(arg);
    require(j->cx, ql_trtri(j->cx, j->b));
}

static void
run_gram(void *arg)
{
    const job *j = arg;

    require(j->cx, ql_gram(j->cx, j->a, j->b, j->c));
}

static void
run_orth(void *arg)
{
    const job *j = arg;

    require(j->cx, ql_copy(j->cx, j->a, j->b));
    require(j->cx, ql_orth(j->cx, j->b));
}

static void
run_lowrank(void *arg)
{
    const job *j = arg;
    ql_lowrank_result out;
    ql_scope scope;

    ql_scope_open(j->cx, &scope);
    require(j->cx, ql_lowrank(j->cx, j->a, &(ql_lowrank_spec){.h = j->h, .rank = 64}, &out));
    ql_scope_close(j->cx, &scope);
}

static void
run_block(void *arg)
{
    const job *j = arg;
    ql_flow flow = {.seqs = &j->seqs, .h = j->a};
    ql_scope scope;

    ql_scope_open(j->cx, &scope);
    require(j->cx, ql_block_forward(j->cx, j->block, NULL, &flow));
    ql_scope_close(j->cx, &scope);
}

static void
run_products(void *arg)
{
    const job *j = arg;

    for (int i = 0; i < j->linears; i++)
        require(j->cx, ql_gemm(j->cx, QL_NT, 1, j->x[i], j->w[i], 0, j->y[i]));
}

/* Median milliseconds after a warm-up, the device waited for at both ends. */
static double
measure(void (*run)(void *), job *j, int repetitions)
{
    double times[BENCH_MOST];

    run(j);
    for (int i = 0; i < repetitions; i++) {
        const ql_device *d = j->cx->device;
        double start;

        require(j->cx, d->backend->sync(j->cx, d->dev));
        start = bench_clock(true);
        run(j);
        require(j->cx, d->backend->sync(j->cx, d->dev));
        times[i] = (bench_clock(true) - start) * 1e3;
    }
    return bench_median(times, repetitions);
}

/* bar 0: none. */
static void
row(const char *what, double ms, double bar)
{
    if (bar > 0)
        printf("| %-44s | %10.2f ms | %8.1f ms | %s |\n", what, ms, bar, ms <= bar ? "holds " : "MISSED");
    else
        printf("| %-44s | %10.2f ms |             |        |\n", what, ms);
    fflush(stdout);
}

/* A ratio or an error: at least, or at most, `bar`. */
static void
number(const char *what, double x, double bar, bool least)
{
    printf("| %-44s | %13.3g | %s %8.3g | %s |\n", what, x, least ? ">=" : "<=", bar,
           (least ? x >= bar : x <= bar) ? "holds " : "MISSED");
    fflush(stdout);
}

/* A positive definite H of order n, as statistics are. */
static void
make_h(job *j, int64_t n)
{
    ql_tensor *x = random_tensor(j->cx, QL_F32, 2 * n, n), *comp;

    require(j->cx, ql_zeros(j->cx, QL_F32, n, n, &j->h));
    require(j->cx, ql_zeros(j->cx, QL_F32, n, n, &comp));
    require(j->cx, ql_gram(j->cx, x, j->h, comp));
    ql_drop(j->cx, &x);
    ql_drop(j->cx, &comp);
}

static void
linear_algebra(ql_ctx *cx, const int64_t shape[3], int repetitions, double bar)
{
    const int64_t m = shape[0], n = shape[1], tokens = shape[2];
    job j = {.cx = cx};
    char text[96];
    double ms, apart, loss;
    ql_scope scope;

    ql_scope_open(cx, &scope);
    make_h(&j, n);
    j.a = random_tensor(cx, QL_F32, m, n);
    snprintf(text, sizeof text, "GPTQ with its factor, W[%lld, %lld]", (long long)m, (long long)n);
    ms = measure(run_gptq, &j, repetitions);
    loss = j.loss;
    row(text, ms, bar);
    apart = measure(run_columns, &j, 1);
    row("the same a column at a time", apart, 0);
    number("column at a time / GPTQ", apart / ms, bar > 0 ? 10 : 0, true);
    number("their losses apart", fabs(j.loss / loss - 1), 1e-3, false);
    snprintf(text, sizeof text, "low-rank primitive, rank 64, W[%lld, %lld]", (long long)m, (long long)n);
    row(text, measure(run_lowrank, &j, repetitions), 0);
    require(cx, ql_new(cx, QL_F32, n, n, &j.b));
    snprintf(text, sizeof text, "potrf, order %lld", (long long)n);
    row(text, measure(run_potrf, &j, repetitions), 0);
    snprintf(text, sizeof text, "potrf and trtri, order %lld", (long long)n);
    row(text, measure(run_trtri, &j, repetitions), 0);
    ql_drop(cx, &j.a);
    j.a = random_tensor(cx, cx->device->info.compute_dtype, tokens, n);
    require(cx, ql_zeros(cx, QL_F32, n, n, &j.c));
    snprintf(text, sizeof text, "Hessian of %lld tokens, order %lld", (long long)tokens, (long long)n);
    row(text, measure(run_gram, &j, repetitions), 0);
    ql_drop(cx, &j.a);
    j.a = random_tensor(cx, QL_F32, n, 72);
    require(cx, ql_new(cx, QL_F32, n, 72, &j.b));
    snprintf(text, sizeof text, "orth, [%lld, 72]", (long long)n);
    row(text, measure(run_orth, &j, repetitions), 0);
    ql_scope_close(cx, &scope);
}

/* Of four times as many tokens as the device computes with them, against sums in double. */
static void
hessian(ql_ctx *cx, int64_t n, int64_t tokens)
{
    ql_tensor *sum, *comp, *exact, *h;
    double error, norm;
    ql_scope scope;

    ql_scope_open(cx, &scope);
    require(cx, ql_zeros(cx, QL_F32, n, n, &sum));
    require(cx, ql_zeros(cx, QL_F32, n, n, &comp));
    require(cx, ql_zeros(cx, QL_F64, n, n, &exact));
    for (int i = 0; i < 4; i++) {
        ql_tensor *x, *wide;

        cx->site.block = i; /* other numbers each time */
        x = random_tensor(cx, cx->device->info.compute_dtype, tokens, n);
        require(cx, ql_gram(cx, x, sum, comp));
        require(cx, ql_convert(cx, x, QL_F64, &wide));
        require(cx, ql_gemm(cx, QL_TN, 1, wide, wide, 1, exact));
        ql_drop(cx, &x);
        ql_drop(cx, &wide);
    }
    require(cx, ql_axpby(cx, 1, comp, 1, sum));
    require(cx, ql_convert(cx, sum, QL_F64, &h));
    require(cx, ql_axpby(cx, -1, exact, 1, h));
    require(cx, ql_dot(cx, h, h, &error));
    require(cx, ql_dot(cx, exact, exact, &norm));
    number("error of a Hessian of 4 times as many", sqrt(error / norm), 1e-5, false);
    ql_scope_close(cx, &scope);
}

static void
forward(ql_ctx *cx, ql_registry *registry, int64_t divisor, int repetitions)
{
    const ql_dtype dtype = cx->device->info.compute_dtype;
    const int64_t tokens = 2048 / divisor;
    int64_t offsets[SEQUENCES + 1];
    const model_spec spec = {.architecture = "LlamaForCausalLM",
                             .type = "llama",
                             .vocab = 64,
                             .hidden = 4096 / divisor,
                             .intermediate = 11008 / divisor,
                             .layers = 1,
                             .heads = 32 / (divisor > 32 ? 32 : divisor),
                             .kv_heads = 32 / (divisor > 32 ? 32 : divisor),
                             .head_dim = 128,
                             .dtype = QL_ST_BF16,
                             .seed = 1};
    char folder[] = "/tmp/qloom-device-XXXXXX";
    job j = {.cx = cx, .seqs = {.count = SEQUENCES, .offsets = offsets}};
    double block, products;
    ql_model_handle m = {0};
    ql_block *b;
    ql_scope scope;

    for (int i = 0; i <= SEQUENCES; i++)
        offsets[i] = i * tokens;
    ql_scope_open(cx, &scope);
    require(cx, mkdtemp(folder) ? QL_OK : QL_FAIL(cx, QL_IO, "%s: cannot be made", folder));
    require(cx, make_model(cx, folder, &spec));
    require(cx, ql_model_open(cx, registry, NULL, NULL, folder, &m));
    require(cx, ql_block_open(cx, &m, 0, &b));
    j.block = b;
    j.a = random_tensor(cx, dtype, SEQUENCES * tokens, spec.hidden);
    j.linears = m.info.linear_count;
    for (int i = 0; i < j.linears; i++) {
        j.x[i] = random_tensor(cx, dtype, SEQUENCES * tokens, m.info.linears[i].in);
        j.w[i] = random_tensor(cx, dtype, m.info.linears[i].out, m.info.linears[i].in);
        require(cx, ql_new(cx, dtype, SEQUENCES * tokens, m.info.linears[i].out, &j.y[i]));
    }
    products = measure(run_products, &j, repetitions);
    block = measure(run_block, &j, repetitions);
    row("block of Llama-2-7B, its products alone", products, 0);
    row("the block, 16 x 2048 tokens (bar: products / 0.8)", block, products / 0.8);
    ql_block_close(b);
    ql_model_close(&m);
    (void)!system(ql_format(cx, "rm -r %s", folder));
    ql_scope_close(cx, &scope);
}

static void
measure_all(ql_ctx *cx, int64_t divisor, int repetitions)
{
    const int64_t side = 4096 / divisor, tokens = TOKENS / divisor;
    const char *build = getenv("QLOOM_BUILD");
    ql_registry *registry;
    ql_scope scope;

    printf("\n| what | measured | bar | |\n| --- | --- | --- | --- |\n");
    ql_scope_open(cx, &scope);
    require(cx, ql_registry_open(cx, ql_format(cx, "%s/lib/qloom", build ? build : "."), &registry));
    linear_algebra(cx, (const int64_t[]){side, side, tokens}, repetitions, divisor == 1 ? 25 : 0);
    linear_algebra(cx, (const int64_t[]){side, 11008 / divisor, tokens}, repetitions, divisor == 1 ? 90 : 0);
    hessian(cx, side, tokens);
    forward(cx, registry, divisor, repetitions);
    ql_scope_close(cx, &scope);
    ql_registry_close(registry);
}

int
main(int argc, char **argv)
{
    const int64_t divisor = argc > 1 ? strtoll(argv[1], NULL, 10) : 1;
    const int repetitions = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 5;
    ql_device *device;
    ql_ctx cx;

    if (divisor < 1 || divisor > 32 || repetitions < 0 || repetitions > BENCH_MOST) {
        fprintf(stderr, "usage: device [DIVISOR [REPETITIONS]]\n");
        return 2;
    }
    ql_ctx_init(&cx, NULL);
    device = test_device(&cx, 1);
    printf("%s\n", device->info.name);
    if (repetitions > 0)
        measure_all(&cx, divisor, repetitions);
    ql_ctx_fini(&cx);
    ql_device_close(device);
    return 0;
}
