/* results.db: opening it, its schema, and statements whose failures name the file. */
#include "db.h"

#include <math.h>
#include <stdarg.h>

#include "base/file.h"

#define APPLICATION_ID 0x716c6f6d /* "qlom": what `file` and other programs see */
#define BUSY_MS 10000

/* What brings a file from each version of the schema to the next; a new file takes all steps. */
static const char *const steps[] = {
    "CREATE TABLE runs (run TEXT PRIMARY KEY, version TEXT, device TEXT, finished TEXT, seconds REAL, peak_bytes "
    "INTEGER);"
    "CREATE TABLE axes (run TEXT REFERENCES runs ON DELETE CASCADE, position INTEGER, reference TEXT, in_matrix "
    "INTEGER,"
    " PRIMARY KEY (run, position)) WITHOUT ROWID;"
    "CREATE TABLE cells (run TEXT REFERENCES runs ON DELETE CASCADE, cell INTEGER, baseline INTEGER, original INTEGER,"
    " error TEXT, PRIMARY KEY (run, cell)) WITHOUT ROWID;"
    "CREATE TABLE labels (run TEXT, cell INTEGER, reference TEXT, label TEXT, PRIMARY KEY (run, cell, reference),"
    " FOREIGN KEY (run, cell) REFERENCES cells ON DELETE CASCADE) WITHOUT ROWID;"
    "CREATE TABLE metrics (run TEXT, cell INTEGER, position INTEGER, stage TEXT, name TEXT, value REAL,"
    " PRIMARY KEY (run, cell, position), FOREIGN KEY (run, cell) REFERENCES cells ON DELETE CASCADE) WITHOUT ROWID;"
    "CREATE TABLE notes (run TEXT, cell INTEGER, position INTEGER, stage TEXT, name TEXT, value TEXT,"
    " PRIMARY KEY (run, cell, position), FOREIGN KEY (run, cell) REFERENCES cells ON DELETE CASCADE) WITHOUT ROWID;"
    "CREATE TABLE footnotes (run TEXT, cell INTEGER, position INTEGER, text TEXT,"
    " PRIMARY KEY (run, cell, position), FOREIGN KEY (run, cell) REFERENCES cells ON DELETE CASCADE) WITHOUT ROWID;"
    "CREATE TABLE layer_metrics (run TEXT, cell INTEGER, position INTEGER, stage TEXT, linear TEXT, name TEXT, value "
    "REAL,"
    " PRIMARY KEY (run, cell, position), FOREIGN KEY (run, cell) REFERENCES cells ON DELETE CASCADE) WITHOUT ROWID;"
    "CREATE TABLE stages (run TEXT REFERENCES runs ON DELETE CASCADE, position INTEGER, stage TEXT, seconds REAL,"
    " calls INTEGER, up_bytes INTEGER, down_bytes INTEGER, peak_bytes INTEGER, PRIMARY KEY (run, position)) WITHOUT "
    "ROWID;"
    "CREATE TABLE citations (run TEXT REFERENCES runs ON DELETE CASCADE, position INTEGER, stage TEXT, label TEXT,"
    " plugin TEXT, cite TEXT, PRIMARY KEY (run, position)) WITHOUT ROWID;"
    "CREATE TABLE layouts (run TEXT REFERENCES runs ON DELETE CASCADE, part TEXT, position INTEGER, reference TEXT,"
    " PRIMARY KEY (run, part, position)) WITHOUT ROWID;"
    "PRAGMA application_id = 1902931821;" /* APPLICATION_ID */
    "PRAGMA user_version = 1;",

    "ALTER TABLE cells ADD COLUMN bits REAL;"
    "ALTER TABLE cells ADD COLUMN seconds REAL;"
    "ALTER TABLE cells ADD COLUMN peak_bytes INTEGER;"
    "CREATE TABLE lists (run TEXT, cell INTEGER, position INTEGER, stage TEXT, linear TEXT, name TEXT, item INTEGER,"
    " value REAL, PRIMARY KEY (run, cell, position, item), FOREIGN KEY (run, cell) REFERENCES cells ON DELETE CASCADE)"
    " WITHOUT ROWID;"
    "CREATE TABLE kinds (run TEXT REFERENCES runs ON DELETE CASCADE, position INTEGER, stage TEXT, name TEXT, unit "
    "TEXT, better TEXT, parts TEXT, exp INTEGER, PRIMARY KEY (run, position)) WITHOUT ROWID;"
    "CREATE TABLE nodes (run TEXT REFERENCES runs ON DELETE CASCADE, node INTEGER, stage TEXT, kind TEXT, label TEXT,"
    " cells INTEGER, seconds REAL, calls INTEGER, up_bytes INTEGER, down_bytes INTEGER, peak_bytes INTEGER,"
    " PRIMARY KEY (run, node)) WITHOUT ROWID;"
    "CREATE TABLE edges (run TEXT, node INTEGER, position INTEGER, port TEXT, source INTEGER,"
    " PRIMARY KEY (run, node, position), FOREIGN KEY (run, node) REFERENCES nodes ON DELETE CASCADE) WITHOUT ROWID;"
    "INSERT INTO nodes SELECT run, position, '', '', stage, 0, seconds, calls, up_bytes, down_bytes, peak_bytes"
    " FROM stages;"
    "DROP TABLE stages;"
    "PRAGMA user_version = 2;",
};

