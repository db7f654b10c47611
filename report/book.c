/* A book of runs: rows of results.db, copied. The file is anyone's: what doesn't fit together is an error. */
#include "book.h"

#include <string.h>

#include "base/guess.h"

static const char tables[] =
    "CREATE TEMP TABLE run (id INTEGER PRIMARY KEY, name TEXT, version TEXT, device TEXT, seconds REAL, peak INTEGER);"
    "CREATE TEMP TABLE axis (run INTEGER, position INTEGER, reference TEXT, in_matrix INTEGER, PRIMARY KEY (run, "
    "position));"
    "CREATE TEMP TABLE cell (id INTEGER PRIMARY KEY, run INTEGER, baseline INTEGER, original INTEGER, error TEXT, bits "
    "REAL,"
    " seconds REAL, peak INTEGER);"
    "CREATE TEMP TABLE label (cell INTEGER, reference TEXT, label TEXT, PRIMARY KEY (cell, reference)) WITHOUT ROWID;"
    "CREATE TEMP TABLE number (cell INTEGER, position INTEGER, metric TEXT, value REAL, cost INTEGER,"
    " PRIMARY KEY (cell, position)) WITHOUT ROWID;"
    "CREATE TEMP TABLE note (cell INTEGER, position INTEGER, stage TEXT, name TEXT, value TEXT,"
    " PRIMARY KEY (cell, position)) WITHOUT ROWID;"
    "CREATE TEMP TABLE footnote (cell INTEGER, position INTEGER, text TEXT, PRIMARY KEY (cell, position)) WITHOUT "
    "ROWID;"
    "CREATE TEMP TABLE linear (cell INTEGER, stage TEXT, linear TEXT, name TEXT, value REAL);"
    "CREATE TEMP TABLE item (cell INTEGER, stage TEXT, block INTEGER, linear TEXT, name TEXT, item INTEGER, value "
    "REAL);"
    "CREATE TEMP TABLE series (cell INTEGER, stage TEXT, name TEXT, step INTEGER, value REAL);"
    "CREATE INDEX temp.item_of ON item (cell, stage, name, linear, item);"
    "CREATE TEMP TABLE kind (run INTEGER, stage TEXT, name TEXT, metric TEXT, unit TEXT, better INTEGER, parts TEXT,"
    " exp INTEGER);"
    "CREATE TEMP TABLE stage (run INTEGER, position INTEGER, stage TEXT, kind TEXT, label TEXT, cells INTEGER, seconds "
    "REAL,"
    " calls INTEGER, up INTEGER, down INTEGER, peak INTEGER);"
    "CREATE TEMP TABLE edge (run INTEGER, stage INTEGER, position INTEGER, port TEXT, source INTEGER);"
    "CREATE TEMP TABLE citation (run INTEGER, stage TEXT, label TEXT, plugin TEXT, cite TEXT);"
    "CREATE TEMP TABLE layout (run INTEGER, part TEXT, position INTEGER, reference TEXT);"
    "CREATE TEMP TABLE mean (name TEXT, metric TEXT, terms INTEGER);"
    "CREATE TEMP TABLE choice (option TEXT, reference TEXT, label TEXT);"
    "CREATE TEMP VIEW meeting AS SELECT o.option, c.id AS cell FROM (SELECT DISTINCT option FROM choice) o CROSS JOIN "
    "cell c"
    " WHERE NOT c.baseline AND NOT EXISTS (SELECT 1 FROM choice k WHERE k.option = o.option AND NOT EXISTS (SELECT 1"
    " FROM choice h JOIN label l ON l.cell = c.id AND l.reference = h.reference AND l.label = h.label"
    " WHERE h.option = o.option AND h.reference = k.reference));"
    "CREATE TEMP VIEW title AS SELECT cell, CASE WHEN (SELECT count(*) FROM run) = 1 THEN ifnull(labels, 'the only "
    "cell')"
    " ELSE name || ifnull(', ' || labels, '') END AS title FROM (SELECT c.id AS cell, r.name, iif(c.baseline,"
    " '" QL_ORIGINAL_LABEL "', (SELECT group_concat(label, ', ') FROM (SELECT l.label FROM axis a JOIN label l"
    " ON l.cell = c.id AND l.reference = a.reference WHERE a.run = c.run AND a.in_matrix ORDER BY a.position))) AS "
    "labels"
    " FROM cell c JOIN run r ON r.id = c.run);";

#define FACTS                                                                                                    \
    " FROM cell c JOIN cell_node n ON n.cell = c.id JOIN fact f ON f.node = n.node WHERE c.run = ?1 AND n.error" \
    " IS NULL"
