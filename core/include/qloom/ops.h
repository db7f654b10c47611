/* Operations on tensors, on the device where their tensors live. Mixing devices is an error (INVALID), never a copy, and so is a
 * wrong dtype or shape. "f32" below means f32, or f64 when all floating tensors of the call are f64 (tests and `precision: fp64`).
 * Work is queued in order on the context's stream; only functions that return a host value wait. Results depend on shapes and
 * values only: not on the number of threads, on memory limits or on what else runs. All: [one thread per context]. */
#ifndef QLOOM_OPS_H
#define QLOOM_OPS_H

#include <qloom/qlinear.h>
#include <qloom/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- linear algebra ---------------------------------------------------------------------------------------------- */

typedef enum ql_trans { QL_NN, QL_NT, QL_TN } ql_trans; /* which operands are transposed */

/* C = alpha op(A) op(B) + beta C. A, B: f32, or both bf16 / f16 (products exact, sums in f32); C f32 or the dtype of A. */
QL_API ql_status ql_gemm(ql_ctx *cx, ql_trans op, double alpha, const ql_tensor *a, const ql_tensor *b, double beta,
                         ql_tensor *c);

/* sum += x^T x for x[T, n] f32/bf16/f16, both triangles, into the compensated pair sum + comp, each [n, n] f32. */
QL_API ql_status ql_gram(ql_ctx *cx, const ql_tensor *x, ql_tensor *sum, ql_tensor *comp);

/* Lower Cholesky factor in place, A = L L^T, the strict upper triangle set to zero; only the lower one is read.
 * *ok = false (status OK, contents undefined) when A is not positive definite. Waits. */
QL_API ql_status ql_potrf(ql_ctx *cx, ql_tensor *a, bool *ok);

/* Inverse of a lower triangular matrix, whose strict upper triangle is zero, in place. NUMERIC when an element of the diagonal is 0. */
QL_API ql_status ql_trtri(ql_ctx *cx, ql_tensor *a);

/* Symmetric eigenproblem: `a` [n, n] (lower triangle read) becomes the eigenvectors as rows, `w` [n] the eigenvalues, ascending. */
QL_API ql_status ql_syevd(ql_ctx *cx, ql_tensor *a, ql_tensor *w);

/* Orthonormal basis of the columns of y[m, k], k <= m, in place (thin Q of a Householder QR). */
QL_API ql_status ql_orth(ql_ctx *cx, ql_tensor *y);

QL_API ql_status ql_fill(ql_ctx *cx, ql_tensor *t, double value);
QL_API ql_status ql_axpby(ql_ctx *cx, double alpha, const ql_tensor *x, double beta,
                          ql_tensor *y);                                      /* y = alpha x + beta y */
QL_API ql_status ql_scale_cols(ql_ctx *cx, const ql_tensor *v, ql_tensor *t); /* t[:, j] *= v[j] */
QL_API ql_status ql_scale_rows(ql_ctx *cx, const ql_tensor *v, ql_tensor *t); /* t[i, :] *= v[i] */

/* out[i, j] = src[rows[i], cols[j]]; rows, cols i32 or NULL (identity). Any dtype. `out` is made. */
QL_API ql_status ql_gather(ql_ctx *cx, const ql_tensor *src, const ql_tensor *rows, const ql_tensor *cols,
                           ql_tensor **out);

/* What random numbers are for. Streams are keyed by the seed, the subset (a probe: the linear) and the purpose, never by method:
 * methods that ask for the same thing get the same numbers, whatever else runs. */
typedef enum ql_purpose { QL_SKETCH, QL_PROBE } ql_purpose;

/* Fills t[m, n] f32 by a counter-based generator (Philox 4x32-10): SKETCH with normal, PROBE with uniform numbers in [-1/2, 1/2).
 * Element (i, j) depends on (i, j) and the key alone, so a wider sketch begins with the narrower one. */
QL_API ql_status ql_random(ql_ctx *cx, ql_purpose purpose, ql_tensor *t);

/* out = src^T for a matrix of any dtype. `out` is made. */
QL_API ql_status ql_transpose(ql_ctx *cx, const ql_tensor *src, ql_tensor **out);

/* Diagonal of a square matrix: a new [n] tensor, or written back. */
QL_API ql_status ql_diag(ql_ctx *cx, const ql_tensor *a, ql_tensor **out);
QL_API ql_status ql_diag_set(ql_ctx *cx, const ql_tensor *d, ql_tensor *a);