#define SCHEMA_VERSION ((int64_t)(sizeof steps / sizeof *steps))

static ql_status
db_fail(const ql_db *db, int code)
{
    ql_ctx *cx = db->cx;

    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return QL_FAIL(cx, QL_IO, "%s: locked by another program for %d s; close it and try again", db->path,
                       BUSY_MS / 1000);
    case SQLITE_NOTADB:
        return QL_FAIL(cx, QL_IO, "%s: not a results database; move it away, a new one will be made", db->path);
    case SQLITE_CORRUPT:
        return QL_FAIL(cx, QL_IO, "%s: damaged (%s); move it away, a new one will be made", db->path,
                       sqlite3_errmsg(db->handle));
    case SQLITE_FULL:
        return QL_FAIL(cx, QL_IO, "%s: no space left on the disk", db->path);
    case SQLITE_NOMEM:
        return QL_FAIL(cx, QL_MEMORY, "%s: out of memory", db->path);
    default:
        return QL_FAIL(cx, QL_IO, "%s: %s", db->path, sqlite3_errmsg(db->handle));
    }
}

ql_status
ql_db_exec(ql_db *db, const char *sql)
{
    int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? QL_OK : db_fail(db, code);
}

static ql_status
read_pragma(ql_db *db, const char *sql, int64_t *out)
{
    sqlite3_stmt *s;
    bool more = false;
    ql_status st;

    QL_TRY(db->cx, ql_db_prepare(db, sql, &s));
    st = ql_db_step(db, s, &more);
    *out = more ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_finalize(s);
    return st;
}

/* Two runs may meet here with a new or old file: the transaction lets one of them take the steps. */
static ql_status
raise_schema(ql_db *db)
{
    int64_t version;

    QL_TRY(db->cx, ql_db_exec(db, "BEGIN IMMEDIATE"));
    QL_TRY(db->cx, read_pragma(db, "PRAGMA user_version", &version));
    for (; version < SCHEMA_VERSION; version++)
        QL_TRY(db->cx, ql_db_exec(db, steps[version]));
    return ql_db_exec(db, "COMMIT");
}

/* *old: the file is of an earlier version, and this connection may not change it. */
static ql_status
check_schema(ql_db *db, bool write, bool *old)
{
    int64_t version, tables, id;

    QL_TRY(db->cx, read_pragma(db, "PRAGMA user_version", &version));
    QL_TRY(db->cx, read_pragma(db, "PRAGMA application_id", &id));
    QL_TRY(db->cx, read_pragma(db, "SELECT count(*) FROM sqlite_schema", &tables));
    if (version == 0 && tables == 0 && write)
        return raise_schema(db);
    if (id != APPLICATION_ID)
        return QL_FAIL(db->cx, QL_IO, "%s: not a results database; move it away, a new one will be made", db->path);
    if (version < 1 || version > SCHEMA_VERSION)
        return QL_FAIL(db->cx, QL_IO, "%s: has schema version %lld, this qloom reads and writes 1 to %lld", db->path,
                       (long long)version, (long long)SCHEMA_VERSION);
    *old = version < SCHEMA_VERSION && !write;
    return version < SCHEMA_VERSION && write ? raise_schema(db) : QL_OK;
}

