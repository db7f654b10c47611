/* Progress of a long piece of work with the time that is left, shown through the log's sink. */
#include "progress.h"

#include <stdio.h>

#include "clock.h"
#include "text.h"

#define ETA_AFTER 1.0 /* seconds before a guess of the rest is worth showing */
#define SECONDS_MAX 3.6e6

/* "7 s", "3:07", "2:03:07" */
static void
duration(double seconds, char *text, size_t size)
{
    long s = (long)(seconds < SECONDS_MAX ? seconds + 0.5 : SECONDS_MAX);

    if (s < 60)
        snprintf(text, size, "%ld s", s);
    else if (s < 3600)
        snprintf(text, size, "%ld:%02ld", s / 60, s % 60);
    else
        snprintf(text, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
}

static void
show(ql_ctx *cx, const char *line, bool last)
{
    char text[512];

    ql_visible(line, " ", text, sizeof text);
    if (cx->log && cx->log->progress)
        cx->log->progress(cx->log->user, text, last);
}

void
ql_progress_start(ql_ctx *cx, ql_progress *p, double total, const char *label)
{
    *p = (ql_progress){.label = label, .total = total, .start = ql_seconds()};
    ql_progress_step(cx, p, 0, NULL);
}

void
ql_progress_step(ql_ctx *cx, ql_progress *p, double units, const char *what)
{
    double spent = ql_seconds() - p->start, part;
    char line[512], left[64] = "", time[32];

    p->done += units;
    part = p->done < p->total ? p->done / p->total : 1;
    if (part > 0 && part < 1 && spent >= ETA_AFTER) {
        duration(spent * (1 - part) / part, time, sizeof time);
        snprintf(left, sizeof left, ", %s left", time);
    }
    snprintf(line, sizeof line, "%s: %d %%%s%s%s", p->label, (int)(100 * part), left, what ? ", " : "",
             what ? what : "");
    show(cx, line, false);
}

void
ql_progress_end(ql_ctx *cx, ql_progress *p)
{
    char line[512], time[32];

    duration(ql_seconds() - p->start, time, sizeof time);
    if (p->done < p->total * (1 - 1e-9)) /* sums of weights round */
        snprintf(line, sizeof line, "%s: stopped at %d %% after %s", p->label, (int)(100 * p->done / p->total), time);
    else
        snprintf(line, sizeof line, "%s: done in %s", p->label, time);
    show(cx, line, true);
}
