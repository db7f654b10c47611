/* The device pool, its out-of-memory texts, and the checks in front of every operation. */
#include "core/tensor/tensor.h"
#include "host_backend.h"
#include "test.h"

static uint64_t seed;

static ql_tensor *
make(ql_ctx *cx, ql_dtype dtype, int64_t rows, int64_t cols)
{
    ql_tensor *t;

    REQUIRE_OK(cx, ql_new(cx, dtype, rows, cols, &t));
    for (int64_t i = 0; i < ql_count(t); i++)
        host_set(t, i, test_normal(&seed));
    return t;
}

static void
pool(void)
{
    ql_ctx cx;
    ql_scope scope, inner;
    ql_tensor *t;
    char text[256];

    host_begin(&cx, &scope, 4096);
    CHECK_STR(cx.device->info.name, "plain C");
    ql_device_holders(cx.device, text, sizeof text);
    CHECK_STR(text, "");
    cx.site.stage = "weights of block 3";
    make(&cx, QL_F32, 10, 10);
    ql_scope_open(&cx, &inner);
    cx.site.stage = "quant (gptq)";
    make(&cx, QL_F32, 20, 20);
    cx.site.stage = "weights of block 3";
    make(&cx, QL_F64, 20, 12);
    cx.site.stage = NULL;
    CHECK_INT(cx.device->used, 400 + 1600 + 1920);
    ql_device_holders(cx.device, text, sizeof text);
    CHECK_STR(text, "2.3 KiB weights of block 3\n1.6 KiB quant (gptq)");
    ql_device_holders(cx.device, text, 12);
    CHECK_STR(text, "2.3 KiB wei");
    CHECK_INT(ql_new(&cx, QL_U8, 177, -1, &t), QL_MEMORY);
    CHECK_STR(ql_error(&cx), "plain does not fit: qloom asks for 177 bytes, 3.8 KiB of `memory: 4.0 KiB` are in use; "
                             "raise `memory:` or lower `chunk_tokens:`; held:\n"
                             "2.3 KiB weights of block 3\n1.6 KiB quant (gptq)");
    CHECK_OK(&cx, ql_new(&cx, QL_U8, 176, -1, &t));
    ql_scope_close(&cx, &inner);
    CHECK_INT(cx.device->used, 400);
    CHECK_INT(cx.device->peak, 4096);
    CHECK_INT(cx.device->held_count, 1);
    host_end(&cx);
    CHECK_INT(host.used, 0);

    host.room = 1000;
    host_begin(&cx, &scope, 0);
    CHECK_INT(ql_new(&cx, QL_F32, 251, -1, &t), QL_MEMORY);
    CHECK_STR(ql_error(&cx), "plain has no room: qloom asks for 1004 bytes, 0 bytes of 1000 bytes are in use; "
                             "lower `memory:` or `chunk_tokens:`");
    CHECK_OK(&cx, ql_new(&cx, QL_F32, 250, -1, &t));
    host_end(&cx);
    host.room = 0;
    CHECK_STR(ql_bytes_text((size_t)3 << 39, text, sizeof text), "1.5 TiB");
}

