/* A result set from results.db. The file is anyone's: what doesn't fit together is an error, never trusted. */
#include <string.h>

#include "base/guess.h"
#include "db.h"
#include "results.h"

typedef struct loader {
    ql_db *db;
    ql_result_set *set;
    const char **references;
    int64_t reference_capacity, row_capacity, column_capacity;
    const char **rows, **columns;
    int64_t runs;
} loader;

/* A query over the run, and what takes a row of it; `cell`: the checked number in column 0 where the query has one. */
typedef struct rows_of {
    const char *sql;
    ql_status (*take)(loader *l, sqlite3_stmt *s, int64_t cell);
    bool cell; /* column 0 is a cell */
    bool own;  /* `take` puts what it reads into the set by itself, so its memory is the set's */
} rows_of;

static ql_status
damaged(const loader *l, const char *what)
{
    return QL_FAIL(l->db->cx, QL_IO, "%s: run '%s' is damaged: %s", l->db->path, l->set->run, what);
}

/* A text that may not be NULL. */
static ql_status
text(loader *l, sqlite3_stmt *s, int column, const char **out)
{
    QL_TRY(l->db->cx, ql_db_text(l->db, s, column, out));
    return *out ? QL_OK : damaged(l, sqlite3_column_name(s, column));
}

static ql_status
take_one(loader *l, const rows_of *q, sqlite3_stmt *s)
{
    ql_ctx *cx = l->db->cx;
    int64_t cell = q->cell ? sqlite3_column_int64(s, 0) : 0;
    ql_scope scope;
    ql_status st;

    if (q->cell && (cell < 0 || cell >= l->set->cell_count))
        return damaged(l, "a row of a cell that it has not");
    if (q->own) {
        ql_scope_enter(cx, &l->set->memory);
        return ql_scope_leave(cx, &l->set->memory, q->take(l, s, cell));
    }
    ql_scope_open(cx, &scope);
    st = q->take(l, s, cell);
    ql_scope_close(cx, &scope);
    return st;
}

static ql_status
query(loader *l, const rows_of *q)
{
    sqlite3_stmt *s;
    bool more = true;
    ql_status st;

    QL_TRY(l->db->cx, ql_db_prepare(l->db, q->sql, &s));
    st = ql_db_bind(l->db, s, "t", l->set->run);
    while (st == QL_OK && more) {
        st = ql_db_step(l->db, s, &more);
        if (st == QL_OK && more)
            st = take_one(l, q, s);
    }
    sqlite3_finalize(s);
    return st;
}

static ql_status
take_run(loader *l, sqlite3_stmt *s, int64_t cell)
{
    (void)cell;
    l->runs++;
    QL_TRY(l->db->cx, ql_db_text(l->db, s, 0, &l->set->version));
    QL_TRY(l->db->cx, ql_db_text(l->db, s, 1, &l->set->device));
    l->set->seconds = ql_db_real(s, 2);
    l->set->peak = (uint64_t)sqlite3_column_int64(s, 3);
    return QL_OK;
}

static ql_status
take_axis(loader *l, sqlite3_stmt *s, int64_t cell)
{
    ql_result_set *set = l->set;
    const char **item;

    (void)cell;
    if (sqlite3_column_int(s, 1) && set->axis_count == set->reference_count)
        set->axis_count++;
    item = ql_results_append(l->db->cx, &l->references, &set->reference_count, &l->reference_capacity, sizeof *item);
    set->references = l->references;
    return item ? text(l, s, 0, item) : QL_MEMORY;
}

static ql_status
take_cell(loader *l, sqlite3_stmt *s, int64_t cell)
{
    ql_result_set *set = l->set;
    ql_result_cell *c;

    (void)cell;
    if (sqlite3_column_int64(s, 0) != set->cell_count)
        return damaged(l, "cells are missing");
    c = ql_results_append(l->db->cx, &set->cells, &set->cell_count, &set->cell_capacity, sizeof *c);
    if (!c)
        return QL_MEMORY;
    *c = (ql_result_cell){
        .baseline = sqlite3_column_int(s, 1) != 0,
        .original = sqlite3_column_int64(s, 2),
        .bits = ql_db_real(s, 4),
        .cost = {.seconds = ql_db_real(s, 5), .peak = (uint64_t)sqlite3_column_int64(s, 6)},
    };
    c->labels = ql_alloc(l->db->cx, (size_t)set->reference_count, sizeof *c->labels);
    return c->labels ? ql_db_text(l->db, s, 3, &c->error) : QL_MEMORY;
}

