/* Device backends: memory and the operations of ops.h on one kind of device. All that a backend includes.
 *
 * An operation is a record that the host has checked against the operation's rule (dtypes, shapes, device, aliasing) and whose
 * outputs it has made. A backend binds a function to every operation that it has; `dev` is what `open` returned. Work is queued in
 * order; only operations with a host value, download and sync wait. Meanings are those of the functions of the same name in ops.h
 * and tensor.h. [one thread per device] */
#ifndef QLOOM_BACKEND_H
#define QLOOM_BACKEND_H

#include <qloom/ops.h>
#include <qloom/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Address of element (0, …, 0), on the device. For backends only. */
QL_API void *ql_ptr(const ql_tensor *t);

/* Memory of the operation in progress, aligned as `alloc` does, contents undefined, its address put at `out`. The pool of the
 * context's device counts it, and takes it back when the operation returns. MEMORY, with the holders in the text, when there is no
 * room. */
QL_API ql_status ql_scratch(ql_ctx *cx, size_t bytes, void *out);

/* --- operations --------------------------------------------------------------------------------------------------------
 *
 * One row an operation: code, name, operands. New rows are appended and none is renumbered, so that a backend made before them stays
 * valid. An operand is written `name:dtype[shape]marks`:
 *
 *   dtype   any, float (f32, f64, f16, bf16), real (f32, f64), f32, i32, u8; `same`: as the first operand; `sum`: f64 where the first
 *           operand is, else f32; `grid`: f64 with grid->fp64, else f32; a | b: one of them
 *   shape   a letter is the same length wherever it stands, a capital one is at least 1; #0 and #1 are n[0] and n[1] of the record;
 *           [..] is any shape, the same wherever it stands
 *   marks   ! written: not lent for reading only, and apart from the other operands; + made by the host, then written;
 *           ? may be absent; ~ may also be the first operand itself, element on element
 *
 * `@t`: the operation runs over the record's sequences, which have t tokens. Where the first operand or one that is written is empty
 * there is nothing to do, and the backend is not called. What else a record holds is said in the comment. */

