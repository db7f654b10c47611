/* The folder of a run: made and locked, with the expanded pipeline and the log. */
#define _GNU_SOURCE /* nftw */
#include "folder.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"

const char *
ql_folder_name(ql_ctx *cx, const ql_graph *g)
{
    const char *from = g->name && *g->name ? g->name : "run";
    size_t n = strlen(from);
    char *name = ql_alloc(cx, n + 1, 1);
    uint64_t hash[2];

    if (!name)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)from[i];
        bool plain =
            (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c >= 0x80;

        name[i] = plain || (i > 0 && (c == '.' || c == '-')) ? from[i] : '_';
    }
    ql_hash_bytes(g->expanded, strlen(g->expanded), hash);
    return ql_format(cx, "%s-%08" PRIx32, name, (uint32_t)(hash[1] & 0xffffffffu));
}

/* The lock goes with the process, however it ends; the file stays, for removing it would race with the next run. */
static ql_status
take_lock(ql_ctx *cx, ql_folder *f)
{
    const char *path = ql_format(cx, "%s/lock", f->path);
    char pid[32] = "";
    int n;

    if (!path)
        return QL_MEMORY;
    f->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (f->lock < 0)
        return QL_FAIL(cx, QL_IO, "%s: %s", path, strerror(errno));
    if (flock(f->lock, LOCK_EX | LOCK_NB) != 0) {
        ssize_t got = errno == EWOULDBLOCK ? read(f->lock, pid, sizeof pid - 1) : -1;

        if (got < 0)
            return QL_FAIL(cx, QL_IO, "cannot lock %s: %s", path, strerror(errno));
        pid[strcspn(pid, "\n")] = '\0';
        return QL_FAIL(cx, QL_INVALID,
                       "%s: another qloom is at work here%s%s; wait for it, or choose another folder of runs", f->path,
                       *pid ? ", process " : "", pid);
    }
    n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(f->lock, 0) != 0 || write(f->lock, pid, (size_t)n) != n)
        return QL_FAIL(cx, QL_IO, "%s: %s", path, strerror(errno));
    return QL_OK;
}

/* A file that is being written by nobody: we hold the lock, and the process that began it is gone. */
static int
remove_torn(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)at;
    if (type == FTW_F && ql_ends_with(path, ".tmp"))
        (void)unlink(path);
    return 0;
}

static ql_status
open_log(ql_ctx *cx, ql_folder *f)
{
    const char *path = ql_format(cx, "%s/log.txt", f->path);

    if (!path)
        return QL_MEMORY;
    QL_TRY(cx, ql_file_stream(cx, path, "w", &f->log_file));
    f->outside = cx->log;
    ql_log_file_init(&f->log, f->log_file, cx->log);
    cx->log = &f->log.log;
    return QL_OK;
}

static ql_status
fill_folder(ql_ctx *cx, const ql_graph *g, ql_folder *f)
{
    const char *pipeline = ql_format(cx, "%s/pipeline.yaml", f->path);

    if (!pipeline)
        return QL_MEMORY;
    QL_TRY(cx, ql_make_folders(cx, f->path));
    QL_TRY(cx, take_lock(cx, f));
    (void)nftw(f->path, remove_torn, 16, FTW_PHYS);
    QL_TRY(cx, open_log(cx, f));
    return ql_file_write(cx, pipeline, g->expanded, strlen(g->expanded));
}

ql_status
ql_folder_open(ql_ctx *cx, const char *runs, const ql_graph *g, ql_folder *out)
{
    ql_status st;

    *out = (ql_folder){.runs = runs, .lock = -1};
    if (!*runs)
        return QL_FAIL(cx, QL_INVALID, "the name of the folder of runs is empty");
    out->name = ql_folder_name(cx, g);
    out->path = out->name ? ql_format(cx, "%s/%s", runs, out->name) : NULL;
    if (!out->path)
        return QL_MEMORY;
    st = fill_folder(cx, g, out);
    if (st != QL_OK)
        ql_folder_close(cx, out);
    return st;
}

void
ql_folder_close(ql_ctx *cx, ql_folder *f)
{
    if (f->log_file) {
        cx->log = f->outside;
        ql_log_file_fini(&f->log);
        (void)fclose(f->log_file);
    }
    if (f->path && f->lock >= 0)
        close(f->lock);
    *f = (ql_folder){.lock = -1};
}
