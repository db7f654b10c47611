/* Parameter tables at work: defaults, values from a file, and their canonical print. */
#include "params.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "base/printer.h"
#include "base/text.h"

const ql_param *
ql_param_find(const ql_plugin *p, const char *name)
{
    for (const ql_param *row = p->params; row->type != QL_T_END; row++)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

void
ql_param_offer(ql_guess *g, const ql_param *rows)
{
    for (; rows->type != QL_T_END; rows++)
        ql_guess_offer(g, rows->name);
}

int
ql_param_int(const ql_plugin *p, const void *self, const char *name, int def)
{
    const ql_param *row = ql_param_find(p, name);

    return row && (row->type == QL_T_INT || row->type == QL_T_ENUM) ? *(const int *)((const char *)self + row->offset)
                                                                    : def;
}

const char *
ql_param_text(const ql_plugin *p, const void *self, const char *name)
{
    const ql_param *row = ql_param_find(p, name);
    const char *text = row && (row->type == QL_T_STRING || row->type == QL_T_PATH)
                           ? *(const char *const *)((const char *)self + row->offset)
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
        void *at = (char *)self + row->offset;

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
        case QL_T_UINT64:
        case QL_T_BYTES:
            *(uint64_t *)at = (uint64_t)row->def;
            break;
        default:
            memset(at, 0, ql_param_size(row));
        }
    }
}

/* --- values from a file ------------------------------------------------------------------------------------------ */

/* Readers of a text into the field at `out`; false when it is no such value, or not one that the row allows. */
static bool
read_bool(const ql_param *row, const char *text, void *out)
{
    (void)row;
    *(bool *)out = text[0] == 't';
    return strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
}

static bool
read_int(const ql_param *row, const char *text, void *out)
{
    char *end;
    long long n;

    errno = 0;
    n = strtoll(text, &end, 10);
    *(int *)out = (int)n;
    return *text && !text[strspn(text, "+-0123456789")] && !*end && !errno && n >= INT_MIN && n <= INT_MAX &&
           (double)n >= row->min && (double)n <= row->max;
}

static bool
read_real(const ql_param *row, const char *text, void *out)
{
    char *end;
    const double x = ql_to_double(text, &end);

    *(double *)out = x;
    return *text && !text[strspn(text, "+-.0123456789eE")] && !*end && isfinite(x) && x >= row->min && x <= row->max;
}

/* Digits, and behind them perhaps a space, and a unit. */
static bool
read_bytes(const ql_param *row, const char *text, void *out)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    const size_t count = row->type == QL_T_BYTES ? sizeof units / sizeof *units : 1;
    char *unit;
    uint64_t n;

    errno = 0;
    n = strtoull(text, &unit, 10);
    if (!strchr("0123456789", *text) || !*text || errno)
        return false;
    unit += *unit == ' ' && count > 1;
    for (size_t i = 0; i < count; i++)
        if (strcmp(unit, units[i]) == 0 && n <= UINT64_MAX >> 10 * i) {
            *(uint64_t *)out = n << 10 * i;
            return true;
        }
    return false;
}

static bool
read_word(const ql_param *row, const char *text, void *out)
{
    int *at = out;

    for (*at = 0; row->values[*at]; ++*at)
        if (strcmp(row->values[*at], text) == 0)
            return true;
    return false;
}

typedef struct type_row {
    size_t size;                                                    /* of the field */
    const char *allowed;                                            /* for messages: a format of the row's two limits */
    bool (*read)(const ql_param *row, const char *text, void *out); /* NULL: texts and lists, which need memory */
    bool quoted;                                                    /* a text in quotes is a value too */
} type_row;

static const type_row types[] = {
    [QL_T_BOOL] = {sizeof(bool), "true or false", read_bool, false},
    [QL_T_INT] = {sizeof(int), "a whole number from %.0f to %.0f", read_int, false},
    [QL_T_REAL] = {sizeof(double), "a number from %g to %g", read_real, false},
    [QL_T_STRING] = {sizeof(const char *), "a text", NULL, true},
    [QL_T_ENUM] = {sizeof(int), "", read_word, true},
    [QL_T_PATH] = {sizeof(const char *), "a path", NULL, true},
    [QL_T_LIST] = {sizeof(ql_strings), "a list", NULL, true},
    [QL_T_UINT64] = {sizeof(uint64_t), "a whole number from 0 to 18446744073709551615", read_bytes, false},
    [QL_T_BYTES] = {sizeof(uint64_t), "bytes, or a whole number with KiB, MiB, GiB or TiB", read_bytes, true},
};

