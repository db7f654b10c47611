/* An open device: its backend, its memory pool with limit, peak and holders, and the counters of bytes that cross. */
#ifndef QLOOM_DEVICE_DEVICE_H
#define QLOOM_DEVICE_DEVICE_H

#include <stdatomic.h>

#include <qloom/backend.h>

#include "base/ctx.h"

/* How a buffer is kept from changing during a call (guard.h). */
typedef enum ql_guarded { QL_GUARD_NONE, QL_GUARD_PAGES, QL_GUARD_SUM } ql_guarded;

typedef struct ql_buffer {
    atomic_int refs;
    ql_device *device;
    void *ptr; /* NULL when there are no bytes */
    size_t bytes;
    int64_t slot;      /* place in device->held */
    const char *owner; /* who asked for it, for out-of-memory texts: cx->site.stage, not copied; as long-lived as the
                          device */
    struct ql_buffer *next; /* of an operation's scratch */
    bool lent;              /* a tensor in it is lent for reading */
    ql_guarded guard;
    uint64_t sum[2]; /* with QL_GUARD_SUM: of its bytes before the call */
} ql_buffer;

#define QL_SPARES 32               /* pieces of freed memory that wait to be asked for again */
#define QL_SPARE_LEAST (1 << 18)   /* bytes from which a fresh piece costs page faults worth avoiding */
#define QL_SPARE_MOST (256u << 20) /* bytes of all that are kept */

typedef struct ql_spare {
    void *ptr;
    size_t bytes;
} ql_spare;

struct ql_device {
    const ql_backend *backend;
    void *dev;
    ql_device_info info;
    const ql_op_row *ops[QL_OP_CODES]; /* what the backend has, by code; NULL: it has not */
    bool sync;                         /* wait after every operation, so that an error names its own */
    int threads;                       /* host threads that it was opened with */
    const double *clock;     /* seconds of a rehearsal (rehearsal.h), whose memory nobody may read; NULL: real */
    size_t limit;            /* bytes, 0: none */
    size_t used, peak, mark; /* bytes; mark: the most used since somebody set it */
    ql_spare spares
        [QL_SPARES]; /* of a device that is the host, the last freed at the end: activations come in the same few sizes */
    size_t spare_bytes, taken; /* taken: used and kept together, at most */
    int spare_count;
    uint64_t up, down; /* bytes copied to and from the device */
    size_t
        host_limit; /* bytes of the host that may hold hidden states of a device with memory of its own; 0: no limit */
    size_t host_used, host_peak;
    uint64_t parked, unparked; /* bytes of hidden states that made room, and came back: not counted above */
    ql_status (*make_room)(ql_ctx *cx, bool *freed); /* asked before an allocation fails; NULL: nobody can */
    ql_buffer **held;                                /* live buffers, for the text of an out-of-memory error */
    ql_buffer *scratch;                              /* of the operation in progress, linked by `next` */
    ql_buffer *reserved;                             /* stands for what the backend holds itself; NULL: nothing */
    int64_t held_count, held_capacity;
    int guards; /* open ones, each within the one before */
};

/* Opens `backend` as *out; the context's new tensors live there once cx->device is set. */
ql_status ql_device_open(ql_ctx *cx, const ql_backend *backend, const ql_device_options *opt, size_t limit,
                         ql_device **out);
/* The same where no such device answers, as far as plans go: info, limit and the sizes of scratch. */
ql_status ql_device_imagine(ql_ctx *cx, const ql_backend *backend, const ql_device_options *opt, size_t limit,
                            ql_device **out);
/* Finds the rows of d->backend. For who makes a device. */
void ql_device_bind(ql_device *d);
void ql_device_close(ql_device *d); /* NULL is fine; all its tensors must be gone */
/* What is kept of freed memory goes back to the system. */
void ql_device_trim(ql_device *d);
/* Now: of a rehearsal, what its operations have taken. */
double ql_device_seconds(const ql_device *d);
/* Bytes that may be in use: the limit, else the memory of a device that has its own; 0: the system says. */
size_t ql_device_room(const ql_device *d);
/* "1.2 GiB", for messages; returns `text`. */
const char *ql_bytes_text(size_t bytes, char *text, size_t size);
/* One line a holder: "1.2 GiB weights of block 3", largest first, into `text`. */
void ql_device_holders(const ql_device *d, char *text, size_t size);

/* Counts what the backend holds itself as used. For who makes a device. */
ql_status ql_device_reserve(ql_ctx *cx, ql_device *d);

/* A buffer of the pool with one reference. MEMORY, with the holders in the text, when `limit` or the device has no
 * room. */
ql_status ql_buffer_new(ql_ctx *cx, ql_device *d, size_t bytes, ql_buffer **out);
void ql_buffer_unref(ql_buffer *b);
/* Makes the pages of its memory ones that can't be written, or again can. False: the system does not do it. */
bool ql_buffer_protect(ql_buffer *b, bool on);

/* Pinned memory of the host, counted; NULL when there is none. */
void *ql_device_host_alloc(ql_device *d, size_t bytes);
void ql_device_host_free(ql_device *d, void *ptr, size_t bytes);

/* The end of an operation that returned `st`: waits where the device was opened with `sync`, and names `op` in device
 * errors. */
ql_status ql_op_done(ql_ctx *cx, const char *op, ql_status st);

#endif
