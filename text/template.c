/* Parses templates, by recursive descent: one function a line of the grammar (docs/evaluation.md). */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/guess.h"
#include "expression.h"
#include "unicode.h"

#define DEPTH_MAX 64 /* of expressions inside each other */

typedef struct parser {
    ql_ctx *cx;
    const char *text;
    size_t at;
    const ql_functions *known;
    int depth;
} parser;

static ql_status parse_expression(parser *p, const ql_expression **out);
static ql_status parse_sum(parser *p, const ql_expression **out);

static void
skip_space(parser *p)
{
    p->at += strspn(p->text + p->at, " \t\r\n");
}

static bool
is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Takes `sign` if it comes next; a word only if it ends there. */
static bool
take(parser *p, const char *sign)
{
    const size_t n = strlen(sign);

    skip_space(p);
    if (strncmp(p->text + p->at, sign, n) != 0 || (is_word(sign[0]) && is_word(p->text[p->at + n])))
        return false;
    p->at += n;
    return true;
}

/* What comes next, for messages. */
static const char *
next_word(parser *p)
{
    size_t n = 1;

    skip_space(p);
    if (p->text[p->at] == '\0')
        return "the end of the text";
    if (is_word(p->text[p->at]))
        while (is_word(p->text[p->at + n]))
            n++;
    else
        while (((unsigned char)p->text[p->at + n] & 0xC0) == 0x80)
            n++;
    return ql_format(p->cx, "'%.*s'", (int)(n < 40 ? n : 40), p->text + p->at);
}

static ql_status
expected(parser *p, const char *what)
{
    const char *got = next_word(p);

    return QL_FAIL(p->cx, QL_INVALID, "expected %s, got %s", what, got ? got : "");
}

static ql_status
need(parser *p, const char *sign)
{
    return take(p, sign) ? QL_OK : expected(p, ql_format(p->cx, "'%s'", sign));
}

static ql_expression *
make(parser *p, ql_term term, size_t at)
{
    ql_expression *e = ql_alloc(p->cx, 1, sizeof *e);

    if (e)
        *e = (ql_expression){.term = term, .at = at};
    return e;
}

static ql_status
add_child(parser *p, ql_expression *e, const ql_expression *child)
{
    if (e->count == e->capacity) {
        const ql_expression **grown =
            ql_alloc(p->cx, (size_t)(e->capacity ? 2 * e->capacity : 4), sizeof(const ql_expression *));

        if (!grown)
            return QL_MEMORY;
        if (e->count)
            memcpy(grown, e->children, (size_t)e->count * sizeof *grown);
        e->children = grown;
        e->capacity = e->capacity ? 2 * e->capacity : 4;
    }
    e->children[e->count++] = child;
    return QL_OK;
}

/* *left becomes `term` of itself and `right`; NULL: of itself alone. */
static ql_status
join(parser *p, ql_term term, size_t at, const ql_expression **left, const ql_expression *right)
{
    ql_expression *e = make(p, term, at);

    if (!e)
        return QL_MEMORY;
    QL_TRY(p->cx, add_child(p, e, *left));
    if (right)
        QL_TRY(p->cx, add_child(p, e, right));
    *left = e;
    return QL_OK;
}

/* --- primaries --------------------------------------------------------------------------------------------------- */

/* \xHH or \uHHHH, from behind the letter. */
static ql_status
hex_escape(parser *p, int digits, ql_text *out)
{
    char c[4], number[5] = {0};

    for (int i = 0; i < digits; i++)
        if (!isxdigit((unsigned char)p->text[p->at + (size_t)i]))
            return QL_FAIL(p->cx, QL_INVALID, "expected %d hexadecimal digits", digits);
    memcpy(number, p->text + p->at, (size_t)digits);
    p->at += (size_t)digits;
    if (strtoul(number, NULL, 16) >= 0xD800 && strtoul(number, NULL, 16) < 0xE000)
        return QL_FAIL(p->cx, QL_INVALID, "\\u%s is half a character", number);
    return ql_text_put(p->cx, out, c, ql_utf8_put((uint32_t)strtoul(number, NULL, 16), c));
}

static ql_status
put_string(parser *p, char mark, ql_text *out)
{
    static const char escapes[] = "n\nt\tr\r\\\\\"\"''";

    while (p->text[p->at] != mark) {
        const char c = p->text[p->at], *known;

        if (c == '\0')
            return expected(p, "the end of the string");
        p->at++;
        if (c != '\\') {
            QL_TRY(p->cx, ql_text_put(p->cx, out, &c, 1));
            continue;
        }
        known = p->text[p->at] ? strchr(escapes, p->text[p->at]) : NULL;
        if (p->text[p->at] == 'x' || p->text[p->at] == 'u') {
            const int digits = p->text[p->at++] == 'x' ? 2 : 4;

            QL_TRY(p->cx, hex_escape(p, digits, out));
        } else if (known && (known - escapes) % 2 == 0) {
            QL_TRY(p->cx, ql_text_put(p->cx, out, known + 1, 1));
            p->at++;
        } else { /* as Python keeps it: '\[' is a backslash and a bracket */
            QL_TRY(p->cx, ql_text_put(p->cx, out, "\\", 1));
        }
    }
    p->at++;
    return QL_OK;
}

