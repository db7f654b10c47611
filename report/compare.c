/* Choosing cells by their labels, and comparing two of them part by part. */
#include <string.h>

#include "book.h"

#define GONE(table) "DELETE FROM " table " WHERE cell NOT IN (SELECT id FROM cell);"

static ql_status
check_reference(ql_book *b, const char *option, const char *reference)
{
    const char *guess;
    ql_sheet rows;

    QL_TRY(b->cx, ql_sheet_read(b->db, &rows, "SELECT 1 FROM axis WHERE reference = ?", "t", reference));
    if (rows.count)
        return QL_OK;
    QL_TRY(b->cx,
           ql_book_guess(b, reference, "SELECT reference FROM axis GROUP BY reference ORDER BY min(rowid)", &guess));
    return QL_FAIL(b->cx, QL_INVALID, "%s: no run tells its cells apart by '%s'%s", option, reference, guess);
}

static ql_status
check_label(ql_book *b, const char *option, const char *reference, const char *label)
{
    ql_sheet rows;

    QL_TRY(b->cx, ql_sheet_read(b->db, &rows,
                                "SELECT max(label = ?2), ifnull(group_concat(label, ', '), '') FROM (SELECT label"
                                " FROM label l JOIN cell c ON c.id = l.cell WHERE NOT c.baseline AND l.reference = ?1"
                                " GROUP BY label ORDER BY min(c.id))",
                                "tt", reference, label));
    return ql_row(&rows, 0)->integer ? QL_OK
                                     : QL_FAIL(b->cx, QL_INVALID, "%s: no cell has '%s' as its %s; there are %s",
                                               option, label, reference, ql_row(&rows, 0)[1].text);
}

/* Puts each of the texts, "quant.bits=3", into the table of choices. */
static ql_status
choose(ql_book *b, const char *option, const char *const *texts)
{
    for (; texts && *texts; texts++) {
        const char *equal = strchr(*texts, '='), *reference, *label;
        ql_sheet none;

        if (!equal || equal == *texts)
            return QL_FAIL(b->cx, QL_INVALID, "%s: got '%s', expected AXIS=LABEL, like quant.bits=3", option, *texts);
        reference = ql_copy_text(b->cx, *texts, (size_t)(equal - *texts));
        label = equal + 1;
        if (!reference)
            return QL_MEMORY;
        QL_TRY(b->cx, check_reference(b, option, reference));
        QL_TRY(b->cx, check_label(b, option, reference, label));
        QL_TRY(b->cx,
               ql_sheet_read(b->db, &none, "INSERT INTO choice VALUES (?, ?, ?)", "ttt", option, reference, label));
    }
    return QL_OK;
}

ql_status
ql_book_filter(ql_book *b, const char *const *choices)
{
    static const char leave[] =
        "DELETE FROM cell WHERE NOT baseline AND id NOT IN (SELECT cell FROM meeting WHERE option = '--where');"
        "DELETE FROM choice WHERE option = '--where';"
        "DELETE FROM cell WHERE baseline AND id NOT IN (SELECT original FROM cell WHERE original IS NOT NULL);" GONE(
            "label") GONE("number") GONE("note") GONE("footnote") GONE("linear") GONE("item");

    if (!choices)
        return QL_OK;
    QL_TRY(b->cx, choose(b, "--where", choices));
    return ql_results_exec(b->db, leave);
}

/* Cells are alike when they have the same labels on all axes that no choice speaks about: "quant.use" and "quant.bits" do about variants of
 * "quant". Of several the first counts. */
static const char pairs[] =
    "CREATE TEMP TABLE pair AS WITH rest AS (SELECT c.id, c.run, c.baseline, ifnull((SELECT group_concat(ifnull(label,"
    " char(0)), char(1)) FROM (SELECT l.label FROM axis a LEFT JOIN label l ON l.cell = c.id AND l.reference = "
    "a.reference"
    " WHERE a.run = c.run AND a.in_matrix AND NOT EXISTS (SELECT 1 FROM choice h WHERE h.option = '--reference'"
    " AND (h.reference = a.reference OR substr(h.reference, 1, length(a.reference) + 1) = a.reference || '.'))"
    " ORDER BY a.position)), '') AS labels FROM cell c)"
    " SELECT c.id AS cell, o.other FROM rest c JOIN (SELECT run, labels, min(id) AS other FROM rest"
    " WHERE id IN (SELECT cell FROM meeting WHERE option = '--reference') GROUP BY run, labels) o"
    " ON o.run = c.run AND o.labels = c.labels WHERE NOT c.baseline";

