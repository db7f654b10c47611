/* The report's structure: markup that balances whatever the labels say, a row each cell, a path each series, a
 * caption and a table of numbers each figure, and nothing from outside. The browser's view of it is
 * tests/cli/browser.sh. */
#include "sets.h"

#include "core/base/printer.h"
#include "report/figures.h"
#include "report/report.h"
#include "report/svg.h"
#include "report/table.h"

#define HOSTILE "</td><script>alert('1')</script>&\"\x01\xff"
#define SAFE "&lt;/td&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;^A\xef\xbf\xbd"

static int64_t
count(const char *text, const char *part)
{
    const size_t bytes = strlen(text), n = strlen(part);
    int64_t found = 0;

    for (size_t i = 0; i + n <= bytes; i++)
        found += memcmp(text + i, part, n) == 0;
    return found;
}

/* Every element that opens closes, in order; attributes in double quotes hold no '<'. */
static void
check_balance(const char *text)
{
    static const char *const alone[] = {"meta", "link", "!doctype", "path/", "rect/", "circle/"};
    char open[64][32];
    int depth = 0;

    for (const char *p = strchr(text, '<'); p; p = strchr(p + 1, '<')) {
        const bool closes = p[1] == '/';
        const char *name = p + 1 + closes, *end = name;
        bool quoted = false, single = false;
        size_t n = strcspn(name, " >\n");

        for (; *end && (quoted || *end != '>'); end++) {
            quoted = quoted != (*end == '"');
            if (quoted && *end == '<')
                TEST_FAIL("an attribute holds '<': %.40s", p);
        }
        for (size_t i = 0; i < 3; i++)
            single = single || strncmp(name, alone[i], strlen(alone[i])) == 0;
        single = single || end[-1] == '/';
        if (closes && (depth == 0 || strncmp(open[depth - 1], name, n) != 0 || open[depth - 1][n])) {
            TEST_FAIL("%.*s closes what is not open (%s is): %.60s", (int)n, name, depth ? open[depth - 1] : "nothing",
                      p);
            return;
        }
        if (closes)
            depth--;
        else if (!single && depth < 64)
            snprintf(open[depth++], sizeof *open, "%.*s", (int)n, name);
    }
    CHECK_INT(depth, 0);
}

static const char *
report(ql_ctx *cx, const ql_result_set *const *sets, int64_t sets_count, const ql_table_spec *spec)
{
    ql_book b = set_book(cx, sets, sets_count);
    const char *text = NULL;
    ql_printer p;

    REQUIRE_OK(cx, ql_printer_open(cx, &p));
    REQUIRE_OK(cx, ql_report_write(&b, spec, p.out));
    ql_book_close(&b);
    REQUIRE_OK(cx, ql_printer_close(cx, &p, &text));
    return text;
}

static const char *
plot(ql_ctx *cx, const ql_result_set *set, const char *figure)
{
    ql_book b = set_book(cx, &set, 1);
    const char *text = NULL;
    ql_printer p;

    REQUIRE_OK(cx, ql_printer_open(cx, &p));
    REQUIRE_OK(cx, ql_plot_write(&b, &set->table, figure, NULL, p.out));
    ql_book_close(&b);
    REQUIRE_OK(cx, ql_printer_close(cx, &p, &text));
    return text;
}

/* The small set with errors of linears in two layers, and singular values. */
static void
full_set(ql_ctx *cx, ql_result_set *set)
{
    static ql_result_kind kinds[] = {{"ppl", "perplexity", NULL, "windows", QL_BETTER_LOWER, true},
                                     {"layers", "error", NULL, NULL, QL_BETTER_LOWER, false}};
    static double values[] = {3, 2, 1, 0.5, 0};

    sets_small(cx, "tiny-00112233", set);
    set->kinds = kinds;
    set->kind_count = 2;
    for (int64_t c = 0; c < 2; c++) {
        static const char *const linears[] = {"model.layers.0.a.up", "model.layers.1.a.up", "model.layers.1.a.<down>"};

        for (int k = 0; k < 3; k++) {
            sets_linear(cx, set, c, &(ql_result_linear){"layers", linears[k], "error", 0.25 * (k + 1.0)});
            values[0] += 0.5;
            sets_list(cx, set, c,
                      &(ql_result_list){.stage = "sv",
                                        .linear = linears[0],
                                        .count = 5,
                                        .name = k == 0   ? "weight"
                                                : k == 1 ? "error"
                                                         : "compensated error",
                                        .values = values});
        }
    }
}

/* What follows `from` up to `to`, in a buffer of the caller. */
static void
cut(const char *text, const char *from, const char *to, char *out, size_t size)
{
    const char *a = strstr(text, from), *b = a ? strstr(a, to) : NULL;

    out[0] = '\0';
    if (!a || !b || (size_t)(b - a) >= size)
        TEST_FAIL("no piece from \"%s\" to \"%s\"", from, to);
    else
        snprintf(out, size, "%.*s", (int)(b - a), a);
}