/* clang-format off */
#define QL_OP_LIST(X) \
    X(COPY, "copy", "the source:any[..], the target:any[..]!") \
    X(FILL, "fill", "the tensor:any[..]!") /* alpha: the value */ \
    X(GATHER, "gather", "the source:any[m,n], rows:i32[r]?, columns:i32[c]?, the result:same[#0,#1]+") \
    X(TRANSPOSE, "transpose", "the matrix:any[m,n], the result:same[n,m]+") \
    /* t[i, j] from Philox 4x32-10 with counter (i, j) and the key uint32_t[2] at spec: words (a, b) of the block give the normal \
     * number sqrt(-2 ln((a + 1) 2^-32)) cos(2 pi b 2^-32) where n[0] is 1, else the uniform one a 2^-32 - 1/2 */ \
    X(RANDOM, "random", "the tensor:f32[m,n]!") \
    X(DIAG, "diag", "A:real[n,n], the diagonal:same[n]+") \
    X(DIAG_SET, "diag_set", "A:real[n,n]!, the diagonal:same[n]") \
    X(GEMM_NN, "gemm", "A:float[m,k], B:same[k,n], C:same|sum[m,n]!") /* alpha, beta */ \
    /* GEMM_NT: where seqs have parents, a row of C does not depend on the other rows of A */ \
    X(GEMM_NT, "gemm", "A:float[m,k], B:same[n,k], C:same|sum[m,n]!") \
    X(GEMM_TN, "gemm", "A:float[k,m], B:same[k,n], C:same|sum[m,n]!") \
    X(GRAM, "gram", "x:float[t,n], sum:sum[n,n]!, comp:sum[n,n]!") \
    X(POTRF, "potrf", "A:real[n,n]!") /* result: bool *ok, true before */ \
    X(TRTRI, "trtri", "A:real[n,n]!") \
    X(SYEVD, "syevd", "A:real[n,n]!, the eigenvalues:same[n]!") \
    X(ORTH, "orth", "y:real[m,n]!") \
    X(AXPBY, "axpby", "x:real[..], y:same[..]!~") /* alpha, beta */ \
    X(SCALE_COLS, "scale_cols", "the matrix:real[m,n]!, the factors:same[n]") \
    X(SCALE_ROWS, "scale_rows", "the matrix:real[m,n]!, the factors:same[m]") \
    X(DOT, "dot", "A:real[..], B:same[..]") /* result: double * */ \
    X(NONFINITE, "nonfinite", "the tensor:float[..]") /* result: int64_t *, -1 before */ \
    X(RMSNORM, "rmsnorm", "x:float[t,n], the weight:same[n], y:same[t,n]+") /* alpha: eps */ \
    X(ROPE, "rope", "x:float[t,n]!, @t") /* spec: ql_rope_spec */ \
    X(ATTENTION, "attention", "q:float[t,#0], k:same[t,#1], v:same[t,#1], y:same[t,#0]+, lse:sum[t,h]!?, @t") \
    /* ^ spec: ql_attention_spec */ \
    X(SWIGLU, "swiglu", "the gate:float[t,n], the other factor:same[t,n], y:same[t,n]+") \
    X(ADD, "add", "A:float[t,n], B:same[t,n], y:same[t,n]+") \
    X(ADD_BIAS, "add_bias", "y:float[t,n]!, the bias:same[n]") \
    X(NLL, "nll", "x:float[t,N], the head:same[V,N], the targets:i32[t], the result:sum[t]+") \
    X(KL, "kl", "the reference:float[t,N], x:same[t,N], the head:same[V,N], the divergence:sum[t]+, the agreement:u8[t]+") \
    X(ABS_STATS, "abs_stats", "x:float[t,n], the sums:sum[n]!, the maxima:sum[n]!, @t") \
    /* Group quantization: grid. W arrives in the grid's arithmetic. NUMERIC texts of group_minmax name row and column of the weight \
     * that is not finite, or of the group and its scale. */ \
    X(GROUP_MINMAX, "group_minmax", "W:grid|f32[m,n], scales:grid[m,#0]+, zeros:grid[m,#0]+") \
    X(GROUP_ENCODE, "group_encode", "W:grid|f32[m,n], scales:grid[m,#0], zeros:grid[m,#0]?, levels:grid[#1]?, " \
      "the group index:i32[n]?, codes:u8[m,n]+") \
    X(GROUP_DECODE, "group_decode", "codes:u8[m,n], scales:grid[m,#0], zeros:grid[m,#0]?, levels:grid[#1]?, " \
      "the group index:i32[n]?, W:grid[m,n]+") \
    X(PACK, "pack", "codes:u8[m,n], the result:i32[m,#0]+") /* n[1]: bits */ \
    /* feedback_sweep with scales and zeros to be found, and with given ones. result: double *loss, 0 before */ \
    X(SWEEP_FIT, "feedback_sweep", "W:grid|f32[m,n], U:grid[n,n], scales:grid[m,#0]+, zeros:grid[m,#0]+, codes:u8[m,n]+") \
    X(SWEEP_GIVEN, "feedback_sweep", "W:grid|f32[m,n], U:grid[n,n], scales:grid[m,#0], zeros:grid[m,#0], codes:u8[m,n]+, " \
      "the group of each column:i32[n]?") \
    X(ADD_RMSNORM, "add_rmsnorm", "A:float[t,n], B:same[t,n], the weight:same[n], the sum:same[t,n]+, y:same[t,n]+") /* alpha: eps */ \
    /* Targets of a row stand side by side, in the order of rows; of equal logits the first word is the best. */ \
    X(LOGPROB, "logprob", "x:float[r,N], the head:same[V,N], the row of each target:i32[m], the targets:i32[m], " \
      "the log-probabilities:sum[m]+, the best words:i32[r]+") \
    X(RMSNORM_BACK, "rmsnorm_back", "x:float[t,n], the weight:same[n], dy:same|sum[t,n], dx:same|sum[t,n]!") /* alpha: eps; beta */ \
    /* spec: ql_attention_spec; the sequences have no parents */ \
    X(ATTENTION_BACK, "attention_back", "q:float[t,#0], k:same[t,#1], v:same[t,#1], y:same[t,#0], lse:sum[t,h], dy:same[t,#0], " \
      "dq:same[t,#0]+, dk:same[t,#1]+, dv:same[t,#1]+, @t") \
    X(SWIGLU_BACK, "swiglu_back", "the gate:float[t,n], the other factor:same[t,n], dy:same|sum[t,n], " \
      "its gradient:same[t,n]+, that of the other:same[t,n]+") \
    /* losses[t] = -log softmax(logits[t, :])[targets[t]], each target a word of the vocabulary; the gradient of alpha times their sum */ \
    X(LOSS, "loss", "the logits:real[t,V], the targets:i32[t], the losses:same[t]!, the gradient:float[t,V]?!~") \
    X(ADAMW, "adamw", "p:real[m,n]!, g:same[m,n], m:same[m,n]!, v:same[m,n]!, factors of rows:same[m]?, " \
      "factors of columns:same[n]?") /* spec: ql_adamw_spec, without its tensors */ \
    /* key: as for RANDOM at spec; alpha: p; n[0]: first */ \
    X(DROPOUT, "dropout", "x:float[t,n], y:same[t,n]!~") \
    /* Packed codes in the bits of the grid: columns * bits fit into the words. */ \
    X(DECODE, "decode", "codes:i32[m,p], scales:grid[m,#0], zeros:grid[m,#0]?, levels:grid[#1]?, the group index:i32[n]?, " \
      "W:float[m,n]!") \
    /* Over seqs->kept, which gains k and v before any query reads it. A row's bits follow from its path alone. spec: ql_attention_spec */ \
    X(ATTENTION_KEPT, "attention", "q:float[t,#0], k:same[t,#1], v:same[t,#1], the kept keys:same[P,#1]!, " \
      "the kept values:same[P,#1]!, y:same[t,#0]+, @t") \
    /* y = x W + beta y, beta 0 or 1, for a weight that rests turned, [in, out]: as numbers of another dtype than x or, u8 with scales, as \
     * codes that decode as a ql_qlinear's (grid->group inputs a group). A row of y does not depend on the other rows of x. */ \
    X(RESTING, "product with a resting weight", "x:float[t,K], the weight:float|u8[K,n], scales:f32[#0,n]?, zeros:f32[#0,n]?, " \
      "levels:f32[#1]?, the group index:i32[K]?, y:same|sum[t,n]!")