/* Freed memory waits for who asks for as much again; below a limit it makes room, and it never counts as used. */
static void
spares(void)
{
    const int64_t piece = QL_SPARE_LEAST, small = QL_SPARE_LEAST - 1;
    ql_ctx cx;
    ql_scope scope;
    ql_tensor *t;
    const void *first;

    host_begin(&cx, &scope, 3 * (size_t)piece);
    CHECK_OK(&cx, ql_new(&cx, QL_U8, small, -1, &t));
    ql_drop(&cx, &t);
    CHECK_INT(host.used, 0);
    CHECK_OK(&cx, ql_new(&cx, QL_U8, piece, -1, &t));
    first = ql_ptr(t);
    ql_drop(&cx, &t);
    CHECK_INT(cx.device->used, 0);
    CHECK_INT(host.used, piece);
    CHECK_OK(&cx, ql_new(&cx, QL_U8, piece, -1, &t));
    CHECK(ql_ptr(t) == first);
    ql_drop(&cx, &t);
    CHECK_OK(&cx, ql_new(&cx, QL_U8, 2 * piece, -1, &t)); /* both fit below the limit */
    CHECK_INT(host.used, 3 * piece);
    CHECK_INT(cx.device->taken, 3 * piece);
    CHECK_INT(cx.device->peak, 2 * piece);
    ql_drop(&cx, &t);
    CHECK_OK(&cx, ql_new(&cx, QL_U8, piece + 1, -1, &t)); /* no room for it beside the larger of the two */
    CHECK_INT(host.used, piece + 1);
    CHECK_INT(cx.device->taken, 3 * piece);
    ql_drop(&cx, &t);
    CHECK_INT(host.used, piece + 1);
    ql_device_trim(cx.device);
    CHECK_INT(host.used, 0);
    host_end(&cx);
    CHECK_INT(host.used, 0);

    host.room = 2 * (size_t)piece; /* the system has no more: what waits goes back to it */
    host_begin(&cx, &scope, 0);
    CHECK_OK(&cx, ql_new(&cx, QL_U8, piece, -1, &t));
    ql_drop(&cx, &t);
    CHECK_OK(&cx, ql_new(&cx, QL_U8, 2 * piece, -1, &t));
    host_end(&cx);
    host.room = 0;
    CHECK_INT(host.used, 0);
}

/* More owners than the text can tell apart: the sum stays right, the largest comes first. */
/* --- scratch --- */

static ql_tensor *idle; /* what make_room lets go of, by an operation of its own */

static ql_status
scratchy_fill(ql_ctx *cx, void *dev, const ql_op *op)
{
    char *a, *b;

    QL_TRY(cx, ql_scratch(cx, 100, &a));
    memset(a, 1, 100);
    QL_TRY(cx, ql_scratch(cx, 200, &b));
    memset(b, 2, 200);
    CHECK_INT(a[99], 1); /* still its own, whatever made room for the second */
    return host_fill(cx, dev, op);
}

static ql_status
let_go(ql_ctx *cx, bool *freed)
{
    *freed = idle != NULL;
    if (idle)
        REQUIRE_OK(cx, ql_axpby(cx, 2, idle, 0, idle));
    ql_drop(cx, &idle);
    return QL_OK;
}

static ql_status
reserving_info(ql_ctx *cx, void *dev, ql_device_info *out)
{
    QL_TRY(cx, host_info(cx, dev, out));
    out->reserved = 50;
    return QL_OK;
}

static void
scratch(void)
{
    const ql_op_row fills[] = {QL_OP_ROW(FILL, scratchy_fill), QL_OP_ROWS_END};
    ql_backend backend = host_backend;
    ql_scope scope;
    ql_tensor *t;
    ql_ctx cx;

    backend.ops = (const ql_op_row *const[]){host_rows, fills, NULL}; /* the last one counts */
    backend.info = reserving_info;
    ql_ctx_init(&cx, NULL);
    REQUIRE_OK(&cx, ql_device_open(&cx, &backend, &(ql_device_options){.threads = 1}, 450, &cx.device));
    ql_scope_open(&cx, &scope);
    CHECK_INT(cx.device->used, 50);
    t = make(&cx, QL_U8, 100, -1);
    CHECK_OK(&cx, ql_fill(&cx, t, 3));
    CHECK_INT(cx.device->used, 150);
    CHECK_INT(cx.device->peak, 450);
    CHECK_INT(cx.device->held_count, 2);

    idle = make(&cx, QL_F32, 1, 1);
    CHECK_INT(ql_fill(&cx, t, 3), QL_MEMORY);
    CHECK_STR(ql_error(&cx),
              "fill: plain does not fit: working space asks for 200 bytes, 254 bytes of `memory: 450 bytes` are "
              "in use; raise `memory:` or lower `chunk_tokens:`; held:\n"
              "104 bytes qloom\n100 bytes working space\n50 bytes the device's libraries");
    CHECK_INT(cx.device->used, 154);
    cx.device->make_room = let_go;
    CHECK_OK(&cx, ql_fill(&cx, t, 3));
    CHECK_INT(cx.device->used, 150);
    ql_ctx_fini(&cx);
    ql_device_close(cx.device);
    CHECK_INT(host.used, 0);
}

