/* Ratios of two times from one run: A B A B interleaved, the median of the pairwise ratios, and "noisy" where a side varies by more
 * than 30 %. One thread is timed by the processor time of the process, several by the wall clock. */
#ifndef QLOOM_BENCH_H
#define QLOOM_BENCH_H

#include <time.h>

#include "tests/device.h"

#define BENCH_MOST 99 /* repetitions */

/* Ends the program with the reason unless `st` is OK. */
static inline void
require(ql_ctx *cx, ql_status st)
{
    if (st == QL_OK)
        return;
    fprintf(stderr, "%s: %s\n", ql_status_text(st), ql_error(cx));
    exit(1);
}

typedef struct bench_side {
    void (*run)(void *arg);
    void *arg;
    double times[BENCH_MOST];
} bench_side;

static inline double
bench_clock(bool wall)
{
    struct timespec t;

    clock_gettime(wall ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline int
bench_order(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static inline double
bench_median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, bench_order);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

static inline double
bench_time(bench_side *s, bool wall)
{
    const double start = bench_clock(wall);

    s->run(s->arg);
    return bench_clock(wall) - start;
}

/* Prints and returns time(a) / time(b) after one warm-up. */
static inline double
bench_ratio(const char *name, bench_side *a, bench_side *b, int repetitions, bool wall)
{
    double ratios[BENCH_MOST], ta, tb, ratio;
    int n = repetitions < BENCH_MOST ? repetitions : BENCH_MOST;
    bool noisy;

    bench_time(a, wall);
    bench_time(b, wall);
    for (int i = 0; i < n; i++) {
        a->times[i] = bench_time(a, wall);
        b->times[i] = bench_time(b, wall);
        ratios[i] = a->times[i] / b->times[i];
    }
    ta = bench_median(a->times, n);
    tb = bench_median(b->times, n);
    noisy = a->times[n - 1] > 1.3 * a->times[0] || b->times[n - 1] > 1.3 * b->times[0]; /* sorted by now */
    ratio = bench_median(ratios, n);
    printf("%-44s %6.3f   %9.2f ms against %9.2f ms   (ratios %.3f .. %.3f)%s\n", name, ratio, ta * 1e3, tb * 1e3,
           ratios[0], ratios[n - 1], noisy ? "   noisy" : "");
    fflush(stdout);
    return ratio;
}

#endif
