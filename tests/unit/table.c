/* Tables: layout, means over seeds, collisions, footnotes; each format against its golden file in tests/unit/ref. */
#include "sets.h"

#include "report/render.h"

/* What differences are taken from. */
static const char *const against[] = {"quant=rtn|x", NULL};

static char *
render(ql_ctx *cx, const ql_result_set *const *sets, int64_t count, const ql_table_spec *spec, ql_table_format format)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    ql_book b = set_book(cx, sets, count);

    if (spec->differences)
        REQUIRE_OK(cx, ql_book_compare(&b, against));
    REQUIRE_OK(cx, ql_table_write(&b, spec, format, out));
    fclose(out);
    ql_book_close(&b);
    return text;
}

/* ql_table_make on a book of the sets. */
static ql_status
make(ql_ctx *cx, const ql_result_set *const *sets, int64_t count, const ql_table_spec *spec, ql_table *t)
{
    ql_book b = set_book(cx, sets, count);
    ql_status st;

    if (spec->differences)
        REQUIRE_OK(cx, ql_book_compare(&b, against));
    st = ql_table_make(&b, spec, t);
    ql_book_close(&b);
    return st;
}

/* QLOOM_TEST_WRITE=1 writes the golden file instead: look at the difference before committing it. */
static void
check_golden(const char *name, const char *got)
{
    char path[4096], want[65536];
    const char *source = getenv("QLOOM_SOURCE");
    size_t n;
    FILE *f;

    snprintf(path, sizeof path, "%s/tests/unit/ref/%s", source ? source : ".", name);
    f = fopen(path, getenv("QLOOM_TEST_WRITE") ? "w" : "r");
    if (!f) {
        TEST_FAIL("%s: cannot be opened", path);
        return;
    }
    if (getenv("QLOOM_TEST_WRITE")) {
        fputs(got, f);
    } else {
        n = fread(want, 1, sizeof want - 1, f);
        want[n] = '\0';
        CHECK_STR(got, want);
    }
    fclose(f);
}

static void
test_formats(ql_ctx *cx)
{
    static const struct {
        ql_table_format format;
        const char *layout, *all;
    } cases[] = {
        {QL_TABLE_MARKDOWN, "layout.md", "all.md"},
        {QL_TABLE_CSV, "layout.csv", "all.csv"},
        {QL_TABLE_LATEX, "layout.tex", "all.tex"},
        {QL_TABLE_JSON, "cells.json", "cells.json"},
    };
    const ql_table_spec none = {0};
    ql_result_set set;

    sets_small(cx, "tiny-00112233", &set);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const ql_result_set *const sets[] = {&set};
        char *layout = render(cx, sets, 1, &set.table, cases[i].format),
             *all = render(cx, sets, 1, &none, cases[i].format);

        check_golden(cases[i].layout, layout);
        check_golden(cases[i].all, all);
        free(layout);
        free(all);
    }
    ql_results_fini(cx, &set);
}

static void
test_errors(ql_ctx *cx)
{
    static const char *const bits[] = {"quant.bits"}, *const wrong[] = {"quant.bit"};
    ql_result_set set;
    const ql_result_set *const sets[] = {&set};
    ql_table_format format;
    ql_table table;

    sets_small(cx, "tiny-00112233", &set);
    CHECK_ERROR(cx, make(cx, sets, 1, &(ql_table_spec){.row_count = 1, .rows = bits}, &table), QL_INVALID,
                "table: cells that differ in 'quant' meet in one place; add 'quant' to rows or columns");
    CHECK_ERROR(cx, make(cx, sets, 1, &(ql_table_spec){.row_count = 1, .rows = wrong}, &table), QL_INVALID,
                "table: no run tells its cells apart by 'quant.bit' (did you mean 'quant.bits'?)");
    CHECK_ERROR(cx, make(cx, sets, 1, &(ql_table_spec){.value = "ppl.perplexiti"}, &table), QL_INVALID,
                "table: no cell has the metric 'ppl.perplexiti' (did you mean 'ppl.perplexity'?)");
    CHECK_ERROR(cx, ql_table_format_parse(cx, "html", &format), QL_INVALID,
                "--format: got 'html', expected md, csv, tex or json");
    ql_results_fini(cx, &set);
}

