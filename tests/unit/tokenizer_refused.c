/* Tokenizer files that are wrong or ask for what is not supported, each with its message; what tokenizer_config.json
 * overrides; and decoding where a golden file would hide the reason. */
#include "test.h"

#include <unistd.h>

#include "core/base/ctx.h"
#include "core/base/file.h"
#include "text/tokenizer.h"

static ql_status
parse_for(ql_ctx *cx, const char *json, const char *config, const char *model, ql_tokenizer **out)
{
    return ql_tokenizer_parse(cx,
                              &(ql_tokenizer_files){.name = "t.json",
                                                    .text = json,
                                                    .bytes = strlen(json),
                                                    .config_name = "c.json",
                                                    .config_text = config,
                                                    .config_bytes = config ? strlen(config) : 0,
                                                    .model_name = "config.json",
                                                    .model_text = model,
                                                    .model_bytes = model ? strlen(model) : 0},
                              out);
}

static ql_status
parse(ql_ctx *cx, const char *json, const char *config, ql_tokenizer **out)
{
    return parse_for(cx, json, config, NULL, out);
}

#define MODEL "\"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]}"
#define WITH(part) "{" part ", " MODEL "}"
#define ONLY(model) "{\"model\": {" model "}}"

static const struct {
    const char *json;
    ql_status status;
    const char *error;
} refused[] = {
    {"[]", QL_INVALID, "t.json: expected an object, got an array"},
    {"{}", QL_INVALID, "t.json: no 'model', an object"},
    {"{\"model\": ", QL_INVALID, "t.json:1:11: "},
    {ONLY("\"type\": \"Unigram\""), QL_UNSUPPORTED,
     "t.json: 'model': type \"Unigram\" is not supported (supported: BPE)"},
    {ONLY("\"dropout\": 0.1"), QL_UNSUPPORTED, "t.json: 'model': dropout 0.1 is not supported"},
    {ONLY("\"end_of_word_suffix\": \"</w>\""), QL_UNSUPPORTED,
     "t.json: 'model': end_of_word_suffix \"</w>\" is not supported"},
    {ONLY("\"continuing_subword_prefix\": \"##\""), QL_UNSUPPORTED,
     "t.json: 'model': continuing_subword_prefix \"##\" is not supported"},
    {ONLY("\"merges\": []"), QL_INVALID, "t.json: 'model': no 'vocab', an object"},
    {ONLY("\"vocab\": {}"), QL_INVALID, "t.json: 'model': no 'merges', an array"},
    {ONLY("\"vocab\": {\"a\": -1}, \"merges\": []"), QL_INVALID,
     "t.json: 'model.vocab.a': expected an id from 0 to 4194303, got -1"},
    {ONLY("\"vocab\": {\"a\": 4194304}, \"merges\": []"), QL_INVALID,
     "t.json: 'model.vocab.a': expected an id from 0 to 4194303, got 4194304"},
    {ONLY("\"vocab\": {\"a\": 1, \"b\": 1}, \"merges\": []"), QL_INVALID,
     "t.json: 'model.vocab.b': id 1 is already that of \"a\""},
    {ONLY("\"vocab\": {\"a\": 1}, \"merges\": [\"a b c\"]"), QL_INVALID,
     "t.json: 'model.merges[0]': expected a merge: two tokens with one space between, or an array of two, got \"a b "
     "c\""},
    {ONLY("\"vocab\": {\"a\": 1}, \"merges\": [[\"a\", 1]]"), QL_INVALID,
     "t.json: 'model.merges[0]': expected two texts, got an array"},
    {ONLY("\"vocab\": {\"a\": 1}, \"merges\": [\"a b\"]"), QL_INVALID,
     "t.json: 'model.merges[0]': token \"b\" is not in the vocabulary"},
    {ONLY("\"vocab\": {\"a\": 1, \"b\": 2}, \"merges\": [\"a b\"]"), QL_INVALID,
     "t.json: 'model.merges[0]': token \"ab\" is not in the vocabulary"},
    {WITH("\"normalizer\": {\"type\": \"Nmt\"}"), QL_UNSUPPORTED,
     "t.json: 'normalizer': type \"Nmt\" is not supported (supported: Lowercase, NFC, NFD, NFKC, NFKD, Prepend, "
     "Replace, "
     "Strip, Sequence)"},
    {WITH("\"normalizer\": {\"type\": \"Prepend\"}"), QL_INVALID, "t.json: 'normalizer': no 'prepend', a text"},
    {WITH("\"normalizer\": {\"type\": \"Replace\", \"pattern\": \" \", \"content\": \"\"}"), QL_INVALID,
     "t.json: 'normalizer': no 'pattern' with a String or a Regex"},
    {WITH("\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}, \"content\": \"\"}"), QL_INVALID,
     "t.json: 'normalizer': an empty pattern"},
    {WITH("\"pre_tokenizer\": {\"type\": \"Whitespace\"}"), QL_UNSUPPORTED,
     "t.json: 'pre_tokenizer': type \"Whitespace\" is not supported (supported: ByteLevel, Digits, Metaspace, "
     "Punctuation, Split, Sequence)"},
    {WITH("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(a\"}}"), QL_INVALID,
     "t.json: 'pre_tokenizer': the pattern \"(a\" is wrong at byte 2: missing closing parenthesis"},
    {WITH("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"[a&&b]\"}}"), QL_UNSUPPORTED,
     "t.json: 'pre_tokenizer': the pattern \"[a&&b]\" is not supported: an intersection of sets at byte 2"},
    {WITH("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, \"behavior\": \"x\"}"),
     QL_INVALID,
     "t.json: 'pre_tokenizer.behavior': expected \"Isolated\", \"Removed\", \"Contiguous\", \"MergedWithPrevious\" or "
     "\"MergedWithNext\", got \"x\""},
    {WITH("\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"last\"}"),
     QL_INVALID, "t.json: 'pre_tokenizer.prepend_scheme': expected \"always\", \"first\" or \"never\", got \"last\""},
    {WITH("\"decoder\": {\"type\": \"WordPiece\"}"), QL_UNSUPPORTED,
     "t.json: 'decoder': type \"WordPiece\" is not supported (supported: ByteLevel, Replace, ByteFallback, Fuse, "
     "Strip, Sequence)"},
    {WITH("\"post_processor\": {\"type\": \"BertProcessing\"}"), QL_UNSUPPORTED,
     "t.json: 'post_processor': type \"BertProcessing\" is not supported (supported: ByteLevel, "
     "RobertaProcessing, TemplateProcessing, Sequence)"},
    {WITH("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": []}"), QL_INVALID,
     "t.json: 'post_processor': the template 'single' has no Sequence"},
    {WITH(
         "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\"}}]}"),
     QL_INVALID, "t.json: 'post_processor.single[0].SpecialToken': 'special_tokens' has no ids of \"<s>\""},
    {WITH("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": {}}, {\"Sequence\": "
          "{}}]}"),
     QL_INVALID,
     "t.json: 'post_processor.single[1]': expected a SpecialToken: one Sequence is there already, got an object"},
    {WITH("\"added_tokens\": {}"), QL_INVALID, "t.json: 'added_tokens': expected an array, got an object"},
    {WITH("\"added_tokens\": [1]"), QL_INVALID, "t.json: 'added_tokens[0]': expected an object, got 1"},
    {WITH("\"added_tokens\": [{\"content\": \"x\"}]"), QL_INVALID, "t.json: 'added_tokens[0]': no 'id'"},
    {WITH("\"added_tokens\": [{\"id\": 9}]"), QL_INVALID, "t.json: 'added_tokens[0]': no 'content', a text"},
    {WITH("\"added_tokens\": [{\"id\": -1, \"content\": \"x\"}]"), QL_INVALID,
     "t.json: 'added_tokens[0].id': expected an id from 0 to 4194303, got -1"},
    {WITH("\"post_processor\": {\"type\": \"RobertaProcessing\", \"sep\": [\"</s>\", 1]}"), QL_INVALID,
     "t.json: 'post_processor': no token with its id"},
};