static void
test_page(ql_ctx *cx)
{
    static char part[1 << 18];
    ql_result_set set;
    const ql_result_set *sets[] = {&set};
    const char *text;

    full_set(cx, &set);
    text = report(cx, sets, 1, &set.table);
    check_balance(text);
    cut(text, "<section id=\"table\"", "</section>", part, sizeof part);
    CHECK_INT(count(part, "<tr"), 1 + 3); /* the head; the original, 2 and 3 bits */
    cut(text, "<section id=\"cells\"", "</section>", part, sizeof part);
    CHECK_INT(count(part, "<tr"), 1 + 5);
    CHECK_INT(count(part, "failed</em>"), 1);
    CHECK_INT(count(part, "<td class=\"n\">+"), 0); /* the small set's cells are below its baseline */
    cut(text, "<section id=\"pareto\"", "</section>", part, sizeof part);
    CHECK_INT(count(part, "<path class=\"series"), 2);
    CHECK_INT(count(part, "<tr>"), 1 + 3); /* three cells have a number */
    CHECK(strstr(part, "Cells that failed are left out."));
    CHECK(!strstr(part, "Not all numbers were made in the same way"));
    cut(text, "<section id=\"heat\"", "</section>", part, sizeof part);
    CHECK_INT(count(part, "<g class=\"map series\""), 2);
    CHECK_INT(count(part, "<rect class=\"cell\" x=\"74.0\""), 2 * 1); /* layer 0 has one linear */
    CHECK_INT(count(part, "<tr>"), 1 + 6);
    cut(text, "<section id=\"spectrum\"", "</section>", part, sizeof part);
    CHECK_INT(count(part, "<path class=\"series"), 6); /* all lists differ */
    CHECK_INT(count(part, "stroke-dasharray=\"5 3\""), 2 * 2);
    cut(text, "<section id=\"time\"", "</section>", part, sizeof part);
    CHECK_INT(count(part, "<path class=\"bar series"), 3);
    cut(text, "<section id=\"graph\"", "</section>", part, sizeof part);
    CHECK_INT(count(part, "<g class=\"node\">"), 3);
    CHECK_INT(count(part, "<path class=\"edge\""), 2);

    CHECK_INT(count(text, "<figure>"), 7);
    CHECK_INT(count(text, "<figcaption>"), 7);
    CHECK_INT(count(text, "<summary>Numbers</summary><div class=\"scroll\"><table"), 7);
    CHECK_INT(count(text, " d=\"\""), 0);
    ql_results_fini(cx, &set);
}

static void
test_hostile(ql_ctx *cx)
{
    ql_result_set set;
    ql_result_set other;
    const ql_result_set *sets[] = {&set, &other};
    const char *text, *svg;

    full_set(cx, &set);
    set.run = set.device = set.version = HOSTILE;
    set.references = (const char *const[]){HOSTILE, "quant.bits", "quant.use", "fix.use"};
    set.nodes[0].label = set.nodes[1].stage = set.nodes[1].kind = HOSTILE;
    set.kinds[1].unit = HOSTILE;
    for (int64_t i = 0; i < 5; i++) {
        set.cells[i].labels[0] = set.cells[i].labels[2] = i < 2 ? HOSTILE : "x";
        for (int64_t k = 0; k < set.cells[i].linear_count; k++)
            set.cells[i].linears[k].linear = HOSTILE;
        for (int64_t k = 0; k < set.cells[i].list_count; k++)
            if (set.cells[i].lists[k].linear)
                set.cells[i].lists[k].linear = HOSTILE;
    }
    set.cells[2].error = HOSTILE;
    set.cells[0].metrics[0].value = 1e308; /* what can't be drawn isn't */
    set.cells[1].metrics[0].value = -1e308;
    set.cells[3].bits = INFINITY;
    set.nodes[2].cost.seconds = INFINITY;
    set.cells[0].linears[3].value = 1e308;
    set.cells[0].linears[4].value = -1e308;
    other = set;
    other.run = HOSTILE " again"; /* numbers of one run may meet, those of two may not */
    for (int64_t n = 1; n <= 2; n++) {
        text = report(cx, sets, n, n == 1 ? &set.table : &(ql_table_spec){.value = "ppl.perplexity"});
        check_balance(text);
        CHECK_INT(count(text, "<script"), 0);
        CHECK_INT(count(text, "alert('"), 0);
        CHECK(count(text, SAFE) > 10);
        /* nothing is fetched: the one link is empty data, the one URL names the dialect of SVG */
        CHECK_INT(count(text, "://"), count(text, "xmlns=\"http://www.w3.org/2000/svg\""));
        CHECK_INT(count(text, "href="), 1);
        CHECK_INT(count(text, "href=\"data:,\""), 1);
        CHECK_INT(count(text, "src="), 0);
        CHECK_INT(count(text, "nan,") + count(text, ",nan") + count(text, "=\"nan") + count(text, "inf,") +
                      count(text, ",inf") + count(text, "hinf"),
                  0);
        CHECK_INT(count(text, "url("), 0);
        CHECK_INT(count(text, "@import"), 0);
    }
    for (const ql_figure_kind *k = ql_figures; k->name; k++) {
        svg = plot(cx, &set, k->name);
        check_balance(svg);
        CHECK(strncmp(svg, "<svg xmlns=", 11) == 0);
        CHECK_INT(count(svg, "<style>"), 1);
        CHECK_INT(count(svg, "<script"), 0);
    }
    set.kinds[1].unit = set.nodes[1].stage = NULL; /* they are static */
    set.nodes[1] = (ql_result_node){.stage = "quant", .kind = "quantizer", .label = "gptq"};
    ql_results_fini(cx, &set);
}

