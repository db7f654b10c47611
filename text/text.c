/* A text that grows, on the heap, and replacing in it. */
#define _GNU_SOURCE /* memmem */

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

ql_status
ql_text_replace(ql_ctx *cx, ql_text *out, const char *text, size_t bytes, const char *from, const char *to)
{
    const size_t from_bytes = strlen(from), to_bytes = strlen(to);

    while (bytes) {
        const char *hit = memmem(text, bytes, from, from_bytes);
        size_t before = hit ? (size_t)(hit - text) : bytes;

        QL_TRY(cx, ql_text_put(cx, out, text, before));
        if (!hit)
            break;
        QL_TRY(cx, ql_text_put(cx, out, to, to_bytes));
        text = hit + from_bytes;
        bytes -= before + from_bytes;
    }
    return QL_OK;
}
