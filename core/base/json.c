/* JSON texts: jansson parses, the tree here remembers file and key of every value. */
#include "json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "file.h"

#define LINEAR_SEARCH 16 /* members up to which a lookup just compares */
#define WIDE_INTEGERS 16 /* integers beyond 64 bits in one text */

typedef enum json_kind { KIND_NULL, KIND_BOOL, KIND_INT, KIND_REAL, KIND_STRING, KIND_ARRAY, KIND_OBJECT } json_kind;

struct ql_json {
    json_kind kind;
    const ql_json *up; /* NULL: the root */
    const char *name;  /* key in the object above; the file at the root; NULL in an array */
    int64_t count;     /* items, members, bytes of a string */
    union {
        bool boolean;
        int64_t integer;
        double real;
        const char *text;
        struct {
            const ql_json *items;
            const ql_json **sorted; /* large objects: members by key */
        };
    };
};

/* --- parsing ----------------------------------------------------------------------------------------------------- */

/* jansson's own bound is a constant of its build, so the nesting is measured before it runs. */
static ql_status
check_depth(ql_ctx *cx, const char *file, const char *text, size_t bytes, int depth)
{
    int64_t line = 1, column = 0;
    int level = 0;
    bool string = false;

    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];

        column++;
        if (c == '\n') {
            line++;
            column = 0;
        } else if (string && c == '\\') {
            i++;
            column++;
        } else if (c == '"') {
            string = !string;
        } else if (!string && (c == '[' || c == '{') && ++level > depth) {
            return QL_FAIL(cx, QL_INVALID, "%s:%lld:%lld: nested deeper than %d levels", file, (long long)line,
                           (long long)column, depth);
        } else if (!string && (c == ']' || c == '}')) {
            level--;
        }
    }
    return QL_OK;
}

/* Where an integer that jansson found too big ends, if it is one: an error's position is right behind the number. */
static bool
ends_integer(const char *text, size_t at)
{
    size_t i = at;

    while (i > 0 && text[i - 1] >= '0' && text[i - 1] <= '9')
        i--;
    return i < at && (i == 0 || !strchr(".eE+", text[i - 1])) && (i < 2 || !strchr("eE", text[i - 2]));
}

/* Integers beyond 64 bits, which are no error in JSON ("model_max_length" is often a 1e30 written out), become
 * reals: an exponent is put behind each. */
static json_t *
load(ql_ctx *cx, const char *text, size_t bytes, json_error_t *error)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_t *tree = json_loadb(text, bytes, flags, error);

    for (int i = 0; i < WIDE_INTEGERS && !tree && json_error_code(error) == json_error_numeric_overflow; i++) {
        const size_t at = (size_t)error->position;
        char *wider = at <= bytes && ends_integer(text, at) ? ql_alloc(cx, bytes + 2, 1) : NULL;

        if (!wider)
            break;
        memcpy(wider, text, at);
        memcpy(wider + at, "e0", 2);
        memcpy(wider + at + 2, text + at, bytes - at);
        text = wider;
        bytes += 2;
        tree = json_loadb(text, bytes, flags, error);
    }
    return tree;
}

