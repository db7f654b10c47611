/* Preloaded in front of the C library: makes a chosen call of a program fail, or the program die there as by `kill -9`. No part of the
 * product knows of it.
 *
 * QLOOM_FAULT    fail:N     the N-th write (of any kind) has no room on the disk
 *                full:N     the disk is full after N bytes
 *                kill:N     death in the N-th write, half of it done
 *                tick:N     death when the clock is read for the N-th time, which happens around every piece of work
 *                stop:N     Ctrl-C at that moment
 * QLOOM_FAULT_LOG  file that gets what happened where, or at the end how many writes, bytes and ticks there were */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static atomic_long writes, bytes, ticks;

/* The number behind `kind` in QLOOM_FAULT; -1: something else is asked for. */
static long
asked(const char *kind)
{
    const char *fault = getenv("QLOOM_FAULT");
    const size_t n = strlen(kind);

    return fault && strncmp(fault, kind, n) == 0 && fault[n] == ':' ? atol(fault + n + 1) : -1;
}

static int
open_log(void)
{
    const char *file = getenv("QLOOM_FAULT_LOG");

    return file ? open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
}

/* Tells where in the program it happens, as addresses that addr2line knows, and dies. */
static void
die(const char *what)
{
    void *frames[64];
    const int fd = open_log(), n = backtrace(frames, 64);

    if (fd >= 0) {
        dprintf(fd, "died in %s\n", what);
        backtrace_symbols_fd(frames, n, fd);
    }
    (void)syscall(SYS_kill, getpid(), SIGKILL);
}

/* Counts a write of `size` bytes. False: it fails, with errno set; *half: do half of it and die. */
static int
may_write(size_t size, int *half)
{
    const long n = ++writes, used = (bytes += (long)size), full = asked("full");

    *half = n == asked("kill");
    if (n != asked("fail") && (full < 0 || used <= full))
        return 1;
    errno = ENOSPC;
    return 0;
}

#define NEXT(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

size_t
fwrite(const void *data, size_t size, size_t count, FILE *f)
{
    int half;

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

    if (!f || fileno(f) <= STDERR_FILENO)
        return NEXT(fflush)(f);
    if (!may_write(0, &half))
        return EOF;
    if (half)
        die("fflush");
    return NEXT(fflush)(f);
}

ssize_t
pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    int half;

    if (!may_write(size, &half))
        return -1;
    if (!half)
        return NEXT(pwrite64)(fd, data, size, at);
    (void)NEXT(pwrite64)(fd, data, size / 2, at);
    die("pwrite");
    return -1;
}

int
fsync(int fd)
{
    int half;

    if (!may_write(0, &half))
        return -1;
    if (half)
        die("fsync");
    return NEXT(fsync)(fd);
}

int
rename(const char *from, const char *to)
{
    int half;

    if (!may_write(0, &half))
        return -1;
    if (half)
        die("rename");
    return NEXT(rename)(from, to);
}

int
clock_gettime(clockid_t clock, struct timespec *out)
{
    const long n = ++ticks;

    if (n == asked("tick"))
        die("work");
    if (n == asked("stop"))
        (void)raise(SIGINT);
    return (int)syscall(SYS_clock_gettime, clock, out);
}

__attribute__((destructor)) static void
tell(void)
{
    const int fd = getenv("QLOOM_FAULT") ? -1 : open_log();

    if (fd >= 0)
        dprintf(fd, "writes %ld bytes %ld ticks %ld\n", atomic_load(&writes), atomic_load(&bytes), atomic_load(&ticks));
}
