/* A device on which nothing happens but the counting of time and memory. */
#include "rehearsal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* Times of operations by their own count, in those of a product: what bench-kernels finds on a processor. */
#define ELEMENT 50      /* one element read and written: memory, not arithmetic */
#define FACTORIZATION 2 /* potrf, trtri: half of a product's speed */
#define EIGEN 12        /* syevd of order n: 12 n^3 */
#define SWEEP 1.2
#define DOUBLE 2 /* anything in double */

#define TIMED 1024 /* side of the product that is timed */
#define REPEATS 3

typedef struct rehearsal {
    ql_backend backend; /* under the real one's name */
    const ql_device *real, *self;
    double rate, seconds;
    int64_t dots;
    uintptr_t next; /* where the next buffer would lie: nobody goes there */
} rehearsal;

static ql_status
spend(void *dev, double operations)
{
    rehearsal *r = dev;

    r->seconds += operations / r->rate;
    return QL_OK;
}

static ql_status
touch(void *dev, const ql_tensor *t)
{
    return spend(dev, ELEMENT * (double)ql_count(t));
}

static double
precision(const ql_tensor *t)
{
    return ql_dtype_of(t) == QL_F64 ? DOUBLE : 1;
}

static double
cube(const ql_tensor *a)
{
    return pow((double)ql_dim(a, 0), 3) * precision(a);
}

/* The scratch that the real device's operation would take. */
static ql_status
work(ql_ctx *cx, void *dev, ql_worker op, const ql_tensor *t)
{
    const ql_device *real = ((const rehearsal *)dev)->real;
    const size_t bytes = real->backend->scratch(real->dev, op, ql_dim(t, 0), ql_dim(t, 1), ql_dtype_of(t));
    void *nobody_goes_there;

    return bytes ? ql_scratch(cx, bytes, &nobody_goes_there) : QL_OK;
}

/* --- memory --- */

static void
rehearsed_close(void *dev)
{
    free(dev);
}

/* Memory of the host, of which there is always enough. */
static void *
rehearsed_host_alloc(void *dev, size_t bytes)
{
    rehearsal *r = dev;
    const uintptr_t here = r->next;

    r->next += (bytes + 63) / 64 * 64;
    return (void *)here; /* NOLINT(performance-no-int-to-ptr) */
}

static void *
rehearsed_alloc(void *dev, size_t bytes)
{
    const ql_device *d = ((const rehearsal *)dev)->self;
    const size_t room = ql_device_room(d);

    return room && (bytes > room || d->used > room - bytes) ? NULL : rehearsed_host_alloc(dev, bytes);
}

static void
rehearsed_free(void *dev, void *ptr, size_t bytes)
{
    (void)dev;
    (void)ptr;
    (void)bytes;
}

static ql_status
rehearsed_upload(ql_ctx *cx, void *dev, const void *host, void *ptr, size_t bytes)
{
    (void)cx;
    (void)host;
    (void)ptr;
    return spend(dev, ELEMENT * (double)bytes / 4);
}

/* Bytes that are positive and finite in every floating-point type. */
static ql_status
rehearsed_download(ql_ctx *cx, void *dev, const void *ptr, void *host, size_t bytes)
{
    (void)cx;
    (void)ptr;
    memset(host, 0x3f, bytes);
    return spend(dev, ELEMENT * (double)bytes / 4);
}

static ql_status
rehearsed_sync(ql_ctx *cx, void *dev)
{
    (void)cx;
    (void)dev;
    return QL_OK;
}

static ql_status
rehearsed_park(ql_ctx *cx, void *dev, const void *from, void *to, size_t bytes)
{
    (void)cx;
    (void)from;
    (void)to;
    return spend(dev, ELEMENT * (double)bytes / 4);
}

/* --- operations --- */

static ql_status
rehearsed_copy(ql_ctx *cx, void *dev, const ql_tensor *src, ql_tensor *dst)
{
    (void)cx;
    (void)src;
    return touch(dev, dst);
}

