/* The schema of results.db, and what brings earlier ones to it. */
#include "db.h"

/* The tables of today, as the database keeps their text. */
static const char *const tables[] = {
    "CREATE TABLE run (id INTEGER PRIMARY KEY, name TEXT NOT NULL, version TEXT, device TEXT, finished TEXT,"
    " seconds REAL, peak_bytes INTEGER, digest TEXT) STRICT",
    "CREATE TABLE axis (run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, position INTEGER NOT NULL, reference"
    " TEXT NOT NULL, in_matrix INTEGER NOT NULL, PRIMARY KEY (run, position), UNIQUE (run, reference)) STRICT,"
    " WITHOUT ROWID",
    "CREATE TABLE cell (id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, number"
    " INTEGER NOT NULL, baseline INTEGER NOT NULL, original INTEGER NOT NULL, error TEXT, bits REAL, seconds REAL,"
    " peak_bytes INTEGER, UNIQUE (run, number)) STRICT",
    "CREATE TABLE label (cell INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE, reference TEXT NOT NULL, label"
    " TEXT, PRIMARY KEY (cell, reference)) STRICT, WITHOUT ROWID",
    "CREATE TABLE footnote (cell INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE, position INTEGER NOT NULL,"
    " text TEXT NOT NULL, PRIMARY KEY (cell, position), UNIQUE (cell, text)) STRICT, WITHOUT ROWID",
    "CREATE TABLE node (id INTEGER PRIMARY KEY, key TEXT UNIQUE, stage TEXT NOT NULL, plugin TEXT NOT NULL,"
    " parameters TEXT NOT NULL) STRICT",
    "CREATE TABLE cell_node (cell INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE, position INTEGER NOT NULL,"
    " stage TEXT NOT NULL, prefix TEXT NOT NULL, node INTEGER NOT NULL REFERENCES node, error TEXT, PRIMARY KEY"
    " (cell, position)) STRICT, WITHOUT ROWID",
    "CREATE INDEX cell_node_of ON cell_node (node)",
    "CREATE TABLE fact (node INTEGER NOT NULL REFERENCES node ON DELETE CASCADE, block INTEGER NOT NULL, position"
    " INTEGER NOT NULL, linear TEXT, name TEXT NOT NULL, part ANY, value REAL, PRIMARY KEY (node, block, position))"
    " STRICT, WITHOUT ROWID",
    "CREATE TABLE note (node INTEGER NOT NULL REFERENCES node ON DELETE CASCADE, block INTEGER NOT NULL, position"
    " INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (node, block, position)) STRICT,"
    " WITHOUT ROWID",
    "CREATE TABLE cost (node INTEGER NOT NULL REFERENCES node ON DELETE CASCADE, block INTEGER NOT NULL, seconds"
    " REAL, calls INTEGER, up_bytes INTEGER, down_bytes INTEGER, peak_bytes INTEGER, digest TEXT, PRIMARY KEY"
    " (node, block)) STRICT, WITHOUT ROWID",
    "CREATE TABLE series (node INTEGER NOT NULL REFERENCES node ON DELETE CASCADE, name TEXT NOT NULL, step INTEGER"
    " NOT NULL, value REAL, PRIMARY KEY (node, name, step)) STRICT, WITHOUT ROWID",
    "CREATE TABLE answer (node INTEGER NOT NULL REFERENCES node ON DELETE CASCADE, task TEXT NOT NULL, doc INTEGER"
    " NOT NULL, gold TEXT, pred TEXT, pred_norm TEXT, \"right\" INTEGER, right_norm INTEGER, margin REAL, PRIMARY"
    " KEY (node, task, doc)) STRICT, WITHOUT ROWID",
    "CREATE TABLE stage (run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, position INTEGER NOT NULL, stage"
    " TEXT NOT NULL, kind TEXT NOT NULL, label TEXT NOT NULL, cells INTEGER NOT NULL, seconds REAL, calls INTEGER,"
    " up_bytes INTEGER, down_bytes INTEGER, peak_bytes INTEGER, PRIMARY KEY (run, position)) STRICT, WITHOUT ROWID",
    "CREATE TABLE edge (run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, stage INTEGER NOT NULL, position"
    " INTEGER NOT NULL, port TEXT NOT NULL, source INTEGER NOT NULL, PRIMARY KEY (run, stage, position)) STRICT,"
    " WITHOUT ROWID",
    "CREATE TABLE kind (run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, position INTEGER NOT NULL, stage"
    " TEXT NOT NULL, name TEXT NOT NULL, unit TEXT, better TEXT, parts TEXT, exp INTEGER NOT NULL, PRIMARY KEY"
    " (run, position), UNIQUE (run, stage, name)) STRICT, WITHOUT ROWID",
    "CREATE TABLE citation (run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, position INTEGER NOT NULL, stage"
    " TEXT NOT NULL, label TEXT NOT NULL, plugin TEXT NOT NULL, cite TEXT NOT NULL, PRIMARY KEY (run, position),"
    " UNIQUE (run, stage, label)) STRICT, WITHOUT ROWID",
    "CREATE TABLE layout (run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, part TEXT NOT NULL, position"
    " INTEGER NOT NULL, reference TEXT NOT NULL, PRIMARY KEY (run, part, position)) STRICT, WITHOUT ROWID",
};

