/* Sinks for log lines: the terminal, and a file beside another sink. */
#ifndef QLOOM_BASE_LOG_H
#define QLOOM_BASE_LOG_H

#include <pthread.h>
#include <stdio.h>

#include "ctx.h"

/* Shows errors, warnings and information on `out`, debug lines never. On a terminal it colours them and rewrites one
 * progress line; elsewhere progress becomes plain lines, one in five seconds at most. */
typedef struct ql_terminal {
    ql_log log; /* the sink: ctx.log = &terminal.log */
    FILE *out;
    bool quiet, tty;
    bool standing; /* a progress line stands at the cursor */
    double shown;  /* when progress was last written */
    pthread_mutex_t lock;
} ql_terminal;

/* quiet: warnings and errors only, no progress. */
void ql_terminal_init(ql_terminal *t, FILE *out, bool quiet);
void ql_terminal_fini(ql_terminal *t); /* ends a progress line that still stands */

/* Every line, debug lines too, goes to `file` with the seconds since the start; lines and progress go on to `next` (may
 * be NULL). */
typedef struct ql_log_file {
    ql_log log;
    const ql_log *next;
    FILE *file; /* the caller's */
    double start;
    pthread_mutex_t lock;
} ql_log_file;

void ql_log_file_init(ql_log_file *l, FILE *file, const ql_log *next);
void ql_log_file_fini(ql_log_file *l);

#endif
