/* Device operations against the BLAS bound of their shape, and two threads against one.
 *
 * kernels [SIZE [REPETITIONS [NAME]]]: SIZE is the side of the weight, 2048 by default; NAME is one of them alone. */
#include "blas.h"

typedef struct shapes {
    ql_ctx cx[2]; /* with one thread, with two */
    sgemm_fn sgemm;
    int n, tokens;
} shapes;

/* An operation on one context with what it works on. */
typedef struct job {
    ql_ctx *cx;
    sgemm_fn sgemm;
    ql_tensor *a, *b, *c, *d;
    ql_grid grid;
    ql_trans trans;
    ql_attended at;
    const int32_t *targets;
    double loss;
    int m, n, k;
} job;

static void
run_sgemm(void *arg)
{
    const job *j = arg;

    j->sgemm(BENCH_ROW_MAJOR, BENCH_N, BENCH_N, j->m, j->n, j->k, 1, ql_ptr(j->a), j->k, ql_ptr(j->b), j->n, 0,
             ql_ptr(j->c), j->n);
}

static void
run_gemm(void *arg)
{
    job *j = arg;

    require(j->cx, ql_gemm(j->cx, j->trans, 1, j->a, j->b, 0, j->c));
}

static void
run_gram(void *arg)
{
    job *j = arg;

    require(j->cx, ql_gram(j->cx, j->a, j->b, j->c));
}

static void
run_sweep(void *arg)
{
    job *j = arg;
    ql_qlinear q = {.grid = j->grid};
    ql_scope scope;

    ql_scope_open(j->cx, &scope);
    require(j->cx, ql_feedback_sweep(j->cx, j->a, j->b, NULL, &q));
    j->loss = q.loss;
    ql_scope_close(j->cx, &scope);
}

static void
run_attention(void *arg)
{
    job *j = arg;
    const int64_t offsets[] = {0, j->m};
    ql_tensor *y;
    ql_scope scope;

    ql_scope_open(j->cx, &scope);
    require(j->cx,
            ql_attention(j->cx, &(ql_seqs){.count = 1, .offsets = offsets}, &(ql_attention_spec){j->k, j->k, j->n, 0},
                         (const ql_tensor *const[]){j->a, j->b, j->c}, &y));
    ql_scope_close(j->cx, &scope);
}

static void
run_attention_back(void *arg)
{
    job *j = arg;
    const int64_t offsets[] = {0, j->m};
    ql_tensor *d[3];
    ql_scope scope;

    ql_scope_open(j->cx, &scope);
    require(j->cx, ql_attention_back(j->cx, &(ql_seqs){.count = 1, .offsets = offsets},
                                     &(ql_attention_spec){j->k, j->k, j->n, 0}, &j->at, j->a, d));
    ql_scope_close(j->cx, &scope);
}

static void
run_head_loss(void *arg)
{
    job *j = arg;
    ql_tensor *nll, *dx;
    ql_scope scope;

    ql_scope_open(j->cx, &scope);
    require(j->cx, ql_head_loss(j->cx, j->a, j->b, j->targets, 1, &nll, &dx));
    ql_scope_close(j->cx, &scope);
}

static void
run_nll(void *arg)
{
    job *j = arg;
    ql_tensor *y;
    ql_scope scope;

    ql_scope_open(j->cx, &scope);
    require(j->cx, ql_nll(j->cx, j->a, j->b, j->d, &y));
    ql_scope_close(j->cx, &scope);
}

static void
run_potrf(void *arg)
{
    job *j = arg;
    bool ok;

    require(j->cx, ql_copy(j->cx, j->a, j->b));
    require(j->cx, ql_potrf(j->cx, j->b, &ok));
}

static void
run_trtri(void *arg)
{
    job *j = arg;

    require(j->cx, ql_copy(j->cx, j->a, j->b));
    require(j->cx, ql_trtri(j->cx, j->b));
}

/* U of a random H: with a random one the feedback would explode. */
static ql_tensor *
random_factor(ql_ctx *cx, int64_t n)
{
    ql_tensor *x = random_tensor(cx, n + n / 2, n, 1), *h, *comp, *d;
    int32_t *reversed = ql_alloc(cx, (size_t)n, sizeof *reversed);
    bool ok;

    require(cx, ql_zeros(cx, QL_F32, n, n, &h));
    require(cx, ql_zeros(cx, QL_F32, n, n, &comp));
    require(cx, ql_gram(cx, x, h, comp));
    require(cx, ql_diag(cx, h, &d));
    require(cx, ql_axpby(cx, 1.05, d, 0, d));
    require(cx, ql_diag_set(cx, d, h));
    require(cx, ql_potrf(cx, h, &ok));
    require(cx, ql_trtri(cx, h));
    for (int64_t i = 0; i < n; i++)
        reversed[i] = (int32_t)(n - 1 - i);
    require(cx, ql_upload(cx, QL_I32, n, -1, reversed, &d));
    require(cx, ql_gather(cx, h, d, d, &h));
    return h;
}

