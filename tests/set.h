/* A run as tests look at it: the rows of a book in memory, and back. */
#ifndef QLOOM_TESTS_SET_H
#define QLOOM_TESTS_SET_H

#include <math.h>
#include <string.h>

#include "report/book.h"
#include "test.h"

typedef struct ql_result_metric {
    const char *stage, *name;
    double value; /* NaN and infinities are legal */
} ql_result_metric;

typedef struct ql_result_note {
    const char *stage, *name, *value;
} ql_result_note;

typedef struct ql_result_linear {
    const char *stage, *linear, *name;
    double value;
} ql_result_linear;

typedef struct ql_result_list { /* numbers in order; linear: NULL for a list of the whole stream */
    const char *stage, *linear, *name;
    int64_t count, block;
    double *values;
} ql_result_list;

typedef struct ql_result_cell {
    bool baseline;
    int64_t original;    /* the baseline that the cell is compared with; -1: none */
    const char **labels; /* [reference_count]; NULL where the reference means nothing in this cell */
    const char *error;
    double bits;
    ql_cost cost;
    int64_t metric_count, note_count, linear_count, footnote_count, list_count;
    ql_result_metric *metrics;
    ql_result_note *notes;
    ql_result_linear *linears;
    ql_result_list *lists;
    const char **footnotes;
} ql_result_cell;

typedef struct ql_result_edge {
    const char *port;
    int64_t from;
} ql_result_edge;

typedef struct ql_result_node {
    const char *stage, *kind, *label;
    int64_t cells, edge_count;
    ql_result_edge *edges;
    ql_cost cost;
} ql_result_node;

typedef struct ql_result_kind {
    const char *stage, *name, *unit, *parts;
    ql_better better;
    bool exp;
} ql_result_kind;

typedef struct ql_result_cite {
    const char *stage, *label, *plugin, *cite;
} ql_result_cite;

typedef struct ql_result_set {
    ql_scope memory; /* entered while something is added */
    const char *run, *device, *version;
    double seconds;
    uint64_t peak;
    int64_t axis_count, reference_count; /* the axes of the matrix are the first references */
    const char *const *references;
    int64_t cell_count, node_count, kind_count, cite_count;
    ql_result_cell *cells; /* those of the graph in their order, then the baselines */
    ql_result_node *nodes;
    ql_result_kind *kinds;
    ql_result_cite *cites;
    ql_table_spec table;
} ql_result_set;

static inline void
ql_results_fini(ql_ctx *cx, ql_result_set *set)
{
    ql_scope_enter(cx, &set->memory);
    ql_scope_close(cx, &set->memory);
    *set = (ql_result_set){0};
}

static inline const ql_result_list *
ql_results_find_list(const ql_result_cell *c, const char *stage, const char *linear, const char *name)
{
    for (int64_t i = 0; i < c->list_count; i++) {
        const ql_result_list *l = &c->lists[i];
        const bool same = linear ? l->linear && strcmp(l->linear, linear) == 0 : !l->linear;

        if (same && strcmp(l->stage, stage) == 0 && strcmp(l->name, name) == 0)
            return l;
    }
    return NULL;
}

/* --- from a book of one run --- */

/* The rows of a query over cell or stage `of`, an item each. */
#define SET_READ(items, n, sql, ...)                                        \
    do {                                                                    \
        QL_TRY(b->cx, ql_sheet_read(b->db, &rows, (sql), "i", of));         \
        (items) = ql_alloc(b->cx, (size_t)rows.count + 1, sizeof *(items)); \
        if (!(items))                                                       \
            return QL_MEMORY;                                               \
        (n) = rows.count;                                                   \
        for (int64_t i = 0; i < rows.count; i++) {                          \
            const ql_field *v = ql_row(&rows, i);                           \
                                                                            \
            __VA_ARGS__                                                     \
        }                                                                   \
    } while (0)

