/* Results that depend on one stats alone, made once and shared by all of its users. */
#include "memo.h"

#include <stdlib.h>
#include <string.h>

#include "tensor.h"

typedef struct item {
    struct item *next;
    const char *key;
    void *value;
} item;

struct ql_memo {
    ql_scope scope; /* owns what is kept */
    item *items;
};

ql_status
ql_memo_new(ql_ctx *cx, ql_memo **out)
{
    *out = ql_heap(cx, 1, sizeof **out);
    return *out ? QL_OK : QL_MEMORY;
}

void
ql_memo_free(ql_ctx *cx, ql_memo *m)
{
    if (!m)
        return;
    ql_scope_enter(cx, &m->scope);
    ql_scope_close(cx, &m->scope);
    free(m);
}

const void *
ql_stats_get(const ql_stats *stats, const char *key)
{
    for (const item *i = stats->memo ? stats->memo->items : NULL; i; i = i->next)
        if (strcmp(i->key, key) == 0)
            return i->value;
    return NULL;
}

/* A copy of the value, in the innermost scope, and the tensors beside it. */
static ql_status
copy(ql_ctx *cx, const char *key, const void *value, size_t size, const ql_tensor *const *tensors, int count,
     item **out)
{
    ql_tensor *same;

    for (int i = 0; i < count; i++)
        if (tensors[i]) {
            QL_TRY(cx, ql_tensor_borrow(cx, tensors[i], &same));
            ql_tensor_seal(same); /* shared by all who find it */
        }
    *out = ql_alloc(cx, 1, sizeof **out);
    if (!*out)
        return QL_MEMORY;
    (*out)->key = ql_copy_text(cx, key, strlen(key));
    (*out)->value = ql_alloc(cx, 1, size);
    if (!(*out)->key || !(*out)->value)
        return QL_MEMORY;
    memcpy((*out)->value, value, size);
    return QL_OK;
}

ql_status
ql_stats_put(ql_ctx *cx, const ql_stats *stats, const char *key, const void *value, size_t size,
             const ql_tensor *const *tensors, int count)
{
    ql_memo *m = stats->memo;
    item *made = NULL;
    ql_status st;

    if (!m)
        return QL_OK;
    ql_scope_enter(cx, &m->scope);
    st = copy(cx, key, value, size, tensors, count, &made);
    QL_TRY(cx, ql_scope_leave(cx, &m->scope, st));
    made->next = m->items;
    m->items = made;
    return QL_OK;
}
