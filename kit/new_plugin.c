/* Starting points for plugins: `qloom plugins --new quantizer foo`. */
#include "new_plugin.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <qloom/evaluator.h>

#include "base/file.h"

typedef struct replacement {
    const char *mark, *text;
} replacement;

/* The first plugin of a kind that runs without statistics and parameters (data has the path and the seqlen that templates give it), and on
 * a stream of plain text where it evaluates; the kind's name where there is none. */
static const char *
partner(const ql_registry *r, ql_kind kind)
{
    for (int64_t i = 0; i < ql_registry_count(r); i++) {
        const ql_plugin *p = ql_registry_item(r, i)->plugin;

        if (!p || p->kind != kind ||
            (kind == QL_QUANTIZER &&
             (p->quantizer->needs & QL_NEEDS_STATS || p->quantizer->yields & QL_KEEPS_WEIGHT)) ||
            (kind == QL_EVALUATOR && (!p->evaluator->chunk || p->evaluator->questions)) ||
            (kind == QL_DATA ? !ql_param_find(p, "seqlen") : ql_param_any_required(p)))
            continue;
        return p->name;
    }
    return ql_kind_name(kind);
}

/* The text of a template; NULL: there is none of that name. */
static const char *
template_text(const char *kind, const char *ending)
{
    for (const ql_template *t = ql_templates; t->name; t++)
        if (strncmp(t->name, kind, strlen(kind)) == 0 && strcmp(t->name + strlen(kind), ending) == 0)
            return t->text;
    return NULL;
}

/* `text` with every mark of `with`, which ends with a NULL mark, replaced. */
static const char *
fill(ql_ctx *cx, const char *text, const replacement *with)
{
    for (; with->mark && text; with++) {
        const char *at;

        while (text && (at = strstr(text, with->mark)))
            text = ql_format(cx, "%.*s%s%s", (int)(at - text), text, with->text, at + strlen(with->mark));
    }
    return text;
}

static ql_status
check_name(ql_ctx *cx, const ql_registry *r, const char *name)
{
    const ql_found *taken = ql_registry_find(r, name);

    if (!*name || strchr("0123456789_", *name) || name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")])
        return QL_FAIL(cx, QL_INVALID, "'%s' can't be a plugin's name: expected lower case letters, digits and _",
                       name);
    if (taken)
        return QL_FAIL(cx, QL_INVALID, "the name '%s' is taken by %s", name, taken->file);
    return QL_OK;
}

ql_status
ql_plugin_scaffold(ql_ctx *cx, const ql_registry *r, const char *kind, const char *name, void (*made)(const char *path))
{
    const replacement with[] = {
        {"@NAME@", name},
        {"@DATA@", partner(r, QL_DATA)},
        {"@STREAM@", partner(r, QL_EVALUATOR)},
        {"@QUANTIZER@", partner(r, QL_QUANTIZER)},
        {NULL, NULL},
    };
    const struct {
        const char *text, *path;
    } files[] = {
        {template_text(kind, ".c"), ql_format(cx, "%s/%s.c", name, name)},
        {template_text("CMakeLists", ".txt"), ql_format(cx, "%s/CMakeLists.txt", name)},
        {template_text(kind, ".yaml"), ql_format(cx, "%s/%s.yaml", name, name)},
    };

    if (!files[0].text)
        return QL_FAIL(cx, QL_INVALID, "--new: got '%s', expected quantizer, compensator, evaluator or trainer", kind);
    QL_TRY(cx, check_name(cx, r, name));
    if (mkdir(name, 0777) != 0)
        return QL_FAIL(cx, errno == EEXIST ? QL_INVALID : QL_IO, "can't make the folder '%s': %s", name,
                       strerror(errno));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *text = fill(cx, files[i].text, with);

        if (!files[i].path || !text)
            return QL_MEMORY;
        QL_TRY(cx, ql_file_write(cx, files[i].path, text, strlen(text)));
        made(files[i].path);
    }
    return QL_OK;
}