static inline ql_status
set_read_list(const ql_book *b, int64_t cell, ql_result_list *l)
{
    ql_sheet rows;

    QL_TRY(b->cx,
           ql_sheet_read(
               b->db, &rows,
               "SELECT value FROM item WHERE cell = ? AND stage = ? AND block = ? AND name = ? AND linear IS ? ORDER BY"
               " rowid",
               "ititt", cell, l->stage, l->block, l->name, l->linear));
    l->values = ql_alloc(b->cx, (size_t)rows.count + 1, sizeof *l->values);
    if (!l->values)
        return QL_MEMORY;
    for (int64_t i = 0; i < rows.count; i++)
        l->values[i] = ql_row(&rows, i)->real;
    l->count = rows.count;
    return QL_OK;
}

static inline ql_status
set_read_cell(const ql_book *b, int64_t of, ql_result_cell *c)
{
    int64_t labels;
    ql_sheet rows;

    SET_READ(
        c->labels, labels,
        "SELECT l.label FROM axis a LEFT JOIN label l ON l.cell = ? AND l.reference = a.reference ORDER BY a.position",
        c->labels[i] = v->text;);
    SET_READ(
        c->metrics, c->metric_count,
        "SELECT substr(metric, 1, instr(metric, '.') - 1), substr(metric, instr(metric, '.') + 1), value FROM number"
        " WHERE cell = ? AND NOT cost ORDER BY position",
        c->metrics[i] = (ql_result_metric){v[0].text, v[1].text, v[2].real};);
    SET_READ(c->notes, c->note_count, "SELECT stage, name, value FROM note WHERE cell = ? ORDER BY position",
             c->notes[i] = (ql_result_note){v[0].text, v[1].text, v[2].text};);
    SET_READ(c->footnotes, c->footnote_count, "SELECT text FROM footnote WHERE cell = ? ORDER BY position",
             c->footnotes[i] = v->text;);
    SET_READ(c->linears, c->linear_count, "SELECT stage, linear, name, value FROM linear WHERE cell = ? ORDER BY rowid",
             c->linears[i] = (ql_result_linear){v[0].text, v[1].text, v[2].text, v[3].real};);
    SET_READ(c->lists, c->list_count,
             "SELECT stage, linear, name, block FROM item WHERE cell = ? GROUP BY stage, block, linear, name ORDER BY "
             "min(rowid)",
             c->lists[i] =
                 (ql_result_list){.stage = v[0].text, .linear = v[1].text, .name = v[2].text, .block = v[3].integer};);
    for (int64_t i = 0; i < c->list_count; i++)
        QL_TRY(b->cx, set_read_list(b, of, &c->lists[i]));
    return labels ? QL_OK : QL_FAIL(b->cx, QL_BUG, "a cell without references");
}

static inline ql_status
set_read_run(const ql_book *b, ql_result_set *set)
{
    const int64_t of = 1;
    const char **references;
    ql_sheet rows;

    QL_TRY(b->cx,
           ql_sheet_read(b->db, &rows, "SELECT name, version, device, seconds, peak FROM run WHERE id = ?", "i", of));
    set->run = ql_row(&rows, 0)[0].text;
    set->version = ql_row(&rows, 0)[1].text;
    set->device = ql_row(&rows, 0)[2].text;
    set->seconds = ql_row(&rows, 0)[3].real;
    set->peak = (uint64_t)ql_row(&rows, 0)[4].integer;
    SET_READ(references, set->reference_count, "SELECT reference, in_matrix FROM axis WHERE run = ? ORDER BY position",
             references[i] = v->text;
             set->axis_count += v[1].integer;);
    set->references = references;
    SET_READ(
        set->nodes, set->node_count,
        "SELECT stage, kind, label, cells, seconds, calls, up, down, peak FROM stage WHERE run = ? ORDER BY position",
        set->nodes[i] = (ql_result_node){.stage = v[0].text,
                                         .kind = v[1].text,
                                         .label = v[2].text,
                                         .cells = v[3].integer,
                                         .cost = {v[4].real, (uint64_t)v[5].integer, (uint64_t)v[6].integer,
                                                  (uint64_t)v[7].integer, (uint64_t)v[8].integer}};);
    return ql_book_spec(b, &set->table);
}

