/* Tokenizers: golden files of real ones, and made-up ones for what those do not use. */
#include "test.h"

#include "core/base/json.h"
#include "core/text/tokenizer.h"

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
    const char *fixtures = getenv("QLOOM_FIXTURES"), *path = ql_format(cx, "%s/%s", fixtures, folder);
    const char *file = ql_format(cx, "%s/%s", path, name);
    FILE *f = fopen(file, "rb");
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    int number = 0;
    ql_tokenizer *tk;

    if (!f)
        SKIP("no %s", file);
    REQUIRE_OK(cx, ql_tokenizer_open(cx, path, &tk));
    while ((n = getline(&line, &capacity, f)) > 0) {
        const ql_json *v;
        ql_scope scope;

        ql_scope_open(cx, &scope);
        REQUIRE_OK(cx, ql_json_parse(cx, file, line, (size_t)n, QL_JSON_DEPTH, &v));
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

    for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++)
        check_golden(cx, ql_format(cx, "tokenizers/%s", tokenizers[i]), "golden.jsonl");
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        check_golden(cx, ql_format(cx, "models/%s", models[i]), "tokenizer_golden.jsonl");
    printf("%lld golden lines\n", (long long)checked);
}

int
main(void)
{
    ql_ctx cx;
    ql_scope scope;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    test_golden(&cx);
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
