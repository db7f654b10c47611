/* The database behind results.db: opening it, and statements whose failures name the file. */
#include "db.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/path.h"

#define APPLICATION_ID 0x716c6f6d /* "qlom": what `file` and other programs see */
#define IN_MEMORY ":memory:"
#define BUSY_MS 10000
#define WAIT_MS 50            /* between two looks at a lock */
#define STEPS 10000           /* of SQLite's machine between two looks at the user's wish to stop */
#define LENGTH_MAX (64 << 20) /* bytes of a text or a row */

static ql_status
db_fail(const ql_results *r, int code)
{
    ql_ctx *cx = r->cx;

    switch (code & 0xff) {
    case SQLITE_INTERRUPT:
        return QL_FAIL(cx, QL_INTERRUPTED, "interrupted");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return QL_FAIL(cx, QL_IO, "%s: locked by another program for %d s; close it and try again", r->path,
                       BUSY_MS / 1000);
    case SQLITE_NOTADB:
        return QL_FAIL(cx, QL_IO, "%s: not a results database; move it away, a new one will be made", r->path);
    case SQLITE_CORRUPT:
        return QL_FAIL(cx, QL_IO, "%s: damaged (%s); move it away, a new one will be made", r->path,
                       sqlite3_errmsg(r->handle));
    case SQLITE_FULL:
        return QL_FAIL(cx, QL_IO, "%s: no space left on the disk", r->path);
    case SQLITE_NOMEM:
        return QL_FAIL(cx, QL_MEMORY, "%s: out of memory", r->path);
    default:
        return QL_FAIL(cx, QL_IO, "%s: %s", r->path, sqlite3_errmsg(r->handle));
    }
}

/* --- statements --- */

