/* A results.db with a small run in it, for tests. */
#ifndef QLOOM_TESTS_RUNS_H
#define QLOOM_TESTS_RUNS_H

#include <sqlite3.h>
#include <unistd.h>

#include "graph_plugins.h"
#include "set.h"
#include "test.h"

#define STAGES                                                                        \
    "qloom: 1\nname: t\nstages:\n  base: {use: toy, path: m}\n"                       \
    "  eval: {use: words, path: e}\n  quant: {use: plain, model: $base}\n"            \
    "  layers: {use: layers, model: $quant, calib: $eval}\n"                          \
    "  ppl: {use: score, model: $quant, data: $eval}\n"                               \
    "matrix:\n  quant: [{use: plain, label: 'p|<x>'}, {use: clever, calib: $eval}]\n" \
    "  quant.bits: [2, 3]\n"                                                          \
    "table: {rows: quant.bits, columns: quant.use, value: ppl.perplexity}\n"

enum { CELLS = 4, ALL = 5, FAILED = 2, BLOCKS = 2 };

typedef struct place {
    ql_ctx *cx;
    ql_graph graph;
    char folder[64], db[128], log[4096];
} place;

static inline void
write_log(void *user, ql_log_level level, const char *line)
{
    place *p = user;

    if (level <= QL_LOG_WARN)
        snprintf(p->log, sizeof p->log, "%s", line);
}

static inline void
open_place(ql_ctx *cx, ql_registry *registry, place *p)
{
    static ql_log log = {.write = write_log};

    *p = (place){.cx = cx};
    log.user = p;
    cx->log = &log;
    snprintf(p->folder, sizeof p->folder, "/tmp/qloom-results-XXXXXX");
    if (!mkdtemp(p->folder))
        exit(1);
    snprintf(p->db, sizeof p->db, "%s/results.db", p->folder);
    REQUIRE_OK(cx, ql_graph_parse(cx, registry, "t.yaml", STAGES, strlen(STAGES), NULL, &p->graph));
}

static inline void
close_place(place *p)
{
    p->cx->log = NULL;
    unlink(p->db);
    CHECK_INT(rmdir(p->folder), 0);
}

static inline ql_results *
open_results(const place *p)
{
    ql_results *r = NULL;

    REQUIRE_OK(p->cx, ql_results_open(p->cx, p->db, true, &r));
    return r;
}

