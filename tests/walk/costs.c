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
check_bits(walk_test *t, int cell, bool original)
{
    static const char sum[] =
        "SELECT sum(f.value) " WALK_FACT " " WALK_OF " AND f.name = '%s' AND f.linear IS NOT NULL";
    const double bits = walk_number(t, walk_format(t, "SELECT c.bits " WALK_CELL " " WALK_OF, cell));

    if (original) /* no per-layer evaluator looks at it */
        CHECK_NEAR(bits, 16, 0);
    else
        CHECK_NEAR(bits,
                   walk_number(t, walk_format(t, sum, cell, "stored")) /
                       walk_number(t, walk_format(t, sum, cell, "weights")),
                   1e-12 * bits);
    CHECK(walk_number(t, walk_format(t, "SELECT c.seconds " WALK_CELL " " WALK_OF, cell)) > 0);
    CHECK(walk_number(t, walk_format(t, "SELECT c.peak_bytes " WALK_CELL " " WALK_OF, cell)) > 0);
}

/* A list of facts; returns how many there are, at most `most`. */
static int
list(walk_test *t, int cell, const char *stage, const char *name, int most, double *out)
{
    const char *text = walk_query(t, walk_format(t,
                                                 "SELECT f.value " WALK_FACT " " WALK_OF
                                                 " AND n.stage = '%s' AND f.name = '%s' AND f.part IS NOT NULL"
                                                 " AND coalesce(f.linear, 'model.layers.0.self_attn.k_proj') ="
                                                 " 'model.layers.0.self_attn.k_proj' ORDER BY f.part",
                                                 cell, stage, name));
    int n = 0;

    for (; *text && n < most; text += strcspn(text, "\n") + 1)
        out[n++] = strtod(text, NULL);
    return n;
}

/* The perplexity is e to the mean of its windows. */
static void
check_windows(walk_test *t, int cell)
{
    double windows[100], sum = 0;
    const int count = list(t, cell, "ppl", "windows", 100, windows);

    CHECK_INT(count, 5);
    for (int i = 0; i < count; i++)
        sum += windows[i] / count;
    CHECK_NEAR(exp(sum), walk_metric(t, cell, "ppl", "perplexity"), 1e-12 * exp(sum));
}

/* Both sides have rounded W - W^ - BA from f32; the smallest values are lost below that. */
static void
check_spectrum(walk_test *t, int cell, const char *name, bool there)
{
    double got[200], want[200];
    const int count = list(t, cell, "sv", name, 200, got), plain = list(t, cell, "plain", name, 200, want);

    CHECK_INT(count, there ? 20 : 0);
    CHECK(plain >= count);
    for (int i = 0; i < count && i < plain; i++)
        CHECK_NEAR(got[i], want[i], 1e-5 * want[0]);
}

int
main(void)
{
    static const ql_plugin *const plugins[] = {&plugin, NULL};
    static walk_test t;

    walk_open(&t);
    t.plugins = plugins;
    WALK_OK(&t, walk_run(&t, pipeline, 2, 0));
    CHECK_INT(walk_cells(&t), 5);
    for (int i = 0; i < 5; i++) {
        const bool original = i == 4;

        CHECK_STR(walk_error(&t, i), "NULL");
        check_bits(&t, i, original);
        check_windows(&t, i);
        check_spectrum(&t, i, "weight", !original);
        check_spectrum(&t, i, "error", !original);
        check_spectrum(&t, i, "compensated error", i == 2 || i == 3); /* qera */
    }
    CHECK_STR(walk_query(&t, "SELECT s.stage, s.label FROM run r JOIN stage s ON s.run = r.id WHERE r.name = :run AND"
                             " s.calls = 0 AND s.label NOT LIKE 'none%'"),
              "");
    return walk_close(&t);
}
