/* results.db: opening it, its schema, and statements whose failures name the file. */
#ifndef QLOOM_RESULTS_DB_H
#define QLOOM_RESULTS_DB_H

#include <sqlite3.h>

#include "base/ctx.h"

typedef struct ql_db {
    ql_ctx *cx;
    const char *path;
    sqlite3 *handle;
} ql_db;

/* Opens `path`; for writing it is made, with its schema, when it is not there. A file of an earlier schema is
 * brought up to this one, on reading too. NOT_FOUND, or IO in words: damaged, locked by another program, no results
 * of qloom, written by a later one. */
ql_status ql_db_open(ql_ctx *cx, const char *path, bool write, ql_db *out);
void ql_db_close(ql_db *db); /* a zeroed one is fine; what was not committed is gone */

ql_status ql_db_exec(ql_db *db, const char *sql);
ql_status ql_db_prepare(ql_db *db, const char *sql, sqlite3_stmt **out); /* sqlite3_finalize, NULL too */

/* Binds the arguments, one a letter of `types`: t text or NULL, i int64_t, r double. */
ql_status ql_db_bind(ql_db *db, sqlite3_stmt *s, const char *types, ...);
/* Binds as above, runs to the end, and resets: for inserts. */
ql_status ql_db_put(ql_db *db, sqlite3_stmt *s, const char *types, ...);
/* *more: there is a row to read. */
ql_status ql_db_step(ql_db *db, sqlite3_stmt *s, bool *more);

/* A text column, copied into the innermost scope; NULL for NULL. */
ql_status ql_db_text(ql_db *db, sqlite3_stmt *s, int column, const char **out);
/* A number; NULL is NaN, for so SQLite stores it. */
double ql_db_real(sqlite3_stmt *s, int column);

#endif
