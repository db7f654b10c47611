/* The contract of plugins, second part: methods on tiny random layers of awkward shapes. Their results have to be complete, finite and
 * the same twice, and a failed allocation at any place has to come back as an error that leaves nothing behind. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <qloom/evaluator.h>

#include "device/guard.h"
#include "results/facts.h"
#include "contract.h"
#include "layer.h"

#define FAULTS_MOST 4000 /* allocations of one call that are made to fail, one after the other */

static const ql_shape shapes[] = {{1, 1}, {3, 5}, {2, 33}, {33, 17}, {16, 64}};

typedef struct setting {
    const char *name, *value;
} setting;

/* Parameters that a method may have, in combinations that users ask for; group sizes that don't divide the columns among them. */
static const setting settings[][4] = {
    {{NULL, NULL}},
    {{"bits", "2"}, {"group_size", "16"}, {"sym", "false"}, {"rank", "1"}},
    {{"bits", "3"}, {"group_size", "-1"}, {"sym", "true"}, {"rank", "64"}},
    {{"bits", "8"}, {"group_size", "7"}, {"sym", "false"}, {"rank", "0"}},
};

typedef struct method { /* one plugin with filled parameters on one layer */
    const ql_plugin *plugin;
    const void *self;
    const ql_layer *layer;
    char name[96]; /* of the case, for texts */
} method;

typedef struct outcome {
    ql_qlinear q;
    ql_adapter adapter;
    double metrics; /* sum of an evaluator's numbers */
} outcome;

/* --- one call -------------------------------------------------------------------------------------------------------- */

static unsigned
needs_of(const ql_plugin *p, const void *self)
{
    if (p->kind == QL_COMPENSATOR)
        return p->compensator->needs_of ? p->compensator->needs_of(self) : p->compensator->needs;
    return p->kind == QL_QUANTIZER ? p->quantizer->needs : p->evaluator->needs;
}

static ql_status
measure(ql_ctx *cx, const method *m, outcome *out)
{
    const ql_layer *l = m->layer;
    ql_facts facts = {.count = 0};
    const ql_linear_result in = {.name = "contract",
                                 .w = l->w,
                                 .file_dtype = QL_F32,
                                 .what = l->what,
                                 .stats = &l->stats,
                                 .qlinear = &l->rounded,
                                 .k = -1};
    const ql_status st = m->plugin->evaluator->linear(cx, m->self, &in, &facts);

    for (int64_t i = 0; i < facts.count; i++) {
        const ql_fact_row *row = &facts.rows[i];

        out->metrics += row->value;
        for (int64_t k = 0; k < row->count; k++)
            out->metrics += row->values[k];
    }
    ql_facts_fini(&facts);
    return st;
}

static ql_status
call_plugin(ql_ctx *cx, const method *m, outcome *out)
{
    const ql_layer *l = m->layer;
    const ql_stats *stats = needs_of(m->plugin, m->self) & QL_NEEDS_STATS ? &l->stats : NULL;
    const ql_compensate_in in = {.w = l->w, .what = l->what, .stats = stats};

    *out = (outcome){.adapter.k = -1};
    if (m->plugin->kind == QL_QUANTIZER)
        return m->plugin->quantizer->quantize(cx, m->self, l->w, stats, &out->q);
    if (m->plugin->kind == QL_EVALUATOR)
        return measure(cx, m, out);
    return m->plugin->compensator->compensate(cx, m->self, &in, &out->adapter);
}

/* One call, of which is known whose it is when it ends the program. */
static ql_status
call(ql_ctx *cx, const method *m, outcome *out)
{
    const ql_layer *l = m->layer;
    const ql_lent lent[] = {{"parameters", m->self, m->plugin->self_size},
                            {"statistics", &l->stats, sizeof l->stats},
                            {"qlinear", &l->rounded, sizeof l->rounded},
                            {0}};
    ql_guard guard;
    ql_site before;
    ql_status st;

    QL_TRY(cx, ql_guard_open(cx, true, lent, &guard));
    before = ql_enter_plugin(cx, m->plugin->name);
    st = ql_guard_close(cx, &guard, call_plugin(cx, m, out));
    ql_leave(cx, before);
    return st;
}

