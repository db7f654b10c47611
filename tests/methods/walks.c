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
run(walk_test *t, const char *model, const char *stages, ql_result_set *set)
{
    const char *text = ql_format(&t->cx,
                                 "qloom: 1\nname: methods\nbaseline: false\npropagate: original\nstages:\n"
                                 "  base: {use: auto, path: %s}\n"
                                 "  calib: {use: text, path: calib.txt, samples: 4, seqlen: 64}\n%s",
                                 model, stages);
    ql_graph g;

    walk_parse(t, text, &g);
    REQUIRE_OK(&t->cx, walk_run(t, &g, 2, 0, set));
    for (int64_t i = 0; i < set->cell_count; i++)
        CHECK(set->cells[i].linear_count > 0);
}

static double
of_linear(const ql_result_cell *c, int64_t at, const char *name)
{
    const char *linear = c->linears[at].linear;

    for (int64_t i = 0; i < c->linear_count; i++)
        if (strcmp(c->linears[i].linear, linear) == 0 && strcmp(c->linears[i].name, name) == 0)
            return c->linears[i].value;
    return NAN;
}

/* LoRDQ, EoRA and QERA leave the same numbers, after GPTQ and after ProjQ, and those are the tail energies; ProjQ's are smaller. */
static void
two_phases(walk_test *t, const char *model)
{
    ql_result_set set = {0};
    double sum[2] = {0};

    run(t, model,
        "  quant: {use: gptq, model: $base, calib: $calib, bits: 2, group_size: 16, damp: 0.1}\n"
        "  comp: {use: lordq, model: $quant, calib: $calib, rank: 4}\n"
        "  watch: {use: watch, model: $comp, calib: $calib, share: 1}\n"
        "matrix:\n"
        "  quant: [{use: gptq}, {use: projq, rank: 4}]\n"
        "  comp: [{use: lordq}, {use: eora}, {use: qera}]\n",
        &set);
    CHECK_INT(set.cell_count, 6);
    for (int64_t i = 0; i < 6; i += 3)
        for (int64_t j = 0; j < set.cells[i].linear_count; j++) {
            sum[i / 3] += of_linear(&set.cells[i], j, "tail");
            CHECK_NEAR(set.cells[i].linears[j].value, set.cells[i + 1].linears[j].value, 0);
            CHECK_NEAR(set.cells[i].linears[j].value, set.cells[i + 2].linears[j].value, 0);
        }
    printf("tail energy of projq: %g of gptq's\n", sum[1] / sum[0]);
    CHECK(sum[1] < sum[0]);
    ql_results_fini(&t->cx, &set);
}

/* Methods that quantize anew: measured is never worse than QERA on any linear; k is with the results; LoftQ improves on its first
 * round in the weight, and runs without statistics. */
static void
coupled(walk_test *t, const char *model)
{
    ql_result_set set = {0};

    run(t, model,
        "  quant: {use: mxint, model: $base, calib: $calib, bits: 3, group_size: 32}\n"
        "  comp: {use: srr, model: $quant, calib: $calib, rank: 4}\n"
        "  watch: {use: watch, model: $comp, calib: $calib}\n"
        "matrix:\n"
        "  comp: [{use: srr, select: fixed, k: 0}, {use: srr, select: measured}, {use: srr}, {use: srr, mode: "
        "split}]\n",
        &set);
    CHECK_INT(set.cell_count, 4);
    for (int64_t j = 0; j < set.cells[0].linear_count; j++) {
        const double qera = of_linear(&set.cells[0], j, "left"), measured = of_linear(&set.cells[1], j, "left");
        const double joint = of_linear(&set.cells[2], j, "left"), split = of_linear(&set.cells[3], j, "left");

        CHECK(measured <= qera * (1 + 1e-3));
        CHECK(joint <= split * (1 + 1e-3));
        CHECK_NEAR(of_linear(&set.cells[0], j, "k"), 0, 0);
        CHECK_NEAR(of_linear(&set.cells[2], j, "k"), of_linear(&set.cells[3], j, "k"), 0);
        CHECK(of_linear(&set.cells[2], j, "k") >= 0 && of_linear(&set.cells[2], j, "k") <= RANK);
    }
    ql_results_fini(&t->cx, &set);
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
    char model[80], command[4400];
    const char *source = getenv("QLOOM_SOURCE");

    walk_open(&t);
    REQUIRE_OK(&t.cx, ql_registry_add(&t.cx, t.registry, &plugin));
    snprintf(model, sizeof model, "%s/model", t.folder);
    REQUIRE_OK(&t.cx, make_model(&t.cx, model, &spec));
    snprintf(command, sizeof command, "cp %s/examples/tiny-qwen3/tokenizer*.json %s", source ? source : ".", model);
    CHECK_INT(system(command), 0);
    two_phases(&t, model);
    coupled(&t, model);
    return walk_close(&t);
}