static const char *const from_1_to_2[] = {
    "ALTER TABLE cells ADD COLUMN bits REAL; ALTER TABLE cells ADD COLUMN seconds REAL;"
    "ALTER TABLE cells ADD COLUMN peak_bytes INTEGER",
    "CREATE TABLE lists (run TEXT, cell INTEGER, position INTEGER, stage TEXT, linear TEXT, name TEXT, item"
    " INTEGER, value REAL, PRIMARY KEY (run, cell, position, item))",
    "CREATE TABLE kinds (run TEXT, position INTEGER, stage TEXT, name TEXT, unit TEXT, better TEXT, parts TEXT, exp"
    " INTEGER)",
    "CREATE TABLE nodes (run TEXT, node INTEGER, stage TEXT, kind TEXT, label TEXT, cells INTEGER, seconds REAL,"
    " calls INTEGER, up_bytes INTEGER, down_bytes INTEGER, peak_bytes INTEGER)",
    "CREATE TABLE edges (run TEXT, node INTEGER, position INTEGER, port TEXT, source INTEGER)",
    "INSERT INTO nodes SELECT run, position, '', '', stage, 0, seconds, calls, up_bytes, down_bytes, peak_bytes"
    " FROM stages",
    "DROP TABLE stages",
    NULL,
};

/* Version 2 had the numbers of a run under its cells. Each stage of a cell becomes a node with a name of its own, in the order of its
 * numbers; linears and their lists lie in block 0, since their blocks aren't known. Nothing is known again by such a node. */
