/* The file, and which of its places are taken. */
#define _GNU_SOURCE /* O_TMPFILE, mkostemp */
#include "spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"

struct ql_spill_place {
    int64_t at;
    size_t bytes;
};

static ql_status
fail(ql_ctx *cx, const ql_spill *s, const char *what)
{
    return QL_FAIL(cx, QL_IO, "%s: hidden states that wait can't be %s: %s; `spill:` names another folder", s->folder,
                   what, strerror(errno));
}

/* A file with a name for a moment, where the file system knows none without. */
static int
open_named(ql_ctx *cx, const char *folder)
{
    static const char name[] = "/.qloom-spill-XXXXXX";
    char *path = ql_alloc(cx, strlen(folder) + sizeof name, 1);
    int file;

    if (!path)
        return -1;
    memcpy(path, folder, strlen(folder));
    memcpy(path + strlen(folder), name, sizeof name);
    file = mkostemp(path, O_CLOEXEC);
    if (file >= 0)
        (void)unlink(path);
    return file;
}

ql_status
ql_spill_open(ql_ctx *cx, const char *folder, bool pretend, ql_spill *out)
{
    ql_status st;

    *out = (ql_spill){.folder = folder, .file = -1, .pretend = pretend};
    if (pretend)
        return QL_OK;
    st = ql_make_folders(cx, folder);
    if (st != QL_OK)
        return ql_where(cx, st, "spill: hidden states that wait need a folder");
    out->file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (out->file < 0 && errno != EACCES && errno != EROFS)
        out->file = open_named(cx, folder);
    return out->file >= 0 ? QL_OK : fail(cx, out, "written");
}

void
ql_spill_close(ql_spill *s)
{
    if (s->file >= 0)
        (void)close(s->file);
    free(s->free);
    *s = (ql_spill){.file = -1};
}

/* A place of that size; hidden states come in few sizes. */
static int64_t
find_place(ql_spill *s, size_t bytes)
{
    int64_t at = s->end;

    for (int64_t i = s->free_count; i-- > 0;)
        if (s->free[i].bytes == bytes) {
            at = s->free[i].at;
            s->free[i] = s->free[--s->free_count];
            return at;
        }
    s->end += (int64_t)bytes;
    return at;
}

ql_status
ql_spill_put(ql_ctx *cx, ql_spill *s, const void *data, size_t bytes, int64_t *at)
{
    *at = find_place(s, bytes);
    s->written += bytes;
    for (size_t done = 0; done < bytes && !s->pretend;) {
        const ssize_t n = pwrite(s->file, (const char *)data + done, bytes - done, *at + (int64_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail(cx, s, "written");
        done += (size_t)n;
    }
    return QL_OK;
}

ql_status
ql_spill_get(ql_ctx *cx, ql_spill *s, int64_t at, void *data, size_t bytes)
{
    s->read += bytes;
    for (size_t done = 0; done < bytes && !s->pretend;) {
        const ssize_t n = pread(s->file, (char *)data + done, bytes - done, at + (int64_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = EIO;
        if (n <= 0)
            return fail(cx, s, "read");
        done += (size_t)n;
    }
    return QL_OK;
}

void
ql_spill_ahead(const ql_spill *s, int64_t at, size_t bytes)
{
    if (!s->pretend)
        (void)posix_fadvise(s->file, at, (off_t)bytes, POSIX_FADV_WILLNEED);
}

void
ql_spill_free(ql_spill *s, int64_t at, size_t bytes)
{
    if (s->free_count == s->free_capacity) {
        const int64_t capacity = s->free_capacity ? 2 * s->free_capacity : 64;
        struct ql_spill_place *grown = realloc(s->free, (size_t)capacity * sizeof *grown);

        if (!grown)
            return; /* the place is lost until the file is closed */
        s->free = grown;
        s->free_capacity = capacity;
    }
    s->free[s->free_count++] = (struct ql_spill_place){.at = at, .bytes = bytes};
}