static ql_status
take_label(loader *l, sqlite3_stmt *s, int64_t cell)
{
    const char *reference;

    QL_TRY(l->db->cx, text(l, s, 1, &reference));
    for (int64_t i = 0; i < l->set->reference_count; i++)
        if (strcmp(l->set->references[i], reference) == 0)
            return ql_db_text(l->db, s, 2, &l->set->cells[cell].labels[i]);
    return damaged(l, "a label of an axis that it has not");
}

static ql_status
take_metric(loader *l, sqlite3_stmt *s, int64_t cell)
{
    ql_result_metric m = {.value = ql_db_real(s, 3)};

    QL_TRY(l->db->cx, text(l, s, 1, &m.stage));
    QL_TRY(l->db->cx, text(l, s, 2, &m.name));
    return ql_results_metric(l->db->cx, l->set, cell, &m);
}

static ql_status
take_note(loader *l, sqlite3_stmt *s, int64_t cell)
{
    ql_result_note n = {0};

    QL_TRY(l->db->cx, text(l, s, 1, &n.stage));
    QL_TRY(l->db->cx, text(l, s, 2, &n.name));
    QL_TRY(l->db->cx, text(l, s, 3, &n.value));
    return ql_results_note(l->db->cx, l->set, cell, &n);
}

static ql_status
take_footnote(loader *l, sqlite3_stmt *s, int64_t cell)
{
    const char *footnote;

    QL_TRY(l->db->cx, text(l, s, 1, &footnote));
    return ql_results_footnote(l->db->cx, l->set, cell, footnote);
}

static ql_status
take_linear(loader *l, sqlite3_stmt *s, int64_t cell)
{
    ql_result_linear r = {.value = ql_db_real(s, 4)};

    QL_TRY(l->db->cx, text(l, s, 1, &r.stage));
    QL_TRY(l->db->cx, text(l, s, 2, &r.linear));
    QL_TRY(l->db->cx, text(l, s, 3, &r.name));
    return ql_results_linear(l->db->cx, l->set, cell, &r);
}

/* Items of one list follow each other, the first one is number 0. */
static ql_status
take_list(loader *l, sqlite3_stmt *s, int64_t cell)
{
    ql_result_cell *c = &l->set->cells[cell];
    ql_result_list *list = c->list_count ? &c->lists[c->list_count - 1] : NULL;
    const int64_t item = sqlite3_column_int64(s, 4);
    double *value;

    if (item == 0) {
        list = ql_results_append(l->db->cx, &c->lists, &c->list_count, &c->list_capacity, sizeof *list);
        if (!list)
            return QL_MEMORY;
        *list = (ql_result_list){0};
        QL_TRY(l->db->cx, text(l, s, 1, &list->stage));
        QL_TRY(l->db->cx, ql_db_text(l->db, s, 2, &list->linear));
        QL_TRY(l->db->cx, text(l, s, 3, &list->name));
    }
    if (!list || item != list->count)
        return damaged(l, "items of a list are missing");
    value = ql_results_append(l->db->cx, &list->values, &list->count, &list->capacity, sizeof *value);
    if (value)
        *value = ql_db_real(s, 5);
    return value ? QL_OK : QL_MEMORY;
}

static ql_status
take_kind(loader *l, sqlite3_stmt *s, int64_t cell)
{
    ql_result_set *set = l->set;
    ql_result_kind *k = ql_results_append(l->db->cx, &set->kinds, &set->kind_count, &set->kind_capacity, sizeof *k);
    const char *better = NULL;

    (void)cell;
    if (!k)
        return QL_MEMORY;
    *k = (ql_result_kind){.exp = sqlite3_column_int(s, 5) != 0};
    QL_TRY(l->db->cx, text(l, s, 0, &k->stage));
    QL_TRY(l->db->cx, text(l, s, 1, &k->name));
    QL_TRY(l->db->cx, ql_db_text(l->db, s, 2, &k->unit));
    QL_TRY(l->db->cx, ql_db_text(l->db, s, 3, &better));
    k->better = !better                         ? QL_BETTER_UNSAID
                : strcmp(better, "lower") == 0  ? QL_BETTER_LOWER
                : strcmp(better, "higher") == 0 ? QL_BETTER_HIGHER
                                                : QL_BETTER_UNSAID;
    return ql_db_text(l->db, s, 4, &k->parts);
}

