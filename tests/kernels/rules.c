/* Every operation by its row of rules (backend.h), on the device under test: operands are made as the row says, and the row's marks are
 * held to. What is not written keeps its bytes and may be lent; what is written may be neither lent nor shared; scratch is what plans are
 * told; and the operation can be rehearsed. */
#include "core/tensor/op.h"
#include "core/tensor/rehearsal.h"
#include "kernel.h"

#define LETTERS 128

typedef struct trial {
    kernel *k;
    ql_op op;
    ql_dtype first; /* of the first operand; NONE: any */
    bool whole;     /* rows without gaps, at aligned addresses; else with gaps, at odd ones */
    int64_t lengths[LETTERS], offsets[3];
    ql_seqs seqs;
    ql_kept kept;
    int32_t pages[2][4];
    const int32_t *paged[2];
    uint32_t key[2];
    float freq[16];
    ql_grid grid;
    union {
        ql_rope_spec rope;
        ql_attention_spec attention;
        ql_adamw_spec adamw;
    } spec;
    union {
        bool ok;
        double real;
        int64_t whole;
    } result;
} trial;

/* Lengths that every operation can have: m > n, n of whole groups and heads. */
static void
lengths(trial *t)
{
    kernel *k = t->k;
    int64_t n = 32 * k_int(k, 4, 5);

    for (int i = 0; i < LETTERS; i++)
        t->lengths[i] = k_int(k, 20, 60);
    t->lengths['n'] = t->lengths['N'] = n;
    t->lengths['m'] = n + k_int(k, 1, 40);
    t->lengths['t'] = k_int(k, 130, 170);
    t->lengths['.'] = t->lengths['m'];
    t->lengths['K'] = n;
    t->lengths['P'] = 8 * QL_PAGE;
    t->offsets[1] = k_int(k, 0, t->lengths['t']);
    t->offsets[2] = t->lengths['t'];
}

/* What a record holds beside operands. */
static void
fill_in(trial *t, ql_op_code code)
{
    kernel *k = t->k;
    const int64_t n = t->lengths['n'];

    t->grid = (ql_grid){.bits = 4, .group = 32, .sym = true, .scale_dtype = QL_F32, .fp64 = k_int(k, 0, 1) != 0};
    t->seqs = (ql_seqs){.count = 2, .offsets = t->offsets};
    t->key[0] = (uint32_t)test_u64(&k->rng);
    for (int i = 0; i < 16; i++)
        t->freq[i] = 1.0f / (float)(i + 1);
    t->op = (ql_op){.code = code,
                    .alpha = 0.5,
                    .beta = 1,
                    .grid = &t->grid,
                    .seqs = &t->seqs,
                    .result = &t->result,
                    .n = {n / 32, 16}};
    switch (code) {
    case QL_OP_ROPE:
        t->spec.rope = (ql_rope_spec){32, t->freq, 0, 1};
        t->op.spec = &t->spec.rope;
        break;
    case QL_OP_ATTENTION_KEPT:
        for (int i = 0; i < 8; i++)
            t->pages[i / 4][i % 4] = 7 - i;
        t->paged[0] = t->pages[0];
        t->paged[1] = t->pages[1];
        t->kept.pages = t->paged;
        t->seqs.kept = &t->kept;
        /* fall through */
    case QL_OP_ATTENTION:
    case QL_OP_ATTENTION_BACK:
        t->lengths['h'] = 4;
        t->spec.attention = (ql_attention_spec){4, 2, 16, 0};
        t->op.spec = &t->spec.attention;
        t->op.n[0] = 64;
        t->op.n[1] = 32;
        break;
    case QL_OP_RANDOM:
    case QL_OP_DROPOUT:
        t->op.spec = t->key;
        break;
    case QL_OP_PACK:
        t->op.n[0] = n / 8;
        t->op.n[1] = 4;
        break;
    case QL_OP_ADAMW:
        t->spec.adamw = (ql_adamw_spec){1, 1e-3, 0.1, 0.9, 0.999, 1e-8, 1, NULL, NULL};
        t->op.spec = &t->spec.adamw;
        break;
    case QL_OP_GATHER:
        t->op.n[0] = t->lengths['r'];
        t->op.n[1] = t->lengths['c'];
        break;
    default:
        break;
    }
}

static int64_t
length(const trial *t, const char *dim)
{
    return *dim == '#' ? t->op.n[dim[1] - '0'] : t->lengths[(unsigned char)*dim % LETTERS];
}

static ql_dtype
any_of(kernel *k, unsigned dtypes)
{
    ql_dtype d;

    do
        d = (ql_dtype)k_int(k, QL_F32, QL_I64);
    while (!(dtypes & QL_BIT(d)));
    return d;
}

/* Values that suit whatever is done with them: positive where it is a vector, a triangle or a scale; indices are 0. */
static void
values(trial *t, ql_dtype d, int64_t rows, int64_t cols, double *x)
{
    const bool upper = t->op.code == QL_OP_SWEEP_FIT || t->op.code == QL_OP_SWEEP_GIVEN;
    const int64_t n = cols < 0 ? 1 : cols;

    for (int64_t i = 0; i < rows * n; i++) {
        const int64_t row = i / n, col = i % n;

        x[i] = d == QL_U8 || d == QL_I32 || d == QL_I64 ? 0 : 0.1 + test_uniform(&t->k->rng);
        if (rows == n)
            x[i] = row == col ? 2 : (upper ? row < col : row > col) ? 0.01 * x[i] : 0;
    }
}

