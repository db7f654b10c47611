/* What a walk says of cost and of the parts behind a mean: bits that a cell stores, losses of windows, singular
 * values. The plain side counts and computes in double from what a per-layer evaluator is handed. */
#include "walk.h"

#include <qloom/evaluator.h>

#include "../methods/plain.h"

static ql_status
values(ql_ctx *cx, const ql_tensor *t, double **out)
{
    ql_tensor *wide;
    const double *p;

    QL_TRY(cx, ql_convert(cx, t, QL_F64, &wide));
    QL_TRY(cx, ql_map(cx, wide, QL_READ, &p));
    *out = plain_copy(p, ql_count(t));
    return ql_unmap(cx, wide);
}

/* Square roots of the eigenvalues of M M^T. */
static ql_status
plain_singular(ql_ctx *cx, const double *m, int64_t rows, int64_t columns, const char *name, ql_facts *out)
{
    double *gram = plain_product(QL_NT, rows, rows, columns, m, m), *v = plain_array(rows * rows),
           *w = plain_array(rows);
    ql_status st;

    plain_eigen(rows, gram, w, v);
    for (int64_t i = 0; i < rows; i++)
        w[i] = sqrt(fmax(w[i], 0));
    st = ql_fact_list(cx, out, name, rows, w);
    free(gram);
    free(v);
    free(w);
    return st;
}

/* Scales of 16 bits, zeros of as many as a code has; adapters of 16 bits. */
static ql_status
linear(ql_ctx *cx, const void *self, const ql_linear_result *in, ql_facts *out)
{
    const int64_t m = ql_dim(in->w, 0), n = ql_dim(in->w, 1), r = in->b ? ql_dim(in->b, 1) : 0;
    double *w, *what, *b, *a, *ba, *e, *left;
    double bits = 16.0 * (double)(m * n);

    (void)self;
    if (in->qlinear) {
        const ql_grid *g = &in->qlinear->grid;

        bits = (double)(m * n * g->bits + ql_count(in->qlinear->scales) * (16 + (g->sym ? 0 : g->bits)) +
                        16 * r * (m + n));
    }
    QL_TRY(cx, ql_fact(cx, out, "stored", NULL, bits));
    QL_TRY(cx, ql_fact(cx, out, "weights", NULL, (double)(m * n)));
    if (!in->qlinear || !strstr(in->name, ".0.self_attn.k_proj"))
        return QL_OK;
    QL_TRY(cx, values(cx, in->w, &w));
    QL_TRY(cx, values(cx, in->what, &what));
    e = plain_minus(w, what, m * n);
    QL_TRY(cx, plain_singular(cx, w, m, n, "weight", out));
    QL_TRY(cx, plain_singular(cx, e, m, n, "error", out));
    if (in->b) {
        QL_TRY(cx, values(cx, in->b, &b));
        QL_TRY(cx, values(cx, in->a, &a));
        ba = plain_product(QL_NN, m, n, r, b, a);
        left = plain_minus(e, ba, m * n);
        QL_TRY(cx, plain_singular(cx, left, m, n, "compensated error", out));
        free(b);
        free(a);
        free(ba);
        free(left);
    }
    free(w);
    free(what);
    free(e);
    return QL_OK;
}

static const ql_param no_params[] = {QL_PARAMS_END};
static const ql_evaluator evaluator = {.size = sizeof(ql_evaluator), .linear = linear};
static const ql_plugin plugin = {
    .abi_major = QL_ABI_MAJOR,
    .abi_minor = QL_ABI_MINOR,
    .size = sizeof(ql_plugin),
    .kind = QL_EVALUATOR,
    .name = "plain_costs",
    .version = "1.0",
    .help = "what bits and singular values mean",
    .params = no_params,
    .evaluator = &evaluator,
};

