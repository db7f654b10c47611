/* same A B: do two results.db say the same, to the bit, but for what a run cost? Exit 0, or 1 with what differs. */
#include <stdio.h>
#include <string.h>

#include <sqlite3.h>

/* Columns that depend on the moment. */
static int
is_cost(const char *column)
{
    static const char *const names[] = {"finished", "seconds", "peak_bytes", "calls", "up_bytes", "down_bytes"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(column, names[i]) == 0)
            return 1;
    return 0;
}

/* The columns of a table that are compared: "run, cell, …"; a real as the text that reads back equal. */
static void
columns_of(sqlite3 *db, const char *table, char *out, size_t size)
{
    char *sql = sqlite3_mprintf("SELECT name, type FROM pragma_table_info(%Q, 'main')", table);
    sqlite3_stmt *s;
    size_t used = 0;

    out[0] = '\0';
    sqlite3_prepare_v2(db, sql, -1, &s, NULL);
    while (sqlite3_step(s) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(s, 0), *type = (const char *)sqlite3_column_text(s, 1);

        if (!is_cost(name))
            used += (size_t)snprintf(out + used, size - used,
                                     strcmp(type, "REAL") == 0 ? "%sprintf('%%!.17g', \"%s\")" : "%s\"%s\"",
                                     used ? ", " : "", name);
    }
    sqlite3_finalize(s);
    sqlite3_free(sql);
}

/* Rows of the table that one of the two has and the other lacks. */
static int
differences(sqlite3 *db, const char *table)
{
    char columns[2048];
    sqlite3_stmt *s = NULL;
    char *sql;
    int n = -1;

    columns_of(db, table, columns, sizeof columns);
    sql = sqlite3_mprintf("SELECT (SELECT count(*) FROM (SELECT %s FROM main.\"%w\" EXCEPT SELECT %s FROM b.\"%w\")) + "
                          "(SELECT count(*) FROM (SELECT %s FROM b.\"%w\" EXCEPT SELECT %s FROM main.\"%w\"))",
                          columns, table, columns, table, columns, table, columns, table);
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        n = sqlite3_column_int(s, 0);
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