#define IN_ORDER " ORDER BY c.number, n.position, f.block, f.position"
#define PLACE "n.position << 32 | f.position"
#define NAME "n.prefix || f.name || ifnull('.' || f.part, '')"

/* Queries over run ?1 of results.db, and what each row becomes in the book, where that run is ?2 and its cells begin at ?3. Facts with a
 * number as their part are items of lists; those with a prefix are of what an exporter wrote, and only their numbers are shown. */
static const struct {
    const char *get, *put;
    bool lists; /* left out where lists are not asked for */
} copies[] = {
    {"SELECT ?2, name, version, device, seconds, peak_bytes FROM run WHERE id = ?1",
     "INSERT INTO run VALUES (?, ?, ?, ?, ?, ?)", false},
    {"SELECT ?2, position, reference, in_matrix <> 0 FROM axis WHERE run = ?1 ORDER BY position",
     "INSERT INTO axis VALUES (?, ?, ?, ?)", false},
    {"SELECT number + ?3, ?2, baseline <> 0, iif(original < 0, NULL, original + ?3), error, bits, seconds, peak_bytes"
     " FROM cell WHERE run = ?1 ORDER BY number",
     "INSERT INTO cell VALUES (?, ?, ?, ?, ?, ?, ?, ?)", false},
    {"SELECT c.number + ?3, l.reference, l.label FROM cell c JOIN label l ON l.cell = c.id WHERE c.run = ?1"
     " AND l.label IS NOT NULL ORDER BY c.number, l.reference",
     "INSERT INTO label VALUES (?, ?, ?)", false},
    {"SELECT c.number + ?3, " PLACE ", n.stage || '.' || " NAME ", f.value, 0" FACTS " AND f.block = -1"
     " AND typeof(f.part) <> 'integer'" IN_ORDER,
     "INSERT INTO number VALUES (?, ?, ?, ?, ?)", false},
    {"SELECT c.number + ?3, " PLACE
     ", n.stage, f.name, f.value FROM cell c JOIN cell_node n ON n.cell = c.id JOIN note f"
     " ON f.node = n.node WHERE c.run = ?1 AND n.error IS NULL AND n.prefix = '' AND f.block = -1" IN_ORDER,
     "INSERT INTO note VALUES (?, ?, ?, ?, ?)", false},
    {"SELECT c.number + ?3, f.position, f.text FROM cell c JOIN footnote f ON f.cell = c.id WHERE c.run = ?1"
     " ORDER BY c.number, f.position",
     "INSERT INTO footnote VALUES (?, ?, ?)", false},
    {"SELECT c.number + ?3, n.stage, f.linear, " NAME ", f.value" FACTS " AND f.block >= 0 AND f.linear IS NOT NULL"
     " AND typeof(f.part) <> 'integer' AND n.prefix = ''" IN_ORDER,
     "INSERT INTO linear VALUES (?, ?, ?, ?, ?)", true},
    {"SELECT c.number + ?3, n.stage, f.block, f.linear, f.name, f.part, f.value" FACTS " AND typeof(f.part) = 'integer'"
     " AND n.prefix = ''" IN_ORDER,
     "INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?)", true},
    {"SELECT c.number + ?3, n.stage, s.name, s.step, s.value FROM cell c JOIN cell_node n ON n.cell = c.id JOIN series "
     "s"
     " ON s.node = n.node WHERE c.run = ?1 AND n.error IS NULL ORDER BY c.number, n.position, s.name, s.step",
     "INSERT INTO series VALUES (?, ?, ?, ?, ?)", true},
    {"SELECT ?2, stage, name, unit, iif(better = 'lower', 1, iif(better = 'higher', 2, 0)), parts, exp FROM kind"
     " WHERE run = ?1 ORDER BY position",
     "INSERT INTO kind VALUES (?1, ?2, ?3, ?2 || '.' || ?3, ?4, ?5, ?6, ?7)", false},
    {"SELECT ?2, position, stage, kind, label, cells, seconds, calls, up_bytes, down_bytes, peak_bytes FROM stage"
     " WHERE run = ?1 ORDER BY position",
     "INSERT INTO stage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", false},
    {"SELECT ?2, stage, position, port, source FROM edge WHERE run = ?1 ORDER BY stage, position",
     "INSERT INTO edge VALUES (?, ?, ?, ?, ?)", false},
    {"SELECT ?2, stage, label, plugin, cite FROM citation WHERE run = ?1 ORDER BY position",
     "INSERT INTO citation VALUES (?, ?, ?, ?, ?)", false},
    {"SELECT ?2, part, position, reference FROM layout WHERE run = ?1 ORDER BY position",
     "INSERT INTO layout VALUES (?, ?, ?, ?)", false},
};