/* --- results --------------------------------------------------------------------------------------------------------- */

typedef struct part { /* a tensor of an outcome, and what it has to be */
    const char *name;
    const ql_tensor *t;
    ql_dtype dtype;
    int64_t rows, columns; /* columns -1: a vector */
    bool optional;
} part;

#define PARTS 7

/* Every tensor that a method may leave. */
static void
parts_of(const method *m, const outcome *o, part out[PARTS])
{
    const ql_qlinear *q = &o->q;
    const bool quantizes = m->plugin->kind == QL_QUANTIZER;
    const int64_t rows = ql_dim(m->layer->w, 0), columns = ql_dim(m->layer->w, 1);
    const int64_t groups = q->grid.group > 0 ? (columns + q->grid.group - 1) / q->grid.group : 0;
    const ql_tensor *b = quantizes ? q->b : o->adapter.b, *a = quantizes ? q->a : o->adapter.a;
    const part parts[PARTS] = {
        {"codes", q->codes, QL_U8, rows, columns, !quantizes},
        {"scales", q->scales, QL_F32, rows, groups, !quantizes},
        {"zeros", q->zeros, QL_F32, rows, groups, !quantizes || q->levels},
        {"levels", q->levels, QL_F32, (int64_t)1 << q->grid.bits, -1, true},
        {"g_idx", q->g_idx, QL_I32, columns, -1, true},
        {"B of the adapter", b, QL_F32, rows, b ? ql_dim(b, -1) : 0, !a},
        {"A of the adapter", a, QL_F32, b ? ql_dim(b, -1) : 0, columns, !b},
    };

    memcpy(out, parts, sizeof parts);
}

static ql_status
expect_part(ql_ctx *cx, const part *p)
{
    const ql_tensor *t = p->t;
    int64_t bad = -1;

    if (!t)
        return p->optional ? QL_OK : QL_FAIL(cx, QL_BUG, "%s is missing", p->name);
    if (ql_dtype_of(t) != p->dtype || ql_dim(t, 0) != p->rows ||
        (p->columns < 0 ? ql_ndim(t) != 1 : ql_dim(t, -1) != p->columns))
        return QL_FAIL(cx, QL_BUG, "%s is %s [%lld, %lld], expected %s [%lld, %lld]", p->name,
                       ql_dtype_name(ql_dtype_of(t)), (long long)ql_dim(t, 0), (long long)ql_dim(t, -1),
                       ql_dtype_name(p->dtype), (long long)p->rows, (long long)p->columns);
    if (p->dtype == QL_F32)
        QL_TRY(cx, ql_nonfinite(cx, t, &bad));
    return bad < 0 ? QL_OK : QL_FAIL(cx, QL_BUG, "%s is not finite at element %lld", p->name, (long long)bad);
}

static ql_status
expect_codes(ql_ctx *cx, const ql_qlinear *q)
{
    const uint8_t *codes;
    const int64_t n = ql_count(q->codes);
    int64_t i = 0;

    QL_TRY(cx, ql_map(cx, q->codes, QL_READ, &codes));
    while (i < n && codes[i] < 1u << q->grid.bits)
        i++;
    if (i < n)
        (void)QL_FAIL(cx, QL_BUG, "code %lld is %d, expected less than %d", (long long)i, codes[i], 1 << q->grid.bits);
    QL_TRY(cx, ql_unmap(cx, q->codes));
    return i < n ? QL_BUG : QL_OK;
}

/* Scales hold values of their dtype, so that an export changes no number. */
static ql_status
expect_rounded(ql_ctx *cx, const ql_tensor *t, const char *name, ql_dtype dtype)
{
    ql_tensor *narrow, *wide;
    double difference;

    QL_TRY(cx, ql_convert(cx, t, dtype, &narrow));
    QL_TRY(cx, ql_convert(cx, narrow, QL_F32, &wide));
    QL_TRY(cx, ql_axpby(cx, -1, t, 1, wide));
    QL_TRY(cx, ql_dot(cx, wide, wide, &difference));
    return difference == 0 ? QL_OK : QL_FAIL(cx, QL_BUG, "%s are not rounded to %s", name, ql_dtype_name(dtype));
}