static const char *const from_2_to_3[] = {
    "INSERT INTO run SELECT rowid, run, version, device, finished, seconds, peak_bytes, NULL FROM runs",
    "INSERT INTO axis SELECT r.id, o.position, o.reference, o.in_matrix FROM axes o JOIN run r ON r.name = o.run",
    "INSERT INTO cell (run, number, baseline, original, error, bits, seconds, peak_bytes) SELECT r.id, o.cell,"
    " o.baseline, o.original, o.error, o.bits, o.seconds, o.peak_bytes FROM cells o JOIN run r ON r.name = o.run"
    " ORDER BY r.id, o.cell",
    "INSERT INTO label SELECT c.id, o.reference, o.label FROM labels o JOIN run r ON r.name = o.run JOIN cell c ON"
    " c.run = r.id AND c.number = o.cell",
    "INSERT INTO footnote SELECT c.id, o.position, o.text FROM footnotes o JOIN run r ON r.name = o.run JOIN cell c"
    " ON c.run = r.id AND c.number = o.cell",
    "CREATE TEMP TABLE old AS SELECT c.id AS cell, o.run, o.number, o.stage, min(o.place) AS place FROM (SELECT"
    " run, cell AS number, stage, position AS place FROM metrics  UNION ALL SELECT run, cell, stage, 1000000000 +"
    " position FROM notes  UNION ALL SELECT run, cell, stage, 2000000000 + position FROM layer_metrics  UNION ALL"
    " SELECT run, cell, stage, 3000000000 + position FROM lists) o JOIN run r ON r.name = o.run JOIN cell c ON"
    " c.run = r.id AND c.number = o.number GROUP BY c.id, o.stage ORDER BY c.id, place",
    "INSERT INTO node SELECT rowid, NULL, stage, '', '' FROM old",
    "INSERT INTO cell_node SELECT cell, row_number() OVER (PARTITION BY cell ORDER BY place) - 1, stage, '', rowid,"
    " NULL FROM old",
    "INSERT INTO fact SELECT node, block, row_number() OVER (PARTITION BY node, block ORDER BY list, position,"
    " item) - 1, linear, name, item, value FROM (SELECT o.rowid AS node, -1 AS block, 0 AS list, m.position, NULL"
    " AS linear, m.name, NULL AS item, m.value  FROM metrics m JOIN old o ON o.run = m.run AND o.number = m.cell"
    " AND o.stage = m.stage  UNION ALL SELECT o.rowid, 0, 0, m.position, m.linear, m.name, NULL, m.value  FROM"
    " layer_metrics m JOIN old o ON o.run = m.run AND o.number = m.cell AND o.stage = m.stage  UNION ALL SELECT"
    " o.rowid, iif(m.linear IS NULL, -1, 0), 1, m.position, m.linear, m.name, m.item, m.value  FROM lists m JOIN"
    " old o ON o.run = m.run AND o.number = m.cell AND o.stage = m.stage)",
    "INSERT INTO note SELECT o.rowid, -1, m.position, m.name, m.value FROM notes m JOIN old o ON o.run = m.run AND"
    " o.number = m.cell AND o.stage = m.stage",
    "DROP TABLE old",
    "INSERT INTO stage SELECT r.id, o.node, o.stage, o.kind, o.label, o.cells, o.seconds, o.calls, o.up_bytes,"
    " o.down_bytes, o.peak_bytes FROM nodes o JOIN run r ON r.name = o.run",
    "INSERT INTO edge SELECT r.id, o.node, o.position, o.port, o.source FROM edges o JOIN run r ON r.name = o.run",
    "INSERT INTO kind SELECT r.id, o.position, o.stage, o.name, o.unit, o.better, o.parts, o.exp FROM kinds o JOIN"
    " run r ON r.name = o.run",
    "INSERT INTO citation SELECT r.id, o.position, o.stage, o.label, o.plugin, o.cite FROM citations o JOIN run r"
    " ON r.name = o.run",
    "INSERT INTO layout SELECT r.id, o.part, o.position, o.reference FROM layouts o JOIN run r ON r.name = o.run",
    "INSERT INTO cost SELECT k.node, k.block, 0, 0, 0, 0, 0, " QL_DB_FACTS(
        "k.node", "k.block") " FROM"
                             " (SELECT node, block FROM fact UNION SELECT node, block FROM note) k",
    "DROP TABLE layouts; DROP TABLE citations; DROP TABLE edges; DROP TABLE nodes; DROP TABLE kinds; DROP TABLE lists;"
    "DROP TABLE layer_metrics; DROP TABLE footnotes; DROP TABLE notes; DROP TABLE metrics; DROP TABLE labels;"
    "DROP TABLE cells; DROP TABLE axes; DROP TABLE runs",
    NULL,
};

static ql_status
run_all(ql_results *r, const char *const *statements)
{
    for (; *statements; statements++)
        QL_TRY(r->cx, ql_results_exec(r, *statements));
    return QL_OK;
}

static ql_status
make_tables(ql_results *r)
{
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        QL_TRY(r->cx, ql_results_exec(r, tables[i]));
    return QL_OK;
}

ql_status
ql_schema_raise(ql_results *r, int64_t version)
{
    if (version == 1)
        QL_TRY(r->cx, run_all(r, from_1_to_2));
    QL_TRY(r->cx, make_tables(r));
    if (version > 0) {
        QL_TRY(r->cx, run_all(r, from_2_to_3));
        QL_TRY(r->cx, ql_results_exec(r, ql_db_sign_runs));
    }
    return ql_results_exec(r, "PRAGMA application_id = 1902931821; PRAGMA user_version = 3");
}

ql_status
ql_schema_check(ql_results *r)
{
    const int64_t expected = sizeof tables / sizeof *tables;
    int64_t all, ours = 0;

    QL_TRY(r->cx,
           ql_db_int(r, &all, "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'", ""));
    for (int64_t i = 0; i < expected; i++) {
        int64_t found;

        QL_TRY(r->cx, ql_db_int(r, &found, "SELECT count(*) FROM sqlite_schema WHERE sql = ?", "t", tables[i]));
        ours += found;
    }
    if (all == expected && ours == expected)
        return QL_OK;
    return QL_FAIL(r->cx, QL_IO, "%s: its tables are not those that qloom makes; move it away, a new one will be made",
                   r->path);
}
