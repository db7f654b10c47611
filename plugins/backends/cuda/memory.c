/* Memory of the device: a stream-ordered pool, transfers through pinned buffers, and what waits in pinned host memory. */
#include "device.h"

#include <stdlib.h>
#include <string.h>

#define PAGEABLE \
    ((size_t)64 << 10) /* up to here the driver has a pinned ring of its own, and returns once it has read */

static size_t
least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* --- the pool --- */

static ql_status
pool_open(ql_ctx *cx, cuda *d)
{
    const struct cudaMemPoolProps props = {.allocType = cudaMemAllocationTypePinned,
                                           .location = {.type = cudaMemLocationTypeDevice, .id = d->index}};
    uint64_t keep = UINT64_MAX; /* what is freed stays ours: the same sizes come again, chunk after chunk */

    CUDA_TRY(cx, cudaMemPoolCreate(&d->pool, &props));
    CUDA_TRY(cx, cudaMemPoolSetAttribute(d->pool, cudaMemPoolAttrReleaseThreshold, &keep));
    return QL_OK;
}

void *
cuda_alloc(void *dev, size_t bytes)
{
    cuda *d = dev;
    void *ptr = NULL;

    if (cudaMallocFromPoolAsync(&ptr, bytes, d->pool, d->stream) == cudaSuccess)
        return ptr;
    /* Room may be there in pieces that are too small: once nothing uses them, the pool gives them back. */
    (void)cudaStreamSynchronize(d->stream);
    (void)cudaMemPoolTrimTo(d->pool, 0);
    if (cudaMallocFromPoolAsync(&ptr, bytes, d->pool, d->stream) != cudaSuccess)
        ptr = NULL;
    (void)cudaGetLastError(); /* the caller says that there is no room */
    return ptr;
}

void
cuda_free(void *dev, void *ptr, size_t bytes)
{
    const cuda *d = dev;

    (void)bytes;
    if (ptr)
        (void)cudaFreeAsync(ptr, d->stream);
}

/* --- transfers --- */

static ql_status
stages_open(ql_ctx *cx, cuda *d)
{
    for (int i = 0; i < CUDA_STAGES; i++) {
        CUDA_TRY(cx, cudaHostAlloc(&d->stages[i], CUDA_STAGE_BYTES, cudaHostAllocDefault));
        CUDA_TRY(cx, cudaEventCreateWithFlags(&d->staged[i], cudaEventDisableTiming));
    }
    CUDA_TRY(cx, cudaHostAlloc(&d->side_stage, CUDA_STAGE_BYTES, cudaHostAllocDefault));
    CUDA_TRY(cx, cudaStreamCreateWithFlags(&d->side, cudaStreamNonBlocking));
    CUDA_TRY(cx, cudaEventCreateWithFlags(&d->ready, cudaEventDisableTiming));
    return QL_OK;
}

ql_status
cuda_upload(ql_ctx *cx, void *dev, const void *host, void *ptr, size_t bytes)
{
    cuda *d = dev;

    if (bytes <= PAGEABLE) {
        CUDA_TRY(cx, cudaMemcpyAsync(ptr, host, bytes, cudaMemcpyHostToDevice, d->stream));
        return QL_OK;
    }
    for (size_t done = 0, n; done < bytes; done += n) {
        const int i = d->next_stage;

        n = least(bytes - done, CUDA_STAGE_BYTES);
        CUDA_TRY(cx, cudaEventSynchronize(d->staged[i]));
        memcpy(d->stages[i], (const char *)host + done, n);
        CUDA_TRY(cx, cudaMemcpyAsync((char *)ptr + done, d->stages[i], n, cudaMemcpyHostToDevice, d->stream));
        CUDA_TRY(cx, cudaEventRecord(d->staged[i], d->stream));
        d->next_stage = (i + 1) % CUDA_STAGES;
    }
    return QL_OK;
}

/* While one stage is emptied the next one is filled; before either, whatever was uploaded from it has left, being queued earlier. */
ql_status
cuda_download(ql_ctx *cx, void *dev, const void *ptr, void *host, size_t bytes)
{
    cuda *d = dev;
    size_t asked = 0;

    for (size_t done = 0, n; done < bytes; done += n) {
        for (; asked < bytes && asked < done + CUDA_STAGES * (size_t)CUDA_STAGE_BYTES; asked += n) {
            const size_t i = asked / CUDA_STAGE_BYTES % CUDA_STAGES;

            n = least(bytes - asked, CUDA_STAGE_BYTES);
            CUDA_TRY(cx,
                     cudaMemcpyAsync(d->stages[i], (const char *)ptr + asked, n, cudaMemcpyDeviceToHost, d->stream));
            CUDA_TRY(cx, cudaEventRecord(d->staged[i], d->stream));
        }
        n = least(bytes - done, CUDA_STAGE_BYTES);
        CUDA_TRY(cx, cudaEventSynchronize(d->staged[done / CUDA_STAGE_BYTES % CUDA_STAGES]));
        memcpy((char *)host + done, d->stages[done / CUDA_STAGE_BYTES % CUDA_STAGES], n);
    }
    return QL_OK;
}

