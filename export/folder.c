/* An export appears whole or not at all, and until it does, an earlier one stays as it was. */
#define _GNU_SOURCE /* renameat2 */
#include "folder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/path.h"

/* --- an earlier export -------------------------------------------------------------------------------------------------- */

/* Is `entry` what an earlier version left of a file that it was writing, or of tensors put aside? */
static bool
is_half(const char *entry, const char *name)
{
    const size_t m = strlen(name);

    return strncmp(entry, name, m) == 0 && entry[m] == '.' && ql_ends_with(entry + m, ".tmp");
}

static bool
is_ours(const char *entry, const ql_json *names)
{
    for (int64_t i = 0; i < ql_json_length(names); i++) {
        const char *name = ql_json_string(ql_json_item(names, i));

        if (name && (strcmp(entry, name) == 0 || is_half(entry, name)))
            return true;
    }
    return strcmp(entry, QL_EXPORT_RECORD) == 0 || is_half(entry, QL_EXPORT_RECORD) || is_half(entry, ".aside");
}

static ql_status
refuse_mount(ql_ctx *cx, const char *folder)
{
    return QL_FAIL(cx, QL_INVALID, "%s: it can't be replaced as a whole, being a mount point: name a folder below it",
                   folder);
}

/* Another disk than the folder's around it has its root there. What is mounted of the same disk is noticed by the swap. */
static ql_status
check_mount(ql_ctx *cx, const char *folder, const ql_path_info *at)
{
    const size_t up = (size_t)(strrchr(folder, '/') - folder);
    const char *around = ql_copy_text(cx, folder, up ? up : 1);
    ql_path_info above;

    if (!around)
        return QL_MEMORY;
    QL_TRY(cx, ql_path_look(cx, around, &above));
    return above.stat.st_dev == at->stat.st_dev ? QL_OK : refuse_mount(cx, folder);
}

ql_status
ql_target_check(ql_ctx *cx, const char *folder)
{
    const char *record = ql_format(cx, "%s/" QL_EXPORT_RECORD, folder);
    const ql_json *earlier = NULL;
    const ql_folder_entry *entries;
    int64_t count;
    ql_path_info at;
    bool ours;

    if (!record)
        return QL_MEMORY;
    QL_TRY(cx, ql_path_look(cx, folder, &at));
    if (at.type == QL_PATH_NONE)
        return QL_OK;
    if (at.type != QL_PATH_FOLDER)
        return QL_FAIL(cx, QL_INVALID, "%s: an export needs a folder, this is %s", folder, at.word);
    QL_TRY(cx, check_mount(cx, folder, &at));
    QL_TRY(cx, ql_is_file(cx, record, &ours));
    if (ours)
        QL_TRY(cx, ql_json_read(cx, record, &earlier));
    QL_TRY(cx, ql_folder_list(cx, folder, &entries, &count));
    for (int64_t i = 0; i < count; i++)
        if (!ours || !is_ours(entries[i].name, ql_json_member(earlier, "names")) || entries[i].at.type != QL_PATH_FILE)
            return QL_FAIL(
                cx, QL_INVALID,
                "%s: the folder holds files that are no earlier export's (%s, for one): name another, or empty it",
                folder, entries[i].name);
    return QL_OK;
}

/* --- making ------------------------------------------------------------------------------------------------------------------ */

/* The folder beside `folder` in which it is made; its name is as short for every name. */
static const char *
work_of(ql_ctx *cx, const char *folder)
{
    const size_t up = (size_t)(strrchr(folder, '/') - folder);
    uint64_t hash[2];

    ql_hash_bytes(folder, strlen(folder), hash);
    return ql_format(cx, "%.*s/.qloom-export-%08" PRIx32, (int)up, folder, (uint32_t)hash[0]);
}

/* Is the locked folder no longer the one of that name? */
static ql_status
is_moved(ql_ctx *cx, const ql_target *t, bool *out)
{
    struct stat mine;
    ql_path_info there;

    if (fstat(t->lock, &mine) != 0)
        return QL_FAIL(cx, QL_IO, "%s: %s", t->work, strerror(errno));
    QL_TRY(cx, ql_path_look(cx, t->work, &there));
    *out = there.type == QL_PATH_NONE || mine.st_dev != there.stat.st_dev || mine.st_ino != there.stat.st_ino;
    return QL_OK;
}

