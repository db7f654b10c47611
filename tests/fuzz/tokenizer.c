/* Fuzzes tokenizers: the first line is a tokenizer.json, the second a tokenizer_config.json (empty: none), with a special_tokens_map.json
 * behind a tab where it has one, the rest is a text to encode and decode, and for the second line as a pattern. */
/* Aims at: text/tokenizer.c text/added.c text/bpe.c text/bpe_read.c text/component.c */
/* Aims at: text/decode.c text/normalize.c text/post.c text/split.c text/text.c */
/* Aims at: text/pattern.c text/regex.c text/rewrite.c text/unicode.c text/vocab.c */
#include "fuzz.h"

#include <string.h>

#include "core/base/ctx.h"
#include "text/regex.h"
#include "text/tokenizer.h"

/* The line at *at, and its bytes; *at moves behind its end. */
static const char *
take_line(const char **at, const char *end, size_t *bytes)
{
    const char *line = *at, *stop = line < end ? memchr(line, '\n', (size_t)(end - line)) : NULL;

    *bytes = (size_t)((stop ? stop : end) - line);
    *at = stop ? stop + 1 : end;
    return line;
}

/* Encodes a text twice, once after another one, and decodes it: what came out once comes out again, and as UTF-8. */
static void
round_trip(ql_ctx *cx, const ql_tokenizer *tk, const char *text, size_t bytes, ql_bos bos)
{
    ql_ids first = {0}, again = {0};
    const char *decoded;
    size_t length, bad;

    if (ql_tokenizer_encode(cx, tk, text, bytes, bos, &first) != QL_OK) {
        MUST(*ql_error(cx));
        return;
    }
    MUST(ql_tokenizer_encode(cx, tk, text, bytes, bos, &again) == QL_OK && again.count == first.count);
    MUST(first.count == 0 || memcmp(first.ids, again.ids, (size_t)first.count * sizeof *first.ids) == 0);
    for (int flags = 0; flags <= (QL_DECODE_SKIP_SPECIAL | QL_DECODE_CLEAN_UP); flags++)
        if (ql_tokenizer_decode(cx, tk, &first, flags, &decoded, &length) == QL_OK)
            MUST(ql_utf8_check(decoded, length, &bad) == length && decoded[length] == '\0');
        else
            MUST(*ql_error(cx)); /* a template may add an id that no token has */
}

/* The second line as a pattern of Python's re, on the text: what it finds, and its groups, lie in the text. */
static void
find_python(ql_ctx *cx, const char *pattern, size_t length, const char *text, size_t bytes)
{
    ql_regex_work work = {.groups = true};
    ql_regex *re = NULL;
    size_t begin, end, bad;
    bool found = false;

    if (ql_utf8_check(text, bytes, &bad) != bytes)
        return;
    if (ql_regex_compile_python(cx, "p", pattern, length, &re) != QL_OK ||
        ql_regex_find(cx, re, &work, text, bytes, 0, &found, &begin, &end) != QL_OK)
        MUST(*ql_error(cx));
    for (uint32_t i = 0; found && i < ql_regex_groups(&work); i++)
        MUST(!ql_regex_group(&work, i, &begin, &end) || (begin <= end && end <= bytes));
    ql_error_clear(cx);
    ql_regex_work_fini(&work);
    ql_regex_free(re);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *at = (const char *)data, *end = at + size;
    ql_tokenizer_files files = {.name = "t", .config_name = "c", .map_name = "m"};
    ql_ids ids = {0};
    const char *tab;
    ql_tokenizer *tk = NULL;
    ql_ctx cx;
    ql_scope scope;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    files.text = take_line(&at, end, &files.bytes);
    files.config_text = take_line(&at, end, &files.config_bytes);
    tab = files.config_bytes ? memchr(files.config_text, '\t', files.config_bytes) : NULL;
    if (tab) {
        files.map_text = tab + 1;
        files.map_bytes = files.config_bytes - (size_t)(tab + 1 - files.config_text);
        files.config_bytes -= files.map_bytes + 1;
    }
    if (!files.config_bytes)
        files.config_text = NULL;
    find_python(&cx, files.config_text ? files.config_text : "", files.config_bytes, at, (size_t)(end - at));
    if (ql_tokenizer_parse(&cx, &files, &tk) == QL_OK) {
        MUST(ql_tokenizer_bos(tk) >= -1 && ql_tokenizer_eos(tk) >= -1);
        MUST(!ql_tokenizer_adds_bos(tk) || ql_tokenizer_encode(&cx, tk, "", 0, QL_BOS_AUTO, &ids) != QL_OK ||
             ids.count > 0);
        for (int bos = QL_BOS_AUTO; bos <= QL_BOS_NO; bos++)
            round_trip(&cx, tk, at, (size_t)(end - at), (ql_bos)bos);
        round_trip(&cx, tk, "", 0, QL_BOS_NO);
        ql_tokenizer_close(tk);
    } else {
        MUST(!tk && *ql_error(&cx));
    }
    ql_ctx_fini(&cx);
    return 0;
}
