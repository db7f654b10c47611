/* JSON texts: what is read, what is refused with which words, what is written. */
#include "core/base/json.h"

#include <unistd.h>

#include "core/base/file.h"
#include "test.h"

static const ql_json *
parse(ql_ctx *cx, const char *text)
{
    const ql_json *v = NULL;

    REQUIRE_OK(cx, ql_json_parse(cx, "config.json", text, strlen(text), QL_JSON_DEPTH, &v));
    return v;
}

static void
check_values(ql_ctx *cx)
{
    const ql_json *o =
        parse(cx, " {\"i\": -3, \"r\": 1e-6, \"t\": true, \"f\": false, \"s\": \"a\\u00e4\\n\", \"n\": null, "
                  "\"list\": [1, \"b\", {\"x\": [2.5]}], \"big\": 9223372036854775807}\n\t");
    int64_t i;
    double r;
    bool b;
    const char *s, *key = NULL;

    CHECK_OK(cx, ql_json_int(cx, o, "i", 7, &i));
    CHECK_INT(i, -3);
    CHECK_OK(cx, ql_json_int(cx, o, "n", 7, &i));
    CHECK_INT(i, 7);
    CHECK_OK(cx, ql_json_int(cx, o, "absent", 8, &i));
    CHECK_INT(i, 8);
    CHECK_OK(cx, ql_json_int(cx, o, "big", 0, &i));
    CHECK(i == INT64_MAX);
    CHECK_OK(cx, ql_json_real(cx, o, "r", 0, &r));
    CHECK_NEAR(r, 1e-6, 0);
    CHECK_OK(cx, ql_json_real(cx, parse(cx, "{\"a\": [-99999999999999999999], \"b\": 1000000000000000019884624838656}"),
                              "b", 0, &r));
    CHECK_NEAR(r, 1e30, 0);
    CHECK_OK(cx, ql_json_real(cx, o, "i", 0, &r));
    CHECK_NEAR(r, -3, 0);
    CHECK_OK(cx, ql_json_bool(cx, o, "t", false, &b));
    CHECK(b);
    CHECK_OK(cx, ql_json_bool(cx, o, "f", true, &b));
    CHECK(!b);
    CHECK_OK(cx, ql_json_text(cx, o, "s", NULL, &s));
    CHECK_STR(s, "a\xc3\xa4\n");
    CHECK_OK(cx, ql_json_text(cx, o, "absent", "def", &s));
    CHECK_STR(s, "def");
    CHECK(ql_json_is_object(o) && !ql_json_is_array(o) && ql_json_length(o) == 0);
    CHECK(!ql_json_is_object(NULL) && !ql_json_is_array(NULL) && !ql_json_member(NULL, "x"));
    CHECK(!ql_json_member(o, "n") && !ql_json_item(o, 0));
    CHECK(ql_json_is_null(o, "n") && !ql_json_is_null(o, "i") && !ql_json_is_null(o, "absent"));
    CHECK_INT(ql_json_members(o), 8);
    CHECK(ql_json_at(o, 5, &key) != NULL);
    CHECK_STR(key, "n");
    CHECK(!ql_json_at(o, 8, &key) && !ql_json_at(o, -1, &key));
    CHECK_INT(ql_json_length(ql_json_member(o, "list")), 3);
    CHECK_STR(ql_json_string(ql_json_item(ql_json_member(o, "list"), 1)), "b");
    CHECK(!ql_json_string(ql_json_item(ql_json_member(o, "list"), 0)));
    CHECK(!ql_json_item(ql_json_member(o, "list"), 3) && !ql_json_item(ql_json_member(o, "list"), -1));
    CHECK_STR(ql_json_where(cx, o), "config.json");
    o = ql_json_item(ql_json_member(ql_json_item(ql_json_member(o, "list"), 2), "x"), 0);
    CHECK_STR(ql_json_where(cx, o), "config.json: 'list[2].x[0]'");
}

