/* The store: its folder, and the entries in it. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "inside.h"

#define TAG "Signature: 8a477f597d28d172789f06886806bc55\n# The cache of qloom; `qloom cache clear` empties it.\n"
#define TAG_FILE "CACHEDIR.TAG"
#define SCHEMA 2 /* 1 had a byte a code */
#define IDENTITY "entry"
#define ABOUT "about"

/* --- the folder ----------------------------------------------------------------------------------------------- */

ql_status
ql_store_check(ql_ctx *cx, const char *folder)
{
    const char *tag = ql_format(cx, "%s/" TAG_FILE, folder);
    bool there;

    if (!tag)
        return QL_MEMORY;
    QL_TRY(cx, ql_is_file(cx, tag, &there));
    return there ? QL_OK : QL_FAIL(cx, QL_NOT_FOUND, "%s: no cache of qloom: it has no " TAG_FILE, folder);
}

/* INVALID when the folder holds more than what a process may have left that was killed when it made a cache of it. */
static ql_status
check_empty(ql_ctx *cx, const char *folder)
{
    const ql_folder_entry *e;
    int64_t count;
    const ql_status st = ql_folder_list(cx, folder, &e, &count);

    if (st == QL_NOT_FOUND) {
        ql_error_clear(cx);
        return QL_OK;
    }
    QL_TRY(cx, st);
    for (int64_t i = 0; i < count; i++)
        if (strncmp(e[i].name, TAG_FILE, strlen(TAG_FILE)) != 0)
            return QL_FAIL(cx, QL_INVALID, "%s: the folder has other files; a cache needs one of its own", folder);
    return QL_OK;
}

ql_status
ql_store_open(ql_ctx *cx, const char *folder, ql_store *out)
{
    const char *tag = ql_format(cx, "%s/" TAG_FILE, folder), *nodes = ql_format(cx, "%s/nodes", folder);
    const char *files = ql_format(cx, "%s/files", folder);
    struct stat info;
    bool there;

    *out = (ql_store){.folder = folder};
    if (!tag || !nodes || !files)
        return QL_MEMORY;
    QL_TRY(cx, ql_is_file(cx, tag, &there));
    if (!there) {
        QL_TRY(cx, check_empty(cx, folder));
        QL_TRY(cx, ql_make_folders(cx, folder));
        QL_TRY(cx, ql_file_write(cx, tag, TAG, strlen(TAG)));
    }
    QL_TRY(cx, ql_make_folders(cx, nodes));
    QL_TRY(cx, ql_make_folders(cx, files));
    if (utimensat(AT_FDCWD, tag, NULL, 0) != 0 || stat(tag, &info) != 0)
        return QL_FAIL(cx, QL_IO, "%s: %s", tag, strerror(errno));
    out->since = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    return QL_OK;
}

/* --- where entries lie ---------------------------------------------------------------------------------------- */

const char *
ql_store_node(ql_ctx *cx, const ql_store *s, ql_key key)
{
    return ql_format(cx, "%s/nodes/%016" PRIx64 "%016" PRIx64, s->folder, key.half[0], key.half[1]);
}

static ql_status
entry_path(ql_ctx *cx, const ql_store *s, const ql_entry *e, const char **node, const char **path)
{
    *path = *node = ql_store_node(cx, s, e->key);
    if (*node && e->block == QL_WHOLE)
        *path = ql_format(cx, "%s/whole.safetensors", *node);
    else if (*node)
        *path = ql_format(cx, "%s/%05" PRId64 ".safetensors", *node, e->block);
    return *path ? QL_OK : QL_MEMORY;
}

ql_status
ql_store_type(ql_ctx *cx, const char *path, mode_t *type)
{
    struct stat info;

    *type = 0;
    if (lstat(path, &info) == 0)
        *type = info.st_mode & S_IFMT;
    else if (errno != ENOENT && errno != ENOTDIR)
        return QL_FAIL(cx, QL_IO, "%s: %s", path, strerror(errno));
    return QL_OK;
}

/* --- entries -------------------------------------------------------------------------------------------------- */

typedef struct identity { /* the part of an entry that says which it is */
    int64_t schema, block;
    ql_key key;
    char kind[16];
} identity;

static identity
identity_of(const ql_entry *e)
{
    identity id = {.schema = SCHEMA, .block = e->block, .key = e->key};

    memcpy(id.kind, e->kind, strnlen(e->kind, sizeof id.kind - 1));
    return id;
}

