/* The rows of a run before anything is worked out: what its graph says of cells, labels, baselines, stages, kinds, citations, table. */
#include <string.h>

#include "db.h"
#include "plugin/registry.h"

typedef struct shape {
    ql_ctx *cx;
    ql_results *r;
    const ql_graph *g;
} shape;

/* --- references --- */

/* The same one again changes nothing. */
static ql_status
put_reference(shape *s, const char *reference, bool in_matrix)
{
    if (!reference)
        return QL_MEMORY;
    return ql_db_put(s->r,
                     "INSERT INTO axis SELECT ?1, count(*), ?2, ?3 FROM axis WHERE run = ?1 ON CONFLICT DO NOTHING",
                     "iti", s->r->run, reference, (int64_t)in_matrix);
}

static bool
same_label(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool
varies(const shape *s, const char *reference)
{
    const char *first = s->g->cell_count ? ql_cell_label(s->cx, s->g, &s->g->cells[0], reference) : NULL;

    for (int64_t i = 1; i < s->g->cell_count; i++)
        if (!same_label(first, ql_cell_label(s->cx, s->g, &s->g->cells[i], reference)))
            return true;
    return false;
}

/* Parameters that differ between variants of a stage can be asked for, though they are no axis by themselves. */
static ql_status
put_parameters(shape *s, int64_t stage)
{
    for (int64_t i = 0; i < s->g->cell_count; i++) {
        const ql_node *n = s->g->cells[i].stages[stage], *before = i ? s->g->cells[i - 1].stages[stage] : NULL;

        if (!n || (before && n->plugin == before->plugin))
            continue;
        for (const ql_param *p = n->plugin->params; p && p->type != QL_T_END; p++) {
            const char *reference = ql_format(s->cx, "%s.%s", s->g->stage_names[stage], p->name);

            if (!reference)
                return QL_MEMORY;
            if (varies(s, reference))
                QL_TRY(s->cx, put_reference(s, reference, false));
        }
    }
    return QL_OK;
}

static ql_status
put_references(shape *s)
{
    const ql_graph *g = s->g;

    for (int64_t i = 0; i < g->axis_count; i++)
        QL_TRY(s->cx, put_reference(s, g->axes[i].key, true));
    for (int64_t i = 0; i < g->stage_count; i++)
        QL_TRY(s->cx, put_reference(s, ql_format(s->cx, "%s.use", g->stage_names[i]), false));
    for (int64_t i = 0; i < g->table.row_count; i++)
        QL_TRY(s->cx, put_reference(s, g->table.rows[i], false));
    for (int64_t i = 0; i < g->table.column_count; i++)
        QL_TRY(s->cx, put_reference(s, g->table.columns[i], false));
    for (int64_t i = 0; i < g->stage_count; i++)
        QL_TRY(s->cx, put_parameters(s, i));
    return QL_OK;
}

/* --- cells and baselines --- */

/* Do both cells measure the same original model in the same way? */
static bool
same_original(const ql_graph *g, const ql_cell *a, const ql_cell *b)
{
    for (int64_t i = 0; i < g->stage_count; i++) {
        const ql_node *x = a->stages[i], *y = b->stages[i];

        if (x == y || !((x && x->plugin->kind == QL_EVALUATOR) || (y && y->plugin->kind == QL_EVALUATOR)))
            continue;
        if (!x || !y || strcmp(x->canonical, y->canonical) != 0 ||
            ql_node_before(x, QL_MODEL) != ql_node_before(y, QL_MODEL) ||
            ql_node_input(x, "data") != ql_node_input(y, "data"))
            return false;
    }
    return true;
}

/* Do all evaluators of the cell look at the original model itself? */
static bool
is_plain(const ql_graph *g, const ql_cell *cell)
{
    bool any = false;

    for (int64_t i = 0; i < g->stage_count; i++) {
        const ql_node *n = cell->stages[i];

        if (!n || n->plugin->kind != QL_EVALUATOR)
            continue;
        n = ql_node_input(n, "model");
        any = true;
        if (n && n->plugin->kind != QL_MODEL)
            return false;
    }
    return any;
}

/* Is there a cell to compare with the original of cell `i`? Not where that cell and all that share its original are the original. */
static bool
needs_original(const ql_graph *g, int64_t i)
{
    for (int64_t k = i; k < g->cell_count; k++)
        if (!is_plain(g, &g->cells[k]) && same_original(g, &g->cells[i], &g->cells[k]))
            return true;
    return false;
}

/* Each cell's baseline; *count: cells and baselines. */
static void
find_originals(const shape *s, int64_t *count)
{
    const ql_graph *g = s->g;
    struct ql_db_cell *cells = s->r->cells;

    *count = g->cell_count;
    for (int64_t i = 0; i < g->cell_count; i++) {
        cells[i] = (struct ql_db_cell){.original = -1};
        for (int64_t k = 0; k < i && cells[i].original < 0; k++)
            if (g->baseline && same_original(g, &g->cells[i], &g->cells[k]))
                cells[i].original = cells[k].original;
        cells[i].first = g->baseline && cells[i].original < 0 && needs_original(g, i);
        if (cells[i].first)
            cells[i].original = (*count)++;
    }
}

static ql_status
put_cell(shape *s, int64_t number, int64_t original)
{
    return ql_db_put(
        s->r, "INSERT INTO cell (run, number, baseline, original, seconds, peak_bytes) VALUES (?, ?, ?, ?, 0, 0)",
        "iiii", s->r->run, number, (int64_t)(number >= s->g->cell_count), original);
}

/* The only cell of a run that varies nothing, where that is the original model, is called what it is. */
static ql_status
put_labels(shape *s, const char *reference)
{
    const ql_graph *g = s->g;
    const char *all = g->baseline && g->cell_count == 1 && is_plain(g, &g->cells[0]) ? QL_ORIGINAL_LABEL : NULL;

    for (int64_t i = 0; i < g->cell_count; i++)
        QL_TRY(s->cx,
               ql_db_put(s->r, "INSERT INTO label SELECT id, ?3, ?4 FROM cell WHERE run = ?1 AND number = ?2", "iitt",
                         s->r->run, i, reference, all ? all : ql_cell_label(s->cx, g, &g->cells[i], reference)));
    return QL_OK;
}

/* A baseline keeps the labels that tell it from another baseline: those that all of its cells share, where no baseline's cells differ
 * and not all baselines have the same. Under all other references it is "original". */
static const char baseline_labels[] =
    "INSERT INTO label WITH shared AS (SELECT c.original AS number, l.reference,"
    " iif(min(l.label) = max(l.label) AND count(l.label) = count(*), min(l.label), NULL) AS label"
    " FROM cell c JOIN label l ON l.cell = c.id WHERE c.run = ?1 AND c.original >= 0 GROUP BY c.original, l.reference),"
    " telling AS (SELECT reference FROM shared GROUP BY reference"
    " HAVING count(label) = count(*) AND min(label) <> max(label))"
    " SELECT b.id, s.reference, iif(s.reference IN telling, s.label, '" QL_ORIGINAL_LABEL "')"
    " FROM shared s JOIN cell b ON b.run = ?1 AND b.number = s.number";

static ql_status
put_cells(shape *s)
{
    ql_sheet references;
    int64_t end;

    find_originals(s, &end);
    for (int64_t i = 0; i < end; i++)
        QL_TRY(s->cx, put_cell(s, i, i < s->g->cell_count ? s->r->cells[i].original : -1));
    QL_TRY(s->cx, ql_sheet_read(s->r, &references, "SELECT reference FROM axis WHERE run = ? ORDER BY position", "i",
                                s->r->run));
    for (int64_t i = 0; i < references.count; i++)
        QL_TRY(s->cx, put_labels(s, ql_row(&references, i)->text));
    return ql_db_put(s->r, baseline_labels, "i", s->r->run);
}

/* --- stages --- */

static ql_status
put_stages(shape *s)
{
    const ql_graph *g = s->g;
    const int64_t *cells = ql_graph_cells(s->cx, g);

    if (!cells)
        return QL_MEMORY;
    for (int64_t i = 0; i < g->node_count; i++) {
        const ql_node *n = g->nodes[i];

        QL_TRY(s->cx, ql_db_put(s->r, "INSERT INTO stage VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0)", "iittti", s->r->run,
                                i, n->name, ql_kind_name(n->plugin->kind), n->label, cells[i]));
        for (int64_t k = 0; k < n->input_count; k++)
            QL_TRY(s->cx, ql_db_put(s->r, "INSERT INTO edge VALUES (?, ?, ?, ?, ?)", "iiiti", s->r->run, i, k,
                                    n->inputs[k].port, n->inputs[k].from->id));
    }
    return QL_OK;
}

/* By the names of the stages as cells know them: variants of one stage may be different evaluators. */
static ql_status
put_kinds(shape *s, const char *stage, const ql_plugin *plugin)
{
    static const char *const words[] = {NULL, "lower", "higher"};
    static const ql_metric_kind trained[] = {{.name = "eval_loss", .unit = "nats", .better = QL_BETTER_LOWER},
                                             {.name = "train_loss", .unit = "nats", .better = QL_BETTER_LOWER},
                                             {.name = NULL}};
    const ql_metric_kind *m = plugin->kind == QL_EVALUATOR ? plugin->evaluator->metrics
                              : plugin->kind == QL_TRAINER ? trained
                                                           : NULL;

    for (; m && m->name; m++)
        QL_TRY(s->cx,
               ql_db_put(s->r,
                         "INSERT INTO kind SELECT ?1, count(*), ?2, ?3, ?4, ?5, ?6, ?7 FROM kind WHERE run = ?1"
                         " ON CONFLICT DO NOTHING",
                         "ittttti", s->r->run, stage, m->name, m->unit, words[m->better], m->parts, (int64_t)m->exp));
    return QL_OK;
}

/* The label of a stage's variant stands for a plugin with a paper. */
static ql_status
put_citation(shape *s, const ql_cell *cell, const char *stage, const ql_plugin *plugin)
{
    const char *reference = ql_format(s->cx, "%s.use", stage);
    const char *label = reference ? ql_cell_label(s->cx, s->g, cell, reference) : NULL;

    if (!label)
        return QL_MEMORY;
    return ql_db_put(s->r,
                     "INSERT INTO citation SELECT ?1, count(*), ?2, ?3, ?4, ?5 FROM citation WHERE run = ?1"
                     " ON CONFLICT DO NOTHING",
                     "itttt", s->r->run, stage, label, plugin->name, plugin->cite);
}

static ql_status
put_variants(shape *s)
{
    const ql_graph *g = s->g;

    for (int64_t c = 0; c < g->cell_count; c++)
        for (int64_t k = 0; k < g->stage_count; k++) {
            const ql_node *n = g->cells[c].stages[k], *before = c ? g->cells[c - 1].stages[k] : NULL;

            if (n && (!before || n->plugin != before->plugin))
                QL_TRY(s->cx, put_kinds(s, g->stage_names[k], n->plugin));
            if (n && n->plugin->cite)
                QL_TRY(s->cx, put_citation(s, &g->cells[c], g->stage_names[k], n->plugin));
        }
    return QL_OK;
}

static ql_status
put_layout(shape *s, const char *part, const char *const *references, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        QL_TRY(s->cx,
               ql_db_put(s->r, "INSERT INTO layout VALUES (?, ?, ?, ?)", "itit", s->r->run, part, i, references[i]));
    return QL_OK;
}

static ql_status
put_table(shape *s)
{
    const ql_table_spec *t = &s->g->table;
    const char *draws;

    QL_TRY(s->cx, put_layout(s, "row", t->rows, t->row_count));
    QL_TRY(s->cx, put_layout(s, "column", t->columns, t->column_count));
    QL_TRY(s->cx, put_layout(s, "value", &t->value, t->value != NULL));
    QL_TRY(s->cx, put_layout(s, "pick", t->picks, t->pick_count));
    QL_TRY(s->cx, put_layout(s, "compare", t->compare, t->compare_count));
    draws = ql_format(s->cx, "%d", t->bootstrap);
    return draws ? put_layout(s, "bootstrap", &draws, t->bootstrap > 0) : QL_MEMORY;
}

/* --- the whole --- */

static ql_status
put_run(shape *s, const char *name)
{
    QL_TRY(s->cx, ql_db_put(s->r, "DELETE FROM run WHERE name = ? AND finished IS NULL", "t", name));
    QL_TRY(s->cx, ql_db_int(s->r, &s->r->run, "INSERT INTO run (name) VALUES (?) RETURNING id", "t", name));
    QL_TRY(s->cx, put_table(s));
    QL_TRY(s->cx, put_references(s));
    QL_TRY(s->cx, put_cells(s));
    QL_TRY(s->cx, put_stages(s));
    return put_variants(s);
}

ql_status
ql_run_begin(ql_results *r, const ql_graph *g, const char *name)
{
    shape s = {.cx = r->cx, .r = r, .g = g};
    ql_scope scope;
    ql_status st;

    QL_TRY(r->cx, ql_grow(r->cx, &r->cells, &r->cell_capacity, g->cell_count, sizeof *r->cells));
    QL_TRY(r->cx, ql_results_begin(r));
    ql_scope_open(r->cx, &scope);
    st = put_run(&s, name);
    ql_scope_close(r->cx, &scope);
    QL_TRY(r->cx, st);
    return ql_results_commit(r);
}
