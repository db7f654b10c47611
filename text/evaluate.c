/* Evaluates templates. */
#define _GNU_SOURCE /* memmem */
#include <inttypes.h>
#include <string.h>

#include "base/guess.h"
#include "expression.h"

#define CALLS_MAX 32 /* functions inside each other */

typedef struct machine {
    ql_ctx *cx;
    const ql_names *names;
    const ql_function *function; /* whose body is evaluated; NULL: the template itself */
    const ql_value *argument;
    const ql_template *in;
    ql_wrong *wrong;
    int calls;
} machine;

static ql_status evaluate(machine *m, const ql_expression *e, ql_value *out);
static ql_status template_value(machine *m, const ql_template *t, ql_value *out);

/* Remembers where the innermost error lies. */
static ql_status
at(machine *m, const ql_expression *e, ql_status st)
{
    if (st != QL_OK && !m->wrong->in)
        *m->wrong = (ql_wrong){.in = m->in, .at = e->at};
    return st;
}

static ql_status
wrong_type(machine *m, const char *what, const ql_value *a, const ql_value *b)
{
    if (!b)
        return QL_FAIL(m->cx, QL_INVALID, "%s: not of %s", what, ql_value_word(a));
    return QL_FAIL(m->cx, QL_INVALID, "%s: not of %s and %s", what, ql_value_word(a), ql_value_word(b));
}

/* --- names ------------------------------------------------------------------------------------------------------- */

/* "no field 'questoin' (has: question, choices)". */
static ql_status
no_field(machine *m, const ql_json *map, const char *name)
{
    const char *has = ql_json_names(m->cx, map), *key;
    ql_guess guess = ql_guess_open(name);

    for (int64_t i = 0; i < ql_json_members(map); i++) {
        (void)ql_json_at(map, i, &key);
        ql_guess_offer(&guess, key);
    }
    return has ? QL_FAIL(m->cx, QL_INVALID, "no field '%s'%s (has: %s)", name, ql_guess_text(m->cx, &guess, ""), has)
               : QL_MEMORY;
}

static ql_status
field(machine *m, const ql_json *map, const char *name, ql_value *out)
{
    const ql_json *v = ql_json_member(map, name);

    if (!v && !ql_json_is_null(map, name))
        return no_field(m, map, name);
    return ql_value_of_json(m->cx, v, out);
}

static ql_status
name_value(machine *m, const char *name, ql_value *out)
{
    if (m->function && strcmp(m->function->parameter, name) == 0) {
        *out = *m->argument;
        return QL_OK;
    }
    for (int64_t i = m->names->count; i-- > 0;)
        if (strcmp(m->names->names[i], name) == 0) {
            *out = m->names->values[i];
            return QL_OK;
        }
    return field(m, m->names->record, name, out);
}

static ql_status
call(machine *m, const ql_function *function, const ql_value *argument, ql_value *out)
{
    machine inside = *m;

    if (m->calls >= CALLS_MAX)
        return QL_FAIL(m->cx, QL_INVALID, "functions more than %d deep", CALLS_MAX);
    inside.function = function;
    inside.argument = argument;
    inside.calls++;
    return template_value(&inside, function->body, out);
}

/* --- operators --------------------------------------------------------------------------------------------------- */

static ql_status
check_size(machine *m, int64_t bytes)
{
    if (bytes <= QL_VALUE_BYTES)
        return QL_OK;
    return QL_FAIL(m->cx, QL_INVALID, "a value of more than %lld bytes", (long long)QL_VALUE_BYTES);
}

static ql_status
join_texts(machine *m, const ql_value *a, const ql_value *b, ql_value *out)
{
    ql_text text = {0};
    ql_status st = ql_value_put(m->cx, a, false, &text);

    if (st == QL_OK)
        st = ql_value_put(m->cx, b, false, &text);
    if (st == QL_OK)
        st = check_size(m, text.count);
    return ql_value_take(m->cx, &text, st, out);
}