static void
test_refused(ql_ctx *cx)
{
    ql_tokenizer *tk = NULL;

    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        CHECK_ERROR(cx, parse(cx, refused[i].json, NULL, &tk), refused[i].status, refused[i].error);
    CHECK_ERROR(cx, parse(cx, WITH("\"version\": \"1.0\""), "{\"bos_token\": [1]}", &tk), QL_INVALID,
                "c.json: 'bos_token': expected a text, or an object with 'content', got an array");
    CHECK_ERROR(cx, parse(cx, WITH("\"version\": \"1.0\""), "{\"add_bos_token\": 1}", &tk), QL_INVALID,
                "c.json: 'add_bos_token': expected true or false, got 1");
    CHECK_ERROR(cx, ql_tokenizer_open(cx, "/nowhere", &tk), QL_NOT_FOUND,
                "/nowhere/tokenizer.json: No such file or directory");
    CHECK(tk == NULL);
}

#define TEMPLATE                                                                                                    \
    WITH("\"added_tokens\": [{\"id\": 3, \"content\": \"<s>\", \"special\": true}, {\"id\": 4, \"content\": "       \
         "\"</s>\"}],"                                                                                              \
         "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"B\"}}," \
         "{\"Sequence\": {\"id\": \"A\"}}], \"special_tokens\": {\"B\": {\"ids\": [3]}}}")

