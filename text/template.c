/* Parses templates, by recursive descent: one function a line of the grammar (docs/evaluation.md). */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/guess.h"
#include "expression.h"
#include "scan.h"

#define DEPTH_MAX 64 /* of expressions inside each other */

typedef struct parser {
    ql_scan in;
    const ql_functions *known;
    int depth;
} parser;

static ql_status parse_expression(parser *p, const ql_expression **out);

static ql_expression *
make(parser *p, ql_term term, size_t at)
{
    ql_expression *e = ql_alloc(p->in.cx, 1, sizeof *e);

    if (e)
        *e = (ql_expression){.term = term, .at = at};
    return e;
}

static ql_status
add_child(parser *p, ql_expression *e, const ql_expression *child)
{
    QL_TRY(p->in.cx, ql_alloc_more(p->in.cx, &e->children, &e->capacity, e->count + 1, sizeof(const ql_expression *)));
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
    QL_TRY(p->in.cx, add_child(p, e, *left));
    if (right)
        QL_TRY(p->in.cx, add_child(p, e, right));
    *left = e;
    return QL_OK;
}

/* --- primaries --------------------------------------------------------------------------------------------------- */

static ql_status
parse_string(parser *p, const ql_expression **out)
{
    ql_expression *e = make(p, QL_TERM_CONSTANT, p->in.at);
    ql_text text = {0};
    ql_status st;

    if (!e)
        return QL_MEMORY;
    p->in.at++;
    st = ql_scan_string(&p->in, p->in.text[p->in.at - 1], &text);
    QL_TRY(p->in.cx, ql_value_take(p->in.cx, &text, st, &e->value));
    *out = e;
    return QL_OK;
}

static ql_status
parse_number(parser *p, const ql_expression **out)
{
    ql_expression *e = make(p, QL_TERM_CONSTANT, p->in.at);
    const size_t digits = strspn(p->in.text + p->in.at, "0123456789");

    if (!e)
        return QL_MEMORY;
    if (digits > 18 || p->in.text[p->in.at + digits] == '.')
        return QL_FAIL(p->in.cx, QL_INVALID, "expected an integer of at most 18 digits");
    e->value = ql_value_int(strtoll(p->in.text + p->in.at, NULL, 10));
    p->in.at += digits;
    *out = e;
    return QL_OK;
}

/* Expressions up to `close`, parted by commas, as further children. */
static ql_status
parse_list(parser *p, const char *close, ql_expression *e)
{
    for (bool first = true; !ql_scan_take(&p->in, close); first = false) {
        const ql_expression *item = NULL;

        if (!first)
            QL_TRY(p->in.cx, ql_scan_need(&p->in, ","));
        QL_TRY(p->in.cx, parse_expression(p, &item));
        QL_TRY(p->in.cx, add_child(p, e, item));
    }
    return QL_OK;
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
    return QL_FAIL(p->in.cx, QL_INVALID, "no function '%s'%s; a function is defined above its use", name,
                   ql_guess_text(p->in.cx, &guess, ""));
}

/* A name by itself, or the call of a function that `let` defined. */
static ql_status
parse_named(parser *p, const ql_expression **out)
{
    static const char *const constants[] = {"none", "None", "false", "False", "true", "True"};
    const size_t at = p->in.at;
    size_t behind;
    const char *name = ql_scan_name(&p->in);
    ql_expression *e = make(p, QL_TERM_NAME, at);
    const ql_expression *argument = NULL;

    if (!name || !e)
        return name || !e ? QL_MEMORY : ql_scan_expected(&p->in, "a value");
    e->text = name;
    for (int64_t i = 0; i < 6; i++)
        if (strcmp(name, constants[i]) == 0) {
            e->term = QL_TERM_CONSTANT;
            e->value = ql_value_bool(i >= 4);
            e->value.kind = i < 2 ? QL_VALUE_NONE : QL_VALUE_BOOL;
        }
    *out = e;
    if (e->term == QL_TERM_CONSTANT || !ql_scan_take(&p->in, "("))
        return QL_OK;
    e->term = QL_TERM_FUNCTION;
    behind = p->in.at;
    p->in.at = at; /* where an unknown one is told */
    QL_TRY(p->in.cx, find_function(p, name, &e->function));
    p->in.at = behind;
    QL_TRY(p->in.cx, parse_expression(p, &argument));
    QL_TRY(p->in.cx, add_child(p, e, argument));
    return ql_scan_need(&p->in, ")");
}