static void
check_types(ql_ctx *cx)
{
    const ql_json *o =
        parse(cx, "{\"hidden_size\": \"abc\", \"r\": 1.0, \"e\": 1e300, \"q\": 0.1, \"a\": [], \"o\": {\"k\": true}, "
                  "\"nul\": \"a\\u0000b\", \"neg\": -7}");
    int64_t i;
    double r;
    bool b;
    const char *s;
    size_t bytes;

    CHECK_ERROR(cx, ql_json_int(cx, o, "hidden_size", 0, &i), QL_INVALID,
                "config.json: 'hidden_size': expected an integer, got \"abc\"");
    CHECK_ERROR(cx, ql_json_int(cx, o, "r", 0, &i), QL_INVALID, "'r': expected an integer, got 1.0");
    CHECK_ERROR(cx, ql_json_bool(cx, o, "e", 0, &b), QL_INVALID, "'e': expected true or false, got 1e+300");
    CHECK_ERROR(cx, ql_json_text(cx, o, "q", 0, &s), QL_INVALID, "'q': expected a text, got 0.1");
    CHECK_ERROR(cx, ql_json_real(cx, o, "a", 0, &r), QL_INVALID, "'a': expected a number, got an array");
    CHECK_ERROR(cx, ql_json_real(cx, o, "o", 0, &r), QL_INVALID, "'o': expected a number, got an object");
    CHECK_ERROR(cx, ql_json_int(cx, ql_json_member(o, "o"), "k", 0, &i), QL_INVALID,
                "config.json: 'o.k': expected an integer, got true");
    CHECK_ERROR(cx, ql_json_text(cx, o, "nul", 0, &s), QL_INVALID, "'nul': expected a text, got \"a\\u0000b\"");
    CHECK_ERROR(cx, ql_json_text(cx, o, "neg", 0, &s), QL_INVALID, "'neg': expected a text, got -7");
    CHECK(memcmp(ql_json_bytes(ql_json_member(o, "nul"), &bytes), "a\0b", 4) == 0 && bytes == 3);
}

static void
check_refused(ql_ctx *cx)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"", "f.json:1:0: "},
        {"{", "f.json:1:1: "},
        {"{\n  \"a\": 1,\n  \"a\": 2}", "f.json:3:5: duplicate object key near '\"a\"'"},
        {"[1, 2,]", "f.json:1:7: "},
        {"[1] x", "f.json:1:5: end of file expected near 'x'"},
        {"[\"\xff\"]", "f.json:1:2: unable to decode byte 0xff"},
        {"[1e999]", "f.json:1:"},
        {"[[[[1]]]]", "f.json:1:4: nested deeper than 3 levels"},
        {"[\n \"[[[[\\\"[\", [[[", "f.json:2:15: nested deeper than 3 levels"},
        {"\xef\xbb\xbf{}", "f.json:1:"},
    };
    const ql_json *v = NULL;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_ERROR(cx, ql_json_parse(cx, "f.json", cases[i].text, strlen(cases[i].text), 3, &v), QL_INVALID,
                    cases[i].error);
    CHECK_ERROR(cx, ql_json_parse(cx, "f.json", "[1]\0", 4, 3, &v), QL_INVALID, "f.json:1:");
    CHECK_OK(cx, ql_json_parse(cx, "f.json", "[[[\"[[[[\"]]]", 12, 3, &v));
}

/* Large objects are looked up by bisection: every key has to be found, and only those. (7919 is a prime above n.) */
static void
check_large(ql_ctx *cx, uint64_t *rng)
{
    int64_t n = 17 + (int64_t)(test_u64(rng) % 2000), got;
    size_t used = 0, size = (size_t)n * 40 + 8;
    char *text = malloc(size), key[24];
    const ql_json *o;

    used += (size_t)snprintf(text + used, size - used, "{");
    for (int64_t i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, size - used, "%s\"k%lld\": %lld", i ? "," : "", (long long)(i * 7919 % n),
                                 (long long)i);
    snprintf(text + used, size - used, "}");
    o = parse(cx, text);
    for (int64_t i = 0; i < n; i++) {
        snprintf(key, sizeof key, "k%lld", (long long)(i * 7919 % n));
        CHECK(ql_json_as_int(ql_json_member(o, key), &got) && got == i);
    }
    CHECK(!ql_json_member(o, "k") && !ql_json_member(o, "") && !ql_json_member(o, "l"));
    free(text);
}

