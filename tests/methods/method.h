/* Calls of quantizer and compensator plugins by themselves: one linear with random weight and inputs, and around it as much of a
 * walk as a method sees: a stage to quantize with, its own result, its statistics. */
#ifndef QLOOM_TESTS_METHODS_METHOD_H
#define QLOOM_TESTS_METHODS_METHOD_H

#include <qloom/lowrank.h>

#include "core/plugin/registry.h"
#include "core/walk/walk.h"
#include "plain.h"

typedef struct lab {
    ql_ctx cx;
    ql_scope scope;
    ql_log sink;
    char log[4096]; /* warnings since the last lab_begin */
    ql_registry *registry;
    uint64_t rng;
    ql_walk walk; /* of one linear */
    ql_model_handle model;
    ql_linear_info linear;
    ql_stream stream;
    ql_variant original, variant;
    ql_linear_state state;
    ql_gathered gathered, *slot;
} lab;

static void
lab_write(void *user, ql_log_level level, const char *line)
{
    lab *l = user;

    if (level <= QL_LOG_WARN && strlen(l->log) + strlen(line) + 2 < sizeof l->log)
        strcat(strcat(l->log, line), "\n");
}

static inline void
lab_open(lab *l)
{
    const char *build = getenv("QLOOM_BUILD");
    char path[4096];
    const ql_found *cpu;

    memset(l, 0, sizeof *l);
    l->rng = test_seed();
    l->sink = (ql_log){.write = lab_write, .user = l};
    ql_ctx_init(&l->cx, &l->sink);
    snprintf(path, sizeof path, "%s/lib/qloom", build ? build : "build/release");
    REQUIRE_OK(&l->cx, ql_registry_open(&l->cx, path, &l->registry));
    cpu = ql_registry_find(l->registry, "cpu");
    if (!cpu || !cpu->plugin)
        abort();
    REQUIRE_OK(&l->cx,
               ql_device_open(&l->cx, cpu->plugin->backend, &(ql_device_options){.threads = 1}, 0, &l->cx.device));
    l->slot = &l->gathered;
    l->stream.gathered = &l->slot;
    l->model.info = (ql_model_info){.subsets = 1, .linear_count = 1, .linears = &l->linear};
    l->walk = (ql_walk){.cx = &l->cx, .model = &l->model};
    l->variant = (ql_variant){.parent = &l->original, .calib = &l->stream, .linears = &l->state};
    l->cx.walk = &l->walk;
}

static inline int
lab_close(lab *l)
{
    CHECK_INT((int64_t)l->cx.device->used, 0);
    ql_device_close(l->cx.device);
    ql_ctx_fini(&l->cx);
    ql_registry_close(l->registry);
    return TEST_DONE();
}

/* Everything that a case makes dies with lab_end. */
static inline void
lab_begin(lab *l)
{
    l->log[0] = 0;
    ql_scope_open(&l->cx, &l->scope);
}

static inline void
lab_end(lab *l)
{
    ql_scope_close(&l->cx, &l->scope);
}

static inline int64_t
lab_int(lab *l, int64_t lo, int64_t hi)
{
    return lo + (int64_t)(test_u64(&l->rng) % (uint64_t)(hi - lo + 1));
}

static inline double *
lab_doubles(lab *l, int64_t count)
{
    double *x = ql_alloc(&l->cx, (size_t)(count > 0 ? count : 1), sizeof *x);

    if (!x)
        abort();
    return x;
}

/* A copy of x that dies with the case; x is freed. */
static inline double *
lab_keep(lab *l, double *x, int64_t count)
{
    double *kept = memcpy(lab_doubles(l, count), x, (size_t)count * sizeof *x);

    free(x);
    return kept;
}