static ql_status
parse_primary(parser *p, const ql_expression **out)
{
    char c;
    ql_expression *e;

    ql_scan_space(&p->in);
    c = p->in.text[p->in.at];
    if (c == '"' || c == '\'')
        return parse_string(p, out);
    if (isdigit((unsigned char)c))
        return parse_number(p, out);
    if (ql_scan_take(&p->in, "(")) {
        QL_TRY(p->in.cx, parse_expression(p, out));
        return ql_scan_need(&p->in, ")");
    }
    if (c != '[')
        return parse_named(p, out);
    e = make(p, QL_TERM_LIST, p->in.at++);
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
    const char *name = ql_scan_name(&p->in), *wrong;
    ql_expression *e;

    if (!name)
        return ql_scan_expected(&p->in, filter ? "the name of a filter" : "the name of a field or method");
    QL_TRY(p->in.cx, join(p, QL_TERM_METHOD, at, out, NULL));
    e = (ql_expression *)*out; /* made here */
    e->text = name;
    if (filter && strcmp(name, "each") == 0) {
        e->term = QL_TERM_EACH;
        QL_TRY(p->in.cx, ql_scan_need(&p->in, "("));
        name = ql_scan_name(&p->in);
        if (!name)
            return ql_scan_expected(&p->in, "the name of a function");
        QL_TRY(p->in.cx, find_function(p, name, &e->function));
        return ql_scan_need(&p->in, ")");
    }
    if (ql_scan_take(&p->in, "("))
        QL_TRY(p->in.cx, parse_list(p, ")", e));
    else if (!filter)
        e->term = QL_TERM_FIELD;
    wrong = e->term == QL_TERM_METHOD ? ql_method_check(p->in.cx, name, e->count) : NULL;
    if (!wrong)
        return QL_OK;
    p->in.at = at;
    return QL_FAIL(p->in.cx, QL_INVALID, "%s", wrong);
}

/* From behind '[': an index, or a slice whose ends may be left out. */
static ql_status
parse_index(parser *p, size_t at, const ql_expression **out)
{
    const ql_expression *ends[2] = {0};
    ql_expression *e;

    ql_scan_space(&p->in);
    if (p->in.text[p->in.at] != ':')
        QL_TRY(p->in.cx, parse_expression(p, &ends[0]));
    if (!ql_scan_take(&p->in, ":")) {
        QL_TRY(p->in.cx, join(p, QL_TERM_INDEX, at, out, ends[0]));
        return ql_scan_need(&p->in, "]");
    }
    ql_scan_space(&p->in);
    if (p->in.text[p->in.at] != ']')
        QL_TRY(p->in.cx, parse_expression(p, &ends[1]));
    QL_TRY(p->in.cx, join(p, QL_TERM_SLICE, at, out, NULL));
    e = (ql_expression *)*out;
    QL_TRY(p->in.cx, add_child(p, e, ends[0]));
    QL_TRY(p->in.cx, add_child(p, e, ends[1]));
    return ql_scan_need(&p->in, "]");
}

static ql_status
parse_postfix(parser *p, const ql_expression **out)
{
    QL_TRY(p->in.cx, parse_primary(p, out));
    for (;;) {
        ql_scan_space(&p->in);
        if (ql_scan_take(&p->in, "."))
            QL_TRY(p->in.cx, parse_method(p, false, p->in.at, out));
        else if (ql_scan_take(&p->in, "["))
            QL_TRY(p->in.cx, parse_index(p, p->in.at - 1, out));
        else
            return QL_OK;
    }
}

