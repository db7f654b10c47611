/* Methods and filters of the template language: those of Python's str and of Jinja, with their meaning, and `sub`. */
#define _GNU_SOURCE /* memmem */
#include <stdlib.h>
#include <string.h>

#include "base/guess.h"
#include "expression.h"
#include "regex.h"
#include "unicode.h"

typedef struct call {
    ql_ctx *cx;
    const char *name;
    const ql_value *v; /* v[0] is what the method is called on */
    int64_t count;
    ql_value *out;
} call;

static ql_status
wrong(const call *c, int64_t i, const char *what)
{
    if (i == 0)
        return QL_FAIL(c->cx, QL_INVALID, "%s: expected %s, got %s", c->name, what, ql_value_word(&c->v[0]));
    return QL_FAIL(c->cx, QL_INVALID, "%s: argument %lld: expected %s, got %s", c->name, (long long)i, what,
                   ql_value_word(&c->v[i]));
}

/* The result is a copy of `text`, which is let go. */
static ql_status
give(const call *c, ql_text *text, ql_status st)
{
    if (st == QL_OK && text->count > QL_VALUE_BYTES)
        st = QL_FAIL(c->cx, QL_INVALID, "%s: a text of more than %lld bytes", c->name, (long long)QL_VALUE_BYTES);
    return ql_value_take(c->cx, text, st, c->out);
}

/* --- white space and pieces -------------------------------------------------------------------------------------- */

/* Is the character to be stripped: one of the argument's, or without one white space? */
static bool
strips(const call *c, uint32_t character)
{
    size_t n;

    if (c->count < 2)
        return ql_char_is_python_space(character);
    for (int64_t i = 0; i < c->v[1].bytes; i += (int64_t)n)
        if (ql_utf8_char((const unsigned char *)c->v[1].text + i, &n) == character)
            return true;
    return false;
}

static ql_status
strip(const call *c)
{
    const char *text = c->v[0].text;
    size_t from = 0, to = (size_t)c->v[0].bytes, n;

    while (c->name[0] != 'r' && from < to && strips(c, ql_utf8_char((const unsigned char *)text + from, &n)))
        from += n;
    while (c->name[0] != 'l' && to > from) {
        const size_t last = ql_utf8_back(text, to);

        if (!strips(c, ql_utf8_char((const unsigned char *)text + last, &n)))
            break;
        to = last;
    }
    *c->out = ql_value_text(text + from, (int64_t)(to - from));
    return QL_OK;
}

static ql_status
add_piece(const call *c, ql_value **items, int64_t *capacity, const char *text, size_t bytes)
{
    const int64_t n = c->out->count;

    QL_TRY(c->cx, ql_grow(c->cx, items, capacity, n + 1, sizeof **items));
    (*items)[n] = ql_value_text(text, (int64_t)bytes);
    c->out->count++;
    return QL_OK;
}

/* Pieces between white space, none of them empty. */
static ql_status
split_words(const call *c, ql_value **items, int64_t *capacity)
{
    const char *text = c->v[0].text;
    const size_t bytes = (size_t)c->v[0].bytes;
    size_t n;

    for (size_t at = 0, begin; at < bytes;) {
        while (at < bytes && ql_char_is_python_space(ql_utf8_char((const unsigned char *)text + at, &n)))
            at += n;
        for (begin = at; at < bytes && !ql_char_is_python_space(ql_utf8_char((const unsigned char *)text + at, &n));)
            at += n;
        if (at > begin)
            QL_TRY(c->cx, add_piece(c, items, capacity, text + begin, at - begin));
    }
    return QL_OK;
}

static ql_status
split_at(const call *c, ql_value **items, int64_t *capacity)
{
    const char *at = c->v[0].text, *end = at + c->v[0].bytes, *found;
    const size_t bytes = (size_t)c->v[1].bytes;

    if (bytes == 0)
        return QL_FAIL(c->cx, QL_INVALID, "split: the separator is empty");
    while (at < end && (found = memmem(at, (size_t)(end - at), c->v[1].text, bytes))) {
        QL_TRY(c->cx, add_piece(c, items, capacity, at, (size_t)(found - at)));
        at = found + bytes;
    }
    return add_piece(c, items, capacity, at, (size_t)(end - at));
}