/* f32 on the device with the values of x, which become those that it holds. */
static inline ql_tensor *
lab_put(lab *l, int64_t rows, int64_t cols, double *x)
{
    const int64_t count = rows * (cols < 0 ? 1 : cols);
    ql_tensor *wide, *t;

    for (int64_t i = 0; i < count; i++)
        x[i] = (double)(float)x[i];
    REQUIRE_OK(&l->cx, ql_upload(&l->cx, QL_F64, rows, cols, x, &wide));
    REQUIRE_OK(&l->cx, ql_convert(&l->cx, wide, QL_F32, &t));
    return t;
}

static inline double *
lab_get(lab *l, const ql_tensor *t)
{
    double *x = lab_doubles(l, ql_count(t)), *p;
    ql_tensor *wide;

    REQUIRE_OK(&l->cx, ql_convert(&l->cx, t, QL_F64, &wide));
    REQUIRE_OK(&l->cx, ql_map(&l->cx, wide, QL_READ, &p));
    memcpy(x, p, (size_t)ql_count(t) * sizeof *x);
    REQUIRE_OK(&l->cx, ql_unmap(&l->cx, wide));
    return x;
}

/* --- a linear --- */

typedef struct problem {
    int64_t m, n, tokens;
    double *x, *w, *h; /* inputs [tokens, n], weight [m, n], sum of x^T x [n, n]: as the device holds the last two */
    ql_tensor *tw;
    ql_stats stats;
} problem;

/* Statistics of the problem's x. */
static inline void
problem_stats(lab *l, problem *p)
{
    const int64_t n = p->n;
    double *mean = lab_doubles(l, n);

    p->h = lab_doubles(l, n * n);
    plain_gram(p->tokens, n, p->x, p->h);
    for (int64_t i = 0; i < p->tokens * n; i++)
        mean[i % n] += fabs(p->x[i]) / (double)p->tokens;
    p->stats = (ql_stats){.h = lab_put(l, n, n, p->h),
                          .abs_mean = lab_put(l, n, -1, mean),
                          .abs_max = lab_put(l, n, -1, mean),
                          .tokens = p->tokens,
                          .sequences = 1};
}

/* Correlated inputs with a few strong channels; normal weights. */
static inline problem
problem_make(lab *l, int64_t m, int64_t n, int64_t tokens)
{
    problem p = {.m = m, .n = n, .tokens = tokens, .x = lab_doubles(l, tokens * n), .w = lab_doubles(l, m * n)};

    for (int64_t i = 0; i < tokens * n; i++)
        p.x[i] = test_normal(&l->rng) * (i % n % 11 == 3 ? 4 : 1) + (i % n ? 0.8 * p.x[i - 1] : 0);
    for (int64_t i = 0; i < m * n; i++)
        p.w[i] = test_normal(&l->rng);
    p.tw = lab_put(l, m, n, p.w);
    problem_stats(l, &p);
    return p;
}

/* --- plugins --- */

/* The parameters of a plugin: its defaults, then "name=value" words of `settings`. */
static inline ql_node
lab_node(lab *l, const char *name, const char *settings)
{
    const ql_found *found = ql_registry_find(l->registry, name);
    const ql_plugin *plugin = found ? found->plugin : NULL;
    char text[512], *rest = text, *word;
    void *self;

    if (!plugin) {
        fprintf(stderr, "no plugin %s\n", name);
        exit(1);
    }
    self = ql_alloc(&l->cx, 1, plugin->self_size ? plugin->self_size : 1);
    if (!self)
        abort();
    ql_param_defaults(plugin, self);
    snprintf(text, sizeof text, "%s", settings);
    while ((word = strtok_r(rest, " ", &rest))) {
        char *value = strchr(word, '=');
        const ql_param *row;

        *value++ = 0;
        row = ql_param_find(plugin, word);
        if (!row) {
            fprintf(stderr, "%s has no parameter %s\n", name, word);
            exit(1);
        }
        REQUIRE_OK(&l->cx, ql_param_set(&l->cx, row, &(ql_value){.text = value}, NULL, self));
    }
    return (ql_node){.name = name, .plugin = plugin, .self = self};
}