/* sum a_ij b_ij in double. Waits. */
QL_API ql_status ql_dot(ql_ctx *cx, const ql_tensor *a, const ql_tensor *b, double *out);

/* tr(E H E^T) = sum (E H) . E for e[m, n], h[n, n]: the squared output error of a weight error; sums in double. Waits. */
QL_API ql_status ql_quad(ql_ctx *cx, const ql_tensor *e, const ql_tensor *h, double *out);

/* Linear index of the first element that is NaN or infinite, -1 when all are finite. Waits. */
QL_API ql_status ql_nonfinite(ql_ctx *cx, const ql_tensor *t, int64_t *first);

/* --- transformer blocks --------------------------------------------------------------------------------------------
 * Activations have the device's compute dtype (f32 on CPU). Rows are tokens of packed sequences, without padding. */

/* Packed sequences: tokens offsets[s] .. offsets[s + 1] - 1 are sequence s; its first token stands at first[s] (NULL: 0). With parents they
 * are segments of trees: what comes before sequence s is its parent, to its end, and what comes before that. */
typedef struct ql_seqs {
    int64_t count;
    const int64_t *offsets; /* [count + 1], host */
    const int64_t *first;   /* [count], host, or NULL */
    /* [count], host: an earlier sequence p, of which first[s] = first[p] + its length; -1: none, first[s] = 0. NULL: no sequence has one.
     * Where it is given, the bits of a row follow from its path alone, however the tree is cut and whatever else is there. */
    const int64_t *parent;
    /* Attention also sees the first[s] tokens that came before sequence s, whose keys and values are kept here, and keeps those of the
     * sequence's own. No sequence has a parent then, and a row's bits follow from its path alone. NULL: nothing is kept. */
    const struct ql_kept *kept;
} ql_seqs;

#define QL_PAGE 64 /* tokens */

/* Keys and values of a block's attention, kept from call to call in pages. How a page lies in the tensors is the backend's own. */
typedef struct ql_kept {
    ql_tensor *keys, *values;    /* [pages * QL_PAGE, width of a key], in the dtype of the activations */
    const int32_t *const *pages; /* [count], host: of sequence s, the page of positions i * QL_PAGE … at pages[s][i] */
} ql_kept;

/* y[t, :] = x[t, :] * rsqrt(mean(x[t, :]^2) + eps) * w, the product with w after rounding to the dtype of x. `y` is made. */
QL_API ql_status ql_rmsnorm(ql_ctx *cx, const ql_tensor *x, const ql_tensor *w, double eps, ql_tensor **y);

/* sum = a + b and y = rmsnorm(sum), as ql_add and ql_rmsnorm make them, in one pass where the backend has one. Both are made. */
QL_API ql_status ql_add_rmsnorm(ql_ctx *cx, const ql_tensor *a, const ql_tensor *b, const ql_tensor *w, double eps,
                                ql_tensor **sum, ql_tensor **y);

/* Rotary embedding, half-split convention, of every head of x[T, heads * head_dim], in place. Angle of element k of each half at
 * position p: p * inv_freq[s * stride + k] in f32 for sequence s; cos and sin are multiplied by `scale`. With the frequencies' signs
 * turned it is its own vector-Jacobian product. */
typedef struct ql_rope_spec {
    int64_t head_dim;
    const float *inv_freq; /* host, [head_dim / 2], or one row a sequence */
    int64_t stride;        /* 0: the same row for every sequence */
    float scale;
} ql_rope_spec;
QL_API ql_status ql_rope(ql_ctx *cx, const ql_seqs *seqs, const ql_rope_spec *spec, ql_tensor *x);

/* Causal attention inside each sequence, and to its ancestors where it has a parent: y[T, heads * head_dim] from q (same shape) and k,
 * v [T, kv_heads * head_dim]. Query head j uses kv head j / (heads / kv_heads). window > 0: key p is seen by query t when
 * t - window < p <= t. Scores times 1 / sqrt(head_dim), softmax in f32 by tiles: never a [T, T] matrix. `y` is made. */
typedef struct ql_attention_spec {
    int64_t heads, kv_heads, head_dim, window;
} ql_attention_spec;
QL_API ql_status ql_attention(ql_ctx *cx, const ql_seqs *seqs, const ql_attention_spec *spec,
                              const ql_tensor *const qkv[3], ql_tensor **y);

