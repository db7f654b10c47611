/* Tensors: shapes, views, scopes, references, host access, conversions. */
#include "core/tensor/tensor.h"
#include "host_backend.h"
#include "test.h"

static uint64_t seed;

static ql_tensor *
random_matrix(ql_ctx *cx, ql_dtype dtype, int64_t rows, int64_t cols)
{
    ql_tensor *t;

    REQUIRE_OK(cx, ql_new(cx, dtype, rows, cols, &t));
    for (int64_t i = 0; i < ql_count(t); i++)
        host_set(t, i, dtype == QL_F32 || dtype == QL_F64 ? test_normal(&seed) : (double)(test_u64(&seed) % 100));
    return t;
}

static void
shapes(void)
{
    const int64_t dims[] = {2, 3, 4, 5}, huge[] = {1 << 20, (int64_t)1 << 40, 1 << 10},
                  hidden[] = {INT64_MAX, INT64_MAX, 0};
    ql_ctx cx;
    ql_scope scope;
    ql_tensor *t;
    char text[64];

    ql_ctx_init(&cx, NULL);
    CHECK_ERROR(&cx, ql_new(&cx, QL_F32, 1, 1, &t), QL_BUG, "no device is open");
    host_begin(&cx, &scope, 0);
    REQUIRE_OK(&cx, ql_new_nd(&cx, QL_BF16, 4, dims, &t));
    CHECK_INT(ql_ndim(t), 4);
    CHECK_INT(ql_count(t), 120);
    CHECK_INT(ql_dim(t, -1), 5);
    CHECK_INT(ql_dim(t, 4), 0);
    CHECK_INT(ql_stride(t, 0), 60);
    CHECK_INT(ql_stride(t, -1), 1);
    CHECK_INT(ql_stride(t, -5), 0);
    CHECK_INT(ql_tensor_bytes(t), 240);
    CHECK_STR(ql_tensor_text(t, text, sizeof text), "bf16 [2, 3, 4, 5]");
    CHECK_STR(ql_tensor_text(t, text, 9), "bf16 [2,");
    CHECK_INT(ql_count(NULL), 0);
    CHECK_INT(ql_dtype_of(NULL), QL_DTYPE_NONE);
    CHECK_STR(ql_dtype_name((ql_dtype)77), "none");
    CHECK_STR(ql_dtype_name(QL_I64), "i64");
    CHECK_INT(ql_dtype_size((ql_dtype)-1), 0);

    CHECK_ERROR(&cx, ql_new(&cx, QL_DTYPE_NONE, 1, 1, &t), QL_INVALID, "0 is not a dtype");
    CHECK_ERROR(&cx, ql_new(&cx, QL_F32, -3, -1, &t), QL_INVALID, "dimension 0 of a tensor is -3");
    CHECK_ERROR(&cx, ql_new_nd(&cx, QL_F32, 5, dims, &t), QL_INVALID, "a tensor has 1 to 4 dimensions, not 5");
    CHECK_ERROR(&cx, ql_new_nd(&cx, QL_F32, 0, dims, &t), QL_INVALID, "a tensor has 1 to 4 dimensions, not 0");
    CHECK_ERROR(&cx, ql_new_nd(&cx, QL_F32, 3, huge, &t), QL_INVALID,
                "the size of a tensor overflows at its dimension 2, which is 1024");
    CHECK_ERROR(&cx, ql_new_nd(&cx, QL_F32, 3, hidden, &t), QL_INVALID, "overflows at its dimension 0");
    REQUIRE_OK(&cx, ql_new(&cx, QL_F32, 0, 7, &t));
    CHECK_INT(ql_count(t), 0);
    CHECK(ql_ptr(t) == NULL);
    host_end(&cx);
    CHECK_INT(host.used, 0);
}

