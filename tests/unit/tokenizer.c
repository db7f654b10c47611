/* Tokenizers: golden files of real ones, and made-up ones for what those do not use. */
#include "test.h"

#include "core/base/json.h"
#include "text/tokenizer.h"

static int64_t checked;

static bool
same_ids(const ql_ids *got, const ql_json *expected)
{
    int64_t id;

    if (got->count != ql_json_length(expected))
        return false;
    for (int64_t i = 0; i < got->count; i++)
        if (!ql_json_as_int(ql_json_item(expected, i), &id) || id != got->ids[i])
            return false;
    return true;
}

static void
check_line(ql_ctx *cx, const ql_tokenizer *tk, const char *file, int line, const ql_json *v)
{
    ql_ids plain = {0}, special = {0};
    size_t bytes, decoded_bytes, expected_bytes;
    const char *text = ql_json_bytes(ql_json_member(v, "text"), &bytes), *decoded;
    const char *expected = ql_json_bytes(ql_json_member(v, "decoded"), &expected_bytes);

    CHECK_OK(cx, ql_tokenizer_encode(cx, tk, text, bytes, QL_BOS_NO, &plain));
    CHECK_OK(cx, ql_tokenizer_encode(cx, tk, text, bytes, QL_BOS_AUTO, &special));
    if (!same_ids(&plain, ql_json_member(v, "ids")))
        TEST_FAIL("%s:%d: ids of \"%s\" differ", file, line, text);
    if (!same_ids(&special, ql_json_member(v, "ids_special")))
        TEST_FAIL("%s:%d: ids_special of \"%s\" differ", file, line, text);
    REQUIRE_OK(cx, ql_tokenizer_decode(cx, tk, &plain, 0, &decoded, &decoded_bytes));
    if (decoded_bytes != expected_bytes || memcmp(decoded, expected, expected_bytes) != 0)
        TEST_FAIL("%s:%d: decoded:\n  got      \"%s\"\n  expected \"%s\"", file, line, decoded, expected);
    checked++;
}

static void
check_golden(ql_ctx *cx, const char *folder, const char *name)
{
    const char *path = ql_format(cx, "%s/%s", getenv("QLOOM_FIXTURES"), folder);
    const char *file = ql_format(cx, "%s/%s", path, name);
    FILE *f = fopen(file, "rb");
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    int number = 0;
    ql_tokenizer *tk;

    if (!f) {
        TEST_FAIL("no %s", file);
        return;
    }
    REQUIRE_OK(cx, ql_tokenizer_open(cx, path, &tk));
    while ((n = getline(&line, &capacity, f)) > 0) {
        const ql_json *v;
        ql_scope scope;

        ql_scope_open(cx, &scope);
        REQUIRE_OK(cx, ql_json_parse(cx, &(ql_json_input){.file = file, .text = line, .bytes = (size_t)n}, &v));
        check_line(cx, tk, file, ++number, v);
        ql_scope_close(cx, &scope);
    }
    CHECK(number > 100);
    free(line);
    fclose(f);
    ql_tokenizer_close(tk);
}

static void
test_golden(ql_ctx *cx)
{
    static const char *const tokenizers[] = {"llama2", "mistral", "qwen3"};
    static const char *const models[] = {"stories260K", "tiny-llama", "tiny-qwen2",
                                         "tiny-qwen3",  "wide-qwen2", "wide-qwen3"};

    if (!test_fixtures())
        return;
    for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++)
        check_golden(cx, ql_format(cx, "tokenizers/%s", tokenizers[i]), "golden.jsonl");
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        check_golden(cx, ql_format(cx, "models/%s", models[i]), "tokenizer_golden.jsonl");
    printf("%lld golden lines\n", (long long)checked);
}

/* Made-up tokenizers, whose expected values the public library gave (data/make_tokenizers.py): a line is a name, a
 * tokenizer.json, and rows of text, ids, ids with special tokens, decoded with and without special tokens. */
static void
check_row(ql_ctx *cx, const ql_tokenizer *tk, const char *name, const ql_json *row)
{
    size_t bytes, got_bytes, expected_bytes;
    const char *text = ql_json_bytes(ql_json_item(row, 0), &bytes), *got, *expected;
    ql_ids plain = {0}, special = {0};

    REQUIRE_OK(cx, ql_tokenizer_encode(cx, tk, text, bytes, QL_BOS_NO, &plain));
    REQUIRE_OK(cx, ql_tokenizer_encode(cx, tk, text, bytes, QL_BOS_AUTO, &special));
    if (!same_ids(&plain, ql_json_item(row, 1)))
        TEST_FAIL("%s: ids of %s differ", name, ql_json_quote(cx, text, bytes));
    if (!same_ids(&special, ql_json_item(row, 2)))
        TEST_FAIL("%s: ids with special tokens of %s differ", name, ql_json_quote(cx, text, bytes));
    for (int i = 0; i < 2; i++) {
        REQUIRE_OK(cx, ql_tokenizer_decode(cx, tk, &plain, i ? QL_DECODE_SKIP_SPECIAL : 0, &got, &got_bytes));
        expected = ql_json_bytes(ql_json_item(row, 3 + i), &expected_bytes);
        if (got_bytes != expected_bytes || memcmp(got, expected, got_bytes) != 0)
            TEST_FAIL("%s: decoded:\n  got      %s\n  expected %s", name, ql_json_quote(cx, got, got_bytes),
                      ql_json_quote(cx, expected, expected_bytes));
    }
}

static void
test_made_up(ql_ctx *cx)
{
    const char *file = ql_format(cx, "%s/tests/unit/data/made_up_tokenizers.jsonl", getenv("QLOOM_SOURCE"));
    FILE *f = fopen(file, "rb");
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    int tokenizers = 0;

    CHECK(f != NULL);
    while (f && (n = getline(&line, &capacity, f)) > 0) {
        const ql_json *v, *rows;
        const char *name, *json;
        ql_tokenizer *tk;

        REQUIRE_OK(cx, ql_json_parse(cx, &(ql_json_input){.file = file, .text = line, .bytes = (size_t)n}, &v));
        name = ql_json_string(ql_json_member(v, "name"));
        json = ql_json_string(ql_json_member(v, "tokenizer"));
        REQUIRE_OK(
            cx, ql_tokenizer_parse(cx, &(ql_tokenizer_files){.name = name, .text = json, .bytes = strlen(json)}, &tk));
        rows = ql_json_member(v, "rows");
        for (int64_t i = 0; i < ql_json_length(rows); i++)
            check_row(cx, tk, name, ql_json_item(rows, i));
        ql_tokenizer_close(tk);
        tokenizers++;
    }
    CHECK(tokenizers == 18);
    free(line);
    if (f)
        fclose(f);
}

int
main(void)
{
    ql_ctx cx;
    ql_scope scope;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    test_made_up(&cx);
    if (test_failures) /* which a skip would hide */
        return TEST_DONE();
    test_golden(&cx);
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