size_t
ql_param_size(const ql_param *row)
{
    return (size_t)row->type < sizeof types / sizeof *types ? types[row->type].size : 0;
}

void
ql_param_allowed(const ql_param *row, char *out, size_t size)
{
    size_t n = 0;

    snprintf(out, size, types[row->type].allowed, row->min, row->max);
    for (const char *const *w = row->type == QL_T_ENUM ? row->values : NULL; w && *w && n < size; w++) {
        const char *sep = w == row->values ? "" : w[1] ? ", " : " or ";

        n += (size_t)snprintf(out + n, size - n, "%s%s", sep, *w);
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

static ql_status
set_text(ql_ctx *cx, const ql_param *row, const ql_value *v, const char *folder, const char **out)
{
    if (!v->text && !v->items && !row->required) {
        *out = NULL;
        return QL_OK;
    }
    if (!v->text || (row->type == QL_T_PATH && !*v->text))
        return refuse(cx, row, v);
    *out = row->type == QL_T_PATH ? ql_path_from(cx, folder, v->text) : ql_copy_text(cx, v->text, strlen(v->text));
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
    const type_row *type = &types[ql_param_size(row) ? row->type : QL_T_END];
    void *at = (char *)self + row->offset;
    union {
        bool flag;
        int number;
        double real;
        uint64_t whole;
    } read; /* a field keeps its value when it gets a wrong one */

    if (!type->size)
        return QL_FAIL(cx, QL_BUG, "parameter '%s' has no type", row->name);
    if (row->type == QL_T_LIST)
        return set_list(cx, row, value, at);
    if (!type->read)
        return set_text(cx, row, value, folder, at);
    if (row->type == QL_T_ENUM && row->def < 0 && !value->text && !value->items) {
        *(int *)at = -1; /* no value is a value of a row without a default */
        return QL_OK;
    }
    if (!value->text || (value->quoted && !type->quoted) || !type->read(row, value->text, &read))
        return refuse(cx, row, value);
    memcpy(at, &read, type->size);
    return QL_OK;
}

/* --- canonical print --------------------------------------------------------------------------------------------- */

/* Does YAML read this text back as itself without quotes? */
static bool
is_plain(const char *text)
{
    static const char *const words[] = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
    static const char letters[] = "/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    const size_t first = strcspn(letters, "0");

    if (!*text || !memchr(letters, *text, first) || text[strspn(text, letters)])
        return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(text, words[i]) == 0)
            return false;
    return true;
}

/* Double-quoted as in YAML and JSON, where it must be. */
static void
put_text(FILE *out, const char *text)
{
    const bool plain = !text || is_plain(text);

    fputs(plain ? "" : "\"", out);
    for (const char *c = text ? text : "null"; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            fprintf(out, "\\u%04x", (unsigned)(unsigned char)*c);
        else
            fprintf(out, "%s%c", *c == '"' || *c == '\\' ? "\\" : "", *c);
    }
    fputs(plain ? "" : "\"", out);
}

/* A text, or a list of them. */
static const char *
print_texts(ql_ctx *cx, const ql_param *row, const void *at)
{
    const ql_strings *list = at;
    const char *text = NULL;
    ql_printer p;

    if (ql_printer_open(cx, &p) != QL_OK)
        return NULL;
    if (row->type == QL_T_LIST) {
        fputc('[', p.out);
        for (int64_t i = 0; i < list->count; i++) {
            fputs(i ? ", " : "", p.out);
            put_text(p.out, list->items[i]);
        }
        fputc(']', p.out);
    } else {
        put_text(p.out, *(const char *const *)at);
    }
    (void)ql_printer_close(cx, &p, &text); /* NULL then, with the error set */
    return text;
}

const char *
ql_param_print(ql_ctx *cx, const ql_param *row, const void *self)
{
    const void *at = (const char *)self + row->offset;
    char number[QL_NUMBER_SIZE];

    switch (row->type) {
    case QL_T_BOOL:
        return *(const bool *)at ? "true" : "false";
    case QL_T_INT:
        return ql_format(cx, "%d", *(const int *)at);
    case QL_T_REAL:
        ql_number(*(const double *)at, number);
        return ql_copy_text(cx, number, strlen(number));
    case QL_T_ENUM:
        return *(const int *)at < 0 ? "null" : row->values[*(const int *)at];
    case QL_T_UINT64:
    case QL_T_BYTES:
        return ql_format(cx, "%" PRIu64, *(const uint64_t *)at);
    case QL_T_END:
        return "";
    default:
        return print_texts(cx, row, at);
    }
}