/* What does not fit together in run ?1, in words; NULL: nothing. Inputs stand before their users, so a graph that is read has no cycle. */
static const char misfit[] =
    "WITH n AS (SELECT (SELECT count(*) FROM cell WHERE run = ?1) AS cells, (SELECT count(*) FROM stage WHERE run = ?1)"
    " AS stages) SELECT CASE WHEN EXISTS (SELECT 1 FROM cell, n WHERE run = ?1 AND number NOT BETWEEN 0 AND cells - 1)"
    " OR EXISTS (SELECT 1 FROM stage, n WHERE run = ?1 AND position NOT BETWEEN 0 AND stages - 1)"
    " OR EXISTS (SELECT 1 FROM edge, n WHERE run = ?1 AND stage NOT BETWEEN 0 AND stages - 1)"
    " THEN 'a row of a cell or stage that it has not'"
    " WHEN EXISTS (SELECT 1 FROM cell, n WHERE run = ?1 AND original NOT BETWEEN -1 AND cells - 1)"
    " THEN 'a cell without its labels or its baseline'"
    " WHEN EXISTS (SELECT 1 FROM edge WHERE run = ?1 AND source NOT BETWEEN 0 AND stage - 1)"
    " THEN 'an edge of a stage that it has not' END, (SELECT name FROM run WHERE id = ?1)";

/* Edges of run ?1 of the book that lead to no earlier stage; damage makes even NULL of what the schema says is a number. */
static const char astray[] =
    "SELECT 1 FROM edge e WHERE run = ?1 AND (typeof(source) = 'integer' AND typeof(stage) = 'integer' AND source >= 0"
    " AND source < stage AND stage < (SELECT count(*) FROM stage s WHERE s.run = e.run)) IS NOT 1";

ql_status
ql_book_open(ql_ctx *cx, ql_book *out)
{
    *out = (ql_book){.cx = cx};
    QL_TRY(cx, ql_results_open(cx, NULL, false, &out->db));
    return ql_results_exec(out->db, tables);
}

void
ql_book_close(ql_book *b)
{
    ql_results_close(b->db);
    *b = (ql_book){0};
}

static ql_status
copy(ql_book *b, ql_results *from, int64_t run, bool lists)
{
    const int64_t numbers[3] = {run, b->runs + 1, b->cells};
    const char *name;
    ql_sheet rows;

    QL_TRY(b->cx, ql_sheet_read(from, &rows, "SELECT 1 FROM layout WHERE run = ? AND part = 'compare'", "i", run));
    lists = lists || rows.count;
    QL_TRY(b->cx, ql_sheet_read(from, &rows, misfit, "i", run));
    name = ql_row(&rows, 0)[1].text;
    if (ql_row(&rows, 0)->text)
        return QL_FAIL(b->cx, QL_IO, "results: run '%s' is damaged: %s", ql_row(&rows, 0)[1].text,
                       ql_row(&rows, 0)->text);
    for (size_t i = 0; i < sizeof copies / sizeof *copies; i++)
        if (lists || !copies[i].lists)
            QL_TRY(b->cx, ql_results_copy(from, copies[i].get, numbers, b->db, copies[i].put));
    QL_TRY(b->cx, ql_sheet_read(b->db, &rows, astray, "i",
                                numbers[1])); /* a damaged file may give other rows than it was asked about */
    if (rows.count)
        return QL_FAIL(b->cx, QL_IO, "results: run '%s' is damaged: an edge of a stage that it has not", name);
    QL_TRY(b->cx, ql_sheet_read(b->db, &rows, "SELECT ifnull(max(id), -1) + 1 FROM cell", ""));
    b->runs++;
    b->cells = ql_row(&rows, 0)->integer;
    return QL_OK;
}

ql_status
ql_book_copy(ql_book *b, ql_results *from, int64_t run, bool lists)
{
    ql_status st;

    QL_TRY(b->cx, ql_results_begin(b->db)); /* one transaction is far faster than one a row */
    st = copy(b, from, run, lists);
    QL_TRY(b->cx, st);
    return ql_results_commit(b->db);
}

