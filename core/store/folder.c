/* What the store's folder holds, and how it is kept small. No link is followed. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/path.h"
#include "inside.h"

#define ABANDONED 600 /* seconds after which no writer goes on */

/* --- names ---------------------------------------------------------------------------------------------------- */

/* Is it a file that the store made: an entry, or what a killed process left of one? */
static bool
is_ours(const char *name)
{
    return ql_ends_with(name, ".safetensors") || ql_ends_with(name, ".tmp");
}

static bool
is_torn(const char *name)
{
    return ql_ends_with(name, ".tmp");
}

static bool
is_of_block(const char *name)
{
    return is_ours(name) && strncmp(name, "whole", strlen("whole")) != 0;
}

static bool
is_hash(const char *name)
{
    return strlen(name) == 32 && strspn(name, "0123456789abcdef") == 32;
}

ql_status
ql_store_names(ql_ctx *cx, const char *folder, const ql_folder_entry **out, int64_t *count)
{
    mode_t type;
    ql_status st;

    *count = 0;
    QL_TRY(cx, ql_store_type(cx, folder, &type));
    if (type != S_IFDIR)
        return QL_OK;
    st = ql_folder_list(cx, folder, out, count);
    if (st != QL_NOT_FOUND)
        return st;
    ql_error_clear(cx); /* another process has removed it */
    return QL_OK;
}

/* --- listing -------------------------------------------------------------------------------------------------- */

static ql_status
read_node(ql_ctx *cx, const ql_store *s, ql_store_item *item)
{
    const char *node = ql_store_node(cx, s, item->key);
    const ql_folder_entry *e;
    int64_t count;

    if (!node)
        return QL_MEMORY;
    QL_TRY(cx, ql_store_names(cx, node, &e, &count));
    for (int64_t i = 0; i < count; i++)
        if (is_ours(e[i].name) && !e[i].link) {
            item->bytes += (uint64_t)e[i].at.stat.st_size;
            item->blocks += is_of_block(e[i].name) && !is_torn(e[i].name);
        }
    return QL_OK;
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
list_nodes(ql_ctx *cx, const ql_store *s, ql_store_item **items, int64_t *count)
{
    const char *nodes = ql_format(cx, "%s/nodes", s->folder);
    const ql_folder_entry *e;
    int64_t capacity = 0, n;

    if (!nodes)
        return QL_MEMORY;
    QL_TRY(cx, ql_store_names(cx, nodes, &e, &n));
    for (int64_t i = 0; i < n; i++) {
        const struct timespec used = e[i].at.stat.st_mtim;
        ql_store_item item = {.used = (int64_t)used.tv_sec * 1000000000 + used.tv_nsec};
        ql_scope scope;

        if (e[i].link || e[i].at.type != QL_PATH_FOLDER || !is_hash(e[i].name) ||
            sscanf(e[i].name, "%16" SCNx64 "%16" SCNx64, &item.key.half[0], &item.key.half[1]) != 2)
            continue;
        ql_scope_open(cx, &scope);
        QL_TRY(cx, read_node(cx, s, &item));
        ql_scope_close(cx, &scope);
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
    ql_scope scope;
    ql_status st;

    *items = NULL;
    *count = 0;
    ql_scope_open(cx, &scope);
    st = list_nodes(cx, s, items, count);
    ql_scope_close(cx, &scope);
    return st;
}

/* --- removing ------------------------------------------------------------------------------------------------- */

/* Nothing is removed through a link: it may lead anywhere. */
static ql_status
check_own(ql_ctx *cx, const char *folder)
{
    mode_t type;

    QL_TRY(cx, ql_store_type(cx, folder, &type));
    return type == S_IFDIR
               ? QL_OK
               : QL_FAIL(cx, QL_INVALID,
                         "%s is a link: nothing is removed through it; name the folder that it leads to", folder);
}

/* Removes the files in `folder` that `mine` names and that nobody has written to for `age` seconds. */
static ql_status
remove_files(ql_ctx *cx, const char *folder, bool (*mine)(const char *name), time_t age)
{
    const time_t before = time(NULL) - age;
    const ql_folder_entry *e;
    int64_t count;

    QL_TRY(cx, ql_store_names(cx, folder, &e, &count));
    for (int64_t i = 0; i < count; i++) {
        const char *path = ql_format(cx, "%s/%s", folder, e[i].name);

        if (!path)
            return QL_MEMORY;
        if (mine(e[i].name) && (age == 0 || e[i].at.stat.st_mtim.tv_sec < before) && unlink(path) != 0 &&
            errno != ENOENT)
            return QL_FAIL(cx, QL_IO, "%s: %s", path, strerror(errno));
    }
    return QL_OK;
}

ql_status
ql_store_forget(ql_ctx *cx, const ql_store *s, ql_key key, bool whole)
{
    const char *node = ql_store_node(cx, s, key);

    if (!node)
        return QL_MEMORY;
    QL_TRY(cx, remove_files(cx, node, whole ? is_ours : is_of_block, 0));
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
        QL_TRY(cx, ql_store_forget(cx, s, items[i].key, true));
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
        st = ql_store_forget(cx, s, items[i].key, true);
    free(items);
    return st == QL_OK ? remove_files(cx, files, is_hash, 0) : st;
}

ql_status
ql_store_touch(ql_ctx *cx, const ql_store *s, ql_key key)
{
    const char *node = ql_store_node(cx, s, key);

    if (!node)
        return QL_MEMORY;
    QL_TRY(cx, remove_files(cx, node, is_torn, ABANDONED));
    (void)utimensat(AT_FDCWD, node, NULL, AT_SYMLINK_NOFOLLOW); /* it need not be there */
    return QL_OK;
}
