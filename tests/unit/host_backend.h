/* A device for unit tests, in plain C: sums in double, element by element through strides. It can pretend that the host can't read
 * its memory, run out of memory, and fail when it is waited for. Operations of blocks and groups are not there. */
#ifndef QLOOM_TESTS_HOST_BACKEND_H
#define QLOOM_TESTS_HOST_BACKEND_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <core/device/device.h>

typedef struct host_settings {
    bool hidden;        /* memory can't be read on the host */
    size_t room;        /* bytes before alloc says no; 0: no end */
    const char *broken; /* what sync fails with; NULL: it doesn't */
    int syncs, potrfs;  /* counted */
    size_t used;        /* bytes not freed */
} host_settings;

static host_settings host; /* of the one device of the test's process */

/* --- numbers ----------------------------------------------------------------------------------------------------------- */

static inline double
host_from_half(uint16_t h)
{
    double v = (h >> 10 & 31) == 31 ? (h & 1023 ? (double)NAN : (double)INFINITY)
               : h >> 10 & 31       ? ldexp(1024 + (h & 1023), (h >> 10 & 31) - 25)
                                    : ldexp(h & 1023, -24);

    return h >> 15 ? -v : v;
}

static inline uint16_t
host_to_half(double v)
{
    uint16_t sign = signbit(v) ? 0x8000 : 0;
    double a = fabs(v), m;
    int e;

    if (isnan(v))
        return 0x7e00;
    if (a >= 65520.0)
        return sign | 0x7c00;
    if (a < 0x1p-14) /* subnormal: a whole number of 2^-24, where 1024 of them carry into the exponent */
        return sign | (uint16_t)rint(ldexp(a, 24));
    m = rint(ldexp(frexp(a, &e), 11));
    return sign | (uint16_t)(((e + 13) << 10) + ((int)m - 1024) + 1024);
}

