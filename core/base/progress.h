/* Progress of a long piece of work with the time that is left, shown through the log's sink. */
#ifndef QLOOM_BASE_PROGRESS_H
#define QLOOM_BASE_PROGRESS_H

#include "ctx.h"

typedef struct ql_progress { /* the caller's memory */
    const char *label;
    double total, done; /* units of work, weighted by what they cost */
    double start;       /* seconds */
} ql_progress;

/* `label` must live until the end; total > 0. [one thread per context] */
void ql_progress_start(ql_ctx *cx, ql_progress *p, double total, const char *label);
/* `units` more are done; `what` says what comes next ("block 4 of 16, quant"), or NULL. */
void ql_progress_step(ql_ctx *cx, ql_progress *p, double units, const char *what);
/* Done, or given up: says how long it took. */
void ql_progress_end(ql_ctx *cx, ql_progress *p);

#endif
