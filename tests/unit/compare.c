/* Choosing cells, and differences with their paired errors against a plain computation. */
#include "sets.h"

/* The first number of a query; -1 where it has no row. */
static int64_t
ask(const ql_book *b, const char *sql, int64_t argument)
{
    ql_sheet rows;

    REQUIRE_OK(b->cx, ql_sheet_read(b->db, &rows, sql, "i", argument));
    return rows.count ? ql_row(&rows, 0)->integer : -1;
}

static const char *const *
choices(const char *a, const char *b, const char *c)
{
    static const char *list[4];

    list[0] = a;
    list[1] = b;
    list[2] = c;
    return list;
}

static void
test_parse(ql_ctx *cx)
{
    ql_result_set set;
    const ql_result_set *sets[] = {&set};
    ql_book b;

    sets_small(cx, "a-0", &set);
    b = set_book(cx, sets, 1);
    REQUIRE_OK(cx, ql_book_compare(&b, choices("quant.bits=3", NULL, NULL)));
    CHECK_INT(ask(&b, "SELECT count(*) FROM choice WHERE reference = 'quant.bits' AND label = '3' OR ? < 0", 0), 1);
    CHECK_ERROR(cx, ql_book_filter(&b, choices("quant.bits", NULL, NULL)), QL_INVALID,
                "--where: got 'quant.bits', expected AXIS=LABEL, like quant.bits=3");
    CHECK_ERROR(cx, ql_book_filter(&b, choices("=3", NULL, NULL)), QL_INVALID,
                "--where: got '=3', expected AXIS=LABEL, like quant.bits=3");
    CHECK_ERROR(cx, ql_book_compare(&b, choices("quant.bit=3", NULL, NULL)), QL_INVALID,
                "--reference: no run tells its cells apart by 'quant.bit' (did you mean 'quant.bits'?)");
    CHECK_ERROR(cx, ql_book_filter(&b, choices("quant.bits=4", NULL, NULL)), QL_INVALID,
                "--where: no cell has '4' as its quant.bits; there are 2, 3");
    ql_book_close(&b);
    ql_results_fini(cx, &set);
}

/* Of one axis any, of several all; baselines that nothing is left to be compared with go too. */
static void
test_filter(ql_ctx *cx)
{
    static const char count[] = "SELECT count(*) FROM cell WHERE id >= ?";
    ql_result_set set;
    const ql_result_set *sets[] = {&set};
    ql_book b;

    sets_small(cx, "a-0", &set);
    b = set_book(cx, sets, 1);
    REQUIRE_OK(cx, ql_book_filter(&b, choices("quant=gptq", "quant.bits=3", "quant.bits=2")));
    CHECK_INT(ask(&b, count, 0), 3);
    CHECK_INT(ask(&b, "SELECT id FROM cell WHERE id > ?", 2), 3); /* 2, 3 and the baseline */
    CHECK_INT(ask(&b, "SELECT baseline FROM cell WHERE id = ?", 4), 1);
    CHECK_INT(ask(&b, "SELECT original FROM cell WHERE id = ?", 2), 4);
    CHECK_INT(ask(&b, "SELECT count(*) FROM number WHERE cell < ?", 2), 0);
    REQUIRE_OK(cx, ql_book_filter(&b, choices("quant=gptq", "quant.bits=3", NULL)));
    CHECK_INT(ask(&b, count, 0), 2);
    CHECK_INT(ask(&b, "SELECT original FROM cell WHERE id = ?", 3), 4);
    ql_book_close(&b);
    b = set_book(cx, sets, 1);
    REQUIRE_OK(cx, ql_book_filter(&b, choices("quant=gptq", "quant.use=rtn|x", NULL)));
    CHECK_INT(ask(&b, count, 0), 0);
    ql_book_close(&b);
    ql_results_fini(cx, &set);
}

