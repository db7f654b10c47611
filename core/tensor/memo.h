/* Results that depend on one stats alone (factors, say), made once and shared by all of its users. */
#ifndef QLOOM_TENSOR_MEMO_H
#define QLOOM_TENSOR_MEMO_H

#include <qloom/stats.h>

#include "base/ctx.h"

typedef struct ql_memo_item ql_memo_item;

struct ql_memo {
    ql_scope scope; /* owns what is kept; never among the open scopes of a context */
    ql_memo_item *items;
};

ql_status ql_memo_new(ql_ctx *cx, ql_memo **out);
void ql_memo_free(ql_ctx *cx, ql_memo *m); /* NULL is fine */

/* What was put under `key`; NULL: nothing yet. */
const void *ql_memo_find(const ql_memo *m, const char *key);
/* Keeps a copy of the `size` bytes at `value` under a copy of `key`, which was not there; tensors in it live in m->scope. */
ql_status ql_memo_put(ql_ctx *cx, ql_memo *m, const char *key, const void *value, size_t size);

#endif