static ql_status
join_lists(machine *m, const ql_value *a, const ql_value *b, ql_value *out)
{
    ql_value *items = ql_alloc(m->cx, (size_t)(a->count + b->count) + 1, sizeof *items);

    QL_TRY(m->cx, check_size(m, (a->count + b->count) * (int64_t)sizeof *items));
    if (!items)
        return QL_MEMORY;
    if (a->count)
        memcpy(items, a->items, (size_t)a->count * sizeof *items);
    if (b->count)
        memcpy(items + a->count, b->items, (size_t)b->count * sizeof *items);
    *out = (ql_value){.kind = QL_VALUE_LIST, .items = items, .count = a->count + b->count};
    return QL_OK;
}

static ql_status
add(machine *m, const ql_value *a, const ql_value *b, bool minus, ql_value *out)
{
    int64_t sum;

    if (!minus && a->kind == QL_VALUE_TEXT && b->kind == QL_VALUE_TEXT)
        return join_texts(m, a, b, out);
    if (!minus && a->kind == QL_VALUE_LIST && b->kind == QL_VALUE_LIST)
        return join_lists(m, a, b, out);
    if (!ql_value_is_number(a) || !ql_value_is_number(b))
        return wrong_type(m, minus ? "-" : "+", a, b);
    if (a->kind == QL_VALUE_REAL || b->kind == QL_VALUE_REAL) {
        *out = (ql_value){.kind = QL_VALUE_REAL,
                          .real = ql_value_real(a) + (minus ? -ql_value_real(b) : ql_value_real(b))};
        return QL_OK;
    }
    if (minus ? __builtin_sub_overflow(a->integer, b->integer, &sum)
              : __builtin_add_overflow(a->integer, b->integer, &sum))
        return QL_FAIL(m->cx, QL_INVALID, "an integer of more than 64 bits");
    *out = ql_value_int(sum);
    return QL_OK;
}

static ql_status
contains(machine *m, const ql_value *item, const ql_value *in, bool *out)
{
    *out = false;
    if (in->kind == QL_VALUE_TEXT && item->kind == QL_VALUE_TEXT) {
        *out = item->bytes == 0 || (in->bytes && memmem(in->text, (size_t)in->bytes, item->text, (size_t)item->bytes));
        return QL_OK;
    }
    if (in->kind == QL_VALUE_MAP && item->kind == QL_VALUE_TEXT) {
        const char *key = ql_copy_text(m->cx, item->text, (size_t)item->bytes);

        if (!key)
            return QL_MEMORY;
        *out = ql_json_member(in->map, key) || ql_json_is_null(in->map, key);
        return QL_OK;
    }
    if (in->kind != QL_VALUE_LIST)
        return wrong_type(m, "in", item, in);
    for (int64_t i = 0; i < in->count && !*out; i++)
        *out = ql_value_equal(item, &in->items[i]);
    return QL_OK;
}

/* -1, 0 or 1; only numbers and texts have an order. */
static ql_status
order(machine *m, const char *sign, const ql_value *a, const ql_value *b, int *out)
{
    if (ql_value_is_number(a) && ql_value_is_number(b)) {
        *out = (ql_value_real(a) > ql_value_real(b)) - (ql_value_real(a) < ql_value_real(b));
        return QL_OK;
    }
    if (a->kind != QL_VALUE_TEXT || b->kind != QL_VALUE_TEXT)
        return wrong_type(m, sign, a, b);
    *out = memcmp(a->text, b->text, (size_t)(a->bytes < b->bytes ? a->bytes : b->bytes));
    if (*out == 0)
        *out = (a->bytes > b->bytes) - (a->bytes < b->bytes);
    return QL_OK;
}

static ql_status
compare(machine *m, const char *sign, const ql_value *a, const ql_value *b, ql_value *out)
{
    bool is;
    int way = 0;

    if (sign[0] == 'i' || sign[0] == 'n') { /* in, not in */
        QL_TRY(m->cx, contains(m, a, b, &is));
        is = is == (sign[0] == 'i');
    } else if (sign[1] == '=' && (sign[0] == '=' || sign[0] == '!')) {
        is = ql_value_equal(a, b) == (sign[0] == '=');
    } else {
        QL_TRY(m->cx, order(m, sign, a, b, &way));
        is = (sign[1] == '=' && way == 0) || (sign[0] == '<' ? way < 0 : way > 0);
    }
    *out = ql_value_bool(is);
    return QL_OK;
}

/* --- indices ----------------------------------------------------------------------------------------------------- */