ql_status
ql_book_compare(ql_book *b, const char *const *choices)
{
    QL_TRY(b->cx, ql_results_exec(b->db, "DROP TABLE IF EXISTS pair; DELETE FROM choice WHERE option = '--reference'"));
    if (!choices || (strcmp(choices[0], QL_ORIGINAL_LABEL) == 0 && !choices[1]))
        return ql_results_exec(b->db, "CREATE TEMP TABLE pair AS SELECT id AS cell, original AS other FROM cell"
                                      " WHERE original IS NOT NULL");
    QL_TRY(b->cx, choose(b, "--reference", choices));
    return ql_results_exec(b->db, pairs);
}

/* Parts of both cells side by side, where there are as many of the same data. */
#define PARTS                                                                                                     \
    " FROM item i JOIN item j ON j.cell = c.other AND j.stage = i.stage AND j.name = i.name AND j.linear IS NULL" \
    " AND j.item = i.item WHERE i.cell = c.cell AND i.stage = c.stage AND i.name = c.parts AND i.linear IS NULL"  \
    " AND c.data IS c.other_data AND c.count = c.other_count"

/* First how many parts each cell has of a metric and the data that they are of. The slope of e to the mean of parts is the metric
 * itself. */
static const char differences[] =
    "INSERT INTO difference WITH c AS MATERIALIZED (SELECT p.cell, p.other, x.metric, x.value AS a, y.value AS b,"
    " k.stage, k.parts, k.exp,"
    " (SELECT count(*) FROM item i WHERE i.cell = p.cell AND i.stage = k.stage AND i.name = k.parts AND i.linear IS "
    "NULL)"
    " AS count,"
    " (SELECT count(*) FROM item i WHERE i.cell = p.other AND i.stage = k.stage AND i.name = k.parts AND i.linear IS "
    "NULL)"
    " AS other_count,"
    " (SELECT value FROM note n WHERE n.cell = p.cell AND n.stage = k.stage AND n.name = '" QL_NOTE_DATA "') AS data,"
    " (SELECT value FROM note n WHERE n.cell = p.other AND n.stage = k.stage AND n.name = '" QL_NOTE_DATA "')"
    " AS other_data"
    " FROM pair p JOIN cell l ON l.id = p.cell AND l.error IS NULL JOIN cell r ON r.id = p.other AND r.error IS NULL"
    " JOIN number x ON x.cell = p.cell JOIN number y ON y.cell = p.other AND y.metric = x.metric"
    " LEFT JOIN kind k ON k.run = l.run AND k.metric = x.metric"
    " WHERE ?1 IS NULL OR ?1 IN (SELECT name FROM mean) OR x.metric = ?1)"
    " SELECT c.cell, c.metric, c.a - c.b, (SELECT standard_error(iif(c.exp, c.a, 1) * i.value"
    " - iif(c.exp, c.b, 1) * j.value)" PARTS
    "), iif(c.exp, NULL, (SELECT iif(min(i.value IN (0, 1) AND j.value IN (0, 1)),"
    " mcnemar(sum(i.value > j.value), sum(i.value < j.value)), NULL)" PARTS
    ")), iif(?2 > 0, (SELECT resampled(c.data, ?2, i.value, j.value,"
    " ifnull(c.exp, 0))" PARTS "), NULL) FROM c";

/* Terms of a mean are independent. */
static const char of_means[] =
    "UPDATE difference SET (error, draws) = (SELECT iif(count(d.error) = m.terms, sqrt(sum(d.error * d.error)) / "
    "m.terms, NULL),"
    " iif(count(d.draws) = m.terms, average(d.draws), NULL) FROM mean m JOIN difference d ON d.metric = m.metric"
    " AND d.cell = difference.cell WHERE m.name = difference.metric)"
    " WHERE metric IN (SELECT name FROM mean)";

ql_status
ql_book_differences(ql_book *b, const char *metric, int draws)
{
    ql_sheet none;

    QL_TRY(b->cx, ql_results_exec(
                      b->db, "DROP TABLE IF EXISTS difference; CREATE TEMP TABLE difference (cell INTEGER,"
                             " metric TEXT, value REAL, error REAL, p REAL, draws BLOB, PRIMARY KEY (cell, metric))"));
    QL_TRY(b->cx, ql_sheet_read(b->db, &none, differences, "ti", metric, (int64_t)draws));
    return ql_results_exec(b->db, of_means);
}
