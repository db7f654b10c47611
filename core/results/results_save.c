/* A result set into results.db: one transaction, so that a reader sees the run before or after, never in between. */
#include <string.h>

#include "db.h"
#include "results.h"

/* A row of a table: item `i` of the run, or of one of its cells or nodes. */
typedef struct place {
    const ql_result_set *set;
    const ql_result_cell *cell; /* NULL where the table is not one of cells */
    int64_t owner, i;           /* owner: the cell's number, the node's */
} place;

typedef ql_status (*put_row)(ql_db *db, sqlite3_stmt *s, const place *at);

static ql_status
put_run(ql_db *db, sqlite3_stmt *s, const place *at)
{
    const ql_result_set *set = at->set;

    return ql_db_put(db, s, "tttri", set->run, set->version, set->device, set->seconds, (int64_t)set->peak);
}

static ql_status
put_axis(ql_db *db, sqlite3_stmt *s, const place *at)
{
    const ql_result_set *set = at->set;

    return ql_db_put(db, s, "titi", set->run, at->i, set->references[at->i], (int64_t)(at->i < set->axis_count));
}

static ql_status
put_cell(ql_db *db, sqlite3_stmt *s, const place *at)
{
    const ql_result_cell *c = &at->set->cells[at->i];

    return ql_db_put(db, s, "tiiitrri", at->set->run, at->i, (int64_t)c->baseline, c->original, c->error, c->bits,
                     c->cost.seconds, (int64_t)c->cost.peak);
}

static ql_status
put_label(ql_db *db, sqlite3_stmt *s, const place *at)
{
    return ql_db_put(db, s, "titt", at->set->run, at->owner, at->set->references[at->i], at->cell->labels[at->i]);
}

static ql_status
put_metric(ql_db *db, sqlite3_stmt *s, const place *at)
{
    const ql_result_metric *m = &at->cell->metrics[at->i];

    return ql_db_put(db, s, "tiittr", at->set->run, at->owner, at->i, m->stage, m->name, m->value);
}

static ql_status
put_note(ql_db *db, sqlite3_stmt *s, const place *at)
{
    const ql_result_note *n = &at->cell->notes[at->i];

    return ql_db_put(db, s, "tiittt", at->set->run, at->owner, at->i, n->stage, n->name, n->value);
}

static ql_status
put_footnote(ql_db *db, sqlite3_stmt *s, const place *at)
{
    return ql_db_put(db, s, "tiit", at->set->run, at->owner, at->i, at->cell->footnotes[at->i]);
}

static ql_status
put_linear(ql_db *db, sqlite3_stmt *s, const place *at)
{
    const ql_result_linear *l = &at->cell->linears[at->i];

    return ql_db_put(db, s, "tiitttr", at->set->run, at->owner, at->i, l->stage, l->linear, l->name, l->value);
}

static ql_status
put_list(ql_db *db, sqlite3_stmt *s, const place *at)
{
    const ql_result_list *l = &at->cell->lists[at->i];

    for (int64_t k = 0; k < l->count; k++)
        QL_TRY(db->cx, ql_db_put(db, s, "tiitttir", at->set->run, at->owner, at->i, l->stage, l->linear, l->name, k,
                                 l->values[k]));
    return QL_OK;
}

static ql_status
put_kind(ql_db *db, sqlite3_stmt *s, const place *at)
{
    const ql_result_kind *k = &at->set->kinds[at->i];
    const char *better = k->better == QL_BETTER_LOWER ? "lower" : k->better == QL_BETTER_HIGHER ? "higher" : NULL;

    return ql_db_put(db, s, "tittttti", at->set->run, at->i, k->stage, k->name, k->unit, better, k->parts,
                     (int64_t)k->exp);
}

static ql_status
put_node(ql_db *db, sqlite3_stmt *s, const place *at)
{
    const ql_result_node *n = &at->set->nodes[at->i];

    return ql_db_put(db, s, "titttiriiii", at->set->run, at->i, n->stage, n->kind, n->label, n->cells, n->cost.seconds,
                     (int64_t)n->cost.calls, (int64_t)n->cost.up, (int64_t)n->cost.down, (int64_t)n->cost.peak);
}

static ql_status
put_edge(ql_db *db, sqlite3_stmt *s, const place *at)
{
    const ql_result_edge *e = &at->set->nodes[at->owner].edges[at->i];

    return ql_db_put(db, s, "tiiti", at->set->run, at->owner, at->i, e->port, e->from);
}

static ql_status
put_cite(ql_db *db, sqlite3_stmt *s, const place *at)
{
    const ql_result_cite *c = &at->set->cites[at->i];

    return ql_db_put(db, s, "titttt", at->set->run, at->i, c->stage, c->label, c->plugin, c->cite);
}

static ql_status
put_layout_row(ql_db *db, sqlite3_stmt *s, const place *at)
{
    return ql_db_put(db, s, "ttit", at->set->run, "row", at->i, at->set->table.rows[at->i]);
}

static ql_status
put_layout_column(ql_db *db, sqlite3_stmt *s, const place *at)
{
    return ql_db_put(db, s, "ttit", at->set->run, "column", at->i, at->set->table.columns[at->i]);
}

static ql_status
put_layout_value(ql_db *db, sqlite3_stmt *s, const place *at)
{
    const char *value = at->set->table.value;

    return value ? ql_db_put(db, s, "ttit", at->set->run, "value", (int64_t)0, value) : QL_OK;
}

