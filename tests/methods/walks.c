/* The methods inside real walks, on a model with random weights: an evaluator of this test sees each linear of each cell and checks it
 * in double, against the statistics of the stream that the cell names. */
#include <qloom/evaluator.h>

#include "make_model.h"
#include "plain.h"
#include "walk/walk.h"

#define RANK 4

typedef struct watched { /* what the evaluator is told by its stage's parameters */
    int rank, share;
} watched;

static const ql_param params[] = {
    QL_NUM(watched, rank, RANK, 0, 100, "of the adapter"),
    QL_NUM(watched, share, 0, 0, 1, "must the adapter leave exactly the tail energy?"),
    QL_PARAMS_END,
};

static double *
values(ql_ctx *cx, const ql_tensor *t)
{
    double *x = plain_array(ql_count(t)), *p;
    ql_scope scope;
    ql_tensor *wide;

    ql_scope_open(cx, &scope);
    REQUIRE_OK(cx, ql_convert(cx, t, QL_F64, &wide));
    REQUIRE_OK(cx, ql_map(cx, wide, QL_READ, &p));
    memcpy(x, p, (size_t)ql_count(t) * sizeof *x);
    REQUIRE_OK(cx, ql_unmap(cx, wide));
    ql_scope_close(cx, &scope);
    return x;
}

static ql_status
watch(ql_ctx *cx, const void *self, const ql_linear_result *in, ql_facts *out)
{
    const watched *p = self;
    const int64_t m = ql_dim(in->w, 0), n = ql_dim(in->w, 1), count = m * n;
    double *w = values(cx, in->w), *what = values(cx, in->what), *h = values(cx, in->stats->h);
    double *e = plain_minus(w, what, count), *rest = plain_copy(e, count), whole = plain_quad(m, n, w, h), tail, left;

    CHECK((in->b != NULL) == (p->share || in->k >= 0));
    if (in->b) {
        double *b = values(cx, in->b), *a = values(cx, in->a);

        CHECK_INT(ql_dim(in->a, 0), p->rank < (m < n ? m : n) ? p->rank : (m < n ? m : n));
        plain_gemm(QL_NN, (const int64_t[]){m, n, ql_dim(in->a, 0)}, -1, b, a, 1, rest);
        free(b);
        free(a);
    }
    tail = plain_tail(m, n, p->rank, e, h);
    left = plain_quad(m, n, rest, h);
    if (in->b) /* the factors are rounded to fp16 */
        CHECK(left >= tail * (1 - 1e-4) - 1e-6 * whole);
    if (p->share)
        CHECK_NEAR(left, tail, 2e-3 * tail + 1e-5 * whole);
    free(w);
    free(what);
    free(h);
    free(e);
    free(rest);
    QL_TRY(cx, ql_fact(cx, out, "tail", NULL, tail));
    QL_TRY(cx, ql_fact(cx, out, "left", NULL, left));
    return ql_fact(cx, out, "k", NULL, in->k);
}

static const ql_evaluator evaluator = {.size = sizeof(ql_evaluator), .needs = QL_NEEDS_STATS, .linear = watch};
static const ql_plugin plugin = {
    .abi_major = QL_ABI_MAJOR,
    .abi_minor = QL_ABI_MINOR,
    .size = sizeof(ql_plugin),
    .kind = QL_EVALUATOR,
    .name = "watch",
    .version = "1.0",
    .help = "checks each linear in double",
    .params = params,
    .self_size = sizeof(watched),
    .evaluator = &evaluator,
};

/* Runs `stages` on the model; the watching stage sees the statistics that every method of the file used. */
static void
run(walk_test *t, const char *model, const char *stages, int cells)
{
    WALK_OK(t, walk_run(t,
                        walk_format(t,
                                    "qloom: 1\nname: methods\nbaseline: false\npropagate: original\nstages:\n"
                                    "  base: {use: auto, path: %s}\n"
                                    "  calib: {use: text, path: calib.txt, samples: 4, seqlen: 64}\n%s",
                                    model, stages),
                        2, 0));
    CHECK_INT(walk_cells(t), cells);
    for (int i = 0; i < cells; i++)
        CHECK(*walk_linears(t, i));
}

