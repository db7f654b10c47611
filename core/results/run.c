/* A run under way and its end; finding a finished one. */
#include <string.h>

#include "db.h"
#include "base/guess.h"

int64_t
ql_run_id(const ql_results *r)
{
    return r->run;
}

int64_t
ql_run_original(const ql_results *r, int64_t cell, bool *first)
{
    *first = r->cells[cell].first;
    return r->cells[cell].original;
}

ql_status
ql_run_put_link(ql_results *r, const ql_run_link *l)
{
    QL_TRY(r->cx, ql_db_put(r,
                            "INSERT OR REPLACE INTO cell_node SELECT id, ?3, ?4, ?5, ?6, ?7 FROM cell"
                            " WHERE run = ?1 AND number = ?2",
                            "iiittit", r->run, l->cell, l->position, l->stage, l->prefix, l->node, l->error));
    if (!l->error)
        return QL_OK;
    return ql_db_put(r, "UPDATE cell SET error = ? WHERE run = ? AND number = ? AND error IS NULL", "tii", l->error,
                     r->run, l->cell);
}

ql_status
ql_run_footnote(ql_results *r, int64_t cell, const char *text)
{
    return ql_db_put(
        r,
        "INSERT INTO footnote SELECT c.id, (SELECT count(*) FROM footnote WHERE cell = c.id), ?3 FROM cell c"
        " WHERE c.run = ?1 AND c.number = ?2 ON CONFLICT DO NOTHING",
        "iit", r->run, cell, text);
}

ql_status
ql_run_cell_cost(ql_results *r, int64_t cell, double bits, const ql_cost *cost)
{
    return ql_db_put(
        r,
        "UPDATE cell SET bits = ?, seconds = seconds + ?, peak_bytes = max(peak_bytes, ?) WHERE run = ? AND number = ?",
        "rriii", bits, cost->seconds, (int64_t)cost->peak, r->run, cell);
}

ql_status
ql_run_stage_cost(ql_results *r, const ql_node *n, const ql_cost *c)
{
    return ql_db_put(r,
                     "UPDATE stage SET seconds = seconds + ?3, calls = calls + ?4, up_bytes = up_bytes + ?5,"
                     " down_bytes = down_bytes + ?6, peak_bytes = max(peak_bytes, ?7) WHERE run = ?1 AND position = ?2",
                     "iiriiii", r->run, n->id, c->seconds, (int64_t)c->calls, (int64_t)c->up, (int64_t)c->down,
                     (int64_t)c->peak);
}

/* --- the end --- */

#define OF_RUN " WHERE run = o.id"
#define OF_CELLS " WHERE cell IN (SELECT id FROM cell" OF_RUN ")"
#define SHOWN "SELECT node FROM cell_node" OF_CELLS

/* Of all that run o says; facts of nodes count by their own digests. */
#define DIGEST                                                                                                     \
    "(SELECT digest(a, b, c, d, e, f, g, h, i, j, k) FROM ("                                                       \
    "SELECT 0 AS a, o.name AS b, o.version AS c, o.device AS d, o.seconds AS e, o.peak_bytes AS f, NULL AS g,"     \
    " NULL AS h, NULL AS i, NULL AS j, NULL AS k"                                                                  \
    " UNION ALL SELECT 1, position, reference, in_matrix, 0, 0, 0, 0, 0, 0, 0 FROM axis" OF_RUN                    \
    " UNION ALL SELECT 2, id, number, baseline, original, error, bits, seconds, peak_bytes, 0, 0 FROM cell" OF_RUN \
    " UNION ALL SELECT 3, cell, reference, label, 0, 0, 0, 0, 0, 0, 0 FROM label" OF_CELLS                         \
    " UNION ALL SELECT 4, cell, position, text, 0, 0, 0, 0, 0, 0, 0 FROM footnote" OF_CELLS                        \
    " UNION ALL SELECT 5, cell, position, stage, prefix, node, error, 0, 0, 0, 0 FROM cell_node" OF_CELLS          \
    " UNION ALL SELECT 6, id, key, 0, 0, 0, 0, 0, 0, 0, 0 FROM node WHERE id IN (" SHOWN ")"                       \
    " UNION ALL SELECT 7, node, block, digest, 0, 0, 0, 0, 0, 0, 0 FROM cost WHERE node IN (" SHOWN ")"            \
    " UNION ALL SELECT 8, position, stage, kind, label, cells, seconds, calls, up_bytes, down_bytes, peak_bytes"   \
    " FROM stage" OF_RUN " UNION ALL SELECT 9, stage, position, port, source, 0, 0, 0, 0, 0, 0 FROM edge" OF_RUN   \
    " UNION ALL SELECT 10, position, stage, name, unit, better, parts, exp, 0, 0, 0 FROM kind" OF_RUN              \
    " UNION ALL SELECT 11, position, stage, label, plugin, cite, 0, 0, 0, 0, 0 FROM citation" OF_RUN               \
    " UNION ALL SELECT 12, part, position, reference, 0, 0, 0, 0, 0, 0, 0 FROM layout" OF_RUN "))"