static void
many_holders(void)
{
    char names[100][32], text[1024];
    ql_ctx cx;
    ql_scope scope;

    host_begin(&cx, &scope, 0);
    for (int i = 0; i < 100; i++) {
        snprintf(names[i], sizeof names[i], "stage %d", i);
        cx.site.stage = names[i];
        make(&cx, QL_F64, i + 1, -1);
    }
    ql_device_holders(cx.device, text, sizeof text);
    CHECK(strncmp(text, "23.7 KiB others\n504 bytes stage 62\n", 35) == 0);
    host_end(&cx);
}

static ql_status
refuse(ql_ctx *cx, const ql_device_options *opt, void **dev)
{
    (void)opt, (void)dev;
    return QL_FAIL(cx, QL_DEVICE, "no such device");
}

static void
opening(void)
{
    ql_backend broken = host_backend;
    const ql_device_options opt = {.threads = 1};
    ql_device *d = NULL;
    ql_ctx cx;

    ql_ctx_init(&cx, NULL);
    broken.open = refuse;
    CHECK_ERROR(&cx, ql_device_open(&cx, &broken, &opt, 0, &d), QL_DEVICE, "no such device");
    CHECK(d == NULL);
    cx.fail_alloc = 1;
    CHECK_ERROR(&cx, ql_device_open(&cx, &host_backend, &opt, 0, &d), QL_MEMORY, "no memory for");
    ql_device_close(NULL);
}

static void
waiting(void)
{
    ql_ctx cx;
    ql_scope scope;
    ql_tensor *a, *b, *c;

    host_begin(&cx, &scope, 0);
    a = make(&cx, QL_F32, 3, 4);
    b = make(&cx, QL_F32, 4, 2);
    c = make(&cx, QL_F32, 3, 2);
    host.syncs = 0;
    CHECK_OK(&cx, ql_gemm(&cx, QL_NN, 1.0, a, b, 0.0, c));
    CHECK_INT(host.syncs, 0);
    cx.device->sync = true;
    CHECK_OK(&cx, ql_gemm(&cx, QL_NN, 1.0, a, b, 0.0, c));
    CHECK_INT(host.syncs, 1);
    host.broken = "an illegal address was met";
    CHECK_INT(ql_gemm(&cx, QL_NN, 1.0, a, b, 0.0, c), QL_DEVICE);
    CHECK_STR(ql_error(&cx), "gemm: an illegal address was met");
    host.broken = NULL;
    host_end(&cx);
}

static void
products(void)
{
    const int64_t m = 1 + (int64_t)(test_u64(&seed) % 9), k = 1 + (int64_t)(test_u64(&seed) % 9);
    ql_ctx cx;
    ql_scope scope;
    ql_tensor *a, *at, *b, *c, *none, *e, *h;
    double start, want, got;

    host_begin(&cx, &scope, 0);
    a = make(&cx, QL_F64, m, k);
    at = make(&cx, QL_F64, k, m);
    b = make(&cx, QL_F64, k, 3);
    c = make(&cx, QL_F64, m, 3);
    start = host_2d(c, m - 1, 2);
    want = 0.5 * start;
    for (int64_t i = 0; i < k; i++) {
        host_set(at, i * m + m - 1, host_2d(a, m - 1, i));
        want += 2.0 * host_2d(a, m - 1, i) * host_2d(b, i, 2);
    }
    CHECK_OK(&cx, ql_gemm(&cx, QL_NN, 2.0, a, b, 0.5, c));
    CHECK_NEAR(host_2d(c, m - 1, 2), want, 1e-12);
    CHECK_OK(&cx, ql_gemm(&cx, QL_TN, 2.0, at, b, -1.0, c));
    CHECK_NEAR(host_2d(c, m - 1, 2), -0.5 * start, 1e-12); /* the same row from A^T, minus what was there */

    none = make(&cx, QL_F64, m, 0); /* a product over nothing only scales C */
    want = host_2d(c, 0, 0);
    CHECK_OK(&cx, ql_gemm(&cx, QL_NT, 1.0, none, make(&cx, QL_F64, 3, 0), 1.0, c));
    CHECK_NEAR(host_2d(c, 0, 0), want, 0.0);
    CHECK_OK(&cx, ql_gemm(&cx, QL_NT, 1.0, none, make(&cx, QL_F64, 3, 0), -2.0, c));
    CHECK_NEAR(host_2d(c, 0, 0), -2.0 * want, 0.0);
    CHECK_OK(&cx, ql_gemm(&cx, QL_NT, 1.0, none, make(&cx, QL_F64, 3, 0), 0.0, c));
    CHECK_NEAR(host_2d(c, 0, 0), 0.0, 0.0);

    e = make(&cx, QL_F32, m, k);
    h = make(&cx, QL_F32, k, k);
    want = 0.0;
    for (int64_t i = 0; i < m; i++)
        for (int64_t p = 0; p < k; p++)
            for (int64_t q = 0; q < k; q++)
                want += host_2d(e, i, p) * host_2d(h, p, q) * host_2d(e, i, q);
    CHECK_OK(&cx, ql_quad(&cx, e, h, &got));
    CHECK_NEAR(got, want, 1e-5 * (double)(m * k * k));
    host_end(&cx);
    CHECK_INT(host.used, 0);
}

