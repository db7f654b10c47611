/* A model folder and the plugin that understands it: the lookup behind `use: auto`, and a look at every tensor's
 * header. */
#include "open_model.h"

#include <string.h>

#include "base/json.h"

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
        QL_TRY(cx, ql_follow(cx, "config.json", "architecture '%s' is not known; read as '%s' for its model_type '%s'",
                             id->architecture, by_type->name, id->type));
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

ql_status
ql_model_linear(ql_ctx *cx, const ql_model_handle *m, int64_t layer, int l, bool load, ql_stored_linear *out)
{
    const ql_linear_info *info = &m->info.linears[l];
    ql_linear_at at = {
        .info = &m->info, .source = m->source, .layer = layer, .out = info->out, .in = info->in, .load = load};
    ql_site before;
    ql_status st;

    *out = (ql_stored_linear){.packed = false};
    if (!m->plugin->model->linear)
        return QL_OK;
    at.name = ql_name_in_block(cx, &m->info, layer, info->name);
    if (!at.name)
        return QL_MEMORY;
    before = ql_enter_plugin(cx, m->plugin->name);
    st = m->plugin->model->linear(cx, m->self, &at, out);
    ql_leave(cx, before);
    return st == QL_OK ? st : ql_where(cx, st, "%s", at.name);
}

/* A tensor whose name is made of two parts. */
static ql_status
check_tensor(ql_ctx *cx, const ql_source *source, const char *prefix, const char *name, ql_want want)
{
    ql_want found;

    want.name = ql_format(cx, "%s%s", prefix, name);
    if (!want.name)
        return QL_MEMORY;
    QL_TRY(cx, ql_source_check(cx, source, &want));
    if (ql_source_shape(source, want.name, &found) && found.dtype != QL_F32 && found.dtype != QL_F64 &&
        found.dtype != QL_F16 && found.dtype != QL_BF16)
        return QL_FAIL(cx, QL_UNSUPPORTED,
                       "%s: expected floating point, the file has %s: if the model is quantized, its "
                       "quantization_config is missing",
                       want.name, ql_source_find(source, want.name)->dtype_name);
    return QL_OK;
}

static ql_status
check_linear(ql_ctx *cx, const ql_model_handle *m, int64_t layer, int l, const char *prefix)
{
    const ql_linear_info *info = &m->info.linears[l];
    const char *name = ql_format(cx, "%s%s", prefix, info->name);
    ql_stored_linear stored;

    if (!name)
        return QL_MEMORY;
    QL_TRY(cx, ql_model_linear(cx, m, layer, l, false, &stored));
    if (!stored.packed)
        QL_TRY(cx, check_tensor(cx, m->source, name, ".weight", (ql_want){.ndim = 2, .dims = {info->out, info->in}}));
    return info->bias ? check_tensor(cx, m->source, name, ".bias", (ql_want){.ndim = 1, .dims = {info->out}}) : QL_OK;
}

static ql_status
check_block(ql_ctx *cx, const ql_model_handle *m, int64_t layer)
{
    const ql_model_info *info = &m->info;
    const char *prefix = ql_format(cx, info->block_prefix, (long long)layer);

    if (!prefix)
        return QL_MEMORY;
    for (int l = 0; l < info->linear_count; l++)
        QL_TRY(cx, check_linear(cx, m, layer, l, prefix));
    for (int i = 0; i < info->small_count; i++)
        QL_TRY(cx, check_tensor(cx, m->source, prefix, info->smalls[i].name,
                                (ql_want){.ndim = 1, .dims = {info->smalls[i].size}}));
    for (const char *const *name = info->ignored; name && *name; name++) {
        const char *whole = ql_format(cx, "%s%s", prefix, *name);

        if (!whole)
            return QL_MEMORY;
        ql_source_expect(m->source, whole);
    }
    return QL_OK;
}