/* "out/tiny-1a2b3c4d/" is the run of that name in out/results.db. */
static ql_status
split(ql_ctx *cx, const char *runs, const char *run, const char **path, const char **name)
{
    size_t n = strlen(run), slash;

    while (n > 1 && run[n - 1] == '/')
        n--;
    for (slash = n; slash > 0 && run[slash - 1] != '/'; slash--)
        continue;
    *name = ql_copy_text(cx, run + slash, n - slash);
    *path = slash ? ql_format(cx, "%.*s%s", (int)slash, run, QL_RESULTS_FILE)
                  : ql_format(cx, "%s/%s", runs, QL_RESULTS_FILE);
    return *name && *path ? QL_OK : QL_MEMORY;
}

ql_status
ql_book_add(ql_book *b, const char *runs, const char *run, bool lists)
{
    const char *path = NULL, *name = NULL;
    ql_results *r = NULL;
    int64_t id = 0;
    ql_scope scope;
    ql_status st;

    ql_scope_open(b->cx, &scope);
    st = split(b->cx, runs, run, &path, &name);
    if (st == QL_OK)
        st = ql_results_open(b->cx, path, false, &r);
    if (st == QL_OK)
        st = ql_run_find(r, name, &id);
    if (st == QL_OK)
        st = ql_book_copy(b, r, id, lists);
    ql_results_close(r);
    ql_scope_close(b->cx, &scope);
    return st;
}

ql_status
ql_book_texts(const ql_book *b, const char *sql, const char *part, const char *const **items, int64_t *count)
{
    const char **list;
    ql_sheet rows;

    QL_TRY(b->cx, ql_sheet_read(b->db, &rows, sql, "t", part));
    list = ql_alloc(b->cx, (size_t)rows.count + 1, sizeof *list);
    if (!list)
        return QL_MEMORY;
    for (int64_t i = 0; i < rows.count; i++)
        list[i] = ql_row(&rows, i)->text;
    *items = list;
    *count = rows.count;
    return QL_OK;
}

ql_status
ql_book_spec(const ql_book *b, ql_table_spec *out)
{
    static const char sql[] = "SELECT reference FROM layout WHERE run = 1 AND part = ? ORDER BY position";
    const char *const *value;
    int64_t count;
    ql_sheet draws;

    *out = (ql_table_spec){0};
    QL_TRY(b->cx, ql_book_texts(b, sql, "row", &out->rows, &out->row_count));
    QL_TRY(b->cx, ql_book_texts(b, sql, "column", &out->columns, &out->column_count));
    QL_TRY(b->cx, ql_book_texts(b, sql, "pick", &out->picks, &out->pick_count));
    QL_TRY(b->cx, ql_book_texts(b, sql, "value", &value, &count));
    out->value = count ? value[0] : NULL;
    QL_TRY(b->cx, ql_book_texts(b, sql, "compare", &out->compare, &out->compare_count));
    QL_TRY(b->cx,
           ql_sheet_read(b->db, &draws,
                         "SELECT ifnull(max(0 + reference), 0) FROM layout WHERE run = 1 AND part = 'bootstrap'", ""));
    out->bootstrap = (int)ql_row(&draws, 0)->integer;
    return QL_OK;
}

ql_status
ql_book_cost(ql_book *b, const char *metric)
{
    static const char sql[] =
        "INSERT INTO number SELECT c.id, k.position, ?1, CASE k.position WHEN -3 THEN bits WHEN -2 THEN seconds ELSE "
        "peak END, 1"
        " FROM cell c CROSS JOIN (SELECT -3 AS position, 'cost.bits' AS metric UNION ALL VALUES (-2, 'cost.seconds'),"
        " (-1, 'cost.memory')) k WHERE k.metric = ?1 AND NOT EXISTS (SELECT 1 FROM number n WHERE n.cell = c.id"
        " AND n.metric = ?1)";
    ql_sheet none;

    return ql_sheet_read(b->db, &none, sql, "t", metric);
}

ql_status
ql_book_guess(const ql_book *b, const char *wrong, const char *sql, const char **out)
{
    ql_guess near = ql_guess_open(wrong);
    ql_sheet words;

    QL_TRY(b->cx, ql_sheet_read(b->db, &words, sql, ""));
    for (int64_t i = 0; i < words.count; i++)
        ql_guess_offer(&near, ql_row(&words, i)->text);
    *out = ql_guess_text(b->cx, &near, "");
    return QL_OK;
}

int64_t
ql_names_add(ql_ctx *cx, ql_names *n, const char *name)
{
    for (int64_t i = 0; i < n->count && name; i++)
        if (strcmp(n->items[i], name) == 0)
            return i;
    if (ql_alloc_more(cx, &n->items, &n->room, n->count + 1, sizeof(const char *)) != QL_OK)
        return -1;
    n->items[n->count] = name;
    return name ? n->count++ : -1;
}
