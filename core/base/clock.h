/* Time for progress and the timings of stages. */
#ifndef QLOOM_BASE_CLOCK_H
#define QLOOM_BASE_CLOCK_H

#include <time.h>

/* Seconds since some fixed moment; never runs backwards. [any thread] */
static inline double
ql_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
