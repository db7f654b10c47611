/* Nodes and their facts. */
#include <string.h>

#include "base/hash.h"
#include "db.h"

void
ql_cost_add(ql_cost *to, const ql_cost *from)
{
    to->seconds += from->seconds;
    to->calls += from->calls;
    to->up += from->up;
    to->down += from->down;
    to->peak = from->peak > to->peak ? from->peak : to->peak;
}

ql_status
ql_results_node(ql_results *r, const uint64_t key[2], const ql_node *n, int64_t *node)
{
    const char *text = key ? ql_hash_text(r->cx, key) : NULL;

    if (key && !text)
        return QL_MEMORY;
    return ql_db_int(r, node,
                     "INSERT INTO node (key, stage, plugin, parameters) VALUES (?, ?, ?, ?)"
                     " ON CONFLICT DO UPDATE SET key = key RETURNING id",
                     "tttt", text, n->name, n->plugin->name, n->label);
}

/* --- facts on their way --- */

static ql_status
add_fact(ql_results *r, int64_t node, int64_t block, const char *linear, const ql_fact_row *row)
{
    static const char sql[] =
        "INSERT INTO temp.new_fact VALUES (?, ?, ?, ?, ?, ?)"; /* the part of an item is its number */

    if (row->count < 0)
        return ql_db_put(r, sql, "iitttr", node, block, linear, row->name, *row->part ? row->part : NULL, row->value);
    for (int64_t i = 0; i < row->count; i++)
        QL_TRY(r->cx, ql_db_put(r, sql, "iittir", node, block, linear, row->name, i, row->values[i]));
    return QL_OK;
}

static ql_status
add_reply(ql_results *r, int64_t node, int64_t block, const ql_fact_reply *reply)
{
    return ql_db_put(r, "INSERT INTO temp.new_answer VALUES (?, ?, ?, ?, ?, ?, ?, nullif(?, -1), nullif(?, -1), ?)",
                     "iititttiir", node, block, reply->task, reply->document, reply->gold, reply->pred,
                     reply->pred_norm, (int64_t)reply->right, (int64_t)reply->right_norm, reply->margin);
}

ql_status
ql_results_add(ql_results *r, int64_t node, int64_t block, const char *linear, const ql_facts *facts)
{
    for (int64_t i = 0; i < facts->count; i++)
        QL_TRY(r->cx, add_fact(r, node, block, linear, &facts->rows[i]));
    for (int64_t i = 0; i < facts->note_count; i++)
        QL_TRY(r->cx, ql_db_put(r, "INSERT INTO temp.new_note VALUES (?, ?, ?, ?)", "iitt", node, block,
                                facts->notes[i].name, facts->notes[i].value));
    for (int64_t i = 0; i < facts->reply_count; i++)
        QL_TRY(r->cx, add_reply(r, node, block, &facts->replies[i]));
    return QL_OK;
}

ql_status
ql_results_series(ql_results *r, int64_t node, const char *name, int64_t step, double value)
{
    return ql_db_put(r, "INSERT INTO series VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                     "itir", node, name, step, value);
}

ql_status
ql_results_forget_series(ql_results *r, int64_t node)
{
    return ql_db_put(r, "DELETE FROM series WHERE node = ?", "i", node);
}

ql_status
ql_results_drop(ql_results *r)
{
    return ql_results_exec(r, "DELETE FROM temp.new_fact; DELETE FROM temp.new_note; DELETE FROM temp.new_answer");
}

/* --- facts that are kept --- */

/* Runs statements (NULL ends them) that take the node and the block. */
static ql_status
change_block(ql_results *r, const char *const *sql, int64_t node, int64_t block)
{
    for (; *sql; sql++)
        QL_TRY(r->cx, ql_db_put(r, *sql, "ii", node, block));
    return QL_OK;
}

static ql_status
forget(ql_results *r, int64_t node, int64_t block)
{
    static const char *const sql[] = {
        "DELETE FROM fact WHERE node = ? AND block = ?",
        "DELETE FROM note WHERE node = ? AND block = ?",
        "DELETE FROM cost WHERE node = ? AND block = ?",
        "DELETE FROM answer WHERE node = ? AND ? = -1", /* answers are of the whole model */
        NULL,
    };

    return change_block(r, sql, node, block);
}

ql_status
ql_results_keep(ql_results *r, int64_t node, int64_t block, const ql_cost *cost)
{
    static const char *const sql[] = {
        "INSERT INTO fact SELECT node, block, row_number() OVER (ORDER BY rowid) - 1, linear, name, part, value"
        " FROM temp.new_fact WHERE node = ? AND block = ?",
        "INSERT INTO note SELECT node, block, row_number() OVER (ORDER BY rowid) - 1, name, value"
        " FROM temp.new_note WHERE node = ? AND block = ?",
        "INSERT INTO answer SELECT node, task, doc, gold, pred, pred_norm, \"right\", right_norm, margin"
        " FROM temp.new_answer WHERE node = ? AND block = ?",
        "DELETE FROM temp.new_answer WHERE node = ? AND block = ?",
        "DELETE FROM temp.new_fact WHERE node = ? AND block = ?",
        "DELETE FROM temp.new_note WHERE node = ? AND block = ?",
        NULL,
    };

    QL_TRY(r->cx, forget(r, node, block));
    QL_TRY(r->cx, change_block(r, sql, node, block));
    return ql_db_put(r, "INSERT INTO cost VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, " QL_DB_FACTS("?1", "?2") ")", "iiriiii",
                     node, block, cost->seconds, (int64_t)cost->calls, (int64_t)cost->up, (int64_t)cost->down,
                     (int64_t)cost->peak);
}

/* What a block's facts cost, as it was kept. */
static ql_status
read_cost(ql_results *r, int64_t node, int64_t block, ql_cost *cost)
{
    ql_sheet rows;
    const ql_field *v;

    QL_TRY(r->cx, ql_sheet_read(r, &rows,
                                "SELECT seconds, calls, up_bytes, down_bytes, peak_bytes FROM cost WHERE node = ?"
                                " AND block = ?",
                                "ii", node, block));
    if (rows.count == 0)
        return QL_OK;
    v = ql_row(&rows, 0);
    *cost = (ql_cost){.seconds = v[0].real,
                      .calls = (uint64_t)v[1].integer,
                      .up = (uint64_t)v[2].integer,
                      .down = (uint64_t)v[3].integer,
                      .peak = (uint64_t)v[4].integer};
    return QL_OK;
}

ql_status
ql_results_known(ql_results *r, int64_t node, int64_t block, ql_cost *cost, bool *known)
{
    enum { NOTHING, DAMAGED, RIGHT }; /* what the statement gives */
    static const char sql[] = "SELECT iif(k.digest IS " QL_DB_FACTS(
        "?1", "?2") ", 2, 1) FROM node n LEFT JOIN cost k"
                    " ON k.node = ?1 AND k.block = ?2 WHERE n.id = ?1"
                    " AND (k.node IS NOT NULL OR EXISTS (SELECT 1 FROM fact WHERE node = ?1 AND block = ?2))";
    int64_t state;

    QL_TRY(r->cx, ql_db_int(r, &state, sql, "ii", node, block));
    *known = state == RIGHT;
    if (*known)
        return read_cost(r, node, block, cost);
    if (state == NOTHING)
        return QL_OK;
    ql_warn(r->cx, "%s: facts of a stage are damaged; they are worked out again", r->path);
    return forget(r, node, block);
}
