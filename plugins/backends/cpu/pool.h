/* A pool of threads that work off numbered tasks. Who works on which task is left to chance: tasks must not depend on it. */
#ifndef QLOOM_CPU_POOL_H
#define QLOOM_CPU_POOL_H

#include <qloom/status.h>

typedef struct pool pool;
typedef void (*pool_fn)(void *arg, int64_t task, int worker); /* worker: 0 .. threads - 1 */

ql_status pool_open(ql_ctx *cx, int threads, pool **out);
void pool_close(pool *p); /* NULL is fine */
int pool_threads(const pool *p);

/* Runs tasks 0 .. count - 1 and returns when all are done; the caller works too. [one thread per pool] */
void pool_run(pool *p, int64_t count, pool_fn fn, void *arg);

#endif
