/* A model folder and the plugin that understands it: the lookup behind `use: auto`, and a look at every tensor's
 * header. */
#include "open_model.h"

#include <string.h>

#include "../base/json.h"

/* --- which plugin ----------------------------------------------------------------------------------------------- */

typedef struct identity { /* what config.json says; NULL: nothing */
    const char *architecture, *type;
} identity;

static ql_status
identify(ql_ctx *cx, const ql_json *config, identity *out)
{
    const ql_json *list = ql_json_member(config, "architectures");

    if (list && !ql_json_is_array(list))
        return ql_json_expected(cx, list, "an array of architectures");
    out->architecture = ql_json_string(ql_json_item(list, 0));
    if (ql_json_length(list) > 0 && !out->architecture)
        return ql_json_expected(cx, ql_json_item(list, 0), "the name of an architecture");
    QL_TRY(cx, ql_json_text(cx, config, "model_type", NULL, &out->type));
    if (!out->architecture && !out->type)
        return QL_FAIL(cx, QL_INVALID,
                       "config.json: neither 'architectures' nor 'model_type' says which model this is");
    return QL_OK;
}

static bool
is_among(const char *const *list, const char *word)
{
    for (; word && list && *list; list++)
        if (strcmp(*list, word) == 0)
            return true;
    return false;
}

static const ql_plugin *
model_plugin(const ql_registry *registry, int64_t i)
{
    const ql_plugin *p = ql_registry_item(registry, i)->plugin;

    return p && p->kind == QL_MODEL ? p : NULL;
}

static ql_status
fail_unknown(ql_ctx *cx, const ql_registry *registry, const identity *id)
{
    const char *known = "", *key = id->architecture ? "architectures" : "model_type";

    for (int64_t i = 0; i < ql_registry_count(registry); i++) {
        const ql_plugin *p = model_plugin(registry, i);

        for (const char *const *a = p ? p->model->architectures : NULL; known && a && *a; a++)
            known = ql_format(cx, "%s%s%s", known, *known ? ", " : "", *a);
    }
    if (!known)
        return QL_MEMORY;
    return QL_FAIL(cx, QL_UNSUPPORTED, "config.json: '%s': no plugin for '%s'; known: %s", key,
                   id->architecture ? id->architecture : id->type,
                   *known ? known : "none, for no model plugin was found");
}

static ql_status
choose(ql_ctx *cx, const ql_registry *registry, const identity *id, const ql_plugin **out)
{
    const ql_plugin *by_type = NULL;

    for (int64_t i = 0; i < ql_registry_count(registry); i++) {
        const ql_plugin *p = model_plugin(registry, i);

        if (p && is_among(p->model->architectures, id->architecture)) {
            *out = p;
            return QL_OK;
        }
        if (p && !by_type && is_among(p->model->types, id->type))
            by_type = p;
    }
    if (!by_type)
        return fail_unknown(cx, registry, id);
    if (id->architecture)
        ql_warn(cx, "config.json: architecture '%s' is not known; read as '%s' for its model_type '%s'",
                id->architecture, by_type->name, id->type);
    *out = by_type;
    return QL_OK;
}

ql_status
ql_model_choose(ql_ctx *cx, const ql_registry *registry, const ql_json *config, const ql_plugin **out)
{
    identity id = {0};

    QL_TRY(cx, identify(cx, config, &id));
    return choose(cx, registry, &id, out);
}

/* Parameters of a plugin that nobody named: defaults, and the folder as its `path`. */
static ql_status
default_self(ql_ctx *cx, const ql_plugin *plugin, const char *path, const void **out)
{
    const ql_param *row = ql_param_find(plugin, "path");
    void *self = ql_alloc(cx, 1, plugin->self_size);

    if (!self)
        return QL_MEMORY;
    ql_param_defaults(plugin, self);
    if (row)
        QL_TRY(cx, ql_param_set(cx, row, &(ql_value){.text = path}, NULL, self));
    *out = self;
    return QL_OK;
}

/* --- are its tensors there -------------------------------------------------------------------------------------- */

typedef struct checking {
    ql_ctx *cx;
    const ql_source *source;
    bool *seen; /* by the source's index */
} checking;

static void
see(const checking *c, const char *name)
{
    int64_t i = ql_source_index(c->source, name);

    if (i >= 0)
        c->seen[i] = true;
}

static ql_status
check_tensor(const checking *c, const ql_want *want)
{
    QL_TRY(c->cx, ql_source_check(c->cx, c->source, want));
    see(c, want->name);
    return QL_OK;
}

/* Everything below `prefix`, the block's part of a tensor's name. */
static ql_status
check_block(const checking *c, const ql_model_info *info, const char *prefix)
{
    ql_want want = {0};

    for (int i = 0; i < info->linear_count; i++) {
        const ql_linear_info *l = &info->linears[i];

        want = (ql_want){.ndim = 2, .dims = {l->out, l->in}, .name = ql_format(c->cx, "%s%s.weight", prefix, l->name)};
        if (!want.name)
            return QL_MEMORY;
        QL_TRY(c->cx, check_tensor(c, &want));
        want = (ql_want){.ndim = 1, .dims = {l->out}, .name = ql_format(c->cx, "%s%s.bias", prefix, l->name)};
        if (!want.name)
            return QL_MEMORY;
        if (l->bias)
            QL_TRY(c->cx, check_tensor(c, &want));
    }
    for (int i = 0; i < info->small_count; i++) {
        want = (ql_want){.ndim = 1, .dims = {info->smalls[i].size}};
        want.name = ql_format(c->cx, "%s%s", prefix, info->smalls[i].name);
        if (!want.name)
            return QL_MEMORY;
        QL_TRY(c->cx, check_tensor(c, &want));
    }
    for (const char *const *name = info->ignored; name && *name; name++) {
        const char *whole = ql_format(c->cx, "%s%s", prefix, *name);

        if (!whole)
            return QL_MEMORY;
        see(c, whole);
    }
    return QL_OK;
}