/* ql_quad in two chunks of rows; it leaves nothing behind on the device. */
static void
tidy_quad(void)
{
    ql_ctx cx;
    ql_scope scope;
    ql_tensor *e, *h;
    double got;
    size_t before;

    host_begin(&cx, &scope, 0);
    e = make(&cx, QL_F32, (1 << 21) + 3, 2);
    h = make(&cx, QL_F32, 2, 2);
    CHECK_OK(&cx, ql_fill(&cx, e, 1.0));
    CHECK_OK(&cx, ql_fill(&cx, h, 0.5));
    before = cx.device->used;
    CHECK_OK(&cx, ql_quad(&cx, e, h, &got));
    CHECK_NEAR(got, (1 << 22) + 6, 0.0);
    CHECK_INT(cx.device->used, before);
    host_end(&cx);
}

static void
element_operations(void)
{
    const int32_t index[] = {4, 0, 0};
    ql_ctx cx;
    ql_scope scope;
    ql_tensor *t, *v, *d, *g, *i, *wide;
    double before;
    int64_t first;

    host_begin(&cx, &scope, 0);
    t = make(&cx, QL_F32, 5, 5);
    before = host_2d(t, 4, 4);
    REQUIRE_OK(&cx, ql_diag(&cx, t, &d));
    CHECK_NEAR(host_item(d, 4), before, 0.0);
    CHECK_OK(&cx, ql_axpby(&cx, 1.0, d, 1.0, d)); /* element on element is no overlap */
    CHECK_OK(&cx, ql_diag_set(&cx, d, t));
    CHECK_NEAR(host_2d(t, 4, 4), 2 * before, 0.0);
    REQUIRE_OK(&cx, ql_upload(&cx, QL_I32, 3, -1, index, &i));
    REQUIRE_OK(&cx, ql_gather(&cx, t, i, NULL, &g));
    CHECK_INT(ql_dim(g, 0), 3);
    CHECK_NEAR(host_2d(g, 0, 4), 2 * before, 0.0);
    REQUIRE_OK(&cx, ql_gather(&cx, t, NULL, i, &g));
    CHECK_NEAR(host_2d(g, 4, 0), 2 * before, 0.0);
    v = make(&cx, QL_F32, 5, -1);
    CHECK_OK(&cx, ql_scale_cols(&cx, v, t));
    CHECK_NEAR(host_2d(t, 4, 4), (double)(float)(2 * before * host_item(v, 4)), 0.0);
    CHECK_OK(&cx, ql_nonfinite(&cx, t, &first));
    CHECK_INT(first, -1);
    host_set(t, 13, (double)NAN);
    CHECK_OK(&cx, ql_nonfinite(&cx, t, &first));
    CHECK_INT(first, 13);
    wide = make(&cx, QL_F32, 0, 5); /* nothing to do is not an error */
    CHECK_OK(&cx, ql_nonfinite(&cx, wide, &first));
    CHECK_OK(&cx, ql_scale_cols(&cx, v, wide));
    CHECK_OK(&cx, ql_gather(&cx, wide, NULL, i, &g));
    host_end(&cx);
}