ql_status
ql_results_exec(ql_results *r, const char *sql)
{
    const int code = sqlite3_exec(r->handle, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? QL_OK : db_fail(r, code);
}

static ql_status
prepare(ql_results *r, const char *sql, sqlite3_stmt **out)
{
    const int code = sqlite3_prepare_v2(r->handle, sql, -1, out, NULL);

    return code == SQLITE_OK ? QL_OK : db_fail(r, code);
}

static ql_status
bind(ql_results *r, sqlite3_stmt *s, const char *types, va_list ap)
{
    for (int i = 1; *types; types++, i++) {
        const int code = *types == 't'   ? sqlite3_bind_text(s, i, va_arg(ap, const char *), -1, SQLITE_TRANSIENT)
                         : *types == 'i' ? sqlite3_bind_int64(s, i, va_arg(ap, int64_t))
                                         : sqlite3_bind_double(s, i, va_arg(ap, double));

        if (code != SQLITE_OK)
            return db_fail(r, code);
    }
    return QL_OK;
}

ql_status
ql_db_step(ql_results *r, sqlite3_stmt *s, bool *more)
{
    const int code = sqlite3_step(s);

    *more = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE ? QL_OK : db_fail(r, code);
}

/* The statement of that literal, prepared on its first use. */
static ql_status
prepared(ql_results *r, const char *sql, sqlite3_stmt **out)
{
    int i = 0;

    while (i < QL_DB_STATEMENTS && r->prepared[i].sql && r->prepared[i].sql != sql)
        i++;
    if (i == QL_DB_STATEMENTS)
        return QL_FAIL(r->cx, QL_BUG, "results.db: more than %d statements", QL_DB_STATEMENTS);
    if (!r->prepared[i].sql) {
        QL_TRY(r->cx, prepare(r, sql, &r->prepared[i].statement));
        r->prepared[i].sql = sql;
    }
    *out = r->prepared[i].statement;
    return QL_OK;
}

static ql_status
run_statement(ql_results *r, int64_t *first, const char *sql, const char *types, va_list ap)
{
    sqlite3_stmt *s = NULL;
    bool more = true;
    ql_status st;

    *first = 0;
    QL_TRY(r->cx, prepared(r, sql, &s));
    st = bind(r, s, types, ap);
    for (bool at_first = true; st == QL_OK && more; at_first = false) {
        st = ql_db_step(r, s, &more);
        if (st == QL_OK && more && at_first)
            *first = sqlite3_column_int64(s, 0);
    }
    (void)sqlite3_reset(s); /* repeats the error of the step */
    (void)sqlite3_clear_bindings(s);
    return st;
}

ql_status
ql_db_put(ql_results *r, const char *sql, const char *types, ...)
{
    int64_t unused;
    va_list ap;
    ql_status st;

    va_start(ap, types);
    st = run_statement(r, &unused, sql, types, ap);
    va_end(ap);
    return st;
}

ql_status
ql_db_int(ql_results *r, int64_t *out, const char *sql, const char *types, ...)
{
    va_list ap;
    ql_status st;

    va_start(ap, types);
    st = run_statement(r, out, sql, types, ap);
    va_end(ap);
    return st;
}

/* --- queries --- */

/* A row's values; texts are copied into the innermost scope. */
static ql_status
take_row(ql_results *r, sqlite3_stmt *s, int width, ql_field *values)
{
    for (int k = 0; k < width; k++) {
        const int type = sqlite3_column_type(s, k);
        ql_field *v = &values[k];

        *v = (ql_field){.real = type == SQLITE_NULL ? NAN : sqlite3_column_double(s, k)};
        v->integer = type == SQLITE_INTEGER ? sqlite3_column_int64(s, k) : 0;
        if (type != SQLITE_TEXT)
            continue;
        v->text = ql_copy_text(r->cx, (const char *)sqlite3_column_text(s, k), (size_t)sqlite3_column_bytes(s, k));
        if (!v->text)
            return QL_MEMORY;
    }
    return QL_OK;
}

/* All rows; the array grows by doubling. */
static ql_status
take_rows(ql_results *r, sqlite3_stmt *s, ql_sheet *out)
{
    const int width = sqlite3_column_count(s);
    int64_t room = 0;
    bool more = true;

    *out = (ql_sheet){.width = width};
    for (;;) {
        QL_TRY(r->cx, ql_db_step(r, s, &more));
        if (!more)
            return QL_OK;
        QL_TRY(r->cx, ql_alloc_more(r->cx, &out->values, &room, out->count + 1, (size_t)width * sizeof *out->values));
        QL_TRY(r->cx, take_row(r, s, width, out->values + out->count * width));
        out->count++;
    }
}

ql_status
ql_sheet_read(ql_results *r, ql_sheet *out, const char *sql, const char *types, ...)
{
    sqlite3_stmt *s = NULL;
    va_list ap;
    ql_status st;

    *out = (ql_sheet){0};
    QL_TRY(r->cx, prepare(r, sql, &s));
    va_start(ap, types);
    st = bind(r, s, types, ap);
    va_end(ap);
    if (st == QL_OK)
        st = take_rows(r, s, out);
    (void)sqlite3_finalize(s); /* repeats the error of the step */
    return st;
}

/* The row that `from` stands at, as one of `to`. */
static ql_status
copy_row(ql_results *r, sqlite3_stmt *from, sqlite3_stmt *to)
{
    bool more = true;

    for (int k = 0; k < sqlite3_column_count(from); k++) {
        const bool text = sqlite3_column_type(from, k) == SQLITE_TEXT; /* it stays where it is until `from` goes on */
        const int code = text ? sqlite3_bind_text(to, k + 1, (const char *)sqlite3_column_text(from, k),
                                                  sqlite3_column_bytes(from, k), SQLITE_STATIC)
                              : sqlite3_bind_value(to, k + 1, sqlite3_column_value(from, k));

        if (code != SQLITE_OK)
            return db_fail(r, code);
    }
    QL_TRY(r->cx, ql_db_step(r, to, &more));
    (void)sqlite3_reset(to);
    return QL_OK;
}

ql_status
ql_results_copy(ql_results *from, const char *sql, const int64_t numbers[3], ql_results *to, const char *put)
{
    sqlite3_stmt *get = NULL, *set = NULL;
    bool more = true;
    ql_status st;

    QL_TRY(from->cx, prepare(from, sql, &get));
    for (int k = 0; k < sqlite3_bind_parameter_count(get); k++)
        (void)sqlite3_bind_int64(get, k + 1, numbers[k]); /* a number always fits */
    st = prepare(to, put, &set);
    while (st == QL_OK) {
        st = ql_db_step(from, get, &more);
        if (st != QL_OK || !more)
            break;
        st = copy_row(to, get, set);
    }
    (void)sqlite3_finalize(get);
    (void)sqlite3_finalize(set);
    return st;
}

/* --- opening --- */

/* Two runs may meet here with a new or old file: the transaction lets one of them take the steps. */
static ql_status
raise_schema(ql_results *r)
{
    int64_t version;

    QL_TRY(r->cx, ql_results_exec(r, "BEGIN IMMEDIATE"));
    QL_TRY(r->cx, ql_db_int(r, &version, "PRAGMA user_version", ""));
    if (version < QL_SCHEMA_VERSION)
        QL_TRY(r->cx, ql_schema_raise(r, version));
    return ql_results_exec(r, "COMMIT");
}

/* The file is anyone's: nothing in it may do more than hold rows. */
static ql_status
check_objects(ql_results *r, int64_t version)
{
    int64_t strange;

    QL_TRY(r->cx,
           ql_db_int(r, &strange, "SELECT count(*) FROM sqlite_schema WHERE type NOT IN ('table', 'index')", ""));
    if (strange)
        return QL_FAIL(r->cx, QL_IO,
                       "%s: has views or triggers, which qloom never makes; move it away, a new one will be made",
                       r->path);
    return version == QL_SCHEMA_VERSION ? ql_schema_check(r) : QL_OK;
}

/* *old: the file is of an earlier version, and this connection may not change it. */
static ql_status
check_schema(ql_results *r, bool write, bool *old)
{
    int64_t version, tables, id;

    QL_TRY(r->cx, ql_db_int(r, &version, "PRAGMA user_version", ""));
    QL_TRY(r->cx, ql_db_int(r, &id, "PRAGMA application_id", ""));
    QL_TRY(r->cx, ql_db_int(r, &tables, "SELECT count(*) FROM sqlite_schema", ""));
    if (version == 0 && tables == 0 && write)
        return raise_schema(r);
    if (id != APPLICATION_ID)
        return QL_FAIL(r->cx, QL_IO, "%s: not a results database; move it away, a new one will be made", r->path);
    if (version < 1 || version > QL_SCHEMA_VERSION)
        return QL_FAIL(r->cx, QL_IO, "%s: has schema version %lld, this qloom reads and writes 1 to %d", r->path,
                       (long long)version, QL_SCHEMA_VERSION);
    QL_TRY(r->cx, check_objects(r, version));
    *old = version < QL_SCHEMA_VERSION && !write;
    return version < QL_SCHEMA_VERSION && write ? raise_schema(r) : QL_OK;
}

/* Facts wait in tables of this connection alone until they are kept. */
static const char waiting[] =
    "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;"
    "CREATE TEMP TABLE new_fact (node INTEGER, block INTEGER, linear TEXT, name TEXT, part ANY, value REAL);"
    "CREATE TEMP TABLE new_note (node INTEGER, block INTEGER, name TEXT, value TEXT);"
    "CREATE TEMP TABLE new_answer (node INTEGER, block INTEGER, task TEXT, doc INTEGER, gold TEXT, pred TEXT,"
    " pred_norm TEXT, \"right\" INTEGER, right_norm INTEGER, margin REAL);";

static bool
is_interrupted(const ql_results *r)
{
    return r->cx->interrupt && __atomic_load_n(r->cx->interrupt, __ATOMIC_RELAXED);
}

/* SQLite asks: is it to stop? */
static int
on_progress(void *user)
{
    return is_interrupted(user);
}

/* SQLite asks for the n-th time: is it to wait on for a lock? */
static int
on_busy(void *user, int times)
{
    sqlite3_sleep(WAIT_MS);
    return times < BUSY_MS / WAIT_MS && !is_interrupted(user);
}

static int
guard(ql_results *r)
{
    sqlite3 *db = r->handle;
    int code = sqlite3_busy_handler(db, on_busy, r);

    sqlite3_progress_handler(db, STEPS, on_progress, r);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, LENGTH_MAX);
    sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
    code = code == SQLITE_OK ? sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL) : code;
    code = code == SQLITE_OK ? sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL) : code;
    code = code == SQLITE_OK ? sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL) : code;
    return code == SQLITE_OK ? sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL) : code;
}

