/* Pre-tokenizers: patterns in both dialects, each way of cutting, and what a hostile pattern can't do. */
#include "test.h"

#include "core/base/json.h"
#include "text/split.h"

#define LLAMA3(digits)                                                   \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"                     \
    "\\s+(?!\\S)|\\s+"

static ql_status
put_word(ql_ctx *cx, void *user, const char *word, size_t bytes)
{
    const char **out = user;

    *out = ql_format(cx, "%s%s%.*s", *out, **out ? "|" : "", (int)bytes, word);
    return *out ? QL_OK : QL_MEMORY;
}

/* The words of `text` by a pre_tokenizer in JSON, with a bar between; or the error. */
static const char *
words(ql_ctx *cx, const char *json, const char *text, size_t bytes)
{
    const char *out = "";
    ql_splitter s = {0};
    ql_split_work work = {0};
    const ql_json *v;
    ql_status st;

    REQUIRE_OK(cx, ql_json_parse(cx, &(ql_json_input){.file = "t", .text = json, .bytes = strlen(json)}, &v));
    st = ql_splitter_read(cx, v, true, &s);
    if (st == QL_OK)
        st = ql_split(cx, &s, &work, true, text, bytes, put_word, &out);
    ql_split_work_fini(&work);
    ql_steps_fini(&s.steps);
    return st == QL_OK ? out : ql_error(cx);
}

static const char *
by_pattern(ql_ctx *cx, const char *pattern, const char *text)
{
    return words(cx,
                 ql_format(cx, "{\"type\": \"Split\", \"pattern\": {\"Regex\": %s}}",
                           ql_json_quote(cx, pattern, strlen(pattern))),
                 text, strlen(text));
}

static void
test_families(ql_ctx *cx)
{
    static const struct {
        const char *text, *three, *one;
    } cases[] = {
        {"  Hello", " | Hello", " | Hello"},
        {"I'll 1234", "I|'ll| |123|4", "I|'ll| |1|2|3|4"},
        {"a\n\n b", "a|\n\n| b", "a|\n\n| b"},
        {"!!\n\nx", "!!\n\n|x", "!!\n\n|x"},
        {"x   ", "x|   ", "x|   "},
        {"(foo", "(foo", "(foo"},
        {"it'\xc5\xbf'", "it|'\xc5\xbf|'", "it|'\xc5\xbf|'"},
        {"a\xcc\x81z", "a|\xcc\x81z", "a|\xcc\x81z"},
        {"a\xe1\xa0\x8e z", "a|\xe1\xa0\x8e| z", "a|\xe1\xa0\x8e| z"}, /* U+180E is no white space */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_STR(by_pattern(cx, LLAMA3("\\p{N}{1,3}"), cases[i].text), cases[i].three);
        CHECK_STR(by_pattern(cx, LLAMA3("\\p{N}"), cases[i].text), cases[i].one);
    }
}