/* clang-format on */

typedef enum ql_op_code {
    QL_OP_NONE,
#define QL_OP_ENUM(code, name, operands) QL_OP_##code,
    QL_OP_LIST(QL_OP_ENUM)
#undef QL_OP_ENUM
        QL_OP_CODES, /* of this header */
} ql_op_code;

#define QL_OPERANDS 10

typedef struct ql_op {
    ql_op_code code;
    const ql_tensor *t[QL_OPERANDS]; /* in the order of the rule; NULL: absent */
    double alpha, beta;
    int64_t n[2];
    const ql_seqs *seqs;
    const ql_grid *grid;
    const void *spec;
    void *result; /* on the host; the operation waits for it */
} ql_op;

/* What a backend has for one operation. */
typedef struct ql_op_row {
    ql_op_code code;
    ql_status (*run)(ql_ctx *cx, void *dev, const ql_op *op);
    /* About the bytes that it asks of ql_scratch, for plans; NULL: none. What libraries take is left out with dev NULL. */
    size_t (*scratch)(void *dev, const ql_op *op);
    /* UNSUPPORTED, and why, where it can't be run on these operands although the rule allows them; asked by plans too, whose tensors have
     * no contents. NULL: it always can. */
    ql_status (*supports)(ql_ctx *cx, const ql_op *op);
} ql_op_row;

/* A row without scratch, for whatever operands. */
/* clang-format off */
#define QL_OP_ROW(op, run) {QL_OP_##op, run, NULL, NULL}
#define QL_OP_ROWS_END {QL_OP_NONE, NULL, NULL, NULL}
/* clang-format on */

/* --- devices ----------------------------------------------------------------------------------------------------------- */

typedef struct ql_device_options {
    int index;        /* cuda:N */
    int threads;      /* host threads to use, >= 1 */
    bool sync;        /* wait after every operation, so that an error names its own */
    ql_dtype compute; /* of the forward's activations and weights; NONE: the device's own choice */
} ql_device_options;

typedef struct ql_device_info {
    char name[160];         /* processor, libraries, kernels: what decides bits, so no number of threads */
    ql_dtype compute_dtype; /* of the forward's activations and weights */
    bool host_memory;       /* pointers can be read on the host: mapping a contiguous tensor costs nothing */
    bool paged; /* with host_memory: what `alloc` gives begins and ends on pages, so that a tensor can be protected */
    size_t memory;   /* bytes, 0 when unknown */
    size_t reserved; /* of them, what the backend's libraries hold while it is open */
} ql_device_info;

typedef struct ql_backend {
    size_t size;        /* sizeof(ql_backend), as QL_TABLE sets it */
    const char *device; /* "cpu", "cuda": what `device:` says */
    ql_status (*open)(ql_ctx *cx, const ql_device_options *opt, void **dev);
    void (*close)(void *dev);
    /* With dev NULL what holds for such a device wherever it is, for plans that are made elsewhere. */
    ql_status (*info)(ql_ctx *cx, void *dev, ql_device_info *out);

    /* What it has: lists of rows, each ending with QL_OP_ROWS_END; the last list is NULL. */
    const ql_op_row *const *ops;

    /* memory; alloc: NULL when there is none, without an error text; upload has read `host` when it returns */
    void *(*alloc)(void *dev, size_t bytes);
    void (*free)(void *dev, void *ptr, size_t bytes);
    ql_status (*upload)(ql_ctx *cx, void *dev, const void *host, void *ptr, size_t bytes);
    ql_status (*download)(ql_ctx *cx, void *dev, const void *ptr, void *host, size_t bytes);
    ql_status (*sync)(ql_ctx *cx, void *dev);

    /* Pinned memory of the host, NULL as for alloc, and copies from and to it that are queued like operations. Free: once they are
     * behind everything that is queued. */
    void *(*host_alloc)(void *dev, size_t bytes);
    void (*host_free)(void *dev, void *ptr, size_t bytes);
    ql_status (*park)(ql_ctx *cx, void *dev, const void *ptr, void *host, size_t bytes);
    ql_status (*unpark)(ql_ctx *cx, void *dev, const void *host, void *ptr, size_t bytes);
    /* An upload beside the operations: `host` stays readable and `ptr` alone until `arrive`, which waits for all of them. */
    ql_status (*prefetch)(ql_ctx *cx, void *dev, const void *host, void *ptr, size_t bytes);
    ql_status (*arrive)(ql_ctx *cx, void *dev);
} ql_backend;

#ifdef __cplusplus
}
#endif

#endif
