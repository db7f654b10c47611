/* ProjQ's projected Hessian, in Hessian space against the published N x N form: R = X E^T, V_r of it by randomized SVD (2 power steps,
 * 8 columns more than r), P = V V^T, the loss (I - P) R and H_p = X^T (I - P) X. Ours begins with H = X^T X, which a run has anyway; the
 * second ratio counts it too. One thread.
 *
 * projq [TOKENS [REPETITIONS]]: 4096 tokens, weight 1024 x 1024, rank 64. */
#include <math.h>

#include "blas.h"

#include <qloom/lowrank.h>

#define SIDE 1024
#define RANK 64
#define SKETCH (RANK + 8)

typedef struct job {
    ql_ctx *cx;
    int tokens;
    sgemm_fn sgemm;
    ql_tensor *e, *x, *h, *hp, *p, *r, *px, *vectors; /* p [N, N], r [N, m], px [N, n], vectors [N, SKETCH] */
    bool gram;
} job;

/* Kt of docs/methods.md 5.1, H_p = H - Kt^T Kt: what the quantizer's plugin does. */
static void
run_ours(void *arg)
{
    job *j = arg;
    ql_lowrank_result top;
    ql_tensor *kt, *inverse;
    float scale[RANK];
    ql_scope scope;

    ql_scope_open(j->cx, &scope);
    if (j->gram)
        require(j->cx, ql_gemm(j->cx, QL_TN, 1, j->x, j->x, 0, j->h));
    require(j->cx, ql_lowrank(j->cx, j->e, &(ql_lowrank_spec){.h = j->h, .rank = RANK, .total = true}, &top));
    for (int i = 0; i < RANK; i++)
        scale[i] = (float)(1 / sqrt(top.sig2[i]));
    require(j->cx, ql_new(j->cx, QL_F32, RANK, SIDE, &kt));
    require(j->cx, ql_gemm(j->cx, QL_NN, 1, top.v, j->h, 0, kt));
    require(j->cx, ql_upload(j->cx, QL_F32, RANK, -1, scale, &inverse));
    require(j->cx, ql_scale_rows(j->cx, inverse, kt));
    require(j->cx, ql_copy(j->cx, j->h, j->hp));
    require(j->cx, ql_gemm(j->cx, QL_TN, -1, kt, kt, 1, j->hp));
    ql_scope_close(j->cx, &scope);
}

static void
multiply(const job *j, int ta, int tb, const ql_tensor *a, const ql_tensor *b, ql_tensor *c)
{
    const bool at = ta == BENCH_T, bt = tb == BENCH_T;
    const int m = (int)ql_dim(a, at), k = (int)ql_dim(a, !at), n = (int)ql_dim(b, !bt);

    j->sgemm(BENCH_ROW_MAJOR, ta, tb, m, n, k, 1, ql_ptr(a), (int)ql_stride(a, 0), ql_ptr(b), (int)ql_stride(b, 0), 0,
             ql_ptr(c), n);
}

/* The sketch's columns are orthonormalised at the end only, and its first r taken for the singular vectors: cheaper than the
 * published SVD of the small matrix, and the same cost as far as it matters here. */
static void
run_published(void *arg)
{
    job *j = arg;
    const int n = j->tokens;
    ql_tensor *omega, *back, *v;
    float *p;
    ql_scope scope;

    ql_scope_open(j->cx, &scope);
    omega = random_tensor(j->cx, SIDE, SKETCH, 4);
    require(j->cx, ql_new(j->cx, QL_F32, SIDE, SKETCH, &back));
    multiply(j, BENCH_N, BENCH_T, j->x, j->e, j->r);
    multiply(j, BENCH_N, BENCH_N, j->r, omega, j->vectors);
    for (int i = 0; i < 2; i++) {
        multiply(j, BENCH_T, BENCH_N, j->r, j->vectors, back);
        multiply(j, BENCH_N, BENCH_N, j->r, back, j->vectors);
        require(j->cx, ql_orth(j->cx, j->vectors)); /* the published one only scales columns */
    }
    require(j->cx, ql_cols(j->cx, j->vectors, 0, RANK, &v));
    multiply(j, BENCH_N, BENCH_T, v, v, j->p);
    p = ql_ptr(j->p);
    for (int64_t i = 0; i < (int64_t)n * n; i++)
        p[i] = (i % (n + 1) == 0 ? 1.0F : 0.0F) - p[i];
    multiply(j, BENCH_N, BENCH_N, j->p, j->r, j->px); /* what is left of the error: its norm is the loss */
    multiply(j, BENCH_N, BENCH_N, j->p, j->x, j->px);
    multiply(j, BENCH_T, BENCH_N, j->px, j->px, j->hp);
    ql_scope_close(j->cx, &scope);
}

int
main(int argc, char **argv)
{
    const int tokens = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 4096;
    const int repetitions = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 3;
    ql_ctx cx;
    ql_scope scope;
    job j = {.cx = &cx, .tokens = tokens};
    ql_device *device;
    size_t measured;
    bench_side published = {run_published, &j, {0}}, ours = {run_ours, &j, {0}};

    if (tokens < SIDE || tokens > 16384 || repetitions < 1) {
        fprintf(stderr, "usage: projq [TOKENS 1024 .. 16384 [REPETITIONS]]\n");
        return 2;
    }
    ql_ctx_init(&cx, NULL);
    device = test_device(&cx, 1);
    printf("%s, %d tokens\n", device->info.name, tokens);
    bench_blas("cblas_sgemm", &j.sgemm);
    ql_scope_open(&cx, &scope);
    j.e = random_tensor(&cx, SIDE, SIDE, 1);
    j.x = random_tensor(&cx, tokens, SIDE, 2);
    require(&cx, ql_new(&cx, QL_F32, SIDE, SIDE, &j.h));
    require(&cx, ql_new(&cx, QL_F32, SIDE, SIDE, &j.hp));
    require(&cx, ql_new(&cx, QL_F32, tokens, tokens, &j.p));
    require(&cx, ql_new(&cx, QL_F32, tokens, SIDE, &j.r));
    require(&cx, ql_new(&cx, QL_F32, tokens, SIDE, &j.px));
    require(&cx, ql_new(&cx, QL_F32, tokens, SKETCH, &j.vectors));
    require(&cx, ql_gemm(&cx, QL_TN, 1, j.x, j.x, 0, j.h));
    bench_ratio("N x N form / ours", &published, &ours, repetitions, false);
    j.gram = true;
    bench_ratio("N x N form / ours with X^T X", &published, &ours, repetitions, false);
    measured = device->used;
    device->peak = measured;
    run_ours(&j);
    printf("%-44s %.1f MB against %.1f MB\n", "  beside X, E and H", 4e-6 * tokens * (tokens + 2.0 * SIDE + SKETCH),
           1e-6 * (double)(device->peak - measured));
    ql_scope_close(&cx, &scope);
    ql_device_close(device);
    return 0;
}