static void
views(void)
{
    ql_ctx cx;
    ql_scope scope;
    ql_tensor *t, *rows, *cols, *part, *flat, *left;

    host_begin(&cx, &scope, 0);
    t = random_matrix(&cx, QL_F32, 7, 5);
    REQUIRE_OK(&cx, ql_rows(&cx, t, 2, 3, &rows));
    REQUIRE_OK(&cx, ql_cols(&cx, t, 1, 3, &cols));
    REQUIRE_OK(&cx, ql_cols(&cx, rows, 4, 1, &part));
    CHECK(ql_contiguous(rows) && !ql_contiguous(cols) && !ql_contiguous(part));
    for (int64_t i = 0; i < 3; i++)
        CHECK_NEAR(host_2d(part, i, 0), host_2d(t, i + 2, 4), 0.0);
    CHECK_NEAR(host_2d(cols, 6, 2), host_2d(t, 6, 3), 0.0);
    CHECK_INT(ql_stride(cols, 0), 5);

    REQUIRE_OK(&cx, ql_reshape(&cx, rows, 3, (const int64_t[]){1, 5, 3}, &flat));
    CHECK_NEAR(host_item(flat, 14), host_2d(t, 4, 4), 0.0);
    CHECK_ERROR(&cx, ql_reshape(&cx, cols, 1, (const int64_t[]){21}, &flat), QL_INVALID,
                "a view of columns, f32 [7, 3], can't be reshaped");
    CHECK_ERROR(&cx, ql_reshape(&cx, t, 1, (const int64_t[]){34}, &flat), QL_INVALID,
                "f32 [7, 5] can't be reshaped to 34 elements");
    CHECK_ERROR(&cx, ql_rows(&cx, t, 5, 3, &rows), QL_INVALID, "3 rows from 5 on, of a tensor that has 7");
    CHECK_ERROR(&cx, ql_cols(&cx, t, -1, 3, &rows), QL_INVALID, "3 columns from -1 on, of a tensor that has 5");
    CHECK_ERROR(&cx, ql_rows(&cx, t, INT64_MAX, INT64_MAX, &rows), QL_INVALID, "of a tensor that has 7");

    REQUIRE_OK(&cx, ql_cols(&cx, t, 0, 1, &left));
    CHECK(!ql_tensor_overlap(left, cols) && ql_tensor_overlap(cols, t) && ql_tensor_overlap(part, t));
    CHECK(!ql_tensor_overlap(left, part) && ql_tensor_overlap(flat, t));
    host_end(&cx);
    CHECK_INT(host.used, 0);
}

static void
lifetimes(void)
{
    ql_ctx cx;
    ql_scope outer, inner;
    ql_tensor *t, *v, *kept, *same, *none = NULL;

    host_begin(&cx, &outer, 0);
    ql_scope_open(&cx, &inner);
    t = random_matrix(&cx, QL_F32, 3, 4);
    REQUIRE_OK(&cx, ql_rows(&cx, t, 1, 1, &v));
    kept = ql_tensor_ref(v);
    ql_scope_close(&cx, &inner);
    CHECK_INT(host.used, 48); /* a view holds the whole buffer */
    REQUIRE_OK(&cx, ql_tensor_borrow(&cx, kept, &same));
    ql_tensor_unref(kept);
    CHECK(same == kept);
    CHECK_INT(host.used, 48);

    ql_scope_open(&cx, &inner);
    ql_drop(&cx, &same); /* of a scope further out */
    CHECK(same == NULL);
    CHECK_INT(host.used, 0);
    ql_drop(&cx, &none);
    ql_drop(&cx, &same);

    t = random_matrix(&cx, QL_F32, 2, 2);
    v = t;
    REQUIRE_OK(&cx, ql_writable(&cx, &t));
    CHECK(t == v);
    kept = ql_tensor_ref(t);
    REQUIRE_OK(&cx, ql_writable(&cx, &t));
    CHECK(t != kept);
    CHECK_NEAR(host_item(t, 3), host_item(kept, 3), 0.0);
    ql_tensor_unref(kept);
    CHECK_INT(host.used, 16);
    ql_tensor_unref(NULL);
    CHECK(ql_tensor_ref(NULL) == NULL);
    host_end(&cx);
    CHECK_INT(host.used, 0);
}