/* What the grid says of scales and zeros holds: costs are counted from it. */
static ql_status
expect_declared(ql_ctx *cx, const ql_tensor *t, const char *name, bool (*fits)(const ql_grid *g, float x),
                const ql_grid *g)
{
    const float *x;
    const int64_t n = ql_count(t);
    int64_t i = 0;

    QL_TRY(cx, ql_map(cx, t, QL_READ, &x));
    while (i < n && fits(g, x[i]))
        i++;
    if (i < n)
        (void)QL_FAIL(cx, QL_BUG, "%s: element %lld is %g, which the grid does not tell: see exponents and free_zeros",
                      name, (long long)i, (double)x[i]);
    QL_TRY(cx, ql_unmap(cx, t));
    return i < n ? QL_BUG : QL_OK;
}

static bool
is_power_of_two(const ql_grid *g, float x)
{
    int exponent;

    (void)g;
    return fabsf(frexpf(x, &exponent)) == 0.5f;
}

static bool
is_code(const ql_grid *g, float x)
{
    return x >= 0 && x < (float)(1 << g->bits) && x == floorf(x);
}

static ql_status
expect_qlinear(ql_ctx *cx, const method *m, const ql_qlinear *q)
{
    const ql_grid *g = &q->grid;
    part decoded = {.name = "the decoded weight", .dtype = QL_F32, .rows = ql_dim(m->layer->w, 0)};
    ql_tensor *what;

    QL_TRY(cx, expect_codes(cx, q));
    QL_TRY(cx, expect_rounded(cx, q->scales, "scales", g->scale_dtype));
    if (g->exponents)
        QL_TRY(cx, expect_declared(cx, q->scales, "scales", is_power_of_two, g));
    if (q->zeros && !g->free_zeros)
        QL_TRY(cx, expect_declared(cx, q->zeros, "zeros", is_code, g));
    if ((m->plugin->quantizer->yields & QL_YIELDS_ADAPTER) == 0 && (q->b || q->a))
        return QL_FAIL(cx, QL_BUG, "an adapter without QL_YIELDS_ADAPTER in `yields`");
    QL_TRY(cx, ql_group_decode(cx, q, &what));
    decoded.t = what;
    decoded.columns = ql_dim(m->layer->w, 1);
    return expect_part(cx, &decoded);
}

/* What the quantizer says of itself before anything runs is what it makes. */
static ql_status
expect_described(ql_ctx *cx, const method *m, const ql_grid *grid)
{
    const ql_grid told = ql_describe(m->plugin, m->self, ql_dim(m->layer->w, 1)).grid;

    if ((told.bits && told.bits != grid->bits) || (told.group && told.group != grid->group))
        return QL_FAIL(cx, QL_BUG, "`describe` says %d bits in groups of %lld, the result has %d in groups of %lld",
                       told.bits, (long long)told.group, grid->bits, (long long)grid->group);
    if (told.scale_dtype && told.scale_dtype != grid->scale_dtype)
        return QL_FAIL(cx, QL_BUG, "`describe` says scales of %s, the result has %s", ql_dtype_name(told.scale_dtype),
                       ql_dtype_name(grid->scale_dtype));
    return QL_OK;
}

static ql_status
expect_outcome(ql_ctx *cx, const method *m, const outcome *o)
{
    const ql_grid *g = &o->q.grid;
    const int told = ql_describe(m->plugin, m->self, ql_dim(m->layer->w, 1)).rank;
    const int most = told < 0 ? INT32_MAX : told;
    part parts[PARTS];

    if (m->plugin->kind == QL_EVALUATOR)
        return isfinite(o->metrics) ? QL_OK : QL_FAIL(cx, QL_BUG, "a metric is not finite");
    if (m->plugin->kind == QL_QUANTIZER && (g->bits < 2 || g->bits > 8 || g->group < 1))
        return QL_FAIL(cx, QL_BUG, "grid: %d bits in groups of %lld, expected 2 to 8 bits in groups of 1 or more",
                       g->bits, (long long)g->group);
    parts_of(m, o, parts);
    for (int i = 0; i < PARTS; i++)
        QL_TRY(cx, expect_part(cx, &parts[i]));
    if (parts[PARTS - 1].t && parts[PARTS - 1].rows > most)
        return QL_FAIL(cx, QL_BUG, "the adapter has rank %lld, asked for %d", (long long)parts[PARTS - 1].rows, most);
    if (m->plugin->kind != QL_QUANTIZER)
        return QL_OK;
    QL_TRY(cx, expect_qlinear(cx, m, &o->q));
    return expect_described(cx, m, g);
}

