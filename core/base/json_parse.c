/* JSON texts to trees. Members and items gather on a stack until their bracket closes, then move to the scope in one piece. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "file.h"
#include "json_tree.h"
#include "text.h"

#define REPLACEMENT 0xfffd
#define NUMBER_BYTES 64 /* of a number that needs no memory of its own */

typedef struct parser {
    ql_ctx *cx;
    const ql_json_input *in;
    size_t at;
    int depth; /* levels that may still open */
    ql_json *stack;
    int64_t count, capacity;
} parser;

/* --- messages ---------------------------------------------------------------------------------------------------- */

const char *
ql_known_wrong(const char *text, size_t bytes)
{
    static const struct {
        const char *begin, *what;
    } rows[] = {
        {"version https://git-lfs.github.com/spec/",
         "a Git LFS pointer in place of the file: fetch it with `git lfs pull`"},
        {"<!DOCTYPE", "an HTML page in place of the file: the download failed"},
        {"<!doctype", "an HTML page in place of the file: the download failed"},
        {"<html", "an HTML page in place of the file: the download failed"},
        {"\xef\xbb\xbf", "it begins with a byte order mark (UTF-8 with BOM): save it without"},
        {"\xff\xfe", "it is UTF-16: save it as UTF-8"},
        {"\xfe\xff", "it is UTF-16: save it as UTF-8"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (bytes >= strlen(rows[i].begin) && memcmp(text, rows[i].begin, strlen(rows[i].begin)) == 0)
            return rows[i].what;
    return NULL;
}

/* INVALID at byte `at`; columns count characters. */
static ql_status
refuse_at(parser *p, size_t at, const char *what)
{
    int64_t line, column;

    ql_text_place(p->in->text, at, &line, &column);
    line += p->in->line ? p->in->line - 1 : 0;
    return QL_FAIL(p->cx, QL_INVALID, "%s:%lld:%lld: %s", p->in->file, (long long)line, (long long)column, what);
}

/* "expected a value, got 'x'" */
static ql_status
refuse(parser *p, const char *expected)
{
    const unsigned char c = p->at < p->in->bytes ? (unsigned char)p->in->text[p->at] : 0;
    char what[120];

    if (p->at >= p->in->bytes)
        snprintf(what, sizeof what, "expected %s, got the end", expected);
    else if (c > ' ' && c < 0x7f)
        snprintf(what, sizeof what, "expected %s, got '%c'", expected, c);
    else
        snprintf(what, sizeof what, "expected %s, got byte 0x%02x", expected, c);
    return refuse_at(p, p->at, what);
}

/* --- texts ------------------------------------------------------------------------------------------------------- */

static int
peek(const parser *p)
{
    return p->at < p->in->bytes ? (unsigned char)p->in->text[p->at] : -1;
}

static void
skip_space(parser *p)
{
    while (p->at < p->in->bytes && strchr(" \t\r\n", p->in->text[p->at]) && p->in->text[p->at])
        p->at++;
}

static bool
take(parser *p, const char *word)
{
    const size_t n = strlen(word);

    if (p->in->bytes - p->at < n || memcmp(p->in->text + p->at, word, n) != 0)
        return false;
    p->at += n;
    return true;
}

/* Four hexadecimal digits; false when there are none. */
static bool
take_hex(parser *p, utf8proc_int32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++, p->at++) {
        const int c = peek(p);

        if (!isxdigit(c))
            return false;
        *out = *out << 4 | (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return true;
}

static bool
is_surrogate(utf8proc_int32_t c, utf8proc_int32_t first)
{
    return c >= first && c < first + 0x400;
}

/* What follows "\u": a character, or two surrogates that are one. */
static ql_status
take_unicode(parser *p, utf8proc_int32_t *c)
{
    const size_t at = p->at - 2;
    utf8proc_int32_t low = 0;
    size_t back;

    if (!take_hex(p, c))
        return refuse(p, "four hexadecimal digits");
    if (!is_surrogate(*c, 0xd800) && !is_surrogate(*c, 0xdc00))
        return QL_OK;
    back = p->at;
    if (is_surrogate(*c, 0xd800) && take(p, "\\u") && take_hex(p, &low) && is_surrogate(low, 0xdc00)) {
        *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
        return QL_OK;
    }
    p->at = back;
    *c = REPLACEMENT;
    return p->in->python ? QL_OK : refuse_at(p, at, "half of a surrogate pair");
}

/* One character of a string, at a backslash or no ASCII. */
static ql_status
take_special(parser *p, utf8proc_int32_t *c)
{
    static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const utf8proc_uint8_t *here = (const utf8proc_uint8_t *)p->in->text + p->at;
    const char *hit;

    if (*here != '\\') {
        const utf8proc_ssize_t n = utf8proc_iterate(here, (utf8proc_ssize_t)(p->in->bytes - p->at), c);

        if (n <= 0)
            return refuse(p, "UTF-8");
        p->at += (size_t)n;
        return QL_OK;
    }
    p->at++;
    hit = peek(p) > 0 ? strchr(letters, peek(p)) : NULL;
    if (peek(p) != 'u' && !hit)
        return refuse(p, "one of \"\\/bfnrtu behind a backslash");
    p->at++;
    if (!hit)
        return take_unicode(p, c);
    *c = values[hit - letters];
    return QL_OK;
}

/* Where the string that begins at `at` ends, at most: no character is longer than what stands for it. */
static size_t
string_bytes(const parser *p, size_t at)
{
    size_t n = 0;

    while (at + n < p->in->bytes && p->in->text[at + n] != '"')
        n += p->in->text[at + n] == '\\' ? 2 : 1;
    return n;
}

static ql_status
take_string(parser *p, const char **text, int64_t *count)
{
    const size_t begin = ++p->at;
    char *out = ql_alloc(p->cx, string_bytes(p, begin) + 1, 1);
    size_t n = 0;

    if (!out)
        return QL_MEMORY;
    for (int c = peek(p); c != '"'; c = peek(p)) {
        utf8proc_int32_t special;

        if (c < 0)
            return refuse_at(p, begin - 1, "a string without its end");
        if (c < 0x20)
            return refuse(p, "an escape in place of a control character");
        if (c < 0x80 && c != '\\') {
            out[n++] = (char)c;
            p->at++;
            continue;
        }
        QL_TRY(p->cx, take_special(p, &special));
        n += (size_t)utf8proc_encode_char(special, (utf8proc_uint8_t *)out + n);
    }
    p->at++;
    *text = out;
    *count = (int64_t)n;
    return QL_OK;
}

/* --- numbers ----------------------------------------------------------------------------------------------------- */

static size_t
digits(parser *p)
{
    const size_t begin = p->at;

    while (peek(p) >= '0' && peek(p) <= '9')
        p->at++;
    return p->at - begin;
}

/* Passes over a number as JSON writes it; `whole` says whether it has neither fraction nor exponent. */
static ql_status
pass_number(parser *p, bool *whole)
{
    (void)take(p, "-");
    if (!take(p, "0") && digits(p) == 0)
        return refuse(p, "a value");
    *whole = true;
    if (take(p, ".")) {
        *whole = false;
        if (digits(p) == 0)
            return refuse(p, "a digit behind the point");
    }
    if (take(p, "e") || take(p, "E")) {
        *whole = false;
        if (!take(p, "+"))
            (void)take(p, "-");
        if (digits(p) == 0)
            return refuse(p, "a digit of the exponent");
    }
    return QL_OK;
}

static ql_status
take_number(parser *p, ql_json *v)
{
    const size_t begin = p->at;
    char few[NUMBER_BYTES];
    const char *text = few;
    bool whole;

    QL_TRY(p->cx, pass_number(p, &whole));
    if (p->at - begin < sizeof few)
        snprintf(few, sizeof few, "%.*s", (int)(p->at - begin), p->in->text + begin);
    else
        text = ql_copy_text(p->cx, p->in->text + begin, p->at - begin);
    if (!text)
        return QL_MEMORY;
    v->kind = KIND_INT;
    errno = 0;
    if (whole)
        v->integer = strtoll(text, NULL, 10);
    if (whole && !errno)
        return QL_OK;
    v->kind = KIND_REAL;
    v->real = ql_to_double(text, NULL);
    return isfinite(v->real) || p->in->python ? QL_OK : refuse_at(p, begin, "a number beyond what a double holds");
}

/* null, true, false, and Python's three numbers that JSON lacks. */
static bool
take_word(parser *p, ql_json *v)
{
    static const struct {
        const char *word;
        ql_json value;
    } words[] = {
        {"null", {.kind = KIND_NULL}},
        {"true", {.kind = KIND_BOOL, .boolean = true}},
        {"false", {.kind = KIND_BOOL, .boolean = false}},
        {"NaN", {.kind = KIND_REAL, .real = (double)NAN}},
        {"Infinity", {.kind = KIND_REAL, .real = (double)INFINITY}},
        {"-Infinity", {.kind = KIND_REAL, .real = (double)-INFINITY}},
    };
    const size_t count = p->in->python ? sizeof words / sizeof *words : 3;
    const char *name = v->name;

    for (size_t i = 0; i < count; i++)
        if (take(p, words[i].word)) {
            *v = words[i].value;
            v->name = name;
            return true;
        }
    return false;
}

/* --- objects and arrays ------------------------------------------------------------------------------------------ */

int
ql_json_by_name(const void *a, const void *b)
{
    const ql_json *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

/* Equal names in the order of the file. */
static int
by_name_and_place(const void *a, const void *b)
{
    const ql_json *const *x = a, *const *y = b;
    const int order = ql_json_by_name(a, b);

    return order ? order : (*x > *y) - (*x < *y);
}

/* The members of `v` by key; of equal keys the first place and the last value stay, as in Python. */
static ql_status
sort_members(parser *p, ql_json *v)
{
    const ql_json **sorted = ql_alloc(p->cx, (size_t)v->count, sizeof *sorted);
    int64_t left = 0;

    if (!sorted)
        return QL_MEMORY;
    for (int64_t i = 0; i < v->count; i++)
        sorted[i] = &v->items[i];
    qsort(sorted, (size_t)v->count, sizeof *sorted, by_name_and_place);
    v->sorted = sorted;
    for (int64_t i = 1, first = 0; i < v->count; i++) {
        if (strcmp(sorted[i]->name, sorted[first]->name) != 0) {
            first = i;
        } else if (p->in->python) {
            v->items[sorted[first] - v->items] = *sorted[i];
            v->items[sorted[i] - v->items].name = NULL;
        } else {
            const char *key = ql_json_quote(p->cx, sorted[i]->name, strlen(sorted[i]->name));

            return key ? refuse_at(p, p->at, ql_format(p->cx, "an object that has the key %s twice", key)) : QL_MEMORY;
        }
    }
    for (int64_t i = 0; i < v->count; i++)
        if (v->items[i].name)
            v->items[left++] = v->items[i];
    if (left == v->count)
        return QL_OK;
    v->count = left;
    return sort_members(p, v);
}

/* Children know where their container lies once that does not move any more. */
static void
settle(ql_json *v)
{
    for (int64_t i = 0; (v->kind == KIND_ARRAY || v->kind == KIND_OBJECT) && i < v->count; i++)
        v->items[i].up = v;
}

/* What the stack holds from `first` on becomes the contents of `v`. */
static ql_status
gather(parser *p, int64_t first, ql_json *v)
{
    v->count = p->count - first;
    v->sorted = NULL;
    v->items = ql_alloc(p->cx, (size_t)v->count, sizeof *v->items);
    if (!v->items)
        return QL_MEMORY;
    if (v->count)
        memcpy(v->items, p->stack + first, (size_t)v->count * sizeof *v->items);
    p->count = first;
    if (v->kind == KIND_OBJECT)
        QL_TRY(p->cx, sort_members(p, v));
    for (int64_t i = 0; i < v->count; i++)
        settle(&v->items[i]);
    return QL_OK;
}

static ql_status take_value(parser *p, ql_json *v);

static ql_status
take_key(parser *p, const char **name)
{
    int64_t bytes;

    skip_space(p);
    if (peek(p) != '"')
        return refuse(p, "a key in quotes");
    QL_TRY(p->cx, take_string(p, name, &bytes));
    if (strlen(*name) != (size_t)bytes)
        return refuse_at(p, p->at, "a key with a NUL");
    skip_space(p);
    return take(p, ":") ? QL_OK : refuse(p, "':'");
}

static ql_status
take_container(parser *p, ql_json *v)
{
    const bool object = p->in->text[p->at] == '{';
    const char *end = object ? "}" : "]";
    const int64_t first = p->count;

    if (p->depth-- == 0)
        return refuse_at(p, p->at,
                         ql_format(p->cx, "nested deeper than %d levels", p->in->depth ? p->in->depth : QL_JSON_DEPTH));
    v->kind = object ? KIND_OBJECT : KIND_ARRAY;
    p->at++;
    skip_space(p);
    for (bool more = !take(p, end); more; more = !take(p, end)) {
        ql_json item = {.kind = KIND_NULL};

        if (p->count > first && !take(p, ","))
            return refuse(p, object ? "',' or '}'" : "',' or ']'");
        if (object)
            QL_TRY(p->cx, take_key(p, &item.name));
        QL_TRY(p->cx, take_value(p, &item));
        QL_TRY(p->cx, ql_grow(p->cx, &p->stack, &p->capacity, p->count + 1, sizeof *p->stack));
        p->stack[p->count++] = item;
        skip_space(p);
    }
    p->depth++;
    return gather(p, first, v);
}

/* A value with the white space in front of it. */
static ql_status
take_value(parser *p, ql_json *v)
{
    skip_space(p);
    if (peek(p) == '{' || peek(p) == '[')
        return take_container(p, v);
    if (peek(p) == '"') {
        v->kind = KIND_STRING;
        return take_string(p, &v->text, &v->count);
    }
    return take_word(p, v) ? QL_OK : take_number(p, v);
}

static ql_status
take_document(parser *p, ql_json *root)
{
    const char *wrong = ql_known_wrong(p->in->text, p->in->bytes);

    if (wrong)
        return QL_FAIL(p->cx, QL_INVALID, "%s: %s", p->in->file, wrong);
    QL_TRY(p->cx, take_value(p, root));
    if (p->in->used) {
        *p->in->used = p->at;
        return QL_OK;
    }
    skip_space(p);
    return p->at == p->in->bytes ? QL_OK : refuse(p, "the end");
}

ql_status
ql_json_parse(ql_ctx *cx, const ql_json_input *in, const ql_json **out)
{
    parser p = {.cx = cx, .in = in, .depth = in->depth ? in->depth : QL_JSON_DEPTH};
    ql_json *root = ql_alloc(cx, 1, sizeof *root);
    ql_status st;

    if (!root)
        return QL_MEMORY;
    st = take_document(&p, root);
    free(p.stack);
    if (st != QL_OK) /* members that there was no memory for may be missing in the middle */
        return st;
    settle(root);
    root->name = in->file;
    *out = root;
    return QL_OK;
}

ql_status
ql_json_read(ql_ctx *cx, const char *file, const ql_json **out)
{
    ql_json_input in = {.file = ql_copy_text(cx, file, strlen(file)), .python = true};

    if (!in.file)
        return QL_MEMORY;
    QL_TRY(cx, ql_file_read(cx, file, QL_FILE_MOST, &in.text, &in.bytes));
    return ql_json_parse(cx, &in, out);
}
