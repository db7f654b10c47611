/* Fills a laid-out table: numbers, means over seeds, failures, footnotes. */
#include "table.h"

#include <math.h>
#include <string.h>

#include "layout.h"

typedef struct place {     /* an entry while it is being filled */
    const ql_field *first; /* the first number that came */
    double square;         /* sum of squared distances from the mean (Welford) */
    int64_t failures;
    const char *error; /* of the first failure */
    ql_names texts;    /* footnotes */
    bool tested;       /* against its reference, and not marked yet */
    double p;          /* of that test */
} place;

typedef struct metric {
    const char *name;
    ql_better better;
} metric;

typedef struct maker {
    ql_book *book;
    ql_ctx *cx;
    ql_table *out;
    int64_t metric_count;
    metric *metrics;
    place *places; /* [row_count * column_count] */
    int64_t tests; /* of differences */
    int draws;     /* for their intervals */
} maker;

static ql_status
add_name(ql_ctx *cx, ql_names *n, const char *name)
{
    return ql_names_add(cx, n, name) >= 0 ? QL_OK : QL_MEMORY;
}

/* --- numbers */

/* Columns of the query for numbers. `axes`: the cell's labels on all axes but the seed, where rows and columns
 * don't show all of them; `notes`: how its number was made. */
enum { ROW, COLUMN, METRIC, CELL, RUN, BASELINE, ERROR, AXES, NOTES, FOOTNOTES, VALUE, SPREAD, TEST, LOW, HIGH };

/* In the order of cells. %s: the columns of errors and of tests, and the table of values. Texts that are lists have char(1) between two
 * items. */
static const char numbers_sql[] =
    "SELECT t.row, t.col, m.position, c.id, c.run, c.baseline, c.error, iif((SELECT count(*) FROM axis WHERE in_matrix"
    " AND reference NOT IN (SELECT reference FROM free) AND reference NOT IN (SELECT reference FROM key WHERE "
    "reference IS NOT NULL)) = 0, '',"
    " (SELECT group_concat(ifnull(label, ''), char(1)) FROM (SELECT l.label FROM axis a LEFT JOIN label l ON l.cell = "
    "c.id AND l.reference = a.reference"
    " WHERE a.run = c.run AND a.in_matrix AND a.reference NOT IN (SELECT reference FROM free) ORDER BY a.position))), "
    "(SELECT group_concat(name "
    "|| ' '"
    " || value, ', ') FROM note WHERE cell = c.id AND stage = substr(m.metric, 1, instr(m.metric || '.', '.') - 1)),"
    " (SELECT group_concat(text, char(1)) FROM footnote WHERE cell = c.id), v.value, %s"
    " FROM target t JOIN cell c ON c.id = t.cell CROSS JOIN metric m LEFT JOIN %s v ON v.cell = c.id AND v.metric = "
    "m.metric"
    " WHERE v.cell IS NOT NULL OR c.error IS NOT NULL ORDER BY c.id, t.col, m.position";

/* Two cells may share a place when nothing but a seed, or what was picked, tells them apart. */
static ql_status
may_meet(const maker *m, const ql_field *a, const ql_field *b)
{
    static const char sql[] =
        "SELECT a.reference FROM axis a LEFT JOIN label x ON x.cell = ?2 AND x.reference = a.reference LEFT JOIN label "
        "y"
        " ON y.cell = ?3 AND y.reference = a.reference WHERE a.run = ?1 AND a.in_matrix AND a.reference NOT IN (SELECT "
        "reference FROM free)"
        " AND ifnull(x.label, '') <> ifnull(y.label, '') ORDER BY a.position LIMIT 1";
    const bool one_run = a[RUN].integer == b[RUN].integer;
    ql_sheet rows;

    if (one_run && (!a[AXES].text || strcmp(a[AXES].text, b[AXES].text) == 0))
        return QL_OK;
    if (!one_run) {
        QL_TRY(m->cx,
               ql_sheet_read(m->book->db, &rows, "SELECT x.name, y.name FROM run x, run y WHERE x.id = ? AND y.id = ?",
                             "ii", a[RUN].integer, b[RUN].integer));
        return QL_FAIL(m->cx, QL_INVALID,
                       "table: cells of the runs '%s' and '%s' meet in one place; add 'run' to rows or columns",
                       ql_row(&rows, 0)[0].text, ql_row(&rows, 0)[1].text);
    }
    QL_TRY(m->cx, ql_sheet_read(m->book->db, &rows, sql, "iii", a[RUN].integer, a[CELL].integer, b[CELL].integer));
    return QL_FAIL(m->cx, QL_INVALID, "table: cells that differ in '%s' meet in one place; add '%s' to rows or columns",
                   ql_row(&rows, 0)->text, ql_row(&rows, 0)->text);
}