QL_API ql_status ql_swiglu(ql_ctx *cx, const ql_tensor *gate, const ql_tensor *up, ql_tensor **y); /* silu(gate) * up */
QL_API ql_status ql_add(ql_ctx *cx, const ql_tensor *a, const ql_tensor *b, ql_tensor **y);        /* a + b */
QL_API ql_status ql_add_bias(ql_ctx *cx, const ql_tensor *bias, ql_tensor *y);                     /* y[t, :] += bias */

/* out[t] = -log softmax(x[t, :] head^T)[targets[t]] for x[T, d], head[V, d], targets[T] i32 (negative: 0, not scored); out [T] f32,
 * made. Logits are made tile by tile, never for all tokens at once. */
QL_API ql_status ql_nll(ql_ctx *cx, const ql_tensor *x, const ql_tensor *head, const ql_tensor *targets,
                        ql_tensor **out);

/* For rows[r] of x[T, d] and head[V, d], the log-probability of each target: of word ids[i] in row rows[row_of[i]], row_of ascending; and
 * best[r], the likeliest word of each row (of equal logits the first). rows, row_of, ids i32; logp [n] f32 and best [rows] i32 are made. A
 * row's numbers do not depend on which other rows there are. */
QL_API ql_status ql_logprob(ql_ctx *cx, const ql_tensor *x, const ql_tensor *head, const ql_tensor *rows,
                            const ql_tensor *row_of, const ql_tensor *ids, ql_tensor **logp, ql_tensor **best);

/* What two models predict after the same tokens, from their hidden states ref and x [T, d] and one head [V, d]: kl[t] =
 * KL(softmax(ref[t, :] head^T) || softmax(x[t, :] head^T)) in nats, f32, never below 0, and agree[t] u8, 1 where both put the same word
 * first (of equal logits the first counts). Both [T], made. Logits are made tile by tile, sums in double. */
QL_API ql_status ql_kl(ql_ctx *cx, const ql_tensor *ref, const ql_tensor *x, const ql_tensor *head, ql_tensor **kl,
                       ql_tensor **agree);

/* Column sums over the tokens of x[T, n]: abs_sum[j] += sum |x|, and per sequence the mean, abs_max[j] = max(abs_max[j], mean). */
QL_API ql_status ql_abs_stats(ql_ctx *cx, const ql_seqs *seqs, const ql_tensor *x, ql_tensor *abs_sum,
                              ql_tensor *abs_max);

/* --- training ------------------------------------------------------------------------------------------------------
 * Vector-Jacobian products: from dy, the gradient of the loss for what an operation gave, to dx, that for what it took. "Real" below means
 * f32, or f64 where the first operand is. Sums have a fixed order. */

/* dx = beta dx + the vjp of rmsnorm(x, w, eps) for dy[T, n]; dy and dx real or of the dtype of x. The forward's rounding before the
 * product with w counts as none. */
QL_API ql_status ql_rmsnorm_back(ql_ctx *cx, const ql_tensor *x, const ql_tensor *w, double eps, const ql_tensor *dy,
                                 double beta, ql_tensor *dx);

/* ql_attention that also gives what its vjp needs: lse[T, heads], real, the logarithm of the sum of each query's exponentials of scores.
 * Both are made. */
QL_API ql_status ql_attention_lse(ql_ctx *cx, const ql_seqs *seqs, const ql_attention_spec *spec,
                                  const ql_tensor *const qkv[3], ql_tensor **lse, ql_tensor **y);

/* The gradients of q, k and v, made, for dy [T, heads * head_dim] in the dtype of q. Sequences have no parents. */
typedef struct ql_attended {
    const ql_tensor *q, *k, *v, *y, *lse; /* what ql_attention_lse took and gave */
} ql_attended;
QL_API ql_status ql_attention_back(ql_ctx *cx, const ql_seqs *seqs, const ql_attention_spec *spec,
                                   const ql_attended *at, const ql_tensor *dy, ql_tensor *dqkv[3]);

/* The gradients of both factors of ql_swiglu, made, for dy real or of the dtype of gate. */
QL_API ql_status ql_swiglu_back(ql_ctx *cx, const ql_tensor *gate, const ql_tensor *up, const ql_tensor *dy,
                                ql_tensor **dgate, ql_tensor **dup);

/* Loss of the last layer and its gradient, for x[T, d], head[V, d] and targets[T] on the host; negative: no target. nll, real, one number a
 * target, in their order: -log softmax(x[t, :] head^T)[targets[t]]. dx[T, d], real: the gradient of scale * (sum of nll), 0 where there is
 * no target; NULL: only nll. Both are made. Logits exist for a chunk of tokens at a time, of at most 64 MiB or 16 tokens; tokens without a
 * target are left out before the product. */
