/* Two tensors of the host hold the same: dtype, shape and every bit. */
#ifndef QLOOM_TESTS_SAME_TENSOR_H
#define QLOOM_TESTS_SAME_TENSOR_H

#include <qloom/ops.h>

#include "test.h"

static inline void
check_equal(ql_ctx *cx, const ql_tensor *a, const ql_tensor *b)
{
    const void *x, *y;

    CHECK_INT(ql_dtype_of(a), ql_dtype_of(b));
    CHECK_INT(ql_ndim(a), ql_ndim(b));
    for (int i = 0; i < ql_ndim(a) && i < ql_ndim(b); i++)
        CHECK_INT(ql_dim(a, i), ql_dim(b, i));
    REQUIRE_OK(cx, ql_map(cx, a, QL_READ, &x));
    REQUIRE_OK(cx, ql_map(cx, b, QL_READ, &y));
    CHECK(ql_count(a) != ql_count(b) || memcmp(x, y, (size_t)ql_count(a) * ql_dtype_size(ql_dtype_of(a))) == 0);
    CHECK_OK(cx, ql_unmap(cx, a));
    CHECK_OK(cx, ql_unmap(cx, b));
}

#endif
