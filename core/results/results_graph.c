/* The empty result set of a graph: references and the labels that cells have under them, baselines, nodes, kinds,
 * citations. */
#include <math.h>
#include <string.h>

#include "plugin/registry.h"
#include "results.h"

typedef struct shape {
    ql_ctx *cx;
    const ql_graph *g;
    ql_result_set *set;
    const char **references;
    int64_t count, capacity;
} shape;

static const char *
copy(ql_ctx *cx, const char *text)
{
    return text ? ql_copy_text(cx, text, strlen(text)) : NULL;
}

static bool
known(const shape *s, const char *reference)
{
    for (int64_t i = 0; i < s->count; i++)
        if (strcmp(s->references[i], reference) == 0)
            return true;
    return false;
}

static ql_status
add_reference(shape *s, const char *reference)
{
    const char **item;

    if (!reference)
        return QL_MEMORY;
    if (known(s, reference))
        return QL_OK;
    item = ql_results_append(s->cx, &s->references, &s->count, &s->capacity, sizeof *item);
    if (!item)
        return QL_MEMORY;
    *item = copy(s->cx, reference);
    return *item ? QL_OK : QL_MEMORY;
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
add_parameters(shape *s, int64_t stage)
{
    for (int64_t i = 0; i < s->g->cell_count; i++) {
        const ql_node *n = s->g->cells[i].stages[stage], *before = i ? s->g->cells[i - 1].stages[stage] : NULL;

        if (!n || (before && n->plugin == before->plugin))
            continue;
        for (const ql_param *p = n->plugin->params; p && p->type != QL_T_END; p++) {
            const char *reference = ql_format(s->cx, "%s.%s", s->g->stage_names[stage], p->name);

            if (!reference)
                return QL_MEMORY;
            if (!known(s, reference) && varies(s, reference))
                QL_TRY(s->cx, add_reference(s, reference));
        }
    }
    return QL_OK;
}

static ql_status
add_references(shape *s)
{
    const ql_graph *g = s->g;

    for (int64_t i = 0; i < g->axis_count; i++)
        QL_TRY(s->cx, add_reference(s, g->axes[i].key));
    s->set->axis_count = s->count;
    for (int64_t i = 0; i < g->stage_count; i++)
        QL_TRY(s->cx, add_reference(s, ql_format(s->cx, "%s.use", g->stage_names[i])));
    for (int64_t i = 0; i < g->table.row_count; i++)
        QL_TRY(s->cx, add_reference(s, g->table.rows[i]));
    for (int64_t i = 0; i < g->table.column_count; i++)
        QL_TRY(s->cx, add_reference(s, g->table.columns[i]));
    for (int64_t i = 0; i < g->stage_count; i++)
        QL_TRY(s->cx, add_parameters(s, i));
    s->set->references = s->references;
    s->set->reference_count = s->count;
    return QL_OK;
}

/* Labels are copied, for the set outlives the graph. */
static const char **
label_cell(shape *s, const ql_cell *cell)
{
    const char **labels = ql_alloc(s->cx, (size_t)s->count, sizeof *labels);

    for (int64_t i = 0; labels && i < s->count; i++) {
        const char *label = ql_cell_label(s->cx, s->g, cell, s->references[i]);

        labels[i] = copy(s->cx, label);
        if (label && !labels[i])
            return NULL;
    }
    return labels;
}

static const ql_node *
base_model(const ql_node *n)
{
    while (n && n->plugin->kind != QL_MODEL)
        n = ql_node_input(n, "model");
    return n;
}

/* Do both cells measure the same original model in the same way? */
static bool
same_original(const ql_graph *g, const ql_cell *a, const ql_cell *b)
{
    for (int64_t i = 0; i < g->stage_count; i++) {
        const ql_node *x = a->stages[i], *y = b->stages[i];

        if (x == y || !((x && x->plugin->kind == QL_EVALUATOR) || (y && y->plugin->kind == QL_EVALUATOR)))
            continue;
        if (!x || !y || strcmp(x->canonical, y->canonical) != 0 || base_model(x) != base_model(y) ||
            ql_node_input(x, "data") != ql_node_input(y, "data"))
            return false;
    }
    return true;
}

static ql_status
add_baselines(shape *s)
{
    ql_result_set *set = s->set;
    const ql_graph *g = s->g;
    int64_t cells = set->cell_count;

    for (int64_t i = 0; i < cells && g->baseline; i++) {
        for (int64_t k = 0; k < i && set->cells[i].original < 0; k++)
            if (same_original(g, &g->cells[i], &g->cells[k]))
                set->cells[i].original = set->cells[k].original;
        if (set->cells[i].original < 0) {
            const char **labels = ql_alloc(s->cx, (size_t)s->count, sizeof *labels);

            if (!labels)
                return QL_MEMORY;
            set->cells[i].original = set->cell_count;
            set->cells[set->cell_count++] =
                (ql_result_cell){.baseline = true, .original = -1, .labels = labels, .bits = NAN};
        }
    }
    return QL_OK;
}

/* The label that all cells of baseline `b` share; NULL when they differ. */
static const char *
common_label(const ql_result_set *set, int64_t b, int64_t reference)
{
    const char *label = NULL;
    bool first = true;

    for (int64_t i = 0; i < set->cell_count; i++) {
        const ql_result_cell *c = &set->cells[i];

        if (c->original != b)
            continue;
        if (!first && !same_label(label, c->labels[reference]))
            return NULL;
        label = c->labels[reference];
        first = false;
    }
    return label;
}

/* A baseline keeps the labels that tell it from another baseline; under all other references it is "original". */
static void
label_baselines(const ql_result_set *set, int64_t first)
{
    for (int64_t r = 0; r < set->reference_count; r++) {
        const char *before = common_label(set, first, r);
        bool tells = before != NULL, differs = false;

        for (int64_t b = first; b < set->cell_count && tells; b++) {
            const char *label = common_label(set, b, r);

            tells = label != NULL;
            differs = differs || !same_label(label, before);
        }
        for (int64_t b = first; b < set->cell_count; b++) {
            const char *label = tells && differs ? common_label(set, b, r) : QL_ORIGINAL_LABEL;

            set->cells[b].labels[r] = label;
        }
    }
}

static ql_status
add_cells(shape *s)
{
    const ql_graph *g = s->g;
    ql_result_set *set = s->set;

    set->cell_capacity = 2 * g->cell_count;
    set->cells = ql_alloc(s->cx, (size_t)set->cell_capacity, sizeof *set->cells);
    if (!set->cells)
        return QL_MEMORY;
    for (int64_t i = 0; i < g->cell_count; i++) {
        const char **labels = label_cell(s, &g->cells[i]);

        if (!labels)
            return QL_MEMORY;
        set->cells[set->cell_count++] = (ql_result_cell){.labels = labels, .original = -1, .bits = NAN};
    }
    QL_TRY(s->cx, add_baselines(s));
    if (set->cell_count > g->cell_count)
        label_baselines(set, g->cell_count);
    return QL_OK;
}

static ql_status
add_cites(shape *s)
{
    const ql_graph *g = s->g;
    ql_result_set *set = s->set;

    set->cite_capacity = g->cell_count * g->stage_count;
    set->cites = ql_alloc(s->cx, (size_t)set->cite_capacity, sizeof *set->cites);
    if (!set->cites)
        return QL_MEMORY;
    for (int64_t i = 0; i < g->cell_count; i++) {
        for (int64_t k = 0; k < g->stage_count; k++) {
            const ql_node *n = g->cells[i].stages[k];
            ql_result_cite cite;
            bool seen = false;

            if (!n || !n->plugin->cite)
                continue;
            cite = (ql_result_cite){.stage = copy(s->cx, g->stage_names[k]), .plugin = copy(s->cx, n->plugin->name)};
            cite.cite = copy(s->cx, n->plugin->cite);
            cite.label = copy(s->cx, ql_cell_label(s->cx, g, &g->cells[i], ql_format(s->cx, "%s.use", cite.stage)));
            for (int64_t j = 0; j < set->cite_count; j++)
                seen = seen ||
                       (strcmp(set->cites[j].stage, cite.stage) == 0 && same_label(set->cites[j].label, cite.label));
            if (!cite.stage || !cite.plugin || !cite.cite || !cite.label)
                return QL_MEMORY;
            if (!seen)
                set->cites[set->cite_count++] = cite;
        }
    }
    return QL_OK;
}

static ql_status
add_node(shape *s, const ql_node *n)
{
    ql_result_node *to = &s->set->nodes[n->id];

    *to = (ql_result_node){.stage = copy(s->cx, n->name),
                           .kind = copy(s->cx, ql_kind_name(n->plugin->kind)),
                           .label = copy(s->cx, n->label),
                           .edge_count = n->input_count,
                           .edge_capacity = n->input_count};
    to->edges = ql_alloc(s->cx, (size_t)n->input_count, sizeof *to->edges);
    if (!to->stage || !to->kind || !to->label || !to->edges)
        return QL_MEMORY;
    for (int64_t i = 0; i < n->input_count; i++) {
        to->edges[i] = (ql_result_edge){.port = copy(s->cx, n->inputs[i].port), .from = n->inputs[i].from->id};
        if (!to->edges[i].port)
            return QL_MEMORY;
    }
    return QL_OK;
}

static ql_status
add_nodes(shape *s)
{
    const ql_graph *g = s->g;
    ql_result_set *set = s->set;
    const int64_t *cells = ql_graph_cells(s->cx, g);

    set->nodes = ql_alloc(s->cx, (size_t)g->node_count, sizeof *set->nodes);
    if (!set->nodes || !cells)
        return QL_MEMORY;
    set->node_count = set->node_capacity = g->node_count;
    for (int64_t i = 0; i < g->node_count; i++) {
        QL_TRY(s->cx, add_node(s, g->nodes[i]));
        set->nodes[i].cells = cells[i];
    }
    return QL_OK;
}

static ql_status
add_kind(shape *s, const char *stage, const ql_metric_kind *from)
{
    ql_result_set *set = s->set;
    ql_result_kind *to;

    if (ql_results_kind(set, stage, from->name))
        return QL_OK;
    to = ql_results_append(s->cx, &set->kinds, &set->kind_count, &set->kind_capacity, sizeof *to);
    if (!to)
        return QL_MEMORY;
    *to = (ql_result_kind){.stage = copy(s->cx, stage),
                           .name = copy(s->cx, from->name),
                           .unit = copy(s->cx, from->unit),
                           .parts = copy(s->cx, from->parts),
                           .better = from->better,
                           .exp = from->exp};
    return to->stage && to->name && (to->unit || !from->unit) && (to->parts || !from->parts) ? QL_OK : QL_MEMORY;
}

/* By the names of the stages as cells know them: variants of one stage may be different evaluators. */
static ql_status
add_kinds(shape *s)
{
    const ql_graph *g = s->g;

    for (int64_t c = 0; c < g->cell_count; c++)
        for (int64_t k = 0; k < g->stage_count; k++) {
            const ql_node *n = g->cells[c].stages[k];
            const bool evaluates = n && n->plugin->kind == QL_EVALUATOR;

            for (const ql_metric_kind *m = evaluates ? n->plugin->evaluator->metrics : NULL; m && m->name; m++)
                QL_TRY(s->cx, add_kind(s, g->stage_names[k], m));
        }
    return QL_OK;
}

static const char *const *
copy_list(ql_ctx *cx, const char *const *from, int64_t count)
{
    const char **to = ql_alloc(cx, (size_t)count, sizeof *to);

    for (int64_t i = 0; to && i < count; i++)
        if (!(to[i] = copy(cx, from[i])))
            return NULL;
    return to;
}

static ql_status
copy_table(ql_ctx *cx, const ql_table_spec *from, ql_table_spec *to)
{
    *to = (ql_table_spec){.row_count = from->row_count, .column_count = from->column_count};
    to->rows = copy_list(cx, from->rows, from->row_count);
    to->columns = copy_list(cx, from->columns, from->column_count);
    to->value = copy(cx, from->value);
    return to->rows && to->columns && (to->value || !from->value) ? QL_OK : QL_MEMORY;
}

static ql_status
fill(ql_ctx *cx, const ql_graph *g, const char *run, ql_result_set *set)
{
    shape s = {.cx = cx, .g = g, .set = set};

    set->run = ql_copy_text(cx, run, strlen(run));
    if (!set->run)
        return QL_MEMORY;
    QL_TRY(cx, copy_table(cx, &g->table, &set->table));
    QL_TRY(cx, add_references(&s));
    QL_TRY(cx, add_cells(&s));
    QL_TRY(cx, add_nodes(&s));
    QL_TRY(cx, add_kinds(&s));
    return add_cites(&s);
}

ql_status
ql_results_init(ql_ctx *cx, const ql_graph *g, const char *run, ql_result_set *set)
{
    *set = (ql_result_set){0};
    ql_scope_enter(cx, &set->memory);
    return ql_scope_leave(cx, &set->memory, fill(cx, g, run, set));
}
