/* Bytes that grow in the innermost scope. */
#include "text.h"

#include <string.h>

ql_status
text_put(ql_ctx *cx, text_buffer *b, const void *data, size_t bytes)
{
    QL_TRY(cx, ql_alloc_more(cx, &b->data, &b->capacity, (int64_t)(b->count + bytes), 1));
    if (bytes)
        memcpy(b->data + b->count, data, bytes);
    b->count += bytes;
    return QL_OK;
}
