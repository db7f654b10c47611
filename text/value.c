/* Values of the template language. */
#include "value.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "unicode.h"

#define NAMES_SHOWN 20

ql_value
ql_value_text(const char *text, int64_t bytes)
{
    return (ql_value){.kind = QL_VALUE_TEXT, .text = text, .bytes = bytes};
}

ql_status
ql_value_take(ql_ctx *cx, ql_text *text, ql_status st, ql_value *out)
{
    const char *copy = st == QL_OK ? ql_copy_text(cx, text->data ? text->data : "", (size_t)text->count) : NULL;

    if (copy)
        *out = ql_value_text(copy, text->count);
    free(text->data);
    *text = (ql_text){0};
    return st == QL_OK && !copy ? QL_MEMORY : st;
}

ql_value
ql_value_int(int64_t integer)
{
    return (ql_value){.kind = QL_VALUE_INT, .integer = integer};
}

ql_value
ql_value_bool(bool is)
{
    return (ql_value){.kind = QL_VALUE_BOOL, .integer = is};
}

static ql_status
list_of_json(ql_ctx *cx, const ql_json *v, ql_value *out)
{
    const int64_t count = ql_json_length(v);
    ql_value *items = ql_alloc(cx, (size_t)count + 1, sizeof *items);

    if (!items)
        return QL_MEMORY;
    for (int64_t i = 0; i < count; i++)
        QL_TRY(cx, ql_value_of_json(cx, ql_json_item(v, i), &items[i]));
    *out = (ql_value){.kind = QL_VALUE_LIST, .items = items, .count = count};
    return QL_OK;
}

ql_status
ql_value_of_json(ql_ctx *cx, const ql_json *v, ql_value *out)
{
    size_t bytes;
    const char *text = ql_json_bytes(v, &bytes);
    int64_t integer;
    double real;
    bool is;

    *out = (ql_value){0};
    if (text)
        *out = ql_value_text(text, (int64_t)bytes);
    else if (ql_json_as_bool(v, &is))
        *out = ql_value_bool(is);
    else if (ql_json_as_int(v, &integer))
        *out = ql_value_int(integer);
    else if (ql_json_as_real(v, &real))
        *out = (ql_value){.kind = QL_VALUE_REAL, .real = real};
    else if (ql_json_is_object(v))
        *out = (ql_value){.kind = QL_VALUE_MAP, .map = v};
    else if (ql_json_is_array(v))
        return list_of_json(cx, v, out);
    return QL_OK;
}

bool
ql_value_is_number(const ql_value *v)
{
    return v->kind == QL_VALUE_BOOL || v->kind == QL_VALUE_INT || v->kind == QL_VALUE_REAL;
}

double
ql_value_real(const ql_value *v)
{
    return v->kind == QL_VALUE_REAL ? v->real : (double)v->integer;
}

const char *
ql_json_names(ql_ctx *cx, const ql_json *object)
{
    const char *names = "none", *name;

    for (int64_t i = 0; i < ql_json_members(object) && i < NAMES_SHOWN && names; i++) {
        (void)ql_json_at(object, i, &name);
        names = i ? ql_format(cx, "%s, %s", names, name) : name;
    }
    return names;
}

bool
ql_value_true(const ql_value *v)
{
    switch (v->kind) {
    case QL_VALUE_TEXT:
        return v->bytes > 0;
    case QL_VALUE_LIST:
        return v->count > 0;
    case QL_VALUE_MAP:
        return ql_json_members(v->map) > 0;
    default:
        return ql_value_is_number(v) && ql_value_real(v) != 0;
    }
}

/* --- equality ---------------------------------------------------------------------------------------------------- */

static bool
members_equal(const ql_json *a, const ql_json *b)
{
    const char *key;

    if (ql_json_members(a) != ql_json_members(b))
        return false;
    for (int64_t i = 0; i < ql_json_members(a); i++) {
        const ql_json *mine = ql_json_at(a, i, &key), *theirs = ql_json_member(b, key);

        if (theirs ? !ql_json_equal(mine, theirs) : !ql_json_is_null(a, key) || !ql_json_is_null(b, key))
            return false;
    }
    return true;
}

bool
ql_json_equal(const ql_json *a, const ql_json *b)
{
    size_t bytes[2];
    const char *x = ql_json_bytes(a, &bytes[0]), *y = ql_json_bytes(b, &bytes[1]);
    double p, q;
    bool r, s;

    if (x || y)
        return x && y && bytes[0] == bytes[1] && memcmp(x, y, bytes[0]) == 0;
    if (ql_json_is_object(a) || ql_json_is_object(b))
        return ql_json_is_object(a) && ql_json_is_object(b) && members_equal(a, b);
    if (ql_json_is_array(a) || ql_json_is_array(b)) {
        bool same = ql_json_is_array(a) && ql_json_is_array(b) && ql_json_length(a) == ql_json_length(b);

        for (int64_t i = 0; same && i < ql_json_length(a); i++)
            same = ql_json_equal(ql_json_item(a, i), ql_json_item(b, i));
        return same;
    }
    if (ql_json_as_bool(a, &r))
        p = r;
    else if (!ql_json_as_real(a, &p))
        p = NAN; /* null */
    if (ql_json_as_bool(b, &s))
        q = s;
    else if (!ql_json_as_real(b, &q))
        q = NAN;
    return p == q || (isnan(p) && isnan(q));
}