/* The next line of *lines as a text of its own; NULL: there is none. */
static const char *
next(walk_test *t, const char **lines)
{
    const size_t n = strcspn(*lines, "\n");
    const char *line = n ? walk_format(t, "%.*s", (int)n, *lines) : NULL;

    *lines += n + ((*lines)[n] == '\n');
    return line;
}

/* LoRDQ, EoRA and QERA leave the same numbers, after GPTQ and after ProjQ, and those are the tail energies; ProjQ's are smaller. */
static void
two_phases(walk_test *t, const char *model)
{
    static const char *const facts[] = {"tail", "left", "k"};
    double sum[2] = {0};

    run(t, model,
        "  quant: {use: gptq, model: $base, calib: $calib, bits: 2, group_size: 16, damp: 0.1}\n"
        "  comp: {use: lordq, model: $quant, calib: $calib, rank: 4}\n"
        "  watch: {use: watch, model: $comp, calib: $calib, share: 1}\n"
        "matrix:\n"
        "  quant: [{use: gptq}, {use: projq, rank: 4}]\n"
        "  comp: [{use: lordq}, {use: eora}, {use: qera}]\n",
        6);
    for (int i = 0; i < 6; i += 3) {
        const char *linears = walk_linears(t, i);

        for (const char *linear = next(t, &linears); linear; linear = next(t, &linears)) {
            sum[i / 3] += walk_of_linear(t, i, linear, "tail");
            for (size_t f = 0; f < sizeof facts / sizeof *facts; f++)
                for (int other = i + 1; other < i + 3; other++)
                    CHECK_NEAR(walk_of_linear(t, other, linear, facts[f]), walk_of_linear(t, i, linear, facts[f]), 0);
        }
    }
    printf("tail energy of projq: %g of gptq's\n", sum[1] / sum[0]);
    CHECK(sum[1] < sum[0]);
}

/* Methods that quantize anew: measured is never worse than QERA on any linear; k is with the results; LoftQ improves on its first
 * round in the weight, and runs without statistics. */
static void
coupled(walk_test *t, const char *model)
{
    const char *linears;

    run(t, model,
        "  quant: {use: mxint, model: $base, calib: $calib, bits: 3, group_size: 32}\n"
        "  comp: {use: srr, model: $quant, calib: $calib, rank: 4}\n"
        "  watch: {use: watch, model: $comp, calib: $calib}\n"
        "matrix:\n"
        "  comp: [{use: srr, select: fixed, k: 0}, {use: srr, select: measured}, {use: srr}, {use: srr, mode: "
        "split}]\n",
        4);
    linears = walk_linears(t, 0);
    for (const char *linear = next(t, &linears); linear; linear = next(t, &linears)) {
        double left[4], k[4];

        for (int i = 0; i < 4; i++) {
            left[i] = walk_of_linear(t, i, linear, "left");
            k[i] = walk_of_linear(t, i, linear, "k");
        }
        CHECK(left[1] <= left[0] * (1 + 1e-3)); /* measured, and qera */
        CHECK(left[2] <= left[3] * (1 + 1e-3)); /* joint, and split */
        CHECK_NEAR(k[0], 0, 0);
        CHECK_NEAR(k[2], k[3], 0);
        CHECK(k[2] >= 0 && k[2] <= RANK);
    }
}

int
main(void)
{
    static walk_test t;
    const uint64_t seed = test_seed();
    const model_spec spec = {.architecture = "Qwen3ForCausalLM",
                             .type = "qwen3",
                             .vocab = 512,
                             .hidden = 44,
                             .intermediate = 61,
                             .layers = 2,
                             .heads = 4,
                             .kv_heads = 2,
                             .head_dim = 12,
                             .qk_norm = true,
                             .dtype = QL_ST_BF16,
                             .seed = seed};
    static const ql_plugin *const plugins[] = {&plugin, NULL};
    const char *model;

    walk_open(&t);
    t.plugins = plugins;
    model = walk_make_model(&t, "model", &spec);
    two_phases(&t, model);
    coupled(&t, model);
    return walk_close(&t);
}