/* Adds each item of a list of texts, which is cut up. */
static ql_status
add_texts(ql_ctx *cx, ql_names *names, const char *list)
{
    while (list) {
        const size_t n = strcspn(list, "\1");

        QL_TRY(cx, add_name(cx, names, ql_copy_text(cx, list, n)));
        list = list[n] ? list + n + 1 : NULL;
    }
    return QL_OK;
}

static bool
same_number(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static ql_status
put(maker *m, const ql_field *n)
{
    const int64_t at = n[ROW].integer * m->out->column_count + n[COLUMN].integer * m->metric_count + n[METRIC].integer;
    const double value = n[VALUE].real;
    ql_table_entry *e = &m->out->entries[at];
    place *p = &m->places[at];
    double off;

    if (p->first && n[BASELINE].integer && e->count == 1 && !n[ERROR].text && same_number(e->mean, value))
        return QL_OK; /* the same original, measured by another run or for another seed */
    if (p->first)
        QL_TRY(m->cx, may_meet(m, p->first, n));
    else
        p->first = n;
    QL_TRY(m->cx, add_texts(m->cx, &p->texts, n[FOOTNOTES].text));
    if (n[ERROR].text) {
        p->failures++;
        p->error = p->error ? p->error : n[ERROR].text;
        return QL_OK;
    }
    off = value - e->mean;
    e->count++;
    e->mean += off / (double)e->count;
    if (e->count == 1)
        e->mean = value; /* an infinity stays one */
    p->square += off * (value - e->mean);
    e->sd = e->count > 1 ? sqrt(p->square / (double)(e->count - 1)) : 0;
    e->spread = e->count > 1;
    if (e->count == 1 && !isnan(n[SPREAD].real)) {
        e->sd = n[SPREAD].real;
        e->spread = true;
    }
    e->interval = e->count == 1 && !isnan(n[LOW].real);
    e->low = n[LOW].real;
    e->high = n[HIGH].real;
    p->p = n[TEST].real;
    p->tested = e->count == 1 && !isnan(p->p);
    m->tests += p->tested;
    return QL_OK;
}

static ql_status
put_numbers(maker *m)
{
    const char *sql = m->out->differences
                          ? ql_format(m->cx, numbers_sql,
                                      "v.error, v.p, quantile(v.draws, 0.025), quantile(v.draws, 0.975)", "difference")
                          : ql_format(m->cx, numbers_sql, "NULL, NULL, NULL, NULL", "number");
    ql_sheet rows;

    if (!sql)
        return QL_MEMORY;
    if (m->out->differences)
        QL_TRY(m->cx, ql_book_differences(m->book, m->metric_count == 1 ? m->metrics[0].name : NULL, m->draws));
    QL_TRY(m->cx, ql_sheet_read(m->book->db, &rows, sql, ""));
    for (int64_t i = 0; i < rows.count; i++)
        QL_TRY(m->cx, put(m, ql_row(&rows, i)));
    return QL_OK;
}

/* --- the best */

/* Marks the best of `count` entries, `step` apart; equal ones all. */
static void
mark_best(ql_table_entry *first, int64_t count, int64_t step, ql_better better)
{
    double best = NAN;

    for (int64_t i = 0; i < count && better != QL_BETTER_UNSAID; i++) {
        const ql_table_entry *e = &first[i * step];
        const bool beats = better == QL_BETTER_LOWER ? e->mean < best : e->mean > best;

        if (e->count && !isnan(e->mean) && (isnan(best) || beats))
            best = e->mean;
    }
    for (int64_t i = 0; i < count; i++)
        first[i * step].best = first[i * step].count && first[i * step].mean == best;
}

/* Original models don't compete. */
static void
find_best(maker *m, ql_best what)
{
    const int64_t metrics = m->metric_count, width = m->out->column_count, first = m->out->baseline_count;
    const int64_t rows = m->out->row_count - first;

    for (int64_t k = 0; k < width && what == QL_BEST_OF_COLUMN; k++)
        mark_best(m->out->entries + first * width + k, rows, width, m->metrics[k % metrics].better);
    for (int64_t i = 0; i < rows * metrics && what == QL_BEST_OF_ROW; i++)
        mark_best(m->out->entries + (first + i / metrics) * width + i % metrics, width / metrics, metrics,
                  m->metrics[i % metrics].better);
}

static ql_status
settle_failures(maker *m)
{
    for (int64_t i = 0; i < m->out->row_count * m->out->column_count; i++) {
        ql_table_entry *e = &m->out->entries[i];
        place *p = &m->places[i];

        e->failed = p->failures > 0 && e->count == 0;
        if (e->failed)
            QL_TRY(m->cx, add_name(m->cx, &p->texts, p->error));
        else if (p->failures > 0)
            QL_TRY(m->cx, add_name(m->cx, &p->texts,
                                   ql_format(m->cx, "%lld of %lld seeds failed: %s", (long long)p->failures,
                                             (long long)(p->failures + e->count), p->error)));
    }
    return QL_OK;
}

/* --- what the numbers stand for */

/* Holm's procedure over all tests of the table: the k-th smallest p stands if it and all before it are below 0.05 / (tests - k). */
static ql_status
mark_significant(maker *m)
{
    const int64_t entries = m->out->row_count * m->out->column_count;
    const char *text =
        ql_format(m->cx, "differs by McNemar's exact test, p < 0.05 after Holm's correction over %lld comparisons",
                  (long long)m->tests);

    for (int64_t done = 0; done < m->tests; done++) {
        int64_t least = -1;

        for (int64_t i = 0; i < entries; i++)
            if (m->places[i].tested && (least < 0 || m->places[i].p < m->places[least].p))
                least = i;
        if (least < 0 || m->places[least].p * (double)(m->tests - done) >= 0.05)
            return QL_OK;
        QL_TRY(m->cx, add_name(m->cx, &m->places[least].texts, text));
        m->places[least].tested = false;
    }
    return QL_OK;
}

/* Numbers of one metric that were made in different ways carry a footnote each; else one remark holds for all. */
static ql_status
note_metric(maker *m, int64_t at)
{
    const char *name = m->metrics[at].name, *one = NULL;
    const int64_t entries = m->out->row_count * m->out->column_count, length = (int64_t)strcspn(name, ".");
    bool differ = false;

    for (int64_t i = at; i < entries; i += m->metric_count) {
        const ql_field *n = m->places[i].first;
        const char *text = n && !n[ERROR].text ? n[NOTES].text : NULL;

        differ = differ || (text && one && strcmp(text, one) != 0);
        one = text ? text : one;
    }
    for (int64_t i = at; i < entries && differ; i += m->metric_count) {
        const ql_field *n = m->places[i].first;

        if (n && !n[ERROR].text && n[NOTES].text)
            QL_TRY(m->cx, add_name(m->cx, &m->places[i].texts,
                                   ql_format(m->cx, "%.*s: %s", (int)length, name, n[NOTES].text)));
    }
    if (differ || !one)
        return QL_OK;
    return add_name(m->cx, &m->out->remarks, ql_format(m->cx, "%.*s: %s", (int)length, name, one));
}

/* What differences are taken from, and papers of plugins that no label of the table names. */
static ql_status
put_remarks(maker *m)
{
    static const char differences[] =
        "SELECT 'differences from ' || ifnull('the cell with ' || group_concat(reference || '=' || label, ' and '),"
        " 'the original model') || ', \xc2\xb1 paired standard error, over seeds standard deviation'"
        " FROM choice WHERE option = '--reference'";
    static const char papers[] = "SELECT plugin || ': ' || cite FROM citation WHERE NOT EXISTS (SELECT 1 FROM key"
                                 " WHERE reference IN (stage, stage || '.use'))";
    ql_sheet rows;

    for (int64_t k = 0; k < m->metric_count; k++)
        QL_TRY(m->cx, note_metric(m, k));
    if (m->out->differences && m->draws)
        QL_TRY(m->cx,
               add_name(m->cx, &m->out->remarks,
                        ql_format(
                            m->cx,
                            "in brackets: the middle 95 %% of %d draws of a paired bootstrap over windows or documents",
                            m->draws)));
    for (int pass = m->out->differences ? 0 : 1; pass < 2; pass++) {
        QL_TRY(m->cx, ql_sheet_read(m->book->db, &rows, pass ? papers : differences, ""));
        for (int64_t i = 0; i < rows.count; i++)
            QL_TRY(m->cx, add_name(m->cx, &m->out->remarks, ql_row(&rows, i)->text));
    }
    return QL_OK;
}

/* --- labels and their footnotes */

static ql_status
mark(maker *m, ql_notes *notes, const char *text)
{
    const int64_t number = ql_names_add(m->cx, &m->out->footnotes, text) + 1;
    int64_t at = notes->count;

    if (number == 0)
        return QL_MEMORY;
    QL_TRY(m->cx, ql_alloc_more(m->cx, &notes->items, &notes->room, notes->count + 1, sizeof *notes->items));
    for (; at > 0 && notes->items[at - 1] > number; at--)
        notes->items[at] = notes->items[at - 1];
    notes->items[at] = number;
    notes->count++;
    return QL_OK;
}

/* A row of the query for labels: number of the row or column, of the key from 0, label, and a paper behind the label. */
enum { NUMBER, KEY, LABEL, PAPER };

static ql_status
read_labels(const maker *m, const char *part, ql_sheet *out)
{
    static const char sql[] =
        "SELECT t.number, dense_rank() OVER (PARTITION BY t.number ORDER BY c.position) - 1, c.label, p.text"
        " FROM (SELECT number, min(cell) AS cell FROM tuple WHERE part = ?1 GROUP BY number) t"
        " JOIN called c ON c.cell = t.cell AND c.part = ?1 LEFT JOIN (SELECT min(rowid) AS position, stage, label,"
        " plugin || ': ' || cite AS text FROM citation GROUP BY stage, label, cite) p"
        " ON c.reference IN (p.stage, p.stage || '.use') AND p.label = c.label ORDER BY t.number, c.position, "
        "p.position";

    return ql_sheet_read(m->book->db, out, sql, "t", part);
}

/* A column is called by its labels and the metric, or by the metric alone. */
static ql_status
make_columns(maker *m)
{
    ql_sheet labels;

    QL_TRY(m->cx, read_labels(m, "column", &labels));
    for (int64_t i = 0; i < labels.count; i++)
        for (int64_t k = 0; k < m->metric_count; k++) {
            const ql_field *l = ql_row(&labels, i);
            ql_table_label *column = &m->out->columns[l[NUMBER].integer * m->metric_count + k];
            const bool again = i > 0 && l[-labels.width + NUMBER].integer == l[NUMBER].integer &&
                               l[-labels.width + KEY].integer == l[KEY].integer;

            if (!again)
                column->text = ql_format(m->cx, "%s%s%s", column->text ? column->text : "", l[KEY].integer ? ", " : "",
                                         l[LABEL].text);
            if (!column->text)
                return QL_MEMORY;
            if (l[PAPER].text)
                QL_TRY(m->cx, mark(m, &column->notes, l[PAPER].text));
        }
    for (int64_t i = 0; i < m->out->column_count; i++) {
        const char *name = m->metrics[i % m->metric_count].name, *labelled = m->out->columns[i].text;

        if (!*labelled)
            m->out->columns[i].text = name;
        else if (m->metric_count > 1)
            m->out->columns[i].text = ql_format(m->cx, "%s, %s", labelled, name);
        else
            m->out->value = name;
        if (!m->out->columns[i].text)
            return QL_MEMORY;
    }
    return QL_OK;
}

/* An original model says so once, not under every key. */
static ql_status
make_rows(maker *m)
{
    const int64_t width = m->out->key_count, columns = m->out->column_count;
    ql_sheet labels;
    bool said = false;

    QL_TRY(m->cx, read_labels(m, "row", &labels));
    for (int64_t i = 0; i < labels.count; i++) {
        const ql_field *l = ql_row(&labels, i);
        const int64_t row = l[NUMBER].integer;
        const bool original = row < m->out->baseline_count && strcmp(l[LABEL].text, QL_ORIGINAL_LABEL) == 0;
        ql_table_label *label = &m->out->rows[row * width + l[KEY].integer];

        said = said && l[KEY].integer > 0;
        if (!label->text)
            label->text = original && said ? "" : l[LABEL].text;
        said = said || original;
        if (l[PAPER].text)
            QL_TRY(m->cx, mark(m, &label->notes, l[PAPER].text));
        if (i + 1 < labels.count && l[labels.width + NUMBER].integer == row)
            continue;
        for (int64_t k = row * columns; k < (row + 1) * columns; k++)
            for (int64_t n = 0; n < m->places[k].texts.count; n++)
                QL_TRY(m->cx, mark(m, &m->out->entries[k].notes, m->places[k].texts.items[n]));
    }
    return QL_OK;
}

/* --- the whole */

/* Which way is better; a cost is when it is low. */
static ql_status
read_metrics(maker *m)
{
    ql_sheet rows;

    QL_TRY(m->cx,
           ql_sheet_read(m->book->db, &rows,
                         "SELECT m.metric, coalesce((SELECT better FROM kind k WHERE k.metric = m.metric LIMIT 1),"
                         " m.metric IN ('cost.bits', 'cost.seconds', 'cost.memory')) FROM metric m ORDER BY position",
                         ""));
    m->metrics = ql_alloc(m->cx, (size_t)rows.count, sizeof *m->metrics);
    if (!m->metrics)
        return QL_MEMORY;
    for (int64_t i = 0; i < rows.count; i++)
        m->metrics[i] = (metric){.name = ql_row(&rows, i)[0].text, .better = (ql_better)ql_row(&rows, i)[1].integer};
    m->metric_count = rows.count;
    return QL_OK;
}

static ql_status
allocate(maker *m)
{
    ql_table *t = m->out;
    ql_sheet sizes;
    size_t entries;

    QL_TRY(m->cx,
           ql_sheet_read(m->book->db, &sizes,
                         "SELECT count(DISTINCT number), count(DISTINCT iif(baseline, number, NULL)), (SELECT"
                         " count(DISTINCT number) FROM tuple WHERE part = 'column') FROM tuple WHERE part = 'row'",
                         ""));
    t->row_count = ql_row(&sizes, 0)[0].integer;
    t->baseline_count = ql_row(&sizes, 0)[1].integer;
    t->column_count = ql_row(&sizes, 0)[2].integer * m->metric_count;
    entries = (size_t)(t->row_count * t->column_count);
    t->rows = ql_alloc(m->cx, (size_t)(t->row_count * t->key_count), sizeof *t->rows);
    t->columns = ql_alloc(m->cx, (size_t)t->column_count, sizeof *t->columns);
    t->entries = ql_alloc(m->cx, entries, sizeof *t->entries);
    m->places = ql_alloc(m->cx, entries, sizeof *m->places);
    return t->rows && t->columns && t->entries && m->places ? QL_OK : QL_MEMORY;
}

ql_status
ql_table_make(ql_book *b, const ql_table_spec *spec, ql_table *out)
{
    maker m = {.book = b, .cx = b->cx, .out = out, .draws = spec->bootstrap};

    *out = (ql_table){.differences = spec->differences};
    QL_TRY(b->cx, ql_layout_make(b, spec));
    QL_TRY(b->cx, ql_book_texts(b, "SELECT reference FROM key WHERE part = ? ORDER BY position", "row", &out->keys,
                                &out->key_count));
    QL_TRY(b->cx, read_metrics(&m));
    QL_TRY(b->cx, allocate(&m));
    QL_TRY(b->cx, put_numbers(&m));
    QL_TRY(b->cx, settle_failures(&m));
    QL_TRY(b->cx, mark_significant(&m));
    find_best(&m, spec->best);
    QL_TRY(b->cx, put_remarks(&m));
    QL_TRY(b->cx, make_columns(&m));
    return make_rows(&m);
}
