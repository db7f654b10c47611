/* results.db of earlier versions of the schema: they show what they showed to the program that wrote them. */
#include "report/report.h"
#include "report/table.h"
#include "runs.h"

static char *
read_file(ql_ctx *cx, const char *name)
{
    const char *source = getenv("QLOOM_SOURCE");
    FILE *f = fopen(ql_format(cx, "%s/tests/unit/data/%s", source ? source : ".", name), "r");
    char *text = calloc(1, 1 << 17);

    if (!f || !text)
        exit(1);
    CHECK(fread(text, 1, (1 << 17) - 1, f) > 0);
    fclose(f);
    return text;
}

/* The old run shows the file's text. */
static void
check_output(const place *p, const char *name)
{
    ql_ctx *cx = p->cx;
    char *want = read_file(cx, name), *got = NULL;
    ql_table_spec spec;
    size_t size;
    FILE *f = open_memstream(&got, &size);
    ql_book b;

    REQUIRE_OK(cx, ql_book_open(cx, &b));
    REQUIRE_OK(cx, ql_book_add(&b, p->folder, "old-04d299df", true));
    REQUIRE_OK(cx, ql_book_spec(&b, &spec));
    if (strstr(name, ".json"))
        CHECK_OK(cx, ql_table_write(&b, &spec, QL_TABLE_JSON, f));
    else
        CHECK_OK(cx, ql_plot_write(&b, &(ql_table_spec){0}, "heat", NULL, f));
    fclose(f);
    ql_book_close(&b);
    CHECK_STR(got, want);
    free(got);
    free(want);
}

/* A file that an earlier program wrote shows what it showed there. */
static void
test_version_2(ql_ctx *cx, ql_registry *registry)
{
    char *sql = read_file(cx, "results-2.sql");
    ql_result_set set;
    place p;

    open_place(cx, registry, &p);
    exec(&p, sql);
    free(sql);
    REQUIRE_OK(cx, ql_results_load(cx, p.folder, "old-04d299df", &set));
    check_output(&p, "results-2.json");
    check_output(&p, "results-2-heat.svg");
    ql_results_fini(cx, &set);
    CHECK_INT(ask(&p, "PRAGMA user_version"), 3);
    save(&p, "tiny-00112233", 1); /* beside it, and its nodes stay */
    check_run(&p, "tiny-00112233", 1);
    REQUIRE_OK(cx, ql_results_load(cx, p.folder, "old-04d299df", &set));
    check_output(&p, "results-2.json");
    ql_results_fini(cx, &set);
    exec(&p, "UPDATE fact SET value = 1 WHERE node = 1 AND position = 0");
    CHECK_ERROR(cx, ql_results_load(cx, p.folder, "old-04d299df", &set), QL_IO, "don't have their digest");
    close_place(&p);
}

/* Version 1 knew no lists, kinds and costs of cells. */
static void
test_version_1(ql_ctx *cx, ql_registry *registry)
{
    static const char older[] =
        "DROP TABLE lists; DROP TABLE kinds; DROP TABLE edges; DROP TABLE nodes;"
        "ALTER TABLE cells DROP COLUMN bits; ALTER TABLE cells DROP COLUMN seconds;"
        "ALTER TABLE cells DROP COLUMN peak_bytes;"
        "CREATE TABLE stages (run TEXT REFERENCES runs ON DELETE CASCADE, position INTEGER, stage TEXT, seconds REAL,"
        " calls INTEGER, up_bytes INTEGER, down_bytes INTEGER, peak_bytes INTEGER, PRIMARY KEY (run, position))"
        " WITHOUT ROWID;"
        "INSERT INTO stages VALUES ('old-04d299df', 0, 'gptq bits=3', 2.5, 7, 0, 10, 4096);"
        "PRAGMA user_version = 1";

    for (int write = 0; write < 2; write++) {
        char *sql = read_file(cx, "results-2.sql");
        ql_result_set set;
        place p;

        open_place(cx, registry, &p);
        exec(&p, sql);
        free(sql);
        exec(&p, older);
        if (write)
            save(&p, "other-00000000", 1);
        REQUIRE_OK(cx, ql_results_load(cx, p.folder, "old-04d299df", &set));
        CHECK_INT(set.cell_count, 4);
        CHECK(isnan(set.cells[0].bits));
        CHECK_INT(set.cells[0].list_count, 0);
        CHECK_INT(set.node_count, 1);
        CHECK_STR(set.nodes[0].label, "gptq bits=3");
        CHECK(set.nodes[0].cost.seconds == 2.5);
        check_output(&p, "results-2.json");
        ql_results_fini(cx, &set);
        close_place(&p);
    }
}

int
main(void)
{
    ql_registry *registry;
    ql_ctx cx;
    ql_scope scope;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    registry = toy_registry(&cx);
    if (!registry)
        exit(1);
    test_version_2(&cx, registry);
    test_version_1(&cx, registry);
    ql_registry_close(registry);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
