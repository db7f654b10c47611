/* Preloaded in front of the C library: makes a chosen call of a program fail, or the program die there as by `kill -9`. No part of the
 * product knows of it.
 *
 * QLOOM_FAULT    fail:N     the N-th write (of any kind) has no room on the disk
 *                full:N     the disk is full after N bytes
 *                room:N     the same, and it says so: N bytes are free at first
 *                kill:N     death in the N-th write, half of it done
 *                tick:N     death when the clock is read for the N-th time, which happens around every piece of work
 *                stop:N     Ctrl-C at that moment
 *                CALL:N     the N-th CALL fails, one of calls[] below: malloc:3
 *                CALL:N+    every CALL from the N-th on fails
 *                CALL:N!    death in the N-th CALL
 * QLOOM_FAULT_LOG  file that gets what happened where, or at the end how many writes, bytes and ticks there were, and a line with the
 *                number of each CALL */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef enum call {
    MALLOC,
    MMAP,
    OPEN,
    READ,
    WRITE,
    PWRITE,
    FSYNC,
    RENAME,
    FTRUNCATE,
    STAT,
    READDIR,
    UNLINK,
    MKDIR,
    THREAD,
    CALLS
} call;

static const struct {
    const char *name;
    int error;
} calls[CALLS] = {{"malloc", ENOMEM}, {"mmap", ENOMEM},          {"open", EIO},
                  {"read", EIO},      {"write", ENOSPC},         {"pwrite", ENOSPC},
                  {"fsync", EIO},     {"rename", EIO},           {"ftruncate", EIO},
                  {"stat", EIO},      {"readdir", EIO},          {"unlink", EACCES},
                  {"mkdir", EIO},     {"pthread_create", EAGAIN}};

static atomic_long writes, bytes, ticks, counts[CALLS];
static long fail_at = -1, full_at = -1, room = -1, kill_at = -1, tick_at = -1, stop_at = -1; /* -1: not chosen */
static int chosen = CALLS;
static long chosen_at, chosen_end;
static int chosen_dies;
static atomic_int started; /* what the loader does before is not the program's */

/* The number behind `kind` in `fault`; -1: something else is chosen. */
static long
number(const char *fault, const char *kind)
{
    const size_t n = strlen(kind);

    return fault && strncmp(fault, kind, n) == 0 && fault[n] == ':' ? atol(fault + n + 1) : -1;
}

__attribute__((constructor)) static void
start(void)
{
    const char *fault = getenv("QLOOM_FAULT");

    fail_at = number(fault, "fail");
    room = number(fault, "room");
    full_at = room < 0 ? number(fault, "full") : room;
    kill_at = number(fault, "kill");
    tick_at = number(fault, "tick");
    stop_at = number(fault, "stop");
    for (int i = 0; i < CALLS; i++) {
        const long n = number(fault, calls[i].name);

        if (n < 0)
            continue;
        chosen = i;
        chosen_at = n;
        chosen_end = strchr(fault, '+') ? INT64_MAX : n;
        chosen_dies = strchr(fault, '!') != NULL;
    }
    started = 1;
}

