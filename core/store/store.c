/* The store: its folder, and where entries lie in it. */
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

#define TAG "Signature: 8a477f597d28d172789f06886806bc55\n# The cache of qloom; `qloom cache clear` empties it.\n"
#define TAG_FILE "CACHEDIR.TAG"
#define ABANDONED 600 /* seconds after which no writer goes on */

/* --- the folder --- */

ql_status
ql_store_check(ql_ctx *cx, const char *folder)
{
    const char *tag = ql_format(cx, "%s/" TAG_FILE, folder);

    if (!tag)
        return QL_MEMORY;
    return ql_is_file(tag) ? QL_OK : QL_FAIL(cx, QL_NOT_FOUND, "%s: no cache of qloom: it has no " TAG_FILE, folder);
}

/* Is there nothing, but what a process may have left that was killed when it made a cache of the folder? */
static bool
is_empty(const char *folder)
{
    DIR *d = opendir(folder);
    bool empty = true;

    for (struct dirent *e = d ? readdir(d) : NULL; e && empty; e = readdir(d))
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
                strncmp(e->d_name, TAG_FILE, strlen(TAG_FILE)) == 0;
    if (d)
        closedir(d);
    return empty;
}

ql_status
ql_store_open(ql_ctx *cx, const char *folder, ql_store *out)
{
    const char *tag = ql_format(cx, "%s/" TAG_FILE, folder), *nodes = ql_format(cx, "%s/nodes", folder);
    const char *files = ql_format(cx, "%s/files", folder);
    struct stat info;

    *out = (ql_store){.folder = folder};
    if (!tag || !nodes || !files)
        return QL_MEMORY;
    if (!ql_is_file(tag) && !is_empty(folder))
        return QL_FAIL(cx, QL_INVALID, "%s: the folder has other files; a cache needs one of its own", folder);
    QL_TRY(cx, ql_make_folders(cx, folder));
    if (!ql_is_file(tag))
        QL_TRY(cx, ql_file_write(cx, tag, TAG, strlen(TAG)));
    QL_TRY(cx, ql_make_folders(cx, nodes));
    QL_TRY(cx, ql_make_folders(cx, files));
    if (utimensat(AT_FDCWD, tag, NULL, 0) != 0 || stat(tag, &info) != 0)
        return QL_FAIL(cx, QL_IO, "%s: %s", tag, strerror(errno));
    out->since = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    return QL_OK;
}

/* --- entries --- */

bool
ql_store_node(const ql_store *s, ql_key key, char path[QL_STORE_PATH])
{
    const int n =
        snprintf(path, QL_STORE_PATH, "%s/nodes/%016" PRIx64 "%016" PRIx64, s->folder, key.half[0], key.half[1]);

    return n > 0 && n < QL_STORE_PATH;
}

static bool
entry_path(const ql_store *s, ql_key key, int64_t block, char path[QL_STORE_PATH])
{
    size_t used;
    int n;

    if (!ql_store_node(s, key, path))
        return false;
    used = strlen(path);
    n = block == QL_WHOLE ? snprintf(path + used, QL_STORE_PATH - used, "/whole.safetensors")
                          : snprintf(path + used, QL_STORE_PATH - used, "/%05" PRId64 ".safetensors", block);
    return n > 0 && (size_t)n < QL_STORE_PATH - used;
}

bool
ql_store_has(const ql_store *s, ql_key key, int64_t block)
{
    char path[QL_STORE_PATH];

    return !s->fresh && entry_path(s, key, block, path) && access(path, R_OK) == 0;
}

ql_status
ql_store_load(ql_ctx *cx, const ql_store *s, ql_key key, int64_t block, ql_st_file *out)
{
    char path[QL_STORE_PATH];
    ql_status st;

    *out = (ql_st_file){0};
    if (!entry_path(s, key, block, path))
        return QL_FAIL(cx, QL_INVALID, "%s: the name of the folder is too long", s->folder);
    st = ql_entry_open(cx, path, out);
    if (st == QL_OK || st == QL_MEMORY)
        return st;
    ql_warn(cx, "%s; it is thrown away and made again", ql_error(cx));
    return unlink(path) == 0 || errno == ENOENT ? QL_INVALID : QL_FAIL(cx, QL_IO, "%s: %s", path, strerror(errno));
}

ql_status
ql_store_save(ql_ctx *cx, const ql_store *s, ql_key key, int64_t block, ql_entry *e)
{
    char path[QL_STORE_PATH];

    if (!entry_path(s, key, block, path))
        return QL_FAIL(cx, QL_INVALID, "%s: the name of the folder is too long", s->folder);
    *strrchr(path, '/') = '\0';
    QL_TRY(cx, ql_make_folders(cx, path));
    (void)entry_path(s, key, block, path);
    return ql_entry_write(cx, e, path);
}

/* Parts of files that nobody has written to for long. */
static void
remove_torn(const char *folder, time_t now)
{
    DIR *d = opendir(folder);
    struct stat info;

    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
        if (ql_ends_with(e->d_name, ".tmp") && fstatat(dirfd(d), e->d_name, &info, 0) == 0 &&
            now - info.st_mtim.tv_sec > ABANDONED)
            (void)unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
}

void
ql_store_touch(const ql_store *s, ql_key key)
{
    char path[QL_STORE_PATH];

    if (!ql_store_node(s, key, path) || !ql_is_folder(path))
        return;
    remove_torn(path, time(NULL));
    (void)utimensat(AT_FDCWD, path, NULL, 0);
}
