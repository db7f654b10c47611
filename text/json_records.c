/* Records in JSON: one a line, or the items of one array. */
#include "json_records.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "value.h"

#define WHOLE_BYTES ((int64_t)1 << 30) /* of a file that is one array */

static ql_status
put_text(ql_ctx *cx, ql_text *out, const char *text)
{
    return ql_text_put(cx, out, text, strlen(text));
}

/* --- from a record to its text ----------------------------------------------------------------------------------- */

/* What a chat message says: a text, or a list of parts of which those with a text count. */
static ql_status
put_content(ql_ctx *cx, const ql_json *content, ql_text *out)
{
    const char *text = ql_json_string(content);

    if (text)
        return put_text(cx, out, text);
    if (!ql_json_is_array(content))
        return ql_json_expected(cx, content, "a text or a list of parts");
    for (int64_t i = 0; i < ql_json_length(content); i++) {
        text = ql_json_string(ql_json_member(ql_json_item(content, i), "text"));
        if (text)
            QL_TRY(cx, put_text(cx, out, text));
    }
    return QL_OK;
}

/* Chat messages: {"role", "content"} or {"from", "value"}. */
static ql_status
put_messages(ql_ctx *cx, const ql_json *list, ql_text *out)
{
    for (int64_t i = 0; i < ql_json_length(list); i++) {
        const ql_json *m = ql_json_item(list, i), *content = ql_json_member(m, "content");
        const char *role = ql_json_string(ql_json_member(m, content ? "role" : "from"));

        if (!content)
            content = ql_json_member(m, "value");
        if (!role || !content)
            return ql_json_expected(cx, m, "a message with role and content");
        QL_TRY(cx, put_text(cx, out, i ? "\n\n" : ""));
        QL_TRY(cx, put_text(cx, out, role));
        QL_TRY(cx, put_text(cx, out, "\n"));
        QL_TRY(cx, put_content(cx, content, out));
    }
    return QL_OK;
}

/* The member `field`, or with points in it the member of a member. NULL: there is none. */
static const ql_json *
find(ql_ctx *cx, const ql_json *record, const char *field)
{
    const ql_json *v = ql_json_member(record, field);
    const char *point = strchr(field, '.');

    if (v || !point)
        return v;
    v = ql_json_member(record, ql_format(cx, "%.*s", (int)(point - field), field));
    return v ? find(cx, v, point + 1) : NULL;
}

static ql_status
missing(ql_ctx *cx, const ql_json *record, const char *field)
{
    if (ql_json_is_null(record, field))
        return QL_FAIL(cx, QL_INVALID, "%s: field '%s' is null", ql_json_where(cx, record), field);
    return QL_FAIL(cx, QL_INVALID, "%s: no field '%s' (fields: %s)", ql_json_where(cx, record), field,
                   ql_json_names(cx, record));
}

/* `field` NULL: the record's "text", or a chat's messages. A record may also be a text by itself. */
static ql_status
take(ql_ctx *cx, const ql_json *record, const char *field, ql_text *out)
{
    const ql_json *v = ql_json_is_object(record) ? find(cx, record, field ? field : "text") : record;
    const char *text;
    size_t bytes;

    if (!v && !field)
        v = ql_json_member(record, "messages");
    if (!v && !field)
        v = ql_json_member(record, "conversations");
    if (!v)
        return missing(cx, record, field ? field : "text");
    text = ql_json_bytes(v, &bytes);
    if (text)
        return ql_text_put(cx, out, text, bytes);
    if (ql_json_is_array(v) && ql_json_is_object(ql_json_item(v, 0)))
        return put_messages(cx, v, out);
    if (ql_json_is_array(v) && ql_json_length(v) == 0)
        return QL_FAIL(cx, QL_INVALID, "%s: expected a list of messages, got none", ql_json_where(cx, v));
    return ql_json_expected(cx, v, v == record ? "an object or a text" : "a text");
}

/* The record that `text` begins with; *used: how much of it that was, NULL: it is all of it. It stands in a line, or is
 * an item (from 1) of an array there. */
static ql_status
take_from(ql_ctx *cx, const ql_json_records *r, const char *file, int64_t line, int64_t item, const char *text,
          size_t bytes, size_t *used, const char *field, ql_text *out)
{
    ql_json_input in = {.text = text, .bytes = bytes, .python = !r->whole, .used = used};
    const ql_json *record;
    ql_scope scope;
    ql_status st;

    ql_scope_open(cx, &scope);
    in.file =
        item ? ql_format(cx, "%s: item %lld", file, (long long)item) : ql_format(cx, "%s:%lld", file, (long long)line);
    st = in.file ? ql_json_parse(cx, &in, &record) : QL_MEMORY;
    if (st == QL_INVALID) { /* what is no JSON is told by line and column */
        in.file = file;
        in.line = line;
        st = ql_json_parse(cx, &in, &record);
        st = item ? ql_where(cx, st, "item %lld of the array", (long long)item)
                  : ql_where(cx, st, "expected one JSON record a line, or one array of them");
    } else if (st == QL_OK && r->whole) {
        st = ql_json_is_object(record) ? ql_text_put(cx, out, text, used ? *used : bytes)
                                       : ql_json_expected(cx, record, "an object");
    } else if (st == QL_OK) {
        st = take(cx, record, field, out);
    }
    ql_scope_close(cx, &scope);
    return st;
}

