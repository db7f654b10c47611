/* What the store's folder holds, and how it is kept small. No link is followed. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "inside.h"

#define ABANDONED 600 /* seconds after which no writer goes on */

/* --- names ---------------------------------------------------------------------------------------------------- */

DIR *
ql_store_folder(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (fd >= 0 && !d)
        close(fd);
    return d;
}

ql_status
ql_store_next(ql_ctx *cx, DIR *d, const char *path, struct dirent **out)
{
    do {
        errno = 0;
        *out = readdir(d);
    } while (*out && (strcmp((*out)->d_name, ".") == 0 || strcmp((*out)->d_name, "..") == 0));
    return *out || errno == 0 ? QL_OK : QL_FAIL(cx, QL_IO, "%s: %s", path, strerror(errno));
}

/* Is it a file that the store made: an entry, or what a killed process left of one? */
static bool
is_ours(const char *name)
{
    return ql_ends_with(name, ".safetensors") || ql_ends_with(name, ".tmp");
}

static bool
is_hash(const char *name)
{
    return strlen(name) == 32 && strspn(name, "0123456789abcdef") == 32;
}

/* --- listing -------------------------------------------------------------------------------------------------- */

/* Another process may remove what is looked at: what is gone counts nothing. False: it is no folder. */
static bool
read_node(DIR *nodes, const char *name, ql_store_item *item)
{
    const int fd = openat(dirfd(nodes), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct stat info;

    if (!d) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    if (fstat(fd, &info) == 0)
        item->used = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    for (const struct dirent *e = readdir(d); e; e = readdir(d))
        if (is_ours(e->d_name) && fstatat(fd, e->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0)
            item->bytes += (uint64_t)info.st_size;
    closedir(d);
    return true;
}

static int
by_use(const void *a, const void *b)
{
    const ql_store_item *x = a, *y = b;

    if (x->used != y->used)
        return x->used < y->used ? -1 : 1;
    return memcmp(x->key.half, y->key.half, sizeof x->key.half);
}

static ql_status
list_nodes(ql_ctx *cx, const char *nodes, DIR *d, ql_store_item **items, int64_t *count)
{
    int64_t capacity = 0;
    struct dirent *e;

    for (;;) {
        ql_store_item item = {0};

        QL_TRY(cx, ql_store_next(cx, d, nodes, &e));
        if (!e)
            break;
        if (!is_hash(e->d_name) ||
            sscanf(e->d_name, "%16" SCNx64 "%16" SCNx64, &item.key.half[0], &item.key.half[1]) != 2)
            continue;
        if (!read_node(d, e->d_name, &item))
            continue;
        QL_TRY(cx, ql_grow(cx, items, &capacity, *count + 1, sizeof **items));
        (*items)[(*count)++] = item;
    }
    if (*count > 1)
        qsort(*items, (size_t)*count, sizeof **items, by_use);
    return QL_OK;
}

ql_status
ql_store_list(ql_ctx *cx, const ql_store *s, ql_store_item **items, int64_t *count)
{
    const char *nodes = ql_format(cx, "%s/nodes", s->folder);
    DIR *d = nodes ? ql_store_folder(nodes) : NULL;
    ql_status st;

    *items = NULL;
    *count = 0;
    if (!nodes)
        return QL_MEMORY;
    if (!d)
        return errno == ENOENT ? QL_OK : QL_FAIL(cx, QL_IO, "%s: %s", nodes, strerror(errno));
    st = list_nodes(cx, nodes, d, items, count);
    closedir(d);
    return st;
}

/* --- removing ------------------------------------------------------------------------------------------------- */

/* Nothing is removed through a link: it may lead anywhere. */
static ql_status
check_own(ql_ctx *cx, const char *folder)
{
    struct stat info;

    if (lstat(folder, &info) != 0)
        return QL_FAIL(cx, QL_IO, "%s: %s", folder, strerror(errno));
    return S_ISDIR(info.st_mode)
               ? QL_OK
               : QL_FAIL(cx, QL_INVALID,
                         "%s is a link: nothing is removed through it; name the folder that it leads to", folder);
}

/* Removes the files in `folder` that `mine` names. */
static ql_status
remove_files(ql_ctx *cx, const char *folder, bool (*mine)(const char *name))
{
    DIR *d = ql_store_folder(folder);
    struct dirent *e = NULL;
    ql_status st = QL_OK;

    while (d && st == QL_OK && (st = ql_store_next(cx, d, folder, &e)) == QL_OK && e)
        if (mine(e->d_name) && unlinkat(dirfd(d), e->d_name, 0) != 0 && errno != ENOENT)
            st = QL_FAIL(cx, QL_IO, "%s/%s: %s", folder, e->d_name, strerror(errno));
    if (d)
        closedir(d);
    return st;
}

static ql_status
remove_node(ql_ctx *cx, const ql_store *s, const ql_store_item *item)
{
    const char *node = ql_store_node(cx, s, item->key);

    if (!node)
        return QL_MEMORY;
    QL_TRY(cx, remove_files(cx, node, is_ours));
    (void)rmdir(node); /* stays while another run writes into it */
    return QL_OK;
}

static ql_status
make_room(ql_ctx *cx, const ql_store *s, const ql_store_item *items, int64_t count)
{
    uint64_t sum = 0;

    for (int64_t i = 0; i < count; i++)
        sum += items[i].bytes;
    for (int64_t i = 0; i < count && sum > s->limit && items[i].used < s->since; i++) {
        const char *about;

        QL_TRY(cx, check_own(cx, s->folder));
        QL_TRY(cx, ql_store_about(cx, s, items[i].key, &about));
        ql_info(cx, "cache: %s made room, the least recently used", about);
        QL_TRY(cx, remove_node(cx, s, &items[i]));
        sum -= items[i].bytes;
    }
    return QL_OK;
}

ql_status
ql_store_trim(ql_ctx *cx, const ql_store *s)
{
    ql_store_item *items = NULL;
    int64_t count = 0;
    ql_status st;

    if (s->limit == 0)
        return QL_OK;
    st = ql_store_list(cx, s, &items, &count);
    if (st == QL_OK)
        st = make_room(cx, s, items, count);
    free(items);
    return st;
}

ql_status
ql_store_clear(ql_ctx *cx, const ql_store *s)
{
    const char *files = ql_format(cx, "%s/files", s->folder);
    ql_store_item *items = NULL;
    int64_t count = 0;
    ql_status st = files ? check_own(cx, s->folder) : QL_MEMORY;

    if (st == QL_OK)
        st = ql_store_list(cx, s, &items, &count);
    for (int64_t i = 0; i < count && st == QL_OK; i++)
        st = remove_node(cx, s, &items[i]);
    free(items);
    return st == QL_OK ? remove_files(cx, files, is_hash) : st;
}

void
ql_store_touch(const ql_store *s, ql_key key)
{
    char path[4096];
    struct stat info;
    DIR *d;

    if (snprintf(path, sizeof path, "%s/nodes/%016" PRIx64 "%016" PRIx64, s->folder, key.half[0], key.half[1]) >=
        (int)sizeof path)
        return;
    d = ql_store_folder(path);
    for (const struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
        if (ql_ends_with(e->d_name, ".tmp") && fstatat(dirfd(d), e->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            time(NULL) - info.st_mtim.tv_sec > ABANDONED)
            (void)unlinkat(dirfd(d), e->d_name, 0);
    if (d) {
        (void)futimens(dirfd(d), NULL);
        closedir(d);
    }
}
