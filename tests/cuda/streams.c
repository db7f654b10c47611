/* What the cuda backend orders: transfers through pinned memory, beside the operations and back, memory that is used again, closing
 * with work under way. On the emulated device everything that nothing orders happens too late, or too early. */
#include "device.h"

#define BYTES ((size_t)29 << 20) /* a few pinned buffers and a part of one */
#define IDLE 80                  /* more pinned buffers than the backend keeps */

typedef struct lab {
    ql_ctx cx;
    const ql_backend *b;
    void *dev;
    uint64_t rng;
    unsigned char *data, *back;
} lab;

static void
random_bytes(lab *l)
{
    for (size_t i = 0; i + 8 <= BYTES; i += 8) {
        const uint64_t x = test_u64(&l->rng);

        memcpy(l->data + i, &x, sizeof x);
    }
}

static void *
device_memory(const lab *l, size_t bytes)
{
    void *p = l->b->alloc(l->dev, bytes);

    if (!p)
        abort();
    return p;
}

/* Is at `ptr` of the device what l->data begins with? */
static bool
arrived(lab *l, const void *ptr, size_t bytes)
{
    memset(l->back, 0, bytes);
    REQUIRE_OK(&l->cx, l->b->download(&l->cx, l->dev, ptr, l->back, bytes));
    return memcmp(l->data, l->back, bytes) == 0;
}

static void
transfers(lab *l)
{
    void *p = device_memory(l, BYTES), *q = device_memory(l, 16);
    unsigned char small[16];

    random_bytes(l);
    memcpy(small, l->data, sizeof small);
    REQUIRE_OK(&l->cx, l->b->upload(&l->cx, l->dev, small, q, sizeof small));
    memset(small, 0, sizeof small); /* read by now */
    REQUIRE_OK(&l->cx, l->b->upload(&l->cx, l->dev, l->data, p, BYTES));
    CHECK(arrived(l, p, BYTES));
    CHECK(arrived(l, q, sizeof small));
    l->b->free(l->dev, p, BYTES);
    l->b->free(l->dev, q, sizeof small);
}

/* Into memory that operations used until now, and again into the same. */
static void
beside(lab *l)
{
    void *p = device_memory(l, BYTES);

    for (int round = 0; round < 2; round++) {
        random_bytes(l);
        REQUIRE_OK(&l->cx, l->b->prefetch(&l->cx, l->dev, l->data, p, BYTES));
        REQUIRE_OK(&l->cx, l->b->arrive(&l->cx, l->dev));
        CHECK(arrived(l, p, BYTES));
        l->b->free(l->dev, p, BYTES);
        p = device_memory(l, BYTES);
    }
    l->b->free(l->dev, p, BYTES);
}

/* To pinned memory and back, through buffers that others had just before. */
static void
parked(lab *l)
{
    const size_t bytes = (size_t)1 << 20;
    void *p = device_memory(l, bytes), *q = device_memory(l, bytes), *host[IDLE];

    random_bytes(l);
    REQUIRE_OK(&l->cx, l->b->upload(&l->cx, l->dev, l->data, p, bytes));
    for (int i = 0; i < IDLE; i++) {
        host[i] = l->b->host_alloc(l->dev, bytes);
        REQUIRE_OK(&l->cx, l->b->park(&l->cx, l->dev, p, host[i], bytes));
    }
    REQUIRE_OK(&l->cx, l->b->unpark(&l->cx, l->dev, host[IDLE - 1], q, bytes));
    for (int i = 0; i < IDLE; i++)
        l->b->host_free(l->dev, host[i], bytes);
    CHECK(arrived(l, q, bytes));
    host[0] = l->b->host_alloc(l->dev, bytes);
    random_bytes(l);
    REQUIRE_OK(&l->cx, l->b->upload(&l->cx, l->dev, l->data, p, bytes));
    REQUIRE_OK(&l->cx, l->b->park(&l->cx, l->dev, p, host[0], bytes));
    REQUIRE_OK(&l->cx, l->b->sync(&l->cx, l->dev));
    CHECK(memcmp(host[0], l->data, bytes) == 0);
    l->b->host_free(l->dev, host[0], bytes);
    l->b->free(l->dev, p, bytes);
    l->b->free(l->dev, q, bytes);
}

/* Memory that was given back has room for other sizes, whatever is still queued. */
static void
room(lab *l, size_t memory)
{
    void *p = device_memory(l, memory / 2);

    l->b->free(l->dev, p, memory / 2);
    l->b->free(l->dev, device_memory(l, memory / 8 * 5), memory / 8 * 5);
}

int
main(void)
{
    lab l = {.rng = test_seed(), .data = calloc(1, BYTES), .back = calloc(1, BYTES)};
    ql_device *d;
    void *p;

    if (!l.data || !l.back)
        abort();
    setenv("QLOOM_TEST_CUDA_MEMORY", "268435456", 0); /* of which most is asked for */
    ql_ctx_init(&l.cx, NULL);
    d = test_device(&l.cx, 1);
    l.b = d->backend;
    l.dev = d->dev;
    transfers(&l);
    beside(&l);
    parked(&l);
    room(&l, d->info.memory);
    p = device_memory(&l, BYTES);
    REQUIRE_OK(&l.cx, l.b->upload(&l.cx, l.dev, l.data, p, BYTES));
    l.b->free(l.dev, p, BYTES);
    ql_device_close(d); /* with an upload under way */
    ql_ctx_fini(&l.cx);
    free(l.data);
    free(l.back);
    return TEST_DONE();
}