static int
open_log(void)
{
    const char *file = getenv("QLOOM_FAULT_LOG");

    return file ? (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
}

/* Tells where in the program it happens, as files and offsets in them that addr2line knows, and dies. */
static void
die(const char *what)
{
    void *frames[64];
    const int fd = open_log(), n = backtrace(frames, 64);
    Dl_info info;

    if (fd >= 0)
        dprintf(fd, "died in %s\n", what);
    for (int i = 0; fd >= 0 && i < n; i++)
        if (dladdr(frames[i], &info) && info.dli_fname)
            dprintf(fd, "%s +%#lx\n", info.dli_fname,
                    (unsigned long)((uintptr_t)frames[i] - (uintptr_t)info.dli_fbase));
    (void)syscall(SYS_kill, getpid(), SIGKILL);
}

/* Counts a call. True: it fails, with errno set. */
static int
fails(call which)
{
    const long n = started ? ++counts[which] : 0;

    if (n == 0 || (int)which != chosen || n < chosen_at || n > chosen_end)
        return 0;
    if (chosen_dies)
        die(calls[which].name);
    errno = calls[which].error;
    return 1;
}

/* Counts a write of `size` bytes. False: it fails, with errno set; *half: do half of it and die. */
static int
may_write(size_t size, int *half)
{
    const long n = ++writes, used = (bytes += (long)size);

    *half = n == kill_at;
    if (n != fail_at && (full_at < 0 || used <= full_at))
        return 1;
    errno = ENOSPC;
    return 0;
}

#define NEXT(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

int
statvfs(const char *path, struct statvfs *out)
{
    const int status = NEXT(statvfs)(path, out);

    if (status == 0 && room >= 0)
        out->f_bavail = (fsblkcnt_t)(room > bytes ? room - bytes : 0) / out->f_frsize;
    return status;
}

size_t
fwrite(const void *data, size_t size, size_t count, FILE *f)
{
    int half;

    if (fails(WRITE))
        return 0;
    if (fileno(f) <= STDERR_FILENO)
        return NEXT(fwrite)(data, size, count, f);
    if (!may_write(size * count, &half))
        return 0;
    if (!half)
        return NEXT(fwrite)(data, size, count, f);
    (void)NEXT(fwrite)(data, 1, size * count / 2, f);
    (void)NEXT(fflush)(f);
    die("fwrite");
    return 0;
}

int
fflush(FILE *f)
{
    int half;

    if (fails(WRITE))
        return EOF;
    if (!f || fileno(f) <= STDERR_FILENO)
        return NEXT(fflush)(f);
    if (!may_write(0, &half))
        return EOF;
    if (half)
        die("fflush");
    return NEXT(fflush)(f);
}

ssize_t
write(int fd, const void *data, size_t size)
{
    return fails(WRITE) ? -1 : (ssize_t)syscall(SYS_write, fd, data, size);
}

ssize_t
pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    int half;

    if (fails(PWRITE) || !may_write(size, &half))
        return -1;
    if (!half)
        return NEXT(pwrite64)(fd, data, size, at);
    (void)NEXT(pwrite64)(fd, data, size / 2, at);
    die("pwrite");
    return -1;
}

ssize_t
pwrite(int fd, const void *data, size_t size, off_t at)
{
    return pwrite64(fd, data, size, at);
}

int
fsync(int fd)
{
    int half;

    if (fails(FSYNC) || !may_write(0, &half))
        return -1;
    if (half)
        die("fsync");
    return NEXT(fsync)(fd);
}

int
fdatasync(int fd)
{
    return fails(FSYNC) ? -1 : NEXT(fdatasync)(fd);
}

int
rename(const char *from, const char *to)
{
    int half;

    if (fails(RENAME) || !may_write(0, &half))
        return -1;
    if (half)
        die("rename");
    return NEXT(rename)(from, to);
}

int
renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    return fails(RENAME) ? -1 : NEXT(renameat2)(from_fd, from, to_fd, to, flags);
}

int
clock_gettime(clockid_t clock, struct timespec *out)
{
    const long n = ++ticks;

    if (n == tick_at)
        die("work");
    if (n == stop_at)
        (void)raise(SIGINT);
    return (int)syscall(SYS_clock_gettime, clock, out);
}

/* --- calls that only fail ---------------------------------------------------------------------------------------- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *
malloc(size_t size)
{
    return fails(MALLOC) ? NULL : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
    return fails(MALLOC) ? NULL : __libc_calloc(count, size);
}

void *
realloc(void *p, size_t size)
{
    return fails(MALLOC) ? NULL : __libc_realloc(p, size);
}

void *
aligned_alloc(size_t alignment, size_t size)
{
    return fails(MALLOC) ? NULL : __libc_memalign(alignment, size);
}

int
posix_memalign(void **out, size_t alignment, size_t size)
{
    void *p = fails(MALLOC) ? NULL : __libc_memalign(alignment, size);

    if (p)
        *out = p;
    return p ? 0 : ENOMEM;
}

void *
mmap64(void *at, size_t size, int access, int flags, int fd, off64_t offset)
{
    return fails(MMAP) ? MAP_FAILED : (void *)syscall(SYS_mmap, at, size, access, flags, fd, offset);
}

void *
mmap(void *at, size_t size, int access, int flags, int fd, off_t offset)
{
    return mmap64(at, size, access, flags, fd, offset);
}

static int
open_at(int folder, const char *path, int flags, va_list arguments)
{
    const mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;

    return fails(OPEN) ? -1 : (int)syscall(SYS_openat, folder, path, flags, mode);
}

#define OPENS(name)                                     \
    int name(const char *path, int flags, ...)          \
    {                                                   \
        va_list arguments;                              \
        int fd;                                         \
                                                        \
        va_start(arguments, flags);                     \
        fd = open_at(AT_FDCWD, path, flags, arguments); \
        va_end(arguments);                              \
        return fd;                                      \
    }
#define OPENS_AT(name)                                     \
    int name(int folder, const char *path, int flags, ...) \
    {                                                      \
        va_list arguments;                                 \
        int fd;                                            \
                                                           \
        va_start(arguments, flags);                        \
        fd = open_at(folder, path, flags, arguments);      \
        va_end(arguments);                                 \
        return fd;                                         \
    }
OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)

/* NAME(PARAMETERS) that fails as CALL does and returns FAILURE, else calls the C library's with ARGUMENTS. */
#define FAILING(result, name, parameters, which, failure, arguments) \
    result name parameters                                           \
    {                                                                \
        return fails(which) ? (failure) : NEXT(name) arguments;      \
    }