static ql_tensor *
make(trial *t, const ql_operand *o)
{
    const char *second = strpbrk(o->shape, ",]");
    const bool any = *o->shape == '.';
    const int64_t rows = any ? t->lengths['m'] : length(t, o->shape);
    const int64_t cols = any ? t->lengths['n'] : *second == ',' ? length(t, second + 1) : -1;
    const bool grid = strncmp(o->dtype, "grid", 4) == 0; /* the weight arrives in the grid's arithmetic */
    const bool given = !t->op.t[0] && t->first != QL_DTYPE_NONE;
    const ql_dtype d = grid    ? (t->grid.fp64 ? QL_F64 : QL_F32)
                       : given ? t->first
                               : any_of(t->k, ql_operand_dtypes(&t->op, o));
    double *x = k_doubles(t->k, rows * (cols < 0 ? 1 : cols));
    ql_tensor *wide, *made;

    values(t, d, rows, cols, x);
    REQUIRE_OK(t->k->cx, ql_upload(t->k->cx, QL_F64, rows, cols, x, &wide));
    REQUIRE_OK(t->k->cx, ql_new(t->k->cx, d, rows, t->whole || cols < 0 ? cols : cols + 3, &made));
    if (!t->whole && cols >= 0)
        REQUIRE_OK(t->k->cx, ql_cols(t->k->cx, made, 1, cols, &made));
    REQUIRE_OK(t->k->cx, ql_copy(t->k->cx, wide, made));
    return made;
}

/* A record with all of its operands; of those that may be absent some are, and of zeros and levels there is one. */
static void
prepare(trial *t, kernel *k, ql_op_code code)
{
    const char *rule = ql_op_operands(code);
    const bool levels = k_int(k, 0, 1) != 0;
    ql_operand o;

    t->k = k;
    lengths(t);
    fill_in(t, code);
    for (int i = 0; ql_operand_next(&rule, &o); i++) {
        const bool left_out = strncmp(o.name, "scales", 6) == 0   ? false
                              : strncmp(o.name, "zeros", 5) == 0  ? levels
                              : strncmp(o.name, "levels", 6) == 0 ? !levels
                                                                  : k_int(k, 0, 1) != 0;

        if (o.dtype && !o.made && !(o.optional && left_out))
            t->op.t[i] = make(t, &o);
    }
    for (int i = 2; code == QL_OP_RESTING && ql_dtype_of(t->op.t[1]) != QL_U8 && i < 6; i++)
        t->op.t[i] = NULL; /* numbers have no scales */
    if (code == QL_OP_GATHER) {
        t->op.n[0] = ql_dim(t->op.t[t->op.t[1] ? 1 : 0], 0);
        t->op.n[1] = t->op.t[2] ? ql_dim(t->op.t[2], 0) : ql_dim(t->op.t[0], 1);
    }
}

/* --- what a backend keeps to --- */

static void
check_scratch(const trial *t, const ql_device *plans, const ql_device *d)
{
    const ql_op_row *row = plans->ops[t->op.code];
    const double taken = (double)(d->mark - d->used),
                 plan = row->scratch ? (double)row->scratch(plans->dev, &t->op) : 0;

    if (fabs(plan - taken) > 0.1 * taken + 16384)
        TEST_FAIL("%s took %.0f bytes of scratch, plans are told %.0f", ql_op_name(t->op.code), taken, plan);
}

static void
runs(kernel *k, ql_op_code code, ql_dtype first, bool whole)
{
    const char *rule = ql_op_operands(code), *at = rule;
    double *before[QL_OPERANDS] = {0};
    ql_device *d = k->cx->device;
    trial t = {.first = first, .whole = whole};
    ql_tensor *lent;
    ql_operand o;
    ql_status st;

    prepare(&t, k, code);
    for (int i = 0; ql_operand_next(&at, &o); i++)
        if (!o.written && t.op.t[i]) {
            before[i] = k_get(k, t.op.t[i]);
            REQUIRE_OK(k->cx, ql_tensor_lend(k->cx, t.op.t[i], &lent));
            t.op.t[i] = lent;
        }
    d->mark = d->used;
    st = ql_op_run(k->cx, &t.op);
    if (st == QL_UNSUPPORTED) {
        ql_error_clear(k->cx);
        return;
    }
    REQUIRE_OK(k->cx, st);
    check_scratch(&t, d, d);
    at = rule;
    for (int i = 0; ql_operand_next(&at, &o); i++)
        if (t.op.t[i] && !before[i])
            k_get(k, t.op.t[i]); /* into the hash: the same bytes with any number of threads */
        else if (t.op.t[i] && memcmp(before[i], k_get(k, t.op.t[i]), (size_t)ql_count(t.op.t[i]) * sizeof(double)) != 0)
            TEST_FAIL("%s wrote to operand %d, which it only reads", ql_op_name(code), i);
}

