/* Operations as records: rules, checks, outputs, dispatch. */
#include "op.h"

#include <stdio.h>
#include <string.h>

#define LETTERS 128 /* a shape's letters are ASCII */

static const struct {
    const char *name, *operands;
} rules[] = {
#define RULE(code, name, operands) [QL_OP_##code] = {name, operands},
    QL_OP_LIST(RULE)
#undef RULE
};

/* Operands under check, and how long a shape's letters have turned out to be; -1: not known yet. */
typedef struct check {
    ql_ctx *cx;
    const char *name;
    const ql_op *op;
    int64_t lengths[LETTERS];
} check;

const char *
ql_op_name(ql_op_code code)
{
    return rules[code].name;
}

const char *
ql_op_operands(ql_op_code code)
{
    return rules[code].operands;
}

bool
ql_operand_next(const char **rule, ql_operand *out)
{
    const char *p = *rule;

    *out = (ql_operand){.name = p};
    if (*p == '\0')
        return false;
    if (*p == '@') {
        out->shape = p + 1;
        p += 2;
    } else {
        out->dtype = strchr(p, ':') + 1;
        out->shape = strchr(out->dtype, '[') + 1;
        p = strchr(out->shape, ']') + 1;
    }
    for (; *p && *p != ','; p++) {
        out->made = out->made || *p == '+';
        out->written = out->written || *p == '!' || *p == '+';
        out->optional = out->optional || *p == '?';
        out->itself = out->itself || *p == '~';
    }
    *rule = *p ? p + 2 : p;
    return true;
}

static unsigned
word_dtypes(const ql_op *op, const char *word, size_t length)
{
    const unsigned real = QL_BIT(QL_F32) | QL_BIT(QL_F64), floating = real | QL_BIT(QL_F16) | QL_BIT(QL_BF16);
    const struct {
        const char *word;
        unsigned dtypes;
    } words[] = {
        {"any", floating | QL_BIT(QL_U8) | QL_BIT(QL_I32) | QL_BIT(QL_I64)},
        {"float", floating},
        {"real", real},
        {"f32", QL_BIT(QL_F32)},
        {"i32", QL_BIT(QL_I32)},
        {"u8", QL_BIT(QL_U8)},
        {"same", QL_BIT(ql_dtype_of(op->t[0]))},
        {"sum", QL_BIT(ql_op_real(ql_dtype_of(op->t[0]) == QL_F64))},
        {"grid", QL_BIT(ql_op_real(op->grid && op->grid->fp64))},
    };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strncmp(words[i].word, word, length) == 0 && words[i].word[length] == '\0')
            return words[i].dtypes;
    return 0;
}

unsigned
ql_operand_dtypes(const ql_op *op, const ql_operand *o)
{
    unsigned set = 0;

    for (const char *word = o->dtype; word < o->shape;) {
        const size_t length = strcspn(word, "|[");

        set |= word_dtypes(op, word, length);
        word += length + 1;
    }
    return set;
}

static int
name_length(const ql_operand *o)
{
    return (int)(o->dtype - 1 - o->name);
}

/* [..]: the shape of the first operand. */
static bool
any_shape(const ql_operand *o)
{
    return *o->shape == '.';
}

static int
expected_rank(const check *c, const ql_operand *o)
{
    int n = 1;

    if (any_shape(o))
        return ql_ndim(c->op->t[0]);
    for (const char *p = o->shape; *p != ']'; p++)
        n += *p == ',';
    return n;
}

/* Where the rule says dimension `i`. */
static const char *
dimension(const ql_operand *o, int i)
{
    const char *p = o->shape;

    for (; i > 0; i--)
        p = strchr(p, ',') + 1;
    return p;
}

/* The length that dimension `i` must have; -1: not known. */
static int64_t
expected_length(const check *c, const ql_operand *o, int i)
{
    const char *dim = any_shape(o) ? NULL : dimension(o, i);

    if (!dim)
        return ql_dim(c->op->t[0], i);
    return *dim == '#' ? c->op->n[dim[1] - '0'] : c->lengths[(unsigned char)*dim % LETTERS];
}

static bool
may_be_empty(const ql_operand *o, int i)
{
    const char dim = any_shape(o) ? '.' : *dimension(o, i);

    return dim < 'A' || dim > 'Z';
}

/* "f32 or f64 [3, *]"; without a dtype where any will do. */
static void
expected_text(const check *c, const ql_operand *o, char *text, size_t size)
{
    const unsigned dtypes = ql_operand_dtypes(c->op, o);
    const bool all = dtypes == word_dtypes(c->op, "any", 3);
    const char *separator = "";
    size_t n = 0;

    for (ql_dtype d = QL_F32; d <= QL_I64 && !all && n < size; d++)
        if (dtypes & QL_BIT(d)) {
            n += (size_t)snprintf(text + n, size - n, "%s%s", separator, ql_dtype_name(d));
            separator = " or ";
        }
    separator = all ? "[" : " [";
    for (int i = 0; i < expected_rank(c, o) && n < size; i++) {
        const int64_t length = expected_length(c, o, i);

        if (length >= 0)
            n += (size_t)snprintf(text + n, size - n, "%s%lld", separator, (long long)length);
        else
            n += (size_t)snprintf(text + n, size - n, "%s%s", separator, may_be_empty(o, i) ? "*" : "1 or more");
        separator = ", ";
    }
    if (n < size)
        snprintf(text + n, size - n, "]");
}

