/* The cpu backend from the inside: an open device, tensors as matrices, and how work is split. Results never depend on the number
 * of threads: every split follows from shapes. */
#ifndef QLOOM_CPU_CPU_H
#define QLOOM_CPU_CPU_H

#include <qloom/backend.h>

#include "blas.h"
#include "isa.h"
#include "pool.h"

#define CPU_PARTS 256  /* most parts of a sum over a whole tensor */
#define CPU_SPAN 32768 /* elements of an elementwise task */

typedef struct cpu_scratch { /* one a worker; grows, never shrinks: fresh memory costs page faults in every call */
    void *data;
    size_t bytes;
} cpu_scratch;

typedef struct cpu {
    size_t page; /* bytes: memory begins and ends on pages */
    blas blas;
    pool *pool;
    const isa_loops *isa;
    cpu_scratch *scratch; /* [threads] */
} cpu;

/* A tensor as rows of `cols` elements, `ld` apart; leading dimensions are joined, a vector is one row. */
typedef struct mat {
    void *p;
    int64_t rows, cols, ld;
    ql_dtype dtype;
    size_t size; /* bytes of an element */
} mat;

mat cpu_mat(const ql_tensor *t);

static inline void *
mat_at(const mat *m, int64_t row, int64_t col)
{
    return (char *)m->p + (size_t)(row * m->ld + col) * m->size;
}

static inline int64_t
cpu_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t
cpu_div_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Runs tasks 0 .. tasks - 1; each gets `bytes` of scratch (aligned to 64) of the worker that runs it, contents undefined. */
typedef void (*cpu_task)(void *arg, int64_t task, void *scratch);
ql_status cpu_run(ql_ctx *cx, cpu *d, int64_t tasks, size_t bytes, cpu_task fn, void *arg);

/* Runs fn on rows [first, last) of spans that hold about 32k elements each. */
typedef void (*cpu_span)(void *arg, int64_t first, int64_t last);
void cpu_rows(cpu *d, int64_t rows, int64_t cols, cpu_span fn, void *arg);

/* Sequence of token t. */
int64_t cpu_sequence_of(const ql_seqs *seqs, int64_t t);

/* INVALID unless every length fits the int that BLAS takes. */
ql_status cpu_fits(ql_ctx *cx, const mat *m);

/* convert.c: n elements to and from float or double, rounding to nearest even; NaN stays NaN. */
void cpu_load(const isa_loops *isa, ql_dtype dtype, const void *src, int64_t n, float *dst);
void cpu_load_double(ql_dtype dtype, const void *src, int64_t n, double *dst);
void cpu_store_double(ql_dtype dtype, const double *src, int64_t n, void *dst);
void cpu_convert(const isa_loops *isa, ql_dtype from, const void *src, ql_dtype to, int64_t n, void *dst);
double cpu_round(ql_dtype dtype, double x); /* to f32, f16 or bf16 */

/* gemm.c: one product of row-major operands on the calling thread. */
typedef struct product {
    bool f64, ta, tb;
    int64_t m, n, k;
    double alpha, beta;
    const void *a, *b;
    void *c;
    int64_t lda, ldb, ldc;
} product;
void cpu_product(const blas *b, const product *p);

/* reduce.c: linear index of the first element that is NaN or infinite, -1 when there is none. */
ql_status cpu_nonfinite(ql_ctx *cx, void *dev, const ql_tensor *t, int64_t *first);

/* logits.c: UNSUPPORTED in double, for what has no such form. */
ql_status cpu_no_double(ql_ctx *cx, const ql_op *op);

/* What each file has of the operations. */
extern const ql_op_row cpu_attention_ops[];
extern const ql_op_row cpu_attention_back_ops[];
extern const ql_op_row cpu_elementwise_ops[];
extern const ql_op_row cpu_gemm_ops[];
extern const ql_op_row cpu_gram_ops[];
extern const ql_op_row cpu_group_ops[];
extern const ql_op_row cpu_kl_ops[];
extern const ql_op_row cpu_lapack_ops[];
extern const ql_op_row cpu_logprob_ops[];
extern const ql_op_row cpu_memory_ops[];
extern const ql_op_row cpu_nll_ops[];
extern const ql_op_row cpu_norm_rope_ops[];
extern const ql_op_row cpu_random_ops[];
extern const ql_op_row cpu_reduce_ops[];
extern const ql_op_row cpu_resting_ops[];
extern const ql_op_row cpu_sweep_ops[];
extern const ql_op_row cpu_train_ops[];

#endif
