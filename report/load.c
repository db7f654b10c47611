/* A run from results.db. The file is anyone's: what doesn't fit together is an error, never trusted. */
#include <string.h>

#include "set.h"

typedef struct loader {
    ql_ctx *cx;
    ql_results *results;
    int64_t run;
    ql_result_set *set;
    const char **references;
    int64_t reference_capacity, row_capacity, column_capacity;
    const char **rows, **columns;
} loader;

/* A query over the run, and what takes a row of it; `cell`: the checked number in column 0 where the query has one. */
typedef struct rows_of {
    const char *sql;
    ql_status (*take)(loader *l, const ql_query *s, int64_t cell);
    bool cell; /* column 0 is a cell */
} rows_of;

static ql_status
damaged(const loader *l, const char *what)
{
    return QL_FAIL(l->cx, QL_IO, "results: run '%s' is damaged: %s", l->set->run, what);
}

/* A text that may not be NULL. */
static ql_status
text(loader *l, const ql_query *s, int column, const char **out)
{
    QL_TRY(l->cx, ql_query_text(s, column, out));
    return *out ? QL_OK : damaged(l, "a text is missing");
}

static ql_status
query(loader *l, const rows_of *q)
{
    ql_query *rows;
    bool more;

    QL_TRY(l->cx, ql_query_open(l->results, &rows, q->sql, "i", l->run));
    for (;;) {
        int64_t cell;

        QL_TRY(l->cx, ql_query_next(rows, &more));
        if (!more)
            return QL_OK;
        cell = q->cell ? ql_query_int(rows, 0) : 0;
        if (q->cell && (cell < 0 || cell >= l->set->cell_count))
            return damaged(l, "a row of a cell that it has not");
        QL_TRY(l->cx, q->take(l, rows, cell));
    }
}

static ql_status
take_run(loader *l, const ql_query *s, int64_t cell)
{
    (void)cell;
    QL_TRY(l->cx, text(l, s, 4, &l->set->run));
    QL_TRY(l->cx, ql_query_text(s, 0, &l->set->version));
    QL_TRY(l->cx, ql_query_text(s, 1, &l->set->device));
    l->set->seconds = ql_query_real(s, 2);
    l->set->peak = (uint64_t)ql_query_int(s, 3);
    return QL_OK;
}

static ql_status
take_axis(loader *l, const ql_query *s, int64_t cell)
{
    ql_result_set *set = l->set;
    const char **item;

    (void)cell;
    if (ql_query_int(s, 1) && set->axis_count == set->reference_count)
        set->axis_count++;
    item = ql_results_append(l->cx, &l->references, &set->reference_count, &l->reference_capacity, sizeof *item);
    set->references = l->references;
    return item ? text(l, s, 0, item) : QL_MEMORY;
}

static ql_status
take_cell(loader *l, const ql_query *s, int64_t cell)
{
    ql_result_set *set = l->set;
    ql_result_cell *c;

    (void)cell;
    if (ql_query_int(s, 0) != set->cell_count)
        return damaged(l, "cells are missing");
    c = ql_results_append(l->cx, &set->cells, &set->cell_count, &set->cell_capacity, sizeof *c);
    if (!c)
        return QL_MEMORY;
    *c = (ql_result_cell){
        .baseline = ql_query_int(s, 1) != 0,
        .original = ql_query_int(s, 2),
        .bits = ql_query_real(s, 4),
        .cost = {.seconds = ql_query_real(s, 5), .peak = (uint64_t)ql_query_int(s, 6)},
    };
    c->labels = ql_alloc(l->cx, (size_t)set->reference_count, sizeof *c->labels);
    return c->labels ? ql_query_text(s, 3, &c->error) : QL_MEMORY;
}

static ql_status
take_label(loader *l, const ql_query *s, int64_t cell)
{
    const char *reference;

    QL_TRY(l->cx, text(l, s, 1, &reference));
    for (int64_t i = 0; i < l->set->reference_count; i++)
        if (strcmp(l->set->references[i], reference) == 0)
            return ql_query_text(s, 2, &l->set->cells[cell].labels[i]);
    return damaged(l, "a label of an axis that it has not");
}