/* What Oniguruma and PCRE2 take for different things means what it means to Oniguruma. */
static void
test_dialect(ql_ctx *cx)
{
    static const struct {
        const char *pattern, *text, *expected;
    } cases[] = {
        {"\\w+", "ab_1\xcc\x81.c\xe2\x80\xbf.", "ab_1\xcc\x81|.|c\xe2\x80\xbf|."},
        {"[\\w]+", "a\xcc\x81.", "a\xcc\x81|."},
        {"[\\w]+", "x\xc2\xb2", "x|\xc2\xb2"},
        {"\\bb", "b ab b", "b| ab |b"},
        {"\\Bb", "b ab", "b a|b"},
        {"\\h+", "xfF0g", "x|fF0|g"},
        {"\\v", "a\x0b\nb", "a|\x0b|\nb"},
        {"\\u0062", "abc", "a|b|c"},
        {"a{,2}b", "aaab", "a|aab"},
        {"^b", "b\nb", "b|\n|b"},
        {"a.", "a\nab", "a\n|ab"},
        {"(?m:a.)", "a\nb", "a\n|b"},
        {"(?i)B|c", "abC", "a|b|C"},
        {"[[:punct:]]+",
         "a+!\xc2\xa9"
         "b",
         "a|+!\xc2\xa9|b"},
        {"\\w+", "x\xc2\xb2\xe2\x82\x82", "x\xc2\xb2|\xe2\x82\x82"},
        {"[[:alpha:]x1]", "1a ", "1|a| "},
        {"[]a]", "]b", "]|b"},
        {"[^]a]", "]b", "]|b"},
        {"\\p{Han}+", "a\xe4\xb8\x80\xe3\x80\x81", "a|\xe4\xb8\x80|\xe3\x80\x81"}, /* a comma of Han and others */
        {"\\p{^L}", "a1", "a|1"},
        {"\\P{L}", "a1", "a|1"},
        {"\\R", "a\r\nb", "a|\r\n|b"},
        {"\\[\\{", "a[{", "a|[{"},
        {"a{x", "a{x", "a{x"},
        {"x*", "axb", "a|x|b"},
        {"\\Q", "a", "t: the pattern \"\\\\Q\" is not supported: this escape at byte 0"},
        {"[\\W]", "a", "t: the pattern \"[\\\\W]\" is not supported: this escape at byte 1"},
        {"[a[b]]", "a", "t: the pattern \"[a[b]]\" is not supported: a set inside a set at byte 2"},
        {"a{1,2}+", "a", "t: the pattern \"a{1,2}+\" is not supported: an interval that is repeated at byte 1"},
        {"a{2}?", "a", "t: the pattern \"a{2}?\" is not supported: an interval that is repeated at byte 1"},
        {"a(?i)b", "a", "t: the pattern \"a(?i)b\" is not supported: an option in the middle at byte 1"},
        {"(*COMMIT)", "a", "t: the pattern \"(*COMMIT)\" is not supported: this group at byte 0"},
        {"\\xC3", "a", "t: the pattern \"\\\\xC3\" is not supported: this escape at byte 0"},
        {"\\p{Lx}", "a", "t: the pattern \"\\\\p{Lx}\" is wrong at byte 6: unknown property after \\P or \\p"},
        {"\\p{L", "a", "t: the pattern \"\\\\p{L\" is not supported: a property without } at byte 0"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_STR(by_pattern(cx, cases[i].pattern, cases[i].text), cases[i].expected);
}

static void
test_rules(ql_ctx *cx)
{
    static const struct {
        const char *rule, *plain, *inverted;
    } cases[] = {
        {"Isolated", "a|1|2|b|3", "a|1|2|b|3"},    {"Removed", "a|b", "1|2|3"},
        {"Contiguous", "a|12|b|3", "a|12|b|3"},    {"MergedWithPrevious", "a1|2|b3", "a|1|2b|3"},
        {"MergedWithNext", "a|1|2b|3", "a1|2|b3"},
    };
    const char *text = "a12b3";

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int invert = 0; invert < 2; invert++)
            CHECK_STR(
                words(cx,
                      ql_format(cx,
                                "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"[0-9]\"}, \"behavior\": \"%s\", "
                                "\"invert\": %s}",
                                cases[i].rule, invert ? "true" : "false"),
                      text, strlen(text)),
                invert ? cases[i].inverted : cases[i].plain);
}

static void
test_types(ql_ctx *cx)
{
    static const struct {
        const char *json, *text, *expected;
    } cases[] = {
        {"{\"type\": \"Digits\", \"individual_digits\": true}",
         "a12\xc2\xbd"
         "b",
         "a|1|2|\xc2\xbd|b"},
        {"{\"type\": \"Digits\", \"individual_digits\": false}", "a12b", "a|12|b"},
        {"{\"type\": \"Punctuation\"}", "a!?+b\xe2\x80\x94", "a|!|?|+|b|\xe2\x80\x94"},
        {"{\"type\": \"Punctuation\", \"behavior\": \"Contiguous\"}", "a!?+b", "a|!?+|b"},
        {"{\"type\": \"ByteLevel\"}", "Hello it's 12!", " Hello| it|'s| 12|!"},
        {"{\"type\": \"ByteLevel\"}", " a", " a"},
        {"{\"type\": \"ByteLevel\", \"add_prefix_space\": false}", "a  b", "a| | b"},
        {"{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}", "a b", "a b"},
        {"{\"type\": \"Split\", \"pattern\": {\"String\": \".\"}, \"behavior\": \"Removed\"}", "a.b.", "a|b"},
        {"{\"type\": \"Metaspace\", \"replacement\": \"_\"}", "a b_c", "_a|_b|_c"},
        {"{\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"never\"}", "a  b", "a|_|_b"},
        {"{\"type\": \"Metaspace\", \"replacement\": \"_\", \"split\": false}", "a b", "_a_b"},
        {"{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"ByteLevel\", \"add_prefix_space\": false}, "
         "{\"type\": \"Digits\"}]}",
         "a \xc2\xbd",
         "a|\xc4\xa0\xc3\x82|\xc2\xbd"}, /* after the bytes got their characters, one of which is a number */
        {"{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\", \"individual_digits\": true}, "
         "{\"type\": \"ByteLevel\", \"add_prefix_space\": true}]}",
         "a1 b", " a| 1| b"},
        {"{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": \"1\"}, "
         "\"behavior\": \"Isolated\"}, {\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": "
         "\"first\"}]}",
         "a1b", "_a|1|b"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_STR(words(cx, cases[i].json, cases[i].text, strlen(cases[i].text)), cases[i].expected);
}

static void
test_hostile(ql_ctx *cx)
{
    char text[4097];

    memset(text, 'a', 4096);
    text[4096] = '\0';
    CHECK_STR(by_pattern(cx, "(a|aa)+[bc]", text),
              "the pattern \"(a|aa)+[bc]\" needs too many steps on a text of 4096 bytes");
    CHECK_STR(by_pattern(cx, "(?R)", text), "the pattern \"(?R)\" needs too many steps on a text of 4096 bytes");
}

int
main(void)
{
    ql_ctx cx;
    ql_scope scope;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    test_families(&cx);
    test_dialect(&cx);
    test_rules(&cx);
    test_types(&cx);
    test_hostile(&cx);
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
