/* same A B: do two results.db say the same, to the bit, but for what a run cost? Exit 0, or 1 with what differs. */
#include <stdio.h>
#include <string.h>

#include <sqlite3.h>

/* Columns that depend on the moment, or on the order in which rows came. */
static int
is_left_out(const char *table, const char *column)
{
    static const char *const names[] = {"id", "finished", "seconds", "peak_bytes", "calls", "up_bytes", "down_bytes"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(column, names[i]) == 0)
            return 1;
    return strcmp(table, "run") == 0 && strcmp(column, "digest") == 0; /* of these as well */
}

/* A reference to another table as what it stands for there; NULL: the column is none. */
static const char *
meaning(const char *column)
{
    static const struct {
        const char *column, *sql;
    } rows[] = {
        {"run", "(SELECT r.name FROM %1$s.run r WHERE r.id = t.run)"},
        {"cell",
         "(SELECT r.name || ' ' || c.number FROM %1$s.cell c JOIN %1$s.run r ON r.id = c.run WHERE c.id = t.cell)"},
        {"node", "(SELECT n.key FROM %1$s.node n WHERE n.id = t.node)"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(column, rows[i].column) == 0)
            return rows[i].sql;
    return NULL;
}

/* "SELECT run, cell, … FROM b.TABLE": the columns that are compared; a real as the text that reads back equal. */
static void
rows_of(sqlite3 *db, const char *schema, const char *table, char *out, size_t size)
{
    char *sql = sqlite3_mprintf("SELECT name, type FROM pragma_table_info(%Q, 'main')", table);
    const char *between = "SELECT ";
    sqlite3_stmt *s;
    size_t used = 0;

    sqlite3_prepare_v2(db, sql, -1, &s, NULL);
    while (sqlite3_step(s) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(s, 0), *type = (const char *)sqlite3_column_text(s, 1);
        const char *other = meaning(name);

        if (is_left_out(table, name))
            continue;
        used += (size_t)snprintf(out + used, size - used, "%s", between);
        between = ", ";
        if (other)
            used += (size_t)snprintf(out + used, size - used, other, schema);
        else
            used += (size_t)snprintf(out + used, size - used,
                                     strcmp(type, "REAL") == 0 ? "printf('%%!.17g', t.\"%s\")" : "t.\"%s\"", name);
    }
    snprintf(out + used, size - used, " FROM %s.\"%s\" t", schema, table);
    sqlite3_finalize(s);
    sqlite3_free(sql);
}

/* Rows of the table that one of the two has and the other lacks. */
static int
differences(sqlite3 *db, const char *table)
{
    char a[4096], b[4096];
    sqlite3_stmt *s = NULL;
    char *sql;
    int n = -1;

    rows_of(db, "main", table, a, sizeof a);
    rows_of(db, "b", table, b, sizeof b);
    sql = sqlite3_mprintf("SELECT (SELECT count(*) FROM (%s EXCEPT %s)) + (SELECT count(*) FROM (%s EXCEPT %s))", a, b,
                          b, a);
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        n = sqlite3_column_int(s, 0);
    else
        fprintf(stderr, "%s: %s\n", table, sqlite3_errmsg(db));
    sqlite3_finalize(s);
    sqlite3_free(sql);
    return n;
}

int
main(int argc, char **argv)
{
    sqlite3 *db;
    sqlite3_stmt *s = NULL;
    char *attach = argc == 3 ? sqlite3_mprintf("ATTACH %Q AS b", argv[2]) : NULL;
    int tables = 0, wrong = 0;

    if (!attach || sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
        sqlite3_exec(db, attach, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db, "SELECT name FROM main.sqlite_master WHERE type = 'table'", -1, &s, NULL) != SQLITE_OK)
        return fprintf(stderr, "usage: same A B, two results.db\n"), 2;
    for (; sqlite3_step(s) == SQLITE_ROW; tables++) {
        const char *table = (const char *)sqlite3_column_text(s, 0);
        const int n = differences(db, table);

        if (n != 0)
            printf("%s: %d rows differ\n", table, n);
        wrong += n != 0;
    }
    sqlite3_finalize(s);
    sqlite3_free(attach);
    sqlite3_close(db);
    return tables == 0 || wrong != 0;
}
