/* Rows and columns of a table: which references make them, and where a cell belongs. */
#include "layout.h"

#include <string.h>

#include "base/ctx.h"

#define RUN_KEY "run" /* the reference whose labels are the names of the runs */

static const char tables[] =
    "DROP TABLE IF EXISTS key; CREATE TEMP TABLE key (part TEXT, position INTEGER, reference TEXT, PRIMARY KEY (part, "
    "position),"
    " UNIQUE (part, reference)) WITHOUT ROWID;"
    "DROP TABLE IF EXISTS metric; CREATE TEMP TABLE metric (position INTEGER PRIMARY KEY, metric TEXT);"
    "DROP TABLE IF EXISTS free; CREATE TEMP TABLE free (reference TEXT PRIMARY KEY);"
    "DROP TABLE IF EXISTS lost; CREATE TEMP TABLE lost (cell INTEGER PRIMARY KEY);"
    "DROP TABLE IF EXISTS place; CREATE TEMP TABLE place (part TEXT, cell INTEGER, baseline INTEGER, place TEXT);"
    "DROP TABLE IF EXISTS ordinal; CREATE TEMP TABLE ordinal (part TEXT, baseline INTEGER, place TEXT, number INTEGER,"
    " PRIMARY KEY (part, baseline, place)) WITHOUT ROWID;"
    "DROP TABLE IF EXISTS tuple; CREATE TEMP TABLE tuple (part TEXT, cell INTEGER, baseline INTEGER, number INTEGER,"
    " PRIMARY KEY (part, cell)) WITHOUT ROWID;"
    "DROP TABLE IF EXISTS target; CREATE TEMP TABLE target (cell INTEGER, row INTEGER, col INTEGER, PRIMARY KEY (cell, "
    "col))"
    " WITHOUT ROWID;"
    "CREATE TEMP VIEW IF NOT EXISTS called AS SELECT c.id AS cell, k.part, k.position, c.baseline, k.reference,"
    " CASE WHEN k.reference IS NULL THEN '' WHEN k.reference <> '" RUN_KEY "' THEN ifnull(l.label, '-')"
    " WHEN NOT c.baseline OR k.part = 'column' THEN r.name"
    " WHEN (SELECT count(*) FROM run) > 1 THEN r.name || ' (" QL_ORIGINAL_LABEL ")' ELSE '" QL_ORIGINAL_LABEL
    "' END AS label"
    " FROM cell c CROSS JOIN run r ON r.id = c.run CROSS JOIN key k LEFT JOIN label l ON l.cell = c.id"
    " AND l.reference = k.reference";

static ql_status
put_keys(ql_book *b, const char *part, const char *const *references, int64_t count)
{
    const char *guess;
    ql_sheet rows;

    for (int64_t i = 0; i < count; i++)
        QL_TRY(b->cx, ql_sheet_read(b->db, &rows, "INSERT OR IGNORE INTO key VALUES (?, ?, ?)", "tit", part, i,
                                    references[i]));
    QL_TRY(b->cx, ql_sheet_read(b->db, &rows,
                                "SELECT reference FROM key WHERE part = ? AND reference <> '" RUN_KEY "'"
                                " AND reference NOT IN (SELECT reference FROM axis) ORDER BY position LIMIT 1",
                                "t", part));
    if (rows.count == 0)
        return QL_OK;
    QL_TRY(b->cx,
           ql_book_guess(b, ql_row(&rows, 0)->text,
                         "SELECT '" RUN_KEY "' UNION ALL SELECT * FROM (SELECT reference FROM axis GROUP BY reference"
                         " ORDER BY min(rowid))",
                         &guess));
    return QL_FAIL(b->cx, QL_INVALID, "table: no run tells its cells apart by '%s'%s", ql_row(&rows, 0)->text, guess);
}

/* Rows that nobody chose: the run where there are several, and every axis, but for those that columns show. An axis over whole stages is
 * its `use`. */
