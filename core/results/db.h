/* The database behind results.db: opening it, its schema, and statements whose failures name the file. */
#ifndef QLOOM_RESULTS_DB_H
#define QLOOM_RESULTS_DB_H

#include <sqlite3.h>

#include "base/ctx.h"
#include "results.h"

#define QL_DB_STATEMENTS 64 /* at most, of all different statements that write */

struct ql_results {
    ql_ctx *cx;
    const char *path;
    sqlite3 *handle;
    struct {
        const char *sql;
        sqlite3_stmt *statement;
    } prepared[QL_DB_STATEMENTS];
    int64_t run; /* under way; 0: none */
    int64_t cell_capacity;
    struct ql_db_cell {   /* of that run, one each cell of its graph */
        int64_t original; /* the number of its baseline; -1: none */
        bool first;       /* of those with that baseline */
    } * cells;
};

#define QL_SCHEMA_VERSION 3
/* Brings a file of an earlier version to this one; 0: an empty file. Inside a transaction. */
ql_status ql_schema_raise(ql_results *r, int64_t version);
/* IO unless the file's tables are those of this version, to the letter. */
ql_status ql_schema_check(ql_results *r);

/* *more: there is a row to read. INTERRUPTED when the user wishes to stop. */
ql_status ql_db_step(ql_results *r, sqlite3_stmt *s, bool *more);
/* Runs a statement to its end; `sql` is a literal, and prepared once. Arguments as for ql_sheet_read. */
ql_status ql_db_put(ql_results *r, const char *sql, const char *types, ...);
/* The same; *out: the first column of its first row, 0 where it has none or NULL. */
ql_status ql_db_int(ql_results *r, int64_t *out, const char *sql, const char *types, ...);

/* digest(…), an aggregate: the sum of the hashes of all rows, to the bit and whatever their order. mean(x), over a window of a whole
 * partition: its plain sum in the window's order over its count. standard_error(x), an aggregate: of the mean of x, in the order of rows;
 * NULL for less than two. SQLite's status. */
int ql_db_functions(sqlite3 *handle);
/* resampled(data, draws, x, y, exp), an aggregate: a blob of as many doubles, each the mean of x less that of y (with `exp` e to
 * them) over pairs drawn with replacement, by a generator whose key is the text `data`. average(blob), an aggregate: number by
 * number; NULL if they are not of one length. quantile(blob, q). SQLite's status. */
int ql_db_bootstrap(sqlite3 *handle);

/* The digest of a node's facts, notes and answers in a block: an expression over two others. The node's key and the block count as well,
 * so rows that came to lie elsewhere don't have it. */
#define QL_DB_FACTS(node, block)                                                                                      \
    "(SELECT digest(a, b, c, d, e, f) FROM (SELECT 0 AS a, " block " AS b, key AS c, NULL AS d, NULL AS e, NULL AS f" \
    " FROM node WHERE id = " node " UNION ALL SELECT 1, position, linear, name, part, value FROM fact"                \
    " WHERE node = " node " AND block = " block " UNION ALL SELECT 2, position, NULL, name, NULL, value FROM note"    \
    " WHERE node = " node " AND block = " block                                                                       \
    " UNION ALL SELECT 3, doc, task, pred, pred_norm, \"right\" FROM answer WHERE node = " node " AND " block         \
    " = -1))"

/* A statement that gives every run the digest of what it says. */
extern const char ql_db_sign_runs[];

#endif