#define CHECK_TEXT(call, text)            \
    do {                                  \
        CHECK_INT((call), QL_INVALID);    \
        CHECK_STR(ql_error(&cx), (text)); \
    } while (0)

static void
refusals(void)
{
    const int64_t offsets[] = {0, 2, 3}, backwards[] = {0, 2, 1, 3};
    const ql_seqs seqs = {.count = 2, .offsets = offsets};
    const float freq[4] = {0};
    ql_ctx cx, other;
    ql_scope scope, scope2;
    ql_tensor *a, *b, *v, *h, *i, *out, *elsewhere;
    bool ok;
    double x;

    host_begin(&cx, &scope, 0);
    host_begin(&other, &scope2, 0);
    a = make(&cx, QL_F32, 3, 4);
    b = make(&cx, QL_F32, 4, 4);
    v = make(&cx, QL_F32, 4, -1);
    h = make(&cx, QL_BF16, 3, 4);
    i = make(&cx, QL_I32, 4, -1);
    elsewhere = make(&other, QL_F32, 4, 4);
    CHECK_TEXT(ql_gemm(&cx, QL_NT, 1.0, a, a, 0.0, b), "gemm: C: got f32 [4, 4], expected f32 [3, 3]");
    CHECK_TEXT(ql_gemm(&cx, QL_NN, 1.0, a, a, 0.0, b), "gemm: B: got f32 [3, 4], expected f32 [4, *]");
    CHECK_TEXT(ql_gemm(&cx, QL_NN, 1.0, a, h, 0.0, b), "gemm: B: got bf16 [3, 4], expected f32 [4, *]");
    CHECK_TEXT(ql_gemm(&cx, QL_NN, 1.0, v, b, 0.0, a),
               "gemm: A: got f32 [4], expected f32 or f64 or f16 or bf16 [*, *]");
    CHECK_TEXT(ql_gemm(&cx, QL_NN, 1.0, a, b, 0.0, a), "gemm: C and A share memory");
    CHECK_TEXT(ql_gemm(&cx, QL_NN, 1.0, a, elsewhere, 0.0, a),
               "gemm: B: on another device of its kind, but the work runs on plain; copy it there first");
    CHECK_TEXT(ql_gemm(&cx, QL_NN, 1.0, NULL, b, 0.0, a), "gemm: A: missing");
    CHECK_TEXT(ql_gram(&cx, h, b, b), "gram: sum and comp share memory");
    CHECK_TEXT(ql_gram(&cx, h, b, v), "gram: comp: got f32 [4], expected f32 [4, 4]");
    CHECK_TEXT(ql_potrf(&cx, a, &ok), "potrf: A: got f32 [3, 4], expected f32 or f64 [3, 3]");
    CHECK_TEXT(ql_trtri(&cx, h), "trtri: A: got bf16 [3, 4], expected f32 or f64 [*, *]");
    CHECK_TEXT(ql_syevd(&cx, b, i), "syevd: the eigenvalues: got i32 [4], expected f32 [4]");
    CHECK_TEXT(ql_orth(&cx, a), "orth: y is f32 [3, 4], expected no more columns than rows");
    CHECK_TEXT(ql_axpby(&cx, 1.0, a, 1.0, b), "axpby: y: got f32 [4, 4], expected f32 [3, 4]");
    CHECK_TEXT(ql_scale_rows(&cx, v, a), "scale_rows: the factors: got f32 [4], expected f32 [3]");
    CHECK_TEXT(ql_gather(&cx, a, v, NULL, &out), "gather: rows: got f32 [4], expected i32 [*]");
    CHECK_TEXT(ql_gather(&cx, make(&cx, QL_F32, 0, 4), i, NULL, &out), "gather: elements of an empty tensor");
    CHECK_TEXT(ql_diag(&cx, a, &out), "diag: A: got f32 [3, 4], expected f32 or f64 [3, 3]");
    CHECK_TEXT(ql_dot(&cx, a, h, &x), "dot: B: got bf16 [3, 4], expected f32 [3, 4]");
    CHECK_TEXT(ql_quad(&cx, a, a, &x), "quad: H: got f32 [3, 4], expected f32 [4, 4]");
    CHECK_TEXT(ql_rmsnorm(&cx, h, v, 1e-6, &out), "rmsnorm: the weight: got f32 [4], expected bf16 [4]");
    CHECK_TEXT(ql_rope(&cx, &seqs, &(ql_rope_spec){.head_dim = 3, .inv_freq = freq}, a),
               "rope: head_dim is 3, expected an even divisor of the 4 columns of x");
    CHECK_TEXT(ql_rope(&cx, &seqs, &(ql_rope_spec){.head_dim = 2, .inv_freq = freq}, b),
               "rope: the sequences have 3 tokens, the tensor 4");
    CHECK_TEXT(ql_rope(&cx, &(ql_seqs){.count = 3, .offsets = backwards}, &(ql_rope_spec){.head_dim = 2}, a),
               "rope: sequence 1 ends before it starts");
    CHECK_TEXT(ql_rope(&cx, &seqs, &(ql_rope_spec){.head_dim = 2}, a),
               "rope: the frequencies are missing, or rows of 0 are too short for head_dim 2");
    CHECK_TEXT(ql_attention(&cx, &seqs, &(ql_attention_spec){2, 1, 2, 0}, (const ql_tensor *const[]){a, a, a}, &out),
               "attention: k: got f32 [3, 4], expected f32 [3, 2]");
    CHECK_TEXT(
        ql_attention(&cx, &seqs, &(ql_attention_spec){3, 2, 2, 0}, (const ql_tensor *const[]){a, a, a}, &out),
        "attention: 3 heads, 2 kv heads, head_dim 2, window 0; expected positive numbers, heads a multiple of kv "
        "heads, window 0 or more");
    CHECK_TEXT(ql_swiglu(&cx, a, h, &out), "swiglu: the other factor: got bf16 [3, 4], expected f32 [3, 4]");
    CHECK_TEXT(ql_add(&cx, i, i, &out), "add: A: got i32 [4], expected f32 or f64 or f16 or bf16 [*, *]");
    CHECK_TEXT(ql_add_bias(&cx, i, a), "add_bias: the bias: got i32 [4], expected f32 [4]");
    CHECK_TEXT(ql_nll(&cx, a, b, i, &out), "nll: the targets: got i32 [4], expected i32 [3]");
    CHECK_TEXT(ql_abs_stats(&cx, &seqs, a, v, v), "abs_stats: the sums and the maxima share memory");
    CHECK_TEXT(ql_nonfinite(&cx, i, &(int64_t){0}),
               "nonfinite: the tensor: got i32 [4], expected f32 or f64 or f16 or bf16 [4]");
    host_end(&other);
    host_end(&cx);
    CHECK_INT(host.used, 0);
}

