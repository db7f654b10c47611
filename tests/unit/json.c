/* JSON texts: what is read, what is refused with which words, what is written. */
#include "core/base/json.h"

#include <unistd.h>

#include <float.h>
#include <math.h>

#include "core/base/file.h"
#include "core/base/printer.h"
#include "test.h"

static const ql_json *
parse(ql_ctx *cx, const char *text)
{
    const ql_json *v = NULL;

    REQUIRE_OK(cx, ql_json_parse(cx, &(ql_json_input){.file = "config.json", .text = text, .bytes = strlen(text)}, &v));
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
        {"", "f.json:1:1: expected a value, got the end"},
        {"{", "f.json:1:2: expected a key in quotes, got the end"},
        {"{\n  \"a\": 1,\n  \"a\": 2}", "f.json:3:10: an object that has the key \"a\" twice"},
        {"[1, 2,]", "f.json:1:7: expected a value, got ']'"},
        {"[1 2]", "f.json:1:4: expected ',' or ']', got '2'"},
        {"{\"a\" 2}", "f.json:1:6: expected ':', got '2'"},
        {"{\"a\": 2,}", "f.json:1:9: expected a key in quotes, got '}'"},
        {"{\"a\\u0000\": 2}", "f.json:1:11: a key with a NUL"},
        {"[1] x", "f.json:1:5: expected the end, got 'x'"},
        {"[\"\xc3\xa4\xff\"]", "f.json:1:4: expected UTF-8, got byte 0xff"},
        {"[\"a\nb\"]", "f.json:1:4: expected an escape in place of a control character, got byte 0x0a"},
        {"[\"a", "f.json:1:2: a string without its end"},
        {"[\"\\x\"]", "f.json:1:4: expected one of \"\\/bfnrtu behind a backslash, got 'x'"},
        {"[\"\\u12g4\"]", "f.json:1:7: expected four hexadecimal digits, got 'g'"},
        {"[\"\\ud83d!\"]", "f.json:1:3: half of a surrogate pair"},
        {"[\"\\ude00\"]", "f.json:1:3: half of a surrogate pair"},
        {"[1e999]", "f.json:1:2: a number beyond what a double holds"},
        {"[NaN]", "f.json:1:2: expected a value, got 'N'"},
        {"[-]", "f.json:1:3: expected a value, got ']'"},
        {"[01]", "f.json:1:3: expected ',' or ']', got '1'"},
        {"[1.]", "f.json:1:4: expected a digit behind the point, got ']'"},
        {"[1e+]", "f.json:1:5: expected a digit of the exponent, got ']'"},
        {"[[[[1]]]]", "f.json:1:4: nested deeper than 3 levels"},
        {"[\n \"[[[[\\\"[\", [[[", "f.json:2:15: nested deeper than 3 levels"},
        {"\xef\xbb\xbf{}", "f.json: it begins with a byte order mark"},
        {"\xff\xfe{", "f.json: it is UTF-16"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
         "f.json: a Git LFS pointer in place of the file"},
        {"<!DOCTYPE html>", "f.json: an HTML page in place of the file"},
    };
    const ql_json *v = NULL;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_ERROR(
            cx,
            ql_json_parse(
                cx,
                &(ql_json_input){.file = "f.json", .text = cases[i].text, .bytes = strlen(cases[i].text), .depth = 3},
                &v),
            QL_INVALID, cases[i].error);
    CHECK_ERROR(cx, ql_json_parse(cx, &(ql_json_input){.file = "f.json", .text = "[1]\0", .bytes = 4, .depth = 3}, &v),
                QL_INVALID, "f.json:1:");
    CHECK_OK(cx, ql_json_parse(
                     cx, &(ql_json_input){.file = "f.json", .text = "[[[\"[[[[\"]]]", .bytes = 12, .depth = 3}, &v));
}

/* What Python's json reads beyond the standard. */
static void
check_python(ql_ctx *cx)
{
    static const char text[] =
        "{\"a\": NaN, \"b\": 1, \"i\": [-Infinity, Infinity, 1e999, 123456789012345678901234567890], \"b\": 2,"
        " \"s\": \"\\ud83d!\\ude00\\ud83d\\ude00\", \"b\": 3}";
    const ql_json *v = NULL, *list;
    const char *key = NULL;
    double real[4];
    int64_t b;

    REQUIRE_OK(cx, ql_json_parse(
                       cx, &(ql_json_input){.file = "p", .text = text, .bytes = sizeof text - 1, .python = true}, &v));
    CHECK_INT(ql_json_members(v), 4);
    CHECK(ql_json_at(v, 1, &key) != NULL);
    CHECK_STR(key, "b"); /* its first place, and the last value */
    CHECK_OK(cx, ql_json_int(cx, v, "b", 0, &b));
    CHECK_INT(b, 3);
    list = ql_json_member(v, "i");
    for (int i = 0; i < 4; i++)
        CHECK(ql_json_as_real(ql_json_item(list, i), &real[i]));
    CHECK(real[0] < -DBL_MAX && real[1] > DBL_MAX && real[2] > DBL_MAX);
    CHECK_NEAR(real[3], 123456789012345678901234567890.0, 0);
    CHECK(ql_json_as_real(ql_json_member(v, "a"), &real[0]) && isnan(real[0]));
    CHECK_STR(ql_json_string(ql_json_member(v, "s")), "\xef\xbf\xbd!\xef\xbf\xbd\xf0\x9f\x98\x80");
}