/* --- from a file to its records ---------------------------------------------------------------------------------- */

static ql_status
read_all(ql_ctx *cx, ql_json_records *r, ql_lines *lines, const char *line, size_t bytes)
{
    while (line) {
        if (r->all.count + (int64_t)bytes > WHOLE_BYTES)
            return QL_FAIL(cx, QL_UNSUPPORTED,
                           "%s: an array of more than %lld bytes; with one record a line any size is fine",
                           lines->file.path, (long long)WHOLE_BYTES);
        QL_TRY(cx, ql_text_put(cx, &r->all, line, bytes));
        QL_TRY(cx, ql_lines_next(cx, lines, &line, &bytes));
    }
    return QL_OK;
}

static char
skip_space(ql_json_records *r) /* the character that follows; NUL: the end */
{
    for (; (int64_t)r->at < r->all.count; r->at++) {
        const char c = r->all.data[r->at];

        r->line += c == '\n';
        if ((unsigned char)c > ' ')
            return c;
    }
    return '\0';
}

static ql_status
broken(ql_ctx *cx, ql_json_records *r, const ql_lines *lines, const char *what)
{
    r->torn = true;
    return QL_FAIL(cx, QL_INVALID, "%s:%lld: %s", lines->file.path, (long long)r->line, what);
}

static ql_status
next_item(ql_ctx *cx, ql_json_records *r, ql_lines *lines, const char *field, ql_text *out, bool *end)
{
    size_t used = 0;
    ql_status st;
    char c = skip_space(r);

    if (r->item && c == ',') {
        r->at++;
        c = skip_space(r);
    } else if (r->item && c != ']') {
        return broken(cx, r, lines, "expected a comma or ']' behind an item of the array");
    }
    *end = c == ']';
    if (*end) {
        r->at++;
        return skip_space(r) ? broken(cx, r, lines, "more text behind the end of the array") : QL_OK;
    }
    r->item++;
    st = take_from(cx, r, lines->file.path, r->line, r->item, r->all.data + r->at, (size_t)r->all.count - r->at, &used,
                   field, out);
    r->torn = used == 0; /* where one item is no JSON, nobody knows where the next begins */
    for (size_t i = 0; i < used; i++)
        r->line += r->all.data[r->at + i] == '\n';
    r->at += used;
    return st;
}

/* Does the line begin an object that it does not end? Then the file is one object in many lines. */
static bool
is_open_object(const char *line, size_t bytes)
{
    while (bytes && strchr(" \t\r\n", line[bytes - 1]))
        bytes--;
    return bytes && line[strspn(line, " \t")] == '{' && line[bytes - 1] != '}';
}

ql_status
ql_json_records_next(ql_ctx *cx, ql_json_records *r, ql_lines *lines, const char *field, ql_text *out, bool *end)
{
    const char *line;
    size_t bytes;

    lines->marks = true;
    *end = r->torn;
    if (r->array || r->torn)
        return r->torn ? QL_OK : next_item(cx, r, lines, field, out, end);
    do {
        QL_TRY(cx, ql_lines_next(cx, lines, &line, &bytes));
        *end = !line;
        if (*end)
            return QL_OK;
    } while (ql_line_blank(line, bytes));
    r->array = !r->begun && line[strspn(line, " \t")] == '[';
    if (!r->begun && r->whole && is_open_object(line, bytes)) {
        r->line = lines->line;
        r->torn = true; /* nothing is behind it */
        QL_TRY(cx, read_all(cx, r, lines, line, bytes));
        return take_from(cx, r, lines->file.path, r->line, 0, r->all.data, (size_t)r->all.count, NULL, field, out);
    }
    r->begun = true;
    if (r->array) {
        r->line = lines->line;
        QL_TRY(cx, read_all(cx, r, lines, line, bytes));
        skip_space(r);
        r->at++; /* the bracket */
        return next_item(cx, r, lines, field, out, end);
    }
    return take_from(cx, r, lines->file.path, lines->line, 0, line, ql_line_length(line, bytes), NULL, field, out);
}

void
ql_json_records_fini(ql_json_records *r)
{
    free(r->all.data);
}