bool
ql_value_equal(const ql_value *a, const ql_value *b)
{
    if (ql_value_is_number(a) && ql_value_is_number(b))
        return a->kind == QL_VALUE_REAL || b->kind == QL_VALUE_REAL ? ql_value_real(a) == ql_value_real(b)
                                                                    : a->integer == b->integer;
    if (a->kind != b->kind)
        return false;
    if (a->kind == QL_VALUE_TEXT)
        return a->bytes == b->bytes && (a->bytes == 0 || memcmp(a->text, b->text, (size_t)a->bytes) == 0);
    if (a->kind == QL_VALUE_MAP)
        return ql_json_equal(a->map, b->map);
    if (a->kind == QL_VALUE_LIST) {
        bool same = a->count == b->count;

        for (int64_t i = 0; same && i < a->count; i++)
            same = ql_value_equal(&a->items[i], &b->items[i]);
        return same;
    }
    return true;
}

/* --- as text ----------------------------------------------------------------------------------------------------- */

static ql_status
put_words(ql_ctx *cx, ql_text *out, const char *text)
{
    return ql_text_put(cx, out, text, strlen(text));
}

/* The shortest digits that read back as the same double, where the exponent stands as in Python: 1e+16, 1e-05, 100.0. */
static ql_status
put_real(ql_ctx *cx, double real, ql_text *out)
{
    char text[QL_NUMBER_SIZE + 8], *e;

    if (!isfinite(real))
        return put_words(cx, out, isnan(real) ? "nan" : real < 0 ? "-inf" : "inf");
    ql_number(real, text);
    e = strchr(text, 'e');
    if (fabs(real) >= 1e16 || (real != 0 && fabs(real) < 1e-4)) { /* Python writes those with an exponent */
        for (int digits = 0; digits < 17; digits++) {
            snprintf(text, sizeof text, "%.*e", digits, real);
            if (strtod(text, NULL) == real)
                break;
        }
    } else if (e) {
        snprintf(text, sizeof text, "%.1f", real);
    } else if (!strchr(text, '.')) {
        memcpy(text + strlen(text), ".0", 3);
    }
    return put_words(cx, out, text);
}

static ql_status
put_quoted(ql_ctx *cx, const ql_value *v, ql_text *out)
{
    const bool apostrophe = v->bytes && memchr(v->text, '\'', (size_t)v->bytes) != NULL,
               quote = v->bytes && memchr(v->text, '"', (size_t)v->bytes) != NULL;
    const char mark = apostrophe && !quote ? '"' : '\'';

    QL_TRY(cx, ql_text_put(cx, out, &mark, 1));
    for (int64_t i = 0; i < v->bytes; i++) {
        const char c = v->text[i];

        if (c == '\n' || c == '\r' || c == '\t')
            QL_TRY(cx, put_words(cx, out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t"));
        else if (c == '\\' || c == mark)
            QL_TRY(cx, ql_text_put(cx, out, (const char[]){'\\', c}, 2));
        else
            QL_TRY(cx, ql_text_put(cx, out, &c, 1));
    }
    return ql_text_put(cx, out, &mark, 1);
}

static ql_status
put_map(ql_ctx *cx, const ql_json *map, ql_text *out)
{
    QL_TRY(cx, put_words(cx, out, "{"));
    for (int64_t i = 0; i < ql_json_members(map); i++) {
        const char *name;
        ql_value key, value;

        QL_TRY(cx, ql_value_of_json(cx, ql_json_at(map, i, &name), &value));
        key = ql_value_text(name, (int64_t)strlen(name));
        QL_TRY(cx, put_words(cx, out, i ? ", " : ""));
        QL_TRY(cx, ql_value_put(cx, &key, true, out));
        QL_TRY(cx, put_words(cx, out, ": "));
        QL_TRY(cx, ql_value_put(cx, &value, true, out));
    }
    return put_words(cx, out, "}");
}

ql_status
ql_value_put(ql_ctx *cx, const ql_value *v, bool repr, ql_text *out)
{
    char number[32];

    switch (v->kind) {
    case QL_VALUE_NONE:
        return put_words(cx, out, "None");
    case QL_VALUE_BOOL:
        return put_words(cx, out, v->integer ? "True" : "False");
    case QL_VALUE_INT:
        snprintf(number, sizeof number, "%" PRId64, v->integer);
        return put_words(cx, out, number);
    case QL_VALUE_REAL:
        return put_real(cx, v->real, out);
    case QL_VALUE_TEXT:
        return repr ? put_quoted(cx, v, out) : ql_text_put(cx, out, v->text, (size_t)v->bytes);
    case QL_VALUE_MAP:
        return put_map(cx, v->map, out);
    default:
        QL_TRY(cx, put_words(cx, out, "["));
        for (int64_t i = 0; i < v->count; i++) {
            QL_TRY(cx, put_words(cx, out, i ? ", " : ""));
            QL_TRY(cx, ql_value_put(cx, &v->items[i], true, out));
        }
        return put_words(cx, out, "]");
    }
}

const char *
ql_value_word(const ql_value *v)
{
    static const char *const words[] = {"none", "a bool", "an integer", "a number", "a text", "a list", "a map"};

    return words[v->kind];
}

int64_t
ql_text_points(const char *text, int64_t bytes)
{
    int64_t points = 0;

    for (int64_t i = 0; i < bytes; i++)
        points += ((unsigned char)text[i] & 0xC0) != 0x80;
    return points;
}

int64_t
ql_text_at(const char *text, int64_t bytes, int64_t index)
{
    int64_t at = 0;

    for (; at < bytes; at++)
        if (((unsigned char)text[at] & 0xC0) != 0x80 && index-- == 0)
            return at;
    return bytes;
}

int64_t
ql_text_words(const char *text, int64_t bytes)
{
    int64_t words = 1;
    bool before = false;
    size_t n;

    for (size_t i = 0; i < (size_t)bytes; i += n) {
        const bool space = ql_char_is_python_space(ql_utf8_char((const unsigned char *)text + i, &n));

        words += space && !before;
        before = space;
    }
    return words;
}