static inline void
exec(const place *p, const char *sql)
{
    sqlite3 *db;
    char *error = NULL;

    CHECK_INT(sqlite3_open(p->db, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
        TEST_FAIL("%s: %s", sql, error);
    sqlite3_free(error);
    sqlite3_close(db);
}

/* The first column of the first row. */
static inline int64_t
ask(const place *p, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *s = NULL;
    int64_t n = -1;

    CHECK_INT(sqlite3_open(p->db, &db), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        n = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return n;
}

/* --- a small run: {p, clever} x {2, 3}, its baseline, a failure, a footnote --- */

/* The stage that is called `name`. */
static inline const ql_node *
node_of(const place *p, int64_t cell, const char *name)
{
    for (int64_t s = 0; s < p->graph.stage_count; s++)
        if (strcmp(p->graph.stage_names[s], name) == 0)
            return p->graph.cells[cell < CELLS ? cell : 0].stages[s];
    return NULL;
}

static inline double
loss_of(int64_t cell)
{
    return 1.5 + 0.001 * (double)cell;
}

static inline ql_status
keep_whole(ql_results *r, const place *p, int64_t cell, double factor)
{
    const double losses[] = {loss_of(cell), loss_of(cell) + 0.25};
    const ql_cost cost = {1.5, 2, 3, 4, 5};
    const uint64_t key[2] = {1, (uint64_t)cell};
    ql_facts facts = {0};
    int64_t node;

    QL_TRY(p->cx, ql_results_node(r, key, node_of(p, cell, "ppl"), &node));
    CHECK_OK(p->cx, ql_fact_note(p->cx, &facts, "protocol", "gptq"));
    CHECK_OK(p->cx, ql_fact_list(p->cx, &facts, "windows", 2, losses));
    CHECK_OK(p->cx, ql_fact(p->cx, &facts, "perplexity", NULL, factor * (5 + (double)cell)));
    CHECK_OK(p->cx, ql_fact(p->cx, &facts, "acc", "law", cell == 1 ? NAN : 0.25));
    CHECK_OK(p->cx, ql_fact(p->cx, &facts, "acc", "arts", INFINITY));
    QL_TRY(p->cx, ql_results_add(r, node, QL_WHOLE_MODEL, NULL, &facts));
    ql_facts_fini(&facts);
    QL_TRY(p->cx, ql_results_keep(r, node, QL_WHOLE_MODEL, &cost));
    return ql_run_put_link(r, &(ql_run_link){.cell = cell,
                                             .position = 1,
                                             .stage = "ppl",
                                             .prefix = "",
                                             .node = node,
                                             .error = cell == FAILED ? "H is \"nan\", {a}_b" : NULL});
}

/* Two linears a block; block 1 before block 0, so that order comes from their numbers. */
static inline ql_status
keep_linears(ql_results *r, const place *p, int64_t cell)
{
    static const char *const names[] = {"a", "b"};
    const uint64_t key[2] = {2, (uint64_t)cell};
    int64_t node;

    QL_TRY(p->cx, ql_results_node(r, key, node_of(p, cell, "layers"), &node));
    for (int64_t block = BLOCKS - 1; block >= 0; block--) {
        for (int k = 0; k < 2; k++) {
            const double values[] = {3, 2, 1};
            ql_facts facts = {0};

            CHECK_OK(p->cx, ql_fact(p->cx, &facts, "error", NULL, block == 0 ? (k ? 1 : 1e16) : (k ? -1e16 : 0.5)));
            CHECK_OK(p->cx, ql_fact_list(p->cx, &facts, "spectrum", 3, values));
            QL_TRY(p->cx, ql_results_add(r, node, block, names[k], &facts));
            ql_facts_fini(&facts);
        }
        QL_TRY(p->cx, ql_results_keep(r, node, block, &(ql_cost){0}));
    }
    return ql_run_put_link(r,
                           &(ql_run_link){.cell = cell, .position = 9, .stage = "layers", .prefix = "", .node = node});
}

static inline ql_status
fill(ql_results *r, const place *p, double factor)
{
    QL_TRY(p->cx, ql_results_begin(r));
    for (int64_t c = 0; c < ALL; c++) {
        QL_TRY(p->cx, keep_whole(r, p, c, factor));
        if (c < CELLS)
            QL_TRY(p->cx, keep_linears(r, p, c));
        QL_TRY(p->cx, ql_run_cell_cost(r, c, c == 4 ? NAN : 2.25, &(ql_cost){.seconds = 3.5, .peak = 8192}));
    }
    QL_TRY(p->cx, ql_run_footnote(r, 3, "3 of 5 rows, <saturated>"));
    QL_TRY(p->cx, ql_run_footnote(r, 3, "3 of 5 rows, <saturated>"));
    QL_TRY(p->cx, ql_run_stage_cost(r, p->graph.nodes[1], &(ql_cost){1, 2, 3, 4, 5}));
    QL_TRY(p->cx, ql_run_stage_cost(r, p->graph.nodes[1], &(ql_cost){1, 2, 3, 4, 4}));
    return ql_results_commit(r);
}

static const ql_run_end_info end = {"cpu \"x\"", "0.1.0", 1.5, 1 << 20};

static inline void
save(const place *p, const char *name, double factor)
{
    ql_results *r = open_results(p);

    REQUIRE_OK(p->cx, ql_run_begin(r, &p->graph, name));
    REQUIRE_OK(p->cx, fill(r, p, factor));
    REQUIRE_OK(p->cx, ql_run_end(r, &end));
    ql_results_close(r);
}

static inline void
check_metric(const ql_result_cell *c, int64_t i, const char *stage, const char *name, double value)
{
    if (i >= c->metric_count) {
        TEST_FAIL("no metric %lld", (long long)i);
        return;
    }
    CHECK_STR(c->metrics[i].stage, stage);
    CHECK_STR(c->metrics[i].name, name);
    CHECK(c->metrics[i].value == value || (isnan(value) && isnan(c->metrics[i].value)));
}

static inline void
check_cell(const ql_result_cell *c, int64_t number, double factor)
{
    CHECK_INT(c->baseline, number == CELLS);
    CHECK_INT(c->original, number == CELLS ? -1 : CELLS);
    CHECK(number == CELLS ? isnan(c->bits) : c->bits == 2.25);
    CHECK(c->cost.seconds == 3.5);
    CHECK_INT(c->cost.peak, 8192);
    CHECK_INT(c->footnote_count, number == 3);
    if (number == FAILED) {
        CHECK_STR(c->error, "H is \"nan\", {a}_b");
        CHECK_INT(c->metric_count, 1); /* of the other stage */
        CHECK_INT(c->note_count, 0);
        return;
    }
    CHECK(!c->error);
    CHECK_INT(c->note_count, 1);
    CHECK_STR(c->notes[0].value, "gptq");
    check_metric(c, 0, "ppl", "perplexity", factor * (5 + (double)number));
    check_metric(c, 1, "ppl", "acc.law", number == 1 ? NAN : 0.25);
    check_metric(c, 2, "ppl", "acc.arts", INFINITY);
    if (number == CELLS)
        return;
    CHECK_INT(c->metric_count, 4);
    check_metric(c, 3, "layers", "error", (1e16 + 1 + 0.5 - 1e16) / 4); /* in this order, without compensation */
    CHECK_INT(c->linear_count, 4);
    CHECK_STR(c->linears[1].linear, "b");
    CHECK(c->linears[1].value == 1 && c->linears[2].value == 0.5);
    CHECK_INT(c->list_count, 5);
    CHECK_STR(c->lists[0].name, "windows");
    CHECK(!c->lists[0].linear && c->lists[0].count == 2 && c->lists[0].values[1] == loss_of(number) + 0.25);
    CHECK_STR(c->lists[4].linear, "b");
    CHECK(c->lists[4].count == 3 && c->lists[4].values[2] == 1);
}

static inline void
check_run(const place *p, const char *name, double factor)
{
    ql_result_set set;

    REQUIRE_OK(p->cx, ql_results_load(p->cx, p->folder, name, &set));
    CHECK_STR(set.run, name);
    CHECK_STR(set.device, "cpu \"x\"");
    CHECK(set.seconds == 1.5);
    CHECK_INT(set.peak, 1 << 20);
    CHECK_INT(set.axis_count, 2);
    CHECK_STR(set.references[0], "quant");
    CHECK_INT(set.cell_count, ALL);
    CHECK_STR(set.cells[0].labels[0], "p|<x>");
    CHECK_STR(set.cells[0].labels[1], "2");
    CHECK_STR(set.cells[4].labels[1], QL_ORIGINAL_LABEL);
    for (int64_t i = 0; i < set.cell_count && i < ALL; i++)
        check_cell(&set.cells[i], i, factor);
    CHECK_INT(set.node_count, p->graph.node_count);
    CHECK_STR(set.nodes[0].kind, "model");
    CHECK(set.nodes[1].cost.seconds == 2);
    CHECK_INT(set.nodes[1].cost.peak, 5);
    CHECK_INT(set.nodes[2].edge_count, p->graph.nodes[2]->input_count);
    CHECK_STR(set.table.value, "ppl.perplexity");
    CHECK_INT(set.table.row_count, 1);
    CHECK_STR(set.table.rows[0], "quant.bits");
    CHECK_STR(set.table.columns[0], "quant.use");
    ql_results_fini(p->cx, &set);
}

#endif
