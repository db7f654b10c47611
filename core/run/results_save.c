/* A result set into results.db: one transaction, so that a reader sees the run before or after, never in between. */
#include <string.h>

#include "db.h"
#include "results.h"

typedef ql_status (*put_rows)(ql_db *db, sqlite3_stmt *s, const ql_result_set *set);

static ql_status
put_run(ql_db *db, sqlite3_stmt *s, const ql_result_set *set)
{
    return ql_db_put(db, s, "tttri", set->run, set->version, set->device, set->seconds, (int64_t)set->peak);
}

static ql_status
put_axes(ql_db *db, sqlite3_stmt *s, const ql_result_set *set)
{
    for (int64_t i = 0; i < set->reference_count; i++)
        QL_TRY(db->cx, ql_db_put(db, s, "titi", set->run, i, set->references[i], (int64_t)(i < set->axis_count)));
    return QL_OK;
}

static ql_status
put_cells(ql_db *db, sqlite3_stmt *s, const ql_result_set *set)
{
    for (int64_t i = 0; i < set->cell_count; i++) {
        const ql_result_cell *c = &set->cells[i];

        QL_TRY(db->cx, ql_db_put(db, s, "tiiit", set->run, i, (int64_t)c->baseline, c->original, c->error));
    }
    return QL_OK;
}

static ql_status
put_labels(ql_db *db, sqlite3_stmt *s, const ql_result_set *set)
{
    for (int64_t i = 0; i < set->cell_count; i++)
        for (int64_t k = 0; k < set->reference_count; k++)
            QL_TRY(db->cx, ql_db_put(db, s, "titt", set->run, i, set->references[k], set->cells[i].labels[k]));
    return QL_OK;
}

static ql_status
put_metrics(ql_db *db, sqlite3_stmt *s, const ql_result_set *set)
{
    for (int64_t i = 0; i < set->cell_count; i++)
        for (int64_t k = 0; k < set->cells[i].metric_count; k++) {
            const ql_result_metric *m = &set->cells[i].metrics[k];

            QL_TRY(db->cx, ql_db_put(db, s, "tiittr", set->run, i, k, m->stage, m->name, m->value));
        }
    return QL_OK;
}

static ql_status
put_notes(ql_db *db, sqlite3_stmt *s, const ql_result_set *set)
{
    for (int64_t i = 0; i < set->cell_count; i++)
        for (int64_t k = 0; k < set->cells[i].note_count; k++) {
            const ql_result_note *n = &set->cells[i].notes[k];

            QL_TRY(db->cx, ql_db_put(db, s, "tiittt", set->run, i, k, n->stage, n->name, n->value));
        }
    return QL_OK;
}

static ql_status
put_footnotes(ql_db *db, sqlite3_stmt *s, const ql_result_set *set)
{
    for (int64_t i = 0; i < set->cell_count; i++)
        for (int64_t k = 0; k < set->cells[i].footnote_count; k++)
            QL_TRY(db->cx, ql_db_put(db, s, "tiit", set->run, i, k, set->cells[i].footnotes[k]));
    return QL_OK;
}

static ql_status
put_linears(ql_db *db, sqlite3_stmt *s, const ql_result_set *set)
{
    for (int64_t i = 0; i < set->cell_count; i++)
        for (int64_t k = 0; k < set->cells[i].linear_count; k++) {
            const ql_result_linear *l = &set->cells[i].linears[k];

            QL_TRY(db->cx, ql_db_put(db, s, "tiitttr", set->run, i, k, l->stage, l->linear, l->name, l->value));
        }
    return QL_OK;
}

static ql_status
put_stages(ql_db *db, sqlite3_stmt *s, const ql_result_set *set)
{
    for (int64_t i = 0; i < set->stage_count; i++) {
        const ql_result_stage *g = &set->stages[i];

        QL_TRY(db->cx, ql_db_put(db, s, "titriiii", set->run, i, g->name, g->seconds, (int64_t)g->calls, (int64_t)g->up,
                                 (int64_t)g->down, (int64_t)g->peak));
    }
    return QL_OK;
}

static ql_status
put_cites(ql_db *db, sqlite3_stmt *s, const ql_result_set *set)
{
    for (int64_t i = 0; i < set->cite_count; i++) {
        const ql_result_cite *c = &set->cites[i];

        QL_TRY(db->cx, ql_db_put(db, s, "titttt", set->run, i, c->stage, c->label, c->plugin, c->cite));
    }
    return QL_OK;
}

static ql_status
put_layout(ql_db *db, sqlite3_stmt *s, const ql_result_set *set)
{
    const ql_table_spec *t = &set->table;

    for (int64_t i = 0; i < t->row_count; i++)
        QL_TRY(db->cx, ql_db_put(db, s, "ttit", set->run, "row", i, t->rows[i]));
    for (int64_t i = 0; i < t->column_count; i++)
        QL_TRY(db->cx, ql_db_put(db, s, "ttit", set->run, "column", i, t->columns[i]));
    return t->value ? ql_db_put(db, s, "ttit", set->run, "value", (int64_t)0, t->value) : QL_OK;
}

static const struct {
    const char *sql;
    put_rows put;
} inserts[] = {
    {"INSERT INTO runs (run, version, device, seconds, peak_bytes, finished) VALUES (?, ?, ?, ?, ?, datetime('now'))",
     put_run},
    {"INSERT INTO axes VALUES (?, ?, ?, ?)", put_axes},
    {"INSERT INTO cells VALUES (?, ?, ?, ?, ?)", put_cells},
    {"INSERT INTO labels VALUES (?, ?, ?, ?)", put_labels},
    {"INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", put_metrics},
    {"INSERT INTO notes VALUES (?, ?, ?, ?, ?, ?)", put_notes},
    {"INSERT INTO footnotes VALUES (?, ?, ?, ?)", put_footnotes},
    {"INSERT INTO layer_metrics VALUES (?, ?, ?, ?, ?, ?, ?)", put_linears},
    {"INSERT INTO stages VALUES (?, ?, ?, ?, ?, ?, ?, ?)", put_stages},
    {"INSERT INTO citations VALUES (?, ?, ?, ?, ?, ?)", put_cites},
    {"INSERT INTO layouts VALUES (?, ?, ?, ?)", put_layout},
};

static ql_status
forget(ql_db *db, sqlite3_stmt *s, const ql_result_set *set)
{
    return ql_db_put(db, s, "t", set->run);
}

static ql_status
run_statement(ql_db *db, const char *sql, put_rows put, const ql_result_set *set)
{
    sqlite3_stmt *s;
    ql_status st;

    QL_TRY(db->cx, ql_db_prepare(db, sql, &s));
    st = put(db, s, set);
    sqlite3_finalize(s);
    return st;
}

static ql_status
save(ql_db *db, const ql_result_set *set)
{
    QL_TRY(db->cx, ql_db_exec(db, "BEGIN IMMEDIATE"));
    QL_TRY(db->cx, run_statement(db, "DELETE FROM runs WHERE run = ?", forget, set)); /* the rest goes with it */
    for (size_t i = 0; i < sizeof inserts / sizeof *inserts; i++)
        QL_TRY(db->cx, run_statement(db, inserts[i].sql, inserts[i].put, set));
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