/* One thread against sgemm, then two threads against one. */
static void
compare(const shapes *s, const char *name, void (*run)(void *), job *jobs, const job *bound, double share,
        int repetitions)
{
    bench_side one = {run, &jobs[0], {0}}, two = {run, &jobs[1], {0}}, blas = {run_sgemm, (void *)bound, {0}};
    char text[128];
    double ratio;

    snprintf(text, sizeof text, "%s / sgemm %d x %d x %d", name, bound->m, bound->n, bound->k);
    ratio = bench_ratio(text, &one, &blas, repetitions, false);
    printf("%-44s %6.3f\n", "  of its share of that sgemm", ratio / share);
    snprintf(text, sizeof text, "%s, one thread / two", name);
    bench_ratio(text, &one, &two, repetitions, true);
    (void)s;
}

static job
bound_of(shapes *s, int m, int n, int k)
{
    ql_ctx *cx = &s->cx[0];
    job b = {.cx = cx, .sgemm = s->sgemm, .m = m, .n = n, .k = k};

    b.a = random_tensor(cx, m, k, 1);
    b.b = random_tensor(cx, k, n, 1);
    b.c = random_tensor(cx, m, n, 1);
    return b;
}

static void
bench_sweep(shapes *s, int repetitions)
{
    const int n = s->n;
    job bound = bound_of(s, n, n, n), jobs[2];

    for (int i = 0; i < 2; i++)
        jobs[i] = (job){.cx = &s->cx[i],
                        .a = random_tensor(&s->cx[i], n, n, 1),
                        .b = random_factor(&s->cx[i], n),
                        .grid = {.bits = 4, .group = 128, .sym = true, .scale_dtype = QL_F16}};
    compare(s, "feedback_sweep", run_sweep, jobs, &bound, 0.5, repetitions);
    printf("%-44s %.9g\n", "  loss", jobs[0].loss);
}

static void
bench_gemm(shapes *s, int repetitions)
{
    job bound = bound_of(s, s->tokens, s->n, s->n), jobs[2];

    for (int i = 0; i < 2; i++) {
        ql_ctx *cx = &s->cx[i];

        jobs[i] = (job){.cx = cx,
                        .a = random_tensor(cx, s->tokens, s->n, 1),
                        .b = random_tensor(cx, s->n, s->n, 1),
                        .c = random_tensor(cx, s->tokens, s->n, 1),
                        .trans = QL_NT};
    }
    compare(s, "gemm (x W^T)", run_gemm, jobs, &bound, 1, repetitions);
    for (int i = 0; i < 2; i++)
        jobs[i].trans = QL_NN;
    compare(s, "gemm (dy W)", run_gemm, jobs, &bound, 1, repetitions);
}

/* The products of an adapter of rank 64: u = x A^T, du A, and dB = dy^T u. */
static void
bench_adapter(shapes *s, int repetitions)
{
    static const char *const names[] = {"gemm (x A^T)", "gemm (du A)", "gemm (dy^T u)"};
    static const ql_trans trans[] = {QL_NT, QL_NN, QL_TN};
    const int rank = 64, n = s->n, t = s->tokens,
              sizes[][3] = {{t, rank, n}, {t, n, rank}, {n, rank, t}}; /* rows and columns of the result, depth */

    for (int p = 0; p < 3; p++) {
        const int rows = sizes[p][0], cols = sizes[p][1], depth = sizes[p][2];
        job bound = bound_of(s, rows, cols, depth), jobs[2];

        for (int i = 0; i < 2; i++) {
            ql_ctx *cx = &s->cx[i];

            jobs[i] =
                (job){.cx = cx,
                      .a = trans[p] == QL_TN ? random_tensor(cx, depth, rows, 1) : random_tensor(cx, rows, depth, 1),
                      .b = trans[p] == QL_NT ? random_tensor(cx, cols, depth, 1) : random_tensor(cx, depth, cols, 1),
                      .c = random_tensor(cx, rows, cols, 1),
                      .trans = trans[p]};
        }
        compare(s, names[p], run_gemm, jobs, &bound, 1, repetitions);
    }
}

static void
bench_gram(shapes *s, int repetitions)
{
    job bound = bound_of(s, s->n, s->n, s->tokens), jobs[2];

    for (int i = 0; i < 2; i++) {
        ql_ctx *cx = &s->cx[i];

        jobs[i] = (job){.cx = cx,
                        .a = random_tensor(cx, s->tokens, s->n, 1),
                        .b = random_tensor(cx, s->n, s->n, 1),
                        .c = random_tensor(cx, s->n, s->n, 1)};
    }
    compare(s, "gram", run_gram, jobs, &bound, 0.5, repetitions);
}

/* Heads of 128; the products under the mask are half of T x T x heads 128, twice. */
static void
bench_attention(shapes *s, int repetitions)
{
    const int heads = s->n / 128 > 0 ? s->n / 128 : 1;
    job bound = bound_of(s, s->tokens, s->tokens, heads * 128), jobs[2];

    for (int i = 0; i < 2; i++) {
        ql_ctx *cx = &s->cx[i];

        jobs[i] = (job){.cx = cx,
                        .a = random_tensor(cx, s->tokens, heads * 128, 1),
                        .b = random_tensor(cx, s->tokens, heads * 128, 1),
                        .c = random_tensor(cx, s->tokens, heads * 128, 1),
                        .m = s->tokens,
                        .n = 128,
                        .k = heads};
    }
    compare(s, "attention", run_attention, jobs, &bound, 1, repetitions);
}