static void
group_refusals(void)
{
    const ql_grid grid = {.bits = 3, .group = 3, .scale_dtype = QL_F16};
    ql_qlinear q = {.grid = grid};
    ql_grid bad;
    ql_ctx cx;
    ql_scope scope;
    ql_tensor *w, *s, *z;

    host_begin(&cx, &scope, 0);
    w = make(&cx, QL_F32, 2, 7);
    bad = grid, bad.bits = 9;
    CHECK_TEXT(ql_group_minmax(&cx, w, &bad, &s, &z), "group_minmax: 9 bits, expected 2 to 8");
    bad = grid, bad.group = 0;
    CHECK_TEXT(ql_group_minmax(&cx, w, &bad, &s, &z), "group_minmax: groups of 0 columns, expected 1 or more");
    bad = grid, bad.scale_dtype = QL_F64;
    CHECK_TEXT(ql_group_minmax(&cx, w, &bad, &s, &z), "group_minmax: scales of dtype f64, expected f16, bf16 or f32");
    bad = grid, bad.mse = (double)NAN;
    CHECK_TEXT(ql_group_minmax(&cx, w, &bad, &s, &z),
               "group_minmax: the exponent of the range search is nan, expected 0 or more");
    CHECK_TEXT(ql_group_minmax(&cx, make(&cx, QL_F16, 2, 7), &grid, &s, &z),
               "group_minmax: W: got f16 [2, 7], expected f32 [*, *]");
    CHECK_TEXT(ql_group_encode(&cx, w, &q), "group_encode: scales: missing");
    q.scales = make(&cx, QL_F32, 2, 2);
    CHECK_TEXT(ql_group_encode(&cx, w, &q), "group_encode: scales: got f32 [2, 2], expected f32 [2, 3]");
    q.scales = make(&cx, QL_F32, 2, 3);
    CHECK_TEXT(ql_group_encode(&cx, w, &q), "group_encode: zeros: missing");
    q.zeros = q.scales;
    q.g_idx = make(&cx, QL_I32, 6, -1);
    CHECK_TEXT(ql_group_encode(&cx, w, &q), "group_encode: the group index: got i32 [6], expected i32 [7]");
    q.g_idx = NULL;
    q.levels = make(&cx, QL_F32, 4, -1);
    CHECK_TEXT(ql_group_encode(&cx, w, &q), "group_encode: levels: got f32 [4], expected f32 [8]");
    q.codes = NULL;
    CHECK_TEXT(ql_group_decode(&cx, &q, &w), "group_decode: codes: missing");
    q.levels = make(&cx, QL_F32, 8, -1);
    w = make(&cx, QL_F32, 2, 7);
    CHECK_TEXT(ql_feedback_sweep(&cx, w, make(&cx, QL_F32, 7, 7), NULL, &q),
               "feedback_sweep: a table of levels is given, expected a uniform grid");
    q = (ql_qlinear){.grid = grid};
    CHECK_TEXT(ql_feedback_sweep(&cx, w, make(&cx, QL_F32, 7, 7), make(&cx, QL_I32, 7, -1), &q),
               "feedback_sweep: groups of columns are given without their scales");
    q = (ql_qlinear){.grid = grid};
    CHECK_TEXT(ql_feedback_sweep(&cx, w, make(&cx, QL_F64, 7, 7), NULL, &q),
               "feedback_sweep: U: got f64 [7, 7], expected f32 [7, 7]");
    host_end(&cx);
    CHECK_INT(host.used, 0);
}

