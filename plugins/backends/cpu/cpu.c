/* The cpu backend: OpenBLAS and LAPACK for linear algebra, own loops for the rest, one thread pool over tiles. */
#include "cpu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static void
cpu_close(void *dev)
{
    cpu *d = dev;

    if (!d)
        return;
    for (int i = 0; d->scratch && i < pool_threads(d->pool); i++)
        free(d->scratch[i].data);
    free(d->scratch);
    pool_close(d->pool);
    blas_close(&d->blas);
    free(d);
}

#define BLAS_BUFFER ((size_t)136 << 20) /* addresses that OpenBLAS maps for each thread that multiplies */
#define BLAS_TRIAL 192                  /* rows and columns of a product that needs them */

static void
multiply(void *arg, int64_t task, int index)
{
    const cpu *d = arg;
    float *m = calloc((size_t)3 * BLAS_TRIAL * BLAS_TRIAL, sizeof *m);

    (void)task;
    (void)index;
    if (m)
        d->blas.s.gemm(BLAS_ROW, BLAS_NO, BLAS_NO, BLAS_TRIAL, BLAS_TRIAL, BLAS_TRIAL, 1, m, BLAS_TRIAL,
                       m + BLAS_TRIAL * BLAS_TRIAL, BLAS_TRIAL, 0, m + 2 * BLAS_TRIAL * BLAS_TRIAL, BLAS_TRIAL);
    free(m);
}

/* OpenBLAS tries for ever to map a buffer for which a limit leaves no room (ulimit -v), so where there is a limit, the buffers of as many
 * threads as can run at once are mapped here, after it was seen that they fit. It keeps them. */
static ql_status
take_buffers(ql_ctx *cx, cpu *d, int threads)
{
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    const int count = threads > processors && processors > 0 ? (int)processors : threads;
    struct rlimit limit;
    void *room;

    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return QL_OK;
    room = mmap(NULL, (size_t)count * BLAS_BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0);
    if (room == MAP_FAILED)
        return QL_FAIL(cx, QL_MEMORY,
                       "OpenBLAS has no room for its buffers, %d of %zu MiB of addresses: raise the limit (ulimit -v), "
                       "or lower --threads",
                       count, BLAS_BUFFER >> 20);
    munmap(room, (size_t)count * BLAS_BUFFER);
    pool_run(d->pool, threads, multiply, d);
    return QL_OK;
}

static ql_status
parts_open(ql_ctx *cx, cpu *d, int threads)
{
    d->page = (size_t)sysconf(_SC_PAGESIZE);
    QL_TRY(cx, blas_open(cx, &d->blas));
    QL_TRY(cx, pool_open(cx, threads, &d->pool));
    d->scratch = calloc((size_t)threads, sizeof *d->scratch);
    if (!d->scratch)
        return QL_FAIL(cx, QL_MEMORY, "no memory for the state of %d threads", threads);
    d->isa = isa_choose();
    return take_buffers(cx, d, threads);
}

static ql_status
cpu_open(ql_ctx *cx, const ql_device_options *opt, void **dev)
{
    cpu *d;
    ql_status st;

    if (opt->threads < 1)
        return QL_FAIL(cx, QL_INVALID, "the cpu needs at least 1 thread, got %d", opt->threads);
    if (opt->compute != QL_DTYPE_NONE && opt->compute != QL_F32)
        return QL_FAIL(cx, QL_INVALID, "compute: the cpu computes in fp32, not in %s", ql_dtype_name(opt->compute));
    d = calloc(1, sizeof *d);
    if (!d)
        return QL_FAIL(cx, QL_MEMORY, "no memory for the state of the cpu device");
    st = parts_open(cx, d, opt->threads);
    if (st != QL_OK) {
        cpu_close(d);
        return st;
    }
    *dev = d;
    return QL_OK;
}

/* "model name : AMD EPYC 7763" of the first processor; "cpu" where the kernel does not say. An error is none of these: results are
 * kept under the name. */
static ql_status
processor_name(ql_ctx *cx, char *name, size_t size)
{
    static const char file[] = "/proc/cpuinfo";
    char line[256];
    FILE *f = fopen(file, "r");
    bool failed = !f && errno != ENOENT;

    snprintf(name, size, "cpu");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');

        if (strncmp(line, "model name", 10) == 0 && colon) {
            snprintf(name, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
            break;
        }
    }
    failed = failed || (f && ferror(f));
    if (f)
        (void)fclose(f);
    return failed ? QL_FAIL(cx, QL_IO, "%s: can't be read", file) : QL_OK;
}

static ql_status
cpu_info(ql_ctx *cx, void *dev, ql_device_info *out)
{
    const cpu *d = dev;
    char name[80];
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    *out = (ql_device_info){.name = "cpu", .compute_dtype = QL_F32, .host_memory = true, .paged = true};
    if (!d)
        return QL_OK;
    QL_TRY(cx, processor_name(cx, name, sizeof name));
    snprintf(out->name, sizeof out->name, "%s, OpenBLAS %s, %s", name, d->blas.core, d->isa->name);
    if (pages > 0 && page > 0)
        out->memory = (size_t)pages * (size_t)page;
    return QL_OK;
}

static void *
cpu_alloc(void *dev, size_t bytes)
{
    const cpu *d = dev;

    if (bytes > SIZE_MAX - d->page)
        return NULL;
    return aligned_alloc(d->page, bytes ? (bytes + d->page - 1) / d->page * d->page : d->page);
}

static void
cpu_free(void *dev, void *ptr, size_t bytes)
{
    (void)dev;
    (void)bytes;
    free(ptr);
}

static ql_status
cpu_upload(ql_ctx *cx, void *dev, const void *host, void *ptr, size_t bytes)
{
    (void)cx;
    (void)dev;
    if (bytes > 0)
        memcpy(ptr, host, bytes);
    return QL_OK;
}

static ql_status
cpu_download(ql_ctx *cx, void *dev, const void *ptr, void *host, size_t bytes)
{
    return cpu_upload(cx, dev, ptr, host, bytes);
}

static ql_status
cpu_sync(ql_ctx *cx, void *dev)
{
    (void)cx;
    (void)dev;
    return QL_OK;
}

static const ql_op_row *const ops[] = {
    cpu_attention_ops, cpu_attention_back_ops, cpu_elementwise_ops, cpu_gemm_ops,   cpu_gram_ops,  cpu_group_ops,
    cpu_kl_ops,        cpu_lapack_ops,         cpu_logprob_ops,     cpu_memory_ops, cpu_nll_ops,   cpu_norm_rope_ops,
    cpu_random_ops,    cpu_reduce_ops,         cpu_resting_ops,     cpu_sweep_ops,  cpu_train_ops, NULL,
};

static const ql_backend backend = {
    .size = sizeof(ql_backend),
    .device = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .info = cpu_info,
    .ops = ops,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .upload = cpu_upload,
    .download = cpu_download,
    .sync = cpu_sync,
    .host_alloc = cpu_alloc,
    .host_free = cpu_free,
    .park = cpu_download,
    .unpark = cpu_upload,
    .prefetch = cpu_upload,
    .arrive = cpu_sync,
};

static const ql_param params[] = {QL_PARAMS_END};

QL_PLUGIN(.kind = QL_BACKEND, .name = "cpu", .version = "0.1.0", .params = params, .backend = &backend,
          .help = "the processor: OpenBLAS, LAPACK and own kernels on a thread pool");