static inline ql_status
set_read(const ql_book *b, ql_result_set *set)
{
    ql_sheet rows;
    int64_t of = 1;

    QL_TRY(b->cx, set_read_run(b, set));
    SET_READ(set->cells, set->cell_count,
             "SELECT baseline, ifnull(original, -1), error, bits, seconds, peak FROM cell WHERE run = ? ORDER BY id",
             set->cells[i] = (ql_result_cell){.baseline = v[0].integer,
                                              .original = v[1].integer,
                                              .error = v[2].text,
                                              .bits = v[3].real,
                                              .cost = {.seconds = v[4].real, .peak = (uint64_t)v[5].integer}};);
    for (int64_t i = 0; i < set->cell_count; i++)
        QL_TRY(b->cx, set_read_cell(b, i, &set->cells[i]));
    for (of = 0; of < set->node_count; of++)
        SET_READ(set->nodes[of].edges, set->nodes[of].edge_count,
                 "SELECT port, source FROM edge WHERE stage = ? ORDER BY position",
                 set->nodes[of].edges[i] = (ql_result_edge){v[0].text, v[1].integer};);
    return QL_OK;
}

/* A run of an open database (NULL: `run`, as ql_book_add finds it) in a fresh book, and that as a set. */
static inline ql_status
set_load(ql_ctx *cx, ql_results *r, int64_t id, const char *runs, const char *run, ql_result_set *set)
{
    ql_book b = {0};
    ql_status st;

    *set = (ql_result_set){0};
    ql_scope_enter(cx, &set->memory);
    st = ql_book_open(cx, &b);
    if (st == QL_OK)
        st = r ? ql_book_copy(&b, r, id, true) : ql_book_add(&b, runs, run, true);
    if (st == QL_OK)
        st = set_read(&b, set);
    ql_book_close(&b);
    return ql_scope_leave(cx, &set->memory, st);
}

static inline ql_status
ql_results_load(ql_ctx *cx, const char *runs, const char *run, ql_result_set *set)
{
    return set_load(cx, NULL, 0, runs, run, set);
}

static inline ql_status
ql_results_read(ql_ctx *cx, ql_results *r, int64_t id, ql_result_set *set)
{
    return set_load(cx, r, id, NULL, NULL, set);
}

/* --- to a book --- */

#define SET_PUT(sql, types, ...) CHECK_OK(b->cx, ql_sheet_read(b->db, &none, (sql), (types), __VA_ARGS__))

static inline void
set_put_cell(ql_book *b, int64_t run, const ql_result_set *set, const ql_result_cell *c)
{
    const int64_t id = b->cells + (c - set->cells);
    ql_sheet none;

    SET_PUT("INSERT INTO cell VALUES (?, ?, ?, iif(?4 < 0, NULL, ?4), ?, ?, ?, ?)", "iiiitrri", id, run,
            (int64_t)c->baseline, c->original < 0 ? -1 : b->cells + c->original, c->error, c->bits, c->cost.seconds,
            (int64_t)c->cost.peak);
    for (int64_t i = 0; i < set->reference_count; i++)
        if (c->labels[i])
            SET_PUT("INSERT INTO label VALUES (?, ?, ?)", "itt", id, set->references[i], c->labels[i]);
    for (int64_t i = 0; i < c->metric_count; i++)
        SET_PUT("INSERT INTO number VALUES (?, ?, ? || '.' || ?, ?, 0)", "iittr", id, i, c->metrics[i].stage,
                c->metrics[i].name, c->metrics[i].value);
    for (int64_t i = 0; i < c->note_count; i++)
        SET_PUT("INSERT INTO note VALUES (?, ?, ?, ?, ?)", "iittt", id, i, c->notes[i].stage, c->notes[i].name,
                c->notes[i].value);
    for (int64_t i = 0; i < c->footnote_count; i++)
        SET_PUT("INSERT INTO footnote VALUES (?, ?, ?)", "iit", id, i, c->footnotes[i]);
    for (int64_t i = 0; i < c->linear_count; i++)
        SET_PUT("INSERT INTO linear VALUES (?, ?, ?, ?, ?)", "itttr", id, c->linears[i].stage, c->linears[i].linear,
                c->linears[i].name, c->linears[i].value);
    for (int64_t i = 0; i < c->list_count; i++)
        for (int64_t k = 0; k < c->lists[i].count; k++)
            SET_PUT("INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?)", "itittir", id, c->lists[i].stage,
                    c->lists[i].block, c->lists[i].linear, c->lists[i].name, k, c->lists[i].values[k]);
    for (int64_t i = 0; i < c->list_count; i++) /* a trainer's curve beside singular values */
        for (int64_t k = 0; c->lists[i].linear && k < c->lists[i].count; k++)
            SET_PUT("INSERT INTO series VALUES (?, ?, iif(? % 2, 'eval_loss', 'loss'), ?, ?)", "itiir", id,
                    c->lists[i].stage, i, k, c->lists[i].values[k]);
}

