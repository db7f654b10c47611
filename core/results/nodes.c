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
    if (key)
        QL_TRY(r->cx, ql_db_int(r, node, "SELECT id FROM node WHERE key = ?", "t", text));
    if (key && *node)
        return QL_OK;
    return ql_db_int(r, node, "INSERT INTO node (key, stage, plugin, parameters) VALUES (?, ?, ?, ?) RETURNING id",
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

ql_status
ql_results_add(ql_results *r, int64_t node, int64_t block, const char *linear, const ql_facts *facts)
{
    for (int64_t i = 0; i < facts->count; i++)
        QL_TRY(r->cx, add_fact(r, node, block, linear, &facts->rows[i]));
    for (int64_t i = 0; i < facts->note_count; i++)
        QL_TRY(r->cx, ql_db_put(r, "INSERT INTO temp.new_note VALUES (?, ?, ?, ?)", "iitt", node, block,
                                facts->notes[i].name, facts->notes[i].value));
    return QL_OK;
}

ql_status
ql_results_drop(ql_results *r)
{
    return ql_db_exec(r, "DELETE FROM temp.new_fact; DELETE FROM temp.new_note");
}

/* --- facts that are kept --- */

/* Of the node's key and the block as well: rows that came to lie elsewhere don't have it. */
static ql_status
digest(ql_results *r, int64_t node, int64_t block, const char **out)
{
    static const char *const rows[] = {
        "SELECT key, ?2 FROM node WHERE id = ?1",
        "SELECT position, linear, name, part, value FROM fact WHERE node = ?1 AND block = ?2 ORDER BY position",
        "SELECT position, name, value FROM note WHERE node = ?1 AND block = ?2 ORDER BY position",
        NULL,
    };

    return ql_db_digest(r, rows, node, block, out);
}

static ql_status
forget(ql_results *r, int64_t node, int64_t block)
{
    QL_TRY(r->cx, ql_db_put(r, "DELETE FROM fact WHERE node = ? AND block = ?", "ii", node, block));
    QL_TRY(r->cx, ql_db_put(r, "DELETE FROM note WHERE node = ? AND block = ?", "ii", node, block));
    return ql_db_put(r, "DELETE FROM cost WHERE node = ? AND block = ?", "ii", node, block);
}

static ql_status
put_cost(ql_results *r, int64_t node, int64_t block, const ql_cost *c)
{
    const char *sum;

    QL_TRY(r->cx, digest(r, node, block, &sum));
    return ql_db_put(r, "INSERT INTO cost VALUES (?, ?, ?, ?, ?, ?, ?, ?)", "iiriiiit", node, block, c->seconds,
                     (int64_t)c->calls, (int64_t)c->up, (int64_t)c->down, (int64_t)c->peak, sum);
}

ql_status
ql_results_keep(ql_results *r, int64_t node, int64_t block, const ql_cost *cost)
{
    ql_scope scope;
    ql_status st;

    QL_TRY(r->cx, forget(r, node, block));
    QL_TRY(r->cx, ql_db_put(r,
                            "INSERT INTO fact SELECT node, block, row_number() OVER (ORDER BY rowid) - 1, linear, name,"
                            " part, value FROM temp.new_fact WHERE node = ? AND block = ?",
                            "ii", node, block));
    QL_TRY(r->cx, ql_db_put(r,
                            "INSERT INTO note SELECT node, block, row_number() OVER (ORDER BY rowid) - 1, name, value"
                            " FROM temp.new_note WHERE node = ? AND block = ?",
                            "ii", node, block));
    QL_TRY(r->cx, ql_db_put(r, "DELETE FROM temp.new_fact WHERE node = ? AND block = ?", "ii", node, block));
    QL_TRY(r->cx, ql_db_put(r, "DELETE FROM temp.new_note WHERE node = ? AND block = ?", "ii", node, block));
    ql_scope_open(r->cx, &scope);
    st = put_cost(r, node, block, cost);
    ql_scope_close(r->cx, &scope);
    return st;
}

/* The digest and the cost that were kept with the block; *sum NULL: nothing was. */
static ql_status
kept_with(ql_results *r, int64_t node, int64_t block, const char **sum, ql_cost *cost)
{
    bool more;
    ql_query *rows;

    *sum = NULL;
    QL_TRY(r->cx, ql_query_open(r, &rows,
                                "SELECT digest, seconds, calls, up_bytes, down_bytes, peak_bytes FROM cost"
                                " WHERE node = ? AND block = ?",
                                "ii", node, block));
    for (;;) {
        QL_TRY(r->cx, ql_query_next(rows, &more));
        if (!more)
            break;
        QL_TRY(r->cx, ql_query_text(rows, 0, sum));
        *cost = (ql_cost){.seconds = ql_query_real(rows, 1),
                          .calls = (uint64_t)ql_query_int(rows, 2),
                          .up = (uint64_t)ql_query_int(rows, 3),
                          .down = (uint64_t)ql_query_int(rows, 4),
                          .peak = (uint64_t)ql_query_int(rows, 5)};
    }
    return QL_OK;
}

static ql_status
check(ql_results *r, int64_t node, int64_t block, ql_cost *cost, bool *known)
{
    const char *kept, *now;

    *known = false;
    QL_TRY(r->cx, kept_with(r, node, block, &kept, cost));
    if (!kept)
        return QL_OK;
    QL_TRY(r->cx, digest(r, node, block, &now));
    *known = strcmp(now, kept) == 0;
    return QL_OK;
}

ql_status
ql_db_check(ql_results *r, int64_t node, int64_t block, bool *right)
{
    ql_cost unused;

    return check(r, node, block, &unused, right);
}

static ql_status
check_or_forget(ql_results *r, int64_t node, int64_t block, ql_cost *cost, bool *known)
{
    int64_t rows;

    QL_TRY(r->cx, check(r, node, block, cost, known));
    if (*known)
        return QL_OK;
    QL_TRY(r->cx, ql_db_int(r, &rows,
                            "SELECT (SELECT count(*) FROM fact WHERE node = ?1 AND block = ?2)"
                            " + (SELECT count(*) FROM cost WHERE node = ?1 AND block = ?2)",
                            "ii", node, block));
    if (rows == 0)
        return QL_OK;
    ql_warn(r->cx, "%s: facts of a stage are damaged; they are worked out again", r->path);
    return forget(r, node, block);
}

ql_status
ql_results_known(ql_results *r, int64_t node, int64_t block, ql_cost *cost, bool *known)
{
    ql_scope scope;
    ql_status st;

    ql_scope_open(r->cx, &scope);
    st = check_or_forget(r, node, block, cost, known);
    ql_scope_close(r->cx, &scope);
    return st;
}

/* The first block, after (*node, *block), that has facts; *node 0: there is none. */
static ql_status
next_block(ql_results *r, int64_t *node, int64_t *block)
{
    const int64_t before = *node, at = *block;
    ql_query *q;
    bool more = true;

    QL_TRY(r->cx,
           ql_query_open(r, &q,
                         "SELECT node, block FROM (SELECT node, block FROM fact UNION SELECT node, block FROM note)"
                         " WHERE (node, block) > (?, ?) ORDER BY node, block LIMIT 1",
                         "ii", before, at));
    for (*node = 0;;) {
        QL_TRY(r->cx, ql_query_next(q, &more));
        if (!more)
            return QL_OK;
        *node = ql_query_int(q, 0);
        *block = ql_query_int(q, 1);
    }
}

ql_status
ql_db_sign_facts(ql_results *r)
{
    const ql_cost none = {0};
    int64_t node = 0, block = 0;

    QL_TRY(r->cx, next_block(r, &node, &block));
    while (node) {
        QL_TRY(r->cx, put_cost(r, node, block, &none));
        QL_TRY(r->cx, next_block(r, &node, &block));
    }
    return QL_OK;
}
