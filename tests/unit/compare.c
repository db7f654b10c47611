/* Choosing cells, and differences with their paired errors against a plain computation. */
#include "sets.h"

#include "report/compare.h"

static ql_choice
choice(ql_ctx *cx, const ql_result_set *set, const char *text)
{
    ql_choice c = {0};

    REQUIRE_OK(cx, ql_choice_parse(cx, "--where", text, set, 1, &c));
    return c;
}

static void
test_parse(ql_ctx *cx)
{
    ql_result_set set;
    ql_choice c;

    sets_small(cx, "a-0", &set);
    c = choice(cx, &set, "quant.bits=3");
    CHECK_STR(c.key, "quant.bits");
    CHECK_STR(c.label, "3");
    CHECK_ERROR(cx, ql_choice_parse(cx, "--where", "quant.bits", &set, 1, &c), QL_INVALID,
                "--where: got 'quant.bits', expected AXIS=LABEL, like quant.bits=3");
    CHECK_ERROR(cx, ql_choice_parse(cx, "--where", "=3", &set, 1, &c), QL_INVALID,
                "--where: got '=3', expected AXIS=LABEL, like quant.bits=3");
    CHECK_ERROR(cx, ql_choice_parse(cx, "--reference", "quant.bit=3", &set, 1, &c), QL_INVALID,
                "--reference: no run tells its cells apart by 'quant.bit' (did you mean 'quant.bits'?)");
    CHECK_ERROR(cx, ql_choice_parse(cx, "--where", "quant.bits=4", &set, 1, &c), QL_INVALID,
                "--where: no cell has '4' as its quant.bits; there are 2, 3");
    ql_results_fini(cx, &set);
}

/* Of one axis any, of several all; baselines that nothing is left to be compared with go too. */
static void
test_filter(ql_ctx *cx)
{
    ql_result_set set;
    ql_choice c[3];

    sets_small(cx, "a-0", &set);
    c[0] = choice(cx, &set, "quant=gptq");
    c[1] = choice(cx, &set, "quant.bits=3");
    c[2] = choice(cx, &set, "quant.bits=2");
    REQUIRE_OK(cx, ql_results_filter(cx, &set, c, 3));
    CHECK_INT(set.cell_count, 3);
    CHECK_STR(set.cells[0].labels[1], "2");
    CHECK_STR(set.cells[1].labels[1], "3");
    CHECK_INT(set.cells[2].baseline, true);
    CHECK_INT(set.cells[0].original, 2);
    REQUIRE_OK(cx, ql_results_filter(cx, &set, c, 2));
    CHECK_INT(set.cell_count, 2);
    CHECK_INT(set.cells[0].original, 1);
    c[0] = (ql_choice){"quant", "nobody"};
    REQUIRE_OK(cx, ql_results_filter(cx, &set, c, 1));
    CHECK_INT(set.cell_count, 0);
    ql_results_fini(cx, &set);
}

static void
test_reference(ql_ctx *cx)
{
    const ql_choice variant = {"quant", "gptq"}, use = {"quant.use", "rtn|x"}, both[] = {variant, {"quant.bits", "3"}},
                    other = {"quant", "nobody"};
    ql_result_set set;

    sets_small(cx, "a-0", &set);
    CHECK_INT(ql_results_reference(&set, 1, NULL, 0), 4);
    CHECK_INT(ql_results_reference(&set, 4, NULL, 0), -1);
    CHECK_INT(ql_results_reference(&set, 1, &variant, 1), 3); /* the cell of the same width */
    CHECK_INT(ql_results_reference(&set, 0, &variant, 1), 2);
    CHECK_INT(ql_results_reference(&set, 3, &use, 1), 1);
    CHECK_INT(ql_results_reference(&set, 0, both, 2), 3); /* one cell for all */
    CHECK_INT(ql_results_reference(&set, 0, &other, 1), -1);
    CHECK_INT(ql_results_reference(&set, 4, &variant, 1), -1);
    ql_results_fini(cx, &set);
}

/* exp of a mean: its difference moves with e^a a_i - e^b b_i. */
static double
plain_error(const double *a, const double *b, int64_t n, double va, double vb)
{
    double mean = 0, sum = 0;

    for (int64_t i = 0; i < n; i++)
        mean += (va * a[i] - vb * b[i]) / (double)n;
    for (int64_t i = 0; i < n; i++)
        sum += (va * a[i] - vb * b[i] - mean) * (va * a[i] - vb * b[i] - mean);
    return sqrt(sum / (double)(n - 1)) / sqrt((double)n);
}

static void
test_difference(ql_ctx *cx, uint64_t seed)
{
    const int64_t n = 2 + (int64_t)(test_u64(&seed) % 40);
    double parts[2][64], mean[2] = {0, 0};
    ql_difference d;
    ql_result_set set;

    sets_small(cx, "a-0", &set);
    for (int k = 0; k < 2; k++) {
        ql_result_list *l = &set.cells[k].lists[0];

        for (int64_t i = 0; i < n; i++) {
            parts[k][i] = 1 + 0.3 * (k ? parts[0][i] : 0) + 0.1 * test_normal(&seed);
            mean[k] += parts[k][i] / (double)n;
        }
        *l = (ql_result_list){.stage = "ppl", .name = "windows", .count = n, .values = parts[k]};
        set.cells[k].metrics[0].value = exp(mean[k]);
    }
    CHECK(ql_results_difference(&set, 1, 0, "ppl.perplexity", &d));
    CHECK_NEAR(d.value, exp(mean[1]) - exp(mean[0]), 1e-12);
    CHECK_INT(d.parts, n);
    CHECK_NEAR(d.error, plain_error(parts[1], parts[0], n, exp(mean[1]), exp(mean[0])), 1e-9);
    CHECK(ql_results_difference(&set, 1, 1, "ppl.perplexity", &d));
    CHECK_NEAR(d.value, 0, 0);
    CHECK_NEAR(d.error, 0, 0);

    /* a cost, and a metric that says nothing of its parts: a difference without an error */
    CHECK(ql_results_difference(&set, 1, 0, "cost.bits", &d));
    CHECK_NEAR(d.value, 1, 0);
    CHECK(isnan(d.error));
    /* other tokens, other windows, a failed cell, nobody */
    sets_note(cx, &set, 0, QL_NOTE_DATA, "00ff");
    CHECK(ql_results_difference(&set, 1, 0, "ppl.perplexity", &d));
    CHECK(isnan(d.error));
    CHECK(ql_results_difference(&set, 1, 3, "ppl.perplexity", &d));
    CHECK_INT(isnan(d.error), n != 3);
    CHECK(!ql_results_difference(&set, 1, 2, "ppl.perplexity", &d));
    CHECK(!ql_results_difference(&set, 1, -1, "ppl.perplexity", &d));
    CHECK(!ql_results_difference(&set, 1, 0, "ppl.nothing", &d));
    ql_results_fini(cx, &set);
}

int
main(void)
{
    ql_scope scope;
    ql_ctx cx;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    test_parse(&cx);
    test_filter(&cx);
    test_reference(&cx);
    test_difference(&cx, test_seed());
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
