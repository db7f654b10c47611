/* A run from results.db. The file is anyone's: what doesn't fit together is an error, never trusted. */
#include <string.h>

#include "set.h"

/* A column of a query, and the field of an item that it fills. */
typedef struct column {
    enum { END, TEXT, TEXT_OR_NULL, INT, ENUM, REAL, FLAG } type; /* INT: an int64_t; ENUM: an int */
    size_t field;
} column;

/* A query over run ?1 whose rows are items of the set, or of its cell or node with the number in column 0. */
typedef struct table {
    const char *sql;
    enum { SET, CELL, NODE } owner;
    size_t items, count, size; /* of the array in the owner; size 0: the one row fills the set itself */
    column columns[11];
} table;

#define ITEMS(type, name) offsetof(type, name##s), offsetof(type, name##_count)
#define OF_SET(name, item) SET, ITEMS(ql_result_set, name), sizeof(item)
#define OF_CELL(name, item) CELL, ITEMS(ql_result_cell, name), sizeof(item)
#define ONE_ROW SET, 0, 0, 0
#define AT(type, item, field)       \
    {                               \
        type, offsetof(item, field) \
    }
#define ALONE(type) \
    {               \
        type, 0     \
    } /* the item is nothing else */

#define FACTS                                                                                                    \
    " FROM cell c JOIN cell_node n ON n.cell = c.id JOIN fact f ON f.node = n.node WHERE c.run = ?1 AND n.error" \
    " IS NULL"
#define IN_ORDER " ORDER BY c.number, n.position, f.block, f.position"
#define NAME "n.prefix || f.name || ifnull('.' || f.part, '')"

/* Facts with a number as their part are items of lists; those with a prefix are of what an exporter wrote, and only their numbers
 * are shown. */