static const char default_rows[] =
    "INSERT INTO key SELECT 'row', -1, '" RUN_KEY "' WHERE (SELECT count(*) FROM run) > 1"
    " AND NOT EXISTS (SELECT 1 FROM key WHERE reference = '" RUN_KEY "');"
    "INSERT INTO key SELECT 'row', min(a.rowid), a.reference FROM axis a WHERE a.in_matrix"
    " AND a.reference NOT IN (SELECT reference FROM free)"
    " AND NOT EXISTS (SELECT 1 FROM key k WHERE k.part = 'column' AND k.reference IN (a.reference, a.reference || "
    "'.use'))"
    " GROUP BY a.reference;"
    "INSERT INTO key SELECT 'row', 0, '" RUN_KEY "' WHERE NOT EXISTS (SELECT 1 FROM key WHERE part = 'row')";

static ql_status
choose_keys(ql_book *b, const ql_table_spec *spec)
{
    QL_TRY(b->cx, put_keys(b, "column", spec->columns, spec->column_count));
    QL_TRY(b->cx, put_keys(b, "row", spec->rows, spec->row_count));
    if (!spec->row_count)
        QL_TRY(b->cx, ql_results_exec(b->db, default_rows));
    if (spec->column_count)
        return QL_OK;
    return ql_results_exec(b->db, "INSERT INTO key VALUES ('column', 0, NULL)");
}

static ql_status
choose_metrics(ql_book *b, const char *value)
{
    ql_names names = {0};
    ql_sheet none;

    QL_TRY(b->cx, ql_book_metrics(b, "table", value, &names));
    for (int64_t i = 0; i < names.count; i++)
        QL_TRY(b->cx, ql_sheet_read(b->db, &none, "INSERT INTO metric VALUES (?, ?)", "it", i, names.items[i]));
    return QL_OK;
}

/* Of cells of a run that differ on axis ?1 alone, those stay away that another beats by metric ?2; a footnote of the one that is shown says
 * which it is. */
static const char contest[] =
    "CREATE TEMP TABLE contest AS SELECT cell, label, loss, count(*) OVER (PARTITION BY run, rest) AS many,"
    " row_number() OVER (PARTITION BY run, rest ORDER BY loss IS NULL, loss, cell) AS place FROM (SELECT c.id AS cell,"
    " c.run, (SELECT label FROM label WHERE cell = c.id AND reference = ?1) AS label,"
    " (SELECT group_concat(reference || char(2) || label, char(1)) FROM (SELECT * FROM label WHERE cell = c.id"
    " AND reference <> ?1 ORDER BY reference)) AS rest, (SELECT iif((SELECT max(better) FROM kind k WHERE k.metric = "
    "?2)"
    " = 2, -n.value, n.value) FROM number n WHERE n.cell = c.id AND n.metric = ?2) AS loss FROM cell c"
    " WHERE NOT c.baseline AND c.id NOT IN (SELECT cell FROM lost))";
static const char winners[] =
    "INSERT INTO footnote SELECT cell, (SELECT ifnull(max(position), -1) + 1 FROM footnote f WHERE f.cell = c.cell),"
    " ?1 || ' ' || label || ', the best by ' || ?2 FROM contest c WHERE place = 1 AND many > 1 AND loss IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM footnote f WHERE f.cell = c.cell AND f.text = ?1 || ' ' || label || ', the best by "
    "'"
    " || ?2)";

static ql_status
pick(ql_book *b, const char *text)
{
    const char *space = strchr(text, ' '), *axis = ql_copy_text(b->cx, text, (size_t)(space - text));
    ql_sheet rows;

    if (!axis)
        return QL_MEMORY;
    QL_TRY(b->cx, ql_sheet_read(b->db, &rows, "SELECT 1 FROM number WHERE metric = ? LIMIT 1", "t", space + 1));
    if (rows.count == 0)
        return QL_FAIL(b->cx, QL_INVALID, "table: pick: no cell has the number '%s'", space + 1);
    QL_TRY(b->cx, ql_results_exec(b->db, "DROP TABLE IF EXISTS contest"));
    QL_TRY(b->cx, ql_sheet_read(b->db, &rows, contest, "tt", axis, space + 1));
    QL_TRY(b->cx, ql_sheet_read(b->db, &rows, winners, "tt", axis, space + 1));
    return ql_results_exec(b->db, "INSERT INTO lost SELECT cell FROM contest WHERE place > 1");
}

