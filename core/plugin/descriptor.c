/* Checks of a plugin's descriptor: ABI, names, the functions of its kind, and parameter rows that stay inside their
 * struct. */
#include "descriptor.h"

#include <string.h>

#include "kinds.h"
#include "params.h"

static ql_status
check_abi(ql_ctx *cx, const char *file, const ql_plugin *entry)
{
    const unsigned major = entry->abi_major, minor = entry->abi_minor;
    const bool fits = major == QL_ABI_MAJOR && (QL_ABI_MAJOR == 0 ? minor == QL_ABI_MINOR : minor <= QL_ABI_MINOR);

    if (!fits)
        return QL_FAIL(cx, QL_INVALID,
                       "%s: built for plugin ABI %u.%u, this qloom has %d.%d: rebuild it against this qloom", file,
                       major, minor, QL_ABI_MAJOR, QL_ABI_MINOR);
    return QL_OK;
}

static bool
name_ok(const char *name)
{
    const char *const letters = "abcdefghijklmnopqrstuvwxyz";

    return name && *name && strchr(letters, *name) &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0' && strlen(name) < 64;
}

/* Word number `index` of an enum row; NULL when there is none. */
static const char *
word_at(const ql_param *row, double index)
{
    for (int i = 0; row->values && row->values[i]; i++)
        if ((double)i == index)
            return row->values[i];
    return NULL;
}

/* The host writes through these rows, so a wrong one must not get further. */
static ql_status
check_rows(ql_ctx *cx, const char *file, const ql_plugin *p)
{
    if (!p->params)
        return QL_FAIL(cx, QL_INVALID,
                       "%s: plugin '%s' has no parameter table: a plugin without parameters has an empty one, "
                       "{QL_PARAMS_END}",
                       file, p->name);
    for (const ql_param *row = p->params; row->type != QL_T_END; row++) {
        const size_t size = ql_param_size(row);

        if (!name_ok(row->name))
            return QL_FAIL(cx, QL_INVALID,
                           "%s: plugin '%s': row %d of the parameter table has no valid name: expected lower case "
                           "letters, digits and _",
                           file, p->name, (int)(row - p->params));
        if (!size)
            return QL_FAIL(cx, QL_INVALID,
                           "%s: plugin '%s': parameter '%s' has type %d, which this qloom does not know: rebuild it "
                           "against this qloom",
                           file, p->name, row->name, (int)row->type);
        if (row->offset > p->self_size || p->self_size - row->offset < size)
            return QL_FAIL(cx, QL_INVALID,
                           "%s: plugin '%s': parameter '%s' ends at byte %zu of a struct of %zu bytes: set self_size "
                           "to the size of the parameter struct",
                           file, p->name, row->name, row->offset + size, p->self_size);
        if (row->type == QL_T_ENUM && !word_at(row, row->def))
            return QL_FAIL(cx, QL_INVALID, "%s: plugin '%s': parameter '%s' has no word number %g, its default", file,
                           p->name, row->name, row->def);
        for (const ql_param *other = p->params; other < row; other++)
            if (strcmp(other->name, row->name) == 0)
                return QL_FAIL(cx, QL_INVALID, "%s: plugin '%s' has two parameters '%s'", file, p->name, row->name);
    }
    return QL_OK;
}

static ql_status
check_kind(ql_ctx *cx, const char *file, const ql_plugin *p)
{
    const ql_kind_info *kind = ql_kind_of(p->kind);
    const char *missing;
    size_t size;

    if (!kind->members)
        return QL_FAIL(cx, QL_INVALID,
                       "%s: plugin '%s' is of kind %d%s%s, which this qloom can't run: use a newer qloom", file,
                       p->name, (int)p->kind, kind->name ? " " : "", kind->name ? kind->name : "");
    if (!p->backend) /* the union holds one pointer, whatever the kind */
        return QL_FAIL(cx, QL_INVALID, "%s: %s '%s' has no function table: set .%s in its QL_PLUGIN block", file,
                       kind->name, p->name, kind->name);
    memcpy(&size, p->backend, sizeof size); /* the first member of every table */
    if (size != kind->size)
        return QL_FAIL(
            cx, QL_INVALID,
            "%s: the ql_%s of %s '%s' has %zu bytes, and %zu in this qloom: fill it with QL_TABLE, and rebuild it",
            file, kind->name, kind->name, p->name, size, kind->size);
    missing = ql_kind_lacks(p);
    if (missing)
        return QL_FAIL(cx, QL_INVALID, "%s: %s '%s' lacks '%s': set it in its ql_%s", file, kind->name, p->name,
                       missing, kind->name);
    return QL_OK;
}

ql_status
ql_descriptor_read(ql_ctx *cx, const char *file, const ql_plugin *entry, ql_plugin *copy)
{
    const char *name;

    *copy = (ql_plugin){.kind = QL_KIND_NONE};
    QL_TRY(cx, check_abi(cx, file, entry));
    memcpy(copy, entry, entry->size < sizeof *copy ? entry->size : sizeof *copy);
    name = copy->name;
    copy->name = NULL;
    if (!name_ok(name))
        return QL_FAIL(cx, QL_INVALID,
                       "%s: the plugin has no valid name: expected lower case letters, digits and _, got '%s'", file,
                       name ? name : "");
    copy->name = name;
    if (!copy->version || !copy->help)
        return QL_FAIL(cx, QL_INVALID, "%s: plugin '%s' has no %s: set it in its QL_PLUGIN block", file, name,
                       copy->version ? "help" : "version");
    QL_TRY(cx, check_kind(cx, file, copy));
    return check_rows(cx, file, copy);
}