static ql_status
expect_same_bits(ql_ctx *cx, const ql_tensor *a, const ql_tensor *b, const char *name)
{
    const void *x, *y;
    int different;

    if (!a && !b)
        return QL_OK;
    if (!a || !b || ql_count(a) != ql_count(b))
        return QL_FAIL(cx, QL_BUG, "%s of two runs differ in shape", name);
    QL_TRY(cx, ql_map(cx, a, QL_READ, &x));
    QL_TRY(cx, ql_map(cx, b, QL_READ, &y));
    different = memcmp(x, y, (size_t)ql_count(a) * ql_dtype_size(ql_dtype_of(a)));
    QL_TRY(cx, ql_unmap(cx, b));
    QL_TRY(cx, ql_unmap(cx, a));
    return different ? QL_FAIL(cx, QL_BUG, "%s of two runs differ", name) : QL_OK;
}

static ql_status
expect_same(ql_ctx *cx, const method *m, const outcome *a, const outcome *b)
{
    part first[PARTS], second[PARTS];

    parts_of(m, a, first);
    parts_of(m, b, second);
    for (int i = 0; i < PARTS; i++)
        QL_TRY(cx, expect_same_bits(cx, first[i].t, second[i].t, first[i].name));
    return memcmp(&a->metrics, &b->metrics, sizeof a->metrics) == 0 ? QL_OK
                                                                    : QL_FAIL(cx, QL_BUG, "metrics of two runs differ");
}

/* --- checks ---------------------------------------------------------------------------------------------------------- */

static ql_status
run_twice(ql_ctx *cx, const method *m)
{
    outcome first, second;

    QL_TRY(cx, call(cx, m, &first));
    QL_TRY(cx, expect_outcome(cx, m, &first));
    QL_TRY(cx, call(cx, m, &second));
    return expect_same(cx, m, &first, &second);
}

/* Makes allocation 1, 2, … of a call fail until a call needs fewer. */
static ql_status
run_with_faults(ql_ctx *cx, const method *m, int64_t *count)
{
    for (*count = 1; *count <= FAULTS_MOST; ++*count) {
        const size_t used = cx->device->used;
        outcome o;
        ql_scope scope;
        ql_status st;
        bool struck;

        ql_scope_open(cx, &scope);
        cx->fail_alloc = *count;
        st = call(cx, m, &o);
        struck = cx->fail_alloc == 0;
        cx->fail_alloc = 0;
        ql_scope_close(cx, &scope);
        if (!struck)
            return st;
        if (st != QL_MEMORY)
            return QL_FAIL(cx, QL_BUG, "allocation %lld failed, the method returned \"%s\", expected \"%s\"",
                           (long long)*count, ql_status_text(st), ql_status_text(QL_MEMORY));
        if (cx->device->used != used)
            return QL_FAIL(cx, QL_BUG, "allocation %lld failed, %lld bytes stayed behind on the device",
                           (long long)*count, (long long)cx->device->used - (long long)used);
    }
    return QL_OK;
}

/* Defaults, then row `which` of the settings as far as the plugin has such parameters. *fits: they are legal together. */
static ql_status
fill_self(ql_ctx *cx, const ql_plugin *p, size_t which, void *self, bool *fits)
{
    ql_param_defaults(p, self);
    *fits = true;
    for (int i = 0; i < 4 && settings[which][i].name; i++) {
        const ql_param *row = ql_param_find(p, settings[which][i].name);

        if (row && ql_param_set(cx, row, &(ql_value){.text = settings[which][i].value}, NULL, self) == QL_MEMORY)
            return QL_MEMORY;
    }
    if (p->check && p->check(cx, self) != QL_OK)
        *fits = false;
    ql_error_clear(cx);
    return QL_OK;
}

