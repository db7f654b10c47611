/* Questions to the file system, folders read to their end, and names of files. */
#define _GNU_SOURCE /* dladdr */
#include "path.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <qloom/exporter.h>

#include "env.h"

#define NAME_BYTES 200 /* of the 255 that file systems allow; the rest is for what callers add */

/* --- looking ----------------------------------------------------------------------------------------------------- */

static void
describe(ql_path_info *at)
{
    static const struct {
        mode_t mode;
        ql_path_type type;
        const char *word;
    } rows[] = {{S_IFREG, QL_PATH_FILE, "a file"},     {S_IFDIR, QL_PATH_FOLDER, "a folder"},
                {S_IFIFO, QL_PATH_OTHER, "a FIFO"},    {S_IFSOCK, QL_PATH_OTHER, "a socket"},
                {S_IFBLK, QL_PATH_OTHER, "a device"},  {S_IFCHR, QL_PATH_OTHER, "a device"},
                {S_IFLNK, QL_PATH_NONE, "a dead link"}};

    at->type = QL_PATH_OTHER;
    at->word = "no file of a known kind";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if ((at->stat.st_mode & S_IFMT) == rows[i].mode) {
            at->type = rows[i].type;
            at->word = rows[i].word;
        }
}

ql_status
ql_path_look(ql_ctx *cx, const char *path, ql_path_info *out)
{
    *out = (ql_path_info){.type = QL_PATH_NONE, .word = "nothing"};
    if (stat(path, &out->stat) == 0)
        describe(out);
    else if (errno != ENOENT && errno != ENOTDIR)
        return QL_FAIL(cx, QL_IO, "%s: %s", path, strerror(errno));
    return QL_OK;
}

ql_status
ql_is_file(ql_ctx *cx, const char *path, bool *out)
{
    ql_path_info at;

    QL_TRY(cx, ql_path_look(cx, path, &at));
    *out = at.type == QL_PATH_FILE;
    if (*out || at.type == QL_PATH_NONE)
        return QL_OK;
    return QL_FAIL(cx, QL_INVALID, "%s: expected a file, got %s", path, at.word);
}

ql_status
ql_is_folder(ql_ctx *cx, const char *path, bool *out)
{
    ql_path_info at;

    QL_TRY(cx, ql_path_look(cx, path, &at));
    *out = at.type == QL_PATH_FOLDER;
    return QL_OK;
}

/* --- folders ----------------------------------------------------------------------------------------------------- */

typedef struct listing {
    ql_folder_entry *items;
    int64_t count, capacity;
} listing;

