/* GPTQ composed of other operations, several launches a column: what the feedback sweep has to beat. */
#ifndef QLOOM_BENCH_COLUMNS_H
#define QLOOM_BENCH_COLUMNS_H

#include "bench.h"

#include <qloom/ops.h>

#define BENCH_GROUP 128

static const ql_grid bench_grid = {.bits = 4, .group = BENCH_GROUP, .scale_dtype = QL_F16, .sym = true};

static inline ql_tensor *
bench_span(ql_ctx *cx, const ql_tensor *t, int64_t first, int64_t end)
{
    ql_tensor *view;

    require(cx, ql_cols(cx, t, first, end - first, &view));
    return view;
}

/* What column `at` of w needs to feed its error into those up to `end`: row `at` of U, whose diagonal is `pivot`. */
typedef struct one_column {
    ql_qlinear q;
    ql_tensor *w, *row, *error;
    int64_t at, end;
    double pivot;
} one_column;

static inline void
encode_column(ql_ctx *cx, one_column *c)
{
    ql_tensor *column = bench_span(cx, c->w, c->at, c->at + 1), *decoded;

    require(cx, ql_group_encode(cx, column, &c->q));
    require(cx, ql_group_decode(cx, &c->q, &decoded));
    require(cx, ql_copy(cx, column, c->error));
    require(cx, ql_axpby(cx, -1 / c->pivot, decoded, 1 / c->pivot, c->error));
    if (c->at + 1 < c->end)
        require(cx, ql_gemm(cx, QL_NN, -1, c->error, bench_span(cx, c->row, c->at + 1, c->end), 1,
                            bench_span(cx, c->w, c->at + 1, c->end)));
}

/* Columns [first, end), a group; *loss takes their errors. */
static inline void
encode_group(ql_ctx *cx, ql_tensor *w, const ql_tensor *u, const float *pivots, const int64_t span[2], double *loss)
{
    const int64_t first = span[0], end = span[1], n = ql_dim(w, 1);
    one_column c = {.q = {.grid = bench_grid}, .w = w, .end = end};
    ql_tensor *errors, *rows;
    double squares;
    ql_scope scope;

    ql_scope_open(cx, &scope);
    require(cx, ql_new(cx, QL_F32, ql_dim(w, 0), end - first, &errors));
    require(cx, ql_group_minmax(cx, bench_span(cx, w, first, end), &bench_grid, &c.q.scales, &c.q.zeros));
    for (c.at = first; c.at < end; c.at++) {
        require(cx, ql_rows(cx, u, c.at, 1, &c.row));
        c.error = bench_span(cx, errors, c.at - first, c.at - first + 1);
        c.pivot = (double)pivots[c.at];
        encode_column(cx, &c);
    }
    require(cx, ql_rows(cx, u, first, end - first, &rows));
    if (end < n)
        require(cx, ql_gemm(cx, QL_NN, -1, errors, bench_span(cx, rows, end, n), 1, bench_span(cx, w, end, n)));
    require(cx, ql_dot(cx, errors, errors, &squares));
    *loss += squares / 2;
    ql_scope_close(cx, &scope);
}

/* The loss of w[m, n] with the factor u, as a feedback sweep gives it. Columns after a group take in its errors at once. */
static inline double
bench_columns(ql_ctx *cx, const ql_tensor *weight, const ql_tensor *u)
{
    const int64_t n = ql_dim(weight, 1);
    const float *pivots;
    ql_tensor *w, *diag;
    double loss = 0;

    require(cx, ql_convert(cx, weight, QL_F32, &w));
    require(cx, ql_diag(cx, u, &diag));
    require(cx, ql_map(cx, diag, QL_READ, &pivots));
    for (int64_t first = 0; first < n; first += BENCH_GROUP)
        encode_group(cx, w, u, pivots, (const int64_t[]){first, first + BENCH_GROUP < n ? first + BENCH_GROUP : n},
                     &loss);
    require(cx, ql_unmap(cx, diag));
    return loss;
}

#endif