/* Quantizes with `name`, driving `base` where it has one (NULL: gptq). */
static inline ql_status
lab_try_quantize(lab *l, const problem *p, const char *name, const char *settings, ql_node *base, ql_qlinear *q)
{
    ql_node node = lab_node(l, name, settings), gptq = lab_node(l, "gptq", "");
    const ql_input input = {.port = "base", .type = QL_EDGE_QUANTIZER, .from = base ? base : &gptq};

    if (node.plugin->ports) {
        node.inputs = &input;
        node.input_count = 1;
    }
    l->walk.weight = p->tw;
    return ql_quantize(&l->cx, &(ql_stage){.node = &node}, p->tw, &p->stats, q);
}

static inline double *
lab_decode(lab *l, const ql_qlinear *q)
{
    ql_tensor *t;

    REQUIRE_OK(&l->cx, ql_group_decode(&l->cx, q, &t));
    return lab_get(l, t);
}

/* The same where it must succeed; returns W^. */
static inline double *
lab_quantize(lab *l, const problem *p, const char *name, const char *settings, ql_qlinear *q)
{
    REQUIRE_OK(&l->cx, lab_try_quantize(l, p, name, settings, NULL, q));
    return lab_decode(l, q);
}

typedef struct compensated {
    double *what, *ba, *left; /* W^, B A (zeros without adapter), W - W^ - B A; all [m, n] */
    ql_adapter adapter;
} compensated;

/* Runs compensator `name` after quantizer `base`, both with settings. */
static inline compensated
lab_compensate(lab *l, const problem *p, const char *name, const char *settings, const ql_node *base)
{
    const ql_node node = lab_node(l, name, settings);
    const ql_compensator *c = node.plugin->compensator;
    ql_stage stage = {.node = base};
    ql_compensate_in in = {.w = p->tw, .stats = &p->stats, .quantizer = &stage};
    compensated out = {.adapter = {.k = -1}};
    ql_tensor *what;

    l->variant.stage = base;
    l->gathered.stats = p->stats;
    l->walk.weight = p->tw;
    REQUIRE_OK(&l->cx, ql_quantize(&l->cx, &stage, p->tw, &p->stats, &l->state.q));
    stage.variant = &l->variant; /* from here its result is known */
    REQUIRE_OK(&l->cx, ql_group_decode(&l->cx, &l->state.q, &what));
    REQUIRE_OK(&l->cx, ql_convert(&l->cx, what, QL_F32, &what));
    in.what = what;
    REQUIRE_OK(&l->cx, c->compensate(&l->cx, node.self, &in, &out.adapter));
    out.what = lab_decode(l, c->couples ? &out.adapter.qlinear : &l->state.q);
    out.ba = lab_doubles(l, p->m * p->n);
    if (out.adapter.b) {
        CHECK_INT(ql_dim(out.adapter.b, 0), p->m);
        CHECK_INT(ql_dim(out.adapter.a, 1), p->n);
        plain_gemm(QL_NN, (const int64_t[]){p->m, p->n, ql_dim(out.adapter.a, 0)}, 1, lab_get(l, out.adapter.b),
                   lab_get(l, out.adapter.a), 0, out.ba);
    }
    out.left = lab_doubles(l, p->m * p->n);
    for (int64_t i = 0; i < p->m * p->n; i++)
        out.left[i] = p->w[i] - out.what[i] - out.ba[i];
    return out;
}

/* ||x - y|| / (||y|| + tiny) */
static inline double
lab_distance(const double *x, const double *y, int64_t count)
{
    double part = 0, whole = 0;

    for (int64_t i = 0; i < count; i++) {
        part += (x[i] - y[i]) * (x[i] - y[i]);
        whole += y[i] * y[i];
    }
    return sqrt(part / (whole + 1e-300));
}

#endif