/* What is lent is read by everything and written by nothing; what the backend has not is said by name. */
static void
lent_and_lacking(void)
{
    const int64_t offsets[] = {0, 3};
    const ql_seqs seqs = {.count = 1, .offsets = offsets};
    ql_ctx cx;
    ql_scope scope;
    ql_tensor *a, *t, *lent, *row, *copy, *y;
    float *p;

    host_begin(&cx, &scope, 0);
    a = make(&cx, QL_F32, 3, 4);
    t = make(&cx, QL_F32, 3, 4);
    REQUIRE_OK(&cx, ql_tensor_lend(&cx, t, &lent));
    CHECK_OK(&cx, ql_axpby(&cx, 2.0, lent, 0.0, a));
    CHECK_NEAR(host_2d(a, 2, 3), (double)(float)(2 * host_2d(t, 2, 3)), 0.0);
    CHECK_TEXT(ql_axpby(&cx, 1.0, a, 1.0, lent), "axpby: y: lent for reading only; write to a copy");
    CHECK_TEXT(ql_axpby(&cx, 1.0, lent, 1.0, lent), "axpby: y: lent for reading only; write to a copy");
    CHECK_TEXT(ql_copy(&cx, a, lent), "copy: the target: lent for reading only; write to a copy");
    REQUIRE_OK(&cx, ql_rows(&cx, lent, 1, 1, &row));
    CHECK_TEXT(ql_fill(&cx, row, 1.0), "fill: the tensor: lent for reading only; write to a copy");
    CHECK_TEXT(ql_map(&cx, row, QL_WRITE, &p), "map: the tensor: lent for reading only; write to a copy");
    CHECK_OK(&cx, ql_map(&cx, row, QL_READ, &p));
    CHECK_OK(&cx, ql_unmap(&cx, row));
    copy = lent;
    REQUIRE_OK(&cx, ql_writable(&cx, &copy));
    CHECK(copy != lent);
    CHECK_OK(&cx, ql_fill(&cx, copy, 1.0));
    CHECK_OK(&cx, ql_fill(&cx, t, 1.0)); /* whoever lent it may still write */
    CHECK_NEAR(host_2d(t, 2, 3), 1.0, 0.0);

    CHECK_INT(ql_attention(&cx, &seqs, &(ql_attention_spec){2, 2, 2, 0}, (const ql_tensor *const[]){a, a, a}, &y),
              QL_UNSUPPORTED);
    CHECK_STR(ql_error(&cx), "attention: the plain backend has no such operation");
    host_end(&cx);
    CHECK_INT(host.used, 0);
}

