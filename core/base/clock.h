/* Time for progress and the timings of stages. */
#ifndef QLOOM_BASE_CLOCK_H
#define QLOOM_BASE_CLOCK_H

/* Seconds since some fixed moment; never runs backwards. [any thread] */
double ql_seconds(void);

#endif
