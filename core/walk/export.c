/* Exporters inside the walk: checked before anything runs, handed every finished linear, ended after the last block. What they share
 * with evaluators is in evaluate.c. */
#include <ctype.h>
#include <string.h>

#include "plugin/registry.h"
#include "walk.h"

static const ql_exporter *
exporter(const ql_eval *e)
{
    return e->node->plugin->kind == QL_EXPORTER ? e->node->plugin->exporter : NULL;
}

/* --- where to ----------------------------------------------------------------------------------------------------------- */

/* The stage that became node `n`: position in the graph's stages; -1: an anonymous one. */
static int64_t
stage_of(const ql_graph *g, const ql_node *n)
{
    for (int64_t s = 0; s < g->stage_count; s++)
        for (int64_t c = 0; c < g->cell_count; c++)
            if (g->cells[c].stages[s] == n)
                return s;
    return -1;
}

/* Is the node the same in all cells that have it? */
static bool
is_alone(const ql_graph *g, int64_t s, const ql_node *n)
{
    for (int64_t c = 0; s >= 0 && c < g->cell_count; c++)
        if (g->cells[c].stages[s] && g->cells[c].stages[s] != n)
            return false;
    return true;
}

/* The label that all cells of the node share on axis i; NULL: they have several, so the axis does not concern it. */
static const char *
label_on(const ql_graph *g, int64_t s, const ql_node *n, int64_t i)
{
    int64_t at = -1;

    for (int64_t c = 0; c < g->cell_count; c++) {
        if (g->cells[c].stages[s] != n)
            continue;
        if (at >= 0 && at != g->cells[c].at[i])
            return NULL;
        at = g->cells[c].at[i];
    }
    return at < 0 ? NULL : g->axes[i].labels[at];
}

/* "gptq-3": the labels that tell the node's cells from others, in letters that every file system takes. Letters that were replaced
 * could make two names one, so the node's key follows. */
static const char *
cell_name(ql_ctx *cx, const ql_graph *g, int64_t s, const ql_node *n)
{
    const char *name = "";
    char *text;
    bool replaced = false;

    for (int64_t i = 0; i < g->axis_count && name; i++) {
        const char *label = label_on(g, s, n, i);

        if (label)
            name = ql_format(cx, "%s%s%s", name, *name ? "-" : "", label);
    }
    text = name ? ql_alloc(cx, strlen(name) + 1, 1) : NULL;
    if (!text)
        return NULL;
    memcpy(text, name, strlen(name));
    for (char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-=", *p)) {
            *p = '_';
            replaced = true;
        }
    return replaced || !*text || *text == '.' ? ql_format(cx, "%s-%08llx", text, (unsigned long long)n->key[0] >> 32)
                                              : text;
}

/* The export's folder, in the innermost scope. */
static ql_status
folder_of(const ql_walk *w, const ql_eval *e, const char **out)
{
    const int64_t s = stage_of(w->graph, e->node);
    const char *path = ql_param_text(e->node->plugin, e->node->self, "path");

    if (!*path)
        path = e->node->name;
    *out = *path == '/' ? path : ql_format(w->cx, "%s/%s", w->folder ? w->folder : ".", path);
    if (*out && !is_alone(w->graph, s, e->node)) {
        const char *cell = cell_name(w->cx, w->graph, s, e->node);

        *out = cell ? ql_format(w->cx, "%s/%s", *out, cell) : NULL;
    }
    return *out ? QL_OK : QL_MEMORY;
}

/* Folder of an export that holds the model that an adapter of `e` stands on: of the same path or, where the compensator leaves the
 * quantizer's codes alone, of the quantizer's. */
static ql_status
base_of(const ql_walk *w, const ql_eval *e, const char **out)
{
    const ql_path *mine = &w->plan->paths[e->path];

    *out = ql_source_folder(w->model->source);
    for (int64_t i = 0; i < w->plan->eval_count; i++) {
        const ql_eval *o = &w->plan->evals[i];
        const ql_path *path = &w->plan->paths[o->path];
        const bool bare = path->quantizer == mine->quantizer && !path->compensator && mine->compensator &&
                          !mine->compensator->node->plugin->compensator->couples;

        if (o != e && exporter(o) && exporter(o)->base && (o->path == e->path || bare))
            return folder_of(w, o, out);
    }
    return QL_OK;
}

