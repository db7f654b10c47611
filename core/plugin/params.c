/* Parameter tables at work: defaults, values from a file, and their canonical print. */
#include "params.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/guess.h"
#include "base/text.h"
#include "base/text.h"

const ql_param *
ql_param_find(const ql_plugin *p, const char *name)
{
    for (const ql_param *row = p->params; row->type != QL_T_END; row++)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

size_t
ql_param_size(const ql_param *row)
{
    switch (row->type) {
    case QL_T_BOOL:
        return sizeof(bool);
    case QL_T_INT:
    case QL_T_ENUM:
        return sizeof(int);
    case QL_T_REAL:
        return sizeof(double);
    case QL_T_STRING:
    case QL_T_PATH:
        return sizeof(const char *);
    case QL_T_LIST:
        return sizeof(ql_strings);
    case QL_T_UINT64:
    case QL_T_BYTES:
        return sizeof(uint64_t);
    case QL_T_END:
        return 0;
    }
    return 0;
}

static void *
field(const ql_param *row, void *self)
{
    return (char *)self + row->offset;
}

static const void *
field_read(const ql_param *row, const void *self)
{
    return (const char *)self + row->offset;
}

int
ql_param_int(const ql_plugin *p, const void *self, const char *name, int def)
{
    const ql_param *row = ql_param_find(p, name);

    return row && (row->type == QL_T_INT || row->type == QL_T_ENUM) ? *(const int *)field_read(row, self) : def;
}

const char *
ql_param_text(const ql_plugin *p, const void *self, const char *name)
{
    const ql_param *row = ql_param_find(p, name);
    const char *text = row && (row->type == QL_T_STRING || row->type == QL_T_PATH)
                           ? *(const char *const *)field_read(row, self)
                           : NULL;

    return text ? text : "";
}

bool
ql_param_any_required(const ql_plugin *p)
{
    for (const ql_param *row = p->params; row->type != QL_T_END; row++)
        if (row->required)
            return true;
    return false;
}

void
ql_param_defaults(const ql_plugin *p, void *self)
{
    for (const ql_param *row = p->params; row->type != QL_T_END; row++) {
        void *at = field(row, self);

        switch (row->type) {
        case QL_T_BOOL:
            *(bool *)at = row->def != 0;
            break;
        case QL_T_INT:
        case QL_T_ENUM:
            *(int *)at = (int)row->def;
            break;
        case QL_T_REAL:
            *(double *)at = row->def;
            break;
        case QL_T_STRING:
        case QL_T_PATH:
            *(const char **)at = row->def_text;
            break;
        case QL_T_LIST:
            *(ql_strings *)at = (ql_strings){.count = 0};
            break;
        case QL_T_UINT64:
        case QL_T_BYTES:
            *(uint64_t *)at = (uint64_t)row->def;
            break;
        case QL_T_END:
            break;
        }
    }
}

/* --- values from a file ------------------------------------------------------------------------------------------ */

void
ql_param_allowed(const ql_param *row, char *out, size_t size)
{
    size_t n = 0;

    out[0] = '\0';
    switch (row->type) {
    case QL_T_BOOL:
        snprintf(out, size, "true or false");
        return;
    case QL_T_INT:
        snprintf(out, size, "a whole number from %.0f to %.0f", row->min, row->max);
        return;
    case QL_T_REAL:
        snprintf(out, size, "a number from %g to %g", row->min, row->max);
        return;
    case QL_T_ENUM:
        for (const char *const *w = row->values; *w && n < size; w++) {
            const char *sep = w == row->values ? "" : w[1] ? ", " : " or ";

            n += (size_t)snprintf(out + n, size - n, "%s%s", sep, *w);
        }
        return;
    case QL_T_STRING:
        snprintf(out, size, "a text");
        return;
    case QL_T_PATH:
        snprintf(out, size, "a path");
        return;
    case QL_T_LIST:
        snprintf(out, size, "a list");
        return;
    case QL_T_UINT64:
        snprintf(out, size, "a whole number from 0 to %" PRIu64, UINT64_MAX);
        return;
    case QL_T_BYTES:
        snprintf(out, size, "bytes, or a whole number with KiB, MiB, GiB or TiB");
        return;
    case QL_T_END:
        return;
    }
}

static ql_status
refuse(ql_ctx *cx, const ql_param *row, const ql_value *v)
{
    char allowed[512];
    const char *got = v->text ? v->text : v->items ? "a list" : "nothing";
    const char *mark = !v->text ? "" : v->quoted ? "\"" : "'";
    ql_guess near = ql_guess_open(v->text ? v->text : "");

    ql_param_allowed(row, allowed, sizeof allowed);
    for (const char *const *w = row->type == QL_T_ENUM ? row->values : NULL; w && *w; w++)
        if (row->values[1]) /* there is a choice */
            ql_guess_offer(&near, *w);
    return QL_FAIL(cx, QL_INVALID, "%s: got %s%.200s%s, expected %s%s%s%s (%s)", row->name, mark, got, mark, allowed,
                   near.best ? "; did you mean '" : "", near.best ? near.best : "", near.best ? "'?" : "",
                   row->help ? row->help : "");
}

static bool
parse_bool(const char *text, bool *out)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return false;
    *out = text[0] == 't';
    return true;
}