static ql_status
read_entry(ql_ctx *cx, const char *path, const ql_entry *e, ql_parcel *parcel)
{
    const identity expected = identity_of(e);
    identity got;

    QL_TRY(cx, ql_parcel_read(cx, path, parcel));
    QL_TRY(cx, ql_parcel_copy(cx, parcel, IDENTITY, &got, sizeof got));
    if (got.schema != SCHEMA)
        return QL_FAIL(cx, QL_INVALID, "%s: another version of qloom wrote it", path);
    return memcmp(&got, &expected, sizeof got) == 0
               ? QL_OK
               : QL_FAIL(cx, QL_INVALID, "%s: it is another stage's or block's", path);
}

/* Removes an entry, for the reason that the context's error says. */
static ql_status
spoil(ql_ctx *cx, const char *path)
{
    ql_warn(cx, "%s; it is thrown away and made again", ql_error(cx));
    if (unlink(path) != 0 && errno != ENOENT)
        return QL_FAIL(cx, QL_IO, "%s: %s", path, strerror(errno));
    ql_error_clear(cx);
    return QL_OK;
}

ql_status
ql_store_get(ql_ctx *cx, const ql_store *s, const ql_entry *e, ql_parcel *parcel, bool *found)
{
    const char *node, *path;
    mode_t folder = 0, file = 0;
    ql_status st;

    *found = false;
    QL_TRY(cx, entry_path(cx, s, e, &node, &path));
    QL_TRY(cx, ql_store_type(cx, node, &folder));
    QL_TRY(cx, ql_store_type(cx, path, &file));
    if (folder != S_IFDIR || file != S_IFREG)
        return QL_OK;
    *found = true;
    if (!parcel)
        return QL_OK;
    st = read_entry(cx, path, e, parcel);
    *found = st == QL_OK;
    if (st == QL_INVALID)
        return spoil(cx, path);
    if (st != QL_NOT_FOUND)
        return st;
    ql_error_clear(cx); /* another process has removed it */
    return QL_OK;
}

ql_status
ql_store_drop(ql_ctx *cx, const ql_store *s, const ql_entry *e)
{
    const char *node, *path;

    QL_TRY(cx, entry_path(cx, s, e, &node, &path));
    return spoil(cx, path);
}

/* What lies where the cache has something of another kind is removed. */
static ql_status
make_way(ql_ctx *cx, const char *path, mode_t wanted)
{
    mode_t type;

    QL_TRY(cx, ql_store_type(cx, path, &type));
    if (type == 0 || type == wanted)
        return QL_OK;
    ql_warn(cx, "%s: it is no %s of the cache; it is removed", path, wanted == S_IFDIR ? "folder" : "entry");
    return ql_remove_tree(cx, path);
}

ql_status
ql_store_put(ql_ctx *cx, const ql_store *s, const ql_entry *e, ql_parcel *parcel)
{
    const identity id = identity_of(e);
    const char *node, *path;

    QL_TRY(cx, entry_path(cx, s, e, &node, &path));
    QL_TRY(cx, make_way(cx, node, S_IFDIR));
    QL_TRY(cx, make_way(cx, path, S_IFREG));
    QL_TRY(cx, ql_make_folders(cx, node));
    QL_TRY(cx, ql_parcel_put(cx, parcel, IDENTITY, &id, sizeof id));
    QL_TRY(cx, ql_parcel_put(cx, parcel, ABOUT, e->about, strlen(e->about)));
    return ql_parcel_write(cx, parcel, path);
}

/* What made the entry `path`; stays NULL when it can't be read. */
static ql_status
read_about(ql_ctx *cx, const char *path, const char **about)
{
    const void *text = NULL;
    size_t bytes = 0;
    ql_parcel parcel;
    ql_status st = ql_parcel_read(cx, path, &parcel);

    if (st == QL_OK)
        st = ql_parcel_find(cx, &parcel, ABOUT, &text, &bytes);
    if (st == QL_OK && !(*about = ql_copy_text(cx, text, bytes)))
        st = QL_MEMORY;
    if (st == QL_MEMORY)
        return st;
    ql_error_clear(cx);
    return QL_OK;
}

ql_status
ql_store_about(ql_ctx *cx, const ql_store *s, ql_key key, const char **about)
{
    const char *node = ql_store_node(cx, s, key);
    const ql_folder_entry *e;
    int64_t count;

    *about = NULL;
    if (!node)
        return QL_MEMORY;
    QL_TRY(cx, ql_store_names(cx, node, &e, &count));
    for (int64_t i = 0; i < count && !*about; i++) {
        const char *file = ql_format(cx, "%s/%s", node, e[i].name);

        if (!file)
            return QL_MEMORY;
        if (ql_ends_with(file, ".safetensors") && !e[i].link)
            QL_TRY(cx, read_about(cx, file, about));
    }
    if (!*about)
        *about = "?";
    return QL_OK;
}