static const table tables[] = {
    {"SELECT name, version, device, seconds, peak_bytes FROM run WHERE id = ?1",
     ONE_ROW,
     {AT(TEXT, ql_result_set, run), AT(TEXT_OR_NULL, ql_result_set, version), AT(TEXT_OR_NULL, ql_result_set, device),
      AT(REAL, ql_result_set, seconds), AT(INT, ql_result_set, peak)}},
    {"SELECT reference FROM axis WHERE run = ?1 ORDER BY position", OF_SET(reference, char *), {ALONE(TEXT)}},
    {"SELECT count(*) FROM axis WHERE run = ?1 AND in_matrix <> 0", ONE_ROW, {AT(INT, ql_result_set, axis_count)}},
    {"SELECT baseline, original, error, bits, seconds, peak_bytes FROM cell WHERE run = ?1 ORDER BY number",
     OF_SET(cell, ql_result_cell),
     {AT(FLAG, ql_result_cell, baseline), AT(INT, ql_result_cell, original), AT(TEXT_OR_NULL, ql_result_cell, error),
      AT(REAL, ql_result_cell, bits), AT(REAL, ql_result_cell, cost.seconds), AT(INT, ql_result_cell, cost.peak)}},
    {"SELECT c.number, l.label FROM cell c JOIN axis a ON a.run = c.run LEFT JOIN label l ON l.cell = c.id"
     " AND l.reference = a.reference WHERE c.run = ?1 ORDER BY c.number, a.position",
     OF_CELL(label, char *),
     {ALONE(TEXT_OR_NULL)}},
    {"SELECT c.number, n.stage, " NAME ", f.value" FACTS " AND f.block = -1 AND typeof(f.part) <> 'integer'" IN_ORDER,
     OF_CELL(metric, ql_result_metric),
     {AT(TEXT, ql_result_metric, stage), AT(TEXT, ql_result_metric, name), AT(REAL, ql_result_metric, value)}},
    {"SELECT c.number, n.stage, f.name, f.value FROM cell c JOIN cell_node n ON n.cell = c.id JOIN note f"
     " ON f.node = n.node WHERE c.run = ?1 AND n.error IS NULL AND n.prefix = '' AND f.block = -1" IN_ORDER,
     OF_CELL(note, ql_result_note),
     {AT(TEXT, ql_result_note, stage), AT(TEXT, ql_result_note, name), AT(TEXT, ql_result_note, value)}},
    {"SELECT c.number, f.text FROM cell c JOIN footnote f ON f.cell = c.id WHERE c.run = ?1"
     " ORDER BY c.number, f.position",
     OF_CELL(footnote, char *),
     {ALONE(TEXT)}},
    {"SELECT c.number, n.stage, f.linear, " NAME ", f.value" FACTS " AND f.block >= 0 AND f.linear IS NOT NULL"
     " AND typeof(f.part) <> 'integer' AND n.prefix = ''" IN_ORDER,
     OF_CELL(linear, ql_result_linear),
     {AT(TEXT, ql_result_linear, stage), AT(TEXT, ql_result_linear, linear), AT(TEXT, ql_result_linear, name),
      AT(REAL, ql_result_linear, value)}},
    {"SELECT c.number, n.stage, f.linear, f.name, count(*)" FACTS " AND typeof(f.part) = 'integer' AND n.prefix = ''"
     " GROUP BY c.number, n.position, f.block, f.linear, f.name"
     " ORDER BY c.number, n.position, f.block, min(f.position)",
     OF_CELL(list, ql_result_list),
     {AT(TEXT, ql_result_list, stage), AT(TEXT_OR_NULL, ql_result_list, linear), AT(TEXT, ql_result_list, name),
      AT(INT, ql_result_list, count)}},
    {"SELECT f.value" FACTS " AND typeof(f.part) = 'integer' AND n.prefix = ''" IN_ORDER,
     OF_SET(value, double),
     {ALONE(REAL)}},
    {"SELECT stage, name, unit, iif(better = 'lower', 1, iif(better = 'higher', 2, 0)), parts, exp FROM kind"
     " WHERE run = ?1 ORDER BY position",
     OF_SET(kind, ql_result_kind),
     {AT(TEXT, ql_result_kind, stage), AT(TEXT, ql_result_kind, name), AT(TEXT_OR_NULL, ql_result_kind, unit),
      AT(ENUM, ql_result_kind, better), AT(TEXT_OR_NULL, ql_result_kind, parts), AT(FLAG, ql_result_kind, exp)}},
    {"SELECT stage, kind, label, cells, seconds, calls, up_bytes, down_bytes, peak_bytes FROM stage WHERE run = ?1"
     " ORDER BY position",
     OF_SET(node, ql_result_node),
     {AT(TEXT, ql_result_node, stage), AT(TEXT, ql_result_node, kind), AT(TEXT, ql_result_node, label),
      AT(INT, ql_result_node, cells), AT(REAL, ql_result_node, cost.seconds), AT(INT, ql_result_node, cost.calls),
      AT(INT, ql_result_node, cost.up), AT(INT, ql_result_node, cost.down), AT(INT, ql_result_node, cost.peak)}},
    {"SELECT stage, port, source FROM edge WHERE run = ?1 ORDER BY stage, position",
     NODE,
     ITEMS(ql_result_node, edge),
     sizeof(ql_result_edge),
     {AT(TEXT, ql_result_edge, port), AT(INT, ql_result_edge, from)}},
    {"SELECT stage, label, plugin, cite FROM citation WHERE run = ?1 ORDER BY position",
     OF_SET(cite, ql_result_cite),
     {AT(TEXT, ql_result_cite, stage), AT(TEXT, ql_result_cite, label), AT(TEXT, ql_result_cite, plugin),
      AT(TEXT, ql_result_cite, cite)}},
    {"SELECT reference FROM layout WHERE run = ?1 AND part = 'row' ORDER BY position",
     OF_SET(table.row, char *),
     {ALONE(TEXT)}},
    {"SELECT reference FROM layout WHERE run = ?1 AND part = 'column' ORDER BY position",
     OF_SET(table.column, char *),
     {ALONE(TEXT)}},
    {"SELECT reference FROM layout WHERE run = ?1 AND part = 'value'", ONE_ROW, {AT(TEXT, ql_result_set, table.value)}},
};

typedef struct loader {
    ql_ctx *cx;
    ql_query *rows;
    ql_result_set *set;
} loader;

static ql_status
damaged(const loader *l, const char *what)
{
    return QL_FAIL(l->cx, QL_IO, "results: run '%s' is damaged: %s", l->set->run, what);
}

