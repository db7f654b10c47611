/* What each operation of a device means: slow, obvious, in double, on contiguous row-major arrays. */
#ifndef QLOOM_TEST_PLAIN_H
#define QLOOM_TEST_PLAIN_H

#include <qloom/ops.h>

/* Nearest value of a dtype, ties to even, by searching it: nothing is shared with the code under test. */
double plain_round(ql_dtype dtype, double x);

/* c[m, n] = alpha op(a) op(b) + beta c */
void plain_gemm(ql_trans op, const int64_t mnk[3], double alpha, const double *a, const double *b, double beta,
                double *c);
/* g[n, n] += x[t, n]^T x */
void plain_gram(int64_t t, int64_t n, const double *x, double *g);
bool plain_potrf(int64_t n, double *a);
void plain_trtri(int64_t n, double *a);

void plain_rmsnorm(ql_dtype dtype, int64_t t, int64_t n, const double *x, const double *w, double eps, double *y);
void plain_rope(const ql_seqs *seqs, const ql_rope_spec *spec, int64_t cols, double *x);
void plain_attention(const ql_seqs *seqs, const ql_attention_spec *spec, const double *const qkv[3], double *y);
/* kl[t] and agree[t] of the logits of ref and x [T, d] under head [V, d]; margin[t]: the least gap between the two largest logits. */
void plain_kl(const int64_t tdv[3], const double *const refx[2], const double *head, double *const out[3]);
void plain_nll(const int64_t tdv[3], const double *x, const double *head, const int32_t *targets, double *out);
/* dx += the vjp of plain_rmsnorm for dy, without its rounding. */
void plain_rmsnorm_back(int64_t t, int64_t n, const double *x, const double *w, double eps, const double *dy,
                        double *dx);
/* d: gradients of q, k and v for dy; lse[t, heads]: logarithms of sums of exponentials of scores. */
void plain_attention_back(const ql_seqs *seqs, const ql_attention_spec *spec, const double *const qkv[3],
                          const double *dy, double *lse, double *const d[3]);
/* dx[T, d]: gradient of scale * (sum of plain_nll). */
void plain_loss_back(const int64_t tdv[3], const double *x, const double *head, const int32_t *targets, double scale,
                     double *dx);
void plain_abs_stats(const ql_seqs *seqs, int64_t n, const double *x, double *sum, double *max);

/* Group grids (docs/methods.md 2.1). With `single`, every operation is rounded to float. */
typedef struct plain_grid {
    ql_grid grid;
    bool single;
} plain_grid;
void plain_fit(const plain_grid *g, const double *x, int64_t n, double *scale, double *zero);
double plain_code(const plain_grid *g, double x, double scale, double zero);
/* GPTQ's column loop (docs/methods.md 3.2) without blocks; w is overwritten. codes[m, n], scales and zeros [m, G], errors[m, n]
 * (may be NULL). group_of as in ql_feedback_sweep; `fit`: scales are found. Returns 1/2 sum Err^2. */
typedef struct plain_sweep {
    plain_grid g;
    int64_t m, n;
    double *w;
    const double *u;
    const int32_t *group_of;
    bool fit;
    double *codes, *scales, *zeros, *errors;
} plain_sweep;
double plain_feedback_sweep(const plain_sweep *s);

#endif
