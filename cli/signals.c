/* What ends the program before its command does. Handlers reach static objects only, and call only what POSIX allows them. */
#include "signals.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE 1.5         /* seconds that a run has for its next resumable point */
#define TICK_USEC 100000     /* between two looks at the time */
#define STACK_BYTES 65536    /* of the handlers of crashes: the stack may be what has ended */
#define EXIT_INTERRUPTED 130 /* as ql_status_exit has it */

static ql_cli *volatile running; /* NULL: no command is at work */
static pid_t process;            /* the program's */
static volatile sig_atomic_t interrupted;
static double volatile last_moment; /* of a run that was interrupted; 0: none was */
static double volatile limit;       /* seconds of one call of a plugin; 0: none */
static char crash_stack[STACK_BYTES];

/* --- ends --- */

/* Nothing of the process runs any more. */
__attribute__((noreturn)) static void
end(int status)
{
    for (;;)
        (void)syscall(SYS_exit_group, status);
}

/* --- texts --- */

static void
put(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        return; /* there is no other place to say it */
}

/* `text` of a page that a crashing process wrote: cut at what does not print. */
static void
put_part(const char *before, const char *text, size_t size)
{
    size_t n = 0;

    while (n < size && (unsigned char)text[n] >= ' ' && text[n] != 0x7f)
        n++;
    if (n == 0)
        return;
    put(before);
    if (write(STDERR_FILENO, text, n) < 0)
        return;
}

static double
now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- plugins that end the program --- */

/* The page of a call that is at work; NULL: no plugin is called. */
static ql_job_page *
calling(void)
{
    ql_cli *cli = running;
    ql_job_page *page = cli && cli->job ? ql_job_about(cli->job)->page : NULL;

    if (page && page->calling)
        return page;
    return cli && cli->page.calling ? &cli->page : NULL;
}

/* "plugin 'x' crashed (segmentation fault) in stage quant, model.layers.3.mlp.down_proj, cell quant.bits=3". */
static void
blame(ql_job_page *page, int signal, const char *how)
{
    page->died = signal ? signal : -1;
    put_part("\nplugin '", page->plugin, sizeof page->plugin);
    put("' ");
    put(how);
    put_part(" in stage ", page->stage, sizeof page->stage);
    put_part(", ", page->linear, sizeof page->linear);
    put_part(", cell ", page->cell, sizeof page->cell);
    put("\n");
    if (running->resumes && (page->node[0] || page->node[1]))
        put("finished blocks are kept: the same command goes on from there, and with --skip-failed without the cells "
            "that need this\n");
    else if (running->resumes)
        put("finished blocks are kept, and the same command goes on from there; every cell needs this call, so that "
            "--skip-failed can leave none out: mend the plugin, or name another\n");
}

static const struct {
    int signal;
    const char *name;
} crashes[] = {
    {SIGSEGV, "crashed (segmentation fault)"},
    {SIGBUS, "crashed (bus error)"},
    {SIGFPE, "crashed (arithmetic exception)"},
    {SIGILL, "crashed (illegal instruction)"},
    {SIGABRT, "aborted"},
};

#define CRASHES (sizeof crashes / sizeof *crashes)

/* The handler has reset itself: the signal raised again ends the process as it would have. */
static void
on_crash(int signal)
{
    ql_job_page *page = calling();

    for (size_t i = 0; i < CRASHES; i++) {
        if (crashes[i].signal != signal)
            continue;
        if (page) {
            blame(page, signal, crashes[i].name);
        } else {
            put("\nqloom itself ");
            put(crashes[i].name);
            put("; finished blocks of a run are kept\n");
        }
    }
    raise(signal);
}

/* --- files that change under their mapping --- */

/* The file of a line of /proc/self/maps, "START-END PERMISSIONS OFFSET DEVICE INODE PATH", when its range holds the address; else NULL. */
static const char *
mapped_file(const char *line, uintptr_t address)
{
    uintptr_t range[2] = {0, 0};

    for (int i = 0; i < 2; i++, line++)
        for (; *line && *line != '-' && *line != ' '; line++)
            range[i] = range[i] << 4 | (uintptr_t)(*line <= '9' ? *line - '0' : *line - 'a' + 10);
    if (address < range[0] || address >= range[1])
        return NULL;
    while (*line && *line != '/')
        line++;
    return *line ? line : NULL;
}