static ql_status
parse_string(parser *p, const ql_expression **out)
{
    ql_expression *e = make(p, QL_TERM_CONSTANT, p->at);
    ql_text text = {0};
    ql_status st;

    if (!e)
        return QL_MEMORY;
    p->at++;
    st = put_string(p, p->text[p->at - 1], &text);
    QL_TRY(p->cx, ql_value_take(p->cx, &text, st, &e->value));
    *out = e;
    return QL_OK;
}

static ql_status
parse_number(parser *p, const ql_expression **out)
{
    ql_expression *e = make(p, QL_TERM_CONSTANT, p->at);
    const size_t digits = strspn(p->text + p->at, "0123456789");

    if (!e)
        return QL_MEMORY;
    if (digits > 18 || p->text[p->at + digits] == '.')
        return QL_FAIL(p->cx, QL_INVALID, "expected an integer of at most 18 digits");
    e->value = ql_value_int(strtoll(p->text + p->at, NULL, 10));
    p->at += digits;
    *out = e;
    return QL_OK;
}

/* Expressions up to `close`, parted by commas, as further children. */
static ql_status
parse_list(parser *p, const char *close, ql_expression *e)
{
    for (bool first = true; !take(p, close); first = false) {
        const ql_expression *item = NULL;

        if (!first)
            QL_TRY(p->cx, need(p, ","));
        QL_TRY(p->cx, parse_expression(p, &item));
        QL_TRY(p->cx, add_child(p, e, item));
    }
    return QL_OK;
}

static const char *
parse_name(parser *p)
{
    size_t n = 0;

    skip_space(p);
    while (is_word(p->text[p->at + n]))
        n++;
    if (n == 0 || isdigit((unsigned char)p->text[p->at]))
        return NULL;
    p->at += n;
    return ql_copy_text(p->cx, p->text + p->at - n, n);
}

static ql_status
find_function(parser *p, const char *name, const ql_function **out)
{
    ql_guess guess = ql_guess_open(name);

    for (int64_t i = 0; i < p->known->count; i++) {
        *out = &p->known->items[i];
        if (strcmp((*out)->name, name) == 0)
            return QL_OK;
        ql_guess_offer(&guess, (*out)->name);
    }
    return QL_FAIL(p->cx, QL_INVALID, "no function '%s'%s; a function is defined above its use", name,
                   ql_guess_text(p->cx, &guess, ""));
}

/* A name by itself, or the call of a function that `let` defined. */
static ql_status
parse_named(parser *p, const ql_expression **out)
{
    static const char *const constants[] = {"none", "None", "false", "False", "true", "True"};
    const size_t at = p->at;
    size_t behind;
    const char *name = parse_name(p);
    ql_expression *e = make(p, QL_TERM_NAME, at);
    const ql_expression *argument = NULL;

    if (!name || !e)
        return name || !e ? QL_MEMORY : expected(p, "a value");
    e->text = name;
    for (int64_t i = 0; i < 6; i++)
        if (strcmp(name, constants[i]) == 0) {
            e->term = QL_TERM_CONSTANT;
            e->value = ql_value_bool(i >= 4);
            e->value.kind = i < 2 ? QL_VALUE_NONE : QL_VALUE_BOOL;
        }
    *out = e;
    if (e->term == QL_TERM_CONSTANT || !take(p, "("))
        return QL_OK;
    e->term = QL_TERM_FUNCTION;
    behind = p->at;
    p->at = at; /* where an unknown one is told */
    QL_TRY(p->cx, find_function(p, name, &e->function));
    p->at = behind;
    QL_TRY(p->cx, parse_expression(p, &argument));
    QL_TRY(p->cx, add_child(p, e, argument));
    return need(p, ")");
}

static ql_status
parse_primary(parser *p, const ql_expression **out)
{
    char c;
    ql_expression *e;

    skip_space(p);
    c = p->text[p->at];
    if (c == '"' || c == '\'')
        return parse_string(p, out);
    if (isdigit((unsigned char)c))
        return parse_number(p, out);
    if (take(p, "(")) {
        QL_TRY(p->cx, parse_expression(p, out));
        return need(p, ")");
    }
    if (!is_word(c) && c != '[')
        return expected(p, "a value");
    if (c != '[')
        return parse_named(p, out);
    e = make(p, QL_TERM_LIST, p->at++);
    if (!e)
        return QL_MEMORY;
    *out = e;
    return parse_list(p, "]", e);
}