static ql_status
fill(const loader *l, const column *c, int at, void *field)
{
    const double real = ql_query_real(l->rows, at);
    const int64_t number = ql_query_int(l->rows, at);
    const bool flag = number != 0;
    const int word = (int)number;
    const char *text = NULL;

    switch (c->type) {
    case INT:
        memcpy(field, &number, sizeof number);
        return QL_OK;
    case ENUM:
        memcpy(field, &word, sizeof word);
        return QL_OK;
    case REAL:
        memcpy(field, &real, sizeof real);
        return QL_OK;
    case FLAG:
        memcpy(field, &flag, sizeof flag);
        return QL_OK;
    default:
        QL_TRY(l->cx, ql_query_text(l->rows, at, &text));
        memcpy(field, &text, sizeof(char *));
        return text || c->type == TEXT_OR_NULL ? QL_OK : damaged(l, "a text is missing");
    }
}

/* Whose the row is, by its column 0. */
static ql_status
owner_of(const loader *l, const table *t, void **out)
{
    const int64_t number = ql_query_int(l->rows, 0), count = t->owner == CELL ? l->set->cell_count : l->set->node_count;

    *out = l->set;
    if (t->owner == SET)
        return QL_OK;
    if (number < 0 || number >= count)
        return damaged(l, "a row of a cell or stage that it has not");
    *out = t->owner == CELL ? (void *)&l->set->cells[number] : (void *)&l->set->nodes[number];
    return QL_OK;
}

static ql_status
take(const loader *l, const table *t)
{
    void *owner, *item;

    QL_TRY(l->cx, owner_of(l, t, &owner));
    item = t->size ? ql_results_append(l->cx, (char *)owner + t->items, (int64_t *)(void *)((char *)owner + t->count),
                                       t->size)
                   : owner;
    if (!item)
        return QL_MEMORY;
    for (int i = 0; t->columns[i].type != END; i++)
        QL_TRY(l->cx, fill(l, &t->columns[i], i + (t->owner != SET), (char *)item + t->columns[i].field));
    return QL_OK;
}

/* Values of lists follow each other as the lists do. */
static ql_status
share_values(const loader *l)
{
    const ql_result_set *set = l->set;
    int64_t at = 0;

    for (int64_t i = 0; i < set->cell_count; i++)
        for (int64_t k = 0; k < set->cells[i].list_count; k++) {
            ql_result_list *list = &set->cells[i].lists[k];

            if (list->count < 0 || list->count > set->value_count - at)
                return damaged(l, "items of a list are missing");
            list->values = set->values + at;
            at += list->count;
        }
    return QL_OK;
}

/* Inputs stand before their users, so a graph that is read has no cycle. */
static ql_status
check(const loader *l)
{
    const ql_result_set *set = l->set;

    for (int64_t i = 0; i < set->cell_count; i++)
        if (set->cells[i].original < -1 || set->cells[i].original >= set->cell_count ||
            set->cells[i].label_count != set->reference_count || set->axis_count > set->reference_count)
            return damaged(l, "a cell without its labels or its baseline");
    for (int64_t i = 0; i < set->node_count; i++)
        for (int64_t k = 0; k < set->nodes[i].edge_count; k++)
            if (set->nodes[i].edges[k].from < 0 || set->nodes[i].edges[k].from >= i)
                return damaged(l, "an edge of a stage that it has not");
    return QL_OK;
}

static ql_status
load(loader *l, ql_results *r, int64_t run)
{
    bool more;

    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        QL_TRY(l->cx, ql_query_open(r, &l->rows, tables[i].sql, "i", run));
        for (;;) {
            QL_TRY(l->cx, ql_query_next(l->rows, &more));
            if (!more)
                break;
            QL_TRY(l->cx, take(l, &tables[i]));
        }
    }
    QL_TRY(l->cx, share_values(l));
    return check(l);
}

ql_status
ql_results_read(ql_ctx *cx, ql_results *r, int64_t run, ql_result_set *set)
{
    loader l = {.cx = cx, .set = set};

    *set = (ql_result_set){.run = ""};
    ql_scope_enter(cx, &set->memory);
    return ql_scope_leave(cx, &set->memory, load(&l, r, run));
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