static ql_status
rehearsed_fill(ql_ctx *cx, void *dev, ql_tensor *t, double value)
{
    (void)cx;
    (void)value;
    return touch(dev, t);
}

static ql_status
rehearsed_gather(ql_ctx *cx, void *dev, const ql_tensor *src, const ql_tensor *rows, const ql_tensor *cols,
                 ql_tensor *out)
{
    (void)cx;
    (void)src;
    (void)rows;
    (void)cols;
    return touch(dev, out);
}

static ql_status
rehearsed_random(ql_ctx *cx, void *dev, const uint32_t key[2], bool normal, ql_tensor *t)
{
    (void)cx;
    (void)key;
    (void)normal;
    return touch(dev, t);
}

static ql_status
rehearsed_vector(ql_ctx *cx, void *dev, const ql_tensor *v, ql_tensor *t)
{
    (void)cx;
    (void)v;
    return touch(dev, t);
}

static ql_status
rehearsed_gemm(ql_ctx *cx, void *dev, ql_trans op, double alpha, const ql_tensor *a, const ql_tensor *b, double beta,
               ql_tensor *c)
{
    const double k = (double)ql_dim(a, op == QL_TN ? 0 : 1);

    (void)cx;
    (void)alpha;
    (void)b;
    (void)beta;
    return spend(dev, 2 * (double)ql_count(c) * k * precision(c));
}

static ql_status
rehearsed_gram(ql_ctx *cx, void *dev, const ql_tensor *x, ql_tensor *sum, ql_tensor *comp)
{
    (void)comp;
    QL_TRY(cx, work(cx, dev, QL_WORK_GRAM, x));
    return spend(dev, (double)ql_count(sum) * (double)ql_dim(x, 0)); /* half of a product: it is symmetric */
}

static ql_status
rehearsed_potrf(ql_ctx *cx, void *dev, ql_tensor *a, bool *ok)
{
    *ok = true;
    QL_TRY(cx, work(cx, dev, QL_WORK_POTRF, a));
    return spend(dev, FACTORIZATION * cube(a) / 3);
}

static ql_status
rehearsed_trtri(ql_ctx *cx, void *dev, ql_tensor *a)
{
    QL_TRY(cx, work(cx, dev, QL_WORK_TRTRI, a));
    return spend(dev, FACTORIZATION * cube(a) / 3);
}

static ql_status
rehearsed_syevd(ql_ctx *cx, void *dev, ql_tensor *a, ql_tensor *w)
{
    (void)w;
    QL_TRY(cx, work(cx, dev, QL_WORK_SYEVD, a));
    return spend(dev, EIGEN * cube(a));
}

static ql_status
rehearsed_orth(ql_ctx *cx, void *dev, ql_tensor *y)
{
    QL_TRY(cx, work(cx, dev, QL_WORK_ORTH, y));
    return spend(dev, 4 * DOUBLE * (double)ql_count(y) * (double)ql_dim(y, 1));
}

static ql_status
rehearsed_axpby(ql_ctx *cx, void *dev, double alpha, const ql_tensor *x, double beta, ql_tensor *y)
{
    (void)cx;
    (void)alpha;
    (void)x;
    (void)beta;
    return touch(dev, y);
}

static ql_status
rehearsed_dot(ql_ctx *cx, void *dev, const ql_tensor *a, const ql_tensor *b, double *out)
{
    rehearsal *r = dev;

    (void)cx;
    (void)b;
    *out = 1 - 0.05 * (double)(r->dots++ % 10); /* an error that falls keeps a method at work for all of its rounds */
    return touch(dev, a);
}

static ql_status
rehearsed_nonfinite(ql_ctx *cx, void *dev, const ql_tensor *t, int64_t *first)
{
    (void)cx;
    *first = -1;
    return touch(dev, t);
}

static ql_status
rehearsed_rmsnorm(ql_ctx *cx, void *dev, const ql_tensor *x, const ql_tensor *w, double eps, ql_tensor *y)
{
    (void)cx;
    (void)x;
    (void)w;
    (void)eps;
    return touch(dev, y);
}