static inline void
set_put_graph(ql_book *b, int64_t run, const ql_result_set *set)
{
    ql_sheet none;

    for (int64_t i = 0; i < set->node_count; i++) {
        const ql_result_node *n = &set->nodes[i];

        SET_PUT("INSERT INTO stage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "iitttiriiii", run, i, n->stage, n->kind,
                n->label, n->cells, n->cost.seconds, (int64_t)n->cost.calls, (int64_t)n->cost.up, (int64_t)n->cost.down,
                (int64_t)n->cost.peak);
        for (int64_t k = 0; k < n->edge_count; k++)
            SET_PUT("INSERT INTO edge VALUES (?, ?, ?, ?, ?)", "iiiti", run, i, k, n->edges[k].port, n->edges[k].from);
    }
    for (int64_t i = 0; i < set->kind_count; i++) {
        const ql_result_kind *k = &set->kinds[i];

        SET_PUT("INSERT INTO kind VALUES (?1, ?2, ?3, ?2 || '.' || ?3, ?4, ?5, ?6, ?7)", "itttiti", run, k->stage,
                k->name, k->unit, (int64_t)k->better, k->parts, (int64_t)k->exp);
    }
    for (int64_t i = 0; i < set->cite_count; i++)
        SET_PUT("INSERT INTO citation VALUES (?, ?, ?, ?, ?)", "itttt", run, set->cites[i].stage, set->cites[i].label,
                set->cites[i].plugin, set->cites[i].cite);
}

/* Adds the set as the next run; its table is the book's where it is the first. */
static inline void
set_put(ql_book *b, const ql_result_set *set)
{
    const int64_t run = b->runs + 1;
    ql_sheet none;

    SET_PUT("INSERT INTO run VALUES (?, ?, ?, ?, ?, ?)", "itttri", run, set->run, set->version, set->device,
            set->seconds, (int64_t)set->peak);
    for (int64_t i = 0; i < set->reference_count; i++)
        SET_PUT("INSERT INTO axis VALUES (?, ?, ?, ?)", "iiti", run, i, set->references[i],
                (int64_t)(i < set->axis_count));
    for (int64_t i = 0; i < set->cell_count; i++)
        set_put_cell(b, run, set, &set->cells[i]);
    set_put_graph(b, run, set);
    for (int64_t i = 0; i < set->table.row_count; i++)
        SET_PUT("INSERT INTO layout VALUES (?, 'row', ?, ?)", "iit", run, i, set->table.rows[i]);
    for (int64_t i = 0; i < set->table.column_count; i++)
        SET_PUT("INSERT INTO layout VALUES (?, 'column', ?, ?)", "iit", run, i, set->table.columns[i]);
    if (set->table.value)
        SET_PUT("INSERT INTO layout VALUES (?, 'value', 0, ?)", "it", run, set->table.value);
    b->runs++;
    b->cells += set->cell_count;
}

/* A book of `count` sets. */
static inline ql_book
set_book(ql_ctx *cx, const ql_result_set *const *sets, int64_t count)
{
    ql_book b = {0};

    REQUIRE_OK(cx, ql_book_open(cx, &b));
    REQUIRE_OK(cx, ql_results_begin(b.db));
    for (int64_t i = 0; i < count; i++)
        set_put(&b, sets[i]);
    REQUIRE_OK(cx, ql_results_commit(b.db));
    return b;
}

#endif
