/* What the components of a tokenizer.json (normalizer, pre-tokenizer, model, decoder) have in common. */
#include "component.h"

#include <string.h>

ql_status
ql_unsupported_type(ql_ctx *cx, const ql_json *v, const char *supported)
{
    const char *type;

    QL_TRY(cx, ql_json_text(cx, v, "type", "", &type));
    return QL_FAIL(cx, QL_UNSUPPORTED, "%s: type \"%s\" is not supported (supported: %s)", ql_json_where(cx, v), type,
                   supported);
}

ql_status
ql_read_text(ql_ctx *cx, const ql_json *v, const char *key, char **out)
{
    const char *text;

    QL_TRY(cx, ql_json_text(cx, v, key, NULL, &text));
    if (!text)
        return QL_FAIL(cx, QL_INVALID, "%s: no '%s', a text", ql_json_where(cx, v), key);
    *out = ql_heap(cx, strlen(text) + 1, 1);
    if (!*out)
        return QL_MEMORY;
    memcpy(*out, text, strlen(text));
    return QL_OK;
}

ql_status
ql_read_replace(ql_ctx *cx, const ql_json *v, char **from, char **to)
{
    const ql_json *pattern = ql_json_member(v, "pattern");

    if (!ql_json_member(pattern, "String"))
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: a Replace whose pattern is not a String is not supported",
                       ql_json_where(cx, v));
    QL_TRY(cx, ql_read_text(cx, pattern, "String", from));
    QL_TRY(cx, ql_read_text(cx, v, "content", to));
    return **from ? QL_OK : QL_FAIL(cx, QL_INVALID, "%s: an empty pattern", ql_json_where(cx, v));
}