static void
test_runs(ql_ctx *cx)
{
    static const char *const use[] = {"quant.use"}, *const bits[] = {"quant.bits"};
    const ql_table_spec meet = {.row_count = 1,
                                .column_count = 1,
                                .rows = bits,
                                .columns = use,
                                .value = "ppl.perplexity"},
                        none = {.value = "ppl.perplexity"};
    ql_result_set a, b;
    const ql_result_set *const sets[] = {&a, &b};
    ql_table table;

    sets_small(cx, "a-00000000", &a);
    sets_small(cx, "b-00000000", &b);
    CHECK_ERROR(
        cx, make(cx, sets, 2, &meet, &table), QL_INVALID,
        "table: cells of the runs 'a-00000000' and 'b-00000000' meet in one place; add 'run' to rows or columns");
    REQUIRE_OK(cx, make(cx, sets, 2, &none, &table));
    CHECK_INT(table.row_count, 10);
    CHECK_INT(table.baseline_count, 2);
    CHECK_STR(table.keys[0], "run");
    CHECK_STR(table.rows[0].text, "a-00000000 (original)");
    CHECK_STR(table.rows[2 * 3].text, "a-00000000");
    CHECK_INT(table.footnotes.count, 3); /* the failure, the footnote, the paper */

    /* numbers made in different ways say so one by one */
    for (int64_t i = 0; i < 5; i++)
        if (i != 2)
            sets_note(cx, &b, i, "protocol", "llama.cpp");
    REQUIRE_OK(cx, make(cx, sets, 2, &none, &table));
    CHECK_INT(table.remarks.count, 0);
    CHECK_INT(table.footnotes.count, 5);
    CHECK_STR(table.footnotes.items[table.entries[0].notes.items[0] - 1], "ppl: protocol gptq, bos no");
    CHECK_STR(table.footnotes.items[table.entries[1].notes.items[0] - 1], "ppl: protocol llama.cpp, bos no");
    ql_results_fini(cx, &a);
    ql_results_fini(cx, &b);
}

/* Mean and deviation over seeds against two passes in double; seeds that failed are counted in a footnote. */
static void
test_seeds(ql_ctx *cx, uint64_t *random)
{
    static const char *const references[] = {"seed", "quant.bits", "x", "y"};
    static const char *const seeds[] = {"1", "2", "3", "4", "5", "6", "7"};
    ql_result_set set = {.run = "s-0", .references = references, .axis_count = 2, .reference_count = 4};
    const ql_result_set *const sets[] = {&set};
    const int64_t n = 1 + (int64_t)(test_u64(random) % 6);
    double values[7], mean = 0, square = 0;
    ql_table table;

    for (int64_t i = 0; i <= n; i++)
        sets_cell(cx, &set, (const char *const[]){seeds[i], "4", "-", "-"}, 0);
    for (int64_t i = 0; i < n; i++) {
        values[i] = 100 + test_normal(random);
        mean += values[i] / (double)n;
        sets_metric(cx, &set, i, "ppl", "perplexity", values[i]);
    }
    for (int64_t i = 0; i < n; i++)
        square += (values[i] - mean) * (values[i] - mean);
    set.cells[n].error = "singular";
    REQUIRE_OK(cx, make(cx, sets, 1, &(ql_table_spec){0}, &table));
    CHECK_INT(table.row_count, 1);
    CHECK_INT(table.key_count, 1);
    CHECK_STR(table.keys[0], "quant.bits");
    CHECK_INT(table.entries[0].count, n);
    CHECK_NEAR(table.entries[0].mean, mean, 1e-12 * mean * (double)n);
    CHECK_NEAR(table.entries[0].sd, n > 1 ? sqrt(square / (double)(n - 1)) : 0, 1e-10);
    CHECK_INT(table.footnotes.count, 1);
    CHECK(strstr(table.footnotes.items[0], "seeds failed: singular") != NULL);
    ql_results_fini(cx, &set);
}

static void
test_numbers(uint64_t *random)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},
                 {-0.0, "0"},
                 {5.47123456, "5.4712"},
                 {662.80001, "662.8000"},
                 {0.0123456, "0.01235"},
                 {1.5e-7, "1.500e-07"},
                 {12000, "12000"},
                 {0.12, "0.1200"},
                 {NAN, "nan"},
                 {-INFINITY, "-inf"},
                 {2.5e12, "2.500e+12"}};
    char text[QL_NUMBER_SIZE];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ql_number_short(cases[i].value, text);
        CHECK_STR(text, cases[i].text);
    }
    for (int i = 0; i < 1000; i++) {
        double value = test_normal(random) * pow(10, (double)(test_u64(random) % 600) - 300);

        ql_number_exact(value, text);
        CHECK(strtod(text, NULL) == value);
    }
}

/* The best of each row or column in the direction of its metric; original models don't compete, a metric that says
 * nothing has no best. */
static void
test_best(ql_ctx *cx)
{
    static ql_result_kind higher = {"ppl", "perplexity", NULL, "windows", QL_BETTER_HIGHER, true};
    ql_result_set set;
    const ql_result_set *const sets[] = {&set};
    ql_table_spec spec;
    ql_table t;

    sets_small(cx, "a-0", &set); /* 2 bit: 5.125, failed; 3 bit: 5.135, 5.155; the original 5.165 */
    spec = set.table;
    spec.best = QL_BEST_OF_ROW;
    REQUIRE_OK(cx, make(cx, sets, 1, &spec, &t));
    for (int64_t i = 0; i < 6; i++) /* the original's row; rtn at 2 bit, at 3 bit */
        CHECK_INT(t.entries[i].best, i == 2 || i == 4);
    spec.best = QL_BEST_OF_COLUMN;
    REQUIRE_OK(cx, make(cx, sets, 1, &spec, &t));
    for (int64_t i = 0; i < 6; i++)
        CHECK_INT(t.entries[i].best, i == 2 || i == 5);
    set.kinds = &higher;
    REQUIRE_OK(cx, make(cx, sets, 1, &spec, &t));
    for (int64_t i = 0; i < 6; i++)
        CHECK_INT(t.entries[i].best, i == 4 || i == 5);
    spec.value = "layers.rel_error";
    REQUIRE_OK(cx, make(cx, sets, 1, &spec, &t));
    for (int64_t i = 0; i < 6; i++)
        CHECK_INT(t.entries[i].best, false);
    ql_results_fini(cx, &set);
}