static ql_status
split(const call *c)
{
    ql_value *items = NULL, *kept;
    int64_t capacity = 0;
    ql_status st;

    *c->out = (ql_value){.kind = QL_VALUE_LIST};
    st = c->count < 2 ? split_words(c, &items, &capacity) : split_at(c, &items, &capacity);
    kept = st == QL_OK ? ql_alloc(c->cx, (size_t)c->out->count + 1, sizeof *kept) : NULL;
    if (kept && c->out->count)
        memcpy(kept, items, (size_t)c->out->count * sizeof *kept);
    c->out->items = kept;
    free(items);
    return st == QL_OK && !kept ? QL_MEMORY : st;
}

/* list|join(text), or text.join(list) as Python has it. */
static ql_status
join(const call *c)
{
    const bool python = c->v[0].kind == QL_VALUE_TEXT;
    const ql_value empty = ql_value_text("", 0), *list = &c->v[python ? 1 : 0],
                   *between = python         ? &c->v[0]
                              : c->count > 1 ? &c->v[1]
                                             : &empty;
    ql_text text = {0};
    ql_status st = QL_OK;

    if (python && c->count < 2)
        return wrong(c, 0, "a list");
    if (list->kind != QL_VALUE_LIST)
        return wrong(c, python ? 1 : 0, "a list");
    if (between->kind != QL_VALUE_TEXT)
        return wrong(c, 1, "a text");
    for (int64_t i = 0; st == QL_OK && i < list->count; i++) {
        if (i)
            st = ql_text_put(c->cx, &text, between->text, (size_t)between->bytes);
        if (st == QL_OK)
            st = ql_value_put(c->cx, &list->items[i], false, &text);
    }
    return give(c, &text, st);
}

/* --- finding and replacing --------------------------------------------------------------------------------------- */

static ql_status
find_index(const call *c)
{
    const ql_value *v = &c->v[0], *item = &c->v[1];
    const char *found;
    ql_text shown = {0};
    ql_status st;

    if (v->kind == QL_VALUE_TEXT && item->kind == QL_VALUE_TEXT) {
        found = item->bytes == 0 ? v->text : NULL;
        if (item->bytes && v->bytes)
            found = memmem(v->text, (size_t)v->bytes, item->text, (size_t)item->bytes);
        if (found) {
            *c->out = ql_value_int(ql_text_points(v->text, found - v->text));
            return QL_OK;
        }
    } else if (v->kind == QL_VALUE_LIST) {
        for (int64_t i = 0; i < v->count; i++)
            if (ql_value_equal(&v->items[i], item)) {
                *c->out = ql_value_int(i);
                return QL_OK;
            }
    } else {
        return wrong(c, 0, "a text or a list");
    }
    st = ql_value_put(c->cx, item, true, &shown);
    if (st == QL_OK)
        st = QL_FAIL(c->cx, QL_INVALID, "index: %.*s is not in it", (int)(shown.count < 80 ? shown.count : 80),
                     shown.data);
    free(shown.data);
    return st;
}

static ql_status
replace(const call *c)
{
    const char *at = c->v[0].text, *end = at + c->v[0].bytes, *found;
    const size_t bytes = (size_t)c->v[1].bytes;
    ql_text text = {0};
    ql_status st = QL_OK;

    if (bytes == 0)
        return QL_FAIL(c->cx, QL_INVALID, "replace: the text to be replaced is empty");
    while (st == QL_OK && at < end && (found = memmem(at, (size_t)(end - at), c->v[1].text, bytes))) {
        st = ql_text_put(c->cx, &text, at, (size_t)(found - at));
        if (st == QL_OK)
            st = ql_text_put(c->cx, &text, c->v[2].text, (size_t)c->v[2].bytes);
        at = found + bytes;
    }
    if (st == QL_OK)
        st = ql_text_put(c->cx, &text, at, (size_t)(end - at));
    return give(c, &text, st);
}

