/* results.db: facts of nodes and the runs that show them; what was kept comes back, a second run replaces, and files that are damaged or
 * foreign are told apart. */
#include <fcntl.h>
#include <sys/stat.h>

#include "core/base/path.h"
#include "runs.h"

/* --- runs --- */

static void
test_round_trip(ql_ctx *cx, ql_registry *registry)
{
    char folder[160];
    ql_result_set set;
    place p;

    open_place(cx, registry, &p);
    save(&p, "tiny-00112233", 1);
    check_run(&p, "tiny-00112233", 1);
    snprintf(folder, sizeof folder, "%s/tiny-00112233//", p.folder);
    REQUIRE_OK(cx, ql_results_load(cx, "nowhere", folder, &set));
    ql_results_fini(cx, &set);

    /* again it is there once, with its new numbers, and another run shows the same nodes */
    save(&p, "tiny-00112233", 2);
    save(&p, "other-00000000", 2);
    check_run(&p, "tiny-00112233", 2);
    CHECK_INT(ask(&p, "SELECT count(*) FROM run"), 2);
    CHECK_INT(ask(&p, "SELECT count(*) FROM node"), ALL + CELLS);
    CHECK_INT(ask(&p, "SELECT count(*) FROM label"),
              2 * ALL * ask(&p, "SELECT count(*) FROM axis WHERE run = (SELECT max(id) FROM run)"));
    CHECK_ERROR(cx, ql_results_load(cx, p.folder, "tiny-00112234", &set), QL_NOT_FOUND,
                "there is no run 'tiny-00112234' (did you mean 'tiny-00112233'?)");
    close_place(&p);
}

/* A run that stopped keeps its facts, though it is no run that anybody sees; what it had not kept is gone. */
static void
test_interrupted(ql_ctx *cx, ql_registry *registry)
{
    const uint64_t key[2] = {1, 3}, stray[2] = {7, 7};
    ql_facts facts = {0};
    ql_results *r;
    ql_result_set set;
    ql_cost cost;
    int64_t node;
    bool known;
    place p;

    open_place(cx, registry, &p);
    r = open_results(&p);
    REQUIRE_OK(cx, ql_run_begin(r, &p.graph, "tiny-00112233"));
    REQUIRE_OK(cx, fill(r, &p, 1));
    REQUIRE_OK(cx, ql_results_node(r, key, node_of(&p, 3, "ppl"), &node));
    REQUIRE_OK(cx, ql_fact(cx, &facts, "lost", NULL, 1));
    REQUIRE_OK(cx, ql_results_add(r, node, 5, NULL, &facts));
    ql_facts_fini(&facts);
    ql_results_close(r);
    CHECK_ERROR(cx, ql_results_load(cx, p.folder, "tiny-00112233", &set), QL_NOT_FOUND, "there is no run");

    save(&p, "other-00000000", 1); /* it finishes first, and leaves the other's facts */
    r = open_results(&p);
    REQUIRE_OK(cx, ql_run_begin(r, &p.graph, "tiny-00112233"));
    REQUIRE_OK(cx, ql_results_node(r, key, node_of(&p, 3, "ppl"), &node));
    REQUIRE_OK(cx, ql_results_known(r, node, QL_WHOLE_MODEL, &cost, &known));
    CHECK(known && cost.seconds == 1.5 && cost.calls == 2 && cost.peak == 5);
    REQUIRE_OK(cx, ql_results_known(r, node, 5, &cost, &known));
    CHECK(!known);
    REQUIRE_OK(cx, ql_results_node(r, stray, node_of(&p, 0, "ppl"), &node));
    REQUIRE_OK(cx, fill(r, &p, 1));
    REQUIRE_OK(cx, ql_run_end(r, &end));
    ql_results_close(r);
    check_run(&p, "tiny-00112233", 1);
    CHECK_INT(ask(&p, "SELECT count(*) FROM run"), 2);
    CHECK_INT(ask(&p, "SELECT count(*) FROM node"), ALL + CELLS); /* the stray one is gone */
    close_place(&p);
}