static ql_status
open_database(ql_db *db, bool write, bool *old)
{
    int flags = write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    int code = sqlite3_open_v2(db->path, &db->handle, flags, NULL);

    if (code != SQLITE_OK)
        return db_fail(db, code);
    sqlite3_busy_timeout(db->handle, BUSY_MS);
    QL_TRY(db->cx, ql_db_exec(db, "PRAGMA foreign_keys = ON"));
    return check_schema(db, write, old);
}

ql_status
ql_db_open(ql_ctx *cx, const char *path, bool write, ql_db *out)
{
    bool old = false;
    ql_status st;

    *out = (ql_db){.cx = cx, .path = path};
    if (!write && !ql_is_file(path))
        return QL_FAIL(cx, QL_NOT_FOUND, "%s: there are no results here", path);
    st = open_database(out, write, &old);
    if (st == QL_OK && old) {
        ql_db_close(out);
        st = open_database(out, true, &old);
    }
    if (st != QL_OK)
        ql_db_close(out);
    return st;
}

void
ql_db_close(ql_db *db)
{
    (void)sqlite3_close(db->handle); /* takes NULL; fails only while statements live */
    db->handle = NULL;
}

ql_status
ql_db_prepare(ql_db *db, const char *sql, sqlite3_stmt **out)
{
    int code = sqlite3_prepare_v2(db->handle, sql, -1, out, NULL);

    return code == SQLITE_OK ? QL_OK : db_fail(db, code);
}

static ql_status
bind(ql_db *db, sqlite3_stmt *s, const char *types, va_list ap)
{
    for (int i = 1; *types; types++, i++) {
        int code = *types == 't'   ? sqlite3_bind_text(s, i, va_arg(ap, const char *), -1, SQLITE_TRANSIENT)
                   : *types == 'i' ? sqlite3_bind_int64(s, i, va_arg(ap, int64_t))
                                   : sqlite3_bind_double(s, i, va_arg(ap, double));

        if (code != SQLITE_OK)
            return db_fail(db, code);
    }
    return QL_OK;
}

ql_status
ql_db_bind(ql_db *db, sqlite3_stmt *s, const char *types, ...)
{
    va_list ap;
    ql_status st;

    va_start(ap, types);
    st = bind(db, s, types, ap);
    va_end(ap);
    return st;
}

ql_status
ql_db_put(ql_db *db, sqlite3_stmt *s, const char *types, ...)
{
    bool more = true;
    va_list ap;
    ql_status st;

    va_start(ap, types);
    st = bind(db, s, types, ap);
    va_end(ap);
    while (st == QL_OK && more)
        st = ql_db_step(db, s, &more);
    (void)sqlite3_reset(s); /* repeats the error of the step */
    return st;
}

ql_status
ql_db_step(ql_db *db, sqlite3_stmt *s, bool *more)
{
    int code = sqlite3_step(s);

    *more = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE ? QL_OK : db_fail(db, code);
}

ql_status
ql_db_text(ql_db *db, sqlite3_stmt *s, int column, const char **out)
{
    const unsigned char *text = sqlite3_column_text(s, column);

    *out = text ? ql_copy_text(db->cx, (const char *)text, (size_t)sqlite3_column_bytes(s, column)) : NULL;
    return text && !*out ? QL_MEMORY : QL_OK;
}

double
ql_db_real(sqlite3_stmt *s, int column)
{
    return sqlite3_column_type(s, column) == SQLITE_NULL ? NAN : sqlite3_column_double(s, column);
}
