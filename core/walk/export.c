/* Exporters inside the walk: checked before anything runs, handed every finished linear, ended after the last block. What they share
 * with evaluators is in sink.c. */
#include <string.h>

#include "base/path.h"
#include "export/folder.h"
#include "plugin/registry.h"
#include "walk.h"

static const ql_exporter *
exporter(const ql_sink *e)
{
    return e->stage->plugin->kind == QL_EXPORTER ? e->stage->plugin->exporter : NULL;
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

/* The labels that tell the node's cells from others, "3-64", in letters that every file system takes. Letters that were replaced could
 * make two names one, so the node's key follows. */
static const char *
cell_name(ql_ctx *cx, const ql_graph *g, int64_t s, const ql_node *n)
{
    const char *name = "", *text;
    bool replaced = false;

    for (int64_t i = 0; i < g->axis_count && name; i++) {
        const char *label = label_on(g, s, n, i);

        if (label)
            name = ql_format(cx, "%s%s%s", name, *name ? "-" : "", label);
    }
    text = name ? ql_safe_name(cx, name, &replaced) : NULL;
    return text && (replaced || !*text) ? ql_format(cx, "%s-%08llx", text, (unsigned long long)n->key[0] >> 32) : text;
}

/* The export's folder, from the root, so that it holds wherever its name is used; in the innermost scope. */
static ql_status
folder_of(const ql_walk *w, const ql_sink *e, const char **out)
{
    const int64_t s = stage_of(w->graph, e->stage);
    const char *path = ql_param_text(e->stage->plugin, e->stage->self, "path");

    if (!*path)
        path = e->stage->name;
    *out = ql_path_from(w->cx, w->folder ? w->folder : ".", path);
    if (*out && !is_alone(w->graph, s, e->stage)) {
        const char *cell = cell_name(w->cx, w->graph, s, e->stage);

        *out = cell ? ql_format(w->cx, "%s/%s", *out, cell) : NULL;
    }
    return *out ? ql_path_resolve(w->cx, *out, out) : QL_MEMORY;
}

/* Has `v` the weights of `base`, whatever their adapters? A trainer leaves them as they are, as does a compensator that does not couple. */
static bool
stands_on(const ql_variant *v, const ql_variant *base)
{
    while (v != base) {
        const ql_plugin *const p = v->stage->plugin;

        if (p->kind != QL_TRAINER && (p->kind != QL_COMPENSATOR || p->compensator->couples))
            return false;
        v = v->parent;
    }
    return true;
}

/* Folder of an export that holds the model that an adapter of `e` stands on: that of the same variant, or of one before it with the same
 * weights. */
static ql_status
base_of(const ql_walk *w, const ql_sink *e, const char **out, bool *exported)
{
    for (int64_t i = 0; i < w->plan->sink_count; i++) {
        const ql_sink *o = &w->plan->sinks[i];

        if (o != e && exporter(o) && exporter(o)->base && stands_on(e->of, o->of)) {
            *exported = true;
            return folder_of(w, o, out);
        }
    }
    *exported = false;
    return ql_path_resolve(w->cx, ql_source_folder(w->model->source), out);
}

/* Two exports in one folder, or one in the folder of the other, would destroy each other. */
static ql_status
check_apart(const ql_walk *w, const ql_sink *e, const char *folder)
{
    const size_t n = strlen(folder);
    const char *other;

    for (const ql_sink *o = w->plan->sinks; o != e; o++) {
        size_t m;

        if (!exporter(o))
            continue;
        QL_TRY(w->cx, folder_of(w, o, &other));
        m = strlen(other);
        if (strcmp(folder, other) == 0)
            return QL_FAIL(w->cx, QL_INVALID, "stage '%s': stage '%s' exports to %s already", e->stage->name,
                           o->stage->name, other);
        if (strncmp(folder, other, n < m ? n : m) == 0 && (n < m ? other[n] : folder[m]) == '/')
            return QL_FAIL(w->cx, QL_INVALID,
                           "stage '%s': stage '%s' exports to %s: one export can't lie in the folder of another",
                           e->stage->name, o->stage->name, other);
    }
    return QL_OK;
}

/* No file that the run reads may lie where the export goes. */
static ql_status
check_input(const ql_walk *w, const ql_sink *e, const char *folder, const char *path, const char *whose)
{
    ql_path_info at;
    bool within;

    QL_TRY(w->cx, ql_path_look(w->cx, path, &at));
    if (at.type == QL_PATH_NONE)
        return QL_OK;
    QL_TRY(w->cx, ql_path_within(w->cx, path, folder, &within));
    return within ? QL_FAIL(w->cx, QL_INVALID,
                            "stage '%s': it would export to %s, from which %s reads %s: name another folder",
                            e->stage->name, folder, whose, path)
                  : QL_OK;
}

/* The paths that a stage's parameters name. */
static ql_status
check_paths(const ql_walk *w, const ql_sink *e, const char *folder, const ql_node *n, const void *self)
{
    const char *whose = ql_format(w->cx, "stage '%s'", n->name ? n->name : n->plugin->name);

    if (!whose)
        return QL_MEMORY;
    for (const ql_param *p = n->plugin->params; p && p->type != QL_T_END; p++) {
        const char *path = p->type == QL_T_PATH ? ql_param_text(n->plugin, self, p->name) : "";

        if (*path)
            QL_TRY(w->cx, check_input(w, e, folder, path, whose));
    }
    return QL_OK;
}

static ql_status
check_inputs(const ql_walk *w, const ql_sink *e, const char *folder)
{
    QL_TRY(w->cx, check_input(w, e, folder, ql_source_folder(w->model->source), "the model"));
    QL_TRY(w->cx, check_input(w, e, folder, w->graph->file, "the run"));
    for (int64_t i = 0; i < ql_registry_count(w->registry); i++) {
        const ql_found *found = ql_registry_item(w->registry, i);

        QL_TRY(w->cx, check_input(w, e, folder, found->file ? found->file : "", "the program"));
    }
    for (int64_t i = 0; i < w->graph->node_count; i++) {
        const ql_node *n = w->graph->nodes[i];

        QL_TRY(w->cx, check_paths(w, e, folder, n, n->self));
        for (int64_t k = 0; k < n->override_count; k++)
            if (!n->overrides[k].skip)
                QL_TRY(w->cx, check_paths(w, e, folder, n, n->overrides[k].self));
    }
    return QL_OK;
}

static ql_status
check_folder(const ql_walk *w, const ql_sink *e)
{
    const char *folder;

    QL_TRY(w->cx, folder_of(w, e, &folder));
    QL_TRY(w->cx, check_apart(w, e, folder));
    if (!w->folder) /* a rehearsal does not know where it would run */
        return QL_OK;
    QL_TRY(w->cx, check_inputs(w, e, folder));
    return ql_target_check(w->cx, folder);
}

/* --- before anything runs --------------------------------------------------------------------------------------------------- */

ql_status
ql_exports_check(ql_walk *w)
{
    for (int64_t i = 0; i < w->plan->sink_count; i++)
        if (exporter(&w->plan->sinks[i]))
            QL_TRY(w->cx, check_folder(w, &w->plan->sinks[i]));
    for (int64_t i = 0; i < w->plan->sink_count; i++)
        if (exporter(&w->plan->sinks[i]))
            QL_TRY(w->cx, ql_export_check(w->cx, w->plan->sinks[i].stage, &w->model->info));
    return QL_OK;
}

/* --- the walk ------------------------------------------------------------------------------------------------------------------ */

/* "NAME bits=3 | NAME rank=32" */
static const char *
recipe_of(const ql_walk *w, const ql_variant *v)
{
    const char *before;

    if (!v->parent)
        return "original";
    if (!v->parent->parent)
        return v->stage->label;
    before = recipe_of(w, v->parent);
    return before ? ql_format(w->cx, "%s | %s", before, v->stage->label) : NULL;
}

/* In the scope of what `begin` allocates, which is the sink's. */
ql_status
ql_export_begin(ql_walk *w, ql_sink *s)
{
    const ql_exporter *x = exporter(s);
    ql_export_info info = {.model = &w->model->info, .config = ql_source_config(w->model->source)};
    ql_guard guard;

    QL_TRY(w->cx, folder_of(w, s, &info.folder));
    QL_TRY(w->cx, base_of(w, s, &info.base, &info.base_exported));
    info.recipe = recipe_of(w, s->of);
    s->state = ql_alloc(w->cx, 1, x->state_size ? x->state_size : 1);
    if (!info.recipe || !s->state)
        return QL_MEMORY;
    s->recipe = info.recipe;
    QL_TRY(w->cx, ql_export_open(w->cx, info.folder, w->model, &s->files));
    info.files = s->files;
    QL_TRY(w->cx, ql_sink_guard(w, s, NULL, NULL, &guard));
    return ql_guard_close(w->cx, &guard, x->begin(w->cx, s->stage->self, &info, s->state));
}

ql_status
ql_export_end(ql_walk *w, ql_sink *s)
{
    ql_guard guard;

    QL_TRY(w->cx, ql_sink_guard(w, s, NULL, NULL, &guard));
    QL_TRY(w->cx, ql_guard_close(w->cx, &guard, exporter(s)->end(w->cx, s->stage->self, s->state, &s->facts)));
    QL_TRY(w->cx, ql_note_followed(w->cx, &s->facts));
    return ql_export_finish(w->cx, s->files, s->recipe, &s->facts);
}
