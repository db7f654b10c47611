/* Codes at their width: the order of their bits, and parcels that give every number back to the bit. */
#include <unistd.h>

#include "core/store/pack.h"
#include "core/store/parcel.h"
#include "host_backend.h"
#include "same_tensor.h"
#include "test.h"

static uint64_t seed;

static int64_t
below(int64_t n)
{
    return (int64_t)(test_u64(&seed) % (uint64_t)n);
}

/* Bit k of the stream is bit k % bits of code k / bits, whatever the width and the number of codes; nothing is written behind the end. */
static void
test_pack(void)
{
    enum { MOST = 1100 };
    uint8_t codes[MOST + 1], packed[MOST + 1], back[MOST + 1];

    for (int bits = 1; bits <= 8; bits++)
        for (size_t n = 0; n < MOST; n += n < 80 ? 1 : (size_t)below(97)) {
            const size_t bytes = (n * (size_t)bits + 7) / 8;
            bool same = true;

            for (size_t i = 0; i < n; i++)
                codes[i] = (uint8_t)below(1 << bits);
            CHECK_INT(ql_packed_bytes(n, bits), bytes);
            packed[bytes] = back[n] = 77;
            CHECK(ql_codes_pack(codes, n, bits, packed) && packed[bytes] == 77);
            for (size_t k = 0; k < 8 * bytes; k++) {
                const int bit = k < n * (size_t)bits ? codes[k / (size_t)bits] >> k % (size_t)bits & 1 : 0;

                same = same && (packed[k / 8] >> k % 8 & 1) == bit;
            }
            CHECK(same);
            ql_codes_unpack(packed, n, bits, back);
            CHECK(memcmp(back, codes, n) == 0 && back[n] == 77);
            if (n > 0 && bits < 8) {
                codes[below((int64_t)n)] = (uint8_t)(1 << bits);
                CHECK(!ql_codes_pack(codes, n, bits, packed));
            }
        }
}

static void
put_number(ql_ctx *cx, ql_tensor *t, int64_t at, double x)
{
    void *p;

    REQUIRE_OK(cx, ql_map(cx, t, QL_READ_WRITE, &p));
    if (ql_dtype_of(t) == QL_F64)
        ((double *)p)[at] = x;
    else if (ql_dtype_of(t) == QL_F32)
        ((float *)p)[at] = (float)x;
    else
        ((uint8_t *)p)[at] = (uint8_t)x;
    REQUIRE_OK(cx, ql_unmap(cx, t));
}

/* Integers at `bits` each and numbers in bf16 come back to the bit, also those that fit neither; `takes` bytes in the file. */
static void
check_narrow(ql_ctx *cx, const char *folder, const ql_tensor *t, int bits, size_t takes)
{
    const char *path = ql_format(cx, "%s/narrow", folder);
    const ql_dtype dtype = ql_dtype_of(t);
    const int64_t rows = ql_dim(t, 0), cols = ql_dim(t, 1);
    const ql_dtype as = dtype == QL_U8 ? QL_U8 : QL_BF16;
    const void *data;
    size_t bytes;
    ql_parcel p = {0};
    ql_tensor *got;

    REQUIRE_OK(cx, ql_parcel_put_codes(cx, &p, "codes", t, bits));
    REQUIRE_OK(cx, ql_parcel_put_as(cx, &p, "numbers", t, as));
    REQUIRE_OK(cx, ql_parcel_write(cx, &p, path));
    REQUIRE_OK(cx, ql_parcel_read(cx, path, &p));
    REQUIRE_OK(cx, ql_parcel_codes(cx, &p, "codes", bits, rows, cols, dtype, &got));
    check_equal(cx, got, t);
    REQUIRE_OK(cx, ql_parcel_tensor_as(cx, &p, "numbers", dtype, &got));
    check_equal(cx, got, t);
    REQUIRE_OK(cx, ql_parcel_find(cx, &p, "codes", &data, &bytes));
    CHECK_INT(bytes, takes);
    if (takes == ql_packed_bytes((size_t)(rows * cols), bits)) {
        CHECK_ERROR(cx, ql_parcel_codes(cx, &p, "codes", bits, rows + 8, cols, dtype, &got), QL_INVALID,
                    "'codes' does not hold [");
        CHECK_INT(ql_parcel_codes(cx, &p, "codes", 9, rows, cols, dtype, &got), QL_INVALID);
    }
    CHECK_OK(cx, ql_parcel_codes(cx, &p, "none", bits, rows, cols, dtype, &got));
    CHECK(got == NULL);
}

static void
test_narrow(ql_ctx *cx, const char *folder)
{
    static const ql_dtype dtypes[] = {QL_U8, QL_F32, QL_F64};
    static const double odd[] = {-0.0, 0.5, -1, 256, 1e300, NAN, INFINITY, 0x1.000002p0};

    for (int bits = 1; bits <= 8; bits++)
        for (int d = 0; d < 3; d++) {
            const int64_t rows = 1 + below(40), cols = 1 + below(70), n = rows * cols;
            ql_tensor *t;

            REQUIRE_OK(cx, ql_new(cx, dtypes[d], rows, cols, &t));
            for (int64_t i = 0; i < n; i++)
                put_number(cx, t, i, (double)below(1 << bits));
            check_narrow(cx, folder, t, bits, ((size_t)n * (size_t)bits + 7) / 8);
            put_number(cx, t, below(n), bits < 8 ? 1 << bits : 0);
            if (bits < 8)
                check_narrow(cx, folder, t, bits, (size_t)n * ql_dtype_size(dtypes[d]));
            for (size_t i = 0; i < sizeof odd / sizeof *odd && d > 0; i++) {
                put_number(cx, t, below(n), odd[i]);
                check_narrow(cx, folder, t, bits, (size_t)n * ql_dtype_size(dtypes[d]));
            }
        }
}

int
main(void)
{
    char folder[] = "/tmp/qloom-pack-XXXXXX", command[64];
    ql_device *d;
    ql_scope scope;
    ql_ctx cx;

    seed = test_seed();
    if (!mkdtemp(folder))
        return 1;
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    REQUIRE_OK(&cx, ql_device_open(&cx, &host_backend, &(ql_device_options){.threads = 1}, 0, &d));
    cx.device = d;
    test_pack();
    test_narrow(&cx, folder);
    ql_scope_close(&cx, &scope);
    ql_device_close(d);
    ql_ctx_fini(&cx);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK_INT(system(command), 0);
    return TEST_DONE();
}