/* Numbers of different protocols don't meet without a word. */
static void
test_protocols(ql_ctx *cx)
{
    ql_result_set set;
    const ql_result_set *sets[] = {&set};

    sets_small(cx, "tiny-00112233", &set);
    sets_note(cx, &set, 1, "protocol", "llama.cpp");
    CHECK(strstr(report(cx, sets, 1, &set.table), "Not all numbers were made in the same way: the table says how."));
    ql_results_fini(cx, &set);
}

/* Results without anything to draw give a page all the same. */
static void
test_little(ql_ctx *cx)
{
    ql_result_set set;
    const ql_result_set *sets[] = {&set};
    const char *text;
    ql_book b;

    sets_small(cx, "tiny-00112233", &set);
    set.node_count = set.kind_count = 0;
    for (int64_t i = 0; i < set.cell_count; i++)
        set.cells[i].bits = NAN;
    text = report(cx, sets, 1, &set.table);
    check_balance(text);
    CHECK_INT(count(text, "<figure>"), 0);
    b = set_book(cx, sets, 1);
    CHECK_ERROR(cx, ql_plot_write(&b, &set.table, "pareto", NULL, stdout), QL_NOT_FOUND,
                "plot: these results have nothing that 'pareto' could show");
    CHECK_ERROR(cx, ql_plot_write(&b, &set.table, "pie", NULL, stdout), QL_INVALID,
                "plot: there is no figure 'pie', expected one of pareto, series, time, memory, spectrum, heat, graph");
    ql_book_close(&b);
    set.cell_count = 0;
    text = report(cx, sets, 1, &(ql_table_spec){.value = "ppl.perplexity"});
    check_balance(text);
    ql_results_fini(cx, &set);
}

/* Ticks rise, lie on the axis, and there are at least two; the ends of the data lie inside. */
static void
test_scales(uint64_t seed)
{
    for (int i = 0; i < 2000; i++) {
        const double low = pow(10, 12 * test_uniform(&seed) - 6) * (test_u64(&seed) % 2 ? 1 : -1);
        const double high = low + fabs(low) * pow(10, 8 * test_uniform(&seed) - 4);
        const bool log = test_u64(&seed) % 2;
        const ql_scale s = ql_scale_make(low, high, log, 0, 100);

        CHECK_INT(s.log, log && low > 0);
        CHECK(s.tick_count >= 2 && s.tick_count <= QL_TICKS_MAX);
        for (int k = 0; k < s.tick_count; k++)
            if (ql_scale_at(&s, s.ticks[k]) < -1e-9 || ql_scale_at(&s, s.ticks[k]) > 100 + 1e-9 ||
                (k && s.ticks[k] <= s.ticks[k - 1]))
                TEST_FAIL("tick %d of [%g, %g] is %g", k, low, high, s.ticks[k]);
        CHECK(ql_scale_at(&s, low) > 0 && ql_scale_at(&s, low) <= ql_scale_at(&s, high) && ql_scale_at(&s, high) < 100);
    }
    CHECK(ql_scale_make(3, 3, false, 0, 100).tick_count >= 2);
    CHECK(ql_scale_make(0, 0, true, 0, 100).tick_count >= 2);
    CHECK(ql_scale_make(1e-300, 1e300, true, 0, 100).tick_count >= 2);
}

static void
test_text(ql_ctx *cx)
{
    CHECK_STR(ql_svg_fit(cx, "short", 100), "short");
    CHECK_STR(ql_svg_fit(cx, "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4", 3 * ql_svg_text_width("a")),
              "\xc3\xa4\xc3\xb6\xe2\x80\xa6");
    CHECK_STR(ql_svg_fit(cx, "abc", 0), "\xe2\x80\xa6");
}

int
main(void)
{
    ql_scope scope;
    ql_ctx cx;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    test_page(&cx);
    test_protocols(&cx);
    test_little(&cx);
    test_hostile(&cx);
    test_scales(test_seed());
    test_text(&cx);
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
