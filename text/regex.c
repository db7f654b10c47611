/* Regular expressions, matched by PCRE2: compiled to machine code where the system allows it, and with limits, so that
 * no pattern can hang. */
#include "regex.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <utf8proc.h>

#include <qloom/tokenizer.h>

#include "base/json.h"

#define STEPS_MAX 10000000       /* of one match: what splits words takes a few */
#define HEAP_KIB 65536           /* of the interpreter, where there is no machine code */
#define STACK_BYTES (16u << 20u) /* of the machine code */

struct ql_regex {
    pcre2_code *code;
    ql_text source; /* for messages */
};

const char *
ql_tokenizer_unicode(ql_ctx *cx)
{
    char version[64], unicode[64]; /* the longest are half of that */

    pcre2_config(PCRE2_CONFIG_VERSION, version);
    pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, unicode);
    return ql_format(cx, "PCRE2 %s (Unicode %s), utf8proc %s (Unicode %s)", version, unicode, utf8proc_version(),
                     utf8proc_unicode_version());
}

static ql_status
refuse(ql_ctx *cx, const char *where, const char *pattern, size_t bytes, int code, size_t at)
{
    char text[256];

    if (code == PCRE2_ERROR_HEAP_FAILED || code == PCRE2_ERROR_NOMEMORY)
        return QL_FAIL(cx, QL_MEMORY, "%s: no memory for the pattern", where);
    pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
    return QL_FAIL(cx, QL_INVALID, "%s: the pattern %s is wrong at byte %zu: %s", where,
                   ql_json_quote(cx, pattern, bytes), at, text);
}

static ql_status
compile(ql_ctx *cx, const char *where, const ql_text *pattern, uint32_t options, pcre2_code **out)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    const char *text = pattern->count ? pattern->data : "";
    int code = PCRE2_ERROR_NOMEMORY;
    size_t at = 0;

    if (context) {
        pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        pcre2_set_bsr(context, PCRE2_BSR_UNICODE);
        *out = pcre2_compile((PCRE2_SPTR)text, (size_t)pattern->count, PCRE2_UTF | PCRE2_UCP | options, &code, &at,
                             context);
    }
    pcre2_compile_context_free(context);
    if (!*out)
        return refuse(cx, where, text, (size_t)pattern->count, code, at);
    pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE); /* where it fails, the interpreter does the same, slower */
    return QL_OK;
}

ql_status
ql_regex_compile(ql_ctx *cx, const char *where, const char *pattern, size_t bytes, ql_regex **out)
{
    ql_text rewritten = {0};
    ql_status st;

    *out = ql_heap(cx, 1, sizeof **out);
    if (!*out)
        return QL_MEMORY;
    QL_TRY(cx, ql_text_put(cx, &(*out)->source, pattern, bytes));
    st = ql_regex_rewrite(cx, where, pattern, bytes, &rewritten);
    if (st == QL_OK)
        st = compile(cx, where, &rewritten, PCRE2_MULTILINE, &(*out)->code);
    free(rewritten.data);
    return st;
}

ql_status
ql_regex_compile_python(ql_ctx *cx, const char *where, const char *pattern, size_t bytes, ql_regex **out)
{
    *out = ql_heap(cx, 1, sizeof **out);
    if (!*out)
        return QL_MEMORY;
    QL_TRY(cx, ql_text_put(cx, &(*out)->source, pattern, bytes));
    return compile(cx, where, &(*out)->source, 0, &(*out)->code);
}

void
ql_regex_free(ql_regex *re)
{
    if (!re)
        return;
    pcre2_code_free(re->code);
    free(re->source.data);
    free(re);
}

static ql_status
prepare(ql_ctx *cx, const ql_regex *re, ql_regex_work *work)
{
    if (work->stack)
        return QL_OK;
    work->match =
        work->groups ? pcre2_match_data_create_from_pattern(re->code, NULL) : pcre2_match_data_create(1, NULL);
    work->context = pcre2_match_context_create(NULL);
    work->stack = pcre2_jit_stack_create(32768, STACK_BYTES, NULL);
    if (!work->match || !work->context || !work->stack)
        return QL_FAIL(cx, QL_MEMORY, "no memory to match a pattern");
    pcre2_set_match_limit(work->context, STEPS_MAX);
    pcre2_set_heap_limit(work->context, HEAP_KIB);
    pcre2_jit_stack_assign(work->context, NULL, work->stack);
    return QL_OK;
}

ql_status
ql_regex_find(ql_ctx *cx, const ql_regex *re, ql_regex_work *work, const char *text, size_t bytes, size_t from,
              bool *found, size_t *begin, size_t *end)
{
    const size_t *match;
    int code;

    QL_TRY(cx, prepare(cx, re, work));
    code = pcre2_match(re->code, (PCRE2_SPTR)text, bytes, from, PCRE2_NO_UTF_CHECK, work->match, work->context);
    *found = code >= 0;
    if (code == PCRE2_ERROR_NOMEMORY)
        return QL_FAIL(cx, QL_MEMORY, "no memory to match a pattern");
    if (code < 0 && code != PCRE2_ERROR_NOMATCH)
        return QL_FAIL(cx, QL_UNSUPPORTED, "the pattern %s needs too many steps on a text of %zu bytes",
                       ql_json_quote(cx, re->source.data, (size_t)re->source.count), bytes);
    if (*found) {
        match = pcre2_get_ovector_pointer(work->match);
        *begin = match[0];
        *end = match[1];
    }
    return QL_OK;
}

uint32_t
ql_regex_groups(const ql_regex_work *work)
{
    return pcre2_get_ovector_count(work->match);
}

bool
ql_regex_group(const ql_regex_work *work, uint32_t i, size_t *begin, size_t *end)
{
    const size_t *match = pcre2_get_ovector_pointer(work->match);

    *begin = match[2 * i];
    *end = match[2 * i + 1];
    return *begin != PCRE2_UNSET;
}

void
ql_regex_work_fini(ql_regex_work *work)
{
    pcre2_match_data_free(work->match);
    pcre2_match_context_free(work->context);
    if (work->stack)
        pcre2_jit_stack_free(work->stack);
}