/* The ids of a text as digits. */
static const char *
encoded(ql_ctx *cx, const ql_tokenizer *tk, const char *s, ql_bos bos)
{
    ql_ids ids = {0};
    const char *text = "";

    if (ql_tokenizer_encode(cx, tk, s, strlen(s), bos, &ids) != QL_OK)
        return ql_error(cx);
    for (int64_t i = 0; i < ids.count; i++)
        text = ql_format(cx, "%s%d", text, (int)ids.ids[i]);
    return text;
}

/* The post-processor counts, whatever tokenizer_config.json says of adding tokens. */
static void
test_bos(ql_ctx *cx)
{
    static const struct {
        const char *json, *config;
        int64_t bos, eos;
        const char *automatic, *yes;
    } cases[] = {
        {TEMPLATE, NULL, 3, -1, "32", "32"},
        {TEMPLATE, "{\"add_bos_token\": false, \"bos_token\": \"<s>\"}", 3, -1, "32", "32"},
        {TEMPLATE, "{\"bos_token\": {\"content\": \"<s>\"}, \"eos_token\": \"</s>\", \"add_eos_token\": true}", 3, 4,
         "32", "32"},
        {WITH("\"version\": \"1.0\""), "{\"bos_token\": \"<s>\", \"add_bos_token\": true, \"eos_token\": null}", 3, -1,
         "2", "32"},
        {WITH("\"version\": \"1.0\""), "{\"eos_token\": \"b \"}", -1, 3, "2",
         "bos: yes, but the tokenizer has no BOS token"},
        {WITH("\"post_processor\": {\"type\": \"RobertaProcessing\", \"sep\": [\"b\", 1], \"cls\": [\"a\", 0]}"), NULL,
         0, 1, "021", "021"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ql_tokenizer *tk;

        REQUIRE_OK(cx, parse(cx, cases[i].json, cases[i].config, &tk));
        CHECK_INT(ql_tokenizer_bos(tk), cases[i].bos);
        CHECK_INT(ql_tokenizer_eos(tk), cases[i].eos);
        CHECK_STR(encoded(cx, tk, "ab", QL_BOS_AUTO), cases[i].automatic);
        CHECK_STR(encoded(cx, tk, "ab", QL_BOS_YES), cases[i].yes);
        CHECK_STR(encoded(cx, tk, "ab", QL_BOS_NO), "2");
        CHECK(ql_tokenizer_adds_bos(tk) == (strlen(cases[i].automatic) > 1));
        ql_tokenizer_close(tk);
    }
}

/* Added tokens have the ids that the public library gives them: the vocabulary's, or the next free one. */
static void
test_added_ids(ql_ctx *cx)
{
    static const struct {
        const char *json, *config, *text, *ids;
    } cases[] = {
        {WITH("\"added_tokens\": [{\"id\": 9, \"content\": \"<x>\"}]"), NULL, "<x>a", "30"},
        {WITH("\"added_tokens\": [{\"id\": 9, \"content\": \"b\"}, {\"id\": 0, \"content\": \"<x>\"}]"), NULL, "<x>ab",
         "301"},
        {WITH("\"added_tokens\": [{\"id\": 4, \"content\": \"<x>\"}, {\"id\": 3, \"content\": \"<y>\"}]"), NULL,
         "<x><y>", "34"},
        {WITH("\"added_tokens\": [{\"id\": 3, \"content\": \"<x>\"}, {\"id\": 4, \"content\": \"<x>\"}]"), NULL, "<x>a",
         "30"},
        {WITH("\"added_tokens\": [{\"id\": 3, \"content\": \"\"}, {\"id\": 4, \"content\": \"<x>\"}]"), NULL, "<x>a",
         "30"},
        {WITH("\"added_tokens\": [{\"id\": 3, \"content\": \"<x>\"}]"),
         "{\"added_tokens_decoder\": {\"3\": {\"content\": \"<x>\"}, \"4\": {\"content\": \"<y>\"}}, \"pad_token\": "
         "\"<p>\", "
         "\"bos_token\": {\"content\": \"<s>\"}, \"additional_special_tokens\": [\"<p>\", \"<z>\"]}",
         "<x><y><s><p><z>a", "345670"},
    };
    ql_tokenizer *tk;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        REQUIRE_OK(cx, parse(cx, cases[i].json, cases[i].config, &tk));
        CHECK_STR(encoded(cx, tk, cases[i].text, QL_BOS_NO), cases[i].ids);
        ql_tokenizer_close(tk);
    }
}