static void
test_differences(ql_ctx *cx)
{
    ql_result_set set;
    const ql_result_set *const sets[] = {&set};
    ql_table_spec spec;
    ql_table t;
    char *text;

    sets_small(cx, "a-0", &set);
    spec = set.table;
    spec.differences = true;
    REQUIRE_OK(cx, make(cx, sets, 1, &spec, &t));
    CHECK_INT(t.entries[0].count, 0); /* the original has no such cell */
    CHECK_NEAR(t.entries[2].mean, 0, 0);
    CHECK_NEAR(t.entries[2].sd, 0, 0);
    CHECK_INT(t.entries[3].failed, true);
    CHECK_NEAR(t.entries[5].mean, 0.02, 1e-12);
    CHECK(t.entries[5].spread && t.entries[5].sd > 0);
    CHECK_STR(
        t.remarks.items[t.remarks.count - 1],
        "differences from the cell with quant=rtn|x, \xc2\xb1 paired standard error, over seeds standard deviation");
    text = render(cx, sets, 1, &spec, QL_TABLE_MARKDOWN);
    CHECK(strstr(text, "+0.02000 \xc2\xb1 "));
    free(text);
    ql_results_fini(cx, &set);
}

/* Labels that TeX, a spreadsheet or a terminal would obey are text in every format. */
static void
test_hostile_labels(ql_ctx *cx)
{
    static const struct {
        const char *label, *tex, *csv, *md;
    } cases[] = {
        {"[2pt]", "\n{}[2pt] &", "\n[2pt],", "| \\[2pt\\] "},
        {" *x", "\n{} *x &", "\n *x,", "|  \\*x "},
        {"=cmd|'/c calc'!A0", "\n=cmd\\textbar{}'/c calc'!A0 &", "\n'=cmd|'/c calc'!A0,", "| =cmd\\|'/c calc'!A0 "},
        {"+1+1", "\n+1+1 &", "\n'+1+1,", "| +1+1 "},
        {"@SUM(1,1)", "\n@SUM(1,1) &", "\n\"'@SUM(1,1)\",", "| @SUM(1,1) "},
        {"-2.5", "\n-2.5 &", "\n-2.5,", "| -2.5 "},
        {"-", "\n- &", "\n-,", "| - "},
        {"\x1b[31mred\x7f", "\n\\textasciicircum{}[[31mred\\textasciicircum{}? &", "\n^[[31mred^?,",
         "| ^\\[\\[31mred^? "},
        {"a\xe2\x80\xae"
         "b\xc2\x9b"
         "c",
         "\na\xef\xbf\xbd"
         "b\xef\xbf\xbd"
         "c &",
         "\na\xef\xbf\xbd"
         "b\xef\xbf\xbd"
         "c,",
         "| a\xef\xbf\xbd"
         "b\xef\xbf\xbd"
         "c "},
        {"a\tb", "\na b &", "\na\tb,", "| a b "},
    };
    static const char *const references[] = {"quant", "x", "y", "z"};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct {
            ql_table_format format;
            const char *text;
        } formats[] = {{QL_TABLE_LATEX, cases[i].tex}, {QL_TABLE_CSV, cases[i].csv}, {QL_TABLE_MARKDOWN, cases[i].md}};
        ql_result_set set = {.run = "s-0", .references = references, .axis_count = 1, .reference_count = 4};
        const ql_result_set *const sets[] = {&set};

        sets_cell(cx, &set, (const char *const[]){cases[i].label, "-", "-", "-"}, 0);
        sets_metric(cx, &set, 0, "ppl", "perplexity", 2);
        for (size_t k = 0; k < 3; k++) {
            char *text = render(cx, sets, 1, &(ql_table_spec){0}, formats[k].format);

            if (!strstr(text, formats[k].text))
                TEST_FAIL("no \"%s\" in\n%s", formats[k].text, text);
            free(text);
        }
        ql_results_fini(cx, &set);
    }
}

int
main(void)
{
    uint64_t random = test_seed();
    ql_ctx cx;
    ql_scope scope;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    test_formats(&cx);
    test_errors(&cx);
    test_runs(&cx);
    test_seeds(&cx, &random);
    test_numbers(&random);
    test_best(&cx);
    test_differences(&cx);
    test_hostile_labels(&cx);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
