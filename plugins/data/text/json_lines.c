/* JSON lines: one object a line, one of its fields is the document. */
#include <jansson.h>
#include <string.h>

#include "text.h"

/* "text, url, date": the keys of an object, for a message. */
static const char *
keys(ql_ctx *cx, json_t *object)
{
    const char *list = NULL, *key;
    json_t *value;

    json_object_foreach(object, key, value)
    {
        const char *longer = list ? ql_format(cx, "%s, %s", list, key) : ql_format(cx, "%s", key);

        if (!longer)
            return NULL;
        list = longer;
    }
    return list ? list : "none";
}

static ql_status
take(ql_ctx *cx, const text_file *f, const char *field, json_t *record, text_buffer *out)
{
    static const char *const types[] = {"an object", "an array", "a text", "an integer",
                                        "a real",    "true",     "false",  "null"};
    json_t *value = json_object_get(record, field);

    if (!json_is_object(record))
        return QL_FAIL(cx, QL_INVALID, "%s:%lld: expected one JSON object a line, got %s", f->path, (long long)f->line,
                       types[json_typeof(record)]);
    if (!value)
        return QL_FAIL(cx, QL_INVALID, "%s:%lld: no field '%s' (fields: %s)", f->path, (long long)f->line, field,
                       keys(cx, record));
    if (!json_is_string(value))
        return QL_FAIL(cx, QL_INVALID, "%s:%lld: field '%s': expected a text, got %s", f->path, (long long)f->line,
                       field, types[json_typeof(value)]);
    return text_put(cx, out, json_string_value(value), json_string_length(value));
}

ql_status
text_json_next(ql_ctx *cx, text_file *f, const char *field, text_buffer *out, bool *end)
{
    const char *line;
    size_t bytes;
    json_error_t error;
    json_t *record;
    ql_status st;

    do {
        QL_TRY(cx, text_file_line(cx, f, &line, &bytes));
        *end = !line;
        if (*end)
            return QL_OK;
    } while (text_line_blank(line, bytes));
    record = json_loadb(line, text_line_end(line, bytes), JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!record)
        return QL_FAIL(cx, json_error_code(&error) == json_error_out_of_memory ? QL_MEMORY : QL_INVALID,
                       "%s:%lld:%d: expected one JSON object a line: %s", f->path, (long long)f->line, error.column,
                       error.text);
    st = take(cx, f, field, record, out);
    json_decref(record);
    return st;
}
