/* Sinks for log lines: the terminal, and a file beside another sink. */
#include "log.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "clock.h"

#define TTY_SECONDS 0.1
#define PIPE_SECONDS 5.0
#define CLEAR_LINE "\r\033[K"

typedef struct level_look {
    const char *prefix, *colour;
} level_look;

static const level_look looks[] = {
    [QL_LOG_ERROR] = {"", "\033[31m"},
    [QL_LOG_WARN] = {"warning: ", "\033[33m"},
    [QL_LOG_INFO] = {"", ""},
    [QL_LOG_DEBUG] = {"debug: ", ""},
};

static void
terminal_write(void *user, ql_log_level level, const char *line)
{
    ql_terminal *t = user;
    const char *colour = t->tty ? looks[level].colour : "";

    if (level > (t->quiet ? QL_LOG_WARN : QL_LOG_INFO))
        return;
    pthread_mutex_lock(&t->lock);
    fprintf(t->out, "%s%s%s%s%s\n", t->standing ? CLEAR_LINE : "", colour, looks[level].prefix, line,
            *colour ? "\033[0m" : "");
    t->standing = false;
    t->shown = 0; /* the next progress line may follow at once */
    (void)fflush(t->out);
    pthread_mutex_unlock(&t->lock);
}

/* A line that wraps can't be rewritten, so it is cut to the width of the terminal. */
static int
terminal_width(const ql_terminal *t)
{
    struct winsize size;

    return ioctl(fileno(t->out), TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1 : 79;
}

static void
terminal_progress(void *user, const char *line, bool last)
{
    ql_terminal *t = user;
    double now = ql_seconds();

    pthread_mutex_lock(&t->lock);
    if (last || now - t->shown >= (t->tty ? TTY_SECONDS : PIPE_SECONDS)) {
        if (t->tty)
            fprintf(t->out, CLEAR_LINE "%.*s%s", terminal_width(t), line, last ? "\n" : "");
        else
            fprintf(t->out, "%s\n", line);
        t->standing = t->tty && !last;
        t->shown = now;
        (void)fflush(t->out);
    }
    pthread_mutex_unlock(&t->lock);
}

void
ql_terminal_init(ql_terminal *t, FILE *out, bool quiet)
{
    *t = (ql_terminal){.out = out, .quiet = quiet, .tty = isatty(fileno(out)) == 1};
    t->log = (ql_log){.write = terminal_write, .user = t, .progress = quiet ? NULL : terminal_progress};
    pthread_mutex_init(&t->lock, NULL);
}

void
ql_terminal_fini(ql_terminal *t)
{
    if (t->standing)
        fputc('\n', t->out);
    t->standing = false;
    pthread_mutex_destroy(&t->lock);
}

static void
file_write(void *user, ql_log_level level, const char *line)
{
    ql_log_file *l = user;

    pthread_mutex_lock(&l->lock);
    fprintf(l->file, "%10.3f %s%s\n", ql_seconds() - l->start, level == QL_LOG_ERROR ? "error: " : looks[level].prefix,
            line);
    (void)fflush(l->file); /* the last line before a crash is the one that is wanted */
    pthread_mutex_unlock(&l->lock);
    if (l->next)
        l->next->write(l->next->user, level, line);
}

static void
file_progress(void *user, const char *line, bool last)
{
    const ql_log_file *l = user;

    if (l->next && l->next->progress)
        l->next->progress(l->next->user, line, last);
}

void
ql_log_file_init(ql_log_file *l, FILE *file, const ql_log *next)
{
    *l = (ql_log_file){.next = next, .file = file, .start = ql_seconds()};
    l->log = (ql_log){.write = file_write, .user = l, .progress = file_progress};
    pthread_mutex_init(&l->lock, NULL);
}

void
ql_log_file_fini(ql_log_file *l)
{
    pthread_mutex_destroy(&l->lock);
}