static void
test_reference(ql_ctx *cx)
{
    static const char other[] = "SELECT other FROM pair WHERE cell = ?";
    ql_result_set set;
    const ql_result_set *sets[] = {&set};
    ql_book b;

    sets_small(cx, "a-0", &set);
    b = set_book(cx, sets, 1);
    REQUIRE_OK(cx, ql_book_compare(&b, NULL));
    CHECK_INT(ask(&b, other, 1), 4);
    CHECK_INT(ask(&b, other, 4), -1);
    REQUIRE_OK(cx, ql_book_compare(&b, choices("original", NULL, NULL)));
    CHECK_INT(ask(&b, other, 1), 4);
    REQUIRE_OK(cx, ql_book_compare(&b, choices("quant=gptq", NULL, NULL)));
    CHECK_INT(ask(&b, other, 1), 3); /* the cell of the same width */
    CHECK_INT(ask(&b, other, 0), 2);
    CHECK_INT(ask(&b, other, 4), -1);
    REQUIRE_OK(cx, ql_book_compare(&b, choices("quant.use=rtn|x", NULL, NULL)));
    CHECK_INT(ask(&b, other, 3), 1);
    REQUIRE_OK(cx, ql_book_compare(&b, choices("quant=gptq", "quant.bits=3", NULL)));
    CHECK_INT(ask(&b, other, 0), 3); /* one cell for all */
    REQUIRE_OK(cx, ql_book_compare(&b, choices("quant=gptq", "quant.use=rtn|x", NULL)));
    CHECK_INT(ask(&b, other, 0), -1);
    ql_book_close(&b);
    ql_results_fini(cx, &set);
}

/* The difference of a metric between two cells of the set; false: there is none. */
static bool
difference(ql_ctx *cx, const ql_result_set *set, int64_t cell, int64_t from, const char *metric, double *value,
           double *error)
{
    ql_book b = set_book(cx, &set, 1);
    ql_sheet rows;

    REQUIRE_OK(cx, ql_results_exec(b.db, "CREATE TEMP TABLE pair (cell INTEGER, other INTEGER)"));
    REQUIRE_OK(cx, ql_sheet_read(b.db, &rows, "INSERT INTO pair VALUES (?, ?)", "ii", cell, from));
    REQUIRE_OK(cx, ql_book_cost(&b, metric));
    REQUIRE_OK(cx, ql_book_differences(&b, metric, 0));
    REQUIRE_OK(cx, ql_sheet_read(b.db, &rows, "SELECT value, error FROM difference", ""));
    ql_book_close(&b);
    if (rows.count != 1)
        return false;
    *value = ql_row(&rows, 0)[0].real;
    *error = ql_row(&rows, 0)[1].real;
    return true;
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
    double parts[2][64], mean[2] = {0, 0}, value, error;
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
    CHECK(difference(cx, &set, 1, 0, "ppl.perplexity", &value, &error));
    CHECK_NEAR(value, exp(mean[1]) - exp(mean[0]), 1e-12);
    CHECK_NEAR(error, plain_error(parts[1], parts[0], n, exp(mean[1]), exp(mean[0])), 1e-9);
    CHECK(difference(cx, &set, 1, 1, "ppl.perplexity", &value, &error));
    CHECK_NEAR(value, 0, 0);
    CHECK_NEAR(error, 0, 0);

    /* a cost, and a metric that says nothing of its parts: a difference without an error */
    CHECK(difference(cx, &set, 1, 0, "cost.bits", &value, &error));
    CHECK_NEAR(value, 1, 0);
    CHECK(isnan(error));
    /* other tokens, other windows, a failed cell, nobody */
    sets_note(cx, &set, 0, QL_NOTE_DATA, "00ff");
    CHECK(difference(cx, &set, 1, 0, "ppl.perplexity", &value, &error));
    CHECK(isnan(error));
    CHECK(difference(cx, &set, 1, 3, "ppl.perplexity", &value, &error));
    CHECK_INT(isnan(error), n != 3);
    CHECK(!difference(cx, &set, 1, 2, "ppl.perplexity", &value, &error));
    CHECK(!difference(cx, &set, 1, -1, "ppl.perplexity", &value, &error));
    CHECK(!difference(cx, &set, 1, 0, "ppl.nothing", &value, &error));
    ql_results_fini(cx, &set);
}

/* --- the bootstrap ----------------------------------------------------------------------------------------------- */

static double
number(ql_book *b, const char *sql)
{
    ql_sheet rows;

    REQUIRE_OK(b->cx, ql_sheet_read(b->db, &rows, sql, ""));
    CHECK_INT(rows.count, 1);
    return ql_row(&rows, 0)[0].real;
}

