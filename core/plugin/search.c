/* Which folders are searched for plugins, in which order, and whether others could put code there. */
#define _GNU_SOURCE /* dladdr */
#include "search.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/env.h"
#include "base/path.h"

/* Could others than the user and root change what lies there? In a sticky folder they can't touch what exists. */
static bool
is_open_to_others(const char *path, bool sticky_is_fine)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return false;
    return (st.st_mode & S_IWOTH && !(sticky_is_fine && st.st_mode & S_ISVTX)) ||
           (st.st_uid != 0 && st.st_uid != geteuid());
}

/* Code of the folder runs, so a place where others could put some is told: the folder, or one above it. */
static ql_status
warn_of_place(ql_ctx *cx, const char *folder)
{
    const char *above = folder;
    char *here = realpath(".", NULL);

    if (here && strcmp(here, folder) == 0)
        ql_warn(cx, "%s: plugins are loaded from the working directory", folder);
    free(here);
    while (above && !is_open_to_others(above, above != folder)) {
        const char *slash = strrchr(above, '/');

        if (strcmp(above, "/") == 0)
            return QL_OK;
        above = slash == above ? "/" : ql_copy_text(cx, above, (size_t)(slash - above));
    }
    if (above)
        ql_warn(cx, "%s: plugins are loaded from here, and other users can write to %s", folder, above);
    return above ? QL_OK : QL_MEMORY;
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

/* The folder qloom/ beside the library that holds this table; NULL when the loader does not know it. */
static ql_status
own_folder(ql_ctx *cx, const char **out)
{
    static const char here = 0; /* an address of this library that is no function */
    Dl_info info;
    char *file, *slash;

    *out = NULL;
    if (!dladdr(&here, &info) || !info.dli_fname)
        return QL_OK;
    file = realpath(info.dli_fname, NULL);
    slash = file ? strrchr(file, '/') : NULL;
    if (slash) {
        *slash = '\0';
        *out = ql_format(cx, "%s/qloom", file);
    }
    free(file);
    return slash && !*out ? QL_MEMORY : QL_OK;
}

ql_status
ql_registry_search(ql_ctx *cx, ql_registry *r, const char *paths)
{
    const char *own;

    QL_TRY(cx, add_paths(cx, r, paths, "--plugin-path"));
    QL_TRY(cx, add_paths(cx, r, ql_env("QLOOM_PLUGIN_PATH"), "QLOOM_PLUGIN_PATH"));
    QL_TRY(cx, own_folder(cx, &own));
    return own ? add_folder(cx, r, own, NULL) : QL_OK;
}