static ql_status
check_folders(const ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->eval_count; i++)
        for (int64_t k = 0; k < i; k++) {
            const ql_eval *a = &w->plan->evals[k], *b = &w->plan->evals[i];
            const char *first, *second;

            if (!exporter(a) || !exporter(b))
                continue;
            QL_TRY(w->cx, folder_of(w, a, &first));
            QL_TRY(w->cx, folder_of(w, b, &second));
            if (strcmp(first, second) == 0)
                return QL_FAIL(w->cx, QL_INVALID, "stage '%s': stage '%s' exports to %s already", b->node->name,
                               a->node->name, first);
        }
    return QL_OK;
}

/* --- before anything runs --------------------------------------------------------------------------------------------------- */

static ql_status
check_linear(ql_walk *w, const ql_eval *e, int64_t layer, int l)
{
    const ql_unit *q = w->plan->paths[e->path].quantizer;
    const ql_linear_info *info = &w->model->info.linears[l];
    const char *prefix = ql_format(w->cx, w->model->info.block_prefix, (long long)layer);
    ql_planned_linear in = {.out = info->out, .in = info->in, .skipped = true};
    ql_status st;

    in.name = prefix ? ql_format(w->cx, "%s%s", prefix, info->name) : NULL;
    if (!in.name)
        return QL_MEMORY;
    if (q) {
        const ql_override *o = ql_override_of(q->node, in.name);

        in.skipped = o && o->skip;
        if (!in.skipped) {
            const ql_described d = ql_describe(q->node->plugin, o ? o->self : q->node->self, info->in);

            in.bits = d.grid.bits;
            in.group = d.grid.group;
            in.scales = d.grid.scale_dtype;
        }
    }
    st = exporter(e)->check(w->cx, e->node->self, &in);
    return st == QL_OK ? st : ql_where(w->cx, st, "stage '%s' (%s): %s", e->node->name, e->node->plugin->name, in.name);
}

ql_status
ql_exports_check(ql_walk *w)
{
    QL_TRY(w->cx, check_folders(w));
    for (int64_t i = 0; i < w->plan->eval_count; i++)
        for (int64_t layer = 0; layer < w->model->info.layers; layer++)
            for (int l = 0; exporter(&w->plan->evals[i]) && l < w->model->info.linear_count; l++) {
                ql_scope scope;

                ql_scope_open(w->cx, &scope);
                if (exporter(&w->plan->evals[i])->check)
                    QL_TRY(w->cx, check_linear(w, &w->plan->evals[i], layer, l));
                ql_scope_close(w->cx, &scope);
            }
    return QL_OK;
}

/* --- the walk ------------------------------------------------------------------------------------------------------------------ */

static const char *
recipe_of(const ql_walk *w, const ql_eval *e)
{
    const ql_path *p = &w->plan->paths[e->path];

    if (!p->quantizer)
        return "original";
    return p->compensator ? ql_format(w->cx, "%s | %s", p->quantizer->node->label, p->compensator->node->label)
                          : p->quantizer->node->label;
}

/* In the scope of what `begin` allocates, which is the evaluation's. */
ql_status
ql_export_begin(ql_walk *w, ql_evaluation *e)
{
    const ql_exporter *x = exporter(e->plan);
    ql_export_info info = {.model = &w->model->info, .config = ql_source_config(w->model->source)};

    QL_TRY(w->cx, folder_of(w, e->plan, &info.folder));
    QL_TRY(w->cx, base_of(w, e->plan, &info.base));
    info.recipe = recipe_of(w, e->plan);
    e->state = ql_alloc(w->cx, 1, x->state_size ? x->state_size : 1);
    if (!info.recipe || !e->state)
        return QL_MEMORY;
    e->recipe = info.recipe;
    QL_TRY(w->cx, ql_export_open(w->cx, info.folder, w->model, &e->files));
    info.files = e->files;
    return x->begin(w->cx, e->plan->node->self, &info, e->state);
}

ql_status
ql_export_end(ql_walk *w, ql_evaluation *e)
{
    QL_TRY(w->cx, exporter(e->plan)->end(w->cx, e->plan->node->self, e->state, &e->facts));
    return ql_export_finish(w->cx, e->files, e->recipe, &e->facts);
}