/* --- pinned memory of the host --- */

void *
cuda_host_alloc(void *dev, size_t bytes)
{
    cuda *d = dev;
    void *ptr = NULL;

    for (int i = 0; i < CUDA_IDLE; i++)
        if (d->idle[i].ptr && d->idle[i].bytes == bytes) {
            ptr = d->idle[i].ptr;
            d->idle[i] = (cuda_pinned){0};
            return ptr;
        }
    if (cudaHostAlloc(&ptr, bytes, cudaHostAllocDefault) != cudaSuccess)
        ptr = NULL;
    (void)cudaGetLastError();
    return ptr;
}

/* A buffer that is used again is written and read in the order of the stream, so nobody waits. */
void
cuda_host_free(void *dev, void *ptr, size_t bytes)
{
    cuda *d = dev;

    for (int i = 0; i < CUDA_IDLE; i++)
        if (!d->idle[i].ptr) {
            d->idle[i] = (cuda_pinned){ptr, bytes};
            return;
        }
    (void)cudaStreamSynchronize(d->stream);
    (void)cudaFreeHost(ptr);
}

ql_status
cuda_park(ql_ctx *cx, void *dev, const void *ptr, void *host, size_t bytes)
{
    CUDA_TRY(cx, cudaMemcpyAsync(host, ptr, bytes, cudaMemcpyDeviceToHost, cuda_stream(dev)));
    return QL_OK;
}

ql_status
cuda_unpark(ql_ctx *cx, void *dev, const void *host, void *ptr, size_t bytes)
{
    CUDA_TRY(cx, cudaMemcpyAsync(ptr, host, bytes, cudaMemcpyHostToDevice, cuda_stream(dev)));
    return QL_OK;
}

/* --- beside the operations --- */

typedef struct piece {
    void *to;
    const void *from;
    size_t bytes;
} piece;

/* On a thread of the driver, when the side stream gets here: the file's pages are read now, and the pinned buffer is free again. */
static void CUDART_CB
fill_stage(void *arg)
{
    piece *p = arg;

    memcpy(p->to, p->from, p->bytes);
    free(p);
}

ql_status
cuda_prefetch(ql_ctx *cx, void *dev, const void *host, void *ptr, size_t bytes)
{
    cuda *d = dev;

    CUDA_TRY(cx, cudaEventRecord(d->ready, d->stream)); /* what had the memory before is done with it */
    CUDA_TRY(cx, cudaStreamWaitEvent(d->side, d->ready, 0));
    for (size_t done = 0; done < bytes; done += CUDA_STAGE_BYTES) {
        const size_t n = least(bytes - done, CUDA_STAGE_BYTES);
        piece *p = malloc(sizeof *p);
        cudaError_t e;

        if (!p)
            return QL_FAIL(cx, QL_MEMORY, "no memory for a transfer");
        *p = (piece){d->side_stage, (const char *)host + done, n};
        e = cudaLaunchHostFunc(d->side, fill_stage, p);
        if (e != cudaSuccess)
            free(p);
        QL_TRY(cx, cuda_check(cx, e, "cudaLaunchHostFunc"));
        CUDA_TRY(cx, cudaMemcpyAsync((char *)ptr + done, d->side_stage, n, cudaMemcpyHostToDevice, d->side));
    }
    return QL_OK;
}

ql_status
cuda_arrive(ql_ctx *cx, void *dev)
{
    CUDA_TRY(cx, cudaStreamSynchronize(((const cuda *)dev)->side));
    return QL_OK;
}

/* --- all --- */

ql_status
cuda_memory_open(ql_ctx *cx, cuda *d)
{
    QL_TRY(cx, pool_open(cx, d));
    return stages_open(cx, d);
}

void
cuda_memory_close(cuda *d)
{
    if (d->side) /* all that it carried has arrived */
        (void)cudaStreamDestroy(d->side);
    if (d->ready)
        (void)cudaEventDestroy(d->ready);
    for (int i = 0; i < CUDA_STAGES; i++) {
        if (d->staged[i])
            (void)cudaEventDestroy(d->staged[i]);
        (void)cudaFreeHost(d->stages[i]);
    }
    (void)cudaFreeHost(d->side_stage);
    for (int i = 0; i < CUDA_IDLE; i++)
        (void)cudaFreeHost(d->idle[i].ptr);
    if (d->pool)
        (void)cudaMemPoolDestroy(d->pool);
}