static bool
parse_int(const ql_param *row, const char *text, int *out)
{
    char *end;
    long long n;

    if (text[strspn(text, "+-0123456789")] != '\0' || !*text)
        return false;
    errno = 0;
    n = strtoll(text, &end, 10);
    if (errno || *end || n < INT_MIN || n > INT_MAX || (double)n < row->min || (double)n > row->max)
        return false;
    *out = (int)n;
    return true;
}

static bool
parse_real(const ql_param *row, const char *text, double *out)
{
    char *end;
    double x;

    if (text[strspn(text, "+-.0123456789eE")] != '\0' || !*text)
        return false;
    x = strtod(text, &end);
    if (*end || !isfinite(x) || x < row->min || x > row->max)
        return false;
    *out = x;
    return true;
}

/* Digits alone that fit. */
static bool
parse_whole(const char *text, size_t digits, uint64_t *out)
{
    uint64_t n = 0;

    for (size_t i = 0; i < digits; i++) {
        const unsigned digit = (unsigned)(unsigned char)text[i] - '0';

        if (digit > 9 || n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return digits > 0;
}

static bool
parse_bytes(const char *text, uint64_t *out)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    const size_t digits = strspn(text, "0123456789");
    uint64_t n;

    if (!parse_whole(text, digits, &n))
        return false;
    text += digits;
    text += *text == ' ';
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(text, units[i]) == 0 && n <= UINT64_MAX >> 10 * i) {
            *out = n << 10 * i;
            return true;
        }
    return false;
}

static ql_status
set_word(ql_ctx *cx, const ql_param *row, const ql_value *v, int *out)
{
    if (!v->text && !v->items && row->def < 0) { /* no value is a value of a row without a default */
        *out = -1;
        return QL_OK;
    }
    for (int i = 0; v->text && row->values[i]; i++) {
        if (strcmp(row->values[i], v->text) == 0) {
            *out = i;
            return QL_OK;
        }
    }
    return refuse(cx, row, v);
}

static ql_status
set_text(ql_ctx *cx, const ql_param *row, const ql_value *v, const char *folder, const char **out)
{
    const bool relative = row->type == QL_T_PATH && folder && *folder && v->text && v->text[0] != '/';

    if (!v->text && !v->items && !row->required) {
        *out = NULL;
        return QL_OK;
    }
    if (!v->text || (row->type == QL_T_PATH && !*v->text))
        return refuse(cx, row, v);
    *out = relative ? ql_format(cx, "%s/%s", folder, v->text) : ql_copy_text(cx, v->text, strlen(v->text));
    return *out ? QL_OK : QL_MEMORY;
}

static ql_status
set_list(ql_ctx *cx, const ql_param *row, const ql_value *v, ql_strings *out)
{
    const char **items;

    if (v->text || (!v->items && v->count))
        return refuse(cx, row, v);
    items = ql_alloc(cx, (size_t)v->count, sizeof *items);
    if (!items)
        return QL_MEMORY;
    for (int64_t i = 0; i < v->count; i++)
        if (!(items[i] = ql_copy_text(cx, v->items[i], strlen(v->items[i]))))
            return QL_MEMORY;
    *out = (ql_strings){.count = v->count, .items = items};
    return QL_OK;
}

