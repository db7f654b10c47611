/* What the store holds, and how it is kept small. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/file.h"
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

/* What made the node, as the entry `path` tells; left alone when that can't be read. */
static ql_status
read_about(ql_ctx *cx, const char *path, const char **about)
{
    const void *text;
    ql_st_file f = {0};
    size_t bytes;
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

/* Another process may remove what is looked at: what is gone counts nothing. */
static ql_status
read_node(ql_ctx *cx, const char *path, ql_store_item *item)
{
    ql_status st = QL_OK;
    struct stat info;
    DIR *d = stat(path, &info) == 0 ? opendir(path) : NULL;

    if (!d)
        return QL_OK;
    item->used = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    for (struct dirent *e = readdir(d); e && st == QL_OK; e = readdir(d)) {
        const char *file = ql_format(cx, "%s/%s", path, e->d_name);

        if (!file)
            st = QL_MEMORY;
        if (!file || !is_ours(e->d_name) || stat(file, &info) != 0)
            continue;
        item->bytes += (uint64_t)info.st_size;
        if (!ql_ends_with(file, ".safetensors"))
            continue;
        item->files++;
        if (!*item->about)
            st = read_about(cx, file, &item->about);
    }
    closedir(d);
    return st;
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
        ql_store_item item = {.about = ""};
        char path[QL_STORE_PATH];

        if (!parse_key(e->d_name, &item.key) || !ql_store_node(s, item.key, path))
            continue;
        QL_TRY(cx, read_node(cx, path, &item));
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

/* Removes the files in `folder` that `mine` names, then the folder if nothing else is in it. */
static ql_status
remove_files(ql_ctx *cx, const char *folder, bool (*mine)(const char *name))
{
    DIR *d = opendir(folder);
    ql_status st = QL_OK;

    for (struct dirent *e = d ? readdir(d) : NULL; e && st == QL_OK; e = readdir(d)) {
        const char *file = mine(e->d_name) ? ql_format(cx, "%s/%s", folder, e->d_name) : NULL;

        if (file && unlink(file) != 0 && errno != ENOENT)
            st = QL_FAIL(cx, QL_IO, "%s: %s", file, strerror(errno));
    }
    if (d)
        closedir(d);
    (void)rmdir(folder); /* stays while another run writes into it */
    return st;
}

static ql_status
remove_node(ql_ctx *cx, const ql_store *s, const ql_store_item *item)
{
    char path[QL_STORE_PATH];

    return ql_store_node(s, item->key, path) ? remove_files(cx, path, is_ours) : QL_OK;
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
        st = remove_node(cx, s, &items[i]);
        sum -= items[i].bytes;
        ql_debug(cx, "cache: removed %s, the least recently used", items[i].about);
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