/* A filter takes the negated value. */
static ql_status
parse_unary(parser *p, const ql_expression **out)
{
    size_t at;

    ql_scan_space(&p->in);
    at = p->in.at;
    if (p->depth++ >= DEPTH_MAX)
        return QL_FAIL(p->in.cx, QL_INVALID, "expressions more than %d deep", DEPTH_MAX);
    if (ql_scan_take(&p->in, "-")) {
        QL_TRY(p->in.cx, parse_unary(p, out));
        QL_TRY(p->in.cx, join(p, QL_TERM_NEGATE, at, out, NULL));
    } else {
        QL_TRY(p->in.cx, parse_postfix(p, out));
    }
    while (ql_scan_take(&p->in, "|"))
        QL_TRY(p->in.cx, parse_method(p, true, p->in.at, out));
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
    QL_TRY(p->in.cx, operand(p, out));
    for (;;) {
        const infix *op = operators;
        const ql_expression *right = NULL;
        size_t at;

        ql_scan_space(&p->in);
        at = p->in.at;
        while (op->sign && !ql_scan_take(&p->in, op->sign))
            op++;
        if (!op->sign)
            return QL_OK;
        QL_TRY(p->in.cx, operand(p, &right));
        QL_TRY(p->in.cx, join(p, op->term, at, out, right));
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

    QL_TRY(p->in.cx, parse_sum(p, out));
    ql_scan_space(&p->in);
    at = p->in.at;
    for (int i = 0; signs[i] && !sign; i++)
        sign = ql_scan_take(&p->in, signs[i]) ? signs[i] : NULL;
    if (!sign && ql_scan_take(&p->in, "not")) {
        sign = "not in";
        QL_TRY(p->in.cx, ql_scan_need(&p->in, "in"));
    }
    if (!sign)
        return QL_OK;
    QL_TRY(p->in.cx, parse_sum(p, &right));
    QL_TRY(p->in.cx, join(p, QL_TERM_COMPARE, at, out, right));
    e = (ql_expression *)*out;
    e->text = sign;
    return QL_OK;
}

static ql_status
parse_not(parser *p, const ql_expression **out)
{
    size_t at;

    ql_scan_space(&p->in);
    at = p->in.at;
    if (!ql_scan_take(&p->in, "not"))
        return parse_comparison(p, out);
    QL_TRY(p->in.cx, parse_comparison(p, out));
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
        return QL_FAIL(p->in.cx, QL_INVALID, "expressions more than %d deep", DEPTH_MAX);
    QL_TRY(p->in.cx, parse_or(p, out));
    ql_scan_space(&p->in);
    at = p->in.at;
    if (ql_scan_take(&p->in, "if")) {
        QL_TRY(p->in.cx, parse_or(p, &condition));
        if (ql_scan_take(&p->in, "else"))
            QL_TRY(p->in.cx, parse_expression(p, &otherwise));
        QL_TRY(p->in.cx, join(p, QL_TERM_IF, at, out, condition));
        QL_TRY(p->in.cx, add_child(p, (ql_expression *)*out, otherwise));
    }
    p->depth--;
    return QL_OK;
}

/* --- the template ------------------------------------------------------------------------------------------------ */

/* The part that begins at p->in.at. */
static ql_status
parse_part(parser *p, ql_part *out)
{
    const char *begin = p->in.text + p->in.at, *open = begin;

    while (*open && !(open[0] == '{' && (open[1] == '{' || open[1] == '%' || open[1] == '#')))
        open++;
    if (open > begin) {
        *out = (ql_part){.text = begin, .bytes = (size_t)(open - begin)};
        p->in.at += out->bytes;
        return QL_OK;
    }
    if (open[1] != '{')
        return QL_FAIL(p->in.cx, QL_INVALID, "statements and comments ('{%c') are not part of the language", open[1]);
    if (open[2] == '-')
        return QL_FAIL(p->in.cx, QL_INVALID, "'{{-' is not part of the language: nothing is trimmed");
    p->in.at += 2;
    QL_TRY(p->in.cx, parse_expression(p, &out->expression));
    if (ql_scan_take(&p->in, "-}}"))
        return QL_FAIL(p->in.cx, QL_INVALID, "'-}}' is not part of the language: nothing is trimmed");
    return ql_scan_take(&p->in, "}}") ? QL_OK : ql_scan_expected(&p->in, "'}}' or an operator");
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
    parser p = {.in = {.cx = cx, .text = text}, .known = known};
    ql_template *t = ql_alloc(cx, 1, sizeof *t);
    ql_part *parts = ql_alloc(cx, parts_most(text), sizeof *parts);
    ql_status st = t && parts ? QL_OK : QL_MEMORY;

    while (st == QL_OK && text[p.in.at]) {
        p.depth = 0;
        st = parse_part(&p, &parts[t->count++]);
    }
    if (st != QL_OK) {
        *wrong = (ql_wrong){.at = p.in.at};
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
