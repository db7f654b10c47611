/* results.db: what is saved comes back, a second save replaces, and files that are damaged or foreign are errors in
 * words. */
#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include "sets.h"

typedef struct place {
    char folder[64], db[128];
} place;

static void
open_place(place *p)
{
    snprintf(p->folder, sizeof p->folder, "/tmp/qloom-results-XXXXXX");
    if (!mkdtemp(p->folder))
        exit(1);
    snprintf(p->db, sizeof p->db, "%s/results.db", p->folder);
}

static void
close_place(const place *p)
{
    unlink(p->db);
    CHECK_INT(rmdir(p->folder), 0);
}

static void
check_same_text(const char *got, const char *want)
{
    if (!got && !want)
        return;
    CHECK_STR(got, want);
}

static void
check_same_number(double got, double want)
{
    if (isnan(want))
        CHECK(isnan(got));
    else
        CHECK(got == want);
}

static void
check_same_cell(const ql_result_cell *g, const ql_result_cell *w, int64_t references)
{
    CHECK_INT(g->baseline, w->baseline);
    CHECK_INT(g->original, w->original);
    check_same_text(g->error, w->error);
    for (int64_t i = 0; i < references; i++)
        check_same_text(g->labels[i], w->labels[i]);
    CHECK_INT(g->metric_count, w->metric_count);
    for (int64_t i = 0; i < g->metric_count && i < w->metric_count; i++) {
        CHECK_STR(g->metrics[i].stage, w->metrics[i].stage);
        CHECK_STR(g->metrics[i].name, w->metrics[i].name);
        check_same_number(g->metrics[i].value, w->metrics[i].value);
    }
    CHECK_INT(g->note_count, w->note_count);
    for (int64_t i = 0; i < g->note_count && i < w->note_count; i++)
        CHECK_STR(g->notes[i].value, w->notes[i].value);
    CHECK_INT(g->linear_count, w->linear_count);
    for (int64_t i = 0; i < g->linear_count && i < w->linear_count; i++) {
        CHECK_STR(g->linears[i].linear, w->linears[i].linear);
        check_same_number(g->linears[i].value, w->linears[i].value);
    }
    check_same_number(g->bits, w->bits);
    CHECK(g->cost.seconds == w->cost.seconds);
    CHECK_INT(g->cost.peak, w->cost.peak);
    CHECK_INT(g->list_count, w->list_count);
    for (int64_t i = 0; i < g->list_count && i < w->list_count; i++) {
        const ql_result_list *a = &g->lists[i], *b = &w->lists[i];

        CHECK_STR(a->name, b->name);
        check_same_text(a->linear, b->linear);
        CHECK_INT(a->count, b->count);
        for (int64_t k = 0; k < a->count && k < b->count; k++)
            check_same_number(a->values[k], b->values[k]);
    }
    CHECK_INT(g->footnote_count, w->footnote_count);
    for (int64_t i = 0; i < g->footnote_count && i < w->footnote_count; i++)
        CHECK_STR(g->footnotes[i], w->footnotes[i]);
}

static void
check_same(const ql_result_set *g, const ql_result_set *w)
{
    CHECK_STR(g->run, w->run);
    CHECK_STR(g->device, w->device);
    CHECK_INT(g->peak, w->peak);
    CHECK_INT(g->axis_count, w->axis_count);
    CHECK_INT(g->reference_count, w->reference_count);
    CHECK_INT(g->cell_count, w->cell_count);
    for (int64_t i = 0; i < g->cell_count && i < w->cell_count; i++)
        check_same_cell(&g->cells[i], &w->cells[i], w->reference_count);
    CHECK_INT(g->node_count, w->node_count);
    for (int64_t i = 0; i < g->node_count && i < w->node_count; i++) {
        const ql_result_node *a = &g->nodes[i], *b = &w->nodes[i];

        CHECK_STR(a->label, b->label);
        CHECK_STR(a->kind, b->kind);
        CHECK_INT(a->cells, b->cells);
        CHECK(a->cost.seconds == b->cost.seconds);
        CHECK_INT(a->edge_count, b->edge_count);
        for (int64_t k = 0; k < a->edge_count && k < b->edge_count; k++) {
            CHECK_STR(a->edges[k].port, b->edges[k].port);
            CHECK_INT(a->edges[k].from, b->edges[k].from);
        }
    }
    CHECK_INT(g->kind_count, w->kind_count);
    for (int64_t i = 0; i < g->kind_count && i < w->kind_count; i++) {
        CHECK_STR(g->kinds[i].parts, w->kinds[i].parts);
        check_same_text(g->kinds[i].unit, w->kinds[i].unit);
        CHECK_INT(g->kinds[i].better, w->kinds[i].better);
        CHECK_INT(g->kinds[i].exp, w->kinds[i].exp);
    }
    CHECK_INT(g->cite_count, w->cite_count);
    CHECK_STR(g->cites[0].cite, w->cites[0].cite);
    CHECK_STR(g->table.value, w->table.value);
    CHECK_INT(g->table.row_count, 1);
    CHECK_STR(g->table.rows[0], w->table.rows[0]);
    CHECK_STR(g->table.columns[0], w->table.columns[0]);
}