static ql_status
check_ends(const checking *c, const ql_model_info *info)
{
    const ql_st_tensor *copy = info->head_copy ? ql_source_find(c->source, info->head_copy) : NULL;
    ql_want want = {.name = info->embed, .ndim = 2, .dims = {info->vocab, info->hidden}};

    QL_TRY(c->cx, check_tensor(c, &want));
    want.name = info->head;
    QL_TRY(c->cx, check_tensor(c, &want));
    want = (ql_want){.name = info->norm, .ndim = 1, .dims = {info->hidden}};
    QL_TRY(c->cx, check_tensor(c, &want));
    if (!copy)
        return QL_OK;
    see(c, copy->name);
    if (!ql_source_equal(copy, ql_source_find(c->source, info->embed)))
        ql_warn(c->cx, "%s: %s differs from %s, to which the config ties it; the latter is used",
                ql_source_folder(c->source), copy->name, info->embed);
    return QL_OK;
}

static ql_status
check_blocks(const checking *c, const ql_model_info *info)
{
    ql_status st = QL_OK;

    for (int64_t i = 0; i < info->layers && st == QL_OK; i++) {
        ql_scope scope;
        const char *prefix;

        ql_scope_open(c->cx, &scope);
        prefix = ql_format(c->cx, info->block_prefix, (long long)i);
        st = prefix ? check_block(c, info, prefix) : QL_MEMORY;
        ql_scope_close(c->cx, &scope);
    }
    return st;
}

static void
warn_unknown(const checking *c)
{
    const char *first = NULL;
    int64_t unknown = 0;

    for (int64_t i = ql_source_count(c->source); i-- > 0;)
        if (!c->seen[i]) {
            unknown++;
            first = ql_source_item(c->source, i)->name;
        }
    if (unknown > 0)
        ql_warn(c->cx, "%s: %lld tensor%s that this architecture does not use, the first is %s",
                ql_source_folder(c->source), (long long)unknown, unknown == 1 ? "" : "s", first);
}

static ql_status
check_tensors(ql_ctx *cx, const ql_source *source, const ql_model_info *info)
{
    checking c = {.cx = cx, .source = source};

    c.seen = ql_alloc(cx, (size_t)ql_source_count(source), sizeof *c.seen);
    if (!c.seen)
        return QL_MEMORY;
    QL_TRY(cx, check_ends(&c, info));
    QL_TRY(cx, check_blocks(&c, info));
    warn_unknown(&c);
    return QL_OK;
}

/* --- opening ---------------------------------------------------------------------------------------------------- */

static ql_status
open_with_plugin(ql_ctx *cx, const ql_registry *registry, const char *path, ql_model_handle *m)
{
    const ql_json *config = ql_source_config(m->source);
    identity id;

    QL_TRY(cx, identify(cx, config, &id));
    if (!m->plugin) {
        QL_TRY(cx, choose(cx, registry, &id, &m->plugin));
        QL_TRY(cx, default_self(cx, m->plugin, path, &m->self));
    } else if (!is_among(m->plugin->model->architectures, id.architecture) &&
               !is_among(m->plugin->model->types, id.type)) {
        ql_warn(cx, "config.json: '%s' is not a model of plugin '%s', which reads it all the same",
                id.architecture ? id.architecture : id.type, m->plugin->name);
    }
    QL_TRY(cx, m->plugin->model->open(cx, m->self, m->source, &m->info));
    if (m->info.layers < 1 || m->info.hidden < 1 || m->info.vocab < 1 || m->info.subsets < 1)
        return QL_FAIL(cx, QL_INVALID, "plugin '%s' sees %lld blocks of %d subsets, hidden size %lld, vocabulary %lld",
                       m->plugin->name, (long long)m->info.layers, m->info.subsets, (long long)m->info.hidden,
                       (long long)m->info.vocab);
    return QL_OK;
}

ql_status
ql_model_open(ql_ctx *cx, ql_registry *registry, const ql_plugin *plugin, const void *self, const char *path,
              ql_model_handle *out)
{
    ql_status st;

    *out = (ql_model_handle){.plugin = plugin, .self = self};
    QL_TRY(cx, ql_source_open(cx, path, &out->source));
    st = open_with_plugin(cx, registry, path, out);
    if (st == QL_OK)
        st = check_tensors(cx, out->source, &out->info);
    if (st == QL_OK)
        return QL_OK;
    st = ql_where(cx, st, "%s", ql_source_folder(out->source));
    ql_model_close(out);
    return st;
}

void
ql_model_close(ql_model_handle *m)
{
    ql_source_close(m->source);
    *m = (ql_model_handle){0};
}