/* Maps on devices that share memory with the host and on others; through contiguous tensors and through views. */
static void
maps(bool hidden)
{
    ql_ctx cx;
    ql_scope scope;
    ql_tensor *t, *v;
    float *p;
    double before;
    uint64_t up, down;

    host.hidden = hidden;
    host_begin(&cx, &scope, 0);
    t = random_matrix(&cx, QL_F32, 5, 6);
    REQUIRE_OK(&cx, ql_cols(&cx, t, 2, 3, &v));
    REQUIRE_OK(&cx, ql_map(&cx, v, QL_READ_WRITE, &p));
    CHECK(p != ql_ptr(v));
    CHECK_ERROR(&cx, ql_map(&cx, v, QL_READ, &p), QL_BUG, "map: the tensor is mapped already");
    CHECK_NEAR(p[4], host_2d(t, 1, 3), 0.0);
    before = host_2d(t, 1, 1);
    p[4] = 42;
    CHECK_OK(&cx, ql_unmap(&cx, v));
    CHECK_NEAR(host_2d(t, 1, 3), 42, 0.0);
    CHECK_NEAR(host_2d(t, 1, 1), before, 0.0);

    up = cx.device->up;
    down = cx.device->down;
    REQUIRE_OK(&cx, ql_map(&cx, t, QL_READ, &p));
    CHECK((p == ql_ptr(t)) == !hidden);
    CHECK_NEAR(p[9], 42, 0.0);
    CHECK_OK(&cx, ql_unmap(&cx, t));
    CHECK_OK(&cx, ql_unmap(&cx, t)); /* nothing to hand back */
    CHECK_INT(cx.device->down - down, hidden ? 120 : 0);
    REQUIRE_OK(&cx, ql_map(&cx, t, QL_WRITE, &p));
    for (int i = 0; i < 30; i++)
        p[i] = (float)i;
    CHECK_OK(&cx, ql_unmap(&cx, t));
    CHECK_INT(cx.device->up - up, hidden ? 120 : 0);
    CHECK_NEAR(host_2d(v, 4, 2), 28, 0.0);
    REQUIRE_OK(&cx, ql_map(&cx, v, QL_READ, &p)); /* left mapped: freed with its tensor */
    host_end(&cx);
    host.hidden = false;
    CHECK_INT(host.used, 0);
}

static void
items(void)
{
    static const ql_dtype all[] = {QL_F32, QL_F64, QL_F16, QL_BF16, QL_U8, QL_I32, QL_I64};
    static const struct {
        uint16_t bits;
        double value;
    } halves[] = {{0x3c00, 1},       {0xc000, -2},   {0x0001, 0x1p-24}, {0x03ff, 1023 * 0x1p-24},
                  {0x0400, 0x1p-14}, {0x7bff, 65504}};
    ql_ctx cx;
    ql_scope scope;
    ql_tensor *t, *v, *c;
    double x;

    host_begin(&cx, &scope, 0);
    for (size_t d = 0; d < sizeof all / sizeof *all; d++) {
        t = random_matrix(&cx, all[d], 3, 5);
        REQUIRE_OK(&cx, ql_cols(&cx, t, 1, 3, &v));
        for (int64_t i = 0; i < 9; i++) {
            CHECK_OK(&cx, ql_item(&cx, v, i, &x));
            CHECK_NEAR(x, host_2d(t, i / 3, 1 + i % 3), 0.0);
        }
        REQUIRE_OK(&cx, ql_convert(&cx, v, QL_F64, &c));
        CHECK(ql_contiguous(c));
        CHECK_NEAR(host_item(c, 8), x, 0.0);
    }
    CHECK_ERROR(&cx, ql_item(&cx, v, 9, &x), QL_INVALID, "item: element 9 of a tensor that has 9");
    CHECK_ERROR(&cx, ql_item(&cx, v, -1, &x), QL_INVALID, "item: element -1 of a tensor that has 9");
    for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
        REQUIRE_OK(&cx, ql_upload(&cx, QL_F16, 1, -1, &halves[i].bits, &t));
        CHECK_OK(&cx, ql_item(&cx, t, 0, &x));
        CHECK_NEAR(x, halves[i].value, 0.0);
        CHECK_INT(host_to_half(x), halves[i].bits);
    }
    REQUIRE_OK(&cx, ql_upload(&cx, QL_F16, 1, -1, &(uint16_t){0xfc00}, &t));
    CHECK_OK(&cx, ql_item(&cx, t, 0, &x));
    CHECK(isinf(x) && x < 0);
    REQUIRE_OK(&cx, ql_upload(&cx, QL_F16, 1, -1, &(uint16_t){0x7e00}, &t));
    CHECK_OK(&cx, ql_item(&cx, t, 0, &x));
    CHECK(isnan(x));
    REQUIRE_OK(&cx, ql_zeros(&cx, QL_I32, 4, -1, &t));
    CHECK_OK(&cx, ql_item(&cx, t, 3, &x));
    CHECK_NEAR(x, 0.0, 0.0);
    host_end(&cx);
}

