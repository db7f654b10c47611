/* OpenBLAS, opened at run time: which functions of it we use. */
#ifndef QLOOM_CPU_BLAS_H
#define QLOOM_CPU_BLAS_H

#include <qloom/status.h>

/* Values of the CBLAS enumerations. */
enum { BLAS_ROW = 101, BLAS_NO = 111, BLAS_YES = 112, BLAS_UPPER = 121, BLAS_LOWER = 122 };
enum { BLAS_NON_UNIT = 131, BLAS_LEFT = 141, BLAS_RIGHT = 142 };

/* The functions of one real type, and their names but for the letter of the type. LAPACK is column-major: it sees the transpose
 * of a row-major matrix, so our lower triangle is its "U". */
#define BLAS_FUNCTIONS(X, T, c)                                                                                        \
    X(gemm, "cblas_" c "gemm", void,                                                                                   \
      (int order, int ta, int tb, int m, int n, int k, T alpha, const T *a, int lda, const T *b, int ldb, T beta,      \
       T *out, int ldc))                                                                                               \
    X(syrk, "cblas_" c "syrk", void,                                                                                   \
      (int order, int uplo, int trans, int n, int k, T alpha, const T *a, int lda, T beta, T *out, int ldc))           \
    X(trsm, "cblas_" c "trsm", void,                                                                                   \
      (int order, int side, int uplo, int trans, int diag, int m, int n, T alpha, const T *a, int lda, T *b, int ldb)) \
    X(potrf, c "potrf_", void, (const char *uplo, const int *n, T *a, const int *lda, int *info))                      \
    X(trtri, c "trtri_", void, (const char *uplo, const char *diag, const int *n, T *a, const int *lda, int *info))    \
    X(syevd, c "syevd_", void,                                                                                         \
      (const char *jobz, const char *uplo, const int *n, T *a, const int *lda, T *w, T *work, const int *lwork,        \
       int *iwork, const int *liwork, int *info))                                                                      \
    X(geqrf, c "geqrf_", void,                                                                                         \
      (const int *m, const int *n, T *a, const int *lda, T *tau, T *work, const int *lwork, int *info))                \
    X(orgqr, c "orgqr_", void,                                                                                         \
      (const int *m, const int *n, const int *k, T *a, const int *lda, const T *tau, T *work, const int *lwork,        \
       int *info))

#define BLAS_POINTER(name, symbol, ret, args) ret(*name) args;
typedef struct blas {
    void *library;
    char core[32]; /* "Zen": the kernels that OpenBLAS chose */
    struct {
        BLAS_FUNCTIONS(BLAS_POINTER, float, "s")
    } s;
    struct {
        BLAS_FUNCTIONS(BLAS_POINTER, double, "d")
    } d;
} blas;
#undef BLAS_POINTER

/* Opens libopenblas with the kernels that the processor deserves, on one thread. DEVICE when it is missing or unfit. */
ql_status blas_open(ql_ctx *cx, blas *b);
void blas_close(blas *b);

#endif
