/* Tiny random linears, for the contract of methods. */
#ifndef QLOOM_KIT_LAYER_H
#define QLOOM_KIT_LAYER_H

#include <qloom/evaluator.h>

typedef struct ql_shape {
    int64_t rows, columns;
} ql_shape;

typedef struct ql_layer { /* a random linear, what a plain rounding makes of it, and statistics of its inputs */
    ql_tensor *w, *what;
    ql_qlinear rounded;
    ql_stats stats;
} ql_layer;

/* The same for the same shape; `raw`: in bf16, as a file may hold it. In the innermost scope, on the context's device. */
ql_status ql_layer_make(ql_ctx *cx, const ql_shape *s, bool raw, ql_layer *out);

#endif
