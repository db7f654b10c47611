/* How a plugin writes to a tensor that it was lent: by an operation, in the host's copy of it, or where it lies. */
#ifndef QLOOM_TESTS_TOUCH_H
#define QLOOM_TESTS_TOUCH_H

#include <qloom/backend.h>
#include <qloom/ops.h>

enum { OPERATION, MAP, POINTER };
static const char *const ways[] = {"operation", "map", "pointer", NULL};

static ql_status
write_tensor(ql_ctx *cx, const ql_tensor *t, int by, bool last)
{
    const int64_t at = last ? ql_count(t) - 1 : 0;
    float *p;

    if (by == OPERATION)
        return ql_axpby(cx, 1, t, 1, (ql_tensor *)(uintptr_t)t);
    if (by == POINTER) {
        p = ql_ptr(t);
        p[at] += 7;
        return QL_OK;
    }
    QL_TRY(cx, ql_map(cx, t, QL_READ | QL_WRITE, &p));
    p[at] += 7;
    return ql_unmap(cx, t);
}

#endif
