/* YAML texts to trees: places, kinds, what is refused; the environment; texts out again. */
#include "test.h"

#include "core/base/ctx.h"
#include "core/yaml/yaml.h"

static ql_ctx cx;

/* The tree of `text`; NULL with what is wrong in ql_error. */
static ql_yaml *
read_text(const char *text, size_t bytes)
{
    ql_problems problems = {0};
    ql_yaml *root = NULL;

    ql_error_clear(&cx);
    CHECK_OK(&cx, ql_yaml_parse(&cx, &problems, "f", text, bytes, &root));
    (void)ql_problems_end(&cx, &problems);
    ql_problems_fini(&problems);
    return root;
}

static ql_yaml *
parse(const char *text)
{
    return read_text(text, strlen(text));
}

static void
check_error(const char *text, const char *expected)
{
    (void)parse(text);
    CHECK_STR(ql_error(&cx), expected);
}

static void
test_tree(void)
{
    const ql_yaml *root = parse("a: 1\nb: [x, 'y', {c: \"z\"}]\né:\n  - |\n    two\n    lines\n  -\n"),
                  *b = ql_yaml_get(root, "b"), *e = ql_yaml_get(root, "é");

    CHECK_STR(ql_error(&cx), "");
    CHECK_INT(root->kind, QL_YAML_MAP);
    CHECK_INT(root->count, 3);
    CHECK_STR(ql_yaml_get(root, "a")->text, "1");
    CHECK(!ql_yaml_get(root, "a")->quoted);
    CHECK_INT(b->count, 3);
    CHECK_INT(b->items[1]->place.line, 2);
    CHECK_INT(b->items[1]->place.column, 8);
    CHECK(b->items[1]->quoted);
    CHECK_STR(ql_yaml_get(b->items[2], "c")->text, "z");
    CHECK_STR(e->items[0]->text, "two\nlines\n");
    CHECK(ql_yaml_empty(e->items[1]));
    CHECK_INT(ql_yaml_find(root, "nobody"), -1);
    CHECK(ql_yaml_get(b, "a") == NULL);
    CHECK_STR(ql_yaml_line(&cx, b), "[x, y, {c: z}]");
    CHECK_STR(ql_yaml_describe(&cx, b), "a list");
    CHECK_STR(ql_yaml_describe(&cx, root), "a mapping");
    CHECK_STR(ql_yaml_describe(&cx, e->items[1]), "nothing");
}

static void
test_places(void)
{
    const char bom[] = "\xEF\xBB\xBF"
                       "ключ: [1, 2]\n";
    const ql_yaml *root = read_text(bom, strlen(bom));

    CHECK_INT(root->keys[0]->place.column, 1);
    CHECK_INT(root->items[0]->items[1]->place.column, 11);
    CHECK(parse("") == NULL);
    CHECK_STR(ql_error(&cx), "");
    CHECK(parse("# only a comment\n") == NULL);
}

static void
test_equal(void)
{
    const ql_yaml *v = parse("[{a: 1, b: [2]}, {b: [2], a: 1}, {a: 1, b: [3]}, {a: 1}, {a: 1, c: [2]}, x]");

    CHECK(ql_yaml_equal(v->items[0], v->items[1]));
    for (int64_t i = 2; i < v->count; i++)
        CHECK(!ql_yaml_equal(v->items[0], v->items[i]));
}

static void
test_refused(void)
{
    char deep[256] = "", wide[40000] = "[";

    check_error("a: 1\nb: 2\na: 3\nb: 4\n",
                "f:3:1: duplicate key 'a' (first on line 1)\nf:4:1: duplicate key 'b' (first on line 2)");
    check_error("a: &x 1\nb: *x\n", "f:1:4: anchors ('&x') are not supported\nf:2:4: aliases ('*x') are not supported");
    check_error("a: &x [1]\nb: &y {c: d}\n",
                "f:1:4: anchors ('&x') are not supported\nf:2:4: anchors ('&y') are not supported");
    check_error("a: !x 1\n", "f:1:4: tags ('!x') are not supported");
    check_error("a: 1\n---\nb: 1\n", "f:2:1: a second document: a file holds one");
    check_error("? [a]\n: 1\n", "f:1:3: a key must be a word, not a list");
    check_error("a: \"\\0\"\n", "f:1:4: a text must not contain a NUL character");
    check_error("é: \xff\n", "f:1:4: not YAML: invalid leading UTF-8 octet");
    check_error("a: 1\nbc: \"\xc3\x28\"\n", "f:2:7: not YAML: invalid trailing UTF-8 octet");
    check_error("a: [1\nb: 2\n",
                "f:2:2: not YAML: did not find expected ',' or ']' while parsing a flow sequence that began at line 1");
    memset(deep, '[', 40);
    check_error(deep, "f:1:33: nested more than 32 deep");
    for (int i = 0; i < 4100; i++)
        snprintf(wide + strlen(wide), 16, "%d,", i);
    (void)parse(strcat(wide, "]"));
    CHECK(strstr(ql_error(&cx), "more than 4096 entries") != NULL);
}

static void
test_size(void)
{
    const size_t bytes = QL_YAML_BYTES_MAX + 1;
    char *text = malloc(bytes);

    if (!text)
        SKIP("no memory");
    memset(text, ' ', bytes);
    CHECK(read_text(text, bytes) == NULL);
    CHECK_STR(ql_error(&cx), "f: 262145 bytes are too many: at most 262144 are read");
    CHECK(read_text(text, bytes - 1) == NULL);
    CHECK_STR(ql_error(&cx), "");
    free(text);
}

