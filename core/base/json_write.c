/* JSON texts, written member by member. */
#include <math.h>
#include <string.h>

#include <utf8proc.h>

#include "json_tree.h"
#include "printer.h"
#include "text.h"

/* `text` as a string. */
static void
put_quoted(FILE *out, const char *text, size_t bytes)
{
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* characters and the letters that stand for them */

    fputc('"', out);
    for (size_t i = 0, step; i < bytes; i += step) {
        utf8proc_int32_t c;
        utf8proc_ssize_t got = utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(bytes - i), &c);
        const char *hit = got == 1 && c ? strchr(shorts, (int)c) : NULL;

        step = got > 0 ? (size_t)got : 1;
        if (got <= 0)
            fputs("\xef\xbf\xbd", out);
        else if (hit && (hit - shorts) % 2 == 0)
            fprintf(out, "\\%c", hit[1]);
        else if (c < 0x20)
            fprintf(out, "\\u%04x", (unsigned)c);
        else
            for (size_t k = 0; k < step; k++)
                fputc(text[i + k], out);
    }
    fputc('"', out);
}

const char *
ql_json_quote(ql_ctx *cx, const char *text, size_t bytes)
{
    const char *quoted = NULL;
    ql_printer p;

    if (ql_printer_open(cx, &p) == QL_OK) {
        put_quoted(p.out, text, bytes);
        (void)ql_printer_close(cx, &p, &quoted); /* NULL then, with the error set */
    }
    return quoted;
}

/* --- the writer -------------------------------------------------------------------------------------------------- */

static bool
fail(ql_json_writer *w, ql_status st)
{
    if (w->status == QL_OK)
        w->status = st;
    return false;
}

static void
new_line(const ql_json_writer *w)
{
    fprintf(w->out, "\n%*s", 2 * w->depth, "");
}

/* Comma, line end and key in front of a value; false when nothing may follow. */
static bool
begin_value(ql_json_writer *w, const char *key)
{
    static const char *const commas[] = {[QL_JSON_LINES] = ",", [QL_JSON_SPACED] = ", ", [QL_JSON_TIGHT] = ","};
    ql_json_style style = QL_JSON_LINES;

    if (w->status != QL_OK)
        return false;
    if (w->depth > 0) {
        style = w->levels[w->depth - 1].style;
        if (w->levels[w->depth - 1].any)
            fputs(commas[style], w->out);
        w->levels[w->depth - 1].any = true;
        if (style == QL_JSON_LINES)
            new_line(w);
    }
    if (key) {
        put_quoted(w->out, key, strlen(key));
        fputs(style == QL_JSON_TIGHT ? ":" : ": ", w->out);
    }
    return w->status == QL_OK;
}

void
ql_json_put_open(ql_json_writer *w, const char *key, char bracket, ql_json_style style)
{
    if (!begin_value(w, key))
        return;
    if (w->depth == QL_JSON_DEPTH) {
        (void)fail(w, QL_FAIL(w->cx, QL_BUG, "JSON of more than %d levels is written", QL_JSON_DEPTH));
        return;
    }
    fputc(bracket, w->out);
    w->levels[w->depth].style = style;
    w->levels[w->depth].close = bracket == '{' ? '}' : ']';
    w->levels[w->depth++].any = false;
}

void
ql_json_put_close(ql_json_writer *w)
{
    if (w->status != QL_OK || w->depth == 0)
        return;
    w->depth--;
    if (w->levels[w->depth].any && w->levels[w->depth].style == QL_JSON_LINES)
        new_line(w);
    fputc(w->levels[w->depth].close, w->out);
}

void
ql_json_put_text(ql_json_writer *w, const char *key, const char *text)
{
    if (!text)
        ql_json_put_raw(w, key, "null");
    else if (begin_value(w, key))
        put_quoted(w->out, text, strlen(text));
}

void
ql_json_put_int(ql_json_writer *w, const char *key, int64_t value)
{
    if (begin_value(w, key))
        fprintf(w->out, "%lld", (long long)value);
}

void
ql_json_put_real(ql_json_writer *w, const char *key, double value)
{
    char text[QL_NUMBER_SIZE];

    if (fabs(value) < 1e9 && value == floor(value))
        snprintf(text, sizeof text, "%.0f", value == 0 ? 0 : value);
    else
        ql_number(value, text);
    ql_json_put_raw(w, key, isfinite(value) ? text : "null");
}

void
ql_json_put_bool(ql_json_writer *w, const char *key, bool value)
{
    ql_json_put_raw(w, key, value ? "true" : "false");
}

void
ql_json_put_raw(ql_json_writer *w, const char *key, const char *text)
{
    if (!begin_value(w, key))
        return;
    for (; *text; text++)
        if (*text == '\n')
            new_line(w);
        else
            fputc(*text, w->out);
}

/* A real of a tree stays one: "3.0". */
static void
put_tree_real(ql_json_writer *w, const char *key, double value)
{
    char number[QL_NUMBER_SIZE], text[QL_NUMBER_SIZE + 2];

    if (isnan(value) || isinf(value)) { /* as Python writes what it reads */
        ql_json_put_raw(w, key, isnan(value) ? "NaN" : value < 0 ? "-Infinity" : "Infinity");
        return;
    }
    ql_number(value, number);
    snprintf(text, sizeof text, "%s%s", number, strpbrk(number, ".e") ? "" : ".0");
    ql_json_put_raw(w, key, text);
}

void
ql_json_put_value(ql_json_writer *w, const char *key, const ql_json *value)
{
    switch (value->kind) {
    case KIND_OBJECT:
    case KIND_ARRAY:
        ql_json_put_open(w, key, value->kind == KIND_OBJECT ? '{' : '[', QL_JSON_LINES);
        for (int64_t i = 0; i < value->count && w->status == QL_OK; i++)
            ql_json_put_value(w, value->items[i].name, &value->items[i]);
        ql_json_put_close(w);
        return;
    case KIND_STRING:
        if (begin_value(w, key))
            put_quoted(w->out, value->text, (size_t)value->count);
        return;
    case KIND_INT:
        ql_json_put_int(w, key, value->integer);
        return;
    case KIND_REAL:
        put_tree_real(w, key, value->real);
        return;
    case KIND_BOOL:
        ql_json_put_bool(w, key, value->boolean);
        return;
    case KIND_NULL:
    default:
        ql_json_put_raw(w, key, "null");
    }
}

ql_status
ql_json_put_end(ql_json_writer *w)
{
    if (w->status == QL_OK && w->depth > 0)
        return QL_FAIL(w->cx, QL_BUG, "JSON with %d brackets open is finished", w->depth);
    if (w->status == QL_OK && ferror(w->out))
        return QL_FAIL(w->cx, QL_IO, "JSON could not be written");
    return w->status;
}