static int64_t
length_of(const ql_value *v)
{
    return v->kind == QL_VALUE_LIST ? v->count : ql_text_points(v->text, v->bytes);
}

/* Items or code points [from, to). */
static ql_value
part_of(const ql_value *v, int64_t from, int64_t to)
{
    ql_value out = *v;

    if (to < from)
        to = from;
    if (v->kind == QL_VALUE_LIST) {
        out.items = v->items + from;
        out.count = to - from;
        return out;
    }
    from = ql_text_at(v->text, v->bytes, from);
    to = ql_text_at(v->text, v->bytes, to);
    return ql_value_text(v->text + from, to - from);
}

static ql_status
index_value(machine *m, const ql_value *v, const ql_value *index, ql_value *out)
{
    const bool indexed = v->kind == QL_VALUE_LIST || v->kind == QL_VALUE_TEXT;
    int64_t i, length;

    if (v->kind == QL_VALUE_MAP && index->kind == QL_VALUE_TEXT) {
        const char *key = ql_copy_text(m->cx, index->text, (size_t)index->bytes);

        return key ? field(m, v->map, key, out) : QL_MEMORY;
    }
    if (!indexed || !ql_value_is_number(index) || index->kind == QL_VALUE_REAL)
        return wrong_type(m, "[ ]", v, index);
    length = length_of(v);
    i = index->integer < 0 ? index->integer + length : index->integer;
    if (i < 0 || i >= length)
        return QL_FAIL(m->cx, QL_INVALID, "index %" PRId64 " is outside %s of %" PRId64, index->integer,
                       ql_value_word(v), length);
    *out = v->kind == QL_VALUE_LIST ? v->items[i] : part_of(v, i, i + 1);
    return QL_OK;
}

/* One end of a slice, which clamps. */
static ql_status
slice_end(machine *m, const ql_expression *e, int64_t length, int64_t otherwise, int64_t *out)
{
    ql_value v = {0};

    *out = otherwise;
    if (!e)
        return QL_OK;
    QL_TRY(m->cx, evaluate(m, e, &v));
    if (v.kind == QL_VALUE_NONE)
        return QL_OK;
    if (!ql_value_is_number(&v) || v.kind == QL_VALUE_REAL)
        return wrong_type(m, "the end of a slice", &v, NULL);
    *out = v.integer < 0 ? (v.integer < -length ? 0 : v.integer + length) : v.integer > length ? length : v.integer;
    return QL_OK;
}

static ql_status
slice(machine *m, const ql_expression *e, const ql_value *v, ql_value *out)
{
    int64_t from, to, length;

    if (v->kind != QL_VALUE_LIST && v->kind != QL_VALUE_TEXT)
        return wrong_type(m, "[ : ]", v, NULL);
    length = length_of(v);
    QL_TRY(m->cx, slice_end(m, e->children[1], length, 0, &from));
    QL_TRY(m->cx, slice_end(m, e->children[2], length, length, &to));
    *out = part_of(v, from, to);
    return QL_OK;
}

/* --- expressions ------------------------------------------------------------------------------------------------- */

static ql_status
each(machine *m, const ql_function *function, const ql_value *list, ql_value *out)
{
    ql_value *items;

    if (list->kind != QL_VALUE_LIST)
        return wrong_type(m, "each", list, NULL);
    items = ql_alloc(m->cx, (size_t)list->count + 1, sizeof *items);
    if (!items)
        return QL_MEMORY;
    for (int64_t i = 0; i < list->count; i++)
        QL_TRY(m->cx, call(m, function, &list->items[i], &items[i]));
    *out = (ql_value){.kind = QL_VALUE_LIST, .items = items, .count = list->count};
    return QL_OK;
}

static ql_status
negate(machine *m, const ql_value *v, ql_value *out)
{
    const ql_value zero = ql_value_int(0);

    if (!ql_value_is_number(v))
        return wrong_type(m, "-", v, NULL);
    return add(m, &zero, v, true, out);
}