/* What takes a match's place: `by`, in which \1 stands for the first group. */
static ql_status
put_replacement(const call *c, const ql_regex_work *work, ql_text *out)
{
    const ql_value *by = &c->v[2];

    for (int64_t i = 0; i < by->bytes; i++) {
        const char next = i + 1 < by->bytes ? by->text[i + 1] : '\0';
        size_t begin, end;

        if (by->text[i] != '\\') {
            QL_TRY(c->cx, ql_text_put(c->cx, out, by->text + i, 1));
            continue;
        }
        i++;
        if (next == '\\')
            QL_TRY(c->cx, ql_text_put(c->cx, out, "\\", 1));
        else if (next < '0' || next > '9')
            return QL_FAIL(c->cx, QL_INVALID, "sub: in the replacement a backslash stands before a digit or another");
        else if ((uint32_t)(next - '0') >= ql_regex_groups(work))
            return QL_FAIL(c->cx, QL_INVALID, "sub: the replacement has \\%c, and the pattern no such group", next);
        else if (ql_regex_group(work, (uint32_t)(next - '0'), &begin, &end))
            QL_TRY(c->cx, ql_text_put(c->cx, out, c->v[0].text + begin, end - begin));
    }
    return QL_OK;
}

/* Every match in turn, as Python's re.sub: an empty one where another just ended counts as well. */
static ql_status
put_substituted(const call *c, const ql_regex *re, ql_regex_work *work, ql_text *out)
{
    const char *text = c->v[0].bytes ? c->v[0].text : "";
    const size_t bytes = (size_t)c->v[0].bytes;
    size_t from = 0, copied = 0, begin, end, n;
    bool found;

    while (from <= bytes) {
        QL_TRY(c->cx, ql_regex_find(c->cx, re, work, text, bytes, from, &found, &begin, &end));
        if (!found)
            break;
        QL_TRY(c->cx, ql_text_put(c->cx, out, text + copied, begin - copied));
        QL_TRY(c->cx, put_replacement(c, work, out));
        copied = from = end;
        if (end == begin && end < bytes)
            (void)ql_utf8_char((const unsigned char *)text + end, &n);
        if (end == begin)
            from += end < bytes ? n : 1;
    }
    return ql_text_put(c->cx, out, text + copied, bytes - copied);
}

static ql_status
sub(const call *c)
{
    ql_regex *re = NULL;
    ql_regex_work work = {.groups = true};
    ql_text text = {0};
    ql_status st = ql_regex_compile_python(c->cx, "sub", c->v[1].text, (size_t)c->v[1].bytes, &re);

    if (st == QL_OK)
        st = put_substituted(c, re, &work, &text);
    ql_regex_work_fini(&work);
    ql_regex_free(re);
    return give(c, &text, st);
}

/* --- the rest ---------------------------------------------------------------------------------------------------- */

static ql_status
change_case(const call *c)
{
    const ql_case as = c->name[0] == 'u' ? QL_CASE_UPPER : c->name[0] == 'c' ? QL_CASE_CAPITAL : QL_CASE_LOWER;
    ql_text text = {0};
    const ql_status st = ql_text_put_case(c->cx, &text, as, c->v[0].text, (size_t)c->v[0].bytes);

    return give(c, &text, st);
}

static ql_status
starts_or_ends(const call *c)
{
    const ql_value *v = &c->v[0], *with = &c->v[1];
    const char *at = c->name[0] == 's' ? v->text : v->text + v->bytes - with->bytes;

    *c->out = ql_value_bool(with->bytes == 0 ||
                            (v->bytes >= with->bytes && memcmp(at, with->text, (size_t)with->bytes) == 0));
    return QL_OK;
}

static ql_status
length(const call *c)
{
    const ql_value *v = &c->v[0];

    if (v->kind != QL_VALUE_TEXT && v->kind != QL_VALUE_LIST && v->kind != QL_VALUE_MAP)
        return wrong(c, 0, "a text, a list or a map");
    *c->out = ql_value_int(v->kind == QL_VALUE_TEXT   ? ql_text_points(v->text, v->bytes)
                           : v->kind == QL_VALUE_LIST ? v->count
                                                      : ql_json_members(v->map));
    return QL_OK;
}

