/* The low-rank primitive against one product of the matrix's size, and against LAPACK's gesdd; how far its residual is from the best.
 *
 * lowrank [SIZE [REPETITIONS [ITERATIONS]]]: SIZE x SIZE (2048) of white noise, the spectrum that is hardest to tell apart, and rank
 * SIZE / 64, so that the ratios hardly depend on SIZE; ITERATIONS in place of the library's own. At 4096 gesdd and the exact residual
 * take minutes. */
#include "blas.h"

#include <qloom/lowrank.h>

typedef void (*sgesdd_fn)(const char *job, const int *m, const int *n, float *a, const int *lda, float *s, float *u,
                          const int *ldu, float *vt, const int *ldvt, float *work, const int *lwork, int *iwork,
                          int *info);

typedef struct job {
    ql_ctx *cx;
    ql_tensor *e, *h, *c;
    ql_lowrank_spec spec;
    double tail;
    sgemm_fn sgemm;
    sgesdd_fn sgesdd;
} job;

static void
run_lowrank(void *arg)
{
    job *j = arg;
    ql_lowrank_result out;
    ql_scope scope;

    ql_scope_open(j->cx, &scope);
    require(j->cx, ql_lowrank(j->cx, j->e, &j->spec, &out));
    j->tail = out.total;
    for (int64_t i = 0; i < out.rank; i++)
        j->tail -= out.sig2[i];
    ql_scope_close(j->cx, &scope);
}

static void
run_sgemm(void *arg)
{
    const job *j = arg;
    const int n = (int)ql_dim(j->e, 0);

    j->sgemm(BENCH_ROW_MAJOR, BENCH_N, BENCH_N, n, n, n, 1, ql_ptr(j->e), n, ql_ptr(j->h), n, 0, ql_ptr(j->c), n);
}

static void
run_gesdd(void *arg)
{
    job *j = arg;
    const int n = (int)ql_dim(j->e, 0);
    int lwork = -1, info, *iwork;
    float best, *s, *work;
    ql_tensor *a, *u, *vt;
    ql_scope scope;

    ql_scope_open(j->cx, &scope);
    require(j->cx, ql_convert(j->cx, j->e, QL_F32, &a));
    require(j->cx, ql_new(j->cx, QL_F32, n, n, &u));
    require(j->cx, ql_new(j->cx, QL_F32, n, n, &vt));
    s = ql_alloc(j->cx, (size_t)n, sizeof *s);
    iwork = ql_alloc(j->cx, 8 * (size_t)n, sizeof *iwork);
    j->sgesdd("S", &n, &n, ql_ptr(a), &n, s, ql_ptr(u), &n, ql_ptr(vt), &n, &best, &lwork, iwork, &info);
    lwork = (int)best;
    work = ql_alloc(j->cx, (size_t)lwork, sizeof *work);
    require(j->cx, s && iwork && work ? QL_OK : QL_MEMORY);
    j->sgesdd("S", &n, &n, ql_ptr(a), &n, s, ql_ptr(u), &n, ql_ptr(vt), &n, work, &lwork, iwork, &info);
    ql_scope_close(j->cx, &scope);
}

/* The best rank r leaves total - the r largest eigenvalues; what ours leaves follows from its own energies. */
static void
compare_residual(const char *name, const job *ours)
{
    job got = *ours, best = *ours;

    got.spec.total = best.spec.total = best.spec.exact = true;
    run_lowrank(&got);
    run_lowrank(&best);
    printf("%-44s %.2e\n", name, got.tail / best.tail - 1);
}

int
main(int argc, char **argv)
{
    const int n = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2048;
    const int repetitions = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 5;
    ql_ctx cx;
    ql_scope scope;
    ql_tensor *x;
    job plain = {.cx = &cx, .spec = {.rank = n / 64}}, total, identity;
    ql_device *device;

    if (n < 640 || n > 8192 || repetitions < 1) {
        fprintf(stderr, "usage: lowrank [SIZE 640 .. 8192 [REPETITIONS [ITERATIONS]]]\n");
        return 2;
    }
    ql_ctx_init(&cx, NULL);
    device = test_device(&cx, 1);
    printf("%s, rank %d\n", device->info.name, n / 64);
    bench_blas("cblas_sgemm", &plain.sgemm);
    bench_blas("sgesdd_", &plain.sgesdd);
    ql_scope_open(&cx, &scope);
    plain.spec.iterations = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 0;
    plain.e = random_tensor(&cx, n, n, 1);
    plain.c = random_tensor(&cx, n, n, 2);
    x = random_tensor(&cx, n + n / 2, n, 3);
    require(&cx, ql_new(&cx, QL_F32, n, n, &plain.h));
    require(&cx, ql_gemm(&cx, QL_TN, 1, x, x, 0, plain.h));
    ql_drop(&cx, &x);
    plain.spec.h = plain.h;
    total = identity = plain;
    total.spec.total = true;
    identity.spec.h = NULL;

    bench_ratio("lowrank / sgemm", &(bench_side){run_lowrank, &plain, {0}}, &(bench_side){run_sgemm, &plain, {0}},
                repetitions, false);
    bench_ratio("lowrank with total / sgemm", &(bench_side){run_lowrank, &total, {0}},
                &(bench_side){run_sgemm, &plain, {0}}, repetitions, false);
    bench_ratio("lowrank, H = I / sgemm", &(bench_side){run_lowrank, &identity, {0}},
                &(bench_side){run_sgemm, &plain, {0}}, repetitions, false);
    compare_residual("residual above the best", &plain);
    compare_residual("residual above the best, H = I", &identity);
    bench_ratio("gesdd / lowrank", &(bench_side){run_gesdd, &plain, {0}}, &(bench_side){run_lowrank, &plain, {0}}, 1,
                false);
    ql_scope_close(&cx, &scope);
    ql_device_close(device);
    return 0;
}