QL_API ql_status ql_head_loss(ql_ctx *cx, const ql_tensor *x, const ql_tensor *head, const int32_t *targets,
                              double scale, ql_tensor **nll, ql_tensor **dx);

/* One update of AdamW: with G = scale g, m = beta1 m + (1 - beta1) G, v = beta2 v + (1 - beta2) G^2, and r = rate * rows[i] * cols[j],
 * p = p (1 - r decay) - r / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps). All matrices real and of one shape. */
typedef struct ql_adamw_spec {
    double scale, rate, decay, beta1, beta2, eps;
    int64_t t;                    /* number of the update, from 1 */
    const ql_tensor *rows, *cols; /* factors of the rate in the dtype of p, one a row and one a column; NULL: 1 */
} ql_adamw_spec;
QL_API ql_status ql_adamw(ql_ctx *cx, const ql_adamw_spec *spec, const ql_tensor *g, ql_tensor *m, ql_tensor *v,
                          ql_tensor *p);

/* y[i, j] = 0 with probability p, else x[i, j] / (1 - p), 0 <= p < 1; y may be x. Which elements stay follows from the spec, i and j alone:
 * word j % 4 of Philox 4x32-10 with counter (first + i, j / 4), below p 2^32, drops one. It is its own vjp. */
typedef struct ql_dropout_spec {
    uint64_t seed;
    int64_t update, linear; /* of the run; of the whole model */
    int64_t first;          /* row 0 of x is this token of the update */
    double p;
} ql_dropout_spec;
QL_API ql_status ql_dropout(ql_ctx *cx, const ql_dropout_spec *spec, const ql_tensor *x, ql_tensor *y);

/* --- group quantization (docs/methods.md 2 and 3) --------------------------------------------------------------------- */

/* Scales and zeros [m, G] of every group of w[m, n] f32. A group whose scale grid->scale_dtype rounds to 0 gets that of an empty group, so
 * that it decodes to zeros; one whose scale is beyond the dtype gets the largest, which clips it: ql_remark TINY, CLIPPED. NUMERIC when a
 * weight is not finite (text: row and column). Waits. */
QL_API ql_status ql_group_minmax(ql_ctx *cx, const ql_tensor *w, const ql_grid *grid, ql_tensor **scales,
                                 ql_tensor **zeros);

/* out->codes = clamp(rint(w / scale) + zero, 0, 2^bits - 1) with out->grid, scales, zeros, g_idx; with out->levels the nearest
 * level, the lower index on ties. */
QL_API ql_status ql_group_encode(ql_ctx *cx, const ql_tensor *w, ql_qlinear *out);

/* W^ [m, n] as f32 (f64 with grid.fp64), without the adapter. `w` is made. */
QL_API ql_status ql_group_decode(ql_ctx *cx, const ql_qlinear *q, ql_tensor **w);

/* Codes below 2^bits, bits 1 to 8, as files hold them: row i of codes[m, n] u8 as a stream of bits, the least significant first, in
 * the words out[i, :] i32 [m, ceil(n bits / 32)], whose last bits are 0. `out` is made. */
QL_API ql_status ql_pack(ql_ctx *cx, const ql_tensor *codes, int bits, ql_tensor **out);

/* W^ [m, columns], without the adapter, in any floating-point dtype, from codes that stay packed: q->codes holds the words that ql_pack
 * gives. The values are those of ql_group_decode, rounded once. `w` is made. */
QL_API ql_status ql_decode(ql_ctx *cx, const ql_qlinear *q, int64_t columns, ql_dtype dtype, ql_tensor **w);

/* The column loop of error feedback (docs/methods.md 3.2, arXiv:2210.17323 algorithm 1): encodes the columns of w[m, n] in order and
 * feeds each error, divided by U_jj, into the columns after it. `w` and `u` [n, n] upper are in processing order; so are out->codes, scales
 * and zeros. Groups are consecutive columns; scales come from the current values at a group's first column, unless out->scales is
 * given (static groups), where group_of[j] (i32 [n], NULL: j / group) names the column of scales. out->loss = 1/2 sum Err^2
 * (NaN when the feedback overflowed). Reads out->grid. Waits. */
QL_API ql_status ql_feedback_sweep(ql_ctx *cx, const ql_tensor *w, const ql_tensor *u, const ql_tensor *group_of,
                                   ql_qlinear *out);

#ifdef __cplusplus
}
#endif

#endif