static void
test_round_trip(ql_ctx *cx)
{
    ql_result_set set, back;
    char folder[160];
    place p;

    open_place(&p);
    sets_small(cx, "tiny-00112233", &set);
    REQUIRE_OK(cx, ql_results_save(cx, p.folder, &set));
    REQUIRE_OK(cx, ql_results_load(cx, p.folder, "tiny-00112233", &back));
    check_same(&back, &set);
    ql_results_fini(cx, &back);

    /* saved again it is there once, with its new numbers; another run is left alone */
    set.cells[0].metrics[0].value = 7;
    REQUIRE_OK(cx, ql_results_save(cx, p.folder, &set));
    set.run = "other-00000000";
    REQUIRE_OK(cx, ql_results_save(cx, p.folder, &set));
    set.run = "tiny-00112233";
    snprintf(folder, sizeof folder, "%s/tiny-00112233//", p.folder);
    REQUIRE_OK(cx, ql_results_load(cx, "nowhere", folder, &back));
    check_same(&back, &set);
    ql_results_fini(cx, &back);

    CHECK_ERROR(cx, ql_results_load(cx, p.folder, "tiny-00112234", &back), QL_NOT_FOUND,
                "there is no run 'tiny-00112234' (did you mean 'tiny-00112233'?)");
    ql_results_fini(cx, &back);
    ql_results_fini(cx, &set);
    close_place(&p);
}

static void
test_means(ql_ctx *cx)
{
    ql_result_set set;

    sets_small(cx, "m-0", &set);
    REQUIRE_OK(cx, ql_results_means(cx, &set));
    CHECK_INT(set.cells[0].metric_count, 4); /* perplexity, rel_error, w_error, damp */
    CHECK_STR(set.cells[0].metrics[2].name, "w_error");
    CHECK_NEAR(set.cells[0].metrics[2].value, 1.5, 0);
    CHECK_NEAR(set.cells[0].metrics[3].value, 0.01, 0);
    CHECK_ERROR(cx, ql_results_metric(cx, &set, 0, &(ql_result_metric){"layers", "damp", 1}), QL_INVALID,
                "metric layers.damp was given twice");
    CHECK_ERROR(cx, ql_results_metric(cx, &set, 5, &(ql_result_metric){"a", "b", 1}), QL_BUG,
                "results have 5 cells, got a number for cell 5");
    ql_results_fini(cx, &set);
}