static const char pipeline[] =
    "qloom: 1\n"
    "name: costs\n"
    "stages:\n"
    "  base: {use: auto, path: tiny-qwen3}\n"
    "  calib: {use: text, path: calib.txt, samples: 4, seqlen: 64}\n"
    "  wiki: {use: text, path: eval.txt, seqlen: 33, samples: 5}\n"
    "  quant: {use: rtn, model: $base, bits: 3, group_size: 64, overrides: [{match: '*.1.mlp.up_proj', skip: true}]}\n"
    "  fix: {use: qera, model: $quant, calib: $calib, rank: 3}\n"
    "  sv: {use: spectrum, model: $fix, match: ['*.0.self_attn.k_proj'], values: 20}\n"
    "  plain: {use: plain_costs, model: $fix}\n"
    "  ppl: {use: perplexity, model: $fix, data: $wiki}\n"
    "matrix:\n"
    "  fix: [{use: none}, {use: qera}]\n"
    "  quant.sym: [true, false]\n";

static void
check_bits(const ql_result_cell *c)
{
    double bits = 16, weights = c->baseline ? 1 : 0; /* no per-layer evaluator looks at the original model */

    bits *= weights;
    for (int64_t i = 0; i < c->linear_count; i++) {
        bits += strcmp(c->linears[i].name, "stored") == 0 ? c->linears[i].value : 0;
        weights += strcmp(c->linears[i].name, "weights") == 0 ? c->linears[i].value : 0;
    }
    CHECK_NEAR(c->bits, bits / weights, 1e-12 * c->bits);
    CHECK(c->cost.seconds > 0);
    CHECK(c->cost.peak > 0);
}

/* The perplexity is e to the mean of its windows. */
static void
check_windows(const ql_result_cell *c)
{
    const ql_result_list *l = ql_results_find_list(c, "ppl", NULL, "windows");
    double sum = 0;

    CHECK(l != NULL);
    if (!l)
        return;
    CHECK_INT(l->count, 5);
    for (int64_t i = 0; i < l->count; i++)
        sum += l->values[i] / (double)l->count;
    CHECK_NEAR(exp(sum), walk_metric(c, "ppl", "perplexity"), 1e-12 * exp(sum));
}

/* Both sides have rounded W - W^ - BA from f32; the smallest values are lost below that. */
static void
check_spectrum(const ql_result_cell *c, const char *name, bool there)
{
    static const char k_proj[] = "model.layers.0.self_attn.k_proj";
    const ql_result_list *got = ql_results_find_list(c, "sv", k_proj, name),
                         *want = ql_results_find_list(c, "plain", k_proj, name);

    CHECK_INT(got != NULL, there);
    if (!got || !want)
        return;
    CHECK_INT(got->count, 20);
    for (int64_t i = 0; i < got->count && i < want->count; i++)
        CHECK_NEAR(got->values[i], want->values[i], 1e-5 * want->values[0]);
}

int
main(void)
{
    static walk_test t;
    ql_result_set set = {0};
    ql_graph g;

    walk_open(&t);
    REQUIRE_OK(&t.cx, ql_registry_add(&t.cx, t.registry, &plugin));
    walk_parse(&t, pipeline, &g);
    CHECK_OK(&t.cx, walk_run(&t, &g, 2, 0, &set));
    CHECK_INT(set.cell_count, 5);
    for (int64_t i = 0; i < set.cell_count; i++) {
        const ql_result_cell *c = &set.cells[i];

        CHECK(c->error == NULL);
        check_bits(c);
        check_windows(c);
        check_spectrum(c, "weight", !c->baseline);
        check_spectrum(c, "error", !c->baseline);
        check_spectrum(c, "compensated error", !c->baseline && strcmp(c->labels[0], "qera") == 0);
    }
    for (int64_t i = 0; i < set.node_count; i++)
        if (set.nodes[i].cost.calls == 0 && strcmp(set.nodes[i].label, "none") != 0)
            TEST_FAIL("node %s: %s cost nothing", set.nodes[i].stage, set.nodes[i].label);
    ql_results_fini(&t.cx, &set);
    return walk_close(&t);
}