/* Says which file was read where it has no bytes any more, or none that its disk gives; false: the address is in no file. */
static bool
blame_file(uintptr_t address)
{
    static char line[4352];
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    char c;

    while (fd >= 0 && read(fd, &c, 1) == 1) {
        if (c != '\n') {
            line[used] = c;
            used += used < sizeof line - 1;
            continue;
        }
        line[used] = '\0';
        used = 0;
        if (mapped_file(line, address)) {
            put_part("\n", mapped_file(line, address), sizeof line);
            put(": cut short or not readable any more while it was read; finished blocks of a run are kept\n");
            close(fd);
            return true;
        }
    }
    if (fd >= 0)
        close(fd);
    return false;
}

/* What a plugin is lent can't be written to while it is called. */
static void
on_fault(int signal, siginfo_t *info, void *context)
{
    ql_job_page *page = calling();

    (void)context;
    if (!page || !page->lending || info->si_code != SEGV_ACCERR) {
        on_crash(signal);
        return;
    }
    blame(page, signal, "wrote to memory that was lent to it for reading only, or is read-only for another reason,");
    raise(signal);
}

static void
on_bus_error(int signal, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code > 0 && blame_file((uintptr_t)info->si_addr))
        end(1);
    on_crash(signal);
}

/* exit() while a command is at work is a plugin's, for nothing else of the program calls it; not that of a process that it made. */
static void
on_exit_called(void)
{
    ql_job_page *page = calling();

    if (!running || getpid() != process)
        return;
    if (page)
        blame(page, 0, "called exit()");
    else
        put("\na plugin or library called exit()\n");
    end(1);
}

/* In place of the C library's, to which plugins would go past the handlers of exit(). */
void
_exit(int status)
{
    on_exit_called();
    end(status);
}

void
_Exit(int status)
{
    _exit(status);
}

/* --- signals of the user --- */

static void
set_timer(void)
{
    const struct itimerval each = {.it_interval = {.tv_usec = TICK_USEC}, .it_value = {.tv_usec = TICK_USEC}};

    setitimer(ITIMER_REAL, &each, NULL);
}

static void
on_tick(int signal)
{
    ql_job_page *page = limit > 0 ? calling() : NULL;

    (void)signal;
    if (page && now() - page->since > limit) {
        blame(page, 0, "took longer than `time_limit:`");
        end(1);
    }
    if (last_moment > 0 && now() >= last_moment) {
        put("\nstopped in the middle of a block; finished blocks are kept, and the same command goes on from there\n");
        end(EXIT_INTERRUPTED);
    }
}

static void
on_stop(int signal)
{
    ql_cli *cli = running;

    if (interrupted || !cli || !cli->resumes)
        end(EXIT_INTERRUPTED);
    interrupted = signal;
    put("\nstopping; once more to stop at once\n");
    ql_job_cancel(cli->job);
    last_moment = now() + PATIENCE;
    set_timer();
}

/* --- installing --- */

static void
handle(int signal, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

    sigaction(signal, &action, NULL);
}

static void
handle_fault(int signal, void (*handler)(int, siginfo_t *, void *))
{
    struct sigaction action = {.sa_sigaction = handler,
                               .sa_flags = (int)(SA_SIGINFO | SA_RESETHAND | SA_ONSTACK | SA_NODEFER)};

    sigaction(signal, &action, NULL);
}

void
ql_signals_catch(ql_cli *cli)
{
    const stack_t stack = {.ss_sp = crash_stack, .ss_size = sizeof crash_stack};

    running = cli;
    process = getpid();
    sigaltstack(&stack, NULL);
    for (size_t i = 0; i < CRASHES; i++)
        handle(crashes[i].signal, on_crash, (int)(SA_RESETHAND | SA_ONSTACK | SA_NODEFER));
    handle_fault(SIGSEGV, on_fault);
    handle_fault(SIGBUS, on_bus_error);
    handle(SIGINT, on_stop, SA_RESTART);
    handle(SIGTERM, on_stop, SA_RESTART);
    handle(SIGHUP, on_stop, SA_RESTART);
    handle(SIGALRM, on_tick, SA_RESTART);
    handle(SIGPIPE, SIG_IGN, 0);
    handle(SIGXFSZ, SIG_IGN, 0);
    if (atexit(on_exit_called) != 0 || at_quick_exit(on_exit_called) != 0)
        put("warning: a plugin that calls exit() will not be named\n");
}

void
ql_signals_limit(double seconds)
{
    limit = seconds;
    if (seconds > 0)
        set_timer();
}

void
ql_signals_hold(bool hold)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

void
ql_signals_done(void)
{
    running = NULL;
}

const volatile int *
ql_signals_interrupt(void)
{
    return &interrupted;
}