/* A token is also found in the white space that the one before it swallowed, as in the public library. */
static void
test_swallowed(ql_ctx *cx)
{
    static const char json[] = WITH("\"added_tokens\": [{\"id\": 3, \"content\": \"\\n\", \"rstrip\": true}, "
                                    "{\"id\": 4, \"content\": \"<x>\", \"lstrip\": true, \"rstrip\": true}]");
    ql_tokenizer *tk;

    REQUIRE_OK(cx, parse(cx, json, NULL, &tk));
    CHECK_STR(encoded(cx, tk, "a\n\n b", QL_BOS_NO), "0331");
    CHECK_STR(encoded(cx, tk, "a <x>\n <x> b", QL_BOS_NO), "04341");
    ql_tokenizer_close(tk);
    REQUIRE_OK(
        cx, parse(cx, WITH("\"added_tokens\": [{\"id\": 3, \"content\": \"\\n\", \"lstrip\": true, \"rstrip\": true}]"),
                  NULL, &tk));
    CHECK_STR(encoded(cx, tk, "a\n\n b", QL_BOS_NO), "031");
    ql_tokenizer_close(tk);
}

/* The white space that Strip takes away was the begin of the text, where Metaspace would put its mark. */
static void
test_stripped(ql_ctx *cx)
{
    static const char *const normalizers[] = {
        "{\"type\": \"Strip\"}",
        "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"^ | $\"}, \"content\": \"\"}",
    };

    for (int i = 0; i < 2; i++) {
        ql_tokenizer *tk;

        REQUIRE_OK(cx, parse(cx,
                             ql_format(cx,
                                       "{\"normalizer\": %s, \"pre_tokenizer\": {\"type\": \"Metaspace\", "
                                       "\"replacement\": \"_\", \"prepend_scheme\": \"first\"}, \"model\": {\"vocab\": "
                                       "{\"a\": 0, \"_\": 1}, \"merges\": []}}",
                                       normalizers[i]),
                             NULL, &tk));
        CHECK_STR(encoded(cx, tk, "a ", QL_BOS_NO), "10");
        CHECK_STR(encoded(cx, tk, " a", QL_BOS_NO), "0");
        ql_tokenizer_close(tk);
    }
}