/* --- what the host refuses --- */

static void
refused(kernel *k, ql_op op, int i, const ql_tensor *instead, const char *text)
{
    const ql_status st = (op.t[i] = instead, ql_op_begin(k->cx, &op));

    if (st != QL_INVALID || !strstr(ql_error(k->cx), text))
        TEST_FAIL("%s, operand %d: got '%s', expected '%s'", ql_op_name(op.code), i, ql_error(k->cx), text);
    ql_error_clear(k->cx);
}

static bool
alike(const ql_tensor *a, const ql_tensor *b)
{
    return a && b && ql_dtype_of(a) == ql_dtype_of(b) && ql_ndim(a) == ql_ndim(b) && ql_dim(a, 0) == ql_dim(b, 0) &&
           ql_dim(a, 1) == ql_dim(b, 1);
}

/* Lent, and shared with each other operand. */
static void
refuses_to_write(const trial *t, const ql_operand *o, int i)
{
    ql_tensor *lent;

    REQUIRE_OK(t->k->cx, ql_tensor_lend(t->k->cx, t->op.t[i], &lent));
    refused(t->k, t->op, i, lent, ": lent for reading only");
    for (int j = 0; j < QL_OPERANDS; j++)
        if (j != i && !(j == 0 && o->itself) && alike(t->op.t[i], t->op.t[j]))
            refused(t->k, t->op, i, t->op.t[j], " share memory");
}

static void
refuses(kernel *k, ql_op_code code)
{
    const char *rule = ql_op_operands(code);
    trial t = {0};
    ql_tensor *wrong;
    ql_operand o;

    prepare(&t, k, code);
    for (int i = 0; ql_operand_next(&rule, &o); i++) {
        if (!o.dtype || o.made || !t.op.t[i])
            continue;
        if (!o.optional)
            refused(k, t.op, i, NULL, ql_format(k->cx, "%.*s: missing", (int)(o.dtype - 1 - o.name), o.name));
        for (ql_dtype d = QL_F32; d <= QL_I64; d++)
            if (!(ql_operand_dtypes(&t.op, &o) & QL_BIT(d))) {
                REQUIRE_OK(k->cx, ql_new(k->cx, d, ql_dim(t.op.t[i], 0),
                                         ql_ndim(t.op.t[i]) == 2 ? ql_dim(t.op.t[i], 1) : -1, &wrong));
                refused(k, t.op, i, wrong, ql_format(k->cx, ": got %s [", ql_dtype_name(d)));
            }
        if (i > 0 || *o.shape != '.') {
            REQUIRE_OK(k->cx, ql_new_nd(k->cx, ql_dtype_of(t.op.t[i]), 3, (const int64_t[]){1, 1, 1}, &wrong));
            refused(k, t.op, i, wrong, " [1, 1, 1], expected ");
        }
        if (o.written)
            refuses_to_write(&t, &o, i);
    }
}

/* --- rehearsal --- */

/* Takes some time, and the same memory as the operation. */
static void
rehearses(kernel *k, ql_op_code code)
{
    ql_device *real = k->cx->device, *d;
    ql_scope scope;
    trial t = {0};
    double before;
    ql_status st;

    REQUIRE_OK(k->cx, ql_rehearsal_open(k->cx, real, 1e9, &d));
    k->cx->device = d;
    ql_scope_open(k->cx, &scope);
    prepare(&t, k, code);
    before = *d->clock;
    d->mark = d->used;
    st = ql_op_run(k->cx, &t.op);
    if (st == QL_OK) {
        CHECK(*d->clock > before && isfinite(*d->clock));
        check_scratch(&t, real, d);
    }
    CHECK(st == QL_OK || st == QL_UNSUPPORTED);
    ql_error_clear(k->cx);
    ql_scope_close(k->cx, &scope);
    k->cx->device = real;
    ql_device_close(d);
}

/* With every dtype that the first operand may have, with and without gaps between rows. */
static void
runs_on_all(kernel *k, ql_op_code code)
{
    const char *rule = ql_op_operands(code);
    ql_operand first;

    (void)ql_operand_next(&rule, &first);
    for (ql_dtype d = QL_F32; d <= QL_I64; d++)
        for (int whole = 0; whole < 2; whole++)
            if (strncmp(first.dtype, "grid", 4) == 0 ? d == QL_F32 : ql_operand_dtypes(&(ql_op){0}, &first) & QL_BIT(d))
                runs(k, code, d, whole != 0);
}

static void
rules(kernel *k)
{
    for (int code = QL_OP_NONE + 1; code < QL_OP_CODES; code++) {
        ql_scope scope;

        ql_scope_open(k->cx, &scope);
        CHECK(k->cx->device->ops[code] != NULL);
        runs_on_all(k, (ql_op_code)code);
        refuses(k, (ql_op_code)code);
        rehearses(k, (ql_op_code)code);
        ql_scope_close(k->cx, &scope);
    }
}

static const kernel_case cases[] = {{"rules", rules}};

int
main(void)
{
    return k_main(cases, sizeof cases / sizeof *cases, 1);
}