/* Entry `name` of the open folder `d`, appended unless it is gone. */
static ql_status
append(ql_ctx *cx, int d, const char *name, listing *l)
{
    ql_folder_entry e = {.name = ql_copy_text(cx, name, strlen(name))};

    if (!e.name)
        return QL_MEMORY;
    if (fstatat(d, name, &e.at.stat, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? QL_OK : QL_FAIL(cx, QL_IO, "%s: %s", name, strerror(errno));
    e.link = S_ISLNK(e.at.stat.st_mode);
    if (e.link && fstatat(d, name, &e.at.stat, 0) != 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
        return QL_FAIL(cx, QL_IO, "%s: %s", name, strerror(errno));
    describe(&e.at);
    QL_TRY(cx, ql_grow(cx, &l->items, &l->capacity, l->count + 1, sizeof *l->items));
    l->items[l->count++] = e;
    return QL_OK;
}

static int
by_name(const void *a, const void *b)
{
    const ql_folder_entry *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static ql_status
read_entries(ql_ctx *cx, DIR *d, listing *l)
{
    for (;;) {
        const struct dirent *e;

        errno = 0;
        e = readdir(d);
        if (!e)
            return errno ? QL_FAIL(cx, QL_IO, "%s", strerror(errno)) : QL_OK;
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            QL_TRY(cx, append(cx, dirfd(d), e->d_name, l));
    }
}

ql_status
ql_folder_list(ql_ctx *cx, const char *folder, const ql_folder_entry **out, int64_t *count)
{
    DIR *d = opendir(folder);
    listing l = {0};
    ql_folder_entry *items;
    ql_status st;

    *out = NULL;
    *count = 0;
    if (!d)
        return QL_FAIL(cx, errno == ENOENT ? QL_NOT_FOUND : QL_IO, "%s: %s", folder, strerror(errno));
    st = read_entries(cx, d, &l);
    closedir(d);
    items = st == QL_OK ? ql_alloc(cx, (size_t)l.count, sizeof *items) : NULL;
    if (items && l.count) {
        memcpy(items, l.items, (size_t)l.count * sizeof *items);
        qsort(items, (size_t)l.count, sizeof *items, by_name);
    }
    free(l.items);
    if (st != QL_OK)
        return ql_where(cx, st, "%s", folder);
    *out = items;
    *count = l.count;
    return items ? QL_OK : QL_MEMORY;
}

/* The folder that `text` begins with goes on with the first `n` bytes of `rest`, one name. */
static const char *
resolve_name(ql_ctx *cx, const char *text, const char *rest, size_t n)
{
    const char *slash = strrchr(text, '/');

    if (n == 0 || (n == 1 && rest[0] == '.'))
        return text;
    if (n == 2 && rest[0] == '.' && rest[1] == '.')
        return slash > text ? ql_copy_text(cx, text, (size_t)(slash - text)) : "/";
    return ql_format(cx, "%s/%.*s", text[1] ? text : "", (int)n, rest);
}

ql_status
ql_path_resolve(ql_ctx *cx, const char *path, const char **out)
{
    size_t there = strlen(path);

    for (;;) { /* the longest beginning that exists */
        const char *begin = there ? ql_copy_text(cx, path, there) : *path == '/' ? "/" : ".";
        char *real = begin ? realpath(begin, NULL) : NULL;

        *out = real ? ql_copy_text(cx, real, strlen(real)) : NULL;
        free(real);
        if (*out)
            break;
        if (!begin || real)
            return QL_MEMORY;
        if ((errno != ENOENT && errno != ENOTDIR) || there == 0)
            return QL_FAIL(cx, QL_IO, "%s: %s", path, strerror(errno));
        while (there > 0 && path[there - 1] == '/')
            there--;
        while (there > 0 && path[there - 1] != '/')
            there--;
    }
    for (const char *rest = path + there; *rest && *out;) {
        const size_t n = strcspn(rest, "/");

        *out = resolve_name(cx, *out, rest, n);
        rest += n + (rest[n] == '/');
    }
    return *out ? QL_OK : QL_MEMORY;
}

ql_status
ql_path_within(ql_ctx *cx, const char *path, const char *folder, bool *out)
{
    ql_path_info outer, at;
    const char *real;

    *out = false;
    QL_TRY(cx, ql_path_look(cx, folder, &outer));
    QL_TRY(cx, ql_path_resolve(cx, path, &real));
    while (outer.type != QL_PATH_NONE && !*out) {
        const char *slash = strrchr(real, '/');

        QL_TRY(cx, ql_path_look(cx, real, &at));
        *out = at.stat.st_dev == outer.stat.st_dev && at.stat.st_ino == outer.stat.st_ino;
        if (!slash[1])
            break;
        real = slash > real ? ql_copy_text(cx, real, (size_t)(slash - real)) : "/";
        if (!real)
            return QL_MEMORY;
    }
    return QL_OK;
}

ql_status
ql_path_room(ql_ctx *cx, const char *path, dev_t *disk, double *bytes)
{
    struct statvfs room;
    struct stat at;

    QL_TRY(cx, ql_path_resolve(cx, path, &path));
    while (stat(path, &at) != 0 && (errno == ENOENT || errno == ENOTDIR)) {
        const char *slash = strrchr(path, '/');

        path = slash > path ? ql_copy_text(cx, path, (size_t)(slash - path)) : "/";
        if (!path)
            return QL_MEMORY;
    }
    if (stat(path, &at) != 0 || statvfs(path, &room) != 0)
        return QL_FAIL(cx, QL_IO, "%s: %s", path, strerror(errno));
    *disk = at.st_dev;
    *bytes = room.f_blocks ? (double)room.f_bavail * (double)room.f_frsize : (double)INFINITY;
    return QL_OK;
}

static ql_status
remove_entries(ql_ctx *cx, const char *folder)
{
    const ql_folder_entry *entries;
    int64_t count;

    QL_TRY(cx, ql_folder_list(cx, folder, &entries, &count));
    for (int64_t i = 0; i < count; i++) {
        const char *path = ql_format(cx, "%s/%s", folder, entries[i].name);

        if (!path)
            return QL_MEMORY;
        QL_TRY(cx, ql_remove_tree(cx, path));
    }
    return QL_OK;
}

ql_status
ql_remove_tree(ql_ctx *cx, const char *path)
{
    struct stat st;
    ql_scope scope;
    ql_status result;

    if (lstat(path, &st) != 0)
        return errno == ENOENT ? QL_OK : QL_FAIL(cx, QL_IO, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return unlink(path) == 0 || errno == ENOENT ? QL_OK : QL_FAIL(cx, QL_IO, "%s: %s", path, strerror(errno));
    ql_scope_open(cx, &scope);
    result = remove_entries(cx, path);
    ql_scope_close(cx, &scope);
    if (result == QL_OK && rmdir(path) != 0 && errno != ENOENT)
        result = QL_FAIL(cx, QL_IO, "%s: %s", path, strerror(errno));
    return result;
}

static ql_status
make_folder(ql_ctx *cx, const char *path)
{
    ql_path_info at;
    int error;

    if (mkdir(path, 0777) == 0)
        return QL_OK;
    error = errno;
    QL_TRY(cx, ql_path_look(cx, path, &at));
    if (at.type == QL_PATH_FOLDER)
        return QL_OK;
    return QL_FAIL(cx, QL_IO, "cannot make the folder %s: %s", path, strerror(error));
}

ql_status
ql_make_folders(ql_ctx *cx, const char *path)
{
    char *part = (char *)ql_copy_text(cx, path, strlen(path));

    if (!part)
        return QL_MEMORY;
    for (char *slash = *part ? strchr(part + 1, '/') : NULL; slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        QL_TRY(cx, make_folder(cx, part));
        *slash = '/';
    }
    return make_folder(cx, path);
}

void
ql_sync_folder(const char *folder)
{
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

/* --- names ------------------------------------------------------------------------------------------------------- */

ql_status
ql_object_file(ql_ctx *cx, const void *address, const char **out)
{
    Dl_info info = {0};
    ql_path_info at = {0};

    *out = "/proc/self/exe";
    if (dladdr(address, &info) && info.dli_fname)
        QL_TRY(cx, ql_path_look(cx, info.dli_fname, &at));
    return at.type == QL_PATH_FILE ? ql_path_resolve(cx, info.dli_fname, out) : QL_OK;
}

const char *
ql_path_from(ql_ctx *cx, const char *folder, const char *path)
{
    const char *home = path[0] == '~' && (!path[1] || path[1] == '/') ? ql_env("HOME") : NULL;

    if (home && *home)
        return ql_format(cx, "%s%s", home, path + 1);
    if (path[0] == '/' || !folder || !*folder)
        return ql_copy_text(cx, path, strlen(path));
    return ql_format(cx, "%s/%s", folder, path);
}

bool
ql_ends_with(const char *text, const char *suffix)
{
    const size_t n = strlen(text), m = strlen(suffix);

    return n >= m && strcmp(text + n - m, suffix) == 0;
}

const char *
ql_safe_name(ql_ctx *cx, const char *text, bool *changed)
{
    const size_t bytes = strlen(text);
    size_t n = bytes < NAME_BYTES ? bytes : NAME_BYTES;
    char *name;

    while (n < bytes && n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80) /* not within a character */
        n--;
    name = (char *)ql_copy_text(cx, text, n);
    for (size_t i = 0; name && i < n; i++) {
        const unsigned char c = (unsigned char)name[i];
        const bool plain =
            (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c >= 0x80;

        if (!plain && (i == 0 || !strchr(".-=", c)))
            name[i] = '_';
    }
    if (name && changed)
        *changed = strcmp(name, text) != 0;
    return name;
}

const char *
ql_shell_word(ql_ctx *cx, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:@%+,";
    const size_t n = strlen(text);
    char *out, *p;

    if (n > 0 && strspn(text, plain) == n)
        return text;
    p = out = ql_alloc(cx, n + 1, 4);
    if (!out)
        return NULL;
    *p++ = '\'';
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\'')
            p = stpcpy(p, "'\\'");
        *p++ = text[i];
    }
    *p = '\'';
    return out;
}