/* Bytes of the byte-level alphabet fall back to bytes like other characters. */
static void
test_fallback(ql_ctx *cx)
{
    static const char json[] =
        "{\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}, \"model\": "
        "{\"byte_fallback\": true, \"vocab\": {\"a\": 0, \"<0xC4>\": 1, \"<0x8A>\": 2}, \"merges\": []}}";
    ql_tokenizer *tk;

    REQUIRE_OK(cx, parse(cx, json, NULL, &tk));
    CHECK_STR(encoded(cx, tk, "a\n", QL_BOS_NO), "012");
    ql_tokenizer_close(tk);
}

/* add_prefix_space of tokenizer_config.json: the classes of model families follow it, the general one does not. */
static void
test_prefix_space(ql_ctx *cx)
{
#define SPACED(parts) \
    "{" parts ", \"model\": {\"vocab\": {\"a\": 0, \"_\": 1, \"\u0120\": 2, \"_a\": 3}, \"merges\": [\"_ a\"]}}"
#define BYTES "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}"
    static const struct {
        const char *json, *config, *ids, *model;
    } cases[] = {
        {SPACED("\"normalizer\": {\"type\": \"Prepend\", \"prepend\": \"_\"}"), "{\"tokenizer_class\": \"L\"}", "3",
         NULL},
        {SPACED("\"normalizer\": {\"type\": \"Prepend\", \"prepend\": \"_\"}"),
         "{\"tokenizer_class\": \"L\", \"add_prefix_space\": false}", "0", NULL},
        {SPACED("\"normalizer\": {\"type\": \"Prepend\", \"prepend\": \"_\"}"),
         "{\"tokenizer_class\": \"PreTrainedTokenizerFast\", \"add_prefix_space\": false}", "3", NULL},
        {SPACED("\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"_\"}"),
         "{\"tokenizer_class\": \"L\", \"add_prefix_space\": false}", "0", NULL},
        {SPACED("\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}"),
         "{\"tokenizer_class\": \"L\", \"add_prefix_space\": true}", "20", NULL},
        {SPACED("\"pre_tokenizer\": {\"type\": \"ByteLevel\"}"),
         "{\"tokenizer_class\": \"L\", \"add_prefix_space\": false}", "0", NULL},
        {SPACED(BYTES), "{\"tokenizer_class\": \"PreTrainedTokenizerFast\", \"add_prefix_space\": true}", "20",
         "{\"model_type\": \"qwen2\"}"},
        {SPACED(BYTES), "{\"tokenizer_class\": \"PreTrainedTokenizerFast\", \"add_prefix_space\": true}", "0",
         "{\"model_type\": \"qwen3\"}"},
        {SPACED(BYTES), "{\"add_prefix_space\": true}", "20", "{\"model_type\": \"qwen3\"}"},
        {SPACED(BYTES), "{\"add_prefix_space\": true}", "0", "{\"model_type\": \"llama\"}"},
    };
    ql_tokenizer *tk;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        REQUIRE_OK(cx, parse_for(cx, cases[i].json, cases[i].config, cases[i].model, &tk));
        CHECK_STR(encoded(cx, tk, "a", QL_BOS_NO), cases[i].ids);
        ql_tokenizer_close(tk);
    }
}

/* What a text grows to in a normalizer or a decoder has a limit. */
static void
test_growth(ql_ctx *cx)
{
#define TWENTY "aaaaaaaaaaaaaaaaaaaa"
#define GROW "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"" TWENTY "\"}"
    char *text = ql_alloc(cx, 20001, 1);
    ql_ids ids = {.count = 1, .ids = (int32_t[]){0}}, none = {0};
    ql_tokenizer *tk;
    const char *decoded;
    size_t bytes;

    memset(text, 'a', 20000);
    REQUIRE_OK(
        cx, parse(cx,
                  WITH("\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [" GROW ", " GROW ", " GROW "]}, "
                       "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [" GROW ", " GROW ", " GROW ", " GROW "]}"),
                  NULL, &tk));
    CHECK_ERROR(cx, ql_tokenizer_encode(cx, tk, text, 20000, QL_BOS_NO, &none), QL_UNSUPPORTED,
                "the tokenizer's normalizer makes 8000000 bytes of a text of 20000: more than 64 times as many");
    CHECK_ERROR(cx, ql_tokenizer_decode(cx, tk, &ids, 0, &decoded, &bytes), QL_UNSUPPORTED,
                "the tokenizer's decoder makes 160001 bytes of a text of 2: more than 64 times as many");
    ql_tokenizer_close(tk);
}