static void
copies(void)
{
    ql_ctx cx;
    ql_scope scope;
    ql_tensor *t, *left, *right, *over, *other;

    host_begin(&cx, &scope, 0);
    t = random_matrix(&cx, QL_F32, 4, 6);
    REQUIRE_OK(&cx, ql_cols(&cx, t, 0, 3, &left));
    REQUIRE_OK(&cx, ql_cols(&cx, t, 3, 3, &right));
    REQUIRE_OK(&cx, ql_cols(&cx, t, 2, 3, &over));
    CHECK_OK(&cx, ql_copy(&cx, left, right)); /* columns beside each other share a buffer, not an element */
    CHECK_NEAR(host_2d(t, 3, 5), host_2d(t, 3, 2), 0.0);
    CHECK_ERROR(&cx, ql_copy(&cx, left, over), QL_INVALID, "copy: the target and the source share memory");
    REQUIRE_OK(&cx, ql_new(&cx, QL_F16, 3, 4, &other));
    CHECK_ERROR(&cx, ql_copy(&cx, left, other), QL_INVALID, "copy: the target: got f16 [3, 4], expected [4, 3]");
    CHECK_ERROR(&cx, ql_copy(&cx, NULL, other), QL_INVALID, "copy: the source: missing");
    host_end(&cx);
}

static ql_status
make_some(ql_ctx *cx)
{
    ql_tensor *t, *v, *c, *kept;
    float *p;

    QL_TRY(cx, ql_zeros(cx, QL_F32, 5, 6, &t));
    QL_TRY(cx, ql_cols(cx, t, 2, 3, &v));
    QL_TRY(cx, ql_convert(cx, v, QL_F16, &c));
    QL_TRY(cx, ql_writable(cx, &v));
    QL_TRY(cx, ql_cols(cx, t, 2, 3, &v));
    QL_TRY(cx, ql_map(cx, v, QL_READ_WRITE, &p));
    QL_TRY(cx, ql_unmap(cx, v));
    kept = ql_tensor_ref(c);
    ql_tensor_unref(kept);
    ql_drop(cx, &c);
    return QL_OK;
}

/* Whatever allocation fails: a MEMORY with a text, and nothing left behind. */
static void
nth_allocation(void)
{
    ql_status st = QL_MEMORY;

    for (int64_t n = 1; st != QL_OK && n < 1000; n++) {
        ql_ctx cx;
        ql_scope scope;

        host_begin(&cx, &scope, 0);
        cx.fail_alloc = n;
        st = make_some(&cx);
        if (st != QL_OK) {
            CHECK_INT(st, QL_MEMORY);
            CHECK(strstr(ql_error(&cx), "no memory for") != NULL);
        }
        host_end(&cx);
        CHECK_INT(host.used, 0);
    }
    CHECK_INT(st, QL_OK);
}

int
main(void)
{
    seed = test_seed();
    shapes();
    views();
    lifetimes();
    maps(false);
    maps(true);
    items();
    copies();
    nth_allocation();
    return TEST_DONE();
}
