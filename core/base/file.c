/* Whole files, in and out: reading in one go, writing beside the final name. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens without waiting for the other end of a FIFO, then looks at what it got. */
ql_status
ql_file_open(ql_ctx *cx, const char *file, int *fd, struct stat *st)
{
    ql_path_info at;
    ql_status result;

    *fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    *st = (struct stat){0};
    if (*fd >= 0 && fstat(*fd, st) == 0 && S_ISREG(st->st_mode))
        return QL_OK;
    if (st->st_mode == 0 && errno != ENXIO) /* ENXIO: a socket, or a device without a driver */
        return QL_FAIL(cx, errno == ENOENT ? QL_NOT_FOUND : QL_IO, "%s: %s", file, strerror(errno));
    result = ql_path_look(cx, file, &at);
    if (result == QL_OK)
        result = QL_FAIL(cx, QL_IO, "%s: not a regular file but %s", file, at.word);
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return result;
}

/* Reads until `bytes` are there or the file ends. */
static ql_status
read_all(ql_ctx *cx, const char *file, int fd, char *data, size_t bytes, size_t *got)
{
    for (*got = 0; *got < bytes;) {
        const ssize_t n = read(fd, data + *got, bytes - *got);

        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            return QL_FAIL(cx, QL_IO, "%s: %s", file, strerror(errno));
        *got += n > 0 ? (size_t)n : 0;
    }
    return QL_OK;
}

ql_status
ql_file_read(ql_ctx *cx, const char *file, size_t most, const char **text, size_t *bytes)
{
    struct stat st;
    char *data = NULL;
    ql_status result;
    int fd;

    QL_TRY(cx, ql_file_open(cx, file, &fd, &st));
    if ((uintmax_t)st.st_size > most)
        result = QL_FAIL(cx, QL_INVALID, "%s: expected at most %zu bytes, got %jd", file, most, (intmax_t)st.st_size);
    else if (!(data = ql_alloc(cx, (size_t)st.st_size + 1, 1)))
        result = QL_MEMORY;
    else
        result = read_all(cx, file, fd, data, (size_t)st.st_size, bytes);
    close(fd);
    *text = data;
    return result;
}

ql_status
ql_file_stream(ql_ctx *cx, const char *path, const char *mode, FILE **out)
{
    const int how = strchr(mode, '+') ? O_RDWR : O_WRONLY, begin = *mode == 'a' ? O_APPEND : 0;
    const int fd = open(path, how | begin | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
    struct stat st;
    bool ok = fd >= 0 && fstat(fd, &st) == 0;
    int error = errno;

    if (ok && !S_ISREG(st.st_mode)) {
        close(fd);
        return QL_FAIL(cx, QL_IO, "%s: not a regular file", path);
    }
    ok = ok && (begin || ftruncate(fd, 0) == 0);
    *out = ok ? fdopen(fd, mode) : NULL;
    if (*out)
        return QL_OK;
    error = ok || fd >= 0 ? errno : error;
    if (fd >= 0)
        close(fd);
    return QL_FAIL(cx, QL_IO, "%s: %s%s", path, strerror(error), error == ELOOP ? ": links are not followed" : "");
}

ql_status
ql_file_create(ql_ctx *cx, const char *path, ql_file_writer *out)
{
    /* The process id keeps two runs that write the same file apart: the last rename wins, and neither file is torn. */
    const char *temporary = ql_format(cx, "%s.%ld.tmp", path, (long)getpid());
    const char *name = temporary ? ql_copy_text(cx, path, strlen(path)) : NULL;
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd, error;

    if (!name)
        return QL_MEMORY;
    *out = (ql_file_writer){.path = name, .temporary = temporary};
    fd = open(temporary, flags, 0666);
    if (fd < 0 && errno == EEXIST &&
        unlink(temporary) == 0) /* of a process that was killed, or a link that a stranger planted */
        fd = open(temporary, flags, 0666);
    out->stream = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (out->stream)
        return QL_OK;
    error = errno;
    if (fd >= 0) {
        close(fd);
        (void)unlink(temporary);
    }
    return QL_FAIL(cx, QL_IO, "%s: %s", temporary, strerror(error));
}

ql_status
ql_file_put(ql_ctx *cx, ql_file_writer *w, const void *data, size_t bytes)
{
    if (bytes && fwrite(data, 1, bytes, w->stream) != bytes)
        return QL_FAIL(cx, QL_IO, "%s: %s", w->temporary, strerror(errno));
    return QL_OK;
}

/* A rename is on the disk only when its folder is. */
static void
sync_folder_of(const char *path)
{
    char folder[4096] = ".";
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) : 0;

    if (n >= sizeof folder)
        return;
    if (slash)
        snprintf(folder, sizeof folder, "%.*s", n ? (int)n : 1, path);
    ql_sync_folder(folder);
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
    sync_folder_of(w->path);
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