static ql_status
open_database(ql_results *r, bool write, bool *old)
{
    const int flags = write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    const bool memory = strcmp(r->path, IN_MEMORY) == 0;
    int code = sqlite3_open_v2(r->path, &r->handle, flags | SQLITE_OPEN_NOMUTEX, NULL);

    if (code == SQLITE_OK)
        code = guard(r);
    if (code == SQLITE_OK)
        code = ql_db_functions(r->handle);
    if (code != SQLITE_OK)
        return db_fail(r, code);
    QL_TRY(r->cx, ql_results_exec(r, waiting));
    return memory && !write ? QL_OK : check_schema(r, write, old);
}

/* Queries that were left early are closed as well. */
static void
close_database(ql_results *r)
{
    sqlite3_stmt *s;

    while (r->handle && (s = sqlite3_next_stmt(r->handle, NULL)))
        sqlite3_finalize(s);
    (void)sqlite3_close(r->handle); /* takes NULL; fails only while statements live */
    r->handle = NULL;
    memset(r->prepared, 0, sizeof r->prepared);
}

/* SQLite has no room for the names of longer ones, and says only that it can't open them. */
static ql_status
check_length(ql_ctx *cx, const char *path)
{
    const sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    const int most = vfs ? vfs->mxPathname - (int)strlen("-journal") : 0;

    QL_TRY(cx, ql_path_resolve(cx, path, &path));
    return !vfs || strlen(path) <= (size_t)most
               ? QL_OK
               : QL_FAIL(cx, QL_INVALID, "%s: SQLite opens no file whose path has more than %d bytes, and this has %zu",
                         path, most, strlen(path));
}