/* Zero tokens or rows are work that is done, and no backend is asked: the one here lacks most of these operations. */
static void
nothing_to_do(void)
{
    const int64_t offsets[] = {0};
    const ql_seqs seqs = {.count = 0, .offsets = offsets};
    const float freq[2] = {0};
    ql_qlinear q = {.grid = {.bits = 4, .group = 3, .scale_dtype = QL_F32}};
    bool ok = false;
    ql_ctx cx;
    ql_scope scope;
    ql_tensor *x, *w, *y, *none, *square;

    host_begin(&cx, &scope, 0);
    x = make(&cx, QL_F32, 0, 4);
    w = make(&cx, QL_F32, 4, -1);
    none = make(&cx, QL_I32, 0, -1);
    square = make(&cx, QL_F64, 0, 0);
    CHECK_OK(&cx, ql_rmsnorm(&cx, x, w, 1e-6, &y));
    CHECK_OK(&cx, ql_rope(&cx, &seqs, &(ql_rope_spec){.head_dim = 4, .inv_freq = freq}, x));
    CHECK_OK(&cx, ql_attention(&cx, &seqs, &(ql_attention_spec){2, 2, 2, 0}, (const ql_tensor *const[]){x, x, x}, &y));
    CHECK_OK(&cx, ql_swiglu(&cx, x, x, &y));
    CHECK_OK(&cx, ql_add(&cx, x, x, &y));
    CHECK_OK(&cx, ql_add_bias(&cx, w, x));
    CHECK_OK(&cx, ql_nll(&cx, x, make(&cx, QL_F32, 3, 4), none, &y));
    CHECK_INT(ql_dim(y, 0), 0);
    CHECK_OK(&cx, ql_abs_stats(&cx, &seqs, x, w, make(&cx, QL_F32, 4, -1)));
    CHECK_OK(&cx, ql_gram(&cx, x, make(&cx, QL_F32, 4, 4), make(&cx, QL_F32, 4, 4)));
    CHECK_OK(&cx, ql_potrf(&cx, square, &ok));
    CHECK(ok);
    CHECK_OK(&cx, ql_trtri(&cx, square));
    CHECK_OK(&cx, ql_syevd(&cx, square, make(&cx, QL_F64, 0, -1)));
    CHECK_OK(&cx, ql_orth(&cx, make(&cx, QL_F64, 3, 0)));
    CHECK_OK(&cx, ql_feedback_sweep(&cx, x, make(&cx, QL_F32, 4, 4), NULL, &q));
    CHECK_INT(ql_dim(q.scales, 1), 2);
    CHECK_OK(&cx, ql_group_encode(&cx, x, &q));
    CHECK_OK(&cx, ql_group_decode(&cx, &q, &y));
    CHECK_OK(&cx, ql_group_minmax(&cx, x, &q.grid, &q.scales, &q.zeros));
    host_end(&cx);
}

int
main(void)
{
    seed = test_seed();
    pool();
    spares();
    scratch();
    many_holders();
    opening();
    waiting();
    products();
    tidy_quad();
    element_operations();
    refusals();
    group_refusals();
    lent_and_lacking();
    nothing_to_do();
    return TEST_DONE();
}
