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
    int64_t run;                   /* under way; 0: none */
    int64_t cell_count, *original; /* of that run, [cell_count]: the number of each cell's baseline */
};

#define QL_SCHEMA_VERSION 3
/* Brings a file of an earlier version to this one; 0: an empty file. Inside a transaction. */
ql_status ql_schema_raise(ql_results *r, int64_t version);

ql_status ql_db_exec(ql_results *r, const char *sql);
/* Runs a statement to its end; `sql` is a literal, and prepared once. Arguments as for ql_query_open. */
ql_status ql_db_put(ql_results *r, const char *sql, const char *types, ...);
/* The same; *out: the first column of its first row, 0 where it has none or NULL. */
ql_status ql_db_int(ql_results *r, int64_t *out, const char *sql, const char *types, ...);

/* A hash over all rows of the queries (NULL ends them), in their order, to the bit; a and b are their ?1 and ?2. 32 digits, in the
 * innermost scope. */
ql_status ql_db_digest(ql_results *r, const char *const *queries, int64_t a, int64_t b, const char **out);

/* Do the facts of the block have the digest that was kept with them? False without one. */
ql_status ql_db_check(ql_results *r, int64_t node, int64_t block, bool *right);

/* Digests of all that there is: for a file of an earlier version, which had none. */
ql_status ql_db_sign_facts(ql_results *r);
ql_status ql_db_sign_runs(ql_results *r);

#endif