#define TWO " FROM (SELECT 0.0 AS x, 0.0 AS y UNION ALL VALUES (1.0, 0.0))"

/* Two parts, of which one differs by 1: the mean of a draw is 0, 1/2 or 1, in one of four, two of four and one of four draws. */
static void
test_draws(ql_ctx *cx)
{
    ql_book b;

    REQUIRE_OK(cx, ql_book_open(cx, &b));
    CHECK_NEAR(number(&b, "SELECT quantile(resampled('d', 4000, x, y, 0), 0.2)" TWO), 0, 0);
    CHECK_NEAR(number(&b, "SELECT quantile(resampled('d', 4000, x, y, 0), 0.3)" TWO), 0.5, 0);
    CHECK_NEAR(number(&b, "SELECT quantile(resampled('d', 4000, x, y, 0), 0.7)" TWO), 0.5, 0);
    CHECK_NEAR(number(&b, "SELECT quantile(resampled('d', 4000, x, y, 0), 0.8)" TWO), 1, 0);
    CHECK_NEAR(number(&b, "SELECT quantile(resampled('d', 4000, x, y, 1), 0.8)" TWO), exp(1) - 1, 1e-15);
    CHECK_NEAR(number(&b,
                      "SELECT resampled('d', 9, x, y, 0) = resampled('d', 9, x, y, 0) AND resampled('d', 9, x, y, 0)"
                      " <> resampled('e', 9, x, y, 0) AND average(NULL) IS NULL AND quantile(NULL, 0.5) IS NULL" TWO),
               1, 0);
    /* the same parts are drawn of other numbers of the same data */
    CHECK_NEAR(number(&b, "SELECT quantile(resampled('d', 99, 2 * x, 2 * y, 0), 0.4) = 2 * quantile(resampled('d', 99, "
                          "x, y, 0), 0.4)" TWO),
               1, 0);
    CHECK_NEAR(number(&b, "SELECT quantile(average(d), 0.3) FROM (SELECT resampled('d', 99, x, y, 0) AS d" TWO
                          " UNION ALL SELECT resampled('d', 99, 3 * x, y, 0)" TWO ")"),
               2 * number(&b, "SELECT quantile(resampled('d', 99, x, y, 0), 0.3)" TWO), 1e-15);
    ql_book_close(&b);
}

/* An interval of many parts is about as wide as the standard error says. */
static void
test_interval(ql_ctx *cx)
{
    enum { PARTS = 300 };
    uint64_t seed = 7;
    double parts[2][PARTS], mean[2] = {0, 0}, low, high, error;
    const ql_result_set *sets[1];
    ql_result_set set;
    ql_book b;

    sets_small(cx, "a-0", &set);
    sets[0] = &set;
    for (int k = 0; k < 2; k++) {
        for (int64_t i = 0; i < PARTS; i++) {
            parts[k][i] = 1 + 0.1 * test_normal(&seed);
            mean[k] += parts[k][i] / PARTS;
        }
        set.cells[k].lists[0] = (ql_result_list){.stage = "ppl", .name = "windows", .count = PARTS, .values = parts[k]};
        set.cells[k].metrics[0].value = exp(mean[k]);
    }
    b = set_book(cx, sets, 1);
    REQUIRE_OK(cx, ql_results_exec(
                       b.db, "CREATE TEMP TABLE pair (cell INTEGER, other INTEGER); INSERT INTO pair VALUES (1, 0)"));
    REQUIRE_OK(cx, ql_book_differences(&b, "ppl.perplexity", 1000));
    low = number(&b, "SELECT quantile(draws, 0.025) FROM difference");
    high = number(&b, "SELECT quantile(draws, 0.975) FROM difference");
    error = number(&b, "SELECT error FROM difference");
    CHECK(low < exp(mean[1]) - exp(mean[0]) && exp(mean[1]) - exp(mean[0]) < high);
    CHECK_NEAR((high - low) / (2 * 1.96 * error), 1, 0.15);
    ql_book_close(&b);
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
    test_draws(&cx);
    test_interval(&cx);
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