FAILING(FILE *, fopen, (const char *path, const char *mode), OPEN, NULL, (path, mode))
FAILING(FILE *, fopen64, (const char *path, const char *mode), OPEN, NULL, (path, mode))
FAILING(FILE *, fdopen, (int fd, const char *mode), OPEN, NULL, (fd, mode))
FAILING(DIR *, opendir, (const char *path), OPEN, NULL, (path))
FAILING(DIR *, fdopendir, (int fd), OPEN, NULL, (fd))
FAILING(ssize_t, read, (int fd, void *to, size_t size), READ, -1, (fd, to, size))
FAILING(ssize_t, pread, (int fd, void *to, size_t size, off_t at), READ, -1, (fd, to, size, at))
FAILING(ssize_t, pread64, (int fd, void *to, size_t size, off64_t at), READ, -1, (fd, to, size, at))
FAILING(int, ftruncate, (int fd, off_t size), FTRUNCATE, -1, (fd, size))
FAILING(int, ftruncate64, (int fd, off64_t size), FTRUNCATE, -1, (fd, size))
FAILING(int, stat, (const char *path, struct stat *to), STAT, -1, (path, to))
FAILING(int, lstat, (const char *path, struct stat *to), STAT, -1, (path, to))
FAILING(int, fstat, (int fd, struct stat *to), STAT, -1, (fd, to))
FAILING(int, fstatat, (int folder, const char *path, struct stat *to, int flags), STAT, -1, (folder, path, to, flags))
FAILING(int, stat64, (const char *path, struct stat64 *to), STAT, -1, (path, to))
FAILING(int, lstat64, (const char *path, struct stat64 *to), STAT, -1, (path, to))
FAILING(int, fstat64, (int fd, struct stat64 *to), STAT, -1, (fd, to))
FAILING(int, access, (const char *path, int how), STAT, -1, (path, how))
FAILING(struct dirent *, readdir, (DIR * d), READDIR, NULL, (d))
FAILING(struct dirent64 *, readdir64, (DIR * d), READDIR, NULL, (d))
FAILING(int, unlink, (const char *path), UNLINK, -1, (path))
FAILING(int, unlinkat, (int folder, const char *path, int flags), UNLINK, -1, (folder, path, flags))
FAILING(int, rmdir, (const char *path), UNLINK, -1, (path))
FAILING(int, remove, (const char *path), UNLINK, -1, (path))
FAILING(int, mkdir, (const char *path, mode_t mode), MKDIR, -1, (path, mode))
FAILING(int, mkdirat, (int folder, const char *path, mode_t mode), MKDIR, -1, (folder, path, mode))
FAILING(int, pthread_create, (pthread_t * thread, const pthread_attr_t *how, void *(*run)(void *), void *with), THREAD,
        EAGAIN, (thread, how, run, with))

/* A stream's error is asked for with ferror(), which only the C library can set: one that is at its end already. */
size_t
fread(void *to, size_t size, size_t count, FILE *f)
{
    if (!fails(READ))
        return NEXT(fread)(to, size, count, f);
    f->_flags |= 0x20; /* _IO_ERR_SEEN */
    return 0;
}

__attribute__((destructor)) static void
tell(void)
{
    const int fd = getenv("QLOOM_FAULT") ? -1 : open_log();

    started = 0;
    if (fd < 0)
        return;
    dprintf(fd, "writes %ld bytes %ld ticks %ld\n", atomic_load(&writes), atomic_load(&bytes), atomic_load(&ticks));
    for (int i = 0; i < CALLS; i++)
        dprintf(fd, "%s %ld\n", calls[i].name, atomic_load(&counts[i]));
}
