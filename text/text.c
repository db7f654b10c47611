/* A text that grows, on the heap. */
#include "text.h"

#include <string.h>

ql_status
ql_text_put(ql_ctx *cx, ql_text *t, const char *data, size_t bytes)
{
    if (!bytes)
        return QL_OK;
    QL_TRY(cx, ql_grow(cx, &t->data, &t->capacity, t->count + (int64_t)bytes, 1));
    memcpy(t->data + t->count, data, bytes);
    t->count += (int64_t)bytes;
    return QL_OK;
}