/* Makes `work` or finds it, and locks it; *gone: its owner has renamed or removed it meanwhile. */
static ql_status
lock_work(ql_ctx *cx, ql_target *t, bool *gone)
{
    if (mkdir(t->work, 0777) != 0 && errno != EEXIST)
        return QL_FAIL(cx, QL_IO, "cannot make the folder %s: %s", t->work, strerror(errno));
    t->lock = open(t->work, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    *gone = t->lock < 0 && errno == ENOENT;
    if (t->lock < 0 && !*gone)
        return QL_FAIL(cx, QL_IO, "%s: %s", t->work, strerror(errno));
    if (*gone)
        return QL_OK;
    if (flock(t->lock, LOCK_EX | LOCK_NB) != 0) {
        const int error = errno;

        close(t->lock);
        t->lock = -1;
        if (error != EWOULDBLOCK)
            return QL_FAIL(cx, QL_IO, "cannot lock %s: %s", t->work, strerror(error));
        return QL_FAIL(cx, QL_INVALID, "%s: another export to this folder is under way: wait for it, or name another",
                       t->folder);
    }
    QL_TRY(cx, is_moved(cx, t, gone));
    if (*gone) {
        close(t->lock);
        t->lock = -1;
    }
    return QL_OK;
}

/* Removes what the folder to work in holds: what a process left that was killed. */
static ql_status
empty_work(ql_ctx *cx, const ql_target *t)
{
    const ql_folder_entry *entries;
    int64_t count;

    QL_TRY(cx, ql_folder_list(cx, t->work, &entries, &count));
    for (int64_t i = 0; i < count; i++) {
        const char *path = ql_format(cx, "%s/%s", t->work, entries[i].name);

        if (!path)
            return QL_MEMORY;
        QL_TRY(cx, ql_remove_tree(cx, path));
    }
    return QL_OK;
}

/* Where folders can't be swapped, a kill between two renames leaves the earlier export under a name of its own. */
static const char *
old_of(ql_ctx *cx, const ql_target *t)
{
    return ql_format(cx, "%s.old", t->work);
}

static ql_status
restore(ql_ctx *cx, const ql_target *t)
{
    const char *old = old_of(cx, t);
    ql_path_info left, there;

    if (!old)
        return QL_MEMORY;
    QL_TRY(cx, ql_path_look(cx, old, &left));
    QL_TRY(cx, ql_path_look(cx, t->folder, &there));
    if (left.type == QL_PATH_NONE)
        return QL_OK;
    if (there.type != QL_PATH_NONE)
        return ql_remove_tree(cx, old);
    return rename(old, t->folder) == 0 ? QL_OK : QL_FAIL(cx, QL_IO, "%s: %s", t->folder, strerror(errno));
}

ql_status
ql_target_open(ql_ctx *cx, const char *folder, ql_target *out)
{
    const char *up;
    bool gone = true;

    *out = (ql_target){.folder = folder, .work = work_of(cx, folder), .lock = -1};
    up = out->work ? ql_copy_text(cx, folder, (size_t)(strrchr(folder, '/') - folder)) : NULL;
    if (!up)
        return QL_MEMORY;
    if (*up)
        QL_TRY(cx, ql_make_folders(cx, up));
    while (gone)
        QL_TRY(cx, lock_work(cx, out, &gone));
    QL_TRY(cx, restore(cx, out));
    QL_TRY(cx, ql_target_check(cx, folder));
    return empty_work(cx, out);
}

/* --- the swap ------------------------------------------------------------------------------------------------------------------ */

/* The new export is in its place; what is left of the earlier one would lie there for ever unless somebody is told. */
static ql_status
remove_earlier(ql_ctx *cx, const char *path)
{
    const ql_status st = ql_remove_tree(cx, path);

    return st == QL_OK ? st : ql_where(cx, st, "the earlier export was replaced, and is not removed");
}

/* For file systems that have no exchange. */
static ql_status
swap_in_two(ql_ctx *cx, const ql_target *t)
{
    const char *old = old_of(cx, t);
    int error;

    if (!old)
        return QL_MEMORY;
    if (rename(t->folder, old) != 0)
        return QL_FAIL(cx, QL_IO, "%s: %s", t->folder, strerror(errno));
    if (rename(t->work, t->folder) == 0)
        return remove_earlier(cx, old);
    error = errno;
    if (rename(old, t->folder) != 0)
        return QL_FAIL(cx, QL_IO, "%s: %s; the earlier export is in %s", t->folder, strerror(error), old);
    return QL_FAIL(cx, QL_IO, "%s: %s", t->folder, strerror(error));
}

static ql_status
put_in_place(ql_ctx *cx, const ql_target *t)
{
    if (rename(t->work, t->folder) == 0) /* nothing is there, or an empty folder */
        return QL_OK;
    if (errno == EBUSY)
        return refuse_mount(cx, t->folder);
    if (errno != EEXIST && errno != ENOTEMPTY)
        return QL_FAIL(cx, QL_IO, "%s: %s", t->folder, strerror(errno));
    if (renameat2(AT_FDCWD, t->work, AT_FDCWD, t->folder, RENAME_EXCHANGE) == 0)
        return remove_earlier(cx, t->work);
    if (errno == EBUSY)
        return refuse_mount(cx, t->folder);
    if (errno != EINVAL && errno != ENOSYS && errno != EXDEV)
        return QL_FAIL(cx, QL_IO, "%s: %s", t->folder, strerror(errno));
    return swap_in_two(cx, t);
}

ql_status
ql_target_swap(ql_ctx *cx, ql_target *t)
{
    const char *slash = strrchr(t->folder, '/'),
               *up = ql_copy_text(cx, t->folder, slash > t->folder ? (size_t)(slash - t->folder) : 1);

    if (!up)
        return QL_MEMORY;
    QL_TRY(cx, ql_target_check(cx, t->folder)); /* what came into it meanwhile stays */
    ql_sync_folder(t->work);
    QL_TRY(cx, put_in_place(cx, t));
    ql_sync_folder(up);
    close(t->lock);
    t->lock = -1;
    return QL_OK;
}

void
ql_target_close(ql_ctx *cx, ql_target *t)
{
    char why[sizeof cx->error]; /* why there is no export, which the caller is about to tell */
    const ql_status status = cx->status;
    ql_scope scope;

    if (t->lock < 0)
        return;
    memcpy(why, cx->error, sizeof why);
    ql_scope_open(cx, &scope);
    if (empty_work(cx, t) != QL_OK || rmdir(t->work) != 0)
        ql_warn(cx, "%s: what was made of the export could not be removed", t->work);
    ql_scope_close(cx, &scope);
    memcpy(cx->error, why, sizeof why);
    cx->status = status;
    close(t->lock);
    t->lock = -1;
}
