/* Which folders are searched for plugins, in which order, and whether others could put code there. */
#include "search.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/env.h"
#include "base/path.h"

/* Could others than the user and root change what lies there? In a sticky folder they can't touch what exists. */
static ql_status
is_open_to_others(ql_ctx *cx, const char *path, bool sticky_is_fine, bool *out)
{
    ql_path_info at;

    QL_TRY(cx, ql_path_look(cx, path, &at));
    *out = (at.stat.st_mode & S_IWOTH && !(sticky_is_fine && at.stat.st_mode & S_ISVTX)) ||
           (at.stat.st_uid != 0 && at.stat.st_uid != geteuid());
    return QL_OK;
}

/* Code of the folder runs, so a place where others could put some is told: the folder, or one above it. */
static ql_status
warn_of_place(ql_ctx *cx, const char *folder)
{
    char *here = realpath(".", NULL);

    if (here && strcmp(here, folder) == 0)
        ql_warn(cx, "%s: plugins are loaded from the working directory", folder);
    free(here);
    for (const char *at = folder; at;) {
        const char *slash = strrchr(at, '/');
        bool open = false;

        QL_TRY(cx, is_open_to_others(cx, at, at != folder, &open));
        if (open)
            ql_warn(cx, "%s: plugins are loaded from here, and other users can write to %s", folder, at);
        if (open || strcmp(at, "/") == 0)
            return QL_OK;
        at = slash == at ? "/" : ql_copy_text(cx, at, (size_t)(slash - at));
    }
    return QL_MEMORY;
}

/* `origin`: what named the folder, for the text when it isn't there; NULL: it need not be. */
static ql_status
add_folder(ql_ctx *cx, ql_registry *r, const char *folder, const char *origin)
{
    char *real = realpath(folder, NULL);
    const char *path = real ? ql_copy_text(cx, real, strlen(real)) : NULL;
    const ql_folder_entry *entries;
    int64_t count, found = 0;
    bool there = false;

    free(real);
    if (real && !path)
        return QL_MEMORY;
    if (path)
        QL_TRY(cx, ql_is_folder(cx, path, &there));
    if (!there)
        return origin ? QL_FAIL(cx, QL_NOT_FOUND, "%s: no plugin folder '%s'", origin, folder) : QL_OK;
    QL_TRY(cx, ql_folder_list(cx, path, &entries, &count));
    for (int64_t i = 0; i < count; i++) { /* in the order of their names */
        const char *file = ql_format(cx, "%s/%s", path, entries[i].name);

        if (!file)
            return QL_MEMORY;
        if (!ql_ends_with(file, ".so"))
            continue;
        if (found++ == 0)
            QL_TRY(cx, warn_of_place(cx, path));
        QL_TRY(cx, ql_registry_take(cx, r, file));
    }
    return QL_OK;
}

static ql_status
add_paths(ql_ctx *cx, ql_registry *r, const char *paths, const char *origin)
{
    for (const char *p = paths; p && *p;) {
        const size_t n = strcspn(p, ":");
        const char *folder = ql_copy_text(cx, p, n);

        if (!folder)
            return QL_MEMORY;
        if (n)
            QL_TRY(cx, add_folder(cx, r, folder, origin));
        p += n + (p[n] == ':');
    }
    return QL_OK;
}

/* The folder qloom/ beside the library that holds this table. */
static ql_status
own_folder(ql_ctx *cx, const char **out)
{
    static const char here = 0; /* an address of this library that is no function */
    const char *file;

    QL_TRY(cx, ql_object_file(cx, &here, &file));
    *out = ql_format(cx, "%.*s/qloom", (int)(strrchr(file, '/') - file), file);
    return *out ? QL_OK : QL_MEMORY;
}

ql_status
ql_registry_search(ql_ctx *cx, ql_registry *r, const char *paths)
{
    const char *own = NULL;

    QL_TRY(cx, add_paths(cx, r, paths, "--plugin-path"));
    QL_TRY(cx, add_paths(cx, r, ql_env("QLOOM_PLUGIN_PATH"), "QLOOM_PLUGIN_PATH"));
    QL_TRY(cx, own_folder(cx, &own));
    return own ? add_folder(cx, r, own, NULL) : QL_OK;
}