static int
by_name(const void *a, const void *b)
{
    const ql_json *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static ql_status convert(ql_ctx *cx, json_t *from, ql_json *to);

static ql_status
convert_array(ql_ctx *cx, json_t *from, ql_json *to)
{
    size_t n = json_array_size(from);
    ql_json *items = ql_alloc(cx, n, sizeof *items);

    if (!items)
        return QL_MEMORY;
    to->kind = KIND_ARRAY;
    to->count = (int64_t)n;
    to->items = items;
    for (size_t i = 0; i < n; i++) {
        items[i].up = to;
        QL_TRY(cx, convert(cx, json_array_get(from, i), &items[i]));
    }
    return QL_OK;
}

static ql_status
convert_object(ql_ctx *cx, json_t *from, ql_json *to)
{
    size_t n = json_object_size(from), i = 0;
    ql_json *items = ql_alloc(cx, n, sizeof *items);
    const char *key;
    json_t *value;

    if (!items)
        return QL_MEMORY;
    to->kind = KIND_OBJECT;
    to->count = (int64_t)n;
    to->items = items;
    json_object_foreach(from, key, value)
    {
        items[i].up = to;
        items[i].name = ql_copy_text(cx, key, strlen(key));
        if (!items[i].name)
            return QL_MEMORY;
        QL_TRY(cx, convert(cx, value, &items[i]));
        i++;
    }
    if (n <= LINEAR_SEARCH)
        return QL_OK;
    to->sorted = ql_alloc(cx, n, sizeof(const ql_json *));
    if (!to->sorted)
        return QL_MEMORY;
    for (i = 0; i < n; i++)
        to->sorted[i] = &items[i];
    qsort(to->sorted, n, sizeof(const ql_json *), by_name);
    return QL_OK;
}

static ql_status
convert(ql_ctx *cx, json_t *from, ql_json *to)
{
    switch (json_typeof(from)) {
    case JSON_OBJECT:
        return convert_object(cx, from, to);
    case JSON_ARRAY:
        return convert_array(cx, from, to);
    case JSON_STRING:
        to->kind = KIND_STRING;
        to->count = (int64_t)json_string_length(from);
        to->text = ql_copy_text(cx, json_string_value(from), (size_t)to->count);
        return to->text ? QL_OK : QL_MEMORY;
    case JSON_INTEGER:
        to->kind = KIND_INT;
        to->integer = json_integer_value(from);
        return QL_OK;
    case JSON_REAL:
        to->kind = KIND_REAL;
        to->real = json_real_value(from);
        return QL_OK;
    case JSON_TRUE:
    case JSON_FALSE:
        to->kind = KIND_BOOL;
        to->boolean = json_is_true(from);
        return QL_OK;
    case JSON_NULL:
    default:
        to->kind = KIND_NULL;
        return QL_OK;
    }
}

ql_status
ql_json_parse(ql_ctx *cx, const char *file, const char *text, size_t bytes, int depth, const ql_json **out)
{
    ql_json *root = ql_alloc(cx, 1, sizeof *root);
    json_error_t error;
    json_t *tree;
    ql_status st;

    if (!root)
        return QL_MEMORY;
    QL_TRY(cx, check_depth(cx, file, text, bytes, depth));
    tree = load(cx, text, bytes, &error);
    if (!tree) {
        st = json_error_code(&error) == json_error_out_of_memory ? QL_MEMORY : QL_INVALID;
        return QL_FAIL(cx, st, "%s:%d:%d: %s", file, error.line, error.column, error.text);
    }
    root->name = file;
    st = convert(cx, tree, root);
    json_decref(tree);
    *out = root;
    return st;
}

ql_status
ql_json_read(ql_ctx *cx, const char *file, const ql_json **out)
{
    const char *text, *name = ql_copy_text(cx, file, strlen(file));
    size_t bytes;

    if (!name)
        return QL_MEMORY;
    QL_TRY(cx, ql_file_read(cx, file, &text, &bytes));
    return ql_json_parse(cx, name, text, bytes, QL_JSON_DEPTH, out);
}

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

    if (!ql_json_is_object(o))
        return NULL;
    if (o->sorted) {
        hit = bsearch(&pointer, o->sorted, (size_t)o->count, sizeof(const ql_json *), by_name);
        return hit ? *hit : NULL;
    }
    for (int64_t i = 0; i < o->count; i++)
        if (strcmp(o->items[i].name, key) == 0)
            return &o->items[i];
    return NULL;
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

ql_status
ql_json_int(ql_ctx *cx, const ql_json *o, const char *key, int64_t def, int64_t *out)
{
    const ql_json *v = ql_json_member(o, key);

    *out = def;
    return !v || ql_json_as_int(v, out) ? QL_OK : ql_json_expected(cx, v, "an integer");
}

ql_status
ql_json_real(ql_ctx *cx, const ql_json *o, const char *key, double def, double *out)
{
    const ql_json *v = ql_json_member(o, key);

    *out = def;
    return !v || ql_json_as_real(v, out) ? QL_OK : ql_json_expected(cx, v, "a number");
}

ql_status
ql_json_bool(ql_ctx *cx, const ql_json *o, const char *key, bool def, bool *out)
{
    const ql_json *v = ql_json_member(o, key);

    *out = def;
    return !v || ql_json_as_bool(v, out) ? QL_OK : ql_json_expected(cx, v, "true or false");
}

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

const char *
ql_json_real_text(ql_ctx *cx, double value)
{
    char number[40] = "";

    for (int digits = 1; digits <= 17; digits++) {
        snprintf(number, sizeof number, "%.*g", digits, value);
        if (!(strtod(number, NULL) < value) && !(strtod(number, NULL) > value))
            break;
    }
    return ql_format(cx, "%s%s", number, strpbrk(number, ".e") ? "" : ".0");
}

/* The value as a message shows it. */
static const char *
shown(ql_ctx *cx, const ql_json *v)
{
    switch (v->kind) {
    case KIND_BOOL:
        return v->boolean ? "true" : "false";
    case KIND_INT:
        return ql_format(cx, "%lld", (long long)v->integer);
    case KIND_REAL:
        return ql_json_real_text(cx, v->real);
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

/* Appends to `out`, or only counts when it is NULL. */
static size_t
quote(const char *text, size_t bytes, char *out)
{
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* characters and the letters that stand for them */
    size_t n = 0;
    char escape[8];

    for (size_t i = 0, step; i < bytes; i += step) {
        utf8proc_int32_t c;
        utf8proc_ssize_t got = utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(bytes - i), &c);
        const char *piece = text + i, *hit = got == 1 && c ? strchr(shorts, (int)c) : NULL;
        size_t length;

        step = length = got > 0 ? (size_t)got : 1;
        if (got <= 0) {
            piece = "\xef\xbf\xbd";
            length = 3;
        } else if (hit && (hit - shorts) % 2 == 0) {
            piece = escape;
            length = (size_t)snprintf(escape, sizeof escape, "\\%c", hit[1]);
        } else if (c < 0x20) {
            piece = escape;
            length = (size_t)snprintf(escape, sizeof escape, "\\u%04x", (unsigned)c);
        }
        if (out)
            memcpy(out + n, piece, length);
        n += length;
    }
    return n;
}

const char *
ql_json_quote(ql_ctx *cx, const char *text, size_t bytes)
{
    size_t n = quote(text, bytes, NULL);
    char *out = ql_alloc(cx, n + 3, 1);

    if (!out)
        return NULL;
    out[0] = '"';
    quote(text, bytes, out + 1);
    out[n + 1] = '"';
    return out;
}