static void
test_texts(ql_ctx *cx)
{
    static const char byte_level[] =
        "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}";
    ql_tokenizer *tk;
    ql_ids ids = {0}, wrong = {.count = 1, .ids = (int32_t[]){3}};
    const char *text;
    size_t bytes;

    REQUIRE_OK(cx, parse(cx, WITH("\"version\": \"1.0\""), "{\"clean_up_tokenization_spaces\": true}", &tk));
    CHECK(ql_tokenizer_cleans_up(tk));
    CHECK_ERROR(cx, ql_tokenizer_encode(cx, tk, "ab\xff", 3, QL_BOS_NO, &ids), QL_INVALID,
                "the text is not UTF-8 at byte 2 (0xFF)");
    CHECK_OK(cx, ql_tokenizer_encode(cx, tk, "a\xc3\xa9", 3, QL_BOS_NO, &ids)); /* nobody knows the second character */
    CHECK_INT(ids.count, 1);
    ids.count = 0;
    CHECK_ERROR(cx, ql_tokenizer_encode(cx, tk, "a", 1, QL_BOS_DATA, &ids), QL_BUG,
                "bos: data was not resolved before encoding");
    CHECK_ERROR(cx, ql_tokenizer_decode(cx, tk, &wrong, 0, &text, &bytes), QL_INVALID,
                "the tokenizer has no token with id 3");
    CHECK_OK(cx, ql_tokenizer_decode(cx, tk, &ids, 0, &text, &bytes));
    CHECK_STR(text, "");
    ql_tokenizer_close(tk);
    REQUIRE_OK(cx, parse(cx, ONLY("\"vocab\": {\"a\": 1}, \"merges\": [], \"unk_token\": \"u\""), NULL, &tk));
    CHECK_OK(cx, ql_tokenizer_encode(cx, tk, "aa", 2, QL_BOS_NO, &ids)); /* an unknown token that nothing needs */
    CHECK_ERROR(cx, ql_tokenizer_encode(cx, tk, "a\xc3\xa9", 3, QL_BOS_NO, &ids), QL_INVALID,
                "the vocabulary has neither \"\xc3\xa9\" nor the model's unk_token");
    ids.count = 0;
    ql_tokenizer_close(tk);
    REQUIRE_OK(cx, parse(cx, ql_format(cx, "{%s, %s}", byte_level, MODEL), NULL, &tk));
    CHECK(!ql_tokenizer_cleans_up(tk));
    CHECK_OK(cx, ql_tokenizer_encode(cx, tk, " ab ", 4, QL_BOS_NO, &ids));
    CHECK_INT(ids.count, 1);
    ql_tokenizer_close(tk);
}

static void
test_clean_up(ql_ctx *cx)
{
    static const char json[] = "{\"decoder\": {\"type\": \"Fuse\"}, \"model\": {\"merges\": [], \"vocab\": {\"it 's , "
                               "do n't . ' x ' ok ?\": 0,"
                               "\" we 've\": 1}}}";
    ql_ids ids = {.count = 2, .ids = (int32_t[]){0, 1}};
    ql_tokenizer *tk;
    const char *text;
    size_t bytes;

    REQUIRE_OK(cx, parse(cx, json, NULL, &tk));
    CHECK_OK(cx, ql_tokenizer_decode(cx, tk, &ids, QL_DECODE_CLEAN_UP, &text, &bytes));
    CHECK_STR(text, "it's, don't.'x'ok? we've");
    CHECK_OK(cx, ql_tokenizer_decode(cx, tk, &ids, 0, &text, &bytes));
    CHECK_STR(text, "it 's , do n't . ' x ' ok ? we 've");
    ql_tokenizer_close(tk);
}

