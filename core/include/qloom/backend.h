/* Device backends: the operations of ops.h on one kind of device. All that a backend includes.
 *
 * The host has checked every argument (dtypes, shapes, device, aliasing) before it calls, has made the outputs, and passes `dev`,
 * what `open` returned. Work is queued in order; only entries that return a host value, download and sync wait. Every entry of the
 * table must be there. Meanings are those of the functions of the same name in ops.h and tensor.h. [one thread per device] */
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

/* Operations whose scratch is worth planning for, and the matrix that says how much it is. */
typedef enum ql_worker {
    QL_WORK_GRAM,      /* x */
    QL_WORK_POTRF,     /* A */
    QL_WORK_TRTRI,     /* A */
    QL_WORK_SYEVD,     /* A */
    QL_WORK_ORTH,      /* y */
    QL_WORK_NLL,       /* x */
    QL_WORK_KL,        /* x */
    QL_WORK_ABS_STATS, /* x */
    QL_WORK_SWEEP,     /* w */
} ql_worker;

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
    size_t memory;          /* bytes, 0 when unknown */
    size_t reserved;        /* of them, what the backend's libraries hold while it is open */
} ql_device_info;

typedef struct ql_backend {
    const char *device; /* "cpu", "cuda": what `device:` says */
    ql_status (*open)(ql_ctx *cx, const ql_device_options *opt, void **dev);
    void (*close)(void *dev);
    /* With dev NULL what holds for such a device wherever it is, for plans that are made elsewhere. */
    ql_status (*info)(ql_ctx *cx, void *dev, ql_device_info *out);
    /* About the bytes that an operation on a matrix asks of ql_scratch; what libraries take is left out with dev NULL. */
    size_t (*scratch)(void *dev, ql_worker op, int64_t rows, int64_t cols, ql_dtype dtype);

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

    ql_status (*copy)(ql_ctx *cx, void *dev, const ql_tensor *src, ql_tensor *dst);
    ql_status (*fill)(ql_ctx *cx, void *dev, ql_tensor *t, double value);
    ql_status (*gather)(ql_ctx *cx, void *dev, const ql_tensor *src, const ql_tensor *rows, const ql_tensor *cols,
                        ql_tensor *out);
    ql_status (*transpose)(ql_ctx *cx, void *dev, const ql_tensor *src, ql_tensor *out);
    /* t[i, j] from Philox 4x32-10 with counter (i, j) and `key`: words (a, b) of the block give the normal number
     * sqrt(-2 ln((a + 1) 2^-32)) cos(2 pi b 2^-32), or the uniform one a 2^-32 - 1/2 */
    ql_status (*random)(ql_ctx *cx, void *dev, const uint32_t key[2], bool normal, ql_tensor *t);
    ql_status (*diag)(ql_ctx *cx, void *dev, const ql_tensor *a, ql_tensor *d);
    ql_status (*diag_set)(ql_ctx *cx, void *dev, const ql_tensor *d, ql_tensor *a);

    ql_status (*gemm)(ql_ctx *cx, void *dev, ql_trans op, double alpha, const ql_tensor *a, const ql_tensor *b,
                      double beta, ql_tensor *c);
    ql_status (*gram)(ql_ctx *cx, void *dev, const ql_tensor *x, ql_tensor *sum, ql_tensor *comp);
    ql_status (*potrf)(ql_ctx *cx, void *dev, ql_tensor *a, bool *ok);
    ql_status (*trtri)(ql_ctx *cx, void *dev, ql_tensor *a);
    ql_status (*syevd)(ql_ctx *cx, void *dev, ql_tensor *a, ql_tensor *w);
    ql_status (*orth)(ql_ctx *cx, void *dev, ql_tensor *y);
    ql_status (*axpby)(ql_ctx *cx, void *dev, double alpha, const ql_tensor *x, double beta, ql_tensor *y);
    ql_status (*scale_cols)(ql_ctx *cx, void *dev, const ql_tensor *v, ql_tensor *t);
    ql_status (*scale_rows)(ql_ctx *cx, void *dev, const ql_tensor *v, ql_tensor *t);
    ql_status (*dot)(ql_ctx *cx, void *dev, const ql_tensor *a, const ql_tensor *b, double *out);
    ql_status (*nonfinite)(ql_ctx *cx, void *dev, const ql_tensor *t, int64_t *first);

    ql_status (*rmsnorm)(ql_ctx *cx, void *dev, const ql_tensor *x, const ql_tensor *w, double eps, ql_tensor *y);
    ql_status (*rope)(ql_ctx *cx, void *dev, const ql_seqs *seqs, const ql_rope_spec *spec, ql_tensor *x);
    ql_status (*attention)(ql_ctx *cx, void *dev, const ql_seqs *seqs, const ql_attention_spec *spec,
                           const ql_tensor *const qkv[3], ql_tensor *y);
    ql_status (*swiglu)(ql_ctx *cx, void *dev, const ql_tensor *gate, const ql_tensor *up, ql_tensor *y);
    ql_status (*add)(ql_ctx *cx, void *dev, const ql_tensor *a, const ql_tensor *b, ql_tensor *y);
    ql_status (*add_bias)(ql_ctx *cx, void *dev, const ql_tensor *bias, ql_tensor *y);
    ql_status (*nll)(ql_ctx *cx, void *dev, const ql_tensor *x, const ql_tensor *head, const ql_tensor *targets,
                     ql_tensor *out);
    ql_status (*kl)(ql_ctx *cx, void *dev, const ql_tensor *ref, const ql_tensor *x, const ql_tensor *head,
                    ql_tensor *const out[2]); /* the divergence f32 and the agreement u8, both [T] */
    ql_status (*abs_stats)(ql_ctx *cx, void *dev, const ql_seqs *seqs, const ql_tensor *x, ql_tensor *abs_sum,
                           ql_tensor *abs_max);

    /* NUMERIC texts of group_minmax name row and column of the weight that is not finite, or of the group and its scale. */
    ql_status (*group_minmax)(ql_ctx *cx, void *dev, const ql_tensor *w, const ql_grid *grid, ql_tensor *scales,
                              ql_tensor *zeros);
    ql_status (*group_encode)(ql_ctx *cx, void *dev, const ql_tensor *w, ql_qlinear *out);
    ql_status (*group_decode)(ql_ctx *cx, void *dev, const ql_qlinear *q, ql_tensor *w);
    ql_status (*pack)(ql_ctx *cx, void *dev, const ql_tensor *codes, int bits, ql_tensor *out);
    ql_status (*feedback_sweep)(ql_ctx *cx, void *dev, const ql_tensor *w, const ql_tensor *u,
                                const ql_tensor *group_of, bool fit,
                                ql_qlinear *out); /* fit: scales are to be found, else given */
} ql_backend;

#ifdef __cplusplus
}
#endif

#endif
