/* Whole files, in and out: reading in one go, writing beside the final name. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

ql_status
ql_file_read(ql_ctx *cx, const char *file, const char **text, size_t *bytes)
{
    FILE *f = fopen(file, "rb");
    struct stat st;
    char *data = NULL;
    size_t got = 0;
    ql_status result;

    if (!f)
        return QL_FAIL(cx, errno == ENOENT ? QL_NOT_FOUND : QL_IO, "%s: %s", file, strerror(errno));
    if (fstat(fileno(f), &st) != 0 || !S_ISREG(st.st_mode)) {
        result = QL_FAIL(cx, QL_IO, "%s: not a regular file", file);
    } else if (!(data = ql_alloc(cx, (size_t)st.st_size + 1, 1))) {
        result = QL_MEMORY;
    } else {
        got = fread(data, 1, (size_t)st.st_size, f);
        result = ferror(f) ? QL_FAIL(cx, QL_IO, "%s: %s", file, strerror(errno)) : QL_OK;
    }
    (void)fclose(f);
    *text = data;
    *bytes = got;
    return result;
}

bool
ql_is_file(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool
ql_is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool
ql_ends_with(const char *text, const char *suffix)
{
    const size_t n = strlen(text), m = strlen(suffix);

    return n >= m && strcmp(text + n - m, suffix) == 0;
}

static ql_status
make_folder(ql_ctx *cx, const char *path)
{
    if (mkdir(path, 0777) == 0 || (errno == EEXIST && ql_is_folder(path)))
        return QL_OK;
    return QL_FAIL(cx, QL_IO, "cannot make the folder %s: %s", path, strerror(errno));
}

ql_status
ql_make_folders(ql_ctx *cx, const char *path)
{
    size_t n = strlen(path);
    char *part = ql_alloc(cx, n + 1, 1);

    if (!part)
        return QL_MEMORY;
    memcpy(part, path, n);
    for (char *slash = strchr(part + 1, '/'); part[0] && slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        QL_TRY(cx, make_folder(cx, part));
        *slash = '/';
    }
    return make_folder(cx, path);
}

ql_status
ql_file_create(ql_ctx *cx, const char *path, ql_file_writer *out)
{
    /* The process id keeps two runs that write the same file apart: the last rename wins, and neither file is torn. */
    const char *temporary = ql_format(cx, "%s.%ld.tmp", path, (long)getpid());
    const char *name = temporary ? ql_copy_text(cx, path, strlen(path)) : NULL;

    if (!name)
        return QL_MEMORY;
    *out = (ql_file_writer){.stream = fopen(temporary, "wb"), .path = name, .temporary = temporary};
    if (!out->stream)
        return QL_FAIL(cx, QL_IO, "%s: %s", temporary, strerror(errno));
    return QL_OK;
}

ql_status
ql_file_put(ql_ctx *cx, ql_file_writer *w, const void *data, size_t bytes)
{
    if (bytes && fwrite(data, 1, bytes, w->stream) != bytes)
        return QL_FAIL(cx, QL_IO, "%s: %s", w->temporary, strerror(errno));
    return QL_OK;
}

/* A rename is on the disk only when its folder is. File systems that can't sync a folder are as durable as they
 * get. */
static void
sync_folder(const char *path, const char *slash)
{
    char folder[4096] = ".";
    size_t n = slash ? (size_t)(slash - path) : 0;
    int fd;

    if (n >= sizeof folder)
        return;
    if (slash)
        snprintf(folder, sizeof folder, "%.*s", n ? (int)n : 1, path);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

ql_status
ql_file_commit(ql_ctx *cx, ql_file_writer *w)
{
    FILE *stream = w->stream;
    bool ok = fflush(stream) == 0 && fsync(fileno(stream)) == 0;
    int error = errno;

    w->stream = NULL;
    if (fclose(stream) != 0 && ok) {
        ok = false;
        error = errno;
    }
    if (ok && rename(w->temporary, w->path) != 0) {
        ok = false;
        error = errno;
    }
    if (!ok) {
        (void)unlink(w->temporary);
        return QL_FAIL(cx, QL_IO, "%s: %s", w->path, strerror(error));
    }
    sync_folder(w->path, strrchr(w->path, '/'));
    return QL_OK;
}

void
ql_file_abort(ql_file_writer *w)
{
    if (!w->stream)
        return;
    (void)fclose(w->stream);
    (void)unlink(w->temporary);
    w->stream = NULL;
}

ql_status
ql_file_write(ql_ctx *cx, const char *path, const void *data, size_t bytes)
{
    ql_file_writer w;
    ql_status st;

    QL_TRY(cx, ql_file_create(cx, path, &w));
    st = ql_file_put(cx, &w, data, bytes);
    if (st != QL_OK) {
        ql_file_abort(&w);
        return st;
    }
    return ql_file_commit(cx, &w);
}