static ql_status
rehearsed_rope(ql_ctx *cx, void *dev, const ql_seqs *seqs, const ql_rope_spec *spec, ql_tensor *x)
{
    (void)cx;
    (void)seqs;
    (void)spec;
    return touch(dev, x);
}

static ql_status
rehearsed_attention(ql_ctx *cx, void *dev, const ql_seqs *seqs, const ql_attention_spec *spec,
                    const ql_tensor *const qkv[3], ql_tensor *y)
{
    double pairs = 0; /* two products over half of them, at half of a product's speed */

    (void)cx;
    (void)qkv;
    (void)y;
    for (int64_t s = 0; s < seqs->count; s++)
        pairs += pow((double)(seqs->offsets[s + 1] - seqs->offsets[s]), 2);
    return spend(dev, 4 * pairs * (double)(spec->heads * spec->head_dim));
}

static ql_status
rehearsed_pair(ql_ctx *cx, void *dev, const ql_tensor *a, const ql_tensor *b, ql_tensor *y)
{
    (void)cx;
    (void)a;
    (void)b;
    return touch(dev, y);
}

static ql_status
rehearsed_nll(ql_ctx *cx, void *dev, const ql_tensor *x, const ql_tensor *head, const ql_tensor *targets,
              ql_tensor *out)
{
    (void)targets;
    (void)out;
    QL_TRY(cx, work(cx, dev, QL_WORK_NLL, x));
    return spend(dev, 2 * (double)ql_count(head) * (double)ql_dim(x, 0));
}

static ql_status
rehearsed_kl(ql_ctx *cx, void *dev, const ql_tensor *ref, const ql_tensor *x, const ql_tensor *head,
             ql_tensor *const out[2])
{
    (void)ref;
    (void)out;
    QL_TRY(cx, work(cx, dev, QL_WORK_KL, x));
    return spend(dev, 4 * (double)ql_count(head) * (double)ql_dim(x, 0));
}

static ql_status
rehearsed_abs_stats(ql_ctx *cx, void *dev, const ql_seqs *seqs, const ql_tensor *x, ql_tensor *abs_sum,
                    ql_tensor *abs_max)
{
    (void)seqs;
    (void)abs_sum;
    (void)abs_max;
    QL_TRY(cx, work(cx, dev, QL_WORK_ABS_STATS, x));
    return touch(dev, x);
}

static ql_status
rehearsed_group_minmax(ql_ctx *cx, void *dev, const ql_tensor *w, const ql_grid *grid, ql_tensor *scales,
                       ql_tensor *zeros)
{
    (void)cx;
    (void)grid;
    (void)scales;
    (void)zeros;
    return touch(dev, w);
}

static ql_status
rehearsed_group_encode(ql_ctx *cx, void *dev, const ql_tensor *w, ql_qlinear *out)
{
    (void)cx;
    (void)out;
    return touch(dev, w);
}

static ql_status
rehearsed_group_decode(ql_ctx *cx, void *dev, const ql_qlinear *q, ql_tensor *w)
{
    (void)cx;
    (void)q;
    return touch(dev, w);
}

static ql_status
rehearsed_pack(ql_ctx *cx, void *dev, const ql_tensor *codes, int bits, ql_tensor *out)
{
    (void)cx;
    (void)bits;
    (void)out;
    return touch(dev, codes);
}

static ql_status
rehearsed_feedback_sweep(ql_ctx *cx, void *dev, const ql_tensor *w, const ql_tensor *u, const ql_tensor *group_of,
                         bool fit, ql_qlinear *out)
{
    (void)group_of;
    (void)fit;
    out->loss = 1;
    QL_TRY(cx, work(cx, dev, QL_WORK_SWEEP, w));
    return spend(dev, SWEEP * (double)ql_count(w) * (double)ql_dim(u, 0) * precision(w));
}

