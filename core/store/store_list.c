/* What the store holds, and how it is kept small. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "store.h"

/* --- names --- */

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

static bool
parse_key(const char *name, ql_key *key)
{
    return is_hash(name) && sscanf(name, "%16" SCNx64 "%16" SCNx64, &key->half[0], &key->half[1]) == 2;
}

/* --- listing --- */

/* What made the entry `path`; stays NULL when it can't be read. */
static ql_status
read_about(ql_ctx *cx, const char *path, const char **about)
{
    const void *text = NULL;
    ql_st_file f = {0};
    size_t bytes = 0;
    ql_status st = ql_st_open(cx, path, &f);

    if (st == QL_OK)
        st = ql_entry_find(cx, &f, QL_ABOUT, &text, &bytes);
    if (st == QL_OK && !(*about = ql_copy_text(cx, text, bytes)))
        st = QL_MEMORY;
    ql_st_close(&f);
    if (st == QL_MEMORY)
        return st;
    ql_error_clear(cx);
    return QL_OK;
}

ql_status
ql_store_about(ql_ctx *cx, const ql_store *s, ql_key key, const char **about)
{
    char path[QL_STORE_PATH];
    DIR *d = ql_store_node(s, key, path) ? opendir(path) : NULL;
    ql_status st = QL_OK;

    *about = NULL;
    for (struct dirent *e = d ? readdir(d) : NULL; e && !*about && st == QL_OK; e = readdir(d)) {
        const char *file;

        if (!ql_ends_with(e->d_name, ".safetensors"))
            continue;
        file = ql_format(cx, "%s/%s", path, e->d_name);
        st = file ? read_about(cx, file, about) : QL_MEMORY;
    }
    if (d)
        closedir(d);
    if (!*about)
        *about = "?";
    return st;
}

/* Another process may remove what is looked at: what is gone counts nothing. */
static void
read_node(const char *path, ql_store_item *item)
{
    struct stat info;
    DIR *d = opendir(path);

    if (!d)
        return;
    if (fstat(dirfd(d), &info) == 0)
        item->used = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        if (is_ours(e->d_name) && fstatat(dirfd(d), e->d_name, &info, 0) == 0)
            item->bytes += (uint64_t)info.st_size;
    closedir(d);
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
list_nodes(ql_ctx *cx, const ql_store *s, DIR *d, ql_store_item **items, int64_t *count)
{
    int64_t capacity = 0;

    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        ql_store_item item = {0};
        char path[QL_STORE_PATH];

        if (!parse_key(e->d_name, &item.key) || !ql_store_node(s, item.key, path))
            continue;
        read_node(path, &item);
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
    DIR *d = nodes ? opendir(nodes) : NULL;
    ql_status st;

    *items = NULL;
    *count = 0;
    if (!d)
        return nodes ? QL_OK : QL_MEMORY;
    st = list_nodes(cx, s, d, items, count);
    closedir(d);
    return st;
}

/* --- removing --- */

/* Removes the files in `folder` that `mine` names. */
static ql_status
remove_files(ql_ctx *cx, const char *folder, bool (*mine)(const char *name))
{
    DIR *d = opendir(folder);
    ql_status st = QL_OK;

    for (struct dirent *e = d ? readdir(d) : NULL; e && st == QL_OK; e = readdir(d))
        if (mine(e->d_name) && unlinkat(dirfd(d), e->d_name, 0) != 0 && errno != ENOENT)
            st = QL_FAIL(cx, QL_IO, "%s/%s: %s", folder, e->d_name, strerror(errno));
    if (d)
        closedir(d);
    return st;
}

static ql_status
remove_node(ql_ctx *cx, const ql_store *s, const ql_store_item *item)
{
    char path[QL_STORE_PATH];

    if (!ql_store_node(s, item->key, path))
        return QL_OK;
    QL_TRY(cx, remove_files(cx, path, is_ours));
    (void)rmdir(path); /* stays while another run writes into it */
    return QL_OK;
}

ql_status
ql_store_trim(ql_ctx *cx, const ql_store *s)
{
    ql_store_item *items = NULL;
    uint64_t sum = 0;
    int64_t count = 0;
    ql_status st;

    if (s->limit == 0)
        return QL_OK;
    st = ql_store_list(cx, s, &items, &count);
    for (int64_t i = 0; i < count; i++)
        sum += items[i].bytes;
    for (int64_t i = 0; i < count && st == QL_OK && sum > s->limit && items[i].used < s->since; i++) {
        const char *about;

        st = ql_store_about(cx, s, items[i].key, &about);
        if (st != QL_OK)
            break;
        ql_info(cx, "cache: %s made room, the least recently used", about);
        st = remove_node(cx, s, &items[i]);
        sum -= items[i].bytes;
    }
    free(items);
    return st;
}

ql_status
ql_store_clear(ql_ctx *cx, const ql_store *s)
{
    const char *files = ql_format(cx, "%s/files", s->folder);
    ql_store_item *items = NULL;
    int64_t count = 0;
    ql_status st = files ? ql_store_list(cx, s, &items, &count) : QL_MEMORY;

    for (int64_t i = 0; i < count && st == QL_OK; i++)
        st = remove_node(cx, s, &items[i]);
    free(items);
    return st == QL_OK ? remove_files(cx, files, is_hash) : st;
}