#define OF_LINEARS "linear IS NOT NULL AND typeof(part) <> 'integer'"

/* What finishes run o, whose number is ?1. Nodes with facts of linears get their means as facts of the whole model; sums are taken in the
 * order of blocks and linears, so they have the same bits wherever the facts come from. */
static const char *const ending[] = {
    "CREATE TEMP TABLE rated AS SELECT DISTINCT n.node FROM cell_node n JOIN cell c ON c.id = n.cell"
    " WHERE c.run = ?1 AND n.error IS NULL AND EXISTS (SELECT 1 FROM fact f WHERE f.node = n.node AND " OF_LINEARS ")",
    "DELETE FROM fact WHERE block = -1 AND node IN (SELECT node FROM temp.rated)",
    "INSERT INTO fact SELECT node, -1, row_number() OVER (PARTITION BY node ORDER BY at_block, at) - 1, NULL, name, "
    "part, value"
    " FROM (SELECT DISTINCT node, name, part, mean(value) OVER w AS value, first_value(block) OVER w AS at_block,"
    " first_value(position) OVER w AS at FROM fact WHERE node IN (SELECT node FROM temp.rated) AND " OF_LINEARS
    " WINDOW w AS (PARTITION BY node, name, part ORDER BY block, position"
    " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING))",
    "INSERT OR REPLACE INTO cost SELECT node, -1, 0, 0, 0, 0, 0, " QL_DB_FACTS("rated.node", "-1") " FROM temp.rated",
    "DROP TABLE temp.rated",
    "DELETE FROM run WHERE id <> ?1 AND name = (SELECT name FROM run WHERE id = ?1)",
    "DELETE FROM node WHERE id NOT IN (SELECT node FROM cell_node)",
    "UPDATE run AS o SET digest = " DIGEST " WHERE id = ?1",
    NULL,
};

const char ql_db_sign_runs[] = "UPDATE run AS o SET digest = " DIGEST;

static ql_status
finish(ql_results *r, const ql_run_end_info *info)
{
    QL_TRY(r->cx,
           ql_db_put(r,
                     "UPDATE run SET version = ?, device = ?, seconds = ?, peak_bytes = ?, finished = datetime('now')"
                     " WHERE id = ?",
                     "ttrii", info->version, info->device, info->seconds, (int64_t)info->peak, r->run));
    for (const char *const *sql = ending; *sql; sql++)
        QL_TRY(r->cx, ql_db_put(r, *sql, strstr(*sql, "?1") ? "i" : "", r->run));
    return QL_OK;
}

ql_status
ql_run_end(ql_results *r, const ql_run_end_info *info)
{
    QL_TRY(r->cx, ql_results_begin(r));
    QL_TRY(r->cx, finish(r, info));
    return ql_results_commit(r);
}

/* --- finding a run --- */

/* The name is not in the file: says which one was meant. */
static ql_status
no_such_run(ql_results *r, const char *name)
{
    ql_guess near = ql_guess_open(name);
    ql_sheet runs;

    QL_TRY(r->cx, ql_sheet_read(r, &runs, "SELECT name FROM run WHERE finished IS NOT NULL ORDER BY name", ""));
    for (int64_t i = 0; i < runs.count; i++)
        ql_guess_offer(&near, ql_row(&runs, i)->text);
    return QL_FAIL(r->cx, QL_NOT_FOUND, "%s: there is no run '%s'%s", r->path, name, ql_guess_text(r->cx, &near, ""));
}

ql_status
ql_run_find(ql_results *r, const char *name, int64_t *run)
{
    int64_t right;

    QL_TRY(r->cx, ql_db_int(r, run, "SELECT id FROM run WHERE name = ? AND finished IS NOT NULL", "t", name));
    if (*run == 0)
        return no_such_run(r, name);
    QL_TRY(r->cx,
           ql_db_int(r, &right,
                     "SELECT o.digest IS " DIGEST " AND NOT EXISTS (SELECT 1 FROM cost k WHERE k.node IN (" SHOWN ")"
                     " AND k.digest IS NOT " QL_DB_FACTS("k.node", "k.block") ") FROM run o WHERE o.id = ?",
                     "i", *run));
    return right ? QL_OK
                 : QL_FAIL(r->cx, QL_IO, "%s: run '%s' is damaged: its rows don't have their digest; run it again",
                           r->path, name);
}