static ql_status
take_metric(loader *l, const ql_query *s, int64_t cell)
{
    ql_result_cell *c = &l->set->cells[cell];
    ql_result_metric *m = ql_results_append(l->cx, &c->metrics, &c->metric_count, &c->metric_capacity, sizeof *m);

    if (!m)
        return QL_MEMORY;
    m->value = ql_query_real(s, 3);
    QL_TRY(l->cx, text(l, s, 1, &m->stage));
    return text(l, s, 2, &m->name);
}

static ql_status
take_note(loader *l, const ql_query *s, int64_t cell)
{
    ql_result_cell *c = &l->set->cells[cell];
    ql_result_note *n = ql_results_append(l->cx, &c->notes, &c->note_count, &c->note_capacity, sizeof *n);

    if (!n)
        return QL_MEMORY;
    QL_TRY(l->cx, text(l, s, 1, &n->stage));
    QL_TRY(l->cx, text(l, s, 2, &n->name));
    return text(l, s, 3, &n->value);
}

static ql_status
take_footnote(loader *l, const ql_query *s, int64_t cell)
{
    ql_result_cell *c = &l->set->cells[cell];
    const char **item =
        ql_results_append(l->cx, &c->footnotes, &c->footnote_count, &c->footnote_capacity, sizeof *item);

    return item ? text(l, s, 1, item) : QL_MEMORY;
}

static ql_status
take_linear(loader *l, const ql_query *s, int64_t cell)
{
    ql_result_cell *c = &l->set->cells[cell];
    ql_result_linear *r = ql_results_append(l->cx, &c->linears, &c->linear_count, &c->linear_capacity, sizeof *r);

    if (!r)
        return QL_MEMORY;
    r->value = ql_query_real(s, 4);
    QL_TRY(l->cx, text(l, s, 1, &r->stage));
    QL_TRY(l->cx, text(l, s, 2, &r->linear));
    return text(l, s, 3, &r->name);
}

/* Items of one list follow each other, the first one is number 0. */
static ql_status
take_list(loader *l, const ql_query *s, int64_t cell)
{
    ql_result_cell *c = &l->set->cells[cell];
    ql_result_list *list = c->list_count ? &c->lists[c->list_count - 1] : NULL;
    const int64_t item = ql_query_int(s, 4);
    double *value;

    if (item == 0) {
        list = ql_results_append(l->cx, &c->lists, &c->list_count, &c->list_capacity, sizeof *list);
        if (!list)
            return QL_MEMORY;
        *list = (ql_result_list){0};
        QL_TRY(l->cx, text(l, s, 1, &list->stage));
        QL_TRY(l->cx, ql_query_text(s, 2, &list->linear));
        QL_TRY(l->cx, text(l, s, 3, &list->name));
    }
    if (!list || item != list->count)
        return damaged(l, "items of a list are missing");
    value = ql_results_append(l->cx, &list->values, &list->count, &list->capacity, sizeof *value);
    if (value)
        *value = ql_query_real(s, 5);
    return value ? QL_OK : QL_MEMORY;
}

static ql_status
take_kind(loader *l, const ql_query *s, int64_t cell)
{
    ql_result_set *set = l->set;
    ql_result_kind *k = ql_results_append(l->cx, &set->kinds, &set->kind_count, &set->kind_capacity, sizeof *k);
    const char *better = NULL;

    (void)cell;
    if (!k)
        return QL_MEMORY;
    *k = (ql_result_kind){.exp = ql_query_int(s, 5) != 0};
    QL_TRY(l->cx, text(l, s, 0, &k->stage));
    QL_TRY(l->cx, text(l, s, 1, &k->name));
    QL_TRY(l->cx, ql_query_text(s, 2, &k->unit));
    QL_TRY(l->cx, ql_query_text(s, 3, &better));
    k->better = !better                         ? QL_BETTER_UNSAID
                : strcmp(better, "lower") == 0  ? QL_BETTER_LOWER
                : strcmp(better, "higher") == 0 ? QL_BETTER_HIGHER
                                                : QL_BETTER_UNSAID;
    return ql_query_text(s, 4, &k->parts);
}