static ql_status
take_node(loader *l, sqlite3_stmt *s, int64_t cell)
{
    ql_result_set *set = l->set;
    ql_result_node *n;

    (void)cell;
    if (sqlite3_column_int64(s, 0) != set->node_count)
        return damaged(l, "nodes are missing");
    n = ql_results_append(l->db->cx, &set->nodes, &set->node_count, &set->node_capacity, sizeof *n);
    if (!n)
        return QL_MEMORY;
    *n = (ql_result_node){.cells = sqlite3_column_int64(s, 4),
                          .cost = {.seconds = ql_db_real(s, 5),
                                   .calls = (uint64_t)sqlite3_column_int64(s, 6),
                                   .up = (uint64_t)sqlite3_column_int64(s, 7),
                                   .down = (uint64_t)sqlite3_column_int64(s, 8),
                                   .peak = (uint64_t)sqlite3_column_int64(s, 9)}};
    QL_TRY(l->db->cx, text(l, s, 1, &n->stage));
    QL_TRY(l->db->cx, text(l, s, 2, &n->kind));
    return text(l, s, 3, &n->label);
}

/* Inputs stand before their users, so a graph that is read has no cycle. */
static ql_status
take_edge(loader *l, sqlite3_stmt *s, int64_t cell)
{
    const int64_t node = sqlite3_column_int64(s, 0), from = sqlite3_column_int64(s, 2);
    ql_result_node *n;
    ql_result_edge *e;

    (void)cell;
    if (node < 0 || node >= l->set->node_count || from < 0 || from >= node)
        return damaged(l, "an edge of a node that it has not");
    n = &l->set->nodes[node];
    e = ql_results_append(l->db->cx, &n->edges, &n->edge_count, &n->edge_capacity, sizeof *e);
    if (!e)
        return QL_MEMORY;
    e->from = from;
    return text(l, s, 1, &e->port);
}

static ql_status
take_cite(loader *l, sqlite3_stmt *s, int64_t cell)
{
    ql_result_set *set = l->set;
    ql_result_cite *c = ql_results_append(l->db->cx, &set->cites, &set->cite_count, &set->cite_capacity, sizeof *c);

    (void)cell;
    if (!c)
        return QL_MEMORY;
    QL_TRY(l->db->cx, text(l, s, 0, &c->stage));
    QL_TRY(l->db->cx, text(l, s, 1, &c->label));
    QL_TRY(l->db->cx, text(l, s, 2, &c->plugin));
    return text(l, s, 3, &c->cite);
}

static ql_status
take_layout(loader *l, sqlite3_stmt *s, int64_t cell)
{
    ql_table_spec *t = &l->set->table;
    const char *part, *reference, **item;

    (void)cell;
    QL_TRY(l->db->cx, text(l, s, 0, &part));
    QL_TRY(l->db->cx, text(l, s, 1, &reference));
    if (strcmp(part, "value") == 0) {
        t->value = reference;
        return QL_OK;
    }
    item = strcmp(part, "row") == 0
               ? ql_results_append(l->db->cx, &l->rows, &t->row_count, &l->row_capacity, sizeof *item)
               : ql_results_append(l->db->cx, &l->columns, &t->column_count, &l->column_capacity, sizeof *item);
    t->rows = l->rows;
    t->columns = l->columns;
    if (item)
        *item = reference;
    return item ? QL_OK : QL_MEMORY;
}