/* --- what follows a value ---------------------------------------------------------------------------------------- */

/* A method or filter with its arguments; a field where neither parentheses nor a bar make it one. */
static ql_status
parse_method(parser *p, bool filter, size_t at, const ql_expression **out)
{
    const char *name = parse_name(p), *wrong;
    ql_expression *e;

    if (!name)
        return expected(p, filter ? "the name of a filter" : "the name of a field or method");
    QL_TRY(p->cx, join(p, QL_TERM_METHOD, at, out, NULL));
    e = (ql_expression *)*out; /* made here */
    e->text = name;
    if (filter && strcmp(name, "each") == 0) {
        e->term = QL_TERM_EACH;
        QL_TRY(p->cx, need(p, "("));
        name = parse_name(p);
        if (!name)
            return expected(p, "the name of a function");
        QL_TRY(p->cx, find_function(p, name, &e->function));
        return need(p, ")");
    }
    if (take(p, "("))
        QL_TRY(p->cx, parse_list(p, ")", e));
    else if (!filter)
        e->term = QL_TERM_FIELD;
    wrong = e->term == QL_TERM_METHOD ? ql_method_check(p->cx, name, e->count) : NULL;
    if (!wrong)
        return QL_OK;
    p->at = at;
    return QL_FAIL(p->cx, QL_INVALID, "%s", wrong);
}

/* From behind '[': an index, or a slice whose ends may be left out. */
static ql_status
parse_index(parser *p, size_t at, const ql_expression **out)
{
    const ql_expression *ends[2] = {0};
    ql_expression *e;

    skip_space(p);
    if (p->text[p->at] != ':')
        QL_TRY(p->cx, parse_expression(p, &ends[0]));
    if (!take(p, ":")) {
        QL_TRY(p->cx, join(p, QL_TERM_INDEX, at, out, ends[0]));
        return need(p, "]");
    }
    skip_space(p);
    if (p->text[p->at] != ']')
        QL_TRY(p->cx, parse_expression(p, &ends[1]));
    QL_TRY(p->cx, join(p, QL_TERM_SLICE, at, out, NULL));
    e = (ql_expression *)*out;
    QL_TRY(p->cx, add_child(p, e, ends[0]));
    QL_TRY(p->cx, add_child(p, e, ends[1]));
    return need(p, "]");
}

static ql_status
parse_postfix(parser *p, const ql_expression **out)
{
    QL_TRY(p->cx, parse_primary(p, out));
    for (;;) {
        skip_space(p);
        if (take(p, "."))
            QL_TRY(p->cx, parse_method(p, false, p->at, out));
        else if (take(p, "["))
            QL_TRY(p->cx, parse_index(p, p->at - 1, out));
        else
            return QL_OK;
    }
}

/* A filter takes the negated value. */
static ql_status
parse_unary(parser *p, const ql_expression **out)
{
    size_t at;

    skip_space(p);
    at = p->at;
    if (p->depth++ >= DEPTH_MAX)
        return QL_FAIL(p->cx, QL_INVALID, "expressions more than %d deep", DEPTH_MAX);
    if (take(p, "-")) {
        QL_TRY(p->cx, parse_unary(p, out));
        QL_TRY(p->cx, join(p, QL_TERM_NEGATE, at, out, NULL));
    } else {
        QL_TRY(p->cx, parse_postfix(p, out));
    }
    while (take(p, "|"))
        QL_TRY(p->cx, parse_method(p, true, p->at, out));
    p->depth--;
    return QL_OK;
}

/* --- operators, those that bind tightest first ------------------------------------------------------------------- */

typedef struct infix { /* `sign` NULL: no further one */
    const char *sign;
    ql_term term;
} infix;

/* Operands that `operand` parses, joined from the left. */
static ql_status
parse_chain(parser *p, ql_status (*operand)(parser *, const ql_expression **), const infix *operators,
            const ql_expression **out)
{
    QL_TRY(p->cx, operand(p, out));
    for (;;) {
        const infix *op = operators;
        const ql_expression *right = NULL;
        size_t at;

        skip_space(p);
        at = p->at;
        while (op->sign && !take(p, op->sign))
            op++;
        if (!op->sign)
            return QL_OK;
        QL_TRY(p->cx, operand(p, &right));
        QL_TRY(p->cx, join(p, op->term, at, out, right));
    }
}

static ql_status
parse_join(parser *p, const ql_expression **out)
{
    return parse_chain(p, parse_unary, (const infix[]){{"~", QL_TERM_JOIN}, {NULL, 0}}, out);
}

static ql_status
parse_sum(parser *p, const ql_expression **out)
{
    return parse_chain(p, parse_join, (const infix[]){{"+", QL_TERM_ADD}, {"-", QL_TERM_SUBTRACT}, {NULL, 0}}, out);
}