/* Heads of 64; five products under the mask, each half of T x T x heads 64. */
static void
bench_attention_back(shapes *s, int repetitions)
{
    const int heads = s->n / 64;
    job bound = bound_of(s, s->tokens, s->tokens, heads * 64), jobs[2];

    for (int i = 0; i < 2; i++) {
        ql_ctx *cx = &s->cx[i];
        const int64_t offsets[] = {0, s->tokens};
        ql_tensor *x = random_tensor(cx, s->tokens, heads * 64, 1), *lse, *y;

        require(cx, ql_attention_lse(cx, &(ql_seqs){.count = 1, .offsets = offsets},
                                     &(ql_attention_spec){heads, heads, 64, 0}, (const ql_tensor *const[]){x, x, x},
                                     &lse, &y));
        jobs[i] = (job){.cx = cx, .a = x, .at = {x, x, x, y, lse}, .m = s->tokens, .n = 64, .k = heads};
    }
    compare(s, "attention_back", run_attention_back, jobs, &bound, 2.5, repetitions);
}

/* Logits of a head over the states of the last layer; `share`: of their product, as compare takes it. */
static void
bench_head(shapes *s, const char *name, void (*run)(void *arg), double share, int repetitions)
{
    const int words = 8 * s->n, dim = s->n / 2, tokens = s->tokens / 2;
    job bound = bound_of(s, tokens, words, dim), jobs[2];

    for (int i = 0; i < 2; i++) {
        ql_ctx *cx = &s->cx[i];

        jobs[i] = (job){.cx = cx,
                        .a = random_tensor(cx, tokens, dim, 1),
                        .b = random_tensor(cx, words, dim, 1),
                        .targets = ql_alloc(cx, (size_t)tokens, sizeof(int32_t))};
        require(cx, ql_zeros(cx, QL_I32, tokens, -1, &jobs[i].d));
    }
    compare(s, name, run, jobs, &bound, share, repetitions);
}

static void
bench_head_loss(shapes *s, int repetitions)
{
    bench_head(s, "head_loss", run_head_loss, 2, repetitions);
}

static void
bench_nll(shapes *s, int repetitions)
{
    bench_head(s, "nll", run_nll, 1, repetitions);
}

static void
bench_factor(shapes *s, int repetitions)
{
    job bound = bound_of(s, s->n, s->n, s->n), jobs[2];

    for (int i = 0; i < 2; i++) {
        ql_ctx *cx = &s->cx[i];
        ql_tensor *x = random_tensor(cx, s->n + s->n / 2, s->n, 1), *h = random_tensor(cx, s->n, s->n, 1);

        require(cx, ql_gemm(cx, QL_TN, 1, x, x, 0, h));
        jobs[i] = (job){.cx = cx, .a = h, .b = random_tensor(cx, s->n, s->n, 1)};
    }
    compare(s, "potrf", run_potrf, jobs, &bound, 1.0 / 6, repetitions);
    for (int i = 0; i < 2; i++) {
        run_potrf(&jobs[i]);
        require(jobs[i].cx, ql_copy(jobs[i].cx, jobs[i].b, jobs[i].a));
    }
    compare(s, "trtri", run_trtri, jobs, &bound, 1.0 / 6, repetitions);
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(shapes *s, int repetitions);
    } benches[] = {{"sweep", bench_sweep},
                   {"gemm", bench_gemm},
                   {"gram", bench_gram},
                   {"attention", bench_attention},
                   {"nll", bench_nll},
                   {"factor", bench_factor},
                   {"adapter", bench_adapter},
                   {"attention_back", bench_attention_back},
                   {"head_loss", bench_head_loss}};
    shapes s = {.n = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2048};
    int repetitions = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 7;
    ql_device *devices[2];

    if (s.n < 128 || s.n > 16384 || repetitions < 1) {
        fprintf(stderr, "usage: kernels [SIZE 128 .. 16384 [REPETITIONS [NAME]]]\n");
        return 2;
    }
    s.tokens = s.n;
    for (int i = 0; i < 2; i++) {
        ql_ctx_init(&s.cx[i], NULL);
        devices[i] = test_device(&s.cx[i], i + 1);
    }
    printf("%s\n", devices[0]->info.name);
    bench_blas("cblas_sgemm", &s.sgemm);
    for (size_t b = 0; b < sizeof benches / sizeof *benches; b++) {
        ql_scope scopes[2];

        for (int i = 0; i < 2; i++)
            ql_scope_open(&s.cx[i], &scopes[i]);
        if (argc < 4 || strcmp(argv[3], benches[b].name) == 0)
            benches[b].run(&s, repetitions);
        for (int i = 0; i < 2; i++)
            ql_scope_close(&s.cx[i], &scopes[i]);
    }
    for (int i = 0; i < 2; i++)
        ql_device_close(devices[i]);
    return 0;
}