static ql_status
take_node(loader *l, const ql_query *s, int64_t cell)
{
    ql_result_set *set = l->set;
    ql_result_node *n;

    (void)cell;
    if (ql_query_int(s, 0) != set->node_count)
        return damaged(l, "nodes are missing");
    n = ql_results_append(l->cx, &set->nodes, &set->node_count, &set->node_capacity, sizeof *n);
    if (!n)
        return QL_MEMORY;
    *n = (ql_result_node){.cells = ql_query_int(s, 4),
                          .cost = {.seconds = ql_query_real(s, 5),
                                   .calls = (uint64_t)ql_query_int(s, 6),
                                   .up = (uint64_t)ql_query_int(s, 7),
                                   .down = (uint64_t)ql_query_int(s, 8),
                                   .peak = (uint64_t)ql_query_int(s, 9)}};
    QL_TRY(l->cx, text(l, s, 1, &n->stage));
    QL_TRY(l->cx, text(l, s, 2, &n->kind));
    return text(l, s, 3, &n->label);
}

/* Inputs stand before their users, so a graph that is read has no cycle. */
static ql_status
take_edge(loader *l, const ql_query *s, int64_t cell)
{
    const int64_t node = ql_query_int(s, 0), from = ql_query_int(s, 2);
    ql_result_node *n;
    ql_result_edge *e;

    (void)cell;
    if (node < 0 || node >= l->set->node_count || from < 0 || from >= node)
        return damaged(l, "an edge of a node that it has not");
    n = &l->set->nodes[node];
    e = ql_results_append(l->cx, &n->edges, &n->edge_count, &n->edge_capacity, sizeof *e);
    if (!e)
        return QL_MEMORY;
    e->from = from;
    return text(l, s, 1, &e->port);
}

static ql_status
take_cite(loader *l, const ql_query *s, int64_t cell)
{
    ql_result_set *set = l->set;
    ql_result_cite *c = ql_results_append(l->cx, &set->cites, &set->cite_count, &set->cite_capacity, sizeof *c);

    (void)cell;
    if (!c)
        return QL_MEMORY;
    QL_TRY(l->cx, text(l, s, 0, &c->stage));
    QL_TRY(l->cx, text(l, s, 1, &c->label));
    QL_TRY(l->cx, text(l, s, 2, &c->plugin));
    return text(l, s, 3, &c->cite);
}

static ql_status
take_layout(loader *l, const ql_query *s, int64_t cell)
{
    ql_table_spec *t = &l->set->table;
    const char *part, *reference, **item;

    (void)cell;
    QL_TRY(l->cx, text(l, s, 0, &part));
    QL_TRY(l->cx, text(l, s, 1, &reference));
    if (strcmp(part, "value") == 0) {
        t->value = reference;
        return QL_OK;
    }
    item = strcmp(part, "row") == 0
               ? ql_results_append(l->cx, &l->rows, &t->row_count, &l->row_capacity, sizeof *item)
               : ql_results_append(l->cx, &l->columns, &t->column_count, &l->column_capacity, sizeof *item);
    t->rows = l->rows;
    t->columns = l->columns;
    if (item)
        *item = reference;
    return item ? QL_OK : QL_MEMORY;
}

#define FACTS_OF                                                                                                    \
    " FROM cell c JOIN cell_node n ON n.cell = c.id JOIN fact f ON f.node = n.node WHERE c.run = ? AND n.error IS " \
    "NULL"
#define IN_ORDER " ORDER BY c.number, n.position, f.block, f.position"
#define NAME "n.prefix || f.name || ifnull('.' || f.part, '')"

