/* Results that depend on one stats alone (factors, say), made once and shared by all of its users: what ql_stats_get and ql_stats_put of
 * qloom/stats.h work on. */
#ifndef QLOOM_TENSOR_MEMO_H
#define QLOOM_TENSOR_MEMO_H

#include <qloom/stats.h>

ql_status ql_memo_new(ql_ctx *cx, ql_memo **out);
void ql_memo_free(ql_ctx *cx, ql_memo *m); /* NULL is fine */

#endif