static inline uint16_t
host_to_bf16(double v)
{
    float f = (float)v;
    uint32_t bits;

    memcpy(&bits, &f, sizeof bits);
    return isnan(v) ? 0x7fc0 : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline double
host_get(ql_dtype d, const void *p)
{
    uint32_t bits;
    float f;

    switch (d) {
    case QL_F32:
        return (double)*(const float *)p;
    case QL_F64:
        return *(const double *)p;
    case QL_F16:
        return host_from_half(*(const uint16_t *)p);
    case QL_BF16:
        bits = (uint32_t) * (const uint16_t *)p << 16;
        memcpy(&f, &bits, sizeof f);
        return (double)f;
    case QL_I32:
        return *(const int32_t *)p;
    case QL_I64:
        return (double)*(const int64_t *)p;
    default:
        return *(const uint8_t *)p;
    }
}

/* The nearest whole number of a range; of no number at all, its least. */
static inline double
host_whole(double v, double least, double most)
{
    v = rint(v);
    return v >= most ? most : v > least ? v : least;
}

static inline void
host_put(ql_dtype d, void *p, double v)
{
    switch (d) {
    case QL_F32:
        *(float *)p = (float)v;
        break;
    case QL_F64:
        *(double *)p = v;
        break;
    case QL_F16:
        *(uint16_t *)p = host_to_half(v);
        break;
    case QL_BF16:
        *(uint16_t *)p = host_to_bf16(v);
        break;
    case QL_I32:
        *(int32_t *)p = (int32_t)host_whole(v, INT32_MIN, INT32_MAX);
        break;
    case QL_I64:
        *(int64_t *)p = (int64_t)host_whole(v, -0x1p63, 0x1.fffffffffffffp62);
        break;
    default:
        *(uint8_t *)p = (uint8_t)host_whole(v, 0, UINT8_MAX);
    }
}

/* Address of the element with row-major index `i`. */
static inline char *
host_at(const ql_tensor *t, int64_t i)
{
    int64_t at = 0;

    for (int k = ql_ndim(t) - 1; k >= 0; k--) {
        at += i % ql_dim(t, k) * ql_stride(t, k);
        i /= ql_dim(t, k);
    }
    return (char *)ql_ptr(t) + (size_t)at * ql_dtype_size(ql_dtype_of(t));
}

static inline double
host_item(const ql_tensor *t, int64_t i)
{
    return host_get(ql_dtype_of(t), host_at(t, i));
}

static inline void
host_set(const ql_tensor *t, int64_t i, double v)
{
    host_put(ql_dtype_of(t), host_at(t, i), v);
}

/* Element of a matrix. */
static inline double
host_2d(const ql_tensor *t, int64_t i, int64_t j)
{
    return host_item(t, i * ql_dim(t, 1) + j);
}

/* --- the device ---------------------------------------------------------------------------------------------------------- */

static ql_status
host_open(ql_ctx *cx, const ql_device_options *opt, void **dev)
{
    (void)cx, (void)opt;
    *dev = &host;
    return QL_OK;
}

static void
host_close(void *dev)
{
    (void)dev;
}

static ql_status
host_info(ql_ctx *cx, void *dev, ql_device_info *out)
{
    (void)cx, (void)dev;
    *out =
        (ql_device_info){.name = "plain C", .compute_dtype = QL_F32, .host_memory = !host.hidden, .memory = host.room};
    return QL_OK;
}

static void *
host_alloc(void *dev, size_t bytes)
{
    void *p = host.room && bytes > host.room - host.used ? NULL : malloc(bytes);

    (void)dev;
    host.used += p ? bytes : 0;
    return p;
}

static void
host_free(void *dev, void *ptr, size_t bytes)
{
    (void)dev;
    host.used -= bytes;
    free(ptr);
}

static ql_status
host_upload(ql_ctx *cx, void *dev, const void *from, void *ptr, size_t bytes)
{
    (void)cx, (void)dev;
    memcpy(ptr, from, bytes);
    return QL_OK;
}

static ql_status
host_sync(ql_ctx *cx, void *dev)
{
    (void)dev;
    host.syncs++;
    return host.broken ? QL_FAIL(cx, QL_DEVICE, "%s", host.broken) : QL_OK;
}

static ql_status
host_download(ql_ctx *cx, void *dev, const void *ptr, void *to, size_t bytes)
{
    QL_TRY(cx, host_sync(cx, dev));
    memcpy(to, ptr, bytes);
    return QL_OK;
}

static ql_status
host_copy(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *src = op->t[0], *dst = op->t[1];
    (void)cx, (void)dev;
    for (int64_t i = 0; i < ql_count(src); i++)
        host_set(dst, i, host_item(src, i));
    return QL_OK;
}

static ql_status
host_fill(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *t = op->t[0];
    (void)cx, (void)dev;
    for (int64_t i = 0; i < ql_count(t); i++)
        host_set(t, i, op->alpha);
    return QL_OK;
}

static ql_status
host_gather(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *src = op->t[0], *rows = op->t[1], *cols = op->t[2], *out = op->t[3];
    int64_t n = ql_dim(out, 1);

    (void)cx, (void)dev;
    for (int64_t i = 0; i < ql_dim(out, 0); i++)
        for (int64_t j = 0; j < n; j++)
            host_set(out, i * n + j,
                     host_2d(src, rows ? (int64_t)host_item(rows, i) : i, cols ? (int64_t)host_item(cols, j) : j));
    return QL_OK;
}

static ql_status
host_diag(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *a = op->t[0], *d = op->t[1];
    (void)cx, (void)dev;
    for (int64_t i = 0; i < ql_dim(a, 0); i++)
        host_set(d, i, host_2d(a, i, i));
    return QL_OK;
}

static ql_status
host_diag_set(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *a = op->t[0], *d = op->t[1];
    (void)cx, (void)dev;
    for (int64_t i = 0; i < ql_dim(a, 0); i++)
        host_set(a, i * ql_dim(a, 0) + i, host_item(d, i));
    return QL_OK;
}

/* C = alpha A B + beta C; element p, i of A^T and j, p of B^T where they are transposed. */
static void
host_product(const ql_op *op, bool ta, bool tb, const ql_tensor *const abc[3])
{
    const ql_tensor *a = abc[0], *b = abc[1], *c = abc[2];
    int64_t k = ql_dim(a, ta ? 0 : 1), n = ql_dim(c, 1);

    for (int64_t i = 0; i < ql_dim(c, 0); i++) {
        for (int64_t j = 0; j < n; j++) {
            double sum = 0.0;

            for (int64_t p = 0; p < k; p++)
                sum += (ta ? host_2d(a, p, i) : host_2d(a, i, p)) * (tb ? host_2d(b, j, p) : host_2d(b, p, j));
            host_set(c, i * n + j, op->alpha * sum + (op->beta == 0.0 ? 0.0 : op->beta * host_2d(c, i, j)));
        }
    }
}

static ql_status
host_gemm(ql_ctx *cx, void *dev, const ql_op *op)
{
    (void)cx, (void)dev;
    host_product(op, op->code == QL_OP_GEMM_TN, op->code == QL_OP_GEMM_NT, op->t);
    return QL_OK;
}

static ql_status
host_gram(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_op sum = {.alpha = 1, .beta = 1};

    (void)cx, (void)dev;
    host_product(&sum, true, false, (const ql_tensor *const[]){op->t[0], op->t[0], op->t[1]});
    return QL_OK;
}

static ql_status
host_potrf(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *a = op->t[0];
    bool *ok = op->result;
    int64_t n = ql_dim(a, 0);

    (void)cx, (void)dev;
    host.potrfs++;
    for (int64_t j = 0; j < n; j++) {
        for (int64_t i = 0; i < n; i++) {
            double sum = host_2d(a, i, j);

            for (int64_t p = 0; p < j && i >= j; p++)
                sum -= host_2d(a, i, p) * host_2d(a, j, p);
            if (i == j && !(sum > 0.0))
                return *ok = false, QL_OK;
            host_set(a, i * n + j, i < j ? 0.0 : i == j ? sqrt(sum) : sum / host_2d(a, j, j));
        }
    }
    *ok = true;
    return QL_OK;
}

static ql_status
host_trtri(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *a = op->t[0];
    int64_t n = ql_dim(a, 0);

    (void)cx, (void)dev;
    for (int64_t j = 0; j < n; j++) { /* column j of the inverse, from the top; columns after it are still of A */
        double diag = host_2d(a, j, j);

        host_set(a, j * n + j, 1.0 / diag);
        for (int64_t i = j + 1; i < n; i++) {
            double sum = host_2d(a, i, j) * host_2d(a, j, j);

            for (int64_t p = j + 1; p < i; p++)
                sum += host_2d(a, i, p) * host_2d(a, p, j);
            host_set(a, i * n + j, -sum / host_2d(a, i, i));
        }
    }
    return QL_OK;
}

static ql_status
host_axpby(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *x = op->t[0], *y = op->t[1];
    (void)cx, (void)dev;
    for (int64_t i = 0; i < ql_count(x); i++)
        host_set(y, i, op->alpha * host_item(x, i) + op->beta * host_item(y, i));
    return QL_OK;
}

static ql_status
host_scale_cols(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *t = op->t[0], *v = op->t[1];
    (void)cx, (void)dev;
    for (int64_t i = 0; i < ql_count(t); i++)
        host_set(t, i, host_item(t, i) * host_item(v, i % ql_dim(t, 1)));
    return QL_OK;
}

static ql_status
host_scale_rows(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *t = op->t[0], *v = op->t[1];
    (void)cx, (void)dev;
    for (int64_t i = 0; i < ql_count(t); i++)
        host_set(t, i, host_item(t, i) * host_item(v, i / ql_dim(t, 1)));
    return QL_OK;
}

static ql_status
host_dot(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *a = op->t[0], *b = op->t[1];
    double *out = op->result;
    *out = 0.0;
    for (int64_t i = 0; i < ql_count(a); i++)
        *out += host_item(a, i) * host_item(b, i);
    return host_sync(cx, dev);
}

static ql_status
host_nonfinite(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *t = op->t[0];
    int64_t *first = op->result;
    *first = -1;
    for (int64_t i = 0; i < ql_count(t) && *first < 0; i++)
        *first = isfinite(host_item(t, i)) ? -1 : i;
    return host_sync(cx, dev);
}

static ql_status
host_add(ql_ctx *cx, void *dev, const ql_op *op)
{
    const ql_tensor *a = op->t[0], *b = op->t[1], *y = op->t[2];
    (void)cx, (void)dev;
    for (int64_t i = 0; i < ql_count(a); i++)
        host_set(y, i, host_item(a, i) + host_item(b, i));
    return QL_OK;
}

static const ql_op_row host_rows[] = {
    QL_OP_ROW(COPY, host_copy),
    QL_OP_ROW(FILL, host_fill),
    QL_OP_ROW(GATHER, host_gather),
    QL_OP_ROW(DIAG, host_diag),
    QL_OP_ROW(DIAG_SET, host_diag_set),
    QL_OP_ROW(GEMM_NN, host_gemm),
    QL_OP_ROW(GEMM_NT, host_gemm),
    QL_OP_ROW(GEMM_TN, host_gemm),
    QL_OP_ROW(GRAM, host_gram),
    QL_OP_ROW(POTRF, host_potrf),
    QL_OP_ROW(TRTRI, host_trtri),
    QL_OP_ROW(AXPBY, host_axpby),
    QL_OP_ROW(SCALE_COLS, host_scale_cols),
    QL_OP_ROW(SCALE_ROWS, host_scale_rows),
    QL_OP_ROW(DOT, host_dot),
    QL_OP_ROW(NONFINITE, host_nonfinite),
    QL_OP_ROW(ADD, host_add),
    QL_OP_ROWS_END,
};

static const ql_op_row *const host_ops[] = {host_rows, NULL};

static const ql_backend host_backend = {
    .size = sizeof(ql_backend),
    .device = "plain",
    .open = host_open,
    .close = host_close,
    .info = host_info,
    .ops = host_ops,
    .alloc = host_alloc,
    .free = host_free,
    .upload = host_upload,
    .download = host_download,
    .sync = host_sync,
    .host_alloc = host_alloc,
    .host_free = host_free,
    .park = host_download,
    .unpark = host_upload,
    .prefetch = host_upload,
    .arrive = host_sync,
};

/* A context with this device and an open scope; `limit` as `memory:`. */
static inline void
host_begin(ql_ctx *cx, ql_scope *scope, size_t limit)
{
    ql_ctx_init(cx, NULL);
    if (ql_device_open(cx, &host_backend, &(ql_device_options){.threads = 1}, limit, &cx->device) != QL_OK)
        abort();
    ql_scope_open(cx, scope);
}

/* Closes all of it; what stays in host.used was leaked. */
static inline void
host_end(ql_ctx *cx)
{
    ql_ctx_fini(cx);
    ql_device_close(cx->device);
}

#endif
