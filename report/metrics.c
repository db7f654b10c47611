/* The metrics of a table as people write them: "A.acc, mean(A.acc, B.acc)". */
#include <string.h>

#include "base/guess.h"
#include "book.h"

#define ALL_METRICS                                                                                                    \
    "SELECT metric FROM (SELECT metric, row_number() OVER (ORDER BY cell, position) AS at FROM number WHERE NOT cost)" \
    " GROUP BY metric ORDER BY min(at)"

/* Numbers that are made of others have places before all that are stored, and before those of costs. */
#define FIRST_MEAN (-100)

/* The text up to the next comma outside of parentheses, without spaces around it; *at moves behind the comma, NULL at the end. */
static const char *
next_item(ql_ctx *cx, const char **at)
{
    const char *begin = *at + strspn(*at, " "), *end = begin, *stop;
    int depth = 0;

    for (; *end && (depth > 0 || *end != ','); end++)
        depth += (*end == '(') - (*end == ')');
    *at = *end ? end + 1 : NULL;
    for (stop = end; stop > begin && stop[-1] == ' ';)
        stop--;
    return ql_copy_text(cx, begin, (size_t)(stop - begin));
}

/* Has any cell the metric? Where everything failed no metric has a name, and any may be meant. */
static ql_status
check_metric(ql_book *b, const char *who, const char *metric)
{
    const char *guess;
    ql_sheet rows;

    QL_TRY(b->cx, ql_book_cost(b, metric));
    QL_TRY(b->cx, ql_sheet_read(
                      b->db, &rows,
                      "SELECT EXISTS (SELECT 1 FROM number WHERE NOT cost) AND ?1 NOT IN (SELECT metric FROM number)",
                      "t", metric));
    if (!ql_row(&rows, 0)->integer)
        return QL_OK;
    QL_TRY(b->cx, ql_book_guess(b, metric,
                                "SELECT * FROM (" ALL_METRICS ") UNION ALL VALUES ('cost.bits'), ('cost.seconds'),"
                                " ('cost.memory')",
                                &guess));
    return QL_FAIL(b->cx, QL_INVALID, "%s: no cell has the metric '%s'%s", who, metric, guess);
}

/* The unweighted mean of metrics, as numbers of its own of the cells that have them all; the better way is that of the first. */
static ql_status
make_mean(ql_book *b, const char *who, const char *terms, int64_t at, const char **out)
{
    ql_names names = {0};
    ql_sheet none;

    while (terms) {
        const char *term = next_item(b->cx, &terms);

        if (ql_names_add(b->cx, &names, term) < 0)
            return QL_MEMORY;
        QL_TRY(b->cx, check_metric(b, who, term));
    }
    *out = ql_format(b->cx, at ? "mean of %lld (%lld)" : "mean of %lld", (long long)names.count, (long long)at + 1);
    if (!*out)
        return QL_MEMORY;
    QL_TRY(b->cx, ql_sheet_read(b->db, &none, "DELETE FROM mean WHERE name = ?", "t", *out));
    for (int64_t i = 0; i < names.count; i++)
        QL_TRY(b->cx, ql_sheet_read(b->db, &none, "INSERT INTO mean VALUES (?, ?, ?)", "tti", *out, names.items[i],
                                    names.count));
    QL_TRY(b->cx, ql_sheet_read(b->db, &none,
                                "INSERT OR REPLACE INTO number SELECT n.cell, ?1, m.name, sum(n.value) / m.terms, 1"
                                " FROM number n JOIN mean m ON m.metric = n.metric WHERE m.name = ?2 GROUP BY n.cell"
                                " HAVING count(*) = m.terms",
                                "it", FIRST_MEAN - at, *out));
    return ql_sheet_read(
        b->db, &none,
        "INSERT INTO kind SELECT run, stage, name, ?1, unit, better, NULL, 0 FROM kind k WHERE metric = ?2"
        " AND NOT EXISTS (SELECT 1 FROM kind WHERE run = k.run AND metric = ?1)",
        "tt", *out, names.items[0]);
}

ql_status
ql_book_metrics(ql_book *b, const char *who, const char *value, ql_names *out)
{
    int64_t means = 0;
    ql_sheet rows;

    if (!value) {
        QL_TRY(b->cx, ql_sheet_read(b->db, &rows, ALL_METRICS, ""));
        for (int64_t i = 0; i < rows.count; i++)
            if (ql_names_add(b->cx, out, ql_row(&rows, i)->text) < 0)
                return QL_MEMORY;
    }
    while (value) {
        const char *item = next_item(b->cx, &value);
        const size_t n = item ? strlen(item) : 0;

        if (n > 6 && strncmp(item, "mean(", 5) == 0 && item[n - 1] == ')')
            QL_TRY(b->cx, make_mean(b, who, ql_copy_text(b->cx, item + 5, n - 6), means++, &item));
        else if (item)
            QL_TRY(b->cx, check_metric(b, who, item));
        if (ql_names_add(b->cx, out, item) < 0)
            return QL_MEMORY;
    }
    return QL_OK;
}