/* Facts with a number as their part are items of lists; those with a prefix are of what an exporter wrote, and only their numbers
 * are shown. */
static const rows_of queries[] = {
    {"SELECT version, device, seconds, peak_bytes, name FROM run WHERE id = ?", take_run, false},
    {"SELECT reference, in_matrix FROM axis WHERE run = ? ORDER BY position", take_axis, false},
    {"SELECT number, baseline, original, error, bits, seconds, peak_bytes FROM cell WHERE run = ? ORDER BY number",
     take_cell, false},
    {"SELECT c.number, l.reference, l.label FROM cell c JOIN label l ON l.cell = c.id WHERE c.run = ?", take_label,
     true},
    {"SELECT c.number, n.stage, " NAME ", f.value" FACTS_OF
     " AND f.block = -1 AND typeof(f.part) <> 'integer'" IN_ORDER,
     take_metric, true},
    {"SELECT c.number, n.stage, f.name, f.value FROM cell c JOIN cell_node n ON n.cell = c.id JOIN note f"
     " ON f.node = n.node WHERE c.run = ? AND n.error IS NULL AND n.prefix = '' AND f.block = -1" IN_ORDER,
     take_note, true},
    {"SELECT c.number, f.text FROM cell c JOIN footnote f ON f.cell = c.id WHERE c.run = ? ORDER BY c.number, "
     "f.position",
     take_footnote, true},
    {"SELECT c.number, n.stage, f.linear, " NAME ", f.value" FACTS_OF " AND f.block >= 0 AND f.linear IS NOT NULL"
     " AND typeof(f.part) <> 'integer' AND n.prefix = ''" IN_ORDER,
     take_linear, true},
    {"SELECT c.number, n.stage, f.linear, f.name, f.part, f.value" FACTS_OF " AND typeof(f.part) = 'integer'"
     " AND n.prefix = ''" IN_ORDER,
     take_list, true},
    {"SELECT stage, name, unit, better, parts, exp FROM kind WHERE run = ? ORDER BY position", take_kind, false},
    {"SELECT position, stage, kind, label, cells, seconds, calls, up_bytes, down_bytes, peak_bytes FROM stage"
     " WHERE run = ? ORDER BY position",
     take_node, false},
    {"SELECT stage, port, source FROM edge WHERE run = ? ORDER BY stage, position", take_edge, false},
    {"SELECT stage, label, plugin, cite FROM citation WHERE run = ? ORDER BY position", take_cite, false},
    {"SELECT part, reference FROM layout WHERE run = ? ORDER BY part, position", take_layout, false},
};

static ql_status
load(loader *l)
{
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++)
        QL_TRY(l->cx, query(l, &queries[i]));
    for (int64_t i = 0; i < l->set->cell_count; i++) {
        int64_t o = l->set->cells[i].original;

        if (o < -1 || o >= l->set->cell_count)
            return damaged(l, "a cell of a baseline that it has not");
    }
    return QL_OK;
}

ql_status
ql_results_read(ql_ctx *cx, ql_results *r, int64_t run, ql_result_set *set)
{
    loader l = {.cx = cx, .results = r, .run = run, .set = set};

    *set = (ql_result_set){.run = ""};
    ql_scope_enter(cx, &set->memory);
    return ql_scope_leave(cx, &set->memory, load(&l));
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
ql_results_load(ql_ctx *cx, const char *runs, const char *run, ql_result_set *set)
{
    const char *path = NULL, *name = NULL;
    ql_results *r = NULL;
    int64_t id = 0;
    ql_scope scope;
    ql_status st;

    *set = (ql_result_set){0};
    ql_scope_open(cx, &scope);
    st = split(cx, runs, run, &path, &name);
    if (st == QL_OK)
        st = ql_results_open(cx, path, false, &r);
    if (st == QL_OK)
        st = ql_run_find(r, name, &id);
    if (st == QL_OK)
        st = ql_results_read(cx, r, id, set);
    ql_results_close(r);
    ql_scope_close(cx, &scope);
    return st;
}