/* Is the dtype among those of the rule, and the shape its shape? Letters that were not known yet are known then. */
static bool
fits(check *c, const ql_operand *o, const ql_tensor *t)
{
    if (!(ql_operand_dtypes(c->op, o) & QL_BIT(t->dtype)) || t->ndim != expected_rank(c, o))
        return false;
    for (int i = 0; i < t->ndim; i++) {
        const int64_t expected = expected_length(c, o, i);

        if (expected >= 0 ? t->dims[i] != expected : t->dims[i] == 0 && !may_be_empty(o, i))
            return false;
        if (expected < 0)
            c->lengths[(unsigned char)*dimension(o, i) % LETTERS] = t->dims[i];
    }
    return true;
}

static ql_status
operand_check(check *c, const ql_operand *o, const ql_tensor *t)
{
    const ql_device *d = c->cx->device, *its = t ? ql_tensor_device(t) : NULL;
    const int length = name_length(o);
    char got[128], expected[192];

    if (!t)
        return QL_FAIL(c->cx, QL_INVALID, "%s: %.*s: missing", c->name, length, o->name);
    if (!d)
        return QL_FAIL(c->cx, QL_BUG, "%s: no device is open", c->name);
    if (its != d)
        return QL_FAIL(c->cx, QL_INVALID, "%s: %.*s: on %s, but the work runs on %s; copy it there first", c->name,
                       length, o->name,
                       its->backend == d->backend ? "another device of its kind" : its->backend->device,
                       d->backend->device);
    if (!fits(c, o, t)) {
        expected_text(c, o, expected, sizeof expected);
        return QL_FAIL(c->cx, QL_INVALID, "%s: %.*s: got %s, expected %s", c->name, length, o->name,
                       ql_tensor_text(t, got, sizeof got), expected);
    }
    if (o->written && t->lent)
        return QL_FAIL(c->cx, QL_INVALID, "%s: %.*s: lent for reading only; write to a copy", c->name, length, o->name);
    return QL_OK;
}

/* The parent of sequence `s` comes before it and ends where it begins. */
static ql_status
parent_check(ql_ctx *cx, const char *name, const ql_seqs *seqs, int64_t s)
{
    const int64_t p = seqs->parent[s], first = seqs->first ? seqs->first[s] : 0;
    int64_t expected = 0;

    if (p >= s || p < -1)
        return QL_FAIL(cx, QL_INVALID, "%s: sequence %lld has the parent %lld, expected an earlier sequence", name,
                       (long long)s, (long long)p);
    if (seqs->kept)
        return p < 0
                   ? QL_OK
                   : QL_FAIL(cx, QL_INVALID, "%s: sequence %lld has a parent beside what is kept", name, (long long)s);
    if (p >= 0)
        expected = (seqs->first ? seqs->first[p] : 0) + seqs->offsets[p + 1] - seqs->offsets[p];
    if (first != expected)
        return QL_FAIL(cx, QL_INVALID, "%s: sequence %lld starts at position %lld, its parent ends at %lld", name,
                       (long long)s, (long long)first, (long long)expected);
    return QL_OK;
}

ql_status
ql_seqs_check(ql_ctx *cx, const char *name, const ql_seqs *seqs, int64_t tokens)
{
    if (!seqs || seqs->count < 0 || !seqs->offsets || seqs->offsets[0] != 0)
        return QL_FAIL(cx, QL_INVALID, "%s: the sequences are missing, or do not start at token 0", name);
    for (int64_t s = 0; s < seqs->count; s++) {
        if (seqs->offsets[s + 1] < seqs->offsets[s])
            return QL_FAIL(cx, QL_INVALID, "%s: sequence %lld ends before it starts", name, (long long)s);
        if (seqs->first && seqs->first[s] < 0)
            return QL_FAIL(cx, QL_INVALID, "%s: sequence %lld starts at position %lld", name, (long long)s,
                           (long long)seqs->first[s]);
    }
    for (int64_t s = 0; seqs->parent && s < seqs->count; s++)
        QL_TRY(cx, parent_check(cx, name, seqs, s));
    if (seqs->offsets[seqs->count] != tokens)
        return QL_FAIL(cx, QL_INVALID, "%s: the sequences have %lld tokens, the tensor %lld", name,
                       (long long)seqs->offsets[seqs->count], (long long)tokens);
    return QL_OK;
}

