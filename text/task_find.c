/* Task files that are shipped, and those at a path. */
#include <string.h>

#include "base/guess.h"
#include "base/path.h"
#include "task.h"

/* The folder of shipped tasks, qloom/tasks/ beside the library. */
static ql_status
shipped_folder(ql_ctx *cx, const char **out)
{
    static const char here = 0; /* an address of this library that is no function */
    const char *file;

    QL_TRY(cx, ql_object_file(cx, &here, &file));
    *out = ql_format(cx, "%.*s/qloom/tasks", (int)(strrchr(file, '/') - file), file);
    return *out ? QL_OK : QL_MEMORY;
}

ql_status
ql_task_list(ql_ctx *cx, const char *const **out, int64_t *count)
{
    const ql_folder_entry *entries;
    const char *folder, **names;
    int64_t all;

    *count = 0;
    QL_TRY(cx, shipped_folder(cx, &folder));
    QL_TRY(cx, ql_folder_list(cx, folder, &entries, &all));
    names = ql_alloc(cx, (size_t)all + 1, sizeof(const char *));
    if (!names)
        return QL_MEMORY;
    for (int64_t i = 0; i < all; i++)
        if (ql_ends_with(entries[i].name, ".yaml")) {
            names[*count] = ql_copy_text(cx, entries[i].name, strlen(entries[i].name) - 5);
            if (!names[(*count)++])
                return QL_MEMORY;
        }
    *out = names;
    return QL_OK;
}

static ql_status
no_such_task(ql_ctx *cx, const char *name)
{
    ql_guess guess = ql_guess_open(name);
    const char *const *names;
    int64_t count;

    QL_TRY(cx, ql_task_list(cx, &names, &count));
    ql_guess_offer_all(&guess, names, count);
    return QL_FAIL(cx, QL_NOT_FOUND,
                   "no task '%s'%s: `qloom tasks` lists those that there are; a file of one's own is named with its "
                   "path and ends in .yaml",
                   name, ql_guess_text(cx, &guess, ""));
}

ql_status
ql_task_find(ql_ctx *cx, const char *name, const char **out)
{
    const char *folder;
    bool there;

    *out = name;
    if (strchr(name, '/') || ql_ends_with(name, ".yaml"))
        return QL_OK;
    QL_TRY(cx, shipped_folder(cx, &folder));
    *out = ql_format(cx, "%s/%s.yaml", folder, name);
    if (!*out)
        return QL_MEMORY;
    QL_TRY(cx, ql_is_file(cx, *out, &there));
    return there ? QL_OK : no_such_task(cx, name);
}
