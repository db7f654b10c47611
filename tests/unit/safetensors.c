/* safetensors: every case of the format's rules, truncation at every byte, and what the writer makes of them. */
#include "core/tensor/safetensors.h"

#include <unistd.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/tensor/safetensors_write.h"
#include "test.h"

/* A file in memory: length, header, `data` bytes that count up. The caller frees. */
static unsigned char *
file_of(const char *header, size_t header_bytes, size_t data, size_t *size)
{
    unsigned char *p = malloc(8 + header_bytes + data + 1);

    for (size_t i = 0; i < 8; i++)
        p[i] = (unsigned char)((uint64_t)header_bytes >> 8 * i);
    memcpy(p + 8, header, header_bytes);
    for (size_t i = 0; i < data; i++)
        p[8 + header_bytes + i] = (unsigned char)i;
    *size = 8 + header_bytes + data;
    return p;
}

static void
check_valid(ql_ctx *cx)
{
    static const struct {
        const char *header;
        size_t data;
        int64_t count;
    } cases[] = {
        {"{}", 0, 0},
        {" \t\r\n{}\n \t", 0, 0},
        {"{\"__metadata__\":{}}", 0, 0},
        {"{\"__metadata__\":{\"format\":\"pt\",\"x\":\"\\u0000\"}}", 0, 0},
        {"{\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, 1},
        {"{\"e\":{\"dtype\":\"F32\",\"shape\":[2,0],\"data_offsets\":[0,0]}}", 0, 1},
        {"{\"b\":{\"data_offsets\":[2,2],\"dtype\":\"F64\",\"shape\":[0]},\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_"
         "offsets\":[0,2]},"
         "\"c\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[2,3]}}",
         3, 3},
        {"{\"a\":{\"dtype\":\"I8\",\"shape\":[3],\"data_offsets\":[0,3]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_"
         "offsets\":[3,11]}}",
         11, 2},
        {"{\"x\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,2]},\"y\":{\"dtype\":\"F6_E2M3\",\"shape\":[4],"
         "\"data_offsets\":[2,5]}}",
         5, 2},
        {"{\"z\":{\"dtype\":\"F99\",\"shape\":[4],\"data_offsets\":[0,7]}}", 7, 1},
        {"{\"\":{\"dtype\":\"C64\",\"shape\":[1,1,1,1,1,1],\"data_offsets\":[0,8]}}", 8, 1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size;
        unsigned char *p = file_of(cases[i].header, strlen(cases[i].header), cases[i].data, &size);
        ql_st_file f = {0};

        CHECK_OK(cx, ql_st_parse(cx, "f", p, size, &f));
        CHECK_INT(f.count, cases[i].count);
        for (int64_t k = 0; k < f.count; k++)
            CHECK(ql_st_find(&f, f.tensors[k].name) == &f.tensors[k]);
        CHECK(!ql_st_find(&f, "absent"));
        free(p);
    }
}

#define TENSOR(dtype, shape, offsets) \
    "{\"t\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

typedef struct bad_case {
    const char *header;
    size_t data;
    const char *error;
} bad_case;

static const bad_case bad_cases[] = {
    {"{", 0, "f:1:2: expected a key in quotes, got the end"},
    {"", 0, "f:1:1: expected a value, got the end"},
    {"[]", 0, "f: the header is not a JSON object"},
    {"{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}", 0, "f:1:21: nested deeper than 4 levels"},
    {"{\"t\":\xff}", 0, "f: the header is not UTF-8: byte 0xff at offset 5"},
    {"{\"t\":1}", 0, "f: 't': expected the fields dtype, shape and data_offsets, got 1"},
    {"{\"t\":{\"dtype\":\"I8\",\"shape\":[]}}", 0, "f: 't': expected the fields dtype, shape and data_offsets"},
    {"{\"t\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":null}}", 0, "f: 't': expected the fields dtype, shape"},
    {"{\"t\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[0,1],\"x\":1}}", 1, "f: 't': expected the fields"},
    {TENSOR("I8", "[1]", "[0,1,1]"), 1, "f: 't.data_offsets': expected an array of two integers, got an array"},
    {TENSOR("I8", "[1]", "\"x\""), 1, "f: 't.data_offsets': expected an array of two integers, got \"x\""},
    {TENSOR("I8", "1", "[0,1]"), 1, "f: 't.shape': expected an array of integers, got 1"},
    {TENSOR("I8", "[1.0]", "[0,1]"), 1, "f: 't.shape[0]': expected an integer that is not negative, got 1.0"},
    {TENSOR("I8", "[1e0]", "[0,1]"), 1, "f: 't.shape[0]': expected an integer that is not negative, got 1.0"},
    {TENSOR("I8", "[2,-1]", "[0,1]"), 1, "f: a number with a sign at offset 30 of the header"},
    {TENSOR("I8", "[0]", "[-0,0]"), 0, "f: a number with a sign at offset 47 of the header"},
    {TENSOR("I8", "[2,18446744073709551614]", "[0,1]"), 1, "f: 't.shape[1]': expected an integer that is not"},
    {"{\"t\":{\"dtype\":8,\"shape\":[],\"data_offsets\":[0,1]}}", 1,
     "f: 't.dtype': expected the name of a dtype, got 8"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "f: '__metadata__.a': expected a string, got 1"},
    {"{\"__metadata__\":[]}", 0, "f: '__metadata__': expected an object of strings, got an array"},
    {"{\"t\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[0,1]},\"t\":{\"dtype\":\"I8\",\"shape\":[],\"data_"
     "offsets\":[1,2]}}",
     2, "an object that has the key \"t\" twice"},
    {TENSOR("F32", "[1]", "[4,8]"), 8, "f: tensor 't': invalid data_offsets [4, 8], expected to begin at 0"},
    {TENSOR("F32", "[1]", "[0,4]"), 6, "f: incomplete buffer: the tensors end at byte 4 of the data, which has 6"},
    {TENSOR("F32", "[1]", "[0,4]"), 2, "f: incomplete buffer: the tensors end at byte 4 of the data, which has 2"},
    {"{}", 1, "f: incomplete buffer: the tensors end at byte 0 of the data, which has 1"},
    {"{\"a\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"I8\",\"shape\":[4],\"data_"
     "offsets\":[8,12]}}",
     12, "f: tensor 'b': invalid data_offsets [8, 12], expected to begin at 4"},
    {"{\"a\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"I8\",\"shape\":[4],\"data_"
     "offsets\":[4,3]}}",
     4, "f: tensor 'b': invalid data_offsets [4, 3], expected to begin at 4"},
    {TENSOR("I32", "[2,2]", "[0,4]"), 4, "f: tensor 't': shape and dtype I32 need 16 bytes, data_offsets give 4"},
    {TENSOR("I8", "[4294967296,4294967296]", "[0,4]"), 4, "f: tensor 't': its shape overflows 64 bits"},
    {TENSOR("I32", "[9223372036854775807]", "[0,4]"), 4, "f: tensor 't': its size overflows 64 bits"},
    {TENSOR("F4", "[3]", "[0,1]"), 1, "f: tensor 't': misaligned: 3 elements of F4 don't fill whole bytes"},
};

static void
check_invalid(ql_ctx *cx)
{
    char ten[1024] = "{";
    unsigned char *p;
    size_t size, used = 1;
    ql_st_file f = {0};

    for (size_t i = 0; i < sizeof bad_cases / sizeof *bad_cases; i++) {
        p = file_of(bad_cases[i].header, strlen(bad_cases[i].header), bad_cases[i].data, &size);
        CHECK_ERROR(cx, ql_st_parse(cx, "f", p, size, &f), QL_INVALID, bad_cases[i].error);
        free(p);
    }
    for (int i = 0; i < 10; i++)
        used +=
            (size_t)snprintf(ten + used, sizeof ten - used,
                             "%s\"t%d\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}", i ? "," : "", i);
    snprintf(ten + used, sizeof ten - used, "}");
    p = file_of(ten, strlen(ten), 16, &size);
    CHECK_ERROR(cx, ql_st_parse(cx, "f", p, size, &f), QL_INVALID,
                "': invalid data_offsets [0, 16], expected to begin at 16");
    free(p);
}

static void
check_lengths(ql_ctx *cx)
{
    static const struct {
        unsigned char bytes[10];
        size_t size;
        const char *error;
    } cases[] = {
        {{0}, 0, "f: header too small: the file has 0 bytes, expected at least 8"},
        {{0}, 7, "f: header too small: the file has 7 bytes, expected at least 8"},
        {{0}, 8, "f:1:1: expected a value, got the end"},
        {{0, 0, 0, 0, 0, 0, 0, 0x80},
         8,
         "f: header too large: 9223372036854775808 bytes, at most 100000000 are allowed"},
        {{255, 255, 255, 255, 255, 255, 255, 255}, 8, "f: header too large: 18446744073709551615 bytes"},
        {{1, 0xe1, 0xf5, 5}, 8, "f: header too large: 100000001 bytes"},
        {{0, 0xe1, 0xf5, 5}, 8, "f: invalid header length: 100000000 bytes, but only 0 follow"},
        {{3, 0, 0, 0, 0, 0, 0, 0, '{', '}'}, 10, "f: invalid header length: 3 bytes, but only 2 follow"},
    };
    ql_st_file f = {0};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_ERROR(cx, ql_st_parse(cx, "f", cases[i].bytes, cases[i].size, &f), QL_INVALID, cases[i].error);
}

/* No prefix of a file is a file. The copy of the right length makes reads beyond the end visible to the sanitizer. */
static void
check_truncation(ql_ctx *cx)
{
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"BF16\",\"shape\":[3,1],\"data_offsets\":[0,6]},"
        "\"\xc3\xa4\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[6,7]}}";
    size_t size;
    unsigned char *p = file_of(header, sizeof header - 1, 7, &size);
    ql_st_file f = {0};

    CHECK_OK(cx, ql_st_parse(cx, "f", p, size, &f));
    for (size_t n = 0; n < size; n++) {
        unsigned char *part = malloc(n ? n : 1);

        memcpy(part, p, n);
        CHECK(ql_st_parse(cx, "f", part, n, &f) == QL_INVALID);
        free(part);
    }
    free(p);
}

/* Any flipped byte either leaves a file or is an error with a text; nothing else. */
static void
check_noise(ql_ctx *cx, uint64_t *rng)
{
    static const char header[] =
        "{\"a\":{\"dtype\":\"BF16\",\"shape\":[3,1],\"data_offsets\":[0,6]},\"b\":{\"dtype\":\"I8\",\"shape\":[1],"
        "\"data_offsets\":[6,7]}}";
    static const char likely[] = " \"{}[],:0123456789-.eE\\x";

    for (int round = 0; round < 2000; round++) {
        size_t size;
        unsigned char *p = file_of(header, sizeof header - 1, 7, &size);
        ql_scope scope;
        ql_st_file f = {0};
        ql_status st;

        for (uint64_t flips = 1 + test_u64(rng) % 3; flips-- > 0;) {
            char byte = test_u64(rng) % 4 ? likely[test_u64(rng) % (sizeof likely - 1)] : (char)test_u64(rng);

            p[test_u64(rng) % size] = (unsigned char)byte;
        }
        ql_scope_open(cx, &scope);
        st = ql_st_parse(cx, "f", p, size, &f);
        CHECK(st == QL_OK || (st == QL_INVALID && *ql_error(cx)));
        for (int64_t i = 0; st == QL_OK && i < f.count; i++)
            CHECK(f.tensors[i].begin + f.tensors[i].bytes <= size);
        ql_scope_close(cx, &scope);
        free(p);
    }
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

#define MANY 40

typedef struct made { /* a random tensor and its bytes */
    char name[24];
    ql_st_entry entry;
    size_t bytes;
    unsigned char *data;
} made;

static void
make(made *m, int i, uint64_t *rng)
{
    snprintf(m->name, sizeof m->name, "%c.\"\xc3\xa4\" %d", (char)('a' + (int)(test_u64(rng) % 26)), i);
    m->entry = (ql_st_entry){.name = m->name, .ndim = (int)(test_u64(rng) % 4)};
    do
        m->entry.dtype = (ql_st_dtype)(1 + test_u64(rng) % QL_ST_C64);
    while (ql_st_dtype_bits(m->entry.dtype) % 8 != 0);
    m->bytes = (size_t)ql_st_dtype_bits(m->entry.dtype) / 8;
    for (int k = 0; k < m->entry.ndim; k++) {
        m->entry.dims[k] = (int64_t)(test_u64(rng) % 6);
        m->bytes *= (size_t)m->entry.dims[k];
    }
    m->data = malloc(m->bytes + 1);
    for (size_t k = 0; k < m->bytes; k++)
        m->data[k] = (unsigned char)test_u64(rng);
}

/* Declared and written in any order and in pieces, read back equal, aligned, and in the format's order. */
static void
check_round_trip(ql_ctx *cx, const char *path, uint64_t *rng)
{
    made m[MANY];
    ql_st_entry entries[MANY];
    int count = (int)(test_u64(rng) % MANY);
    ql_st_plan plan = {.count = count, .entries = entries, .pair_count = 1, .pairs = &(ql_st_pair){"qloom.k", "a\"b"}};
    ql_st_writer *w = NULL;
    ql_st_file f;

    for (int i = 0; i < count; i++) {
        make(&m[i], i, rng);
        entries[i] = m[i].entry;
    }
    REQUIRE_OK(cx, ql_st_create(cx, path, &plan, &w));
    for (int i = count; i-- > 0;) {
        size_t half = m[i].bytes ? test_u64(rng) % m[i].bytes : 0;

        CHECK_OK(cx, ql_st_write(cx, w, m[i].name, m[i].data, half));
        CHECK_OK(cx, ql_st_write(cx, w, m[i].name, m[i].data + half, m[i].bytes - half));
    }
    REQUIRE_OK(cx, ql_st_commit(cx, w));
    REQUIRE_OK(cx, ql_st_open(cx, path, &f));
    CHECK_INT(f.count, count);
    for (int i = 0; i < count; i++) {
        const ql_st_tensor *t = ql_st_find(&f, m[i].name);

        CHECK(t && t->bytes == m[i].bytes && t->dtype == m[i].entry.dtype && t->ndim == m[i].entry.ndim);
        CHECK(t && memcmp(ql_st_data(t), m[i].data, m[i].bytes) == 0);
        CHECK(t && t->begin % ((size_t)ql_st_dtype_bits(t->dtype) / 8) == 0);
        if (t) {
            ql_st_prefetch(t);
            ql_st_release(t);
            CHECK(memcmp(ql_st_data(t), m[i].data, m[i].bytes) == 0);
        }
        free(m[i].data);
    }
    for (int64_t i = 1; i < f.count; i++)
        CHECK(ql_st_dtype_bits(f.tensors[i - 1].dtype) >= ql_st_dtype_bits(f.tensors[i].dtype));
    ql_st_close(&f);
}

static void
check_bytes(ql_ctx *cx, const char *path)
{
    static const char expected[] =
        "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"BF16\",\"shape\":[1,1],\"data_offsets\":[0,2]},"
        "\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[2,3]}}";
    const ql_st_entry entries[] = {{.name = "a", .dtype = QL_ST_U8},
                                   {.name = "b", .dtype = QL_ST_BF16, .ndim = 2, .dims = {1, 1}}};
    ql_st_writer *w = NULL;
    const char *text = NULL;
    size_t bytes = 0, n = sizeof expected - 1;

    REQUIRE_OK(cx, ql_st_create(cx, path, &(ql_st_plan){.count = 2, .entries = entries}, &w));
    CHECK_OK(cx, ql_st_write(cx, w, "a", "x", 1));
    CHECK_OK(cx, ql_st_write(cx, w, "b", "yz", 2));
    CHECK_OK(cx, ql_st_commit(cx, w));
    REQUIRE_OK(cx, ql_file_read(cx, path, QL_FILE_MOST, &text, &bytes));
    CHECK_INT(bytes, 8 + (n + 7) / 8 * 8 + 3);
    CHECK_INT((unsigned char)text[0], (n + 7) / 8 * 8);
    CHECK(memcmp(text + 8, expected, n) == 0);
    for (size_t i = 8 + n; i < bytes - 3; i++)
        CHECK(text[i] == ' ');
    CHECK(memcmp(text + bytes - 3, "yzx", 3) == 0);
}

static void
check_refused(ql_ctx *cx, const char *path)
{
    const ql_st_entry twice[] = {{.name = "a", .dtype = QL_ST_U8}, {.name = "a", .dtype = QL_ST_F32}};
    const ql_st_entry reserved = {.name = "__metadata__", .dtype = QL_ST_U8};
    const ql_st_entry huge = {.name = "h", .dtype = QL_ST_F64, .ndim = 2, .dims = {INT64_MAX, 2}};
    const ql_st_entry half = {.name = "f", .dtype = QL_ST_F4, .ndim = 1, .dims = {3}};
    const ql_st_entry none = {.name = "n"};
    const ql_st_entry good = {.name = "g", .dtype = QL_ST_F32, .ndim = 1, .dims = {2}};
    ql_st_writer *w = NULL;

    unlink(path);
    CHECK_ERROR(cx, ql_st_create(cx, path, &(ql_st_plan){.count = 2, .entries = twice}, &w), QL_INVALID,
                "'a': the name is taken");
    CHECK_ERROR(cx, ql_st_create(cx, path, &(ql_st_plan){.count = 1, .entries = &reserved}, &w), QL_INVALID,
                "the name is taken");
    CHECK_ERROR(cx, ql_st_create(cx, path, &(ql_st_plan){.count = 1, .entries = &huge}, &w), QL_INVALID,
                "'h': its size overflows");
    CHECK_ERROR(cx, ql_st_create(cx, path, &(ql_st_plan){.count = 1, .entries = &half}, &w), QL_INVALID,
                "'f': its elements don't");
    CHECK_ERROR(cx, ql_st_create(cx, path, &(ql_st_plan){.count = 1, .entries = &none}, &w), QL_INVALID,
                "'n': its dtype can't");
    REQUIRE_OK(cx, ql_st_create(cx, path, &(ql_st_plan){.count = 1, .entries = &good}, &w));
    CHECK_ERROR(cx, ql_st_write(cx, w, "x", "", 0), QL_INVALID, "tensor 'x' was not declared");
    CHECK_OK(cx, ql_st_write(cx, w, "g", "1234", 4));
    CHECK_ERROR(cx, ql_st_write(cx, w, "g", "12345", 5), QL_INVALID, "tensor 'g' has 8 bytes, got 9");
    CHECK_ERROR(cx, ql_st_commit(cx, w), QL_INVALID, "tensor 'g' has 8 bytes, got only 4");
    ql_st_abort(w);
    ql_st_abort(NULL);
    CHECK_INT(access(path, F_OK), -1);
}

/* Every failed allocation of reader and writer is an error, never a crash, and leaves no file behind. */
static void
check_memory(const char *path)
{
    const ql_st_entry entry = {.name = "g", .dtype = QL_ST_F32, .ndim = 1, .dims = {2}};
    ql_status st = QL_MEMORY;

    for (int64_t n = 1; st != QL_OK && n < 200; n++) {
        ql_ctx cx;
        ql_scope scope;
        ql_st_writer *w = NULL;
        ql_st_file f = {0};

        ql_ctx_init(&cx, NULL);
        ql_scope_open(&cx, &scope);
        cx.fail_alloc = n;
        st = ql_st_create(&cx, path, &(ql_st_plan){.count = 1, .entries = &entry}, &w);
        if (st == QL_OK)
            st = ql_st_write(&cx, w, "g", "12345678", 8);
        if (st == QL_OK)
            st = ql_st_commit(&cx, w);
        if (st == QL_OK)
            st = ql_st_open(&cx, path, &f);
        CHECK(st == QL_OK || st == QL_MEMORY);
        ql_st_close(&f);
        ql_ctx_fini(&cx);
    }
    CHECK_INT(st, QL_OK);
}

static void
check_open(ql_ctx *cx, const char *path, const char *folder)
{
    ql_st_file f;

    unlink(path);
    CHECK_ERROR(cx, ql_st_open(cx, path, &f), QL_NOT_FOUND, "a.safetensors: No such file or directory");
    ql_st_close(&f);
    CHECK_ERROR(cx, ql_st_open(cx, folder, &f), QL_IO, "not a regular file");
    CHECK_OK(cx, ql_file_write(cx, path, "", 0));
    CHECK_ERROR(cx, ql_st_open(cx, path, &f), QL_INVALID, "a.safetensors: header too small: the file has 0 bytes");
    CHECK_OK(cx, ql_file_write(cx, path, "\2\0\0\0\0\0\0\0{}", 10));
    CHECK_OK(cx, ql_st_open(cx, path, &f));
    ql_st_close(&f);
}

int
main(void)
{
    uint64_t rng = test_seed();
    char folder[] = "/tmp/qloom-st-XXXXXX";
    const char *path;
    ql_ctx cx;
    ql_scope scope;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    check_valid(&cx);
    check_invalid(&cx);
    check_lengths(&cx);
    check_truncation(&cx);
    check_noise(&cx, &rng);
    for (int d = QL_ST_UNKNOWN + 1; d <= QL_ST_C64; d++)
        CHECK_INT(ql_st_dtype_find(ql_st_dtype_name((ql_st_dtype)d)), d);
    CHECK_INT(ql_st_dtype_find("unknown"), QL_ST_UNKNOWN);
    for (int d = QL_F32; d <= QL_I64; d++)
        CHECK_STR(ql_st_dtype_name(ql_st_dtype_of((ql_dtype)d)),
                  ((const char *const[]){"F32", "F64", "F16", "BF16", "U8", "I32", "I64"})[d - QL_F32]);
    if (!mkdtemp(folder))
        SKIP("no temporary folder");
    path = ql_format(&cx, "%s/a.safetensors", folder);
    for (int i = 0; i < 20; i++)
        check_round_trip(&cx, path, &rng);
    check_bytes(&cx, path);
    check_refused(&cx, path);
    check_memory(path);
    check_open(&cx, path, folder);
    unlink(path);
    CHECK_INT(rmdir(folder), 0);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