static void
test_facts(ql_ctx *cx)
{
    ql_facts f = {0};

    CHECK_OK(cx, ql_fact(cx, &f, "acc", NULL, 1));
    CHECK_OK(cx, ql_fact(cx, &f, "acc", "law", 1));
    CHECK_ERROR(cx, ql_fact(cx, &f, "acc", "law", 2), QL_INVALID, "the fact 'acc.law' was given twice");
    CHECK_ERROR(cx, ql_fact(cx, &f, "acc", NULL, 2), QL_INVALID, "the fact 'acc' was given twice");
    CHECK_OK(cx, ql_fact_list(cx, &f, "acc", 0, NULL));
    CHECK_ERROR(cx, ql_fact_list(cx, &f, "acc", 0, NULL), QL_INVALID, "the list 'acc' was given twice");
    CHECK_ERROR(cx, ql_fact(cx, &f, "a name that is far longer than any name of a fact has to be", NULL, 1), QL_BUG,
                "is longer than 47 bytes");
    CHECK_INT(f.count, 3);
    ql_facts_fini(&f);
}

/* Cells that are the original model themselves have no other row for it; with one cell that isn't, all have. */
static void
test_plain(ql_ctx *cx, ql_registry *registry)
{
    static const struct {
        const char *stages;
        int64_t cells, baselines;
        const char *label; /* of the first cell under base.use */
    } cases[] = {
        {"  ppl: {use: score, model: $base, data: $eval}\nmatrix:\n  eval.samples: [1, 2]\n", 2, 0, "toy"},
        {"  ppl: {use: score, model: $base, data: $eval}\n", 1, 0, "original"},
        {"  quant: {use: plain, model: $base}\n  ppl: {use: score, model: $quant, data: $eval}\nmatrix:\n"
         "  eval.samples: [1, 2]\n",
         2, 2, "toy"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *text = ql_format(cx,
                                     "qloom: 1\nname: t\nstages:\n  base: {use: toy, path: m}\n"
                                     "  eval: {use: words, path: e}\n%s",
                                     cases[i].stages);
        ql_results *r;
        ql_result_set set;
        ql_graph g;

        REQUIRE_OK(cx, ql_graph_parse(cx, registry, "t.yaml", text, strlen(text), NULL, &g));
        REQUIRE_OK(cx, ql_results_open(cx, NULL, true, &r));
        REQUIRE_OK(cx, ql_run_begin(r, &g, "t-0"));
        REQUIRE_OK(cx, ql_run_end(r, &end));
        REQUIRE_OK(cx, ql_results_read(cx, r, ql_run_id(r), &set));
        CHECK_INT(set.cell_count, cases[i].cells + cases[i].baselines);
        for (int64_t k = 0; k < set.reference_count; k++)
            if (strcmp(set.references[k], "base.use") == 0)
                CHECK_STR(set.cells[0].labels[k], cases[i].label);
        for (int64_t c = 0; c < set.cell_count; c++) {
            CHECK_INT(set.cells[c].baseline, c >= cases[i].cells);
            CHECK_INT(set.cells[c].original, c < cases[i].baselines ? cases[i].cells + c : -1);
        }
        ql_results_fini(cx, &set);
        ql_results_close(r);
    }
}

/* --- damage --- */

/* Every single statement that spoils a run: it is an error to show it; and where facts are spoilt they are no longer known. */
static void
test_damaged_rows(ql_ctx *cx, ql_registry *registry)
{
    static const struct {
        const char *sql, *text;
        bool facts;
    } cases[] = {
        {"UPDATE fact SET value = value + 1 WHERE name = 'perplexity' AND node = 1", "its rows don't have their digest",
         true},
        {"UPDATE fact SET value = NULL WHERE name = 'perplexity' AND node = 1", "don't have their digest", true},
        {"UPDATE fact SET name = 'loss' WHERE name = 'perplexity' AND node = 1", "don't have their digest", true},
        {"UPDATE fact SET part = 'arts' WHERE part = 'law' AND node = 1", "don't have their digest", true},
        {"DELETE FROM fact WHERE name = 'windows' AND part = 1 AND node = 1", "don't have their digest", true},
        {"UPDATE note SET value = 'other' WHERE node = 1", "don't have their digest", true},
        {"DELETE FROM note WHERE node = 1", "don't have their digest", true},
        {"DELETE FROM cost WHERE node = 1", "don't have their digest", true},
        {"UPDATE cost SET digest = NULL WHERE node = 1", "don't have their digest", true},
        {"UPDATE node SET key = 'x' || key WHERE id = 1", "don't have their digest", false},
        {"UPDATE fact SET value = 2 * value WHERE linear = 'a' AND name = 'error' AND block = 0",
         "don't have their digest", false},
        {"UPDATE cell SET original = 77 WHERE number = 0", "don't have their digest", false},
        {"UPDATE cell SET error = NULL", "don't have their digest", false},
        {"UPDATE cell SET bits = 1 WHERE number = 0", "don't have their digest", false},
        {"UPDATE label SET label = '3' WHERE label = '2'", "don't have their digest", false},
        {"UPDATE cell_node SET node = 3 WHERE node = 1", "don't have their digest", false},
        {"UPDATE axis SET in_matrix = 0", "don't have their digest", false},
        {"DELETE FROM cell WHERE number = 1", "don't have their digest", false},
        {"UPDATE edge SET source = 2", "don't have their digest", false},
        {"UPDATE stage SET label = 'other'", "don't have their digest", false},
        {"UPDATE layout SET reference = 'quant'", "don't have their digest", false},
        {"UPDATE run SET digest = NULL", "don't have their digest", false},
        {"PRAGMA user_version = 9", "has schema version 9, this qloom reads and writes 1 to 3", false},
        {"PRAGMA application_id = 1", "not a results database", false},
        {"DROP TABLE layout", "its tables are not those that qloom makes", false},
        {"CREATE TABLE mine (a)", "its tables are not those that qloom makes", false},
        {"ALTER TABLE layout ADD COLUMN more TEXT", "its tables are not those that qloom makes", false},
        {"CREATE TRIGGER t AFTER DELETE ON run BEGIN SELECT 1; END", "has views or triggers", false},
        {"DROP TABLE layout; CREATE VIEW layout AS WITH RECURSIVE n(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM n)"
         " SELECT 1 AS run, 'row' AS part, 0 AS position, 'x' AS reference FROM n WHERE x < 0",
         "has views or triggers", false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ql_result_set set;
        place p;

        open_place(cx, registry, &p);
        save(&p, "tiny-00112233", 1);
        exec(&p, cases[i].sql);
        CHECK_ERROR(cx, ql_results_load(cx, p.folder, "tiny-00112233", &set), QL_IO, cases[i].text);
        if (cases[i].facts) {
            ql_results *r = open_results(&p);
            ql_cost cost;
            bool known = true;

            REQUIRE_OK(cx, ql_results_known(r, 1, QL_WHOLE_MODEL, &cost, &known));
            CHECK(!known);
            CHECK(strstr(p.log, "facts of a stage are damaged; they are worked out again"));
            ql_results_close(r);
            CHECK_INT(ask(&p, "SELECT count(*) FROM fact WHERE node = 1 AND block = -1"), 0);
            save(&p, "tiny-00112233", 1);
            check_run(&p, "tiny-00112233", 1);
        }
        close_place(&p);
    }
}

/* A query without end stops when the user wishes. */
static void
test_interrupt(ql_ctx *cx, ql_registry *registry)
{
    static const char endless[] =
        "WITH RECURSIVE n(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n WHERE x < 0";
    const volatile int stop = 1;
    ql_results *r;
    ql_sheet rows;
    place p;

    open_place(cx, registry, &p);
    r = open_results(&p);
    cx->interrupt = &stop;
    CHECK_ERROR(cx, ql_sheet_read(r, &rows, endless, ""), QL_INTERRUPTED, "interrupted");
    cx->interrupt = NULL;
    ql_results_close(r);
    close_place(&p);
}

/* A file cut or overwritten anywhere gives an error or what was saved, and never a crash or other numbers. */
static void
test_damaged_bytes(ql_ctx *cx, ql_registry *registry, uint64_t *random)
{
    place p;

    open_place(cx, registry, &p);
    for (int round = 0; round < 24; round++) {
        unsigned char noise[64];
        ql_result_set set;
        off_t size, at;
        int fd;

        unlink(p.db);
        save(&p, "tiny-00112233", 1);
        fd = open(p.db, O_RDWR);
        size = lseek(fd, 0, SEEK_END);
        at = (off_t)(test_u64(random) % (uint64_t)size);
        CHECK(pread(fd, noise, 1, at) >= 0);
        noise[0] ^= (unsigned char)(1 << test_u64(random) % 8);
        for (size_t i = 1; i < sizeof noise; i++)
            noise[i] = (unsigned char)test_u64(random);
        if (round % 3 == 0)
            CHECK_INT(ftruncate(fd, at), 0);
        else
            CHECK(pwrite(fd, noise, round % 3 == 1 ? 1 : sizeof noise, at) > 0);
        close(fd);
        if (ql_results_load(cx, p.folder, "tiny-00112233", &set) == QL_OK) {
            ql_results_fini(cx, &set);
            check_run(&p, "tiny-00112233", 1);
        }
        ql_error_clear(cx);
    }
    close_place(&p);
}

/* Longer paths than SQLite opens are refused in words; what it opens is not. */
static void
test_long(ql_ctx *cx, ql_registry *registry)
{
    char deep[700];
    ql_results *r;
    size_t n;
    place p;

    open_place(cx, registry, &p);
    n = (size_t)snprintf(deep, sizeof deep, "%s", p.folder);
    while (n < 504 - 102)
        n += (size_t)snprintf(deep + n, sizeof deep - n, "/%0100d", 0);
    n += (size_t)snprintf(deep + n, sizeof deep - n, "/%0*d", (int)(504 - n - 3), 0);
    REQUIRE_OK(cx, ql_make_folders(cx, deep));
    CHECK_OK(cx, ql_results_open(cx, ql_format(cx, "%s/r", deep), true, &r));
    ql_results_close(r);
    CHECK_ERROR(cx, ql_results_open(cx, ql_format(cx, "%s/rr", deep), true, &r), QL_INVALID,
                "/rr: SQLite opens no file whose path has more than 504 bytes, and this has 505");
    CHECK_OK(cx, ql_remove_tree(cx, p.folder));
    CHECK_INT(mkdir(p.folder, 0700), 0);
    close_place(&p);
}

static void
test_foreign(ql_ctx *cx, ql_registry *registry)
{
    ql_results *r;
    static const char *const beside[] = {"-journal", "-wal", "-shm"};
    ql_result_set set;
    char fifo[512];
    place p;
    FILE *f;

    open_place(cx, registry, &p);
    CHECK_ERROR(cx, ql_results_load(cx, p.folder, "tiny", &set), QL_NOT_FOUND, "results.db: there are no results here");
    exec(&p, "CREATE TABLE mine (a)");
    CHECK_ERROR(cx, ql_results_open(cx, p.db, true, &r), QL_IO, "not a results database; move it away");
    unlink(p.db);
    f = fopen(p.db, "w");
    for (int i = 0; i < 1000; i++)
        fputs("no database at all\n", f);
    fclose(f);
    CHECK_ERROR(cx, ql_results_open(cx, p.db, true, &r), QL_IO, "not a results database; move it away");
    CHECK_ERROR(cx, ql_results_open(cx, "/nowhere/at/all", true, &r), QL_IO, "unable to open database file");
    unlink(p.db);
    CHECK_INT(symlink("/dev/null", p.db), 0);
    CHECK_ERROR(cx, ql_results_open(cx, p.db, true, &r), QL_IO,
                "results.db: is a link; results go into a file of their own");
    unlink(p.db);
    CHECK_OK(cx, ql_results_open(cx, p.db, true, &r));
    ql_results_close(r);
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        snprintf(fifo, sizeof fifo, "%s%s", p.db, beside[i]);
        CHECK_INT(mkfifo(fifo, 0600), 0);
        for (int write = 0; write < 2; write++) /* neither waits for who writes there */
            CHECK_ERROR(cx, ql_results_open(cx, p.db, write, &r), QL_IO, "expected a file, got a FIFO");
        unlink(fifo);
    }
    close_place(&p);
}

/* The n-th allocation fails: an error, no leak. */
static void
test_memory(ql_ctx *cx, ql_registry *registry)
{
    bool failed = true;
    place p;

    open_place(cx, registry, &p);
    save(&p, "tiny-00112233", 1);
    for (int64_t n = 1; failed && n < 10000; n++) {
        ql_result_set set;

        cx->fail_alloc = n;
        failed = ql_results_load(cx, p.folder, "tiny-00112233", &set) != QL_OK;
        cx->fail_alloc = 0;
        ql_results_fini(cx, &set);
    }
    CHECK(!failed);
    close_place(&p);
}

int
main(void)
{
    uint64_t random = test_seed();
    ql_registry *registry;
    ql_ctx cx;
    ql_scope scope;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    registry = toy_registry(&cx);
    if (!registry)
        exit(1);
    test_facts(&cx);
    test_plain(&cx, registry);
    test_round_trip(&cx, registry);
    test_interrupted(&cx, registry);
    test_damaged_rows(&cx, registry);
    test_damaged_bytes(&cx, registry, &random);
    test_interrupt(&cx, registry);
    test_long(&cx, registry);
    test_foreign(&cx, registry);
    test_memory(&cx, registry);
    ql_registry_close(registry);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