/* What evaluates its operands itself, because not all of them are always needed. */
static ql_status
evaluate_lazily(machine *m, const ql_expression *e, ql_value *out)
{
    ql_value first = {0};
    bool is;

    QL_TRY(m->cx, evaluate(m, e->children[e->term == QL_TERM_IF ? 1 : 0], &first));
    is = ql_value_true(&first);
    *out = first;
    if (e->term == QL_TERM_IF) {
        const ql_expression *taken = is ? e->children[0] : e->children[2];

        *out = ql_value_text("", 0); /* as Jinja prints what there is not */
        return taken ? evaluate(m, taken, out) : QL_OK;
    }
    return is == (e->term == QL_TERM_AND) ? evaluate(m, e->children[1], out) : QL_OK;
}

static ql_status
operate(machine *m, const ql_expression *e, const ql_value *v, ql_value *out)
{
    switch (e->term) {
    case QL_TERM_FIELD:
        if (v->kind != QL_VALUE_MAP)
            return QL_FAIL(m->cx, QL_INVALID, "no field '%s': it is %s", e->text, ql_value_word(v));
        return field(m, v->map, e->text, out);
    case QL_TERM_METHOD:
        return ql_method_call(m->cx, e->text, v, e->count, out);
    case QL_TERM_FUNCTION:
        return call(m, e->function, v, out);
    case QL_TERM_EACH:
        return each(m, e->function, v, out);
    case QL_TERM_INDEX:
        return index_value(m, &v[0], &v[1], out);
    case QL_TERM_LIST:
        *out = (ql_value){.kind = QL_VALUE_LIST, .items = v, .count = e->count};
        return QL_OK;
    case QL_TERM_NOT:
        *out = ql_value_bool(!ql_value_true(v));
        return QL_OK;
    case QL_TERM_NEGATE:
        return negate(m, v, out);
    case QL_TERM_COMPARE:
        return compare(m, e->text, &v[0], &v[1], out);
    case QL_TERM_JOIN:
        return join_texts(m, &v[0], &v[1], out);
    default:
        return add(m, &v[0], &v[1], e->term == QL_TERM_SUBTRACT, out);
    }
}

static ql_status
evaluate_operands(machine *m, const ql_expression *e, ql_value *out)
{
    ql_value *v = ql_alloc(m->cx, (size_t)e->count + 1, sizeof *v);

    if (!v)
        return QL_MEMORY;
    for (int64_t i = 0; i < (e->term == QL_TERM_SLICE ? 1 : e->count); i++)
        QL_TRY(m->cx, evaluate(m, e->children[i], &v[i]));
    return e->term == QL_TERM_SLICE ? slice(m, e, v, out) : operate(m, e, v, out);
}

static ql_status
evaluate(machine *m, const ql_expression *e, ql_value *out)
{
    switch (e->term) {
    case QL_TERM_CONSTANT:
        *out = e->value;
        return QL_OK;
    case QL_TERM_NAME:
        return at(m, e, name_value(m, e->text, out));
    case QL_TERM_IF:
    case QL_TERM_AND:
    case QL_TERM_OR:
        return at(m, e, evaluate_lazily(m, e, out));
    default:
        return at(m, e, evaluate_operands(m, e, out));
    }
}

/* --- templates --------------------------------------------------------------------------------------------------- */

static ql_status
put_parts(machine *m, const ql_template *t, ql_text *out)
{
    for (int64_t i = 0; i < t->count; i++) {
        const ql_part *part = &t->parts[i];
        ql_value v = ql_value_text(part->text, (int64_t)part->bytes);

        if (part->expression)
            QL_TRY(m->cx, evaluate(m, part->expression, &v));
        QL_TRY(m->cx, ql_value_put(m->cx, &v, false, out));
        QL_TRY(m->cx, check_size(m, out->count));
    }
    return QL_OK;
}

static ql_status
template_value(machine *m, const ql_template *t, ql_value *out)
{
    ql_text text = {0};
    ql_status st;

    m->in = t;
    if (t->count == 1 && t->parts[0].expression)
        return evaluate(m, t->parts[0].expression, out);
    st = put_parts(m, t, &text);
    return ql_value_take(m->cx, &text, st, out);
}

ql_status
ql_template_value(ql_ctx *cx, const ql_template *t, const ql_names *names, ql_value *out, ql_wrong *wrong)
{
    machine m = {.cx = cx, .names = names, .wrong = wrong};
    ql_status st;

    *wrong = (ql_wrong){0};
    st = template_value(&m, t, out);
    if (st != QL_OK && !wrong->in)
        *wrong = (ql_wrong){.in = t};
    return st;
}
