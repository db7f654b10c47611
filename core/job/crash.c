/* Crashes of plugins: the page that says what is called, and what earlier runs died of. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "job.h"

#define NODE_DIGITS 32

_Static_assert(sizeof(ql_job_page) <= QL_PAGE_BYTES, "the page is one");

static ql_status
add_crash(ql_job *job, const uint64_t node[2], const char *why)
{
    ql_crash *c = ql_alloc(&job->cx, 1, sizeof *c);

    if (!c)
        return QL_MEMORY;
    *c = (ql_crash){.node = {node[0], node[1]}, .why = why, .next = job->crashes};
    job->crashes = c;
    return why ? QL_OK : QL_MEMORY;
}

/* Lines that are none are passed over: the file may be cut where a disk was full. */
static ql_status
read_crashes(ql_job *job, const char *path)
{
    const char *text;
    size_t bytes;
    ql_status st = ql_file_read(&job->cx, path, QL_FILE_MOST, &text, &bytes);

    if (st == QL_NOT_FOUND) {
        ql_error_clear(&job->cx);
        return QL_OK;
    }
    QL_TRY(&job->cx, st);
    while (*text) {
        const size_t length = strcspn(text, "\n");
        uint64_t node[2];

        if (length > NODE_DIGITS + 1 && sscanf(text, "%16" SCNx64 "%16" SCNx64, &node[0], &node[1]) == 2)
            QL_TRY(&job->cx,
                   add_crash(job, node, ql_copy_text(&job->cx, text + NODE_DIGITS + 1, length - NODE_DIGITS - 1)));
        text += length + (text[length] == '\n');
    }
    return QL_OK;
}

static ql_status
write_crashes(ql_job *job, const char *path)
{
    const char *text = "";

    for (const ql_crash *c = job->crashes; c && text; c = c->next)
        text = ql_format(&job->cx, "%016" PRIx64 "%016" PRIx64 " %s\n%s", c->node[0], c->node[1], c->why, text);
    return text ? ql_file_write(&job->cx, path, text, strlen(text)) : QL_MEMORY;
}

/* The texts of a page that a dead process left may be anything. */
static const char *
plain(char *text, size_t size)
{
    text[size - 1] = '\0';
    for (char *p = text; *p; p++)
        *p = *p >= ' ' && *p < 0x7f ? *p : '?';
    return text;
}

/* Nobody wrote down why the process ended, so it was killed, or a thread that the plugin made had no stack left for a handler. Only a kill
 * is likely, so the call is made again. */
static void
tell_end(ql_ctx *cx, ql_job_page *left)
{
    const char *plugin = plain(left->plugin, sizeof left->plugin), *stage = plain(left->stage, sizeof left->stage),
               *linear = plain(left->linear, sizeof left->linear);

    ql_info(cx,
            "the run before ended without a word while plugin '%s' was called%s%s%s%s: it was killed, or a thread of "
            "the plugin's "
            "own ran out of stack",
            plugin, *stage ? " in stage " : "", stage, *linear ? ", " : "", linear);
}

static ql_status
take_crash(ql_job *job, ql_job_page *left)
{
    const char *signal;

    (void)plain(left->linear, sizeof left->linear);
    signal = left->died > 0 ? ql_format(&job->cx, " (signal %d)", left->died) : "";
    if (!signal)
        return QL_MEMORY;
    return add_crash(job, left->node,
                     ql_format(&job->cx, "the plugin ended the program of an earlier run%s%s%s", signal,
                               *left->linear ? " in " : "", left->linear));
}

/* What the file holds from the last time goes to *left, zeros where it is none of ours. -1: it can't be used. */
static int
open_page(const char *path, ql_job_page *left)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    struct stat info;

    if (fd < 0)
        return -1;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || pread(fd, left, sizeof *left, 0) < 0 ||
        posix_fallocate(fd, 0, QL_PAGE_BYTES) != 0) { /* a page without a place on the disk would be a SIGBUS later */
        close(fd);
        return -1;
    }
    if (info.st_size != QL_PAGE_BYTES)
        memset(left, 0, sizeof *left);
    return fd;
}

ql_status
ql_job_map(ql_job *job)
{
    ql_ctx *cx = &job->cx;
    const ql_folder *f = &job->folder;
    ql_job_page *const page = job->info.page;
    const char *path = ql_format(cx, "%s/at", f->path), *crashes = ql_format(cx, "%s/crashes", f->path);
    ql_job_page left = {0};
    int fd = path ? open_page(path, &left) : -1;
    void *at;

    if (!path || !crashes)
        return QL_MEMORY;
    job->crashes = NULL;
    if (job->opt.skip_failed)
        QL_TRY(cx, read_crashes(job, crashes));
    else if (unlink(crashes) != 0 && errno != ENOENT)
        return QL_FAIL(cx, QL_IO, "%s: %s", crashes, strerror(errno));
    if (left.calling && left.died && (left.node[0] || left.node[1])) {
        QL_TRY(cx, take_crash(job, &left));
        QL_TRY(cx, write_crashes(job, crashes));
    }
    if (left.calling && !left.died)
        tell_end(cx, &left);
    if (fd < 0) {
        ql_warn(cx, "%s: can't be mapped (%s); a run that dies leaves no word of where", path, strerror(errno));
        return QL_OK;
    }
    at = mmap(page, QL_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    close(fd);
    if (at == MAP_FAILED)
        return QL_FAIL(cx, QL_MEMORY, "no memory to map %s", path);
    memset(page, 0, sizeof *page);
    return QL_OK;
}
