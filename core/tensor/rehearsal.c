/* A device on which nothing happens but the counting of time and memory. */
#include "rehearsal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "op.h"

/* Times of operations by their own count, in those of a product: what bench-kernels finds on a processor. */
#define ELEMENT 50      /* one element read and written: memory, not arithmetic */
#define FACTORIZATION 2 /* potrf, trtri: half of a product's speed */
#define EIGEN 12        /* syevd of order n: 12 n^3 */
#define SWEEP 1.2
#define DOUBLE 2 /* anything in double */

#define TIMED 1024 /* side of the product that is timed */
#define REPEATS 3

typedef struct rehearsal {
    ql_backend backend;              /* under the real one's name */
    ql_op_row rows[QL_OP_CODES + 1]; /* of what the real one has */
    const ql_op_row *lists[2];
    const ql_device *real, *self;
    double rate, seconds;
    int64_t dots;
    uintptr_t next; /* where the next buffer would lie, which nothing reads */
} rehearsal;

static ql_status
spend(void *dev, double operations)
{
    rehearsal *r = dev;

    r->seconds += operations / r->rate;
    return QL_OK;
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

static double
rows(const ql_tensor *t)
{
    return (double)ql_dim(t, 0);
}

static double
elements(const ql_tensor *t)
{
    return (double)ql_count(t);
}

static double
precision(const ql_tensor *t)
{
    return ql_dtype_of(t) == QL_F64 ? DOUBLE : 1;
}

static double
cube(const ql_tensor *a)
{
    return pow(rows(a), 3) * precision(a);
}

/* What is made is smaller than what it is taken from. */
static double
taken(const ql_op *op)
{
    return ELEMENT * elements(op->t[op->code == QL_OP_GATHER ? 3 : 1]);
}

static double
decoded(const ql_op *op)
{
    return ELEMENT * elements(op->t[5]);
}

static double
product(const ql_op *op)
{
    const double k = (double)ql_dim(op->t[0], op->code == QL_OP_GEMM_TN ? 0 : 1);

    return 2 * elements(op->t[2]) * k * precision(op->t[2]);
}

static double
symmetric_product(const ql_op *op)
{
    return elements(op->t[1]) * rows(op->t[0]);
}

static double
factorization(const ql_op *op)
{
    return FACTORIZATION * cube(op->t[0]) / 3;
}

static double
eigenproblem(const ql_op *op)
{
    return EIGEN * cube(op->t[0]);
}

static double
orthogonalization(const ql_op *op)
{
    return 4 * DOUBLE * elements(op->t[0]) * (double)ql_dim(op->t[0], 1);
}

/* Two products over half of all pairs of tokens, and over those with tokens of ancestors, at half of a product's speed. */
static double
attention(const ql_op *op)
{
    const ql_seqs *seqs = op->seqs;
    double pairs = 0;

    for (int64_t s = 0; s < seqs->count; s++) {
        const double tokens = (double)(seqs->offsets[s + 1] - seqs->offsets[s]),
                     before = (seqs->parent || seqs->kept) && seqs->first ? (double)seqs->first[s] : 0;

        pairs += tokens * (tokens + 2 * before);
    }
    return (op->code == QL_OP_ATTENTION_BACK ? 10 : 4) * pairs * (double)op->n[0]; /* back: five products */
}

/* For few rows it is the weight's way from memory that counts. */
static double
resting(const ql_op *op)
{
    const double weights = elements(op->t[1]);

    return fmax(2 * weights * rows(op->t[0]),
                ELEMENT / 4.0 * weights * (double)ql_dtype_size(ql_dtype_of(op->t[1])) / 4);
}

static double
logits(const ql_op *op)
{
    return 2 * (op->code == QL_OP_KL ? 2 : 1) * elements(op->t[op->code == QL_OP_KL ? 2 : 1]) * rows(op->t[0]);
}

static double
sweep(const ql_op *op)
{
    return SWEEP * elements(op->t[0]) * rows(op->t[1]) * precision(op->t[0]);
}

/* What an operation costs, in operations of a product; NULL: it touches each element of its first operand. */
static double (*const costs[QL_OP_CODES])(const ql_op *op) = {
    [QL_OP_GATHER] = taken,
    [QL_OP_DIAG] = taken,
    [QL_OP_GEMM_NN] = product,
    [QL_OP_GEMM_NT] = product,
    [QL_OP_GEMM_TN] = product,
    [QL_OP_GRAM] = symmetric_product,
    [QL_OP_POTRF] = factorization,
    [QL_OP_TRTRI] = factorization,
    [QL_OP_SYEVD] = eigenproblem,
    [QL_OP_ORTH] = orthogonalization,
    [QL_OP_ATTENTION] = attention,
    [QL_OP_NLL] = logits,
    [QL_OP_KL] = logits,
    [QL_OP_LOGPROB] = logits,
    [QL_OP_SWEEP_FIT] = sweep,
    [QL_OP_SWEEP_GIVEN] = sweep,
    [QL_OP_ATTENTION_BACK] = attention,
    [QL_OP_DECODE] = decoded,
    [QL_OP_RESTING] = resting,
    [QL_OP_ATTENTION_KEPT] = attention,
};

/* Numbers that the host waits for. An error that falls keeps a method at work for all of its rounds. */
static void
invent(rehearsal *r, const ql_op *op)
{
    if (op->code == QL_OP_DOT)
        *(double *)op->result = 1 - 0.05 * (double)(r->dots++ % 10);
    if (op->code == QL_OP_SWEEP_FIT || op->code == QL_OP_SWEEP_GIVEN)
        *(double *)op->result = 1;
}

/* Any operation: the scratch that the real device's would take, its time, and its result. */
static ql_status
rehearse(ql_ctx *cx, void *dev, const ql_op *op)
{
    rehearsal *r = dev;
    const ql_op_row *real = r->real->ops[op->code];
    const size_t bytes = real->scratch ? real->scratch(r->real->dev, op) : 0;
    void *unused;

    if (bytes)
        QL_TRY(cx, ql_scratch(cx, bytes, &unused));
    invent(r, op);
    return spend(dev, costs[op->code] ? costs[op->code](op) : ELEMENT * elements(op->t[0]));
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

void
ql_rehearsal_spend(ql_device *d, double seconds)
{
    rehearsal *r = d->dev;

    r->seconds += seconds;
}

/* Rows for what the real device has. */
static void
bind(rehearsal *r)
{
    ql_op_row *row = r->rows;

    for (int code = 0; code < QL_OP_CODES; code++)
        if (r->real->ops[code])
            *row++ = (ql_op_row){.code = (ql_op_code)code, .run = rehearse, .supports = r->real->ops[code]->supports};
    r->lists[0] = r->rows;
    r->backend.ops = r->lists;
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
    bind(r);
    ql_device_bind(d);
    st = ql_device_reserve(cx, d);
    if (st == QL_OK)
        *out = d;
    else
        ql_device_close(d);
    return st;
}
