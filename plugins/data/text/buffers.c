/* Bytes that grow in the innermost scope. */
#include "text.h"

#include <string.h>

ql_status
text_put(ql_ctx *cx, text_buffer *b, const void *data, size_t bytes)
{
    if (bytes > b->capacity - b->count) {
        size_t capacity = b->count + bytes > 2 * b->capacity ? b->count + bytes : 2 * b->capacity;
        char *grown = ql_alloc(cx, capacity, 1);

        if (!grown)
            return QL_MEMORY;
        if (b->count)
            memcpy(grown, b->data, b->count);
        b->data = grown;
        b->capacity = capacity;
    }
    if (bytes)
        memcpy(b->data + b->count, data, bytes);
    b->count += bytes;
    return QL_OK;
}
