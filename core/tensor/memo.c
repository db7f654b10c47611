/* Results that depend on one stats alone, made once and shared by all of its users. */
#include "memo.h"

#include <stdlib.h>
#include <string.h>

struct ql_memo_item {
    ql_memo_item *next;
    const char *key;
    void *value;
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
    m->scope.up = cx->scope;
    cx->scope = &m->scope;
    ql_scope_close(cx, &m->scope);
    free(m);
}

const void *
ql_memo_find(const ql_memo *m, const char *key)
{
    for (const ql_memo_item *i = m->items; i; i = i->next)
        if (strcmp(i->key, key) == 0)
            return i->value;
    return NULL;
}

ql_status
ql_memo_put(ql_ctx *cx, ql_memo *m, const char *key, const void *value, size_t size)
{
    ql_scope *open = cx->scope;
    ql_memo_item *item;

    cx->scope = &m->scope;
    item = ql_alloc(cx, 1, sizeof *item);
    if (item) {
        item->key = ql_copy_text(cx, key, strlen(key));
        item->value = ql_alloc(cx, 1, size);
    }
    cx->scope = open;
    if (!item || !item->key || !item->value)
        return QL_MEMORY;
    memcpy(item->value, value, size);
    item->next = m->items;
    m->items = item;
    return QL_OK;
}