/* A table of results.db: whose rows it has, and where their owner counts them (an int64_t). */
typedef struct rows_of {
    const char *sql;
    put_row put;
    enum { ONE, OF_RUN, OF_CELL, OF_NODE } owner;
    size_t count; /* offset in the set, cell or node */
} rows_of;

#define SET(field) OF_RUN, offsetof(ql_result_set, field)
#define CELL(field) OF_CELL, offsetof(ql_result_cell, field)

static const rows_of inserts[] = {
    {"INSERT INTO runs (run, version, device, seconds, peak_bytes, finished) VALUES (?, ?, ?, ?, ?, datetime('now'))",
     put_run, ONE, 0},
    {"INSERT INTO axes VALUES (?, ?, ?, ?)", put_axis, SET(reference_count)},
    {"INSERT INTO cells VALUES (?, ?, ?, ?, ?, ?, ?, ?)", put_cell, SET(cell_count)},
    {"INSERT INTO labels VALUES (?, ?, ?, ?)", put_label, OF_CELL, 0},
    {"INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", put_metric, CELL(metric_count)},
    {"INSERT INTO notes VALUES (?, ?, ?, ?, ?, ?)", put_note, CELL(note_count)},
    {"INSERT INTO footnotes VALUES (?, ?, ?, ?)", put_footnote, CELL(footnote_count)},
    {"INSERT INTO layer_metrics VALUES (?, ?, ?, ?, ?, ?, ?)", put_linear, CELL(linear_count)},
    {"INSERT INTO lists VALUES (?, ?, ?, ?, ?, ?, ?, ?)", put_list, CELL(list_count)},
    {"INSERT INTO kinds VALUES (?, ?, ?, ?, ?, ?, ?, ?)", put_kind, SET(kind_count)},
    {"INSERT INTO nodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", put_node, SET(node_count)},
    {"INSERT INTO edges VALUES (?, ?, ?, ?, ?)", put_edge, OF_NODE, offsetof(ql_result_node, edge_count)},
    {"INSERT INTO citations VALUES (?, ?, ?, ?, ?, ?)", put_cite, SET(cite_count)},
    {"INSERT INTO layouts VALUES (?, ?, ?, ?)", put_layout_row, SET(table.row_count)},
    {"INSERT INTO layouts VALUES (?, ?, ?, ?)", put_layout_column, SET(table.column_count)},
    {"INSERT INTO layouts VALUES (?, ?, ?, ?)", put_layout_value, ONE, 0},
};

static int64_t
count_at(const void *object, size_t offset)
{
    int64_t n;

    memcpy(&n, (const char *)object + offset, sizeof n);
    return n;
}

static int64_t
row_count(const rows_of *t, const place *at)
{
    switch (t->owner) {
    case OF_RUN:
        return count_at(at->set, t->count);
    case OF_CELL: /* a label each reference */
        return t->put == put_label ? at->set->reference_count : count_at(at->cell, t->count);
    case OF_NODE:
        return count_at(&at->set->nodes[at->owner], t->count);
    default:
        return 1;
    }
}

static ql_status
put_rows(ql_db *db, sqlite3_stmt *s, const rows_of *t, const ql_result_set *set)
{
    const int64_t owners = t->owner == OF_CELL ? set->cell_count : t->owner == OF_NODE ? set->node_count : 1;

    for (int64_t o = 0; o < owners; o++) {
        place at = {.set = set, .owner = o, .cell = t->owner == OF_CELL ? &set->cells[o] : NULL};
        const int64_t rows = row_count(t, &at);

        for (; at.i < rows; at.i++)
            QL_TRY(db->cx, t->put(db, s, &at));
    }
    return QL_OK;
}

static ql_status
forget(ql_db *db, sqlite3_stmt *s, const place *at)
{
    return ql_db_put(db, s, "t", at->set->run);
}

static ql_status
run_statement(ql_db *db, const rows_of *t, const ql_result_set *set)
{
    sqlite3_stmt *s;
    ql_status st;

    QL_TRY(db->cx, ql_db_prepare(db, t->sql, &s));
    st = put_rows(db, s, t, set);
    sqlite3_finalize(s);
    return st;
}

static ql_status
save(ql_db *db, const ql_result_set *set)
{
    static const rows_of delete = {"DELETE FROM runs WHERE run = ?", forget, ONE, 0}; /* the rest goes with it */

    QL_TRY(db->cx, ql_db_exec(db, "BEGIN IMMEDIATE"));
    QL_TRY(db->cx, run_statement(db, &delete, set));
    for (size_t i = 0; i < sizeof inserts / sizeof *inserts; i++)
        QL_TRY(db->cx, run_statement(db, &inserts[i], set));
    return ql_db_exec(db, "COMMIT");
}

ql_status
ql_results_save(ql_ctx *cx, const char *runs, const ql_result_set *set)
{
    ql_scope scope;
    ql_status st;
    ql_db db;
    const char *path;

    ql_scope_open(cx, &scope);
    path = ql_format(cx, "%s/%s", runs, QL_RESULTS_FILE);
    st = path ? ql_db_open(cx, path, true, &db) : QL_MEMORY;
    if (st == QL_OK) {
        st = save(&db, set);
        ql_db_close(&db);
    }
    ql_scope_close(cx, &scope);
    return st;
}