/* Operand `i`, which is written, must share no element with another, or be the first one itself where the rule allows it. */
static ql_status
apart_check(const check *c, const char *rule, const ql_operand *out, int i)
{
    const ql_tensor *const *t = c->op->t;
    ql_operand o;

    for (int j = 0; ql_operand_next(&rule, &o); j++) {
        const bool itself =
            out->itself && j == 0 && t[0] && ql_ptr(t[0]) == ql_ptr(t[i]) && ql_stride(t[0], 0) == ql_stride(t[i], 0);

        if (j != i && o.dtype && t[j] && !itself && ql_tensor_overlap(t[i], t[j]))
            return QL_FAIL(c->cx, QL_INVALID, "%s: %.*s and %.*s share memory", c->name, name_length(out), out->name,
                           name_length(&o), o.name);
    }
    return QL_OK;
}

/* Everything but what the host has yet to make. */
static ql_status
operands_check(check *c, const char *rule)
{
    const char *at = rule;
    ql_operand o;

    for (int i = 0; i < LETTERS; i++)
        c->lengths[i] = -1;
    for (int i = 0; ql_operand_next(&at, &o); i++) {
        if (!o.dtype)
            QL_TRY(c->cx, ql_seqs_check(c->cx, c->name, c->op->seqs, c->lengths[(unsigned char)*o.shape % LETTERS]));
        else if (!o.made && (c->op->t[i] || !o.optional))
            QL_TRY(c->cx, operand_check(c, &o, c->op->t[i]));
    }
    at = rule;
    for (int i = 0; ql_operand_next(&at, &o); i++)
        if (o.written && !o.made && c->op->t[i])
            QL_TRY(c->cx, apart_check(c, rule, &o, i));
    return QL_OK;
}

ql_status
ql_operands_check(ql_ctx *cx, const char *name, const char *rule, const ql_op *op)
{
    return operands_check(&(check){.cx = cx, .name = name, .op = op}, rule);
}

static ql_status
make_operand(const check *c, const ql_operand *o, ql_tensor **out)
{
    const unsigned dtypes = ql_operand_dtypes(c->op, o);
    int64_t dims[QL_MAX_DIMS];
    ql_dtype dtype = QL_F32;

    while (!(dtypes & QL_BIT(dtype)))
        dtype++;
    for (int i = 0; i < expected_rank(c, o); i++)
        dims[i] = expected_length(c, o, i);
    return ql_new_nd(c->cx, dtype, expected_rank(c, o), dims, out);
}

ql_status
ql_op_begin(ql_ctx *cx, ql_op *op)
{
    const char *rule = ql_op_operands(op->code);
    check c = {.cx = cx, .name = ql_op_name(op->code), .op = op};
    ql_tensor *made;
    ql_operand o;

    QL_TRY(cx, operands_check(&c, rule));
    for (int i = 0; ql_operand_next(&rule, &o); i++)
        if (o.made) {
            QL_TRY(cx, make_operand(&c, &o, &made));
            op->t[i] = made;
        }
    return QL_OK;
}

ql_tensor *
ql_op_made(const ql_op *op, int i)
{
    return (ql_tensor *)op->t[i];
}

/* Nothing to read, or nothing to write. */
static bool
nothing_to_do(const ql_op *op)
{
    const char *rule = ql_op_operands(op->code);
    bool nothing = ql_count(op->t[0]) == 0;
    ql_operand o;

    for (int i = 0; ql_operand_next(&rule, &o); i++)
        nothing = nothing || (o.written && op->t[i] && ql_count(op->t[i]) == 0);
    return nothing;
}

ql_status
ql_op_call(ql_ctx *cx, const ql_op *op)
{
    const char *name = ql_op_name(op->code);
    const ql_device *d = cx->device;
    const ql_op_row *row = d->ops[op->code];
    ql_status st;

    if (nothing_to_do(op))
        return QL_OK;
    if (!row)
        return QL_FAIL(cx, QL_UNSUPPORTED, "%s: the %s backend has no such operation", name, d->backend->device);
    st = row->supports ? row->supports(cx, op) : QL_OK;
    if (st != QL_OK)
        return ql_where(cx, st, "%s", name);
    return ql_op_done(cx, name, row->run(cx, d->dev, op));
}

ql_status
ql_op_run(ql_ctx *cx, ql_op *op)
{
    QL_TRY(cx, ql_op_begin(cx, op));
    return ql_op_call(cx, op);
}

ql_status
ql_op_make(ql_ctx *cx, ql_op *op, ql_tensor **out)
{
    const char *rule = ql_op_operands(op->code);
    ql_operand o;

    QL_TRY(cx, ql_op_begin(cx, op));
    for (int i = 0; ql_operand_next(&rule, &o); i++)
        if (o.made)
            *out = ql_op_made(op, i);
    return ql_op_call(cx, op);
}