static void
exec(const place *p, const char *sql)
{
    sqlite3 *db;

    CHECK_INT(sqlite3_open(p->db, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* Every single statement that spoils a run, and the words for it. */
static void
test_damaged_rows(ql_ctx *cx)
{
    static const struct {
        const char *sql, *text;
    } cases[] = {
        {"UPDATE metrics SET stage = NULL WHERE cell = 0", "run 'tiny-00112233' is damaged: stage"},
        {"UPDATE labels SET reference = 'nothing' WHERE cell = 1 AND reference = 'quant'",
         "is damaged: a label of an axis that it has not"},
        {"PRAGMA foreign_keys = OFF; DELETE FROM cells WHERE cell = 1", "is damaged: cells are missing"},
        {"PRAGMA foreign_keys = OFF; DELETE FROM cells WHERE cell = 4", "is damaged: a row of a cell that it has not"},
        {"UPDATE cells SET original = 77 WHERE cell = 0", "is damaged: a cell of a baseline that it has not"},
        {"DELETE FROM lists WHERE cell = 0 AND item = 1", "is damaged: items of a list are missing"},
        {"DELETE FROM lists WHERE cell = 0 AND item = 0", "is damaged: items of a list are missing"},
        {"UPDATE edges SET source = 2 WHERE node = 1", "is damaged: an edge of a node that it has not"},
        {"PRAGMA foreign_keys = OFF; DELETE FROM nodes WHERE node = 0", "is damaged: nodes are missing"},
        {"PRAGMA user_version = 9", "has schema version 9, this qloom reads and writes 1 to 2"},
        {"PRAGMA application_id = 1", "not a results database"},
        {"DROP TABLE layouts", "no such table: layouts"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ql_result_set set, back;
        place p;

        open_place(&p);
        sets_small(cx, "tiny-00112233", &set);
        REQUIRE_OK(cx, ql_results_save(cx, p.folder, &set));
        exec(&p, cases[i].sql);
        CHECK_ERROR(cx, ql_results_load(cx, p.folder, "tiny-00112233", &back), QL_IO, cases[i].text);
        ql_results_fini(cx, &back);
        ql_results_fini(cx, &set);
        close_place(&p);
    }
}

/* A file of the first schema is read and written as one of today. */
static void
test_old(ql_ctx *cx)
{
    static const char old[] =
        "DROP TABLE lists; DROP TABLE kinds; DROP TABLE edges; DROP TABLE nodes;"
        "ALTER TABLE cells DROP COLUMN bits; ALTER TABLE cells DROP COLUMN seconds;"
        "ALTER TABLE cells DROP COLUMN peak_bytes;"
        "CREATE TABLE stages (run TEXT REFERENCES runs ON DELETE CASCADE, position INTEGER, stage TEXT, seconds REAL,"
        " calls INTEGER, up_bytes INTEGER, down_bytes INTEGER, peak_bytes INTEGER, PRIMARY KEY (run, position))"
        " WITHOUT ROWID;"
        "INSERT INTO stages VALUES ('tiny-00112233', 0, 'gptq bits=3', 2.5, 7, 0, 10, 4096);"
        "PRAGMA user_version = 1";
    ql_result_set set, back;

    for (int write = 0; write < 2; write++) {
        place p;

        open_place(&p);
        sets_small(cx, "tiny-00112233", &set);
        REQUIRE_OK(cx, ql_results_save(cx, p.folder, &set));
        exec(&p, old);
        set.run = write ? "other-00000000" : set.run;
        if (write)
            REQUIRE_OK(cx, ql_results_save(cx, p.folder, &set));
        REQUIRE_OK(cx, ql_results_load(cx, p.folder, "tiny-00112233", &back));
        CHECK_INT(back.cell_count, 5);
        CHECK(isnan(back.cells[0].bits));
        CHECK_INT(back.node_count, 1);
        CHECK_STR(back.nodes[0].label, "gptq bits=3");
        CHECK(back.nodes[0].cost.seconds == 2.5);
        ql_results_fini(cx, &back);
        ql_results_fini(cx, &set);
        close_place(&p);
    }
}

/* A file cut or overwritten anywhere gives an error or what was saved, and never a crash. */
static void
test_damaged_bytes(ql_ctx *cx, uint64_t *random)
{
    ql_result_set set, back;
    place p;

    open_place(&p);
    sets_small(cx, "tiny-00112233", &set);
    for (int round = 0; round < 40; round++) {
        char noise[64];
        off_t size, at;
        int fd;

        unlink(p.db);
        REQUIRE_OK(cx, ql_results_save(cx, p.folder, &set));
        fd = open(p.db, O_RDWR);
        size = lseek(fd, 0, SEEK_END);
        at = (off_t)(test_u64(random) % (uint64_t)size);
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (char)test_u64(random);
        if (round % 2)
            CHECK_INT(ftruncate(fd, at), 0);
        else
            CHECK_INT(pwrite(fd, noise, sizeof noise, at), sizeof noise);
        close(fd);
        (void)ql_results_load(cx, p.folder, "tiny-00112233", &back);
        ql_results_fini(cx, &back);
        (void)ql_results_save(cx, p.folder, &set);
    }
    ql_results_fini(cx, &set);
    close_place(&p);
}

static void
test_foreign(ql_ctx *cx)
{
    ql_result_set set, back;
    place p;
    FILE *f;

    open_place(&p);
    sets_small(cx, "tiny-00112233", &set);
    CHECK_ERROR(cx, ql_results_load(cx, p.folder, "tiny", &back), QL_NOT_FOUND,
                "results.db: there are no results here");
    ql_results_fini(cx, &back);
    exec(&p, "CREATE TABLE mine (a)");
    CHECK_ERROR(cx, ql_results_save(cx, p.folder, &set), QL_IO, "not a results database; move it away");
    unlink(p.db);
    f = fopen(p.db, "w");
    for (int i = 0; i < 1000; i++)
        fputs("no database at all\n", f);
    fclose(f);
    CHECK_ERROR(cx, ql_results_save(cx, p.folder, &set), QL_IO, "not a results database; move it away");
    ql_results_fini(cx, &set);
    close_place(&p);
    CHECK_ERROR(cx, ql_results_save(cx, "/nowhere/at/all", &set), QL_IO, "unable to open database file");
}

/* The n-th allocation fails: an error, no leak, and the set is still good to close. */
static void
test_memory(ql_ctx *cx)
{
    ql_result_set set, back;
    place p;
    bool failed = true;

    open_place(&p);
    sets_small(cx, "tiny-00112233", &set);
    REQUIRE_OK(cx, ql_results_save(cx, p.folder, &set));
    for (int64_t n = 1; failed && n < 10000; n++) {
        cx->fail_alloc = n;
        failed = ql_results_load(cx, p.folder, "tiny-00112233", &back) != QL_OK;
        cx->fail_alloc = 0;
        ql_results_fini(cx, &back);
    }
    CHECK(!failed);
    ql_results_fini(cx, &set);
    close_place(&p);
}

int
main(void)
{
    uint64_t random = test_seed();
    ql_ctx cx;
    ql_scope scope;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    test_round_trip(&cx);
    test_means(&cx);
    test_damaged_rows(&cx);
    test_old(&cx);
    test_damaged_bytes(&cx, &random);
    test_foreign(&cx);
    test_memory(&cx);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