/* special_tokens_map.json takes the place of members of tokenizer_config.json, but not beside `added_tokens_decoder`. */
static void
test_map(ql_ctx *cx)
{
    static const char map[] = "{\"bos_token\": {\"content\": \"ab\"}, \"additional_special_tokens\": [\"<x>\"]}";
    static const struct {
        const char *config;
        int64_t bos, x; /* ids; -1: none */
    } rows[] = {
        {NULL, 2, 3},
        {"{\"bos_token\": \"b\"}", 2, 3},
        {"{\"bos_token\": \"b\", \"added_tokens_decoder\": {\"1\": {\"content\": \"b\"}}}", 1, -1},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ql_tokenizer_files files = {.name = "t.json", .text = "{" MODEL "}", .map_name = "m.json", .map_text = map};
        ql_tokenizer *tk;
        ql_ids ids = {0};

        files.bytes = strlen(files.text);
        files.map_bytes = strlen(map);
        files.config_name = "c.json";
        files.config_text = rows[i].config;
        files.config_bytes = rows[i].config ? strlen(rows[i].config) : 0;
        REQUIRE_OK(cx, ql_tokenizer_parse(cx, &files, &tk));
        CHECK_INT(ql_tokenizer_bos(tk), rows[i].bos);
        REQUIRE_OK(cx, ql_tokenizer_encode(cx, tk, "a<x>", 4, QL_BOS_NO, &ids));
        CHECK_INT(ids.count, rows[i].x < 0 ? 1 : 2); /* what no token covers is dropped */
        CHECK_INT(ids.ids[ids.count - 1], rows[i].x < 0 ? 0 : rows[i].x);
        ql_tokenizer_close(tk);
    }
}

/* split_special_tokens: a special token in a text is a text; one that is not special stays a token. */
static void
test_split_special(ql_ctx *cx)
{
#define TOKEN(id, text, special) "{\"id\": " id ", \"content\": \"" text "\", \"special\": " special "}"
    static const char json[] = WITH("\"added_tokens\": [" TOKEN("3", "aa", "true") ", " TOKEN("4", "bb", "false") "]");
    ql_tokenizer *tk;

    REQUIRE_OK(cx, parse(cx, json, NULL, &tk));
    CHECK_STR(encoded(cx, tk, "aabb", QL_BOS_NO), "34");
    ql_tokenizer_close(tk);
    REQUIRE_OK(cx, parse(cx, json, "{\"split_special_tokens\": true}", &tk));
    CHECK_STR(encoded(cx, tk, "aabb", QL_BOS_NO), "004");
    ql_tokenizer_close(tk);
}

/* What the older program reads is named where tokenizer.json is not there. */
static void
test_model_alone(ql_ctx *cx)
{
    char folder[] = "/tmp/qloom-tokenizer-XXXXXX";
    const char *file;
    ql_tokenizer *tk;

    REQUIRE_OK(cx, mkdtemp(folder) ? QL_OK : QL_IO);
    file = ql_format(cx, "%s/tokenizer.model", folder);
    CHECK_ERROR(cx, ql_tokenizer_open(cx, folder, &tk), QL_NOT_FOUND, "tokenizer.json: No such file or directory");
    REQUIRE_OK(cx, ql_file_write(cx, file, "x", 1));
    CHECK_ERROR(cx, ql_tokenizer_open(cx, folder, &tk), QL_NOT_FOUND,
                "tokenizer.json: no such file, and tokenizer.model is not read; this makes one of the other: python3");
    CHECK_INT(unlink(file), 0);
    CHECK_INT(rmdir(folder), 0);
}

int
main(void)
{
    ql_ctx cx;
    ql_scope scope;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    test_refused(&cx);
    test_bos(&cx);
    test_added_ids(&cx);
    test_prefix_space(&cx);
    test_swallowed(&cx);
    test_stripped(&cx);
    test_fallback(&cx);
    test_growth(&cx);
    test_texts(&cx);
    test_clean_up(&cx);
    test_map(&cx);
    test_split_special(&cx);
    test_model_alone(&cx);
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
