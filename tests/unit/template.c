/* The template language: what Jinja makes of the same templates, its own two additions, and messages with their place. */
#include "base/file.h"
#include "base/json.h"
#include "test.h"
#include "text/template.h"

static ql_ctx cx;

static const ql_json *
parse(const char *text, size_t bytes)
{
    const ql_json *v;

    REQUIRE_OK(&cx, ql_json_parse(&cx, &(ql_json_input){.file = "f", .text = text, .bytes = bytes}, &v));
    return v;
}

/* The template's value as Python prints it; NULL: an error, whose place is in `wrong`. */
static const char *
render(const char *text, const ql_functions *known, const ql_json *record, ql_wrong *wrong)
{
    const ql_template *t;
    const ql_names names = {.record = record};
    ql_text out = {0};
    const char *copy;
    ql_value v;

    *wrong = (ql_wrong){0};
    if (ql_template_parse(&cx, text, known, NULL, &t, wrong) != QL_OK)
        return NULL;
    if (ql_template_value(&cx, t, &names, &v, wrong) != QL_OK)
        return NULL;
    REQUIRE_OK(&cx, ql_value_put(&cx, &v, false, &out));
    copy = ql_copy_text(&cx, out.data ? out.data : "", (size_t)out.count);
    free(out.data);
    return copy;
}

static void
test_jinja(const char *path)
{
    const ql_functions none = {0};
    const ql_json *record = NULL;
    const char *text, *end;
    size_t bytes;
    int rows = 0;

    REQUIRE_OK(&cx, ql_file_read(&cx, path, (size_t)1 << 20, &text, &bytes));
    for (; *text; text = end + 1) {
        const ql_json *line;
        const char *template, *expected, *got;
        ql_wrong wrong;

        end = strchr(text, '\n');
        line = parse(text, (size_t)(end - text));
        if (!record) {
            record = line;
            continue;
        }
        template = ql_json_string(ql_json_item(line, 0));
        expected = ql_json_string(ql_json_item(line, 1));
        got = render(template, &none, record, &wrong);
        rows++;
        if (!got != !expected || (got && strcmp(got, expected) != 0))
            TEST_FAIL("%s: got %s, expected %s (%s)", template, got ? got : "an error",
                      expected ? expected : "an error", got ? "" : ql_error(&cx));
    }
    CHECK(rows > 110);
}

/* `text` over the record {"s": …} gives `expected`, or fails with a message that contains it, `at` bytes into the template. */
static void
check(const char *text, const char *expected)
{
    static const char record[] = "{\"s\": \"a  b [x] c\", \"l\": [\" a\", \"b \"], \"n\": 1}";
    const ql_functions none = {0};
    const ql_template *body;
    ql_function function = {"clean", "x", NULL};
    ql_wrong wrong;
    const char *got;

    REQUIRE_OK(&cx, ql_template_parse(&cx, "<{{x.strip()}}>", &none, NULL, &body, &wrong));
    function.body = body;
    got = render(text, &(ql_functions){&function, 1}, parse(record, strlen(record)), &wrong);
    CHECK_STR(got ? got : ql_error(&cx), expected);
}

static void
check_wrong(const char *text, int64_t at, const char *message)
{
    static const char record[] = "{\"question\": \"a\", \"n\": 1, \"l\": [1, 2]}";
    const ql_functions none = {0};
    ql_wrong wrong;

    CHECK(render(text, &none, parse(record, strlen(record)), &wrong) == NULL);
    CHECK_STR(ql_error(&cx), message);
    CHECK_INT(wrong.at, at);
    ql_error_clear(&cx);
}

int
main(void)
{
    ql_scope scope;
    char deep[400] = "{{";

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    test_jinja(ql_format(&cx, "%s/tests/unit/data/templates.jsonl", getenv("QLOOM_SOURCE")));
    check("{{s|sub('\\\\[.*?\\\\]', '')}}", "a  b  c");
    check("{{s|sub('(\\\\w) +(\\\\w)', '\\\\2\\\\1')}}", "ba [x] c");
    check("{{s|sub('x*', '-')}}", "-a- - -b- -[--]- -c-"); /* as Python's: an empty match also right behind another */
    check("{{l|each(clean)}}", "['<a>', '<b>']");
    check("{{clean(s)}}", "<a  b [x] c>");
    check("{{s|sub('(', '')}}", "sub: the pattern \"(\" is wrong at byte 1: missing closing parenthesis");
    check("{{s|sub('(a)', '\\\\2')}}", "sub: the replacement has \\2, and the pattern no such group");
    check("{{s|sub('(a)|(z)', '<\\\\2>')}}", "<>  b [x] c");
    check_wrong("a {{questoin}}", 4, "no field 'questoin' (did you mean 'question'?) (has: question, n, l)");
    check_wrong("{{l[2]}}", 3, "index 2 is outside a list of 2");
    check_wrong("{{n + question}}", 4, "+: not of an integer and a text");
    check_wrong("{{question|stripp}}", 11, "no method or filter 'stripp' (did you mean 'strip'?)");
    check_wrong("{{question.replace('a')}}", 11, "replace takes 2 to 2 arguments, not 1");
    check_wrong("{{clean(n)}}", 2, "no function 'clean'; a function is defined above its use");
    check_wrong("{% if n %}", 0, "statements and comments ('{%') are not part of the language");
    check_wrong("{{- n }}", 0, "'{{-' is not part of the language: nothing is trimmed");
    check_wrong("{{n", 3, "expected '}}' or an operator, got the end of the text");
    check_wrong("{{'abc}}", 8, "expected the end of the string, got the end of the text");
    check_wrong("{{'\\ud800'}}", 9, "\\ud800 is half a character");
    for (int i = 0; i < 100; i++)
        strcat(deep, "(");
    check_wrong(deep, 34, "expressions more than 64 deep");
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