static ql_status
to_int(const call *c)
{
    const ql_value *v = &c->v[0];
    const char *text = v->kind == QL_VALUE_TEXT ? ql_copy_text(c->cx, v->text, (size_t)v->bytes) : "";
    double real = ql_value_is_number(v) ? ql_value_real(v) : 0;
    char *end = NULL;

    if (!text)
        return QL_MEMORY;
    if (v->kind == QL_VALUE_BOOL || v->kind == QL_VALUE_INT) {
        *c->out = ql_value_int(v->integer);
        return QL_OK;
    }
    if (v->kind == QL_VALUE_TEXT) {
        real = strtod(text, &end);
        end += strspn(end, " \t\r\n");
    }
    if ((v->kind != QL_VALUE_TEXT && v->kind != QL_VALUE_REAL) || (end && (*end || end == text)) ||
        !(real > -9e18 && real < 9e18))
        return wrong(c, 0, "a number or a text that is one");
    *c->out = ql_value_int((int64_t)real);
    return QL_OK;
}

static ql_status
first_or_last(const call *c)
{
    const ql_value *v = &c->v[0];
    size_t n = 0;

    if (v->kind == QL_VALUE_LIST && v->count) {
        *c->out = v->items[c->name[0] == 'f' ? 0 : v->count - 1];
        return QL_OK;
    }
    if (v->kind != QL_VALUE_TEXT || !v->bytes)
        return wrong(c, 0, "a list or a text that is not empty");
    if (c->name[0] == 'l')
        n = ql_utf8_back(v->text, (size_t)v->bytes);
    *c->out = ql_value_text(v->text + n, c->name[0] == 'l' ? v->bytes - (int64_t)n : ql_text_at(v->text, v->bytes, 1));
    return QL_OK;
}

static const struct {
    const char *name;
    int least, most; /* arguments */
    bool texts;      /* all of them, and the value itself, are texts */
    ql_status (*run)(const call *c);
} methods[] = {
    {"strip", 0, 1, true, strip},
    {"lstrip", 0, 1, true, strip},
    {"rstrip", 0, 1, true, strip},
    {"trim", 0, 0, true, strip},
    {"split", 0, 1, true, split},
    {"index", 1, 1, false, find_index},
    {"replace", 2, 2, true, replace},
    {"lower", 0, 0, true, change_case},
    {"upper", 0, 0, true, change_case},
    {"capitalize", 0, 0, true, change_case},
    {"startswith", 1, 1, true, starts_or_ends},
    {"endswith", 1, 1, true, starts_or_ends},
    {"join", 0, 1, false, join},
    {"length", 0, 0, false, length},
    {"int", 0, 0, false, to_int},
    {"first", 0, 0, false, first_or_last},
    {"last", 0, 0, false, first_or_last},
    {"sub", 2, 2, true, sub},
};

#define METHODS (sizeof methods / sizeof *methods)

const char *
ql_method_check(ql_ctx *cx, const char *name, int64_t count)
{
    ql_guess guess = ql_guess_open(name);
    const char *text;

    for (size_t i = 0; i < METHODS; i++) {
        ql_guess_offer(&guess, methods[i].name);
        if (strcmp(methods[i].name, name) != 0)
            continue;
        if (count - 1 >= methods[i].least && count - 1 <= methods[i].most)
            return NULL;
        text = ql_format(cx, "%s takes %d to %d arguments, not %lld", name, methods[i].least, methods[i].most,
                         (long long)count - 1);
        return text ? text : "";
    }
    text = ql_format(cx, "no method or filter '%s'%s", name, ql_guess_text(cx, &guess, ""));
    return text ? text : "";
}

ql_status
ql_method_call(ql_ctx *cx, const char *name, const ql_value *v, int64_t count, ql_value *out)
{
    const call c = {.cx = cx, .name = name, .v = v, .count = count, .out = out};
    size_t m = 0;

    while (strcmp(methods[m].name, name) != 0) /* ql_method_check has found it */
        m++;
    for (int64_t i = 0; methods[m].texts && i < count; i++)
        if (v[i].kind != QL_VALUE_TEXT)
            return wrong(&c, i, "a text");
    return methods[m].run(&c);
}