/* A head of the file's own is kept where it differs from the embedding that the config ties it to, as transformers and vLLM do. */
static ql_status
keep_head(ql_ctx *cx, ql_model_handle *m, const ql_st_tensor *copy)
{
    ql_source_expect(m->source, m->info.head_copy);
    if (ql_source_equal(copy, ql_source_find(m->source, m->info.embed)))
        return QL_OK;
    QL_TRY(cx, ql_follow(cx, "config.json",
                         "%s differs from %s, to which 'tie_word_embeddings' ties it; it is used, as transformers does",
                         m->info.head_copy, m->info.embed));
    m->info.head = m->info.head_copy;
    m->info.head_copy = NULL;
    m->info.tied = false;
    return QL_OK;
}

static ql_status
check_ends(ql_ctx *cx, ql_model_handle *m)
{
    const ql_st_tensor *copy = m->info.head_copy ? ql_source_find(m->source, m->info.head_copy) : NULL;
    const ql_want table = {.ndim = 2, .dims = {m->info.vocab, m->info.hidden}};

    QL_TRY(cx, check_tensor(cx, m->source, "", m->info.embed, table));
    if (copy)
        QL_TRY(cx, keep_head(cx, m, copy));
    QL_TRY(cx, check_tensor(cx, m->source, "", m->info.head, table));
    return check_tensor(cx, m->source, "", m->info.norm, (ql_want){.ndim = 1, .dims = {m->info.hidden}});
}

static void
warn_unknown(ql_ctx *cx, const ql_source *source)
{
    const char *first = NULL;
    int64_t unknown = 0;

    for (int64_t i = ql_source_count(source); i-- > 0;)
        if (!ql_source_asked(source, i)) {
            unknown++;
            first = ql_source_item(source, i)->name;
        }
    if (unknown > 0)
        ql_warn(cx, "%s: %lld tensor%s that this architecture does not use, the first is %s", ql_source_folder(source),
                (long long)unknown, unknown == 1 ? "" : "s", first);
}

static ql_status
check_tensors(ql_ctx *cx, ql_model_handle *m)
{
    ql_status st = QL_OK;

    QL_TRY(cx, check_ends(cx, m));
    for (int64_t i = 0; i < m->info.layers && st == QL_OK; i++) {
        ql_scope scope;

        ql_scope_open(cx, &scope);
        st = check_block(cx, m, i);
        ql_scope_close(cx, &scope);
    }
    if (st == QL_OK)
        warn_unknown(cx, m->source);
    return st;
}

/* --- opening ---------------------------------------------------------------------------------------------------- */

static ql_status
open_with_plugin(ql_ctx *cx, const ql_registry *registry, const char *path, ql_model_handle *m)
{
    const ql_json *config = ql_source_config(m->source);
    identity id;
    ql_site before;
    ql_status st;

    QL_TRY(cx, identify(cx, config, &id));
    if (!m->plugin) {
        QL_TRY(cx, choose(cx, registry, &id, &m->plugin));
        QL_TRY(cx, default_self(cx, m->plugin, path, &m->self));
    } else if (!is_among(m->plugin->model->architectures, id.architecture) &&
               !is_among(m->plugin->model->types, id.type)) {
        QL_TRY(cx, ql_follow(cx, "config.json", "'%s' is not a model of plugin '%s', which reads it all the same",
                             id.architecture ? id.architecture : id.type, m->plugin->name));
    }
    if (!m->plugin->model->linear && ql_json_member(config, "quantization_config"))
        return QL_FAIL(cx, QL_UNSUPPORTED,
                       "config.json: 'quantization_config': the model is already quantized, and plugin '%s' reads "
                       "originals only",
                       m->plugin->name);
    m->foreign = !ql_registry_owns(registry, m->plugin);
    before = ql_enter_plugin(cx, m->plugin->name);
    st = m->plugin->model->open(cx, m->self, m->source, &m->info);
    ql_leave(cx, before);
    QL_TRY(cx, st);
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
        st = check_tensors(cx, out);
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