static ql_status
parse_comparison(parser *p, const ql_expression **out)
{
    static const char *const signs[] = {"==", "!=", "<=", ">=", "<", ">", "in", NULL};
    const ql_expression *right = NULL;
    const char *sign = NULL;
    size_t at;
    ql_expression *e;

    QL_TRY(p->cx, parse_sum(p, out));
    skip_space(p);
    at = p->at;
    for (int i = 0; signs[i] && !sign; i++)
        sign = take(p, signs[i]) ? signs[i] : NULL;
    if (!sign && take(p, "not")) {
        sign = "not in";
        QL_TRY(p->cx, need(p, "in"));
    }
    if (!sign)
        return QL_OK;
    QL_TRY(p->cx, parse_sum(p, &right));
    QL_TRY(p->cx, join(p, QL_TERM_COMPARE, at, out, right));
    e = (ql_expression *)*out;
    e->text = sign;
    return QL_OK;
}

static ql_status
parse_not(parser *p, const ql_expression **out)
{
    size_t at;

    skip_space(p);
    at = p->at;
    if (!take(p, "not"))
        return parse_comparison(p, out);
    QL_TRY(p->cx, parse_comparison(p, out));
    return join(p, QL_TERM_NOT, at, out, NULL);
}

static ql_status
parse_and(parser *p, const ql_expression **out)
{
    return parse_chain(p, parse_not, (const infix[]){{"and", QL_TERM_AND}, {NULL, 0}}, out);
}

static ql_status
parse_or(parser *p, const ql_expression **out)
{
    return parse_chain(p, parse_and, (const infix[]){{"or", QL_TERM_OR}, {NULL, 0}}, out);
}

static ql_status
parse_expression(parser *p, const ql_expression **out)
{
    const ql_expression *condition = NULL, *otherwise = NULL;
    size_t at;

    if (p->depth++ >= DEPTH_MAX)
        return QL_FAIL(p->cx, QL_INVALID, "expressions more than %d deep", DEPTH_MAX);
    QL_TRY(p->cx, parse_or(p, out));
    skip_space(p);
    at = p->at;
    if (take(p, "if")) {
        QL_TRY(p->cx, parse_or(p, &condition));
        if (take(p, "else"))
            QL_TRY(p->cx, parse_expression(p, &otherwise));
        QL_TRY(p->cx, join(p, QL_TERM_IF, at, out, condition));
        QL_TRY(p->cx, add_child(p, (ql_expression *)*out, otherwise));
    }
    p->depth--;
    return QL_OK;
}

/* --- the template ------------------------------------------------------------------------------------------------ */

/* The part that begins at p->at. */
static ql_status
parse_part(parser *p, ql_part *out)
{
    const char *begin = p->text + p->at, *open = begin;

    while (*open && !(open[0] == '{' && (open[1] == '{' || open[1] == '%' || open[1] == '#')))
        open++;
    if (open > begin) {
        *out = (ql_part){.text = begin, .bytes = (size_t)(open - begin)};
        p->at += out->bytes;
        return QL_OK;
    }
    if (open[1] != '{')
        return QL_FAIL(p->cx, QL_INVALID, "statements and comments ('{%c') are not part of the language", open[1]);
    if (open[2] == '-')
        return QL_FAIL(p->cx, QL_INVALID, "'{{-' is not part of the language: nothing is trimmed");
    p->at += 2;
    QL_TRY(p->cx, parse_expression(p, &out->expression));
    if (take(p, "-}}"))
        return QL_FAIL(p->cx, QL_INVALID, "'-}}' is not part of the language: nothing is trimmed");
    return take(p, "}}") ? QL_OK : expected(p, "'}}' or an operator");
}

/* How many parts a template can have at most. */
static size_t
parts_most(const char *text)
{
    size_t n = 1;

    for (; (text = strstr(text, "{{")) != NULL; text += 2)
        n += 2;
    return n;
}

ql_status
ql_template_parse(ql_ctx *cx, const char *text, const ql_functions *known, const void *tag, const ql_template **out,
                  ql_wrong *wrong)
{
    parser p = {.cx = cx, .text = text, .known = known};
    ql_template *t = ql_alloc(cx, 1, sizeof *t);
    ql_part *parts = ql_alloc(cx, parts_most(text), sizeof *parts);
    ql_status st = t && parts ? QL_OK : QL_MEMORY;

    while (st == QL_OK && text[p.at]) {
        p.depth = 0;
        st = parse_part(&p, &parts[t->count++]);
    }
    if (st != QL_OK) {
        *wrong = (ql_wrong){.at = p.at};
        return st;
    }
    t->text = text;
    t->tag = tag;
    t->parts = parts;
    *out = t;
    return QL_OK;
}

const void *
ql_template_tag(const ql_template *t)
{
    return t->tag;
}