static const ql_backend rehearsed = {
    .close = rehearsed_close,
    .alloc = rehearsed_alloc,
    .free = rehearsed_free,
    .upload = rehearsed_upload,
    .download = rehearsed_download,
    .sync = rehearsed_sync,
    .host_alloc = rehearsed_host_alloc,
    .host_free = rehearsed_free,
    .park = rehearsed_park,
    .unpark = rehearsed_park,
    .prefetch = rehearsed_upload,
    .arrive = rehearsed_sync,
    .copy = rehearsed_copy,
    .fill = rehearsed_fill,
    .gather = rehearsed_gather,
    .transpose = rehearsed_copy,
    .random = rehearsed_random,
    .diag = rehearsed_vector,
    .diag_set = rehearsed_vector,
    .gemm = rehearsed_gemm,
    .gram = rehearsed_gram,
    .potrf = rehearsed_potrf,
    .trtri = rehearsed_trtri,
    .syevd = rehearsed_syevd,
    .orth = rehearsed_orth,
    .axpby = rehearsed_axpby,
    .scale_cols = rehearsed_vector,
    .scale_rows = rehearsed_vector,
    .dot = rehearsed_dot,
    .nonfinite = rehearsed_nonfinite,
    .rmsnorm = rehearsed_rmsnorm,
    .rope = rehearsed_rope,
    .attention = rehearsed_attention,
    .swiglu = rehearsed_pair,
    .add = rehearsed_pair,
    .add_bias = rehearsed_vector,
    .nll = rehearsed_nll,
    .kl = rehearsed_kl,
    .abs_stats = rehearsed_abs_stats,
    .group_minmax = rehearsed_group_minmax,
    .group_encode = rehearsed_group_encode,
    .group_decode = rehearsed_group_decode,
    .pack = rehearsed_pack,
    .feedback_sweep = rehearsed_feedback_sweep,
};

/* --- the device --- */

ql_status
ql_rehearsal_rate(ql_ctx *cx, double *out)
{
    ql_tensor *a, *b, *c;
    double least = INFINITY;
    ql_scope scope;

    if (!cx->device->dev) {
        *out = INFINITY;
        return QL_OK;
    }
    ql_scope_open(cx, &scope);
    QL_TRY(cx, ql_zeros(cx, cx->device->info.compute_dtype, TIMED, TIMED, &a));
    QL_TRY(cx, ql_zeros(cx, cx->device->info.compute_dtype, TIMED, TIMED, &b));
    QL_TRY(cx, ql_zeros(cx, cx->device->info.compute_dtype, TIMED, TIMED, &c));
    for (int i = 0; i < REPEATS; i++) {
        const double start = ql_seconds();

        QL_TRY(cx, ql_gemm(cx, QL_NT, 1, a, b, 0, c));
        QL_TRY(cx, cx->device->backend->sync(cx, cx->device->dev));
        least = fmin(least, ql_seconds() - start);
    }
    ql_scope_close(cx, &scope);
    *out = 2 * pow(TIMED, 3) / fmax(least, 1e-9);
    return QL_OK;
}

ql_status
ql_rehearsal_open(ql_ctx *cx, const ql_device *real, double rate, ql_device **out)
{
    rehearsal *r = ql_heap(cx, 1, sizeof *r);
    ql_device *d = ql_heap(cx, 1, sizeof *d);
    ql_status st;

    if (!r || !d) {
        free(r);
        free(d);
        return QL_MEMORY;
    }
    *r = (rehearsal){.backend = rehearsed, .real = real, .self = d, .rate = rate, .next = 64};
    r->backend.device = real->backend->device;
    *d = (ql_device){.backend = &r->backend,
                     .dev = r,
                     .info = real->info,
                     .threads = real->threads,
                     .limit = real->limit,
                     .clock = &r->seconds};
    st = ql_device_reserve(cx, d);
    if (st == QL_OK)
        *out = d;
    else
        ql_device_close(d);
    return st;
}
