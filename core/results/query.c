/* Queries of results.db in SQL, read only. */
#include <string.h>

#include "base/text.h"
#include "db.h"

static ql_status
read_value(ql_ctx *cx, sqlite3_stmt *s, int column, const char **out)
{
    char number[QL_NUMBER_SIZE];
    const unsigned char *text;

    *out = NULL;
    if (sqlite3_column_type(s, column) == SQLITE_NULL)
        return QL_OK;
    if (sqlite3_column_type(s, column) == SQLITE_FLOAT) {
        ql_number(sqlite3_column_double(s, column), number);
        *out = ql_format(cx, "%s%s", number, strpbrk(number, ".en") ? "" : ".0"); /* a real, also where it is whole */
        return *out ? QL_OK : QL_MEMORY;
    }
    text = sqlite3_column_text(s, column);
    *out = text ? ql_copy_text(cx, (const char *)text, (size_t)sqlite3_column_bytes(s, column)) : NULL;
    return *out ? QL_OK : QL_FAIL(cx, QL_MEMORY, "out of memory");
}

static ql_status
each_row(ql_results *r, sqlite3_stmt *s, ql_job_row row, void *user)
{
    const int columns = sqlite3_column_count(s);
    const char **names = ql_alloc(r->cx, (size_t)columns, sizeof *names);
    const char **values = ql_alloc(r->cx, (size_t)columns, sizeof *values);

    if (!names || !values)
        return QL_MEMORY;
    for (int i = 0; i < columns; i++)
        names[i] = sqlite3_column_name(s, i);
    for (;;) {
        ql_scope scope;
        bool more;
        ql_status st = ql_db_step(r, s, &more);

        if (st != QL_OK || !more)
            return st;
        ql_scope_open(r->cx, &scope);
        for (int i = 0; i < columns && st == QL_OK; i++)
            st = read_value(r->cx, s, i, &values[i]);
        if (st == QL_OK)
            st = row(user, columns, names, values);
        ql_scope_close(r->cx, &scope);
        QL_TRY(r->cx, st);
    }
}

/* One statement that reads, with `:run` bound where it occurs. */
static ql_status
prepare(ql_results *r, const char *sql, const char *run, sqlite3_stmt **out)
{
    const char *rest = NULL;
    int place;

    if (sqlite3_prepare_v2(r->handle, sql, -1, out, &rest) != SQLITE_OK)
        return QL_FAIL(r->cx, QL_INVALID, "%s: %s", r->path, sqlite3_errmsg(r->handle));
    if (!*out || !sqlite3_stmt_readonly(*out) || rest[strspn(rest, " \t\r\n;")])
        return QL_FAIL(r->cx, QL_INVALID, "%s: expected one SELECT, got '%.40s'", r->path, sql);
    place = sqlite3_bind_parameter_index(*out, ":run");
    if (sqlite3_bind_parameter_count(*out) > (place > 0))
        return QL_FAIL(r->cx, QL_INVALID, "%s: a query has no parameter but :run", r->path);
    if (place && sqlite3_bind_text(*out, place, run, -1, SQLITE_TRANSIENT) != SQLITE_OK)
        return QL_FAIL(r->cx, QL_MEMORY, "%s: out of memory", r->path);
    return QL_OK;
}

ql_status
ql_results_query(ql_ctx *cx, const char *runs, const char *run, const char *sql, ql_job_row row, void *user)
{
    const char *path;
    sqlite3_stmt *s = NULL;
    ql_scope scope;
    ql_status st;
    ql_results *r = NULL;

    ql_scope_open(cx, &scope);
    path = ql_format(cx, "%s/" QL_RESULTS_FILE, runs);
    st = path ? ql_results_open(cx, path, false, &r) : QL_MEMORY;
    if (st == QL_OK) {
        st = prepare(r, sql, run, &s);
        if (st == QL_OK)
            st = each_row(r, s, row, user);
        sqlite3_finalize(s);
    }
    ql_results_close(r);
    ql_scope_close(cx, &scope);
    return st;
}