/* A text that goes on behind its value, as records of a file do. */
static void
check_used(ql_ctx *cx)
{
    const ql_json *v = NULL;
    size_t used = 0;
    int64_t i = 0;

    CHECK_OK(cx, ql_json_parse(cx, &(ql_json_input){.file = "u", .text = " 12 ,13", .bytes = 7, .used = &used}, &v));
    CHECK(ql_json_as_int(v, &i) && i == 12);
    CHECK_INT(used, 3);
    CHECK_ERROR(
        cx, ql_json_parse(cx, &(ql_json_input){.file = "u", .text = "\n x", .bytes = 3, .line = 7, .used = &used}, &v),
        QL_INVALID, "u:8:2: expected a value, got 'x'");
}

/* What the writer makes, in each of its styles. */
static void
check_writer(ql_ctx *cx)
{
    static const char expected[] =
        "{\n  \"a\": [],\n  \"b\": {\"x\": 1, \"y\": [1,true,null]},\n  \"c\": {\n    \"r\": 0.1,\n    \"n\": null,\n"
        "    \"raw\": [\n      1\n    ]\n  },\n  \"t\": {\n    \"real\": 3.0,\n    \"list\": [\n      \"\\u001b\"\n    "
        "]\n  }\n}";
    ql_printer p;
    const char *text;
    ql_json_writer w = {.cx = cx};

    REQUIRE_OK(cx, ql_printer_open(cx, &p));
    w.out = p.out;
    ql_json_put_open(&w, NULL, '{', QL_JSON_LINES);
    ql_json_put_open(&w, "a", '[', QL_JSON_LINES);
    ql_json_put_close(&w);
    ql_json_put_open(&w, "b", '{', QL_JSON_SPACED);
    ql_json_put_int(&w, "x", 1);
    ql_json_put_open(&w, "y", '[', QL_JSON_TIGHT);
    ql_json_put_real(&w, NULL, 1);
    ql_json_put_bool(&w, NULL, true);
    ql_json_put_text(&w, NULL, NULL);
    ql_json_put_close(&w);
    ql_json_put_close(&w);
    ql_json_put_open(&w, "c", '{', QL_JSON_LINES);
    ql_json_put_real(&w, "r", 0.1);
    ql_json_put_real(&w, "n", (double)NAN);
    ql_json_put_raw(&w, "raw", "[\n  1\n]");
    ql_json_put_close(&w);
    ql_json_put_value(&w, "t", parse(cx, "{\"real\": 3.0, \"list\": [\"\\u001b\"]}"));
    CHECK_ERROR(cx, ql_json_put_end(&w), QL_BUG, "JSON with 1 brackets open");
    ql_json_put_close(&w);
    CHECK_OK(cx, ql_json_put_end(&w));
    REQUIRE_OK(cx, ql_printer_close(cx, &p, &text));
    CHECK_STR(text, expected);
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
    CHECK_OK(cx, ql_json_parse(cx, &(ql_json_input){.file = "q", .text = text, .bytes = strlen(text), .depth = 1}, &v));
    for (size_t i = 0; i < n; i++)
        raw[i] &= 0x7f;
    text = ql_json_quote(cx, (const char *)raw, n); /* and ASCII comes back as it was */
    CHECK_OK(cx, ql_json_parse(cx, &(ql_json_input){.file = "q", .text = text, .bytes = strlen(text), .depth = 1}, &v));
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
        st = ql_json_parse(&cx, &(ql_json_input){.file = "f", .text = text, .bytes = sizeof text - 1, .depth = 8}, &v);
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
    CHECK_ERROR(cx, ql_json_read(cx, path, &v), QL_INVALID, "a.json:1:7: expected a value, got 'x'");
    CHECK_OK(cx, ql_file_create(cx, path, &w));
    CHECK_OK(cx, ql_file_put(cx, &w, "half", 4));
    ql_file_abort(&w);
    ql_file_abort(&w);
    CHECK_OK(cx, ql_file_read(cx, path, QL_FILE_MOST, &text, &bytes));
    CHECK_INT(bytes, 8);
    CHECK_STR(text, "{\"a\": x}");
    CHECK_ERROR(cx, ql_file_read(cx, path, 7, &text, &bytes), QL_INVALID, "a.json: expected at most 7 bytes, got 8");
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
    check_python(&cx);
    check_used(&cx);
    check_writer(&cx);
    for (int i = 0; i < 20; i++) {
        check_large(&cx, &rng);
        check_quote(&cx, &rng);
    }
    check_memory();
    check_files(&cx);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
