/* How work is split and what memory it gets: tasks over the pool, scratch per worker, tensors as matrices. */
#include "cpu.h"

#include <limits.h>
#include <stdlib.h>

mat
cpu_mat(const ql_tensor *t)
{
    int n = ql_ndim(t);
    mat m = {.p = ql_ptr(t), .rows = 1, .dtype = ql_dtype_of(t)};

    m.size = ql_dtype_size(m.dtype);
    m.cols = n > 0 ? ql_dim(t, -1) : 1;
    for (int i = 0; i < n - 1; i++)
        m.rows *= ql_dim(t, i);
    m.ld = n > 1 ? ql_stride(t, n - 2) : m.cols;
    return m;
}

ql_status
cpu_fits(ql_ctx *cx, const mat *m)
{
    if (m->rows > INT_MAX || m->cols > INT_MAX || m->ld > INT_MAX)
        return QL_FAIL(cx, QL_INVALID, "a matrix of %lld x %lld elements is too large for BLAS (2^31 - 1 a side)",
                       (long long)m->rows, (long long)m->cols);
    return QL_OK;
}

static ql_status
scratch_grow(ql_ctx *cx, cpu_scratch *s, size_t bytes)
{
    if (bytes <= s->bytes)
        return QL_OK;
    free(s->data);
    *s = (cpu_scratch){0};
    bytes = (bytes + 63) / 64 * 64;
    s->data = aligned_alloc(64, bytes);
    if (!s->data)
        return QL_FAIL(cx, QL_MEMORY, "no memory for %zu bytes of working space on the host", bytes);
    s->bytes = bytes;
    return QL_OK;
}

typedef struct job {
    cpu *d;
    cpu_task fn;
    void *arg;
} job;

static void
job_task(void *arg, int64_t task, int worker)
{
    const job *j = arg;

    j->fn(j->arg, task, j->d->scratch[worker].data);
}

ql_status
cpu_run(ql_ctx *cx, cpu *d, int64_t tasks, size_t bytes, cpu_task fn, void *arg)
{
    job j = {d, fn, arg};

    for (int i = 0; i < pool_threads(d->pool); i++)
        QL_TRY(cx, scratch_grow(cx, &d->scratch[i], bytes));
    pool_run(d->pool, tasks, job_task, &j);
    return QL_OK;
}

typedef struct spans {
    int64_t rows, grain;
    cpu_span fn;
    void *arg;
} spans;

static void
span_task(void *arg, int64_t task, int worker)
{
    const spans *s = arg;

    (void)worker;
    s->fn(s->arg, task * s->grain, cpu_min((task + 1) * s->grain, s->rows));
}

void
cpu_rows(cpu *d, int64_t rows, int64_t cols, cpu_span fn, void *arg)
{
    spans s = {rows, cols < CPU_SPAN ? CPU_SPAN / (cols > 0 ? cols : 1) : 1, fn, arg};

    pool_run(d->pool, cpu_div_up(rows, s.grain), span_task, &s);
}

int64_t
cpu_sequence_of(const ql_seqs *seqs, int64_t t)
{
    int64_t lo = 0, hi = seqs->count - 1;

    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;

        if (seqs->offsets[mid + 1] <= t)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}