/* Someone else may have put a link there, and the file that it leads to is not ours; and what SQLite keeps beside it are files, too: it
 * would wait for ever for whoever writes into a FIFO. */
static ql_status
refuse_others(ql_ctx *cx, const char *path, bool write)
{
    static const char *const ends[] = {"", "-journal", "-wal", "-shm"};
    ql_path_info at;
    struct stat st;

    if (write && lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
        return QL_FAIL(cx, QL_IO, "%s: is a link; results go into a file of their own", path);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const char *file = ql_format(cx, "%s%s", path, ends[i]);

        if (!file)
            return QL_MEMORY;
        QL_TRY(cx, ql_path_look(cx, file, &at));
        if (at.type != QL_PATH_NONE && at.type != QL_PATH_FILE)
            return QL_FAIL(cx, QL_IO, "%s: expected a file, got %s", file, at.word);
    }
    return QL_OK;
}

ql_status
ql_results_open(ql_ctx *cx, const char *path, bool write, ql_results **out)
{
    ql_results *r;
    bool old = false, there = true;
    ql_status st;

    *out = NULL;
    if (path && !write)
        QL_TRY(cx, ql_is_file(cx, path, &there));
    if (!there)
        return QL_FAIL(cx, QL_NOT_FOUND, "%s: there are no results here", path);
    if (path)
        QL_TRY(cx, refuse_others(cx, path, write));
    if (path)
        QL_TRY(cx, check_length(cx, path));
    r = ql_heap(cx, 1, sizeof *r);
    if (!r)
        return QL_MEMORY;
    *r = (ql_results){.cx = cx, .path = path ? path : IN_MEMORY};
    st = open_database(r, write, &old);
    if (st == QL_OK && old) {
        close_database(r);
        st = open_database(r, true, &old);
    }
    if (st == QL_OK)
        *out = r;
    else
        ql_results_close(r);
    return st;
}

void
ql_results_close(ql_results *r)
{
    if (!r)
        return;
    close_database(r);
    free(r->cells);
    free(r);
}

ql_status
ql_results_begin(ql_results *r)
{
    return ql_results_exec(r, "BEGIN IMMEDIATE");
}

ql_status
ql_results_commit(ql_results *r)
{
    return ql_results_exec(r, "COMMIT");
}