static const char *
expand(const char *text)
{
    ql_problems problems = {0};
    ql_yaml *v = parse(text);

    if (!v)
        return NULL;
    ql_yaml_environment(&cx, &problems, v);
    (void)ql_problems_end(&cx, &problems);
    ql_problems_fini(&problems);
    return ql_yaml_line(&cx, v);
}

static void
test_environment(void)
{
    setenv("QLOOM_TEST_A", "/data", 1);
    setenv("QLOOM_TEST_EMPTY", "", 1);
    unsetenv("QLOOM_TEST_NONE");
    CHECK_STR(expand("{a: ${QLOOM_TEST_A}/x, b: ${QLOOM_TEST_A}${QLOOM_TEST_A}}"), "{a: /data/x, b: /data/data}");
    CHECK_STR(expand("[\"${QLOOM_TEST_NONE:-d}\", ${QLOOM_TEST_EMPTY:-e}, ${QLOOM_TEST_EMPTY}, ${QLOOM_TEST_NONE:-}]"),
              "[d, e, , ]");
    CHECK_STR(expand("[$a, a$, $, '{}']"), "[$a, a$, $, {}]");
    CHECK_STR(expand("[\xEE\x80\x80, \xEE\x80\x81]"), "[\xEE\x80\x80, \xEE\x80\x81]");
    CHECK_STR(ql_error(&cx), "");
    (void)expand("[${QLOOM_TEST_NONE}, \"${QLOOM\", ${}, ${1}, x]");
    CHECK_STR(ql_error(&cx), "f:1:2: the environment has no variable 'QLOOM_TEST_NONE'; ${QLOOM_TEST_NONE:-default} "
                             "would give a value of its own\n"
                             "f:1:22: '${' without '}' in '${QLOOM'\n"
                             "f:1:33: '${}' is no reference to the environment: expected ${NAME} or ${NAME:-default}\n"
                             "f:1:38: '${1}' is no reference to the environment: expected ${NAME} or ${NAME:-default}");
}

/* Values that look like secrets stay in the environment; their references stand in the text. */
static void
test_secrets(void)
{
    static const char *const secrets[][2] = {{"HF_TOKEN", "abc"},
                                             {"aws_secret_access_key", "k3y"},
                                             {"PGPASSWORD", "x"},
                                             {"QLOOM_TEST_A", "hf_0123456789abcdef"},
                                             {"QLOOM_TEST_A", "https://me:word@host/x"}};
    static const char *const others[][2] = {
        {"TOKENIZER", "abc"},         {"KEY", "k"},       {"API_TOKEN_FILE", "/run/token"},
        {"QLOOM_TEST_A", "hf_model"}, {"KEYBOARD", "us"}, {"HF_TOKEN", ""}};

    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        const char *text = ql_format(&cx, "[\"x-${%s}\", ${%s:-d}]", secrets[i][0], secrets[i][0]);

        setenv(secrets[i][0], secrets[i][1], 1);
        CHECK_STR(expand(text), ql_format(&cx, "[x-${%s}, ${%s}]", secrets[i][0], secrets[i][0]));
        CHECK_STR(ql_error(&cx), "");
        unsetenv(secrets[i][0]);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        setenv(others[i][0], others[i][1], 1);
        CHECK_STR(expand(ql_format(&cx, "[\"x-${%s}\"]", others[i][0])), ql_format(&cx, "[x-%s]", others[i][1]));
        unsetenv(others[i][0]);
    }
}

/* Work and memory grow with the text, not with its square. */
static void
test_many_references(void)
{
    const int count = 16000;
    char *text = malloc((size_t)count * 16);
    const char *expanded;
    size_t used = 1;

    if (!text)
        SKIP("no memory");
    text[0] = '"';
    for (int i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, 16, "${QL_NONE:-x}");
    text[used] = '"';
    text[used + 1] = '\0';
    expanded = expand(text);
    CHECK_INT(strlen(expanded), count);
    CHECK_INT(strspn(expanded, "x"), count);
    free(text);
}

/* What is written reads back equal, at any width and with any text. */
static void
test_emit(void)
{
    const ql_yaml *v =
        parse("a: 1\nb: {c: [1, {d: \"2\"}], e: 'x: y # z', f: \"é\\n\\t\\\"\", g: }\nh: []\ni: {}\nj:\n  - {k: v, l: "
              "\"long long long long long long long long long long long long long long "
              "long long long long long long long long long long long long long\"}\n  - m\n");
    const char *text = NULL, *again = NULL;

    REQUIRE_OK(&cx, ql_yaml_emit(&cx, v, &text));
    CHECK(ql_yaml_equal(v, parse(text)));
    CHECK_STR(ql_error(&cx), "");
    CHECK(ql_yaml_get(ql_yaml_get(ql_yaml_get(parse(text), "b"), "c")->items[1], "d")->quoted);
    REQUIRE_OK(&cx, ql_yaml_emit(&cx, parse(text), &again));
    CHECK_STR(again, text);
}

static void
test_append(void)
{
    ql_yaml *v = parse("{a: 1}"), *key = ql_yaml_scalar(&cx, v->place, "b");

    CHECK_OK(&cx, ql_yaml_put(&cx, v, key, ql_yaml_scalar(&cx, v->place, "2")));
    CHECK_STR(ql_yaml_line(&cx, v), "{a: 1, b: 2}");
}

int
main(void)
{
    ql_scope scope;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    test_tree();
    test_places();
    test_equal();
    test_refused();
    test_size();
    test_environment();
    test_secrets();
    test_many_references();
    test_emit();
    test_append();
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