ql_status
ql_param_set(ql_ctx *cx, const ql_param *row, const ql_value *value, const char *folder, void *self)
{
    void *at = field(row, self);
    const bool plain = value->text && !value->quoted;

    switch (row->type) {
    case QL_T_BOOL:
        return plain && parse_bool(value->text, at) ? QL_OK : refuse(cx, row, value);
    case QL_T_INT:
        return plain && parse_int(row, value->text, at) ? QL_OK : refuse(cx, row, value);
    case QL_T_REAL:
        return plain && parse_real(row, value->text, at) ? QL_OK : refuse(cx, row, value);
    case QL_T_ENUM:
        return set_word(cx, row, value, at);
    case QL_T_STRING:
    case QL_T_PATH:
        return set_text(cx, row, value, folder, at);
    case QL_T_LIST:
        return set_list(cx, row, value, at);
    case QL_T_UINT64:
        return plain && parse_whole(value->text, strlen(value->text), at) ? QL_OK : refuse(cx, row, value);
    case QL_T_BYTES:
        return value->text && parse_bytes(value->text, at) ? QL_OK : refuse(cx, row, value);
    case QL_T_END:
        break;
    }
    return QL_FAIL(cx, QL_BUG, "parameter '%s' has no type", row->name);
}

/* --- canonical print --------------------------------------------------------------------------------------------- */

static const char *
print_real(ql_ctx *cx, double value)
{
    char text[QL_NUMBER_SIZE];

    ql_number(value, text);
    return ql_copy_text(cx, text, strlen(text));
}

/* Does YAML read this text back as itself without quotes? */
static bool
is_plain(const char *text)
{
    static const char *const words[] = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
    const char *const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    if (!(*text == '/' || (*text && strchr(letters, *text))))
        return false;
    for (const char *c = text; *c; c++)
        if (!strchr(letters, *c) && !strchr("0123456789_-./", *c))
            return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(text, words[i]) == 0)
            return false;
    return true;
}

/* Double-quoted as in YAML and JSON. */
static const char *
print_text(ql_ctx *cx, const char *text)
{
    char *out, *p;

    if (!text)
        return "null";
    if (is_plain(text))
        return text;
    p = out = ql_alloc(cx, strlen(text) + 1, 6);
    if (!out)
        return NULL;
    *p++ = '"';
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            p += snprintf(p, 7, "\\u%04x", (unsigned)(unsigned char)*c);
            continue;
        }
        if (*c == '"' || *c == '\\')
            *p++ = '\\';
        *p++ = *c;
    }
    *p++ = '"';
    *p = '\0';
    return out;
}

static const char *
print_list(ql_ctx *cx, const ql_strings *list)
{
    const char **items = ql_alloc(cx, (size_t)list->count, sizeof *items);
    size_t bytes = 3; /* brackets and the end */
    char *out, *p;

    if (!items)
        return NULL;
    for (int64_t i = 0; i < list->count; i++) {
        if (!(items[i] = print_text(cx, list->items[i])))
            return NULL;
        bytes += strlen(items[i]) + 2;
    }
    p = out = ql_alloc(cx, bytes, 1);
    if (!out)
        return NULL;
    *p++ = '[';
    for (int64_t i = 0; i < list->count; i++)
        p += snprintf(p, bytes - (size_t)(p - out), "%s%s", i ? ", " : "", items[i]);
    *p = ']';
    return out;
}

const char *
ql_param_print(ql_ctx *cx, const ql_param *row, const void *self)
{
    const void *at = field_read(row, self);

    switch (row->type) {
    case QL_T_BOOL:
        return *(const bool *)at ? "true" : "false";
    case QL_T_INT:
        return ql_format(cx, "%d", *(const int *)at);
    case QL_T_REAL:
        return print_real(cx, *(const double *)at);
    case QL_T_ENUM:
        return *(const int *)at < 0 ? "null" : row->values[*(const int *)at];
    case QL_T_STRING:
    case QL_T_PATH:
        return print_text(cx, *(const char *const *)at);
    case QL_T_LIST:
        return print_list(cx, at);
    case QL_T_UINT64:
    case QL_T_BYTES:
        return ql_format(cx, "%" PRIu64, *(const uint64_t *)at);
    case QL_T_END:
        break;
    }
    return "";
}