/* A tuple's place is the text of its labels. Places of original models come in the order of their first cells, others in that of their
 * labels' ranks, key by key; the rank of a label is the number of the first cell that has it. */
static const char places[] =
    "INSERT INTO place SELECT part, cell, baseline, group_concat(label, char(1)) FROM (SELECT * FROM called"
    " WHERE (NOT baseline OR part = 'row') AND cell NOT IN (SELECT cell FROM lost) ORDER BY cell, part, position) "
    "GROUP BY cell, part;"
    "INSERT INTO ordinal SELECT part, baseline, place, dense_rank() OVER (PARTITION BY part ORDER BY baseline DESC,"
    " iif(baseline, cell, 0), ranks) - 1 FROM (SELECT part, baseline, place, cell, group_concat(format('%012d', rank), "
    "'') AS ranks"
    " FROM (SELECT f.part, f.baseline, f.place, f.cell, min(f.cell) OVER (PARTITION BY f.part, f.baseline, c.position, "
    "c.label)"
    " AS rank FROM (SELECT part, baseline, place, min(cell) AS cell FROM place GROUP BY part, baseline, place) f"
    " CROSS JOIN called c ON c.cell = f.cell AND c.part = f.part ORDER BY f.part, f.cell, c.position) GROUP BY part, "
    "cell);"
    "INSERT INTO tuple SELECT p.part, p.cell, p.baseline, o.number FROM place p CROSS JOIN ordinal o ON o.part = p.part"
    " AND o.baseline = p.baseline AND o.place = p.place;"
    "INSERT INTO target SELECT r.cell, r.number, c.number FROM tuple r JOIN tuple c ON c.part = 'column' AND c.cell = "
    "r.cell"
    " WHERE r.part = 'row' UNION ALL SELECT r.cell, r.number, c.number FROM tuple r JOIN (SELECT number, min(cell) AS "
    "cell"
    " FROM tuple WHERE part = 'column' GROUP BY number) c WHERE r.part = 'row' AND r.baseline AND NOT EXISTS (SELECT 1"
    " FROM called x JOIN called y ON y.cell = c.cell AND y.part = 'column' AND y.position = x.position"
    " WHERE x.cell = r.cell AND x.part = 'column' AND x.label NOT IN ('" QL_ORIGINAL_LABEL "', y.label))";

/* What a place of the table does not tell apart: seeds, over which numbers are averaged, and axes of which one label is picked. */
static ql_status
find_free(ql_book *b, const ql_table_spec *spec)
{
    ql_sheet none;

    QL_TRY(b->cx,
           ql_results_exec(b->db, "INSERT OR IGNORE INTO free SELECT reference FROM axis WHERE reference = 'seed'"
                                  " OR reference LIKE '%.seed'"));
    for (int64_t i = 0; i < spec->pick_count; i++)
        QL_TRY(b->cx,
               ql_sheet_read(b->db, &none, "INSERT OR IGNORE INTO free VALUES (substr(?1, 1, instr(?1, ' ') - 1))", "t",
                             spec->picks[i]));
    return QL_OK;
}

ql_status
ql_layout_make(ql_book *b, const ql_table_spec *spec)
{
    QL_TRY(b->cx, ql_results_exec(b->db, tables));
    QL_TRY(b->cx, find_free(b, spec));
    QL_TRY(b->cx, choose_keys(b, spec));
    QL_TRY(b->cx, choose_metrics(b, spec->value));
    for (int64_t i = 0; i < spec->pick_count; i++)
        QL_TRY(b->cx, pick(b, spec->picks[i]));
    return ql_results_exec(b->db, places);
}
