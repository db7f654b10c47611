/* What the benches compare with: the BLAS and LAPACK that the cpu device has opened, called directly; and random operands. */
#ifndef QLOOM_BENCH_BLAS_H
#define QLOOM_BENCH_BLAS_H

#include "bench.h"

typedef void (*sgemm_fn)(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
                         const float *b, int ldb, float beta, float *c, int ldc);

enum { BENCH_ROW_MAJOR = 101, BENCH_N = 111, BENCH_T = 112 };

/* Stores function `name` in `out`, a pointer to a function pointer. Its kernels are the ones that the device chose. */
static inline void
bench_blas(const char *name, void *out)
{
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_NOLOAD), *symbol = library ? dlsym(library, name) : NULL;

    if (!symbol) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    memcpy(out, &symbol, sizeof symbol);
    dlclose(library); /* the device holds it open */
}

/* Sums of three uniform numbers, the same for the same seed. */
static inline ql_tensor *
random_tensor(ql_ctx *cx, int64_t rows, int64_t cols, uint64_t seed)
{
    uint64_t rng = seed;
    ql_tensor *t;
    float *x;

    require(cx, ql_new(cx, QL_F32, rows, cols, &t));
    require(cx, ql_map(cx, t, QL_WRITE, &x));
    for (int64_t i = 0; i < rows * cols; i++)
        x[i] = (float)(test_uniform(&rng) + test_uniform(&rng) + test_uniform(&rng) - 1.5);
    require(cx, ql_unmap(cx, t));
    return t;
}

#endif
