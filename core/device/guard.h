/* What is lent to a plugin that may not keep to it is the same after the call as before. */
#ifndef QLOOM_DEVICE_GUARD_H
#define QLOOM_DEVICE_GUARD_H

#include "device.h"

/* An array of the host's that a call is lent beside tensors. */
typedef struct ql_lent {
    const char *name; /* "ids", for the error */
    const void *at;
    size_t bytes;
} ql_lent;

#define QL_LENT_MOST 16

/* One guarded call; on the stack of who makes it. */
typedef struct ql_guard {
    bool active;
    struct {
        const char *name;
        void *at, *copy;
        size_t bytes;
    } arrays[QL_LENT_MOST]; /* of the host */
} ql_guard;

/* Begins to guard, where the plugin is `foreign` or QLOOM_CHECK=1: lent memory of the host can't be written until ql_guard_close, so that
 * a write is a SIGSEGV (ql_job_page.lending); of lent memory elsewhere, and of `lent`, which a NULL name ends (NULL: none), a checksum or
 * copy is taken. A guard within another does nothing for tensors. Every ql_guard_open that returned OK needs its ql_guard_close. */
ql_status ql_guard_open(ql_ctx *cx, bool foreign, const ql_lent *lent, ql_guard *out);

/* Ends it. `st` is what the plugin returned, and is returned unless something that was lent has changed: INVALID where that is as it was
 * again, BUG where it can't be. */
ql_status ql_guard_close(ql_ctx *cx, ql_guard *g, ql_status st);

#endif