static const rows_of queries[] = {
    {"SELECT version, device, seconds, peak_bytes FROM runs WHERE run = ?", take_run, .own = true},
    {"SELECT reference, in_matrix FROM axes WHERE run = ? ORDER BY position", take_axis, .own = true},
    {"SELECT cell, baseline, original, error, bits, seconds, peak_bytes FROM cells WHERE run = ? ORDER BY cell",
     take_cell, .own = true},
    {"SELECT cell, reference, label FROM labels WHERE run = ?", take_label, .cell = true, .own = true},
    {"SELECT cell, stage, name, value FROM metrics WHERE run = ? ORDER BY cell, position", take_metric, .cell = true},
    {"SELECT cell, stage, name, value FROM notes WHERE run = ? ORDER BY cell, position", take_note, .cell = true},
    {"SELECT cell, text FROM footnotes WHERE run = ? ORDER BY cell, position", take_footnote, .cell = true},
    {"SELECT cell, stage, linear, name, value FROM layer_metrics WHERE run = ? ORDER BY cell, position", take_linear,
     .cell = true},
    {"SELECT cell, stage, linear, name, item, value FROM lists WHERE run = ? ORDER BY cell, position, item", take_list,
     .cell = true, .own = true},
    {"SELECT stage, name, unit, better, parts, exp FROM kinds WHERE run = ? ORDER BY position", take_kind, .own = true},
    {"SELECT node, stage, kind, label, cells, seconds, calls, up_bytes, down_bytes, peak_bytes FROM nodes WHERE run = "
     "? "
     "ORDER BY node",
     take_node, .own = true},
    {"SELECT node, port, source FROM edges WHERE run = ? ORDER BY node, position", take_edge, .own = true},
    {"SELECT stage, label, plugin, cite FROM citations WHERE run = ? ORDER BY position", take_cite, .own = true},
    {"SELECT part, reference FROM layouts WHERE run = ? ORDER BY part, position", take_layout, .own = true},
};

/* The run's name is not in the file: says which one was meant. */
static ql_status
no_such_run(loader *l)
{
    ql_ctx *cx = l->db->cx;
    const char **names = NULL, **item;
    ql_guess near;
    int64_t count = 0, capacity = 0;
    sqlite3_stmt *s;
    bool more = true;
    ql_status st;

    QL_TRY(cx, ql_db_prepare(l->db, "SELECT run FROM runs ORDER BY run", &s));
    for (st = ql_db_step(l->db, s, &more); st == QL_OK && more;) {
        item = ql_results_append(cx, &names, &count, &capacity, sizeof *item);
        st = item ? text(l, s, 0, item) : QL_MEMORY;
        if (st == QL_OK)
            st = ql_db_step(l->db, s, &more);
    }
    sqlite3_finalize(s);
    if (st != QL_OK)
        return st;
    near = ql_guess_open(l->set->run);
    ql_guess_offer_all(&near, names, count);
    return QL_FAIL(cx, QL_NOT_FOUND, "%s: there is no run '%s'%s", l->db->path, l->set->run,
                   ql_guess_text(cx, &near, ""));
}

static ql_status
load(loader *l)
{
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        QL_TRY(l->db->cx, query(l, &queries[i]));
        if (l->runs == 0)
            return no_such_run(l);
    }
    for (int64_t i = 0; i < l->set->cell_count; i++) {
        int64_t o = l->set->cells[i].original;

        if (o < -1 || o >= l->set->cell_count)
            return damaged(l, "a cell of a baseline that it has not");
    }
    return QL_OK;
}

/* "out/tiny-1a2b3c4d/" is the run of that name in out/results.db. */
static ql_status
split(ql_ctx *cx, const char *runs, const char *run, const char **path, const char **name)
{
    size_t n = strlen(run), slash;

    while (n > 1 && run[n - 1] == '/')
        n--;
    for (slash = n; slash > 0 && run[slash - 1] != '/'; slash--)
        continue;
    *name = ql_copy_text(cx, run + slash, n - slash);
    *path = slash ? ql_format(cx, "%.*s%s", (int)slash, run, QL_RESULTS_FILE)
                  : ql_format(cx, "%s/%s", runs, QL_RESULTS_FILE);
    return *name && *path ? QL_OK : QL_MEMORY;
}

ql_status
ql_results_load(ql_ctx *cx, const char *runs, const char *run, ql_result_set *set)
{
    loader l = {.set = set};
    const char *path = NULL;
    ql_scope scope;
    ql_status st;
    ql_db db = {0};

    *set = (ql_result_set){0};
    ql_scope_enter(cx, &set->memory);
    QL_TRY(cx, ql_scope_leave(cx, &set->memory, split(cx, runs, run, &path, &set->run)));
    ql_scope_open(cx, &scope);
    l.db = &db;
    st = ql_db_open(cx, path, false, &db);
    if (st == QL_OK)
        st = load(&l);
    ql_db_close(&db);
    ql_scope_close(cx, &scope);
    return st;
}