static void
check_quote(ql_ctx *cx, uint64_t *rng)
{
    unsigned char raw[64];
    size_t n = test_u64(rng) % sizeof raw, bytes;
    const ql_json *v = NULL;
    const char *text;

    CHECK_STR(ql_json_quote(cx, "a\"\\/\b\f\n\r\t\x01\x7f\xc3\xa4n", 14),
              "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\x7f\xc3\xa4n\"");
    CHECK_STR(ql_json_quote(cx, "a\0b", 3), "\"a\\u0000b\"");
    CHECK_STR(ql_json_quote(cx, "\xff\xc3", 2), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    CHECK_STR(ql_json_quote(cx, "", 0), "\"\"");
    for (size_t i = 0; i < n; i++)
        raw[i] = (unsigned char)test_u64(rng);
    text = ql_json_quote(cx, (const char *)raw, n); /* any bytes give a text that parses */
    CHECK_OK(cx, ql_json_parse(cx, "q", text, strlen(text), 1, &v));
    for (size_t i = 0; i < n; i++)
        raw[i] &= 0x7f;
    text = ql_json_quote(cx, (const char *)raw, n); /* and ASCII comes back as it was */
    CHECK_OK(cx, ql_json_parse(cx, "q", text, strlen(text), 1, &v));
    text = ql_json_bytes(v, &bytes);
    CHECK(text && bytes == n && memcmp(text, raw, n) == 0);
}

/* Every failed allocation is an error, never a crash. */
static void
check_memory(void)
{
    static const char text[] = "{\"a\": [1, {\"b\": \"c\"}], \"d\": [[], {}, \"e\"]}";
    ql_status st = QL_MEMORY;

    for (int64_t n = 1; st != QL_OK && n < 100; n++) {
        ql_ctx cx;
        ql_scope scope;
        const ql_json *v = NULL;

        ql_ctx_init(&cx, NULL);
        ql_scope_open(&cx, &scope);
        cx.fail_alloc = n;
        st = ql_json_parse(&cx, "f", text, sizeof text - 1, 8, &v);
        CHECK(st == QL_OK || (st == QL_MEMORY && *ql_error(&cx)));
        ql_ctx_fini(&cx);
    }
    CHECK_INT(st, QL_OK);
}

static void
check_files(ql_ctx *cx)
{
    char folder[] = "/tmp/qloom-json-XXXXXX";
    const ql_json *v = NULL;
    const char *path, *text = NULL;
    size_t bytes = 0;
    ql_file_writer w;

    if (!mkdtemp(folder))
        SKIP("no temporary folder");
    path = ql_format(cx, "%s/a.json", folder);
    CHECK_ERROR(cx, ql_json_read(cx, path, &v), QL_NOT_FOUND, "a.json: No such file or directory");
    CHECK_ERROR(cx, ql_json_read(cx, folder, &v), QL_IO, "not a regular file");
    CHECK_OK(cx, ql_file_write(cx, path, "{\"a\": x}", 8));
    CHECK_ERROR(cx, ql_json_read(cx, path, &v), QL_INVALID, "a.json:1:7: invalid token near 'x'");
    CHECK_OK(cx, ql_file_create(cx, path, &w));
    CHECK_OK(cx, ql_file_put(cx, &w, "half", 4));
    ql_file_abort(&w);
    ql_file_abort(&w);
    CHECK_OK(cx, ql_file_read(cx, path, &text, &bytes));
    CHECK_INT(bytes, 8);
    CHECK_STR(text, "{\"a\": x}");
    CHECK(ql_is_file(path) && !ql_is_folder(path) && ql_is_folder(folder) && !ql_is_file(folder));
    unlink(path);
    CHECK_INT(rmdir(folder), 0); /* so nothing was left beside it */
    CHECK_ERROR(cx, ql_file_write(cx, path, "", 0), QL_IO, "No such file or directory");
}

int
main(void)
{
    uint64_t rng = test_seed();
    ql_ctx cx;
    ql_scope scope;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    check_values(&cx);
    check_types(&cx);
    check_refused(&cx);
    for (int i = 0; i < 20; i++) {
        check_large(&cx, &rng);
        check_quote(&cx, &rng);
    }
    check_memory();
    check_files(&cx);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
