/* The thread pool: workers sleep on a condition variable between jobs, and take tasks by an atomic counter inside one. */
#include "pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define STACK_BYTES (1 << 20)        /* of a worker, whatever the system's limit for that of a program */
#define SIGNAL_STACK_BYTES (1 << 14) /* on which the program's handlers can say that this one has ended */

typedef struct worker {
    pool *pool;
    int index;
    pthread_t thread;
    char signal_stack[SIGNAL_STACK_BYTES];
} worker;

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t start, done;
    uint64_t job; /* counts jobs, so that a worker sees a new one */
    int working;  /* threads, without the caller, that have not finished the job */
    bool quit;
    pool_fn fn;
    void *arg;
    int64_t count;
    _Atomic int64_t next;
    int threads, started;
    worker workers[]; /* [threads - 1] */
};

static void
work(pool *p, int index)
{
    for (int64_t task; (task = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed)) < p->count;)
        p->fn(p->arg, task, index);
}

static void *
worker_main(void *arg)
{
    worker *w = arg;
    pool *p = w->pool;
    uint64_t seen = 0;
    stack_t before = {.ss_flags = SS_DISABLE}; /* of a sanitizer, which takes it back at the end of the thread */

    (void)sigaltstack(&(stack_t){.ss_sp = w->signal_stack, .ss_size = sizeof w->signal_stack}, &before);
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->quit && p->job == seen)
            pthread_cond_wait(&p->start, &p->lock);
        if (p->quit)
            break;
        seen = p->job;
        pthread_mutex_unlock(&p->lock);
        work(p, w->index);
        pthread_mutex_lock(&p->lock);
        if (--p->working == 0)
            pthread_cond_signal(&p->done);
    }
    pthread_mutex_unlock(&p->lock);
    (void)sigaltstack(&before, NULL);
    return NULL;
}

ql_status
pool_open(ql_ctx *cx, int threads, pool **out)
{
    pool *p = calloc(1, sizeof *p + (size_t)(threads - 1) * sizeof *p->workers);
    pthread_attr_t attributes;

    if (!p || pthread_attr_init(&attributes) != 0) {
        free(p);
        return QL_FAIL(cx, QL_MEMORY, "no memory for a pool of %d threads", threads);
    }
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES); /* which every system has */
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->start, NULL);
    pthread_cond_init(&p->done, NULL);
    p->threads = threads;
    for (int i = 0; i < threads - 1; i++) {
        int err;

        p->workers[i].pool = p;
        p->workers[i].index = i + 1;
        err = pthread_create(&p->workers[i].thread, &attributes, worker_main, &p->workers[i]);
        if (err) {
            pthread_attr_destroy(&attributes);
            pool_close(p);
            return QL_FAIL(cx, QL_DEVICE, "cannot start thread %d of %d: %s", i + 2, threads, strerror(err));
        }
        p->started++;
    }
    pthread_attr_destroy(&attributes);
    *out = p;
    return QL_OK;
}

void
pool_close(pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->quit = true;
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->started; i++)
        pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->start);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

int
pool_threads(const pool *p)
{
    return p->threads;
}

void
pool_run(pool *p, int64_t count, pool_fn fn, void *arg)
{
    if (p->threads == 1 || count <= 1) { /* not worth waking anyone */
        for (int64_t task = 0; task < count; task++)
            fn(arg, task, 0);
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->fn = fn;
    p->arg = arg;
    p->count = count;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    p->working = p->started;
    p->job++;
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    work(p, 0);
    pthread_mutex_lock(&p->lock);
    while (p->working > 0)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}
