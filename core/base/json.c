/* JSON trees: members, items and values, and what is said of one that is not as expected. */
#include "json_tree.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

/* --- looking ----------------------------------------------------------------------------------------------------- */

bool
ql_json_is_object(const ql_json *v)
{
    return v && v->kind == KIND_OBJECT;
}

bool
ql_json_is_array(const ql_json *v)
{
    return v && v->kind == KIND_ARRAY;
}

int64_t
ql_json_length(const ql_json *v)
{
    return ql_json_is_array(v) ? v->count : 0;
}

const ql_json *
ql_json_item(const ql_json *v, int64_t i)
{
    return i >= 0 && i < ql_json_length(v) ? &v->items[i] : NULL;
}

int64_t
ql_json_members(const ql_json *v)
{
    return ql_json_is_object(v) ? v->count : 0;
}

const ql_json *
ql_json_at(const ql_json *v, int64_t i, const char **key)
{
    if (i < 0 || i >= ql_json_members(v))
        return NULL;
    *key = v->items[i].name;
    return &v->items[i];
}

static const ql_json *
find(const ql_json *o, const char *key)
{
    const ql_json wanted = {.name = key}, *pointer = &wanted, **hit;

    hit =
        ql_json_members(o) ? bsearch(&pointer, o->sorted, (size_t)o->count, sizeof(ql_json *), ql_json_by_name) : NULL;
    return hit ? *hit : NULL;
}

const ql_json *
ql_json_member(const ql_json *o, const char *key)
{
    const ql_json *v = find(o, key);

    return v && v->kind != KIND_NULL ? v : NULL;
}

bool
ql_json_is_null(const ql_json *o, const char *key)
{
    const ql_json *v = find(o, key);

    return v && v->kind == KIND_NULL;
}

const char *
ql_json_bytes(const ql_json *v, size_t *bytes)
{
    if (!v || v->kind != KIND_STRING)
        return NULL;
    *bytes = (size_t)v->count;
    return v->text;
}

const char *
ql_json_string(const ql_json *v)
{
    size_t bytes;
    const char *text = ql_json_bytes(v, &bytes);

    return text && strlen(text) == bytes ? text : NULL;
}

bool
ql_json_as_int(const ql_json *v, int64_t *out)
{
    if (!v || v->kind != KIND_INT)
        return false;
    *out = v->integer;
    return true;
}

bool
ql_json_as_real(const ql_json *v, double *out)
{
    if (!v || (v->kind != KIND_INT && v->kind != KIND_REAL))
        return false;
    *out = v->kind == KIND_INT ? (double)v->integer : v->real;
    return true;
}

bool
ql_json_as_bool(const ql_json *v, bool *out)
{
    if (!v || v->kind != KIND_BOOL)
        return false;
    *out = v->boolean;
    return true;
}

#define MEMBER(name, type, read, what)                                                 \
    ql_status name(ql_ctx *cx, const ql_json *o, const char *key, type def, type *out) \
    {                                                                                  \
        const ql_json *v = ql_json_member(o, key);                                     \
                                                                                       \
        *out = def;                                                                    \
        return !v || read(v, out) ? QL_OK : ql_json_expected(cx, v, what);             \
    }

MEMBER(ql_json_int, int64_t, ql_json_as_int, "an integer")
MEMBER(ql_json_real, double, ql_json_as_real, "a number")
MEMBER(ql_json_bool, bool, ql_json_as_bool, "true or false")

ql_status
ql_json_text(ql_ctx *cx, const ql_json *o, const char *key, const char *def, const char **out)
{
    const ql_json *v = ql_json_member(o, key);

    *out = v ? ql_json_string(v) : def;
    return !v || *out ? QL_OK : ql_json_expected(cx, v, "a text");
}

/* --- telling ----------------------------------------------------------------------------------------------------- */

/* "rope_scaling.factor", "layer_types[3]"; "" for the root. */
static const char *
path_of(ql_ctx *cx, const ql_json *v)
{
    const char *up;

    if (!v->up)
        return "";
    up = path_of(cx, v->up);
    if (!up)
        return NULL;
    if (v->name)
        return ql_format(cx, "%s%s%s", up, *up ? "." : "", v->name);
    return ql_format(cx, "%s[%lld]", up, (long long)(v - v->up->items));
}

const char *
ql_json_where(ql_ctx *cx, const ql_json *v)
{
    const ql_json *root = v;
    const char *path = path_of(cx, v);

    while (root->up)
        root = root->up;
    if (!path)
        return NULL;
    return *path ? ql_format(cx, "%s: '%s'", root->name, path) : root->name;
}

/* The value as a message shows it. */
static const char *
shown(ql_ctx *cx, const ql_json *v)
{
    char number[QL_NUMBER_SIZE];

    switch (v->kind) {
    case KIND_BOOL:
        return v->boolean ? "true" : "false";
    case KIND_INT:
        return ql_format(cx, "%lld", (long long)v->integer);
    case KIND_REAL:
        ql_number(v->real, number);
        return ql_format(cx, "%s%s", number, strpbrk(number, ".en") ? "" : ".0");
    case KIND_STRING:
        return ql_json_quote(cx, v->text, v->count > 80 ? 80 : (size_t)v->count);
    case KIND_ARRAY:
        return "an array";
    case KIND_OBJECT:
        return "an object";
    case KIND_NULL:
    default:
        return "null";
    }
}

ql_status
ql_json_expected(ql_ctx *cx, const ql_json *v, const char *what)
{
    const char *where = ql_json_where(cx, v), *got = shown(cx, v);

    if (!where || !got)
        return QL_MEMORY;
    return QL_FAIL(cx, QL_INVALID, "%s: expected %s, got %s", where, what, got);
}