/* Setting `which` on a layer of that shape, both the caller's memory; m->self NULL: not legal together. */
static ql_status
prepare(ql_ctx *cx, const ql_plugin *p, size_t which, const ql_shape *s, void *self, ql_layer *l, method *m)
{
    bool fits;

    *m = (method){.plugin = p, .layer = l};
    QL_TRY(cx, fill_self(cx, p, which, self, &fits));
    if (!fits)
        return QL_OK;
    m->self = self;
    return ql_layer_make(cx, s, (needs_of(p, self) & QL_RAW_DTYPE) != 0, l);
}

/* "33 x 17, bits 2 group_size 16" */
static void
name_case(method *m, const ql_shape *s, size_t which)
{
    size_t n = (size_t)snprintf(m->name, sizeof m->name, "%lld x %lld", (long long)s->rows, (long long)s->columns);

    for (int i = 0; i < 4 && settings[which][i].name && n < sizeof m->name; i++)
        if (ql_param_find(m->plugin, settings[which][i].name))
            n += (size_t)snprintf(m->name + n, sizeof m->name - n, "%s %s %s", i ? "" : ",", settings[which][i].name,
                                  settings[which][i].value);
}

/* Every shape in every setting, twice. False: one failed and was reported. */
static ql_status
check_cases(ql_ctx *cx, const ql_plugin *p, void *self, ql_contract *c, bool *good)
{
    const size_t shape_count = sizeof shapes / sizeof *shapes, setting_count = sizeof settings / sizeof *settings;
    int64_t runs = 0;

    *good = true;
    for (size_t i = 0; i < shape_count * setting_count && *good; i++) {
        const ql_shape *s = &shapes[i / setting_count];
        ql_layer l;
        method m;
        ql_scope scope;
        ql_status st;

        ql_scope_open(cx, &scope);
        st = prepare(cx, p, i % setting_count, s, self, &l, &m);
        if (st == QL_OK && m.self) {
            name_case(&m, s, i % setting_count);
            runs++;
            if (run_twice(cx, &m) != QL_OK) {
                ql_contract_report(cx, c, QL_FAILED, "runs: %s: %s", m.name, ql_error(cx));
                *good = false;
            }
        }
        ql_scope_close(cx, &scope);
        QL_TRY(cx, st);
    }
    if (*good)
        ql_contract_report(cx, c, QL_PASSED,
                           "runs: %lld random layers, down to 1 x 1, complete, finite and the same bits twice",
                           (long long)runs);
    return QL_OK;
}

static ql_status
check_faults(ql_ctx *cx, const ql_plugin *p, void *self, ql_contract *c)
{
    int64_t count = 0;
    ql_layer l;
    method m;

    QL_TRY(cx, prepare(cx, p, 0, &shapes[3], self, &l, &m));
    if (run_with_faults(cx, &m, &count) != QL_OK)
        ql_contract_report(cx, c, QL_FAILED, "errors: %s", ql_error(cx));
    else
        ql_contract_report(cx, c, QL_PASSED, "errors: each of %lld allocations may fail, and nothing is left behind",
                           (long long)count - 1);
    return QL_OK;
}

static ql_status
check_host_bytes(ql_ctx *cx, const ql_plugin *p, void *self, ql_contract *c)
{
    const ql_device *d = cx->device;
    uint64_t before;
    outcome o;
    ql_layer l;
    method m;

    QL_TRY(cx, prepare(cx, p, 0, &shapes[4], self, &l, &m));
    before = d->up + d->down;
    QL_TRY(cx, call(cx, &m, &o));
    ql_contract_report(cx, c, QL_PASSED,
                       "transfers: %llu bytes between host and device for a 16 x 64 layer (0 is best, not required)",
                       (unsigned long long)(d->up + d->down - before));
    return QL_OK;
}

ql_status
ql_contract_run_method(ql_ctx *cx, const ql_plugin *p, ql_contract *c)
{
    void *self = ql_alloc(cx, 1, p->self_size);
    bool good;

    if (!self)
        return QL_MEMORY;
    QL_TRY(cx, check_cases(cx, p, self, c, &good));
    if (!good)
        return QL_OK;
    QL_TRY(cx, check_faults(cx, p, self, c));
    return check_host_bytes(cx, p, self, c);
}
